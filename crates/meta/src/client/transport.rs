//! One HTTP exchange, and which error means what.

use std::error::Error;
use std::fmt::Write;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::multipart::Form;
use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::redaction::Redaction;
use super::{CallError, Carried, Exchange, GraphClient, Usage};
use crate::error::GraphError;

/// One call, ready to be made.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Below the version.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Body<'a>,
    pub(super) token: &'a SecretString,
    /// Secrets of this call besides the token.
    pub(super) secrets: &'a [&'a SecretString],
    pub(super) on_unnamed_success: UnnamedSuccess,
    /// How long it may take altogether, where that is not what the client's calls may take.
    pub(super) timeout: Option<Duration>,
}

pub(super) enum Body<'a> {
    None,
    Json(&'a Value),
    Form(&'a [(&'a str, &'a str)]),
    Multipart(Box<Form>),
}

/// What a 2xx means that lacks what the call is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UnnamedSuccess {
    /// The call may have taken effect: a message may be on its way without our knowing its id.
    Unknown,
    /// The call changes nothing, or can be repeated.
    Unreadable,
}

/// What arrived of an answer.
struct Received {
    http_status: u16,
    usage: Usage,
    served_version: Option<String>,
    /// As far as it was read.
    body: Vec<u8>,
    /// Why there is not more of it.
    cut: Option<String>,
}

impl GraphClient {
    /// Makes the call, and reads what it is for out of the answer with `read`.
    pub(super) async fn call<T>(&self, call: Call<'_>, read: impl FnOnce(&Value) -> Option<T>) -> Exchange<T> {
        let started = Instant::now();
        let redaction = Redaction::new(call.secrets.iter().copied().chain([call.token]));
        let on_unnamed_success = call.on_unnamed_success;
        let received = match self.request(call) {
            Ok(request) => self.receive(request).await,
            Err(error) => Err(error),
        };
        match received {
            Ok(received) => {
                let is_cut = received.cut.is_some();
                let answer = String::from_utf8_lossy(&received.body).into_owned();
                let answer = redaction.apply(answer, is_cut);
                let outcome = outcome(&received, &answer, on_unnamed_success, read);
                Exchange {
                    outcome,
                    http_status: Some(received.http_status),
                    elapsed: started.elapsed(),
                    answer,
                    usage: received.usage,
                    served_version: received.served_version,
                }
            }
            Err(error) => Exchange {
                outcome: Err(redact_reason(error, &redaction)),
                http_status: None,
                elapsed: started.elapsed(),
                answer: String::new(),
                usage: Usage::default(),
                served_version: None,
            },
        }
    }

    fn request(&self, call: Call<'_>) -> Result<RequestBuilder, CallError> {
        let not_sent = |reason: &str| CallError::NotSent {
            reason: reason.to_owned(),
        };
        let mut url = format!("{}/{}", self.base_url, self.version);
        for part in call.path {
            if !is_id(part) {
                return Err(not_sent(&format!("{part:?} is not an id of Meta's")));
            }
            // Writing to a String cannot fail.
            let _ = write!(url, "/{part}");
        }
        let bearer = bearer(call.token).ok_or_else(|| not_sent("the token holds characters that no token has"))?;
        let mut request = self.http.request(call.method, url).header(AUTHORIZATION, bearer);
        if let Some(timeout) = call.timeout {
            request = request.timeout(timeout);
        }
        if !call.query.is_empty() {
            request = request.query(call.query);
        }
        Ok(match call.body {
            Body::None => request,
            Body::Json(body) => request.json(body),
            Body::Form(fields) => request.form(fields),
            Body::Multipart(form) => request.multipart(*form),
        })
    }

    async fn receive(&self, request: RequestBuilder) -> Result<Received, CallError> {
        if let Some(carrier) = &self.carrier {
            return Ok(self.unpack(carrier.carry(request.build().map_err(not_answered)?).await?));
        }
        let mut response = request.send().await.map_err(not_answered)?;
        let (body, cut) = read_body(&mut response, self.answer_bytes_max).await;
        Ok(Received {
            http_status: response.status().as_u16(),
            usage: Usage::read(response.headers()),
            served_version: header_text(response.headers(), "facebook-api-version"),
            body,
            cut,
        })
    }

    fn unpack(&self, carried: Carried) -> Received {
        let (mut body, mut cut) = (carried.body, carried.broken);
        if body.len() > self.answer_bytes_max {
            body.truncate(self.answer_bytes_max);
            cut = Some(too_long(self.answer_bytes_max));
        }
        Received {
            http_status: carried.http_status,
            usage: Usage::read(&carried.headers),
            served_version: header_text(&carried.headers, "facebook-api-version"),
            body,
            cut,
        }
    }
}

/// The header that bears a token; `None` if it holds characters that no token has.
pub(super) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).ok()?;
    bearer.set_sensitive(true);
    Some(bearer)
}

/// Ids of Meta's are digits, letters and `_`, `-`; anything else in a path would make another request than the one meant.
pub(super) fn is_id(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Only what went wrong before there was a connection is certainly not received. Anything else may have happened after the request
/// was written, and is not told apart.
fn not_answered(error: reqwest::Error) -> CallError {
    let is_certain = error.is_builder() || error.is_connect();
    // A URL may hold an input token.
    let reason = chain(&error.without_url());
    if is_certain {
        CallError::NotSent { reason }
    } else {
        CallError::Unknown {
            reason,
            http_status: None,
        }
    }
}

/// Reads the body up to the bound. The second value tells why there is not more of it.
async fn read_body(response: &mut Response, bytes_max: usize) -> (Vec<u8>, Option<String>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = bytes_max - body.len();
                if chunk.len() > room {
                    body.extend_from_slice(&chunk[..room]);
                    return (body, Some(too_long(bytes_max)));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return (body, None),
            Err(error) => return (body, Some(chain(&error.without_url()))),
        }
    }
}

fn too_long(bytes_max: usize) -> String {
    format!("it is longer than {bytes_max} bytes")
}

/// The body decides, before the status: an error object can come with a 200 (reference `graph-api.md` 3).
fn outcome<T>(
    received: &Received,
    answer: &str,
    on_unnamed_success: UnnamedSuccess,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, CallError> {
    let http_status = received.http_status;
    let is_success = (200..300).contains(&http_status);
    let retry_after = received.usage.retry_after;
    let json = serde_json::from_str::<Value>(answer);
    let reason = match json {
        Ok(json) => {
            if let Some(error) = GraphError::from_answer(&json, http_status, retry_after) {
                return Err(CallError::Refused(Box::new(error)));
            }
            // An error object without a code is still no success.
            let found = if is_success && json.get("error").is_none() {
                read(&json)
            } else {
                None
            };
            if let Some(found) = found {
                return Ok(found);
            }
            if is_success {
                "it lacks what was asked for".to_owned()
            } else {
                "it has no error object with a code".to_owned()
            }
        }
        Err(error) => match &received.cut {
            Some(cut) => cut.clone(),
            None if answer.is_empty() => "it is empty".to_owned(),
            None => format!("it is not JSON: {error}"),
        },
    };
    Err(if is_success && on_unnamed_success == UnnamedSuccess::Unknown {
        CallError::Unknown {
            reason: format!("Meta's answer does not name the message: {reason}"),
            http_status: Some(http_status),
        }
    } else {
        CallError::Unreadable {
            http_status,
            reason,
            retry_after,
        }
    })
}

fn redact_reason(error: CallError, redaction: &Redaction<'_>) -> CallError {
    match error {
        CallError::NotSent { reason } => CallError::NotSent {
            reason: redaction.apply(reason, false),
        },
        CallError::Unknown { reason, http_status } => CallError::Unknown {
            reason: redaction.apply(reason, false),
            http_status,
        },
        other => other,
    }
}

pub(super) fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// An error and its sources, outermost first.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
