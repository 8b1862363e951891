//! Message templates: what Meta has approved for a WhatsApp Business Account, as it is known here.
//!
//! The store has a definition of every template in every language; the numbers of one account share them. They are read whole at the start, on
//! schedule, and whenever something says that they are no longer right: an event of Meta's, which also changes the definition at once
//! ([`news`]), a refusal of Meta's, or a send that does not fit ([`sync`]).
//!
//! A send is held against the definition before it is queued ([`verify`]): a template that is not there, not approved, or wants other values is
//! refused, with what is wanted now. Where an account was never read, Meta decides. One that is paused stops what is queued until it goes on;
//! one that is disabled fails it ([`model::Standing`], asked by [`crate::sending`] before each call).
//!
//! - [`model`]: a definition, and whether it can be sent. [`shape`]: what it says and takes. [`check`]: values held against it, and
//!   filled in. [`api`]: HTTP.

pub mod api;
pub mod check;
pub mod model;
pub mod news;
pub mod shape;
pub mod sync;
pub mod verify;
pub mod view;
