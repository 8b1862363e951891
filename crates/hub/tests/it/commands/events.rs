//! `tidings events list`, `replay` and `tail`.

use serde_json::{Value, json};

use super::{ask, document, done, environment, fails};
use crate::harness::{Harness, NUMBER, Process, START, on_both, text, whatsapp_text, whatsapp_value};

/// Two messages, one of which cannot be understood.
async fn some_events(harness: &Harness) {
    harness
        .whatsapp(&whatsapp_text("wamid.good", "447700900123", "hello", START))
        .await;
    let bad = json!({"messages": [{"id": "wamid.bad", "from": "447700900123", "timestamp": "1795400000", "type": "text", "text": 7}]});
    harness.whatsapp(&whatsapp_value(&bad)).await;
}

#[tokio::test]
async fn events_are_listed_and_processed_again_by_command() {
    on_both(async |harness| {
        some_events(harness).await;
        let listed = done(harness, &["events", "list"], "").await;
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(lines.len(), 3, "{listed}");
        let heading: Vec<&str> = lines[0].split_whitespace().collect();
        assert_eq!(
            heading,
            ["RECEIVED", "ID", "TYPE", "CHANNEL", "STATUS", "ATTEMPTS", "ERROR"]
        );
        assert!(lines[1].contains("messages  whatsapp  failed     1"), "{listed}");
        assert!(lines[2].contains("messages  whatsapp  processed  1"), "{listed}");

        let failed = document(harness, &["events", "list", "--status", "failed"], "").await;
        assert_eq!(failed["events"].as_array().unwrap().len(), 1);
        assert_eq!(failed["events"][0]["externalId"], "message:wamid.bad");
        let found = document(
            harness,
            &["events", "list", "--q", "wamid.good", "--account", NUMBER],
            "",
        )
        .await;
        assert_eq!(found["events"][0]["externalId"], "message:wamid.good");

        let page = ask(harness, &["events", "list", "--limit", "1"], "").await;
        let told = String::from_utf8(page.stderr).unwrap();
        let (_, cursor) = told.trim_end().split_once("There are more: add --cursor ").unwrap();
        let rest = document(harness, &["events", "list", "--limit", "1", "--cursor", cursor], "").await;
        assert_eq!(rest["events"][0]["externalId"], "message:wamid.good");

        let id = failed["events"][0]["id"].as_str().unwrap();
        let again = "Events that are processed again: ";
        assert_eq!(
            done(harness, &["events", "replay", id], "").await,
            format!("{again}1\n")
        );
        harness.projected().await;
        let replayed = document(harness, &["events", "replay", "--status", "failed"], "").await;
        assert_eq!(replayed, json!({"replayed": 1}));
        harness.projected().await;
        assert_eq!(
            done(harness, &["events", "replay", "--all"], "").await,
            format!("{again}2\n")
        );
        harness.projected().await;
        assert_eq!(harness.messages(&harness.conversation().await).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_listed_or_replayed_is_told_with_what_would_be_right() {
    on_both(async |harness| {
        let unknown = format!("evt_{}", "0".repeat(32));
        let cases: [(&[&str], i32, &[&str]); 12] = [
            (
                &["list", "--status", "lost"],
                2,
                &["--status", "pending, processed, ignored, failed, dead"],
            ),
            (&["list", "--from", "soon"], 2, &["--from", "soon"]),
            (&["list", "--limit", "0"], 2, &["--limit", "1..=500"]),
            (&["list", "--limit", "many"], 2, &["--limit", "many"]),
            (
                &["list", "--event-type", "news"],
                4,
                &["invalid_parameter", "eventType: is not a kind of event"],
            ),
            (&["list", "--cursor", "?"], 4, &["invalid_cursor", "cursor: "]),
            (&["replay"], 2, &["name the event", "--all"]),
            (&["replay", "evt_1", "--all"], 2, &["not both"]),
            (&["replay", "../x"], 2, &["`tidings events list` shows them"]),
            (&["replay", &unknown], 4, &["not_found", "There is no such event"]),
            (
                &["tail", "--types", "news"],
                4,
                &["types: is not a list of types (", "message.created"],
            ),
            (&["tail", "--after", "yesterday"], 2, &["--after", "such as 17.1"]),
        ];
        for (arguments, code, told) in cases {
            let arguments = [&["events"], arguments].concat();
            fails(&ask(harness, &arguments, "").await, code, told);
        }
    })
    .await;
}

#[tokio::test]
async fn what_happens_is_followed_by_command_until_it_is_stopped() {
    on_both(async |harness| {
        let folder = tempfile::tempdir().unwrap();
        let environment = environment(harness);
        let environment = || environment.iter().map(|(name, value)| (*name, value.as_str()));
        // From the beginning, so that it does not matter how soon it is connected.
        let follow = ["events", "tail", "--after", "0.0"];
        let mut as_text = Process::start(folder.path(), &follow, environment());
        let other_folder = tempfile::tempdir().unwrap();
        let narrowed = [
            &follow[..],
            &["--types", "message.created", "--channel", "whatsapp", "--json"],
        ]
        .concat();
        let mut as_json = Process::start(other_folder.path(), &narrowed, environment());
        harness.sandbox.write("amara", NUMBER, text("first\nwords")).unwrap();
        harness.projected().await;

        let line = as_text
            .until("the message is shown", async |process| {
                let printed = process.printed();
                printed
                    .lines()
                    .find(|line| line.contains("message.created"))
                    .map(str::to_owned)
            })
            .await;
        assert!(
            line.starts_with("20") && line.contains("whatsapp  inbound  received") && line.ends_with("first words"),
            "{line}"
        );
        let reply = harness.reply(&harness.conversation().await, "second").await;
        harness.message_until(&reply, "accepted").await;
        let events: Vec<Value> = as_json
            .until("both are shown", async |process| {
                let printed = process.printed();
                let lines: Vec<&str> = printed.lines().collect();
                (lines.len() >= 2).then(|| lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
            })
            .await;
        let said: Vec<&Value> = events
            .iter()
            .map(|event| &event["data"]["message"]["content"]["text"])
            .collect();
        assert_eq!(said, ["first\nwords", "second"]);
        assert!(
            events
                .iter()
                .all(|event| event["type"] == "message.created" && event["id"].is_string())
        );

        for process in [as_text, as_json] {
            assert!(process.stop().await.is_empty(), "it has nothing to complain of");
        }
    })
    .await;
}
