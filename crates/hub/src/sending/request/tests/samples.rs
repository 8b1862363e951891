//! Messages to hold against the bounds. Used by the tests here, and by those that ask the running hub and the simulated Meta.

use serde_json::{Value, json};

use super::ChannelKind::{self, WhatsApp};
use super::{Limit, Unit};

/// A content of each kind with every field that has a bound, which can be sent.
pub(super) fn sample(product: ChannelKind, kind: &str) -> Value {
    let link = "https://cdn.example.org/1.jpg";
    let text = "Pick one";
    match (product, kind) {
        (_, "text") => json!({"type": "text", "text": text}),
        (_, "quick_replies") => {
            json!({"type": "quick_replies", "text": text, "quickReplies": [{"title": "a", "payload": "a"}]})
        }
        (_, "image" | "video") => json!({"type": kind, "link": link, "caption": "c"}),
        (_, "document") => json!({"type": kind, "link": link, "caption": "c", "filename": "f.pdf"}),
        (_, "location") => json!({"type": kind, "latitude": 51.5, "longitude": -0.1}),
        (_, "contacts") => json!({"type": kind, "contacts": [{"name": {"formatted_name": "Ada"}}]}),
        (_, "template") => json!({"type": kind, "name": "hello_world", "language": "en_US"}),
        (_, "reaction") => {
            json!({"type": kind, "messageId": "msg_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b", "emoji": "\u{1f44d}"})
        }
        (_, "comment_reply" | "private_reply") => {
            json!({"type": kind, "messageId": "msg_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b", "text": text})
        }
        (WhatsApp, "buttons") => {
            json!({"type": kind, "text": text, "header": {"type": "text", "text": "h"}, "footer": "f",
            "buttons": [{"title": "a", "payload": "a"}]})
        }
        (_, "buttons") => json!({"type": kind, "text": text, "buttons": [{"title": "a", "payload": "a"}]}),
        (_, "list") => {
            json!({"type": kind, "text": text, "header": {"type": "text", "text": "h"}, "footer": "f", "button": "b",
            "sections": [{"title": "s", "rows": [{"title": "a", "payload": "a", "description": "d"}]}]})
        }
        (WhatsApp, "carousel") => {
            let card = json!({"header": {"type": "image", "link": link}, "text": "t",
                "buttons": [{"title": "a", "url": "https://example.org"}]});
            json!({"type": kind, "text": text, "cards": [card.clone(), card]})
        }
        (_, "carousel") => {
            json!({"type": kind, "cards": [{"title": "t", "text": "s", "buttons": [{"title": "a", "payload": "a"}]}]})
        }
        (_, "flow") => {
            json!({"type": kind, "text": text, "header": {"type": "text", "text": "h"}, "footer": "f", "button": "b",
            "flowId": "1"})
        }
        (_, "product") => {
            json!({"type": kind, "text": text, "footer": "f", "catalogId": "1", "productRetailerId": "2"})
        }
        (_, "product_list") => {
            json!({"type": kind, "text": text, "header": {"type": "text", "text": "h"}, "footer": "f",
            "catalogId": "1", "sections": [{"title": "s", "products": ["a"]}]})
        }
        (_, "catalog") => json!({"type": kind, "text": text, "footer": "f"}),
        (_, "address_request") => json!({"type": kind, "text": text, "country": "IN"}),
        (_, "location_request" | "contact_request" | "call_permission_request") => json!({"type": kind, "text": text}),
        (_, "several") => json!({"type": kind, "parts": [{"type": "image", "link": link}]}),
        _ => panic!("there is no sample of {kind} on {product}"),
    }
}

/// Buttons are answers, or this: one that opens a link.
pub(super) fn link_button(title: &str, url: &str) -> Value {
    json!({"type": "buttons", "text": "Pick one", "buttons": [{"title": title, "url": url}]})
}

/// A sample in which what a limit counts is so much; `None` where that cannot be written.
pub(super) fn with(limit: &Limit, kind: &str, measure: i32) -> Option<Value> {
    let mut document = match limit.field {
        "buttons[].url" => link_button("Open", "https://example.org"),
        _ => sample(limit.product, kind),
    };
    let pointer = format!("/{}", limit.field.replace("[]", "/0").replace('.', "/"));
    let place = document
        .pointer_mut(&pointer)
        .unwrap_or_else(|| panic!("the sample of {kind} has no {}", limit.field));
    let count = usize::try_from(measure).ok();
    match limit.unit {
        // Of two bytes each in UTF-8: a bound of characters is no bound of bytes.
        Unit::Characters if limit.field.ends_with("url") && count? > 0 => {
            let start = "https://example.org/";
            *place = format!("{start}{}", "x".repeat(count?.checked_sub(start.len())?)).into();
        }
        Unit::Characters => {
            let letter = if limit.field == "name" { "a" } else { "é" };
            *place = letter.repeat(count?).into();
        }
        Unit::Bytes => *place = "x".repeat(count?).into(),
        Unit::Hashtags => *place = format!("Ours: {}", "#lamps ".repeat(count?)).into(),
        Unit::Links => *place = format!("Look: {}", "https://example.org/1 ".repeat(count?)).into(),
        Unit::LineBreaks => *place = format!("x{}x", "\n".repeat(count?)).into(),
        Unit::Degrees => *place = f64::from(measure).into(),
        Unit::Elements | Unit::ElementsInAll => {
            let first = place[0].clone();
            let list = (0..count?).map(|index| unlike(&first, index));
            *place = list.collect::<Vec<Value>>().into();
        }
    }
    Some(document)
}

/// The same, but for what has to be its own in each element.
fn unlike(element: &Value, index: usize) -> Value {
    let mut element = element.clone();
    let own = ["/title", "/payload", "/rows/0/payload", "/rows/0/title"];
    for pointer in own {
        if let Some(member) = element.pointer_mut(pointer) {
            *member = format!("{index}").into();
        }
    }
    element
}
