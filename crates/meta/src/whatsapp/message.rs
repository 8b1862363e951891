//! What somebody said (reference `whatsapp.md` 4).

use serde_json::Value;

use super::entry::Person;
use super::shape::{ErrorItem, Misshapen, Object};

/// One item of a conversation, from a customer or, as an echo or history, from the business.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// `wamid…`: opaque, compared with regard to case.
    pub id: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Who wrote it; in a group, the participant.
    pub from: Person,
    /// Who it was written to: known for what the business wrote only.
    pub to: Person,
    /// The group that it was written in.
    pub group_id: Option<String>,
    /// What it says.
    pub content: Content,
    /// The message that it answers, or that it was forwarded.
    pub context: Option<Context>,
    /// The ad or post that the conversation began with.
    pub referral: Option<Referral>,
    /// With conversation routing: what was said before the thread came here.
    pub summary: Option<String>,
    /// Why the content is not there, where it is not.
    pub errors: Vec<ErrorItem>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Words.
    Text {
        /// The words.
        body: String,
    },
    /// A file.
    Media(Media),
    /// A place.
    Location(Location),
    /// Address cards, as Meta describes them.
    Contacts(Vec<Value>),
    /// A quick reply of a template was pressed.
    Button {
        /// What the template was sent with, or the label if that was nothing.
        payload: String,
        /// The label.
        text: String,
    },
    /// A reply button of a free-form message was pressed.
    ButtonReply {
        /// What it was sent with.
        id: String,
        /// The label.
        title: String,
    },
    /// A row of a list was chosen.
    ListReply {
        /// What it was sent with.
        id: String,
        /// The row's title.
        title: String,
        /// The row's second line.
        description: Option<String>,
    },
    /// A flow or a form was filled in.
    FlowReply {
        /// `flow` or `address_message`.
        name: Option<String>,
        /// A short text for people.
        body: Option<String>,
        /// The answers: the JSON in `response_json`, whose keys the flow decides; a string where it was no JSON.
        response: Value,
    },
    /// The answer to a request to call.
    CallPermissionReply(CallPermissionReply),
    /// A reaction; replaces an earlier one of the same person.
    Reaction {
        /// What it is a reaction to.
        message_id: String,
        /// `None` takes the reaction back.
        emoji: Option<String>,
    },
    /// Items from the catalogue.
    Order(Order),
    /// Something about the person rather than by them.
    System(System),
    /// A new wording of an earlier message, which may not have come yet.
    Edit {
        /// The earlier message.
        original_id: String,
        /// The new wording.
        content: Box<Content>,
    },
    /// An earlier message, which may not have come yet, was taken back.
    Revoke {
        /// The earlier message.
        original_id: String,
    },
    /// The person wrote, but Meta does not pass on what.
    Unsupported {
        /// What it was: `poll_creation`, `gif`, …
        kind: Option<String>,
    },
    /// The chat was opened for the first time; no longer sent by Meta.
    RequestWelcome,
    /// In history: a file that comes later under the same message id, if it is recent enough.
    MediaPlaceholder,
    /// A type that is not documented.
    Unknown {
        /// `type`, with `interactive/` before an interactive one; empty where there was none.
        kind: String,
    },
}

/// A file in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// What kind of file.
    pub kind: MediaKind,
    /// What to ask Meta for; good for 7 days.
    pub id: String,
    /// May carry parameters: `audio/ogg; codecs=opus`.
    pub mime_type: Option<String>,
    /// Of the file; its encoding differs between Meta's pages and practice.
    pub sha256: Option<String>,
    /// The words under it.
    pub caption: Option<String>,
    /// Of a document.
    pub filename: Option<String>,
    /// Recorded in the app, rather than an audio file.
    pub voice: bool,
    /// Of a sticker.
    pub animated: bool,
    /// Where to fetch it, with the token, within five minutes; not always given.
    pub url: Option<String>,
}

/// What kind of file a [`Media`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A recording or an audio file.
    Audio,
    /// Any file.
    Document,
    /// A sticker.
    Sticker,
}

impl MediaKind {
    /// Meta's spelling of the type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }
}

/// A place.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Only where the person picked a place.
    pub name: Option<String>,
    /// Only where the person picked a place.
    pub address: Option<String>,
    /// Only where the person picked a place.
    pub url: Option<String>,
}

/// The answer to a request to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPermissionReply {
    /// `accept` or `reject`.
    pub response: String,
    /// Until when it holds, in milliseconds since 1970.
    pub expires_at: Option<i64>,
    /// `user_action`, …
    pub source: Option<String>,
}

/// Items from the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The catalogue.
    pub catalog_id: Option<String>,
    /// The person's words with it.
    pub text: Option<String>,
    /// What was ordered.
    pub items: Vec<OrderItem>,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderItem {
    /// The business's own id of the product.
    pub product_retailer_id: Option<String>,
    /// How many.
    pub quantity: Option<i64>,
    /// The price of one.
    pub item_price: Option<f64>,
    /// Three letters.
    pub currency: Option<String>,
}

/// Something about a person (reference `whatsapp.md` 4.5). The message's `from` has the old ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// What happened.
    pub kind: SystemKind,
    /// The same, for people.
    pub body: Option<String>,
    /// The new ids, as far as they changed.
    pub new: Person,
    /// The new identity, where identity checking is on.
    pub identity_hash: Option<String>,
}

/// What a [`System`] message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemKind {
    /// Another phone number, and so another business-scoped id.
    ChangedNumber,
    /// Another business-scoped id.
    ChangedUserId,
    /// Another device, perhaps another person.
    ChangedIdentity,
    /// One that is not documented, as Meta spelled it.
    Other(String),
}

/// What a message refers to (reference `whatsapp.md` 4.7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The message that is answered; it may be unknown here.
    pub message_id: Option<String>,
    /// Who wrote that one: a number, or Meta's id of one.
    pub from: Option<String>,
    /// Forwarded, up to five times.
    pub forwarded: bool,
    /// Forwarded more often.
    pub frequently_forwarded: bool,
    /// The product that is asked about.
    pub referred_product: Option<Product>,
}

/// A product of a catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Product {
    /// The catalogue.
    pub catalog_id: Option<String>,
    /// The business's own id of the product.
    pub product_retailer_id: Option<String>,
}

/// The ad or post that a conversation began with (reference `whatsapp.md` 4.7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referral {
    /// Of the ad or post.
    pub source_url: Option<String>,
    /// Of the ad or post.
    pub source_id: Option<String>,
    /// `ad` or `post`.
    pub source_type: Option<String>,
    /// Its title.
    pub headline: Option<String>,
    /// Its text.
    pub body: Option<String>,
    /// `image` or `video`.
    pub media_type: Option<String>,
    /// With `image`.
    pub image_url: Option<String>,
    /// With `video`.
    pub video_url: Option<String>,
    /// With `video`.
    pub thumbnail_url: Option<String>,
    /// The click, for reporting back what came of it; absent for ads in Status.
    pub ctwa_clid: Option<String>,
    /// The greeting that the person saw.
    pub welcome_text: Option<String>,
}

/// The types whose content stands under a key of the same name: a message without `type` is recognised by it.
const TYPES_WITH_OBJECT: &[&str] = &[
    "text",
    "image",
    "video",
    "audio",
    "voice",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "button",
    "reaction",
    "order",
    "system",
    "edit",
    "revoke",
    "unsupported",
];

/// The message's type; empty where neither `type` nor a known key tells.
fn type_of(message: Object<'_>) -> &str {
    message
        .str("type")
        .or_else(|| {
            TYPES_WITH_OBJECT
                .iter()
                .copied()
                .find(|name| message.value(name).is_some())
        })
        .unwrap_or_default()
}

impl Message {
    pub(super) fn read(item: &Value, entry_time: Option<i64>) -> Result<Self, Misshapen> {
        let message = Object::of(item)?;
        let id = message.required_text("id")?;
        let at = message
            .millis("timestamp")
            .or(entry_time)
            .ok_or_else(|| message.missing("timestamp", "a time"))?;
        let errors = ErrorItem::read_all(message);
        Ok(Self {
            id,
            at,
            from: Person::read(message, "from", "from_user_id", "from_parent_user_id"),
            to: Person::read(message, "to", "to_user_id", "to_parent_user_id"),
            group_id: message.id("group_id"),
            content: match Content::read(message) {
                // Errors in place of a body: the content is lost, the message is not (reference `whatsapp.md` 4.3, 4.6).
                Err(_) if !errors.is_empty() => Content::Unsupported {
                    kind: message.text("type"),
                },
                content => content?,
            },
            context: message.object("context").map(Context::read),
            referral: message.object("referral").map(Referral::read),
            summary: message
                .object("conversation_context")
                .and_then(|context| context.object("summary"))
                .and_then(|summary| summary.text("text")),
            errors,
        })
    }
}

impl Content {
    /// The content of a message, or of the `message` inside an edit.
    fn read(message: Object<'_>) -> Result<Self, Misshapen> {
        let kind = type_of(message);
        let media = |media_kind| {
            let media = message.required_object(kind)?;
            Ok(Self::Media(Media {
                kind: media_kind,
                id: media
                    .id("id")
                    .ok_or_else(|| media.missing("id", "a media id").inside(kind))?,
                mime_type: media.text("mime_type"),
                sha256: media.text("sha256"),
                caption: media.text("caption"),
                filename: media.text("filename"),
                voice: kind == "voice" || media.flag("voice"),
                animated: media.flag("animated"),
                url: media.text("url"),
            }))
        };
        let within = |read: fn(Object<'_>) -> Result<Self, Misshapen>| {
            read(message.required_object(kind)?).map_err(|misshapen| misshapen.inside(kind))
        };
        match kind {
            "text" => within(|text| {
                Ok(Self::Text {
                    body: text.required_text("body")?,
                })
            }),
            "image" => media(MediaKind::Image),
            "video" => media(MediaKind::Video),
            "audio" | "voice" => media(MediaKind::Audio),
            "document" => media(MediaKind::Document),
            "sticker" => media(MediaKind::Sticker),
            "location" => within(Self::location),
            "contacts" => {
                let cards = message.list(kind).ok_or_else(|| message.missing(kind, "an array"))?;
                Ok(Self::Contacts(cards.to_vec()))
            }
            "interactive" => within(Self::interactive),
            "button" => within(|button| {
                let payload = button
                    .id("payload")
                    .or_else(|| button.text("text"))
                    .ok_or_else(|| button.missing("payload", "a string"))?;
                Ok(Self::Button {
                    text: button.text("text").unwrap_or_else(|| payload.clone()),
                    payload,
                })
            }),
            "reaction" => within(|reaction| {
                Ok(Self::Reaction {
                    message_id: reaction.required_text("message_id")?,
                    emoji: reaction.text("emoji"),
                })
            }),
            "order" => within(Self::order),
            "system" => {
                let identity = message.object("identity").and_then(|identity| identity.text("hash"));
                Ok(Self::System(System::read(message.required_object(kind)?, identity)))
            }
            "edit" => within(|edit| {
                let original_id = edit.required_text("original_message_id")?;
                let message = edit.required_object("message")?;
                // One level only: an edit of an edit is not documented, and would let the payload decide how deep this calls itself.
                let content = match type_of(message) {
                    kind @ ("edit" | "revoke") => Self::Unknown { kind: kind.to_owned() },
                    _ => Self::read(message).map_err(|misshapen| misshapen.inside("message"))?,
                };
                Ok(Self::Edit {
                    original_id,
                    content: Box::new(content),
                })
            }),
            "revoke" => within(|revoke| {
                Ok(Self::Revoke {
                    original_id: revoke.required_text("original_message_id")?,
                })
            }),
            // `unknown` is the older spelling, whose object is missing (reference `whatsapp.md` 4.6).
            "unsupported" | "unknown" => Ok(Self::Unsupported {
                kind: message
                    .object("unsupported")
                    .and_then(|unsupported| unsupported.text("type")),
            }),
            "request_welcome" => Ok(Self::RequestWelcome),
            "media_placeholder" => Ok(Self::MediaPlaceholder),
            other => Ok(Self::Unknown { kind: other.to_owned() }),
        }
    }

    fn location(location: Object<'_>) -> Result<Self, Misshapen> {
        let degrees = |name| location.decimal(name).ok_or_else(|| location.missing(name, "degrees"));
        Ok(Self::Location(Location {
            latitude: degrees("latitude")?,
            longitude: degrees("longitude")?,
            name: location.text("name"),
            address: location.text("address"),
            url: location.text("url"),
        }))
    }

    fn interactive(interactive: Object<'_>) -> Result<Self, Misshapen> {
        const KINDS: [&str; 4] = ["button_reply", "list_reply", "nfm_reply", "call_permission_reply"];
        let kind = interactive
            .str("type")
            .or_else(|| KINDS.into_iter().find(|name| interactive.value(name).is_some()))
            .unwrap_or_default();
        if !KINDS.contains(&kind) {
            return Ok(Self::Unknown {
                kind: format!("interactive/{kind}"),
            });
        }
        let reply = interactive.required_object(kind)?;
        let inside = |misshapen: Misshapen| misshapen.inside(kind);
        Ok(match kind {
            "button_reply" => Self::ButtonReply {
                id: reply.required_text("id").map_err(inside)?,
                title: reply.text("title").unwrap_or_default(),
            },
            "list_reply" => Self::ListReply {
                id: reply.required_text("id").map_err(inside)?,
                title: reply.text("title").unwrap_or_default(),
                description: reply.text("description"),
            },
            "nfm_reply" => Self::FlowReply {
                name: reply.text("name"),
                body: reply.text("body"),
                response: match reply.value("response_json") {
                    Some(Value::String(json)) => super::wire::tree(json).unwrap_or_else(|| Value::from(json.as_str())),
                    Some(other) => other.clone(),
                    None => return Err(inside(reply.missing("response_json", "a string of JSON"))),
                },
            },
            _ => Self::CallPermissionReply(CallPermissionReply {
                response: reply.required_text("response").map_err(inside)?,
                expires_at: reply.millis("expiration_timestamp"),
                source: reply.text("response_source"),
            }),
        })
    }

    fn order(order: Object<'_>) -> Result<Self, Misshapen> {
        let items = order
            .list("product_items")
            .ok_or_else(|| order.missing("product_items", "an array"))?;
        let items = items.iter().filter_map(|item| {
            let item = Object::of(item).ok()?;
            Some(OrderItem {
                product_retailer_id: item.id("product_retailer_id"),
                quantity: item.number("quantity"),
                item_price: item.decimal("item_price"),
                currency: item.text("currency"),
            })
        });
        Ok(Self::Order(Order {
            catalog_id: order.id("catalog_id"),
            text: order.text("text"),
            items: items.collect(),
        }))
    }
}

impl System {
    fn read(system: Object<'_>, identity_hash: Option<String>) -> Self {
        Self {
            // Two spellings each (reference `whatsapp.md` 4.5).
            kind: match system.str("type").unwrap_or_default() {
                "user_changed_number" | "customer_changed_number" => SystemKind::ChangedNumber,
                "user_changed_user_id" => SystemKind::ChangedUserId,
                "user_identity_changed" | "customer_identity_changed" => SystemKind::ChangedIdentity,
                other => SystemKind::Other(other.to_owned()),
            },
            body: system.text("body"),
            new: Person::read(system, "wa_id", "user_id", "parent_user_id"),
            identity_hash,
        }
    }
}

impl Context {
    fn read(context: Object<'_>) -> Self {
        Self {
            message_id: context.text("id"),
            from: context.id("from"),
            forwarded: context.flag("forwarded"),
            frequently_forwarded: context.flag("frequently_forwarded"),
            referred_product: context.object("referred_product").map(|product| Product {
                catalog_id: product.id("catalog_id"),
                product_retailer_id: product.id("product_retailer_id"),
            }),
        }
    }
}

impl Referral {
    fn read(referral: Object<'_>) -> Self {
        Self {
            source_url: referral.text("source_url"),
            source_id: referral.id("source_id"),
            source_type: referral.text("source_type"),
            headline: referral.text("headline"),
            body: referral.text("body"),
            media_type: referral.text("media_type"),
            image_url: referral.text("image_url"),
            video_url: referral.text("video_url"),
            thumbnail_url: referral.text("thumbnail_url"),
            ctwa_clid: referral.text("ctwa_clid"),
            welcome_text: referral
                .object("welcome_message")
                .and_then(|welcome| welcome.text("text")),
        }
    }
}
