//! Statements about the outbox, attempts, and idempotency keys.
//!
//! Only the first entry of a conversation is its *head*; only heads are ever looked for. So what is due is found by one walk along an
//! index, however much waits behind, and the order within a conversation cannot be broken by a query.
//!
//! An entry that may not go for long, for a reason that does not concern those behind it, is set *aside*: it is no head, and in nobody's way,
//! until it is recalled ([`Aside`]). Then it has its old place in the order, before everything that has not gone meanwhile, and so have those
//! that were set aside before it for the same reason.
//!
//! An entry makes those before it in its conversation as urgent as it is itself: else an answer behind a campaign's message would wait for the
//! whole campaign. What is set aside becomes so when it is recalled.
//!
//! A conversation has at most one head that waits. (It can have two that are under way, when two conversations are merged.)
//!
//! The column `head`: 0 behind its head; 1 the head; 2 set aside until it is due; 3 until there is room.

use std::collections::HashSet;

use super::value::{FromValue, Row, Rows, Value, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Failure, Millis};
use crate::ids::{AttemptId, ConversationId, MessageId};
use crate::sending::model::{
    Aside, Attempt, AttemptEnd, EntryState, OutboxEntry, OutboxFigure, Postponement, Priority, Wait,
};

/// The columns that [`entry`] reads, of the alias `o`.
macro_rules! select_entries {
    ($rest:literal) => {
        concat!(
            "SELECT o.message_id, o.channel_id, o.conversation_id, o.position, o.state, o.priority, o.due_at, o.expires_at, o.attempts,
                o.attempt_id, o.reason, o.queued_at, o.waits_for ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// Puts an entry behind those of its conversation, whose row the unit has locked.
    pub fn insert_outbox(&mut self, entry: &OutboxEntry) -> Result<(), StoreError> {
        let head = !self.lock_head(&entry.channel_id, entry.conversation_id)?;
        if !head {
            self.hurry_before(entry)?;
        }
        self.send(
            "INSERT INTO outbox (message_id, channel_id, conversation_id, position, head, state, priority, due_at, expires_at, attempts,
                attempt_id, reason, queued_at, waits_for)
             VALUES (?1, ?2, ?3, ?4, ?13, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?14)",
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
                entry.waits_for.as_str(),
            ],
        )
    }

    /// Makes what is before a new entry in its conversation as urgent as that is. Of those that are not set aside none is less urgent than one
    /// behind it, so the last one tells whether there is any to be made so.
    fn hurry_before(&mut self, entry: &OutboxEntry) -> Result<(), StoreError> {
        let last = self.query_opt(
            "SELECT priority FROM outbox WHERE channel_id = ?1 AND conversation_id = ?2 AND head < 2 ORDER BY position DESC LIMIT 1",
            params![&entry.channel_id.0, &entry.conversation_id],
        )?;
        if let Some(last) = last
            && last.get::<i64>(0)? > entry.priority
        {
            self.send(
                "UPDATE outbox SET priority = ?3 WHERE channel_id = ?1 AND conversation_id = ?2 AND priority > ?3 AND head < 2",
                params![&entry.channel_id.0, &entry.conversation_id, entry.priority],
            )?;
        }
        Ok(())
    }

    /// Whether a conversation has a head, which is then locked: whoever takes it out makes the next entry the head, and must not do so
    /// before they can see the one that is being put behind it.
    fn lock_head(&mut self, channel: &ChannelId, conversation: ConversationId) -> Result<bool, StoreError> {
        const LOOKS_MAX: usize = 100;
        let mut has_locked_those_aside = false;
        for _ in 0..LOOKS_MAX {
            let head = self.query_opt(
                "SELECT o.message_id FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?2 AND +o.head = 1 {lock o}",
                params![&channel.0, &conversation],
            )?;
            if head.is_some() {
                return Ok(true);
            }
            // The head that was waited for is gone: either another entry is the head now, or none is left but those that are set aside.
            let any = self.query_opt(
                "SELECT o.head FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?2 ORDER BY +o.head LIMIT 1",
                params![&channel.0, &conversation],
            )?;
            match any.map(|row| row.get::<i64>(0)).transpose()? {
                None => return Ok(false),
                Some(0 | 1) => {}
                Some(_) if has_locked_those_aside => return Ok(false),
                // One of them may be on its way back and become the head: whoever recalls it has locked it.
                Some(_) => {
                    self.query(
                        "SELECT o.message_id FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?2 AND +o.head > 1
                         ORDER BY o.position {lock o}",
                        params![&channel.0, &conversation],
                    )?;
                    has_locked_those_aside = true;
                }
            }
        }
        // Heads cannot change that often under one look each: the conversation has lost its head, and gets one.
        self.promote_head(channel, conversation)?;
        Ok(true)
    }

    /// Heads of a channel that wait and are due, of one priority, locked until the unit ends: the longest due first.
    pub fn take_due_entries(
        &mut self,
        channel: &ChannelId,
        priority: Priority,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let rows = self.query(
            select_entries!(
                "FROM outbox AS o WHERE o.channel_id = ?1 AND o.head = 1 AND o.state = 'waiting' AND o.priority = ?2 AND o.due_at <= ?3
                 ORDER BY o.due_at, o.message_id LIMIT ?4 {take o}"
            ),
            params![&channel.0, priority as i32, now, limit],
        )?;
        rows.iter().map(entry).collect()
    }

    /// Entries of a channel whose outcome is unknown and whose time is up, locked until the unit ends: the longest due first.
    ///
    /// One stays as long as an event waits to be understood that came in before it was due: it may be the one that tells the outcome.
    pub fn take_unknown_entries(
        &mut self,
        channel: &ChannelId,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut due = Vec::new();
        for priority in Priority::ALL {
            let rows = self.query(
                select_entries!(
                    "FROM outbox AS o WHERE o.channel_id = ?1 AND o.head = 1 AND o.state = 'unknown' AND o.priority = ?2 AND o.due_at <= ?3
                        AND NOT EXISTS (SELECT 1 FROM event_queue AS q WHERE q.due_at <= o.due_at)
                     ORDER BY o.due_at, o.message_id LIMIT ?4 {take o}"
                ),
                params![&channel.0, priority as i32, now, limit],
            )?;
            for row in &rows {
                due.push(entry(row)?);
            }
        }
        due.sort_by_key(|entry| (entry.due_at, entry.message_id));
        due.truncate(limit as usize);
        Ok(due)
    }

    /// Whether the outcome of a message is unknown, its time is up, and no event waits to be understood that may tell of it.
    pub fn is_unknown_up(&mut self, message: MessageId, now: Millis) -> Result<bool, StoreError> {
        let row = self.query_opt(
            "SELECT o.message_id FROM outbox AS o WHERE o.message_id = ?1 AND o.state = 'unknown' AND o.due_at <= ?2
                AND NOT EXISTS (SELECT 1 FROM event_queue AS q WHERE q.due_at <= o.due_at)",
            params![&message, now],
        )?;
        Ok(row.is_some())
    }

    /// Whether anything is to be ended by [`Tx::take_expired_entries`].
    pub fn any_entry_expired(&mut self, now: Millis) -> Result<bool, StoreError> {
        let row = self.query_opt(
            "SELECT o.message_id FROM outbox AS o WHERE o.expires_at <= ?1 AND (o.state = 'waiting' OR (o.state = 'unknown'
                AND o.due_at <= ?1 AND NOT EXISTS (SELECT 1 FROM event_queue AS q WHERE q.due_at <= o.due_at))) LIMIT 1",
            params![now],
        )?;
        Ok(row.is_some())
    }

    /// Entries of all channels, heads or not, that may not be sent any more, locked until the unit ends: the longest expired first. One of
    /// unknown outcome is left until its time is up, and as long as an event waits to be understood that may tell of it.
    pub fn take_expired_entries(&mut self, now: Millis, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        let rows = self.query(
            select_entries!(
                "FROM outbox AS o WHERE o.expires_at <= ?1 AND (o.state = 'waiting' OR (o.state = 'unknown' AND o.due_at <= ?1
                    AND NOT EXISTS (SELECT 1 FROM event_queue AS q WHERE q.due_at <= o.due_at)))
                 ORDER BY o.expires_at LIMIT ?2 {take o}"
            ),
            params![now, limit],
        )?;
        rows.iter().map(entry).collect()
    }

    /// When the next head of a channel is due after a time; those that wait for events to be understood are left out.
    pub fn next_entry_due(&mut self, channel: &ChannelId, after: Millis) -> Result<Option<Millis>, StoreError> {
        let mut next: Option<Millis> = None;
        for priority in Priority::ALL {
            let waiting = self.query_opt(
                "SELECT due_at FROM outbox WHERE channel_id = ?1 AND head = 1 AND state = 'waiting' AND priority = ?2 AND due_at > ?3
                 ORDER BY due_at LIMIT 1",
                params![&channel.0, priority as i32, after],
            )?;
            let unknown = self.query_opt(
                "SELECT o.due_at FROM outbox AS o WHERE o.channel_id = ?1 AND o.head = 1 AND o.state = 'unknown' AND o.priority = ?2
                    AND o.due_at > ?3 AND NOT EXISTS (SELECT 1 FROM event_queue AS q WHERE q.due_at <= o.due_at)
                 ORDER BY o.due_at LIMIT 1",
                params![&channel.0, priority as i32, after],
            )?;
            for row in [waiting, unknown].into_iter().flatten() {
                let due_at: Millis = row.get(0)?;
                next = Some(next.map_or(due_at, |next| next.min(due_at)));
            }
        }
        Ok(next)
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

    /// These entries, locked until the unit ends; those that are done with are absent.
    pub fn lock_entries(&mut self, messages: &[MessageId]) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut rows = Rows::new();
        for message in messages {
            rows.push(params![message]);
        }
        let found = self.query_rows(
            select_entries!(
                "FROM {each r: id blob} outbox AS o WHERE o.message_id = r.id ORDER BY o.message_id {lock o}"
            ),
            &rows,
        )?;
        found.iter().map(entry).collect()
    }

    /// Marks entries as being sent, by this owner, until a time after which it may be wondered what became of them.
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
        self.send_rows(
            "UPDATE outbox SET state = 'sending', attempt_id = r.attempt_id, owner = r.owner, leased_until = r.leased_until,
                waits_for = 'turn', reason = NULL
             {from r: id blob, attempt_id blob, owner text, leased_until int} WHERE outbox.message_id = r.id",
            &rows,
        )
    }

    /// Puts entries back. Behind those that are set aside the next ones of their conversations become the heads.
    pub fn postpone_entries(&mut self, postponed: &[Postponement]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        let mut waiting = Rows::new();
        let mut aside = Rows::new();
        for entry in postponed {
            if entry.aside.is_some() {
                aside.push(params![&entry.message_id]);
            }
            rows.push(params![
                &entry.message_id,
                entry.state.as_str(),
                entry.due_at,
                entry.attempts,
                entry.waits_for.as_str(),
                &entry.reason,
                entry.aside.map_or(0, head_of),
            ]);
            if entry.state == EntryState::Waiting {
                waiting.push(params![&entry.message_id]);
            }
        }
        self.send_rows(
            "UPDATE outbox SET state = r.state, due_at = r.due_at, attempts = r.attempts, waits_for = r.waits_for, reason = r.reason,
                head = CASE WHEN r.head > 1 THEN r.head ELSE outbox.head END, owner = NULL, leased_until = NULL
             {from r: id blob, state text, due_at int, attempts int, waits_for text, reason text, head int}
             WHERE outbox.message_id = r.id",
            &rows,
        )?;
        // After a merge another entry of the conversation may be under way, or wait as its head: this one goes behind it.
        self.send_rows(
            "UPDATE outbox SET head = 0 {from r: id blob} WHERE outbox.message_id = r.id
                AND outbox.state {postgres || ''} = 'waiting' AND outbox.head {postgres + 0} = 1 AND EXISTS (SELECT 1 FROM outbox AS o WHERE o.channel_id = outbox.channel_id
                    AND o.conversation_id = outbox.conversation_id AND +o.head = 1 AND o.message_id <> outbox.message_id)",
            &waiting,
        )?;
        let left = self.query_rows(
            "SELECT o.channel_id, o.conversation_id FROM {each r: id blob} outbox AS o WHERE o.message_id = r.id",
            &aside,
        )?;
        self.promote_heads(&left)
    }

    /// Recalls entries of a channel that were set aside until they are due, and are, `limit` at most; answers with how many.
    pub fn recall_entries(&mut self, channel: &ChannelId, now: Millis, limit: u32) -> Result<usize, StoreError> {
        let rows = self.query(
            "SELECT o.conversation_id, o.position, o.waits_for FROM outbox AS o
             WHERE o.channel_id = ?1 AND o.head > 1 AND o.head = 2 AND o.due_at <= ?2 ORDER BY o.due_at LIMIT ?3 {take o}",
            params![&channel.0, now, limit],
        )?;
        self.recall(channel, &rows, now)?;
        Ok(rows.len())
    }

    /// Whether an entry of a channel is set aside until there is room.
    pub fn any_entry_waits_for_room(&mut self, channel: &ChannelId) -> Result<bool, StoreError> {
        let row = self.query_opt(
            "SELECT o.message_id FROM outbox AS o
             WHERE o.channel_id = ?1 AND o.head > 1 AND o.head = 3 ORDER BY o.due_at LIMIT 1",
            params![&channel.0],
        )?;
        Ok(row.is_some())
    }

    /// Recalls entries of a channel that were set aside until there is room, since there is room for so many: the most urgent first, and of those
    /// the longest due. Answers with how many.
    pub fn recall_entries_for_room(&mut self, channel: &ChannelId, now: Millis, room: u32) -> Result<u32, StoreError> {
        let mut recalled = 0;
        for priority in Priority::ALL {
            let left = room.saturating_sub(recalled);
            if left == 0 {
                break;
            }
            let rows = self.query(
                "SELECT o.conversation_id, o.position, o.waits_for FROM outbox AS o
                 WHERE o.channel_id = ?1 AND o.head = 3 AND o.state = 'waiting' AND o.priority = ?2
                 ORDER BY o.due_at, o.message_id LIMIT ?3 {take o}",
                params![&channel.0, priority as i32, left],
            )?;
            recalled += rows.len() as u32;
            self.recall(channel, &rows, now)?;
        }
        Ok(recalled)
    }

    /// Gives entries that were set aside their places back, and with each those that were set aside before it in its conversation for the same
    /// reason: the order of these stays what it was. `found`: conversation, position and reason.
    ///
    /// Those whose conversation has a head that somebody has in hand are left for the next time: whoever takes it out would not see that there is
    /// one to be made the head again, nor would this unit see that there is no head any more.
    fn recall(&mut self, channel: &ChannelId, found: &[Row], now: Millis) -> Result<(), StoreError> {
        let mut known = Vec::with_capacity(found.len());
        for row in found {
            let place: (ConversationId, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            known.push(place);
        }
        let mut rows = Rows::new();
        let mut of: Vec<ConversationId> = known.iter().map(|(conversation, _, _)| *conversation).collect();
        of.sort_unstable();
        of.dedup();
        for conversation in &of {
            rows.push(params![&channel.0, conversation]);
        }
        let heads = self.query_rows(
            "SELECT o.conversation_id FROM {each r: channel_id text, conversation_id blob} outbox AS o
             WHERE o.channel_id = r.channel_id AND o.conversation_id = r.conversation_id AND +o.head = 1",
            &rows,
        )?;
        let free = self.query_rows(
            "SELECT o.conversation_id FROM {each r: channel_id text, conversation_id blob} outbox AS o
             WHERE o.channel_id = r.channel_id AND o.conversation_id = r.conversation_id AND +o.head = 1 {take o}",
            &rows,
        )?;
        let free: HashSet<ConversationId> = free.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        let mut in_hand: HashSet<ConversationId> = heads.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        in_hand.retain(|conversation| !free.contains(conversation));
        known.retain(|(conversation, _, _)| !in_hand.contains(conversation));
        let (mut rows, mut conversations) = (Rows::new(), Rows::new());
        for (conversation, position, waits_for) in &known {
            rows.push(params![&channel.0, conversation, *position, waits_for, now]);
            conversations.push(params![&channel.0, conversation]);
        }
        self.send_rows(
            "UPDATE outbox SET head = CASE WHEN outbox.state = 'waiting' THEN 0 ELSE 1 END,
                waits_for = CASE WHEN outbox.state = 'waiting' THEN 'turn' ELSE outbox.waits_for END,
                due_at = CASE WHEN outbox.due_at > r.now THEN r.now ELSE outbox.due_at END,
                priority = (SELECT MIN(o.priority) FROM outbox AS o WHERE o.channel_id = outbox.channel_id
                    AND o.conversation_id = outbox.conversation_id AND o.position >= outbox.position)
             {from r: channel_id text, conversation_id blob, position int, waits_for text, now int}
             WHERE outbox.channel_id = r.channel_id AND outbox.conversation_id = r.conversation_id AND outbox.position <= r.position
                AND +outbox.head > 1 AND outbox.waits_for = r.waits_for",
            &rows,
        )?;
        self.promote(&conversations)
    }

    /// Puts entries back whose attempt was not made after all, as if it had never been begun; answers with how many.
    ///
    /// Whoever took the channel over may have called their outcome unknown meanwhile: who began an attempt knows better.
    pub fn release_entries(&mut self, unsent: &[(OutboxEntry, AttemptId)], due_at: Millis) -> Result<u64, StoreError> {
        let (mut rows, mut waiting, mut attempts) = (Rows::new(), Rows::new(), Rows::new());
        for (before, attempt) in unsent {
            rows.push(params![
                &before.message_id,
                attempt,
                before.state.as_str(),
                due_at,
                &before.attempt_id,
                before.waits_for.as_str(),
                &before.reason,
            ]);
            waiting.push(params![&before.message_id]);
            attempts.push(params![attempt]);
        }
        let released = self.execute_rows(
            "UPDATE outbox SET state = r.state, due_at = r.due_at, attempt_id = r.before, waits_for = r.waits_for, reason = r.reason,
                owner = NULL, leased_until = NULL
             {from r: id blob, attempt_id blob, state text, due_at int, before blob, waits_for text, reason text}
             WHERE outbox.message_id = r.id AND outbox.attempt_id = r.attempt_id AND outbox.state <> 'waiting'",
            &rows,
        )?;
        self.send_rows(
            "UPDATE outbox SET head = 0 {from r: id blob} WHERE outbox.message_id = r.id
                AND outbox.state {postgres || ''} = 'waiting' AND outbox.head {postgres + 0} = 1 AND EXISTS (SELECT 1 FROM outbox AS o WHERE o.channel_id = outbox.channel_id
                    AND o.conversation_id = outbox.conversation_id AND +o.head = 1 AND o.message_id <> outbox.message_id)",
            &waiting,
        )?;
        self.send_rows("DELETE FROM attempts WHERE id {in r.id of r: id blob}", &attempts)?;
        Ok(released)
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
        self.remove_entries(&[entry.message_id])
    }

    /// Takes entries out: the next ones of their conversations become the heads.
    pub fn remove_entries(&mut self, messages: &[MessageId]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for message in messages {
            rows.push(params![message]);
        }
        // Their conversations may have been merged into others since the entries were read.
        let removed = self.query_rows(
            "DELETE FROM outbox WHERE message_id {in r.id of r: id blob} RETURNING channel_id, conversation_id",
            &rows,
        )?;
        self.promote_heads(&removed)
    }

    /// Makes the first entry of a conversation its head, if it has entries that are not set aside, and no head.
    pub fn promote_head(&mut self, channel: &ChannelId, conversation: ConversationId) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        rows.push(params![&channel.0, &conversation]);
        self.promote(&rows)
    }

    /// The same, of many: `of` begins with channel and conversation.
    fn promote_heads(&mut self, of: &[Row]) -> Result<(), StoreError> {
        let mut left = Vec::with_capacity(of.len());
        for row in of {
            left.push((row.get::<String>(0)?, row.get::<ConversationId>(1)?));
        }
        let mut rows = Rows::new();
        for (channel, conversation) in &left {
            rows.push(params![channel, conversation]);
        }
        self.promote(&rows)
    }

    /// The rows are channel and conversation. (A plus keeps an index of all heads of the channel from being taken for the way to those of one
    /// conversation.)
    fn promote(&mut self, conversations: &Rows) -> Result<(), StoreError> {
        self.send_rows(
            "UPDATE outbox SET head = 1 {from r: channel_id text, conversation_id blob}
             WHERE outbox.channel_id = r.channel_id AND outbox.conversation_id = r.conversation_id AND outbox.position =
                (SELECT MIN(o.position) FROM outbox AS o WHERE o.channel_id = r.channel_id AND o.conversation_id = r.conversation_id
                    AND +o.head = 0)
             AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.channel_id = r.channel_id AND o.conversation_id = r.conversation_id
                AND +o.head = 1)",
            conversations,
        )
    }

    /// Brings the entries of one conversation behind those of another one, both in their order.
    pub(super) fn merge_outbox(
        &mut self,
        channel: &ChannelId,
        from: ConversationId,
        into: ConversationId,
    ) -> Result<(), StoreError> {
        // What is under way stays a head until it is done, and what is set aside stays so.
        self.send(
            "UPDATE outbox SET conversation_id = ?3, head = CASE WHEN state = 'waiting' AND head = 1 THEN 0 ELSE head END, position = position +
                COALESCE((SELECT MAX(o.position) FROM outbox AS o WHERE o.channel_id = ?1 AND o.conversation_id = ?3), 0)
             WHERE channel_id = ?1 AND conversation_id = ?2",
            params![&channel.0, &from, &into],
        )?;
        self.send(
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
                self.send(
                    "UPDATE attempts SET outcome = 'accepted' WHERE id = (SELECT a.id FROM attempts AS a
                        WHERE a.message_id = ?1 AND a.outcome = 'unknown' ORDER BY a.id DESC LIMIT 1)",
                    params![&message],
                )?;
                self.remove_entry(&entry)
            }
            _ => Ok(()),
        }
    }

    /// Entries of a channel that are marked as being sent and are not: by another owner than the one that leads the channel now, or, by
    /// this one, past their time.
    pub fn entries_left_behind(
        &mut self,
        channel: &ChannelId,
        owner: &str,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let rows = self.query(
            select_entries!(
                "FROM outbox AS o WHERE o.channel_id = ?1 AND o.state = 'sending' AND (o.owner IS DISTINCT FROM ?2 OR o.leased_until <= ?3)
                 LIMIT ?4 {take o}"
            ),
            params![&channel.0, owner, now, limit],
        )?;
        rows.iter().map(entry).collect()
    }

    /// How many entries there are: by channel, state and what they wait for.
    pub fn outbox_figures(&mut self) -> Result<Vec<OutboxFigure>, StoreError> {
        let rows = self.query(
            "SELECT channel_id, state, waits_for, CAST(SUM(count) AS BIGINT) FROM outbox_counts GROUP BY channel_id, state, waits_for
             HAVING SUM(count) <> 0 ORDER BY channel_id, state, waits_for",
            params![],
        )?;
        rows.iter()
            .map(|row| {
                Ok(OutboxFigure {
                    channel_id: ChannelId(row.get(0)?),
                    state: row.get(1)?,
                    waits_for: row.get(2)?,
                    count: row.get(3)?,
                })
            })
            .collect()
    }

    /// Entries in one state of a channel that wait for one thing, the first accepted first, after a place in the list.
    pub fn outbox_entries(
        &mut self,
        channel: &ChannelId,
        state: EntryState,
        waits_for: Wait,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let after = after.unwrap_or(MessageId::MIN);
        let rows = self.query(
            select_entries!(
                "FROM outbox AS o WHERE o.channel_id = ?1 AND o.state = ?2 AND o.waits_for = ?3 AND o.message_id > ?4
                 ORDER BY o.message_id LIMIT ?5"
            ),
            params![&channel.0, state.as_str(), waits_for.as_str(), &after, limit],
        )?;
        rows.iter().map(entry).collect()
    }

    /// Makes entries of a channel due now that wait for a pause of this kind, `limit` at most; answers with how many. They wait for their
    /// turn from then on, so that asking again until none is left comes to an end.
    pub fn hurry_entries(
        &mut self,
        channel: &ChannelId,
        waits_for: Wait,
        now: Millis,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.execute(
            "UPDATE outbox SET due_at = ?3, waits_for = 'turn', head = CASE WHEN head > 1 THEN 2 ELSE head END WHERE message_id IN
                (SELECT o.message_id FROM outbox AS o WHERE o.channel_id = ?1 AND o.state = 'waiting' AND o.waits_for = ?2
                 ORDER BY o.message_id LIMIT ?4 {lock o})",
            params![&channel.0, waits_for.as_str(), now, limit],
        )
    }

    /// Makes due what waits in these conversations for a further person to be written to, or for its contact to get more advertising: they have
    /// written, so it is an answer now, and counts for neither (reference `whatsapp.md` 13.3, 13.7). What is put back for that at this moment is
    /// so, too.
    pub fn hurry_answers(
        &mut self,
        conversations: &[(ChannelId, ConversationId)],
        now: Millis,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for (channel, conversation) in conversations {
            rows.push(params![&channel.0, conversation, now]);
        }
        // As with the plus: what waits for a reason on the whole channel is no way to what does so in one conversation.
        self.send_rows(
            "UPDATE outbox SET due_at = CASE WHEN outbox.due_at > r.now THEN r.now ELSE outbox.due_at END, waits_for = 'turn',
                head = CASE WHEN outbox.head > 1 THEN 2 ELSE outbox.head END
             {from r: channel_id text, conversation_id blob, now int}
             WHERE outbox.channel_id = r.channel_id AND outbox.conversation_id = r.conversation_id AND +outbox.head > 0
                AND outbox.state || '' = 'waiting' AND outbox.waits_for IN ('turn', 'tier_limit', 'marketing_cap')",
            &rows,
        )
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
        self.send_rows(
            "INSERT INTO attempts (id, message_id, channel_id, started_at, request)
             {insert r.id, r.message_id, r.channel_id, r.started_at, r.request of r: id blob, message_id blob, channel_id text, started_at int, request text}",
            &rows,
        )
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

    /// Notes how attempts ended.
    pub fn finish_attempts(&mut self, ended: &[(AttemptId, AttemptEnd)]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for (id, end) in ended {
            let failure = end.failure.as_ref();
            rows.push(params![
                id,
                end.at,
                &end.outcome,
                end.http_status,
                failure.map(|failure| failure.code),
                failure.and_then(|failure| failure.subcode),
                failure.map(|failure| failure.text.as_str()),
                &end.answer,
                end.duration_micros,
            ]);
        }
        self.send_rows(
            "UPDATE attempts SET finished_at = r.at, outcome = r.outcome, http_status = r.http_status, error_code = r.code,
                error_subcode = r.subcode, error_text = r.text, answer = r.answer, duration_micros = r.duration_micros
             {from r: id blob, at int, outcome text, http_status int, code int, subcode int, text text, answer text, duration_micros int}
             WHERE attempts.id = r.id",
            &rows,
        )
    }

    /// The attempts of a channel that were begun since a place in the order of their making and may have reached somebody, the first one
    /// first: each with its conversation and when it began.
    pub fn attempts_of_channel(
        &mut self,
        channel: &ChannelId,
        after: AttemptId,
        limit: u32,
    ) -> Result<Vec<(AttemptId, ConversationId, Millis)>, StoreError> {
        let rows = self.query(
            "SELECT a.id, m.conversation_id, a.started_at FROM attempts AS a JOIN messages AS m ON m.id = a.message_id
             WHERE a.id > ?2 AND a.channel_id = ?1 AND (a.outcome IS NULL OR a.outcome IN ('accepted', 'unknown'))
             ORDER BY a.id LIMIT ?3",
            params![&channel.0, &after, limit],
        )?;
        rows.iter()
            .map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .collect()
    }

    /// Of these messages, those of which an attempt ended so since a place in the order of their making.
    pub fn messages_with_attempt(
        &mut self,
        messages: &[(MessageId, AttemptId)],
        outcome: &str,
    ) -> Result<Vec<MessageId>, StoreError> {
        let mut rows = Rows::new();
        for (message, since) in messages {
            rows.push(params![message, since, outcome]);
        }
        let found = self.query_rows(
            "SELECT DISTINCT a.message_id FROM {each r: message_id blob, since blob, outcome text} attempts AS a
             WHERE a.message_id = r.message_id AND a.id >= r.since AND a.outcome = r.outcome",
            &rows,
        )?;
        found.iter().map(|row| row.get(0)).collect()
    }

    /// Forgets attempts that were begun before a place in the order of their making, a thousand at most; answers with how many.
    pub fn prune_attempts(&mut self, before: AttemptId) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE id < ?1 ORDER BY id LIMIT 1000)",
            params![&before],
        )
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

/// As what an entry is kept that is set aside.
fn head_of(aside: Aside) -> i64 {
    match aside {
        Aside::UntilDue => 2,
        Aside::UntilRoom => 3,
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
        waits_for: row.get(12)?,
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

impl FromValue for Wait {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
