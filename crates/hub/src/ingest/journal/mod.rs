//! The journal: what the embedded store has of a notification until its events are in conversations.
//!
//! The promise of a 200 is that every event is on disk, and bringing events into conversations takes longer than that. So notifications are first
//! appended to a file of their own, as they came: one write and one flush for all that wait, after which they are answered. Then they
//! are brought in, many at a time, which costs less of everything.
//!
//! Guarantee: what was appended is brought in. After a crash what the journal has is brought in once more, before anything new is taken; what had been
//! is a repeat, by its identity in the store. What cannot be brought in stays here, and is tried until it can, or, if the store
//! refuses it alone, goes into quarantine.
//!
//! There are two segments (`segment.rs`). One is written, until it is long; then the other one, if all that was in it has been brought in. When nothing waits any
//! more, both begin anew, and once a second what they had is wiped.
//!
//! What waits between the journal and the store is bounded by count (`WEBHOOK_MAX_QUEUE`) and by the room for bodies; who comes when it is full
//! waits in front of the journal, where there is a bound too. On Postgres, where several nodes work on one store, what one of them had in a file would have to
//! wait for it when it dies: there a notification is answered after the commit.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use segment::Segment;

pub use segment::Raw;

use crate::app::App;
use crate::ingest::arrival::Arrived;
use crate::ingest::{Kept, Pending, Refusal};
use crate::store::StoreError;

mod segment;

/// How long a segment grows before the other one is written, if that is free.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// How long a segment grows at most, while the other one holds something that cannot be brought in.
const SEGMENT_BYTES_MAX: u64 = 8 * SEGMENT_BYTES;
/// How many notifications are appended with one flush at most.
const GROUP_MAX: usize = 512;
/// How many bytes of them, unless one alone has more.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// How often, at most, what was brought in is wiped.
const WIPE_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before something that failed is tried again.
pub(super) const REST: Duration = Duration::from_millis(500);

/// The journal, open.
#[derive(Debug)]
pub struct Journal {
    halves: [Half; 2],
    /// Which of them is written.
    written: usize,
    /// Told whenever all of a half has been brought in.
    done: Arc<Notify>,
    /// How many events of it are not brought in yet.
    waiting: Arc<AtomicUsize>,
}

/// A segment, and how many of its notifications are not brought in yet.
#[derive(Debug)]
struct Half {
    segment: Segment,
    left: Arc<AtomicUsize>,
}

/// A notification's place in the journal.
#[derive(Debug)]
#[must_use = "what is not told to be brought in stays in the journal"]
pub struct Place {
    /// How many are left of its half, this one among them.
    left: Arc<AtomicUsize>,
    done: Arc<Notify>,
    waiting: Arc<AtomicUsize>,
    events: usize,
}

impl Place {
    /// How many events its notification turns out to have.
    fn recount(&mut self, events: usize) {
        self.waiting.fetch_add(events, Ordering::Relaxed);
        self.waiting
            .fetch_sub(std::mem::replace(&mut self.events, events), Ordering::Relaxed);
    }

    /// The notification is in the store: the journal need not have it any more.
    pub fn brought_in(self) {
        self.waiting.fetch_sub(self.events, Ordering::Relaxed);
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

impl Half {
    fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

impl Journal {
    /// Opens the journal of the database in this file, and makes it where there is none; answers also with what it has. `waiting` is kept at how many events
    /// are not brought in yet.
    pub fn open(database: &Path, waiting: &Arc<AtomicUsize>) -> io::Result<(Self, Vec<Found>)> {
        let half = |suffix: &str| -> io::Result<(Half, Vec<Raw>)> {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            let (segment, records) = Segment::open(Path::new(&path), SEGMENT_BYTES)?;
            let left = Arc::default();
            Ok((Half { segment, left }, records))
        };
        let (a, found_in_a) = half("-notifications-a")?;
        let (b, found_in_b) = half("-notifications-b")?;
        // That there are these files is on disk, too.
        let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        waiting.store(0, Ordering::Relaxed);
        let journal = Self {
            halves: [a, b],
            written: 0,
            done: Arc::default(),
            waiting: Arc::clone(waiting),
        };
        let found = [found_in_a, found_in_b].into_iter().enumerate();
        let found = found.flat_map(|(half, records)| records.into_iter().map(move |raw| (half, raw)));
        let found = found
            .map(|(half, raw)| Found {
                raw,
                place: journal.place(half, 1),
            })
            .collect();
        Ok((journal, found))
    }

    fn place(&self, half: usize, events: usize) -> Place {
        let left = &self.halves[half].left;
        left.fetch_add(1, Ordering::AcqRel);
        self.waiting.fetch_add(events, Ordering::Relaxed);
        Place {
            left: Arc::clone(left),
            done: Arc::clone(&self.done),
            waiting: Arc::clone(&self.waiting),
            events,
        }
    }

    /// Appends notifications with one flush, and gives each its place.
    fn append(&mut self, group: &mut [Pending]) -> io::Result<()> {
        if self.halves[self.written].segment.length() >= SEGMENT_BYTES {
            let other = 1 - self.written;
            if let Some(free) = [other, self.written]
                .into_iter()
                .find(|half| self.halves[*half].is_done())
            {
                self.halves[free].segment.begin_anew();
                self.written = free;
            }
        }
        let segment = &mut self.halves[self.written].segment;
        if segment.length() >= SEGMENT_BYTES_MAX {
            return Err(io::Error::other("it is full of what cannot be brought into the store"));
        }
        segment.append(group.iter().filter_map(|pending| pending.raw.as_ref()))?;
        for pending in group.iter_mut().filter(|pending| pending.raw.is_some()) {
            pending.place = Some(self.place(self.written, pending.events.len()));
        }
        Ok(())
    }

    /// Whether all that it has was brought in.
    fn is_done(&self) -> bool {
        self.halves.iter().all(Half::is_done)
    }

    /// Begins both halves anew, if all was brought in.
    fn begin_anew(&mut self) {
        if self.is_done() {
            for half in self.halves.iter_mut().filter(|half| half.segment.length() > 0) {
                half.segment.begin_anew();
            }
        }
    }

    /// Whether anything can still be read of what was brought in.
    fn is_to_be_wiped(&self) -> bool {
        self.is_done() && self.halves.iter().any(|half| half.segment.is_used())
    }

    /// Wipes what was brought in, if that is all that it has.
    fn wipe(&mut self) -> io::Result<()> {
        if self.is_done() {
            for half in self.halves.iter_mut().filter(|half| half.segment.is_used()) {
                half.segment.wipe()?;
            }
        }
        Ok(())
    }
}

/// What an earlier process has left in the journal.
#[derive(Debug)]
pub struct Found {
    raw: Raw,
    place: Place,
}

/// Keeps what waits until the way in is closed, or until told to stop and nothing waits any more; gives the journal back. What is kept goes on to `kept`,
/// and so does what did not come from Meta, and can be made once more.
pub async fn run(
    app: &App,
    mut journal: Journal,
    found: Vec<Found>,
    pending: &mut mpsc::Receiver<Pending>,
    kept: mpsc::Sender<Pending>,
    stop: &CancellationToken,
) -> Journal {
    if !found.is_empty() {
        tracing::info!(notifications = found.len(), "what is in the journal is brought in");
        let again = bring_in_again(app, &journal, found, &kept);
        if stop.run_until_cancelled(again).await.is_none() {
            pending.close();
            return journal;
        }
    }
    let mut wipe_at = Instant::now();
    loop {
        let Ok(room) = kept.reserve().await else {
            return journal;
        };
        let first = tokio::select! {
            biased;
            () = tokio::time::sleep_until(wipe_at), if journal.is_to_be_wiped() => {
                journal = wipe(journal).await;
                wipe_at = Instant::now() + WIPE_EVERY;
                continue;
            }
            first = pending.recv() => first,
            () = journal.done.notified() => {
                journal.begin_anew();
                continue;
            }
            () = stop.cancelled(), if !pending.is_closed() => {
                // Nobody can come in any more; those who are in are served.
                pending.close();
                continue;
            }
        };
        let Some(first) = first else { return journal };
        let mut bytes = first.body_bytes();
        let (mut group, mut rooms) = (vec![first], vec![room]);
        while group.len() < GROUP_MAX
            && bytes < GROUP_BYTES_MAX
            && let Ok(room) = kept.try_reserve()
            && let Ok(next) = pending.try_recv()
        {
            bytes += next.body_bytes();
            group.push(next);
            rooms.push(room);
        }
        let appended;
        (journal, (group, appended)) = aside(journal, |journal| {
            let appended = journal.append(&mut group);
            (group, appended)
        })
        .await;
        if let Err(error) = appended {
            refuse(&mut group, &error);
        }
        for (mut pending, room) in group.into_iter().zip(rooms) {
            if pending.place.is_some() {
                pending.answer(Ok(Kept::InJournal));
            }
            room.send(pending);
        }
    }
}

/// Wipes what was brought in, if that is all that the journal has.
pub async fn wipe(journal: Journal) -> Journal {
    let (journal, wiped) = aside(journal, Journal::wipe).await;
    if let Err(error) = wiped {
        tracing::warn!(%error, "the journal could not be wiped; what it has is brought in once more at the next start, and is a repeat");
    }
    journal
}

/// Does something with the journal where waiting for the disk keeps nobody else.
async fn aside<T: Send + 'static>(
    mut journal: Journal,
    work: impl FnOnce(&mut Journal) -> T + Send + 'static,
) -> (Journal, T) {
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&mut journal);
        (journal, done)
    });
    done.await
        .unwrap_or_else(|error| panic!("the journal broke off: {error}"))
}

/// Tells those who wait that they are not kept; the others stay.
fn refuse(group: &mut Vec<Pending>, error: &io::Error) {
    tracing::error!(%error, notifications = group.len(), "notifications could not be written into the journal");
    for mut pending in group.extract_if(.., |pending| pending.raw.is_some()) {
        pending.answer(Err(StoreError::Unavailable(error.to_string())));
    }
}

/// Brings in what an earlier process has left, and waits until that is done: both halves are free then.
async fn bring_in_again(app: &App, journal: &Journal, found: Vec<Found>, kept: &mpsc::Sender<Pending>) {
    for Found { raw, mut place } in found {
        match understand_again(app, &raw) {
            Ok(events) => {
                place.recount(events.len());
                let again = Pending::again(raw, events, place);
                if kept.send(again).await.is_err() {
                    return;
                }
            }
            // It was understood by the version that took it.
            Err(reason) => {
                while let Err(error) = quarantine(app, &raw, reason.clone()).await {
                    tracing::error!(%error, "a notification of the journal could not be put into quarantine");
                    tokio::time::sleep(REST).await;
                }
                place.brought_in();
            }
        }
    }
    while !journal.is_done() {
        journal.done.notified().await;
    }
}

fn understand_again(app: &App, raw: &Raw) -> Result<Vec<Arrived>, String> {
    // A panic here would come again at each start.
    let understood = catch_unwind(AssertUnwindSafe(|| {
        let events = app.ingest.split(raw)?;
        Ok::<_, Refusal>(app.ingest.understood(events))
    }));
    match understood {
        Ok(Ok(events)) => Ok(events),
        Ok(Err(refusal)) => Err(refusal.to_string()),
        Err(_) => Err("it could not be understood once more".to_owned()),
    }
}

/// Puts a notification that was answered, and cannot be brought in, where somebody will look.
pub(super) async fn quarantine(app: &App, raw: &Raw, reason: String) -> Result<(), StoreError> {
    let notification = raw.quarantined(app.ids.next(), reason);
    let id = notification.id;
    app.store.write(move |tx| tx.insert_quarantined(&notification)).await?;
    tracing::warn!(
        platform = %raw.platform,
        notification = %id,
        body_bytes = raw.body.len(),
        "notification quarantined: it was answered, and cannot be brought into the store; the list of quarantined notifications says why"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use tidings_meta::notification::Platform;

    use super::*;

    const MEBIBYTE: usize = 1024 * 1024;

    /// A large notification, of which there are eight in a segment.
    fn large(number: u8) -> Pending {
        let raw = Raw {
            platform: Platform::WhatsApp,
            signed: true,
            received_at: i64::from(number),
            body: Bytes::from(vec![number; MEBIBYTE]),
        };
        Pending {
            events: Vec::new(),
            platform: Some(Platform::WhatsApp),
            raw: Some(raw),
            place: None,
            room: None,
            waits: None,
            refused: 0,
        }
    }

    fn append(journal: &mut Journal, numbers: std::ops::Range<u8>) -> Vec<Place> {
        numbers
            .map(|number| {
                let mut group = [large(number)];
                journal.append(&mut group).unwrap();
                let [pending] = group;
                pending.place.unwrap()
            })
            .collect()
    }

    fn found(database: &Path) -> Vec<i64> {
        let (_, found) = Journal::open(database, &Arc::default()).unwrap();
        found.iter().map(|found| found.raw.received_at).collect()
    }

    #[test]
    fn a_half_is_written_anew_once_all_of_it_was_brought_in() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("tidings.db");
        let (mut journal, before) = Journal::open(&database, &Arc::default()).unwrap();
        assert!(before.is_empty());
        let first = append(&mut journal, 0..8);
        let second = append(&mut journal, 8..17);
        assert_eq!(journal.written, 1);
        assert!(
            journal.halves[1].segment.length() > SEGMENT_BYTES,
            "the first is still needed"
        );
        let mut first = first.into_iter();
        let last = first.next().unwrap();
        first.for_each(Place::brought_in);
        let third = append(&mut journal, 17..18);
        assert_eq!(journal.written, 1, "one of it is not brought in yet");
        last.brought_in();
        let fourth = append(&mut journal, 18..19);
        assert_eq!(journal.written, 0);
        drop(journal);
        assert_eq!(found(&database), [18, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
        drop((second, third, fourth));
    }

    #[test]
    fn it_does_not_grow_without_bound_beside_what_cannot_be_brought_in() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&folder.path().join("tidings.db"), &Arc::default()).unwrap();
        let stuck = append(&mut journal, 0..8);
        let mut more = append(&mut journal, 8..72);
        assert_eq!(journal.written, 1);
        let refused = journal.append(&mut [large(72)]).unwrap_err();
        assert!(refused.to_string().contains("full"), "{refused}");
        let last = more.pop().unwrap();
        more.into_iter().for_each(Place::brought_in);
        assert!(journal.append(&mut [large(72)]).is_err());
        last.brought_in();
        append(&mut journal, 73..74).into_iter().for_each(Place::brought_in);
        assert_eq!(
            journal.written, 1,
            "nothing of it is needed, though something of the other one is"
        );
        drop(stuck);
    }

    #[test]
    fn what_was_brought_in_is_forgotten_once_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("tidings.db");
        let waiting = Arc::default();
        let (mut journal, _) = Journal::open(&database, &waiting).unwrap();
        let mut places = append(&mut journal, 0..10);
        let last = places.pop().unwrap();
        places.into_iter().for_each(Place::brought_in);
        journal.begin_anew();
        assert!(!journal.is_to_be_wiped());
        journal.wipe().unwrap();
        drop(journal);
        assert_eq!(found(&database).len(), 10, "one is still needed");

        let (mut journal, again) = Journal::open(&database, &waiting).unwrap();
        assert_eq!(waiting.load(Ordering::Relaxed), 10);
        for found in again {
            found.place.brought_in();
        }
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
        append(&mut journal, 10..11).into_iter().for_each(Place::brought_in);
        journal.begin_anew();
        assert!(journal.is_to_be_wiped());
        journal.wipe().unwrap();
        assert!(!journal.is_to_be_wiped());
        drop(journal);
        assert_eq!(found(&database), [11_i64; 0]);
        drop(last);
    }
}
