//! What a WhatsApp message may say: the kinds of whatsapp.md 9.2 (here), interactive ones (9.3, [`interactive`]), and templates (10.1; how
//! they look, in `look`). The limits are in `graph::bounds`.

mod file;
mod interactive;

use serde_json::Value;

use super::super::bounds;
use super::super::error::GraphError;
use super::super::params::Params;
use super::template;
use crate::state::State;
use crate::state::threads::{Place, Pricing, Shown};
use crate::world::Number;
use file::Files;
pub(crate) use file::is_unreachable;

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
    /// It is accepted, and fails with this code later.
    pub(super) fails_with: Option<i64>,
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
            fails_with: None,
        };
        let files = Files { state, number, now };
        match kind {
            "text" => {
                body.shown.text = Some(bounds::TEXT_BODY.text(part, "body")?);
                if part.get("preview_url").is_some_and(|preview| !preview.is_boolean()) {
                    return Err(GraphError::parameter("Param text['preview_url'] must be a boolean."));
                }
            }
            "image" | "video" | "audio" | "document" | "sticker" => body.media(kind, part, files)?,
            "location" => {
                // A string or a number.
                let degrees = |name: &str, most: f64| {
                    let degrees = match &part[name] {
                        Value::Null => return Err(missing(&format!("location.{name}"))),
                        Value::String(text) => text.parse::<f64>().ok(),
                        other => other.as_f64(),
                    };
                    let degrees = degrees.filter(|degrees| degrees.abs() <= most);
                    degrees.ok_or_else(|| value_invalid(&format!("location.{name} is not in degrees")))
                };
                body.shown.location = Some(Place {
                    latitude: degrees("latitude", 90.0)?,
                    longitude: degrees("longitude", 180.0)?,
                    name: part["name"].as_str().map(str::to_owned),
                    address: part["address"].as_str().map(str::to_owned),
                });
            }
            "contacts" => {
                let contacts = bounds::CONTACTS.items(part)?;
                let mut names = Vec::new();
                for contact in contacts {
                    let name = contact["name"]["formatted_name"]
                        .as_str()
                        .filter(|name| !name.is_empty());
                    names.push(name.ok_or_else(|| missing("contacts[].name.formatted_name"))?);
                }
                body.shown.text = Some(names.join(", "));
                body.shown.contacts.clone_from(contacts);
            }
            "reaction" => {
                let message_id = part["message_id"]
                    .as_str()
                    .ok_or_else(|| missing("reaction.message_id"))?;
                let emoji = part["emoji"].as_str().ok_or_else(|| missing("reaction.emoji"))?;
                let emoji = (!emoji.is_empty()).then(|| emoji.to_owned());
                body.reaction = Some((message_id.to_owned(), emoji));
            }
            "interactive" => body.interactive(part, files)?,
            _ => body.template(state, number, part)?,
        }
        Ok(body)
    }

    /// A file; captions on image, video and document alone (whatsapp.md 9.2).
    fn media(&mut self, kind: &str, part: &Value, files: Files<'_>) -> Result<(), GraphError> {
        let taken = files.take(kind, part)?;
        self.fails_with = taken.fails_with;
        self.shown.link = Some(taken.attached.link);
        self.shown.filename = taken.attached.filename;
        self.shown.voice = kind == "audio" && part["voice"] == true;
        let foreign = [
            ("caption", matches!(kind, "audio" | "sticker")),
            ("filename", kind != "document"),
            ("voice", kind != "audio"),
        ];
        for (key, is_foreign) in foreign {
            if is_foreign && !part[key].is_null() {
                return Err(GraphError::parameter(format!(
                    "Unexpected key \"{key}\" on param \"{kind}\"."
                )));
            }
        }
        self.shown.caption = bounds::CAPTION.optional(part, "caption")?;
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

pub(super) fn missing(name: &str) -> GraphError {
    GraphError::whatsapp(131_008, format!("Parameter {name} is required"))
}

pub(super) fn value_invalid(details: &str) -> GraphError {
    GraphError::whatsapp(131_009, details)
}
