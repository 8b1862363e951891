//! Pages of reels out of a listing that mixes them with all else (reference `instagram.md` 5.1).
//!
//! Guarantee: whoever follows the pages sees each reel that was there all along exactly once, in order, whatever is posted or deleted
//! meanwhile, and however Meta cuts its own pages. Every page but the last has as many reels as were asked for, unless that would take
//! more than `CALLS_MAX` calls: then it is shorter, and the next one goes on from there.
//!
//! A place is a time, and which reels of that very second were shown; Meta is asked for what is not newer. Meta's own cursors are
//! short-lived ("never store them"), while a page here may be kept for a day: they are used within one page alone.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidings_meta::client::{Post, PostsPage};

/// Calls to Meta for one page, at most.
pub(super) const CALLS_MAX: u32 = 10;
/// Calls that only look for whether there is one more reel.
const LOOKAHEAD_CALLS_MAX: u32 = 2;
/// Posts that Meta is asked for in one call, as the reference's listing has it.
pub(super) const POSTS_PER_CALL: u32 = 25;
/// Reels of one second that a place remembers; an account may publish a hundred a day (reference `instagram.md` 5.5).
const SHOWN_MAX: usize = 500;

/// Where a list of reels goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The second, since 1970, up to which everything was looked at.
    at: i64,
    /// The reels of that second that were shown, by the beginning of their ids' hash.
    shown: Vec<u64>,
}

/// What one call to Meta asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    /// Nothing newer, in seconds since 1970.
    pub(super) until: Option<i64>,
    /// Where Meta's page before ended.
    pub(super) after: Option<String>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its reels.
    pub(super) reels: Vec<Post>,
    /// Where the next one begins; `None` if there is none.
    pub(super) next: Option<Place>,
}

/// Whoever lists an account's posts.
pub(super) trait Lists {
    /// Why a page could not be had.
    type Error;

    /// One page of Meta's listing.
    fn list(&mut self, ask: Ask) -> impl Future<Output = Result<PostsPage, Self::Error>> + Send;
}

/// Finds a page of so many reels behind a place.
pub(super) async fn page<L: Lists>(limit: usize, from: Option<&Place>, lists: &mut L) -> Result<Found, L::Error> {
    // Whether Meta takes `until` as its own last second is not documented: one more, and what is too new is left out here.
    let until = from.map(|place| place.at.saturating_add(1));
    let mut place = from.cloned();
    let mut reels: Vec<Post> = Vec::with_capacity(limit);
    let (mut after, mut lookahead) = (None, 0);
    for _ in 0..CALLS_MAX {
        if reels.len() == limit {
            lookahead += 1;
            if lookahead > LOOKAHEAD_CALLS_MAX {
                break;
            }
        }
        let listed = lists
            .list(Ask {
                until,
                after: after.take(),
            })
            .await?;
        for post in listed.posts {
            // Without a time nothing could go on behind it.
            let Some(at) = post.posted_at.map(|millis| millis.div_euclid(1000)) else {
                continue;
            };
            let mark = mark(&post.id);
            if place.as_ref().is_some_and(|place| place.is_behind(at, mark)) {
                continue;
            }
            if !post.is_reel() {
                place = Some(place.unwrap_or_default().moved_to(at, None));
                continue;
            }
            if reels.len() == limit {
                return Ok(Found { reels, next: place });
            }
            place = Some(place.unwrap_or_default().moved_to(at, Some(mark)));
            reels.push(post);
        }
        match listed.after {
            Some(next) => after = Some(next),
            None => return Ok(Found { reels, next: None }),
        }
    }
    // So many calls that came no further would come no further again.
    let next = place.filter(|place| Some(place) != from);
    Ok(Found { reels, next })
}

impl Place {
    /// Whether a post was looked at before, or is newer than what was.
    fn is_behind(&self, at: i64, mark: u64) -> bool {
        at > self.at || (at == self.at && self.shown.contains(&mark))
    }

    fn moved_to(mut self, at: i64, shown: Option<u64>) -> Self {
        if at != self.at {
            self.at = at;
            self.shown.clear();
        }
        if self.shown.len() < SHOWN_MAX {
            self.shown.extend(shown);
        }
        self
    }

    /// As a cursor of this account: signed, since whoever could make one up could fill the cache, or have Meta asked for anything.
    pub fn sign(&self, key: &hmac::Key, account: &str) -> String {
        let mut bytes = vec![LAYOUT];
        bytes.extend(self.at.to_be_bytes());
        for mark in &self.shown {
            bytes.extend(mark.to_be_bytes());
        }
        let tag = hmac::sign(key, &signed(&bytes, account));
        bytes.extend(&tag.as_ref()[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place of a cursor; `None` where it is none that was signed here for this account.
    pub fn verify(cursor: &str, key: &hmac::Key, account: &str) -> Option<Self> {
        if cursor.len() > CURSOR_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (bytes, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        let own = hmac::sign(key, &signed(bytes, account));
        aws_lc_rs::constant_time::verify_slices_are_equal(&own.as_ref()[..TAG_BYTES], tag).ok()?;
        let (layout, bytes) = bytes.split_first()?;
        let (at, shown) = bytes.split_first_chunk::<8>()?;
        if *layout != LAYOUT {
            return None;
        }
        let (marks, _) = shown.as_chunks::<8>();
        Some(Self {
            at: i64::from_be_bytes(*at),
            shown: marks.iter().map(|mark| u64::from_be_bytes(*mark)).collect(),
        })
    }
}

/// The first byte of a cursor: how it is laid out.
const LAYOUT: u8 = 1;
const TAG_BYTES: usize = 16;
const CURSOR_BYTES_MAX: usize = (1 + 8 + 8 * SHOWN_MAX + TAG_BYTES) * 4 / 3 + 4;

/// The layout's bytes have a fixed beginning, so that an account's id cannot run into them.
fn signed(bytes: &[u8], account: &str) -> Vec<u8> {
    [&(account.len() as u64).to_be_bytes()[..], account.as_bytes(), bytes].concat()
}

fn mark(id: &str) -> u64 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, id.as_bytes());
    let mut mark = [0; 8];
    mark.copy_from_slice(&digest.as_ref()[..8]);
    u64::from_be_bytes(mark)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// What an account has posted, as Meta lists it.
    #[derive(Debug, Clone)]
    struct Listing {
        /// The newest first: id, second, whether it is a reel, whether it is listed at all.
        posts: Vec<(u32, i64, bool, bool)>,
        page_size: usize,
    }

    impl Listing {
        /// By cursor: a place in time and order, which survives deletions (reference `graph-api.md` 5).
        fn answer(&self, ask: &Ask) -> PostsPage {
            let after: Option<u32> = ask.after.as_ref().map(|after| after.parse().unwrap());
            let until = |at: i64| ask.until.is_none_or(|until| at <= until);
            let rest: Vec<_> = self
                .posts
                .iter()
                .filter(|(id, at, ..)| until(*at) && after.is_none_or(|after| *id < after))
                .collect();
            let page = &rest[..rest.len().min(self.page_size)];
            let posts = page
                .iter()
                .filter(|(.., listed)| *listed)
                .map(|(id, at, is_reel, _)| Post {
                    id: id.to_string(),
                    product_type: Some(if *is_reel { "REELS" } else { "FEED" }.to_owned()),
                    posted_at: Some(at * 1000 + 7),
                    ..Post::default()
                });
            PostsPage {
                posts: posts.collect(),
                after: page
                    .last()
                    .filter(|_| rest.len() > page.len())
                    .map(|(id, ..)| id.to_string()),
            }
        }
    }

    /// A listing that is asked, and how often it was.
    struct Asked<'l> {
        listing: &'l Listing,
        calls: u32,
    }

    impl Lists for Asked<'_> {
        type Error = Infallible;

        async fn list(&mut self, ask: Ask) -> Result<PostsPage, Infallible> {
            self.calls += 1;
            Ok(self.listing.answer(&ask))
        }
    }

    /// A page, and how many calls it took.
    fn page_of(listing: &Listing, limit: usize, from: Option<&Place>) -> (Found, u32) {
        let mut asked = Asked { listing, calls: 0 };
        let Ok(found) = now(page(limit, from, &mut asked));
        (found, asked.calls)
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("nothing here waits"),
        }
    }

    fn reel_ids(listing: &Listing) -> Vec<u32> {
        let reels = listing
            .posts
            .iter()
            .filter(|(_, _, is_reel, listed)| *is_reel && *listed);
        reels.map(|(id, ..)| *id).collect()
    }

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, b"a key for tests")
    }

    #[derive(Debug, Clone)]
    enum Change {
        Delete(prop::sample::Index),
        Post(bool),
    }

    fn posts() -> impl Strategy<Value = Vec<(i64, bool, bool)>> {
        // Pauses of no time at all, so that many posts share a second.
        prop::collection::vec((0_i64..3, any::<bool>(), prop::bool::weighted(0.9)), 0..120)
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            any::<prop::sample::Index>().prop_map(Change::Delete),
            any::<bool>().prop_map(Change::Post),
        ];
        prop::collection::vec(change, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn each_reel_that_was_there_all_along_is_shown_once_in_order(
            posted in posts(),
            changes in changes(),
            limit in 1_usize..=25,
            // In pages of one, a second with a dozen posts would take more calls than a page has.
            page_size in 2_usize..40,
        ) {
            let mut at = 1_000_000;
            let mut listing = Listing { posts: Vec::new(), page_size };
            for (number, (pause, is_reel, listed)) in posted.iter().enumerate() {
                at += pause;
                listing.posts.insert(0, (number as u32, at, *is_reel, *listed));
            }
            let before: BTreeSet<u32> = reel_ids(&listing).into_iter().collect();
            let mut shown = Vec::new();
            let mut calls_of_all = 0;
            let mut cursor: Option<String> = None;
            let mut changes = changes.into_iter();
            loop {
                let place = cursor.as_deref().map(|cursor| Place::verify(cursor, &key(), "17").unwrap());
                let (found, calls) = page_of(&listing, limit, place.as_ref());
                prop_assert!(calls <= CALLS_MAX);
                prop_assert!(found.reels.len() <= limit);
                if found.next.is_some() && calls < CALLS_MAX {
                    prop_assert_eq!(found.reels.len(), limit, "every page but the last is full");
                }
                shown.extend(found.reels.iter().map(|reel| reel.id.parse::<u32>().unwrap()));
                calls_of_all += 1;
                prop_assert!(calls_of_all < 1_000, "the pages end");
                let Some(next) = found.next else { break };
                cursor = Some(next.sign(&key(), "17"));
                match changes.next() {
                    Some(Change::Delete(index)) if !listing.posts.is_empty() => {
                        let index = index.index(listing.posts.len());
                        listing.posts.remove(index);
                    }
                    Some(Change::Post(is_reel)) => {
                        at += 1;
                        let number = 1_000 + calls_of_all;
                        listing.posts.insert(0, (number, at, is_reel, true));
                    }
                    Some(Change::Delete(_)) | None => {}
                }
            }
            let unique: BTreeSet<u32> = shown.iter().copied().collect();
            prop_assert_eq!(unique.len(), shown.len(), "none is shown twice: {:?}", shown);
            prop_assert!(shown.is_sorted_by(|earlier, later| earlier > later), "in order: {:?}", shown);
            let throughout = reel_ids(&listing).into_iter().filter(|id| before.contains(id));
            for id in throughout {
                prop_assert!(unique.contains(&id), "{} is missing in {:?}", id, shown);
            }
        }

        #[test]
        fn a_cursor_that_was_changed_is_none(at in any::<i64>(), shown in prop::collection::vec(any::<u64>(), 0..4),
            flip in any::<prop::sample::Index>()) {
            let place = Place { at, shown };
            let cursor = place.sign(&key(), "17");
            prop_assert_eq!(Place::verify(&cursor, &key(), "17"), Some(place));
            prop_assert_eq!(Place::verify(&cursor, &key(), "18"), None);
            let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
            let index = flip.index(bytes.len());
            bytes[index] ^= 1;
            prop_assert_eq!(Place::verify(&URL_SAFE_NO_PAD.encode(&bytes), &key(), "17"), None);
            prop_assert_eq!(Place::verify(&cursor[..cursor.len() - 2], &key(), "17"), None);
        }
    }

    fn listing(reels: &[bool], page_size: usize) -> Listing {
        let count = reels.len() as i64;
        let posts = reels.iter().enumerate().map(|(index, is_reel)| {
            let number = count - index as i64;
            (number as u32, number * 10, *is_reel, true)
        });
        Listing {
            posts: posts.collect(),
            page_size,
        }
    }

    #[test]
    fn a_page_that_would_take_too_many_calls_comes_short_and_goes_on() {
        let mut reels = vec![false; 40];
        reels[0] = true;
        reels[39] = true;
        let listing = listing(&reels, 2);
        let (first, calls) = page_of(&listing, 6, None);
        assert_eq!((first.reels.len(), calls), (1, CALLS_MAX));
        let (mut next, mut shown) = (first.next, Vec::new());
        for _ in 0..3 {
            let Some(place) = next else { break };
            let (found, _) = page_of(&listing, 6, Some(&place));
            shown.extend(found.reels.into_iter().map(|reel| reel.id));
            next = found.next;
        }
        assert_eq!((shown, next), (vec!["1".to_owned()], None));
    }

    #[test]
    fn no_more_is_promised_where_a_short_look_shows_that_there_is_none() {
        let mut reels = vec![true; 6];
        reels.extend([false; 20]);
        let (found, _) = page_of(&listing(&reels, 25), 6, None);
        assert_eq!((found.reels.len(), found.next), (6, None));
    }

    #[test]
    fn what_arbitrary_texts_are_taken_for() {
        for text in ["", "x", "AAAA", "ä", &"A".repeat(100_000)] {
            assert_eq!(Place::verify(text, &key(), "17"), None);
        }
    }
}
