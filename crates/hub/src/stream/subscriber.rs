//! One subscriber of the live stream: first what it missed, from the store; then what is told; and the store again whenever it falls
//! behind.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::app::App;
use crate::conversations::model::ChannelId;
use crate::store::StoreError;
use crate::stream::tell::{self, Place, RESET, StreamData, Told};
use crate::stream::{PAGE, Seat, Stream};

/// How long nothing is sent before something is, so that no proxy takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a subscription waits for a stream that has just been started.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// What a subscriber wants to be told.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// These types; empty for all.
    pub types: Vec<&'static str>,
    /// On this channel; `None` for all.
    pub channel_id: Option<ChannelId>,
}

impl Wanted {
    fn has(&self, told: &Told) -> bool {
        (self.types.is_empty() || self.types.contains(&told.r#type))
            && (self.channel_id.is_none() || self.channel_id == told.channel_id)
    }
}

/// Why nobody could be subscribed.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// There are as many subscribers as there may be.
    #[error("as many live streams are open as may be")]
    Full,
    /// The stream is not being told yet.
    #[error("the live stream has not begun")]
    NotReady,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A subscriber.
#[derive(Debug)]
pub struct Subscriber {
    app: App,
    receiver: broadcast::Receiver<Told>,
    wanted: Wanted,
    at: Place,
    is_behind: bool,
    ready: VecDeque<Bytes>,
    quiet_until: Instant,
    _seat: Seat,
}

impl Subscriber {
    /// Somebody who has seen everything up to `after`; without it, who wants to be told what happens from now on.
    pub async fn subscribe(app: &App, wanted: Wanted, after: Option<Place>) -> Result<Self, SubscribeError> {
        let seat = Stream::seat(app).ok_or(SubscribeError::Full)?;
        let mut tail = app.stream.tail.subscribe();
        match tokio::time::timeout(READY_WITHIN, tail.wait_for(Option::is_some)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Err(SubscribeError::NotReady),
        }
        // From here on nothing is skipped: what is told before the store is read comes twice, and is told apart by its place.
        let receiver = app.stream.told.subscribe();
        let read = app
            .store
            .read(move |tx| Ok::<_, StoreError>(begin(after, tx.stream_bounds()?)));
        let (at, is_reset) = read.await?;
        let mut subscriber = Self {
            app: app.clone(),
            receiver,
            wanted,
            at,
            is_behind: true,
            ready: VecDeque::new(),
            quiet_until: Instant::now(),
            _seat: seat,
        };
        if is_reset {
            subscriber
                .ready
                .push_back(tell::frame(at, RESET, &StreamData::Reset {}));
        }
        // So that whoever leaves before anything happens can go on from here.
        subscriber.ready.push_back(subscriber.here());
        Ok(subscriber)
    }

    /// What to send next; `None` at the end, after which the caller comes again.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.quiet_until = Instant::now() + KEEP_ALIVE;
                return Some(frame);
            }
            if self.is_behind {
                if let Err(error) = self.catch_up().await {
                    tracing::warn!(%error, "a live stream ends: what it missed cannot be read");
                    return None;
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.app.stream.closed.cancelled() => return None,
                received = self.receiver.recv() => match received {
                    Ok(told) => self.take(told),
                    Err(RecvError::Lagged(_)) => self.is_behind = true,
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(self.quiet_until) => self.ready.push_back(self.here()),
            }
        }
    }

    fn take(&mut self, told: Told) {
        if told.place <= self.at {
            return;
        }
        self.at = told.place;
        if self.wanted.has(&told) {
            self.ready.push_back(told.frame);
        }
    }

    /// Reads one page of what was missed.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        // The row at which it stands may have more in it than was seen.
        let after = self.at.seq - 1;
        let rows = self.app.store.read(move |tx| tell::load(tx, after, PAGE)).await?;
        for told in rows.tell(&self.app) {
            self.take(told);
        }
        if let Some(last) = rows.last_seq() {
            self.at = self.at.max(Place::end_of(last));
        }
        self.is_behind = rows.is_full(PAGE);
        Ok(())
    }

    /// Tells the place alone: without data it is no event to anyone, but the id is kept (WHATWG HTML, 9.2.6).
    fn here(&self) -> Bytes {
        Bytes::from(format!(": keep-alive\nid: {}\n\n", self.at))
    }
}

/// Where to begin, and whether something in between is not kept any more.
fn begin(after: Option<Place>, bounds: Option<(i64, i64)>) -> (Place, bool) {
    match (after, bounds) {
        (None, None) => (Place::end_of(0), false),
        (None, Some((_, last))) => (Place::end_of(last), false),
        // Whether there ever was more cannot be known.
        (Some(after), None) => (Place::end_of(0), after.seq > 0),
        (Some(after), Some((first, last))) => {
            if after.seq < first - 1 {
                (Place::end_of(first - 1), true)
            } else if after.seq > last {
                // Of another store, or of this one before a backup was restored.
                (Place::end_of(last), true)
            } else {
                (after, false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, begin};

    #[track_caller]
    fn check(after: Option<&str>, bounds: Option<(i64, i64)>, at: &str, is_reset: bool) {
        let after = after.map(|after| after.parse::<Place>().unwrap());
        let begun = begin(after, bounds);
        assert_eq!((begun.0.to_string().as_str(), begun.1), (at, is_reset));
    }

    #[test]
    fn it_goes_on_where_it_was_or_says_that_it_cannot() {
        check(None, None, "0", false);
        check(None, Some((3, 9)), "9", false);
        check(Some("5.1"), Some((3, 9)), "5.1", false);
        check(Some("2"), Some((3, 9)), "2", false);
        check(Some("9"), Some((3, 9)), "9", false);
        check(Some("1"), Some((3, 9)), "2", true);
        check(Some("10"), Some((3, 9)), "9", true);
        check(Some("0"), None, "0", false);
        check(Some("5"), None, "0", true);
        check(Some("9223372036854775807"), Some((3, 9)), "9", true);
    }
}
