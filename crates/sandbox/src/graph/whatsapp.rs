//! `POST /{phone-number-id}/messages` (whatsapp.md 9 and 10.1): checked as strictly as Meta does, then accepted.
//!
//! Kinds: text; image, video, audio, document and sticker, by link or by id; location; contacts; reaction; template; interactive with
//! buttons, a list, or one link; marking as read, with typing. Other kinds are refused with 131051 rather than accepted.

use serde_json::{Value, json};

use super::error::GraphError;
use super::params::Params;
use super::tokens::Caller;
use crate::Core;
use crate::control::ChangeKind;
use crate::engine::Act;
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::options::WindowRefusal;
use crate::state::State;
use crate::state::threads::{By, Choice, Message, Outgoing, Place, Pricing, Progress, Shown, ThreadKey};
use crate::webhooks::status::{Step, To};
use crate::world::{Number, Template};

/// 30 days: how old a message may be that is marked as read or reacted to (whatsapp.md 9.2, 9.4).
const AGE_MAX_MILLIS: i64 = 30 * 86_400_000;
/// How long the typing indicator is shown (whatsapp.md 9.4).
const TYPING_MILLIS: i64 = 25_000;

/// Accepts a message or refuses it. `fail_with` makes an accepted message fail later, for a fault.
pub(crate) fn send(
    core: &Core,
    number_id: &str,
    caller: &Caller,
    params: &Params,
    fail_with: Option<i64>,
) -> Result<Value, GraphError> {
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let state = &mut *state;
    let number = state
        .number(number_id)
        .ok_or_else(|| GraphError::no_object("POST", number_id))?
        .clone();
    caller.may_use(&number.business_account_id)?;
    match params.text("messaging_product") {
        Some("whatsapp") => {}
        Some(_) => {
            return Err(GraphError::parameter(
                "Param messaging_product must be one of {WHATSAPP}",
            ));
        }
        None => {
            return Err(GraphError::parameter("The parameter messaging_product is required."));
        }
    }
    if params.get("status").is_some() || params.get("typing_indicator").is_some() {
        return mark_read(core, state, &number, params, now);
    }
    let address = address(state, &number, params)?;
    let kind = params.text("type").unwrap_or("text");
    let body = Body::read(state, &number, kind, params, now)?;
    let callback_data = match params.get("biz_opaque_callback_data") {
        None => None,
        Some(Value::String(data)) if data.chars().count() <= 512 => Some(data.clone()),
        Some(_) => {
            return Err(GraphError::parameter(
                "Param biz_opaque_callback_data must be at most 512 characters long.",
            ));
        }
    };
    let reply_to = params
        .get("context")
        .map(|context| {
            context["message_id"]
                .as_str()
                .filter(|_| kind != "reaction")
                .map(str::to_owned)
                .ok_or_else(|| value_invalid("context.message_id is missing, or the message is a reaction"))
        })
        .transpose()?;
    if core.engine.is_full() {
        return Err(GraphError::busy());
    }
    let key = address.customer.as_ref().map(|customer| ThreadKey {
        customer: customer.clone(),
        account: number.id.clone(),
    });
    let window_is_open = key
        .as_ref()
        .and_then(|key| state.threads.get(key))
        .is_some_and(|thread| thread.window_is_open(now));
    let outside_window = address.customer.is_some() && !body.is_template && !window_is_open;
    if outside_window && core.options.rules.window_refusal == WindowRefusal::Answer && !address.swallowed {
        return Err(GraphError::whatsapp(
            131_047,
            "More than 24 hours have passed since the recipient last wrote to this number.",
        ));
    }
    check_pace(core, state, &number, key.as_ref(), now)?;
    if let Some((message_id, emoji)) = &body.reaction {
        let message = key
            .as_ref()
            .and_then(|key| state.message_mut(key, message_id))
            .filter(|message| message.shown.kind != "deleted" && now - message.at <= AGE_MAX_MILLIS)
            .ok_or_else(|| value_invalid("The message to react to was not found, is too old, or was deleted"))?;
        if !outside_window && fail_with.is_none() {
            message.react(By::Business, emoji.as_deref());
        }
    }
    let id = if let Some(key) = &key {
        let thread = state.thread_mut(key);
        thread.written_by_business += 1;
        let count = thread.written_by_business;
        state.ids.wamid("sent", &[&number.id, &key.customer], count)
    } else {
        state.strays += 1;
        state.ids.wamid("stray", &[&number.id], state.strays)
    };
    let contact = address.contact();
    let fails_with = fail_with
        .or_else(|| address.customer.is_none().then_some(131_026))
        .or_else(|| outside_window.then_some(131_047))
        .or_else(|| (body.needs_phone && address.by_user_id).then_some(131_062));
    accept(
        core,
        state,
        &number,
        address,
        body,
        Accepted {
            id: &id,
            callback_data,
            reply_to,
            window_is_open,
            fails_with,
            now,
        },
    );
    let mut message = json!({"id": id});
    if kind == "template" {
        message["message_status"] = json!("accepted");
    }
    Ok(json!({"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]}))
}

/// The number's throughput, and the pair limit (whatsapp.md 13.1, 13.2). Only sends count here, and a refused one doesn't.
fn check_pace(
    core: &Core,
    state: &mut State,
    number: &Number,
    key: Option<&ThreadKey>,
    now: i64,
) -> Result<(), GraphError> {
    let sent = state.sent_at.entry(number.id.clone()).or_default();
    while sent.front().is_some_and(|at| *at <= now - 1_000) {
        sent.pop_front();
    }
    if sent.len() >= number.throughput as usize {
        return Err(GraphError::whatsapp(
            130_429,
            "Too many messages were sent from this number in a short period",
        ));
    }
    if core.options.rules.pair_limit
        && let Some(key) = key
        && !state.thread_mut(key).pair.take(now)
    {
        return Err(GraphError::whatsapp(
            131_056,
            "Too many messages sent from this business number to the same user in a short time.",
        ));
    }
    state.sent_at.entry(number.id.clone()).or_default().push_back(now);
    Ok(())
}

struct Accepted<'a> {
    id: &'a str,
    callback_data: Option<String>,
    reply_to: Option<String>,
    window_is_open: bool,
    fails_with: Option<i64>,
    now: i64,
}

/// Keeps the message and plans its first status.
fn accept(core: &Core, state: &mut State, number: &Number, address: Address, body: Body, accepted: Accepted<'_>) {
    let Accepted { id, now, .. } = accepted;
    let subject = Subject {
        account: Some(&number.id),
        customer: address.customer.as_deref(),
        message_id: Some(id),
    };
    let detail = json!({
        "kind": body.shown.kind, "text": body.shown.text, "template": body.shown.template, "to": address.input,
        "callbackData": accepted.callback_data,
    });
    if address.swallowed {
        core.ledger.write(now, LedgerKind::Swallowed, &subject, detail);
        return;
    }
    core.ledger.write(now, LedgerKind::Accepted, &subject, detail);
    let is_reaction = body.reaction.is_some();
    let outgoing = Outgoing {
        message_id: id.to_owned(),
        account: number.id.clone(),
        customer: address.customer.clone(),
        recipient_id: address.recipient_id,
        recipient_user_id: address.recipient_user_id,
        by_user_id: address.by_user_id,
        callback_data: accepted.callback_data,
        pricing: (!is_reaction).then(|| body.pricing(accepted.window_is_open)),
        is_reaction,
    };
    let to = accepted.fails_with.map_or(To::Sent, |code| To::Failed { code });
    if let Some(customer) = address.customer
        && accepted.fails_with.is_none()
    {
        let key = ThreadKey {
            customer,
            account: number.id.clone(),
        };
        if !is_reaction {
            let message = Message {
                id: id.to_owned(),
                by: By::Business,
                at: now,
                progress: Progress::Sent,
                shown: Shown {
                    reply_to: accepted.reply_to,
                    ..body.shown
                },
                reactions: Vec::new(),
                edits: 0,
                outgoing: Some(outgoing.clone()),
            };
            state.add_message(&key, message);
            // The indicator disappears with the reply (whatsapp.md 9.4).
            state.thread_mut(&key).typing_until = 0;
        }
        let what = if is_reaction {
            ChangeKind::Reaction
        } else {
            ChangeKind::Message
        };
        core.changes.tell(what, &key.customer, &key.account);
    }
    let step = Step { outgoing, to };
    core.engine
        .plan(core.after(core.options.delays.sent), Act::Progress(Box::new(step)));
}

/// Marks a customer's message and all earlier ones as read (whatsapp.md 9.4).
fn mark_read(core: &Core, state: &mut State, number: &Number, params: &Params, now: i64) -> Result<Value, GraphError> {
    if params.text("status") != Some("read") {
        return Err(value_invalid("status must be read"));
    }
    let message_id = params
        .text("message_id")
        .ok_or_else(|| missing("message_id"))?
        .to_owned();
    let types = match params.get("typing_indicator") {
        None => false,
        Some(indicator) if indicator["type"] == "text" => true,
        Some(_) => return Err(value_invalid("typing_indicator.type must be text")),
    };
    let key = state
        .message_threads
        .get(&message_id)
        .filter(|key| key.account == number.id)
        .cloned();
    let thread = key.as_ref().and_then(|key| state.threads.get_mut(key));
    let position = thread.as_ref().and_then(|thread| {
        thread.messages.iter().position(|message| {
            message.id == message_id && message.by == By::Customer && now - message.at <= AGE_MAX_MILLIS
        })
    });
    let (Some(key), Some(thread), Some(position)) = (key, thread, position) else {
        return Err(value_invalid(
            "message_id is not a message that this number received in the last 30 days",
        ));
    };
    for message in thread.messages.iter_mut().take(position + 1) {
        if message.by == By::Customer {
            message.progress = Progress::Read;
        }
    }
    core.changes.tell(ChangeKind::Status, &key.customer, &key.account);
    if types {
        thread.typing_until = now + TYPING_MILLIS;
        core.changes.tell(ChangeKind::Typing, &key.customer, &key.account);
    }
    Ok(json!({"success": true}))
}

/// Where a message goes.
#[derive(Debug)]
struct Address {
    /// As it was given.
    input: String,
    /// The customer behind it; `None`: nobody on WhatsApp has it.
    customer: Option<String>,
    recipient_id: Option<String>,
    recipient_user_id: Option<String>,
    by_user_id: bool,
    /// A business-scoped user id stood in `to`: accepted, and never delivered (whatsapp.md 6.4).
    swallowed: bool,
}

impl Address {
    /// The element of `contacts` in the answer (whatsapp.md 9.1, 6.4).
    fn contact(&self) -> Value {
        let mut contact = json!({"input": self.input});
        if self.swallowed {
            contact["wa_id"] = json!(self.input);
        } else if self.by_user_id {
            contact["user_id"] = json!(self.input);
        } else {
            contact["wa_id"] = json!(self.recipient_id);
            if let Some(user_id) = &self.recipient_user_id {
                contact["user_id"] = json!(user_id);
            }
        }
        contact
    }
}

fn address(state: &State, number: &Number, params: &Params) -> Result<Address, GraphError> {
    match params.text("recipient_type") {
        None | Some("individual") => {}
        Some(_) => {
            return Err(value_invalid(
                "recipient_type must be individual; groups are not simulated",
            ));
        }
    }
    // If both are given, `to` wins (whatsapp.md 6.4).
    if let Some(to) = params.text("to").filter(|to| !to.is_empty()) {
        if is_user_id(to) {
            return Ok(Address {
                input: to.to_owned(),
                customer: None,
                recipient_id: None,
                recipient_user_id: None,
                by_user_id: false,
                swallowed: true,
            });
        }
        let phone: String = to.chars().filter(|letter| !" -()".contains(*letter)).collect();
        let phone = phone.strip_prefix('+').unwrap_or(&phone).to_owned();
        if !(5..=15).contains(&phone.len()) || !phone.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(value_invalid("to is not a phone number"));
        }
        if phone == number.phone {
            return Err(GraphError::whatsapp(
                131_021,
                "Recipient and sender are the same number",
            ));
        }
        let customer = state.customers.by_phone(&phone);
        return Ok(Address {
            input: to.to_owned(),
            customer: customer.map(|customer| customer.id.clone()),
            recipient_user_id: customer
                .and_then(|customer| customer.visible_user_id())
                .map(str::to_owned),
            recipient_id: Some(phone),
            by_user_id: false,
            swallowed: false,
        });
    }
    let recipient = params
        .text("recipient")
        .filter(|recipient| !recipient.is_empty())
        .ok_or_else(|| GraphError::parameter("The parameter to is required."))?;
    if !is_user_id(recipient) {
        return Err(value_invalid("recipient is not a business-scoped user id"));
    }
    let customer = state.customers.by_user_id(recipient);
    Ok(Address {
        input: recipient.to_owned(),
        customer: customer.map(|customer| customer.id.clone()),
        recipient_id: customer
            .and_then(|customer| customer.visible_phone())
            .map(str::to_owned),
        recipient_user_id: Some(recipient.to_owned()),
        by_user_id: true,
        swallowed: false,
    })
}

/// `^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$` (whatsapp.md 6.1).
fn is_user_id(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else {
        return false;
    };
    let rest = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&rest.len())
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What a message says, once checked.
#[derive(Debug)]
struct Body {
    shown: Shown,
    is_template: bool,
    /// The template's category, in lower case.
    category: Option<String>,
    /// Authentication templates go to phones alone (whatsapp.md 6.4).
    needs_phone: bool,
    /// The message reacted to, and the emoji; none takes the reaction back.
    reaction: Option<(String, Option<String>)>,
}

impl Body {
    fn read(state: &State, number: &Number, kind: &str, params: &Params, now: i64) -> Result<Self, GraphError> {
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
                    media.is_some_and(|media| media.owner == number.id && super::media::fits(&media.mime, kind))
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
            _ => body.template(state, part)?,
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
            .find(|template| template.name == name && template.language == language && template.approved)
            .ok_or_else(|| {
                GraphError::whatsapp(132_001, format!("template name ({name}) does not exist in {language}"))
            })?;
        let no_components = Vec::new();
        let components = match part.get("components") {
            None | Some(Value::Null) => &no_components,
            Some(Value::Array(components)) => components,
            Some(_) => {
                return Err(GraphError::parameter("Param template['components'] must be an array."));
            }
        };
        let header = fill(template.header.as_deref().unwrap_or_default(), components, "header")?;
        let text = fill(&template.body, components, "body")?;
        if text.chars().count() > 1024 {
            return Err(GraphError::whatsapp(
                132_005,
                "The body is longer than 1024 characters once it is filled in",
            ));
        }
        self.shown.buttons = buttons(template, components)?;
        self.shown.text = Some(text);
        self.shown.header = (!header.is_empty()).then_some(header);
        self.shown.footer.clone_from(&template.footer);
        self.shown.template = Some(name.to_owned());
        self.is_template = true;
        self.category = Some(template.category.to_lowercase());
        self.needs_phone = template.category == "AUTHENTICATION";
        Ok(())
    }

    /// whatsapp.md 5: what the statuses say about the price.
    fn pricing(&self, window_is_open: bool) -> Pricing {
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

/// The labels of a template's quick replies, with the payloads that were sent; the label where none was.
fn buttons(template: &Template, components: &[Value]) -> Result<Vec<Choice>, GraphError> {
    let mut choices: Vec<Choice> = template
        .buttons
        .iter()
        .map(|label| Choice {
            title: label.clone(),
            payload: label.clone(),
            description: None,
            url: None,
        })
        .collect();
    for component in components.iter().filter(|component| is_type(component, "button")) {
        // A string or an integer.
        let index = match &component["index"] {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let choice = index
            .and_then(|index| choices.get_mut(usize::try_from(index).ok()?))
            .filter(|_| is_sub_type(component, "quick_reply"))
            .ok_or_else(|| GraphError::whatsapp(132_012, "The template has no such button"))?;
        if let Some(payload) = component["parameters"][0]["payload"].as_str() {
            payload.clone_into(&mut choice.payload);
        }
    }
    Ok(choices)
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

fn missing(name: &str) -> GraphError {
    GraphError::whatsapp(131_008, format!("Parameter {name} is required"))
}

fn value_invalid(details: &str) -> GraphError {
    GraphError::whatsapp(131_009, details)
}
