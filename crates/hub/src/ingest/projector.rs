//! Understands kept events, batch by batch, and brings their effect into conversations.
//!
//! Guarantee: every kept event is processed at least once, and its effect stands once. What waits is found by looking at the store; a
//! nudge only makes it sooner, so start-up and recovery are the same as any other moment. A batch is one transaction; if it fails, its
//! events are tried one by one, so that a poisoned one stands alone: it is tried again with growing pauses, and then left `dead`.
//! A crash leaves the batch's events where they were: in the queue.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidings_meta::notification::{EventKind, Platform};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::channels::Channels;
use crate::channels::templates::news::{self, News, Notice};
use crate::conversations::consent::words::Words;
use crate::conversations::model::{ChannelId, Millis};
use crate::conversations::projection::{self, Incoming};
use crate::ids::{EventId, Ids};
use crate::ingest::meaning::Meaning;
use crate::ingest::model::{EventStatus, RetryPolicy, StoredEvent};
use crate::store::events::{CountSlot, QueuePlace};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};

/// How many batches share a transaction, if so many events are due.
const BATCHES_A_COMMIT: u32 = 5;
/// How many transactions there are before the time is read anew.
const COMMITS_MAX: usize = 20;
/// From so many events at once on, it is worth waiting for more.
const BUSY_EVENTS: usize = 50;
/// For how long.
const GATHER: Duration = Duration::from_millis(10);
/// How long to rest after the store failed.
const REST: Duration = Duration::from_millis(500);
/// How long to wait for a nudge before looking again: other nodes, and pauses of failed events.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let rest = match project_due(&app).await {
            Ok(0) => LOOK_AGAIN,
            Ok(events) if events < BUSY_EVENTS => continue,
            Ok(_) => {
                // Under load, wait a moment: a page of the database that many events touch is then written once for all of them.
                tokio::time::sleep(GATHER).await;
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "events could not be processed; they stay in the queue");
                REST
            }
        };
        tokio::select! {
            biased;
            () = app.projector.notified() => {}
            () = tokio::time::sleep(rest) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Processes what is due, until nothing is; answers with how many events that were.
///
/// Several batches are written in one transaction. While they are, the next ones are read and understood.
pub async fn project_due(app: &App) -> Result<usize, StoreError> {
    let worker = Worker {
        channels: app.channels.clone(),
        words: app.config.consent_words.clone(),
        ids: app.ids.clone(),
        retry: RetryPolicy {
            attempts: app.config.webhooks.retry_attempts,
            delay: app.config.webhooks.retry_delay,
        },
        batch_size: app.config.webhooks.batch_size.max(1) as usize,
        now: app.clock.now_millis(),
    };
    let limit = app.config.webhooks.batch_size.saturating_mul(BATCHES_A_COMMIT);
    let mut processed = 0;
    let mut batch = worker.read(app, None, limit).await?;
    for _ in 0..COMMITS_MAX {
        let Some(last) = batch.last().map(|due| due.place) else {
            break;
        };
        if batch.len() < limit as usize {
            // What has come in since then is for the next time.
            return Ok(processed + write(app, &worker, batch).await?);
        }
        let began = Instant::now();
        let (written, next) = tokio::join!(write(app, &worker, batch), worker.read(app, Some(last), limit));
        // With a backlog, what comes in must not wait for ever more of it: others have the writer for a third of the time.
        tokio::time::sleep(began.elapsed() / 2).await;
        processed += written?;
        batch = next?;
    }
    Ok(processed)
}

/// Writes a batch; where it fails as a whole, its events one by one.
async fn write(app: &App, worker: &Worker, batch: Vec<Due>) -> Result<usize, StoreError> {
    let (unit, limit) = (worker.clone(), batch.len());
    let batch = Arc::new(batch);
    // What is left of the batch is dropped here, not on the thread that everybody waits for.
    let shared = Arc::clone(&batch);
    match app.store.write_unflushed(move |tx| unit.project(tx, &shared)).await {
        Ok(done) => Ok(report(app, &done)),
        Err(error @ (StoreError::Unavailable(_) | StoreError::Closed)) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a batch of events failed; they are processed one by one");
            one_by_one(app, worker, limit).await
        }
    }
}

async fn one_by_one(app: &App, worker: &Worker, limit: usize) -> Result<usize, StoreError> {
    for processed in 0..limit {
        let first = worker.read(app, None, 1).await?;
        if first.is_empty() {
            return Ok(processed);
        }
        let single = Arc::new(first);
        let (unit, due) = (worker.clone(), Arc::clone(&single));
        let done = match app.store.write_unflushed(move |tx| unit.project(tx, &due)).await {
            Ok(done) => done,
            Err(error @ (StoreError::Unavailable(_) | StoreError::Closed)) => return Err(error),
            Err(error) => {
                let (unit, reason) = (worker.clone(), error.to_string());
                app.store
                    .write_unflushed(move |tx| unit.give_up(tx, &single, &reason))
                    .await?
            }
        };
        if report(app, &done) == 0 {
            // Another node has it in hand, and is the one to say what becomes of it.
            return Ok(processed);
        }
    }
    Ok(limit)
}

/// Counts and tells what a batch came to, after its commit; answers with how many events that were.
pub(super) fn report(app: &App, done: &Done) -> usize {
    for (channel, kind) in &done.received {
        app.metrics.count_received(channel, kind, &app.channels);
    }
    for (event, _) in &done.events {
        app.metrics.count_processed(event);
        match &event.error {
            Some(error) if event.status != EventStatus::Ignored => {
                tracing::warn!(event = %event.id, kind = event.kind.as_str(), status = event.status.as_str(), error, "event not processed");
            }
            _ => tracing::debug!(
                event = %event.id,
                kind = event.kind.as_str(),
                account = event.account,
                occurred_at = event.occurred_at,
                signed = event.signed,
                status = event.status.as_str(),
                "event processed"
            ),
        }
    }
    for notice in &done.notices {
        notice.log();
        app.metrics.count_template(&notice.status);
    }
    if done.is_about_templates {
        app.templates.notify_one();
    }
    if !done.events.is_empty() {
        app.stream.nudge();
    }
    if done.has_files {
        app.media.nudge_downloads();
    }
    done.events.len()
}

/// An event that is due, understood as far as it can be.
#[derive(Debug, Clone)]
struct Due {
    place: QueuePlace,
    before: EventStatus,
    event: StoredEvent,
    incoming: Option<Incoming>,
    /// What it says of a message template.
    news: Option<News>,
    numbers: Vec<ChannelId>,
    understanding: Duration,
}

/// What a batch came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Its events, and when those are due again that are to be tried again.
    pub(super) events: Vec<(StoredEvent, Option<Millis>)>,
    /// New inbound messages, by their kind of content.
    pub(super) received: Vec<(ChannelId, &'static str)>,
    /// What is to be known of message templates.
    pub(super) notices: Vec<Notice>,
    /// Whether anything was told of one.
    pub(super) is_about_templates: bool,
    /// There are files to be fetched.
    pub(super) has_files: bool,
}

#[derive(Debug, Clone)]
struct Worker {
    channels: Channels,
    words: Words,
    ids: Ids,
    retry: RetryPolicy,
    batch_size: usize,
    now: Millis,
}

impl Worker {
    /// Reads the next due events, and understands them.
    async fn read(&self, app: &App, after: Option<QueuePlace>, limit: u32) -> Result<Vec<Due>, StoreError> {
        let now = self.now;
        let due = app.store.read(move |tx| tx.due_events(now, after, limit)).await?;
        Ok(due.into_iter().map(|(place, event)| self.due(place, event)).collect())
    }

    fn due(&self, place: QueuePlace, mut event: StoredEvent) -> Due {
        let (before, meaning) = (event.status, Meaning::of(&event, &self.channels, &self.words));
        event.channel_id = meaning.channel_id;
        event.status = meaning.status;
        event.error = meaning.error;
        Due {
            place,
            before,
            event,
            incoming: meaning.incoming,
            news: meaning.news,
            numbers: meaning.numbers,
            understanding: meaning.took,
        }
    }

    fn project(&self, tx: &mut Tx<'_>, batch: &[Due]) -> Result<Done, StoreError> {
        let places: Vec<QueuePlace> = batch.iter().map(|due| due.place).collect();
        let ours = tx.claim_events(&places)?;
        let mut seen = HashSet::new();
        // An event can be due twice: for a pause that has ended, and because what it waited for is known now.
        let batch: Vec<&Due> = batch
            .iter()
            .filter(|due| ours.contains(&due.event.id) && seen.insert(due.event.id))
            .collect();
        if batch.is_empty() {
            return Ok(Done::default());
        }
        let began = Instant::now();
        let incoming: Vec<&Incoming> = batch.iter().filter_map(|due| due.incoming.as_ref()).collect();
        let projected = projection::project_all(tx, &incoming, self.batch_size, &self.ids, self.now)?;
        let share = began.elapsed() / batch.len() as u32;
        let before: Vec<EventStatus> = batch.iter().map(|due| due.before).collect();
        let finished: Vec<(StoredEvent, Option<Millis>)> = batch
            .iter()
            .map(|due| {
                let mut event = due.event.clone();
                // The queue does not need it any more, and neither does whoever is told.
                event.payload = String::new();
                event.attempts += 1;
                event.processed_at = Some(self.now);
                event.processing_micros = i64::try_from((share + due.understanding).as_micros()).ok();
                (event, None)
            })
            .collect();
        finish(tx, &before, &finished)?;
        let mut changes: BTreeMap<EventId, _> = incoming
            .iter()
            .map(|event| event.event_id)
            .zip(projected.changes)
            .collect();
        let told: Vec<(EventId, &News)> = batch
            .iter()
            .filter_map(|due| Some((due.event.id, due.news.as_ref()?)))
            .collect();
        let is_about_templates = !told.is_empty();
        let notices = news::hear_all(tx, told.into_iter(), &mut changes, self.now)?;
        let numbers: Vec<ChannelId> = batch.iter().flat_map(|due| due.numbers.iter().cloned()).collect();
        tx.want_number_readings(&numbers, self.now)?;
        let rows: Vec<NewStreamRow> = finished
            .iter()
            .map(|(event, _)| NewStreamRow {
                at: self.now,
                channel_id: event.channel_id.clone(),
                event_id: Some(event.id),
                changes: changes.remove(&event.id).unwrap_or_default(),
            })
            .collect();
        tx.insert_stream(&rows)?;
        Ok(Done {
            events: finished,
            received: projected.received,
            notices,
            is_about_templates,
            has_files: projected.has_files,
        })
    }

    /// An event cannot be processed alone either: it waits longer, or is left.
    fn give_up(&self, tx: &mut Tx<'_>, due: &[Due], reason: &str) -> Result<Done, StoreError> {
        let places: Vec<QueuePlace> = due.iter().map(|due| due.place).collect();
        let ours = tx.claim_events(&places)?;
        let Some(due) = due.iter().find(|due| ours.contains(&due.event.id)) else {
            return Ok(Done::default());
        };
        let (before, mut event) = (due.before, due.event.clone());
        event.attempts += 1;
        event.error = Some(reason.to_owned());
        event.processed_at = Some(self.now);
        let again_at = self.retry.next(event.attempts, self.now);
        event.status = if again_at.is_some() {
            EventStatus::Pending
        } else {
            EventStatus::Dead
        };
        let finished = vec![(event, again_at)];
        finish(tx, &[before], &finished)?;
        Ok(Done {
            events: finished,
            ..Done::default()
        })
    }
}

/// Writes down what became of events, and counts each under its new status.
fn finish(
    tx: &mut Tx<'_>,
    before: &[EventStatus],
    finished: &[(StoredEvent, Option<Millis>)],
) -> Result<(), StoreError> {
    let mut counts: BTreeMap<(Platform, EventKind, EventStatus), i64> = BTreeMap::new();
    for (before, (event, _)) in before.iter().zip(finished) {
        *counts.entry((event.platform, event.kind, *before)).or_insert(0) -= 1;
        *counts.entry((event.platform, event.kind, event.status)).or_insert(0) += 1;
    }
    tx.finish_events(finished)?;
    tx.count_events(CountSlot::Projection, &counts)
}
