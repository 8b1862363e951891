//! Asks Meta for the names and pictures of Instagram contacts: in the background, once, and again when they are stale and something is heard of
//! the contact.
//!
//! Guarantee: never in the way of an answer to Meta, nor of messages, which are counted against the same limits of calls: where Meta says that
//! they are nearly used up, profiles wait. Which contacts are due stands in the store, so a crash only makes it later.

use std::sync::Arc;
use std::time::Duration;

use tidings_meta::client::{CallError, Profile};
use tidings_meta::error::{self, Class};
use tidings_meta::notification::Platform;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::channels::model::ChannelKind;
use crate::channels::{Channel, Connection};
use crate::conversations::model::{Identity, Millis};
use crate::ids::ContactId;
use crate::store::StoreError;

const LOOK_AGAIN: Duration = Duration::from_millis(500);
const BATCH: u32 = 20;
/// Picture links die within days (reference `instagram.md` 3.10, 5.3).
const STALE_AFTER: Millis = 3 * 24 * 3600 * 1000;
/// After a failure that may pass.
const AGAIN_AFTER: Millis = 10 * 60 * 1000;
/// How long to rest where Meta asks for fewer calls, or takes none, and does not say for how long.
const REST: Duration = Duration::from_mins(5);
/// From so much of a limit on (in percent), what is left is for messages.
const USAGE_MAX: u32 = 75;
/// "User consent is required": the person has not written to the account yet (reference `instagram.md` 3.10).
const CODE_CONSENT_REQUIRED: i64 = 230;

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut changes = app.channels.changes();
    let mut profiles = Profiles::default();
    while !stop.is_cancelled() {
        let channels = app.channels.all();
        let can_ask = |channel: &Arc<Channel>| channel.kind == ChannelKind::Instagram && channel.credentials.is_some();
        if !channels.iter().any(can_ask) {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = changes.changed() => continue,
            }
        }
        match profiles.fetch_due(&app, &stop).await {
            Ok(fetched) if fetched > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "profiles that are due cannot be looked up"),
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Until when Meta is left alone.
#[derive(Debug, Default)]
pub struct Profiles {
    rests_until: Millis,
}

impl Profiles {
    /// Fetches the profiles that are due, a batch at most; answers with how many were asked for.
    ///
    /// Told to stop, it does not wait for Meta: a contact whose profile was not read is due again after a while.
    pub async fn fetch_due(&mut self, app: &App, stop: &CancellationToken) -> Result<usize, StoreError> {
        let now = app.clock.now_millis();
        if now < self.rests_until {
            return Ok(0);
        }
        let due = app
            .store
            .write_unflushed(move |tx| tx.take_due_profiles(now, now + AGAIN_AFTER, BATCH))
            .await?;
        let mut asked = 0;
        for (contact, identity) in due {
            if stop.is_cancelled() || app.clock.now_millis() < self.rests_until {
                break;
            }
            let channel = app.channels.by_account(Platform::Instagram, &identity.key.scope);
            let Some(channel) = channel else { continue };
            if let Some(connection) = channel.connection() {
                asked += 1;
                let rest = tokio::select! {
                    biased;
                    fetched = fetch(app, connection, contact, &identity) => fetched?,
                    () = stop.cancelled() => break,
                };
                if let Some(rest) = rest {
                    tracing::info!(channel = %channel.id, pause_seconds = rest.as_secs(), "profiles wait: Meta's limit of calls is near");
                    let rest = i64::try_from(rest.as_millis()).unwrap_or(i64::MAX / 2);
                    self.rests_until = app.clock.now_millis() + rest;
                }
            }
        }
        Ok(asked)
    }
}

/// Asks for one profile; answers with how long to rest after that.
async fn fetch(
    app: &App,
    connection: Connection<'_>,
    contact: ContactId,
    identity: &Identity,
) -> Result<Option<Duration>, StoreError> {
    let exchange = connection
        .client
        .instagram_profile(connection.access_token, &identity.shown)
        .await;
    let now = app.clock.now_millis();
    let error = match &exchange.outcome {
        Ok(_) => None,
        Err(CallError::Refused(refusal)) => Some((refusal.code, "refused")),
        Err(_) => Some((0, "temporary")),
    };
    app.metrics.count_call(Platform::Instagram, "profile", error);
    let usage = exchange.usage;
    let is_near = usage.percent.is_some_and(|percent| percent >= USAGE_MAX) || usage.regain_after.is_some();
    let rest = is_near.then(|| usage.regain_after.or(usage.retry_after).unwrap_or(REST));
    let profile = match exchange.outcome {
        Ok(profile) => profile,
        Err(CallError::Refused(refusal)) => {
            let explanation = error::explain(Platform::Instagram, &refusal);
            let wait = refusal.retry_after.or(usage.regain_after).or(explanation.wait);
            match explanation.class {
                _ if refusal.code == CODE_CONSENT_REQUIRED => {}
                Class::Temporary => {
                    tracing::info!(error = %refusal, %contact, "a profile could not be read; it is asked for again later");
                    return Ok(rest);
                }
                Class::Throttled | Class::PairLimit | Class::Credentials | Class::Account => {
                    tracing::info!(error = %refusal, %contact, "Meta gives no profiles for now");
                    return Ok(Some(wait.unwrap_or(REST)));
                }
                Class::WindowClosed
                | Class::Recipient
                | Class::Request
                | Class::Template
                | Class::Later
                | Class::ThreadOwned
                | Class::Inbound => {
                    tracing::info!(error = %refusal, %contact, "there is no profile to be read");
                }
            }
            // Asking again is in vain until they write, and then no sooner than the profile would be stale anyway.
            Profile {
                name: None,
                username: None,
                picture_url: None,
            }
        }
        Err(error) => {
            tracing::info!(%error, %contact, "a profile could not be read; it is asked for again later");
            return Ok(rest);
        }
    };
    app.store
        .write_unflushed(move |tx| {
            let (name, username) = (profile.name.as_deref(), profile.username.as_deref());
            let stale_at = now + STALE_AFTER;
            tx.update_profile(contact, name, username, profile.picture_url.as_deref(), now, stale_at)
        })
        .await?;
    Ok(rest)
}
