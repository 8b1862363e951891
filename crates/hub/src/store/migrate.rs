//! The schema's steps, in order, for both engines.
//!
//! Steps only add. They are run at start, or by `tidings migrate`, under a lock, all in one transaction. A step that has been released
//! never changes; what was run is remembered by name and checksum.

use jiff::Timestamp;

use super::tx::{AdvisoryLock, Session, Tx};
use super::value::params;
use super::{MigrateError, StoreError};

struct Migration {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal,)*) => {
        &[$(Migration {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        },)*]
    };
}

const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_first",
    2 "0002_lists_and_profiles",
    3 "0003_channels",
    4 "0004_sending",
    5 "0005_requests",
    6 "0006_routes",
    7 "0007_circuits_and_switches",
    8 "0008_asides",
    9 "0009_media",
    10 "0010_templates",
    11 "0011_media_watch",
    12 "0012_channel_hours",
    13 "0013_comments",
    14 "0014_consent",
    15 "0015_looks",
    16 "0016_budgets",
    17 "0017_numbers",
    18 "0018_asked_channels",
    19 "0019_comments_at_meta",
    20 "0020_names_told",
    21 "0021_identities_by_value",
    22 "0022_conversations_of_contacts",
};

impl Tx<'_> {
    /// Runs the steps that are missing, and answers with their names.
    pub fn migrate(&mut self, now: Timestamp) -> Result<Vec<&'static str>, MigrateError> {
        self.lock(AdvisoryLock::Migration)?;
        self.script(
            "CREATE TABLE IF NOT EXISTS schema_migrations (
                number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)",
        )?;
        let applied = self.query(
            "SELECT number, name, checksum FROM schema_migrations ORDER BY number",
            params![],
        )?;
        let known = MIGRATIONS.last().map_or(0, |migration| migration.number);
        for row in &applied {
            let (number, name, checksum): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let Some(migration) = MIGRATIONS.iter().find(|migration| migration.number == number) else {
                return Err(MigrateError::Newer { found: number, known });
            };
            if self.checksum(migration) != checksum {
                return Err(MigrateError::Changed { name });
            }
        }
        let mut run = Vec::new();
        for migration in MIGRATIONS.iter().skip(applied.len()) {
            let sql = self.sql_of(migration);
            self.script(sql)?;
            let checksum = self.checksum(migration);
            self.execute(
                "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
                params![migration.number, migration.name, &checksum, now.as_millisecond()],
            )?;
            run.push(migration.name);
        }
        Ok(run)
    }

    fn sql_of(&self, migration: &Migration) -> &'static str {
        match self.session() {
            Session::Sqlite(_) => migration.sqlite,
            Session::Postgres(_) => migration.postgres,
        }
    }

    fn checksum(&self, migration: &Migration) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.sql_of(migration).as_bytes());
        hex::encode(digest)
    }

    fn script(&mut self, sql: &str) -> Result<(), StoreError> {
        match self.session_mut() {
            Session::Sqlite(session) => session.execute_script(sql),
            Session::Postgres(session) => session.execute_script(sql),
        }
    }
}
