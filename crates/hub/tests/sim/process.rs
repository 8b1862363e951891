//! One process of the hub: everything that ends with it is in one runtime, which is dropped where it stands when the process dies, and not
//! run for as long as the process stands still.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode};
use rand::Rng;
use serde_json::{Value, json};
use tidings::channels::Channels;
use tidings::clock::from_millis;
use tidings::config::{Config, Sources};
use tidings::crypto::Keyring;
use tidings::ids::Ids;
use tidings::routes;
use tidings::sending::route::model::{Policy, RouteOrder, Success};
use tidings::server::Works;
use tidings::store::{Around, Happening as StoreHappening, Store, StoreError};
use tidings::tasks::Tasks;
use tidings_meta::client::{Carrier, ClientOptions, GraphClient};
use tidings_meta::notification::Platform;
use tidings_meta::signature;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tower::ServiceExt;

use crate::database::Database;
use crate::meta::{ACCOUNT, BUSINESS_ACCOUNT, Line, NUMBER, OTHER_NUMBER, REQUEST_TIMEOUT, Wire};
use crate::plan::{Fault, PROMISES, Plan};
use crate::world::{Answer, FIRST_TOKEN, Happening, Inner, START, UnderWay, Way, World};

pub(crate) const ADMIN_KEY: &str = "a-key-for-simulations-alone";
pub(crate) const MASTER_KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const SECRET: &str = "a-secret-for-simulations-alone";
/// The policy of messages that may go by the other number.
const POLICY: &str = "either";
/// How long Meta waits for an answer to a notification.
const POST_WITHIN: Duration = Duration::from_secs(10);
/// How long a caller waits.
const ORDER_WITHIN: Duration = Duration::from_secs(30);
/// How long what is under way has when the process is stopped, and then the tasks.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked whether anything still moves.
pub(crate) const LOOK_EVERY: i64 = 1_000;
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
}

/// A process, in a runtime of its own: what it is doing stands still whenever [`Process::run_until`] is not running it.
pub(crate) struct Process {
    node: usize,
    runtime: Runtime,
    main: Pin<Box<dyn Future<Output = Ending>>>,
}

impl Process {
    pub(crate) fn begin(world: &World, database: &Database, node: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without sockets needs nothing that could be missing");
        runtime.block_on(async { world.lock().begin(node) });
        Self {
            node,
            runtime,
            main: Box::pin(Life::run(world.clone(), database.clone(), node)),
        }
    }

    /// Lets it run until a time, or until something is to happen before; answers with how it ended, if it has.
    pub(crate) fn run_until(&mut self, world: &World, until: i64) -> Option<Ending> {
        world.lock().enter(self.node);
        let main = &mut self.main;
        let ending = self.runtime.block_on(async {
            let (crash, behind) = world.lock().catch_up();
            if !behind.is_zero() {
                // It has stood still: everything that was due meanwhile is due at once.
                tokio::time::advance(behind).await;
            }
            loop {
                let (at, changed) = {
                    let world = world.lock();
                    if world.stands_still(self.node) {
                        return None;
                    }
                    let at = world.next_at().map_or(until, |next| next.min(until));
                    (world.instant(at), Arc::clone(&world.changed))
                };
                tokio::select! {
                    biased;
                    () = crash.cancelled() => return Some(Ending::Crashed),
                    ending = &mut *main => return Some(ending),
                    () = changed.notified() => {}
                    () = sleep_until(at) => return None,
                }
            }
        });
        world.lock().leave();
        ending
    }
}

/// What a process does from its start to its end.
struct Life {
    node: usize,
    world: World,
    router: Router,
    requests: JoinSet<(UnderWay, Option<(StatusCode, Value)>)>,
}

impl Life {
    async fn run(world: World, database: Database, node: usize) -> Ending {
        let (clock, plan, seed) = {
            let mut world = world.lock();
            world.note(format_args!("node {node} starts"));
            (world.clock(), world.plan.clone(), world.rng.random())
        };
        let config = config(&plan);
        let around = Arc::new(Weather(world.clone()));
        // Whoever has a Postgres never knows whether others have it too.
        let store = if plan.nodes > 1 || database.is_on_a_server() {
            Store::inline_shared(&database.inline, around)
        } else {
            Store::inline(&database.inline, around)
        };
        // Another process makes other ids.
        let ids = Ids::seeded(clock.clone(), seed);
        let channels = channels(&config, &world);
        let works = Works::prepare(config, store, channels, clock, ids).await;
        let started = match works {
            Ok(works) => {
                world.lock().is_called(works.app.leases.node().to_string());
                works.start().await
            }
            Err(error) => Err(error),
        };
        let (app, tasks) = match started {
            Ok(started) => started,
            Err(error) => {
                world.lock().note(format_args!("node {node} does not start: {error:#}"));
                return Ending::NotStarted;
            }
        };
        world.lock().note(format_args!("node {node} runs"));
        let mut life = Self {
            node,
            world,
            router: routes::router(app),
            requests: JoinSet::new(),
        };
        life.serve().await;
        life.stop(tasks).await;
        Ending::Stopped
    }

    /// Does what it is asked until it is told to stop.
    async fn serve(&mut self) {
        let told = self.world.lock().told(self.node);
        loop {
            loop {
                let what = self.world.lock().take_told(self.node);
                match what {
                    None => break,
                    Some(Happening::Stop { .. }) => return,
                    Some(what) => self.perform(what),
                }
            }
            tokio::select! {
                biased;
                Some(done) = self.requests.join_next() => self.finish(done.expect("requests do not panic, and nobody aborts them")),
                () = told.notified() => {}
            }
        }
    }

    fn perform(&mut self, what: Happening) {
        let asked = self.world.lock().request_of(what);
        if let Some((what, within, request)) = asked {
            self.ask(what, within, request);
        }
    }

    fn ask(&mut self, what: UnderWay, within: Duration, request: Request<Body>) {
        self.world.lock().under_way.insert((self.node, what));
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
        self.world.lock().answered(self.node, what, answer);
    }

    /// As [`tidings::server::Hub::stop`] does it: no new requests, then what is under way, then the tasks.
    async fn stop(&mut self, tasks: Tasks) {
        let _ = timeout(STOP_WITHIN, async {
            while let Some(done) = self.requests.join_next().await {
                self.finish(done.expect("requests do not panic, and nobody aborts them"));
            }
        })
        .await;
        tasks.stop(STOP_WITHIN).await;
        self.world.lock().note(format_args!("node {} has stopped", self.node));
    }
}

impl Inner {
    /// What happens whether or not there is a hub.
    pub(crate) fn perform_anywhere(&mut self, what: Happening) {
        match what {
            Happening::Take { call } => self.take(call),
            Happening::Write { customer, line } => self.write(customer, line),
            Happening::Jump { by } if !self.is_calm => {
                let node = self.rng.random_range(0..self.plan.nodes);
                self.note(format_args!("the calendar of node {node} is set by {by} ms"));
                self.shift(node, by);
            }
            Happening::Calm => {
                self.note("everything is mended");
                self.is_calm = true;
                for node in 0..self.plan.nodes {
                    self.shift(node, -self.wall_offsets[node]);
                }
                self.plan_in(LOOK_EVERY..LOOK_EVERY + 1, Happening::Look);
            }
            Happening::Rotate { line } => {
                self.rotate(line);
                self.plan_in(100..6_000, Happening::Swap { line });
            }
            Happening::Freeze { node, until } if !self.is_calm => self.freeze(node, until),
            Happening::Thaw { node } => self.thaw(node),
            Happening::Freeze { .. } | Happening::Crash { .. } | Happening::Stop { .. } | Happening::Jump { .. } => {}
            other => unreachable!("{other:?} is for a process, or for whoever runs it"),
        }
    }

    /// What happens to a request while there is nobody to hear of it.
    pub(crate) fn happen_unheard(&mut self, node: usize, what: Happening) {
        if let Some((what, ..)) = self.request_of(what) {
            self.answered(node, what, None);
        }
    }

    /// The process is gone, and with it every request that it had in hand.
    pub(crate) fn break_off(&mut self, node: usize) {
        let (gone, others) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|(at, _)| *at == node);
        self.under_way = others;
        let gone: BTreeSet<(usize, UnderWay)> = gone;
        for (_, what) in gone {
            self.answered(node, what, None);
        }
        while let Some(what) = self.take_told(node) {
            self.happen_unheard(node, what);
        }
    }

    pub(crate) fn has_nothing_to_do(&self) -> bool {
        self.is_calm
            && self.agenda_is_empty()
            && self.under_way.is_empty()
            && self.posts.iter().all(|post| post.is_done)
            && self.orders.iter().all(|order| order.answer != Answer::Open)
    }

    /// What the hub is asked when something happens, and how long whoever asks waits for the answer.
    fn request_of(&mut self, what: Happening) -> Option<(UnderWay, Duration, Request<Body>)> {
        let asked = match what {
            Happening::Post { post, forged } => {
                let request = self.notification(post, forged);
                return Some((UnderWay::Post(post, forged), POST_WITHIN, request));
            }
            Happening::Order { order } => {
                if self.orders[order].key.is_some() && self.hits(Fault::OrderTwice) {
                    self.plan_in(0..50, Happening::Twin { order });
                }
                (UnderWay::Order(order), self.order(order))
            }
            Happening::Twin { order } => {
                self.orders[order].was_asked_twice = true;
                (UnderWay::Twin(order), self.order(order))
            }
            Happening::Clash { order } => (UnderWay::Clash(order), self.clash(order)),
            Happening::Batch { batch } => (UnderWay::Batch(batch), self.batch(batch)),
            Happening::Cancel { order } => (UnderWay::Cancel(order), self.cancel(order)),
            Happening::Swap { line } => (UnderWay::Swap(line), self.swap(line)),
            Happening::Switch { on: false } if !self.is_silenced => {
                // Whoever has sending stopped asks for it to go on only once they were told that it was.
                self.plan_in(100..1_000, Happening::Switch { on: false });
                return None;
            }
            Happening::Switch { on } => (UnderWay::Switch(on), self.switch(on)),
            _ => return None,
        };
        Some((asked.0, ORDER_WITHIN, asked.1))
    }

    fn switch(&mut self, on: bool) -> Request<Body> {
        let (word, path) = if on {
            ("stopped", "/admin/outbound/stop")
        } else {
            ("let go on", "/admin/outbound/start")
        };
        self.note(format_args!("sending is to be {word}"));
        if !on {
            self.silence_ends();
        }
        request(Method::POST, path, "{}".to_owned(), vec![bearer()])
    }

    fn cancel(&mut self, order: usize) -> Request<Body> {
        self.note(format_args!("order {order} is withdrawn"));
        let id = self.orders[order].message_id.clone().unwrap_or_default();
        let path = format!("/api/v1/messages/{id}");
        request(Method::DELETE, &path, String::new(), vec![bearer()])
    }

    fn swap(&mut self, line: Line) -> Request<Body> {
        self.note(format_args!("the token of {line:?} is swapped"));
        let path = format!("/api/v1/channels/{}/credentials", line.channel());
        let body = json!({"accessToken": self.tokens[&line]}).to_string();
        request(Method::PUT, &path, body, vec![bearer()])
    }

    fn clash(&mut self, order: usize) -> Request<Body> {
        let known = &self.orders[order];
        let body = json!({"channel": "whatsapp", "to": known.to, "message": "something else"}).to_string();
        let key = known.key.clone().unwrap_or_default();
        let headers = vec![bearer(), ("idempotency-key", key)];
        request(Method::POST, "/api/v1/messages/send", body, headers)
    }

    fn batch(&mut self, batch: usize) -> Request<Body> {
        let orders = self.batches[batch].clone();
        self.note(format_args!("orders {orders:?} are asked for"));
        let bodies: Vec<String> = orders.iter().map(|order| self.body_of_order(*order)).collect();
        let body = format!("{{\"messages\": [{}]}}", bodies.join(", "));
        let mut headers = vec![bearer()];
        headers.extend(self.orders[orders[0]].key.clone().map(|key| ("idempotency-key", key)));
        request(Method::POST, "/api/v1/messages/batch", body, headers)
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
        request(Method::POST, path, body, vec![(signature::HEADER, signature)])
    }

    fn order(&mut self, order: usize) -> Request<Body> {
        let body = self.body_of_order(order);
        let mut headers = vec![bearer()];
        headers.extend(self.orders[order].key.clone().map(|key| ("idempotency-key", key)));
        self.note(format_args!("order {order} is asked for"));
        request(Method::POST, "/api/v1/messages/send", body, headers)
    }

    /// The body of an order, the same however often it is asked for.
    fn body_of_order(&mut self, order: usize) -> String {
        let (now, wall) = (self.now(), self.now() + self.wall_offset());
        let line = Line::of(self.customers[self.orders[order].customer].platform);
        let known = &mut self.orders[order];
        known.asked += 1;
        if let Some(body) = &known.body {
            return body.clone();
        }
        known.asked_at = Some(now);
        let mut body = json!({"channel": line.channel(), "to": known.to, "message": known.text});
        if let Some(lifetime) = known.lifetime {
            body["expiresAt"] = json!(from_millis(wall + lifetime).to_string());
        }
        if let Some(after) = known.sent_after {
            known.not_before = Some(now + after);
            body["sendAt"] = json!(from_millis(wall + after).to_string());
        }
        match known.way {
            Way::Alone => body["route"] = json!("none"),
            Way::Usual => {}
            Way::Named => body["route"] = json!(POLICY),
        }
        let body = body.to_string();
        known.body = Some(body.clone());
        body
    }

    /// A request was answered, or will never be.
    pub(crate) fn answered(&mut self, node: usize, what: UnderWay, answer: Option<(StatusCode, Value)>) {
        self.under_way.remove(&(node, what));
        let status = answer.as_ref().map(|(status, _)| status.as_u16());
        let body = answer.map(|(_, body)| body).unwrap_or_default();
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
            UnderWay::Order(order) => self.order_answered(order, status, &body),
            UnderWay::Twin(order) => {
                if status == Some(202) {
                    let id = body["messageId"].as_str().unwrap_or_default().to_owned();
                    self.orders[order].twin_ids.push(id);
                }
            }
            UnderWay::Clash(order) => {
                self.note(format_args!(
                    "the key of order {order}, for something else, is answered: {status:?}"
                ));
                if status.is_some_and(|status| status < 500 && status != 409) {
                    self.violated("a key is for one message", format_args!("order {order}: {status:?}"));
                }
            }
            UnderWay::Batch(batch) => self.batch_answered(batch, status, &body),
            UnderWay::Cancel(order) => {
                self.note(format_args!("to withdraw order {order} is answered: {status:?}"));
                match status {
                    Some(200) => {
                        let now = self.now();
                        self.orders[order].cancelled_at.get_or_insert(now);
                    }
                    Some(409) => {}
                    Some(status @ 400..=499) => {
                        self.violated(
                            "what was accepted can be asked for",
                            format_args!("order {order}: {status}"),
                        );
                    }
                    _ => self.plan_in(100..2_000, Happening::Cancel { order }),
                }
            }
            UnderWay::Swap(line) => {
                self.note(format_args!("to swap the token of {line:?} is answered: {status:?}"));
                if status != Some(200) {
                    self.plan_in(300..2_000, Happening::Swap { line });
                }
            }
        }
    }

    /// Whoever asks for sending to go on gets it at once.
    fn silence_ends(&mut self) {
        let now = self.now();
        for (_, until) in &mut self.silent {
            *until = (*until).min(now);
        }
    }

    fn order_answered(&mut self, order: usize, status: Option<u16>, body: &Value) {
        self.note(format_args!("order {order} is answered: {status:?}"));
        let was_repeated = self.orders[order].repeating;
        self.orders[order].repeating = false;
        let (customer, has_key) = (self.orders[order].customer, self.orders[order].key.is_some());
        match status {
            Some(202) => {
                self.accepted(order, body["messageId"].as_str());
                if has_key && self.hits(Fault::OrderRepeated) && self.orders[order].asked < 4 {
                    self.orders[order].repeating = true;
                    self.plan_in(0..3_000, Happening::Order { order });
                }
                if was_repeated {
                    return;
                }
                if has_key && self.hits(Fault::KeyReused) {
                    self.plan_in(0..3_000, Happening::Clash { order });
                }
            }
            _ if was_repeated => return,
            Some(status @ 400..=499) => self.orders[order].answer = Answer::Refused(status),
            _ if has_key => {
                self.plan_in(100..2_000, Happening::Order { order });
                return;
            }
            _ => self.orders[order].answer = Answer::Unsure,
        }
        self.go_on_with(customer);
    }

    fn batch_answered(&mut self, batch: usize, status: Option<u16>, body: &Value) {
        let orders = self.batches[batch].clone();
        self.note(format_args!("orders {orders:?} are answered: {status:?}"));
        let has_key = self.orders[orders[0]].key.is_some();
        for (index, order) in orders.iter().enumerate() {
            let result = &body["results"][index];
            if self.orders[*order].answer != Answer::Open && result["messageId"].is_null() {
                continue;
            }
            let refusal = result["problem"]["status"].as_u64();
            self.orders[*order].answer = match refusal.or(status.map(u64::from)) {
                Some(200) => {
                    self.accepted(*order, result["messageId"].as_str());
                    continue;
                }
                Some(status @ 400..=499) => Answer::Refused(status as u16),
                _ if has_key => Answer::Open,
                _ => Answer::Unsure,
            };
        }
        if orders.iter().any(|order| self.orders[*order].answer == Answer::Open) {
            self.plan_in(100..2_000, Happening::Batch { batch });
            return;
        }
        self.go_on_with(self.orders[orders[0]].customer);
    }

    fn accepted(&mut self, order: usize, id: Option<&str>) {
        let id = id.map(str::to_owned);
        let known = self.orders[order].message_id.clone();
        if known.is_some() && known != id {
            self.violated(
                "one key is one message",
                format_args!("order {order}: {known:?}, then {id:?}"),
            );
        }
        self.orders[order].message_id = id;
        self.orders[order].answer = Answer::Accepted;
        if known.is_none() && !self.orders[order].is_routed() && self.hits(Fault::Cancelled) {
            self.plan_in(0..6_000, Happening::Cancel { order });
        }
    }

    fn go_on_with(&mut self, customer: usize) {
        let pause = self.rng.random_range(0..3_000);
        let at = self.now() + pause;
        self.next_order(customer, at);
    }
}

pub(crate) fn bearer() -> (&'static str, String) {
    ("authorization", format!("Bearer {ADMIN_KEY}"))
}

pub(crate) fn request(method: Method, path: &str, body: String, headers: Vec<(&'static str, String)>) -> Request<Body> {
    let source = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let start = Request::builder()
        .method(method)
        .uri(path)
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
    /// After so long.
    Away(i64),
    Dead,
}

impl Weather {
    fn take(&self, turn: impl FnOnce(&mut Inner) -> Turn) -> StoreHappening {
        let turn = turn(&mut self.0.lock());
        let world = self.0.clone();
        let after = async move |millis: i64| {
            let until = {
                let world = world.lock();
                world.instant(world.now() + millis)
            };
            sleep_until(until).await;
        };
        Box::pin(async move {
            match turn {
                Turn::On => Ok(()),
                Turn::After(millis) => {
                    after(millis).await;
                    Ok(())
                }
                Turn::Away(millis) => {
                    after(millis).await;
                    Err(StoreError::Unavailable("nobody reaches it".to_owned()))
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
    fn is_store_away(&self) -> bool {
        let at = self.now() - START;
        !self.is_calm && self.plan.away.iter().any(|stretch| stretch.contains(&at))
    }

    fn turn(&mut self, refusing: Fault, place: &str, writes: bool) -> Turn {
        let what = if writes { "write" } else { "read" };
        // What was under way when it went is kept, and nobody is told.
        if self.is_store_away() {
            self.note(format_args!("the store is away {place} a {what}"));
            let longest = if self.rng.random_bool(0.1) { 2_000 } else { 50 };
            return Turn::Away(self.rng.random_range(1..longest));
        }
        if self.hits(Fault::StoreCrash) {
            self.note(format_args!("the process dies {place} a {what}"));
            self.crash();
            return Turn::Dead;
        }
        if self.hits(Fault::StoreFreeze) {
            self.note(format_args!("the process stands still {place} a {what}"));
            let until = self.now() + self.rng.random_range(100..20_000);
            self.freeze(self.running_node(), until);
            return Turn::After(1);
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

fn config(plan: &Plan) -> Config {
    static ONE_NUMBER: LazyLock<Config> = LazyLock::new(|| settings(&[]));
    static TWO_NUMBERS: LazyLock<Config> = LazyLock::new(|| {
        settings(&[
            ("WHATSAPP_BACKUP_PHONE_NUMBER_ID", OTHER_NUMBER),
            ("WHATSAPP_BACKUP_ACCESS_TOKEN", FIRST_TOKEN),
        ])
    });
    let mut config = match plan.backup {
        Some(backup) => {
            let mut config = TWO_NUMBERS.clone();
            config.routes = vec![Policy {
                name: POLICY.to_owned(),
                order: RouteOrder::Named(
                    [Line::Main, Line::Backup]
                        .map(|line| line.channel().to_owned())
                        .to_vec(),
                ),
                success: Success::Delivered,
                fallback_after: backup
                    .late_after_secs
                    .map(|secs| Duration::from_secs(secs.unsigned_abs())),
                subject: None,
                told: None,
            }];
            config
        }
        None => ONE_NUMBER.clone(),
    };
    config.sending.unknown_after = Duration::from_secs(plan.unknown_after_secs.unsigned_abs());
    config.sending.parallel = plan.parallel;
    config
}

fn settings(more: &[(&str, &str)]) -> Config {
    let environment = [
        ("TIDINGS_ADMIN_KEY", ADMIN_KEY),
        ("TIDINGS_MASTER_KEY", MASTER_KEY),
        ("WHATSAPP_PHONE_NUMBER_ID", NUMBER),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", BUSINESS_ACCOUNT),
        ("WHATSAPP_ACCESS_TOKEN", FIRST_TOKEN),
        ("WHATSAPP_APP_SECRET", SECRET),
        ("META_IG_BUSINESS_ID", ACCOUNT),
        ("META_IG_ACCESS_TOKEN", FIRST_TOKEN),
        ("INSTAGRAM_APP_SECRET", SECRET),
    ];
    let sources = Sources {
        environment: environment
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
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
}

/// No channels yet, with this Meta at the other end of what they are called with.
fn channels(config: &Config, world: &World) -> Channels {
    channels_by(config, Arc::new(Wire(world.clone())))
}

/// The same, with whatever carries calls.
pub(crate) fn channels_by(config: &Config, carrier: Arc<dyn Carrier>) -> Channels {
    static CLIENT: LazyLock<GraphClient> = LazyLock::new(|| {
        GraphClient::new(ClientOptions::new("http://meta.invalid", "v26.0")).expect("its options are good ones")
    });
    let client = CLIENT.carried_by(carrier);
    let keyring = Keyring::load(config).expect("the settings have a key");
    Channels::new(keyring, client.clone(), client)
}

pub(crate) fn is_empty(database: &Database) -> bool {
    let rows = database.number(
        "SELECT (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM event_queue) + (SELECT COUNT(*) FROM scheduled_messages)",
    );
    rows == 0
}

/// What waits, for whoever has to find out why.
pub(crate) fn waiting(database: &Database) -> String {
    let entries = database.rows(
        "SELECT {text m.content} || ' is ' || o.state || ', head ' || o.head || ', due at ' || o.due_at || ', ' || COALESCE(o.reason, '')
            FROM outbox AS o JOIN messages AS m ON m.id = o.message_id
         UNION ALL SELECT 'event ' || e.external_id || ' due at ' || q.due_at FROM event_queue AS q JOIN events AS e ON e.id = q.event_id",
    );
    let entries: Vec<String> = entries.into_iter().flatten().flatten().collect();
    entries.join("; ")
}
