//! Files in messages: kept, fetched from Meta, handed to Meta, and shown.
//!
//! - What a caller uploads ([`api`]) is put into the media store ([`depot`]), by its hash; what it is, its bytes say ([`sniff`]).
//! - What a message of Meta's refers to is noted with the message ([`inbound`]), and fetched in the background ([`downloads`]).
//! - A message that is to be sent with an uploaded file ([`outbound`]) waits until the channel has handed the file to Meta ([`uploads`]), once
//!   for all messages of the channel, until Meta forgets it.
//! - Whoever may see a file gets a link that opens for a while ([`links`]); how it is served is in `serve`.
//! - What nothing refers to any more is removed ([`sweep`]).
//!
//! Guarantee: a message never waits for a file of Meta's, and is never lost with one. A file whose row says `stored` is in the media store. No
//! file is held in memory as a whole, and no more than the settings say are on their way at once.

pub mod api;
pub mod depot;
pub mod downloads;
pub mod inbound;
pub mod limits;
pub mod links;
pub mod model;
pub mod outbound;
mod serve;
pub mod sniff;
pub mod sweep;
mod transfers;
pub mod uploads;
pub mod view;

use std::io;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::app::App;
use crate::config::Config;
use crate::conversations::model::Millis;
use crate::media::depot::{Depot, Finished};
use crate::media::links::Links;
use crate::store::StoreError;

/// When it is looked whether anything refers to a file that was put into the media store: by then whoever put it there has said so.
const LOOK_AFTER: Duration = Duration::from_hours(1);
/// How long to wait for a file that is being removed, to put it there anew.
const REMOVAL_LOOKS_MAX: u32 = 40;
const REMOVAL_LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long one file may be on its way from or to Meta.
const TRANSFER_TIMEOUT: Duration = Duration::from_mins(10);
/// How long a transfer is somebody's who shows no life.
const TAKEN_FOR: Duration = Duration::from_mins(1);

/// What the hub has for files.
#[derive(Debug)]
pub struct MediaStore {
    /// Where they are.
    pub depot: Depot,
    /// How they are seen.
    pub links: Links,
    /// The places of callers who upload.
    intakes: Semaphore,
    /// Wakes the task that fetches.
    wanted: Notify,
    /// Wakes the task that hands over.
    outgoing: Notify,
}

/// Why a file could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The folder or bucket.
    #[error("the media store cannot be written to")]
    Depot(#[from] io::Error),
    /// The store.
    #[error("the store cannot be written to")]
    Store(#[from] StoreError),
    /// The same file is being removed, and that takes long.
    #[error("the same file is being removed")]
    BeingRemoved,
}

impl MediaStore {
    /// As the settings say.
    pub fn new(config: &Config, link_key: aws_lc_rs::hmac::Key) -> Result<Self, object_store::Error> {
        let media = &config.media;
        Ok(Self {
            depot: Depot::new(media)?,
            links: Links::new(link_key, config.public_url.as_deref(), media.link),
            intakes: Semaphore::new(media.intakes_parallel),
            wanted: Notify::new(),
            outgoing: Notify::new(),
        })
    }

    /// There may be files to fetch.
    pub fn nudge_downloads(&self) {
        self.wanted.notify_one();
    }

    /// There may be files to hand over.
    pub fn nudge_uploads(&self) {
        self.outgoing.notify_one();
    }
}

/// Puts a whole file into the media store.
pub async fn keep(app: &App, file: Finished) -> Result<(), KeepError> {
    let (sha256, size) = (file.sha256, file.size as i64);
    for _ in 0..REMOVAL_LOOKS_MAX {
        let now = app.clock.now_millis();
        let look_at = now.saturating_add(millis(LOOK_AFTER));
        let reserved = app
            .store
            .write(move |tx| tx.reserve_media_file(sha256, size, now, look_at))
            .await?;
        if reserved {
            return Ok(app.media.depot.put(file).await?);
        }
        tokio::time::sleep(REMOVAL_LOOK_EVERY).await;
    }
    Err(KeepError::BeingRemoved)
}

/// At start: on the embedded store no other process can be at a file, so whoever is noted as being so is gone. On Postgres another node may:
/// there its time has to run out.
pub async fn recover(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    if app.store.engine() == "sqlite" {
        let released = app.store.write(move |tx| {
            tx.release_media_taken(None, now)?;
            tx.release_media_uploads_taken(None, now)
        });
        released.await?;
    }
    match app.media.depot.clear().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "files were removed that earlier processes had left unfinished"),
        Err(error) => tracing::warn!(%error, "files that earlier processes left unfinished cannot be removed"),
    }
    Ok(())
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
