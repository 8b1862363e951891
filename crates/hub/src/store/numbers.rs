//! Statements about what Meta allows a WhatsApp number, and when it is asked.

use super::value::{Row, Rows, params};
use super::{StoreError, Tx};
use crate::channels::model::{NumberFacts, Quality};
use crate::conversations::model::{ChannelId, Millis};

/// That a number is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberReading {
    /// Nobody else begins before.
    pub until: Millis,
    /// How often reading has failed since it last went well.
    pub failures: u32,
}

impl Tx<'_> {
    /// When each number is to be read next; those that never were are absent.
    pub fn number_readings(&mut self) -> Result<Vec<(ChannelId, Millis)>, StoreError> {
        let rows = self.query(
            "SELECT channel_id, due_at FROM number_facts ORDER BY channel_id LIMIT 10000",
            params![],
        )?;
        rows.iter()
            .map(|row| Ok((ChannelId(row.get(0)?), row.get(1)?)))
            .collect()
    }

    /// Begins to read a number, if it is due and nobody else does.
    pub fn claim_number_reading(
        &mut self,
        channel: &ChannelId,
        now: Millis,
        until: Millis,
    ) -> Result<Option<NumberReading>, StoreError> {
        self.query_opt(
            "INSERT INTO number_facts (channel_id, due_at, failures) VALUES (?1, ?3, 0)
             ON CONFLICT (channel_id) DO UPDATE SET due_at = ?3 WHERE number_facts.due_at <= ?2 RETURNING failures",
            params![&channel.0, now, until],
        )?
        .map(|row| {
            let failures: i64 = row.get(0)?;
            Ok(NumberReading {
                until,
                failures: u32::try_from(failures).unwrap_or(u32::MAX),
            })
        })
        .transpose()
    }

    /// Ends a reading; if something has asked for another one meanwhile, that stays so.
    pub fn finish_number_reading(
        &mut self,
        channel: &ChannelId,
        reading: NumberReading,
        due_at: Millis,
    ) -> Result<(), StoreError> {
        self.send(
            "UPDATE number_facts SET failures = ?2, due_at = CASE WHEN due_at = ?3 THEN ?4 ELSE due_at END WHERE channel_id = ?1",
            params![&channel.0, i64::from(reading.failures), reading.until, due_at],
        )
    }

    /// Asks for these numbers to be read anew. A number that is not known yet is read anyway.
    pub fn want_number_readings(&mut self, channels: &[ChannelId], now: Millis) -> Result<(), StoreError> {
        let mut channels = channels.to_vec();
        channels.sort_unstable();
        channels.dedup();
        let mut rows = Rows::new();
        for channel in &channels {
            rows.push(params![&channel.0, now]);
        }
        self.send_rows(
            "UPDATE number_facts SET due_at = r.now {from r: channel_id text, now int}
             WHERE number_facts.channel_id = r.channel_id AND number_facts.due_at > r.now",
            &rows,
        )
    }

    /// Keeps what was read of a number, and tells every node.
    pub fn keep_number_facts(&mut self, channel: &ChannelId, facts: &NumberFacts) -> Result<(), StoreError> {
        self.send(
            "UPDATE number_facts SET throughput = ?2, on_phone_app = ?3, messaging_limit = ?4, quality = ?5, read_at = ?6
             WHERE channel_id = ?1",
            params![
                &channel.0,
                &facts.throughput,
                facts.is_on_phone_app,
                &facts.messaging_limit,
                facts.quality.as_str(),
                facts.read_at,
            ],
        )?;
        self.bump_revision()
    }

    /// The channel is of no number any more, or of another one.
    pub(super) fn forget_number_facts(&mut self, channel: &ChannelId) -> Result<(), StoreError> {
        self.send("DELETE FROM number_facts WHERE channel_id = ?1", params![&channel.0])
    }

    /// What was read of each number.
    pub fn number_facts(&mut self) -> Result<Vec<(ChannelId, NumberFacts)>, StoreError> {
        let rows = self.query(
            "SELECT channel_id, throughput, on_phone_app, messaging_limit, quality, read_at FROM number_facts
             WHERE read_at IS NOT NULL ORDER BY channel_id LIMIT 10000",
            params![],
        )?;
        rows.iter().map(facts).collect()
    }

    /// What was last read of a number, locked until the unit ends.
    pub fn lock_number_facts(&mut self, channel: &ChannelId) -> Result<Option<NumberFacts>, StoreError> {
        let row = self.query_opt(
            "SELECT n.channel_id, n.throughput, n.on_phone_app, n.messaging_limit, n.quality, n.read_at FROM number_facts AS n
             WHERE n.channel_id = ?1 AND n.read_at IS NOT NULL {lock n}",
            params![&channel.0],
        )?;
        row.map(|row| Ok(facts(&row)?.1)).transpose()
    }
}

fn facts(row: &Row) -> Result<(ChannelId, NumberFacts), StoreError> {
    let quality: Option<String> = row.get(4)?;
    let facts = NumberFacts {
        throughput: row.get(1)?,
        is_on_phone_app: row.get(2)?,
        messaging_limit: row.get(3)?,
        quality: quality.map_or(Quality::Unknown, |word| Quality::of(&word)),
        read_at: row.get(5)?,
    };
    Ok((ChannelId(row.get(0)?), facts))
}
