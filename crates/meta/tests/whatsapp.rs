//! WhatsApp webhooks: what each recorded shape means, and what must hold of any body.
//!
//! A case is one file of `fixtures/whatsapp`: a whole POST, the events that it holds, and what is understood of each.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "whatsapp/properties.rs"]
mod properties;
#[path = "whatsapp/summary.rs"]
mod summary;

use std::path::Path;

use serde_json::{Value, json};
use tidings_meta::notification::{Account, Event, Platform};
use tidings_meta::whatsapp::{Change, parse, split};

use summary::summary;

#[test]
fn fixtures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/whatsapp");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for case in cases {
        check(&case);
    }
}

/// Splits a case's body and compares events and meanings with what the case says.
fn check(path: &Path) {
    let case: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let name = path.file_stem().unwrap().display();
    assert!(
        case["about"].is_string() && case["source"].is_string(),
        "{name} says nothing of itself"
    );

    // As Meta writes it (reference `whatsapp.md` 2.2), and pretty: neither may make a difference.
    let escaped = with_escapes(&case["body"].to_string());
    let pretty = serde_json::to_string_pretty(&case["body"]).unwrap();
    for body in [escaped, pretty] {
        let events = split(body.as_bytes()).unwrap();
        let facts: Vec<Value> = events.iter().map(event_facts).collect();
        assert_eq!(Value::from(facts), case["events"], "{name}: events");
        let understood: Vec<Value> = events.iter().map(|event| summary(&event.raw)).collect();
        assert_eq!(Value::from(understood), case["understood"], "{name}: understood");
        for event in &events {
            check_repeatable(event);
        }
        assert_eq!(
            tidings_meta::notification::split(Platform::WhatsApp, body.as_bytes()).unwrap(),
            events
        );
    }
}

/// What an event is made of is enough to find the same event again.
pub fn check_repeatable(event: &Event) {
    let body = format!(r#"{{"object":"whatsapp_business_account","entry":[{}]}}"#, event.raw);
    assert_eq!(
        split(body.as_bytes()).unwrap(),
        std::slice::from_ref(event),
        "from {}",
        event.raw
    );
}

fn event_facts(event: &Event) -> Value {
    json!({
        "kind": event.kind.as_str(),
        "external_id": event.external_id,
        "account": match &event.account {
            Account::PhoneNumber(id) => json!({ "phone_number": id }),
            Account::BusinessAccount(id) => json!({ "business_account": id }),
            Account::Instagram(id) => json!({ "instagram": id }),
        },
        "occurred_at": event.occurred_at,
    })
}

/// Everything but ASCII as `\uXXXX` in lower case.
fn with_escapes(json: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::new();
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => escaped.push(char::from(byte)),
            _ => write!(escaped, "\\u{unit:04x}").unwrap(),
        }
    }
    escaped
}

#[track_caller]
fn refusal(body: &str) -> String {
    split(body.as_bytes()).unwrap_err().reason
}

#[test]
fn an_envelope_that_is_not_whatsapps_is_refused() {
    let wanted = r#""whatsapp_business_account" is wanted"#;
    assert_eq!(
        refusal(r#"{"object":"instagram","entry":[]}"#),
        format!("`object` is \"instagram\"; {wanted}")
    );
    assert_eq!(
        refusal(r#"{"object":7,"entry":[]}"#),
        format!("`object` is not a string; {wanted}")
    );
    assert_eq!(refusal(r#"{"entry":[]}"#), format!("`object` is missing; {wanted}"));
    for entry in [
        r#""entry":{}"#,
        r#""entry":"x""#,
        r#""entry":null"#,
        r#""entry":1.5"#,
        r#""other":1"#,
    ] {
        let body = format!(r#"{{"object":"whatsapp_business_account",{entry}}}"#);
        assert_eq!(refusal(&body), "`entry` is missing or not an array");
    }
    assert_eq!(
        refusal(r#"["whatsapp_business_account",[]]"#),
        "the body is not a JSON object"
    );
    for body in [
        "",
        "hello",
        r#"{"object":"#,
        r#"{"object":"whatsapp_business_account","entry":[]} x"#,
    ] {
        assert!(refusal(body).starts_with("the body is not JSON: "), "{}", refusal(body));
    }
    assert!(
        split(b"{\"object\":\"\xff\"}")
            .unwrap_err()
            .reason
            .starts_with("the body is not JSON: ")
    );
}

#[test]
fn an_entry_with_one_item_is_kept_byte_for_byte() {
    let entry = r#"{ "id":"305918274660123", "changes":[{"value":{"metadata":{"phone_number_id":"418205937761245"},"messages":[{"id":"wamid.T1","timestamp":"1795334405","type":"text","text":{"body":"ol\u00e1"}}]},"field":"messages"}]}"#;
    let body = format!(r#"{{"object":"whatsapp_business_account","entry":[{entry},{entry}]}}"#);
    let events = split(body.as_bytes()).unwrap();
    assert_eq!(
        events.iter().map(|event| event.raw.as_str()).collect::<Vec<_>>(),
        [entry, entry]
    );
}

/// A batch whose items share long parts must not grow with the product of both.
#[test]
fn a_large_batch_stays_linear() {
    let long = "x".repeat(100_000);
    let messages: Vec<Value> = (0..1000)
        .map(|n| json!({ "from": format!("4477009{n:05}"), "id": format!("wamid.{n}"), "timestamp": "1795334405", "type": "text", "text": { "body": "Hi" } }))
        .collect();
    let contacts: Vec<Value> = (0..1000)
        .rev()
        .map(|n| json!({ "wa_id": format!("4477009{n:05}"), "profile": { "name": format!("N{n}") } }))
        .collect();
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "305918274660123", "changes": [{ "field": "messages", "value": {
            "metadata": { "phone_number_id": "418205937761245", "long": long },
            "remark": long,
            "contacts": contacts,
            "messages": messages,
        } }] }],
    })
    .to_string();
    let events = split(body.as_bytes()).unwrap();
    let (left, messages) = events.split_last().unwrap();
    assert_eq!(messages.len(), 1000);
    assert!(
        left.raw.contains("remark"),
        "what is too long to be repeated is an event of its own"
    );
    for (n, event) in messages.iter().enumerate() {
        assert_eq!(event.account, Account::PhoneNumber("418205937761245".to_owned()));
        assert_eq!(parse(&event.raw).unwrap().contact.unwrap().name, Some(format!("N{n}")));
        check_repeatable(event);
    }
    let bytes: usize = events.iter().map(|event| event.raw.len()).sum();
    assert!(bytes < 2 * body.len(), "{bytes} bytes of events from {}", body.len());
}

#[test]
fn half_an_emoji_does_not_spoil_a_message() {
    let raw = r#"{"id":"1","changes":[{"field":"messages","value":{"messages":[{"id":"wamid.T1","timestamp":"1795334405","type":"text","text":{"body":"cut off \ud83d"}}]}}]}"#;
    assert_eq!(
        summary(raw)["message"]["content"],
        json!({ "text": "cut off \u{fffd}" })
    );
}

/// Numbers without a tree, and nesting beyond any stack, in places that do not matter and in places that do.
#[test]
fn json_beyond_any_tree_is_kept() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for odd in ["1e999", &deep] {
        let item = format!(
            r#"{{"id":"wamid.T1","timestamp":"1795334405","type":"text","text":{{"body":"Hi"}},"more":{odd}}}"#
        );
        for list in [format!("[{item}]"), format!("[{odd}]"), odd.to_owned()] {
            let body = format!(
                r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"messages":{list}}}}}]}}]}}"#
            );
            let events = split(body.as_bytes()).unwrap();
            assert!(!events.is_empty());
            for event in &events {
                check_repeatable(event);
                assert!(parse(&event.raw).is_err());
            }
        }
    }
}

#[test]
fn several_items_are_not_one_event() {
    let raw = r#"{"id":"1","changes":[{"field":"messages","value":{"messages":[{},{}]}}]}"#;
    assert_eq!(
        parse(raw).unwrap_err().reason,
        "changes[0].value: expected one item, found 2"
    );
    assert_eq!(
        parse(r#"{"changes":[1,2]}"#).unwrap_err().reason,
        "changes: expected one change, found 2"
    );
}

#[test]
fn the_numbers_name_is_known_in_both_spellings() {
    let entry = |value: &str| {
        parse(&format!(
            r#"{{"id":"1","changes":[{{"field":"messages","value":{value}}}]}}"#
        ))
        .unwrap()
    };
    let item = r#""messages":[{"id":"wamid.1","timestamp":"1","type":"text","text":{"body":"Hi"}}]"#;
    let number = entry(&format!(
        r#"{{"metadata":{{"phone_number_id":418,"display_phone_number":"442079460111"}},{item}}}"#
    ))
    .phone_number
    .unwrap();
    assert_eq!(
        (number.id.as_str(), number.display.as_deref()),
        ("418", Some("442079460111"))
    );
    let handover = entry(r#"{"recipient":{"phone_number_id":"419"},"control_taken":{}}"#);
    assert!(matches!(handover.change, Change::Handover(_)));
    assert_eq!(handover.phone_number.unwrap().id, "419");
}
