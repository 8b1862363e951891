//! Files in messages: fetched from Meta, uploaded by callers, handed to Meta, served.

mod bucket;
mod fetched;
mod handed_over;
mod many;
mod served;
mod uploaded;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};
use tidings_sandbox::{Content, FaultKind, FaultRequest, LedgerKind};

use crate::harness::{ADMIN_KEY, Answer, Harness};

/// A picture, as small as one can be.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0";

/// A picture that a customer sends; the sandbox draws another one for each address.
fn picture(link: &str) -> Content {
    Content::Image {
        link: link.to_owned(),
        caption: None,
        reply_to: None,
    }
}

/// A fault of downloads or uploads, once.
fn fault_of(endpoint: &str, kind: FaultKind) -> FaultRequest {
    FaultRequest {
        endpoint: endpoint.to_owned(),
        kind,
        count: Some(1),
        ..FaultRequest::default()
    }
}

impl Harness {
    /// Uploads bytes as the body of a request.
    async fn upload(&self, kind: &str, bytes: &[u8]) -> Answer {
        let request = self.request(Method::POST, "/api/v1/media").bearer_auth(ADMIN_KEY);
        self.answer(request.header(CONTENT_TYPE, kind).body(bytes.to_vec()))
            .await
    }

    /// Uploads a picture; answers with its id.
    async fn uploaded_picture(&self) -> String {
        let answer = self.upload("image/png", PNG).await.expect(201);
        answer["id"].as_str().unwrap().to_owned()
    }

    /// The files of the only message of the only conversation.
    async fn files(&self) -> Vec<Value> {
        let messages = self.messages(&self.conversation().await).await;
        assert_eq!(messages.len(), 1, "{messages:#?}");
        messages[0]["media"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the only file there is looks like that.
    async fn file_until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.until(&format!("the file {what}"), async |harness| {
            harness.nudge();
            let files = harness.files().await;
            assert_eq!(files.len(), 1, "{files:?}");
            is(&files[0]).then(|| files[0].clone())
        })
        .await
    }

    async fn file_stored(&self) -> Value {
        self.file_until("is stored", |file| file["status"] == "stored").await
    }

    /// What opens without a key: status, head and bytes.
    async fn open(&self, link: &str, headers: HeaderMap) -> (u16, HeaderMap, Vec<u8>) {
        let answer = self.request(Method::GET, link).headers(headers).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.bytes().await.unwrap().to_vec())
    }

    /// What is at an address of the sandbox.
    async fn fetch(&self, url: &str) -> Vec<u8> {
        let path = url.strip_prefix(self.sandbox.url()).unwrap();
        let answer = self.sandbox_request(path).send().await.unwrap();
        answer.bytes().await.unwrap().to_vec()
    }

    /// How often Meta was called at this place.
    fn calls(&self, method: &str, ends_with: &str) -> usize {
        let received = self.ledger(LedgerKind::Received);
        let calls = received.iter().filter(|entry| {
            entry.detail["method"] == method
                && entry.detail["path"]
                    .as_str()
                    .is_some_and(|path| path.ends_with(ends_with))
        });
        calls.count()
    }
}

/// An order of a file that was uploaded.
fn order(to: &str, kind: &str, media: &str) -> Value {
    json!({"channel": "whatsapp", "to": to, "content": {"type": kind, "mediaId": media}})
}
