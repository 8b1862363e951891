//! What Meta posts: verified, kept raw, answered; then understood.
//!
//! The promise: a 200 means that every event of the notification is on disk, once.
//!
//! 1. [`webhooks`]: checks the signature over the raw body ([`trust`]), splits it into events, hands them to
//! 2. [`writer`], which keeps many notifications with one flush and only then lets them be answered. What they mean ([`meaning`]) is brought into
//!    conversations in the same unit ([`arrival`]), where nothing speaks against it;
//! 3. [`projector`] finds in the store what was only kept, and what is to be understood again, batch by batch; a crash at any point leaves an
//!    event either unanswered (Meta repeats it), or kept (the projector finds it), or done.
//!
//! [`events_api`] shows what was kept, and has it understood again; [`silence`] notices when nothing comes any more.
//!
//! Repeats cost a look at one index: an event's identity is unique in the store.

use std::sync::Arc;

use tidings_meta::notification::{self, EventKind, Platform};
use tidings_meta::signature::SignatureError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::channels::Channels;
use crate::config::WebhookConfig;
use crate::conversations::consent::words::Words;
use crate::conversations::model::Millis;
use crate::ids::Ids;
use crate::ingest::arrival::Arrived;
use crate::ingest::meaning::Meaning;
use crate::ingest::model::NewEvent;
use crate::ingest::trust::Trusts;
use crate::store::StoreError;

pub mod arrival;
pub mod events_api;
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

/// A notification on its way to the writer.
#[derive(Debug)]
pub struct Pending {
    events: Vec<Arrived>,
    /// What it takes of the room for bodies, as long as it is here: also when whoever brought it has given up waiting.
    room: Option<Room>,
    answer: oneshot::Sender<Result<Kept, StoreError>>,
}

/// Room for a body, until it is dropped.
pub type Room = OwnedSemaphorePermit;

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Events that were not known yet.
    pub new: usize,
    /// Events that were.
    pub repeats: usize,
}

/// The way in.
#[derive(Debug)]
pub struct Ingest {
    /// Who is believed to be Meta.
    pub trusts: Trusts,
    signature_required: bool,
    queue: mpsc::Sender<Pending>,
    /// What is left of the room for bodies, in KiB.
    room: Arc<Semaphore>,
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
    pub fn new(config: &WebhookConfig, words: Words, channels: Channels, ids: Ids) -> (Self, mpsc::Receiver<Pending>) {
        let (queue, pending) = mpsc::channel(config.max_queue);
        let ingest = Self {
            trusts: Trusts::new(config),
            signature_required: config.signature_required,
            queue,
            room: Arc::new(Semaphore::new(
                BODIES_BYTES_MAX.max(config.body_bytes_max).div_ceil(1024),
            )),
            channels,
            words,
            ids,
        };
        (ingest, pending)
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

    /// Splits a checked body into its events.
    pub fn split(&self, platform: Platform, body: &[u8], signed: bool, now: Millis) -> Result<Vec<NewEvent>, Refusal> {
        let events = notification::split(platform, body).map_err(|error| Refusal::Envelope(error.reason))?;
        Ok(events
            .into_iter()
            .map(|event| self.new_event(platform, event, signed, now))
            .collect())
    }

    fn new_event(&self, platform: Platform, event: notification::Event, signed: bool, now: Millis) -> NewEvent {
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
            received_at: now,
            signed,
            ignored_because,
            payload: event.raw,
        }
    }

    /// Keeps the events of one notification, all or none; answers once they are on disk. `room` is what its body takes, if it had one: it is
    /// given back when nothing of the notification is in memory any more.
    pub async fn keep(&self, events: Vec<NewEvent>, room: Option<Room>) -> Result<Kept, Refusal> {
        let place = self.queue.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => Refusal::Full,
            mpsc::error::TrySendError::Closed(()) => Refusal::Store(StoreError::Closed),
        })?;
        let understood = events.len() <= UNDERSTOOD_AT_ONCE_MAX;
        let events = events
            .into_iter()
            .map(|event| {
                let meaning = (understood && event.ignored_because.is_none())
                    .then(|| Box::new(Meaning::of(&event, &self.channels, &self.words)));
                Arrived::new(event, meaning)
            })
            .collect();
        let (answer, kept) = oneshot::channel();
        place.send(Pending { events, room, answer });
        Ok(kept.await.map_err(|_| StoreError::Closed)??)
    }
}

/// Why an event of an account that is no channel is set aside; a replay finds the channel if it was added since.
pub const UNKNOWN_ACCOUNT: &str = "no channel has this account: add it to the settings, then replay its events";
