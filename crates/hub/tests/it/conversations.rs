//! What becomes of events: who they are about, and what they change of what was said.

mod changes;
mod consent;
mod contents;
mod elsewhere;
mod people;
