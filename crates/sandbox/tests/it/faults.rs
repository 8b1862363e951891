//! Every kind of fault, at its endpoint, by count, share, time and account.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{LedgerKind, WebhookOptions};

use super::harness::{ACCOUNT, Harness, PHONE, code, start, stepped, text_to};

async fn ask(harness: &Harness, fault: Value) {
    let (status, answer) = harness.post("/sandbox/faults", "", &fault).await;
    assert_eq!(status, 201, "{fault}: {answer}");
}

async fn hi(harness: &Harness) -> (u16, Value) {
    harness.whatsapp(text_to("447700900101", "hi")).await
}

/// The answer as it came, to be looked at for headers and bodies that are no JSON.
async fn raw(harness: &Harness) -> Result<reqwest::Response, reqwest::Error> {
    let mut message = text_to("447700900101", "hi");
    message["messaging_product"] = json!("whatsapp");
    let url = format!("{}/{PHONE}/messages", harness.sandbox.url());
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    harness.http.post(url).bearer_auth(token).json(&message).send().await
}

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused() {
    let harness = start(stepped()).await;
    for fault in [
        json!({"endpoint": "nowhere", "kind": "error"}),
        json!({"endpoint": "messages", "kind": "double"}),
        json!({"endpoint": "webhooks", "kind": "error"}),
        json!({"endpoint": "messages", "kind": "error", "share": 1.5}),
        json!({"endpoint": "messages", "kind": "error", "httpStatus": 200}),
        json!({"endpoint": "messages", "kind": "outage"}),
        json!({"endpoint": "any", "kind": "outage", "count": 3}),
        json!({"endpoint": "tokens", "kind": "token_expired"}),
        json!({"endpoint": "smtp.rcpt", "kind": "error", "code": 250}),
        json!({"endpoint": "messages", "kind": "error", "often": true}),
    ] {
        assert_eq!(harness.post("/sandbox/faults", "", &fault).await.0, 422, "{fault}");
    }
}

#[tokio::test]
async fn faults_are_listed_and_removed_one_by_one() {
    let harness = start(stepped()).await;
    ask(
        &harness,
        json!({"endpoint": "messages", "kind": "error", "code": 131_000}),
    )
    .await;
    ask(&harness, json!({"endpoint": "messages", "kind": "delay", "delayMs": 0})).await;
    assert_eq!(hi(&harness).await.0, 500);
    let (_, list) = harness.get("/sandbox/faults", "").await;
    assert_eq!(
        (&list["faults"][0]["hits"], &list["faults"][1]["kind"]),
        (&json!(1), &json!("delay"))
    );
    let url = format!("{}/sandbox/faults/{}", harness.sandbox.url(), list["faults"][0]["id"]);
    assert_eq!(
        harness.call(harness.http.delete(url), "").await.1,
        json!({"removed": 1})
    );
    assert_eq!(hi(&harness).await.0, 200);
    let (_, list) = harness.get("/sandbox/faults", "").await;
    assert_eq!(list["faults"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_fault_strikes_one_account_and_for_its_time() {
    let harness = start(stepped()).await;
    let igsid = harness.igsid("lucia").await;
    harness.writes("lucia", ACCOUNT, "hello");
    let message = json!({"recipient": {"id": igsid}, "message": {"text": "hi"}});
    ask(
        &harness,
        json!({"endpoint": "messages", "kind": "error", "account": ACCOUNT, "forMs": 500}),
    )
    .await;
    assert_eq!(hi(&harness).await.0, 200);
    assert_eq!(harness.instagram(message.clone()).await.0, 500);
    harness.advance(500).await;
    assert_eq!(harness.instagram(message).await.0, 200);
}

#[tokio::test]
async fn an_error_may_be_a_page() {
    let harness = start(stepped()).await;
    ask(
        &harness,
        json!({"endpoint": "messages", "kind": "plain_error", "httpStatus": 502, "count": 1}),
    )
    .await;
    let answer = raw(&harness).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (502, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(answer.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    assert!(harness.entries(LedgerKind::Accepted).is_empty());
    assert_eq!(hi(&harness).await.0, 200);
}

#[tokio::test]
async fn throttling_comes_with_headers_or_without() {
    let harness = start(stepped()).await;
    ask(
        &harness,
        json!({"endpoint": "messages", "kind": "throttle", "regainMinutes": 19, "count": 1}),
    )
    .await;
    let answer = raw(&harness).await.unwrap();
    let usage: Value = serde_json::from_str(answer.headers()["x-business-use-case-usage"].to_str().unwrap()).unwrap();
    let usage = &usage["100000000000001"][0];
    assert_eq!(
        (&usage["call_count"], &usage["estimated_time_to_regain_access"]),
        (&json!(100), &json!(19))
    );
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], 130_429);
    ask(&harness, json!({"endpoint": "messages", "kind": "throttle", "code": 80_007, "httpStatus": 429, "headers": false, "count": 1}))
        .await;
    let answer = raw(&harness).await.unwrap();
    assert_eq!(answer.status().as_u16(), 429);
    assert!(answer.headers().get("x-business-use-case-usage").is_none());
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], 80_007);
    ask(&harness, json!({"endpoint": "read", "kind": "throttle", "count": 1})).await;
    let url = format!("{}/{PHONE}", harness.sandbox.url());
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let answer = harness.http.get(url).bearer_auth(token).send().await.unwrap();
    assert!(
        answer.headers()["x-app-usage"]
            .to_str()
            .unwrap()
            .contains("\"call_count\":100")
    );
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], 4);
}

#[tokio::test]
async fn tokens_and_numbers_can_be_struck_for_a_time() {
    let harness = start(stepped()).await;
    for (kind, expected) in [
        ("token_expired", (401, 190, Some(463))),
        ("token_revoked", (401, 190, Some(467))),
        ("number_blocked", (403, 131_031, None)),
    ] {
        ask(&harness, json!({"endpoint": "messages", "kind": kind, "forMs": 1_000})).await;
        assert_eq!(code(&hi(&harness).await), expected, "{kind}");
        harness.advance(1_000).await;
        assert_eq!(hi(&harness).await.0, 200, "{kind}");
    }
}

#[tokio::test]
async fn an_answer_may_never_come_although_the_message_was_taken() {
    let harness = start(stepped()).await;
    ask(
        &harness,
        json!({"endpoint": "messages", "kind": "timeout_after_accept", "count": 1}),
    )
    .await;
    // The clock stands still, so that only the client's own limit ends it.
    let mut message = text_to("447700900101", "hi");
    message["messaging_product"] = json!("whatsapp");
    let url = format!("{}/{PHONE}/messages", harness.sandbox.url());
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let request = harness.http.post(url).bearer_auth(token).json(&message);
    let error = request.timeout(Duration::from_secs(2)).send().await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(harness.entries(LedgerKind::Accepted).len(), 1);
}

#[tokio::test]
async fn in_an_outage_nothing_answers_and_webhooks_come_when_it_is_over() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "before");
    harness.advance(0).await;
    ask(&harness, json!({"endpoint": "any", "kind": "outage", "forMs": 60_000})).await;
    assert!(raw(&harness).await.is_err());
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    let url = format!("{}/me", harness.sandbox.url());
    assert!(harness.http.get(&url).bearer_auth(&token).send().await.is_err());
    harness.writes("amara", PHONE, "during");
    harness.advance(59_999).await;
    assert_eq!(harness.receiver.values().len(), 1);
    harness.advance(1).await;
    let values = harness.receiver.values();
    assert_eq!(values[1]["messages"][0]["text"]["body"], "during");
    assert_eq!(hi(&harness).await.0, 200);

    ask(
        &harness,
        json!({"endpoint": "any", "kind": "outage", "httpStatus": 503}),
    )
    .await;
    assert_eq!(raw(&harness).await.unwrap().status().as_u16(), 503);
    harness.sandbox.clear_faults();
    assert_eq!(hi(&harness).await.0, 200);
}

#[tokio::test]
async fn webhooks_come_in_another_order() {
    let mut options = stepped();
    options.webhooks = WebhookOptions {
        batch_wait: Duration::from_millis(10),
        ..options.webhooks
    };
    let harness = start(options).await;
    ask(
        &harness,
        json!({"endpoint": "webhooks", "kind": "reorder", "delayMs": 500, "count": 1}),
    )
    .await;
    harness.writes("amara", PHONE, "one");
    harness.writes("amara", PHONE, "two");
    harness.advance(10).await;
    harness.writes("amara", PHONE, "three");
    harness.advance(1_000).await;
    let values = harness.receiver.values();
    let texts: Vec<&Value> = values
        .iter()
        .map(|value| &value["messages"][0]["text"]["body"])
        .collect();
    assert_eq!(texts, ["three", "two", "one"]);
    let received = harness.receiver.received.lock().unwrap().last().unwrap().clone();
    let secret = harness.variable("WHATSAPP_APP_SECRET");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let expected = hex::encode(aws_lc_rs::hmac::sign(&key, &received.body));
    assert_eq!(received.headers["x-hub-signature-256"], format!("sha256={expected}"));
}

#[tokio::test]
async fn a_dropped_subscription_is_silent_until_it_is_made_anew() {
    let harness = start(stepped()).await;
    ask(
        &harness,
        json!({"endpoint": "webhooks", "kind": "drop_subscription", "account": PHONE, "count": 1}),
    )
    .await;
    harness.writes("lucia", ACCOUNT, "another account");
    harness.advance(0).await;
    assert_eq!(harness.receiver.messaging().len(), 1);
    harness.writes("amara", PHONE, "lost");
    harness.advance(0).await;
    harness.writes("amara", PHONE, "lost too");
    harness.advance(0).await;
    assert!(harness.receiver.values().is_empty());
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let path = format!("/{}/subscribed_apps", harness.variable("WHATSAPP_BUSINESS_ACCOUNT_ID"));
    assert_eq!(harness.get(&path, &token).await.1, json!({"data": []}));
    harness.post(&path, &token, &json!({})).await;
    harness.writes("amara", PHONE, "heard");
    harness.advance(0).await;
    assert_eq!(harness.receiver.values().len(), 1);
}
