//! HTTP: the server, its errors, its extractors.

pub mod extract;
pub mod problem;
pub mod server;
