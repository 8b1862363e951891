//! A hub that runs, with a simulated Meta on the other side: real sockets, real signatures, real handshakes.
//!
//! [`on_both`] runs a test on SQLite and on Postgres, each time with a hub, a sandbox and a database of its own, and takes them apart
//! afterwards, also when the test failed. Time stands still for both sides until [`Harness::pass`] moves it, so that a test of a day
//! takes no day; only what waits for a socket or a thread waits in real time, at most [`WITHIN`].
//!
//! On its way out the harness checks what no test should have to say: no background task failed, no event waits or is dead, Meta refused
//! nothing that the test did not foresee ([`Harness::foresee_refusals`]), and gave up no notification.

mod answer;
mod bucket;
mod database;
mod held;
pub mod in_process;
mod meta;
mod process;
mod running;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings::clock::{Clock, from_millis};
use tidings::config::{Config, ConfigFile, Sources};
use tidings::ingest::projector;
use tidings::server::Hub;
use tidings_sandbox::{Delays, LedgerEntry, LedgerKind, Object, Options, Sandbox, Time, WebhookOptions};
use tokio::time::MissedTickBehavior;

pub use answer::Answer;
pub use bucket::Bucket;
pub use database::{Database, Engine};
pub use meta::{Fixture, Notification, fault, fixtures, text, whatsapp_text, whatsapp_value};
pub use process::Process;
pub use running::Running;

/// When tests begin: a whole second, since WhatsApp tells no finer time.
pub const START: i64 = 1_795_400_000_000;
/// How long something may take that only waits for sockets and threads.
pub const WITHIN: Duration = Duration::from_mins(1);
/// How often it is looked whether it has happened.
pub const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The sandbox's WhatsApp number.
pub const NUMBER: &str = "200000000000001";
/// The WhatsApp Business Account that it belongs to.
pub const BUSINESS_ACCOUNT: &str = "100000000000001";
/// The sandbox's Instagram account.
pub const ACCOUNT: &str = "17841400000000001";
/// The key that the hub is called with.
pub const ADMIN_KEY: &str = "a-key-for-tests-alone";

/// What a hub and its Meta are started with.
#[derive(Clone)]
pub struct Setup {
    /// The sandbox.
    pub sandbox: Options,
    environment: BTreeMap<String, Option<String>>,
    is_subscribed: bool,
    file: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        let sandbox = Options {
            time: Time::Stepped { start_millis: START },
            webhooks: WebhookOptions {
                // One after the other, so that events come in the order in which they happened.
                parallel: 1,
                ..WebhookOptions::default()
            },
            delays: Delays {
                sent: Duration::from_secs(1),
                delivered: Duration::from_secs(1),
                read: None,
            },
            ..Options::default()
        };
        Self {
            sandbox,
            environment: BTreeMap::new(),
            is_subscribed: true,
            file: None,
        }
    }
}

impl Setup {
    /// With this variable in the hub's environment, on top of those that the sandbox tells.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), Some(value.to_owned()));
        self
    }

    /// Without this variable, which the sandbox tells.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.insert(name.to_owned(), None);
        self
    }

    /// With this as the hub's `tidings.toml`.
    pub fn with_file(mut self, text: &str) -> Self {
        self.file = Some(text.to_owned());
        self
    }

    /// With this variable as the sandbox tells it.
    pub fn with_told(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Nobody is subscribed: the test posts notifications itself, or subscribes later.
    pub fn unsubscribed(mut self) -> Self {
        self.is_subscribed = false;
        self
    }
}

/// A hub with a Meta of its own.
pub struct Harness {
    /// Meta.
    pub sandbox: Sandbox,
    /// The hub's clock; the sandbox has one of its own, and [`Harness::pass`] moves both.
    pub clock: Clock,
    engine: Engine,
    running: Option<Running>,
    setup: Setup,
    http: reqwest::Client,
    database: Database,
    folder: TempDir,
    foreseen_refusals: Vec<i64>,
}

/// Runs a test with the usual setup on every engine that there is.
pub async fn on_both(test: impl AsyncFn(&mut Harness)) {
    on_both_with(Setup::default(), test).await;
}

/// Runs a test on every engine that there is. What it starts with is new each time.
pub async fn on_both_with(setup: Setup, test: impl AsyncFn(&mut Harness)) {
    on(|_| true, setup, test).await;
}

/// Runs a test of what is so on SQLite alone, where one process has the store.
pub async fn on_sqlite(setup: Setup, test: impl AsyncFn(&mut Harness)) {
    on(|engine| engine == Engine::Sqlite, setup, test).await;
}

/// Runs a test of what is so on Postgres alone, which several nodes share; without a server there is nothing to run.
pub async fn on_postgres(setup: Setup, test: impl AsyncFn(&mut Harness)) {
    on(|engine| engine == Engine::Postgres, setup, test).await;
}

async fn on(is_meant: impl Fn(Engine) -> bool, setup: Setup, test: impl AsyncFn(&mut Harness)) {
    // Of several providers in one process rustls takes none by itself; another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for engine in Engine::available().into_iter().filter(|engine| is_meant(*engine)) {
        println!("on {engine:?}");
        let mut harness = Harness::start(engine, setup.clone()).await;
        let ended = AssertUnwindSafe(async {
            test(&mut harness).await;
            harness.check_that_all_is_well().await;
        })
        .catch_unwind()
        .await;
        harness.end().await;
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Harness {
    async fn start(engine: Engine, setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut harness = Self {
            sandbox: Sandbox::start(setup.sandbox.clone()).await.unwrap(),
            clock: Clock::frozen_at(from_millis(START)),
            engine,
            running: None,
            setup,
            http: reqwest::Client::builder().no_proxy().timeout(WITHIN).build().unwrap(),
            database: Database::create(engine, folder.path()).await,
            folder,
            foreseen_refusals: Vec::new(),
        };
        harness.start_hub().await;
        harness
    }

    /// Where the store is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Another hub on the same store, as another node would be; Meta calls the first one. The test ends it.
    pub async fn another_node(&self) -> Running {
        self.another_hub(|_| ()).await
    }

    async fn start_hub(&mut self) {
        let config = self.config(self.environment());
        self.running = Some(Running::start(config, self.clock.clone()).await);
        self.subscribe().await;
    }

    /// Has Meta call the hub, if the test wants it.
    async fn subscribe(&self) {
        if !self.setup.is_subscribed {
            return;
        }
        let environment = self.environment();
        for (object, name, token) in [
            (Object::WhatsApp, "whatsapp", "WHATSAPP_VERIFY_TOKEN"),
            (Object::Instagram, "instagram", "INSTAGRAM_VERIFY_TOKEN"),
        ] {
            let callback = self.url(&format!("/api/webhooks/{name}"));
            let token = environment.get(token).cloned().unwrap_or_default();
            self.sandbox.subscribe(object, &callback, &token).await.unwrap();
        }
    }

    /// What the sandbox tells, what the harness needs, and what the test says, the latter before the former.
    fn environment(&self) -> BTreeMap<String, String> {
        let mut environment: BTreeMap<String, String> = self.sandbox.environment().into_iter().collect();
        let own = [
            ("TIDINGS_LISTEN", "127.0.0.1:0"),
            ("TIDINGS_DATA_DIR", self.folder.path().to_str().unwrap()),
            ("DATABASE_URL", self.database.url()),
            ("TIDINGS_ADMIN_KEY", ADMIN_KEY),
            // After a crash nobody can tell but by waiting that a node is gone; one that stood still for a moment has missed nothing.
            ("TIDINGS_SENDING_LEASE_MS", "2000"),
            // Tests that count calls to Meta want none but their own.
            ("INSTAGRAM_MEDIA_WATCH_SECS", "0"),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (name, value) in &self.setup.environment {
            match value {
                Some(value) => environment.insert(name.clone(), value.clone()),
                None => environment.remove(name),
            };
        }
        environment
    }

    /// The running hub.
    pub fn hub(&self) -> &Hub {
        let running = self.running.as_ref();
        running.expect("a test ends the hub only by starting another one").hub()
    }

    /// An address of the hub's.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.hub().address())
    }

    /// Another hub on the same store, with this changed in its environment: another node.
    pub async fn another_hub(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Running {
        let mut environment = self.environment();
        change(&mut environment);
        Running::start(self.config(environment), self.clock.clone()).await
    }

    fn config(&self, environment: BTreeMap<String, String>) -> Config {
        let sources = Sources {
            environment,
            file: self.setup.file.clone().map(|text| ConfigFile {
                path: "tidings.toml".into(),
                text,
            }),
            ..Sources::default()
        };
        let loaded = Config::load(sources).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        loaded.config
    }

    /// Whether the store is one that several nodes can share.
    pub fn is_shared(&self) -> bool {
        self.database.url().starts_with("postgres")
    }

    /// Stops the hub, and starts it again on the same store with this changed in its environment.
    pub async fn restart_with(&mut self, change: impl FnOnce(Setup) -> Setup) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.setup = change(self.setup.clone());
        self.start_hub().await;
    }

    /// Stops the hub, and goes on with another one on the same store.
    pub async fn hand_over_to(&mut self, other: Running) {
        let running = self.running.replace(other);
        self.subscribe().await;
        if let Some(running) = running {
            running.stop().await;
        }
    }

    /// Lets the hub die on the spot, whatever it is doing.
    pub fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            running.crash();
        }
    }

    /// Stops the hub if it still runs, and starts it again on the same store.
    pub async fn restart(&mut self) {
        self.restart_with(|setup| setup).await;
    }

    /// Lets time pass on both sides, and everything come of it that follows: what is due at Meta is posted, what is due here is sent.
    pub async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.sandbox.advance(time).await;
        self.nudge();
        self.projected().await;
    }

    /// Lets the senders look at the clock, which they would do within a second anyway.
    pub fn nudge(&self) {
        for channel in self.hub().app().channels.all() {
            self.hub().app().senders.nudge(&channel.id);
        }
        self.hub().app().media.nudge_downloads();
        self.hub().app().media.nudge_uploads();
    }

    /// Resolves when nothing is on its way from Meta, and every event that came in was processed.
    pub async fn projected(&self) {
        self.sandbox.settled().await;
        self.until("all of the journal is in the store", async |harness| {
            (harness.hub().app().ingest.waiting() == 0).then_some(())
        })
        .await;
        while projector::project_due(self.hub().app()).await.unwrap() > 0 {}
        // The hub's own projector may still have a batch in hand; and an event that waited for a message comes back into the queue without
        // being shown as pending.
        self.until("no event waits in the queue", async |harness| {
            let store = &harness.hub().app().store;
            let (waiting, _) = store.read(|tx| tx.waiting_events(1)).await.unwrap();
            (waiting == 0).then_some(())
        })
        .await;
    }

    /// Looks again and again until the condition gives something; a test that waits longer than [`WITHIN`] has failed.
    pub async fn until<T>(&self, what: &str, condition: impl AsyncFn(&Self) -> Option<T>) -> T {
        let found = self.found_in_time(condition).await;
        found.unwrap_or_else(|| panic!("waited in vain until {what}"))
    }

    async fn found_in_time<T>(&self, condition: impl AsyncFn(&Self) -> Option<T>) -> Option<T> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let found = tokio::time::timeout(WITHIN, async {
            loop {
                looks.tick().await;
                if let Some(found) = condition(self).await {
                    return found;
                }
            }
        });
        found.await.ok()
    }

    /// Tries it five times, of which three have to take less than a second: a busy machine takes its time now and then.
    pub async fn takes_less_than_a_second(&self, what: &str, tried: impl AsyncFn(usize) -> Duration) {
        let mut took = Vec::new();
        for attempt in 0..5 {
            took.push(tried(attempt).await);
        }
        let in_time = took.iter().filter(|took| **took < Duration::from_secs(1));
        assert!(in_time.count() >= 3, "{what} took {took:?}");
    }

    /// Waits until a message has this status, or has got further than it, and answers with the message.
    pub async fn message_until(&self, id: &str, status: &str) -> Value {
        self.message_while_time_passes(id, status, Duration::ZERO).await
    }

    /// The same, with a step of time before each look.
    pub async fn message_while_time_passes(&self, id: &str, status: &str, step: Duration) -> Value {
        let found = self.found_in_time(async |harness| {
            if !step.is_zero() {
                harness.pass(step).await;
            }
            let message = harness.message(id).await;
            let is = message["status"].as_str().unwrap_or_default();
            (is == status || is_beyond(is, status)).then_some(message)
        });
        if let Some(message) = found.await {
            return message;
        }
        let (_, timeline) = self.timeline(id).await;
        let queue = self.get("/admin/queue").await;
        panic!("waited in vain until {id} is {status}; its timeline is {timeline:#}, and the queue {queue:?}");
    }

    /// Waits until so many attempts have counted against a message that still has to be sent; answers with what it waits for.
    pub async fn waiting_after(&self, id: &str, attempts: u32) -> Value {
        self.until(&format!("{id} waits after {attempts} attempts"), async |harness| {
            let (_, document) = harness.timeline(id).await;
            let waiting = document["waiting"].clone();
            (waiting["attempts"] == attempts && waiting["state"] != "sending").then_some(waiting)
        })
        .await
    }

    /// Meta may refuse calls with these codes.
    pub fn foresee_refusals(&mut self, codes: &[i64]) {
        self.foreseen_refusals.extend_from_slice(codes);
    }

    /// What Meta wrote down of one kind.
    pub fn ledger(&self, kind: LedgerKind) -> Vec<LedgerEntry> {
        self.sandbox
            .ledger()
            .into_iter()
            .filter(|entry| entry.kind == kind)
            .collect()
    }

    /// The texts that Meta accepted for a customer, in order.
    pub fn accepted(&self, customer: &str) -> Vec<String> {
        let accepted = self.ledger(LedgerKind::Accepted);
        let of_customer = accepted
            .iter()
            .filter(|entry| entry.customer.as_deref() == Some(customer));
        of_customer
            .map(|entry| entry.detail["text"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    async fn check_that_all_is_well(&self) {
        self.projected().await;
        assert_eq!(self.hub().app().workers.healthy(), Ok(()), "a background task fails");
        assert_eq!(
            self.metric("tidings_task_restarts_total").await,
            0,
            "a background task failed"
        );
        let dead = self.get("/api/webhooks/events?status=dead").await.json();
        assert_eq!(dead["events"], json!([]), "events are dead");
        for refused in self.ledger(LedgerKind::Refused) {
            let code = refused.detail["code"].as_i64().unwrap_or_default();
            // A file that a recorded notification names, and that this Meta never had.
            let text = refused.detail["message"].as_str().unwrap_or_default();
            if code == 100 && refused.detail["subcode"] == 33 && text.starts_with("Unsupported get request") {
                continue;
            }
            assert!(
                self.foreseen_refusals.contains(&code),
                "Meta refused a call that the test did not foresee: {refused:?}"
            );
        }
        assert!(
            self.ledger(LedgerKind::GaveUp).is_empty(),
            "Meta gave up a notification"
        );
    }

    async fn end(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.sandbox.stop().await;
        self.database.remove().await;
    }
}

/// Whether a message that was taken by Meta has got further than wanted, as it may have by the time somebody looks.
fn is_beyond(status: &str, wanted: &str) -> bool {
    let place = |status: &str| {
        ["accepted", "sent", "delivered", "read"]
            .iter()
            .position(|one| *one == status)
    };
    place(wanted).is_some_and(|wanted| place(status) > Some(wanted))
}
