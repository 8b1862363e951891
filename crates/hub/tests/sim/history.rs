//! One history: processes of the hub, one after the other, on one database, until nothing moves any more; and what is wrong then.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Once;

use rand::Rng;
use tidings::store::InlineDatabase;

use crate::plan::{Fault, Plan};
use crate::process::{Ending, live};
use crate::verdict;
use crate::world::World;

/// Lines of the log that are shown of a history that went wrong.
const LINES_SHOWN_MAX: usize = 60;

/// What a history came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    plan: Plan,
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
            "\nseed {}: {} messages taken, {} ends of a process",
            self.seed, self.sends, self.crashes
        )?;
        writeln!(f, "  faults, and how often they hit: {:?}", self.met)?;
        writeln!(
            f,
            "  outages {:?}, tokens expired {:?}, the clock set {:?}, unknown for {} s, {} calls at once",
            plan.outages, plan.expired, plan.jumps, plan.unknown_after_secs, plan.parallel
        )?;
        writeln!(f, "  … {hidden} lines before these")?;
        for line in self.log.iter().skip(hidden) {
            writeln!(f, "  {line}")?;
        }
        for violation in &self.violations {
            writeln!(f, "  WRONG: {violation}")?;
        }
        write!(
            f,
            "  again, with all of it: TIDINGS_SIM_SEED={} cargo test -p tidings --test sim -- --nocapture what_was_promised",
            self.seed
        )
    }
}

/// Runs the history of a seed.
pub(crate) fn run(seed: u64) -> Report {
    let panics = count_panics();
    let plan = Plan::of(seed);
    let world = World::new(plan.clone());
    let database = InlineDatabase::new().expect("a database in memory needs nothing that could be missing");
    let mut crashes = 0;
    loop {
        let ending = live(&world, &database);
        if ending == Ending::Settled {
            break;
        }
        crashes += 1;
        let mut world = world.lock();
        let now = world.now();
        if ending == Ending::Crashed {
            world.crashed_at.push(now);
            if world.rng.random_bool(0.3) {
                world.note("and the power is cut");
                database.cut_power().unwrap();
            }
        }
        world.break_off();
        let back_at = now + world.rng.random_range(0..12_000);
        while world.next_at().is_some_and(|at| at <= back_at) {
            let at = world.next_at().expect("it was there just now");
            world.pass_until(at);
            let what = world.take_due(at).expect("it is due");
            world.happen_unheard(what);
        }
        world.pass_until(back_at);
    }
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
        seed,
        plan,
        met: world.met.clone(),
        sends: taken.len(),
        doubles: taken.len() - distinct.len(),
        crashes,
        violations: world.violations.clone(),
        log: std::mem::take(&mut world.log),
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
