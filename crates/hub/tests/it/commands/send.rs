//! `tidings send`.

use serde_json::json;

use super::{ask, document, done, fails};
use crate::harness::{Harness, NUMBER, on_both, text};

const AMARA: &str = "+447700900101";

async fn written(harness: &Harness) -> String {
    harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
    harness.projected().await;
    let conversation = harness.conversation().await;
    conversation["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_goes_out_by_command() {
    on_both(async |harness| {
        let conversation = written(harness).await;
        let to = ["send", "--channel", "whatsapp", "--to", AMARA];

        let told = done(harness, &[&to[..], &["--message", "one"]].concat(), "").await;
        let (id, status) = told.trim_end().split_once("  ").unwrap();
        assert_eq!(status, "queued");
        harness.message_until(id, "accepted").await;

        let waited = [&to[..], &["--message", "two", "--wait", "20000"]].concat();
        let answer = document(harness, &waited, "").await;
        assert_eq!(answer["status"], "accepted", "{answer}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("content.json");
        std::fs::write(&file, json!({"type": "text", "text": "three"}).to_string()).unwrap();
        let content = format!("@{}", file.display());
        let by_conversation = ["send", "--conversation", &conversation, "--content", &content];
        let answer = document(harness, &by_conversation, "").await;
        harness
            .message_until(answer["messageId"].as_str().unwrap(), "accepted")
            .await;

        // The same key is the same message, and says so.
        let keyed = [&to[..], &["--message", "four", "--idempotency-key", "order-4"]].concat();
        let first = document(harness, &keyed, "").await;
        assert_eq!(document(harness, &keyed, "").await["messageId"], first["messageId"]);
        harness
            .message_until(first["messageId"].as_str().unwrap(), "accepted")
            .await;
        assert_eq!(harness.accepted("amara"), ["one", "two", "three", "four"]);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_with_what_is_wrong_and_what_would_be_right() {
    on_both(async |harness| {
        written(harness).await;
        let to_amara = |rest: &[&'static str]| [&["--channel", "whatsapp", "--to", AMARA], rest].concat();
        let words = |rest: &[&'static str]| to_amara(&[&["--message", "x"], rest].concat());
        let cases: [(Vec<&str>, i32, &[&str]); 15] = [
            (
                vec!["--to", AMARA, "--message", "x"],
                2,
                &["--channel <CHANNEL>", "required"],
            ),
            (
                vec!["--channel", "whatsapp", "--message", "x"],
                2,
                &["--to <TO>", "required"],
            ),
            (to_amara(&[]), 2, &["--message <MESSAGE>", "required"]),
            (to_amara(&["--content", "{"]), 2, &["--content", "is not JSON"]),
            (
                to_amara(&["--content", "@nowhere.json"]),
                2,
                &["--content", "cannot be read"],
            ),
            (words(&["--send-at", "soon"]), 2, &["--send-at", "soon"]),
            (words(&["--wait", "0"]), 2, &["--wait", "1..=25000"]),
            (words(&["--purpose", "fun"]), 2, &["--purpose", "service, marketing"]),
            (words(&["--colour", "red"]), 2, &["--colour"]),
            (
                words(&["--idempotency-key", "é\u{1}"]),
                2,
                &["--idempotency-key", "visible ASCII"],
            ),
            (
                vec!["--channel", "telex", "--to", AMARA, "--message", "x"],
                4,
                &["unknown_channel", "channel: ", "`telex`"],
            ),
            (
                vec!["--channel", "whatsapp", "--to", "Ann", "--message", "x"],
                4,
                &["invalid_recipient", "to: "],
            ),
            (
                vec!["--channel", "whatsapp", "--to", "+31687654321", "--message", "x"],
                4,
                &["window_closed", "template"],
            ),
            (
                to_amara(&["--content", r#"{"type":"telegram"}"#]),
                4,
                &["content.type", "telegram"],
            ),
            (to_amara(&["--message", ""]), 4, &["message"]),
        ];
        for (arguments, code, told) in cases {
            let arguments = [&["send"], &arguments[..]].concat();
            fails(&ask(harness, &arguments, "").await, code, told);
        }
        assert!(harness.accepted("amara").is_empty());
    })
    .await;
}
