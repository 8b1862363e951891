//! The envelope as it arrives: borrowed, one level at a time, each level indifferent to the shape of the next.
//!
//! A level that is misshapen yields "nothing of the sort" rather than an error, so that its neighbours are still read.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::field::List;
use crate::notification::epoch_millis;

/// The body of a POST.
#[derive(Deserialize)]
pub(super) struct Notification<'a> {
    #[serde(borrow, default)]
    pub(super) object: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) entry: Items<'a>,
}

/// `entry[]`
#[derive(Deserialize)]
pub(super) struct EntryShape<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) time: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) changes: Items<'a>,
}

/// `entry[].changes[]`
#[derive(Deserialize)]
pub(super) struct ChangeShape<'a> {
    #[serde(borrow, default)]
    pub(super) field: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) value: ValueShape<'a>,
}

/// `entry[].changes[].value`; empty where that is not an object.
#[derive(Default)]
pub(super) struct ValueShape<'a> {
    pub(super) metadata: Option<&'a RawValue>,
    pub(super) contacts: Vec<&'a RawValue>,
    /// The lists of items, as they came; the same key twice is two lists.
    pub(super) lists: Vec<(List, &'a RawValue, Vec<&'a RawValue>)>,
    /// Every other key, and those that should hold a list and do not.
    pub(super) others: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl ValueShape<'_> {
    /// The keys that are not a mere frame.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        let lists = self.lists.iter().map(|(list, ..)| list.name());
        lists.chain(self.others.iter().map(|(name, _)| &**name))
    }

    /// Makes a list one of the other keys.
    pub(super) fn unlist(&mut self, unwanted: List) {
        self.lists.retain(|(list, raw, _)| {
            if *list == unwanted {
                self.others.push((Cow::Borrowed(list.name()), raw));
            }
            *list != unwanted
        });
    }
}

/// One element of `history[]`.
#[derive(Deserialize)]
pub(super) struct ChunkShape<'a> {
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) threads: Items<'a>,
    #[serde(borrow)]
    pub(super) errors: Option<&'a RawValue>,
}

/// One element of `history[].threads[]`.
#[derive(Deserialize)]
pub(super) struct ThreadShape<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) messages: Items<'a>,
}

/// What identity, time and the join with `contacts[]` need of an item (reference `whatsapp.md` 2.3, 6.2).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ItemKeys<'a> {
    #[serde(borrow)]
    pub(super) id: Scalar<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Scalar<'a>,
    #[serde(borrow)]
    pub(super) status: Scalar<'a>,
    #[serde(borrow)]
    pub(super) event: Scalar<'a>,
    #[serde(borrow)]
    pub(super) timestamp: Scalar<'a>,
    #[serde(borrow)]
    pub(super) recipient_participant_user_id: Scalar<'a>,
    #[serde(borrow)]
    pub(super) recipient_participant_id: Scalar<'a>,
    #[serde(borrow)]
    pub(super) recipient_participant_parent_user_id: Scalar<'a>,
    #[serde(borrow)]
    from_user_id: Scalar<'a>,
    #[serde(borrow)]
    recipient_user_id: Scalar<'a>,
    #[serde(borrow)]
    to_user_id: Scalar<'a>,
    #[serde(borrow)]
    user_id: Scalar<'a>,
    #[serde(borrow)]
    from: Scalar<'a>,
    #[serde(borrow)]
    recipient_id: Scalar<'a>,
    #[serde(borrow)]
    to: Scalar<'a>,
    #[serde(borrow)]
    wa_id: Scalar<'a>,
    #[serde(borrow)]
    from_parent_user_id: Scalar<'a>,
    #[serde(borrow)]
    recipient_parent_user_id: Scalar<'a>,
    #[serde(borrow)]
    to_parent_user_id: Scalar<'a>,
    #[serde(borrow)]
    parent_user_id: Scalar<'a>,
}

impl ItemKeys<'_> {
    /// The ids by which `contacts[]` may know the item's person, the surest first.
    pub(super) fn people(&self) -> impl Iterator<Item = &str> {
        [
            &self.from_user_id,
            &self.recipient_user_id,
            &self.recipient_participant_user_id,
            &self.to_user_id,
            &self.user_id,
            &self.from,
            &self.recipient_id,
            &self.recipient_participant_id,
            &self.to,
            &self.wa_id,
            &self.from_parent_user_id,
            &self.recipient_parent_user_id,
            &self.recipient_participant_parent_user_id,
            &self.to_parent_user_id,
            &self.parent_user_id,
        ]
        .into_iter()
        .filter_map(Scalar::text)
    }
}

/// The ids of one element of `contacts[]`.
#[derive(Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the keys are Meta's")]
pub(super) struct ContactKeys<'a> {
    #[serde(borrow)]
    pub(super) user_id: Scalar<'a>,
    #[serde(borrow)]
    pub(super) wa_id: Scalar<'a>,
    #[serde(borrow)]
    pub(super) parent_user_id: Scalar<'a>,
}

/// The ids of `value.metadata` and, for handovers, of `value.recipient`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetadataKeys<'a> {
    #[serde(borrow)]
    pub(super) phone_number_id: Scalar<'a>,
    #[serde(borrow)]
    pub(super) timestamp: Scalar<'a>,
}

/// Reads a JSON object; anything else, or an object with a key twice, is `None`.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    // A derived struct would also take an array, by position.
    if json.starts_with('{') {
        serde_json::from_str(json).ok()
    } else {
        None
    }
}

/// A string or whole number; every other value is `Other`, `null` and a missing key are `Absent`.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Number(i64),
    Other,
}

impl Scalar<'_> {
    /// The text, where there is one and it is not empty.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The text, or the number's digits: for ids, which are integers in a few of Meta's samples.
    pub(super) fn id(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            _ => self.text().map(Cow::Borrowed),
        }
    }

    /// As a time: seconds or milliseconds, string or number (reference `whatsapp.md` 3).
    pub(super) fn millis(&self) -> Option<i64> {
        match self {
            Self::Number(number) => epoch_millis(*number),
            Self::Text(text) => text.trim().parse().ok().and_then(epoch_millis),
            Self::Absent | Self::Other => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(i64::try_from(number).map_or(Scalar::Other, Scalar::Number))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Other)
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Absent)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_seq(sequence)?;
                Ok(Scalar::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_map(map)?;
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// An array's elements, unread; `None` for a value that is not an array, and for none.
#[derive(Default)]
pub(super) struct Items<'a>(pub(super) Option<Vec<&'a RawValue>>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = sequence.next_element()? {
                    items.push(item);
                }
                Ok(Items(Some(items)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_map(map)?;
                Ok(Items(None))
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Items(None))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Items(None))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Items(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Items(None))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Items(None))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Items(None))
            }
        }
        deserializer.deserialize_any(ItemsVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ValueShape<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = ValueShape<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut value = ValueShape::default();
                while let Some(Key(key)) = map.next_key()? {
                    let raw: &'de RawValue = map.next_value()?;
                    let items = || serde_json::from_str::<Vec<&'de RawValue>>(raw.get()).ok();
                    match &*key {
                        "metadata" => value.metadata = Some(raw),
                        "contacts" => match items() {
                            Some(contacts) => value.contacts = contacts,
                            None => value.others.push((key, raw)),
                        },
                        name => match List::from_name(name).and_then(|list| Some((list, raw, items()?))) {
                            Some(list) => value.lists.push(list),
                            None => value.others.push((key, raw)),
                        },
                    }
                }
                Ok(value)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_seq(sequence)?;
                Ok(ValueShape::default())
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(ValueShape::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(ValueShape::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(ValueShape::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(ValueShape::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(ValueShape::default())
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(ValueShape::default())
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// A key, borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads any JSON into a tree; `None` where no tree can hold it (nested too deeply, a number out of range).
///
/// Half of a surrogate pair, which is what remains of an emoji when a text is cut off by length, is no character at all; it is
/// read as U+FFFD, so that one such text does not make its whole event unreadable.
pub(super) fn tree(json: &str) -> Option<Value> {
    serde_json::from_str(json)
        .ok()
        .or_else(|| serde_json::from_str(&without_lone_surrogates(json)?).ok())
}

/// `None` where there was nothing to replace.
fn without_lone_surrogates(json: &str) -> Option<String> {
    let unit_at = |index: usize| -> Option<u16> {
        let digits = json.get(index..index + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut repaired = String::new();
    let mut copied = 0;
    let mut index = 0;
    while let Some(found) = json.get(index..).and_then(|rest| rest.find('\\')) {
        index += found;
        let low_follows = || matches!(unit_at(index + 6), Some(0xDC00..=0xDFFF));
        match unit_at(index) {
            Some(0xD800..=0xDBFF) if low_follows() => index += 12,
            Some(0xD800..=0xDFFF) => {
                repaired.push_str(&json[copied..index]);
                repaired.push_str("\\ufffd");
                index += 6;
                copied = index;
            }
            // Past the backslash and the character after it, which may be a backslash too.
            _ => index += 1 + json[index + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    if copied == 0 {
        return None;
    }
    repaired.push_str(&json[copied..]);
    Some(repaired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_one_unreadable_character() {
        let read = |json: &str| tree(json).and_then(|value| value.as_str().map(str::to_owned));
        assert_eq!(read(r#""a\ud83d""#).as_deref(), Some("a\u{fffd}"));
        assert_eq!(read(r#""\ude00b\ud83d\ude00""#).as_deref(), Some("\u{fffd}b😀"));
        assert_eq!(read(r#""\\ud83d \ud83d""#).as_deref(), Some("\\ud83d \u{fffd}"));
        assert_eq!(read(r#""\ud83d\ud83d\ude00""#).as_deref(), Some("\u{fffd}😀"));
        assert_eq!(read("\"\\"), None);
    }
}
