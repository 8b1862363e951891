//! Messages and what hangs on them (`instagram.md` 2.4, 2.5).

use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{self, Object};
use super::referral::Referral;

/// Something that was said, by the customer or (an echo) by the business; or the news that it was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Meta's id: opaque, case-sensitive. An echo's is the one that the send call answered with; a deletion's that of the message
    /// that is gone.
    pub mid: String,
    /// The text, if there is one.
    pub text: Option<String>,
    /// What was sent along, in order. A post that came both as `share` and as `ig_post` is here once.
    pub attachments: Vec<Attachment>,
    /// The payload of the quick reply that was tapped; `text` is then its title.
    pub quick_reply: Option<String>,
    /// What this message answers.
    pub reply_to: Option<ReplyTo>,
    /// By what the customer came.
    pub referral: Option<Referral>,
    /// The business said it: through this app, another one, or the Instagram app.
    pub is_echo: bool,
    /// The message was taken back: what was kept of it must go.
    pub is_deleted: bool,
    /// The message holds something that Meta does not pass on (view-once media, polls…).
    pub is_unsupported: bool,
    /// The account wrote to itself, to test.
    pub is_self: bool,
    /// The app that sent an echo (a Messenger feature; not certain on Instagram).
    pub app_id: Option<String>,
    /// What that app sent along (likewise).
    pub metadata: Option<String>,
    /// The inbox folder, where Meta names it.
    pub folder: Option<String>,
}

/// What was sent along with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What it is.
    pub kind: AttachmentKind,
    /// Where it can be had. Signed links die within days, a story's within one; a reel's may be a page, not a film.
    pub url: Option<String>,
    /// Its title: of a shared post or reel, of a template's first card.
    pub title: Option<String>,
    /// Meta's id of what was shared: a post's media, a reel's video, a story's media; a sticker's id.
    pub media_id: Option<String>,
    /// The payload as it came; `Null` where there is none.
    pub payload: Value,
}

macro_rules! attachment_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What an attachment is. Named as Meta names it (`instagram.md` 2.5, "Attachment types to know").
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum AttachmentKind {
            $($(#[$doc])* $variant,)*
            /// A type that is not known here, by its name; empty where it has none.
            Other(String),
        }

        impl AttachmentKind {
            /// Meta's name of it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(name) => name,
                }
            }

            /// Understands every name.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

attachment_kinds! {
    /// A picture; also a GIF.
    Image = "image",
    /// A film.
    Video = "video",
    /// A sound; also a voice note.
    Audio = "audio",
    /// A document.
    File = "file",
    /// A picture or film that is not told which.
    Media = "media",
    /// A shared post, in the form that `ig_post` replaces.
    Share = "share",
    /// A shared post.
    Post = "ig_post",
    /// A shared reel.
    InstagramReel = "ig_reel",
    /// A shared reel, in its other spelling.
    Reel = "reel",
    /// A shared story.
    Story = "story",
    /// A shared story, in its other spelling.
    InstagramStory = "ig_story",
    /// The customer's story, in which the account is mentioned.
    StoryMention = "story_mention",
    /// Cards with buttons, in an echo.
    Template = "template",
    /// A heart: an attachment without a payload.
    LikeHeart = "like_heart",
    /// A sticker.
    Sticker = "sticker",
    /// Something that may be seen once, and not by an app.
    Ephemeral = "ephemeral",
    /// Something that Meta could not put into another kind.
    Fallback = "fallback",
}

impl fmt::Display for AttachmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a message answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyTo {
    /// A message of the thread.
    Message {
        /// Which.
        mid: String,
        /// Whether the writer answers a message of their own; `None` before Meta told (2025-12-19).
        self_reply: Option<bool>,
    },
    /// A story of the account.
    Story {
        /// Its media id.
        id: Option<String>,
        /// Where it can be seen, for as long as it lives.
        url: Option<String>,
        /// Where the link sticker leads, if the story has one.
        link_sticker_url: Option<String>,
    },
}

impl Message {
    /// `None` if the message has no `mid`.
    pub(super) fn read(message: &Object<'_>) -> Option<Self> {
        Some(Self {
            mid: message.id("mid")?.into_owned(),
            text: message.string("text"),
            attachments: message.get("attachments").map(attachments).unwrap_or_default(),
            quick_reply: message.object("quick_reply").and_then(|reply| reply.string("payload")),
            reply_to: message.object("reply_to").and_then(|reply_to| ReplyTo::read(&reply_to)),
            referral: message.object("referral").map(|referral| Referral::read(&referral)),
            is_echo: message.flag("is_echo"),
            is_deleted: message.flag("is_deleted"),
            is_unsupported: message.flag("is_unsupported"),
            is_self: message.flag("is_self"),
            app_id: message.string("app_id"),
            metadata: message.string("metadata"),
            folder: message.string("folder"),
        })
    }
}

impl ReplyTo {
    fn read(reply_to: &Object<'_>) -> Option<Self> {
        if let Some(story) = reply_to.object("story") {
            return Some(Self::Story {
                id: story.string("id"),
                url: story.string("url"),
                link_sticker_url: story.string("link_sticker_url"),
            });
        }
        let self_reply = reply_to.get("is_self_reply").map(|_| reply_to.flag("is_self_reply"));
        Some(Self::Message {
            mid: reply_to.id("mid")?.into_owned(),
            self_reply,
        })
    }
}

impl Attachment {
    fn read(raw: &RawValue) -> Self {
        let Some(attachment) = Object::read(raw) else {
            return Self {
                kind: AttachmentKind::Other(String::new()),
                url: None,
                title: None,
                media_id: None,
                payload: json::value(raw),
            };
        };
        let payload = attachment.object("payload");
        // Messenger's `fallback` has its link and title beside the payload.
        let part = |key| {
            payload
                .as_ref()
                .and_then(|payload| payload.string(key))
                .or_else(|| attachment.string(key))
        };
        Self {
            kind: AttachmentKind::from_name(&attachment.text("type").unwrap_or_default()),
            url: part("url").or_else(|| part("story_media_url")),
            title: part("title").or_else(|| first_card_title(payload.as_ref()?)),
            media_id: ["ig_post_media_id", "reel_video_id", "story_media_id", "sticker_id"]
                .into_iter()
                .find_map(part),
            payload: attachment.get("payload").map(json::value).unwrap_or_default(),
        }
    }
}

/// The title of the first element of an echoed template (`instagram.md` 2.4).
fn first_card_title(payload: &Object<'_>) -> Option<String> {
    let elements = json::list(payload.object("generic")?.get("elements")?)?;
    Object::read(elements.first()?)?.string("title")
}

/// From 2025-11-03 on, and until `share` is gone for everybody, a shared post comes as both `share` and `ig_post` in one message
/// (`instagram.md` 2.5): each `ig_post` then stands for one `share`, and takes from it what it lacks itself.
fn attachments(raw: &RawValue) -> Vec<Attachment> {
    let mut attachments: Vec<Attachment> = match json::list(raw) {
        Some(elements) => elements.into_iter().map(Attachment::read).collect(),
        None => vec![Attachment::read(raw)],
    };
    let posts = attachments
        .iter()
        .filter(|attachment| attachment.kind == AttachmentKind::Post)
        .count();
    if posts == 0 {
        return attachments;
    }
    let mut shares = Vec::new();
    attachments.retain(|attachment| {
        let doubled = attachment.kind == AttachmentKind::Share && shares.len() < posts;
        if doubled {
            shares.push((attachment.url.clone(), attachment.title.clone()));
        }
        !doubled
    });
    let posts = attachments
        .iter_mut()
        .filter(|attachment| attachment.kind == AttachmentKind::Post);
    for (post, (url, title)) in posts.zip(shares) {
        post.url = post.url.take().or(url);
        post.title = post.title.take().or(title);
    }
    attachments
}
