//! Who leads a channel: one node at a time, so that pace and order hold over all nodes.
//!
//! One task of each node renews, in one go, the leases that the node has, and takes those that nobody has. A lease that another node has
//! is taken when that node has not shown itself alive for the length of a lease, as measured here, by the clock that cannot be set:
//! no two nodes' clocks are ever compared.
//!
//! Guarantee: a node makes no call for a channel unless it has shown itself alive less than a lease ago, measured from before it did so
//! ([`Lead::holds`]); whoever else wants the channel has waited a whole lease from after that. The calendar's clock is looked at besides,
//! since a machine that was suspended may not have counted that time. And every unit that takes entries makes sure of the lease in the
//! same transaction. What a call under way came to is settled by whoever made it, whoever leads then: the attempt's id is its proof.
//!
//! Channels are spread over the nodes ([`super::balance`]): a node with too many gives some to others. It stops calling first, and then names
//! the other node in the lease, which takes it up as soon as it is told: nobody waits for a lease to run out.
//!
//! A crash leaves the lease to run out; a stop lets go of it at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::Clock;
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::NodeId;
use crate::sending::balance;
use crate::sending::sender::millis;
use crate::signal::{Changes, Signal};
use crate::store::StoreError;
use crate::store::leases::{Lease, Node};

/// How often in the time of a lease its owner shows itself alive.
const BEATS: u32 = 6;
/// What share of a lease its owner leaves unused: longer than it takes from the last look to the call.
const MARGIN: u32 = 10;
/// How long a node is remembered whose time has ended, in milliseconds.
const NODE_KEPT: Millis = 24 * 3_600_000;

/// The leases of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leases {
    node: NodeId,
    length: Duration,
    held: Arc<Mutex<HashMap<ChannelId, Arc<Held>>>>,
    changes: Signal,
    wanted: Arc<Notify>,
}

#[derive(Debug)]
struct Held {
    epoch: i64,
    /// How often it has run out for a while and was renewed all the same: the process stood still, the store was away, or the calendar was set.
    gaps: AtomicU64,
    until: Mutex<Until>,
    /// Whoever led before has given it to this node, after its last call.
    handed_over: bool,
    /// Which node it is to be given to.
    yields_to: Mutex<Option<String>>,
}

impl Held {
    fn yields_to(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.yields_to
            .lock()
            .expect("no thread panics while it holds this lock")
    }
}

/// Until when calls may be made.
#[derive(Debug, Clone, Copy)]
struct Until {
    instant: Instant,
    wall: Millis,
}

/// The lead of a channel, for as long as it holds.
#[derive(Debug, Clone)]
pub struct Lead {
    held: Arc<Held>,
    node: NodeId,
    /// Who may have been sending a moment ago.
    pub follows: Follows,
}

/// Who may have been sending for a channel a moment before its lead begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Nobody.
    Nobody,
    /// A node that went at the channel's pace until it gave the channel away.
    Paced,
    /// Somebody, who may have used up what there is.
    Anybody,
}

impl Lead {
    /// Whether calls may be made, at this moment.
    pub fn holds(&self, clock: &Clock) -> bool {
        let until = *self
            .held
            .until
            .lock()
            .expect("no thread panics while it holds this lock");
        Instant::now() < until.instant && clock.calendar_millis() < until.wall
    }

    /// How often it has run out for a while without being lost.
    pub fn gaps(&self) -> u64 {
        self.held.gaps.load(Ordering::Relaxed)
    }

    /// Which lead it is: raised each time that a channel changes hands.
    pub fn epoch(&self) -> i64 {
        self.held.epoch
    }

    /// Whether it is to be given to another node: nothing more is to be begun.
    pub fn yields(&self) -> bool {
        self.held.yields_to().is_some()
    }

    /// Whose it is, as the store knows it.
    pub fn node(&self) -> String {
        self.node.to_string()
    }

    /// What entries are marked with that are sent under it.
    pub fn owner(&self) -> String {
        format!("{}/{}", self.node, self.held.epoch)
    }
}

impl Leases {
    /// None yet.
    pub fn new(node: NodeId, length: Duration) -> Self {
        Self {
            node,
            length,
            held: Arc::default(),
            changes: Signal::default(),
            wanted: Arc::default(),
        }
    }

    /// Which node this is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The lead of a channel, if this node has it.
    pub fn lead(&self, channel: &ChannelId) -> Option<Lead> {
        let held = Arc::clone(self.held().get(channel)?);
        Some(Lead {
            follows: match held.epoch {
                // The first one to lead a channel follows nobody.
                ..=1 => Follows::Nobody,
                _ if held.handed_over => Follows::Paced,
                _ => Follows::Anybody,
            },
            held,
            node: self.node,
        })
    }

    /// Gives a channel to the node that it is to be given to. Whoever calls this has made its last call for it.
    pub async fn hand_over(&self, app: &App, channel: &ChannelId) {
        let held = self.held().get(channel).cloned();
        let Some((held, to)) = held.and_then(|held| Some((Arc::clone(&held), held.yields_to().clone()?))) else {
            return;
        };
        let (id, node, epoch, target) = (channel.clone(), self.node.to_string(), held.epoch, to.clone());
        let given = app
            .store
            .write_unflushed(move |tx| tx.hand_over_lease(&id, &node, epoch, &target));
        match given.await {
            Ok(_) => {
                tracing::info!(%channel, %to, "the channel was given to another node, which leads fewer");
                self.held().remove(channel);
                self.changes.raise();
            }
            Err(error) => {
                // If it was given all the same, the next unit for it finds that out.
                tracing::warn!(%error, %channel, "the channel could not be given to another node");
                *held.yields_to() = None;
            }
        }
    }

    /// Changes whenever a lease is won, lost, or renewed after it had run out.
    pub fn changes(&self) -> Changes {
        self.changes.changes()
    }

    /// Somebody waits for a lease that should have been renewed: it is tried at once.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Arc<Held>>> {
        self.held.lock().expect("no thread panics while it holds this lock")
    }

    fn until(&self, began: Instant, now: Millis) -> Until {
        let usable = self.length.saturating_sub(self.length / MARGIN);
        Until {
            instant: began + usable,
            wall: now + millis(usable),
        }
    }
}

/// What was last seen of another node's lease, and since when.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    since: Instant,
}

/// What was last seen of another node, and since when.
#[derive(Debug)]
struct SeenNode {
    beats: i64,
    since: Instant,
    /// It has shown itself alive while it was looked at.
    has_beaten: bool,
}

/// What one node knows of the others.
#[derive(Debug, Default)]
struct Sight {
    leases: HashMap<ChannelId, Seen>,
    nodes: HashMap<String, SeenNode>,
    /// Nodes that did not take up what they were given.
    unfit: HashSet<String>,
}

impl Sight {
    fn see_nodes(&mut self, nodes: Vec<Node>, at: Instant) {
        let present: HashSet<String> = nodes.iter().map(|node| node.node.clone()).collect();
        self.nodes.retain(|node, _| present.contains(node));
        for Node { node, beats } in nodes {
            let known = self.nodes.get(&node);
            if known.is_none_or(|known| known.beats != beats) {
                let has_beaten = known.is_some();
                let seen = SeenNode {
                    beats,
                    since: at,
                    has_beaten,
                };
                self.nodes.insert(node, seen);
            }
        }
    }

    /// Whether a node is alive, and takes what it is given.
    fn is_fit(&self, node: &str, length: Duration) -> bool {
        let seen = self.nodes.get(node);
        seen.is_some_and(|seen| seen.has_beaten && seen.since.elapsed() < length) && !self.unfit.contains(node)
    }
}

/// Renews and takes leases until told to stop, and lets go of them.
pub async fn run(app: App, stop: CancellationToken) {
    let leases = app.leases.clone();
    let mut seen = Sight::default();
    // A channel that is new, or was given to this node, is told of like any other change.
    let mut changes = app.channels.changes();
    let mut beat = tokio::time::interval(leases.length / BEATS);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = beat.tick() => {}
            () = leases.wanted.notified() => {}
            () = changes.changed() => {}
        }
        if let Err(error) = renew(&app, &mut seen).await {
            tracing::warn!(%error, "the leases of channels could not be renewed; without them nothing is sent");
        }
    }
    let node = leases.node.to_string();
    leases.held().clear();
    leases.changes.raise();
    let released = app.store.write(move |tx| {
        tx.release_leases(Some(&node))?;
        tx.forget_node(&node)
    });
    if let Err(error) = released.await {
        tracing::warn!(%error, "the leases of channels could not be let go of; another node takes over once they run out");
    }
}

/// One round: renews what this node has, and takes what nobody else has.
async fn renew(app: &App, sight: &mut Sight) -> Result<(), StoreError> {
    let leases = &app.leases;
    let (began, now) = (Instant::now(), app.clock.now_millis());
    let calendar = app.clock.calendar_millis();
    let until = leases.until(began, calendar);
    let held: Vec<(ChannelId, i64)> = leases
        .held()
        .iter()
        .map(|(channel, held)| (channel.clone(), held.epoch))
        .collect();
    let run_out: HashMap<ChannelId, Lease> = sight
        .leases
        .iter()
        .filter(|(_, seen)| seen.since.elapsed() >= leases.length)
        .map(|(channel, seen)| (channel.clone(), seen.lease.clone()))
        .collect();
    let wanted: Vec<ChannelId> = app
        .channels
        .all()
        .into_iter()
        .filter(|channel| channel.credentials.is_some())
        .map(|channel| channel.id.clone())
        .collect();
    let node = leases.node.to_string();
    let until_wall = now + millis(leases.length);
    let round = move |tx: &mut crate::store::Tx<'_>| {
        let renewed = tx.renew_leases(&node, &held, until_wall)?;
        let found = tx.leases()?;
        let mut taken = Vec::new();
        for channel in &wanted {
            if renewed.contains(channel) {
                continue;
            }
            let lease = found.iter().find(|lease| lease.channel_id == *channel);
            let is_free = lease.is_none_or(|lease| {
                // One of our own that this process no longer knows of was left by a round whose answer did not arrive.
                lease.owner.is_none() || lease.owner.as_deref() == Some(&node) || run_out.get(channel) == Some(lease)
            });
            if is_free && let Some(epoch) = tx.take_lease(channel, lease, &node, until_wall)? {
                let handed_over = lease.is_some_and(|lease| lease.handed_over && lease.owner.as_deref() == Some(&node));
                taken.push((channel.clone(), epoch, handed_over));
            }
        }
        let nodes = tx.show_node(&node, until_wall, now - NODE_KEPT)?;
        Ok::<_, StoreError>((renewed, taken, found, nodes))
    };
    let (renewed, taken, found, nodes) = app.store.write_unflushed(round).await?;
    let seen_at = Instant::now();
    sight.see_nodes(nodes, seen_at);
    let mut owners: HashMap<ChannelId, String> = HashMap::new();
    for lease in found {
        owners.extend(lease.owner.clone().map(|owner| (lease.channel_id.clone(), owner)));
        let known = sight.leases.get(&lease.channel_id);
        match known.filter(|seen| seen.lease == lease) {
            None => {
                let channel = lease.channel_id.clone();
                sight.leases.insert(channel, Seen { lease, since: seen_at });
            }
            Some(seen) if lease.handed_over && seen.since.elapsed() >= leases.length => {
                sight.unfit.extend(lease.owner);
            }
            Some(_) => {}
        }
    }
    let mut has_changed = false;
    {
        let mut held = leases.held();
        held.retain(|channel, _| {
            let stays = renewed.contains(channel);
            if !stays {
                has_changed = true;
                tracing::warn!(%channel, "another node leads the channel now");
            }
            stays
        });
        for lease in held.values() {
            let mut old = lease.until.lock().expect("no thread panics while it holds this lock");
            if began >= old.instant || calendar >= old.wall {
                lease.gaps.fetch_add(1, Ordering::Relaxed);
                has_changed = true;
            }
            *old = until;
        }
        for (channel, epoch, handed_over) in taken {
            has_changed = true;
            tracing::info!(%channel, epoch, "this node leads the channel");
            owners.insert(channel.clone(), leases.node.to_string());
            let lease = Held {
                epoch,
                gaps: AtomicU64::new(0),
                until: Mutex::new(until),
                handed_over,
                yields_to: Mutex::new(None),
            };
            held.insert(channel, Arc::new(lease));
        }
        has_changed |= give_away(leases, &held, &owners, sight);
    }
    if has_changed {
        leases.changes.raise();
    }
    Ok(())
}

/// Marks channels that this node leads to be given to others that lead fewer; answers whether there are any.
fn give_away(
    leases: &Leases,
    held: &HashMap<ChannelId, Arc<Held>>,
    owners: &HashMap<ChannelId, String>,
    sight: &Sight,
) -> bool {
    if held.values().any(|held| held.yields_to().is_some()) {
        // Those first; then the next ones.
        return false;
    }
    let node = leases.node.to_string();
    let others = sight.nodes.keys().filter(|other| **other != node);
    let mut led: BTreeMap<String, usize> = others
        .filter(|other| sight.is_fit(other, leases.length))
        .map(|other| (other.clone(), 0))
        .collect();
    led.insert(node.clone(), held.len());
    for owner in owners.values().filter(|owner| **owner != node) {
        if let Some(count) = led.get_mut(owner) {
            *count += 1;
        }
    }
    let mut channels: Vec<&ChannelId> = held.keys().collect();
    channels.sort_unstable();
    let given = balance::given(&node, &led);
    for (channel, to) in channels.iter().rev().zip(&given) {
        *held[*channel].yields_to() = Some(to.clone());
    }
    !given.is_empty()
}
