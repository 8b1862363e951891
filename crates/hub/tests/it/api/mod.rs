//! The HTTP API: the router, in-process, with a store of its own, a clock that stands still, and ids that repeat.

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

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings::app::App;
use tidings::clock::{Clock, from_millis};
use tidings::config::{Config, Sources};
use tidings::ids::Ids;
use tidings::ingest::{projector, writer};
use tidings::integrations::reels;
use tidings::{routes, server};
use tidings_meta::notification::Platform;
use tidings_meta::signature;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// 2026-11-22T08:00:00Z, when every test begins.
const NOW: i64 = 1_795_334_400_000;
const KEY: &str = "a-key-for-tests-alone";
const SECRET: &str = "an-app-secret";
const NUMBER: &str = "106540352242922";
const ACCOUNT: &str = "17841405822304914";

/// A hub of one test.
struct Hub {
    app: App,
    router: Router,
    // Ended when the test ends.
    tasks: JoinSet<()>,
    stop: CancellationToken,
    folder: TempDir,
}

impl Hub {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings beside those that every test has.
    async fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, settings);
        let clock = Clock::frozen_at(from_millis(NOW));
        let ids = Ids::seeded(clock.clone(), 7);
        let server::Works { app, mut pending } = server::assemble(config, clock, ids).await.unwrap();
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let (writing, token) = (app.clone(), stop.clone());
        tasks.spawn(async move { writer::run(writing, &mut pending, token).await });
        tasks.spawn(reels::run(app.clone(), stop.clone()));
        let router = routes::router(app.clone());
        Self {
            app,
            router,
            tasks,
            stop,
            folder,
        }
    }

    /// An answer of which only the head is here.
    async fn open(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// An answer, which the OpenAPI document has to know.
    async fn call(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = Answer::of(self.open(request).await).await;
        document::knows(&method, &path, &answer);
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(request(Method::GET, path, Body::empty())).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let mut request = request(Method::POST, path, Body::from(body.to_string()));
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        self.call(request).await
    }

    /// Meta posts a notification.
    async fn notified(&self, platform: Platform, body: &[u8]) -> Answer {
        let path = format!("/api/webhooks/{platform}");
        let mut request = request(Method::POST, &path, Body::from(body.to_vec()));
        request.headers_mut().remove(header::AUTHORIZATION);
        request.headers_mut().insert(
            signature::HEADER,
            signature::sign(SECRET.as_bytes(), body).parse().unwrap(),
        );
        self.call(request).await
    }

    /// Meta posts these messages of WhatsApp, and they are understood.
    async fn told(&self, value: Value) {
        let body = json!({"object": "whatsapp_business_account",
            "entry": [{"id": "102290129340398", "changes": [{"field": "messages", "value": value}]}]});
        let answer = self.notified(Platform::WhatsApp, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        self.process().await;
    }

    /// Everything that waits is understood.
    async fn process(&self) {
        while projector::project_due(&self.app).await.unwrap() > 0 {}
    }
}

fn config(folder: &TempDir, settings: &[(&str, &str)]) -> Config {
    let folder = folder.path().display();
    let mut environment: BTreeMap<String, String> = [
        ("TIDINGS_DATA_DIR", folder.to_string().as_str()),
        ("DATABASE_URL", &format!("sqlite://{folder}/hub.db")),
        ("TIDINGS_ADMIN_KEY", KEY),
        ("META_APP_SECRET", SECRET),
        ("META_VERIFY_TOKEN", "a-verify-token"),
        ("WHATSAPP_PHONE_NUMBER_ID", NUMBER),
        ("WHATSAPP_ACCESS_TOKEN", "a-token-of-whatsapp"),
        // Without a token: it only receives.
        ("META_IG_BUSINESS_ID", ACCOUNT),
        // Nobody sends here, so nobody is called.
        ("WHATSAPP_API_BASE_URL", "http://127.0.0.1:9"),
        ("META_GRAPH_API_BASE_URL", "http://127.0.0.1:9"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.extend(
        settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    Config::load(Sources {
        environment,
        ..Sources::default()
    })
    .unwrap_or_else(|errors| panic!("{errors}"))
    .config
}

/// A request with a key, from this machine.
fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000))))
        .body(body)
        .unwrap()
}

/// An answer that was read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The document of a request that was done.
    #[track_caller]
    fn json(&self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem of a request that was refused, and its code.
    #[track_caller]
    fn problem(&self) -> (u16, String, Value) {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{}: {}",
            self.status,
            self.text()
        );
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        (
            self.status.as_u16(),
            problem["error"].as_str().unwrap().to_owned(),
            problem,
        )
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
