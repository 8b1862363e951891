//! A repeat is answered 200, counted, and does nothing, wherever it comes from.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest};

use crate::harness::{Harness, NUMBER, Notification, START, fault, on_both, text, whatsapp_text};

async fn duplicates(harness: &Harness) -> u64 {
    harness
        .metric(r#"tidings_webhook_notifications_total{channel="whatsapp",result="duplicate"}"#)
        .await
}

/// One message, said once, however often it was told.
async fn assert_said_once(harness: &Harness) {
    harness.projected().await;
    assert_eq!(harness.events("").await.len(), 1);
    let conversation = harness.conversation().await;
    assert_eq!(conversation["unread"], 1);
    assert_eq!(harness.messages(&conversation).await.len(), 1);
}

fn notification() -> Value {
    whatsapp_text("wamid.once", "447700900123", "once", START)
}

#[tokio::test]
async fn inside_one_notification() {
    on_both(async |harness| {
        let mut body = notification();
        let entry = body["entry"][0].clone();
        let message = body["entry"][0]["changes"][0]["value"]["messages"][0].clone();
        body["entry"][0]["changes"][0]["value"]["messages"] = json!([message.clone(), message]);
        let change = body["entry"][0]["changes"][0].clone();
        body["entry"][0]["changes"] = json!([change.clone(), change]);
        body["entry"].as_array_mut().unwrap().push(entry);
        harness.whatsapp(&body).await;
        assert_said_once(harness).await;
        assert_eq!(duplicates(harness).await, 0, "something in it was new");
    })
    .await;
}

#[tokio::test]
async fn across_notifications_and_a_restart() {
    on_both(async |harness| {
        for _ in 0..3 {
            harness.whatsapp(&notification()).await;
        }
        assert_said_once(harness).await;
        assert_eq!(duplicates(harness).await, 2);

        harness.restart().await;
        harness.whatsapp(&notification()).await;
        assert_said_once(harness).await;
        assert_eq!(
            duplicates(harness).await,
            1,
            "counters begin anew, what is kept does not"
        );
    })
    .await;
}

#[tokio::test]
async fn written_in_another_way() {
    on_both(async |harness| {
        harness.whatsapp(&notification()).await;
        // The same message in other bytes, and beside another one: a repeat is known by what it says, not by how.
        let mut body = notification();
        let other = json!({"id": "wamid.other", "from": "447700900123", "timestamp": "1795400009", "type": "text",
            "text": {"body": "another"}});
        let messages = body["entry"][0]["changes"][0]["value"]["messages"]
            .as_array_mut()
            .unwrap();
        messages.insert(0, other);
        let pretty = serde_json::to_string_pretty(&body).unwrap();
        harness
            .post_signed(Notification::to("/webhook/whatsapp", pretty))
            .await
            .expect(200);
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 2);
        assert_eq!(harness.messages(&harness.conversation().await).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn at_the_same_time() {
    on_both(async |harness| {
        let posts = (0..40).map(|_| harness.post_signed(Notification::whatsapp(&notification())));
        for answer in join_all(posts).await {
            answer.expect(200);
        }
        assert_said_once(harness).await;
        assert_eq!(duplicates(harness).await, 39);
    })
    .await;
}

#[tokio::test]
async fn the_same_id_on_two_numbers_is_two_events() {
    on_both(async |harness| {
        harness.whatsapp(&notification()).await;
        let other = notification().to_string().replace(NUMBER, "200000000000002");
        harness
            .post_signed(Notification::to("/api/webhooks/whatsapp", other))
            .await
            .expect(200);
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_meta_repeats_by_itself() {
    on_both(async |harness| {
        let twice = FaultRequest {
            endpoint: "webhooks".to_owned(),
            count: None,
            ..fault(FaultKind::Double)
        };
        harness.sandbox.fault(twice).unwrap();
        for number in 0..5 {
            harness
                .sandbox
                .write("amara", NUMBER, text(&number.to_string()))
                .unwrap();
        }
        harness.projected().await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["unread"], 5);
        let messages = harness.messages(&conversation).await;
        let texts: Vec<&str> = messages
            .iter()
            .map(|message| message["content"]["text"].as_str().unwrap())
            .collect();
        assert_eq!(texts, ["0", "1", "2", "3", "4"]);
        assert!(duplicates(harness).await > 0);
    })
    .await;
}
