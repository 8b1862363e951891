//! What the business said elsewhere, and what was said before the hub was there: shown, but nothing follows from it.

use serde_json::{Value, json};

use crate::harness::{ACCOUNT, BUSINESS_ACCOUNT, NUMBER, START, on_both, text, whatsapp_text};

const PHONE: &str = "447700900123";

fn field(field: &str, value: &Value) -> Value {
    let mut value = value.clone();
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({"display_phone_number": "442079460100", "phone_number_id": NUMBER});
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": BUSINESS_ACCOUNT, "changes": [{"field": field, "value": value}]}]})
}

#[tokio::test]
async fn what_was_said_on_the_phone_app_is_an_outbound_message() {
    on_both(async |harness| {
        let echo = json!({"message_echoes": [{"from": "442079460100", "to": PHONE, "id": "wamid.ECHO1",
            "timestamp": (START / 1000).to_string(), "type": "text", "text": {"body": "Yes, it is back."}}]});
        harness.whatsapp(&field("smb_message_echoes", &echo)).await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["unread"], 0);
        assert_eq!(conversation["window"]["open"], false, "only the contact opens it");
        assert_eq!(conversation["lastInboundAt"], Value::Null);
        let messages = harness.messages(&conversation).await;
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0]["direction"], "outbound");
        assert_eq!(messages[0]["sender"], "phone");
        assert_eq!(messages[0]["content"]["text"], "Yes, it is back.");

        // It is in the thread of whoever it was said to.
        harness
            .whatsapp(&whatsapp_text("wamid.1", PHONE, "Great!", START + 1_000))
            .await;
        assert_eq!(harness.messages(&harness.conversation().await).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_was_said_in_the_instagram_app_is_an_outbound_message() {
    on_both(async |harness| {
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let igsid = harness.sandbox.customer("lucia").unwrap().igsid.unwrap();
        let echo = json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": START + 5_000, "messaging": [
            {"sender": {"id": ACCOUNT}, "recipient": {"id": igsid}, "timestamp": START + 5_000,
                "message": {"mid": "aWdfECHO01", "text": "From the app.", "is_echo": true}}]}]});
        harness.instagram(&echo).await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["unread"], 1);
        let messages = harness.messages(&conversation).await;
        assert_eq!(messages.len(), 2);
        assert_eq!(
            (messages[1]["direction"].as_str(), messages[1]["sender"].as_str()),
            (Some("outbound"), Some("phone"))
        );
        assert_eq!(messages[1]["content"]["text"], "From the app.");
        assert!(harness.accepted("lucia").is_empty(), "nobody sends it again");
    })
    .await;
}

#[tokio::test]
async fn history_is_inert() {
    on_both(async |harness| {
        let before = START / 1000 - 60;
        let history = json!({"history": [{"metadata": {"phase": 0, "chunk_order": 1, "progress": 55}, "threads": [{"id": PHONE,
            "context": {"wa_id": PHONE}, "messages": [
                {"from": PHONE, "id": "wamid.H1", "timestamp": before.to_string(), "type": "text", "text": {"body": "Hi"},
                    "history_context": {"status": "READ"}},
                {"from": "442079460100", "to": PHONE, "id": "wamid.H2", "timestamp": (before + 1).to_string(),
                    "type": "media_placeholder", "history_context": {"status": "READ"}}]}]}]});
        harness.whatsapp(&field("history", &history)).await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["unread"], 0);
        assert_eq!(conversation["window"], json!({"open": false, "endsAt": null}));
        let messages = harness.messages(&conversation).await;
        assert_eq!(messages.len(), 2);
        assert!(messages.iter().all(|message| message["imported"] == true));
        assert_eq!(messages[0]["direction"], "inbound");
        assert_eq!(messages[1]["direction"], "outbound");
        assert_eq!(messages[1]["status"], "read");
        assert_eq!(messages[1]["content"]["type"], "placeholder");
        let refused = harness
            .post("/api/v1/messages/send", &json!({"to": {"conversation": conversation["id"]}, "message": "hello"}))
            .await;
        refused.problem(409, "window_closed");

        // Later the file comes, under the same id.
        let media = json!({"messages": [{"from": "442079460100", "to": PHONE, "id": "wamid.H2", "timestamp": (before + 1).to_string(),
            "type": "image", "image": {"id": "1290447183620055", "mime_type": "image/jpeg", "sha256": "x"}}]});
        harness.whatsapp(&field("history", &media)).await;
        let messages = harness.messages(&conversation).await;
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[1]["content"]["type"], "image");
        assert_eq!(harness.conversation().await["unread"], 0);

        // What is said from now on counts.
        harness.whatsapp(&whatsapp_text("wamid.1", PHONE, "hello", START)).await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["unread"], 1);
        assert_eq!(conversation["window"]["open"], true);
    })
    .await;
}
