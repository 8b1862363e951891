//! Interactive messages: every type of whatsapp.md 9.3 and 6.4, with its limits.

use serde_json::{Value, json};

use super::file::Files;
use super::{Body, missing, value_invalid};
use crate::graph::bounds;
use crate::graph::error::GraphError;
use crate::state::threads::{Action, Card, Choice, ProductSection, Products, Section};

/// What a header may hold.
const MEDIA: &[&str] = &["image", "video", "document"];

/// What of the common parts a type of interactive message takes.
#[derive(Debug, Clone, Copy)]
struct Frame {
    header: Header,
    has_footer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    None,
    Text,
    /// It has to be there.
    NeedsText,
    TextOrMedia,
}

impl Frame {
    /// Of the types that the reference knows; the others are unknown to Meta too.
    fn of(kind: &str) -> Option<Self> {
        let frame = |header, has_footer| Some(Self { header, has_footer });
        match kind {
            "button" | "cta_url" | "flow" | "order_details" => frame(Header::TextOrMedia, true),
            "list" => frame(Header::Text, true),
            "product_list" => frame(Header::NeedsText, true),
            "product"
            | "catalog_message"
            | "location_request_message"
            | "address_message"
            | "request_contact_info"
            | "call_permission_request"
            | "voice_call"
            | "order_status" => frame(Header::None, true),
            "carousel" => frame(Header::None, false),
            _ => None,
        }
    }
}

impl Body {
    pub(super) fn interactive(&mut self, part: &Value, files: Files<'_>) -> Result<(), GraphError> {
        let kind = part["type"].as_str().ok_or_else(|| missing("interactive.type"))?;
        let frame = Frame::of(kind)
            .ok_or_else(|| GraphError::whatsapp(131_051, format!("interactive type {kind} is not supported")))?;
        let body = if kind == "list" {
            bounds::LIST_BODY
        } else {
            bounds::BODY
        };
        // The body of these two may be left out: what is shown stands in the catalogue, or in the request itself.
        if !(matches!(kind, "product" | "call_permission_request") && part.get("body").is_none()) {
            self.shown.text = Some(body.text(&part["body"], "text")?);
        }
        if part.get("footer").is_some_and(|footer| !footer.is_null()) {
            if !frame.has_footer {
                return Err(value_invalid(&format!(
                    "an interactive message of type {kind} has no footer"
                )));
            }
            self.shown.footer = Some(bounds::FOOTER.text(&part["footer"], "text")?);
        }
        self.header(kind, frame.header, part, files)?;
        let action = part
            .get("action")
            .filter(|action| action.is_object())
            .ok_or_else(|| missing("interactive.action"))?;
        match kind {
            "button" => self.reply_buttons(action)?,
            "list" => self.list(action)?,
            "cta_url" => {
                named(action, "cta_url")?;
                let link = link_button(&action["parameters"], bounds::DISPLAY_TEXT)?;
                self.shown.buttons.push(link);
            }
            "flow" => self.flow(action)?,
            "product" => {
                let products = Products {
                    catalog_id: text(action, "catalog_id")?,
                    sections: vec![ProductSection {
                        title: None,
                        ids: vec![text(action, "product_retailer_id")?],
                    }],
                };
                self.shown.products = Some(products);
            }
            "product_list" => self.product_list(action)?,
            "carousel" => self.carousel(action, files)?,
            "catalog_message" => self.asks(action, kind, "View catalog")?,
            "location_request_message" => self.asks(action, "send_location", "Send location")?,
            "address_message" => {
                if action["parameters"]["country"] != "IN" {
                    return Err(value_invalid(
                        "address messages are for India alone: action.parameters.country must be IN",
                    ));
                }
                self.asks(action, kind, "Provide address")?;
            }
            "request_contact_info" => self.asks(action, kind, "Share phone number")?,
            "call_permission_request" => self.asks(action, kind, "Choose preference")?,
            "voice_call" => {
                let label = action["parameters"]["display_text"]
                    .as_str()
                    .unwrap_or("Call now")
                    .to_owned();
                self.asks(action, kind, &label)?;
            }
            // order_details, order_status: the reference doesn't say what their action holds.
            _ => {
                text(action, "name")?;
                let label = if kind == "order_details" {
                    "Review and pay"
                } else {
                    "View order"
                };
                self.act(kind, label, action);
            }
        }
        "interactive".clone_into(&mut self.shown.kind);
        if kind == "list" {
            kind.clone_into(&mut self.shown.kind);
        }
        Ok(())
    }

    fn header(&mut self, kind: &str, allowed: Header, part: &Value, files: Files<'_>) -> Result<(), GraphError> {
        let header = part.get("header").filter(|header| !header.is_null());
        let Some(header) = header else {
            return match allowed {
                Header::NeedsText => Err(missing("interactive.header")),
                _ => Ok(()),
            };
        };
        if allowed == Header::None {
            return Err(value_invalid(&format!(
                "an interactive message of type {kind} has no header"
            )));
        }
        if header["type"] == "text" {
            self.shown.header = Some(bounds::HEADER.text(header, "text")?);
            return Ok(());
        }
        if allowed != Header::TextOrMedia {
            return Err(value_invalid(&format!("the header of a {kind} is a text")));
        }
        let taken = files.header(header, MEDIA)?;
        self.fails_with = self.fails_with.or(taken.fails_with);
        self.shown.header_media = Some(taken.attached);
        Ok(())
    }

    fn reply_buttons(&mut self, action: &Value) -> Result<(), GraphError> {
        self.shown.buttons = buttons(action, "reply")?;
        unique(self.shown.buttons.iter(), true)
    }

    fn list(&mut self, action: &Value) -> Result<(), GraphError> {
        self.shown.menu = Some(bounds::LIST_BUTTON.text(action, "button")?);
        let sections = bounds::SECTIONS.items(&action["sections"])?;
        for section in sections {
            // Required with more than one section.
            let title = if sections.len() > 1 {
                Some(bounds::SECTION_TITLE.text(section, "title")?)
            } else {
                bounds::SECTION_TITLE.optional(section, "title")?
            };
            let mut rows = Vec::new();
            for row in bounds::ROWS.items(&section["rows"])? {
                rows.push(Choice {
                    title: bounds::ROW_TITLE.text(row, "title")?,
                    payload: bounds::ROW_ID.text(row, "id")?,
                    description: bounds::ROW_DESCRIPTION.optional(row, "description")?,
                    ..Choice::default()
                });
            }
            self.shown.sections.push(Section { title, rows });
        }
        let rows = || self.shown.sections.iter().flat_map(|section| &section.rows);
        if rows().count() > bounds::ROWS.max {
            return Err(bounds::ROWS.count_refusal());
        }
        unique(rows(), false)
    }

    fn flow(&mut self, action: &Value) -> Result<(), GraphError> {
        named(action, "flow")?;
        let parameters = &action["parameters"];
        let named = |name: &str| parameters[name].as_str().is_some_and(|text| !text.is_empty());
        if named("flow_id") == named("flow_name") {
            return Err(value_invalid("a flow needs either flow_id or flow_name"));
        }
        let version = &parameters["flow_message_version"];
        if version != "3" && version != 3 {
            return Err(value_invalid("flow_message_version must be 3"));
        }
        if !matches!(
            parameters["mode"].as_str().unwrap_or("published"),
            "published" | "draft"
        ) {
            return Err(value_invalid("mode must be published or draft"));
        }
        let payload = parameters
            .get("flow_action_payload")
            .filter(|payload| !payload.is_null());
        match parameters["flow_action"].as_str().unwrap_or("navigate") {
            "navigate" => {}
            "data_exchange" if payload.is_none() => {}
            "data_exchange" => return Err(value_invalid("data_exchange has no flow_action_payload")),
            _ => return Err(value_invalid("flow_action must be navigate or data_exchange")),
        }
        let label = text(parameters, "flow_cta")?;
        self.act("flow", &label, action);
        Ok(())
    }

    fn product_list(&mut self, action: &Value) -> Result<(), GraphError> {
        let mut sections = Vec::new();
        let given = bounds::PRODUCT_SECTIONS.items(&action["sections"])?;
        for section in given {
            let title = if given.len() > 1 {
                Some(bounds::SECTION_TITLE.text(section, "title")?)
            } else {
                bounds::SECTION_TITLE.optional(section, "title")?
            };
            let items = bounds::PRODUCTS.items(&section["product_items"])?;
            let ids = items.iter().map(|item| text(item, "product_retailer_id"));
            sections.push(ProductSection {
                title,
                ids: ids.collect::<Result<_, _>>()?,
            });
        }
        if sections.iter().map(|section| section.ids.len()).sum::<usize>() > bounds::PRODUCTS.max {
            return Err(bounds::PRODUCTS.count_refusal());
        }
        self.shown.products = Some(Products {
            catalog_id: text(action, "catalog_id")?,
            sections,
        });
        Ok(())
    }

    fn carousel(&mut self, action: &Value, files: Files<'_>) -> Result<(), GraphError> {
        let cards = bounds::CARDS.items(&action["cards"])?;
        let mut kinds = Vec::new();
        for (position, card) in cards.iter().enumerate() {
            if card["card_index"] != position {
                return Err(value_invalid("the cards' card_index counts from 0"));
            }
            let mut shown = Card::default();
            let mut kind = card["type"].as_str().unwrap_or_default();
            let mut header_kind = "";
            match kind {
                "product" => {
                    let catalog_id = text(&card["action"], "catalog_id")?;
                    let id = text(&card["action"], "product_retailer_id")?;
                    shown.product = Some(id.clone());
                    self.shown.products = Some(Products {
                        catalog_id,
                        sections: Vec::new(),
                    });
                }
                "cta_url" => {
                    let taken = files.header(&card["header"], &["image", "video"])?;
                    header_kind = if taken.attached.kind == "image" {
                        "image"
                    } else {
                        "video"
                    };
                    self.fails_with = self.fails_with.or(taken.fails_with);
                    shown.media = Some(taken.attached);
                    shown.text = bounds::CARD_BODY.optional(&card["body"], "text")?;
                    bounds::CARD_BREAKS.check(shown.text.as_deref().unwrap_or_default())?;
                    let action = &card["action"];
                    if action.get("buttons").is_some() {
                        // Quick replies: not in the reference, but what clients of Meta send, with the cards' type unchanged.
                        kind = "quick_reply";
                        shown.buttons = buttons(action, kind)?;
                    } else {
                        named(action, "cta_url")?;
                        shown.buttons = vec![link_button(&action["parameters"], bounds::CARD_BUTTON)?];
                    }
                }
                _ => return Err(value_invalid("the type of a card must be cta_url or product")),
            }
            kinds.push((kind, header_kind));
            self.shown.cards.push(shown);
        }
        kinds.dedup();
        if kinds.len() > 1 {
            return Err(value_invalid(
                "all cards of a carousel have the same type and the same kind of header",
            ));
        }
        let replies = self.shown.cards.iter().flat_map(|card| &card.buttons);
        unique(replies.filter(|choice| choice.is_told()), false)
    }

    /// A message whose action is its name, with parameters at most.
    fn asks(&mut self, action: &Value, name: &str, label: &str) -> Result<(), GraphError> {
        named(action, name)?;
        self.act(name, label, action);
        Ok(())
    }

    fn act(&mut self, kind: &str, label: &str, action: &Value) {
        self.shown.action = Some(Action {
            kind: kind.to_owned(),
            label: label.to_owned(),
            parameters: action.get("parameters").cloned().unwrap_or_else(|| json!({})),
        });
    }
}

/// Buttons that send a reply; `kind` is their type, and where title and id are.
fn buttons(action: &Value, kind: &str) -> Result<Vec<Choice>, GraphError> {
    let buttons = bounds::BUTTONS.items(&action["buttons"])?;
    let choice = |button: &Value| {
        if button["type"] != kind {
            return Err(value_invalid(&format!("the type of a button must be {kind}")));
        }
        Ok(Choice {
            title: bounds::BUTTON_TITLE.text(&button[kind], "title")?,
            payload: bounds::BUTTON_ID.text(&button[kind], "id")?,
            ..Choice::default()
        })
    };
    buttons.iter().map(choice).collect()
}

fn link_button(parameters: &Value, label: bounds::MessageLimit) -> Result<Choice, GraphError> {
    let url = bounds::URL.text(parameters, "url")?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(value_invalid("url is not a web address"));
    }
    Ok(Choice {
        title: label.text(parameters, "display_text")?,
        url: Some(url),
        ..Choice::default()
    })
}

/// The action has to bear this name.
fn named(action: &Value, name: &str) -> Result<(), GraphError> {
    match action["name"].as_str() {
        Some(found) if found == name => Ok(()),
        None => Err(missing("interactive.action.name")),
        Some(_) => Err(value_invalid(&format!("interactive.action.name must be {name}"))),
    }
}

/// A text that has to be there.
fn text(part: &Value, name: &str) -> Result<String, GraphError> {
    part[name]
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| missing(&format!("interactive.action.{name}")))
}

/// Ids are unique, and so are the titles of buttons.
fn unique<'a>(choices: impl Iterator<Item = &'a Choice>, titles_too: bool) -> Result<(), GraphError> {
    let mut seen: Vec<&Choice> = Vec::new();
    for choice in choices {
        let double = seen
            .iter()
            .any(|other| other.payload == choice.payload || (titles_too && other.title == choice.title));
        if double {
            return Err(value_invalid("ids and titles have to be unique"));
        }
        seen.push(choice);
    }
    Ok(())
}
