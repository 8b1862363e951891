//! Messages that have gone on by another route, or have not yet: what operators do with them, and what becomes of them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest};

use super::expiry::lasting;
use super::routes::{begin, by_route, queued, setup, stop, two_numbers, with_email};
use crate::harness::{ADMIN_KEY, Answer, Harness, Setup, fault, on_both_with};

const SECOND: Duration = Duration::from_secs(1);
const FAILED: &str = "/admin/messages/failed";

fn undeliverable() -> FaultRequest {
    FaultRequest {
        code: Some(131_026),
        count: Some(1),
        ..fault(FaultKind::Error)
    }
}

/// The ids of messages that have ended, as operators see them.
async fn ended(harness: &Harness) -> Vec<String> {
    let list = harness.get(FAILED).await.expect(200);
    let ids = list["messages"].as_array().unwrap().iter();
    ids.map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

async fn cancel(harness: &Harness, id: &str) -> Answer {
    let request = harness.request(Method::DELETE, &format!("/api/v1/messages/{id}"));
    harness.answer(request.bearer_auth(ADMIN_KEY)).await
}

/// The message of a later leg.
fn leg_of(message: &Value, number: usize) -> String {
    message["routes"][number]["messageId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_that_has_gone_on_is_not_sent_again_where_it_failed() {
    on_both_with(setup(), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        harness.sandbox.fault(undeliverable()).unwrap();
        let sent = harness.reply(&conversation, "once").await;
        let message = by_route(harness, &sent, "email").await;
        harness.message_until(&leg_of(&message, 1), "accepted").await;

        assert!(ended(harness).await.is_empty(), "it is no dead letter");
        let retried = harness.post(&format!("{FAILED}/retry"), &json!({})).await.expect(200);
        assert_eq!(retried["queued"], 0, "{retried}");
        let retry = format!("/admin/messages/{sent}/retry");
        let refused = harness.post(&retry, &json!({})).await.problem(409, "may_have_arrived");
        assert!(refused["detail"].as_str().unwrap().contains("`email`"), "{refused}");
        assert!(harness.accepted("amara").is_empty());

        harness
            .post(&format!("{retry}?force=true"), &json!({}))
            .await
            .expect(200);
        let doubled = harness.message_until(&sent, "accepted").await;
        assert_eq!(doubled["maybeDuplicate"], true, "{doubled}");
        assert_eq!(harness.accepted("amara"), ["once"]);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_sent_again_goes_on_by_its_policy_again() {
    on_both_with(setup(), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        harness.sandbox.fault(undeliverable()).unwrap();
        let sent = harness.reply(&conversation, "again").await;
        harness
            .until("it has nowhere to go", async |harness| {
                harness.message(&sent).await["noRoute"].is_string().then_some(())
            })
            .await;
        assert_eq!(ended(harness).await, [sent.as_str()]);
        with_email(harness, &conversation).await;
        // Long after its first way has ended: its time to get there is a new one.
        harness.pass(SECOND * 600).await;
        harness.sandbox.fault(undeliverable()).unwrap();
        harness
            .post(&format!("/admin/messages/{sent}/retry"), &json!({}))
            .await
            .expect(200);
        let message = by_route(harness, &sent, "email").await;
        let reason = message["routes"][1]["reason"].as_str().unwrap();
        assert!(
            reason.contains("131026"),
            "it was tried where it had failed first: {reason}"
        );
        harness.message_until(&leg_of(&message, 1), "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn what_a_hub_was_sending_when_it_died_is_told_of_and_ends_also_while_its_channel_is_stopped() {
    on_both_with(two_numbers(), async |harness| {
        let conversation = begin(harness).await;
        let held_up = FaultRequest {
            delay_ms: Some(3_600_000),
            ..fault(FaultKind::Delay)
        };
        harness.sandbox.fault(held_up).unwrap();
        let sent = lasting(harness, &conversation, "held up", SECOND * 120).await;
        harness.message_until(&sent, "sending").await;
        stop(harness, "whatsapp", "stop").await;
        harness.crash();
        harness.restart().await;
        harness
            .until("it is known that nobody knows", async |harness| {
                let (_, timeline) = harness.timeline(&sent).await;
                (timeline["waiting"]["state"] == "unknown").then_some(())
            })
            .await;
        harness.pass(SECOND * 121).await;
        let ended = harness.message_until(&sent, "expired").await;
        assert!(
            ended["error"]["text"].as_str().unwrap().contains("may have arrived"),
            "{ended}"
        );
    })
    .await;
}

#[tokio::test]
async fn to_cancel_a_message_that_has_gone_on_is_to_cancel_what_it_is_now() {
    on_both_with(setup(), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        // What is before it in the conversation by e-mail is held up, so that what comes after waits.
        harness.sandbox.fault(undeliverable()).unwrap();
        let held_up = FaultRequest {
            endpoint: "smtp.rcpt".to_owned(),
            code: Some(452),
            count: None,
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(held_up).unwrap();
        let failed = harness.reply(&conversation, "one").await;
        let message = by_route(harness, &failed, "email").await;
        harness.waiting_after(&leg_of(&message, 1), 1).await;
        stop(harness, "whatsapp", "stop").await;
        let withdrawn = queued(harness, &conversation, "two").await;
        let message = by_route(harness, &withdrawn, "email").await;
        assert_eq!(message["status"], "cancelled", "on the first route: {message}");

        for (id, shown) in [(&withdrawn, "cancelled"), (&failed, "failed")] {
            let cancelled = cancel(harness, id).await.expect(200);
            assert_eq!((&cancelled["id"], &cancelled["status"]), (&json!(id), &json!(shown)));
            let message = harness.message(id).await;
            assert_eq!(harness.message(&leg_of(&message, 1)).await["status"], "cancelled");
            cancel(harness, id).await.expect(200);
        }

        // What the further route has taken can be cancelled by no name.
        harness.sandbox.clear_faults();
        let sent = queued(harness, &conversation, "three").await;
        let message = by_route(harness, &sent, "email").await;
        harness.message_until(&leg_of(&message, 1), "accepted").await;
        let refused = cancel(harness, &sent).await.problem(409, "not_cancellable");
        assert!(
            refused["detail"]
                .as_str()
                .unwrap()
                .contains("gone on by channel `email`"),
            "{refused}"
        );
        assert_eq!(harness.sandbox.mailbox().len(), 1);
    })
    .await;
}

/// A policy that sets no time.
fn patient() -> Setup {
    two_numbers().with_file("[[routes]]\nname = \"default\"\norder = [\"whatsapp\", \"email\"]\n")
}

#[tokio::test]
async fn what_stayed_of_unknown_outcome_goes_on_when_its_channel_sends_nothing_and_says_so() {
    on_both_with(patient(), async |harness| {
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        harness.sandbox.fault(fault(FaultKind::ResetBefore)).unwrap();
        let sent = harness.reply(&conversation, "perhaps").await;
        harness.waiting_after(&sent, 1).await;
        stop(harness, "whatsapp", "stop").await;
        harness.pass(SECOND * 59).await;
        assert_eq!(harness.message(&sent).await["routes"].as_array().unwrap().len(), 1);
        harness.pass(SECOND * 6).await;
        let message = by_route(harness, &sent, "email").await;
        assert_eq!(message["status"], "failed", "{message}");
        assert!(
            message["routes"][1]["reason"].as_str().unwrap().contains("is stopped"),
            "{message}"
        );
        let repeated = harness.message_until(&leg_of(&message, 1), "accepted").await;
        assert_eq!(repeated["maybeDuplicate"], true, "{repeated}");
        stop(harness, "whatsapp", "start").await;
        harness.pass(SECOND * 120).await;
        assert!(harness.accepted("amara").is_empty(), "it is not sent here, too");
    })
    .await;
}

#[tokio::test]
async fn a_route_that_sends_nothing_for_now_is_taken_when_it_does() {
    on_both_with(patient(), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        stop(harness, "email", "stop").await;
        harness.sandbox.fault(undeliverable()).unwrap();
        let sent = harness.reply(&conversation, "in the end").await;
        let why = harness
            .until("it says why it cannot go on", async |harness| {
                harness.message(&sent).await["noRoute"].as_str().map(str::to_owned)
            })
            .await;
        assert!(why.contains("channel `email` is stopped"), "{why}");
        assert_eq!(ended(harness).await, [sent.as_str()], "until then it has failed");

        harness.pass(SECOND * 3_600).await;
        stop(harness, "email", "start").await;
        harness.pass(SECOND * 300).await;
        let message = by_route(harness, &sent, "email").await;
        harness.message_until(&leg_of(&message, 1), "accepted").await;
        assert_eq!(harness.message(&sent).await["noRoute"], Value::Null);
        assert!(ended(harness).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_another_route_can_take_is_accepted_while_the_first_is_stopped() {
    on_both_with(patient(), async |harness| {
        let conversation = begin(harness).await;
        stop(harness, "whatsapp", "stop").await;
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "by e-mail"});
        let refused = async |why: &str| {
            let answer = harness.post("/api/v1/messages/send", &body).await;
            assert_eq!(answer.status, 503, "{why}");
            answer.problem(503, "outbound_stopped");
        };
        refused("nobody knows where to write").await;
        with_email(harness, &conversation).await;
        let sent = harness.send(body.clone()).await;
        let message = by_route(harness, &sent, "email").await;
        harness.message_until(&leg_of(&message, 1), "accepted").await;

        stop(harness, "email", "stop").await;
        refused("no route sends").await;
        stop(harness, "email", "start").await;
        harness.post("/admin/outbound/stop", &json!({})).await.expect(200);
        refused("nothing is sent at all").await;
        harness.post("/admin/outbound/start", &json!({})).await.expect(200);
    })
    .await;
}
