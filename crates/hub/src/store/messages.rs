//! Statements about messages and what became of them.

use std::collections::HashMap;

use super::value::{FromValue, Row, Rows, Value, by_channel, params};
use super::{StoreError, Tx};
use crate::conversations::content::Content;
use crate::conversations::model::{ChannelId, Failure, Message, Millis, Receipts, Sender, Status};
use crate::ids::{ConversationId, EventId, MessageId};

/// Something that became of a message, for its timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFact {
    /// Of which message.
    pub message_id: MessageId,
    /// When.
    pub at: Millis,
    /// The event that told it.
    pub event_id: EventId,
    /// `sent`, `delivered`, `read`, `played`, `failed`, `edited`, `deleted`, `reaction`; `echo` and `again` where an event told what the
    /// message says once more.
    pub kind: String,
    /// A JSON document with the details.
    pub detail: String,
}

/// A reaction to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactionRow {
    /// To which message.
    pub message_id: MessageId,
    /// By the business rather than the contact.
    pub by_business: bool,
    /// `None`: taken back.
    pub emoji: Option<String>,
    /// When.
    pub at: Millis,
    /// The event that told it; `None` of a reaction that was sent from here.
    pub event_id: Option<EventId>,
}

/// Stands in the place of the event of a reaction that was sent from here: the column came before there were any.
const NO_EVENT: EventId = EventId::MIN;

/// The columns that [`message`] reads, of the alias `m`.
macro_rules! select_messages {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.channel_id, m.conversation_id, m.outbound, m.sender, m.content, m.external_id, m.reply_to, m.inert, m.status,
                m.occurred_at, m.created_at, m.accepted_at, m.sent_at, m.delivered_at, m.read_at, m.played_at, m.failed_at,
                m.error_code, m.error_subcode, m.error_text, m.edited_at, m.deleted_at, m.maybe_duplicate, m.metadata, m.event_id ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// The messages with these ids of Meta's, locked until the unit ends.
    pub fn lock_messages_by_external_ids(&mut self, keys: &[(ChannelId, String)]) -> Result<Vec<Message>, StoreError> {
        let rows = Rows::of_channels(keys);
        let found = self.query_rows(
            select_messages!("FROM {each r: channel_id text, external_id text} messages AS m WHERE m.channel_id = r.channel_id AND m.external_id = r.external_id ORDER BY m.id {lock m}"),
            &rows,
        )?;
        found.iter().map(message).collect()
    }

    /// The messages with these ids, locked until the unit ends.
    pub fn lock_messages(&mut self, ids: &[MessageId]) -> Result<Vec<Message>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_messages!("FROM {each r: id blob} messages AS m WHERE m.id = r.id ORDER BY m.id {lock m}"),
            &rows,
        )?;
        found.iter().map(message).collect()
    }

    /// These messages, in no particular order.
    pub fn messages_by_ids(&mut self, ids: &[MessageId]) -> Result<Vec<Message>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_messages!("FROM {each r: id blob} messages AS m WHERE m.id = r.id"),
            &rows,
        )?;
        found.iter().map(message).collect()
    }

    /// One message.
    pub fn message_by_id(&mut self, id: MessageId) -> Result<Option<Message>, StoreError> {
        Ok(self.messages_by_ids(&[id])?.into_iter().next())
    }

    /// Which messages have these ids of Meta's; ids that no message has are absent from the answer.
    pub fn message_ids_by_external_ids(
        &mut self,
        keys: &[(ChannelId, String)],
    ) -> Result<HashMap<(ChannelId, String), MessageId>, StoreError> {
        let rows = Rows::of_channels(keys);
        let found = self.query_rows(
            "SELECT m.channel_id, m.external_id, m.id FROM {each r: channel_id text, external_id text} messages AS m WHERE m.channel_id = r.channel_id AND m.external_id = r.external_id",
            &rows,
        )?;
        by_channel(&found)
    }

    /// Outbound messages of a conversation that Meta may have, but has not told us the id of: locked until the unit ends.
    pub fn lock_messages_in_flight(&mut self, conversations: &[ConversationId]) -> Result<Vec<Message>, StoreError> {
        let mut rows = Rows::new();
        for id in conversations {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_messages!(
                "FROM {each r: id blob} conversations AS c
             JOIN outbox AS o ON o.channel_id = c.channel_id AND o.conversation_id = c.id AND o.state <> 'waiting'
             JOIN messages AS m ON m.id = o.message_id
             WHERE c.id = r.id AND m.external_id IS NULL ORDER BY m.id {lock m}"
            ),
            &rows,
        )?;
        found.iter().map(message).collect()
    }

    /// Outbound messages of a conversation, of some time or later, that were ended without its being known whether Meta has them: locked
    /// until the unit ends.
    pub fn lock_messages_given_up(
        &mut self,
        conversations: &[ConversationId],
        since: Millis,
    ) -> Result<Vec<Message>, StoreError> {
        let mut rows = Rows::new();
        for id in conversations {
            rows.push(params![id, since]);
        }
        let found = self.query_rows(
            select_messages!(
                "FROM {each r: id blob, since int} messages AS m WHERE m.conversation_id = r.id AND m.occurred_at >= r.since
                 AND m.outbound = 1 AND m.external_id IS NULL AND m.failed_at IS NULL AND m.status IN ('failed', 'expired')
                 ORDER BY m.id {lock m}"
            ),
            &rows,
        )?;
        found.iter().map(message).collect()
    }

    /// Outbound messages of a conversation that Meta has, up to a time, and that are not known to have been read by `read_at`: locked until
    /// the unit ends, the newest first, `limit` at most, after a place in the list.
    ///
    /// What lies before an earlier watermark that was told no later is left out: it is read since then.
    pub fn lock_unread_outbound(
        &mut self,
        conversation: ConversationId,
        up_to: Millis,
        read_at: Millis,
        after: Option<(Millis, MessageId)>,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let (after_at, after_id) = after.unwrap_or((Millis::MAX, MessageId::MAX));
        let rows = self.query(
            select_messages!("FROM messages AS m WHERE m.conversation_id = ?1 AND m.occurred_at <= ?2 AND m.occurred_at >
                COALESCE((SELECT MAX(w.up_to) FROM read_watermarks AS w WHERE w.conversation_id = ?1 AND w.up_to < ?2 AND w.at <= ?3), ?7)
             AND (m.occurred_at, m.id) < (?4, ?5) AND m.outbound = 1 AND m.external_id IS NOT NULL
             AND (m.read_at IS NULL OR m.read_at > ?3)
             ORDER BY m.occurred_at DESC, m.id DESC LIMIT ?6 {lock m}"),
            params![&conversation, up_to, read_at, after_at, &after_id, limit, Millis::MIN],
        )?;
        rows.iter().map(message).collect()
    }

    /// Keeps new messages.
    pub fn insert_messages(&mut self, messages: &[&Message]) -> Result<(), StoreError> {
        let contents = contents(messages);
        let mut rows = Rows::new();
        for (message, content) in messages.iter().zip(&contents) {
            rows.push(params![
                &message.id,
                &message.channel_id.0,
                &message.conversation_id,
                message.outbound,
                message.sender.as_str(),
                content,
                &message.external_id,
                &message.reply_to,
                message.inert,
                message.status.as_str(),
                message.occurred_at,
                message.created_at,
                message.receipts.accepted_at,
                message.receipts.sent_at,
                message.receipts.delivered_at,
                message.receipts.read_at,
                message.receipts.played_at,
                message.receipts.failed_at,
                message.failure.as_ref().map(|failure| failure.code),
                message.failure.as_ref().and_then(|failure| failure.subcode),
                message.failure.as_ref().map(|failure| failure.text.as_str()),
                message.edited_at,
                message.deleted_at,
                message.maybe_duplicate,
                &message.metadata,
                &message.event_id,
                message.content.is_aside(),
            ]);
        }
        self.send_rows(
            "INSERT INTO messages (id, channel_id, conversation_id, outbound, sender, content, external_id, reply_to, inert, status,
                occurred_at, created_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, error_code, error_subcode,
                error_text, edited_at, deleted_at, maybe_duplicate, metadata, event_id, aside)
             {insert r.id, r.channel_id, r.conversation_id, r.outbound, r.sender, r.content, r.external_id, r.reply_to, r.inert, r.status,
                r.occurred_at, r.created_at, r.accepted_at, r.sent_at, r.delivered_at, r.read_at, r.played_at, r.failed_at, r.error_code,
                r.error_subcode, r.error_text, r.edited_at, r.deleted_at, r.maybe_duplicate, r.metadata, r.event_id, r.aside of r: id blob, channel_id text, conversation_id blob, outbound int, sender text, content text, external_id text,
                reply_to text, inert int, status text, occurred_at int, created_at int, accepted_at int, sent_at int, delivered_at int,
                read_at int, played_at int, failed_at int, error_code int, error_subcode int, error_text text, edited_at int,
                deleted_at int, maybe_duplicate int, metadata text, event_id blob, aside int}",
            &rows,
        )
    }

    /// Writes messages that are known already.
    pub fn update_messages(&mut self, messages: &[&Message]) -> Result<(), StoreError> {
        let contents = contents(messages);
        let mut rows = Rows::new();
        let mut places = Rows::new();
        for (message, content) in messages.iter().zip(&contents) {
            places.push(params![
                &message.id,
                &message.conversation_id,
                &message.external_id,
                message.occurred_at
            ]);
            rows.push(params![
                &message.id,
                content,
                &message.reply_to,
                message.inert,
                message.status.as_str(),
                message.receipts.accepted_at,
                message.receipts.sent_at,
                message.receipts.delivered_at,
                message.receipts.read_at,
                message.receipts.played_at,
                message.receipts.failed_at,
                message.failure.as_ref().map(|failure| failure.code),
                message.failure.as_ref().and_then(|failure| failure.subcode),
                message.failure.as_ref().map(|failure| failure.text.as_str()),
                message.edited_at,
                message.deleted_at,
                message.maybe_duplicate,
                &message.event_id,
            ]);
        }
        self.send_rows(
            "UPDATE messages SET content = r.content, reply_to = r.reply_to, inert = r.inert, status = r.status,
                accepted_at = r.accepted_at, sent_at = r.sent_at, delivered_at = r.delivered_at, read_at = r.read_at,
                played_at = r.played_at, failed_at = r.failed_at, error_code = r.error_code, error_subcode = r.error_subcode,
                error_text = r.error_text, edited_at = r.edited_at, deleted_at = r.deleted_at, maybe_duplicate = r.maybe_duplicate,
                event_id = r.event_id
             {from r: id blob, content text, reply_to text, inert int, status text, accepted_at int, sent_at int, delivered_at int,
                read_at int, played_at int, failed_at int, error_code int, error_subcode int, error_text text, edited_at int,
                deleted_at int, maybe_duplicate int, event_id blob}
             WHERE messages.id = r.id",
            &rows,
        )?;
        // What is in an index is written apart, and only where it changes: a status must not cost two walks through the largest ones.
        self.send_rows(
            "UPDATE messages SET conversation_id = r.conversation_id, external_id = r.external_id, occurred_at = r.occurred_at
             {from r: id blob, conversation_id blob, external_id text, occurred_at int}
             WHERE messages.id = r.id AND (messages.conversation_id <> r.conversation_id
                OR messages.external_id IS DISTINCT FROM r.external_id OR messages.occurred_at <> r.occurred_at)",
            &places,
        )
    }

    /// Shows messages as being sent; `true` for those that may arrive twice.
    pub fn show_sending(&mut self, messages: &[(MessageId, bool)]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for (id, maybe_duplicate) in messages {
            rows.push(params![id, *maybe_duplicate]);
        }
        self.send_rows(
            "UPDATE messages SET status = 'sending', maybe_duplicate = r.maybe_duplicate {from r: id blob, maybe_duplicate int}
             WHERE messages.id = r.id",
            &rows,
        )
    }

    /// Shows messages as queued again that were shown as being sent, and are not.
    pub fn show_queued(&mut self, messages: &[(MessageId, bool)]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for (id, maybe_duplicate) in messages {
            rows.push(params![id, *maybe_duplicate]);
        }
        self.send_rows(
            "UPDATE messages SET status = 'queued', maybe_duplicate = r.maybe_duplicate {from r: id blob, maybe_duplicate int}
             WHERE messages.id = r.id AND messages.status = 'sending'",
            &rows,
        )
    }

    /// Takes a message out that turned out to be another one seen twice, and hands what became of it over.
    pub fn absorb_message(&mut self, gone: MessageId, into: MessageId) -> Result<(), StoreError> {
        // The event that brought it tells what the other one says, and must be found should that be taken back.
        self.send(
            "INSERT INTO message_facts (message_id, at, event_id, kind, detail)
             SELECT ?2, occurred_at, event_id, 'echo', ?3 FROM messages WHERE id = ?1 AND event_id IS NOT NULL ON CONFLICT DO NOTHING",
            params![&gone, &into, "{}"],
        )?;
        self.send(
            "INSERT INTO message_facts (message_id, at, event_id, kind, detail)
             SELECT ?2, at, event_id, kind, detail FROM message_facts WHERE message_id = ?1 ON CONFLICT DO NOTHING",
            params![&gone, &into],
        )?;
        self.send("DELETE FROM message_facts WHERE message_id = ?1", params![&gone])?;
        self.send(
            "INSERT INTO message_reactions (message_id, actor, emoji, at, event_id)
             SELECT ?2, actor, emoji, at, event_id FROM message_reactions WHERE message_id = ?1
             ON CONFLICT (message_id, actor) DO UPDATE SET emoji = EXCLUDED.emoji, at = EXCLUDED.at, event_id = EXCLUDED.event_id
             WHERE EXCLUDED.at > message_reactions.at",
            params![&gone, &into],
        )?;
        self.send("DELETE FROM message_reactions WHERE message_id = ?1", params![&gone])?;
        self.send(
            "UPDATE conversations SET last_message_id = ?2
             WHERE id = (SELECT conversation_id FROM messages WHERE id = ?1) AND id = (SELECT conversation_id FROM messages WHERE id = ?2)
                AND last_message_id = ?1",
            params![&gone, &into],
        )?;
        // An own comment may have been seen in the conversation of the first comment, and sent in that of an answer to it.
        self.send(
            "UPDATE conversations SET last_message_id = (SELECT m.id FROM messages AS m
                WHERE m.conversation_id = conversations.id AND m.aside = 0 AND m.id <> ?1 ORDER BY m.occurred_at DESC, m.id DESC LIMIT 1)
             WHERE id = (SELECT conversation_id FROM messages WHERE id = ?1) AND last_message_id = ?1",
            params![&gone],
        )?;
        self.send("DELETE FROM comments WHERE message_id = ?1", params![&gone])?;
        self.send("DELETE FROM messages WHERE id = ?1", params![&gone])
    }

    /// Messages of a conversation but for what is done to others of them ([`Content::is_aside`]), the newest first, after a place in the list: the time of a message, and its id.
    pub fn messages_of_conversation(
        &mut self,
        conversation: ConversationId,
        after: Option<(Millis, MessageId)>,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let (at, id) = after.unwrap_or((Millis::MAX, MessageId::MAX));
        let rows = self.query(
            select_messages!(
                "FROM messages AS m WHERE m.conversation_id = ?1 AND (m.occurred_at, m.id) < (?2, ?3) AND m.aside = 0
             ORDER BY m.occurred_at DESC, m.id DESC LIMIT ?4"
            ),
            params![&conversation, at, &id, limit],
        )?;
        rows.iter().map(message).collect()
    }

    /// Notes what became of messages; what is noted already stays.
    pub fn insert_message_facts(&mut self, facts: &[MessageFact]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for fact in facts {
            rows.push(params![
                &fact.message_id,
                fact.at,
                &fact.event_id,
                &fact.kind,
                &fact.detail
            ]);
        }
        self.send_rows(
            "INSERT INTO message_facts (message_id, at, event_id, kind, detail)
             {insert r.message_id, r.at, r.event_id, r.kind, r.detail of r: message_id blob, at int, event_id blob, kind text, detail text} ON CONFLICT DO NOTHING",
            &rows,
        )
    }

    /// What became of a message, in order.
    pub fn message_facts(&mut self, id: MessageId) -> Result<Vec<MessageFact>, StoreError> {
        let rows = self.query(
            "SELECT message_id, at, event_id, kind, detail FROM message_facts WHERE message_id = ?1 ORDER BY at, event_id LIMIT 1000",
            params![&id],
        )?;
        rows.iter()
            .map(|row| {
                Ok(MessageFact {
                    message_id: row.get(0)?,
                    at: row.get(1)?,
                    event_id: row.get(2)?,
                    kind: row.get(3)?,
                    detail: row.get(4)?,
                })
            })
            .collect()
    }

    /// Takes the wordings of a message out of its timeline, and out of what was sent to Meta.
    pub fn forget_wordings(&mut self, id: MessageId) -> Result<(), StoreError> {
        self.send(
            "UPDATE attempts SET request = ?2 WHERE message_id = ?1",
            params![&id, "{}"],
        )?;
        self.send(
            "UPDATE message_facts SET detail = ?2 WHERE message_id = ?1 AND kind = 'edited'",
            params![&id, "{}"],
        )
    }

    /// Keeps reactions; of two by the same side the later stands. No side of a message may stand twice in the list.
    pub fn upsert_reactions(&mut self, reactions: &[ReactionRow]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for reaction in reactions {
            let actor = actor(reaction.by_business);
            let event = reaction.event_id.as_ref().unwrap_or(&NO_EVENT);
            rows.push(params![
                &reaction.message_id,
                actor,
                &reaction.emoji,
                reaction.at,
                event
            ]);
        }
        self.send_rows(
            "INSERT INTO message_reactions (message_id, actor, emoji, at, event_id)
             {insert r.message_id, r.actor, r.emoji, r.at, r.event_id of r: message_id blob, actor text, emoji text, at int, event_id blob}
             ON CONFLICT (message_id, actor) DO UPDATE SET emoji = EXCLUDED.emoji, at = EXCLUDED.at, event_id = EXCLUDED.event_id
             WHERE EXCLUDED.at > message_reactions.at OR (EXCLUDED.at = message_reactions.at
                AND COALESCE(EXCLUDED.emoji, '') {postgres COLLATE \"C\"} > COALESCE(message_reactions.emoji, ''))",
            &rows,
        )
    }

    /// Reactions to these messages that were not taken back.
    pub fn reactions_of_messages(&mut self, ids: &[MessageId]) -> Result<Vec<ReactionRow>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            "SELECT x.message_id, x.actor, x.emoji, x.at, x.event_id
             FROM {each r: id blob} message_reactions AS x WHERE x.message_id = r.id AND x.emoji IS NOT NULL",
            &rows,
        )?;
        found
            .iter()
            .map(|row| {
                Ok(ReactionRow {
                    message_id: row.get(0)?,
                    by_business: row.get::<String>(1)? == actor(true),
                    emoji: row.get(2)?,
                    at: row.get(3)?,
                    event_id: Some(row.get(4)?).filter(|event| *event != NO_EVENT),
                })
            })
            .collect()
    }

    /// Puts events aside that are about messages which are not known yet. Those that have become known in the meantime send them back into
    /// the queue at once; answers with how many these are.
    pub fn park_events(&mut self, parked: &[(ChannelId, String, EventId)], now: Millis) -> Result<u64, StoreError> {
        self.lock_parking(parked.iter().map(|(channel, external_id, _)| (channel, external_id)))?;
        let mut rows = Rows::new();
        for (channel, external_id, event) in parked {
            rows.push(params![&channel.0, external_id, event, now]);
        }
        self.send_rows(
            "INSERT INTO parked_events (channel_id, external_id, event_id, parked_at)
             {insert r.channel_id, r.external_id, r.event_id, r.parked_at of r: channel_id text, external_id text, event_id blob, parked_at int} ON CONFLICT DO NOTHING",
            &rows,
        )?;
        let mut keys = Rows::new();
        for (channel, external_id, _) in parked {
            keys.push(params![&channel.0, external_id]);
        }
        let known = self.query_rows(
            "SELECT m.channel_id, m.external_id FROM {each r: channel_id text, external_id text} messages AS m WHERE m.channel_id = r.channel_id AND m.external_id = r.external_id",
            &keys,
        )?;
        let known: Vec<(ChannelId, String)> = known
            .iter()
            .map(|row| Ok((ChannelId(row.get(0)?), row.get(1)?)))
            .collect::<Result<_, StoreError>>()?;
        self.unpark_events(&known, now)
    }

    /// Of two units, one of which puts an event aside that the other one's message would bring back, one waits for the other: else
    /// neither would see what the other one has written, and the event would stay aside.
    ///
    /// What waits for a person rather than for a message needs none of it (and is told by its spaces, which Meta's ids have none of): both
    /// units have locked that person's addresses. Postgres has room for some thousands of such locks, of all sessions together.
    fn lock_parking<'k>(&mut self, keys: impl Iterator<Item = (&'k ChannelId, &'k String)>) -> Result<(), StoreError> {
        let messages = keys.filter(|(_, external_id)| !external_id.contains(' '));
        self.lock_names(messages.map(|(channel, external_id)| ["parked", channel.0.as_str(), external_id.as_str()]))
    }

    /// These messages are known now: the events that were put aside for them go back into the queue. Answers with how many.
    pub fn unpark_events(&mut self, known: &[(ChannelId, String)], now: Millis) -> Result<u64, StoreError> {
        self.lock_parking(known.iter().map(|(channel, external_id)| (channel, external_id)))?;
        // Mostly nothing is put aside at all. What somebody else puts aside for one of these from now on waits for this unit.
        let anything = "SELECT channel_id FROM parked_events ORDER BY channel_id, external_id, event_id LIMIT 1";
        if known.is_empty() || self.query(anything, params![])?.is_empty() {
            return Ok(0);
        }
        let rows = Rows::of_channels(known);
        let found = self.query_rows(
            "SELECT p.channel_id, p.external_id, p.event_id FROM {each r: channel_id text, external_id text} parked_events AS p WHERE p.channel_id = r.channel_id AND p.external_id = r.external_id",
            &rows,
        )?;
        if found.is_empty() {
            return Ok(0);
        }
        let mut parked: Vec<(String, String, EventId)> = Vec::with_capacity(found.len());
        for row in &found {
            parked.push((row.get(0)?, row.get(1)?, row.get(2)?));
        }
        let mut gone = Rows::new();
        let mut queue = Rows::new();
        for (channel, external_id, event) in &parked {
            gone.push(params![channel, external_id, event]);
            queue.push(params![now, event]);
        }
        self.send_rows(
            "DELETE FROM parked_events WHERE (channel_id, external_id, event_id) {in r.channel_id, r.external_id, r.event_id of r: channel_id text, external_id text, event_id blob}",
            &gone,
        )?;
        self.send_rows(
            "INSERT INTO event_queue (due_at, event_id) {insert r.due_at, r.event_id of r: due_at int, event_id blob} ON CONFLICT DO NOTHING",
            &queue,
        )?;
        Ok(parked.len() as u64)
    }

    /// Forgets events put aside before a time; they stay in the event log.
    pub fn prune_parked(&mut self, before: Millis) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM parked_events WHERE (channel_id, external_id, event_id) IN
                (SELECT channel_id, external_id, event_id FROM parked_events WHERE parked_at < ?1 ORDER BY parked_at LIMIT 1000)",
            params![before],
        )
    }

    /// Notes up to which time a contact has read, and when that was told.
    pub fn insert_read_watermark(
        &mut self,
        conversation: ConversationId,
        up_to: Millis,
        at: Millis,
    ) -> Result<(), StoreError> {
        self.send(
            "INSERT INTO read_watermarks (conversation_id, up_to, at) VALUES (?1, ?2, ?3)
             ON CONFLICT (conversation_id, up_to) DO UPDATE SET at = EXCLUDED.at WHERE EXCLUDED.at < read_watermarks.at",
            params![&conversation, up_to, at],
        )
    }

    /// When a contact was first known to have read what was said at a time.
    pub fn read_watermark(
        &mut self,
        conversation: ConversationId,
        said_at: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        self.query_opt(
            "SELECT MIN(at) FROM read_watermarks WHERE conversation_id = ?1 AND up_to >= ?2",
            params![&conversation, said_at],
        )?
        .map_or(Ok(None), |row| row.get(0))
    }
}

fn actor(by_business: bool) -> &'static str {
    if by_business { "business" } else { "contact" }
}

fn contents(messages: &[&Message]) -> Vec<String> {
    messages.iter().map(|message| to_json(&message.content)).collect()
}

/// Content, or a part of it, as it is kept.
pub(super) fn to_json<T: serde::Serialize>(content: &T) -> String {
    serde_json::to_string(content).expect("content has string keys only, and no value that JSON lacks")
}

fn message(row: &Row) -> Result<Message, StoreError> {
    let content: String = row.get(5)?;
    let error_code: Option<i64> = row.get(18)?;
    let error_subcode: Option<i64> = row.get(19)?;
    let error_text: Option<String> = row.get(20)?;
    Ok(Message {
        id: row.get(0)?,
        channel_id: ChannelId(row.get(1)?),
        conversation_id: row.get(2)?,
        outbound: row.get(3)?,
        sender: row.get(4)?,
        // A kind that a newer version wrote is shown as unknown rather than not at all.
        content: serde_json::from_str(&content).unwrap_or(Content::Unknown {
            what: "newer".to_owned(),
        }),
        external_id: row.get(6)?,
        reply_to: row.get(7)?,
        inert: row.get(8)?,
        status: row.get(9)?,
        occurred_at: row.get(10)?,
        created_at: row.get(11)?,
        receipts: Receipts {
            accepted_at: row.get(12)?,
            sent_at: row.get(13)?,
            delivered_at: row.get(14)?,
            read_at: row.get(15)?,
            played_at: row.get(16)?,
            failed_at: row.get(17)?,
        },
        failure: error_code.map(|code| Failure {
            code,
            subcode: error_subcode,
            text: error_text.unwrap_or_default(),
        }),
        edited_at: row.get(21)?,
        deleted_at: row.get(22)?,
        maybe_duplicate: row.get(23)?,
        metadata: row.get(24)?,
        event_id: row.get(25)?,
    })
}

impl FromValue for Sender {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}

impl FromValue for Status {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
