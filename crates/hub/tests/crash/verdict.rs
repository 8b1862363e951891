//! What must be true once everything has settled: the sandbox's ledger says what happened at Meta, the store what the hub made of it.
//!
//! The store is read as it is, past the hub's own code, so that a mistake there cannot agree with itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde_json::Value;
use tidings_sandbox::{LedgerEntry, LedgerKind};

use crate::load::Reply;
use crate::meta::{Customer, Meta, events_of};
use crate::stores::Store;

/// How long a customer's message allows an answer.
const WINDOW_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Violations that are shown of each kind.
const SHOWN_MAX: usize = 5;

/// What was looked through.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    violations: BTreeMap<&'static str, Vec<String>>,
    pub(crate) events: usize,
    pub(crate) messages: usize,
    pub(crate) replies: usize,
    /// Replies that were sent a second time, since it never became known that Meta had not taken them the first time.
    pub(crate) sent_again: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events, {} messages of customers, {} replies, {} of them sent again",
            self.events, self.messages, self.replies, self.sent_again
        )?;
        for (rule, violations) in &self.violations {
            write!(f, "\n{rule}: {} violations", violations.len())?;
            for violation in violations.iter().take(SHOWN_MAX) {
                write!(f, "\n    {violation}")?;
            }
        }
        Ok(())
    }
}

impl Verdict {
    /// Looks through everything.
    pub(crate) async fn of(meta: &Meta, store: &Store, replies: &[Reply]) -> Self {
        let mut verdict = Self::default();
        let ledger = meta.ledger();
        let history = History::read(meta, &ledger);
        let kept = Kept::read(store).await;
        verdict.nothing_waits(store).await;
        verdict.events_are_kept_once(&history, &kept);
        verdict.counters_are_right(store, &kept).await;
        verdict.messages_are_kept_once(&history, &kept);
        verdict.replies_were_sent_once(&history, &kept, replies);
        verdict.replies_were_sent_in_order(&history, meta, replies);
        verdict.attempts_are_told(&kept);
        verdict.conversations_agree(&kept);
        verdict.the_stream_told_once(&kept);
        verdict
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    fn violated(&mut self, rule: &'static str, how: impl Into<String>) {
        self.violations.entry(rule).or_default().push(how.into());
    }

    fn must(&mut self, holds: bool, rule: &'static str, how: impl FnOnce() -> String) {
        if !holds {
            self.violated(rule, how());
        }
    }

    async fn nothing_waits(&mut self, store: &Store) {
        for table in [
            "outbox",
            "event_queue",
            "event_exceptions",
            "parked_events",
            "quarantined_notifications",
        ] {
            let rows = store.number(&format!("SELECT COUNT(*) FROM {table}")).await;
            self.must(rows == 0, "nothing waits, nothing failed", || {
                format!("{rows} rows in {table}")
            });
        }
    }

    /// Every event that was answered with 200 is kept once, and nothing else is kept.
    fn events_are_kept_once(&mut self, history: &History<'_>, kept: &Kept) {
        let mut times: HashMap<(&str, &str), usize> = HashMap::new();
        for event in &kept.events {
            *times.entry((&event.account, &event.external_id)).or_default() += 1;
            self.must(event.status == "processed", "every event is processed", || {
                format!("{event:?}")
            });
        }
        for (key, times) in &times {
            self.must(*times == 1, "no event is doubled", || {
                format!("{key:?} is kept {times} times")
            });
        }
        let expected: HashSet<(&str, &str)> = history
            .acknowledged
            .iter()
            .map(|(account, external_id)| (*account, external_id.as_str()))
            .collect();
        for missing in expected.iter().filter(|key| !times.contains_key(*key)) {
            self.violated("no acknowledged event is missing", format!("{missing:?}"));
        }
        for (key, _) in times.iter().filter(|(key, _)| !expected.contains(*key)) {
            self.violated("nothing is kept that Meta did not send", format!("{key:?}"));
        }
        for problem in &history.unacknowledged {
            self.violated("every event is acknowledged in the end", problem.clone());
        }
        self.events = kept.events.len();
    }

    /// The counters, which are kept beside the events, say how many there are.
    async fn counters_are_right(&mut self, store: &Store, kept: &Kept) {
        let mut counts: BTreeMap<Vec<String>, i64> = BTreeMap::new();
        for event in &kept.events {
            *counts
                .entry(vec![event.platform.clone(), event.kind.clone(), event.status.clone()])
                .or_default() += 1;
        }
        let sql = "SELECT platform, kind, status, CAST(SUM(count) AS BIGINT) FROM event_counts GROUP BY platform, kind, status";
        for mut row in store.ask(sql).await {
            let counted: i64 = row.pop().unwrap().parse().unwrap();
            let there = counts.remove(&row).unwrap_or(0);
            self.must(counted == there, "counters of events are right", || {
                format!("{row:?}: {counted}, but there are {there}")
            });
        }
        for (key, there) in counts {
            self.violated(
                "counters of events are right",
                format!("{key:?}: none, but there are {there}"),
            );
        }
    }

    /// Every message of a customer is in that customer's conversation once, at Meta's time.
    fn messages_are_kept_once(&mut self, history: &History<'_>, kept: &Kept) {
        let mut inbound: HashMap<&str, Vec<&Message>> = HashMap::new();
        for message in kept.messages.iter().filter(|message| !message.outbound) {
            inbound.entry(&message.external_id).or_default().push(message);
        }
        for written in &history.written {
            let found = inbound.remove(written.id).unwrap_or_default();
            let [message] = found[..] else {
                self.violated(
                    "each message of a customer is kept once",
                    format!("{written:?} is kept {} times", found.len()),
                );
                continue;
            };
            self.must(message.text == written.text, "messages say what was written", || {
                format!("{written:?}: {message:?}")
            });
            self.must(
                message.occurred_at == written.at,
                "messages stand at Meta's time",
                || format!("{written:?}: {message:?}"),
            );
            let is_theirs = kept
                .conversations
                .get(&message.conversation)
                .is_some_and(|conversation| {
                    conversation.channel == written.customer.channel
                        && kept.identities.iter().any(|(shown, contact)| {
                            *contact == conversation.contact && written.customer.addresses.contains(shown)
                        })
                });
            self.must(is_theirs, "messages are in their writer's conversation", || {
                format!("{written:?}: {message:?}")
            });
        }
        for message in inbound.into_values().flatten() {
            self.violated("nothing is kept that Meta did not send", format!("{message:?}"));
        }
        let writers: HashSet<&str> = history
            .written
            .iter()
            .map(|written| written.customer.id.as_str())
            .collect();
        let conversations = kept.conversations.len();
        self.must(
            conversations == writers.len(),
            "each customer has one conversation",
            || format!("{} customers have {conversations} conversations", writers.len()),
        );
        self.messages = history.written.len();
    }

    /// Every reply that was accepted reached Meta once, and the hub knows how far it got.
    fn replies_were_sent_once(&mut self, history: &History<'_>, kept: &Kept, replies: &[Reply]) {
        let mut outbound: HashMap<&str, &Message> = kept
            .messages
            .iter()
            .filter(|message| message.outbound)
            .map(|message| (message.id.as_str(), message))
            .collect();
        let mut at_meta: HashMap<&str, Vec<&str>> = HashMap::new();
        for sent in &history.sent {
            at_meta.entry(sent.text).or_default().push(sent.id);
        }
        for reply in replies {
            let sent = at_meta.remove(reply.text.as_str()).unwrap_or_default();
            let Some(message) = reply.message_id.strip_prefix("msg_").and_then(|id| outbound.remove(id)) else {
                self.violated("each accepted reply is kept", format!("{reply:?}"));
                continue;
            };
            self.sent_again += usize::from(message.maybe_duplicate);
            let [external_id] = sent[..] else {
                self.violated(
                    "each accepted reply was sent once",
                    format!("{reply:?} was sent {} times: {message:?}", sent.len()),
                );
                continue;
            };
            let is_known = message.external_id == external_id && message.status == "read" && message.text == reply.text;
            self.must(is_known, "the hub knows what became of each reply", || {
                format!("{reply:?} is {external_id}: {message:?}")
            });
        }
        for (text, sent) in at_meta {
            self.violated(
                "nothing is sent that was not accepted",
                format!("{text:?}, {} times", sent.len()),
            );
        }
        for message in outbound.into_values() {
            self.violated("nothing is kept as sent that nobody asked for", format!("{message:?}"));
        }
        self.replies = replies.len();
    }

    /// Within a conversation, in the order in which they were accepted.
    fn replies_were_sent_in_order(&mut self, history: &History<'_>, meta: &Meta, replies: &[Reply]) {
        let mut accepted: HashMap<&str, Vec<&str>> = HashMap::new();
        for reply in replies {
            accepted
                .entry(&meta.customers()[reply.customer].id)
                .or_default()
                .push(&reply.text);
        }
        let mut sent: HashMap<&str, Vec<&str>> = HashMap::new();
        for reply in &history.sent {
            let texts = sent.entry(&reply.customer.id).or_default();
            if !texts.contains(&reply.text) {
                texts.push(reply.text);
            }
        }
        for (customer, accepted) in accepted {
            let sent = sent.remove(customer).unwrap_or_default();
            self.must(sent == accepted, "replies go out in their order", || {
                format!("{customer}: {accepted:?} went out as {sent:?}")
            });
        }
    }

    /// Each attempt has an end, and one of each message is the one that Meta took.
    fn attempts_are_told(&mut self, kept: &Kept) {
        let mut attempts: HashMap<&str, Vec<&Attempt>> = HashMap::new();
        for attempt in &kept.attempts {
            self.must(!attempt.finished_at.is_empty(), "each attempt has an end", || {
                format!("{attempt:?}")
            });
            attempts.entry(&attempt.message).or_default().push(attempt);
        }
        for message in kept.messages.iter().filter(|message| message.outbound) {
            let attempts = attempts.remove(message.id.as_str()).unwrap_or_default();
            let taken = attempts.iter().filter(|attempt| attempt.outcome == "accepted").count();
            self.must(taken == 1, "one attempt of each reply was accepted", || {
                format!("{taken} of {message:?}: {attempts:?}")
            });
        }
    }

    /// What a conversation says of its messages is what they say.
    fn conversations_agree(&mut self, kept: &Kept) {
        const RULE: &str = "conversations agree with their messages";
        let mut messages: HashMap<&str, Vec<&Message>> = HashMap::new();
        for message in &kept.messages {
            messages.entry(&message.conversation).or_default().push(message);
        }
        for (id, conversation) in &kept.conversations {
            let messages = messages.remove(id.as_str()).unwrap_or_default();
            let inbound = messages.iter().filter(|message| !message.outbound);
            let last = messages
                .iter()
                .map(|message| (message.occurred_at, message.id.as_str()))
                .max();
            let last_inbound_at = inbound.clone().map(|message| message.occurred_at).max();
            let expected = Figures {
                unread: inbound.clone().count() as i64,
                last_message: last.map(|(at, id)| (at, id.to_owned())),
                last_inbound_at,
                window_ends_at: last_inbound_at.map(|at| at + WINDOW_MILLIS),
                next_position: 1 + (messages.len() - inbound.count()) as i64,
            };
            self.must(conversation.figures == expected, RULE, || {
                format!("{id} says {:?}, its messages {expected:?}", conversation.figures)
            });
            self.must(!conversation.is_merged, RULE, || {
                format!("{id} was merged into another one")
            });
        }
        for message in messages.into_values().flatten() {
            self.violated(RULE, format!("{message:?} is in none"));
        }
    }

    /// The live stream told of every event, and of every message's making once.
    fn the_stream_told_once(&mut self, kept: &Kept) {
        const RULE: &str = "the stream tells of each message once";
        let mut created: HashMap<&str, usize> = HashMap::new();
        for message in kept.stream.iter().flat_map(|row| &row.created) {
            *created.entry(message).or_default() += 1;
        }
        for message in &kept.messages {
            let times = created.remove(format!("msg_{}", message.id).as_str()).unwrap_or(0);
            self.must(times == 1, RULE, || format!("{times} times of {message:?}"));
        }
        for message in created.into_keys() {
            self.violated(RULE, format!("{message} is none"));
        }
        let told: HashSet<&str> = kept.stream.iter().map(|row| row.event.as_str()).collect();
        for event in kept.events.iter().filter(|event| !told.contains(event.id.as_str())) {
            self.violated("the stream tells of each event", format!("{event:?}"));
        }
    }
}

/// What happened, as the ledger tells it.
struct History<'a> {
    /// Account and external id of every event that was answered with 200.
    acknowledged: Vec<(&'a str, String)>,
    /// What the sandbox could not get rid of.
    unacknowledged: Vec<String>,
    written: Vec<Written<'a>>,
    sent: Vec<Sent<'a>>,
}

#[derive(Debug)]
struct Written<'a> {
    id: &'a str,
    customer: &'a Customer,
    text: &'a str,
    /// As the notification tells it: WhatsApp in whole seconds.
    at: i64,
}

#[derive(Debug)]
struct Sent<'a> {
    id: &'a str,
    customer: &'a Customer,
    text: &'a str,
}

impl<'a> History<'a> {
    fn read(meta: &'a Meta, ledger: &'a [LedgerEntry]) -> Self {
        let customers: HashMap<&str, &Customer> = meta
            .customers()
            .iter()
            .map(|customer| (customer.id.as_str(), customer))
            .collect();
        let (mut written, mut sent, mut unacknowledged) = (Vec::new(), Vec::new(), Vec::new());
        for entry in ledger {
            let subject = || {
                let customer = customers[entry.customer.as_deref().unwrap()];
                (
                    entry.message_id.as_deref().unwrap(),
                    customer,
                    entry.detail["text"].as_str().unwrap(),
                )
            };
            match entry.kind {
                LedgerKind::Written => {
                    let (id, customer, text) = subject();
                    let at = if customer.channel == "whatsapp" {
                        entry.at / 1000 * 1000
                    } else {
                        entry.at
                    };
                    written.push(Written { id, customer, text, at });
                }
                LedgerKind::Accepted => {
                    let (id, customer, text) = subject();
                    sent.push(Sent { id, customer, text });
                }
                LedgerKind::GaveUp
                | LedgerKind::Dropped
                | LedgerKind::Swallowed
                | LedgerKind::Refused
                | LedgerKind::Failed => {
                    unacknowledged.push(format!("{:?}: {}", entry.kind, entry.detail));
                }
                _ => {}
            }
        }
        let mut history = Self {
            acknowledged: Vec::new(),
            unacknowledged,
            written,
            sent,
        };
        history.name(ledger);
        history
    }

    /// Names the acknowledged events as the hub does: by what makes each what it is.
    fn name(&mut self, ledger: &[LedgerEntry]) {
        let written: HashMap<&str, &Written<'_>> = self.written.iter().map(|written| (written.id, written)).collect();
        let sent: HashMap<&str, &Sent<'_>> = self.sent.iter().map(|sent| (sent.id, sent)).collect();
        let mut acknowledged = Vec::new();
        let mut seen = HashSet::new();
        for entry in ledger.iter().filter(|entry| entry.kind == LedgerKind::Acknowledged) {
            for event in events_of(&entry.detail) {
                let (customer, external_id) = if let Some(written) = written.get(event.as_str()) {
                    (written.customer, format!("message:{event}"))
                } else if let Some(sent) = sent.get(event.as_str()) {
                    (sent.customer, format!("echo:{event}"))
                } else {
                    let (message, word) = event.rsplit_once(':').unwrap();
                    let customer = sent[message].customer;
                    let external_id = match word {
                        "seen" => format!("seen:{message}:{}", customer.address),
                        status => format!("status:{message}:{status}"),
                    };
                    (customer, external_id)
                };
                acknowledged.push((customer.account.as_str(), external_id));
                seen.insert(event);
            }
        }
        for written in &self.written {
            if !seen.contains(written.id) {
                self.unacknowledged.push(format!("{written:?}"));
            }
        }
        for sent in &self.sent {
            let due: Vec<String> = match sent.customer.channel {
                "whatsapp" => ["sent", "delivered", "read"]
                    .map(|status| format!("{}:{status}", sent.id))
                    .to_vec(),
                _ => vec![sent.id.to_owned()],
            };
            for event in due.into_iter().filter(|event| !seen.contains(event)) {
                self.unacknowledged.push(format!("{event} of {sent:?}"));
            }
        }
        self.acknowledged = acknowledged;
    }
}

/// What the hub made of it, as the store tells it.
struct Kept {
    events: Vec<Event>,
    messages: Vec<Message>,
    conversations: HashMap<String, Conversation>,
    /// Address and contact.
    identities: Vec<(String, String)>,
    attempts: Vec<Attempt>,
    stream: Vec<StreamRow>,
}

#[derive(Debug)]
struct Event {
    id: String,
    account: String,
    external_id: String,
    platform: String,
    kind: String,
    status: String,
}

#[derive(Debug)]
struct Message {
    id: String,
    conversation: String,
    outbound: bool,
    text: String,
    external_id: String,
    status: String,
    occurred_at: i64,
    maybe_duplicate: bool,
}

#[derive(Debug)]
struct Conversation {
    contact: String,
    channel: String,
    is_merged: bool,
    figures: Figures,
}

/// What a conversation keeps of what its messages say.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    unread: i64,
    last_message: Option<(i64, String)>,
    last_inbound_at: Option<i64>,
    window_ends_at: Option<i64>,
    next_position: i64,
}

#[derive(Debug)]
#[expect(dead_code, reason = "what is not compared is shown where a rule is broken")]
struct Attempt {
    message: String,
    started_at: String,
    finished_at: String,
    outcome: String,
    error: String,
}

struct StreamRow {
    event: String,
    created: Vec<String>,
}

impl Kept {
    async fn read(store: &Store) -> Self {
        let events = store
            .ask("SELECT {hex id}, account, external_id, platform, kind, status FROM events")
            .await;
        let messages = store
            .ask(
                "SELECT {hex id}, {hex conversation_id}, outbound, content, external_id, status, occurred_at, maybe_duplicate
                 FROM messages",
            )
            .await;
        let conversations = store
            .ask(
                "SELECT {hex id}, {hex contact_id}, channel_id, {hex merged_into}, unread, last_message_at, {hex last_message_id},
                    last_inbound_at, window_ends_at, next_position FROM conversations",
            )
            .await;
        let identities = store
            .ask("SELECT shown, {hex contact_id} FROM contact_identities")
            .await;
        let attempts = store
            .ask("SELECT {hex message_id}, started_at, finished_at, outcome, error_text FROM attempts ORDER BY id")
            .await;
        let stream = store.ask("SELECT {hex event_id}, changes FROM stream").await;
        Self {
            events: events.into_iter().map(event).collect(),
            messages: messages.into_iter().map(message).collect(),
            conversations: conversations.into_iter().map(conversation).collect(),
            identities: identities
                .into_iter()
                .map(|row| <[String; 2]>::try_from(row).unwrap().into())
                .collect(),
            attempts: attempts.into_iter().map(attempt).collect(),
            stream: stream.into_iter().map(stream_row).collect(),
        }
    }
}

fn event(row: Vec<String>) -> Event {
    let [id, account, external_id, platform, kind, status] = row.try_into().unwrap();
    Event {
        id,
        account,
        external_id,
        platform,
        kind,
        status,
    }
}

fn message(row: Vec<String>) -> Message {
    let [
        id,
        conversation,
        outbound,
        content,
        external_id,
        status,
        occurred_at,
        maybe_duplicate,
    ] = row.try_into().unwrap();
    let content: Value = serde_json::from_str(&content).unwrap();
    Message {
        id,
        conversation,
        outbound: outbound == "1",
        text: content["text"].as_str().unwrap_or_default().to_owned(),
        external_id,
        status,
        occurred_at: occurred_at.parse().unwrap(),
        maybe_duplicate: maybe_duplicate == "1",
    }
}

fn conversation(row: Vec<String>) -> (String, Conversation) {
    let [
        id,
        contact,
        channel,
        merged_into,
        unread,
        last_at,
        last_id,
        last_inbound_at,
        window_ends_at,
        next_position,
    ] = row.try_into().unwrap();
    let figures = Figures {
        unread: unread.parse().unwrap(),
        last_message: (!last_id.is_empty()).then(|| (last_at.parse().unwrap(), last_id)),
        last_inbound_at: last_inbound_at.parse().ok(),
        window_ends_at: window_ends_at.parse().ok(),
        next_position: next_position.parse().unwrap(),
    };
    (
        id,
        Conversation {
            contact,
            channel,
            is_merged: !merged_into.is_empty(),
            figures,
        },
    )
}

fn attempt(row: Vec<String>) -> Attempt {
    let [message, started_at, finished_at, outcome, error] = row.try_into().unwrap();
    Attempt {
        message,
        started_at,
        finished_at,
        outcome,
        error,
    }
}

fn stream_row(row: Vec<String>) -> StreamRow {
    let [event, changes] = row.try_into().unwrap();
    let changes: Vec<Value> = serde_json::from_str(&changes).unwrap();
    let created = changes
        .iter()
        .filter_map(|change| Some(change.get("created")?[0].as_str()?.to_owned()))
        .collect();
    StreamRow { event, created }
}
