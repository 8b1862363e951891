//! Cursors: where a list goes on, as text that callers pass back unread.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::problem::{Code, Problem};

/// A place in a list as text.
pub fn encode<T: Serialize>(place: &T) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).expect("a place in a list is made of numbers and ids"))
}

/// The place that a text stands for; `field` is where the caller has written it.
pub fn decode<T: DeserializeOwned>(field: &str, text: &str) -> Result<T, Problem> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| Problem::of_field(Code::InvalidCursor, field, "is not a `nextCursor` of this list"))
}

/// Cuts a list that was asked for one item too many, and tells where it goes on, if it does.
pub fn cut<T, P: Serialize>(items: &mut Vec<T>, limit: u32, place: impl Fn(&T) -> P) -> Option<String> {
    let limit = limit as usize;
    if items.len() <= limit {
        return None;
    }
    items.truncate(limit);
    items.last().map(|last| encode(&place(last)))
}

#[cfg(test)]
mod tests {
    use super::{cut, decode, encode};

    #[test]
    fn a_place_comes_back_and_nothing_else_is_one() {
        let cursor = encode(&(17_i64, "x"));
        assert_eq!(decode::<(i64, String)>("cursor", &cursor), Ok((17, "x".to_owned())));
        for wrong in [
            "",
            "!",
            "AAAA",
            cursor.trim_end_matches(char::is_alphanumeric),
            &encode(&17),
        ] {
            assert!(decode::<(i64, String)>("cursor", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_goes_on_where_there_is_more() {
        let mut items = vec![3, 2, 1];
        assert_eq!(cut(&mut items, 3, |item| *item), None);
        assert_eq!(cut(&mut items, 2, |item| *item), Some(encode(&2)));
        assert_eq!(items, [3, 2]);
    }
}
