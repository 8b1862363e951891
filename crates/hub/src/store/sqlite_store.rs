//! The embedded engine: one file, one writing connection, several reading ones.
//!
//! Guarantee: a unit submitted with [`Flush::Now`] is answered after a commit that was flushed to disk. One submitted
//! with [`Flush::Later`] is answered after a commit that survives a crash of the process, and is flushed with the next one that
//! is; until then a power cut may take it back as a whole. Units are grouped: what waits is run under one transaction, each unit under
//! a savepoint of its own if it is not alone, so that one that fails takes only itself back.
//!
//! Flushing is the work of a thread of its own. SQLite is left at `synchronous=NORMAL`, where a commit appends to the write-ahead log
//! without waiting for the disk (and only moving the log into the database waits); the flusher then flushes the log, once for all commits
//! that have come in meanwhile, and answers their units. That is what `synchronous=FULL` does too, but while the disk works the
//! writer goes on. The log is written in the order of the commits: whatever a flushed commit has seen is on disk with it.
//!
//! Moving the log into the database is begun by a thread of its own too, the checkpointer: it moves what has gathered while the writer
//! goes on writing. What came in meanwhile the writer moves itself, since only then the log begins anew.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::mpsc;

use super::statement::{Dialect, Translations};
use super::tx::{Session, Tx, sqlite_row};
use super::unit::{Flush, Job, Mode, Verdict};
use super::value::{Param, Row, Rows};
use super::{OpenError, StoreError};

/// How many units one transaction holds at most.
const GROUP_UNITS_MAX: usize = 256;
/// How many units wait at most before a caller has to wait for room.
const QUEUE_UNITS_MAX: usize = 1_024;
const READERS: usize = 3;
/// Prepared statements that a connection keeps.
const STATEMENTS_MAX: usize = 256;
/// Pages that the write-ahead log grows to before they are moved into the database: 64 MiB. A page that many commits have written is moved
/// once, so that a larger log means fewer moves, each of them longer.
const CHECKPOINT_PAGES: i64 = 16_000;
/// A log that the checkpointer cannot keep that short: the writer moves it, and everybody waits.
const CHECKPOINT_PAGES_MAX: i64 = 4 * CHECKPOINT_PAGES;
/// How often the checkpointer goes through the log in one go: each time a fraction of what it moved the time before has come in.
const CHECKPOINT_ROUNDS: usize = 2;
/// What the writing connection keeps of the database in memory, in KiB: the upper levels of the indexes and what is written over and over.
const WRITER_CACHE_KIB: i64 = 8_192;
/// How many groups are flushed at once at most; the writer waits when there are more.
const FLUSH_GROUPS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct SqliteStore {
    path: PathBuf,
    urgent: mpsc::Sender<Job>,
    writes: mpsc::Sender<Job>,
    reads: mpsc::Sender<Job>,
    translations: Arc<Translations>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the file, and makes it and its folder if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source: rusqlite::Error| OpenError::Sqlite {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder {
                path: folder.to_owned(),
                source,
            })?;
        }
        let translations = Arc::new(Translations::new(Dialect::Sqlite));
        let writer = SqliteSession::open(path, Access::Write, Arc::clone(&translations)).map_err(failed)?;
        let (urgent, urgent_jobs) = mpsc::channel(QUEUE_UNITS_MAX);
        let (writes, write_jobs) = mpsc::channel(QUEUE_UNITS_MAX);
        let (reads, read_jobs) = mpsc::channel(QUEUE_UNITS_MAX);
        let (committed, unflushed) = mpsc::channel(FLUSH_GROUPS_MAX);
        let log = Log { path: log_of(path) };
        let mover = SqliteSession::open(path, Access::Write, Arc::clone(&translations)).map_err(failed)?;
        // Room for the one request that is under way.
        let (long, long_logs) = mpsc::channel(1);
        let moved = Arc::new(AtomicBool::new(false));
        let checkpoints = Checkpoints {
            long,
            moved: Arc::clone(&moved),
            are_under_way: false,
        };
        let mut threads = vec![
            super::thread("store-writer", move || {
                Writer {
                    session: writer,
                    committed,
                    checkpoints,
                }
                .run(urgent_jobs, write_jobs);
            })?,
            super::thread("store-flusher", move || flush_all(&log, unflushed))?,
            super::thread("store-mover", move || move_logs(&mover, long_logs, &moved))?,
        ];
        let read_jobs = Arc::new(Mutex::new(read_jobs));
        for _ in 0..READERS {
            let reader = SqliteSession::open(path, Access::Read, Arc::clone(&translations)).map_err(failed)?;
            let jobs = Arc::clone(&read_jobs);
            threads.push(super::thread("store-reader", move || read_all(&reader, &jobs))?);
        }
        Ok(Self {
            path: path.to_owned(),
            urgent,
            writes,
            reads,
            translations,
            threads: Mutex::new(threads),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn urgent(&self) -> &mpsc::Sender<Job> {
        &self.urgent
    }

    pub(super) fn writes(&self) -> &mpsc::Sender<Job> {
        &self.writes
    }

    pub(super) fn reads(&self) -> &mpsc::Sender<Job> {
        &self.reads
    }

    pub(super) fn statements(&self) -> Vec<String> {
        self.translations.all()
    }

    /// Waits until every thread has ended, which they do when nobody can submit units any more.
    pub(super) fn join(self) {
        let Self {
            path: _,
            urgent,
            writes,
            reads,
            translations: _,
            threads,
        } = self;
        drop((urgent, writes, reads));
        for thread in threads.into_inner().expect("no thread panics while it holds this lock") {
            // A panic inside a unit is caught where it runs, so there is nothing to learn from the thread's own result.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    Read,
    Write,
}

/// A connection and the statements that it has prepared.
#[derive(Debug)]
pub(super) struct SqliteSession {
    connection: Connection,
    translations: Arc<Translations>,
}

impl SqliteSession {
    pub(super) fn open(path: &Path, access: Access, translations: Arc<Translations>) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", "OFF")?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        match access {
            Access::Write => {
                connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES_MAX)?;
                connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
            }
            Access::Read => connection.pragma_update(None, "query_only", "ON")?,
        }
        Ok(Self {
            connection,
            translations,
        })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn execute(&self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let translated = self.translations.get(sql);
        let mut statement = self.connection.prepare_cached(&translated.sql)?;
        Ok(statement.execute(rusqlite::params_from_iter(params))? as u64)
    }

    pub(super) fn query(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let translated = self.translations.get(sql);
        let mut statement = self.connection.prepare_cached(&translated.sql)?;
        let mut found = Vec::new();
        collect(&mut statement, params, &mut found)?;
        Ok(found)
    }

    pub(super) fn execute_rows(&self, sql: &'static str, rows: &Rows<'_>) -> Result<u64, StoreError> {
        let translated = self.translations.get(sql);
        let mut statement = self.connection.prepare_cached(&translated.sql)?;
        let mut touched = 0;
        for row in rows.iter() {
            touched += statement.execute(rusqlite::params_from_iter(row))? as u64;
        }
        Ok(touched)
    }

    pub(super) fn query_rows(&self, sql: &'static str, rows: &Rows<'_>) -> Result<Vec<Row>, StoreError> {
        let translated = self.translations.get(sql);
        let mut statement = self.connection.prepare_cached(&translated.sql)?;
        let mut found = Vec::new();
        for row in rows.iter() {
            collect(&mut statement, row, &mut found)?;
        }
        Ok(found)
    }

    /// Runs several statements at once, as a migration does.
    pub(super) fn execute_script(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Asks about the log, or moves it: answers with the pages that it has, and with those of them that are in the database.
    fn checkpoint(&self, sql: &'static str) -> rusqlite::Result<(i64, i64)> {
        self.connection
            .prepare_cached(sql)?
            .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
    }

    pub(super) fn control(&self, sql: &'static str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}

fn collect(
    statement: &mut rusqlite::CachedStatement<'_>,
    params: &[Param<'_>],
    found: &mut Vec<Row>,
) -> Result<(), StoreError> {
    let width = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        found.push(sqlite_row(row, width)?);
    }
    Ok(())
}

/// The one thread that writes.
struct Writer {
    session: SqliteSession,
    committed: mpsc::Sender<Vec<Job>>,
    checkpoints: Checkpoints,
}

impl Writer {
    /// Serves both queues in turn, the urgent one (notifications from Meta) first, so that an acknowledgement waits for one other
    /// transaction at most; ends when nobody can submit any more.
    fn run(mut self, mut urgent: mpsc::Receiver<Job>, mut normal: mpsc::Receiver<Job>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs no resources that could be missing");
        let (mut urgent_open, mut normal_open) = (true, true);
        let mut group = Vec::with_capacity(GROUP_UNITS_MAX);
        while urgent_open || normal_open {
            // Wait for either queue without letting one of them spin when the other is closed.
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    job = urgent.recv(), if urgent_open => match job {
                        Some(job) => group.push(job),
                        None => urgent_open = false,
                    },
                    job = normal.recv(), if normal_open => match job {
                        Some(job) => group.push(job),
                        None => normal_open = false,
                    },
                }
            });
            drain(&mut urgent, &mut group);
            self.commit(&mut group);
            drain(&mut normal, &mut group);
            self.commit(&mut group);
        }
    }

    fn commit(&mut self, group: &mut Vec<Job>) {
        if group.is_empty() {
            return;
        }
        if let Err(error) = self.session.control("BEGIN IMMEDIATE") {
            fail(group, &broken_off(&error));
            return;
        }
        let is_alone = group.len() == 1;
        for job in group.iter_mut() {
            let run = if is_alone {
                self.run_alone(job)
            } else {
                self.run_one(job)
            };
            if let Err(error) = run {
                // Neither kept nor taken back: nothing of this transaction can be trusted.
                let _ = self.session.connection.execute_batch("ROLLBACK");
                fail(group, &broken_off(&error));
                return;
            }
        }
        match self.session.control("COMMIT") {
            Ok(()) => {
                let unflushed: Vec<Job> = group
                    .extract_if(.., |job| job.mode() == Mode::Write(Flush::Now))
                    .collect();
                group.drain(..).for_each(Job::answer);
                if !unflushed.is_empty()
                    && let Err(mpsc::error::SendError(mut unflushed)) = self.committed.blocking_send(unflushed)
                {
                    fail(&mut unflushed, &StoreError::Closed);
                }
                self.checkpoints.after_commit(&self.session);
            }
            Err(error) => {
                let _ = self.session.connection.execute_batch("ROLLBACK");
                fail(group, &broken_off(&error));
            }
        }
    }

    /// Runs the one unit of a transaction. It needs no savepoint, for which SQLite would copy each page before it is written.
    fn run_alone(&self, job: &mut Job) -> rusqlite::Result<()> {
        if job.run(&mut Tx::new(Session::Sqlite(&self.session))) == Verdict::TakeBack {
            self.session.control("ROLLBACK")?;
            self.session.control("BEGIN IMMEDIATE")?;
        }
        Ok(())
    }

    fn run_one(&self, job: &mut Job) -> rusqlite::Result<()> {
        self.session.control("SAVEPOINT unit")?;
        if job.run(&mut Tx::new(Session::Sqlite(&self.session))) == Verdict::TakeBack {
            self.session.control("ROLLBACK TO unit")?;
        }
        self.session.control("RELEASE unit")
    }
}

/// What units are told whose transaction could not be begun, divided or ended, whatever SQLite calls that: it is not they that are wrong.
fn broken_off(error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(format!("the transaction broke off: {error}"))
}

/// When the log is moved into the database, and by whom.
struct Checkpoints {
    /// Wakes the checkpointer.
    long: mpsc::Sender<()>,
    /// Set by the checkpointer when it is done.
    moved: Arc<AtomicBool>,
    are_under_way: bool,
}

impl Checkpoints {
    /// Has the log moved once it is long. That it cannot be moved at the moment is no failure: it stays as it is, and as good.
    fn after_commit(&mut self, session: &SqliteSession) {
        if self.are_under_way && self.moved.swap(false, Ordering::AcqRel) {
            self.are_under_way = false;
            // What came in meanwhile; the next commit begins the log anew, unless somebody still reads from it.
            let _ = session.checkpoint(MOVE);
        } else if !self.are_under_way && length(session) >= CHECKPOINT_PAGES {
            self.are_under_way = self.long.try_send(()).is_ok();
        }
    }
}

/// Moves what can be moved without waiting for anybody.
const MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// How many pages the log has.
fn length(session: &SqliteSession) -> i64 {
    session
        .checkpoint("PRAGMA wal_checkpoint(NOOP)")
        .map_or(0, |(pages, _)| pages)
}

/// What the checkpointer does until the writer has ended.
fn move_logs(session: &SqliteSession, mut long: mpsc::Receiver<()>, moved: &AtomicBool) {
    while long.blocking_recv().is_some() {
        for _ in 0..CHECKPOINT_ROUNDS {
            let _ = session.checkpoint(MOVE);
        }
        moved.store(true, Ordering::Release);
    }
}

/// The write-ahead log, as a file.
struct Log {
    path: PathBuf,
}

impl Log {
    /// Flushes what has been written to it so far. It is opened anew each time, which costs little beside the flush: so no other process
    /// that opened and closed the database can have left us with a log that is no longer the database's.
    fn flush(&self) -> std::io::Result<()> {
        File::open(&self.path)?.sync_data()
    }
}

/// Flushes the log after commits and answers their units, until nobody commits any more.
fn flush_all(log: &Log, mut unflushed: mpsc::Receiver<Vec<Job>>) {
    while let Some(first) = unflushed.blocking_recv() {
        let mut groups = vec![first];
        while groups.len() < FLUSH_GROUPS_MAX
            && let Ok(next) = unflushed.try_recv()
        {
            groups.push(next);
        }
        match log.flush() {
            Ok(()) => groups.into_iter().flatten().for_each(Job::answer),
            Err(error) => {
                // Kept as far as the process is concerned; whether a power cut would take it back, nobody knows.
                let error = StoreError::Unavailable(format!("the write-ahead log could not be flushed: {error}"));
                for group in &mut groups {
                    fail(group, &error);
                }
            }
        }
    }
}

fn drain(queue: &mut mpsc::Receiver<Job>, group: &mut Vec<Job>) {
    while group.len() < GROUP_UNITS_MAX
        && let Ok(job) = queue.try_recv()
    {
        group.push(job);
    }
}

fn fail(group: &mut Vec<Job>, error: &StoreError) {
    for job in group.drain(..) {
        job.fail(error.again());
    }
}

/// What a reading thread does until nobody can submit any more.
fn read_all(session: &SqliteSession, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = jobs
            .lock()
            .expect("no thread panics while it holds this lock")
            .blocking_recv();
        let Some(mut job) = job else { return };
        // One snapshot for all statements of a unit.
        if let Err(error) = session.control("BEGIN") {
            job.fail(error.into());
            continue;
        }
        job.run(&mut Tx::new(Session::Sqlite(session)));
        match session.control("COMMIT") {
            Ok(()) => job.answer(),
            Err(error) => {
                let _ = session.connection.execute_batch("ROLLBACK");
                job.fail(error.into());
            }
        }
    }
}

/// Where SQLite keeps the write-ahead log of a database.
fn log_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// The file that a `sqlite://…` address names.
pub(super) fn path_of(url: &str) -> PathBuf {
    let path = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"))
        .unwrap_or(url);
    PathBuf::from(path.split('?').next().unwrap_or(path))
}
