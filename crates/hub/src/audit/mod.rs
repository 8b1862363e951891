//! Who changed what, and when: an entry for every change of a channel, its credentials, or a flag, and for what an operator does about a
//! message; written in the transaction of the change and never changed again. No secret is ever in one.

pub mod api;

use serde_json::{Value, json};

use crate::conversations::model::{ChannelId, Millis};
use crate::ids::{AuditId, ContactId, Ids, MessageId, TemplateId};

/// Who made a change that nobody asked for: Meta refused credentials, or took them again.
pub const SYSTEM: &str = "system";
/// Who made a change that the settings brought.
pub const SETTINGS: &str = "settings";

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Ours.
    pub id: AuditId,
    /// When.
    pub at: Millis,
    /// Who: the key that was shown, [`SYSTEM`] or [`SETTINGS`].
    pub actor: String,
    /// What was done, such as `channel.add`.
    pub action: &'static str,
    /// To what, such as `channel:whatsapp`.
    pub subject: String,
    /// Before and after, as far as they may be seen.
    pub detail: Value,
}

/// Makes the entries of one change.
#[derive(Debug, Clone)]
pub struct Auditor {
    ids: Ids,
    actor: String,
    at: Millis,
}

impl Auditor {
    /// For what this one does now.
    pub fn new(ids: &Ids, actor: &str, at: Millis) -> Self {
        Self {
            ids: ids.clone(),
            actor: actor.to_owned(),
            at,
        }
    }

    /// Something was done to a channel.
    pub fn channel(&self, action: &'static str, id: &ChannelId, detail: Value) -> AuditEntry {
        self.entry(action, format!("channel:{id}"), detail)
    }

    /// Something was done to a message, or a comment.
    pub fn message(&self, action: &'static str, id: MessageId, detail: Value) -> AuditEntry {
        self.entry(action, format!("message:{id}"), detail)
    }

    /// Something was done to a message template at Meta.
    pub fn template(&self, action: &'static str, id: TemplateId, detail: Value) -> AuditEntry {
        self.entry(action, format!("template:{id}"), detail)
    }

    /// Something was noted of a contact.
    pub fn contact(&self, action: &'static str, id: ContactId, detail: Value) -> AuditEntry {
        self.entry(action, format!("contact:{id}"), detail)
    }

    /// A flag was set from one value to another; `None` is its default.
    pub fn flag(&self, action: &'static str, name: &str, before: Option<bool>, after: Option<bool>) -> AuditEntry {
        self.entry(
            action,
            format!("flag:{name}"),
            json!({"before": before, "after": after}),
        )
    }

    fn entry(&self, action: &'static str, subject: String, detail: Value) -> AuditEntry {
        AuditEntry {
            id: self.ids.next(),
            at: self.at,
            actor: self.actor.clone(),
            action,
            subject,
            detail,
        }
    }
}

/// An entry as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAuditEntry {
    /// Ours.
    pub id: AuditId,
    /// When.
    pub at: Millis,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Before and after.
    pub detail: Value,
}
