//! How the hub is doing, for machines that ask: does it live, is it ready, what has it counted.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::MetricsReader;
use crate::app::App;
use crate::http::timestamp::Time;

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
    warnings.extend(app.silences.warnings());
    warnings
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

/// Counters and gauges, as Prometheus reads them. Takes a key, unless the settings name the address that asks.
#[utoipa::path(get, path = "/metrics", tag = "Health",
    responses((status = 200, description = "All counters and gauges", body = String, content_type = "application/openmetrics-text")))]
pub async fn metrics(_: MetricsReader, State(app): State<App>) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        app.metrics.render(),
    )
        .into_response()
}
