//! Withdraws messages that are not yet sent: one that somebody cancels, and those that a contact does not want any more.
//!
//! Guarantee: a message that was cancelled is not sent. Its entry is looked at and taken out in one unit, and a sender marks an entry in a
//! commit before it calls Meta: of the two, one comes first, and the other sees it. Where it has gone on by another route, that leg is what is
//! withdrawn.

use std::collections::HashMap;

use serde_json::json;

use crate::app::App;
use crate::audit::Auditor;
use crate::conversations::consent::model::{Consents, Statement};
use crate::conversations::model::{ChannelId, Failure, Message, Millis, Status};
use crate::ids::{ContactId, MessageId};
use crate::sending::model::{EntryState, Purpose};
use crate::sending::route::model::taken_over;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx, UnitError};
use crate::stream::model::Change;

/// Why a message is not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// There is none.
    #[error("there is no such message")]
    NotFound,
    /// It is too late.
    #[error("{0}")]
    TooLate(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnitError for CancelError {
    fn store_error(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self {
            Some(error)
        } else {
            None
        }
    }
}

/// Cancels a message, if it has not been sent. Answers with what it is then; to cancel it again is no error. Where an operator does so, that is
/// noted.
pub async fn cancel(app: &App, id: MessageId, operator: Option<&str>) -> Result<Message, CancelError> {
    let now = app.clock.now_millis();
    let audit = operator.map(|actor| Auditor::new(&app.ids, actor, now));
    let cancelled = app.store.write(move |tx| {
        let cancelled = cancel_way(tx, id, now)?;
        if let Some(audit) = &audit {
            tx.insert_audit(&audit.message("message.cancel", id, json!({})))?;
        }
        Ok::<_, CancelError>(cancelled)
    });
    let (message, channel) = cancelled.await?;
    app.senders.nudge(&channel);
    app.stream.nudge();
    Ok(message)
}

/// Cancels a message, or, where it has ended here and gone on by another route, the leg that has taken over. Answers with the message
/// that was named, and the channel of the one that was cancelled.
fn cancel_way(tx: &mut Tx<'_>, id: MessageId, now: Millis) -> Result<(Message, ChannelId), CancelError> {
    // Locked before its legs are looked at: whoever lets it go on holds it. A leg is younger than what it came after, and locked after it.
    let message = tx.lock_messages(&[id])?.into_iter().next();
    let has_ended = message
        .as_ref()
        .is_some_and(|message| matches!(message.status, Status::Cancelled | Status::Failed | Status::Expired));
    let origin = tx.legs_of_messages(&[id])?.first().map(|leg| leg.origin_id);
    let legs = match origin.filter(|_| has_ended) {
        Some(origin) => tx.legs_of_origins(&[origin])?,
        None => Vec::new(),
    };
    let (Some(message), Some(leg)) = (message, taken_over(&legs, id)) else {
        let cancelled = cancel_in(tx, id, now)?;
        let channel = cancelled.channel_id.clone();
        return Ok((cancelled, channel));
    };
    match cancel_in(tx, leg.message_id, now) {
        Ok(_) => Ok((message, leg.channel_id.clone())),
        Err(CancelError::TooLate(why)) => Err(CancelError::TooLate(format!(
            "It has gone on by channel `{}`. {why}",
            leg.channel_id
        ))),
        Err(error) => Err(error),
    }
}

fn cancel_in(tx: &mut Tx<'_>, id: MessageId, now: i64) -> Result<Message, CancelError> {
    let too_late = |why: String| Err(CancelError::TooLate(why));
    let mut message = tx
        .lock_messages(&[id])?
        .into_iter()
        .next()
        .ok_or(CancelError::NotFound)?;
    if !message.outbound {
        return too_late("It came from the contact.".to_owned());
    }
    if message.status == Status::Cancelled {
        return Ok(message);
    }
    match take_out(tx, id)? {
        Found::Waiting => {}
        Found::Sending => return too_late("It is being sent at this moment.".to_owned()),
        Found::Unknown => {
            return too_late("It was sent, and it is not known yet whether Meta has taken it.".to_owned());
        }
        Found::Nothing => return too_late(format!("It has ended already: it is `{}`.", message.status.as_str())),
    }
    message.status = Status::Cancelled;
    if message.maybe_duplicate {
        message.failure = Some(Failure::ours(
            "it was cancelled before it was sent again; the first time it may have arrived",
        ));
    }
    tx.update_messages(&[&message])?;
    tx.insert_stream(&[NewStreamRow {
        at: now,
        channel_id: Some(message.channel_id.clone()),
        event_id: None,
        changes: vec![Change::status_of(&message)],
    }])?;
    Ok(message)
}

/// Where a message was found that is to be withdrawn.
enum Found {
    /// It waited for its turn or its time, and does so no longer.
    Waiting,
    Sending,
    Unknown,
    Nothing,
}

/// Takes a message, which is locked, out of what waits.
fn take_out(tx: &mut Tx<'_>, id: MessageId) -> Result<Found, StoreError> {
    if tx.remove_scheduled(id)? {
        return Ok(Found::Waiting);
    }
    let Some(entry) = tx.lock_entry(id)? else {
        return Ok(Found::Nothing);
    };
    Ok(match entry.state {
        EntryState::Waiting => {
            tx.remove_entry(&entry)?;
            Found::Waiting
        }
        EntryState::Sending => Found::Sending,
        EntryState::Unknown => Found::Unknown,
    })
}

/// How many messages that wait are looked at by one statement.
const LOOK_MAX: u32 = 500;

/// Cancels what waits for a contact, in whichever conversation, and is forbidden by what they have said; answers with those messages as they
/// are then. What is being sent, or of unknown outcome, is left to its sender, which does not begin anew.
pub fn withdraw_forbidden(tx: &mut Tx<'_>, contact: ContactId) -> Result<Vec<Message>, StoreError> {
    let consents = Consents::of(tx.standing_consent_statements(&[contact])?);
    let mut withdrawn = Vec::new();
    if consents.forbids(contact, Purpose::Marketing, None).is_none() {
        // Whoever may be sent advertising may be sent everything.
        return Ok(withdrawn);
    }
    for conversation in tx.conversations_of_contact(contact)? {
        let channel = &conversation.channel_id;
        let mut after = MessageId::MIN;
        loop {
            let waiting = tx.waiting_messages_of_conversation(channel, conversation.id, after, LOOK_MAX)?;
            let Some(last) = waiting.last() else { break };
            after = *last;
            let terms = tx.terms_of_messages(channel, &waiting)?;
            let purposes: HashMap<MessageId, Purpose> =
                terms.iter().map(|terms| (terms.message_id, terms.purpose)).collect();
            let forbidden: HashMap<MessageId, &Statement> = waiting
                .iter()
                .filter_map(|id| {
                    let purpose = purposes.get(id).copied().unwrap_or(Purpose::Service);
                    Some((*id, consents.forbids(contact, purpose, conversation.last_inbound_at)?))
                })
                .collect();
            let mut ids: Vec<MessageId> = forbidden.keys().copied().collect();
            ids.sort_unstable();
            for mut message in tx.lock_messages(&ids)? {
                let Some(statement) = forbidden.get(&message.id) else {
                    continue;
                };
                if matches!(take_out(tx, message.id)?, Found::Waiting) {
                    forbid(&mut message, statement);
                    withdrawn.push(message);
                }
            }
        }
    }
    tx.update_messages(&withdrawn.iter().collect::<Vec<_>>())?;
    Ok(withdrawn)
}

/// Cancels a message whose entry has been taken out, because of what its contact has said.
pub(super) fn forbid(message: &mut Message, statement: &Statement) {
    let mut why = statement.told();
    if message.maybe_duplicate {
        why.push_str("; the first time it may have arrived");
    }
    message.status = Status::Cancelled;
    message.failure = Some(Failure::ours(why));
}
