//! A store that keeps everybody waiting, until it is let go.

use std::sync::mpsc;

use tidings::store::StoreError;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::Harness;

/// Nothing can be written until it is released.
pub struct Held {
    by: By,
    tasks: JoinSet<()>,
}

enum By {
    /// A unit of work on the thread that writes, which goes on when this is dropped.
    Unit(mpsc::Sender<()>),
    /// A lock on the table that notifications are written to.
    Lock(Client),
}

impl Harness {
    /// Makes everybody who writes events wait.
    pub async fn hold_store(&self) -> Held {
        let mut tasks = JoinSet::new();
        if let Some((client, connection)) = self.database.connect().await {
            tasks.spawn(connection);
            client
                .batch_execute("BEGIN; LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")
                .await
                .unwrap();
            return Held {
                by: By::Lock(client),
                tasks,
            };
        }
        let (release, released) = mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let mut begun = Some(begun);
        let store = self.hub().app().store.clone();
        tasks.spawn(async move {
            let unit = store.write(move |_| {
                if let Some(begun) = begun.take() {
                    // The test waits for it.
                    let _ = begun.send(());
                }
                // It ends when the sender is dropped.
                let _ = released.recv();
                Ok::<_, StoreError>(())
            });
            unit.await.unwrap();
        });
        has_begun.await.unwrap();
        Held {
            by: By::Unit(release),
            tasks,
        }
    }
}

impl Harness {
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
            By::Unit(release) => drop(release),
            By::Lock(client) => client.batch_execute("COMMIT").await.unwrap(),
        }
        while self.tasks.join_next().await.is_some() {}
    }
}
