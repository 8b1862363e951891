//! What is due, and what waits to be posted.
//!
//! Two queues under one lock, so that "nothing is left to do" is one question with one answer: acts planned for later
//! (statuses, reads, replies, repeats), ordered by time and then by when they were planned; and events that wait to be
//! posted, one queue for each subscribed object. One driver runs what is due; posts run side by side, as many as a
//! subscriber may have.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Mutex;

use tokio::sync::watch;

use crate::lock;
use crate::webhooks::{Event, Object, Post};

/// What is done at its time.
#[derive(Debug)]
pub(crate) enum Act {
    /// A WhatsApp message takes its next step.
    Progress(Box<crate::webhooks::status::Step>),
    /// An Instagram message arrives at the customer.
    Arrive {
        customer: String,
        account: String,
        message_id: String,
    },
    /// The customer looks at the thread.
    Look { customer: String, account: String },
    /// The customer writes.
    Write {
        customer: String,
        account: String,
        content: Box<crate::customers::acts::Content>,
    },
    /// A template is changed as a script has it.
    TemplateLine(Box<crate::customers::script::TemplateLine>),
    /// A template goes on in its life.
    Template(Box<crate::templates::TemplateTurn>),
    /// Something is posted.
    Post(Box<crate::posts::NewPost>),
    /// The script goes on.
    Script(Box<crate::customers::script::Turn>),
    /// Events have waited long enough for company.
    Flush(Object),
    /// A post is repeated.
    Repeat(Box<Post>),
}

#[derive(Debug)]
pub(crate) struct Engine {
    inner: Mutex<Inner>,
    /// Changes whenever something was planned, done or posted.
    changed: watch::Sender<u64>,
    planned_max: usize,
    waiting_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    planned: BinaryHeap<Reverse<Planned>>,
    planned_count: u64,
    /// Acts taken by the driver and not yet finished.
    running: usize,
    whatsapp: Queue,
    instagram: Queue,
}

#[derive(Debug)]
struct Planned {
    due: i64,
    number: u64,
    act: Act,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.number) == (other.due, other.number)
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// The events that wait for one subscriber.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    repeats: VecDeque<Post>,
    /// Posts under way.
    in_flight: usize,
    /// Events that wait, are under way, or wait for a repeat.
    held: usize,
    flush_planned: bool,
    /// Somebody waits for the attempt of one of the events.
    urgent: bool,
}

/// What a queue hands out to be posted.
pub(crate) enum Batch {
    First(Vec<Event>),
    Again(Post),
}

/// How a queue hands out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) batch_max: usize,
    pub(crate) batch_wait_millis: i64,
    pub(crate) parallel: usize,
}

impl Inner {
    fn queue(&mut self, object: Object) -> &mut Queue {
        match object {
            Object::WhatsApp => &mut self.whatsapp,
            Object::Instagram => &mut self.instagram,
        }
    }

    fn push(&mut self, due: i64, act: Act) {
        self.planned_count += 1;
        let number = self.planned_count;
        self.planned.push(Reverse(Planned { due, number, act }));
    }

    fn next_due(&self) -> Option<i64> {
        self.planned.peek().map(|Reverse(planned)| planned.due)
    }

    fn is_idle(&self, now: i64) -> bool {
        let nothing_due = self.next_due().is_none_or(|due| due > now);
        let nothing_posted = [&self.whatsapp, &self.instagram]
            .iter()
            .all(|queue| queue.in_flight == 0 && queue.repeats.is_empty() && !queue.holds_ready(now));
        nothing_due && self.running == 0 && nothing_posted
    }
}

impl Queue {
    /// Events that a free place would take at once.
    fn holds_ready(&self, now: i64) -> bool {
        !self.events.is_empty()
            && (self.urgent || !self.flush_planned || self.events.front().is_some_and(|event| event.ready_at <= now))
    }
}

impl Engine {
    pub(crate) fn new(planned_max: usize, waiting_max: usize) -> Self {
        Self {
            inner: Mutex::default(),
            changed: watch::Sender::new(0),
            planned_max,
            waiting_max,
        }
    }

    /// Plans an act.
    pub(crate) fn plan(&self, due: i64, act: Act) {
        lock(&self.inner).push(due, act);
        self.touch();
    }

    /// Whether so much is planned that new work should be turned away.
    pub(crate) fn is_full(&self) -> bool {
        lock(&self.inner).planned.len() >= self.planned_max
    }

    /// The first act that is due, to be reported with [`Engine::finish`].
    pub(crate) fn take_due(&self, now: i64) -> Option<Act> {
        let mut inner = lock(&self.inner);
        if inner.next_due()? > now {
            return None;
        }
        let Reverse(planned) = inner.planned.pop()?;
        inner.running += 1;
        Some(planned.act)
    }

    /// An act that was taken is done.
    pub(crate) fn finish(&self) {
        lock(&self.inner).running -= 1;
        self.touch();
    }

    pub(crate) fn next_due(&self) -> Option<i64> {
        lock(&self.inner).next_due()
    }

    /// Puts an event into its queue; gives it back if the queue is full.
    pub(crate) fn enqueue(&self, mut event: Event, now: i64, pace: Pace) -> Result<(), Box<Event>> {
        let mut inner = lock(&self.inner);
        let object = event.object;
        let queue = inner.queue(object);
        if queue.held >= self.waiting_max {
            return Err(Box::new(event));
        }
        queue.held += 1;
        queue.urgent |= event.attempted.is_some();
        event.ready_at = now + pace.batch_wait_millis;
        let waits = event.ready_at > now && !queue.flush_planned;
        let flush_at = event.ready_at;
        queue.events.push_back(event);
        if waits {
            queue.flush_planned = true;
            inner.push(flush_at, Act::Flush(object));
        }
        drop(inner);
        self.touch();
        Ok(())
    }

    /// A post whose pause is over waits for a free place.
    pub(crate) fn enqueue_repeat(&self, post: Post) {
        let mut inner = lock(&self.inner);
        inner.queue(post.object).repeats.push_back(post);
        drop(inner);
        self.touch();
    }

    /// The wait for company is over; the next event plans a new one.
    pub(crate) fn flushed(&self, object: Object) {
        lock(&self.inner).queue(object).flush_planned = false;
    }

    /// Hands out what may be posted now, repeats first, to be reported with [`Engine::posted`].
    pub(crate) fn take_batch(&self, object: Object, now: i64, pace: Pace) -> Option<Batch> {
        let mut inner = lock(&self.inner);
        let queue = inner.queue(object);
        if queue.in_flight >= pace.parallel {
            return None;
        }
        if let Some(post) = queue.repeats.pop_front() {
            queue.in_flight += 1;
            return Some(Batch::Again(post));
        }
        let full = queue.events.len() >= pace.batch_max;
        let ready = full || queue.holds_ready(now);
        if !ready || queue.events.is_empty() {
            return None;
        }
        let count = queue.events.len().min(pace.batch_max);
        let events = queue.events.drain(..count).collect();
        queue.urgent &= !queue.events.is_empty();
        queue.in_flight += 1;
        Some(Batch::First(events))
    }

    /// A post has ended: answered, dropped, or to be repeated at a time.
    pub(crate) fn posted(&self, object: Object, events: usize, repeat: Option<(i64, Post)>) {
        let mut inner = lock(&self.inner);
        let queue = inner.queue(object);
        queue.in_flight -= 1;
        match repeat {
            Some((due, post)) => inner.push(due, Act::Repeat(Box::new(post))),
            None => queue.held -= events,
        }
        drop(inner);
        self.touch();
    }

    /// Resolves when nothing is due, under way or waiting for a place; with `planned_too`, when nothing is planned either.
    pub(crate) async fn idle(&self, now: impl Fn() -> i64, planned_too: bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            {
                let inner = lock(&self.inner);
                let nothing_planned = inner.planned.is_empty() || !planned_too;
                if nothing_planned && inner.is_idle(now()) {
                    return;
                }
            }
            // The sender lives as long as `self`, so waiting can't end early.
            let _ = changed.changed().await;
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn touch(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}
