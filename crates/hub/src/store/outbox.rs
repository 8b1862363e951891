//! Statements about the outbox, attempts, and idempotency keys.
//!
//! Only the first entry of a conversation is its *head*; only heads are ever looked for. So what is due is found by one walk along an
//! index, however much waits behind, and the order within a conversation cannot be broken by a query.
//!
//! A conversation has at most one head that waits. (It can have two that are under way, when two conversations are merged.)

use super::value::{FromValue, Row, Rows, Value, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Failure, Millis};
use crate::ids::{AttemptId, ConversationId, MessageId};
use crate::sending::model::{Attempt, AttemptEnd, EntryState, OutboxEntry};

/// The columns that [`entry`] reads, of the alias `o`.
macro_rules! select_entries {
    ($rest:literal) => {
        concat!(
            "SELECT o.message_id, o.channel_id, o.conversation_id, o.position, o.state, o.priority, o.due_at, o.expires_at, o.attempts,
                o.attempt_id, o.reason, o.queued_at ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// Puts an entry behind those of its conversation, whose row the unit has locked.
    pub fn insert_outbox(&mut self, entry: &OutboxEntry) -> Result<(), StoreError> {
        let head = !self.lock_head(&entry.channel_id, entry.conversation_id)?;
        self.execute(
            "INSERT INTO outbox (message_id, channel_id, conversation_id, position, head, state, priority, due_at, expires_at, attempts,
                attempt_id, reason, queued_at)
             VALUES (?1, ?2, ?3, ?4, ?13, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                &entry.message_id,
                &entry.channel_id.0,
                &entry.conversation_id,
                entry.position,
                entry.state.as_str(),
                entry.priority,
                entry.due_at,
                entry.expires_at,
                entry.attempts,
                &entry.attempt_id,
                &entry.reason,
                entry.queued_at,
                head,
            ],
        )?;
        Ok(())
    }

    /// Whether a conversation has a head, which is then locked: whoever takes it out makes the next entry the head, and must not do so
    /// before they can see the one that is being put behind it.
    fn lock_head(&mut self, channel: &ChannelId, conversation: ConversationId) -> Result<bool, StoreError> {
        const LOOKS_MAX: usize = 100;
        for _ in 0..LOOKS_MAX {
            let head = self.query_opt(
                "SELECT o.message_id FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?2 AND o.head = 1 {lock o}",
                params![&channel.0, &conversation],
            )?;
            if head.is_some() {
                return Ok(true);
            }
            // The head that was waited for is gone: either another entry is the head now, or none is left.
            let any = self.query_opt(
                "SELECT o.message_id FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?2 LIMIT 1",
                params![&channel.0, &conversation],
            )?;
            if any.is_none() {
                return Ok(false);
            }
        }
        // Heads cannot change that often under one look each: the conversation has lost its head, and gets one.
        self.promote_head(channel, conversation)?;
        Ok(true)
    }

    /// Heads of a channel that are due, locked until the unit ends: those of unknown outcome, a quarter of the limit at most (but one
    /// at least), so that no backlog starves them; then those that wait, the most urgent first.
    ///
    /// One of unknown outcome stays as long as an event waits to be understood that came in before it was due: it may be the one that
    /// tells the outcome.
    pub fn take_due_entries(
        &mut self,
        channel: &ChannelId,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let rows = self.query(
            select_entries!(
                "FROM outbox AS o WHERE o.channel_id = ?1 AND o.head = 1 AND o.state = 'unknown' AND o.due_at <= ?2
                    AND NOT EXISTS (SELECT 1 FROM event_queue AS q WHERE q.due_at <= o.due_at)
                 ORDER BY o.due_at, o.message_id LIMIT ?3 {take o}"
            ),
            params![&channel.0, now, (limit / 4).max(1).min(limit)],
        )?;
        let unknown: Vec<OutboxEntry> = rows.iter().map(entry).collect::<Result<_, _>>()?;
        let rows = self.query(
            select_entries!(
                "FROM outbox AS o WHERE o.channel_id = ?1 AND o.head = 1 AND o.state = 'waiting' AND o.due_at <= ?2
                 ORDER BY o.priority, o.due_at, o.message_id LIMIT ?3 {take o}"
            ),
            params![&channel.0, now, limit.saturating_sub(unknown.len() as u32)],
        )?;
        let mut due = unknown;
        for row in &rows {
            due.push(entry(row)?);
        }
        Ok(due)
    }

    /// When the next head of a channel is due; those that wait for events to be understood are left out.
    pub fn next_entry_due(&mut self, channel: &ChannelId) -> Result<Option<Millis>, StoreError> {
        let row = self.query_opt(
            "SELECT MIN(due_at) FROM (
                SELECT MIN(due_at) AS due_at FROM outbox WHERE channel_id = ?1 AND head = 1 AND state = 'waiting'
                UNION ALL SELECT MIN(o.due_at) FROM outbox AS o WHERE o.channel_id = ?1 AND o.head = 1 AND o.state = 'unknown'
                    AND NOT EXISTS (SELECT 1 FROM event_queue AS q WHERE q.due_at <= o.due_at)) AS d",
            params![&channel.0],
        )?;
        row.map_or(Ok(None), |row| row.get(0))
    }

    /// An entry, locked until the unit ends; `None` once it is done with.
    pub fn lock_entry(&mut self, message: MessageId) -> Result<Option<OutboxEntry>, StoreError> {
        self.query_opt(
            select_entries!("FROM outbox AS o WHERE o.message_id = ?1 {lock o}"),
            params![&message],
        )?
        .map(|row| entry(&row))
        .transpose()
    }

    /// Marks entries as being sent, by this process, until a time after which another one may wonder what became of them.
    pub fn mark_sending(
        &mut self,
        entries: &[(MessageId, AttemptId)],
        owner: &str,
        leased_until: Millis,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for (message, attempt) in entries {
            rows.push(params![message, attempt, owner, leased_until]);
        }
        self.execute_rows(
            "UPDATE outbox SET state = 'sending', attempt_id = r.attempt_id, owner = r.owner, leased_until = r.leased_until, reason = NULL
             {from r: id blob, attempt_id blob, owner text, leased_until int} WHERE outbox.message_id = r.id",
            &rows,
        )?;
        Ok(())
    }

    /// Puts an entry back: waiting, or of unknown outcome, until it is due.
    pub fn postpone_entry(
        &mut self,
        message: MessageId,
        state: EntryState,
        due_at: Millis,
        attempts: u32,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE outbox SET state = ?2, due_at = ?3, attempts = ?4, reason = ?5, owner = NULL, leased_until = NULL WHERE message_id = ?1",
            params![&message, state.as_str(), due_at, attempts, reason],
        )?;
        // After a merge another entry of the conversation may be under way, or wait as its head: this one goes behind it.
        self.execute(
            "UPDATE outbox SET head = 0 WHERE message_id = ?1 AND state = 'waiting' AND head = 1 AND EXISTS (
                SELECT 1 FROM outbox AS o WHERE o.channel_id = outbox.channel_id AND o.conversation_id = outbox.conversation_id
                AND o.head = 1 AND o.message_id <> outbox.message_id)",
            params![&message],
        )?;
        Ok(())
    }

    /// Gives the entries of a channel whose outcome is unknown until a time at least; answers with how many are due later for it.
    pub fn postpone_unknown_entries(&mut self, channel: &ChannelId, due_at: Millis) -> Result<u64, StoreError> {
        self.execute(
            "UPDATE outbox SET due_at = ?2 WHERE channel_id = ?1 AND head = 1 AND state = 'unknown' AND due_at < ?2",
            params![&channel.0, due_at],
        )
    }

    /// Takes an entry out: the next one of its conversation becomes the head.
    pub fn remove_entry(&mut self, entry: &OutboxEntry) -> Result<(), StoreError> {
        // Its conversation may have been merged into another one since the entry was read.
        let removed = self.query_opt(
            "DELETE FROM outbox WHERE message_id = ?1 RETURNING channel_id, conversation_id",
            params![&entry.message_id],
        )?;
        let Some(removed) = removed else { return Ok(()) };
        self.promote_head(&ChannelId(removed.get(0)?), removed.get(1)?)
    }

    /// Makes the first entry of a conversation its head, if it has entries and no head.
    pub fn promote_head(&mut self, channel: &ChannelId, conversation: ConversationId) -> Result<(), StoreError> {
        self.execute(
            "UPDATE outbox SET head = 1 WHERE channel_id = ?1 AND conversation_id = ?2 AND position =
                (SELECT MIN(o.position) FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?2)
             AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?2 AND o.head = 1)",
            params![&channel.0, &conversation],
        )?;
        Ok(())
    }

    /// Brings the entries of one conversation behind those of another one, both in their order.
    pub(super) fn merge_outbox(
        &mut self,
        channel: &ChannelId,
        from: ConversationId,
        into: ConversationId,
    ) -> Result<(), StoreError> {
        // What is under way stays a head until it is done.
        self.execute(
            "UPDATE outbox SET conversation_id = ?3, head = CASE WHEN state = 'waiting' THEN 0 ELSE head END, position = position +
                COALESCE((SELECT MAX(o.position) FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?3), 0)
             WHERE channel_id = ?1 AND conversation_id = ?2",
            params![&channel.0, &from, &into],
        )?;
        self.execute(
            "UPDATE outbox SET head = 0 WHERE channel_id = ?1 AND conversation_id = ?2 AND head = 1 AND state = 'waiting'
             AND EXISTS (SELECT 1 FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?2 AND o.head = 1
                AND o.state <> 'waiting')",
            params![&channel.0, &into],
        )?;
        self.promote_head(channel, into)
    }

    /// An event has told that Meta has this message: if its outcome was unknown, or it waits to be sent again since then, its entry is done
    /// with. One that is being sent is settled by its sender.
    pub fn settle_outbox_by_event(&mut self, message: MessageId) -> Result<(), StoreError> {
        match self.lock_entry(message)? {
            Some(entry) if entry.state != EntryState::Sending => {
                // Of several it is the last one: the others had their time to be told of, and were repeated because nothing came.
                self.execute(
                    "UPDATE attempts SET outcome = 'accepted' WHERE id = (SELECT a.id FROM attempts AS a
                        WHERE a.message_id = ?1 AND a.outcome = 'unknown' ORDER BY a.id DESC LIMIT 1)",
                    params![&message],
                )?;
                self.remove_entry(&entry)
            }
            _ => Ok(()),
        }
    }

    /// Entries that a process has left behind: being sent under a lease that has run out, or, with `all`, at all.
    pub fn entries_left_behind(&mut self, now: Millis, all: bool, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        let until = if all { Millis::MAX } else { now };
        let rows = self.query(
            select_entries!(
                "FROM outbox AS o WHERE o.state = 'sending' AND o.leased_until <= ?1 ORDER BY o.leased_until LIMIT ?2 {take o}"
            ),
            params![until, limit],
        )?;
        rows.iter().map(entry).collect()
    }

    /// How many entries wait on each channel, by state; counts up to `limit` of each.
    pub fn outbox_lengths(&mut self, channel: &ChannelId, state: EntryState, limit: u32) -> Result<i64, StoreError> {
        let row = self.query_opt(
            "SELECT COUNT(*) FROM (SELECT 1 AS one FROM outbox WHERE channel_id = ?1 AND head IN (0, 1) AND state = ?2 LIMIT ?3) AS q",
            params![&channel.0, state.as_str(), limit],
        )?;
        row.map_or(Ok(0), |row| row.get(0))
    }

    /// Keeps attempts that begin now.
    pub fn insert_attempts(&mut self, attempts: &[Attempt]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for attempt in attempts {
            rows.push(params![
                &attempt.id,
                &attempt.message_id,
                &attempt.channel_id.0,
                attempt.started_at,
                &attempt.request
            ]);
        }
        self.execute_rows(
            "INSERT INTO attempts (id, message_id, channel_id, started_at, request)
             {insert r.id, r.message_id, r.channel_id, r.started_at, r.request of r: id blob, message_id blob, channel_id text, started_at int, request text}",
            &rows,
        )?;
        Ok(())
    }

    /// The entry of a message, if it still has to be sent.
    pub fn entry_of_message(&mut self, message: MessageId) -> Result<Option<OutboxEntry>, StoreError> {
        self.query_opt(
            select_entries!("FROM outbox AS o WHERE o.message_id = ?1"),
            params![&message],
        )?
        .map(|row| entry(&row))
        .transpose()
    }

    /// Notes how an attempt ended.
    pub fn finish_attempt(&mut self, id: AttemptId, end: &AttemptEnd) -> Result<(), StoreError> {
        let failure = end.failure.as_ref();
        self.execute(
            "UPDATE attempts SET finished_at = ?2, outcome = ?3, http_status = ?4, error_code = ?5, error_subcode = ?6, error_text = ?7,
                answer = ?8, duration_micros = ?9 WHERE id = ?1",
            params![
                &id,
                end.at,
                &end.outcome,
                end.http_status,
                failure.map(|failure| failure.code),
                failure.and_then(|failure| failure.subcode),
                failure.map(|failure| failure.text.as_str()),
                &end.answer,
                end.duration_micros,
            ],
        )?;
        Ok(())
    }

    /// The attempts of a message, the first one first.
    pub fn attempts_of_message(&mut self, message: MessageId) -> Result<Vec<Attempt>, StoreError> {
        let rows = self.query(
            "SELECT id, message_id, channel_id, started_at, request, finished_at, outcome, http_status, error_code, error_subcode,
                error_text, answer, duration_micros
             FROM attempts WHERE message_id = ?1 ORDER BY id LIMIT 1000",
            params![&message],
        )?;
        rows.iter().map(attempt).collect()
    }

    /// What was answered to a request with this key, and the fingerprint of that request.
    pub fn idempotent_answer(&mut self, caller: &str, key: &str) -> Result<Option<(Vec<u8>, String)>, StoreError> {
        self.query_opt(
            "SELECT fingerprint, answer FROM idempotency_keys WHERE caller = ?1 AND key = ?2",
            params![caller, key],
        )?
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .transpose()
    }

    /// Keeps what is answered to a request with a key; false if another request with it came first.
    pub fn insert_idempotent_answer(
        &mut self,
        caller: &str,
        key: &str,
        fingerprint: &[u8],
        answer: &str,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let inserted = self.execute(
            "INSERT INTO idempotency_keys (caller, key, fingerprint, answer, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
            params![caller, key, fingerprint, answer, now],
        )?;
        Ok(inserted == 1)
    }

    /// Forgets keys from before a time, a thousand at most; answers with how many.
    pub fn prune_idempotency_keys(&mut self, before: Millis) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM idempotency_keys WHERE (caller, key) IN
                (SELECT caller, key FROM idempotency_keys WHERE created_at < ?1 ORDER BY created_at LIMIT 1000)",
            params![before],
        )
    }
}

fn entry(row: &Row) -> Result<OutboxEntry, StoreError> {
    Ok(OutboxEntry {
        message_id: row.get(0)?,
        channel_id: ChannelId(row.get(1)?),
        conversation_id: row.get(2)?,
        position: row.get(3)?,
        state: row.get(4)?,
        priority: row.get(5)?,
        due_at: row.get(6)?,
        expires_at: row.get(7)?,
        attempts: row.get(8)?,
        attempt_id: row.get(9)?,
        reason: row.get(10)?,
        queued_at: row.get(11)?,
    })
}

fn attempt(row: &Row) -> Result<Attempt, StoreError> {
    let finished_at: Option<Millis> = row.get(5)?;
    let code: Option<i64> = row.get(8)?;
    let (subcode, text): (Option<i64>, Option<String>) = (row.get(9)?, row.get(10)?);
    let ended = match finished_at {
        None => None,
        Some(at) => Some(AttemptEnd {
            at,
            outcome: row.get::<Option<String>>(6)?.unwrap_or_default(),
            http_status: row.get::<Option<i64>>(7)?.and_then(|status| u16::try_from(status).ok()),
            failure: code.map(|code| Failure {
                code,
                subcode,
                text: text.unwrap_or_default(),
            }),
            answer: row.get(11)?,
            duration_micros: row.get::<Option<i64>>(12)?.unwrap_or(0),
        }),
    };
    Ok(Attempt {
        id: row.get(0)?,
        message_id: row.get(1)?,
        channel_id: ChannelId(row.get(2)?),
        started_at: row.get(3)?,
        request: row.get(4)?,
        ended,
    })
}

impl FromValue for EntryState {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
