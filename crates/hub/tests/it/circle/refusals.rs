//! What can be known wrong is refused before it is taken, with the field that is wrong.

use serde_json::{Value, json};

use crate::harness::{ACCOUNT, ADMIN_KEY, Harness, NUMBER, on_both, text};
use reqwest::Method;

const SEND: &str = "/api/v1/messages/send";
const PHONE: &str = "+447700900101";

async fn assert_fields(harness: &Harness, body: Value, status: u16, code: &str, fields: &[&str]) {
    let answer = harness.post(SEND, &body).await;
    assert_eq!(answer.fields(status, code), fields, "{body}: {}", answer.body);
}

#[tokio::test]
async fn each_wrong_field_is_named() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        // The profile of the one on Instagram is asked for in the background.
        let before = harness
            .until("both have a name", async |harness| {
                let conversations = harness.conversations().await;
                let named = |conversation: &Value| conversation["contact"]["name"].is_string();
                conversations.iter().all(named).then_some(conversations)
            })
            .await;
        let on_whatsapp = before.iter().find(|conversation| conversation["channelId"] == "whatsapp").unwrap();
        let igsid = harness.sandbox.customer("lucia").unwrap().igsid.unwrap();
        let whatsapp = |content: Value| json!({"channel": "whatsapp", "to": PHONE, "content": content});
        let instagram = |content: Value| json!({"channel": "instagram", "to": igsid, "content": content});
        let nobody = "0".repeat(32);
        let content = "unsupported_content";
        let cases = [
            (json!({"channel": "telegram", "to": PHONE, "message": "x"}), "unknown_channel", "channel"),
            (json!({"to": PHONE, "message": "x"}), "invalid_field", "channel"),
            (json!({"channel": "whatsapp", "to": "amara", "message": "x"}), "invalid_recipient", "to"),
            (json!({"channel": "whatsapp", "to": "", "message": "x"}), "invalid_recipient", "to"),
            (json!({"channel": "instagram", "to": PHONE, "message": "x"}), "invalid_recipient", "to"),
            (json!({"channel": "whatsapp", "to": {"contact": format!("con_{nobody}")}, "message": "x"}), "unknown_recipient", "to"),
            (json!({"channel": "whatsapp", "to": {"contact": "x"}, "message": "x"}), "invalid_field", "to.contact"),
            (json!({"to": {"conversation": format!("cnv_{nobody}")}, "message": "x"}), "unknown_recipient", "to"),
            (json!({"to": {"conversation": "x"}, "message": "x"}), "invalid_field", "to.conversation"),
            (json!({"channel": "instagram", "to": {"conversation": on_whatsapp["id"]}, "message": "x"}), "invalid_recipient", "to"),
            (json!({"channel": "whatsapp", "to": PHONE}), "invalid_field", "message"),
            (json!({"channel": "whatsapp", "to": PHONE, "message": "x", "content": {"type": "text", "text": "x"}}), "invalid_field", "message"),
            (json!({"channel": "whatsapp", "to": PHONE, "message": ""}), content, "message"),
            (json!({"channel": "whatsapp", "to": PHONE, "message": "x".repeat(4_097)}), content, "message"),
            (json!({"channel": "instagram", "to": igsid, "message": "\u{e9}".repeat(501)}), content, "message"),
            (whatsapp(json!({"type": "text", "text": "x".repeat(4_097)})), content, "content.text"),
            (whatsapp(json!({"type": "image"})), content, "content.link"),
            (whatsapp(json!({"type": "image", "link": "ftp://x/y"})), content, "content.link"),
            (whatsapp(json!({"type": "image", "link": "https://x.example/y", "caption": "x".repeat(1_025)})), content, "content.caption"),
            (whatsapp(json!({"type": "template", "name": "Hello World", "language": "en_US"})), content, "content.name"),
            (whatsapp(json!({"type": "template", "name": "hello_world", "language": ""})), content, "content.language"),
            (whatsapp(json!({"type": "sticker"})), content, "content.link"),
            (whatsapp(json!({"type": "quick_replies", "text": "x", "quickReplies": []})), content, "content.type"),
            (instagram(json!({"type": "quick_replies", "text": "x", "quickReplies": []})), content, "content.quickReplies"),
            (instagram(json!({"type": "quick_replies", "text": "x", "quickReplies": [{"title": "t".repeat(21), "payload": "p"}]})),
                content, "content.quickReplies[0].title"),
            (instagram(json!({"type": "template", "name": "hello_world", "language": "en_US"})), content, "content.type"),
            (json!({"channel": "whatsapp", "to": PHONE, "message": "x", "replyTo": "x"}), "invalid_field", "replyTo"),
            (json!({"channel": "whatsapp", "to": PHONE, "message": "x", "expiresAt": "2020-01-01T00:00:00Z"}), "invalid_field", "expiresAt"),
            (json!({"channel": "whatsapp", "to": PHONE, "message": "x", "metadata": "x".repeat(5_000)}), "invalid_field", "metadata"),
        ];
        let count = cases.len();
        for (body, code, field) in cases {
            let status = if code == "unknown_recipient" { 404 } else { 422 };
            assert_fields(harness, body, status, code, &[field]).await;
        }
        assert!(count > 25);
        assert_eq!(harness.conversations().await, before, "what is refused leaves nothing behind");
        assert!(harness.accepted("amara").is_empty() && harness.accepted("lucia").is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_message_of_another_conversation_cannot_be_answered() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.sandbox.write("jonas", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversations = harness.conversations().await;
        let theirs = harness.messages(&conversations[1]).await[0]["id"].clone();
        let body = json!({"to": {"conversation": conversations[0]["id"]}, "message": "x", "replyTo": theirs});
        let answer = harness.post(SEND, &body).await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.json()["errors"][0]["field"], "replyTo");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_request_at_all_is_told_so() {
    on_both(async |harness| {
        let post = async |body: &str, content_type: &str| {
            let request = harness.request(Method::POST, SEND).bearer_auth(ADMIN_KEY);
            harness
                .answer(request.header("content-type", content_type).body(body.to_owned()))
                .await
        };
        for body in ["", "{", "\"x\"", "[]", "{\"channel\":}"] {
            let answer = post(body, "application/json").await;
            assert!(matches!(answer.status.as_u16(), 400 | 422), "{body}: {}", answer.body);
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
        post("{}", "text/plain").await.problem(415, "unsupported_media_type");
        let unknown = json!({"channel": "whatsapp", "to": PHONE, "mesage": "x"}).to_string();
        let document = post(&unknown, "application/json").await.problem(422, "invalid_field");
        assert!(document.to_string().contains("mesage"), "{document}");
        let wrong = json!({"channel": 7, "to": PHONE, "message": "x"}).to_string();
        assert_eq!(
            post(&wrong, "application/json").await.fields(422, "invalid_field"),
            ["channel"]
        );
        let large = json!({"channel": "whatsapp", "to": PHONE, "message": "x".repeat(1024 * 1024)}).to_string();
        post(&large, "application/json").await.problem(413, "payload_too_large");
        let without_key = harness.request(Method::POST, SEND).json(&json!({}));
        harness.answer(without_key).await.problem(401, "unauthorized");
    })
    .await;
}
