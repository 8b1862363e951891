//! How channels are heard of: those from which nothing comes any more although something usually does at such an hour, and those of which it comes
//! late.
//!
//! Whoever runs a peer of ours complains first of messages that silently stopped. That nothing has come for ten minutes says little at night and
//! much at noon, so silence is measured in events: as many as usually come in such hours. Usual is what came in the same hour of the week in the
//! weeks before, or, of a channel that is younger, in the same hour of the days before.
//!
//! They complain next of messages that came hours late. How late the last event of a channel was, from when it happened by Meta's clock to when it
//! came, is its *lag*.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::app::App;
use crate::conversations::model::{ChannelId, Millis};
use crate::http::timestamp::Time;
use crate::store::channels::ChannelActivity;
use crate::store::{StoreError, Tx};

/// From so many events on that are missing, a channel is silent: should they come at random, that happens once in twenty thousand times.
const MISSED_EVENTS_MIN: f64 = 10.0;
/// A shorter time without events is no silence, however many usually come.
const SILENCE_MIN: Millis = 10 * 60_000;
/// An event that came so long after it had happened was late. What is not taken at once Meta repeats with growing pauses.
const LAG_MAX: Millis = 5 * 60_000;
/// For so long a late event says something of how things are: afterwards it is an old story, and silence is what tells.
const LATE_TOLD_FOR: Millis = HOUR;
/// How far back a silence is looked at: a longer one is known by then.
const LOOKED_AT_HOURS: i64 = 24;
/// How many weeks say what is usual.
const WEEKS: i64 = 4;
/// How many days do, of a channel that is younger than a week.
const DAYS: i64 = 6;
const HOUR: Millis = 3_600_000;
const HOURS_A_WEEK: i64 = 7 * 24;

/// For how many hours it has to be remembered what came.
pub const HOURS_KEPT: i64 = WEEKS * HOURS_A_WEEK + LOOKED_AT_HOURS;

/// The number of the hour that a time is in.
pub fn hour_of(at: Millis) -> i64 {
    at.div_euclid(HOUR)
}

/// How a channel is heard of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hearing {
    /// When its last event came, if one ever has.
    pub last_event_at: Option<Millis>,
    /// How long after it had happened that one came, by Meta's clock; `None` where Meta does not say when that was.
    pub lag: Option<Millis>,
    /// How many events usually come in the time in which none has.
    pub missed: f64,
    /// Whether its last event came late, not long ago.
    pub is_late: bool,
}

impl Hearing {
    fn new(activity: &ChannelActivity, missed: f64, now: Millis) -> Self {
        let last_event_at = activity.last_event_at;
        // Meta's clock may be ahead of ours.
        let lag = last_event_at
            .zip(activity.last_event_occurred_at)
            .map(|(came_at, occurred_at)| (came_at - occurred_at).max(0));
        let is_recent = last_event_at.is_some_and(|came_at| now - came_at < LATE_TOLD_FOR);
        Self {
            last_event_at,
            lag,
            missed,
            is_late: is_recent && lag.is_some_and(|lag| lag >= LAG_MAX),
        }
    }

    /// Whether so much is missing that it cannot be chance.
    pub fn is_silent(&self) -> bool {
        self.missed >= MISSED_EVENTS_MIN
    }

    /// What to tell whoever watches the hub, if all is not well.
    fn warning(&self, channel: &ChannelId) -> Option<String> {
        let last_event_at = Time(self.last_event_at?);
        if self.is_silent() {
            return Some(format!(
                "Nothing has come from Meta for channel `{channel}` since {last_event_at}, where usually some {:.0} events would have: see \
                 whether its webhook is still subscribed, and whether Meta reaches this hub.",
                self.missed
            ));
        }
        let minutes = self.lag.filter(|_| self.is_late)? / 60_000;
        Some(format!(
            "What Meta tells of channel `{channel}` comes late: the event of {last_event_at} came {minutes} minutes after it had happened. See \
             whether Meta has reached this hub all the time (it repeats what was not taken), and whether the clock of this machine is right."
        ))
    }
}

/// How every channel is heard of, as of the last look.
#[derive(Debug, Default)]
pub struct Hearings(Mutex<BTreeMap<ChannelId, Hearing>>);

impl Hearings {
    /// How each channel is heard of, in the order of their ids.
    pub fn all(&self) -> Vec<(ChannelId, Hearing)> {
        let hearings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hearings
            .iter()
            .map(|(channel, hearing)| (channel.clone(), *hearing))
            .collect()
    }

    /// What to tell whoever watches the hub.
    pub fn warnings(&self) -> Vec<String> {
        let hearings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hearings
            .iter()
            .filter_map(|(channel, hearing)| hearing.warning(channel))
            .collect()
    }

    /// Takes over how all channels are; answers with how each was before.
    fn replace(&self, hearings: BTreeMap<ChannelId, Hearing>) -> BTreeMap<ChannelId, Hearing> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *known, hearings)
    }
}

/// Looks at every channel.
pub async fn look(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    let looked_at = app
        .store
        .read(move |tx| {
            let mut looked_at = Vec::new();
            for channel in tx.channel_activity()? {
                // Of a channel that nothing has ever come from, nothing is usual.
                let missed = match channel.last_event_at {
                    Some(since) => missed_events(tx, &channel.id, since, now)?,
                    None => 0.0,
                };
                looked_at.push((Hearing::new(&channel, missed, now), channel.id));
            }
            Ok::<_, StoreError>(looked_at)
        })
        .await?;
    let hearings: BTreeMap<ChannelId, Hearing> = looked_at
        .into_iter()
        // The store also remembers channels that are gone, and those that Meta tells nothing of.
        .filter(|(_, id)| app.channels.get(id).is_some_and(|channel| channel.platform().is_some()))
        .map(|(hearing, id)| (id, hearing))
        .collect();
    let before = app.hearings.replace(hearings.clone());
    for (channel, hearing) in &hearings {
        let was = before.get(channel);
        if hearing.last_event_at.is_some() {
            app.metrics
                .set_channel_hearing(channel, hearing.missed, hearing.is_silent(), hearing.is_late);
        }
        if hearing.is_silent() && !was.is_some_and(Hearing::is_silent) {
            tracing::warn!(
                %channel,
                since = hearing.last_event_at.map(|at| Time(at).to_string()),
                missed = hearing.missed,
                "nothing comes from Meta any more, though it usually does at this hour"
            );
        }
        if hearing.is_late && !was.is_some_and(|was| was.is_late) {
            tracing::warn!(%channel, lag_ms = hearing.lag, "what comes from Meta comes late");
        }
    }
    Ok(())
}

fn missed_events(tx: &mut Tx<'_>, channel: &ChannelId, since: Millis, now: Millis) -> Result<f64, StoreError> {
    if now - since < SILENCE_MIN {
        return Ok(0.0);
    }
    let Some(first) = tx.first_channel_hour(channel)? else {
        return Ok(0.0);
    };
    let since = since.max(now - LOOKED_AT_HOURS * HOUR);
    let looked_at = hour_of(since)..=hour_of(now);
    let hours: Vec<i64> = looked_at.clone().flat_map(|hour| likes_of(hour, first)).collect();
    let counts = tx.channel_hours(channel, &hours)?;
    let missed = looked_at.map(|hour| usual(hour, first, &counts) * share(hour, since, now));
    Ok(missed.sum())
}

/// How many events usually come in an hour.
fn usual(hour: i64, first: i64, counts: &BTreeMap<i64, i64>) -> f64 {
    let likes = likes_of(hour, first);
    let events: i64 = likes.iter().filter_map(|like| counts.get(like)).sum();
    events as f64 / likes.len().max(1) as f64
}

/// The hours that say what is usual in one, of a channel that had its first event in the hour `first`. That hour is left out: part of it only counts.
fn likes_of(hour: i64, first: i64) -> Vec<i64> {
    let known = |hours: Vec<i64>| -> Vec<i64> { hours.into_iter().filter(|hour| *hour > first).collect() };
    let weeks = known((1..=WEEKS).map(|week| hour - week * HOURS_A_WEEK).collect());
    if weeks.is_empty() {
        known((1..=DAYS).map(|day| hour - day * 24).collect())
    } else {
        weeks
    }
}

/// How much of an hour lies between two times.
fn share(hour: i64, from: Millis, to: Millis) -> f64 {
    let (begin, end) = (hour * HOUR, (hour + 1) * HOUR);
    (to.min(end) - from.max(begin)).max(0) as f64 / HOUR as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hour_of_the_week_is_usual_and_of_a_young_channel_that_of_the_day() {
        let hour = 100 * HOURS_A_WEEK;
        assert_eq!(
            likes_of(hour, 0),
            [hour - 168, hour - 336, hour - 504, hour - 672],
            "four weeks"
        );
        assert_eq!(likes_of(hour, hour - 400), [hour - 168, hour - 336]);
        assert_eq!(likes_of(hour, hour - 60), [hour - 24, hour - 48]);
        assert!(likes_of(hour, hour - 24).is_empty(), "the first hour is not whole");
        let counts = BTreeMap::from([(hour - 168, 6), (hour - 504, 2)]);
        assert!((usual(hour, 0, &counts) - 2.0).abs() < f64::EPSILON);
        assert!(usual(hour, hour, &counts).abs() < f64::EPSILON);
    }

    #[test]
    fn an_event_is_late_by_when_it_had_happened_and_for_an_hour() {
        let now = 1_000 * HOUR;
        let heard = |came_at: Option<Millis>, occurred_at: Option<Millis>| {
            let activity = ChannelActivity {
                id: ChannelId("shop".to_owned()),
                last_event_at: came_at,
                last_event_occurred_at: occurred_at,
            };
            let hearing = Hearing::new(&activity, 0.0, now);
            assert_eq!(hearing.warning(&activity.id).is_some(), hearing.is_late);
            (hearing.lag, hearing.is_late)
        };
        assert_eq!(heard(None, None), (None, false));
        assert_eq!(heard(Some(now), None), (None, false));
        assert_eq!(heard(Some(now), Some(now + 1_000)), (Some(0), false), "clocks differ");
        assert_eq!(heard(Some(now), Some(now - LAG_MAX + 1)), (Some(LAG_MAX - 1), false));
        assert_eq!(heard(Some(now), Some(now - LAG_MAX)), (Some(LAG_MAX), true));
        assert!(heard(Some(now - HOUR + 1), Some(now - 2 * HOUR)).1);
        assert_eq!(heard(Some(now - HOUR), Some(now - 2 * HOUR)), (Some(HOUR), false));
    }

    #[test]
    fn hours_count_by_the_part_that_was_silent() {
        let at = |minutes: i64| minutes * 60_000;
        assert!((share(1, at(90), at(200)) - 0.5).abs() < f64::EPSILON);
        assert!((share(2, at(90), at(200)) - 1.0).abs() < f64::EPSILON);
        assert!((share(3, at(90), at(195)) - 0.25).abs() < f64::EPSILON);
        assert!(share(4, at(90), at(200)).abs() < f64::EPSILON);
        assert_eq!(hour_of(at(59)), 0);
        assert_eq!(hour_of(at(-1)), -1);
    }
}
