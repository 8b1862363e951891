//! A store that keeps a notification too late, or not at all: Meta is told to come again, and nothing is lost or doubled by that.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Answer, Harness, Notification, START, Setup, on_both, on_both_with, whatsapp_text};

/// Without waiting for the 5 s that are the default.
fn in_a_moment() -> Setup {
    Setup::default().with("WEBHOOK_ANSWER_WITHIN_MS", "200")
}

async fn counted(harness: &Harness, result: &str) -> u64 {
    let line = format!(r#"tidings_webhook_notifications_total{{channel="whatsapp",result="{result}"}}"#);
    harness.metric(&line).await
}

fn is_told_to_come_again(answer: &Answer, code: &str) {
    answer.problem(503, code);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
}

#[tokio::test]
async fn what_is_not_kept_in_time_is_refused_and_a_repeat_if_it_was_kept_after_all() {
    on_both_with(in_a_moment(), async |harness| {
        let body = whatsapp_text("wamid.late", "447700900123", "better late", START);
        let held = harness.hold_store().await;
        let answer = harness.post_signed(Notification::whatsapp(&body)).await;
        is_told_to_come_again(&answer, "store_unavailable");
        // Nor is anybody told that it is in quarantine before it is.
        let answer = harness
            .post_signed(Notification::to("/api/webhooks/whatsapp", "no JSON"))
            .await;
        is_told_to_come_again(&answer, "store_unavailable");
        assert_eq!(counted(harness, "unavailable").await, 2);
        assert_eq!(counted(harness, "accepted").await, 0);
        assert!(harness.events("").await.is_empty(), "it is not kept");
        assert!(harness.quarantined().await.is_empty());

        held.release().await;
        harness
            .until("it is kept after all", async |harness| {
                (harness.events("").await.len() == 1 && harness.quarantined().await.len() == 1).then_some(())
            })
            .await;
        harness.post_signed(Notification::whatsapp(&body)).await.expect(200);
        assert_eq!(counted(harness, "duplicate").await, 1, "Meta's next try finds it");
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 1);
        let conversation = harness.conversation().await;
        assert_eq!(conversation["unread"], 1);
        assert_eq!(harness.messages(&conversation).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_takes_its_room_until_it_is_kept() {
    const BODY: usize = 3 * 1024 * 1024;
    on_both_with(in_a_moment(), async |harness| {
        // Large by what is between the words, and small in the store.
        let padded = |number: usize| {
            let body = whatsapp_text(&format!("wamid.{number}"), "447700900123", "hello", START).to_string();
            let space = " ".repeat(BODY - body.len());
            Notification::to("/api/webhooks/whatsapp", body + &space)
        };
        let held = harness.hold_store().await;
        // There is room for 21 of them, in 64 MiB.
        let answers = join_all((0..21).map(|number| harness.post_signed(padded(number)))).await;
        for answer in &answers {
            is_told_to_come_again(answer, "store_unavailable");
        }
        // All have been answered, and wait to be kept all the same.
        is_told_to_come_again(&harness.post_signed(padded(21)).await, "overloaded");
        // A small one fits in between.
        let small = whatsapp_text("wamid.small", "447700900123", "hello", START);
        let answer = harness.post_signed(Notification::whatsapp(&small)).await;
        is_told_to_come_again(&answer, "store_unavailable");

        held.release().await;
        harness
            .until("there is room again", async |harness| {
                (harness.post_signed(padded(21)).await.status == 200).then_some(())
            })
            .await;
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 23);
    })
    .await;
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_all_is_well_once_it_is_back() {
    on_both(async |harness| {
        let bodies: Vec<_> = (0..5)
            .map(|number| whatsapp_text(&format!("wamid.{number}"), "447700900123", "hello", START))
            .collect();
        harness.break_store().await;
        let posts = bodies
            .iter()
            .map(|body| harness.post_signed(Notification::whatsapp(body)));
        for answer in join_all(posts).await {
            is_told_to_come_again(&answer, "store_unavailable");
        }
        assert_eq!(counted(harness, "unavailable").await, 5);
        let ready = harness.get("/health/ready").await;
        if harness.is_shared() {
            assert_eq!(ready.status, 503);
            assert_eq!(ready.json()["checks"][0], json!({"name": "store", "ok": false}));
            is_told_to_come_again(&harness.get("/api/v1/conversations").await, "store_unavailable");
        }

        harness.mend_store().await;
        for body in &bodies {
            harness
                .until("it is kept", async |harness| {
                    (harness.post_signed(Notification::whatsapp(body)).await.status == 200).then_some(())
                })
                .await;
        }
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 5, "refused ones were not kept");
        assert_eq!(counted(harness, "duplicate").await, 0);
        assert_eq!(harness.get("/health/ready").await.expect(200)["status"], "ready");
    })
    .await;
}
