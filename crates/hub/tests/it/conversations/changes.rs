//! What is said about what was said: reactions, other wordings, taking back; in any order.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::Content;

use crate::harness::{ACCOUNT, Harness, NUMBER, START, on_both, text, whatsapp_text, whatsapp_value};

const SECOND: Duration = Duration::from_secs(1);
const PHONE: &str = "447700900123";
const CHANNELS: [(&str, &str); 2] = [("amara", NUMBER), ("lucia", ACCOUNT)];

async fn the_message(harness: &Harness) -> Value {
    let messages = harness.messages(&harness.conversation().await).await;
    assert_eq!(messages.len(), 1, "{messages:#?}");
    messages[0].clone()
}

fn reacts(message_id: &str, emoji: Option<&str>) -> Content {
    Content::Reaction {
        message_id: message_id.to_owned(),
        emoji: emoji.map(str::to_owned),
    }
}

/// One item of a WhatsApp `messages[]` from [`PHONE`].
fn item(id: &str, second: i64, kind: &str, part: &Value) -> Value {
    let mut message = json!({"from": PHONE, "id": id, "timestamp": (START / 1000 + second).to_string(), "type": kind});
    message[kind] = part.clone();
    whatsapp_value(&json!({ "messages": [message] }))
}

#[tokio::test]
async fn a_reaction_belongs_to_its_message() {
    for (customer, account) in CHANNELS {
        on_both(async |harness| {
            harness.sandbox.write(customer, account, text("hello")).unwrap();
            harness.projected().await;
            let conversation = harness.conversation().await;
            let sent = harness.reply(&conversation, "hi").await;
            let external_id = harness.message_until(&sent, "accepted").await["externalId"]
                .as_str()
                .unwrap()
                .to_owned();
            harness.pass(SECOND * 3).await;
            for emoji in ["\u{1f44d}", "\u{2764}\u{fe0f}"] {
                harness.pass(SECOND).await;
                harness
                    .sandbox
                    .write(customer, account, reacts(&external_id, Some(emoji)))
                    .unwrap();
                harness.projected().await;
                let reactions = harness.message(&sent).await["reactions"].clone();
                assert_eq!(reactions.as_array().unwrap().len(), 1);
                assert_eq!(reactions[0]["emoji"], emoji);
                assert_eq!(reactions[0]["direction"], "inbound");
            }
            harness.pass(SECOND).await;
            harness
                .sandbox
                .write(customer, account, reacts(&external_id, None))
                .unwrap();
            harness.projected().await;
            assert_eq!(harness.message(&sent).await["reactions"], json!([]));
            let (kinds, _) = harness.timeline(&sent).await;
            assert_eq!(
                kinds.iter().filter(|kind| *kind == "reaction").count(),
                3,
                "what was is still told"
            );
            let after = harness.conversation().await;
            assert_eq!(after["unread"], conversation["unread"]);
            assert_eq!(harness.messages(&after).await.len(), 2);
        })
        .await;
    }
}

#[tokio::test]
async fn an_edit_changes_the_words_and_keeps_the_earlier_ones() {
    for (customer, account) in CHANNELS {
        on_both(async |harness| {
            let written = harness.sandbox.write(customer, account, text("first")).unwrap();
            harness.projected().await;
            for words in ["second", "third"] {
                harness.pass(SECOND * 2).await;
                let edit = Content::Edit {
                    message_id: written.0.clone(),
                    text: words.to_owned(),
                };
                harness.sandbox.write(customer, account, edit).unwrap();
                harness.projected().await;
                let message = the_message(harness).await;
                assert_eq!(message["content"]["text"], words);
                assert!(message["editedAt"].is_string());
            }
            let conversation = harness.conversation().await;
            assert_eq!(conversation["lastMessage"]["content"]["text"], "third");
            assert_eq!(conversation["unread"], 1);
            let (_, document) = harness
                .timeline(the_message(harness).await["id"].as_str().unwrap())
                .await;
            let wordings: Vec<&str> = document["timeline"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|item| item["detail"]["content"]["text"].as_str())
                .collect();
            assert_eq!(wordings, ["first", "second", "third"]);
        })
        .await;
    }
}

/// Everything that the API shows of messages and events.
async fn everything(harness: &Harness) -> String {
    let mut shown = String::new();
    for conversation in harness.conversations().await {
        shown.push_str(&conversation.to_string());
        for message in harness.messages(&conversation).await {
            shown.push_str(&message.to_string());
            shown.push_str(&harness.timeline(message["id"].as_str().unwrap()).await.1.to_string());
        }
    }
    for event in harness.events("").await {
        let path = format!("/api/webhooks/events/{}", event["id"].as_str().unwrap());
        shown.push_str(&harness.get(&path).await.body);
    }
    shown
}

#[tokio::test]
async fn what_was_taken_back_is_gone_from_everywhere() {
    for (customer, account) in CHANNELS {
        on_both(async |harness| {
            let written = harness.sandbox.write(customer, account, text("embarrassing")).unwrap();
            harness.projected().await;
            harness.pass(SECOND * 2).await;
            let edit = Content::Edit {
                message_id: written.0.clone(),
                text: "more embarrassing".to_owned(),
            };
            harness.sandbox.write(customer, account, edit).unwrap();
            harness.projected().await;
            assert!(everything(harness).await.contains("embarrassing"));

            harness.pass(SECOND * 2).await;
            harness
                .sandbox
                .write(
                    customer,
                    account,
                    Content::Unsend {
                        message_id: written.0.clone(),
                    },
                )
                .unwrap();
            harness.projected().await;
            let message = the_message(harness).await;
            assert_eq!(message["content"], json!({"type": "deleted"}));
            assert!(message["deletedAt"].is_string());
            let shown = everything(harness).await;
            assert!(!shown.contains("embarrassing"), "{shown}");
            assert!(harness.events("q=embarrassing").await.is_empty());

            // A replay of everything does not bring it back.
            harness
                .post("/api/webhooks/events/replay", &json!({}))
                .await
                .expect(202);
            harness.projected().await;
            assert!(!everything(harness).await.contains("embarrassing"));
            assert_eq!(the_message(harness).await["content"]["type"], "deleted");
        })
        .await;
    }
}

#[tokio::test]
async fn changes_may_come_before_what_they_change() {
    on_both(async |harness| {
        let edited =
            json!({"original_message_id": "wamid.edited", "message": {"type": "text", "text": {"body": "new words"}}});
        harness.whatsapp(&item("wamid.e", 20, "edit", &edited)).await;
        harness
            .whatsapp(&item(
                "wamid.r",
                21,
                "reaction",
                &json!({"message_id": "wamid.edited", "emoji": "\u{1f600}"}),
            ))
            .await;
        harness
            .whatsapp(&item(
                "wamid.d",
                22,
                "revoke",
                &json!({"original_message_id": "wamid.gone"}),
            ))
            .await;
        assert!(
            harness.conversations().await.is_empty()
                || harness.messages(&harness.conversation().await).await.is_empty()
        );

        harness
            .whatsapp(&whatsapp_text("wamid.edited", PHONE, "old words", START))
            .await;
        harness
            .whatsapp(&whatsapp_text("wamid.gone", PHONE, "embarrassing", START + 1_000))
            .await;
        let messages = harness.messages(&harness.conversation().await).await;
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0]["content"]["text"], "new words");
        assert_eq!(messages[0]["reactions"][0]["emoji"], "\u{1f600}");
        assert_eq!(messages[1]["content"]["type"], "deleted");
        assert!(!everything(harness).await.contains("embarrassing"));
    })
    .await;
}

#[tokio::test]
async fn statuses_may_come_in_any_order_and_skip_steps() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let sent = harness.reply(&harness.conversation().await, "hi").await;
        let external_id = harness.message_until(&sent, "accepted").await["externalId"].clone();
        let status = |status: &str, second: i64| {
            whatsapp_value(&json!({"statuses": [{"id": external_id, "status": status,
                "timestamp": (START / 1000 + second).to_string(), "recipient_id": "447700900101"}]}))
        };
        harness.whatsapp(&status("read", 30)).await;
        let read = harness.message(&sent).await;
        assert_eq!(read["status"], "read");
        assert_eq!(
            read["statusTimes"]["delivered"], read["statusTimes"]["read"],
            "read implies delivered"
        );
        harness.whatsapp(&status("sent", 10)).await;
        harness.whatsapp(&status("delivered", 20)).await;
        let late = harness.message(&sent).await;
        assert_eq!(late["status"], "read");
        let times: Vec<&str> = ["sent", "delivered", "read"]
            .map(|name| late["statusTimes"][name].as_str().unwrap())
            .to_vec();
        assert!(times.is_sorted() && times[0] != times[1], "{times:?}");
    })
    .await;
}
