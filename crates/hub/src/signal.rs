//! That something has changed, told to everybody who wants to know.
//!
//! Like `tokio::sync::watch` without the value; but those who wait are woken in the order in which they began to wait, where `watch` shuffles
//! them by random numbers of its own. So what a seeded simulation does depends on its seed alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Raised whenever something changes. Cheap to clone; clones are the same signal.
#[derive(Debug, Clone, Default)]
pub struct Signal {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    version: AtomicU64,
    raised: Notify,
}

impl Signal {
    /// Tells everybody.
    pub fn raise(&self) {
        self.shared.version.fetch_add(1, Ordering::AcqRel);
        self.shared.raised.notify_waiters();
    }

    /// Ready whenever it is raised from now on.
    pub fn changes(&self) -> Changes {
        Changes {
            seen: self.shared.version.load(Ordering::Acquire),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Ready whenever its signal was raised since it was last ready, however often that was.
#[derive(Debug, Clone)]
pub struct Changes {
    shared: Arc<Shared>,
    seen: u64,
}

impl Changes {
    /// Waits for a change. Nothing is missed if this is dropped and called again.
    pub async fn changed(&mut self) {
        loop {
            // Made before the look: whatever is raised after the look wakes it.
            let raised = self.shared.raised.notified();
            let version = self.shared.version.load(Ordering::Acquire);
            if version != self.seen {
                self.seen = version;
                return;
            }
            raised.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::Signal;

    #[tokio::test]
    async fn a_change_is_told_once_to_everybody_who_asked_before_it() {
        let signal = Signal::default();
        let (mut one, mut other) = (signal.changes(), signal.changes());
        assert!(one.changed().now_or_never().is_none());
        signal.raise();
        signal.raise();
        let mut late = signal.changes();
        assert!(one.changed().now_or_never().is_some());
        assert!(one.changed().now_or_never().is_none(), "two changes are one");
        assert!(other.changed().now_or_never().is_some());
        assert!(late.changed().now_or_never().is_none());
    }

    #[tokio::test]
    async fn whoever_waits_already_is_woken() {
        let signal = Signal::default();
        let mut changes = signal.changes();
        let raiser = signal.clone();
        tokio::join!(changes.changed(), async move { raiser.raise() });
    }
}
