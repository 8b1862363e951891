//! What is told to whoever watches the hub: whether Meta is still heard of, and in time.

use std::time::Duration;

use serde_json::{Value, json};
use tidings::clock::from_millis;
use tidings::ingest::silence;

use crate::harness::{Harness, START, on_both, whatsapp_text, whatsapp_value};

/// What is told of the channel `whatsapp`, by whom it is told, after a look.
async fn told(harness: &Harness) -> (Value, Vec<String>) {
    silence::look(harness.hub().app()).await.unwrap();
    let ready = harness.get("/health/ready").await.expect(200);
    let channels = ready["channels"].as_array().unwrap();
    let ids: Vec<&str> = channels
        .iter()
        .map(|figures| figures["channel"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["instagram", "whatsapp"]);
    let warnings = ready["warnings"].as_array().unwrap();
    let warnings = warnings.iter().map(|warning| warning.as_str().unwrap().to_owned());
    (channels[1].clone(), warnings.collect())
}

fn figures(came_at: Option<i64>, lag_seconds: Option<f64>, is_late: bool) -> Value {
    let came_at = came_at.map(|at| format!("{:.3}", from_millis(at)));
    json!({"channel": "whatsapp", "last_event_at": came_at, "ingest_lag_seconds": lag_seconds, "missed_events": 0.0, "silent": false,
        "late": is_late})
}

/// Waits until the gauges have followed: the last event came then, so long after it had happened.
async fn gauges_follow(harness: &Harness, came_at: i64, lag_seconds: f64, is_late: u64) {
    harness
        .until("the gauges follow", async |harness| {
            let metrics = harness.get("/metrics").await.body;
            let value = |name: &str| -> Option<f64> {
                let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
                line.strip_prefix("{channel=\"whatsapp\"} ")?.parse().ok()
            };
            let is = |name: &str, expected: f64| value(name).is_some_and(|value| (value - expected).abs() < 0.000_1);
            (is("tidings_channel_last_event_seconds", came_at as f64 / 1_000.0)
                && is("tidings_channel_ingest_lag_seconds", lag_seconds)
                && is("tidings_channel_late", is_late as f64))
            .then_some(())
        })
        .await;
}

#[tokio::test]
async fn the_last_event_of_a_channel_and_its_lag_are_told_and_a_late_one_raises_an_alarm() {
    on_both(async |harness| {
        assert_eq!(
            told(harness).await,
            (figures(None, None, false), Vec::new()),
            "nothing ever came"
        );

        harness.pass(Duration::from_millis(1_500)).await;
        harness
            .whatsapp(&whatsapp_text("wamid.1", "447700900123", "in time", START))
            .await;
        assert_eq!(
            told(harness).await,
            (figures(Some(START + 1_500), Some(1.5), false), Vec::new())
        );
        gauges_follow(harness, START + 1_500, 1.5, 0).await;

        harness.pass(Duration::from_mins(7)).await;
        let came_at = harness.clock.now_millis();
        harness
            .whatsapp(&whatsapp_text("wamid.2", "447700900123", "late", START + 60_000))
            .await;
        let lag = (came_at - START - 60_000) as f64 / 1_000.0;
        let (heard, warnings) = told(harness).await;
        assert_eq!(heard, figures(Some(came_at), Some(lag), true));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("channel `whatsapp` comes late") && warnings[0].contains("6 minutes"),
            "{warnings:?}"
        );
        gauges_follow(harness, came_at, lag, 1).await;

        // As long as nothing better is known; and not for good.
        harness.pass(Duration::from_mins(59)).await;
        assert_eq!(told(harness).await.1.len(), 1);
        harness.pass(Duration::from_mins(1)).await;
        assert_eq!(
            told(harness).await,
            (figures(Some(came_at), Some(lag), false), Vec::new())
        );

        // Again, and over with the next one that comes in time. One of which Meta does not say when it happened says nothing.
        let now = harness.clock.now_millis();
        harness
            .whatsapp(&whatsapp_text("wamid.3", "447700900123", "late", now - 600_000))
            .await;
        assert!(told(harness).await.0["late"] == true);
        harness.pass(Duration::from_secs(1)).await;
        let now = harness.clock.now_millis();
        harness
            .whatsapp(&whatsapp_text(
                "wamid.4",
                "447700900123",
                "in time",
                now / 1_000 * 1_000,
            ))
            .await;
        assert_eq!(told(harness).await.0["late"], false);
        harness.pass(Duration::from_secs(1)).await;
        let timeless =
            json!({"messages": [{"id": "wamid.5", "from": "447700900123", "type": "text", "text": {"body": "?"}}]});
        harness.whatsapp(&whatsapp_value(&timeless)).await;
        assert_eq!(
            told(harness).await.0,
            figures(Some(harness.clock.now_millis()), None, false)
        );
        harness
            .until("no lag is told of it", async |harness| {
                let metrics = harness.get("/metrics").await.body;
                (!metrics.contains("tidings_channel_ingest_lag_seconds{channel=\"whatsapp\"}")).then_some(())
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn imported_history_is_neither_late_nor_news() {
    on_both(async |harness| {
        let history = crate::harness::fixtures("whatsapp");
        let history = history.iter().find(|case| case.name == "whatsapp/history").unwrap();
        let body: Value = serde_json::from_str(&history.body).unwrap();
        harness.whatsapp(&body).await;
        assert_eq!(told(harness).await, (figures(None, None, false), Vec::new()));
    })
    .await;
}
