//! Which channel an event belongs to: several in one notification, and those that no channel has.

use serde_json::{Value, json};

use crate::harness::{NUMBER, START, Setup, on_both, on_both_with, whatsapp_text};

const OTHER_NUMBER: &str = "200000000000002";

fn two_numbers() -> Value {
    let mut body = whatsapp_text("wamid.first", "447700900123", "to the first", START);
    let second = whatsapp_text("wamid.second", "447700900123", "to the second", START).to_string();
    let second: Value = serde_json::from_str(&second.replace(NUMBER, OTHER_NUMBER)).unwrap();
    // One entry with two changes, and another entry: every change of every entry is read.
    let change = second["entry"][0]["changes"][0].clone();
    body["entry"][0]["changes"].as_array_mut().unwrap().push(change);
    let mut third = whatsapp_text("wamid.third", "447700900124", "to the first too", START);
    body["entry"].as_array_mut().unwrap().push(third["entry"][0].take());
    body
}

#[tokio::test]
async fn one_notification_may_be_for_several() {
    let setup = Setup::default().with("WHATSAPP_BACKUP_PHONE_NUMBER_ID", OTHER_NUMBER);
    on_both_with(setup, async |harness| {
        harness.whatsapp(&two_numbers()).await;
        let events = harness.events("").await;
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|event| event["status"] == "processed"));
        let mut channels: Vec<String> = Vec::new();
        for conversation in harness.conversations().await {
            assert_eq!(harness.messages(&conversation).await.len(), 1);
            channels.push(conversation["channelId"].as_str().unwrap().to_owned());
        }
        channels.sort();
        assert_eq!(channels, ["whatsapp", "whatsapp", "whatsapp-backup"]);
        assert_eq!(harness.events("channel=whatsapp-backup").await.len(), 1);
        assert_eq!(harness.events(&format!("account={NUMBER}")).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_account_is_flagged_and_replayed_once_it_is_a_channel() {
    on_both(async |harness| {
        harness.whatsapp(&two_numbers()).await;
        assert_eq!(harness.conversations().await.len(), 2);
        let ignored = harness.events("status=ignored").await;
        assert_eq!(ignored.len(), 1);
        assert_eq!(ignored[0]["accountId"], OTHER_NUMBER);
        assert_eq!(ignored[0]["channelId"], Value::Null);
        let remedy = ignored[0]["error"].as_str().unwrap();
        assert!(
            remedy.contains("no channel") && remedy.contains("add it") && remedy.contains("replay"),
            "{remedy}"
        );

        // As long as there is no such channel, a replay changes nothing.
        let filter = json!({"status": "ignored", "account": OTHER_NUMBER});
        assert_eq!(
            harness.post("/api/webhooks/events/replay", &filter).await.expect(202)["replayed"],
            1
        );
        harness.projected().await;
        assert_eq!(harness.events("status=ignored").await.len(), 1);
        assert_eq!(harness.conversations().await.len(), 2);

        harness
            .restart_with(|setup| setup.with("WHATSAPP_BACKUP_PHONE_NUMBER_ID", OTHER_NUMBER))
            .await;
        assert_eq!(
            harness.post("/api/webhooks/events/replay", &filter).await.expect(202)["replayed"],
            1
        );
        harness.projected().await;
        assert!(harness.events("status=ignored").await.is_empty());
        let conversations = harness.conversations().await;
        let added = conversations
            .iter()
            .find(|conversation| conversation["channelId"] == "whatsapp-backup")
            .unwrap();
        let messages = harness.messages(added).await;
        assert_eq!(messages[0]["content"]["text"], "to the second");
        let event = harness.events("channel=whatsapp-backup").await;
        assert_eq!(event[0]["status"], "processed");
        assert_eq!(event[0]["error"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn replaying_everything_changes_nothing() {
    on_both(async |harness| {
        harness.whatsapp(&two_numbers()).await;
        harness
            .sandbox
            .write("lucia", crate::harness::ACCOUNT, tidings_sandbox::Content::Unsupported)
            .unwrap();
        harness.projected().await;
        // Instagram's profiles are asked for a little later.
        let before = harness
            .until("everybody has a name", async |harness| {
                let conversations = harness.conversations().await;
                let are_named = conversations
                    .iter()
                    .all(|conversation| !conversation["contact"]["name"].is_null());
                are_named.then_some(conversations)
            })
            .await;
        let replayed = harness
            .post("/api/webhooks/events/replay", &json!({}))
            .await
            .expect(202);
        assert_eq!(replayed["replayed"], 4);
        harness.projected().await;
        assert_eq!(harness.conversations().await, before);
        for conversation in &before {
            assert_eq!(harness.messages(conversation).await.len(), 1);
        }
    })
    .await;
}
