//! The sending engine, over real sockets: pace, priorities, what a channel and what a recipient waits for, and who leads a channel.

#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the path of a method is for a unit of work of one lifetime, a unit of work of any"
)]

mod answers;
mod circuit;
mod email;
mod errors;
mod expiry;
mod graph;
mod kinds;
mod lead;
mod limits;
mod locks;
mod marketing;
mod numbers;
mod onward;
mod pace;
mod real_time;
mod routes;
mod switch;
mod usual;
