//! Errors as the Graph API answers them (graph-api.md 3, whatsapp.md 14.1).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

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
        json!({"error": error})
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

/// Title and HTTP status of a WhatsApp error. The statuses are those of whatsapp.md 14.2, and 400 where it names none; the
/// titles of codes for which the reference shows no text describe its meaning column.
fn whatsapp_title(code: i64) -> (&'static str, u16) {
    match code {
        130_429 => ("Rate limit hit", 400),
        130_472 => ("User's number is part of an experiment", 400),
        131_000 => ("Something went wrong", 500),
        131_005 => ("Access denied", 403),
        131_008 => ("Required parameter is missing", 400),
        131_009 | 132_008 => ("Parameter value is not valid", 400),
        131_016 => ("Service unavailable", 500),
        131_021 => ("Recipient cannot be sender", 400),
        131_026 => ("Message undeliverable", 400),
        131_030 => ("Recipient phone number not in allowed list", 400),
        131_031 => ("Account has been locked", 403),
        131_042 => ("Business eligibility payment issue", 400),
        131_047 => ("Re-engagement message", 400),
        131_048 => ("Spam rate limit hit", 400),
        131_049 => ("Message not delivered to maintain healthy ecosystem engagement", 400),
        131_050 => ("User has stopped marketing messages", 400),
        131_051 => ("Message type unknown", 400),
        131_053 => ("Media upload error", 400),
        131_056 => ("(Business Account, Consumer Account) pair rate limit hit", 400),
        131_057 => ("Account in maintenance mode", 500),
        131_059 => ("Paging cursor is expired or corrupt", 400),
        131_062 => ("Recipient not allowed for this message", 400),
        132_000 => ("Number of parameters does not match the expected number of params", 400),
        132_001 => ("Template name does not exist in the translation", 404),
        132_005 => ("Translated text too long", 400),
        132_007 => ("Template content violates a policy", 400),
        132_012 => ("Parameter format does not match format in the created template", 400),
        132_015 => ("Template is paused", 400),
        132_016 => ("Template is disabled", 400),
        132_018 => ("Template parameters are not valid", 400),
        132_068 => ("Flow is blocked", 400),
        132_069 => ("Flow is throttled", 400),
        133_004 => ("Server temporarily unavailable", 503),
        133_010 => ("Phone number not registered", 400),
        135_000 => ("Generic user error", 400),
        1 => ("An unknown error occurred", 400),
        2 => ("Service temporarily unavailable", 503),
        3 => ("Application does not have the capability to make this API call", 500),
        4 => ("Application request limit reached", 400),
        17 => ("User request limit reached", 400),
        32 => ("Page request limit reached", 400),
        341 => ("Application limit reached", 400),
        368 => ("Temporarily blocked for policies violations", 403),
        613 => ("Calls to this api have exceeded the rate limit", 400),
        10 => ("Permission denied", 403),
        80_002 => ("There have been too many calls to this Instagram account", 400),
        80_007 => ("Rate limit issues", 400),
        130_497 => (
            "Business account is restricted from messaging users in this country",
            403,
        ),
        190 => ("Invalid access token", 401),
        _ => ("Error", 400),
    }
}

/// The error of a fault: whatever code was asked for, in the shape that fits it.
pub(crate) fn of_fault(code: i64, subcode: Option<i64>, http_status: Option<u16>, message: Option<&str>) -> GraphError {
    let (title, usual_status) = whatsapp_title(code);
    let text = message.unwrap_or(title);
    let mut error = GraphError::new(http_status.unwrap_or(usual_status), code, format!("(#{code}) {text}"));
    error.subcode = subcode;
    error.is_transient = matches!(code, 1 | 2 | 131_000 | 131_016);
    if (130_000..140_000).contains(&code) {
        error.details = Some("The sandbox was asked for this error.".to_owned());
    }
    error
}
