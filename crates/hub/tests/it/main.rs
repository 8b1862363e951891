//! Tests from outside.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
mod api;
mod tidy;
