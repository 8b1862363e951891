//! What a WhatsApp message may say: the kinds of whatsapp.md 9.2 (here), interactive ones (9.3, [`interactive`]), and templates (10.1; how
//! they look, in `look`). The limits are in `graph::bounds`.

mod file;
mod interactive;

use serde_json::Value;

use super::super::bounds;
use super::super::error::GraphError;
use super::super::nodes;
use super::super::params::Params;
use crate::state::State;
use crate::state::threads::{Place, Pricing, Shown};
use crate::world::{Number, Template, TemplateStatus};
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
            _ => body.template(state, part)?,
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
    fn template(&mut self, state: &State, part: &Value) -> Result<(), GraphError> {
        let name = part["name"]
            .as_str()
            .ok_or_else(|| GraphError::parameter("The parameter template['name'] is required."))?;
        let language = part["language"]["code"]
            .as_str()
            .ok_or_else(|| GraphError::parameter("The parameter template['language']['code'] is required."))?;
        let template = state
            .templates
            .iter()
            .find(|template| template.name == name && template.language == language)
            .ok_or_else(|| template_missing(name, language))?;
        match template.status {
            TemplateStatus::Approved => {}
            TemplateStatus::Pending | TemplateStatus::Rejected => return Err(template_missing(name, language)),
            TemplateStatus::Paused => {
                return Err(GraphError::whatsapp(
                    132_015,
                    format!("template ({name}) is paused due to low quality"),
                ));
            }
            TemplateStatus::Disabled => {
                return Err(GraphError::whatsapp(
                    132_016,
                    format!("template ({name}) is disabled due to low quality"),
                ));
            }
        }
        let no_components = Vec::new();
        let components = match part.get("components") {
            None | Some(Value::Null) => &no_components,
            Some(Value::Array(components)) => components,
            Some(_) => {
                return Err(GraphError::parameter("Param template['components'] must be an array."));
            }
        };
        if template.components.is_empty() {
            fill(template.header.as_deref().unwrap_or_default(), components, "header")?;
            bounds::TEMPLATE_BODY.check(&fill(&template.body, components, "body")?)?;
            check_buttons(template, components)?;
        }
        self.shown = Shown {
            kind: "template".to_owned(),
            template: Some(name.to_owned()),
            ..super::look::look(&nodes::template_components(template), components)
        };
        self.is_template = true;
        self.category = Some(template.category.to_lowercase());
        self.needs_phone = template.category == "AUTHENTICATION";
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

/// Whether the buttons that parameters are for exist.
fn check_buttons(template: &Template, components: &[Value]) -> Result<(), GraphError> {
    for component in components.iter().filter(|component| is_type(component, "button")) {
        // A string or an integer.
        let index = match &component["index"] {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        index
            .filter(|index| usize::try_from(*index).is_ok_and(|index| index < template.buttons.len()))
            .filter(|_| is_sub_type(component, "quick_reply"))
            .ok_or_else(|| GraphError::whatsapp(132_012, "The template has no such button"))?;
    }
    Ok(())
}

fn is_type(component: &Value, kind: &str) -> bool {
    component["type"]
        .as_str()
        .is_some_and(|found| found.eq_ignore_ascii_case(kind))
}

fn is_sub_type(component: &Value, kind: &str) -> bool {
    component["sub_type"]
        .as_str()
        .is_some_and(|found| found.eq_ignore_ascii_case(kind))
}

/// The text with its parameters in place; their number has to be that of the variables, exactly.
fn fill(text: &str, components: &[Value], kind: &str) -> Result<String, GraphError> {
    let variables = variables(text);
    let given: Vec<&Value> = components
        .iter()
        .filter(|component| is_type(component, kind))
        .flat_map(|component| component["parameters"].as_array().into_iter().flatten())
        .collect();
    if given.len() != variables.len() {
        return Err(GraphError::whatsapp(
            132_000,
            format!(
                "{kind}: number of localizable_params ({}) does not match the expected number of params ({})",
                given.len(),
                variables.len()
            ),
        ));
    }
    let named = is_named(text);
    let mut filled = text.to_owned();
    for (position, parameter) in given.into_iter().enumerate() {
        let value = parameter["text"]
            .as_str()
            .filter(|_| parameter["type"] == "text")
            .or_else(|| parameter["currency"]["fallback_value"].as_str())
            .or_else(|| parameter["date_time"]["fallback_value"].as_str())
            .filter(|value| !value.is_empty())
            .ok_or_else(|| {
                GraphError::whatsapp(132_012, format!("{kind}: parameter {} is not a text", position + 1))
            })?;
        if value.contains(['\n', '\t']) || value.contains("     ") {
            return Err(GraphError::whatsapp(
                132_018,
                "A parameter has no new lines, no tabs, and at most 4 spaces in a row",
            ));
        }
        let variable = if named {
            parameter["parameter_name"]
                .as_str()
                .filter(|name| variables.iter().any(|variable| variable == name))
                .ok_or_else(|| GraphError::whatsapp(132_012, format!("{kind}: parameter_name is missing or unknown")))?
        } else {
            &variables[position]
        };
        filled = filled.replace(&format!("{{{{{variable}}}}}"), value);
    }
    Ok(filled)
}

/// What stands between `{{` and `}}`, each once, in order.
fn variables(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in text.split("{{").skip(1) {
        if let Some((name, _)) = piece.split_once("}}")
            && !found.iter().any(|other| other == name)
        {
            found.push(name.to_owned());
        }
    }
    found.sort_by_key(|name| name.parse::<u32>().unwrap_or_default());
    found
}

/// Whether the text's variables have names rather than numbers.
pub(crate) fn is_named(text: &str) -> bool {
    variables(text).iter().any(|name| name.parse::<u32>().is_err())
}

fn template_missing(name: &str, language: &str) -> GraphError {
    GraphError::whatsapp(132_001, format!("template name ({name}) does not exist in {language}"))
}

pub(super) fn missing(name: &str) -> GraphError {
    GraphError::whatsapp(131_008, format!("Parameter {name} is required"))
}

pub(super) fn value_invalid(details: &str) -> GraphError {
    GraphError::whatsapp(131_009, details)
}
