//! Contacts, conversations and messages: what Meta's events mean.
//!
//! - [`model`]: what they are, and the rules of how they change. Pure.
//! - [`content`]: what a message says.
//! - [`understand`]: from Meta's words to an [`understand::Effect`] on a conversation.
//! - [`projection`]: a batch of events: load what they touch, change it in memory, save it.
//! - [`mentions`]: what was said in mentions, which Meta tells only when asked.
//! - [`people`]: who an event is about: identities, bound and merged.
//! - [`consent`]: what contacts have said of being written to.
//! - [`attention`]: what people here do with a conversation.
//! - [`api`]: the reading API; [`timeline`]: what happened to one message; [`view`]: how all of them look to callers.
//!
//! Guarantee: the same events, in any order and any number of times, leave the same contacts, conversations and messages.

pub mod api;
pub mod attention;
pub mod consent;
pub mod content;
pub mod mentions;
pub mod model;
pub mod people;
pub mod phone;
pub mod profiles;
pub mod projection;
pub mod timeline;
pub mod understand;
pub mod view;
