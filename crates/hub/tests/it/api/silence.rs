//! That nothing comes any more is noticed by what usually comes at such an hour.

use std::time::Duration;

use serde_json::json;
use tidings::ingest::silence;

use super::{Hub, NUMBER, on_each};

/// A dozen messages, as usual at this hour.
async fn as_usual(hub: &Hub, day: u32) {
    let messages: Vec<_> = (0..12)
        .map(|number| {
            json!({"id": format!("wamid.{day}.{number}"), "from": "31612345678", "type": "text",
                "timestamp": (hub.app.clock.now_millis() / 1000).to_string(), "text": {"body": "Hello"}})
        })
        .collect();
    hub.told(json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "31201234567", "phone_number_id": NUMBER}, "messages": messages}))
        .await;
}

/// What is told of the channel: whether it is silent, and how many events it misses.
async fn told(hub: &Hub) -> (bool, f64) {
    silence::look(&hub.app).await.unwrap();
    let metrics = hub.get("/metrics").await.body;
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{metrics}"))
            .trim()
            .parse()
            .unwrap()
    };
    let is_silent = value("tidings_channel_silent{channel=\"whatsapp\"}") > 0.0;
    let ready = hub.get("/health/ready").await.done();
    let warnings = ready["warnings"].as_array().unwrap();
    let warned = warnings.iter().any(|warning| {
        warning
            .as_str()
            .unwrap()
            .contains("Nothing has come from Meta for channel `whatsapp`")
    });
    assert_eq!(is_silent, warned, "metric and health say the same: {warnings:?}");
    assert_eq!(ready["status"], "ready", "others can still be served");
    (is_silent, value("tidings_channel_missed_events{channel=\"whatsapp\"}"))
}

#[tokio::test]
async fn a_channel_is_silent_where_usually_something_comes() {
    on_each(async |hub| {
        let minutes = |minutes: u64| Duration::from_mins(minutes);
        hub.app.clock.advance(minutes(59));
        // A dozen messages come every day at a minute to nine, and none at other hours: after a few days as after more than a week.
        for day in 0..10 {
            as_usual(hub, day).await;
            assert_eq!(told(hub).await, (false, 0.0), "they have just come, on day {day}");
            hub.app.clock.advance(minutes(23 * 60));
            let (is_silent, missed) = told(hub).await;
            assert!(
                !is_silent && missed < 1.0,
                "at other hours nothing is missed, on day {day}: {missed}"
            );
            if day < 2 {
                hub.app.clock.advance(minutes(60));
                continue;
            }
            hub.app.clock.advance(minutes(31));
            let (is_silent, missed) = told(hub).await;
            assert!(
                !is_silent && (5.0..8.0).contains(&missed),
                "half a dozen is too few to say: {missed}"
            );
            hub.app.clock.advance(minutes(29));
            let (is_silent, missed) = told(hub).await;
            assert!(is_silent && (11.0..13.0).contains(&missed), "on day {day}: {missed}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_short_time_is_no_silence_and_a_new_channel_has_no_habits() {
    on_each(async |hub| {
        as_usual(hub, 0).await;
        hub.app.clock.advance(Duration::from_hours(30));
        assert_eq!(told(hub).await, (false, 0.0), "what is usual is not known yet");
    })
    .await;
}
