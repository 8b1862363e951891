//! Events for new posts, which Meta has no webhook for.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, PostKind};

use super::{FEED, MINUTE, ids};
use crate::harness::{ACCOUNT, Harness, Setup, on_both_with};

fn setup() -> Setup {
    Setup::default().with("INSTAGRAM_MEDIA_WATCH_SECS", "300")
}

async fn media_until(harness: &Harness, count: usize) -> Vec<Value> {
    harness
        .until(&format!("there are {count} events for posts"), async |harness| {
            let events = harness.events("eventType=media&status=processed").await;
            (events.len() == count).then_some(events)
        })
        .await
}

/// The watch has begun, which it does a moment after the start.
async fn begun(harness: &Harness) {
    harness
        .until("the watch has begun", async |harness| {
            let app = harness.hub().app();
            let channels = app.channels.all();
            let id = channels.iter().find(|channel| channel.account == ACCOUNT)?.id.clone();
            app.leases.lead(&id)?;
            let now = app.clock.now_millis();
            app.store
                .write(move |tx| tx.media_watch(&id, now))
                .await
                .ok()
                .map(|_| ())
        })
        .await;
}

#[tokio::test]
async fn each_new_post_becomes_one_event_and_what_was_there_before_none() {
    on_both_with(setup(), async |harness| {
        let old = harness.posts(PostKind::Reel, 60);
        begun(harness).await;
        assert_eq!(
            ids(&harness.feed("").await.expect(200)).as_slice(),
            std::slice::from_ref(&old)
        );
        harness.pass(2 * MINUTE).await;
        let (image, reel) = (harness.posts(PostKind::Image, 1), harness.posts(PostKind::Reel, 0));
        harness.pass(3 * MINUTE).await;
        let events = media_until(harness, 2).await;
        // The newest first.
        assert_eq!(events[0]["externalId"], json!(format!("media:{reel}")));
        assert_eq!(events[1]["externalId"], json!(format!("media:{image}")));
        let id = events[0]["id"].as_str().unwrap();
        let event = harness.get(&format!("/api/webhooks/events/{id}")).await.expect(200);
        assert_eq!(
            (&event["channelId"], &event["signed"]),
            (&json!("instagram"), &json!(false))
        );
        assert!(event.to_string().contains("REELS"), "{event}");

        // The feed knows of it before its time is over.
        harness
            .until("the feed has the new reel", async |harness| {
                let page = harness.feed("").await.expect(200);
                (ids(&page) == [reel.clone(), old.clone()]).then_some(())
            })
            .await;

        // Looked at again and again, after a restart too, and while Meta fails in between.
        harness.pass(5 * MINUTE).await;
        harness.restart().await;
        begun(harness).await;
        harness.media_fault(FaultKind::Outage, None);
        let late = harness.posts(PostKind::Carousel, 0);
        harness.pass(5 * MINUTE).await;
        let failed = "instagram_api_calls_total{status=\"error\",endpoint=\"media\"}";
        harness
            .until("a look has failed", async |harness| {
                (harness.metric(failed).await > 0).then_some(())
            })
            .await;
        harness.sandbox.clear_faults();
        harness.pass(5 * MINUTE).await;
        let events = media_until(harness, 3).await;
        assert_eq!(events[0]["externalId"], json!(format!("media:{late}")));
    })
    .await;
}

#[tokio::test]
async fn without_an_interval_nobody_looks() {
    on_both_with(
        Setup::default().with("INSTAGRAM_MEDIA_WATCH_SECS", "0"),
        async |harness| {
            harness.pass(Duration::from_hours(1)).await;
            harness.posts(PostKind::Reel, 0);
            harness.pass(Duration::from_hours(1)).await;
            // Whatever was going to be asked has been: this comes after it.
            harness.get(FEED).await.expect(200);
            assert_eq!(harness.asked("/media"), 1);
            assert_eq!(harness.events("eventType=media").await, Vec::<Value>::new());
        },
    )
    .await;
}
