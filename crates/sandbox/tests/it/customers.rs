//! What customers send: every kind, as the webhook that Meta makes of it.

use serde_json::{Value, json};
use tidings_sandbox::{LedgerKind, Script};

use super::harness::{ACCOUNT, Harness, PHONE, start, stepped};

const AMARA: &str = "447700900101";

/// The customer does it, through the control API; answers the id.
async fn write(harness: &Harness, customer: &str, account: &str, content: &Value) -> (u16, Value) {
    let path = format!("/sandbox/customers/{customer}/threads/{account}/messages");
    harness.post(&path, "", content).await
}

/// The newest message that WhatsApp told of.
fn newest(harness: &Harness) -> Value {
    harness.receiver.values().last().unwrap()["messages"][0].clone()
}

fn check(found: &Value, expected: &[(&str, Value)], content: &Value) {
    for (pointer, value) in expected {
        let part = found.pointer(pointer).cloned().unwrap_or_default();
        if value == "*" {
            assert!(
                part.as_str().is_some_and(|text| !text.is_empty()),
                "{content}: {pointer} in {found}"
            );
        } else {
            assert_eq!(part, *value, "{content}: {pointer} in {found}");
        }
    }
}

/// whatsapp.md 4.1 to 4.8.
#[tokio::test]
async fn every_kind_of_whatsapp_comes_as_meta_would_tell_it() {
    let harness = start(stepped()).await;
    let first = harness.writes("amara", PHONE, "hello");
    let any = || json!("*");
    let media = |kind: &str, mime: &str| {
        vec![
            ("/type", json!(kind)),
            (
                match kind {
                    "image" => "/image/mime_type",
                    "video" => "/video/mime_type",
                    "audio" => "/audio/mime_type",
                    "document" => "/document/mime_type",
                    _ => "/sticker/mime_type",
                },
                json!(mime),
            ),
        ]
    };
    let with = |mut base: Vec<(&'static str, Value)>, more: Vec<(&'static str, Value)>| {
        base.extend(more);
        base
    };
    let opus = "audio/ogg; codecs=opus";
    let cases: Vec<(Value, Vec<(&str, Value)>)> = vec![
        (
            json!({"type": "text", "text": "yes", "replyTo": first}),
            vec![
                ("/text/body", json!("yes")),
                ("/context/id", json!(first)),
                ("/context/from", json!("442079460100")),
            ],
        ),
        (
            json!({"type": "image", "caption": "like this"}),
            with(
                media("image", "image/jpeg"),
                vec![
                    ("/image/caption", json!("like this")),
                    ("/image/sha256", any()),
                    ("/image/url", any()),
                ],
            ),
        ),
        (json!({"type": "video"}), media("video", "video/mp4")),
        (
            json!({"type": "audio"}),
            with(media("audio", opus), vec![("/audio/voice", json!(false))]),
        ),
        (
            json!({"type": "voice"}),
            with(media("audio", opus), vec![("/audio/voice", json!(true))]),
        ),
        (
            json!({"type": "document", "filename": "contract v2.pdf", "caption": "signed"}),
            with(
                media("document", "application/pdf"),
                vec![
                    ("/document/filename", json!("contract v2.pdf")),
                    ("/document/caption", json!("signed")),
                ],
            ),
        ),
        (
            json!({"type": "sticker"}),
            with(
                media("sticker", "image/webp"),
                vec![("/sticker/animated", json!(false))],
            ),
        ),
        (
            json!({"type": "sticker", "animated": true}),
            with(media("sticker", "image/webp"), vec![("/sticker/animated", json!(true))]),
        ),
        (
            json!({"type": "location", "latitude": 51.5, "longitude": -0.1, "name": "River Gate"}),
            vec![
                ("/location/latitude", json!(51.5)),
                ("/location/name", json!("River Gate")),
                ("/location/address", Value::Null),
            ],
        ),
        (
            json!({"type": "contacts"}),
            vec![
                ("/contacts/0/name/formatted_name", any()),
                ("/contacts/0/origin", json!("other")),
            ],
        ),
        (
            json!({"type": "order", "text": "gift wrap", "items": [{"product": "SKU-77", "quantity": 2, "price": 14.5, "currency": "GBP"}]}),
            vec![
                ("/order/text", json!("gift wrap")),
                ("/order/catalog_id", any()),
                (
                    "/order/product_items/0",
                    json!({"product_retailer_id": "SKU-77", "quantity": 2, "item_price": 14.5, "currency": "GBP"}),
                ),
            ],
        ),
        (
            json!({"type": "ask_about_product", "text": "This?", "product": "SKU-77"}),
            vec![
                ("/text/body", json!("This?")),
                ("/context/referred_product/product_retailer_id", json!("SKU-77")),
            ],
        ),
        (
            json!({"type": "forward", "text": "seen?"}),
            vec![("/context", json!({"forwarded": true}))],
        ),
        (
            json!({"type": "forward", "text": "seen?", "frequently": true}),
            vec![("/context", json!({"frequently_forwarded": true}))],
        ),
        (
            json!({"type": "from_ad", "text": "Tell me more", "headline": "Spring"}),
            vec![
                ("/type", json!("text")),
                ("/referral/source_type", json!("ad")),
                ("/referral/headline", json!("Spring")),
                ("/referral/ctwa_clid", any()),
            ],
        ),
        (
            json!({"type": "reaction", "messageId": first, "emoji": "👍"}),
            vec![("/reaction", json!({"message_id": first, "emoji": "👍"}))],
        ),
        (
            json!({"type": "reaction", "messageId": first}),
            vec![("/reaction", json!({"message_id": first}))],
        ),
        (
            json!({"type": "edit", "messageId": first, "text": "Hello there"}),
            vec![
                ("/edit/original_message_id", json!(first)),
                ("/edit/message/text/body", json!("Hello there")),
            ],
        ),
        (
            json!({"type": "unsend", "messageId": first}),
            vec![
                ("/type", json!("revoke")),
                ("/revoke/original_message_id", json!(first)),
            ],
        ),
        (
            json!({"type": "unsupported"}),
            vec![
                ("/type", json!("unsupported")),
                ("/errors/0/code", json!(131_051)),
                ("/unsupported/type", json!("poll_creation")),
            ],
        ),
    ];
    for (content, expected) in cases {
        let (status, answer) = write(&harness, "amara", PHONE, &content).await;
        assert_eq!(status, 201, "{content}: {answer}");
        harness.advance(0).await;
        let message = newest(&harness);
        check(&message, &expected, &content);
        check(
            &message,
            &[("/from", json!(AMARA)), ("/id", answer["id"].clone())],
            &content,
        );
    }
}

/// Everything that answers something which the business sent first.
#[tokio::test]
async fn answers_on_whatsapp_name_what_they_answer() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let body = json!({"text": "Body"});
    let asks = |kind: &str, name: &str, parameters: Value| json!({"type": "interactive", "interactive": {"type": kind, "body": body, "action": {"name": name, "parameters": parameters}}});
    let flow = json!({"flow_message_version": "3", "flow_id": "1", "flow_cta": "Rate", "flow_token": "ft_81c"});
    let list = json!({"type": "interactive", "interactive": {"type": "list", "body": body, "action": {"button": "Open",
        "sections": [{"rows": [{"id": "plan-b", "title": "Plan B", "description": "12 months"}]}]}}});
    let reply = json!({"type": "interactive", "interactive": {"type": "button", "body": body,
        "action": {"buttons": [{"type": "reply", "reply": {"id": "keep", "title": "Keep"}}]}}});
    let cases = [
        (
            reply,
            json!({"type": "button", "payload": "keep"}),
            (
                "/interactive",
                json!({"type": "button_reply", "button_reply": {"id": "keep", "title": "Keep"}}),
            ),
        ),
        (
            list,
            json!({"type": "button", "payload": "plan-b"}),
            (
                "/interactive/list_reply",
                json!({"id": "plan-b", "title": "Plan B", "description": "12 months"}),
            ),
        ),
        (
            asks("flow", "flow", flow),
            json!({"type": "flow", "answers": {"rating": "4"}}),
            (
                "/interactive/nfm_reply",
                json!({"name": "flow", "body": "Sent", "response_json": "{\"flow_token\":\"ft_81c\",\"rating\":\"4\"}"}),
            ),
        ),
        (
            asks("location_request_message", "send_location", json!({})),
            json!({"type": "location", "latitude": 1.0, "longitude": 2.0}),
            ("/location", json!({"latitude": 1.0, "longitude": 2.0})),
        ),
        (
            asks("address_message", "address_message", json!({"country": "IN"})),
            json!({"type": "address", "values": {"city": "Mumbai"}}),
            ("/interactive/nfm_reply/name", json!("address_message")),
        ),
        (
            asks("request_contact_info", "request_contact_info", json!({})),
            json!({"type": "share_number"}),
            ("/contacts/0/origin", json!("contact_request")),
        ),
        (
            asks("call_permission_request", "call_permission_request", json!({})),
            json!({"type": "call_permission", "accept": true}),
            ("/interactive/call_permission_reply/response", json!("accept")),
        ),
    ];
    for (sent, content, expected) in cases {
        let mut message = sent.clone();
        message["to"] = json!(AMARA);
        let (status, answer) = harness.whatsapp(message).await;
        assert_eq!(status, 200, "{sent}: {answer}");
        harness.advance(1_000).await;
        let mut content = content;
        if content["type"] == "location" {
            content["replyTo"] = answer["messages"][0]["id"].clone();
        }
        let (status, told) = write(&harness, "amara", PHONE, &content).await;
        assert_eq!(status, 201, "{content}: {told}");
        harness.advance(0).await;
        let context = json!({"from": "442079460100", "id": answer["messages"][0]["id"]});
        check(&newest(&harness), &[expected, ("/context", context)], &content);
    }
    // Nothing asks for this any more than once it is named wrongly.
    let wrong = json!({"type": "flow", "messageId": "wamid.unknown", "answers": {}});
    assert_eq!(write(&harness, "amara", PHONE, &wrong).await.0, 404);
}

#[tokio::test]
async fn a_voice_message_is_played_once() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let voice =
        json!({"to": AMARA, "type": "audio", "audio": {"link": "https://cdn.example.org/v.ogg", "voice": true}});
    let (_, answer) = harness.whatsapp(voice).await;
    let play = json!({"type": "play", "messageId": answer["messages"][0]["id"]});
    assert_eq!(
        write(&harness, "amara", PHONE, &play).await.0,
        422,
        "it isn't there yet"
    );
    harness.advance(3_000).await;
    assert_eq!(write(&harness, "amara", PHONE, &play).await.0, 201);
    harness.advance(0).await;
    let last = harness.receiver.statuses().last().unwrap().clone();
    assert_eq!(
        (&last["status"], &last["id"]),
        (&json!("played"), &answer["messages"][0]["id"])
    );
    assert!(last["pricing"].is_null());
    assert_eq!(write(&harness, "amara", PHONE, &play).await.0, 422);
}

#[tokio::test]
async fn a_customer_may_look_by_script_too() {
    let mut options = stepped();
    options.delays.read = None;
    let script = "lines:\n  - {atMs: 0, from: amara, text: Hello}\n  - {atMs: 5000, from: amara, do: {type: read}}\n";
    options.script = Some(Script::parse(script).unwrap());
    let harness = start(options).await;
    harness.advance(1_000).await;
    harness
        .whatsapp(json!({"to": AMARA, "type": "text", "text": {"body": "hi"}}))
        .await;
    harness.advance(3_000).await;
    assert_eq!(harness.entries(LedgerKind::Read).len(), 0);
    harness.advance(2_000).await;
    assert_eq!(harness.entries(LedgerKind::Read).len(), 1);
    assert_eq!(harness.receiver.statuses().last().unwrap()["status"], "read");
}

/// whatsapp.md 4.5, 6.1.
#[tokio::test]
async fn a_new_number_brings_a_new_id_and_the_old_ones_reach_nobody() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    harness.advance(0).await;
    let old = newest(&harness)["from_user_id"].clone();
    let change = |phone: &str| json!({"type": "change_number", "phone": phone});
    assert_eq!(write(&harness, "amara", PHONE, &change("+44 7700 900777")).await.0, 201);
    harness.advance(0).await;
    let value = harness.receiver.values().last().unwrap().clone();
    assert!(value["contacts"].is_null());
    let message = &value["messages"][0];
    assert_eq!((&message["from"], &message["from_user_id"]), (&json!(AMARA), &old));
    let system = &message["system"];
    assert_eq!(
        (&system["type"], &system["wa_id"]),
        (&json!("user_changed_number"), &json!("447700900777"))
    );
    assert_ne!(system["user_id"], old);
    // Somebody has that one.
    assert_eq!(write(&harness, "amara", PHONE, &change("447700900102")).await.0, 422);
    for (to, status) in [("447700900777", "delivered"), (AMARA, "failed")] {
        harness
            .whatsapp(json!({"to": to, "type": "text", "text": {"body": "hi"}}))
            .await;
        harness.advance(1_000).await;
        assert_eq!(harness.receiver.statuses().last().unwrap()["status"], status, "{to}");
    }
    // Whose number nobody sees is told by id.
    harness.writes("jonas", PHONE, "hello");
    assert_eq!(write(&harness, "jonas", PHONE, &change("447700900778")).await.0, 201);
    harness.advance(0).await;
    let message = newest(&harness);
    assert_eq!(message["system"]["type"], "user_changed_user_id");
    assert!(message["from"].is_null() && message["system"]["wa_id"].is_null());
}

/// instagram.md 2.5, 2.6.
#[tokio::test]
async fn every_kind_of_instagram_comes_as_meta_would_tell_it() {
    let harness = start(stepped()).await;
    let first = harness.writes("lucia", ACCOUNT, "hello");
    let any = || json!("*");
    let file = |kind: &str| {
        vec![
            ("/message/attachments/0/type", json!(kind)),
            ("/message/attachments/0/payload/url", json!("*")),
        ]
    };
    let cases: Vec<(Value, Vec<(&str, Value)>)> = vec![
        (
            json!({"type": "text", "text": "yes", "replyTo": first}),
            vec![("/message/reply_to", json!({"mid": first, "is_self_reply": true}))],
        ),
        (json!({"type": "image"}), file("image")),
        (json!({"type": "video"}), file("video")),
        (json!({"type": "voice"}), file("audio")),
        (json!({"type": "document"}), file("file")),
        (json!({"type": "sticker"}), file("image")),
        (
            json!({"type": "attachments", "attachments": [{"type": "image"}, {"type": "video"}]}),
            vec![
                ("/message/attachments/0/type", json!("image")),
                ("/message/attachments/1/type", json!("video")),
            ],
        ),
        (
            json!({"type": "heart"}),
            vec![("/message/attachments/0", json!({"type": "like_heart"}))],
        ),
        (json!({"type": "share"}), file("ig_post")),
        (json!({"type": "share", "what": "reel"}), file("ig_reel")),
        (json!({"type": "share", "what": "story"}), file("ig_story")),
        (
            json!({"type": "story_reply", "text": "Still in stock?"}),
            vec![
                ("/message/text", json!("Still in stock?")),
                ("/message/reply_to/story/id", any()),
                ("/message/reply_to/story/url", any()),
            ],
        ),
        (json!({"type": "story_mention"}), file("story_mention")),
        (
            json!({"type": "from_ad", "text": "Hi", "ref": "spring26", "headline": "Spring sale"}),
            vec![
                ("/message/referral/source", json!("ADS")),
                ("/message/referral/ref", json!("spring26")),
                ("/message/referral/ads_context_data/ad_title", json!("Spring sale")),
            ],
        ),
        (
            json!({"type": "postback", "title": "Opening hours", "payload": "HOURS"}),
            vec![
                ("/postback/title", json!("Opening hours")),
                ("/postback/payload", json!("HOURS")),
                ("/postback/mid", any()),
            ],
        ),
        (
            json!({"type": "referral", "ref": "qr"}),
            vec![("/referral/ref", json!("qr")), ("/message", Value::Null)],
        ),
        (
            json!({"type": "reaction", "messageId": first, "emoji": "❤️"}),
            vec![("/reaction/mid", json!(first)), ("/reaction/reaction", json!("love"))],
        ),
        (
            json!({"type": "reaction", "messageId": first}),
            vec![("/reaction", json!({"mid": first, "action": "unreact"}))],
        ),
        (
            json!({"type": "edit", "messageId": first, "text": "Hallo"}),
            vec![("/message_edit", json!({"mid": first, "text": "Hallo", "num_edit": 1}))],
        ),
        (
            json!({"type": "unsend", "messageId": first}),
            vec![("/message", json!({"mid": first, "is_deleted": true}))],
        ),
        (
            json!({"type": "unsupported"}),
            vec![("/message/is_unsupported", json!(true))],
        ),
    ];
    for (content, expected) in cases {
        let (status, answer) = write(&harness, "lucia", ACCOUNT, &content).await;
        assert_eq!(status, 201, "{content}: {answer}");
        harness.advance(0).await;
        let event = harness.receiver.messaging().last().unwrap().clone();
        check(&event, &expected, &content);
        assert_eq!(event["recipient"]["id"], ACCOUNT);
    }
}

#[tokio::test]
async fn a_tapped_quick_reply_and_a_pressed_card_name_their_payload() {
    let harness = start(stepped()).await;
    let igsid = harness.igsid("lucia").await;
    harness.writes("lucia", ACCOUNT, "hello");
    let element = |title: &str| json!({"title": title, "buttons": [{"type": "postback", "title": "Sizes", "payload": format!("SIZES {title}")}]});
    let cards = json!({"attachment": {"type": "template", "payload": {"template_type": "generic",
        "elements": [element("Hat"), element("Scarf")]}}});
    let quick =
        json!({"text": "What?", "quick_replies": [{"content_type": "text", "title": "Track", "payload": "TRACK"}]});
    for message in [cards, quick] {
        let (status, answer) = harness
            .instagram(json!({"recipient": {"id": igsid}, "message": message}))
            .await;
        assert_eq!(status, 200, "{answer}");
    }
    harness.advance(1_000).await;
    let press = json!({"type": "button", "payload": "SIZES Scarf"});
    assert_eq!(write(&harness, "lucia", ACCOUNT, &press).await.0, 201);
    let tap = json!({"type": "quick_reply", "payload": "TRACK"});
    assert_eq!(write(&harness, "lucia", ACCOUNT, &tap).await.0, 201);
    harness.advance(0).await;
    let events = harness.receiver.messaging();
    assert_eq!(events[events.len() - 2]["postback"]["payload"], "SIZES Scarf");
    assert_eq!(events[events.len() - 1]["message"]["quick_reply"]["payload"], "TRACK");
}

#[tokio::test]
async fn what_an_app_does_not_have_is_refused() {
    let harness = start(stepped()).await;
    for (customer, account, content) in [
        ("amara", PHONE, json!({"type": "heart"})),
        ("amara", PHONE, json!({"type": "share"})),
        ("amara", PHONE, json!({"type": "story_reply", "text": "x"})),
        (
            "amara",
            PHONE,
            json!({"type": "attachments", "attachments": [{"type": "image"}]}),
        ),
        ("amara", PHONE, json!({"type": "order", "items": []})),
        (
            "amara",
            PHONE,
            json!({"type": "contacts", "contacts": [{"phones": []}]}),
        ),
        ("amara", PHONE, json!({"type": "change_number", "phone": "12"})),
        ("amara", PHONE, json!({"type": "forward", "text": ""})),
        (
            "lucia",
            ACCOUNT,
            json!({"type": "location", "latitude": 1.0, "longitude": 2.0}),
        ),
        ("lucia", ACCOUNT, json!({"type": "contacts"})),
        (
            "lucia",
            ACCOUNT,
            json!({"type": "order", "items": [{"product": "SKU"}]}),
        ),
        ("lucia", ACCOUNT, json!({"type": "attachments", "attachments": []})),
        ("lucia", ACCOUNT, json!({"type": "play", "messageId": "x"})),
    ] {
        assert_eq!(write(&harness, customer, account, &content).await.0, 422, "{content}");
    }
}
