//! The reference server's table in Postgres.

use anyhow::Context as _;
use postgres::{Client, NoTls, Statement};

use super::reference::Message;

/// One connection, one group in flight: more of them make smaller groups, and are slower.
pub(super) struct Table {
    client: Client,
    insert: Statement,
}

impl Table {
    /// Connects and makes the table if it is absent.
    pub(super) fn open(url: &str) -> anyhow::Result<Self> {
        let mut client = Client::connect(url, NoTls).context("Postgres could not be reached")?;
        // Postgres flushes at commit unless told otherwise; a server that was told otherwise would make the comparison worthless.
        client.batch_execute(
            "SET synchronous_commit = on;
             CREATE TABLE IF NOT EXISTS message (
                 number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                 id TEXT NOT NULL UNIQUE,
                 phone_number_id TEXT NOT NULL,
                 sender TEXT NOT NULL,
                 kind TEXT NOT NULL,
                 sent_at BIGINT NOT NULL,
                 raw BYTEA NOT NULL
             );",
        )?;
        let insert = client.prepare(
            "INSERT INTO message (id, phone_number_id, sender, kind, sent_at, raw)
             SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[])
             ON CONFLICT (id) DO NOTHING",
        )?;
        Ok(Self { client, insert })
    }

    /// Writes those that are not there yet, and returns after the flush: one statement is one transaction.
    pub(super) fn insert(&mut self, messages: &[Message]) -> anyhow::Result<()> {
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        let numbers: Vec<&str> = messages
            .iter()
            .map(|message| message.phone_number_id.as_str())
            .collect();
        let senders: Vec<&str> = messages.iter().map(|message| message.sender.as_str()).collect();
        let kinds: Vec<&str> = messages.iter().map(|message| message.kind.as_str()).collect();
        let times: Vec<i64> = messages.iter().map(|message| message.sent_at).collect();
        let raws: Vec<&[u8]> = messages.iter().map(|message| &message.raw[..]).collect();
        self.client
            .execute(&self.insert, &[&ids, &numbers, &senders, &kinds, &times, &raws])?;
        Ok(())
    }
}
