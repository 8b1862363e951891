//! Meta's side of a send and nothing else: it answers what a test wants, and remembers what came when.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What a test wants the n-th call, which is to this number, to be answered; `None`: that the message was taken.
type Answers = dyn Fn(usize, &str) -> Option<Response> + Send + Sync;

/// A call that came.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Instant,
    /// The number that it went out by.
    pub number: String,
    pub to: String,
    pub body: Value,
}

/// A Meta that only takes messages, and says that it is there.
pub struct Graph {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Shared {
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Answers>,
}

impl Graph {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::answering(|_, _| None).await
    }

    /// One that answers as a test wants.
    pub async fn answering(answers: impl Fn(usize, &str) -> Option<Response> + Send + Sync + 'static) -> Self {
        let calls = Arc::default();
        let shared = Shared {
            calls: Arc::clone(&calls),
            answers: Arc::new(answers),
        };
        let router = Router::new()
            .route("/{version}/{number}/messages", post(answer))
            .route("/{version}/{number}", get(read))
            .with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            calls,
            _tasks: tasks,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// How often each recipient was called for.
    pub fn recipients(&self) -> BTreeMap<String, usize> {
        let mut recipients = BTreeMap::new();
        for call in self.calls() {
            *recipients.entry(call.to).or_default() += 1;
        }
        recipients
    }
}

/// It is there, whatever becomes of messages.
async fn read(Path((_, number)): Path<(String, String)>) -> Response {
    axum::Json(json!({ "id": number, "display_phone_number": "+44 20 7946 0111" })).into_response()
}

async fn answer(State(shared): State<Shared>, Path((_, number)): Path<(String, String)>, body: String) -> Response {
    let at = Instant::now();
    let body: Value = serde_json::from_str(&body).unwrap();
    let to = body["to"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches('+')
        .to_owned();
    let index = {
        let mut calls = shared.calls.lock().unwrap();
        calls.push(Call {
            at,
            number,
            to: to.clone(),
            body: body.clone(),
        });
        calls.len() - 1
    };
    if let Some(answer) = (shared.answers)(index, &to) {
        return answer;
    }
    let document = json!({
        "messaging_product": "whatsapp",
        "contacts": [{"input": to, "wa_id": to}],
        "messages": [{"id": format!("wamid.{index}.{}", uuid_of(at))}],
    });
    axum::Json(document).into_response()
}

/// Ids of two stand-ins never meet in one store.
fn uuid_of(at: Instant) -> String {
    format!("{at:?}").chars().filter(char::is_ascii_digit).collect()
}

/// An error of Meta's.
pub fn error(status: u16, code: i64) -> Response {
    let document = json!({"error": {"message": "no", "type": "OAuthException", "code": code, "fbtrace_id": "A"}});
    (StatusCode::from_u16(status).unwrap(), axum::Json(document)).into_response()
}
