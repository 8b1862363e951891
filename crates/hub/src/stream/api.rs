//! `GET /api/v1/stream`: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use utoipa::IntoParams;

use crate::access::Caller;
use crate::app::App;
use crate::conversations::model::ChannelId;
use crate::http::extract::{FromParameters, Parameters, Query};
use crate::http::problem::{Code, Problem};
use crate::stream::subscriber::{SubscribeError, Subscriber, Wanted};
use crate::stream::tell::{Place, StreamData, TYPES};

/// When to come again if no stream can be had.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The id that a client has seen last, as browsers send it.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a subscriber wants to be told.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// These types, with commas between them: `event`, `message.created`, `message.status`, `message.updated`, `contact.merged`,
    /// `conversation.updated`. All of them without it.
    #[param(value_type = Option<String>, example = "message.created,message.status")]
    types: Vec<&'static str>,
    /// On this channel.
    #[param(value_type = Option<String>)]
    channel: Option<ChannelId>,
    /// Everything after this id; the header `Last-Event-ID` goes before it.
    #[param(value_type = Option<String>, example = "17.1")]
    after: Option<Place>,
}

impl FromParameters for StreamQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        let expected = format!("a list of types ({}) with commas between them", TYPES.join(", "));
        Ok(Self {
            types: parameters.parsed("types", &expected, types)?.unwrap_or_default(),
            channel: parameters.text("channel").map(ChannelId),
            after: parameters
                .text("after")
                .map(|text| text.parse().map_err(|()| not_an_id("after")))
                .transpose()?,
        })
    }
}

fn types(text: &str) -> Option<Vec<&'static str>> {
    text.split(',')
        .map(|wanted| TYPES.into_iter().find(|known| *known == wanted.trim()))
        .collect()
}

fn not_an_id(name: &str) -> Problem {
    Problem::of_field(Code::InvalidCursor, name, "is not an id of this stream")
}

/// Tells what happens, as it happens, as server-sent events. Each has an id; `Last-Event-ID` resumes behind it. `stream.reset` says that
/// what came in between is not kept any more.
#[utoipa::path(get, path = "/api/v1/stream", tag = "Stream",
    params(StreamQuery, ("Last-Event-ID" = Option<String>, Header, description = "Everything after this id")), responses(
    (status = 200, description = "Server-sent events, without end; the schema is that of their data", body = StreamData, content_type = "text/event-stream"),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "As many streams are open as may be", body = Problem, content_type = "application/problem+json")))]
pub async fn stream(
    _: Caller,
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<StreamQuery>,
) -> Result<Response, Problem> {
    let after = match headers.get(LAST_EVENT_ID).map(axum::http::HeaderValue::to_str) {
        None | Some(Ok("")) => query.after,
        Some(Ok(id)) => Some(id.parse().map_err(|()| not_an_id("Last-Event-ID"))?),
        Some(Err(_)) => return Err(not_an_id("Last-Event-ID")),
    };
    let wanted = Wanted {
        types: query.types,
        channel_id: query.channel,
    };

    let subscriber = Subscriber::subscribe(&app, wanted, after).await?;

    let frames = stream::unfold(subscriber, async |mut subscriber| {
        let frame = subscriber.next().await?;
        Some((Ok::<_, Infallible>(frame), subscriber))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies of the nginx kind would hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Full => {
                Self::new(Code::Overloaded, "As many live streams are open as may be.").retry_after(RETRY_AFTER)
            }
            SubscribeError::NotReady => {
                Self::new(Code::Overloaded, "The live stream has not begun yet.").retry_after(RETRY_AFTER)
            }
            SubscribeError::Store(error) => Self::from(error),
        }
    }
}
