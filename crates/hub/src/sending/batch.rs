//! Many messages in one request: each is taken or refused by itself.
//!
//! Guarantee: with a key for the whole, a batch that was interrupted can be sent again. What was taken is not taken twice, since each message
//! has a key of its own: the one that it bears, or the whole's with its place.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::conversations::model::{Millis, Status};
use crate::conversations::view::StatusWord;
use crate::http::extract;
use crate::http::problem::{Code, CodeWord, FieldError, Problem};
use crate::ids::MessageId;
use crate::sending::accept::{self, AcceptError, Accepted, Idempotency, Order};
use crate::sending::api::{self, SendRequest};
use crate::store::{StoreError, Tx};

/// How many messages a batch may have.
pub const MESSAGES_MAX: usize = 1_000;
/// What is kept as the answer to the key of a whole batch: its messages have keys of their own.
const WHOLE: &str = "batch";

/// Messages to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchRequest {
    /// The messages, 1 to 1,000: each as for `POST /api/v1/messages/send`.
    #[schema(value_type = Vec<SendRequest>, min_items = 1, max_items = 1000)]
    messages: Vec<Box<RawValue>>,
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchAnswer)]
pub struct BatchAnswer {
    /// How many were taken, now or by an earlier request with the same key.
    accepted: usize,
    /// How many were refused.
    refused: usize,
    /// One for each message, in the order of the request.
    results: Vec<BatchResult>,
}

/// What became of one message of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchResult {
    /// Its place in the request, from 0.
    index: usize,
    /// The message, if it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    message_id: Option<MessageId>,
    /// `queued`, if it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusWord>,
    /// It was taken before, under the same key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// Why it was refused, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<BatchProblem>,
}

/// Why one message of a batch was refused: as the problem document that it would be answered with by itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchProblem {
    /// The status that it would be answered with.
    status: u16,
    /// The code: stable, to decide by.
    error: CodeWord,
    /// What is wrong with it.
    detail: String,
    /// The fields that are wrong, if single ones are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// Takes the messages of a batch; `whole` is the key under which the whole of it is asked for.
pub async fn accept(
    app: &App,
    caller: Caller,
    request: &BatchRequest,
    whole: Option<Idempotency>,
) -> Result<BatchAnswer, Problem> {
    let count = request.messages.len();
    if count == 0 || count > MESSAGES_MAX {
        let detail = format!("has 1 to {MESSAGES_MAX} messages; this has {count}");
        return Err(Problem::of_field(Code::InvalidField, "messages", detail));
    }
    if let Some(whole) = whole.clone() {
        let now = app.clock.now_millis();
        app.store.write(move |tx| remember(tx, &whole, now)).await?;
    }
    let mut orders = Vec::with_capacity(count);
    let mut results: Vec<Option<BatchResult>> = Vec::with_capacity(count);
    // Which messages are asked for; and whether in the short form, whose fields have other names.
    let mut asked = Vec::with_capacity(count);
    for (index, raw) in request.messages.iter().enumerate() {
        match understand(app, caller, raw, index, whole.as_ref()) {
            Ok((order, is_short)) => {
                orders.push(order);
                asked.push((index, is_short));
                results.push(None);
            }
            Err(problem) => results.push(Some(BatchResult::refused(index, problem))),
        }
    }
    let answers = accept::accept_all(app, orders).await;
    for ((index, is_short), answer) in asked.into_iter().zip(answers) {
        results[index] = Some(match answer {
            Ok(accepted) => BatchResult::taken(index, accepted),
            Err(error) => BatchResult::refused(index, api::as_asked(error.into(), is_short)),
        });
    }
    let results: Vec<BatchResult> = results.into_iter().flatten().collect();
    let accepted = results.iter().filter(|result| result.problem.is_none()).count();
    Ok(BatchAnswer {
        accepted,
        refused: results.len() - accepted,
        results,
    })
}

/// Notes that a key belongs to a batch; refused if it belongs to something else.
fn remember(tx: &mut Tx<'_>, whole: &Idempotency, now: Millis) -> Result<(), AcceptError> {
    match tx.idempotent_answer(&whole.caller, &whole.key)? {
        Some((fingerprint, answer)) if fingerprint == whole.fingerprint && answer == WHOLE => Ok(()),
        Some(_) => Err(AcceptError::KeyReused),
        None if tx.insert_idempotent_answer(&whole.caller, &whole.key, &whole.fingerprint, WHOLE, now)? => Ok(()),
        // Another request with this key was faster by a moment: this one is run again, and finds its answer.
        None => Err(StoreError::Conflict("another request has the same Idempotency-Key".to_owned()).into()),
    }
}

fn understand(
    app: &App,
    caller: Caller,
    raw: &RawValue,
    index: usize,
    whole: Option<&Idempotency>,
) -> Result<(Order, bool), Problem> {
    let raw = raw.get().as_bytes();
    let request: SendRequest = extract::parse(raw)?;
    let is_short = request.is_short();
    // Keys of callers have no control characters: nobody else's key can be the same.
    let key = request
        .idempotency_key()
        .map(str::to_owned)
        .or_else(|| whole.map(|whole| format!("{}\n{index}", whole.key)));
    Ok((api::order(app, request, key, caller, raw)?, is_short))
}

impl BatchResult {
    fn taken(index: usize, accepted: Accepted) -> Self {
        Self {
            index,
            message_id: Some(accepted.message_id),
            status: Some(Status::Queued.into()),
            replayed: accepted.repeated,
            problem: None,
        }
    }

    fn refused(index: usize, problem: Problem) -> Self {
        Self {
            index,
            message_id: None,
            status: None,
            replayed: false,
            problem: Some(BatchProblem {
                status: problem.code.status().as_u16(),
                error: problem.code.into(),
                detail: problem.detail,
                errors: problem.errors,
            }),
        }
    }
}
