//! The people on the other side: who they are, what they do, and scripts that make them do it.
//!
//! - [`people`]: a customer, their addresses and habits.
//! - [`acts`]: writing, reacting, reading: each changes the thread and makes the webhook that Meta would send; in [`on_whatsapp`] and
//!   [`on_instagram`], the webhooks themselves.
//! - [`script`]: YAML for conversations that repeat and for load.

pub(crate) mod acts;
mod on_instagram;
mod on_whatsapp;
pub(crate) mod people;
pub(crate) mod script;
