//! Statements about who leads a channel.
//!
//! A lease is taken by naming what one saw of it: whoever has shown itself alive since then, or was quicker, keeps it. No clock is
//! compared: see [`crate::sending::lease`].

use super::value::{Row, Rows, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Millis};

/// A channel's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The channel.
    pub channel_id: ChannelId,
    /// The node that leads it; `None` if none does.
    pub owner: Option<String>,
    /// Raised by every node that takes over.
    pub epoch: i64,
    /// Raised whenever the owner shows itself alive, and when it lets go.
    pub beats: i64,
    /// Until when the owner leads, by its own clock.
    pub until: Millis,
    /// Whoever led before has ended in order, and given it to its present owner.
    pub handed_over: bool,
}

/// A node that shares the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub node: String,
    /// Raised whenever it shows itself alive.
    pub beats: i64,
}

impl Tx<'_> {
    /// All leases.
    pub fn leases(&mut self) -> Result<Vec<Lease>, StoreError> {
        let rows = self.query(
            "SELECT channel_id, owner, epoch, beats, until, handed_over FROM channel_leases ORDER BY channel_id",
            params![],
        )?;
        rows.iter().map(lease).collect()
    }

    /// Shows that the owner of leases is alive; answers with those that it still has.
    pub fn renew_leases(
        &mut self,
        owner: &str,
        held: &[(ChannelId, i64)],
        until: Millis,
    ) -> Result<Vec<ChannelId>, StoreError> {
        let mut rows = Rows::new();
        for (channel, epoch) in held {
            rows.push(params![&channel.0, owner, *epoch, until]);
        }
        let renewed = self.query_rows(
            "UPDATE channel_leases SET beats = beats + 1, until = r.until {from r: channel_id text, owner text, epoch int, until int}
             WHERE channel_leases.channel_id = r.channel_id AND channel_leases.owner = r.owner AND channel_leases.epoch = r.epoch
             RETURNING channel_leases.channel_id",
            &rows,
        )?;
        renewed.iter().map(|row| Ok(ChannelId(row.get(0)?))).collect()
    }

    /// Takes a lease that is as it was seen, or that nobody has ever had; answers with the new epoch, or with `None` if somebody else was
    /// quicker, or has shown itself alive.
    pub fn take_lease(
        &mut self,
        channel: &ChannelId,
        seen: Option<&Lease>,
        owner: &str,
        until: Millis,
    ) -> Result<Option<i64>, StoreError> {
        let row = match seen {
            None => self.query_opt(
                "INSERT INTO channel_leases (channel_id, owner, epoch, beats, until) VALUES (?1, ?2, 1, 0, ?3)
                 ON CONFLICT DO NOTHING RETURNING epoch",
                params![&channel.0, owner, until],
            )?,
            Some(seen) => self.query_opt(
                "UPDATE channel_leases SET owner = ?2, epoch = epoch + 1, beats = beats + 1, until = ?3, handed_over = 0
                 WHERE channel_id = ?1 AND epoch = ?4 AND beats = ?5 RETURNING epoch",
                params![&channel.0, owner, until, seen.epoch, seen.beats],
            )?,
        };
        row.map(|row| row.get(0)).transpose()
    }

    /// Gives a lease to another node, which is to take it up; false if it is not this owner's any more. Every node is told.
    pub fn hand_over_lease(
        &mut self,
        channel: &ChannelId,
        owner: &str,
        epoch: i64,
        to: &str,
    ) -> Result<bool, StoreError> {
        let given = self.execute(
            "UPDATE channel_leases SET owner = ?4, beats = beats + 1, handed_over = 1 WHERE channel_id = ?1 AND owner = ?2 AND epoch = ?3",
            params![&channel.0, owner, epoch, to],
        )?;
        if given == 0 {
            return Ok(false);
        }
        self.bump_revision()?;
        Ok(true)
    }

    /// Shows that a node is alive, and forgets those whose time ended before another one; answers with all that there are.
    pub fn show_node(&mut self, node: &str, until: Millis, forget_before: Millis) -> Result<Vec<Node>, StoreError> {
        self.send(
            "INSERT INTO nodes (node, beats, until) VALUES (?1, 1, ?2)
             ON CONFLICT (node) DO UPDATE SET beats = nodes.beats + 1, until = EXCLUDED.until",
            params![node, until],
        )?;
        self.send(
            "DELETE FROM nodes WHERE until < ?1 AND node <> ?2",
            params![forget_before, node],
        )?;
        let rows = self.query("SELECT node, beats FROM nodes ORDER BY node LIMIT 1000", params![])?;
        rows.iter()
            .map(|row| {
                Ok(Node {
                    node: row.get(0)?,
                    beats: row.get(1)?,
                })
            })
            .collect()
    }

    /// A node ends: nobody counts on it any more.
    pub fn forget_node(&mut self, node: &str) -> Result<(), StoreError> {
        self.send("DELETE FROM nodes WHERE node = ?1", params![node])
    }

    /// Whether a lease is still held; if so, nobody can take it before the unit ends.
    pub fn keep_lease(&mut self, channel: &ChannelId, owner: &str, epoch: i64) -> Result<bool, StoreError> {
        let row = self.query_opt(
            "SELECT l.epoch FROM channel_leases AS l WHERE l.channel_id = ?1 AND l.owner = ?2 AND l.epoch = ?3{postgres  FOR SHARE OF l}",
            params![&channel.0, owner, epoch],
        )?;
        Ok(row.is_some())
    }

    /// Lets go of all leases of an owner, or of all that there are.
    pub fn release_leases(&mut self, owner: Option<&str>) -> Result<u64, StoreError> {
        match owner {
            Some(owner) => self.execute(
                "UPDATE channel_leases SET owner = NULL, beats = beats + 1, handed_over = 0 WHERE owner = ?1",
                params![owner],
            ),
            None => self.execute(
                "UPDATE channel_leases SET owner = NULL, beats = beats + 1, handed_over = 0 WHERE owner IS NOT NULL",
                params![],
            ),
        }
    }
}

fn lease(row: &Row) -> Result<Lease, StoreError> {
    Ok(Lease {
        channel_id: ChannelId(row.get(0)?),
        owner: row.get(1)?,
        epoch: row.get(2)?,
        beats: row.get(3)?,
        until: row.get(4)?,
        handed_over: row.get(5)?,
    })
}
