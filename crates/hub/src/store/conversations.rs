//! Statements about conversations.

use super::contacts::searched;
use super::events::escaped;
use super::value::{FromValue, Row, Rows, Value, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Conversation, ConversationStatus, Handler, Millis};
use crate::ids::{ContactId, ConversationId};

/// Which conversations a list is of; every part that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct ConversationFilter {
    /// On this channel.
    pub channel_id: Option<ChannelId>,
    /// With this status.
    pub status: Option<ConversationStatus>,
    /// Given to this operator or team.
    pub assignee: Option<String>,
    /// With this contact.
    pub contact_id: Option<ContactId>,
    /// With something unread.
    pub unread: bool,
    /// Whose contact's name begins with this text, or a word of it does.
    pub name: Option<String>,
    /// After this place in the list: the time of the last message, and the id.
    pub after: Option<(Millis, ConversationId)>,
}

/// The columns that [`conversation`] reads, of the alias `c`, and where a merged one went.
macro_rules! select_conversations {
    ($($rest:expr),*) => {
        concat!(
            "SELECT c.id, c.channel_id, c.contact_id, c.status, c.handler, c.assignee, c.unread, c.read_up_to, c.last_inbound_at,
                c.window_ends_at, c.last_message_at, c.last_message_id, c.next_position, c.created_at, c.merged_into ",
            $($rest),*
        )
    };
}

impl Tx<'_> {
    /// The conversations of these pairs of channel and contact, locked until the unit ends.
    pub fn lock_conversations(&mut self, pairs: &[(ChannelId, ContactId)]) -> Result<Vec<Conversation>, StoreError> {
        let mut rows = Rows::new();
        for (channel, contact) in pairs {
            rows.push(params![&channel.0, contact]);
        }
        let found = self.query_rows(
            select_conversations!("FROM {each r: channel_id text, contact_id blob} conversations AS c WHERE c.channel_id = r.channel_id AND c.contact_id = r.contact_id ORDER BY c.id {lock c}"),
            &rows,
        )?;
        if found
            .iter()
            .any(|row| !matches!(row.get::<Option<ConversationId>>(14), Ok(None)))
        {
            return Err(StoreError::Conflict(
                "a conversation was merged while it was waited for".to_owned(),
            ));
        }
        found.iter().map(conversation).collect()
    }

    /// A conversation, locked until the unit ends; one that was merged comes back as the one it was merged into.
    pub fn lock_conversation(&mut self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.conversation_where_id(
            id,
            select_conversations!("FROM conversations AS c WHERE c.id = ?1 {lock c}"),
        )
    }

    /// A conversation; one that was merged comes back as the one it was merged into.
    pub fn conversation_by_id(&mut self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.conversation_where_id(id, select_conversations!("FROM conversations AS c WHERE c.id = ?1"))
    }

    /// These conversations, in no particular order; those that were merged into others are absent.
    pub fn conversations_by_ids(&mut self, ids: &[ConversationId]) -> Result<Vec<Conversation>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_conversations!(
                "FROM {each r: id blob} conversations AS c WHERE c.id = r.id AND c.merged_into IS NULL"
            ),
            &rows,
        )?;
        found.iter().map(conversation).collect()
    }

    fn conversation_where_id(
        &mut self,
        id: ConversationId,
        sql: &'static str,
    ) -> Result<Option<Conversation>, StoreError> {
        let mut id = id;
        for _ in 0..3 {
            let Some(row) = self.query_opt(sql, params![&id])? else {
                return Ok(None);
            };
            match row.get::<Option<ConversationId>>(14)? {
                Some(into) => id = into,
                None => return conversation(&row).map(Some),
            }
        }
        Ok(None)
    }

    /// The conversations of a contact.
    pub fn conversations_of_contact(&mut self, contact: ContactId) -> Result<Vec<Conversation>, StoreError> {
        let rows = self.query(
            select_conversations!(
                "FROM conversations AS c WHERE c.contact_id = ?1 AND c.merged_into IS NULL ORDER BY c.id"
            ),
            params![&contact],
        )?;
        rows.iter().map(conversation).collect()
    }

    /// The conversations of a contact, locked until the unit ends.
    pub fn lock_conversations_of_contact(&mut self, contact: ContactId) -> Result<Vec<Conversation>, StoreError> {
        let rows = self.query(
            select_conversations!(
                "FROM conversations AS c WHERE c.contact_id = ?1 AND c.merged_into IS NULL ORDER BY c.id {lock c}"
            ),
            params![&contact],
        )?;
        rows.iter().map(conversation).collect()
    }

    /// Keeps new conversations.
    pub fn insert_conversations(&mut self, conversations: &[&Conversation]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for conversation in conversations {
            rows.push(params![
                &conversation.id,
                &conversation.channel_id.0,
                &conversation.contact_id,
                conversation.status.as_str(),
                conversation.handler.as_str(),
                &conversation.assignee,
                conversation.unread,
                conversation.read_up_to,
                conversation.last_inbound_at,
                conversation.window_ends_at,
                conversation.last_message_at,
                &conversation.last_message_id,
                conversation.next_position,
                conversation.created_at,
            ]);
        }
        self.execute_rows(
            "INSERT INTO conversations (id, channel_id, contact_id, status, handler, assignee, unread, read_up_to, last_inbound_at,
                window_ends_at, last_message_at, last_message_id, next_position, created_at)
             {insert r.id, r.channel_id, r.contact_id, r.status, r.handler, r.assignee, r.unread, r.read_up_to, r.last_inbound_at,
                r.window_ends_at, r.last_message_at, r.last_message_id, r.next_position, r.created_at of r: id blob, channel_id text, contact_id blob, status text, handler text, assignee text, unread int, read_up_to int,
                last_inbound_at int, window_ends_at int, last_message_at int, last_message_id blob, next_position int, created_at int}",
            &rows,
        )?;
        Ok(())
    }

    /// Writes conversations that are known already.
    pub fn update_conversations(&mut self, conversations: &[&Conversation]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for conversation in conversations {
            rows.push(params![
                &conversation.id,
                conversation.status.as_str(),
                conversation.handler.as_str(),
                &conversation.assignee,
                conversation.unread,
                conversation.read_up_to,
                conversation.last_inbound_at,
                conversation.window_ends_at,
                conversation.last_message_at,
                &conversation.last_message_id,
                conversation.next_position,
                conversation.created_at,
            ]);
        }
        self.execute_rows(
            "UPDATE conversations SET status = r.status, handler = r.handler, assignee = r.assignee, unread = r.unread,
                read_up_to = r.read_up_to, last_inbound_at = r.last_inbound_at, window_ends_at = r.window_ends_at,
                last_message_at = r.last_message_at, last_message_id = r.last_message_id, next_position = r.next_position,
                created_at = r.created_at
             {from r: id blob, status text, handler text, assignee text, unread int, read_up_to int, last_inbound_at int,
                window_ends_at int, last_message_at int, last_message_id blob, next_position int, created_at int}
             WHERE conversations.id = r.id",
            &rows,
        )?;
        Ok(())
    }

    /// Gives a conversation to another contact, who has none on its channel.
    pub fn move_conversation(&mut self, id: ConversationId, to: ContactId) -> Result<(), StoreError> {
        self.execute(
            "UPDATE conversations SET contact_id = ?2 WHERE id = ?1",
            params![&id, &to],
        )?;
        Ok(())
    }

    /// Moves everything of one conversation into another one of its channel; the old id leads to the new one. Both are locked, and what
    /// [`Conversation::absorb`] makes of the second is written by the caller.
    pub fn merge_conversations(&mut self, from: &Conversation, into: &Conversation) -> Result<(), StoreError> {
        let (from_id, into_id) = (&from.id, &into.id);
        self.execute(
            "UPDATE messages SET conversation_id = ?2 WHERE conversation_id = ?1",
            params![from_id, into_id],
        )?;
        self.merge_outbox(&from.channel_id, from.id, into.id)?;
        self.execute(
            "INSERT INTO read_watermarks (conversation_id, up_to, at)
             SELECT ?2, up_to, at FROM read_watermarks WHERE conversation_id = ?1
             ON CONFLICT (conversation_id, up_to) DO UPDATE SET at = EXCLUDED.at WHERE EXCLUDED.at < read_watermarks.at",
            params![from_id, into_id],
        )?;
        self.execute(
            "DELETE FROM read_watermarks WHERE conversation_id = ?1",
            params![from_id],
        )?;
        self.execute(
            "UPDATE conversations SET merged_into = ?2 WHERE merged_into = ?1",
            params![from_id, into_id],
        )?;
        self.execute(
            "UPDATE conversations SET merged_into = ?2 WHERE id = ?1",
            params![from_id, into_id],
        )?;
        Ok(())
    }

    /// Conversations, the one with the newest message first.
    pub fn conversations(&mut self, filter: &ConversationFilter, limit: u32) -> Result<Vec<Conversation>, StoreError> {
        if filter.contact_id.is_some() {
            return self.walk_conversations(LIST_OF_CONTACT, filter, filter.channel_id.as_ref(), limit);
        }
        if filter.channel_id.is_some() {
            return self.walk_conversations(LIST_OF_CHANNEL, filter, filter.channel_id.as_ref(), limit);
        }
        // Each channel has its own order by time. There are few channels, and an order over all would have to be kept at every message.
        let mut all = Vec::new();
        for channel in self.channel_activity()? {
            all.extend(self.walk_conversations(LIST_OF_CHANNEL, filter, Some(&channel.id), limit)?);
        }
        all.sort_by_key(|conversation| std::cmp::Reverse((conversation.last_message_at, conversation.id)));
        all.truncate(limit as usize);
        Ok(all)
    }

    fn walk_conversations(
        &mut self,
        walk: &'static str,
        filter: &ConversationFilter,
        channel: Option<&ChannelId>,
        limit: u32,
    ) -> Result<Vec<Conversation>, StoreError> {
        let (after_at, after_id) = filter.after.unwrap_or((Millis::MAX, ConversationId::MAX));
        let name = filter.name.as_ref().map(|name| escaped(&searched(name)));
        let values = params![
            channel.map(|channel| channel.0.as_str()),
            filter.status.map(ConversationStatus::as_str),
            &filter.assignee,
            filter.contact_id.as_ref().map(|contact| &contact.as_bytes()[..]),
            filter.unread,
            &name,
            after_at,
            &after_id,
            limit,
        ];
        self.query(walk, values)?.iter().map(conversation).collect()
    }
}

macro_rules! list {
    ($first:literal) => {
        concat!(
            select_conversations!("FROM conversations AS c WHERE c.merged_into IS NULL AND "),
            $first,
            " AND (c.last_message_at, c.id) < (?7, ?8)
              AND (CAST(?1 AS TEXT) IS NULL OR c.channel_id = ?1) AND (CAST(?2 AS TEXT) IS NULL OR c.status = ?2)
              AND (CAST(?3 AS TEXT) IS NULL OR c.assignee = ?3)
              AND (CAST(?4 AS {sqlite BLOB}{postgres BYTEA}) IS NULL OR c.contact_id = ?4)
              AND (CAST(?5 AS BIGINT) = 0 OR c.unread > 0)
              AND (CAST(?6 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM contacts AS p WHERE p.id = c.contact_id
                    AND (p.name_searched LIKE ?6 || '%' ESCAPE '\\' OR p.name_searched LIKE '% ' || ?6 || '%' ESCAPE '\\'
                        OR LOWER(p.username) LIKE ?6 || '%' ESCAPE '\\')))
             ORDER BY c.last_message_at DESC, c.id DESC LIMIT ?9"
        )
    };
}

const LIST_OF_CHANNEL: &str = list!("c.channel_id = ?1");
const LIST_OF_CONTACT: &str = list!("c.contact_id = ?4");

fn conversation(row: &Row) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: row.get(0)?,
        channel_id: ChannelId(row.get(1)?),
        contact_id: row.get(2)?,
        status: row.get(3)?,
        handler: row.get(4)?,
        assignee: row.get(5)?,
        unread: row.get(6)?,
        read_up_to: row.get(7)?,
        last_inbound_at: row.get(8)?,
        window_ends_at: row.get(9)?,
        last_message_at: row.get(10)?,
        last_message_id: row.get(11)?,
        next_position: row.get(12)?,
        created_at: row.get(13)?,
    })
}

impl FromValue for ConversationStatus {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}

impl FromValue for Handler {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
