//! The database of histories, and how it is asked past the hub's own code. Each thread has one of each engine, and empties it again and again:
//! what costs the most is to make its schema, and then to plan every statement anew.
//!
//! On Postgres a history is the same but for this: a unit is run while the simulated time stands still, by a thread that speaks with the
//! server, so that units of two nodes follow each other and never meet. What two transactions at the same time do to each other is for
//! `tests/crash/nodes.rs`, in the time of the wall: while one waits for the other's lock, a simulated time would have nothing to go by. And a
//! cut of the power takes nothing back, since a Postgres flushes all that it has answered.

use std::cell::RefCell;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use postgres::{Client, NoTls, SimpleQueryMessage};
use tidings::clock::from_millis;
use tidings::store::{InlineDatabase, Store};

use crate::history::FairWeather;
use crate::world::START;

/// A row as words; `None` where it is null.
pub(crate) type Words = Vec<Option<String>>;

/// The variable that names a Postgres server on which databases may be made.
const SERVER: &str = "TIDINGS_TEST_POSTGRES_URL";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// A database. Cheap to clone; every clone is the same database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) inline: InlineDatabase,
    server: Option<Arc<Server>>,
}

impl Database {
    /// This thread's, as it is before anything has happened.
    pub(crate) fn of_this_thread(engine: Engine) -> Self {
        KEPT.with_borrow_mut(|kept| {
            if let Some((_, database)) = kept.iter().find(|(of, _)| *of == engine) {
                database.empty();
                return database.clone();
            }
            let database = Self::new(engine);
            kept.push((engine, database.clone()));
            database
        })
    }

    fn new(engine: Engine) -> Self {
        let database = match engine {
            Engine::Sqlite => Self {
                inline: InlineDatabase::new().expect("a database in memory needs nothing that could be missing"),
                server: None,
            },
            Engine::Postgres => {
                let server = Server::with_a_database();
                Self {
                    inline: InlineDatabase::on_postgres(&server.url).expect("the server was there a moment ago"),
                    server: Some(Arc::new(server)),
                }
            }
        };
        let store = Store::inline(&database.inline, Arc::new(FairWeather));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.migrate(from_millis(START))).unwrap();
        for table in database.tables() {
            let kind = if database.server.is_some() { "UNLOGGED" } else { "TEMP" };
            database.perform(&format!("CREATE {kind} TABLE first_{table} AS SELECT * FROM {table}"));
        }
        database
    }

    /// Brings every table back to what it was at first. Entries of the outbox go before their counts, which triggers keep.
    fn empty(&self) {
        self.inline.cut_power().unwrap();
        let mut tables = self.tables();
        tables.sort_by_key(|table| table != "outbox");
        let overriding = if self.is_on_a_server() {
            "OVERRIDING SYSTEM VALUE"
        } else {
            ""
        };
        let statements = tables.iter().fold(String::new(), |statements, table| {
            statements + &format!("DELETE FROM {table}; INSERT INTO {table} {overriding} SELECT * FROM first_{table};")
        });
        self.perform(&format!("BEGIN; {statements} COMMIT;"));
    }

    fn tables(&self) -> Vec<String> {
        let sql = if self.server.is_some() {
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'first\\_%' ORDER BY tablename"
        } else {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        };
        self.rows(sql)
            .into_iter()
            .map(|row| row.into_iter().flatten().collect())
            .collect()
    }

    pub(crate) fn is_on_a_server(&self) -> bool {
        self.server.is_some()
    }

    /// What a question finds. `{hex id}` is an id in hexadecimal digits, `{text content}` what a message says.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Words> {
        if let Some(server) = &self.server {
            return server.ask(translated(sql, |token, of| match token {
                "hex" => format!("encode({of}, 'hex')"),
                _ => format!("COALESCE({of}::jsonb ->> 'text', '')"),
            }));
        }
        let sql = translated(sql, |token, of| match token {
            "hex" => format!("lower(hex({of}))"),
            _ => format!("COALESCE(json_extract({of}, '$.text'), '')"),
        });
        self.inline.ask(|connection| {
            let mut statement = connection.prepare_cached(&sql).unwrap();
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| (0..columns).map(|column| word(row, column)).collect());
            rows.unwrap().map(Result::unwrap).collect()
        })
    }

    /// The one number that a question finds.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let found = self.rows(sql);
        let number = found[0][0].as_deref().unwrap_or_default();
        number.parse().unwrap_or_else(|_| panic!("{number:?} of {sql}"))
    }

    fn perform(&self, sql: &str) {
        match &self.server {
            Some(server) => drop(server.ask(sql.to_owned())),
            None => self.inline.ask(|connection| connection.execute_batch(sql).unwrap()),
        }
    }
}

fn word(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text).into_owned()),
    })
}

/// With each `{token of}` as the engine has it.
fn translated(sql: &str, say: impl Fn(&str, &str) -> String) -> String {
    let mut said = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, behind) = after.split_once('}').expect("a token has an end");
        let (token, of) = inside.split_once(' ').expect("a token is of something");
        said.push_str(before);
        said.push_str(&say(token, of));
        rest = behind;
    }
    said + rest
}

/// A database on a server, under a name of its own, with a connection for questions. That is in a thread, since its client cannot wait within a
/// runtime. The database goes with it.
#[derive(Debug)]
struct Server {
    url: String,
    name: String,
    asked: Mutex<Option<Sender<Asked>>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Asked {
    sql: String,
    answer: Sender<Vec<Words>>,
}

impl Server {
    fn with_a_database() -> Self {
        let server = server().expect("it is asked for only where there is one");
        let folder = tempfile::Builder::new()
            .prefix("tidings_sim_")
            .rand_bytes(16)
            .tempdir()
            .unwrap();
        // Random because the folder's name is.
        let name = folder.path().file_name().unwrap().to_str().unwrap().to_lowercase();
        perform_on(&server, format!("CREATE DATABASE {name}"));
        let (address, _) = server
            .rsplit_once('/')
            .expect("the address of a server ends with a database");
        let url = format!("{address}/{name}");
        let (asked, questions) = channel::<Asked>();
        let own = url.clone();
        #[expect(clippy::disallowed_methods, reason = "it ends with the database, which waits for it")]
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(&own, NoTls).unwrap();
            for Asked { sql, answer } in questions {
                let said = client
                    .simple_query(&sql)
                    .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                let rows = said.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(
                        (0..row.len())
                            .map(|column| row.get(column).map(str::to_owned))
                            .collect(),
                    ),
                    _ => None,
                });
                // Whoever asked may be gone by now.
                let _ = answer.send(rows.collect());
            }
        });
        Self {
            url,
            name,
            asked: Mutex::new(Some(asked)),
            thread: Some(thread),
        }
    }

    fn ask(&self, sql: String) -> Vec<Words> {
        let (answer, answered) = channel();
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = asked.as_ref().expect("it is there as long as the database");
        asked.send(Asked { sql, answer }).unwrap();
        answered.recv().expect("a question is answered, or said to be wrong")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.thread.take().map(JoinHandle::join);
        if let Some(server) = server() {
            perform_on(&server, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

/// In a thread of its own, since whoever wants it may be within a runtime.
fn perform_on(server: &str, sql: String) {
    let server = server.to_owned();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut client = Client::connect(&server, NoTls).unwrap();
            client.batch_execute(&sql).unwrap();
        });
    });
}

/// Where a Postgres is that may be used. In CI there has to be one.
pub(crate) fn server() -> Option<String> {
    let server = variable(SERVER);
    assert!(
        server.is_some() || variable("CI").is_none(),
        "{SERVER} is not set, and CI tests both engines"
    );
    server
}

#[expect(
    clippy::disallowed_methods,
    reason = "what tests are run with is no setting of the hub"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

thread_local! {
    static KEPT: RefCell<Vec<(Engine, Database)>> = const { RefCell::new(Vec::new()) };
}
