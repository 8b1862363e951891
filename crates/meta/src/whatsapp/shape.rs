//! Reading JSON leniently, and saying precisely where that was not possible.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use crate::notification::epoch_millis;

/// Why an event's known content makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeError {
    /// For a person: the path of the value, what was expected there and what was found.
    pub reason: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ShapeError {}

/// A problem that Meta reports, with the one shape it has in `value.errors[]`, `messages[].errors[]` and `statuses[].errors[]`
/// (reference `whatsapp.md` 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorItem {
    /// What to decide on; the texts may change (reference `whatsapp.md` 14.1).
    pub code: i64,
    /// A short text, to be withdrawn by Meta.
    pub title: Option<String>,
    /// Usually the same as the title.
    pub message: Option<String>,
    /// `error_data.details`: the text that explains most.
    pub details: Option<String>,
    /// A page about the error.
    pub href: Option<String>,
}

impl ErrorItem {
    /// An element of an `errors` array.
    pub(super) fn read(value: &Value) -> Result<Self, Misshapen> {
        let error = Object::of(value)?;
        let code = error
            .number("code")
            .ok_or_else(|| error.missing("code", "an error code"))?;
        Ok(Self {
            code,
            title: error.text("title"),
            message: error.text("message"),
            details: error.object("error_data").and_then(|data| data.text("details")),
            href: error.text("href"),
        })
    }

    /// The readable elements of `errors`, where there is such a list: a problem that cannot be read must not hide its message.
    pub(super) fn read_all(object: Object<'_>) -> Vec<Self> {
        object
            .list("errors")
            .unwrap_or_default()
            .iter()
            .filter_map(|error| Self::read(error).ok())
            .collect()
    }
}

/// A value that is not what it must be; the path grows on the way out.
#[derive(Debug)]
pub(super) struct Misshapen {
    path: String,
    expected: &'static str,
    found: Cow<'static, str>,
}

impl Misshapen {
    pub(super) fn new(expected: &'static str, found: Option<&Value>) -> Self {
        Self {
            path: String::new(),
            expected,
            found: Cow::Borrowed(name_of(found)),
        }
    }

    /// Of what there should be one, there are `count`.
    pub(super) fn several(expected: &'static str, count: usize) -> Self {
        let found = if count == 0 {
            Cow::Borrowed("none")
        } else {
            Cow::Owned(count.to_string())
        };
        Self {
            path: String::new(),
            expected,
            found,
        }
    }

    /// Prefixes the path.
    pub(super) fn inside(mut self, name: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }
}

impl From<Misshapen> for ShapeError {
    fn from(misshapen: Misshapen) -> Self {
        let Misshapen { path, expected, found } = misshapen;
        let path = if path.is_empty() { "the event".to_owned() } else { path };
        Self {
            reason: format!("{path}: expected {expected}, found {found}"),
        }
    }
}

fn name_of(value: Option<&Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(text)) if text.is_empty() => "an empty string",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}

/// A JSON object, read key by key: what is absent, `null`, empty or of another type is `None`.
#[derive(Clone, Copy)]
pub(super) struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Misshapen> {
        value
            .as_object()
            .map(Self)
            .ok_or_else(|| Misshapen::new("an object", Some(value)))
    }

    pub(super) fn keys(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn value(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A string that is not empty.
    pub(super) fn str(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A string that is not empty.
    pub(super) fn text(self, name: &str) -> Option<String> {
        self.str(name).map(str::to_owned)
    }

    /// A string that is not empty, or a number's digits: Meta's ids are integers in some webhooks.
    pub(super) fn id(self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Number(number) => Some(number.to_string()),
            _ => self.text(name),
        }
    }

    /// A whole number, also one written as a string.
    pub(super) fn number(self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A number, also one written as a string; never infinite, never NaN.
    pub(super) fn decimal(self, name: &str) -> Option<f64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
        .filter(|number: &f64| number.is_finite())
    }

    /// A time in milliseconds since 1970.
    pub(super) fn millis(self, name: &str) -> Option<i64> {
        self.number(name).and_then(epoch_millis)
    }

    /// `true` only where it says so.
    pub(super) fn flag(self, name: &str) -> bool {
        self.boolean(name) == Some(true)
    }

    pub(super) fn boolean(self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    pub(super) fn object(self, name: &str) -> Option<Object<'a>> {
        self.0.get(name)?.as_object().map(Object)
    }

    pub(super) fn list(self, name: &str) -> Option<&'a [Value]> {
        self.0.get(name)?.as_array().map(Vec::as_slice)
    }

    pub(super) fn required_text(self, name: &str) -> Result<String, Misshapen> {
        self.text(name).ok_or_else(|| self.missing(name, "a string"))
    }

    pub(super) fn required_object(self, name: &str) -> Result<Object<'a>, Misshapen> {
        self.object(name).ok_or_else(|| self.missing(name, "an object"))
    }

    /// The complaint about a key that does not hold what it must.
    pub(super) fn missing(self, name: &str, expected: &'static str) -> Misshapen {
        Misshapen::new(expected, self.0.get(name)).inside(name)
    }
}
