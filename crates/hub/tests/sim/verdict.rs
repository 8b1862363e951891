//! What must be true once nothing moves any more: Meta's ledger and the callers' answers say what happened, the database what the hub made
//! of it. The database is read as it is, past the hub's own code.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::database::{Database, Words};
use crate::meta::{Call, Line, Of};
use crate::plan::{Fault, PROMISES};
use crate::world::{Answer, Inner, Order, TURN, Way, ordered};

/// How long after a sign was acknowledged the hub may still not know of it.
const KNOWN_WITHIN: i64 = 3_000;
/// A process that dies so soon after an answer may not have kept it.
const KEPT_WITHIN: i64 = 20_000;
/// What is sent within so many milliseconds counts against the pace.
const PACE_WINDOW: i64 = 1_000;
/// How long after the stop switch was answered something may still be sent.
const SILENT_WITHIN: i64 = 1_000;
/// How long after it expired a message may still be sent: it may have been in hand, with a store that takes its time.
const EXPIRED_WITHIN: i64 = 20_000;

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
    channel: String,
}

/// Looks through everything.
pub(crate) fn check(world: &mut Inner, database: &Database) {
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

fn messages(database: &Database) -> Vec<Message> {
    let rows = database.rows(
        "SELECT {hex m.id}, m.outbound, {text m.content}, m.external_id, m.status, m.maybe_duplicate, m.error_text, {hex c.contact_id},
            m.channel_id
         FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id ORDER BY m.id",
    );
    let message = |row: Words| {
        let [
            id,
            outbound,
            text,
            external_id,
            status,
            maybe_duplicate,
            error,
            contact,
            channel,
        ] = <[Option<String>; 9]>::try_from(row).expect("as many as were asked for");
        Message {
            id: id.unwrap_or_default(),
            outbound: outbound.as_deref() == Some("1"),
            text: ordered(&text.unwrap_or_default()).to_owned(),
            external_id,
            status: status.unwrap_or_default(),
            maybe_duplicate: maybe_duplicate.as_deref() == Some("1"),
            error,
            contact: contact.unwrap_or_default(),
            channel: channel.unwrap_or_default(),
        }
    };
    rows.into_iter().map(message).collect()
}

fn pairs(database: &Database, sql: &str) -> Vec<(String, String)> {
    let mut rows = database.rows(sql);
    let word = |row: &mut Words, column: usize| row[column].take().unwrap_or_default();
    rows.iter_mut().map(|row| (word(row, 0), word(row, 1))).collect()
}

/// Every event that was answered with 200 is kept once and was understood; nothing else is kept.
fn events_are_kept_once(world: &mut Inner, database: &Database) {
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
fn what_was_written_is_there_once(world: &mut Inner, messages: &[Message], database: &Database) {
    let identities = pairs(database, "SELECT shown, {hex contact_id} FROM contact_identities");
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
    for (number, order) in world.orders.clone().into_iter().enumerate() {
        let calls: Vec<(usize, Call)> = (world.calls.iter().cloned().enumerate())
            .filter(|(_, call)| call.order == number)
            .collect();
        let found: Vec<&Message> = messages
            .iter()
            .filter(|message| message.outbound && message.text == order.text)
            .collect();
        it_was_taken_as_it_was_said(world, &order, &found, &calls);
        // A message that goes on by another number is one of its own there.
        for line in [Line::Main, Line::Backup, Line::Instagram] {
            let here: Vec<&Message> = (found.iter().copied())
                .filter(|message| message.channel == line.channel())
                .collect();
            let calls: Vec<(usize, Call)> = calls.iter().filter(|(_, call)| call.line == line).cloned().collect();
            let taken: Vec<&(usize, Call)> = calls.iter().filter(|(_, call)| call.taken_at.is_some()).collect();
            // What Meta took twice is there twice at the customer's, and may be so here.
            if here.len() > taken.len().max(1) && !echo_came_too_late(world, number) {
                world.violated("an order is one message", format_args!("{order:?}: {here:?}"));
            }
            let Some(message) = here.first() else { continue };
            says_what_became_of_it(world, number, message, line, &taken);
            is_repeated_only_blindly(world, number, message, &calls);
        }
        if order.is_routed() {
            goes_on_only_where_it_did_not_serve(world, number, &calls);
        }
        is_sent_in_its_time(world, number, &order, &calls);
    }
}

fn it_was_taken_as_it_was_said(world: &mut Inner, order: &Order, found: &[&Message], calls: &[(usize, Call)]) {
    let has_id = |id: &str| {
        let id = id.strip_prefix("msg_");
        found.iter().any(|message| Some(message.id.as_str()) == id)
    };
    if order.answer == Answer::Accepted && !order.message_id.as_deref().is_some_and(has_id) {
        world.violated("no accepted message is missing", format_args!("{order:?}"));
    }
    let was_refused = matches!(order.answer, Answer::Refused(_)) && !order.was_asked_twice;
    if was_refused && !(found.is_empty() && calls.is_empty()) {
        world.violated("what was refused is not sent", format_args!("{order:?}: {found:?}"));
    }
    let known = order.message_id.iter().chain(&order.twin_ids);
    if known.clone().any(|id| Some(id) != known.clone().next()) {
        world.violated("one key is one message", format_args!("{order:?}"));
    }
    // Routes add messages, one for each further number.
    if order.is_routed() && found.is_empty() && order.answer == Answer::Accepted {
        world.violated("no accepted message is missing", format_args!("{order:?}"));
    }
}

fn says_what_became_of_it(world: &mut Inner, number: usize, message: &Message, line: Line, taken: &[&(usize, Call)]) {
    let arrived = taken.iter().filter(|(_, call)| !call.fails_later).count();
    let went = ["accepted", "sent", "delivered", "read"].contains(&message.status.as_str());
    let ended = ["failed", "expired", "cancelled"].contains(&message.status.as_str());
    let says = format!("order {number}, taken {} times, is {message:?}", taken.len());
    if !went && !ended {
        world.violated("every message comes to an end", says);
        return;
    }
    // That somebody withdrew it is reason enough.
    let was_cancelled = message.status == "cancelled" && !world.orders[number].is_routed();
    if ended && !was_cancelled && message.error.as_ref().is_none_or(String::is_empty) {
        world.violated("a message that failed says why", says);
        return;
    }
    if went && taken.is_empty() {
        world.violated("a message counts as sent only if Meta has it", says);
        return;
    }
    if was_cancelled && !taken.is_empty() && !message.maybe_duplicate {
        world.violated("what is cancelled was not sent, or may have been", says);
        return;
    }
    // What was told in time must show. Of several that Meta took, one is enough.
    let told = |says: &str| {
        world.events.iter().any(|event| match &event.of {
            Of::Sign { call, says: said } => {
                let call = &world.calls[*call];
                *said == says && event.acknowledged_at.is_some() && call.order == number && call.line == line
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
    } else if told("echo") && !went && !echo_came_too_late(world, number) {
        world.violated("a message that came back as an echo was sent", says);
    } else if was_seen_by_name(world, number, line) && !went {
        world.violated("a message that was seen was sent", says);
    } else if told("failed") && arrived == 0 && taken.len() == 1 && !ended {
        world.violated("a message that failed later shows it", says);
    }
}

/// Whether it was told that a message was seen, under an id that the answer to the call had named. By that alone, where neither the answer nor
/// the echo came, nobody can say whose it is.
fn was_seen_by_name(world: &Inner, number: usize, line: Line) -> bool {
    world.events.iter().any(|event| {
        let Of::Sign { call, says: "seen" } = event.of else {
            return false;
        };
        let call = &world.calls[call];
        event.acknowledged_at.is_some()
            && call.order == number
            && call.line == line
            && was_answered(world, call, i64::MAX)
    })
}

/// Instagram tells of a message that came out of nowhere by an echo alone, which bears nothing of the attempt: after the message has expired
/// it is taken for something that was said elsewhere.
fn echo_came_too_late(world: &Inner, number: usize) -> bool {
    let order = &world.orders[number];
    let (Some(asked_at), Some(lifetime)) = (order.asked_at, order.lifetime) else {
        return false;
    };
    // The hub's calendar may have been set meanwhile.
    let early = if world.plan.jumps.is_empty() { 0 } else { i64::MAX / 2 };
    world.events.iter().any(|event| {
        let is_echo = matches!(&event.of, Of::Sign { call, says: "echo" } if world.calls[*call].order == number);
        is_echo && event.acknowledged_at.is_none_or(|at| at > asked_at + lifetime - early)
    })
}

/// A second time Meta has a message, by the same number, only where nothing told of the first.
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
    for pair in calls.windows(2) {
        let ((earlier, call), (later, again)) = (&pair[0], &pair[1]);
        if let Some(sign) = known_by_then(
            world,
            *earlier,
            again.at,
            &["sent", "delivered", "read", "failed", "echo"],
        ) {
            let what = format!("order {number} by call {later}, though {sign} told of call {earlier}");
            world.violated("nothing is sent again that Meta was known to have", what);
        } else if was_answered(world, call, again.at) {
            let what = format!("order {number} by call {later}, though call {earlier} was answered");
            world.violated("nothing is sent again that Meta was known to have", what);
        }
    }
}

/// By another number a message goes only if it is not known to have served by the first.
fn goes_on_only_where_it_did_not_serve(world: &mut Inner, number: usize, calls: &[(usize, Call)]) {
    let is_given_time = world.orders[number].way == Way::Named
        && world.plan.backup.is_some_and(|backup| backup.late_after_secs.is_some());
    let signs: &[&str] = if is_given_time {
        &["delivered", "read"]
    } else {
        &["sent", "delivered", "read"]
    };
    let left_at = calls
        .iter()
        .find(|(_, call)| call.line == Line::Backup)
        .map(|(_, call)| call.at);
    // Two nodes' times differ by a moment here, which is nobody's doing.
    let is_back = |call: &Call| call.line != Line::Backup && left_at.is_some_and(|left_at| call.at > left_at + TURN);
    if let Some((back, _)) = calls.iter().find(|(_, call)| is_back(call)) {
        let what = format!("order {number} by call {back}");
        world.violated("what has gone on is not sent any more where it was", what);
    }
    for (earlier, call) in calls {
        let Some((later, again)) = calls.iter().find(|(at, again)| at > earlier && again.line != call.line) else {
            continue;
        };
        let sign = known_by_then(world, *earlier, again.at, signs);
        let was_answered = !is_given_time && !call.fails_later && was_answered(world, call, again.at);
        if sign.is_some() || was_answered {
            let what = format!("order {number} by call {later}, though call {earlier} had served: {sign:?}");
            world.violated("another number is for what the first did not serve", what);
        }
    }
}

/// A sign of a call that the hub must have understood by a time.
fn known_by_then(world: &Inner, call: usize, at: i64, signs: &[&str]) -> Option<String> {
    let sign = world.events.iter().find(|event| {
        matches!(&event.of, Of::Sign { call: of, says } if *of == call && signs.contains(says))
            && event.acknowledged_at.is_some_and(|told| told < at - KNOWN_WITHIN)
    });
    sign.map(|event| event.external_id.clone())
}

/// Whether a call was answered by a time, to a process that lived to keep it. One that stands still hears it when it goes on.
fn was_answered(world: &Inner, call: &Call, by: i64) -> bool {
    call.answered_at
        .filter(|answered_at| *answered_at < by)
        .is_some_and(|answered_at| {
            let died = |at: &i64| (answered_at..answered_at + KEPT_WITHIN).contains(at);
            !world.crashed_at.iter().any(died)
        })
}

/// Not before the time that was asked for, not after it was withdrawn, and not long after it expired.
fn is_sent_in_its_time(world: &mut Inner, number: usize, order: &Order, calls: &[(usize, Call)]) {
    let after = |at: i64| calls.iter().find(|(_, call)| call.at > at).map(|(call, _)| *call);
    if let Some(call) = order.cancelled_at.and_then(after) {
        let what = format!("order {number} by call {call}: {order:?}");
        world.violated("what is cancelled is not sent", what);
    }
    // By what calendar?
    if !world.plan.jumps.is_empty() || world.plan.skew != 0 {
        return;
    }
    let is_early = |at: i64| calls.iter().any(|(_, call)| call.at < at);
    if order.not_before.is_some_and(is_early) {
        world.violated(
            "nothing is sent before its time",
            format_args!("order {number}: {order:?}"),
        );
    }
    let Some(lifetime) = order.lifetime else { return };
    let asked_at = order.asked_at.unwrap_or_default();
    if let Some(call) = after(asked_at + lifetime + EXPIRED_WITHIN) {
        let what = format!("order {number} by call {call}: {order:?}");
        world.violated("what has expired is not sent", what);
    }
}

/// To one address, messages reach Meta in the order in which they were accepted.
fn orders_stay_in_order(world: &mut Inner) {
    let mut of_address: BTreeMap<(&str, Line), Vec<(usize, i64)>> = BTreeMap::new();
    for (number, order) in world.orders.iter().enumerate() {
        // What is to be sent at a time has its place at that time, what goes by another number at the time when it goes on.
        if order.sent_after.is_some() {
            continue;
        }
        let calls = world.calls.iter().filter(|call| call.order == number);
        // What has gone on is not waited for on its first line any more: what Meta still takes of it there is told as late.
        let left_at = calls
            .clone()
            .filter(|call| call.line == Line::Backup)
            .map(|call| call.at)
            .min();
        let stayed = |at: &i64| left_at.is_none_or(|left_at| *at < left_at);
        let taken = calls.filter(|call| call.line != Line::Backup);
        let first = taken
            .filter_map(|call| Some((call.taken_at.filter(stayed)?, call.line)))
            .min();
        if let Some((first, line)) = first {
            of_address.entry((&order.to, line)).or_default().push((number, first));
        }
    }
    let broken: Vec<String> = of_address
        .iter()
        .flat_map(|((to, _), taken)| {
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

fn attempts_have_ends(world: &mut Inner, database: &Database) {
    let open = pairs(
        database,
        "SELECT {hex id}, request FROM attempts WHERE finished_at IS NULL",
    );
    for (id, request) in open {
        world.violated("every attempt has an end", format_args!("{id}: {request}"));
    }
}

/// In no second more than the pace, whichever node sent it.
fn the_pace_is_kept(world: &mut Inner, pace: usize) {
    // Two nodes' times differ by a moment here, which is nobody's doing.
    let window = if world.plan.nodes > 1 {
        PACE_WINDOW - TURN
    } else {
        PACE_WINDOW
    };
    for line in [Line::Main, Line::Backup, Line::Instagram] {
        let mut times: Vec<i64> = (world.calls.iter())
            .filter(|call| call.line == line)
            .map(|call| call.at)
            .collect();
        times.sort_unstable();
        let fast = times
            .windows(pace + 1)
            .find(|times| times[pace] - times[0] < window)
            .map(<[i64]>::to_vec);
        if let Some(fast) = fast {
            world.violated("the pace is kept", format_args!("{line:?}: {fast:?}"));
        }
    }
}

fn nothing_is_sent_while_stopped(world: &mut Inner) {
    // Another node learns of it from the store, as soon as that answers.
    let slow = [Fault::StoreSlow, Fault::StoreRefuses, Fault::StoreUnsure];
    let may_be_slow = !world.plan.away.is_empty() || slow.iter().any(|fault| world.plan.faults.contains_key(fault));
    if world.plan.nodes > 1 && may_be_slow {
        return;
    }
    for (from, until) in world.silent.clone() {
        let stood_still = |call: &Call| {
            (world.frozen.iter())
                .any(|(node, _, thawed)| *node == call.node && (*thawed..*thawed + SILENT_WITHIN).contains(&call.at))
        };
        let calls: Vec<i64> = (world.calls.iter())
            .filter(|call| (from + SILENT_WITHIN..until).contains(&call.at) && !stood_still(call))
            .map(|call| call.at)
            .collect();
        if !calls.is_empty() {
            world.violated(
                "nothing is sent while sending is stopped",
                format_args!("{calls:?}, from {from} to {until}"),
            );
        }
    }
}

/// The counters, which are kept beside the events, say how many there are.
fn counters_are_right(world: &mut Inner, database: &Database) {
    let wrong = pairs(
        database,
        "SELECT platform || ' ' || kind || ' ' || status, CAST(SUM(count) AS TEXT) FROM (
            SELECT platform, kind, status, count FROM event_counts UNION ALL SELECT platform, kind, status, -1 FROM events) AS counted
         GROUP BY platform, kind, status HAVING SUM(count) <> 0",
    );
    for (what, by) in wrong {
        world.violated("counters of events are right", format_args!("{what}: wrong by {by}"));
    }
}

/// The stream told of every message's making once. (Histories are too short for it to be pruned.)
fn the_stream_tells_of_each_message_once(world: &mut Inner, messages: &[Message], database: &Database) {
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
