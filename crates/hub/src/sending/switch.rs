//! A backup in the place of a channel, by hand: new messages go out by it at once, and what waits is moved to it.
//!
//! A new message is accepted on the backup, in its own conversation with the contact, with its own window ([`super::recipient`]). What waits
//! on the channel gets a *leg* ([`super::route`]) on the backup, like a message that goes on by another route: so each conversation keeps its
//! history. What the backup cannot take, since its window is closed, waits until the channel is switched back, or it expires.
//!
//! [`gather`] finds what has to be moved: whatever waits on the channel, and what stayed of unknown outcome for its whole time, which is
//! repeated by the backup, once. It marks it as waiting for [`Wait::Switched`], and so finds nothing twice.

use std::sync::Arc;

use serde_json::json;

use crate::app::App;
use crate::audit::Auditor;
use crate::channels::model::Switched;
use crate::channels::{Channel, follow};
use crate::conversations::model::{ChannelId, Millis, Status};
use crate::ids::MessageId;
use crate::sending::end::End;
use crate::sending::model::{EntryState, OutboxEntry, Postponement, Wait};
use crate::sending::route::model::{Leg, Policy};
use crate::sending::sender::millis;
use crate::sending::take_over;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx, UnitError};
use crate::stream::model::Change;

/// How many messages are found by one unit, and how many units one look makes at most.
const UNIT_MAX: u32 = 200;
const UNITS_MAX: usize = 20;
/// Whose messages being sent are nobody's, since the channel does not send.
const NOBODY: &str = "";
/// How many units let go of what waits for a channel to be switched back, at most.
const RELEASE_UNITS_MAX: usize = 10_000;

/// Why a channel is not switched.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// There is no such channel.
    #[error("there is no such channel")]
    NotFound,
    /// The channel that is to take its place is none of its backups.
    #[error("{0}")]
    NoBackup(String),
    /// The backup could not send.
    #[error("{0}")]
    CannotSend(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnitError for SwitchError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::NotFound | Self::NoBackup(_) | Self::CannotSend(_) => None,
        }
    }
}

/// Puts a backup in a channel's place: the one that is named, else its only one. To do so again is no error.
pub async fn switch(app: &App, id: &ChannelId, to: Option<&ChannelId>, actor: &str) -> Result<(), SwitchError> {
    let channel = app.channels.get(id).ok_or(SwitchError::NotFound)?;
    let backup = backup_of(app, &channel, to)?;
    let standing = backup.standing(&app.flags);
    if !standing.sends() {
        let detail = format!(
            "Channel `{}` cannot send: it is `{}`. Nothing was changed.",
            backup.id,
            standing.as_str()
        );
        return Err(SwitchError::CannotSend(detail));
    }
    let switched = Switched {
        to: backup.id.clone(),
        at: app.clock.now_millis(),
        by: actor.to_owned(),
    };
    set(app, id, Some(switched), actor, "channel.switch").await?;
    app.senders.nudge(&backup.id);
    Ok(())
}

/// Lets a channel send itself again. What has gone to the backup stays there; what still waits goes out.
pub async fn switch_back(app: &App, id: &ChannelId, actor: &str) -> Result<(), SwitchError> {
    app.channels.get(id).ok_or(SwitchError::NotFound)?;
    set(app, id, None, actor, "channel.switch_back").await?;
    for _ in 0..RELEASE_UNITS_MAX {
        let (channel, now) = (id.clone(), app.clock.now_millis());
        let released = app
            .store
            .write(move |tx| tx.hurry_entries(&channel, Wait::Switched, now, UNIT_MAX))
            .await?;
        if released < u64::from(UNIT_MAX) {
            break;
        }
    }
    app.senders.nudge(id);
    Ok(())
}

async fn set(
    app: &App,
    id: &ChannelId,
    switched: Option<Switched>,
    actor: &str,
    action: &'static str,
) -> Result<(), SwitchError> {
    let audit = Auditor::new(&app.ids, actor, app.clock.now_millis());
    let id = id.clone();
    app.store
        .write(move |tx| {
            let before = tx.lock_channel(&id)?.ok_or(SwitchError::NotFound)?.switched;
            let to = |switched: &Option<Switched>| switched.as_ref().map(|switched| switched.to.0.clone());
            if to(&before) == to(&switched) {
                return Ok::<_, SwitchError>(());
            }
            tx.switch_channel(&id, switched.as_ref())?;
            let detail = json!({"before": to(&before), "after": to(&switched)});
            tx.insert_audit(&audit.channel(action, &id, detail))?;
            Ok(())
        })
        .await?;
    follow::refresh(app).await?;
    Ok(())
}

fn backup_of(app: &App, channel: &Channel, to: Option<&ChannelId>) -> Result<Arc<Channel>, SwitchError> {
    let id = &channel.id;
    let mut backups = app.channels.all();
    backups.retain(|backup| backup.backup_for.as_ref() == Some(id) && backup.kind == channel.kind);
    let names: Vec<String> = backups.iter().map(|backup| format!("`{}`", backup.id)).collect();
    let detail = match (to, &backups[..]) {
        (None, [only]) => return Ok(Arc::clone(only)),
        (None, []) => format!(
            "No channel of its kind is the backup of `{id}`: set `backupFor` of one with `PATCH /api/v1/channels/{{id}}`."
        ),
        (None, _) => format!("Channel `{id}` has several backups: name one of {}.", names.join(", ")),
        (Some(to), _) => match backups.iter().find(|backup| backup.id == *to) {
            Some(backup) => return Ok(Arc::clone(backup)),
            None => format!("Channel `{to}` is no backup of `{id}` of the same kind."),
        },
    };
    Err(SwitchError::NoBackup(detail))
}

/// Finds what waits on channels that are switched, and gives it a leg, so that it is moved.
pub async fn gather(app: &App) -> Result<(), StoreError> {
    for channel in app.channels.all() {
        if channel.switched.is_none() {
            continue;
        }
        for _ in 0..UNITS_MAX {
            let (id, now) = (channel.id.clone(), app.clock.now_millis());
            let due_at = now + millis(app.config.sending.unknown_after);
            let found = app.store.write(move |tx| {
                // Nobody leads the channel: what a sender that is gone has left behind is found by nobody else. One that is not settles it
                // all the same.
                take_over(tx, &id, NOBODY, now, due_at)?;
                let found = find(tx, &id, now)?;
                give_legs(tx, &id, &found, now)?;
                Ok::<_, StoreError>(found.len())
            });
            if found.await? < UNIT_MAX as usize {
                break;
            }
        }
    }
    Ok(())
}

fn find(tx: &mut Tx<'_>, channel: &ChannelId, now: Millis) -> Result<Vec<MessageId>, StoreError> {
    let mut found: Vec<MessageId> = tx
        .take_unknown_entries(channel, now, UNIT_MAX)?
        .iter()
        .map(|entry| entry.message_id)
        .collect();
    for waits_for in Wait::ALL {
        let room = UNIT_MAX.saturating_sub(found.len() as u32);
        if room > 0 && waits_for != Wait::Switched {
            let entries = tx.outbox_entries(channel, EntryState::Waiting, waits_for, None, room)?;
            found.extend(entries.iter().map(|entry| entry.message_id));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn give_legs(tx: &mut Tx<'_>, channel: &ChannelId, found: &[MessageId], now: Millis) -> Result<(), StoreError> {
    let mut messages = tx.lock_messages(found)?;
    let mut entries = tx.lock_entries(found)?;
    entries.retain(|entry| entry.channel_id == *channel);
    let legs = tx.legs_of_messages(found)?;
    let (mut postponed, mut changed, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &entries {
        let Some(message) = messages.iter_mut().find(|message| message.id == entry.message_id) else {
            continue;
        };
        match entry.state {
            EntryState::Sending => continue,
            EntryState::Unknown => {
                if let Some(end) = End::of(entry, message, now) {
                    end.apply(message, now);
                    ended.push(entry.message_id);
                    changed.push(message.clone());
                    continue;
                }
                message.maybe_duplicate = true;
                message.status = Status::Queued;
                changed.push(message.clone());
            }
            EntryState::Waiting => {}
        }
        match legs.iter().find(|leg| leg.message_id == entry.message_id) {
            None => tx.insert_leg(&Leg::first(
                entry.message_id,
                channel.clone(),
                &Policy::by_hand(),
                message.created_at,
            ))?,
            Some(leg) if leg.state.is_at_work() => {}
            // It had ended, and was queued again since.
            Some(leg) => tx.update_leg(&leg.clone().anew(now))?,
        }
        postponed.push(waiting_for_the_switch(entry, now));
    }
    let rows: Vec<NewStreamRow> = changed
        .iter()
        .map(|message| NewStreamRow {
            at: now,
            channel_id: Some(channel.clone()),
            event_id: None,
            changes: vec![Change::status_of(message)],
        })
        .collect();
    tx.update_messages(&changed.iter().collect::<Vec<_>>())?;
    tx.remove_entries(&ended)?;
    tx.postpone_entries(&postponed)?;
    tx.insert_stream(&rows)
}

fn waiting_for_the_switch(entry: &OutboxEntry, now: Millis) -> Postponement {
    Postponement {
        message_id: entry.message_id,
        state: EntryState::Waiting,
        due_at: entry.due_at.max(now),
        attempts: entry.attempts,
        waits_for: Wait::Switched,
        reason: entry.reason.clone(),
        aside: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryState, OutboxEntry, Wait, waiting_for_the_switch};
    use crate::conversations::model::ChannelId;
    use crate::ids::{ConversationId, MessageId};

    #[test]
    fn what_is_moved_keeps_its_attempts() {
        let entry = OutboxEntry {
            message_id: MessageId::MIN,
            channel_id: ChannelId("whatsapp".to_owned()),
            conversation_id: ConversationId::MIN,
            position: 1,
            state: EntryState::Unknown,
            priority: 0,
            due_at: 5,
            expires_at: 100,
            attempts: 3,
            attempt_id: None,
            waits_for: Wait::UnknownOutcome,
            reason: None,
            queued_at: 1,
        };
        let moved = waiting_for_the_switch(&entry, 10);
        assert_eq!(
            (moved.state, moved.attempts, moved.due_at),
            (EntryState::Waiting, 3, 10)
        );
        assert_eq!(moved.waits_for, Wait::Switched);
    }
}
