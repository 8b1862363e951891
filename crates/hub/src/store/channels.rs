//! Statements about channels.
//!
//! Whatever changes how a channel behaves also raises the revision, in the same unit, so that every node looks at it. A channel that was
//! removed stays as a row, since its conversations stay; added again, it is the same channel.

use super::value::{Row, params};
use super::{StoreError, Tx};
use crate::channels::model::{ChannelKind, Held, Limits, OpenCircuit, Source, StoredChannel, Switched};
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

/// The columns that [`stored`] reads, of the alias `c`.
macro_rules! select_channels {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.kind, c.account, c.business_account, c.name, c.source, c.backup_for, c.limits, c.credentials,
                c.credentials_version, c.credentials_at, c.held_reason, c.held_code, c.held_at, c.created_at, c.updated_at,
                c.circuit_reason, c.circuit_opened_at, c.circuit_probe_at, c.circuit_openings, c.switched_to, c.switched_at, c.switched_by,
                c.hurries ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// Writes down a channel that the settings name; answers false if another channel has this account already, or had it.
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
        let is_same = self.query_opt(
            "SELECT id FROM channels WHERE id = ?1 AND kind = ?2 AND account = ?3",
            params![&id.0, kind, account],
        )?;
        if is_same.is_none() {
            self.forget_number_facts(id)?;
        }
        let changed = self.execute(
            "INSERT INTO channels (id, kind, account, business_account, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET kind = EXCLUDED.kind, account = EXCLUDED.account,
                business_account = EXCLUDED.business_account, source = 'settings', removed_at = NULL, updated_at = ?5
             WHERE channels.kind <> EXCLUDED.kind OR channels.account <> EXCLUDED.account
                OR channels.business_account IS DISTINCT FROM EXCLUDED.business_account
                OR channels.source <> 'settings' OR channels.removed_at IS NOT NULL",
            params![&id.0, kind, account, business_account, now],
        )?;
        if changed > 0 {
            self.bump_revision()?;
        }
        Ok(true)
    }

    /// Adds a channel, or one that was removed anew; answers false if the id is in use, or another channel has, or had, this account.
    pub fn insert_channel(&mut self, new: &StoredChannel) -> Result<bool, StoreError> {
        let (kind, source) = (new.kind.as_str(), new.source.as_str());
        let taken = self.query_opt(
            "SELECT id FROM channels WHERE kind = ?1 AND account = ?2 AND id <> ?3",
            params![kind, &new.account, &new.id.0],
        )?;
        if taken.is_some() {
            return Ok(false);
        }
        let backup_for = new.backup_for.as_ref().map(|id| id.0.as_str());
        let added = self.execute(
            "INSERT INTO channels (id, kind, account, business_account, name, source, backup_for, limits, credentials,
                credentials_version, credentials_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET kind = EXCLUDED.kind, account = EXCLUDED.account,
                business_account = EXCLUDED.business_account, name = EXCLUDED.name, source = EXCLUDED.source,
                backup_for = EXCLUDED.backup_for, limits = EXCLUDED.limits, credentials = EXCLUDED.credentials,
                credentials_version = channels.credentials_version + 1, credentials_at = EXCLUDED.credentials_at,
                settings_fingerprint = NULL, held_reason = NULL, held_code = NULL, held_at = NULL,
                removed_at = NULL, updated_at = ?11
             WHERE channels.removed_at IS NOT NULL",
            params![
                &new.id.0,
                kind,
                &new.account,
                &new.business_account,
                &new.name,
                source,
                backup_for,
                &new.limits.to_json(),
                new.credentials.as_ref(),
                new.credentials_at,
                new.created_at
            ],
        )?;
        if added == 0 {
            return Ok(false);
        }
        self.bump_revision()?;
        Ok(true)
    }

    /// All channels that were not removed, in the order of their names.
    pub fn channels(&mut self) -> Result<Vec<StoredChannel>, StoreError> {
        let rows = self.query(
            select_channels!("FROM channels AS c WHERE c.removed_at IS NULL ORDER BY c.id LIMIT 10000"),
            params![],
        )?;
        rows.iter().map(stored).collect()
    }

    /// A channel that was not removed, locked.
    pub fn lock_channel(&mut self, id: &ChannelId) -> Result<Option<StoredChannel>, StoreError> {
        let row = self.query_opt(
            select_channels!("FROM channels AS c WHERE c.id = ?1 AND c.removed_at IS NULL {lock c}"),
            params![&id.0],
        )?;
        row.as_ref().map(stored).transpose()
    }

    /// Keeps what may be changed of a channel: name, business account, whose backup it is, limits.
    pub fn update_channel(&mut self, channel: &StoredChannel) -> Result<(), StoreError> {
        let backup_for = channel.backup_for.as_ref().map(|id| id.0.as_str());
        self.send(
            "UPDATE channels SET business_account = ?2, name = ?3, backup_for = ?4, limits = ?5, updated_at = ?6 WHERE id = ?1",
            params![
                &channel.id.0,
                &channel.business_account,
                &channel.name,
                backup_for,
                &channel.limits.to_json(),
                channel.updated_at
            ],
        )?;
        self.bump_revision()
    }

    /// Removes a channel that the settings do not name; answers false if there is none. Its row stays, its credentials go.
    pub fn remove_channel(&mut self, id: &ChannelId, now: Millis) -> Result<bool, StoreError> {
        let removed = self.execute(
            "UPDATE channels SET removed_at = ?2, updated_at = ?2, credentials = NULL, credentials_version = credentials_version + 1,
                settings_fingerprint = NULL, held_reason = NULL, held_code = NULL, held_at = NULL,
                circuit_opened_at = NULL, switched_to = NULL
             WHERE id = ?1 AND removed_at IS NULL",
            params![&id.0, now],
        )?;
        if removed == 0 {
            return Ok(false);
        }
        self.send(
            "UPDATE channels SET switched_to = NULL WHERE switched_to = ?1",
            params![&id.0],
        )?;
        self.forget_number_facts(id)?;
        self.bump_revision()?;
        Ok(true)
    }

    /// Puts other credentials, sealed, in the place of a channel's, and releases it; answers false if there is no such channel.
    pub fn set_channel_credentials(
        &mut self,
        id: &ChannelId,
        sealed: Option<&[u8]>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let set = self.execute(
            "UPDATE channels SET credentials = ?2, credentials_version = credentials_version + 1, credentials_at = ?3, updated_at = ?3,
                held_reason = NULL, held_code = NULL, held_at = NULL, circuit_opened_at = NULL
             WHERE id = ?1 AND removed_at IS NULL",
            params![&id.0, sealed, now],
        )?;
        if set == 0 {
            return Ok(false);
        }
        self.bump_revision()?;
        Ok(true)
    }

    /// Remembers which credentials the settings name, by their fingerprint; answers whether they are others than last time. If so, those
    /// that are kept have to give way to them.
    pub fn note_settings_fingerprint(
        &mut self,
        id: &ChannelId,
        fingerprint: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        self.execute(
            "UPDATE channels SET settings_fingerprint = ?2 WHERE id = ?1 AND settings_fingerprint IS DISTINCT FROM ?2",
            params![&id.0, fingerprint],
        )
        .map(|touched| touched > 0)
    }

    /// Makes a channel that has nothing of its own yet the backup of another one: what the settings say of one that is new.
    pub fn propose_backup(&mut self, id: &ChannelId, backup_for: &ChannelId) -> Result<(), StoreError> {
        let touched = self.execute(
            "UPDATE channels SET backup_for = ?2 WHERE id = ?1 AND backup_for IS NULL AND updated_at IS NULL",
            params![&id.0, &backup_for.0],
        )?;
        if touched > 0 {
            self.bump_revision()?;
        }
        Ok(())
    }

    /// Holds a channel because of what Meta said to these credentials; answers false if it is held already, or has others by now.
    pub fn hold_channel(&mut self, id: &ChannelId, version: i64, held: &Held) -> Result<bool, StoreError> {
        let touched = self.execute(
            "UPDATE channels SET held_reason = ?3, held_code = ?4, held_at = ?5
             WHERE id = ?1 AND credentials_version = ?2 AND held_at IS NULL AND removed_at IS NULL",
            params![&id.0, version, &held.reason, held.code, held.at],
        )?;
        if touched == 0 {
            return Ok(false);
        }
        self.bump_revision()?;
        Ok(true)
    }

    /// Lets a channel go on whose credentials work again; answers false if it is not held, or has others by now.
    pub fn release_channel(&mut self, id: &ChannelId, version: i64) -> Result<bool, StoreError> {
        let touched = self.execute(
            "UPDATE channels SET held_reason = NULL, held_code = NULL, held_at = NULL
             WHERE id = ?1 AND credentials_version = ?2 AND held_at IS NOT NULL",
            params![&id.0, version],
        )?;
        if touched == 0 {
            return Ok(false);
        }
        self.bump_revision()?;
        Ok(true)
    }

    /// Keeps how a channel's circuit is; `None`: it is closed.
    pub fn set_channel_circuit(&mut self, id: &ChannelId, circuit: Option<&OpenCircuit>) -> Result<(), StoreError> {
        self.send(
            "UPDATE channels SET circuit_reason = ?2, circuit_opened_at = ?3, circuit_probe_at = ?4, circuit_openings = ?5
             WHERE id = ?1 AND removed_at IS NULL",
            params![
                &id.0,
                circuit.map(|circuit| circuit.reason.as_str()),
                circuit.map(|circuit| circuit.opened_at),
                circuit.map(|circuit| circuit.probe_at),
                circuit.map(|circuit| circuit.openings),
            ],
        )?;
        self.bump_revision()
    }

    /// Puts another channel in a channel's place, or, with `None`, nothing any more.
    pub fn switch_channel(&mut self, id: &ChannelId, switched: Option<&Switched>) -> Result<(), StoreError> {
        self.send(
            "UPDATE channels SET switched_to = ?2, switched_at = ?3, switched_by = ?4 WHERE id = ?1 AND removed_at IS NULL",
            params![
                &id.0,
                switched.map(|switched| switched.to.0.as_str()),
                switched.map(|switched| switched.at),
                switched.map(|switched| switched.by.as_str()),
            ],
        )?;
        self.bump_revision()
    }

    /// Has whoever leads a channel go on with it at once, if it pauses.
    pub fn hurry_channel(&mut self, id: &ChannelId) -> Result<(), StoreError> {
        self.send(
            "UPDATE channels SET hurries = hurries + 1 WHERE id = ?1 AND removed_at IS NULL",
            params![&id.0],
        )?;
        self.bump_revision()
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

fn stored(row: &Row) -> Result<StoredChannel, StoreError> {
    let kind: String = row.get(1)?;
    let source: String = row.get(5)?;
    let reason: Option<String> = row.get(11)?;
    let (code, at): (Option<i64>, Option<Millis>) = (row.get(12)?, row.get(13)?);
    Ok(StoredChannel {
        id: ChannelId(row.get(0)?),
        kind: ChannelKind::from_word(&kind).ok_or_else(|| StoreError::corrupt(1, "is no kind of channel"))?,
        account: row.get(2)?,
        business_account: row.get(3)?,
        name: row.get(4)?,
        source: Source::from_word(&source).ok_or_else(|| StoreError::corrupt(5, "is no source of a channel"))?,
        backup_for: row.get::<Option<String>>(6)?.map(ChannelId),
        limits: Limits::from_json(&row.get::<String>(7)?),
        credentials: row.get(8)?,
        credentials_version: row.get(9)?,
        credentials_at: row.get(10)?,
        held: at.map(|at| Held {
            reason: reason.unwrap_or_default(),
            code: code.unwrap_or_default(),
            at,
        }),
        created_at: row.get(14)?,
        updated_at: row.get(15)?,
        circuit: match row.get(17)? {
            None => None,
            Some(opened_at) => Some(OpenCircuit {
                reason: row.get::<Option<String>>(16)?.unwrap_or_default(),
                opened_at,
                probe_at: row.get::<Option<Millis>>(18)?.unwrap_or(opened_at),
                openings: row.get::<Option<u32>>(19)?.unwrap_or(1),
            }),
        },
        switched: match row.get::<Option<String>>(20)? {
            None => None,
            Some(to) => Some(Switched {
                to: ChannelId(to),
                at: row.get::<Option<Millis>>(21)?.unwrap_or_default(),
                by: row.get::<Option<String>>(22)?.unwrap_or_default(),
            }),
        },
        hurries: row.get(23)?,
    })
}
