//! What whoever signed a request is told about its message: they wait for Meta's answer, for as long as a call to Meta may take.

use tidings_meta::error::{Class, explain_code};
use tidings_meta::notification::Platform;
use tokio::time::Instant;

use crate::app::App;
use crate::channels::model::Held;
use crate::conversations::model::{ChannelId, Failure, Message, Status};
use crate::http::problem::{Code, MetaProblem, Problem};
use crate::ids::MessageId;
use crate::sending::route::model::LegState;
use crate::sending::{route, wait};
use crate::store::StoreError;

/// How far a message got while it was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Meta has taken it, under this id.
    Accepted(Option<String>),
    /// It waits: Meta is slow, or finds us too fast, or it is not its turn.
    Queued,
}

/// Waits for Meta's answer to a message.
pub async fn wait(app: &App, id: MessageId) -> Result<Progress, Problem> {
    let deadline = Instant::now() + app.config.graph.request_timeout;
    let mut changes = app.channels.changes();
    loop {
        let message = app.store.read(move |tx| tx.message_by_id(id)).await?;
        let Some(message) = message else {
            return Ok(Progress::Queued);
        };
        if !is_waiting(&message) {
            return answered(app, message).await;
        }
        // With a policy it goes on by another way.
        if route::usual_policy(app, &message.channel_id).is_none()
            && let Some(held) = refused_credentials(app, &message.channel_id)
        {
            return Err(token_invalid(&held, id));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::select! {
            biased;
            waited = wait::until_answered(app, id, left) => match waited? {
                Some(message) => return answered(app, message).await,
                None => return Ok(Progress::Queued),
            },
            () = changes.changed() => {}
        }
    }
}

fn is_waiting(message: &Message) -> bool {
    matches!(message.status, Status::Queued | Status::Sending)
}

async fn answered(app: &App, message: Message) -> Result<Progress, Problem> {
    match message.status {
        Status::Received | Status::Queued | Status::Sending => Ok(Progress::Queued),
        Status::Accepted | Status::Sent | Status::Delivered | Status::Read => {
            Ok(Progress::Accepted(message.external_id))
        }
        Status::Failed | Status::Cancelled | Status::Expired => {
            let elsewhere = elsewhere(app, message.id).await?;
            elsewhere.ok_or_else(|| refused(&message))
        }
    }
}

/// How far a message got that its first channel did not get there, by another route; `None` if there is none.
async fn elsewhere(app: &App, id: MessageId) -> Result<Option<Progress>, StoreError> {
    app.store
        .read(move |tx| {
            let legs = tx.legs_of_origins(&[id])?;
            let took = legs
                .iter()
                .rev()
                .find(|leg| leg.message_id != id && matches!(leg.state, LegState::Awaiting | LegState::Reached));
            if let Some(leg) = took {
                let message = tx.message_by_id(leg.message_id)?;
                return Ok(Some(Progress::Accepted(
                    message.and_then(|message| message.external_id),
                )));
            }
            let is_at_work = legs.iter().any(|leg| leg.state.is_at_work());
            Ok(is_at_work.then_some(Progress::Queued))
        })
        .await
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
