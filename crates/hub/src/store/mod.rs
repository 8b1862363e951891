//! Where everything is kept: SQLite in a file, or Postgres; the same questions to both.
//!
//! A *unit of work* is a synchronous closure over a [`Tx`]. It runs on a database thread in one transaction: all of it is kept, or
//! nothing. On SQLite one thread writes, and groups what waits into one commit; on Postgres units run side by side, and may be run
//! again when they lose to another one, so a unit does nothing but read and write the store.
//!
//! A simulation has SQLite without threads ([`Store::inline`]): the same units and statements, run where they are called.
//!
//! The files beside this one, a capability each, hold every statement that there is, as methods of [`Tx`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

pub use inline_store::{Around, Happening, InlineDatabase};
pub use tx::Tx;
pub use unit::UnitError;

use inline_store::InlineStore;
use postgres_store::PostgresStore;
use sqlite_store::SqliteStore;
use unit::{Flush, Job, Mode};

pub mod audit;
pub mod channels;
pub mod comments;
pub mod consent;
pub mod contacts;
pub mod conversations;
pub mod events;
pub mod flags;
mod inline_store;
pub mod leases;
mod marketing;
pub mod media;
pub mod media_watch;
pub mod messages;
mod migrate;
pub mod numbers;
pub mod outbox;
pub mod pace;
mod postgres_store;
mod postgres_tls;
pub mod queue;
mod routes;
mod silence;
mod sqlite_store;
mod statement;
pub mod stream;
pub mod templates;
mod tx;
mod unit;
pub(crate) mod value;

/// The store. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    backend: Arc<Backend>,
}

#[derive(Debug)]
enum Backend {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
    Inline(InlineStore),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.backend {
            Backend::Sqlite(_) => "Store(SQLite)",
            Backend::Postgres(_) => "Store(Postgres)",
            Backend::Inline(inline) if inline.engine() == "sqlite" => "Store(SQLite, inline)",
            Backend::Inline(_) => "Store(Postgres, inline)",
        })
    }
}

impl Store {
    /// Opens the store at a `sqlite://…` or `postgres://…` address. It is not migrated yet: see [`Store::migrate`].
    pub async fn open(url: &SecretString) -> Result<Self, OpenError> {
        Self::open_trusting(url, None).await
    }

    /// Like [`open`](Self::open); a Postgres that is reached by TLS may also be vouched for by the authorities whose certificates (PEM) are in
    /// this file.
    pub async fn open_trusting(url: &SecretString, authorities: Option<&Path>) -> Result<Self, OpenError> {
        let url = url.expose_secret().to_owned();
        let authorities = authorities.map(Path::to_owned);
        // Connecting blocks; it happens once, at start.
        tokio::task::spawn_blocking(move || {
            let backend = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
                Backend::Postgres(PostgresStore::open(&url, authorities.as_deref())?)
            } else if url.starts_with("sqlite:") {
                Backend::Sqlite(SqliteStore::open(&sqlite_store::path_of(&url))?)
            } else {
                return Err(OpenError::UnknownScheme);
            };
            Ok(Self {
                backend: Arc::new(backend),
            })
        })
        .await
        .map_err(|_| OpenError::Interrupted)?
    }

    /// A store for simulations, which runs each unit while its caller stands still.
    pub fn inline(database: &InlineDatabase, around: Arc<dyn Around>) -> Self {
        Self {
            backend: Arc::new(Backend::Inline(InlineStore::new(database.clone(), around, false))),
        }
    }

    /// The same for one of several nodes that work on the database side by side.
    pub fn inline_shared(database: &InlineDatabase, around: Arc<dyn Around>) -> Self {
        Self {
            backend: Arc::new(Backend::Inline(InlineStore::new(database.clone(), around, true))),
        }
    }

    /// Whether other nodes may be at work on what it keeps.
    pub fn is_shared(&self) -> bool {
        match &*self.backend {
            Backend::Sqlite(_) => false,
            Backend::Inline(inline) => inline.is_shared(),
            Backend::Postgres(_) => true,
        }
    }

    /// The file that it is in, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => Some(sqlite.path()),
            Backend::Inline(_) | Backend::Postgres(_) => None,
        }
    }

    /// `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        match &*self.backend {
            Backend::Sqlite(_) => "sqlite",
            Backend::Inline(inline) => inline.engine(),
            Backend::Postgres(_) => "postgres",
        }
    }

    /// Brings the schema up to date; answers with the names of the migrations that were run.
    pub async fn migrate(&self, now: jiff::Timestamp) -> Result<Vec<&'static str>, MigrateError> {
        self.write(move |tx| tx.migrate(now)).await
    }

    /// Runs a unit that only reads, on one snapshot; a statement of it that writes or locks is refused. It never waits for a writer, nor a
    /// writer for it.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        match &*self.backend {
            Backend::Sqlite(sqlite) => submit(sqlite.reads(), Mode::Read, work).await,
            Backend::Postgres(postgres) => submit(postgres.units(), Mode::Read, work).await,
            Backend::Inline(inline) => inline.submit(Mode::Read, work).await,
        }
    }

    /// Runs a unit that writes; once it is answered it survives a power cut.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        self.submit_write(Flush::Now, work).await
    }

    /// Runs a unit that writes what would be found undone and be done again after a power cut: it survives a crash of the process, but is
    /// flushed to disk only with the next [`write`](Self::write).
    pub async fn write_unflushed<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        self.submit_write(Flush::Later, work).await
    }

    /// Like [`write`](Self::write), before everything else that waits: for what Meta waits for an answer to.
    pub async fn write_urgent<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        let mode = Mode::Write(Flush::Now);
        match &*self.backend {
            Backend::Sqlite(sqlite) => submit(sqlite.urgent(), mode, work).await,
            Backend::Postgres(postgres) => submit(postgres.urgent(), mode, work).await,
            Backend::Inline(inline) => inline.submit(mode, work).await,
        }
    }

    /// How many units of [`write_urgent`](Self::write_urgent) are at work at once.
    pub fn urgent_units(&self) -> usize {
        match &*self.backend {
            Backend::Sqlite(_) | Backend::Inline(_) => 1,
            Backend::Postgres(_) => postgres_store::URGENT_CONNECTIONS,
        }
    }

    /// Ready when a node, this one or another, may have changed channels or flags. Only makes a look at the revision sooner: on SQLite it
    /// is never ready, and on Postgres it may be ready for nothing.
    pub async fn changed(&self) {
        match &*self.backend {
            Backend::Sqlite(_) | Backend::Inline(_) => std::future::pending().await,
            Backend::Postgres(postgres) => postgres.heard().notified().await,
        }
    }

    /// Every statement that this store has run, once, in the engine's own words: so that it can be asked how it goes about them.
    pub fn statements(&self) -> Vec<String> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.statements(),
            Backend::Postgres(postgres) => postgres.statements(),
            Backend::Inline(inline) => inline.statements(),
        }
    }

    /// Ends the database threads after what was submitted. Only the last clone of a store can close it; the others do nothing.
    pub async fn close(self) {
        if let Some(backend) = Arc::into_inner(self.backend) {
            let _ = tokio::task::spawn_blocking(move || match backend {
                Backend::Sqlite(sqlite) => sqlite.join(),
                Backend::Postgres(postgres) => postgres.join(),
                // It has no threads.
                Backend::Inline(_) => {}
            })
            .await;
        }
    }

    async fn submit_write<T, E, F>(&self, flush: Flush, work: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        let mode = Mode::Write(flush);
        match &*self.backend {
            Backend::Sqlite(sqlite) => submit(sqlite.writes(), mode, work).await,
            Backend::Postgres(postgres) => submit(postgres.units(), mode, work).await,
            Backend::Inline(inline) => inline.submit(mode, work).await,
        }
    }
}

async fn submit<T, E, F>(queue: &mpsc::Sender<Job>, mode: Mode, work: F) -> Result<T, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: UnitError,
{
    let (job, answer) = Job::new(mode, work);
    queue.send(job).await.map_err(|_| StoreError::Closed)?;
    answer.await.map_err(|_| StoreError::Closed)?
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(OpenError::Thread)
}

/// Why the store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is full, read-only or broken: nothing of the unit was kept, as far as can be known.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Another transaction was in the way, several times over.
    #[error("the store could not order this after other work: {0}")]
    Conflict(String),
    /// A statement of ours is wrong, or the data does not fit it.
    #[error("the store refused a statement: {0}")]
    Refused(String),
    /// A row holds what we never write.
    #[error("a row of the store is not as Tidings writes it: {0}")]
    Corrupt(String),
    /// The unit panicked: a bug of ours.
    #[error("a unit of work panicked")]
    Panicked,
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn corrupt(column: usize, what: &str) -> Self {
        Self::Corrupt(format!("column {column} {what}"))
    }

    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// The same error for another caller of the same transaction.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Unavailable(text) => Self::Unavailable(text.clone()),
            Self::Conflict(text) => Self::Conflict(text.clone()),
            Self::Refused(text) => Self::Refused(text.clone()),
            Self::Corrupt(text) => Self::Corrupt(text.clone()),
            Self::Panicked => Self::Panicked,
            Self::Closed => Self::Closed,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<postgres::Error> for StoreError {
    fn from(error: postgres::Error) -> Self {
        use postgres::error::SqlState;
        // `Display` of a database error is one word; its message is in the source.
        let text = error
            .as_db_error()
            .map_or_else(|| error.to_string(), |database| database.message().to_owned());
        match error.code() {
            // A row that another unit inserted since this one looked: run again, this one finds it.
            Some(
                &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::UNIQUE_VIOLATION,
            ) => Self::Conflict(text),
            Some(code) if matches!(&code.code()[..2], "08" | "53" | "57" | "58" | "25") => Self::Unavailable(text),
            Some(_) => Self::Refused(text),
            None => Self::Unavailable(text),
        }
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither of the two engines.
    #[error("DATABASE_URL must begin with `sqlite://` or `postgres://`")]
    UnknownScheme,
    /// The data folder cannot be made.
    #[error("the folder {path} cannot be made; set TIDINGS_DATA_DIR to one that can be written to", path = .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be opened as a database.
    #[error("{path} cannot be opened as a SQLite database", path = .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The address cannot be understood.
    #[error("DATABASE_URL is not an address of Postgres")]
    PostgresUrl(#[source] postgres::Error),
    /// The authorities' certificates cannot be read.
    #[error(
        "DATABASE_CA_CERT_PATH: the certificates of {path} cannot be read ({reason}); name a file in PEM form",
        path = .path.display()
    )]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Authorities are named for a connection without TLS.
    #[error("DATABASE_CA_CERT_PATH is set, but DATABASE_URL does not ask for TLS: add `sslmode=verify-full` to it")]
    AuthoritiesWithoutTls,
    /// TLS cannot be set up.
    #[error(
        "TLS towards Postgres cannot be set up; without certificates of the system's own, name some with DATABASE_CA_CERT_PATH"
    )]
    Tls(#[source] rustls::Error),
    /// Postgres cannot be reached or refused us.
    #[error("Postgres at DATABASE_URL cannot be used")]
    Postgres(#[source] Box<postgres::Error>),
    /// The system has no room for another thread.
    #[error("a database thread could not be started")]
    Thread(#[source] std::io::Error),
    /// The process is being stopped.
    #[error("opening the store was interrupted")]
    Interrupted,
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database belongs to a newer Tidings.
    #[error(
        "the database has schema {found}, and this version of Tidings knows {known} at most: start the newer version, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The schema's number in the database.
        found: i64,
        /// The newest number that this binary knows.
        known: i64,
    },
    /// A migration that was run differs from the one in this binary.
    #[error(
        "migration {name} was run in another form than this version of Tidings has: the database was made by a build that was never released"
    )]
    Changed {
        /// The migration.
        name: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnitError for MigrateError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Newer { .. } | Self::Changed { .. } => None,
        }
    }
}
