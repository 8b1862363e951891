//! Keeps what this node knows of channels and flags in step with the store.
//!
//! Every change raises a revision in its own transaction. [`run`] looks at that one row every 200 ms, and on Postgres as soon as it is told of a
//! change; it reads everything when the revision is another one. Whoever made a change here looks at once ([`refresh`]). So a change is known
//! on every node well within a second, and no message between nodes is needed for that.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Channels;
use crate::app::App;
use crate::flags::Flags;
use crate::flags::model::FlagValues;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// How often the revision is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_failed = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
            () = app.store.changed() => {}
        }
        match refresh(&app).await {
            Ok(()) => has_failed = false,
            // While the store is down every look fails: it is told once.
            Err(error) if !has_failed => {
                has_failed = true;
                tracing::warn!(%error, "changes of channels and flags cannot be looked for; what was known holds");
            }
            Err(_) => {}
        }
    }
}

/// Looks whether anything has changed, and knows it afterwards.
pub async fn refresh(app: &App) -> Result<(), StoreError> {
    look(&app.store, &app.channels, &app.flags, &app.metrics).await
}

/// Like [`refresh`], before there is an app.
pub(crate) async fn look(
    store: &Store,
    channels: &Channels,
    flags: &Flags,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let _looking = channels.parts.looking.lock().await;
    let known = channels.revision();
    let changed = store
        .read(move |tx| {
            let revision = tx.revision()?;
            if known == Some(revision) {
                return Ok::<_, StoreError>(None);
            }
            Ok(Some((revision, tx.channels()?, tx.number_facts()?, tx.flags()?)))
        })
        .await?;
    if let Some((revision, stored, numbers, set)) = changed {
        let before = channels.all();
        // Flags first: whoever is woken by the channels knows both.
        flags.publish(FlagValues::new(set));
        channels.publish(revision, stored, numbers.into_iter().collect());
        for gone in before.iter().filter(|channel| channels.get(&channel.id).is_none()) {
            metrics.forget_channel(&gone.id);
        }
        for channel in channels.all() {
            metrics.set_channel_up(&channel.id, channel.credentials.is_some() && channel.held.is_none());
            metrics.set_circuit_open(&channel.id, channel.circuit.is_some());
            if let Some(number) = &channel.number {
                metrics.set_channel_quality(&channel.id, number.quality);
            }
        }
    }
    Ok(())
}

/// Reads everything anew, also if nothing has changed in the store: what this node makes of it has.
pub(crate) async fn look_anew(app: &App) -> Result<(), StoreError> {
    {
        let _looking = app.channels.parts.looking.lock().await;
        app.channels.parts.snapshot.send_modify(|snapshot| {
            *snapshot = std::sync::Arc::new(super::Snapshot {
                revision: None,
                by_id: snapshot.by_id.clone(),
                by_account: snapshot.by_account.clone(),
            });
        });
    }
    refresh(app).await
}
