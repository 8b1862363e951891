//! Contacts, conversations and messages: what Meta's events mean.
//!
//! - [`model`]: what they are, and the rules of how they change. Pure.
//! - [`content`]: what a message says.
//! - [`understand`]: from Meta's words to an [`understand::Effect`] on a conversation.
//! - [`projection`]: a batch of events: load what they touch, change it in memory, save it.
//! - [`people`]: who an event is about: identities, bound and merged.
//! - [`api`]: the reading API.
//!
//! Guarantee: the same events, in any order and any number of times, leave the same contacts, conversations and messages.

pub mod content;
pub mod model;
pub mod people;
pub mod phone;
pub mod profiles;
pub mod projection;
pub mod understand;
