//! What must hold of any body: no panic, no item lost, no two identities alike, none that changes with the order of keys.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use tidings_meta::notification::{Account, Event};
use tidings_meta::whatsapp::{parse, split};

use crate::check_repeatable;

/// Keys and words that mean something in a webhook, so that generated JSON comes close to one.
const WORDS: &[&str] = &[
    "",
    "id",
    "time",
    "field",
    "value",
    "changes",
    "entry",
    "metadata",
    "phone_number_id",
    "display_phone_number",
    "contacts",
    "profile",
    "name",
    "username",
    "wa_id",
    "user_id",
    "parent_user_id",
    "messages",
    "statuses",
    "errors",
    "user_actions",
    "message_echoes",
    "history",
    "threads",
    "context",
    "state_sync",
    "user_preferences",
    "user_id_update",
    "calls",
    "type",
    "text",
    "body",
    "image",
    "interactive",
    "nfm_reply",
    "response_json",
    "reaction",
    "edit",
    "revoke",
    "message",
    "original_message_id",
    "system",
    "status",
    "timestamp",
    "from",
    "to",
    "recipient_id",
    "recipient_type",
    "group",
    "standby",
    "smb_message_echoes",
    "account_update",
    "flows",
    "event",
    "code",
    "previous",
    "current",
    "contact",
    "action",
    "call",
    "unsupported",
    "recipient",
    "1795334405",
    "wamid.1",
    "é😀",
];

/// The fields whose lists are events; under others, `errors` is a detail.
const ITEM_FIELDS: &[&str] = &[
    "",
    "messages",
    "message_echoes",
    "smb_message_echoes",
    "history",
    "standby",
    "calls",
    "user_preferences",
    "user_id_update",
    "smb_app_state_sync",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(WORDS).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 96, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((select(WORDS), inner), 0..6)
                .prop_map(|keys| Value::Object(keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

/// A `value` that is nearly right: its lists hold anything.
fn any_value() -> impl Strategy<Value = Value> {
    const LISTS: &[&str] = &[
        "messages",
        "statuses",
        "errors",
        "message_echoes",
        "history",
        "state_sync",
        "user_preferences",
        "calls",
        "contacts",
        "new",
    ];
    let item = prop_oneof![
        any_json(),
        prop::collection::hash_map(select(WORDS), any_json(), 0..8)
            .prop_map(|keys| Value::Object(keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
    ];
    prop::collection::hash_map(select(LISTS), prop::collection::vec(item, 0..4), 0..4).prop_map(|lists| {
        let mut value = Map::from_iter([("metadata".to_owned(), json!({ "phone_number_id": "418205937761245" }))]);
        value.extend(
            lists
                .into_iter()
                .map(|(name, items)| (name.to_owned(), Value::from(items))),
        );
        Value::Object(value)
    })
}

fn notification(entries: &[Value]) -> String {
    json!({ "object": "whatsapp_business_account", "entry": entries }).to_string()
}

proptest! {
    #[test]
    fn bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..256), text in ".{0,64}") {
        let _ = split(&body);
        let _ = split(text.as_bytes());
        let _ = parse(&text);
        let _ = parse(&String::from_utf8_lossy(&body));
    }

    #[test]
    fn cut_off_bodies_are_refused(value in any_value(), cut in any::<prop::sample::Index>()) {
        let body = notification(&[json!({ "id": "1", "changes": [{ "field": "messages", "value": value }] })]);
        let mut end = cut.index(body.len());
        while !body.is_char_boundary(end) {
            end -= 1;
        }
        prop_assert!(split(&body.as_bytes()[..end]).is_err());
        let _ = parse(&body[..end]);
    }

    #[test]
    fn json_never_panics_and_is_never_lost(entries in prop::collection::vec(any_json(), 0..4)) {
        let body = notification(&entries);
        let events = split(body.as_bytes()).unwrap();
        prop_assert!(events.len() >= entries.len());
        for event in &events {
            let _ = parse(&event.raw);
            check_repeatable(event);
        }
        for entry in &entries {
            let _ = parse(&entry.to_string());
        }
    }

    #[test]
    fn every_item_is_one_event(value in any_value(), field in select(ITEM_FIELDS), time in prop::option::of(any::<i64>())) {
        let body = notification(&[json!({ "id": "305918274660123", "time": time, "changes": [{ "field": field, "value": value }] })]);
        let events = split(body.as_bytes()).unwrap();
        let count = |name: &str| value.get(name).and_then(Value::as_array).map_or(0, Vec::len);
        let items: usize = ["messages", "statuses", "errors", "message_echoes", "state_sync", "user_preferences", "calls"].into_iter().map(count).sum();
        prop_assert!(events.len() >= items + count("history"));
        if items + count("history") > 0 && count("history") == 0 {
            prop_assert_eq!(events.len(), items + usize::from(value.get("new").is_some()));
        }
        for event in &events {
            let _ = parse(&event.raw);
            check_repeatable(event);
            prop_assert_eq!(&event.account, &Account::PhoneNumber("418205937761245".to_owned()));
        }
    }

    #[test]
    fn any_field_can_be_split_again(value in any_value(), field in prop_oneof![select(WORDS).prop_map(str::to_owned), ".{0,8}"]) {
        let body = notification(&[json!({ "id": "305918274660123", "changes": [{ "field": field, "value": value }] })]);
        let events = split(body.as_bytes()).unwrap();
        prop_assert!(!events.is_empty());
        events.iter().for_each(check_repeatable);
    }

    /// Ids with the separators inside, so that a careless join would make two of them alike.
    #[test]
    fn different_events_have_different_identities(items in prop::collection::hash_set(item_facts(), 0..24)) {
        let items: Vec<ItemFacts> = items.into_iter().collect();
        let entries: Vec<Value> = items.iter().map(ItemFacts::entry).collect();
        let events = split(notification(&entries).as_bytes()).unwrap();
        prop_assert_eq!(events.len(), items.len());
        let mut seen: HashMap<(&Account, &str), &ItemFacts> = HashMap::new();
        for (event, item) in events.iter().zip(&items) {
            if let Some(other) = seen.insert((&event.account, &event.external_id), item) {
                prop_assert!(false, "{} for {:?} and {:?}", event.external_id, item, other);
            }
        }
    }

    /// The same events in one batch, with the keys in another order, are the same events.
    #[test]
    fn a_repeat_with_reordered_keys_has_the_same_identities(items in prop::collection::vec(item_facts(), 1..12), seed in any::<u64>()) {
        let entries: Vec<Value> = items.iter().map(ItemFacts::entry).collect();
        let body = Value::from_iter([("object", Value::from("whatsapp_business_account")), ("entry", Value::from(entries))]);
        let first = split(body.to_string().as_bytes()).unwrap();
        let again = split(print_shuffled(&body, &mut seed.clone()).as_bytes()).unwrap();
        prop_assert_eq!(facts(&first), facts(&again));
    }

    /// Also where nothing has an id of its own.
    #[test]
    fn reordered_keys_do_not_change_a_hash(value in any_value(), field in select(WORDS), seed in any::<u64>()) {
        let body = json!({
            "object": "whatsapp_business_account",
            "entry": [{ "id": "305918274660123", "changes": [{ "field": field, "value": value }] }],
        });
        let first: HashSet<String> = split(body.to_string().as_bytes()).unwrap().into_iter().map(|event| event.external_id).collect();
        let again = print_shuffled(&body, &mut seed.clone());
        let again: HashSet<String> = split(again.as_bytes()).unwrap().into_iter().map(|event| event.external_id).collect();
        prop_assert_eq!(first, again);
    }
}

fn facts(events: &[Event]) -> Vec<(&str, &Account, String, Option<i64>)> {
    events
        .iter()
        .map(|event| {
            (
                event.external_id.as_str(),
                &event.account,
                event.kind.to_string(),
                event.occurred_at,
            )
        })
        .collect()
}

/// What makes an event of its own: two of these that differ are two events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ItemFacts {
    Message {
        id: String,
        kind: &'static str,
        standby: bool,
    },
    Status {
        id: String,
        status: String,
        participant: Option<String>,
        standby: bool,
    },
    Echo {
        id: String,
    },
    History {
        id: String,
        media: bool,
    },
    Call {
        id: String,
        event: String,
    },
    CallStatus {
        id: String,
        status: String,
    },
    Preference {
        user_id: String,
        value: String,
        timestamp: u32,
    },
    Account {
        decision: String,
        time: u32,
        account: u8,
    },
}

fn item_facts() -> impl Strategy<Value = ItemFacts> {
    let id = || "[ab:%]{1,3}";
    prop_oneof![
        // A message is known by its id alone: the type is a function of the id here, as it is in life.
        (id(), any::<bool>()).prop_map(|(id, standby)| {
            let kind = ["text", "reaction", "edit", "revoke", "video"][id.bytes().map(usize::from).sum::<usize>() % 5];
            ItemFacts::Message { id, kind, standby }
        }),
        (id(), id(), prop::option::of(id()), any::<bool>()).prop_map(|(id, status, participant, standby)| {
            ItemFacts::Status {
                id,
                status,
                participant,
                standby,
            }
        }),
        id().prop_map(|id| ItemFacts::Echo { id }),
        (id(), any::<bool>()).prop_map(|(id, media)| ItemFacts::History { id, media }),
        (id(), id()).prop_map(|(id, event)| ItemFacts::Call { id, event }),
        (id(), id()).prop_map(|(id, status)| ItemFacts::CallStatus { id, status }),
        (id(), id(), 0..3_u32).prop_map(|(user_id, value, timestamp)| ItemFacts::Preference {
            user_id,
            value,
            timestamp
        }),
        (id(), 0..3_u32, 0..3_u8).prop_map(|(decision, time, account)| ItemFacts::Account {
            decision,
            time,
            account
        }),
    ]
}

impl ItemFacts {
    fn entry(&self) -> Value {
        let metadata = json!({ "phone_number_id": "418205937761245" });
        let (field, value) = match self {
            Self::Message { id, kind, standby } => (
                if *standby { "standby" } else { "messages" },
                json!({ "metadata": metadata, "messages": [{ "id": id, "type": kind, "timestamp": "1795334405", "from": "447700900123" }] }),
            ),
            Self::Status {
                id,
                status,
                participant,
                standby,
            } => {
                let mut item = json!({ "id": id, "status": status, "timestamp": "1795334405" });
                if let Some(participant) = participant {
                    item["recipient_participant_user_id"] = participant.as_str().into();
                }
                (
                    if *standby { "standby" } else { "messages" },
                    json!({ "metadata": metadata, "statuses": [item] }),
                )
            }
            Self::Echo { id } => (
                "smb_message_echoes",
                json!({ "metadata": metadata, "message_echoes": [{ "id": id, "type": "text" }] }),
            ),
            Self::History { id, media: true } => (
                "history",
                json!({ "metadata": metadata, "messages": [{ "id": id, "type": "image" }] }),
            ),
            Self::History { id, media: false } => (
                "history",
                json!({ "metadata": metadata, "history": [{ "threads": [{ "id": "447700900123", "messages": [{ "id": id, "type": "text" }] }] }] }),
            ),
            Self::Call { id, event } => (
                "calls",
                json!({ "metadata": metadata, "calls": [{ "id": id, "event": event }] }),
            ),
            Self::CallStatus { id, status } => (
                "calls",
                json!({ "metadata": metadata, "statuses": [{ "id": id, "status": status, "type": "call" }] }),
            ),
            Self::Preference {
                user_id,
                value,
                timestamp,
            } => (
                "user_preferences",
                json!({ "metadata": metadata, "user_preferences": [{ "user_id": user_id, "value": value, "timestamp": timestamp }] }),
            ),
            Self::Account {
                decision,
                time,
                account,
            } => {
                return json!({
                    "id": account.to_string(),
                    "time": time,
                    "changes": [{ "field": "account_review_update", "value": { "decision": decision } }],
                });
            }
        };
        json!({ "id": "305918274660123", "changes": [{ "field": field, "value": value }] })
    }
}

/// Prints JSON with the keys of every object in an order that `seed` decides, and with spaces.
fn print_shuffled(value: &Value, seed: &mut u64) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| print_shuffled(item, seed)).collect();
            format!("[ {} ]", items.join(" , "))
        }
        Value::Object(keys) => {
            let mut keys: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{} : {}", Value::from(key.as_str()), print_shuffled(value, seed)))
                .collect();
            for last in (1..keys.len()).rev() {
                *seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                keys.swap(last, (*seed >> 33) as usize % (last + 1));
            }
            format!("{{ {} }}", keys.join(" , "))
        }
        leaf => leaf.to_string(),
    }
}
