//! Statements about the event stream.
//!
//! Rows are numbered in the order of their commits: on SQLite there is one writer; on Postgres whoever writes rows holds a lock from then
//! until its commit. So a reader who has seen a number has seen every lower one.

use super::tx::AdvisoryLock;
use super::value::{Rows, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::EventId;
use crate::stream::model::{Change, StreamRow};

/// A row on its way into the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStreamRow {
    /// When.
    pub at: Millis,
    /// On which channel, if on one.
    pub channel_id: Option<ChannelId>,
    /// Which event brought it, if one did.
    pub event_id: Option<EventId>,
    /// What changed; may be empty for an event that changed nothing.
    pub changes: Vec<Change>,
}

impl Tx<'_> {
    /// Adds to the stream. To be called last in a unit, since it may wait for others who do.
    pub fn insert_stream(&mut self, new: &[NewStreamRow]) -> Result<(), StoreError> {
        if new.is_empty() {
            return Ok(());
        }
        self.lock(AdvisoryLock::Stream)?;
        let changes: Vec<String> = new.iter().map(|row| Change::to_json(&row.changes)).collect();
        let mut rows = Rows::new();
        for (row, changes) in new.iter().zip(&changes) {
            let channel = row.channel_id.as_ref().map(|channel| channel.0.as_str());
            rows.push(params![row.at, channel, &row.event_id, changes]);
        }
        self.send_rows(
            "INSERT INTO stream (at, channel_id, event_id, changes) {insert r.at, r.channel_id, r.event_id, r.changes of r: at int, channel_id text, event_id blob, changes text}",
            &rows,
        )
    }

    /// Rows after a number, in order.
    pub fn stream_after(&mut self, seq: i64, limit: u32) -> Result<Vec<StreamRow>, StoreError> {
        let rows = self.query(
            "SELECT s.seq, s.at, s.channel_id, s.event_id, s.changes FROM stream AS s WHERE s.seq > ?1 ORDER BY s.seq LIMIT ?2",
            params![seq, limit],
        )?;
        rows.iter()
            .map(|row| {
                Ok(StreamRow {
                    seq: row.get(0)?,
                    at: row.get(1)?,
                    channel_id: row.get::<Option<String>>(2)?.map(ChannelId),
                    event_id: row.get(3)?,
                    changes: Change::from_json(&row.get::<String>(4)?),
                })
            })
            .collect()
    }

    /// The first and the last number that the stream has; `None` if it is empty.
    pub fn stream_bounds(&mut self) -> Result<Option<(i64, i64)>, StoreError> {
        // Two queries in one: of a single MIN or MAX SQLite reads one row, of both together all of them.
        let row = self.query_opt(
            "SELECT (SELECT MIN(seq) FROM stream), (SELECT MAX(seq) FROM stream)",
            params![],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(row.get::<Option<i64>>(0)?.zip(row.get::<Option<i64>>(1)?))
    }

    /// Deletes rows from before a time, a few thousand at most; answers with how many.
    pub fn prune_stream(&mut self, before: Millis) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM stream WHERE at < ?1 AND seq IN (SELECT seq FROM stream ORDER BY seq LIMIT 5000)",
            params![before],
        )
    }
}
