//! Where a message goes on: the next route after a failure, a stop, or too long a time; what comes late; and no route at all.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, Number, SmtpOptions};

use crate::harness::{Harness, NUMBER, Setup, fault, on_both_with, text};

const SECOND: Duration = Duration::from_secs(1);
/// A second number, of the same account.
pub(super) const OTHER_NUMBER: &str = "200000000000009";
pub(super) const POLICY: &str = r#"
[[routes]]
name = "default"
order = ["whatsapp", "whatsapp-backup", "email"]
fallback_after_secs = 60
told = "WhatsApp did not reach you."
"#;

/// Two numbers and an SMTP server, without a policy.
pub(super) fn two_numbers() -> Setup {
    let mut setup = Setup::default();
    setup.sandbox.smtp = Some(SmtpOptions::default());
    setup.sandbox.delays.delivered = Duration::from_secs(10);
    let world = &mut setup.sandbox.world;
    let other = Number {
        id: OTHER_NUMBER.to_owned(),
        phone: "442079460109".to_owned(),
        display: "+44 20 7946 0109".to_owned(),
        name: "Sandbox Books".to_owned(),
        ..world.numbers[0].clone()
    };
    world.numbers.push(other);
    let token = world.tokens[0].value.clone();
    setup
        .with("WHATSAPP_BACKUP_PHONE_NUMBER_ID", OTHER_NUMBER)
        .with("WHATSAPP_BACKUP_ACCESS_TOKEN", &token)
}

pub(super) fn setup() -> Setup {
    two_numbers().with_file(POLICY)
}

/// Amara has written to the number, and her conversation with it is answered.
pub(super) async fn begin(harness: &Harness) -> Value {
    harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
    harness.projected().await;
    harness.conversation().await
}

/// Amara writes to the second number, too: there her window is open then.
pub(super) async fn writes_to_the_other_number(harness: &Harness) {
    harness.sandbox.write("amara", OTHER_NUMBER, text("hello too")).unwrap();
    harness.projected().await;
}

pub(super) async fn with_email(harness: &Harness, conversation: &Value) {
    let path = format!(
        "/api/v1/contacts/{}/identities",
        conversation["contact"]["id"].as_str().unwrap()
    );
    let body = json!({"kind": "email", "value": "Amara@example.org"});
    let kept = harness.post(&path, &body).await.expect(201);
    assert_eq!(
        (&kept["kind"], &kept["value"]),
        (&json!("email"), &json!("Amara@example.org"))
    );
}

pub(super) async fn by_route(harness: &Harness, id: &str, channel: &str) -> Value {
    harness
        .until(&format!("{id} goes by {channel}"), async |harness| {
            let message = harness.message(id).await;
            (message["route"] == channel).then_some(message)
        })
        .await
}

pub(super) async fn stop(harness: &Harness, channel: &str, what: &str) {
    let body = json!({ "channel": channel });
    harness
        .post(&format!("/admin/outbound/{what}"), &body)
        .await
        .expect(200);
}

/// A reply that is taken also while its channel is stopped.
pub(super) async fn queued(harness: &Harness, conversation: &Value, words: &str) -> String {
    let body = json!({"to": {"conversation": conversation["id"]}, "message": words});
    let answer = harness
        .post("/api/v1/messages/send?queue=true", &body)
        .await
        .expect(202);
    answer["messageId"].as_str().unwrap().to_owned()
}

fn undeliverable() -> FaultRequest {
    FaultRequest {
        code: Some(131_026),
        count: Some(1),
        ..fault(FaultKind::Error)
    }
}

#[tokio::test]
async fn what_one_route_will_never_deliver_goes_by_the_next_and_the_contact_is_told_why() {
    on_both_with(setup(), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        harness.sandbox.fault(undeliverable()).unwrap();
        let sent = harness.reply(&conversation, "Your table is <ready>.").await;
        let message = by_route(harness, &sent, "email").await;
        assert_eq!(
            message["status"], "failed",
            "each leg has a status of its own: {message}"
        );
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        let by_email = harness.message_until(leg, "accepted").await;
        assert_eq!(by_email["fallbackFor"], sent.as_str());
        let [mail] = &harness.sandbox.mailbox()[..] else {
            panic!("one e-mail came: {:?}", harness.sandbox.mailbox())
        };
        assert_eq!(mail.to, ["Amara@example.org"]);
        let kept = serde_json::to_string(mail).unwrap();
        assert!(kept.contains("WhatsApp did not reach you."), "{kept}");
        assert!(
            kept.contains("Your table is <ready>.") && kept.contains("&lt;ready&gt;"),
            "{kept}"
        );
        let (kinds, timeline) = harness.timeline(&sent).await;
        assert!(kinds.contains(&"route".to_owned()), "{timeline}");
        assert!(
            message["routes"][1]["reason"].as_str().unwrap().contains("131026"),
            "{message}"
        );
        assert_eq!(
            message["routes"].as_array().unwrap().len(),
            2,
            "the backup's window never was open"
        );
    })
    .await;
}

#[tokio::test]
async fn a_stopped_primary_gives_way_to_its_backup_then_to_email_and_is_used_again_afterwards() {
    on_both_with(setup(), async |harness| {
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        writes_to_the_other_number(harness).await;

        stop(harness, "whatsapp", "stop").await;
        let first = queued(harness, &conversation, "one").await;
        let message = by_route(harness, &first, "whatsapp-backup").await;
        assert_eq!(message["status"], "cancelled", "it is not sent by both: {message}");
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        harness.message_until(leg, "accepted").await;

        stop(harness, "whatsapp-backup", "stop").await;
        let second = queued(harness, &conversation, "two").await;
        let message = by_route(harness, &second, "email").await;
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        harness.message_until(leg, "accepted").await;

        stop(harness, "whatsapp", "start").await;
        let third = harness.reply(&conversation, "three").await;
        harness.message_until(&third, "accepted").await;
        let told = |words: &str| format!("WhatsApp did not reach you.\n\n{words}");
        assert_eq!(harness.accepted("amara"), [told("one"), "three".to_owned()]);
        assert_eq!(harness.sandbox.mailbox().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_takes_too_long_goes_by_the_next_route_and_what_comes_after_all_is_told_as_late() {
    let mut slow = setup();
    slow.sandbox.delays.delivered = SECOND * 300;
    on_both_with(slow, async |harness| {
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        let sent = harness.reply(&conversation, "in time").await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(SECOND * 30).await;
        assert_eq!(harness.message(&sent).await["routes"].as_array().unwrap().len(), 1);
        harness.pass(SECOND * 31).await;
        let message = by_route(harness, &sent, "email").await;
        assert_eq!(message["lateDelivery"], false);
        assert!(
            message["routes"][1]["reason"].as_str().unwrap().contains("60 s"),
            "{message}"
        );
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        harness.message_until(leg, "accepted").await;
        harness.pass(SECOND * 300).await;
        harness.message_until(&sent, "delivered").await;
        let message = harness
            .until("the late delivery is told", async |harness| {
                let message = harness.message(&sent).await;
                (message["lateDelivery"] == true).then_some(message)
            })
            .await;
        assert_eq!(message["route"], "whatsapp");
        // Counted once the unit is committed that tells it.
        harness
            .until("it is counted", async |harness| {
                (harness.metric("tidings_late_deliveries_total").await == 1).then_some(())
            })
            .await;
        let (kinds, _) = harness.timeline(&sent).await;
        assert!(kinds.contains(&"late_delivery".to_owned()), "{kinds:?}");
    })
    .await;
}

#[tokio::test]
async fn where_there_is_no_further_route_the_message_says_why() {
    on_both_with(setup(), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        harness.sandbox.fault(undeliverable()).unwrap();
        let sent = harness.reply(&conversation, "to nobody").await;
        let message = harness
            .until("it says why", async |harness| {
                let message = harness.message(&sent).await;
                message["noRoute"].is_string().then_some(message)
            })
            .await;
        let why = message["noRoute"].as_str().unwrap();
        assert!(why.contains("no address on channel `email`"), "{why}");
        assert!(
            why.contains("the window of channel `whatsapp-backup` is closed"),
            "{why}"
        );
        assert_eq!(message["status"], "failed");

        let body = json!({"to": {"conversation": conversation["id"]}, "message": "x", "route": "none-such"});
        let refused = harness.post("/api/v1/messages/send", &body).await;
        assert_eq!(refused.fields(422, "invalid_field"), ["route"]);
    })
    .await;
}

#[tokio::test]
async fn an_email_is_sent_to_an_address_that_was_never_heard_of_and_a_mailbox_that_is_full_is_tried_again() {
    on_both_with(setup(), async |harness| {
        let full = FaultRequest {
            endpoint: "smtp.rcpt".to_owned(),
            code: Some(452),
            count: Some(1),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(full).unwrap();
        let body = json!({"channel": "email", "to": "ada@example.org", "message": "Good morning"});
        let sent = harness.post("/api/v1/messages/send", &body).await.expect(202);
        let id = sent["messageId"].as_str().unwrap();
        let waiting = harness.waiting_after(id, 1).await;
        assert_eq!(waiting["waitsFor"], "retry", "{waiting}");
        harness.pass(SECOND * 10).await;
        harness.message_until(id, "accepted").await;
        assert_eq!(harness.sandbox.mailbox().len(), 1);

        let gone = FaultRequest {
            endpoint: "smtp.rcpt".to_owned(),
            code: Some(550),
            count: Some(1),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(gone).unwrap();
        let sent = harness.post("/api/v1/messages/send", &body).await.expect(202);
        harness
            .message_until(sent["messageId"].as_str().unwrap(), "failed")
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_held_primary_gives_way_within_a_moment_and_is_used_again_afterwards() {
    on_both_with(setup(), async |harness| {
        harness.foresee_refusals(&[190]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        let refuse = FaultRequest {
            code: Some(190),
            count: None,
            account: Some(NUMBER.to_owned()),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(refuse).unwrap();
        let first = harness.reply(&conversation, "one").await;
        let asked = tokio::time::Instant::now();
        // No time passes for hub and Meta: it is the hold that moves it on, not how long it takes.
        let message = by_route(harness, &first, "email").await;
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert!(
            message["routes"][1]["reason"].as_str().unwrap().contains("is held"),
            "{message}"
        );
        assert_eq!(message["status"], "cancelled");
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        harness.message_until(leg, "accepted").await;
        let second = harness.reply(&conversation, "two").await;
        let message = by_route(harness, &second, "email").await;
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        harness.message_until(leg, "accepted").await;

        harness.sandbox.clear_faults();
        harness.pass(SECOND * 31).await;
        harness
            .until("the number works again", async |harness| {
                let channel = harness.get("/api/v1/channels/whatsapp").await.expect(200);
                (channel["status"] == "ready").then_some(())
            })
            .await;
        let third = harness.reply(&conversation, "three").await;
        harness.message_until(&third, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["three"]);
        assert_eq!(harness.sandbox.mailbox().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_of_unknown_outcome_when_its_time_is_over_goes_by_the_next_route_and_says_that_it_may_have_arrived() {
    let setup = setup().with("TIDINGS_SENDING_UNKNOWN_AFTER_SECS", "600");
    on_both_with(setup, async |harness| {
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        // Meta takes it, and tells nobody until later.
        harness.sandbox.fault(fault(FaultKind::ResetAfterAccept)).unwrap();
        let lost = FaultRequest {
            endpoint: "webhooks".to_owned(),
            kind: FaultKind::Delay,
            delay_ms: Some(120_000),
            count: None,
            ..fault(FaultKind::Delay)
        };
        harness.sandbox.fault(lost).unwrap();
        let sent = harness.reply(&conversation, "perhaps").await;
        let waiting = harness.waiting_after(&sent, 1).await;
        assert_eq!(waiting["state"], "unknown", "{waiting}");
        harness.pass(SECOND * 59).await;
        assert_eq!(harness.message(&sent).await["routes"].as_array().unwrap().len(), 1);
        harness.pass(SECOND * 2).await;
        let message = by_route(harness, &sent, "email").await;
        assert_eq!(message["status"], "failed", "{message}");
        assert!(
            message["error"]["text"].as_str().unwrap().contains("may have arrived"),
            "{message}"
        );
        let leg = message["routes"][1]["messageId"].as_str().unwrap().to_owned();
        harness.message_until(&leg, "accepted").await;

        harness.sandbox.clear_faults();
        harness.pass(SECOND * 300).await;
        harness.message_until(&sent, "delivered").await;
        harness
            .until("the late delivery is told", async |harness| {
                (harness.message(&sent).await["lateDelivery"] == true).then_some(())
            })
            .await;
        assert_eq!(harness.accepted("amara"), ["perhaps"], "it is not sent there twice");
        harness
            .until("it is counted", async |harness| {
                (harness.metric("tidings_late_deliveries_total").await == 1).then_some(())
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn an_email_says_every_kind_that_it_can_and_of_the_others_why_not() {
    on_both_with(setup(), async |harness| {
        harness.foresee_refusals(&[131_026, 131_051]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        harness.sandbox.fault(undeliverable()).unwrap();
        let content =
            json!({"type": "buttons", "text": "Keep your slot?", "buttons": [{"title": "Keep", "payload": "keep"}]});
        let sent = harness
            .send(json!({"to": {"conversation": conversation["id"]}, "content": content}))
            .await;
        by_route(harness, &sent, "email").await;
        harness
            .until("the e-mail has come", async |harness| {
                let kept = serde_json::to_string(&harness.sandbox.mailbox()).unwrap();
                (kept.contains("Keep your slot?") && kept.contains("- Keep")).then_some(())
            })
            .await;

        harness.sandbox.fault(undeliverable()).unwrap();
        let content = json!({"type": "location_request", "text": "Where are you?"});
        let sent = harness
            .send(json!({"to": {"conversation": conversation["id"]}, "content": content}))
            .await;
        let why = harness
            .until("it is told why there is no route", async |harness| {
                harness.message(&sent).await["noRoute"].as_str().map(str::to_owned)
            })
            .await;
        assert!(why.contains("`location_request` cannot be sent by e-mail"), "{why}");
    })
    .await;
}
