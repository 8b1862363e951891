//! The task that sends a channel's messages.
//!
//! Guarantee: at least one attempt for every entry until it is settled; who prevents doubles is the outbox: an entry is marked `sending`,
//! with its attempt, in a commit before Meta is called, and only heads of conversations are taken, so that within a conversation the
//! next one waits for the one before. A crash between that commit and the settling leaves the entry `sending`: its lease runs out, and it
//! becomes `unknown` ([`super::take_over`]).
//!
//! Pace, routes and held channels have their places here: `Gate` says when the channel may send again, and `Sender::settle` is the
//! one place where an outcome is turned into what happens next.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tidings_meta::client::{CallError, Exchange, Sent};
use tidings_meta::error;
use tidings_meta::notification::Platform;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::channels::Channel;
use crate::conversations::model::{
    ChannelId, Failure, Identity, IdentityKey, IdentityKind, Message, Millis, Receipt, Status,
};
use crate::conversations::phone;
use crate::conversations::understand::callback_of;
use crate::ids::AttemptId;
use crate::sending::model::{self, Attempt, AttemptEnd, Cause, EntryState, OutboxEntry, Outcome, Terms};
use crate::sending::window::{self, AtSend, Permit};
use crate::sending::{fallback, outcome, request};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// How long to wait for a nudge before looking again: other nodes accept messages too.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long to rest after the store failed.
const REST: Duration = Duration::from_millis(500);
/// How much longer than the call itself an entry is leased.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// After Meta refused the credentials or was too busy without saying until when.
const HOLD: Duration = Duration::from_secs(10);
/// An answer of Meta's is kept up to this length.
const ANSWER_CHARS_MAX: usize = 4_000;

/// Runs until told to stop; then lets calls that are under way finish.
pub async fn run(app: App, channel_id: ChannelId, stop: CancellationToken) {
    let Some(channel) = app.channels.get(&channel_id).cloned() else {
        return stop.cancelled().await;
    };
    let Some(token) = channel.access_token.clone() else {
        // A channel without a token only receives.
        return stop.cancelled().await;
    };
    let sender = Arc::new(Sender { app, channel, token });
    let mut gate = Gate::default();
    let mut calls: JoinSet<Option<Hold>> = JoinSet::new();
    while !stop.is_cancelled() {
        if sender.app.senders.was_reopened(&channel_id) {
            gate = Gate::default();
        }
        let rest = sender.fill(&mut calls, &gate).await;
        tokio::select! {
            Some(done) = calls.join_next() => match done {
                Ok(hold) => gate.note(hold, &sender.app),
                Err(error) => tracing::error!(%error, channel = %channel_id, "a send panicked; its message is taken over later"),
            },
            () = sender.app.senders.nudged(&channel_id) => {}
            () = tokio::time::sleep(rest) => {}
            () = stop.cancelled() => {}
        }
    }
    while calls.join_next().await.is_some() {}
}

/// When the channel may send again: it waits where Meta has said so. The place for pace.
#[derive(Debug, Default)]
struct Gate {
    closed_until: Millis,
}

/// Until when a channel is to be silent.
#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Millis,
}

impl Gate {
    fn note(&mut self, hold: Option<Hold>, app: &App) {
        if let Some(hold) = hold {
            self.closed_until = self.closed_until.max(hold.until);
            let pause = (hold.until - app.clock.now_millis()).max(0);
            tracing::warn!(pause_millis = pause, "the channel pauses");
        }
    }

    fn is_open(&self, now: Millis) -> bool {
        now >= self.closed_until
    }
}

struct Sender {
    app: App,
    channel: Channel,
    token: SecretString,
}

/// A message in hand: marked as being sent, its attempt noted.
struct InHand {
    entry: OutboxEntry,
    attempt_id: AttemptId,
    message: Message,
    body: serde_json::Value,
}

/// What came of taking due entries.
struct Taken {
    in_hand: Vec<InHand>,
    /// The kinds of the messages that failed or expired instead; counted once the unit is committed, since a unit may be run again.
    ended: Vec<&'static str>,
    next_due: Option<Millis>,
}

/// How a message ends that is not to be sent (again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It expired, and Meta never had it.
    NeverSent,
    /// It expired after an attempt of which nobody knows what became.
    ExpiredUnknown,
    /// It was repeated after an unknown outcome, and the outcome of that is unknown too.
    TwiceUnknown,
    /// Its outcome is unknown, and it cannot be repeated, since the window has closed.
    ClosedUnknown,
}

impl End {
    fn of(entry: &OutboxEntry, message: &Message, now: Millis) -> Option<Self> {
        let unknown = entry.state == EntryState::Unknown;
        if entry.expires_at <= now {
            // One that was repeated after an unknown outcome may have arrived even if the repetition was refused.
            let may_have_arrived = unknown || message.maybe_duplicate;
            Some(if may_have_arrived {
                Self::ExpiredUnknown
            } else {
                Self::NeverSent
            })
        } else if unknown && message.maybe_duplicate {
            Some(Self::TwiceUnknown)
        } else {
            None
        }
    }

    /// Only what certainly did not reach Meta has a time of failure: beside one, a later `sent` of Meta's would not show.
    fn apply(self, message: &mut Message, now: Millis) {
        let (status, why) = match self {
            Self::NeverSent => (Status::Expired, "it could not be sent before it expired"),
            Self::ExpiredUnknown => (
                Status::Expired,
                "it is not known whether Meta took it before it expired; it may have arrived",
            ),
            Self::TwiceUnknown => (
                Status::Failed,
                "it is not known whether Meta took it, after two attempts; it may have arrived",
            ),
            Self::ClosedUnknown => (
                Status::Failed,
                "it is not known whether Meta took it, and the window closed before it could be sent again; it may have arrived",
            ),
        };
        message.status = status;
        message.failure = Some(Failure::ours(why));
        if self == Self::NeverSent {
            message.receipts.failed_at.get_or_insert(now);
        }
    }
}

impl Sender {
    /// Starts as many calls as there is room for; answers with how long to wait for the next look.
    async fn fill(self: &Arc<Self>, calls: &mut JoinSet<Option<Hold>>, gate: &Gate) -> Duration {
        let now = self.app.clock.now_millis();
        if !gate.is_open(now) {
            return Duration::from_millis((gate.closed_until - now).unsigned_abs()).min(LOOK_AGAIN);
        }
        let room = self.app.config.sending.parallel.saturating_sub(calls.len());
        if room == 0 {
            return LOOK_AGAIN;
        }
        let taken = {
            let sender = Arc::clone(self);
            self.app.store.write(move |tx| sender.take(tx, now, room as u32)).await
        };
        match taken {
            Ok(Taken {
                in_hand,
                ended,
                next_due,
            }) => {
                for kind in ended {
                    self.app.metrics.count_sent(self.channel.platform, false, kind);
                }
                for message in in_hand {
                    let sender = Arc::clone(self);
                    calls.spawn(async move { sender.send(message).await });
                }
                let until_next = next_due.map_or(LOOK_AGAIN, |due| {
                    Duration::from_millis((due - now).max(1).unsigned_abs())
                });
                until_next.min(LOOK_AGAIN)
            }
            Err(error) => {
                tracing::error!(%error, channel = %self.channel.id, "the outbox cannot be read");
                REST
            }
        }
    }

    /// Takes due entries in hand: those that have expired are ended, the others marked.
    fn take(&self, tx: &mut Tx<'_>, now: Millis, room: u32) -> Result<Taken, StoreError> {
        let entries = tx.take_due_entries(&self.channel.id, now, room)?;
        let ids: Vec<_> = entries.iter().map(|entry| entry.message_id).collect();
        let mut messages = tx.lock_messages(&ids)?;
        let mut in_hand = Vec::with_capacity(entries.len());
        let mut ended = Vec::new();
        let mut changes = Vec::new();
        for entry in entries {
            let Some(at) = messages.iter().position(|message| message.id == entry.message_id) else {
                // Its message was erased.
                tx.remove_entry(&entry)?;
                continue;
            };
            let mut message = messages.swap_remove(at);
            if let Some(end) = End::of(&entry, &message, now) {
                end.apply(&mut message, now);
                changes.push(Change::status_of(&message));
                tx.update_messages(&[&message])?;
                tx.remove_entry(&entry)?;
                ended.push(message.content.kind());
                continue;
            }
            message.maybe_duplicate |= entry.state == EntryState::Unknown;
            message.status = Status::Sending;
            in_hand.push((entry, message));
        }
        let in_hand = self.address(tx, in_hand, &mut ended, &mut changes, now)?;
        let marks: Vec<_> = in_hand
            .iter()
            .map(|message| (message.entry.message_id, message.attempt_id))
            .collect();
        let lease = self.app.config.graph.request_timeout + self.app.config.graph.connect_timeout + LEASE_MARGIN;
        tx.mark_sending(&marks, "hub", now + millis(lease))?;
        let sending: Vec<&Message> = in_hand.iter().map(|in_hand| &in_hand.message).collect();
        tx.update_messages(&sending)?;
        let attempts: Vec<Attempt> = in_hand
            .iter()
            .map(|in_hand| Attempt {
                id: in_hand.attempt_id,
                message_id: in_hand.entry.message_id,
                channel_id: self.channel.id.clone(),
                started_at: now,
                ended: None,
                request: in_hand.body.to_string(),
            })
            .collect();
        tx.insert_attempts(&attempts)?;
        let next_due = tx.next_entry_due(&self.channel.id)?;
        self.tell(tx, changes, now)?;
        Ok(Taken {
            in_hand,
            ended,
            next_due,
        })
    }

    /// Finds out where each message goes; one that can go nowhere fails.
    fn address(
        &self,
        tx: &mut Tx<'_>,
        messages: Vec<(OutboxEntry, Message)>,
        ended: &mut Vec<&'static str>,
        changes: &mut Vec<Change>,
        now: Millis,
    ) -> Result<Vec<InHand>, StoreError> {
        let mut in_hand = Vec::with_capacity(messages.len());
        let ids: Vec<_> = messages.iter().map(|(entry, _)| entry.message_id).collect();
        let mut terms = tx.terms_of_messages(&self.channel.id, &ids)?;
        for (entry, mut message) in messages {
            let conversation = tx.conversation_by_id(entry.conversation_id)?;
            let identities = match &conversation {
                Some(conversation) => tx.identities_of_contact(conversation.contact_id)?,
                None => Vec::new(),
            };
            let Some(address) = request::address_of(self.channel.platform, &self.channel.account, &identities) else {
                let failure = Failure::ours("the contact has no address on this channel any more");
                message.receive(&Receipt::Failed(Some(failure)), now);
                changes.push(Change::status_of(&message));
                tx.update_messages(&[&message])?;
                tx.remove_entry(&entry)?;
                ended.push(message.content.kind());
                continue;
            };
            let own_terms = terms.iter_mut().find(|terms| terms.message_id == message.id);
            let window_ends_at = conversation.and_then(|conversation| conversation.window_ends_at);
            let said = message.content.kind();
            let Some(permit) = self.permit(&mut message, own_terms, window_ends_at, now) else {
                if message.maybe_duplicate {
                    End::ClosedUnknown.apply(&mut message, now);
                } else {
                    message.receive(&Receipt::Failed(Some(window::closed(self.channel.platform))), now);
                }
                changes.push(Change::status_of(&message));
                tx.update_messages(&[&message])?;
                tx.remove_entry(&entry)?;
                ended.push(message.content.kind());
                continue;
            };
            if message.content.kind() != said {
                changes.push(Change::updated(&message));
            }
            let attempt_id: AttemptId = self.app.ids.next();
            let callback = callback_of(message.id, attempt_id);
            let mut body = request::body(&address, &message.content, message.reply_to.as_deref(), &callback);
            if permit == Permit::HumanAgent {
                request::tag_human_agent(&mut body);
            }
            in_hand.push(InHand {
                entry,
                attempt_id,
                message,
                body,
            });
        }
        tx.keep_fallbacks_taken(&terms.iter().collect::<Vec<_>>())?;
        Ok(in_hand)
    }

    /// How a message may be sent now. Where the window has closed since it was accepted, its template takes its place; `None` if it has none.
    fn permit(
        &self,
        message: &mut Message,
        terms: Option<&mut Terms>,
        window_ends_at: Option<Millis>,
        now: Millis,
    ) -> Option<Permit> {
        let fallback = terms.as_ref().and_then(|terms| terms.fallback.as_ref());
        let (platform, sender, content) = (self.channel.platform, message.sender, &message.content);
        match window::at_send(platform, sender, content, fallback, window_ends_at, now) {
            AtSend::Send(permit) => Some(permit),
            // It may have arrived as it was: then nothing else is to be said.
            AtSend::SendInstead if message.maybe_duplicate => None,
            AtSend::SendInstead => {
                let why = "the window closed before it could be sent".to_owned();
                fallback::take(message, terms, why, now).then_some(Permit::Plain)
            }
            AtSend::Closed => None,
        }
    }

    /// Calls Meta, and settles what came of it; answers with how long the channel must be silent, if it must.
    async fn send(self: Arc<Self>, in_hand: InHand) -> Option<Hold> {
        // The entry is as it was before it was taken: without an attempt, it has never been sent. (`attempts` leaves out held ones.)
        if in_hand.entry.attempt_id.is_none() {
            let waited = (self.app.clock.now_millis() - in_hand.entry.queued_at).max(0);
            self.app
                .metrics
                .observe_queue_wait(Duration::from_millis(waited.unsigned_abs()));
        }
        let exchange = self.call(&in_hand.body).await;
        let outcome = outcome::of(self.channel.platform, &exchange);
        self.count(&exchange, &outcome, &in_hand);
        let in_hand = Arc::new(in_hand);
        let end = AttemptEnd {
            at: self.app.clock.now_millis(),
            outcome: outcome.as_str().to_owned(),
            http_status: exchange.http_status,
            failure: outcome.failure().cloned(),
            answer: (!exchange.answer.is_empty()).then(|| exchange.answer.chars().take(ANSWER_CHARS_MAX).collect()),
            duration_micros: i64::try_from(exchange.elapsed.as_micros()).unwrap_or(i64::MAX),
        };
        // The outcome is known to nobody else: it is worth trying to keep it for as long as the lease holds.
        for _ in 0..10 {
            let (sender, settled, outcome, end) =
                (Arc::clone(&self), Arc::clone(&in_hand), outcome.clone(), end.clone());
            match self
                .app
                .store
                .write(move |tx| sender.settle(tx, &settled, &outcome, &end))
                .await
            {
                Ok(hold) => {
                    self.app.stream.nudge();
                    self.app.projector.notify_one();
                    return hold;
                }
                Err(error) => {
                    tracing::error!(%error, message = %in_hand.message.id, "the outcome of a send could not be kept; trying again");
                    tokio::time::sleep(REST).await;
                }
            }
        }
        None
    }

    async fn call(&self, body: &serde_json::Value) -> Exchange<Sent> {
        let (client, account) = (&self.channel.client, &self.channel.account);
        match self.channel.platform {
            Platform::WhatsApp => client.send_whatsapp(&self.token, account, body).await,
            Platform::Instagram => client.send_instagram(&self.token, account, body).await,
        }
    }

    fn count(&self, exchange: &Exchange<Sent>, outcome: &Outcome, in_hand: &InHand) {
        let platform = self.channel.platform;
        let error = outcome.failure().map(|failure| {
            let class = match &exchange.outcome {
                Err(CallError::Refused(refusal)) => error::explain(platform, refusal).class.as_str(),
                _ => outcome.as_str(),
            };
            (failure.code, class)
        });
        if let Some((code, class)) = error {
            tracing::warn!(
                message = %in_hand.message.id,
                attempt = %in_hand.attempt_id,
                channel = %self.channel.id,
                code,
                class,
                http_status = exchange.http_status,
                reason = outcome.failure().map(|failure| failure.text.as_str()),
                "{} API responded with an error",
                if platform == Platform::WhatsApp { "WhatsApp" } else { "Instagram" },
            );
        }
        self.app.metrics.count_call(platform, "messages", error);
        self.app.metrics.observe_send(exchange.elapsed);
        match outcome {
            Outcome::Accepted { .. } => self
                .app
                .metrics
                .count_sent(platform, true, in_hand.message.content.kind()),
            Outcome::Failed { .. } => self
                .app
                .metrics
                .count_sent(platform, false, in_hand.message.content.kind()),
            Outcome::Again { .. } | Outcome::Unknown { .. } => {}
        }
    }

    /// What an outcome leads to. The one place for it.
    fn settle(
        &self,
        tx: &mut Tx<'_>,
        in_hand: &InHand,
        outcome: &Outcome,
        end: &AttemptEnd,
    ) -> Result<Option<Hold>, StoreError> {
        tx.finish_attempt(in_hand.attempt_id, end)?;
        let Some(mut message) = tx.lock_messages(&[in_hand.entry.message_id])?.into_iter().next() else {
            return Ok(None);
        };
        let Some(entry) = tx
            .lock_entry(message.id)?
            .filter(|entry| entry.attempt_id == Some(in_hand.attempt_id))
        else {
            // Somebody else has taken it over, or an event has settled it; what Meta answered is in the attempt.
            self.settle_late(tx, message, outcome, end.at)?;
            return Ok(None);
        };
        let mut hold = None;
        let is_replaced = match outcome {
            Outcome::Failed {
                failure,
                window_closed: true,
            } => {
                let mut terms = tx.terms_of_messages(&self.channel.id, &[message.id])?;
                let why = fallback::refused(failure);
                let is_taken = fallback::take(&mut message, terms.first_mut(), why, end.at);
                tx.keep_fallbacks_taken(&terms.iter().collect::<Vec<_>>())?;
                is_taken
            }
            _ => false,
        };
        match outcome {
            Outcome::Accepted { external_id, recipient } => {
                identify(tx, &mut message, external_id, end.at)?;
                learn_addresses(tx, &entry, recipient, end.at)?;
                tx.remove_entry(&entry)?;
            }
            // An event was faster than the answer: Meta has it, whatever became of the answer.
            Outcome::Again { .. } | Outcome::Unknown { .. } if message.external_id.is_some() => {
                tx.finish_attempt(
                    in_hand.attempt_id,
                    &AttemptEnd {
                        outcome: Outcome::ACCEPTED.to_owned(),
                        ..end.clone()
                    },
                )?;
                tx.remove_entry(&entry)?;
            }
            Outcome::Again { cause, failure, wait } => {
                let (attempts, due_at) = self.again(&entry, *cause, *wait, end.at);
                message.status = Status::Queued;
                tx.postpone_entry(
                    message.id,
                    EntryState::Waiting,
                    due_at,
                    attempts,
                    &reason(*cause, failure),
                )?;
                hold = match cause {
                    Cause::Throttled | Cause::Credentials => Some(Hold { until: due_at }),
                    Cause::Temporary | Cause::PairLimit => None,
                };
            }
            Outcome::Unknown { failure } => {
                let due_at = end.at + millis(self.app.config.sending.unknown_after);
                let why = format!("it is not known whether Meta took it: {}", failure.text);
                tx.postpone_entry(message.id, EntryState::Unknown, due_at, entry.attempts + 1, &why)?;
            }
            Outcome::Failed { failure, .. } if is_replaced => {
                message.status = Status::Queued;
                let why = format!("window_closed ({}): its template takes its place", failure.code);
                tx.postpone_entry(message.id, EntryState::Waiting, end.at, entry.attempts, &why)?;
            }
            Outcome::Failed { failure, .. } => {
                message.receive(&Receipt::Failed(Some(failure.clone())), end.at);
                tx.remove_entry(&entry)?;
            }
        }
        tx.update_messages(&[&message])?;
        let updated = is_replaced.then(|| Change::updated(&message));
        let changes = updated.into_iter().chain([Change::status_of(&message)]);
        self.tell(tx, changes.collect(), end.at)?;
        Ok(hold)
    }

    /// The entry is not ours any more. Meta's id is still worth having.
    fn settle_late(
        &self,
        tx: &mut Tx<'_>,
        mut message: Message,
        outcome: &Outcome,
        at: Millis,
    ) -> Result<(), StoreError> {
        if let Outcome::Accepted { external_id, .. } = outcome
            && message.external_id.is_none()
        {
            identify(tx, &mut message, external_id, at)?;
            tx.update_messages(&[&message])?;
            tx.settle_outbox_by_event(message.id)?;
            self.tell(tx, vec![Change::status_of(&message)], at)?;
        }
        Ok(())
    }

    fn again(&self, entry: &OutboxEntry, cause: Cause, wait: Option<Duration>, now: Millis) -> (u32, Millis) {
        match cause {
            Cause::Temporary => {
                let attempts = entry.attempts + 1;
                let pause = model::pause(attempts, self.app.ids.fraction());
                (attempts, now + millis(wait.map_or(pause, |wait| wait.max(pause))))
            }
            Cause::Throttled | Cause::Credentials => (entry.attempts, now + millis(wait.unwrap_or(HOLD))),
            // 4 to the power of the number of refusals, in seconds (reference `whatsapp.md` 13.2).
            Cause::PairLimit => {
                let attempts = entry.attempts + 1;
                let pause = Duration::from_secs(4_u64.saturating_pow(attempts.min(6).saturating_sub(1)));
                (attempts, now + millis(wait.unwrap_or(pause)))
            }
        }
    }

    fn tell(&self, tx: &mut Tx<'_>, changes: Vec<Change>, at: Millis) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let channel_id = Some(self.channel.id.clone());
        tx.insert_stream(&[NewStreamRow {
            at,
            channel_id,
            event_id: None,
            changes,
        }])
    }
}

/// Meta's id of the message is known: what was said about it before is applied.
fn identify(tx: &mut Tx<'_>, message: &mut Message, external_id: &str, at: Millis) -> Result<(), StoreError> {
    message.receive(&Receipt::Accepted, at);
    if message.external_id.is_some() {
        return Ok(());
    }
    let key = (message.channel_id.clone(), external_id.to_owned());
    // Its echo may have come before the answer, and have been taken for something said on the phone.
    for echo in tx.lock_messages_by_external_ids(std::slice::from_ref(&key))? {
        if echo.id != message.id {
            for (receipt, time) in [
                (Receipt::Sent, echo.receipts.sent_at),
                (Receipt::Delivered, echo.receipts.delivered_at),
                (Receipt::Read, echo.receipts.read_at),
            ] {
                if let Some(time) = time {
                    message.receive(&receipt, time);
                }
            }
            tx.absorb_message(echo.id, message.id)?;
        }
    }
    message.external_id = Some(external_id.to_owned());
    tx.unpark_events(&[key], at)?;
    Ok(())
}

/// Meta may know the recipient by other addresses than the one that was sent to (reference `whatsapp.md` 9.1).
fn learn_addresses(
    tx: &mut Tx<'_>,
    entry: &OutboxEntry,
    recipient: &model::Recipient,
    at: Millis,
) -> Result<(), StoreError> {
    let Some(conversation) = tx.conversation_by_id(entry.conversation_id)? else {
        return Ok(());
    };
    let phone = recipient
        .phone
        .as_deref()
        .and_then(phone::PhoneNumber::parse)
        .map(|number| {
            (
                IdentityKind::Phone,
                phone::compared(number.digits()),
                number.digits().to_owned(),
            )
        });
    let user_id = recipient
        .user_id
        .clone()
        .map(|id| (IdentityKind::UserId, id.clone(), id));
    for (kind, value, shown) in phone.into_iter().chain(user_id) {
        let key = IdentityKey {
            kind,
            scope: String::new(),
            value,
        };
        // One that belongs to somebody else is not taken away on the word of an answer; their next event decides.
        if tx.contacts_by_identities(std::slice::from_ref(&key))?.is_empty() {
            tx.bind_identities(&[(
                Identity {
                    key,
                    shown,
                    seen_at: at,
                },
                conversation.contact_id,
            )])?;
        }
    }
    Ok(())
}

fn reason(cause: Cause, failure: &Failure) -> String {
    format!("{} ({}): {}", cause.as_str(), failure.code, failure.text)
}

/// How an attempt ends whose process stopped.
pub fn interrupted(now: Millis) -> AttemptEnd {
    AttemptEnd {
        at: now,
        outcome: "unknown".to_owned(),
        http_status: None,
        failure: Some(Failure::ours("the process that sent it stopped before the answer")),
        answer: None,
        duration_micros: 0,
    }
}

/// A duration in the store's unit.
pub fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
