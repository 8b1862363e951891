//! Statements about how many events each channel has in which hour.

use std::collections::BTreeMap;

use super::value::{Rows, params};
use super::{StoreError, Tx};
use crate::conversations::model::ChannelId;

impl Tx<'_> {
    /// Adds events to the hours in which they came.
    pub fn count_channel_hours(&mut self, counts: &BTreeMap<(&ChannelId, i64), i64>) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for ((channel, hour), events) in counts {
            rows.push(params![&channel.0, *hour, *events]);
        }
        self.send_rows(
            "INSERT INTO channel_hours (channel_id, hour, events)
             {insert r.channel_id, r.hour, r.events of r: channel_id text, hour int, events int}
             ON CONFLICT (channel_id, hour) DO UPDATE SET events = channel_hours.events + EXCLUDED.events",
            &rows,
        )
    }

    /// How many events a channel had in these hours; those in which it had none are absent.
    pub fn channel_hours(&mut self, channel: &ChannelId, hours: &[i64]) -> Result<BTreeMap<i64, i64>, StoreError> {
        let mut rows = Rows::new();
        for hour in hours {
            rows.push(params![&channel.0, *hour]);
        }
        let found = self.query_rows(
            "SELECT h.hour, h.events FROM {each r: channel_id text, hour int} channel_hours AS h
             WHERE h.channel_id = r.channel_id AND h.hour = r.hour",
            &rows,
        )?;
        found.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// The first hour that is remembered in which a channel had an event.
    pub fn first_channel_hour(&mut self, channel: &ChannelId) -> Result<Option<i64>, StoreError> {
        self.query_opt(
            "SELECT hour FROM channel_hours WHERE channel_id = ?1 ORDER BY hour LIMIT 1",
            params![&channel.0],
        )?
        .map(|row| row.get(0))
        .transpose()
    }

    /// Forgets what a channel had before an hour; answers with how many hours that were.
    pub fn prune_channel_hours(&mut self, channel: &ChannelId, before: i64) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM channel_hours WHERE channel_id = ?1 AND hour < ?2",
            params![&channel.0, before],
        )
    }
}
