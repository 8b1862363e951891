//! Meta's words: what its webhooks say, how they are signed, how its Graph API is called, what its errors mean.
//!
//! This crate knows nothing of Tidings: no SQL, no server, no product terms. It serves anybody who receives WhatsApp or
//! Instagram webhooks, or calls the Graph API, in Rust.
//!
//! - [`signature`]: makes and checks `X-Hub-Signature-256`.
//! - [`notification`]: splits one POST from Meta into its [events](notification::Event), each with a stable identity.
//! - [`whatsapp`], [`instagram`]: what one event says, typed, leniently parsed.
//! - [`client`]: the Graph client, and the closed set of outcomes of a call.
//! - [`error`]: the error catalogue: every documented code with class, meaning and remedy.

pub mod client;
pub mod error;
pub mod instagram;
pub mod notification;
pub mod signature;
pub mod whatsapp;
