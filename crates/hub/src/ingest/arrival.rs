//! Events that have just come in are kept, and what they mean is brought into conversations, in one unit.
//!
//! Guarantee: all of it, or nothing, and each event once. What is kept here needs no place in the queue, no second look and no second
//! writing of its row, which is most of what processing costs otherwise. Projection does not depend on order, so whatever waits in the queue
//! meanwhile makes no difference.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidings_meta::notification::EventKind;
use tokio::time::Instant;

use crate::channels::templates::news::{self, News, Notice};
use crate::conversations::model::{ChannelId, Millis};
use crate::conversations::projection::{self, Incoming, REDACTED};
use crate::ids::{EventId, Ids};
use crate::ingest::meaning::Meaning;
use crate::ingest::model::{EventStatus, NewEvent, StoredEvent, identity_of};
use crate::ingest::silence;
use crate::store::events::{CountSlot, FinishedEvent};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};

/// An event on its way into the store.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// As it came.
    pub event: NewEvent,
    identity: [u8; 16],
    /// What it means, if that was found out; it was not where the event needs no processing, or comes with very many others.
    meaning: Option<Box<Meaning>>,
}

/// What a unit brought in.
#[derive(Debug, Default)]
pub struct BroughtIn {
    /// Events that were not known, with the time that each took; the others were repeats.
    pub new: HashMap<EventId, Option<i64>>,
    /// New inbound messages, by their kind of content.
    pub received: Vec<(ChannelId, &'static str)>,
    /// Events that had been put aside are in the queue again.
    pub unparked: bool,
    /// There are files to be fetched.
    pub has_files: bool,
    /// What is to be known of message templates.
    pub notices: Vec<Notice>,
    /// Whether anything was told of one.
    pub is_about_templates: bool,
}

impl Arrived {
    /// An event, and what it means.
    pub fn new(event: NewEvent, meaning: Option<Box<Meaning>>) -> Self {
        let identity = identity_of(&event.external_id);
        Self {
            event,
            identity,
            meaning,
        }
    }

    /// Whether it can be kept as done.
    pub fn is_understood(&self) -> bool {
        self.meaning.is_some() || self.event.ignored_because.is_some()
    }

    fn status(&self) -> EventStatus {
        self.meaning
            .as_ref()
            .map_or(EventStatus::Ignored, |meaning| meaning.status)
    }

    fn channel_id(&self) -> Option<&ChannelId> {
        match &self.meaning {
            Some(meaning) => meaning.channel_id.as_ref(),
            None => self.event.channel_id.as_ref(),
        }
    }

    fn incoming(&self) -> Option<&Incoming> {
        self.meaning.as_ref()?.incoming.as_ref()
    }

    fn news(&self) -> Option<(EventId, &News)> {
        Some((self.event.id, self.meaning.as_ref()?.news.as_ref()?))
    }

    /// The event as it was kept, without its raw value; `None` if it needed no processing.
    pub fn processed(self, micros: Option<i64>, now: Millis) -> Option<StoredEvent> {
        let (event, meaning) = (self.event, self.meaning?);
        Some(StoredEvent {
            id: event.id,
            platform: event.platform,
            account: event.account,
            external_id: event.external_id,
            channel_id: meaning.channel_id,
            kind: event.kind,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            signed: event.signed,
            status: meaning.status,
            attempts: 1,
            error: meaning.error,
            processed_at: Some(now),
            processing_micros: micros,
            payload: String::new(),
        })
    }
}

/// Keeps those of the events that are not kept yet, each with what became of it, and brings what they mean into conversations.
pub fn bring_in(
    tx: &mut Tx<'_>,
    arrived: &[&Arrived],
    batch_size: usize,
    ids: &Ids,
    now: Millis,
) -> Result<BroughtIn, StoreError> {
    let new = new_among(tx, arrived)?;
    if new.is_empty() {
        return Ok(BroughtIn::default());
    }
    let began = Instant::now();
    let incoming: Vec<&Incoming> = new.iter().filter_map(|arrived| arrived.incoming()).collect();
    let projected = projection::project_all(tx, &incoming, batch_size, ids, now)?;
    let share = began.elapsed() / u32::try_from(incoming.len().max(1)).unwrap_or(u32::MAX);

    let redacted: HashSet<EventId> = projected.redacted.into_iter().collect();
    let finished: Vec<FinishedEvent<'_>> = new
        .iter()
        .map(|arrived| {
            let meaning = arrived.meaning.as_deref();
            FinishedEvent {
                event: &arrived.event,
                identity: &arrived.identity,
                channel_id: arrived.channel_id(),
                status: arrived.status(),
                error: match meaning {
                    Some(meaning) => meaning.error.as_deref(),
                    None => arrived.event.ignored_because,
                },
                processed_at: meaning.map(|_| now),
                processing_micros: meaning.and_then(|meaning| i64::try_from((share + meaning.took).as_micros()).ok()),
                payload: if redacted.contains(&arrived.event.id) {
                    REDACTED
                } else {
                    &arrived.event.payload
                },
            }
        })
        .collect();
    tx.insert_finished_events(&finished)?;
    note_arrival(tx, new.iter().map(|arrived| (&arrived.event, arrived.status())))?;
    let mut changes: BTreeMap<EventId, _> = incoming
        .iter()
        .map(|event| event.event_id)
        .zip(projected.changes)
        .collect();
    let told: Vec<(EventId, &News)> = new.iter().filter_map(|arrived| arrived.news()).collect();
    let is_about_templates = !told.is_empty();
    let notices = news::hear_all(tx, told.into_iter(), &mut changes, now)?;
    let meanings = new.iter().filter_map(|arrived| arrived.meaning.as_deref());
    let numbers: Vec<ChannelId> = meanings.flat_map(|meaning| meaning.numbers.iter().cloned()).collect();
    tx.want_number_readings(&numbers, now)?;
    let rows: Vec<NewStreamRow> = new
        .iter()
        .filter(|arrived| arrived.meaning.is_some())
        .map(|arrived| NewStreamRow {
            at: now,
            channel_id: arrived.channel_id().cloned(),
            event_id: Some(arrived.event.id),
            changes: changes.remove(&arrived.event.id).unwrap_or_default(),
        })
        .collect();
    tx.insert_stream(&rows)?;
    Ok(BroughtIn {
        new: finished
            .iter()
            .map(|finished| (finished.event.id, finished.processing_micros))
            .collect(),
        received: projected.received,
        unparked: projected.unparked,
        has_files: projected.has_files,
        notices,
        is_about_templates,
    })
}

/// Keeps those of the events that are not kept yet, and puts them in the queue, unless they need no processing. Answers with the ids of the new ones.
pub fn keep(tx: &mut Tx<'_>, arrived: &[&Arrived]) -> Result<HashSet<EventId>, StoreError> {
    let events: Vec<&NewEvent> = arrived.iter().map(|arrived| &arrived.event).collect();
    let new: HashSet<EventId> = tx.insert_events(&events)?.into_iter().collect();
    let kept = events.into_iter().filter(|event| new.contains(&event.id));
    note_arrival(tx, kept.map(|event| (event, event.status())))?;
    Ok(new)
}

/// The first of each event that is not kept yet.
fn new_among<'a>(tx: &mut Tx<'_>, arrived: &[&'a Arrived]) -> Result<Vec<&'a Arrived>, StoreError> {
    let keys: Vec<(&str, &[u8; 16])> = arrived
        .iter()
        .map(|arrived| (arrived.event.account.as_str(), &arrived.identity))
        .collect();
    let known = tx.known_events(&keys)?;
    let mut seen: HashSet<(&str, &[u8; 16])> = known
        .iter()
        .map(|(account, identity)| (account.as_str(), identity))
        .collect();
    let mut new = Vec::with_capacity(arrived.len());
    for arrived in arrived {
        if seen.insert((&arrived.event.account, &arrived.identity)) {
            new.push(*arrived);
        }
    }
    Ok(new)
}

/// Counts events that were kept, and notes when their channels were last heard of.
fn note_arrival<'e>(
    tx: &mut Tx<'_>,
    events: impl Iterator<Item = (&'e NewEvent, EventStatus)>,
) -> Result<(), StoreError> {
    let mut counts = BTreeMap::new();
    let mut activity: BTreeMap<&ChannelId, (Millis, Option<Millis>)> = BTreeMap::new();
    let mut hours: BTreeMap<(&ChannelId, i64), i64> = BTreeMap::new();
    for (event, status) in events {
        *counts.entry((event.platform, event.kind, status)).or_insert(0) += 1;
        // What is imported, or was found by asking Meta, tells nothing of how quickly events come, nor of how many there usually are.
        let tells_nothing = matches!(
            event.kind,
            EventKind::History | EventKind::AppStateSync | EventKind::Media
        );
        if let Some(channel) = event.channel_id.as_ref().filter(|_| !tells_nothing) {
            *hours.entry((channel, silence::hour_of(event.received_at))).or_insert(0) += 1;
            let last = activity
                .entry(channel)
                .or_insert((event.received_at, event.occurred_at));
            *last = (last.0.max(event.received_at), last.1.max(event.occurred_at));
        }
    }
    tx.count_events(CountSlot::Ingest, &counts)?;
    tx.count_channel_hours(&hours)?;
    for (channel, (received_at, occurred_at)) in activity {
        tx.note_channel_activity(channel, received_at, occurred_at)?;
    }
    Ok(())
}
