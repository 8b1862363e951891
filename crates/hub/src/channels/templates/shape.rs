//! What a template says, and what it takes: read out of its components. Pure, and lenient: a part that is not known is kept as a word, and what
//! is given for it is left to Meta.

use serde_json::Value;

use super::model::Definition;

/// A template, or a card of a carousel.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Above the text.
    pub header: Option<Header>,
    /// The text.
    pub body: Text,
    /// Below the text.
    pub footer: Option<String>,
    /// What can be pressed, in Meta's order.
    pub buttons: Vec<Button>,
    /// The cards of its carousel.
    pub cards: Vec<Self>,
    /// Whether it needs the time at which its offer ends.
    pub needs_expiry: bool,
    /// Types of components that are not known here, in small letters.
    pub unknown: Vec<String>,
}

/// A text with variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// With `{{1}}` or `{{name}}` where a value goes.
    pub text: String,
    /// The variables, each once: numbers in their order, names in that of the text.
    pub variables: Vec<String>,
}

/// What stands above the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// A line.
    Text(Text),
    /// A file: `image`, `video` or `document`.
    Media(String),
    /// A place.
    Location,
    /// A product of the catalogue.
    Product,
    /// Something that is not known here.
    Other,
}

/// What can be pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What it does.
    pub kind: ButtonKind,
    /// What is written on it.
    pub label: String,
    /// Where it leads.
    pub url: Text,
}

/// What a button does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ButtonKind {
    /// It answers.
    QuickReply,
    /// It opens an address.
    Url,
    /// It calls.
    PhoneNumber,
    /// It copies a coupon.
    CopyCode,
    /// It starts a flow.
    Flow,
    /// It shows the catalogue.
    Catalog,
    /// It shows products.
    Products,
    /// It copies or hands over a code to log in with.
    OneTimeCode,
    /// Something that is not known here, or takes nothing.
    Other(String),
}

impl ButtonKind {
    fn of(word: &str) -> Self {
        match word {
            "quick_reply" => Self::QuickReply,
            "url" => Self::Url,
            "phone_number" => Self::PhoneNumber,
            "copy_code" => Self::CopyCode,
            "flow" => Self::Flow,
            "catalog" => Self::Catalog,
            "mpm" => Self::Products,
            "otp" => Self::OneTimeCode,
            other => Self::Other(other.to_owned()),
        }
    }

    /// What a send calls it (`sub_type`).
    pub fn word(&self) -> &str {
        match self {
            Self::QuickReply => "quick_reply",
            // For whoever sends it, it is one to an address (reference `whatsapp.md` 10.1).
            Self::Url | Self::OneTimeCode => "url",
            Self::PhoneNumber => "phone_number",
            Self::CopyCode => "copy_code",
            Self::Flow => "flow",
            Self::Catalog => "catalog",
            Self::Products => "mpm",
            Self::Other(word) => word,
        }
    }
}

impl Button {
    /// Whether nothing can be sent without a value for it.
    pub fn needs_value(&self) -> bool {
        match self.kind {
            ButtonKind::Url => !self.url.variables.is_empty(),
            ButtonKind::CopyCode | ButtonKind::Products | ButtonKind::OneTimeCode => true,
            ButtonKind::QuickReply
            | ButtonKind::PhoneNumber
            | ButtonKind::Flow
            | ButtonKind::Catalog
            | ButtonKind::Other(_) => false,
        }
    }
}

impl Text {
    /// Finds the variables.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let mut variables: Vec<String> = Vec::new();
        for piece in text.split("{{").skip(1) {
            if let Some((name, _)) = piece.split_once("}}") {
                let name = name.trim();
                if !name.is_empty() && !variables.iter().any(|known| known == name) {
                    variables.push(name.to_owned());
                }
            }
        }
        if variables.iter().all(|name| name.parse::<u32>().is_ok()) {
            variables.sort_by_key(|name| name.parse::<u32>().unwrap_or_default());
        }
        Self { text, variables }
    }

    /// With a value for each variable that has one.
    pub fn filled(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        // Values are not looked at again: one may contain what looks like a variable.
        while let Some(start) = rest.find("{{") {
            let (before, tail) = rest.split_at(start);
            out.push_str(before);
            let Some(end) = tail.find("}}") else {
                rest = tail;
                break;
            };
            match value(tail[2..end].trim()) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&tail[..end + 2]),
            }
            rest = &tail[end + 2..];
        }
        out.push_str(rest);
        out
    }
}

impl Shape {
    /// Reads it.
    pub fn of(definition: &Definition) -> Self {
        let mut shape = Self::read(&definition.components);
        // Meta tells this button as one to an address of its own, whose variable is the code.
        if definition.is_authentication() {
            for button in &mut shape.buttons {
                if button.kind == ButtonKind::Url {
                    button.kind = ButtonKind::OneTimeCode;
                }
            }
        }
        shape
    }

    fn read(components: &[Value]) -> Self {
        let mut shape = Self {
            header: None,
            body: Text::default(),
            footer: None,
            buttons: Vec::new(),
            cards: Vec::new(),
            needs_expiry: false,
            unknown: Vec::new(),
        };
        for component in components {
            let word = word(component, "type");
            match word.as_str() {
                "header" => shape.header = Some(Header::read(component)),
                "body" => shape.body = Text::new(text(component, "text")),
                "footer" => shape.footer = Some(text(component, "text")).filter(|text| !text.is_empty()),
                "buttons" => {
                    let buttons = component["buttons"].as_array().into_iter().flatten();
                    shape.buttons = buttons.map(Button::read).collect();
                }
                "carousel" => {
                    let cards = component["cards"].as_array().into_iter().flatten();
                    shape.cards = cards
                        .map(|card| Self::read(card["components"].as_array().map_or(&[], Vec::as_slice)))
                        .collect();
                }
                "limited_time_offer" => {
                    shape.needs_expiry = component["limited_time_offer"]["has_expiration"] == true;
                }
                _ => shape.unknown.push(word),
            }
        }
        shape
    }
}

impl Header {
    fn read(component: &Value) -> Self {
        match word(component, "format").as_str() {
            "" | "text" => Self::Text(Text::new(text(component, "text"))),
            media @ ("image" | "video" | "document") => Self::Media(media.to_owned()),
            "location" => Self::Location,
            "product" => Self::Product,
            _ => Self::Other,
        }
    }
}

impl Button {
    fn read(button: &Value) -> Self {
        Self {
            kind: ButtonKind::of(&word(button, "type")),
            label: text(button, "text"),
            url: Text::new(text(button, "url")),
        }
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn word(value: &Value, key: &str) -> String {
    text(value, key).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn variables_are_found_each_once_and_numbers_in_their_order() {
        assert_eq!(Text::new("{{2}} {{1}} {{2}}").variables, ["1", "2"]);
        assert_eq!(
            Text::new("Hi {{first_name}}, {{ order_no }}!").variables,
            ["first_name", "order_no"]
        );
        assert!(Text::new("{{ {} }} {{open").variables.iter().all(|name| name == "{}"));
    }

    #[test]
    fn a_value_that_looks_like_a_variable_is_not_filled_in_again() {
        let text = Text::new("{{1}} and {{2}}, {{3}}");
        let filled = text.filled(|name| match name {
            "1" => Some("{{2}}".to_owned()),
            "2" => Some("b".to_owned()),
            _ => None,
        });
        assert_eq!(filled, "{{2}} and b, {{3}}");
        assert_eq!(Text::new("a {{b").filled(|_| None), "a {{b");
    }
}
