//! What whoever signed a request is told about its message: they wait for Meta's answer, for as long as a call to Meta may take.

use std::time::Duration;

use tidings_meta::error::{Class, explain_code};
use tidings_meta::notification::Platform;
use tokio::time::Instant;

use crate::app::App;
use crate::channels::model::Held;
use crate::conversations::model::{ChannelId, Failure, Message, Status};
use crate::http::problem::{Code, MetaProblem, Problem};
use crate::ids::MessageId;
use crate::sending::route::model::{Leg, LegState};
use crate::sending::wait;
use crate::store::StoreError;

/// How far a message got while it was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Meta has taken it, under this id.
    Accepted(Option<String>),
    /// It waits: Meta is slow, or finds us too fast, or it is not its turn.
    Queued,
}

/// How long it takes at most until it is seen that a message goes on by another route, or cannot.
const LOOK: Duration = Duration::from_millis(100);

/// Waits for Meta's answer to a message; where that is final, until it is known whether another route takes it.
pub async fn wait(app: &App, id: MessageId) -> Result<Progress, Problem> {
    let deadline = Instant::now() + app.config.graph.request_timeout;
    let mut changes = app.channels.changes();
    loop {
        let (message, legs) = app
            .store
            .read(move |tx| Ok::<_, StoreError>((tx.message_by_id(id)?, tx.legs_of_origins(&[id])?)))
            .await?;
        let Some(message) = message else {
            return Ok(Progress::Queued);
        };
        let onward = Onward::of(id, &legs);
        match message.status {
            Status::Accepted | Status::Sent | Status::Delivered | Status::Read => {
                return Ok(Progress::Accepted(message.external_id));
            }
            Status::Received => return Ok(Progress::Queued),
            Status::Failed | Status::Cancelled | Status::Expired => match onward {
                Onward::Nowhere => return Err(refused(&message)),
                Onward::Taken(other) => return elsewhere(app, other).await,
                Onward::OnItsWay => return Ok(Progress::Queued),
                Onward::Open => {}
            },
            Status::Queued | Status::Sending => {
                if let (Onward::Nowhere, Some(held)) = (onward, refused_credentials(app, &message.channel_id)) {
                    return Err(token_invalid(&held, id));
                }
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Progress::Queued);
        }
        if legs.is_empty() {
            tokio::select! {
                biased;
                waited = wait::until_answered(app, id, left) => if waited?.is_none() { return Ok(Progress::Queued) },
                () = changes.changed() => {}
            }
        } else {
            // What becomes of its routes is told of other messages.
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }
}

/// Where a message goes that its own channel does not serve.
enum Onward {
    /// Nowhere: there is no other route, or none that served.
    Nowhere,
    /// That is not known yet.
    Open,
    /// By another route, which does not have it yet.
    OnItsWay,
    /// By another route, as this message, which that has taken.
    Taken(MessageId),
}

impl Onward {
    /// Of a message, by the legs of its way.
    fn of(id: MessageId, legs: &[Leg]) -> Self {
        let has_it = |leg: &&Leg| leg.message_id != id && matches!(leg.state, LegState::Awaiting | LegState::Reached);
        if let Some(leg) = legs.iter().rev().find(has_it) {
            return Self::Taken(leg.message_id);
        }
        match legs.iter().find(|leg| leg.state.is_at_work()) {
            Some(leg) if leg.message_id != id => Self::OnItsWay,
            Some(leg) if leg.no_route.is_none() => Self::Open,
            Some(_) | None => Self::Nowhere,
        }
    }
}

/// How far a message got that another route has taken.
async fn elsewhere(app: &App, id: MessageId) -> Result<Progress, Problem> {
    let message = app.store.read(move |tx| tx.message_by_id(id)).await?;
    Ok(Progress::Accepted(message.and_then(|message| message.external_id)))
}

/// Why the channel is held, if it is because Meta refuses its credentials.
fn refused_credentials(app: &App, id: &ChannelId) -> Option<Held> {
    let held = app.channels.get(id)?.held.clone()?;
    let class = explain_code(Platform::WhatsApp, held.code, None).class;
    (class == Class::Credentials).then_some(held)
}

fn token_invalid(held: &Held, id: MessageId) -> Problem {
    let explanation = explain_code(Platform::WhatsApp, held.code, None);
    let detail = format!(
        "Meta refuses the credentials of the WhatsApp number (code {}): {} {} The message is kept, and sent when they work.",
        held.code,
        sentence(&explanation.meaning),
        sentence(explanation.remedy)
    );
    Problem::new(Code::WhatsAppTokenInvalid, detail)
        .meta(meta_of(held.code, None, &held.reason))
        .message(id.to_string())
}

fn refused(message: &Message) -> Problem {
    let id = message.id.to_string();
    let failure = match (&message.failure, message.status) {
        (Some(failure), _) => failure.clone(),
        (None, Status::Cancelled) => Failure::ours("it was cancelled"),
        (None, Status::Expired) => Failure::ours("it could not be sent in time"),
        (None, _) => Failure::ours("no reason was told"),
    };
    if failure.is_ours() {
        let detail = format!("The message was not sent: {}", sentence(&failure.text));
        return Problem::new(Code::MessageRefused, detail).message(id);
    }
    let explanation = explain_code(Platform::WhatsApp, failure.code, failure.subcode);
    let detail = format!(
        "Meta refuses the message for good (code {}): {} {}",
        failure.code,
        sentence(&explanation.meaning),
        sentence(explanation.remedy)
    );
    Problem::new(Code::MessageRefused, detail)
        .meta(meta_of(failure.code, failure.subcode, &failure.text))
        .message(id)
}

fn meta_of(code: i64, subcode: Option<i64>, text: &str) -> MetaProblem {
    MetaProblem {
        code,
        subcode,
        message: text.to_owned(),
        trace_id: None,
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}
