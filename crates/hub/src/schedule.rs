//! Everything that is done at intervals, in one table.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::conversations::model::Millis;
use crate::sending;
use crate::sending::model::EntryState;
use crate::store::StoreError;

/// How many waiting events and messages a gauge counts at most.
const GAUGE_MAX: u32 = 100_000;

/// One thing that is done at intervals.
#[derive(Debug, Clone, Copy)]
enum Task {
    /// Gauges of what waits.
    Gauges,
    /// Messages whose time has come.
    Scheduled,
    /// Entries of the outbox whose sender is gone.
    LeftBehind,
    /// What is kept for a while only.
    Prune,
}

/// The table: what, and how often.
const TABLE: [(Task, Duration); 4] = [
    (Task::Gauges, Duration::from_millis(250)),
    (Task::Scheduled, Duration::from_millis(250)),
    (Task::LeftBehind, Duration::from_secs(5)),
    (Task::Prune, Duration::from_mins(1)),
];

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut due: Vec<(Task, tokio::time::Interval)> = TABLE
        .into_iter()
        .map(|(task, every)| {
            let mut interval = tokio::time::interval_at(Instant::now() + every, every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (task, interval)
        })
        .collect();
    loop {
        let [gauges, scheduled, left_behind, prune] = &mut due[..] else {
            unreachable!("the table has four rows")
        };
        let task = tokio::select! {
            _ = gauges.1.tick() => gauges.0,
            _ = scheduled.1.tick() => scheduled.0,
            _ = left_behind.1.tick() => left_behind.0,
            _ = prune.1.tick() => prune.0,
            () = stop.cancelled() => return,
        };
        if let Err(error) = perform(&app, task).await {
            tracing::warn!(?task, %error, "a scheduled task failed; it is tried again at its next time");
        }
    }
}

async fn perform(app: &App, task: Task) -> Result<(), StoreError> {
    match task {
        Task::Gauges => gauges(app).await,
        Task::Scheduled => sending::schedule::release_due(app).await,
        Task::LeftBehind => sending::take_over(app, false).await,
        Task::Prune => prune(app).await,
    }
}

async fn gauges(app: &App) -> Result<(), StoreError> {
    let channels: Vec<_> = app
        .channels
        .all()
        .into_iter()
        .map(|channel| channel.id.clone())
        .collect();
    let (waiting, oldest, lengths, activity) = app
        .store
        .read(move |tx| {
            let (waiting, oldest) = tx.waiting_events(GAUGE_MAX)?;
            let mut lengths = Vec::new();
            for channel in &channels {
                for state in [EntryState::Waiting, EntryState::Sending, EntryState::Unknown] {
                    lengths.push((channel.clone(), state, tx.outbox_lengths(channel, state, GAUGE_MAX)?));
                }
            }
            Ok::<_, StoreError>((waiting, oldest, lengths, tx.channel_activity()?))
        })
        .await?;
    let age = oldest.map_or(0, |oldest| (app.clock.now_millis() - oldest).max(0));
    app.metrics
        .set_events_waiting(waiting, Duration::from_millis(age.unsigned_abs()));
    for (channel, state, length) in lengths {
        app.metrics.set_queue_length(&channel, state.as_str(), length);
    }
    // The store also remembers channels that are no longer in the settings; nothing is expected of those.
    let present = activity
        .into_iter()
        .filter(|channel| app.channels.get(&channel.id).is_some());
    for channel in present {
        if let Some(came_at) = channel.last_event_at {
            // Meta's clock may be ahead of ours.
            let lag = channel
                .last_event_occurred_at
                .map(|at| millis(came_at.saturating_sub(at)));
            app.metrics.set_channel_activity(&channel.id, millis(came_at), lag);
        }
    }
    Ok(())
}

/// As a duration; none where it would be negative.
fn millis(millis: Millis) -> Duration {
    Duration::from_millis(millis.max(0).unsigned_abs())
}

async fn prune(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    let retention = app.config.retention.clone();
    let before = move |age: Duration| -> Millis { now - i64::try_from(age.as_millis()).unwrap_or(i64::MAX) };
    loop {
        let retention = retention.clone();
        let pruned = app
            .store
            .write_unflushed(move |tx| {
                Ok::<_, StoreError>(
                    tx.prune_stream(before(retention.stream))?
                        + tx.prune_parked(before(retention.parked))?
                        + tx.prune_idempotency_keys(before(retention.idempotency))?,
                )
            })
            .await?;
        if pruned == 0 {
            break;
        }
    }
    let keep = app.config.retention.quarantined_max;
    app.store.write_unflushed(move |tx| tx.prune_quarantined(keep)).await?;
    Ok(())
}
