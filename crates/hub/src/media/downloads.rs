//! Fetches what messages of Meta's refer to: in the background, a few files at once, each channel its share.
//!
//! Guarantee: what was noted with a message is fetched, or it is shown why not. What is due says the store, so a crash only makes it later; the
//! unit that notes it nudges this task. A file is somebody's for a minute at a time: whoever is killed with it in hand leaves it to the next.
//!
//! WhatsApp's links live for five minutes: one that is older, or does not open, is asked for anew (reference `whatsapp.md` 11). Instagram's
//! cannot be asked for (reference `instagram.md` 2.5, 5.3).

use std::collections::HashMap;
use std::time::Duration;

use secrecy::SecretString;
use tidings_meta::client::{CallError, Download, DownloadError, GraphClient};
use tidings_meta::error::{self, Class};
use tidings_meta::notification::Platform;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::transfers::{CHANNELS_MAX, Places};
use super::{KeepError, TAKEN_FOR, TRANSFER_TIMEOUT, keep, millis};
use crate::app::App;
use crate::channels::Channel;
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::MediaId;
use crate::media::depot::Finished;
use crate::media::model::{FETCHES_MAX, Fetched, FileHash, Media, Told, pause};
use crate::media::sniff;
use crate::metrics::Transfer;
use crate::store::StoreError;
use crate::store::stream::NewStreamRow;
use crate::stream::model::Change;

/// How often it is looked for files that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long nothing may come of a file before it is broken off.
const CHUNK_WITHIN: Duration = Duration::from_secs(30);
/// A link of WhatsApp's lives for five minutes; one that comes near that is asked for anew at once.
const LINK_MILLIS: Millis = 4 * 60 * 1000;
/// The answers by which a link is over, or was for another token.
const LINK_OVER: [u16; 4] = [401, 403, 404, 410];

/// Runs until told to stop; what is under way then is broken off, and left to whoever is next.
pub async fn run(app: App, stop: CancellationToken) {
    let mut downloads = Downloads::new(app.clone());
    let mut renewal = tokio::time::interval(TAKEN_FOR / 3);
    while !stop.is_cancelled() {
        if let Err(error) = downloads.begin().await {
            tracing::warn!(%error, "files that are due cannot be looked up");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            Some(ended) = downloads.running.join_next() => downloads.end(ended).await,
            _ = renewal.tick() => downloads.renew().await,
            () = app.media.wanted.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    downloads.running.shutdown().await;
    let (node, now) = (app.leases.node(), app.clock.now_millis());
    if let Err(error) = app.store.write(move |tx| tx.release_media_taken(Some(node), now)).await {
        tracing::info!(%error, "files that were being fetched are fetched again a minute later");
    }
}

struct Downloads {
    app: App,
    places: Places,
    running: JoinSet<(MediaId, Fetched)>,
    in_hand: HashMap<MediaId, ChannelId>,
}

impl Downloads {
    fn new(app: App) -> Self {
        Self {
            places: Places::new(app.config.media.downloads_parallel),
            app,
            running: JoinSet::new(),
            in_hand: HashMap::new(),
        }
    }

    /// Begins as many as there are places for.
    async fn begin(&mut self) -> Result<(), StoreError> {
        while self.places.free() > 0 {
            let now = self.app.clock.now_millis();
            let channels = self
                .app
                .store
                .read(move |tx| tx.channels_with_media_due(now, CHANNELS_MAX))
                .await?;
            let shares = self.places.shares(&channels);
            if shares.is_empty() {
                return Ok(());
            }
            let (node, until) = (self.app.leases.node(), now + millis(TAKEN_FOR));
            let taken = self
                .app
                .store
                .write(move |tx| {
                    let mut taken = Vec::new();
                    for (channel, share) in &shares {
                        taken.extend(tx.take_media(channel, node, now, until, *share)?);
                    }
                    Ok::<_, StoreError>(taken)
                })
                .await?;
            if taken.is_empty() {
                // Another node was faster.
                return Ok(());
            }
            for media in taken {
                let Some((channel, _)) = media.brought_by.clone() else {
                    continue;
                };
                // The clock was set forward, or the store was away: whoever is at it settles it.
                if self.in_hand.contains_key(&media.id) {
                    continue;
                }
                self.places.take(&channel);
                self.in_hand.insert(media.id, channel);
                let app = self.app.clone();
                self.running.spawn(async move { (media.id, fetch(&app, &media).await) });
            }
        }
        Ok(())
    }

    async fn end(&mut self, ended: Result<(MediaId, Fetched), tokio::task::JoinError>) {
        let (id, fetched) = match ended {
            Ok(ended) => ended,
            // The supervisor starts this task again; the file is due again in a minute.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if let Some(channel) = self.in_hand.remove(&id) {
            self.places.give_back(&channel);
        }
        match &fetched {
            Fetched::Stored { .. } => self.app.metrics.count_transfer(Transfer::Download, true),
            Fetched::Again { reason, attempts, .. } | Fetched::Failed { reason, attempts } => {
                self.app.metrics.count_transfer(Transfer::Download, false);
                tracing::info!(media = %id, attempts, reason, "a file could not be fetched");
            }
        }
        if let Err(error) = settle(&self.app, id, fetched).await {
            tracing::warn!(%error, media = %id, "what came of fetching a file cannot be written down; it is fetched again");
        }
    }

    async fn renew(&mut self) {
        let ids: Vec<MediaId> = self.in_hand.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let (node, until) = (self.app.leases.node(), self.app.clock.now_millis() + millis(TAKEN_FOR));
        let renewed = self
            .app
            .store
            .write_unflushed(move |tx| tx.keep_media_taken(&ids, node, until))
            .await;
        if let Err(error) = renewed {
            tracing::warn!(%error, "files that are being fetched may be fetched twice");
        }
    }
}

/// Writes down what came of fetching a file, and tells of it where the message shows it.
async fn settle(app: &App, id: MediaId, fetched: Fetched) -> Result<(), StoreError> {
    let (node, now) = (app.leases.node(), app.clock.now_millis());
    let is_final = !matches!(fetched, Fetched::Again { .. });
    app.store
        .write(move |tx| {
            let Some(media) = tx.settle_media(id, node, &fetched)? else {
                return Ok::<_, StoreError>(());
            };
            let message = media.brought_by.map(|(_, message)| message);
            if is_final
                && let Some(message) = message
                && let Some(message) = tx.message_by_id(message)?
            {
                tx.insert_stream(&[NewStreamRow {
                    at: now,
                    channel_id: Some(message.channel_id.clone()),
                    event_id: None,
                    changes: vec![Change::updated(&message)],
                }])?;
            }
            Ok(())
        })
        .await?;
    if is_final {
        app.stream.nudge();
    }
    Ok(())
}

/// Why a file is not there.
enum Miss {
    /// It may be, later.
    Later { reason: String, wait: Option<Duration> },
    /// It will not be.
    Never(String),
}

impl Miss {
    fn later(reason: impl Into<String>) -> Self {
        Self::Later {
            reason: reason.into(),
            wait: None,
        }
    }
}

async fn fetch(app: &App, media: &Media) -> Fetched {
    let miss = match try_fetch(app, media).await {
        Ok(stored) => return stored,
        Err(miss) => miss,
    };
    let attempts = media.attempts + 1;
    match miss {
        Miss::Later { reason, wait } if attempts < FETCHES_MAX => {
            let pause = pause(attempts, app.ids.fraction());
            let pause = wait.map_or(pause, |wait| wait.max(pause));
            Fetched::Again {
                due_at: app.clock.now_millis() + millis(pause),
                attempts,
                reason,
            }
        }
        Miss::Later { reason, .. } => Fetched::Failed {
            attempts,
            reason: format!("{reason}; it was tried {attempts} times"),
        },
        Miss::Never(reason) => Fetched::Failed { attempts, reason },
    }
}

async fn try_fetch(app: &App, media: &Media) -> Result<Fetched, Miss> {
    let no_channel = || Miss::later("its channel is not known here");
    let (channel, told) = match (&media.brought_by, &media.told) {
        (Some((channel, _)), Some(told)) => (app.channels.get(channel).ok_or_else(no_channel)?, told),
        _ => return Err(Miss::Never("Meta told nothing by which it could be had".to_owned())),
    };
    let (mut download, hashes) = match (channel.platform(), &channel.client, &told.id, &told.link) {
        (Some(Platform::WhatsApp), Some(client), Some(_), _) => {
            let Some(token) = &channel.credentials else {
                return Err(Miss::later("the channel has no access token"));
            };
            let source = WhatsApp {
                app,
                channel: &channel,
                client,
                token,
                told,
            };
            source.open(media).await?
        }
        (Some(_), Some(client), _, Some(link)) => (open_link(client, link).await?, vec![told.sha256.clone()]),
        _ => return Err(Miss::Never("Meta told nothing by which it could be had".to_owned())),
    };
    let hashes: Vec<FileHash> = hashes
        .iter()
        .flatten()
        .filter_map(|text| FileHash::from_meta(text))
        .collect();
    let came_as = download.mime_type().map(str::to_owned);
    let file = receive(app, &mut download).await?;
    if hashes.iter().any(|announced| *announced != file.sha256) {
        return Err(Miss::later(
            "what came is not what Meta announced: its hash is another one",
        ));
    }
    let mime_type = sniff::mime_type(&file.head, media.mime_type.as_deref().or(came_as.as_deref()));
    // Some of Meta's servers answer with a page that tells of an error (reference `whatsapp.md` 11); a hash would have told.
    if hashes.is_empty() && mime_type == "text/html" && media.mime_type.as_deref() != Some("text/html") {
        return Err(Miss::later("Meta answered with a page in place of the file"));
    }
    let (sha256, size) = (file.sha256, file.size as i64);
    keep(app, file).await.map_err(|error| not_kept(&error))?;
    Ok(Fetched::Stored {
        sha256,
        size,
        mime_type: mime_type.to_owned(),
    })
}

fn not_kept(error: &KeepError) -> Miss {
    tracing::error!(error = %display_chain(error), "a file that came from Meta cannot be kept");
    Miss::later(error.to_string())
}

fn display_chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// A file of WhatsApp's, by its id.
struct WhatsApp<'a> {
    app: &'a App,
    channel: &'a Channel,
    client: &'a GraphClient,
    token: &'a SecretString,
    told: &'a Told,
}

impl WhatsApp<'_> {
    /// Begins to fetch it: by the link of the webhook while that is fresh, else by a new one. Answers too with the hashes that it has to have.
    async fn open(&self, media: &Media) -> Result<(Download, Vec<Option<String>>), Miss> {
        let age = self.app.clock.now_millis() - media.created_at;
        if let Some(link) = self
            .told
            .link
            .as_deref()
            .filter(|_| media.attempts == 0 && age < LINK_MILLIS)
        {
            match self.client.download(Some(self.token), link, TRANSFER_TIMEOUT).await {
                Ok(download) => return Ok((download, vec![self.told.sha256.clone()])),
                Err(DownloadError::Refused { http_status }) if LINK_OVER.contains(&http_status) => {}
                Err(error) => return Err(not_opened(&error)),
            }
        }
        let id = self.told.id.as_deref().unwrap_or_default();
        let exchange = self.client.media(self.token, &self.channel.account, id).await;
        let error = match &exchange.outcome {
            Ok(_) => None,
            Err(CallError::Refused(refusal)) => {
                Some((refusal.code, error::explain(Platform::WhatsApp, refusal).class.as_str()))
            }
            Err(_) => Some((0, "temporary")),
        };
        self.app.metrics.count_call(Platform::WhatsApp, "media", error);
        let node = exchange.outcome.map_err(|error| not_told(&error))?;
        if let Some(size) = node.file_size {
            within_bound(self.app, size)?;
        }
        let download = self
            .client
            .download(Some(self.token), &node.url, TRANSFER_TIMEOUT)
            .await;
        Ok((
            download.map_err(|error| not_opened(&error))?,
            vec![self.told.sha256.clone(), node.sha256],
        ))
    }
}

/// Begins to fetch a file whose link is all that there is.
async fn open_link(client: &GraphClient, link: &str) -> Result<Download, Miss> {
    match client.download(None, link, TRANSFER_TIMEOUT).await {
        Ok(download) => Ok(download),
        Err(DownloadError::Refused { http_status }) if LINK_OVER.contains(&http_status) => Err(Miss::Never(format!(
            "Meta's link does not open any more (HTTP {http_status}); ask the contact to send the file again"
        ))),
        Err(error) => Err(not_opened(&error)),
    }
}

fn not_opened(error: &DownloadError) -> Miss {
    match error {
        DownloadError::OtherHost { .. } => Miss::Never(format!("nothing is fetched from there: {error}")),
        DownloadError::Refused { .. } | DownloadError::Broken { .. } => Miss::later(error.to_string()),
    }
}

/// Why Meta does not say where a file is.
fn not_told(error: &CallError) -> Miss {
    let CallError::Refused(refusal) = error else {
        return Miss::later(format!("Meta did not say where it is: {error}"));
    };
    let explanation = error::explain(Platform::WhatsApp, refusal);
    let reason = format!("Meta did not say where it is ({}): {}", refusal.code, refusal.message);
    match explanation.class {
        Class::Temporary
        | Class::Throttled
        | Class::PairLimit
        | Class::Credentials
        | Class::Account
        | Class::Later
        | Class::ThreadOwned => Miss::Later {
            reason,
            wait: refusal.retry_after.or(explanation.wait),
        },
        Class::WindowClosed | Class::Recipient | Class::Request | Class::Template | Class::Inbound => {
            Miss::Never(format!("{reason}; Meta keeps files for seven days"))
        }
    }
}

fn within_bound(app: &App, size: u64) -> Result<(), Miss> {
    let most = app.config.media.bytes_max;
    if size > most {
        return Err(too_large(most));
    }
    Ok(())
}

fn too_large(most: u64) -> Miss {
    Miss::Never(format!(
        "it has more than {most} bytes; MEDIA_BYTES_MAX says how large a file may be"
    ))
}

/// Writes what comes into a file of its own.
async fn receive(app: &App, download: &mut Download) -> Result<Finished, Miss> {
    let most = app.config.media.bytes_max;
    if let Some(length) = download.length() {
        within_bound(app, length)?;
    }
    let not_written = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::FileTooLarge {
            too_large(most)
        } else {
            not_kept(&KeepError::Depot(error))
        }
    };
    let mut file = app.media.depot.begin(most).await.map_err(not_written)?;
    loop {
        let chunk = tokio::time::timeout(CHUNK_WITHIN, download.chunk());
        match chunk.await {
            Ok(Ok(Some(chunk))) => file.write(&chunk).await.map_err(not_written)?,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(Miss::later(format!("it broke off: {error}"))),
            Err(_) => return Err(Miss::later("nothing came of it any more")),
        }
    }
    if download.length().is_some_and(|length| length != file.size()) {
        return Err(Miss::later("it broke off before its end"));
    }
    if file.size() == 0 {
        return Err(Miss::later("Meta answered with an empty file"));
    }
    file.finish().await.map_err(not_written)
}
