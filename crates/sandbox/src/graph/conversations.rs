//! Instagram's conversations as a business reads them, to find what it missed (instagram.md 3.9).
//!
//! Only the newest 20 messages of one have details; of the others, and of what was taken back, one reads that they were deleted. The reference
//! names the fields of files, shared posts, stories and reactions, and not their shape: they are known here, and without a value.

use serde_json::{Value, json};

use super::error::GraphError;
use super::fields::{self, Field};
use super::nodes::object;
use super::params::Params;
use super::posts::{iso, permit};
use super::tokens::{Caller, IG_MESSAGES};
use crate::Core;
use crate::lock;
use crate::state::State;
use crate::state::threads::{By, Message, Thread, ThreadKey};
use crate::state::usage::SECOND;
use crate::world::InstagramAccount;

/// Messages of a conversation that can be read.
const READABLE: usize = 20;
/// Calls in any second for each account (instagram.md 6): 613 beyond it.
const CALLS_PER_SECOND: u32 = 2;
/// Conversations of one page, unless fewer are asked for.
const PAGE: usize = 25;
const PREFIX: &str = "aWdfZAG06";

/// `GET /{ig-id}/conversations`: those with the newest messages first.
pub(super) fn list(core: &Core, account_id: &str, caller: &Caller, params: &Params) -> Result<Value, GraphError> {
    let mut state = lock(&core.state);
    let account = readable(core, &mut state, account_id, caller)?;
    // An enum of Graph's: Meta's own SDK says it in capitals.
    if !params.required("platform")?.eq_ignore_ascii_case("instagram") {
        return Err(GraphError::parameter("Param platform must be one of {INSTAGRAM}"));
    }
    let asked = asked(params, &["id", "updated_time"])?;
    // Nobody has no conversations.
    let only = params.text("user_id").map(|igsid| {
        let customer = state.customers.by_igsid(igsid);
        customer.map(|customer| customer.id.clone()).unwrap_or_default()
    });
    let limit = params.text("limit").map_or(Ok(PAGE), str::parse).ok();
    let limit = limit
        .filter(|limit| *limit > 0)
        .ok_or_else(|| GraphError::parameter("Param limit must be a positive number"))?;
    let mut found: Vec<(&ThreadKey, &Thread, i64)> = state
        .threads
        .iter()
        .filter(|(key, _)| key.account == account.id && only.as_ref().is_none_or(|only| key.customer == *only))
        .filter_map(|(key, thread)| Some((key, thread, thread.messages.back()?.at)))
        .collect();
    found.sort_by(|(one, _, at), (other, _, than)| than.cmp(at).then_with(|| one.customer.cmp(&other.customer)));
    let start = match params.text("after") {
        None => 0,
        Some(after) => {
            let place = found.iter().position(|(key, ..)| id_of(key) == after);
            place.ok_or_else(|| GraphError::parameter("Invalid cursor"))? + 1
        }
    };
    let page = &found[start..found.len().min(start + limit.min(PAGE))];
    let data: Result<Vec<Value>, GraphError> = page
        .iter()
        .map(|(key, thread, _)| conversation(&state, &account, key, thread, &asked))
        .collect();
    let mut answer = json!({ "data": data? });
    if let (Some((first, ..)), Some((last, ..))) = (page.first(), page.last()) {
        answer["paging"] = json!({"cursors": {"before": id_of(first), "after": id_of(last)}});
    }
    Ok(answer)
}

/// `GET /{conversation-id}` and `GET /{message-id}`; `None` where there is neither.
pub(super) fn look_up(core: &Core, id: &str, caller: &Caller, params: &Params) -> Option<Result<Value, GraphError>> {
    let mut state = lock(&core.state);
    let of_message = state.message_threads.get(id).cloned();
    let key = of_message.clone().or_else(|| key_of(id))?;
    if state.account(&key.account).is_none() || !state.threads.contains_key(&key) {
        return None;
    }
    let read = |state: &mut State| {
        let account = readable(core, state, &key.account, caller)?;
        let thread = state
            .threads
            .get(&key)
            .ok_or_else(|| GraphError::no_object("GET", id))?;
        if of_message.is_none() {
            let asked = asked(params, &["id", "updated_time"])?;
            return conversation(state, &account, &key, thread, &asked);
        }
        let mut newest = thread.messages.iter().rev().take(READABLE);
        let message = newest
            .find(|message| message.id == id && message.shown.kind != "deleted")
            .ok_or_else(|| GraphError::new(400, 9_000_001, "(#9000001) The message was deleted"))?;
        shown(state, &account, &key, message, &asked(params, &["id", "created_time"])?)
    };
    Some(read(&mut state))
}

/// The account, if the caller may read its messages now.
fn readable(core: &Core, state: &mut State, id: &str, caller: &Caller) -> Result<InstagramAccount, GraphError> {
    let account = state.account(id).cloned();
    let account = account.ok_or_else(|| GraphError::no_object("GET", id))?;
    caller.may_use(&account.id)?;
    permit(caller, IG_MESSAGES)?;
    let now = core.clock.now();
    let usage = state.usage.accounts.entry(account.id.clone()).or_default();
    if usage.conversations.call(now, SECOND, CALLS_PER_SECOND) {
        Ok(account)
    } else {
        let message = "(#613) Calls to this api have exceeded the rate limit.";
        Err(GraphError::new(400, 613, message).kind("IGApiException"))
    }
}

fn asked(params: &Params, usual: &[&str]) -> Result<Vec<Field>, GraphError> {
    match params.list("fields") {
        Some(fields) => fields::parse(&fields.join(",")),
        None => fields::parse(&usual.join(",")),
    }
}

fn conversation(
    state: &State,
    account: &InstagramAccount,
    key: &ThreadKey,
    thread: &Thread,
    asked: &[Field],
) -> Result<Value, GraphError> {
    let messages = match asked.iter().find(|field| field.name == "messages") {
        None => Value::Null,
        Some(field) => {
            let usual = fields::parse("id,created_time")?;
            let wanted = field.fields.as_ref().unwrap_or(&usual);
            let most = field
                .modifier("limit")
                .and_then(|limit| limit.parse().ok())
                .unwrap_or(READABLE);
            let newest = thread.messages.iter().rev().take(READABLE.min(most));
            let listed: Result<Vec<Value>, GraphError> = newest
                .filter(|message| message.shown.kind != "deleted")
                .map(|message| shown(state, account, key, message, wanted))
                .collect();
            json!({ "data": listed? })
        }
    };
    let unread = thread
        .messages
        .iter()
        .rev()
        .take_while(|message| message.by == By::Customer);
    let fields = object(json!({
        "id": id_of(key),
        "updated_time": thread.messages.back().map(|message| iso(message.at)),
        "participants": {"data": [customer(state, key), business(account)]},
        "messages": messages,
        "message_count": thread.messages.len(),
        "unread_count": unread.count(),
        "can_reply": null, "is_owner": null,
    }));
    fields::select(&fields, asked, "UnifiedThread").map(Value::Object)
}

fn shown(
    state: &State,
    account: &InstagramAccount,
    key: &ThreadKey,
    message: &Message,
    asked: &[Field],
) -> Result<Value, GraphError> {
    let (customer, business) = (customer(state, key), business(account));
    let (from, to) = match message.by {
        By::Customer => (customer, business),
        By::Business => (business, customer),
    };
    let is_unsupported = message.shown.kind == "unsupported";
    let fields = object(json!({
        "id": message.id,
        "created_time": iso(message.at),
        "from": from,
        "to": {"data": [to]},
        // What is no text has an empty one.
        "message": message.shown.text.clone().unwrap_or_default(),
        "reply_to": message.shown.reply_to.as_ref().map(|mid| json!({ "mid": mid })),
        "is_unsupported": is_unsupported.then_some(true),
        "attachments": null, "shares": null, "story": null, "reactions": null,
    }));
    fields::select(&fields, asked, "Message").map(Value::Object)
}

fn customer(state: &State, key: &ThreadKey) -> Value {
    let customer = state.customers.get(&key.customer);
    json!({
        "username": customer.and_then(|customer| customer.username.as_deref()),
        "id": customer.and_then(|customer| customer.igsid.as_deref()),
    })
}

fn business(account: &InstagramAccount) -> Value {
    json!({"username": account.username, "id": account.id})
}

/// An id says which conversation it is of, so that there is nothing to keep.
fn id_of(key: &ThreadKey) -> String {
    format!("{PREFIX}{}", hex::encode(format!("{}:{}", key.account, key.customer)))
}

fn key_of(id: &str) -> Option<ThreadKey> {
    let text = String::from_utf8(hex::decode(id.strip_prefix(PREFIX)?).ok()?).ok()?;
    let (account, customer) = text.split_once(':')?;
    Some(ThreadKey {
        customer: customer.to_owned(),
        account: account.to_owned(),
    })
}
