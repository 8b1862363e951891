//! Statements about conversations.

use std::collections::HashMap;

use super::contacts::searched;
use super::events::escaped;
use super::value::{FromValue, Row, Rows, Value, by_channel, params};
use super::{StoreError, Tx};
use crate::conversations::model::{
    ChannelId, Conversation, ConversationKind, ConversationStatus, Handler, Millis, NamesTold, Venue,
};
use crate::ids::{ContactId, ConversationId};

/// Which conversations a list is of; every part that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct ConversationFilter {
    /// On this channel.
    pub channel_id: Option<ChannelId>,
    /// Of this kind.
    pub kind: Option<ConversationKind>,
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

/// A place in a list of conversations: the time of the last message, and the id.
pub type ConversationPlace = (Millis, ConversationId);

/// How many conversations of a channel a page of a list looks at.
pub const LOOKED_AT_MAX: u32 = 10_000;

/// A page of a list of conversations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationPage {
    /// Those that were found, the one with the newest message first.
    pub conversations: Vec<Conversation>,
    /// The `after` of the page after it; absent at the end. It is there also if nothing was found among what was looked at.
    pub next: Option<ConversationPlace>,
}

impl ConversationFilter {
    /// The index along which a list of a channel goes: that of the condition that narrows most.
    fn walk(&self) -> Walk {
        match (self.contact_id, &self.assignee, self.status) {
            (Some(_), _, _) => Walk::Contact,
            (None, Some(_), _) => Walk::Assignee,
            // Most are open, and those that are have had the newest messages.
            (None, None, Some(status)) if status != ConversationStatus::Open => Walk::Status,
            (None, None, _) if self.kind == Some(ConversationKind::Comments) => Walk::Comments,
            (None, None, _) => Walk::Channel,
        }
    }

    /// Whether a walk leaves conversations out.
    fn leaves_out(&self, walk: Walk) -> bool {
        self.unread
            || self.name.is_some()
            || (self.kind.is_some() && walk != Walk::Comments)
            || (self.status.is_some() && walk != Walk::Status)
            || (self.assignee.is_some() && walk != Walk::Assignee)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    Contact,
    Assignee,
    Status,
    Comments,
    Channel,
}

/// The columns that [`conversation`] reads, of the alias `c`, and where a merged one went.
macro_rules! select_conversations {
    ($($rest:expr),*) => {
        concat!(
            "SELECT c.id, c.channel_id, c.contact_id, c.status, c.handler, c.assignee, c.unread, c.read_up_to, c.last_inbound_at,
                c.window_ends_at, c.last_message_at, c.last_message_id, c.next_position, c.created_at, c.merged_into, c.kind, c.media_id, c.answered_comment,
                c.name_told_at, c.username_told_at ",
            $($rest),*
        )
    };
}

impl Tx<'_> {
    /// The direct conversations of these pairs of channel and contact, locked until the unit ends.
    pub fn lock_conversations(&mut self, pairs: &[(ChannelId, ContactId)]) -> Result<Vec<Conversation>, StoreError> {
        let rows = Rows::of_channels(pairs);
        let found = self.query_rows(
            select_conversations!("FROM {each r: channel_id text, contact_id blob} conversations AS c WHERE c.channel_id = r.channel_id AND c.contact_id = r.contact_id AND c.kind = 'direct' ORDER BY c.id {lock c}"),
            &rows,
        )?;
        unmerged(&found)
    }

    /// The ids of the conversations of these channels and contacts under these posts, by Meta's id of each; those that are not there are absent.
    pub fn conversations_under_posts(
        &mut self,
        places: &[(ChannelId, ContactId, String)],
    ) -> Result<Vec<ConversationId>, StoreError> {
        let mut rows = Rows::new();
        for (channel, contact, media_id) in places {
            rows.push(params![&channel.0, contact, media_id]);
        }
        let found = self.query_rows(
            "SELECT c.id FROM {each r: channel_id text, contact_id blob, media_id text} conversations AS c WHERE c.channel_id = r.channel_id AND c.contact_id = r.contact_id AND c.kind = 'comments' AND c.media_id = r.media_id",
            &rows,
        )?;
        found.iter().map(|row| row.get(0)).collect()
    }

    /// These conversations, locked until the unit ends. Those under posts are locked after direct ones.
    pub fn lock_conversations_by_ids(&mut self, ids: &[ConversationId]) -> Result<Vec<Conversation>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_conversations!("FROM {each r: id blob} conversations AS c WHERE c.id = r.id ORDER BY c.id {lock c}"),
            &rows,
        )?;
        unmerged(&found)
    }

    /// The ids of the direct conversations of these channels and contacts; who has none is absent.
    pub fn direct_conversations(
        &mut self,
        pairs: &[(ChannelId, ContactId)],
    ) -> Result<HashMap<(ChannelId, ContactId), ConversationId>, StoreError> {
        let rows = Rows::of_channels(pairs);
        let found = self.query_rows(
            "SELECT c.channel_id, c.contact_id, c.id FROM {each r: channel_id text, contact_id blob} conversations AS c WHERE c.channel_id = r.channel_id AND c.contact_id = r.contact_id AND c.kind = 'direct' AND c.merged_into IS NULL",
            &rows,
        )?;
        by_channel(&found)
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
                conversation.venue.kind().as_str(),
                conversation.venue.media_id().unwrap_or_default(),
                &conversation.answered_comment,
                conversation.names_told.name_at,
                conversation.names_told.username_at,
            ]);
        }
        self.send_rows(
            "INSERT INTO conversations (id, channel_id, contact_id, status, handler, assignee, unread, read_up_to, last_inbound_at,
                window_ends_at, last_message_at, last_message_id, next_position, created_at, kind, media_id, answered_comment,
                name_told_at, username_told_at)
             {insert r.id, r.channel_id, r.contact_id, r.status, r.handler, r.assignee, r.unread, r.read_up_to, r.last_inbound_at,
                r.window_ends_at, r.last_message_at, r.last_message_id, r.next_position, r.created_at, r.kind, r.media_id, r.answered_comment,
                r.name_told_at, r.username_told_at of r: id blob, channel_id text, contact_id blob, status text, handler text, assignee text, unread int, read_up_to int,
                last_inbound_at int, window_ends_at int, last_message_at int, last_message_id blob, next_position int, created_at int, kind text, media_id text, answered_comment blob,
                name_told_at int, username_told_at int}",
            &rows,
        )
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
                &conversation.answered_comment,
                conversation.names_told.name_at,
                conversation.names_told.username_at,
            ]);
        }
        self.send_rows(
            "UPDATE conversations SET status = r.status, handler = r.handler, assignee = r.assignee, unread = r.unread,
                read_up_to = r.read_up_to, last_inbound_at = r.last_inbound_at, window_ends_at = r.window_ends_at,
                last_message_at = r.last_message_at, last_message_id = r.last_message_id, next_position = r.next_position,
                created_at = r.created_at, answered_comment = r.answered_comment,
                name_told_at = r.name_told_at, username_told_at = r.username_told_at
             {from r: id blob, status text, handler text, assignee text, unread int, read_up_to int, last_inbound_at int,
                window_ends_at int, last_message_at int, last_message_id blob, next_position int, created_at int, answered_comment blob,
                name_told_at int, username_told_at int}
             WHERE conversations.id = r.id",
            &rows,
        )
    }

    /// Gives a conversation to another contact, who has none at its venue on its channel.
    pub fn move_conversation(&mut self, id: ConversationId, to: ContactId) -> Result<(), StoreError> {
        self.send(
            "UPDATE conversations SET contact_id = ?2 WHERE id = ?1",
            params![&id, &to],
        )
    }

    /// Moves everything of one conversation into another one of its channel and venue; the old id leads to the new one. Both are locked, and what
    /// [`Conversation::absorb`] makes of the second is written by the caller.
    pub fn merge_conversations(&mut self, from: &Conversation, into: &Conversation) -> Result<(), StoreError> {
        let (from_id, into_id) = (&from.id, &into.id);
        self.send(
            "UPDATE messages SET conversation_id = ?2 WHERE conversation_id = ?1",
            params![from_id, into_id],
        )?;
        self.merge_outbox(&from.channel_id, from.id, into.id)?;
        self.send(
            "INSERT INTO read_watermarks (conversation_id, up_to, at)
             SELECT ?2, up_to, at FROM read_watermarks WHERE conversation_id = ?1
             ON CONFLICT (conversation_id, up_to) DO UPDATE SET at = EXCLUDED.at WHERE EXCLUDED.at < read_watermarks.at",
            params![from_id, into_id],
        )?;
        self.send(
            "DELETE FROM read_watermarks WHERE conversation_id = ?1",
            params![from_id],
        )?;
        self.send(
            "UPDATE conversations SET merged_into = ?2 WHERE merged_into = ?1",
            params![from_id, into_id],
        )?;
        self.send(
            "UPDATE conversations SET merged_into = ?2 WHERE id = ?1",
            params![from_id, into_id],
        )
    }

    /// Conversations, the one with the newest message first: `limit` at most, among the next [`LOOKED_AT_MAX`] of each channel along the index
    /// that narrows most.
    pub fn conversations(&mut self, filter: &ConversationFilter, limit: u32) -> Result<ConversationPage, StoreError> {
        let walk = filter.walk();
        if walk == Walk::Contact || filter.channel_id.is_some() {
            return self.walk_conversations(walk, filter, filter.channel_id.as_ref(), limit);
        }
        // Each channel has its own order by time. There are few channels, and an order over all would have to be kept at every message.
        let mut all = ConversationPage {
            conversations: Vec::new(),
            next: None,
        };
        for channel in self.channel_activity()? {
            let page = self.walk_conversations(walk, filter, Some(&channel.id), limit)?;
            all.conversations.extend(page.conversations);
            all.next = all.next.max(page.next);
        }
        // Of a channel that was looked at further, what lies beyond the end of another one is for the next page.
        let end = all.next;
        all.conversations
            .retain(|conversation| end.is_none_or(|end| place(conversation) >= end));
        all.conversations
            .sort_by_key(|conversation| std::cmp::Reverse(place(conversation)));
        if all.conversations.len() > limit as usize {
            all.conversations.truncate(limit as usize);
            all.next = all.conversations.last().map(place);
        }
        Ok(all)
    }

    fn walk_conversations(
        &mut self,
        walk: Walk,
        filter: &ConversationFilter,
        channel: Option<&ChannelId>,
        limit: u32,
    ) -> Result<ConversationPage, StoreError> {
        let (after_at, after_id) = filter.after.unwrap_or((Millis::MAX, ConversationId::MAX));
        let channel = channel.map(|channel| channel.0.as_str());
        let status = filter.status.map(ConversationStatus::as_str);
        let mut last = None;
        if filter.leaves_out(walk) {
            let skipped = LOOKED_AT_MAX - 1;
            let row = match walk {
                Walk::Contact => None,
                Walk::Assignee => self.query_opt(
                    LAST_OF_ASSIGNEE,
                    params![channel, after_at, &after_id, skipped, &filter.assignee],
                )?,
                Walk::Status => {
                    self.query_opt(LAST_OF_STATUS, params![channel, after_at, &after_id, skipped, status])?
                }
                Walk::Comments => self.query_opt(LAST_OF_COMMENTS, params![channel, after_at, &after_id, skipped])?,
                Walk::Channel => self.query_opt(LAST_OF_CHANNEL, params![channel, after_at, &after_id, skipped])?,
            };
            last = row
                .map(|row| Ok::<_, StoreError>((row.get(0)?, row.get(1)?)))
                .transpose()?;
        }
        let (last_at, last_id) = last.unwrap_or((Millis::MIN, ConversationId::MIN));
        let name = filter.name.as_ref().map(|name| escaped(&searched(name)));
        let one_more = limit.saturating_add(1);
        let values = params![
            channel,
            status,
            &filter.assignee,
            filter.contact_id.as_ref().map(|contact| &contact.as_bytes()[..]),
            filter.unread,
            &name,
            after_at,
            &after_id,
            one_more,
            last_at,
            &last_id,
            filter.kind.map(ConversationKind::as_str),
        ];
        let rows = match walk {
            Walk::Contact => self.query(LIST_OF_CONTACT, values)?,
            Walk::Assignee => self.query(LIST_OF_ASSIGNEE, values)?,
            Walk::Status => self.query(LIST_OF_STATUS, values)?,
            Walk::Comments => self.query(LIST_OF_COMMENTS, values)?,
            Walk::Channel => self.query(LIST_OF_CHANNEL, values)?,
        };
        let mut conversations: Vec<Conversation> = rows.iter().map(conversation).collect::<Result<_, _>>()?;
        if conversations.len() > limit as usize {
            conversations.truncate(limit as usize);
            last = conversations.last().map(place);
        }
        Ok(ConversationPage {
            conversations,
            next: last,
        })
    }
}

/// Conversations that were locked by what is unique about them; one that was merged meanwhile is looked for anew.
fn unmerged(found: &[Row]) -> Result<Vec<Conversation>, StoreError> {
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

fn place(conversation: &Conversation) -> ConversationPlace {
    (conversation.last_message_at, conversation.id)
}

macro_rules! list {
    ($index:literal, $first:literal) => {
        concat!(
            select_conversations!("FROM conversations AS c "),
            $index,
            "WHERE c.merged_into IS NULL AND ",
            $first,
            " AND (c.last_message_at, c.id) < (?7, ?8) AND (c.last_message_at, c.id) >= (?10, ?11)
              AND (CAST(?1 AS TEXT) IS NULL OR c.channel_id = ?1) AND (CAST(?2 AS TEXT) IS NULL OR c.status = ?2)
              AND (CAST(?3 AS TEXT) IS NULL OR c.assignee = ?3) AND (CAST(?12 AS TEXT) IS NULL OR c.kind = ?12)
              AND (CAST(?4 AS {sqlite BLOB}{postgres BYTEA}) IS NULL OR c.contact_id = ?4)
              AND (CAST(?5 AS BIGINT) = 0 OR c.unread > 0)
              AND (CAST(?6 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM contacts AS p WHERE p.id = c.contact_id
                    AND (p.name_searched LIKE ?6 || '%' ESCAPE '\\' OR p.name_searched LIKE '% ' || ?6 || '%' ESCAPE '\\'
                        OR LOWER(p.username) LIKE ?6 || '%' ESCAPE '\\')))
             ORDER BY c.last_message_at DESC, c.id DESC LIMIT ?9"
        )
    };
}

/// Where a page along an index ends, if there may be more beyond it.
macro_rules! last {
    ($first:literal) => {
        concat!(
            "SELECT c.last_message_at, c.id FROM conversations AS c WHERE c.merged_into IS NULL AND ",
            $first,
            " AND (c.last_message_at, c.id) < (?2, ?3) ORDER BY c.last_message_at DESC, c.id DESC LIMIT 1 OFFSET ?4"
        )
    };
}

const LIST_OF_CHANNEL: &str = list!("", "c.channel_id = ?1");
const LIST_OF_CONTACT: &str = list!("", "c.contact_id = ?4");
// The conditions of the partial indexes are said in full, so that the engines know them again. SQLite has no statistics to see by that they
// narrow more.
const LIST_OF_STATUS: &str = list!(
    "{sqlite INDEXED BY conversations_by_status }",
    "c.channel_id = ?1 AND c.status = ?2 AND c.status <> 'open'"
);
const LIST_OF_ASSIGNEE: &str = list!(
    "{sqlite INDEXED BY conversations_by_assignee }",
    "c.channel_id = ?1 AND c.assignee = ?3 AND c.assignee IS NOT NULL"
);
const LIST_OF_COMMENTS: &str = list!(
    "{sqlite INDEXED BY conversations_of_comments }",
    "c.channel_id = ?1 AND c.kind = 'comments'"
);
const LAST_OF_COMMENTS: &str = last!("c.channel_id = ?1 AND c.kind = 'comments'");
const LAST_OF_CHANNEL: &str = last!("c.channel_id = ?1");
const LAST_OF_STATUS: &str = last!("c.channel_id = ?1 AND c.status = ?5 AND c.status <> 'open'");
const LAST_OF_ASSIGNEE: &str = last!("c.channel_id = ?1 AND c.assignee = ?5 AND c.assignee IS NOT NULL");

fn conversation(row: &Row) -> Result<Conversation, StoreError> {
    let kind: ConversationKind = row.get(15)?;
    Ok(Conversation {
        id: row.get(0)?,
        channel_id: ChannelId(row.get(1)?),
        contact_id: row.get(2)?,
        venue: match kind {
            ConversationKind::Direct => Venue::Direct,
            ConversationKind::Comments => Venue::Post { media_id: row.get(16)? },
        },
        answered_comment: row.get(17)?,
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
        names_told: NamesTold {
            name_at: row.get(18)?,
            username_at: row.get(19)?,
        },
    })
}

impl FromValue for ConversationKind {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
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
