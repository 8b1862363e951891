//! How fast a channel may send: pure rules, with the time handed in.
//!
//! - [`Rate`]: so many calls in any one second, and slower for a while after Meta has found it too fast.
//! - [`Lanes`]: how much one recipient may get.
//! - [`Spent`]: what has been used up of an hour. What of a day, the store knows, since all channels of an account share it ([`Left`]).
//!
//! Only [`Rate`] measures with the clock that cannot be set; the others reckon with times that the store keeps, so that another node can go
//! on where the last one stopped. [`Pace`] is all of them together, for one channel.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::PaceConfig;
use crate::conversations::model::Millis;
use crate::ids::ConversationId;
use crate::sending::model::Wait;

/// A limit of so many in a second is kept in every span of this length: calls that Meta sees up to a hundredth of a second nearer to each
/// other than they were made are still within the limit, and 99 % of it can be used.
const WINDOW: Duration = Duration::from_millis(1_010);
/// How much later than it could a call may be made without the pace being lost: the next ones then follow faster.
const TOLERANCE: Duration = Duration::from_millis(50);
/// After Meta has found the channel too fast it does so again within this time for calls that were under way already.
const SLOWER_EVERY: Duration = Duration::from_secs(1);
/// What share of the limit comes back in a second.
const RECOVERY_PER_SECOND: f64 = 0.05;
/// How many calls are remembered of a channel without a limit.
const REMEMBERED_MAX: usize = 4_096;
/// Calls are counted by spans of five minutes.
pub const SPAN_MILLIS: Millis = 300_000;
/// An hour, in the store's unit.
pub const HOUR_MILLIS: Millis = 3_600_000;
const DAY_MILLIS: Millis = 86_400_000;

/// So many calls a second.
#[derive(Debug)]
pub struct Rate {
    /// In any one second; `None`: as many as there are.
    limit: Option<u32>,
    /// When calls were made: as many as the limit, or those of the last second.
    starts: VecDeque<Instant>,
    /// How many there were before those.
    forgotten: u64,
    /// When the next call would be due if calls were spread evenly.
    due: Option<Instant>,
    /// Nothing before.
    opens_at: Instant,
    slowed: Option<Slowed>,
}

#[derive(Debug, Clone, Copy)]
struct Slowed {
    at: Instant,
    /// The pace at that time, in calls a second.
    to: f64,
    /// The pace that it comes back to.
    from: f64,
}

impl Rate {
    /// As if the limit had just been used up by somebody else, until a time.
    pub fn new(limit: u32, opens_at: Instant) -> Self {
        Self {
            limit: (limit > 0).then_some(limit),
            starts: VecDeque::new(),
            forgotten: 0,
            due: None,
            opens_at,
            slowed: None,
        }
    }

    /// The time that whoever has just used up the limit has to let pass.
    pub fn used_up_for() -> Duration {
        WINDOW
    }

    /// The time that has to pass after the last call of somebody who kept to the limit and spread their calls evenly, so that both together keep
    /// to it if the calls that follow are spread evenly too.
    pub fn handed_over_for(limit: u32) -> Duration {
        let apart = WINDOW / limit.max(1);
        (apart * 2 + TOLERANCE * 2).min(WINDOW)
    }

    /// How many calls a second there may be at present; `None` without a limit.
    pub fn per_second(&self, now: Instant) -> Option<f64> {
        let limit = self.limit.map(f64::from);
        match self.slowed {
            None => limit,
            Some(slowed) => {
                let regained = slowed.from * RECOVERY_PER_SECOND * now.duration_since(slowed.at).as_secs_f64();
                let pace = (slowed.to + regained).max(1.0);
                if pace < slowed.from { Some(pace) } else { limit }
            }
        }
    }

    /// Whether it is slower than its limit.
    pub fn is_slowed(&self, now: Instant) -> bool {
        self.per_second(now) != self.limit.map(f64::from)
    }

    /// When the next call may be made, which may be now.
    pub fn next_at(&self, now: Instant) -> Instant {
        let mut at = self.opens_at.max(now);
        let Some(per_second) = self.per_second(now) else {
            return at;
        };
        let in_a_window = (per_second as usize).max(1);
        if let Some(first) = self.starts.len().checked_sub(in_a_window) {
            at = at.max(self.starts[first] + WINDOW);
        }
        if let Some(due) = self.due {
            at = at.max(due.checked_sub(TOLERANCE).unwrap_or(due));
        }
        at
    }

    /// A call is made; answers with its number.
    pub fn note_call(&mut self, now: Instant) -> u64 {
        let pace = self.per_second(now);
        let number = self.forgotten + self.starts.len() as u64;
        self.starts.push_back(now);
        if let Some(per_second) = pace {
            let apart = WINDOW.div_f64(per_second);
            self.due = Some(self.due.map_or(now, |due| due.max(now)) + apart);
        } else {
            self.slowed = None;
            self.due = None;
        }
        let kept = self.limit.map_or(REMEMBERED_MAX, |limit| limit as usize);
        while self.starts.len() > kept {
            self.starts.pop_front();
            self.forgotten += 1;
        }
        number
    }

    /// The call of a number is on its way only now: on a busy machine some time passes until its task is run, and calls that are held up would
    /// otherwise come too close before those of a second later.
    pub fn note_start(&mut self, number: u64, now: Instant) {
        let index = number
            .checked_sub(self.forgotten)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(start) = index.and_then(|index| self.starts.get_mut(index)) {
            *start = (*start).max(now);
        }
    }

    /// Meta finds it too fast: half of the pace, at most once a second.
    pub fn slow_down(&mut self, now: Instant) {
        if self
            .slowed
            .is_some_and(|slowed| now.duration_since(slowed.at) < SLOWER_EVERY)
        {
            return;
        }
        let lately = self
            .starts
            .iter()
            .filter(|start| now.duration_since(**start) < Duration::from_secs(1))
            .count() as f64;
        let (pace, from) = match (self.per_second(now), self.limit) {
            (Some(pace), Some(limit)) => (pace, f64::from(limit)),
            (Some(pace), None) => (pace, self.slowed.map_or(pace, |slowed| slowed.from)),
            // Without a limit, what was too fast is what was done.
            (None, _) => (lately.max(2.0), lately.max(2.0)),
        };
        self.slowed = Some(Slowed {
            at: now,
            to: (pace / 2.0).max(1.0),
            from,
        });
    }
}

/// How much one recipient may get.
#[derive(Debug)]
pub struct Lanes {
    /// One message takes up so much of a recipient's time.
    pause: Millis,
    /// How many may borrow it at once.
    burst: u32,
    /// How many in an hour.
    per_hour: u32,
    by_conversation: HashMap<ConversationId, Lane>,
    /// Idle lanes are left out when there are so many.
    tidy_at: usize,
}

#[derive(Debug, Default)]
struct Lane {
    /// When its present burst began.
    began: Millis,
    /// How many messages are in it.
    in_burst: u32,
    /// When everything borrowed is paid back.
    free_at: Millis,
    /// When the recipient got something, within an hour; kept only where there is a limit an hour.
    hour: VecDeque<Millis>,
}

/// So many lanes are kept before it is looked which are idle.
const LANES_TIDY: usize = 1_024;

impl Lanes {
    fn new(limits: &PaceConfig) -> Self {
        Self {
            pause: Millis::try_from(limits.pair_pause.as_millis()).unwrap_or(0),
            burst: limits.pair_burst.max(1),
            per_hour: limits.contact_per_hour,
            by_conversation: HashMap::new(),
            tidy_at: LANES_TIDY,
        }
    }

    /// How far back what a recipient got still matters.
    pub fn memory(&self) -> Millis {
        let debt = self.pause.saturating_mul(i64::from(self.burst));
        if self.per_hour > 0 { debt.max(HOUR_MILLIS) } else { debt }
    }

    /// Until when a recipient must be left alone, and why; `None` if they need not.
    ///
    /// Meta's page can be read so that nothing at all may follow a burst before it is paid back: that is what is kept to (reference
    /// `whatsapp.md` 13.2).
    pub fn wait(&self, conversation: ConversationId, now: Millis) -> Option<(Wait, Millis)> {
        let lane = self.by_conversation.get(&conversation)?;
        let pair =
            (self.pause > 0 && now < lane.free_at && !(now < lane.began + self.pause && lane.in_burst < self.burst))
                // A clock that was set back must not make anybody wait longer than the longest debt.
                .then(|| (Wait::PairLimit, lane.free_at.min(now + self.memory())));
        let hour = (self.per_hour > 0 && lane.hour.len() >= self.per_hour as usize)
            .then(|| lane.hour[lane.hour.len() - self.per_hour as usize] + HOUR_MILLIS)
            .filter(|until| *until > now)
            .map(|until| (Wait::HourlyLimit, until.min(now + HOUR_MILLIS)));
        pair.into_iter().chain(hour).max_by_key(|(_, until)| *until)
    }

    /// A recipient gets something.
    pub fn note(&mut self, conversation: ConversationId, at: Millis) {
        if self.pause == 0 && self.per_hour == 0 {
            return;
        }
        let lane = self.by_conversation.entry(conversation).or_default();
        if at >= lane.free_at {
            lane.began = at;
            lane.in_burst = 0;
            lane.free_at = at;
        }
        lane.in_burst += 1;
        lane.free_at += self.pause;
        if self.per_hour > 0 {
            lane.hour.push_back(at);
            while lane.hour.len() > self.per_hour as usize {
                lane.hour.pop_front();
            }
        }
        if self.by_conversation.len() >= self.tidy_at {
            self.tidy(at);
        }
    }

    /// Meta says that a recipient got too much: nothing before this time.
    pub fn hold(&mut self, conversation: ConversationId, now: Millis, until: Millis) {
        let lane = self.by_conversation.entry(conversation).or_default();
        lane.began = now - self.pause;
        lane.free_at = lane.free_at.max(until);
    }

    /// Leaves out those who may be sent to as if nothing had ever been.
    fn tidy(&mut self, now: Millis) {
        let hour_ago = now - HOUR_MILLIS;
        self.by_conversation
            .retain(|_, lane| lane.free_at > now || lane.hour.back().is_some_and(|last| *last > hour_ago));
        self.tidy_at = (self.by_conversation.len() * 2).max(LANES_TIDY);
    }
}

/// How many calls were made, by spans.
#[derive(Debug, Default)]
pub struct Spent {
    spans: BTreeMap<i64, i64>,
}

impl Spent {
    /// From what the store remembers.
    pub fn new(spans: impl IntoIterator<Item = (i64, i64)>) -> Self {
        Self {
            spans: spans.into_iter().collect(),
        }
    }

    /// So many more, at a time; fewer where it is negative.
    pub fn add(&mut self, at: Millis, count: i64) {
        *self.spans.entry(span_of(at)).or_default() += count;
        let day_ago = span_of(at - DAY_MILLIS);
        self.spans = self.spans.split_off(&day_ago);
    }

    /// How many more there may be within a time that ends now.
    fn left(&self, limit: u32, within: Millis, now: Millis) -> i64 {
        let spent: i64 = self.spans.range(span_of(now - within)..).map(|(_, count)| count).sum();
        i64::from(limit) - spent
    }

    /// When there is more left than now, after everything was used up.
    fn more_at(&self, within: Millis, now: Millis) -> Millis {
        let first = self
            .spans
            .range(span_of(now - within)..)
            .find(|(_, count)| **count > 0)
            .map_or_else(|| span_of(now), |(span, _)| *span);
        (first + 1) * SPAN_MILLIS + within
    }
}

/// The span that a time lies in.
pub fn span_of(at: Millis) -> i64 {
    at.div_euclid(SPAN_MILLIS)
}

/// The first span that still counts.
pub fn spans_since(now: Millis) -> i64 {
    span_of(now - DAY_MILLIS)
}

/// What is left of a budget of 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// How much.
    pub count: i64,
    /// When there is more of it.
    pub more_at: Millis,
}

impl Left {
    /// Where there is no limit.
    pub const ALL: Self = Self {
        count: i64::MAX,
        more_at: 0,
    };

    /// Where so much is left, and what was used first was used in this span.
    pub fn new(count: i64, first_used: i64) -> Self {
        Self {
            count,
            more_at: (first_used + 1) * SPAN_MILLIS + DAY_MILLIS,
        }
    }
}

/// How long a channel of an account whose messages of the day are used up waits before it looks whether others have given something back.
const DAY_LOOK_EVERY: Millis = 60_000;

/// That the messages of the day are used up.
#[derive(Debug, Clone, Copy)]
struct DayOver {
    until: Millis,
    /// When it is looked again.
    look_at: Millis,
}

/// All of it, for one channel.
#[derive(Debug)]
pub struct Pace {
    limits: PaceConfig,
    /// The calls.
    pub rate: Rate,
    /// Of these, those with audio or video.
    pub media: Rate,
    /// The recipients.
    pub lanes: Lanes,
    /// The calls of the last hour.
    pub spent: Spent,
    day_over: Option<DayOver>,
}

impl Pace {
    /// With nothing used up yet.
    pub fn new(limits: PaceConfig, opens_at: Instant) -> Self {
        Self {
            rate: Rate::new(limits.per_second, opens_at),
            media: Rate::new(limits.media_per_second, opens_at),
            lanes: Lanes::new(&limits),
            spent: Spent::default(),
            day_over: None,
            limits,
        }
    }

    /// Whether it matters how many calls there were.
    pub fn counts_calls(&self) -> bool {
        self.limits.per_hour > 0
    }

    /// The messages of the day are used up until a time, or, with `None`, are not.
    pub fn note_day(&mut self, over_until: Option<Millis>, now: Millis) {
        self.day_over = over_until.map(|until| DayOver {
            until,
            look_at: now + DAY_LOOK_EVERY,
        });
    }

    /// Whether it is time to look whether the day's messages are used up still.
    pub fn looks_again(&self, now: Millis) -> bool {
        self.day_over.is_some_and(|day| now >= day.look_at)
    }

    /// How many calls may be made before the hour's are used up; and until when nothing may be sent, and why, once they are, or those of the day.
    pub fn left(&self, now: Millis) -> Result<u32, (Wait, Millis)> {
        if let Some(day) = self.day_over.filter(|day| now < day.until) {
            return Err((Wait::DailyLimit, day.until));
        }
        if self.limits.per_hour == 0 {
            return Ok(u32::MAX);
        }
        let left = self.spent.left(self.limits.per_hour, HOUR_MILLIS, now);
        if left <= 0 {
            return Err((Wait::HourlyLimit, self.spent.more_at(HOUR_MILLIS, now)));
        }
        Ok(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

/// When those are looked at again that go at a slower pace than the others of their channel, and of which there are enough in hand already: so that
/// they are in nobody's way, and are not looked at long before their turn. The pace itself is kept to by a [`Rate`].
#[derive(Debug, Clone, Copy, Default)]
pub struct MediaTurns {
    /// The first turn that is free, of each priority.
    free: [Millis; 3],
}

impl MediaTurns {
    /// The next turn of one of a priority, at so many a second.
    pub fn next(&mut self, priority: i64, per_second: u32, now: Millis) -> Millis {
        let apart = i64::try_from(WINDOW.as_millis()).unwrap_or(0) / i64::from(per_second.max(1));
        let apart = apart.max(1);
        let own = usize::try_from(priority).unwrap_or(0).min(self.free.len() - 1);
        // What is less urgent is not waited for.
        let turn = self.free[..=own].iter().copied().fold(now + apart, Millis::max);
        self.free[own] = turn + apart;
        turn
    }
}

/// Who goes first where several priorities wait: each gets its share of the turns, so that none starves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shares {
    /// Where each is; the least far goes next.
    at: [u64; 3],
}

/// How far one turn brings each priority: of 21 turns replies get 16, notifications 4 and bulk 1.
const STRIDES: [u64; 3] = [1, 4, 16];

impl Shares {
    /// Whose turn it is, of those of whom something waits; `None` if nothing does.
    pub fn next(&mut self, waits: [bool; 3]) -> Option<usize> {
        let next = (0..3)
            .filter(|index| waits[*index])
            .min_by_key(|index| self.at[*index])?;
        let now = self.at[next];
        // Who had nothing to send does not save up turns.
        for (at, waits) in self.at.iter_mut().zip(waits) {
            if !waits {
                *at = (*at).max(now);
            }
        }
        self.at[next] += STRIDES[next];
        Some(next)
    }
}

#[cfg(test)]
mod tests;
