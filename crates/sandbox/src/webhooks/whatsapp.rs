//! WhatsApp events as JSON (whatsapp.md 3 to 6).

use serde_json::{Map, Value, json};

use super::{Event, EventId, Object};
use crate::customers::people::{Customer, Identity};
use crate::world::Number;

/// A change of the field `messages` with one message from a customer. `content` holds `type`, the part named after it, and
/// perhaps `context`.
pub(crate) fn message(number: &Number, customer: &Customer, id: &str, at: i64, content: Map<String, Value>) -> Event {
    let mut message = Map::new();
    match customer.identity {
        Identity::Blank => {
            message.insert("from".to_owned(), json!(""));
        }
        _ => put(&mut message, "from", customer.visible_phone()),
    }
    put(&mut message, "from_user_id", customer.visible_user_id());
    message.insert("id".to_owned(), json!(id));
    message.insert("timestamp".to_owned(), json!(seconds(at)));
    message.extend(content);
    let mut value = envelope(number);
    value.insert("contacts".to_owned(), json!([contact(customer, true)]));
    value.insert("messages".to_owned(), json!([message]));
    change(number, EventId(id.to_owned()), value)
}

/// A change of the field `messages` that tells of the customer themselves: they stand as they were before, and there are no `contacts`
/// (whatsapp.md 4.5).
pub(crate) fn system(number: &Number, customer: &Customer, id: &str, at: i64, content: Map<String, Value>) -> Event {
    let mut event = message(number, customer, id, at, content);
    if let Some(value) = event.value.as_object_mut() {
        value.remove("contacts");
    }
    event
}

/// A change of the field `messages` with one status. `customer` adds `contacts`.
pub(crate) fn status(number: &Number, customer: Option<Value>, id: String, status: &Map<String, Value>) -> Event {
    let mut value = envelope(number);
    if let Some(customer) = customer {
        value.insert("contacts".to_owned(), json!([customer]));
    }
    value.insert("statuses".to_owned(), json!([status]));
    change(number, EventId(id), value)
}

/// A change of the field `user_preferences`: the customer wants no marketing, or wants it again (whatsapp.md 8).
pub(crate) fn preference(number: &Number, customer: &Customer, id: EventId, stops: bool, at: i64) -> Event {
    let (value, detail) = if stops {
        ("stop", "User requested to stop marketing messages")
    } else {
        ("resume", "User requested to resume marketing messages")
    };
    let mut preference = Map::new();
    put(&mut preference, "wa_id", customer.visible_phone());
    put(&mut preference, "user_id", customer.visible_user_id());
    let rest = json!({
        "detail": detail, "category": "marketing_messages", "value": value, "timestamp": at.div_euclid(1000),
    });
    preference.extend(rest.as_object().cloned().unwrap_or_default());
    let mut whole = envelope(number);
    whole.insert("contacts".to_owned(), json!([contact(customer, false)]));
    whole.insert("user_preferences".to_owned(), json!([preference]));
    let account = &number.business_account_id;
    Event::new(id, Object::WhatsApp, account, "user_preferences", Value::Object(whole))
}

/// An element of `contacts` (whatsapp.md 3, 6.2, 6.3).
pub(crate) fn contact(customer: &Customer, with_username: bool) -> Value {
    let mut profile = Map::new();
    profile.insert("name".to_owned(), json!(customer.name));
    if with_username {
        put(&mut profile, "username", customer.username.as_deref());
    }
    let mut contact = Map::new();
    if customer.identity == Identity::Blank {
        // The variant of 6.3 that is not on the current page, but was seen.
        profile.insert("country_code".to_owned(), json!("GB"));
        contact.insert("wa_id".to_owned(), json!(""));
    } else {
        put(&mut contact, "wa_id", customer.visible_phone());
    }
    contact.insert("profile".to_owned(), Value::Object(profile));
    put(&mut contact, "user_id", customer.visible_user_id());
    Value::Object(contact)
}

/// WhatsApp's timestamps: Unix seconds as a string.
pub(crate) fn seconds(millis: i64) -> String {
    millis.div_euclid(1000).to_string()
}

/// Puts the text in, or leaves the key out.
pub(crate) fn put(object: &mut Map<String, Value>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        object.insert(key.to_owned(), json!(text));
    }
}

fn envelope(number: &Number) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("messaging_product".to_owned(), json!("whatsapp"));
    value.insert(
        "metadata".to_owned(),
        json!({"display_phone_number": number.phone, "phone_number_id": number.id}),
    );
    value
}

fn change(number: &Number, id: EventId, value: Map<String, Value>) -> Event {
    Event::new(
        id,
        Object::WhatsApp,
        &number.business_account_id,
        "messages",
        Value::Object(value),
    )
}
