//! Two hubs on one Postgres: what happens to the channels of one that dies, or that stands still and goes on as if nothing had been; and
//! what happens to a hub whose Postgres is restarted.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use crate::load::Load;
use crate::process::{Hub, Launch};
use crate::stores::{Engine, restart_postgres};
use crate::{STOPPED_WITHIN, World, alone, seeded};

/// Within this time the channels of a node that is gone are sending again: ten seconds (which `tests/sim/scale.rs` holds the hub to), and
/// as much for a machine that has other things to do.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);
/// How many messages there are at first, and after each change, and how long those may take.
const MESSAGES: usize = 40;
const SENT_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// As it is where nobody has set it: a node that is gone is missed after that and two beats, a sixth of it each.
const LEASE_MILLIS: &str = "5000";
/// Nodes that share a store share what they seal credentials with.
const MASTER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_sends_nothing_that_another_one_has_taken_over() {
    let Some(engine) = Engine::postgres() else { return };
    let _alone = alone().await;
    let (seed, _) = seeded();
    let (mut nodes, first, second, load) = Nodes::begin(&engine, seed).await;
    first.stand_still();
    nodes.other_takes_over().await;
    // The server has ended what it had begun, so that nobody waits for it.
    nodes.may_have_errors = true;
    // Both are at work now, the one on what it had in hand.
    first.go_on_again();
    nodes.go_on_sending().await;
    nodes.end(seed, load, [Some(first), Some(second)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_sends_for_one_that_died_and_nothing_is_lost_or_doubled() {
    let Some(engine) = Engine::postgres() else { return };
    let _alone = alone().await;
    let (seed, _) = seeded();
    let (nodes, first, second, load) = Nodes::begin(&engine, seed).await;
    first.kill();
    nodes.other_takes_over().await;
    nodes.end(seed, load, [None, Some(second)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_postgres_is_restarted() {
    let Some(engine) = Engine::postgres() else { return };
    let Some(restart) = restart_postgres() else { return };
    let _alone = alone().await;
    let (seed, _) = seeded();
    let (mut nodes, first, second, load) = Nodes::begin(&engine, seed).await;
    for _ in 0..2 {
        let command = restart.clone();
        let restarted = tokio::task::spawn_blocking(move || Command::new(command).status()).await;
        assert!(restarted.unwrap().unwrap().success(), "Postgres was not restarted");
        nodes.go_on_sending().await;
    }
    // What fails meanwhile is told, and tried again.
    nodes.may_have_errors = true;
    nodes.end(seed, load, [Some(first), Some(second)]).await;
}

/// The surroundings of two hubs: the first one leads all channels, the second one is asked for everything.
struct Nodes {
    world: World,
    other: Launch,
    may_have_errors: bool,
    _folder: TempDir,
}

impl Nodes {
    async fn begin(engine: &Engine, seed: u64) -> (Self, Hub, Hub, Load) {
        println!("two nodes on {engine:?}: TIDINGS_TEST_SEED={seed}");
        let mut world = World::new(engine, seed).await;
        let folder = TempDir::new().unwrap();
        world.launch = Self::launch(&world, world.store.folder().to_owned());
        let other = Self::launch(&world, folder.path().to_owned());
        let first = world.launch.start().await;
        let second = other.start().await;
        world.meta.subscribe(&other.url()).await;
        let load = Load::start(&world.meta, &other.url(), seed);
        let nodes = Self {
            world,
            other,
            may_have_errors: false,
            _folder: folder,
        };
        nodes.go_on_sending().await;
        (nodes, first, second, load)
    }

    fn launch(world: &World, folder: PathBuf) -> Launch {
        let more = [
            ("TIDINGS_SENDING_LEASE_MS", LEASE_MILLIS),
            ("TIDINGS_MASTER_KEY", MASTER_KEY),
        ];
        World::launch_in(folder, &world.store, &world.meta, &more)
    }

    /// How many messages Meta has taken so far.
    fn taken(&self) -> usize {
        self.world.meta.taken()
    }

    /// Waits until the other node sends in the place of the one that has just gone.
    async fn other_takes_over(&self) {
        let gone = Instant::now();
        // More than the one that has gone can have had under way.
        self.sends_more_than(self.taken() + MESSAGES, gone, TAKEN_OVER_WITHIN)
            .await;
        println!("taken over in {:?}", gone.elapsed());
    }

    async fn go_on_sending(&self) {
        self.sends_more_than(self.taken() + MESSAGES, Instant::now(), SENT_WITHIN)
            .await;
    }

    async fn sends_more_than(&self, count: usize, since: Instant, within: Duration) {
        let mut look = interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.taken() <= count {
            look.tick().await;
            assert!(
                since.elapsed() < within,
                "not enough was sent within {within:?}:\n{}\n{}",
                self.world.launch.log().tail(),
                self.other.log().tail()
            );
        }
    }

    /// Nobody asks for anything any more, everything settles, and all is well.
    async fn end(&self, seed: u64, load: Load, hubs: [Option<Hub>; 2]) {
        let replies = load.finish().await;
        self.world.settle().await;
        for hub in hubs.into_iter().flatten() {
            let status = hub.terminate(STOPPED_WITHIN).await;
            assert!(status.success(), "seed {seed}: {status}");
        }
        let verdict = self.world.verdict_of_store(seed, &replies).await;
        let errors = [self.world.launch.log().errors(), self.other.log().errors()].concat();
        let (panics, errors): (Vec<String>, Vec<String>) =
            errors.into_iter().partition(|line| line.contains("panicked"));
        assert_eq!(panics, [""; 0], "seed {seed}");
        if !self.may_have_errors {
            assert_eq!(errors, [""; 0], "seed {seed}");
        }
        assert!(verdict.replies > 50, "seed {seed}: too little happened: {verdict}");
    }
}
