//! What must be true once nothing moves any more: Meta's ledger and the callers' answers say what happened, the database what the hub made
//! of it. The database is read as it is, past the hub's own code.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings::store::InlineDatabase;
use tidings_meta::notification::Platform;

use crate::meta::{Call, Of};
use crate::plan::PROMISES;
use crate::world::{Answer, Inner};

/// How long after a sign was acknowledged the hub may still not know of it.
const KNOWN_WITHIN: i64 = 3_000;
/// A process that dies so soon after an answer may not have kept it.
const KEPT_WITHIN: i64 = 20_000;
/// What is sent within so many milliseconds counts against the pace.
const PACE_WINDOW: i64 = 1_000;
/// How long after the stop switch was answered something may still be sent.
const SILENT_WITHIN: i64 = 1_000;

/// A message, as the database has it.
#[derive(Debug, Clone)]
struct Message {
    id: String,
    outbound: bool,
    text: String,
    external_id: Option<String>,
    status: String,
    maybe_duplicate: bool,
    error: Option<String>,
    contact: String,
}

/// Looks through everything.
pub(crate) fn check(world: &mut Inner, database: &InlineDatabase) {
    let messages = messages(database);
    events_are_kept_once(world, database);
    what_was_written_is_there_once(world, &messages, database);
    what_was_ordered_was_sent(world, &messages);
    orders_stay_in_order(world);
    attempts_have_ends(world, database);
    counters_are_right(world, database);
    the_stream_tells_of_each_message_once(world, &messages, database);
    if let Some(pace) = PROMISES.pace {
        the_pace_is_kept(world, pace);
    }
    if PROMISES.stop_switch {
        nothing_is_sent_while_stopped(world);
    }
}

fn messages(database: &InlineDatabase) -> Vec<Message> {
    database.ask(|connection| {
        let mut statement = connection
            .prepare(
                "SELECT lower(hex(m.id)), m.outbound, COALESCE(json_extract(m.content, '$.text'), ''), m.external_id, m.status,
                    m.maybe_duplicate, m.error_text, lower(hex(c.contact_id))
                 FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id ORDER BY m.id",
            )
            .unwrap();
        let rows = statement
            .query_map([], |row| {
                Ok(Message {
                    id: row.get(0)?,
                    outbound: row.get(1)?,
                    text: row.get(2)?,
                    external_id: row.get(3)?,
                    status: row.get(4)?,
                    maybe_duplicate: row.get(5)?,
                    error: row.get(6)?,
                    contact: row.get(7)?,
                })
            })
            .unwrap();
        rows.map(Result::unwrap).collect()
    })
}

fn pairs(database: &InlineDatabase, sql: &str) -> Vec<(String, String)> {
    database.ask(|connection| {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    })
}

/// Every event that was answered with 200 is kept once and was understood; nothing else is kept.
fn events_are_kept_once(world: &mut Inner, database: &InlineDatabase) {
    let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (external_id, status) in pairs(database, "SELECT external_id, status FROM events") {
        kept.entry(external_id).or_default().push(status);
    }
    for event in world.events.clone() {
        let found = kept.remove(&event.external_id).unwrap_or_default();
        if event.acknowledged_at.is_some() && found.is_empty() {
            world.violated("no acknowledged event is missing", &event.external_id);
        }
        if found.len() > 1 {
            world.violated("no event is doubled", &event.external_id);
        }
        for status in found.iter().filter(|status| *status != "processed") {
            world.violated(
                "every event is processed",
                format_args!("{} is {status}", event.external_id),
            );
        }
    }
    for external_id in kept.into_keys() {
        world.violated("nothing is kept that Meta did not send", external_id);
    }
}

/// Every message of a customer whose event was acknowledged is there once, in the customer's conversation.
fn what_was_written_is_there_once(world: &mut Inner, messages: &[Message], database: &InlineDatabase) {
    let identities = pairs(database, "SELECT shown, lower(hex(contact_id)) FROM contact_identities");
    for event in world.events.clone() {
        let Of::Message { customer, text } = event.of else {
            continue;
        };
        let id = event.external_id.strip_prefix("message:").unwrap_or_default();
        let found: Vec<&Message> = messages
            .iter()
            .filter(|message| message.external_id.as_deref() == Some(id))
            .collect();
        if found.len() > 1 || (found.is_empty() && event.acknowledged_at.is_some()) {
            world.violated(
                "each message of a customer is there once",
                format_args!("{id} is there {} times", found.len()),
            );
        }
        let known = world.customers[customer].clone();
        for message in found {
            let is_theirs = identities.iter().any(|(shown, contact)| {
                *contact == message.contact && (*shown == known.address || Some(shown) == known.user_id.as_ref())
            });
            if message.outbound || message.text != text || !is_theirs {
                world.violated(
                    "messages are in their writer's conversation",
                    format_args!("{message:?}"),
                );
            }
        }
    }
}

/// Every message that was accepted reached Meta once, or did not and says why, or may have twice and says so.
fn what_was_ordered_was_sent(world: &mut Inner, messages: &[Message]) {
    let is_theirs = |message: &&Message, text: &str| message.outbound && message.text == text;
    for (number, order) in world.orders.clone().into_iter().enumerate() {
        let calls: Vec<(usize, Call)> = (world.calls.iter().cloned().enumerate())
            .filter(|(_, call)| call.order == number)
            .collect();
        let taken: Vec<&(usize, Call)> = calls.iter().filter(|(_, call)| call.taken_at.is_some()).collect();
        let found: Vec<&Message> = messages
            .iter()
            .filter(|message| is_theirs(message, &order.text))
            .collect();
        if order.answer == Answer::Accepted {
            let id = order.message_id.as_deref().and_then(|id| id.strip_prefix("msg_"));
            if !found.iter().any(|message| Some(message.id.as_str()) == id) {
                world.violated("no accepted message is missing", format_args!("{order:?}"));
                continue;
            }
        }
        if matches!(order.answer, Answer::Refused(_)) && !(found.is_empty() && calls.is_empty()) {
            world.violated("what was refused is not sent", format_args!("{order:?}: {found:?}"));
        }
        // What Meta took twice is there twice at the customer's, and may be so here.
        if found.len() > taken.len().max(1) {
            world.violated("an order is one message", format_args!("{order:?}: {found:?}"));
        }
        let Some(message) = found.first() else {
            continue;
        };
        says_what_became_of_it(world, number, message, &taken);
        is_repeated_only_blindly(world, number, message, &calls);
    }
}

fn says_what_became_of_it(world: &mut Inner, number: usize, message: &Message, taken: &[&(usize, Call)]) {
    let arrived = taken.iter().filter(|(_, call)| !call.fails_later).count();
    let went = ["accepted", "sent", "delivered", "read"].contains(&message.status.as_str());
    let ended = ["failed", "expired", "cancelled"].contains(&message.status.as_str());
    let says = format!("order {number}, taken {} times, is {message:?}", taken.len());
    if !went && !ended {
        world.violated("every message comes to an end", says);
        return;
    }
    if ended && message.error.as_ref().is_none_or(String::is_empty) {
        world.violated("a message that failed says why", says);
        return;
    }
    if went && taken.is_empty() {
        world.violated("a message counts as sent only if Meta has it", says);
        return;
    }
    // What was told in time must show. Of several that Meta took, one is enough.
    let told = |says: &str| {
        world.events.iter().any(|event| match &event.of {
            Of::Sign { call, says: said } => {
                *said == says && event.acknowledged_at.is_some() && world.calls[*call].order == number
            }
            Of::Message { .. } => false,
        })
    };
    let rank = |status: &str| {
        ["accepted", "sent", "delivered", "read"]
            .iter()
            .position(|known| *known == status)
    };
    let highest = ["sent", "delivered", "read"]
        .into_iter()
        .filter(|status| told(status))
        .filter_map(rank)
        .max();
    if let Some(highest) = highest
        && rank(&message.status).is_none_or(|shown| shown < highest)
        && !told("failed")
    {
        world.violated("a message shows how far Meta says it got", says);
    } else if (told("echo") || told("seen")) && !went {
        world.violated("a message that came back as an echo was sent", says);
    } else if told("failed") && arrived == 0 && taken.len() == 1 && !ended {
        world.violated("a message that failed later shows it", says);
    }
}

/// A second time Meta has a message only where nothing told of the first.
fn is_repeated_only_blindly(world: &mut Inner, number: usize, message: &Message, calls: &[(usize, Call)]) {
    let taken = calls.iter().filter(|(_, call)| call.taken_at.is_some()).count();
    if taken > 2 {
        world.violated(
            "no message reaches Meta three times",
            format_args!("order {number}: {message:?}"),
        );
    }
    if taken > 1 && !message.maybe_duplicate {
        world.violated("a double is marked", format_args!("order {number}: {message:?}"));
    }
    for (earlier, call) in calls {
        let Some(later) = calls.iter().find(|(later, _)| later > earlier) else {
            continue;
        };
        let known_by = later.1.at - KNOWN_WITHIN;
        let sign = world.events.iter().find(|event| {
            matches!(&event.of, Of::Sign { call, says } if call == earlier && *says != "seen")
                && event.acknowledged_at.is_some_and(|at| at < known_by)
        });
        if let Some(sign) = sign {
            let what = format!(
                "order {number} by call {}, though {} told of call {earlier}",
                later.0, sign.external_id
            );
            world.violated("nothing is sent again that Meta was known to have", what);
        } else if let Some(answered_at) = call.answered_at
            && !world
                .crashed_at
                .iter()
                .any(|at| (answered_at..answered_at + KEPT_WITHIN).contains(at))
        {
            let what = format!("order {number} by call {}, though call {earlier} was answered", later.0);
            world.violated("nothing is sent again that Meta was known to have", what);
        }
    }
}

/// To one address, messages reach Meta in the order in which they were accepted.
fn orders_stay_in_order(world: &mut Inner) {
    let mut of_address: BTreeMap<&str, Vec<(usize, i64)>> = BTreeMap::new();
    for (number, order) in world.orders.iter().enumerate() {
        let first = world
            .calls
            .iter()
            .filter(|call| call.order == number)
            .filter_map(|call| call.taken_at)
            .min();
        if let Some(first) = first {
            of_address.entry(&order.to).or_default().push((number, first));
        }
    }
    let broken: Vec<String> = of_address
        .iter()
        .flat_map(|(to, taken)| {
            taken
                .windows(2)
                .filter(|pair| pair[0].1 > pair[1].1)
                .map(move |pair| format!("to {to}: order {} before order {}", pair[1].0, pair[0].0))
        })
        .collect();
    for how in broken {
        world.violated("messages of a conversation stay in order", how);
    }
}

fn attempts_have_ends(world: &mut Inner, database: &InlineDatabase) {
    let open = pairs(
        database,
        "SELECT lower(hex(id)), request FROM attempts WHERE finished_at IS NULL",
    );
    for (id, request) in open {
        world.violated("every attempt has an end", format_args!("{id}: {request}"));
    }
}

/// In no second more than the pace, whoever sent it.
fn the_pace_is_kept(world: &mut Inner, pace: usize) {
    for platform in [Platform::WhatsApp, Platform::Instagram] {
        let times: Vec<i64> = (world.calls.iter())
            .filter(|call| world.customers[world.orders[call.order].customer].platform == platform)
            .map(|call| call.at)
            .collect();
        let fast = times
            .windows(pace + 1)
            .find(|window| window[pace] - window[0] < PACE_WINDOW)
            .map(<[i64]>::to_vec);
        if let Some(fast) = fast {
            world.violated("the pace is kept", format_args!("{platform}: {fast:?}"));
        }
    }
}

fn nothing_is_sent_while_stopped(world: &mut Inner) {
    for (from, until) in world.silent.clone() {
        let calls = world
            .calls
            .iter()
            .filter(|call| (from + SILENT_WITHIN..until).contains(&call.at))
            .count();
        if calls > 0 {
            world.violated(
                "nothing is sent while sending is stopped",
                format_args!("{calls} calls from {from} to {until}"),
            );
        }
    }
}

/// The counters, which are kept beside the events, say how many there are.
fn counters_are_right(world: &mut Inner, database: &InlineDatabase) {
    let wrong = pairs(
        database,
        "SELECT platform || ' ' || kind || ' ' || status, CAST(SUM(count) AS TEXT) FROM (
            SELECT platform, kind, status, count FROM event_counts UNION ALL SELECT platform, kind, status, -1 FROM events)
         GROUP BY platform, kind, status HAVING SUM(count) <> 0",
    );
    for (what, by) in wrong {
        world.violated("counters of events are right", format_args!("{what}: wrong by {by}"));
    }
}

/// The stream told of every message's making once. (Histories are too short for it to be pruned.)
fn the_stream_tells_of_each_message_once(world: &mut Inner, messages: &[Message], database: &InlineDatabase) {
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for (changes, _) in pairs(database, "SELECT changes, '' FROM stream") {
        let changes: Vec<Value> = serde_json::from_str(&changes).unwrap();
        for id in changes.iter().filter_map(|change| change["created"][0].as_str()) {
            *told.entry(id.to_owned()).or_default() += 1;
        }
    }
    for message in messages {
        let times = told.get(&format!("msg_{}", message.id)).copied().unwrap_or_default();
        if times != 1 {
            world.violated(
                "the stream tells of each message once",
                format_args!("{times} times of {message:?}"),
            );
        }
    }
}
