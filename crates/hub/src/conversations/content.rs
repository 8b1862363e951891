//! What a message says: one document for both channels and both directions.
//!
//! This is deliberately one type for three uses: it is what the store keeps of a message, what the API shows, and what a caller sends.
//! A kind is never removed and a field never changes its meaning; what Meta adds becomes a new kind, and until then
//! [`Content::Unknown`], with the event's raw value to look at.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{MediaId, MessageId};

mod card;
mod interactive;
mod likeness;

pub use card::{ContactCard, ContactCardName};
pub use interactive::{
    AddressForm, Ask, Button, Buttons, Card, CardProduct, Carousel, CatalogLink, ChoiceList, Flow, Header, ListRow,
    ListSection, ProductCard, ProductList, ProductSection,
};
pub use likeness::Likeness;

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
    /// A sticker. Instagram can be sent one alone, the heart, which has no file: `{"type": "sticker"}`.
    Sticker(Media),
    /// A place.
    Location(Location),
    /// Address cards, as Meta describes them.
    Contacts {
        /// The cards. What comes in is kept as Meta tells it; what goes out has to be of this shape.
        #[schema(value_type = Vec<ContactCard>)]
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
    /// Several things in one message (Instagram); outbound, up to 10 pictures.
    Several {
        /// Words with them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The things.
        #[schema(no_recursion)]
        parts: Vec<Content>,
    },
    /// A post, reel or story that was passed on (Instagram). Outbound, a post of the account's own: `share` = `post`, and `mediaId`.
    #[serde(rename_all = "camelCase")]
    Share {
        /// `post`, `reel`, `story`, `story_mention`, `story_reply` (the story that a message answers) or another word of Meta's.
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
    /// Words with up to three buttons (outbound). WhatsApp: all to answer by, or one that leads to a page. Instagram: any of the two.
    Buttons(Buttons),
    /// Words with a list to choose from (WhatsApp, outbound).
    List(ChoiceList),
    /// Cards side by side (outbound). WhatsApp: two to ten, under words. Instagram: up to ten, each with a title.
    Carousel(Carousel),
    /// Words with a form to fill in (WhatsApp, outbound).
    Flow(Box<Flow>),
    /// One product of a catalogue (WhatsApp, outbound).
    Product(ProductCard),
    /// Several products of a catalogue (WhatsApp, outbound).
    ProductList(ProductList),
    /// A whole catalogue (WhatsApp, outbound).
    Catalog(CatalogLink),
    /// Asks where the contact is (WhatsApp, outbound).
    LocationRequest(Ask),
    /// Asks for the contact's phone number (WhatsApp, outbound).
    ContactRequest(Ask),
    /// Asks for an address (WhatsApp in India, outbound).
    AddressRequest(AddressForm),
    /// Asks whether the business may call (WhatsApp, outbound).
    CallPermissionRequest(Ask),
    /// An emoji on another message of the conversation (outbound). It is no message of the conversation: its effect shows on the other one.
    Reaction(React),
    /// An answer under a comment, for everybody to see (Instagram, outbound).
    CommentReply(CommentAnswer),
    /// A direct message that answers a comment: one for each comment, within seven days (Instagram, outbound).
    PrivateReply(CommentAnswer),
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
            Self::Buttons(_) => "buttons",
            Self::List(_) => "list",
            Self::Carousel(_) => "carousel",
            Self::Flow(_) => "flow",
            Self::Product(_) => "product",
            Self::ProductList(_) => "product_list",
            Self::Catalog(_) => "catalog",
            Self::LocationRequest(_) => "location_request",
            Self::ContactRequest(_) => "contact_request",
            Self::AddressRequest(_) => "address_request",
            Self::CallPermissionRequest(_) => "call_permission_request",
            Self::Reaction(_) => "reaction",
            Self::CommentReply(_) => "comment_reply",
            Self::PrivateReply(_) => "private_reply",
            Self::System { .. } => "system",
            Self::CallPermission { .. } => "call_permission",
            Self::Placeholder => "placeholder",
            Self::Unsupported { .. } => "unsupported",
            Self::Deleted => "deleted",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether it is no message of its conversation, but something done to another one: it is in no list of messages, asking for it twice is
    /// the same as asking once, and its effect shows on that other message.
    pub fn is_aside(&self) -> bool {
        matches!(self, Self::Reaction(_))
    }

    /// The comment that it answers, if it is an answer to a comment.
    pub fn answers_comment(&self) -> Option<MessageId> {
        match self {
            Self::CommentReply(answer) | Self::PrivateReply(answer) => Some(answer.message_id),
            _ => None,
        }
    }

    /// The files in it, each with where it is in the document: its own, those of its header, of its cards, or of its parts.
    pub fn files(&self) -> Vec<(String, &Media)> {
        fn of_header<'a>(prefix: &str, header: Option<&'a Header>) -> Option<(String, &'a Media)> {
            Some((format!("{prefix}header"), header?.file()?))
        }
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
            Self::Buttons(buttons) => of_header("", buttons.header.as_ref()).into_iter().collect(),
            Self::Flow(flow) => of_header("", flow.header.as_ref()).into_iter().collect(),
            Self::Carousel(carousel) => {
                let cards = carousel.cards.iter().enumerate();
                cards
                    .filter_map(|(index, card)| of_header(&format!("cards[{index}]."), card.header.as_ref()))
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
            Self::Buttons(buttons) => buttons.header.iter_mut().filter_map(Header::file_mut).collect(),
            Self::Flow(flow) => flow.header.iter_mut().filter_map(Header::file_mut).collect(),
            Self::Carousel(carousel) => {
                let headers = carousel.cards.iter_mut().filter_map(|card| card.header.as_mut());
                headers.filter_map(Header::file_mut).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Puts words before what it says, where there is room for words.
    pub fn preface(&mut self, words: &str) {
        let before = |text: &mut String| *text = format!("{words}\n\n{text}");
        match self {
            Self::Text { text, .. } | Self::QuickReplies { text, .. } => before(text),
            Self::Buttons(buttons) => before(&mut buttons.text),
            Self::List(list) => before(&mut list.text),
            Self::Image(media) | Self::Video(media) | Self::Document(media) => match &mut media.caption {
                Some(caption) => before(caption),
                None => media.caption = Some(words.to_owned()),
            },
            _ => {}
        }
    }
}

/// An emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct React {
    /// The message of this conversation that it is put on.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// The emoji; left out, or empty, it takes back the one that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emoji: Option<String>,
}

impl React {
    /// The emoji that it puts there, if it puts one.
    pub fn emoji(&self) -> Option<&str> {
        self.emoji.as_deref().filter(|emoji| !emoji.is_empty())
    }
}

/// An answer to a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommentAnswer {
    /// The message that is the comment.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// The words.
    pub text: String,
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
    /// Words under it: of an image, video or document (WhatsApp).
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
    /// Recorded in the app. Outbound, of an `.ogg` file with one channel of OPUS: shown as a voice message (WhatsApp).
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
