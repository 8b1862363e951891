//! Hands files to Meta that messages are to be sent with: in the background, a few at once, each channel its share.
//!
//! Guarantee: a file is handed over once for all messages of a channel, and again only when Meta has forgotten it, or when a try was lost (which
//! does no harm: it is only kept twice there). A message that waits for it is told of the end, good or bad, in the unit that writes it down.
//! What is due says the store, so a crash only makes it later.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidings_meta::client::{CallError, Exchange, Upload as File};
use tidings_meta::error::{self, Class};
use tidings_meta::notification::Platform;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::transfers::{CHANNELS_MAX, Places};
use super::{TAKEN_FOR, TRANSFER_TIMEOUT, millis};
use crate::app::App;
use crate::channels::{Channel, Connection, follow, hold};
use crate::conversations::model::{Failure, Millis};
use crate::media::model::{Upload, UploadKey, UploadStatus, pause};
use crate::metrics::Transfer;
use crate::store::{StoreError, Tx};

/// How often it is looked for files that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a file is handed over in vain before that has failed.
const TRIES_MAX: u32 = 14;
/// Meta keeps files for 30 days (reference `whatsapp.md` 11); how long Instagram does is not documented, and taken to be as long.
const KEPT: Duration = Duration::from_hours(29 * 24);
/// How long to wait after Meta refused the channel: its sender finds out when it works again.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Runs until told to stop; what is under way then is broken off, and left to whoever is next.
pub async fn run(app: App, stop: CancellationToken) {
    let mut uploads = Uploads {
        places: Places::new(app.config.media.uploads_parallel),
        app: app.clone(),
        running: JoinSet::new(),
        in_hand: HashSet::new(),
    };
    let mut renewal = tokio::time::interval(TAKEN_FOR / 3);
    while !stop.is_cancelled() {
        if let Err(error) = uploads.begin().await {
            tracing::warn!(%error, "files that are to be handed to Meta cannot be looked up");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            Some(ended) = uploads.running.join_next() => uploads.end(ended).await,
            _ = renewal.tick() => uploads.renew().await,
            () = app.media.outgoing.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    uploads.running.shutdown().await;
    let (node, now) = (app.leases.node(), app.clock.now_millis());
    if let Err(error) = app
        .store
        .write(move |tx| tx.release_media_uploads_taken(Some(node), now))
        .await
    {
        tracing::info!(%error, "files that were being handed to Meta are handed over again later");
    }
}

struct Uploads {
    app: App,
    places: Places,
    running: JoinSet<Ended>,
    in_hand: HashSet<UploadKey>,
}

/// What came of handing a file over.
struct Ended {
    upload: Upload,
    /// Meta refused the channel.
    refused: Option<(Arc<Channel>, Failure)>,
}

impl Uploads {
    /// Begins as many as there are places for.
    async fn begin(&mut self) -> Result<(), StoreError> {
        while self.places.free() > 0 {
            let now = self.app.clock.now_millis();
            let mut channels = self
                .app
                .store
                .read(move |tx| tx.channels_with_uploads_due(now, CHANNELS_MAX))
                .await?;
            // What may not send hands nothing over. One whose circuit is open does so for the message that is tried, once it is time.
            channels.retain(|id| {
                let channel = self.app.channels.get(id);
                channel.is_none_or(|channel| {
                    let may_be_tried = channel.circuit.as_ref().is_none_or(|circuit| circuit.is_half_open(now));
                    channel.standing(&self.app.flags).sends() && may_be_tried
                })
            });
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
                        taken.extend(tx.take_media_uploads(channel, node, now, until, *share)?);
                    }
                    Ok::<_, StoreError>(taken)
                })
                .await?;
            if taken.is_empty() {
                return Ok(());
            }
            for upload in taken {
                // The clock was set forward, or the store was away: whoever is at it settles it.
                if !self.in_hand.insert(upload.key.clone()) {
                    continue;
                }
                self.places.take(&upload.key.channel_id);
                let app = self.app.clone();
                self.running.spawn(async move { hand_over(&app, upload).await });
            }
        }
        Ok(())
    }

    async fn end(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let ended = match ended {
            Ok(ended) => ended,
            // The supervisor starts this task again.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let channel = ended.upload.key.channel_id.clone();
        self.in_hand.remove(&ended.upload.key);
        self.places.give_back(&channel);
        let is_there = matches!(ended.upload.status, UploadStatus::Ready { .. });
        self.app.metrics.count_transfer(Transfer::Upload, is_there);
        if let UploadStatus::Wanted { failure: Some(why), .. } | UploadStatus::Failed(why) = &ended.upload.status {
            tracing::info!(%channel, file = %ended.upload.key.sha256, code = why.code, reason = why.text, "a file could not be handed to Meta");
        }
        match self.settle(ended).await {
            Ok(()) => self.app.senders.nudge(&channel),
            Err(error) => {
                tracing::warn!(%error, %channel, "what came of handing a file to Meta cannot be written down; it is done again later");
            }
        }
    }

    async fn renew(&mut self) {
        let keys: Vec<UploadKey> = self.in_hand.iter().cloned().collect();
        if keys.is_empty() {
            return;
        }
        let (node, until) = (self.app.leases.node(), self.app.clock.now_millis() + millis(TAKEN_FOR));
        let renewed = self
            .app
            .store
            .write_unflushed(move |tx| tx.keep_media_uploads_taken(&keys, node, until))
            .await;
        if let Err(error) = renewed {
            tracing::warn!(%error, "files that are being handed to Meta may be handed over twice");
        }
    }

    /// Writes down what came of it, and has the messages go on that waited.
    async fn settle(&self, ended: Ended) -> Result<(), StoreError> {
        let (app, now) = (self.app.clone(), self.app.clock.now_millis());
        let was_refused = ended.refused.is_some();
        let key = ended.upload.key.clone();
        let is_over = !matches!(ended.upload.status, UploadStatus::Wanted { .. });
        let is_held = self
            .app
            .store
            .write(move |tx| {
                tx.settle_media_upload(&ended.upload, app.leases.node())?;
                match &ended.refused {
                    Some((channel, failure)) => hold::hold(&app, tx, channel, failure, now),
                    None => Ok(false),
                }
            })
            .await?;
        if is_over {
            // In a unit of its own: whoever sends locks entries first, and has told by now which of them wait for this file.
            let waits = move |tx: &mut Tx<'_>| tx.hurry_entries_of_media(&key.channel_id, key.sha256, now);
            self.app.store.write(waits).await?;
        }
        if is_held {
            tracing::error!("Meta refuses the channel of a file: it is held, and its messages wait");
        }
        if was_refused {
            follow::refresh(&self.app).await?;
        }
        Ok(())
    }
}

/// Hands one file over.
async fn hand_over(app: &App, mut upload: Upload) -> Ended {
    let channel = app.channels.get(&upload.key.channel_id);
    let settled = match &channel {
        Some(channel) if channel.account == upload.key.account => match channel.connection() {
            Some(connection) => call(app, channel, connection, &upload).await,
            None => Settled::failed("the channel has no access token"),
        },
        _ => Settled::failed("the channel is another one by now"),
    };
    let now = app.clock.now_millis();
    upload.changed_at = now;
    let mut refused = None;
    upload.status = match settled {
        Settled::Ready(meta_id) => UploadStatus::Ready {
            meta_id,
            expires_at: Some(now + millis(KEPT)),
        },
        Settled::Failed(failure) => UploadStatus::Failed(failure),
        Settled::Refused(failure) => {
            refused = channel.map(|channel| (channel, failure.clone()));
            wanted(now, REFUSED_PAUSE, failure)
        }
        Settled::Again { failure, wait } => {
            upload.attempts += 1;
            let pause = pause(upload.attempts, app.ids.fraction());
            if upload.attempts < TRIES_MAX {
                wanted(now, wait.map_or(pause, |wait| wait.max(pause)), failure)
            } else {
                UploadStatus::Failed(failure)
            }
        }
    };
    Ended { upload, refused }
}

fn wanted(now: Millis, pause: Duration, failure: Failure) -> UploadStatus {
    UploadStatus::Wanted {
        due_at: now + millis(pause),
        failure: Some(failure),
    }
}

/// What a call came to.
enum Settled {
    Ready(String),
    Again {
        failure: Failure,
        wait: Option<Duration>,
    },
    /// Meta refuses the channel.
    Refused(Failure),
    Failed(Failure),
}

impl Settled {
    fn failed(why: &str) -> Self {
        Self::Failed(Failure::ours(why))
    }

    fn again(why: impl Into<String>) -> Self {
        Self::Again {
            failure: Failure::ours(why),
            wait: None,
        }
    }
}

async fn call(app: &App, channel: &Channel, connection: Connection<'_>, upload: &Upload) -> Settled {
    let length = upload.size.unsigned_abs();
    let chunks = match app.media.depot.read(upload.key.sha256, 0..length).await {
        Ok(Some(chunks)) => chunks,
        Ok(None) => return Settled::failed("the file is not in the media store any more: upload it again"),
        Err(error) => {
            tracing::error!(%error, "a file cannot be read from the media store");
            return Settled::again("the file cannot be read from the media store");
        }
    };
    let file = File {
        body: reqwest::Body::wrap_stream(chunks),
        length,
        mime_type: upload.mime_type.clone(),
        // Meta asks for one, and shows it nowhere: what a document is called is said with the message.
        filename: upload.key.sha256.to_string(),
        timeout: TRANSFER_TIMEOUT,
    };
    let (client, token) = (connection.client, connection.access_token);
    let exchange = match connection.platform {
        Platform::WhatsApp => client.upload_media(token, &channel.account, file).await,
        Platform::Instagram => {
            client
                .upload_attachment(token, &channel.account, &upload.key.kind, file)
                .await
        }
    };
    let settled = settled(connection.platform, &exchange);
    let error = match (&settled, &exchange.outcome) {
        (Settled::Ready(_), _) => None,
        (_, Err(CallError::Refused(refusal))) => {
            let class = error::explain(connection.platform, refusal).class;
            Some((refusal.code, class.as_str()))
        }
        _ => Some((0, "temporary")),
    };
    app.metrics.count_call(connection.platform, "media", error);
    settled
}

fn settled(platform: Platform, exchange: &Exchange<String>) -> Settled {
    match &exchange.outcome {
        Ok(meta_id) => Settled::Ready(meta_id.clone()),
        // Whether Meta has it or not: once more does no harm.
        Err(CallError::NotSent { reason } | CallError::Unknown { reason, .. }) => Settled::again(reason.clone()),
        Err(CallError::Unreadable {
            http_status,
            reason,
            retry_after,
        }) => {
            let failure = Failure::ours(format!("HTTP {http_status}: {reason}"));
            match http_status {
                400..=428 | 430..=499 => Settled::Failed(failure),
                _ => Settled::Again {
                    failure,
                    wait: *retry_after,
                },
            }
        }
        Err(CallError::Refused(refusal)) => {
            let explanation = error::explain(platform, refusal);
            let text = refusal.details.clone().unwrap_or_else(|| refusal.message.clone());
            let failure = Failure::of_meta(refusal.code, refusal.subcode, text);
            match explanation.class {
                Class::Temporary | Class::Throttled | Class::PairLimit | Class::Later => Settled::Again {
                    failure,
                    wait: refusal.retry_after.or(exchange.usage.regain_after).or(explanation.wait),
                },
                Class::Credentials | Class::Account => Settled::Refused(failure),
                Class::WindowClosed
                | Class::Recipient
                | Class::Request
                | Class::Template
                | Class::ThreadOwned
                | Class::Inbound => Settled::Failed(failure),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_meta::client::{CallError, Exchange, Usage};
    use tidings_meta::notification::Platform;

    use super::{Settled, settled};

    fn exchange(outcome: Result<String, CallError>) -> Exchange<String> {
        Exchange {
            outcome,
            http_status: None,
            elapsed: Duration::ZERO,
            answer: String::new(),
            usage: Usage::default(),
            served_version: None,
        }
    }

    #[test]
    fn an_answer_without_an_error_object_is_temporary_unless_it_says_that_it_is_our_fault() {
        let answered = |http_status| {
            let unreadable = CallError::Unreadable {
                http_status,
                reason: "a page".to_owned(),
                retry_after: None,
            };
            settled(Platform::WhatsApp, &exchange(Err(unreadable)))
        };
        for status in [429, 500, 502, 503, 200] {
            assert!(matches!(answered(status), Settled::Again { .. }), "{status}");
        }
        for status in [400, 404, 413, 415] {
            assert!(matches!(answered(status), Settled::Failed(_)), "{status}");
        }
        let lost = CallError::Unknown {
            reason: "it broke off".to_owned(),
            http_status: None,
        };
        assert!(matches!(
            settled(Platform::Instagram, &exchange(Err(lost))),
            Settled::Again { .. }
        ));
    }
}
