//! Instagram webhooks, typed.
//!
//! [`split()`] takes one POST apart into its [events](crate::notification::Event), cheaply and without judging any of them: it reads just
//! enough to name each one. [`parse`] later understands one event from its raw form. Both look at an event through the same
//! `item::Item`, so that they cannot disagree about what it is.
//!
//! Guarantees: no input panics; every item of every entry becomes exactly one event, whatever its shape; splitting a body made
//! of one event's `raw` gives that event again; only a body that is not an Instagram envelope is refused.
//!
//! Where to read on: `split` (envelope and entries), `item` (which kind an item is), `identity` (what makes two events the
//! same), `entry` (what an event says) with `message`, `referral`, `comment` and `handover`, `json` (lenient reading).

mod comment;
mod entry;
mod handover;
mod identity;
mod item;
mod json;
mod message;
mod referral;
mod split;

pub use comment::Comment;
pub use entry::{Change, Entry, Reaction, ShapeError, parse};
pub use handover::{AppRoles, Handover};
pub(crate) use json::millis_of_text;
pub use message::{Attachment, AttachmentKind, Message, ReplyTo};
pub use referral::{AdsContext, Referral};
pub use split::split;
