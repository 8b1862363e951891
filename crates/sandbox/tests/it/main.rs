//! Limits, templates, accounts, tokens, numbers, conversations, posts, what clients ask, faults, the ledger's summary, mail, and a sandbox without sockets.

#![allow(clippy::unwrap_used)]

mod accounts;
mod clients;
mod comments;
mod conversations;
mod customers;
mod desk;
mod embedded;
mod faults;
mod harness;
mod kinds;
mod limits;
mod mail;
mod media;
mod numbers;
mod posts;
mod templates;
mod tokens;
