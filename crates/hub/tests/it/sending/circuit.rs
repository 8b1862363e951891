//! The circuit of a channel: it opens when too many calls fail, its messages wait or go on elsewhere, and one message closes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tidings::conversations::model::ChannelId;
use tidings_sandbox::{FaultKind, FaultRequest};

use super::answers::{through, waits_for, write_first};
use super::graph::{Graph, error};
use super::routes::{begin, by_route, setup, with_email};
use crate::harness::{Harness, NUMBER, fault, on_both_with};

const SECOND: Duration = Duration::from_secs(1);
const CALLS_MIN: &str = "TIDINGS_SENDING_CIRCUIT_CALLS_MIN";

async fn channel(harness: &Harness) -> Value {
    harness.get("/api/v1/channels/whatsapp").await.expect(200)
}

async fn stands(harness: &Harness, status: &str) -> Value {
    harness
        .until(&format!("the channel is {status}"), async |harness| {
            let channel = channel(harness).await;
            (channel["status"] == status).then_some(channel)
        })
        .await
}

async fn actions(harness: &Harness) -> Vec<String> {
    let audit = harness.get("/api/v1/audit?subject=channel:whatsapp").await.expect(200);
    let entries = audit["entries"].as_array().unwrap();
    entries
        .iter()
        .rev()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn too_many_failures_open_the_circuit_and_one_message_closes_it() {
    let is_down = Arc::new(AtomicBool::new(true));
    let answers_no = Arc::clone(&is_down);
    let graph = Graph::answering(move |_, _| answers_no.load(Ordering::Relaxed).then(|| error(500, 131_057))).await;
    on_both_with(through(&graph).with(CALLS_MIN, "3"), async |harness| {
        is_down.store(true, Ordering::Relaxed);
        let begun = graph.calls().len();
        let calls = || graph.calls().len() - begun;
        let mut sent = Vec::new();
        for number in 1..=3 {
            let id = write_first(harness, &format!("+44770090000{number}")).await;
            harness.waiting_after(&id, 1).await;
            sent.push(id);
        }
        let open = stands(harness, "circuit_open").await;
        assert_eq!(open["circuit"]["state"], "open", "{open}");
        assert_eq!(open["usable"], true);
        assert_eq!(harness.metric("tidings_circuit_open{channel=\"whatsapp\"}").await, 1);
        assert_eq!(harness.metric("tidings_circuit_open{channel=\"instagram\"}").await, 0);
        let ready = harness.get("/health/ready").await.expect(200);
        assert!(
            ready["warnings"].to_string().contains("circuit of channel `whatsapp`"),
            "{ready}"
        );
        // Not sooner: what was counted is forgotten when a channel changes hands, as it may when a node comes.
        let other = if harness.is_shared() {
            Some(harness.another_hub(|_| ()).await)
        } else {
            None
        };
        if let Some(other) = &other {
            harness
                .until("the other node knows", async |_| {
                    let channel = other.hub().app().channels.get(&ChannelId("whatsapp".to_owned()))?;
                    channel.circuit.as_ref().map(|_| ())
                })
                .await;
        }

        // What comes now waits, and uses up no attempts; nor do those that have failed.
        let fourth = write_first(harness, "+447700900004").await;
        let waiting = waits_for(harness, &fourth, "circuit_open").await;
        assert_eq!(waiting["attempts"], 0, "{waiting}");
        assert!(waiting["waitsUntil"].is_string(), "{waiting}");
        let queue = harness.get("/admin/queue").await.expect(200);
        let of_channel = queue["channels"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["channelId"] == "whatsapp");
        assert_eq!(of_channel.unwrap()["waitsFor"], "circuit_open", "{queue}");
        harness.pass(SECOND * 29).await;
        assert_eq!(calls(), 3);
        assert_eq!(harness.message(&fourth).await["status"], "queued");

        // One is tried, in vain: the others go on waiting.
        harness.pass(SECOND * 2).await;
        let again = harness
            .until("it was tried", async |harness| {
                // On another node it may be its turn a moment later.
                if calls() < 4 {
                    harness.pass(SECOND / 20).await;
                }
                let channel = channel(harness).await;
                (calls() == 4 && channel["circuit"]["state"] == "open").then_some(channel)
            })
            .await;
        assert_eq!(again["circuit"]["since"], open["circuit"]["since"]);
        assert_ne!(again["circuit"]["probeAt"], open["circuit"]["probeAt"]);
        harness.pass(SECOND * 58).await;
        assert_eq!(calls(), 4, "twice as long");

        is_down.store(false, Ordering::Relaxed);
        harness.pass(SECOND * 3).await;
        for id in sent.iter().chain([&fourth]) {
            harness
                .until(&format!("{id} is out"), async |harness| {
                    harness.pass(SECOND).await;
                    (harness.message(id).await["status"] == "accepted").then_some(())
                })
                .await;
        }
        assert_eq!(calls(), 8, "each was taken once");
        stands(harness, "ready").await;
        harness
            .until("the metric says so", async |harness| {
                let value = harness.metric("tidings_circuit_open{channel=\"whatsapp\"}").await;
                (value == 0).then_some(())
            })
            .await;
        assert_eq!(
            actions(harness).await,
            ["channel.credentials", "channel.circuit_open", "channel.circuit_close"]
        );
        if let Some(other) = other {
            other.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_lets_nothing_through_costs_no_message() {
    let is_shut = Arc::new(AtomicBool::new(true));
    let answers_no = Arc::clone(&is_shut);
    let login = || (StatusCode::PROXY_AUTHENTICATION_REQUIRED, "<html>log in</html>").into_response();
    let graph = Graph::answering(move |_, _| answers_no.load(Ordering::Relaxed).then(login)).await;
    on_both_with(through(&graph).with(CALLS_MIN, "3"), async |harness| {
        is_shut.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for number in 1..=3 {
            let id = write_first(harness, &format!("+44770090000{number}")).await;
            let waiting = harness.waiting_after(&id, 1).await;
            assert_eq!(
                (&waiting["state"], &waiting["waitsFor"]),
                (&json!("waiting"), &json!("retry"))
            );
            sent.push(id);
        }
        stands(harness, "circuit_open").await;
        is_shut.store(false, Ordering::Relaxed);
        harness.pass(SECOND * 60).await;
        for id in sent {
            harness.message_until(&id, "accepted").await;
        }
        stands(harness, "ready").await;
    })
    .await;
}

#[tokio::test]
async fn throttling_and_what_is_refused_for_good_open_no_circuit() {
    let graph = Graph::answering(|index, _| Some(error(400, if index % 2 == 0 { 131_026 } else { 131_008 }))).await;
    on_both_with(through(&graph).with(CALLS_MIN, "2"), async |harness| {
        for number in 1..=5 {
            let id = write_first(harness, &format!("+44770090000{number}")).await;
            harness.message_until(&id, "failed").await;
        }
        assert_eq!(channel(harness).await["circuit"], Value::Null);
        stands(harness, "ready").await;
    })
    .await;
}

#[tokio::test]
async fn a_circuit_outlasts_a_restart_and_an_operator_can_have_it_tried_at_once() {
    let is_down = Arc::new(AtomicBool::new(true));
    let answers_no = Arc::clone(&is_down);
    let graph = Graph::answering(move |_, _| answers_no.load(Ordering::Relaxed).then(|| error(500, 131_057))).await;
    on_both_with(through(&graph).with(CALLS_MIN, "2"), async |harness| {
        is_down.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for number in 1..=2 {
            let id = write_first(harness, &format!("+44770090000{number}")).await;
            harness.waiting_after(&id, 1).await;
            sent.push(id);
        }
        stands(harness, "circuit_open").await;
        is_down.store(false, Ordering::Relaxed);
        let calls = graph.calls().len();
        harness.restart().await;
        stands(harness, "circuit_open").await;
        harness.pass(SECOND * 5).await;
        assert_eq!(graph.calls().len(), calls);

        harness
            .post("/admin/messages/process-queue", &json!({}))
            .await
            .expect(200);
        for id in &sent {
            harness.message_until(id, "accepted").await;
        }
        stands(harness, "ready").await;
    })
    .await;
}

#[tokio::test]
async fn a_message_goes_on_by_another_route_while_the_circuit_is_open_and_the_channel_is_used_again_afterwards() {
    on_both_with(setup().with(CALLS_MIN, "2"), async |harness| {
        harness.foresee_refusals(&[131_057]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        let failing = FaultRequest {
            code: Some(131_057),
            count: None,
            account: Some(NUMBER.to_owned()),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(failing).unwrap();
        let sent = harness.reply(&conversation, "one").await;
        harness.waiting_after(&sent, 1).await;
        harness.pass(SECOND * 5).await;
        let message = by_route(harness, &sent, "email").await;
        let why = message["routes"][1]["reason"].as_str().unwrap();
        assert!(why.contains("the circuit of channel `whatsapp` is open"), "{why}");
        assert_eq!(message["status"], "cancelled");
        let next = harness.reply(&conversation, "two").await;
        by_route(harness, &next, "email").await;

        harness.sandbox.clear_faults();
        harness.pass(SECOND * 31).await;
        let third = harness.reply(&conversation, "three").await;
        harness.message_until(&third, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["three"]);
        stands(harness, "ready").await;
    })
    .await;
}
