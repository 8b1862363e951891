//! The hub at half of what it can take, where it has to be quick, and at twice, where it has to refuse and survive.

use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use super::contestant::{Contestant, projected};
use super::store::Store;
use super::turn::{PROJECTED_WITHIN, closed_loop};
use super::{Bench, Engine, megabytes, progress};
use crate::load::{self, Figures, Schedule};
use crate::usage;

/// Connections of the overload: a sender that does not wait for its answers.
const OVERLOAD_CONNECTIONS: usize = 2_000;

/// Files that the generator and the hub need beside their connections.
const OTHER_FILES: u64 = 100;

/// How long the overload lasts.
const OVERLOAD: Duration = Duration::from_secs(10);

/// The first moments after it, in which the hub has to be back.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// What one hub did at several shares of its capacity.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Capacity {
    pub(super) engine: Engine,
    /// Closed loop: what it can take.
    pub(super) full: Figures,
    /// Open loop at half of that rate.
    pub(super) half: Figures,
    /// Open loop at twice that rate.
    pub(super) twice: Figures,
    /// Requests a second that were due at twice the rate.
    pub(super) twice_due_per_second: f64,
    /// The most memory up to the end of the overload.
    pub(super) memory_max_mb: f64,
    /// The closed loop again, right after; `None` if the hub had ended.
    pub(super) afterwards: Option<Figures>,
}

/// Measures one hub on an empty store.
pub(super) async fn measure(bench: &Bench, engine: Engine) -> anyhow::Result<Capacity> {
    usage::allow_open_files(OVERLOAD_CONNECTIONS as u64 + OTHER_FILES)?;
    let store = Store::new(bench, engine).await?;
    let mut hub = Contestant::Hub.start(bench, &store).await?;
    let duration = Duration::from_secs_f64(bench.settings.seconds);

    closed_loop(bench, &hub, duration / 4).await?;
    let full = closed_loop(bench, &hub, duration).await?;
    let capacity = full.rate();
    ensure!(capacity > 0.0, "the hub acknowledged nothing");
    projected(&hub, PROJECTED_WITHIN, || Ok(())).await?;

    let half_rate = Schedule::Rate {
        per_second: capacity / 2.0,
        duration,
    };
    let half = load::run(hub.address(), bench.settings.connections, half_rate, &bench.webhooks).await?;
    projected(&hub, PROJECTED_WITHIN, || Ok(())).await?;

    let twice_due_per_second = capacity * 2.0;
    let twice_rate = Schedule::Rate {
        per_second: twice_due_per_second,
        duration: OVERLOAD,
    };
    let twice = load::run(hub.address(), OVERLOAD_CONNECTIONS, twice_rate, &bench.webhooks).await?;
    let has_ended = match hub.ended()? {
        Some(status) => {
            progress(&format!("the hub ended under overload ({status}): {}", hub.log_end()));
            true
        }
        None => false,
    };
    let memory_max_mb = if has_ended {
        0.0
    } else {
        megabytes(usage::memory(hub.pid())?.resident_max)
    };
    let afterwards = if has_ended {
        None
    } else {
        Some(closed_loop(bench, &hub, AFTERWARDS).await?.figures())
    };
    if !has_ended {
        projected(&hub, PROJECTED_WITHIN, || Ok(())).await?;
        hub.stop().await?;
    }
    Ok(Capacity {
        engine,
        full: full.figures(),
        half: half.figures(),
        twice: twice.figures(),
        twice_due_per_second,
        memory_max_mb,
        afterwards,
    })
}
