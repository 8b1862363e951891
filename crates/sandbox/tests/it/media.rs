//! Files: uploads and attachments with their limits, links and what can go wrong with a download, files that messages link to.

#![expect(clippy::disallowed_methods, reason = "the server of files ends with the test")]

use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, serve};
use serde_json::{Value, json};
use tidings_sandbox::{Content, FaultKind, FaultRequest, LedgerKind, TransferCount};
use tokio::net::TcpListener;

use super::harness::{ACCOUNT, Harness, PHONE, code, start, stepped};

const MIB: usize = 1024 * 1024;

/// Posts a form with a file; answers with the status and the document.
async fn upload(harness: &Harness, edge: &str, fields: &[(&str, &str)], file: (&str, &str, Vec<u8>)) -> (u16, Value) {
    let (name, mime, bytes) = file;
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.into_bytes());
    }
    let head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\nContent-Type: {mime}\r\n\r\n"
    );
    body.extend(head.into_bytes());
    body.extend(bytes);
    body.extend(b"\r\n--b--\r\n");
    let token = match edge.split_once('/') {
        Some((ACCOUNT, _)) => harness.variable("META_IG_ACCESS_TOKEN"),
        _ => harness.variable("WHATSAPP_ACCESS_TOKEN"),
    };
    let url = format!("{}/v26.0/{edge}", harness.sandbox.url());
    let request = harness
        .http
        .post(url)
        .header("content-type", "multipart/form-data; boundary=b");
    harness.call(request.body(body), &token).await
}

#[tokio::test]
async fn a_file_has_the_size_that_its_type_may_have() {
    let harness = start(stepped()).await;
    let media = format!("{PHONE}/media");
    let fields = [("messaging_product", "whatsapp")];
    for (mime, most) in [
        ("image/jpeg", 5 * MIB),
        ("video/mp4", 16 * MIB),
        ("image/webp", 500 * 1024),
    ] {
        let (status, answer) = upload(&harness, &media, &fields, ("file", mime, vec![7; most])).await;
        assert_eq!(status, 200, "{mime}: {answer}");
        let refused = upload(&harness, &media, &fields, ("file", mime, vec![7; most + 1])).await;
        assert_eq!(code(&refused), (400, 131_053, None), "{mime}");
    }
    let empty = upload(&harness, &media, &fields, ("file", "image/png", Vec::new())).await;
    assert_eq!(code(&empty), (400, 131_053, None));
    let no_product = upload(&harness, &media, &[], ("file", "image/png", vec![7])).await;
    assert_eq!(code(&no_product), (400, 100, None));
    assert_eq!(harness.sandbox.transfers().total, 8);
    assert_eq!(harness.sandbox.transfers().now, 0);
}

#[tokio::test]
async fn an_attachment_is_taken_once_and_sent_by_its_id() {
    let harness = start(stepped()).await;
    let edge = format!("{ACCOUNT}/message_attachments");
    let message = |kind: &str| json!({"attachment": {"type": kind, "payload": {"is_reusable": true}}}).to_string();
    for (kind, mime, most) in [("image", "image/png", 8 * MIB), ("file", "application/pdf", 25 * MIB)] {
        let message = message(kind);
        let fields = [("message", message.as_str())];
        let (status, answer) = upload(&harness, &edge, &fields, ("filedata", mime, vec![7; most])).await;
        assert_eq!(status, 200, "{kind}: {answer}");
        assert!(answer["attachment_id"].is_string(), "{answer}");
        let refused = upload(&harness, &edge, &fields, ("filedata", mime, vec![7; most + 1])).await;
        assert_eq!(code(&refused), (400, 100, Some(2_018_109)), "{kind}");
        let refused = upload(&harness, &edge, &fields, ("filedata", "image/x-other", vec![7])).await;
        assert_eq!(code(&refused), (400, 100, Some(2_018_047)), "{kind}");
    }
}

#[tokio::test]
async fn a_download_can_be_damaged_in_every_way() {
    let harness = start(stepped()).await;
    let picture = Content::Image {
        link: "https://pictures.example/1.jpg".to_owned(),
        caption: None,
        reply_to: None,
    };
    harness.sandbox.write("lucia", ACCOUNT, picture).unwrap();
    harness.advance(0).await;
    let url = harness.receiver.messaging()[0]["message"]["attachments"][0]["payload"]["url"].clone();
    let url = url.as_str().unwrap();
    let whole = harness.http.get(url).send().await.unwrap().bytes().await.unwrap();
    let ask = |kind| FaultRequest {
        endpoint: "media.download".to_owned(),
        kind,
        count: Some(1),
        ..FaultRequest::default()
    };
    harness.sandbox.fault(ask(FaultKind::Truncate)).unwrap();
    let cut = async { harness.http.get(url).send().await?.bytes().await };
    assert!(cut.await.is_err(), "it breaks off");
    harness.sandbox.fault(ask(FaultKind::Corrupt)).unwrap();
    let other = harness.http.get(url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(other.len(), whole.len());
    assert_ne!(other, whole);
    harness.sandbox.fault(ask(FaultKind::Page)).unwrap();
    let page = harness.http.get(url).send().await.unwrap();
    assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let again = harness.http.get(url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(again, whole, "each happens as often as it was asked for");
    harness.advance(7 * 86_400_000).await;
    assert_eq!(harness.http.get(url).send().await.unwrap().status(), 403, "it is over");
}

#[tokio::test]
async fn transfers_are_counted_while_they_last() {
    let harness = start(stepped()).await;
    let picture = json!({"type": "image", "link": "data:image/jpeg;base64,Zm9v"});
    let path = format!("/sandbox/customers/amara/threads/{PHONE}/messages");
    harness.post(&path, "", &picture).await;
    harness.advance(0).await;
    let url = harness.receiver.values()[0]["messages"][0]["image"]["url"].clone();
    let delay = FaultRequest {
        endpoint: "media.download".to_owned(),
        kind: FaultKind::Delay,
        delay_ms: Some(1_000),
        ..FaultRequest::default()
    };
    harness.sandbox.fault(delay).unwrap();
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let fetch = async || {
        let answer = harness
            .http
            .get(url.as_str().unwrap())
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        answer.bytes().await.unwrap()
    };
    let watch = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while harness.sandbox.transfers().now < 3 {
            looks.tick().await;
        }
        harness.advance(1_000).await;
    };
    let (one, two, three, ()) = tokio::join!(fetch(), fetch(), fetch(), watch);
    assert_eq!([&one[..], &two[..], &three[..]], [b"foo"; 3]);
    let count = TransferCount {
        now: 0,
        most: 3,
        total: 3,
    };
    assert_eq!(harness.sandbox.transfers(), count);
    assert_eq!(
        harness.get("/sandbox/transfers", "").await.1,
        json!({"now": 0, "most": 3, "total": 3})
    );
}

/// A server of files on this machine; answers with its address.
async fn files() -> String {
    let router = Router::new()
        .route(
            "/a.jpg",
            get(|| async { ([(header::CONTENT_TYPE, "image/jpeg")], "a picture") }),
        )
        .route(
            "/a.html",
            get(|| async { ([(header::CONTENT_TYPE, "text/html")], "<p>no picture") }),
        )
        .route(
            "/large.jpg",
            get(|| async {
                ([(header::CONTENT_TYPE, "image/jpeg")], Body::from(vec![7; 5 * MIB + 1])).into_response()
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn a_message_whose_link_leads_to_no_such_file_fails() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let files = files().await;
    for (link, is_sent) in [
        (format!("{files}/a.jpg"), true),
        ("https://cdn.example.org/never-asked-for.jpg".to_owned(), true),
        (format!("{files}/a.html"), false),
        (format!("{files}/large.jpg"), false),
        (format!("{files}/missing.jpg"), false),
    ] {
        let message = json!({"to": "447700900101", "type": "image", "image": {"link": link}});
        let (status, answer) = harness.whatsapp(message).await;
        assert_eq!(status, 200, "{link}: it is found out later");
        harness.advance(10_000).await;
        let id = answer["messages"][0]["id"].clone();
        let statuses = harness.receiver.statuses();
        let last = statuses.iter().rfind(|status| status["id"] == id).unwrap();
        let failed = last["errors"][0]["code"].as_i64();
        assert_eq!(failed, (!is_sent).then_some(131_053), "{link}: {last}");
    }
    assert!(harness.entries(LedgerKind::Refused).is_empty());
}
