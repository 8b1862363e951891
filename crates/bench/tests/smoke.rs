//! The generator and the servers that it is tried on, in one process over real sockets.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tidings_bench::load::{self, Outcome, Schedule};
use tidings_bench::server::{self, bare, reference};
use tidings_bench::webhook::{PATH, Shape, Webhooks};
use tokio::net::TcpListener;

async fn start(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server::serve(listener, router));
    address
}

async fn load(address: SocketAddr, schedule: Schedule, shape: &Shape) -> Outcome {
    let webhooks = Arc::new(Webhooks::new(shape).unwrap());
    load::run(address, 8, schedule, &webhooks).await.unwrap()
}

/// A file of its own for a test, gone afterwards.
struct DatabaseFile(PathBuf);

impl DatabaseFile {
    fn new(test: &str) -> Self {
        let name = format!("tidings-bench-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("reference.db")
    }

    fn count(&self, query: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_bare_server_acknowledges_what_is_signed() {
    let shape = Shape::default();
    let address = start(bare::router(&shape.secret)).await;
    let outcome = load(address, Schedule::Acknowledged(200), &shape).await;
    assert_eq!(
        (outcome.acknowledged, outcome.answered(), outcome.broken),
        (200, 200, 0)
    );
    assert_eq!(outcome.latencies.count(), 200);
    assert!(outcome.rate() > 0.0);
}

#[tokio::test]
async fn what_is_signed_with_another_secret_is_refused() {
    let address = start(bare::router("another secret")).await;
    let shape = Shape::default();
    let schedule = Schedule::For(Duration::from_millis(50));
    let outcome = load(address, schedule, &shape).await;
    assert_eq!(outcome.acknowledged, 0);
    assert_eq!(outcome.other, outcome.answered());
    assert!(outcome.other > 0);
}

#[tokio::test]
async fn the_reference_stores_each_message_once() {
    let shape = Shape::default();
    let file = DatabaseFile::new("once");
    let router = reference::router(&shape.secret, reference::Store::Sqlite(file.path()))
        .await
        .unwrap();
    let address = start(router).await;
    // The same seed twice: the second load repeats the messages of the first.
    for _ in 0..2 {
        let outcome = load(address, Schedule::Acknowledged(200), &shape).await;
        assert_eq!((outcome.acknowledged, outcome.answered()), (200, 200));
    }
    assert_eq!(file.count("SELECT count(*) FROM message"), 200);
    assert_eq!(file.count("SELECT count(DISTINCT id) FROM message"), 200);
    assert_eq!(file.count("SELECT count(*) FROM message WHERE length(raw) = 844"), 200);
}

/// A database of its own for a test, gone afterwards.
struct Database {
    server: postgres::Client,
    name: String,
    url: String,
}

impl Database {
    fn new() -> Self {
        let server_url = std::env::var("TIDINGS_TEST_POSTGRES_URL")
            .expect("a Postgres is needed: scripts/with-postgres --fast cargo test -p tidings-bench");
        let mut server = postgres::Client::connect(&server_url, postgres::NoTls).unwrap();
        let name = format!("tidings_bench_smoke_{}", std::process::id());
        server.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let url = format!("{}/{name}", server_url.rsplit_once('/').unwrap().0);
        Self { server, name, url }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self
            .server
            .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

// Not inside a runtime: the blocking client has its own.
#[test]
fn the_reference_stores_each_message_once_in_postgres() {
    let shape = Shape::default();
    let database = Database::new();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let store = reference::Store::Postgres(database.url.clone());
            let address = start(reference::router(&shape.secret, store).await.unwrap()).await;
            for _ in 0..2 {
                let outcome = load(address, Schedule::Acknowledged(200), &shape).await;
                assert_eq!((outcome.acknowledged, outcome.answered()), (200, 200));
            }
        });
    let mut client = postgres::Client::connect(&database.url, postgres::NoTls).unwrap();
    let query = "SELECT count(*), count(DISTINCT id) FROM message WHERE length(raw) = 844";
    let row = client.query_one(query, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (200, 200));
}

#[tokio::test]
async fn a_refusal_is_counted_and_the_message_is_owed() {
    // Refuses every other request, as a hub that is full.
    let turn = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let router = Router::new().route(
        PATH,
        post(move || async move {
            match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 {
                0 => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::OK,
            }
        }),
    );
    let address = start(router).await;
    let outcome = load(address, Schedule::Acknowledged(40), &Shape::default()).await;
    assert_eq!(outcome.acknowledged, 40);
    assert!(outcome.refused >= 39, "{} were refused", outcome.refused);
}

#[tokio::test]
async fn an_open_loop_sends_what_is_due_and_no_more() {
    let shape = Shape::default();
    let address = start(bare::router(&shape.secret)).await;
    let schedule = Schedule::Rate {
        per_second: 500.0,
        duration: Duration::from_millis(200),
    };
    let outcome = load(address, schedule, &shape).await;
    assert_eq!(outcome.answered() + outcome.unsent, 100);
    assert!(outcome.acknowledged > 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let webhooks = Arc::new(Webhooks::new(&Shape::default()).unwrap());
    assert!(
        load::run(address, 1, Schedule::Acknowledged(1), &webhooks)
            .await
            .is_err()
    );
}
