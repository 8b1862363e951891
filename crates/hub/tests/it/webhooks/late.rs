//! A store that keeps a notification too late, or not at all. Where there is a journal, it is answered all the same, and brought into the store once that is
//! back; otherwise Meta is told to come again, and nothing is lost or doubled by that.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    ACCOUNT, Answer, Harness, Notification, START, Setup, on_both_with, on_postgres, on_sqlite, whatsapp_text,
};

/// Without waiting for the 5 s that are the default.
fn in_a_moment() -> Setup {
    Setup::default().with("WEBHOOK_ANSWER_WITHIN_MS", "2000")
}

async fn counted(harness: &Harness, result: &str) -> u64 {
    let line = format!(r#"tidings_webhook_notifications_total{{channel="whatsapp",result="{result}"}}"#);
    harness.metric(&line).await
}

fn is_told_to_come_again(answer: &Answer, code: &str) {
    answer.problem(503, code);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
}

/// Fills what room there is between the journal and the store, if there is a journal; answers with how many notifications that took.
async fn fill_the_journal(harness: &Harness) -> usize {
    if harness.is_shared() {
        return 0;
    }
    // One on its way into the store, and one that waits for it.
    for number in 0..2 {
        let body = whatsapp_text(&format!("wamid.first.{number}"), "447700900123", "at once", START);
        harness.post_signed(Notification::whatsapp(&body)).await.expect(200);
    }
    2
}

#[tokio::test]
async fn what_is_not_kept_in_time_is_refused_and_a_repeat_if_it_was_kept_after_all() {
    on_both_with(in_a_moment().with("WEBHOOK_MAX_QUEUE", "1"), async |harness| {
        let body = whatsapp_text("wamid.late", "447700900123", "better late", START);
        let held = harness.hold_store().await;
        let first = fill_the_journal(harness).await;
        let answer = harness.post_signed(Notification::whatsapp(&body)).await;
        is_told_to_come_again(&answer, "store_unavailable");
        // Nor is anybody told that it is in quarantine before it is.
        let answer = harness
            .post_signed(Notification::to("/api/webhooks/whatsapp", "no JSON"))
            .await;
        is_told_to_come_again(&answer, "store_unavailable");
        assert_eq!(counted(harness, "unavailable").await, 2);
        assert_eq!(counted(harness, "accepted").await, 0);
        assert!(harness.events("").await.is_empty(), "it is not in the store");
        assert!(harness.quarantined().await.is_empty());

        held.release().await;
        harness
            .until("it is kept after all", async |harness| {
                (harness.events("").await.len() == first + 1 && harness.quarantined().await.len() == 1).then_some(())
            })
            .await;
        harness.post_signed(Notification::whatsapp(&body)).await.expect(200);
        harness.projected().await;
        assert_eq!(counted(harness, "duplicate").await, 1, "Meta's next try finds it");
        assert_eq!(counted(harness, "accepted").await, first as u64);
        assert_eq!(harness.events("").await.len(), first + 1);
        let conversation = harness.conversation().await;
        assert_eq!(conversation["unread"], first + 1);
        assert_eq!(harness.messages(&conversation).await.len(), first + 1);
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
        let has_been_answered = |answer: &Answer| {
            // Whether 64 MiB are in a journal within the time is up to the disk.
            if harness.is_shared() || answer.status != 200 {
                is_told_to_come_again(answer, "store_unavailable");
            }
        };
        let held = harness.hold_store().await;
        // There is room for 21 of them, in 64 MiB.
        for answer in &join_all((0..21).map(|number| harness.post_signed(padded(number)))).await {
            has_been_answered(answer);
        }
        // All have been answered, and wait to be in the store all the same.
        is_told_to_come_again(&harness.post_signed(padded(21)).await, "overloaded");
        // A small one fits in between.
        let small = whatsapp_text("wamid.small", "447700900123", "hello", START);
        has_been_answered(&harness.post_signed(Notification::whatsapp(&small)).await);

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

/// Five messages.
fn five() -> Vec<Value> {
    (0..5)
        .map(|number| whatsapp_text(&format!("wamid.{number}"), "447700900123", "hello", START))
        .collect()
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_all_is_well_once_it_is_back() {
    on_postgres(Setup::default(), async |harness| {
        let bodies = five();
        harness.break_store().await;
        let posts = bodies
            .iter()
            .map(|body| harness.post_signed(Notification::whatsapp(body)));
        for answer in join_all(posts).await {
            is_told_to_come_again(&answer, "store_unavailable");
        }
        assert_eq!(counted(harness, "unavailable").await, 5);
        let ready = harness.get("/health/ready").await;
        assert_eq!(ready.status, 503);
        assert_eq!(ready.json()["checks"][0], json!({"name": "store", "ok": false}));
        is_told_to_come_again(&harness.get("/api/v1/conversations").await, "store_unavailable");

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
        assert_eq!(counted(harness, "accepted").await, 5);
        assert_eq!(counted(harness, "duplicate").await, 0);
        assert_eq!(harness.get("/health/ready").await.expect(200)["status"], "ready");
    })
    .await;
}

#[tokio::test]
async fn what_a_locked_database_does_not_take_is_in_the_journal_until_it_does() {
    on_sqlite(Setup::default(), async |harness| {
        let held = harness.hold_store().await;
        for body in &five() {
            harness.post_signed(Notification::whatsapp(body)).await.expect(200);
        }
        assert_eq!(harness.hub().app().ingest.waiting(), 5, "they are in the journal");
        assert!(harness.events("").await.is_empty());
        held.release().await;
        harness.projected().await;
        assert_eq!(harness.events("status=processed").await.len(), 5);
        assert_eq!(counted(harness, "accepted").await, 5);
    })
    .await;
}

#[tokio::test]
async fn what_was_answered_and_the_store_refuses_again_and_again_goes_into_quarantine_and_holds_nobody_up() {
    on_sqlite(Setup::default(), async |harness| {
        harness.break_store().await;
        let bodies = five();
        for body in &bodies {
            harness.post_signed(Notification::whatsapp(body)).await.expect(200);
        }
        let quarantined = harness
            .until("all are in quarantine", async |harness| {
                let quarantined = harness.quarantined().await;
                let is_empty = harness.hub().app().ingest.waiting() == 0;
                (quarantined.len() == 5 && is_empty).then_some(quarantined)
            })
            .await;
        for notification in &quarantined {
            assert!(
                notification["reason"].as_str().unwrap().contains("the store refused"),
                "{notification}"
            );
        }
        harness.mend_store().await;
        harness.whatsapp(&bodies[0]).await;
        assert_eq!(
            harness.events("").await.len(),
            1,
            "Meta, or whoever looks there, can bring it again"
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_answered_and_is_not_in_the_store_yet_survives_the_end_of_the_process() {
    on_sqlite(Setup::default(), async |harness| {
        let bodies = five();
        let held = harness.hold_store().await;
        for body in &bodies[..4] {
            harness.post_signed(Notification::whatsapp(body)).await.expect(200);
        }
        let said = json!({"sender": {"id": "5550001110001"}, "recipient": {"id": ACCOUNT}, "timestamp": START,
            "message": {"mid": "mid.journal", "text": "hello"}});
        let instagram = json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": START, "messaging": [said]}]});
        harness
            .post_signed(Notification::instagram(&instagram))
            .await
            .expect(200);
        assert_eq!(harness.hub().app().ingest.waiting(), 5);
        harness.crash();
        held.release().await;
        harness.restart().await;
        harness.projected().await;
        harness
            .until("the five are in the store", async |harness| {
                (harness.events("").await.len() == 5).then_some(())
            })
            .await;
        assert!(
            harness
                .events("status=processed")
                .await
                .iter()
                .all(|event| event["signed"] == true)
        );
        assert_eq!(harness.conversations().await.len(), 2);

        // One that was about to be brought in when the process ended may have been, and is a repeat.
        let counts =
            async |harness: &Harness| (counted(harness, "accepted").await, counted(harness, "duplicate").await);
        let (accepted, duplicate) = counts(harness).await;
        assert_eq!(accepted + duplicate, 4, "each of the journal's is counted");

        harness.whatsapp(&bodies[0]).await;
        assert_eq!(counts(harness).await, (accepted, duplicate + 1), "Meta repeats it");
        harness.whatsapp(&bodies[4]).await;
        harness.restart().await;
        harness.projected().await;
        assert_eq!(counts(harness).await, (0, 0), "the journal was empty");
        assert_eq!(harness.events("").await.len(), 6);
    })
    .await;
}

#[tokio::test]
async fn where_the_journal_cannot_be_used_a_notification_is_answered_once_it_is_in_the_store() {
    on_sqlite(in_a_moment(), async |harness| {
        let file = harness.hub().app().store.file().unwrap().display().to_string();
        harness
            .whatsapp(&whatsapp_text("wamid.before", "447700900123", "hello", START))
            .await;
        harness.crash();
        for half in ["a", "b"] {
            let half = format!("{file}-notifications-{half}");
            std::fs::remove_file(&half).unwrap();
            std::fs::create_dir(&half).unwrap();
        }
        harness.restart().await;
        let held = harness.hold_store().await;
        let bodies = five();
        let answer = harness.post_signed(Notification::whatsapp(&bodies[0])).await;
        is_told_to_come_again(&answer, "store_unavailable");
        held.release().await;
        harness
            .until("it is answered", async |harness| {
                let answer = harness.post_signed(Notification::whatsapp(&bodies[1])).await;
                (answer.status == 200).then_some(())
            })
            .await;
        assert_eq!(harness.events("").await.len(), 3, "what is answered is in the store");
    })
    .await;
}
