//! A template that is sent, held against what it says (whatsapp.md 10.1): the counts, names and kinds of its parameters, and each refusal
//! with the code of 14.2.

use serde_json::Value;

use super::super::bounds;
use super::super::error::GraphError;
use super::content::missing;
use super::look;
use crate::state::State;
use crate::state::templates::{Record, component, variables};
use crate::state::threads::{Choice, Place, Shown};
use crate::world::{Number, TemplateStatus};

/// A code that is copied: 15, and 20 since 2025-12-03 (whatsapp.md 10.2).
const COUPON_MAX: usize = 20;
/// The code of an authentication template.
const CODE_MAX: usize = 15;

/// What is shown of a template, and which one it is.
pub(super) struct Filled {
    pub(super) shown: Shown,
    pub(super) category: String,
}

pub(super) fn read(state: &State, number: &Number, part: &Value) -> Result<Filled, GraphError> {
    let name = part["name"]
        .as_str()
        .ok_or_else(|| GraphError::parameter("The parameter template['name'] is required."))?;
    let language = part["language"]["code"]
        .as_str()
        .ok_or_else(|| GraphError::parameter("The parameter template['language']['code'] is required."))?;
    let record = usable(state, &number.business_account_id, name, language)?;
    let no_components = Vec::new();
    let given = match part.get("components") {
        None | Some(Value::Null) => &no_components,
        Some(Value::Array(components)) => components,
        Some(_) => {
            return Err(GraphError::parameter("Param template['components'] must be an array."));
        }
    };
    let mut shown = Shown {
        kind: "template".to_owned(),
        template: Some(name.to_owned()),
        footer: component(&record.components, "FOOTER").and_then(|footer| Some(footer["text"].as_str()?.to_owned())),
        ..Shown::default()
    };
    check_kinds(given)?;
    fill_in(&record.components, given, record.is_named, &mut shown)?;
    if record.category == "AUTHENTICATION" {
        check_code(given)?;
    }
    if let Some(cards) = component(&record.components, "CAROUSEL") {
        let said = carousel(cards, given, record.is_named)?;
        let text = shown.text.take().unwrap_or_default();
        shown.text = Some(std::iter::once(text).chain(said).collect::<Vec<_>>().join("\n"));
    }
    if let Some(offer) = component(&record.components, "LIMITED_TIME_OFFER")
        && offer["limited_time_offer"]["has_expiration"] == true
    {
        let parameter = &of_kind(given, "limited_time_offer")
            .next()
            .map(|(_, component)| component["parameters"][0].clone())
            .unwrap_or_default();
        if !parameter["limited_time_offer"]["expiration_time_ms"].is_i64() {
            return Err(missing("limited_time_offer.expiration_time_ms"));
        }
    }
    // What was checked is what is drawn, with the cards, files and buttons of both sides.
    let shown = Shown {
        kind: "template".to_owned(),
        template: Some(name.to_owned()),
        ..look::look(&record.components, given)
    };
    Ok(Filled {
        shown,
        category: record.category.to_lowercase(),
    })
}

fn usable<'a>(state: &'a State, account: &str, name: &str, language: &str) -> Result<&'a Record, GraphError> {
    let absent = || GraphError::whatsapp(132_001, format!("template name ({name}) does not exist in {language}"));
    let record = state.templates.find(account, name, language).ok_or_else(absent)?;
    match record.status {
        TemplateStatus::Approved => Ok(record),
        TemplateStatus::Pending | TemplateStatus::Rejected | TemplateStatus::Deleted => Err(absent()),
        TemplateStatus::Paused => Err(GraphError::whatsapp(
            132_015,
            format!("template ({name}) is paused due to low quality"),
        )),
        TemplateStatus::Disabled => Err(GraphError::whatsapp(
            132_016,
            format!("template ({name}) is disabled due to low quality"),
        )),
    }
}

fn check_kinds(given: &[Value]) -> Result<(), GraphError> {
    for component in given {
        let kind = component["type"].as_str().ok_or_else(|| missing("components[].type"))?;
        let is_known = ["header", "body", "button", "carousel", "limited_time_offer"]
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known));
        if !is_known {
            return Err(GraphError::parameter(format!("There is no component of type {kind}.")));
        }
    }
    Ok(())
}

/// Header, body and buttons, of the template or of one of its cards.
fn fill_in(definition: &[Value], given: &[Value], is_named: bool, shown: &mut Shown) -> Result<(), GraphError> {
    header(definition, given, is_named, shown)?;
    let text = component(definition, "BODY").and_then(|body| body["text"].as_str());
    let text = fill(text.unwrap_or_default(), given, "body", is_named)?;
    bounds::TEMPLATE_BODY.check(&text)?;
    shown.text = Some(text);
    shown.buttons = buttons(definition, given)?;
    Ok(())
}

fn header(definition: &[Value], given: &[Value], is_named: bool, shown: &mut Shown) -> Result<(), GraphError> {
    let header = component(definition, "HEADER").cloned().unwrap_or_default();
    let format = header["format"].as_str().unwrap_or("TEXT").to_uppercase();
    if format == "TEXT" {
        let text = fill(header["text"].as_str().unwrap_or_default(), given, "header", is_named)?;
        shown.header = (!text.is_empty()).then_some(text);
        return Ok(());
    }
    let parameters = parameters(given, "header");
    if parameters.len() > 1 {
        return Err(count_differs("header", parameters.len(), 1));
    }
    let kind = format.to_lowercase();
    let parameter = parameters
        .first()
        .copied()
        .filter(|parameter| parameter["type"] == kind.as_str());
    let parameter = parameter.ok_or_else(|| {
        let received = parameters
            .first()
            .and_then(|parameter| parameter["type"].as_str())
            .unwrap_or("UNKNOWN");
        GraphError::whatsapp(
            132_012,
            format!(
                "header: Format mismatch, expected {format}, received {}",
                received.to_uppercase()
            ),
        )
    })?;
    let value = &parameter[&kind];
    match format.as_str() {
        "LOCATION" => {
            let degrees = |name: &str| {
                let degrees = match &value[name] {
                    Value::String(text) => text.parse::<f64>().ok(),
                    other => other.as_f64(),
                };
                degrees.ok_or_else(|| missing(&format!("location.{name}")))
            };
            shown.location = Some(Place {
                latitude: degrees("latitude")?,
                longitude: degrees("longitude")?,
                name: value["name"].as_str().map(str::to_owned),
                address: value["address"].as_str().map(str::to_owned),
            });
        }
        "PRODUCT" => {
            if value["product_retailer_id"].as_str().is_none() {
                return Err(missing("product.product_retailer_id"));
            }
        }
        _ => {
            shown.link = Some(match (value["id"].as_str(), value["link"].as_str()) {
                (Some(id), None) => format!("/sandbox/media/{id}"),
                (None, Some(link)) => link.to_owned(),
                _ => return Err(missing(&format!("{kind}.id or {kind}.link"))),
            });
            shown.filename = value["filename"].as_str().map(str::to_owned);
        }
    }
    Ok(())
}

/// What can be pressed, with what was given for each.
fn buttons(definition: &[Value], given: &[Value]) -> Result<Vec<Choice>, GraphError> {
    let none = Vec::new();
    let defined = component(definition, "BUTTONS")
        .and_then(|buttons| buttons["buttons"].as_array())
        .unwrap_or(&none);
    let mut choices = Vec::with_capacity(defined.len());
    for button in defined {
        let title = button["text"].as_str().unwrap_or_default().to_owned();
        choices.push(Choice {
            payload: title.clone(),
            title,
            description: None,
            url: button["url"].as_str().map(str::to_owned),
            ..Choice::default()
        });
    }
    let mut filled = vec![false; defined.len()];
    for (_, component) in of_kind(given, "button") {
        let sub_type = component["sub_type"]
            .as_str()
            .ok_or_else(|| missing("button.sub_type"))?;
        // A string or an integer.
        let index = match &component["index"] {
            Value::Null => return Err(missing("button.index")),
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let index = index.and_then(|index| usize::try_from(index).ok());
        let found = index.and_then(|index| Some((index, defined.get(index)?)));
        let (index, button) = found.ok_or_else(|| GraphError::whatsapp(132_012, "The template has no such button"))?;
        let kind = button["type"].as_str().unwrap_or_default().to_lowercase();
        // The button of an authentication template is one to a web address for whoever sends it.
        let expected = if kind == "otp" { "url" } else { &kind };
        if !sub_type.eq_ignore_ascii_case(expected) {
            return Err(GraphError::whatsapp(
                132_012,
                format!("button {index} is of type {expected}, not {sub_type}"),
            ));
        }
        filled[index] = true;
        press(button, &kind, component, &mut choices[index])?;
    }
    for (index, button) in defined.iter().enumerate() {
        let needs = match button["type"].as_str().unwrap_or_default() {
            "URL" => button["url"].as_str().is_some_and(|url| !variables(url).is_empty()),
            "COPY_CODE" | "MPM" | "OTP" => true,
            _ => false,
        };
        if needs && !filled[index] {
            return Err(missing(&format!("button {index} of the template")));
        }
    }
    Ok(choices)
}

fn press(button: &Value, kind: &str, component: &Value, choice: &mut Choice) -> Result<(), GraphError> {
    let parameter = &component["parameters"][0];
    match kind {
        "quick_reply" => {
            if let Some(payload) = parameter["payload"].as_str() {
                payload.clone_into(&mut choice.payload);
            }
        }
        "url" => {
            let url = button["url"].as_str().unwrap_or_default();
            let variables = variables(url);
            let Some(variable) = variables.first() else {
                return Err(count_differs("button", 1, 0));
            };
            let suffix = text_parameter(parameter).ok_or_else(|| missing("button.parameters[0].text"))?;
            choice.url = Some(url.replace(&format!("{{{{{variable}}}}}"), suffix));
        }
        "otp" => {
            let code = text_parameter(parameter).ok_or_else(|| missing("button.parameters[0].text"))?;
            choice.description = Some(code.to_owned());
        }
        "copy_code" => {
            let code = parameter["coupon_code"].as_str().filter(|code| !code.is_empty());
            let code = code.ok_or_else(|| missing("button.parameters[0].coupon_code"))?;
            if code.chars().count() > COUPON_MAX {
                return Err(GraphError::whatsapp(132_012, "coupon_code has at most 20 characters"));
            }
            choice.description = Some(code.to_owned());
        }
        "mpm" => {
            let sections = parameter["action"]["sections"].as_array();
            if sections.is_none_or(Vec::is_empty) {
                return Err(missing("button.parameters[0].action.sections"));
            }
        }
        "flow" | "catalog" | "spm" => {}
        _ => return Err(count_differs("button", 1, 0)),
    }
    Ok(())
}

fn text_parameter(parameter: &Value) -> Option<&str> {
    parameter["text"]
        .as_str()
        .filter(|text| parameter["type"] == "text" && !text.is_empty())
}

/// The code in the body is also that of the button.
fn check_code(given: &[Value]) -> Result<(), GraphError> {
    let of = |kind: &str| {
        let parameters = parameters(given, kind);
        parameters
            .first()
            .and_then(|parameter| parameter["text"].as_str())
            .map(str::to_owned)
    };
    let (body, button) = (of("body").unwrap_or_default(), of("button").unwrap_or_default());
    if body.chars().count() > CODE_MAX || body != button {
        return Err(GraphError::whatsapp(
            132_012,
            "body and button of an authentication template have the same code, of at most 15 characters",
        ));
    }
    Ok(())
}

/// Each card of the template is filled in; answers with what they say.
fn carousel(definition: &Value, given: &[Value], is_named: bool) -> Result<Vec<String>, GraphError> {
    let none = Vec::new();
    let defined = definition["cards"].as_array().unwrap_or(&none);
    let cards = of_kind(given, "carousel")
        .next()
        .and_then(|(_, component)| component["cards"].as_array())
        .ok_or_else(|| missing("carousel"))?;
    if cards.len() != defined.len() {
        return Err(count_differs("carousel", cards.len(), defined.len()));
    }
    let mut said = Vec::new();
    for (position, card) in cards.iter().enumerate() {
        let index = card["card_index"]
            .as_u64()
            .and_then(|index| usize::try_from(index).ok());
        if index != Some(position) {
            return Err(GraphError::whatsapp(
                132_012,
                "carousel: card_index counts the cards from 0",
            ));
        }
        let definition = defined[position]["components"].as_array().unwrap_or(&none);
        let given = card["components"].as_array().unwrap_or(&none);
        check_kinds(given)?;
        let mut shown = Shown::default();
        fill_in(definition, given, is_named, &mut shown)?;
        said.extend(shown.text.filter(|text| !text.is_empty()));
    }
    Ok(said)
}

fn of_kind<'a>(given: &'a [Value], kind: &'a str) -> impl Iterator<Item = (usize, &'a Value)> {
    given.iter().enumerate().filter(move |(_, component)| {
        component["type"]
            .as_str()
            .is_some_and(|found| found.eq_ignore_ascii_case(kind))
    })
}

fn parameters<'a>(given: &'a [Value], kind: &'a str) -> Vec<&'a Value> {
    of_kind(given, kind)
        .flat_map(|(_, component)| component["parameters"].as_array().into_iter().flatten())
        .collect()
}

fn count_differs(kind: &str, given: usize, wanted: usize) -> GraphError {
    GraphError::whatsapp(
        132_000,
        format!(
            "{kind}: number of localizable_params ({given}) does not match the expected number of params ({wanted})"
        ),
    )
}

/// The text with its parameters in place; their number has to be that of the variables, exactly.
fn fill(text: &str, components: &[Value], kind: &str, is_named: bool) -> Result<String, GraphError> {
    let variables = variables(text);
    let given = parameters(components, kind);
    if given.len() != variables.len() {
        return Err(count_differs(kind, given.len(), variables.len()));
    }
    let mut named: Vec<&str> = Vec::new();
    let mut filled = text.to_owned();
    for (position, parameter) in given.into_iter().enumerate() {
        let value = value(parameter, kind, position)?;
        if value.contains(['\n', '\t']) || value.contains("     ") {
            return Err(GraphError::whatsapp(
                132_018,
                "A parameter has no new lines, no tabs, and at most 4 spaces in a row",
            ));
        }
        let variable = if is_named {
            parameter["parameter_name"]
                .as_str()
                .filter(|name| variables.iter().any(|variable| variable == name) && !named.contains(name))
                .ok_or_else(|| {
                    GraphError::whatsapp(
                        132_012,
                        format!("{kind}: parameter_name is missing, unknown or doubled"),
                    )
                })?
        } else {
            &variables[position]
        };
        named.push(variable);
        filled = filled.replace(&format!("{{{{{variable}}}}}"), value);
    }
    Ok(filled)
}

fn value<'a>(parameter: &'a Value, kind: &str, position: usize) -> Result<&'a str, GraphError> {
    let not_a_text = || GraphError::whatsapp(132_012, format!("{kind}: parameter {} is not a text", position + 1));
    let found = match parameter["type"].as_str() {
        Some("text") => parameter["text"].as_str(),
        Some("currency") => {
            let currency = &parameter["currency"];
            let code = currency["code"].as_str().unwrap_or_default();
            let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
            if !is_code || !currency["amount_1000"].is_i64() {
                return Err(GraphError::whatsapp(
                    132_008,
                    format!(
                        "{kind}: parameter {} needs a currency code and an amount_1000",
                        position + 1
                    ),
                ));
            }
            currency["fallback_value"].as_str()
        }
        Some("date_time") => parameter["date_time"]["fallback_value"].as_str(),
        Some(_) => None,
        None => return Err(missing("parameters[].type")),
    };
    found.filter(|value| !value.is_empty()).ok_or_else(not_a_text)
}
