//! The control API: what a test, a script or the phone page does with the sandbox itself.
//!
//! JSON with camelCase names. None of it exists at Meta. The front page of the crate lists it.

mod accounts;
mod posts;

use std::convert::Infallible;
use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, State as Extract};
use axum::http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, RANGE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::Core;
use crate::customers::acts::{self, Content, WriteError};
use crate::customers::people::{Channel, Customer, Identity, NewCustomer};
use crate::customers::script::{self, Script, ScriptError};
use crate::faults::{Fault, FaultRequest};
use crate::graph::catalogue::ERRORS;
use crate::ids::Ids;
use crate::ledger::{LedgerKind, Summary};
use crate::lock;
use crate::mail::Wanted;
use crate::media::TransferCount;
use crate::state::threads::{By, Message, ThreadKey};

/// Most customers that are listed; a load may make many more.
const CUSTOMERS_SHOWN_MAX: usize = 1000;
/// Most numbers, and most Instagram accounts, that are listed.
const ACCOUNTS_SHOWN_MAX: usize = 1000;
/// Most faults in force at a time.
const FAULTS_MAX: usize = 1000;
/// Most e-mails in one answer.
const MAILBOX_PAGE_MAX: usize = 1000;
/// The largest thing that a customer does: a file of 16 MB in base64, or several smaller ones.
const WRITTEN_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Most ledger entries in one answer.
const LEDGER_PAGE_MAX: usize = 10_000;
/// Most changes that a slow listener may be behind.
const CHANGES_MAX: usize = 1024;

pub(crate) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/ledger", get(ledger).delete(clear_ledger))
        .route("/ledger/summary", get(summary))
        .route("/mailbox", get(mailbox).delete(clear_mailbox))
        .route("/clock", get(clock))
        .route("/clock/advance", post(advance))
        .route("/sandbox/state", get(state))
        .route("/sandbox/customers", post(add_customer))
        .route("/sandbox/customers/{customer}", patch(change_customer))
        .route("/sandbox/customers/{customer}/threads/{account}", get(thread))
        .route(
            "/sandbox/customers/{customer}/threads/{account}/messages",
            post(write).layer(DefaultBodyLimit::max(WRITTEN_BYTES_MAX)),
        )
        .route("/sandbox/customers/{customer}/threads/{account}/read", post(read))
        .route("/sandbox/faults", get(faults).post(add_fault).delete(remove_faults))
        .route("/sandbox/faults/{fault}", delete(remove_fault))
        .route("/sandbox/media/{media}", get(media))
        .route("/sandbox/errors", get(errors))
        .route("/sandbox/transfers", get(transfers))
        .route("/sandbox/script", post(play))
        .route("/sandbox/stream", get(listen))
        .merge(accounts::routes())
        .merge(posts::routes())
}

/// Tells listeners what has changed.
#[derive(Debug)]
pub(crate) struct Changes(broadcast::Sender<Change>);

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    #[serde(rename = "type")]
    kind: ChangeKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    Message,
    Status,
    Typing,
    Reaction,
    State,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(CHANGES_MAX))
    }

    pub(crate) fn tell(&self, kind: ChangeKind, customer: &str, account: &str) {
        if self.0.receiver_count() > 0 {
            self.send(kind, Some(customer), Some(account));
        }
    }

    pub(crate) fn tell_state(&self) {
        self.send(ChangeKind::State, None, None);
    }

    fn send(&self, kind: ChangeKind, customer: Option<&str>, account: Option<&str>) {
        // Nobody may be listening.
        let _ = self.0.send(Change {
            kind,
            customer_id: customer.map(str::to_owned),
            account_id: account.map(str::to_owned),
        });
    }
}

/// Why a control request was refused.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
    }
}

/// A JSON body; a bad one is refused in the same shape as everything else.
#[derive(Debug, FromRequest)]
#[from_request(via(Json), rejection(Refusal))]
struct Read<T>(T);

/// A query string, likewise.
#[derive(Debug, FromRequestParts)]
#[from_request(via(Query), rejection(Refusal))]
struct Asked<T>(T);

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "invalid_body", rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "invalid_query", rejection.body_text())
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        let (status, code) = match error {
            WriteError::UnknownCustomer(_) => (StatusCode::NOT_FOUND, "unknown_customer"),
            WriteError::UnknownAccount(_) => (StatusCode::NOT_FOUND, "unknown_account"),
            WriteError::UnknownMessage(_) => (StatusCode::NOT_FOUND, "unknown_message"),
            WriteError::UnknownComment(_) => (StatusCode::NOT_FOUND, "unknown_comment"),
            WriteError::UnknownChoice(_) => (StatusCode::NOT_FOUND, "unknown_choice"),
            WriteError::Impossible(_) => (StatusCode::UNPROCESSABLE_ENTITY, "impossible"),
        };
        Self::new(status, code, error.to_string())
    }
}

#[derive(Debug, Deserialize)]
struct LedgerQuery {
    #[serde(default)]
    after: u64,
    kind: Option<LedgerKind>,
    limit: Option<usize>,
}

async fn ledger(Extract(core): Extract<Arc<Core>>, Asked(query): Asked<LedgerQuery>) -> Response {
    let limit = query.limit.unwrap_or(1000).clamp(1, LEDGER_PAGE_MAX);
    Json(core.ledger.read(query.after, query.kind, limit)).into_response()
}

async fn summary(Extract(core): Extract<Arc<Core>>) -> Json<Summary> {
    Json(core.ledger.summary())
}

#[derive(Debug, Deserialize)]
struct MailboxQuery {
    to: Option<String>,
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

impl MailboxQuery {
    fn wanted(&self) -> Wanted {
        Wanted {
            to: self.to.clone(),
            after: self.after,
        }
    }
}

async fn mailbox(Extract(core): Extract<Arc<Core>>, Asked(query): Asked<MailboxQuery>) -> Json<Value> {
    let limit = query.limit.unwrap_or(100).clamp(1, MAILBOX_PAGE_MAX);
    let mails = core.mailbox.read(&query.wanted(), limit);
    let next = mails.last().map_or(query.after, |mail| mail.id);
    Json(json!({"mails": mails, "next": next}))
}

async fn clear_mailbox(Extract(core): Extract<Arc<Core>>, Asked(query): Asked<MailboxQuery>) -> Json<Value> {
    let removed = core.mailbox.remove(&query.wanted());
    Json(json!({ "removed": removed }))
}

async fn clear_ledger(Extract(core): Extract<Arc<Core>>) -> Json<Value> {
    core.ledger.clear();
    Json(json!({"success": true}))
}

async fn clock(Extract(core): Extract<Arc<Core>>) -> Json<Value> {
    Json(shown_clock(&core))
}

fn shown_clock(core: &Core) -> Value {
    let now = core.clock.now();
    let time = jiff::Timestamp::from_millisecond(now).map(|time| time.to_string()).ok();
    json!({"mode": core.clock.mode(), "millis": now, "time": time})
}

#[derive(Debug, Deserialize)]
struct Advance {
    ms: u64,
}

async fn advance(Extract(core): Extract<Arc<Core>>, Read(advance): Read<Advance>) -> Result<Json<Value>, Refusal> {
    if !core.clock.is_stepped() {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "clock_not_stepped",
            "only a stepped clock can be advanced",
        ));
    }
    core.advance(Duration::from_millis(advance.ms)).await;
    Ok(Json(shown_clock(&core)))
}

async fn state(Extract(core): Extract<Arc<Core>>) -> Json<Value> {
    let now = core.clock.now();
    let state = lock(&core.state);
    let numbers = state.numbers.iter().take(ACCOUNTS_SHOWN_MAX);
    let numbers: Vec<Value> = numbers
        .map(|number| accounts::shown_number(&state, number, now))
        .collect();
    let accounts = state.accounts.iter().take(ACCOUNTS_SHOWN_MAX);
    let accounts: Vec<Value> = accounts.map(accounts::shown_account).collect();
    let customers: Vec<Value> = state
        .customers
        .iter()
        .take(CUSTOMERS_SHOWN_MAX)
        .map(|customer| shown_customer(customer, state.ids))
        .collect();
    let templates = state.templates.all();
    Json(json!({
        "clock": shown_clock(&core), "numbers": numbers, "instagramAccounts": accounts, "customers": customers,
        "customersTotal": state.customers.iter().count(),
        "templates": templates,
    }))
}

fn shown_customer(customer: &Customer, ids: Ids) -> Value {
    let mut shown = json!({
        "id": customer.id, "name": customer.name, "kind": customer.channel, "username": customer.username,
        "autoRead": customer.auto_read, "readAfterMs": customer.read_after_ms,
    });
    match customer.channel {
        Channel::WhatsApp => {
            shown["phone"] = json!(customer.phone);
            shown["userId"] = json!(customer.user_id);
            shown["identity"] = json!(customer.identity);
            shown["identityKeyHash"] = json!(ids.identity(&customer.id));
        }
        Channel::Instagram => shown["igsid"] = json!(customer.igsid),
    }
    shown
}

async fn add_customer(
    Extract(core): Extract<Arc<Core>>,
    Read(new): Read<NewCustomer>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let mut state = lock(&core.state);
    let ids = state.ids;
    let shown = match state.customers.add(new, ids) {
        Ok(customer) => shown_customer(customer, ids),
        Err(error) => {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "customer_refused",
                error.to_string(),
            ));
        }
    };
    drop(state);
    core.changes.tell_state();
    Ok((StatusCode::CREATED, Json(shown)))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CustomerChange {
    auto_read: Option<bool>,
    read_after_ms: Option<u64>,
    identity: Option<Identity>,
}

async fn change_customer(
    Extract(core): Extract<Arc<Core>>,
    Path(id): Path<String>,
    Read(change): Read<CustomerChange>,
) -> Result<Json<Value>, Refusal> {
    let mut state = lock(&core.state);
    state.customers.change(&id, |habits| {
        if let Some(auto_read) = change.auto_read {
            *habits.auto_read = auto_read;
        }
        if let Some(after) = change.read_after_ms {
            *habits.read_after_ms = Some(after);
        }
        if let Some(identity) = change.identity {
            *habits.identity = identity;
        }
    });
    let shown = state
        .customers
        .get(&id)
        .map(|customer| shown_customer(customer, state.ids))
        .ok_or(WriteError::UnknownCustomer(id))?;
    drop(state);
    core.changes.tell_state();
    Ok(Json(shown))
}

async fn thread(
    Extract(core): Extract<Arc<Core>>,
    Path((customer, account)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let state = lock(&core.state);
    let channel = state
        .customers
        .get(&customer)
        .map(|customer| customer.channel)
        .ok_or_else(|| WriteError::UnknownCustomer(customer.clone()))?;
    if state.channel(&account) != Some(channel) {
        return Err(WriteError::UnknownAccount(account).into());
    }
    let thread = state.threads.get(&ThreadKey { customer, account });
    let now = core.clock.now();
    let messages: Vec<Value> = thread
        .map(|thread| thread.messages.iter().map(shown_message).collect())
        .unwrap_or_default();
    Ok(Json(json!({
        "messages": messages,
        "typing": thread.is_some_and(|thread| thread.typing_until > now),
        "windowOpen": thread.is_some_and(|thread| thread.window_is_open(now)),
        "blocked": thread.is_some_and(|thread| thread.is_blocked),
        "refusesMarketing": thread.is_some_and(|thread| thread.refuses_marketing),
    })))
}

/// As the customer sees it: their own messages are "mine".
fn shown_message(message: &Message) -> Value {
    let mut shown = serde_json::to_value(&message.shown).unwrap_or_default();
    shown["id"] = json!(message.id);
    shown["direction"] = json!(match message.by {
        By::Customer => "mine",
        By::Business => "theirs",
    });
    shown["at"] = json!(message.at);
    shown["status"] = json!(message.progress);
    shown["edited"] = json!(message.edits > 0);
    shown["reactions"] = message
        .reactions
        .iter()
        .map(|reaction| {
            let by = match reaction.by {
                By::Customer => "mine",
                By::Business => "theirs",
            };
            json!({"by": by, "emoji": reaction.emoji})
        })
        .collect();
    shown
}

async fn write(
    Extract(core): Extract<Arc<Core>>,
    Path((customer, account)): Path<(String, String)>,
    Read(content): Read<Content>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let id = acts::write(&core, &customer, &account, content)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

async fn read(
    Extract(core): Extract<Arc<Core>>,
    Path((customer, account)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    acts::look(&core, &customer, &account)?;
    Ok(Json(json!({"success": true})))
}

/// A file for the phone page, without a token. A part of it may be asked for: a browser looks at the end of a sound to learn how long it
/// is.
async fn media(Extract(core): Extract<Arc<Core>>, Path(id): Path<String>, asked: HeaderMap) -> Response {
    let state = lock(&core.state);
    let Some(media) = state.media.get(&id, core.clock.now()) else {
        return Refusal::new(StatusCode::NOT_FOUND, "unknown_media", "there is no such media").into_response();
    };
    let headers = [
        (CONTENT_TYPE, media.mime.clone()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let whole = media.bytes.len();
    let range = asked.get(RANGE).and_then(|range| part(range.to_str().ok()?, whole));
    match range {
        Some(range) => {
            let place = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
            let bytes = media.bytes.slice(range);
            (StatusCode::PARTIAL_CONTENT, headers, [(CONTENT_RANGE, place)], bytes).into_response()
        }
        None => (headers, media.bytes.clone()).into_response(),
    }
}

/// One range of bytes that lies within the whole; everything else that a client may ask for is answered with the whole.
fn part(range: &str, whole: usize) -> Option<Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let range = if first.is_empty() {
        whole.saturating_sub(last.parse().ok()?)..whole
    } else {
        let end = if last.is_empty() {
            whole
        } else {
            last.parse::<usize>().ok()?.saturating_add(1).min(whole)
        };
        first.parse().ok()?..end
    };
    (range.start < range.end).then_some(range)
}

/// How many files are, and were, on their way.
async fn transfers(Extract(core): Extract<Arc<Core>>) -> Json<TransferCount> {
    Json(core.transfers.count())
}

/// Every error that a fault can bring.
async fn errors() -> Json<Value> {
    let rows: Vec<Value> = ERRORS
        .iter()
        .map(|row| {
            json!({
                "kind": row.channel, "code": row.code, "codeLast": row.code_last, "subcode": row.subcode,
                "httpStatus": row.http_status, "message": row.message,
            })
        })
        .collect();
    Json(json!({ "errors": rows }))
}

/// Starts a script, given as YAML.
async fn play(Extract(core): Extract<Arc<Core>>, yaml: String) -> Result<StatusCode, Refusal> {
    let refused = |error: ScriptError| {
        // The place in the text stands in the cause.
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "script_refused",
            format!("{error}{cause}"),
        )
    };
    let script = Script::parse(&yaml).map_err(refused)?;
    script::start(&core, &script).map_err(refused)?;
    core.changes.tell_state();
    Ok(StatusCode::ACCEPTED)
}

async fn faults(Extract(core): Extract<Arc<Core>>) -> Json<Value> {
    let state = lock(&core.state);
    Json(json!({"faults": state.faults}))
}

async fn add_fault(
    Extract(core): Extract<Arc<Core>>,
    Read(request): Read<FaultRequest>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let id = core
        .add_fault(request)
        .map_err(|why| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "fault_refused", why))?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

async fn remove_faults(Extract(core): Extract<Arc<Core>>) -> Json<Value> {
    let mut state = lock(&core.state);
    let removed = state.faults.len();
    state.faults.clear();
    Json(json!({ "removed": removed }))
}

async fn remove_fault(Extract(core): Extract<Arc<Core>>, Path(id): Path<u64>) -> Json<Value> {
    let mut state = lock(&core.state);
    let before = state.faults.len();
    state.faults.retain(|fault| fault.id != id);
    Json(json!({ "removed": before - state.faults.len() }))
}

impl Core {
    /// Puts a fault in force; answers its id.
    pub(crate) fn add_fault(&self, request: FaultRequest) -> Result<u64, &'static str> {
        if let Some(problem) = request.problem() {
            return Err(problem);
        }
        let mut state = lock(&self.state);
        if state.faults.len() >= FAULTS_MAX {
            return Err("too many faults are in force");
        }
        let now = self.clock.now();
        let id = self.count_fault();
        state.faults.push(Fault::new(id, request, now));
        Ok(id)
    }
}

async fn listen(Extract(core): Extract<Arc<Core>>) -> Sse<impl Stream<Item = Result<Frame, Infallible>>> {
    let changes = core.changes.0.subscribe();
    let stopping = core.stopping.clone();
    let frames = stream::unfold((changes, stopping), |(mut changes, stopping)| async move {
        let change = tokio::select! {
            () = stopping.cancelled() => return None,
            change = changes.recv() => change,
        };
        let change = match change {
            Ok(change) => change,
            // A listener that fell behind looks at everything anew.
            Err(broadcast::error::RecvError::Lagged(_)) => Change {
                kind: ChangeKind::State,
                customer_id: None,
                account_id: None,
            },
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        let text = serde_json::to_string(&change).unwrap_or_default();
        Some((Ok(Frame::default().data(text)), (changes, stopping)))
    });
    Sse::new(frames).keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn a_part_of_a_file_lies_within_it() {
        for (asked, expected) in [
            ("bytes=0-", Some(0..10)),
            ("bytes=4-6", Some(4..7)),
            ("bytes=4-60", Some(4..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-30", Some(0..10)),
            ("bytes=10-", None),
            ("bytes=6-4", None),
            ("bytes=-0", None),
            ("bytes=1-2,4-5", None),
            ("lines=1-2", None),
            ("bytes=0-18446744073709551615", Some(0..10)),
        ] {
            assert_eq!(part(asked, 10), expected, "{asked}");
        }
    }
}
