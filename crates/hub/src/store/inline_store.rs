//! The engines for simulations, in which one thread is everything and time is the simulation's own: a unit is run while the caller stands
//! still, so that no time passes over it, and what may happen around it (waiting, failing, never being answered) is decided by whoever
//! simulates ([`Around`]). Several nodes may share a database; their units follow each other.
//!
//! The statements, and what a unit may do, are those of the engine. SQLite is in memory, and a unit runs on the calling thread. What survives
//! what is as in a file: a unit that was answered survives the end of its process, and one with [`Flush::Now`] also a cut of the power, with
//! all before it ([`InlineDatabase::cut_power`]). For that, what is not flushed yet stays in one open transaction. Postgres is a server, of which
//! whatever was answered survives.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use super::postgres_store::PostgresInline;
use super::sqlite_store::{Access, SqliteSession};
use super::statement::{Dialect, Translations};
use super::tx::{Session, Tx};
use super::unit::{Flush, Job, Mode, UnitError, Verdict};
use super::{OpenError, StoreError};

/// What a simulation lets happen around a unit of work.
pub trait Around: fmt::Debug + Send + Sync {
    /// Before the unit is run; an error is its answer, and it is not run.
    fn before(&self, writes: bool) -> Happening;

    /// After the commit, and before the answer; an error is told in the answer's place, but the commit stands. (A commit whose
    /// connection breaks is like that.)
    fn after(&self, writes: bool) -> Happening;
}

/// Something that takes its time, and ends well, ill, or never.
pub type Happening = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// A database that outlives the stores on it, as a file outlives processes. Cheap to clone; every clone is the same database.
#[derive(Clone)]
pub struct InlineDatabase {
    engine: Arc<Engine>,
}

enum Engine {
    Sqlite {
        held: Mutex<Held>,
        translations: Arc<Translations>,
    },
    Postgres(PostgresInline),
}

impl fmt::Debug for InlineDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineDatabase")
    }
}

#[derive(Debug)]
struct Held {
    session: SqliteSession,
    /// A transaction is open, with what a power cut would take back.
    unflushed: bool,
}

impl InlineDatabase {
    /// A new one in memory, empty.
    pub fn new() -> Result<Self, OpenError> {
        let path = Path::new(":memory:");
        let translations = Arc::new(Translations::new(Dialect::Sqlite));
        let session = SqliteSession::open(path, Access::Write, Arc::clone(&translations)).map_err(|source| {
            let path = path.to_owned();
            OpenError::Sqlite { path, source }
        })?;
        let held = Mutex::new(Held {
            session,
            unflushed: false,
        });
        Ok(Self {
            engine: Arc::new(Engine::Sqlite { held, translations }),
        })
    }

    /// The one at a `postgres://…` address.
    pub fn on_postgres(url: &str) -> Result<Self, OpenError> {
        Ok(Self {
            engine: Arc::new(Engine::Postgres(PostgresInline::open(url)?)),
        })
    }

    /// Takes back what was not flushed yet.
    pub fn cut_power(&self) -> Result<(), StoreError> {
        match &*self.engine {
            Engine::Sqlite { held, .. } => lock(held).cut_power(),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Asks the database past the store; a Postgres is asked by a connection of one's own.
    pub fn ask<T>(&self, question: impl FnOnce(&rusqlite::Connection) -> T) -> T {
        match &*self.engine {
            Engine::Sqlite { held, .. } => question(lock(held).session.connection()),
            Engine::Postgres(_) => panic!("a Postgres is asked by a connection of one's own"),
        }
    }

    fn run(&self, mode: Mode, mut job: Job) {
        match &*self.engine {
            Engine::Sqlite { held, .. } => match lock(held).run(mode, &mut job) {
                Ok(()) => job.answer(),
                Err(error) => job.fail(error),
            },
            Engine::Postgres(postgres) => postgres.run(job),
        }
    }

    fn translations(&self) -> &Translations {
        match &*self.engine {
            Engine::Sqlite { translations, .. } => translations,
            Engine::Postgres(postgres) => postgres.translations(),
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().expect("no thread panics while it holds this lock")
}

impl Held {
    fn cut_power(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.unflushed) {
            self.session.control("ROLLBACK")?;
        }
        Ok(())
    }

    fn run(&mut self, mode: Mode, job: &mut Job) -> Result<(), StoreError> {
        match mode {
            Mode::Read => {
                // To forbid writing, and allow it again, would have SQLite plan every statement anew each time.
                let changes = self.session.connection().total_changes();
                self.session.control("SAVEPOINT unit")?;
                job.run(&mut Tx::new(Session::Sqlite(&self.session)));
                let has_written = self.session.connection().total_changes() != changes;
                if has_written {
                    self.session.control("ROLLBACK TO unit")?;
                }
                self.session.control("RELEASE unit")?;
                if has_written {
                    return Err(StoreError::Refused("a unit that was to read has written".to_owned()));
                }
            }
            Mode::Write(flush) => {
                if !self.unflushed {
                    self.session.control("BEGIN IMMEDIATE")?;
                    self.unflushed = true;
                }
                self.session.control("SAVEPOINT unit")?;
                if job.run(&mut Tx::new(Session::Sqlite(&self.session))) == Verdict::TakeBack {
                    self.session.control("ROLLBACK TO unit")?;
                }
                self.session.control("RELEASE unit")?;
                if flush == Flush::Now {
                    self.session.control("COMMIT")?;
                    self.unflushed = false;
                }
            }
        }
        Ok(())
    }
}

/// The engine, as one process has it.
#[derive(Debug)]
pub(super) struct InlineStore {
    database: InlineDatabase,
    around: Arc<dyn Around>,
    is_shared: bool,
}

impl InlineStore {
    pub(super) fn new(database: InlineDatabase, around: Arc<dyn Around>, is_shared: bool) -> Self {
        Self {
            database,
            around,
            is_shared,
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub(super) fn engine(&self) -> &'static str {
        match &*self.database.engine {
            Engine::Sqlite { .. } => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    pub(super) async fn submit<T, E, F>(&self, mode: Mode, work: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        let writes = mode != Mode::Read;
        self.around.before(writes).await?;
        let (job, answer) = Job::new(mode, work);
        self.database.run(mode, job);
        self.around.after(writes).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) fn statements(&self) -> Vec<String> {
        self.database.translations().all()
    }
}
