//! What can be known to be wrong with a message before Meta is called: whether the product has the kind, what belongs together and what excludes
//! each other, and (by [`limits`]) every bound.

use std::collections::HashSet;

use super::{Fault, limits};
use crate::channels::model::ChannelKind;
use crate::conversations::content::{
    Button, Buttons, Card, Carousel, ChoiceList, ContactCard, Content, Flow, Header, ListSection, Media, ProductList,
    Template,
};
use crate::sending::email;

/// The kinds that WhatsApp can be sent (reference `whatsapp.md` 9.2, 9.3, 10.1). Calls and payments are not among them: the reference gives no body.
const WHATSAPP_KINDS: &[&str] = &[
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "template",
    "buttons",
    "list",
    "carousel",
    "flow",
    "product",
    "product_list",
    "catalog",
    "location_request",
    "contact_request",
    "address_request",
    "call_permission_request",
    "reaction",
];
/// The kinds that Instagram can be sent (reference `instagram.md` 3.2, 3.3).
const INSTAGRAM_KINDS: &[&str] = &[
    "text",
    "quick_replies",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "several",
    "share",
    "buttons",
    "carousel",
    "reaction",
    // Reference `instagram.md` 3.6 and 4.
    "comment_reply",
    "private_reply",
];

/// Whether a channel's product can be sent this, and whether it keeps the limits; every fault at once.
pub fn check(product: ChannelKind, content: &Content) -> Vec<Fault> {
    if let Some(refusal) = refusal(product, content) {
        return vec![Fault::new("content.type", refusal)];
    }
    let mut faults = Faults::default();
    for (place, media) in content.files() {
        faults.file(product, &place, media, content);
    }
    match product {
        ChannelKind::WhatsApp => faults.whatsapp(content),
        ChannelKind::Instagram => faults.instagram(content),
        ChannelKind::Email => {}
    }
    let document = serde_json::to_value(content).unwrap_or_default();
    faults.found.extend(limits::faults(product, content.kind(), &document));
    faults.found
}

/// Why a product cannot be sent a kind at all; `None` if it can.
fn refusal(product: ChannelKind, content: &Content) -> Option<String> {
    let kinds = match product {
        ChannelKind::WhatsApp => WHATSAPP_KINDS,
        ChannelKind::Instagram => INSTAGRAM_KINDS,
        ChannelKind::Email => return email::refusal(content),
    };
    if kinds.contains(&content.kind()) {
        return None;
    }
    let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
    let kinds = kinds.join(", ");
    Some(format!("`{}` cannot be sent on {product}; {kinds} can", content.kind()))
}

#[derive(Default)]
struct Faults {
    found: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, field: impl AsRef<str>, detail: impl Into<String>) {
        self.found
            .push(Fault::new(format!("content.{}", field.as_ref()), detail));
    }

    /// Exactly one of `link`, `mediaId` and `id`, and what a file of this kind can have beside it.
    fn file(&mut self, product: ChannelKind, place: &str, media: &Media, content: &Content) {
        let field = |name: &str| {
            if place.is_empty() {
                name.to_owned()
            } else {
                format!("{place}.{name}")
            }
        };
        // Instagram's sticker is one that needs no file (reference `instagram.md` 3.2).
        if product == ChannelKind::Instagram && matches!(content, Content::Sticker(_)) {
            if *media != Media::default() {
                self.add("type", "`sticker` is the heart on Instagram: it has no file");
            }
            return;
        }
        match (&media.link, &media.media_id, &media.id) {
            (Some(link), None, None) => self.link(&field("link"), link),
            (None, Some(_), None) | (None, None, Some(_)) => {}
            (None, None, None) => self.add(
                field("link"),
                "is missing: the public address of the file, or `mediaId`, or Meta's `id` of it",
            ),
            _ => self.add(field("link"), "excludes `mediaId` and `id`: give one of the three"),
        }
        if media.id.as_deref().is_some_and(|id| id.trim().is_empty()) {
            self.add(field("id"), "must not be empty");
        }
        let is_own = place.is_empty();
        let may_have_caption = is_own
            && product != ChannelKind::Instagram
            && matches!(content, Content::Image(_) | Content::Video(_) | Content::Document(_));
        if media.caption.is_some() && !may_have_caption {
            self.add(
                field("caption"),
                match product {
                    ChannelKind::Instagram => "is not shown on Instagram: send the words as a message of their own",
                    ChannelKind::WhatsApp | ChannelKind::Email => {
                        "is for an `image`, `video` or `document`: send the words as a message of their own"
                    }
                },
            );
        }
        let may_be_named = product != ChannelKind::Instagram
            && (matches!(content, Content::Document(_)) || !is_own && !matches!(content, Content::Several { .. }));
        if media.filename.is_some() && !may_be_named {
            self.add(field("filename"), "is for a `document` on WhatsApp");
        }
        if media.voice && (product == ChannelKind::Instagram || !matches!(content, Content::Audio(_))) {
            self.add(field("voice"), "is for an `audio` on WhatsApp");
        }
    }

    fn link(&mut self, field: &str, link: &str) {
        let rest = link.strip_prefix("https://");
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) || link.chars().any(char::is_whitespace) {
            self.add(
                field,
                "must be an address that begins with `https://` and that Meta can fetch",
            );
        }
    }

    /// A page to open, which Meta does not fetch.
    fn page(&mut self, field: &str, url: &str) {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) || url.chars().any(char::is_whitespace) {
            self.add(field, "must be an address that begins with `https://` or `http://`");
        }
    }

    fn whatsapp(&mut self, content: &Content) {
        match content {
            Content::Location(location) if location.url.is_some() => {
                self.add("url", "cannot be sent: leave it out");
            }
            Content::Contacts { contacts } => {
                for (index, card) in contacts.iter().enumerate() {
                    let field = format!("contacts[{index}]");
                    match serde_json::from_value::<ContactCard>(card.clone()) {
                        Err(error) => self.add(field, format!("is no address card: {error}")),
                        Ok(card) if card.name.formatted_name.trim().is_empty() => {
                            self.add(format!("{field}.name.formatted_name"), "must not be empty");
                        }
                        Ok(_) => {}
                    }
                }
            }
            Content::Template(template) => self.template(template),
            Content::Buttons(buttons) => self.whatsapp_buttons(buttons),
            Content::List(list) => self.list(list),
            Content::Carousel(carousel) => self.whatsapp_carousel(carousel),
            Content::Flow(flow) => self.flow(flow),
            Content::Product(product) => {
                self.needed("catalogId", &product.catalog_id);
                self.needed("productRetailerId", &product.product_retailer_id);
            }
            Content::ProductList(list) => self.product_list(list),
            Content::AddressRequest(form) if form.country != "IN" => {
                self.add("country", "must be `IN`: addresses can be asked for in India alone");
            }
            _ => {}
        }
    }

    fn template(&mut self, template: &Template) {
        let name = &template.name;
        if !name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            self.add("name", "a template's name has lower-case letters, digits and `_` only");
        }
        let components = &template.components;
        if let Some(index) = components.iter().position(|component| !component["type"].is_string()) {
            let field = format!("components[{index}].type");
            self.add(field, "is missing: `header`, `body` or `button`");
        }
    }

    fn needed(&mut self, field: impl AsRef<str>, text: &str) {
        if text.trim().is_empty() {
            self.add(field, "must not be empty");
        }
    }

    /// A button either answers or leads to a page.
    fn button(&mut self, field: &str, button: &Button) {
        match (&button.payload, &button.url) {
            (Some(_), None) => {}
            (None, Some(url)) => self.page(&format!("{field}.url"), url),
            (None, None) => self.add(format!("{field}.payload"), "is missing: give `payload`, or `url`"),
            (Some(_), Some(_)) => self.add(format!("{field}.url"), "excludes `payload`: give one of the two"),
        }
    }

    fn whatsapp_buttons(&mut self, content: &Buttons) {
        for (index, button) in content.buttons.iter().enumerate() {
            self.button(&format!("buttons[{index}]"), button);
        }
        let pages = content.buttons.iter().filter(|button| button.url.is_some()).count();
        if pages > 0 && content.buttons.len() > 1 {
            let detail =
                "with `url` there is one button on WhatsApp: give one with `url`, or up to three with `payload`";
            self.add("buttons", detail);
        }
        let titles = content.buttons.iter().map(|button| Some(button.title.as_str()));
        self.unique("buttons", "title", titles);
        let payloads = content.buttons.iter().map(|button| button.payload.as_deref());
        self.unique("buttons", "payload", payloads);
    }

    /// Names each element whose text another one before it has.
    fn unique<'a>(&mut self, list: &str, member: &str, texts: impl Iterator<Item = Option<&'a str>>) {
        let mut seen = HashSet::new();
        for (index, text) in texts.enumerate() {
            if text.is_some_and(|text| !seen.insert(text)) {
                self.add(
                    format!("{list}[{index}].{member}"),
                    "is that of another one: each has its own",
                );
            }
        }
    }

    fn header_is_text(&mut self, header: Option<&Header>) {
        if header.is_some_and(|header| header.kind() != "text") {
            self.add("header.type", "must be `text` with this kind");
        }
    }

    fn list(&mut self, list: &ChoiceList) {
        self.header_is_text(list.header.as_ref());
        let titles = list.sections.iter().map(|section| section.title.as_deref());
        self.sections_are_titled(titles);
        let mut seen = HashSet::new();
        for (index, ListSection { rows, .. }) in list.sections.iter().enumerate() {
            if rows.is_empty() {
                self.add(format!("sections[{index}].rows"), "must not be empty");
            }
            for (row_index, row) in rows.iter().enumerate() {
                if !seen.insert(row.payload.as_str()) {
                    let field = format!("sections[{index}].rows[{row_index}].payload");
                    self.add(field, "is that of another row: each has its own");
                }
            }
        }
    }

    fn sections_are_titled<'a>(&mut self, titles: impl ExactSizeIterator<Item = Option<&'a str>>) {
        if titles.len() < 2 {
            return;
        }
        for (index, title) in titles.enumerate() {
            if title.is_none() {
                let field = format!("sections[{index}].title");
                self.add(field, "is missing: of several sections each has a title");
            }
        }
    }

    fn product_list(&mut self, list: &ProductList) {
        self.header_is_text(Some(&list.header));
        self.needed("catalogId", &list.catalog_id);
        let titles = list.sections.iter().map(|section| section.title.as_deref());
        self.sections_are_titled(titles);
        for (index, section) in list.sections.iter().enumerate() {
            if section.products.is_empty() {
                self.add(format!("sections[{index}].products"), "must not be empty");
            }
            for (product_index, product) in section.products.iter().enumerate() {
                self.needed(format!("sections[{index}].products[{product_index}]"), product);
            }
        }
    }

    fn flow(&mut self, flow: &Flow) {
        match (&flow.flow_id, &flow.flow_name) {
            (Some(id), None) => self.needed("flowId", id),
            (None, Some(name)) => self.needed("flowName", name),
            (None, None) => self.add("flowId", "is missing: give `flowId`, or `flowName`"),
            (Some(_), Some(_)) => self.add("flowName", "excludes `flowId`: give one of the two"),
        }
        if flow.data_exchange && (flow.screen.is_some() || flow.data.is_some()) {
            let detail = "must be left out with `dataExchange`: the flow's endpoint says what the first screen is";
            self.add("screen", detail);
        } else if flow.data.is_some() && flow.screen.is_none() {
            self.add("screen", "is missing: the screen that `data` is for");
        }
    }

    fn whatsapp_carousel(&mut self, carousel: &Carousel) {
        if carousel.text.is_none() {
            self.add("text", "is missing: the words above the cards");
        }
        let of_products = carousel.cards.iter().any(|card| card.product.is_some());
        let kind = carousel
            .cards
            .iter()
            .find_map(|card| card.header.as_ref())
            .map(Header::kind);
        for (index, card) in carousel.cards.iter().enumerate() {
            let field = |name: &str| format!("cards[{index}].{name}");
            if of_products {
                match &card.product {
                    None => self.add(
                        field("product"),
                        "is missing: either every card shows a product, or none",
                    ),
                    Some(product) => {
                        self.needed(field("product.catalogId"), &product.catalog_id);
                        self.needed(field("product.productRetailerId"), &product.product_retailer_id);
                        let bare = Card {
                            product: card.product.clone(),
                            ..Card::default()
                        };
                        if *card != bare {
                            self.add(field("product"), "excludes everything else on the card");
                        }
                    }
                }
                continue;
            }
            match &card.header {
                None => self.add(field("header"), "is missing: a picture or a film"),
                Some(Header::Text { .. } | Header::Document(_)) => {
                    self.add(field("header.type"), "must be `image` or `video`");
                }
                Some(header) if Some(header.kind()) != kind => {
                    let detail = "must be the same on every card: `image`, or `video`";
                    self.add(field("header.type"), detail);
                }
                Some(_) => {}
            }
            for (name, is_there) in [("title", card.title.is_some()), ("url", card.url.is_some())] {
                if is_there {
                    self.add(field(name), "is Instagram's: leave it out on WhatsApp");
                }
            }
            match card.buttons.as_slice() {
                [button] if button.url.is_some() => self.button(&field("buttons[0]"), button),
                _ => self.add(field("buttons"), "must be one button with `url`"),
            }
        }
    }

    fn instagram(&mut self, content: &Content) {
        match content {
            Content::Several { text, parts } => {
                if text.is_some() {
                    let detail = "is not shown with pictures on Instagram: send the words as a message of their own";
                    self.add("text", detail);
                }
                for (index, part) in parts.iter().enumerate() {
                    if !matches!(part, Content::Image(_)) {
                        self.add(format!("parts[{index}].type"), "must be `image`");
                    }
                }
            }
            Content::Share {
                share,
                url,
                title,
                media_id,
            } => {
                if share != "post" {
                    self.add("share", "must be `post`: one of the account's own");
                }
                match media_id {
                    None => self.add("mediaId", "is missing: Meta's id of the post"),
                    Some(id) => self.needed("mediaId", id),
                }
                for (name, is_there) in [("url", url.is_some()), ("title", title.is_some())] {
                    if is_there {
                        self.add(name, "cannot be sent: leave it out");
                    }
                }
            }
            // Reference `instagram.md` 4, from older pages of Meta's.
            Content::CommentReply(answer) if is_shouted(&answer.text) => {
                self.add("text", "is in capitals alone: Instagram refuses such comments");
            }
            Content::Buttons(buttons) => {
                for (name, is_there) in [
                    ("header", buttons.header.is_some()),
                    ("footer", buttons.footer.is_some()),
                ] {
                    if is_there {
                        self.add(name, "is WhatsApp's: leave it out on Instagram");
                    }
                }
                for (index, button) in buttons.buttons.iter().enumerate() {
                    self.button(&format!("buttons[{index}]"), button);
                }
            }
            Content::Carousel(carousel) => {
                if carousel.text.is_some() {
                    self.add("text", "is WhatsApp's: leave it out on Instagram");
                }
                for (index, card) in carousel.cards.iter().enumerate() {
                    self.instagram_card(index, card);
                }
            }
            _ => {}
        }
    }

    fn instagram_card(&mut self, index: usize, card: &Card) {
        let field = |name: &str| format!("cards[{index}].{name}");
        if card.title.is_none() {
            self.add(field("title"), "is missing");
        }
        match &card.header {
            None => {}
            Some(Header::Image(media)) if media.link.is_some() => {}
            Some(Header::Image(_)) => {
                self.add(
                    field("header.link"),
                    "is missing: a card's picture is fetched by its address",
                );
            }
            Some(_) => self.add(field("header.type"), "must be `image` on Instagram"),
        }
        if card.product.is_some() {
            self.add(field("product"), "is WhatsApp's: leave it out on Instagram");
        }
        if let Some(url) = &card.url {
            self.page(&field("url"), url);
        }
        for (button_index, button) in card.buttons.iter().enumerate() {
            self.button(&field(&format!("buttons[{button_index}]")), button);
        }
    }
}

/// Whether a text has several letters, all of them capitals.
fn is_shouted(text: &str) -> bool {
    let mut letters = text.chars().filter(|letter| letter.is_alphabetic()).peekable();
    letters.peek().is_some() && letters.clone().nth(1).is_some() && letters.all(char::is_uppercase)
}
