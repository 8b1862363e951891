//! The bytes of a body: escaped and signed as Meta does.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::{Event, Object};

/// One body for these events. Neighbours of the same entry share it; events of different entries may share a body
/// (whatsapp.md 2.2). `sent_at` in milliseconds.
pub(crate) fn body(object: Object, events: Vec<Event>, sent_at: i64) -> String {
    let mut entries: Vec<((String, Shape), Vec<Value>)> = Vec::new();
    for event in events {
        let shape = Shape::of(object, event.field);
        let entry = (event.entry_id, shape);
        let item = match shape {
            Shape::Messaging => event.value,
            Shape::Changes | Shape::TimedChanges => json!({"field": event.field, "value": event.value}),
        };
        match entries.last_mut() {
            Some((last, items)) if *last == entry => items.push(item),
            _ => entries.push((entry, vec![item])),
        }
    }
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|((id, shape), items)| match shape {
            Shape::Changes => json!({"id": id, "changes": items}),
            Shape::TimedChanges => json!({"id": id, "time": sent_at.div_euclid(1000), "changes": items}),
            // Milliseconds on `messaging` (instagram.md 2.1).
            Shape::Messaging => json!({"id": id, "time": sent_at, "messaging": items}),
        })
        .collect();
    escape(&json!({"object": object.name(), "entry": entries}).to_string())
}

/// How an entry holds its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `changes` without a time: WhatsApp's `messages` alone (whatsapp.md 3).
    Changes,
    /// `changes` and the time in seconds: WhatsApp's other fields (whatsapp.md 8), comments and mentions (instagram.md 2.1).
    TimedChanges,
    Messaging,
}

impl Shape {
    fn of(object: Object, field: &str) -> Self {
        match (object, field) {
            (Object::WhatsApp, "messages") => Self::Changes,
            (Object::WhatsApp, _) | (Object::Instagram, "comments" | "live_comments" | "mentions") => {
                Self::TimedChanges
            }
            (Object::Instagram, _) => Self::Messaging,
        }
    }
}

/// The same events in reverse order.
pub(crate) fn reversed(body: &[u8]) -> String {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(entries) = body["entry"].as_array_mut() {
        entries.reverse();
        for entry in entries {
            for items in ["changes", "messaging"] {
                if let Some(items) = entry[items].as_array_mut() {
                    items.reverse();
                }
            }
        }
    }
    escape(&body.to_string())
}

/// Meta's way to write JSON: ASCII alone, the rest as lowercase `\uXXXX`, with `/` and `@` escaped too (graph-api.md 9.2).
/// All of these occur only inside strings, so the text can be treated as a whole.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + json.len() / 8);
    for character in json.chars() {
        match character {
            '/' => escaped.push_str("\\/"),
            '@' => escaped.push_str("\\u0040"),
            _ if character.is_ascii() => escaped.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    escaped.push_str("\\u");
                    escaped.push_str(&hex::encode(unit.to_be_bytes()));
                }
            }
        }
    }
    escaped
}

/// The value of `X-Hub-Signature-256`: over the exact bytes (graph-api.md 9.2).
pub(crate) fn signature_sha256(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

/// The value of the older `X-Hub-Signature`, which is still sent alongside (graph-api.md 9.1).
pub(crate) fn signature_sha1(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    format!("sha1={}", hex::encode(hmac::sign(&key, body)))
}

#[cfg(test)]
mod tests {
    use super::{escape, signature_sha256};

    /// The test vector of whatsapp.md 2.2, from the raw characters to the signature.
    #[test]
    fn the_reference_vector_is_escaped_and_signed_alike() {
        let raw = r#"{"object":"whatsapp_business_account","entry":[{"id":"305918274660123","changes":[{"value":{"text":"olá 😀"},"field":"messages"}]}]}"#;
        let escaped = escape(raw);
        assert_eq!(escaped.len(), 147);
        assert_eq!(
            signature_sha256("9f2c1e7ab04d4c5f8a6b3d2e1f0a7c95", escaped.as_bytes()),
            "sha256=c966ae88370ff1fe73605aab3170ada567d2c5096d9cd39836c3643a636bb653"
        );
    }

    #[test]
    fn slashes_and_at_signs_are_escaped_and_read_back_alike() {
        let raw = r#""a@b.example/ü\"\\""#;
        let escaped = escape(raw);
        assert_eq!(escaped, r#""a\u0040b.example\/\u00fc\"\\""#);
        let read = |text: &str| serde_json::from_str::<String>(text).unwrap();
        assert_eq!(read(&escaped), read(raw));
    }
}
