//! Kinds of content that ask for a choice or lead somewhere: outbound alone. What comes of them comes in as [`super::Reply`], a form, an order,
//! a location or contacts.
//!
//! Bounds stand in [`crate::sending::request`], for each product; here is what both have in common.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Media;

/// Words with buttons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Buttons {
    /// What stands above the words (WhatsApp).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// The words.
    pub text: String,
    /// What stands below them, small (WhatsApp).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// The buttons, three at most.
    pub buttons: Vec<Button>,
}

/// A button: with `payload` to answer by, with `url` to a page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Button {
    /// What is written on it, 20 characters at most.
    pub title: String,
    /// What comes back when it is pressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The page that it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What stands above the words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Header {
    /// A line of text.
    Text {
        /// The line.
        text: String,
    },
    /// A picture.
    Image(Media),
    /// A film.
    Video(Media),
    /// Any other file.
    Document(Media),
}

impl Header {
    /// The word for its kind, as in `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image(_) => "image",
            Self::Video(_) => "video",
            Self::Document(_) => "document",
        }
    }

    /// The file, unless it is a text.
    pub fn file(&self) -> Option<&Media> {
        match self {
            Self::Text { .. } => None,
            Self::Image(media) | Self::Video(media) | Self::Document(media) => Some(media),
        }
    }

    /// The file, to put another one in its place.
    pub fn file_mut(&mut self) -> Option<&mut Media> {
        match self {
            Self::Text { .. } => None,
            Self::Image(media) | Self::Video(media) | Self::Document(media) => Some(media),
        }
    }
}

/// Words with a list to choose from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChoiceList {
    /// What stands above the words: a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// The words.
    pub text: String,
    /// What stands below them, small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// What is written on the button that opens the list.
    pub button: String,
    /// Its sections, with ten rows in all at most.
    pub sections: Vec<ListSection>,
}

/// A section of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListSection {
    /// Its title; may be left out where there is one section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its rows.
    pub rows: Vec<ListRow>,
}

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListRow {
    /// What is written on it.
    pub title: String,
    /// What comes back when it is chosen.
    pub payload: String,
    /// A second line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Cards side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Carousel {
    /// The words above them (WhatsApp).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The cards.
    pub cards: Vec<Card>,
}

/// A card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Card {
    /// Its picture, or on WhatsApp its film.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// Its title (Instagram).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The page that opens when it is tapped (Instagram).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its buttons. WhatsApp: one, to a page. Instagram: up to three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// The product that it shows, in place of everything else (WhatsApp).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<CardProduct>,
}

/// A product of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CardProduct {
    /// Meta's id of the catalogue.
    pub catalog_id: String,
    /// The shop's own number of the product.
    pub product_retailer_id: String,
}

/// Words with a form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flow {
    /// What stands above the words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// The words.
    pub text: String,
    /// What stands below them, small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// What is written on the button that opens the form, 30 characters at most.
    pub button: String,
    /// Meta's id of the flow, or `flowName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<String>,
    /// The name of the flow, in place of `flowId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_name: Option<String>,
    /// Comes back with the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The screen that it begins at; not with `dataExchange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<String>,
    /// What the first screen is filled with; not with `dataExchange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
    /// The flow's own endpoint says what the first screen is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub data_exchange: bool,
    /// The flow is not published yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
}

/// One product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductCard {
    /// The words with it.
    pub text: String,
    /// What stands below them, small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// Meta's id of the catalogue.
    pub catalog_id: String,
    /// The shop's own number of the product.
    pub product_retailer_id: String,
}

/// Several products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductList {
    /// What stands above the words: a text, which has to be there.
    pub header: Header,
    /// The words.
    pub text: String,
    /// What stands below them, small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// Meta's id of the catalogue.
    pub catalog_id: String,
    /// Its sections, with 30 products in all at most.
    pub sections: Vec<ProductSection>,
}

/// A section of a list of products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductSection {
    /// Its title; may be left out where there is one section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The shop's own numbers of the products.
    pub products: Vec<String>,
}

/// A whole catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogLink {
    /// The words with it.
    pub text: String,
    /// What stands below them, small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// The product whose picture is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail_product_retailer_id: Option<String>,
}

/// A question that WhatsApp has a button for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    /// The question.
    pub text: String,
}

/// Asks for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressForm {
    /// The question.
    pub text: String,
    /// The country of the address: `IN`, the only one that there is.
    pub country: String,
}
