//! `tidings config` and `tidings migrate`; and what every command needs: where the hub is, and a key.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::{alone, ask_with, document, fails, told};
use crate::harness::{Database, Engine, on_both};

const SECRET: &str = "plantedSecret0a1b2c3d";

#[tokio::test]
async fn every_mistake_in_the_settings_is_named_at_once_with_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let checked = alone(folder.path(), &["config", "check"], &[("WHATSAPP_APP_SECRET", SECRET)]).await;
    assert_eq!(told(&checked, 0), "The settings have no mistakes.\n");

    std::fs::write(
        folder.path().join("tidings.toml"),
        "[webhooks]\nbatch_syze = 5\nmax_queue = \"many\"\n",
    )
    .unwrap();
    let wrong = [
        ("TIDINGS_LISTEN", "8080"),
        ("WEBHOOK_BATCH_SIZE", "0"),
        ("TIDINGS_ADMIN_KEY", "short"),
        ("WEBHOOK_ANSWER_WITHIN_MS", "5001"),
        ("WHATSAPP_APP_SECRET", SECRET),
    ];
    let expected: [(&str, &str, &str); 6] = [
        ("TIDINGS_LISTEN", "environment", "address"),
        ("WEBHOOK_BATCH_SIZE", "environment", "a number from 1 to 1000"),
        ("TIDINGS_ADMIN_KEY", "environment", "`openssl rand -hex 32` makes one"),
        ("WEBHOOK_ANSWER_WITHIN_MS", "environment", "from 50 to 5000"),
        ("webhooks.batch_syze", "tidings.toml", "webhooks.batch_size"),
        ("webhooks.max_queue", "tidings.toml", "a number from 1 to 1000000"),
    ];
    let checked = alone(folder.path(), &["config", "check", "--json"], &wrong).await;
    assert_eq!(checked.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(document["ok"], false);
    let mistakes = document["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), expected.len(), "{document:#}");
    for (name, place, right) in expected {
        let mistake = mistakes.iter().find(|mistake| mistake["name"] == name);
        let mistake = mistake.unwrap_or_else(|| panic!("{name} is not in {document:#}"));
        assert!(mistake["place"].as_str().unwrap().ends_with(place), "{mistake}");
        assert!(mistake["problem"].as_str().unwrap().contains(right), "{mistake}");
    }
    // Every command that needs settings says the same, and does nothing.
    for command in [
        &["config", "check"][..],
        &["config", "show"],
        &["serve"],
        &["migrate"],
        &["sandbox"],
    ] {
        let refused = alone(folder.path(), command, &wrong).await;
        fails(
            &refused,
            2,
            &["6 mistakes", "WEBHOOK_BATCH_SIZE (environment)", "batch_size"],
        );
        assert!(!String::from_utf8_lossy(&refused.stderr).contains(SECRET));
    }
    assert!(!folder.path().join("tidings-data").exists());

    let refused = alone(folder.path(), &["config", "check", "--set", "nothing"], &[]).await;
    fails(&refused, 2, &["--set", "NAME=VALUE"]);
    let refused = alone(folder.path(), &["config", "check", "--config", "none.toml"], &[]).await;
    fails(&refused, 2, &["none.toml"]);
    let refused = alone(folder.path(), &["config"], &[]).await;
    fails(&refused, 2, &["show", "check"]);
    let refused = alone(folder.path(), &["confog"], &[]).await;
    fails(&refused, 2, &["confog", "'config'"]);
}

#[tokio::test]
async fn the_settings_are_shown_with_where_they_come_from_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tidings.toml"), "[webhooks]\nbatch_size = 5\n").unwrap();
    std::fs::write(folder.path().join(".env"), "WEBHOOK_MAX_QUEUE=7\n").unwrap();
    let environment = [("WHATSAPP_APP_SECRET", SECRET), ("WEBHOOK_RETRY_ATTEMPTS", "9")];
    let arguments = ["config", "show", "--set", "WEBHOOK_RETRY_DELAY=11"];
    let shown = told(&alone(folder.path(), &arguments, &environment).await, 0);
    let row = |key: &str| -> Vec<String> {
        let row = shown.lines().find(|line| line.split_whitespace().next() == Some(key));
        let row = row.unwrap_or_else(|| panic!("{key} is not in\n{shown}"));
        row.split("  ")
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    assert_eq!(row("SETTING"), ["SETTING", "VALUE", "SOURCE"]);
    assert_eq!(row("webhooks.batch_size")[1..], ["5", "tidings.toml"]);
    assert_eq!(row("webhooks.max_queue")[1..], ["7", ".env: WEBHOOK_MAX_QUEUE"]);
    assert_eq!(
        row("webhooks.retry_attempts")[1..],
        ["9", "environment: WEBHOOK_RETRY_ATTEMPTS"]
    );
    assert_eq!(row("webhooks.retry_delay_ms")[1], "11");
    assert_eq!(row("webhooks.answer_within_ms")[1..], ["5000", "default"]);
    assert!(!shown.contains(SECRET), "{shown}");
    let shown = alone(folder.path(), &["config", "show", "--json"], &environment).await;
    let document: Value = serde_json::from_str(&told(&shown, 0)).unwrap();
    let settings = document["settings"].as_array().unwrap();
    let secrets = settings
        .iter()
        .find(|setting| setting["key"] == "webhooks.whatsapp.app_secrets")
        .unwrap();
    assert!(secrets["value"].as_str().is_some_and(|value| !value.is_empty()) && !document.to_string().contains(SECRET));
}

#[tokio::test]
async fn the_store_is_brought_up_to_date_by_command() {
    for engine in Engine::available() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(engine, folder.path()).await;
        let environment = [("DATABASE_URL", database.url())];
        let run = async |arguments: &[&str]| alone(folder.path(), arguments, &environment).await;
        let first = told(&run(&["migrate"]).await, 0);
        assert!(
            first.starts_with("The store was brought up to date: 0001_first, 0002_lists_and_profiles, "),
            "{first}"
        );
        assert_eq!(told(&run(&["migrate"]).await, 0), "The store is up to date.\n");
        let again: Value = serde_json::from_str(&told(&run(&["migrate", "--json"]).await, 0)).unwrap();
        assert_eq!(again, json!({"migrations": []}));

        // What a newer version has written is left alone.
        database
            .execute("INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (9999, '9999_later', 'x', 0)")
            .await;
        for command in ["migrate", "serve"] {
            fails(&run(&[command]).await, 1, &["9999", "newer"]);
        }
        database.remove().await;
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let is_a_folder = format!("sqlite://{}", folder.path().display());
    let nowhere = format!("postgres://{SECRET}:{SECRET}@{nobody}/tidings");
    for (url, code, expected) in [
        (
            "mysql://127.0.0.1/tidings",
            2,
            &["DATABASE_URL", "sqlite://", "postgres://"][..],
        ),
        (&is_a_folder, 1, &["the store cannot be opened"]),
        (&nowhere, 1, &["the store cannot be opened"]),
    ] {
        let refused = alone(folder.path(), &["migrate"], &[("DATABASE_URL", url)]).await;
        fails(&refused, code, expected);
        assert!(!String::from_utf8_lossy(&refused.stderr).contains(SECRET), "{url}");
    }
}

#[tokio::test]
async fn a_hub_that_is_not_there_or_does_not_know_the_key_is_told_with_the_remedy() {
    on_both(async |harness| {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nowhere = format!("http://{nobody}");
        let send = [
            "send",
            "--channel",
            "whatsapp",
            "--to",
            "+447700900101",
            "--message",
            "x",
        ];
        let commands: [&[&str]; 8] = [
            &send,
            &["events", "list"],
            &["events", "replay", "--all"],
            &["events", "tail"],
            &["channel", "list"],
            &["queue", "show"],
            &["flag", "list"],
            &["outbound", "status"],
        ];
        let url = harness.url("");
        for command in commands {
            let key = "a-key-for-tests-alone";
            let refused = ask_with(&[("TIDINGS_URL", &nowhere), ("TIDINGS_ADMIN_KEY", key)], command).await;
            fails(
                &refused,
                3,
                &[&nowhere, "cannot be reached", "`tidings serve`", "TIDINGS_URL"],
            );
            let wrong_key = [
                ("TIDINGS_URL", url.as_str()),
                ("TIDINGS_ADMIN_KEY", "another-key-of-nobody"),
            ];
            let refused = ask_with(&wrong_key, command).await;
            fails(&refused, 4, &["401 unauthorized", "Set TIDINGS_ADMIN_KEY", "admin.key"]);
            let refused = ask_with(&[("TIDINGS_URL", "the hub"), ("TIDINGS_ADMIN_KEY", key)], command).await;
            fails(&refused, 2, &["TIDINGS_URL", "http://127.0.0.1:8080"]);
        }
        // Who is not sure whether it was sent can try again without harm.
        let refused = ask_with(
            &[
                ("TIDINGS_URL", &nowhere),
                ("TIDINGS_ADMIN_KEY", "a-key-for-tests-alone"),
            ],
            &send,
        )
        .await;
        fails(&refused, 3, &["without sending twice", "--idempotency-key"]);
        let listed = document(harness, &["channel", "list"], "").await;
        assert_eq!(listed["channels"].as_array().unwrap().len(), 2);
    })
    .await;
}
