//! One history: processes of the hub, one after the other, on one database, until nothing moves any more; and what is wrong then.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::sync::Once;

use rand::Rng;
use tidings::store::{Around, Happening as StoreHappening};

use crate::database::{Database, Engine};
use crate::meta::Call;
use crate::plan::{Fault, Plan};
use crate::process::{Ending, LOOK_EVERY, Process, SETTLED_WITHIN, is_empty, waiting};
use crate::verdict;
use crate::world::{Happening, START, World};

/// Lines of the log that are shown of a history that went wrong.
const LINES_SHOWN_MAX: usize = 60;

/// What a history came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    engine: Engine,
    plan: Plan,
    /// Every call that was made.
    pub(crate) calls: Vec<Call>,
    met: BTreeMap<Fault, usize>,
    /// Messages that Meta took.
    pub(crate) sends: usize,
    /// Those that it took a second time.
    pub(crate) doubles: usize,
    /// Ends of a process.
    pub(crate) crashes: usize,
    pub(crate) violations: Vec<String>,
    pub(crate) log: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plan, hidden) = (&self.plan, self.log.len().saturating_sub(LINES_SHOWN_MAX));
        writeln!(
            f,
            "\nseed {} on {:?}: {} messages taken, {} ends of a process",
            self.seed, self.engine, self.sends, self.crashes
        )?;
        writeln!(f, "  faults, and how often they hit: {:?}", self.met)?;
        writeln!(
            f,
            "  outages {:?}, the store away {:?}, tokens expired {:?}, the clock set {:?}, unknown for {} s, {} calls at once, {} nodes",
            plan.outages, plan.away, plan.expired, plan.jumps, plan.unknown_after_secs, plan.parallel, plan.nodes
        )?;
        writeln!(f, "  … {hidden} lines before these")?;
        for line in self.log.iter().skip(hidden) {
            writeln!(f, "  {line}")?;
        }
        for violation in &self.violations {
            writeln!(f, "  WRONG: {violation}")?;
        }
        let test = match self.engine {
            Engine::Sqlite => "what_was_promised",
            Engine::Postgres => "the_same_holds_on_postgres",
        };
        write!(
            f,
            "  again, with all of it: TIDINGS_SIM_SEED={} cargo test -p tidings --test sim -- --nocapture {test}",
            self.seed
        )
    }
}

/// Runs the history of a seed.
pub(crate) fn run(seed: u64) -> Report {
    run_planned(Plan::of(seed))
}

/// The same on another engine.
pub(crate) fn run_on(engine: Engine, seed: u64) -> Report {
    run_planned_on(engine, Plan::of(seed))
}

/// Runs a history.
pub(crate) fn run_planned(plan: Plan) -> Report {
    run_planned_on(Engine::Sqlite, plan)
}

fn run_planned_on(engine: Engine, plan: Plan) -> Report {
    let panics = count_panics();
    let database = Database::of_this_thread(engine);
    let world = World::new(plan.clone(), database.clone());
    let crashes = Running::new(&world, &database).run_until_settled();
    let mut world = world.lock();
    let panicked = PANICS.get() - panics;
    if panicked > 0 {
        world.violated("nothing panics", format_args!("{panicked} times"));
    }
    verdict::check(&mut world, &database);
    let taken: Vec<usize> = (world.calls.iter())
        .filter(|call| call.taken_at.is_some())
        .map(|call| call.order)
        .collect();
    let distinct: std::collections::BTreeSet<&usize> = taken.iter().collect();
    Report {
        seed: plan.seed,
        engine,
        calls: world.calls.clone(),
        plan,
        met: world.met.clone(),
        sends: taken.len(),
        doubles: taken.len() - distinct.len(),
        crashes,
        violations: world.violations.clone(),
        log: std::mem::take(&mut world.log),
    }
}

/// The processes that are there now.
struct Running<'h> {
    world: &'h World,
    database: &'h Database,
    processes: Vec<Option<Process>>,
    ends: usize,
    round: usize,
}

impl<'h> Running<'h> {
    fn new(world: &'h World, database: &'h Database) -> Self {
        let nodes = world.lock().plan.nodes;
        Self {
            world,
            database,
            processes: (0..nodes).map(|_| None).collect(),
            ends: 0,
            round: 0,
        }
    }

    /// Lets happen what is on the agenda, and processes do what they do, until nothing moves any more; answers with how many of them ended.
    fn run_until_settled(mut self) -> usize {
        loop {
            let until = self.world.lock().round_ends_at();
            for turn in 0..self.processes.len() {
                // Neither is always the first.
                let node = (turn + self.round) % self.processes.len();
                self.run_until(node, until);
            }
            self.round += 1;
            loop {
                let due = {
                    let mut world = self.world.lock();
                    let at = world.next_at().map_or(until, |next| next.min(until));
                    world.pass_until(at);
                    let now = world.now();
                    world.take_due(now)
                };
                let Some(what) = due else { break };
                if !self.perform(what) {
                    return self.ends;
                }
            }
        }
    }

    fn run_until(&mut self, node: usize, until: i64) {
        if self.world.lock().stands_still(node) {
            return;
        }
        let Some(process) = &mut self.processes[node] else {
            return;
        };
        if let Some(ending) = process.run_until(self.world, until) {
            self.end(node, ending);
        }
    }

    /// False once nothing moves any more, or should not.
    fn perform(&mut self, what: Happening) -> bool {
        let mut world = self.world.lock();
        match what {
            Happening::Start { node } => {
                drop(world);
                self.processes[node] = Some(Process::begin(self.world, self.database, node));
            }
            Happening::Crash { node } if !world.is_calm && world.frames[node].is_some() => {
                world.note(format_args!("node {node} dies"));
                drop(world);
                self.end(node, Ending::Crashed);
            }
            Happening::Stop { node } if !world.is_calm && world.frames[node].is_some() => {
                world.note(format_args!("node {node} is told to stop"));
                world.tell(node, what);
            }
            Happening::Look => {
                if world.has_nothing_to_do() && is_empty(self.database) {
                    return false;
                }
                let now = world.now();
                let mended_at = START + world.plan.lasts;
                if now > mended_at + SETTLED_WITHIN {
                    let waits = waiting(self.database);
                    world.violated("nothing is stuck", waits);
                    return false;
                }
                world.plan_at(now + LOOK_EVERY, Happening::Look);
            }
            Happening::Post { .. }
            | Happening::Order { .. }
            | Happening::Twin { .. }
            | Happening::Clash { .. }
            | Happening::Batch { .. }
            | Happening::Cancel { .. }
            | Happening::Swap { .. }
            | Happening::Switch { .. } => match world.any_node() {
                Some(node) => world.tell(node, what),
                None => world.happen_unheard(0, what),
            },
            other => world.perform_anywhere(other),
        }
        true
    }

    /// A process has ended, or ends here; another one begins after a while.
    fn end(&mut self, node: usize, ending: Ending) {
        // Everything that the process was doing is dropped here.
        self.processes[node] = None;
        self.ends += 1;
        let mut world = self.world.lock();
        let now = world.now();
        if ending == Ending::Crashed {
            world.crashed_at.push(now);
            if self.processes.len() == 1 && world.rng.random_bool(0.3) {
                world.note("and the power is cut");
                self.database.inline.cut_power().unwrap();
            }
        }
        world.break_off(node);
        world.end(node);
        let pause = world.rng.random_range(0..12_000);
        world.plan_at(now + pause, Happening::Start { node });
    }
}

/// Nothing happens around a unit.
#[derive(Debug)]
pub(crate) struct FairWeather;

impl Around for FairWeather {
    fn before(&self, _: bool) -> StoreHappening {
        Box::pin(ready(Ok(())))
    }

    fn after(&self, _: bool) -> StoreHappening {
        Box::pin(ready(Ok(())))
    }
}

thread_local! {
    /// How often something panicked in this thread.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts panics from now on; answers with how many there were. The hub catches those of its tasks and units, and goes on.
fn count_panics() -> usize {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
    PANICS.get()
}
