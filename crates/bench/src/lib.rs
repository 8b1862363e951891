//! Measures how fast the hub takes webhooks, against two servers that do less.
//!
//! A figure in requests a second says little by itself: the speed of a machine drifts, and its disk decides the rest. So everything
//! is measured in turns on the same machine, and the shares are what counts:
//!
//! - [`server::bare`] checks the signature and answers: the most that any server on this HTTP stack can do;
//! - [`server::reference`] also parses, and stores each message once in one table, flushed before it answers: the least that any
//!   server must do which promises what the hub promises;
//! - the hub itself, run as its users run it.
//!
//! [`webhook`] makes the requests and [`load`] sends them; [`process`] starts the servers and [`usage`] reads what they cost;
//! [`run`] puts the comparison together.
//! [`send`] measures the other way: how fast a backlog of messages drains. [`feed`] measures a warm answer of the feed of reels.
//! The method, and what the figures mean, is in `docs/performance.md`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod feed;
pub mod load;
pub mod process;
pub mod run;
pub mod send;
pub mod server;
pub mod usage;
pub mod webhook;
