//! What Instagram's webhooks say: every fixture through one [`check`], and properties that hold for any body.
//!
//! A fixture holds one whole POST, the events that it must be split into, and what each of them must be understood as. To add a case,
//! add a file to `fixtures/instagram/` and name its source in `SOURCES.md`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tidings_meta::instagram::{
    self, AppRoles, Attachment, Change, Comment, Entry, Handover, Message, Referral, ReplyTo,
};
use tidings_meta::notification::{Account, Event, Platform};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    source: String,
    body: Box<RawValue>,
    events: Vec<Expected>,
    understood: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    kind: String,
    external_id: String,
    account: String,
    occurred_at: Option<i64>,
}

#[test]
fn every_fixture_means_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instagram");
    let sources = fs::read_to_string(folder.join("SOURCES.md")).unwrap();
    let mut count = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let case: Case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(
                sources.contains(&format!("`{name}`")),
                "{name} is missing in SOURCES.md"
            );
            check(&name, &case);
            count += 1;
        }
    }
    assert!(count >= 45, "only {count} fixtures");
}

fn check(name: &str, case: &Case) {
    let name = format!("{name} ({}; {})", case.about, case.source);
    let events = split(case.body.get()).unwrap_or_else(|reason| panic!("{name}: {reason}"));
    assert_eq!(events.len(), case.events.len(), "{name}: {events:#?}");
    assert_eq!(events.len(), case.understood.len(), "{name}");
    for ((event, expected), understood) in events.iter().zip(&case.events).zip(&case.understood) {
        assert_eq!(event.kind.as_str(), expected.kind, "{name}: kind");
        assert_eq!(event.external_id, expected.external_id, "{name}: external_id");
        assert_eq!(
            event.account,
            Account::Instagram(expected.account.clone()),
            "{name}: account"
        );
        assert_eq!(event.occurred_at, expected.occurred_at, "{name}: occurred_at");

        let entry = instagram::parse(&event.raw);
        let summary = match &entry {
            Ok(entry) => {
                assert_eq!(entry.account_id, expected.account, "{name}: account of the entry");
                assert_eq!(entry.at, expected.occurred_at, "{name}: time of the entry");
                summary(entry)
            }
            Err(error) => json!({ "shape_error": error.to_string() }),
        };
        assert_eq!(&summary, understood, "{name}");
        check_alone(event);
    }
}

/// An event's raw form is an entry of its own: it is that one event again.
fn check_alone(event: &Event) {
    let alone = split(&format!(r#"{{"object":"instagram","entry":[{}]}}"#, event.raw)).unwrap();
    assert_eq!(alone.as_slice(), std::slice::from_ref(event));
}

fn split(body: &str) -> Result<Vec<Event>, String> {
    tidings_meta::notification::split(Platform::Instagram, body.as_bytes()).map_err(|error| error.reason)
}

// What was understood, as compact JSON: only what is there.

fn summary(entry: &Entry) -> Value {
    let mut summary = object([
        ("field", json!(entry.field)),
        ("standby", flag(entry.standby)),
        ("sender", json!(entry.sender)),
        ("recipient", json!(entry.recipient)),
        ("customer", json!(entry.customer())),
    ]);
    let (key, change) = match &entry.change {
        Change::Message(message) => ("message", message_summary(message)),
        Change::Edit { mid, text, num_edit } => (
            "edit",
            object([
                ("mid", json!(mid)),
                ("text", json!(text)),
                ("num_edit", json!(num_edit)),
            ]),
        ),
        Change::Reaction { mid, reaction } => {
            let given = reaction.as_ref();
            let parts = [
                ("mid", json!(mid)),
                ("emoji", json!(given.and_then(|reaction| reaction.emoji.as_ref()))),
                ("name", json!(given.and_then(|reaction| reaction.name.as_ref()))),
                ("removed", flag(reaction.is_none())),
            ];
            ("reaction", object(parts))
        }
        Change::Postback {
            mid,
            title,
            payload,
            referral,
        } => {
            let parts = [
                ("mid", json!(mid)),
                ("title", json!(title)),
                ("payload", json!(payload)),
                ("referral", referral.as_ref().map(referral_summary).unwrap_or_default()),
            ];
            ("postback", object(parts))
        }
        Change::Referral(referral) => ("referral", referral_summary(referral)),
        Change::Seen { mid, watermark } => ("seen", object([("mid", json!(mid)), ("watermark", json!(watermark))])),
        Change::Handover(handover) => ("handover", handover_summary(handover)),
        Change::OptIn(value) => ("optin", value.clone()),
        Change::Comment(comment) => ("comment", comment_summary(comment)),
        Change::LiveComment(comment) => ("live_comment", comment_summary(comment)),
        Change::Mention { media_id, comment_id } => (
            "mention",
            object([("media_id", json!(media_id)), ("comment_id", json!(comment_id))]),
        ),
        Change::Media(value) => ("media", value.clone()),
        Change::StoryInsights(value) => ("story_insights", value.clone()),
        Change::Unknown(value) => ("unknown", value.clone()),
    };
    summary[key] = change;
    summary
}

fn message_summary(message: &Message) -> Value {
    let attachments: Vec<Value> = message.attachments.iter().map(attachment_summary).collect();
    object([
        ("mid", json!(message.mid)),
        ("text", json!(message.text)),
        (
            "attachments",
            if attachments.is_empty() {
                Value::Null
            } else {
                json!(attachments)
            },
        ),
        ("quick_reply", json!(message.quick_reply)),
        (
            "reply_to",
            message.reply_to.as_ref().map(reply_to_summary).unwrap_or_default(),
        ),
        (
            "referral",
            message.referral.as_ref().map(referral_summary).unwrap_or_default(),
        ),
        ("is_echo", flag(message.is_echo)),
        ("is_deleted", flag(message.is_deleted)),
        ("is_unsupported", flag(message.is_unsupported)),
        ("is_self", flag(message.is_self)),
        ("app_id", json!(message.app_id)),
        ("metadata", json!(message.metadata)),
        ("folder", json!(message.folder)),
    ])
}

/// The payload is shown only where it has no link: elsewhere it says nothing more.
fn attachment_summary(attachment: &Attachment) -> Value {
    let payload = if attachment.url.is_none() {
        attachment.payload.clone()
    } else {
        Value::Null
    };
    object([
        ("kind", json!(attachment.kind.as_str())),
        ("url", json!(attachment.url)),
        ("title", json!(attachment.title)),
        ("media_id", json!(attachment.media_id)),
        ("payload", payload),
    ])
}

fn reply_to_summary(reply_to: &ReplyTo) -> Value {
    match reply_to {
        ReplyTo::Message { mid, self_reply } => object([("mid", json!(mid)), ("self_reply", json!(self_reply))]),
        ReplyTo::Story {
            id,
            url,
            link_sticker_url,
        } => object([
            ("story", json!(id)),
            ("url", json!(url)),
            ("link_sticker_url", json!(link_sticker_url)),
        ]),
    }
}

fn referral_summary(referral: &Referral) -> Value {
    let ads_context = referral.ads_context.as_ref().map(|context| {
        object([
            ("title", json!(context.title)),
            ("photo_url", json!(context.photo_url)),
            ("video_url", json!(context.video_url)),
        ])
    });
    object([
        ("reference", json!(referral.reference)),
        ("source", json!(referral.source)),
        ("kind", json!(referral.kind)),
        ("ad_id", json!(referral.ad_id)),
        ("ads_context", ads_context.unwrap_or_default()),
        ("product_id", json!(referral.product_id)),
    ])
}

fn handover_summary(handover: &Handover) -> Value {
    let change = |from: &Option<String>, to: &Option<String>, metadata: &Option<String>| {
        object([("from", json!(from)), ("to", json!(to)), ("metadata", json!(metadata))])
    };
    match handover {
        Handover::Passed {
            previous_owner_app_id,
            new_owner_app_id,
            metadata,
        } => {
            json!({ "passed": change(previous_owner_app_id, new_owner_app_id, metadata) })
        }
        Handover::Taken {
            previous_owner_app_id,
            new_owner_app_id,
            metadata,
        } => {
            json!({ "taken": change(previous_owner_app_id, new_owner_app_id, metadata) })
        }
        Handover::Requested {
            requested_owner_app_id,
            metadata,
        } => {
            let parts = [("by", json!(requested_owner_app_id)), ("metadata", json!(metadata))];
            json!({ "requested": object(parts) })
        }
        Handover::Roles(apps) => {
            let roles: Map<String, Value> = apps
                .iter()
                .map(|AppRoles { app_id, roles }| (app_id.clone(), json!(roles)))
                .collect();
            json!({ "roles": roles })
        }
    }
}

fn comment_summary(comment: &Comment) -> Value {
    object([
        ("id", json!(comment.id)),
        ("parent_id", json!(comment.parent_id)),
        ("text", json!(comment.text)),
        ("from_id", json!(comment.from_id)),
        ("from_username", json!(comment.from_username)),
        ("from_self_id", json!(comment.from_self_id)),
        ("media_id", json!(comment.media_id)),
        ("media_product_type", json!(comment.media_product_type)),
        ("ad_id", json!(comment.ad_id)),
        ("ad_title", json!(comment.ad_title)),
        ("original_media_id", json!(comment.original_media_id)),
    ])
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn flag(flag: bool) -> Value {
    if flag { json!(true) } else { Value::Null }
}

// Envelopes.

fn check_refused(body: &[u8], reason: &str) {
    let refused = instagram::split(body).unwrap_err().reason;
    assert!(refused.contains(reason), "{refused:?} does not say {reason:?}");
}

#[test]
fn what_is_no_instagram_envelope_is_refused_with_the_reason() {
    check_refused(b"", "not JSON");
    check_refused(b"hello", "not JSON");
    check_refused(b"{\"object\":\"instagram\",\"entry\":[", "not JSON");
    check_refused(b"{\"object\":\"instagram\",\"entry\":[]} trailing", "not JSON");
    check_refused(b"{\"object\":\"instagram\xff\"}", "not UTF-8");
    check_refused(b"7", "not a JSON object");
    check_refused(b"[]", "array of 0 elements");
    check_refused(
        br#"[{"object":"instagram","entry":[]},{"object":"instagram","entry":[]}]"#,
        "array of 2 elements",
    );
    check_refused(b"{\"entry\":[]}", "`object` is missing");
    check_refused(
        br#"{"object":"whatsapp_business_account","entry":[]}"#,
        "\"whatsapp_business_account\"; wanted is \"instagram\"",
    );
    check_refused(br#"{"object":"page","entry":[]}"#, "\"page\"");
    check_refused(br#"{"object":"instagram"}"#, "`entry` is missing");
    check_refused(
        br#"{"object":"instagram","entry":{"id":"1"}}"#,
        "`entry` is not an array",
    );
    check_refused(br#"{"field":"comments","value":{}}"#, "`object` is missing");
}

#[test]
fn an_envelope_without_entries_has_no_events() {
    assert_eq!(split(r#"{"object":"instagram","entry":[]}"#).unwrap(), []);
}

#[test]
fn what_is_not_one_event_is_not_understood() {
    let check = |raw: &str, reason: &str| {
        let refused = instagram::parse(raw).unwrap_err().reason;
        assert!(refused.contains(reason), "{refused:?} does not say {reason:?}");
    };
    check("", "not JSON");
    check("{\"messaging\":[]}", "exactly one item, found 0");
    check("{\"messaging\":[{},{}]}", "exactly one item, found 2");
}

#[test]
fn a_single_item_keeps_its_entry_as_it_came() {
    let entry = r#"{ "id": "1", "uid":"1", "time": 1795200000, "messaging": [ {"message": {"mid": "m"}} ] }"#;
    let events = split(&format!(r#"{{"object":"instagram","entry":[{entry}]}}"#)).unwrap();
    assert_eq!(events[0].raw, entry);
}

/// Whatever stands beside the items, or however long an id is, must not be repeated for each of them.
#[test]
fn events_do_not_grow_faster_than_their_body() {
    let long = "9".repeat(100_000);
    let items = vec![r#"{"message":{"mid":"m"}}"#; 1000].join(",");
    let body = format!(
        r#"{{"object":"instagram","entry":[{{"id":"{long}","time":{long},"extra":"{long}","field":"{long}","messaging":[{items}]}}]}}"#
    );
    let events = split(&body).unwrap();
    assert_eq!(events.len(), 1001);
    let bytes: usize = events
        .iter()
        .map(|event| event.raw.len() + event.account.id().len() + event.external_id.len())
        .sum();
    assert!(
        bytes < 3 * body.len(),
        "{bytes} bytes of events from {} bytes of body",
        body.len()
    );
}

#[test]
fn nesting_beyond_all_bounds_is_kept_and_spoils_nothing_else() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let body = format!(
        r#"{{"object":"instagram","entry":[{{"id":"1","messaging":[{{"message":{{"mid":"m","text":"hi","new":{deep}}}}},{deep}]}}]}}"#
    );
    let events = split(&body).unwrap();
    assert_eq!(events[0].external_id, "message:m");
    let Change::Message(message) = instagram::parse(&events[0].raw).unwrap().change else {
        panic!("not a message")
    };
    assert_eq!(message.text.as_deref(), Some("hi"));
    assert_eq!(
        instagram::parse(&events[1].raw).unwrap().change,
        Change::Unknown(json!(deep))
    );
    events.iter().for_each(check_alone);
}

// Properties.

/// JSON that is likely to hit upon the keys and shapes that are looked for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!(1_795_200_000)),
        any::<String>().prop_map(Value::from),
        any_key().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any_key(), inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "id", "time", "messaging", "standby", "changes", "field", "value", "sender", "recipient", "timestamp", "message", "mid",
            "text", "attachments", "type", "payload", "reply_to", "story", "is_echo", "is_deleted", "message_edit", "num_edit",
            "reaction", "action", "emoji", "postback", "read", "watermark", "referral", "optin", "app_roles", "pass_thread_control",
            "comments", "live_comments", "mentions", "media", "media_id", "comment_id", "story_insights", "from", "messages",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

/// A body around any entries, with a chance of the right lists in the right places.
fn any_body() -> impl Strategy<Value = Value> {
    let list = || prop::collection::vec(any_json(), 0..4);
    let entry =
        (any_json(), list(), list(), list(), any::<[bool; 5]>()).prop_map(|(id, messaging, standby, changes, keep)| {
            let mut entry = Map::new();
            let members = [
                ("id", id),
                ("messaging", messaging.into()),
                ("standby", standby.into()),
                ("changes", changes.into()),
            ];
            for ((key, value), keep) in members.into_iter().zip(keep) {
                if keep {
                    entry.insert(key.to_owned(), value);
                }
            }
            if keep[4] {
                entry.insert("time".to_owned(), json!(1_795_200_000));
            }
            Value::from(entry)
        });
    prop::collection::vec(prop_oneof![3 => entry, 1 => any_json()], 0..4)
        .prop_map(|entries| json!({ "object": "instagram", "entry": entries }))
}

/// What makes a generated event itself. Two of these are the same event if and only if they are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Messaging { standby: bool, event: Messaging },
    Comment { live: bool, id: String },
    CommentMention { media: String, comment: String },
    CaptionMention { media: String, time: i64 },
    Media { id: String },
    Story { media: String, time: i64 },
    Unknown { field: String, value: String, time: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Messaging {
    Message {
        mid: String,
    },
    Echo {
        mid: String,
    },
    Deletion {
        mid: String,
    },
    Edit {
        mid: String,
        num_edit: i64,
    },
    Reaction {
        mid: String,
        sender: String,
        emoji: Option<String>,
        time: i64,
    },
    Postback {
        mid: String,
    },
    PostbackWithoutMid {
        sender: String,
        payload: String,
        time: i64,
    },
    Seen {
        mid: String,
        sender: String,
    },
    SeenWatermark {
        watermark: i64,
        sender: String,
    },
    Referral {
        sender: String,
        reference: String,
        time: i64,
    },
    Handover {
        sender: String,
        taken: bool,
        owner: String,
        time: i64,
    },
    MessageWithoutMid {
        sender: String,
        text: String,
        time: i64,
    },
}

/// Few values, so that generated events often differ in one part only; with the characters that could blur where a part ends.
fn word() -> impl Strategy<Value = String> {
    "[ab:%]{1,3}"
}

fn time() -> impl Strategy<Value = i64> {
    1_795_200_000_000_i64..1_795_200_000_003
}

fn any_messaging() -> impl Strategy<Value = Messaging> {
    prop_oneof![
        word().prop_map(|mid| Messaging::Message { mid }),
        word().prop_map(|mid| Messaging::Echo { mid }),
        word().prop_map(|mid| Messaging::Deletion { mid }),
        (word(), 0..3_i64).prop_map(|(mid, num_edit)| Messaging::Edit { mid, num_edit }),
        (word(), word(), prop::option::of(word()), time()).prop_map(|(mid, sender, emoji, time)| Messaging::Reaction {
            mid,
            sender,
            emoji,
            time
        }),
        word().prop_map(|mid| Messaging::Postback { mid }),
        (word(), word(), time())
            .prop_map(|(sender, payload, time)| { Messaging::PostbackWithoutMid { sender, payload, time } }),
        (word(), word()).prop_map(|(mid, sender)| Messaging::Seen { mid, sender }),
        (time(), word()).prop_map(|(watermark, sender)| Messaging::SeenWatermark { watermark, sender }),
        (word(), word(), time()).prop_map(|(sender, reference, time)| Messaging::Referral {
            sender,
            reference,
            time
        }),
        (word(), any::<bool>(), word(), time()).prop_map(|(sender, taken, owner, time)| {
            Messaging::Handover {
                sender,
                taken,
                owner,
                time,
            }
        }),
        (word(), word(), time()).prop_map(|(sender, text, time)| Messaging::MessageWithoutMid { sender, text, time }),
    ]
}

fn any_said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => (any::<bool>(), any_messaging()).prop_map(|(standby, event)| Said::Messaging { standby, event }),
        1 => (any::<bool>(), word()).prop_map(|(live, id)| Said::Comment { live, id }),
        1 => (word(), word()).prop_map(|(media, comment)| Said::CommentMention { media, comment }),
        1 => (word(), time()).prop_map(|(media, time)| Said::CaptionMention { media, time }),
        1 => word().prop_map(|id| Said::Media { id }),
        1 => (word(), time()).prop_map(|(media, time)| Said::Story { media, time }),
        1 => ("follow|delta", word(), time()).prop_map(|(field, value, time)| Said::Unknown { field, value, time }),
    ]
}

impl Messaging {
    fn value(&self) -> Value {
        let event = |sender: &str, time: i64, key: &str, body: Value| json!({ "sender": { "id": sender }, "timestamp": time, key: body });
        let at = 1_795_200_000_000;
        match self {
            Self::Message { mid } => event("c", at, "message", json!({ "mid": mid, "text": "hi" })),
            Self::Echo { mid } => event("1", at, "message", json!({ "mid": mid, "is_echo": true })),
            Self::Deletion { mid } => event("c", at, "message", json!({ "mid": mid, "is_deleted": true })),
            Self::Edit { mid, num_edit } => event("c", at, "message_edit", json!({ "mid": mid, "num_edit": num_edit })),
            Self::Reaction {
                mid,
                sender,
                emoji,
                time,
            } => match emoji {
                Some(emoji) => event(
                    sender,
                    *time,
                    "reaction",
                    json!({ "mid": mid, "action": "react", "emoji": emoji }),
                ),
                None => event(sender, *time, "reaction", json!({ "mid": mid, "action": "unreact" })),
            },
            Self::Postback { mid } => event("c", at, "postback", json!({ "mid": mid, "title": "t", "payload": "p" })),
            Self::PostbackWithoutMid { sender, payload, time } => {
                event(sender, *time, "postback", json!({ "payload": payload }))
            }
            Self::Seen { mid, sender } => event(sender, at, "read", json!({ "mid": mid })),
            Self::SeenWatermark { watermark, sender } => event(sender, at, "read", json!({ "watermark": watermark })),
            Self::Referral {
                sender,
                reference,
                time,
            } => event(sender, *time, "referral", json!({ "ref": reference })),
            Self::Handover {
                sender,
                taken,
                owner,
                time,
            } => {
                let key = if *taken {
                    "take_thread_control"
                } else {
                    "pass_thread_control"
                };
                event(sender, *time, key, json!({ "new_owner_app_id": owner }))
            }
            Self::MessageWithoutMid { sender, text, time } => event(sender, *time, "message", json!({ "text": text })),
        }
    }
}

impl Said {
    /// One body that says it. `turn` chooses the order of keys and, for messaging, one of the two forms.
    fn body(&self, turn: usize) -> String {
        let change = |field: &str, value: Value, time: i64| json!({ "id": "1", "time": time, "changes": [{ "field": field, "value": value }] });
        let at = 1_795_200_000;
        let entry = match self {
            Self::Messaging { standby, event } => match (standby, turn % 2) {
                (false, 0) => json!({ "id": "1", "time": at + 1, "messaging": [event.value()] }),
                (false, _) => change("messages_by_another_name", event.value(), at),
                (true, 0) => json!({ "id": "1", "time": at + 1, "standby": [event.value()] }),
                (true, _) => change("standby", event.value(), at),
            },
            Self::Comment { live, id } => change(
                if *live { "live_comments" } else { "comments" },
                json!({ "id": id, "text": "t" }),
                at,
            ),
            Self::CommentMention { media, comment } => {
                change("mentions", json!({ "media_id": media, "comment_id": comment }), at)
            }
            Self::CaptionMention { media, time } => change("mentions", json!({ "media_id": media }), *time),
            Self::Media { id } => change("media", json!({ "id": id, "caption": "c" }), at),
            Self::Story { media, time } => change("story_insights", json!({ "media_id": media, "reach": 7 }), *time),
            Self::Unknown { field, value, time } => change(field, json!({ "a": value, "b": 1 }), *time),
        };
        let mut body = String::new();
        print(&json!({ "object": "instagram", "entry": [entry] }), turn / 2, &mut body);
        body
    }
}

/// Prints JSON with the keys of every object turned by some places.
fn print(value: &Value, turn: usize, to: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            let places = turn % members.len().max(1);
            members.rotate_left(places);
            to.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                to.push_str(if index > 0 { ", " } else { "" });
                to.push_str(&json!(key).to_string());
                to.push_str(": ");
                print(value, turn, to);
            }
            to.push('}');
        }
        Value::Array(elements) => {
            to.push('[');
            for (index, element) in elements.iter().enumerate() {
                to.push_str(if index > 0 { ", " } else { "" });
                print(element, turn, to);
            }
            to.push(']');
        }
        scalar => to.push_str(&scalar.to_string()),
    }
}

fn external_id(said: &Said, turn: usize) -> String {
    let events = split(&said.body(turn)).unwrap();
    assert_eq!(events.len(), 1);
    events[0].external_id.clone()
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = instagram::split(&bytes);
        let _ = instagram::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_broken_json_panics(body in any_body(), cut in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut body: Vec<char> = body.to_string().chars().collect();
        let at = cut.index(body.len());
        body[at] = with;
        let body: String = body.into_iter().collect();
        let _ = split(&body);
        let _ = instagram::parse(&body);
        let _ = split(&body[..body.floor_char_boundary(at)]);
    }

    #[test]
    fn every_item_is_one_event(body in any_body()) {
        let events = split(&body.to_string()).unwrap();
        let wanted: usize = body["entry"].as_array().unwrap().iter().map(items).sum();
        prop_assert_eq!(events.len(), wanted);
        for event in &events {
            check_alone(event);
            if let Ok(entry) = instagram::parse(&event.raw) {
                prop_assert_eq!(entry.account_id.as_str(), event.account.id());
                prop_assert_eq!(entry.at, event.occurred_at);
                let _ = entry.customer();
            }
        }
    }

    #[test]
    fn events_are_the_same_only_if_they_say_the_same(all in prop::collection::vec(any_said(), 2..12), turn in 0..20_usize) {
        let ids: Vec<String> = all.iter().map(|said| external_id(said, turn)).collect();
        for (one, one_id) in all.iter().zip(&ids) {
            for (other, other_id) in all.iter().zip(&ids) {
                prop_assert_eq!(one == other, one_id == other_id, "{:?} is {}, {:?} is {}", one, one_id, other, other_id);
            }
        }
    }

    #[test]
    fn a_repeat_is_the_same_event_in_any_order_of_keys_and_in_either_form(said in any_said()) {
        let ids: BTreeSet<String> = (0..12).map(|turn| external_id(&said, turn)).collect();
        prop_assert_eq!(ids.len(), 1, "{:?}", ids);
    }
}

/// How many events an entry holds, counted from outside.
fn items(entry: &Value) -> usize {
    let Some(entry) = entry.as_object() else {
        return 1;
    };
    let lists = ["messaging", "standby", "changes"]
        .iter()
        .filter_map(|key| entry.get(*key));
    let count: usize = lists
        .clone()
        .map(|list| list.as_array().map_or(usize::from(!list.is_null()), Vec::len))
        .sum();
    let fields = entry.contains_key("field") || entry.contains_key("value");
    if lists.count() == 0 && !fields {
        1
    } else {
        count + usize::from(fields)
    }
}
