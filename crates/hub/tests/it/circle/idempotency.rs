//! One key, one message.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN_KEY, Answer, Harness, NUMBER, on_both, text};

async fn send_with_key(harness: &Harness, key: &str, body: &Value) -> Answer {
    let request = harness.request(Method::POST, "/api/v1/messages/send");
    harness
        .answer(request.bearer_auth(ADMIN_KEY).header("idempotency-key", key).json(body))
        .await
}

fn order(message: &str) -> Value {
    json!({"channel": "whatsapp", "to": "+447700900101", "message": message})
}

#[tokio::test]
async fn the_same_key_and_body_is_the_same_message() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let first = send_with_key(harness, "order-1", &order("once")).await;
        let id = first.expect(202)["messageId"].as_str().unwrap().to_owned();
        assert!(first.headers.get("idempotent-replayed").is_none());
        harness.message_until(&id, "accepted").await;

        // Also when it was sent long ago, and after a restart.
        let second = send_with_key(harness, "order-1", &order("once")).await;
        assert_eq!(second.expect(202), first.json());
        assert_eq!(second.header("idempotent-replayed"), "true");
        harness.restart().await;
        assert_eq!(
            send_with_key(harness, "order-1", &order("once")).await.expect(202),
            first.json()
        );

        send_with_key(harness, "order-1", &order("twice"))
            .await
            .problem(409, "idempotency_key_reused");
        let other = send_with_key(harness, "order-2", &order("once")).await.expect(202);
        assert_ne!(other["messageId"], id.as_str());
        harness
            .message_until(other["messageId"].as_str().unwrap(), "accepted")
            .await;
        assert_eq!(harness.accepted("amara"), ["once", "once"]);
    })
    .await;
}

#[tokio::test]
async fn at_the_same_time_one_of_them_counts() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let body = order("once");
        let answers = join_all((0..20).map(|_| send_with_key(harness, "order-1", &body))).await;
        let ids: Vec<Value> = answers
            .iter()
            .map(|answer| answer.expect(202)["messageId"].clone())
            .collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let first = answers
            .iter()
            .filter(|answer| answer.headers.get("idempotent-replayed").is_none())
            .count();
        assert_eq!(first, 1);
        harness.message_until(ids[0].as_str().unwrap(), "accepted").await;
        assert_eq!(harness.accepted("amara"), ["once"]);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_was_refused_does_not_use_its_key_up() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        assert_eq!(send_with_key(harness, "order-1", &order("")).await.status, 422);
        let taken = send_with_key(harness, "order-1", &order("words")).await.expect(202);
        harness
            .message_until(taken["messageId"].as_str().unwrap(), "accepted")
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_none_is_named() {
    on_both(async |harness| {
        for key in ["", " ", &"k".repeat(256)] {
            let answer = send_with_key(harness, key, &order("words")).await;
            assert_eq!(answer.fields(422, "invalid_field"), ["Idempotency-Key"]);
        }
    })
    .await;
}
