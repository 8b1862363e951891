//! The sending engine, over real sockets: pace, priorities, what a channel and what a recipient waits for, and who leads a channel.

mod answers;
mod graph;
mod lead;
mod pace;
mod routes;
