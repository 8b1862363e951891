//! Puts messages that have ended into the outbox once more: after a template took their place, or because an operator says so.
//!
//! Guarantee: what may have arrived is not sent again unless that is asked for, and is then marked `maybe_duplicate`. What Meta still says
//! about the earlier attempts is told apart by the id that it knew the message by ([`crate::conversations::projection`]). A message that has
//! gone on by another route is in the hands of that leg ([`crate::sending::route`]): to send it here as well would double it.

use serde_json::json;

use crate::app::App;
use crate::audit::{AuditEntry, Auditor};
use crate::conversations::consent::model::Consents;
use crate::conversations::content::Content;
use crate::conversations::model::{ChannelId, Message, Millis, Receipts, Status};
use crate::ids::MessageId;
use crate::sending::model::{EntryState, OutboxEntry, Priority, Purpose, Wait};
use crate::sending::route::model::{Leg, in_other_hands};
use crate::sending::{request, sender};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx, UnitError};
use crate::stream::model::Change;

/// Why a message is not queued again.
#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    /// There is none.
    #[error("there is no such message")]
    NotFound,
    /// It cannot be, as it is now.
    #[error("{0}")]
    NotRetryable(String),
    /// It may have arrived, so that it could be doubled.
    #[error("the message may have arrived")]
    MayHaveArrived,
    /// It has gone on by this channel, so that it could be doubled.
    #[error("the message has gone on by channel `{0}`")]
    WentOn(ChannelId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnitError for AgainError {
    fn store_error(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self {
            Some(error)
        } else {
            None
        }
    }
}

/// Queues a message that failed or expired again, with attempts and a lifetime of its own; one that waits on a pause is due at once. With
/// `force` also one that may have arrived.
pub async fn retry(app: &App, id: MessageId, force: bool, actor: &str) -> Result<Message, AgainError> {
    let unit = app.clone();
    let audit = Auditor::new(&app.ids, actor, app.clock.now_millis());
    let message = app.store.write(move |tx| {
        let message = retry_in(tx, &unit, id, force)?;
        tx.insert_audit(&audited(&audit, id, force))?;
        Ok::<_, AgainError>(message)
    });
    let message = message.await?;
    app.senders.nudge(&message.channel_id);
    app.stream.nudge();
    Ok(message)
}

/// That an operator has had a message sent again.
pub fn audited(audit: &Auditor, id: MessageId, force: bool) -> AuditEntry {
    audit.message("message.retry", id, json!({ "force": force }))
}

/// The same, within a unit of work, and without noting who asked for it.
pub fn retry_in(tx: &mut Tx<'_>, app: &App, id: MessageId, force: bool) -> Result<Message, AgainError> {
    let refuse = |why: &str| Err(AgainError::NotRetryable(why.to_owned()));
    let now = app.clock.now_millis();
    // Conversations are locked before messages.
    let found = tx.message_by_id(id)?.ok_or(AgainError::NotFound)?;
    let conversation = tx
        .lock_conversation(found.conversation_id)?
        .ok_or(AgainError::NotFound)?;
    let mut message = tx
        .lock_messages(&[id])?
        .into_iter()
        .next()
        .ok_or(AgainError::NotFound)?;
    if !message.outbound || message.event_id.is_some() {
        return refuse("it was not sent by Tidings");
    }
    if let Some(entry) = tx.lock_entry(id)? {
        return match entry.state {
            EntryState::Waiting => {
                tx.release_entry(id, now)?;
                Ok(message)
            }
            EntryState::Sending => refuse("it is being sent at this moment"),
            EntryState::Unknown => refuse(
                "it is not known yet whether Meta has taken it; it is settled by itself, and sent once more if Meta says nothing",
            ),
        };
    }
    match message.status {
        Status::Failed | Status::Expired => {}
        Status::Queued => return refuse("it waits for its time; cancel it and send a new one to have it sent sooner"),
        Status::Cancelled => return refuse("it was cancelled; send a new one"),
        Status::Received | Status::Sending | Status::Accepted | Status::Sent | Status::Delivered | Status::Read => {
            return Err(AgainError::NotRetryable(format!(
                "it has not failed: it is `{}`",
                message.status.as_str()
            )));
        }
    }
    let Some(channel) = app.channels.get(&message.channel_id) else {
        return refuse("its channel is no longer there");
    };
    if !request::check(channel.kind, &message.content).is_empty() {
        return refuse("its content can no longer be sent");
    }
    let terms = tx.terms_of_messages(&message.channel_id, &[id])?.into_iter().next();
    let purpose = terms.map_or(Purpose::Service, |terms| terms.purpose);
    let consents = Consents::of(tx.standing_consent_statements(&[conversation.contact_id])?);
    let wrote_at = conversation.may_be_answered_since(now);
    if let Some(statement) = consents.forbids(conversation.contact_id, purpose, wrote_at) {
        return Err(AgainError::NotRetryable(statement.told()));
    }
    if let Content::PrivateReply(answer) = &message.content
        && tx
            .lock_comment(answer.message_id)?
            .is_none_or(|comment| comment.private_reply != Some(id))
    {
        return refuse(
            "its comment has been answered privately by another message since, which is once as often as may be",
        );
    }
    let may_have_arrived = may_have_arrived(&message);
    if may_have_arrived && !force {
        return Err(AgainError::MayHaveArrived);
    }
    let legs = legs_of(tx, id)?;
    match in_other_hands(&legs, id) {
        Some(leg) if !force => return Err(AgainError::WentOn(leg.channel_id.clone())),
        // It stays in those hands: if it gets there from here too, that is told as late.
        Some(_) => message.maybe_duplicate = true,
        None => {
            if let Some(leg) = legs.into_iter().find(|leg| leg.message_id == id) {
                tx.update_leg(&leg.anew(now))?;
            }
        }
    }
    message.maybe_duplicate |= may_have_arrived;
    let expires_at = now + sender::millis(app.config.sending.expires_after);
    queue(tx, &mut message, expires_at, now)?;
    tx.insert_stream(&[NewStreamRow {
        at: now,
        channel_id: Some(message.channel_id.clone()),
        event_id: None,
        changes: vec![Change::status_of(&message)],
    }])?;
    Ok(message)
}

/// The legs of the way that a message is part of, locked until the unit ends; none where it follows no policy.
fn legs_of(tx: &mut Tx<'_>, id: MessageId) -> Result<Vec<Leg>, StoreError> {
    match tx.legs_of_messages(&[id])?.first() {
        Some(leg) => tx.lock_legs(leg.origin_id),
        None => Ok(Vec::new()),
    }
}

/// Whether a message that has ended may have reached the contact for all that is known. Only what certainly did not has a time of failure;
/// and one that was repeated after an unknown outcome may have arrived the first time.
pub fn may_have_arrived(message: &Message) -> bool {
    message.maybe_duplicate || message.receipts.failed_at.is_none()
}

/// Puts a message that has no entry at the end of its conversation's queue, as if it had never been sent.
pub fn queue(tx: &mut Tx<'_>, message: &mut Message, expires_at: Millis, now: Millis) -> Result<(), StoreError> {
    let Some(mut conversation) = tx.lock_conversation(message.conversation_id)? else {
        return Ok(());
    };
    let terms = tx
        .terms_of_messages(&message.channel_id, &[message.id])?
        .into_iter()
        .next();
    if let Some(external_id) = message.external_id.take() {
        tx.insert_former_external_id(&message.channel_id, &external_id, message.id)?;
    }
    message.status = Status::Queued;
    message.receipts = Receipts::default();
    message.failure = None;
    let usual = Priority::usual(Purpose::Service, conversation.window_is_open(now)) as i64;
    let entry = OutboxEntry {
        message_id: message.id,
        channel_id: message.channel_id.clone(),
        conversation_id: conversation.id,
        position: conversation.next_position,
        state: EntryState::Waiting,
        priority: terms.map_or(usual, |terms| terms.priority),
        due_at: now,
        expires_at,
        attempts: 0,
        attempt_id: None,
        waits_for: Wait::Turn,
        reason: None,
        queued_at: now,
    };
    conversation.next_position += 1;
    tx.update_conversations(&[&conversation])?;
    tx.update_messages(&[message])?;
    tx.insert_outbox(&entry)
}
