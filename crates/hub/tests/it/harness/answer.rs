//! Calling the hub as its users do, and reading what it answers.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{ADMIN_KEY, Harness};

/// What the hub answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body, which has to be JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The document of a request that was done.
    #[track_caller]
    pub fn done(&self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.json()
    }

    /// Of a request that was refused: the status, the code, and the whole document.
    #[track_caller]
    pub fn refused(&self) -> (u16, String, Value) {
        let status = self.status.as_u16();
        let code = self.json()["error"].as_str().unwrap_or_default().to_owned();
        let document = self.problem(status, &code);
        (status, code, document)
    }

    /// A header, which has to be there.
    pub fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().unwrap()
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.json()
    }

    /// The document of a problem, which has to be one, with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document = self.json();
        assert_eq!(document["error"], code, "{document}");
        assert_eq!(document["status"], status, "{document}");
        assert!(
            document["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{document}"
        );
        document
    }

    /// The fields that a problem names.
    #[track_caller]
    pub fn fields(&self, status: u16, code: &str) -> Vec<String> {
        let document = self.problem(status, code);
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Harness {
    /// A request to the hub, without a key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// A request to read something of the sandbox.
    pub fn sandbox_request(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.sandbox.url()))
    }

    /// A request to the sandbox that changes something.
    pub fn sandbox_post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.sandbox.url()))
    }

    /// Sends a request.
    pub async fn answer(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// `GET`, with the key.
    pub async fn get(&self, path: &str) -> Answer {
        self.answer(self.request(Method::GET, path).bearer_auth(ADMIN_KEY))
            .await
    }

    /// `POST` of JSON, with the key.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.request(Method::POST, path).bearer_auth(ADMIN_KEY).json(body))
            .await
    }

    /// Sends a message, which has to be taken; answers with its id.
    #[track_caller]
    pub fn send(&self, body: Value) -> impl Future<Output = String> {
        let asked_at = std::panic::Location::caller();
        async move {
            let answer = self.post("/api/v1/messages/send", &body).await;
            assert_eq!(
                answer.status, 202,
                "{} for {body}, asked for at {asked_at}",
                answer.body
            );
            let document = answer.json();
            assert_eq!(document["status"], "queued");
            document["messageId"].as_str().unwrap().to_owned()
        }
    }

    /// Sends a text in answer to a conversation; answers with the message's id.
    pub async fn reply(&self, conversation: &Value, text: &str) -> String {
        self.send(json!({"to": {"conversation": conversation["id"]}, "message": text}))
            .await
    }

    /// A message.
    pub async fn message(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/messages/{id}")).await.expect(200)
    }

    /// What happened to a message: the kinds of things, in order, and the whole.
    pub async fn timeline(&self, id: &str) -> (Vec<String>, Value) {
        let document = self.get(&format!("/api/v1/messages/{id}/timeline")).await.expect(200);
        let items = document["timeline"].as_array().unwrap();
        let kinds = items
            .iter()
            .map(|item| item["kind"].as_str().unwrap().to_owned())
            .collect();
        (kinds, document)
    }

    /// What a customer sees of a thread on their phone, the oldest message first.
    pub async fn phone(&self, customer: &str, account: &str) -> Vec<Value> {
        let url = format!("{}/sandbox/customers/{customer}/threads/{account}", self.sandbox.url());
        let thread = self.answer(self.http.get(url)).await.expect(200);
        thread["messages"].as_array().unwrap().clone()
    }

    /// All conversations, those with the newest message first.
    pub async fn conversations(&self) -> Vec<Value> {
        self.list("/api/v1/conversations?limit=200", "conversations").await
    }

    /// The only conversation that there is.
    pub async fn conversation(&self) -> Value {
        let conversations = self.conversations().await;
        assert_eq!(conversations.len(), 1, "{conversations:#?}");
        conversations[0].clone()
    }

    /// The messages of a conversation, the oldest first.
    pub async fn messages(&self, conversation: &Value) -> Vec<Value> {
        let id = conversation["id"].as_str().unwrap();
        let mut messages = self
            .list(&format!("/api/v1/conversations/{id}/messages?limit=200"), "messages")
            .await;
        messages.reverse();
        messages
    }

    /// A contact with their addresses.
    pub async fn contact(&self, id: &Value) -> Value {
        self.get(&format!("/api/v1/contacts/{}", id.as_str().unwrap()))
            .await
            .expect(200)
    }

    /// The events of a filter, the newest first.
    pub async fn events(&self, filter: &str) -> Vec<Value> {
        self.list(&format!("/api/webhooks/events?limit=500&{filter}"), "events")
            .await
    }

    /// The quarantined notifications, the newest first.
    pub async fn quarantined(&self) -> Vec<Value> {
        self.list("/api/webhooks/notifications/quarantined?limit=200", "notifications")
            .await
    }

    /// A whole list, over all of its pages.
    async fn list(&self, path: &str, name: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page = self.get(&format!("{path}{after}")).await.expect(200);
            found.extend(page[name].as_array().unwrap().iter().cloned());
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return found;
            }
        }
    }

    /// The count in one line of the metrics, labels included; 0 where there is no such line.
    pub async fn metric(&self, line: &str) -> u64 {
        let metrics = self.get("/metrics").await;
        assert_eq!(metrics.status, 200);
        let value = metrics
            .body
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }
}
