//! Messages out: accepted into the outbox, sent in order, followed until Meta has them.
//!
//! 1. [`accept`] checks a request against everything that can be known before Meta is called, and writes message, conversation and outbox
//!    entry in one transaction.
//! 2. One node leads a channel ([`lease`]). There a task (`leader`) takes due heads of conversations, calls Meta no faster than it may
//!    ([`pace`]), and settles what came of it ([`sender`], [`outcome`]).
//! 3. What Meta says later comes in as events, and is applied by [`crate::conversations::projection`].
//!
//! What a message may be is in [`request`]. A reaction goes the same way, and shows on another message; that something was read or is being typed does
//! not wait for its turn ([`presence`]).
//!
//! Guarantee: a message that was accepted is sent, or its failure is shown with the reason. An attempt whose outcome is unknown is not
//! repeated blindly: an event that bears its mark settles it, and only if none comes is it repeated, once, marked `maybe_duplicate`.
//! A crash leaves entries `sending`: to whoever leads the channel next they are `unknown` (`take_over`).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore};

use crate::app::App;
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::MessageId;
use crate::sending::model::{EntryState, Postponement, Wait};
use crate::store::{StoreError, Tx};

pub mod accept;
pub mod again;
pub mod api;
pub mod balance;
pub mod batch;
pub mod cancel;
pub mod circuit;
pub mod comments;
pub mod comments_api;
pub mod email;
pub mod end;
pub mod fallback;
pub mod fleet;
mod leader;
pub mod lease;
pub mod model;
pub mod outbound_api;
pub mod outcome;
pub mod pace;
pub mod presence;
pub mod queue;
pub mod queue_api;
pub mod recipient;
pub mod request;
pub mod route;
pub mod schedule;
pub mod sender;
pub mod switch;
pub mod wait;
pub mod window;

/// How many left-behind entries are taken over at once.
const TAKE_OVER_MAX: u32 = 500;

/// Wakes the senders: a nudge makes them look sooner, and is never needed.
#[derive(Debug, Clone)]
pub struct Senders {
    nudges: Arc<Mutex<HashMap<ChannelId, Arc<Notify>>>>,
    waiters: Arc<wait::Waiters>,
    marks: Arc<presence::Marks>,
    calls: Arc<Semaphore>,
}

impl Senders {
    /// So many calls of all channels together may be under way at once.
    pub fn new(calls_max: usize) -> Self {
        Self {
            nudges: Arc::default(),
            waiters: Arc::default(),
            marks: Arc::default(),
            calls: Arc::new(Semaphore::new(calls_max)),
        }
    }

    /// Who waits for Meta's answer.
    pub fn waiters(&self) -> &wait::Waiters {
        &self.waiters
    }

    /// What customers are shown of who is there.
    fn marks(&self) -> &presence::Marks {
        &self.marks
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

/// At start: on a store that is this node's alone no other process can lead a channel, so whoever is noted as doing so is gone, and need not be
/// waited for. Where others share it one may: there a lease has to run out ([`lease`]).
pub async fn recover(app: &App) -> Result<(), StoreError> {
    if !app.store.is_shared() {
        app.store.write(|tx| tx.release_leases(None)).await?;
    }
    Ok(())
}

/// Marks entries of a channel as of unknown outcome whose sender is gone, or has lost sight of them; those that an event has told of
/// meanwhile are done with. Answers with how many there were, a few hundred at most.
fn take_over(
    tx: &mut Tx<'_>,
    channel: &ChannelId,
    owner: &str,
    now: Millis,
    due_at: Millis,
) -> Result<usize, StoreError> {
    let entries = tx.entries_left_behind(channel, owner, now, TAKE_OVER_MAX)?;
    let ids: Vec<MessageId> = entries.iter().map(|entry| entry.message_id).collect();
    let messages = tx.lock_messages(&ids)?;
    let told: HashSet<MessageId> = messages
        .iter()
        .filter(|message| message.external_id.is_some())
        .map(|message| message.id)
        .collect();
    let postponed: Vec<Postponement> = entries
        .iter()
        .map(|entry| Postponement {
            message_id: entry.message_id,
            state: EntryState::Unknown,
            due_at,
            attempts: entry.attempts,
            waits_for: Wait::UnknownOutcome,
            reason: Some("its sender stopped before it knew the outcome".to_owned()),
        })
        .collect();
    tx.postpone_entries(&postponed)?;
    let ended: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.attempt_id)
        .map(|attempt| (attempt, sender::interrupted(now)))
        .collect();
    tx.finish_attempts(&ended)?;
    let called: Vec<_> = ended.iter().map(|(attempt, _)| (*attempt, now)).collect();
    tx.note_private_calls_made(&called)?;
    for message in told {
        // An event that came before the answer left the entry to its sender, and no further one may come.
        tx.settle_outbox_by_event(message)?;
    }
    Ok(entries.len())
}
