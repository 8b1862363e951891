//! Instagram events as JSON (instagram.md 2.4 to 2.6).

use serde_json::{Value, json};

use super::{Event, EventId, Object};
use crate::posts::PostKind;
use crate::posts::comments::Comment;
use crate::state::State;

/// Something from the customer to the account; `what` holds `message`, `reaction`, `read`, `postback` or `message_edit`.
pub(crate) fn from_customer(
    account_id: &str,
    igsid: &str,
    id: EventId,
    field: &'static str,
    at: i64,
    what: (&'static str, Value),
) -> Event {
    event(account_id, (igsid, account_id), id, field, at, what)
}

/// A comment on a post, or during a broadcast (instagram.md 2.7); of a customer, or of the account itself.
pub(crate) fn comment(state: &State, comment: &Comment) -> Event {
    let account_id = &comment.key.account;
    let (author, username) = state.author_of(comment);
    let product = match state.posts.get(&comment.media_id).map(|post| post.kind) {
        Some(PostKind::Image | PostKind::Video | PostKind::Carousel) => "FEED",
        Some(PostKind::Story) => "STORY",
        Some(PostKind::Reel) | None => "REELS",
    };
    let mut value = json!({
        "id": comment.id, "text": comment.text, "from": {"id": author, "username": username},
        "media": {"id": comment.media_id, "media_product_type": product},
    });
    if let Some(parent_id) = &comment.parent_id {
        value["parent_id"] = json!(parent_id);
    }
    let field = if comment.is_live { "live_comments" } else { "comments" };
    Event::new(EventId(comment.id.clone()), Object::Instagram, account_id, field, value)
}

/// A mention under the post of somebody, or in its caption: ids alone (instagram.md 2.7).
pub(crate) fn mention(account_id: &str, id: EventId, media_id: &str, comment_id: Option<&str>) -> Event {
    let mut value = json!({ "media_id": media_id });
    if let Some(comment_id) = comment_id {
        value["comment_id"] = json!(comment_id);
    }
    Event::new(id, Object::Instagram, account_id, "mentions", value)
}

/// The echo of what the account sent: sender and recipient swapped, `is_echo` set.
pub(crate) fn echo(account_id: &str, igsid: &str, mid: &str, at: i64, mut message: Value) -> Event {
    message["mid"] = json!(mid);
    message["is_echo"] = json!(true);
    let id = EventId(mid.to_owned());
    event(
        account_id,
        (account_id, igsid),
        id,
        "messages",
        at,
        ("message", message),
    )
}

fn event(
    account_id: &str,
    (sender, recipient): (&str, &str),
    id: EventId,
    field: &'static str,
    at: i64,
    (key, what): (&'static str, Value),
) -> Event {
    let mut value = json!({"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": at});
    value[key] = what;
    Event::new(id, Object::Instagram, account_id, field, value)
}
