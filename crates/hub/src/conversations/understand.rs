//! From Meta's words to what they change in our conversations.
//!
//! Pure: one event's raw value in, one [`Understood`] out. What Meta means is decided here and nowhere else; how it is stored is
//! [`super::projection`]'s matter.

use tidings_meta::instagram;
use tidings_meta::notification::Platform;
use tidings_meta::whatsapp;

use crate::conversations::content::{
    Button, Buttons, Card, Carousel, Content, Header, Location, Media, OrderItem, Reply,
};
use crate::conversations::model::{
    CommentKind, Failure, Identity, IdentityKey, IdentityKind, Millis, Receipt, Sender, Venue,
};
use crate::conversations::phone;
use crate::ids::MessageId;

/// What one event means.
#[derive(Debug, Clone, PartialEq)]
pub struct Understood {
    /// Whom it is about.
    pub person: Option<Person>,
    /// What it changes.
    pub effect: Effect,
}

/// The person an event is about, as far as it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their addresses, the surest first. They belong to one person.
    pub identities: Vec<Identity>,
    /// As they call themselves.
    pub name: Option<String>,
    /// Their user name.
    pub username: Option<String>,
}

/// What an event changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Something was said.
    Said(Box<Said>),
    /// How far a message of ours got.
    Receipt {
        /// Meta's id of the message.
        external_id: String,
        /// Our id, where the request bore it.
        message_id: Option<MessageId>,
        /// How far.
        receipt: Receipt,
        /// When.
        at: Millis,
    },
    /// A message has a new wording.
    Edited {
        /// Meta's id of the message.
        external_id: String,
        /// The new wording.
        content: Box<Content>,
        /// When.
        at: Millis,
    },
    /// A message was taken back.
    TakenBack {
        /// Meta's id of the message.
        external_id: String,
        /// When.
        at: Millis,
    },
    /// Somebody reacted to a message, or no longer does.
    Reacted {
        /// Meta's id of the message.
        external_id: String,
        /// Whether it was the business.
        by_business: bool,
        /// The reaction; `None` takes it back.
        emoji: Option<String>,
        /// When.
        at: Millis,
    },
    /// The contact has read everything up to a message, or a time.
    Seen {
        /// Meta's id of the message.
        external_id: Option<String>,
        /// The time.
        up_to: Option<Millis>,
        /// When.
        at: Millis,
    },
    /// The contact has new addresses; the old ones are in [`Understood::person`].
    Moved {
        /// The new ones.
        to: Vec<Identity>,
        /// What to show of it in the conversation.
        notice: Option<Box<Said>>,
    },
    /// The contact has said in WhatsApp's own menu whether they want advertising.
    Wished {
        /// That they want no more; else that they want it again.
        opted_out: bool,
        /// What WhatsApp writes of it.
        detail: Option<String>,
        /// When.
        at: Millis,
    },
    /// The contact did something other than write that allows an answer: a call.
    Opened {
        /// When.
        at: Millis,
    },
    /// Somebody has mentioned the account. What they said, and who they are, has to be asked of Meta.
    Mentioned {
        /// Meta's id of the post.
        media_id: String,
        /// Meta's id of the comment; `None`: it was in the caption.
        comment_id: Option<String>,
        /// When.
        at: Millis,
    },
    /// Nothing in a conversation. The event is kept for whoever asks for it.
    Nothing,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Meta's id.
    pub external_id: String,
    /// By the business.
    pub outbound: bool,
    /// By whom.
    pub sender: Sender,
    /// What.
    pub content: Content,
    /// Meta's id of the message that it answers.
    pub reply_to: Option<String>,
    /// Where, if it is a comment. One of the business's own is in the conversation of the comment that it answers.
    pub comment: Option<UnderPost>,
    /// Starts nothing, opens no window, counts as read.
    pub inert: bool,
    /// Allows a free-form answer.
    pub opens_window: bool,
    /// Between the contact and the business alone, in words of their own: no group, and nothing that Meta says for them.
    pub is_private: bool,
    /// When.
    pub at: Millis,
    /// How far it is known to have got.
    pub receipt: Option<Receipt>,
}

/// Where a comment was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderPost {
    /// Meta's id of the post; empty where Meta does not tell.
    pub media_id: String,
    /// What it was made on.
    pub kind: CommentKind,
}

impl Said {
    /// Where it was said.
    pub fn venue(&self) -> Venue {
        match &self.comment {
            None => Venue::Direct,
            Some(post) => Venue::Post {
                media_id: post.media_id.clone(),
            },
        }
    }
}

/// What understanding needs to know beside the raw value.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Whose words they are.
    pub platform: Platform,
    /// What makes the event what it is: the id of a message that Meta gave none.
    pub external_id: &'a str,
    /// When we received it: stands in where Meta gives no time.
    pub received_at: Millis,
    /// One entry with one item.
    pub raw: &'a str,
}

/// Understands one event. The error is for a person, and names the place in the payload.
pub fn understand(envelope: Envelope<'_>) -> Result<Understood, String> {
    match envelope.platform {
        Platform::WhatsApp => {
            let entry = whatsapp::parse(envelope.raw).map_err(|error| error.reason)?;
            Ok(from_whatsapp(entry, envelope))
        }
        Platform::Instagram => {
            let entry = instagram::parse(envelope.raw).map_err(|error| error.reason)?;
            Ok(from_instagram(entry, envelope))
        }
    }
}

const NOTHING: Understood = Understood {
    person: None,
    effect: Effect::Nothing,
};

fn from_whatsapp(entry: whatsapp::Entry, envelope: Envelope<'_>) -> Understood {
    use whatsapp::{Change, HistoryItem};
    let contact = entry.contact.unwrap_or_default();
    let person = |ids: &whatsapp::Person, at: Millis| whatsapp_person(ids, &contact, at);
    match entry.change {
        Change::Message(message) => {
            let person = person(&message.from, message.at);
            Understood {
                person,
                effect: whatsapp_message(message, Direction::Inbound),
            }
        }
        Change::Echo(message) => {
            let person = person(&message.to, message.at);
            Understood {
                person,
                effect: whatsapp_message(message, Direction::Echo),
            }
        }
        Change::History(HistoryItem::Message(history)) => {
            let at = history.message.at;
            let other = if history.outbound {
                &history.message.to
            } else {
                &history.message.from
            };
            let ids = if history.thread.is_nobody() {
                other
            } else {
                &history.thread
            };
            let person = person(ids, at);
            let receipt = history.status.as_deref().and_then(history_receipt);
            let direction = if history.outbound {
                Direction::HistoryOutbound
            } else {
                Direction::HistoryInbound
            };
            let mut effect = whatsapp_message(history.message, direction);
            if let Effect::Said(said) = &mut effect
                && receipt.is_some()
                && said.outbound
            {
                said.receipt = receipt;
            }
            Understood { person, effect }
        }
        Change::Status(status) => {
            let at = status.at;
            // A group's status names one participant of many: it says nothing about the message as a whole.
            let receipt = if status.participant.is_some() {
                None
            } else {
                whatsapp_receipt(&status)
            };
            let person = person(&status.recipient, at);
            let effect = receipt.map_or(Effect::Nothing, |receipt| Effect::Receipt {
                message_id: status.callback_data.as_deref().and_then(message_of_callback),
                external_id: status.message_id,
                receipt,
                at,
            });
            Understood { person, effect }
        }
        Change::UserIdUpdate(update) => {
            let at = update.at.unwrap_or(envelope.received_at);
            let mut current = update.current;
            let mut previous = update.previous;
            // The phone number stands beside both ids; it belongs to the new one now.
            if current.phone.is_none() {
                current.phone = previous.phone.take();
            }
            Understood {
                person: person_of(whatsapp_identities(&previous, at), None, None),
                effect: Effect::Moved {
                    to: whatsapp_identities(&current, at),
                    notice: None,
                },
            }
        }
        Change::UserPreference(preference) => whatsapp_preference(preference, &contact, envelope),
        Change::Call(call) if call.direction.as_deref() == Some("USER_INITIATED") => Understood {
            person: person(&call.from, call.at),
            effect: Effect::Opened { at: call.at },
        },
        Change::Standby(change) => {
            let Change::Message(message) = *change else {
                return NOTHING;
            };
            let person = person(&message.from, message.at);
            Understood {
                person,
                effect: whatsapp_message(message, Direction::HistoryInbound),
            }
        }
        Change::History(HistoryItem::Declined { .. } | HistoryItem::Empty { .. })
        | Change::AppState(_)
        | Change::Errors(_)
        | Change::UserAction(_)
        | Change::Call(_)
        | Change::Handover(_)
        | Change::Account(_)
        | Change::Unknown(_) => NOTHING,
    }
}

/// The only category of wishes that is documented (reference `whatsapp.md` 8, `user_preferences`).
const MARKETING_MESSAGES: &str = "marketing_messages";

fn whatsapp_preference(
    preference: whatsapp::UserPreference,
    contact: &whatsapp::Contact,
    envelope: Envelope<'_>,
) -> Understood {
    let opted_out = match preference.value {
        whatsapp::Preference::Stop => true,
        whatsapp::Preference::Resume | whatsapp::Preference::Signup => false,
        whatsapp::Preference::Other(_) => return NOTHING,
    };
    if preference
        .category
        .is_some_and(|category| category != MARKETING_MESSAGES)
    {
        return NOTHING;
    }
    let at = preference.at.unwrap_or(envelope.received_at);
    Understood {
        person: whatsapp_person(&preference.person, contact, at),
        effect: Effect::Wished {
            opted_out,
            detail: preference.detail,
            at,
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Inbound,
    Echo,
    HistoryInbound,
    HistoryOutbound,
}

impl Direction {
    fn outbound(self) -> bool {
        matches!(self, Self::Echo | Self::HistoryOutbound)
    }

    fn inert(self) -> bool {
        matches!(self, Self::HistoryInbound | Self::HistoryOutbound)
    }
}

fn whatsapp_message(message: whatsapp::Message, direction: Direction) -> Effect {
    use whatsapp::Content as Wire;
    let at = message.at;
    let content = match message.content {
        Wire::Reaction { message_id, emoji } => {
            return Effect::Reacted {
                external_id: message_id,
                by_business: direction.outbound(),
                emoji,
                at,
            };
        }
        Wire::Edit { original_id, content } => {
            return match whatsapp_content(*content, &message.errors) {
                Some(content) => Effect::Edited {
                    external_id: original_id,
                    content: Box::new(content),
                    at,
                },
                None => Effect::Nothing,
            };
        }
        Wire::Revoke { original_id } => {
            return Effect::TakenBack {
                external_id: original_id,
                at,
            };
        }
        Wire::System(system) => {
            let to = whatsapp_identities(&system.new, at);
            let (change, inert) = match &system.kind {
                whatsapp::SystemKind::ChangedNumber => ("changed_number", true),
                whatsapp::SystemKind::ChangedUserId => ("changed_user_id", true),
                whatsapp::SystemKind::ChangedIdentity => ("changed_identity", true),
                whatsapp::SystemKind::Other(_) => ("other", true),
            };
            let notice = Said {
                external_id: message.id,
                outbound: false,
                sender: Sender::Contact,
                content: Content::System {
                    text: system.body,
                    change: change.to_owned(),
                },
                reply_to: None,
                comment: None,
                inert,
                opens_window: false,
                is_private: false,
                at,
                receipt: None,
            };
            return Effect::Moved {
                to,
                notice: Some(Box::new(notice)),
            };
        }
        other => match whatsapp_content(other, &message.errors) {
            Some(content) => content,
            None => return Effect::Nothing,
        },
    };
    Effect::Said(Box::new(Said {
        external_id: message.id,
        outbound: direction.outbound(),
        sender: if direction.outbound() {
            Sender::Phone
        } else {
            Sender::Contact
        },
        content,
        reply_to: message.context.and_then(|context| context.message_id),
        comment: None,
        inert: direction.inert(),
        opens_window: direction == Direction::Inbound && message.group_id.is_none(),
        is_private: message.group_id.is_none(),
        at,
        receipt: direction.outbound().then_some(Receipt::Sent),
    }))
}

fn whatsapp_content(content: whatsapp::Content, errors: &[whatsapp::ErrorItem]) -> Option<Content> {
    use whatsapp::Content as Wire;
    Some(match content {
        Wire::Text { body } => Content::text(body),
        Wire::Media(media) => {
            let kind = media.kind;
            let media = Media {
                id: Some(media.id),
                media_id: None,
                link: media.url,
                caption: media.caption,
                filename: media.filename,
                mime_type: media.mime_type,
                sha256: media.sha256,
                voice: media.voice,
            };
            match kind {
                whatsapp::MediaKind::Image => Content::Image(media),
                whatsapp::MediaKind::Video => Content::Video(media),
                whatsapp::MediaKind::Audio => Content::Audio(media),
                whatsapp::MediaKind::Document => Content::Document(media),
                whatsapp::MediaKind::Sticker => Content::Sticker(media),
            }
        }
        Wire::Location(location) => Content::Location(Location {
            latitude: location.latitude,
            longitude: location.longitude,
            name: location.name,
            address: location.address,
            url: location.url,
        }),
        Wire::Contacts(contacts) => Content::Contacts { contacts },
        Wire::Button { payload, text } => reply("template_button", Some(payload), Some(text), None),
        Wire::ButtonReply { id, title } => reply("button", Some(id), Some(title), None),
        Wire::ListReply { id, title, description } => reply("list", Some(id), Some(title), description),
        Wire::FlowReply { name, body, response } => Content::Form {
            name,
            text: body,
            answers: response,
        },
        Wire::CallPermissionReply(answer) => Content::CallPermission {
            response: answer.response,
        },
        Wire::Order(order) => Content::Order {
            catalog_id: order.catalog_id,
            text: order.text,
            items: order
                .items
                .into_iter()
                .map(|item| OrderItem {
                    product_retailer_id: item.product_retailer_id.unwrap_or_default(),
                    quantity: item.quantity,
                    price: item.item_price,
                    currency: item.currency,
                })
                .collect(),
        },
        Wire::Unsupported { kind } => {
            let said = errors
                .first()
                .and_then(|error| error.details.clone().or_else(|| error.title.clone()));
            Content::Unsupported { what: kind.or(said) }
        }
        Wire::MediaPlaceholder => Content::Placeholder,
        Wire::Unknown { kind } => Content::Unknown { what: kind },
        // Nothing was said (`request_welcome`); the others are no content of their own.
        Wire::RequestWelcome | Wire::Reaction { .. } | Wire::Edit { .. } | Wire::Revoke { .. } | Wire::System(_) => {
            return None;
        }
    })
}

fn reply(source: &str, payload: Option<String>, title: Option<String>, description: Option<String>) -> Content {
    Content::Reply(Reply {
        source: source.to_owned(),
        payload,
        title,
        description,
    })
}

fn whatsapp_receipt(status: &whatsapp::Status) -> Option<Receipt> {
    Some(match &status.status {
        whatsapp::StatusKind::Sent => Receipt::Sent,
        whatsapp::StatusKind::Delivered => Receipt::Delivered,
        whatsapp::StatusKind::Read => Receipt::Read,
        whatsapp::StatusKind::Played => Receipt::Played,
        whatsapp::StatusKind::Failed => Receipt::Failed(status.errors.first().map(|error| {
            let words = [&error.details, &error.message, &error.title];
            let text = words.into_iter().flatten().next().cloned().unwrap_or_default();
            Failure::of_meta(error.code, None, text)
        })),
        // Legacy, to be stored and ignored (reference `whatsapp.md` 5).
        whatsapp::StatusKind::Deleted | whatsapp::StatusKind::Warning | whatsapp::StatusKind::Other(_) => return None,
    })
}

/// `history_context.status` (reference `whatsapp.md` 7).
fn history_receipt(status: &str) -> Option<Receipt> {
    Some(match status {
        "SENT" => Receipt::Sent,
        "DELIVERED" => Receipt::Delivered,
        "READ" => Receipt::Read,
        "PLAYED" => Receipt::Played,
        "ERROR" => Receipt::Failed(None),
        _ => return None,
    })
}

/// What a request of ours bears in `biz_opaque_callback_data`: which message, and which attempt of it.
pub fn callback_of(message: MessageId, attempt: crate::ids::AttemptId) -> String {
    format!("{message}/{attempt}")
}

fn message_of_callback(data: &str) -> Option<MessageId> {
    data.split('/').next()?.parse().ok()
}

fn whatsapp_person(ids: &whatsapp::Person, contact: &whatsapp::Contact, at: Millis) -> Option<Person> {
    let mut identities = whatsapp_identities(ids, at);
    // `contacts[]` may know more of the same person than the message does, unless it describes somebody else.
    let same = |ours: &Option<String>, theirs: &Option<String>| match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    };
    let described = same(&ids.phone, &contact.person.phone) && same(&ids.user_id, &contact.person.user_id);
    if described && !(ids.is_nobody() && contact.person.is_nobody()) {
        for identity in whatsapp_identities(&contact.person, at) {
            if !identities.iter().any(|known| known.key.kind == identity.key.kind) {
                identities.push(identity);
            }
        }
        identities.sort_by_key(|identity| rank(identity.key.kind));
        return person_of(identities, contact.name.clone(), contact.username.clone());
    }
    person_of(identities, None, None)
}

/// Identities are looked up in this order (reference `whatsapp.md` 6.6); the shared parent id is no proof of being one person.
fn rank(kind: IdentityKind) -> u8 {
    match kind {
        IdentityKind::UserId | IdentityKind::Igsid | IdentityKind::Email | IdentityKind::Username => 0,
        IdentityKind::ParentUserId => 1,
        IdentityKind::Phone => 2,
    }
}

fn person_of(identities: Vec<Identity>, name: Option<String>, username: Option<String>) -> Option<Person> {
    (!identities.is_empty()).then_some(Person {
        identities,
        name: name.filter(|name| !name.trim().is_empty()),
        username: username.filter(|username| !username.is_empty()),
    })
}

fn whatsapp_identities(ids: &whatsapp::Person, at: Millis) -> Vec<Identity> {
    let identity = |kind, value: &str, shown: &str| Identity {
        key: IdentityKey {
            kind,
            scope: String::new(),
            value: value.to_owned(),
        },
        shown: shown.to_owned(),
        seen_at: at,
    };
    let mut identities = Vec::with_capacity(3);
    if let Some(user_id) = &ids.user_id {
        identities.push(identity(IdentityKind::UserId, user_id, user_id));
    }
    if let Some(parent) = &ids.parent_user_id {
        identities.push(identity(IdentityKind::ParentUserId, parent, parent));
    }
    if let Some(phone) = &ids.phone {
        // What is no phone number (a group's id, say) is kept as it is, and equals itself alone.
        match phone::PhoneNumber::parse(phone) {
            Some(number) => identities.push(identity(
                IdentityKind::Phone,
                &phone::compared(number.digits()),
                number.digits(),
            )),
            None => identities.push(identity(IdentityKind::Phone, phone, phone)),
        }
    }
    identities
}

fn from_instagram(entry: instagram::Entry, envelope: Envelope<'_>) -> Understood {
    use instagram::Change;
    let at = entry.at.or(entry.time).unwrap_or(envelope.received_at);
    let person = entry
        .customer()
        .filter(|customer| !customer.is_empty())
        .and_then(|customer| {
            let key = IdentityKey {
                kind: IdentityKind::Igsid,
                scope: entry.account_id.clone(),
                value: customer.to_owned(),
            };
            person_of(
                vec![Identity {
                    key,
                    shown: customer.to_owned(),
                    seen_at: at,
                }],
                None,
                None,
            )
        });
    let by_business = entry.sender.as_deref() == Some(entry.account_id.as_str());
    let effect = match entry.change {
        Change::Message(message) if message.is_deleted => Effect::TakenBack {
            external_id: message.mid,
            at,
        },
        Change::Message(message) => {
            let outbound = message.is_echo;
            Effect::Said(Box::new(Said {
                outbound,
                sender: if outbound { Sender::Phone } else { Sender::Contact },
                reply_to: match &message.reply_to {
                    Some(instagram::ReplyTo::Message { mid, .. }) => Some(mid.clone()),
                    Some(instagram::ReplyTo::Story { .. }) | None => None,
                },
                comment: None,
                inert: entry.standby,
                opens_window: !outbound && !entry.standby,
                is_private: true,
                at,
                receipt: outbound.then_some(Receipt::Sent),
                external_id: message.mid.clone(),
                content: instagram_content(message),
            }))
        }
        // "A message exists", not an edit (reference `instagram.md` 2.6).
        Change::Edit { num_edit: 0, .. } | Change::Edit { text: None, .. } => Effect::Nothing,
        Change::Edit {
            mid, text: Some(text), ..
        } => Effect::Edited {
            external_id: mid,
            content: Box::new(Content::text(text)),
            at,
        },
        Change::Reaction { mid, reaction } => Effect::Reacted {
            external_id: mid,
            by_business,
            // The glyph may be missing where the name is given, and the other way round (reference `instagram.md` 2.6).
            emoji: reaction.map(|reaction| {
                reaction
                    .emoji
                    .or(reaction.name)
                    .unwrap_or_else(|| "\u{2764}".to_owned())
            }),
            at,
        },
        Change::Postback {
            mid, title, payload, ..
        } => Effect::Said(Box::new(Said {
            // Ice breakers may come without an id; the event's own identity serves as one.
            external_id: mid.unwrap_or_else(|| envelope.external_id.to_owned()),
            outbound: false,
            sender: Sender::Contact,
            content: reply("postback", payload, title, None),
            reply_to: None,
            comment: None,
            inert: entry.standby,
            opens_window: !entry.standby,
            is_private: true,
            at,
            receipt: None,
        })),
        Change::Seen { mid, watermark } => Effect::Seen {
            external_id: mid,
            up_to: watermark,
            at,
        },
        Change::Comment(comment) => return from_comment(comment, CommentKind::Comment, &entry.account_id, at),
        Change::LiveComment(comment) => return from_comment(comment, CommentKind::Live, &entry.account_id, at),
        Change::Mention { media_id, comment_id } => Effect::Mentioned {
            media_id,
            comment_id,
            at,
        },
        Change::Referral(_)
        | Change::Handover(_)
        | Change::OptIn(_)
        | Change::Media(_)
        | Change::StoryInsights(_)
        | Change::Unknown(_) => return NOTHING,
    };
    Understood { person, effect }
}

/// A comment on the account's post, or during its broadcast (reference `instagram.md` 2.7). The account's own replies arrive too, and are told by
/// who wrote them: they belong to whoever they answer.
fn from_comment(comment: instagram::Comment, kind: CommentKind, account: &str, at: Millis) -> Understood {
    let own = comment.from_self_id.is_some() || comment.from_id.as_deref() == Some(account);
    let person = comment.from_id.filter(|id| !own && !id.is_empty()).and_then(|igsid| {
        let key = IdentityKey {
            kind: IdentityKind::Igsid,
            scope: account.to_owned(),
            value: igsid.clone(),
        };
        let identity = Identity {
            key,
            shown: igsid,
            seen_at: at,
        };
        person_of(vec![identity], None, comment.from_username)
    });
    let content = match comment.text {
        Some(text) => Content::text(text),
        // Such as a picture that moves, or for want of a permission.
        None => Content::Unsupported {
            what: Some("comment".to_owned()),
        },
    };
    let said = Said {
        external_id: comment.id,
        outbound: own,
        sender: if own { Sender::Phone } else { Sender::Contact },
        content,
        reply_to: comment.parent_id,
        comment: Some(UnderPost {
            media_id: comment.media_id.unwrap_or_default(),
            kind,
        }),
        inert: false,
        // A comment allows one private reply, and no more (reference `instagram.md` 3.6).
        opens_window: false,
        is_private: false,
        at,
        receipt: own.then_some(Receipt::Sent),
    };
    Understood {
        person,
        effect: Effect::Said(Box::new(said)),
    }
}

fn instagram_content(message: instagram::Message) -> Content {
    if let Some(payload) = message.quick_reply {
        return reply("quick_reply", Some(payload), message.text, None);
    }
    let mut parts: Vec<Content> = message.attachments.into_iter().map(instagram_attachment).collect();
    // The story that is answered is no message that there could be a reply to: it is part of what was said.
    if let Some(instagram::ReplyTo::Story { id, url, .. }) = message.reply_to {
        parts.push(Content::Share {
            share: "story_reply".to_owned(),
            url,
            title: None,
            media_id: id,
        });
    }
    if message.is_unsupported && parts.is_empty() {
        return Content::Unsupported { what: None };
    }
    match (message.text, parts.len()) {
        (Some(text), 0) => Content::text(text),
        (None, 0) => Content::Unknown {
            what: "message".to_owned(),
        },
        (None, 1) => parts.remove(0),
        (text, _) => Content::Several { text, parts },
    }
}

fn instagram_attachment(attachment: instagram::Attachment) -> Content {
    use instagram::AttachmentKind as Kind;
    let media = || Media {
        link: attachment.url.clone(),
        filename: attachment.title.clone(),
        ..Media::default()
    };
    match attachment.kind.as_str() {
        "image" => Content::Image(media()),
        "video" => Content::Video(media()),
        "audio" => Content::Audio(media()),
        "file" => Content::Document(media()),
        "sticker" | "like_heart" => Content::Sticker(media()),
        // What may be seen once is not passed on (reference `instagram.md` 2.5).
        "ephemeral" => Content::Unsupported {
            what: Some("ephemeral".to_owned()),
        },
        "template" if let Some(template) = instagram_template(&attachment.payload) => template,
        _ => {
            let share = match &attachment.kind {
                Kind::Share | Kind::Post => "post".to_owned(),
                Kind::Reel | Kind::InstagramReel => "reel".to_owned(),
                Kind::Story | Kind::InstagramStory => "story".to_owned(),
                other => other.as_str().to_owned(),
            };
            Content::Share {
                share,
                url: attachment.url,
                title: attachment.title,
                media_id: attachment.media_id,
            }
        }
    }
}

/// Cards or buttons as an echo tells of them. Of cards the reference has the shape (`instagram.md` 2.4); buttons are read as they are sent (3.2).
fn instagram_template(payload: &serde_json::Value) -> Option<Content> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let buttons = |value: &serde_json::Value| {
        let buttons = value["buttons"].as_array().into_iter().flatten();
        let read = buttons.map(|button| Button {
            title: text(&button["title"]).unwrap_or_default(),
            payload: text(&button["payload"]),
            url: text(&button["url"]),
        });
        read.collect::<Vec<Button>>()
    };
    if let Some(elements) = payload["generic"]["elements"].as_array() {
        let cards = elements.iter().map(|element| Card {
            header: text(&element["image_url"]).map(|link| {
                Header::Image(Media {
                    link: Some(link),
                    ..Media::default()
                })
            }),
            title: text(&element["title"]),
            text: text(&element["subtitle"]),
            url: text(&element["default_action"]["url"]),
            buttons: buttons(element),
            product: None,
        });
        return Some(Content::Carousel(Carousel {
            text: None,
            cards: cards.collect(),
        }));
    }
    let button = &payload["button"];
    Some(Content::Buttons(Buttons {
        header: None,
        text: text(&button["text"])?,
        footer: None,
        buttons: buttons(button),
    }))
}
