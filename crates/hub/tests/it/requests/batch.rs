//! Many messages at once.

use serde_json::{Value, json};

use super::{BATCH, HOUR, PHONE, after, post_with_key, written_to};
use crate::harness::on_both;

fn message(index: usize, at: &str) -> Value {
    let content = json!({"type": "template", "name": "hello_world", "language": "en_US"});
    json!({"channel": "whatsapp", "to": format!("+4477011{index:05}"), "content": content, "sendAt": at})
}

#[tokio::test]
async fn each_message_of_a_batch_has_a_result_of_its_own() {
    on_both(async |harness| {
        written_to(harness).await;
        let before = harness.conversations().await.len();
        let messages = json!([
            {"channel": "whatsapp", "to": PHONE, "message": "one"},
            {"channel": "whatsapp", "to": PHONE, "message": ""},
            {"channel": "whatsapp", "to": "+447700900555", "message": "closed"},
            {"channel": "whatsapp", "to": PHONE, "message": "two", "mesage": "x"},
            "no message",
            {"channel": "whatsapp", "to": PHONE, "message": "two"},
        ]);
        let answer = harness.post(BATCH, &json!({"messages": messages})).await.expect(200);
        assert_eq!(
            (answer["accepted"].as_u64(), answer["refused"].as_u64()),
            (Some(2), Some(4))
        );
        let results = answer["results"].as_array().unwrap();
        for (index, result) in results.iter().enumerate() {
            assert_eq!(result["index"], index);
        }
        assert_eq!(results[1]["problem"]["error"], "unsupported_content");
        assert_eq!(results[1]["problem"]["errors"][0]["field"], "message");
        assert_eq!(
            (
                results[2]["problem"]["error"].as_str(),
                results[2]["problem"]["status"].as_u64()
            ),
            (Some("window_closed"), Some(409))
        );
        assert_eq!(results[3]["problem"]["error"], "invalid_field");
        assert!(results[4]["problem"]["error"].is_string());
        for index in [0, 5] {
            assert_eq!(results[index]["status"], "queued");
            let id = results[index]["messageId"].as_str().unwrap();
            harness.message_until(id, "accepted").await;
        }
        assert_eq!(harness.accepted("amara"), ["one", "two"]);
        assert_eq!(
            harness.conversations().await.len(),
            before,
            "what is refused leaves nothing behind"
        );
    })
    .await;
}

#[tokio::test]
async fn a_batch_has_a_thousand_messages_at_most() {
    on_both(async |harness| {
        let at = after(harness, HOUR);
        let many = |count: usize| json!({"messages": (0..count).map(|index| message(index, &at)).collect::<Vec<_>>()});
        let answer = harness.post(BATCH, &many(1_000)).await.expect(200);
        assert_eq!(
            (answer["accepted"].as_u64(), answer["refused"].as_u64()),
            (Some(1_000), Some(0))
        );
        for count in [0, 1_001] {
            let refused = harness.post(BATCH, &many(count)).await;
            assert_eq!(refused.fields(422, "invalid_field"), ["messages"]);
        }
        let large = json!({"messages": [{"channel": "whatsapp", "to": PHONE, "message": "x".repeat(4 * 1024 * 1024)}]});
        harness.post(BATCH, &large).await.problem(413, "payload_too_large");
        harness
            .post(BATCH, &json!({"messages": "x"}))
            .await
            .problem(422, "invalid_field");
        let queue = harness.get("/admin/queue").await.expect(200);
        assert_eq!(
            (queue["length"].as_i64(), queue["scheduled"].as_i64()),
            (Some(0), Some(1_000))
        );
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_is_repeated_is_not_sent_twice() {
    on_both(async |harness| {
        written_to(harness).await;
        let batch = |words: &str| {
            json!({"messages": [
                {"channel": "whatsapp", "to": PHONE, "message": words},
                {"channel": "whatsapp", "to": PHONE, "message": "own", "idempotencyKey": "own-key"},
                {"channel": "whatsapp", "to": PHONE, "message": ""},
            ]})
        };
        let first = post_with_key(harness, BATCH, "batch-1", &batch("once")).await.expect(200);
        let again = post_with_key(harness, BATCH, "batch-1", &batch("once")).await.expect(200);
        for index in [0, 1] {
            assert_eq!(first["results"][index]["messageId"], again["results"][index]["messageId"]);
            assert_eq!(again["results"][index]["replayed"], true);
        }
        assert_eq!((again["accepted"].as_u64(), again["refused"].as_u64()), (Some(2), Some(1)));
        post_with_key(harness, BATCH, "batch-1", &batch("twice"))
            .await
            .problem(409, "idempotency_key_reused");
        // A key of one message's own counts in every batch, and a batch's key is no key of a message.
        let other = post_with_key(harness, BATCH, "batch-2", &batch("more")).await.expect(200);
        assert_eq!(other["results"][1]["messageId"], first["results"][1]["messageId"]);
        let single = json!({"channel": "whatsapp", "to": PHONE, "message": "x"});
        post_with_key(harness, super::SEND, "batch-1", &single)
            .await
            .problem(409, "idempotency_key_reused");
        let wrong = json!({"messages": [{"channel": "whatsapp", "to": PHONE, "message": "changed", "idempotencyKey": "own-key"}]});
        let answer = harness.post(BATCH, &wrong).await.expect(200);
        assert_eq!(answer["results"][0]["problem"]["error"], "idempotency_key_reused");
        let last = other["results"][0]["messageId"].as_str().unwrap();
        harness.message_until(last, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["once", "own", "more"]);
    })
    .await;
}
