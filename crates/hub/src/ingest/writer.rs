//! Keeps notifications: many of them with one flush to disk.
//!
//! Guarantee: a notification is answered after the commit that holds all of its events, or told that none is kept. While one group is being
//! written the next one gathers, so that groups grow with the load and nobody waits for a timer; those that are written are flushed meanwhile.
//!
//! A group is brought into conversations by the unit that keeps it ([`arrival::bring_in`]). That is a cheaper way of doing what the projector does,
//! and nothing relies on it: a group for which it fails is kept alone, and the projector takes its events apart. So it is for a while
//! after such a failure, and for notifications of very many events.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::ingest::arrival::{self, Arrived};
use crate::ingest::model::NewEvent;
use crate::ingest::projector::{self, Done};
use crate::ingest::{Kept, Pending};
use crate::store::StoreError;

/// How many events one group holds at most, unless one notification alone has more.
const GROUP_EVENTS_MAX: usize = 500;
/// How many groups are under way at most: one is written, and the others are flushed and answered.
const GROUPS_MAX: usize = 8;
/// How long groups are only kept after bringing one in has failed.
const KEPT_ALONE_FOR: Duration = Duration::from_secs(2);
/// How long bringing a group in may wait for a row that another unit has locked: long enough for another group's flush, and for Postgres to find two
/// units that wait for each other (after a second); short enough for Meta to have its answer in time.
const LOCKED_MAX: Duration = Duration::from_millis(1_500);

/// Runs until the way in is closed, or until told to stop and nothing waits any more.
pub async fn run(app: App, pending: &mut mpsc::Receiver<Pending>, stop: CancellationToken) {
    let turns = Arc::new(Semaphore::new(app.store.urgent_units()));
    let mut turn: Option<Turn> = None;
    let mut under_way = FuturesUnordered::new();
    let mut kept_alone_until: Option<Instant> = None;
    let mut is_open = true;
    while is_open || !under_way.is_empty() {
        let first = tokio::select! {
            biased;
            Some(Outcome { failed }) = under_way.next(), if !under_way.is_empty() => {
                if failed {
                    kept_alone_until = Some(Instant::now() + KEPT_ALONE_FOR);
                }
                continue;
            }
            next = Arc::clone(&turns).acquire_owned(), if is_open && turn.is_none() && under_way.len() < GROUPS_MAX => {
                turn = next.ok();
                continue;
            }
            first = pending.recv(), if is_open && turn.is_some() => first,
            () = stop.cancelled(), if !pending.is_closed() => {
                // Nobody can come in any more; those who are in are served.
                pending.close();
                continue;
            }
        };
        let Some(first) = first else {
            is_open = false;
            continue;
        };
        let group = gather(first, pending);
        let kept_alone = kept_alone_until.is_some_and(|until| Instant::now() < until);
        under_way.push(take_in(&app, group, kept_alone, turn.take()));
    }
}

/// Who has it may have a group written; it is given back as soon as that is done, also if it failed.
type Turn = OwnedSemaphorePermit;

fn gather(first: Pending, pending: &mut mpsc::Receiver<Pending>) -> Vec<Pending> {
    let mut events = first.events.len();
    let mut group = vec![first];
    while events < GROUP_EVENTS_MAX
        && let Ok(next) = pending.try_recv()
    {
        events += next.events.len();
        group.push(next);
    }
    group
}

/// What became of a group.
struct Outcome {
    /// It could be kept, but not brought in.
    failed: bool,
}

async fn take_in(app: &App, group: Vec<Pending>, kept_alone: bool, turn: Option<Turn>) -> Outcome {
    let is_understood = group
        .iter()
        .flat_map(|pending| &pending.events)
        .all(Arrived::is_understood);
    if kept_alone || !is_understood {
        keep(app, group, turn).await;
        return Outcome { failed: false };
    }
    match bring_in(app, group, turn).await {
        Ok(()) => Outcome { failed: false },
        Err((group, error)) => {
            tracing::warn!(%error, "events could not be brought in as they came; they are kept, and processed one by one");
            keep(app, group, None).await;
            Outcome { failed: true }
        }
    }
}

/// Keeps a group and brings it into conversations. Gives it back if that failed in a way that keeping it alone may not.
async fn bring_in(app: &App, group: Vec<Pending>, turn: Option<Turn>) -> Result<(), (Vec<Pending>, StoreError)> {
    let (ids, now) = (app.ids.clone(), app.clock.now_millis());
    let batch_size = app.config.webhooks.batch_size as usize;
    let (group, brought) = write(app, group, turn, move |tx, arrived| {
        tx.wait_for_locks(LOCKED_MAX)?;
        arrival::bring_in(tx, arrived, batch_size, &ids, now)
    })
    .await;
    match brought {
        Ok(brought) => {
            let mut done = Done {
                events: Vec::with_capacity(brought.new.len()),
                received: brought.received,
                has_files: brought.has_files,
                notices: brought.notices,
                is_about_templates: brought.is_about_templates,
            };
            for Pending { events, room, answer } in group {
                drop(room);
                let all = events.len();
                let new: Vec<Arrived> = events
                    .into_iter()
                    .filter(|arrived| brought.new.contains_key(&arrived.event.id))
                    .collect();
                // The caller may have given up waiting; Meta will repeat, and find a repeat.
                let _ = answer.send(Ok(Kept {
                    new: new.len(),
                    repeats: all - new.len(),
                }));
                for arrived in new {
                    note_kept(app, &arrived.event);
                    let micros = brought.new.get(&arrived.event.id).copied().flatten();
                    done.events
                        .extend(arrived.processed(micros, now).map(|event| (event, None)));
                }
            }
            projector::report(app, &done);
            if brought.unparked {
                app.projector.notify_one();
            }
            Ok(())
        }
        Err(error @ (StoreError::Unavailable(_) | StoreError::Closed)) => {
            refuse(group, &error);
            Ok(())
        }
        Err(error) => Err((group, error)),
    }
}

/// Keeps a group; what it means is found out later.
async fn keep(app: &App, group: Vec<Pending>, turn: Option<Turn>) {
    let (group, kept) = write(app, group, turn, arrival::keep).await;
    match kept {
        Ok(new) => {
            for Pending { events, room, answer } in group {
                drop(room);
                let fresh: Vec<&Arrived> = events
                    .iter()
                    .filter(|arrived| new.contains(&arrived.event.id))
                    .collect();
                for arrived in &fresh {
                    note_kept(app, &arrived.event);
                }
                let _ = answer.send(Ok(Kept {
                    new: fresh.len(),
                    repeats: events.len() - fresh.len(),
                }));
            }
            app.projector.notify_one();
        }
        Err(error) if group.len() == 1 || matches!(error, StoreError::Unavailable(_) | StoreError::Closed) => {
            refuse(group, &error);
        }
        Err(error) => {
            // One of them holds something that the store refuses: it must not take the others with it.
            tracing::warn!(%error, notifications = group.len(), "a group could not be kept; each is tried alone");
            for pending in group {
                Box::pin(keep(app, vec![pending], None)).await;
            }
        }
    }
}

/// Counts an event that is on disk now, and tells of one with which nothing more will be done.
fn note_kept(app: &App, event: &NewEvent) {
    app.metrics.count_kept(event);
    if let Some(because) = event.ignored_because {
        tracing::debug!(
            event = %event.id,
            kind = event.kind.as_str(),
            account = event.account,
            occurred_at = event.occurred_at,
            signed = event.signed,
            because,
            "event kept and ignored"
        );
    }
}

fn refuse(group: Vec<Pending>, error: &StoreError) {
    tracing::error!(%error, notifications = group.len(), "notifications could not be kept");
    for pending in group {
        let _ = pending.answer.send(Err(StoreError::Unavailable(error.to_string())));
    }
}

/// Runs a unit on the events of a group, and gives the group back either way.
async fn write<T, F>(
    app: &App,
    mut group: Vec<Pending>,
    mut turn: Option<Turn>,
    mut unit: F,
) -> (Vec<Pending>, Result<T, StoreError>)
where
    T: Send + 'static,
    F: FnMut(&mut crate::store::Tx<'_>, &[&Arrived]) -> Result<T, StoreError> + Send + 'static,
{
    let notifications: Vec<Vec<Arrived>> = group
        .iter_mut()
        .map(|pending| std::mem::take(&mut pending.events))
        .collect();
    let shared = Arc::new(notifications);
    let theirs = Arc::clone(&shared);
    let written = app
        .store
        .write_urgent(move |tx| {
            let arrived: Vec<&Arrived> = theirs.iter().flatten().collect();
            let written = unit(tx, &arrived);
            // The next group can be written while this one is committed and flushed.
            drop(turn.take());
            written
        })
        .await;
    // The unit is done with its share once it has answered.
    let notifications = Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone());
    for (pending, events) in group.iter_mut().zip(notifications) {
        pending.events = events;
    }
    (group, written)
}
