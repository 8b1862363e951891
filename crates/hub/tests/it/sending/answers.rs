//! What Meta may answer, beyond what the simulated one does.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::graph::{Graph, error};
use crate::harness::{Harness, Setup, on_both_with};

pub(super) async fn write_first(harness: &Harness, to: &str) -> String {
    harness
        .send(json!({"channel": "whatsapp", "to": to,
            "content": {"type": "template", "name": "hello_world", "language": "en_US"}}))
        .await
}

pub(super) async fn waits_for(harness: &Harness, id: &str, what: &str) -> Value {
    harness
        .until(&format!("{id} waits for {what}"), async |harness| {
            let (_, document) = harness.timeline(id).await;
            let waiting = document["waiting"].clone();
            (waiting["waitsFor"] == what && waiting["state"] != "sending").then_some(waiting)
        })
        .await
}

pub(super) fn through(graph: &Graph) -> Setup {
    Setup::default().with("WHATSAPP_API_BASE_URL", &graph.url())
}

#[tokio::test]
async fn a_page_in_place_of_an_error_leaves_the_outcome_unknown() {
    let graph = Graph::answering(|_, to| {
        (to == "447700900001").then(|| (StatusCode::BAD_GATEWAY, "<html>no</html>").into_response())
    })
    .await;
    on_both_with(through(&graph), async |harness| {
        let before = graph.calls().len();
        let sent = write_first(harness, "+447700900001").await;
        for attempt in 1..=5 {
            let waiting = waits_for(harness, &sent, "unknown_after_error").await;
            assert_eq!(waiting["state"], "unknown");
            assert_eq!(graph.calls().len() - before, attempt);
            let until: jiff::Timestamp = waiting["dueAt"].as_str().unwrap().parse().unwrap();
            let wait = until.as_millisecond() - harness.clock.now_millis();
            harness.pass(Duration::from_millis(wait.max(1).unsigned_abs())).await;
            harness
                .until("it went on", async |harness| {
                    let ended = harness.message(&sent).await["status"] == "failed";
                    (ended || graph.calls().len() - before > attempt).then_some(())
                })
                .await;
        }
        let failed = harness.message_until(&sent, "failed").await;
        assert!(failed["error"]["text"].as_str().unwrap().contains("may have arrived"));
        assert_eq!(graph.calls().len() - before, 5, "it is not sent for ever");
    })
    .await;
}

#[tokio::test]
async fn the_pair_limit_holds_one_recipient_longer_each_time() {
    let graph = Graph::answering(|_, to| (to == "447700900001").then(|| error(400, 131_056))).await;
    on_both_with(through(&graph), async |harness| {
        let sent = write_first(harness, "+447700900001").await;
        let mut pauses = Vec::new();
        for attempt in 1..=3 {
            let waiting = harness.waiting_after(&sent, attempt).await;
            assert_eq!(waiting["waitsFor"], "pair_limit");
            let until: jiff::Timestamp = waiting["dueAt"].as_str().unwrap().parse().unwrap();
            let wait = until.as_millisecond() - harness.clock.now_millis();
            pauses.push(wait);
            let other = write_first(harness, &format!("+44770090001{attempt}")).await;
            harness.message_until(&other, "accepted").await;
            // The recipient's own pace is six seconds.
            harness
                .pass(Duration::from_millis(wait.unsigned_abs().max(7_000)))
                .await;
        }
        assert_eq!(pauses, [1_000, 4_000, 16_000]);
    })
    .await;
}

#[tokio::test]
async fn a_throttled_channel_goes_on_more_slowly() {
    let graph = Graph::answering(|index, _| {
        // It names a time.
        (index == 0).then(|| ([("retry-after", "30")], error(400, 130_429)).into_response())
    })
    .await;
    on_both_with(through(&graph), async |harness| {
        if harness.is_shared() {
            // Only the first call of all is refused.
            return;
        }
        let sent = write_first(harness, "+447700900001").await;
        waits_for(harness, &sent, "throttled").await;
        let slowed = harness
            .until("the channel says so", async |harness| {
                let store = &harness.hub().app().store;
                let paces = store.read(|tx| tx.channel_paces()).await.unwrap();
                paces.into_iter().find(|pace| pace.waits_for.as_str() == "throttled")
            })
            .await;
        assert!(slowed.until.is_some());
        assert!((40..60).contains(&slowed.per_second.unwrap()), "{slowed:?}");
        harness.pass(Duration::from_secs(29)).await;
        assert_eq!(graph.calls().len(), 1);
        harness.pass(Duration::from_secs(2)).await;
        harness.message_until(&sent, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn a_channel_slows_down_before_its_calls_are_used_up() {
    let usage = r#"{"call_count":91,"total_time":5,"total_cputime":5}"#;
    let graph = Graph::answering(move |index, to| {
        let document = json!({"messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": to}],
            "messages": [{"id": format!("wamid.usage.{index}")}]});
        Some(([("x-app-usage", usage)], axum::Json(document)).into_response())
    })
    .await;
    on_both_with(through(&graph), async |harness| {
        let sent = write_first(harness, "+447700900001").await;
        harness.message_until(&sent, "accepted").await;
        harness
            .until("the channel says so", async |harness| {
                let other = write_first(harness, "+447700900002").await;
                harness.message_until(&other, "accepted").await;
                let store = &harness.hub().app().store;
                let paces = store.read(|tx| tx.channel_paces()).await.unwrap();
                paces
                    .into_iter()
                    .find(|pace| pace.per_second.is_some_and(|rate| rate < 80))
            })
            .await;
    })
    .await;
}
