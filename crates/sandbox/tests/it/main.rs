//! Limits, accounts, posts, faults, the ledger's summary, mail, and a sandbox without sockets.

#![allow(clippy::unwrap_used)]

mod accounts;
mod comments;
mod desk;
mod embedded;
mod faults;
mod harness;
mod limits;
mod mail;
mod posts;
