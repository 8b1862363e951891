//! A thread: what one customer and one business account said to each other, as the customer's phone shows it.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use super::usage::{Pair, Window};

/// Which customer, which account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ThreadKey {
    pub(crate) customer: String,
    /// A phone number id or an Instagram account id.
    pub(crate) account: String,
}

#[derive(Debug, Default)]
pub(crate) struct Thread {
    pub(crate) messages: VecDeque<Message>,
    /// When the customer last did what opens the window.
    pub(crate) window_opened_at: Option<i64>,
    /// Until when the business is shown as typing.
    pub(crate) typing_until: i64,
    /// How many messages each side wrote; their ids count by it.
    pub(crate) written_by_customer: u64,
    pub(crate) written_by_business: u64,
    /// What the pair limit has counted so far.
    pub(crate) pair: Pair,
    /// What the business wrote in the last hour; counted on Instagram alone.
    pub(crate) hour: Window,
    /// The customer doesn't want to hear from the account any more; no business is told.
    pub(crate) is_blocked: bool,
    /// The customer wants no marketing from the account.
    pub(crate) refuses_marketing: bool,
}

/// 24 hours: WhatsApp's customer service window (whatsapp.md 13.4) and Instagram's standard one (instagram.md 3.4).
const WINDOW_MILLIS: i64 = 24 * 3600 * 1000;

impl Thread {
    pub(crate) fn window_is_open(&self, now: i64) -> bool {
        self.window_opened_at
            .is_some_and(|opened_at| now - opened_at < WINDOW_MILLIS)
    }

    /// Looks from the newest on, since that is what people act upon.
    pub(crate) fn message(&self, id: &str) -> Option<&Message> {
        self.messages.iter().rev().find(|message| message.id == id)
    }

    pub(crate) fn message_mut(&mut self, id: &str) -> Option<&mut Message> {
        self.messages.iter_mut().rev().find(|message| message.id == id)
    }
}

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Customer,
    Business,
}

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Progress {
    Sent,
    Delivered,
    Read,
    /// A voice message was played for the first time.
    Played,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) by: By,
    pub(crate) at: i64,
    pub(crate) progress: Progress,
    pub(crate) shown: Shown,
    pub(crate) reactions: Vec<Reaction>,
    /// How often the customer edited it.
    pub(crate) edits: u32,
    /// What the statuses of a business's WhatsApp message say.
    pub(crate) outgoing: Option<Outgoing>,
}

/// What a phone shows of a message.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) footer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caption: Option<String>,
    /// The picture, film or document above the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header_media: Option<Attached>,
    /// Several files in one message; Instagram only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) attachments: Vec<Attached>,
    /// An audio that was recorded in the app.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) voice: bool,
    /// Contact cards, as WhatsApp writes them (whatsapp.md 4.2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contacts: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) buttons: Vec<Choice>,
    /// What opens the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) menu: Option<String>,
    /// The rows of a list, in their sections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sections: Vec<Section>,
    /// What is side by side in a carousel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cards: Vec<Card>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) products: Option<Products>,
    /// What the message asks for: a flow, the place, an address, the number, a call, the catalogue, a payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<Action>,
    /// A limited offer: its text, and when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offer: Option<Offer>,
    /// The post, reel or story that is shared, mentioned or answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) post: Option<Post>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) forwarded: bool,
    /// What the customer came from: an advertisement or a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) referral: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) order: Vec<Ordered>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) quick_replies: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<String>,
}

/// A place on a map.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Place {
    /// In degrees, like the longitude.
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

/// Something to press.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Choice {
    pub(crate) title: String,
    pub(crate) payload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// It opens this, and tells the business nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// It does something on the phone alone: `call`, `copy`, `catalog`; or opens a `flow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) does: Option<&'static str>,
}

impl Choice {
    /// Whether pressing it is told to the business.
    pub(crate) fn is_told(&self) -> bool {
        self.url.is_none() && self.does.is_none()
    }
}

/// A file within a message.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Attached {
    /// `image`, `video`, `audio`, `document` or `file`.
    pub(crate) kind: String,
    pub(crate) link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filename: Option<String>,
}

/// Rows under one title.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Section {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) rows: Vec<Choice>,
}

/// One card of a carousel.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Card {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media: Option<Attached>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// What pressing the card itself opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The product that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) product: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) buttons: Vec<Choice>,
}

/// Products of a catalogue, by the retailer's ids.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Products {
    pub(crate) catalog_id: String,
    pub(crate) sections: Vec<ProductSection>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProductSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) ids: Vec<String>,
}

/// What a message asks its reader to do.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Action {
    /// `flow`, `send_location`, `address_message`, `request_contact_info`, `call_permission_request`, `voice_call`,
    /// `catalog_message`, `order_details` or `order_status`.
    pub(crate) kind: String,
    pub(crate) label: String,
    /// Its parameters, as they were sent.
    pub(crate) parameters: Value,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Offer {
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<i64>,
}

/// A post, a reel or a story.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Post {
    /// `post`, `reel` or `story`.
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
}

/// One line of a customer's order.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ordered {
    pub(crate) product: String,
    pub(crate) quantity: u32,
    pub(crate) price: f64,
    pub(crate) currency: String,
}

impl Shown {
    /// Everything that can be pressed and is told to the business, quick replies apart.
    pub(crate) fn choices(&self) -> impl Iterator<Item = &Choice> {
        let rows = self.sections.iter().flat_map(|section| &section.rows);
        let on_cards = self.cards.iter().flat_map(|card| &card.buttons);
        self.buttons
            .iter()
            .chain(rows)
            .chain(on_cards)
            .filter(|choice| choice.is_told())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reaction {
    pub(crate) by: By,
    pub(crate) emoji: String,
}

impl Message {
    /// Sets, replaces or (with `None`) removes the one reaction that each side may have.
    pub(crate) fn react(&mut self, by: By, emoji: Option<&str>) {
        self.reactions.retain(|reaction| reaction.by != by);
        if let Some(emoji) = emoji {
            self.reactions.push(Reaction {
                by,
                emoji: emoji.to_owned(),
            });
        }
    }
}

/// What the statuses of a WhatsApp message need to say (whatsapp.md 5).
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) message_id: String,
    /// The phone number id it was sent from.
    pub(crate) account: String,
    /// The customer, if there is one behind the address.
    pub(crate) customer: Option<String>,
    pub(crate) recipient_id: Option<String>,
    pub(crate) recipient_user_id: Option<String>,
    /// Whether it was addressed to a business-scoped user id.
    pub(crate) by_user_id: bool,
    /// `biz_opaque_callback_data`, given back in every status.
    pub(crate) callback_data: Option<String>,
    pub(crate) pricing: Option<Pricing>,
    /// A reaction gets no status but `sent`.
    pub(crate) is_reaction: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Pricing {
    pub(crate) kind: &'static str,
    pub(crate) category: String,
}
