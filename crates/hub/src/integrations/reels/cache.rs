//! Pages that were fetched, and who fetches the next: one flight a page, however many wait for it.
//!
//! Guarantee: for one page there is at most one flight at a time, and none begins before Meta's pause after a failure is over. What is kept
//! is bounded in bytes; what was used longest ago goes first. On several nodes each has its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderValue;
use tokio::sync::watch;

use super::FeedError;
use super::model::{Reel, Shelf, Standing};
use super::paging::Place;
use super::source::pause;
use crate::conversations::model::Millis;

/// What is kept in memory at most, in bytes: some thousands of pages.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a page costs beside its body.
const PAGE_COST: usize = 1024;
/// After a failure Meta is left alone for at least so long, and at most, whatever it asks for.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) account: String,
    pub(super) limit: u32,
    /// The cursor, which was signed here.
    pub(super) after: Option<String>,
}

/// A page that can be shown.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) body: Bytes,
    pub(super) etag: HeaderValue,
    pub(super) cache_control: HeaderValue,
    pub(super) shelf: Shelf,
    /// What the body was made of.
    pub(super) reels: Vec<Reel>,
    pub(super) next: Option<Place>,
}

pub(super) type Outcome = Result<Arc<Page>, FeedError>;

/// What to do about a page.
#[derive(Debug)]
pub(super) enum Look {
    /// It is as good as new.
    Hit(Arc<Page>),
    /// It is shown; if there is a flight, somebody has to make it.
    Stale(Arc<Page>, Option<Flight>),
    /// There is none; wait for the flight, which somebody has to make if it is here.
    Miss(watch::Receiver<Option<Outcome>>, Option<Flight>),
    /// There is none, and Meta is not asked again just now.
    Failed(FeedError),
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: HashMap<Key, Slot>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug, Default)]
struct Slot {
    page: Option<Arc<Page>>,
    /// Since when the page is no longer fresh, whatever was thought of it.
    outdated: bool,
    failure: Option<Failure>,
    flight: Option<watch::Receiver<Option<Outcome>>>,
    used: u64,
}

#[derive(Debug)]
struct Failure {
    error: FeedError,
    /// Until when Meta is left alone.
    until: Millis,
    /// With which credentials it was tried.
    credentials: i64,
}

impl Slot {
    fn cost(&self) -> usize {
        PAGE_COST + self.page.as_ref().map_or(0, |page| page.body.len() * 2)
    }
}

/// Somebody's duty to fetch a page. Dropped without an outcome, it has failed.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) key: Key,
    /// Which credentials the channel has by now.
    credentials: i64,
    cache: Arc<Cache>,
    told: Option<watch::Sender<Option<Outcome>>>,
}

impl Cache {
    /// What to do about a page now; `credentials` is the version of the channel's.
    pub(super) fn look(self: &Arc<Self>, key: &Key, credentials: i64, now: Millis) -> Look {
        let mut inner = self.lock();
        inner.uses += 1;
        let used = inner.uses;
        // Nearly everybody is served here, without anything being copied.
        if let Some(slot) = inner.slots.get_mut(key)
            && let Some(page) = slot.page.as_ref().filter(|_| !slot.outdated)
            && page.shelf.standing(now) == Standing::Fresh
        {
            slot.used = used;
            return Look::Hit(Arc::clone(page));
        }
        if !inner.slots.contains_key(key) {
            inner.make_room(PAGE_COST);
            inner.slots.insert(key.clone(), Slot::default());
            inner.bytes += PAGE_COST;
        }
        let slot = inner.slots.entry(key.clone()).or_default();
        slot.used = used;
        let standing = slot.page.as_ref().map(|page| page.shelf.standing(now));
        let page = slot.page.clone().filter(|_| standing != Some(Standing::Gone));
        let failure = slot
            .failure
            .as_ref()
            .filter(|failure| now < failure.until && failure.credentials == credentials);
        match (page, &slot.flight, failure) {
            (Some(page), Some(_), _) | (Some(page), None, Some(_)) => Look::Stale(page, None),
            (None, Some(flight), _) => Look::Miss(flight.clone(), None),
            (None, None, Some(failure)) => Look::Failed(failure.error.clone()),
            (page, None, None) => {
                let (told, outcome) = watch::channel(None);
                slot.flight = Some(outcome.clone());
                let flight = Flight {
                    key: key.clone(),
                    credentials,
                    cache: Arc::clone(self),
                    told: Some(told),
                };
                match page {
                    Some(page) => Look::Stale(page, Some(flight)),
                    None => Look::Miss(outcome, Some(flight)),
                }
            }
        }
    }

    /// Something new was posted: the account's pages are shown no longer than until there are newer ones.
    pub(super) fn outdate(&self, account: &str) {
        let mut inner = self.lock();
        for (key, slot) in &mut inner.slots {
            slot.outdated |= key.account == account;
        }
    }

    /// Puts another rendering in the place of a page, unless there is a newer one.
    pub(super) fn replace(&self, key: &Key, old: &Arc<Page>, new: Page) {
        let mut inner = self.lock();
        let Some(slot) = inner.slots.get_mut(key) else { return };
        if slot.page.as_ref().is_some_and(|page| Arc::ptr_eq(page, old)) {
            let before = slot.cost();
            slot.page = Some(Arc::new(new));
            let after = slot.cost();
            inner.bytes = inner.bytes - before + after;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds this lock")
    }
}

impl Inner {
    /// Lets go of what was used longest ago, and has no flight, until so many bytes fit in.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > BYTES_MAX {
            let idle = self.slots.iter().filter(|(_, slot)| slot.flight.is_none());
            let Some(key) = idle.min_by_key(|(_, slot)| slot.used).map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some(slot) = self.slots.remove(&key) {
                self.bytes -= slot.cost();
            }
        }
    }
}

impl Flight {
    /// Ends it with what was fetched; answers with the page as it is kept.
    pub(super) fn land(mut self, page: Page) -> Arc<Page> {
        let page = Arc::new(page);
        self.end(&Ok(Arc::clone(&page)), 0);
        page
    }

    /// Ends it with a failure; what is kept stays.
    pub(super) fn fail(mut self, error: FeedError, now: Millis) {
        self.end(&Err(error), now);
    }

    fn end(&mut self, outcome: &Outcome, now: Millis) {
        let Some(told) = self.told.take() else { return };
        let mut inner = self.cache.lock();
        let mut slot = inner.slots.remove(&self.key).unwrap_or_default();
        inner.bytes = inner.bytes.saturating_sub(slot.cost());
        slot.flight = None;
        match outcome {
            Ok(page) => {
                slot.page = Some(Arc::clone(page));
                slot.outdated = false;
                slot.failure = None;
            }
            Err(error) => {
                let wait = pause(error.wait(), PAUSE_MIN, PAUSE_MAX);
                slot.failure = Some(Failure {
                    error: error.clone(),
                    until: now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
                    credentials: self.credentials,
                });
            }
        }
        let cost = slot.cost();
        inner.make_room(cost);
        inner.bytes += cost;
        inner.slots.insert(self.key.clone(), slot);
        drop(inner);
        // Whoever waited may be gone.
        let _ = told.send(Some(outcome.clone()));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Not tried at all, or broken off: whoever asks next may try.
        self.end(&Err(FeedError::Busy), Millis::MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(account: &str, after: Option<&str>) -> Key {
        Key {
            account: account.to_owned(),
            limit: 6,
            after: after.map(str::to_owned),
        }
    }

    fn page(body: &str, now: Millis) -> Page {
        Page {
            body: Bytes::from(body.to_owned()),
            etag: HeaderValue::from_static("\"x\""),
            cache_control: HeaderValue::from_static("public"),
            shelf: Shelf::new(now, 60_000, None),
            reels: Vec::new(),
            next: None,
        }
    }

    fn flight(look: Look) -> Flight {
        match look {
            Look::Miss(_, Some(flight)) | Look::Stale(_, Some(flight)) => flight,
            other => panic!("no flight: {other:?}"),
        }
    }

    #[test]
    fn one_flight_serves_all_who_wait() {
        let cache = Arc::new(Cache::default());
        let key = key("17", None);
        let first = flight(cache.look(&key, 1, 0));
        let Look::Miss(second, None) = cache.look(&key, 1, 0) else {
            panic!("a second flight")
        };
        first.land(page("a", 0));
        assert!(matches!(&*second.borrow(), Some(Ok(page)) if page.body == "a"));
        assert!(matches!(cache.look(&key, 1, 59_999), Look::Hit(_)));
        let again = flight(cache.look(&key, 1, 60_000));
        assert!(matches!(cache.look(&key, 1, 60_000), Look::Stale(_, None)));
        drop(again);
        assert!(matches!(cache.look(&key, 1, 60_000), Look::Stale(_, Some(_))));
    }

    #[test]
    fn after_a_failure_meta_is_left_alone_until_the_pause_or_the_token_has_changed() {
        let cache = Arc::new(Cache::default());
        let key = key("17", None);
        flight(cache.look(&key, 1, 0)).fail(FeedError::Timeout, 0);
        assert!(matches!(cache.look(&key, 1, 4_999), Look::Failed(FeedError::Timeout)));
        assert!(matches!(cache.look(&key, 2, 4_999), Look::Miss(_, Some(_))));
        flight(cache.look(&key, 1, 5_000)).land(page("a", 5_000));
        flight(cache.look(&key, 1, 70_000)).fail(FeedError::Timeout, 70_000);
        assert!(matches!(cache.look(&key, 1, 70_001), Look::Stale(_, None)));
        assert!(matches!(cache.look(&key, 1, 75_000), Look::Stale(_, Some(_))));
    }

    #[test]
    fn what_is_outdated_is_shown_until_there_is_a_newer_one() {
        let cache = Arc::new(Cache::default());
        let key = key("17", None);
        flight(cache.look(&key, 1, 0)).land(page("a", 0));
        cache.outdate("18");
        assert!(matches!(cache.look(&key, 1, 1), Look::Hit(_)));
        cache.outdate("17");
        flight(cache.look(&key, 1, 1)).land(page("b", 1));
        assert!(matches!(cache.look(&key, 1, 2), Look::Hit(page) if page.body == "b"));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_longest_unused_goes() {
        let cache = Arc::new(Cache::default());
        let body = "x".repeat(100_000);
        for number in 0..200 {
            let key = key("17", Some(&number.to_string()));
            flight(cache.look(&key, 1, 0)).land(page(&body, 0));
            assert!(cache.lock().bytes <= BYTES_MAX);
        }
        let (slots, bytes) = {
            let inner = cache.lock();
            (inner.slots.len(), inner.slots.values().map(Slot::cost).sum::<usize>())
        };
        assert_eq!(bytes, cache.lock().bytes);
        assert!((50..100).contains(&slots), "{slots}");
        assert!(matches!(cache.look(&key("17", Some("199")), 1, 1), Look::Hit(_)));
        assert!(matches!(cache.look(&key("17", Some("0")), 1, 1), Look::Miss(..)));
    }
}
