//! Statements about the audit: entries are added and read, nothing else.

use super::value::params;
use super::{StoreError, Tx};
use crate::audit::{AuditEntry, StoredAuditEntry};
use crate::ids::AuditId;

impl Tx<'_> {
    /// Writes down a change; to be called in the unit that makes it.
    pub fn insert_audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO audit (id, at, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                &entry.id,
                entry.at,
                &entry.actor,
                entry.action,
                &entry.subject,
                &entry.detail.to_string()
            ],
        )
        .map(|_| ())
    }

    /// Entries from before an id, the newest first; of one subject, if one is named.
    pub fn audit_before(
        &mut self,
        subject: Option<&str>,
        before: AuditId,
        limit: u32,
    ) -> Result<Vec<StoredAuditEntry>, StoreError> {
        let rows = match subject {
            None => self.query(
                "SELECT a.id, a.at, a.actor, a.action, a.subject, a.detail FROM audit AS a
                 WHERE a.id < ?1 ORDER BY a.id DESC LIMIT ?2",
                params![&before, limit],
            )?,
            Some(subject) => self.query(
                "SELECT a.id, a.at, a.actor, a.action, a.subject, a.detail FROM audit AS a
                 WHERE a.subject = ?1 AND a.id < ?2 ORDER BY a.id DESC LIMIT ?3",
                params![subject, &before, limit],
            )?,
        };
        rows.iter()
            .map(|row| {
                Ok(StoredAuditEntry {
                    id: row.get(0)?,
                    at: row.get(1)?,
                    actor: row.get(2)?,
                    action: row.get(3)?,
                    subject: row.get(4)?,
                    detail: serde_json::from_str(&row.get::<String>(5)?)
                        .map_err(|_| StoreError::corrupt(5, "is not JSON"))?,
                })
            })
            .collect()
    }
}
