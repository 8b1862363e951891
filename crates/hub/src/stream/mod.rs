//! What happened, live: `GET /api/v1/stream`.
//!
//! Whoever changes something writes a row of the stream in the same transaction ([`model`]). One task in each process reads the rows as
//! they come ([`run`]), renders each thing once ([`tell`]) and hands it to all subscribers ([`subscriber`]); with nobody listening it only
//! keeps its place. A subscriber that was away, or is slower than the buffer is long, reads what it missed from the store itself.
//!
//! Guarantee: a subscriber that resumes at the last id that it saw gets everything after it, once and in order, as long as the rows are
//! kept. If they are not any more, it is told so (`stream.reset`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::store::StoreError;
use crate::stream::tell::Told;

pub mod api;
pub mod model;
pub mod subscriber;
pub mod tell;

/// How many live streams may be open at once.
pub const SUBSCRIBERS_MAX: usize = 256;
/// How many things a subscriber may be behind before it has to read them from the store.
const BUFFER: usize = 4_096;
/// How many rows are read at once.
const PAGE: u32 = 200;
/// How long to wait for a nudge before looking for what other nodes have written.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What happens, live.
#[derive(Debug)]
pub struct Stream {
    nudge: Notify,
    told: broadcast::Sender<Told>,
    /// Up to which row everything was told; `None` before the task has found its place.
    tail: watch::Sender<Option<i64>>,
    seats: Arc<Semaphore>,
    closed: CancellationToken,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// With no subscribers yet.
    pub fn new() -> Self {
        Self {
            nudge: Notify::new(),
            told: broadcast::Sender::new(BUFFER),
            tail: watch::Sender::new(None),
            seats: Arc::new(Semaphore::new(SUBSCRIBERS_MAX)),
            closed: CancellationToken::new(),
        }
    }

    /// Something was written: makes the task look sooner, and is never needed.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Ends the live streams; subscribers come again, to the next process.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Hears what is told from now on, on all nodes.
    pub fn listen(&self) -> broadcast::Receiver<Told> {
        self.told.subscribe()
    }

    /// Resolves when the streams are ended.
    pub async fn ended(&self) {
        self.closed.cancelled().await;
    }

    fn seat(app: &App) -> Option<Seat> {
        let permit = Arc::clone(&app.stream.seats).try_acquire_owned().ok()?;
        let seat = Seat {
            app: app.clone(),
            permit: Some(permit),
        };
        seat.count();
        Some(seat)
    }
}

/// A subscriber's place among those that there may be.
#[derive(Debug)]
struct Seat {
    app: App,
    permit: Option<OwnedSemaphorePermit>,
}

impl Seat {
    fn count(&self) {
        let free = self.app.stream.seats.available_permits();
        self.app
            .metrics
            .set_stream_subscribers(SUBSCRIBERS_MAX.saturating_sub(free));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.count();
    }
}

/// Tells subscribers what happens, until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    loop {
        match tell_next(&app).await {
            Ok(Progress::More) if !stop.is_cancelled() => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the live stream could not be read on; subscribers wait"),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = app.stream.nudge.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Whether there is more to tell at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

async fn tell_next(app: &App) -> Result<Progress, StoreError> {
    let stream = &app.stream;
    let tail = *stream.tail.borrow();
    if tail.is_none() || stream.told.receiver_count() == 0 {
        let read = app
            .store
            .read(|tx| Ok::<_, StoreError>(tx.stream_bounds()?.map_or(0, |(_, last)| last)));
        let end = read.await?;
        // Whoever subscribed meanwhile reads the store up to some row, and must be told every row after that one: then nothing may be
        // skipped. Before there is a tail nobody subscribes.
        if tail.is_none() || stream.told.receiver_count() == 0 {
            stream.tail.send_replace(Some(end));
            return Ok(Progress::Done);
        }
    }
    let after = tail.unwrap_or(0);
    let rows = app.store.read(move |tx| tell::load(tx, after, PAGE)).await?;
    let Some(last) = rows.last_seq() else {
        return Ok(Progress::Done);
    };
    for told in rows.tell(app) {
        // Nobody listens any more if it fails; the next look notices.
        let _ = stream.told.send(told);
    }
    stream.tail.send_replace(Some(last));
    Ok(if rows.is_full(PAGE) {
        Progress::More
    } else {
        Progress::Done
    })
}
