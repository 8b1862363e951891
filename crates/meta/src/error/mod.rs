//! What Meta's errors are, what they mean, and what to do about each.
//!
//! A [`GraphError`] is the error object of one answer, as Meta sent it. [`explain`] finds it in the catalogue: data, one
//! [`Row`] for each documented code or subcode, in three tables (WhatsApp, Instagram, and what every Graph call can answer).
//! The most specific row wins: the subcode's, then the code's, then that of a range of codes; within each, the platform's own
//! table before the common one. A code that is in no table is classed by what the answer itself tells, and marked as not
//! listed, so that it can be counted.
//!
//! The codes and classes come from the reference: `whatsapp.md` 14.2 and 14.3, `instagram.md` 7, `graph-api.md` 3. Meanings and
//! remedies are written for the operator who reads them.

mod graph;
mod graph_error;
mod instagram;
mod row;
mod whatsapp;

use std::borrow::Cow;
use std::time::Duration;

use crate::notification::Platform;

pub use graph_error::GraphError;
pub use row::{Codes, Row};

/// What a sender does with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Meta is in trouble for a moment: try again after a growing pause. Where [`Explanation::may_have_arrived`] is set, look
    /// for a trace of the message first.
    Temporary,
    /// Too many calls: slow the whole channel down and try again, without counting an attempt.
    Throttled,
    /// Too many messages to this one contact: let that conversation wait, the others go on.
    PairLimit,
    /// The token or a permission is no longer good: hold the channel, raise an alarm, go on when it works again.
    Credentials,
    /// The contact's window for free-form messages is closed: send a template, or wait until the contact writes.
    WindowClosed,
    /// Final for this recipient: fail the message, try another route.
    Recipient,
    /// Final for this request: repeating it unchanged cannot help.
    Request,
    /// The template, or what was filled into it, is the reason: fail the message; other templates go on.
    Template,
    /// The account, the number or its billing is the reason: hold the channel, a person must act.
    Account,
    /// Not now: try again after [`Explanation::wait`], a few times at most.
    Later,
    /// Another app controls the conversation: wait, or ask for control.
    ThreadOwned,
    /// Tells about something a contact sent, not about a message of ours: nothing to repeat.
    Inbound,
}

impl Class {
    /// Every class, in the order of their declaration.
    pub const ALL: &[Self] = &[
        Self::Temporary,
        Self::Throttled,
        Self::PairLimit,
        Self::Credentials,
        Self::WindowClosed,
        Self::Recipient,
        Self::Request,
        Self::Template,
        Self::Account,
        Self::Later,
        Self::ThreadOwned,
        Self::Inbound,
    ];

    /// A stable name: `temporary`, `throttled`, `pair_limit`…
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Temporary => "temporary",
            Self::Throttled => "throttled",
            Self::PairLimit => "pair_limit",
            Self::Credentials => "credentials",
            Self::WindowClosed => "window_closed",
            Self::Recipient => "recipient",
            Self::Request => "request",
            Self::Template => "template",
            Self::Account => "account",
            Self::Later => "later",
            Self::ThreadOwned => "thread_owned",
            Self::Inbound => "inbound",
        }
    }
}

/// What the catalogue says of one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What a sender does with it.
    pub class: Class,
    /// For a person: what happened.
    pub meaning: Cow<'static, str>,
    /// For a person: what to do about it.
    pub remedy: &'static str,
    /// Whether the catalogue has a row for it.
    pub listed: bool,
    /// How long to wait before the next try where the answer itself names no time ([`GraphError::retry_after`], the usage headers,
    /// the details). `None` where nothing is documented.
    pub wait: Option<Duration>,
    /// Whether a message may have been delivered in spite of this error, so that a blind repeat can deliver it twice.
    pub may_have_arrived: bool,
}

/// Explains the error object of an answer.
pub fn explain(platform: Platform, error: &GraphError) -> Explanation {
    lookup(platform, error.code, error.subcode).map_or_else(|| unlisted(error), Row::explanation)
}

/// Explains an error that came without an answer, such as one of a status webhook (`whatsapp.md` 14.1: these carry no HTTP
/// status). A code that is not listed is of class [`Class::Request`]: what has already failed for good is not repeated.
pub fn explain_code(platform: Platform, code: i64, subcode: Option<i64>) -> Explanation {
    lookup(platform, code, subcode).map_or_else(
        || {
            let remedy = "Read Meta's own text; look the code up in Meta's documentation.";
            unlisted_explanation(code, subcode, "", Class::Request, remedy)
        },
        Row::explanation,
    )
}

/// The rows that apply to a platform: its own table, then the common one.
pub fn rows(platform: Platform) -> impl Iterator<Item = &'static Row> {
    own_rows(platform).iter().chain(graph::ROWS)
}

fn own_rows(platform: Platform) -> &'static [Row] {
    match platform {
        Platform::WhatsApp => whatsapp::ROWS,
        Platform::Instagram => instagram::ROWS,
    }
}

fn lookup(platform: Platform, code: i64, subcode: Option<i64>) -> Option<&'static Row> {
    let of_subcode = |subcode: i64| rows(platform).find(|row| row.has_subcode(code, subcode));
    subcode
        .and_then(of_subcode)
        .or_else(|| subcode.and_then(|subcode| behind_invalid_parameter(platform, code, subcode)))
        .or_else(|| rows(platform).find(|row| row.has_code(code)))
        .or_else(|| rows(platform).find(|row| row.has_code_in_range(code)))
}

/// Some errors have a large number of their own that Meta often reports as the subcode of 100 instead (`whatsapp.md` 14.2,
/// template creation: "look in both").
fn behind_invalid_parameter(platform: Platform, code: i64, subcode: i64) -> Option<&'static Row> {
    /// Below this, codes and subcodes are different number spaces: 33 means one thing as a code, another as a subcode.
    const OWN_NUMBER_MIN: i64 = 1_000_000;
    (code == 100 && subcode >= OWN_NUMBER_MIN)
        .then(|| rows(platform).find(|row| row.has_code(subcode)))
        .flatten()
}

fn unlisted(error: &GraphError) -> Explanation {
    let (class, remedy) = match (error.is_transient, error.http_status) {
        (Some(true), _) | (_, 500..=599) => (
            Class::Temporary,
            "Nothing at first: it is tried again. If it lasts, look at Meta's status page.",
        ),
        (_, 401 | 403) => (Class::Credentials, "Check the token and the permissions of the app."),
        (_, 429) => (Class::Throttled, "Nothing at first: the pace is lowered."),
        _ => (
            Class::Request,
            "Read Meta's own text; compare the request with Meta's documentation.",
        ),
    };
    let mut explanation = unlisted_explanation(error.code, error.subcode, &error.message, class, remedy);
    // Reference `whatsapp.md` 9.1, `instagram.md` 3.1: a 5xx leaves the outcome unknown.
    explanation.may_have_arrived = matches!(error.http_status, 500..=599);
    explanation
}

fn unlisted_explanation(
    code: i64,
    subcode: Option<i64>,
    message: &str,
    class: Class,
    remedy: &'static str,
) -> Explanation {
    let number = subcode.map_or_else(|| code.to_string(), |subcode| format!("{code}, subcode {subcode}"));
    let meaning = if message.is_empty() {
        format!("Meta answered with error {number}, which the catalogue does not list.")
    } else {
        format!("Meta answered with error {number}, which the catalogue does not list: {message}")
    };
    Explanation {
        class,
        meaning: Cow::Owned(meaning),
        remedy,
        listed: false,
        wait: None,
        may_have_arrived: false,
    }
}
