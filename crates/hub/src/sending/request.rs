//! What Meta is sent: the bodies of the send calls, and the limits that a message must keep. Pure.
//!
//! Shapes and limits: reference `whatsapp.md` 9.1, 9.2, 10.1; `instagram.md` 3.1, 3.2.

use serde_json::{Value, json};

use crate::channels::model::ChannelKind;
use crate::conversations::content::{Content, Media};
use crate::conversations::model::{Identity, IdentityKind};
use crate::sending::email;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A WhatsApp phone number, as digits.
    Phone(String),
    /// A WhatsApp business-scoped user id: it goes into `recipient`, for in `to` it would be accepted and never arrive
    /// (reference `whatsapp.md` 6.4).
    UserId(String),
    /// An Instagram-scoped id.
    Igsid(String),
    /// An e-mail address.
    Email(String),
}

/// The address of a contact on a channel: of several, the one that was used last. `None` if there is none.
pub fn address_of(kind: ChannelKind, account: &str, identities: &[Identity]) -> Option<Address> {
    let latest = |kind: IdentityKind, scope: &str| {
        identities
            .iter()
            .filter(|identity| identity.key.kind == kind && identity.key.scope == scope)
            .max_by_key(|identity| identity.seen_at)
            .map(|identity| identity.shown.clone())
    };
    match kind {
        // A phone number can be sent everything; a user id not (authentication templates, reference `whatsapp.md` 6.4).
        ChannelKind::WhatsApp => latest(IdentityKind::Phone, "")
            .map(Address::Phone)
            .or_else(|| latest(IdentityKind::UserId, "").map(Address::UserId)),
        ChannelKind::Instagram => latest(IdentityKind::Igsid, account).map(Address::Igsid),
        ChannelKind::Email => latest(IdentityKind::Email, "").map(Address::Email),
    }
}

/// What is wrong with a message, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, as the caller wrote it: `content.text`.
    pub field: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

fn fault(field: &str, detail: impl Into<String>) -> Fault {
    Fault {
        field: field.to_owned(),
        detail: detail.into(),
    }
}

/// Characters of a WhatsApp text (reference `whatsapp.md` 9.2).
const WHATSAPP_TEXT_CHARS_MAX: usize = 4096;
/// Characters of a caption (reference `whatsapp.md` 9.2).
const WHATSAPP_CAPTION_CHARS_MAX: usize = 1024;
/// Characters of a template's name (reference `whatsapp.md` 10.2).
const TEMPLATE_NAME_CHARS_MAX: usize = 512;
/// Bytes, not characters, of an Instagram text (reference `instagram.md` 3.2).
const INSTAGRAM_TEXT_BYTES_MAX: usize = 1000;
/// Quick replies of a message (reference `instagram.md` 3.2).
const QUICK_REPLIES_MAX: usize = 13;
/// Characters of a quick reply's title; Meta cuts longer ones (reference `instagram.md` 3.2).
const QUICK_REPLY_TITLE_CHARS_MAX: usize = 20;
/// Characters of a quick reply's payload. Messenger's bound, which Instagram's pages do not repeat.
const QUICK_REPLY_PAYLOAD_CHARS_MAX: usize = 1000;

/// Characters of an e-mail's text: Tidings' own bound.
const EMAIL_TEXT_CHARS_MAX: usize = 100_000;

/// Whether a channel's product can be sent this, and whether it keeps the limits; every fault at once.
pub fn check(kind: ChannelKind, content: &Content) -> Vec<Fault> {
    let mut faults = Vec::new();
    match (kind, content) {
        (ChannelKind::WhatsApp, Content::Text { text, .. }) => {
            check_length(&mut faults, "content.text", text, WHATSAPP_TEXT_CHARS_MAX);
        }
        (
            ChannelKind::WhatsApp,
            Content::Image(media)
            | Content::Video(media)
            | Content::Audio(media)
            | Content::Document(media)
            | Content::Sticker(media),
        ) => {
            check_file(&mut faults, media);
            if let Some(caption) = &media.caption {
                check_length(&mut faults, "content.caption", caption, WHATSAPP_CAPTION_CHARS_MAX);
            }
        }
        (ChannelKind::WhatsApp, Content::Template(template)) => {
            check_length(&mut faults, "content.name", &template.name, TEMPLATE_NAME_CHARS_MAX);
            if !template
                .name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            {
                faults.push(fault(
                    "content.name",
                    "a template's name has lower-case letters, digits and `_` only",
                ));
            }
            if template.language.is_empty() || template.language.len() > 20 {
                faults.push(fault(
                    "content.language",
                    "must be the template's language, such as `en_US`",
                ));
            }
            if let Some(index) = template
                .components
                .iter()
                .position(|component| !component["type"].is_string())
            {
                let field = format!("content.components[{index}].type");
                faults.push(fault(&field, "is missing: `header`, `body` or `button`"));
            }
        }
        (ChannelKind::Instagram, Content::Text { text, .. }) => check_bytes(&mut faults, "content.text", text),
        (ChannelKind::Instagram, Content::QuickReplies { text, quick_replies }) => {
            check_bytes(&mut faults, "content.text", text);
            if quick_replies.is_empty() || quick_replies.len() > QUICK_REPLIES_MAX {
                let detail = format!("must be 1 to {QUICK_REPLIES_MAX}; these are {}", quick_replies.len());
                faults.push(fault("content.quickReplies", detail));
            }
            for (index, reply) in quick_replies.iter().enumerate() {
                let field = |name: &str| format!("content.quickReplies[{index}].{name}");
                check_length(&mut faults, &field("title"), &reply.title, QUICK_REPLY_TITLE_CHARS_MAX);
                check_length(
                    &mut faults,
                    &field("payload"),
                    &reply.payload,
                    QUICK_REPLY_PAYLOAD_CHARS_MAX,
                );
            }
        }
        (ChannelKind::Email, Content::Text { text, .. } | Content::QuickReplies { text, .. }) => {
            check_length(&mut faults, "content.text", text, EMAIL_TEXT_CHARS_MAX);
        }
        (
            ChannelKind::Instagram,
            Content::Image(media) | Content::Video(media) | Content::Audio(media) | Content::Document(media),
        )
        | (ChannelKind::Email, Content::Image(media)) => check_file(&mut faults, media),
        (kind, content) => {
            let can = match kind {
                ChannelKind::WhatsApp => "`text`, files and `template`",
                ChannelKind::Instagram => "`text`, `quick_replies` and files",
                ChannelKind::Email => "`text`, `image` and `quick_replies`",
            };
            let detail = format!("`{}` cannot be sent on {kind}; {can} can", content.kind());
            faults.push(fault("content.type", detail));
        }
    }
    faults
}

fn check_file(faults: &mut Vec<Fault>, media: &Media) {
    match (&media.link, &media.media_id, &media.id) {
        (Some(link), None, None) => check_link(faults, "content.link", link),
        (None, Some(_), None) | (None, None, Some(_)) => {}
        _ => {
            let detail = "must be the public address of the file; or give a `mediaId` in its place";
            faults.push(fault("content.link", detail));
        }
    }
}

fn check_length(faults: &mut Vec<Fault>, field: &str, text: &str, most: usize) {
    let length = text.chars().count();
    if length == 0 || text.trim().is_empty() {
        faults.push(fault(field, "must not be empty"));
    } else if length > most {
        faults.push(fault(
            field,
            format!("has {most} characters at most; this has {length}"),
        ));
    }
}

fn check_bytes(faults: &mut Vec<Fault>, field: &str, text: &str) {
    if text.trim().is_empty() {
        faults.push(fault(field, "must not be empty"));
    } else if text.len() > INSTAGRAM_TEXT_BYTES_MAX {
        let detail = format!(
            "has {INSTAGRAM_TEXT_BYTES_MAX} bytes of UTF-8 at most; this has {}",
            text.len()
        );
        faults.push(fault(field, detail));
    }
}

fn check_link(faults: &mut Vec<Fault>, field: &str, link: &str) {
    let rest = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) || link.chars().any(char::is_whitespace) {
        faults.push(fault(
            field,
            "must be an address that begins with `https://` and that Meta can fetch",
        ));
    }
}

/// The body of a send call. `callback` comes back in every status of the message (WhatsApp).
pub fn body(address: &Address, content: &Content, reply_to: Option<&str>, callback: &str) -> Value {
    match address {
        Address::Phone(_) | Address::UserId(_) => whatsapp(address, content, reply_to, callback),
        Address::Igsid(igsid) => instagram(igsid, content, reply_to),
        Address::Email(address) => email::body(address, content, callback),
    }
}

fn whatsapp(address: &Address, content: &Content, reply_to: Option<&str>, callback: &str) -> Value {
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "biz_opaque_callback_data": callback,
    });
    match address {
        Address::Phone(digits) => body["to"] = format!("+{digits}").into(),
        Address::UserId(id) | Address::Igsid(id) | Address::Email(id) => body["recipient"] = id.as_str().into(),
    }
    // A reply to a template shows no quotation, and is no error (reference `whatsapp.md` 9.1).
    if let Some(message_id) = reply_to {
        body["context"] = json!({ "message_id": message_id });
    }
    let (kind, value) = match content {
        Content::Text { text, preview_url } => ("text", json!({ "body": text, "preview_url": preview_url })),
        Content::Image(media) => ("image", whatsapp_file(media)),
        Content::Video(media) => ("video", whatsapp_file(media)),
        Content::Audio(media) => ("audio", whatsapp_file(media)),
        Content::Document(media) => ("document", whatsapp_file(media)),
        Content::Sticker(media) => ("sticker", whatsapp_file(media)),
        Content::Template(template) => (
            "template",
            json!({ "name": template.name, "language": { "code": template.language }, "components": template.components }),
        ),
        other => unreachable!("`{}` is refused before it is queued", other.kind()),
    };
    body["type"] = kind.into();
    body[kind] = value;
    body
}

fn whatsapp_file(media: &Media) -> Value {
    let mut file = match &media.id {
        Some(id) => json!({ "id": id }),
        None => json!({ "link": media.link }),
    };
    for (name, value) in [("caption", &media.caption), ("filename", &media.filename)] {
        if let Some(value) = value {
            file[name] = value.as_str().into();
        }
    }
    file
}

fn instagram_file(kind: &str, media: &Media) -> Value {
    let payload = match &media.id {
        Some(id) => json!({ "attachment_id": id }),
        None => json!({ "url": media.link }),
    };
    json!({ "attachment": { "type": kind, "payload": payload } })
}

fn instagram(igsid: &str, content: &Content, reply_to: Option<&str>) -> Value {
    let message = match content {
        Content::Text { text, .. } => json!({ "text": text }),
        Content::Image(media) => instagram_file("image", media),
        Content::Video(media) => instagram_file("video", media),
        Content::Audio(media) => instagram_file("audio", media),
        Content::Document(media) => instagram_file("file", media),
        Content::QuickReplies { text, quick_replies } => json!({
            "text": text,
            "quick_replies": quick_replies
                .iter()
                .map(|reply| json!({ "content_type": "text", "title": reply.title, "payload": reply.payload }))
                .collect::<Vec<Value>>(),
        }),
        other => unreachable!("`{}` is refused before it is queued", other.kind()),
    };
    let mut body = json!({ "recipient": { "id": igsid }, "messaging_type": "RESPONSE", "message": message });
    if let Some(mid) = reply_to {
        body["reply_to"] = json!({ "mid": mid });
    }
    body
}

/// Marks the body of an Instagram message as one that a person has written, after the day but within the week (reference `instagram.md` 3.5).
pub fn tag_human_agent(body: &mut Value) {
    body["messaging_type"] = "MESSAGE_TAG".into();
    body["tag"] = "HUMAN_AGENT".into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Address, body, check};
    use crate::channels::model::ChannelKind;
    use crate::conversations::content::{Content, Media, QuickReply, Template};

    #[test]
    fn a_user_id_goes_into_recipient_and_never_into_to() {
        let sent = body(
            &Address::UserId("GB.48201937562840117365".into()),
            &Content::text("Hi"),
            None,
            "mark",
        );
        assert_eq!(sent["recipient"], "GB.48201937562840117365");
        assert!(sent.get("to").is_none());
        let sent = body(
            &Address::Phone("447700900123".into()),
            &Content::text("Hi"),
            Some("wamid.1"),
            "mark",
        );
        assert_eq!(sent["to"], "+447700900123");
        assert_eq!(sent["context"], json!({ "message_id": "wamid.1" }));
        assert_eq!(sent["biz_opaque_callback_data"], "mark");
    }

    #[test]
    fn limits_hold_on_both_sides_of_the_bound() {
        let long = |count: usize| Content::text("é".repeat(count));
        assert!(check(ChannelKind::WhatsApp, &long(4096)).is_empty());
        assert_eq!(check(ChannelKind::WhatsApp, &long(4097))[0].field, "content.text");
        assert!(check(ChannelKind::Instagram, &long(500)).is_empty(), "1,000 bytes");
        assert_eq!(check(ChannelKind::Instagram, &long(501))[0].field, "content.text");
        assert_eq!(check(ChannelKind::WhatsApp, &long(0))[0].detail, "must not be empty");
        let replies = |count: usize| Content::QuickReplies {
            text: "?".into(),
            quick_replies: vec![
                QuickReply {
                    title: "t".repeat(20),
                    payload: "p".into()
                };
                count
            ],
        };
        assert!(check(ChannelKind::Instagram, &replies(13)).is_empty());
        assert_eq!(
            check(ChannelKind::Instagram, &replies(14))[0].field,
            "content.quickReplies"
        );
        assert_eq!(
            check(ChannelKind::Instagram, &replies(0))[0].field,
            "content.quickReplies"
        );
        let image = |caption: usize, link: &str| {
            Content::Image(Media {
                link: Some(link.into()),
                caption: Some("c".repeat(caption)),
                ..Media::default()
            })
        };
        assert!(check(ChannelKind::WhatsApp, &image(1024, "https://cdn.example.org/1.jpg")).is_empty());
        assert_eq!(
            check(ChannelKind::WhatsApp, &image(1025, "https://cdn.example.org/1.jpg"))[0].field,
            "content.caption"
        );
        assert_eq!(
            check(ChannelKind::WhatsApp, &image(1, "file:///etc/passwd"))[0].field,
            "content.link"
        );
    }

    #[test]
    fn what_a_product_cannot_be_sent_is_refused_by_name() {
        let template = Content::Template(Template {
            name: "hello_world".into(),
            language: "en_US".into(),
            components: Vec::new(),
        });
        assert!(check(ChannelKind::WhatsApp, &template).is_empty());
        assert_eq!(check(ChannelKind::Instagram, &template)[0].field, "content.type");
        assert_eq!(
            check(ChannelKind::WhatsApp, &Content::Placeholder)[0].field,
            "content.type"
        );
    }
}
