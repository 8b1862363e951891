//! The same answer to several people who have commented below one comment: each is known by Meta's own id of it.

use std::time::Duration;

use serde_json::Value;
use tidings_sandbox::{EchoTiming, FaultKind, FaultRequest, LedgerKind};

use super::{MINUTE, add_noor, answer, comment, commented, impatient, on_post, once, post, under};
use crate::harness::{Harness, Setup, on_both_with};

const WORDS: &str = "We have sent you a message.";

/// Two people below one comment, each in a conversation of their own: conversation and comment.
async fn two_people(harness: &Harness, post: &str) -> [(Value, Value); 2] {
    add_noor(harness);
    let one = commented(harness, "lucia", comment("How much?", post)).await;
    let parent = one.1["externalId"].as_str().unwrap().to_owned();
    let other = commented(harness, "noor", under("I would like to know, too", &parent)).await;
    [one, other]
}

async fn calls_under_way(harness: &Harness, count: usize) {
    harness
        .until("the calls are under way", async |harness| {
            (harness.ledger(LedgerKind::Faulted).len() == count).then_some(())
        })
        .await;
}

/// Both are there, each once, in its conversation, and nothing else is.
async fn each_is_there_once(harness: &Harness, post: &str, people: &[(Value, Value); 2], sent: [&str; 2]) {
    let on_post = on_post(harness, post).await;
    let mut there: Vec<&Value> = on_post
        .iter()
        .filter(|comment| comment["byBusiness"] == true)
        .map(|comment| &comment["id"])
        .collect();
    let mut known = Vec::new();
    for ((conversation, comment), id) in people.iter().zip(sent) {
        let messages = harness.messages(conversation).await;
        let ids: Vec<&str> = messages.iter().map(|message| message["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [comment["id"].as_str().unwrap(), id], "{messages:#?}");
        assert_eq!(messages[1]["sender"], "api");
        known.push(messages[1]["externalId"].clone());
    }
    let mut known: Vec<&Value> = known.iter().collect();
    there.sort_by_key(|id| id.as_str());
    known.sort_by_key(|id| id.as_str());
    assert_eq!(known, there, "{on_post:#?}");
}

#[tokio::test]
async fn two_answers_alike_that_are_under_way_do_not_swap_their_ids() {
    for echo in [EchoTiming::BeforeAnswer, EchoTiming::AfterAnswer] {
        let mut setup = Setup::default();
        setup.sandbox.rules.echo = echo;
        on_both_with(setup, async |harness| {
            let post = post(harness);
            let people = two_people(harness, &post).await;
            // The second one comes to Meta before the first.
            for delay_ms in [20_000, 500] {
                let slow = FaultRequest {
                    delay_ms: Some(delay_ms),
                    ..once("comments", FaultKind::Delay)
                };
                harness.sandbox.fault(slow).unwrap();
            }
            let one = answer(harness, "comment_reply", &people[0].1, WORDS).await;
            calls_under_way(harness, 1).await;
            let other = answer(harness, "comment_reply", &people[1].1, WORDS).await;
            calls_under_way(harness, 2).await;
            // When a delay begins is up to the machine: it may be after a step of time.
            for (id, step_ms) in [(&other, 250), (&one, 5_000)] {
                harness
                    .message_while_time_passes(id, "accepted", Duration::from_millis(step_ms))
                    .await;
            }
            harness.pass(MINUTE).await;
            each_is_there_once(harness, &post, &people, [&one, &other]).await;
            for id in [&one, &other] {
                let message = harness.message(id).await;
                // Meta's answer may be on its way yet, though its echo has told all.
                let answered = harness
                    .until("its call is answered", async |harness| {
                        let (_, document) = harness.timeline(id).await;
                        let items = document["timeline"].as_array().unwrap();
                        let answers = items.iter().filter_map(|item| item["attempt"]["answer"].get("id"));
                        let answers: Vec<Value> = answers.cloned().collect();
                        (!answers.is_empty()).then_some(answers)
                    })
                    .await;
                assert_eq!(answered, [message["externalId"].clone()], "{echo:?}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn two_answers_alike_of_unknown_outcome_are_two() {
    for echo in [EchoTiming::Never, EchoTiming::AfterAnswer] {
        on_both_with(impatient(echo), async |harness| {
            let post = post(harness);
            let people = two_people(harness, &post).await;
            for _ in 0..2 {
                let cut = once("comments", FaultKind::ResetAfterAccept);
                harness.sandbox.fault(cut).unwrap();
            }
            let one = answer(harness, "comment_reply", &people[0].1, WORDS).await;
            let other = answer(harness, "comment_reply", &people[1].1, WORDS).await;
            calls_under_way(harness, 2).await;
            for id in [&one, &other] {
                harness
                    .message_while_time_passes(id, "accepted", Duration::from_secs(10))
                    .await;
            }
            for _ in 0..3 {
                harness.pass(MINUTE).await;
            }
            each_is_there_once(harness, &post, &people, [&one, &other]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_that_is_being_posted_is_not_taken_for_one_that_never_arrived() {
    let mut setup = Setup::default();
    setup.sandbox.rules.echo = EchoTiming::Never;
    on_both_with(setup, async |harness| {
        let post = post(harness);
        let people = two_people(harness, &post).await;
        harness.sandbox.fault(once("comments", FaultKind::ResetBefore)).unwrap();
        let one = answer(harness, "comment_reply", &people[0].1, WORDS).await;
        harness.waiting_after(&one, 1).await;
        // The other one is there, and Meta's answer takes its time.
        let slow = FaultRequest {
            delay_ms: Some(120_000),
            ..once("comments", FaultKind::TimeoutAfterAccept)
        };
        harness.sandbox.fault(slow).unwrap();
        let other = answer(harness, "comment_reply", &people[1].1, WORDS).await;
        harness
            .until("the second is on the post", async |harness| {
                let shown = on_post(harness, &post).await;
                shown.iter().any(|comment| comment["byBusiness"] == true).then_some(())
            })
            .await;
        harness.pass(MINUTE).await;
        let waiting = harness.waiting_after(&one, 2).await;
        let why = waiting["reason"].as_str().unwrap();
        assert!(why.contains("said to somebody else"), "{why}");
        for id in [&one, &other] {
            harness
                .message_while_time_passes(id, "accepted", Duration::from_secs(10))
                .await;
        }
        each_is_there_once(harness, &post, &people, [&one, &other]).await;
    })
    .await;
}
