//! A sandbox with a stepped clock, a small receiver as its subscriber, and a client.

#![allow(dead_code, reason = "each test binary uses its part of it")]
#![expect(
    clippy::disallowed_methods,
    reason = "the receiver and the client live as long as their test"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};
use tidings_sandbox::{
    Content, Delays, FaultKind, FaultRequest, LedgerEntry, LedgerKind, Object, Options, Sandbox, Time, WebhookOptions,
};

pub(crate) const START: i64 = 1_795_000_000_000;
pub(crate) const PHONE: &str = "200000000000001";
pub(crate) const ACCOUNT: &str = "17841400000000001";
pub(crate) const VERIFY: &str = "verify me";

// --- The receiver -------------------------------------------------------------------------------------------------------

/// One POST as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Receiver {
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    /// The statuses of the next answers; 200 when there is none left.
    pub(crate) answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    pub(crate) async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/hook", get(handshake).post(receive))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    pub(crate) fn bodies(&self) -> Vec<Value> {
        let received = self.received.lock().unwrap();
        received
            .iter()
            .map(|received| serde_json::from_slice(&received.body).unwrap())
            .collect()
    }

    /// Every `value` of every change, in order.
    pub(crate) fn values(&self) -> Vec<Value> {
        self.items("changes")
            .into_iter()
            .map(|change| change["value"].clone())
            .collect()
    }

    pub(crate) fn statuses(&self) -> Vec<Value> {
        self.values()
            .iter()
            .flat_map(|value| value["statuses"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    pub(crate) fn messaging(&self) -> Vec<Value> {
        self.items("messaging")
    }

    pub(crate) fn items(&self, key: &str) -> Vec<Value> {
        self.bodies()
            .iter()
            .flat_map(|body| body["entry"].as_array().cloned().unwrap())
            .flat_map(|entry| entry[key].as_array().cloned().unwrap_or_default())
            .collect()
    }
}

pub(crate) async fn handshake(RawQuery(query): RawQuery) -> (StatusCode, String) {
    let query = query.unwrap_or_default();
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_owned))
            .unwrap_or_default()
    };
    if value("hub.mode") == "subscribe" && value("hub.verify_token").replace("%20", "+") == VERIFY.replace(' ', "+") {
        (StatusCode::OK, value("hub.challenge"))
    } else {
        (StatusCode::FORBIDDEN, String::new())
    }
}

pub(crate) async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.received.lock().unwrap().push(Received { headers, body });
    let answer = receiver.answers.lock().unwrap().pop_front().unwrap_or(200);
    StatusCode::from_u16(answer).unwrap()
}

// --- The harness --------------------------------------------------------------------------------------------------------

/// A sandbox with a stepped clock and a receiver that both objects are subscribed to.
pub(crate) struct Harness {
    pub(crate) sandbox: Sandbox,
    pub(crate) receiver: Receiver,
    pub(crate) http: reqwest::Client,
}

pub(crate) fn stepped() -> Options {
    Options {
        time: Time::Stepped { start_millis: START },
        webhooks: WebhookOptions {
            parallel: 1,
            ..WebhookOptions::default()
        },
        delays: Delays {
            sent: Duration::from_millis(100),
            delivered: Duration::from_millis(200),
            read: Some(Duration::from_secs(2)),
        },
        ..Options::default()
    }
}

pub(crate) async fn start(options: Options) -> Harness {
    let sandbox = Sandbox::start(options).await.unwrap();
    let receiver = Receiver::default();
    let url = receiver.start().await;
    for object in [Object::WhatsApp, Object::Instagram] {
        sandbox.subscribe(object, &url, VERIFY).await.unwrap();
    }
    Harness {
        sandbox,
        receiver,
        http: reqwest::Client::new(),
    }
}

impl Harness {
    pub(crate) fn variable(&self, name: &str) -> String {
        let environment = self.sandbox.environment();
        environment.into_iter().find(|(found, _)| found == name).unwrap().1
    }

    pub(crate) async fn call(&self, request: reqwest::RequestBuilder, token: &str) -> (u16, Value) {
        let answer = request.bearer_auth(token).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.call(self.http.get(format!("{}{path}", self.sandbox.url())), token)
            .await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.sandbox.url()));
        self.call(request.json(body), token).await
    }

    pub(crate) async fn whatsapp(&self, body: Value) -> (u16, Value) {
        let mut whole = json!({"messaging_product": "whatsapp"});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let token = self.variable("WHATSAPP_ACCESS_TOKEN");
        self.post(&format!("/v26.0/{PHONE}/messages"), &token, &whole).await
    }

    pub(crate) async fn instagram(&self, body: Value) -> (u16, Value) {
        let token = self.variable("META_IG_ACCESS_TOKEN");
        self.post(&format!("/v26.0/{ACCOUNT}/messages"), &token, &body).await
    }

    pub(crate) async fn advance(&self, millis: u64) {
        self.sandbox.advance(Duration::from_millis(millis)).await;
    }

    pub(crate) fn writes(&self, customer: &str, account: &str, text: &str) -> String {
        self.sandbox.write(customer, account, say(text)).unwrap().0
    }

    pub(crate) async fn igsid(&self, customer: &str) -> String {
        let (_, state) = self.get("/sandbox/state", "").await;
        let customers = state["customers"].as_array().unwrap().clone();
        let found = customers.iter().find(|found| found["id"] == customer).unwrap().clone();
        found["igsid"].as_str().unwrap().to_owned()
    }

    pub(crate) fn entries(&self, kind: LedgerKind) -> Vec<LedgerEntry> {
        let entries = self.sandbox.ledger();
        entries.into_iter().filter(|entry| entry.kind == kind).collect()
    }
}

pub(crate) fn say(text: &str) -> Content {
    Content::Text {
        text: text.to_owned(),
        reply_to: None,
    }
}

pub(crate) fn text_to(to: &str, text: &str) -> Value {
    json!({"to": to, "type": "text", "text": {"body": text}})
}

pub(crate) fn code(answer: &(u16, Value)) -> (u16, i64, Option<i64>) {
    let error = &answer.1["error"];
    assert!(error["fbtrace_id"].is_string(), "an error bears a trace id: {answer:?}");
    (
        answer.0,
        error["code"].as_i64().unwrap(),
        error["error_subcode"].as_i64(),
    )
}

pub(crate) fn fault(kind: FaultKind, count: u64) -> FaultRequest {
    serde_json::from_value(json!({"endpoint": "messages", "kind": kind, "count": count})).unwrap()
}
