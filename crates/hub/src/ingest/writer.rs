//! Brings notifications into the store: many of them with one flush to disk.
//!
//! Guarantee: a notification that is not in the journal yet ([`journal`]) is answered after the commit that holds all of its events, or told that none is kept;
//! one that is has been answered, and is tried until it is in the store, or in quarantine if it is what cannot be. While one group is being written the next one gathers, so that groups grow
//! with the load and nobody waits for a timer; those that are written are flushed meanwhile.
//!
//! A group is brought into conversations by the unit that keeps it ([`arrival::bring_in`]). That is a cheaper way of doing what the projector does,
//! and nothing relies on it: a group for which it fails is kept alone, and the projector takes its events apart. So it is for a while
//! after such a failure, and for notifications of very many events.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::ingest::arrival::{self, Arrived};
use crate::ingest::journal;
use crate::ingest::model::NewEvent;
use crate::ingest::projector::{self, Done};
use crate::ingest::{Kept, Pending};
use crate::metrics::NotificationResult;
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

/// How often the store may refuse a notification that was answered, before it goes into quarantine.
const REFUSED_MAX: u32 = 3;
/// How many may go there with none that the store takes between them: a store that refuses all of them is what is odd, and they stay in the journal.
const REFUSED_IN_A_ROW_MAX: u32 = 8;

/// Takes in what comes, `until` a moment, or until nothing can come any more, which is so when told to `close`. What has been answered and cannot be
/// brought in is given up when told to `stop`: the journal has it.
pub(super) async fn take_in_all(
    app: &App,
    pending: &mut mpsc::Receiver<Pending>,
    close: &CancellationToken,
    stop: &CancellationToken,
    until: impl Future<Output = ()>,
) {
    tokio::pin!(until);
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
            () = close.cancelled(), if !pending.is_closed() => {
                // Nobody can come in any more; those who are in are served.
                pending.close();
                continue;
            }
            () = &mut until, if is_open => None,
        };
        let Some(first) = first else {
            is_open = false;
            continue;
        };
        let group = gather(first, pending);
        let kept_alone = kept_alone_until.is_some_and(|until| Instant::now() < until);
        under_way.push(take_in(app, group, kept_alone, turn.take(), stop));
    }
}

/// Who has it may have a group written; it is given back as soon as the unit has said what is to be written, also if it failed.
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
    for pending in group.iter_mut().filter(|pending| pending.place.is_none()) {
        // Without a journal it is not needed.
        pending.raw = None;
    }
    group
}

/// What became of a group.
struct Outcome {
    /// It could be kept, but not brought in.
    failed: bool,
}

async fn take_in(
    app: &App,
    group: Vec<Pending>,
    kept_alone: bool,
    turn: Option<Turn>,
    stop: &CancellationToken,
) -> Outcome {
    let is_understood = group
        .iter()
        .flat_map(|pending| &pending.events)
        .all(Arrived::is_understood);
    let (mut left, failed) = if kept_alone || !is_understood {
        (keep(app, group, turn).await, false)
    } else {
        match bring_in(app, group, turn).await {
            Ok(()) => (Vec::new(), false),
            Err((group, error @ (StoreError::Unavailable(_) | StoreError::Closed))) => (refuse(group, &error), false),
            Err((group, error)) => {
                tracing::warn!(%error, "events could not be brought in as they came; they are kept, and processed one by one");
                (keep(app, group, None).await, true)
            }
        }
    };
    while let Some(first) = left.iter().map(|pending| pending.received_at()).min() {
        let _ = app
            .ingest
            .stuck_since
            .compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
        if stop
            .run_until_cancelled(tokio::time::sleep(journal::REST))
            .await
            .is_none()
        {
            break;
        }
        let in_a_row = &app.ingest.refused_in_a_row;
        let odd = left.extract_if(.., |pending| {
            pending.refused >= REFUSED_MAX && in_a_row.fetch_add(1, Ordering::Relaxed) < REFUSED_IN_A_ROW_MAX
        });
        let odd: Vec<Pending> = odd.collect();
        if !left.is_empty() {
            left = keep(app, left, None).await;
        }
        for pending in odd {
            left.extend(set_aside(app, pending).await);
        }
    }
    Outcome { failed }
}

/// Puts a notification into quarantine that was answered, and that the store has refused again and again; gives it back if that failed too.
async fn set_aside(app: &App, mut pending: Pending) -> Option<Pending> {
    let reason = "the store refused its events; the log says why".to_owned();
    if let Some(raw) = &pending.raw
        && let Err(error) = journal::quarantine(app, raw, reason).await
    {
        tracing::error!(%error, "a notification that the store refused could not be put into quarantine");
        // Then it is the store that is at fault.
        pending.refused = 0;
        return Some(pending);
    }
    if let Some(place) = pending.place.take() {
        place.brought_in();
    }
    None
}

/// Keeps a group and brings it into conversations. Gives it back if that failed.
async fn bring_in(app: &App, group: Vec<Pending>, turn: Option<Turn>) -> Result<(), (Vec<Pending>, StoreError)> {
    let (ids, now) = (app.ids.clone(), app.clock.now_millis());
    let batch_size = app.config.webhooks.batch_size as usize;
    let (group, brought) = write(app, group, turn, move |tx, arrived| {
        tx.wait_for_locks(LOCKED_MAX)?;
        arrival::bring_in(tx, arrived, batch_size, &ids, now)
    })
    .await;
    let brought = match brought {
        Ok(brought) => brought,
        Err(error) => return Err((group, error)),
    };
    let mut done = Done {
        events: Vec::with_capacity(brought.new.len()),
        received: brought.received,
        has_files: brought.has_files,
        notices: brought.notices,
        is_about_templates: brought.is_about_templates,
    };
    for pending in group {
        for arrived in in_store(app, pending, |event| brought.new.contains_key(&event.id)) {
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

/// Keeps a group; what it means is found out later. Gives back what has been answered and could not be kept.
async fn keep(app: &App, group: Vec<Pending>, turn: Option<Turn>) -> Vec<Pending> {
    let (group, kept) = write(app, group, turn, arrival::keep).await;
    match kept {
        Ok(new) => {
            for pending in group {
                in_store(app, pending, |event| new.contains(&event.id));
            }
            app.projector.notify_one();
            Vec::new()
        }
        Err(error) if group.len() == 1 || matches!(error, StoreError::Unavailable(_) | StoreError::Closed) => {
            refuse(group, &error)
        }
        Err(error) => {
            // One of them holds something that the store refuses: it must not take the others with it.
            tracing::warn!(%error, notifications = group.len(), "a group could not be kept; each is tried alone");
            let mut left = Vec::new();
            for pending in group {
                left.extend(Box::pin(keep(app, vec![pending], None)).await);
            }
            left
        }
    }
}

/// A notification is in the store: whoever waits is told, it is counted, and what it takes elsewhere is given back. Answers with the events that are new.
fn in_store(app: &App, mut pending: Pending, is_new: impl Fn(&NewEvent) -> bool) -> Vec<Arrived> {
    drop(pending.room.take());
    // Whoever was refused, or waits no longer and will be, is not counted as accepted.
    let is_to_be_counted = pending.waits.as_ref().is_none_or(|(waits, _)| !waits.is_closed());
    let all = pending.events.len();
    let mut new = std::mem::take(&mut pending.events);
    new.retain(|arrived| is_new(&arrived.event));
    let repeats = all - new.len();
    if let Some(platform) = pending.platform.filter(|_| is_to_be_counted) {
        let result = if new.is_empty() && repeats > 0 {
            NotificationResult::Duplicate
        } else {
            NotificationResult::Accepted
        };
        app.metrics.count_notification(platform, result);
    }
    for arrived in &new {
        note_kept(app, &arrived.event);
    }
    pending.answer(Ok(Kept::InStore {
        new: new.len(),
        repeats,
    }));
    app.ingest.stuck_since.store(0, Ordering::Relaxed);
    app.ingest.refused_in_a_row.store(0, Ordering::Relaxed);
    if let Some(place) = pending.place {
        place.brought_in();
    }
    new
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

/// Tells those who wait that they are not kept, and gives back those who have been told that they are.
fn refuse(mut group: Vec<Pending>, error: &StoreError) -> Vec<Pending> {
    let is_for_now = matches!(
        error,
        StoreError::Unavailable(_) | StoreError::Closed | StoreError::Conflict(_)
    );
    let waits = group.iter().filter(|pending| pending.place.is_none()).count();
    if waits > 0 {
        tracing::error!(%error, notifications = waits, "notifications could not be kept");
    }
    if group.len() > waits {
        tracing::warn!(%error, notifications = group.len() - waits, "notifications are in the journal, and could not be brought into the store");
    }
    for mut pending in group.extract_if(.., |pending| pending.place.is_none()) {
        pending.answer(Err(StoreError::Unavailable(error.to_string())));
    }
    if !is_for_now {
        for pending in &mut group {
            pending.refused += 1;
        }
    }
    group
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
            if tx.writes_alone() {
                // The next group can be written while this one is committed and flushed.
                drop(turn.take());
            }
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
