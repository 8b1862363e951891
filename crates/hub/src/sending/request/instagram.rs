//! Bodies for Instagram (reference `instagram.md` 3.1 to 3.3, 3.5).

use serde_json::{Value, json};

use crate::conversations::content::{Button, Card, Content, Media, React};

/// What Meta calls the reaction that was once the only one (reference `instagram.md` 3.3).
const LOVE: &str = "love";
/// The emoji of it, with and without the mark that asks for colour.
const HEARTS: [&str; 2] = ["\u{2764}\u{fe0f}", "\u{2764}"];

pub(super) fn body(recipient: &Value, content: &Content, refers_to: Option<&str>) -> Value {
    if let Content::Reaction(react) = content {
        return reaction(recipient, react, refers_to);
    }
    let message = message(content);
    // The example of a private reply has no type (reference `instagram.md` 3.6).
    if let Content::PrivateReply(_) = content {
        return json!({ "recipient": recipient, "message": message });
    }
    let mut body = json!({ "recipient": recipient, "messaging_type": "RESPONSE", "message": message });
    if let Some(mid) = refers_to {
        body["reply_to"] = json!({ "mid": mid });
    }
    body
}

/// Marks the body of a message as one that a person has written, after the day but within the week (reference `instagram.md` 3.5). A reaction
/// takes no mark: it may have nothing beside what it is made of (3.3).
pub fn tag_human_agent(body: &mut Value) {
    if body.get("message").is_some() {
        body["messaging_type"] = "MESSAGE_TAG".into();
        body["tag"] = "HUMAN_AGENT".into();
    }
}

fn reaction(recipient: &Value, react: &React, refers_to: Option<&str>) -> Value {
    let mut payload = json!({ "message_id": refers_to });
    let action = match react.emoji() {
        Some(emoji) => {
            payload["reaction"] = if HEARTS.contains(&emoji) { LOVE } else { emoji }.into();
            "react"
        }
        None => "unreact",
    };
    json!({ "recipient": recipient, "sender_action": action, "payload": payload })
}

/// An answer under a comment or a post (reference `instagram.md` 4): where, and the words.
pub(super) fn comment(place: Value, content: &Content) -> Value {
    let mut body = place;
    body["message"] = match content {
        Content::CommentReply(answer) => answer.text.as_str().into(),
        other => unreachable!("`{}` does not go below a comment", other.kind()),
    };
    body
}

fn message(content: &Content) -> Value {
    match content {
        Content::PrivateReply(answer) => json!({ "text": answer.text }),
        Content::Text { text, .. } => json!({ "text": text }),
        Content::QuickReplies { text, quick_replies } => json!({
            "text": text,
            "quick_replies": quick_replies
                .iter()
                .map(|reply| json!({ "content_type": "text", "title": reply.title, "payload": reply.payload }))
                .collect::<Vec<Value>>(),
        }),
        Content::Several { parts, .. } => {
            json!({ "attachments": parts.iter().map(attachment).collect::<Vec<Value>>() })
        }
        other => json!({ "attachment": attachment(other) }),
    }
}

fn attachment(content: &Content) -> Value {
    let of_file = |kind: &str, media: &Media| json!({ "type": kind, "payload": file(media) });
    match content {
        Content::Image(media) => of_file("image", media),
        Content::Video(media) => of_file("video", media),
        Content::Audio(media) => of_file("audio", media),
        Content::Document(media) => of_file("file", media),
        Content::Sticker(_) => json!({ "type": "like_heart" }),
        Content::Share { media_id, .. } => json!({ "type": "MEDIA_SHARE", "payload": { "id": media_id } }),
        Content::Buttons(buttons) => {
            let payload = json!({
                "template_type": "button",
                "text": buttons.text,
                "buttons": buttons.buttons.iter().map(button).collect::<Vec<Value>>(),
            });
            json!({ "type": "template", "payload": payload })
        }
        Content::Carousel(carousel) => {
            let elements: Vec<Value> = carousel.cards.iter().map(element).collect();
            json!({ "type": "template", "payload": { "template_type": "generic", "elements": elements } })
        }
        other => unreachable!("`{}` is refused before it is queued", other.kind()),
    }
}

fn file(media: &Media) -> Value {
    match (&media.id, &media.link) {
        (Some(id), _) => json!({ "attachment_id": id }),
        (None, link) => json!({ "url": link }),
    }
}

fn element(card: &Card) -> Value {
    let mut element = json!({ "title": card.title });
    if let Some(text) = &card.text {
        element["subtitle"] = text.as_str().into();
    }
    if let Some(link) = card.header.as_ref().and_then(|header| header.file()?.link.as_ref()) {
        element["image_url"] = link.as_str().into();
    }
    if let Some(url) = &card.url {
        element["default_action"] = json!({ "type": "web_url", "url": url });
    }
    if !card.buttons.is_empty() {
        element["buttons"] = card.buttons.iter().map(button).collect::<Vec<Value>>().into();
    }
    element
}

fn button(button: &Button) -> Value {
    match &button.url {
        Some(url) => json!({ "type": "web_url", "url": url, "title": button.title }),
        None => json!({ "type": "postback", "title": button.title, "payload": button.payload }),
    }
}
