//! The binary, as people use it: commands against a running hub, and a hub in a process of its own that is told to read its settings again.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, LedgerKind, NewPost, Options, Sandbox};

use crate::harness::{ADMIN_KEY, Harness, NUMBER, Process, WITHIN, fault, on_both, text};

mod alone;
mod events;
mod send;
mod settings;

/// What a command needs to know of the hub.
fn environment(harness: &Harness) -> [(&'static str, String); 2] {
    [
        ("TIDINGS_URL", harness.url("")),
        ("TIDINGS_ADMIN_KEY", ADMIN_KEY.to_owned()),
    ]
}

/// Runs a command against the hub, with something on its standard input.
async fn ask(harness: &Harness, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(arguments).env_clear().envs(environment(harness));
    finished(command, input).await
}

/// Runs a command with this in its environment.
async fn ask_with(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    finished(command, "").await
}

/// Runs a command in a folder, with this in its environment.
async fn alone(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder);
    finished(command, "").await
}

async fn finished(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may have ended by now.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
        .await
        .unwrap()
}

/// What a command has printed that ended with this code.
#[track_caller]
fn told(output: &Output, code: i32) -> String {
    let (told, failed) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(code), "{told}{failed}");
    told.into_owned()
}

/// That a command ended with this code and told all of this of why, on standard error, and nothing of a panic.
#[track_caller]
fn fails(output: &Output, code: i32, parts: &[&str]) {
    let failed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{failed}");
    for part in parts {
        assert!(failed.contains(part), "{part:?} is not in: {failed}");
    }
    assert!(!failed.contains("panicked"), "{failed}");
}

async fn done(harness: &Harness, arguments: &[&str], input: &str) -> String {
    let output = ask(harness, arguments, input).await;
    told(&output, 0)
}

async fn document(harness: &Harness, arguments: &[&str], input: &str) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&done(harness, &arguments, input).await).unwrap()
}

#[tokio::test]
async fn templates_have_commands() {
    on_both(async |harness| {
        let synced = document(harness, &["template", "sync"], "").await;
        assert_eq!(synced["accounts"][0]["error"], Value::Null, "{synced}");
        let listed = done(harness, &["template", "list", "--search", "booking"], "").await;
        assert!(
            listed.starts_with("NAME") && listed.contains("it takes in the body `{{1}}`, `{{2}}`"),
            "{listed}"
        );
        let listed = document(harness, &["template", "list", "--status", "approved"], "").await;
        assert_eq!(listed["templates"].as_array().unwrap().len(), 2);
        let shown = done(harness, &["template", "show", "hello_world"], "").await;
        assert!(shown.starts_with("hello_world  en_US  approved"), "{shown}");
        let id = listed["templates"][0]["id"].as_str().unwrap();
        let shown = document(harness, &["template", "show", id], "").await;
        assert_eq!(shown["name"], "hello_world");
        let missing = ask(harness, &["template", "show", "nowhere"], "").await;
        assert_eq!(missing.status.code(), Some(2));
    })
    .await;
}

#[tokio::test]
async fn channels_flags_and_the_stop_switch_have_commands() {
    on_both(async |harness| {
        harness.foresee_refusals(&[190]);
        let listed = done(harness, &["channel", "list"], "").await;
        assert!(listed.starts_with("ID") && listed.contains("whatsapp"), "{listed}");
        let environment = harness.sandbox.environment();
        let (_, token) = environment
            .iter()
            .find(|(name, _)| name == "WHATSAPP_ACCESS_TOKEN")
            .unwrap();
        let swapped = document(harness, &["channel", "set-token", "whatsapp"], &format!("{token}\n")).await;
        assert_eq!(swapped["credentials"]["version"], 2);
        let refused = ask(
            harness,
            &["channel", "set-token", "whatsapp"],
            "EAAwrongTokenOfSomeLength",
        )
        .await;
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(4), "{told}");
        assert!(told.contains("accessToken") && !told.contains("EAAwrong"), "{told}");

        let add = [
            "channel",
            "add",
            "extra",
            "--kind",
            "whatsapp",
            "--account",
            "77",
            "--receive-only",
        ];
        assert!(done(harness, &add, "").await.starts_with("extra  receive_only"));
        let shown = done(harness, &["channel", "show", "extra"], "").await;
        assert!(shown.contains("account: 77"), "{shown}");
        done(harness, &["channel", "remove", "extra"], "").await;

        let set = document(harness, &["flag", "set", "channels.email.priority", "true"], "").await;
        assert_eq!(set["value"], true);
        assert_eq!(
            document(harness, &["flag", "unset", "channels.email.priority"], "").await["value"],
            false
        );
        assert!(done(harness, &["flag", "list"], "").await.contains("outbound.enabled"));

        assert!(
            done(harness, &["outbound", "stop"], "")
                .await
                .starts_with("Sending is stopped")
        );
        assert_eq!(document(harness, &["outbound", "status"], "").await["enabled"], false);
        document(harness, &["outbound", "stop", "--channel", "whatsapp"], "").await;
        assert_eq!(document(harness, &["outbound", "start"], "").await["enabled"], true);
        let status = done(harness, &["outbound", "status"], "").await;
        assert!(status.contains("stopped"), "{status}");
    })
    .await;
}

#[tokio::test]
async fn the_queue_has_commands() {
    on_both(async |harness| {
        harness.foresee_refusals(&[131_026, 130_429]);
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let mut failed = Vec::new();
        for words in ["one", "two", "three"] {
            let undeliverable = FaultRequest {
                code: Some(131_026),
                ..fault(FaultKind::Error)
            };
            harness.sandbox.fault(undeliverable).unwrap();
            let id = harness.reply(&conversation, words).await;
            harness.message_until(&id, "failed").await;
            failed.push(id);
        }
        let listed = done(harness, &["queue", "failed", "--code", "131026"], "").await;
        assert!(
            listed.starts_with("CREATED") && failed.iter().all(|id| listed.contains(id.as_str())),
            "{listed}"
        );
        let page = document(harness, &["queue", "failed", "--limit", "1"], "").await;
        assert_eq!(page["messages"][0]["id"], failed[2].as_str());
        let cursor = page["nextCursor"].as_str().unwrap();
        let page = document(harness, &["queue", "failed", "--limit", "1", "--cursor", cursor], "").await;
        assert_eq!(page["messages"][0]["id"], failed[1].as_str());

        let retried = document(harness, &["queue", "retry", &failed[0]], "").await;
        assert_eq!(retried["id"], failed[0].as_str());
        harness.message_until(&failed[0], "accepted").await;
        let refused = ask(harness, &["queue", "retry", &failed[0]], "").await;
        assert!(!refused.status.success());
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(told.contains("it has not failed"), "{told}");
        let told = done(
            harness,
            &["queue", "retry", "--channel", "whatsapp", "--status", "failed"],
            "",
        )
        .await;
        assert_eq!(told, "Messages that are queued again: 2\n");
        for id in &failed {
            harness.message_until(id, "accepted").await;
        }
        assert_eq!(harness.accepted("amara"), ["one", "two", "three"]);

        done(harness, &["outbound", "stop", "--channel", "whatsapp"], "").await;
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "waits"});
        let sent = harness
            .post("/api/v1/messages/send?queue=true", &body)
            .await
            .expect(202);
        let waits = sent["messageId"].as_str().unwrap().to_owned();
        let shown = document(harness, &["queue", "show"], "").await;
        assert_eq!(shown["length"], 1, "{shown}");
        let shown = done(harness, &["queue", "show"], "").await;
        assert!(
            shown.starts_with("CHANNEL") && shown.contains("Messages that wait: 1;"),
            "{shown}"
        );
        let cancelled = document(harness, &["queue", "cancel", &waits], "").await;
        assert_eq!(cancelled["status"], "cancelled");
        done(harness, &["outbound", "start", "--channel", "whatsapp"], "").await;

        let throttled = FaultRequest {
            code: Some(130_429),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(throttled).unwrap();
        let paused = harness.reply(&conversation, "four").await;
        harness
            .until("the channel pauses", async |harness| {
                let (_, timeline) = harness.timeline(&paused).await;
                (timeline["waiting"]["waitsFor"] == "throttled").then_some(())
            })
            .await;
        let told = done(harness, &["queue", "process", "--channel", "whatsapp"], "").await;
        assert_eq!(told, "Messages that are due now: 1\n");
        harness.message_until(&paused, "accepted").await;
        let nowhere = ask(harness, &["queue", "process", "--channel", "nowhere"], "").await;
        assert!(!nowhere.status.success());
        let told = String::from_utf8(nowhere.stderr).unwrap();
        assert!(told.contains("no channel `nowhere`"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn the_reels_have_a_command() {
    on_both(async |harness| {
        assert_eq!(done(harness, &["reels"], "").await, "");
        for (number, caption) in ["First\nreel", "Second reel"].into_iter().enumerate() {
            let post = NewPost {
                caption: Some(caption.to_owned()),
                ago_ms: 60_000 - number as u64 * 1_000,
                views: 1_500,
                likes: 42,
                ..NewPost::default()
            };
            harness.sandbox.post(post).unwrap();
        }
        let page = document(harness, &["reels", "--limit", "1"], "").await;
        assert_eq!(page["reels"][0]["description"], "Second reel");
        let cursor = page["paging"]["nextCursor"].as_str().unwrap();
        let table = done(harness, &["reels", "--limit", "2", "--after", cursor], "").await;
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 2, "{table}");
        assert!(
            lines[0].starts_with("ID") && lines[1].contains("1500") && lines[1].ends_with("First reel"),
            "{table}"
        );
        let refused = ask(harness, &["reels", "--after", "nothing"], "").await;
        assert_eq!(refused.status.code(), Some(4));
        assert!(String::from_utf8(refused.stderr).unwrap().contains("invalid_cursor"));
    })
    .await;
}

#[tokio::test]
async fn a_corrected_env_file_is_taken_over_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let write_env = |token: Option<&str>| {
        let mut told = sandbox.environment();
        told.extend(
            [
                ("TIDINGS_LISTEN", "127.0.0.1:0"),
                ("TIDINGS_DATA_DIR", "data"),
                ("TIDINGS_ADMIN_KEY", ADMIN_KEY),
                ("TIDINGS_LOG_FORMAT", "json"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        for (name, value) in &mut told {
            if let (true, Some(token)) = (name == "WHATSAPP_ACCESS_TOKEN", token) {
                token.clone_into(value);
            }
        }
        let lines: Vec<String> = told.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
        std::fs::write(folder.join(".env"), lines.concat()).unwrap();
    };
    write_env(Some("EAAwrongTokenOfTheFile"));
    let mut served = Process::start(folder, &["serve"], []);
    let url = served.url().await;
    let http = reqwest::Client::builder().no_proxy().timeout(WITHIN).build().unwrap();
    let ask = async |path: &str| -> Value {
        let request = http.get(format!("{url}{path}")).bearer_auth(ADMIN_KEY);
        request.send().await.unwrap().json().await.unwrap()
    };
    let callback = format!("{url}/api/webhooks/whatsapp");
    let environment = sandbox.environment();
    let (_, verify) = environment
        .iter()
        .find(|(name, _)| name == "WHATSAPP_VERIFY_TOKEN")
        .unwrap();
    sandbox
        .subscribe(tidings_sandbox::Object::WhatsApp, &callback, verify)
        .await
        .unwrap();
    sandbox.write("amara", NUMBER, text("hello")).unwrap();
    let conversation = served
        .until("she has written", async |_| {
            let listed = ask("/api/v1/conversations").await;
            listed["conversations"].get(0).cloned()
        })
        .await;
    let body = json!({"to": {"conversation": conversation["id"]}, "message": "at last"});
    let sent = http
        .post(format!("{url}/api/v1/messages/send"))
        .bearer_auth(ADMIN_KEY)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 202);
    served
        .until("the channel is held", async |_| {
            (ask("/api/v1/channels/whatsapp").await["status"] == "held").then_some(())
        })
        .await;

    // A file with a mistake changes nothing.
    std::fs::write(folder.join(".env"), "WHATSAPP_PHONE_NUMBER_ID=x\n").unwrap();
    served.signal("-HUP");
    served
        .until("the mistake is told", async |served| {
            let told = served
                .lines()
                .into_iter()
                .any(|line| line.contains("the settings were not taken over"));
            told.then_some(())
        })
        .await;
    write_env(None);
    served.signal("-HUP");
    served
        .until("it is out", async |_| {
            let accepted = sandbox.ledger();
            accepted
                .iter()
                .any(|entry| entry.kind == LedgerKind::Accepted)
                .then_some(())
        })
        .await;
    assert_eq!(ask("/api/v1/channels/whatsapp").await["status"], "ready");
    let lines = served.stop().await;
    assert!(lines.iter().any(|line| line.contains("stopping")));
    sandbox.stop().await;
}

#[tokio::test]
async fn a_request_is_signed_by_command() {
    on_both(async |harness| {
        let secrets = "WHATSAPP_INTEGRATION_SECRETS=one,two";
        let body = r#"{"phoneNumber":"+31612345678"}"#;
        let sign = ["sign", "--set", secrets, "--secret", "2", "--at", "1795400000"];
        let expected = tidings::integrations::whatsapp::signature::sign(&"two".into(), 1_795_400_000, body.as_bytes());
        let expected = format!("X-Integration-Signature: {expected}\n");
        assert_eq!(done(harness, &sign, body).await, expected);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(body.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(done(harness, &[&sign[..], &[path]].concat(), "").await, expected);
        for (set, number, told) in [
            (secrets, "3", "from 1 to 2"),
            (secrets, "0", "from 1 to 2"),
            ("WHATSAPP_INTEGRATION_SECRETS=", "1", "there is no secret"),
        ] {
            let refused = ask(harness, &["sign", "--set", set, "--secret", number], body).await;
            let failed = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{failed}");
            assert!(failed.contains(told) && !failed.contains("two"), "{failed}");
        }
    })
    .await;
}
