//! Against a Meta that counts every second of its own, in the time of the wall: not one call is answered that it comes too soon.
//!
//! Nothing is said here about how fast it goes (`tests/sim/scale.rs` does, in a time of its own): a machine that is busy with other things is
//! slow, and the limit is then kept all the more. Only where it holds up a call on its way for longer than the pace allows for, and not the
//! ones after it, the limit is broken by nobody's doing: so a run in which
//! that happens is followed by another one, a few times; what the hub does wrong it does each time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tidings::ids::MessageId;
use tidings_sandbox::{Delays, LedgerKind, NewCustomer, Time};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::harness::{Harness, LOOK_EVERY, NUMBER, Running, Setup, on_both_with, on_postgres};

/// Messages to one person, of which Meta lets them have 45 at once in all looks together (reference `whatsapp.md` 13.2).
const EACH: u32 = 8;
/// Messages of one request.
const BATCH: usize = 1_000;
/// How often a run is looked at in which a call came too soon.
const LOOKS: usize = 20;
/// Within so long something is sent on any machine, however busy.
const STUCK_AFTER: Duration = Duration::from_mins(2);
/// "Too many messages were sent from this number in a short period" (reference `whatsapp.md` 13.1).
const TOO_SOON: i64 = 130_429;

/// How fast a number may send, and how much waits to be sent by it.
#[derive(Debug, Clone, Copy)]
struct Run {
    per_second: u32,
    messages: u32,
}

const USUAL: Run = Run {
    per_second: 80,
    messages: 240,
};
const HIGHEST: Run = Run {
    per_second: 1_000,
    messages: 1_400,
};

fn phone(person: u32) -> String {
    format!("4477009{person:05}")
}

/// A number with a pace, which Meta holds it to exactly, and as many people as there is something to say to.
fn setup(Run { per_second, messages }: Run) -> Setup {
    let mut setup = Setup::default();
    let sandbox = &mut setup.sandbox;
    sandbox.time = Time::Real;
    sandbox.delays = Delays {
        sent: Duration::ZERO,
        delivered: Duration::ZERO,
        read: None,
    };
    sandbox.world.numbers[0].throughput = per_second;
    let people = (0..messages / EACH).map(|person| NewCustomer {
        name: format!("Person {person}"),
        phone: Some(phone(person)),
        auto_read: Some(false),
        ..NewCustomer::default()
    });
    sandbox.world.customers.extend(people);
    setup
        .with("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND", &per_second.to_string())
        // Whoever loses a channel does not take it back while a test fills the queue.
        .with("TIDINGS_SENDING_LEASE_MS", "60000")
}

/// Asks for a backlog, whose messages to one person are not beside each other; answers with their ids, by person and in their order.
async fn ask(harness: &Harness, messages: u32) -> BTreeMap<u32, Vec<MessageId>> {
    let persons: Vec<u32> = (0..EACH).flat_map(|_| 0..messages / EACH).collect();
    let mut asked: BTreeMap<u32, Vec<MessageId>> = BTreeMap::new();
    for portion in persons.chunks(BATCH) {
        let messages: Vec<Value> = portion
            .iter()
            .map(|person| {
                json!({"channel": "whatsapp", "to": format!("+{}", phone(*person)),
                    "content": {"type": "template", "name": "hello_world", "language": "en_US"}})
            })
            .collect();
        let answer = harness
            .post("/api/v1/messages/batch", &json!({ "messages": messages }))
            .await
            .expect(200);
        for (person, result) in portion.iter().zip(answer["results"].as_array().unwrap()) {
            let id = result["messageId"].as_str().unwrap();
            asked.entry(*person).or_default().push(id.parse().unwrap());
        }
    }
    asked
}

/// How many calls Meta has found too soon so far.
fn too_soon(harness: &Harness) -> usize {
    let refused = harness.ledger(LedgerKind::Refused);
    refused.iter().filter(|entry| entry.detail["code"] == TOO_SOON).count()
}

/// Waits until nothing is left in the queue, however long the machine takes, as long as something goes on. What has to wait for the hub's
/// clock, after it came too soon, does not wait long.
async fn sent(harness: &Harness) {
    let (mut before, mut since) = (i64::MAX, Instant::now());
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while before > 0 {
        looks.tick().await;
        harness.clock.advance(LOOK_EVERY);
        let figures = harness.hub().app().store.read(|tx| tx.outbox_figures()).await.unwrap();
        let left: i64 = figures.iter().map(|figure| figure.count).sum();
        if left < before {
            (before, since) = (left, Instant::now());
        }
        assert!(since.elapsed() < STUCK_AFTER, "nothing is sent any more: {figures:?}");
    }
}

/// Each message reached Meta once, in the order of its conversation.
async fn came_once_and_in_order(harness: &Harness, asked: &BTreeMap<u32, Vec<MessageId>>) {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, entry) in harness.ledger(LedgerKind::Accepted).into_iter().enumerate() {
        assert_eq!(entry.account.as_deref(), Some(NUMBER));
        places.entry(entry.message_id.unwrap()).or_default().push(place);
    }
    for (person, ids) in asked {
        let wanted = ids.clone();
        let store = &harness.hub().app().store;
        let messages = store.read(move |tx| tx.messages_by_ids(&wanted)).await.unwrap();
        let mut last = None;
        for id in ids {
            let message = messages.iter().find(|message| message.id == *id).unwrap();
            let external_id = message
                .external_id
                .as_deref()
                .unwrap_or_else(|| panic!("{message:?} was not sent"));
            let [place] = places[external_id][..] else {
                panic!("{id} came {:?}", places[external_id])
            };
            assert!(!message.maybe_duplicate, "{message:?}");
            assert!(
                last.is_none_or(|last| last < place),
                "{id} to person {person} came before what was asked for before it"
            );
            last = Some(place);
        }
    }
    let asked: usize = asked.values().map(Vec::len).sum();
    assert!(places.len() >= asked, "{} of {asked} came", places.len());
}

/// Sends a backlog, with whatever happens meanwhile, until none of its calls came too soon.
async fn no_call_comes_too_soon(harness: &mut Harness, run: Run, meanwhile: impl AsyncFn(&mut Harness)) {
    harness.foresee_refusals(&[TOO_SOON]);
    let mut found = Vec::new();
    for _ in 0..LOOKS {
        let before = too_soon(harness);
        let held = harness.hold_channel().await;
        let asked = ask(harness, run.messages).await;
        held.release().await;
        meanwhile(harness).await;
        sent(harness).await;
        came_once_and_in_order(harness, &asked).await;
        let now = too_soon(harness);
        if now == before {
            return;
        }
        found.push(now - before);
    }
    panic!("in runs of {run:?} so many calls came too soon: {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_usual_pace_no_call_comes_too_soon() {
    on_both_with(setup(USUAL), async |harness| {
        no_call_comes_too_soon(harness, USUAL, async |_| ()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_highest_pace_no_call_comes_too_soon() {
    on_both_with(setup(HIGHEST), async |harness| {
        no_call_comes_too_soon(harness, HIGHEST, async |_| ()).await;
    })
    .await;
}

/// Waits until more was accepted than before.
async fn goes_on(harness: &Harness) {
    let accepted = || harness.ledger(LedgerKind::Accepted).len();
    let before = accepted();
    harness
        .until("it goes on", async |_| (accepted() > before + 20).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_channel_changes_hands_no_call_comes_too_soon() {
    on_postgres(setup(USUAL), async |harness| {
        no_call_comes_too_soon(harness, USUAL, async |harness| {
            let other: Running = harness.another_node().await;
            goes_on(harness).await;
            // Lost for a moment, and taken by either.
            harness.hold_channel().await.release().await;
            goes_on(harness).await;
            // One of the two goes, and the other one has it, if it had not.
            other.stop().await;
            harness.hub().app().leases.want();
        })
        .await;
    })
    .await;
}
