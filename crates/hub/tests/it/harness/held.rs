//! A store that keeps everybody waiting until it is let go, and one that fails until it is mended.

use rusqlite::Connection;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::Harness;

/// Nothing of a notification can be written until it is released.
pub struct Held {
    by: By,
    tasks: JoinSet<()>,
}

enum By {
    /// The lock on writing to the file, as another process would hold it.
    File(Connection),
    /// A lock on the tables that notifications are written to.
    Lock(Client),
}

impl Harness {
    /// Makes everybody who writes events, or quarantined notifications, wait; who reads does not.
    pub async fn hold_store(&self) -> Held {
        let mut tasks = JoinSet::new();
        if let Some((client, connection)) = self.database.connect().await {
            tasks.spawn(connection);
            client
                .batch_execute("BEGIN; LOCK TABLE events, quarantined_notifications IN SHARE ROW EXCLUSIVE MODE")
                .await
                .unwrap();
            return Held {
                by: By::Lock(client),
                tasks,
            };
        }
        let path = self
            .database
            .url()
            .strip_prefix("sqlite://")
            .expect("the store is a file");
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(super::WITHIN).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Held {
            by: By::File(connection),
            tasks,
        }
    }

    /// Makes whatever is written of a notification fail, until [`Harness::mend_store`]: on Postgres nobody can connect, and who was connected is
    /// not any more; on SQLite the table refuses.
    pub async fn break_store(&self) {
        if self.is_shared() {
            self.database.shut().await;
        } else {
            let broken =
                "CREATE TRIGGER broken BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'the store is broken'); END";
            self.database.execute(broken).await;
        }
    }

    /// Undoes [`Harness::break_store`].
    pub async fn mend_store(&self) {
        if self.is_shared() {
            self.database.open().await;
        } else {
            self.database.execute("DROP TRIGGER broken").await;
        }
    }

    /// Waits until a unit waits for what another one has locked by its name; on Postgres alone.
    pub async fn until_a_name_is_waited_for(&self) {
        let (client, connection) = self.database.connect().await.expect("the store is on Postgres");
        let mut task = JoinSet::new();
        task.spawn(connection);
        let waits = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted";
        self.until("a name is waited for", async |_| {
            let count: i64 = client.query_one(waits, &[]).await.unwrap().get(0);
            (count > 0).then_some(())
        })
        .await;
        drop(client);
        task.join_all().await;
    }
}

impl Held {
    /// Lets everybody go on.
    pub async fn release(mut self) {
        match self.by {
            By::File(connection) => connection.execute_batch("ROLLBACK").unwrap(),
            By::Lock(client) => client.batch_execute("COMMIT").await.unwrap(),
        }
        while self.tasks.join_next().await.is_some() {}
    }
}
