//! What expires is ended at its time, whatever its channel is waiting for.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest};

use super::routes::{begin, setup, stop, with_email};
use crate::harness::{Harness, Setup, fault, on_both, on_both_with};

const SECOND: Duration = Duration::from_secs(1);

/// A reply that lasts so long, and is taken also while its channel is stopped.
pub(super) async fn lasting(harness: &Harness, conversation: &Value, words: &str, time: Duration) -> String {
    let at = harness.clock.now_millis() + i64::try_from(time.as_millis()).unwrap();
    let at = jiff::Timestamp::from_millisecond(at).unwrap().to_string();
    let body = json!({"to": {"conversation": conversation["id"]}, "message": words, "expiresAt": at});
    let answer = harness
        .post("/api/v1/messages/send?queue=true", &body)
        .await
        .expect(202);
    answer["messageId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_waits_for_a_channel_that_is_stopped_expires_at_its_time_and_says_why() {
    on_both(async |harness| {
        let conversation = begin(harness).await;
        stop(harness, "whatsapp", "stop").await;
        let first = lasting(harness, &conversation, "first", SECOND * 3_600).await;
        let behind = lasting(harness, &conversation, "behind it", SECOND * 60).await;
        harness.pass(SECOND * 59).await;
        assert_eq!(harness.message(&behind).await["status"], "queued");
        harness.pass(SECOND).await;
        let expired = harness.message_until(&behind, "expired").await;
        let why = expired["error"]["text"].as_str().unwrap();
        assert!(why.contains("channel `whatsapp` is stopped"), "{why}");
        assert_eq!(harness.message(&first).await["status"], "queued");

        stop(harness, "whatsapp", "start").await;
        harness.message_until(&first, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["first"]);
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_a_channel_that_is_held_or_whose_circuit_is_open_expires_at_its_time() {
    for (code, what) in [(190, "is held"), (131_057, "the circuit of channel `whatsapp` is open")] {
        let setup = Setup::default().with("TIDINGS_SENDING_CIRCUIT_CALLS_MIN", "1");
        on_both_with(setup, async |harness| {
            harness.foresee_refusals(&[190, 131_057]);
            let conversation = begin(harness).await;
            let refuse = FaultRequest {
                endpoint: "any".to_owned(),
                code: Some(code),
                count: None,
                ..fault(FaultKind::Error)
            };
            harness.sandbox.fault(refuse).unwrap();
            let first = lasting(harness, &conversation, "first", SECOND * 20).await;
            harness
                .until("the channel does not send", async |harness| {
                    let channel = harness.get("/api/v1/channels/whatsapp").await.expect(200);
                    (channel["status"] != "ready").then_some(())
                })
                .await;
            harness.pass(SECOND * 20).await;
            let expired = harness.message_until(&first, "expired").await;
            let why = expired["error"]["text"].as_str().unwrap();
            assert!(why.contains(what), "{why}");
            harness.sandbox.clear_faults();
        })
        .await;
    }
}

#[tokio::test]
async fn what_its_sender_does_not_want_any_more_goes_by_no_route() {
    on_both_with(setup(), async |harness| {
        let conversation = begin(harness).await;
        // By no route yet: there is no address.
        stop(harness, "whatsapp", "stop").await;
        let sent = lasting(harness, &conversation, "in time or never", SECOND * 30).await;
        harness
            .until("there is no route", async |harness| {
                harness.message(&sent).await["noRoute"].is_string().then_some(())
            })
            .await;
        harness.pass(SECOND * 30).await;
        harness.message_until(&sent, "expired").await;
        with_email(harness, &conversation).await;
        harness.pass(SECOND * 120).await;
        let tended = harness.hub().app();
        tidings::sending::route::tend(tended).await.unwrap();
        let message = harness.message(&sent).await;
        assert_eq!(message["routes"].as_array().unwrap().len(), 1, "{message}");
        assert!(harness.sandbox.mailbox().is_empty());
    })
    .await;
}
