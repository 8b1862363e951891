//! Messages out: accepted into the outbox, sent in order, followed until Meta has them.
//!
//! 1. [`accept`] checks a request against everything that can be known before Meta is called, and writes message, conversation and outbox
//!    entry in one transaction.
//! 2. [`sender`], one task a channel ([`fleet`]), takes due heads of conversations, calls Meta, and settles what came of it ([`outcome`]).
//! 3. What Meta says later comes in as events, and is applied by [`crate::conversations::projection`].
//!
//! Guarantee: a message that was accepted is sent, or its failure is shown with the reason. An attempt whose outcome is unknown is not
//! repeated blindly: an event that bears its mark settles it, and only if none comes is it repeated, once, marked `maybe_duplicate`.
//! A crash leaves entries `sending`: they become `unknown` ([`recover`], [`take_over`]).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::app::App;
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::MessageId;
use crate::sending::model::EntryState;
use crate::store::{StoreError, Tx};

pub mod accept;
pub mod again;
pub mod api;
pub mod batch;
pub mod cancel;
pub mod fallback;
pub mod fleet;
pub mod model;
pub mod outbound_api;
pub mod outcome;
pub mod queue;
pub mod queue_api;
pub mod recipient;
pub mod request;
pub mod schedule;
pub mod sender;
pub mod wait;
pub mod window;

/// How many left-behind entries are taken over at once.
const TAKE_OVER_MAX: u32 = 500;

/// Wakes the senders: a nudge makes them look sooner, and is never needed.
#[derive(Debug, Clone, Default)]
pub struct Senders {
    nudges: Arc<Mutex<HashMap<ChannelId, Arc<Notify>>>>,
    reopened: Arc<Mutex<HashSet<ChannelId>>>,
    waiters: Arc<wait::Waiters>,
}

impl Senders {
    /// An operator wants a channel that pauses to go on now.
    pub fn reopen(&self, channel: &ChannelId) {
        self.reopened_channels().insert(channel.clone());
        self.nudge(channel);
    }

    /// Whether that was so since the last time somebody asked.
    fn was_reopened(&self, channel: &ChannelId) -> bool {
        self.reopened_channels().remove(channel)
    }

    fn reopened_channels(&self) -> MutexGuard<'_, HashSet<ChannelId>> {
        self.reopened.lock().expect("no thread panics while it holds this lock")
    }

    /// Who waits for Meta's answer.
    pub fn waiters(&self) -> &wait::Waiters {
        &self.waiters
    }

    /// Something is due on a channel; there are no nudges but for channels that there are, or were.
    pub fn nudge(&self, channel: &ChannelId) {
        self.of(channel).notify_one();
    }

    /// Waits for a nudge.
    async fn nudged(&self, channel: &ChannelId) {
        self.of(channel).notified().await;
    }

    fn of(&self, channel: &ChannelId) -> Arc<Notify> {
        let mut nudges = self.nudges.lock().expect("no thread panics while it holds this lock");
        match nudges.get(channel) {
            Some(nudge) => Arc::clone(nudge),
            None => Arc::clone(nudges.entry(channel.clone()).or_default()),
        }
    }
}

/// At start: what the last process left behind is of unknown outcome, and what was so before gets its whole time anew, since no event
/// could come in that tells of it while nobody was there to take it.
///
/// On the embedded store no other process can be sending, so whatever is marked so was left behind. On Postgres another node may be: there
/// [`take_over`] waits for the lease to run out.
pub async fn recover(app: &App) -> Result<(), StoreError> {
    let due_at = app.clock.now_millis() + sender::millis(app.config.sending.unknown_after);
    let channels: Vec<ChannelId> = app
        .channels
        .all()
        .into_iter()
        .map(|channel| channel.id.clone())
        .collect();
    app.store
        .write(move |tx| {
            channels
                .iter()
                .try_for_each(|channel| tx.postpone_unknown_entries(channel, due_at).map(|_| ()))
        })
        .await?;
    take_over(app, app.store.engine() == "sqlite").await
}

/// Marks entries whose sender is gone as of unknown outcome; those that an event has told of meanwhile are done with.
pub async fn take_over(app: &App, all: bool) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    let due_at = now + sender::millis(app.config.sending.unknown_after);
    loop {
        let taken = app.store.write(move |tx| take_over_some(tx, now, due_at, all)).await?;
        if taken > 0 {
            tracing::warn!(
                messages = taken,
                "messages of unknown outcome were taken over from a process that stopped"
            );
        }
        if taken < TAKE_OVER_MAX as usize {
            return Ok(());
        }
    }
}

fn take_over_some(tx: &mut Tx<'_>, now: Millis, due_at: Millis, all: bool) -> Result<usize, StoreError> {
    let entries = tx.entries_left_behind(now, all, TAKE_OVER_MAX)?;
    let ids: Vec<MessageId> = entries.iter().map(|entry| entry.message_id).collect();
    let messages = tx.lock_messages(&ids)?;
    let told: HashSet<MessageId> = messages
        .iter()
        .filter(|message| message.external_id.is_some())
        .map(|message| message.id)
        .collect();
    for entry in &entries {
        let reason = "its sender stopped before it knew the outcome";
        tx.postpone_entry(entry.message_id, EntryState::Unknown, due_at, entry.attempts, reason)?;
        if let Some(attempt) = entry.attempt_id {
            tx.finish_attempt(attempt, &sender::interrupted(now))?;
        }
        // An event that came before the answer left the entry to its sender, and no further one may come.
        if told.contains(&entry.message_id) {
            tx.settle_outbox_by_event(entry.message_id)?;
        }
    }
    Ok(entries.len())
}
