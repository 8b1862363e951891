//! One event, understood.

use serde_json::Value;

use super::account::{AppState, Call, UserIdUpdate, UserPreference};
use super::field::{ItemKind, List, change_kind, errors_are_events};
use super::history::{self, HistoryItem};
use super::message::Message;
use super::shape::{ErrorItem, Misshapen, Object, ShapeError};
use super::status::Status;
use super::wire::tree;
use crate::notification::EventKind;

/// What [`parse`] understood of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The WhatsApp Business Account; empty where the payload names none.
    pub business_account_id: String,
    /// `entry.time`, in milliseconds since 1970. Messages and statuses have none: they carry their own.
    pub time: Option<i64>,
    /// The field as Meta spelled it; empty where there was none. It can be wrong (reference `whatsapp.md` 8): go by
    /// [`Event::kind`](crate::notification::Event::kind).
    pub field: String,
    /// The business's own phone number that the event is about, where it is about one.
    pub phone_number: Option<PhoneNumber>,
    /// The person the event is about, as Meta describes them.
    pub contact: Option<Contact>,
    /// What happened.
    pub change: Change,
}

/// A phone number of the business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneNumber {
    /// Meta's id of the number: what to route on (reference `whatsapp.md` 3).
    pub id: String,
    /// The number as digits.
    pub display: Option<String>,
}

/// The ids of a person on the other side. Each may be absent, and `""` counts as absent (reference `whatsapp.md` 6.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Person {
    /// `wa_id`: the phone number's digits, as WhatsApp spells it.
    pub phone: Option<String>,
    /// The business-scoped user id, such as `GB.48201937562840117365`.
    pub user_id: Option<String>,
    /// The id that linked portfolios share, such as `GB.ENT.90217744530128866104`.
    pub parent_user_id: Option<String>,
}

impl Person {
    /// Whether no id is known.
    pub fn is_nobody(&self) -> bool {
        self.phone.is_none() && self.user_id.is_none() && self.parent_user_id.is_none()
    }

    /// Reads the three keys that a place has for one person (reference `whatsapp.md` 6.2).
    pub(super) fn read(object: Object<'_>, phone: &str, user_id: &str, parent_user_id: &str) -> Self {
        Self {
            phone: object.id(phone),
            user_id: object.text(user_id),
            parent_user_id: object.text(parent_user_id),
        }
    }
}

/// One element of `contacts[]`: a person with the name that they gave themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub person: Person,
    /// `profile.name`.
    pub name: Option<String>,
    /// The user name, without a leading `@`. It can change hands: for display only (reference `whatsapp.md` 6.1).
    pub username: Option<String>,
}

/// What happened. Account, template and phone number events are left as JSON: they are for people to read, and change often.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A customer said something, or edited, revoked, reacted.
    Message(Message),
    /// The business said something by other means than this interface; opens no window, starts nothing.
    Echo(Message),
    /// Something from before the number was connected; opens no window, starts nothing.
    History(HistoryItem),
    /// How far a message of ours got.
    Status(Status),
    /// The customer's wish about marketing, expressed in WhatsApp's own menu.
    UserPreference(UserPreference),
    /// A person's ids changed.
    UserIdUpdate(UserIdUpdate),
    /// A change in the phone app's address book.
    AppState(AppState),
    /// Problems that belong to no message.
    Errors(Vec<ErrorItem>),
    /// A marketing link was followed: `{"action_type": …}`.
    UserAction(Value),
    /// A call, or one step of it.
    Call(Call),
    /// A thread changed hands between apps: the whole `value`.
    Handover(Value),
    /// Something in a thread that another app owns: to be kept, not answered (reference `whatsapp.md` 8).
    Standby(Box<Change>),
    /// A field about an account, a number, a template, a flow or a group: the whole `value`.
    Account(Value),
    /// A field or a value that is not documented: the whole `value`, or `null`.
    Unknown(Value),
}

/// Understands one event from its `raw`, which holds one item.
///
/// Fails only where a known field's value has lost its meaning (a message without an id, a text without a body); what is unknown
/// becomes [`Change::Unknown`] or [`Content::Unknown`](super::Content::Unknown).
pub fn parse(raw: &str) -> Result<Entry, ShapeError> {
    let Some(root) = tree(raw) else {
        return Err(ShapeError {
            reason: "the event: expected JSON that a tree can hold, found something else".to_owned(),
        });
    };
    Ok(read_entry(&root)?)
}

fn read_entry(root: &Value) -> Result<Entry, Misshapen> {
    let entry = Object::of(root)?;
    let time = entry.millis("time");
    let change = match entry.list("changes") {
        Some([change]) => change,
        Some(changes) => {
            return Err(Misshapen::several("one change", changes.len()).inside("changes"));
        }
        None => return Err(entry.missing("changes", "an array")),
    };
    let in_change = |misshapen: Misshapen| misshapen.inside("changes[0]");
    let change = Object::of(change).map_err(in_change)?;
    let field = change.str("field").unwrap_or_default();
    let value = change.value("value");

    let understood = read_value(field, value, time).map_err(|misshapen| in_change(misshapen.inside("value")))?;
    let value = value.and_then(|value| Object::of(value).ok());
    Ok(Entry {
        business_account_id: entry.id("id").unwrap_or_default(),
        time,
        field: field.to_owned(),
        phone_number: value.and_then(|value| {
            // A handover names the number as its recipient (reference `whatsapp.md` 8).
            let metadata = ["metadata", "recipient"]
                .into_iter()
                .filter_map(|name| value.object(name));
            metadata.into_iter().find_map(|metadata| {
                Some(PhoneNumber {
                    id: metadata.id("phone_number_id")?,
                    display: metadata.id("display_phone_number"),
                })
            })
        }),
        contact: value.and_then(read_contact),
        change: understood,
    })
}

fn read_contact(value: Object<'_>) -> Option<Contact> {
    let contact = Object::of(value.list("contacts")?.first()?).ok()?;
    let profile = contact.object("profile");
    let username = profile
        .and_then(|profile| profile.str("username"))
        .or_else(|| contact.str("username"));
    Some(Contact {
        person: Person::read(contact, "wa_id", "user_id", "parent_user_id"),
        name: profile.and_then(|profile| profile.text("name")),
        // Meta's page shows a leading `@`, live payloads do not (reference `whatsapp.md` 6.2).
        username: username
            .map(|name| name.strip_prefix('@').unwrap_or(name))
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
    })
}

fn read_value(field: &str, value: Option<&Value>, time: Option<i64>) -> Result<Change, Misshapen> {
    let object = value.and_then(|value| Object::of(value).ok());
    let mut items = object.into_iter().flat_map(|object| {
        let events = |list: &List| *list != List::Errors || errors_are_events(field);
        List::ALL.into_iter().filter(events).flat_map(move |list| {
            object
                .list(list.name())
                .unwrap_or_default()
                .iter()
                .map(move |item| (list, item))
        })
    });
    if let Some((list, item)) = items.next() {
        let more = items.count();
        if more > 0 {
            return Err(Misshapen::several("one item", more + 1));
        }
        let metadata = object.and_then(|object| object.object("metadata"));
        // With `+` and spaces in some places, digits in others (reference `whatsapp.md` 3).
        let business: Option<String> = metadata
            .and_then(|metadata| metadata.id("display_phone_number"))
            .map(|number| number.chars().filter(char::is_ascii_digit).collect());
        let change = read_item(list.under(field), item, business.as_deref(), time)
            .map_err(|misshapen| misshapen.inside(&format!("{}[0]", list.name())))?;
        return Ok(if field == "standby" {
            Change::Standby(Box::new(change))
        } else {
            change
        });
    }

    let kind = change_kind(field, &object.map(Object::keys).into_iter().flatten());
    let expected = match kind {
        EventKind::Unknown => return Ok(Change::Unknown(value.cloned().unwrap_or_default())),
        EventKind::Messages => "messages, statuses, errors or user_actions",
        EventKind::MessageEchoes => "message_echoes",
        EventKind::Standby => "items of another app's thread",
        EventKind::Calls => "calls or statuses",
        EventKind::History => "history or messages",
        EventKind::AppStateSync => "state_sync",
        EventKind::UserPreferences => "user_preferences",
        EventKind::UserIdUpdate => "user_id_update",
        _ => "an object",
    };
    match (kind, value, object) {
        (_, value, None) => Err(Misshapen::new("an object", value)),
        (EventKind::MessagingHandover, Some(value), _) => Ok(Change::Handover(value.clone())),
        (_, Some(value), _) if expected == "an object" => Ok(Change::Account(value.clone())),
        _ => Err(Misshapen::several(expected, 0)),
    }
}

fn read_item(kind: ItemKind, item: &Value, business: Option<&str>, time: Option<i64>) -> Result<Change, Misshapen> {
    Ok(match kind {
        ItemKind::Message => Change::Message(Message::read(item, time)?),
        ItemKind::Echo => Change::Echo(Message::read(item, time)?),
        ItemKind::History => Change::History(history::read_chunk(item, business, time)?),
        ItemKind::HistoryMedia => Change::History(history::read_media(item, business, time)?),
        ItemKind::Status | ItemKind::CallStatus => {
            let status = Object::of(item)?;
            if kind == ItemKind::CallStatus || status.str("type") == Some("call") {
                Change::Call(Call::read_status(status, time)?)
            } else {
                Change::Status(Status::read(status, time)?)
            }
        }
        ItemKind::Call => Change::Call(Call::read(item, time)?),
        ItemKind::Error => Change::Errors(vec![ErrorItem::read(item)?]),
        ItemKind::UserAction => {
            Object::of(item)?;
            Change::UserAction(item.clone())
        }
        ItemKind::AppState => Change::AppState(AppState::read(item, time)?),
        ItemKind::UserPreference => Change::UserPreference(UserPreference::read(item, time)?),
        ItemKind::UserIdUpdate => Change::UserIdUpdate(UserIdUpdate::read(item, time)?),
    })
}
