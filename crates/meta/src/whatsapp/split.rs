//! From one POST's body to its events.
//!
//! Guarantees: every item of every list of every change of every entry comes out as exactly one event; a change, entry or part of a
//! history chunk that holds no item comes out whole, as one event; splitting an event's `raw` again gives the same event. Work and
//! memory grow with the body: what several items share (the entry's id, metadata, a contact) is repeated for each only up to a
//! fixed size, beyond which it is left out.
//!
//! This runs for every notification before it is acknowledged, so it reads each level once, borrows, and copies the body's own
//! bytes where an entry already holds a single item.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::field::{ItemKind, List, change_kind, errors_are_events};
use super::wire::{
    ChangeShape, ChunkShape, ContactKeys, EntryShape, ItemKeys, Items, MetadataKeys, Notification, Scalar, ThreadShape,
    ValueShape, object, tree,
};
use crate::notification::{Account, EnvelopeError, Event, EventKind, external_id, hash_id};

/// The `object` of every WhatsApp notification (reference `whatsapp.md` 3).
const OBJECT: &str = "whatsapp_business_account";

/// How much of what items share is repeated with each of them.
const SHARED_ID_BYTES_MAX: usize = 256;
const SHARED_PART_BYTES_MAX: usize = 2048;
const SHARED_SCALAR_BYTES_MAX: usize = 128;
const SHARED_SCALARS_MAX: usize = 8;

/// Splits a notification's body into its events.
///
/// Refused is only what is no WhatsApp notification: not JSON, no `object` of `whatsapp_business_account`, no `entry` array.
pub fn split(body: &[u8]) -> Result<Vec<Event>, EnvelopeError> {
    let refused = |reason: String| EnvelopeError { reason };
    let text = std::str::from_utf8(body).map_err(|error| refused(format!("the body is not JSON: {error}")))?;
    let text = text.trim_ascii();
    if !text.starts_with('{') {
        // Told apart for the reader of the reason: an array or a number is JSON, but no notification.
        return Err(refused(match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => "the body is not a JSON object".to_owned(),
            Err(error) => format!("the body is not JSON: {error}"),
        }));
    }
    let notification: Notification<'_> = serde_json::from_str(text).map_err(|error| {
        refused(if error.is_data() {
            format!("the body is not a notification: {error}")
        } else {
            format!("the body is not JSON: {error}")
        })
    })?;
    match &notification.object {
        Scalar::Text(object) if object == OBJECT => {}
        Scalar::Text(object) => {
            let object: String = object.chars().take(64).collect();
            return Err(refused(format!("`object` is {object:?}; {OBJECT:?} is wanted")));
        }
        Scalar::Absent => {
            return Err(refused(format!("`object` is missing; {OBJECT:?} is wanted")));
        }
        Scalar::Number(_) | Scalar::Other => {
            return Err(refused(format!("`object` is not a string; {OBJECT:?} is wanted")));
        }
    }
    let Some(entries) = notification.entry.0 else {
        return Err(refused("`entry` is missing or not an array".to_owned()));
    };

    let mut events = Vec::with_capacity(entries.len());
    for raw in entries {
        split_entry(raw.get(), &mut events);
    }
    Ok(events)
}

fn split_entry(raw: &str, events: &mut Vec<Event>) {
    let shape: Option<EntryShape<'_>> = object(raw);
    let entry = EntryFrame::new(raw, shape.as_ref());
    let changes = shape
        .as_ref()
        .and_then(|shape| shape.changes.0.as_deref())
        .unwrap_or_default();
    if changes.is_empty() {
        let identity = entry.identity([("entry", value_of(raw))]);
        events.push(Event {
            kind: EventKind::Unknown,
            account: entry.account(),
            external_id: hash_id(EventKind::Unknown, &identity),
            occurred_at: entry.time,
            raw: raw.to_owned(),
        });
        return;
    }
    let alone = changes.len() == 1;
    for change in changes {
        split_change(&entry, change.get(), alone, events);
    }
}

/// `alone`: the entry holds no other change.
fn split_change(entry: &EntryFrame<'_>, raw: &str, alone: bool, events: &mut Vec<Event>) {
    let Some(mut change) = object::<ChangeShape<'_>>(raw) else {
        events.push(whole_change(entry, raw, "", &ValueShape::default(), alone));
        return;
    };
    let field = change
        .field
        .text()
        .filter(|field| field.len() <= SHARED_ID_BYTES_MAX)
        .unwrap_or_default();
    if !errors_are_events(field) {
        change.value.unlist(List::Errors);
    }
    let mut units = Vec::new();
    for (list, _, items) in &change.value.lists {
        for item in items {
            match list {
                List::History => history_units(item, &mut units),
                _ => units.push(Unit::new(*list, item)),
            }
        }
    }
    if units.is_empty() {
        events.push(whole_change(entry, raw, field, &change.value, alone));
        return;
    }

    // Scalars beside the lists travel with each item; anything larger is an event of its own, so that a list which Meta adds
    // one day is kept although nothing here knows it yet.
    let mut scalars = 0;
    let (beside, left): (Vec<_>, Vec<_>) =
        std::mem::take(&mut change.value.others)
            .into_iter()
            .partition(|(name, value)| {
                let scalar =
                    !value.get().starts_with(['{', '[']) && name.len() + value.get().len() <= SHARED_SCALAR_BYTES_MAX;
                scalars += usize::from(scalar);
                scalar && scalars <= SHARED_SCALARS_MAX
            });

    let value = &change.value;
    let single = alone && units.len() == 1 && value.lists.len() == 1 && value.contacts.len() <= 1 && left.is_empty();
    let account = phone_number(value.metadata).unwrap_or_else(|| entry.account());
    let frame = ChangeFrame {
        entry,
        field,
        metadata: shared_metadata(value.metadata, &account),
        beside: &beside,
    };
    let mut contacts = Contacts::new(&value.contacts);
    for unit in &units {
        let keys: ItemKeys<'_> = if unit.readable {
            object(unit.item.get()).unwrap_or_default()
        } else {
            ItemKeys::default()
        };
        let (kind, external_id) = identify(unit, &keys, field, &frame);
        let raw = if single {
            entry.raw.to_owned()
        } else {
            frame.print(unit, contacts.of(&keys, units.len()))
        };
        let occurred_at = keys.timestamp.millis().or_else(|| nested_time(unit)).or(entry.time);
        events.push(Event {
            kind,
            account: account.clone(),
            external_id,
            occurred_at,
            raw,
        });
    }

    if !left.is_empty() {
        let raw = frame.print_left(&left);
        let value = ValueShape {
            metadata: value.metadata,
            others: left,
            ..ValueShape::default()
        };
        events.push(whole_change(entry, &raw, field, &value, false));
    }
}

/// A change without items, as one event.
fn whole_change(entry: &EntryFrame<'_>, raw: &str, field: &str, value: &ValueShape<'_>, alone: bool) -> Event {
    let kind = change_kind(field, &value.keys());
    let other = |wanted: &str| {
        value
            .others
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| *value)
    };
    // A handover names its phone number as its recipient (reference `whatsapp.md` 8).
    let account = phone_number(value.metadata)
        .or_else(|| phone_number(other("recipient")))
        .unwrap_or_else(|| entry.account());
    let timestamp = other("timestamp").and_then(|timestamp| scalar(timestamp.get()).millis());
    // The time of the entry tells two equal account events apart (reference `whatsapp.md` 2.3).
    let identity = entry.identity([("change", value_of(raw))]);
    Event {
        kind,
        account,
        external_id: hash_id(kind, &identity),
        occurred_at: timestamp.or(entry.time),
        raw: if alone { entry.raw.to_owned() } else { entry.print(raw) },
    }
}

/// What one event is made of: an item and, for history, the chunk and thread around it.
struct Unit<'a> {
    list: List,
    item: &'a RawValue,
    /// What stands before and after the item inside its list's one element.
    around: Option<(Rc<str>, &'static str)>,
    /// The thread of a history item, as JSON.
    thread: Option<&'a str>,
    /// Whether the item's own keys (`id`, `timestamp`, …) are those of an item, rather than of a chunk or thread.
    readable: bool,
}

impl<'a> Unit<'a> {
    fn new(list: List, item: &'a RawValue) -> Self {
        Self {
            list,
            item,
            around: None,
            thread: None,
            readable: true,
        }
    }

    fn part(item: &'a RawValue, around: Option<(Rc<str>, &'static str)>) -> Self {
        Self {
            list: List::History,
            item,
            around,
            thread: None,
            readable: false,
        }
    }
}

/// The messages of a chunk's threads; its refusal (`errors`); a thread that cannot be read; or the chunk, if there is none of these.
fn history_units<'a>(raw: &'a RawValue, units: &mut Vec<Unit<'a>>) {
    let before = units.len();
    if let Some(chunk) = object::<ChunkShape<'a>>(raw.get()) {
        let mut metadata = String::from("{");
        push_part(&mut metadata, "metadata", chunk.metadata);
        let mut in_thread = metadata.clone();
        open_key(&mut in_thread, "threads");
        in_thread.push('[');
        let in_thread: Rc<str> = in_thread.into();
        for thread in chunk.threads.0.unwrap_or_default() {
            let Some(ThreadShape {
                id,
                context,
                messages: Items(Some(messages)),
            }) = object(thread.get())
            else {
                units.push(Unit::part(thread, Some((Rc::clone(&in_thread), "]}"))));
                continue;
            };
            let mut around = String::from(&*in_thread);
            around.push('{');
            push_part(&mut around, "id", id.filter(|id| id.get().len() <= SHARED_ID_BYTES_MAX));
            push_part(&mut around, "context", context);
            open_key(&mut around, "messages");
            around.push('[');
            let around: Rc<str> = around.into();
            for message in messages {
                units.push(Unit {
                    list: List::History,
                    item: message,
                    around: Some((Rc::clone(&around), "]}]}")),
                    thread: id.map(RawValue::get).filter(|id| id.len() <= SHARED_ID_BYTES_MAX),
                    readable: true,
                });
            }
        }
        if let Some(errors) = chunk
            .errors
            .filter(|errors| !matches!(serde_json::from_str(errors.get()), Ok(Items(Some(none))) if none.is_empty()))
        {
            open_key(&mut metadata, "errors");
            units.push(Unit::part(errors, Some((metadata.into(), "}"))));
        }
    }
    if units.len() == before {
        units.push(Unit::part(raw, None));
    }
}

/// The kind and identity of one item (reference `whatsapp.md` 2.3).
fn identify(unit: &Unit<'_>, keys: &ItemKeys<'_>, field: &str, frame: &ChangeFrame<'_>) -> (EventKind, String) {
    let standby = field == "standby";
    let item_kind = unit.list.under(field);
    let own = item_kind.event_kind(keys.kind.text());
    let kind = if standby { EventKind::Standby } else { own };
    if let Some(mut parts) = natural_identity(item_kind, own, keys) {
        if standby {
            parts.insert(0, "standby");
        }
        return (kind, external_id(&parts));
    }
    let identity = frame.entry.identity([
        ("field", Value::from(field)),
        ("list", Value::from(unit.list.name())),
        ("thread", unit.thread.map_or(Value::Null, value_of)),
        ("item", value_of(unit.item.get())),
    ]);
    (kind, hash_id(kind, &identity))
}

/// The parts of an identity that Meta itself gives; `None` where it gives none.
fn natural_identity<'k>(item_kind: ItemKind, event_kind: EventKind, keys: &'k ItemKeys<'_>) -> Option<Vec<&'k str>> {
    let id = keys.id.text()?;
    let mut parts = Vec::with_capacity(5);
    match item_kind {
        ItemKind::Message => {
            let name = match event_kind {
                EventKind::MessageReactions => "reaction",
                EventKind::MessageEdit => "edit",
                EventKind::MessageDeletion => "revoke",
                _ => "message",
            };
            parts.extend([name, id]);
        }
        ItemKind::Echo => parts.extend(["echo", id]),
        ItemKind::History => parts.extend(["history", id]),
        // The placeholder that this belongs to has the same id (reference `whatsapp.md` 7).
        ItemKind::HistoryMedia => parts.extend(["history", id, "media"]),
        ItemKind::Status | ItemKind::CallStatus => {
            let name = if event_kind == EventKind::Calls {
                "call_status"
            } else {
                "status"
            };
            parts.extend([name, id, keys.status.text()?]);
            // A group message has one status per participant (reference `whatsapp.md` 5).
            let participant = [
                &keys.recipient_participant_user_id,
                &keys.recipient_participant_id,
                &keys.recipient_participant_parent_user_id,
            ];
            parts.extend(participant.into_iter().find_map(Scalar::text));
        }
        ItemKind::Call => parts.extend(["call", id, keys.event.text()?]),
        // An `id` in one of these is not documented, so it is not relied on.
        ItemKind::Error
        | ItemKind::UserAction
        | ItemKind::AppState
        | ItemKind::UserPreference
        | ItemKind::UserIdUpdate => return None,
    }
    Some(parts)
}

/// The time of an address book entry stands in its own metadata (reference `whatsapp.md` 7).
fn nested_time(unit: &Unit<'_>) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct WithMetadata<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    if unit.list != List::StateSync {
        return None;
    }
    let WithMetadata { metadata } = object(unit.item.get())?;
    object::<MetadataKeys<'_>>(metadata.get())?.timestamp.millis()
}

/// What an entry's events share.
struct EntryFrame<'a> {
    raw: &'a str,
    id: Option<&'a str>,
    time_raw: Option<&'a str>,
    account_id: String,
    time: Option<i64>,
}

impl<'a> EntryFrame<'a> {
    fn new(raw: &'a str, shape: Option<&EntryShape<'a>>) -> Self {
        let part = |value: Option<&'a RawValue>| {
            value
                .map(RawValue::get)
                .filter(|json| json.len() <= SHARED_ID_BYTES_MAX)
        };
        let id = part(shape.and_then(|shape| shape.id));
        let time_raw = part(shape.and_then(|shape| shape.time));
        Self {
            raw,
            id,
            time_raw,
            account_id: id
                .and_then(|id| scalar(id).id().map(Cow::into_owned))
                .unwrap_or_default(),
            time: time_raw.and_then(|time| scalar(time).millis()),
        }
    }

    fn account(&self) -> Account {
        Account::BusinessAccount(self.account_id.clone())
    }

    /// What an identity without a natural id is made from: `parts`, whose entry, and when.
    fn identity<const N: usize>(&self, parts: [(&str, Value); N]) -> Value {
        let mut identity: Map<String, Value> = parts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        identity.insert("id".to_owned(), self.id.map_or(Value::Null, value_of));
        identity.insert("time".to_owned(), self.time_raw.map_or(Value::Null, value_of));
        Value::Object(identity)
    }

    fn print(&self, change: &str) -> String {
        let mut json = self.open(change.len());
        json.push_str(change);
        json.push_str("]}");
        json
    }

    /// The entry up to its one change.
    fn open(&self, room: usize) -> String {
        let mut json =
            String::with_capacity(room + 64 + self.id.map_or(0, str::len) + self.time_raw.map_or(0, str::len));
        json.push('{');
        for (name, part) in [("id", self.id), ("time", self.time_raw)] {
            if let Some(part) = part {
                open_key(&mut json, name);
                json.push_str(part);
            }
        }
        open_key(&mut json, "changes");
        json.push('[');
        json
    }
}

/// What a change's items share.
struct ChangeFrame<'a> {
    entry: &'a EntryFrame<'a>,
    field: &'a str,
    /// As JSON.
    metadata: Option<Cow<'a, str>>,
    beside: &'a [(Cow<'a, str>, &'a RawValue)],
}

impl ChangeFrame<'_> {
    /// One entry with one change with one item.
    fn print(&self, unit: &Unit<'_>, contact: Option<&RawValue>) -> String {
        let around = unit
            .around
            .as_ref()
            .map_or(0, |(before, after)| before.len() + after.len());
        let mut json = self.open(unit.item.get().len() + around + contact.map_or(0, |contact| contact.get().len()));
        if let Some(contact) = contact {
            open_key(&mut json, "contacts");
            json.push('[');
            json.push_str(contact.get());
            json.push(']');
        }
        open_key(&mut json, unit.list.name());
        json.push('[');
        match &unit.around {
            None => json.push_str(unit.item.get()),
            Some((before, after)) => {
                json.push_str(before);
                json.push_str(unit.item.get());
                json.push_str(after);
            }
        }
        json.push_str("]}}]}");
        json
    }

    /// One change with the parts of the value that no item took along.
    fn print_left(&self, left: &[(Cow<'_, str>, &RawValue)]) -> String {
        let mut json = String::from("{");
        self.push_field(&mut json);
        open_key(&mut json, "value");
        json.push('{');
        self.push_metadata(&mut json);
        for (name, value) in left {
            open_key(&mut json, name);
            json.push_str(value.get());
        }
        json.push_str("}}");
        json
    }

    /// The entry up to the first key of the value that is not shared.
    fn open(&self, room: usize) -> String {
        let mut json = self.entry.open(room + 256);
        json.push('{');
        self.push_field(&mut json);
        open_key(&mut json, "value");
        json.push('{');
        for (name, value) in self.beside {
            open_key(&mut json, name);
            json.push_str(value.get());
        }
        self.push_metadata(&mut json);
        json
    }

    fn push_field(&self, json: &mut String) {
        if !self.field.is_empty() {
            open_key(json, "field");
            push_string(json, self.field);
        }
    }

    fn push_metadata(&self, json: &mut String) {
        if let Some(metadata) = &self.metadata {
            open_key(json, "metadata");
            json.push_str(metadata);
        }
    }
}

/// Finds the one element of `contacts[]` that an item is about (reference `whatsapp.md` 3, 6.2).
struct Contacts<'a> {
    all: &'a [&'a RawValue],
    by_id: Option<HashMap<String, &'a RawValue>>,
}

impl<'a> Contacts<'a> {
    fn new(all: &'a [&'a RawValue]) -> Self {
        Self { all, by_id: None }
    }

    /// A lone contact belongs to every item that does not name somebody else.
    fn of(&mut self, keys: &ItemKeys<'_>, items: usize) -> Option<&'a RawValue> {
        let fits = |contact: &&'a RawValue| contact.get().len() <= SHARED_PART_BYTES_MAX || items == 1;
        if let ([contact], 1) = (self.all, items) {
            return Some(contact).copied().filter(fits);
        }
        let all = self.all;
        let by_id = self.by_id.get_or_insert_with(|| {
            let mut by_id = HashMap::with_capacity(all.len() * 2);
            for contact in all {
                let keys: ContactKeys<'_> = object(contact.get()).unwrap_or_default();
                for id in [&keys.user_id, &keys.wa_id, &keys.parent_user_id]
                    .into_iter()
                    .filter_map(Scalar::text)
                {
                    by_id.entry(id.to_owned()).or_insert(*contact);
                }
            }
            by_id
        });
        let mut named = false;
        let found = keys
            .people()
            .inspect(|_| named = true)
            .find_map(|id| by_id.get(id).copied());
        match (found, all) {
            (Some(contact), _) => Some(contact),
            (None, [contact]) if !named || by_id.is_empty() => Some(*contact),
            _ => None,
        }
        .filter(fits)
    }
}

/// Opens a key of the object that `json` is in the middle of.
fn open_key(json: &mut String, name: &str) {
    if !json.ends_with('{') {
        json.push(',');
    }
    push_string(json, name);
    json.push(':');
}

/// A string as JSON; the names in use need no escapes.
fn push_string(json: &mut String, text: &str) {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&Value::from(text).to_string());
    }
}

/// A part that several items share, unless it is too large to be repeated.
fn push_part(json: &mut String, name: &str, part: Option<&RawValue>) {
    if let Some(part) = part.filter(|part| part.get().len() <= SHARED_PART_BYTES_MAX) {
        open_key(json, name);
        json.push_str(part.get());
    }
}

/// The phone number that `value.metadata`, or something of the same shape, names.
fn phone_number(metadata: Option<&RawValue>) -> Option<Account> {
    let keys: MetadataKeys<'_> = object(metadata?.get())?;
    keys.phone_number_id
        .id()
        .filter(|id| id.len() <= SHARED_ID_BYTES_MAX)
        .map(|id| Account::PhoneNumber(id.into_owned()))
}

/// The metadata as every item repeats it: whole, or reduced to what the account was taken from.
fn shared_metadata<'a>(metadata: Option<&'a RawValue>, account: &Account) -> Option<Cow<'a, str>> {
    let metadata = metadata?.get();
    match account {
        _ if metadata.len() <= SHARED_PART_BYTES_MAX => Some(Cow::Borrowed(metadata)),
        Account::PhoneNumber(id) => Some(Cow::Owned(serde_json::json!({ "phone_number_id": id }).to_string())),
        Account::BusinessAccount(_) | Account::Instagram(_) => None,
    }
}

fn scalar(json: &str) -> Scalar<'_> {
    serde_json::from_str(json).unwrap_or_default()
}

/// JSON as a tree, or as its own text where no tree can hold it.
fn value_of(json: &str) -> Value {
    tree(json).unwrap_or_else(|| Value::from(json))
}
