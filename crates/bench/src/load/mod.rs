//! The load generator.
//!
//! A fixed number of connections post [webhooks](crate::webhook) to one server, by a [`Schedule`]: as fast as it answers (closed
//! loop), or at a rate that takes no notice of it (open loop). In an open loop an answer's time counts from when its request was
//! *due*, so a server that falls behind cannot hide it by slowing the generator down.
//!
//! Meant for a runtime of one thread: a second one would take the processor from the server.

mod connection;
mod latencies;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::task::JoinSet;

pub use self::latencies::Latencies;
use crate::usage;
use crate::webhook::Webhooks;
use connection::Connection;

/// A server that acknowledges nothing at all for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Before the next try after a failure, or a refusal where only acknowledgements count.
const PAUSE: Duration = Duration::from_millis(20);

/// When requests are sent, and when it ends.
#[derive(Debug, Clone, Copy)]
pub enum Schedule {
    /// Each connection sends the next request once it has the answer to the last; for this long.
    For(Duration),
    /// The same, until this many were acknowledged with 200.
    Acknowledged(u64),
    /// Requests fall due evenly, whatever the answers; for this long.
    Rate {
        /// Requests a second.
        per_second: f64,
        /// How long.
        duration: Duration,
    },
}

/// What one load did.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Answered with 200.
    pub acknowledged: u64,
    /// Answered with 503.
    pub refused: u64,
    /// Answered with any other status.
    pub other: u64,
    /// Not answered: connection refused, reset, or no answer in time.
    pub broken: u64,
    /// Those, by what went wrong.
    pub broken_by: BTreeMap<String, u64>,
    /// Sent once more on a new connection, since the server had closed the idle one; what came of it is counted above.
    pub reopened: u64,
    /// Due by the schedule, but not sent before its end because every connection was still waiting.
    pub unsent: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// The times of the answers with 200.
    pub latencies: Latencies,
    /// Processor time that the generator itself spent.
    pub generator_cpu: Duration,
}

impl Outcome {
    /// Acknowledged requests a second.
    pub fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// How many got any answer.
    pub fn answered(&self) -> u64 {
        self.acknowledged + self.refused + self.other
    }

    fn note_broken(&mut self, error: &io::Error) {
        self.broken += 1;
        *self.broken_by.entry(error.kind().to_string()).or_default() += 1;
    }

    /// The outcome in numbers that can be printed.
    pub fn figures(&self) -> Figures {
        Figures {
            requests_per_second: self.rate(),
            acknowledged: self.acknowledged,
            refused: self.refused,
            other: self.other,
            broken: self.broken,
            broken_by: self.broken_by.clone(),
            reopened: self.reopened,
            unsent: self.unsent,
            seconds: self.elapsed.as_secs_f64(),
            p50_ms: self.latencies.percentile_ms(0.50),
            p95_ms: self.latencies.percentile_ms(0.95),
            p99_ms: self.latencies.percentile_ms(0.99),
            longest_ms: self.latencies.longest_ms(),
            generator_cpu_seconds: self.generator_cpu.as_secs_f64(),
        }
    }
}

/// An [`Outcome`] for people and files; names as there.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "each field is described at `Outcome`")]
pub struct Figures {
    pub requests_per_second: f64,
    pub acknowledged: u64,
    pub refused: u64,
    pub other: u64,
    pub broken: u64,
    pub broken_by: BTreeMap<String, u64>,
    pub reopened: u64,
    pub unsent: u64,
    pub seconds: f64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub longest_ms: f64,
    pub generator_cpu_seconds: f64,
}

/// Sends webhooks to `address` over `connections` connections.
///
/// Errors if a connection cannot be opened at the start, or if the server acknowledges nothing for half a minute; a failure on the
/// way is only counted.
pub async fn run(
    address: SocketAddr,
    connections: usize,
    schedule: Schedule,
    webhooks: &Arc<Webhooks>,
) -> anyhow::Result<Outcome> {
    // One after the other: a burst of thousands would overflow the server's accept queue before the clock starts.
    let mut opened = Vec::with_capacity(connections);
    for number in 0..connections {
        let connection = Connection::open(address)
            .await
            .with_context(|| format!("connection {number} to {address} could not be opened"))?;
        opened.push(connection);
    }

    let cpu_before = usage::own_cpu()?;
    let course = Arc::new(Course::start(schedule, Arc::clone(webhooks)));
    let mut workers = JoinSet::new();
    for connection in opened {
        workers.spawn(work(connection, Arc::clone(&course)));
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a connection's task failed")?;
    }
    let elapsed = course.started.elapsed();
    let generator_cpu = usage::own_cpu()?.saturating_sub(cpu_before);

    let tally = course.tally();
    if tally.gave_up {
        bail!(
            "{address} acknowledged nothing for {} s; {} requests were acknowledged before",
            SILENCE_MAX.as_secs(),
            tally.outcome.acknowledged
        );
    }
    Ok(Outcome {
        unsent: course.unsent(&tally.outcome),
        elapsed,
        generator_cpu,
        ..tally.outcome.clone()
    })
}

/// Sends the same request again and again over `connections` connections, each the next once it has the answer to the last; for this long.
///
/// Errors if a connection cannot be opened at the start.
pub async fn repeat(
    address: SocketAddr,
    connections: usize,
    duration: Duration,
    request: &[u8],
) -> anyhow::Result<Outcome> {
    let mut workers = JoinSet::new();
    let cpu_before = usage::own_cpu()?;
    let started = Instant::now();
    for number in 0..connections {
        let mut connection = Connection::open(address)
            .await
            .with_context(|| format!("connection {number} to {address} could not be opened"))?;
        let request = request.to_vec();
        workers.spawn(async move {
            let mut outcome = Outcome::default();
            while started.elapsed() < duration {
                let sent = Instant::now();
                match connection.post(&request).await {
                    Ok(200) => {
                        outcome.acknowledged += 1;
                        outcome.latencies.record(sent.elapsed());
                    }
                    Ok(503) => outcome.refused += 1,
                    Ok(_) => outcome.other += 1,
                    Err(error) => {
                        outcome.note_broken(&error);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            outcome
        });
    }
    let mut total = Outcome::default();
    while let Some(ended) = workers.join_next().await {
        let part = ended.context("a connection's task failed")?;
        total.acknowledged += part.acknowledged;
        total.refused += part.refused;
        total.other += part.other;
        total.broken += part.broken;
        for (kind, count) in part.broken_by {
            *total.broken_by.entry(kind).or_default() += count;
        }
        total.latencies.add(&part.latencies);
    }
    total.elapsed = started.elapsed();
    total.generator_cpu = usage::own_cpu()?.saturating_sub(cpu_before);
    Ok(total)
}

/// What the connections of one load share.
struct Course {
    schedule: Schedule,
    webhooks: Arc<Webhooks>,
    started: Instant,
    /// Requests handed out, for the schedules that count them.
    claimed: AtomicU64,
    tally: Mutex<Tally>,
}

struct Tally {
    outcome: Outcome,
    last_acknowledged: Instant,
    gave_up: bool,
}

impl Course {
    fn start(schedule: Schedule, webhooks: Arc<Webhooks>) -> Self {
        let started = Instant::now();
        Self {
            schedule,
            webhooks,
            started,
            claimed: AtomicU64::new(0),
            tally: Mutex::new(Tally {
                outcome: Outcome::default(),
                last_acknowledged: started,
                gave_up: false,
            }),
        }
    }

    /// Waits until the next request may be sent and answers when it was due; `None` at the end.
    async fn next_due(&self) -> Option<Instant> {
        match self.schedule {
            Schedule::For(duration) => {
                let now = Instant::now();
                (now.duration_since(self.started) < duration).then_some(now)
            }
            Schedule::Acknowledged(count) => {
                let claimed = self.claimed.fetch_add(1, Ordering::Relaxed);
                (claimed < count).then(Instant::now)
            }
            Schedule::Rate { per_second, duration } => {
                let number = self.claimed.fetch_add(1, Ordering::Relaxed);
                let due_after = Duration::from_secs_f64(number as f64 / per_second);
                if due_after >= duration {
                    return None;
                }
                let due = self.started + due_after;
                tokio::time::sleep_until(due.into()).await;
                (self.started.elapsed() < duration).then_some(due)
            }
        }
    }

    fn unsent(&self, outcome: &Outcome) -> u64 {
        match self.schedule {
            Schedule::For(_) | Schedule::Acknowledged(_) => 0,
            Schedule::Rate { per_second, duration } => {
                let due = (per_second * duration.as_secs_f64()).ceil() as u64;
                due.saturating_sub(outcome.answered() + outcome.broken)
            }
        }
    }

    /// A request that was not acknowledged has to be sent again where acknowledgements are counted.
    fn give_back(&self) {
        if matches!(self.schedule, Schedule::Acknowledged(_)) {
            self.claimed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work(mut connection: Connection, course: Arc<Course>) {
    let mut request = course.webhooks.request();
    while let Some(due) = course.next_due().await {
        course.webhooks.fill(&mut request);
        let answer = connection.post(request.bytes()).await;
        let took = due.elapsed();

        let acknowledged = matches!(answer, Ok(200));
        {
            let mut tally = course.tally();
            match answer {
                Ok(200) => {
                    tally.outcome.acknowledged += 1;
                    tally.outcome.latencies.record(took);
                    tally.last_acknowledged = Instant::now();
                }
                Ok(503) => tally.outcome.refused += 1,
                Ok(_) => tally.outcome.other += 1,
                Err(ref error) => tally.outcome.note_broken(error),
            }
            tally.gave_up |= tally.last_acknowledged.elapsed() > SILENCE_MAX;
            if tally.gave_up {
                break;
            }
        }
        if !acknowledged {
            course.give_back();
        }
        let pauses = answer.is_err() || (!acknowledged && matches!(course.schedule, Schedule::Acknowledged(_)));
        if pauses {
            tokio::time::sleep(PAUSE).await;
        }
    }
    course.tally().outcome.reopened += connection.reopened();
}
