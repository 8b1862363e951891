//! Everything outside the hub: the time, what is to happen, customers, callers, and the log of it all.
//!
//! It outlives the hub's processes, and so has no tasks of its own: what is to happen stands in the agenda, and whoever runs the history
//! takes it from there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tidings::clock::Clock;
use tidings_meta::notification::Platform;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::meta::{Call, Event, Post};
use crate::plan::{Fault, Plan};

/// When histories begin: a whole second, since WhatsApp tells no finer time.
pub(crate) const START: i64 = 1_795_400_000_000;
/// Lines of the log that are kept.
const LOG_LINES_MAX: usize = 20_000;

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// Meta takes the message of a call.
    Take { call: usize },
    /// A customer writes.
    Write { customer: usize },
    /// Meta posts a notification, or somebody else does in its name.
    Post { post: usize, forged: bool },
    /// A caller asks for a message to be sent.
    Order { order: usize },
    /// The process dies.
    Crash,
    /// The process is stopped.
    Stop,
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
    /// The body, the same each time.
    pub(crate) body: Option<String>,
    pub(crate) answer: Answer,
    pub(crate) message_id: Option<String>,
    pub(crate) asked: u32,
    /// Asked again although it was answered.
    pub(crate) repeating: bool,
}

/// The world. Cheap to clone; every clone is the same world.
#[derive(Debug, Clone)]
pub(crate) struct World(Arc<Mutex<Inner>>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) plan: Plan,
    pub(crate) rng: ChaCha12Rng,
    /// The time when the runtime of now began.
    base: i64,
    /// When that was by the runtime's time; `None` between two.
    began: Option<Instant>,
    agenda: BTreeMap<(i64, u64), Happening>,
    planned: u64,
    /// Something was put on the agenda.
    pub(crate) changed: Arc<Notify>,
    /// By how much the wall clock goes wrong.
    pub(crate) wall_offset: i64,
    /// The hub's clock.
    pub(crate) clock: Option<Clock>,
    /// Ends the process of now where it stands.
    pub(crate) crash: CancellationToken,
    pub(crate) is_calm: bool,
    pub(crate) customers: Vec<Customer>,
    pub(crate) orders: Vec<Order>,
    pub(crate) calls: Vec<Call>,
    pub(crate) events: Vec<Event>,
    pub(crate) posts: Vec<Post>,
    /// Posts and orders under way.
    pub(crate) under_way: BTreeSet<UnderWay>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UnderWay {
    Post(usize, bool),
    Order(usize),
    Switch(bool),
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let world = Inner {
            rng: ChaCha12Rng::seed_from_u64(plan.seed ^ 0x5EED_0F7E_1113_2026),
            base: START,
            began: None,
            agenda: BTreeMap::new(),
            planned: 0,
            changed: Arc::new(Notify::new()),
            wall_offset: 0,
            clock: None,
            crash: CancellationToken::new(),
            is_calm: false,
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
            self.plan_at(START + first, Happening::Write { customer: number });
            for _ in 1..plan.written {
                let at = self.rng.random_range(0..plan.lasts);
                self.plan_at(START + at, Happening::Write { customer: number });
            }
            let pause = self.rng_range(500..4_000);
            self.next_order(number, START + first + pause);
        }
        for at in plan.crashes {
            self.plan_at(START + at, Happening::Crash);
        }
        for at in plan.stops {
            self.plan_at(START + at, Happening::Stop);
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

    /// Has the customer's caller ask for the next message at a time, if one is left. A caller waits for an answer before that, so that
    /// the order of acceptance is known.
    pub(crate) fn next_order(&mut self, customer: usize, at: i64) {
        let asked = self.orders.iter().filter(|order| order.customer == customer).count();
        if asked >= self.plan.orders {
            return;
        }
        let number = self.orders.len();
        let known = self.customers[customer].clone();
        let to = match known.user_id {
            Some(user_id) if self.rng.random_bool(0.3) => user_id,
            _ if known.platform == Platform::WhatsApp => format!("+{}", known.address),
            _ => known.address,
        };
        let key = (!self.hits(Fault::Unkeyed)).then(|| format!("key-{number}"));
        let lifetime = self.hits(Fault::Expiring).then(|| self.rng_range(1_000..30_000));
        self.orders.push(Order {
            customer,
            to,
            text: format!("order {number}"),
            key,
            lifetime,
            body: None,
            answer: Answer::Open,
            message_id: None,
            asked: 0,
            repeating: false,
        });
        self.plan_at(at, Happening::Order { order: number });
    }

    /// Whether a fault hits now.
    pub(crate) fn hits(&mut self, fault: Fault) -> bool {
        // Who calls how is no fault that is mended.
        let always = matches!(fault, Fault::Unkeyed | Fault::OrderRepeated);
        if self.is_calm && !always {
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

    /// The time, as it is.
    pub(crate) fn now(&self) -> i64 {
        let passed = self.began.map_or(0, |began| began.elapsed().as_millis() as i64);
        self.base + passed
    }

    /// When that is by the runtime's time.
    pub(crate) fn instant(&self, at: i64) -> Instant {
        let began = self.began.expect("asked within a runtime alone");
        began + std::time::Duration::from_millis((at - self.base).max(0).unsigned_abs())
    }

    /// A runtime begins, and with it the passing of time.
    pub(crate) fn begin(&mut self, crash: CancellationToken) {
        self.began = Some(Instant::now());
        self.changed = Arc::new(Notify::new());
        self.crash = crash;
        let now = tidings::clock::from_millis(self.now() + self.wall_offset);
        self.clock = Some(Clock::of_runtime(now));
    }

    /// A runtime ends; to be called within it.
    pub(crate) fn end(&mut self) {
        self.base = self.now();
        self.began = None;
        self.clock = None;
    }

    /// Time passes without a runtime.
    pub(crate) fn pass_until(&mut self, at: i64) {
        self.base = self.base.max(at);
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
