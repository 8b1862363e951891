//! The error object of an answer.

use std::time::Duration;

use serde_json::Value;

/// The error object that Meta answered with (reference `graph-api.md` 3).
///
/// `Display` gives Meta's own words; [`super::explain`] says what they mean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Meta refused the call with error {code}{}: {message}", display_subcode(*subcode))]
pub struct GraphError {
    /// Meta's code. With the subcode it is all that an error may be told by.
    pub code: i64,
    /// Meta's subcode.
    pub subcode: Option<i64>,
    /// Meta's text for developers; its wording changes. Empty where Meta sent none.
    pub message: String,
    /// What `error_data` says: its `details`, or all of it where it has none, such as the names of bad fields.
    pub details: Option<String>,
    /// A title for people, in their language.
    pub user_title: Option<String>,
    /// A text for people, in their language.
    pub user_message: Option<String>,
    /// Whether Meta says that the same call may succeed later; `None` where it does not say.
    pub is_transient: Option<bool>,
    /// What Meta's support asks for.
    pub fbtrace_id: Option<String>,
    /// The HTTP status of the answer; 200 is possible.
    pub http_status: u16,
    /// How long Meta asked to wait (`Retry-After`), at most a day.
    pub retry_after: Option<Duration>,
}

fn display_subcode(subcode: Option<i64>) -> String {
    subcode.map_or_else(String::new, |subcode| format!(" (subcode {subcode})"))
}

impl GraphError {
    /// Reads the error object out of an answer's JSON. `None` where there is none with a code: such an answer says nothing that
    /// can be told apart.
    pub fn from_answer(answer: &Value, http_status: u16, retry_after: Option<Duration>) -> Option<Self> {
        let error = answer.get("error")?;
        let text = |key: &str| {
            let text = error.get(key)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        Some(Self {
            code: integer(error.get("code")?)?,
            subcode: error
                .get("error_subcode")
                .and_then(integer)
                .filter(|subcode| *subcode != 0),
            message: text("message").unwrap_or_default(),
            details: error.get("error_data").and_then(details),
            user_title: text("error_user_title"),
            user_message: text("error_user_msg"),
            is_transient: error.get("is_transient").and_then(Value::as_bool),
            fbtrace_id: text("fbtrace_id"),
            http_status,
            retry_after,
        })
    }
}

/// Integers are documented as numbers; a string of digits is understood too.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// `error_data` is an object, or a string that holds one (reference `graph-api.md` 3).
fn details(error_data: &Value) -> Option<String> {
    match error_data {
        Value::Object(object) => match object.get("details") {
            Some(Value::String(details)) => Some(details.clone()),
            _ if object.is_empty() => None,
            _ => Some(error_data.to_string()),
        },
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ Value::Object(_)) => details(&inner),
            _ => Some(text.clone()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(answer: &Value) -> Option<GraphError> {
        GraphError::from_answer(answer, 400, None)
    }

    #[test]
    fn reads_every_key_of_the_reference() {
        let error = read(&json!({"error": {
            "message": "(#100) Invalid parameter", "type": "OAuthException", "code": 100, "error_subcode": 2_534_015,
            "is_transient": false, "error_user_title": "Message not sent", "error_user_msg": "This content cannot be sent.",
            "error_data": {"messaging_product": "whatsapp", "details": "Recipient is missing"},
            "fbtrace_id": "A6LJylpZRKw2xKLFsAP"}}));
        let expected = GraphError {
            code: 100,
            subcode: Some(2_534_015),
            message: "(#100) Invalid parameter".to_owned(),
            details: Some("Recipient is missing".to_owned()),
            user_title: Some("Message not sent".to_owned()),
            user_message: Some("This content cannot be sent.".to_owned()),
            is_transient: Some(false),
            fbtrace_id: Some("A6LJylpZRKw2xKLFsAP".to_owned()),
            http_status: 400,
            retry_after: None,
        };
        assert_eq!(error, Some(expected));
    }

    #[test]
    fn reads_error_data_in_every_form() {
        let details = |error_data: Value| {
            read(&json!({"error": {"code": 100, "error_data": error_data}}))
                .unwrap()
                .details
        };
        assert_eq!(
            details(json!(r#"{"details":"in a string"}"#)).as_deref(),
            Some("in a string")
        );
        assert_eq!(details(json!("just words")).as_deref(), Some("just words"));
        assert_eq!(
            details(json!({"blame_field_specs": [["to"]]})).as_deref(),
            Some(r#"{"blame_field_specs":[["to"]]}"#)
        );
        assert_eq!(details(json!({})), None);
        assert_eq!(details(json!("")), None);
        assert_eq!(details(json!(null)), None);
    }

    #[test]
    fn is_none_without_a_code() {
        for answer in [
            json!({}),
            json!([]),
            json!("error"),
            json!({"error": "words"}),
            json!({"error": {"message": "words"}}),
            json!({"error": {"code": "words"}}),
            json!({"error": {"code": 1e300}}),
        ] {
            assert_eq!(read(&answer), None, "{answer}");
        }
    }

    #[test]
    fn takes_numbers_written_as_strings() {
        let error = read(&json!({"error": {"code": "190", "error_subcode": "463"}})).unwrap();
        assert_eq!((error.code, error.subcode), (190, Some(463)));
        assert_eq!(
            error.to_string(),
            "Meta refused the call with error 190 (subcode 463): "
        );
    }
}
