//! Messages that are to be sent at a time: they come into the outbox when it has come.
//!
//! Until then they are in no queue, since the order of a conversation is that of acceptance, and one that waits for next week must not hold
//! back what is said today. Its place in the order is at the end, at its time.

use crate::app::App;
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::MessageId;
use crate::store::{StoreError, Tx};

/// How many come into the outbox by one transaction.
const UNIT_MAX: u32 = 200;

/// Brings what is due into the outbox.
pub async fn release_due(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    loop {
        // A look costs a reader nothing; a unit that writes would wait for its turn, most often for nothing.
        let any = app.store.read(move |tx| tx.any_scheduled_due(now)).await?;
        if !any {
            return Ok(());
        }
        let (count, channels) = app.store.write(move |tx| release_some(tx, now)).await?;
        for channel in &channels {
            app.senders.nudge(channel);
        }
        if count < UNIT_MAX as usize {
            return Ok(());
        }
    }
}

fn release_some(tx: &mut Tx<'_>, now: Millis) -> Result<(usize, Vec<ChannelId>), StoreError> {
    let mut due = tx.take_due_scheduled(now, UNIT_MAX)?;
    let count = due.len();
    let ids: Vec<MessageId> = due.iter().map(|scheduled| scheduled.message_id).collect();
    let known: Vec<MessageId> = tx.messages_by_ids(&ids)?.iter().map(|message| message.id).collect();
    // In one order everywhere, so that two nodes cannot hold what the other one waits for; within a conversation the longest due first.
    due.sort_by_key(|scheduled| scheduled.conversation_id);
    let mut channels = Vec::new();
    for scheduled in due {
        if !known.contains(&scheduled.message_id) {
            continue;
        }
        let Some(mut conversation) = tx.lock_conversation(scheduled.conversation_id)? else {
            continue;
        };
        let mut entry = scheduled.entry(conversation.next_position, None);
        // Its conversation may have been merged into another one meanwhile.
        entry.conversation_id = conversation.id;
        conversation.next_position += 1;
        tx.update_conversations(&[&conversation])?;
        tx.insert_outbox(&entry)?;
        if !channels.contains(&scheduled.channel_id) {
            channels.push(scheduled.channel_id);
        }
    }
    Ok((count, channels))
}
