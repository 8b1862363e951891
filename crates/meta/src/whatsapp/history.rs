//! Messages from before the number was connected (coexistence, reference `whatsapp.md` 7).

use serde_json::Value;

use super::entry::Person;
use super::message::Message;
use super::shape::{ErrorItem, Misshapen, Object};

/// One piece of imported history.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryItem {
    /// A message of an earlier time.
    Message(Box<HistoryMessage>),
    /// The owner declined to share the history.
    Declined {
        /// 2593109.
        errors: Vec<ErrorItem>,
    },
    /// A chunk without messages.
    Empty {
        /// 100 = the import is finished.
        progress: Option<i64>,
    },
}

/// A message of an earlier time.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryMessage {
    /// The message; a [placeholder](super::Content::MediaPlaceholder) where its media comes later under the same id.
    pub message: Message,
    /// Whether the business wrote it.
    pub outbound: bool,
    /// How far it got: `DELIVERED` `ERROR` `PENDING` `PLAYED` `READ` `SENT`.
    pub status: Option<String>,
    /// The customer whose thread it is.
    pub thread: Person,
    /// How much of the import is through, in percent.
    pub progress: Option<i64>,
}

/// An element of `history[]` with one message, or the refusal. `business` is the business's own number as digits.
pub(super) fn read_chunk(
    item: &Value,
    business: Option<&str>,
    entry_time: Option<i64>,
) -> Result<HistoryItem, Misshapen> {
    let chunk = Object::of(item)?;
    let progress = chunk
        .object("metadata")
        .and_then(|metadata| metadata.number("progress"));
    if chunk.value("errors").is_some() {
        let errors = ErrorItem::read_all(chunk);
        if errors.is_empty() {
            return Err(chunk.missing("errors", "an array of errors"));
        }
        return Ok(HistoryItem::Declined { errors });
    }
    let threads = match chunk.value("threads") {
        None => return Ok(HistoryItem::Empty { progress }),
        Some(_) => chunk
            .list("threads")
            .ok_or_else(|| chunk.missing("threads", "an array"))?,
    };
    let mut messages = Vec::new();
    for thread in threads {
        let thread = Object::of(thread).map_err(in_thread)?;
        let listed = thread
            .list("messages")
            .ok_or_else(|| in_thread(thread.missing("messages", "an array")))?;
        messages.extend(listed.iter().map(|message| (thread, message)));
    }
    let (thread, item) = match messages[..] {
        [] => return Ok(HistoryItem::Empty { progress }),
        [only] => only,
        _ => {
            return Err(in_thread(
                Misshapen::several("one message", messages.len()).inside("messages"),
            ));
        }
    };
    let message = Message::read(item, entry_time).map_err(|misshapen| in_thread(misshapen.inside("messages[0]")))?;
    let thread = read_thread(thread);
    Ok(HistoryItem::Message(Box::new(HistoryMessage {
        outbound: is_outbound(&message, business, &thread),
        status: read_status(item),
        message,
        thread,
        progress,
    })))
}

/// The media of an earlier placeholder: an element of `value.messages[]` under `field: history`.
pub(super) fn read_media(
    item: &Value,
    business: Option<&str>,
    entry_time: Option<i64>,
) -> Result<HistoryItem, Misshapen> {
    let message = Message::read(item, entry_time)?;
    let outbound = is_outbound(&message, business, &Person::default());
    let thread = if outbound {
        message.to.clone()
    } else {
        message.from.clone()
    };
    Ok(HistoryItem::Message(Box::new(HistoryMessage {
        outbound,
        status: read_status(item),
        message,
        thread,
        progress: None,
    })))
}

fn in_thread(misshapen: Misshapen) -> Misshapen {
    misshapen.inside("threads[0]")
}

/// `to`, or the business's number as `from`, marks a message that the business wrote; so does a number that is not the customer's,
/// where the business's own is not known.
fn is_outbound(message: &Message, business: Option<&str>, thread: &Person) -> bool {
    let Person {
        phone: from, user_id, ..
    } = &message.from;
    if !message.to.is_nobody() {
        return true;
    }
    if user_id.is_some() && *user_id == thread.user_id {
        return false;
    }
    match (from, business, &thread.phone) {
        (Some(from), Some(business), _) => from == business,
        (Some(from), None, Some(customer)) => from != customer,
        _ => false,
    }
}

/// The thread's `context` names the customer; its `id` does where there is no context.
fn read_thread(thread: Object<'_>) -> Person {
    let mut person = thread
        .object("context")
        .map(|context| Person::read(context, "wa_id", "user_id", "parent_user_id"))
        .unwrap_or_default();
    if person.is_nobody()
        && let Some(id) = thread.id("id")
    {
        // A phone number is digits alone, a business-scoped id starts with a country and a full stop (reference `whatsapp.md` 6.1).
        if id.bytes().all(|byte| byte.is_ascii_digit()) {
            person.phone = Some(id);
        } else {
            person.user_id = Some(id);
        }
    }
    person
}

fn read_status(item: &Value) -> Option<String> {
    Object::of(item).ok()?.object("history_context")?.text("status")
}
