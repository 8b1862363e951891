//! The result, for people as tables and for programs as JSON.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::capacity::Capacity;
use super::contestant::Contestant;
use super::machine::Machine;
use super::sending::Drained;
use super::turn::Turn;
use super::verdict::Verdict;
use super::{Engine, Settings, median, progress};
use crate::load::Figures;
use crate::webhook::BODY_BYTES;

/// Everything that one comparison showed. Its `Display` is what people read.
#[derive(Debug, Serialize)]
pub struct Report {
    pub(super) settings: Settings,
    pub(super) machine: Machine,
    pub(super) sections: Vec<Section>,
    pub(super) capacities: Vec<Capacity>,
    pub(super) backlogs: Vec<Drained>,
    pub(super) verdicts: Vec<Verdict>,
    /// What could not be measured, and why.
    pub(super) problems: Vec<String>,
}

impl Report {
    pub(super) fn new(settings: Settings, machine: Machine) -> Self {
        Self {
            settings,
            machine,
            sections: Vec::new(),
            capacities: Vec::new(),
            backlogs: Vec::new(),
            verdicts: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn problem(&mut self, part: &str, error: &anyhow::Error) {
        note(&mut self.problems, part, error);
    }

    /// Whether everything that was asked for could be measured.
    pub fn is_complete(&self) -> bool {
        self.problems.is_empty() && self.verdicts.iter().all(|verdict| verdict.ok.is_some())
    }
}

fn note(problems: &mut Vec<String>, part: &str, error: &anyhow::Error) {
    let problem = format!("{part}: {error:#}");
    progress(&problem);
    problems.push(problem);
}

/// All turns on one engine with the same number of messages stored.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) engine: Engine,
    pub(super) stored: u64,
    pub(super) turns: Vec<Turn>,
}

impl Section {
    pub(super) fn new(engine: Engine, stored: u64) -> Self {
        Self {
            engine,
            stored,
            turns: Vec::new(),
        }
    }

    /// Keeps a turn, or why there is none.
    pub(super) fn add(
        &mut self,
        turn: anyhow::Result<Turn>,
        contestant: Contestant,
        round: u32,
        problems: &mut Vec<String>,
    ) {
        let part = format!("{}, round {round}, {}", self.title(), contestant.name());
        match turn {
            Ok(turn) => {
                progress(&format!(
                    "{part}: {} requests/s",
                    grouped(turn.load.requests_per_second)
                ));
                self.turns.push(turn);
            }
            Err(error) => note(problems, &part, &error),
        }
    }

    /// One server's requests a second as a share of another's, in the median round.
    pub(super) fn share_of_rate(&self, of: Contestant, against: Contestant) -> Option<f64> {
        self.share(of, against, |turn| Some(turn.load.requests_per_second))
    }

    /// One server's processor time, with that of its Postgres, as a multiple of another's, in the median round.
    pub(super) fn share_of_cpu(&self, of: Contestant, against: Contestant) -> Option<f64> {
        self.share(of, against, |turn| {
            let postgres = match (self.engine, turn.contestant) {
                (Engine::Sqlite, _) | (_, Contestant::Bare) => 0.0,
                (Engine::Postgres, _) => turn.postgres_cpu_per_10k?,
            };
            Some(turn.cpu_per_10k + postgres)
        })
    }

    fn share(&self, of: Contestant, against: Contestant, figure: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let shares = self.turns_of(of).filter_map(|turn| {
            let other = self.turns_of(against).find(|other| other.round == turn.round)?;
            Some(figure(turn)? / figure(other)?)
        });
        median(shares.collect())
    }

    fn turns_of(&self, contestant: Contestant) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(move |turn| turn.contestant == contestant)
    }

    fn title(&self) -> String {
        match self.stored {
            0 => format!("{}, empty store", self.engine.as_str()),
            stored => format!("{}, {} messages stored", self.engine.as_str(), grouped(stored as f64)),
        }
    }

    fn table(&self) -> String {
        let header = [
            "",
            "req/s",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "max ms",
            "CPU s/10k",
            "Postgres",
            "of bare",
            "of reference",
            "memory MB",
            "at rest",
            "start s",
        ];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for contestant in [
            Contestant::Bare,
            Contestant::Reference,
            Contestant::HubEmpty,
            Contestant::Hub,
        ] {
            if self.turns_of(contestant).next().is_none() {
                continue;
            }
            let middle =
                |figure: &dyn Fn(&Turn) -> Option<f64>| median(self.turns_of(contestant).filter_map(figure).collect());
            let load = |figure: fn(&Figures) -> f64| middle(&|turn| Some(figure(&turn.load)));
            rows.push(vec![
                contestant.name().to_owned(),
                load(|load| load.requests_per_second).map_or_else(absent, grouped),
                decimal(load(|load| load.p50_ms), 1),
                decimal(load(|load| load.p95_ms), 1),
                decimal(load(|load| load.p99_ms), 1),
                decimal(load(|load| load.longest_ms), 1),
                decimal(middle(&|turn| Some(turn.cpu_per_10k)), 2),
                decimal(middle(&|turn| turn.postgres_cpu_per_10k), 2),
                percent(self.share_of_rate(contestant, Contestant::Bare)),
                percent(self.share_of_rate(contestant, Contestant::Reference)),
                decimal(middle(&|turn| Some(turn.memory_max_mb)), 0),
                decimal(middle(&|turn| Some(turn.memory_idle_mb)), 0),
                decimal(middle(&|turn| Some(turn.start_seconds)), 2),
            ]);
        }
        let mut text = table(&rows);
        for contestant in [Contestant::HubEmpty, Contestant::Hub] {
            let backlogs = self.turns_of(contestant).filter_map(|turn| turn.projection.as_ref());
            let (backlog, done): (Vec<f64>, Vec<f64>) = backlogs
                .map(|projection| (projection.backlog, projection.done_after_seconds))
                .unzip();
            if let (Some(backlog), Some(done)) = (median(backlog), median(done)) {
                let backlog = grouped(backlog);
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{}: {backlog} events waited to be projected when the load ended, none {done:.2} s later",
                    contestant.name()
                );
            }
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            cores,
            processor,
            kernel,
            file_system,
            flush_ms,
            postgres,
        } = &self.machine;
        writeln!(
            f,
            "{processor}, {cores} cores, {kernel}, {file_system}, a flush of 4 KiB takes {flush_ms:.2} ms"
        )?;
        if let Some(version) = postgres {
            writeln!(f, "Postgres {version}")?;
        }
        writeln!(
            f,
            "{} connections, closed loop, {} rounds of {} s, bodies of {BODY_BYTES} bytes from {} customers; medians of rounds",
            self.settings.connections,
            self.settings.rounds,
            self.settings.seconds,
            grouped(f64::from(self.settings.customers))
        )?;
        for section in &self.sections {
            write!(f, "\n{}\n{}", section.title(), section.table())?;
        }
        for capacity in &self.capacities {
            write!(
                f,
                "\n{}, the hub's capacity\n{}",
                capacity.engine.as_str(),
                capacity_table(capacity)
            )?;
        }
        if !self.backlogs.is_empty() {
            write!(f, "\nsqlite, backlogs\n{}", backlog_table(&self.backlogs))?;
        }
        if !self.verdicts.is_empty() {
            let mut rows = vec![["", "wanted", "got", "ok"].map(str::to_owned).to_vec()];
            for verdict in &self.verdicts {
                rows.push(vec![
                    verdict.subject.clone(),
                    verdict.wanted.clone(),
                    verdict.got.clone().unwrap_or_else(absent),
                    match verdict.ok {
                        Some(true) => "yes",
                        Some(false) => "NO",
                        None => "not measured",
                    }
                    .to_owned(),
                ]);
            }
            write!(f, "\n{}", table(&rows))?;
        }
        if !self.problems.is_empty() {
            writeln!(f, "\nnot measured:")?;
            for problem in &self.problems {
                writeln!(f, "  {problem}")?;
            }
        }
        Ok(())
    }
}

fn capacity_table(capacity: &Capacity) -> String {
    let header = [
        "",
        "due/s",
        "200/s",
        "503/s",
        "other",
        "no answer",
        "unsent",
        "p50 ms",
        "p99 ms",
        "max ms",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let full = capacity.full.requests_per_second;
    let mut add = |name: &str, due: Option<f64>, load: &Figures| {
        rows.push(vec![
            name.to_owned(),
            due.map_or_else(absent, grouped),
            grouped(load.requests_per_second),
            grouped(load.refused as f64 / load.seconds),
            grouped(load.other as f64),
            grouped(load.broken as f64),
            grouped(load.unsent as f64),
            decimal(Some(load.p50_ms), 1),
            decimal(Some(load.p99_ms), 1),
            decimal(Some(load.longest_ms), 1),
        ]);
    };
    add("closed loop", None, &capacity.full);
    add("half the rate", Some(full / 2.0), &capacity.half);
    add("twice the rate", Some(capacity.twice_due_per_second), &capacity.twice);
    if let Some(afterwards) = &capacity.afterwards {
        add("right afterwards", None, afterwards);
    }
    table(&rows)
}

fn backlog_table(backlogs: &[Drained]) -> String {
    let header = [
        "",
        "waiting",
        "sent",
        "s",
        "sent/s",
        "pace used",
        "most in 1 s",
        "reply ms",
        "queue ms",
        "CPU µs",
        "memory MB",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for Drained { backlog, report } in backlogs {
        rows.push(vec![
            backlog.name().to_owned(),
            grouped(f64::from(report.waiting)),
            grouped(f64::from(report.sent)),
            decimal(Some(report.seconds), 1),
            grouped(report.per_second),
            percent(report.pace_used),
            grouped(report.most_in_a_second as f64),
            decimal(report.reply_ms_max, 0),
            decimal(report.look_ms_max, 0),
            grouped(report.cpu_micros_per_message),
            decimal(Some(report.memory_mb_max), 0),
        ]);
    }
    table(&rows)
}

/// The first column to the left, the others to the right, each as wide as its widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = match index {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A whole number with its thousands apart.
pub(super) fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn decimal(figure: Option<f64>, places: usize) -> String {
    figure.map_or_else(absent, |figure| format!("{figure:.places$}"))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(absent, |share| format!("{:.1} %", share * 100.0))
}

fn absent() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (figure, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1_000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(grouped(figure), text);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["", "req/s"], vec!["reference", "9"]].map(|row| row.into_iter().map(str::to_owned).collect());
        assert_eq!(table(&rows), "           req/s\nreference      9\n");
    }
}
