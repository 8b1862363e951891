//! `POST /{ig-id}/messages` (instagram.md 3): messages, sender actions, the window, the echo.
//!
//! What a message may say is in [`message`]; here is to whom, when, how fast, and what follows. Private replies to comments are messages too.

mod message;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::error::GraphError;
use super::limits::{self, Kind};
use super::params::Params;
use super::tokens::Caller;
use super::{After, Answer, Said};
use crate::Core;
use crate::control::ChangeKind;
use crate::engine::Act;
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::options::EchoTiming;
use crate::state::State;
use crate::state::threads::{By, Message, Progress, ThreadKey};
use crate::webhooks::instagram;
use message::Sender;

/// With the tag HUMAN_AGENT (instagram.md 3.4).
const HUMAN_AGENT_MILLIS: i64 = 7 * 86_400_000;
/// How long after a comment it may have a private reply (instagram.md 3.6).
const PRIVATE_REPLY_MILLIS: i64 = 7 * 86_400_000;
/// How long typing is shown (instagram.md 3.3).
const TYPING_MILLIS: i64 = 20_000;

/// Accepts a message or a sender action, or refuses it.
pub(crate) fn send(core: &Core, account_id: &str, caller: &Caller, params: &Params) -> Result<Answer, GraphError> {
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let state = &mut *state;
    let settings = state
        .account(account_id)
        .ok_or_else(|| GraphError::no_object("POST", account_id))?
        .clone();
    let account = settings.id.clone();
    caller.may_use(&account)?;
    let recipient = params
        .get("recipient")
        .ok_or_else(|| GraphError::parameter("The parameter recipient is required."))?;
    let message = params.get("message");
    // An enum of Graph's: Meta's own SDK says it in capitals, the reference in small letters.
    let action = params.text("sender_action").map(str::to_ascii_lowercase);
    let action = action.as_deref();
    if message.is_some() && action.is_some() {
        return Err(invalid("message and sender_action exclude each other").subcode(2_018_014));
    }
    let comment_id = recipient["comment_id"].as_str();
    let key = match comment_id {
        Some(id) => commented(state, &account, id, now)?,
        None => ThreadKey {
            customer: addressed(state, recipient)?,
            account: account.clone(),
        },
    };
    if comment_id.is_none() {
        check_window(state, &key, params, now)?;
    }
    let customer = state.customers.get(&key.customer);
    let igsid = customer.and_then(|customer| customer.igsid.clone()).unwrap_or_default();
    if let Some(action) = action {
        act(core, state, &key, action, params, now)?;
        return Ok(Answer::just(json!({"recipient_id": igsid})));
    }
    let message = message.ok_or_else(|| GraphError::parameter("Requires either message or sender_action."))?;
    let sender = Sender {
        state,
        account: &settings,
        now,
    };
    let (shown, echoed) = sender.read(message, params)?;
    if core.engine.is_full() {
        return Err(GraphError::busy());
    }
    let is_live = comment_id
        .and_then(|id| state.comments.get(id))
        .is_some_and(|comment| comment.is_live);
    // On broadcasts there is no limit an hour (6).
    let kind = if comment_id.is_some() && !is_live {
        Kind::PrivateReply
    } else if matches!(shown.kind.as_str(), "audio" | "video") {
        Kind::Media
    } else {
        Kind::Plain
    };
    limits::take_instagram(state, &settings, &key, kind, now)?;
    if let Some(comment) = comment_id.and_then(|id| state.comments.get_mut(id)) {
        comment.is_answered = true;
    }
    let thread = state.thread_mut(&key);
    thread.written_by_business += 1;
    thread.typing_until = 0;
    let count = thread.written_by_business;
    let mid = state.ids.mid("sent", &[&account, &key.customer], count);
    let subject = Subject {
        account: Some(&account),
        customer: Some(&key.customer),
        message_id: Some(&mid),
    };
    let detail = json!({"kind": shown.kind, "text": shown.text, "to": igsid});
    core.ledger.write(now, LedgerKind::Accepted, &subject, detail);
    let kept = Message {
        id: mid.clone(),
        by: By::Business,
        at: now,
        progress: Progress::Sent,
        shown,
        reactions: Vec::new(),
        edits: 0,
        outgoing: None,
    };
    state.add_message(&key, kept);
    core.changes.tell(ChangeKind::Message, &key.customer, &key.account);
    let arrival = Act::Arrive {
        customer: key.customer.clone(),
        account: account.clone(),
        message_id: mid.clone(),
    };
    let delays = core.options.delays;
    core.engine
        .plan(core.after(delays.sent.saturating_add(delays.delivered)), arrival);
    let mut echo = instagram::echo(&account, &igsid, &mid, now, echoed);
    let after = match core.options.rules.echo {
        EchoTiming::Never => After::Nothing,
        EchoTiming::AfterAnswer => After::Emit(Box::new(echo)),
        EchoTiming::BeforeAnswer => {
            let (told, attempted) = oneshot::channel();
            echo.attempted = Some(told);
            core.emit(state, Some(echo));
            After::Wait(attempted)
        }
    };
    Ok(Answer {
        said: Said::Json(json!({"recipient_id": igsid, "message_id": mid})),
        after,
    })
}

/// The customer behind an Instagram-scoped id.
fn addressed(state: &State, recipient: &Value) -> Result<String, GraphError> {
    let igsid = match &recipient["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => {
            return Err(GraphError::parameter("The parameter recipient[id] is required."));
        }
    };
    let customer = state.customers.by_igsid(&igsid);
    customer
        .map(|customer| customer.id.clone())
        .ok_or_else(|| invalid("No matching Instagram user").subcode(2_534_014))
}

/// Whoever wrote a comment that may still have its one private reply (instagram.md 3.6). Which error a second and a late one get
/// is not documented: both of these are reported.
fn commented(state: &State, account: &str, comment_id: &str, now: i64) -> Result<ThreadKey, GraphError> {
    let comment = state.comments.get(comment_id);
    let comment = comment
        .filter(|comment| comment.key.account == account && !comment.is_answered)
        .filter(|comment| !comment.by_business && !comment.is_mention)
        .ok_or_else(|| invalid("The comment is invalid for a private reply").subcode(2_534_025))?;
    // One on a broadcast may be answered while that lasts (3.4).
    let is_over = comment.is_live && !state.posts.get(&comment.media_id).is_some_and(|post| post.is_live);
    if is_over || now - comment.at >= PRIVATE_REPLY_MILLIS {
        return Err(outside_window());
    }
    Ok(comment.key.clone())
}

fn outside_window() -> GraphError {
    GraphError::new(400, 10, "(#10) This message is sent outside of allowed window.")
        .subcode(2_534_022)
        .kind("IGApiException")
}

/// instagram.md 3.4, 3.5.
fn check_window(state: &State, key: &ThreadKey, params: &Params, now: i64) -> Result<(), GraphError> {
    let thread = state.threads.get(key);
    let is_human = match (params.text("messaging_type"), params.text("tag")) {
        (None | Some("RESPONSE" | "UPDATE" | "UTILITY"), None) => false,
        (Some("MESSAGE_TAG"), Some("HUMAN_AGENT")) => true,
        (Some("MESSAGE_TAG"), None) => return Err(invalid("The parameter tag is required.")),
        (_, Some(_)) => return Err(invalid("The tag is not supported")),
        (Some(_), None) => {
            return Err(invalid(
                "Param messaging_type must be one of {RESPONSE, UPDATE, MESSAGE_TAG, UTILITY}",
            ));
        }
    };
    let open = thread.is_some_and(|thread| {
        let is_within_week = thread
            .window_opened_at
            .is_some_and(|opened_at| now - opened_at < HUMAN_AGENT_MILLIS);
        thread.window_is_open(now) || (is_human && is_within_week)
    });
    if open { Ok(()) } else { Err(outside_window()) }
}

/// Sender actions (instagram.md 3.3).
fn act(
    core: &Core,
    state: &mut State,
    key: &ThreadKey,
    action: &str,
    params: &Params,
    now: i64,
) -> Result<(), GraphError> {
    let reacts = matches!(action, "react" | "unreact");
    if !reacts && params.get("payload").is_some() {
        return Err(invalid("Only recipient and sender_action are allowed"));
    }
    if params.get("reply_to").is_some() || params.get("tag").is_some() {
        return Err(invalid(
            "Only recipient, sender_action and the payload of a reaction are allowed",
        ));
    }
    match action {
        "typing_on" | "typing_off" => {
            state.thread_mut(key).typing_until = if action == "typing_on" { now + TYPING_MILLIS } else { 0 };
            core.changes.tell(ChangeKind::Typing, &key.customer, &key.account);
        }
        "mark_seen" => {
            for message in &mut state.thread_mut(key).messages {
                if message.by == By::Customer {
                    message.progress = Progress::Read;
                }
            }
            core.changes.tell(ChangeKind::Status, &key.customer, &key.account);
        }
        "react" | "unreact" => {
            let payload = params
                .get("payload")
                .ok_or_else(|| GraphError::parameter("The parameter payload is required."))?;
            let message_id = payload["message_id"]
                .as_str()
                .ok_or_else(|| GraphError::parameter("The parameter payload[message_id] is required."))?;
            let emoji = if action == "react" {
                let reaction = payload["reaction"]
                    .as_str()
                    .filter(|reaction| !reaction.is_empty())
                    .ok_or_else(|| GraphError::parameter("The parameter payload[reaction] is required."))?;
                Some(if reaction == "love" {
                    "\u{2764}\u{fe0f}"
                } else {
                    reaction
                })
            } else {
                None
            };
            state
                .message_mut(key, message_id)
                .ok_or_else(|| invalid("No such message").subcode(33))?
                .react(By::Business, emoji);
            core.changes.tell(ChangeKind::Reaction, &key.customer, &key.account);
        }
        _ => {
            return Err(GraphError::parameter(
                "Param sender_action must be one of {TYPING_ON, TYPING_OFF, MARK_SEEN, REACT, UNREACT}",
            ));
        }
    }
    Ok(())
}

fn invalid(message: &str) -> GraphError {
    GraphError::parameter(message).kind("IGApiException")
}
