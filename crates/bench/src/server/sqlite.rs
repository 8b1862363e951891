//! The reference server's table in SQLite.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, TransactionBehavior, params};

use super::reference::Message;

/// The only connection that writes.
pub(super) struct Table {
    connection: Connection,
}

impl Table {
    /// Opens the file and makes the table if it is absent.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path).with_context(|| format!("{} could not be opened", path.display()))?;
        // FULL: a commit returns after its pages are on disk. Checkpoints every 4,000 pages bound the log; at SQLite's 1,000 they
        // come so often that they cost a good part of the rate.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4000;
             CREATE TABLE IF NOT EXISTS message (
                 number INTEGER PRIMARY KEY,
                 id TEXT NOT NULL UNIQUE,
                 phone_number_id TEXT NOT NULL,
                 sender TEXT NOT NULL,
                 kind TEXT NOT NULL,
                 sent_at INTEGER NOT NULL,
                 raw BLOB NOT NULL
             );",
        )?;
        Ok(Self { connection })
    }

    /// Writes those that are not there yet, and returns after the flush.
    pub(super) fn insert(&mut self, messages: &[Message]) -> anyhow::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO message (id, phone_number_id, sender, kind, sent_at, raw)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
            )?;
            for message in messages {
                insert.execute(params![
                    message.id,
                    message.phone_number_id,
                    message.sender,
                    message.kind,
                    message.sent_at,
                    &message.raw[..],
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
