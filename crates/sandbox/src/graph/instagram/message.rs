//! What an Instagram message may say (instagram.md 3.2): what the customer sees of it, and what its echo says (2.4).
//!
//! Text with quick replies; image, video, audio and file, by address or by uploaded id; several images; the heart; an own post; generic,
//! button and product templates. Lengths and counts are in `graph::bounds`.

use serde_json::{Value, json};

use super::super::bounds;
use super::super::error::GraphError;
use super::super::params::Params;
use super::super::whatsapp::is_unreachable;
use super::invalid;
use crate::posts::PostKind;
use crate::state::State;
use crate::state::threads::{Attached, Card, Choice, Post, ProductSection, Products, Shown};
use crate::world::InstagramAccount;

/// A longer title of a quick reply is cut.
const QUICK_REPLY_TITLE_MAX: usize = 20;

/// Whose message is read, and where uploads and posts are looked up.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) state: &'a State,
    pub(super) account: &'a InstagramAccount,
    pub(super) now: i64,
}

impl Sender<'_> {
    /// What the customer sees, and what the echo says.
    pub(super) fn read(self, message: &Value, params: &Params) -> Result<(Shown, Value), GraphError> {
        let reply_to = match params.get("reply_to") {
            None => None,
            Some(reply_to) => {
                let mid = reply_to["mid"].as_str();
                Some(
                    mid.ok_or_else(|| GraphError::parameter("The parameter reply_to[mid] is required."))?
                        .to_owned(),
                )
            }
        };
        let part = |name: &str| message.get(name).filter(|part| !part.is_null());
        let (mut shown, mut echoed) = match (part("text"), part("attachment"), part("attachments")) {
            (Some(_), None, None) => read_text(message)?,
            (None, Some(attachment), None) => self.attachment(attachment)?,
            (None, None, Some(attachments)) => self.attachments(attachments)?,
            (None, None, None) => return Err(invalid("The message is empty.").subcode(2_534_015)),
            _ => return Err(invalid("text and attachments exclude each other").subcode(2_534_015)),
        };
        if let Some(mid) = &reply_to {
            echoed["reply_to"] = json!({"mid": mid});
        }
        shown.reply_to = reply_to;
        Ok((shown, echoed))
    }

    fn attachment(self, attachment: &Value) -> Result<(Shown, Value), GraphError> {
        let payload = &attachment["payload"];
        match attachment["type"].as_str() {
            Some(kind @ ("image" | "video" | "audio" | "file")) => {
                let (link, echoed) = self.file(kind, payload)?;
                let shown = Shown {
                    kind: kind.to_owned(),
                    link: Some(link),
                    ..Shown::default()
                };
                Ok((
                    shown,
                    json!({"attachments": [{"type": kind, "payload": {"url": echoed}}]}),
                ))
            }
            Some("like_heart") => {
                let shown = Shown {
                    kind: "like_heart".to_owned(),
                    text: Some("\u{2764}\u{fe0f}".to_owned()),
                    ..Shown::default()
                };
                Ok((shown, json!({"attachments": [{"type": "like_heart"}]})))
            }
            Some("MEDIA_SHARE") => self.share(payload),
            Some("template") => read_template(payload),
            _ => Err(invalid("Invalid message data").subcode(2_534_015)),
        }
    }

    /// Several images in one message.
    fn attachments(self, attachments: &Value) -> Result<(Shown, Value), GraphError> {
        let mut shown = Shown {
            kind: "image".to_owned(),
            ..Shown::default()
        };
        let mut echoed = Vec::new();
        for attachment in bounds::IG_ATTACHMENTS.items(attachments)? {
            if attachment["type"] != "image" {
                return Err(invalid("Only images can be sent several at a time").subcode(2_534_015));
            }
            let (link, url) = self.file("image", &attachment["payload"])?;
            echoed.push(json!({"type": "image", "payload": {"url": url}}));
            shown.attachments.push(Attached {
                kind: "image".to_owned(),
                link,
                filename: None,
            });
        }
        Ok((shown, json!({ "attachments": echoed })))
    }

    /// Where the phone finds a file, and the address that the echo tells.
    fn file(self, kind: &str, payload: &Value) -> Result<(String, String), GraphError> {
        if let Some(id) = payload["attachment_id"].as_str() {
            let media = self.state.media.get(id, self.now);
            let media = media.filter(|media| media.owner == self.account.id);
            let media = media.ok_or_else(|| invalid("Invalid attachment id").subcode(2_018_074))?;
            if kind_of(&media.mime) != kind {
                return Err(invalid("Upload attachment failure").subcode(2_018_047));
            }
            let link = format!("/sandbox/media/{id}");
            return Ok((
                link,
                format!("https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id={id}"),
            ));
        }
        let url = payload["url"].as_str().unwrap_or_default();
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = host
            .and_then(|rest| rest.split(['/', '?', '#']).next())
            .unwrap_or_default();
        if host.is_empty() || is_unreachable(host) {
            return Err(invalid("Failed to fetch the file from the url").subcode(2_018_008));
        }
        Ok((url.to_owned(), url.to_owned()))
    }

    /// A post of the account's own.
    fn share(self, payload: &Value) -> Result<(Shown, Value), GraphError> {
        let id = payload["id"].as_str().unwrap_or_default();
        if !self.owns_post(id) {
            return Err(invalid("The post is not one of this account").subcode(33));
        }
        let post = self.state.posts.get(id);
        let caption = post
            .map(|post| post.caption.clone())
            .filter(|caption| !caption.is_empty());
        let shown = Shown {
            kind: "share".to_owned(),
            post: Some(Post {
                kind: if post.is_some_and(|post| post.kind == PostKind::Reel) {
                    "reel"
                } else {
                    "post"
                },
                id: id.to_owned(),
                title: Some(caption.unwrap_or_else(|| format!("A post of @{}", self.account.username))),
                link: None,
            }),
            ..Shown::default()
        };
        let url = format!("https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id={id}");
        let echoed = json!({"attachments": [{"type": "ig_post", "payload": {"ig_post_media_id": id, "url": url}}]});
        Ok((shown, echoed))
    }

    /// Whether the post is one of the account's.
    fn owns_post(self, id: &str) -> bool {
        let post = self.state.posts.get(id);
        post.is_some_and(|post| post.id == id && post.account == self.account.id)
    }
}

/// The kind of attachment that a media type is sent as.
fn kind_of(mime: &str) -> &str {
    match mime.split('/').next() {
        Some(kind @ ("image" | "video" | "audio")) => kind,
        _ => "file",
    }
}

fn read_text(message: &Value) -> Result<(Shown, Value), GraphError> {
    let text = bounds::IG_TEXT.text(message, "text")?;
    let mut quick_replies = Vec::new();
    if let Some(replies) = message.get("quick_replies") {
        for reply in bounds::IG_QUICK_REPLIES.items(replies)? {
            // The other content types were switched off on 2026-10-05.
            if reply["content_type"] != "text" {
                return Err(GraphError::parameter(
                    "Param message[quick_replies][content_type] must be one of {TEXT}",
                ));
            }
            let title = required(reply, "title")?;
            quick_replies.push(Choice {
                title: title.chars().take(QUICK_REPLY_TITLE_MAX).collect(),
                payload: required(reply, "payload")?,
                ..Choice::default()
            });
        }
    }
    let echoed = json!({"text": text});
    let shown = Shown {
        kind: "text".to_owned(),
        text: Some(text),
        quick_replies,
        ..Shown::default()
    };
    Ok((shown, echoed))
}

fn read_template(payload: &Value) -> Result<(Shown, Value), GraphError> {
    let mut shown = Shown {
        kind: "template".to_owned(),
        ..Shown::default()
    };
    let echoed = match payload["template_type"].as_str().unwrap_or_default() {
        "generic" => {
            let elements = bounds::IG_ELEMENTS.items(&payload["elements"])?;
            for element in elements {
                shown.cards.push(Card {
                    media: element["image_url"].as_str().map(|link| Attached {
                        kind: "image".to_owned(),
                        link: link.to_owned(),
                        filename: None,
                    }),
                    title: Some(bounds::IG_TITLE.text(element, "title")?),
                    text: bounds::IG_SUBTITLE.optional(element, "subtitle")?,
                    url: element.get("default_action").map(default_action).transpose()?,
                    product: None,
                    buttons: element.get("buttons").map(buttons).transpose()?.unwrap_or_default(),
                });
            }
            json!({"generic": {"elements": elements}})
        }
        "button" => {
            shown.text = Some(bounds::IG_BUTTON_TEXT.text(payload, "text")?);
            shown.buttons = buttons(&payload["buttons"])?;
            json!({"button": {"text": payload["text"], "buttons": payload["buttons"]}})
        }
        "product" => {
            let elements = bounds::IG_ELEMENTS.items(&payload["elements"])?;
            let ids: Result<Vec<String>, GraphError> = elements.iter().map(|element| required(element, "id")).collect();
            shown.products = Some(Products {
                catalog_id: String::new(),
                sections: vec![ProductSection { title: None, ids: ids? }],
            });
            json!({"product": {"elements": elements}})
        }
        _ => {
            return Err(GraphError::parameter(
                "Param template_type must be one of {GENERIC, BUTTON, PRODUCT}",
            ));
        }
    };
    Ok((shown, json!({"attachments": [{"type": "template", "payload": echoed}]})))
}

fn default_action(action: &Value) -> Result<String, GraphError> {
    if action["type"] != "web_url" {
        return Err(GraphError::parameter(
            "Param default_action[type] must be one of {WEB_URL}",
        ));
    }
    required(action, "url")
}

fn buttons(buttons: &Value) -> Result<Vec<Choice>, GraphError> {
    let buttons = bounds::IG_BUTTONS.items(buttons)?;
    buttons
        .iter()
        .map(|button| {
            let title = bounds::IG_BUTTON_TITLE.text(button, "title")?;
            let (payload, url) = match button["type"].as_str() {
                Some("postback") => (required(button, "payload")?, None),
                Some("web_url") => (String::new(), Some(required(button, "url")?)),
                _ => {
                    return Err(GraphError::parameter(
                        "Param type of a button must be one of {WEB_URL, POSTBACK}",
                    ));
                }
            };
            Ok(Choice {
                title,
                payload,
                url,
                ..Choice::default()
            })
        })
        .collect()
}

fn required(part: &Value, name: &str) -> Result<String, GraphError> {
    part[name]
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| GraphError::parameter(format!("The parameter {name} is required.")))
}
