//! The HTTP API: what every address answers, and that the OpenAPI document has it.

mod access;
mod channels;
mod consent;
mod conversations;
mod document;
mod documents;
mod events;
mod problems;
mod silence;
mod stream;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tidings_meta::notification::Platform;

use crate::harness::Answer;
use crate::harness::in_process::{ACCOUNT, Hub, KEY, NOW, NUMBER, json_request, on_each, on_each_with, read, request};

impl Hub {
    /// An answer, which the OpenAPI document has to know.
    async fn call(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = self.answer(request).await;
        document::knows(&method, &path, &answer);
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(request(Method::GET, path, Body::empty())).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(json_request(Method::POST, path, body)).await
    }

    /// Meta posts a notification.
    async fn notified(&self, platform: Platform, body: &[u8]) -> Answer {
        self.call(Self::notification(platform, body)).await
    }

    /// Meta posts these messages of WhatsApp, and they are understood.
    async fn told(&self, value: Value) {
        let body = json!({"object": "whatsapp_business_account",
            "entry": [{"id": "102290129340398", "changes": [{"field": "messages", "value": value}]}]});
        let answer = self.notified(Platform::WhatsApp, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        self.process().await;
    }
}

/// The value of a WhatsApp `messages` change with one text.
fn text(id: &str, from: &str, name: &str, at: i64, words: &str) -> Value {
    json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER},
        "contacts": [{"profile": {"name": name}, "wa_id": from}],
        "messages": [{"from": from, "id": id, "timestamp": (at / 1000).to_string(), "type": "text", "text": {"body": words}}]})
}

/// The value of a WhatsApp `messages` change with one status.
fn status(id: &str, to: &str, at: i64, status: &str) -> Value {
    json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER},
        "statuses": [{"id": id, "recipient_id": to, "timestamp": (at / 1000).to_string(), "status": status}]})
}

/// The values of a member of all items of a list.
#[track_caller]
fn each<'a>(list: &'a Value, member: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().map(|item| &item[member]).collect()
}
