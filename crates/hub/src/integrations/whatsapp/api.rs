//! `POST /integrations/whatsapp/booking-confirmation` and `…/custom-message`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::answer::{self, Progress};
use super::booking::{self, Booking};
use super::signature::{self, SignatureError};
use super::{Ask, Signed};
use crate::app::App;
use crate::conversations::content::{Content, Template};
use crate::conversations::phone::PhoneNumber;
use crate::http::extract;
use crate::http::problem::{Code, Problem};
use crate::http::word::words;
use crate::sending::api::key_of;

/// How large a body may be.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A booking to confirm.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"phoneNumber": "+31612345678",
    "bookingDetails": {"eventDate": "2026-12-24 21:00", "location": "De Pier, Scheveningen"}}))]
pub struct BookingConfirmation {
    /// The guest's number, with its country code.
    phone_number: String,
    /// What the template is filled in with.
    booking_details: BookingDetails,
}

/// What the template is filled in with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BookingDetails {
    /// When, as the guest reads it.
    event_date: String,
    /// Where.
    location: String,
}

/// A text of one's own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"phoneNumber": "+31612345678", "message": "Your table is ready."}))]
pub struct CustomMessage {
    /// The contact's number, with its country code.
    phone_number: String,
    /// The text.
    message: String,
    /// A template to send in its place where the window for free-form messages has closed.
    #[serde(default)]
    fallback_template: Option<Template>,
}

/// What became of a signed request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationAnswer {
    /// The message; `GET /api/v1/messages/{id}` tells the rest.
    #[schema(example = "msg_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b")]
    message_id: String,
    /// Meta's id of it, once it has one.
    provider_message_id: Option<String>,
    /// How far it got.
    status: ProgressWord,
}

words! { ProgressWord of ProgressKind as "IntegrationStatus"; }

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressKind {
    /// Meta has taken it.
    Accepted,
    /// It waits, and is sent later.
    Queued,
}

impl ProgressKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Accepted, Self::Queued];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Queued => "queued",
        }
    }
}

/// Confirms a booking by the template of the settings (`WHATSAPP_BOOKING_TEMPLATE`), and waits for Meta's answer up to
/// `WHATSAPP_REQUEST_TIMEOUT_MS`. A signature that was seen before, the same `Idempotency-Key`, or without one the same body within a day, gets the
/// first message again and sends nothing.
#[utoipa::path(post, path = "/integrations/whatsapp/booking-confirmation", tag = "Integrations",
    request_body = BookingConfirmation,
    params(("X-Integration-Signature" = String, Header, description = "`t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<raw body>`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key is one message")),
    responses(
        (status = 202, description = "Meta has taken it, or it is queued", body = IntegrationAnswer),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The signature is missing, malformed, expired or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The contact has opted out, or the key was used for another request", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Over 64 KiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong, the template cannot be used, or Meta refuses the message for good", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, stopped, or Meta refuses the credentials (then the message is kept)", body = Problem, content_type = "application/problem+json")))]
pub async fn confirm_booking(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let signed = signed(&app, request).await?;
    let asked: BookingConfirmation = extract::parse(&signed.body)?;
    let phone = phone(&asked.phone_number)?;
    let booking = Booking {
        event_date: filled("bookingDetails.eventDate", asked.booking_details.event_date)?,
        location: filled("bookingDetails.location", asked.booking_details.location)?,
    };

    let meaning = json!([
        "booking-confirmation",
        phone.digits(),
        booking.event_date,
        booking.location
    ]);
    let ask = Ask {
        endpoint: "booking-confirmation",
        phone,
        content: Content::Template(booking::template(&app, &booking).await?),
        fallback: None,
        meaning: meaning.to_string(),
    };
    deliver(&app, &signed, ask).await
}

/// Says a text to a contact who has written in the last 24 hours, or sends `fallbackTemplate` where they have not; waits and repeats as the
/// confirmation of a booking does.
#[utoipa::path(post, path = "/integrations/whatsapp/custom-message", tag = "Integrations", request_body = CustomMessage,
    params(("X-Integration-Signature" = String, Header, description = "`t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<raw body>`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key is one message")),
    responses(
        (status = 202, description = "Meta has taken it, or it is queued", body = IntegrationAnswer),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The signature is missing, malformed, expired or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The contact has opted out, the window is closed, or the key was used for another request", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Over 64 KiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong, or Meta refuses the message for good", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, stopped, or Meta refuses the credentials (then the message is kept)", body = Problem, content_type = "application/problem+json")))]
pub async fn send_custom(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let signed = signed(&app, request).await?;
    let asked: CustomMessage = extract::parse(&signed.body)?;
    let phone = phone(&asked.phone_number)?;
    let message = filled("message", asked.message)?;

    let meaning = json!(["custom-message", phone.digits(), message, asked.fallback_template]);
    let ask = Ask {
        endpoint: "custom-message",
        phone,
        content: Content::text(message),
        fallback: asked.fallback_template,
        meaning: meaning.to_string(),
    };
    deliver(&app, &signed, ask).await
}

async fn deliver(app: &App, signed: &Signed, ask: Ask) -> Result<Response, Problem> {
    let accepted = super::take(app, signed, ask).await?;
    let (status, provider_message_id) = match answer::wait(app, accepted.message_id).await? {
        Progress::Accepted(id) => (ProgressKind::Accepted, id),
        Progress::Queued => (ProgressKind::Queued, None),
    };
    let answer = IntegrationAnswer {
        message_id: accepted.message_id.to_string(),
        provider_message_id,
        status: status.into(),
    };
    let mut answer = (StatusCode::ACCEPTED, axum::Json(answer)).into_response();
    if accepted.repeated {
        answer
            .headers_mut()
            .insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(answer)
}

/// The body of a request, whose signature has to be right.
async fn signed(app: &App, request: Request) -> Result<Signed, Problem> {
    let settings = &app.config.whatsapp_integration;
    if settings.secrets.is_empty() {
        tracing::warn!(
            "a signed request was refused: set WHATSAPP_INTEGRATION_SECRETS to the secrets that other systems sign with"
        );
        return Err(Problem::new(
            Code::IntegrationNotConfigured,
            "Set WHATSAPP_INTEGRATION_SECRETS to the secrets that other systems sign with.",
        ));
    }
    let headers = request.headers().clone();
    let body = extract::body_within(request, app, BODY_BYTES_MAX).await?;
    let now = app.clock.now_millis().div_euclid(1_000);
    let signature = signature::verify(
        header(&headers).as_deref(),
        &body,
        &settings.secrets,
        now,
        settings.tolerance_secs,
    )
    .map_err(|reason| refuse(reason, body.len()))?;
    Ok(Signed {
        signature,
        key: key_of(&headers)?,
        body: body.to_vec(),
    })
}

/// The signature's header; one that is given in several lines is one (RFC 9110, 5.3).
fn header(headers: &HeaderMap) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = headers
        .get_all(signature::HEADER)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    (!lines.is_empty()).then(|| lines.join(&b','))
}

fn refuse(reason: SignatureError, body_bytes: usize) -> Problem {
    tracing::warn!(%reason, body_bytes, "a signed request was refused: its signature is not right");
    Problem::new(
        Code::InvalidSignature,
        "`X-Integration-Signature` must be `t=<unix seconds>,v1=<hex>`: of now, with the HMAC-SHA256 of `<t>.<raw body>` by a secret that \
         this hub knows.",
    )
}

fn phone(text: &str) -> Result<PhoneNumber, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::of_field(Code::InvalidField, "phoneNumber", "is empty"));
    }
    PhoneNumber::parse(text).ok_or_else(|| {
        Problem::of_field(
            Code::InvalidPhoneNumber,
            "phoneNumber",
            "must be a phone number with its country code, such as `+31612345678`",
        )
    })
}

fn filled(field: &str, text: String) -> Result<String, Problem> {
    if text.trim().is_empty() {
        Err(Problem::of_field(Code::InvalidField, field, "is empty"))
    } else {
        Ok(text)
    }
}
