//! `/admin/queue` and `/admin/messages`: what waits, what has failed, and going on with it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Caller;
use crate::app::App;
use crate::conversations::api::MessageList;
use crate::conversations::model::{ChannelId, Millis, Status};
use crate::conversations::timeline::WaitWord;
use crate::conversations::view::{MessageView, Messages};
use crate::http::cursor;
use crate::http::extract::{self, FromParameters, Id, Parameters, Query};
use crate::http::problem::{Code, Problem};
use crate::http::timestamp::{self, Time};
use crate::ids::MessageId;
use crate::sending::again::{self, AgainError};
use crate::sending::api;
use crate::sending::cancel;
use crate::sending::queue::{self, ChannelQueue, EndedFilter};
use crate::store::queue::EndedPlace;
use crate::store::{StoreError, Tx};

/// How many a list has at most.
const LIMIT_MAX: u32 = 200;
/// How many messages are queued again by one call, at most and usually.
const RETRY_MAX: u32 = 1_000;

/// The queue of messages that still have to be sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Queue)]
pub struct QueueView {
    /// How many messages wait to be sent, are being sent, or are of unknown outcome.
    length: i64,
    /// It is exactly so many; else so many at least, since no more are counted.
    is_exact: bool,
    /// How many wait for their time, beside those.
    scheduled: i64,
    /// The one that waits longest.
    oldest: Option<OldestView>,
    /// How long it takes until the queue is empty, at the pace of the last five seconds, or the one that the channel may go at, in seconds; absent
    /// where something waits on a channel that sends nothing.
    drain_secs: Option<i64>,
    /// By channel.
    channels: Vec<ChannelQueueView>,
}

/// The message that waits longest.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OldestMessage)]
pub struct OldestView {
    /// The message.
    #[schema(value_type = String)]
    message_id: MessageId,
    /// Since when.
    queued_at: Time,
    /// For how long, in seconds.
    age_secs: i64,
}

/// The queue of one channel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChannelQueue)]
pub struct ChannelQueueView {
    /// The channel.
    channel_id: String,
    /// How many messages wait to be sent, are being sent, or are of unknown outcome.
    length: i64,
    /// It is exactly so many; else so many at least.
    is_exact: bool,
    /// The same by state: `waiting`, `sending`, `unknown`.
    states: BTreeMap<&'static str, i64>,
    /// Those that wait on a pause, by reason: `temporary`, `throttled`, `pair_limit`, `credentials`, … Of many, the first 2,000.
    paused: BTreeMap<String, i64>,
    /// How many wait for their time, beside those.
    scheduled: i64,
    /// The one that waits longest.
    oldest: Option<OldestView>,
    /// How many messages Meta has accepted a second, over the last five seconds.
    pace: f64,
    /// How long it takes until the queue is empty at this pace, in seconds.
    drain_secs: Option<i64>,
    /// What the whole channel waits for: `rate_limit`, `throttled`, `stopped`, `credentials`, `switched`, `circuit_open`, …
    waits_for: Option<WaitWord>,
    /// Until when, where that is known.
    waits_until: Option<Time>,
}

impl QueueView {
    fn new(channels: &[ChannelQueue], now: Millis) -> Self {
        let oldest = channels
            .iter()
            .filter_map(|channel| channel.oldest)
            .min_by_key(|(_, at)| *at);
        // The channels drain side by side: the slowest one decides.
        let drains: Option<Vec<i64>> = channels.iter().map(ChannelQueue::drain_secs).collect();
        Self {
            length: channels.iter().map(ChannelQueue::length).sum(),
            is_exact: !channels.iter().any(|channel| channel.is_capped),
            scheduled: channels.iter().map(|channel| channel.scheduled).sum(),
            oldest: oldest.map(|oldest| OldestView::new(oldest, now)),
            drain_secs: drains.map(|drains| drains.into_iter().max().unwrap_or(0)),
            channels: channels
                .iter()
                .map(|channel| ChannelQueueView::new(channel, now))
                .collect(),
        }
    }
}

impl OldestView {
    fn new((message_id, queued_at): (MessageId, Millis), now: Millis) -> Self {
        Self {
            message_id,
            queued_at: Time(queued_at),
            age_secs: (now - queued_at).max(0) / 1000,
        }
    }
}

impl ChannelQueueView {
    fn new(queue: &ChannelQueue, now: Millis) -> Self {
        Self {
            channel_id: queue.channel_id.0.clone(),
            length: queue.length(),
            is_exact: !queue.is_capped,
            states: queue
                .states
                .iter()
                .map(|(state, count)| (state.as_str(), *count))
                .collect(),
            paused: queue.paused.clone(),
            scheduled: queue.scheduled,
            oldest: queue.oldest.map(|oldest| OldestView::new(oldest, now)),
            pace: queue.pace,
            drain_secs: queue.drain_secs(),
            waits_for: queue.waits_for.map(|(waits_for, _)| waits_for.into()),
            waits_until: queue.waits_for.and_then(|(_, until)| until).map(Time),
        }
    }
}

/// Shows what waits to be sent: how much, since when, why, and how long it will take.
#[utoipa::path(get, path = "/admin/queue", tag = "Queue", responses(
    (status = 200, description = "The queue", body = QueueView)))]
pub async fn show_queue(_: Caller, State(app): State<App>) -> Result<Json<QueueView>, Problem> {
    let channels = queue::look(&app).await?;
    Ok(Json(QueueView::new(&channels, app.clock.now_millis())))
}

/// Which page of the newest messages.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecentQuery {
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<MessageId>,
}

impl FromParameters for RecentQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            limit: parameters.limit(LIMIT_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

/// Lists the newest messages, of both directions and all channels.
#[utoipa::path(get, path = "/admin/messages/recent", tag = "Queue", params(RecentQuery), responses(
    (status = 200, description = "A page of messages", body = MessageList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn list_recent(
    _: Caller,
    State(app): State<App>,
    Query(query): Query<RecentQuery>,
) -> Result<Json<MessageList>, Problem> {
    let RecentQuery { limit, cursor } = query;
    let find = move |tx: &mut Tx<'_>| tx.recent_messages(cursor, limit + 1).map(Some);
    let list = MessageList::read(&app, limit, find, |message| message.id).await?;
    Ok(Json(list.unwrap_or_default()))
}

/// Which messages that have failed.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FailedQuery {
    /// On this channel.
    #[param(value_type = Option<String>)]
    channel: Option<ChannelId>,
    /// `failed` or `expired`; both if left out.
    #[param(value_type = Option<String>)]
    status: Option<Status>,
    /// With this code of Meta's; 0 for a failure of Tidings' own.
    code: Option<i64>,
    /// Made at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Millis>,
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<(Millis, MessageId)>,
}

impl FromParameters for FailedQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            channel: parameters.text("channel").map(ChannelId),
            status: parameters.parsed("status", "`failed` or `expired`", ended_status)?,
            code: parameters.parsed("code", "a number", |text| text.parse().ok())?,
            since: parameters.time("since")?,
            limit: parameters.limit(LIMIT_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

fn ended_status(word: &str) -> Option<Status> {
    Status::from_word(word).filter(|status| matches!(status, Status::Failed | Status::Expired))
}

fn place((created_at, id): (Millis, MessageId)) -> EndedPlace {
    EndedPlace { created_at, id }
}

fn cursor_of(place: EndedPlace) -> String {
    cursor::encode(&(place.created_at, place.id))
}

/// Lists messages that failed or expired, the newest first. A page may be short, or empty, and go on all the same.
#[utoipa::path(get, path = "/admin/messages/failed", tag = "Queue", params(FailedQuery), responses(
    (status = 200, description = "A page of messages", body = MessageList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn list_failed(
    _: Caller,
    State(app): State<App>,
    Query(query): Query<FailedQuery>,
) -> Result<Json<MessageList>, Problem> {
    let filter = EndedFilter {
        channel_id: query.channel,
        status: query.status,
        code: query.code,
        since: query.since,
    };
    let (after, limit) = (query.cursor.map(place), query.limit);
    let read = app.store.read(move |tx| {
        let page = queue::ended(tx, &filter, after, limit)?;
        let beside = Messages::load(tx, &page.messages)?;
        Ok::<_, StoreError>((page, beside))
    });
    let (page, beside) = read.await?;
    let next_cursor = page.next.map(cursor_of);
    Ok(Json(MessageList::new(&app, &page.messages, &beside, next_cursor)))
}

/// Which messages to queue again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailedRetryRequest {
    /// On this channel.
    #[serde(default)]
    channel: Option<String>,
    /// `failed` or `expired`; both if left out.
    #[serde(default)]
    status: Option<String>,
    /// With this code of Meta's; 0 for a failure of Tidings' own.
    #[serde(default)]
    code: Option<i64>,
    /// Made at this time or later.
    #[serde(default)]
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Also those that may have arrived, and may so be doubled.
    #[serde(default)]
    force: Option<bool>,
    /// How many at most, 1 to 1,000; 1,000 if left out.
    #[serde(default)]
    limit: Option<u32>,
    /// Where to go on: `nextCursor` of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

/// What came of queueing messages again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedRetryAnswer {
    /// How many are queued again.
    queued: u32,
    /// How many are not, since they may have arrived: with `force` they are.
    may_have_arrived: u32,
    /// How many cannot be sent again.
    not_retryable: u32,
    /// Where to go on; absent if none is left.
    next_cursor: Option<String>,
}

/// Queues messages that failed or expired again, by filter, the newest first, up to 1,000 a call.
#[utoipa::path(post, path = "/admin/messages/failed/retry", tag = "Queue", request_body = FailedRetryRequest, responses(
    (status = 200, description = "How many are queued again", body = FailedRetryAnswer),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn retry_failed(
    caller: Caller,
    State(app): State<App>,
    extract::Json(request): extract::Json<FailedRetryRequest>,
) -> Result<Json<FailedRetryAnswer>, Problem> {
    let invalid = |field: &str, detail: String| Problem::of_field(Code::InvalidField, field, detail);
    let status = request
        .status
        .map(|word| ended_status(&word).ok_or_else(|| invalid("status", "must be `failed` or `expired`".to_owned())))
        .transpose()?;
    let since = request
        .since
        .map(|text| timestamp::parse(&text).ok_or_else(|| invalid("since", format!("must be {}", timestamp::EXPECTED))))
        .transpose()?;
    let limit = request.limit.unwrap_or(RETRY_MAX);
    if !(1..=RETRY_MAX).contains(&limit) {
        return Err(invalid("limit", format!("must be a number from 1 to {RETRY_MAX}")));
    }
    let after = request
        .cursor
        .map(|text| cursor::decode("cursor", &text).map(place))
        .transpose()?;
    let filter = EndedFilter {
        channel_id: request.channel.map(ChannelId),
        status,
        code: request.code,
        since,
    };

    let retried = queue::retry_ended(&app, &filter, after, limit, request.force.unwrap_or(false), caller.id()).await?;

    Ok(Json(FailedRetryAnswer {
        queued: retried.queued,
        may_have_arrived: retried.may_have_arrived,
        not_retryable: retried.not_retryable,
        next_cursor: retried.next.map(cursor_of),
    }))
}

/// On which channel to go on.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProcessQuery {
    /// On this one alone.
    #[param(value_type = Option<String>)]
    channel: Option<ChannelId>,
}

impl FromParameters for ProcessQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            channel: parameters.text("channel").map(ChannelId),
        })
    }
}

/// What came of going on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessAnswer {
    /// How many messages waited on a pause, and are due now.
    released: u64,
    /// The same by channel.
    channels: BTreeMap<String, u64>,
    /// How many are left as they are, since it is not known yet whether Meta has taken them: that is settled by itself.
    unknown: i64,
}

/// Goes on at once with everything that waits on a pause. What is scheduled, under way or of unknown outcome stays as it is.
#[utoipa::path(post, path = "/admin/messages/process-queue", tag = "Queue", params(ProcessQuery), responses(
    (status = 200, description = "How many messages are due now", body = ProcessAnswer),
    (status = 422, description = "There is no such channel", body = Problem, content_type = "application/problem+json")))]
pub async fn process_queue(
    caller: Caller,
    State(app): State<App>,
    Query(query): Query<ProcessQuery>,
) -> Result<Json<ProcessAnswer>, Problem> {
    if let Some(channel) = query.channel.as_ref().filter(|id| app.channels.get(id).is_none()) {
        return Err(
            Problem::new(Code::UnknownChannel, format!("There is no channel `{channel}`."))
                .field("channel", "must be one of `GET /api/v1/channels`"),
        );
    }
    let processed = queue::process(&app, query.channel.as_ref(), caller.id()).await?;
    Ok(Json(ProcessAnswer {
        released: processed.released.iter().map(|(_, count)| count).sum(),
        channels: processed
            .released
            .into_iter()
            .map(|(id, count)| (id.0, count))
            .collect(),
        unknown: processed.unknown,
    }))
}

/// How to send again.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RetryQuery {
    /// `true`: also if it may have arrived, and may so be doubled.
    #[param(value_type = Option<bool>)]
    force: bool,
}

impl FromParameters for RetryQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            force: parameters.flag("force")?,
        })
    }
}

/// Sends a message again: one that waits on a pause is due now; one that failed or expired is queued anew, with attempts and a day of its own.
#[utoipa::path(post, path = "/admin/messages/{id}/retry", tag = "Queue",
    params(("id" = String, Path, description = "The message"), RetryQuery), responses(
    (status = 200, description = "The message, as it is now", body = MessageView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It cannot be sent again, or may have arrived", body = Problem, content_type = "application/problem+json")))]
pub async fn retry_message(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<MessageId>,
    Query(query): Query<RetryQuery>,
) -> Result<Json<MessageView>, Problem> {
    let message = again::retry(&app, id, query.force, caller.id()).await?;
    Ok(Json(api::view(&app, message).await?))
}

/// Cancels a message that is not yet sent: the same as `DELETE /api/v1/messages/{id}`.
#[utoipa::path(post, path = "/admin/messages/{id}/cancel", tag = "Queue",
    params(("id" = String, Path, description = "The message")), responses(
    (status = 200, description = "The message, cancelled", body = MessageView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is being sent, or has ended", body = Problem, content_type = "application/problem+json")))]
pub async fn cancel_queued(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<MessageId>,
) -> Result<Json<MessageView>, Problem> {
    let cancelled = cancel::cancel(&app, id, Some(caller.id())).await?;
    Ok(Json(api::view(&app, cancelled).await?))
}

impl From<AgainError> for Problem {
    fn from(error: AgainError) -> Self {
        match error {
            AgainError::NotFound => Self::not_found("message"),
            AgainError::NotRetryable(why) => {
                Self::new(Code::NotRetryable, format!("The message cannot be sent again: {why}."))
            }
            AgainError::MayHaveArrived => Self::new(
                Code::MayHaveArrived,
                "It is not known whether Meta has taken the message: the contact may have it already.",
            ),
            AgainError::WentOn(channel) => Self::new(
                Code::MayHaveArrived,
                format!("The message has gone on by channel `{channel}`: the contact may have it from there."),
            ),
            AgainError::Store(error) => Self::from(error),
        }
    }
}
