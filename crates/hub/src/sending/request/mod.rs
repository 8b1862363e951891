//! What Meta is sent: the bodies of the send calls, and what can be known to be wrong with a message before. Pure.
//!
//! - [`limits`]: every bound as a row of one table, and the walk that holds a message to it.
//! - [`check()`]: beside the bounds, what belongs together and what excludes each other.
//! - `whatsapp`, `instagram`: the bodies. Whatever passes [`check()`] has one.

use serde_json::{Value, json};

use crate::channels::model::ChannelKind;
use crate::conversations::content::Content;
use crate::conversations::model::{Identity, IdentityKind};
use crate::sending::email;

mod check;
mod instagram;
pub mod limits;
mod whatsapp;

pub use check::check;
pub use instagram::tag_human_agent;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A WhatsApp phone number, as digits.
    Phone(String),
    /// A WhatsApp business-scoped user id: it goes into `recipient`, for in `to` it would be accepted and never arrive
    /// (reference `whatsapp.md` 6.4).
    UserId(String),
    /// An Instagram-scoped id.
    Igsid(String),
    /// An e-mail address.
    Email(String),
    /// Whoever wrote a comment, by Meta's id of it: to be answered in a direct message.
    CommentAuthor(String),
    /// Below a comment, by Meta's id of it.
    Comment(String),
    /// Below a mention, by Meta's ids of the post and of the comment, if it is in one.
    Mention {
        /// The post.
        media_id: String,
        /// The comment.
        comment_id: Option<String>,
    },
}

/// The address of a contact on a channel: of several, the one that was used last. `None` if there is none.
pub fn address_of(kind: ChannelKind, account: &str, identities: &[Identity]) -> Option<Address> {
    let latest = |kind: IdentityKind, scope: &str| {
        identities
            .iter()
            .filter(|identity| identity.key.kind == kind && identity.key.scope == scope)
            .max_by_key(|identity| identity.seen_at)
            .map(|identity| identity.shown.clone())
    };
    match kind {
        // A phone number can be sent everything; a user id not (authentication templates, reference `whatsapp.md` 6.4).
        ChannelKind::WhatsApp => latest(IdentityKind::Phone, "")
            .map(Address::Phone)
            .or_else(|| latest(IdentityKind::UserId, "").map(Address::UserId)),
        ChannelKind::Instagram => latest(IdentityKind::Igsid, account).map(Address::Igsid),
        ChannelKind::Email => latest(IdentityKind::Email, "").map(Address::Email),
    }
}

/// What is wrong with a message, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, as the caller wrote it: `content.text`.
    pub field: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            detail: detail.into(),
        }
    }
}

/// The body of a send call. `refers_to` is Meta's id of the message that is answered, or reacted to; `callback` comes back in every status of the
/// message (WhatsApp).
pub fn body(address: &Address, content: &Content, refers_to: Option<&str>, callback: &str) -> Value {
    match address {
        Address::Phone(_) | Address::UserId(_) => whatsapp::body(address, content, refers_to, callback),
        Address::Igsid(igsid) => instagram::body(&json!({ "id": igsid }), content, refers_to),
        Address::CommentAuthor(comment_id) => instagram::body(&json!({ "comment_id": comment_id }), content, None),
        Address::Comment(comment_id) => instagram::comment(json!({ "comment_id": comment_id }), content),
        Address::Mention { media_id, comment_id } => {
            let mut place = json!({ "media_id": media_id });
            if let Some(comment_id) = comment_id {
                place["comment_id"] = comment_id.as_str().into();
            }
            instagram::comment(place, content)
        }
        Address::Email(address) => email::body(address, content, callback),
    }
}

/// Whether to ask for it twice is the same as to ask once: a reaction replaces the one before (reference `whatsapp.md` 4.4, `instagram.md` 3.3).
pub fn is_repeatable(body: &Value) -> bool {
    body["type"] == "reaction" || body.get("sender_action").is_some()
}

/// Whether a body is a comment's: it goes below a comment or a post, and not to Instagram's messages.
pub fn is_comment(body: &Value) -> bool {
    body["message"].is_string()
}

/// Whether a body answers a comment privately: Meta takes one for each.
pub fn is_private_reply(body: &Value) -> bool {
    body["recipient"]["comment_id"].is_string()
}

#[cfg(test)]
mod tests;
