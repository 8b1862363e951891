//! The circuit of a channel: whether it is tried with every message, or with one now and then. Pure, with the time handed in.
//!
//! It is closed while the channel works. When too large a share of its calls has failed of late it opens: nothing is tried, and no message
//! uses up attempts, until a pause is over. Then it is half open: one message is tried, the probe. If that is answered, the circuit closes;
//! if not, it opens again, for twice as long.
//!
//! The leader of the channel decides, and keeps what it has decided with the channel ([`OpenCircuit`]), where every node finds it. A new
//! leader goes on from there; what was counted before is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use crate::channels::model::OpenCircuit;
use crate::config::CircuitConfig;
use crate::conversations::model::Millis;
use crate::ids::AttemptId;
use crate::sending::model::{Cause, Outcome};

/// By how many spans the window is counted.
const SPANS: i64 = 10;
/// What an SMTP server says where it is the recipient's mailbox that is busy or full (RFC 5321, 4.2.3). Meta has no such codes.
const MAILBOX_CODES: [i64; 2] = [450, 452];
/// No pause is longer.
const PAUSE_MOST: Duration = Duration::from_mins(5);

/// What a call says about the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It works: the message was taken.
    Works,
    /// It fails: nobody answered, or with an error of their own.
    Fails,
    /// Nothing: it answers, and would not have this message, or not now, or not with these credentials.
    Nothing,
}

impl Sign {
    /// What an outcome says.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Accepted { .. } => Self::Works,
            Outcome::Again { failure, .. } if MAILBOX_CODES.contains(&failure.code) => Self::Nothing,
            Outcome::Unknown { .. }
            | Outcome::Again {
                cause: Cause::Temporary,
                ..
            } => Self::Fails,
            Outcome::Again {
                cause:
                    Cause::Throttled | Cause::PairLimit | Cause::Credentials | Cause::MarketingCap | Cause::TemplatePaused,
                ..
            }
            | Outcome::Failed { .. } => Self::Nothing,
        }
    }
}

/// The circuit, as the leader of its channel has it.
#[derive(Debug)]
pub struct Circuit {
    rules: CircuitConfig,
    spans: VecDeque<Span>,
    open: Option<OpenCircuit>,
    probe: Option<AttemptId>,
}

/// Calls of one span of the window.
#[derive(Debug)]
struct Span {
    number: i64,
    calls: u64,
    failures: u64,
}

impl Circuit {
    /// As it was left by whoever led before.
    pub fn new(rules: CircuitConfig, open: Option<OpenCircuit>) -> Self {
        Self {
            open: open.filter(|_| rules.failure_percent > 0),
            rules,
            spans: VecDeque::new(),
            probe: None,
        }
    }

    /// How it is, unless it is closed.
    pub fn open(&self) -> Option<&OpenCircuit> {
        self.open.as_ref()
    }

    /// How many calls may be begun now.
    pub fn room(&self, now: Millis) -> usize {
        match &self.open {
            None => usize::MAX,
            Some(open) => {
                // Where the clock was set back, nobody waits longer than for the longest pause.
                let is_far = open.probe_at - now > millis(longest(&self.rules));
                usize::from((open.is_half_open(now) || is_far) && self.probe.is_none())
            }
        }
    }

    /// A call is begun: while the circuit is half open it is the probe.
    pub fn note_call(&mut self, attempt: AttemptId) {
        if self.open.is_some() {
            self.probe = Some(attempt);
        }
    }

    /// A call was not made after all.
    pub fn note_unmade(&mut self, attempt: AttemptId) {
        self.probe.take_if(|probe| *probe == attempt);
    }

    /// A call has ended; `why` is what it failed of.
    pub fn note_end(&mut self, attempt: AttemptId, sign: Sign, why: &str, at: Millis) {
        if let Some(open) = &mut self.open {
            // What was under way when it opened says nothing new.
            if self.probe.take_if(|probe| *probe == attempt).is_none() {
                return;
            }
            if sign == Sign::Fails {
                open.openings = open.openings.saturating_add(1);
                why.clone_into(&mut open.reason);
                open.probe_at = at + pause(&self.rules, open.openings);
            } else {
                self.open = None;
            }
            return;
        }
        if sign == Sign::Nothing || self.rules.failure_percent == 0 {
            return;
        }
        let (calls, failures) = self.count(sign == Sign::Fails, at);
        let is_much = failures * 100 >= calls * u64::from(self.rules.failure_percent);
        if sign == Sign::Fails && calls >= u64::from(self.rules.calls_min) && is_much {
            self.spans.clear();
            self.open = Some(OpenCircuit {
                reason: why.to_owned(),
                opened_at: at,
                probe_at: at + pause(&self.rules, 1),
                openings: 1,
            });
        }
    }

    /// Somebody wants it to be tried now.
    pub fn hurry(&mut self, now: Millis) {
        if let Some(open) = &mut self.open {
            open.probe_at = open.probe_at.min(now);
        }
    }

    /// Counts a call; answers with how many there were in the window, and how many of them failed.
    fn count(&mut self, is_failure: bool, at: Millis) -> (u64, u64) {
        let length = (millis(self.rules.window) / SPANS).max(1);
        let number = at.div_euclid(length);
        // A clock that was set back leaves nothing behind that lies ahead.
        self.spans
            .retain(|span| span.number > number - SPANS && span.number <= number);
        if self.spans.back().is_none_or(|span| span.number < number) {
            self.spans.push_back(Span {
                number,
                calls: 0,
                failures: 0,
            });
        }
        if let Some(span) = self.spans.back_mut() {
            span.calls += 1;
            span.failures += u64::from(is_failure);
        }
        self.spans.iter().fold((0, 0), |(calls, failures), span| {
            (calls + span.calls, failures + span.failures)
        })
    }
}

fn pause(rules: &CircuitConfig, openings: u32) -> Millis {
    let times = 2_u32.saturating_pow(openings.saturating_sub(1).min(16));
    millis(rules.pause.saturating_mul(times).min(longest(rules)))
}

fn longest(rules: &CircuitConfig) -> Duration {
    PAUSE_MOST.max(rules.pause)
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Circuit, Sign};
    use crate::clock::{Clock, from_millis};
    use crate::config::CircuitConfig;
    use crate::ids::{AttemptId, Ids};

    const BEGIN: i64 = 1_795_400_000_000;

    fn rules() -> CircuitConfig {
        CircuitConfig {
            failure_percent: 50,
            window: Duration::from_mins(1),
            calls_min: 4,
            pause: Duration::from_secs(30),
        }
    }

    struct Lab {
        circuit: Circuit,
        ids: Ids,
    }

    impl Lab {
        fn new(rules: CircuitConfig) -> Self {
            Self {
                circuit: Circuit::new(rules, None),
                ids: Ids::seeded(Clock::frozen_at(from_millis(BEGIN)), 7),
            }
        }

        fn call(&mut self, sign: Sign, at: i64) -> AttemptId {
            let attempt = self.ids.next();
            self.circuit.note_call(attempt);
            self.circuit.note_end(attempt, sign, "it timed out", at);
            attempt
        }

        fn is_open(&self) -> bool {
            self.circuit.open().is_some()
        }
    }

    #[test]
    fn it_opens_on_the_share_of_failures_and_not_on_a_few() {
        let mut lab = Lab::new(rules());
        for _ in 0..3 {
            lab.call(Sign::Fails, BEGIN);
        }
        assert!(!lab.is_open(), "three calls tell nothing");
        for _ in 0..4 {
            lab.call(Sign::Works, BEGIN);
        }
        assert!(!lab.is_open(), "3 of 7");
        lab.call(Sign::Fails, BEGIN);
        assert!(lab.is_open(), "4 of 8");
        let open = lab.circuit.open().unwrap();
        assert_eq!(
            (open.reason.as_str(), open.opened_at, open.probe_at),
            ("it timed out", BEGIN, BEGIN + 30_000)
        );
    }

    #[test]
    fn what_lies_behind_the_window_and_what_says_nothing_does_not_count() {
        let mut lab = Lab::new(rules());
        for _ in 0..3 {
            lab.call(Sign::Fails, BEGIN);
        }
        lab.call(Sign::Fails, BEGIN + 61_000);
        assert!(!lab.is_open());
        for _ in 0..100 {
            lab.call(Sign::Nothing, BEGIN + 61_000);
        }
        assert!(!lab.is_open());
        for _ in 0..3 {
            lab.call(Sign::Fails, BEGIN + 62_000);
        }
        assert!(lab.is_open(), "those that said nothing are no successes either");
    }

    #[test]
    fn one_message_is_tried_and_decides() {
        let mut lab = Lab::new(rules());
        let under_way = lab.ids.next();
        lab.circuit.note_call(under_way);
        for _ in 0..4 {
            lab.call(Sign::Fails, BEGIN);
        }
        assert_eq!(lab.circuit.room(BEGIN + 29_999), 0);
        assert_eq!(lab.circuit.room(BEGIN + 30_000), 1);
        let probe = lab.ids.next();
        lab.circuit.note_call(probe);
        assert_eq!(lab.circuit.room(BEGIN + 30_000), 0, "one at a time");
        lab.circuit.note_end(under_way, Sign::Works, "", BEGIN + 30_001);
        assert!(lab.is_open(), "the probe decides");
        lab.circuit.note_unmade(probe);
        assert_eq!(lab.circuit.room(BEGIN + 30_001), 1, "it was not made");

        lab.call(Sign::Fails, BEGIN + 40_000);
        assert_eq!(lab.circuit.open().unwrap().probe_at, BEGIN + 40_000 + 60_000);
        for _ in 0..5 {
            lab.call(Sign::Fails, BEGIN + 200_000);
        }
        assert_eq!(
            lab.circuit.open().unwrap().probe_at,
            BEGIN + 500_000,
            "five minutes at most"
        );
        lab.circuit.hurry(BEGIN + 210_000);
        assert_eq!(lab.circuit.room(BEGIN + 210_000), 1);
        lab.call(Sign::Nothing, BEGIN + 210_000);
        assert!(!lab.is_open(), "whoever refuses a message is there");
        assert_eq!(lab.circuit.room(BEGIN + 210_000), usize::MAX);
    }

    #[test]
    fn a_new_leader_goes_on_and_where_it_is_switched_off_nothing_opens() {
        let mut lab = Lab::new(rules());
        for _ in 0..4 {
            lab.call(Sign::Fails, BEGIN);
        }
        let kept = lab.circuit.open().cloned();
        let next = Circuit::new(rules(), kept.clone());
        assert_eq!(next.room(BEGIN + 1), 0);
        let off = CircuitConfig {
            failure_percent: 0,
            ..rules()
        };
        assert!(Circuit::new(off.clone(), kept).open().is_none());
        let mut lab = Lab::new(off);
        for _ in 0..100 {
            lab.call(Sign::Fails, BEGIN);
        }
        assert!(!lab.is_open());
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_circuit_open_for_hours() {
        let mut lab = Lab::new(rules());
        for _ in 0..4 {
            lab.call(Sign::Fails, BEGIN);
        }
        let hour = 3_600_000;
        assert_eq!(lab.circuit.room(BEGIN - hour), 1, "it is tried");
        lab.call(Sign::Fails, BEGIN - hour);
        assert_eq!(lab.circuit.open().unwrap().probe_at, BEGIN - hour + 60_000);
        assert_eq!(
            lab.circuit.room(BEGIN - hour + 59_999),
            0,
            "and no more often than otherwise"
        );
        lab.call(Sign::Works, BEGIN - hour + 60_000);
        assert!(!lab.is_open());
    }

    proptest! {
        /// Whatever happens, in whatever order of time: an open circuit can always be tried within the longest pause, one call at a time.
        #[test]
        fn it_is_never_stuck(steps in prop::collection::vec((0..4_u8, -1_000..120_000_i64), 1..200)) {
            let mut lab = Lab::new(rules());
            let mut at = BEGIN;
            let mut probes: Vec<AttemptId> = Vec::new();
            for (what, later) in steps {
                at += later;
                match what {
                    3 if lab.circuit.room(at) > 0 => {
                        let attempt = lab.ids.next();
                        lab.circuit.note_call(attempt);
                        probes.push(attempt);
                    }
                    3 => {}
                    _ => {
                        let sign = [Sign::Works, Sign::Fails, Sign::Nothing][usize::from(what)];
                        match probes.pop() {
                            Some(attempt) => lab.circuit.note_end(attempt, sign, "", at),
                            None if lab.circuit.room(at) > 0 => {
                                lab.call(sign, at);
                            }
                            None => {}
                        }
                    }
                }
                if let Some(open) = lab.circuit.open() {
                    prop_assert!(lab.circuit.room(at) <= 1);
                    prop_assert!(open.probe_at <= at + 300_000 + 1_000 * 200);
                }
            }
            for attempt in probes {
                lab.circuit.note_unmade(attempt);
            }
            prop_assert!(lab.circuit.room(at + 600_000) >= 1);
        }
    }
}
