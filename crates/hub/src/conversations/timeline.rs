//! What happened to one message: every try, status and event of it, in the order in which they came to Tidings.
//!
//! The order is by our own clock alone. Meta's times are whole seconds and its statuses come late, so by them a message would be
//! delivered before it was sent; they are shown beside ours.

use std::time::Duration;

use serde::Serialize;
use tidings_meta::notification::Platform;
use utoipa::ToSchema;

use crate::conversations::model::{Message, Millis};
use crate::conversations::view::ErrorView;
use crate::http::timestamp::Time;
use crate::http::word::words;
use crate::ids::{AttemptId, EventId, MessageId};
use crate::sending::model::{Attempt, ChannelPace, EntryState, FallbackTaken, OutboxEntry, Scheduled, Wait};
use crate::sending::route::model::Leg;
use crate::store::messages::MessageFact;
use crate::store::{StoreError, Tx};

words! {
    EntryStateWord of EntryState as "OutboxState";
    WaitWord of Wait as "Wait";
}

/// What is kept of what happened to one message.
#[derive(Debug)]
pub struct Timeline {
    message: Message,
    attempts: Vec<Attempt>,
    facts: Vec<MessageFact>,
    entry: Option<OutboxEntry>,
    fallback: Option<FallbackTaken>,
    pace: Option<ChannelPace>,
    legs: Vec<Leg>,
}

impl Timeline {
    /// Asks for everything about a message; `None` if there is no such message.
    pub fn load(tx: &mut Tx<'_>, id: MessageId) -> Result<Option<Self>, StoreError> {
        let Some(message) = tx.message_by_id(id)? else {
            return Ok(None);
        };
        let entry = match tx.entry_of_message(id)? {
            None => tx
                .scheduled_message(id)?
                .map(|scheduled| scheduled.entry(0, Some(Scheduled::REASON))),
            entry => entry,
        };
        let terms = tx.terms_of_messages(&message.channel_id, &[id])?.into_iter().next();
        Ok(Some(Self {
            attempts: tx.attempts_of_message(id)?,
            facts: tx.message_facts(id)?,
            entry,
            fallback: terms
                .and_then(|terms| terms.fallback)
                .and_then(|fallback| fallback.taken),
            pace: tx.channel_pace(&message.channel_id)?,
            legs: tx.legs_of_origins(&[id])?,
            message,
        }))
    }

    /// On which channel the message is.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Puts it in order; `platform` is that of the message's channel, if there still is one, and `standstill` why that sends nothing.
    pub fn view(&self, platform: Option<Platform>, standstill: Option<&ChannelPace>, now: Millis) -> TimelineView {
        let mut items: Vec<TimelineItem> = self
            .attempts
            .iter()
            .map(|attempt| of_attempt(attempt, platform))
            .collect();
        items.extend(self.facts.iter().map(of_fact));
        items.extend(self.fallback.as_ref().map(of_fallback));
        items.extend(self.legs.iter().filter(|leg| leg.number > 0).map(of_leg));
        items.extend(self.legs.iter().filter_map(of_late));
        items.sort_by_key(|item| (item.at, self.order_in_one_moment(item)));
        items.insert(0, self.beginning());
        TimelineView {
            message_id: self.message.id,
            timeline: items,
            waiting: self
                .entry
                .as_ref()
                .map(|entry| WaitingView::new(entry, standstill.or(self.pace.as_ref()), now)),
        }
    }

    /// Of one moment: what was tried before a template took its place, then that it did, then everything else.
    fn order_in_one_moment(&self, item: &TimelineItem) -> u8 {
        let is_of_template = |attempt: &AttemptView| attempt.request["type"] == "template";
        match (&self.fallback, &item.attempt) {
            (Some(_), Some(attempt)) if !is_of_template(attempt) => 0,
            (Some(_), None) if item.kind == "fallback" => 1,
            (Some(_) | None, _) => 2,
        }
    }

    fn beginning(&self) -> TimelineItem {
        let message = &self.message;
        let kind = match (message.outbound, message.event_id) {
            (false, _) => "received",
            // Somebody said it elsewhere, and Meta told.
            (true, Some(_)) => "echoed",
            (true, None) => "queued",
        };
        TimelineItem {
            occurred_at: message.event_id.map(|_| Time(message.occurred_at)),
            event_id: message.event_id,
            ..TimelineItem::new(message.created_at, kind)
        }
    }
}

/// What happened to one message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Timeline)]
pub struct TimelineView {
    /// The message.
    #[schema(value_type = String)]
    message_id: MessageId,
    /// Everything that happened to it, the first thing first.
    timeline: Vec<TimelineItem>,
    /// What it waits for, if it still has to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<WaitingView>,
}

/// One thing that happened to a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineItem {
    /// When, by Tidings' clock: a try's beginning, an event's arrival.
    at: Time,
    /// When, by Meta's clock, where Meta has told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Time>,
    /// `received`, `echoed` or `queued` first; then `attempt` for a try, `fallback` where its template took its place, `route` where it went on by another route, `late_delivery` where
    /// an earlier one got there after all, and for an event `accepted`, `sent`, `delivered`, `read`,
    /// `played`, `failed`, `edited`, `deleted`, `echo`, `reaction`, `cancelled` where its contact has opted out meanwhile, and `opted_out` or `opted_in` where it
    /// says so itself.
    /// Of a comment, `hidden`, `shown` and `deleted` where that was done from here.
    kind: String,
    /// The event that told it: see `GET /api/webhooks/events/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    event_id: Option<EventId>,
    /// More about it: the wording of an edit, the emoji of a reaction, what a template took the place of and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    detail: Option<serde_json::Value>,
    /// The try.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<AttemptView>,
}

impl TimelineItem {
    fn new(at: Millis, kind: impl Into<String>) -> Self {
        Self {
            at: Time(at),
            occurred_at: None,
            kind: kind.into(),
            event_id: None,
            detail: None,
            attempt: None,
        }
    }
}

fn of_attempt(attempt: &Attempt, platform: Option<Platform>) -> TimelineItem {
    TimelineItem {
        attempt: Some(AttemptView::new(attempt, platform)),
        ..TimelineItem::new(attempt.started_at, "attempt")
    }
}

fn of_fallback(taken: &FallbackTaken) -> TimelineItem {
    TimelineItem {
        detail: Some(serde_json::json!({ "reason": taken.reason, "instead": taken.said })),
        ..TimelineItem::new(taken.at, "fallback")
    }
}

fn of_leg(leg: &Leg) -> TimelineItem {
    let detail = serde_json::json!({ "channel": leg.channel_id.0, "messageId": leg.message_id, "reason": leg.reason });
    TimelineItem {
        detail: Some(detail),
        ..TimelineItem::new(leg.at, "route")
    }
}

fn of_late(leg: &Leg) -> Option<TimelineItem> {
    Some(TimelineItem {
        detail: Some(serde_json::json!({ "channel": leg.channel_id.0, "messageId": leg.message_id })),
        ..TimelineItem::new(leg.late_at?, "late_delivery")
    })
}

fn of_fact(fact: &MessageFact) -> TimelineItem {
    let detail = serde_json::from_str(&fact.detail)
        .ok()
        .filter(|detail: &serde_json::Value| detail.as_object().is_none_or(|detail| !detail.is_empty()));
    // What was done from here was told by no event.
    if fact.event_id == EventId::MIN {
        return TimelineItem {
            detail,
            ..TimelineItem::new(fact.at, fact.kind.clone())
        };
    }
    TimelineItem {
        occurred_at: Some(Time(fact.at)),
        event_id: Some(fact.event_id),
        detail,
        // An event's id bears the time of its arrival.
        ..TimelineItem::new(fact.event_id.made_at_millis(), fact.kind.clone())
    }
}

/// One try of a message at Meta, with what was said. Credentials are not part of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt)]
pub struct AttemptView {
    /// Its id.
    #[schema(value_type = String)]
    id: AttemptId,
    /// The request's body.
    #[schema(value_type = serde_json::Value)]
    request: serde_json::Value,
    /// When it ended; absent while it is under way.
    ended_at: Option<Time>,
    /// How it ended: `accepted`, `temporary`, `throttled`, `pair_limit`, `credentials`, `unknown` or `failed`.
    outcome: Option<String>,
    /// The status of Meta's answer.
    http_status: Option<u16>,
    /// Meta's answer.
    #[schema(value_type = Option<serde_json::Value>)]
    answer: Option<serde_json::Value>,
    /// How long the call took, in milliseconds.
    duration_ms: Option<f64>,
    /// What Meta, or Tidings, said against it.
    error: Option<ErrorView>,
}

impl AttemptView {
    fn new(attempt: &Attempt, platform: Option<Platform>) -> Self {
        let ended = attempt.ended.as_ref();
        Self {
            id: attempt.id,
            request: json_or_text(&attempt.request),
            ended_at: ended.map(|end| Time(end.at)),
            outcome: ended.map(|end| end.outcome.clone()),
            http_status: ended.and_then(|end| end.http_status),
            answer: ended.and_then(|end| end.answer.as_deref()).map(json_or_text),
            duration_ms: ended
                .map(|end| Duration::from_micros(end.duration_micros.unsigned_abs()).as_secs_f64() * 1000.0),
            error: ended
                .and_then(|end| end.failure.as_ref())
                .map(|failure| ErrorView::new(failure, platform)),
        }
    }
}

/// A body as it can be read best: an answer may be no JSON, or was shortened.
fn json_or_text(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
}

/// What a message waits for that still has to be sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Waiting)]
pub struct WaitingView {
    /// Where it is in the outbox.
    state: EntryStateWord,
    /// Not before.
    due_at: Time,
    /// Not after.
    expires_at: Time,
    /// How many tries have counted against it.
    attempts: u32,
    /// What it waits for: something of its own, or what its whole channel waits for.
    waits_for: WaitWord,
    /// Until when it waits for that, where it is known.
    waits_until: Option<Time>,
    /// Why it waits, in more words.
    reason: Option<String>,
}

impl WaitingView {
    fn new(entry: &OutboxEntry, pace: Option<&ChannelPace>, now: Millis) -> Self {
        let (waits_for, until) = entry.waits_for(pace, now);
        Self {
            waits_for: waits_for.into(),
            waits_until: until.map(Time),
            state: entry.state.into(),
            due_at: Time(entry.due_at),
            expires_at: Time(entry.expires_at),
            attempts: entry.attempts,
            reason: entry.reason.clone(),
        }
    }
}
