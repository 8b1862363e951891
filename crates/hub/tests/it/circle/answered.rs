//! The full circle on both products: a customer writes, the hub shows it, an answer goes out, and what Meta says of it comes back.

use std::time::Duration;

use serde_json::json;

use crate::harness::{ACCOUNT, NUMBER, on_both, text};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_whatsapp_customer_writes_and_is_answered() {
    on_both(async |harness| {
        let written = harness
            .sandbox
            .write("amara", NUMBER, text("Is table 4 free?"))
            .unwrap();
        harness.projected().await;

        let conversation = harness.conversation().await;
        assert_eq!(conversation["channelId"], "whatsapp");
        assert_eq!(conversation["contact"]["name"], "Amara Okafor");
        assert_eq!(conversation["unread"], 1);
        assert_eq!(conversation["window"]["open"], true);
        assert_eq!(
            conversation["lastMessage"]["content"],
            json!({"type": "text", "text": "Is table 4 free?"})
        );
        let messages = harness.messages(&conversation).await;
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0]["direction"], "inbound");
        assert_eq!(messages[0]["sender"], "contact");
        assert_eq!(messages[0]["status"], "received");
        assert_eq!(messages[0]["externalId"], written.0);

        let reply = harness
            .send(json!({"channel": "whatsapp", "to": "+447700900101", "message": "Yes, from eight."}))
            .await;
        let accepted = harness.message_until(&reply, "accepted").await;
        assert_eq!(accepted["conversationId"], conversation["id"]);
        assert_eq!(accepted["sender"], "api");
        harness.pass(SECOND).await;
        assert_eq!(harness.message(&reply).await["status"], "sent");
        harness.pass(SECOND).await;
        assert_eq!(harness.message(&reply).await["status"], "delivered");
        harness.sandbox.look("amara", NUMBER).unwrap();
        harness.projected().await;
        let read = harness.message(&reply).await;
        assert_eq!(read["status"], "read");
        assert_eq!(read["content"], json!({"type": "text", "text": "Yes, from eight."}));

        assert_eq!(harness.accepted("amara"), ["Yes, from eight."]);
        let (kinds, _) = harness.timeline(&reply).await;
        assert_eq!(kinds, ["queued", "attempt", "sent", "delivered", "read"]);
        let events = harness.events("eventType=statuses").await;
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|event| event["status"] == "processed"), "{events:#?}");
    })
    .await;
}

#[tokio::test]
async fn an_instagram_customer_writes_and_is_answered() {
    on_both(async |harness| {
        harness
            .sandbox
            .write("lucia", ACCOUNT, text("Do you play weddings?"))
            .unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["channelId"], "instagram");
        assert_eq!(conversation["unread"], 1);

        let reply = harness.reply(&conversation, "We do.").await;
        harness.message_until(&reply, "accepted").await;
        harness.pass(3 * SECOND).await;
        harness.sandbox.look("lucia", ACCOUNT).unwrap();
        harness.projected().await;
        assert_eq!(harness.message(&reply).await["status"], "read");

        assert_eq!(harness.accepted("lucia"), ["We do."]);
        let messages = harness.messages(&conversation).await;
        let said: Vec<&str> = messages
            .iter()
            .map(|message| message["content"]["text"].as_str().unwrap())
            .collect();
        assert_eq!(
            said,
            ["Do you play weddings?", "We do."],
            "the echo is not a message of its own"
        );
    })
    .await;
}
