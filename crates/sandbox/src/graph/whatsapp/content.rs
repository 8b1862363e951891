//! What a WhatsApp message may say: the kinds of whatsapp.md 9.2 and 9.3, and templates (10.1), with their limits.

use serde_json::Value;

use super::super::error::GraphError;
use super::super::params::Params;
use super::template;
use crate::state::State;
use crate::state::threads::{Choice, Place, Pricing, Shown};
use crate::world::Number;

/// What a message says, once checked.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) shown: Shown,
    pub(super) is_template: bool,
    /// The template's category, in lower case.
    pub(super) category: Option<String>,
    /// Authentication templates go to phones alone (whatsapp.md 6.4).
    pub(super) needs_phone: bool,
    /// The message reacted to, and the emoji; none takes the reaction back.
    pub(super) reaction: Option<(String, Option<String>)>,
}

impl Body {
    pub(super) fn read(
        state: &State,
        number: &Number,
        kind: &str,
        params: &Params,
        now: i64,
    ) -> Result<Self, GraphError> {
        let known = [
            "text",
            "image",
            "video",
            "audio",
            "document",
            "sticker",
            "location",
            "contacts",
            "reaction",
            "template",
            "interactive",
        ];
        if !known.contains(&kind) {
            return Err(GraphError::whatsapp(131_051, format!("type {kind} is not supported")));
        }
        let part = params.get(kind).ok_or_else(|| missing(kind))?;
        let mut body = Self {
            shown: Shown {
                kind: kind.to_owned(),
                ..Shown::default()
            },
            is_template: false,
            category: None,
            needs_phone: false,
            reaction: None,
        };
        match kind {
            "text" => {
                body.shown.text = Some(text_of(part, "body", "text['body']", 4096)?);
            }
            "image" | "video" | "audio" | "document" | "sticker" => {
                body.media(kind, part, |id| {
                    let media = state.media.get(id, now);
                    media.is_some_and(|media| media.owner == number.id && super::super::media::fits(&media.mime, kind))
                })?;
            }
            "location" => {
                // A string or a number.
                let degrees = |name: &str| {
                    let degrees = match &part[name] {
                        Value::String(text) => text.parse::<f64>().ok(),
                        other => other.as_f64(),
                    };
                    degrees.ok_or_else(|| missing(&format!("location.{name}")))
                };
                body.shown.location = Some(Place {
                    latitude: degrees("latitude")?,
                    longitude: degrees("longitude")?,
                    name: part["name"].as_str().map(str::to_owned),
                    address: part["address"].as_str().map(str::to_owned),
                });
            }
            "contacts" => {
                let names: Option<Vec<&str>> = part
                    .as_array()
                    .filter(|contacts| (1..=257).contains(&contacts.len()))
                    .map(|contacts| {
                        contacts
                            .iter()
                            .map(|contact| contact["name"]["formatted_name"].as_str().unwrap_or_default())
                            .collect()
                    });
                let names = names
                    .filter(|names| names.iter().all(|name| !name.is_empty()))
                    .ok_or_else(|| missing("contacts[].name.formatted_name"))?;
                body.shown.text = Some(names.join(", "));
            }
            "reaction" => {
                let message_id = part["message_id"]
                    .as_str()
                    .ok_or_else(|| missing("reaction.message_id"))?;
                let emoji = part["emoji"].as_str().ok_or_else(|| missing("reaction.emoji"))?;
                let emoji = (!emoji.is_empty()).then(|| emoji.to_owned());
                body.reaction = Some((message_id.to_owned(), emoji));
            }
            "interactive" => body.interactive(part)?,
            _ => body.template(state, number, part)?,
        }
        Ok(body)
    }

    /// Exactly one of `id` and `link`; captions on image, video and document (whatsapp.md 9.2).
    fn media(&mut self, kind: &str, part: &Value, is_known: impl Fn(&str) -> bool) -> Result<(), GraphError> {
        match (part["id"].as_str(), part["link"].as_str()) {
            (None, Some(link)) if link.starts_with("https://") || link.starts_with("http://") => {
                self.shown.link = Some(link.to_owned());
            }
            (None, Some(_)) => {
                return Err(value_invalid(&format!("{kind}.link is not a web address")));
            }
            (Some(id), None) if is_known(id) => self.shown.link = Some(format!("/sandbox/media/{id}")),
            (Some(_), None) => {
                return Err(value_invalid(&format!("{kind}.id is not a media id of this number")));
            }
            _ => return Err(value_invalid(&format!("{kind} needs either id or link"))),
        }
        self.shown.filename = part["filename"]
            .as_str()
            .filter(|_| kind == "document")
            .map(str::to_owned);
        if part.get("caption").is_some() {
            if matches!(kind, "audio" | "sticker") {
                return Err(GraphError::parameter(format!(
                    "Unexpected key \"caption\" on param \"{kind}\"."
                )));
            }
            self.shown.caption = Some(text_of(part, "caption", &format!("{kind}['caption']"), 1024)?);
        }
        Ok(())
    }

    /// whatsapp.md 9.3.
    fn interactive(&mut self, part: &Value) -> Result<(), GraphError> {
        let kind = part["type"].as_str().ok_or_else(|| missing("interactive.type"))?;
        if !matches!(kind, "button" | "list" | "cta_url") {
            return Err(GraphError::whatsapp(
                131_051,
                format!("interactive type {kind} is not supported"),
            ));
        }
        let body_max = if kind == "list" { 4096 } else { 1024 };
        self.shown.text = Some(text_of(&part["body"], "text", "interactive['body']['text']", body_max)?);
        if part.get("footer").is_some() {
            self.shown.footer = Some(text_of(&part["footer"], "text", "interactive['footer']['text']", 60)?);
        }
        if part["header"]["type"] == "text" {
            self.shown.header = Some(text_of(&part["header"], "text", "interactive['header']['text']", 60)?);
        } else if part.get("header").is_some() && kind == "list" {
            return Err(value_invalid("the header of a list is a text"));
        }
        let action = &part["action"];
        match kind {
            "button" => {
                let buttons = bounded(&action["buttons"], 1..=3, "interactive.action.buttons")?;
                for button in buttons {
                    let reply = &button["reply"];
                    self.shown.buttons.push(Choice {
                        title: text_of(reply, "title", "button title", 20)?,
                        payload: text_of(reply, "id", "button id", 256)?,
                        description: None,
                        url: None,
                    });
                }
            }
            "list" => {
                text_of(action, "button", "interactive['action']['button']", 20)?;
                let sections = bounded(&action["sections"], 1..=10, "interactive.action.sections")?;
                for section in sections {
                    if sections.len() > 1 || section.get("title").is_some() {
                        text_of(section, "title", "section title", 24)?;
                    }
                    for row in bounded(&section["rows"], 1..=10, "rows")? {
                        let description = row
                            .get("description")
                            .map(|_| text_of(row, "description", "row description", 72))
                            .transpose()?;
                        self.shown.buttons.push(Choice {
                            title: text_of(row, "title", "row title", 24)?,
                            payload: text_of(row, "id", "row id", 200)?,
                            description,
                            url: None,
                        });
                    }
                }
                if self.shown.buttons.len() > 10 {
                    return Err(value_invalid("a list has at most 10 rows over all sections"));
                }
                "list".clone_into(&mut self.shown.kind);
            }
            _ => {
                let parameters = &action["parameters"];
                self.shown.buttons.push(Choice {
                    title: text_of(parameters, "display_text", "display_text", 20)?,
                    payload: String::new(),
                    description: None,
                    url: Some(text_of(parameters, "url", "url", 2000)?),
                });
            }
        }
        // Ids are unique, and so are titles of buttons.
        for (position, choice) in self.shown.buttons.iter().enumerate() {
            let others = &self.shown.buttons[..position];
            let double = others
                .iter()
                .any(|other| other.payload == choice.payload || (kind == "button" && other.title == choice.title));
            if double {
                return Err(value_invalid("ids and titles have to be unique"));
            }
        }
        Ok(())
    }

    /// whatsapp.md 10.1.
    fn template(&mut self, state: &State, number: &Number, part: &Value) -> Result<(), GraphError> {
        let filled = template::read(state, number, part)?;
        self.shown = filled.shown;
        self.is_template = true;
        self.needs_phone = filled.category == "authentication";
        self.category = Some(filled.category);
        Ok(())
    }

    /// whatsapp.md 5: what the statuses say about the price.
    pub(super) fn pricing(&self, window_is_open: bool) -> Pricing {
        match &self.category {
            None => Pricing {
                kind: "free_customer_service",
                category: "service".to_owned(),
            },
            Some(category) => Pricing {
                kind: if category == "utility" && window_is_open {
                    "free_customer_service"
                } else {
                    "regular"
                },
                category: category.clone(),
            },
        }
    }
}

/// A text of 1 to `max` characters.
fn text_of(part: &Value, key: &str, name: &str, max: usize) -> Result<String, GraphError> {
    let text = part[key]
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| GraphError::parameter(format!("The parameter {name} is required.")))?;
    if text.chars().count() > max {
        return Err(GraphError::parameter(format!(
            "Param {name} must be at most {max} characters long."
        )));
    }
    Ok(text.to_owned())
}

fn bounded<'a>(
    value: &'a Value,
    bounds: std::ops::RangeInclusive<usize>,
    name: &str,
) -> Result<&'a Vec<Value>, GraphError> {
    value
        .as_array()
        .filter(|items| bounds.contains(&items.len()))
        .ok_or_else(|| {
            value_invalid(&format!(
                "{name} must have {} to {} items",
                bounds.start(),
                bounds.end()
            ))
        })
}

pub(super) fn missing(name: &str) -> GraphError {
    GraphError::whatsapp(131_008, format!("Parameter {name} is required"))
}

pub(super) fn value_invalid(details: &str) -> GraphError {
    GraphError::whatsapp(131_009, details)
}
