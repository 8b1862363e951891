//! Statements about how much a channel has sent, and what it waits for: so that another node goes on where the last one stopped.

use super::value::{Row, Rows, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::ConversationId;
use crate::sending::model::ChannelPace;

impl Tx<'_> {
    /// Adds to the calls that a channel has made in a span of time; takes back where it is negative.
    pub fn add_pace_count(&mut self, channel: &ChannelId, span: i64, count: i64) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO pace_counts (channel_id, span, count) VALUES (?1, ?2, ?3)
             ON CONFLICT (channel_id, span) DO UPDATE SET count = pace_counts.count + EXCLUDED.count",
            params![&channel.0, span, count],
        )?;
        Ok(())
    }

    /// The calls that a channel has made, by span, from a span on.
    pub fn pace_counts(&mut self, channel: &ChannelId, since: i64) -> Result<Vec<(i64, i64)>, StoreError> {
        let rows = self.query(
            "SELECT span, count FROM pace_counts WHERE channel_id = ?1 AND span >= ?2 ORDER BY span",
            params![&channel.0, since],
        )?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// When the business last wrote to these people outside of a window; those to whom it never did are absent.
    pub fn contacts_reached(
        &mut self,
        channel: &ChannelId,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Millis)>, StoreError> {
        let mut rows = Rows::new();
        for conversation in conversations {
            rows.push(params![&channel.0, conversation]);
        }
        let found = self.query_rows(
            "SELECT c.conversation_id, c.at FROM {each r: channel_id text, conversation_id blob} contacts_reached AS c
             WHERE c.channel_id = r.channel_id AND c.conversation_id = r.conversation_id",
            &rows,
        )?;
        found.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// The business writes to these people outside of a window.
    pub fn note_contacts_reached(
        &mut self,
        channel: &ChannelId,
        conversations: &[ConversationId],
        at: Millis,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for conversation in conversations {
            rows.push(params![&channel.0, conversation, at]);
        }
        self.execute_rows(
            "INSERT INTO contacts_reached (channel_id, conversation_id, at)
             {insert r.channel_id, r.conversation_id, r.at of r: channel_id text, conversation_id blob, at int}
             ON CONFLICT (channel_id, conversation_id) DO UPDATE SET at = EXCLUDED.at",
            &rows,
        )?;
        Ok(())
    }

    /// The business has not written to these people at these times after all: what was known before holds again, unless it has written to them
    /// since.
    pub fn take_back_contacts_reached(
        &mut self,
        channel: &ChannelId,
        unreached: &[(ConversationId, Millis, Option<Millis>)],
    ) -> Result<(), StoreError> {
        let (mut rows, mut never) = (Rows::new(), Rows::new());
        for (conversation, at, before) in unreached {
            match before {
                Some(before) => rows.push(params![&channel.0, conversation, *at, *before]),
                None => never.push(params![&channel.0, conversation, *at]),
            }
        }
        self.execute_rows(
            "UPDATE contacts_reached SET at = r.before {from r: channel_id text, conversation_id blob, at int, before int}
             WHERE contacts_reached.channel_id = r.channel_id AND contacts_reached.conversation_id = r.conversation_id
                AND contacts_reached.at = r.at",
            &rows,
        )?;
        self.execute_rows(
            "DELETE FROM contacts_reached WHERE (channel_id, conversation_id, at)
                {in r.channel_id, r.conversation_id, r.at of r: channel_id text, conversation_id blob, at int}",
            &never,
        )?;
        Ok(())
    }

    /// How many people the business last wrote to outside of a window, by spans of this many milliseconds, since a time.
    pub fn contacts_reached_by_span(
        &mut self,
        channel: &ChannelId,
        since: Millis,
        span_millis: i64,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let rows = self.query(
            "SELECT at / ?3, COUNT(*) FROM contacts_reached WHERE channel_id = ?1 AND at >= ?2 GROUP BY 1 ORDER BY 1",
            params![&channel.0, since, span_millis],
        )?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// Forgets calls and people from before a time, a thousand of each at most; answers with how many.
    pub fn prune_pace(&mut self, channel: &ChannelId, span: i64, before: Millis) -> Result<u64, StoreError> {
        let spans = self.execute(
            "DELETE FROM pace_counts WHERE channel_id = ?1 AND span < ?2",
            params![&channel.0, span],
        )?;
        let contacts = self.execute(
            "DELETE FROM contacts_reached WHERE channel_id = ?1 AND conversation_id IN (SELECT conversation_id FROM contacts_reached
                WHERE channel_id = ?1 AND at < ?2 ORDER BY at LIMIT 1000)",
            params![&channel.0, before],
        )?;
        Ok(spans + contacts)
    }

    /// Says what a channel waits for, and how fast it goes.
    pub fn say_channel_pace(&mut self, pace: &ChannelPace) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO channel_pace (channel_id, waits_for, until, per_second, said_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (channel_id) DO UPDATE SET waits_for = EXCLUDED.waits_for, until = EXCLUDED.until,
                per_second = EXCLUDED.per_second, said_at = EXCLUDED.said_at",
            params![
                &pace.channel_id.0,
                pace.waits_for.as_str(),
                pace.until,
                pace.per_second,
                pace.said_at
            ],
        )?;
        Ok(())
    }

    /// What each channel waits for, as its leader last said.
    pub fn channel_paces(&mut self) -> Result<Vec<ChannelPace>, StoreError> {
        let rows = self.query(
            "SELECT channel_id, waits_for, until, per_second, said_at FROM channel_pace ORDER BY channel_id",
            params![],
        )?;
        rows.iter().map(channel_pace).collect()
    }

    /// What a channel waits for, as its leader last said; `None` if nothing was ever said.
    pub fn channel_pace(&mut self, channel: &ChannelId) -> Result<Option<ChannelPace>, StoreError> {
        self.query_opt(
            "SELECT channel_id, waits_for, until, per_second, said_at FROM channel_pace WHERE channel_id = ?1",
            params![&channel.0],
        )?
        .map(|row| channel_pace(&row))
        .transpose()
    }
}

fn channel_pace(row: &Row) -> Result<ChannelPace, StoreError> {
    Ok(ChannelPace {
        channel_id: ChannelId(row.get(0)?),
        waits_for: row.get(1)?,
        until: row.get(2)?,
        per_second: row
            .get::<Option<i64>>(3)?
            .map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
        said_at: row.get(4)?,
    })
}
