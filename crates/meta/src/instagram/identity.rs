//! What makes an Instagram event what it is (`instagram.md` 2.9, and the words of `notification::Event::external_id`).
//!
//! Each natural identity starts with a word of its own, so that events of different kinds never meet. What has no natural
//! identity is known by the hash of all that it says. An event in `standby` is another event than the same one in
//! `messaging`: if a thread changes hands, both may come, and the second must not be taken for a repeat.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::item::{Item, Place};
use super::json::{self, Object};
use crate::notification::{EventKind, external_id, hash_id};

/// `entry_time` is the entry's time in milliseconds; it tells apart what has no time of its own.
pub(super) fn of(item: &Item<'_>, entry_time: Option<i64>) -> String {
    let natural = item
        .object
        .as_ref()
        .and_then(|object| natural(item, object, entry_time));
    match natural {
        Some(parts) if item.standby => {
            let mut all = vec!["standby"];
            all.extend(parts.iter().map(AsRef::as_ref));
            external_id(&all)
        }
        Some(parts) => {
            let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
            external_id(&parts)
        }
        None => hash_id(item.event_kind(), &said(item, entry_time)),
    }
}

/// The parts of the natural identity, or `None` where one that it needs is missing.
fn natural<'a>(item: &Item<'a>, object: &Object<'a>, entry_time: Option<i64>) -> Option<Vec<Cow<'a, str>>> {
    let word = |word: &'static str| Cow::Borrowed(word);
    let sender = || item.sender().unwrap_or_default();
    match item.kind {
        EventKind::Messages => Some(vec![word("message"), item.body.as_ref()?.id("mid")?]),
        EventKind::MessageEchoes => Some(vec![word("echo"), item.body.as_ref()?.id("mid")?]),
        EventKind::MessageDeletion => Some(vec![word("deletion"), item.body.as_ref()?.id("mid")?]),
        EventKind::MessageEdit => {
            let body = item.body.as_ref()?;
            Some(vec![word("edit"), body.id("mid")?, number(body.integer("num_edit")?)])
        }
        EventKind::MessageReactions => {
            let body = item.body.as_ref()?;
            // A glyph may come without a name, and a name without a glyph (`instagram.md` 2.6).
            let emoji = body.id("emoji").or_else(|| body.id("reaction")).unwrap_or_default();
            let action = body.text("action").unwrap_or_default();
            let time = item.timestamp().map(number).unwrap_or_default();
            Some(vec![word("reaction"), body.id("mid")?, sender(), action, emoji, time])
        }
        EventKind::MessagingPostbacks => {
            let body = item.body.as_ref()?;
            if let Some(mid) = body.id("mid") {
                return Some(vec![word("postback"), mid]);
            }
            Some(vec![
                word("postback"),
                item.sender()?,
                number(item.timestamp()?),
                body.text("payload")?,
            ])
        }
        EventKind::MessagingSeen => {
            let body = item.body.as_ref()?;
            let up_to = body.id("mid").or_else(|| body.id("watermark"))?;
            Some(vec![word("seen"), up_to, sender()])
        }
        EventKind::Comments => comment("comment", object),
        EventKind::LiveComments => comment("live_comment", object),
        EventKind::Mentions => {
            let media = object.id("media_id")?;
            match object.id("comment_id") {
                Some(comment) => Some(vec![word("mention"), media, comment]),
                // A caption can be edited to mention the account once more.
                None => Some(vec![word("mention"), media, word(""), number(entry_time?)]),
            }
        }
        EventKind::Media => Some(vec![word("media"), object.id("id").or_else(|| object.id("media_id"))?]),
        EventKind::StoryInsights => Some(vec![
            word("story_insights"),
            object.id("media_id")?,
            number(entry_time?),
        ]),
        _ => None,
    }
}

/// A comment's id, with its verb where it has one that is not its making. Instagram sends no verbs today: there is no
/// webhook for edited, hidden or deleted comments (`instagram.md` 2.7).
fn comment<'a>(word: &'static str, value: &Object<'a>) -> Option<Vec<Cow<'a, str>>> {
    let mut parts = vec![Cow::Borrowed(word), value.id("id").or_else(|| value.id("comment_id"))?];
    if let Some(verb) = value.id("verb").filter(|verb| verb != "add") {
        parts.push(verb);
    }
    Some(parts)
}

/// All that an event without a natural identity says. An event object counts the same in `messaging[]` and as the value of a
/// change; the entry's time counts only where the event has none.
fn said(item: &Item<'_>, entry_time: Option<i64>) -> Value {
    let value = json::value(item.value);
    match item.place {
        Place::Whole => json!({ "entry": value }),
        // Two changes may differ in nothing but the name of the field, or in what stands beside it.
        Place::Changes if item.key.is_none() => {
            json!({ "change": json::value(item.raw), "time": entry_time })
        }
        Place::Fields if item.key.is_none() => {
            json!({ "field": item.field, "time": entry_time, "value": value })
        }
        _ if item.timestamp().is_some() => value,
        _ => json!({ "time": entry_time, "value": value }),
    }
}

fn number(number: i64) -> Cow<'static, str> {
    Cow::Owned(number.to_string())
}
