//! Every kind of event that Meta is known to send, from the recorded notifications, arrives, is kept once, and is found by its kind.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidings_meta::notification::EventKind;

use crate::harness::{Fixture, Harness, Notification, fixtures, on_both};

/// What makes an event one: product, account, external id.
type Identity = (String, String, String);

fn account(event: &Value) -> &str {
    match &event["account"] {
        Value::String(account) => account,
        named => named.as_object().unwrap().values().next().unwrap().as_str().unwrap(),
    }
}

fn expected(product: &str, cases: &[Fixture]) -> BTreeMap<Identity, String> {
    let events = cases.iter().flat_map(|case| &case.events);
    events
        .map(|event| {
            let external_id = event["external_id"].as_str().unwrap().to_owned();
            let identity = (product.to_owned(), account(event).to_owned(), external_id);
            (identity, event["kind"].as_str().unwrap().to_owned())
        })
        .collect()
}

fn identity(event: &Value) -> Identity {
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    (text("channelKind"), text("accountId"), text("externalId"))
}

async fn post_all(harness: &Harness, product: &str, cases: &[Fixture]) {
    for case in cases {
        let path = if product == "whatsapp" {
            "/api/webhooks/whatsapp"
        } else {
            "/api/webhooks/instagram"
        };
        let answer = harness.post_signed(Notification::to(path, case.body.clone())).await;
        assert_eq!(answer.status, 200, "{}: {}", case.name, answer.body);
    }
    harness.projected().await;
}

#[tokio::test]
async fn each_is_kept_once_under_its_kind() {
    on_both(async |harness| {
        for (product, cases_least) in [("whatsapp", 60), ("instagram", 45)] {
            let cases = fixtures(product);
            assert!(cases.len() >= cases_least, "only {} cases of {product}", cases.len());
            let expected = expected(product, &cases);
            post_all(harness, product, &cases).await;

            let events = harness.events(&format!("channelKind={product}")).await;
            let kept: BTreeMap<Identity, String> = events
                .iter()
                .map(|event| (identity(event), event["eventType"].as_str().unwrap().to_owned()))
                .collect();
            assert_eq!(kept.len(), events.len(), "an event is kept twice");
            assert_eq!(kept, expected);
            assert!(
                events
                    .iter()
                    .all(|event| event["status"] != "pending" && event["signed"] == true)
            );

            // A second time, all of it is known: nothing is added, nothing is done again.
            post_all(harness, product, &cases).await;
            assert_eq!(harness.events(&format!("channelKind={product}")).await, events);

            let kinds: BTreeSet<&String> = expected.values().collect();
            for kind in kinds {
                let listed = harness.events(&format!("channelKind={product}&eventType={kind}")).await;
                let of_kind = expected.values().filter(|of_event| *of_event == kind).count();
                assert_eq!(listed.len(), of_kind, "{kind}");
                assert!(listed.iter().all(|event| event["eventType"] == kind.as_str()), "{kind}");
            }
        }
    })
    .await;
}

#[test]
fn no_kind_is_without_a_recorded_notification() {
    let seen: BTreeSet<String> = ["whatsapp", "instagram"]
        .iter()
        .flat_map(|product| expected(product, &fixtures(product)).into_values())
        .collect();
    let missing: Vec<&str> = EventKind::ALL
        .iter()
        .map(|kind| kind.as_str())
        .filter(|kind| !seen.contains(*kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn a_filter_takes_any_spelling() {
    const SPELLINGS: [&[&str]; 4] = [
        &["messaging_postbacks", "message_postbacks"],
        &["messaging_seen", "message_seen", "message_reads"],
        &["messaging_referral", "message_referrals"],
        &["message_echoes", "smb_message_echoes"],
    ];
    on_both(async |harness| {
        for product in ["whatsapp", "instagram"] {
            post_all(harness, product, &fixtures(product)).await;
        }
        for spellings in SPELLINGS {
            let first = harness.events(&format!("eventType={}", spellings[0])).await;
            assert!(!first.is_empty(), "{spellings:?}");
            for spelling in spellings {
                assert_eq!(
                    harness.events(&format!("eventType={spelling}")).await,
                    first,
                    "{spelling}"
                );
            }
        }
        let answer = harness.get("/api/webhooks/events?eventType=message_postback").await;
        assert_eq!(answer.fields(400, "invalid_parameter"), ["eventType"]);
    })
    .await;
}
