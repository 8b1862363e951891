//! Everything that is done at intervals, in one table.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::conversations::model::Millis;
use crate::ids::AttemptId;
use crate::ingest::silence;
use crate::sending::marketing;
use crate::sending::model::EntryState;
use crate::sending::pace;
use crate::store::StoreError;

/// How many waiting events a gauge counts at most.
const GAUGE_MAX: u32 = 100_000;

/// How long it is remembered, in milliseconds, whom a business has written to: longer than any limit looks back.
const PACE_KEPT: Millis = 25 * 3_600_000;

/// One thing that is done at intervals.
#[derive(Debug, Clone, Copy)]
enum Task {
    /// Gauges of what waits.
    Gauges,
    /// Messages whose time has come.
    Scheduled,
    /// Messages that have waited until they expired.
    Expired,
    /// Messages that may have to go on by another route.
    Routes,
    /// Channels from which nothing comes any more, or late.
    Silence,
    /// What is kept for a while only.
    Prune,
}

/// The table: what, and how often.
const TABLE: &[(Task, Duration)] = &[
    (Task::Gauges, Duration::from_millis(250)),
    (Task::Scheduled, Duration::from_millis(250)),
    (Task::Expired, Duration::from_millis(250)),
    (Task::Routes, Duration::from_millis(250)),
    (Task::Silence, Duration::from_secs(15)),
    (Task::Prune, Duration::from_mins(1)),
];

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut due = table();
    // That is seen to first: something may always be due. What is under way is left, and done by whoever runs next.
    while let Some(task) = stop.run_until_cancelled(next(&mut due)).await {
        match stop.run_until_cancelled(perform(&app, task)).await {
            Some(Err(error)) => {
                tracing::warn!(?task, %error, "a scheduled task failed; it is tried again at its next time");
            }
            Some(Ok(())) => {}
            None => return,
        }
    }
}

/// The table, with the next time of each.
fn table() -> Vec<(Task, Interval)> {
    TABLE
        .iter()
        .map(|&(task, every)| {
            let mut interval = tokio::time::interval_at(Instant::now() + every, every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (task, interval)
        })
        .collect()
}

/// The next task whose time has come. Each is behind all others then: one that is always due keeps none from its turn.
async fn next(due: &mut [(Task, Interval)]) -> Task {
    let at = poll_fn(|context| {
        due.iter_mut()
            .position(|(_, interval)| interval.poll_tick(context).is_ready())
            .map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    let (task, _) = due[at];
    due[..].rotate_left(at + 1);
    task
}

async fn perform(app: &App, task: Task) -> Result<(), StoreError> {
    match task {
        Task::Gauges => gauges(app).await,
        Task::Scheduled => crate::sending::schedule::release_due(app).await,
        Task::Expired => crate::sending::end::end_expired(app).await,
        Task::Routes => crate::sending::route::tend(app).await,
        Task::Silence => silence::look(app).await,
        Task::Prune => prune(app).await,
    }
}

async fn gauges(app: &App) -> Result<(), StoreError> {
    let read = app
        .store
        .read(move |tx| {
            let (waiting, oldest) = tx.waiting_events(GAUGE_MAX)?;
            Ok::<_, StoreError>((waiting, oldest, tx.outbox_figures()?, tx.channel_activity()?))
        })
        .await;
    // What is in the journal is known also while the store answers nothing.
    let (waiting, oldest) = read
        .as_ref()
        .map_or((0, None), |(waiting, oldest, ..)| (*waiting, *oldest));
    let oldest = oldest.into_iter().chain(app.ingest.stuck_since()).min();
    let age = oldest.map_or(0, |oldest| (app.clock.now_millis() - oldest).max(0));
    app.metrics.set_events_waiting(
        waiting.saturating_add_unsigned(app.ingest.waiting() as u64),
        Duration::from_millis(age.unsigned_abs()),
    );
    let (_, _, figures, activity) = read?;
    for channel in app.channels.all() {
        for state in EntryState::ALL {
            let length = figures
                .iter()
                .filter(|figure| figure.channel_id == channel.id && figure.state == state)
                .map(|figure| figure.count)
                .sum();
            app.metrics.set_queue_length(&channel.id, state.as_str(), length);
        }
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
    let channels: Vec<_> = app
        .channels
        .all()
        .into_iter()
        .map(|channel| (channel.id.clone(), channel.budget()))
        .collect();
    let capped = app.config.sending.marketing_hold + marketing::SPREAD;
    loop {
        let (retention, channels) = (retention.clone(), channels.clone());
        let pruned = app
            .store
            .write_unflushed(move |tx| {
                let mut pruned = tx.prune_stream(before(retention.stream))?
                    + tx.prune_parked(before(retention.parked))?
                    + tx.prune_idempotency_keys(before(retention.idempotency))?
                    + tx.prune_attempts(AttemptId::first_of(before(retention.attempts)))?
                    + tx.prune_marketing_caps(before(capped))?;
                for (channel, budget) in &channels {
                    pruned += tx.prune_pace(channel, pace::spans_since(now))?;
                    pruned += tx.prune_budget(budget, pace::spans_since(now), now - PACE_KEPT)?;
                    pruned += tx.prune_private_calls(channel, now - PACE_KEPT)?;
                    pruned += tx.prune_channel_hours(channel, silence::hour_of(now) - silence::HOURS_KEPT)?;
                }
                Ok::<_, StoreError>(pruned)
            })
            .await?;
        if pruned == 0 {
            break;
        }
    }
    crate::media::sweep::sweep(app).await?;
    let keep = app.config.retention.quarantined_max;
    app.store.write_unflushed(move |tx| tx.prune_quarantined(keep)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio_util::sync::CancellationToken;

    use super::{Duration, TABLE, next, table};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_always_due_keeps_no_other_from_its_turn_and_nobody_from_stopping() {
        let mut due = table();
        let mut performed = BTreeSet::new();
        for _ in 0..TABLE.len() {
            // As long as all of them together take, each is due again.
            tokio::time::advance(Duration::from_mins(2)).await;
            performed.insert(format!("{:?}", next(&mut due).await));
        }
        assert_eq!(performed.len(), TABLE.len(), "{performed:?}");

        tokio::time::advance(Duration::from_mins(2)).await;
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(stop.run_until_cancelled(next(&mut due)).await.is_none());
    }
}
