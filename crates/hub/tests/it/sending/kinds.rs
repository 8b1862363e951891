//! Every kind of content, from the API to the body that Meta gets; reactions, which show on another message; and marks of presence, which are no
//! messages at all.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{Content, FaultKind, FaultRequest, LedgerKind};

use crate::harness::{ACCOUNT, Harness, NUMBER, Setup, fault, on_both, on_both_with, text};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const PHONE: &str = "+447700900101";
const LINK: &str = "https://cdn.example.org/1.jpg";
const SEND: &str = "/api/v1/messages/send";
/// What Meta says to a kind that it does not know, to a file or post that it does not have, and to what it cannot read.
const REFUSALS: [i64; 6] = [131_051, 131_009, 131_008, 100, 33, 2_534_015];

/// Somebody has written, and is answered.
async fn begin(harness: &Harness, customer: &str, account: &str) -> Value {
    harness.sandbox.write(customer, account, text("hello")).unwrap();
    harness.projected().await;
    harness.conversation().await
}

/// The bodies that Meta was sent for an account, in order.
fn bodies(harness: &Harness, account: &str) -> Vec<Value> {
    let path = format!("{account}/messages");
    let received = harness.ledger(LedgerKind::Received).into_iter();
    let of_account = received.filter(|entry| entry.detail["path"] == path.as_str());
    of_account
        .map(|entry| {
            let mut body = entry.detail["params"].clone();
            if let Some(members) = body.as_object_mut() {
                members.remove("biz_opaque_callback_data");
            }
            body
        })
        .collect()
}

/// Sends each, and answers with the bodies that Meta got of them: whatever Meta made of them, in the order in which they were asked for.
async fn sent(harness: &Harness, conversation: &Value, account: &str, contents: &[&Value]) -> Vec<Value> {
    let mut ids = Vec::new();
    for content in contents {
        let body = json!({"to": {"conversation": conversation["id"]}, "content": content});
        ids.push(harness.send(body).await);
    }
    for id in &ids {
        harness
            .until(&format!("{id} was sent"), async |harness| {
                let status = harness.message(id).await["status"].clone();
                matches!(status.as_str(), Some("accepted" | "sent" | "failed")).then_some(())
            })
            .await;
    }
    for (id, content) in ids.iter().zip(contents) {
        assert_eq!(
            harness.message(id).await["content"],
            **content,
            "it is shown as it was asked for"
        );
    }
    bodies(harness, account)
}

fn whatsapp_kinds() -> Vec<(Value, Value)> {
    let interactive = |body: Value| json!({"type": "interactive", "interactive": body});
    let of = |kind: &str, part: Value| json!({"type": kind, kind: part});
    vec![
        (
            json!({"type": "text", "text": "Your quote: https://example.org/q/8841", "previewUrl": true}),
            of(
                "text",
                json!({"body": "Your quote: https://example.org/q/8841", "preview_url": true}),
            ),
        ),
        (
            json!({"type": "image", "id": "2094417730285518", "caption": "Front view"}),
            of("image", json!({"id": "2094417730285518", "caption": "Front view"})),
        ),
        (
            json!({"type": "video", "link": "https://cdn.example.org/v.mp4", "caption": "Tour"}),
            of(
                "video",
                json!({"link": "https://cdn.example.org/v.mp4", "caption": "Tour"}),
            ),
        ),
        (
            json!({"type": "audio", "link": "https://cdn.example.org/a.ogg", "voice": true}),
            of("audio", json!({"link": "https://cdn.example.org/a.ogg", "voice": true})),
        ),
        (
            json!({"type": "document", "link": "https://cdn.example.org/q.pdf", "filename": "quote.pdf", "caption": "Quote"}),
            of(
                "document",
                json!({"link": "https://cdn.example.org/q.pdf", "filename": "quote.pdf", "caption": "Quote"}),
            ),
        ),
        (
            json!({"type": "sticker", "link": "https://cdn.example.org/s.webp"}),
            of("sticker", json!({"link": "https://cdn.example.org/s.webp"})),
        ),
        (
            json!({"type": "location", "latitude": 51.5033, "longitude": -0.1196, "name": "River Gate", "address": "Belvedere Rd, London"}),
            of(
                "location",
                json!({"latitude": "51.5033", "longitude": "-0.1196", "name": "River Gate", "address": "Belvedere Rd, London"}),
            ),
        ),
        (
            json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "Service Desk"},
                "phones": [{"phone": "+442079460111", "type": "WORK", "wa_id": "442079460111"}], "origin": "other"}]}),
            of(
                "contacts",
                json!([{"name": {"formatted_name": "Service Desk", "first_name": "Service Desk"},
                    "phones": [{"phone": "+442079460111", "type": "WORK", "wa_id": "442079460111"}]}]),
            ),
        ),
        (
            json!({"type": "template", "name": "hello_world", "language": "en_US"}),
            of(
                "template",
                json!({"name": "hello_world", "language": {"code": "en_US"}, "components": []}),
            ),
        ),
        (
            json!({"type": "buttons", "header": {"type": "text", "text": "Appointment"}, "text": "Keep your slot?", "footer": "River Gate",
                "buttons": [{"title": "Keep", "payload": "keep:8841"}, {"title": "Move", "payload": "move:8841"}]}),
            interactive(
                json!({"type": "button", "header": {"type": "text", "text": "Appointment"}, "body": {"text": "Keep your slot?"},
                "footer": {"text": "River Gate"}, "action": {"buttons": [{"type": "reply", "reply": {"id": "keep:8841", "title": "Keep"}},
                    {"type": "reply", "reply": {"id": "move:8841", "title": "Move"}}]}}),
            ),
        ),
        (
            json!({"type": "buttons", "header": {"type": "document", "link": "https://cdn.example.org/q.pdf", "filename": "quote.pdf"},
                "text": "Agreed?", "buttons": [{"title": "Yes", "payload": "yes"}]}),
            interactive(json!({"type": "button", "header": {"type": "document",
                "document": {"link": "https://cdn.example.org/q.pdf", "filename": "quote.pdf"}}, "body": {"text": "Agreed?"},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "yes", "title": "Yes"}}]}})),
        ),
        (
            json!({"type": "list", "header": {"type": "text", "text": "Plans"}, "text": "Pick one", "button": "See plans", "sections": [
                {"title": "Monthly", "rows": [{"payload": "plan-a", "title": "Plan A", "description": "Cancel any time"}]},
                {"title": "Yearly", "rows": [{"payload": "plan-b", "title": "Plan B"}]}]}),
            interactive(
                json!({"type": "list", "header": {"type": "text", "text": "Plans"}, "body": {"text": "Pick one"}, "action": {
                "button": "See plans", "sections": [
                    {"title": "Monthly", "rows": [{"id": "plan-a", "title": "Plan A", "description": "Cancel any time"}]},
                    {"title": "Yearly", "rows": [{"id": "plan-b", "title": "Plan B"}]}]}}),
            ),
        ),
        (
            json!({"type": "buttons", "text": "Track your parcel", "buttons": [{"title": "Track", "url": "https://example.org/t/8841"}]}),
            interactive(
                json!({"type": "cta_url", "body": {"text": "Track your parcel"}, "action": {"name": "cta_url",
                "parameters": {"display_text": "Track", "url": "https://example.org/t/8841"}}}),
            ),
        ),
        (
            json!({"type": "flow", "text": "Tell us how it went", "flowId": "881204739915502", "button": "Rate", "token": "ft_81c",
                "screen": "RATE", "data": {"order": "8841"}}),
            interactive(
                json!({"type": "flow", "body": {"text": "Tell us how it went"}, "action": {"name": "flow", "parameters": {
                "flow_message_version": "3", "flow_id": "881204739915502", "flow_cta": "Rate", "flow_token": "ft_81c", "mode": "published",
                "flow_action": "navigate", "flow_action_payload": {"screen": "RATE", "data": {"order": "8841"}}}}}),
            ),
        ),
        (
            json!({"type": "flow", "text": "Again?", "flowName": "rating", "button": "Rate", "dataExchange": true, "draft": true}),
            interactive(
                json!({"type": "flow", "body": {"text": "Again?"}, "action": {"name": "flow", "parameters": {
                "flow_message_version": "3", "flow_name": "rating", "flow_cta": "Rate", "mode": "draft", "flow_action": "data_exchange"}}}),
            ),
        ),
        (
            json!({"type": "product", "text": "This one?", "catalogId": "190884417223306", "productRetailerId": "SKU-77"}),
            interactive(json!({"type": "product", "body": {"text": "This one?"},
                "action": {"catalog_id": "190884417223306", "product_retailer_id": "SKU-77"}})),
        ),
        (
            json!({"type": "product_list", "header": {"type": "text", "text": "For you"}, "text": "In stock", "catalogId": "190884417223306",
                "sections": [{"title": "Lamps", "products": ["SKU-77", "SKU-78"]}]}),
            interactive(
                json!({"type": "product_list", "header": {"type": "text", "text": "For you"}, "body": {"text": "In stock"},
                "action": {"catalog_id": "190884417223306", "sections": [{"title": "Lamps",
                    "product_items": [{"product_retailer_id": "SKU-77"}, {"product_retailer_id": "SKU-78"}]}]}}),
            ),
        ),
        (
            json!({"type": "catalog", "text": "Everything", "thumbnailProductRetailerId": "SKU-77"}),
            interactive(
                json!({"type": "catalog_message", "body": {"text": "Everything"}, "action": {"name": "catalog_message",
                "parameters": {"thumbnail_product_retailer_id": "SKU-77"}}}),
            ),
        ),
        (
            json!({"type": "location_request", "text": "Where are you?"}),
            interactive(
                json!({"type": "location_request_message", "body": {"text": "Where are you?"}, "action": {"name": "send_location"}}),
            ),
        ),
        (
            json!({"type": "contact_request", "text": "Please share your number."}),
            interactive(
                json!({"type": "request_contact_info", "body": {"text": "Please share your number."},
                "action": {"name": "request_contact_info"}}),
            ),
        ),
        (
            json!({"type": "address_request", "text": "Where to?", "country": "IN"}),
            interactive(json!({"type": "address_message", "body": {"text": "Where to?"},
                "action": {"name": "address_message", "parameters": {"country": "IN"}}})),
        ),
        (
            json!({"type": "call_permission_request", "text": "May we call?"}),
            interactive(
                json!({"type": "call_permission_request", "body": {"text": "May we call?"},
                "action": {"name": "call_permission_request"}}),
            ),
        ),
        (
            json!({"type": "carousel", "text": "New lamps", "cards": [
                {"header": {"type": "image", "link": LINK}, "text": "Arc", "buttons": [{"title": "View", "url": "https://example.org/1"}]},
                {"header": {"type": "image", "link": LINK}, "text": "Globe", "buttons": [{"title": "View", "url": "https://example.org/2"}]}]}),
            interactive(
                json!({"type": "carousel", "body": {"text": "New lamps"}, "action": {"cards": [
                {"card_index": 0, "type": "cta_url", "header": {"type": "image", "image": {"link": LINK}}, "body": {"text": "Arc"},
                    "action": {"name": "cta_url", "parameters": {"display_text": "View", "url": "https://example.org/1"}}},
                {"card_index": 1, "type": "cta_url", "header": {"type": "image", "image": {"link": LINK}}, "body": {"text": "Globe"},
                    "action": {"name": "cta_url", "parameters": {"display_text": "View", "url": "https://example.org/2"}}}]}}),
            ),
        ),
        (
            json!({"type": "carousel", "text": "In stock", "cards": [
                {"product": {"catalogId": "190884417223306", "productRetailerId": "SKU-77"}},
                {"product": {"catalogId": "190884417223306", "productRetailerId": "SKU-78"}}]}),
            interactive(
                json!({"type": "carousel", "body": {"text": "In stock"}, "action": {"cards": [
                {"card_index": 0, "type": "product", "action": {"catalog_id": "190884417223306", "product_retailer_id": "SKU-77"}},
                {"card_index": 1, "type": "product", "action": {"catalog_id": "190884417223306", "product_retailer_id": "SKU-78"}}]}}),
            ),
        ),
    ]
}

fn instagram_kinds() -> Vec<(Value, Value)> {
    let attachment = |kind: &str, payload: Value| json!({"attachment": {"type": kind, "payload": payload}});
    vec![
        (
            json!({"type": "text", "text": "Yes, 3-5 days."}),
            json!({"text": "Yes, 3-5 days."}),
        ),
        (
            json!({"type": "quick_replies", "text": "What do you need?", "quickReplies": [
                {"title": "Track order", "payload": "TRACK"}, {"title": "Talk to us", "payload": "HUMAN"}]}),
            json!({"text": "What do you need?", "quick_replies": [
                {"content_type": "text", "title": "Track order", "payload": "TRACK"},
                {"content_type": "text", "title": "Talk to us", "payload": "HUMAN"}]}),
        ),
        (
            json!({"type": "image", "link": "https://cdn.example.com/a.jpg"}),
            attachment("image", json!({"url": "https://cdn.example.com/a.jpg"})),
        ),
        (
            json!({"type": "video", "id": "8800112233445566"}),
            attachment("video", json!({"attachment_id": "8800112233445566"})),
        ),
        (
            json!({"type": "audio", "link": "https://cdn.example.com/a.m4a"}),
            attachment("audio", json!({"url": "https://cdn.example.com/a.m4a"})),
        ),
        (
            json!({"type": "document", "link": "https://cdn.example.com/quote.pdf"}),
            attachment("file", json!({"url": "https://cdn.example.com/quote.pdf"})),
        ),
        (
            json!({"type": "several", "parts": [{"type": "image", "link": "https://cdn.example.com/1.jpg"},
                {"type": "image", "link": "https://cdn.example.com/2.jpg"}]}),
            json!({"attachments": [{"type": "image", "payload": {"url": "https://cdn.example.com/1.jpg"}},
                {"type": "image", "payload": {"url": "https://cdn.example.com/2.jpg"}}]}),
        ),
        (
            json!({"type": "sticker"}),
            json!({"attachment": {"type": "like_heart"}}),
        ),
        (
            json!({"type": "share", "share": "post", "mediaId": "17900055566677788"}),
            attachment("MEDIA_SHARE", json!({"id": "17900055566677788"})),
        ),
        (
            json!({"type": "carousel", "cards": [{"title": "Wool hat", "text": "29 EUR",
                "header": {"type": "image", "link": "https://cdn.example.com/h.jpg"}, "url": "https://shop.example.com/h",
                "buttons": [{"title": "View", "url": "https://shop.example.com/h"}, {"title": "Sizes", "payload": "SIZES_H"}]}]}),
            attachment(
                "template",
                json!({"template_type": "generic", "elements": [{"title": "Wool hat", "subtitle": "29 EUR",
                    "image_url": "https://cdn.example.com/h.jpg",
                    "default_action": {"type": "web_url", "url": "https://shop.example.com/h"},
                    "buttons": [{"type": "web_url", "url": "https://shop.example.com/h", "title": "View"},
                        {"type": "postback", "title": "Sizes", "payload": "SIZES_H"}]}]}),
            ),
        ),
        (
            json!({"type": "buttons", "text": "How can we help?", "buttons": [{"title": "Agent", "payload": "HUMAN"}]}),
            attachment(
                "template",
                json!({"template_type": "button", "text": "How can we help?",
                    "buttons": [{"type": "postback", "title": "Agent", "payload": "HUMAN"}]}),
            ),
        ),
    ]
}

#[tokio::test]
async fn every_kind_reaches_whatsapp_in_the_shape_that_it_takes() {
    on_both(async |harness| {
        harness.foresee_refusals(&REFUSALS);
        let conversation = begin(harness, "amara", NUMBER).await;
        let kinds = whatsapp_kinds();
        let contents: Vec<&Value> = kinds.iter().map(|(content, _)| content).collect();
        let got = sent(harness, &conversation, NUMBER, &contents).await;
        let expected: Vec<Value> = kinds
            .iter()
            .map(|(_, part)| {
                let mut body = json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": PHONE});
                body.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
                body
            })
            .collect();
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!(got, expected);
        }
        assert_eq!(got.len(), expected.len());
    })
    .await;
}

#[tokio::test]
async fn every_kind_reaches_instagram_in_the_shape_that_it_takes() {
    on_both(async |harness| {
        harness.foresee_refusals(&REFUSALS);
        let conversation = begin(harness, "lucia", ACCOUNT).await;
        let igsid = harness.sandbox.customer("lucia").unwrap().igsid;
        let kinds = instagram_kinds();
        let contents: Vec<&Value> = kinds.iter().map(|(content, _)| content).collect();
        let got = sent(harness, &conversation, ACCOUNT, &contents).await;
        for (got, (_, message)) in got.iter().zip(&kinds) {
            let expected = json!({"recipient": {"id": igsid}, "messaging_type": "RESPONSE", "message": message});
            assert_eq!(*got, expected);
        }
        assert_eq!(got.len(), kinds.len());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_the_field_and_the_bound() {
    on_both(async |harness| {
        let amara = begin(harness, "amara", NUMBER).await;
        let cases = [
            (
                json!({"type": "buttons", "text": "?", "buttons": [{"title": "x".repeat(21), "payload": "a"}]}),
                "content.buttons[0].title",
                "20",
            ),
            (
                json!({"type": "contacts", "contacts": vec![json!({"name": {"formatted_name": "A"}}); 258]}),
                "content.contacts",
                "257",
            ),
            (
                json!({"type": "location", "latitude": 91, "longitude": 0}),
                "content.latitude",
                "90",
            ),
            (
                json!({"type": "image", "mediaId": "med_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b"}),
                "content.mediaId",
                "not the id of an uploaded file",
            ),
            (
                json!({"type": "quick_replies", "text": "?", "quickReplies": []}),
                "content.type",
                "`list`",
            ),
        ];
        for (content, field, bound) in cases {
            let body = json!({"to": {"conversation": amara["id"]}, "content": content});
            let document = harness.post(SEND, &body).await.problem(422, "unsupported_content");
            let errors = document["errors"].as_array().unwrap();
            let named = errors.iter().find(|error| error["field"] == field);
            let named = named.unwrap_or_else(|| panic!("{document}"));
            assert!(named["detail"].as_str().unwrap().contains(bound), "{named}");
        }
        // What is no content at all is no less told where it is wrong.
        let body =
            json!({"to": {"conversation": amara["id"]}, "content": {"type": "buttons", "text": "?", "button": []}});
        harness.post(SEND, &body).await.problem(422, "invalid_field");
        assert!(bodies(harness, NUMBER).is_empty());
    })
    .await;
}

/// The emoji of ours on a message.
fn ours(message: &Value) -> Vec<Value> {
    let reactions = message["reactions"].as_array().unwrap().iter();
    let ours = reactions.filter(|reaction| reaction["direction"] == "outbound");
    ours.map(|reaction| reaction["emoji"].clone()).collect()
}

async fn react(harness: &Harness, conversation: &Value, message: &Value, emoji: Option<&str>) -> String {
    let content = json!({"type": "reaction", "messageId": message, "emoji": emoji});
    let body = json!({"to": {"conversation": conversation["id"]}, "content": content});
    let id = harness.send(body).await;
    harness.message_until(&id, "accepted").await;
    id
}

#[tokio::test]
async fn a_reaction_keeps_its_place_in_the_order_and_shows_on_its_message_alone() {
    on_both(async |harness| {
        for (customer, account) in [("amara", NUMBER), ("lucia", ACCOUNT)] {
            harness.sandbox.write(customer, account, text("hello")).unwrap();
            harness.projected().await;
            let conversations = harness.conversations().await;
            let conversation = conversations
                .iter()
                .find(|conversation| conversation["lastMessage"]["direction"] == "inbound")
                .unwrap();
            let question = harness.messages(conversation).await[0].clone();
            let target = &question["id"];
            harness.reply(conversation, "before").await;
            let reaction = react(harness, conversation, target, Some("\u{2764}\u{fe0f}")).await;
            let after = harness.reply(conversation, "after").await;
            harness.message_until(&after, "accepted").await;

            let shown = harness.message(target.as_str().unwrap()).await;
            assert_eq!(ours(&shown), ["\u{2764}\u{fe0f}"], "{shown:#}");
            let said: Vec<Value> = harness
                .messages(conversation)
                .await
                .iter()
                .map(|message| message["content"]["text"].clone())
                .collect();
            assert_eq!(
                said,
                ["hello", "before", "after"],
                "it is no message of the conversation"
            );
            let kinds: Vec<bool> = bodies(harness, account)
                .iter()
                .map(|body| body["type"] == "reaction" || body["sender_action"] == "react")
                .collect();
            assert_eq!(kinds, [false, true, false]);
            let on_phone = harness.phone(customer, account).await;
            let reactions = on_phone[0]["reactions"].as_array().unwrap();
            assert!(
                reactions.iter().any(|reaction| reaction["emoji"] == "\u{2764}\u{fe0f}"),
                "{on_phone:#?}"
            );
            let (happened, _) = harness.timeline(&reaction).await;
            assert_eq!(happened[..2], ["queued", "attempt"]);

            // In the same moment, since the clock stands still: the later one counts.
            react(harness, conversation, target, None).await;
            let shown = harness.message(target.as_str().unwrap()).await;
            assert_eq!(ours(&shown), Vec::<Value>::new(), "it was taken back");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reaction_is_asked_for_again_where_it_is_not_known_whether_it_arrived() {
    let impatient = Setup::default()
        .with("WHATSAPP_REQUEST_TIMEOUT_MS", "2000")
        .with("TIDINGS_GRAPH_CONNECT_TIMEOUT_MS", "2000");
    on_both_with(impatient, async |harness| {
        let conversation = begin(harness, "lucia", ACCOUNT).await;
        let target = harness.messages(&conversation).await[0]["id"].clone();
        harness.sandbox.fault(fault(FaultKind::ResetAfterAccept)).unwrap();
        let content = json!({"type": "reaction", "messageId": target, "emoji": "\u{1f44d}"});
        let sent = harness
            .send(json!({"to": {"conversation": conversation["id"]}, "content": content}))
            .await;
        let waiting = harness.waiting_after(&sent, 1).await;
        assert_eq!(waiting["waitsFor"], "retry", "nothing is waited for that could tell");
        harness.pass(SECOND * 5).await;
        let accepted = harness.message_until(&sent, "accepted").await;
        assert_eq!(accepted["maybeDuplicate"], false);
        assert_eq!(bodies(harness, ACCOUNT).len(), 2);
        assert_eq!(ours(&harness.message(target.as_str().unwrap()).await), ["\u{1f44d}"]);
    })
    .await;
}

#[tokio::test]
async fn a_reaction_that_meta_fails_later_shows_no_longer() {
    on_both(async |harness| {
        let conversation = begin(harness, "amara", NUMBER).await;
        let target = harness.messages(&conversation).await[0]["id"].clone();
        harness
            .sandbox
            .fault(FaultRequest {
                code: Some(131_026),
                ..fault(FaultKind::Status)
            })
            .unwrap();
        let sent = react(harness, &conversation, &target, Some("\u{1f44d}")).await;
        assert_eq!(ours(&harness.message(target.as_str().unwrap()).await), ["\u{1f44d}"]);
        harness.pass(SECOND * 2).await;
        harness.message_until(&sent, "failed").await;
        let shown = harness.message(target.as_str().unwrap()).await;
        assert_eq!(ours(&shown), Vec::<Value>::new());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_answered_or_reacted_to_is_refused() {
    on_both(async |harness| {
        let amara = begin(harness, "amara", NUMBER).await;
        let old = harness.messages(&amara).await[0]["id"].clone();
        harness.sandbox.write("jonas", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversations = harness.conversations().await;
        let jonas = conversations.iter().find(|other| other["id"] != amara["id"]).unwrap();
        let of_another = harness.messages(jonas).await[0]["id"].clone();
        let reaction = |id: &Value| json!({"type": "reaction", "messageId": id, "emoji": "\u{1f44d}"});
        let refused = async |harness: &Harness, mut body: Value, field: &str| {
            body["to"] = json!({"conversation": amara["id"]});
            let answer = harness.post(SEND, &body).await;
            assert_eq!(answer.fields(422, "invalid_field"), [field], "{}", answer.body);
        };
        let nobody = json!("msg_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b");
        for id in [&nobody, &of_another] {
            refused(harness, json!({"content": reaction(id)}), "content.messageId").await;
            refused(harness, json!({"message": "?", "replyTo": id}), "replyTo").await;
        }
        refused(harness, json!({"content": reaction(&old), "replyTo": old}), "replyTo").await;
        let template = json!({"name": "hello_world", "language": "en_US"});
        let body =
            json!({"to": {"conversation": amara["id"]}, "content": reaction(&old), "fallbackTemplate": template});
        let answer = harness.post(SEND, &body).await;
        assert_eq!(answer.fields(422, "unsupported_content"), ["fallbackTemplate"]);

        let reacted = react(harness, &amara, &old, Some("\u{1f44d}")).await;
        refused(harness, json!({"message": "?", "replyTo": reacted}), "replyTo").await;

        // Two minutes before the 30 days, it can still be answered; after them, not.
        harness.pass(Duration::from_mins(30 * 24 * 60 - 2)).await;
        harness.sandbox.write("amara", NUMBER, text("hello again")).unwrap();
        harness.projected().await;
        let answered = harness
            .send(json!({"to": {"conversation": amara["id"]}, "message": "yes?", "replyTo": old}))
            .await;
        harness.message_until(&answered, "accepted").await;
        harness.pass(Duration::from_mins(2)).await;
        refused(harness, json!({"content": reaction(&old)}), "content.messageId").await;
        refused(harness, json!({"message": "?", "replyTo": old}), "replyTo").await;

        // What was taken back is nothing to answer.
        let newest = harness.messages(&amara).await;
        let newest = newest
            .iter()
            .find(|message| message["content"]["text"] == "hello again")
            .unwrap();
        let unsend = Content::Unsend {
            message_id: newest["externalId"].as_str().unwrap().to_owned(),
        };
        harness.sandbox.write("amara", NUMBER, unsend).unwrap();
        harness.projected().await;
        if !harness.message(newest["id"].as_str().unwrap()).await["deletedAt"].is_null() {
            refused(harness, json!({"message": "?", "replyTo": newest["id"]}), "replyTo").await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_echo_settles_what_has_no_words() {
    let impatient = Setup::default()
        .with("WHATSAPP_REQUEST_TIMEOUT_MS", "2000")
        .with("TIDINGS_GRAPH_CONNECT_TIMEOUT_MS", "2000");
    on_both_with(impatient, async |harness| {
        let conversation = begin(harness, "lucia", ACCOUNT).await;
        let contents = [
            json!({"type": "image", "link": LINK}),
            json!({"type": "video", "link": "https://cdn.example.com/v.mp4"}),
            json!({"type": "audio", "link": "https://cdn.example.com/a.m4a"}),
            json!({"type": "document", "link": "https://cdn.example.com/q.pdf"}),
            json!({"type": "sticker"}),
            json!({"type": "carousel", "cards": [{"title": "Wool hat"}]}),
            json!({"type": "buttons", "text": "How can we help?", "buttons": [{"title": "Agent", "payload": "HUMAN"}]}),
        ];
        for content in &contents {
            harness.sandbox.fault(fault(FaultKind::ResetAfterAccept)).unwrap();
            let sent = harness
                .send(json!({"to": {"conversation": conversation["id"]}, "content": content}))
                .await;
            harness
                .until(&format!("its echo has told of {content}"), async |harness| {
                    harness.message(&sent).await["externalId"].as_str().map(str::to_owned)
                })
                .await;
            harness.projected().await;
            harness.pass(Duration::from_mins(2)).await;
            let message = harness.message(&sent).await;
            assert_eq!(message["status"], "accepted", "{message:#}");
            assert_eq!(message["maybeDuplicate"], false);
            assert_eq!(message["content"], *content);
        }
        assert_eq!(bodies(harness, ACCOUNT).len(), contents.len(), "nothing was sent twice");
        assert_eq!(harness.messages(&conversation).await.len(), contents.len() + 1);
    })
    .await;
}

#[tokio::test]
async fn that_it_was_read_and_is_being_answered_is_shown_at_once_on_whatsapp() {
    on_both(async |harness| {
        let conversation = begin(harness, "amara", NUMBER).await;
        let newest = harness.messages(&conversation).await[0]["externalId"].clone();
        let path = |what: &str| format!("/api/v1/conversations/{}/{what}", conversation["id"].as_str().unwrap());
        let here = harness.post(&path("read?tell=false"), &json!({})).await.expect(200);
        assert_eq!(here["unread"], 0);
        assert_eq!(here.get("presence"), None);
        assert!(bodies(harness, NUMBER).is_empty());

        for _ in 0..2 {
            let read = harness.post(&path("read"), &json!({})).await.expect(200);
            assert_eq!(read["presence"], json!({"told": true}));
        }
        let typing = harness.post(&path("typing"), &json!({})).await.expect(200);
        assert_eq!(typing, json!({"told": true}));
        let untold = harness.post(&path("typing?on=false"), &json!({})).await.expect(200);
        assert_eq!(untold["told"], false);
        let read = json!({"messaging_product": "whatsapp", "status": "read", "message_id": newest});
        let mut typing = read.clone();
        typing["typing_indicator"] = json!({"type": "text"});
        assert_eq!(
            bodies(harness, NUMBER),
            [read, typing],
            "what is shown already is not shown again"
        );
        harness
            .post(&path("typing?on=perhaps"), &json!({}))
            .await
            .problem(400, "invalid_parameter");
        let nobody = "/api/v1/conversations/cnv_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b/typing";
        harness.post(nobody, &json!({})).await.problem(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn that_it_was_read_and_is_being_answered_is_shown_at_once_on_instagram() {
    on_both(async |harness| {
        let conversation = begin(harness, "lucia", ACCOUNT).await;
        let igsid = harness.sandbox.customer("lucia").unwrap().igsid;
        let path = |what: &str| format!("/api/v1/conversations/{}/{what}", conversation["id"].as_str().unwrap());
        let read = harness.post(&path("read"), &json!({})).await.expect(200);
        assert_eq!(read["presence"], json!({"told": true}));
        for on in ["true", "false"] {
            let typing = harness
                .post(&path(&format!("typing?on={on}")), &json!({}))
                .await
                .expect(200);
            assert_eq!(typing, json!({"told": true}));
        }
        let actions = ["mark_seen", "typing_on", "typing_off"];
        let expected = actions.map(|action| json!({"recipient": {"id": igsid}, "sender_action": action}));
        assert_eq!(bodies(harness, ACCOUNT), expected);

        harness.pass(DAY).await;
        let late = harness.post(&path("typing"), &json!({})).await.expect(200);
        assert_eq!(late, json!({"told": false, "reason": "the window is closed"}));
        assert_eq!(bodies(harness, ACCOUNT).len(), 3);
    })
    .await;
}

#[tokio::test]
async fn presence_waits_for_nothing_and_obeys_the_stop_switch() {
    on_both(async |harness| {
        let conversation = begin(harness, "amara", NUMBER).await;
        let path = |what: &str| format!("/api/v1/conversations/{}/{what}", conversation["id"].as_str().unwrap());
        // A message of this conversation waits for its next try.
        harness.foresee_refusals(&[133_004]);
        harness
            .sandbox
            .fault(FaultRequest {
                code: Some(133_004),
                ..fault(FaultKind::Error)
            })
            .unwrap();
        let waits = harness.reply(&conversation, "later").await;
        harness.waiting_after(&waits, 1).await;
        let typing = harness.post(&path("typing"), &json!({})).await.expect(200);
        assert_eq!(typing, json!({"told": true}));
        assert_eq!(bodies(harness, NUMBER).len(), 2);

        harness.post("/admin/outbound/stop", &json!({})).await.expect(200);
        harness.pass(SECOND * 6).await;
        let typing = harness.post(&path("typing"), &json!({})).await.expect(200);
        assert_eq!(typing, json!({"told": false, "reason": "sending is stopped"}));
        let read = harness.post(&path("read"), &json!({})).await.expect(200);
        assert_eq!((&read["unread"], &read["presence"]["told"]), (&json!(0), &json!(false)));
        assert_eq!(
            bodies(harness, NUMBER).len(),
            2,
            "nothing leaves while sending is stopped"
        );
        harness.post("/admin/outbound/start", &json!({})).await.expect(200);
        harness.pass(SECOND * 6).await;
        harness.message_until(&waits, "accepted").await;
    })
    .await;
}
