//! `POST /api/v1/messages/send`, `POST /api/v1/messages/batch`, `DELETE /api/v1/messages/{id}`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Caller;
use crate::app::App;
use crate::channels::model::ChannelKind;
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{ChannelId, Message, Sender};
use crate::conversations::view::{MessageView, Messages, StatusWord};
use crate::http::extract::{BulkJson, FromParameters, Id, Parameters, Query, RawJson};
use crate::http::problem::{Code, Problem};
use crate::http::word::words;
use crate::ids::{ContactId, ConversationId, MessageId};
use crate::sending::accept::{self, AHEAD_MAX, AcceptError, By, Idempotency, Order, To};
use crate::sending::batch::{self, BatchAnswer, BatchRequest};
use crate::sending::cancel::{self, CancelError};
use crate::sending::model::{Priority, Purpose};
use crate::sending::wait;
use crate::store::StoreError;

words! {
    PurposeWord of Purpose as "Purpose";
    PriorityWord of Priority as "Priority";
}

/// Characters of an `Idempotency-Key`.
const KEY_CHARS_MAX: usize = 255;
/// Bytes of `metadata`.
const METADATA_BYTES_MAX: usize = 4_096;
/// Stands for a channel: the one that suits best.
const AUTO: &str = "auto";

/// A message to send: `message` for plain words, or `content` for any kind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"channel": "whatsapp", "to": "+31612345678", "message": "Your table is ready."}))]
pub struct SendRequest {
    /// The channel to send by; may be left out with a conversation. `auto`: of the channels on which the recipient has the address, the one
    /// whose window with them is open (of several, the one that stays open longest), else the first by name that can send this.
    #[serde(default)]
    channel: Option<String>,
    /// The id of the channel to send by, where `channel` is left out or names a product, `whatsapp` or `instagram`.
    #[serde(default)]
    from: Option<String>,
    /// To whom. An answer to a comment goes to whoever wrote that: it is left out there, and may be only there.
    #[serde(default)]
    to: Option<Recipient>,
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
    /// What it is for; `service` if left out.
    #[serde(default)]
    #[schema(value_type = Option<PurposeWord>)]
    purpose: Option<String>,
    /// How urgent it is. If left out: `bulk` for marketing, `reply` while the contact's window is open, else `notification`.
    #[serde(default)]
    #[schema(value_type = Option<PriorityWord>)]
    priority: Option<String>,
    /// When to send it; at once if left out. A year ahead at most.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    send_at: Option<Timestamp>,
    /// When it is no longer worth sending; a day after it is due if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// A template to send in its place, once, where the window for free-form messages has closed (WhatsApp).
    #[serde(default)]
    fallback_template: Option<Template>,
    /// The policy of routes that it follows where its channel does not serve: one of the settings' `[[routes]]`, or `default`, which messages by
    /// WhatsApp follow if this is left out: the channel, its backups, then e-mail. `none` for no other way.
    #[serde(default)]
    route: Option<String>,
    /// A document of your own that comes back with the message; 4 KiB at most.
    #[serde(default)]
    #[schema(value_type = serde_json::Value)]
    metadata: Option<serde_json::Value>,
    /// The same key and body is one message; the same as the header `Idempotency-Key`, and for a message of a batch the place for it.
    #[serde(default)]
    idempotency_key: Option<String>,
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
    /// `queued`; `GET /api/v1/messages/{id}` tells the rest. With `wait`, how far it got.
    status: StatusWord,
    /// The message, where it was waited for and Meta has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Box<MessageView>>,
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SendQuery {
    /// So many milliseconds to wait for Meta's answer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 30_000)]
    wait: Option<Duration>,
    /// `true`: taken also while sending is stopped; it waits until it is started again.
    #[param(value_type = Option<bool>)]
    queue: bool,
}

impl FromParameters for SendQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        let most = wait::WAIT_MAX.as_millis();
        let expected = format!("a number of milliseconds from 1 to {most}");
        let parse = |text: &str| {
            let millis = text.parse::<u64>().ok()?;
            (1..=most)
                .contains(&u128::from(millis))
                .then(|| Duration::from_millis(millis))
        };
        Ok(Self {
            wait: parameters.parsed("wait", &expected, parse)?,
            queue: parameters.flag("queue")?,
        })
    }
}

/// Takes a message for sending.
#[utoipa::path(post, path = "/api/v1/messages/send", tag = "Messages", request_body = SendRequest,
    params(SendQuery, ("Idempotency-Key" = Option<String>, Header, description = "The same key and body is one message")),
    responses(
        (status = 200, description = "It was waited for, and Meta has answered, or it has ended", body = SendAnswer),
        (status = 202, description = "It will be sent, or its failure shown", body = SendAnswer),
        (status = 400, description = "Not JSON, or a parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No API key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such contact, conversation or comment", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The contact has opted out, the window is closed, the comment cannot be answered so, or the key was used for another request", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Sending is stopped, the channel cannot send, or the store cannot keep it", body = Problem, content_type = "application/problem+json")))]
pub async fn send(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<SendQuery>,
    headers: HeaderMap,
    request: RawJson<SendRequest>,
) -> Result<Response, Problem> {
    let is_short = request.value.message.is_some();
    let key = key_of(&headers)?.or_else(|| request.value.idempotency_key.clone());
    let order = Order {
        queue: query.queue,
        ..order(&app, request.value, key, caller, &request.raw)?
    };

    let accepted = accept::accept(&app, order)
        .await
        .map_err(|error| as_asked(error.into(), is_short))?;

    let answered = match query.wait {
        None => None,
        Some(wait) => wait::until_answered(&app, accepted.message_id, wait).await?,
    };
    let (status, answer) = match answered {
        None => (StatusCode::ACCEPTED, SendAnswer::queued(accepted.message_id)),
        Some(message) => (StatusCode::OK, SendAnswer::answered(&app, message).await?),
    };
    let mut answer = (status, Json(answer)).into_response();
    if accepted.repeated {
        answer
            .headers_mut()
            .insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(answer)
}

impl SendAnswer {
    fn queued(message_id: MessageId) -> Self {
        Self {
            message_id,
            status: crate::conversations::model::Status::Queued.into(),
            message: None,
        }
    }

    async fn answered(app: &App, message: Message) -> Result<Self, Problem> {
        Ok(Self {
            message_id: message.id,
            status: message.status.into(),
            message: Some(Box::new(view(app, message).await?)),
        })
    }
}

/// A message as callers see it.
pub(super) async fn view(app: &App, message: Message) -> Result<MessageView, StoreError> {
    let messages = vec![message];
    let (beside, messages) = app
        .store
        .read(move |tx| Ok::<_, StoreError>((Messages::load(tx, &messages)?, messages.clone())))
        .await?;
    let view = messages.first().map(|message| beside.view(message, app));
    view.ok_or(StoreError::Closed)
}

/// Takes up to 1,000 messages for sending. Each has a result of its own, in the order of the request: one that is refused does not stop the
/// others. With an `Idempotency-Key` for the whole, the same request can be made again: what was taken the first time is not taken twice.
#[utoipa::path(post, path = "/api/v1/messages/batch", tag = "Messages", request_body = BatchRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body is one batch")),
    responses(
        (status = 200, description = "What became of each message", body = BatchAnswer),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The key was used for another batch", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 4 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "None, or more than 1,000 messages", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot keep it", body = Problem, content_type = "application/problem+json")))]
pub async fn send_batch(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    BulkJson(request): BulkJson<BatchRequest>,
) -> Result<Json<BatchAnswer>, Problem> {
    let whole = key_of(&headers)?.map(|key| Idempotency::new(caller.id(), &key, &request.raw));
    batch::accept(&app, caller, &request.value, whole).await.map(Json)
}

/// Cancels a message that is not yet sent. The next one of its conversation takes its turn.
#[utoipa::path(delete, path = "/api/v1/messages/{id}", tag = "Messages",
    params(("id" = String, Path, description = "The message")), responses(
    (status = 200, description = "The message, cancelled", body = MessageView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is being sent, or has ended", body = Problem, content_type = "application/problem+json")))]
pub async fn cancel_message(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<MessageId>,
) -> Result<Json<MessageView>, Problem> {
    let cancelled = cancel::cancel(&app, id, None).await?;
    Ok(Json(view(&app, cancelled).await?))
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotFound => Self::not_found("message"),
            CancelError::TooLate(why) => Self::new(Code::NotCancellable, why),
            CancelError::Store(error) => Self::from(error),
        }
    }
}

/// Names fields as the caller wrote them: in the short form the text stands in `message`.
pub(super) fn as_asked(mut problem: Problem, is_short: bool) -> Problem {
    for error in problem
        .errors
        .iter_mut()
        .filter(|error| is_short && error.field == "content.text")
    {
        "message".clone_into(&mut error.field);
    }
    problem
}

/// The key under which a request is made, if it names one.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(header) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match header.to_str() {
        Ok(key) if is_key(key.trim()) => Ok(Some(key.trim().to_owned())),
        _ => {
            let detail = format!("The header has 1 to {KEY_CHARS_MAX} visible ASCII characters.");
            Err(Problem::new(Code::InvalidField, "`Idempotency-Key` cannot be used.").field("Idempotency-Key", detail))
        }
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_CHARS_MAX && key.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

impl SendRequest {
    /// In the short form, with plain words.
    pub(super) fn is_short(&self) -> bool {
        self.message.is_some()
    }

    /// The key that it bears itself.
    pub(super) fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }
}

/// Understands a request as an order; `raw` is its body, and `key` the key under which it is made.
pub(super) fn order(
    app: &App,
    request: SendRequest,
    key: Option<String>,
    caller: Caller,
    raw: &[u8],
) -> Result<Order, Problem> {
    let invalid = |field: &str, detail: &str| {
        Problem::new(Code::InvalidField, format!("`{field}` is wrong.")).field(field, detail)
    };
    if request.idempotency_key.as_deref().is_some_and(|key| !is_key(key)) {
        let detail = format!("has 1 to {KEY_CHARS_MAX} visible ASCII characters");
        return Err(invalid("idempotencyKey", &detail));
    }
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
    let to = match (request.to, content.answers_comment()) {
        (None, Some(comment)) => To::Comment(comment),
        (Some(_), Some(_)) => {
            return Err(invalid("to", "must be left out: it goes to whoever wrote the comment"));
        }
        (None, None) => return Err(invalid("to", "is missing: name the recipient")),
        (Some(Recipient::Address(address)), None) => To::Address(address),
        (Some(Recipient::Contact { contact }), None) => To::Contact(
            contact
                .parse::<ContactId>()
                .map_err(|error| invalid("to.contact", &error.to_string()))?,
        ),
        (Some(Recipient::Conversation { conversation }), None) => To::Conversation(
            conversation
                .parse::<ConversationId>()
                .map_err(|error| invalid("to.conversation", &error.to_string()))?,
        ),
    };
    let by = by(app, request.channel, request.from, &to)?;
    let reply_to = request
        .reply_to
        .map(|id| {
            id.parse::<MessageId>()
                .map_err(|error| invalid("replyTo", &error.to_string()))
        })
        .transpose()?;
    let purpose = request
        .purpose
        .map(|word| Purpose::from_word(&word).ok_or_else(|| invalid("purpose", "must be `service` or `marketing`")))
        .transpose()?;
    let priority = request
        .priority
        .map(|word| {
            Priority::from_word(&word).ok_or_else(|| invalid("priority", "must be `reply`, `notification` or `bulk`"))
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
        by,
        to,
        content,
        sender: Sender::Api,
        reply_to,
        purpose: purpose.unwrap_or(Purpose::Service),
        priority,
        send_at: request.send_at.map(Timestamp::as_millisecond),
        expires_at: request.expires_at.map(Timestamp::as_millisecond),
        fallback: request.fallback_template,
        route: request.route,
        metadata,
        queue: false,
        idempotency: key
            .map(|key| Idempotency::new(caller.id(), &key, raw))
            .into_iter()
            .collect(),
    })
}

/// By what way a message goes, from the two fields that can say so.
fn by(app: &App, channel: Option<String>, from: Option<String>, to: &To) -> Result<By, Problem> {
    let is_product_of = |word: &str, from: &str| {
        let channel = app.channels.get(&ChannelId(from.to_owned()));
        channel.is_none_or(|channel| channel.platform().is_some_and(|platform| platform.as_str() == word))
    };
    match (channel, from) {
        (Some(word), None) if word == AUTO => Ok(By::Auto),
        (Some(channel), None) => Ok(By::Channel(ChannelId(channel))),
        (None, Some(from)) => Ok(By::Channel(ChannelId(from))),
        (Some(channel), Some(from)) if channel == from || is_product_of(&channel, &from) => {
            Ok(By::Channel(ChannelId(from)))
        }
        (Some(_), Some(_)) => Err(Problem::of_field(
            Code::InvalidField,
            "from",
            "is not a channel of what `channel` names: give one of the two",
        )),
        (None, None) if matches!(to, To::Conversation(_) | To::Comment(_)) => Ok(By::Conversation),
        (None, None) => Err(Problem::of_field(
            Code::InvalidField,
            "channel",
            "is missing: name the channel to send by, or `auto`",
        )),
    }
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
            AcceptError::UnknownRoute(name) => Self::of_field(
                Code::InvalidField,
                "route",
                format!("there is no policy `{name}`: name one of the settings' `[[routes]]`, `default`, or `none`"),
            ),
            AcceptError::OutboundStopped(channel) => {
                let what = channel.map_or_else(|| "Sending".to_owned(), |id| format!("Sending by channel `{id}`"));
                Self::new(
                    Code::OutboundStopped,
                    format!("{what} is stopped; with `?queue=true` the message waits until it is started again."),
                )
            }
            AcceptError::NoChannel => Self::new(
                Code::ChannelNotUsable,
                "No channel has an access token: they can only receive.",
            ),
            AcceptError::InvalidRecipient(detail) => {
                Self::new(Code::InvalidRecipient, "The recipient cannot be one of this channel's.").field("to", detail)
            }
            AcceptError::UnknownRecipient(detail) => {
                Self::new(Code::UnknownRecipient, detail.clone()).field("to", detail)
            }
            AcceptError::Content(faults) | AcceptError::Fallback(faults) => {
                let problem = Self::new(Code::UnsupportedContent, "The content cannot be sent as it is.");
                faults
                    .into_iter()
                    .fold(problem, |problem, fault| problem.field(fault.field, fault.detail))
            }
            AcceptError::Refers(fault) => Self::of_field(Code::InvalidField, fault.field, fault.detail),
            AcceptError::Template(refusal) => refusal
                .faults
                .into_iter()
                .fold(Self::new(Code::TemplateNotUsable, refusal.detail), |problem, fault| {
                    problem.field(fault.field, fault.detail)
                }),
            AcceptError::Comment(refusal) => Self::of_comment(&refusal, Some("content.messageId")),
            AcceptError::WindowClosed { kind } => Self::new(
                Code::WindowClosed,
                match kind {
                    ChannelKind::WhatsApp => {
                        "The contact has not written in the last 24 hours: send an approved template (`content.type` = `template`), or give one as `fallbackTemplate`."
                    }
                    ChannelKind::Instagram | ChannelKind::Email => {
                        "The contact has not written in the last 24 hours: wait until they write again."
                    }
                },
            ),
            AcceptError::OptedOut(statement) => Self::new(
                Code::ContactOptedOut,
                format!(
                    "Nothing is sent: {}. `GET /api/v1/contacts/{}/consent` has all of it.",
                    statement.told(),
                    statement.contact_id
                ),
            ),
            AcceptError::Expired => Self::of_field(
                Code::InvalidField,
                "expiresAt",
                "must be in the future, and after `sendAt` where that is given",
            ),
            AcceptError::SendAt => Self::of_field(
                Code::InvalidField,
                "sendAt",
                format!(
                    "must be in the future, and at most {} days from now",
                    AHEAD_MAX.as_secs() / 86_400
                ),
            ),
            AcceptError::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "This `Idempotency-Key` was used for another body: use a new key for a new message.",
            ),
            AcceptError::Store(error) => Self::from(error),
        }
    }
}
