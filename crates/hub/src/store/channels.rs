//! Statements about channels.

use super::value::params;
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Millis};

/// When a channel was last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelActivity {
    /// The channel.
    pub id: ChannelId,
    /// When its last event came in.
    pub last_event_at: Option<Millis>,
    /// When that event happened, by Meta's clock.
    pub last_event_occurred_at: Option<Millis>,
}

impl Tx<'_> {
    /// Writes down a channel that the settings name; answers false if another channel has this account already.
    pub fn upsert_channel(
        &mut self,
        id: &ChannelId,
        kind: &str,
        account: &str,
        business_account: Option<&str>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let taken = self.query_opt(
            "SELECT id FROM channels WHERE kind = ?1 AND account = ?2 AND id <> ?3",
            params![kind, account, &id.0],
        )?;
        if taken.is_some() {
            return Ok(false);
        }
        self.execute(
            "INSERT INTO channels (id, kind, account, business_account, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET kind = EXCLUDED.kind, account = EXCLUDED.account,
                business_account = EXCLUDED.business_account",
            params![&id.0, kind, account, business_account, now],
        )?;
        Ok(true)
    }

    /// When each channel was last heard of.
    pub fn channel_activity(&mut self) -> Result<Vec<ChannelActivity>, StoreError> {
        let rows = self.query(
            "SELECT id, last_event_at, last_event_occurred_at FROM channels ORDER BY id LIMIT 10000",
            params![],
        )?;
        rows.iter()
            .map(|row| {
                Ok(ChannelActivity {
                    id: ChannelId(row.get(0)?),
                    last_event_at: row.get(1)?,
                    last_event_occurred_at: row.get(2)?,
                })
            })
            .collect()
    }

    /// Does nothing but reach the database.
    pub fn ping(&mut self) -> Result<(), StoreError> {
        self.query("SELECT 1", params![]).map(|_| ())
    }
}
