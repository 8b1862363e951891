//! What a customer does on Instagram, as its webhook tells it (instagram.md 2.5 to 2.7).

use serde_json::{Value, json};

use super::acts::{
    Attachment, AttachmentKind, Content, Shared, WriteError, edit, held_link, hold, keep, known, offered, shown_text,
    unsend,
};
use super::people::{Channel, Customer};
use crate::Core;
use crate::control::ChangeKind;
use crate::graph;
use crate::posts::comments::{Comment, MentioningPost};
use crate::posts::{NewPost, PostKind};
use crate::samples::Kind;
use crate::state::State;
use crate::state::threads::{Attached, By, Post, Shown, ThreadKey};
use crate::webhooks::{Event, EventId, instagram};

/// The advertisement that customers come from who name none.
const AD: &str = "6200000000001";
/// Most files in one message.
const ATTACHMENTS_MAX: usize = 10;

/// What one act comes to.
#[derive(Debug)]
struct Deed {
    id: EventId,
    field: &'static str,
    what: (&'static str, Value),
    shown: Shown,
    opens_window: bool,
}

/// Where an act happens.
struct Scene<'a> {
    core: &'a Core,
    state: &'a mut State,
    key: &'a ThreadKey,
    mid: &'a str,
    /// The id of what is no message.
    other: EventId,
    now: i64,
}

pub(super) fn event(
    core: &Core,
    state: &mut State,
    customer: &Customer,
    key: &ThreadKey,
    content: Content,
    count: u64,
    now: i64,
) -> Result<Event, WriteError> {
    let scope = [customer.id.as_str(), key.account.as_str()];
    let mid = state.ids.mid("written", &scope, count);
    let deed = Scene {
        core,
        state,
        key,
        mid: &mid,
        other: EventId(format!("event:{}:{}:{count}", customer.id, key.account)),
        now,
    }
    .deed(content)?;
    keep(state, key, &mid, deed.shown, deed.opens_window, now);
    let igsid = customer.igsid.as_deref().unwrap_or_default();
    Ok(instagram::from_customer(
        &key.account,
        igsid,
        deed.id,
        deed.field,
        now,
        deed.what,
    ))
}

/// What a customer does under posts: no message, so that it is in no thread and no consent to be known (instagram.md 3.10). `None`: it is something
/// else.
pub(super) fn under_posts(
    core: &Core,
    state: &mut State,
    customer: &Customer,
    key: &ThreadKey,
    content: &Content,
    now: i64,
) -> Option<Result<(EventId, Option<Event>), WriteError>> {
    let is_on_instagram = customer.channel == Channel::Instagram;
    Some(match content {
        Content::Comment { .. }
        | Content::Mention { .. }
        | Content::CaptionMention { .. }
        | Content::DeleteComment { .. }
            if !is_on_instagram =>
        {
            Err(WriteError::Impossible("this is Instagram's alone"))
        }
        Content::Comment {
            text,
            media_id,
            parent_id,
        } => comment(state, key, (text, media_id.as_deref(), parent_id.as_deref()), now),
        Content::Mention { text, media_id } => {
            let number = state.comments.count();
            let media_id = media_id
                .clone()
                .unwrap_or_else(|| state.ids.digits("post of somebody", &[&key.account], number, 17));
            let mut comment = new_comment(state, key, text, media_id, now);
            comment.is_mention = true;
            let id = EventId(comment.id.clone());
            let event = instagram::mention(&key.account, id.clone(), &comment.media_id, Some(&comment.id));
            state.comments.add(comment);
            Ok((id, Some(event)))
        }
        Content::CaptionMention { text } => {
            let number = state.comments.count();
            let post = MentioningPost {
                id: state.ids.digits("mentioning post", &[&key.customer], number, 17),
                key: key.clone(),
                caption: text.clone(),
                at: now,
            };
            let id = EventId(post.id.clone());
            let event = instagram::mention(&key.account, id.clone(), &post.id, None);
            state.comments.add_mentioning(post);
            Ok((id, Some(event)))
        }
        Content::DeleteComment { comment_id } => {
            let comment = state.comments.get(comment_id);
            let is_own = comment.is_some_and(|comment| comment.key == *key && !comment.by_business);
            if is_own {
                state.comments.remove(comment_id);
                core.changes.tell(ChangeKind::Message, &key.customer, &key.account);
                Ok((EventId(format!("{comment_id}:deleted")), None))
            } else {
                Err(WriteError::UnknownComment(comment_id.clone()))
            }
        }
        _ => return None,
    })
}

fn new_comment(state: &mut State, key: &ThreadKey, text: &str, media_id: String, now: i64) -> Comment {
    let number = state.comments.count();
    Comment {
        id: state.ids.digits("comment", &[&key.customer, &key.account], number, 17),
        key: key.clone(),
        media_id,
        parent_id: None,
        text: text.to_owned(),
        at: now,
        by_business: false,
        is_hidden: false,
        is_answered: false,
        is_live: false,
        is_mention: false,
    }
}

/// An answer to an answer is put under the first comment (instagram.md 4).
fn comment(
    state: &mut State,
    key: &ThreadKey,
    (text, media_id, parent_id): (&str, Option<&str>, Option<&str>),
    now: i64,
) -> Result<(EventId, Option<Event>), WriteError> {
    let unknown = |id: &str| WriteError::UnknownComment(id.to_owned());
    let parent = match parent_id {
        None => None,
        Some(id) => Some(state.first_comment(id).ok_or_else(|| unknown(id))?.clone()),
    };
    let media_id = match (&parent, media_id) {
        (Some(parent), _) => parent.media_id.clone(),
        (None, Some(id)) => id.to_owned(),
        (None, None) => newest_post(state, key, now)?,
    };
    let post = state.posts.get(&media_id).filter(|post| post.account == key.account);
    let post = post.ok_or_else(|| unknown(&media_id))?;
    if post.comments_off {
        return Err(WriteError::Impossible("comments are turned off under this post"));
    }
    let is_live = post.is_live;
    let media_id = post.id.clone();
    let mut comment = new_comment(state, key, text, media_id, now);
    comment.parent_id = parent.map(|parent| parent.id);
    comment.is_live = is_live;
    let event = instagram::comment(state, &comment);
    let id = EventId(comment.id.clone());
    state.comments.add(comment);
    Ok((id, Some(event)))
}

/// The account's newest post. Where it has none, one is made, so that there is something to comment on.
fn newest_post(state: &mut State, key: &ThreadKey, now: i64) -> Result<String, WriteError> {
    let mut posts = state.posts.of(&key.account).iter();
    if let Some(post) = posts.find(|post| post.kind != PostKind::Story) {
        return Ok(post.id.clone());
    }
    let new = NewPost {
        id: Some(state.ids.first_post(&key.account)),
        caption: Some("Our first post".to_owned()),
        ..NewPost::default()
    };
    let post = state.posts.add(state.ids, new, &key.account, now);
    post.map(|post| post.id.clone())
        .map_err(|_| WriteError::Impossible("the account has no post"))
}

impl Scene<'_> {
    fn deed(&mut self, content: Content) -> Result<Deed, WriteError> {
        let deed = match content {
            Content::Text { text, reply_to } => {
                let mut message = json!({ "text": text });
                let shown = shown_text("text", text, reply_to.clone());
                self.quote(&mut message, reply_to.as_deref());
                self.message(message, shown)
            }
            Content::Image { link, reply_to, .. } => self.file(Kind::Image, "image", &link, reply_to),
            Content::Video { link, reply_to, .. } => self.file(Kind::Video, "video", &link, reply_to),
            // A recorded one comes as the same.
            Content::Audio { link, reply_to } | Content::Voice { link, reply_to } => {
                self.file(Kind::Audio, "audio", &link, reply_to)
            }
            Content::Document {
                link,
                filename,
                reply_to,
                ..
            } => {
                let mut deed = self.file(Kind::Document, "file", &link, reply_to);
                deed.shown.filename = Some(filename.unwrap_or_else(|| "document.pdf".to_owned()));
                deed
            }
            // Stickers come as pictures.
            Content::Sticker {
                link,
                animated,
                reply_to,
            } => {
                let kind = if animated { Kind::AnimatedSticker } else { Kind::Sticker };
                let mut deed = self.file(kind, "image", &link, reply_to);
                "sticker".clone_into(&mut deed.shown.kind);
                deed
            }
            Content::Attachments { attachments } => self.files(&attachments)?,
            Content::Heart => {
                let shown = shown_text("like_heart", "\u{2764}\u{fe0f}".to_owned(), None);
                self.message(json!({"attachments": [{"type": "like_heart"}]}), shown)
            }
            Content::FromAd {
                text,
                ad_id,
                headline,
                reference,
            } => {
                let headline = headline.unwrap_or_else(|| "An advertisement".to_owned());
                let mut referral = json!({
                    "ad_id": ad_id.as_deref().unwrap_or(AD), "source": "ADS", "type": "OPEN_THREAD",
                    "ads_context_data": {"ad_title": headline, "photo_url": "https://scontent.example/p.jpg"},
                });
                if let Some(reference) = reference {
                    referral["ref"] = json!(reference);
                }
                let message = json!({"text": text, "referral": referral});
                let mut shown = shown_text("text", text, None);
                shown.referral = Some(headline);
                self.message(message, shown)
            }
            Content::Referral { reference } => {
                let referral = json!({"ref": reference, "source": "IGME_SOURCE_LINK", "type": "OPEN_THREAD"});
                self.about("messaging_referral", ("referral", referral))
            }
            Content::Postback { title, payload } => self.postback(title, &payload),
            Content::StoryReply { text, story_id } => {
                let (media_id, url) = self.story("");
                let story_id = story_id.unwrap_or_else(|| self.state.ids.digits("story", &[&self.key.account], 0, 17));
                let message = json!({"text": text, "reply_to": {"story": {"id": story_id, "url": url}}});
                let mut shown = shown_text("text", text, None);
                shown.post = Some(Post {
                    kind: "story",
                    id: story_id,
                    title: Some("You replied to their story".to_owned()),
                    link: Some(held_link(&media_id)),
                });
                self.message(message, shown)
            }
            Content::StoryMention { link } => {
                let (media_id, url) = self.story(&link);
                let shown = Shown {
                    kind: "story_mention".to_owned(),
                    post: Some(Post {
                        kind: "story",
                        id: media_id.clone(),
                        title: Some("You mentioned them in your story".to_owned()),
                        link: Some(held_link(&media_id)),
                    }),
                    ..Shown::default()
                };
                let message = json!({"attachments": [{"type": "story_mention", "payload": {"url": url}}]});
                self.message(message, shown)
            }
            Content::Share { what, title } => self.share(what, title),
            Content::Reaction { message_id, emoji } => {
                let message = known(self.state.message_mut(self.key, &message_id), &message_id)?;
                message.react(By::Customer, emoji.as_deref());
                let reaction = match emoji {
                    // The heart is `love`, everything else comes as the bare glyph (instagram.md 2.6).
                    Some(emoji) if emoji.starts_with('\u{2764}') => {
                        json!({"mid": message_id, "action": "react", "reaction": "love", "emoji": emoji})
                    }
                    Some(emoji) => {
                        json!({"mid": message_id, "action": "react", "reaction": "other", "emoji": emoji})
                    }
                    None => json!({"mid": message_id, "action": "unreact"}),
                };
                self.about("message_reactions", ("reaction", reaction))
            }
            Content::Unsend { message_id } => {
                unsend(self.state, self.key, &message_id)?;
                self.about("messages", ("message", json!({"mid": message_id, "is_deleted": true})))
            }
            Content::Edit { message_id, text } => {
                let edits = edit(self.state, self.key, &message_id, &text)?;
                let edited = json!({"mid": message_id, "text": text, "num_edit": edits});
                self.about("message_edit", ("message_edit", edited))
            }
            Content::QuickReply { message_id, payload } => {
                let thread = self.state.thread_mut(self.key);
                let (_, choice) = offered(thread, message_id.as_deref(), &payload, |shown| {
                    shown.quick_replies.iter()
                })?;
                let message = json!({"text": choice.title, "quick_reply": {"payload": choice.payload}});
                self.message(message, shown_text("text", choice.title, None))
            }
            Content::Button { message_id, payload } => {
                let thread = self.state.thread_mut(self.key);
                let (_, choice) = offered(thread, message_id.as_deref(), &payload, Shown::choices)?;
                self.postback(choice.title, &choice.payload)
            }
            Content::Unsupported => {
                let shown = shown_text("unsupported", String::new(), None);
                self.message(json!({"is_unsupported": true}), shown)
            }
            Content::Raw { message } => {
                let text = message.get("text").and_then(Value::as_str).unwrap_or_default();
                let shown = shown_text("raw", text.to_owned(), None);
                self.message(Value::Object(message), shown)
            }
            Content::Block
            | Content::Unblock
            | Content::StopMarketing
            | Content::ResumeMarketing
            | Content::Read
            | Content::Comment { .. }
            | Content::Mention { .. }
            | Content::CaptionMention { .. }
            | Content::DeleteComment { .. } => {
                return Err(WriteError::Impossible("this is no message"));
            }
            Content::Location { .. } | Content::Contacts { .. } => {
                return Err(WriteError::Impossible(
                    "Instagram's interface has no places and no contact cards",
                ));
            }
            Content::ShareNumber { .. }
            | Content::Flow { .. }
            | Content::Address { .. }
            | Content::CallPermission { .. }
            | Content::Order { .. }
            | Content::AskAboutProduct { .. }
            | Content::Forward { .. }
            | Content::Play { .. }
            | Content::ChangeNumber { .. } => {
                return Err(WriteError::Impossible("this is WhatsApp's alone"));
            }
        };
        Ok(deed)
    }

    /// A message, whose id is put in.
    fn message(&self, mut message: Value, shown: Shown) -> Deed {
        message["mid"] = json!(self.mid);
        Deed {
            id: EventId(self.mid.to_owned()),
            field: "messages",
            what: ("message", message),
            shown,
            opens_window: true,
        }
    }

    /// Something that shows nothing by itself, and doesn't open the window.
    fn about(&self, field: &'static str, what: (&'static str, Value)) -> Deed {
        Deed {
            id: self.other.clone(),
            field,
            what,
            shown: Shown::default(),
            opens_window: false,
        }
    }

    fn postback(&self, title: String, payload: &str) -> Deed {
        let postback = json!({"mid": self.mid, "title": title, "payload": payload});
        Deed {
            field: "messaging_postbacks",
            what: ("postback", postback),
            ..self.message(json!({}), shown_text("button", title, None))
        }
    }

    fn quote(&mut self, message: &mut Value, quoted: Option<&str>) {
        if let Some(quoted) = quoted {
            let thread = self.state.thread_mut(self.key);
            let own = thread.message(quoted).is_some_and(|message| message.by == By::Customer);
            message["reply_to"] = json!({"mid": quoted, "is_self_reply": own});
        }
    }

    /// Holds a file; its id, and the address that a webhook tells.
    fn hold(&mut self, kind: Kind, scope: &str, link: &str) -> (String, String) {
        let (id, _) = hold(self.state, self.key, scope, kind, link, self.now);
        let url = graph::media::signed_link(self.core, &id);
        (id, url)
    }

    fn story(&mut self, link: &str) -> (String, String) {
        self.hold(Kind::Image, self.mid, link)
    }

    fn file(&mut self, kind: Kind, name: &str, link: &str, reply_to: Option<String>) -> Deed {
        let (media_id, url) = self.hold(kind, self.mid, link);
        let mut message = json!({"attachments": [{"type": name, "payload": {"url": url}}]});
        self.quote(&mut message, reply_to.as_deref());
        let shown = Shown {
            kind: name.to_owned(),
            link: Some(held_link(&media_id)),
            reply_to,
            ..Shown::default()
        };
        self.message(message, shown)
    }

    fn files(&mut self, attachments: &[Attachment]) -> Result<Deed, WriteError> {
        if !(1..=ATTACHMENTS_MAX).contains(&attachments.len()) {
            return Err(WriteError::Impossible("a message has 1 to 10 files"));
        }
        let mut told = Vec::new();
        let mut shown = Shown {
            kind: "image".to_owned(),
            ..Shown::default()
        };
        for (position, attachment) in attachments.iter().enumerate() {
            let (kind, name) = match attachment.kind {
                AttachmentKind::Image => (Kind::Image, "image"),
                AttachmentKind::Video => (Kind::Video, "video"),
                AttachmentKind::Audio => (Kind::Audio, "audio"),
                AttachmentKind::File => (Kind::Document, "file"),
            };
            let (media_id, url) = self.hold(kind, &format!("{}:{position}", self.mid), &attachment.link);
            told.push(json!({"type": name, "payload": {"url": url}}));
            shown.attachments.push(Attached {
                kind: name.to_owned(),
                link: held_link(&media_id),
                filename: None,
            });
        }
        Ok(self.message(json!({ "attachments": told }), shown))
    }

    /// instagram.md 2.5: a reel's address may be a page, and is here.
    fn share(&mut self, what: Shared, title: Option<String>) -> Deed {
        let (media_id, url) = self.hold(Kind::Image, self.mid, "");
        let title = title.unwrap_or_else(|| "Autumn lookbook".to_owned());
        let id = self.state.ids.digits("shared", &[self.mid], 0, 17);
        let (kind, attachment) = match what {
            Shared::Post => {
                let payload = json!({"ig_post_media_id": id, "title": title, "url": url});
                ("post", json!({"type": "ig_post", "payload": payload}))
            }
            Shared::Reel => {
                let page = "https://www.instagram.com/reel/DxAmPlE0001/";
                let payload = json!({"reel_video_id": id, "title": title, "url": page});
                ("reel", json!({"type": "ig_reel", "payload": payload}))
            }
            Shared::Story => {
                let payload = json!({"story_media_id": id, "story_media_url": url, "url": url});
                ("story", json!({"type": "ig_story", "payload": payload}))
            }
        };
        let shown = Shown {
            kind: "share".to_owned(),
            post: Some(Post {
                kind,
                id,
                title: Some(title),
                link: Some(held_link(&media_id)),
            }),
            ..Shown::default()
        };
        self.message(json!({"attachments": [attachment]}), shown)
    }
}
