//! One process of the hub: everything that ends with it is in one runtime, which is dropped where it stands when the process dies.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use rand::Rng;
use serde_json::{Value, json};
use tidings::channels::Channels;
use tidings::clock::from_millis;
use tidings::config::{Config, Sources};
use tidings::crypto::Keyring;
use tidings::ids::Ids;
use tidings::routes;
use tidings::server::Works;
use tidings::store::{Around, Happening as StoreHappening, InlineDatabase, Store, StoreError};
use tidings::tasks::Tasks;
use tidings_meta::client::{ClientOptions, GraphClient};
use tidings_meta::notification::Platform;
use tidings_meta::signature;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::meta::{ACCOUNT, BUSINESS_ACCOUNT, NUMBER, REQUEST_TIMEOUT, Wire};
use crate::plan::{Fault, PROMISES};
use crate::world::{Answer, Happening, Inner, UnderWay, World};

const ADMIN_KEY: &str = "a-key-for-simulations-alone";
const MASTER_KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const SECRET: &str = "a-secret-for-simulations-alone";
/// How long Meta waits for an answer to a notification.
const POST_WITHIN: Duration = Duration::from_secs(10);
/// How long a caller waits.
const ORDER_WITHIN: Duration = Duration::from_secs(30);
/// How long what is under way has when the process is stopped, and then the tasks.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked whether anything still moves.
const LOOK_EVERY: i64 = 1_000;
/// How long after everything is mended nothing may move any more: the longest pauses between attempts are under 20 minutes.
pub(crate) const SETTLED_WITHIN: i64 = 40 * 60 * 1_000;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It died.
    Crashed,
    /// It was told to, and did what was under way.
    Stopped,
    /// It could not begin.
    NotStarted,
    /// It still runs, and nothing moves any more, or should not.
    Settled,
}

/// Runs a process until it ends, or nothing moves any more.
pub(crate) fn live(world: &World, database: &InlineDatabase) -> Ending {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets needs nothing that could be missing");
    let ending = runtime.block_on(async {
        let crash = CancellationToken::new();
        world.lock().begin(crash.clone());
        let ending = tokio::select! {
            biased;
            () = crash.cancelled() => Ending::Crashed,
            ending = Process::run(world, database) => ending,
        };
        world.lock().end();
        ending
    });
    // Everything that the process was doing is dropped here.
    drop(runtime);
    ending
}

#[derive(Debug)]
struct Process {
    world: World,
    database: InlineDatabase,
    router: Router,
    requests: JoinSet<(UnderWay, Option<(StatusCode, Value)>)>,
}

impl Process {
    async fn run(world: &World, database: &InlineDatabase) -> Ending {
        let (clock, unknown_after, parallel, seed) = {
            let mut world = world.lock();
            world.note("the hub starts");
            let clock = world.clock.clone().expect("it was made just now");
            let seed = world.rng.random();
            (clock, world.plan.unknown_after_secs, world.plan.parallel, seed)
        };
        let config = config(unknown_after, parallel);
        let around = Arc::new(Weather(world.clone()));
        let store = Store::inline(database, around);
        // Another process makes other ids.
        let ids = Ids::seeded(clock.clone(), seed);
        let channels = channels(&config, world);
        let works = Works::prepare(config, store, channels, clock, ids).await;
        let started = match works {
            Ok(works) => works.start().await,
            Err(error) => Err(error),
        };
        let (app, tasks) = match started {
            Ok(started) => started,
            Err(error) => {
                world.lock().note(format_args!("the hub does not start: {error:#}"));
                return Ending::NotStarted;
            }
        };
        world.lock().note("the hub runs");
        let mut process = Self {
            world: world.clone(),
            database: database.clone(),
            router: routes::router(app),
            requests: JoinSet::new(),
        };
        match process.serve().await {
            Ending::Stopped => process.stop(tasks).await,
            ending => ending,
        }
    }

    /// Lets happen what is on the agenda.
    async fn serve(&mut self) -> Ending {
        loop {
            let (next, changed) = {
                let world = self.world.lock();
                (world.next_at().map(|at| world.instant(at)), Arc::clone(&world.changed))
            };
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(done) = self.requests.join_next() => self.finish(done.expect("requests do not panic, and nobody aborts them")),
                () = due => {}
                () = changed.notified() => {}
            }
            loop {
                let due = {
                    let mut world = self.world.lock();
                    let now = world.now();
                    world.take_due(now)
                };
                let Some(what) = due else { break };
                if let Some(ending) = self.perform(what) {
                    return ending;
                }
            }
        }
    }

    fn perform(&mut self, what: Happening) -> Option<Ending> {
        let mut world = self.world.lock();
        match what {
            Happening::Crash if !world.is_calm => {
                world.note("the process dies");
                return Some(Ending::Crashed);
            }
            Happening::Stop if !world.is_calm => {
                world.note("the process is told to stop");
                return Some(Ending::Stopped);
            }
            Happening::Post { post, forged } => {
                let request = world.notification(post, forged);
                drop(world);
                self.ask(UnderWay::Post(post, forged), POST_WITHIN, request);
            }
            Happening::Order { order } => {
                let request = world.order(order);
                drop(world);
                self.ask(UnderWay::Order(order), ORDER_WITHIN, request);
            }
            Happening::Switch { on: false } if !world.is_silenced => world.wait_for_silence(),
            Happening::Switch { on } => {
                world.note(format_args!(
                    "sending is to be {}",
                    if on { "stopped" } else { "let go on" }
                ));
                if !on {
                    world.silence_ends();
                }
                drop(world);
                let path = if on {
                    "/admin/outbound/stop"
                } else {
                    "/admin/outbound/start"
                };
                let request = request(path, "{}".to_owned(), vec![bearer()]);
                self.ask(UnderWay::Switch(on), ORDER_WITHIN, request);
            }
            Happening::Look => {
                if world.has_nothing_to_do() && is_empty(&self.database) {
                    return Some(Ending::Settled);
                }
                let now = world.now();
                let mended_at = crate::world::START + world.plan.lasts;
                if now > mended_at + SETTLED_WITHIN {
                    let waits = waiting(&self.database);
                    world.violated("nothing is stuck", waits);
                    return Some(Ending::Settled);
                }
                world.plan_at(now + LOOK_EVERY, Happening::Look);
            }
            other => world.perform_anywhere(other),
        }
        None
    }

    fn ask(&mut self, what: UnderWay, within: Duration, request: Request<Body>) {
        self.world.lock().under_way.insert(what);
        let router = self.router.clone();
        self.requests.spawn(async move {
            let answer = timeout(within, async {
                let answer = match router.oneshot(request).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                };
                let status = answer.status();
                let body = to_bytes(answer.into_body(), 1024 * 1024).await.unwrap_or_default();
                (status, serde_json::from_slice(&body).unwrap_or_default())
            });
            (what, answer.await.ok())
        });
    }

    fn finish(&mut self, (what, answer): (UnderWay, Option<(StatusCode, Value)>)) {
        self.world.lock().answered(what, answer);
    }

    /// As [`tidings::server::Hub::stop`] does it: no new requests, then what is under way, then the tasks.
    async fn stop(&mut self, tasks: Tasks) -> Ending {
        let _ = timeout(STOP_WITHIN, async {
            while let Some(done) = self.requests.join_next().await {
                self.finish(done.expect("requests do not panic, and nobody aborts them"));
            }
        })
        .await;
        // Meta goes on meanwhile.
        let stopping = tasks.stop(STOP_WITHIN);
        tokio::pin!(stopping);
        loop {
            let (next, changed) = {
                let world = self.world.lock();
                (world.next_at().map(|at| world.instant(at)), Arc::clone(&world.changed))
            };
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut stopping => break,
                () = due => {}
                () = changed.notified() => {}
            }
            let mut world = self.world.lock();
            let now = world.now();
            while let Some(what) = world.take_due(now) {
                world.happen_unheard(what);
            }
        }
        self.world.lock().note("the process has stopped");
        Ending::Stopped
    }
}

impl Inner {
    /// What happens whether or not there is a hub.
    fn perform_anywhere(&mut self, what: Happening) {
        match what {
            Happening::Take { call } => self.take(call),
            Happening::Write { customer } => self.write(customer),
            Happening::Jump { by } if !self.is_calm => {
                self.note(format_args!("the wall clock is set by {by} ms"));
                self.wall_offset += by;
                if let Some(clock) = &self.clock {
                    clock.shift(by);
                }
            }
            Happening::Calm => {
                self.note("everything is mended");
                self.is_calm = true;
                if let Some(clock) = &self.clock {
                    clock.shift(-self.wall_offset);
                }
                self.wall_offset = 0;
                self.plan_in(LOOK_EVERY..LOOK_EVERY + 1, Happening::Look);
            }
            Happening::Crash | Happening::Stop | Happening::Jump { .. } => {}
            Happening::Post { .. } | Happening::Order { .. } | Happening::Switch { .. } | Happening::Look => {
                unreachable!("only a running hub has it")
            }
        }
    }

    /// What happens while there is no hub to hear of it.
    pub(crate) fn happen_unheard(&mut self, what: Happening) {
        match what {
            Happening::Post { post, forged } => self.answered(UnderWay::Post(post, forged), None),
            Happening::Order { order } => self.answered(UnderWay::Order(order), None),
            Happening::Switch { on } => self.answered(UnderWay::Switch(on), None),
            Happening::Look => self.plan_in(LOOK_EVERY..LOOK_EVERY + 1, Happening::Look),
            other => self.perform_anywhere(other),
        }
    }

    /// The process is gone, and with it every request that it had in hand.
    pub(crate) fn break_off(&mut self) {
        for what in std::mem::take(&mut self.under_way) {
            self.answered(what, None);
        }
    }

    fn has_nothing_to_do(&self) -> bool {
        self.is_calm
            && self.agenda_is_empty()
            && self.under_way.is_empty()
            && self.posts.iter().all(|post| post.is_done)
            && self.orders.iter().all(|order| order.answer != Answer::Open)
    }

    fn notification(&mut self, post: usize, forged: bool) -> Request<Body> {
        let body = self.body_of(post);
        self.posts[post].tries += u32::from(!forged);
        let names: Vec<&str> = self.posts[post]
            .events
            .iter()
            .map(|event| self.events[*event].external_id.as_str())
            .collect();
        let line = format!(
            "post {post}{}: {}",
            if forged { ", forged" } else { "" },
            names.join(", ")
        );
        self.note(line);
        let path = match self.posts[post].platform {
            Platform::WhatsApp => "/api/webhooks/whatsapp",
            Platform::Instagram => "/api/webhooks/instagram",
        };
        let secret = if forged { "not the secret" } else { SECRET };
        let signature = signature::sign(secret.as_bytes(), body.as_bytes());
        request(path, body, vec![(signature::HEADER, signature)])
    }

    fn order(&mut self, order: usize) -> Request<Body> {
        let wall = self.now() + self.wall_offset;
        let known = &mut self.orders[order];
        known.asked += 1;
        let body = known.body.get_or_insert_with(|| {
            let channel = if known.to.starts_with("555") {
                "instagram"
            } else {
                "whatsapp"
            };
            let mut body = json!({"channel": channel, "to": known.to, "message": known.text});
            if let Some(lifetime) = known.lifetime {
                body["expiresAt"] = json!(from_millis(wall + lifetime).to_string());
            }
            body.to_string()
        });
        let mut headers = vec![bearer()];
        headers.extend(known.key.clone().map(|key| ("idempotency-key", key)));
        let request = request("/api/v1/messages/send", body.clone(), headers);
        self.note(format_args!("order {order} is asked for"));
        request
    }

    /// A request was answered, or will never be.
    fn answered(&mut self, what: UnderWay, answer: Option<(StatusCode, Value)>) {
        self.under_way.remove(&what);
        let status = answer.as_ref().map(|(status, _)| status.as_u16());
        match what {
            UnderWay::Post(_, true) => {
                if status == Some(200) {
                    self.violated("what is not signed by Meta is refused", format_args!("{what:?}"));
                }
            }
            UnderWay::Post(post, false) => {
                if status == Some(200) {
                    self.acknowledged(post);
                    self.note(format_args!("post {post} is acknowledged"));
                } else {
                    self.note(format_args!("post {post} is not acknowledged: {status:?}"));
                    if let Some(status @ 400..=499) = status {
                        self.violated("Meta's notifications are taken", format_args!("post {post}: {status}"));
                    }
                    let longest = if self.is_calm {
                        1_000
                    } else {
                        500 << self.posts[post].tries.min(5)
                    };
                    self.plan_in(200..longest, Happening::Post { post, forged: false });
                }
            }
            UnderWay::Switch(true) if status == Some(200) => {
                let now = self.now();
                self.is_silenced = true;
                self.silent.push((now, i64::MAX));
            }
            UnderWay::Switch(on) if status != Some(200) => self.plan_in(100..1_000, Happening::Switch { on }),
            UnderWay::Switch(_) => {}
            UnderWay::Order(order) => self.order_answered(order, status, answer.map(|(_, body)| body)),
        }
    }

    /// Whoever has sending stopped asks for it to go on only once they were told that it was.
    fn wait_for_silence(&mut self) {
        self.plan_in(100..1_000, Happening::Switch { on: false });
    }

    /// Whoever asks for sending to go on gets it at once.
    fn silence_ends(&mut self) {
        let now = self.now();
        for (_, until) in &mut self.silent {
            *until = (*until).min(now);
        }
    }

    fn order_answered(&mut self, order: usize, status: Option<u16>, body: Option<Value>) {
        self.note(format_args!("order {order} is answered: {status:?}"));
        let was_repeated = self.orders[order].repeating;
        self.orders[order].repeating = false;
        let (customer, keyed) = (self.orders[order].customer, self.orders[order].key.is_some());
        match status {
            Some(202) => {
                let id = body.and_then(|body| body["messageId"].as_str().map(str::to_owned));
                let known = self.orders[order].message_id.clone();
                if known.is_some() && known != id {
                    self.violated(
                        "one key is one message",
                        format_args!("order {order}: {known:?}, then {id:?}"),
                    );
                }
                self.orders[order].message_id = id;
                self.orders[order].answer = Answer::Accepted;
                if keyed && self.hits(Fault::OrderRepeated) && self.orders[order].asked < 4 {
                    self.orders[order].repeating = true;
                    self.plan_in(0..3_000, Happening::Order { order });
                }
                if was_repeated {
                    return;
                }
            }
            _ if was_repeated => return,
            Some(status @ 400..=499) => self.orders[order].answer = Answer::Refused(status),
            _ if keyed => {
                self.plan_in(100..2_000, Happening::Order { order });
                return;
            }
            _ => self.orders[order].answer = Answer::Unsure,
        }
        let pause = self.rng.random_range(0..3_000);
        let at = self.now() + pause;
        self.next_order(customer, at);
    }
}

fn bearer() -> (&'static str, String) {
    ("authorization", format!("Bearer {ADMIN_KEY}"))
}

fn request(path: &str, body: String, headers: Vec<(&'static str, String)>) -> Request<Body> {
    let source = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let start = Request::post(path)
        .header("content-type", "application/json")
        .extension(ConnectInfo(source));
    headers
        .into_iter()
        .fold(start, |request, (name, value)| request.header(name, value))
        .body(Body::from(body))
        .expect("its parts are good ones")
}

/// What the seed lets happen around units of work.
#[derive(Debug)]
struct Weather(World);

/// What happens at one place.
enum Turn {
    On,
    After(i64),
    Refused,
    Dead,
}

impl Weather {
    fn take(&self, turn: impl FnOnce(&mut Inner) -> Turn) -> StoreHappening {
        let turn = turn(&mut self.0.lock());
        let world = self.0.clone();
        Box::pin(async move {
            match turn {
                Turn::On => Ok(()),
                Turn::After(millis) => {
                    let until = {
                        let world = world.lock();
                        world.instant(world.now() + millis)
                    };
                    sleep_until(until).await;
                    Ok(())
                }
                Turn::Refused => Err(StoreError::Unavailable("as the seed wills it".to_owned())),
                Turn::Dead => std::future::pending().await,
            }
        })
    }
}

impl Around for Weather {
    fn before(&self, writes: bool) -> StoreHappening {
        self.take(|world| world.turn(Fault::StoreRefuses, "before", writes))
    }

    fn after(&self, writes: bool) -> StoreHappening {
        self.take(|world| world.turn(Fault::StoreUnsure, "after", writes))
    }
}

impl Inner {
    fn turn(&mut self, refusing: Fault, place: &str, writes: bool) -> Turn {
        let what = if writes { "write" } else { "read" };
        if self.hits(Fault::StoreCrash) {
            self.note(format_args!("the process dies {place} a {what}"));
            self.crash.cancel();
            return Turn::Dead;
        }
        if self.hits(refusing) {
            self.note(format_args!("the store fails {place} a {what}"));
            return Turn::Refused;
        }
        if self.hits(Fault::StoreSlow) {
            // Now and then longer than a lease, and than Meta waits.
            let longest = if self.rng.random_bool(0.1) { 15_000 } else { 3_000 };
            return Turn::After(self.rng.random_range(50..longest));
        }
        if self.rng.random_bool(0.15) {
            return Turn::After(self.rng.random_range(1..6));
        }
        Turn::On
    }
}

fn config(unknown_after_secs: i64, parallel: usize) -> Config {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| {
        let environment = [
            ("TIDINGS_ADMIN_KEY", ADMIN_KEY),
            ("TIDINGS_MASTER_KEY", MASTER_KEY),
            ("WHATSAPP_PHONE_NUMBER_ID", NUMBER),
            ("WHATSAPP_BUSINESS_ACCOUNT_ID", BUSINESS_ACCOUNT),
            // What is read from Meta beside messages would only shift the histories.
            ("TIDINGS_TEMPLATES_SYNC_SECS", "0"),
            ("WHATSAPP_ACCESS_TOKEN", "token"),
            ("WHATSAPP_APP_SECRET", SECRET),
            ("META_IG_BUSINESS_ID", ACCOUNT),
            ("META_IG_ACCESS_TOKEN", "token"),
            ("INSTAGRAM_APP_SECRET", SECRET),
            ("INSTAGRAM_MEDIA_WATCH_SECS", "0"),
        ];
        let sources = Sources {
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Sources::default()
        };
        let mut config = Config::load(sources)
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .config;
        config.graph.request_timeout = Duration::from_millis(REQUEST_TIMEOUT.unsigned_abs());
        config.graph.connect_timeout = Duration::from_secs(1);
        if let Some(pace) = PROMISES.pace {
            let pace = u32::try_from(pace).expect("it is a small number");
            config.sending.whatsapp.per_second = pace;
            config.sending.instagram.per_second = pace;
        }
        config
    });
    let mut config = CONFIG.clone();
    config.sending.unknown_after = Duration::from_secs(unknown_after_secs.unsigned_abs());
    config.sending.parallel = parallel;
    config
}

/// No channels yet, with this Meta at the other end of what they are called with.
fn channels(config: &Config, world: &World) -> Channels {
    static CLIENT: LazyLock<GraphClient> = LazyLock::new(|| {
        GraphClient::new(ClientOptions::new("http://meta.invalid", "v26.0")).expect("its options are good ones")
    });
    let client = CLIENT.carried_by(Arc::new(Wire(world.clone())));
    let keyring = Keyring::load(config).expect("the settings have a key");
    Channels::new(keyring, client.clone(), client)
}

fn is_empty(database: &InlineDatabase) -> bool {
    let rows: i64 = database.ask(|connection| {
        connection
            .query_row(
                "SELECT (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM event_queue)",
                [],
                |row| row.get(0),
            )
            .unwrap()
    });
    rows == 0
}

/// What waits, for whoever has to find out why.
fn waiting(database: &InlineDatabase) -> String {
    let entries: Vec<String> = database.ask(|connection| {
        let mut statement = connection
            .prepare(
                "SELECT json_extract(m.content, '$.text') || ' is ' || o.state || ', head ' || o.head || ', due at ' || o.due_at || ', '
                    || COALESCE(o.reason, '') FROM outbox AS o JOIN messages AS m ON m.id = o.message_id
                 UNION ALL SELECT 'event ' || e.external_id || ' due at ' || q.due_at FROM event_queue AS q JOIN events AS e ON e.id = q.event_id",
            )
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    });
    entries.join("; ")
}
