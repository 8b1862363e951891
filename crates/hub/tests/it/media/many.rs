//! Many files at once: as many transfers as are set, and no more.

use std::time::Duration;

use serde_json::Value;
use tidings_sandbox::{FaultKind, FaultRequest};

use super::{fault_of, picture};
use crate::harness::{NUMBER, Setup, on_both_with};

const MESSAGES: usize = 1_000;
const PARALLEL: u64 = 5;

#[tokio::test]
async fn a_thousand_pictures_come_by_as_many_transfers_as_are_set() {
    let setup = Setup::default().with("MEDIA_DOWNLOADS_PARALLEL", &PARALLEL.to_string());
    on_both_with(setup, async |harness| {
        // The first ones stay until the clock goes on, so that all the places are taken.
        let slow = FaultRequest {
            delay_ms: Some(1_000),
            count: Some(PARALLEL),
            ..fault_of("media.download", FaultKind::Delay)
        };
        harness.sandbox.fault(slow).unwrap();
        for number in 0..MESSAGES {
            let customer = ["amara", "jonas"][number % 2];
            let link = format!("https://pictures.example/{}.jpg", number / 2);
            harness.sandbox.write(customer, NUMBER, picture(&link)).unwrap();
        }
        harness.projected().await;
        harness
            .until("every place is taken", async |harness| {
                (harness.sandbox.transfers().now == PARALLEL).then_some(())
            })
            .await;
        harness.sandbox.advance(Duration::from_secs(1)).await;
        let mut before = 0;
        loop {
            // As long as it goes on, it may take as long as the machine takes.
            let now = harness
                .until("another picture is stored", async |harness| {
                    let line = "tidings_media_transfers_total{direction=\"download\",result=\"success\"}";
                    let now = harness.metric(line).await as usize;
                    (now > before).then_some(now)
                })
                .await;
            if now == MESSAGES {
                break;
            }
            before = now;
        }
        let count = harness.sandbox.transfers();
        assert_eq!((count.most, count.total), (PARALLEL, MESSAGES as u64));
        for conversation in harness.conversations().await {
            let messages: Vec<Value> = harness.messages(&conversation).await;
            assert!(messages.iter().all(|message| message["media"][0]["status"] == "stored"));
        }
    })
    .await;
}
