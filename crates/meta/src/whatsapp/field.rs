//! Which kind of event an item, or a whole change, is.
//!
//! The field's name decides together with the keys that are present, because Meta's own samples carry wrong field names
//! (reference `whatsapp.md` 8).

use crate::notification::EventKind;

/// The keys of `value` whose elements are events of their own (reference `whatsapp.md` 3, 4.10, 6.5, 7, 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Messages,
    Statuses,
    Errors,
    UserActions,
    MessageEchoes,
    History,
    StateSync,
    UserPreferences,
    UserIdUpdate,
    Calls,
}

impl List {
    pub(super) const ALL: [Self; 10] = [
        Self::Messages,
        Self::Statuses,
        Self::Errors,
        Self::UserActions,
        Self::MessageEchoes,
        Self::History,
        Self::StateSync,
        Self::UserPreferences,
        Self::UserIdUpdate,
        Self::Calls,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Statuses => "statuses",
            Self::Errors => "errors",
            Self::UserActions => "user_actions",
            Self::MessageEchoes => "message_echoes",
            Self::History => "history",
            Self::StateSync => "state_sync",
            Self::UserPreferences => "user_preferences",
            Self::UserIdUpdate => "user_id_update",
            Self::Calls => "calls",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.name() == name)
    }

    /// What an element of this list is read as under a field. Direction comes from the field, never from `from`, so that what
    /// staff wrote on the phone is never taken for a customer's words (reference `whatsapp.md` 16, trap 17).
    pub(super) fn under(self, field: &str) -> ItemKind {
        match (self, field) {
            (Self::Messages, "history") => ItemKind::HistoryMedia,
            (Self::Messages, "message_echoes" | "smb_message_echoes") | (Self::MessageEchoes, _) => ItemKind::Echo,
            (Self::Messages, _) => ItemKind::Message,
            (Self::Statuses, "calls") => ItemKind::CallStatus,
            (Self::Statuses, _) => ItemKind::Status,
            (Self::Errors, _) => ItemKind::Error,
            (Self::UserActions, _) => ItemKind::UserAction,
            (Self::History, _) => ItemKind::History,
            (Self::StateSync, _) => ItemKind::AppState,
            (Self::UserPreferences, _) => ItemKind::UserPreference,
            (Self::UserIdUpdate, _) => ItemKind::UserIdUpdate,
            (Self::Calls, _) => ItemKind::Call,
        }
    }
}

/// What an item is, before its content is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    Message,
    Echo,
    History,
    /// `field: history` with `value.messages[]`: the media that belongs to an earlier placeholder (reference `whatsapp.md` 7).
    HistoryMedia,
    Status,
    CallStatus,
    Call,
    Error,
    UserAction,
    AppState,
    UserPreference,
    UserIdUpdate,
}

impl ItemKind {
    /// The event's kind; `message_type` is the item's `type`.
    pub(super) fn event_kind(self, message_type: Option<&str>) -> EventKind {
        match self {
            Self::Message => match message_type {
                Some("reaction") => EventKind::MessageReactions,
                Some("edit") => EventKind::MessageEdit,
                Some("revoke") => EventKind::MessageDeletion,
                _ => EventKind::Messages,
            },
            Self::Echo => EventKind::MessageEchoes,
            Self::History | Self::HistoryMedia => EventKind::History,
            Self::Status if message_type == Some("call") => EventKind::Calls,
            Self::Status => EventKind::Statuses,
            Self::CallStatus | Self::Call => EventKind::Calls,
            Self::Error => EventKind::Errors,
            Self::UserAction => EventKind::UserActions,
            Self::AppState => EventKind::AppStateSync,
            Self::UserPreference => EventKind::UserPreferences,
            Self::UserIdUpdate => EventKind::UserIdUpdate,
        }
    }
}

/// Keys that occur in the value of one kind of account event only (reference `whatsapp.md` 8). The first match counts.
const TELLING_KEYS: &[(&str, EventKind)] = &[
    ("new_quality_score", EventKind::TemplateQuality),
    ("message_template_element", EventKind::TemplateComponents),
    ("new_category", EventKind::TemplateCategory),
    ("correct_category", EventKind::TemplateCategory),
    ("requested_verified_name", EventKind::PhoneNumberName),
    ("alert_info", EventKind::AccountAlerts),
    ("flow_id", EventKind::Flows),
    ("restriction_info", EventKind::AccountUpdate),
    ("ban_info", EventKind::AccountUpdate),
    ("violation_info", EventKind::AccountUpdate),
    ("disconnection_info", EventKind::AccountUpdate),
    ("max_phone_numbers_per_business", EventKind::BusinessCapability),
    ("max_phone_numbers_per_waba", EventKind::BusinessCapability),
    ("control_passed", EventKind::MessagingHandover),
    ("control_taken", EventKind::MessagingHandover),
];

/// A key that all template events share: it tells of a status only where nothing else tells anything.
const TEMPLATE_KEY: (&str, EventKind) = ("message_template_id", EventKind::TemplateStatus);

/// Keys that frame a value and say nothing about what is in it.
const FRAME_KEYS: &[&str] = &["messaging_product", "metadata", "contacts"];

/// Whether the elements of `errors[]` are events under a field. Under an account's field they are a detail of the one event that
/// the value is, as they are for a flow (reference `whatsapp.md` 8).
pub(super) fn errors_are_events(field: &str) -> bool {
    field.is_empty() || field_kind(field).is_some_and(holds_items)
}

/// The kind of a change that holds no items, by its field and the keys of its value.
///
/// A field that normally holds items keeps its kind when its list is empty, misshapen or missing; when there is something
/// else in its place, that is unknown rather than wrong: Meta adds keys without notice.
pub(super) fn change_kind<'k>(field: &str, keys: &(impl Iterator<Item = &'k str> + Clone)) -> EventKind {
    let named = field_kind(field);
    let has = |wanted: &str| keys.clone().any(|key| key == wanted);
    let told = || TELLING_KEYS.iter().find(|(key, _)| has(key)).map(|(_, kind)| *kind);
    let told_alone = || {
        told()
            .or_else(|| has(TEMPLATE_KEY.0).then_some(TEMPLATE_KEY.1))
            .unwrap_or(EventKind::Unknown)
    };
    match named {
        // The field is believed as long as nothing speaks against it, or anything speaks for it.
        Some(kind) if !holds_items(kind) => {
            if TELLING_KEYS.iter().any(|(key, telling)| *telling == kind && has(key)) {
                kind
            } else {
                told().unwrap_or(kind)
            }
        }
        Some(kind) => {
            let expected = keys.clone().any(|key| List::from_name(key).is_some());
            let other = keys.clone().any(|key| !FRAME_KEYS.contains(&key));
            if expected || !other { kind } else { told_alone() }
        }
        None => told_alone(),
    }
}

/// Whether a field of this kind holds lists of events, rather than being one event.
fn holds_items(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Messages
            | EventKind::MessageEchoes
            | EventKind::Standby
            | EventKind::Calls
            | EventKind::History
            | EventKind::AppStateSync
            | EventKind::UserPreferences
            | EventKind::UserIdUpdate
    )
}

/// The kind of a field that Meta lists for WhatsApp (reference `whatsapp.md` 2.4); `None` for one that has no kind of its own.
fn field_kind(field: &str) -> Option<EventKind> {
    let kind = EventKind::from_name(field)?;
    match kind {
        EventKind::Messages
        | EventKind::MessageEchoes
        | EventKind::Standby
        | EventKind::MessagingHandover
        | EventKind::Calls
        | EventKind::History
        | EventKind::AppStateSync
        | EventKind::UserPreferences
        | EventKind::UserIdUpdate
        | EventKind::TemplateStatus
        | EventKind::TemplateQuality
        | EventKind::TemplateCategory
        | EventKind::TemplateComponents
        | EventKind::PhoneNumberQuality
        | EventKind::PhoneNumberName
        | EventKind::AccountUpdate
        | EventKind::AccountAlerts
        | EventKind::AccountReview
        | EventKind::AccountSettings
        | EventKind::BusinessCapability
        | EventKind::BusinessStatus
        | EventKind::BusinessUsername
        | EventKind::Security
        | EventKind::Flows
        | EventKind::Groups => Some(kind),
        // Instagram's fields, and kinds that only an item can have.
        EventKind::MessageEdit
        | EventKind::MessageDeletion
        | EventKind::MessageReactions
        | EventKind::Statuses
        | EventKind::MessagingPostbacks
        | EventKind::MessagingReferral
        | EventKind::MessagingSeen
        | EventKind::MessagingOptins
        | EventKind::Comments
        | EventKind::LiveComments
        | EventKind::Mentions
        | EventKind::Media
        | EventKind::StoryInsights
        | EventKind::UserActions
        | EventKind::Errors
        | EventKind::Unknown => None,
    }
}
