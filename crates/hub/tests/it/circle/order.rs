//! Within a conversation messages go out in the order in which they were taken; one conversation never waits for another.

use std::time::Duration;

use serde_json::json;
use tidings_sandbox::{FaultKind, FaultRequest, NewCustomer};

use crate::harness::{NUMBER, fault, on_both, text};

#[tokio::test]
async fn replies_keep_their_order_in_every_conversation() {
    on_both(async |harness| {
        let customers: Vec<String> = (0..8).map(|number| format!("person-{number}")).collect();
        for id in &customers {
            let new = NewCustomer {
                id: Some(id.clone()),
                name: id.clone(),
                ..NewCustomer::default()
            };
            harness.sandbox.add_customer(new).unwrap();
            harness.sandbox.write(id, NUMBER, text("hello")).unwrap();
        }
        harness.projected().await;
        let mut sent = Vec::new();
        for number in 0..6 {
            for conversation in harness.conversations().await {
                sent.push(harness.reply(&conversation, &format!("reply {number}")).await);
            }
        }
        for id in &sent {
            harness.message_until(id, "accepted").await;
        }
        let in_order: Vec<String> = (0..6).map(|number| format!("reply {number}")).collect();
        for id in &customers {
            assert_eq!(harness.accepted(id), in_order, "{id}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_retry_holds_back_its_own_conversation_alone() {
    on_both(async |harness| {
        for customer in ["amara", "jonas"] {
            harness.sandbox.write(customer, NUMBER, text("hello")).unwrap();
        }
        harness.projected().await;
        let conversations = harness.conversations().await;
        let of = |name: &str| {
            conversations
                .iter()
                .find(|conversation| conversation["contact"]["name"] == name)
                .unwrap()
        };

        harness
            .sandbox
            .fault(FaultRequest {
                code: Some(133_004),
                ..fault(FaultKind::Error)
            })
            .unwrap();
        harness.foresee_refusals(&[133_004]);
        let first = harness.reply(of("Amara Okafor"), "first").await;
        harness.waiting_after(&first, 1).await;
        let second = harness.reply(of("Amara Okafor"), "second").await;
        let other = harness.reply(of("Jonas Weber"), "other").await;
        harness.message_until(&other, "accepted").await;
        assert_eq!(harness.message(&second).await["status"], "queued");
        assert!(harness.accepted("amara").is_empty());

        harness.pass(Duration::from_secs(5)).await;
        harness.message_until(&second, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["first", "second"]);
        assert_eq!(harness.accepted("jonas"), ["other"]);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_fails_for_good_makes_way_for_the_next() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        harness
            .sandbox
            .fault(FaultRequest {
                code: Some(131_008),
                ..fault(FaultKind::Error)
            })
            .unwrap();
        harness.foresee_refusals(&[131_008]);
        let first = harness.reply(&conversation, "first").await;
        let second = harness
            .send(json!({"channel": "whatsapp", "to": "447700900101", "message": "second"}))
            .await;
        harness.message_until(&first, "failed").await;
        harness.message_until(&second, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["second"]);
    })
    .await;
}
