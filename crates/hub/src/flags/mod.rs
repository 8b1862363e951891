//! Switches that take effect while the hub runs, on every node: above all the stop switch.
//!
//! A flag is a row of the store; what is not set has its default ([`model`]). [`Flags`] is what this node knows of them: a copy in memory,
//! which [`crate::channels::follow`] keeps in step with the store. Reading one costs a lock that nobody holds for long.

pub mod api;
pub mod model;

use std::sync::Arc;

use tokio::sync::watch;

use crate::conversations::model::ChannelId;
use model::{FlagName, FlagValues};

/// The flags as this node knows them. Cheap to clone; clones share what is known.
#[derive(Debug, Clone)]
pub struct Flags {
    values: Arc<watch::Sender<Arc<FlagValues>>>,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            values: Arc::new(watch::Sender::new(Arc::default())),
        }
    }
}

impl Flags {
    /// All of them, as of now.
    pub fn values(&self) -> Arc<FlagValues> {
        Arc::clone(&self.values.borrow())
    }

    /// Whether anything is sent at all.
    pub fn outbound_enabled(&self) -> bool {
        self.values.borrow().is_on(&FlagName::Outbound)
    }

    /// Whether a channel sends, as far as its own flag goes.
    pub fn channel_enabled(&self, id: &ChannelId) -> bool {
        self.values.borrow().is_on(&FlagName::Channel(id.clone()))
    }

    /// Whether e-mail is the first route of new messages.
    pub fn email_has_priority(&self) -> bool {
        self.values.borrow().is_on(&FlagName::EmailPriority)
    }

    /// What is known from now on.
    pub(crate) fn publish(&self, values: FlagValues) {
        self.values.send_replace(Arc::new(values));
    }
}
