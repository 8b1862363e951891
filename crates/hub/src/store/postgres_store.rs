//! Postgres: a fixed number of threads, each with a connection of its own, some of them for notifications from Meta, and one that listens to what
//! other nodes announce.
//!
//! A unit is one transaction (`READ COMMITTED`, rows locked where they are read to be changed). One that loses to another transaction
//! (deadlock, serialization) is run again. A connection that broke is opened anew for the next unit; the unit that it broke under
//! fails as [`StoreError::Unavailable`], and its caller must take it as undone.
//!
//! Postgres plans a statement by how long its tables are at that moment, and keeps the plan until the tables are analyzed, which may be a minute
//! and a hundred thousand rows later. So plans are made anew whenever the store has done as much again as it had when they were made.
//!
//! A statement whose answer the unit does not need is sent ahead: with whatever is asked next, without waiting for its own answer in between. If it fails, so
//! does what goes with it.
//!
//! After a statement has failed, Postgres refuses all further ones of a transaction, and answers a `COMMIT` by taking it back without
//! calling that an error. So a unit that goes on after a failed statement and calls itself done is failed with that statement's error.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::{FutureExt, poll};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{IsNull, ToSql, Type};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc};
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::statement::{Dialect, Translations, key};
use super::tx::{Session, Tx, arrays, postgres_row};
use super::unit::{Job, Mode, Verdict};
use super::value::{Param, Row, Rows};
use super::{OpenError, StoreError, postgres_tls};

const QUEUE_UNITS_MAX: usize = 1_024;
const CONNECTIONS: usize = 6;
/// Before so many units nothing has become long.
const UNITS_BEFORE_PLANNING: u64 = 64;
/// Those that are kept for notifications from Meta: a unit waits for the server some eight times, and meanwhile the next one can go on. A third one wins
/// nothing: they wait for the same people.
pub(super) const URGENT_CONNECTIONS: usize = 2;
/// How often a unit is run again after it lost to another transaction.
const CONFLICTS_MAX: u32 = 8;
/// How many statements go ahead at most before their answers are waited for.
const AHEAD_MAX: usize = 32;
/// How soon the thread that listens notices that it is to end.
const LISTEN_STOPS_WITHIN: Duration = Duration::from_millis(100);
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that takes nothing for so long is gone; without this a connection to it hangs for a quarter of an hour.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
/// That an answered event is on disk must not hang on what the server, the database or the role has as its default; a stricter default
/// is left as it is.
///
/// Every statement of ours goes along indexes, whatever the tables hold. Postgres would plan it once, by the size that the tables happen to have at
/// that moment: those of a new database are empty, and a plan that reads all of an empty table is kept while a million rows come in.
///
/// And a node that stands still in the middle of a unit must not keep what it has locked, least of all the lease of a channel that another node
/// waits for: a unit never rests between two statements, so that whoever does for seconds has stopped, and the server ends its session.
const SESSION: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
    SELECT set_config('idle_in_transaction_session_timeout', '3s', false) FROM pg_settings
    WHERE name = 'idle_in_transaction_session_timeout' AND setting::bigint NOT BETWEEN 1 AND 3000;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

#[derive(Debug)]
pub(super) struct PostgresStore {
    urgent: mpsc::Sender<Job>,
    units: mpsc::Sender<Job>,
    translations: Arc<Translations>,
    heard: Arc<Notify>,
    /// Dropped to end the thread that listens.
    listening: std::sync::mpsc::Sender<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl PostgresStore {
    /// Connects once, so that a wrong address is told at start.
    pub(super) fn open(url: &str, authorities: Option<&Path>) -> Result<Self, OpenError> {
        let (mut config, tls) = postgres_tls::settings_of(url, authorities)?;
        config.connect_timeout(CONNECT_TIMEOUT);
        config.tcp_user_timeout(UNACKNOWLEDGED_MAX);
        config.keepalives_idle(KEEPALIVE_AFTER);
        config.application_name("tidings");
        let translations = Arc::new(Translations::new(Dialect::Postgres));
        let (urgent, urgent_jobs) = mpsc::channel(QUEUE_UNITS_MAX);
        let (units, unit_jobs) = mpsc::channel(QUEUE_UNITS_MAX);
        let urgent_jobs = Arc::new(Mutex::new(urgent_jobs));
        let unit_jobs = Arc::new(Mutex::new(unit_jobs));
        let units_run = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::with_capacity(URGENT_CONNECTIONS + CONNECTIONS + 1);
        for index in 0..URGENT_CONNECTIONS + CONNECTIONS {
            let mut session = PostgresSession::new(
                config.clone(),
                tls.clone(),
                Arc::clone(&translations),
                Arc::clone(&units_run),
            )?;
            if index == 0 {
                session
                    .connect()
                    .map_err(|source| OpenError::Postgres(Box::new(source)))?;
            }
            let jobs = Arc::clone(if index < URGENT_CONNECTIONS {
                &urgent_jobs
            } else {
                &unit_jobs
            });
            threads.push(super::thread("store-postgres", move || work(&mut session, &jobs))?);
        }
        let heard = Arc::new(Notify::new());
        let (listening, stop) = std::sync::mpsc::channel();
        let hears = Arc::clone(&heard);
        threads.push(super::thread("store-listener", move || {
            listen(&config, tls.as_ref(), &hears, &stop);
        })?);
        Ok(Self {
            urgent,
            units,
            translations,
            heard,
            listening,
            threads: Mutex::new(threads),
        })
    }

    pub(super) fn urgent(&self) -> &mpsc::Sender<Job> {
        &self.urgent
    }

    pub(super) fn units(&self) -> &mpsc::Sender<Job> {
        &self.units
    }

    /// Notified when a node may have changed something.
    pub(super) fn heard(&self) -> &Notify {
        &self.heard
    }

    pub(super) fn statements(&self) -> Vec<String> {
        self.translations.all()
    }

    pub(super) fn join(self) {
        let Self {
            urgent,
            units,
            translations: _,
            heard: _,
            listening,
            threads,
        } = self;
        drop((urgent, units, listening));
        for thread in threads.into_inner().expect("no thread panics while it holds this lock") {
            // A panic inside a unit is caught where it runs, so there is nothing to learn from the thread's own result.
            let _ = thread.join();
        }
    }
}

/// One connection, for whoever stands still until each unit is done: for simulations. The units run in a thread of its own, since the client
/// cannot wait within a runtime, and there in the time of whoever waits.
pub(super) struct PostgresInline {
    /// There until the thread is to end.
    jobs: Option<std::sync::mpsc::Sender<Waited>>,
    translations: Arc<Translations>,
    thread: Option<JoinHandle<()>>,
}

/// A unit that is waited for.
struct Waited {
    job: Job,
    runtime: Option<Handle>,
    done: std::sync::mpsc::Sender<()>,
}

impl PostgresInline {
    pub(super) fn open(url: &str) -> Result<Self, OpenError> {
        let (config, tls) = postgres_tls::settings_of(url, None)?;
        let translations = Arc::new(Translations::new(Dialect::Postgres));
        let mut session = PostgresSession::new(config, tls, Arc::clone(&translations), Arc::default())?;
        let (jobs, waited) = std::sync::mpsc::channel::<Waited>();
        let thread = super::thread("store-inline", move || {
            for Waited { job, runtime, done } in waited {
                let _within = runtime.as_ref().map(Handle::enter);
                session.run(job);
                // Whoever waits may be gone by now.
                let _ = done.send(());
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            translations,
            thread: Some(thread),
        })
    }

    /// Runs a unit, and has it answered.
    pub(super) fn run(&self, job: Job) {
        let (done, is_done) = std::sync::mpsc::channel();
        let waited = Waited {
            job,
            runtime: Handle::try_current().ok(),
            done,
        };
        // Without its thread the unit is dropped, and with it whoever is to be answered.
        if self.jobs.as_ref().is_some_and(|jobs| jobs.send(waited).is_ok()) {
            let _ = is_done.recv();
        }
    }

    pub(super) fn translations(&self) -> &Translations {
        &self.translations
    }
}

impl std::fmt::Debug for PostgresInline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostgresInline")
    }
}

impl Drop for PostgresInline {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(session: &mut PostgresSession, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = jobs
            .lock()
            .expect("no thread panics while it holds this lock")
            .blocking_recv();
        let Some(job) = job else { return };
        session.run(job);
    }
}

/// Listens until `stop` has no sender any more. What is announced while there is no connection is missed, so that every new one counts as an
/// announcement.
fn listen(config: &Config, tls: Option<&MakeRustlsConnect>, heard: &Notify, stop: &std::sync::mpsc::Receiver<()>) {
    use std::sync::mpsc::RecvTimeoutError::Disconnected;
    use std::sync::mpsc::TryRecvError;
    let mut client = None;
    let mut was_told = false;
    loop {
        let Some(connected) = &mut client else {
            client = match start_listening(config, tls) {
                Ok(client) => {
                    was_told = false;
                    Some(client)
                }
                Err(error) => {
                    if !std::mem::replace(&mut was_told, true) {
                        tracing::warn!(%error, "changes that other nodes make cannot be listened for; they are looked for instead");
                    }
                    None
                }
            };
            heard.notify_one();
            let pause = if client.is_some() {
                Duration::ZERO
            } else {
                LISTEN_AGAIN_AFTER
            };
            if stop.recv_timeout(pause) == Err(Disconnected) {
                return;
            }
            continue;
        };
        let announced = postgres::Client::notifications(connected)
            .timeout_iter(LISTEN_STOPS_WITHIN)
            .next();
        match announced {
            Ok(Some(_)) => heard.notify_one(),
            Ok(None) if !connected.is_closed() => {}
            Ok(None) | Err(_) => client = None,
        }
        if stop.try_recv() == Err(TryRecvError::Disconnected) {
            return;
        }
    }
}

fn start_listening(config: &Config, tls: Option<&MakeRustlsConnect>) -> Result<postgres::Client, postgres::Error> {
    let config = postgres::Config::from(config.clone());
    let mut client = match tls {
        Some(tls) => config.connect(tls.clone()),
        None => config.connect(NoTls),
    }?;
    client.batch_execute("LISTEN tidings_revision")?;
    Ok(client)
}

/// A connection, and what moves its bytes while it is run.
async fn connect(
    config: &Config,
    tls: Option<&MakeRustlsConnect>,
) -> Result<(Client, BoxFuture<'static, Result<(), postgres::Error>>), postgres::Error> {
    Ok(if let Some(tls) = tls {
        let (client, connection) = config.connect(tls.clone()).await?;
        (client, connection.boxed())
    } else {
        let (client, connection) = config.connect(NoTls).await?;
        (client, connection.boxed())
    })
}

/// Whatever a server says to whoever connects (it starts, it stops, this database is closed for a while), no unit is at fault.
fn out_of_reach(error: postgres::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Refused(text) | StoreError::Conflict(text) => StoreError::Unavailable(text),
        other => other,
    }
}

/// A connection that is opened when it is needed, and the statements that it has prepared.
pub(super) struct PostgresSession {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    client: Option<Client>,
    /// Moves what goes to the server and comes from it, while somebody waits. There until the end.
    runtime: Option<Runtime>,
    statements: HashMap<(usize, usize), Statement>,
    translations: Arc<Translations>,
    /// By all sessions of the store.
    units_run: Arc<AtomicU64>,
    /// How many those were when the plans of this session were made.
    planned_at: u64,
    /// What goes ahead of the next statement whose answer is waited for.
    ahead: Vec<Ahead>,
    /// What the first failed statement of the present transaction failed with.
    failed: Option<StoreError>,
}

/// A statement whose answer nobody needs, but that it is no error.
struct Ahead {
    statement: Statement,
    params: Vec<Encoded>,
}

/// A parameter as it goes to the server: the unit goes on, and what it was made of may be gone by then. `None` for null.
#[derive(Debug)]
struct Encoded(Option<BytesMut>);

impl Encoded {
    fn new(param: &(dyn ToSql + Sync), kind: &Type) -> Result<Self, StoreError> {
        let mut bytes = BytesMut::new();
        let is_null = param
            .to_sql_checked(kind, &mut bytes)
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(Self(matches!(is_null, IsNull::No).then_some(bytes)))
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(bytes) = &self.0 else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    postgres::types::to_sql_checked!();
}

impl std::fmt::Debug for PostgresSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds the password.
        f.debug_struct("PostgresSession")
            .field("connected", &self.client.is_some())
            .finish_non_exhaustive()
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Whoever drops it may not be allowed to wait. The server notices that the connection is closed.
            runtime.shutdown_background();
        }
    }
}

impl PostgresSession {
    fn new(
        config: Config,
        tls: Option<MakeRustlsConnect>,
        translations: Arc<Translations>,
        units_run: Arc<AtomicU64>,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            config,
            tls,
            client: None,
            runtime: Some(
                Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(OpenError::Thread)?,
            ),
            statements: HashMap::new(),
            translations,
            units_run,
            planned_at: 0,
            ahead: Vec::new(),
            failed: None,
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it runs on the session's own runtime, only while somebody waits for it, and ends with the client"
    )]
    fn connect(&mut self) -> Result<(), postgres::Error> {
        if self.client.as_ref().is_some_and(|client| !client.is_closed()) {
            return Ok(());
        }
        self.statements.clear();
        self.client = None;
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        let (client, connection) = runtime.block_on(connect(&self.config, self.tls.as_ref()))?;
        runtime.spawn(async move {
            // The statements under way are told no more than that it is closed.
            if let Err(error) = connection.await {
                tracing::warn!(error = %StoreError::from(error), "a connection to Postgres has broken");
            }
        });
        runtime.block_on(client.batch_execute(SESSION))?;
        self.client = Some(client);
        Ok(())
    }

    fn run(&mut self, mut job: Job) {
        let mut conflicts = 0;
        loop {
            if let Err(error) = self.begin(job.mode()) {
                job.fail(error);
                return;
            }
            let verdict = job.run(&mut Tx::new(Session::Postgres(self)));
            let lost = self.failed.as_ref().is_some_and(StoreError::is_conflict);
            let ended = match verdict {
                Verdict::Keep => self.commit(),
                Verdict::TakeBack => self.roll_back(),
            };
            let conflict = match &ended {
                Ok(()) => lost || job.should_retry(),
                Err(error) => error.is_conflict(),
            };
            if conflict && conflicts < CONFLICTS_MAX {
                conflicts += 1;
                continue;
            }
            match ended {
                Ok(()) => job.answer(),
                Err(error) => job.fail(error),
            }
            return;
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        match self.failed.take() {
            None => self.control("COMMIT"),
            Some(error) => self.roll_back().and(Err(error)),
        }
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        self.ahead.clear();
        self.control("ROLLBACK")
    }

    /// Opens a transaction; a connection that turns out to be dead is replaced once, since nothing has been done on it yet.
    fn begin(&mut self, mode: Mode) -> Result<(), StoreError> {
        let begin = match mode {
            Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Mode::Write(_) => "BEGIN",
        };
        self.failed = None;
        self.ahead.clear();
        self.connect().map_err(out_of_reach)?;
        self.plan_anew_if_due();
        match self.control(begin) {
            Err(StoreError::Unavailable(_)) => {
                self.client = None;
                self.connect().map_err(out_of_reach)?;
                self.control(begin)
            }
            other => other,
        }
    }

    /// A connection that turns out to be dead is noticed by what follows.
    fn plan_anew_if_due(&mut self) {
        let units = self.units_run.fetch_add(1, Ordering::Relaxed) + 1;
        if units >= UNITS_BEFORE_PLANNING.max(2 * self.planned_at) {
            self.planned_at = units;
            let _ = self.control("DISCARD PLANS");
        }
    }

    fn control(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.ask(async |client| client.batch_execute(sql).await)
    }

    /// Sends what goes ahead, and what is asked right behind it; then waits for all of the answers.
    fn ask<T>(&mut self, ask: impl AsyncFnOnce(&Client) -> Result<T, postgres::Error>) -> Result<T, StoreError> {
        let ahead = std::mem::take(&mut self.ahead);
        let (client, runtime) = self.connected()?;
        runtime.block_on(async {
            // A request is sent when it is first looked at.
            let mut answers = Vec::with_capacity(ahead.len());
            for Ahead { statement, params } in &ahead {
                let mut answer = maybe_done(Box::pin(client.execute_raw(statement, params)));
                let _ = poll!(&mut answer);
                answers.push(answer);
            }
            let mut asked = maybe_done(Box::pin(ask(client)));
            // One that could not even be sent must not be left out of what is committed.
            if !answers.iter().any(|answer| matches!(answer, MaybeDone::Done(Err(_)))) {
                let _ = poll!(&mut asked);
            }
            for mut answer in answers {
                (&mut answer).await;
                Pin::new(&mut answer)
                    .take_output()
                    .expect("it is done, and taken once")?;
            }
            (&mut asked).await;
            Ok(Pin::new(&mut asked)
                .take_output()
                .expect("it is done, and taken once")?)
        })
    }

    fn connected(&self) -> Result<(&Client, &Runtime), StoreError> {
        self.client
            .as_ref()
            .zip(self.runtime.as_ref())
            .ok_or_else(|| StoreError::Unavailable("not connected to Postgres".into()))
    }

    /// Remembers the first failure of a transaction.
    fn watch<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(error), None) = (&result, &self.failed) {
            self.failed = Some(error.again());
        }
        result
    }

    fn prepare(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(&key(sql)) {
            return Ok(statement.clone());
        }
        let translated = self.translations.get(sql);
        let (client, runtime) = self.connected()?;
        let statement = runtime.block_on(client.prepare(&translated.sql))?;
        self.statements.insert(key(sql), statement.clone());
        Ok(statement)
    }

    pub(super) fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let touched = self.execute_with(sql, &references(params));
        self.watch(touched)
    }

    pub(super) fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let found = self.query_with(sql, &references(params));
        self.watch(found)
    }

    pub(super) fn execute_rows(&mut self, sql: &'static str, rows: &Rows<'_>) -> Result<u64, StoreError> {
        let arrays = arrays(rows, &self.translations.get(sql).columns);
        let touched = self.execute_with(sql, &of_arrays(&arrays));
        self.watch(touched)
    }

    /// Sends a statement ahead.
    pub(super) fn send(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<(), StoreError> {
        let sent = self.send_with(sql, &references(params));
        self.watch(sent)
    }

    /// The same for many rows.
    pub(super) fn send_rows(&mut self, sql: &'static str, rows: &Rows<'_>) -> Result<(), StoreError> {
        let arrays = arrays(rows, &self.translations.get(sql).columns);
        let sent = self.send_with(sql, &of_arrays(&arrays));
        self.watch(sent)
    }

    pub(super) fn query_rows(&mut self, sql: &'static str, rows: &Rows<'_>) -> Result<Vec<Row>, StoreError> {
        let arrays = arrays(rows, &self.translations.get(sql).columns);
        let found = self.query_with(sql, &of_arrays(&arrays));
        self.watch(found)
    }

    /// Runs several statements at once, as a migration does.
    pub(super) fn execute_script(&mut self, sql: &str) -> Result<(), StoreError> {
        let done = self.ask(async |client| client.batch_execute(sql).await);
        self.watch(done)
    }

    fn send_with(&mut self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        let statement = self.prepare(sql)?;
        if params.len() != statement.params().len() {
            let (wanted, given) = (statement.params().len(), params.len());
            return Err(StoreError::Refused(format!(
                "a statement takes {wanted} parameters and was given {given}"
            )));
        }
        let params = params
            .iter()
            .zip(statement.params())
            .map(|(param, kind)| Encoded::new(*param, kind))
            .collect::<Result<_, _>>()?;
        self.ahead.push(Ahead { statement, params });
        if self.ahead.len() < AHEAD_MAX {
            return Ok(());
        }
        self.ask(async |_| Ok(()))
    }

    fn execute_with(&mut self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, StoreError> {
        let statement = self.prepare(sql)?;
        self.ask(async |client| client.execute(&statement, params).await)
    }

    fn query_with(&mut self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepare(sql)?;
        let rows = self.ask(async |client| client.query(&statement, params).await)?;
        rows.iter().map(|row| Ok(postgres_row(row)?)).collect()
    }
}

fn of_arrays<'r>(arrays: &'r [Box<dyn ToSql + Sync + 'r>]) -> Vec<&'r (dyn ToSql + Sync)> {
    arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect()
}

fn references<'r>(params: &'r [Param<'_>]) -> Vec<&'r (dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}
