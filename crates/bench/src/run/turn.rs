//! One server's turn: started, warmed up, loaded, and everything read that it cost.

use std::time::Duration;

use serde::Serialize;

use super::contestant::{Contestant, events_waiting, projected};
use super::store::Store;
use super::{Bench, Engine, megabytes};
use crate::load::{self, Figures, Outcome, Schedule};
use crate::process::Server;
use crate::usage;

/// After the start, before memory at rest is read.
const REST: Duration = Duration::from_secs(2);

/// Load that is not measured: caches fill, connections open, code is loaded.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long the hub may take to work on what a turn left.
pub(super) const PROJECTED_WITHIN: Duration = Duration::from_mins(1);

/// The same for a whole filling.
const FILLED_WITHIN: Duration = Duration::from_hours(1);

/// What one turn showed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Turn {
    pub(super) contestant: Contestant,
    pub(super) round: u32,
    pub(super) load: Figures,
    /// Processor seconds of the server for 10,000 acknowledged webhooks; the hub's include their projection.
    pub(super) cpu_per_10k: f64,
    /// The same of Postgres, where it is used and can be read.
    pub(super) postgres_cpu_per_10k: Option<f64>,
    pub(super) start_seconds: f64,
    pub(super) memory_idle_mb: f64,
    pub(super) memory_max_mb: f64,
    /// The hub's alone.
    pub(super) projection: Option<Projection>,
}

/// How well the hub's projection kept up.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Projection {
    /// Events waiting when the load ended.
    pub(super) backlog: f64,
    /// From the end of the load until none waited.
    pub(super) done_after_seconds: f64,
}

/// Measures one server once.
pub(super) async fn take(bench: &Bench, contestant: Contestant, store: &Store, round: u32) -> anyhow::Result<Turn> {
    let server = contestant.start(bench, store).await?;
    let memory_idle_mb = if contestant.is_hub() {
        tokio::time::sleep(REST).await;
        megabytes(usage::memory(server.pid())?.resident)
    } else {
        megabytes(usage::memory(server.pid())?.resident)
    };
    closed_loop(bench, &server, WARM_UP).await?;
    if contestant.is_hub() {
        projected(&server, PROJECTED_WITHIN, || Ok(())).await?;
    }

    let read_cost = || Cost::read(bench, &server, store.engine);
    let before = read_cost()?;
    let outcome = closed_loop(bench, &server, Duration::from_secs_f64(bench.settings.seconds)).await?;
    let (after, projection) = if contestant.is_hub() {
        let backlog = events_waiting(&server).await?;
        let (done_after, cost) = projected(&server, PROJECTED_WITHIN, read_cost).await?;
        let done_after_seconds = done_after.as_secs_f64();
        (
            cost,
            Some(Projection {
                backlog,
                done_after_seconds,
            }),
        )
    } else {
        (read_cost()?, None)
    };

    let per_10k = |spent: Duration| spent.as_secs_f64() * 10_000.0 / outcome.acknowledged.max(1) as f64;
    let turn = Turn {
        contestant,
        round,
        load: outcome.figures(),
        cpu_per_10k: per_10k(after.server.saturating_sub(before.server)),
        postgres_cpu_per_10k: after
            .postgres
            .zip(before.postgres)
            .filter(|_| contestant != Contestant::Bare)
            .map(|(after, before)| per_10k(after.saturating_sub(before))),
        start_seconds: server.ready_after.as_secs_f64(),
        memory_idle_mb,
        memory_max_mb: megabytes(usage::memory(server.pid())?.resident_max),
        projection,
    };
    server.stop().await?;
    Ok(turn)
}

/// Stores messages through the server's front door, as fast as it takes them, and waits until the hub has worked on them.
pub(super) async fn fill(bench: &Bench, contestant: Contestant, store: &Store, messages: u64) -> anyhow::Result<()> {
    let server = contestant.start(bench, store).await?;
    let schedule = Schedule::Acknowledged(messages);
    load::run(server.address(), bench.settings.connections, schedule, &bench.webhooks).await?;
    if contestant.is_hub() {
        projected(&server, FILLED_WITHIN, || Ok(())).await?;
    }
    server.stop().await
}

/// As many requests as the server answers.
pub(super) async fn closed_loop(bench: &Bench, server: &Server, duration: Duration) -> anyhow::Result<Outcome> {
    let schedule = Schedule::For(duration);
    load::run(server.address(), bench.settings.connections, schedule, &bench.webhooks).await
}

/// Processor time so far.
struct Cost {
    server: Duration,
    postgres: Option<Duration>,
}

impl Cost {
    fn read(bench: &Bench, server: &Server, engine: Engine) -> anyhow::Result<Self> {
        let postgres = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => bench.settings.postgres_pid.map(usage::cpu_with_children).transpose()?,
        };
        Ok(Self {
            server: usage::cpu(server.pid())?,
            postgres,
        })
    }
}
