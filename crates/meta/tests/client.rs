//! The Graph client against servers on loopback that answer well, badly, or not at all.

#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::serve::ListenerExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use tidings_meta::client::{
    CallError, Carried, Carrier, ClientError, ClientOptions, Exchange, GraphClient, Sent, Subscription, Usage,
};
use tidings_meta::error::{Class, GraphError, explain};
use tidings_meta::notification::Platform;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

const TOKEN: &str = "EAAJZCtoken5ecret0fTheChannel";
const NUMBER: &str = "418205937761245";
const HTML: &str = "<html><body>Sorry, something went wrong.</body></html>";

/// Far more than any answer on loopback takes; no test waits for it.
const LONG: Duration = Duration::from_secs(30);
/// For tests in which this time must pass.
const SHORT: Duration = Duration::from_millis(150);

fn token() -> SecretString {
    TOKEN.into()
}

fn options(base_url: &str) -> ClientOptions {
    ClientOptions {
        connect_timeout: LONG,
        request_timeout: LONG,
        answer_bytes_max: 4096,
        ..ClientOptions::new(base_url, "v26.0")
    }
}

fn client(base_url: &str) -> GraphClient {
    GraphClient::new(options(base_url)).unwrap()
}

async fn send(client: &GraphClient) -> Exchange<Sent> {
    let body = json!({"messaging_product": "whatsapp", "to": "+447700900123", "type": "text", "text": {"body": "Hi"}});
    client.send_whatsapp(&token(), NUMBER, &body).await
}

/// One request as a server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A well-behaved HTTP server with one answer for everything.
struct Server {
    base_url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    /// Dropping it ends the server.
    _task: JoinSet<()>,
}

impl Server {
    async fn start<R: IntoResponse>(answer: impl Fn() -> R + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(answer);
        let handler = {
            let seen = Arc::clone(&seen);
            move |request: Request| {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                async move {
                    let (parts, body) = request.into_parts();
                    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                    seen.lock().unwrap().push(Seen {
                        method: parts.method,
                        uri: parts.uri,
                        headers: parts.headers,
                        body,
                    });
                    answer().into_response()
                }
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let counted = {
            let connections = Arc::clone(&connections);
            listener.tap_io(move |_| {
                connections.fetch_add(1, Ordering::SeqCst);
            })
        };
        let router = Router::new().fallback(handler);
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(counted, router).await.unwrap() });
        Self {
            base_url,
            seen,
            connections,
            _task: task,
        }
    }

    async fn json(status: u16, answer: Value) -> Self {
        Self::start(move || (StatusCode::from_u16(status).unwrap(), answer.to_string())).await
    }

    fn client(&self) -> GraphClient {
        client(&self.base_url)
    }

    fn only_request(&self) -> Seen {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        seen[0].clone()
    }
}

/// What a misbehaving server does once it has read a whole request.
#[derive(Clone)]
enum Misbehaviour {
    /// Cuts the connection with a reset.
    Reset,
    /// Closes it in an orderly way.
    Close,
    /// Sends this, then closes.
    SendAndClose(String),
    /// Sends this, then keeps the connection open for ever.
    SendAndHang(String),
}

/// A server on bare TCP.
struct Misbehaving {
    base_url: String,
    /// How many requests it has read.
    requests: Arc<AtomicUsize>,
    /// Dropping it ends the server.
    _task: JoinSet<()>,
}

async fn misbehaving(misbehaviour: Misbehaviour) -> Misbehaving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(misbehave(stream, misbehaviour.clone(), Arc::clone(&counter)));
        }
    });
    Misbehaving {
        base_url,
        requests,
        _task: task,
    }
}

async fn misbehave(mut stream: TcpStream, misbehaviour: Misbehaviour, requests: Arc<AtomicUsize>) {
    read_request(&mut stream).await;
    requests.fetch_add(1, Ordering::SeqCst);
    match misbehaviour {
        Misbehaviour::Reset => stream.set_zero_linger().unwrap(),
        Misbehaviour::Close => {}
        Misbehaviour::SendAndClose(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
        Misbehaviour::SendAndHang(answer) => {
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        }
    }
}

/// Reads the head and as much body as it announces.
async fn read_request(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let announced = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= announced {
            return;
        }
    }
}

fn assert_not_sent<T: std::fmt::Debug>(exchange: &Exchange<T>) -> &str {
    assert_eq!(exchange.http_status, None);
    assert_eq!(exchange.answer, "");
    match &exchange.outcome {
        Err(CallError::NotSent { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

fn assert_unknown<T: std::fmt::Debug>(exchange: &Exchange<T>, status: Option<u16>) -> &str {
    assert_eq!(exchange.http_status, status);
    match &exchange.outcome {
        Err(CallError::Unknown { reason, http_status }) => {
            assert_eq!(*http_status, status);
            reason
        }
        other => panic!("{other:?}"),
    }
}

fn assert_unreadable<T: std::fmt::Debug>(exchange: &Exchange<T>, status: u16) -> &str {
    assert_eq!(exchange.http_status, Some(status));
    match &exchange.outcome {
        Err(CallError::Unreadable {
            reason, http_status, ..
        }) => {
            assert_eq!(*http_status, status);
            reason
        }
        other => panic!("{other:?}"),
    }
}

fn assert_refused<T: std::fmt::Debug>(exchange: &Exchange<T>) -> &GraphError {
    match &exchange.outcome {
        Err(CallError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

// Accepted

#[tokio::test]
async fn a_whatsapp_message_is_sent() {
    let answer = json!({"messaging_product": "whatsapp",
        "contacts": [{"input": "+447700900123", "wa_id": "447700900123", "user_id": "GB.48201937562840117365"}],
        "messages": [{"id": "wamid.HBgM", "message_status": "accepted"}]});
    let server = Server::json(200, answer.clone()).await;
    let exchange = send(&server.client()).await;
    let expected = Sent {
        message_id: Some("wamid.HBgM".to_owned()),
        recipient_phone: Some("447700900123".to_owned()),
        recipient_user_id: Some("GB.48201937562840117365".to_owned()),
        ..Sent::default()
    };
    assert_eq!(exchange.outcome, Ok(expected));
    assert_eq!(exchange.http_status, Some(200));
    assert_eq!(exchange.answer, answer.to_string());
    assert!(exchange.elapsed > Duration::ZERO);

    let request = server.only_request();
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.uri, "/v26.0/418205937761245/messages");
    assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(request.headers["content-type"], "application/json");
    let agent = request.headers["user-agent"].to_str().unwrap();
    assert!(agent.starts_with("tidings/"));
    assert_eq!(request.json()["text"]["body"], "Hi");
}

#[tokio::test]
async fn a_template_can_be_held_or_paused() {
    for (status, held, paused) in [
        ("accepted", false, false),
        ("held_for_quality_assessment", true, false),
        ("paused", false, true),
    ] {
        let answer = json!({"messages": [{"id": "wamid.1", "message_status": status}]});
        let server = Server::json(200, answer).await;
        let sent = send(&server.client()).await.outcome.unwrap();
        assert_eq!((sent.held, sent.paused), (held, paused), "{status}");
    }
}

#[tokio::test]
async fn an_instagram_message_is_sent_and_an_action_needs_no_id() {
    let body = json!({"recipient": {"id": "1029384756102938"}, "message": {"text": "Hi"}});
    let action = json!({"recipient": {"id": "1029384756102938"}, "sender_action": "typing_on"});

    let answer = json!({"recipient_id": "1029384756102938", "message_id": "aWdfZAG1"});
    let server = Server::json(200, answer).await;
    let exchange = server
        .client()
        .send_instagram(&token(), "17841460012345678", &body)
        .await;
    let sent = exchange.outcome.unwrap();
    assert_eq!(sent.message_id.as_deref(), Some("aWdfZAG1"));
    assert_eq!(sent.recipient_id.as_deref(), Some("1029384756102938"));
    let request = server.only_request();
    assert_eq!(request.uri, "/v26.0/17841460012345678/messages");
    assert_eq!(request.json(), body);

    let server = Server::json(200, json!({"recipient_id": "1029384756102938"})).await;
    let client = server.client();
    let exchange = client.send_instagram(&token(), "17841460012345678", &action).await;
    assert_eq!(exchange.outcome.unwrap().message_id, None);
    let exchange = client.send_instagram(&token(), "17841460012345678", &body).await;
    assert_unknown(&exchange, Some(200));
}

#[tokio::test]
async fn success_comes_as_a_boolean_or_as_text() {
    for success in [json!(true), json!("true")] {
        let server = Server::json(200, json!({"success": success})).await;
        let exchange = server.client().mark_read_whatsapp(&token(), NUMBER, "wamid.T1").await;
        assert_eq!(exchange.outcome, Ok(()));
        let expected = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.T1"});
        assert_eq!(server.only_request().json(), expected);
    }
    let server = Server::json(200, json!({"success": false})).await;
    let exchange = server.client().show_typing_whatsapp(&token(), NUMBER, "wamid.T1").await;
    assert_unreadable(&exchange, 200);
    assert_eq!(
        server.only_request().json()["typing_indicator"],
        json!({"type": "text"})
    );
}

#[tokio::test]
async fn connections_are_kept_and_shared_by_clones() {
    let server = Server::json(200, json!({"messages": [{"id": "wamid.1"}]})).await;
    let client = server.client();
    for client in [client.clone(), client.with_version("v25.0").unwrap(), client] {
        assert!(send(&client).await.outcome.is_ok());
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let seen = server.seen.lock().unwrap();
    let versions: Vec<&str> = seen.iter().map(|seen| &seen.uri.path()[..7]).collect();
    assert_eq!(versions, ["/v26.0/", "/v25.0/", "/v26.0/"]);
}

// Certainly not received

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let exchange = send(&client(&base_url)).await;
    let reason = assert_not_sent(&exchange);
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_is_not_sent() {
    // A listener that accepts nobody and whose queue is full: further connections hang.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    // Once may be a machine that has much to do.
    let mut hung = 0;
    while hung < 3 {
        if let Ok(stream) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
            assert!(queued.len() < 64, "the queue never fills");
            hung = 0;
        } else {
            hung += 1;
        }
    }
    // The time for the answer is shorter still: it must not be what strikes.
    let client = GraphClient::new(ClientOptions {
        connect_timeout: SHORT,
        request_timeout: Duration::from_millis(50),
        ..options(&format!("http://{address}"))
    });
    let exchange = send(&client.unwrap()).await;
    let reason = assert_not_sent(&exchange);
    assert!(reason.contains("deadline has elapsed"), "{reason}");
    assert!(exchange.elapsed >= SHORT);
}

#[tokio::test]
async fn what_would_make_another_request_is_not_sent() {
    let server = Server::json(200, json!({"messages": [{"id": "wamid.1"}]})).await;
    let client = server.client();
    for id in ["", "..", "1/2", "1?fields=x", "1#", "1 2", "ä", "%2e"] {
        let exchange = client.send_whatsapp(&token(), id, &json!({})).await;
        assert_not_sent(&exchange);
    }
    for token in ["line\nbreak5ecret", "nul\0byte5ecret"] {
        let exchange = client.send_whatsapp(&token.into(), NUMBER, &json!({})).await;
        assert_not_sent(&exchange);
        assert!(!format!("{exchange:?}").contains("5ecret"));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

// Possibly received

#[tokio::test]
async fn no_answer_in_time_is_unknown() {
    let server = misbehaving(Misbehaviour::SendAndHang(String::new())).await;
    let client = GraphClient::new(ClientOptions {
        connect_timeout: SHORT,
        request_timeout: SHORT,
        ..options(&server.base_url)
    });
    let exchange = send(&client.unwrap()).await;
    let reason = assert_unknown(&exchange, None);
    assert!(reason.contains("timed out"), "{reason}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_cut_after_the_request_is_unknown_and_not_repeated() {
    for misbehaviour in [Misbehaviour::Reset, Misbehaviour::Close] {
        let server = misbehaving(misbehaviour).await;
        let exchange = send(&client(&server.base_url)).await;
        assert_unknown(&exchange, None);
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_unknown() {
    let server = misbehaving(Misbehaviour::SendAndClose("oops\r\n\r\n".to_owned())).await;
    let exchange = send(&client(&server.base_url)).await;
    assert_unknown(&exchange, None);
}

#[tokio::test]
async fn a_success_that_names_no_message_is_unknown() {
    for answer in [
        "",
        "{}",
        "[]",
        "null",
        "OK",
        r#"{"success":true}"#,
        r#"{"messages":[]}"#,
        r#"{"messages":[{"id":""}]}"#,
        r#"{"messages":[{"id":"wamid.1""#,
        r#"{"error":{"message":"no code"},"messages":[{"id":"wamid.1"}]}"#,
    ] {
        let server = Server::start(move || answer).await;
        let exchange = send(&server.client()).await;
        assert_unknown(&exchange, Some(200));
        assert_eq!(exchange.answer, answer);
    }
}

fn announced(status: &str, length: usize, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_cut_answer_to_a_send_is_unknown_if_it_began_as_a_success() {
    let success = announced("200 OK", 500, r#"{"messages":[{"id":"wam"#);
    let server = misbehaving(Misbehaviour::SendAndClose(success.clone())).await;
    let exchange = send(&client(&server.base_url)).await;
    assert_unknown(&exchange, Some(200));
    assert_eq!(exchange.answer, r#"{"messages":[{"id":"wam"#);

    let server = misbehaving(Misbehaviour::SendAndHang(success)).await;
    let hurried = GraphClient::new(ClientOptions {
        connect_timeout: SHORT,
        request_timeout: SHORT,
        ..options(&server.base_url)
    });
    let exchange = send(&hurried.unwrap()).await;
    assert_unknown(&exchange, Some(200));

    let failure = announced("400 Bad Request", 500, r#"{"error":{"mess"#);
    let server = misbehaving(Misbehaviour::SendAndClose(failure)).await;
    let exchange = send(&client(&server.base_url)).await;
    assert_unreadable(&exchange, 400);
}

#[tokio::test]
async fn an_answer_that_is_whole_in_spite_of_a_cut_counts() {
    let whole = announced("200 OK", 500, r#"{"messages":[{"id":"wamid.1"}]}"#);
    let server = misbehaving(Misbehaviour::SendAndClose(whole)).await;
    let sent = send(&client(&server.base_url)).await.outcome.unwrap();
    assert_eq!(sent.message_id.as_deref(), Some("wamid.1"));
}

// Refused

fn pair_limit() -> Value {
    json!({"error": {"message": "(#131056) pair rate limit hit", "type": "OAuthException", "code": 131_056,
        "error_data": {"messaging_product": "whatsapp", "details": "Too many messages to the same user."},
        "fbtrace_id": "AbT1x8Qm0ZfKcE2vY7LwR5n"}})
}

#[tokio::test]
async fn an_error_object_is_a_refusal_whatever_the_status() {
    for status in [200, 400, 403, 429, 500] {
        let server = Server::json(status, pair_limit()).await;
        let exchange = send(&server.client()).await;
        let error = assert_refused(&exchange);
        assert_eq!((error.code, error.http_status), (131_056, status));
        assert_eq!(error.details.as_deref(), Some("Too many messages to the same user."));
        let class = explain(Platform::WhatsApp, error).class;
        assert_eq!(class, Class::PairLimit);
    }
}

#[tokio::test]
async fn error_data_may_be_a_string_that_holds_json() {
    let answer = json!({"error": {"message": "(#100) Invalid parameter", "code": 100, "error_subcode": 2_534_015,
        "is_transient": false, "error_data": r#"{"messaging_product":"whatsapp","details":"Recipient is missing"}"#}});
    let server = Server::json(400, answer).await;
    let exchange = send(&server.client()).await;
    let error = assert_refused(&exchange);
    assert_eq!(error.details.as_deref(), Some("Recipient is missing"));
    assert_eq!(error.subcode, Some(2_534_015));
    assert_eq!(error.is_transient, Some(false));
}

// Unreadable

#[tokio::test]
async fn an_html_page_is_unreadable() {
    let server = Server::start(|| {
        let headers = [("retry-after", "120"), ("content-type", "text/html")];
        (StatusCode::SERVICE_UNAVAILABLE, headers, HTML)
    })
    .await;
    let exchange = send(&server.client()).await;
    assert_unreadable(&exchange, 503);
    assert_eq!(exchange.answer, HTML);
    let two_minutes = Some(Duration::from_mins(2));
    assert_eq!(exchange.usage.retry_after, two_minutes);
    let Err(CallError::Unreadable { retry_after, .. }) = exchange.outcome else {
        panic!("{exchange:?}");
    };
    assert_eq!(retry_after, two_minutes);
}

#[tokio::test]
async fn an_answer_without_an_error_object_is_unreadable() {
    for (status, answer) in [
        (500, ""),
        (400, "{}"),
        (400, r#"{"error":"words"}"#),
        (404, r#"{"error":{"message":"no code"}}"#),
        (400, r#"{"messages":[{"id":"wamid.1"}]}"#),
    ] {
        let server = Server::start(move || (StatusCode::from_u16(status).unwrap(), answer)).await;
        let exchange = send(&server.client()).await;
        assert_unreadable(&exchange, status);
    }
}

#[tokio::test]
async fn a_question_answered_with_something_else_is_unreadable() {
    for answer in ["", "[]", HTML, r#"{"name":"no id"}"#] {
        let server = Server::start(move || answer).await;
        let exchange = server.client().phone_number(&token(), NUMBER).await;
        assert_unreadable(&exchange, 200);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(|| (StatusCode::FOUND, [("location", "/elsewhere")], "")).await;
    let exchange = send(&server.client()).await;
    assert_unreadable(&exchange, 302);
    server.only_request();
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_bound() {
    let server = Server::start(|| (StatusCode::BAD_REQUEST, "x".repeat(1 << 20))).await;
    let exchange = send(&server.client()).await;
    let reason = assert_unreadable(&exchange, 400);
    assert!(reason.contains("4096"), "{reason}");
    assert_eq!(exchange.answer.len(), 4096);

    // Without end: the bound holds, not the time.
    let endless = "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &"x".repeat(8192);
    let server = misbehaving(Misbehaviour::SendAndHang(endless)).await;
    let exchange = send(&client(&server.base_url)).await;
    assert_unknown(&exchange, Some(200));
    assert_eq!(exchange.answer.len(), 4096);

    // Exactly as long as allowed is not too long.
    let padding = " ".repeat(4096 - pair_limit().to_string().len());
    let server = Server::start(move || pair_limit().to_string() + &padding).await;
    let exchange = send(&server.client()).await;
    assert_eq!(assert_refused(&exchange).code, 131_056);
}

// Headers

#[tokio::test]
async fn usage_and_version_are_read_from_success_and_refusal() {
    let headers = [
        ("x-app-usage", r#"{"call_count":28,"total_time":25,"total_cputime":25}"#),
        (
            "x-business-use-case-usage",
            r#"{"17841460012345678":[{"type":"instagram","call_count":97,"total_cputime":23,"total_time":25,"estimated_time_to_regain_access":7}]}"#,
        ),
        ("retry-after", "30"),
        ("facebook-api-version", "v25.0"),
    ];
    let usage = Usage {
        percent: Some(97),
        regain_after: Some(Duration::from_mins(7)),
        retry_after: Some(Duration::from_secs(30)),
    };
    let answer = json!({"messages": [{"id": "wamid.1"}]});
    let server = Server::start(move || (headers, answer.to_string())).await;
    let exchange = send(&server.client()).await;
    assert!(exchange.outcome.is_ok());
    assert_eq!(exchange.usage, usage);
    assert_eq!(exchange.served_version.as_deref(), Some("v25.0"));

    let server = Server::start(move || {
        let answer = pair_limit().to_string();
        (StatusCode::BAD_REQUEST, headers, answer)
    })
    .await;
    let exchange = send(&server.client()).await;
    assert_eq!(exchange.usage, usage);
    let error = assert_refused(&exchange);
    assert_eq!(error.retry_after, Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn an_answer_without_usage_headers_says_nothing() {
    let server = Server::json(200, json!({"messages": [{"id": "wamid.1"}]})).await;
    let exchange = send(&server.client()).await;
    assert_eq!(exchange.usage, Usage::default());
    assert_eq!(exchange.served_version, None);
}

// Secrets

/// Checks everything that an exchange shows, and that there was something to hide.
fn assert_hides<T: std::fmt::Debug>(exchange: &Exchange<T>, secret: &str) {
    let shown = format!("{exchange:?} {exchange:#?}");
    assert!(!shown.contains(secret), "{shown}");
    if let Err(error) = &exchange.outcome {
        assert!(!error.to_string().contains(secret), "{error}");
    }
}

#[tokio::test]
async fn the_token_is_in_nothing_that_is_kept() {
    let echoes: [(u16, String); 5] = [
        (
            200,
            json!({"messages": [{"id": "wamid.1"}], "next": format!("?access_token={TOKEN}&a=1")}).to_string(),
        ),
        (200, format!("not json {TOKEN}")),
        (
            400,
            json!({"error": {"code": 190, "message": format!("Malformed access token {TOKEN}"),
                "error_data": {"details": TOKEN}, "error_user_msg": TOKEN}})
            .to_string(),
        ),
        (500, format!("<html>{TOKEN}</html>")),
        // The bound falls into the token.
        (500, "x".repeat(4096 - 10) + TOKEN),
    ];
    for (status, answer) in echoes {
        let server = Server::start(move || (StatusCode::from_u16(status).unwrap(), answer.clone())).await;
        let exchange = send(&server.client()).await;
        assert_hides(&exchange, TOKEN);
        assert_hides(&exchange, &TOKEN[..10]);
        assert!(exchange.answer.contains("[redacted]"));
    }
}

#[tokio::test]
async fn a_token_that_is_asked_about_is_hidden_too() {
    const INPUT: &str = "IGAAinput5ecretThatIsAskedAbout";
    let app_token = SecretString::from("771204598833612|app5ecretapp5ecret");
    // In a URL that fails: errors of the transport usually name it.
    let server = misbehaving(Misbehaviour::Reset).await;
    let exchange = client(&server.base_url).debug_token(&app_token, &INPUT.into()).await;
    assert_unknown(&exchange, None);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    assert_hides(&exchange, INPUT);
    assert_hides(&exchange, "app5ecret");

    let answer = json!({"error": {"code": 190, "message": format!("{INPUT} and app5ecretapp5ecret")}});
    let server = Server::json(400, answer).await;
    let exchange = server.client().debug_token(&app_token, &INPUT.into()).await;
    assert_eq!(assert_refused(&exchange).message, "[redacted] and [redacted]");
    assert_hides(&exchange, INPUT);
    assert_hides(&exchange, "app5ecret");
}

#[tokio::test]
async fn debug_of_client_and_subscription_shows_no_secret() {
    let subscription = Subscription {
        object: "instagram".to_owned(),
        callback_url: "https://hub.example.com/hook".to_owned(),
        verify_token: TOKEN.into(),
        fields: vec!["messages".to_owned()],
    };
    let shown = format!("{subscription:?} {:?}", client("http://127.0.0.1:1"));
    assert!(!shown.contains(TOKEN), "{shown}");
}

// Questions

fn query(seen: &Seen) -> &str {
    seen.uri.query().unwrap_or_default()
}

#[tokio::test]
async fn a_phone_number_tells_how_it_stands() {
    let answer = json!({"verified_name": "River Gate", "display_phone_number": "+44 20 7946 0111", "quality_rating": "GREEN",
        "throughput": {"level": "STANDARD"}, "status": "CONNECTED", "name_status": "APPROVED",
        "code_verification_status": "VERIFIED", "platform_type": "CLOUD_API", "account_mode": "LIVE",
        "is_official_business_account": false, "whatsapp_business_manager_messaging_limit": "TIER_2K",
        "webhook_configuration": {"application": "https://hub.example.org/wa", "phone_number": "https://hub.example.org/own"},
        "health_status": {"can_send_message": "BLOCKED", "entities": [
            {"entity_type": "PHONE_NUMBER", "id": "418205937761245", "can_send_message": "LIMITED", "additional_info": ["Slow"]},
            {"entity_type": "WABA", "id": "305918274660123", "can_send_message": "BLOCKED", "errors": [
                {"error_code": 141_002, "error_description": "No payment method", "possible_solution": "Add one"}]}]},
        "id": NUMBER});
    let server = Server::json(200, answer).await;
    let exchange = server.client().phone_number(&token(), NUMBER).await;
    let node = exchange.outcome.unwrap();
    assert_eq!(node.id, NUMBER);
    assert_eq!(node.verified_name.as_deref(), Some("River Gate"));
    assert_eq!(node.throughput_level.as_deref(), Some("STANDARD"));
    assert_eq!(node.status.as_deref(), Some("CONNECTED"));
    assert_eq!(node.messaging_limit.as_deref(), Some("TIER_2K"));
    assert_eq!((node.is_official, node.is_on_phone_app), (Some(false), None));
    assert_eq!(node.callback_url.as_deref(), Some("https://hub.example.org/own"));
    let health = node.health.unwrap();
    assert_eq!(health.can_send_message.as_deref(), Some("BLOCKED"));
    assert_eq!(health.notes, ["Slow"]);
    assert_eq!(health.errors.len(), 1);
    assert_eq!(health.errors[0].code, Some(141_002));
    assert_eq!(health.errors[0].entity_type.as_deref(), Some("WABA"));
    assert_eq!(health.errors[0].possible_solution.as_deref(), Some("Add one"));

    let request = server.only_request();
    assert_eq!(request.method, Method::GET);
    assert_eq!(request.uri.path(), "/v26.0/418205937761245");
    assert!(query(&request).starts_with("fields=verified_name%2Cdisplay_phone_number%2C"));
    assert!(!query(&request).contains('+'), "no space inside the list");
}

#[tokio::test]
async fn an_instagram_account_is_read_flat_and_wrapped() {
    let node = json!({"user_id": "17841460012345678", "id": "24601", "username": "acme.store", "followers_count": 812});
    for answer in [node.clone(), json!({"data": [node]})] {
        let server = Server::json(200, answer).await;
        let exchange = server.client().instagram_account(&token()).await;
        let account = exchange.outcome.unwrap();
        assert_eq!(account.user_id, "17841460012345678");
        assert_eq!(account.app_scoped_id.as_deref(), Some("24601"));
        assert_eq!(account.username.as_deref(), Some("acme.store"));
        assert_eq!(account.followers_count, Some(812));
        assert_eq!(server.only_request().uri.path(), "/v26.0/me");
    }
}

#[tokio::test]
async fn a_profile_may_lack_everything() {
    let answer = json!({"id": "1029384756102938", "name": null, "username": "marie.d",
        "profile_pic": "https://scontent.cdninstagram.com/p.jpg"});
    let server = Server::json(200, answer).await;
    let exchange = server.client().instagram_profile(&token(), "1029384756102938").await;
    let profile = exchange.outcome.unwrap();
    assert_eq!(profile.name, None);
    assert_eq!(profile.username.as_deref(), Some("marie.d"));
    assert_eq!(
        profile.picture_url.as_deref(),
        Some("https://scontent.cdninstagram.com/p.jpg")
    );
    let request = server.only_request();
    assert_eq!(query(&request), "fields=name%2Cusername%2Cprofile_pic");

    let server = Server::json(200, json!({})).await;
    let exchange = server.client().instagram_profile(&token(), "1").await;
    assert_eq!(exchange.outcome.unwrap().username, None);
}

#[tokio::test]
async fn comments_are_answered_hidden_and_deleted() {
    let server = Server::json(200, json!({"id": "17870000000000009"})).await;
    let client = server.client();
    let sent = client.reply_to_comment(&token(), "17870000000000001", "Yes & no").await;
    assert_eq!(sent.outcome.unwrap().message_id.as_deref(), Some("17870000000000009"));
    let request = server.only_request();
    assert_eq!(
        (&request.method, request.uri.path()),
        (&Method::POST, "/v26.0/17870000000000001/replies")
    );
    assert_eq!(request.body, "message=Yes+%26+no");

    let server = Server::json(200, json!({"id": "1"})).await;
    let client = server.client();
    let sent = client
        .reply_to_mention(&token(), "17841", "17918", Some("17894"), "Thanks")
        .await;
    assert!(sent.outcome.is_ok());
    let request = server.only_request();
    assert_eq!(request.uri.path(), "/v26.0/17841/mentions");
    assert_eq!(request.body, "media_id=17918&message=Thanks&comment_id=17894");

    // Without an id it may be there all the same.
    let server = Server::json(200, json!({"success": true})).await;
    let client = server.client();
    assert_unknown(&client.reply_to_comment(&token(), "1", "a").await, Some(200));

    for (hide, expected) in [(true, "hide=true"), (false, "hide=false")] {
        let server = Server::json(200, json!({"success": true})).await;
        assert!(
            server
                .client()
                .hide_comment(&token(), "17870", hide)
                .await
                .outcome
                .is_ok()
        );
        let request = server.only_request();
        assert_eq!((&request.method, query(&request)), (&Method::POST, expected));
    }
    let server = Server::json(200, json!({"success": true})).await;
    assert!(server.client().delete_comment(&token(), "17870").await.outcome.is_ok());
    assert_eq!(server.only_request().method, Method::DELETE);
}

#[tokio::test]
async fn comments_and_mentions_are_read() {
    let page = json!({"data": [{"id": "1", "text": "Yes", "timestamp": "2026-11-20T10:20:00+0000", "username": "acme",
        "from": {"id": "17841"}}, {"id": "2"}, 3], "paging": {"cursors": {"after": "b"}, "next": "https://graph…"}});
    let server = Server::json(200, page).await;
    let exchange = server.client().replies_to_comment(&token(), "17870", Some("a")).await;
    let page = exchange.outcome.unwrap();
    assert_eq!(page.after.as_deref(), Some("b"));
    assert_eq!(page.comments.len(), 2);
    let first = &page.comments[0];
    assert_eq!(
        (first.at, first.from_id.as_deref()),
        (Some(1_795_170_000_000), Some("17841"))
    );
    assert!(query(&server.only_request()).ends_with("&limit=50&after=a"));

    // The example of the reference.
    let answer = json!({"mentioned_comment": {"id": "17894", "text": "@acme.store nice",
        "timestamp": "2026-11-20T10:20:00+0000"}, "id": "17841"});
    let server = Server::json(200, answer).await;
    let exchange = server.client().mentioned_comment(&token(), "17841", "17894").await;
    assert_eq!(exchange.outcome.unwrap().text.as_deref(), Some("@acme.store nice"));
    let request = server.only_request();
    assert_eq!(request.uri.path(), "/v26.0/17841");
    assert!(query(&request).starts_with("fields=mentioned_comment.comment_id%2817894%29"));

    let server = Server::json(
        200,
        json!({"mentioned_media": {"id": "17918", "caption": "From @acme"}}),
    )
    .await;
    let exchange = server.client().mentioned_media(&token(), "17841", "17918").await;
    assert_eq!(exchange.outcome.unwrap().text.as_deref(), Some("From @acme"));
    let exchange = server.client().mentioned_media(&token(), "17841", "1){id},me{").await;
    assert_not_sent(&exchange);
    let server = Server::json(200, json!({"id": "17841"})).await;
    let exchange = server.client().mentioned_media(&token(), "17841", "17918").await;
    assert_unreadable(&exchange, 200);
}

#[tokio::test]
async fn a_token_is_reported_on_whether_valid_or_not() {
    let app_token = SecretString::from("771204598833612|app5ecret");
    let answer = json!({"data": {"app_id": "771204598833612", "type": "SYSTEM_USER", "data_access_expires_at": 0,
        "expires_at": 0, "is_valid": true, "issued_at": 1_790_000_000, "scopes": ["whatsapp_business_messaging"],
        "granular_scopes": [{"scope": "whatsapp_business_messaging", "target_ids": ["305918274660123"]}, {"scope": "all"}],
        "user_id": "122100457711903"}});
    let server = Server::json(200, answer).await;
    let exchange = server
        .client()
        .debug_token(&app_token, &"IGAAinput&5ecret".into())
        .await;
    let report = exchange.outcome.unwrap();
    assert!(report.is_valid);
    assert_eq!((report.expires_at, report.issued_at), (None, Some(1_790_000_000)));
    assert_eq!(report.scopes, ["whatsapp_business_messaging"]);
    let targets: Vec<Option<usize>> = report
        .granular_scopes
        .iter()
        .map(|scope| scope.target_ids.as_ref().map(Vec::len))
        .collect();
    assert_eq!(targets, [Some(1), None]);
    let request = server.only_request();
    assert_eq!(request.uri.path(), "/v26.0/debug_token");
    assert_eq!(query(&request), "input_token=IGAAinput%265ecret");
    assert_eq!(request.headers["authorization"], "Bearer 771204598833612|app5ecret");

    let answer = json!({"data": {"app_id": "771204598833612", "type": "USER", "expires_at": 1_795_200_000, "is_valid": false,
        "scopes": [], "error": {"code": 190, "message": "Session has expired", "subcode": 463}}});
    let server = Server::json(200, answer).await;
    let exchange = server.client().debug_token(&app_token, &"IGAAinput".into()).await;
    let report = exchange.outcome.unwrap();
    assert!(!report.is_valid);
    assert_eq!(report.expires_at, Some(1_795_200_000));
    let error = report.error.unwrap();
    assert_eq!((error.code, error.subcode), (Some(190), Some(463)));
}

#[tokio::test]
async fn subscriptions_are_made_listed_and_ended() {
    let app_token = SecretString::from("771204598833612|app5ecret");
    let server = Server::json(200, json!({"success": true})).await;
    let subscription = Subscription {
        object: "whatsapp_business_account".to_owned(),
        callback_url: "https://hub.example.org/wa?a=1&b=2".to_owned(),
        verify_token: "verify me".into(),
        fields: vec!["messages".to_owned(), "user_preferences".to_owned()],
    };
    let exchange = server
        .client()
        .subscribe("771204598833612", &app_token, &subscription)
        .await;
    assert_eq!(exchange.outcome, Ok(()));
    let request = server.only_request();
    assert_eq!(request.uri, "/v26.0/771204598833612/subscriptions");
    assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(
        std::str::from_utf8(&request.body).unwrap(),
        "object=whatsapp_business_account&callback_url=https%3A%2F%2Fhub.example.org%2Fwa%3Fa%3D1%26b%3D2\
         &verify_token=verify+me&fields=messages%2Cuser_preferences&include_values=true"
    );

    let server = Server::json(200, json!({"success": true})).await;
    let exchange = server
        .client()
        .unsubscribe("771204598833612", &app_token, "instagram")
        .await;
    assert_eq!(exchange.outcome, Ok(()));
    let request = server.only_request();
    assert_eq!(request.method, Method::DELETE);
    assert_eq!(query(&request), "object=instagram");

    let answer = json!({"data": [{"object": "instagram", "callback_url": "https://hub.example.com/hooks/instagram",
        "active": true, "fields": [{"name": "messages", "version": "v26.0"}, {"name": "comments"}]}, {"odd": 1}]});
    let server = Server::json(200, answer).await;
    let exchange = server.client().subscriptions("771204598833612", &app_token).await;
    let list = exchange.outcome.unwrap();
    assert_eq!(list.len(), 1);
    assert!(list[0].active);
    assert_eq!(list[0].fields[0].version.as_deref(), Some("v26.0"));
    assert_eq!(list[0].fields[1].name, "comments");
}

#[tokio::test]
async fn the_app_is_installed_on_accounts_listed_and_removed() {
    let server = Server::json(200, json!({"success": true})).await;
    let client = server.client();
    let installed = client.install_app(&token(), "305918274660123", &[]).await;
    assert_eq!(installed.outcome, Ok(()));
    let installed = client
        .install_app(&token(), "17841460012345678", &["messages", "comments"])
        .await;
    assert_eq!(installed.outcome, Ok(()));
    let removed = client.uninstall_app(&token(), "305918274660123").await;
    assert_eq!(removed.outcome, Ok(()));
    let seen: Vec<String> = server
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.uri))
        .collect();
    let expected = [
        "POST /v26.0/305918274660123/subscribed_apps",
        "POST /v26.0/17841460012345678/subscribed_apps?subscribed_fields=messages%2Ccomments",
        "DELETE /v26.0/305918274660123/subscribed_apps",
    ];
    assert_eq!(seen, expected);

    // One entry as each kind of account has it.
    let answer = json!({"data": [
        {"whatsapp_business_api_data": {"id": "771204598833612", "name": "Hub", "link": "https://www.facebook.com/"},
            "override_callback_uri": "https://hub.example.org/wa/a1"},
        {"id": "990011223344556", "name": "Hub", "category": "Business", "subscribed_fields": ["messages"]},
        {"app_id": "990011223344556", "subscribed_fields": ["messages", "comments"]},
        {"odd": 1}]});
    let server = Server::json(200, answer).await;
    let apps = server.client().installed_apps(&token(), "305918274660123").await;
    let apps = apps.outcome.unwrap();
    let ids: Vec<&str> = apps.iter().map(|app| app.app_id.as_str()).collect();
    assert_eq!(ids, ["771204598833612", "990011223344556", "990011223344556"]);
    assert_eq!(
        apps[0].override_callback_url.as_deref(),
        Some("https://hub.example.org/wa/a1")
    );
    assert_eq!(apps[0].name.as_deref(), Some("Hub"));
    assert_eq!(apps[2].fields, ["messages", "comments"]);
}

// Options

#[test]
fn options_that_cannot_work_are_refused() {
    for base_url in [
        "",
        "graph.facebook.com",
        "ftp://graph.facebook.com",
        "https://",
        "https://user:word@graph.facebook.com",
        "https://graph.facebook.com?a=1",
        "https://graph.facebook.com#a",
    ] {
        let error = GraphClient::new(options(base_url)).unwrap_err();
        assert!(matches!(error, ClientError::BaseUrl { .. }), "{base_url}");
    }
    for version in ["", "26.0", "v26", "v26.", "v.0", "v26.0/x", "v26.0 "] {
        let options = ClientOptions::new("http://127.0.0.1:1", version);
        let error = GraphClient::new(options).unwrap_err();
        assert!(matches!(error, ClientError::Version { .. }), "{version}");
    }
    let options = ClientOptions {
        user_agent: "line\nbreak".to_owned(),
        ..options("http://127.0.0.1:1")
    };
    let error = GraphClient::new(options).unwrap_err();
    assert!(matches!(error, ClientError::Transport(_)));
}

#[tokio::test]
async fn a_path_prefix_is_kept() {
    let server = Server::json(200, json!({"messages": [{"id": "wamid.1"}]})).await;
    let client = client(&format!("{}/graph/", server.base_url));
    assert!(send(&client).await.outcome.is_ok());
    assert_eq!(server.only_request().uri, "/graph/v26.0/418205937761245/messages");
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_over_https() {
    let server = Server::json(200, json!({"messages": [{"id": "wamid.1"}]})).await;
    let base_url = server.base_url.replace("http://", "https://");
    let exchange = send(&client(&base_url)).await;
    assert_not_sent(&exchange);
    assert!(server.seen.lock().unwrap().is_empty());
}

/// Answers every request with the same thing.
#[derive(Debug)]
struct Pigeon {
    seen: Mutex<Vec<reqwest::Request>>,
    answer: Result<Carried, &'static str>,
}

impl Pigeon {
    fn with(answer: Result<Carried, &'static str>) -> Arc<Self> {
        let seen = Mutex::default();
        Arc::new(Self { seen, answer })
    }
}

impl Carrier for Pigeon {
    fn carry(&self, request: reqwest::Request) -> Pin<Box<dyn Future<Output = Result<Carried, CallError>> + Send>> {
        self.seen.lock().unwrap().push(request);
        let answer = self.answer.clone().map_err(|reason| CallError::Unknown {
            reason: reason.to_owned(),
            http_status: None,
        });
        Box::pin(std::future::ready(answer))
    }
}

fn carried(body: &str) -> Carried {
    Carried {
        http_status: 200,
        headers: HeaderMap::from_iter([("facebook-api-version".parse().unwrap(), "v27.0".parse().unwrap())]),
        body: body.as_bytes().to_vec(),
        broken: None,
    }
}

#[tokio::test]
async fn a_carrier_takes_the_same_request_and_its_answer_is_read_alike() {
    let answer = r#"{"messages":[{"id":"wamid.1"}]}"#;
    let pigeon = Pigeon::with(Ok(carried(answer)));
    let client = client("http://meta.invalid");
    let exchange = send(&client.carried_by(pigeon.clone())).await;
    assert_eq!(exchange.outcome.unwrap().message_id.as_deref(), Some("wamid.1"));
    assert_eq!((exchange.http_status, exchange.answer.as_str()), (Some(200), answer));
    assert_eq!(exchange.served_version.as_deref(), Some("v27.0"));
    {
        let seen = pigeon.seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(
            seen[0].url().as_str(),
            format!("http://meta.invalid/v26.0/{NUMBER}/messages")
        );
        assert_eq!(seen[0].headers()["authorization"], format!("Bearer {TOKEN}"));
    }

    let cut = Carried {
        broken: Some("the connection was reset".to_owned()),
        ..carried(&answer[..10])
    };
    let long = carried(&format!("{{\"pad\":\"{}\"}}", "p".repeat(5_000)));
    for (answer, why) in [
        (Ok(cut), "the connection was reset"),
        (Ok(long), "longer than 4096 bytes"),
        (Err("the wind was strong"), "the wind was strong"),
    ] {
        let exchange = send(&client.carried_by(Pigeon::with(answer))).await;
        match exchange.outcome {
            Err(CallError::Unknown { reason, .. }) => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
