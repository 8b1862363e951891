//! When nobody can say whether Meta took a message: it is not sent again blindly. What Meta tells later settles it; only where nothing
//! comes is it sent once more, and says so.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidings::clock::from_millis;
use tidings_sandbox::{EchoTiming, FaultKind, FaultRequest};

use crate::harness::{
    ACCOUNT, Harness, NUMBER, Notification, START, Setup, fault, on_both, on_both_with, text, whatsapp_value,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// A call to Meta that is not answered is given up soon.
fn impatient() -> Setup {
    Setup::default()
        .with("WHATSAPP_REQUEST_TIMEOUT_MS", "2000")
        .with("TIDINGS_GRAPH_CONNECT_TIMEOUT_MS", "2000")
}

async fn write_and_reply(harness: &Harness, customer: &str, account: &str) -> String {
    harness.sandbox.write(customer, account, text("hello")).unwrap();
    harness.projected().await;
    harness.reply(&harness.conversation().await, "once").await
}

async fn until_unknown(harness: &Harness, id: &str) {
    harness
        .until("its outcome is unknown", async |harness| {
            let (_, document) = harness.timeline(id).await;
            (document["waiting"]["state"] == "unknown").then_some(())
        })
        .await;
}

/// The echo comes once Meta notices that nobody listens any more; it may find the attempt under way or ended.
async fn until_echoed(harness: &Harness, id: &str) {
    harness
        .until("its attempt has ended and its echo has come", async |harness| {
            let (_, document) = harness.timeline(id).await;
            let has_ended = document["timeline"][1]["attempt"]["outcome"].is_string();
            let echoes = harness.events("eventType=message_echoes").await;
            (has_ended && !echoes.is_empty()).then_some(())
        })
        .await;
    harness.projected().await;
}

/// It arrived once, is not waited for, and is not sent again however long one waits.
async fn assert_arrived_once(harness: &Harness, id: &str, customer: &str) -> Value {
    for _ in 0..3 {
        harness.pass(MINUTE * 2).await;
    }
    let (_, document) = harness.timeline(id).await;
    assert_eq!(document.get("waiting"), None, "{document:#}");
    assert_eq!(harness.accepted(customer), ["once"], "{document:#}");
    let message = harness.message(id).await;
    assert_eq!(message["maybeDuplicate"], false);
    assert!(message["externalId"].is_string(), "{message:#}");
    assert_eq!(harness.messages(&harness.conversation().await).await.len(), 2);
    message
}

#[tokio::test]
async fn a_status_settles_what_whatsapp_took_without_an_answer() {
    for kind in [FaultKind::ResetAfterAccept, FaultKind::TimeoutAfterAccept] {
        println!("{kind:?}");
        on_both_with(impatient(), async |harness| {
            harness.sandbox.fault(fault(kind)).unwrap();
            let sent = write_and_reply(harness, "amara", NUMBER).await;
            until_unknown(harness, &sent).await;
            harness.pass(SECOND).await;
            let settled = harness.message(&sent).await;
            assert_eq!(settled["status"], "sent");
            let message = assert_arrived_once(harness, &sent, "amara").await;
            assert_eq!(message["status"], "delivered");
            let (kinds, _) = harness.timeline(&sent).await;
            assert_eq!(kinds, ["queued", "attempt", "sent", "delivered"]);
        })
        .await;
    }
}

#[tokio::test]
async fn an_echo_settles_what_instagram_took_without_an_answer() {
    for echo in [EchoTiming::AfterAnswer, EchoTiming::BeforeAnswer] {
        for kind in [FaultKind::ResetAfterAccept, FaultKind::TimeoutAfterAccept] {
            println!("{echo:?} {kind:?}");
            let mut setup = impatient();
            setup.sandbox.rules.echo = echo;
            on_both_with(setup, async |harness| {
                harness.sandbox.fault(fault(kind)).unwrap();
                let sent = write_and_reply(harness, "lucia", ACCOUNT).await;
                until_echoed(harness, &sent).await;
                let message = assert_arrived_once(harness, &sent, "lucia").await;
                assert_eq!(message["status"], "accepted");
            })
            .await;
        }
    }
}

/// WhatsApp tells nothing of what came through its interface (reference `whatsapp.md`, `smb_message_echoes`): who says the same on the phone
/// says it once more.
#[tokio::test]
async fn the_same_words_from_the_phone_are_a_message_of_their_own_on_whatsapp() {
    on_both_with(impatient(), async |harness| {
        harness.sandbox.fault(fault(FaultKind::ResetBefore)).unwrap();
        let sent = write_and_reply(harness, "amara", NUMBER).await;
        until_unknown(harness, &sent).await;
        let phone = harness.sandbox.customer("amara").unwrap().phone.unwrap();
        let echo = json!({"from": "442079460100", "to": phone, "id": "wamid.PHONE1",
            "timestamp": (START / 1000).to_string(), "type": "text", "text": {"body": "once"}});
        let mut value = whatsapp_value(&json!({ "message_echoes": [echo] }));
        value["entry"][0]["changes"][0]["field"] = json!("smb_message_echoes");
        harness.whatsapp(&value).await;
        harness.projected().await;
        let (_, document) = harness.timeline(&sent).await;
        assert_eq!(document["waiting"]["state"], "unknown", "{document:#}");
        let messages = harness.messages(&harness.conversation().await).await;
        let from_phone: Vec<&Value> = messages.iter().filter(|message| message["sender"] == "phone").collect();
        assert_eq!(from_phone.len(), 1, "{messages:#?}");
        assert_eq!(from_phone[0]["externalId"], "wamid.PHONE1");
        // Ours is not forgotten for it.
        harness.pass(MINUTE + SECOND).await;
        harness.message_until(&sent, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["once"]);
    })
    .await;
}

#[tokio::test]
async fn where_nothing_is_heard_it_is_sent_once_more_and_says_so() {
    on_both_with(impatient(), async |harness| {
        // The request never takes effect, which nobody here can know.
        harness.sandbox.fault(fault(FaultKind::ResetBefore)).unwrap();
        let sent = write_and_reply(harness, "amara", NUMBER).await;
        until_unknown(harness, &sent).await;
        harness.pass(SECOND * 59).await;
        assert!(harness.accepted("amara").is_empty(), "it was sent again too soon");
        harness.pass(SECOND * 2).await;
        harness
            .until("it was sent", async |harness| {
                (!harness.accepted("amara").is_empty()).then_some(())
            })
            .await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(MINUTE).await;
        assert_eq!(harness.accepted("amara"), ["once"]);
        let message = harness.message(&sent).await;
        assert_eq!(message["status"], "delivered");
        assert_eq!(message["maybeDuplicate"], true);
    })
    .await;
}

#[tokio::test]
async fn of_two_copies_the_one_that_was_read_counts_whichever_it_is() {
    on_both_with(impatient(), async |harness| {
        harness.sandbox.fault(fault(FaultKind::ResetBefore)).unwrap();
        let sent = write_and_reply(harness, "amara", NUMBER).await;
        until_unknown(harness, &sent).await;
        harness.pass(SECOND * 61).await;
        harness.message_until(&sent, "accepted").await;
        let external_id = harness.message(&sent).await["externalId"].clone();
        // Meta had only been slow with the first one, and that is the one that the customer looks at.
        let phone = harness.sandbox.customer("amara").unwrap().phone;
        let read = json!({"id": "wamid.FIRST", "status": "read", "timestamp": (harness.clock.now_millis() / 1_000).to_string(),
            "recipient_id": phone, "biz_opaque_callback_data": format!("{sent}/att_00000000000000000000000000000000")});
        harness.whatsapp(&whatsapp_value(&json!({ "statuses": [read] }))).await;
        let message = harness.message(&sent).await;
        assert_eq!(message["status"], "read");
        assert_eq!(message["externalId"], external_id);
    })
    .await;
}

#[tokio::test]
async fn what_meta_told_long_ago_settles_it_though_it_waits_to_be_understood() {
    on_both_with(impatient(), async |harness| {
        harness.sandbox.fault(fault(FaultKind::ResetAfterAccept)).unwrap();
        let sent = write_and_reply(harness, "amara", NUMBER).await;
        until_unknown(harness, &sent).await;
        // The status stands behind thousands of others when its time is up.
        let backlog: Vec<Notification> = (0..3)
            .map(|number| {
                let messages: Vec<Value> = (0..1_000)
                    .map(|index| {
                        json!({"id": format!("wamid.{number}.{index}"), "from": "447700900123", "type": "text",
                            "timestamp": (START / 1000).to_string(), "text": {"body": "hello"}})
                    })
                    .collect();
                Notification::whatsapp(&whatsapp_value(&json!({ "messages": messages })))
            })
            .collect();
        for answer in join_all(
            backlog
                .into_iter()
                .map(|notification| harness.post_signed(notification)),
        )
        .await
        {
            answer.expect(200);
        }
        harness.sandbox.advance(SECOND).await;
        harness.clock.advance(SECOND * 61);
        harness.nudge();
        harness.projected().await;
        harness.pass(MINUTE).await;
        assert_eq!(harness.accepted("amara"), ["once"]);
        assert_eq!(harness.message(&sent).await["maybeDuplicate"], false);
    })
    .await;
}

#[tokio::test]
async fn the_echo_of_a_message_that_expired_meanwhile_is_that_message() {
    on_both_with(impatient(), async |harness| {
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let late = FaultRequest {
            endpoint: "webhooks".to_owned(),
            delay_ms: Some(180_000),
            ..fault(FaultKind::Delay)
        };
        harness.sandbox.fault(late).unwrap();
        harness.sandbox.fault(fault(FaultKind::ResetAfterAccept)).unwrap();
        let conversation = harness.conversation().await;
        let expires_at = from_millis(START + 30_000).to_string();
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "once", "expiresAt": expires_at});
        let accepted = harness.post("/api/v1/messages/send", &body).await.expect(202);
        let sent = accepted["messageId"].as_str().unwrap().to_owned();
        until_unknown(harness, &sent).await;
        harness.pass(SECOND * 61).await;
        harness.message_until(&sent, "expired").await;
        harness.pass(MINUTE * 3).await;
        let message = harness.message(&sent).await;
        assert_eq!(message["status"], "accepted");
        assert!(message["externalId"].is_string(), "{message:#}");
        assert_eq!(harness.messages(&conversation).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_stays_unknown_twice_is_not_sent_a_third_time() {
    on_both_with(impatient(), async |harness| {
        harness
            .sandbox
            .fault(FaultRequest {
                count: Some(2),
                ..fault(FaultKind::ResetAfterAccept)
            })
            .unwrap();
        let lost = FaultRequest {
            endpoint: "webhooks".to_owned(),
            count: None,
            ..fault(FaultKind::Lose)
        };
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        harness.sandbox.fault(lost).unwrap();
        let sent = harness.reply(&harness.conversation().await, "once").await;
        for _ in 0..2 {
            until_unknown(harness, &sent).await;
            harness.pass(SECOND * 61).await;
            harness.nudge();
            harness
                .until("it went on", async |harness| {
                    let attempts = harness
                        .timeline(&sent)
                        .await
                        .0
                        .iter()
                        .filter(|kind| *kind == "attempt")
                        .count();
                    let ended = harness.message(&sent).await["status"] == "failed";
                    (ended || attempts == 2).then_some(())
                })
                .await;
        }
        let failed = harness.message_until(&sent, "failed").await;
        assert!(
            failed["error"]["text"].as_str().unwrap().contains("may have arrived"),
            "{failed}"
        );
        harness.pass(Duration::from_hours(2)).await;
        assert_eq!(harness.accepted("amara").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_was_being_sent_when_the_hub_died_is_settled_after_its_start() {
    on_both(async |harness| {
        harness.sandbox.fault(fault(FaultKind::TimeoutAfterAccept)).unwrap();
        let sent = write_and_reply(harness, "amara", NUMBER).await;
        harness
            .until("Meta has it", async |harness| {
                (!harness.accepted("amara").is_empty()).then_some(())
            })
            .await;
        assert_eq!(harness.message(&sent).await["status"], "sending");
        harness.crash();

        // Long enough for a lease to run out: on Postgres another node could still be sending.
        harness.clock.advance(MINUTE);
        harness.restart().await;
        until_unknown(harness, &sent).await;
        let (_, document) = harness.timeline(&sent).await;
        assert_eq!(document["timeline"][1]["attempt"]["outcome"], "unknown");
        harness.pass(SECOND * 5).await;
        assert_eq!(harness.message(&sent).await["status"], "delivered");
        assert_arrived_once(harness, &sent, "amara").await;
    })
    .await;
}

#[tokio::test]
async fn what_was_not_yet_sent_when_the_hub_died_is_sent_after_its_start() {
    on_both(async |harness| {
        harness
            .sandbox
            .fault(FaultRequest {
                code: Some(133_004),
                ..fault(FaultKind::Error)
            })
            .unwrap();
        harness.foresee_refusals(&[133_004]);
        let sent = write_and_reply(harness, "amara", NUMBER).await;
        harness.waiting_after(&sent, 1).await;
        harness.crash();
        harness.clock.advance(MINUTE);
        harness.restart().await;
        harness.message_until(&sent, "accepted").await;
        assert_arrived_once(harness, &sent, "amara").await;
    })
    .await;
}
