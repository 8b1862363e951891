//! What people here do with a conversation, rather than what Meta tells about it.

use crate::conversations::model::{Conversation, Millis};
use crate::ids::ConversationId;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// Somebody has read a conversation to its end; answers with it, or `None` if there is no such conversation. A second time changes nothing.
pub fn mark_read(tx: &mut Tx<'_>, id: ConversationId, now: Millis) -> Result<Option<Conversation>, StoreError> {
    let Some(mut conversation) = tx.lock_conversation(id)? else {
        return Ok(None);
    };
    if conversation.mark_read() {
        tx.update_conversations(&[&conversation])?;
        tx.insert_stream(&[NewStreamRow {
            at: now,
            channel_id: Some(conversation.channel_id.clone()),
            event_id: None,
            changes: vec![Change::ConversationUpdated {
                conversation: conversation.id,
            }],
        }])?;
    }
    Ok(Some(conversation))
}
