//! The envelope: one POST, its entries, their items (`instagram.md` 2.1).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::identity;
use super::item::{Item, Place};
use super::json::{self, Object};
use crate::notification::{Account, EnvelopeError, Event};

/// Splits a notification's body into its events.
///
/// Refused is a body that is not JSON, that says another `object` than `instagram`, or that has no `entry` array. An array
/// around the one envelope, as some of Meta's examples show it, is tolerated.
///
/// Every element of `messaging[]`, `standby[]` and `changes[]` of every entry is one event, as is a `field` with its `value`
/// directly on an entry, and an entry that has none of these. The body is read a fixed number of times.
pub fn split(body: &[u8]) -> Result<Vec<Event>, EnvelopeError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| refused(format!("the body is not JSON: it is not UTF-8 ({error})")))?;
    let text = json::without_lone_surrogates(text);
    let entries = entries(&text)?;

    let mut events = Vec::with_capacity(entries.len());
    for raw in entries {
        let entry = EntryParts::read(raw);
        for (place, item) in &entry.items {
            events.push(event(&entry, *place, item));
        }
    }
    Ok(events)
}

/// An entry, its items still unread.
pub(super) struct EntryParts<'a> {
    raw: &'a RawValue,
    raw_id: Option<&'a RawValue>,
    raw_time: Option<&'a RawValue>,
    /// Whose events these are. `None` if it is missing or no id.
    pub(super) id: Option<Cow<'a, str>>,
    /// When the entry was sent, in milliseconds.
    pub(super) time: Option<i64>,
    /// What happened, in the order in which it stands there.
    pub(super) items: Vec<(Place, &'a RawValue)>,
}

impl<'a> EntryParts<'a> {
    pub(super) fn read(raw: &'a RawValue) -> Self {
        let mut entry = Self {
            raw,
            raw_id: None,
            raw_time: None,
            id: None,
            time: None,
            items: Vec::new(),
        };
        let Some(object) = Object::read(raw) else {
            entry.items.push((Place::Whole, raw));
            return entry;
        };

        let id = object.get("id").and_then(|raw| Some((raw, json::scalar(raw)?)));
        let time = object.get("time").and_then(|raw| Some((raw, json::millis(raw)?)));
        (entry.raw_id, entry.id) = id.unzip();
        (entry.raw_time, entry.time) = time.unzip();

        let mut known = false;
        for (name, value) in object.members() {
            let place = match name {
                "messaging" => Place::Messaging,
                "standby" => Place::Standby,
                "changes" => Place::Changes,
                _ => continue,
            };
            known = true;
            match json::list(value) {
                Some(elements) => entry.items.extend(elements.into_iter().map(|element| (place, element))),
                None if value.get() == "null" => {}
                // Not a list, but surely something: one item, whatever it is.
                None => entry.items.push((place, value)),
            }
        }
        if object.has("field") || object.has("value") {
            known = true;
            entry.items.push((Place::Fields, raw));
        }
        if !known {
            entry.items.push((Place::Whole, raw));
        }
        entry
    }

    /// One entry with only this item in it. The entry's id and time come along, and nothing else that could make the events of a
    /// large entry larger than the entry.
    fn with_only(&self, place: Place, item: &RawValue) -> String {
        if self.items.len() == 1 {
            return self.raw.get().to_owned();
        }
        let mut raw = String::with_capacity(item.get().len() + 80);
        raw.push('{');
        let fields = (place == Place::Fields).then(|| Object::read(self.raw)).flatten();
        let members = [
            ("id", self.raw_id),
            ("time", self.raw_time),
            ("field", fields.as_ref().and_then(|fields| fields.raw("field"))),
            ("value", fields.as_ref().and_then(|fields| fields.raw("value"))),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                push_member(&mut raw, name, &[value.get()]);
            }
        }
        if let Some(key) = place.key() {
            push_member(&mut raw, key, &["[", item.get(), "]"]);
        }
        raw.push('}');
        raw
    }
}

fn push_member(raw: &mut String, name: &str, value: &[&str]) {
    if raw.len() > 1 {
        raw.push(',');
    }
    raw.push('"');
    raw.push_str(name);
    raw.push_str("\":");
    for part in value {
        raw.push_str(part);
    }
}

fn event(entry: &EntryParts<'_>, place: Place, raw: &RawValue) -> Event {
    let item = Item::read(place, raw);
    Event {
        kind: item.event_kind(),
        account: Account::Instagram(entry.id.as_deref().unwrap_or_default().to_owned()),
        external_id: identity::of(&item, entry.time),
        occurred_at: item.timestamp().or(entry.time),
        raw: entry.with_only(place, raw),
    }
}

/// The elements of `entry`, once the envelope has been found to be Instagram's.
fn entries(text: &str) -> Result<Vec<&RawValue>, EnvelopeError> {
    let body: &RawValue =
        serde_json::from_str(text).map_err(|error| refused(format!("the body is not JSON: {error}")))?;
    let envelope = match json::list(body).as_deref() {
        Some([envelope]) => envelope,
        Some(several) => {
            let count = several.len();
            return Err(refused(format!(
                "the body is an array of {count} elements; wanted is one object"
            )));
        }
        None => body,
    };
    let envelope = Object::read(envelope).ok_or_else(|| refused("the body is not a JSON object".to_owned()))?;

    let object = envelope.get("object").and_then(json::scalar);
    match object.as_deref() {
        Some("instagram") => {}
        Some(other) => {
            return Err(refused(format!("`object` is {other:?}; wanted is \"instagram\"")));
        }
        None => {
            return Err(refused("`object` is missing; wanted is \"instagram\"".to_owned()));
        }
    }
    let entry = envelope
        .get("entry")
        .ok_or_else(|| refused("`entry` is missing; wanted is an array".to_owned()))?;
    json::list(entry).ok_or_else(|| refused("`entry` is not an array".to_owned()))
}

fn refused(reason: String) -> EnvelopeError {
    EnvelopeError { reason }
}
