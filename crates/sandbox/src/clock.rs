//! The sandbox's own time: real, scaled, or moved by hand.
//!
//! Everything that Meta would do later (statuses, repeats, windows, expiries) goes by this clock, so that a test can pass a
//! day in no time and a person can watch an hour in a minute. What happens on a real wire (how long a receiver may take to
//! answer a post) goes by real time: a scaled clock doesn't make sockets faster.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How the sandbox's time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// As on the wall.
    Real,
    /// Starts now, and passes this many times as fast as on the wall; a number above 0.
    Scaled(f64),
    /// Stands still until it is advanced.
    Stepped {
        /// Where it starts, in milliseconds since 1970.
        start_millis: i64,
    },
}

/// Tells the time, and waits for it.
#[derive(Debug)]
pub(crate) struct Clock(Mode);

#[derive(Debug)]
enum Mode {
    Real,
    Scaled {
        origin: Instant,
        origin_millis: i64,
        factor: f64,
    },
    Stepped(watch::Sender<i64>),
}

impl Clock {
    pub(crate) fn new(time: Time) -> Self {
        Self(match time {
            Time::Real => Mode::Real,
            Time::Scaled(factor) => Mode::Scaled {
                origin: Instant::now(),
                origin_millis: wall_millis(),
                factor,
            },
            Time::Stepped { start_millis } => Mode::Stepped(watch::Sender::new(start_millis)),
        })
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        match &self.0 {
            Mode::Real => wall_millis(),
            Mode::Scaled {
                origin,
                origin_millis,
                factor,
            } => origin_millis + (origin.elapsed().as_secs_f64() * 1000.0 * factor) as i64,
            Mode::Stepped(now) => *now.borrow(),
        }
    }

    pub(crate) fn mode(&self) -> &'static str {
        match self.0 {
            Mode::Real => "real",
            Mode::Scaled { .. } => "scaled",
            Mode::Stepped(_) => "stepped",
        }
    }

    pub(crate) fn is_stepped(&self) -> bool {
        matches!(self.0, Mode::Stepped(_))
    }

    /// Moves a stepped clock forward to this time; other clocks, and times in the past, are left alone.
    pub(crate) fn advance_to(&self, millis: i64) {
        if let Mode::Stepped(now) = &self.0 {
            now.send_if_modified(|now| {
                let later = millis > *now;
                if later {
                    *now = millis;
                }
                later
            });
        }
    }

    /// Resolves once the clock shows this time or a later one.
    pub(crate) async fn sleep_until(&self, millis: i64) {
        match &self.0 {
            Mode::Real => sleep_millis((millis - wall_millis()) as f64).await,
            Mode::Scaled { factor, .. } => {
                sleep_millis((millis.saturating_sub(self.now())) as f64 / factor).await;
            }
            Mode::Stepped(now) => {
                let mut now = now.subscribe();
                // The sender lives as long as `self`, so waiting can't end early.
                let _ = now.wait_for(|now| *now >= millis).await;
            }
        }
    }
}

/// Half a millisecond more than asked, so that a waiter doesn't wake just before its time and look again.
async fn sleep_millis(millis: f64) {
    if millis > 0.0 {
        let seconds = (millis + 0.5) / 1000.0;
        tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_hours(24))).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the sandbox's clock")]
fn wall_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
