//! What Instagram alone has: echoes of what was sent, quick replies, and `seen` instead of statuses.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{Content, EchoTiming};

use crate::harness::{ACCOUNT, Harness, Setup, on_both, on_both_with, text};

const MINUTE: Duration = Duration::from_mins(1);

async fn texts(harness: &Harness, conversation: &Value) -> Vec<String> {
    let messages = harness.messages(conversation).await;
    let said = |message: &Value| message["content"]["text"].as_str().unwrap_or_default().to_owned();
    messages.iter().map(said).collect()
}

fn with_echo(echo: EchoTiming) -> Setup {
    let mut setup = Setup::default();
    setup.sandbox.rules.echo = echo;
    setup
}

#[tokio::test]
async fn an_echo_never_doubles_a_message_whenever_it_comes() {
    for echo in [EchoTiming::AfterAnswer, EchoTiming::BeforeAnswer, EchoTiming::Never] {
        println!("{echo:?}");
        on_both_with(with_echo(echo), async |harness| {
            harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
            harness.projected().await;
            let conversation = harness.conversation().await;
            // The same words twice: an echo tells by its id which of them it is.
            let mut sent = Vec::new();
            for words in ["one", "same", "same", "two"] {
                sent.push(harness.reply(&conversation, words).await);
            }
            let mut external_ids = Vec::new();
            for id in &sent {
                external_ids.push(harness.message_until(id, "accepted").await["externalId"].to_string());
            }
            harness.pass(MINUTE).await;
            external_ids.sort();
            external_ids.dedup();
            assert_eq!(external_ids.len(), 4, "each has an id of its own");
            assert_eq!(harness.accepted("lucia"), ["one", "same", "same", "two"]);
            assert_eq!(
                texts(harness, &conversation).await,
                ["hello", "one", "same", "same", "two"]
            );
            let messages = harness.messages(&conversation).await;
            assert!(messages[1..].iter().all(|message| message["sender"] == "api"));
            let echoes = harness.events("eventType=message_echoes").await;
            let expected = if echo == EchoTiming::Never { 0 } else { 4 };
            assert_eq!(echoes.len(), expected);
            assert!(echoes.iter().all(|event| event["status"] == "processed"));
        })
        .await;
    }
}

#[tokio::test]
async fn quick_replies_go_out_and_the_choice_comes_back() {
    for echo in [EchoTiming::AfterAnswer, EchoTiming::BeforeAnswer] {
        on_both_with(with_echo(echo), async |harness| {
            harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
            harness.projected().await;
            let conversation = harness.conversation().await;
            let content = json!({"type": "quick_replies", "text": "When?", "quickReplies": [
                {"title": "Friday", "payload": "day:5"}, {"title": "Saturday", "payload": "day:6"}]});
            let sent = harness
                .send(json!({"to": {"conversation": conversation["id"]}, "content": content}))
                .await;
            harness.message_until(&sent, "accepted").await;
            harness.pass(MINUTE).await;
            assert_eq!(harness.message(&sent).await["content"], content);
            let tap = Content::QuickReply {
                message_id: None,
                payload: "day:6".to_owned(),
            };
            harness.sandbox.write("lucia", ACCOUNT, tap).unwrap();
            harness.projected().await;
            let messages = harness.messages(&conversation).await;
            assert_eq!(messages.len(), 3, "{messages:#?}");
            let choice = &messages[2]["content"];
            assert_eq!(
                (choice["type"].as_str(), choice["source"].as_str()),
                (Some("reply"), Some("quick_reply"))
            );
            assert_eq!(
                (choice["payload"].as_str(), choice["title"].as_str()),
                (Some("day:6"), Some("Saturday"))
            );
        })
        .await;
    }
}

#[tokio::test]
async fn seen_marks_everything_up_to_it_and_nothing_after_it() {
    on_both(async |harness| {
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let mut sent = Vec::new();
        for words in ["one", "two", "three"] {
            sent.push(harness.reply(&conversation, words).await);
            harness.message_until(sent.last().unwrap(), "accepted").await;
            harness.pass(MINUTE).await;
        }
        harness.sandbox.look("lucia", ACCOUNT).unwrap();
        harness.projected().await;
        harness.pass(MINUTE).await;
        let later = harness.reply(&conversation, "four").await;
        harness.message_until(&later, "accepted").await;
        harness.pass(MINUTE).await;
        for id in &sent {
            let message = harness.message(id).await;
            assert_eq!(message["status"], "read");
            assert!(message["statusTimes"]["read"].is_string());
        }
        assert_eq!(harness.message(&later).await["status"], "accepted");
    })
    .await;
}

#[tokio::test]
async fn an_answer_quotes_what_it_answers() {
    on_both(async |harness| {
        let written = harness.sandbox.write("lucia", ACCOUNT, text("Red or blue?")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let question = harness.messages(&conversation).await[0]["id"].clone();
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "Blue.", "replyTo": question});
        let sent = harness.send(body).await;
        harness.message_until(&sent, "accepted").await;
        let on_phone = harness.phone("lucia", ACCOUNT).await;
        assert_eq!(on_phone[1]["replyTo"], written.0.as_str());
    })
    .await;
}

#[tokio::test]
async fn outside_the_window_nothing_goes_out() {
    on_both(async |harness| {
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        harness.pass(Duration::from_hours(24)).await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["window"]["open"], false);
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "too late"});
        let refused = harness.post("/api/v1/messages/send", &body).await;
        refused.problem(409, "window_closed");
        assert!(harness.accepted("lucia").is_empty());
    })
    .await;
}
