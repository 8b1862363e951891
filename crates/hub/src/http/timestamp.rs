//! Times as callers read and write them: RFC 3339, written in UTC with milliseconds.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::clock::from_millis;

/// What a text that is no time should have been.
pub const EXPECTED: &str = "a time in RFC 3339, such as 2026-11-22T09:30:00Z";

/// A time in milliseconds since 1970, on its way to a caller: `2026-11-22T09:30:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", from_millis(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, in UTC, with milliseconds"))
            .into()
    }
}

impl ToSchema for Time {}

/// Understands a time in RFC 3339, as milliseconds since 1970; with an offset or `Z`, since without one it is not a time.
pub fn parse(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::{Time, parse};

    #[test]
    fn times_have_milliseconds_and_are_in_utc() {
        assert_eq!(Time(1_795_334_400_000).to_string(), "2026-11-22T08:00:00.000Z");
        assert_eq!(Time(1_795_334_400_007).to_string(), "2026-11-22T08:00:00.007Z");
    }

    #[test]
    fn times_are_understood_with_any_offset_but_not_without() {
        assert_eq!(parse("2026-11-22T08:00:00Z"), Some(1_795_334_400_000));
        assert_eq!(parse("2026-11-22T09:00:00.5+01:00"), Some(1_795_334_400_500));
        for wrong in ["2026-11-22T08:00:00", "2026-11-22", "yesterday", "1795334400"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
