//! The few kinds of value that both engines store, and rows of them.

use std::collections::HashMap;
use std::hash::Hash;

use super::StoreError;
use crate::conversations::model::ChannelId;

/// A value on its way into a statement.
///
/// The schema is portable: integers (also times, in epoch milliseconds, and booleans), text, and bytes (ids).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Param<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

macro_rules! param_from {
    ($($from:ty => |$value:ident| $param:expr;)*) => {
        $(impl<'a> From<$from> for Param<'a> {
            fn from($value: $from) -> Self {
                $param
            }
        })*
    };
}

param_from! {
    i64 => |value| Self::Int(value);
    i32 => |value| Self::Int(i64::from(value));
    u32 => |value| Self::Int(i64::from(value));
    u16 => |value| Self::Int(i64::from(value));
    bool => |value| Self::Int(i64::from(value));
    &'a str => |value| Self::Text(value);
    &'a String => |value| Self::Text(value);
    &'a [u8] => |value| Self::Blob(value);
    &'a Vec<u8> => |value| Self::Blob(value);
    &'a [u8; 16] => |value| Self::Blob(value);
}

impl<'a, T> From<Option<T>> for Param<'a>
where
    Param<'a>: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

impl<'a> From<&'a Option<String>> for Param<'a> {
    fn from(value: &'a Option<String>) -> Self {
        value.as_deref().map_or(Self::Null, Self::Text)
    }
}

/// Writes a parameter list: `params![id, name, at]`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::store::value::Param::from($value)),*] };
}
pub(crate) use params;

/// Many rows for one statement, all of the same width.
#[derive(Debug, Default)]
pub(crate) struct Rows<'a> {
    width: usize,
    values: Vec<Param<'a>>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a row; every row of one batch has the same number of values.
    pub(crate) fn push(&mut self, row: &[Param<'a>]) {
        debug_assert!(
            self.width == 0 || self.width == row.len(),
            "rows of one batch have one width"
        );
        self.width = row.len();
        self.values.extend_from_slice(row);
    }

    /// A row for each channel and what is asked of it.
    pub(crate) fn of_channels<T>(asked: &'a [(ChannelId, T)]) -> Self
    where
        Param<'a>: From<&'a T>,
    {
        let mut rows = Self::new();
        for (channel, of) in asked {
            rows.push(&[Param::Text(&channel.0), of.into()]);
        }
        rows
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.iter().len() as u64
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &[Param<'a>]> {
        self.values.chunks(self.width.max(1))
    }

    pub(super) fn column(&self, index: usize) -> impl Iterator<Item = Param<'a>> + '_ {
        self.values.iter().skip(index).step_by(self.width.max(1)).copied()
    }
}

/// What was found of channels and what was asked of them, which are the first two columns.
pub(crate) fn by_channel<K, V>(found: &[Row]) -> Result<HashMap<(ChannelId, K), V>, StoreError>
where
    K: FromValue + Eq + Hash,
    V: FromValue,
{
    found
        .iter()
        .map(|row| Ok(((ChannelId(row.get(0)?), row.get(1)?), row.get(2)?)))
        .collect()
}

/// A value on its way out of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// One row of an answer, its columns in the order of the statement.
#[derive(Debug, Clone)]
pub(crate) struct Row(pub(super) Vec<Value>);

impl Row {
    /// The column's value; an error if it is of another type, or null where `T` is not an `Option`.
    pub(crate) fn get<T: FromValue>(&self, column: usize) -> Result<T, StoreError> {
        let value = self
            .0
            .get(column)
            .ok_or_else(|| StoreError::corrupt(column, "is missing"))?;
        T::from_value(value).ok_or_else(|| StoreError::corrupt(column, "has an unexpected type or value"))
    }
}

/// What a column can be read as.
pub(crate) trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(int) => Some(*int),
            Value::Null | Value::Text(_) | Value::Blob(_) => None,
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).and_then(|int| Self::try_from(int).ok())
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(|int| int != 0)
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::Int(_) | Value::Blob(_) => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            Value::Null | Value::Int(_) | Value::Text(_) => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}
