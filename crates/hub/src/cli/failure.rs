//! Why a command failed, what it tells, and which exit code it ends with (the table is in [`cli`](super)).

use std::process::ExitCode;

use serde_json::Value;
use tidings::config::ConfigErrors;

use super::output;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line is wrong in a way that clap cannot see.
    #[error("{0}")]
    Usage(String),
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] ConfigErrors),
    /// No answer from the hub.
    #[error("the hub at {url} {what}; start one with `tidings serve`, or set TIDINGS_URL to where it is")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What happened instead.
        what: String,
    },
    /// The hub answered with an error.
    #[error("the hub {}: {detail}", refusal(*.status, .code))]
    Refused {
        /// Of the answer.
        status: u16,
        /// The problem's stable code.
        code: String,
        /// What the problem says, and what to do.
        detail: String,
    },
    /// Anything else.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

fn refusal(status: u16, code: &str) -> String {
    let verb = if status >= 500 { "could not do it" } else { "refused" };
    if code.is_empty() {
        format!("{verb} ({status})")
    } else {
        format!("{verb} ({status} {code})")
    }
}

impl Failure {
    /// From an answer that is not a success: a problem document, or whatever stands before the hub said.
    pub(super) fn refused(status: u16, body: &str) -> Self {
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let mut detail = [text("detail"), text("title")]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| output::on_one_line(&body.chars().take(UNKNOWN_ANSWER_CHARS_MAX).collect::<String>()));
        for error in problem["errors"].as_array().into_iter().flatten() {
            detail.push_str("\n  ");
            detail.push_str(&field_error(error));
        }
        if status == 401 {
            detail.push_str(
                "\n  Set TIDINGS_ADMIN_KEY to a key of the hub, or TIDINGS_DATA_DIR to the data folder that has its file admin.key.",
            );
        }
        Self::Refused {
            status,
            code: text("error"),
            detail,
        }
    }

    /// Tells of it.
    pub(super) fn report(&self) -> ExitCode {
        output::note(format!("tidings: {self}"));
        ExitCode::from(self.exit_code())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Settings(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::Refused { .. } => 4,
        }
    }
}

/// An answer that is no problem document is quoted up to here.
const UNKNOWN_ANSWER_CHARS_MAX: usize = 200;

fn field_error(error: &Value) -> String {
    match (error["field"].as_str(), error["detail"].as_str()) {
        (Some(field), Some(detail)) => format!("{field}: {detail}"),
        _ => error.as_str().map_or_else(|| error.to_string(), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_told(status: u16, body: &str, told: &str) {
        let failure = Failure::refused(status, body);
        assert_eq!(failure.to_string(), told);
        assert_eq!(failure.exit_code(), 4);
    }

    #[test]
    fn a_problem_is_told_with_its_code_and_fields() {
        is_told(
            422,
            r#"{"type":"/problems/x","title":"Invalid","status":422,"error":"invalid_request","detail":"The message cannot be sent.",
                "errors":[{"field":"to","detail":"is not a phone number"},"odd"]}"#,
            "the hub refused (422 invalid_request): The message cannot be sent.\n  to: is not a phone number\n  odd",
        );
    }

    #[test]
    fn an_answer_of_something_else_is_quoted() {
        is_told(
            502,
            "<html>\nBad Gateway",
            "the hub could not do it (502): <html> Bad Gateway",
        );
        is_told(500, "", "the hub could not do it (500): ");
    }

    #[test]
    fn a_missing_key_comes_with_the_remedy() {
        let failure = Failure::refused(401, r#"{"error":"unauthorized","detail":"No key."}"#);
        assert!(
            failure
                .to_string()
                .contains("Set TIDINGS_ADMIN_KEY to a key of the hub"),
            "{failure}"
        );
    }

    #[test]
    fn exit_codes_are_as_documented() {
        assert_eq!(Failure::Failed(anyhow::anyhow!("x")).exit_code(), 1);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(Failure::Settings(ConfigErrors(Vec::new())).exit_code(), 2);
        assert_eq!(
            Failure::Unreachable {
                url: String::new(),
                what: String::new()
            }
            .exit_code(),
            3
        );
    }
}
