//! What Meta refuses: for good, for now, or for want of a token that works.

use std::time::Duration;

use serde_json::json;
use tidings_sandbox::{Channel, FaultKind, FaultRequest, LedgerKind};

use crate::harness::{ACCOUNT, Harness, NUMBER, fault, on_both, text};

const SECOND: Duration = Duration::from_secs(1);

fn error(code: i64) -> FaultRequest {
    FaultRequest {
        code: Some(code),
        ..fault(FaultKind::Error)
    }
}

async fn write_from(harness: &Harness, channel: Channel) -> &'static str {
    let (customer, account) = match channel {
        Channel::WhatsApp => ("amara", NUMBER),
        Channel::Instagram => ("lucia", ACCOUNT),
    };
    harness.sandbox.write(customer, account, text("hello")).unwrap();
    harness.projected().await;
    customer
}

#[tokio::test]
async fn a_permanent_error_fails_the_message_with_meaning_and_remedy() {
    for (channel, code) in [
        (Channel::WhatsApp, 131_008),
        (Channel::WhatsApp, 131_026),
        (Channel::WhatsApp, 100),
        (Channel::Instagram, 100),
    ] {
        on_both(async |harness| {
            let customer = write_from(harness, channel).await;
            harness.sandbox.fault(error(code)).unwrap();
            harness.foresee_refusals(&[code]);
            let sent = harness.reply(&harness.conversation().await, "x").await;
            let failed = harness.message_until(&sent, "failed").await;
            let told = &failed["error"];
            assert_eq!(told["code"], code);
            for part in ["text", "meaning", "remedy"] {
                assert!(
                    told[part].as_str().is_some_and(|text| !text.is_empty()),
                    "{part} in {told}"
                );
            }
            let (kinds, document) = harness.timeline(&sent).await;
            assert_eq!(kinds, ["queued", "attempt"]);
            assert_eq!(document["timeline"][1]["attempt"]["error"]["code"], code);
            assert_eq!(document.get("waiting"), None);
            harness.pass(Duration::from_hours(2)).await;
            assert!(harness.accepted(customer).is_empty(), "it is not tried again");
            assert_eq!(harness.message(&sent).await["status"], "failed");
        })
        .await;
    }
}

#[tokio::test]
async fn a_failure_that_comes_later_by_a_status_is_told_the_same() {
    on_both(async |harness| {
        write_from(harness, Channel::WhatsApp).await;
        harness
            .sandbox
            .fault(FaultRequest {
                code: Some(131_026),
                ..fault(FaultKind::Status)
            })
            .unwrap();
        let sent = harness.reply(&harness.conversation().await, "x").await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(SECOND * 5).await;
        let failed = harness.message(&sent).await;
        assert_eq!(failed["status"], "failed");
        assert_eq!(failed["error"]["code"], 131_026);
        assert!(!failed["error"]["remedy"].as_str().unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn temporary_errors_are_tried_again_and_the_message_arrives_once() {
    for (channel, code, subcode) in [
        (Channel::WhatsApp, 133_004, None),
        (Channel::WhatsApp, 131_057, None),
        (Channel::Instagram, -1, Some(2_207_001)),
    ] {
        on_both(async |harness| {
            let customer = write_from(harness, channel).await;
            harness
                .sandbox
                .fault(FaultRequest {
                    count: Some(2),
                    subcode,
                    ..error(code)
                })
                .unwrap();
            harness.foresee_refusals(&[code]);
            let sent = harness.reply(&harness.conversation().await, "at last").await;
            for attempt in 1..=2 {
                let waiting = harness.waiting_after(&sent, attempt).await;
                assert_eq!(waiting["state"], "waiting");
                assert_eq!(waiting["waitsFor"], "retry");
                assert!(
                    waiting["reason"].as_str().unwrap().contains(&code.to_string()),
                    "{waiting}"
                );
                assert_eq!(harness.message(&sent).await["status"], "queued");
                harness.pass(SECOND * (1 << attempt)).await;
            }
            harness
                .until("it was accepted", async |harness| {
                    (!harness.accepted(customer).is_empty()).then_some(())
                })
                .await;
            harness.pass(SECOND * 5).await;
            harness.pass(Duration::from_mins(10)).await;
            assert_eq!(harness.accepted(customer), ["at last"]);
            let (kinds, _) = harness.timeline(&sent).await;
            assert_eq!(kinds.iter().filter(|kind| *kind == "attempt").count(), 3);
            assert_eq!(harness.message(&sent).await["maybeDuplicate"], false);
        })
        .await;
    }
}

#[tokio::test]
async fn after_an_error_that_a_message_may_have_survived_it_is_listened_for_before_it_is_sent_again() {
    for channel in [Channel::WhatsApp, Channel::Instagram] {
        for (code, http_status) in [(131_000, None), (2, Some(500)), (1, Some(503))] {
            if channel == Channel::Instagram && code == 131_000 {
                continue;
            }
            on_both(async |harness| {
                let customer = write_from(harness, channel).await;
                harness
                    .sandbox
                    .fault(FaultRequest {
                        count: Some(2),
                        http_status,
                        ..error(code)
                    })
                    .unwrap();
                harness.foresee_refusals(&[code]);
                let sent = harness.reply(&harness.conversation().await, "at last").await;
                for attempt in 1..=2 {
                    let waiting = harness.waiting_after(&sent, attempt).await;
                    assert_eq!(waiting["state"], "unknown");
                    assert_eq!(waiting["waitsFor"], "unknown_after_error");
                    harness.pass(SECOND * 59).await;
                    assert!(harness.accepted(customer).is_empty(), "it was sent again too soon");
                    harness.pass(SECOND * 2).await;
                }
                harness
                    .until("it was accepted", async |harness| {
                        (!harness.accepted(customer).is_empty()).then_some(())
                    })
                    .await;
                harness.message_until(&sent, "accepted").await;
                harness.pass(Duration::from_mins(10)).await;
                assert_eq!(harness.accepted(customer), ["at last"]);
                assert_eq!(harness.message(&sent).await["maybeDuplicate"], true);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_in_time_expires() {
    on_both(async |harness| {
        write_from(harness, Channel::WhatsApp).await;
        harness
            .sandbox
            .fault(FaultRequest {
                count: None,
                ..error(131_000)
            })
            .unwrap();
        harness.foresee_refusals(&[131_000]);
        let conversation = harness.conversation().await;
        let expires_at = "2026-11-23T09:00:00Z";
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "x", "expiresAt": expires_at});
        let early = harness.post("/api/v1/messages/send", &body).await;
        // Tests begin at a fixed time: this one lies behind it by less than a day.
        let sent = early.expect(202)["messageId"].as_str().unwrap().to_owned();
        harness.waiting_after(&sent, 1).await;
        harness.pass(Duration::from_hours(23)).await;
        let expired = harness.message_until(&sent, "expired").await;
        assert!(!expired["error"]["text"].as_str().unwrap().is_empty());
        assert!(harness.accepted("amara").is_empty());
    })
    .await;
}

#[tokio::test]
async fn without_a_token_that_works_messages_are_kept_until_there_is_one() {
    for (channel, variable, token) in [
        (Channel::WhatsApp, "WHATSAPP_ACCESS_TOKEN", "EAAwrong"),
        (Channel::Instagram, "META_IG_ACCESS_TOKEN", "IGAAwrong"),
    ] {
        on_both(async |harness| {
            harness.restart_with(|setup| setup.with(variable, token)).await;
            harness.foresee_refusals(&[190]);
            let customer = write_from(harness, channel).await;
            let conversation = harness.conversation().await;
            let first = harness.reply(&conversation, "first").await;
            let waiting = harness
                .until("the channel is held", async |harness| {
                    let (_, document) = harness.timeline(&first).await;
                    let waiting = document["waiting"].clone();
                    waiting["reason"].is_string().then_some(waiting)
                })
                .await;
            assert!(
                waiting["reason"].as_str().unwrap().starts_with("credentials (190)"),
                "{waiting}"
            );
            assert_eq!(waiting["attempts"], 0, "it counts against nobody");
            let second = harness.reply(&conversation, "second").await;
            harness.pass(Duration::from_hours(3)).await;
            for id in [&first, &second] {
                assert!(matches!(
                    harness.message(id).await["status"].as_str(),
                    Some("queued" | "sending")
                ));
            }
            assert!(harness.accepted(customer).is_empty());

            harness.restart_with(|setup| setup.with_told(variable)).await;
            for id in [&first, &second] {
                harness.message_until(id, "accepted").await;
            }
            assert_eq!(harness.accepted(customer), ["first", "second"]);
        })
        .await;
    }
}

#[tokio::test]
async fn while_meta_cannot_be_reached_messages_are_kept() {
    on_both(async |harness| {
        write_from(harness, Channel::WhatsApp).await;
        // The system gave this port away a moment ago, and does not give it to somebody else so soon.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        harness
            .restart_with(|setup| setup.with("WHATSAPP_API_BASE_URL", &format!("http://{nobody}")))
            .await;
        let sent = harness.reply(&harness.conversation().await, "at last").await;
        let waiting = harness.waiting_after(&sent, 1).await;
        assert_eq!(waiting["state"], "waiting", "it is certain that nothing was sent");
        harness
            .restart_with(|setup| setup.with_told("WHATSAPP_API_BASE_URL"))
            .await;
        harness.pass(SECOND * 5).await;
        harness
            .until("it was accepted", async |harness| {
                (!harness.accepted("amara").is_empty()).then_some(())
            })
            .await;
        assert_eq!(harness.accepted("amara"), ["at last"]);
        assert_eq!(harness.message(&sent).await["maybeDuplicate"], false);
        assert!(harness.ledger(LedgerKind::Refused).is_empty());
    })
    .await;
}

#[tokio::test]
async fn throttling_uses_no_attempt_up() {
    on_both(async |harness| {
        write_from(harness, Channel::WhatsApp).await;
        harness.sandbox.fault(error(130_429)).unwrap();
        harness.foresee_refusals(&[130_429]);
        let sent = harness.reply(&harness.conversation().await, "at last").await;
        harness
            .until("it waits", async |harness| {
                let (_, document) = harness.timeline(&sent).await;
                document["waiting"]["reason"]
                    .as_str()
                    .filter(|reason| reason.starts_with("throttled"))
                    .map(|_| ())
            })
            .await;
        assert_eq!(harness.waiting_after(&sent, 0).await["state"], "waiting");
        let (_, document) = harness.timeline(&sent).await;
        assert_eq!(document["waiting"]["waitsFor"], "throttled");
        assert!(document["waiting"]["waitsUntil"].is_string(), "{document}");
        harness.pass(Duration::from_mins(5)).await;
        harness
            .until("it was accepted", async |harness| {
                (!harness.accepted("amara").is_empty()).then_some(())
            })
            .await;
        assert_eq!(harness.accepted("amara"), ["at last"]);
    })
    .await;
}
