//! Errors as the Graph API answers them (graph-api.md 3, whatsapp.md 14.1).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::catalogue;
use crate::customers::people::Channel;
use crate::faults::FaultRequest;

/// An error before it has a trace id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphError {
    pub(crate) http_status: u16,
    pub(crate) code: i64,
    pub(crate) subcode: Option<i64>,
    /// `type`.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// `error_data.details`, on WhatsApp's own errors; `error_user_msg` on those of template drafts.
    pub(crate) details: Option<String>,
    pub(crate) is_transient: bool,
    /// What stands beside the error, where some of a request was done and some was not.
    pub(crate) beside: Option<Box<Map<String, Value>>>,
}

impl GraphError {
    pub(crate) fn new(http_status: u16, code: i64, message: impl Into<String>) -> Self {
        Self {
            http_status,
            code,
            subcode: None,
            kind: "OAuthException",
            message: message.into(),
            details: None,
            is_transient: false,
            beside: None,
        }
    }

    pub(crate) fn subcode(self, subcode: i64) -> Self {
        Self {
            subcode: Some(subcode),
            ..self
        }
    }

    pub(crate) fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    /// 100: a parameter that is missing or wrong.
    pub(crate) fn parameter(message: impl AsRef<str>) -> Self {
        Self::new(400, 100, format!("(#100) {}", message.as_ref()))
    }

    /// 100 with one of the large numbers of template drafts as its subcode, and a text for people (whatsapp.md 14.2).
    pub(crate) fn draft(subcode: i64, text: impl Into<String>) -> Self {
        Self {
            details: Some(text.into()),
            ..Self::parameter("Invalid parameter").subcode(subcode)
        }
    }

    /// 100/33: no such object, or none that the token may see.
    pub(crate) fn no_object(method: &str, id: &str) -> Self {
        Self::new(
            400,
            100,
            format!(
                "Unsupported {method} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
                 permissions, or does not support this operation",
                method = method.to_lowercase()
            ),
        )
        .subcode(33)
        .kind("GraphMethodException")
    }

    /// 200: the token has no access to the asset.
    pub(crate) fn no_permission(message: impl AsRef<str>) -> Self {
        Self::new(403, 200, format!("(#200) {}", message.as_ref()))
    }

    /// 2: too much is going on; the same call may succeed later.
    pub(crate) fn busy() -> Self {
        Self {
            is_transient: true,
            ..Self::new(503, 2, "(#2) Service temporarily unavailable")
        }
    }

    /// An error of WhatsApp's own table (whatsapp.md 14.2).
    pub(crate) fn whatsapp(code: i64, details: impl Into<String>) -> Self {
        let (title, http_status) = whatsapp_title(code);
        Self {
            details: Some(details.into()),
            ..Self::new(http_status, code, format!("(#{code}) {title}"))
        }
    }

    pub(crate) fn body(&self, trace: &str) -> Value {
        let mut error = json!({
            "message": self.message, "type": self.kind, "code": self.code, "fbtrace_id": trace,
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        match (&self.details, self.subcode) {
            (Some(text), Some(2_388_000..2_389_000)) => {
                error["error_user_title"] = json!("The template cannot be made as it is");
                error["error_user_msg"] = json!(text);
            }
            (Some(details), _) => {
                error["error_data"] = json!({"messaging_product": "whatsapp", "details": details});
            }
            (None, _) => {}
        }
        if self.is_transient {
            error["is_transient"] = json!(true);
        }
        let mut body = self.beside.as_deref().cloned().unwrap_or_default();
        body.insert("error".to_owned(), error);
        Value::Object(body)
    }

    pub(crate) fn respond(&self, trace: &str) -> Response {
        let status = StatusCode::from_u16(self.http_status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = (status, Json(self.body(trace))).into_response();
        if self.code == 190 {
            // graph-api.md 3: accompanies token errors.
            let message: String = self
                .message
                .chars()
                .filter(|letter| (' '..='~').contains(letter))
                .collect();
            let value = format!(
                "OAuth \"Facebook Platform\" \"invalid_token\" \"{}\"",
                message.replace('"', "'")
            );
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }
}

/// An element of `statuses[].errors` (whatsapp.md 5).
pub(crate) fn async_error(code: i64) -> Value {
    let (title, _) = whatsapp_title(code);
    json!({
        "code": code, "title": title, "message": title,
        "error_data": {"details": async_details(code)},
        "href": "https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes",
    })
}

fn async_details(code: i64) -> &'static str {
    match code {
        131_026 => "Message Undeliverable.",
        131_047 => "More than 24 hours have passed since the recipient last wrote to this number.",
        131_049 => "The message was not delivered, to keep the ecosystem healthy.",
        131_050 => "The user has stopped marketing messages from this business.",
        131_053 => "The media could not be fetched or processed.",
        _ => "The sandbox was asked to fail this message.",
    }
}

/// Title and HTTP status of a WhatsApp error (whatsapp.md 14.2).
fn whatsapp_title(code: i64) -> (&'static str, u16) {
    catalogue::find(Channel::WhatsApp, code, None).map_or(("Error", 400), |row| (row.message, row.http_status))
}

/// The error of a fault: whatever code was asked for, in the shape that the catalogue gives it.
pub(crate) fn of_fault(channel: Channel, fault: &FaultRequest, usual_code: i64) -> GraphError {
    let code = fault.code.unwrap_or(usual_code);
    let row = catalogue::find(channel, code, fault.subcode);
    // Whoever asks for a code of the other channel has it in the shape of that one.
    let other = match channel {
        Channel::WhatsApp => Channel::Instagram,
        Channel::Instagram => Channel::WhatsApp,
    };
    let row = row.or_else(|| catalogue::find(other, code, fault.subcode));
    let text = fault
        .message
        .as_deref()
        .or(row.map(|row| row.message))
        .unwrap_or("Error");
    let usual_status = row.map_or(400, |row| row.http_status);
    // Token errors and 100/33 come without the code in their text (whatsapp.md 14.1).
    let message = match (code, fault.subcode) {
        (190, _) | (100, Some(33)) => text.to_owned(),
        _ => format!("(#{code}) {text}"),
    };
    let mut error = GraphError::new(fault.http_status.unwrap_or(usual_status), code, message);
    error.subcode = fault.subcode;
    error.is_transient = matches!(code, -1 | 1 | 2 | 131_000 | 131_016);
    if (code, fault.subcode) == (100, Some(33)) {
        error.kind = "GraphMethodException";
    } else if channel == Channel::Instagram && code != 190 {
        error.kind = "IGApiException";
    }
    if channel == Channel::WhatsApp && (130_000..140_000).contains(&code) {
        error.details = Some("The sandbox was asked for this error.".to_owned());
    }
    error
}
