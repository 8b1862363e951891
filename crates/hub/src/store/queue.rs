//! Statements about what surrounds the outbox: the terms of messages, what is scheduled, ids from before, and what operators look at.

use std::collections::HashMap;

use super::messages::to_json;
use super::value::{FromValue, Row, Rows, Value, by_channel, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Message, Millis};
use crate::ids::{AttemptId, MessageId};
use crate::sending::model::{Fallback, FallbackTaken, Purpose, Scheduled, Terms};

/// Messages that have ended without arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedPlace {
    /// When the message was created.
    pub created_at: Millis,
    /// The message.
    pub id: MessageId,
}

/// What a channel has sent of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttemptsLately {
    /// How many attempts.
    pub count: i64,
    /// How many of them were accepted.
    pub accepted: i64,
    /// When the first of them began.
    pub begun_at: Option<Millis>,
}

impl Tx<'_> {
    /// Keeps the terms of new messages.
    pub fn insert_terms(&mut self, terms: &[Terms]) -> Result<(), StoreError> {
        let templates: Vec<Option<String>> = terms
            .iter()
            .map(|terms| terms.fallback.as_ref().map(|fallback| to_json(&fallback.template)))
            .collect();
        let mut rows = Rows::new();
        for (terms, template) in terms.iter().zip(&templates) {
            rows.push(params![
                &terms.channel_id.0,
                &terms.message_id,
                terms.purpose.as_str(),
                terms.priority,
                terms.expires_at,
                template,
            ]);
        }
        self.send_rows(
            "INSERT INTO message_terms (channel_id, message_id, purpose, priority, expires_at, fallback)
             {insert r.channel_id, r.message_id, r.purpose, r.priority, r.expires_at, r.fallback of r: channel_id text, message_id blob, purpose text, priority int, expires_at int, fallback text}",
            &rows,
        )
    }

    /// The terms of messages of a channel, in no particular order; those with the usual ones have none.
    pub fn terms_of_messages(&mut self, channel: &ChannelId, ids: &[MessageId]) -> Result<Vec<Terms>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![&channel.0, id]);
        }
        let found = self.query_rows(
            "SELECT t.message_id, t.channel_id, t.purpose, t.priority, t.expires_at, t.fallback, t.fallback_at, t.fallback_reason, t.said
             FROM {each r: channel_id text, message_id blob} message_terms AS t WHERE t.channel_id = r.channel_id AND t.message_id = r.message_id",
            &rows,
        )?;
        found.iter().map(terms).collect()
    }

    /// Notes of messages whose template was taken when, why, and what it took the place of.
    pub fn keep_fallbacks_taken(&mut self, terms: &[&Terms]) -> Result<(), StoreError> {
        let taken: Vec<(&Terms, &FallbackTaken, String)> = terms
            .iter()
            .filter_map(|terms| Some((*terms, terms.fallback.as_ref()?.taken.as_ref()?)))
            .map(|(terms, taken)| (terms, taken, to_json(&taken.said)))
            .collect();
        let mut rows = Rows::new();
        for (terms, taken, said) in &taken {
            rows.push(params![
                &terms.channel_id.0,
                &terms.message_id,
                taken.at,
                &taken.reason,
                said
            ]);
        }
        self.send_rows(
            "UPDATE message_terms SET fallback_at = r.at, fallback_reason = r.reason, said = r.said
             {from r: channel_id text, message_id blob, at int, reason text, said text}
             WHERE message_terms.channel_id = r.channel_id AND message_terms.message_id = r.message_id",
            &rows,
        )
    }

    /// Keeps a message until its time.
    pub fn insert_scheduled(&mut self, scheduled: &Scheduled) -> Result<(), StoreError> {
        self.send(
            "INSERT INTO scheduled_messages (message_id, channel_id, conversation_id, priority, due_at, expires_at, queued_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                &scheduled.message_id,
                &scheduled.channel_id.0,
                &scheduled.conversation_id,
                scheduled.priority,
                scheduled.due_at,
                scheduled.expires_at,
                scheduled.queued_at
            ],
        )
    }

    /// What is known of a message that waits for its time.
    pub fn scheduled_message(&mut self, message: MessageId) -> Result<Option<Scheduled>, StoreError> {
        self.query_opt(
            "SELECT s.message_id, s.channel_id, s.conversation_id, s.priority, s.due_at, s.expires_at, s.queued_at
             FROM scheduled_messages AS s WHERE s.message_id = ?1",
            params![&message],
        )?
        .map(|row| scheduled(&row))
        .transpose()
    }

    /// Takes a message out of those that wait for their time; false if it is not among them (any more).
    pub fn remove_scheduled(&mut self, message: MessageId) -> Result<bool, StoreError> {
        let removed = self.execute(
            "DELETE FROM scheduled_messages WHERE message_id = ?1",
            params![&message],
        )?;
        Ok(removed == 1)
    }

    /// Messages whose time has come, the longest due first: taken out, and handed to the caller.
    pub fn take_due_scheduled(&mut self, now: Millis, limit: u32) -> Result<Vec<Scheduled>, StoreError> {
        let rows = self.query(
            "SELECT s.message_id, s.channel_id, s.conversation_id, s.priority, s.due_at, s.expires_at, s.queued_at
             FROM scheduled_messages AS s WHERE s.due_at <= ?1 ORDER BY s.due_at, s.message_id LIMIT ?2 {take s}",
            params![now, limit],
        )?;
        let due: Vec<Scheduled> = rows.iter().map(scheduled).collect::<Result<_, _>>()?;
        let mut rows = Rows::new();
        for scheduled in &due {
            rows.push(params![&scheduled.message_id]);
        }
        self.send_rows(
            "DELETE FROM scheduled_messages WHERE (message_id) {in r.id of r: id blob}",
            &rows,
        )?;
        Ok(due)
    }

    /// Whether the time of any message has come.
    pub fn any_scheduled_due(&mut self, now: Millis) -> Result<bool, StoreError> {
        let row = self.query_opt(
            "SELECT s.message_id FROM scheduled_messages AS s WHERE s.due_at <= ?1 LIMIT 1",
            params![now],
        )?;
        Ok(row.is_some())
    }

    /// How many messages of a channel wait for their time, up to a limit.
    pub fn scheduled_count(&mut self, channel: &ChannelId, limit: u32) -> Result<i64, StoreError> {
        let row = self.query_opt(
            "SELECT COUNT(*) FROM (SELECT 1 AS one FROM scheduled_messages WHERE channel_id = ?1 LIMIT ?2) AS q",
            params![&channel.0, limit],
        )?;
        row.map_or(Ok(0), |row| row.get(0))
    }

    /// Remembers the id that Meta knew a message by before it was queued again.
    pub fn insert_former_external_id(
        &mut self,
        channel: &ChannelId,
        external_id: &str,
        message: MessageId,
    ) -> Result<(), StoreError> {
        self.send(
            "INSERT INTO former_external_ids (channel_id, external_id, message_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![&channel.0, external_id, &message],
        )
    }

    /// Which of these ids are ones that Meta knew a message by before it was queued again, and which message.
    pub fn messages_of_former_external_ids(
        &mut self,
        keys: &[(ChannelId, String)],
    ) -> Result<HashMap<(ChannelId, String), MessageId>, StoreError> {
        let rows = Rows::of_channels(keys);
        let found = self.query_rows(
            "SELECT f.channel_id, f.external_id, f.message_id FROM {each r: channel_id text, external_id text} former_external_ids AS f
             WHERE f.channel_id = r.channel_id AND f.external_id = r.external_id",
            &rows,
        )?;
        by_channel(&found)
    }

    /// Makes what waits on a pause due at a time, some of a channel's; answers with how many. What is scheduled, under way, or of unknown
    /// outcome stays as it is.
    pub fn release_waiting_entries(&mut self, channel: &ChannelId, now: Millis, limit: u32) -> Result<u64, StoreError> {
        self.execute(
            "UPDATE outbox SET due_at = ?2, waits_for = 'turn', head = CASE WHEN head > 1 THEN 2 ELSE head END
             WHERE message_id IN (SELECT o.message_id FROM outbox AS o
                WHERE o.channel_id = ?1 AND o.head IN (0, 1, 2, 3) AND o.state = 'waiting' AND o.priority IN (0, 1, 2) AND o.due_at > ?2
                LIMIT ?3 {take o})",
            params![&channel.0, now, limit],
        )
    }

    /// Makes one entry that waits due at a time; false if it does not wait (any more).
    pub fn release_entry(&mut self, message: MessageId, now: Millis) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE outbox SET due_at = ?2, waits_for = 'turn', head = CASE WHEN head > 1 THEN 2 ELSE head END
             WHERE message_id = ?1 AND state = 'waiting'",
            params![&message, now],
        )?;
        Ok(changed == 1)
    }

    /// Since when the oldest entry of a channel waits.
    pub fn oldest_entry(&mut self, channel: &ChannelId) -> Result<Option<(MessageId, Millis)>, StoreError> {
        self.query_opt(
            "SELECT message_id, queued_at FROM outbox WHERE channel_id = ?1 ORDER BY queued_at LIMIT 1",
            params![&channel.0],
        )?
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .transpose()
    }

    /// The attempts of a channel since one, the last ones first, as many as the limit says: how many there are, how many of them were accepted,
    /// and when the first of them began.
    pub fn attempts_lately(
        &mut self,
        channel: &ChannelId,
        since: AttemptId,
        limit: u32,
    ) -> Result<AttemptsLately, StoreError> {
        let row = self.query_opt(
            "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN q.outcome = 'accepted' THEN 1 ELSE 0 END), 0) AS BIGINT), MIN(q.started_at)
             FROM (SELECT a.outcome AS outcome, a.started_at AS started_at FROM attempts AS a WHERE a.channel_id = ?1 AND a.id >= ?2
                ORDER BY a.id DESC LIMIT ?3) AS q",
            params![&channel.0, &since, limit],
        )?;
        row.map_or(Ok(AttemptsLately::default()), |row| {
            Ok(AttemptsLately {
                count: row.get(0)?,
                accepted: row.get(1)?,
                begun_at: row.get(2)?,
            })
        })
    }

    /// Messages of both directions and all channels, the last made first, after one of them.
    pub fn recent_messages(&mut self, after: Option<MessageId>, limit: u32) -> Result<Vec<Message>, StoreError> {
        let after = after.unwrap_or(MessageId::MAX);
        let rows = self.query(
            "SELECT m.id FROM messages AS m WHERE m.id < ?1 ORDER BY m.id DESC LIMIT ?2",
            params![&after, limit],
        )?;
        let ids: Vec<MessageId> = rows.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        let mut messages = self.messages_by_ids(&ids)?;
        messages.sort_by_key(|message| std::cmp::Reverse(message.id));
        Ok(messages)
    }

    /// Messages that failed or expired, the last made first, on one channel or on all, made from a time on, after a place in the list.
    pub fn ended_messages(
        &mut self,
        channel: Option<&ChannelId>,
        since: Millis,
        after: Option<EndedPlace>,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let after = after.unwrap_or(EndedPlace {
            created_at: Millis::MAX,
            id: MessageId::MAX,
        });
        let rows = match channel {
            None => self.query(
                "SELECT m.id FROM messages AS m WHERE m.status IN ('failed', 'expired') AND m.created_at >= ?1
                    AND (m.created_at, m.id) < (?2, ?3) ORDER BY m.created_at DESC, m.id DESC LIMIT ?4",
                params![since, after.created_at, &after.id, limit],
            )?,
            Some(channel) => self.query(
                "SELECT m.id FROM messages AS m WHERE m.channel_id = ?5 AND m.status IN ('failed', 'expired') AND m.created_at >= ?1
                    AND (m.created_at, m.id) < (?2, ?3) ORDER BY m.created_at DESC, m.id DESC LIMIT ?4",
                params![since, after.created_at, &after.id, limit, &channel.0],
            )?,
        };
        let ids: Vec<MessageId> = rows.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        let mut messages = self.messages_by_ids(&ids)?;
        messages.sort_by_key(|message| std::cmp::Reverse((message.created_at, message.id)));
        Ok(messages)
    }
}

fn parsed<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::corrupt(column, "holds no content that we know"))
}

fn terms(row: &Row) -> Result<Terms, StoreError> {
    let fallback: Option<String> = row.get(5)?;
    let fallback = match fallback {
        None => None,
        Some(template) => Some(Fallback {
            template: parsed(5, &template)?,
            taken: match row.get(6)? {
                None => None,
                Some(at) => Some(FallbackTaken {
                    at,
                    reason: row.get::<Option<String>>(7)?.unwrap_or_default(),
                    said: parsed(8, &row.get::<Option<String>>(8)?.unwrap_or_default())?,
                }),
            },
        }),
    };
    Ok(Terms {
        message_id: row.get(0)?,
        channel_id: ChannelId(row.get(1)?),
        purpose: row.get(2)?,
        priority: row.get(3)?,
        expires_at: row.get(4)?,
        fallback,
    })
}

fn scheduled(row: &Row) -> Result<Scheduled, StoreError> {
    Ok(Scheduled {
        message_id: row.get(0)?,
        channel_id: ChannelId(row.get(1)?),
        conversation_id: row.get(2)?,
        priority: row.get(3)?,
        due_at: row.get(4)?,
        expires_at: row.get(5)?,
        queued_at: row.get(6)?,
    })
}

impl FromValue for Purpose {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
