//! The reels of the business's Instagram account, for its website: a feed that never goes blank.
//!
//! [`api`] answers from the `cache`. What is not there, or not fresh, is fetched by one task ([`run`]), so that a caller who hangs up breaks
//! off nothing that others wait for: [`source`] asks Meta, [`paging`] makes pages out of what it lists. [`model`] says for how long a
//! page may be shown. With `REELS_STORE_MEDIA` films and posters are copied (`kept`) and served from here (`files`).
//!
//! Guarantee: while Meta fails, what was fetched is shown for a day, but never with a link that has ended.

pub mod api;
mod cache;
mod files;
mod kept;
pub mod model;
pub mod paging;
pub mod source;
pub mod watch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::http::HeaderValue;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::conversations::model::Millis;
use api::Feed;
use cache::{Cache, Flight, Key, Page};
use kept::{Kept, Part};
use model::{Reel, Shelf};
use paging::Place;
use source::{Fetched, Source};

/// Pages that are fetched at once.
const FLIGHTS_PARALLEL: usize = 4;
/// Pages that may wait for that.
const FLIGHTS_WAITING_MAX: usize = 256;
/// Pages whose files may wait to be kept.
const KEEPING_WAITING_MAX: usize = 64;
/// A page of which something is missing that may be there in a moment is fresh for so long at most.
const PARTIAL_FRESH: Millis = 30_000;
/// How long something stale may be shown by others' caches while they ask for a newer one, in seconds.
const REVALIDATE_SECS: Millis = 60;

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// No Instagram account is connected, or it has no token.
    #[error("no Instagram account with a token is connected")]
    NotConfigured,
    /// Meta did not answer in time.
    #[error("Meta did not answer in time")]
    Timeout,
    /// Meta refuses the token, or what it was granted does not suffice.
    #[error("Meta refuses the token ({}): {}", .0.code, .0.message)]
    TokenInvalid(MetaError),
    /// Meta answered with an error.
    #[error("Meta answered with error {}: {}", .0.code, .0.message)]
    Refused(MetaError),
    /// Meta could not be reached, or answered what cannot be understood.
    #[error("{reason}")]
    Unreadable {
        /// For the log: why.
        reason: String,
        /// How long Meta asked to be left alone.
        wait: Option<Duration>,
    },
    /// There is more to fetch than may wait.
    #[error("too many pages wait to be fetched")]
    Busy,
}

/// Meta's own error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaError {
    /// Meta's code.
    pub code: i64,
    /// Meta's subcode.
    pub subcode: Option<i64>,
    /// Meta's text.
    pub message: String,
    /// What Meta's support asks for.
    pub trace_id: Option<String>,
    /// How long Meta asked to be left alone.
    pub wait: Option<Duration>,
}

impl FeedError {
    /// How long Meta asked to be left alone.
    fn wait(&self) -> Option<Duration> {
        match self {
            Self::TokenInvalid(error) | Self::Refused(error) => error.wait,
            Self::Unreadable { wait, .. } => *wait,
            Self::NotConfigured | Self::Timeout | Self::Busy => None,
        }
    }
}

/// The feed.
#[derive(Debug)]
pub struct Reels {
    cache: Arc<Cache>,
    source: Source,
    kept: Option<Kept>,
    flights: mpsc::Sender<Flight>,
    /// Taken from by [`run`]; held by one run at a time.
    waiting: Mutex<mpsc::Receiver<Flight>>,
}

impl Reels {
    /// With an empty cache.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let (flights, waiting) = mpsc::channel(FLIGHTS_WAITING_MAX);
        let is_plain = config.graph.instagram_base_url.starts_with("http://");
        let open = || Kept::open(config.data_dir.join("reels"), config.reels.media_bytes_max, is_plain);
        Ok(Self {
            cache: Arc::default(),
            source: Source::default(),
            kept: config.reels.store_media.then(open).transpose()?,
            flights,
            waiting: Mutex::new(waiting),
        })
    }

    /// Something new was posted: pages of the account are fetched again as soon as somebody asks.
    pub fn outdate(&self, account: &str) {
        self.cache.outdate(account);
    }

    /// Has a page fetched, if it is to be.
    fn begin(&self, flight: Option<Flight>) {
        if let Some(flight) = flight {
            // Dropped, a flight tells whoever waits that it failed.
            drop(self.flights.try_send(flight));
        }
    }
}

/// A page of which files may be kept.
type Shown = (Key, Arc<Page>);

/// Fetches pages until told to stop; and keeps their files, one page after the other, so that films keep nobody waiting.
pub async fn run(app: App, stop: CancellationToken) {
    let mut waiting = app.reels.waiting.lock().await;
    let mut under_way: JoinSet<Option<Shown>> = JoinSet::new();
    let (mut keeping, mut to_keep) = (JoinSet::new(), VecDeque::new());
    loop {
        if keeping.is_empty()
            && let Some(shown) = to_keep.pop_front()
        {
            let app = app.clone();
            keeping.spawn(async move { keep_page(&app, shown).await });
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(ended) = under_way.join_next() => match ended {
                // What finds no room is kept when the page is fetched again.
                Ok(Some(shown)) if to_keep.len() < KEEPING_WAITING_MAX => to_keep.push_back(shown),
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "fetching reels failed: a bug of Tidings"),
            },
            Some(ended) = keeping.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "keeping files of reels failed: a bug of Tidings");
                }
            }
            Some(flight) = waiting.recv(), if under_way.len() < FLIGHTS_PARALLEL => {
                let app = app.clone();
                under_way.spawn(async move { fly(&app, flight).await });
            }
        }
    }
}

/// Fetches a page; answers with it where its files may be kept.
async fn fly(app: &App, flight: Flight) -> Option<Shown> {
    let key = flight.key.clone();
    let place = key
        .after
        .as_deref()
        .and_then(|cursor| Place::verify(cursor, app.channels.keyring().cursors(), &key.account));
    let fetched = app
        .reels
        .source
        .fetch(app, &key.account, key.limit, place.as_ref())
        .await;
    let now = app.clock.now_millis();
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(error) => {
            log(&error, &key.account);
            flight.fail(error, now);
            return None;
        }
    };
    let Fetched {
        reels,
        next,
        is_partial,
    } = fetched;
    let fresh_for = i64::try_from(app.config.reels.cache_ttl.as_millis()).unwrap_or(i64::MAX);
    let fresh_for = if is_partial {
        fresh_for.min(PARTIAL_FRESH)
    } else {
        fresh_for
    };
    let page = flight.land(render(app, &key.account, reels, next, now, fresh_for));
    app.reels.kept.as_ref().map(|_| (key, page))
}

/// Keeps the files of a page, which is shown with them from then on.
async fn keep_page(app: &App, (key, page): Shown) {
    let Some(kept) = &app.reels.kept else { return };
    let Shelf {
        fetched_at,
        fresh_until,
        ..
    } = page.shelf;
    keep(kept, &page.reels, app.clock.now_millis()).await;
    let (reels, next) = (page.reels.clone(), page.next.clone());
    let again = render(app, &key.account, reels, next, fetched_at, fresh_until - fetched_at);
    // Its files may have been kept for another page meanwhile.
    if again.etag != page.etag {
        app.reels.cache.replace(&key, &page, again);
    }
}

/// Keeps what is not kept yet of a page.
async fn keep(kept: &Kept, reels: &[Reel], now: Millis) {
    let mut is_changed = false;
    for reel in reels {
        for (part, address) in [(Part::Poster, &reel.poster_url), (Part::Film, &reel.video_url)] {
            let Some(address) = address else { continue };
            if kept.hash_of(&reel.id, part, now).is_some() {
                continue;
            }
            match kept.keep(&reel.id, part, address, now).await {
                Ok(()) => is_changed = true,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(target: "InstagramService", reel = reel.id, ?part, error, "a file of a reel could not be kept");
                }
            }
        }
    }
    if is_changed && let Err(error) = kept.tidy(now).await {
        tracing::warn!(target: "InstagramService", %error, "the folder of reels could not be tidied");
    }
}

/// A page as it is shown.
fn render(app: &App, account: &str, reels: Vec<Reel>, next: Option<Place>, now: Millis, fresh_for: Millis) -> Page {
    let (kept, public_url) = (app.reels.kept.as_ref(), app.config.public_url.as_deref().unwrap_or(""));
    let mut links_end_at: Option<Millis> = None;
    let shown = reels.iter().map(|reel| {
        let mut shown = reel.clone();
        for (part, url) in [
            (Part::Poster, &mut shown.poster_url),
            (Part::Film, &mut shown.video_url),
        ] {
            if url.is_some()
                && let Some(hash) = kept.and_then(|kept| kept.hash_of(&reel.id, part, now))
            {
                *url = Some(format!("{public_url}{}{hash}", api::FILES));
            }
        }
        if let Some(end) = shown.links_end_at(now) {
            links_end_at = Some(links_end_at.map_or(end, |other| other.min(end)));
        }
        shown
    });
    let shown: Vec<Reel> = shown.collect();
    let cursor = next
        .as_ref()
        .map(|place| place.sign(app.channels.keyring().cursors(), account));
    let body = serde_json::to_vec(&Feed::new(shown, cursor)).expect("a feed is made of texts and numbers");
    let shelf = Shelf::new(now, fresh_for, links_end_at);
    let etag = format!("\"{}\"", hex::encode(&digest(&SHA256, &body).as_ref()[..16]));
    let fresh_secs = (shelf.fresh_until - now) / 1000;
    let stale_secs = (shelf.stale_until - shelf.fresh_until) / 1000;
    let cache_control = format!(
        "public, max-age={fresh_secs}, stale-while-revalidate={}, stale-if-error={stale_secs}",
        stale_secs.min(REVALIDATE_SECS)
    );
    let value = |text: String| HeaderValue::from_str(&text).expect("digits and words can stand in a header");
    Page {
        body: Bytes::from(body),
        etag: value(etag),
        cache_control: value(cache_control),
        shelf,
        reels,
        next,
    }
}

/// The log knows why there are no reels, without the token: that is in no error.
fn log(error: &FeedError, account: &str) {
    let code = error.code().as_str();
    match error {
        FeedError::TokenInvalid(meta) | FeedError::Refused(meta) => tracing::warn!(
            target: "InstagramService", account, error = code, meta_code = meta.code, meta_subcode = meta.subcode,
            trace_id = meta.trace_id, "Instagram API responded {}: {}", meta.code, meta.message
        ),
        FeedError::Timeout => tracing::warn!(
            target: "InstagramService", account, error = code, "Instagram API did not respond in time"
        ),
        FeedError::NotConfigured | FeedError::Unreadable { .. } | FeedError::Busy => tracing::warn!(
            target: "InstagramService", account, error = code, "the reels could not be read: {error}"
        ),
    }
}
