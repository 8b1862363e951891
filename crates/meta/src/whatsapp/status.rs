//! How far a message of ours got (reference `whatsapp.md` 5).

use super::entry::Person;
use super::shape::{ErrorItem, Misshapen, Object};

/// One step of a sent message. Steps come out of order, twice, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The message that it is about: the id that the send call answered.
    pub message_id: String,
    /// The step.
    pub status: StatusKind,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Who the message was sent to; nobody for a group.
    pub recipient: Person,
    /// The group that the message was sent to.
    pub group_id: Option<String>,
    /// In a group: whose device this step is about.
    pub participant: Option<Person>,
    /// What the send call gave as `biz_opaque_callback_data`.
    pub callback_data: Option<String>,
    /// Why it failed; usually one.
    pub errors: Vec<ErrorItem>,
    /// What it costs.
    pub pricing: Option<Pricing>,
    /// Meta's billing conversation; since Graph v24 only inside a free entry point window.
    pub conversation: Option<BillingConversation>,
    /// The template, for Direct Send.
    pub template_id: Option<String>,
}

/// The step that a message reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusKind {
    /// It left Meta's servers.
    Sent,
    /// It reached a device.
    Delivered,
    /// It was shown; implies delivered.
    Read,
    /// A voice message was played.
    Played,
    /// It was not sent or not delivered.
    Failed,
    /// Legacy: to be kept and ignored.
    Deleted,
    /// Legacy: to be kept and ignored.
    Warning,
    /// A step that is not documented, as Meta spelled it.
    Other(String),
}

/// What a message costs: derive the cost from `kind` and `category`, since `billable` will be withdrawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pricing {
    /// Whether it is charged at all.
    pub billable: Option<bool>,
    /// `PMP`, or `CBP` before July 2025.
    pub model: Option<String>,
    /// `regular`, `free_customer_service`, `free_entry_point`, …
    pub kind: Option<String>,
    /// `marketing`, `utility`, `service`, …
    pub category: Option<String>,
    /// `paid_exempt`.
    pub subtype: Option<String>,
}

/// Meta's billing conversation, which is no thread of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BillingConversation {
    /// Meta's id of it.
    pub id: Option<String>,
    /// When it ends, in milliseconds since 1970; only with `sent`.
    pub expires_at: Option<i64>,
    /// What opened it: `marketing`, `service`, `referral_conversion`, …
    pub origin: Option<String>,
}

impl Status {
    pub(super) fn read(status: Object<'_>, entry_time: Option<i64>) -> Result<Self, Misshapen> {
        let message_id = status.required_text("id")?;
        let kind = status.required_text("status")?;
        let at = status
            .millis("timestamp")
            .or(entry_time)
            .ok_or_else(|| status.missing("timestamp", "a time"))?;
        let mut recipient = read_recipient(status);
        let group_id = if status.str("recipient_type") == Some("group") {
            recipient.phone.take()
        } else {
            None
        };
        let participant = Person::read(
            status,
            "recipient_participant_id",
            "recipient_participant_user_id",
            "recipient_participant_parent_user_id",
        );
        Ok(Self {
            message_id,
            status: StatusKind::from_name(&kind),
            at,
            recipient,
            group_id,
            participant: Some(participant).filter(|participant| !participant.is_nobody()),
            callback_data: status.text("biz_opaque_callback_data"),
            errors: ErrorItem::read_all(status),
            pricing: status.object("pricing").map(|pricing| Pricing {
                billable: pricing.boolean("billable"),
                model: pricing.text("pricing_model"),
                kind: pricing.text("type"),
                category: pricing.text("category"),
                subtype: pricing.text("subtype"),
            }),
            conversation: status.object("conversation").map(|conversation| BillingConversation {
                id: conversation.text("id"),
                expires_at: conversation.millis("expiration_timestamp"),
                origin: conversation.object("origin").and_then(|origin| origin.text("type")),
            }),
            template_id: status.id("template_id"),
        })
    }
}

/// The person a status is about; the parent's key was spelled otherwise before 2026-05-05.
pub(super) fn read_recipient(status: Object<'_>) -> Person {
    let mut recipient = Person::read(status, "recipient_id", "recipient_user_id", "recipient_parent_user_id");
    if recipient.parent_user_id.is_none() {
        recipient.parent_user_id = status.text("parent_recipient_user_id");
    }
    recipient
}

impl StatusKind {
    /// Understands Meta's spelling.
    pub fn from_name(name: &str) -> Self {
        match name {
            "sent" => Self::Sent,
            "delivered" => Self::Delivered,
            "read" => Self::Read,
            "played" => Self::Played,
            "failed" => Self::Failed,
            "deleted" => Self::Deleted,
            "warning" => Self::Warning,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Meta's spelling.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
            Self::Warning => "warning",
            Self::Other(name) => name,
        }
    }
}
