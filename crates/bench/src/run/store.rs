//! What is measured on: a folder, and on Postgres a database. Both are made here, and both are gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::Context as _;
use postgres::{Client, NoTls};

use super::{Bench, Engine};

/// Makes the names of one process different; its id makes them different from those of others.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An empty store and a folder to work in.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) engine: Engine,
    folder: Folder,
    database: Option<Database>,
}

impl Store {
    /// Errors if the folder or the database cannot be made.
    pub(super) async fn new(bench: &Bench, engine: Engine) -> anyhow::Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidings_bench_{}_{number}", std::process::id());
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => {
                let server_url = bench
                    .settings
                    .postgres_url
                    .clone()
                    .context("Postgres is measured on, but no server was named")?;
                let name = name.clone();
                // The client blocks, and would not run on a thread of this runtime.
                let database = tokio::task::spawn_blocking(move || Database::create(server_url, name));
                Some(database.await.context("making a database failed")??)
            }
        };
        Ok(Self {
            engine,
            folder: Folder::create(bench.settings.scratch.join(name))?,
            database,
        })
    }

    /// The server's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// The URL of the Postgres database; `None` on SQLite.
    pub(super) fn postgres_url(&self) -> Option<String> {
        self.database
            .as_ref()
            .map(|database| with_database(&database.server_url, &database.name))
    }
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create(path: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir(&path).with_context(|| format!("{} could not be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind lies in the scratch folder under a name that says whose it was.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
struct Database {
    server_url: String,
    name: String,
}

impl Database {
    fn create(server_url: String, name: String) -> anyhow::Result<Self> {
        let mut client = Client::connect(&server_url, NoTls).context("Postgres could not be reached")?;
        // The name is our own: letters, digits and underscores.
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .context("a database could not be made")?;
        Ok(Self { server_url, name })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let url = self.server_url.clone();
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropping = thread::spawn(move || {
            // What stays behind bears a name that says whose it was.
            if let Ok(mut client) = Client::connect(&url, NoTls) {
                let _ = client.batch_execute(&statement);
            }
        });
        let _ = dropping.join();
    }
}

/// The same server's URL for another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, options) = match url.split_once('?') {
        Some((address, options)) => (address, format!("?{options}")),
        None => (url, String::new()),
    };
    let authority_start = address.find("://").map_or(0, |scheme_end| scheme_end + 3);
    let authority_end = address[authority_start..]
        .find('/')
        .map_or(address.len(), |slash| authority_start + slash);
    format!("{}/{name}{options}", &address[..authority_end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_exchanged_and_nothing_else() {
        for (url, wanted) in [
            ("postgres://u:p@h:1/old", "postgres://u:p@h:1/new"),
            ("postgres://u@h", "postgres://u@h/new"),
            ("postgres://u@h/old?host=/tmp/s", "postgres://u@h/new?host=/tmp/s"),
        ] {
            assert_eq!(with_database(url, "new"), wanted);
        }
    }
}
