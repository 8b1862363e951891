//! What `/metrics` counts, after what has happened; and that those who read metrics can read it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;
use tidings_sandbox::{FaultKind, FaultRequest};

use crate::harness::{
    ACCOUNT, ADMIN_KEY, Harness, NUMBER, Notification, START, fault, on_both, text, whatsapp_text, whatsapp_value,
};

/// The samples of an exposition by name and labels, as they stand there.
type Samples = BTreeMap<String, f64>;

/// Reads an exposition as strictly as its format is defined.
fn read(exposition: &str, is_open_metrics: bool) -> Samples {
    let mut samples = Samples::new();
    let mut described: BTreeMap<&str, &str> = BTreeMap::new();
    let mut family: Option<(&str, &str)> = None;
    assert!(exposition.ends_with('\n'), "the last line has no end");
    assert_eq!(exposition.ends_with("\n# EOF\n"), is_open_metrics);
    let exposition = exposition.strip_suffix("# EOF\n").unwrap_or(exposition);
    for line in exposition.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, told) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !told.is_empty(), "{line}");
            assert!(described.insert(name, told).is_none(), "described twice: {line}");
            family = None;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(described.contains_key(name), "not described: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            family = Some((name, kind));
        } else {
            let (name, labels, value) = sample(line);
            let (of, kind) = family.unwrap_or_else(|| panic!("of no family: {line}"));
            let ends: &[&str] = match kind {
                "counter" if is_open_metrics => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(
                ends.iter().any(|end| name == format!("{of}{end}")),
                "not of {of}: {line}"
            );
            assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            let key = format!("{name}{labels}");
            assert!(samples.insert(key, value).is_none(), "told twice: {line}");
        }
    }
    for (key, count) in &samples {
        let Some(histogram) = key.strip_suffix("_count") else {
            continue;
        };
        let buckets = samples
            .iter()
            .filter(|(key, _)| key.starts_with(&format!("{histogram}_bucket{{")));
        let mut buckets: Vec<(f64, f64)> = buckets
            .map(|(key, value)| {
                let (_, bound) = key.split_once("le=\"").unwrap();
                (bound.trim_end_matches("\"}").parse().unwrap(), *value)
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(
            buckets.is_sorted_by(|one, other| one.1 <= other.1),
            "{histogram}: {buckets:?}"
        );
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{histogram}");
    }
    samples
}

/// A line `name{label="value",…} number`, taken apart.
fn sample(line: &str) -> (&str, &str, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let Some((name, labels)) = series.split_once('{') else {
        assert!(is_name(series), "{line}");
        return (series, "", value);
    };
    let inside = labels
        .strip_suffix('}')
        .unwrap_or_else(|| panic!("no end of the labels: {line}"));
    for label in inside.split(',') {
        let (label, told) = label.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
        // No value of ours has a quotation mark, a backslash or a comma.
        let told = told.strip_prefix('"').and_then(|told| told.strip_suffix('"'));
        assert!(
            is_name(label) && told.is_some_and(|told| !told.contains(['"', '\\'])),
            "{line}"
        );
    }
    assert!(is_name(name), "{line}");
    (name, &series[name.len()..], value)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

async fn samples(harness: &Harness) -> Samples {
    let answer = harness.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    read(&answer.body, false)
}

/// The samples of the runbook's four counters that are not 0: of a product, and of calls those that send messages.
fn counted(samples: &Samples, product: &str) -> Vec<(String, u64)> {
    let counters = [
        "api_calls_total",
        "api_errors_total",
        "messages_received_total",
        "messages_sent_total",
    ];
    let is_asked_for = |key: &str| {
        let name = key.strip_prefix(product).and_then(|key| key.strip_prefix('_'));
        let is_counter = name.is_some_and(|name| counters.iter().any(|counter| name.starts_with(counter)));
        is_counter && (!key.contains("endpoint=") || key.contains("endpoint=\"messages\""))
    };
    samples
        .iter()
        .filter(|(key, value)| **value > 0.0 && is_asked_for(key))
        .map(|(key, value)| {
            (
                key.strip_prefix(&format!("{product}_")).unwrap().to_owned(),
                *value as u64,
            )
        })
        .collect()
}

fn count(samples: &Samples, series: &str) -> u64 {
    samples[series] as u64
}

fn refused(code: i64) -> FaultRequest {
    FaultRequest {
        code: Some(code),
        ..fault(FaultKind::Error)
    }
}

fn expected(counters: &[(&str, u64)]) -> Vec<(String, u64)> {
    counters
        .iter()
        .map(|(key, value)| ((*key).to_owned(), *value))
        .collect()
}

/// Waits until Meta has taken a message. Nobody has the number, so that it is told to be undeliverable a moment later.
async fn taken(harness: &Harness, id: &str) {
    harness
        .until("Meta has taken it", async |harness| {
            let (_, document) = harness.timeline(id).await;
            let items = document["timeline"].as_array()?;
            items
                .iter()
                .any(|item| item["attempt"]["outcome"] == "accepted")
                .then_some(())
        })
        .await;
}

#[tokio::test]
async fn the_counters_of_the_runbook_count_what_happens_and_nothing_else() {
    on_both(async |harness| {
        harness.foresee_refusals(&[131_008, 133_004, 100]);
        let before = samples(harness).await;
        for product in ["whatsapp", "instagram"] {
            assert_eq!(counted(&before, product), []);
            // They are there all the same, so that a rate can be taken from the first call on.
            for series in [
                "api_calls_total{status=\"success\",endpoint=\"messages\"}",
                "api_calls_total{status=\"error\",endpoint=\"messages\"}",
                "api_errors_total{code=\"0\",class=\"temporary\"}",
                "messages_received_total{type=\"text\"}",
                "messages_sent_total{status=\"success\",type=\"text\"}",
                "messages_sent_total{status=\"failed\",type=\"text\"}",
            ] {
                assert_eq!(
                    before.get(&format!("{product}_{series}")),
                    Some(&0.0),
                    "{product}_{series}"
                );
            }
        }

        // Received: two texts and a place, each once however often it is told; a status and a reaction are no messages.
        let hello = whatsapp_text("wamid.1", "447700900123", "hello", START);
        harness.whatsapp(&hello).await;
        harness.whatsapp(&hello).await;
        harness
            .whatsapp(&whatsapp_text("wamid.2", "447700900123", "again", START))
            .await;
        let place = json!({"latitude": 52.37, "longitude": 4.89});
        let others = json!({"messages": [
            {"id": "wamid.3", "from": "447700900123", "timestamp": "1795400000", "type": "location", "location": place},
            {"id": "wamid.4", "from": "447700900123", "timestamp": "1795400000", "type": "reaction",
                "reaction": {"message_id": "wamid.1", "emoji": "\u{1f600}"}}]});
        harness.whatsapp(&whatsapp_value(&others)).await;
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;

        // Sent on WhatsApp: one at once, one at the second try, one never. A template is counted as one.
        let send = async |harness: &Harness, content: serde_json::Value| {
            let body = json!({"channel": "whatsapp", "to": "+447700900123", "content": content});
            harness.send(body).await
        };
        let words = |words: &str| json!({"type": "text", "text": words});
        let sent = send(harness, words("one")).await;
        taken(harness, &sent).await;
        harness.sandbox.fault(refused(133_004)).unwrap();
        let sent = send(harness, words("two")).await;
        harness.waiting_after(&sent, 1).await;
        harness.pass(std::time::Duration::from_mins(5)).await;
        taken(harness, &sent).await;
        harness.sandbox.fault(refused(131_008)).unwrap();
        let failed = send(harness, words("three")).await;
        harness.message_until(&failed, "failed").await;
        let template = json!({"type": "template", "name": "hello_world", "language": "en_US"});
        let sent = send(harness, template).await;
        taken(harness, &sent).await;

        // And on Instagram: one fails, one does not.
        let conversations = harness.conversations().await;
        let lucia = conversations
            .iter()
            .find(|conversation| conversation["channelId"] == "instagram")
            .unwrap();
        harness.sandbox.fault(refused(100)).unwrap();
        let failed = harness.reply(lucia, "four").await;
        harness.message_until(&failed, "failed").await;
        let sent = harness.reply(lucia, "five").await;
        harness.message_until(&sent, "accepted").await;
        harness.projected().await;

        let after = samples(harness).await;
        assert_eq!(
            counted(&after, "whatsapp"),
            expected(&[
                ("api_calls_total{status=\"error\",endpoint=\"messages\"}", 2),
                ("api_calls_total{status=\"success\",endpoint=\"messages\"}", 3),
                ("api_errors_total{code=\"131008\",class=\"request\"}", 1),
                ("api_errors_total{code=\"133004\",class=\"temporary\"}", 1),
                ("messages_received_total{type=\"location\"}", 1),
                ("messages_received_total{type=\"text\"}", 2),
                ("messages_sent_total{status=\"failed\",type=\"text\"}", 1),
                ("messages_sent_total{status=\"success\",type=\"template\"}", 1),
                ("messages_sent_total{status=\"success\",type=\"text\"}", 2),
            ])
        );
        assert_eq!(
            counted(&after, "instagram"),
            expected(&[
                ("api_calls_total{status=\"error\",endpoint=\"messages\"}", 1),
                ("api_calls_total{status=\"success\",endpoint=\"messages\"}", 1),
                ("api_errors_total{code=\"100\",class=\"request\"}", 1),
                ("messages_received_total{type=\"text\"}", 1),
                ("messages_sent_total{status=\"failed\",type=\"text\"}", 1),
                ("messages_sent_total{status=\"success\",type=\"text\"}", 1),
            ])
        );
        assert_eq!(count(&after, "tidings_send_seconds_count"), 7, "one a call");
        assert_eq!(count(&after, "tidings_queue_wait_seconds_count"), 6, "one a message");
        assert_eq!(count(&after, "tidings_channel_up{channel=\"whatsapp\"}"), 1);
        assert_eq!(count(&after, "tidings_circuit_open{channel=\"whatsapp\"}"), 0);
    })
    .await;
}

#[tokio::test]
async fn notifications_and_events_are_counted_by_what_became_of_them() {
    on_both(async |harness| {
        let hello = whatsapp_text("wamid.1", "447700900123", "hello", START);
        harness.whatsapp(&hello).await;
        harness.whatsapp(&hello).await;
        harness.post_as_is(Notification::whatsapp(&hello)).await.problem(401, "invalid_signature");
        harness
            .post_signed(Notification::to("/webhook/whatsapp", "{}"))
            .await
            .problem(400, "invalid_payload");
        let strange = json!({"object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": "moon_phase", "value": {"metadata": {"phone_number_id": NUMBER}}}]}]});
        harness.whatsapp(&strange).await;
        let misshapen = json!({"messages": [{"id": "wamid.2", "from": "447700900123", "timestamp": "1795400000", "type": "text", "text": 7}]});
        harness.whatsapp(&whatsapp_value(&misshapen)).await;
        let unknown = whatsapp_text("wamid.3", "447700900123", "hello", START).to_string().replace(NUMBER, "1");
        harness.post_signed(Notification::to("/webhook/whatsapp", unknown)).await.expect(200);
        harness.projected().await;

        let samples = samples(harness).await;
        let of = |name: &str| -> Vec<(String, u64)> {
            let name = format!("{name}{{channel=\"whatsapp\",");
            let found = samples.iter().filter_map(|(key, value)| Some((key.strip_prefix(&name)?, *value as u64)));
            found.filter(|(_, value)| *value > 0).map(|(key, value)| (key.to_owned(), value)).collect()
        };
        assert_eq!(
            of("tidings_webhook_notifications_total"),
            expected(&[
                ("result=\"accepted\"}", 4),
                ("result=\"duplicate\"}", 1),
                ("result=\"invalid_payload\"}", 1),
                ("result=\"invalid_signature\"}", 1),
            ])
        );
        assert_eq!(
            of("tidings_webhook_events_total"),
            expected(&[
                ("kind=\"messages\",status=\"failed\"}", 1),
                ("kind=\"messages\",status=\"ignored\"}", 1),
                ("kind=\"messages\",status=\"processed\"}", 1),
                ("kind=\"unknown\",status=\"ignored\"}", 1),
            ])
        );
        assert_eq!(count(&samples, "tidings_webhook_ack_seconds_count"), 5, "one for each that was taken");
        assert_eq!(count(&samples, "tidings_event_processing_seconds_count"), 2, "one for each that had to be understood");
    })
    .await;
}

#[tokio::test]
async fn whoever_asks_for_openmetrics_gets_the_same_in_it() {
    on_both(async |harness| {
        harness
            .whatsapp(&whatsapp_text("wamid.1", "447700900123", "hello", START))
            .await;
        let request = harness.request(Method::GET, "/metrics").bearer_auth(ADMIN_KEY);
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let answer = harness.answer(request.header("accept", accept)).await;
        assert_eq!(
            answer.header("content-type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        let open: Vec<String> = read(&answer.body, true).into_keys().collect();
        let text: Vec<String> = samples(harness).await.into_keys().collect();
        // Gauges of what waits may come up in between; what is counted is there from the start.
        assert!(open.len() > 100, "{open:?}");
        for series in open.iter().filter(|series| series.contains("_total")) {
            assert!(text.contains(series), "{series}");
        }
    })
    .await;
}
