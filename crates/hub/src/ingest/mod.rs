//! What Meta posts: verified, kept raw, answered; then understood.
//!
//! The promise: a 200 means that every event of the notification is on disk, once.
//!
//! 1. [`webhooks`]: checks the signature over the raw body ([`trust`]), and splits it into events;
//! 2. [`journal`], on the embedded store, if it can be used ([`inbox`]): keeps many notifications with one flush, and lets them be answered;
//! 3. [`writer`]: keeps the events of many in the store, and brings what they mean ([`meaning`]) into conversations in the same unit
//!    ([`arrival`]), where nothing speaks against it. Without a journal they are answered now;
//! 4. [`projector`] finds in the store what was only kept, and what is to be understood again, batch by batch; a crash at any point leaves an
//!    event either unanswered (Meta repeats it), or in the journal (the next process brings it in), or kept (the projector finds it), or done.
//!
//! [`events_api`] shows what was kept, and has it understood again; [`silence`] notices when nothing comes any more.
//!
//! Repeats cost a look at one index: an event's identity is unique in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};

use tidings_meta::notification::{self, EventKind, Platform};
use tidings_meta::signature::SignatureError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::channels::Channels;
use crate::config::WebhookConfig;
use crate::conversations::consent::words::Words;
use crate::conversations::model::Millis;
use crate::ids::Ids;
use crate::ingest::arrival::Arrived;
use crate::ingest::inbox::Inbox;
use crate::ingest::journal::{Place, Raw};
use crate::ingest::meaning::Meaning;
use crate::ingest::model::NewEvent;
use crate::ingest::trust::Trusts;
use crate::store::StoreError;

pub mod arrival;
pub mod events_api;
pub mod inbox;
pub mod journal;
pub mod meaning;
pub mod model;
pub mod projector;
pub mod silence;
pub mod trust;
pub mod webhooks;
pub mod writer;

/// How many bytes of bodies are held at once. Anyone may send one, and whether it is Meta's is known only when all of it is there.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A notification of more events is only kept at first: whoever comes after it shall not wait until all of them are brought into conversations.
const UNDERSTOOD_AT_ONCE_MAX: usize = 100;

/// A notification on its way into the store.
#[derive(Debug)]
pub struct Pending {
    events: Vec<Arrived>,
    /// Of Meta's notifications, whose it is; `None` for what the hub has found itself.
    platform: Option<Platform>,
    /// As it came: what the journal keeps, and whatever cannot be brought in is known by.
    raw: Option<Raw>,
    /// Where it is in the journal.
    place: Option<Place>,
    /// What it takes of the room for bodies, as long as it is here: also when whoever brought it has given up waiting.
    room: Option<Room>,
    /// Whoever waits to hear that it is kept, and its place among those that may.
    waits: Option<(oneshot::Sender<Result<Kept, StoreError>>, OwnedSemaphorePermit)>,
    /// How often the store has refused it since it was answered.
    refused: u32,
}

/// Room for a body, until it is dropped.
pub type Room = OwnedSemaphorePermit;

/// How a notification is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In the journal; which of its events are new will be seen.
    InJournal,
    /// In the store.
    InStore {
        /// Events that were not known yet.
        new: usize,
        /// Events that were.
        repeats: usize,
    },
}

impl Pending {
    /// What was in the journal when the hub was started.
    fn again(raw: Raw, events: Vec<Arrived>, place: Place) -> Self {
        Self {
            events,
            platform: Some(raw.platform),
            raw: Some(raw),
            place: Some(place),
            room: None,
            waits: None,
            refused: 0,
        }
    }

    fn received_at(&self) -> Millis {
        self.raw.as_ref().map_or(0, |raw| raw.received_at)
    }

    fn body_bytes(&self) -> usize {
        self.raw.as_ref().map_or(0, |raw| raw.body.len())
    }

    /// Tells whoever waits, if they have not been told yet. One who waits no longer was refused, and is not counted as accepted.
    fn answer(&mut self, kept: Result<Kept, StoreError>) {
        if let Some((waits, slot)) = self.waits.take() {
            // Whoever is told may come again at once.
            drop(slot);
            if waits.send(kept).is_err() {
                self.platform = None;
            }
        }
    }
}

/// The way in.
#[derive(Debug)]
pub struct Ingest {
    /// Who is believed to be Meta.
    pub trusts: Trusts,
    signature_required: bool,
    queue: mpsc::Sender<Pending>,
    /// What is left of the notifications that may wait for an answer.
    slots: Arc<Semaphore>,
    /// What is left of the room for bodies, in KiB.
    room: Arc<Semaphore>,
    /// How many events are in the journal, and not in the store yet.
    waiting: Arc<AtomicUsize>,
    /// When the first of those came in that the store does not take, epoch milliseconds; 0 if it takes them.
    stuck_since: AtomicI64,
    /// How many the store has refused for good since it took one.
    refused_in_a_row: AtomicU32,
    channels: Channels,
    words: Words,
    ids: Ids,
}

/// Why a notification was not kept for processing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No secret is configured that it could be checked with.
    #[error("no app secret is configured")]
    NoSecret,
    /// It is not from Meta, or not as Meta sent it.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is signed, but not what Meta sends.
    #[error("{0}")]
    Envelope(String),
    /// As much waits as may wait.
    #[error("too many notifications are waiting")]
    Full,
    /// The store has not said in time whether it keeps it.
    #[error("the store did not keep it in time")]
    Late,
    /// The store did not keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ingest {
    /// The way in, and what the [`writer`] takes from.
    pub fn new(config: &WebhookConfig, words: Words, channels: Channels, ids: Ids) -> (Self, Inbox) {
        let (queue, pending) = mpsc::channel(config.max_queue);
        let ingest = Self {
            trusts: Trusts::new(config),
            signature_required: config.signature_required,
            queue,
            slots: Arc::new(Semaphore::new(config.max_queue)),
            room: Arc::new(Semaphore::new(
                BODIES_BYTES_MAX.max(config.body_bytes_max).div_ceil(1024),
            )),
            waiting: Arc::default(),
            stuck_since: AtomicI64::new(0),
            refused_in_a_row: AtomicU32::new(0),
            channels,
            words,
            ids,
        };
        (ingest, Inbox::new(pending))
    }

    /// How many acknowledged events are on their way into conversations.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// When the first of them came in, while the store does not take them.
    pub fn stuck_since(&self) -> Option<Millis> {
        Some(self.stuck_since.load(Ordering::Relaxed)).filter(|since| *since > 0 && self.waiting() > 0)
    }

    /// Room for so many KiB of a body, until it is dropped; never waits.
    fn take_room(&self, kibibytes: usize) -> Result<Room, Refusal> {
        let kibibytes = u32::try_from(kibibytes).map_err(|_| Refusal::Full)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(kibibytes);
        room.map_err(|_| Refusal::Full)
    }

    /// Whether a body is Meta's; `Ok(false)` where signatures are not checked.
    pub fn check(&self, platform: Platform, signature: Option<&[u8]>, body: &[u8]) -> Result<bool, Refusal> {
        if !self.signature_required {
            return Ok(false);
        }
        let trust = self.trusts.now();
        let verifier = &trust.of(platform).verifier;
        if verifier.is_empty() {
            return Err(Refusal::NoSecret);
        }
        verifier.verify(signature, body)?;
        Ok(true)
    }

    /// Splits a checked notification into its events.
    pub fn split(&self, raw: &Raw) -> Result<Vec<NewEvent>, Refusal> {
        let events = notification::split(raw.platform, &raw.body).map_err(|error| Refusal::Envelope(error.reason))?;
        Ok(events.into_iter().map(|event| self.new_event(raw, event)).collect())
    }

    fn new_event(&self, raw: &Raw, event: notification::Event) -> NewEvent {
        let platform = raw.platform;
        let account = event.account.id().to_owned();
        let channel_id = self
            .channels
            .by_account(platform, &account)
            .map(|channel| channel.id.clone());
        // Events of an account as a whole belong to no channel, and need none.
        let of_number = !matches!(event.account, notification::Account::BusinessAccount(_));
        let ignored_because = if event.kind == EventKind::Unknown {
            Some("no event kind that Tidings knows")
        } else if of_number && channel_id.is_none() {
            Some(UNKNOWN_ACCOUNT)
        } else {
            None
        };
        NewEvent {
            id: self.ids.next(),
            platform,
            account,
            channel_id,
            kind: event.kind,
            external_id: event.external_id,
            occurred_at: event.occurred_at,
            received_at: raw.received_at,
            signed: raw.signed,
            ignored_because,
            payload: event.raw,
        }
    }

    /// Keeps the events of one of Meta's notifications, all or none; answers once they are on disk. `room` is what its body takes: it is given back when
    /// nothing of the notification is in memory any more.
    pub async fn keep(&self, raw: Raw, events: Vec<NewEvent>, room: Option<Room>) -> Result<Kept, Refusal> {
        self.submit(Some(raw), events, room).await
    }

    /// The same of what the hub has found itself: answers once it is in the store.
    pub async fn keep_found(&self, events: Vec<NewEvent>) -> Result<Kept, Refusal> {
        self.submit(None, events, None).await
    }

    async fn submit(&self, raw: Option<Raw>, events: Vec<NewEvent>, room: Option<Room>) -> Result<Kept, Refusal> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| Refusal::Full)?;
        let (waits, kept) = oneshot::channel();
        let pending = Pending {
            events: self.understood(events),
            platform: raw.as_ref().map(|raw| raw.platform),
            raw,
            place: None,
            room,
            waits: Some((waits, slot)),
            refused: 0,
        };
        self.queue.try_send(pending).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Full,
            mpsc::error::TrySendError::Closed(_) => Refusal::Store(StoreError::Closed),
        })?;
        Ok(kept.await.map_err(|_| StoreError::Closed)??)
    }

    fn understood(&self, events: Vec<NewEvent>) -> Vec<Arrived> {
        let at_once = events.len() <= UNDERSTOOD_AT_ONCE_MAX;
        events
            .into_iter()
            .map(|event| {
                let meaning = (at_once && event.ignored_because.is_none())
                    .then(|| Box::new(Meaning::of(&event, &self.channels, &self.words)));
                Arrived::new(event, meaning)
            })
            .collect()
    }
}

/// Why an event of an account that is no channel is set aside; a replay finds the channel if it was added since.
pub const UNKNOWN_ACCOUNT: &str = "no channel has this account: add it to the settings, then replay its events";
