//! A new, migrated store of each engine for each test, and what a test needs beside it.
//!
//! The harness makes its databases under random names, and removes those that it has made and no other.

#![allow(clippy::needless_pass_by_value, reason = "a test is written where it is run")]

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use tidings::clock::{Clock, from_millis};
use tidings::conversations::model::Millis;
use tidings::ids::Ids;
use tidings::store::{Store, StoreError, Tx};

/// When every test begins.
pub(crate) const BEGIN: Millis = 1_795_334_400_000;

/// Tables that grow without bound: a statement that reads through one of them is too slow one day. (`event_queue` is as long as the
/// backlog: the list of what is pending reads through it, [`Lab::plans`] shows that taking from it does not.)
const LARGE_TABLES: &[&str] = &[
    "attempts",
    "audit",
    "consent_statements",
    "contact_identities",
    "contacts",
    "conversations",
    "event_exceptions",
    "events",
    "idempotency_keys",
    "media",
    "media_files",
    "media_uploads",
    "message_facts",
    "message_media",
    "message_reactions",
    "messages",
    "outbox",
    "parked_events",
    "read_watermarks",
    "stream",
];

/// A store, and what a test needs beside it.
pub(crate) struct Lab {
    pub(crate) store: Store,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
    place: Place,
}

/// Where the database is: for looking into it past the store.
enum Place {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Lab {
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now_millis()
    }

    /// Runs a unit that writes, and must not fail.
    pub(crate) async fn write<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.write(work).await.unwrap()
    }

    /// Runs a unit that reads, and must not fail.
    pub(crate) async fn read<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.read(work).await.unwrap()
    }

    /// How the engine goes about each of the statements so far that contain all of these words. Postgres is asked as if its tables were too
    /// long to be read through, whatever the parameters.
    pub(crate) fn plans(&self, words: &[&str]) -> Vec<String> {
        let mut statements = self.store.statements();
        statements.retain(|sql| {
            let one_line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            words.iter().all(|word| one_line.contains(word))
        });
        let mut plans: Vec<String> = match &self.place {
            Place::Sqlite(file) => {
                let connection = rusqlite::Connection::open(file).unwrap();
                let plans = statements.iter().map(|sql| plan(&connection, sql).join("\n"));
                plans.collect()
            }
            Place::Postgres(url) => tokio::task::block_in_place(|| {
                let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
                client
                    .batch_execute(
                        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
                         SET plan_cache_mode = force_generic_plan",
                    )
                    .unwrap();
                let explained = statements.iter().map(|sql| explained(&mut client, sql).join("\n"));
                explained.collect()
            }),
        };
        plans.sort();
        plans
    }

    /// Like [`Lab::plans`], on SQLite alone.
    pub(crate) fn sqlite_plans(&self, words: &[&str]) -> Vec<String> {
        if self.is_postgres() {
            Vec::new()
        } else {
            self.plans(words)
        }
    }

    /// Another store on the same database, as another node would have.
    pub(crate) async fn another_store(&self) -> Store {
        Store::open(&self.place.url()).await.unwrap()
    }

    /// Where Postgres has the database of this test.
    pub(crate) fn postgres_url(&self) -> &str {
        match &self.place {
            Place::Postgres(url) => url,
            Place::Sqlite(file) => panic!("the test is on SQLite: {}", file.display()),
        }
    }

    /// Runs a statement past the store.
    pub(crate) fn execute(&self, sql: &str) {
        match &self.place {
            Place::Sqlite(file) => rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap(),
            Place::Postgres(url) => {
                tokio::task::block_in_place(|| {
                    postgres::Client::connect(url, postgres::NoTls)
                        .unwrap()
                        .batch_execute(sql)
                        .unwrap();
                });
            }
        }
    }

    /// The first column of a query past the store, as text; nulls are left out.
    pub(crate) fn texts(&self, sql: &str) -> Vec<String> {
        match &self.place {
            Place::Sqlite(file) => {
                let connection = rusqlite::Connection::open(file).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
                rows.filter_map(Result::unwrap).collect()
            }
            Place::Postgres(url) => tokio::task::block_in_place(|| {
                let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
                let rows = client.query(sql, &[]).unwrap();
                rows.iter().filter_map(|row| row.get::<_, Option<String>>(0)).collect()
            }),
        }
    }
}

impl Place {
    fn url(&self) -> SecretString {
        match self {
            Self::Sqlite(file) => format!("sqlite://{}", file.display()).into(),
            Self::Postgres(url) => url.clone().into(),
        }
    }
}

/// Runs a test on SQLite, and on Postgres if there is one.
pub(crate) fn on_both(test: impl AsyncFn(&Lab)) {
    on_sqlite(&test);
    on_postgres(&test);
}

/// Runs a test on SQLite alone.
pub(crate) fn on_sqlite(test: impl AsyncFn(&Lab)) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidings.db");
    let statements = run(Place::Sqlite(file.clone()), &test);
    check_plans(&file, &statements);
}

/// Runs a test on Postgres alone, where units run side by side.
pub(crate) fn on_postgres(test: impl AsyncFn(&Lab)) {
    let Some(database) = postgres_address().map(|address| Database::new(&address)) else {
        return;
    };
    let statements = run(Place::Postgres(database.url.clone()), &test);
    check_joins(&database.url, &statements);
}

fn run(place: Place, test: &impl AsyncFn(&Lab)) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let clock = Clock::frozen_at(from_millis(BEGIN));
        let store = Store::open(&place.url()).await.unwrap();
        store.migrate(clock.now()).await.unwrap();
        let lab = Lab {
            store,
            ids: Ids::seeded(clock.clone(), 7),
            clock,
            place,
        };
        test(&lab).await;
        let statements = lab.store.statements();
        lab.store.close().await;
        statements
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the tests' Postgres is, is told by the script that runs them"
)]
fn postgres_address() -> Option<String> {
    match (std::env::var("TIDINGS_TEST_POSTGRES_URL"), std::env::var("CI")) {
        (Ok(address), _) => Some(address),
        (Err(_), Ok(_)) => panic!(
            "TIDINGS_TEST_POSTGRES_URL is not set: in CI the store is tested on Postgres too (scripts/with-postgres --fast COMMAND)"
        ),
        (Err(_), Err(_)) => {
            println!("on SQLite only: TIDINGS_TEST_POSTGRES_URL is not set (scripts/with-postgres --fast COMMAND)");
            None
        }
    }
}

/// A database of Postgres that lasts as long as this.
struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    fn new(server: &str) -> Self {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let name = format!("tidings_test_{}", hex::encode(random));
        let mut client = postgres::Client::connect(server, postgres::NoTls).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let (host, _) = server
            .rsplit_once('/')
            .expect("the address names a database after its last slash");
        Self {
            server: server.to_owned(),
            url: format!("{host}/{name}"),
            name,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let dropped = postgres::Client::connect(&self.server, postgres::NoTls)
            .and_then(|mut client| client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)));
        if let Err(error) = dropped {
            println!("database {} is left behind: {error}", self.name);
        }
    }
}

/// Looks at how Postgres goes about each statement that is given many rows: it may not go through a table, looking at the rows for each of the
/// table's. That is cheap while tables are as short as here, and a plan is kept while they grow.
fn check_joins(url: &str, statements: &[String]) {
    let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
    client
        .batch_execute(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
             SET plan_cache_mode = force_generic_plan",
        )
        .unwrap();
    for sql in statements.iter().filter(|sql| sql.contains("UNNEST(")) {
        let plan = explained(&mut client, sql);
        assert!(
            !goes_through_a_table(&plan),
            "for each row of a table this looks at those that it is given:\n{sql}\n{}",
            plan.join("\n")
        );
    }
}

fn explained(client: &mut postgres::Client, sql: &str) -> Vec<String> {
    let parameters = (1..100)
        .take_while(|number| sql.contains(&format!("${number}")))
        .count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let asked = format!("PREPARE asked AS {sql}; EXPLAIN EXECUTE asked ({nulls}); DEALLOCATE asked");
    let messages = client.simple_query(&asked).unwrap();
    let lines = messages.iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    lines.collect()
}

/// Whether the rows that a statement is given are the inner side of a loop.
fn goes_through_a_table(plan: &[String]) -> bool {
    let nodes: Vec<(usize, &str)> = plan
        .iter()
        .filter_map(|line| {
            let indent = line.len() - line.trim_start().len();
            let (depth, node) = match line.trim_start().strip_prefix("->") {
                Some(node) => (indent + 1, node.trim_start()),
                None if indent == 0 => (0, line.as_str()),
                None => return None,
            };
            Some((depth, node))
        })
        .collect();
    (0..nodes.len())
        .filter(|at| nodes[*at].1.starts_with("Function Scan"))
        .any(|mut at| {
            // Up through the nodes that it is a part of.
            loop {
                let depth = nodes[at].0;
                let Some(parent) = (0..at).rev().find(|above| nodes[*above].0 < depth) else {
                    return false;
                };
                let is_second = (parent + 1..at).any(|sibling| nodes[sibling].0 == depth);
                if is_second && nodes[parent].1.starts_with("Nested Loop") {
                    return true;
                }
                at = parent;
            }
        })
}

#[test]
fn a_loop_over_a_table_is_told_from_one_over_the_rows() {
    let plan = |outer: &str, inner: &str| {
        let lines = [
            "LockRows  (cost=1)",
            "  ->  Sort  (cost=1)",
            "        ->  Nested Loop  (cost=1)",
        ];
        let mut plan: Vec<String> = lines.map(str::to_owned).into();
        plan.extend([
            format!("              ->  {outer}"),
            "                    Index Cond: (a = b)".to_owned(),
        ]);
        plan.push(format!("              ->  {inner}"));
        plan
    };
    assert!(goes_through_a_table(&plan(
        "Index Scan using i on t",
        "Function Scan on r"
    )));
    assert!(!goes_through_a_table(&plan(
        "Function Scan on r",
        "Index Scan using i on t"
    )));
}

/// Looks at how SQLite goes about each statement. An index may be walked, a large table may not be read through.
fn check_plans(file: &Path, statements: &[String]) {
    let connection = rusqlite::Connection::open(file).unwrap();
    for sql in statements {
        let steps = plan(&connection, sql);
        for step in &steps {
            // The rows that a query within the statement has found.
            let is_result = step
                .strip_prefix("SCAN ")
                .is_some_and(|name| steps.contains(&format!("CO-ROUTINE {name}")));
            assert!(
                is_result || stops_by_itself(sql, &steps) || !reads_through(sql, step),
                "this reads through a large table:\n{sql}\n{}",
                steps.join("\n")
            );
        }
    }
}

fn plan(connection: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // Parameters are left unbound: without statistics the plan does not depend on them.
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get(3).unwrap());
    }
    steps
}

/// Whether a statement, or a query within it, reads no more rows than it was asked for: in their order, with nothing left out in between.
fn stops_by_itself(sql: &str, steps: &[String]) -> bool {
    let is_bounded = LARGE_TABLES.iter().any(|table| {
        let query = format!("FROM {table} ORDER BY ");
        sql.split(&query).skip(1).any(|query| {
            query
                .split_once(" LIMIT ")
                .is_some_and(|(order, _)| !order.contains(')'))
        })
    });
    is_bounded && !steps.iter().any(|step| step.contains("TEMP B-TREE"))
}

/// Whether a step of a plan reads all of a large table: `SCAN x`, but not `SCAN x USING … INDEX …`.
fn reads_through(sql: &str, step: &str) -> bool {
    let Some(scanned) = step.strip_prefix("SCAN ") else {
        return false;
    };
    let Some(name) = scanned.split(' ').next().filter(|_| !scanned.contains("INDEX")) else {
        return false;
    };
    // The step names the alias where there is one.
    let words: Vec<&str> = sql
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .collect();
    LARGE_TABLES
        .iter()
        .any(|table| name == *table || words.windows(3).any(|three| three == [*table, "AS", name]))
}

#[test]
fn a_plan_that_reads_through_a_large_table_is_seen() {
    assert!(reads_through("SELECT * FROM events AS e WHERE 1", "SCAN e"));
    assert!(reads_through("DELETE FROM outbox WHERE due_at < 1", "SCAN outbox"));
    assert!(reads_through(
        "SELECT 1 WHERE 1 IN (SELECT x FROM stream AS s)",
        "SCAN s"
    ));
    assert!(!reads_through(
        "SELECT * FROM events AS e WHERE 1",
        "SCAN e USING INDEX events_by_kind"
    ));
    assert!(!reads_through(
        "SELECT * FROM events AS e WHERE 1",
        "SEARCH e USING INDEX events_by_kind (kind=?)"
    ));
    assert!(!reads_through("SELECT * FROM channels", "SCAN channels"));
}
