//! What the log says of notifications: the hub runs in a process of its own, with a log for machines.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_meta::signature::sign;

use crate::harness::{ADMIN_KEY, NUMBER, Process, START, WITHIN, whatsapp_text};

const SECRET: &str = "the secret of the app";
const UNSIGNED: &str = "notification refused: its signature is not Meta's";
const NO_SECRET: &str =
    "notification refused: set WHATSAPP_APP_SECRET to the app secret, so that signatures can be checked";
const NO_TOKEN: &str = "verification refused: set WHATSAPP_VERIFY_TOKEN to the verify token that Meta was given";
const PATH: &str = "/api/webhooks/whatsapp";

/// Runs a hub with this in its environment; answers with what it has logged in the end.
async fn with_hub(environment: &[(&str, &str)], test: impl AsyncFn(&reqwest::Client, &str)) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let own = [
        ("TIDINGS_LISTEN", "127.0.0.1:0"),
        ("TIDINGS_LOG", "tidings=debug"),
        ("TIDINGS_LOG_FORMAT", "json"),
        ("TIDINGS_ADMIN_KEY", ADMIN_KEY),
        ("WHATSAPP_PHONE_NUMBER_ID", NUMBER),
    ];
    let environment = own.into_iter().chain(environment.iter().copied());
    let mut served = Process::start(folder.path(), &["serve"], environment);
    let url = served.url().await;
    let http = reqwest::Client::builder().no_proxy().timeout(WITHIN).build().unwrap();
    test(&http, &url).await;
    let lines = served.stop().await;
    let parsed = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    parsed.collect()
}

fn with_message<'l>(log: &'l [Value], message: &str) -> Vec<&'l Value> {
    log.iter().filter(|line| line["message"] == message).collect()
}

async fn post(http: &reqwest::Client, url: &str, signature: Option<&str>, body: &str) -> u16 {
    let mut request = http.post(format!("{url}{PATH}")).body(body.to_owned());
    if let Some(signature) = signature {
        request = request.header("x-hub-signature-256", signature);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_refused_signature_is_logged_with_source_reason_and_length_and_without_the_body() {
    let words = "wordsOfAPerson";
    let body = whatsapp_text("wamid.1", "447700900123", words, START).to_string();
    let wrong = sign(b"another secret", body.as_bytes());
    let cases = [
        (None, "the request has no signature header"),
        (Some("sha1=00"), "the signature header is not sha256= and 64 hex digits"),
        (Some(wrong.as_str()), "no app secret makes this signature for this body"),
    ];
    let log = with_hub(&[("WHATSAPP_APP_SECRET", SECRET)], async |http, url| {
        for (signature, _) in cases {
            assert_eq!(post(http, url, signature, &body).await, 401);
        }
    })
    .await;
    let refused = with_message(&log, UNSIGNED);
    assert_eq!(refused.len(), cases.len(), "{refused:?}");
    for (line, (_, reason)) in refused.into_iter().zip(cases) {
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["platform"], "whatsapp");
        assert_eq!(line["reason"], reason);
        assert_eq!(line["body_bytes"], body.len());
        let source: SocketAddr = line["source"].as_str().unwrap().parse().unwrap();
        assert!(source.ip().is_loopback(), "{line}");
    }
    for line in &log {
        let line = line.to_string();
        assert!(!line.contains(words) && !line.contains(&wrong[10..]), "{line}");
    }
}

#[tokio::test]
async fn every_event_is_logged_with_its_kind_account_time_and_whether_it_was_signed() {
    let mut known = whatsapp_text("wamid.1", "447700900123", "hello", START);
    // And one of a kind that nobody knows.
    let unknown = json!({"field": "moon_phase", "value": {"metadata": {"phone_number_id": NUMBER}}});
    known["entry"][0]["changes"].as_array_mut().unwrap().push(unknown);
    let body = known.to_string();
    let log = with_hub(&[("WHATSAPP_APP_SECRET", SECRET)], async |http, url| {
        let signature = sign(SECRET.as_bytes(), body.as_bytes());
        assert_eq!(post(http, url, Some(&signature), &body).await, 200);
    })
    .await;
    let processed = with_message(&log, "event processed");
    assert_eq!(processed.len(), 1, "{processed:?}");
    let line = processed[0];
    assert_eq!(
        (
            &line["kind"],
            &line["account"],
            &line["occurred_at"],
            &line["signed"],
            &line["status"]
        ),
        (
            &json!("messages"),
            &json!(NUMBER),
            &json!(START),
            &json!(true),
            &json!("processed")
        )
    );
    assert!(line["event"].as_str().unwrap().starts_with("evt_"), "{line}");
    let ignored = with_message(&log, "event kept and ignored");
    assert_eq!(ignored.len(), 1, "{ignored:?}");
    assert_eq!(
        (&ignored[0]["kind"], &ignored[0]["account"], &ignored[0]["signed"]),
        (&json!("unknown"), &json!(NUMBER), &json!(true))
    );
}

#[tokio::test]
async fn what_has_to_be_set_is_named_where_something_is_refused_for_want_of_it() {
    let log = with_hub(&[], async |http, url| {
        assert_eq!(post(http, url, None, "{}").await, 503);
        let query = "hub.mode=subscribe&hub.verify_token=x&hub.challenge=1";
        let asked = http.get(format!("{url}{PATH}?{query}")).send().await.unwrap();
        assert_eq!(asked.status(), 503);
    })
    .await;
    for message in [NO_SECRET, NO_TOKEN] {
        let told = with_message(&log, message);
        assert_eq!(told.len(), 1, "{message}");
        assert_eq!(told[0]["level"], "WARN");
    }
}

#[tokio::test]
async fn that_signatures_are_not_checked_is_told_at_the_start_and_to_who_watches() {
    let off = [("WEBHOOK_SIGNATURE_REQUIRED", "false")];
    let log = with_hub(&off, async |http, url| {
        let ready = http.get(format!("{url}/health/ready")).send().await.unwrap();
        assert_eq!(ready.status(), 200);
        let ready: Value = ready.json().await.unwrap();
        let warning = ready["warnings"][0].as_str().unwrap();
        assert!(
            warning.contains("signatures of webhooks are not checked")
                && warning.contains("WEBHOOK_SIGNATURE_REQUIRED"),
            "{ready}"
        );
        let body = whatsapp_text("wamid.1", "447700900123", "hello", START).to_string();
        assert_eq!(post(http, url, None, &body).await, 200);
    })
    .await;
    let told = |line: &&Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] == "WARN" && message.contains("WEBHOOK_SIGNATURE_REQUIRED")
    };
    assert_eq!(log.iter().filter(told).count(), 1, "{log:#?}");
    assert_eq!(with_message(&log, "event processed")[0]["signed"], false);
}
