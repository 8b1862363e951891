//! What Meta says of a number: its pace where nobody has set one, and what is known of its quality.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{NewCustomer, NumberChange, NumberLimits, Quality};

use super::answers::{waits_for, write_first};
use crate::harness::{ADMIN_KEY, Harness, NUMBER, Setup, on_both, on_both_with};

const CHANNEL: &str = "/api/v1/channels/whatsapp";

/// The channel, once what was read of its number is this.
async fn known(harness: &Harness, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    harness
        .until(what, async |harness| {
            let channel = harness.get(CHANNEL).await.expect(200);
            is(&channel).then_some(channel)
        })
        .await
}

fn change(harness: &Harness, change: NumberChange) {
    harness.sandbox.change_number(NUMBER, change).unwrap();
}

async fn quality(harness: &Harness, quality: &str) -> u64 {
    let line = format!("tidings_channel_quality{{channel=\"whatsapp\",quality=\"{quality}\"}}");
    harness.metric(&line).await
}

#[tokio::test]
async fn a_number_goes_at_the_pace_that_meta_says_until_somebody_sets_one() {
    on_both(async |harness| {
        let channel = known(harness, "the number was read", |channel| channel["number"].is_object()).await;
        let number = &channel["number"];
        assert_eq!(
            (
                &number["throughput"],
                &number["messagingLimit"],
                &number["onPhoneApp"],
                &number["quality"]
            ),
            (&json!("STANDARD"), &json!("TIER_2K"), &json!(false), &json!("green"))
        );
        assert!(number["readAt"].is_string());
        assert_eq!(channel["messagesPerSecond"], 80);
        assert_eq!(quality(harness, "green").await, 1);

        // Meta tells that it was raised, which is read at once.
        let raised = NumberChange {
            throughput: Some(1_000),
            ..NumberChange::default()
        };
        change(harness, raised);
        harness.projected().await;
        let is = |channel: &Value| channel["messagesPerSecond"] == 1_000;
        let channel = known(harness, "it is faster", is).await;
        assert_eq!(channel["number"]["throughput"], "HIGH");

        // Nobody tells that it is used on a phone, too; it is read on schedule.
        let shared = NumberChange {
            shared_with_phone: Some(true),
            ..NumberChange::default()
        };
        change(harness, shared);
        harness.pass(Duration::from_hours(1)).await;
        let is = |channel: &Value| channel["messagesPerSecond"] == 20;
        let channel = known(harness, "it is slower", is).await;
        assert_eq!(channel["number"]["onPhoneApp"], true);

        // What was set by hand stands, also over a restart.
        let change = json!({"limits": {"messagesPerSecond": 5}});
        let request = harness
            .request(Method::PATCH, CHANNEL)
            .bearer_auth(ADMIN_KEY)
            .json(&change);
        let set = harness.answer(request).await.expect(200);
        assert_eq!(set["messagesPerSecond"], 5);
        harness.restart().await;
        let is = |channel: &Value| channel["number"]["onPhoneApp"] == true;
        let channel = known(harness, "what was read is remembered", is).await;
        assert_eq!(channel["messagesPerSecond"], 5);
        let sent = write_first(harness, "+447700900101").await;
        harness.message_until(&sent, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn what_the_settings_say_of_all_numbers_stands_over_what_meta_says_of_one() {
    let setup = Setup::default().with("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND", "40");
    on_both_with(setup, async |harness| {
        let channel = known(harness, "the number was read", |channel| channel["number"].is_object()).await;
        assert_eq!(channel["messagesPerSecond"], 40);
    })
    .await;
}

#[tokio::test]
async fn a_number_writes_to_as_many_people_as_meta_says() {
    const TIER: usize = 50;
    let mut setup = Setup::default();
    setup.sandbox.world.numbers[0].limits = NumberLimits {
        contacts_per_day: TIER as u32,
        ..NumberLimits::default()
    };
    for number in 0..=TIER {
        setup.sandbox.world.customers.push(NewCustomer {
            name: format!("Customer {number}"),
            phone: Some(format!("4477009100{number:02}")),
            ..NewCustomer::default()
        });
    }
    // Meta refuses whatever is too much: no call is refused.
    on_both_with(setup, async |harness| {
        let is = |channel: &Value| channel["number"]["messagingLimit"] == "TIER_50";
        known(harness, "the number was read", is).await;
        let mut sent = Vec::new();
        for number in 0..=TIER {
            sent.push(write_first(harness, &format!("+4477009100{number:02}")).await);
        }
        for id in &sent[..TIER] {
            harness.message_until(id, "accepted").await;
        }
        waits_for(harness, &sent[TIER], "tier_limit").await;
        // Meta tells that there may be more of them, and whoever waits goes out.
        let more = NumberChange {
            limits: [("contactsPerDay".to_owned(), json!(250))].into_iter().collect(),
            ..NumberChange::default()
        };
        change(harness, more);
        harness.projected().await;
        harness.message_until(&sent[TIER], "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn a_quality_that_falls_is_shown_counted_and_told() {
    on_both(async |harness| {
        known(harness, "the number was read", |channel| channel["number"].is_object()).await;
        let told = async || {
            let rows = harness
                .hub()
                .app()
                .store
                .read(|tx| tx.stream_after(0, 1_000))
                .await
                .unwrap();
            let changes = rows.into_iter().flat_map(|row| row.changes);
            changes.filter(|change| change.kind() == "channel.quality").count()
        };
        assert_eq!(told().await, 0, "that all is well is no news");
        for (fallen, word) in [(Quality::Yellow, "yellow"), (Quality::Red, "red")] {
            let fallen = NumberChange {
                quality: Some(Some(fallen)),
                ..NumberChange::default()
            };
            change(harness, fallen);
            harness.pass(Duration::from_hours(1)).await;
            let is = |channel: &Value| channel["number"]["quality"] == word;
            known(harness, "the quality is another one", is).await;
        }
        assert_eq!(told().await, 2);
        assert_eq!(
            [quality(harness, "red").await, quality(harness, "yellow").await],
            [1, 0]
        );
        // To read it again is no news.
        harness.pass(Duration::from_hours(1)).await;
        let read_at = harness.clock.now_millis() - 60_000;
        let is = |channel: &Value| {
            let at: jiff::Timestamp = channel["number"]["readAt"].as_str().unwrap().parse().unwrap();
            at.as_millisecond() > read_at
        };
        known(harness, "the number was read again", is).await;
        assert_eq!(told().await, 2);
    })
    .await;
}
