//! How a WhatsApp message moves on after it was accepted: sent, delivered, read; or failed (whatsapp.md 5).

use serde_json::{Map, Value, json};

use super::whatsapp;
use crate::Core;
use crate::customers::acts;
use crate::engine::Act;
use crate::graph::error::async_error;
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::state::State;
use crate::state::threads::{Outgoing, ThreadKey};
use crate::webhooks::Event;

/// The next step of a message.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) outgoing: Outgoing,
    pub(crate) to: To,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Sent,
    Delivered,
    Failed { code: i64 },
}

/// Takes the step, makes its webhook, and plans the next one.
pub(crate) fn take(core: &Core, step: Step) {
    let now = core.clock.now();
    let Step { outgoing, to } = step;
    let mut state = lock(&core.state);
    let subject = Subject {
        account: Some(&outgoing.account),
        customer: outgoing.customer.as_deref(),
        message_id: Some(&outgoing.message_id),
    };
    match to {
        To::Failed { code } => {
            core.ledger
                .write(now, LedgerKind::Failed, &subject, json!({"code": code}));
            let event = failed(&state, &outgoing, code, now);
            core.emit(&state, event);
        }
        To::Sent => {
            let event = moved(&state, &outgoing, "sent", now);
            core.emit(&state, event);
            if !outgoing.is_reaction {
                let due = core.after(core.options.delays.delivered);
                let step = Step {
                    outgoing,
                    to: To::Delivered,
                };
                core.engine.plan(due, Act::Progress(Box::new(step)));
            }
        }
        To::Delivered => {
            core.ledger.write(now, LedgerKind::Delivered, &subject, Value::Null);
            let event = moved(&state, &outgoing, "delivered", now);
            core.emit(&state, event);
            if let Some(customer) = &outgoing.customer {
                let key = ThreadKey {
                    customer: customer.clone(),
                    account: outgoing.account.clone(),
                };
                acts::arrived(core, &mut state, &key, &outgoing.message_id);
            }
        }
    }
}

/// The status `read`; called when the customer looks at the thread.
pub(crate) fn read(state: &State, outgoing: &Outgoing, now: i64) -> Option<Event> {
    moved(state, outgoing, "read", now)
}

/// The status `played`; called when the customer plays a voice message for the first time.
pub(crate) fn played(state: &State, outgoing: &Outgoing, now: i64) -> Option<Event> {
    moved(state, outgoing, "played", now)
}

/// A status on the way up.
fn moved(state: &State, outgoing: &Outgoing, status: &'static str, now: i64) -> Option<Event> {
    let number = state.number(&outgoing.account)?;
    let mut element = element(outgoing, status, now);
    whatsapp::put(&mut element, "recipient_user_id", outgoing.recipient_user_id.as_deref());
    // On `sent`, and on exactly one of `delivered` and `read`; here the first one.
    if !matches!(status, "read" | "played")
        && let Some(pricing) = &outgoing.pricing
    {
        let billable = pricing.kind == "regular";
        element.insert(
            "pricing".to_owned(),
            json!({"billable": billable, "pricing_model": "PMP", "type": pricing.kind, "category": pricing.category}),
        );
    }
    let customer = outgoing.customer.as_deref().and_then(|id| state.customers.get(id));
    // The username comes on delivered and read alone.
    let contact = customer.map(|customer| whatsapp::contact(customer, status != "sent"));
    let id = format!("{}:{status}", outgoing.message_id);
    Some(whatsapp::status(number, contact, id, &element))
}

fn failed(state: &State, outgoing: &Outgoing, code: i64, now: i64) -> Option<Event> {
    let number = state.number(&outgoing.account)?;
    let mut element = element(outgoing, "failed", now);
    // Absent on failures of messages that were sent to a phone.
    if outgoing.by_user_id {
        whatsapp::put(&mut element, "recipient_user_id", outgoing.recipient_user_id.as_deref());
    }
    element.insert("errors".to_owned(), json!([async_error(code)]));
    let id = format!("{}:failed", outgoing.message_id);
    Some(whatsapp::status(number, None, id, &element))
}

fn element(outgoing: &Outgoing, status: &str, now: i64) -> Map<String, Value> {
    let mut element = Map::new();
    element.insert("id".to_owned(), json!(outgoing.message_id));
    element.insert("status".to_owned(), json!(status));
    element.insert("timestamp".to_owned(), json!(whatsapp::seconds(now)));
    whatsapp::put(&mut element, "recipient_id", outgoing.recipient_id.as_deref());
    whatsapp::put(
        &mut element,
        "biz_opaque_callback_data",
        outgoing.callback_data.as_deref(),
    );
    element
}
