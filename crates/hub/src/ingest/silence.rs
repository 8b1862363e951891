//! Channels from which nothing comes any more although something usually does at such an hour.
//!
//! Whoever runs a peer of ours complains first of messages that silently stopped. That nothing has come for ten minutes says little at night and
//! much at noon, so silence is measured in events: as many as usually come in such hours. Usual is what came in the same hour of the week in the
//! weeks before, or, of a channel that is younger, in the same hour of the days before.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::app::App;
use crate::conversations::model::{ChannelId, Millis};
use crate::http::timestamp::Time;
use crate::store::{StoreError, Tx};

/// From so many events on that are missing, a channel is silent: should they come at random, that happens once in twenty thousand times.
const MISSED_EVENTS_MIN: f64 = 10.0;
/// A shorter time without events is no silence, however many usually come.
const SILENCE_MIN: Millis = 10 * 60_000;
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

/// What is missing of a channel that is silent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Silence {
    /// When its last event came.
    pub since: Millis,
    /// How many usually come in such a time.
    pub missed: f64,
}

/// The channels that are silent.
#[derive(Debug, Default)]
pub struct Silences(Mutex<BTreeMap<ChannelId, Silence>>);

impl Silences {
    /// What to tell whoever watches the hub.
    pub fn warnings(&self) -> Vec<String> {
        let silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent
            .iter()
            .map(|(channel, silence)| {
                format!(
                    "Nothing has come from Meta for channel `{channel}` since {}, where usually some {:.0} events would have: see whether \
                     its webhook is still subscribed, and whether Meta reaches this hub.",
                    Time(silence.since),
                    silence.missed
                )
            })
            .collect()
    }

    /// Takes over how a channel is; answers whether it has fallen silent by that.
    fn set(&self, channel: &ChannelId, silence: Option<Silence>) -> bool {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(silence) = silence else {
            silent.remove(channel);
            return false;
        };
        silent.insert(channel.clone(), silence).is_none()
    }

    fn retain(&self, is_there: impl Fn(&ChannelId) -> bool) {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|channel, _| is_there(channel));
    }
}

/// Looks at every channel.
pub async fn look(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    let missed = app
        .store
        .read(move |tx| {
            let mut missed = Vec::new();
            for channel in tx.channel_activity()? {
                // Of a channel that nothing has ever come from, nothing is usual.
                let Some(since) = channel.last_event_at else { continue };
                let events = missed_events(tx, &channel.id, since, now)?;
                missed.push((channel.id, Silence { since, missed: events }));
            }
            Ok::<_, StoreError>(missed)
        })
        .await?;
    app.silences.retain(|channel| app.channels.get(channel).is_some());
    for (channel, silence) in missed {
        if app.channels.get(&channel).is_none() {
            continue;
        }
        let is_silent = silence.missed >= MISSED_EVENTS_MIN;
        app.metrics.set_channel_silence(&channel, silence.missed, is_silent);
        if app.silences.set(&channel, is_silent.then_some(silence)) {
            tracing::warn!(
                %channel,
                since = %Time(silence.since),
                missed = silence.missed,
                "nothing comes from Meta any more, though it usually does at this hour"
            );
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
