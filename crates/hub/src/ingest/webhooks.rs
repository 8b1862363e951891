//! `GET` and `POST /api/webhooks/{whatsapp,instagram}`: what Meta calls.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Deserialize;
use tidings_meta::notification::Platform;
use tidings_meta::signature;

use crate::app::App;
use crate::http::problem::{Code, Problem};
use crate::ingest::journal::Raw;
use crate::ingest::{Refusal, Room};
use crate::metrics::NotificationResult;

/// When to come again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What Meta asks when it verifies an address.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Verification {
    /// `subscribe`.
    #[serde(rename = "hub.mode")]
    mode: Option<String>,
    /// The token that was agreed on.
    #[serde(rename = "hub.verify_token")]
    verify_token: Option<String>,
    /// To be given back as it is.
    #[serde(rename = "hub.challenge")]
    challenge: Option<String>,
}

/// A query that may be none: other parameters than those of [`Verification`] are left alone, since Meta may add some.
type Asked = Result<Query<Verification>, QueryRejection>;

/// Verification of the WhatsApp address.
#[utoipa::path(get, path = "/api/webhooks/whatsapp", tag = "Meta", params(Verification),
    responses((status = 200, description = "The challenge", body = String, content_type = "text/plain"),
        (status = 400, description = "A parameter is missing, or the query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The mode or the token is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No verify token is configured", body = Problem, content_type = "application/problem+json")))]
pub async fn verify_whatsapp(State(app): State<App>, query: Asked) -> Result<Response, Problem> {
    verify(&app, Platform::WhatsApp, query)
}

/// Verification of the Instagram address.
#[utoipa::path(get, path = "/api/webhooks/instagram", tag = "Meta", params(Verification),
    responses((status = 200, description = "The challenge", body = String, content_type = "text/plain"),
        (status = 400, description = "A parameter is missing, or the query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The mode or the token is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No verify token is configured", body = Problem, content_type = "application/problem+json")))]
pub async fn verify_instagram(State(app): State<App>, query: Asked) -> Result<Response, Problem> {
    verify(&app, Platform::Instagram, query)
}

/// A WhatsApp notification.
#[utoipa::path(post, path = "/api/webhooks/whatsapp", tag = "Meta", request_body(content = Object, description = "As Meta sends it"),
    responses((status = 200, description = "Every event is kept", body = Object, example = json!({"success": true})),
        (status = 400, description = "Signed, but not what Meta sends; kept in quarantine", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The signature is missing or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Over 3 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No app secret is configured, or too much waits", body = Problem, content_type = "application/problem+json")))]
pub async fn receive_whatsapp(
    State(app): State<App>,
    source: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    receive(&app, Platform::WhatsApp, source.0, &headers, body).await
}

/// An Instagram notification.
#[utoipa::path(post, path = "/api/webhooks/instagram", tag = "Meta", request_body(content = Object, description = "As Meta sends it"),
    responses((status = 200, description = "Every event is kept", body = Object, example = json!({"success": true})),
        (status = 400, description = "Signed, but not what Meta sends; kept in quarantine", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The signature is missing or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Over 3 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No app secret is configured, or too much waits", body = Problem, content_type = "application/problem+json")))]
pub async fn receive_instagram(
    State(app): State<App>,
    source: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    receive(&app, Platform::Instagram, source.0, &headers, body).await
}

fn verify(app: &App, platform: Platform, query: Asked) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|_| {
        Problem::new(
            Code::InvalidParameter,
            "The query cannot be read: each of `hub.mode`, `hub.verify_token` and `hub.challenge` is given once, percent-encoded.",
        )
    })?;
    let trust = app.ingest.trusts.now();
    let product = trust.of(platform);
    if !product.has_verify_tokens() {
        let variable = verify_token_variable(platform);
        tracing::warn!(%platform, "verification refused: set {variable} to the verify token that Meta was given");
        return Err(Problem::new(
            Code::VerifyTokenNotConfigured,
            format!("Set {variable} to the verify token that Meta was given."),
        ));
    }
    let (Some(mode), Some(token), Some(challenge)) = (&query.mode, &query.verify_token, &query.challenge) else {
        return Err(Problem::new(
            Code::MissingParameter,
            "Verification takes `hub.mode`, `hub.verify_token` and `hub.challenge`.",
        ));
    };
    let token_is_right = product.knows_verify_token(token);
    if mode != "subscribe" || !token_is_right {
        tracing::warn!(%platform, mode, "verification refused: wrong mode or verify token");
        return Err(Problem::new(
            Code::WrongVerifyToken,
            "The mode is not `subscribe`, or the verify token is not the configured one.",
        ));
    }
    Ok((
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        challenge.clone(),
    )
        .into_response())
}

async fn receive(
    app: &App,
    platform: Platform,
    source: SocketAddr,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let began = std::time::Instant::now();
    let (body, room) = read(app, platform, source, body).await?;
    let now = app.clock.now_millis();
    let signed = app
        .ingest
        .check(
            platform,
            headers.get(signature::HEADER).map(axum::http::HeaderValue::as_bytes),
            &body,
        )
        .map_err(|refusal| refuse(app, platform, source, body.len(), &refusal))?;
    let raw = Raw {
        platform,
        signed,
        received_at: now,
        body,
    };
    let events = match app.ingest.split(&raw) {
        Ok(events) => events,
        Err(refusal) => {
            quarantine(app, source, &raw, &refusal, room).await?;
            return Err(refuse(app, platform, source, 0, &refusal));
        }
    };
    tokio::time::timeout(app.config.webhooks.answer_within, app.ingest.keep(raw, events, room))
        .await
        .unwrap_or(Err(Refusal::Late))
        .map_err(|refusal| refuse(app, platform, source, 0, &refusal))?;
    app.metrics.observe_acknowledgement(began.elapsed());
    Ok(([(header::CONTENT_TYPE, "application/json")], r#"{"success":true}"#).into_response())
}

/// Reads a body, and takes room for what has come of it: who only says that much will come keeps nobody else out.
async fn read(
    app: &App,
    platform: Platform,
    source: SocketAddr,
    mut body: Body,
) -> Result<(Bytes, Option<Room>), Problem> {
    let deadline = tokio::time::Instant::now() + app.config.http.body_timeout;
    let limit = app.config.webhooks.body_bytes_max;
    let mut read = Vec::new();
    let mut room: Option<Room> = None;
    loop {
        let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
            Ok(None) => return Ok((read.into(), room)),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Problem::new(Code::InvalidPayload, "The body broke off.")),
            Err(_) => return Err(Problem::new(Code::RequestTimeout, "The body did not come in time.")),
        };
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > limit {
            app.metrics
                .count_notification(platform, NotificationResult::InvalidPayload);
            return Err(Problem::new(
                Code::PayloadTooLarge,
                format!("A notification has {limit} bytes at most."),
            ));
        }
        let has = room.as_ref().map_or(0, Room::num_permits);
        let more = (read.len() + data.len()).div_ceil(1024).saturating_sub(has);
        let more = app
            .ingest
            .take_room(more)
            .map_err(|refusal| refuse(app, platform, source, read.len(), &refusal))?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        read.extend_from_slice(data);
    }
}

/// Keeps a signed body that cannot be split, so that nothing that Meta signed is lost.
async fn quarantine(
    app: &App,
    source: SocketAddr,
    raw: &Raw,
    refusal: &Refusal,
    room: Option<Room>,
) -> Result<(), Problem> {
    let platform = raw.platform;
    let notification = raw.quarantined(app.ids.next(), refusal.to_string());
    tracing::warn!(
        %platform,
        notification = %notification.id,
        body_bytes = notification.body.len(),
        "notification quarantined: it is not what Meta sends; the list of quarantined notifications says why"
    );
    let kept = app.store.write(move |tx| {
        // As long as the unit waits, so does the body.
        let _room = &room;
        tx.insert_quarantined(&notification)
    });
    match tokio::time::timeout(app.config.webhooks.answer_within, kept).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(refuse(app, platform, source, 0, &Refusal::Store(error))),
        Err(_) => Err(refuse(app, platform, source, 0, &Refusal::Late)),
    }
}

fn refuse(app: &App, platform: Platform, source: SocketAddr, body_bytes: usize, refusal: &Refusal) -> Problem {
    let (result, problem) = match refusal {
        Refusal::NoSecret => {
            let variable = app_secret_variable(platform);
            tracing::warn!(%platform, %source, "notification refused: set {variable} to the app secret, so that signatures can be checked");
            let detail = format!("Set {variable} to the app secret, so that signatures can be checked.");
            (
                NotificationResult::Unavailable,
                Problem::new(Code::AppSecretNotConfigured, detail),
            )
        }
        Refusal::Signature(reason) => {
            tracing::warn!(%platform, %source, %reason, body_bytes, "notification refused: its signature is not Meta's");
            let detail = "`X-Hub-Signature-256` must be the HMAC-SHA256 of the raw body with the app secret.";
            (
                NotificationResult::InvalidSignature,
                Problem::new(Code::InvalidSignature, detail),
            )
        }
        Refusal::Envelope(reason) => {
            // Said where it was quarantined; the reason may quote the body, and so is shown with it alone.
            (
                NotificationResult::InvalidPayload,
                Problem::new(Code::InvalidPayload, reason.clone()),
            )
        }
        Refusal::Full => {
            let problem = Problem::new(
                Code::Overloaded,
                "More notifications are waiting than can be kept in time.",
            )
            .retry_after(RETRY_AFTER);
            (NotificationResult::Unavailable, problem)
        }
        Refusal::Late => {
            tracing::warn!(%platform, "notification refused: the store has not kept it in time; if it does so yet, Meta's next try is a repeat");
            let problem =
                Problem::new(Code::StoreUnavailable, "The notification was not kept in time.").retry_after(RETRY_AFTER);
            (NotificationResult::Unavailable, problem)
        }
        Refusal::Store(error) => {
            tracing::error!(%platform, %error, "notification refused: the store did not keep it");
            let problem =
                Problem::new(Code::StoreUnavailable, "The notification could not be kept.").retry_after(RETRY_AFTER);
            (NotificationResult::Unavailable, problem)
        }
    };
    app.metrics.count_notification(platform, result);
    problem
}

fn app_secret_variable(platform: Platform) -> &'static str {
    match platform {
        Platform::WhatsApp => "WHATSAPP_APP_SECRET",
        Platform::Instagram => "INSTAGRAM_APP_SECRET",
    }
}

fn verify_token_variable(platform: Platform) -> &'static str {
    match platform {
        Platform::WhatsApp => "WHATSAPP_VERIFY_TOKEN",
        Platform::Instagram => "INSTAGRAM_VERIFY_TOKEN",
    }
}
