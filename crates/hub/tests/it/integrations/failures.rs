//! What visitors get while Meta fails, and what operators read of it.

use std::time::Duration;

use serde_json::Value;
use tidings_sandbox::FaultKind;

use super::{MINUTE, ids, listing};
use crate::harness::{Answer, Harness, Setup, on_both, on_both_with};

const HOUR: Duration = Duration::from_hours(1);

async fn cache_of(harness: &Harness) -> (Answer, String) {
    let answer = harness.feed("").await;
    let cache = answer
        .headers
        .get("x-cache")
        .map(|cache| cache.to_str().unwrap().to_owned());
    (answer, cache.unwrap_or_default())
}

#[tokio::test]
async fn while_meta_is_down_for_an_hour_the_feed_answers_all_along() {
    on_both(async |harness| {
        let posted = harness.posts_reels(3);
        let first = harness.feed("").await.expect(200);
        harness.media_fault(FaultKind::Outage, None);
        harness.pass(5 * MINUTE).await;
        for minute in 5_u64..65 {
            let (answer, cache) = cache_of(harness).await;
            assert_eq!(
                (answer.status.as_u16(), cache.as_str()),
                (200, "stale"),
                "in minute {minute}"
            );
            assert_eq!(answer.json(), first);
            assert_eq!(answer.header("age"), (minute * 60).to_string());
            harness.pass(MINUTE).await;
        }
        harness.sandbox.clear_faults();
        harness.posts(tidings_sandbox::PostKind::Reel, 0);
        let page = harness
            .until("there is a newer page", async |harness| {
                // The last failure may have been noticed only now, and is followed by a pause.
                harness.pass(Duration::from_secs(1)).await;
                let (answer, cache) = cache_of(harness).await;
                assert_eq!(answer.status, 200);
                (cache == "hit").then(|| answer.json())
            })
            .await;
        assert_eq!(ids(&page).len(), posted.len() + 1);
        // A failure is followed by a pause: a minute brings one try at most, however many ask.
        assert!(harness.asked(&listing()) <= 63, "{}", harness.asked(&listing()));
    })
    .await;
}

#[tokio::test]
async fn what_is_stale_is_shown_for_a_day_and_never_with_links_that_have_ended() {
    on_both(async |harness| {
        harness.posts_reels(1);
        harness.feed("").await.expect(200);
        harness.media_fault(FaultKind::Outage, None);
        harness.pass(23 * HOUR).await;
        assert_eq!(cache_of(harness).await.1, "stale");
        harness.pass(HOUR).await;
        harness.feed("").await.problem(502, "instagram_api_error");
    })
    .await;

    let mut setup = Setup::default();
    setup.sandbox.rules.post_links_live = 2 * HOUR;
    on_both_with(setup, async |harness| {
        harness.posts_reels(1);
        let answer = harness.feed("").await;
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=300, stale-while-revalidate=60, stale-if-error=6900"
        );
        harness.media_fault(FaultKind::Outage, None);
        harness.pass(119 * MINUTE).await;
        assert_eq!(cache_of(harness).await.1, "stale");
        harness.pass(MINUTE).await;
        harness.feed("").await.problem(502, "instagram_api_error");
    })
    .await;
}

#[tokio::test]
async fn every_failure_has_a_code_of_its_own_and_bears_metas_error() {
    on_both(async |harness| {
        harness.foresee_refusals(&[190, 10, 80_002, 2]);
        // Each waits for the pause after the one before.
        let next = async |harness: &mut Harness| {
            harness.sandbox.clear_faults();
            harness.pass(10 * MINUTE).await;
        };

        harness.media_fault(FaultKind::TokenExpired, None);
        let document = harness.feed("").await.problem(503, "instagram_token_invalid");
        assert_eq!(
            (&document["meta"]["code"], &document["meta"]["subcode"]),
            (&190.into(), &463.into())
        );
        assert!(document["meta"]["traceId"].is_string(), "{document}");
        // Meta is left alone for a while, and the answer is the same.
        let calls = harness.asked(&listing());
        let again = harness.feed("").await;
        again.problem(503, "instagram_token_invalid");
        assert_eq!(again.header("retry-after"), "5");
        assert_eq!(harness.asked(&listing()), calls);

        next(harness).await;
        harness.media_fault(FaultKind::Error, Some(10));
        let document = harness.feed("").await.problem(503, "instagram_token_invalid");
        assert_eq!(document["meta"]["code"], 10);

        next(harness).await;
        harness.media_fault(FaultKind::Error, Some(2));
        let document = harness.feed("").await.problem(502, "instagram_api_error");
        assert_eq!(document["meta"]["code"], 2);
        assert!(!document["meta"]["message"].as_str().unwrap().is_empty());

        next(harness).await;
        harness.media_fault(FaultKind::Throttle, Some(80_002));
        let answer = harness.feed("").await;
        assert_eq!(answer.problem(502, "instagram_api_error")["meta"]["code"], 80_002);
        assert_eq!(answer.header("retry-after"), "60", "as long as Meta asks for");

        next(harness).await;
        harness.media_fault(FaultKind::PlainError, None);
        let document = harness.feed("").await.problem(502, "instagram_api_error");
        assert_eq!(document.get("meta"), None);

        next(harness).await;
        harness.media_fault(FaultKind::Outage, None);
        harness.feed("").await.problem(502, "instagram_api_error");

        next(harness).await;
        assert!(harness.metric("tidings_reels_requests_total{cache=\"error\"}").await >= 7);
        harness
            .restart_with(|setup| setup.with("META_IG_REQUEST_TIMEOUT_MS", "200"))
            .await;
        harness.media_fault(FaultKind::Delay, None);
        harness.feed("").await.problem(504, "instagram_timeout");
        assert!(harness.metric("tidings_reels_requests_total{cache=\"error\"}").await >= 1);

        harness
            .restart_with(|setup| setup.without("META_IG_BUSINESS_ID").without("META_IG_ACCESS_TOKEN"))
            .await;
        let answer = harness.feed("").await;
        let document = answer.problem(503, "instagram_not_configured");
        assert!(
            document["detail"].as_str().unwrap().contains("META_IG_BUSINESS_ID"),
            "{document}"
        );
        harness
            .restart_with(|setup| setup.with_told("META_IG_BUSINESS_ID"))
            .await;
        harness.feed("").await.problem(503, "instagram_not_configured");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_swapped_is_used_at_once() {
    on_both(async |harness| {
        harness.foresee_refusals(&[190]);
        harness.posts_reels(2);
        harness.media_fault(FaultKind::TokenRevoked, None);
        harness.feed("").await.problem(503, "instagram_token_invalid");
        harness.sandbox.clear_faults();
        let (_, token) = harness
            .sandbox
            .environment()
            .into_iter()
            .find(|(name, _)| name == "META_IG_ACCESS_TOKEN")
            .unwrap();
        let request = harness
            .request(reqwest::Method::PUT, "/api/v1/channels/instagram/credentials")
            .bearer_auth(crate::harness::ADMIN_KEY)
            .json(&serde_json::json!({ "accessToken": token }));
        assert_eq!(harness.answer(request).await.status, 200);
        let page = harness
            .until("the new token is known", async |harness| {
                let answer = harness.feed("").await;
                (answer.status == 200).then(|| answer.json())
            })
            .await;
        assert_eq!(ids(&page).len(), 2);
        assert_ne!(page["reels"][0]["views"], Value::Null);
    })
    .await;
}
