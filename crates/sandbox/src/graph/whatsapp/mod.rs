//! `POST /{phone-number-id}/messages` (whatsapp.md 9 and 10.1): checked as strictly as Meta does, then accepted. What a message may
//! say is in [`content`]; here is to whom, when, how fast, and what follows.
//!
//! Kinds: text; image, video, audio, document and sticker, by link or by id; location; contacts; reaction; template; interactive of every
//! type that the reference has; marking as read, with typing. Groups, pins and Direct Send are refused: no number here has them.

mod content;
mod look;
mod template;

use serde_json::{Value, json};

use content::{Body, missing, value_invalid};

use super::bounds;
use super::error::GraphError;
use super::limits::{self, Sending};
use super::params::Params;
use super::tokens::Caller;
use crate::Core;
use crate::control::ChangeKind;
use crate::engine::Act;
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::options::WindowRefusal;
use crate::state::State;
use crate::state::threads::{By, Message, Outgoing, Progress, Shown, ThreadKey};
use crate::webhooks::status::{Step, To};
use crate::world::Number;
pub(crate) use content::is_unreachable;

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
    let number = caller.number(state, "POST", number_id)?.clone();
    params.check_product()?;
    if params.get("status").is_some() || params.get("typing_indicator").is_some() {
        return mark_read(core, state, &number, params, now);
    }
    let address = address(state, &number, params)?;
    let kind = params.text("type").unwrap_or("text");
    let body = Body::read(state, &number, kind, params, now)?;
    let whole = params.whole();
    let callback_data = bounds::CALLBACK_DATA.optional(whole, "biz_opaque_callback_data")?;
    check_common(whole, &number)?;
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
    let sending = Sending {
        number: &number,
        key: key.as_ref(),
        window_is_open,
        now,
    };
    limits::check_status(state, &sending)?;
    limits::check_allowed(&number, address.phone(state))?;
    let outside_window = address.customer.is_some() && !body.is_template && !window_is_open;
    if outside_window && core.options.rules.window_refusal == WindowRefusal::Answer && !address.swallowed {
        return Err(GraphError::whatsapp(
            131_047,
            "More than 24 hours have passed since the recipient last wrote to this number.",
        ));
    }
    limits::take_whatsapp(core, state, &sending)?;
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
    let is_blocked = key
        .as_ref()
        .and_then(|key| state.threads.get(key))
        .is_some_and(|thread| thread.is_blocked);
    let mut fails_with = fail_with
        .or_else(|| (address.customer.is_none() || is_blocked).then_some(131_026))
        .or_else(|| {
            key.as_ref()
                .is_some_and(|key| state.has_blocked(key))
                .then_some(130_403)
        })
        .or_else(|| outside_window.then_some(131_047))
        .or_else(|| (body.needs_phone && address.by_user_id).then_some(131_062))
        .or_else(|| address.identity_mismatch(state, params).then_some(137_000))
        .or(body.fails_with);
    if fails_with.is_none() && body.category.as_deref() == Some("marketing") {
        fails_with = limits::take_marketing(core, state, &sending);
    }
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
    /// The phone number that it leads to, where one is known.
    fn phone<'a>(&'a self, state: &'a State) -> Option<&'a str> {
        let of_customer = || state.customers.get(self.customer.as_deref()?)?.phone.as_deref();
        self.recipient_id.as_deref().or_else(of_customer)
    }

    /// Whether the message is only for somebody with another identity key (whatsapp.md 9.1).
    fn identity_mismatch(&self, state: &State, params: &Params) -> bool {
        let wanted = params.text("recipient_identity_key_hash");
        let customer = self.customer.as_deref().and_then(|id| state.customers.get(id));
        wanted
            .zip(customer)
            .is_some_and(|(wanted, customer)| wanted != state.ids.identity(&customer.id))
    }

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

/// What may stand beside the content (whatsapp.md 9.1).
fn check_common(whole: &Value, number: &Number) -> Result<(), GraphError> {
    let account = &whole["messaging_account_id"];
    if !account.is_null() && *account != number.business_account_id {
        return Err(GraphError::parameter(
            "Param messaging_account_id must be the messaging account of this number.",
        ));
    }
    // Direct Send needs a limit of 100K.
    if !whole["category"].is_null() || !whole["direct_send_config"].is_null() {
        return Err(GraphError::parameter("Direct Send is not available for this number."));
    }
    Ok(())
}

fn address(state: &State, number: &Number, params: &Params) -> Result<Address, GraphError> {
    match params.text("recipient_type") {
        None | Some("individual") => {}
        // There are no groups.
        Some("group") => return Err(GraphError::whatsapp(131_041, "The group is unknown")),
        Some(_) => return Err(value_invalid("recipient_type must be individual or group")),
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
