//! Seeded histories: the hub as it is, a Meta that fails, crashes, and a clock of their own, in one thread, hundreds of times and more.
//!
//! A history is made from its seed alone: which faults there are and how often, who writes when, where the process dies. The hub in it is
//! the real one, from its router to its statements, on [`tidings::store::Store::inline`]; nothing of it is told that it is simulated. Time
//! is the runtime's, paused: it moves when nothing else can. After a while everything is mended, and once nothing moves any more,
//! [`verdict`] holds what happened at Meta against what the hub promises and has in its store.
//!
//! - [`plan`]: what is drawn from the seed.
//! - [`database`]: where the hub keeps things, in memory or on a Postgres, and how it is asked past the hub.
//! - [`world`]: everything outside the hub: the time, what is to happen, customers, callers, the log.
//! - [`meta`]: Meta, as the hub sees it.
//! - [`process`]: one process of the hub, from its start to its end, whichever it is.
//! - [`history`]: one history, from its beginning to its verdict.
//! - [`scale`]: much at once, in the same time, where nothing fails.
//!
//! `TIDINGS_SIM_HISTORIES` says how many there are (`TIDINGS_SIM_HISTORIES_POSTGRES` on a Postgres), `TIDINGS_SIM_SEED` runs one alone and prints its log (with `-- --nocapture`).

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

#[path = "sim/database.rs"]
mod database;
#[path = "sim/history.rs"]
mod history;
#[path = "sim/meta.rs"]
mod meta;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/process.rs"]
mod process;
#[path = "sim/scale.rs"]
mod scale;
#[path = "sim/verdict.rs"]
mod verdict;
#[path = "sim/world.rs"]
mod world;

use database::Engine;
use history::{Report, run, run_on};

/// How many histories there are where nothing else is said.
const HISTORIES: u64 = 1_000;
/// The same on a Postgres, where each takes many times as long.
const HISTORIES_POSTGRES: u64 = 50;
/// How many of those that went wrong are shown.
const SHOWN_MAX: usize = 3;
/// How many histories are told twice, to see whether they are the same.
const TOLD_TWICE: u64 = 10;

#[test]
fn what_was_promised_holds_through_every_history() {
    let histories = variable("TIDINGS_SIM_HISTORIES").unwrap_or(HISTORIES);
    hold(histories, run);
}

/// The first of them, on the other engine: the statements are others there, and so is the order in which rows come.
#[test]
fn the_same_holds_on_postgres() {
    if database::server().is_none() {
        println!("there is no Postgres: on SQLite only");
        return;
    }
    let histories = variable("TIDINGS_SIM_HISTORIES_POSTGRES").unwrap_or(HISTORIES_POSTGRES);
    hold(histories, |seed| run_on(Engine::Postgres, seed));
}

/// Runs so many histories, or the one that is asked for alone.
fn hold(histories: u64, run: impl Fn(u64) -> Report + Sync) {
    if let Some(seed) = variable("TIDINGS_SIM_SEED") {
        let report = run(seed);
        report.log.iter().for_each(|line| println!("{line}"));
        assert!(report.violations.is_empty(), "{report}");
        println!("{report}");
        return;
    }
    let next = AtomicU64::new(0);
    let failed: Mutex<Vec<Report>> = Mutex::default();
    let (sends, crashes, doubles) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // Each history is in one thread; several of them have nothing to do with each other.
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= histories {
                        return;
                    }
                    let report = run(seed);
                    sends.fetch_add(report.sends, Ordering::Relaxed);
                    crashes.fetch_add(report.crashes, Ordering::Relaxed);
                    doubles.fetch_add(report.doubles, Ordering::Relaxed);
                    if !report.violations.is_empty() {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|report| report.seed);
    println!(
        "{histories} histories: {} messages taken by Meta, {} of them a second time, {} ends of a process, {} histories went wrong",
        sends.into_inner(),
        doubles.into_inner(),
        crashes.into_inner(),
        failed.len()
    );
    for report in failed.iter().take(SHOWN_MAX) {
        println!("{report}");
    }
    let seeds: Vec<u64> = failed.iter().map(|report| report.seed).collect();
    assert!(seeds.is_empty(), "the histories of these seeds went wrong: {seeds:?}");
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..TOLD_TWICE {
        let (first, again) = (run(seed), run(seed));
        let same = first.log.iter().zip(&again.log).take_while(|(a, b)| a == b).count();
        assert!(
            first.log == again.log,
            "seed {seed} differs from line {same} on: {:?} and {:?}",
            first.log.get(same),
            again.log.get(same)
        );
    }
}

/// A leader that was still finding out where the last one stopped did not hear that sending was stopped, and sent on. In this history the
/// store fails then, so that beginning takes long.
#[test]
fn a_stop_is_heard_while_a_lead_begins() {
    let report = run(39);
    let asked = report.log.iter().any(|line| line.contains("sending is to be stopped"));
    assert!(
        asked,
        "the seed is another history now: look for one in which this can happen"
    );
    assert!(report.violations.is_empty(), "{report}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "what tests are run with is no setting of the hub"
)]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
    )
}
