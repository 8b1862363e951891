//! One item of an entry: which kind of event it is, and where its parts are.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json::{self, Object};
use crate::notification::EventKind;

/// Where in its entry an item was found (`instagram.md` 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An element of `messaging[]`.
    Messaging,
    /// An element of `standby[]`: the same objects, of a thread that another app owns.
    Standby,
    /// An element of `changes[]`, `{field, value}`.
    Changes,
    /// `field` and `value` directly on the entry.
    Fields,
    /// The entry itself, which has none of the above.
    Whole,
}

impl Place {
    /// The key of the list that the item belongs to.
    pub(super) fn key(self) -> Option<&'static str> {
        match self {
            Self::Messaging => Some("messaging"),
            Self::Standby => Some("standby"),
            Self::Changes => Some("changes"),
            Self::Fields | Self::Whole => None,
        }
    }

    /// Where the event object stands, for messages to a person. An event has one item, so its index is always 0.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Messaging => "messaging[0]",
            Self::Standby => "standby[0]",
            Self::Changes => "changes[0].value",
            Self::Fields => "value",
            Self::Whole => "entry",
        }
    }
}

/// The keys that tell what an event object is, in the order in which they are asked for: a message or postback may have a
/// `referral` of its own inside, and one beside it says nothing more (`instagram.md` 2.5, 2.6).
const KEYS: &[(&str, EventKind)] = &[
    ("message", EventKind::Messages),
    ("message_edit", EventKind::MessageEdit),
    ("reaction", EventKind::MessageReactions),
    ("postback", EventKind::MessagingPostbacks),
    ("read", EventKind::MessagingSeen),
    ("pass_thread_control", EventKind::MessagingHandover),
    ("take_thread_control", EventKind::MessagingHandover),
    ("request_thread_control", EventKind::MessagingHandover),
    ("app_roles", EventKind::MessagingHandover),
    ("optin", EventKind::MessagingOptins),
    ("referral", EventKind::MessagingReferral),
];

/// An item with its kind.
pub(super) struct Item<'a> {
    pub(super) place: Place,
    /// The item as it stands in its list, or the whole entry for [`Place::Fields`] and [`Place::Whole`].
    pub(super) raw: &'a RawValue,
    /// The field that a change names, as it is spelled.
    pub(super) field: Option<Cow<'a, str>>,
    /// The event object: the element of `messaging[]` or `standby[]`, the `value` of a change.
    pub(super) value: &'a RawValue,
    /// The members of `value`, if it is an object.
    pub(super) object: Option<Object<'a>>,
    /// Whether another app owns the thread.
    pub(super) standby: bool,
    /// What kind the event would be if this app owned the thread.
    pub(super) kind: EventKind,
    /// The key of `object` that told the kind.
    pub(super) key: Option<&'static str>,
    /// What stands under `key`, if it is an object.
    pub(super) body: Option<Object<'a>>,
}

impl<'a> Item<'a> {
    pub(super) fn read(place: Place, raw: &'a RawValue) -> Self {
        let mut field = None;
        let mut value = raw;
        let mut object = if place == Place::Whole { None } else { Object::read(raw) };
        if matches!(place, Place::Changes | Place::Fields)
            && let Some(change) = &object
            && (change.has("field") || change.has("value"))
        {
            field = change.text("field");
            value = change.get("value").unwrap_or(RawValue::NULL);
            object = Object::read(value);
        }

        let mut item = Self {
            place,
            raw,
            value,
            object,
            standby: place == Place::Standby || field.as_deref() == Some("standby"),
            kind: EventKind::Unknown,
            key: None,
            body: None,
            field,
        };
        item.tell_kind();
        item
    }

    /// What kind of event this is.
    pub(super) fn event_kind(&self) -> EventKind {
        if self.standby { EventKind::Standby } else { self.kind }
    }

    /// Who made the event: the sender of a message, the author of a comment.
    pub(super) fn sender(&self) -> Option<Cow<'a, str>> {
        let object = self.object.as_ref()?;
        match self.kind {
            EventKind::Comments | EventKind::LiveComments => party(object, "from"),
            _ => party(object, "sender"),
        }
    }

    /// Whom a message was for.
    pub(super) fn recipient(&self) -> Option<Cow<'a, str>> {
        party(self.object.as_ref()?, "recipient")
    }

    /// The event's own time, in milliseconds.
    pub(super) fn timestamp(&self) -> Option<i64> {
        self.object.as_ref()?.millis("timestamp")
    }

    /// Keys that hold objects decide; where there are none, the name of the field; then keys that hold something else, so that
    /// an item of a known kind and a wrong shape is a failed event, not an unknown one.
    fn tell_kind(&mut self) {
        let Some(object) = &self.object else {
            self.kind = self.field_kind().unwrap_or(EventKind::Unknown);
            return;
        };
        let told = KEYS
            .iter()
            .find_map(|(key, kind)| object.object(key).map(|body| (*key, *kind, body)));
        if let Some((key, kind, body)) = told {
            self.kind = if kind == EventKind::Messages {
                self.message_kind(&body)
            } else {
                kind
            };
            self.key = Some(key);
            self.body = Some(body);
        } else if let Some(kind) = self.field_kind() {
            self.kind = kind;
        } else if let Some((key, kind)) = KEYS.iter().find(|(key, _)| object.has(key)) {
            self.kind = *kind;
            self.key = Some(key);
        }
    }

    /// Echoes and deletions ride on `messages` (`instagram.md` 2.4, 2.5); the field `message_echoes` is accepted too. A
    /// taken-back echo is a deletion.
    fn message_kind(&self, message: &Object<'_>) -> EventKind {
        let field = self.field_kind();
        if message.flag("is_deleted") || field == Some(EventKind::MessageDeletion) {
            EventKind::MessageDeletion
        } else if message.flag("is_echo") || field == Some(EventKind::MessageEchoes) {
            EventKind::MessageEchoes
        } else {
            EventKind::Messages
        }
    }

    /// The kind that the field's name stands for, if Instagram has that field in any spelling (`instagram.md` 2.2, 2.3). The
    /// names that only WhatsApp has are as unknown here as any other.
    fn field_kind(&self) -> Option<EventKind> {
        let kind = EventKind::from_name(self.field.as_deref()?)?;
        match kind {
            EventKind::Messages
            | EventKind::MessageEchoes
            | EventKind::MessageEdit
            | EventKind::MessageDeletion
            | EventKind::MessageReactions
            | EventKind::MessagingPostbacks
            | EventKind::MessagingReferral
            | EventKind::MessagingSeen
            | EventKind::MessagingHandover
            | EventKind::MessagingOptins
            | EventKind::Comments
            | EventKind::LiveComments
            | EventKind::Mentions
            | EventKind::Media
            | EventKind::StoryInsights => Some(kind),
            // `standby` says whose thread it is, not what happened in it.
            _ => None,
        }
    }
}

/// The id of one side: `{"id": …}`, or the id alone.
fn party<'a>(object: &Object<'a>, key: &str) -> Option<Cow<'a, str>> {
    match object.object(key) {
        Some(party) => party.id("id"),
        None => object.get(key).and_then(json::scalar).filter(|id| !id.is_empty()),
    }
}
