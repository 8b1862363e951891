//! Asks Meta for the names and pictures of Instagram contacts: in the background, once, and again when they are stale.
//!
//! Guarantee: never in the way of an answer to Meta. Which contacts are due stands in the store, so a crash only makes it later.

use std::sync::Arc;
use std::time::Duration;

use tidings_meta::client::{CallError, Profile};
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
/// "User consent is required": the person has not written to the account yet (reference `instagram.md` 3.10).
const CODE_CONSENT_REQUIRED: i64 = 230;

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut changes = app.channels.changes();
    while !stop.is_cancelled() {
        let channels = app.channels.all();
        let can_ask = |channel: &Arc<Channel>| channel.kind == ChannelKind::Instagram && channel.credentials.is_some();
        if !channels.iter().any(can_ask) {
            tokio::select! {
                () = changes.changed() => continue,
                () = stop.cancelled() => return,
            }
        }
        match fetch_due(&app, &stop).await {
            Ok(fetched) if fetched > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "profiles that are due cannot be looked up"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Fetches the profiles that are due, a batch at most; answers with how many there were.
///
/// Told to stop, it does not wait for Meta: a contact whose profile was not read is due again after a while.
pub async fn fetch_due(app: &App, stop: &CancellationToken) -> Result<usize, StoreError> {
    let now = app.clock.now_millis();
    let due = app
        .store
        .write_unflushed(move |tx| tx.take_due_profiles(now, now + AGAIN_AFTER, BATCH))
        .await?;
    let count = due.len();
    for (contact, identity) in due {
        if stop.is_cancelled() {
            break;
        }
        let channel = app.channels.by_account(Platform::Instagram, &identity.key.scope);
        if let Some(connection) = channel.as_ref().and_then(|channel| channel.connection()) {
            tokio::select! {
                fetched = fetch(app, connection, contact, &identity) => fetched?,
                () = stop.cancelled() => break,
            }
        }
    }
    Ok(count)
}

async fn fetch(
    app: &App,
    connection: Connection<'_>,
    contact: ContactId,
    identity: &Identity,
) -> Result<(), StoreError> {
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
    let (profile, due_at) = match exchange.outcome {
        Ok(profile) => (profile, Some(now + STALE_AFTER)),
        // Their next message makes it due again no sooner than the profile would be stale anyway.
        Err(CallError::Refused(refusal)) if refusal.code == CODE_CONSENT_REQUIRED => (
            Profile {
                name: None,
                username: None,
                picture_url: None,
            },
            Some(now + STALE_AFTER),
        ),
        Err(error) => {
            tracing::info!(%error, %contact, "a profile could not be read; it is asked for again later");
            return Ok(());
        }
    };
    app.store
        .write_unflushed(move |tx| {
            let (name, username) = (profile.name.as_deref(), profile.username.as_deref());
            tx.update_profile(contact, name, username, profile.picture_url.as_deref(), now, due_at)
        })
        .await
}
