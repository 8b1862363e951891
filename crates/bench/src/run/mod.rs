//! The comparison: bare server, reference server and hub, in turns, on one machine, in one go.
//!
//! A machine's speed drifts by more than what is to be seen, so no figure of one server is set against one of another server from
//! another time: each *round* measures all of them one after the other, shares are formed within a round, and the median round is
//! shown. Each turn starts its server anew on an empty store; for the figures with messages stored, on a store that was filled
//! before.
//!
//! - `store`: the folders and databases that are measured on, made here and removed here;
//! - `contestant`: how each server is started, and what the hub says about its projection;
//! - `turn`: one server under load;
//! - `capacity`: the hub at half and at twice what it can take;
//! - `sending`: how backlogs drain;
//! - `verdict`: what was wanted, and what came out;
//! - `report`: all of it, for people and as JSON; `machine`: what it was measured on.
//!
//! What cannot be measured is reported as a problem and the rest goes on.

mod capacity;
mod contestant;
mod machine;
mod report;
mod sending;
mod store;
mod turn;
mod verdict;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use self::contestant::Contestant;
pub use self::report::Report;
use self::report::Section;
use self::store::Store;
use crate::usage;
use crate::webhook::{Shape, Webhooks};

/// What is compared, and for how long.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// The hub's binary; without it only the two other servers are measured.
    pub hub: Option<PathBuf>,
    /// The stores to measure on, in this order.
    pub engines: Vec<Engine>,
    /// A Postgres whose user may make databases; needed for [`Engine::Postgres`].
    #[serde(skip)]
    pub postgres_url: Option<String>,
    /// The process id of its postmaster, to read what it costs.
    pub postgres_pid: Option<u32>,
    /// How often each server has its turn.
    pub rounds: u32,
    /// How long each is loaded in a turn.
    pub seconds: f64,
    /// Connections of the closed loop.
    pub connections: usize,
    /// How many people write.
    pub customers: u32,
    /// Messages to store before measuring again; 0 leaves that part out.
    pub seed_messages: u64,
    /// Whether to measure how backlogs drain.
    pub sending: bool,
    /// Whether to measure how webhooks are taken.
    pub receiving: bool,
    /// What the hub's memory has to stay under at twice its capacity, in MB.
    pub memory_bound_mb: f64,
    /// Where stores are made; on a real disk.
    pub scratch: PathBuf,
}

/// Where a server keeps what it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A file in the server's own folder.
    Sqlite,
    /// A database of its own on a Postgres server.
    Postgres,
}

impl Engine {
    /// `sqlite` or `postgres`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// What every part of one comparison uses.
struct Bench {
    settings: Settings,
    shape: Shape,
    /// One source for the whole comparison, so that no message ever comes twice.
    webhooks: Arc<Webhooks>,
    /// This program, which is also the servers to compare with.
    own_program: PathBuf,
}

/// Runs the comparison. Errors only if it cannot begin; what fails on the way is in the report's problems.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    std::fs::create_dir_all(&settings.scratch)
        .with_context(|| format!("{} could not be made", settings.scratch.display()))?;
    let file_system = usage::file_system(&settings.scratch)?;
    ensure!(
        !["tmpfs", "ramfs"].contains(&file_system.as_str()),
        "{} is in memory, where a flush costs nothing: name a folder on a disk with --scratch",
        settings.scratch.display()
    );
    let shape = Shape {
        customers: settings.customers,
        seed: crate::webhook::fresh_seed(),
        ..Shape::default()
    };
    let settings = Settings {
        // Servers work in folders of their own, where a relative path would mean something else.
        hub: settings
            .hub
            .map(|hub| {
                hub.canonicalize()
                    .with_context(|| format!("the hub's binary is not at {}", hub.display()))
            })
            .transpose()?,
        scratch: settings.scratch.canonicalize()?,
        ..settings
    };
    let machine = machine::describe(&settings, file_system).await?;
    let bench = Bench {
        webhooks: Arc::new(Webhooks::new(&shape)?),
        shape,
        own_program: std::env::current_exe()?,
        settings,
    };

    let mut report = Report::new(bench.settings.clone(), machine);
    let engines = if bench.settings.receiving {
        bench.settings.engines.clone()
    } else {
        Vec::new()
    };
    for engine in engines {
        let section = empty_store(&bench, engine, &mut report.problems).await;
        report.sections.push(section);
        if bench.settings.hub.is_some() {
            progress(&format!("{}: half and twice the capacity", engine.as_str()));
            match capacity::measure(&bench, engine).await {
                Ok(capacity) => report.capacities.push(capacity),
                Err(error) => report.problem(&format!("{}, capacity", engine.as_str()), &error),
            }
        }
        if bench.settings.seed_messages > 0 {
            match filled_store(&bench, engine, &mut report.problems).await {
                Ok(section) => report.sections.push(section),
                Err(error) => report.problem(&format!("{}, filled store", engine.as_str()), &error),
            }
        }
    }
    if bench.settings.sending {
        for (backlog, measured) in sending::measure(&bench).await {
            match measured {
                Ok(measured) => report.backlogs.push(sending::Drained {
                    backlog,
                    report: measured,
                }),
                Err(error) => report.problem(&format!("sending, {}", backlog.name()), &error),
            }
        }
    }
    report.verdicts = verdict::all(&report);
    Ok(report)
}

/// The rounds on empty stores.
async fn empty_store(bench: &Bench, engine: Engine, problems: &mut Vec<String>) -> Section {
    let mut section = Section::new(engine, 0);
    let mut contestants = vec![Contestant::Bare, Contestant::Reference];
    if bench.settings.hub.is_some() {
        contestants.push(Contestant::Hub);
    }
    for round in 1..=bench.settings.rounds {
        for contestant in &contestants {
            section.add(
                fresh_turn(bench, engine, *contestant, round).await,
                *contestant,
                round,
                problems,
            );
        }
    }
    section
}

/// The rounds on stores that hold messages already, and in each the hub on an empty one to compare with.
async fn filled_store(bench: &Bench, engine: Engine, problems: &mut Vec<String>) -> anyhow::Result<Section> {
    let messages = bench.settings.seed_messages;
    let mut section = Section::new(engine, messages);
    let mut filled = Vec::new();
    for contestant in [Contestant::Reference, Contestant::Hub] {
        if contestant == Contestant::Hub && bench.settings.hub.is_none() {
            continue;
        }
        progress(&format!(
            "{}: storing {messages} messages, {}",
            engine.as_str(),
            contestant.name()
        ));
        let store = Store::new(bench, engine).await?;
        turn::fill(bench, contestant, &store, messages)
            .await
            .with_context(|| format!("{} could not be filled", contestant.name()))?;
        filled.push((contestant, store));
    }
    for round in 1..=bench.settings.rounds {
        let bare = fresh_turn(bench, engine, Contestant::Bare, round).await;
        section.add(bare, Contestant::Bare, round, problems);
        for (contestant, store) in &filled {
            if *contestant == Contestant::Hub {
                let empty = fresh_turn(bench, engine, Contestant::HubEmpty, round).await;
                section.add(empty, Contestant::HubEmpty, round, problems);
            }
            let turn = turn::take(bench, *contestant, store, round).await;
            section.add(turn, *contestant, round, problems);
        }
    }
    Ok(section)
}

async fn fresh_turn(bench: &Bench, engine: Engine, contestant: Contestant, round: u32) -> anyhow::Result<turn::Turn> {
    let store = Store::new(bench, engine).await?;
    turn::take(bench, contestant, &store, round).await
}

/// Says where the comparison is, on the standard error stream: the standard output is for the result.
fn progress(line: &str) {
    // Nobody may be reading; that is no reason to stop measuring.
    let _ = writeln!(io::stderr(), "{line}");
}

/// The middle one, or the mean of the two in the middle; `None` of nothing.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    if figures.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*figures.get(middle - 1)?, upper))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_nothing_has_none() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }
}
