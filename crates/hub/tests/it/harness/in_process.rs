//! The router of a hub, in-process: no sockets, no Meta, no senders, ids that repeat, and a clock that stands still.
//!
//! [`on_each`] runs a test on SQLite and on Postgres, like [`on_both`](super::on_both); it is for what an address answers, where nothing has to
//! come of it elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, Response, header};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tidings::app::App;
use tidings::clock::{Clock, from_millis};
use tidings::config::{Config, Sources};
use tidings::ids::Ids;
use tidings::ingest::{inbox, projector};
use tidings::integrations::reels;
use tidings::{routes, server};
use tidings_meta::notification::Platform;
use tidings_meta::signature;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Answer, Database, Engine, WITHIN};

/// 2026-11-22T08:00:00Z, when every test begins.
pub const NOW: i64 = 1_795_334_400_000;
/// The key that the hub is called with.
pub const KEY: &str = "a-key-for-tests-alone";
/// Its WhatsApp number.
pub const NUMBER: &str = "106540352242922";
/// Its Instagram account.
pub const ACCOUNT: &str = "17841405822304914";
const SECRET: &str = "an-app-secret";

/// A hub of one test.
pub struct Hub {
    pub app: App,
    pub router: Router,
    /// Ended when the test ends.
    pub tasks: JoinSet<()>,
    pub stop: CancellationToken,
    pub database: Database,
    engine: Engine,
    _folder: TempDir,
}

/// Runs a test on every engine that there is, each time with a hub of its own.
pub async fn on_each(test: impl AsyncFnMut(&mut Hub)) {
    on_each_with(&[], test).await;
}

/// The same with settings beside those that every test has.
pub async fn on_each_with(settings: &[(&str, &str)], mut test: impl AsyncFnMut(&mut Hub)) {
    // Of several providers in one process rustls takes none by itself; another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for engine in Engine::available() {
        println!("on {engine:?}");
        let mut hub = Hub::start(engine, settings).await;
        let ended = AssertUnwindSafe(test(&mut hub)).catch_unwind().await;
        hub.end().await;
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Hub {
    async fn start(engine: Engine, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(engine, folder.path()).await;
        let config = config(folder.path(), &database, settings);
        let clock = Clock::frozen_at(from_millis(NOW));
        let ids = Ids::seeded(clock.clone(), 7);
        let server::Works { app, mut inbox } = server::assemble(config, clock, ids).await.unwrap();
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let (writing, token) = (app.clone(), stop.clone());
        tasks.spawn(async move { inbox::run(writing, &mut inbox, token).await });
        tasks.spawn(reels::run(app.clone(), stop.clone()));
        let router = routes::router(app.clone());
        Self {
            app,
            router,
            tasks,
            stop,
            database,
            engine,
            _folder: folder,
        }
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.tasks.shutdown().await;
        drop((self.router, self.app));
        self.database.remove().await;
    }

    /// Where the store is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// An answer of which only the head is here.
    pub async fn open(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// An answer, whatever it is.
    pub async fn answer(&self, request: Request<Body>) -> Answer {
        read(self.open(request).await).await
    }

    /// Meta posts a notification; answers as Meta is answered.
    pub fn notification(platform: Platform, body: &[u8]) -> Request<Body> {
        let path = format!("/api/webhooks/{platform}");
        let mut request = request(Method::POST, &path, Body::from(body.to_vec()));
        request.headers_mut().remove(header::AUTHORIZATION);
        request.headers_mut().insert(
            signature::HEADER,
            signature::sign(SECRET.as_bytes(), body).parse().unwrap(),
        );
        request
    }

    /// Everything that waits is understood.
    pub async fn process(&self) {
        let in_store = async {
            while self.app.ingest.waiting() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(WITHIN, in_store).await;
        in_time.expect("all of the journal is in the store");
        while projector::project_due(&self.app).await.unwrap() > 0 {}
    }
}

/// The settings of a hub in this folder, on this database.
pub fn config(folder: &Path, database: &Database, settings: &[(&str, &str)]) -> Config {
    let folder = folder.display();
    let mut environment: BTreeMap<String, String> = [
        ("TIDINGS_DATA_DIR", folder.to_string().as_str()),
        ("DATABASE_URL", database.url()),
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
pub fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000))))
        .body(body)
        .unwrap()
}

/// A request with a body in JSON.
pub fn json_request(method: Method, path: &str, body: &Value) -> Request<Body> {
    let mut request = request(method, path, Body::from(body.to_string()));
    let kind = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    request
}

/// Reads an answer to its end.
pub async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}
