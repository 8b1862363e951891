//! How much has been used of each limit: exact counts over a span that ends now.
//!
//! Bounded: a window keeps at most one run for each millisecond in which something was counted, and never counts far beyond its
//! limit; people are kept for as long as they count.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::limits::{NumberLimits, Quality};

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;
pub(crate) const WEEK: i64 = 7 * DAY;

/// What has been used, by whom.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// By phone number id.
    pub(crate) numbers: HashMap<String, NumberUsage>,
    /// By business account.
    pub(crate) business_accounts: HashMap<String, BusinessUsage>,
    /// People that a number wrote to first. One sandbox is one portfolio, whose numbers share this (whatsapp.md 13.3).
    pub(crate) begun: Recent,
    /// Marketing that a customer got, from whomever.
    pub(crate) marketing: HashMap<String, MarketingUsage>,
    /// By Instagram account.
    pub(crate) accounts: HashMap<String, AccountUsage>,
    /// Calls of each app in the last hour.
    pub(crate) apps: HashMap<String, Window>,
}

#[derive(Debug, Default)]
pub(crate) struct NumberUsage {
    /// Messages in the last second.
    pub(crate) second: Window,
    /// Blocks in the last seven days.
    pub(crate) blocks: Window,
    /// Until when the number is being upgraded, and can't send.
    pub(crate) upgrading_until: i64,
    /// Registrations and their ends in the last 72 hours.
    pub(crate) registrations: Window,
    /// Wrong PINs in the last hour.
    pub(crate) wrong_pins: Window,
}

impl NumberUsage {
    /// What the blocks of the last seven days make of the quality.
    pub(crate) fn quality(&self, limits: NumberLimits, now: i64) -> Quality {
        let blocks = self.blocks.peek(now, WEEK);
        let reached = |bound: u32| bound > 0 && blocks >= u64::from(bound);
        if reached(limits.red_after) {
            Quality::Red
        } else if reached(limits.yellow_after) {
            Quality::Yellow
        } else {
            Quality::Green
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct BusinessUsage {
    /// Messages in the last 24 hours.
    pub(crate) day: Window,
    /// Management calls in the last hour.
    pub(crate) calls: Window,
}

#[derive(Debug, Default)]
pub(crate) struct AccountUsage {
    pub(crate) second: Window,
    pub(crate) media: Window,
    pub(crate) hour: Window,
    pub(crate) private_replies: Window,
    /// Calls in the last 24 hours.
    pub(crate) calls: Window,
    /// Calls about conversations in the last second.
    pub(crate) conversations: Window,
}

/// The marketing that one person got.
#[derive(Debug, Default)]
pub(crate) struct MarketingUsage {
    day: Window,
    refused_until: i64,
}

impl MarketingUsage {
    /// Counts a marketing template, if the person may get it. Trying again within 24 hours of a refusal makes it last longer
    /// (whatsapp.md 13.7).
    pub(crate) fn take(&mut self, now: i64, limit: u32) -> bool {
        let full = !self.day.has_room(now, DAY, limit);
        if now < self.refused_until || full {
            self.refused_until = now + DAY;
            return false;
        }
        self.day.add(now);
        true
    }
}

/// Counts what happened within a span that ends now.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// When, and how much; in order.
    runs: VecDeque<(i64, u32)>,
    total: u64,
}

impl Window {
    /// How much happened in the last `span` milliseconds.
    pub(crate) fn count(&mut self, now: i64, span: i64) -> u64 {
        while let Some((at, count)) = self.runs.front()
            && *at <= now - span
        {
            self.total -= u64::from(*count);
            self.runs.pop_front();
        }
        self.total
    }

    /// The same, without forgetting what is over.
    pub(crate) fn peek(&self, now: i64, span: i64) -> u64 {
        let recent = self.runs.iter().rev().take_while(|(at, _)| *at > now - span);
        recent.map(|(_, count)| u64::from(*count)).sum()
    }

    /// Whether one more fits; with a limit of 0 always.
    pub(crate) fn has_room(&mut self, now: i64, span: i64, limit: u32) -> bool {
        limit == 0 || self.count(now, span) < u64::from(limit)
    }

    pub(crate) fn add(&mut self, now: i64) {
        self.total += 1;
        match self.runs.back_mut() {
            Some((at, count)) if *at >= now => *count += 1,
            _ => self.runs.push_back((now, 1)),
        }
    }

    /// Counts a call, also one beyond the limit (which prolongs the wait, graph-api.md 4) up to twice the limit; answers whether
    /// it was within. With a limit of 0 nothing is counted.
    pub(crate) fn call(&mut self, now: i64, span: i64, limit: u32) -> bool {
        if limit == 0 {
            return true;
        }
        let count = self.count(now, span);
        if count < 2 * u64::from(limit) {
            self.add(now);
        }
        count < u64::from(limit)
    }

    /// How much of the limit is used, in percent, and how many minutes until something fits again.
    pub(crate) fn share(&mut self, now: i64, span: i64, limit: u32) -> (u64, u64) {
        if limit == 0 {
            return (0, 0);
        }
        let count = self.count(now, span);
        let percent = count * 100 / u64::from(limit);
        let mut excess = (count + 1).saturating_sub(u64::from(limit));
        let mut until = now;
        for (at, run) in &self.runs {
            if excess == 0 {
                break;
            }
            until = at + span;
            excess = excess.saturating_sub(u64::from(*run));
        }
        (percent, (until - now).max(0).unsigned_abs().div_ceil(60_000))
    }
}

/// Who was met within a span that ends now, each once.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    last: HashMap<Arc<str>, i64>,
    by_time: BTreeSet<(i64, Arc<str>)>,
}

impl Recent {
    /// How many, without those whose time is over.
    pub(crate) fn count(&mut self, now: i64, span: i64) -> usize {
        while let Some((at, _)) = self.by_time.first()
            && *at <= now - span
        {
            if let Some((_, who)) = self.by_time.pop_first() {
                self.last.remove(&who);
            }
        }
        self.last.len()
    }

    /// Whether this one is among them, or one more fits; with a limit of 0 always.
    pub(crate) fn has_room(&mut self, who: &str, now: i64, span: i64, limit: u32) -> bool {
        limit == 0 || {
            let count = self.count(now, span);
            self.last.contains_key(who) || count < limit as usize
        }
    }

    pub(crate) fn add(&mut self, who: &str, now: i64) {
        let who = match self.last.get_key_value(who) {
            Some((who, at)) => {
                let who = Arc::clone(who);
                self.by_time.remove(&(*at, Arc::clone(&who)));
                who
            }
            None => Arc::from(who),
        };
        self.last.insert(Arc::clone(&who), now);
        self.by_time.insert((now, who));
    }
}

/// The pair limit (whatsapp.md 13.2): one message each so many seconds from one number to one person, of which some may be
/// borrowed at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pair {
    /// Until when the messages so far would have taken, at the steady pace.
    paid_at: i64,
    /// When the burst began, and how many it has; only the strict reading looks at it.
    began_at: i64,
    count: u32,
}

impl Pair {
    /// Whether a message fits. By the lenient reading a bucket that fills steadily; by the strict one nothing until a burst is
    /// paid back.
    pub(crate) fn has_room(self, now: i64, burst: u32, seconds: u32, strict: bool) -> bool {
        let pace = i64::from(seconds) * 1_000;
        if strict {
            self.paid_at <= now || (now < self.began_at + pace && self.count < burst)
        } else {
            self.paid_at.max(now) - now + pace <= i64::from(burst) * pace
        }
    }

    pub(crate) fn add(&mut self, now: i64, seconds: u32) {
        if self.paid_at <= now {
            self.began_at = now;
            self.count = 0;
        }
        self.count += 1;
        self.paid_at = self.paid_at.max(now) + i64::from(seconds) * 1_000;
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, HOUR, MarketingUsage, Pair, Recent, SECOND, Window};

    const NOW: i64 = 1_795_000_000_000;

    /// How many of so many attempts at one time are taken.
    fn taken(pair: &mut Pair, attempts: usize, now: i64, strict: bool) -> usize {
        (0..attempts)
            .filter(|_| {
                let fits = pair.has_room(now, 45, 6, strict);
                if fits {
                    pair.add(now, 6);
                }
                fits
            })
            .count()
    }

    #[test]
    fn a_pair_may_borrow_45_messages_and_pays_them_back_at_one_each_6_seconds() {
        let mut pair = Pair::default();
        assert_eq!(taken(&mut pair, 50, NOW, false), 45);
        assert_eq!(taken(&mut pair, 1, NOW + 5_999, false), 0);
        assert_eq!(taken(&mut pair, 2, NOW + 6_000, false), 1);
        assert_eq!(taken(&mut pair, 50, NOW + 6_000 + 45 * 6_000, false), 45);
    }

    #[test]
    fn read_strictly_a_burst_is_paid_back_in_silence() {
        let mut pair = Pair::default();
        assert_eq!(taken(&mut pair, 20, NOW, true), 20);
        assert_eq!(taken(&mut pair, 1, NOW + 5_999, true), 1, "within the burst");
        assert_eq!(taken(&mut pair, 1, NOW + 6_000, true), 0);
        assert_eq!(taken(&mut pair, 1, NOW + 21 * 6_000 - 1, true), 0);
        assert_eq!(taken(&mut pair, 50, NOW + 21 * 6_000, true), 45);
    }

    #[test]
    fn a_window_of_a_second_is_any_second() {
        let mut window = Window::default();
        for offset in [0, 0, 500] {
            assert!(window.has_room(NOW + offset, SECOND, 3));
            window.add(NOW + offset);
        }
        assert!(!window.has_room(NOW + 999, SECOND, 3));
        assert_eq!(window.count(NOW + 1_000, SECOND), 1);
        assert!(window.has_room(NOW, SECOND, 0), "0 is off");
    }

    #[test]
    fn the_wait_is_told_in_minutes_and_grows_with_calls_beyond_the_limit() {
        let mut window = Window::default();
        assert!((0..4).all(|second| window.call(NOW + second * 60_000, HOUR, 4)));
        let now = NOW + 4 * 60_000;
        assert_eq!(window.share(now, HOUR, 4), (100, 56));
        assert!(!window.call(now, HOUR, 4));
        assert_eq!(window.share(now, HOUR, 4), (125, 57));
        for _ in 0..10 {
            assert!(!window.call(now, HOUR, 4));
        }
        assert_eq!(window.count(now, HOUR), 8, "bounded");
    }

    #[test]
    fn a_person_counts_once_and_from_the_last_message() {
        let mut recent = Recent::default();
        recent.add("a", NOW);
        recent.add("b", NOW);
        recent.add("a", NOW + HOUR);
        assert!(!recent.has_room("c", NOW + HOUR, DAY, 2));
        assert!(recent.has_room("a", NOW + HOUR, DAY, 2));
        assert!(recent.has_room("c", NOW + DAY, DAY, 2));
        assert_eq!(recent.count(NOW + DAY, DAY), 1);
        assert_eq!(recent.count(NOW + HOUR + DAY, DAY), 0);
    }

    #[test]
    fn pressing_on_after_a_refusal_makes_it_last() {
        let mut marketing = MarketingUsage::default();
        assert!(marketing.take(NOW, 1));
        assert!(!marketing.take(NOW + HOUR, 1));
        assert!(!marketing.take(NOW + DAY, 1), "within 24 hours of the refusal");
        assert!(marketing.take(NOW + 2 * DAY, 1));
    }
}
