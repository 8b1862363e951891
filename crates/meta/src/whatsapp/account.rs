//! What concerns a person or the phone app rather than a message: preferences, changed ids, the address book, calls.

use serde_json::Value;

use super::entry::Person;
use super::shape::{ErrorItem, Misshapen, Object};
use super::status::read_recipient;

/// The customer's wish about marketing messages, expressed in WhatsApp's own menu (reference `whatsapp.md` 8, user_preferences).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPreference {
    /// Whose wish.
    pub person: Person,
    /// What for: `marketing_messages`.
    pub category: Option<String>,
    /// What they wish.
    pub value: Preference,
    /// For a person: what happened.
    pub detail: Option<String>,
    /// With [`Preference::Signup`].
    pub signup_id: Option<String>,
    /// When, in milliseconds since 1970.
    pub at: Option<i64>,
}

/// A wish about marketing messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preference {
    /// No more of them: a template that is sent all the same is accepted, and then fails with 131050.
    Stop,
    /// Again. Clears Meta's own flag only, not an opt-out that was typed in the chat.
    Resume,
    /// Signed up for them.
    Signup,
    /// One that is not documented, as Meta spelled it.
    Other(String),
}

impl UserPreference {
    pub(super) fn read(item: &Value, entry_time: Option<i64>) -> Result<Self, Misshapen> {
        let preference = Object::of(item)?;
        let value = preference.required_text("value")?;
        let person = Person::read(preference, "wa_id", "user_id", "parent_user_id");
        if person.is_nobody() {
            return Err(preference.missing("user_id", "a person's id"));
        }
        Ok(Self {
            person,
            category: preference.text("category"),
            value: match value.as_str() {
                "stop" => Preference::Stop,
                "resume" => Preference::Resume,
                "signup" => Preference::Signup,
                _ => Preference::Other(value),
            },
            detail: preference.text("detail"),
            signup_id: preference.id("signup_id"),
            at: preference.millis("timestamp").or(entry_time),
        })
    }
}

/// A person's business-scoped id was replaced (reference `whatsapp.md` 6.5). The same news may also come as a `system` message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdUpdate {
    /// The ids until now; no phone, since Meta names only the current one.
    pub previous: Person,
    /// The ids from now on.
    pub current: Person,
    /// For a person: what happened.
    pub detail: Option<String>,
    /// When, in milliseconds since 1970.
    pub at: Option<i64>,
}

impl UserIdUpdate {
    pub(super) fn read(item: &Value, entry_time: Option<i64>) -> Result<Self, Misshapen> {
        let update = Object::of(item)?;
        let side = |side: &str| Person {
            phone: None,
            user_id: update.object("user_id").and_then(|ids| ids.text(side)),
            parent_user_id: update.object("parent_user_id").and_then(|ids| ids.text(side)),
        };
        let previous = side("previous");
        let mut current = side("current");
        if previous.is_nobody() || current.is_nobody() {
            return Err(update.missing("user_id", "a previous and a current id"));
        }
        current.phone = update.id("wa_id");
        Ok(Self {
            previous,
            current,
            detail: update.text("detail"),
            at: update.millis("timestamp").or(entry_time),
        })
    }
}

/// A change in the phone app's address book (reference `whatsapp.md` 7). The names are the business's own: kept apart from what
/// the person calls themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppState {
    /// What was done.
    pub action: AppStateAction,
    /// Whose entry.
    pub person: Person,
    /// Absent when removed.
    pub full_name: Option<String>,
    /// Absent when removed.
    pub first_name: Option<String>,
    /// When, in milliseconds since 1970.
    pub at: Option<i64>,
}

/// What was done to an address book entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppStateAction {
    /// Added or edited.
    Add,
    /// Removed.
    Remove,
    /// One that is not documented, as Meta spelled it.
    Other(String),
}

impl AppState {
    pub(super) fn read(item: &Value, entry_time: Option<i64>) -> Result<Self, Misshapen> {
        let state = Object::of(item)?;
        let action = state.required_text("action")?;
        let contact = state.required_object("contact")?;
        let person = Person::read(contact, "phone_number", "user_id", "parent_user_id");
        if person.is_nobody() {
            return Err(contact.missing("phone_number", "a person's id").inside("contact"));
        }
        Ok(Self {
            action: match action.as_str() {
                "add" => AppStateAction::Add,
                "remove" => AppStateAction::Remove,
                _ => AppStateAction::Other(action),
            },
            person,
            full_name: contact.text("full_name"),
            first_name: contact.text("first_name"),
            at: state
                .object("metadata")
                .and_then(|metadata| metadata.millis("timestamp"))
                .or(entry_time),
        })
    }
}

/// A call, or one step of it (reference `whatsapp.md` 8, calls). An incoming call opens the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Meta's id of the call.
    pub id: String,
    /// `connect`, `terminate`; or, of a call that the business makes, `ringing`, `accepted`, `rejected`.
    pub event: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Who calls; nobody for a step, which names only the other side.
    pub from: Person,
    /// Who is called.
    pub to: Person,
    /// `USER_INITIATED` or `BUSINESS_INITIATED`.
    pub direction: Option<String>,
    /// How it ended: `COMPLETED`, `FAILED`.
    pub status: Option<String>,
    /// In milliseconds since 1970.
    pub started_at: Option<i64>,
    /// In milliseconds since 1970.
    pub ended_at: Option<i64>,
    /// How long it lasted.
    pub duration_secs: Option<i64>,
    /// Why it failed.
    pub errors: Vec<ErrorItem>,
}

impl Call {
    pub(super) fn read(item: &Value, entry_time: Option<i64>) -> Result<Self, Misshapen> {
        let call = Object::of(item)?;
        Ok(Self {
            id: call.required_text("id")?,
            event: call.required_text("event")?,
            at: call
                .millis("timestamp")
                .or(entry_time)
                .ok_or_else(|| call.missing("timestamp", "a time"))?,
            from: Person::read(call, "from", "from_user_id", "from_parent_user_id"),
            to: Person::read(call, "to", "to_user_id", "to_parent_user_id"),
            direction: call.text("direction"),
            status: call.text("status"),
            started_at: call.millis("start_time"),
            ended_at: call.millis("end_time"),
            duration_secs: call.number("duration"),
            errors: ErrorItem::read_all(call),
        })
    }

    /// A step that comes as a status, in capitals.
    pub(super) fn read_status(status: Object<'_>, entry_time: Option<i64>) -> Result<Self, Misshapen> {
        Ok(Self {
            id: status.required_text("id")?,
            event: status.required_text("status")?.to_ascii_lowercase(),
            at: status
                .millis("timestamp")
                .or(entry_time)
                .ok_or_else(|| status.missing("timestamp", "a time"))?,
            from: Person::default(),
            to: read_recipient(status),
            direction: None,
            status: None,
            started_at: None,
            ended_at: None,
            duration_secs: None,
            errors: ErrorItem::read_all(status),
        })
    }
}
