//! Notifications that a test posts itself, in Meta's place: what the sandbox would never send, or not yet.

use std::path::Path;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidings_meta::signature::{self, sign};
use tidings_sandbox::{Content, FaultKind, FaultRequest};

use super::{Answer, BUSINESS_ACCOUNT, Harness, NUMBER};

/// A notification to be posted.
#[derive(Debug, Clone)]
pub struct Notification {
    path: &'static str,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl Notification {
    /// To one of the webhook addresses; not signed yet.
    pub fn to(path: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            path,
            body: body.into(),
            headers: Vec::new(),
        }
    }

    /// For WhatsApp.
    pub fn whatsapp(body: &Value) -> Self {
        Self::to("/api/webhooks/whatsapp", body.to_string())
    }

    /// For Instagram.
    pub fn instagram(body: &Value) -> Self {
        Self::to("/api/webhooks/instagram", body.to_string())
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With Meta's signature by this secret.
    pub fn signed_with(self, secret: &str) -> Self {
        let signature = sign(secret.as_bytes(), &self.body);
        self.header(signature::HEADER, &signature)
    }
}

impl Harness {
    /// Posts a notification as it is.
    pub async fn post_as_is(&self, notification: Notification) -> Answer {
        let mut request = self
            .request(Method::POST, notification.path)
            .header("content-type", "application/json");
        for (name, value) in notification.headers {
            request = request.header(name, value);
        }
        self.answer(request.body(notification.body)).await
    }

    /// Signs a notification with the secret of its app, and posts it.
    pub async fn post_signed(&self, notification: Notification) -> Answer {
        let signature = self.signature(notification.path, &notification.body);
        self.post_as_is(notification.header(signature::HEADER, &signature))
            .await
    }

    /// Meta's signature of a body that is posted to this address.
    pub fn signature(&self, path: &str, body: &[u8]) -> String {
        let name = if path.ends_with("instagram") {
            "INSTAGRAM_APP_SECRET"
        } else {
            "WHATSAPP_APP_SECRET"
        };
        let environment = self.sandbox.environment();
        let (_, secret) = environment.iter().find(|(known, _)| known == name).unwrap();
        sign(secret.as_bytes(), body)
    }

    /// Posts a WhatsApp notification, which has to be taken, and waits until it was processed.
    pub async fn whatsapp(&self, body: &Value) {
        self.post_signed(Notification::whatsapp(body)).await.expect(200);
        self.projected().await;
    }

    /// Posts an Instagram notification, which has to be taken, and waits until it was processed.
    pub async fn instagram(&self, body: &Value) {
        self.post_signed(Notification::instagram(body)).await.expect(200);
        self.projected().await;
    }
}

/// A WhatsApp notification with one value of the field `messages`, to the sandbox's number.
pub fn whatsapp_value(parts: &Value) -> Value {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "442079460100", "phone_number_id": NUMBER},
    });
    for (name, part) in parts.as_object().unwrap() {
        value[name] = part.clone();
    }
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": BUSINESS_ACCOUNT, "changes": [{"field": "messages", "value": value}]}]})
}

/// A WhatsApp notification with one text from a phone number.
pub fn whatsapp_text(id: &str, from: &str, text: &str, at_millis: i64) -> Value {
    whatsapp_value(&json!({
        "contacts": [{"wa_id": from, "profile": {"name": "Amara Okafor"}}],
        "messages": [{"id": id, "from": from, "timestamp": (at_millis / 1000).to_string(), "type": "text",
            "text": {"body": text}}],
    }))
}

/// What a customer writes.
pub fn text(text: &str) -> Content {
    Content::Text {
        text: text.to_owned(),
        reply_to: None,
    }
}

/// A fault that hits the next call that sends a message.
pub fn fault(kind: FaultKind) -> FaultRequest {
    FaultRequest {
        endpoint: "messages".to_owned(),
        kind,
        count: Some(1),
        ..FaultRequest::default()
    }
}

/// A recorded notification, and the events that are in it.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// The name of its file.
    pub name: String,
    /// The body of the POST, as it was recorded: one of them is no JSON for strict readers.
    pub body: String,
    /// Its events: `kind`, `external_id`, `account`, `occurred_at`.
    pub events: Vec<Value>,
}

#[derive(Deserialize)]
struct Recorded<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
    events: Vec<Value>,
}

/// Every recorded notification of a product, by its folder.
pub fn fixtures(product: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../meta/fixtures")
        .join(product);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        let case: Recorded<'_> = serde_json::from_str(&text).unwrap();
        Fixture {
            name: format!("{product}/{}", file.file_stem().unwrap().display()),
            body: case.body.get().to_owned(),
            events: case.events,
        }
    };
    files.iter().map(read).collect()
}
