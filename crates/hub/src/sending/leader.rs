//! The loop that sends a channel's messages while this node leads it.
//!
//! A few messages are in hand at a time, as many as go out in a tenth of a second or so: enough that the pace never waits for the store, and
//! few enough that a reply overtakes any backlog. Calls run side by side; their outcomes are settled in groups, since that costs
//! little more than settling one.
//!
//! Whenever the channel has to be silent for longer than a moment, or the lead is lost, what is in hand goes back as if it had never been
//! taken: a call that was not made uses up nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidings_meta::client::Usage;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::channels::follow;
use crate::channels::model::OpenCircuit;
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::AttemptId;
use crate::sending::circuit::{Circuit, Sign};
use crate::sending::lease::{Follows, Lead};
use crate::sending::model::{AttemptEnd, Cause, ChannelPace, EntryState, Outcome, Wait};
use crate::sending::pace::{Pace, Rate, Reached, SPAN_MILLIS, Shares, Spent, spans_since};
use crate::sending::sender::{Claim, Ended, InHand, Made, Sender, Taken, millis};
use crate::sending::take_over;
use crate::store::StoreError;

/// How long to wait for a nudge before looking again: other nodes accept messages too.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long to rest after the store failed.
const REST: Duration = Duration::from_millis(500);
/// How often it is tried to keep an outcome once the process is told to end; until then it is tried for as long as it takes, since it is known
/// to nobody else.
const SETTLE_TRIES: u32 = 10;
/// How often it is looked for messages that this node has lost sight of.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// After Meta refused the credentials without saying until when.
const HOLD: Duration = Duration::from_secs(10);
/// The first pause after Meta was too busy without saying until when; each further one is twice as long.
const THROTTLE_FIRST: Duration = Duration::from_secs(1);
const THROTTLE_MOST: Duration = Duration::from_mins(5);
/// An answer of Meta's is kept up to this length.
const ANSWER_CHARS_MAX: usize = 4_000;
/// How many seconds' worth of the pace are taken in hand at once.
const CLAIM_SECS: f64 = 0.1;
/// How many messages are taken in hand at once where there is no pace.
const CLAIM_MAX: u32 = 256;
/// How many seconds' worth of the pace may be under way at once: calls that take longer slow the channel down.
const CALLS_SECS: f64 = 0.5;
/// How many calls may be under way at once however slow the pace.
const CALLS_LEAST: usize = 16;
/// How many calls of a channel may always be under way, whatever the others do.
const CALLS_ALWAYS: usize = 4;
/// How many outcomes are settled in one unit.
const SETTLE_MAX: usize = 256;
/// From this share of the allowed calls on, in percent, the channel slows down (reference `whatsapp.md` 13.5).
const USAGE_NEAR_END: u32 = 80;
/// How often it does so.
const USAGE_SLOWER_EVERY: Duration = Duration::from_secs(30);
/// How long calls that are under way may take to end before the channel is given to another node all the same.
const YIELD_WITHIN: Duration = Duration::from_millis(400);
/// How long what may have arrived waits while Meta does not answer, until it is asked again.
const SILENT_PAUSE: Millis = 15_000;
/// What waits for less is not written down.
const SILENCE_WORTH_SAYING: Millis = 1_000;
/// How many attempts are read at once when it is found out who got something lately.
const PAGE: u32 = 5_000;

/// What came of a piece of work.
enum Done {
    Taken(Result<Taken, StoreError>),
    Called(Box<Called>),
    Settled,
    Said,
    Swept,
    /// Whether it could be kept how the circuit is; which is told.
    Kept(Result<(), StoreError>, Option<OpenCircuit>),
}

struct Called {
    in_hand: InHand,
    /// `None`: the lead had been lost, or Meta does not answer.
    answer: Option<(Outcome, AttemptEnd, Usage)>,
    /// When it is looked again whether Meta answers.
    silent_until: Option<Millis>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Until when the whole channel is silent, and why.
#[derive(Debug, Default)]
struct Gate {
    closed: Option<Closed>,
    /// How often in a row Meta found it too fast.
    throttled: u32,
}

#[derive(Debug, Clone, Copy)]
struct Closed {
    wait: Wait,
    until: Millis,
    /// How long that was when it was closed.
    length: Millis,
}

impl Gate {
    /// Until when it is closed, and why: not for longer than it was meant to be, also where the clock was set back since.
    fn closed_at(&mut self, now: Millis) -> Option<(Wait, Millis)> {
        let closed = self.closed.as_mut()?;
        closed.until = closed.until.min(now + closed.length);
        (closed.until > now).then_some((closed.wait, closed.until))
    }

    fn close(&mut self, wait: Wait, until: Millis, now: Millis) {
        if self.closed_at(now).is_none_or(|(_, other)| other < until) {
            let length = (until - now).max(0);
            self.closed = Some(Closed { wait, until, length });
        }
    }
}

/// When it is looked for messages that this node has lost sight of.
#[derive(Debug)]
struct Sweeps {
    at: Instant,
    is_under_way: bool,
}

impl Sweeps {
    fn new(now: Instant) -> Self {
        Self {
            at: now + SWEEP_EVERY,
            is_under_way: false,
        }
    }

    /// Whether one begins now.
    fn begins(&mut self, now: Instant) -> bool {
        let begins = now >= self.at && !self.is_under_way;
        if begins {
            self.at = now + SWEEP_EVERY;
            self.is_under_way = true;
        }
        begins
    }

    /// What to wake for; nothing while one is under way. That it has ended is told; to wake for the next one before would be to spin for as
    /// long as the store takes.
    fn wakes_at(&self) -> Option<Instant> {
        (!self.is_under_way).then_some(self.at)
    }
}

/// One lead of a channel.
pub(super) struct Leader {
    sender: Arc<Sender>,
    lead: Lead,
    stop: CancellationToken,
    pace: Arc<Mutex<Pace>>,
    gate: Gate,
    circuit: Circuit,
    /// How often the channel was let go on although it paused.
    hurries: i64,
    /// As every node knows it.
    kept_circuit: Option<OpenCircuit>,
    keep_at: Instant,
    shares: Shares,
    work: JoinSet<Done>,
    /// In hand, not yet called for.
    ready: VecDeque<InHand>,
    /// To be settled.
    ended: Vec<Ended>,
    calls: usize,
    is_taking: bool,
    is_settling: bool,
    is_saying: bool,
    is_keeping: bool,
    is_lost: bool,
    /// The channel is no longer as it was, or may not send.
    is_over: bool,
    /// Nobody may have been able to take what Meta had to tell: the store was away, or this process stood still.
    has_missed: bool,
    /// How often the lease had run out for a while when it was last looked at.
    gaps: u64,
    /// Whether the last look left something behind.
    has_backlog: bool,
    look_at: Instant,
    sweeps: Sweeps,
    usage_slower_at: Instant,
    said: Option<(Wait, Option<Millis>, Option<u32>)>,
    say_at: Instant,
}

impl Leader {
    pub(super) fn new(sender: Arc<Sender>, lead: Lead, stop: CancellationToken) -> Self {
        let now = Instant::now();
        let limits = sender.limits();
        let opens_at = match lead.follows {
            Follows::Paced if limits.per_second > 0 => now + Rate::handed_over_for(limits.per_second),
            // Whoever led before may have used up the last second.
            Follows::Anybody if limits.per_second > 0 => now + Rate::used_up_for(),
            Follows::Nobody | Follows::Paced | Follows::Anybody => now,
        };
        let pace = Pace::new(limits, opens_at);
        let kept_circuit = sender.channel.circuit.clone();
        let hurries = sender.channel.hurries;
        let gaps = lead.gaps();
        let circuit = Circuit::new(sender.app.config.sending.circuit.clone(), kept_circuit.clone());
        Self {
            sender,
            lead,
            stop,
            pace: Arc::new(Mutex::new(pace)),
            gate: Gate::default(),
            circuit,
            hurries,
            kept_circuit,
            keep_at: now,
            shares: Shares::default(),
            work: JoinSet::new(),
            ready: VecDeque::new(),
            ended: Vec::new(),
            calls: 0,
            is_taking: false,
            is_settling: false,
            is_saying: false,
            is_keeping: false,
            is_lost: false,
            is_over: false,
            has_missed: false,
            gaps,
            has_backlog: false,
            look_at: now,
            sweeps: Sweeps::new(now),
            usage_slower_at: now,
            said: None,
            say_at: now,
        }
    }

    /// Sends until told to stop, or until another node leads the channel; then lets calls that are under way finish.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        if !self.begin(&stop).await {
            return;
        }
        let mut changes = self.sender.app.leases.changes();
        let mut channels = self.sender.app.channels.changes();
        // What changed before these were listened to is told by nobody: beginning takes as long as the store does.
        self.is_lost = !self.is_still_ours();
        self.is_over = !self.sender.is_current();
        while !stop.is_cancelled() && !self.is_lost && !self.is_over && !self.lead.yields() {
            let wake_at = self.advance();
            let channel = self.sender.channel.id.clone();
            // What ends the lead is rare, and comes first: of a busy channel some work has always ended, and would hide it.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = changes.changed() => {
                    self.is_lost = !self.is_still_ours();
                    let gaps = self.lead.gaps();
                    self.has_missed |= std::mem::replace(&mut self.gaps, gaps) != gaps;
                }
                () = channels.changed() => self.is_over = !self.sender.is_current(),
                // Each look answers any number of nudges, and the next one is only begun when it has ended.
                () = self.sender.app.senders.nudged(&channel) => self.look_at = Instant::now(),
                Some(done) = self.work.join_next() => self.note(done),
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
        if self.lead.yields() && !self.is_lost {
            // What has just been called for is best settled by who has called; but nobody waits long for it.
            let _ = tokio::time::timeout(YIELD_WITHIN, self.wind_up()).await;
            let app = &self.sender.app;
            app.leases.hand_over(app, &self.sender.channel.id).await;
        }
        self.finish().await;
    }

    fn is_still_ours(&self) -> bool {
        let lead = self.sender.app.leases.lead(&self.sender.channel.id);
        lead.is_some_and(|lead| lead.epoch() == self.lead.epoch())
    }

    /// Finds out where the last leader stopped; false if it was told to stop meanwhile, or lost the lead.
    async fn begin(&mut self, stop: &CancellationToken) -> bool {
        loop {
            match self.take_up().await {
                Ok(()) => return true,
                Err(error) => tracing::error!(%error, channel = %self.sender.channel.id, "the outbox cannot be read"),
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(REST) => {}
                () = stop.cancelled() => return false,
            }
            if !self.is_still_ours() {
                return false;
            }
        }
    }

    async fn take_up(&self) -> Result<(), StoreError> {
        let app = &self.sender.app;
        let now = app.clock.now_millis();
        take_up_unknown(app, &self.sender.channel.id, &self.lead).await?;

        let channel = self.sender.channel.id.clone();
        let (counts_calls, counts_contacts, memory) = {
            let pace = self.pace();
            (pace.counts_calls(), pace.counts_contacts(), pace.lanes.memory())
        };
        let (spent, reached) = app
            .store
            .read(move |tx| {
                let spent = if counts_calls {
                    tx.pace_counts(&channel, spans_since(now))?
                } else {
                    Vec::new()
                };
                let reached = if counts_contacts {
                    tx.contacts_reached_by_span(&channel, spans_since(now) * SPAN_MILLIS, SPAN_MILLIS)?
                } else {
                    Vec::new()
                };
                Ok::<_, StoreError>((spent, reached))
            })
            .await?;
        {
            let mut pace = self.pace();
            pace.spent = Spent::new(spent);
            pace.reached = Reached::new(reached);
        }
        if memory > 0 {
            self.remember_recipients(now - memory).await?;
        }
        Ok(())
    }

    /// Finds out who got something since a time.
    async fn remember_recipients(&self, since: Millis) -> Result<(), StoreError> {
        let mut after = AttemptId::first_of(since);
        loop {
            let channel = self.sender.channel.id.clone();
            let page = self
                .sender
                .app
                .store
                .read(move |tx| tx.attempts_of_channel(&channel, after, PAGE))
                .await?;
            let mut pace = self.pace();
            for (id, conversation, at) in &page {
                pace.lanes.note(*conversation, *at);
                after = *id;
            }
            if page.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().expect("no thread panics while it holds this lock")
    }

    /// Does everything that can be done now; answers with when there may be more to do.
    fn advance(&mut self) -> Instant {
        let now = Instant::now();
        let wall = self.sender.app.clock.now_millis();
        let mut wake_at = now + LOOK_AGAIN;
        // Whichever node was asked for it.
        let hurries =
            (self.sender.app.channels.get(&self.sender.channel.id)).map_or(self.hurries, |channel| channel.hurries);
        if std::mem::replace(&mut self.hurries, hurries) != hurries {
            self.gate = Gate::default();
            self.circuit.hurry(wall);
            self.look_at = now;
        }
        if self.circuit.room(wall) == 0 {
            self.put_down();
        }
        if let Some((wait, until)) = self.gate.closed_at(wall) {
            wake_at = wake_at.min(now + positive(until - wall));
            if until - wall >= SILENCE_WORTH_SAYING {
                self.put_down();
                self.say(wait, Some(until), now, wall);
            }
        } else if self.circuit.room(wall) == 0 {
            // Its probe is under way, whose end is told; or the time for it has not come.
            let probe_at = self.circuit.open().map_or(wall, |open| open.probe_at);
            if probe_at > wall {
                wake_at = wake_at.min(now + positive(probe_at - wall));
            }
            self.look_at = now;
        } else {
            wake_at = wake_at.min(self.call_ready(now, wall));
            let left = self.pace().left(wall);
            match left {
                Ok(left) => {
                    wake_at = wake_at.min(self.take_more(now, wall, left));
                    let waits_for = if self.has_backlog { Wait::RateLimit } else { Wait::Turn };
                    self.say(waits_for, None, now, wall);
                }
                // What is in hand is counted already, and goes out.
                Err((wait, until)) => self.say(wait, Some(until), now, wall),
            }
        }
        self.settle_ended(wall);
        wake_at = wake_at.min(self.keep_circuit(now, wall));
        if self.sweeps.begins(now) {
            let (sender, lead) = (Arc::clone(&self.sender), self.lead.clone());
            self.work.spawn(async move {
                sweep(&sender.app, &sender.channel.id, &lead).await;
                Done::Swept
            });
        }
        self.sweeps.wakes_at().map_or(wake_at, |at| wake_at.min(at))
    }

    /// Starts as many calls as may be made now; answers with when the next one may be.
    fn call_ready(&mut self, now: Instant, wall: Millis) -> Instant {
        let later = now + LOOK_AGAIN;
        while let Some(at) = self.ready.iter().position(|in_hand| in_hand.not_before <= wall) {
            if self.calls >= self.room(now) || self.circuit.room(wall) == 0 {
                return later;
            }
            if !self.lead.holds(&self.sender.app.clock) {
                // It is renewed, or lost: either is told.
                self.sender.app.leases.want();
                return later;
            }
            let next_at = self.pace().rate.next_at(now);
            if next_at > now {
                return next_at;
            }
            let mut permit = None;
            if self.calls >= CALLS_ALWAYS {
                match Arc::clone(&self.sender.app.senders.calls).try_acquire_owned() {
                    Ok(given) => permit = Some(given),
                    // Other channels have all calls under way that there may be.
                    Err(_) => return now + Duration::from_millis(20),
                }
            }
            let Some(in_hand) = self.ready.remove(at) else { break };
            let turn = (Arc::clone(&self.pace), self.pace().rate.note_call(now));
            self.circuit.note_call(in_hand.attempt_id);
            self.calls += 1;
            let (sender, lead) = (Arc::clone(&self.sender), self.lead.clone());
            self.work.spawn(call(sender, lead, turn, in_hand, permit));
        }
        let soonest = self.ready.iter().map(|in_hand| in_hand.not_before - wall).min();
        soonest.map_or(later, |wait| now + positive(wait))
    }

    /// How many calls may be under way at once.
    fn room(&self, now: Instant) -> usize {
        let parallel = self.sender.app.config.sending.parallel;
        self.pace().rate.per_second(now).map_or(parallel, |per_second| {
            ((per_second * CALLS_SECS) as usize).max(CALLS_LEAST).min(parallel)
        })
    }

    /// Takes more in hand if there is little left; answers with when to look for more.
    fn take_more(&mut self, now: Instant, wall: Millis, left: u32) -> Instant {
        let later = now + LOOK_AGAIN;
        if self.is_taking || self.is_lost {
            return later;
        }
        if now < self.look_at {
            return self.look_at;
        }
        if !self.lead.holds(&self.sender.app.clock) {
            // Since the last look the process may have stood still: that the lease is renewed, or lost, is told.
            self.sender.app.leases.want();
            return later;
        }
        let portion = self.pace().rate.per_second(now).map_or(CLAIM_MAX, |per_second| {
            ((per_second * CLAIM_SECS).ceil() as u32).clamp(1, CLAIM_MAX)
        });
        let in_hand = self.ready.len() as u32;
        if in_hand > portion / 2 {
            return later;
        }
        // Calls that are under way are on their way out: what is taken now goes out after some of them have ended.
        let room = (self.room(now) as u32 + portion / 2).saturating_sub(self.calls as u32 + in_hand);
        let may_be_tried = u32::try_from(self.circuit.room(wall)).unwrap_or(u32::MAX);
        let count = portion.min(room).min(left).min(may_be_tried.saturating_sub(in_hand));
        if count == 0 {
            return later;
        }
        self.is_taking = true;
        let claim = Claim {
            now: wall,
            count,
            lead: self.lead.clone(),
            shares: self.shares,
            has_missed: std::mem::take(&mut self.has_missed),
        };
        let (sender, pace) = (Arc::clone(&self.sender), Arc::clone(&self.pace));
        self.work.spawn(async move {
            let store = sender.app.store.clone();
            Done::Taken(store.write(move |tx| sender.take(tx, &claim, &pace)).await)
        });
        later
    }

    fn note(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Taken(taken)) => self.note_taken(taken),
            Ok(Done::Called(called)) => {
                self.calls -= 1;
                let ended = self.judge(*called);
                self.ended.push(ended);
                // There is room for another one.
                self.look_at = if self.has_backlog { Instant::now() } else { self.look_at };
            }
            Ok(Done::Settled) => {
                self.is_settling = false;
                // The next message of a conversation is at its head now.
                self.look_at = Instant::now();
            }
            Ok(Done::Said) => self.is_saying = false,
            Ok(Done::Swept) => self.sweeps.is_under_way = false,
            Ok(Done::Kept(kept, circuit)) => {
                self.is_keeping = false;
                match kept {
                    Ok(()) => self.kept_circuit = circuit,
                    Err(error) => {
                        self.keep_at = Instant::now() + REST;
                        tracing::warn!(%error, channel = %self.sender.channel.id, "how the circuit of the channel is could not be kept");
                    }
                }
            }
            Err(error) => {
                // Which piece of work it was is not known: this lead ends, and the supervisor begins another one.
                std::panic::resume_unwind(error.try_into_panic().unwrap_or_else(|error| Box::new(error)));
            }
        }
    }

    fn note_taken(&mut self, taken: Result<Taken, StoreError>) {
        self.is_taking = false;
        let now = Instant::now();
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(%error, channel = %self.sender.channel.id, "the outbox cannot be read");
                self.look_at = now + REST;
                self.has_missed = true;
                return;
            }
        };
        if taken.is_lost {
            self.is_lost = true;
            self.sender.app.leases.want();
            return;
        }
        let app = &self.sender.app;
        if taken.wants_files {
            app.media.nudge_uploads();
        }
        for kind in &taken.ended {
            if let Some(platform) = self.sender.channel.platform() {
                app.metrics.count_sent(platform, false, kind);
            }
        }
        let wall = app.clock.now_millis();
        {
            let mut pace = self.pace();
            pace.spent.add(wall, taken.in_hand.len() as i64);
            for reached in taken.in_hand.iter().filter_map(|in_hand| in_hand.reached) {
                if let Some(before) = reached.before {
                    pace.reached.add(before, -1);
                }
                pace.reached.add(reached.at, 1);
            }
        }
        self.shares = taken.shares;
        self.has_backlog = taken.is_full;
        self.look_at = if taken.is_full {
            now
        } else {
            let until_next = taken.next_due.map_or(LOOK_AGAIN, |due| positive(due - wall));
            now + until_next.min(LOOK_AGAIN)
        };
        self.ready.extend(taken.in_hand);
    }

    /// What an answer says about the message, and about the channel.
    fn judge(&mut self, called: Called) -> Ended {
        let attempt = called.in_hand.attempt_id;
        let Some((outcome, end, usage)) = called.answer else {
            self.circuit.note_unmade(attempt);
            return Ended {
                silent_until: called.silent_until,
                ..self.unsent(called.in_hand)
            };
        };
        let now = Instant::now();
        let why = outcome.failure().map_or("", |failure| failure.text.as_str());
        self.circuit.note_end(attempt, Sign::of(&outcome), why, end.at);
        if matches!(outcome, Outcome::Accepted { .. } | Outcome::Unknown { .. }) {
            // Of a conversation one message is on its way at a time, so it is soon enough now.
            self.pace().lanes.note(called.in_hand.entry.conversation_id, end.at);
        }
        let mut hold_until = None;
        if let Outcome::Again { cause, wait, .. } = &outcome {
            match cause {
                Cause::Throttled => {
                    let is_new = self.gate.closed_at(end.at).is_none();
                    if is_new {
                        let is_slowed = self.pace().rate.is_slowed(now);
                        self.gate.throttled = if is_slowed { self.gate.throttled + 1 } else { 0 };
                    }
                    self.pace().rate.slow_down(now);
                    let pause = THROTTLE_FIRST
                        .saturating_mul(2_u32.saturating_pow(self.gate.throttled.min(16)))
                        .min(THROTTLE_MOST);
                    hold_until = Some(end.at + millis(wait.unwrap_or(pause)));
                }
                Cause::Credentials => hold_until = Some(end.at + millis(wait.unwrap_or(HOLD))),
                Cause::PairLimit => {
                    let until = end.at + millis(wait.unwrap_or_default());
                    let conversation = called.in_hand.entry.conversation_id;
                    self.pace().lanes.hold(conversation, end.at, until);
                }
                Cause::Temporary | Cause::MarketingCap | Cause::TemplatePaused => {}
            }
            if let Some(until) = hold_until {
                tracing::warn!(
                    channel = %self.sender.channel.id,
                    cause = cause.as_str(),
                    pause_millis = (until - end.at).max(0),
                    "the channel pauses"
                );
                self.gate.close(cause.wait(), until, end.at);
            }
        }
        if usage.percent.is_some_and(|percent| percent >= USAGE_NEAR_END) && now >= self.usage_slower_at {
            tracing::warn!(channel = %self.sender.channel.id, percent = usage.percent, "the allowed calls are nearly used up: the channel slows down");
            self.usage_slower_at = now + USAGE_SLOWER_EVERY;
            self.pace().rate.slow_down(now);
            if let (Some(100..), Some(wait)) = (usage.percent, usage.regain_after) {
                self.gate.close(Wait::Throttled, end.at + millis(wait), end.at);
            }
        }
        Ended {
            in_hand: called.in_hand,
            made: Some(Made {
                outcome,
                end,
                hold_until,
                fraction: self.sender.app.ids.fraction(),
            }),
            silent_until: None,
        }
    }

    /// Puts back what is in hand.
    fn put_down(&mut self) {
        while let Some(in_hand) = self.ready.pop_front() {
            let unsent = self.unsent(in_hand);
            self.ended.push(unsent);
        }
    }

    fn unsent(&self, in_hand: InHand) -> Ended {
        let mut pace = self.pace();
        pace.spent.add(self.sender.app.clock.now_millis(), -1);
        if let Some(reached) = in_hand.reached {
            pace.reached.add(reached.at, -1);
            if let Some(before) = reached.before {
                pace.reached.add(before, 1);
            }
        }
        Ended {
            in_hand,
            made: None,
            silent_until: None,
        }
    }

    fn settle_ended(&mut self, wall: Millis) {
        if self.is_settling || self.ended.is_empty() {
            return;
        }
        self.is_settling = true;
        let group: Vec<Ended> = self.ended.drain(..self.ended.len().min(SETTLE_MAX)).collect();
        let (sender, stop) = (Arc::clone(&self.sender), self.stop.clone());
        self.work.spawn(async move {
            settle(&sender, group, wall, &stop).await;
            Done::Settled
        });
    }

    /// Says what the channel waits for, if that has changed.
    fn say(&mut self, waits_for: Wait, until: Option<Millis>, now: Instant, wall: Millis) {
        let per_second = self.pace().rate.per_second(now).map(|rate| rate.round() as u32);
        let saying = (waits_for, until, per_second);
        if self.is_saying || now < self.say_at || self.said.as_ref() == Some(&saying) {
            return;
        }
        // A channel of which nothing was ever said waits for nothing, and has its whole pace.
        let is_usual = waits_for == Wait::Turn && !self.pace().rate.is_slowed(now);
        if self.said.is_none() && is_usual && self.lead.follows == Follows::Nobody {
            return;
        }
        self.said = Some(saying);
        self.say_at = now + LOOK_AGAIN;
        self.is_saying = true;
        let said = ChannelPace {
            channel_id: self.sender.channel.id.clone(),
            waits_for,
            until,
            per_second,
            said_at: wall,
        };
        let sender = Arc::clone(&self.sender);
        self.work.spawn(async move {
            let unit = sender.app.store.write_unflushed(move |tx| tx.say_channel_pace(&said));
            if let Err(error) = unit.await {
                tracing::debug!(%error, "it could not be said what the channel waits for");
            }
            Done::Said
        });
    }

    /// Keeps how the circuit is, if that has changed, for every node to know; answers with when to look again.
    fn keep_circuit(&mut self, now: Instant, wall: Millis) -> Instant {
        let later = now + LOOK_AGAIN;
        if self.is_keeping || self.is_lost || self.circuit.open() == self.kept_circuit.as_ref() {
            return later;
        }
        if now < self.keep_at {
            return self.keep_at;
        }
        self.is_keeping = true;
        let circuit = self.circuit.open().cloned();
        let was_open = self.kept_circuit.is_some();
        let channel = &self.sender.channel.id;
        if let Some(open) = &circuit {
            tracing::error!(%channel, reason = open.reason, probe_at = open.probe_at, "too many calls fail: the circuit of the channel is open");
        } else {
            tracing::info!(%channel, "the channel works again: its circuit is closed");
        }
        let (sender, lead) = (Arc::clone(&self.sender), self.lead.clone());
        self.work.spawn(async move {
            let (unit, open) = (Arc::clone(&sender), circuit.clone());
            let kept = sender
                .app
                .store
                .write(move |tx| unit.keep_circuit(tx, &lead, open.as_ref(), was_open, wall));
            let kept = match kept.await {
                Ok(()) => follow::refresh(&sender.app).await,
                Err(error) => Err(error),
            };
            Done::Kept(kept, circuit)
        });
        later
    }

    /// Lets calls that are under way finish, and settles everything.
    async fn finish(mut self) {
        self.wind_up().await;
    }

    async fn wind_up(&mut self) {
        loop {
            self.put_down();
            self.settle_ended(self.sender.app.clock.now_millis());
            match self.work.join_next().await {
                Some(done) => self.note(done),
                None if self.ended.is_empty() && self.ready.is_empty() => return,
                None => {}
            }
        }
    }
}

/// A number of milliseconds as a duration of one at least.
fn positive(millis: Millis) -> Duration {
    Duration::from_millis(millis.max(1).unsigned_abs())
}

/// Calls Meta for a message, if the lead still holds.
async fn call(
    sender: Arc<Sender>,
    lead: Lead,
    turn: (Arc<Mutex<Pace>>, u64),
    in_hand: InHand,
    permit: Option<OwnedSemaphorePermit>,
) -> Done {
    let app = &sender.app;
    if in_hand.entry.state == EntryState::Unknown && !sender.meta_answers().await {
        return Done::Called(Box::new(Called {
            in_hand,
            answer: None,
            silent_until: Some(app.clock.now_millis() + SILENT_PAUSE),
            _permit: permit,
        }));
    }
    // The last look before the call: since the one before, the process may have stood still.
    if !lead.holds(&app.clock) {
        app.leases.want();
        return Done::Called(Box::new(Called {
            in_hand,
            answer: None,
            silent_until: None,
            _permit: permit,
        }));
    }
    {
        let (pace, number) = turn;
        let mut pace = pace.lock().expect("no thread panics while it holds this lock");
        pace.rate.note_start(number, Instant::now());
    }
    // The entry is as it was before it was taken: without an attempt, it has never been sent. (`attempts` leaves out held ones.)
    if in_hand.entry.attempt_id.is_none() {
        let waited = (app.clock.now_millis() - in_hand.entry.queued_at).max(0);
        app.metrics
            .observe_queue_wait(Duration::from_millis(waited.unsigned_abs()));
    }
    let answer = sender.call(&in_hand).await;
    sender.count(&answer, &in_hand);
    let outcome = answer.outcome;
    let end = AttemptEnd {
        at: app.clock.now_millis(),
        outcome: outcome.as_str().to_owned(),
        http_status: answer.http_status,
        failure: outcome.failure().cloned(),
        answer: (!answer.text.is_empty()).then(|| answer.text.chars().take(ANSWER_CHARS_MAX).collect()),
        duration_micros: i64::try_from(answer.elapsed.as_micros()).unwrap_or(i64::MAX),
    };
    Done::Called(Box::new(Called {
        in_hand,
        answer: Some((outcome, end, answer.usage)),
        silent_until: None,
        _permit: permit,
    }))
}

/// Keeps what became of messages; one that the store will not take does not keep the others from being kept.
async fn settle(sender: &Arc<Sender>, group: Vec<Ended>, now: Millis, stop: &CancellationToken) {
    let all = Arc::new(group);
    // All of them at first; each by itself if that fails for one.
    let mut groups = VecDeque::new();
    groups.push_back(0..all.len());
    while let Some(group) = groups.pop_front() {
        let kept = insist(stop, || {
            let (unit, here) = ((Arc::clone(sender), Arc::clone(&all)), group.clone());
            sender
                .app
                .store
                .write(move |tx| unit.0.settle(tx, &unit.1[here.clone()], now))
        });
        match kept.await {
            Err(StoreError::Refused(_) | StoreError::Corrupt(_) | StoreError::Panicked) if group.len() > 1 => {
                groups.extend(group.map(|index| index..index + 1));
            }
            // Given up: the messages are found later, and are of unknown outcome then.
            Err(error) => {
                tracing::error!(%error, channel = %sender.channel.id, "outcomes of sends could not be kept, and are unknown");
            }
            Ok(()) => {}
        }
    }
    sender.note_kept(&all);
    let is_refused = |ended: &Ended| {
        let outcome = ended.made.as_ref().map(|made| &made.outcome);
        matches!(
            outcome,
            Some(Outcome::Again {
                cause: Cause::Credentials,
                ..
            })
        )
    };
    if all.iter().any(is_refused) {
        sender.know_of_hold().await;
    }
    sender.app.stream.nudge();
    sender.app.projector.notify_one();
}

/// Has something kept for as long as the store is away, or busy; once the process is told to end, for a few more tries.
///
/// Nothing piles up meanwhile: a channel whose lease cannot be renewed calls for nothing.
async fn insist<F>(stop: &CancellationToken, mut keep: impl FnMut() -> F) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut last_tries = 0;
    loop {
        match keep().await {
            Err(error @ (StoreError::Unavailable(_) | StoreError::Conflict(_))) if last_tries < SETTLE_TRIES => {
                tracing::warn!(%error, "outcomes of sends cannot be kept at present; it is tried again");
                last_tries += u32::from(stop.is_cancelled());
                tokio::time::sleep(REST).await;
            }
            kept => return kept,
        }
    }
}

/// Finds messages of a channel that are marked as being sent, and are not. If it fails, it is tried again at its next time.
pub(super) async fn sweep(app: &App, channel: &ChannelId, lead: &Lead) {
    if let Err(error) = take_all_over(app, channel, lead).await {
        tracing::warn!(%error, %channel, "it could not be looked for messages that were lost sight of");
    }
}

/// At the beginning of a lead: what was of unknown outcome before gets its whole time anew, since nobody may have been there to take the event
/// that tells of it; and so does what somebody was sending who is gone.
pub(super) async fn take_up_unknown(app: &App, channel: &ChannelId, lead: &Lead) -> Result<(), StoreError> {
    let due_at = app.clock.now_millis() + millis(app.config.sending.unknown_after);
    let of = channel.clone();
    app.store
        .write(move |tx| tx.postpone_unknown_entries(&of, due_at))
        .await?;
    take_all_over(app, channel, lead).await
}

async fn take_all_over(app: &App, channel: &ChannelId, lead: &Lead) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    let due_at = now + millis(app.config.sending.unknown_after);
    loop {
        let (of, owner) = (channel.clone(), lead.owner());
        let taken = app
            .store
            .write(move |tx| take_over(tx, &of, &owner, now, due_at))
            .await?;
        if taken == 0 {
            return Ok(());
        }
        tracing::warn!(
            messages = taken,
            %channel,
            "messages of unknown outcome were taken over from a process that stopped"
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use std::cell::Cell;

    use tokio_util::sync::CancellationToken;

    use super::{Gate, SETTLE_TRIES, SWEEP_EVERY, Sweeps, Wait, insist};
    use crate::store::StoreError;

    #[test]
    fn a_clock_that_is_set_back_silences_a_channel_for_no_longer_than_was_meant() {
        let mut gate = Gate::default();
        gate.close(Wait::Throttled, 100_000, 90_000);
        assert_eq!(gate.closed_at(99_999), Some((Wait::Throttled, 100_000)));
        assert_eq!(gate.closed_at(50_000), Some((Wait::Throttled, 60_000)), "set back");
        assert_eq!(gate.closed_at(59_999), Some((Wait::Throttled, 60_000)));
        assert_eq!(gate.closed_at(60_000), None);

        gate.close(Wait::Credentials, 70_000, 60_000);
        gate.close(Wait::Throttled, 65_000, 61_000);
        assert_eq!(
            gate.closed_at(69_999),
            Some((Wait::Credentials, 70_000)),
            "the longer one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_answered_is_kept_however_long_the_store_is_away_and_a_process_ends_all_the_same() {
        let tries = Cell::new(0);
        let away = || {
            tries.set(tries.get() + 1);
            let is_back = tries.get() > 10_000;
            async move {
                if is_back {
                    Ok(())
                } else {
                    Err(StoreError::Unavailable("it is away".to_owned()))
                }
            }
        };
        let stop = CancellationToken::new();
        assert!(insist(&stop, away).await.is_ok(), "more than an hour later");

        stop.cancel();
        tries.set(0);
        assert!(matches!(insist(&stop, away).await, Err(StoreError::Unavailable(_))));
        assert_eq!(tries.get(), SETTLE_TRIES + 1);

        // What the store does not take at all is not tried again.
        tries.set(0);
        let stop = CancellationToken::new();
        let refused = insist(&stop, || {
            tries.set(tries.get() + 1);
            async { Err(StoreError::Panicked) }
        });
        assert!(matches!(refused.await, Err(StoreError::Panicked)));
        assert_eq!(tries.get(), 1);
    }

    #[test]
    fn a_leader_does_not_spin_while_the_store_is_slow_to_sweep() {
        let begin = Instant::now();
        let mut sweeps = Sweeps::new(begin);
        assert!(!sweeps.begins(begin));
        assert_eq!(sweeps.wakes_at(), Some(begin + SWEEP_EVERY));
        assert!(sweeps.begins(begin + SWEEP_EVERY));
        // The time for the next one comes, and the store has not answered.
        let late = begin + SWEEP_EVERY * 3;
        assert!(!sweeps.begins(late), "one at a time");
        assert_eq!(
            sweeps.wakes_at(),
            None,
            "a time that has passed would wake it at once, again and again"
        );
        sweeps.is_under_way = false;
        assert!(sweeps.wakes_at().is_some_and(|at| at <= late));
        assert!(sweeps.begins(late));
    }
}
