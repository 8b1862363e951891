//! What operators see of the outbox and do with it: how long it is and why, going on at once, and messages that have ended.
//!
//! Every look and every change is bounded: figures come from counters that are kept with the entries, changes are made by units of at most some
//! hundred.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;

use crate::app::App;
use crate::audit::Auditor;
use crate::channels::{Channel, Standing, follow};
use crate::conversations::model::{ChannelId, Message, Millis, Status};
use crate::ids::{AttemptId, MessageId};
use crate::sending::again::{self, AgainError};
use crate::sending::model::{ChannelPace, EntryState, OutboxFigure, Wait};
use crate::sending::route::model::LegState;
use crate::store::queue::{AttemptsLately, EndedPlace};
use crate::store::{StoreError, Tx};

/// Up to how many messages that wait for their time are counted.
const SCHEDULED_MAX: u32 = 100_000;
/// Over how long the pace of a channel is measured, and by how many attempts at most: the last ones.
const PACE_OVER_MILLIS: Millis = 5_000;
const PACE_ATTEMPTS_MAX: u32 = 1_000;
/// How many entries are made due by one unit, and by one call for a channel.
const RELEASE_UNIT: u32 = 500;
const RELEASE_UNITS_MAX: u32 = 2_000;
/// How many ended messages are looked at by one unit, and for one page.
const ENDED_UNIT: u32 = 200;
const ENDED_LOOKS_MAX: u32 = 25;
/// How many are queued again by one unit.
const RETRY_UNIT: u32 = 50;

/// What waits on a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelQueue {
    /// The channel.
    pub channel_id: ChannelId,
    /// How many entries are in which state.
    pub states: [(EntryState, i64); 3],
    /// More messages wait for their time than were counted.
    pub is_capped: bool,
    /// How many messages wait for their time.
    pub scheduled: i64,
    /// Why entries wait on a pause, and how many for each reason.
    pub paused: BTreeMap<String, i64>,
    /// The entry that waits longest, and since when.
    pub oldest: Option<(MessageId, Millis)>,
    /// How many messages Meta has accepted a second of late.
    pub pace: f64,
    /// What the whole channel waits for, and until when where that is known.
    pub waits_for: Option<(Wait, Option<Millis>)>,
    /// How many messages a second its leader has said that it may send.
    pub allowed: Option<u32>,
}

impl ChannelQueue {
    /// How many entries there are.
    pub fn length(&self) -> i64 {
        self.states.iter().map(|(_, count)| count).sum()
    }

    /// How long it takes until the queue is empty, at the pace of late, or, where nothing was sent of late, at the pace that is allowed; `None`
    /// where neither is known, or the channel sends nothing.
    pub fn drain_secs(&self) -> Option<i64> {
        let is_going = matches!(self.waits_for, None | Some((Wait::RateLimit, _)));
        let allowed = self.allowed.filter(|_| is_going).map_or(0.0, f64::from);
        drain_secs(self.length(), if self.pace > 0.0 { self.pace } else { allowed })
    }
}

/// How many messages a second these attempts are: over the whole time that was looked at, or, where there were too many, since the first of them.
fn pace_of(lately: &AttemptsLately, now: Millis) -> f64 {
    let all_of = lately.count < i64::from(PACE_ATTEMPTS_MAX);
    let begun_at = lately.begun_at.filter(|_| !all_of);
    let over = begun_at.map_or(PACE_OVER_MILLIS, |at| (now - at).clamp(1, PACE_OVER_MILLIS));
    lately.accepted as f64 * 1000.0 / over as f64
}

/// How long a queue takes at a pace.
pub fn drain_secs(length: i64, pace: f64) -> Option<i64> {
    if length == 0 {
        Some(0)
    } else if pace > 0.0 {
        // Rounded up: what is left takes a second, too.
        Some((length as f64 / pace).ceil() as i64)
    } else {
        None
    }
}

/// What all messages of a channel wait for that does not send, however the leader of it last said that it goes.
pub fn standstill(app: &App, channel: &Channel) -> Option<ChannelPace> {
    let now = app.clock.now_millis();
    let (waits_for, until) = match channel.standing(&app.flags) {
        Standing::Ready => return None,
        Standing::ReceiveOnly | Standing::Held => (Wait::Credentials, None),
        Standing::Stopped => (Wait::Stopped, None),
        Standing::Switched => (Wait::Switched, None),
        Standing::CircuitOpen => {
            let probe_at = channel.circuit.as_ref().map(|circuit| circuit.probe_at);
            (Wait::CircuitOpen, probe_at.filter(|at| *at > now))
        }
    };
    Some(ChannelPace {
        channel_id: channel.id.clone(),
        waits_for,
        until,
        per_second: None,
        said_at: now,
    })
}

/// Looks at the queue of every channel.
pub async fn look(app: &App) -> Result<Vec<ChannelQueue>, StoreError> {
    let now = app.clock.now_millis();
    let channels: Vec<(ChannelId, Option<ChannelPace>)> = app
        .channels
        .all()
        .into_iter()
        .map(|channel| (channel.id.clone(), standstill(app, &channel)))
        .collect();
    app.store
        .read(move |tx| {
            let since = AttemptId::first_of(now - PACE_OVER_MILLIS);
            let figures = tx.outbox_figures()?;
            let paces = tx.channel_paces()?;
            channels
                .iter()
                .map(|(channel, standstill)| {
                    let lately = tx.attempts_lately(channel, since, PACE_ATTEMPTS_MAX)?;
                    let said = paces.iter().find(|pace| pace.channel_id == *channel);
                    let pace = standstill.as_ref().or(said);
                    Ok(ChannelQueue {
                        waits_for: pace.and_then(|pace| pace.waits(now)),
                        allowed: said.and_then(|said| said.per_second),
                        pace: pace_of(&lately, now),
                        ..look_at(tx, channel, &figures)?
                    })
                })
                .collect()
        })
        .await
}

fn look_at(tx: &mut Tx<'_>, channel: &ChannelId, figures: &[OutboxFigure]) -> Result<ChannelQueue, StoreError> {
    let own = || figures.iter().filter(|figure| figure.channel_id == *channel);
    let states = EntryState::ALL.map(|state| {
        let in_state = own().filter(|figure| figure.state == state);
        (state, in_state.map(|figure| figure.count).sum())
    });
    let paused = own()
        .filter(|figure| figure.state == EntryState::Waiting && figure.waits_for != Wait::Turn)
        .map(|figure| (figure.waits_for.as_str().to_owned(), figure.count))
        .collect();
    let scheduled = tx.scheduled_count(channel, SCHEDULED_MAX)?;
    Ok(ChannelQueue {
        channel_id: channel.clone(),
        is_capped: scheduled >= i64::from(SCHEDULED_MAX),
        states,
        scheduled,
        paused,
        oldest: tx.oldest_entry(channel)?,
        pace: 0.0,
        waits_for: None,
        allowed: None,
    })
}

/// What came of going on at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// How many entries are due now that waited on a pause, by channel.
    pub released: Vec<(ChannelId, u64)>,
    /// How many entries stay as they are, since it is not known whether Meta has taken the message.
    pub unknown: i64,
}

/// Makes everything that waits on a pause due now, on one channel or on all, and lets channels that pause go on, whichever node leads them.
pub async fn process(app: &App, only: Option<&ChannelId>, actor: &str) -> Result<Processed, StoreError> {
    let channels: Vec<ChannelId> = app
        .channels
        .all()
        .into_iter()
        .map(|channel| channel.id.clone())
        .filter(|channel| only.is_none_or(|only| only == channel))
        .collect();
    let now = app.clock.now_millis();
    let mut processed = Processed {
        released: Vec::new(),
        unknown: 0,
    };
    for channel in channels {
        let mut released = 0;
        for _ in 0..RELEASE_UNITS_MAX {
            let of = channel.clone();
            let unit = app
                .store
                .write(move |tx| tx.release_waiting_entries(&of, now, RELEASE_UNIT))
                .await?;
            released += unit;
            if unit < u64::from(RELEASE_UNIT) {
                break;
            }
        }
        let (of, audit) = (channel.clone(), Auditor::new(&app.ids, actor, now));
        app.store
            .write(move |tx| {
                tx.hurry_channel(&of)?;
                tx.insert_audit(&audit.channel("channel.process_queue", &of, json!({ "released": released })))
            })
            .await?;
        processed.released.push((channel, released));
    }
    follow::refresh(app).await?;
    for (channel, _) in &processed.released {
        app.senders.nudge(channel);
    }
    let figures = app.store.read(|tx| tx.outbox_figures()).await?;
    processed.unknown = figures
        .iter()
        .filter(|figure| figure.state == EntryState::Unknown && only.is_none_or(|only| *only == figure.channel_id))
        .map(|figure| figure.count)
        .sum();
    Ok(processed)
}

/// Which messages that have ended.
#[derive(Debug, Clone, Default)]
pub struct EndedFilter {
    /// On this channel.
    pub channel_id: Option<ChannelId>,
    /// That ended so: failed or expired.
    pub status: Option<Status>,
    /// With this error of Meta's, or 0 for one of Tidings' own.
    pub code: Option<i64>,
    /// Made from this time on.
    pub since: Option<Millis>,
}

impl EndedFilter {
    fn has(&self, message: &Message) -> bool {
        message.outbound
            && self.status.is_none_or(|status| status == message.status)
            && self
                .code
                .is_none_or(|code| message.failure.as_ref().is_some_and(|failure| failure.code == code))
    }
}

/// A page of ended messages.
#[derive(Debug, Clone, Default)]
pub struct EndedPage {
    /// The last made first.
    pub messages: Vec<Message>,
    /// Where it goes on, if it does: a page can be shorter than was asked for, and go on.
    pub next: Option<EndedPlace>,
}

/// Lists messages that failed or expired.
pub fn ended(
    tx: &mut Tx<'_>,
    filter: &EndedFilter,
    after: Option<EndedPlace>,
    limit: u32,
) -> Result<EndedPage, StoreError> {
    let mut page = EndedPage::default();
    let mut after = after;
    for _ in 0..ENDED_LOOKS_MAX {
        let looked_at = tx.ended_messages(
            filter.channel_id.as_ref(),
            filter.since.unwrap_or(Millis::MIN),
            after,
            ENDED_UNIT,
        )?;
        let is_last = looked_at.len() < ENDED_UNIT as usize;
        let ids: Vec<MessageId> = looked_at.iter().map(|message| message.id).collect();
        let gone_on: HashSet<MessageId> = (tx.legs_of_messages(&ids)?.into_iter())
            .filter(|leg| leg.state == LegState::Left)
            .map(|leg| leg.message_id)
            .collect();
        for message in looked_at {
            if page.messages.len() == limit as usize {
                page.next = after;
                return Ok(page);
            }
            after = Some(EndedPlace {
                created_at: message.created_at,
                id: message.id,
            });
            // What has gone on by another route has not ended: what became of it there is a message of its own.
            if filter.has(&message) && !gone_on.contains(&message.id) {
                page.messages.push(message);
            }
        }
        if is_last {
            return Ok(page);
        }
    }
    page.next = after;
    Ok(page)
}

/// What came of queueing ended messages again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many are queued again.
    pub queued: u32,
    /// Those that are not since they may have arrived.
    pub may_have_arrived: u32,
    /// Those that cannot be sent again.
    pub not_retryable: u32,
    /// Where it goes on, if more are left.
    pub next: Option<EndedPlace>,
}

/// Queues messages that failed or expired again, by filter, so many at most.
pub async fn retry_ended(
    app: &App,
    filter: &EndedFilter,
    after: Option<EndedPlace>,
    limit: u32,
    force: bool,
    actor: &str,
) -> Result<Retried, StoreError> {
    let mut retried = Retried {
        next: after,
        ..Retried::default()
    };
    let mut left = limit;
    let mut channels: Vec<ChannelId> = Vec::new();
    while left > 0 {
        let (unit_app, unit_filter, from) = (app.clone(), filter.clone(), retried.next);
        let unit_limit = left.min(RETRY_UNIT);
        let audit = Auditor::new(&app.ids, actor, app.clock.now_millis());
        let unit = app
            .store
            .write(move |tx| retry_unit(tx, &unit_app, &unit_filter, from, unit_limit, force, &audit))
            .await?;
        left -= unit_limit;
        retried.queued += unit.0.queued;
        retried.may_have_arrived += unit.0.may_have_arrived;
        retried.not_retryable += unit.0.not_retryable;
        retried.next = unit.0.next;
        for channel in unit.1 {
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        if retried.next.is_none() {
            break;
        }
    }
    for channel in &channels {
        app.senders.nudge(channel);
    }
    app.stream.nudge();
    Ok(retried)
}

fn retry_unit(
    tx: &mut Tx<'_>,
    app: &App,
    filter: &EndedFilter,
    after: Option<EndedPlace>,
    limit: u32,
    force: bool,
    audit: &Auditor,
) -> Result<(Retried, Vec<ChannelId>), StoreError> {
    let page = ended(tx, filter, after, limit)?;
    let mut retried = Retried {
        next: page.next,
        ..Retried::default()
    };
    let mut messages = page.messages;
    // In their order: what was said first is said first again.
    messages.sort_by_key(|message| message.id);
    let mut channels = Vec::new();
    for message in messages {
        match again::retry_in(tx, app, message.id, force) {
            Ok(message) => {
                tx.insert_audit(&again::audited(audit, message.id, force))?;
                retried.queued += 1;
                channels.push(message.channel_id);
            }
            Err(AgainError::MayHaveArrived | AgainError::WentOn(_)) => retried.may_have_arrived += 1,
            Err(AgainError::NotRetryable(_) | AgainError::NotFound) => retried.not_retryable += 1,
            Err(AgainError::Store(error)) => return Err(error),
        }
    }
    Ok((retried, channels))
}

#[cfg(test)]
mod tests {
    use super::{AttemptsLately, PACE_ATTEMPTS_MAX, drain_secs, pace_of};

    #[test]
    fn the_pace_is_measured_over_what_was_looked_at() {
        let lately = |count, accepted, begun_at| AttemptsLately {
            count,
            accepted,
            begun_at,
        };
        let is = |lately: &AttemptsLately, pace: f64| assert!((pace_of(lately, 10_000) - pace).abs() < 0.001);
        is(&lately(0, 0, None), 0.0);
        is(&lately(400, 400, Some(9_900)), 80.0);
        let most = i64::from(PACE_ATTEMPTS_MAX);
        is(&lately(most, most, Some(9_200)), 1250.0);
        is(&lately(most, most / 2, Some(9_200)), 625.0);
        is(&lately(most, most, Some(10_000)), 1_000_000.0);
    }

    #[test]
    fn a_queue_takes_as_long_as_its_pace_says() {
        assert_eq!(drain_secs(0, 0.0), Some(0));
        assert_eq!(drain_secs(10, 0.0), None);
        assert_eq!(drain_secs(160, 80.0), Some(2));
        assert_eq!(drain_secs(161, 80.0), Some(3));
    }
}
