//! The embedded engine without threads: for simulations, in which one thread is everything and time is the simulation's own.
//!
//! The statements, and what a unit may do, are those of SQLite; the database is in memory. Several nodes may share it, as they share a Postgres. A unit runs on the calling thread, and what
//! may happen around it (waiting, failing, never being answered) is decided by whoever simulates ([`Around`]).
//!
//! What survives what is as in a file: a unit that was answered survives the end of its process, and one with [`Flush::Now`] also a cut of
//! the power, with all before it ([`InlineDatabase::cut_power`]). For that, what is not flushed yet stays in one open transaction.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

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

/// A database in memory that outlives the stores on it, as a file outlives processes. Cheap to clone; every clone is the same database.
#[derive(Clone)]
pub struct InlineDatabase {
    held: Arc<Mutex<Held>>,
    translations: Arc<Translations>,
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
    /// A new one, empty.
    pub fn new() -> Result<Self, OpenError> {
        let path = Path::new(":memory:");
        let translations = Arc::new(Translations::new(Dialect::Sqlite));
        let session = SqliteSession::open(path, Access::Write, Arc::clone(&translations)).map_err(|source| {
            let path = path.to_owned();
            OpenError::Sqlite { path, source }
        })?;
        Ok(Self {
            held: Arc::new(Mutex::new(Held {
                session,
                unflushed: false,
            })),
            translations,
        })
    }

    /// Takes back what was not flushed yet.
    pub fn cut_power(&self) -> Result<(), StoreError> {
        let mut held = self.lock();
        if std::mem::take(&mut held.unflushed) {
            held.session.control("ROLLBACK")?;
        }
        Ok(())
    }

    /// Asks the database past the store.
    pub fn ask<T>(&self, question: impl FnOnce(&rusqlite::Connection) -> T) -> T {
        question(self.lock().session.connection())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no thread panics while it holds this lock")
    }

    fn run(&self, mode: Mode, job: &mut Job) -> Result<(), StoreError> {
        let mut held = self.lock();
        match mode {
            Mode::Read => {
                // To forbid writing, and allow it again, would have SQLite plan every statement anew each time.
                let changes = held.session.connection().total_changes();
                held.session.control("SAVEPOINT unit")?;
                job.run(&mut Tx::new(Session::Sqlite(&held.session)));
                let has_written = held.session.connection().total_changes() != changes;
                if has_written {
                    held.session.control("ROLLBACK TO unit")?;
                }
                held.session.control("RELEASE unit")?;
                if has_written {
                    return Err(StoreError::Refused("a unit that was to read has written".to_owned()));
                }
            }
            Mode::Write(flush) => {
                if !held.unflushed {
                    held.session.control("BEGIN IMMEDIATE")?;
                    held.unflushed = true;
                }
                held.session.control("SAVEPOINT unit")?;
                if job.run(&mut Tx::new(Session::Sqlite(&held.session))) == Verdict::TakeBack {
                    held.session.control("ROLLBACK TO unit")?;
                }
                held.session.control("RELEASE unit")?;
                if flush == Flush::Now {
                    held.session.control("COMMIT")?;
                    held.unflushed = false;
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

    pub(super) async fn submit<T, E, F>(&self, mode: Mode, work: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        let writes = mode != Mode::Read;
        self.around.before(writes).await?;
        let (mut job, answer) = Job::new(mode, work);
        match self.database.run(mode, &mut job) {
            Ok(()) => job.answer(),
            Err(error) => job.fail(error),
        }
        self.around.after(writes).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) fn statements(&self) -> Vec<String> {
        self.database.translations.all()
    }
}
