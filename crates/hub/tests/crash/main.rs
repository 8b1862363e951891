//! The crash test: the hub is killed with SIGKILL at random moments under load, again and again, and in the end nothing that was
//! acknowledged is missing and nothing is doubled, whether it came in or went out.
//!
//! The real binary runs against the simulated Meta, which lives in the test's process, over real sockets. [`process`] starts and ends
//! hubs, [`media`] does the same with files, in a folder or a [`bucket`], [`stores`] makes what they crash on, [`nodes`] has two of them on one Postgres, [`meta`] and [`load`] are the world around them, [`verdict`] compares the sandbox's
//! ledger with what was kept.
//!
//! Moments are chosen by a seed, which is printed; `TIDINGS_TEST_SEED` repeats one. A run with the same seed has the same customers, texts
//! and pauses; what falls together in time is up to the machine.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it does, and fails where something is missing"
)]

#[path = "../it/harness/bucket.rs"]
#[expect(unreachable_pub, reason = "it is a module of other tests too")]
mod bucket;
mod load;
mod media;
mod meta;
mod nodes;
mod process;
mod stores;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{MissedTickBehavior, interval, timeout};

use load::{Load, Reply};
use meta::Meta;
use process::{ADMIN_KEY, Launch};
use stores::{Engine, Store};
use verdict::Verdict;

/// How often each store is crashed under load, at least.
const KILLS: u32 = 28;
/// How long the hub runs under load before it is killed.
const RUNS_MILLIS: std::ops::Range<u64> = 50..400;
/// How long a message of unknown outcome waits for a status: longer than statuses take, and short, so that the test ends soon.
const UNKNOWN_AFTER_SECS: u64 = 15;
/// What went on at the last crash is settled within this time.
const SETTLED_WITHIN: Duration = Duration::from_mins(3);
/// What a hub that is asked to stop may take (its own bound) and a little more.
const STOPPED_WITHIN: Duration = Duration::from_secs(32);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Moments of a start at which it is interrupted.
const STARTS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_crashes_on_sqlite() {
    crash_under_load(&Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_crashes_on_postgres() {
    let Some(engine) = Engine::postgres() else { return };
    crash_under_load(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_leaves_nothing_half_done_on_sqlite() {
    stop_under_load(&Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_leaves_nothing_half_done_on_postgres() {
    let Some(engine) = Engine::postgres() else { return };
    stop_under_load(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_store_is_made_is_made_good_on_sqlite() {
    crash_while_starting(&Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_store_is_made_is_made_good_on_postgres() {
    let Some(engine) = Engine::postgres() else { return };
    crash_while_starting(&engine).await;
}

async fn crash_under_load(engine: &Engine) {
    let _alone = alone().await;
    let (seed, mut random) = seeded();
    println!("crashes on {engine:?}: TIDINGS_TEST_SEED={seed}");
    let world = World::new(engine, seed).await;
    let mut hub = world.launch.start().await;
    world.meta.subscribe(&world.launch.url()).await;
    let load = Load::start(&world.meta, &world.launch.url(), seed);
    let (mut kills, mut acknowledged) = (0, 0);
    while kills < KILLS {
        hub.go_on(Duration::from_millis(random.random_range(RUNS_MILLIS))).await;
        hub.kill();
        // One that had acknowledged nothing does not count.
        kills += u32::from(!world.meta.acknowledged_after(&mut acknowledged).await.is_empty());
        // Now and then once more before it serves: while it looks through what the last one has left behind.
        if random.random_bool(0.25) {
            let mut starting = world.launch.begin();
            starting.go_on(Duration::from_millis(random.random_range(1..150))).await;
            starting.kill();
        }
        hub = world.launch.start().await;
    }
    let replies = load.finish().await;
    world.settle().await;
    world.metrics_say_that_nothing_waits().await;
    let status = hub.terminate(STOPPED_WITHIN).await;
    assert!(status.success(), "seed {seed}: {status}\n{}", world.launch.log().tail());
    let verdict = world.verdict(seed, &replies).await;
    // A load that was none would show nothing.
    assert!(
        verdict.messages > 100 && verdict.replies > 20,
        "seed {seed}: too little happened: {verdict}"
    );
}

/// A hub that is asked to stop ends in order: what it has taken is answered, what it has begun to send is settled.
async fn stop_under_load(engine: &Engine) {
    let _alone = alone().await;
    let (seed, mut random) = seeded();
    println!("stops on {engine:?}: TIDINGS_TEST_SEED={seed}");
    let mut world = World::new(engine, seed).await;
    // Nobody is killed here: a call that is slow for once must not count as one of unknown outcome.
    let patient = ["WHATSAPP_REQUEST_TIMEOUT_MS", "TIDINGS_GRAPH_CONNECT_TIMEOUT_MS"].map(|name| (name, "20000"));
    world.launch = World::launch_in(world.store.folder().to_owned(), &world.store, &world.meta, &patient);
    let mut hub = world.launch.start().await;
    world.meta.subscribe(&world.launch.url()).await;
    let load = Load::start(&world.meta, &world.launch.url(), seed);
    for _ in 0..3 {
        hub.go_on(Duration::from_millis(random.random_range(300..900))).await;
        let asked = Instant::now();
        let status = hub.terminate(STOPPED_WITHIN).await;
        println!("stopped in {:?}", asked.elapsed());
        assert!(status.success(), "seed {seed}: {status}\n{}", world.launch.log().tail());
        let half_sent = world
            .store
            .number("SELECT COUNT(*) FROM outbox WHERE state = 'sending'")
            .await;
        assert_eq!(half_sent, 0, "seed {seed}: calls to Meta were not waited for");
        let open = world
            .store
            .number("SELECT COUNT(*) FROM attempts WHERE finished_at IS NULL")
            .await;
        assert_eq!(open, 0, "seed {seed}: what came of calls to Meta was not kept");
        hub = world.launch.start().await;
    }
    let replies = load.finish().await;
    world.settle().await;
    let status = hub.terminate(STOPPED_WITHIN).await;
    assert!(status.success(), "seed {seed}: {status}");
    let verdict = world.verdict(seed, &replies).await;
    assert_eq!(
        verdict.sent_again, 0,
        "seed {seed}: after a stop in order nothing is in doubt: {verdict}"
    );
    assert!(
        verdict.messages > 50 && verdict.replies > 10,
        "seed {seed}: too little happened: {verdict}"
    );
}

/// A hub that is killed while it makes its store leaves one that the next hub can use.
async fn crash_while_starting(engine: &Engine) {
    let _alone = alone().await;
    let began = Instant::now();
    let world = World::new(engine, 1).await;
    world.launch.start().await.kill();
    let start = began.elapsed();
    let migrations = world.store.number("SELECT COUNT(*) FROM schema_migrations").await;
    for part in 1..=STARTS {
        let store = Store::new(engine).await;
        let launch = World::launch(&store, &world.meta);
        let mut hub = launch.begin();
        hub.go_on(start * part / (STARTS + 2)).await;
        hub.kill();
        let hub = launch.start().await;
        assert_eq!(store.number("SELECT COUNT(*) FROM schema_migrations").await, migrations);
        assert!(hub.terminate(STOPPED_WITHIN).await.success(), "{}", launch.log().tail());
        assert_eq!(launch.log().errors(), [""; 0]);
    }
}

/// One test at a time: the moments that these tests look for are lost on a machine that has other things to do.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

#[expect(
    clippy::disallowed_methods,
    reason = "how the tests are run is no setting of the hub's"
)]
fn seeded() -> (u64, ChaCha8Rng) {
    let seed = std::env::var("TIDINGS_TEST_SEED").map_or_else(
        |_| {
            let mut seed = [0; 8];
            aws_lc_rs::rand::fill(&mut seed).unwrap();
            u64::from_le_bytes(seed)
        },
        |seed| seed.parse().unwrap(),
    );
    (seed, ChaCha8Rng::seed_from_u64(seed))
}

/// A hub's surroundings: they outlive it.
struct World {
    meta: Arc<Meta>,
    store: Store,
    launch: Launch,
}

impl World {
    async fn new(engine: &Engine, seed: u64) -> Self {
        let meta = Arc::new(Meta::start(seed).await);
        let store = Store::new(engine).await;
        let launch = Self::launch(&store, &meta);
        Self { meta, store, launch }
    }

    fn launch(store: &Store, meta: &Meta) -> Launch {
        Self::launch_in(store.folder().to_owned(), store, meta, &[])
    }

    fn launch_in(folder: PathBuf, store: &Store, meta: &Meta, more: &[(&str, &str)]) -> Launch {
        let mut environment = meta.environment();
        let settings = [
            ("DATABASE_URL", store.url()),
            ("TIDINGS_SENDING_UNKNOWN_AFTER_SECS", UNKNOWN_AFTER_SECS.to_string()),
            // On Postgres what a killed hub had in hand is taken over once no call of its could still be under way.
            ("WHATSAPP_REQUEST_TIMEOUT_MS", "1000".to_owned()),
            ("TIDINGS_GRAPH_CONNECT_TIMEOUT_MS", "1000".to_owned()),
        ];
        environment.extend(settings.map(|(name, value)| (name.to_owned(), value)));
        environment.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Launch::new(folder, environment)
    }

    /// Waits until nothing is under way any more, on either side.
    async fn settle(&self) {
        let settled = async {
            // Nobody asks for anything any more, so that what is empty now stays empty: first what is sent, then what Meta says about it,
            // then what the hub makes of that.
            self.empty("outbox").await;
            self.meta.settled().await;
            self.empty("event_queue").await;
        };
        let waited = timeout(SETTLED_WITHIN, settled).await;
        assert!(
            waited.is_ok(),
            "not settled within {SETTLED_WITHIN:?}:\n{}",
            self.launch.log().tail()
        );
    }

    async fn empty(&self, table: &str) {
        let mut look = interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sql = format!("SELECT COUNT(*) FROM {table}");
        while self.store.number(&sql).await > 0 {
            look.tick().await;
        }
    }

    /// The gauges follow what is so, within a moment.
    async fn metrics_say_that_nothing_waits(&self) {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let mut look = interval(LOOK_AGAIN);
        let told = async {
            loop {
                look.tick().await;
                let request = http
                    .get(format!("{}/metrics", self.launch.url()))
                    .bearer_auth(ADMIN_KEY);
                let Ok(answer) = request.send().await else { continue };
                let Ok(metrics) = answer.text().await else { continue };
                if metrics.lines().any(|line| line == "tidings_events_waiting 0") {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(30), told)
            .await
            .expect("the gauge of waiting events follows what is so");
    }

    async fn verdict(&self, seed: u64, replies: &[Reply]) -> Verdict {
        let verdict = self.verdict_of_store(seed, replies).await;
        let errors = self.launch.log().errors();
        assert!(
            errors.is_empty(),
            "seed {seed}: the hub had errors:\n{}",
            errors.join("\n")
        );
        verdict
    }

    async fn verdict_of_store(&self, seed: u64, replies: &[Reply]) -> Verdict {
        let verdict = Verdict::of(&self.meta, &self.store, replies).await;
        let asked_again = replies.iter().filter(|reply| reply.requests > 1).count();
        println!(
            "{verdict}\n{asked_again} replies were asked for more than once, {} answers of Meta's were lost",
            self.meta.answers_lost()
        );
        assert!(verdict.is_clean(), "seed {seed}: {verdict}");
        verdict
    }
}
