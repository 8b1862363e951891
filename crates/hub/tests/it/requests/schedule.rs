//! Messages that are to be sent at a time.

use serde_json::json;

use super::{HOUR, MINUTE, PHONE, after, delete, template, waiting, written_to};
use crate::harness::on_both;

#[tokio::test]
async fn a_scheduled_message_goes_out_at_its_time_and_is_in_nobodys_way() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        let at = after(harness, HOUR);
        let body = json!({"channel": "whatsapp", "to": PHONE, "message": "in an hour", "sendAt": at});
        let scheduled = harness.send(body).await;
        assert_eq!(harness.message(&scheduled).await["status"], "queued");
        let waits = waiting(harness, &scheduled).await;
        assert_eq!(
            (waits["state"].as_str(), waits["reason"].as_str()),
            (Some("waiting"), Some("scheduled"))
        );

        let now = harness.reply(&conversation, "now").await;
        harness.message_until(&now, "accepted").await;
        harness.pass(MINUTE * 59).await;
        assert_eq!(harness.accepted("amara"), ["now"]);
        harness.restart().await;
        harness.pass(MINUTE).await;
        harness.message_until(&scheduled, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["now", "in an hour"]);
        assert!(waiting(harness, &scheduled).await.is_null());
    })
    .await;
}

#[tokio::test]
async fn several_for_one_conversation_go_out_in_the_order_of_their_times() {
    on_both(async |harness| {
        written_to(harness).await;
        let mut asked = Vec::new();
        for (words, minutes) in [("third", 3), ("first", 1), ("second", 2)] {
            let at = after(harness, MINUTE * minutes);
            asked.push(
                harness
                    .send(json!({"channel": "whatsapp", "to": PHONE, "message": words, "sendAt": at}))
                    .await,
            );
        }
        harness.pass(MINUTE * 5).await;
        for id in &asked {
            harness.message_until(id, "accepted").await;
        }
        assert_eq!(harness.accepted("amara"), ["first", "second", "third"]);
    })
    .await;
}

#[tokio::test]
async fn a_scheduled_message_can_be_cancelled() {
    on_both(async |harness| {
        written_to(harness).await;
        let at = after(harness, HOUR);
        let body = json!({"channel": "whatsapp", "to": PHONE, "message": "never", "sendAt": at});
        let scheduled = harness.send(body).await;
        assert_eq!(delete(harness, &scheduled).await.expect(200)["status"], "cancelled");
        harness.pass(HOUR * 2).await;
        assert_eq!(harness.message(&scheduled).await["status"], "cancelled");
        assert!(harness.accepted("amara").is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_scheduled_message_whose_window_has_closed_fails_or_is_sent_as_its_template() {
    on_both(async |harness| {
        written_to(harness).await;
        let at = after(harness, HOUR * 25);
        let body = json!({"channel": "whatsapp", "to": PHONE, "message": "x", "sendAt": at});
        let without = harness.send(body.clone()).await;
        let mut body = body;
        body["fallbackTemplate"] = template();
        let with = harness.send(body).await;
        harness.pass(HOUR * 25).await;
        let failed = harness.message_until(&without, "failed").await;
        assert_eq!(failed["error"]["code"], 131_047);
        assert!(
            failed["error"]["remedy"].as_str().unwrap().contains("template"),
            "{failed}"
        );
        assert!(!failed["error"]["meaning"].as_str().unwrap().is_empty());
        let sent = harness.message_until(&with, "accepted").await;
        assert_eq!(sent["content"]["name"], "hello_world");
        let (kinds, document) = harness.timeline(&with).await;
        assert_eq!(kinds, ["queued", "fallback", "attempt"]);
        assert_eq!(document["timeline"][1]["detail"]["instead"]["text"], "x");
    })
    .await;
}
