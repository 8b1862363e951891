//! Private replies keep to their number an hour, as Meta counts it: over slow calls, restarts and nodes.

use std::time::Duration;

use tidings_sandbox::{EchoTiming, FaultKind, FaultRequest, LedgerKind};

use super::{MINUTE, answer, comment, commented, once, post};
use crate::harness::{Harness, Setup, on_both_with, on_postgres};

/// In so long there are no more private replies than in an hour there may be.
const HOUR_AND_MARGIN: Duration = Duration::from_secs(3_636);

/// A time that the hub tells.
fn at_millis(text: &str) -> i64 {
    let at: jiff::Timestamp = text.parse().unwrap();
    at.as_millisecond()
}

#[tokio::test]
async fn private_replies_keep_to_their_number_an_hour() {
    let setup = Setup::default().with("TIDINGS_SENDING_INSTAGRAM_PRIVATE_REPLIES_PER_HOUR", "1");
    on_both_with(setup, async |harness| {
        let post = post(harness);
        let (_, one) = commented(harness, "lucia", comment("Link please", &post)).await;
        let (_, two) = commented(harness, "lucia", comment("And the price?", &post)).await;
        let first = answer(harness, "private_reply", &one, "Here you are.").await;
        harness.message_until(&first, "accepted").await;
        let second = answer(harness, "private_reply", &two, "29 euros.").await;
        harness
            .until("it waits for the hour to pass", async |harness| {
                let (_, document) = harness.timeline(&second).await;
                (document["waiting"]["waitsFor"] == "hourly_limit").then_some(())
            })
            .await;
        assert_eq!(harness.accepted("lucia"), ["Here you are."]);
        // A public answer is not among them.
        let public = answer(harness, "comment_reply", &two, "We will write to you.").await;
        harness.message_until(&public, "accepted").await;
        harness.pass(HOUR_AND_MARGIN).await;
        harness.message_until(&second, "accepted").await;
    })
    .await;
}

/// Two private replies an hour, for the hub and for Meta alike, who refuses a third one.
fn two_an_hour() -> Setup {
    let mut setup = Setup::default().with("TIDINGS_SENDING_INSTAGRAM_PRIVATE_REPLIES_PER_HOUR", "2");
    setup.sandbox.world.instagram_accounts[0]
        .limits
        .private_replies_per_hour = 2;
    setup
}

async fn is_held_back(harness: &Harness, id: &str) {
    harness
        .until("it waits for the hour to pass", async |harness| {
            let (_, document) = harness.timeline(id).await;
            (document["waiting"]["waitsFor"] == "hourly_limit").then_some(())
        })
        .await;
}

/// Uses the hour up by a reply that is under way for long and another one, lets something happen to the hub, and sees that the next reply goes out
/// once Meta's hour is over: not before, or Meta would refuse it, and not much later.
async fn keeps_to_metas_hour(harness: &mut Harness, happens: impl AsyncFnOnce(&mut Harness)) {
    const STEP: Duration = Duration::from_secs(10);
    let post = post(harness);
    let mut comments = Vec::new();
    for words in ["Link please", "And the price?", "And in red?"] {
        comments.push(commented(harness, "lucia", comment(words, &post)).await.1);
    }
    let slow = FaultRequest {
        delay_ms: Some(30_000),
        ..once("messages", FaultKind::Delay)
    };
    harness.sandbox.fault(slow).unwrap();
    let first = answer(harness, "private_reply", &comments[0], "one").await;
    harness
        .until("the first reply has come to Meta", async |harness| {
            if harness.ledger(LedgerKind::Faulted).is_empty() {
                return None;
            }
            harness.pass(STEP).await;
            (harness.message(&first).await["status"] == "accepted").then_some(())
        })
        .await;
    let second = answer(harness, "private_reply", &comments[1], "two").await;
    harness.message_until(&second, "accepted").await;

    happens(harness).await;
    let third = answer(harness, "private_reply", &comments[2], "three").await;
    is_held_back(harness, &third).await;
    harness.pass(Duration::from_mins(59)).await;
    let mut steps = 0;
    while harness.message(&third).await["status"] == "queued" {
        is_held_back(harness, &third).await;
        harness.pass(STEP).await;
        // What is due now is taken in hand at once.
        harness
            .until("what is due was looked at", async |harness| {
                let (_, document) = harness.timeline(&third).await;
                let until = document["waiting"]["dueAt"].as_str().map(at_millis);
                until
                    .is_none_or(|until| until > harness.clock.now_millis())
                    .then_some(())
            })
            .await;
        steps += 1;
        assert!(steps < 30, "it goes out soon after the hour");
    }
    harness.message_until(&third, "accepted").await;
    let accepted = harness.ledger(LedgerKind::Accepted);
    let at: Vec<i64> = accepted.iter().map(|entry| entry.at).collect();
    assert_eq!(at.len(), 3);
    assert!(at[2] - at[0] > 3_600_000, "{at:?}");
    assert!(at[2] - at[0] < 3_600_000 + 60_000, "{at:?}");
}

#[tokio::test]
async fn a_private_reply_that_was_under_way_for_long_counts_from_when_meta_had_it() {
    on_both_with(two_an_hour(), async |harness| {
        keeps_to_metas_hour(harness, async |_| ()).await;
    })
    .await;
}

#[tokio::test]
async fn private_replies_are_counted_over_a_restart() {
    on_both_with(two_an_hour(), async |harness| {
        keeps_to_metas_hour(harness, async |harness| {
            harness.crash();
            harness.restart().await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn private_replies_of_two_nodes_are_counted_together() {
    on_postgres(two_an_hour(), async |harness| {
        let mut other = None;
        keeps_to_metas_hour(harness, async |harness| {
            let node = harness.another_node().await;
            harness.crash();
            // Whoever has sent is gone, and this one goes on.
            harness
                .until("the other node leads the channel", async |_| {
                    node.hub().app().leases.lead(&"instagram".parse().unwrap()).map(|_| ())
                })
                .await;
            other = Some(node);
            harness.restart().await;
        })
        .await;
        other.unwrap().stop().await;
    })
    .await;
}

#[tokio::test]
async fn each_attempt_at_a_private_reply_counts_and_one_that_a_crash_cut_off_counts_from_then() {
    let mut setup = two_an_hour();
    setup.sandbox.rules.echo = EchoTiming::Never;
    on_both_with(setup, async |harness| {
        harness.foresee_refusals(&[100]);
        let post = post(harness);
        let (_, one) = commented(harness, "lucia", comment("Link please", &post)).await;
        let (_, two) = commented(harness, "lucia", comment("And the price?", &post)).await;
        harness
            .sandbox
            .fault(once("messages", FaultKind::TimeoutAfterAccept))
            .unwrap();
        let first = answer(harness, "private_reply", &one, "one").await;
        harness
            .until("Meta has it, and does not answer", async |harness| {
                (harness.accepted("lucia").len() == 1).then_some(())
            })
            .await;
        harness.crash();
        harness.clock.advance(MINUTE);
        harness.sandbox.advance(MINUTE).await;
        harness.restart().await;
        harness
            .until("the new process has found it", async |harness| {
                let (_, document) = harness.timeline(&first).await;
                (document["waiting"]["state"] == "unknown").then_some(())
            })
            .await;
        let found_at = harness.clock.now_millis();
        // It is asked for again, and Meta says that it was there.
        harness
            .until("it is settled", async |harness| {
                harness.pass(Duration::from_secs(10)).await;
                (harness.message(&first).await["status"] == "accepted").then_some(())
            })
            .await;
        let second = answer(harness, "private_reply", &two, "two").await;
        let until = harness
            .until("two attempts are what there is room for", async |harness| {
                let (_, document) = harness.timeline(&second).await;
                let waiting = &document["waiting"];
                (waiting["waitsFor"] == "hourly_limit").then(|| at_millis(waiting["dueAt"].as_str().unwrap()))
            })
            .await;
        assert_eq!(until, found_at + i64::try_from(HOUR_AND_MARGIN.as_millis()).unwrap());
    })
    .await;
}
