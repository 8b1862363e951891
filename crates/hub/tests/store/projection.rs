//! What [`tidings::conversations::projection`] promises: the same events, in any order, any number of times and in portions of any size, leave
//! the same contacts, conversations and messages.
//!
//! A history is drawn ([`crate::histories`]) and projected twice: as it happened, each event by itself; and with everything else that can
//! happen on its way. What the two leave must read the same. A failure prints the history, made as short as possible, and the seed of its
//! order; the same binary draws the same cases every time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::{Value, json};
use tidings::conversations::consent::model::Consents;
use tidings::conversations::consent::words::Words;
use tidings::conversations::content::Content;
use tidings::conversations::model::{ChannelId, Conversation, Identity, Message, Millis, Status};
use tidings::conversations::projection::{self, Incoming};
use tidings::conversations::understand::{Effect, Envelope, callback_of, understand};
use tidings::ids::{AttemptId, ContactId, ConversationId, EventId, Ids};
use tidings::ingest::arrival::{self, Arrived};
use tidings::ingest::meaning::Meaning;
use tidings::ingest::model::{EventStatus, NewEvent};
use tidings::sending::model::{EntryState, Purpose};
use tidings::store::events::EventFilter;
use tidings::store::messages::MessageFact;
use tidings::store::{StoreError, Tx};
use tidings_meta::notification::{Event, Platform, split};

use crate::harness::{BEGIN, Lab, on_both, on_postgres, on_sqlite};
use crate::histories::{self, ACCOUNTS, Act, OWN_IGSID, OWN_INSTAGRAM, OWN_PHONE, OWN_WHATSAPP};
use crate::samples::{contact, conversation_with, entry_of, igsid, outbound, phone};

/// How many histories are drawn on SQLite; Postgres, which is slower to begin anew, gets a few.
const CASES: u32 = 60;
const CASES_ON_POSTGRES: u32 = 8;
const SEED: u64 = 2;
/// In how many other ways each history is told.
const ORDERS: u64 = 3;

#[test]
fn any_order_repetition_and_portion_leave_the_same() {
    on_sqlite(async |lab| check_histories(lab, CASES));
    on_postgres(async |lab| check_histories(lab, CASES_ON_POSTGRES));
}

fn check_histories(lab: &Lab, cases: u32) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(SEED),
        max_shrink_iters: 4_000,
        ..Config::default()
    });
    let drawn = (histories::acts(), any::<bool>(), any::<u64>().no_shrink());
    let checked = runner.run(&drawn, |(acts, own, order)| {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let as_it_happened = told(lab, &acts, own, None).await;
                for order in (0..ORDERS).map(|number| order.wrapping_add(number)) {
                    check(lab, &acts, own, order, &as_it_happened).await?;
                }
                Ok(())
            })
        })
    });
    if let Err(TestError::Fail(reason, (acts, own, order))) = checked {
        let told: String =
            histories::history(&acts, own.then_some("…"))
                .events
                .iter()
                .fold(String::new(), |mut told, (_, event)| {
                    let _ = writeln!(told, "{}", event.raw);
                    told
                });
        panic!("seed {SEED}, order {order}, with own messages: {own}\n{acts:?}\n{told}\n{reason}");
    }
    checked.unwrap();
}

/// Has a history told in another order than that in which it happened.
async fn check(lab: &Lab, acts: &[Act], own: bool, order: u64, as_it_happened: &str) -> Result<(), TestCaseError> {
    let otherwise = told(lab, acts, own, Some(order)).await;
    if as_it_happened != otherwise {
        let only = |of: &str, other: &str| -> String {
            let lines = of.lines().filter(|line| !other.lines().any(|known| known == *line));
            lines.collect::<Vec<_>>().join("\n")
        };
        let reason = format!(
            "only as it happened:\n{}\nonly otherwise:\n{}",
            only(as_it_happened, &otherwise),
            only(&otherwise, as_it_happened)
        );
        return Err(TestCaseError::fail(reason));
    }
    for words in histories::history(acts, own.then_some("")).taken_back {
        let payloads = format!("SELECT payload FROM events WHERE payload LIKE '%{words}%'");
        let contents = format!("SELECT content FROM messages WHERE content LIKE '%{words}%'");
        let details = format!("SELECT detail FROM message_facts WHERE detail LIKE '%{words}%'");
        for (found, query) in [&payloads, &contents, &details].map(|query| (lab.texts(query), query)) {
            if !found.is_empty() {
                return Err(TestCaseError::fail(format!(
                    "taken back, and still there: {query}\n{found:?}"
                )));
            }
        }
    }
    Ok(())
}

/// Empties the store, has a history told, and reads what it has left. `order`: the seed of the way in which it is told; `None`: as it happened.
async fn told(lab: &Lab, acts: &[Act], own: bool, order: Option<u64>) -> String {
    begin_anew(lab);
    let mark = if own { Some(send(lab).await) } else { None };
    let history = histories::history(acts, mark.as_deref());
    match order {
        None => {
            for (platform, event) in &history.events {
                arrive(lab, &[(*platform, event)]).await;
                while project(lab, 1).await > 0 {}
            }
        }
        Some(order) => tell(lab, &history.events, order).await,
    }
    read(lab).await
}

fn begin_anew(lab: &Lab) {
    let tables = [
        "events",
        "event_queue",
        "event_exceptions",
        "event_counts",
        "contacts",
        "contact_identities",
        "conversations",
        "messages",
        "message_facts",
        "message_reactions",
        "comments",
        "mentions",
        "parked_events",
        "read_watermarks",
        "outbox",
        "consent_statements",
    ];
    lab.execute(&tables.map(|table| format!("DELETE FROM {table};")).concat());
}

/// Messages that were handed to Meta, whose answer never came. Answers with the mark that the WhatsApp one bears.
async fn send(lab: &Lab) -> String {
    let mut whatsapp_message = None;
    let sent = [
        (ACCOUNTS[0].1, phone(OWN_PHONE), OWN_WHATSAPP.1),
        (ACCOUNTS[2].1, igsid(ACCOUNTS[2].0, OWN_IGSID), OWN_INSTAGRAM.1),
    ];
    for (channel, identity, words) in sent {
        let channel = ChannelId(channel.to_owned());
        let mut contact = contact(lab, "");
        (contact.name, contact.name_at) = (None, 0);
        let conversation = conversation_with(lab, &channel, contact.id);
        let mut message = outbound(lab, &conversation, BEGIN - 60_000);
        message.content = Content::text(words);
        message.status = Status::Sending;
        let mut entry = entry_of(lab, message.id, &channel, conversation.id, 1);
        entry.state = EntryState::Unknown;
        whatsapp_message.get_or_insert(message.id);
        let mut conversation = conversation;
        conversation.note(&message, false);
        lab.write(move |tx| {
            tx.insert_contacts(&[(contact.clone(), None)])?;
            tx.bind_identities(&[(identity.clone(), contact.id)])?;
            tx.insert_conversations(&[&conversation])?;
            tx.insert_messages(&[&message])?;
            tx.insert_outbox(&entry)
        })
        .await;
    }
    let attempt: AttemptId = lab.ids.next();
    callback_of(whatsapp_message.unwrap(), attempt)
}

/// Tells the events in an order of their own, several at once, some again, and has them processed in portions.
async fn tell(lab: &Lab, events: &[(Platform, Event)], order: u64) {
    let mut random = ChaCha12Rng::seed_from_u64(order);
    let mut waiting: Vec<&(Platform, Event)> = events.iter().collect();
    let mut told: Vec<(Platform, &Event)> = Vec::new();
    while !waiting.is_empty() {
        let mut group = Vec::new();
        for _ in 0..random.random_range(1..=waiting.len().min(8)) {
            let (platform, event) = waiting.swap_remove(random.random_range(0..waiting.len()));
            group.push((*platform, event));
        }
        told.extend(&group);
        if random.random_bool(0.3) {
            group.push(told[random.random_range(0..told.len())]);
        }
        if random.random_bool(0.5) {
            arrive(lab, &group).await;
        } else {
            come_in_at_once(lab, &group).await;
        }
        for _ in 0..random.random_range(0..4) {
            project(lab, random.random_range(1..=6)).await;
        }
        if random.random_bool(0.3) {
            replay(lab, told[random.random_range(0..told.len())].1).await;
        }
    }
    while project(lab, random.random_range(1..=6)).await > 0 {}
    if random.random_bool(0.5) {
        unflushed(lab, |tx| {
            let told = tx.events(&EventFilter::default(), 1_000, 0)?;
            tx.requeue_events(&told.events, BEGIN)
        })
        .await;
        while project(lab, random.random_range(1..=40)).await > 0 {}
    }
}

/// Events are kept, to be processed later.
async fn arrive(lab: &Lab, events: &[(Platform, &Event)]) {
    let new: Vec<NewEvent> = events
        .iter()
        .map(|(platform, event)| new_event(lab, *platform, event))
        .collect();
    unflushed(lab, move |tx| {
        tx.insert_events(&new.iter().collect::<Vec<_>>()).map(|_| ())
    })
    .await;
}

/// Events are kept and processed in one.
async fn come_in_at_once(lab: &Lab, events: &[(Platform, &Event)]) {
    let arrived: Vec<Arrived> = events
        .iter()
        .map(|(platform, event)| {
            let event = new_event(lab, *platform, event);
            let envelope = Envelope {
                platform: event.platform,
                external_id: &event.external_id,
                received_at: event.received_at,
                raw: &event.payload,
            };
            let incoming = incoming(&event.account, event.id, event.occurred_at, envelope);
            let meaning = Meaning {
                channel_id: event.channel_id.clone(),
                status: EventStatus::Processed,
                error: None,
                incoming: Some(incoming),
                news: None,
                took: Duration::ZERO,
            };
            Arrived::new(event, Some(Box::new(meaning)))
        })
        .collect();
    let ids = lab.ids.clone();
    unflushed(lab, move |tx| {
        let arrived: Vec<&Arrived> = arrived.iter().collect();
        arrival::bring_in(tx, &arrived, 4, &ids, BEGIN).map(|_| ())
    })
    .await;
}

fn new_event(lab: &Lab, platform: Platform, event: &Event) -> NewEvent {
    NewEvent {
        id: lab.ids.next(),
        platform,
        account: event.account.id().to_owned(),
        channel_id: Some(channel_of(event.account.id())),
        kind: event.kind,
        external_id: event.external_id.clone(),
        occurred_at: event.occurred_at,
        received_at: BEGIN,
        signed: true,
        ignored_because: None,
        payload: event.raw.clone(),
    }
}

async fn replay(lab: &Lab, event: &Event) {
    let (account, external_id) = (event.account.id().to_owned(), event.external_id.clone());
    unflushed(lab, move |tx| {
        if let Some(id) = tx.event_by_external_id(&account, &external_id)? {
            tx.requeue_event(id, BEGIN)?;
        }
        Ok(())
    })
    .await;
}

fn incoming(account: &str, event_id: EventId, occurred_at: Option<Millis>, envelope: Envelope<'_>) -> Incoming {
    let understood = understand(envelope).unwrap_or_else(|reason| panic!("{reason}: {}", envelope.raw));
    let words = Words::new([histories::STOP], [histories::START]);
    Incoming {
        event_id,
        channel_id: channel_of(account),
        at: occurred_at.unwrap_or(envelope.received_at),
        wish: match &understood.effect {
            Effect::Said(said) => words.wish_of(said),
            _ => None,
        },
        understood,
    }
}

fn channel_of(account: &str) -> ChannelId {
    let known = ACCOUNTS.iter().find(|(known, _)| *known == account);
    ChannelId(known.expect("histories are of these accounts").1.to_owned())
}

/// Processes a portion of what is due, as the projector does; answers with how many events that were.
async fn project(lab: &Lab, portion: u32) -> usize {
    let ids = lab.ids.clone();
    unflushed(lab, move |tx| project_in(tx, &ids, portion)).await
}

fn project_in(tx: &mut Tx<'_>, ids: &Ids, portion: u32) -> Result<usize, StoreError> {
    let due = tx.take_due_events(BEGIN, portion)?;
    let incoming: Vec<Incoming> = due
        .iter()
        .map(|event| {
            let envelope = Envelope {
                platform: event.platform,
                external_id: &event.external_id,
                received_at: event.received_at,
                raw: &event.payload,
            };
            incoming(&event.account, event.id, event.occurred_at, envelope)
        })
        .collect();
    projection::project(tx, &incoming.iter().collect::<Vec<_>>(), ids, BEGIN)?;
    let count = due.len();
    let finished: Vec<_> = due
        .into_iter()
        .map(|mut event| {
            event.status = EventStatus::Processed;
            (event, None)
        })
        .collect();
    tx.finish_events(&finished)?;
    Ok(count)
}

async fn unflushed<T, F>(lab: &Lab, work: F) -> T
where
    T: Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
{
    lab.store.write_unflushed(work).await.unwrap()
}

/// All that was left, in one text that depends neither on our ids nor on when something came in.
async fn read(lab: &Lab) -> String {
    let found = lab.read(|tx| {
        let mut left = Vec::new();
        for contact in tx.contacts(None, 1_000)? {
            left.push(read_contact(tx, contact.id)?);
        }
        left.sort();
        Ok(left.concat())
    });
    found.await
}

fn read_contact(tx: &mut Tx<'_>, id: ContactId) -> Result<String, StoreError> {
    let contact = tx.contact_by_id(id)?.expect("a contact that was listed is there");
    let identities = tx.identities_of_contact(id)?;
    let mut left = format!(
        "contact {:?}, written to at {:?}, name {:?}, user name {:?}\n",
        shown(&identities),
        written_to(&identities),
        contact.name,
        contact.username
    );
    left.push_str(&read_consent(tx, id)?);
    let mut conversations = tx.conversations_of_contact(id)?;
    conversations.sort_by(|a, b| (&a.channel_id, &a.venue).cmp(&(&b.channel_id, &b.venue)));
    for conversation in conversations {
        left.push_str(&read_conversation(tx, &conversation)?);
    }
    Ok(left)
}

fn read_consent(tx: &mut Tx<'_>, id: ContactId) -> Result<String, StoreError> {
    let consents = Consents::of(tx.standing_consent_statements(&[id])?);
    let [service, marketing] = Purpose::ALL.map(|purpose| consents.status(id, purpose));
    let history = tx.consent_statements(id, None, 1_000)?;
    assert_eq!(
        Purpose::ALL.map(|purpose| Consents::of(history.clone()).status(id, purpose)),
        [service, marketing],
        "what stands is the latest of all that was said"
    );
    let mut lines: Vec<String> = history
        .iter()
        .map(|of| {
            format!(
                "{:?} {:?} {} {} {:?}",
                of.purpose, of.source, of.opted_out, of.at, of.detail
            )
        })
        .collect();
    lines.sort();
    Ok(format!(
        "  consent: service {service:?}, marketing {marketing:?}, {lines:?}\n"
    ))
}

fn shown(identities: &[Identity]) -> Vec<String> {
    let mut shown: Vec<String> = identities
        .iter()
        .map(|identity| format!("{} {}", identity.key.kind.as_str(), identity.shown))
        .collect();
    shown.sort();
    shown
}

/// Of each kind of address the one that was used last.
fn written_to(identities: &[Identity]) -> BTreeMap<&'static str, &str> {
    let mut last = BTreeMap::new();
    for identity in identities {
        last.entry(identity.key.kind.as_str())
            .or_insert(identity.shown.as_str());
    }
    last
}

fn read_conversation(tx: &mut Tx<'_>, conversation: &Conversation) -> Result<String, StoreError> {
    let Conversation {
        channel_id,
        venue,
        status,
        unread,
        last_inbound_at,
        window_ends_at,
        last_message_at,
        ..
    } = conversation;
    let messages = tx.messages_of_conversation(conversation.id, None, 1_000)?;
    assert_eq!(
        conversation.last_message_id,
        messages.first().map(|message| message.id),
        "the last message of a conversation is the first of its list"
    );
    let mut left = format!(
        "  conversation on {channel_id}, {venue:?}: {status:?}, {unread} unread, inbound {last_inbound_at:?}, window {window_ends_at:?}, last {last_message_at}\n"
    );
    let mut lines = Vec::new();
    for message in &messages {
        lines.push(read_message(tx, message)?);
    }
    lines.sort();
    left.push_str(&lines.concat());
    Ok(left)
}

fn read_message(tx: &mut Tx<'_>, message: &Message) -> Result<String, StoreError> {
    let plain = Message {
        // Ours, and those of the events, depend on what came first.
        id: tidings::ids::MessageId::MIN,
        conversation_id: ConversationId::MIN,
        event_id: None,
        ..message.clone()
    };
    let mut reactions: Vec<String> = tx
        .reactions_of_messages(&[message.id])?
        .into_iter()
        .map(|reaction| format!("{:?} {} {}", reaction.emoji, reaction.by_business, reaction.at))
        .collect();
    reactions.sort();
    let comments = tx.comments_of_messages(&[message.id])?;
    let comments: Vec<&str> = comments.iter().map(|comment| comment.kind.as_str()).collect();
    // Which of two events told a message first is what `echo` and `again` say. Instagram's marks of what was read are noted where they
    // tell something new.
    // That there was a first wording, where it was taken back with all others, may have been about a placeholder.
    let depends_on_order = |fact: &MessageFact| match fact.kind.as_str() {
        "again" | "echo" => true,
        "read" => message.channel_id.0 == ACCOUNTS[2].1,
        "edited" => message.deleted_at.is_some() && fact.at == message.occurred_at,
        _ => false,
    };
    let mut facts: Vec<String> = tx
        .message_facts(message.id)?
        .into_iter()
        .filter(|fact| !depends_on_order(fact))
        .map(|fact| format!("{} {} {}", fact.kind, fact.at, fact.detail))
        .collect();
    facts.sort();
    Ok(format!(
        "    {plain:?} {comments:?}\n      reactions {reactions:?}\n      facts {facts:?}\n"
    ))
}

/// Has notifications of WhatsApp told in every order; each leaves the same, which is answered with.
async fn in_every_order(lab: &Lab, values: &[Value]) -> String {
    let bodies = values.iter().map(|value| {
        let mut value = value.clone();
        value["metadata"] = json!({"display_phone_number": "442079460111", "phone_number_id": ACCOUNTS[0].0});
        let field = value.as_object_mut().unwrap().remove("field");
        json!({"entry": [{"id": "305918274660123", "changes": [
            {"field": field.unwrap_or_else(|| json!("messages")), "value": value}]}]})
    });
    let events: Vec<Event> = bodies
        .flat_map(|mut body| {
            body["object"] = json!("whatsapp_business_account");
            split(Platform::WhatsApp, body.to_string().as_bytes()).unwrap()
        })
        .collect();
    let mut left: Option<String> = None;
    for order in permutations(events.len()) {
        begin_anew(lab);
        for index in &order {
            arrive(lab, &[(Platform::WhatsApp, &events[*index])]).await;
            while project(lab, 1).await > 0 {}
        }
        let found = read(lab).await;
        assert_eq!(
            *left.get_or_insert_with(|| found.clone()),
            found,
            "in the order {order:?}"
        );
    }
    left.unwrap_or_default()
}

fn permutations(length: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..length {
        all = all
            .into_iter()
            .flat_map(|begun: Vec<usize>| {
                let rest = (0..length).filter(|index| !begun.contains(index)).collect::<Vec<_>>();
                rest.into_iter().map(move |index| [begun.clone(), vec![index]].concat())
            })
            .collect();
    }
    all
}

const PHONE: &str = "447700900123";
const USER_ID: &str = "GB.48201937562840117365";

fn written(id: &str, second: i64, person: &Value) -> Value {
    let mut message =
        json!({"id": id, "timestamp": (BEGIN / 1_000 - 60 + second).to_string(), "type": "text", "text": {"body": id}});
    for (name, value) in person.as_object().unwrap() {
        message[name] = value.clone();
    }
    json!({ "messages": [message] })
}

#[test]
fn a_number_that_was_left_is_not_written_to_whatever_comes_first() {
    on_both(async |lab| {
        let moved = json!({"messages": [{"from": "447700900100", "id": "wamid.2", "type": "system",
            "timestamp": (BEGIN / 1_000 - 50).to_string(),
            "system": {"body": "Changed", "wa_id": PHONE, "type": "user_changed_number"}}]});
        let before = written("wamid.1", 0, &json!({"from": "447700900100"}));
        let alone = in_every_order(lab, std::slice::from_ref(&moved)).await;
        assert!(
            alone.contains(&format!("written to at {{\"phone\": \"{PHONE}\"}}")),
            "{alone}"
        );
        let with_earlier = in_every_order(lab, &[moved, before]).await;
        assert!(
            with_earlier.contains(&format!("written to at {{\"phone\": \"{PHONE}\"}}")),
            "{with_earlier}"
        );
    });
}

#[test]
fn a_number_stays_with_who_had_it_last_whatever_comes_first() {
    on_both(async |lab| {
        let other = "GB.30000000000000000001";
        let had = written("wamid.1", 0, &json!({"from": PHONE, "from_user_id": USER_ID}));
        let has = written("wamid.2", 10, &json!({"from": PHONE, "from_user_id": other}));
        let left = in_every_order(lab, &[had, has]).await;
        let contacts: Vec<&str> = left.split("contact [").skip(1).collect();
        assert_eq!(contacts.len(), 2, "{left}");
        for contact in contacts {
            assert_eq!(contact.contains(PHONE), contact.contains(other), "{left}");
        }
    });
}

#[test]
fn what_changes_nothing_names_nobody_whatever_comes_first() {
    on_both(async |lab| {
        let welcome = json!({"contacts": [{"profile": {"name": "Priya"}, "wa_id": PHONE}],
            "messages": [{"from": PHONE, "id": "wamid.2", "type": "request_welcome", "timestamp": (BEGIN / 1_000).to_string()}]});
        let left = in_every_order(lab, &[written("wamid.1", 0, &json!({ "from": PHONE })), welcome]).await;
        assert!(left.contains("name None"), "{left}");
    });
}

#[test]
fn the_name_that_was_told_last_stands_whatever_comes_first() {
    let called = |mut value: Value, address: &Value, name: &str| {
        let mut told = json!({ "profile": { "name": name } });
        for (key, value) in address.as_object().unwrap() {
            told[key] = value.clone();
        }
        value["contacts"] = json!([told]);
        value
    };
    on_both(async |lab| {
        let (by_phone, wa_id) = (json!({ "from": PHONE }), json!({ "wa_id": PHONE }));
        let (by_id, user_id) = (json!({ "from_user_id": USER_ID }), json!({ "user_id": USER_ID }));
        // They take an earlier name again; the other one is told in between, and by another address, which is theirs as is told later.
        let events = [
            called(written("wamid.1", 0, &by_phone), &wa_id, "Priya"),
            called(written("wamid.2", 10, &by_id), &user_id, "P. Shah"),
            called(written("wamid.3", 20, &by_phone), &wa_id, "Priya"),
            written("wamid.4", 5, &json!({ "from": PHONE, "from_user_id": USER_ID })),
        ];
        let left = in_every_order(lab, &events).await;
        assert_eq!(left.matches("contact [").count(), 1, "{left}");
        assert!(left.contains("name Some(\"Priya\")"), "{left}");
    });
}

#[test]
fn a_status_binds_two_addresses_whatever_comes_first() {
    on_both(async |lab| {
        let status = json!({"statuses": [{"id": "wamid.elsewhere", "status": "delivered", "recipient_id": PHONE,
            "recipient_user_id": USER_ID, "timestamp": (BEGIN / 1_000).to_string()}]});
        let by_phone = written("wamid.1", 0, &json!({ "from": PHONE }));
        let by_id = written("wamid.2", 0, &json!({ "from_user_id": USER_ID }));
        let left = in_every_order(lab, &[status.clone(), by_phone, by_id.clone()]).await;
        assert_eq!(left.matches("contact [").count(), 1, "{left}");
        // Also where the message is known, and the person by nothing that the status names.
        let echo = json!({"field": "smb_message_echoes", "message_echoes": [{"from": "442079460111", "to": PHONE, "id": "wamid.elsewhere",
            "timestamp": (BEGIN / 1_000).to_string(), "type": "text", "text": {"body": "hello"}}]});
        let mut of_id = status;
        of_id["statuses"][0].as_object_mut().unwrap().remove("recipient_id");
        of_id["contacts"] = json!([{"profile": {"name": "Priya"}, "user_id": USER_ID}]);
        let left = in_every_order(lab, &[of_id, echo, by_id]).await;
        assert!(left.contains("name Some(\"Priya\")"), "{left}");
        // A status alone makes nobody known.
        let nobody = json!({"statuses": [{"id": "wamid.elsewhere", "status": "delivered", "recipient_id": PHONE,
            "timestamp": (BEGIN / 1_000).to_string()}]});
        assert_eq!(in_every_order(lab, &[nobody]).await, "");
    });
}

#[test]
fn of_two_spellings_of_one_moment_the_same_is_shown_whatever_comes_first() {
    on_both(async |lab| {
        let long = written("wamid.1", 0, &json!({"from": "5511987654321"}));
        let short = written("wamid.2", 0, &json!({"from": "551187654321"}));
        let left = in_every_order(lab, &[long, short]).await;
        assert!(left.contains("written to at {\"phone\": \"5511987654321\"}"), "{left}");
    });
}

#[test]
fn the_first_wording_of_an_edited_message_is_told_whatever_comes_first() {
    on_both(async |lab| {
        let item = |id: &str, kind: &str, part: Value| {
            let mut item = json!({"from": "442079460111", "to": PHONE, "id": id,
                "timestamp": (BEGIN / 1_000 - 60).to_string(), "type": kind});
            item[kind] = part;
            item
        };
        let echo = |item: Value| json!({"field": "smb_message_echoes", "message_echoes": [item]});
        let placeholder = json!({"field": "history", "history": [{"metadata": {"phase": 0}, "threads": [{"id": PHONE,
            "context": {"wa_id": PHONE}, "messages": [item("wamid.1", "media_placeholder", json!({}))]}]}]});
        let first = echo(item("wamid.1", "text", json!({"body": "first"})));
        let second = json!({"original_message_id": "wamid.1", "message": {"type": "text", "text": {"body": "second"}}});
        let edit = echo(item("wamid.2", "edit", second));
        let left = in_every_order(lab, &[placeholder, first, edit]).await;
        assert!(left.contains("first") && !left.contains("placeholder"), "{left}");
    });
}
