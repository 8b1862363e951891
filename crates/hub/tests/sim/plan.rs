//! What is drawn from a seed before a history begins.
//!
//! Each history has some of the faults alone, each at a rate of its own: were all of them in all histories, each would hide the others.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::meta::Line;

/// What the hub promises so far, and the histories therefore ask of it. Each is switched on together with what keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promises {
    /// How many messages a channel sends in any one second, at most.
    pub(crate) pace: Option<usize>,
    /// Nothing is sent from a second after `POST /admin/outbound/stop` until `…/start`, and callers are told 503.
    pub(crate) stop_switch: bool,
    /// An answer of 5xx without an error object says nothing about whether Meta took the message.
    pub(crate) doubt_after_errors: bool,
}

pub(crate) const PROMISES: Promises = Promises {
    pace: Some(3),
    stop_switch: true,
    doubt_after_errors: true,
};

/// What can go wrong by itself, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// No connection to Meta.
    Refused,
    /// The connection breaks before Meta has the message.
    ResetBefore,
    /// The connection breaks after Meta took the message.
    ResetAfter,
    /// No answer, and Meta does not take the message.
    TimeoutBefore,
    /// No answer, though Meta took the message.
    TimeoutAfter,
    /// No answer, and Meta takes the message after the hub has given up waiting.
    TakenLate,
    /// Meta took the message, and its answer breaks off.
    AnswerCut,
    /// 502 of something before Meta.
    ErrorBare,
    /// 502 of something before Meta, although Meta took the message.
    ErrorBareAfter,
    /// 500 with an error object.
    ErrorObject,
    /// The channel is too fast.
    Throttled,
    /// The recipient gets too much.
    PairLimit,
    /// This message is refused for good.
    Permanent,
    /// The answer takes seconds.
    Slow,
    /// Meta takes the message, and says later that it failed.
    FailsLater,
    /// A notification is posted twice.
    PostDoubled,
    /// A notification comes after others.
    PostLate,
    /// A notification never comes.
    PostLost,
    /// Somebody else posts it first, with a wrong signature.
    PostForged,
    /// A unit of work is not kept.
    StoreRefuses,
    /// A unit of work is kept, and said not to be.
    StoreUnsure,
    /// A unit of work takes long.
    StoreSlow,
    /// The process stands still at a unit of work, and goes on as if nothing had been.
    StoreFreeze,
    /// The process dies at a unit of work.
    StoreCrash,
    /// The process dies at a call to Meta.
    CallCrash,
    /// A caller uses no idempotency key.
    Unkeyed,
    /// A caller asks once more although it was answered.
    OrderRepeated,
    /// A message is soon no longer worth sending.
    Expiring,
    /// A message is to be sent at a time.
    Scheduled,
    /// Several messages are asked for at once.
    Batched,
    /// A caller asks twice at the same time.
    OrderTwice,
    /// A caller uses a key again for something else.
    KeyReused,
    /// A caller withdraws a message.
    Cancelled,
}

impl Fault {
    const ALL: [Self; 33] = [
        Self::Refused,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
        Self::TakenLate,
        Self::AnswerCut,
        Self::ErrorBare,
        Self::ErrorBareAfter,
        Self::ErrorObject,
        Self::Throttled,
        Self::PairLimit,
        Self::Permanent,
        Self::Slow,
        Self::FailsLater,
        Self::PostDoubled,
        Self::PostLate,
        Self::PostLost,
        Self::PostForged,
        Self::StoreRefuses,
        Self::StoreUnsure,
        Self::StoreSlow,
        Self::StoreFreeze,
        Self::StoreCrash,
        Self::CallCrash,
        Self::Unkeyed,
        Self::OrderRepeated,
        Self::Expiring,
        Self::Scheduled,
        Self::Batched,
        Self::OrderTwice,
        Self::KeyReused,
        Self::Cancelled,
    ];

    /// Whether it is no fault, but the way of a caller: that is not mended.
    pub(crate) fn is_usual(self) -> bool {
        matches!(
            self,
            Self::Unkeyed
                | Self::OrderRepeated
                | Self::Scheduled
                | Self::Batched
                | Self::OrderTwice
                | Self::KeyReused
                | Self::Cancelled
        )
    }

    /// Whether the hub can be held to anything with it.
    fn is_foreseen(self) -> bool {
        self != Self::ErrorBareAfter || PROMISES.doubt_after_errors
    }

    /// Rates that leave something of the history to be seen.
    fn rates(self) -> [f64; 3] {
        match self {
            Self::StoreCrash | Self::StoreFreeze => [0.001, 0.003, 0.01],
            Self::CallCrash | Self::StoreRefuses | Self::StoreUnsure => [0.01, 0.05, 0.15],
            Self::StoreSlow => [0.01, 0.03, 0.1],
            Self::PostLost => [0.1, 0.3, 0.8],
            Self::PairLimit | Self::Permanent => [0.05, 0.1, 0.2],
            _ => [0.05, 0.2, 0.5],
        }
    }
}

/// A stretch of time.
pub(crate) type Stretch = std::ops::Range<i64>;

/// A second number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backup {
    /// After how many seconds it is also the turn of the messages that the first one is late with; never, if absent.
    pub(crate) late_after_secs: Option<i64>,
}

/// A history before it begins. Times are milliseconds since its beginning.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Until everything is mended.
    pub(crate) lasts: i64,
    pub(crate) customers: usize,
    pub(crate) orders: usize,
    pub(crate) written: usize,
    /// How long the hub waits for signs of a message of unknown outcome, in seconds.
    pub(crate) unknown_after_secs: i64,
    /// How many calls of a channel may be under way.
    pub(crate) parallel: usize,
    pub(crate) faults: BTreeMap<Fault, f64>,
    /// How many nodes work on the store.
    pub(crate) nodes: usize,
    /// By how much the second node's calendar is ahead.
    pub(crate) skew: i64,
    /// When which node dies by itself.
    pub(crate) crashes: Vec<(i64, usize)>,
    /// When which is stopped in order.
    pub(crate) stops: Vec<(i64, usize)>,
    /// When which stands still, and goes on as if nothing had been.
    pub(crate) freezes: Vec<(Stretch, usize)>,
    /// When a token ends for good, so that somebody has to swap it: of which channel.
    pub(crate) rotations: Vec<(i64, Line)>,
    /// Whether there is a second number, and messages that go by it where the first does not serve.
    pub(crate) backup: Option<Backup>,
    /// When nobody reaches Meta.
    pub(crate) outages: Vec<Stretch>,
    /// When nobody reaches the store.
    pub(crate) away: Vec<Stretch>,
    /// When the tokens do not work.
    pub(crate) expired: Vec<Stretch>,
    /// When nothing may be sent.
    pub(crate) stopped: Vec<Stretch>,
    /// When the wall clock is set, and by how much.
    pub(crate) jumps: Vec<(i64, i64)>,
}

impl Plan {
    /// One in which nothing goes wrong.
    pub(crate) fn quiet(seed: u64) -> Self {
        Self {
            nodes: 1,
            skew: 0,
            crashes: Vec::new(),
            stops: Vec::new(),
            freezes: Vec::new(),
            rotations: Vec::new(),
            backup: None,
            outages: Vec::new(),
            away: Vec::new(),
            expired: Vec::new(),
            stopped: Vec::new(),
            jumps: Vec::new(),
            faults: BTreeMap::new(),
            ..Self::of(seed)
        }
    }

    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let lasts = rng.random_range(8_000..30_000);
        let times = |rng: &mut ChaCha12Rng, share: f64, most: usize| -> Vec<i64> {
            let count = if rng.random_bool(share) {
                rng.random_range(1..=most)
            } else {
                0
            };
            (0..count).map(|_| rng.random_range(0..lasts)).collect()
        };
        let stretches = |rng: &mut ChaCha12Rng, times: Vec<i64>| -> Vec<Stretch> {
            times
                .into_iter()
                .map(|from| from..from + rng.random_range(500..12_000))
                .collect()
        };
        let (outages, expired) = (times(&mut rng, 0.2, 2), times(&mut rng, 0.2, 2));
        let jumps = times(&mut rng, 0.15, 2);
        let stopped = times(&mut rng, if PROMISES.stop_switch { 0.2 } else { 0.0 }, 1);
        let nodes = if rng.random_bool(0.3) { 2 } else { 1 };
        let of_nodes = |rng: &mut ChaCha12Rng, times: Vec<i64>| -> Vec<(i64, usize)> {
            times.into_iter().map(|at| (at, rng.random_range(0..nodes))).collect()
        };
        let (crashes, stops) = (times(&mut rng, 0.4, 3), times(&mut rng, 0.2, 2));
        let frozen = times(&mut rng, if nodes > 1 { 0.6 } else { 0.1 }, 3);
        let backup = rng.random_bool(0.25).then(|| Backup {
            late_after_secs: rng.random_bool(0.5).then(|| rng.random_range(2..12)),
        });
        let lines: &[Line] = match backup {
            Some(_) => &[Line::Main, Line::Backup, Line::Instagram],
            None => &[Line::Main, Line::Instagram],
        };
        let mut plan = Self {
            seed,
            nodes,
            skew: if nodes > 1 && rng.random_bool(0.3) {
                rng.random_range(-3_000..3_000)
            } else {
                0
            },
            crashes: of_nodes(&mut rng, crashes),
            stops: of_nodes(&mut rng, stops),
            freezes: of_nodes(&mut rng, frozen)
                .into_iter()
                .map(|(at, node)| (at..at + rng.random_range(100..20_000), node))
                .collect(),
            rotations: times(&mut rng, 0.2, 2)
                .into_iter()
                .map(|at| (at, lines[rng.random_range(0..lines.len())]))
                .collect(),
            backup,
            lasts,
            customers: rng.random_range(2..=5),
            orders: rng.random_range(1..=6),
            written: rng.random_range(1..=4),
            unknown_after_secs: rng.random_range(5..=25),
            parallel: if rng.random_bool(0.2) { 1 } else { 16 },
            outages: stretches(&mut rng, outages),
            expired: stretches(&mut rng, expired),
            stopped: stretches(&mut rng, stopped),
            jumps: jumps
                .into_iter()
                .map(|at| (at, rng.random_range(-120_000..120_000)))
                .collect(),
            faults: Fault::ALL
                .into_iter()
                .filter_map(|fault| {
                    let rate = fault.rates()[rng.random_range(0..3)];
                    (rng.random_bool(0.3) && fault.is_foreseen()).then_some((fault, rate))
                })
                .collect(),
            away: Vec::new(),
        };
        // Drawn last: so the other draws of a seed are what they were before there was this.
        let away = times(&mut rng, 0.25, 2);
        plan.away = stretches(&mut rng, away);
        plan
    }
}
