//! The full circle: a customer writes, the hub shows it, an answer goes out, Meta tells how far it got; and what may go wrong on the way.

mod answered;
mod comments;
mod credentials;
mod failures;
mod idempotency;
mod instagram;
mod order;
mod people;
mod refusals;
mod switches;
mod unknown;
mod whatsapp;
