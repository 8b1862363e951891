//! Statements about comments and mentions, beside the messages that they are.

use std::collections::HashMap;

use super::value::{FromValue, Row, Rows, Value, by_channel, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Comment, CommentKind, Millis};
use crate::ids::{AttemptId, ConversationId, EventId, MessageId};

/// A mention of which only ids are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// On which channel it was told.
    pub channel_id: ChannelId,
    /// Meta's id of the post.
    pub media_id: String,
    /// Meta's id of the comment; `None`: it is in the caption.
    pub comment_id: Option<String>,
    /// When Meta told.
    pub told_at: Millis,
    /// The event that told it.
    pub event_id: EventId,
    /// How often Meta was asked what was said.
    pub attempts: u32,
}

/// The columns that [`comment`] reads, of the alias `x`.
macro_rules! select_comments {
    ($rest:literal) => {
        concat!(
            "SELECT x.message_id, x.channel_id, x.kind, x.hidden_at, x.private_reply ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// Keeps what is known of new comments. Of one that was told as made live and as made on a post, the former stands, in whatever order.
    pub fn insert_comments(&mut self, comments: &[Comment]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for comment in comments {
            rows.push(params![
                &comment.message_id,
                &comment.channel_id.0,
                comment.kind.as_str(),
                comment.hidden_at,
                &comment.private_reply,
            ]);
        }
        self.send_rows(
            "INSERT INTO comments (message_id, channel_id, kind, hidden_at, private_reply)
             {insert r.message_id, r.channel_id, r.kind, r.hidden_at, r.private_reply of r: message_id blob, channel_id text, kind text, hidden_at int, private_reply blob}
             ON CONFLICT (message_id) DO UPDATE SET kind = EXCLUDED.kind WHERE EXCLUDED.kind = 'live'",
            &rows,
        )
    }

    /// What is known of those of these messages that are comments, in no particular order.
    pub fn comments_of_messages(&mut self, ids: &[MessageId]) -> Result<Vec<Comment>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_comments!("FROM {each r: id blob} comments AS x WHERE x.message_id = r.id"),
            &rows,
        )?;
        found.iter().map(comment).collect()
    }

    /// A comment by its message, locked until the unit ends: after its conversation, and before the outbox.
    pub fn lock_comment(&mut self, id: MessageId) -> Result<Option<Comment>, StoreError> {
        let row = self.query_opt(
            select_comments!("FROM comments AS x WHERE x.message_id = ?1 {lock x}"),
            params![&id],
        )?;
        row.as_ref().map(comment).transpose()
    }

    /// Notes since when a comment is hidden; `None`: it is shown. Answers whether there is such a comment.
    pub fn set_comment_hidden(&mut self, id: MessageId, hidden_at: Option<Millis>) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE comments SET hidden_at = ?2 WHERE message_id = ?1",
            params![&id, hidden_at],
        )?;
        Ok(changed > 0)
    }

    /// Notes by which message a comment is answered privately.
    pub fn set_private_reply(&mut self, id: MessageId, reply: MessageId) -> Result<(), StoreError> {
        self.send(
            "UPDATE comments SET private_reply = ?2 WHERE message_id = ?1",
            params![&id, &reply],
        )
    }

    /// Notes attempts at private replies that are about to be made.
    pub fn insert_private_calls(
        &mut self,
        channel: &ChannelId,
        attempts: &[AttemptId],
        now: Millis,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for attempt in attempts {
            rows.push(params![attempt, &channel.0, now]);
        }
        self.send_rows(
            "INSERT INTO private_calls (attempt_id, channel_id, at) {insert r.attempt_id, r.channel_id, r.at of r: attempt_id blob, channel_id text, at int}",
            &rows,
        )
    }

    /// Those of these attempts that are among them were at Meta by these times, if at all; a later time stands.
    pub fn note_private_calls_made(&mut self, made: &[(AttemptId, Millis)]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for (attempt, at) in made {
            rows.push(params![attempt, *at]);
        }
        self.send_rows(
            "UPDATE private_calls SET at = r.at {from r: attempt_id blob, at int}
             WHERE private_calls.attempt_id = r.attempt_id AND private_calls.at < r.at",
            &rows,
        )
    }

    /// These attempts never reached Meta.
    pub fn forget_private_calls(&mut self, attempts: &[AttemptId]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for attempt in attempts {
            rows.push(params![attempt]);
        }
        self.send_rows(
            "DELETE FROM private_calls WHERE attempt_id {in r.attempt_id of r: attempt_id blob}",
            &rows,
        )
    }

    /// When private replies of a channel were at Meta at the latest, of those since a time: the latest first, `limit` at most. One that is under way
    /// counts from when it was taken in hand.
    pub fn private_calls_since(
        &mut self,
        channel: &ChannelId,
        after: Millis,
        limit: u32,
    ) -> Result<Vec<Millis>, StoreError> {
        let rows = self.query(
            "SELECT at FROM private_calls WHERE channel_id = ?1 AND at > ?2 ORDER BY at DESC LIMIT ?3",
            params![&channel.0, after, limit],
        )?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Forgets private replies from before a time; answers with how many.
    pub fn prune_private_calls(&mut self, channel: &ChannelId, before: Millis) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM private_calls WHERE channel_id = ?1 AND at < ?2",
            params![&channel.0, before],
        )
    }

    /// In which conversations the messages with these ids of Meta's are; ids that no message has are absent.
    pub fn conversations_of_external_ids(
        &mut self,
        keys: &[(ChannelId, String)],
    ) -> Result<HashMap<(ChannelId, String), ConversationId>, StoreError> {
        let rows = Rows::of_channels(keys);
        let found = self.query_rows(
            "SELECT m.channel_id, m.external_id, m.conversation_id FROM {each r: channel_id text, external_id text} messages AS m WHERE m.channel_id = r.channel_id AND m.external_id = r.external_id",
            &rows,
        )?;
        by_channel(&found)
    }

    /// What hangs below a comment of the first level at Meta, and is not deleted yet: the answers to it, and ours to those, which Meta puts below the
    /// first one too (reference `instagram.md` 4). Ids of messages and their conversations, in no particular order, `limit` at most.
    pub fn messages_below_comment(
        &mut self,
        channel: &ChannelId,
        external_id: &str,
        limit: u32,
    ) -> Result<Vec<(MessageId, ConversationId)>, StoreError> {
        // A private reply names the comment, and is not below it.
        let rows = self.query(
            "SELECT m.id, m.conversation_id FROM messages AS m
             JOIN conversations AS c ON c.id = m.conversation_id AND c.kind = 'comments'
             WHERE m.channel_id = ?1 AND m.reply_to = ?2 AND m.external_id IS NOT NULL AND m.deleted_at IS NULL
             UNION
             SELECT m.id, m.conversation_id FROM messages AS a
             JOIN messages AS m ON m.channel_id = a.channel_id AND m.reply_to = a.external_id
             JOIN conversations AS c ON c.id = m.conversation_id AND c.kind = 'comments'
             WHERE a.channel_id = ?1 AND a.reply_to = ?2 AND a.external_id IS NOT NULL AND m.external_id IS NOT NULL AND m.deleted_at IS NULL
             LIMIT ?3",
            params![&channel.0, external_id, limit],
        )?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// The ids of messages that Meta may have, but has not told us the id of, to conversations under these posts, whoever they are with.
    pub fn messages_in_flight_under_posts(
        &mut self,
        posts: &[(ChannelId, String)],
    ) -> Result<Vec<MessageId>, StoreError> {
        let rows = Rows::of_channels(posts);
        let found = self.query_rows(
            "SELECT m.id FROM {each r: channel_id text, media_id text} outbox AS o
             JOIN conversations AS c ON c.id = o.conversation_id AND c.kind = 'comments'
             JOIN messages AS m ON m.id = o.message_id
             WHERE o.channel_id = r.channel_id AND o.head = 1 AND o.state IN ('sending', 'unknown') AND c.media_id = r.media_id
                AND m.external_id IS NULL",
            &rows,
        )?;
        found.iter().map(|row| row.get(0)).collect()
    }

    /// Notes mentions that are to be asked about; one that is noted already stays as it is.
    pub fn insert_mentions(&mut self, mentions: &[Mention], due_at: Millis) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for mention in mentions {
            rows.push(params![
                &mention.channel_id.0,
                &mention.media_id,
                mention.comment_id.as_deref().unwrap_or_default(),
                mention.told_at,
                &mention.event_id,
                due_at,
            ]);
        }
        self.send_rows(
            "INSERT INTO mentions (channel_id, media_id, comment_id, told_at, event_id, due_at, attempts)
             {insert r.channel_id, r.media_id, r.comment_id, r.told_at, r.event_id, r.due_at, 0 of r: channel_id text, media_id text, comment_id text, told_at int, event_id blob, due_at int}
             ON CONFLICT DO NOTHING",
            &rows,
        )
    }

    /// Whether any mention of a channel is due to be asked about.
    pub fn any_mention_due(&mut self, channel: &ChannelId, now: Millis) -> Result<bool, StoreError> {
        let row = self.query_opt(
            "SELECT x.media_id FROM mentions AS x WHERE x.channel_id = ?1 AND x.due_at <= ?2 LIMIT 1",
            params![&channel.0, now],
        )?;
        Ok(row.is_some())
    }

    /// Mentions of a channel that are due to be asked about, the longest due first, `limit` at most. Until `again_at` they are not due for
    /// anybody else.
    pub fn take_due_mentions(
        &mut self,
        channel: &ChannelId,
        now: Millis,
        again_at: Millis,
        limit: u32,
    ) -> Result<Vec<Mention>, StoreError> {
        let rows = self.query(
            "SELECT x.channel_id, x.media_id, x.comment_id, x.told_at, x.event_id, x.attempts FROM mentions AS x
             WHERE x.channel_id = ?1 AND x.due_at <= ?2 ORDER BY x.due_at, x.media_id, x.comment_id LIMIT ?3 {lock x}",
            params![&channel.0, now, limit],
        )?;
        let mentions: Vec<Mention> = rows.iter().map(mention).collect::<Result<_, _>>()?;
        let mut taken = Rows::new();
        for mention in &mentions {
            taken.push(params![
                &mention.channel_id.0,
                &mention.media_id,
                mention.comment_id.as_deref().unwrap_or_default(),
                again_at,
            ]);
        }
        self.send_rows(
            "UPDATE mentions SET due_at = r.due_at, attempts = mentions.attempts + 1
             {from r: channel_id text, media_id text, comment_id text, due_at int}
             WHERE mentions.channel_id = r.channel_id AND mentions.media_id = r.media_id AND mentions.comment_id = r.comment_id",
            &taken,
        )?;
        Ok(mentions)
    }

    /// Forgets a mention that was asked about.
    pub fn delete_mention(&mut self, mention: &Mention) -> Result<(), StoreError> {
        let comment_id = mention.comment_id.as_deref().unwrap_or_default();
        self.send(
            "DELETE FROM mentions WHERE channel_id = ?1 AND media_id = ?2 AND comment_id = ?3",
            params![&mention.channel_id.0, &mention.media_id, comment_id],
        )
    }
}

fn comment(row: &Row) -> Result<Comment, StoreError> {
    Ok(Comment {
        message_id: row.get(0)?,
        channel_id: ChannelId(row.get(1)?),
        kind: row.get(2)?,
        hidden_at: row.get(3)?,
        private_reply: row.get(4)?,
    })
}

fn mention(row: &Row) -> Result<Mention, StoreError> {
    let comment_id: String = row.get(2)?;
    Ok(Mention {
        channel_id: ChannelId(row.get(0)?),
        media_id: row.get(1)?,
        comment_id: Some(comment_id).filter(|id| !id.is_empty()),
        told_at: row.get(3)?,
        event_id: row.get(4)?,
        attempts: row.get(5)?,
    })
}

impl FromValue for CommentKind {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
