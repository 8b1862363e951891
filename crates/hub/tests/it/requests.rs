//! Everything that can be asked about a message on its way out: how, when, by which channel, in which crowd; and what operators do about it.

mod batch;
mod cancel;
mod long_form;
mod queue;
mod schedule;
mod waiting;
mod window;

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest};

use crate::harness::{ADMIN_KEY, Answer, Harness, NUMBER, fault, text};

const SEND: &str = "/api/v1/messages/send";
const BATCH: &str = "/api/v1/messages/batch";
const PHONE: &str = "+447700900101";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Amara writes, so that she can be answered.
async fn written_to(harness: &Harness) -> Value {
    harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
    harness.projected().await;
    harness.conversation().await
}

/// A time so far from now, as callers write it.
fn after(harness: &Harness, time: Duration) -> String {
    let at: Timestamp = harness.clock.now() + time;
    at.to_string()
}

fn template() -> Value {
    json!({"name": "hello_world", "language": "en_US"})
}

/// Meta refuses the next sends so.
fn refuse(harness: &mut Harness, code: i64, count: u64) {
    let request = FaultRequest {
        code: Some(code),
        count: Some(count),
        ..fault(FaultKind::Error)
    };
    harness.sandbox.fault(request).unwrap();
    harness.foresee_refusals(&[code]);
}

async fn delete(harness: &Harness, id: &str) -> Answer {
    let request = harness.request(Method::DELETE, &format!("/api/v1/messages/{id}"));
    harness.answer(request.bearer_auth(ADMIN_KEY)).await
}

async fn post_with_key(harness: &Harness, path: &str, key: &str, body: &Value) -> Answer {
    let request = harness.request(Method::POST, path).bearer_auth(ADMIN_KEY);
    harness.answer(request.header("idempotency-key", key).json(body)).await
}

/// What a message waits for.
async fn waiting(harness: &Harness, id: &str) -> Value {
    harness.timeline(id).await.1["waiting"].clone()
}
