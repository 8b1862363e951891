//! Posting webhooks, and repeating them until 200.
//!
//! At least once: a post that timed out may have arrived, and is repeated all the same. Repeats are the same bytes with the
//! same signatures. Posts run side by side up to `WebhookOptions::parallel` for each subscriber; only with 1 is the order of
//! events kept, and even then a repeat comes after what was posted during its pause, as with Meta.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use serde_json::json;

use super::{Event, Object, Post, Subscription, encode};
use crate::Core;
use crate::engine::{Batch, Pace};
use crate::faults::{self, FaultKind, FaultRequest, Target};
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::state::State;

impl Core {
    /// Takes the event into the queue of whoever subscribed to it, or writes down why nobody gets it.
    pub(crate) fn emit(&self, state: &State, event: Option<Event>) {
        let Some(event) = event else { return };
        let installed = state.installed.contains(&event.entry_id);
        let wanted = lock(&self.subscriptions)
            .get(&event.object)
            .is_some_and(|subscription| subscription.wants(event.field));
        let refused = if !installed {
            Some(("the app is not subscribed to the account", event))
        } else if !wanted {
            Some(("the app is not subscribed to the field", event))
        } else {
            let object = event.object;
            let refused = self.engine.enqueue(event, self.clock.now(), self.pace()).err();
            self.pump(object);
            refused.map(|event| ("too many events are waiting", *event))
        };
        if let Some((why, event)) = refused {
            let detail = json!({"event": event.id, "object": event.object, "field": event.field, "why": why});
            self.ledger
                .write(self.clock.now(), LedgerKind::Dropped, &Subject::default(), detail);
        }
    }

    /// Starts as many posts as there are places and batches.
    pub(crate) fn pump(&self, object: Object) {
        while let Some(batch) = self.engine.take_batch(object, self.clock.now(), self.pace()) {
            let Some(core) = self.myself.upgrade() else {
                return;
            };
            self.tasks
                .spawn_on(async move { core.post(object, batch).await }, &self.runtime);
        }
    }

    async fn post(self: Arc<Self>, object: Object, batch: Batch) {
        let mut post = match batch {
            Batch::First(events) => self.first(object, events),
            Batch::Again(post) => post,
        };
        let outage = faults::outage(&lock(&self.state).faults, &post.accounts, self.clock.now());
        if let Some(until) = outage {
            self.put_off(post, until);
            return;
        }
        let faults = self.faults(&mut post);
        let fault = |kind| faults.iter().find(|fault| fault.kind == kind);
        if fault(FaultKind::DropSubscription).is_some() {
            let mut state = lock(&self.state);
            for account in &post.accounts {
                state.installed.remove(account);
            }
            drop(state);
            self.drop_post(&post, "the subscription was dropped by a fault");
            return;
        }
        if fault(FaultKind::Lose).is_some() {
            self.drop_post(&post, "lost by a fault");
            return;
        }
        if let Some(fault) = fault(FaultKind::Reorder).or(fault(FaultKind::Delay)) {
            if fault.kind == FaultKind::Reorder {
                post.reverse(&self);
            }
            let due = self.after(Duration::from_millis(fault.delay_ms.unwrap_or(1_000)));
            self.put_off(post, due);
            return;
        }
        post.attempts += 1;
        let subscription = lock(&self.subscriptions).get(&object).cloned();
        let Some(subscription) = subscription else {
            self.drop_post(&post, "nobody is subscribed any more");
            return;
        };
        let signed_wrongly = fault(FaultKind::WrongSignature).is_some();
        let mut answer = self.attempt(&subscription, &post, signed_wrongly).await;
        if answer == Ok(200) && fault(FaultKind::Double).is_some() {
            self.note_attempt(&post, &answer);
            post.attempts += 1;
            answer = self.attempt(&subscription, &post, false).await;
        }
        for attempted in post.attempted.drain(..) {
            // Whoever waited for the attempt may have gone.
            let _ = attempted.send(());
        }
        let now = self.clock.now();
        self.note_attempt(&post, &answer);
        // WhatsApp counts anything but 200 as a failure (graph-api.md 9.3).
        if answer == Ok(200) {
            self.conclude(LedgerKind::Acknowledged, &post, now);
        } else {
            let due = now + self.pause(post.attempts);
            let give_up_at = post.first_at + millis(self.options.webhooks.give_up_after);
            if due <= give_up_at {
                let events = post.events.len();
                self.engine.posted(object, events, Some((due, post)));
                self.pump(object);
                return;
            }
            self.conclude(LedgerKind::GaveUp, &post, now);
        }
        self.engine.posted(object, post.events.len(), None);
        self.pump(object);
    }

    /// The post waits for its time, without having been tried.
    fn put_off(self: &Arc<Self>, mut post: Post, due: i64) {
        let (object, events) = (post.object, post.events.len());
        // An answer that waits for the attempt doesn't wait for the fault.
        post.attempted.clear();
        self.engine.posted(object, events, Some((due, post)));
        self.pump(object);
    }

    /// The faults that hit this post; what makes it late hits it only once.
    fn faults(&self, post: &mut Post) -> Vec<FaultRequest> {
        let mut state = lock(&self.state);
        if state.faults.is_empty() {
            return Vec::new();
        }
        let ids = state.ids;
        let late = [FaultKind::Delay, FaultKind::Reorder];
        let except = if post.delayed { &late[..] } else { &[] };
        let target = Target {
            endpoint: faults::WEBHOOKS,
            accounts: &post.accounts,
            now: self.clock.now(),
        };
        let faults = faults::hits(&mut state.faults, &target, except, ids);
        drop(state);
        post.delayed |= faults.iter().any(|fault| late.contains(&fault.kind));
        for fault in &faults {
            let detail = json!({"post": post.number, "fault": fault});
            self.ledger
                .write(self.clock.now(), LedgerKind::Faulted, &Subject::default(), detail);
        }
        faults
    }

    fn drop_post(&self, post: &Post, why: &str) {
        let detail = json!({"post": post.number, "object": post.object, "events": post.events, "why": why});
        self.ledger
            .write(self.clock.now(), LedgerKind::Dropped, &Subject::default(), detail);
        self.engine.posted(post.object, post.events.len(), None);
        self.pump(post.object);
    }

    fn note_attempt(&self, post: &Post, answer: &Result<u16, String>) {
        let detail = json!({
            "post": post.number, "object": post.object, "attempt": post.attempts, "events": post.events,
            "bytes": post.body.len(), "status": answer.as_ref().ok(), "error": answer.as_ref().err(),
        });
        self.ledger
            .write(self.clock.now(), LedgerKind::Posted, &Subject::default(), detail);
    }

    fn conclude(&self, kind: LedgerKind, post: &Post, now: i64) {
        let detail =
            json!({"post": post.number, "object": post.object, "attempts": post.attempts, "events": post.events});
        self.ledger.write(now, kind, &Subject::default(), detail);
    }

    fn first(&self, object: Object, mut events: Vec<Event>) -> Post {
        let now = self.clock.now();
        let ids = events.iter().map(|event| event.id.clone()).collect();
        let attempted = events.iter_mut().filter_map(|event| event.attempted.take()).collect();
        let mut accounts: Vec<String> = Vec::new();
        for event in &events {
            let number = event.value["metadata"]["phone_number_id"].as_str();
            for id in [Some(event.entry_id.as_str()), number].into_iter().flatten() {
                if !accounts.iter().any(|known| known == id) {
                    accounts.push(id.to_owned());
                }
            }
        }
        let body = encode::body(object, events, now);
        let secret = self.secret(object);
        Post {
            number: self.count_post(),
            object,
            signature_sha256: encode::signature_sha256(secret, body.as_bytes()),
            signature_sha1: encode::signature_sha1(secret, body.as_bytes()),
            body: Bytes::from(body),
            events: ids,
            accounts,
            first_at: now,
            attempts: 0,
            delayed: false,
            attempted,
        }
    }

    fn secret(&self, object: Object) -> &str {
        match object {
            Object::WhatsApp => &self.whatsapp_secret,
            Object::Instagram => &self.instagram_secret,
        }
    }

    /// The status of the answer, or why there is none.
    async fn attempt(&self, subscription: &Subscription, post: &Post, signed_wrongly: bool) -> Result<u16, String> {
        let (sha256, sha1) = if signed_wrongly {
            let secret = "not the secret of the app";
            (
                encode::signature_sha256(secret, &post.body),
                encode::signature_sha1(secret, &post.body),
            )
        } else {
            (post.signature_sha256.clone(), post.signature_sha1.clone())
        };
        let request = Request::post(&subscription.callback_url)
            .header(CONTENT_TYPE, "application/json")
            // As seen in practice (graph-api.md 9.1).
            .header(USER_AGENT, "facebookexternalua")
            .header("x-hub-signature-256", sha256)
            .header("x-hub-signature", sha1)
            .body(post.body.clone())
            .map_err(|error| error.to_string())?;
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err("the sandbox is stopping".to_owned()),
            answer = self.carrier.carry(request, self.options.webhooks.timeout) => answer.map(|(status, _)| status),
        }
    }

    /// The pause after that many attempts: doubling, bounded.
    fn pause(&self, attempts: u32) -> i64 {
        let options = &self.options.webhooks;
        let doublings = attempts.saturating_sub(1).min(40);
        let pause = millis(options.retry_first).max(1).saturating_mul(1 << doublings);
        pause.min(millis(options.retry_max).max(1))
    }

    pub(crate) fn pace(&self) -> Pace {
        let options = &self.options.webhooks;
        Pace {
            batch_max: options.batch_max.clamp(1, 1000),
            batch_wait_millis: millis(options.batch_wait),
            parallel: options.parallel.max(1),
        }
    }
}

impl Post {
    /// Puts the events into reverse order, and signs anew.
    fn reverse(&mut self, core: &Core) {
        let body = encode::reversed(&self.body);
        let secret = core.secret(self.object);
        self.signature_sha256 = encode::signature_sha256(secret, body.as_bytes());
        self.signature_sha1 = encode::signature_sha1(secret, body.as_bytes());
        self.body = Bytes::from(body);
        self.events.reverse();
    }
}

/// A duration as the clock counts; what doesn't fit is for ever.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
