//! Instagram events as JSON (instagram.md 2.4 to 2.6).

use serde_json::{Value, json};

use super::{Event, EventId, Object};
use crate::customers::people::Customer;

/// Something from the customer to the account; `what` holds `message`, `reaction`, `read`, `postback` or `message_edit`.
pub(crate) fn from_customer(
    account_id: &str,
    igsid: &str,
    id: EventId,
    field: &'static str,
    at: i64,
    what: (&'static str, Value),
) -> Event {
    event(account_id, (igsid, account_id), id, field, at, what)
}

/// A comment on a post (instagram.md 2.7).
pub(crate) fn comment(
    account_id: &str,
    customer: &Customer,
    id: &str,
    media_id: &str,
    parent_id: Option<String>,
    text: &str,
) -> Event {
    let mut value = json!({
        "id": id, "text": text, "from": {"id": customer.igsid, "username": customer.username},
        "media": {"id": media_id, "media_product_type": "REELS"},
    });
    if let Some(parent_id) = parent_id {
        value["parent_id"] = json!(parent_id);
    }
    Event::new(EventId(id.to_owned()), Object::Instagram, account_id, "comments", value)
}

/// The echo of what the account sent: sender and recipient swapped, `is_echo` set.
pub(crate) fn echo(account_id: &str, igsid: &str, mid: &str, at: i64, mut message: Value) -> Event {
    message["mid"] = json!(mid);
    message["is_echo"] = json!(true);
    let id = EventId(mid.to_owned());
    event(
        account_id,
        (account_id, igsid),
        id,
        "messages",
        at,
        ("message", message),
    )
}

fn event(
    account_id: &str,
    (sender, recipient): (&str, &str),
    id: EventId,
    field: &'static str,
    at: i64,
    (key, what): (&'static str, Value),
) -> Event {
    let mut value = json!({"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": at});
    value[key] = what;
    Event::new(id, Object::Instagram, account_id, field, value)
}
