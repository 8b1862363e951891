//! Statements about events, their queue, and quarantined notifications.

use std::collections::HashSet;

use tidings_meta::notification::{EventKind, Platform};

use super::value::{FromValue, Row, Rows, Value, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::{EventId, MessageId, NotificationId};
use crate::ingest::model::{EventStatus, NewEvent, StoredEvent, identity_of};

/// Who changes the counters of [`Tx::count_events`]: each has rows of its own, so that they never wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountSlot {
    /// Notifications coming in.
    Ingest = 0,
    /// Events being understood.
    Projection = 1,
    /// Replays asked for by people.
    Replay = 2,
}

/// Which events a list is of; every part that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of this kind.
    pub kind: Option<EventKind>,
    /// With this status.
    pub status: Option<EventStatus>,
    /// Of this product.
    pub platform: Option<Platform>,
    /// Of this channel.
    pub channel_id: Option<ChannelId>,
    /// Of this account at Meta.
    pub account: Option<String>,
    /// Received then or later.
    pub from: Option<Millis>,
    /// Received before.
    pub to: Option<Millis>,
    /// With this text in the external id or the raw value; the case of letters does not matter.
    pub text: Option<String>,
    /// Made before this one.
    pub before: Option<EventId>,
}

/// What makes an event the same as another one: the account, and [`identity_of`] its external id.
pub type EventKey<'e> = (&'e str, &'e [u8; 16]);

/// An event that is kept with what became of it.
#[derive(Debug, Clone, Copy)]
pub struct FinishedEvent<'e> {
    /// As it came.
    pub event: &'e NewEvent,
    /// [`identity_of`] its external id.
    pub identity: &'e [u8; 16],
    /// The channel that its account is.
    pub channel_id: Option<&'e ChannelId>,
    /// Anything but pending.
    pub status: EventStatus,
    /// Why it was not processed.
    pub error: Option<&'e str>,
    /// When it was processed; `None` if it needed no processing.
    pub processed_at: Option<Millis>,
    /// How long that took.
    pub processing_micros: Option<i64>,
    /// Its raw value, or what stands in the place of one that was taken back.
    pub payload: &'e str,
}

/// Where an event stands in the queue: when it is due, and its id.
pub type QueuePlace = (Millis, EventId);

/// How many events a page of a filtered list, or a filtered count, looks at.
pub const LOOKED_AT_MAX: u32 = 10_000;

/// A page of a list of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Those that were found, the newest first, without their raw values.
    pub events: Vec<StoredEvent>,
    /// The `before` of the page after it; absent at the end. It is there also if nothing was found among what was looked at.
    pub next: Option<EventId>,
}

/// How many events a filter finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCount {
    /// So many were found.
    pub total: i64,
    /// All were looked at; otherwise there may be more.
    pub is_exact: bool,
}

impl EventFilter {
    /// Whether the counters alone can tell how many events it finds.
    fn is_counted(&self) -> bool {
        let Self {
            kind: _,
            status: _,
            platform: _,
            channel_id,
            account,
            from,
            to,
            text,
            before: _,
        } = self;
        channel_id.is_none() && account.is_none() && from.is_none() && to.is_none() && text.is_none()
    }

    fn walk(&self) -> Walk {
        match (self.status, self.kind, &self.account) {
            (Some(EventStatus::Pending), _, _) => Walk::Pending,
            (Some(status), _, _) if status.is_exception() => Walk::Exceptions,
            _ => self.walk_of_all(),
        }
    }

    /// The walk that does not go by status.
    fn walk_of_all(&self) -> Walk {
        match (self.kind, &self.account) {
            (_, Some(_)) => Walk::Account,
            (Some(_), None) => Walk::Kind,
            (None, None) => Walk::All,
        }
    }

    /// Whether a walk leaves events out.
    fn leaves_out(&self, walk: Walk) -> bool {
        let Self {
            kind,
            status,
            platform,
            channel_id,
            account,
            from: _,
            to: _,
            text,
            before: _,
        } = self;
        let by_status = matches!(walk, Walk::Pending | Walk::Exceptions);
        platform.is_some()
            || channel_id.is_some()
            || text.is_some()
            || (status.is_some() && !by_status)
            || (kind.is_some() && !matches!(walk, Walk::Kind))
            || (account.is_some() && !matches!(walk, Walk::Account))
    }

    /// The ids between which it finds events: from the first, up to but without the second.
    fn range(&self) -> (EventId, EventId) {
        let from = self.from.map_or(EventId::MIN, first_id_at);
        let to = self.to.map_or(EventId::MAX, first_id_at);
        (from, to)
    }
}

/// The index along which a list goes: that of the condition that narrows most. Each is in the order of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    Pending,
    Exceptions,
    Account,
    Kind,
    All,
}

impl Tx<'_> {
    /// Keeps those of the events that are not kept yet, and puts what is to be processed in the queue. Answers with the ids of the new
    /// ones; the others are repeats.
    pub fn insert_events(&mut self, events: &[&NewEvent]) -> Result<Vec<EventId>, StoreError> {
        let mut identified: Vec<([u8; 16], &NewEvent)> = events
            .iter()
            .map(|event| (identity_of(&event.external_id), *event))
            .collect();
        // Two units that bring the same events wait for each other's rows: in one order, so that neither waits for the other for good. Of
        // repeats within the batch the first stays the first.
        identified.sort_by(|(a, first), (b, second)| (&first.account, a).cmp(&(&second.account, b)));
        let mut rows = Rows::new();
        for (identity, event) in &identified {
            rows.push(params![
                &event.id,
                event.platform.as_str(),
                &event.account,
                identity,
                &event.external_id,
                event.channel_id.as_ref().map(|channel| channel.0.as_str()),
                event.kind.as_str(),
                event.occurred_at,
                event.received_at,
                event.signed,
                event.status().as_str(),
                event.ignored_because,
                &event.payload,
            ]);
        }
        let inserted = self.query_rows(
            "INSERT INTO events (id, platform, account, identity, external_id, channel_id, kind, occurred_at, received_at, signed,
                status, attempts, error, payload)
             {insert r.id, r.platform, r.account, r.ident, r.external_id, r.channel_id, r.kind, r.occurred_at, r.received_at, r.signed,
                r.status, 0, r.error, r.payload of r: id blob, platform text, account text, ident blob, external_id text, channel_id text, kind text,
                occurred_at int, received_at int, signed int, status text, error text, payload text} ON CONFLICT DO NOTHING RETURNING id",
            &rows,
        )?;
        let new: Vec<EventId> = inserted.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        let mut queue = Rows::new();
        let mut exceptions = Rows::new();
        let is_new: HashSet<&EventId> = new.iter().collect();
        for event in events.iter().filter(|event| is_new.contains(&event.id)) {
            match event.status() {
                EventStatus::Pending => queue.push(params![event.received_at, &event.id]),
                status => exceptions.push(params![status.as_str(), &event.id]),
            }
        }
        self.insert_queue(&queue)?;
        self.insert_exceptions(&exceptions)?;
        Ok(new)
    }

    /// Which of these events are kept already; told by account and identity.
    pub fn known_events(&mut self, keys: &[EventKey<'_>]) -> Result<HashSet<(String, [u8; 16])>, StoreError> {
        let mut rows = Rows::new();
        for (account, identity) in keys {
            rows.push(params![*account, *identity]);
        }
        let found = self.query_rows(
            "SELECT e.account, e.identity FROM {each r: account text, ident blob} events AS e
             WHERE e.account = r.account AND e.identity = r.ident",
            &rows,
        )?;
        found
            .iter()
            .map(|row| {
                let identity: Vec<u8> = row.get(1)?;
                let identity = identity
                    .try_into()
                    .map_err(|_| StoreError::corrupt(1, "is no identity"))?;
                Ok((row.get(0)?, identity))
            })
            .collect()
    }

    /// Keeps events that were processed as they came in, or need no processing, with what became of them. None of them may be kept
    /// already: [`StoreError::Conflict`] if another unit has kept one since this one looked.
    pub fn insert_finished_events(&mut self, events: &[FinishedEvent<'_>]) -> Result<(), StoreError> {
        let mut ordered: Vec<&FinishedEvent<'_>> = events.iter().collect();
        // In one order everywhere, as in `insert_events`.
        ordered.sort_by(|a, b| (&a.event.account, a.identity).cmp(&(&b.event.account, b.identity)));
        let mut rows = Rows::new();
        let mut exceptions = Rows::new();
        for finished in &ordered {
            let event = finished.event;
            rows.push(params![
                &event.id,
                event.platform.as_str(),
                &event.account,
                finished.identity,
                &event.external_id,
                finished.channel_id.map(|channel| channel.0.as_str()),
                event.kind.as_str(),
                event.occurred_at,
                event.received_at,
                event.signed,
                finished.status.as_str(),
                finished.processed_at.is_some(),
                finished.error,
                finished.processed_at,
                finished.processing_micros,
                finished.payload,
            ]);
            if finished.status.is_exception() {
                exceptions.push(params![finished.status.as_str(), &event.id]);
            }
        }
        self.send_new_rows(
            "INSERT INTO events (id, platform, account, identity, external_id, channel_id, kind, occurred_at, received_at, signed,
                status, attempts, error, processed_at, processing_micros, payload)
             {insert r.id, r.platform, r.account, r.ident, r.external_id, r.channel_id, r.kind, r.occurred_at, r.received_at, r.signed,
                r.status, r.attempts, r.error, r.processed_at, r.micros, r.payload of r: id blob, platform text, account text, ident blob,
                external_id text, channel_id text, kind text, occurred_at int, received_at int, signed int, status text, attempts int,
                error text, processed_at int, micros int, payload text} {sqlite ON CONFLICT DO NOTHING}",
            &rows,
        )?;
        self.insert_exceptions(&exceptions)
    }

    fn insert_queue(&mut self, rows: &Rows<'_>) -> Result<(), StoreError> {
        self.send_rows(
            "INSERT INTO event_queue (due_at, event_id) {insert r.due_at, r.event_id of r: due_at int, event_id blob} ON CONFLICT DO NOTHING",
            rows,
        )
    }

    fn insert_exceptions(&mut self, rows: &Rows<'_>) -> Result<(), StoreError> {
        self.send_rows(
            "INSERT INTO event_exceptions (status, event_id) {insert r.status, r.event_id of r: status text, event_id blob} ON CONFLICT DO NOTHING",
            rows,
        )
    }

    /// Takes due events out of the queue, those that are due longest; answers with them in the order of their making. They come back into
    /// the queue if the unit is taken back.
    pub fn take_due_events(&mut self, now: Millis, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let taken = self.query(
            "SELECT due_at, event_id FROM event_queue AS q WHERE due_at <= ?1 ORDER BY due_at, event_id LIMIT ?2 {take q}",
            params![now, limit],
        )?;
        let entries: Vec<(Millis, EventId)> = taken
            .iter()
            .map(|row| Ok((row.get(0)?, row.get(1)?)))
            .collect::<Result<_, StoreError>>()?;
        let mut rows = Rows::new();
        let mut ids = Rows::new();
        let mut seen = HashSet::new();
        for (due_at, id) in &entries {
            rows.push(params![*due_at, id]);
            // An event can be due twice: for a pause that has ended, and because what it waited for is known now.
            if seen.insert(id) {
                ids.push(params![id]);
            }
        }
        self.send_rows(
            "DELETE FROM event_queue WHERE (due_at, event_id) {in r.due_at, r.event_id of r: due_at int, event_id blob}",
            &rows,
        )?;
        let mut events = self.events_by_ids(&ids)?;
        events.sort_by_key(|event| event.id);
        Ok(events)
    }

    /// Due events after a place in the queue, those that are due longest first, each with its place. They stay in the queue.
    pub fn due_events(
        &mut self,
        now: Millis,
        after: Option<QueuePlace>,
        limit: u32,
    ) -> Result<Vec<(QueuePlace, StoredEvent)>, StoreError> {
        let (after_at, after_id) = after.unwrap_or((Millis::MIN, EventId::MIN));
        let rows = self.query(
            "SELECT e.id, e.platform, e.account, e.external_id, e.channel_id, e.kind, e.occurred_at, e.received_at, e.signed,
                e.status, e.attempts, e.error, e.processed_at, e.processing_micros, e.payload, q.due_at
             FROM event_queue AS q JOIN events AS e ON e.id = q.event_id
             WHERE q.due_at <= ?1 AND (q.due_at, q.event_id) > (?2, ?3) ORDER BY q.due_at, q.event_id LIMIT ?4",
            params![now, after_at, &after_id, limit],
        )?;
        rows.iter()
            .map(|row| {
                let event = stored_event(row)?;
                Ok(((row.get(15)?, event.id), event))
            })
            .collect()
    }

    /// Takes events out of the queue at these places; answers with those that were still there, and that nobody else has in hand.
    pub fn claim_events(&mut self, places: &[QueuePlace]) -> Result<HashSet<EventId>, StoreError> {
        let mut rows = Rows::new();
        for (due_at, id) in places {
            rows.push(params![*due_at, id]);
        }
        let free = self.query_rows(
            "SELECT q.due_at, q.event_id FROM {each r: due_at int, event_id blob} event_queue AS q
             WHERE q.due_at = r.due_at AND q.event_id = r.event_id {take q}",
            &rows,
        )?;
        let free: Vec<QueuePlace> = free
            .iter()
            .map(|row| Ok((row.get(0)?, row.get(1)?)))
            .collect::<Result<_, StoreError>>()?;
        let mut rows = Rows::new();
        for (due_at, id) in &free {
            rows.push(params![*due_at, id]);
        }
        self.send_rows(
            "DELETE FROM event_queue WHERE (due_at, event_id) {in r.due_at, r.event_id of r: due_at int, event_id blob}",
            &rows,
        )?;
        Ok(free.into_iter().map(|(_, id)| id).collect())
    }

    fn events_by_ids(&mut self, ids: &Rows<'_>) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = self.query_rows(
            "SELECT e.id, e.platform, e.account, e.external_id, e.channel_id, e.kind, e.occurred_at, e.received_at, e.signed,
                e.status, e.attempts, e.error, e.processed_at, e.processing_micros, e.payload
             FROM {each r: id blob} events AS e WHERE e.id = r.id",
            ids,
        )?;
        rows.iter().map(stored_event).collect()
    }

    /// These events without their raw values, in no particular order.
    pub fn event_heads(&mut self, ids: &[EventId]) -> Result<Vec<StoredEvent>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            "SELECT e.id, e.platform, e.account, e.external_id, e.channel_id, e.kind, e.occurred_at, e.received_at, e.signed,
                e.status, e.attempts, e.error, e.processed_at, e.processing_micros, NULL
             FROM {each r: id blob} events AS e WHERE e.id = r.id",
            &rows,
        )?;
        found.iter().map(stored_event).collect()
    }

    /// One event with its raw value.
    pub fn event_by_id(&mut self, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        let mut ids = Rows::new();
        ids.push(params![&id]);
        Ok(self.events_by_ids(&ids)?.into_iter().next())
    }

    /// The event that brought the item with this external id, if it is kept.
    pub fn event_by_external_id(&mut self, account: &str, external_id: &str) -> Result<Option<EventId>, StoreError> {
        let identity = identity_of(external_id);
        self.query_opt(
            "SELECT id FROM events WHERE account = ?1 AND identity = ?2",
            params![account, &identity],
        )?
        .map(|row| row.get(0))
        .transpose()
    }

    /// Notes what became of events that were taken from the queue: status, attempts, error and times are written as they stand in
    /// each, and those that are due again go back into the queue.
    pub fn finish_events(&mut self, finished: &[(StoredEvent, Option<Millis>)]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        let mut queue = Rows::new();
        let mut exceptions = Rows::new();
        for (event, due_again_at) in finished {
            rows.push(params![
                &event.id,
                event.status.as_str(),
                event.attempts,
                &event.error,
                event.processed_at,
                event.processing_micros,
                event.channel_id.as_ref().map(|channel| channel.0.as_str()),
            ]);
            if let Some(due_at) = due_again_at {
                queue.push(params![*due_at, &event.id]);
            }
            if event.status.is_exception() {
                exceptions.push(params![event.status.as_str(), &event.id]);
            }
        }
        self.send_rows(
            "UPDATE events SET status = r.status, attempts = r.attempts, error = r.error, processed_at = r.processed_at,
                processing_micros = r.processing_micros, channel_id = r.channel_id
             {from r: id blob, status text, attempts int, error text, processed_at int, processing_micros int, channel_id text}
             WHERE events.id = r.id",
            &rows,
        )?;
        self.insert_queue(&queue)?;
        self.insert_exceptions(&exceptions)
    }

    /// Adds to the counters of events. Keys are platform, kind and status.
    pub fn count_events(
        &mut self,
        slot: CountSlot,
        changes: &std::collections::BTreeMap<(Platform, EventKind, EventStatus), i64>,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for ((platform, kind, status), count) in changes.iter().filter(|(_, count)| **count != 0) {
            rows.push(params![
                slot as i32,
                platform.as_str(),
                kind.as_str(),
                status.as_str(),
                *count
            ]);
        }
        self.send_rows(
            "INSERT INTO event_counts (slot, platform, kind, status, count)
             {insert r.slot, r.platform, r.kind, r.status, r.count of r: slot int, platform text, kind text, status text, count int}
             ON CONFLICT (slot, platform, kind, status) DO UPDATE SET count = event_counts.count + EXCLUDED.count",
            &rows,
        )
    }

    /// How many events there are of each platform, kind and status.
    pub fn event_counts(&mut self) -> Result<Vec<(Platform, EventKind, EventStatus, i64)>, StoreError> {
        let rows = self.query(
            "SELECT platform, kind, status, CAST(SUM(count) AS BIGINT) FROM event_counts GROUP BY platform, kind, status",
            params![],
        )?;
        rows.iter()
            .map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .collect()
    }

    /// How many events wait to be understood, and since when the longest does. Looks at `limit` at most.
    pub fn waiting_events(&mut self, limit: u32) -> Result<(i64, Option<Millis>), StoreError> {
        let row = self.query_opt(
            "SELECT COUNT(*), MIN(due_at) FROM (SELECT due_at FROM event_queue ORDER BY due_at LIMIT ?1) AS q",
            params![limit],
        )?;
        row.map_or(Ok((0, None)), |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// When the next event is due that waits to be understood.
    pub fn next_event_due(&mut self) -> Result<Option<Millis>, StoreError> {
        self.query_opt("SELECT due_at FROM event_queue ORDER BY due_at LIMIT 1", params![])?
            .map(|row| row.get(0))
            .transpose()
    }

    /// Events, the newest first: after `offset` of them, `limit` at most, among the next [`LOOKED_AT_MAX`] along the index that narrows most.
    pub fn events(&mut self, filter: &EventFilter, limit: u32, offset: u32) -> Result<EventPage, StoreError> {
        let walk = self.walk(filter)?;
        let (from, to) = filter.range();
        let before = filter.before.map_or(to, |before| before.min(to));
        let last = if filter.leaves_out(walk) {
            self.last_looked_at(walk, filter, from, before)?
        } else {
            None
        };
        let text = filter.text.as_deref().map(contains);
        let one_more = limit.saturating_add(1);
        let values = params![
            filter.kind.map(EventKind::as_str),
            filter.status.map(EventStatus::as_str),
            filter.platform.map(Platform::as_str),
            filter.channel_id.as_ref().map(|channel| channel.0.as_str()),
            &filter.account,
            last.as_ref().unwrap_or(&from),
            &before,
            &text,
            one_more,
            offset,
        ];
        let rows = match walk {
            Walk::Pending => self.query(LIST_PENDING, values)?,
            Walk::Exceptions => self.query(LIST_EXCEPTIONS, values)?,
            Walk::Account => self.query(LIST_BY_ACCOUNT, values)?,
            Walk::Kind => self.query(LIST_BY_KIND, values)?,
            Walk::All => self.query(LIST, values)?,
        };
        let mut events: Vec<StoredEvent> = rows.iter().map(stored_event).collect::<Result<_, _>>()?;
        let next = if events.len() > limit as usize {
            events.truncate(limit as usize);
            events.last().map(|event| event.id)
        } else {
            last
        };
        Ok(EventPage { events, next })
    }

    /// Along which index a list goes. The queue is as long as the backlog, and in another order: if it is not short, what is pending is
    /// among the newest.
    fn walk(&mut self, filter: &EventFilter) -> Result<Walk, StoreError> {
        let walk = filter.walk();
        if walk == Walk::Pending && self.waiting_events(LOOKED_AT_MAX + 1)?.0 > i64::from(LOOKED_AT_MAX) {
            return Ok(filter.walk_of_all());
        }
        Ok(walk)
    }

    /// The last event that a page looks at, if there may be more beyond it.
    fn last_looked_at(
        &mut self,
        walk: Walk,
        filter: &EventFilter,
        from: EventId,
        before: EventId,
    ) -> Result<Option<EventId>, StoreError> {
        let skipped = LOOKED_AT_MAX - 1;
        let row = match walk {
            // The queue was short enough.
            Walk::Pending => return Ok(None),
            Walk::Exceptions => {
                let status = filter.status.map(EventStatus::as_str);
                self.query_opt(LAST_OF_EXCEPTIONS, params![&from, &before, skipped, status])?
            }
            Walk::Account => self.query_opt(LAST_BY_ACCOUNT, params![&from, &before, skipped, &filter.account])?,
            Walk::Kind => {
                let kind = filter.kind.map(EventKind::as_str);
                self.query_opt(LAST_BY_KIND, params![&from, &before, skipped, kind])?
            }
            Walk::All => self.query_opt(LAST, params![&from, &before, skipped])?,
        };
        row.map(|row| row.get(0)).transpose()
    }

    /// How many events the filter finds, whatever its `before`: from the counters where they can tell, otherwise among the newest
    /// [`LOOKED_AT_MAX`] along the index that narrows most.
    pub fn count_events_found(&mut self, filter: &EventFilter) -> Result<EventCount, StoreError> {
        if filter.is_counted() {
            let counts = self.event_counts()?;
            let total = counts
                .into_iter()
                .filter(|(platform, kind, status, _)| {
                    filter.platform.is_none_or(|wanted| wanted == *platform)
                        && filter.kind.is_none_or(|wanted| wanted == *kind)
                        && filter.status.is_none_or(|wanted| wanted == *status)
                })
                .map(|(_, _, _, count)| count)
                .sum::<i64>();
            return Ok(EventCount {
                total: total.max(0),
                is_exact: true,
            });
        }
        let text = filter.text.as_deref().map(contains);
        let (from, to) = filter.range();
        let values = params![
            filter.kind.map(EventKind::as_str),
            filter.status.map(EventStatus::as_str),
            filter.platform.map(Platform::as_str),
            filter.channel_id.as_ref().map(|channel| channel.0.as_str()),
            &filter.account,
            &from,
            &to,
            &text,
            LOOKED_AT_MAX,
        ];
        let row = match self.walk(filter)? {
            Walk::Pending => self.query_opt(COUNT_PENDING, values)?,
            Walk::Exceptions => self.query_opt(COUNT_EXCEPTIONS, values)?,
            Walk::Account => self.query_opt(COUNT_BY_ACCOUNT, values)?,
            Walk::Kind => self.query_opt(COUNT_BY_KIND, values)?,
            Walk::All => self.query_opt(COUNT, values)?,
        };
        let Some(row) = row else {
            return Ok(EventCount {
                total: 0,
                is_exact: true,
            });
        };
        let (looked_at, total): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(EventCount {
            total,
            is_exact: looked_at < i64::from(LOOKED_AT_MAX),
        })
    }

    /// Moves events that were listed back to pending and into the queue, but for those that have changed their status since then.
    pub fn requeue_events(&mut self, found: &[StoredEvent], now: Millis) -> Result<(), StoreError> {
        self.requeue(found, now)
    }

    /// Moves one event back to pending and into the queue; answers with it as it was.
    pub fn requeue_event(&mut self, id: EventId, now: Millis) -> Result<Option<StoredEvent>, StoreError> {
        let found = self.event_by_id(id)?;
        if let Some(event) = &found {
            self.requeue(std::slice::from_ref(event), now)?;
        }
        Ok(found)
    }

    fn requeue(&mut self, events: &[StoredEvent], now: Millis) -> Result<(), StoreError> {
        let mut found = Rows::new();
        for event in events.iter().filter(|event| event.status != EventStatus::Pending) {
            found.push(params![&event.id, event.status.as_str()]);
        }
        // Somebody else may have moved some of them since they were read: those are counted there.
        let moved = self.query_rows(
            "UPDATE events SET status = 'pending', attempts = 0, error = NULL {from r: event_id blob, before text}
             WHERE events.id = r.event_id AND events.status = r.before RETURNING id",
            &found,
        )?;
        let moved: HashSet<EventId> = moved.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        let mut queue = Rows::new();
        let mut exceptions = Rows::new();
        let mut counts = std::collections::BTreeMap::new();
        for event in events.iter().filter(|event| moved.contains(&event.id)) {
            queue.push(params![now, &event.id]);
            exceptions.push(params![event.status.as_str(), &event.id]);
            *counts.entry((event.platform, event.kind, event.status)).or_insert(0) -= 1;
            *counts
                .entry((event.platform, event.kind, EventStatus::Pending))
                .or_insert(0) += 1;
        }
        self.send_rows(
            "DELETE FROM event_exceptions WHERE (status, event_id) {in r.status, r.event_id of r: status text, event_id blob}",
            &exceptions,
        )?;
        self.insert_queue(&queue)?;
        self.count_events(CountSlot::Replay, &counts)
    }

    /// Takes what a customer took back out of the event that brought it.
    pub fn redact_event(&mut self, id: EventId, payload: &str) -> Result<(), StoreError> {
        self.send("UPDATE events SET payload = ?2 WHERE id = ?1", params![&id, payload])
    }

    /// The events that are known to have told what a message says: the one that brought it, and those that its timeline names as a wording
    /// or a repeat of it.
    pub fn events_of_message(&mut self, message: MessageId) -> Result<Vec<EventId>, StoreError> {
        let rows = self.query(
            "SELECT event_id FROM messages WHERE id = ?1 AND event_id IS NOT NULL
             UNION SELECT event_id FROM message_facts WHERE message_id = ?1 AND kind IN ('edited', 'echo', 'again')",
            params![&message],
        )?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Notes when a channel was last heard of, and when what was told had happened, if that is known.
    pub fn note_channel_activity(
        &mut self,
        channel: &ChannelId,
        received_at: Millis,
        occurred_at: Option<Millis>,
    ) -> Result<(), StoreError> {
        self.send(
            "UPDATE channels SET last_event_at = ?2, last_event_occurred_at = ?3
             WHERE id = ?1 AND (last_event_at IS NULL OR last_event_at < ?2)",
            params![&channel.0, received_at, occurred_at],
        )
    }

    /// Keeps a signed body that is not what Meta sends.
    pub fn insert_quarantined(&mut self, notification: &QuarantinedNotification) -> Result<(), StoreError> {
        self.send(
            "INSERT INTO quarantined_notifications (id, platform, received_at, reason, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                &notification.id,
                notification.platform.as_str(),
                notification.received_at,
                &notification.reason,
                &notification.body,
            ],
        )
    }

    /// Quarantined notifications, the newest first.
    pub fn quarantined(
        &mut self,
        before: Option<NotificationId>,
        limit: u32,
    ) -> Result<Vec<QuarantinedNotification>, StoreError> {
        let before = before.unwrap_or(NotificationId::MAX);
        let rows = self.query(
            "SELECT id, platform, received_at, reason, body FROM quarantined_notifications WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            params![&before, limit],
        )?;
        rows.iter()
            .map(|row| {
                Ok(QuarantinedNotification {
                    id: row.get(0)?,
                    platform: row.get(1)?,
                    received_at: row.get(2)?,
                    reason: row.get(3)?,
                    body: row.get(4)?,
                })
            })
            .collect()
    }

    /// Like [`Tx::quarantined`], but of each body only so many bytes from its beginning; with the length of the whole.
    pub fn quarantined_beginnings(
        &mut self,
        before: Option<NotificationId>,
        limit: u32,
        body_bytes: u32,
    ) -> Result<Vec<(QuarantinedNotification, i64)>, StoreError> {
        let before = before.unwrap_or(NotificationId::MAX);
        // SQLite's SUBSTR of an empty blob is NULL.
        let rows = self.query(
            "SELECT id, platform, received_at, reason,
                COALESCE(SUBSTR(body, 1, {sqlite ?3}{postgres CAST(?3 AS INTEGER)}), body), LENGTH(body)
             FROM quarantined_notifications WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            params![&before, limit, body_bytes],
        )?;
        rows.iter()
            .map(|row| {
                let notification = QuarantinedNotification {
                    id: row.get(0)?,
                    platform: row.get(1)?,
                    received_at: row.get(2)?,
                    reason: row.get(3)?,
                    body: row.get(4)?,
                };
                Ok((notification, row.get(5)?))
            })
            .collect()
    }

    /// Deletes the oldest quarantined notifications until `keep` are left, and answers with how many were deleted.
    pub fn prune_quarantined(&mut self, keep: u32) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM quarantined_notifications
             WHERE id NOT IN (SELECT id FROM quarantined_notifications ORDER BY id DESC LIMIT ?1)",
            params![keep],
        )
    }
}

/// A body that is not what Meta sends, or that was answered and could not be brought into the store afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedNotification {
    /// Ours.
    pub id: NotificationId,
    /// The product whose address it was posted to.
    pub platform: Platform,
    /// When.
    pub received_at: Millis,
    /// What is wrong with it.
    pub reason: String,
    /// As it came.
    pub body: Vec<u8>,
}

macro_rules! list {
    ($from:literal, $order:literal) => {
        concat!(
            "SELECT e.id, e.platform, e.account, e.external_id, e.channel_id, e.kind, e.occurred_at, e.received_at, e.signed,
                e.status, e.attempts, e.error, e.processed_at, e.processing_micros, NULL
             FROM ",
            $from,
            " AND (CAST(?1 AS TEXT) IS NULL OR e.kind = ?1) AND (CAST(?2 AS TEXT) IS NULL OR e.status = ?2)
              AND (CAST(?3 AS TEXT) IS NULL OR e.platform = ?3) AND (CAST(?4 AS TEXT) IS NULL OR e.channel_id = ?4)
              AND (CAST(?5 AS TEXT) IS NULL OR e.account = ?5)
              AND (CAST(?8 AS TEXT) IS NULL OR e.external_id {sqlite LIKE}{postgres ILIKE} ?8 ESCAPE '\\'
                OR e.payload {sqlite LIKE}{postgres ILIKE} ?8 ESCAPE '\\')
             ORDER BY ",
            $order,
            " DESC LIMIT ?9 OFFSET ?10"
        )
    };
}

const LIST: &str = list!("events AS e WHERE e.id >= ?6 AND e.id < ?7", "e.id");
const LIST_BY_KIND: &str = list!("events AS e WHERE e.kind = ?1 AND e.id >= ?6 AND e.id < ?7", "e.id");
const LIST_BY_ACCOUNT: &str = list!("events AS e WHERE e.account = ?5 AND e.id >= ?6 AND e.id < ?7", "e.id");
// An event can stand in the queue twice, and is listed once.
const LIST_PENDING: &str = list!(
    "events AS e WHERE e.id IN (SELECT q.event_id FROM event_queue AS q) AND e.id >= ?6 AND e.id < ?7",
    "e.id"
);
const LIST_EXCEPTIONS: &str = list!(
    "event_exceptions AS x JOIN events AS e ON e.id = x.event_id WHERE x.status = ?2 AND x.event_id >= ?6 AND x.event_id < ?7",
    "x.event_id"
);

macro_rules! count {
    ($from:literal, $order:literal) => {
        concat!(
            "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN
                    (CAST(?1 AS TEXT) IS NULL OR e.kind = ?1) AND (CAST(?2 AS TEXT) IS NULL OR e.status = ?2)
                    AND (CAST(?3 AS TEXT) IS NULL OR e.platform = ?3) AND (CAST(?4 AS TEXT) IS NULL OR e.channel_id = ?4)
                    AND (CAST(?5 AS TEXT) IS NULL OR e.account = ?5)
                    AND (CAST(?8 AS TEXT) IS NULL OR e.external_id {sqlite LIKE}{postgres ILIKE} ?8 ESCAPE '\\' OR e.payload {sqlite LIKE}{postgres ILIKE} ?8 ESCAPE '\\')
                THEN 1 ELSE 0 END), 0) AS BIGINT)
             FROM (SELECT e.kind, e.status, e.platform, e.channel_id, e.account, e.external_id, e.payload FROM ",
            $from,
            " ORDER BY ",
            $order,
            " DESC LIMIT ?9) AS e"
        )
    };
}

const COUNT: &str = count!("events AS e WHERE e.id >= ?6 AND e.id < ?7", "e.id");
const COUNT_BY_KIND: &str = count!("events AS e WHERE e.kind = ?1 AND e.id >= ?6 AND e.id < ?7", "e.id");
const COUNT_BY_ACCOUNT: &str = count!("events AS e WHERE e.account = ?5 AND e.id >= ?6 AND e.id < ?7", "e.id");
const COUNT_PENDING: &str = count!(
    "events AS e WHERE e.id IN (SELECT q.event_id FROM event_queue AS q) AND e.id >= ?6 AND e.id < ?7",
    "e.id"
);
const COUNT_EXCEPTIONS: &str = count!(
    "event_exceptions AS x JOIN events AS e ON e.id = x.event_id WHERE x.status = ?2 AND x.event_id >= ?6 AND x.event_id < ?7",
    "x.event_id"
);

const LAST: &str = "SELECT e.id FROM events AS e WHERE e.id >= ?1 AND e.id < ?2 ORDER BY e.id DESC LIMIT 1 OFFSET ?3";
const LAST_BY_KIND: &str =
    "SELECT e.id FROM events AS e WHERE e.kind = ?4 AND e.id >= ?1 AND e.id < ?2 ORDER BY e.id DESC LIMIT 1 OFFSET ?3";
const LAST_BY_ACCOUNT: &str = "SELECT e.id FROM events AS e WHERE e.account = ?4 AND e.id >= ?1 AND e.id < ?2 ORDER BY e.id DESC LIMIT 1 OFFSET ?3";
const LAST_OF_EXCEPTIONS: &str = "SELECT x.event_id FROM event_exceptions AS x
     WHERE x.status = ?4 AND x.event_id >= ?1 AND x.event_id < ?2 ORDER BY x.event_id DESC LIMIT 1 OFFSET ?3";

/// A text as a `LIKE` pattern that finds it anywhere.
fn contains(text: &str) -> String {
    format!("%{}%", escaped(text))
}

/// A text as a part of a `LIKE` pattern, in which it stands for itself alone.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// The least id that could have been made at a time: ids begin with it (RFC 9562, 5.7).
fn first_id_at(at: Millis) -> EventId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&u64::try_from(at).unwrap_or(0).to_be_bytes()[2..]);
    EventId::from_slice(&bytes).unwrap_or(EventId::MIN)
}

fn stored_event(row: &Row) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        id: row.get(0)?,
        platform: row.get(1)?,
        account: row.get(2)?,
        external_id: row.get(3)?,
        channel_id: row.get::<Option<String>>(4)?.map(ChannelId),
        kind: row.get(5)?,
        occurred_at: row.get(6)?,
        received_at: row.get(7)?,
        signed: row.get(8)?,
        status: row.get(9)?,
        attempts: row.get(10)?,
        error: row.get(11)?,
        processed_at: row.get(12)?,
        processing_micros: row.get(13)?,
        payload: row.get::<Option<String>>(14)?.unwrap_or_default(),
    })
}

impl FromValue for Platform {
    fn from_value(value: &Value) -> Option<Self> {
        let word = String::from_value(value)?;
        [Self::WhatsApp, Self::Instagram]
            .into_iter()
            .find(|platform| platform.as_str() == word)
    }
}

impl FromValue for EventKind {
    fn from_value(value: &Value) -> Option<Self> {
        // A kind that this version does not know was written by a newer one.
        Some(Self::from_name(&String::from_value(value)?).unwrap_or(Self::Unknown))
    }
}

impl FromValue for EventStatus {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
