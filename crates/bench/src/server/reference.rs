//! The least server that keeps the hub's promise: a 200 means that the message is on disk, once.
//!
//! Signature, typed parse, and one writer thread that takes what is waiting (at most 1,000 webhooks), writes it to one table
//! with a unique key on the message id in one flushed transaction, then answers all. Nothing more: no events, no contacts, no
//! projection, no metrics. What the hub does beyond it is seen as the hub's share of its speed.

use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use anyhow::Context as _;
use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::{acknowledgement, is_signed, postgres, signature_key, sqlite};
use crate::webhook::PATH;

/// The most webhooks in one transaction.
const GROUP_MAX: usize = 1_000;

/// The most webhooks that wait for the writer; further requests wait to be let in.
const WAITING_MAX: usize = 4_096;

/// Where the reference server keeps its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// A SQLite file, made if absent: `sqlite:PATH`.
    Sqlite(PathBuf),
    /// A Postgres database: `postgres://…`.
    Postgres(String),
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            None if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err("a store is sqlite:PATH or postgres://…".to_owned()),
        }
    }
}

/// One row of the one table.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) phone_number_id: String,
    pub(super) sender: String,
    pub(super) kind: String,
    /// Meta's time in seconds since 1970.
    pub(super) sent_at: i64,
    /// The notification that it came in, kept because only what is kept can be worked on later.
    pub(super) raw: Bytes,
}

/// Its one route, for bodies signed with `secret`; starts the writer, which ends with the router.
///
/// Errors if the store cannot be opened.
pub async fn router(secret: &str, store: Store) -> anyhow::Result<Router> {
    let (waiting, inbox) = mpsc::channel(WAITING_MAX);
    let (opened, is_open) = oneshot::channel();
    thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            // The connection is opened on the writer's own thread: the Postgres client must not block a thread of the runtime.
            match open(&store) {
                Ok(commit) => {
                    // Whoever asked for the router may be gone; then the inbox is closed as well.
                    let _ = opened.send(Ok(()));
                    write_groups(inbox, commit);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
        })
        .context("the writer's thread could not be started")?;
    is_open.await.context("the writer ended before its store was open")??;
    let server = Server {
        key: signature_key(secret),
        waiting,
    };
    Ok(Router::new().route(PATH, post(receive)).with_state(server))
}

/// Writes one group in one flushed transaction.
type Commit = Box<dyn FnMut(&[Message]) -> anyhow::Result<()>>;

fn open(store: &Store) -> anyhow::Result<Commit> {
    match store {
        Store::Sqlite(path) => {
            let mut table = sqlite::Table::open(path)?;
            Ok(Box::new(move |messages| table.insert(messages)))
        }
        Store::Postgres(url) => {
            let mut table = postgres::Table::open(url)?;
            Ok(Box::new(move |messages| table.insert(messages)))
        }
    }
}

/// The messages of one webhook, and who waits for them to be on disk.
struct Waiting {
    messages: Vec<Message>,
    /// Told whether the commit held.
    done: oneshot::Sender<bool>,
}

/// The writer: one group at a time, as large as what came in while the last one was being flushed.
fn write_groups(mut inbox: mpsc::Receiver<Waiting>, mut commit: Commit) {
    let mut messages = Vec::new();
    let mut answers = Vec::new();
    while let Some(first) = inbox.blocking_recv() {
        let mut next = Some(first);
        while let Some(waiting) = next {
            messages.extend(waiting.messages);
            answers.push(waiting.done);
            next = (answers.len() < GROUP_MAX).then(|| inbox.try_recv().ok()).flatten();
        }
        // A group that failed is answered with 503 and repeated by the sender; the next one may do better.
        let held = commit(&messages).is_ok();
        messages.clear();
        for done in answers.drain(..) {
            // A client that hung up does not need the answer.
            let _ = done.send(held);
        }
    }
}

#[derive(Clone)]
struct Server {
    key: hmac::Key,
    waiting: mpsc::Sender<Waiting>,
}

async fn receive(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_signed(&server.key, &headers, &body) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(messages) = parse(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let (done, held) = oneshot::channel();
    if server.waiting.send(Waiting { messages, done }).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match held.await {
        Ok(true) => acknowledgement(),
        Ok(false) | Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn parse(body: &Bytes) -> Option<Vec<Message>> {
    let notification: Notification = serde_json::from_slice(body).ok()?;
    let mut messages = Vec::new();
    for value in notification
        .entry
        .into_iter()
        .flat_map(|entry| entry.changes)
        .map(|change| change.value)
    {
        for message in value.messages {
            messages.push(Message {
                id: message.id,
                phone_number_id: value.metadata.phone_number_id.clone(),
                sender: message.from,
                kind: message.kind,
                sent_at: message.timestamp.parse().ok()?,
                raw: body.clone(),
            });
        }
    }
    Some(messages)
}

// The envelope of `whatsapp.md` 3, as far as the table needs it.

#[derive(Deserialize)]
struct Notification {
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    value: Value,
}

#[derive(Deserialize)]
struct Value {
    metadata: Metadata,
    messages: Vec<WireMessage>,
}

#[derive(Deserialize)]
struct Metadata {
    phone_number_id: String,
}

#[derive(Deserialize)]
struct WireMessage {
    id: String,
    from: String,
    timestamp: String,
    #[serde(rename = "type")]
    kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_its_url() {
        assert_eq!(
            "sqlite:/tmp/x.db".parse(),
            Ok(Store::Sqlite(PathBuf::from("/tmp/x.db")))
        );
        assert_eq!(
            "postgres://localhost/x".parse(),
            Ok(Store::Postgres("postgres://localhost/x".to_owned()))
        );
        for wrong in ["", "sqlite:", "mysql://localhost/x"] {
            assert!(wrong.parse::<Store>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_not_stored() {
        assert!(parse(&Bytes::from_static(b"{}")).is_none());
        assert!(parse(&Bytes::from_static(b"not json")).is_none());
    }
}
