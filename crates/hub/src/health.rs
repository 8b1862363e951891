//! How the hub is doing, for machines that ask: does it live, is it ready, what has it counted.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::MetricsReader;
use crate::app::App;
use crate::http::timestamp::Time;
use crate::metrics::Exposition;

/// A store that answers more slowly than this is not ready.
const STORE_WITHIN: Duration = Duration::from_secs(1);

/// Told to whoever watches the hub, since the same warning in the log is long gone when it matters.
const SIGNATURES_UNCHECKED: &str = "The signatures of webhooks are not checked: anyone who reaches this hub can post events. Set WEBHOOK_SIGNATURE_REQUIRED to true.";

const OUTBOUND_STOPPED: &str = "Nothing is sent: the stop switch is on. `tidings outbound start` goes on.";

/// That the hub lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Live {
    /// `live`
    status: &'static str,
}

/// Whether the hub is ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// `ready`, or `not_ready`.
    status: &'static str,
    /// What was looked at.
    checks: Vec<Check>,
    /// What does not keep the hub from its work, but should not stay so.
    warnings: Vec<String>,
    /// How each channel of Meta's is heard of; looked at every 15 s.
    channels: Vec<ChannelFigures>,
}

/// How a channel is heard of.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelFigures {
    /// Its id.
    channel: String,
    /// When its last event came.
    last_event_at: Option<Time>,
    /// How long after it had happened, by Meta's clock, in seconds.
    ingest_lag_seconds: Option<f64>,
    /// How many events usually come in the time in which none has.
    missed_events: f64,
    /// Whether so many are missing that something must be wrong.
    silent: bool,
    /// Whether its last event came late, in the last hour.
    late: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct Check {
    /// `store` or `workers`.
    name: &'static str,
    /// Whether it is as it should be.
    ok: bool,
}

/// Whether the process lives: always, if it answers.
#[utoipa::path(get, path = "/health/live", tag = "Health", responses((status = 200, description = "It lives", body = Live)))]
pub async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

/// Whether it can do its work: the store answers, and every background task runs. What is wrong is in the log.
#[utoipa::path(get, path = "/health/ready", tag = "Health",
    responses((status = 200, description = "It is ready", body = Ready), (status = 503, description = "It is not", body = Ready)))]
pub async fn ready(State(app): State<App>) -> Response {
    let store = store_answers(&app).await;
    let workers = workers_run(&app);
    let checks = vec![
        Check {
            name: "store",
            ok: store,
        },
        Check {
            name: "workers",
            ok: workers,
        },
    ];
    let (code, status) = if store && workers {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let ready = Ready {
        status,
        checks,
        warnings: warnings(&app),
        channels: channels(&app),
    };
    (code, Json(ready)).into_response()
}

fn warnings(app: &App) -> Vec<String> {
    let mut warnings = Vec::new();
    if !app.config.webhooks.signature_required {
        warnings.push(SIGNATURES_UNCHECKED.to_owned());
    }
    if !app.flags.outbound_enabled() {
        warnings.push(OUTBOUND_STOPPED.to_owned());
    }
    for channel in app.channels.all() {
        if let Some(held) = &channel.held {
            let id = &channel.id;
            warnings.push(format!(
                "Channel `{id}` is held since {}, and its messages wait: Meta says {} ({}). Give it other credentials with \
                 `tidings channel set-token {id}`.",
                Time(held.at),
                held.reason,
                held.code
            ));
        }
        if let Some(circuit) = &channel.circuit {
            let id = &channel.id;
            warnings.push(format!(
                "The circuit of channel `{id}` is open since {}, and its messages wait: too many calls fail ({}). It is tried again by itself.",
                Time(circuit.opened_at),
                circuit.reason
            ));
        }
        if let Some(switched) = &channel.switched {
            let (id, to) = (&channel.id, &switched.to);
            warnings.push(format!(
                "Channel `{id}` is switched to `{to}` since {}: `tidings channel switch {id} --back` ends it.",
                Time(switched.at)
            ));
        }
    }
    warnings.extend(app.hearings.warnings());
    warnings
}

fn channels(app: &App) -> Vec<ChannelFigures> {
    let heard = app.hearings.all().into_iter();
    heard
        .map(|(channel, hearing)| ChannelFigures {
            channel: channel.0,
            last_event_at: hearing.last_event_at.map(Time),
            ingest_lag_seconds: hearing.lag.map(|lag| lag as f64 / 1_000.0),
            missed_events: hearing.missed,
            silent: hearing.is_silent(),
            late: hearing.is_late,
        })
        .collect()
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method alone is not general over the life of a `Tx`"
)]
async fn store_answers(app: &App) -> bool {
    match tokio::time::timeout(STORE_WITHIN, app.store.read(|tx| tx.ping())).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the store failed");
            false
        }
        Err(_) => {
            tracing::warn!("not ready: the store does not answer in time");
            false
        }
    }
}

fn workers_run(app: &App) -> bool {
    match app.workers.healthy() {
        Ok(()) => true,
        Err(failing) => {
            tracing::warn!(?failing, "not ready: background tasks do not run");
            false
        }
    }
}

/// Counters and gauges, as Prometheus reads them: OpenMetrics for whoever asks for it, and Prometheus's text format for all others. Takes a key,
/// unless the settings name the address that asks.
#[utoipa::path(get, path = "/metrics", tag = "Health",
    responses((status = 200, description = "All counters and gauges",
        content((String = "text/plain"), (String = "application/openmetrics-text")))))]
pub async fn metrics(_: MetricsReader, State(app): State<App>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let exposition = Exposition::accepted(accept);
    (
        [(header::CONTENT_TYPE, exposition.content_type())],
        app.metrics.render(exposition),
    )
        .into_response()
}
