//! Statements about flags, and the revision that tells every node that something has changed.

use super::value::params;
use super::{StoreError, Tx};
use crate::flags::model::StoredFlag;

impl Tx<'_> {
    /// How often channels or flags have changed: whoever remembers it knows whether to look again. One row, by its key.
    pub fn revision(&mut self) -> Result<i64, StoreError> {
        let row = self.query_opt("SELECT revision FROM revisions WHERE name = 'channels'", params![])?;
        row.map_or(Ok(0), |row| row.get(0))
    }

    /// Tells every node that a channel or a flag has changed. Every statement that changes one does it by itself.
    pub(super) fn bump_revision(&mut self) -> Result<(), StoreError> {
        self.send(
            "UPDATE revisions SET revision = revision + 1 WHERE name = 'channels'",
            params![],
        )?;
        self.announce()
    }

    /// All flags that were set, in the order of their names.
    pub fn flags(&mut self) -> Result<Vec<StoredFlag>, StoreError> {
        let rows = self.query(
            "SELECT name, value, updated_at, updated_by FROM flags ORDER BY name LIMIT 20000",
            params![],
        )?;
        rows.iter()
            .map(|row| {
                Ok(StoredFlag {
                    name: row.get(0)?,
                    value: row.get::<String>(1)? == ON,
                    updated_at: row.get(2)?,
                    updated_by: row.get(3)?,
                })
            })
            .collect()
    }

    /// Sets a flag, and answers with what it was set to before, if it was.
    pub fn set_flag(&mut self, flag: &StoredFlag) -> Result<Option<bool>, StoreError> {
        let before = self.flag_value(&flag.name)?;
        let value = if flag.value { ON } else { OFF };
        self.send(
            "INSERT INTO flags (name, value, updated_at, updated_by) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at,
                updated_by = EXCLUDED.updated_by",
            params![&flag.name, value, flag.updated_at, &flag.updated_by],
        )?;
        self.bump_revision()?;
        Ok(before)
    }

    /// Gives a flag its default again, and answers with what it was set to, if it was.
    pub fn unset_flag(&mut self, name: &str) -> Result<Option<bool>, StoreError> {
        let before = self.flag_value(name)?;
        if before.is_some() {
            self.send("DELETE FROM flags WHERE name = ?1", params![name])?;
            self.bump_revision()?;
        }
        Ok(before)
    }

    fn flag_value(&mut self, name: &str) -> Result<Option<bool>, StoreError> {
        let row = self.query_opt(
            "SELECT f.value FROM flags AS f WHERE f.name = ?1 {lock f}",
            params![name],
        )?;
        row.map(|row| Ok(row.get::<String>(0)? == ON)).transpose()
    }
}

/// How values are kept: as text, so that a flag of another type needs no other column.
const ON: &str = "true";
const OFF: &str = "false";
