//! `POST /api/v1/messages/send`.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_meta::notification::Platform;
use utoipa::{IntoParams, ToSchema};

use crate::access::Caller;
use crate::app::App;
use crate::conversations::content::Content;
use crate::conversations::model::{ChannelId, Sender};
use crate::http::extract::{FromParameters, Parameters, Query, RawJson};
use crate::http::problem::{Code, Problem};
use crate::ids::{ContactId, ConversationId, MessageId};
use crate::sending::accept::{self, AcceptError, Idempotency, Order, To};

/// Characters of an `Idempotency-Key`.
const KEY_CHARS_MAX: usize = 255;
/// Bytes of `metadata`.
const METADATA_BYTES_MAX: usize = 4_096;

/// A message to send: `message` for plain words, or `content` for any kind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"channel": "whatsapp", "to": "+31612345678", "message": "Your table is ready."}))]
pub struct SendRequest {
    /// The channel to send by; may be left out with a conversation.
    #[serde(default)]
    channel: Option<String>,
    /// To whom.
    to: Recipient,
    /// Plain words.
    #[serde(default)]
    message: Option<String>,
    /// Any kind of content that the channel can be sent.
    #[serde(default)]
    content: Option<Content>,
    /// The id of the message that this one answers.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reply_to: Option<String>,
    /// When it is no longer worth sending; a day from now if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// A document of your own that comes back with the message; 4 KiB at most.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
}

/// A recipient.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Recipient {
    /// A phone number, business-scoped user id, or Instagram-scoped id.
    Address(String),
    /// A contact.
    Contact {
        /// Its id.
        contact: String,
    },
    /// A conversation.
    Conversation {
        /// Its id.
        conversation: String,
    },
}

/// A message that was taken.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SendAnswer {
    /// Its id.
    #[schema(value_type = String, example = "msg_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b")]
    message_id: MessageId,
    /// Always `queued`; `GET /api/v1/messages/{id}` tells the rest.
    status: &'static str,
}

/// How a message is taken.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SendOptions {
    /// `true`: taken also while sending is stopped; it waits until it is started again.
    #[param(value_type = Option<bool>)]
    queue: bool,
}

impl FromParameters for SendOptions {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            queue: parameters.flag("queue")?,
        })
    }
}

/// Takes a message for sending.
#[utoipa::path(post, path = "/api/v1/messages/send", tag = "Messages", request_body = SendRequest,
    params(SendOptions, ("Idempotency-Key" = Option<String>, Header, description = "The same key and body is one message")),
    responses(
        (status = 202, description = "It will be sent, or its failure shown", body = SendAnswer),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No API key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such contact or conversation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The window is closed, or the key was used for another request", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Sending is stopped, the channel cannot send, or the store cannot keep it", body = Problem, content_type = "application/problem+json")))]
pub async fn send(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(options): Query<SendOptions>,
    request: RawJson<SendRequest>,
) -> Result<Response, Problem> {
    let is_short = request.value.message.is_some();
    let order = Order {
        queue: options.queue,
        ..order(request.value, key_of(&headers, caller, &request.raw)?)?
    };

    let accepted = accept::accept(&app, order)
        .await
        .map_err(|error| as_asked(error.into(), is_short))?;

    let mut answer = (
        StatusCode::ACCEPTED,
        axum::Json(SendAnswer {
            message_id: accepted.message_id,
            status: "queued",
        }),
    )
        .into_response();
    if accepted.repeated {
        answer
            .headers_mut()
            .insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(answer)
}

/// Names fields as the caller wrote them: in the short form the text stands in `message`.
fn as_asked(mut problem: Problem, is_short: bool) -> Problem {
    for error in problem
        .errors
        .iter_mut()
        .filter(|error| is_short && error.field == "content.text")
    {
        "message".clone_into(&mut error.field);
    }
    problem
}

fn key_of(headers: &HeaderMap, caller: Caller, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let Some(header) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match header.to_str().map(str::trim) {
        Ok(key) if !key.is_empty() && key.len() <= KEY_CHARS_MAX => Ok(Some(Idempotency::new(caller.id(), key, body))),
        _ => {
            let detail = format!("The header has 1 to {KEY_CHARS_MAX} visible ASCII characters.");
            Err(Problem::new(Code::InvalidField, "`Idempotency-Key` cannot be used.").field("Idempotency-Key", detail))
        }
    }
}

fn order(request: SendRequest, idempotency: Option<Idempotency>) -> Result<Order, Problem> {
    let invalid = |field: &str, detail: &str| {
        Problem::new(Code::InvalidField, format!("`{field}` is wrong.")).field(field, detail)
    };
    let content = match (request.message, request.content) {
        (Some(message), None) => Content::text(message),
        (None, Some(content)) => content,
        (Some(_), Some(_)) => {
            return Err(invalid(
                "message",
                "is the short form of `content`: give one of the two",
            ));
        }
        (None, None) => return Err(invalid("message", "is missing: give `message`, or `content`")),
    };
    let to = match request.to {
        Recipient::Address(address) => To::Address(address),
        Recipient::Contact { contact } => To::Contact(
            contact
                .parse::<ContactId>()
                .map_err(|error| invalid("to.contact", &error.to_string()))?,
        ),
        Recipient::Conversation { conversation } => To::Conversation(
            conversation
                .parse::<ConversationId>()
                .map_err(|error| invalid("to.conversation", &error.to_string()))?,
        ),
    };
    if request.channel.is_none() && !matches!(to, To::Conversation(_)) {
        return Err(invalid("channel", "is missing: name the channel to send by"));
    }
    let reply_to = request
        .reply_to
        .map(|id| {
            id.parse::<MessageId>()
                .map_err(|error| invalid("replyTo", &error.to_string()))
        })
        .transpose()?;
    let metadata = request
        .metadata
        .filter(|metadata| !metadata.is_null())
        .map(|metadata| metadata.to_string());
    if metadata
        .as_ref()
        .is_some_and(|metadata| metadata.len() > METADATA_BYTES_MAX)
    {
        return Err(invalid("metadata", &format!("has {METADATA_BYTES_MAX} bytes at most")));
    }
    Ok(Order {
        channel: request.channel.map(ChannelId),
        to,
        content,
        sender: Sender::Api,
        reply_to,
        expires_at: request.expires_at.map(Timestamp::as_millisecond),
        metadata,
        queue: false,
        idempotency,
    })
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::UnknownChannel(name) => {
                Self::new(Code::UnknownChannel, format!("There is no channel `{name}`."))
                    .field("channel", "must be one of `GET /api/v1/channels`")
            }
            AcceptError::ChannelNotUsable(channel) => Self::new(
                Code::ChannelNotUsable,
                format!("Channel `{channel}` has no access token: it can only receive."),
            ),
            AcceptError::ChannelIsRoute(channel) => Self::new(
                Code::InvalidField,
                format!(
                    "Channel `{channel}` is a route that messages of other channels can take, and not one to send by."
                ),
            )
            .field("channel", "must be a channel of WhatsApp or Instagram"),
            AcceptError::OutboundStopped(channel) => {
                let what = channel.map_or_else(|| "Sending".to_owned(), |id| format!("Sending by channel `{id}`"));
                Self::new(
                    Code::OutboundStopped,
                    format!("{what} is stopped; with `?queue=true` the message waits until it is started again."),
                )
            }
            AcceptError::InvalidRecipient(detail) => {
                Self::new(Code::InvalidRecipient, "The recipient cannot be one of this channel's.").field("to", detail)
            }
            AcceptError::UnknownRecipient(detail) => {
                Self::new(Code::UnknownRecipient, detail.clone()).field("to", detail)
            }
            AcceptError::Content(faults) => {
                let problem = Self::new(Code::UnsupportedContent, "The content cannot be sent as it is.");
                faults
                    .into_iter()
                    .fold(problem, |problem, fault| problem.field(fault.field, fault.detail))
            }
            AcceptError::ReplyTo => Self::new(Code::InvalidField, "`replyTo` is wrong.").field(
                "replyTo",
                "must be a message of this conversation that Meta has given an id",
            ),
            AcceptError::WindowClosed { platform } => Self::new(
                Code::WindowClosed,
                match platform {
                    Platform::WhatsApp => {
                        "The contact has not written in the last 24 hours: send an approved template (`content.type` = `template`)."
                    }
                    Platform::Instagram => {
                        "The contact has not written in the last 24 hours: wait until they write again."
                    }
                },
            ),
            AcceptError::Expired => {
                Self::new(Code::InvalidField, "`expiresAt` is wrong.").field("expiresAt", "must be in the future")
            }
            AcceptError::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "This `Idempotency-Key` was used for another body: use a new key for a new message.",
            ),
            AcceptError::Store(error) => Self::from(error),
        }
    }
}
