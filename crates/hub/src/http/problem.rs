//! What a caller is told when something is refused or went wrong: a problem document (RFC 9457).
//!
//! One table ([`Code`]) holds every code with its status, its title and its remedy; `docs/reference/errors.md` is made from it, and a test
//! keeps the two in step. A code is never renamed and never changes its status: callers decide by it.
//!
//! Guarantee: an answer of 5xx says nothing of what is inside; what happened is in the log, under the `requestId` that both bear.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::word::words;
use crate::store::StoreError;

/// The content type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was not done, and what the caller reads about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which problem.
    pub code: Code,
    /// For a person: what is wrong with this request.
    pub detail: String,
    /// The fields or parameters that are wrong, if single ones are.
    pub errors: Vec<FieldError>,
    /// When to come again, if coming again may help.
    pub retry_after: Option<Duration>,
    /// Meta's own error, if there is one behind it.
    pub meta: Option<Box<MetaProblem>>,
    /// The message that is kept for all that.
    pub message_id: Option<String>,
}

/// What Meta said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetaProblem {
    /// Meta's code.
    pub code: i64,
    /// Meta's subcode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subcode: Option<i64>,
    /// Meta's text.
    pub message: String,
    /// What Meta's support asks for (`fbtrace_id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// One field or parameter that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Its name, with the names and places above it: `content.quickReplies[2].title`.
    pub field: String,
    /// For a person: what it should be.
    pub detail: String,
}

impl Problem {
    /// A problem; `detail` is a sentence for a person.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            meta: None,
            message_id: None,
        }
    }

    /// A problem with one field or parameter.
    pub fn of_field(code: Code, field: impl Into<String>, detail: impl Into<String>) -> Self {
        let (field, detail) = (field.into(), detail.into());
        Self::new(code, format!("`{field}` {detail}.")).field(field, detail)
    }

    /// Names a field or parameter that is wrong; `detail` goes on where the name ends, such as `is not a number from 1 to 200`.
    pub fn field(mut self, field: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError {
            field: field.into(),
            detail: detail.into(),
        });
        self
    }

    /// Says when to come again.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Says what Meta said.
    pub fn meta(mut self, meta: MetaProblem) -> Self {
        self.meta = Some(Box::new(meta));
        self
    }

    /// Names the message that it is about.
    pub fn message(mut self, id: impl Into<String>) -> Self {
        self.message_id = Some(id.into());
        self
    }

    /// There is no such thing, or not for this caller.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("There is no such {what}."))
    }

    /// The answer, with the id of its request where that is known.
    pub(super) fn respond(&self, request_id: Option<&str>) -> Response {
        let document = Document {
            r#type: self.code.type_uri(),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            error: self.code.into(),
            errors: &self.errors,
            meta: self.meta.as_deref(),
            message_id: self.message_id.as_deref(),
            request_id,
        };
        let body = serde_json::to_vec(&document).expect("a problem document has string keys only");
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(pause) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
        }
        if self.code == Code::Unauthorized {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tidings\""),
            );
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.respond(None);
        // `http::request` writes the document again when it knows the request's id.
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store did not do what a request needed");
        match error {
            StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Closed => {
                Self::new(Code::StoreUnavailable, "The store cannot be used at the moment.")
                    .retry_after(STORE_RETRY_AFTER)
            }
            StoreError::Refused(_) | StoreError::Corrupt(_) | StoreError::Panicked => {
                Self::new(Code::Internal, INTERNAL)
            }
        }
    }
}

/// When to come again after the store failed.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(2);
/// All that a caller is told of a bug of ours.
pub(super) const INTERNAL: &str = "Something went wrong in Tidings; the log says what, under the id of this request.";

/// What a caller is told when something is refused or went wrong: a problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    /// What kind of problem: `/problems/` and the code.
    r#type: String,
    /// The same for every problem of this kind.
    title: &'static str,
    /// The answer's status.
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// The code: stable, to decide by. `docs/reference/errors.md` lists them.
    error: CodeWord,
    /// The fields or parameters that are wrong, if single ones are.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(value_type = Option<Vec<FieldError>>)]
    errors: &'a [FieldError],
    /// Meta's own error, if there is one behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a MetaProblem>,
    /// The message that it is about, where one is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    /// The id that the log has for this request; also in the header `x-request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Document::schema()
    }
}

impl ToSchema for Problem {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Document::schemas(schemas);
    }
}

words! { CodeWord of Code as "ProblemCode"; }

macro_rules! codes {
    ($($variant:ident $name:literal $status:ident $title:literal $remedy:literal;)*) => {
        /// Every code of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As callers read it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status of its answers.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// What kind of problem it is, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What the caller can do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

codes! {
    InvalidSignature "invalid_signature" UNAUTHORIZED "The signature is missing or wrong"
        "Sign the raw body with the secret that the hub has: of Meta that is the app's secret, of another system one of WHATSAPP_INTEGRATION_SECRETS.";
    AppSecretNotConfigured "app_secret_not_configured" SERVICE_UNAVAILABLE "No app secret is configured"
        "Set the variable that the detail names to the app secret of the app at Meta.";
    VerifyTokenNotConfigured "verify_token_not_configured" SERVICE_UNAVAILABLE "No verify token is configured"
        "Set the variable that the detail names to the verify token that Meta was given.";
    WrongVerifyToken "wrong_verify_token" FORBIDDEN "The verify token or the mode is wrong"
        "Give Meta the verify token that the hub is configured with.";
    InvalidPayload "invalid_payload" BAD_REQUEST "The body is not what Meta sends"
        "Look at the quarantined notifications: the body is kept there with the reason.";
    PayloadTooLarge "payload_too_large" PAYLOAD_TOO_LARGE "The body is too large"
        "Send less at once.";
    RequestTimeout "request_timeout" REQUEST_TIMEOUT "The body did not come in time"
        "Send the whole body at once, over a connection that is fast enough.";
    Overloaded "overloaded" SERVICE_UNAVAILABLE "The hub has as much to do as it can"
        "Try again after the time in `Retry-After`.";
    Unauthorized "unauthorized" UNAUTHORIZED "An API key is missing or wrong"
        "Send the header `Authorization: Bearer` with an API key of this hub.";
    Forbidden "forbidden" FORBIDDEN "This API key may not do that"
        "Use an API key with the right to do it.";
    NotFound "not_found" NOT_FOUND "There is no such thing"
        "Check the address and the id in it; the OpenAPI document lists every address.";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The address has no such method"
        "Use one of the methods in the header `Allow`.";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body is of the wrong type"
        "Send JSON, with the header `Content-Type: application/json`.";
    InvalidJson "invalid_json" BAD_REQUEST "The body is not JSON"
        "Send one well-formed JSON document in UTF-8.";
    InvalidField "invalid_field" UNPROCESSABLE_ENTITY "A field is missing, unknown or wrong"
        "Mend the fields that `errors` names.";
    MissingParameter "missing_parameter" BAD_REQUEST "A parameter is missing"
        "Add the parameters that the detail names.";
    InvalidParameter "invalid_parameter" BAD_REQUEST "A parameter is unknown or wrong"
        "Mend the parameters that `errors` names.";
    InvalidLimit "invalid_limit" BAD_REQUEST "The limit is out of bounds"
        "Ask for as many as the detail allows, and follow `nextCursor` for more.";
    InvalidOffset "invalid_offset" BAD_REQUEST "The offset is out of bounds"
        "Follow `nextCursor` in place of a larger offset.";
    InvalidCursor "invalid_cursor" BAD_REQUEST "The cursor is not one of this list"
        "Pass `nextCursor` on as it was given, or leave it out to begin at the start.";
    UnknownChannel "unknown_channel" UNPROCESSABLE_ENTITY "There is no such channel"
        "Name one of the channels that `GET /api/v1/channels` lists.";
    ChannelNotUsable "channel_not_usable" SERVICE_UNAVAILABLE "The channel cannot send"
        "Give the channel an access token; until then it only receives.";
    UnknownRecipient "unknown_recipient" NOT_FOUND "Nobody is known by that"
        "Name a contact or conversation that exists, or an address.";
    InvalidRecipient "invalid_recipient" UNPROCESSABLE_ENTITY "The recipient cannot be reached by this channel"
        "Name a phone number in international form, or an id of the kind that the channel uses.";
    UnsupportedContent "unsupported_content" UNPROCESSABLE_ENTITY "The channel cannot carry this content"
        "Send a kind of content that the channel's product has.";
    TemplateNotUsable "template_not_usable" UNPROCESSABLE_ENTITY "The template cannot be sent, or not with these values"
        "Mend the fields that `errors` names; `GET /api/v1/templates` has what the template takes now.";
    TemplateRefused "template_refused" UNPROCESSABLE_ENTITY "Meta refuses to change the template so"
        "Do what the detail says; nothing was changed.";
    WindowClosed "window_closed" CONFLICT "The window for free-form messages is closed"
        "Send a template, or wait until the contact writes.";
    ContactOptedOut "contact_opted_out" CONFLICT "The contact does not want it"
        "Leave the contact alone until they opt in again: by a word such as START, in WhatsApp's own menu if they opted out there, or by `PUT /api/v1/contacts/{id}/consent` once they have told you so.";
    UnknownComment "unknown_comment" NOT_FOUND "There is no such comment"
        "Name a message that is a comment: one of a conversation whose `kind` is `comments`.";
    CommentNotAnswerable "comment_not_answerable" CONFLICT "That cannot be done about this comment"
        "Do what the detail says, where it says something.";
    CommentAlreadyAnswered "comment_already_answered" CONFLICT "The comment has had its private reply"
        "Instagram takes one for each comment: go on in the direct conversation once the contact has written there, or answer publicly.";
    CommentTooOld "comment_too_old" CONFLICT "The comment is too old for a private reply"
        "Answer it publicly, with `content.type` = `comment_reply`.";
    CommentRefused "comment_refused" UNPROCESSABLE_ENTITY "Meta refuses to do that to the comment"
        "Do what the detail says; nothing was changed.";
    IdempotencyKeyReused "idempotency_key_reused" CONFLICT "The key was used for another request"
        "Use a new `Idempotency-Key` for each new request.";
    MessageNotFound "message_not_found" UNPROCESSABLE_ENTITY "The message that is answered is not in this conversation"
        "Name a message of the same conversation, or leave `replyTo` out.";
    ChannelExists "channel_exists" CONFLICT "The id or the account of the channel is in use"
        "Choose another id; or change the channel that there is.";
    IdentityTaken "identity_taken" CONFLICT "The address is another contact's"
        "Use that contact, or another address.";
    ChannelInUse "channel_in_use" CONFLICT "Messages of the channel wait to be sent"
        "Wait until they are sent, or cancel them; then remove the channel.";
    ChannelOfSettings "channel_of_settings" CONFLICT "The settings name the channel"
        "Take it out of the settings, and start the hub anew.";
    NoBackup "no_backup" CONFLICT "The channel has no such backup"
        "Mark a channel of the same kind as its backup (`backupFor`), or name one that is.";
    BackupNotReady "backup_not_ready" CONFLICT "The backup cannot send"
        "Give the backup credentials that work, or start it; then switch.";
    CredentialsRefused "credentials_refused" UNPROCESSABLE_ENTITY "The credentials do not work for the account"
        "Give a token that is valid, has the permissions, and is of the account; nothing was changed.";
    MetaUnavailable "meta_unavailable" SERVICE_UNAVAILABLE "Meta did not answer"
        "Try again after the time in `Retry-After`; nothing was changed.";
    MetaOutcomeUnknown "meta_outcome_unknown" BAD_GATEWAY "It is not known whether Meta has done it"
        "Look whether it is done before you try again.";
    InstagramNotConfigured "instagram_not_configured" SERVICE_UNAVAILABLE "No Instagram account is connected"
        "Set META_IG_BUSINESS_ID and META_IG_ACCESS_TOKEN, or give the channel an access token.";
    InstagramTimeout "instagram_timeout" GATEWAY_TIMEOUT "Instagram did not answer in time"
        "Try again after the time in `Retry-After`; META_IG_REQUEST_TIMEOUT_MS says how long Instagram may take.";
    InstagramApiError "instagram_api_error" BAD_GATEWAY "Instagram answered with an error"
        "Try again after the time in `Retry-After`; `meta` has Instagram's own error, where there is one.";
    InstagramTokenInvalid "instagram_token_invalid" SERVICE_UNAVAILABLE "Instagram refuses the access token"
        "Give the channel a token that is valid and may read the account's media (`tidings channel set-token`).";
    UnknownFlag "unknown_flag" NOT_FOUND "There is no such flag"
        "Name one of the flags that `GET /api/v1/flags` lists.";
    OutboundStopped "outbound_stopped" SERVICE_UNAVAILABLE "Sending is stopped"
        "Wait until it is started again, or send with `?queue=true` to have the message wait.";
    NotCancellable "not_cancellable" CONFLICT "The message can no longer be cancelled"
        "Only messages that still wait can be cancelled.";
    NotRetryable "not_retryable" CONFLICT "The message cannot be sent again"
        "Only messages that failed or expired, or that wait on a pause, can be sent again; send a new one instead.";
    MayHaveArrived "may_have_arrived" CONFLICT "The message may have arrived"
        "Look at its timeline; to send it again for all that, add `force=true`: the contact may get it twice.";
    InvalidForm "invalid_form" BAD_REQUEST "The form or body cannot be read"
        "Send the whole file as the body, or a form (`multipart/form-data`) with the file in `file`.";
    MediaNotStored "media_not_stored" CONFLICT "The file is not there"
        "Wait until it has been fetched; one that failed is fetched again by `POST /api/v1/media/{id}/retry`.";
    LinkForged "link_forged" FORBIDDEN "The link is not one of this hub"
        "Take the link from the message, or from `GET /api/v1/media/{id}`, as it is.";
    LinkExpired "link_expired" FORBIDDEN "The link is over"
        "Read the message, or `GET /api/v1/media/{id}`, again: it has a new link.";
    RangeNotSatisfiable "range_not_satisfiable" RANGE_NOT_SATISFIABLE "The range begins behind the end of the file"
        "Ask for a range within the length that the header `Content-Range` tells.";
    MediaUnavailable "media_unavailable" SERVICE_UNAVAILABLE "The media store cannot be used at the moment"
        "Try again after the time in `Retry-After`; the log says what is wrong with the folder or bucket.";
    IntegrationNotConfigured "integration_not_configured" SERVICE_UNAVAILABLE "No secret for signed requests is configured"
        "Set WHATSAPP_INTEGRATION_SECRETS to the secrets that other systems sign with.";
    WhatsAppNotConfigured "whatsapp_not_configured" SERVICE_UNAVAILABLE "No WhatsApp number can send"
        "Set WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN, or add a channel.";
    WhatsAppTokenInvalid "whatsapp_token_invalid" SERVICE_UNAVAILABLE "Meta refuses the credentials of the WhatsApp number"
        "Give the channel a token that works; the message in `messageId` is kept, and sent then.";
    InvalidPhoneNumber "invalid_phone_number" UNPROCESSABLE_ENTITY "That cannot be a phone number"
        "Give the number with its country code, such as `+31612345678`.";
    MessageRefused "message_refused" UNPROCESSABLE_ENTITY "The message was not sent, and will not be"
        "Do what the detail says; `meta` is Meta's own error. Then send a new message, under a new `Idempotency-Key`.";
    StoreUnavailable "store_unavailable" SERVICE_UNAVAILABLE "The store cannot be used at the moment"
        "Try again after the time in `Retry-After`.";
    Internal "internal" INTERNAL_SERVER_ERROR "Something went wrong in Tidings"
        "Look in the log for the request's id, and report what it says.";
}

impl Code {
    fn type_uri(self) -> String {
        format!("/problems/{}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Problem};
    use crate::store::StoreError;
    use axum::response::IntoResponse;

    #[test]
    fn codes_are_words_that_differ() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        );
    }

    #[test]
    fn a_failure_of_the_store_tells_nothing_of_what_is_inside() {
        let inside = || "table secret_things at /var/lib".to_owned();
        let errors = [
            (StoreError::Unavailable(inside()), Code::StoreUnavailable),
            (StoreError::Conflict(inside()), Code::StoreUnavailable),
            (StoreError::Closed, Code::StoreUnavailable),
            (StoreError::Refused(inside()), Code::Internal),
            (StoreError::Corrupt(inside()), Code::Internal),
            (StoreError::Panicked, Code::Internal),
        ];
        for (error, code) in errors {
            let problem = Problem::from(error);
            assert_eq!(problem.code, code);
            assert!(!format!("{problem:?}").contains("secret_things"), "{problem:?}");
            assert_eq!(problem.retry_after.is_some(), code == Code::StoreUnavailable);
        }
    }

    #[test]
    fn a_pause_below_a_second_is_not_told_as_none() {
        let response = Problem::new(Code::Overloaded, "")
            .retry_after(std::time::Duration::from_millis(10))
            .into_response();
        assert_eq!(response.headers()["retry-after"], "1");
    }
}
