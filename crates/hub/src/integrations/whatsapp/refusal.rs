//! Why a signed request was not taken, in the words of its own fields.

use super::not_configured;
use crate::http::problem::{Code, Problem};
use crate::sending::accept::AcceptError;
use crate::sending::request::Fault;

/// The problem that a refusal is answered with.
pub(super) fn problem(error: AcceptError, is_booking: bool) -> Problem {
    match error {
        AcceptError::UnknownChannel(_) | AcceptError::ChannelNotUsable(_) | AcceptError::NoChannel => not_configured(),
        AcceptError::OutboundStopped(channel) => {
            let what = channel.map_or_else(|| "Sending".to_owned(), |id| format!("Sending by channel `{id}`"));
            Problem::new(
                Code::OutboundStopped,
                format!("{what} is stopped: sign and send the request again when it is started."),
            )
        }
        AcceptError::InvalidRecipient(detail) => Problem::of_field(Code::InvalidPhoneNumber, "phoneNumber", detail),
        AcceptError::Content(faults) | AcceptError::Fallback(faults) => faults.into_iter().fold(
            Problem::new(Code::UnsupportedContent, "The message cannot be sent as it is."),
            |problem, fault| problem.field(field(&fault, is_booking), fault.detail),
        ),
        AcceptError::Template(refusal) if is_booking => {
            // The template is of the settings: its faults are no fields of the request.
            let faults: Vec<String> = refusal
                .faults
                .iter()
                .map(|fault| format!("{} {}", fault.field.trim_start_matches("content."), fault.detail))
                .collect();
            let detail = format!(
                "{} The template that WHATSAPP_BOOKING_TEMPLATE names: {}.",
                refusal.detail,
                faults.join("; ")
            );
            Problem::new(Code::TemplateNotUsable, detail)
        }
        AcceptError::WindowClosed { .. } => Problem::new(
            Code::WindowClosed,
            "The contact has not written in the last 24 hours: give an approved template as `fallbackTemplate`, or send a template by \
             `POST /api/v1/messages/send`.",
        ),
        other => Problem::from(other),
    }
}

/// The field of the request that a field of the content came from.
fn field(fault: &Fault, is_booking: bool) -> String {
    match fault.field.as_str() {
        "content.text" => "message".to_owned(),
        field if is_booking && field.ends_with("parameters[0].text") => "bookingDetails.eventDate".to_owned(),
        field if is_booking && field.ends_with("parameters[1].text") => "bookingDetails.location".to_owned(),
        field => field.to_owned(),
    }
}
