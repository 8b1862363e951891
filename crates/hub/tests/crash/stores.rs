//! Stores to crash on: made for one test, gone afterwards.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// Makes the names of one process different; its id makes them different from those of others.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Where a store is kept.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    /// In a file.
    Sqlite,
    /// In a database of this server.
    Postgres { server_url: String },
}

impl Engine {
    /// The test's Postgres; `None` if this run has none, which is allowed outside CI alone.
    #[expect(
        clippy::disallowed_methods,
        reason = "how the tests are run is no setting of the hub's"
    )]
    pub(crate) fn postgres() -> Option<Self> {
        let server_url = std::env::var("TIDINGS_TEST_POSTGRES_URL").ok();
        if server_url.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "in CI, TIDINGS_TEST_POSTGRES_URL must name a Postgres"
            );
            println!("skipped on Postgres: `make test` makes one, and sets TIDINGS_TEST_POSTGRES_URL");
        }
        server_url.map(|server_url| Self::Postgres { server_url })
    }
}

/// The command that ends the test's Postgres at once, as a crash would, and starts it anew; `None` if this run has none.
#[expect(
    clippy::disallowed_methods,
    reason = "how the tests are run is no setting of the hub's"
)]
pub(crate) fn restart_postgres() -> Option<PathBuf> {
    let command = std::env::var_os("TIDINGS_POSTGRES_RESTART").map(PathBuf::from);
    if command.is_none() {
        println!("skipped: the Postgres of this run is not made by scripts/with-postgres, and cannot be restarted");
    }
    command
}

/// An empty store, and a folder for the hub that uses it.
#[derive(Debug)]
pub(crate) struct Store {
    folder: TempDir,
    database: Option<Database>,
}

impl Store {
    pub(crate) async fn new(engine: &Engine) -> Self {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres { server_url } => {
                let server_url = server_url.clone();
                // The client blocks, and does not run on a thread of this runtime.
                Some(spawn_blocking(move || Database::create(server_url)).await.unwrap())
            }
        };
        Self {
            folder: TempDir::new().unwrap(),
            database,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As the hub is told it.
    pub(crate) fn url(&self) -> String {
        match &self.database {
            Some(database) => database.url.clone(),
            None => format!("sqlite://{}", self.file().display()),
        }
    }

    /// Asks the store itself, past the hub. `{hex x}` stands for bytes as text; an absent value is an empty text.
    pub(crate) async fn ask(&self, sql: &str) -> Vec<Vec<String>> {
        let (file, url) = (self.file(), self.database.as_ref().map(|database| database.url.clone()));
        let sql = translated(sql, url.is_some());
        let answer = spawn_blocking(move || match url {
            Some(url) => ask_postgres(&url, &sql),
            None => ask_sqlite(&file, &sql),
        });
        answer.await.unwrap()
    }

    /// The number that a question is answered with.
    pub(crate) async fn number(&self, sql: &str) -> u64 {
        self.ask(sql).await[0][0].parse().unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder().join("tidings.db")
    }
}

#[derive(Debug)]
struct Database {
    server_url: String,
    name: String,
    url: String,
}

impl Database {
    fn create(server_url: String) -> Self {
        let name = format!(
            "tidings_crash_{}_{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let mut server = postgres::Client::connect(&server_url, postgres::NoTls).unwrap();
        // The name is our own: letters, digits and underscores.
        server.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let (address, options) = server_url
            .split_once('?')
            .map_or((&*server_url, String::new()), |(address, options)| {
                (address, format!("?{options}"))
            });
        let url = format!("{}/{name}{options}", address.rsplit_once('/').unwrap().0);
        Self { server_url, name, url }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (url, statement) = (
            self.server_url.clone(),
            format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
        // What stays behind bears a name that says whose it was.
        let dropping = std::thread::Builder::new().spawn(move || {
            postgres::Client::connect(&url, postgres::NoTls).and_then(|mut server| server.batch_execute(&statement))
        });
        let _ = dropping.map(std::thread::JoinHandle::join);
    }
}

fn translated(sql: &str, for_postgres: bool) -> String {
    let (before, after) = if for_postgres {
        ("encode(", ", 'hex')")
    } else {
        ("lower(hex(", "))")
    };
    let mut parts = sql.split("{hex ");
    let mut translated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (bytes, rest) = part.split_once('}').unwrap();
        translated.extend([before, bytes, after, rest]);
    }
    translated
}

fn ask_postgres(url: &str, sql: &str) -> Vec<Vec<String>> {
    use postgres::SimpleQueryMessage::Row;
    let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
    let answer = client.simple_query(sql).unwrap();
    let rows = answer
        .iter()
        .filter_map(|part| if let Row(row) = part { Some(row) } else { None });
    rows.map(|row| {
        (0..row.len())
            .map(|column| row.get(column).unwrap_or_default().to_owned())
            .collect()
    })
    .collect()
}

fn ask_sqlite(file: &Path, sql: &str) -> Vec<Vec<String>> {
    use rusqlite::types::ValueRef;
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(file, flags).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        let text = |column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => String::new(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
            })
        };
        (0..width).map(text).collect()
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}
