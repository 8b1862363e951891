//! A database for one test: a file in the test's own folder, or a database under a random name on the server that
//! `TIDINGS_TEST_POSTGRES_URL` names. Only what was created here is removed.

use std::path::Path;

use tempfile::Builder;
use tokio_postgres::{Client, NoTls};

/// The variable that names a Postgres server on which databases may be made.
const SERVER: &str = "TIDINGS_TEST_POSTGRES_URL";

/// Where the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// SQLite, and Postgres where there is a server. In CI there has to be one.
    pub fn available() -> Vec<Self> {
        if server().is_some() {
            return vec![Self::Sqlite, Self::Postgres];
        }
        assert!(
            variable("CI").is_none(),
            "{SERVER} is not set, and CI tests both engines"
        );
        println!("{SERVER} is not set: on SQLite only");
        vec![Self::Sqlite]
    }
}

/// A database that belongs to one test.
pub struct Database {
    url: String,
    /// Its name on the server.
    name: Option<String>,
}

impl Database {
    /// A new one, empty.
    pub async fn create(engine: Engine, folder: &Path) -> Self {
        match engine {
            Engine::Sqlite => Self {
                url: format!("sqlite://{}", folder.join("tidings.db").display()),
                name: None,
            },
            Engine::Postgres => {
                let name = random_name(folder);
                execute(&format!("CREATE DATABASE {name}")).await;
                let server = server().expect("it was there when the engines were listed");
                let (address, _) = server
                    .rsplit_once('/')
                    .expect("the address of a server ends with a database");
                Self {
                    url: format!("{address}/{name}"),
                    name: Some(name),
                }
            }
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection of the test's own; `None` on SQLite, which has no server.
    pub(super) async fn connect(&self) -> Option<(Client, impl Future<Output = ()> + use<>)> {
        self.name.as_ref()?;
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        Some((client, async move {
            // It ends with its client, or with the database.
            let _ = connection.await;
        }))
    }

    /// Runs a statement on it, beside whoever uses it.
    pub async fn execute(&self, statement: &str) {
        if let Some((client, connection)) = self.connect().await {
            tokio::select! {
                done = client.batch_execute(statement) => done.unwrap(),
                () = connection => panic!("the connection ended before the statement"),
            }
        } else {
            let path = self.url.strip_prefix("sqlite://").expect("it is a file");
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.busy_timeout(super::WITHIN).unwrap();
            connection.execute_batch(statement).unwrap();
        }
    }

    /// Ends every connection to it, and lets nobody connect.
    pub(super) async fn shut(&self) {
        let name = self.name.as_ref().expect("it is on a server");
        execute(&format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")).await;
        execute(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    }

    /// Undoes [`Database::shut`].
    pub(super) async fn open(&self) {
        let name = self.name.as_ref().expect("it is on a server");
        execute(&format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")).await;
    }

    /// Removes it, whoever is still connected.
    pub async fn remove(self) {
        if let Some(name) = self.name {
            execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

/// Random because the folder's name is, which the system made for this test alone.
fn random_name(folder: &Path) -> String {
    let marker = Builder::new()
        .prefix("tidings_test_")
        .rand_bytes(16)
        .tempfile_in(folder)
        .unwrap();
    marker.path().file_name().unwrap().to_str().unwrap().to_lowercase()
}

async fn execute(statement: &str) {
    let server = server().expect("it was there when the engines were listed");
    let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
    tokio::select! {
        done = client.batch_execute(statement) => done.unwrap(),
        ended = connection => panic!("the connection ended before the statement: {ended:?}"),
    }
}

fn server() -> Option<String> {
    variable(SERVER)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what tests are run with is no setting of the hub"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
