//! The Graph endpoints: `graph.facebook.com` and `graph.instagram.com` on one address.
//!
//! A request goes through four steps, in this order: the faults that somebody asked for, the token, the path, the
//! parameters (graph-api.md 14). The version in front of the path is optional, and any one is accepted; the header
//! `facebook-api-version` repeats it.
//!
//! - [`whatsapp`], [`instagram`]: sending. [`templates`]: templates. [`nodes`]: reading. [`subscriptions`]: who is told. [`tokens`]: who asks.
//! - [`posts`], [`publishing`]: what an Instagram account has posted, and posts. [`fields`]: which fields are asked for.
//! - [`exchange`]: tokens for codes and for other tokens. [`registration`]: a number's PIN. [`block_list`]: whom it does not hear.
//! - [`conversations`]: what was said on Instagram, read back. [`comments`]: what is said under posts, and mentions.
//! - [`batch`]: several calls in one.
//! - [`params`]: parameters from query, form or JSON. [`error`]: errors in Meta's shape; [`catalogue`]: all that Meta has.
//! - [`bounds`]: how long and how many. [`limits`]: how fast and how much.

mod batch;
mod block_list;
pub(crate) mod bounds;
pub(crate) mod catalogue;
mod comments;
mod conversations;
pub(crate) mod error;
mod exchange;
mod fields;
mod instagram;
mod limits;
pub(crate) mod media;
mod nodes;
mod params;
mod posts;
mod publishing;
mod registration;
pub(crate) mod subscriptions;
pub(crate) mod templates;
mod tokens;
mod whatsapp;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::Core;
use crate::customers::people::Channel;
use crate::faults::{self, FaultKind, FaultRequest, Target};
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::media::Transfer;
use crate::state::State;
use crate::webhooks::{Event, Object};
use error::GraphError;
use exchange::Exchange;
use params::{Params, percent_decode};
use tokens::Caller;

/// The version that a call without one is served by (graph-api.md 1).
pub(crate) const VERSION: &str = "v26.0";
const BODY_MAX: usize = 4 * 1024 * 1024;
/// The largest file that is an example of a template's header (whatsapp.md 10.3).
const UPLOAD_MAX: usize = 101 * 1024 * 1024;
/// A larger body is not repeated in the ledger.
const LEDGER_BODY_MAX: usize = 16 * 1024;

/// The answer to a request that succeeded, and what happens along with it.
pub(crate) struct Answer {
    said: Said,
    after: After,
}

pub(crate) enum Said {
    Json(Value),
    File {
        mime: String,
        bytes: Bytes,
        damage: Option<FaultKind>,
    },
}

pub(crate) enum After {
    Nothing,
    /// This is posted once the answer is out.
    Emit(Box<Event>),
    /// The answer waits for this.
    Wait(oneshot::Receiver<()>),
}

impl Answer {
    fn just(value: Value) -> Self {
        Self::saying(Said::Json(value))
    }

    fn saying(said: Said) -> Self {
        Self {
            said,
            after: After::Nothing,
        }
    }
}

/// Answers one Graph request.
pub(crate) async fn handle(Extract(core): Extract<Arc<Core>>, request: Request<Body>) -> Response<Body> {
    let trace = core.ids.trace(core.count_trace());
    let (version, path) = split_path(request.uri().path());
    let version = version.unwrap_or_else(|| VERSION.to_owned());
    let is_batch = request.method() == Method::POST && path.is_empty();
    let answered = async {
        if is_batch {
            batch::answer(&core, request, &version, &trace).await
        } else {
            respond(&core, request, &path, &version, &trace).await
        }
    };
    let mut response = tokio::select! {
        biased;
        () = core.stopping.cancelled() => cut(),
        response = answered => response,
    };
    let headers = response.headers_mut();
    if let Ok(version) = HeaderValue::from_str(&version) {
        headers.insert("facebook-api-version", version);
    }
    if let Ok(trace) = HeaderValue::from_str(&trace) {
        headers.insert("x-fb-trace-id", trace);
    }
    response
}

async fn respond(
    core: &Arc<Core>,
    request: Request<Body>,
    path: &[String],
    version: &str,
    trace: &str,
) -> Response<Body> {
    let path_refs: Vec<&str> = path.iter().map(String::as_str).collect();
    let endpoint = endpoint(core, &path_refs);
    let transfer = matches!(endpoint, "media.upload" | "media.download").then(|| core.transfers.begin());
    let is_session = templates::upload::is_session(&path_refs);
    let (parts, body) = request.into_parts();
    let mut raw = Bytes::new();
    let (params, file, length) = if media::is_form(&parts.headers) {
        match media::read_form(&parts, body).await {
            Ok((params, file, length)) => (Ok(params), file, length),
            Err(error) => return refuse(core, path, &error, trace),
        }
    } else {
        let body_max = if is_session { UPLOAD_MAX } else { BODY_MAX };
        match axum::body::to_bytes(body, body_max).await {
            Ok(body) => raw = body,
            Err(_) => return refuse(core, path, &GraphError::parameter("The body is too large."), trace),
        }
        let params = if is_session {
            // The bytes of an example, whatever they are.
            Ok(Params::with(parts.uri.query(), Map::new()))
        } else {
            Params::read(parts.uri.query(), &parts.headers, &raw)
        };
        (params, None, raw.len())
    };
    let shown = if !core.ledger.keeps_entries() {
        Value::Null
    } else if length > LEDGER_BODY_MAX {
        json!({"bytes": length})
    } else {
        params.as_ref().map(Params::without_secrets).unwrap_or_default()
    };
    let detail = json!({"method": parts.method.as_str(), "path": path.join("/"), "version": version, "params": shown});
    let account = path.first().map(String::as_str);
    let subject = Subject {
        account,
        ..Subject::default()
    };
    core.ledger
        .write(core.clock.now(), LedgerKind::Received, &subject, detail);

    let faults = struck(core, &path_refs, endpoint);
    for fault in &faults {
        core.ledger
            .write(core.clock.now(), LedgerKind::Faulted, &subject, json!(fault));
    }
    if let Some(fault) = find(&faults, FaultKind::Outage) {
        return fault.http_status.map_or_else(cut, page);
    }
    if let Some(fault) = find(&faults, FaultKind::Delay) {
        wait(core, fault, 1_000).await;
    }
    if let Some(fault) = find(&faults, FaultKind::PlainError) {
        return page(fault.http_status.unwrap_or(503));
    }
    if find(&faults, FaultKind::ResetBefore).is_some() {
        return cut();
    }
    let now = core.clock.now();
    let mut told = Vec::new();
    let answer = match params {
        Err(error) => Err(error),
        Ok(params) if path_refs.len() == 2 && path_refs[0] == posts::CDN => {
            return posts::download(core, &lock(&core.state), path_refs[1], &params);
        }
        Ok(params) if let Some(exchange) = Exchange::of(&path_refs) => {
            let asked = error_asked(&lock(&core.state), &path_refs, &faults);
            let answer = asked.map_or_else(|| exchange.answer(core, &params), Err);
            answer.map(Answer::just)
        }
        // The address alone is what lets one read it.
        Ok(params) if path_refs == ["ig_messaging_cdn"] => {
            return match media::signed_download(core, &params, &faults) {
                Some(answer) => accept(core, answer, transfer).await,
                // What an Instagram address answers that is over (instagram.md 5.3).
                None => (StatusCode::FORBIDDEN, "URL signature expired").into_response(),
            };
        }
        Ok(params) => match admit(core, &parts.headers, &params, &path_refs, endpoint, &faults) {
            Err(refused) => {
                let (error, headers) = *refused;
                told = headers;
                Err(error)
            }
            Ok(caller) if path_refs == ["whatsapp_business", "attachments"] => {
                return match media::download(core, &caller, &params, &faults) {
                    Some(answer) => accept(core, answer, transfer).await,
                    None => StatusCode::NOT_FOUND.into_response(),
                };
            }
            Ok(caller) => {
                let is_post = parts.method == Method::POST;
                let answer = if is_post && endpoint == "media.upload" && path_refs.get(1..) == Some(&["media"]) {
                    media::upload(core, path_refs[0], &caller, &params, file).map(Answer::just)
                } else if is_post && is_session {
                    templates::upload::finish(core, path_refs[0], &parts.headers, &raw).map(Answer::just)
                } else if is_post && path_refs.get(1..) == Some(&["message_attachments"]) {
                    media::attach(core, path_refs[0], &caller, &params, file).map(Answer::just)
                } else {
                    let fail_with = find(&faults, FaultKind::Status).map(|fault| fault.code.unwrap_or(131_026));
                    let fail_with = match fail_with {
                        None if endpoint == "messages" => media::fetch_linked(core, &params).await,
                        asked => asked,
                    };
                    dispatch(core, &parts.method, &path_refs, &caller, &params, version, fail_with).await
                };
                told = limits::headers(core, &mut lock(&core.state), &caller, &path_refs, now);
                answer
            }
        },
    };
    let mut response = match answer {
        Ok(answer) => accept(core, answer, transfer).await,
        Err(error) => refuse(core, path, &error, trace),
    };
    response.headers_mut().extend(told);
    if find(&faults, FaultKind::ResetAfterAccept).is_some() {
        return cut();
    }
    if let Some(fault) = find(&faults, FaultKind::TimeoutAfterAccept) {
        wait(core, fault, 600_000).await;
        return cut();
    }
    response
}

/// The faults that hit a request.
fn struck(core: &Core, path: &[&str], endpoint: &str) -> Vec<FaultRequest> {
    let mut state = lock(&core.state);
    let state = &mut *state;
    if state.faults.is_empty() {
        return Vec::new();
    }
    let id = path.first().copied().unwrap_or_default();
    let mut accounts = vec![id.to_owned()];
    accounts.extend(state.number(id).map(|number| number.business_account_id.clone()));
    accounts.extend(state.account(id).map(|account| account.id.clone()));
    accounts.extend(state.posts.account_of(id).map(str::to_owned));
    accounts.extend(state.comments.get(id).map(|comment| comment.key.account.clone()));
    let target = Target {
        endpoint,
        accounts: &accounts,
        now: core.clock.now(),
    };
    faults::hits(&mut state.faults, &target, &[], state.ids)
}

type Headers = Vec<(HeaderName, HeaderValue)>;

/// Who asks, if nothing is wrong with the token, no fault stands before the request, and no limit of calls is reached.
fn admit(
    core: &Core,
    headers: &HeaderMap,
    params: &Params,
    path: &[&str],
    endpoint: &str,
    faults: &[FaultRequest],
) -> Result<Caller, Box<(GraphError, Headers)>> {
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let state = &mut *state;
    let alone = |error| Box::new((error, Vec::new()));
    if find(faults, FaultKind::TokenExpired).is_some() {
        return Err(alone(tokens::expired()));
    }
    if find(faults, FaultKind::TokenRevoked).is_some() {
        return Err(alone(tokens::revoked()));
    }
    // An error that was asked for comes before the token is looked at, so that any test can have it.
    if let Some(error) = error_asked(state, path, faults) {
        return Err(alone(error));
    }
    let caller = tokens::caller(state, headers, params, now).map_err(alone)?;
    tokens::check_scope(state, &caller, path).map_err(alone)?;
    let concerned = path.first().and_then(|id| limits::concerned(state, &caller, id));
    let on_instagram = matches!(concerned, Some((Object::Instagram, _)));
    if find(faults, FaultKind::NumberBlocked).is_some() {
        return Err(alone(if on_instagram {
            GraphError::new(
                403,
                368,
                "(#368) The action attempted has been deemed abusive or is otherwise disallowed",
            )
        } else {
            GraphError::whatsapp(131_031, "The account has been locked")
        }));
    }
    if let Some(fault) = find(faults, FaultKind::Throttle) {
        let usual = match endpoint {
            "messages" if on_instagram => 613,
            "messages" => 130_429,
            _ => 4,
        };
        let channel = if on_instagram {
            Channel::Instagram
        } else {
            Channel::WhatsApp
        };
        let error = error::of_fault(channel, fault, usual);
        let mut told = Vec::new();
        if fault.headers.unwrap_or(true) {
            told.extend((error.code == 4).then(|| limits::app_usage(100)));
            told.extend(
                concerned
                    .map(|(object, id)| limits::business_usage(object, &id, 100, fault.regain_minutes.unwrap_or(1))),
            );
        }
        return Err(Box::new((error, told)));
    }
    if endpoint != "messages"
        && let Err(error) = limits::take_call(core, state, &caller, path, now)
    {
        let told = limits::headers(core, state, &caller, path, now);
        return Err(Box::new((error, told)));
    }
    Ok(caller)
}

/// The error that somebody asked for, if any.
fn error_asked(state: &State, path: &[&str], faults: &[FaultRequest]) -> Option<GraphError> {
    let fault = find(faults, FaultKind::Error)?;
    // The token may say on which channel `me` is, and isn't looked at yet.
    let id = path.first().copied().unwrap_or_default();
    let channel = match state.account(id) {
        Some(_) => Channel::Instagram,
        None => Channel::WhatsApp,
    };
    Some(error::of_fault(channel, fault, 131_000))
}

/// What stands before Meta answers so: no error object, but a page.
fn page(status: u16) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let text = format!("<!DOCTYPE html><html><head><title>Error</title></head><body><h1>{status}</h1></body></html>");
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

/// What faults call the endpoint of a path.
fn endpoint<'a>(core: &Core, path: &[&'a str]) -> &'a str {
    match path {
        [
            _,
            edge @ ("messages" | "message_templates" | "insights" | "subscriptions" | "subscribed_apps"),
        ] => edge,
        [id, "media"] if *id == "me" || lock(&core.state).account(id).is_some() => "media.posts",
        [_, "media_publish"] | [posts::CDN, _] => "media.posts",
        [_, "comments" | "replies" | "mentions"] => "comments",
        [id] if lock(&core.state).comments.get(id).is_some() => "comments",
        [_, "media" | "message_attachments"] => "media.upload",
        ["whatsapp_business", "attachments"] | ["ig_messaging_cdn"] => "media.download",
        ["debug_token"] => "debug_token",
        _ if Exchange::of(path).is_some() => faults::TOKENS,
        _ => "read",
    }
}

async fn dispatch(
    core: &Arc<Core>,
    method: &Method,
    path: &[&str],
    caller: &Caller,
    params: &Params,
    version: &str,
    fail_with: Option<i64>,
) -> Result<Answer, GraphError> {
    let name = method.as_str();
    if let Some(answer) = templates::answer(core, name, path, caller, params) {
        return answer.map(Answer::just);
    }
    match (name, path) {
        (_, [id, "subscriptions"]) => subscriptions::app(core, name, id, caller, params, version)
            .await
            .map(Answer::just),
        ("POST", [id, "messages"]) => {
            let on_whatsapp = lock(&core.state).number(id).is_some();
            if on_whatsapp {
                whatsapp::send(core, id, caller, params, fail_with).map(Answer::just)
            } else {
                let account = instagram_account(core, id, caller).ok_or_else(|| GraphError::no_object(name, id))?;
                instagram::send(core, &account, caller, params)
            }
        }
        (_, [id, "subscribed_apps"]) => {
            let account = instagram_account(core, id, caller);
            let asset = nodes::asset(&lock(&core.state), account.as_deref().unwrap_or(id));
            let (object, asset) = asset.ok_or_else(|| GraphError::no_object(name, id))?;
            subscriptions::installed(core, name, &asset, object, caller, params).map(Answer::just)
        }
        ("POST", [id, "whatsapp_business_profile"]) => {
            nodes::change_business_profile(&mut lock(&core.state), id, caller, params).map(Answer::just)
        }
        (_, [id, "block_users"]) => block_list::answer(core, name, id, caller, params).map(Answer::just),
        ("POST", [id, edge @ ("register" | "deregister" | "request_code" | "verify_code")]) => {
            registration::answer(core, id, Some(edge), caller, params).map(Answer::just)
        }
        ("POST", [id]) if lock(&core.state).number(id).is_some() => {
            registration::answer(core, id, None, caller, params).map(Answer::just)
        }
        ("GET", [id, "conversations"]) => {
            let account = instagram_account(core, id, caller).ok_or_else(|| GraphError::no_object(name, id))?;
            conversations::list(core, &account, caller, params).map(Answer::just)
        }
        ("POST", [id, edge @ ("media" | "media_publish")]) => {
            let account = instagram_account(core, id, caller).ok_or_else(|| GraphError::no_object(name, id))?;
            match *edge {
                "media" => publishing::make(core, &account, caller, params),
                _ => publishing::publish(core, &account, caller, params),
            }
            .map(Answer::just)
        }
        ("GET", [id, "content_publishing_limit"]) => {
            let account = instagram_account(core, id, caller).ok_or_else(|| GraphError::no_object(name, id))?;
            let now = core.clock.now();
            publishing::quota(&mut lock(&core.state), &account, caller, now).map(Answer::just)
        }
        ("POST", [id, "comments" | "replies" | "mentions"] | [id]) => {
            let own = instagram_account(core, id, caller);
            let id = own.as_deref().unwrap_or(id);
            let path: Vec<&str> = [id].into_iter().chain(path.iter().skip(1).copied()).collect();
            comments::post(core, &path, caller, params).unwrap_or_else(|| Err(GraphError::no_object(name, id)))
        }
        ("DELETE", [id]) => media::delete(core, id, caller)
            .or_else(|| comments::delete(core, id, caller))
            .or_else(|| posts::delete(&mut lock(&core.state), id, caller))
            .unwrap_or_else(|| Err(GraphError::no_object(name, id)))
            .map(Answer::just),
        ("GET", [id]) if let Some(read) = conversations::look_up(core, id, caller, params) => read.map(Answer::just),
        ("GET", []) => several(core, caller, params, version).map(Answer::just),
        ("GET", _) => get(core, path, caller, params, version).map(Answer::just),
        _ => Err(GraphError::no_object(name, path.first().copied().unwrap_or_default())),
    }
}

/// The Instagram account with this id, which may be `me`.
fn instagram_account(core: &Core, id: &str, caller: &Caller) -> Option<String> {
    let state = lock(&core.state);
    let account = if id == "me" {
        nodes::own_account(&state, caller)
    } else {
        state.account(id)
    };
    account.map(|account| account.id.clone())
}

/// `GET /?ids=`: each object under its id (graph-api.md 5). Each counts as a call of its own.
fn several(core: &Core, caller: &Caller, params: &Params, version: &str) -> Result<Value, GraphError> {
    let ids = params
        .list("ids")
        .filter(|ids| (1..=batch::ITEMS_MAX).contains(&ids.len()));
    let ids =
        ids.ok_or_else(|| GraphError::parameter(format!("Param ids must have 1 to {} items.", batch::ITEMS_MAX)))?;
    let mut found = Map::new();
    for id in ids {
        let path = [id.as_str()];
        tokens::check_scope(&lock(&core.state), caller, &path)?;
        limits::take_call(core, &mut lock(&core.state), caller, &path, core.clock.now())?;
        let object = get(core, &path, caller, params, version)?;
        found.insert(id, object);
    }
    Ok(Value::Object(found))
}

fn get(core: &Core, path: &[&str], caller: &Caller, params: &Params, version: &str) -> Result<Value, GraphError> {
    let subscription = lock(&core.subscriptions).get(&Object::WhatsApp).cloned();
    let state = lock(&core.state);
    let now = core.clock.now();
    match path {
        ["debug_token"] => tokens::debug(&state, caller, params, now),
        ["me"] => {
            let own = nodes::own_account(&state, caller);
            let mentions = own.and_then(|account| comments::mentions(&state, &account.id, caller, params));
            mentions.unwrap_or_else(|| nodes::me(&state, caller, params))
        }
        [id, edge] => {
            if let Some(answer) = comments::list(core, &state, (id, edge), caller, params, version) {
                return answer;
            }
            if let Some(answer) = posts::edge(core, &state, id, edge, caller, params) {
                return answer;
            }
            if let (Some(number), "whatsapp_business_profile") = (state.number(id), *edge) {
                return nodes::business_profile(&state, number, caller, params);
            }
            let own = nodes::own_account(&state, caller).filter(|_| *id == "me");
            let id = own.map_or(*id, |account| &account.id);
            let (object, asset) = nodes::asset(&state, id).ok_or_else(|| GraphError::no_object("GET", id))?;
            match (object, *edge) {
                (Object::WhatsApp, "phone_numbers") => {
                    nodes::numbers(&state, &asset, subscription.as_ref(), caller, params, now)
                }
                (Object::Instagram, "media") => posts::list(core, &state, &asset, caller, params, version),
                (Object::Instagram, "stories") => posts::stories(core, &state, &asset, caller, params),
                _ => Err(GraphError::no_object("GET", id)),
            }
        }
        [id] => {
            if let Some(number) = state.number(id) {
                nodes::number(
                    number,
                    state.quality(number, now),
                    subscription.as_ref(),
                    caller,
                    params,
                )
            } else if let Some(account) = state.account(id) {
                comments::mentions(&state, &account.id, caller, params)
                    .unwrap_or_else(|| nodes::account(account, caller, params))
            } else if let Some(customer) = state.customers.by_igsid(id) {
                nodes::profile(&state, customer, caller, params)
            } else if let Some((Object::WhatsApp, asset)) = nodes::asset(&state, id) {
                nodes::business_account(&asset, caller, params)
            } else {
                posts::look_up(core, &state, id, caller, params)
                    .or_else(|| comments::look_up(&state, id, caller, params))
                    .or_else(|| publishing::look_up(core, &state, id, caller))
                    .or_else(|| media::look_up(core, &state, id, caller, params))
                    .unwrap_or_else(|| Err(GraphError::no_object("GET", id)))
            }
        }
        _ => Err(GraphError::no_object("GET", path.first().copied().unwrap_or_default())),
    }
}

async fn accept(core: &Arc<Core>, answer: Answer, transfer: Option<Transfer>) -> Response<Body> {
    let bytes = match answer.said {
        Said::Json(value) => Bytes::from(value.to_string()),
        Said::File { mime, bytes, damage } => return media::respond(&mime, &bytes, damage, transfer),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_LENGTH, HeaderValue::from(bytes.len())),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    match answer.after {
        After::Nothing => (headers, bytes).into_response(),
        After::Wait(attempted) => {
            // An error means that the event was dropped, and there is nothing to wait for.
            let _ = attempted.await;
            (headers, bytes).into_response()
        }
        After::Emit(event) => {
            let emitter = Emitter {
                core: Arc::clone(core),
                event: Some(*event),
            };
            let body = Body::from_stream(stream::unfold((Some(bytes), emitter), |(bytes, emitter)| async move {
                bytes.map(|bytes| (Ok::<_, io::Error>(bytes), (None, emitter)))
            }));
            (headers, body).into_response()
        }
    }
}

/// Emits its event when it is dropped: when the answer that holds it was handed to the connection, or given up.
struct Emitter {
    core: Arc<Core>,
    event: Option<Event>,
}

impl Drop for Emitter {
    fn drop(&mut self) {
        let state = lock(&self.core.state);
        self.core.emit(&state, self.event.take());
    }
}

fn refuse(core: &Core, path: &[String], error: &GraphError, trace: &str) -> Response<Body> {
    let detail = json!({
        "code": error.code, "subcode": error.subcode, "httpStatus": error.http_status, "message": error.message,
        "details": error.details,
    });
    let subject = Subject {
        account: path.first().map(String::as_str),
        ..Subject::default()
    };
    core.ledger
        .write(core.clock.now(), LedgerKind::Refused, &subject, detail);
    error.respond(trace)
}

/// An answer that ends the connection before its first byte: its body fails before anything is flushed.
fn cut() -> Response<Body> {
    let failure = io::Error::new(io::ErrorKind::ConnectionReset, "cut on purpose");
    Response::new(Body::from_stream(stream::iter([Err::<Bytes, _>(failure)])))
}

fn find(faults: &[FaultRequest], kind: FaultKind) -> Option<&FaultRequest> {
    faults.iter().find(|fault| fault.kind == kind)
}

async fn wait(core: &Core, fault: &FaultRequest, usual_millis: u64) {
    let delay = Duration::from_millis(fault.delay_ms.unwrap_or(usual_millis));
    core.clock.sleep_until(core.after(delay)).await;
}

/// The path of a request, in parts, without the version; and the version, if there is one.
fn split_path(path: &str) -> (Option<String>, Vec<String>) {
    let mut parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode(part.replace('+', "%2B").as_bytes()))
        .collect();
    let is_version = parts.first().is_some_and(|part| {
        part.strip_prefix('v')
            .and_then(|numbers| numbers.split_once('.'))
            .is_some_and(|(major, minor)| {
                [major, minor]
                    .iter()
                    .all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            })
    });
    let version = is_version.then(|| parts.remove(0));
    (version, parts)
}
