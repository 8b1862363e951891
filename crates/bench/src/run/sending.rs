//! How backlogs drain, on the embedded store: the pace that is used, what it costs, and what goes before what waits.

use std::time::Duration;

use serde::Serialize;

use super::{Bench, Engine, progress};
use crate::send::{self, Report, Settings};

/// How long Meta takes to answer.
const LATENCY: Duration = Duration::from_millis(150);
/// How long a channel sends at its pace.
const SECONDS: u32 = 12;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Backlog {
    /// What a number may send that nobody has raised.
    Usual,
    /// What a number may send at most, with a million messages waiting, replies among them.
    Long,
    /// A hundred channels, and one more on which Meta answers nothing.
    Many,
    /// No limit.
    Unlimited,
}

impl Backlog {
    pub(super) const ALL: [Self; 4] = [Self::Usual, Self::Long, Self::Many, Self::Unlimited];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Usual => "80/s",
            Self::Long => "1,000/s, a million waiting",
            Self::Many => "100 channels, 10/s each",
            Self::Unlimited => "100,000, no limit",
        }
    }

    /// The pace of a channel; 0 for none.
    pub(super) fn per_second(self) -> u32 {
        match self {
            Self::Usual => 80,
            Self::Long => 1_000,
            Self::Many => 10,
            Self::Unlimited => 0,
        }
    }

    fn settings(self, bench: &Bench) -> Option<Settings> {
        let paced = self.per_second() * SECONDS;
        let (messages, drain) = match self {
            Self::Usual | Self::Many => (paced, paced),
            Self::Long => (1_000_000, paced),
            Self::Unlimited => (100_000, 100_000),
        };
        Some(Settings {
            hub: bench.settings.hub.clone()?,
            channels: if self == Self::Many { 100 } else { 1 },
            one_blocked: self == Self::Many,
            messages,
            drain,
            per_second: self.per_second(),
            replies: if self == Self::Long { 20 } else { 0 },
            looks: self == Self::Long,
            latency: LATENCY,
            scratch: bench.settings.scratch.clone(),
        })
    }
}

/// A backlog, and how it drained.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drained {
    pub(super) backlog: Backlog,
    pub(super) report: Report,
}

/// Measures all of them; nothing without the hub, or without the embedded store.
pub(super) async fn measure(bench: &Bench) -> Vec<(Backlog, anyhow::Result<Report>)> {
    let mut measured = Vec::new();
    if !bench.settings.engines.contains(&Engine::Sqlite) {
        return measured;
    }
    for backlog in Backlog::ALL {
        let Some(settings) = backlog.settings(bench) else { break };
        progress(&format!("sending: {}", backlog.name()));
        measured.push((backlog, send::run(settings).await));
    }
    measured
}
