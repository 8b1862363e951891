//! Where a message goes on although the settings name no policy: by the backups of its number, then by e-mail.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, Template};

use super::routes::{begin, by_route, queued, stop, two_numbers, with_email, writes_to_the_other_number};
use crate::harness::{ACCOUNT, ADMIN_KEY, Harness, NUMBER, Setup, fault, on_both, on_both_with, text};

const SECOND: Duration = Duration::from_secs(1);
/// Within so long, in the time of whoever waits, the first message goes on by another route, once its channel is known not to serve.
const MOVED_WITHIN: Duration = Duration::from_secs(10);
const CALLS_MIN: &str = "TIDINGS_SENDING_CIRCUIT_CALLS_MIN";
const TOLD: &str = "We could not reach you on WhatsApp, so we write to you here.";

/// All calls by the first number come to this.
fn number_is(harness: &Harness, kind: FaultKind, code: Option<i64>) {
    let outage = FaultRequest {
        code,
        count: None,
        account: Some(NUMBER.to_owned()),
        ..fault(kind)
    };
    harness.sandbox.fault(outage).unwrap();
}

/// The number will never deliver the next message.
fn undeliverable(harness: &Harness) {
    let once = FaultRequest {
        code: Some(131_026),
        count: Some(1),
        ..fault(FaultKind::Error)
    };
    harness.sandbox.fault(once).unwrap();
}

/// The message of the second leg, once its channel has it.
async fn second_leg(harness: &Harness, message: &Value) -> Value {
    let leg = message["routes"][1]["messageId"].as_str().unwrap();
    harness.message_until(leg, "accepted").await
}

fn mails(harness: &Harness) -> Vec<String> {
    let mailbox = harness.sandbox.mailbox();
    mailbox
        .iter()
        .map(|mail| serde_json::to_string(mail).unwrap())
        .collect()
}

/// Waits until a failed message has no route; answers with why.
async fn without_route(harness: &Harness, id: &str) -> String {
    harness
        .until("it says why it goes no further", async |harness| {
            harness.message(id).await["noRoute"].as_str().map(str::to_owned)
        })
        .await
}

#[tokio::test]
async fn through_an_outage_of_the_number_messages_go_by_email_and_afterwards_by_the_number_again() {
    // The number answers that it is locked, or no more than that it does not work for now.
    let outages = [
        (FaultKind::NumberBlocked, None, "is held"),
        (
            FaultKind::Error,
            Some(131_057),
            "the circuit of channel `whatsapp` is open",
        ),
    ];
    for (kind, code, why) in outages {
        on_both_with(two_numbers().with(CALLS_MIN, "2"), async |harness| {
            harness.foresee_refusals(&[131_031, 131_057]);
            let conversation = begin(harness).await;
            with_email(harness, &conversation).await;
            number_is(harness, kind, code);
            let first = harness.reply(&conversation, "one").await;
            if code.is_some() {
                // It is tried once more, after a pause: that opens the circuit.
                harness.waiting_after(&first, 1).await;
                harness.pass(SECOND * 5).await;
            }
            let asked = tokio::time::Instant::now();
            let message = by_route(harness, &first, "email").await;
            assert!(asked.elapsed() < MOVED_WITHIN, "{:?}", asked.elapsed());
            assert_eq!(
                message["status"], "cancelled",
                "the number does not send it, too: {message}"
            );
            second_leg(harness, &message).await;
            // The contact is told, and so is whoever looks at the timeline.
            assert!(mails(harness)[0].contains(TOLD), "{:?}", mails(harness));
            let (_, timeline) = harness.timeline(&first).await;
            let items = timeline["timeline"].as_array().unwrap();
            let onward = items.iter().find(|item| item["kind"] == "route");
            let told = onward.unwrap_or_else(|| panic!("it went on: {timeline}")).to_string();
            assert!(told.contains(why) && told.contains("email"), "{told}");
            let second = harness.reply(&conversation, "two").await;
            let message = by_route(harness, &second, "email").await;
            second_leg(harness, &message).await;

            harness.sandbox.clear_faults();
            harness.pass(SECOND * 61).await;
            harness
                .until("the number works again", async |harness| {
                    harness.pass(SECOND).await;
                    let third = harness.reply(&conversation, "three").await;
                    let message = harness
                        .until("it is out", async |harness| {
                            let message = harness.message(&third).await;
                            let is_out = ["accepted", "sent", "delivered", "cancelled"];
                            is_out.contains(&message["status"].as_str().unwrap()).then_some(message)
                        })
                        .await;
                    (message["status"] != "cancelled").then_some(())
                })
                .await;
            assert_eq!(harness.accepted("amara"), ["three"], "each message came once");
        })
        .await;
    }
}

#[tokio::test]
async fn what_an_outage_left_in_doubt_goes_by_email_when_its_time_is_up_and_says_that_it_may_have_arrived() {
    on_both_with(two_numbers().with(CALLS_MIN, "2"), async |harness| {
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        number_is(harness, FaultKind::ResetBefore, None);
        let doubtful = harness.reply(&conversation, "perhaps").await;
        let waiting = harness.waiting_after(&doubtful, 1).await;
        assert_eq!(waiting["waitsFor"], "unknown_outcome", "{waiting}");
        // It is sent once more, which opens the circuit, and for that it is waited again.
        harness.pass(SECOND * 61).await;
        harness.waiting_after(&doubtful, 2).await;
        assert_eq!(harness.message(&doubtful).await["routes"].as_array().unwrap().len(), 1);
        harness.pass(SECOND * 61).await;
        let message = by_route(harness, &doubtful, "email").await;
        let repeated = second_leg(harness, &message).await;
        assert_eq!(repeated["maybeDuplicate"], true, "{repeated}");
        assert_eq!(mails(harness).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_the_number_will_never_deliver_goes_by_email_unless_no_other_way_is_wanted() {
    on_both_with(two_numbers(), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        let to = json!({"conversation": conversation["id"]});
        undeliverable(harness);
        let nowhere = harness.reply(&conversation, "nobody knows an address").await;
        let why = without_route(harness, &nowhere).await;
        assert!(
            why.contains("the window of channel `whatsapp-backup` is closed"),
            "{why}"
        );
        assert!(why.contains("no address on channel `email`"), "{why}");

        with_email(harness, &conversation).await;
        undeliverable(harness);
        let alone = harness
            .send(json!({"to": to, "message": "by the number alone", "route": "none"}))
            .await;
        let message = harness.message_until(&alone, "failed").await;
        assert_eq!(
            (&message["routes"], &message["noRoute"]),
            (&Value::Null, &Value::Null),
            "{message}"
        );

        undeliverable(harness);
        let sent = harness.reply(&conversation, "by e-mail").await;
        let message = by_route(harness, &sent, "email").await;
        assert_eq!(
            message["status"], "failed",
            "each leg has a status of its own: {message}"
        );
        let reason = message["routes"][1]["reason"].as_str().unwrap();
        assert!(reason.contains("131026"), "{reason}");
        second_leg(harness, &message).await;
        let [mail] = &mails(harness)[..] else {
            panic!("one e-mail came: {:?}", mails(harness))
        };
        assert!(mail.contains(TOLD) && mail.contains("by e-mail"), "{mail}");

        // However long it takes Meta to deliver, nothing goes on for that alone.
        let slow = harness.reply(&conversation, "in its time").await;
        harness.message_until(&slow, "accepted").await;
        harness.pass(SECOND * 600).await;
        harness.message_until(&slow, "delivered").await;
        let message = harness.message(&slow).await;
        assert_eq!(message["routes"].as_array().unwrap().len(), 1, "{message}");
        assert_eq!(mails(harness).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_code_to_log_in_with_is_not_said_by_email() {
    let mut setup = two_numbers();
    let mut login = Template::utility("login", "");
    login.category = "AUTHENTICATION".to_owned();
    login.components = vec![
        json!({"type": "BODY", "text": "*{{1}}* is your verification code."}),
        json!({"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE", "text": "Copy code"}]}),
    ];
    let language = login.language.clone();
    setup.sandbox.world.templates.push(login);
    on_both_with(setup, async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        let nowhere = FaultRequest {
            code: Some(131_026),
            count: None,
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(nowhere).unwrap();
        let code = json!([{"type": "text", "text": "482913"}]);
        let template = json!({"type": "template", "name": "login", "language": language, "components": [
            {"type": "body", "parameters": code},
            {"type": "button", "sub_type": "url", "index": "0", "parameters": code},
        ]});
        let sent = harness
            .send(json!({"to": {"conversation": conversation["id"]}, "content": template}))
            .await;
        let why = without_route(harness, &sent).await;
        assert!(why.contains("`email` cannot carry it"), "{why}");
        assert_eq!(mails(harness), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_stopped_number_gives_way_to_its_backups_before_email() {
    on_both_with(two_numbers(), async |harness| {
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        writes_to_the_other_number(harness).await;
        stop(harness, "whatsapp", "stop").await;
        // It is taken although its number is stopped: another way is open.
        let first = harness.reply(&conversation, "one").await;
        let message = by_route(harness, &first, "whatsapp-backup").await;
        second_leg(harness, &message).await;
        let told = "We could not reach you on our other number, so we write to you here.\n\none";
        assert_eq!(harness.accepted("amara"), [told]);

        // A number that is no backup of it takes nothing of it.
        let request = harness
            .request(Method::PATCH, "/api/v1/channels/whatsapp-backup")
            .bearer_auth(ADMIN_KEY)
            .json(&json!({"backupFor": ""}));
        harness.answer(request).await.expect(200);
        let second = queued(harness, &conversation, "two").await;
        let message = by_route(harness, &second, "email").await;
        second_leg(harness, &message).await;
        assert_eq!(harness.accepted("amara"), [told]);

        stop(harness, "whatsapp", "start").await;
        let third = harness.reply(&conversation, "three").await;
        harness.message_until(&third, "accepted").await;
        assert_eq!(harness.accepted("amara"), [told, "three"]);
    })
    .await;
}

#[tokio::test]
async fn with_neither_backup_nor_email_messages_follow_no_policy() {
    on_both(async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        undeliverable(harness);
        let sent = harness.reply(&conversation, "as ever").await;
        let message = harness.message_until(&sent, "failed").await;
        assert_eq!(
            (&message["routes"], &message["noRoute"]),
            (&Value::Null, &Value::Null),
            "{message}"
        );
        stop(harness, "whatsapp", "stop").await;
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "refused"});
        harness
            .post("/api/v1/messages/send", &body)
            .await
            .problem(503, "outbound_stopped");
    })
    .await;
}

#[tokio::test]
async fn a_policy_of_the_settings_stands_in_the_place_of_the_usual_one() {
    let alone: Setup = two_numbers().with_file("[[routes]]\nname = \"default\"\norder = [\"whatsapp\"]\n");
    on_both_with(alone, async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        undeliverable(harness);
        let sent = harness.reply(&conversation, "by the number alone").await;
        let why = without_route(harness, &sent).await;
        assert_eq!(why, "the policy has no further route");
        assert_eq!(mails(harness), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn email_that_comes_first_gives_way_to_the_number_that_was_asked_for() {
    on_both_with(two_numbers(), async |harness| {
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        let request = harness
            .request(Method::PUT, "/api/v1/flags/channels.email.priority")
            .bearer_auth(ADMIN_KEY)
            .json(&json!({"value": true}));
        harness.answer(request).await.expect(200);
        let first = harness.reply(&conversation, "one").await;
        assert_eq!(harness.message_until(&first, "accepted").await["channelId"], "email");
        let gone = FaultRequest {
            endpoint: "smtp.rcpt".to_owned(),
            code: Some(550),
            count: Some(1),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(gone).unwrap();
        let second = harness.reply(&conversation, "two").await;
        let message = by_route(harness, &second, "whatsapp").await;
        second_leg(harness, &message).await;

        let to = json!({"conversation": conversation["id"]});
        let alone = harness
            .send(json!({"to": to, "message": "three", "route": "none"}))
            .await;
        assert_eq!(harness.message_until(&alone, "accepted").await["channelId"], "whatsapp");
        assert_eq!(mails(harness).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn by_instagram_only_what_asks_for_it_goes_on() {
    on_both_with(two_numbers(), async |harness| {
        harness.foresee_refusals(&[100]);
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        with_email(harness, &conversation).await;
        let refuse = || {
            let once = FaultRequest {
                code: Some(100),
                count: Some(1),
                ..fault(FaultKind::Error)
            };
            harness.sandbox.fault(once).unwrap();
        };
        refuse();
        let stays = harness.reply(&conversation, "here alone").await;
        let message = harness.message_until(&stays, "failed").await;
        assert_eq!(message["routes"], Value::Null, "{message}");
        refuse();
        let to = json!({"conversation": conversation["id"]});
        let moves = harness
            .send(json!({"to": to, "message": "or by e-mail", "route": "default"}))
            .await;
        let message = by_route(harness, &moves, "email").await;
        second_leg(harness, &message).await;
    })
    .await;
}

#[tokio::test]
async fn what_an_opt_out_has_stopped_by_whatsapp_is_not_said_by_email() {
    on_both_with(two_numbers(), async |harness| {
        harness.foresee_refusals(&[131_050]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        let opted_out = FaultRequest {
            code: Some(131_050),
            count: Some(1),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(opted_out).unwrap();
        let to = json!({"conversation": conversation["id"]});
        let sent = harness
            .send(json!({"to": to, "message": "Half the price", "purpose": "marketing"}))
            .await;
        let message = by_route(harness, &sent, "email").await;
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        let leg = harness
            .until("the e-mail has come to an end", async |harness| {
                let leg = harness.message(leg).await;
                ["failed", "cancelled"]
                    .contains(&leg["status"].as_str().unwrap())
                    .then_some(leg)
            })
            .await;
        assert!(
            leg["error"]["text"].as_str().unwrap().contains("wants no advertising"),
            "{leg}"
        );
        assert_eq!(mails(harness), [""; 0]);
    })
    .await;
}
