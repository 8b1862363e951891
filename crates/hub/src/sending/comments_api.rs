//! `/api/v1/comments`: what is done to comments. They are read as messages, and answered by sending.

use axum::Json;
use axum::extract::State;

use crate::access::Caller;
use crate::app::App;
use crate::conversations::view::MessageView;
use crate::http::extract::Id;
use crate::http::problem::{Code, Problem};
use crate::ids::MessageId;
use crate::sending::api::view;
use crate::sending::comments::{self, Deed, DeedError, Refusal};

/// Hides a comment from everybody but its author: at once, or not at all. To hide one that is hidden changes nothing.
#[utoipa::path(put, path = "/api/v1/comments/{id}/hidden", tag = "Comments",
    params(("id" = String, Path, description = "The message that is the comment")), responses(
    (status = 200, description = "The comment, hidden", body = MessageView),
    (status = 404, description = "There is no such comment", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It cannot be hidden, or is gone", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Meta refuses it", body = Problem, content_type = "application/problem+json"),
    (status = 502, description = "It is not known whether Meta has done it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Sending is stopped, or Meta cannot be reached", body = Problem, content_type = "application/problem+json")))]
pub async fn hide_comment(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<MessageId>,
) -> Result<Json<MessageView>, Problem> {
    act(&app, &caller, id, Deed::Hide).await
}

/// Shows a hidden comment to everybody again.
#[utoipa::path(delete, path = "/api/v1/comments/{id}/hidden", tag = "Comments",
    params(("id" = String, Path, description = "The message that is the comment")), responses(
    (status = 200, description = "The comment, shown", body = MessageView),
    (status = 404, description = "There is no such comment", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It cannot be shown, or is gone", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Meta refuses it", body = Problem, content_type = "application/problem+json"),
    (status = 502, description = "It is not known whether Meta has done it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Sending is stopped, or Meta cannot be reached", body = Problem, content_type = "application/problem+json")))]
pub async fn show_comment(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<MessageId>,
) -> Result<Json<MessageView>, Problem> {
    act(&app, &caller, id, Deed::Show).await
}

/// Deletes a comment, at Instagram and here: what it said is gone. One of the business's own can be deleted too.
#[utoipa::path(delete, path = "/api/v1/comments/{id}", tag = "Comments",
    params(("id" = String, Path, description = "The message that is the comment")), responses(
    (status = 200, description = "The comment, without what it said", body = MessageView),
    (status = 404, description = "There is no such comment", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It cannot be deleted, or is gone", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Meta refuses it", body = Problem, content_type = "application/problem+json"),
    (status = 502, description = "It is not known whether Meta has done it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Sending is stopped, or Meta cannot be reached", body = Problem, content_type = "application/problem+json")))]
pub async fn delete_comment(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<MessageId>,
) -> Result<Json<MessageView>, Problem> {
    act(&app, &caller, id, Deed::Delete).await
}

async fn act(app: &App, caller: &Caller, id: MessageId, deed: Deed) -> Result<Json<MessageView>, Problem> {
    let message = comments::act(app, caller.id(), id, deed).await?;
    Ok(Json(view(app, message).await?))
}

impl Problem {
    /// What a refusal reads like; `field` is where the caller named the comment, if in a body.
    pub(super) fn of_comment(refusal: &Refusal, field: Option<&str>) -> Self {
        let code = match refusal {
            Refusal::Unknown(_) => Code::UnknownComment,
            Refusal::NotPossible(_) | Refusal::Deleted => Code::CommentNotAnswerable,
            Refusal::AlreadyAnswered(_) => Code::CommentAlreadyAnswered,
            Refusal::TooOld => Code::CommentTooOld,
        };
        let mut detail = refusal.to_string();
        let problem = Self::new(code, {
            detail[..1].make_ascii_uppercase();
            format!("{detail}.")
        });
        match field {
            Some(field) => problem.field(field, refusal.to_string()),
            None => problem,
        }
    }
}

impl From<DeedError> for Problem {
    fn from(error: DeedError) -> Self {
        match error {
            DeedError::Refused(refusal) => Self::of_comment(&refusal, None),
            DeedError::Stopped => Self::new(Code::OutboundStopped, "Sending is stopped: nothing was changed."),
            DeedError::NotUsable(why) => Self::new(Code::ChannelNotUsable, format!("Nothing was changed: {why}.")),
            DeedError::Meta(_) => Self::new(Code::CommentRefused, format!("{error}.")),
            DeedError::NotReached(why) => Self::new(Code::MetaUnavailable, format!("{why}.")),
            DeedError::Unknown(why) => {
                let detail = format!("{why}. To do it once more does no harm.");
                Self::new(Code::MetaOutcomeUnknown, detail)
            }
            DeedError::Store(error) => Self::from(error),
        }
    }
}
