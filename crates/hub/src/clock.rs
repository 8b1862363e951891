//! The one place that asks for the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use tokio::time::Instant;

/// Tells the time; tests freeze it and move it by hand, or have it pass with the runtime's time. Cheap to clone; clones move together.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    /// What [`Clock::advance`] has let pass.
    passed: Arc<AtomicI64>,
}

#[derive(Debug, Clone)]
enum Source {
    System,
    Frozen(Arc<AtomicI64>),
    /// As the runtime's time passes, which a test may have paused, since it showed `start`; and as it was moved meanwhile.
    Runtime {
        started: Instant,
        start: i64,
        moved: Arc<AtomicI64>,
    },
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// A clock that stands still until it is moved.
    pub fn frozen_at(now: Timestamp) -> Self {
        Self::of(Source::Frozen(Arc::new(AtomicI64::new(now.as_millisecond()))))
    }

    /// A clock that goes with the runtime's time, so that what sleeps for a second wakes a second later by this clock too, also where
    /// time is a simulation's.
    pub fn of_runtime(start: Timestamp) -> Self {
        Self::of(Source::Runtime {
            started: Instant::now(),
            start: start.as_millisecond(),
            moved: Arc::new(AtomicI64::new(0)),
        })
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            passed: Arc::default(),
        }
    }

    /// Now, in whole milliseconds: what the store keeps is what was seen.
    pub fn now(&self) -> Timestamp {
        from_millis(self.now_millis())
    }

    /// Now, in milliseconds since 1970.
    pub fn now_millis(&self) -> i64 {
        match &self.source {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that asks the system for the time"
            )]
            Source::System => Timestamp::now().as_millisecond(),
            Source::Frozen(millis) => millis.load(Ordering::SeqCst),
            Source::Runtime { started, start, moved } => {
                let passed = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX / 2);
                start + passed + moved.load(Ordering::SeqCst)
            }
        }
    }

    /// The same, but for what a test has let pass: where it leaps, the calendar was set, or the machine has slept.
    pub fn calendar_millis(&self) -> i64 {
        self.now_millis() - self.passed.load(Ordering::SeqCst)
    }

    /// Lets time pass on a clock of tests; the system's clock cannot be moved.
    pub fn advance(&self, by: std::time::Duration) {
        let by_millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        // In this order nobody sees a leap forward between the two.
        self.passed.fetch_add(by_millis, Ordering::SeqCst);
        self.shift(by_millis);
    }

    /// Sets a clock of tests forward, or back, by milliseconds, as an operator or a time server would; the system's clock cannot be moved.
    pub fn shift(&self, by_millis: i64) {
        match &self.source {
            Source::System => {}
            Source::Frozen(moved) | Source::Runtime { moved, .. } => {
                moved.fetch_add(by_millis, Ordering::SeqCst);
            }
        }
    }
}

/// The time that so many milliseconds since 1970 are; times that no calendar has become the nearest that one has.
pub fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Clock, from_millis};

    #[tokio::test(start_paused = true)]
    async fn a_clock_of_the_runtime_passes_with_it_and_can_be_set() {
        let clock = Clock::of_runtime(from_millis(1_000));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(clock.now_millis(), 1_250);
        let same = clock.clone();
        same.shift(-2_000);
        assert_eq!(clock.now_millis(), -750);
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now_millis(), 250);
    }
}
