//! What was wanted of the hub, and whether it came out.
//!
//! The bounds are the project's own: `docs/performance.md` says where each comes from. A share of another server is the median of
//! the shares of single rounds; a start or a memory at rest is the worst of all.

use serde::Serialize;

use super::capacity::Capacity;
use super::contestant::Contestant;
use super::report::{Report, Section, grouped};
use super::sending::Backlog;
use super::{Engine, Settings};

const REFERENCE_SHARE_SQLITE: f64 = 0.70;
const REFERENCE_SHARE_POSTGRES: f64 = 0.60;
const CPU_OF_BARE_MAX: f64 = 12.0;
const BACKLOG_SECONDS_MAX: f64 = 1.0;
const FILLED_SHARE: f64 = 0.90;
const MEMORY_IDLE_MB_MAX: f64 = 60.0;
const START_SECONDS_MAX: f64 = 1.0;
const HALF_CAPACITY_P99_MS_MAX: f64 = 50.0;
/// Of its rate before the overload, with what the overload left still to be worked on.
const RECOVERED_SHARE: f64 = 0.80;

const PACE_USED_SHARE: f64 = 0.98;
const REPLY_MS_MAX: f64 = 200.0;
const LOOK_MS_MAX: f64 = 100.0;
const QUEUE_MEMORY_MB_MAX: f64 = 150.0;

/// One thing that was wanted.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    pub(super) subject: String,
    pub(super) wanted: String,
    /// `None` if it could not be measured.
    pub(super) got: Option<String>,
    /// `None` if it could not be measured.
    pub(super) ok: Option<bool>,
}

impl Verdict {
    fn of(
        subject: String,
        wanted: String,
        figure: Option<f64>,
        print: fn(f64) -> String,
        holds: impl Fn(f64) -> bool,
    ) -> Self {
        Self {
            subject,
            wanted,
            got: figure.map(print),
            ok: figure.map(holds),
        }
    }

    fn at_least(subject: String, bound: f64, figure: Option<f64>, print: fn(f64) -> String) -> Self {
        Self::of(subject, format!("at least {}", print(bound)), figure, print, |figure| {
            figure >= bound
        })
    }

    fn at_most(subject: String, bound: f64, figure: Option<f64>, print: fn(f64) -> String) -> Self {
        Self::of(subject, format!("at most {}", print(bound)), figure, print, |figure| {
            figure <= bound
        })
    }
}

/// Everything that is wanted on the measured stores; nothing if the hub was not measured.
pub(super) fn all(report: &Report) -> Vec<Verdict> {
    if report.settings.hub.is_none() {
        return Vec::new();
    }
    let mut verdicts = Vec::new();
    let received = if report.settings.receiving {
        &report.settings.engines[..]
    } else {
        &[]
    };
    for engine in received {
        let section = |filled: bool| {
            report
                .sections
                .iter()
                .find(|section| section.engine == *engine && (section.stored > 0) == filled)
        };
        verdicts.extend(on_an_empty_store(*engine, section(false)));
        if report.settings.seed_messages > 0 {
            verdicts.push(on_a_filled_store(*engine, section(true), report.settings.seed_messages));
        }
        let capacity = report.capacities.iter().find(|capacity| capacity.engine == *engine);
        verdicts.extend(under_strain(*engine, capacity, &report.settings));
    }
    if report.settings.sending && report.settings.engines.contains(&Engine::Sqlite) {
        verdicts.extend(while_draining(report));
    }
    verdicts
}

fn while_draining(report: &Report) -> Vec<Verdict> {
    let of = |backlog: Backlog| {
        let drained = report.backlogs.iter().find(|drained| drained.backlog == backlog);
        drained.map(|drained| &drained.report)
    };
    let mut verdicts = Vec::new();
    for backlog in Backlog::ALL {
        let name = |subject: &str| format!("sending, {}: {subject}", backlog.name());
        let drained = of(backlog);
        verdicts.push(Verdict::at_most(
            name("sent twice"),
            0.0,
            drained.map(|drained| f64::from(drained.doubled)),
            grouped,
        ));
        if backlog.per_second() > 0 {
            verdicts.push(Verdict::at_least(
                name("allowed pace used"),
                PACE_USED_SHARE,
                drained.and_then(|drained| drained.pace_used),
                percent,
            ));
            verdicts.push(Verdict::at_most(
                name("in any one second"),
                f64::from(backlog.per_second()),
                drained.map(|drained| drained.most_in_a_second as f64),
                grouped,
            ));
        }
    }
    let long = of(Backlog::Long);
    let name = |subject: &str| format!("sending, {}: {subject}", Backlog::Long.name());
    verdicts.extend([
        Verdict::at_most(
            name("a reply waits"),
            REPLY_MS_MAX,
            long.and_then(|long| long.reply_ms_max),
            milliseconds,
        ),
        Verdict::at_most(
            name("GET /admin/queue"),
            LOOK_MS_MAX,
            long.and_then(|long| long.look_ms_max),
            milliseconds,
        ),
        Verdict::at_most(
            name("memory"),
            QUEUE_MEMORY_MB_MAX,
            long.map(|long| long.memory_mb_max),
            megabytes,
        ),
    ]);
    verdicts
}

fn on_an_empty_store(engine: Engine, section: Option<&Section>) -> Vec<Verdict> {
    let name = |subject: &str| format!("{}: {subject}", engine.as_str());
    let share_bound = match engine {
        Engine::Sqlite => REFERENCE_SHARE_SQLITE,
        Engine::Postgres => REFERENCE_SHARE_POSTGRES,
    };
    let share = section.and_then(|section| section.share_of_rate(Contestant::Hub, Contestant::Reference));
    let cpu = section.and_then(|section| section.share_of_cpu(Contestant::Hub, Contestant::Bare));
    let backlog = section.and_then(|section| {
        worst(section, |turn| {
            let projection = turn.projection.as_ref()?;
            Some(projection.backlog / turn.load.requests_per_second)
        })
    });
    let unacknowledged = section.and_then(|section| {
        worst(section, |turn| {
            Some((turn.load.refused + turn.load.other + turn.load.broken) as f64)
        })
    });
    vec![
        Verdict {
            // A rate at which work only piles up is not one that the hub could keep.
            ok: share
                .zip(backlog)
                .map(|(share, backlog)| share >= share_bound && backlog <= BACKLOG_SECONDS_MAX),
            ..Verdict::at_least(name("requests/s, of the reference"), share_bound, share, percent)
        },
        Verdict::at_most(
            name("projection behind at the end of the load"),
            BACKLOG_SECONDS_MAX,
            backlog,
            seconds,
        ),
        Verdict::at_most(
            name("requests not acknowledged in the closed loop"),
            0.0,
            unacknowledged,
            grouped,
        ),
        Verdict::at_most(name("CPU for 10,000, of the bare server"), CPU_OF_BARE_MAX, cpu, times),
        Verdict::at_most(
            name("start"),
            START_SECONDS_MAX,
            section.and_then(|section| worst(section, |turn| Some(turn.start_seconds))),
            seconds,
        ),
        Verdict::at_most(
            name("memory at rest"),
            MEMORY_IDLE_MB_MAX,
            section.and_then(|section| worst(section, |turn| Some(turn.memory_idle_mb))),
            megabytes,
        ),
    ]
}

fn on_a_filled_store(engine: Engine, section: Option<&Section>, messages: u64) -> Verdict {
    Verdict::at_least(
        format!(
            "{}: requests/s with {} messages, of the empty store",
            engine.as_str(),
            grouped(messages as f64)
        ),
        FILLED_SHARE,
        section.and_then(|section| section.share_of_rate(Contestant::Hub, Contestant::HubEmpty)),
        percent,
    )
}

fn under_strain(engine: Engine, capacity: Option<&Capacity>, settings: &Settings) -> Vec<Verdict> {
    let name = |subject: &str| format!("{}: {subject}", engine.as_str());
    let refused_share = capacity.map(|capacity| {
        let answered = capacity.twice.acknowledged + capacity.twice.refused + capacity.twice.other;
        capacity.twice.refused as f64 / (answered.max(1)) as f64
    });
    // A hub that ended is back at no share of its rate, and its memory was not bounded by itself.
    let recovered = capacity.map(|capacity| {
        capacity.afterwards.as_ref().map_or(0.0, |afterwards| {
            afterwards.requests_per_second / capacity.full.requests_per_second
        })
    });
    let refused_afterwards = capacity
        .and_then(|capacity| capacity.afterwards.as_ref())
        .map(|afterwards| afterwards.refused as f64);
    let memory = capacity
        .filter(|capacity| capacity.afterwards.is_some())
        .map(|capacity| capacity.memory_max_mb);
    let neither = capacity.map(|capacity| (capacity.twice.other + capacity.twice.broken) as f64);
    vec![
        Verdict::at_most(
            name("p99 at half the capacity"),
            HALF_CAPACITY_P99_MS_MAX,
            capacity.map(|capacity| capacity.half.p99_ms),
            milliseconds,
        ),
        Verdict::of(
            name("answered with 503 at twice the capacity"),
            "some".to_owned(),
            refused_share,
            percent,
            |share| share > 0.0 && share < 1.0,
        ),
        Verdict::at_most(name("answered otherwise, or not at all"), 0.0, neither, grouped),
        Verdict::at_most(
            name("memory at twice the capacity"),
            settings.memory_bound_mb,
            memory,
            megabytes,
        ),
        Verdict::at_most(name("refused right afterwards"), 0.0, refused_afterwards, grouped),
        Verdict::at_least(
            name("requests/s right afterwards, of before"),
            RECOVERED_SHARE,
            recovered,
            percent,
        ),
    ]
}

/// The largest figure of the hub's turns.
fn worst(section: &Section, figure: impl Fn(&super::turn::Turn) -> Option<f64>) -> Option<f64> {
    section
        .turns
        .iter()
        .filter(|turn| turn.contestant == Contestant::Hub)
        .filter_map(figure)
        .max_by(f64::total_cmp)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn seconds(figure: f64) -> String {
    format!("{figure:.2} s")
}

fn milliseconds(figure: f64) -> String {
    format!("{figure:.1} ms")
}

fn megabytes(figure: f64) -> String {
    format!("{figure:.0} MB")
}

fn times(figure: f64) -> String {
    format!("{figure:.1} times")
}
