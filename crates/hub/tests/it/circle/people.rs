//! Whom an answer goes to: people with a phone number, with a business-scoped user id alone, and with an empty phone.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{Identity, LedgerKind, NewCustomer};

use crate::harness::{Harness, NUMBER, on_both, text};

async fn sent_request(harness: &Harness, id: &str) -> Value {
    let (_, document) = harness.timeline(id).await;
    document["timeline"][1]["attempt"]["request"].clone()
}

async fn answer_by_user_id(harness: &Harness, customer: &str) {
    let user_id = harness.sandbox.customer(customer).unwrap().user_id.unwrap();
    harness.sandbox.write(customer, NUMBER, text("hello")).unwrap();
    harness.projected().await;
    let conversation = harness.conversation().await;
    let contact = harness.contact(&conversation["contact"]["id"]).await;
    let identities = contact["identities"].as_array().unwrap();
    assert_eq!(identities.len(), 1, "{contact}");
    assert_eq!(
        (identities[0]["kind"].as_str(), identities[0]["value"].as_str()),
        (Some("user_id"), Some(user_id.as_str()))
    );

    let to_conversation = harness.reply(&conversation, "one").await;
    let to_user_id = harness
        .send(json!({"channel": "whatsapp", "to": user_id, "message": "two"}))
        .await;
    for id in [&to_conversation, &to_user_id] {
        harness.message_until(id, "accepted").await;
        let request = sent_request(harness, id).await;
        // In `to` it would be accepted and never arrive (reference `whatsapp.md` 6.4).
        assert_eq!(request["recipient"], user_id.as_str());
        assert_eq!(request.get("to"), None);
    }
    harness.pass(Duration::from_mins(1)).await;
    assert_eq!(harness.message(&to_user_id).await["status"], "delivered");
    assert_eq!(harness.accepted(customer), ["one", "two"]);
    assert!(harness.ledger(LedgerKind::Swallowed).is_empty());
    assert_eq!(
        harness.conversations().await.len(),
        1,
        "a user id finds the conversation that is there"
    );
}

#[tokio::test]
async fn somebody_without_a_phone_number_is_answered_by_user_id() {
    on_both(async |harness| answer_by_user_id(harness, "jonas").await).await;
}

#[tokio::test]
async fn an_empty_phone_number_is_none() {
    on_both(async |harness| {
        for id in ["nadia", "omar"] {
            let new = NewCustomer {
                id: Some(id.to_owned()),
                name: id.to_owned(),
                identity: Identity::Blank,
                ..NewCustomer::default()
            };
            harness.sandbox.add_customer(new).unwrap();
        }
        answer_by_user_id(harness, "nadia").await;
        // Two people without a number are not one person.
        harness.sandbox.write("omar", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        assert_eq!(harness.conversations().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_phone_number_is_found_however_it_is_written() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        for (index, to) in ["+447700900101", "447700900101", "+44 7700 900101", "+44 (7700) 900-101"]
            .into_iter()
            .enumerate()
        {
            let body = json!({"channel": "whatsapp", "to": to, "message": index.to_string()});
            let sent = harness.send(body).await;
            let message = harness.message_until(&sent, "accepted").await;
            assert_eq!(message["conversationId"], conversation["id"], "{to}");
        }
        assert_eq!(harness.accepted("amara"), ["0", "1", "2", "3"]);
    })
    .await;
}

#[tokio::test]
async fn a_contact_is_written_to_by_their_id() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let contact = &conversation["contact"]["id"];
        let sent = harness
            .send(json!({"channel": "whatsapp", "to": {"contact": contact}, "message": "hi"}))
            .await;
        harness.message_until(&sent, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["hi"]);
        let answer = harness
            .post(
                "/api/v1/messages/send",
                &json!({"channel": "instagram", "to": {"contact": contact}, "message": "hi"}),
            )
            .await;
        assert_eq!(answer.fields(404, "unknown_recipient"), ["to"]);
    })
    .await;
}
