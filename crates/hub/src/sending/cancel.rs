//! Withdraws a message that is not yet sent.
//!
//! Guarantee: a message that was cancelled is not sent. Its entry is looked at and taken out in one unit, and a sender marks an entry in a
//! commit before it calls Meta: of the two, one comes first, and the other sees it. Where it has gone on by another route, that leg is what is
//! withdrawn.

use serde_json::json;

use crate::app::App;
use crate::audit::Auditor;
use crate::conversations::model::{ChannelId, Failure, Message, Millis, Status};
use crate::ids::MessageId;
use crate::sending::model::EntryState;
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
    if !tx.remove_scheduled(id)? {
        let Some(entry) = tx.lock_entry(id)? else {
            return too_late(format!("It has ended already: it is `{}`.", message.status.as_str()));
        };
        match entry.state {
            EntryState::Waiting => tx.remove_entry(&entry)?,
            EntryState::Sending => return too_late("It is being sent at this moment.".to_owned()),
            EntryState::Unknown => {
                return too_late("It was sent, and it is not known yet whether Meta has taken it.".to_owned());
            }
        }
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
