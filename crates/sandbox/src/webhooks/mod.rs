//! Webhooks: what Meta would post, and to whom.
//!
//! - [`whatsapp`], [`instagram`]: one event each, built as JSON after the reference.
//! - [`status`]: how a WhatsApp message moves on after it was accepted.
//! - [`encode`]: many events into one body, escaped and signed as Meta does.
//! - [`deliver`]: posting, and repeating until 200. [`carry`]: the way to the subscriber.
//!
//! Guarantee: an event that was taken into the queue of a subscriber is posted until the subscriber answers 200, in bodies
//! that never change, for as long as `WebhookOptions::give_up_after`. What is not taken in is in the ledger as dropped.

pub(crate) mod carry;
pub(crate) mod deliver;
pub(crate) mod encode;
pub(crate) mod instagram;
pub(crate) mod status;
pub(crate) mod whatsapp;

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

/// What an app subscribes to (graph-api.md 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Object {
    /// WhatsApp.
    #[serde(rename = "whatsapp_business_account")]
    WhatsApp,
    /// Instagram.
    #[serde(rename = "instagram")]
    Instagram,
}

impl Object {
    /// The name in requests and bodies.
    pub fn name(self) -> &'static str {
        match self {
            Self::WhatsApp => "whatsapp_business_account",
            Self::Instagram => "instagram",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::WhatsApp, Self::Instagram]
            .into_iter()
            .find(|object| object.name() == name)
    }

    /// The fields that can be subscribed: whatsapp.md 2.4; for Instagram those of instagram.md 2.2 that the webhooks reference
    /// or the schema lists.
    pub(crate) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::WhatsApp => &[
                "messages",
                "message_echoes",
                "standby",
                "messaging_handovers",
                "calls",
                "history",
                "smb_app_state_sync",
                "smb_message_echoes",
                "user_preferences",
                "group_lifecycle_update",
                "group_participants_update",
                "group_settings_update",
                "group_status_update",
                "flows",
                "account_alerts",
                "account_review_update",
                "account_settings_update",
                "account_update",
                "business_capability_update",
                "business_status_update",
                "business_username_update",
                "message_template_components_update",
                "message_template_quality_update",
                "message_template_status_update",
                "template_category_update",
                "template_correct_category_detection",
                "phone_number_name_update",
                "phone_number_quality_update",
                "security",
                "partner_solutions",
                "payment_configuration_update",
                "tracking_events",
                "automatic_events",
                "consumer_profile",
            ],
            Self::Instagram => &[
                "messages",
                "message_edit",
                "message_reactions",
                "messaging_postbacks",
                "messaging_referral",
                "messaging_seen",
                "messaging_handover",
                "messaging_optins",
                "standby",
                "comments",
                "live_comments",
                "mentions",
                "story_insights",
            ],
        }
    }
}

/// What identifies an event: the id of the message that it is about to bring, or a count where it brings none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct EventId(pub String);

/// One event that waits to be posted.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    pub(crate) object: Object,
    /// The business account (WhatsApp) or the professional account (Instagram).
    pub(crate) entry_id: String,
    pub(crate) field: &'static str,
    /// What stands under `value` of a change, or as an element of `messaging`.
    pub(crate) value: Value,
    /// When it has waited long enough for company; set by the queue.
    pub(crate) ready_at: i64,
    /// Told when the event was posted for the first time; such an event doesn't wait for company.
    pub(crate) attempted: Option<oneshot::Sender<()>>,
}

impl Event {
    pub(crate) fn new(id: EventId, object: Object, entry_id: &str, field: &'static str, value: Value) -> Self {
        Self {
            id,
            object,
            entry_id: entry_id.to_owned(),
            field,
            value,
            ready_at: 0,
            attempted: None,
        }
    }
}

/// One body, posted until it is answered with 200.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) number: u64,
    pub(crate) object: Object,
    pub(crate) body: Bytes,
    pub(crate) signature_sha256: String,
    pub(crate) signature_sha1: String,
    pub(crate) events: Vec<EventId>,
    /// The business accounts, numbers and Instagram accounts that they are about.
    pub(crate) accounts: Vec<String>,
    pub(crate) first_at: i64,
    pub(crate) attempts: u32,
    /// Whether a fault held it back already.
    pub(crate) delayed: bool,
    pub(crate) attempted: Vec<oneshot::Sender<()>>,
}

/// Whom to tell (graph-api.md 10.1).
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) callback_url: String,
    /// Each with the version that its payloads follow.
    pub(crate) fields: Vec<(String, String)>,
}

impl Subscription {
    pub(crate) fn wants(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == field)
    }
}
