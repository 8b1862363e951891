//! What is refused, and how it is told.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::routing::get;
use serde_json::{Value, json};
use tidings::app::App;
use tidings::http::problem::Code;
use tidings::http::request::surround;
use tower::ServiceExt;

use super::{Answer, NOW, on_each, read, request, text};

fn with_body(path: &str, kind: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut request = request(Method::POST, path, body.into());
    if let Some(kind) = kind {
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, kind.parse().unwrap());
    }
    request
}

const SEND: &str = "/api/v1/messages/send";
const REPLAY: &str = "/api/webhooks/events/replay";
const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    on_each(async |hub| {
        let get = |path: &str| request(Method::GET, path, Body::empty());
        let id = "0".repeat(32);
        let cases: Vec<(Request<Body>, Code, Option<&str>)> = vec![
            (get("/api/v1/nothing"), Code::NotFound, None),
            (get("/"), Code::NotFound, None),
            (get("/api/v1/conversations/17"), Code::NotFound, None),
            (get(&format!("/api/v1/conversations/con_{id}")), Code::NotFound, None),
            (get(&format!("/api/v1/conversations/cnv_{id}")), Code::NotFound, None),
            (
                get(&format!("/api/v1/conversations/cnv_{id}/messages")),
                Code::NotFound,
                None,
            ),
            (
                with_body(&format!("/api/v1/conversations/cnv_{id}/read"), None, ""),
                Code::NotFound,
                None,
            ),
            (get(&format!("/api/v1/contacts/con_{id}")), Code::NotFound, None),
            (get(&format!("/api/v1/messages/msg_{id}")), Code::NotFound, None),
            (
                get(&format!("/api/v1/messages/msg_{id}/timeline")),
                Code::NotFound,
                None,
            ),
            (get(&format!("/api/webhooks/events/evt_{id}")), Code::NotFound, None),
            (
                with_body(&format!("/api/webhooks/events/evt_{id}/replay"), None, ""),
                Code::NotFound,
                None,
            ),
            (get("/api/v1/messages/%FF"), Code::NotFound, None),
            (
                request(Method::DELETE, "/api/v1/channels", Body::empty()),
                Code::MethodNotAllowed,
                None,
            ),
            (get("/api/v1/conversations?limit=0"), Code::InvalidLimit, Some("limit")),
            (
                get("/api/v1/conversations?limit=201"),
                Code::InvalidLimit,
                Some("limit"),
            ),
            (get("/api/webhooks/events?limit=501"), Code::InvalidLimit, Some("limit")),
            (get("/api/v1/contacts?limit=many"), Code::InvalidLimit, Some("limit")),
            (
                get("/api/webhooks/events?offset=10001"),
                Code::InvalidOffset,
                Some("offset"),
            ),
            (
                get("/api/webhooks/events?offset=-1"),
                Code::InvalidOffset,
                Some("offset"),
            ),
            (
                get("/api/v1/conversations?cursor=xyz"),
                Code::InvalidCursor,
                Some("cursor"),
            ),
            (get("/api/v1/contacts?cursor=e30"), Code::InvalidCursor, Some("cursor")),
            (
                get("/api/webhooks/events?cursor=!"),
                Code::InvalidCursor,
                Some("cursor"),
            ),
            (
                get("/api/v1/stream?after=yesterday"),
                Code::InvalidCursor,
                Some("after"),
            ),
            (
                get("/api/v1/conversations?status=closed"),
                Code::InvalidParameter,
                Some("status"),
            ),
            (
                get("/api/v1/conversations?unread=maybe"),
                Code::InvalidParameter,
                Some("unread"),
            ),
            (
                get("/api/v1/conversations?contact=msg_1"),
                Code::InvalidParameter,
                Some("contact"),
            ),
            (
                get("/api/v1/conversations?colour=red"),
                Code::InvalidParameter,
                Some("colour"),
            ),
            (
                get("/api/v1/conversations?name=a&name=b"),
                Code::InvalidParameter,
                Some("name"),
            ),
            (
                get("/api/webhooks/events?eventType=news"),
                Code::InvalidParameter,
                Some("eventType"),
            ),
            (
                get("/api/webhooks/events?status=lost"),
                Code::InvalidParameter,
                Some("status"),
            ),
            (
                get("/api/webhooks/events?channelKind=sms"),
                Code::InvalidParameter,
                Some("channelKind"),
            ),
            (
                get("/api/webhooks/events?from=2026-11-22"),
                Code::InvalidParameter,
                Some("from"),
            ),
            (
                get("/api/v1/stream?types=message.created,news"),
                Code::InvalidParameter,
                Some("types"),
            ),
            (with_body(REPLAY, None, "{}"), Code::UnsupportedMediaType, None),
            (
                with_body(REPLAY, Some("text/plain"), "{}"),
                Code::UnsupportedMediaType,
                None,
            ),
            (with_body(REPLAY, JSON, ""), Code::InvalidJson, None),
            (with_body(REPLAY, JSON, "{"), Code::InvalidJson, None),
            (with_body(REPLAY, JSON, vec![b'"', 0xff, b'"']), Code::InvalidJson, None),
            (
                with_body(REPLAY, JSON, "[null,null,null,null,null,null,null,null,null]"),
                Code::InvalidField,
                Some("body"),
            ),
            (with_body(REPLAY, JSON, "null"), Code::InvalidField, Some("body")),
            (
                with_body(SEND, JSON, format!("{{\"metadata\":{}", "[".repeat(100_000))),
                Code::InvalidJson,
                None,
            ),
            (
                with_body(REPLAY, JSON, r#"{"kind":"messages"}"#),
                Code::InvalidField,
                Some("kind"),
            ),
            (
                with_body(REPLAY, JSON, r#"{"status":7}"#),
                Code::InvalidField,
                Some("status"),
            ),
            (
                with_body(REPLAY, JSON, r#"{"status":"lost"}"#),
                Code::InvalidField,
                Some("status"),
            ),
            (
                with_body(REPLAY, JSON, r#"{"from":"soon"}"#),
                Code::InvalidField,
                Some("from"),
            ),
            (
                with_body(REPLAY, JSON, r#"{"cursor":"?"}"#),
                Code::InvalidCursor,
                Some("cursor"),
            ),
            (
                with_body(REPLAY, JSON, " ".repeat(1024 * 1024 + 1)),
                Code::PayloadTooLarge,
                None,
            ),
        ];
        for (request, code, field) in cases {
            let what = format!("{} {}", request.method(), request.uri());
            let answer = hub.call(request).await;
            let (status, error, problem) = answer.refused();
            assert_eq!(
                (error.as_str(), status),
                (code.as_str(), code.status().as_u16()),
                "{what}: {problem}"
            );
            assert_eq!(problem["errors"][0]["field"].as_str(), field, "{what}: {problem}");
            assert_eq!(problem["type"], format!("/problems/{}", code.as_str()));
            assert_eq!(problem["title"], code.title());
            assert!(
                problem["detail"].as_str().is_some_and(|detail| detail.len() > 10),
                "{what}: {problem}"
            );
            assert_eq!(
                problem["requestId"],
                answer.headers["x-request-id"].to_str().unwrap(),
                "{what}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    on_each(async |hub| {
        let answer = hub
            .call(request(Method::PUT, "/api/webhooks/whatsapp", Body::empty()))
            .await;
        assert_eq!(answer.refused().1, "method_not_allowed");
        let allowed: BTreeSet<&str> = answer.headers[header::ALLOW].to_str().unwrap().split(',').collect();
        assert_eq!(allowed, ["GET", "HEAD", "POST"].into());
    })
    .await;
}

/// Sends a message of plain words; the request lacks or breaks something.
#[track_caller]
fn refused(answer: &Answer, code: Code) {
    let (status, error, problem) = answer.refused();
    assert_eq!(
        (error.as_str(), status),
        (code.as_str(), code.status().as_u16()),
        "{problem}"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_why() {
    on_each(async |hub| {
        hub.told(text("wamid.1", "31612345678", "Ann", NOW, "Hello")).await;
        let cases: [(Value, Code); 7] = [
            (
                json!({"channel": "telex", "to": "+31612345678", "message": "Hi"}),
                Code::UnknownChannel,
            ),
            (
                json!({"channel": "instagram", "to": "1254459154682919", "message": "Hi"}),
                Code::ChannelNotUsable,
            ),
            (
                json!({"channel": "whatsapp", "to": "Ann", "message": "Hi"}),
                Code::InvalidRecipient,
            ),
            (
                json!({"channel": "whatsapp", "to": {"contact": format!("con_{}", "0".repeat(32))}, "message": "Hi"}),
                Code::UnknownRecipient,
            ),
            (
                json!({"channel": "whatsapp", "to": "+31612345678", "message": ""}),
                Code::UnsupportedContent,
            ),
            (
                json!({"channel": "whatsapp", "to": "+31687654321", "message": "Hi"}),
                Code::WindowClosed,
            ),
            (
                json!({"channel": "whatsapp", "to": "+31612345678", "massage": "Hi"}),
                Code::InvalidField,
            ),
        ];
        for (body, code) in cases {
            refused(&hub.post(SEND, &body).await, code);
        }
        let send = |key: &'static str, words: &'static str| {
            let body = json!({"channel": "whatsapp", "to": "+31612345678", "message": words});
            let mut request = with_body(SEND, JSON, body.to_string());
            request.headers_mut().insert("idempotency-key", key.parse().unwrap());
            request
        };
        let first = hub.call(send("one", "Hi")).await;
        assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.body);
        let again = hub.call(send("one", "Hi")).await;
        assert_eq!(again.done(), first.done());
        refused(&hub.call(send("one", "Hello")).await, Code::IdempotencyKeyReused);
    })
    .await;
}

#[tokio::test]
async fn an_id_of_the_caller_is_kept_if_it_can_be() {
    on_each(async |hub| {
        for (given, is_kept) in [("order-17.4", true), ("two words", false), ("{\"a\":1}", false)] {
            let mut request = request(Method::GET, "/health/live", Body::empty());
            request.headers_mut().insert("x-request-id", given.parse().unwrap());
            let response = hub.call(request).await;
            let id = response.headers["x-request-id"].to_str().unwrap();
            assert_eq!(id == given, is_kept, "{given}");
            assert!(!id.is_empty());
        }
    })
    .await;
}

async fn panics() {
    panic!("the secret of the house");
}

#[tokio::test]
async fn a_panic_is_an_answer_that_tells_nothing() {
    on_each(async |hub| {
        let routes: Router<App> = Router::new().route("/panics", get(panics));
        let router = surround(routes, hub.app.clone());
        let answer = read(
            router
                .oneshot(request(Method::GET, "/panics", Body::empty()))
                .await
                .unwrap(),
        )
        .await;
        let (status, error, problem) = answer.refused();
        assert_eq!((status, error.as_str()), (500, "internal"));
        assert_eq!(problem["requestId"], answer.headers["x-request-id"].to_str().unwrap());
        assert!(!answer.body.contains("secret"), "{}", answer.body);
    })
    .await;
}
