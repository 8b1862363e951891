//! What is sent with a template, held against what it takes (reference `whatsapp.md` 10.1), and filled in. Pure.

use serde_json::Value;

use super::model::Fault;
use super::shape::{Button, ButtonKind, Header, Shape, Text};

/// Characters of the body once it is filled in (reference `whatsapp.md` 10.2, 132005).
const BODY_MAX: usize = 1024;
/// Characters of a code that is copied: 15, and 20 since 2025-12-03.
const COUPON_MAX: usize = 20;
/// Characters of a code to log in with.
const CODE_MAX: usize = 15;
/// More spaces in a row than this are refused.
const SPACES_MAX: usize = 4;

/// The types of components that a send can have.
const KINDS: &[&str] = &["header", "body", "button", "carousel", "limited_time_offer"];

/// A template with its values in place. What has none keeps its variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filled {
    /// Above the text: a line, or what is shown there, such as `image`.
    pub header: Option<String>,
    /// The text.
    pub body: String,
    /// Below the text.
    pub footer: Option<String>,
    /// What can be pressed.
    pub buttons: Vec<FilledButton>,
    /// The cards of its carousel.
    pub cards: Vec<Self>,
}

/// A button with its value in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledButton {
    /// What it does, as a send calls it.
    pub kind: String,
    /// What is written on it.
    pub label: String,
    /// The address that it opens, what it answers with, or the code that it copies.
    pub value: Option<String>,
}

impl Filled {
    /// As plain text, for a way that has nothing else.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = self.header.iter().cloned().collect();
        lines.push(self.body.clone());
        lines.extend(self.cards.iter().map(|card| card.body.clone()));
        lines.extend(self.footer.iter().cloned());
        let links = self.buttons.iter().filter(|button| button.kind == "url");
        lines.extend(links.filter_map(|button| Some(format!("{}: {}", button.label, button.value.as_ref()?))));
        lines.retain(|line| !line.is_empty());
        lines.join("\n\n")
    }
}

/// What does not fit; nothing if it can be sent. `given` are the components of a send, as Meta takes them.
pub fn check(shape: &Shape, is_named: bool, given: &[Value]) -> Vec<Fault> {
    let mut checker = Checker {
        is_named,
        faults: Vec::new(),
    };
    checker.parts(shape, given, "components");
    checker.offer(shape, given);
    checker.carousel(shape, given);
    checker.code(shape, given);
    checker.faults
}

/// Fills a template in, as far as there are values.
pub fn fill(shape: &Shape, is_named: bool, given: &[Value]) -> Filled {
    let header = match &shape.header {
        None | Some(Header::Other) => None,
        Some(Header::Text(text)) => Some(filled(text, is_named, given, "header")),
        Some(Header::Media(kind)) => Some(format!("[{kind}]")),
        Some(Header::Location) => Some("[location]".to_owned()),
        Some(Header::Product) => Some("[product]".to_owned()),
    };
    let buttons = shape.buttons.iter().enumerate().map(|(index, button)| FilledButton {
        kind: button.kind.word().to_owned(),
        label: button.label.clone(),
        value: value_of(button, index, given),
    });
    let cards = of_kind(given, "carousel").next();
    let cards = cards.and_then(|(_, component)| component["cards"].as_array());
    let filled_cards = shape.cards.iter().enumerate().map(|(index, card)| {
        let given = cards
            .and_then(|cards| cards.get(index))
            .and_then(|card| card["components"].as_array());
        fill(card, is_named, given.map_or(&[], Vec::as_slice))
    });
    Filled {
        header,
        body: filled(&shape.body, is_named, given, "body"),
        footer: shape.footer.clone(),
        buttons: buttons.collect(),
        cards: filled_cards.collect(),
    }
}

/// What a template takes, in one sentence for people.
pub fn wanted(shape: &Shape) -> String {
    let mut parts = Vec::new();
    match &shape.header {
        Some(Header::Text(text)) if !text.variables.is_empty() => {
            parts.push(format!("in the header {}", variables(text)));
        }
        Some(Header::Media(kind)) => parts.push(format!("a header with one `{kind}`")),
        Some(Header::Location) => parts.push("a header with one `location`".to_owned()),
        Some(Header::Product) => parts.push("a header with one `product`".to_owned()),
        Some(Header::Text(_) | Header::Other) | None => {}
    }
    if !shape.body.variables.is_empty() {
        parts.push(format!("in the body {}", variables(&shape.body)));
    }
    for (index, button) in shape.buttons.iter().enumerate() {
        if button.needs_value() {
            let label = if button.label.is_empty() {
                String::new()
            } else {
                format!(" (`{}`)", button.label)
            };
            parts.push(format!("a value for button {index}{label}, a `{}`", button.kind.word()));
        }
    }
    if !shape.cards.is_empty() {
        parts.push(format!("{} cards", shape.cards.len()));
    }
    if shape.needs_expiry {
        parts.push("the time at which its offer ends".to_owned());
    }
    if parts.is_empty() {
        "it takes no values".to_owned()
    } else {
        format!("it takes {}", parts.join(", "))
    }
}

fn variables(text: &Text) -> String {
    let names: Vec<String> = text.variables.iter().map(|name| format!("`{{{{{name}}}}}`")).collect();
    names.join(", ")
}

struct Checker {
    is_named: bool,
    faults: Vec<Fault>,
}

impl Checker {
    fn add(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(Fault {
            field: field.into(),
            detail: detail.into(),
        });
    }

    /// Header, body and buttons of a template or of a card.
    fn parts(&mut self, shape: &Shape, given: &[Value], at: &str) {
        for (index, component) in given.iter().enumerate() {
            let kind = component["type"].as_str().unwrap_or_default().to_lowercase();
            let field = format!("{at}[{index}].type");
            if kind.is_empty() {
                self.add(field, "is missing: `header`, `body` or `button`, most often");
            } else if !KINDS.contains(&kind.as_str()) && !shape.unknown.contains(&kind) {
                self.add(
                    field,
                    "is not one of `header`, `body`, `button`, `carousel`, `limited_time_offer`",
                );
            } else if kind != "button" && of_kind(given, &kind).next().is_some_and(|(first, _)| first < index) {
                self.add(field, format!("is the second `{kind}`: a template has one"));
            }
        }
        match &shape.header {
            None => self.text(&Text::default(), given, "header", at),
            Some(Header::Text(text)) => self.text(text, given, "header", at),
            Some(Header::Media(kind)) => self.one(kind, given, at, |value| {
                let sources = ["id", "link", "mediaId"]
                    .iter()
                    .filter(|key| value[**key].is_string())
                    .count();
                (sources != 1).then(|| "must have exactly one of `id` and `link`".to_owned())
            }),
            Some(Header::Location) => self.one("location", given, at, |value| {
                let is_degrees = |key: &str| match &value[key] {
                    Value::String(text) => text.parse::<f64>().is_ok(),
                    other => other.is_number(),
                };
                (!is_degrees("latitude") || !is_degrees("longitude"))
                    .then(|| "must have `latitude` and `longitude`, in degrees".to_owned())
            }),
            Some(Header::Product) => self.one("product", given, at, |value| {
                let is_named = value["product_retailer_id"].is_string();
                (!is_named).then(|| "must have a `product_retailer_id`".to_owned())
            }),
            Some(Header::Other) => {}
        }
        self.text(&shape.body, given, "body", at);
        if filled(&shape.body, self.is_named, given, "body").chars().count() > BODY_MAX {
            let index = of_kind(given, "body").next().map_or(0, |(index, _)| index);
            self.add(
                format!("{at}[{index}].parameters"),
                format!("make the body longer than {BODY_MAX} characters"),
            );
        }
        self.buttons(shape, given, at);
    }

    /// A text takes a value for each of its variables, and no other.
    fn text(&mut self, text: &Text, given: &[Value], kind: &str, at: &str) {
        let names = &text.variables;
        let Some((index, component)) = of_kind(given, kind).next() else {
            if !names.is_empty() {
                self.add(
                    at,
                    format!("lacks a `{kind}` with {}, for `{}`", takes(names), text.text),
                );
            }
            return;
        };
        let field = format!("{at}[{index}].parameters");
        let none = Vec::new();
        let parameters = component["parameters"].as_array().unwrap_or(&none);
        if parameters.len() != names.len() {
            let now = if names.is_empty() {
                format!(
                    "must be left out: the {kind} takes no values now; this has {}",
                    parameters.len()
                )
            } else {
                format!(
                    "must be {} now, for `{}`; this has {}",
                    takes(names),
                    text.text,
                    parameters.len()
                )
            };
            self.add(field, now);
            return;
        }
        let mut seen: Vec<&str> = Vec::new();
        for (position, parameter) in parameters.iter().enumerate() {
            let field = format!("{field}[{position}]");
            match value(parameter) {
                None => self.add(
                    &field,
                    "must be `{\"type\": \"text\", \"text\": \"…\"}`, or a `currency` or `date_time` with its `fallback_value`",
                ),
                Some("") => self.add(&field, "must not be empty"),
                Some(text) if has_wrong_spaces(text) => self.add(
                    &field,
                    format!("must have no line breaks, no tabs, and at most {SPACES_MAX} spaces in a row"),
                ),
                Some(_) => {}
            }
            if !self.is_named {
                continue;
            }
            let listed = names
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ");
            match parameter["parameter_name"].as_str() {
                Some(name) if seen.contains(&name) => {
                    self.add(format!("{field}.parameter_name"), format!("is there twice: `{name}`"));
                }
                Some(name) if names.iter().any(|known| known == name) => seen.push(name),
                Some(name) => self.add(
                    format!("{field}.parameter_name"),
                    format!("is one of {listed} now; this is `{name}`"),
                ),
                None => self.add(
                    format!("{field}.parameter_name"),
                    format!("is missing: one of {listed}"),
                ),
            }
        }
    }

    /// A header that takes one thing that is no text.
    fn one(&mut self, kind: &str, given: &[Value], at: &str, wrong: impl Fn(&Value) -> Option<String>) {
        let Some((index, component)) = of_kind(given, "header").next() else {
            self.add(at, format!("lacks a `header` with one parameter of type `{kind}`"));
            return;
        };
        let field = format!("{at}[{index}].parameters");
        let parameters = component["parameters"].as_array().map_or(0, Vec::len);
        let parameter = &component["parameters"][0];
        if parameters != 1 || parameter["type"] != kind {
            self.add(field, format!("must be one parameter of type `{kind}` now"));
        } else if let Some(detail) = wrong(&parameter[kind]) {
            self.add(format!("{field}[0].{kind}"), detail);
        }
    }

    fn buttons(&mut self, shape: &Shape, given: &[Value], at: &str) {
        let mut filled = vec![false; shape.buttons.len()];
        for (place, component) in of_kind(given, "button") {
            let field = format!("{at}[{place}]");
            let Some(index) = index_of(component) else {
                self.add(format!("{field}.index"), "must be the place of the button, from 0 on");
                continue;
            };
            let Some(button) = shape.buttons.get(index) else {
                let count = shape.buttons.len();
                self.add(
                    format!("{field}.index"),
                    format!("is {index}, and the template has {count} buttons now"),
                );
                continue;
            };
            if std::mem::replace(&mut filled[index], true) {
                self.add(format!("{field}.index"), format!("is there twice: {index}"));
                continue;
            }
            let word = button.kind.word();
            match component["sub_type"].as_str() {
                Some(sub_type) if sub_type.eq_ignore_ascii_case(word) => {
                    if let Some((place, detail)) = wrong_value(button, &component["parameters"]) {
                        self.add(format!("{field}.{place}"), detail);
                    }
                }
                given => {
                    let given = given.map_or_else(|| "it is missing".to_owned(), |given| format!("this is `{given}`"));
                    self.add(
                        format!("{field}.sub_type"),
                        format!("must be `{word}`: that is what button {index} is now; {given}"),
                    );
                }
            }
        }
        for (index, button) in shape.buttons.iter().enumerate() {
            if button.needs_value() && !filled[index] {
                let (word, label) = (button.kind.word(), &button.label);
                self.add(
                    at,
                    format!(
                        "lacks a `button` with `sub_type` `{word}` and `index` {index}, with a value for `{label}`"
                    ),
                );
            }
        }
    }

    fn offer(&mut self, shape: &Shape, given: &[Value]) {
        let time = of_kind(given, "limited_time_offer")
            .next()
            .is_some_and(|(_, component)| {
                component["parameters"][0]["limited_time_offer"]["expiration_time_ms"].is_i64()
            });
        if shape.needs_expiry && !time {
            self.add(
                "components",
                "lacks a `limited_time_offer` with the parameter `expiration_time_ms`, in milliseconds since 1970",
            );
        }
    }

    fn carousel(&mut self, shape: &Shape, given: &[Value]) {
        let found = of_kind(given, "carousel").next();
        let count = shape.cards.len();
        let Some((place, component)) = found else {
            if count > 0 {
                self.add("components", format!("lacks a `carousel` with {count} cards"));
            }
            return;
        };
        let field = format!("components[{place}].cards");
        let none = Vec::new();
        let cards = component["cards"].as_array().unwrap_or(&none);
        if cards.len() != count {
            self.add(field, format!("must be {count} now; this has {}", cards.len()));
            return;
        }
        for (index, (card, shape)) in cards.iter().zip(&shape.cards).enumerate() {
            if card["card_index"].as_u64() != Some(index as u64) {
                self.add(
                    format!("{field}[{index}].card_index"),
                    format!("must be {index}: cards are counted from 0"),
                );
            }
            let given = card["components"].as_array().map_or(&[][..], Vec::as_slice);
            self.parts(shape, given, &format!("{field}[{index}].components"));
        }
    }

    /// The code to log in with stands in the body and on the button.
    fn code(&mut self, shape: &Shape, given: &[Value]) {
        let is_for_codes = shape
            .buttons
            .iter()
            .any(|button| button.kind == ButtonKind::OneTimeCode);
        if !is_for_codes || !self.faults.is_empty() {
            return;
        }
        let first = |kind: &'static str| {
            let component = of_kind(given, kind).next();
            component.and_then(|(_, component)| value(&component["parameters"][0]))
        };
        let (body, button) = (first("body").unwrap_or_default(), first("button").unwrap_or_default());
        if body != button {
            self.add(
                "components",
                "must have the same code in the `body` and on the `button`",
            );
        } else if body.chars().count() > CODE_MAX {
            self.add(
                "components",
                format!("must have a code of at most {CODE_MAX} characters"),
            );
        }
    }
}

/// `2 values: {{1}}, {{2}}`.
fn takes(names: &[String]) -> String {
    let listed: Vec<String> = names.iter().map(|name| format!("`{{{{{name}}}}}`")).collect();
    let values = if names.len() == 1 { "value" } else { "values" };
    format!("{} {values}: {}", names.len(), listed.join(", "))
}

/// What is wrong with what a button is given, and where.
fn wrong_value(button: &Button, parameters: &Value) -> Option<(&'static str, String)> {
    let first = &parameters[0];
    let text = first["text"]
        .as_str()
        .filter(|text| first["type"] == "text" && !text.is_empty());
    match button.kind {
        ButtonKind::Url if button.url.variables.is_empty() => Some((
            "parameters",
            format!("must be left out: `{}` takes no value now", button.url.text),
        )),
        ButtonKind::Url if text.is_none() => Some((
            "parameters",
            format!("must be one text, the end of the address `{}`", button.url.text),
        )),
        ButtonKind::OneTimeCode if text.is_none() => Some(("parameters", "must be one text: the code".to_owned())),
        ButtonKind::CopyCode => {
            let code = first["coupon_code"].as_str().unwrap_or_default();
            let fits = (1..=COUPON_MAX).contains(&code.chars().count());
            (!fits).then(|| {
                (
                    "parameters",
                    format!("must be one `coupon_code` of 1 to {COUPON_MAX} characters"),
                )
            })
        }
        ButtonKind::Products => {
            let sections = first["action"]["sections"].as_array();
            sections
                .is_none_or(Vec::is_empty)
                .then(|| ("parameters", "must be one `action` with `sections`".to_owned()))
        }
        ButtonKind::PhoneNumber => Some(("sub_type", "takes no value: leave the component out".to_owned())),
        ButtonKind::Url
        | ButtonKind::OneTimeCode
        | ButtonKind::QuickReply
        | ButtonKind::Flow
        | ButtonKind::Catalog
        | ButtonKind::Other(_) => None,
    }
}

/// What a parameter shows.
fn value(parameter: &Value) -> Option<&str> {
    match parameter["type"].as_str()? {
        "text" => parameter["text"].as_str(),
        "currency" => parameter["currency"]["fallback_value"].as_str(),
        "date_time" => parameter["date_time"]["fallback_value"].as_str(),
        _ => None,
    }
}

fn has_wrong_spaces(text: &str) -> bool {
    text.contains(['\n', '\r', '\t']) || text.contains(&" ".repeat(SPACES_MAX + 1))
}

fn of_kind<'a>(given: &'a [Value], kind: &'a str) -> impl Iterator<Item = (usize, &'a Value)> {
    given.iter().enumerate().filter(move |(_, component)| {
        component["type"]
            .as_str()
            .is_some_and(|found| found.eq_ignore_ascii_case(kind))
    })
}

/// A string or an integer (reference `whatsapp.md` 10.1).
fn index_of(component: &Value) -> Option<usize> {
    match &component["index"] {
        Value::String(text) => text.parse().ok(),
        other => usize::try_from(other.as_u64()?).ok(),
    }
}

fn filled(text: &Text, is_named: bool, given: &[Value], kind: &str) -> String {
    let none = Vec::new();
    let component = of_kind(given, kind).next();
    let parameters = component
        .and_then(|(_, component)| component["parameters"].as_array())
        .unwrap_or(&none);
    text.filled(|name| {
        let parameter = if is_named {
            parameters.iter().find(|parameter| parameter["parameter_name"] == name)
        } else {
            let position = text.variables.iter().position(|variable| variable == name);
            position.and_then(|position| parameters.get(position))
        };
        parameter.and_then(value).map(str::to_owned)
    })
}

fn value_of(button: &Button, index: usize, given: &[Value]) -> Option<String> {
    let component = of_kind(given, "button").find(|(_, component)| index_of(component) == Some(index));
    let first = component.map(|(_, component)| &component["parameters"][0]);
    let text = |key: &str| Some(first?[key].as_str()?.to_owned());
    match button.kind {
        ButtonKind::Url => Some(button.url.filled(|_| text("text"))),
        ButtonKind::OneTimeCode => text("text"),
        ButtonKind::CopyCode => text("coupon_code"),
        ButtonKind::QuickReply => text("payload").or_else(|| Some(button.label.clone())),
        ButtonKind::PhoneNumber
        | ButtonKind::Flow
        | ButtonKind::Catalog
        | ButtonKind::Products
        | ButtonKind::Other(_) => None,
    }
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
