//! One POST from Meta, split into its events.
//!
//! A *notification* is one POST; an *event* is one change inside it. Splitting is cheap and cannot fail for a single event:
//! only an envelope that is not Meta's is refused ([`EnvelopeError`]). What an event says is understood later, from
//! [`Event::raw`] alone, by [`crate::whatsapp::parse`] or [`crate::instagram::parse`].

use std::fmt;

/// Which of Meta's products a webhook belongs to; decided by the address that it was posted to, and checked against `object`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// `object: "whatsapp_business_account"`
    WhatsApp,
    /// `object: "instagram"`
    Instagram,
}

impl Platform {
    /// Both products.
    pub const ALL: &[Self] = &[Self::WhatsApp, Self::Instagram];

    /// `whatsapp` or `instagram`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WhatsApp => "whatsapp",
            Self::Instagram => "instagram",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The asset that an event belongs to, by Meta's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// A WhatsApp phone number (`value.metadata.phone_number_id`).
    PhoneNumber(String),
    /// A WhatsApp Business Account (`entry.id`), for fields that name no phone number.
    BusinessAccount(String),
    /// An Instagram professional account (`entry.id`).
    Instagram(String),
}

impl Account {
    /// Meta's id alone.
    pub fn id(&self) -> &str {
        match self {
            Self::PhoneNumber(id) | Self::BusinessAccount(id) | Self::Instagram(id) => id,
        }
    }
}

/// One change inside a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What kind of change this is.
    pub kind: EventKind,
    /// Whose event it is.
    pub account: Account,
    /// What makes this event what it is: equal for every repeat of the same event, different for any two different ones.
    pub external_id: String,
    /// Meta's time of the event, in milliseconds since 1970; `None` where the payload has none.
    pub occurred_at: Option<i64>,
    /// One `entry` element with exactly this one item in it, as JSON: all that is needed to understand the event.
    pub raw: String,
}

/// Why a whole body was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeError {
    /// For a person: what is wrong with the body.
    pub reason: String,
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(| $alias:literal)*,)*) => {
        /// What kind of change an event is. Named as Meta names the field, in one spelling for both products.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind { $($(#[$doc])* $variant,)* }

        impl EventKind {
            /// Every kind, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The canonical spelling.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Understands the canonical spelling and every other one that is in use for it (reference `instagram.md` 2.3).
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name $(| $alias)* => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

event_kinds! {
    /// Something a customer said: any WhatsApp `messages[]` item that is not of a kind below, an Instagram message.
    Messages = "messages" | "message",
    /// What the business itself said elsewhere: `smb_message_echoes`, `message_echoes`, Instagram `is_echo`.
    MessageEchoes = "message_echoes" | "smb_message_echoes",
    /// A message's text was changed.
    MessageEdit = "message_edit" | "message_edits",
    /// A message was taken back: WhatsApp `revoke`, Instagram `is_deleted`.
    MessageDeletion = "message_deletion" | "message_deletions",
    /// A reaction, or its removal.
    MessageReactions = "message_reactions" | "messaging_reactions",
    /// How far an outbound message got (WhatsApp `statuses[]`).
    Statuses = "statuses" | "message_status",
    /// An Instagram button, ice breaker or menu item was pressed.
    MessagingPostbacks = "messaging_postbacks" | "message_postbacks",
    /// An Instagram conversation was entered by a link or an ad.
    MessagingReferral = "messaging_referral" | "messaging_referrals" | "message_referrals",
    /// An Instagram customer has read up to a message.
    MessagingSeen = "messaging_seen" | "message_seen" | "message_reads" | "messaging_reads",
    /// A thread changed hands between apps.
    MessagingHandover = "messaging_handover" | "messaging_handovers",
    /// An Instagram opt-in.
    MessagingOptins = "messaging_optins",
    /// An event of a thread that another app owns.
    Standby = "standby",
    /// A comment on the account's media.
    Comments = "comments",
    /// A comment during a live broadcast.
    LiveComments = "live_comments",
    /// The account was mentioned in a caption or a comment.
    Mentions = "mentions" | "mention",
    /// A new post (Meta has no such webhook; other senders make it).
    Media = "media",
    /// Totals of a story at its end.
    StoryInsights = "story_insights",
    /// A message from before the number was connected (coexistence).
    History = "history",
    /// The address book of the phone app (coexistence).
    AppStateSync = "smb_app_state_sync",
    /// WhatsApp's own opt-out and opt-in.
    UserPreferences = "user_preferences",
    /// A business-scoped user id was replaced by another.
    UserIdUpdate = "user_id_update",
    /// A marketing link was followed (`user_actions[]`).
    UserActions = "user_actions",
    /// A problem that belongs to no message (`value.errors[]`).
    Errors = "errors",
    /// A call.
    Calls = "calls",
    /// A template was approved, rejected, paused…
    TemplateStatus = "message_template_status_update",
    /// A template's quality changed.
    TemplateQuality = "message_template_quality_update",
    /// A template's category changes or has changed.
    TemplateCategory = "template_category_update" | "template_correct_category_detection",
    /// A template's text changed.
    TemplateComponents = "message_template_components_update",
    /// A number's limit or throughput changed.
    PhoneNumberQuality = "phone_number_quality_update",
    /// A number's display name was decided on.
    PhoneNumberName = "phone_number_name_update",
    /// Something happened to the account: restriction, ban, partner removed…
    AccountUpdate = "account_update",
    /// A warning about the account.
    AccountAlerts = "account_alerts",
    /// The account was reviewed.
    AccountReview = "account_review_update",
    /// The account's settings changed.
    AccountSettings = "account_settings_update",
    /// What the account may do changed.
    BusinessCapability = "business_capability_update",
    /// The business's own status changed.
    BusinessStatus = "business_status_update",
    /// The business's user name changed.
    BusinessUsername = "business_username_update" | "business_username_updates" | "phone_number_username_update",
    /// A PIN was changed or asked for.
    Security = "security",
    /// A flow changed its state or misbehaves.
    Flows = "flows",
    /// One of the four `group_*_update` fields.
    Groups = "groups" | "group_lifecycle_update" | "group_participants_update" | "group_settings_update" | "group_status_update",
    /// Anything else: kept as it came.
    Unknown = "unknown",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Splits a notification's body into its events, each with a stable identity.
///
/// A body for another product, one that is not JSON, or one without an `entry` array is refused; everything else yields one event
/// for each item of each change of each entry, whatever its shape. Work and memory grow with the body's length, never faster.
pub fn split(platform: Platform, body: &[u8]) -> Result<Vec<Event>, EnvelopeError> {
    match platform {
        Platform::WhatsApp => crate::whatsapp::split(body),
        Platform::Instagram => crate::instagram::split(body),
    }
}

/// Joins what makes an event what it is into one string, such that different parts never make the same string: a `:` or `%` inside a
/// part is written `%3A` or `%25`.
pub(crate) fn external_id(parts: &[&str]) -> String {
    let mut id = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            id.push(':');
        }
        for character in part.chars() {
            match character {
                ':' => id.push_str("%3A"),
                '%' => id.push_str("%25"),
                other => id.push(other),
            }
        }
    }
    id
}

/// Identity of an event that has no natural one: `hash:` and the SHA-256 of its value in canonical form (keys sorted, no spaces), so
/// that a repeat whose keys come in another order is still the same event.
pub(crate) fn hash_id(kind: EventKind, value: &serde_json::Value) -> String {
    // serde_json's map is sorted by key, so printing a parsed value is canonical.
    let canonical = value.to_string();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
    external_id(&[kind.as_str(), "hash", &hex::encode(digest)])
}

/// The last millisecond of the year 9999: what lies beyond is no time, and could not be reckoned with.
pub(crate) const MILLIS_MAX: i64 = 253_402_300_799_999;

/// A time in milliseconds since 1970. Meta's come as seconds or milliseconds, as numbers or strings: from 10^12 on it is milliseconds
/// (reference `instagram.md` 2.1, `whatsapp.md` 3). Always later than 1970 and within the year 9999.
pub(crate) fn epoch_millis(time: i64) -> Option<i64> {
    let millis = if time >= 1_000_000_000_000 {
        time
    } else {
        time.checked_mul(1000)?
    };
    (1..=MILLIS_MAX).contains(&millis).then_some(millis)
}
