//! `/{phone-number-id}/block_users`: whom a number does not hear, and does not write to (whatsapp.md 12.6).
//!
//! Only people who wrote in the last 24 hours can be blocked, and no businesses. What the reference leaves open: the codes that tell so of one of
//! several people. Here they are 131047, and 131026 for an address that is no person's.

use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::params::Params;
use super::tokens::Caller;
use crate::Core;
use crate::lock;
use crate::state::State;
use crate::state::threads::ThreadKey;
use crate::world::Number;

/// People of one page, unless fewer are asked for.
const PAGE: usize = 100;

pub(super) fn answer(
    core: &Core,
    method: &str,
    number_id: &str,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let state = &mut *state;
    let number = caller.number(state, method, number_id)?.clone();
    if method == "GET" {
        return list(state, &number, params);
    }
    params.check_product()?;
    let named = params.get("block_users").and_then(Value::as_array);
    let named = named
        .filter(|named| !named.is_empty())
        .ok_or_else(|| GraphError::parameter("The parameter block_users is required."))?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for user in named {
        let who = Named::find(state, user)?;
        let changed = if method == "POST" {
            block(state, &number, &who, now)
        } else {
            unblock(state, &number, &who);
            Ok(())
        };
        match changed {
            Ok(()) => done.push(who.shown),
            Err(error) => {
                let mut shown = who.shown;
                shown["errors"] = json!([{
                    "message": error.message, "code": error.code, "error_data": {"details": error.details},
                }]);
                failed.push(shown);
            }
        }
    }
    let list = if method == "POST" {
        "added_users"
    } else {
        "removed_users"
    };
    let mut users = json!({ list: done });
    if failed.is_empty() {
        return Ok(json!({"messaging_product": "whatsapp", "block_users": users}));
    }
    // A full list concerns all of them alike.
    let is_full = failed.iter().all(|user| user["errors"][0]["code"] == 139_101);
    users["failed_users"] = json!(failed);
    let code = if is_full { 139_101 } else { 139_100 };
    let mut error = GraphError::whatsapp(code, "failed_users says whom it concerns, and why");
    error.beside = Some(Box::new(Map::from_iter([
        ("messaging_product".to_owned(), json!("whatsapp")),
        ("block_users".to_owned(), users),
    ])));
    Err(error)
}

/// Somebody in a request.
struct Named {
    /// As they are told of in the answer.
    shown: Value,
    customer: Option<String>,
}

impl Named {
    fn find(state: &State, user: &Value) -> Result<Self, GraphError> {
        let named = match (user["user"].as_str(), user["user_id"].as_str()) {
            (Some(input), _) => {
                let phone: String = input.chars().filter(char::is_ascii_digit).collect();
                Self {
                    customer: state.customers.by_phone(&phone).map(|customer| customer.id.clone()),
                    shown: json!({"input": input, "wa_id": phone}),
                }
            }
            (None, Some(input)) => Self {
                customer: state.customers.by_user_id(input).map(|customer| customer.id.clone()),
                shown: json!({"input": input, "user_id": input}),
            },
            (None, None) => return Err(GraphError::parameter("Each of block_users must have user or user_id.")),
        };
        Ok(named)
    }
}

fn block(state: &mut State, number: &Number, who: &Named, now: i64) -> Result<(), GraphError> {
    let customer = who
        .customer
        .clone()
        .ok_or_else(|| GraphError::whatsapp(131_026, "This is no person on WhatsApp"))?;
    let key = ThreadKey {
        customer,
        account: number.id.clone(),
    };
    let wrote = state.threads.get(&key).is_some_and(|thread| thread.window_is_open(now));
    if !wrote {
        return Err(GraphError::whatsapp(
            131_047,
            "Only people who wrote in the last 24 hours can be blocked",
        ));
    }
    let most = number.limits.block_list as usize;
    let blocked = state.blocked.entry(key.account).or_default();
    if blocked.contains(&key.customer) {
        return Ok(());
    }
    if most > 0 && blocked.len() >= most {
        return Err(GraphError::whatsapp(139_101, "The block list is full"));
    }
    blocked.push(key.customer);
    Ok(())
}

fn unblock(state: &mut State, number: &Number, who: &Named) {
    if let Some(blocked) = state.blocked.get_mut(&number.id) {
        blocked.retain(|customer| Some(customer) != who.customer.as_ref());
    }
}

/// By cursor; a cursor is somebody's place on the list, which ends when they are taken off it.
fn list(state: &State, number: &Number, params: &Params) -> Result<Value, GraphError> {
    let blocked = state.blocked.get(&number.id).map(Vec::as_slice).unwrap_or_default();
    let limit = params.text("limit").map_or(Ok(PAGE), str::parse).ok();
    let limit = limit
        .filter(|limit| (1..=PAGE).contains(limit))
        .ok_or_else(|| GraphError::parameter(format!("Param limit must be a number from 1 to {PAGE}.")))?;
    let start = match params.text("after") {
        None => 0,
        Some(after) => {
            let place = blocked.iter().position(|customer| cursor(number, customer) == after);
            place
                .map(|place| place + 1)
                .ok_or_else(|| GraphError::whatsapp(131_059, "The cursor is expired or corrupt"))?
        }
    };
    let page = &blocked[start..blocked.len().min(start + limit)];
    let data: Vec<Value> = page
        .iter()
        .filter_map(|id| state.customers.get(id))
        .map(|customer| {
            let mut shown = json!({"messaging_product": "whatsapp"});
            if let Some(phone) = customer.visible_phone() {
                shown["wa_id"] = json!(phone);
            }
            if let Some(user_id) = customer.visible_user_id() {
                shown["user_id"] = json!(user_id);
            }
            shown
        })
        .collect();
    let mut answer = json!({ "data": data });
    if let (Some(first), Some(last)) = (page.first(), page.last()) {
        let cursors = json!({"before": cursor(number, first), "after": cursor(number, last)});
        answer["paging"] = json!({ "cursors": cursors });
    }
    Ok(answer)
}

fn cursor(number: &Number, customer: &str) -> String {
    format!("QVFI{}", hex::encode(format!("blocked:{}:{customer}", number.id)))
}
