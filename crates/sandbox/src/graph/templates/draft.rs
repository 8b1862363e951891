//! What a template may say: the limits of whatsapp.md 10.2, and the errors of 14.2 that a draft is refused with.
//!
//! The large numbers come as subcodes of 100, with a title and a text for people, as is often seen.

use serde_json::{Value, json};

use super::super::error::GraphError;
use super::super::params::Params;
use crate::state::templates::{component, has_names, variables};

const NAME_MAX: usize = 512;
const HEADER_MAX: usize = 60;
const FOOTER_MAX: usize = 60;
const BODY_MAX: usize = 1024;
const BUTTONS_MAX: usize = 10;
const QUICK_REPLIES_MAX: usize = 10;
const URLS_MAX: usize = 2;
const PHONES_MAX: usize = 1;
const COPY_CODES_MAX: usize = 1;
const LABEL_MAX: usize = 25;
const URL_MAX: usize = 2000;
/// 15, and 20 since 2025-12-03.
const COPY_CODE_MAX: usize = 20;
const LIMITED_TIME_MAX: usize = 16;
const CARDS_MAX: usize = 10;
const COMPONENTS_MAX: usize = 10;
/// How many words of its own a text has for each variable; "not too dense" is all that Meta's pages say.
const WORDS_A_VARIABLE: usize = 2;

const TOO_LONG: i64 = 2_388_040;
const HEADER_FORMAT: i64 = 2_388_047;
const BODY_FORMAT: i64 = 2_388_072;
const FOOTER_FORMAT: i64 = 2_388_073;
const TOO_DENSE: i64 = 2_388_293;
const AT_THE_EDGE: i64 = 2_388_299;

/// A template to be made, checked.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) language: String,
    pub(super) category: String,
    pub(super) components: Vec<Value>,
    pub(super) ttl_seconds: Option<i64>,
}

impl Draft {
    pub(super) fn read(params: &Params) -> Result<Self, GraphError> {
        let name = params.required("name")?;
        if name.len() > NAME_MAX {
            return Err(too_long("The name", NAME_MAX));
        }
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !name.bytes().all(is_fit) {
            return Err(GraphError::parameter(
                "Param name must have only lowercase letters, digits and underscores.",
            ));
        }
        let language = params.required("language")?;
        let is_code = (2..=10).contains(&language.len())
            && language.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !is_code {
            return Err(GraphError::parameter(
                "Param language must be a language code, such as en_US.",
            ));
        }
        let category = category(params.required("category")?)?;
        let ttl_seconds = ttl_seconds(params, &category)?;
        let given = params
            .get("components")
            .ok_or_else(|| GraphError::parameter("The parameter components is required."))?;
        let is_named = match params.text("parameter_format") {
            None => false,
            Some(format) if format.eq_ignore_ascii_case("named") => true,
            Some(format) if format.eq_ignore_ascii_case("positional") => false,
            Some(_) => {
                return Err(GraphError::parameter(
                    "Param parameter_format must be one of {NAMED, POSITIONAL}",
                ));
            }
        };
        let components = components(given, &category, is_named)?;
        Ok(Self {
            name: name.to_owned(),
            language: language.to_owned(),
            category,
            components,
            ttl_seconds,
        })
    }
}

pub(super) fn category(text: &str) -> Result<String, GraphError> {
    let category = text.to_uppercase();
    if matches!(category.as_str(), "UTILITY" | "MARKETING" | "AUTHENTICATION") {
        Ok(category)
    } else {
        Err(GraphError::parameter(
            "Param category must be one of {AUTHENTICATION, MARKETING, UTILITY}",
        ))
    }
}

pub(super) fn ttl_seconds(params: &Params, category: &str) -> Result<Option<i64>, GraphError> {
    let Some(given) = params.get("message_send_ttl_seconds") else {
        return Ok(None);
    };
    let (least, most, may_be_off) = match category {
        "AUTHENTICATION" => (30, 900, true),
        "UTILITY" => (30, 43_200, true),
        _ => (43_200, 2_592_000, false),
    };
    let seconds = given.as_i64().or_else(|| given.as_str()?.parse().ok());
    let fits = |seconds: &i64| (least..=most).contains(seconds) || (may_be_off && *seconds == -1);
    seconds.filter(fits).map(Some).ok_or_else(|| {
        GraphError::parameter(format!(
            "Param message_send_ttl_seconds must be between {least} and {most} for this category."
        ))
    })
}

/// The components, checked, as the list will tell them.
pub(super) fn components(given: &Value, category: &str, is_named: bool) -> Result<Vec<Value>, GraphError> {
    let given = given
        .as_array()
        .filter(|given| (1..=COMPONENTS_MAX).contains(&given.len()))
        .ok_or_else(|| GraphError::parameter("Param components must be an array of 1 to 10 components."))?;
    let mut components = given.clone();
    for component in &mut components {
        let kind = component["type"].as_str().map(str::to_uppercase);
        let kind = kind.ok_or_else(|| GraphError::parameter("Every component needs a type."))?;
        component["type"] = json!(kind);
    }
    for (position, one) in components.iter().enumerate() {
        let is_double = components[..position].iter().any(|other| other["type"] == one["type"]);
        if is_double {
            let kind = one["type"].as_str().unwrap_or_default();
            return Err(GraphError::parameter(format!(
                "There are two components of type {kind}."
            )));
        }
    }
    if component(&components, "BODY").is_none() {
        return Err(draft(BODY_FORMAT, "A template needs a body."));
    }
    if category == "AUTHENTICATION" {
        return authentication(components);
    }
    for component in &components {
        match component["type"].as_str().unwrap_or_default() {
            "HEADER" => header(component)?,
            "BODY" => body(component)?,
            "FOOTER" => footer(component)?,
            "BUTTONS" => buttons(component)?,
            "LIMITED_TIME_OFFER" => {
                let text = component["limited_time_offer"]["text"].as_str().unwrap_or_default();
                if text.is_empty() || text.chars().count() > LIMITED_TIME_MAX {
                    return Err(too_long("The text of a limited-time offer", LIMITED_TIME_MAX));
                }
            }
            "CAROUSEL" => carousel(component)?,
            other => {
                return Err(GraphError::parameter(format!("There is no component of type {other}.")));
            }
        }
    }
    if has_names(&components) != is_named && has_variables(&components) {
        return Err(draft(
            BODY_FORMAT,
            "The variables must be as parameter_format says: {{1}}, {{2}} where it is POSITIONAL, {{lower_snake}} where it is NAMED.",
        ));
    }
    Ok(components)
}

fn has_variables(components: &[Value]) -> bool {
    ["HEADER", "BODY"].iter().any(|kind| {
        let text = component(components, kind).and_then(|found| found["text"].as_str());
        !variables(text.unwrap_or_default()).is_empty()
    })
}

/// The text of these is Meta's own (whatsapp.md 10.1).
fn authentication(mut components: Vec<Value>) -> Result<Vec<Value>, GraphError> {
    for component in &mut components {
        match component["type"].as_str().unwrap_or_default() {
            "BODY" if component.get("text").is_some() => {
                return Err(draft(
                    BODY_FORMAT,
                    "The body of an authentication template has no text of its own.",
                ));
            }
            "BODY" => component["text"] = json!("*{{1}}* is your verification code."),
            "FOOTER" => {
                let minutes = component["code_expiration_minutes"].as_u64().unwrap_or_default();
                if !(1..=90).contains(&minutes) {
                    return Err(draft(
                        FOOTER_FORMAT,
                        "code_expiration_minutes must be between 1 and 90.",
                    ));
                }
                component["text"] = json!(format!("This code expires in {minutes} minutes."));
            }
            "BUTTONS" => {
                let is_one = component["buttons"]
                    .as_array()
                    .is_some_and(|buttons| buttons.len() == 1 && buttons[0]["type"] == "OTP");
                if !is_one {
                    return Err(GraphError::parameter(
                        "An authentication template has one button, of type OTP.",
                    ));
                }
            }
            other => {
                return Err(GraphError::parameter(format!(
                    "An authentication template has no component of type {other}."
                )));
            }
        }
    }
    if component(&components, "BUTTONS").is_none() {
        return Err(GraphError::parameter(
            "An authentication template needs a button of type OTP.",
        ));
    }
    Ok(components)
}

fn header(component: &Value) -> Result<(), GraphError> {
    let format = component["format"].as_str().unwrap_or("TEXT").to_uppercase();
    match format.as_str() {
        "TEXT" => {
            let text = text_of(component, HEADER_FORMAT, "header")?;
            check_length("The header", text, HEADER_MAX)?;
            let variables = check_variables(text, HEADER_FORMAT)?;
            if variables.len() > 1 {
                return Err(draft(HEADER_FORMAT, "The header has one variable at most."));
            }
            check_examples(component, "header_text", &variables, HEADER_FORMAT)
        }
        "IMAGE" | "VIDEO" | "DOCUMENT" => {
            let handle = &component["example"]["header_handle"][0];
            if handle.as_str().is_some_and(|handle| handle.starts_with("4:")) {
                Ok(())
            } else {
                Err(draft(
                    HEADER_FORMAT,
                    "A header with media needs an example: its header_handle.",
                ))
            }
        }
        "LOCATION" | "PRODUCT" => Ok(()),
        _ => Err(draft(
            HEADER_FORMAT,
            "The format of the header must be one of {TEXT, IMAGE, VIDEO, DOCUMENT, LOCATION, PRODUCT}.",
        )),
    }
}

fn body(component: &Value) -> Result<(), GraphError> {
    let text = text_of(component, BODY_FORMAT, "body")?;
    check_length("The body", text, BODY_MAX)?;
    let variables = check_variables(text, BODY_FORMAT)?;
    let trimmed = text.trim();
    if !variables.is_empty() && (trimmed.starts_with("{{") || trimmed.ends_with("}}")) {
        return Err(draft(
            AT_THE_EDGE,
            "Variables can't be at the start or the end of the template.",
        ));
    }
    let mut plain = text.to_owned();
    for variable in &variables {
        plain = plain.replace(&format!("{{{{{variable}}}}}"), " ");
    }
    let words = plain
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .count();
    if words < variables.len() * WORDS_A_VARIABLE {
        return Err(draft(
            TOO_DENSE,
            "This template has too many variables for its length: use fewer, or write more around them.",
        ));
    }
    check_examples(component, "body_text", &variables, BODY_FORMAT)
}

fn footer(component: &Value) -> Result<(), GraphError> {
    let text = text_of(component, FOOTER_FORMAT, "footer")?;
    check_length("The footer", text, FOOTER_MAX)?;
    if text.contains("{{") {
        return Err(draft(FOOTER_FORMAT, "The footer has no variables."));
    }
    Ok(())
}

fn buttons(component: &Value) -> Result<(), GraphError> {
    let wrong = |details: &str| Err(GraphError::parameter(details));
    let Some(buttons) = component["buttons"].as_array().filter(|buttons| !buttons.is_empty()) else {
        return wrong("A BUTTONS component needs buttons.");
    };
    if buttons.len() > BUTTONS_MAX {
        return wrong("A template has at most 10 buttons.");
    }
    let kind = |button: &Value| button["type"].as_str().unwrap_or_default().to_uppercase();
    let count = |wanted: &str| buttons.iter().filter(|button| kind(button) == wanted).count();
    for (wanted, most) in [
        ("QUICK_REPLY", QUICK_REPLIES_MAX),
        ("URL", URLS_MAX),
        ("PHONE_NUMBER", PHONES_MAX),
        ("COPY_CODE", COPY_CODES_MAX),
    ] {
        if count(wanted) > most {
            return wrong(&format!("A template has at most {most} buttons of type {wanted}."));
        }
    }
    let groups = buttons
        .windows(2)
        .filter(|pair| (kind(&pair[0]) == "QUICK_REPLY") != (kind(&pair[1]) == "QUICK_REPLY"))
        .count();
    if groups > 1 {
        return wrong("Quick replies must stand together: first or last of the buttons.");
    }
    for button in buttons {
        let kind = kind(button);
        let label = button["text"].as_str().unwrap_or_default();
        let has_own_label = matches!(kind.as_str(), "COPY_CODE" | "CATALOG" | "MPM" | "SPM");
        if label.chars().count() > LABEL_MAX || (label.is_empty() && !has_own_label) {
            return wrong("The text of a button has 1 to 25 characters.");
        }
        match kind.as_str() {
            "QUICK_REPLY" | "CATALOG" | "MPM" | "SPM" | "REQUEST_CONTACT_INFO" | "VOICE_CALL" => {}
            "URL" => {
                let url = button["url"].as_str().unwrap_or_default();
                let is_address = url.starts_with("https://") || url.starts_with("http://");
                if !is_address || url.chars().count() > URL_MAX {
                    return wrong("The url of a button is a web address of at most 2000 characters.");
                }
                match variables(url).as_slice() {
                    [] => {}
                    [_] if url.ends_with("}}") && button["example"][0].is_string() => {}
                    [_] if url.ends_with("}}") => return wrong("The url of a button has a variable: give an example."),
                    _ => return wrong("The url of a button has one variable at most, at its end."),
                }
            }
            "PHONE_NUMBER" => {
                let phone = button["phone_number"].as_str().unwrap_or_default();
                if phone.is_empty() || phone.len() > 20 {
                    return wrong("The phone_number of a button has at most 20 characters.");
                }
            }
            "COPY_CODE" => {
                let example = match &button["example"] {
                    Value::Array(examples) => examples.first().and_then(Value::as_str),
                    other => other.as_str(),
                };
                let fits = |code: &str| (1..=COPY_CODE_MAX).contains(&code.chars().count());
                if !example.is_some_and(fits) {
                    return wrong("The example of a copy-code button has 1 to 20 characters.");
                }
            }
            "FLOW" => {
                if !["flow_id", "flow_name", "flow_json"]
                    .iter()
                    .any(|key| button.get(key).is_some())
                {
                    return wrong("A flow button names its flow.");
                }
            }
            other => return wrong(&format!("There is no button of type {other}.")),
        }
    }
    Ok(())
}

fn carousel(component: &Value) -> Result<(), GraphError> {
    let cards = component["cards"]
        .as_array()
        .filter(|cards| (1..=CARDS_MAX).contains(&cards.len()))
        .ok_or_else(|| GraphError::parameter("A carousel has 1 to 10 cards."))?;
    for card in cards {
        for component in card["components"].as_array().into_iter().flatten() {
            let kind = component["type"].as_str().unwrap_or_default().to_uppercase();
            match kind.as_str() {
                "HEADER" => header(component)?,
                "BODY" => body(component)?,
                "BUTTONS" => buttons(component)?,
                other => {
                    return Err(GraphError::parameter(format!(
                        "A card has no component of type {other}."
                    )));
                }
            }
        }
    }
    Ok(())
}

fn text_of<'a>(component: &'a Value, subcode: i64, what: &str) -> Result<&'a str, GraphError> {
    component["text"]
        .as_str()
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| draft(subcode, &format!("The {what} needs a text.")))
}

fn check_length(what: &str, text: &str, most: usize) -> Result<(), GraphError> {
    if text.chars().count() > most {
        return Err(too_long(what, most));
    }
    Ok(())
}

/// `{{1}}`, `{{2}}` without a gap, or `{{lower_snake}}`.
fn check_variables(text: &str, subcode: i64) -> Result<Vec<String>, GraphError> {
    let variables = variables(text);
    let is_name = |name: &String| {
        name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let is_numbered = variables
        .iter()
        .zip(1..)
        .all(|(name, number)| *name == number.to_string());
    let is_balanced = text.matches("{{").count() == text.matches("}}").count();
    if is_balanced && (is_numbered || variables.iter().all(is_name)) {
        Ok(variables)
    } else {
        Err(draft(
            subcode,
            "Variables are {{1}}, {{2}} and so on without a gap, or {{names}} in small letters, digits and underscores.",
        ))
    }
}

/// Each variable has an example.
fn check_examples(component: &Value, key: &str, variables: &[String], subcode: i64) -> Result<(), GraphError> {
    if variables.is_empty() {
        return Ok(());
    }
    let example = &component["example"];
    let is_named = variables.iter().any(|name| name.parse::<u32>().is_err());
    let has_all = if is_named {
        let named = example[format!("{key}_named_params")].as_array();
        variables.iter().all(|name| {
            named
                .into_iter()
                .flatten()
                .any(|one| one["param_name"] == name.as_str() && one["example"].is_string())
        })
    } else {
        let examples = match &example[key] {
            // The examples of a body are a list of lists.
            Value::Array(lists) if lists.first().is_some_and(Value::is_array) => lists[0].as_array(),
            other => other.as_array(),
        };
        examples.is_some_and(|examples| examples.len() == variables.len())
    };
    if has_all {
        Ok(())
    } else {
        Err(draft(subcode, "Give an example for each variable."))
    }
}

fn too_long(what: &str, most: usize) -> GraphError {
    draft(TOO_LONG, &format!("{what} has at most {most} characters."))
}

fn draft(subcode: i64, text: &str) -> GraphError {
    GraphError::draft(subcode, text)
}
