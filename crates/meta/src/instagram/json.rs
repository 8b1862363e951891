//! Lenient reading of JSON, one level at a time, without copying what is not needed.
//!
//! A value is kept as the text it came in ([`RawValue`]) until somebody asks for it, so that one odd value deep inside an event
//! spoils nothing but itself. Each question (`text`, `integer`, `flag`…) accepts every form in which Meta has been seen to write
//! the answer, and says `None` to the rest.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::notification::{MILLIS_MAX, epoch_millis};

/// Ids and times longer than this, as written, are not Meta's (the longest has 20 digits) and count as absent. The bound is what
/// keeps the events of a body, each of which repeats its entry's id and time, from growing faster than the body.
const SCALAR_BYTES_MAX: usize = 64;

/// An object whose members are still unread.
pub(super) struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// `None` if `raw` is not an object.
    pub(super) fn read(raw: &'a RawValue) -> Option<Self> {
        if raw.get().starts_with('{') {
            serde_json::from_str(raw.get()).ok()
        } else {
            None
        }
    }

    /// Whether the key is there, be its value `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// The value of the key, be it `null`. Of a doubled key the last counts, as in `serde_json`.
    pub(super) fn raw(&self, key: &str) -> Option<&'a RawValue> {
        self.members
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| *value)
    }

    /// The value of the key, unless it is absent or `null`.
    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.raw(key).filter(|value| value.get() != "null")
    }

    /// Every member, in the order in which it came, doubled ones included.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    pub(super) fn object(&self, key: &str) -> Option<Object<'a>> {
        self.get(key).and_then(Object::read)
    }

    /// A string, or a number as it is written.
    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(text)
    }

    /// Like [`Self::text`], as a string of its own.
    pub(super) fn string(&self, key: &str) -> Option<String> {
        self.text(key).map(Cow::into_owned)
    }

    /// An id: a text that is not empty.
    pub(super) fn id(&self, key: &str) -> Option<Cow<'a, str>> {
        self.text(key).filter(|id| !id.is_empty())
    }

    pub(super) fn integer(&self, key: &str) -> Option<i64> {
        self.text(key)?.trim().parse().ok()
    }

    /// `true`, `"true"` or `1`; anything else is no.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| matches!(value.get(), "true" | "\"true\"" | "1"))
    }

    pub(super) fn millis(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(millis)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(4);
                while let Some(Text(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Object { members })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A string, borrowed where it has no escapes (`Cow` itself always copies).
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters;

        impl<'de> Visitor<'de> for Characters {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Characters)
    }
}

/// The elements of an array; `None` if `raw` is not one.
pub(super) fn list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    if raw.get().starts_with('[') {
        serde_json::from_str(raw.get()).ok()
    } else {
        None
    }
}

/// A string, or a number as it is written.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok().map(|Text(text)| text),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw.get())),
        _ => None,
    }
}

/// An id or a time: a string or number short enough to be one.
pub(super) fn scalar(raw: &RawValue) -> Option<Cow<'_, str>> {
    if raw.get().len() > SCALAR_BYTES_MAX {
        None
    } else {
        text(raw)
    }
}

/// A time in milliseconds since 1970, from seconds or milliseconds, a number or a string (`instagram.md` 2.1), or from the
/// notation of the Graph API, `2026-11-20T10:20:00+0000`. Always later than 1970 and within the year 9999.
pub(super) fn millis(raw: &RawValue) -> Option<i64> {
    millis_of_text(&scalar(raw)?)
}

/// The same of a text.
pub(crate) fn millis_of_text(text: &str) -> Option<i64> {
    let text = text.trim();
    let millis = if let Ok(time) = text.parse::<i64>() {
        epoch_millis(time)?
    } else if let Ok(time) = jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%z", text) {
        time.to_timestamp().ok()?.as_millisecond()
    } else {
        text.parse::<jiff::Timestamp>().ok()?.as_millisecond()
    };
    (1..=MILLIS_MAX).contains(&millis).then_some(millis)
}

/// The whole value. What `serde_json` cannot hold (more than 127 levels, numbers beyond all bounds) becomes a string of its JSON,
/// so that nothing is lost.
pub(super) fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::String(raw.get().to_owned()))
}

/// Replaces each half of a surrogate pair that stands alone (`\ud83d` without its `\ude00`: an emoji that was cut in two) by
/// U+FFFD. Such an escape is JSON by the letter, but no text: no reader downstream, nor a database, would take it.
pub(super) fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    if !json.contains("\\ud") && !json.contains("\\uD") {
        return Cow::Borrowed(json);
    }
    let mut repaired: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(offset) = json[at..].find('\\') {
        let escape = at + offset;
        at = match (surrogate(json, escape), surrogate(json, escape + 6)) {
            (Some(Half::High), Some(Half::Low)) => escape + 12,
            (Some(_), _) => {
                let text = repaired.get_or_insert_default();
                text.push_str(&json[copied..escape]);
                text.push_str("\\ufffd");
                copied = escape + 6;
                copied
            }
            // Outside strings there are no backslashes in JSON; inside, one is followed by at least one ASCII character. What
            // is not JSON may end here or go on with a longer character, and is refused later.
            (None, _) => (escape + 2..=json.len())
                .find(|end| json.is_char_boundary(*end))
                .unwrap_or(json.len()),
        };
    }
    match repaired {
        Some(mut text) => {
            text.push_str(&json[copied..]);
            Cow::Owned(text)
        }
        None => Cow::Borrowed(json),
    }
}

enum Half {
    High,
    Low,
}

/// Which half of a surrogate pair is escaped at this place, if any.
fn surrogate(json: &str, at: usize) -> Option<Half> {
    let escape = json.as_bytes().get(at..at + 6)?;
    if !escape.starts_with(b"\\u")
        || !escape[2].eq_ignore_ascii_case(&b'd')
        || !escape[2..].iter().all(u8::is_ascii_hexdigit)
    {
        return None;
    }
    match escape[3].to_ascii_lowercase() {
        b'8'..=b'9' | b'a' | b'b' => Some(Half::High),
        b'c'..=b'f' => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn check_millis(json: &str, expected: Option<i64>) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!(millis(raw), expected, "{json}");
    }

    #[test]
    fn times_come_in_every_notation() {
        check_millis("1795169700", Some(1_795_169_700_000));
        check_millis("1795169700456", Some(1_795_169_700_456));
        check_millis("\"1527459824\"", Some(1_527_459_824_000));
        check_millis("\"1795169700456\"", Some(1_795_169_700_456));
        check_millis("\"2026-11-20T10:20:00+0000\"", Some(1_795_170_000_000));
        check_millis("\"2026-11-20T10:20:00Z\"", Some(1_795_170_000_000));
        for none in [
            "0",
            "-5",
            "\"\"",
            "\"soon\"",
            "true",
            "{}",
            "9223372036854775807",
            "-9223372036854775808",
            "1e400",
        ] {
            check_millis(none, None);
        }
    }

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_kept() {
        let check = |json: &str, expected: &str| assert_eq!(without_lone_surrogates(json), expected);
        check(r#""\ud83d\ude00""#, r#""\ud83d\ude00""#);
        check(r#""\uD83D!""#, r#""\ufffd!""#);
        check(r#""\ude00\ud83d\ude00\ud83d""#, r#""\ufffd\ud83d\ude00\ufffd""#);
        check(r#""\\ud83d""#, r#""\\ud83d""#);
        check(r#""\ud83"#, r#""\ud83"#);
        check("\\é\\ud83d", "\\é\\ufffd");
        check("\\ud83d\\", "\\ufffd\\");
    }

    #[test]
    fn the_last_of_a_doubled_key_counts() {
        let raw: &RawValue = serde_json::from_str(r#"{"a":1,"\u0061":2,"b":null}"#).unwrap();
        let object = Object::read(raw).unwrap();
        assert_eq!(object.integer("a"), Some(2));
        assert!(object.has("b"));
        assert!(object.get("b").is_none());
    }
}
