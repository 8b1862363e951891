//! Everything outside the hub: the time, what is to happen, customers, callers, and the log of it all.
//!
//! It outlives the hub's processes, and so has no tasks of its own: what is to happen stands in the agenda, and whoever runs the history
//! takes it from there. Each process has a time of its own, in step with the world's but for a moment, or for as long as it stands still.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tidings::clock::Clock;
use tidings_meta::notification::Platform;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::meta::{Call, Event, Line, Post};
use crate::plan::{Fault, Plan};

/// When histories begin: a whole second, since WhatsApp tells no finer time.
pub(crate) const START: i64 = 1_795_400_000_000;
/// Lines of the log that are kept.
const LOG_LINES_MAX: usize = 20_000;
/// How long a process runs before another one has its turn, in milliseconds: by so much their times may differ.
pub(crate) const TURN: i64 = 20;
/// The same once everything is mended.
const CALM_TURN: i64 = 100;
/// How long processes run where nothing is to happen.
const LOOK_AHEAD: i64 = 1_000;
/// The token that the settings have for every channel.
pub(crate) const FIRST_TOKEN: &str = "token";

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// Meta takes the message of a call.
    Take { call: usize },
    /// A customer writes, to the one number or the other.
    Write { customer: usize, line: Line },
    /// Meta posts a notification, or somebody else does in its name.
    Post { post: usize, forged: bool },
    /// A caller asks for a message to be sent.
    Order { order: usize },
    /// The same again, while the first request may still be under way.
    Twin { order: usize },
    /// The same key for another message.
    Clash { order: usize },
    /// A caller asks for several messages to be sent.
    Batch { batch: usize },
    /// A caller withdraws a message.
    Cancel { order: usize },
    /// A channel's token ends for good.
    Rotate { line: Line },
    /// An operator gives the channel another one.
    Swap { line: Line },
    /// A process begins.
    Start { node: usize },
    /// The process dies.
    Crash { node: usize },
    /// The process is stopped.
    Stop { node: usize },
    /// The process stands still until then.
    Freeze { node: usize, until: i64 },
    /// It goes on.
    Thaw { node: usize },
    /// An operator stops all sending, or lets it go on.
    Switch { on: bool },
    /// The wall clock is set.
    Jump { by: i64 },
    /// Everything is mended.
    Calm,
    /// Whether anything is still moving.
    Look,
}

#[derive(Debug, Clone)]
pub(crate) struct Customer {
    pub(crate) platform: Platform,
    /// Phone number or Instagram-scoped id.
    pub(crate) address: String,
    /// The business-scoped id, where Meta tells it.
    pub(crate) user_id: Option<String>,
}

/// What became of a request for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not asked yet, or to be asked again.
    Open,
    /// 202.
    Accepted,
    /// It was told that it could not be.
    Refused(u16),
    /// Nobody knows, and it cannot be asked again.
    Unsure,
}

/// By which numbers a message may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the one that it asks for.
    Alone,
    /// By another where the first does not serve, as the hub has it of itself.
    Usual,
    /// The same, by a policy of the settings.
    Named,
}

/// A message that a caller wants sent.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) customer: usize,
    /// How the caller names the customer.
    pub(crate) to: String,
    pub(crate) text: String,
    /// Its idempotency key.
    pub(crate) key: Option<String>,
    /// How long it is worth sending, in milliseconds.
    pub(crate) lifetime: Option<i64>,
    /// How long after it is first asked for it is to be sent, in milliseconds.
    pub(crate) sent_after: Option<i64>,
    /// When that is.
    pub(crate) not_before: Option<i64>,
    /// When it was first asked for.
    pub(crate) asked_at: Option<i64>,
    /// By which numbers it may go.
    pub(crate) way: Way,
    /// When somebody was told that it is withdrawn.
    pub(crate) cancelled_at: Option<i64>,
    /// Whether it was asked for twice at the same time: the one may be refused, and the other not.
    pub(crate) was_asked_twice: bool,
    /// What requests that were made beside the first were answered.
    pub(crate) twin_ids: Vec<String>,
    /// The body, the same each time.
    pub(crate) body: Option<String>,
    pub(crate) answer: Answer,
    pub(crate) message_id: Option<String>,
    pub(crate) asked: u32,
    /// Asked again although it was answered.
    pub(crate) repeating: bool,
}

/// What was ordered, without what the contact is told before it on another way.
pub(crate) fn ordered(text: &str) -> &str {
    text.rsplit("\n\n").next().unwrap_or(text)
}

impl Order {
    /// Whether it goes by another number where the first does not serve.
    pub(crate) fn is_routed(&self) -> bool {
        self.way != Way::Alone
    }
}

/// The world. Cheap to clone; every clone is the same world.
#[derive(Debug, Clone)]
pub(crate) struct World(Arc<Mutex<Inner>>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) plan: Plan,
    database: Database,
    pub(crate) rng: ChaCha12Rng,
    /// The time, where no process is looked at.
    base: i64,
    /// The process that is running at this moment, whose time it is then.
    running: Option<usize>,
    /// What there is of each node's process.
    pub(crate) frames: Vec<Option<Frame>>,
    agenda: BTreeMap<(i64, u64), Happening>,
    planned: u64,
    /// Something was put on the agenda.
    pub(crate) changed: Arc<Notify>,
    /// By how much each node's calendar goes wrong.
    pub(crate) wall_offsets: Vec<i64>,
    /// When each node stood still.
    pub(crate) frozen: Vec<(usize, i64, i64)>,
    pub(crate) is_calm: bool,
    /// The tokens that each channel's account takes.
    pub(crate) tokens: BTreeMap<Line, String>,
    /// Tokens that there were.
    rotated: usize,
    pub(crate) batches: Vec<Vec<usize>>,
    pub(crate) customers: Vec<Customer>,
    pub(crate) orders: Vec<Order>,
    pub(crate) calls: Vec<Call>,
    pub(crate) events: Vec<Event>,
    pub(crate) posts: Vec<Post>,
    /// Requests under way, and at which node.
    pub(crate) under_way: BTreeSet<(usize, UnderWay)>,
    /// When processes died, since Meta cannot know what they had read by then.
    pub(crate) crashed_at: Vec<i64>,
    /// From when to when sending was stopped: from the answer to the one request, to the asking of the other.
    pub(crate) silent: Vec<(i64, i64)>,
    /// Somebody was told that it is.
    pub(crate) is_silenced: bool,
    pub(crate) met: BTreeMap<Fault, usize>,
    pub(crate) log: Vec<String>,
    pub(crate) violations: Vec<String>,
}

/// One process, as the world knows it.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The world's time when it began.
    base: i64,
    /// The same by its runtime's time.
    began: Instant,
    /// What it takes for the calendar's.
    pub(crate) clock: Clock,
    /// Ends it where it stands.
    pub(crate) crash: CancellationToken,
    /// What it calls itself in the store, once it runs.
    pub(crate) name: Option<String>,
    /// Until when it stands still.
    pub(crate) frozen_until: Option<i64>,
    /// What it is to be asked.
    pub(crate) inbox: VecDeque<Happening>,
    pub(crate) told: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UnderWay {
    Post(usize, bool),
    Order(usize),
    Twin(usize),
    Clash(usize),
    Batch(usize),
    Cancel(usize),
    Swap(Line),
    Switch(bool),
}

impl World {
    pub(crate) fn new(plan: Plan, database: Database) -> Self {
        let world = Inner {
            database,
            rng: ChaCha12Rng::seed_from_u64(plan.seed ^ 0x5EED_0F7E_1113_2026),
            base: START,
            running: None,
            frames: (0..plan.nodes).map(|_| None).collect(),
            agenda: BTreeMap::new(),
            planned: 0,
            changed: Arc::new(Notify::new()),
            wall_offsets: vec![0, plan.skew],
            frozen: Vec::new(),
            is_calm: false,
            tokens: [Line::Main, Line::Backup, Line::Instagram]
                .map(|line| (line, FIRST_TOKEN.to_owned()))
                .into(),
            rotated: 0,
            batches: Vec::new(),
            customers: Vec::new(),
            orders: Vec::new(),
            calls: Vec::new(),
            events: Vec::new(),
            posts: Vec::new(),
            under_way: BTreeSet::new(),
            crashed_at: Vec::new(),
            silent: Vec::new(),
            is_silenced: false,
            met: BTreeMap::new(),
            log: Vec::new(),
            violations: Vec::new(),
            plan,
        };
        let world = Self(Arc::new(Mutex::new(world)));
        world.lock().populate();
        world
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn populate(&mut self) {
        let plan = self.plan.clone();
        for number in 0..plan.customers {
            let platform = if self.rng.random_bool(0.6) {
                Platform::WhatsApp
            } else {
                Platform::Instagram
            };
            let (address, user_id) = match platform {
                Platform::WhatsApp => (
                    format!("4477009001{number:02}"),
                    self.rng
                        .random_bool(0.4)
                        .then(|| format!("GB.482019375628401{number:02}")),
                ),
                Platform::Instagram => (format!("55500011100{number:02}"), None),
            };
            self.customers.push(Customer {
                platform,
                address,
                user_id,
            });
            let first = self.rng.random_range(0..1_500);
            let line = Line::of(platform);
            let write = |line| Happening::Write { customer: number, line };
            self.plan_at(START + first, write(line));
            if plan.backup.is_some() && platform == Platform::WhatsApp {
                self.plan_at(START + first + 200, write(Line::Backup));
            }
            for _ in 1..plan.written {
                let at = self.rng.random_range(0..plan.lasts);
                self.plan_at(START + at, write(line));
            }
            let pause = self.rng_range(500..4_000);
            self.next_order(number, START + first + pause);
        }
        for node in 0..plan.nodes {
            self.plan_at(START, Happening::Start { node });
        }
        for (at, node) in plan.crashes {
            self.plan_at(START + at, Happening::Crash { node });
        }
        for (at, node) in plan.stops {
            self.plan_at(START + at, Happening::Stop { node });
        }
        for (stretch, node) in plan.freezes {
            let until = START + stretch.end;
            self.plan_at(START + stretch.start, Happening::Freeze { node, until });
        }
        for (at, line) in plan.rotations {
            self.plan_at(START + at, Happening::Rotate { line });
        }
        for stretch in plan.stopped {
            self.plan_at(START + stretch.start, Happening::Switch { on: true });
            self.plan_at(START + stretch.end, Happening::Switch { on: false });
        }
        for (at, by) in plan.jumps {
            self.plan_at(START + at, Happening::Jump { by });
        }
        self.plan_at(START + plan.lasts, Happening::Calm);
    }

    fn rng_range(&mut self, range: std::ops::Range<i64>) -> i64 {
        self.rng.random_range(range)
    }

    /// Has the customer's caller ask for the next message at a time, if one is left, or for the next few. A caller waits for an answer before
    /// that, so that the order of acceptance is known.
    pub(crate) fn next_order(&mut self, customer: usize, at: i64) {
        let asked = self.orders.iter().filter(|order| order.customer == customer).count();
        let left = self.plan.orders.saturating_sub(asked);
        if left == 0 {
            return;
        }
        if left > 1 && self.hits(Fault::Batched) {
            let batch = self.batches.len();
            let count = self.rng.random_range(2..=left);
            let has_key = !self.hits(Fault::Unkeyed);
            let first = self.orders.len();
            for _ in 0..count {
                let order = self.new_order(customer, has_key.then(|| format!("batch-{batch}")));
                self.orders.push(order);
            }
            self.batches.push((first..first + count).collect());
            self.plan_at(at, Happening::Batch { batch });
            return;
        }
        let number = self.orders.len();
        let has_key = !self.hits(Fault::Unkeyed);
        let order = self.new_order(customer, has_key.then(|| format!("key-{number}")));
        self.orders.push(order);
        self.plan_at(at, Happening::Order { order: number });
    }

    fn new_order(&mut self, customer: usize, key: Option<String>) -> Order {
        let known = self.customers[customer].clone();
        let to = match known.user_id {
            Some(user_id) if self.rng.random_bool(0.3) => user_id,
            _ if known.platform == Platform::WhatsApp => format!("+{}", known.address),
            _ => known.address,
        };
        let lifetime = self.hits(Fault::Expiring).then(|| self.rng_range(1_000..30_000));
        let sent_after = self.hits(Fault::Scheduled).then(|| self.rng_range(500..15_000));
        Order {
            customer,
            to,
            text: format!("order {}", self.orders.len()),
            key,
            // It cannot be over before it may be sent.
            lifetime: lifetime.map(|lifetime| lifetime + sent_after.unwrap_or_default()),
            sent_after,
            not_before: None,
            asked_at: None,
            way: self.way(known.platform),
            cancelled_at: None,
            was_asked_twice: false,
            twin_ids: Vec::new(),
            body: None,
            answer: Answer::Open,
            message_id: None,
            asked: 0,
            repeating: false,
        }
    }

    fn way(&mut self, platform: Platform) -> Way {
        if self.plan.backup.is_none() || platform != Platform::WhatsApp {
            return Way::Alone;
        }
        match self.rng.random_range(0..10) {
            0..3 => Way::Alone,
            3..6 => Way::Usual,
            _ => Way::Named,
        }
    }

    /// Whether a fault hits now.
    pub(crate) fn hits(&mut self, fault: Fault) -> bool {
        if self.is_calm && !fault.is_usual() {
            return false;
        }
        let Some(rate) = self.plan.faults.get(&fault).copied() else {
            return false;
        };
        let hit = self.rng.random_bool(rate);
        if hit {
            *self.met.entry(fault).or_default() += 1;
        }
        hit
    }

    /// The time, as it is: that of the process that is running at this moment, if one is.
    pub(crate) fn now(&self) -> i64 {
        match self.running.and_then(|node| self.frames[node].as_ref()) {
            Some(frame) => frame.base + frame.began.elapsed().as_millis() as i64,
            None => self.base,
        }
    }

    /// When that is by the running process's time.
    pub(crate) fn instant(&self, at: i64) -> Instant {
        let frame = self.running_frame();
        frame.began + std::time::Duration::from_millis((at - frame.base).max(0).unsigned_abs())
    }

    fn running_frame(&self) -> &Frame {
        let running = self.running.and_then(|node| self.frames[node].as_ref());
        running.expect("asked within a process alone")
    }

    /// The node whose process is running at this moment.
    pub(crate) fn running_node(&self) -> usize {
        self.running.expect("asked within a process alone")
    }

    /// The process that is running at this moment dies.
    pub(crate) fn crash(&self) {
        self.running_frame().crash.cancel();
    }

    /// By how much the calendar of whoever runs at this moment goes wrong.
    pub(crate) fn wall_offset(&self) -> i64 {
        self.wall_offsets[self.running.unwrap_or_default()]
    }

    /// A process begins, within its runtime.
    pub(crate) fn begin(&mut self, node: usize) {
        let clock = Clock::of_runtime(tidings::clock::from_millis(self.base + self.wall_offsets[node]));
        self.frames[node] = Some(Frame {
            base: self.base,
            began: Instant::now(),
            clock,
            crash: CancellationToken::new(),
            name: None,
            frozen_until: None,
            inbox: VecDeque::new(),
            told: Arc::default(),
        });
    }

    /// What the running process calls itself in the store.
    pub(crate) fn is_called(&mut self, name: String) {
        if let Some(frame) = self.running.and_then(|node| self.frames[node].as_mut()) {
            frame.name = Some(name);
        }
    }

    /// Whether the running process leads a channel at this moment, as the store has it.
    pub(crate) fn leads(&self, line: Line) -> bool {
        let channel = line.channel();
        let found = self.database.rows(&format!(
            "SELECT owner FROM channel_leases WHERE channel_id = '{channel}'"
        ));
        let owner = found.into_iter().flatten().next().flatten();
        owner.is_some() && owner == self.running_frame().name
    }

    /// A process runs from here on, until [`Inner::leave`].
    pub(crate) fn enter(&mut self, node: usize) {
        self.running = Some(node);
    }

    pub(crate) fn leave(&mut self) {
        self.running = None;
    }

    /// A process is gone.
    pub(crate) fn end(&mut self, node: usize) {
        self.frames[node] = None;
    }

    /// The running process's end, if somebody wants it; and how long it has stood still.
    pub(crate) fn catch_up(&self) -> (CancellationToken, std::time::Duration) {
        let behind = (self.base - self.now()).max(0).unsigned_abs();
        (
            self.running_frame().crash.clone(),
            std::time::Duration::from_millis(behind),
        )
    }

    /// The running process's calendar.
    pub(crate) fn clock(&self) -> Clock {
        self.running_frame().clock.clone()
    }

    /// Asks a node for something.
    pub(crate) fn tell(&mut self, node: usize, what: Happening) {
        if let Some(frame) = &mut self.frames[node] {
            frame.inbox.push_back(what);
            frame.told.notify_one();
        }
    }

    /// Whoever waits for [`Inner::take_told`].
    pub(crate) fn told(&self, node: usize) -> Arc<Notify> {
        self.frames[node]
            .as_ref()
            .map_or_else(Arc::default, |frame| Arc::clone(&frame.told))
    }

    /// What a node is asked for next.
    pub(crate) fn take_told(&mut self, node: usize) -> Option<Happening> {
        self.frames[node].as_mut()?.inbox.pop_front()
    }

    /// Sets a node's calendar.
    pub(crate) fn shift(&mut self, node: usize, by: i64) {
        self.wall_offsets[node] += by;
        if let Some(frame) = &self.frames[node] {
            frame.clock.shift(by);
        }
    }

    /// A process stands still from now on.
    pub(crate) fn freeze(&mut self, node: usize, until: i64) {
        let now = self.now();
        if let Some(frame) = &mut self.frames[node]
            && frame.frozen_until.is_none()
        {
            frame.frozen_until = Some(until);
            self.frozen.push((node, now, until));
            self.note(format_args!("node {node} stands still"));
            self.plan_at(until, Happening::Thaw { node });
        }
    }

    /// Whether a node's process stands still, or there is none.
    pub(crate) fn stands_still(&self, node: usize) -> bool {
        let frame = self.frames[node].as_ref();
        frame.is_none_or(|frame| frame.frozen_until.is_some())
    }

    /// It goes on, if it is still the one that stood still.
    pub(crate) fn thaw(&mut self, node: usize) {
        let now = self.now();
        if let Some(frame) = &mut self.frames[node]
            && frame.frozen_until.is_some_and(|until| until <= now)
        {
            frame.frozen_until = None;
            self.note(format_args!("node {node} goes on"));
        }
    }

    /// Time passes.
    pub(crate) fn pass_until(&mut self, at: i64) {
        self.base = self.base.max(at);
    }

    /// Somebody who can answer a request: a process that runs, or seems to.
    pub(crate) fn any_node(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..self.frames.len())
            .filter(|node| self.frames[*node].is_some())
            .collect();
        match up[..] {
            [] => None,
            [only] => Some(only),
            _ => Some(up[self.rng.random_range(0..up.len())]),
        }
    }

    /// A channel's account takes another token from now on.
    pub(crate) fn rotate(&mut self, line: Line) {
        self.rotated += 1;
        let token = format!("token-{}", self.rotated);
        self.note(format_args!("the token of {line:?} ends"));
        self.tokens.insert(line, token);
    }

    pub(crate) fn plan_at(&mut self, at: i64, what: Happening) {
        self.planned += 1;
        self.agenda.insert((at.max(self.now()), self.planned), what);
        self.changed.notify_one();
    }

    pub(crate) fn plan_in(&mut self, millis: std::ops::Range<i64>, what: Happening) {
        let at = self.now() + self.rng_range(millis);
        self.plan_at(at, what);
    }

    pub(crate) fn next_at(&self) -> Option<i64> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// Until when processes run before it is looked what is to happen: until it does. Several take turns, a moment each.
    pub(crate) fn round_ends_at(&self) -> i64 {
        let next = self.next_at().unwrap_or(self.base + LOOK_AHEAD);
        let many = self.frames.iter().flatten().count() > 1;
        match (many, self.is_calm) {
            (false, _) => next,
            (true, false) => next.min(self.base + TURN),
            (true, true) => next.min(self.base + CALM_TURN),
        }
    }

    pub(crate) fn take_due(&mut self, now: i64) -> Option<Happening> {
        if self.next_at()? > now {
            return None;
        }
        self.agenda.pop_first().map(|(_, what)| what)
    }

    pub(crate) fn agenda_is_empty(&self) -> bool {
        self.agenda.is_empty()
    }

    pub(crate) fn note(&mut self, line: impl std::fmt::Display) {
        if self.log.len() < LOG_LINES_MAX {
            let at = self.now() - START;
            self.log.push(format!("{:>8}.{:03}  {line}", at / 1_000, at % 1_000));
        }
    }

    pub(crate) fn violated(&mut self, rule: &str, how: impl std::fmt::Display) {
        self.note(format_args!("VIOLATION {rule}: {how}"));
        self.violations.push(format!("{rule}: {how}"));
    }
}
