//! Keeps notifications: many of them with one flush to disk.
//!
//! Guarantee: a notification is answered after the commit that holds all of its events, or told that none is kept. While one group is
//! being committed the next one gathers, so that groups grow with the load and nobody waits for a timer.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::EventId;
use crate::ingest::model::NewEvent;
use crate::ingest::{Kept, Pending};
use crate::store::events::CountSlot;
use crate::store::{Store, StoreError, Tx};

/// How many events one group holds at most, unless one notification alone has more.
const GROUP_EVENTS_MAX: usize = 1_000;

/// Runs until the way in is closed, or until told to stop and nothing waits any more.
pub async fn run(app: App, pending: &mut mpsc::Receiver<Pending>, stop: CancellationToken) {
    loop {
        let first = tokio::select! {
            biased;
            first = pending.recv() => first,
            () = stop.cancelled() => {
                // Nobody can come in any more; those who are in are served.
                pending.close();
                pending.recv().await
            }
        };
        let Some(first) = first else { return };
        let mut group = vec![first];
        let mut events = group[0].events.len();
        while events < GROUP_EVENTS_MAX
            && let Ok(next) = pending.try_recv()
        {
            events += next.events.len();
            group.push(next);
        }
        keep(&app, group).await;
    }
}

async fn keep(app: &App, mut group: Vec<Pending>) {
    let notifications: Vec<Vec<NewEvent>> = group
        .iter_mut()
        .map(|pending| std::mem::take(&mut pending.events))
        .collect();
    match write(&app.store, notifications).await {
        Ok((notifications, new)) => {
            for (pending, events) in group.into_iter().zip(notifications) {
                let fresh = events.iter().filter(|event| new.contains(&event.id)).count();
                app.metrics.count_kept(&events, &new);
                // The caller may have given up waiting; Meta will repeat, and find a repeat.
                let _ = pending.answer.send(Ok(Kept {
                    new: fresh,
                    repeats: events.len() - fresh,
                }));
            }
            app.projector.notify_one();
        }
        Err((notifications, error)) if group.len() == 1 => {
            tracing::error!(%error, events = notifications[0].len(), "a notification could not be kept");
            for pending in group {
                let _ = pending.answer.send(Err(StoreError::Unavailable(error.to_string())));
            }
        }
        Err((notifications, error)) if matches!(error, StoreError::Unavailable(_) | StoreError::Closed) => {
            tracing::error!(%error, notifications = notifications.len(), "notifications could not be kept");
            for pending in group {
                let _ = pending.answer.send(Err(StoreError::Unavailable(error.to_string())));
            }
        }
        Err((notifications, error)) => {
            // One of them holds something that the store refuses: it must not take the others with it.
            tracing::warn!(%error, notifications = notifications.len(), "a group could not be kept; each is tried alone");
            for (pending, events) in group.into_iter().zip(notifications) {
                Box::pin(keep(
                    app,
                    vec![Pending {
                        events,
                        answer: pending.answer,
                    }],
                ))
                .await;
            }
        }
    }
}

type New = std::collections::HashSet<EventId>;

/// Writes a group; gives the notifications back either way, with the ids of the new events or the error.
async fn write(
    store: &Store,
    notifications: Vec<Vec<NewEvent>>,
) -> Result<(Vec<Vec<NewEvent>>, New), (Vec<Vec<NewEvent>>, StoreError)> {
    let shared = std::sync::Arc::new(notifications);
    let unit = std::sync::Arc::clone(&shared);
    let written = store.write_urgent(move |tx| insert(tx, &unit)).await;
    // The unit is done with its share once it has answered.
    let notifications = std::sync::Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone());
    match written {
        Ok(new) => Ok((notifications, new)),
        Err(error) => Err((notifications, error)),
    }
}

fn insert(tx: &mut Tx<'_>, notifications: &[Vec<NewEvent>]) -> Result<New, StoreError> {
    let events: Vec<&NewEvent> = notifications.iter().flatten().collect();
    let new: New = tx.insert_events(&events)?.into_iter().collect();
    let mut counts = BTreeMap::new();
    let mut activity: BTreeMap<&ChannelId, (Millis, Option<Millis>)> = BTreeMap::new();
    for event in events.iter().filter(|event| new.contains(&event.id)) {
        *counts.entry((event.platform, event.kind, event.status())).or_insert(0) += 1;
        if let Some(channel) = &event.channel_id {
            let last = activity
                .entry(channel)
                .or_insert((event.received_at, event.occurred_at));
            *last = (last.0.max(event.received_at), last.1.max(event.occurred_at));
        }
    }
    tx.count_events(CountSlot::Ingest, &counts)?;
    for (channel, (received_at, occurred_at)) in activity {
        tx.note_channel_activity(channel, received_at, occurred_at)?;
    }
    Ok(new)
}
