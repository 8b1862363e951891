//! `/api/webhooks/events`: the log of what Meta told, and telling it again; `/api/webhooks/notifications/quarantined`.
//!
//! A list is cheap however many events there are, and however rare those that it is asked for: it walks along one index from the newest, looks
//! at a bounded number of events, and says where it goes on. Its total comes from counters, or from looking at as many (`totalIsExact` says
//! which). A replay finds its events in the same way, without holding up who writes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_meta::notification::{EventKind, Platform};
use utoipa::{IntoParams, ToSchema};

use crate::access::Caller;
use crate::app::App;
use crate::channels::api::PlatformWord;
use crate::conversations::model::{ChannelId, Millis};
use crate::http::cursor;
use crate::http::extract::{self, FromParameters, Id, Parameters, Query};
use crate::http::problem::{Code, Problem};
use crate::http::timestamp::{self, Time};
use crate::http::word::words;
use crate::ids::{EventId, NotificationId};
use crate::ingest::model::{EventStatus, StoredEvent};
use crate::store::StoreError;
use crate::store::events::{EventFilter, QuarantinedNotification};

/// How many a list has at most.
const LIMIT_MAX: u32 = 500;
/// How far a list is gone through by its offset; further on it goes by the cursor.
const OFFSET_MAX: u32 = 10_000;
/// How many events one call of a replay takes.
const REPLAY_MAX: u32 = 1_000;
/// How many of them are put back into the queue in one unit of work.
const REPLAY_UNIT: usize = 100;
/// How many quarantined notifications a list has at most.
const QUARANTINED_MAX: u32 = 200;
/// How much of a quarantined body a list shows.
const QUARANTINED_BYTES: u32 = 4_096;

words! {
    EventStatusWord of EventStatus as "EventStatus";
    EventKindWord of EventKind as "EventKind";
}

/// Which events, and how many.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct EventQuery {
    /// Of this kind, in either spelling: `messages`, `messaging_seen`, `message_reads`…
    #[param(value_type = Option<String>)]
    event_type: Option<EventKind>,
    /// With this status: `pending`, `processed`, `ignored`, `failed` or `dead`.
    #[param(value_type = Option<String>)]
    status: Option<EventStatus>,
    /// Of this product: `whatsapp` or `instagram`.
    #[param(value_type = Option<String>)]
    channel_kind: Option<Platform>,
    /// Of this channel.
    #[param(value_type = Option<String>)]
    channel: Option<ChannelId>,
    /// Of this account at Meta.
    account: Option<String>,
    /// Received then or later.
    #[param(value_type = Option<String>, format = "date-time")]
    from: Option<Millis>,
    /// Received before.
    #[param(value_type = Option<String>, format = "date-time")]
    to: Option<Millis>,
    /// With this text in the external id or the raw value; the case of letters does not matter.
    q: Option<String>,
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: u32,
    /// How many of those that are found to leave out first. Beyond the 10,000 that one list looks at, go on by `cursor`.
    #[param(value_type = Option<u32>, maximum = 10_000, default = 0)]
    offset: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<EventId>,
}

impl FromParameters for EventQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            event_type: parameters.parsed("eventType", EVENT_KIND, EventKind::from_name)?,
            status: parameters.parsed("status", EVENT_STATUS, EventStatus::from_word)?,
            channel_kind: parameters.parsed("channelKind", CHANNEL_KIND, platform)?,
            channel: parameters.text("channel").map(ChannelId),
            account: parameters.text("account"),
            from: parameters.time("from")?,
            to: parameters.time("to")?,
            q: parameters.text("q"),
            limit: parameters.limit(LIMIT_MAX)?,
            offset: parameters.offset(OFFSET_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

const EVENT_KIND: &str = "a kind of event";
const EVENT_STATUS: &str = "a status of an event";
const CHANNEL_KIND: &str = "`whatsapp` or `instagram`";

fn platform(word: &str) -> Option<Platform> {
    Platform::ALL.iter().copied().find(|platform| platform.as_str() == word)
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    /// The newest first.
    events: Vec<EventView>,
    /// How many there are in all.
    total: i64,
    /// Whether `total` is all of them; otherwise there may be more, since only the newest were counted.
    total_is_exact: bool,
    /// How many were asked for.
    limit: u32,
    /// How many were left out first.
    offset: u32,
    /// Where it goes on; absent at the end. A list that leaves events out looks at 10,000 of them: it may have fewer than `limit`, or none, and
    /// go on all the same.
    next_cursor: Option<String>,
}

/// One change that Meta told of.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventView {
    /// Its id.
    #[schema(value_type = String, example = "evt_019a9f0cb2007a5f8d3e6b1c2d4f5a60")]
    id: EventId,
    /// Whose product told it.
    channel_kind: PlatformWord,
    /// The channel; absent if no channel has the account.
    channel_id: Option<String>,
    /// What kind of event.
    event_type: EventKindWord,
    /// Meta's id of the number or account.
    account_id: String,
    /// What makes it what it is: a repeat has the same.
    external_id: String,
    /// When it happened, by Meta's clock.
    occurred_at: Option<Time>,
    /// When it came in.
    received_at: Time,
    /// Whether its notification was signed.
    signed: bool,
    /// Where it is on its way.
    status: EventStatusWord,
    /// How often it was processed.
    attempts: u32,
    /// Why it failed last, or why it is ignored.
    error: Option<String>,
    /// When it was last processed.
    processed_at: Option<Time>,
    /// How long that took, in milliseconds.
    processing_ms: Option<f64>,
}

impl From<&StoredEvent> for EventView {
    fn from(event: &StoredEvent) -> Self {
        Self {
            id: event.id,
            channel_kind: event.platform.into(),
            channel_id: event.channel_id.as_ref().map(|channel| channel.0.clone()),
            event_type: event.kind.into(),
            account_id: event.account.clone(),
            external_id: event.external_id.clone(),
            occurred_at: event.occurred_at.map(Time),
            received_at: Time(event.received_at),
            signed: event.signed,
            status: event.status.into(),
            attempts: event.attempts,
            error: event.error.clone(),
            processed_at: event.processed_at.map(Time),
            processing_ms: event.processing_micros.map(|micros| micros as f64 / 1000.0),
        }
    }
}

/// Lists events, the newest first.
#[utoipa::path(get, path = "/api/webhooks/events", tag = "Events", params(EventQuery), responses(
    (status = 200, description = "A page of events", body = EventList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn list_events(
    _: Caller,
    State(app): State<App>,
    Query(query): Query<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    let (limit, offset) = (query.limit, query.offset);
    let filter = EventFilter {
        kind: query.event_type,
        status: query.status,
        platform: query.channel_kind,
        channel_id: query.channel,
        account: query.account,
        from: query.from,
        to: query.to,
        text: query.q,
        before: query.cursor,
    };

    let read = app.store.read(move |tx| {
        let page = tx.events(&filter, limit, offset)?;
        let count = tx.count_events_found(&filter)?;
        Ok::<_, StoreError>((page, count))
    });
    let (page, count) = read.await?;

    Ok(Json(EventList {
        events: page.events.iter().map(EventView::from).collect(),
        total: count.total,
        total_is_exact: count.is_exact,
        limit,
        offset,
        next_cursor: page.next.as_ref().map(cursor::encode),
    }))
}

/// An event with its raw value.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventWithPayload {
    #[serde(flatten)]
    event: EventView,
    /// What Meta sent: one `entry` with this one item. Absent if it cannot be read as JSON any more.
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
}

/// Shows one event with its raw value.
#[utoipa::path(get, path = "/api/webhooks/events/{id}", tag = "Events",
    params(("id" = String, Path, description = "The event")), responses(
    (status = 200, description = "The event", body = EventWithPayload),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json")))]
pub async fn show_event(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<EventId>,
) -> Result<Json<EventWithPayload>, Problem> {
    let found = app.store.read(move |tx| tx.event_by_id(id)).await?;
    let event = found.ok_or_else(|| Problem::not_found("event"))?;
    let payload = RawValue::from_string(event.payload.clone()).ok();
    Ok(Json(EventWithPayload {
        event: EventView::from(&event),
        payload,
    }))
}

/// What is replayed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// How many events are processed again.
    replayed: usize,
    /// Pass it on as `cursor` to replay the next ones; absent if there are none. A call looks at 10,000 events, and may go on without having
    /// found any.
    next_cursor: Option<String>,
}

/// Processes one event again. Its effect stands once all the same.
#[utoipa::path(post, path = "/api/webhooks/events/{id}/replay", tag = "Events",
    params(("id" = String, Path, description = "The event")), responses(
    (status = 202, description = "It waits to be processed", body = Replay),
    (status = 404, description = "There is no such event", body = Problem, content_type = "application/problem+json")))]
pub async fn replay_event(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<EventId>,
) -> Result<(StatusCode, Json<Replay>), Problem> {
    let now = app.clock.now_millis();
    let found = app.store.write(move |tx| tx.requeue_event(id, now)).await?;
    let event = found.ok_or_else(|| Problem::not_found("event"))?;
    app.projector.notify_one();
    Ok((
        StatusCode::ACCEPTED,
        Json(Replay {
            replayed: count_requeued(&[event]),
            next_cursor: None,
        }),
    ))
}

/// Which events are replayed; every part that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplayRequest {
    /// Of this kind, in either spelling.
    event_type: Option<String>,
    /// With this status.
    status: Option<String>,
    /// Of this product: `whatsapp` or `instagram`.
    channel_kind: Option<String>,
    /// Of this channel.
    channel: Option<String>,
    /// Of this account at Meta.
    account: Option<String>,
    /// Received then or later.
    #[schema(format = "date-time")]
    from: Option<String>,
    /// Received before.
    #[schema(format = "date-time")]
    to: Option<String>,
    /// With this text in the external id or the raw value; the case of letters does not matter.
    q: Option<String>,
    /// `nextCursor` of the call before.
    cursor: Option<String>,
}

impl ReplayRequest {
    fn filter(self) -> Result<EventFilter, Problem> {
        Ok(EventFilter {
            kind: field("eventType", self.event_type, EVENT_KIND, EventKind::from_name)?,
            status: field("status", self.status, EVENT_STATUS, EventStatus::from_word)?,
            platform: field("channelKind", self.channel_kind, CHANNEL_KIND, platform)?,
            channel_id: self.channel.map(ChannelId),
            account: self.account,
            from: field("from", self.from, timestamp::EXPECTED, timestamp::parse)?,
            to: field("to", self.to, timestamp::EXPECTED, timestamp::parse)?,
            text: self.q,
            before: self
                .cursor
                .map(|cursor| cursor::decode("cursor", &cursor))
                .transpose()?,
        })
    }
}

fn field<T>(
    name: &str,
    text: Option<String>,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    parse(&text)
        .map(Some)
        .ok_or_else(|| Problem::of_field(Code::InvalidField, name, format!("is not {expected}")))
}

/// Processes the events of a filter again, the newest first, 1,000 at most; an empty filter is all of them.
#[utoipa::path(post, path = "/api/webhooks/events/replay", tag = "Events", request_body = ReplayRequest, responses(
    (status = 202, description = "They wait to be processed", body = Replay),
    (status = 400, description = "The body is not JSON, or the cursor is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn replay_events(
    _: Caller,
    State(app): State<App>,
    extract::Json(request): extract::Json<ReplayRequest>,
) -> Result<(StatusCode, Json<Replay>), Problem> {
    let filter = request.filter()?;
    let now = app.clock.now_millis();
    let page = app.store.read(move |tx| tx.events(&filter, REPLAY_MAX, 0)).await?;
    let replayed = count_requeued(&page.events);
    let next_cursor = page.next.as_ref().map(cursor::encode);
    // Looking for them holds nobody up, and each part of them only for a moment.
    for part in page.events.chunks(REPLAY_UNIT) {
        let part = part.to_vec();
        app.store.write(move |tx| tx.requeue_events(&part, now)).await?;
        app.projector.notify_one();
    }
    Ok((StatusCode::ACCEPTED, Json(Replay { replayed, next_cursor })))
}

/// Those that waited already go on waiting.
fn count_requeued(found: &[StoredEvent]) -> usize {
    found
        .iter()
        .filter(|event| event.status != EventStatus::Pending)
        .count()
}

/// Which page of quarantined notifications.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct QuarantinedQuery {
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<NotificationId>,
}

impl FromParameters for QuarantinedQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            limit: parameters.limit(QUARANTINED_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

/// A page of quarantined notifications.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedList {
    /// The newest first.
    notifications: Vec<QuarantinedView>,
    /// Where it goes on; absent at the end.
    next_cursor: Option<String>,
}

/// A body that Meta has signed, but that is not what Meta sends; or one that was answered, and that the store then refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QuarantinedNotification)]
pub struct QuarantinedView {
    /// Its id.
    #[schema(value_type = String)]
    id: NotificationId,
    /// The product whose address it was posted to.
    channel_kind: PlatformWord,
    /// When.
    received_at: Time,
    /// What is wrong with it.
    reason: String,
    /// How long it is, in bytes.
    body_bytes: i64,
    /// Its beginning; bytes that are no text are shown as `�`.
    body_start: String,
}

impl From<&(QuarantinedNotification, i64)> for QuarantinedView {
    fn from((notification, body_bytes): &(QuarantinedNotification, i64)) -> Self {
        Self {
            id: notification.id,
            channel_kind: notification.platform.into(),
            received_at: Time(notification.received_at),
            reason: notification.reason.clone(),
            body_bytes: *body_bytes,
            body_start: String::from_utf8_lossy(&notification.body).into_owned(),
        }
    }
}

/// Lists quarantined notifications, the newest first.
#[utoipa::path(get, path = "/api/webhooks/notifications/quarantined", tag = "Events", params(QuarantinedQuery), responses(
    (status = 200, description = "A page of quarantined notifications", body = QuarantinedList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn list_quarantined(
    _: Caller,
    State(app): State<App>,
    Query(query): Query<QuarantinedQuery>,
) -> Result<Json<QuarantinedList>, Problem> {
    let QuarantinedQuery { limit, cursor } = query;
    let read = app
        .store
        .read(move |tx| tx.quarantined_beginnings(cursor, limit + 1, QUARANTINED_BYTES));
    let mut found = read.await?;
    let next_cursor = cursor::cut(&mut found, limit, |(notification, _)| notification.id);
    Ok(Json(QuarantinedList {
        notifications: found.iter().map(QuarantinedView::from).collect(),
        next_cursor,
    }))
}
