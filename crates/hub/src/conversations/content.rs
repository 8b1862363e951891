//! What a message says: one document for both channels and both directions.
//!
//! This is deliberately one type for three uses: it is what the store keeps of a message, what the API shows, and what a caller sends.
//! A kind is never removed and a field never changes its meaning; what Meta adds becomes a new kind, and until then
//! [`Content::Unknown`], with the event's raw value to look at.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::MediaId;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
// The OpenAPI document knows `rename_all` of a variant, but not `rename_all_fields` of all of them.
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// Words.
    #[serde(rename_all = "camelCase")]
    Text {
        /// The words.
        text: String,
        /// Show a preview of the first link (WhatsApp, outbound).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        preview_url: bool,
    },
    /// A picture.
    Image(Media),
    /// A film.
    Video(Media),
    /// A recording or an audio file.
    Audio(Media),
    /// Any other file.
    Document(Media),
    /// A sticker.
    Sticker(Media),
    /// A place.
    Location(Location),
    /// Address cards, as Meta describes them.
    Contacts {
        /// The cards.
        #[schema(value_type = Vec<Object>)]
        contacts: Vec<serde_json::Value>,
    },
    /// A button, list row, quick reply or menu item was pressed.
    Reply(Reply),
    /// A form (WhatsApp flow) was filled in.
    Form {
        /// `flow` or `address_message`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// A short text for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The answers; their keys are the form's.
        #[schema(value_type = Object)]
        answers: serde_json::Value,
    },
    /// Items from a catalogue.
    #[serde(rename_all = "camelCase")]
    Order {
        /// The catalogue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catalog_id: Option<String>,
        /// Words with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The items.
        items: Vec<OrderItem>,
    },
    /// Several things in one message (Instagram).
    Several {
        /// Words with them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The things.
        #[schema(no_recursion)]
        parts: Vec<Content>,
    },
    /// A post, reel or story that was passed on (Instagram).
    #[serde(rename_all = "camelCase")]
    Share {
        /// `post`, `reel`, `story`, `story_mention` or another word of Meta's.
        share: String,
        /// Where it is; such links die within days.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        /// Its title.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Meta's id of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media_id: Option<String>,
    },
    /// A template that Meta has approved (WhatsApp, outbound).
    Template(Template),
    /// Words with buttons to answer by (Instagram, outbound).
    #[serde(rename_all = "camelCase")]
    QuickReplies {
        /// The words.
        text: String,
        /// The buttons, 13 at most.
        quick_replies: Vec<QuickReply>,
    },
    /// Something about the contact, told by WhatsApp.
    System {
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// `changed_number`, `changed_user_id`, `changed_identity` or `other`.
        change: String,
    },
    /// The contact answered a request to call.
    CallPermission {
        /// `accept` or `reject`.
        response: String,
    },
    /// A file that the phone app will hand over later (imported history).
    Placeholder,
    /// Meta does not pass on what it was.
    Unsupported {
        /// Meta's word for it, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        what: Option<String>,
    },
    /// It was taken back; what it said is gone.
    Deleted,
    /// Nothing that Tidings knows; the event holds Meta's own words.
    Unknown {
        /// Meta's word for its kind.
        what: String,
    },
}

impl Content {
    /// Plain words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            preview_url: false,
        }
    }

    /// The word for its kind, as in `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image(_) => "image",
            Self::Video(_) => "video",
            Self::Audio(_) => "audio",
            Self::Document(_) => "document",
            Self::Sticker(_) => "sticker",
            Self::Location(_) => "location",
            Self::Contacts { .. } => "contacts",
            Self::Reply(_) => "reply",
            Self::Form { .. } => "form",
            Self::Order { .. } => "order",
            Self::Several { .. } => "several",
            Self::Share { .. } => "share",
            Self::Template(_) => "template",
            Self::QuickReplies { .. } => "quick_replies",
            Self::System { .. } => "system",
            Self::CallPermission { .. } => "call_permission",
            Self::Placeholder => "placeholder",
            Self::Unsupported { .. } => "unsupported",
            Self::Deleted => "deleted",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The files in it, each with where it is in the document: its own, or those of its parts.
    pub fn files(&self) -> Vec<(String, &Media)> {
        match self {
            Self::Image(media)
            | Self::Video(media)
            | Self::Audio(media)
            | Self::Document(media)
            | Self::Sticker(media) => vec![(String::new(), media)],
            Self::Several { parts, .. } => {
                let parts = parts.iter().enumerate();
                parts
                    .flat_map(|(index, part)| {
                        let of_part = part.files().into_iter();
                        of_part.map(move |(_, media)| (format!("parts[{index}]"), media))
                    })
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The same, to put something else in their place.
    pub fn files_mut(&mut self) -> Vec<&mut Media> {
        match self {
            Self::Image(media)
            | Self::Video(media)
            | Self::Audio(media)
            | Self::Document(media)
            | Self::Sticker(media) => vec![media],
            Self::Several { parts, .. } => parts.iter_mut().flat_map(Self::files_mut).collect(),
            _ => Vec::new(),
        }
    }

    /// The words in it, if it has any: what an echo is recognised by.
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } | Self::QuickReplies { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// A file in a message. Outbound it is exactly one of `link`, `mediaId` and `id`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// Meta's id of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Tidings' id of the file, from `POST /api/v1/media`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub media_id: Option<MediaId>,
    /// Where the file is. Outbound: a public `https` address that Meta fetches. Inbound: Meta's own, which dies within minutes or days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Words under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Such as `image/jpeg`, with parameters where Meta gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// As Meta gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Recorded in the app.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub voice: bool,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A page about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A choice that was made by pressing something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// What was pressed: `button`, `list`, `template_button`, `quick_reply` or `postback`.
    pub source: String,
    /// What the sender put behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// What was written on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The second line of a list's row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// One item of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderItem {
    /// The shop's own number of the product.
    pub product_retailer_id: String,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// Of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// Such as `EUR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// A template and what to fill it with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// Its name at Meta.
    pub name: String,
    /// Its language, such as `en_US`; `en` is another one.
    pub language: String,
    /// Header, body and button parameters, as Meta takes them (reference `whatsapp.md` 10.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub components: Vec<serde_json::Value>,
}

/// A button to answer by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuickReply {
    /// What is written on it, 20 characters at most.
    pub title: String,
    /// What comes back when it is pressed, 1,000 characters at most.
    pub payload: String,
}
