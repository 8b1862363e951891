//! What one event says.

use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use super::comment::Comment;
use super::handover::Handover;
use super::item::Item;
use super::json;
use super::message::Message;
use super::referral::Referral;
use super::split::EntryParts;
use crate::notification::EventKind;

/// One event, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose event it is: the account's id, `"0"` in tests from Meta's dashboard, a Page's id in some of Meta's examples
    /// (`instagram.md` 1.2, 2.8); empty if the entry has none.
    pub account_id: String,
    /// When Meta sent it, in milliseconds since 1970.
    pub time: Option<i64>,
    /// The field as it was spelled, where the event came as a change.
    pub field: Option<String>,
    /// Whether another app owns the thread: then never answer.
    pub standby: bool,
    /// Who did it: the sender of a message, the author of a comment.
    pub sender: Option<String>,
    /// Whom it was done to.
    pub recipient: Option<String>,
    /// When it happened, in milliseconds since 1970: its own time, else `time`.
    pub at: Option<i64>,
    /// What happened.
    pub change: Change,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message, an echo, or a deletion: see its flags.
    Message(Message),
    /// A message's text was changed.
    Edit {
        /// Which message.
        mid: String,
        /// The text as it is now.
        text: Option<String>,
        /// How often it was changed. At 0, with neither text nor sender, it is no edit: it means that a message exists, and stands in
        /// for one that may never come (`instagram.md` 2.6).
        num_edit: i64,
    },
    /// A reaction; it replaces the person's earlier one.
    Reaction {
        /// To which message.
        mid: String,
        /// `None` if it was taken back.
        reaction: Option<Reaction>,
    },
    /// A button, ice breaker or menu item was pressed.
    Postback {
        /// Missing for some ice breakers.
        mid: Option<String>,
        /// What was written on it.
        title: Option<String>,
        /// What the business put behind it.
        payload: Option<String>,
        /// By what the customer came.
        referral: Option<Referral>,
    },
    /// The customer came by a link into a thread that was there already.
    Referral(Referral),
    /// Everything up to this message, or this time, was read.
    Seen {
        /// Up to this message: Instagram's form.
        mid: Option<String>,
        /// Up to this time, in milliseconds: Messenger's form.
        watermark: Option<i64>,
    },
    /// The thread changed hands between apps.
    Handover(Handover),
    /// An opt-in. No sample from Instagram exists: the object as it came.
    OptIn(Value),
    /// A comment on the account's media.
    Comment(Comment),
    /// A comment during a live broadcast.
    LiveComment(Comment),
    /// The account was mentioned.
    Mention {
        /// The media under which, or in whose caption.
        media_id: String,
        /// The comment; `None` if it was in the caption.
        comment_id: Option<String>,
    },
    /// A new post, as its sender describes it (Meta sends none): an object with an `id` or `media_id`.
    Media(Value),
    /// Totals of a story at its end, as they came; -1 stands for a count below 5 (`instagram.md` 2.7).
    StoryInsights(Value),
    /// Anything else, as it came: the event object, or the `value` of a change.
    Unknown(Value),
}

/// A reaction to a message. Either part may be missing (`instagram.md` 2.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaction {
    /// The glyph.
    pub emoji: Option<String>,
    /// Meta's name for it: `love`, `wow`, `other`…
    pub name: Option<String>,
}

/// Why an event of a known kind has no meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeError {
    /// For a person: where in the event, and what is wanted there.
    pub reason: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ShapeError {}

impl Entry {
    /// The person on the other side of the account, by IGSID: the sender, or for an echo the recipient. `None` where the event
    /// names no such person, or only the account itself.
    pub fn customer(&self) -> Option<&str> {
        let (sender, recipient) = (self.sender.as_deref(), self.recipient.as_deref());
        let account = Some(self.account_id.as_str());
        if sender == account {
            return recipient.filter(|recipient| Some(*recipient) != account);
        }
        // Where neither side is the account by its id (a Page's id in the entry), the flag of the message tells.
        let echo = matches!(&self.change, Change::Message(message) if message.is_echo);
        if echo && recipient != account {
            recipient
        } else {
            sender
        }
    }
}

/// Understands one event from its [raw form](crate::notification::Event::raw).
///
/// Lenient: what is unknown becomes [`Change::Unknown`], and a part that is missing or odd is `None`. An error is left where a known
/// kind has no meaning without the part that is missing, and where `raw` is not one event.
pub fn parse(raw: &str) -> Result<Entry, ShapeError> {
    let raw = json::without_lone_surrogates(raw);
    let raw: &RawValue = serde_json::from_str(&raw).map_err(|error| ShapeError {
        reason: format!("entry: not JSON ({error})"),
    })?;
    let entry = EntryParts::read(raw);
    let &[(place, raw)] = entry.items.as_slice() else {
        return Err(ShapeError {
            reason: format!("entry: expected exactly one item, found {}", entry.items.len()),
        });
    };
    let item = Item::read(place, raw);
    Ok(Entry {
        change: change(&item)?,
        account_id: entry.id.unwrap_or_default().into_owned(),
        time: entry.time,
        standby: item.standby,
        sender: item.sender().map(Into::into),
        recipient: item.recipient().map(Into::into),
        at: item.timestamp().or(entry.time),
        field: item.field.map(Into::into),
    })
}

fn change(item: &Item<'_>) -> Result<Change, ShapeError> {
    match item.kind {
        EventKind::Messages | EventKind::MessageEchoes | EventKind::MessageDeletion => message(item),
        EventKind::MessageEdit => edit(item),
        EventKind::MessageReactions => reaction(item),
        EventKind::MessagingPostbacks => {
            let body = item
                .body
                .as_ref()
                .ok_or_else(|| wanted(item, "postback", "an object"))?;
            Ok(Change::Postback {
                mid: body.string("mid"),
                title: body.string("title"),
                payload: body.string("payload"),
                referral: body.object("referral").map(|referral| Referral::read(&referral)),
            })
        }
        EventKind::MessagingReferral => {
            let body = item
                .body
                .as_ref()
                .ok_or_else(|| wanted(item, "referral", "an object"))?;
            Ok(Change::Referral(Referral::read(body)))
        }
        EventKind::MessagingSeen => seen(item),
        EventKind::MessagingHandover => {
            let handover = item
                .key
                .zip(item.body.as_ref())
                .and_then(|(key, body)| Handover::read(key, body));
            let key = item.key.unwrap_or("pass_thread_control");
            handover
                .map(Change::Handover)
                .ok_or_else(|| wanted(item, key, "an object"))
        }
        EventKind::MessagingOptins => {
            let optin = item
                .object
                .as_ref()
                .filter(|_| item.body.is_some())
                .and_then(|object| object.get("optin"));
            optin
                .map(|raw| Change::OptIn(json::value(raw)))
                .ok_or_else(|| wanted(item, "optin", "an object"))
        }
        EventKind::Comments => comment(item).map(Change::Comment),
        EventKind::LiveComments => comment(item).map(Change::LiveComment),
        EventKind::Mentions => {
            let value = item.object.as_ref();
            let media_id = value
                .and_then(|value| value.id("media_id"))
                .ok_or_else(|| wanted(item, "media_id", "an id"))?;
            let comment_id = value.and_then(|value| value.id("comment_id"));
            Ok(Change::Mention {
                media_id: media_id.into_owned(),
                comment_id: comment_id.map(Into::into),
            })
        }
        EventKind::Media => {
            let id = item
                .object
                .as_ref()
                .and_then(|value| value.id("id").or_else(|| value.id("media_id")));
            id.map(|_| Change::Media(json::value(item.value)))
                .ok_or_else(|| wanted(item, "id", "the id of the media"))
        }
        EventKind::StoryInsights => {
            let id = item.object.as_ref().and_then(|value| value.id("media_id"));
            id.map(|_| Change::StoryInsights(json::value(item.value)))
                .ok_or_else(|| wanted(item, "media_id", "the id of the story"))
        }
        _ if item.value.get() == "null" => Ok(Change::Unknown(json::value(item.raw))),
        _ => Ok(Change::Unknown(json::value(item.value))),
    }
}

fn message(item: &Item<'_>) -> Result<Change, ShapeError> {
    let body = item.body.as_ref().ok_or_else(|| wanted(item, "message", "an object"))?;
    let mut message = Message::read(body).ok_or_else(|| wanted(item, "message.mid", "the id of the message"))?;
    // The field may have told what the message itself does not.
    message.is_echo |= item.kind == EventKind::MessageEchoes;
    message.is_deleted |= item.kind == EventKind::MessageDeletion;
    Ok(Change::Message(message))
}

fn edit(item: &Item<'_>) -> Result<Change, ShapeError> {
    let body = item
        .body
        .as_ref()
        .ok_or_else(|| wanted(item, "message_edit", "an object"))?;
    let mid = body
        .id("mid")
        .ok_or_else(|| wanted(item, "message_edit.mid", "the id of the message"))?;
    let text = body.string("text");
    // Meta's examples print a placeholder for the count: a new text is then at least the first edit.
    let num_edit = body.integer("num_edit").unwrap_or(i64::from(text.is_some()));
    Ok(Change::Edit {
        mid: mid.into_owned(),
        text,
        num_edit,
    })
}

fn reaction(item: &Item<'_>) -> Result<Change, ShapeError> {
    let body = item
        .body
        .as_ref()
        .ok_or_else(|| wanted(item, "reaction", "an object"))?;
    let mid = body
        .id("mid")
        .ok_or_else(|| wanted(item, "reaction.mid", "the id of the message"))?;
    let reaction = Reaction {
        emoji: body.string("emoji"),
        name: body.string("reaction"),
    };
    let taken_back = match body.text("action").as_deref() {
        Some(action) => action == "unreact",
        None => reaction == Reaction::default(),
    };
    Ok(Change::Reaction {
        mid: mid.into_owned(),
        reaction: (!taken_back).then_some(reaction),
    })
}

/// Instagram says up to which message, Messenger up to which time (`instagram.md` 8, "`read` shape").
fn seen(item: &Item<'_>) -> Result<Change, ShapeError> {
    let body = item.body.as_ref().ok_or_else(|| wanted(item, "read", "an object"))?;
    let mid = body.id("mid").map(Into::into);
    let watermark = body.millis("watermark");
    if mid.is_none() && watermark.is_none() {
        return Err(wanted(item, "read", "a `mid` or a `watermark`"));
    }
    Ok(Change::Seen { mid, watermark })
}

fn comment(item: &Item<'_>) -> Result<Comment, ShapeError> {
    item.object
        .as_ref()
        .and_then(Comment::read)
        .ok_or_else(|| wanted(item, "id", "the id of the comment"))
}

fn wanted(item: &Item<'_>, path: &str, expectation: &str) -> ShapeError {
    ShapeError {
        reason: format!("{}.{path}: expected {expectation}", item.place.path()),
    }
}
