//! Tidings: a hub for WhatsApp and Instagram messaging. The library behind the binary `tidings`.

pub mod clock;
pub mod config;
pub mod conversations;
pub mod ids;
pub mod ingest;
pub mod sending;
pub mod store;
pub mod stream;
