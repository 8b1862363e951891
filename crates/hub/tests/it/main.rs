//! Tests of the whole hub, in one binary: our sources read by `tidy`, the rest over real sockets, with a simulated Meta on the other side.
//!
//! Where to begin: [`harness`], which every test but `tidy` goes through.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

mod api;
mod circle;
mod commands;
mod conversations;
mod harness;
mod health;
mod integrations;
mod media;
mod metrics;
mod requests;
mod secrets;
mod sending;
mod templates;
mod tidy;
mod webhooks;
mod wrong_input;
