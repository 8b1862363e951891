//! Tidings: a hub for WhatsApp and Instagram messaging. The library behind the binary `tidings`.
//!
//! Where to begin: [`routes`] lists every way in; [`ingest`] is where a webhook enters, [`conversations`] where it becomes a message,
//! [`sending`] where an answer leaves; [`server`] puts the hub together and stops it in order.

pub mod access;
pub mod app;
pub mod audit;
pub mod channels;
pub mod clock;
pub mod config;
pub mod conversations;
pub mod crypto;
pub mod flags;
pub mod health;
pub mod http;
pub mod ids;
pub mod ingest;
pub mod integrations;
pub mod logging;
pub mod metrics;
pub mod routes;
pub mod schedule;
pub mod sending;
pub mod server;
pub mod signal;
pub mod store;
pub mod stream;
pub mod tasks;
