//! What a call answers.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::error::GraphError;

/// One call and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange<T> {
    /// What came of it.
    pub outcome: Result<T, CallError>,
    /// The status of the answer; `None` where there was none.
    pub http_status: Option<u16>,
    /// From the start of the call to the last byte of the answer, or to the failure.
    pub elapsed: Duration,
    /// The body of the answer as far as it was read, the secrets of the call replaced by `[redacted]`.
    pub answer: String,
    /// How much of the allowed calls is used up.
    pub usage: Usage,
    /// The version that served the call (`facebook-api-version`); another one than asked for means that the asked one is gone
    /// (reference `graph-api.md` 1).
    pub served_version: Option<String>,
}

impl<T> Exchange<T> {
    /// One that was not even begun.
    pub(super) fn not_sent(reason: String) -> Self {
        Self {
            outcome: Err(CallError::NotSent { reason }),
            http_status: None,
            elapsed: Duration::ZERO,
            answer: String::new(),
            usage: Usage::default(),
            served_version: None,
        }
    }
}

/// Why a call did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Meta has certainly not received the request: no connection could be made, or the request could not be built. Safe to repeat.
    #[error("the request was not sent: {reason}")]
    NotSent {
        /// For a person: why.
        reason: String,
    },
    /// The request may have been received and carried out: the connection broke or timed out after the request may have been
    /// written, or Meta accepted a message without naming its id. Repeating it may do it twice.
    #[error("it is unknown whether the request took effect: {reason}")]
    Unknown {
        /// For a person: why.
        reason: String,
        /// The status of the answer, where one had begun.
        http_status: Option<u16>,
    },
    /// Meta answered with an error object: it understood the request and refused it. [`crate::error::explain`] tells what to do.
    #[error(transparent)]
    Refused(Box<GraphError>),
    /// Meta, or something between, answered without a readable error object: an HTML page, nothing, a cut or too long body, or
    /// a success that lacks what was asked for. With a 5xx a message may have been sent all the same (reference `whatsapp.md` 9.1).
    #[error("the answer (HTTP {http_status}) could not be understood: {reason}")]
    Unreadable {
        /// The status of the answer.
        http_status: u16,
        /// For a person: what was wrong with it.
        reason: String,
        /// How long the answer asked to wait (`Retry-After`), at most a day.
        retry_after: Option<Duration>,
    },
}

/// What the usage headers of an answer say (reference `graph-api.md` 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The highest percentage of any limit in any of the headers. Throttling starts at 100; `None` without a header.
    pub percent: Option<u32>,
    /// The longest time until access is regained, at most a day; `None` where access is not lost.
    pub regain_after: Option<Duration>,
    /// `Retry-After`, at most a day.
    pub retry_after: Option<Duration>,
}

/// No header can make anybody wait longer: a day is Meta's longest window (reference `instagram.md` 6).
const WAIT_MAX: Duration = Duration::from_hours(24);

/// One usage object per app or page; a map of lists of them per business.
const USAGE_HEADERS: [&str; 3] = ["x-app-usage", "x-page-usage", "x-business-use-case-usage"];

impl Usage {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut usage = Self {
            retry_after: retry_after(headers),
            ..Self::default()
        };
        for name in USAGE_HEADERS {
            for value in headers.get_all(name) {
                // A header that cannot be read says nothing.
                if let Ok(value) = serde_json::from_slice::<Value>(value.as_bytes()) {
                    usage.add(&value);
                }
            }
        }
        usage
    }

    /// serde_json refuses nesting deeper than 128, so this ends.
    fn add(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(object) => {
                for (key, value) in object {
                    match (key.as_str(), value.as_f64()) {
                        ("call_count" | "total_time" | "total_cputime", Some(percent)) => {
                            // A cast from a float saturates.
                            self.percent = self.percent.max(Some(percent.ceil() as u32));
                        }
                        ("estimated_time_to_regain_access", Some(minutes)) if minutes > 0.0 => {
                            let wait =
                                Duration::try_from_secs_f64(minutes * 60.0).map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX));
                            self.regain_after = self.regain_after.max(Some(wait));
                        }
                        (_, Some(_)) => {}
                        (_, None) => self.add(value),
                    }
                }
            }
            _ => {}
        }
    }
}

/// Seconds, or a date, which is reckoned against the answer's own `Date`, so that no clock of ours matters.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(WAIT_MAX));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok();
    let until = date(text)?;
    let now = date(headers.get(DATE)?.to_str().ok()?)?;
    // A date that has passed asks for no wait.
    let wait = Duration::try_from(until.timestamp().duration_since(now.timestamp()));
    Some(wait.unwrap_or_default().min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Usage {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Usage::read(&headers)
    }

    #[test]
    fn reads_the_highest_of_all_usage_headers() {
        let usage = read(&[
            ("x-app-usage", r#"{"call_count":28,"total_time":25,"total_cputime":25}"#),
            (
                "x-business-use-case-usage",
                r#"{"17841460012345678":[{"type":"instagram","call_count":97,"total_cputime":23,"total_time":25,
                    "estimated_time_to_regain_access":0}],
                   "305918274660123":[{"type":"whatsapp","call_count":12.5,"estimated_time_to_regain_access":7}]}"#
                    .replace(['\n', ' '], "")
                    .as_str(),
            ),
        ]);
        assert_eq!(usage.percent, Some(97));
        assert_eq!(usage.regain_after, Some(Duration::from_mins(7)));
    }

    #[test]
    fn ignores_headers_that_cannot_be_read() {
        assert_eq!(read(&[]), Usage::default());
        let odd = [
            ("x-app-usage", "oops"),
            ("x-business-use-case-usage", "[[{}], 3]"),
            ("retry-after", "soon"),
        ];
        assert_eq!(read(&odd), Usage::default());
    }

    #[test]
    fn bounds_every_wait() {
        let usage = read(&[
            (
                "x-app-usage",
                r#"{"call_count":1e300,"estimated_time_to_regain_access":1e300}"#,
            ),
            ("retry-after", "18446744073709551615"),
        ]);
        assert_eq!(usage.percent, Some(u32::MAX));
        assert_eq!(usage.regain_after, Some(WAIT_MAX));
        assert_eq!(usage.retry_after, Some(WAIT_MAX));
    }

    #[test]
    fn reads_retry_after_as_seconds_or_as_a_date() {
        let date = ("date", "Sun, 22 Nov 2026 10:00:00 GMT");
        let wait = |text| read(&[date, ("retry-after", text)]).retry_after;
        assert_eq!(wait("90"), Some(Duration::from_secs(90)));
        assert_eq!(wait("Sun, 22 Nov 2026 10:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(wait("Sun, 22 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(
            read(&[("retry-after", "Sun, 22 Nov 2026 10:01:30 GMT")]).retry_after,
            None
        );
    }
}
