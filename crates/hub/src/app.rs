//! What the running hub consists of: built once, handed to every handler and task.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::access::Keys;
use crate::channels::Channels;
use crate::clock::Clock;
use crate::config::Config;
use crate::flags::Flags;
use crate::ids::Ids;
use crate::ingest::Ingest;
use crate::ingest::silence::Hearings;
use crate::integrations::reels::Reels;
use crate::media::MediaStore;
use crate::metrics::Metrics;
use crate::sending::Senders;
use crate::sending::lease::Leases;
use crate::store::Store;
use crate::stream::Stream;
use crate::tasks::Workers;

/// The hub. Cheap to clone; every clone is the same hub.
#[derive(Debug, Clone)]
pub struct App {
    parts: Arc<Parts>,
}

/// The parts of the hub, each the only door to what it stands for.
#[derive(Debug)]
pub struct Parts {
    /// Settings, checked.
    pub config: Config,
    /// Everything that is kept.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Ids and jitter.
    pub ids: Ids,
    /// Counters and gauges.
    pub metrics: Metrics,
    /// Connected numbers, accounts and e-mail senders.
    pub channels: Channels,
    /// Switches.
    pub flags: Flags,
    /// The way in for notifications.
    pub ingest: Ingest,
    /// Who may call.
    pub keys: Keys,
    /// How the background tasks are.
    pub workers: Workers,
    /// Wakes the projector.
    pub projector: Notify,
    /// How each channel is heard of.
    pub hearings: Hearings,
    /// Wakes whoever reads templates from Meta.
    pub templates: Notify,
    /// Wakes the senders.
    pub senders: Senders,
    /// Which channels this node leads.
    pub leases: Leases,
    /// Files in messages.
    pub media: MediaStore,
    /// What happens, live.
    pub stream: Stream,
    /// The feed of reels.
    pub reels: Reels,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}
