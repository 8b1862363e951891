//! Withdrawing what is not yet sent.

use futures_util::future::join_all;
use serde_json::json;

use super::{HOUR, delete, refuse, written_to};
use crate::harness::{NUMBER, on_both, text};

#[tokio::test]
async fn what_waits_is_withdrawn_and_the_next_one_takes_its_turn() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        refuse(harness, 131_057, 1);
        let first = harness.reply(&conversation, "first").await;
        harness.waiting_after(&first, 1).await;
        let second = harness.reply(&conversation, "second").await;
        let third = harness.reply(&conversation, "third").await;
        // One from the middle, then the head.
        assert_eq!(delete(harness, &second).await.expect(200)["status"], "cancelled");
        assert_eq!(delete(harness, &first).await.expect(200)["status"], "cancelled");
        harness.message_until(&third, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["third"]);
        // Again is no error.
        assert_eq!(delete(harness, &first).await.expect(200)["status"], "cancelled");
        harness.pass(HOUR).await;
        assert_eq!(harness.accepted("amara"), ["third"]);
        assert_eq!(harness.message(&first).await["status"], "cancelled");
    })
    .await;
}

#[tokio::test]
async fn it_is_said_why_it_is_too_late() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        let sent = harness.reply(&conversation, "gone").await;
        harness.message_until(&sent, "accepted").await;
        let document = delete(harness, &sent).await.problem(409, "not_cancellable");
        assert!(document["detail"].as_str().unwrap().contains("accepted"), "{document}");
        let theirs = harness.messages(&conversation).await[0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        delete(harness, &theirs).await.problem(409, "not_cancellable");
        delete(harness, &format!("msg_{}", "0".repeat(32)))
            .await
            .problem(404, "not_found");
        delete(harness, "nothing").await.problem(404, "not_found");
        let path = format!("/admin/messages/{sent}/cancel");
        harness.post(&path, &json!({})).await.problem(409, "not_cancellable");
    })
    .await;
}

#[tokio::test]
async fn of_cancelling_and_sending_at_once_one_wins_and_both_know_which() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let mut accepted = 0;
        for round in 0..20 {
            let sent = harness.reply(&conversation, &format!("{round}")).await;
            let answers = join_all((0..2).map(|_| delete(harness, &sent))).await;
            let cancelled = answers.iter().filter(|answer| answer.status == 200).count();
            if cancelled == 0 {
                harness.message_until(&sent, "accepted").await;
                accepted += 1;
            } else {
                assert_eq!(harness.message(&sent).await["status"], "cancelled");
            }
        }
        let last = harness.reply(&conversation, "last").await;
        harness.message_until(&last, "accepted").await;
        assert_eq!(harness.accepted("amara").len(), accepted + 1);
    })
    .await;
}
