//! The one place that asks for the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Tells the time; tests freeze it and move it by hand. Cheap to clone; clones of a frozen clock move together.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Frozen(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is moved.
    pub fn frozen_at(now: Timestamp) -> Self {
        Self(Source::Frozen(Arc::new(AtomicI64::new(now.as_millisecond()))))
    }

    /// Now, in whole milliseconds: what the store keeps is what was seen.
    pub fn now(&self) -> Timestamp {
        from_millis(self.now_millis())
    }

    /// Now, in milliseconds since 1970.
    pub fn now_millis(&self) -> i64 {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that asks the system for the time"
            )]
            Source::System => Timestamp::now().as_millisecond(),
            Source::Frozen(millis) => millis.load(Ordering::SeqCst),
        }
    }

    /// Moves a frozen clock; the system's clock cannot be moved.
    pub fn advance(&self, by: std::time::Duration) {
        if let Source::Frozen(millis) = &self.0 {
            millis.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

/// The time that so many milliseconds since 1970 are; times that no calendar has become the nearest that one has.
pub fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
