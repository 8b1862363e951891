//! What WhatsApp alone has: the window and its templates, pictures by link, answers that quote.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{Content, FaultKind, FaultRequest, LedgerKind};

use crate::harness::{Answer, NUMBER, fault, on_both, text};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

fn order(message: &str) -> Value {
    json!({"channel": "whatsapp", "to": "+447700900101", "message": message})
}

fn template() -> Value {
    json!({"channel": "whatsapp", "to": "+447700900101",
        "content": {"type": "template", "name": "hello_world", "language": "en_US"}})
}

#[tokio::test]
async fn outside_the_window_only_a_template_goes_out() {
    on_both(async |harness| {
        // Nobody has written yet.
        let refused = harness.post("/api/v1/messages/send", &order("hello")).await;
        assert_window_closed(&refused);
        assert!(
            harness.conversations().await.is_empty(),
            "a refused message leaves nothing behind"
        );

        let sent = harness.send(template()).await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(MINUTE).await;
        let delivered = harness.message(&sent).await;
        assert_eq!(delivered["status"], "delivered");
        assert_eq!(delivered["content"]["name"], "hello_world");
        assert_eq!(harness.phone("amara", NUMBER).await.len(), 1);
        // Being written to opens nothing.
        assert_eq!(harness.conversation().await["window"]["open"], false);
        assert_window_closed(&harness.post("/api/v1/messages/send", &order("hello")).await);
    })
    .await;
}

fn assert_window_closed(answer: &Answer) {
    let document = answer.problem(409, "window_closed");
    assert!(document["detail"].as_str().unwrap().contains("template"), "{document}");
}

#[tokio::test]
async fn the_window_is_open_for_a_day_from_the_last_message() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        harness.pass(HOUR * 23).await;
        harness.sandbox.write("amara", NUMBER, text("still there?")).unwrap();
        harness.projected().await;
        harness.pass(HOUR * 23 + MINUTE * 59).await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["window"]["open"], true);
        let sent = harness.reply(&conversation, "just in time").await;
        harness.message_until(&sent, "accepted").await;

        harness.pass(MINUTE).await;
        assert_eq!(harness.conversation().await["window"]["open"], false);
        assert_window_closed(&harness.post("/api/v1/messages/send", &order("too late")).await);
        assert_eq!(harness.accepted("amara"), ["just in time"]);
    })
    .await;
}

#[tokio::test]
async fn a_window_that_meta_finds_closed_fails_the_message_with_the_reason() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        harness
            .sandbox
            .fault(FaultRequest {
                code: Some(131_047),
                ..fault(FaultKind::Status)
            })
            .unwrap();
        let sent = harness.reply(&harness.conversation().await, "hello").await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(MINUTE).await;
        let failed = harness.message(&sent).await;
        assert_eq!(failed["status"], "failed");
        assert_eq!(failed["error"]["code"], 131_047);
        assert!(!failed["error"]["meaning"].as_str().unwrap().is_empty());
        assert!(
            failed["error"]["remedy"].as_str().unwrap().contains("template"),
            "{failed}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_template_is_filled_in() {
    on_both(async |harness| {
        let sent = harness
            .send(json!({"channel": "whatsapp", "to": "+447700900101", "content": {"type": "template",
                "name": "mr_dj_booking_confirmation", "language": "en_US", "components": [{"type": "body", "parameters": [
                    {"type": "text", "text": "Friday"}, {"type": "text", "text": "eight"}]}]}}))
            .await;
        harness.message_until(&sent, "accepted").await;
        let on_phone = harness.phone("amara", NUMBER).await;
        assert_eq!(on_phone[0]["text"], "Your booking on Friday at eight is confirmed. See you there!");
    })
    .await;
}

#[tokio::test]
async fn a_picture_goes_out_by_its_link() {
    on_both(async |harness| {
        harness
            .sandbox
            .write("amara", NUMBER, text("What does it look like?"))
            .unwrap();
        harness.projected().await;
        let link = "https://cdn.example.org/room.jpg";
        let content = json!({"type": "image", "link": link, "caption": "The room"});
        let conversation = harness.conversation().await;
        let sent = harness
            .send(json!({"to": {"conversation": conversation["id"]}, "content": content}))
            .await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(MINUTE).await;
        assert_eq!(harness.message(&sent).await["content"], content);
        let on_phone = harness.phone("amara", NUMBER).await;
        assert_eq!(on_phone.len(), 2);
        assert_eq!(
            (on_phone[1]["link"].as_str(), on_phone[1]["caption"].as_str()),
            (Some(link), Some("The room"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_picture_comes_in() {
    on_both(async |harness| {
        let picture = Content::Image {
            link: "https://cdn.example.org/cat.jpg".to_owned(),
            caption: Some("My cat".to_owned()),
            reply_to: None,
        };
        harness.sandbox.write("amara", NUMBER, picture).unwrap();
        harness.projected().await;
        let messages = harness.messages(&harness.conversation().await).await;
        let content = &messages[0]["content"];
        assert_eq!(
            (content["type"].as_str(), content["caption"].as_str()),
            (Some("image"), Some("My cat"))
        );
        assert!(
            content["id"].is_string() && content["mimeType"].is_string(),
            "{content}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_answer_quotes_what_it_answers_in_both_directions() {
    on_both(async |harness| {
        let written = harness.sandbox.write("amara", NUMBER, text("Red or blue?")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let question = harness.messages(&conversation).await[0]["id"].clone();
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "Blue.", "replyTo": question});
        let sent = harness.send(body).await;
        let answer = harness.message_until(&sent, "accepted").await;
        assert_eq!(
            answer["replyTo"],
            json!({"externalId": written.0, "messageId": question})
        );
        let on_phone = harness.phone("amara", NUMBER).await;
        assert_eq!(on_phone[1]["replyTo"], written.0.as_str(), "{on_phone:?}");

        harness.pass(MINUTE).await;
        let quoting = Content::Text {
            text: "Thanks!".to_owned(),
            reply_to: answer["externalId"].as_str().map(str::to_owned),
        };
        harness.sandbox.write("amara", NUMBER, quoting).unwrap();
        harness.projected().await;
        let messages = harness.messages(&conversation).await;
        assert_eq!(messages.last().unwrap()["replyTo"]["messageId"], sent.as_str());
    })
    .await;
}

#[tokio::test]
async fn every_request_bears_a_mark_that_its_statuses_bear_too() {
    on_both(async |harness| {
        let sent = harness.send(template()).await;
        harness.message_until(&sent, "accepted").await;
        let marks: Vec<String> = harness
            .ledger(LedgerKind::Accepted)
            .iter()
            .map(|entry| entry.detail["callbackData"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(marks.len(), 1);
        let (_, document) = harness.timeline(&sent).await;
        let attempt = &document["timeline"][1]["attempt"];
        assert_eq!(attempt["request"]["biz_opaque_callback_data"], marks[0].as_str());
        assert_eq!(attempt["outcome"], "accepted");
        assert_eq!(attempt["httpStatus"], 200);
    })
    .await;
}
