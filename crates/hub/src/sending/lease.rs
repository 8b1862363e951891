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
//! A crash leaves the lease to run out; a stop lets go of it at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::Clock;
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::NodeId;
use crate::sending::sender::millis;
use crate::signal::{Changes, Signal};
use crate::store::StoreError;
use crate::store::leases::Lease;

/// How often in the time of a lease its owner shows itself alive.
const BEATS: u32 = 6;
/// What share of a lease its owner leaves unused: longer than it takes from the last look to the call.
const MARGIN: u32 = 10;

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
    until: Mutex<Until>,
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
    /// Whether another node may have been sending a moment ago.
    pub follows: bool,
}

impl Lead {
    /// Whether calls may be made, at this moment.
    pub fn holds(&self, clock: &Clock) -> bool {
        let until = *self
            .held
            .until
            .lock()
            .expect("no thread panics while it holds this lock");
        Instant::now() < until.instant && clock.now_millis() < until.wall
    }

    /// Which lead it is: raised each time that a channel changes hands.
    pub fn epoch(&self) -> i64 {
        self.held.epoch
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
            // The first one to lead a channel follows nobody.
            follows: held.epoch > 1,
            held,
            node: self.node,
        })
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

/// Renews and takes leases until told to stop, and lets go of them.
pub async fn run(app: App, stop: CancellationToken) {
    let leases = app.leases.clone();
    let mut seen = HashMap::new();
    let mut beat = tokio::time::interval(leases.length / BEATS);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = beat.tick() => {}
            () = leases.wanted.notified() => {}
        }
        if let Err(error) = renew(&app, &mut seen).await {
            tracing::warn!(%error, "the leases of channels could not be renewed; without them nothing is sent");
        }
    }
    let node = leases.node.to_string();
    leases.held().clear();
    leases.changes.raise();
    if let Err(error) = app.store.write(move |tx| tx.release_leases(Some(&node))).await {
        tracing::warn!(%error, "the leases of channels could not be let go of; another node takes over once they run out");
    }
}

/// One round: renews what this node has, and takes what nobody else has.
async fn renew(app: &App, seen: &mut HashMap<ChannelId, Seen>) -> Result<(), StoreError> {
    let leases = &app.leases;
    let (began, now) = (Instant::now(), app.clock.now_millis());
    let until = leases.until(began, now);
    let held: Vec<(ChannelId, i64)> = leases
        .held()
        .iter()
        .map(|(channel, held)| (channel.clone(), held.epoch))
        .collect();
    let run_out: HashMap<ChannelId, Lease> = seen
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
                taken.push((channel.clone(), epoch));
            }
        }
        Ok::<_, StoreError>((renewed, taken, found))
    };
    let (renewed, taken, found) = app.store.write_unflushed(round).await?;
    let seen_at = Instant::now();
    for lease in found {
        let is_known = seen.get(&lease.channel_id).is_some_and(|seen| seen.lease == lease);
        if !is_known {
            let channel = lease.channel_id.clone();
            seen.insert(channel, Seen { lease, since: seen_at });
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
            has_changed |= began >= old.instant || now >= old.wall;
            *old = until;
        }
        for (channel, epoch) in taken {
            has_changed = true;
            tracing::info!(%channel, epoch, "this node leads the channel");
            let lease = Held {
                epoch,
                until: Mutex::new(until),
            };
            held.insert(channel, Arc::new(lease));
        }
    }
    if has_changed {
        leases.changes.raise();
    }
    Ok(())
}
