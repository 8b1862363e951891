//! The feed: what is in it, its pages, its cache, who may read it.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, NewPost, PostChange, PostKind, Token, TokenKind};

use super::{FEED, MINUTE, ids, listing};
use crate::harness::{ACCOUNT, Setup, on_both, on_both_with};

#[tokio::test]
async fn a_page_has_reels_alone_with_every_field_and_says_how_old_it_is() {
    on_both(async |harness| {
        assert_eq!(
            harness.feed("").await.expect(200),
            json!({"reels": [], "paging": {"nextCursor": null, "hasMore": false}})
        );
        let posted = harness.posts_reels(7);
        harness.pass(10 * MINUTE).await;
        // What is stale is shown while a newer one is fetched.
        assert_eq!(harness.feed("").await.header("x-cache"), "stale");
        let fresh = harness
            .until("the newer page is there", async |harness| {
                let answer = harness.feed("").await;
                (answer.header("x-cache") == "hit").then_some(answer)
            })
            .await;
        let page = fresh.json();
        assert_eq!(ids(&page), posted[..6]);
        let reel = &page["reels"][0];
        let url = harness.sandbox.url();
        let starts = |name: &str, with: String| assert!(reel[name].as_str().unwrap().starts_with(&with), "{reel}");
        starts("videoUrl", format!("{url}/ig_cdn/{}.mp4?", posted[0]));
        starts("posterUrl", format!("{url}/ig_cdn/{}.png?", posted[0]));
        starts("permalink", "https://www.instagram.com/reel/".to_owned());
        assert_eq!(reel["audioTitle"], Value::Null);
        assert_eq!((&reel["likes"], &reel["views"]), (&json!(42), &json!(1_500)));
        assert_eq!(reel["description"], "Posted 1 minutes ago");
        assert_eq!(reel.as_object().unwrap().len(), 8);
        assert_eq!(page["paging"]["hasMore"], true);
        assert_eq!(harness.asked(&listing()), 2, "one call a page");

        assert_eq!(fresh.header("content-type"), "application/json");
        assert_eq!(
            fresh.header("cache-control"),
            "public, max-age=300, stale-while-revalidate=60, stale-if-error=86100"
        );
        harness.pass(MINUTE).await;
        let same = harness.feed("?limit=6").await;
        assert_eq!((same.header("x-cache"), same.header("age")), ("hit", "60"));
        assert_eq!((same.header("etag"), &same.body), (fresh.header("etag"), &fresh.body));
        for tag in [
            same.header("etag").to_owned(),
            format!("W/{}", same.header("etag")),
            "*".to_owned(),
        ] {
            let request = harness.request(Method::GET, FEED).header("if-none-match", tag);
            let answer = harness.answer(request).await;
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (304, ""));
            assert_eq!(answer.header("age"), "60");
        }
        let head = harness.answer(harness.request(Method::HEAD, FEED)).await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
        assert_eq!(harness.metric("tidings_reels_requests_total{cache=\"miss\"}").await, 1);
        assert!(
            harness
                .metric("instagram_api_calls_total{status=\"success\",endpoint=\"media\"}")
                .await
                >= 2
        );
    })
    .await;
}

#[tokio::test]
async fn pages_follow_each_other_whatever_is_posted_and_deleted_meanwhile() {
    on_both(async |harness| {
        let posted = harness.posts_reels(40);
        let mut shown = Vec::new();
        let mut after = String::new();
        for round in 0.. {
            let page = harness.feed(&format!("?limit=7{after}")).await.expect(200);
            let found = ids(&page);
            let last = found.last().cloned().unwrap_or_default();
            shown.extend(found);
            let Some(cursor) = page["paging"]["nextCursor"].as_str() else {
                assert_eq!(page["paging"]["hasMore"], false);
                break;
            };
            assert_eq!(ids(&page).len(), 7, "every page but the last is full");
            after = format!("&after={cursor}");
            // The one that the next page begins behind is gone, and there is a new one.
            harness.sandbox.delete_post(&last).unwrap();
            harness.posts(PostKind::Reel, 0);
            assert!(round < 10, "the pages end");
        }
        assert_eq!(shown, posted);
    })
    .await;
}

#[tokio::test]
async fn limits_and_cursors_are_checked() {
    on_both(async |harness| {
        harness.posts_reels(3);
        for limit in ["0", "26", "-1", "six", "6.5"] {
            let answer = harness.feed(&format!("?limit={limit}")).await;
            assert_eq!(answer.fields(400, "invalid_limit"), ["limit"], "{limit}");
        }
        assert_eq!(
            harness.feed("?limit=25").await.expect(200)["reels"]
                .as_array()
                .unwrap()
                .len(),
            3
        );
        let page = harness.feed("?limit=1").await.expect(200);
        let cursor = page["paging"]["nextCursor"].as_str().unwrap();
        assert_eq!(
            ids(&harness.feed(&format!("?limit=2&after={cursor}")).await.expect(200)).len(),
            2
        );
        let (head, tail) = cursor.split_at(cursor.len() - 1);
        let other = if tail == "A" { "B" } else { "A" };
        for wrong in [
            format!("{head}{other}"),
            head.to_owned(),
            "QVFIUa".to_owned(),
            "x".repeat(9_000),
        ] {
            let answer = harness.feed(&format!("?after={wrong}")).await;
            assert_eq!(answer.fields(400, "invalid_cursor"), ["after"], "{wrong}");
        }
        assert_eq!(harness.feed("?page=2").await.fields(400, "invalid_parameter"), ["page"]);
    })
    .await;
}

#[tokio::test]
async fn two_hundred_visitors_of_a_cold_cache_make_one_call() {
    on_both(async |harness| {
        harness.posts_reels(8);
        harness
            .sandbox
            .fault(FaultRequest {
                endpoint: "media".to_owned(),
                kind: FaultKind::Delay,
                delay_ms: Some(60_000),
                ..FaultRequest::default()
            })
            .unwrap();
        let visitors = join_all((0..200).map(|_| harness.feed("")));
        let meta = async {
            harness
                .until("Meta is asked", async |harness| {
                    (harness.asked(&listing()) > 0).then_some(())
                })
                .await;
            harness.sandbox.advance(MINUTE).await;
        };
        let (answers, ()) = tokio::join!(visitors, meta);
        let body = &answers[0].body;
        for answer in &answers {
            assert_eq!((answer.status.as_u16(), &answer.body), (200, body));
        }
        assert_eq!(harness.asked(&listing()), 1);
    })
    .await;
}

#[tokio::test]
async fn what_meta_does_not_give_is_null_and_fails_nothing() {
    let mut setup = Setup::default();
    let own = setup.sandbox.world.tokens[1].clone();
    let token = |value: &str, kind, scopes: &[&str]| Token {
        value: value.to_owned(),
        kind,
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..own.clone()
    };
    let tokens = [
        token("IGAAbasic", TokenKind::InstagramUser, &["instagram_business_basic"]),
        token("EAAbasic", TokenKind::SystemUser, &["instagram_basic"]),
    ];
    setup.sandbox.world.tokens.extend(tokens);
    on_both_with(setup, async |harness| {
        harness.foresee_refusals(&[10, 100]);
        let hidden = harness.posts(PostKind::Reel, 5);
        let flagged = harness
            .sandbox
            .post(NewPost {
                ago_ms: 600_000,
                flagged: true,
                views: 3,
                ..NewPost::default()
            })
            .unwrap();
        let hide = PostChange {
            hide_likes: Some(true),
            ..PostChange::default()
        };
        harness.sandbox.change_post(&hidden, hide).unwrap();
        let page = harness.feed("").await.expect(200);
        let by_id = |page: &Value, id: &str| {
            let reels = page["reels"].as_array().unwrap();
            reels.iter().find(|reel| reel["id"] == id).unwrap().clone()
        };
        assert_eq!(by_id(&page, &hidden)["likes"], Value::Null);
        let reel = by_id(&page, &flagged);
        assert_eq!((&reel["videoUrl"], &reel["description"]), (&Value::Null, &Value::Null));
        assert_eq!(reel["views"], 3);

        // One without insights would fail the listing: each is asked for by itself.
        let lacking = PostChange {
            without_insights: Some(true),
            ..PostChange::default()
        };
        harness.sandbox.change_post(&flagged, lacking).unwrap();
        let page = harness.feed("?limit=5").await.expect(200);
        assert_eq!(by_id(&page, &flagged)["views"], Value::Null);
        assert_eq!(by_id(&page, &hidden)["views"], 1_500);
        assert_eq!(harness.asked("/insights"), 2);

        // Without the permission there are no views, but on Facebook Login, where a field has them.
        for (token, views, calls) in [("IGAAbasic", Value::Null, 3), ("EAAbasic", json!(1_500), 2)] {
            harness
                .restart_with(|setup| setup.with("META_IG_ACCESS_TOKEN", token))
                .await;
            let before = harness.asked(&listing());
            assert_eq!(
                by_id(&harness.feed("").await.expect(200), &hidden)["views"],
                views,
                "{token}"
            );
            assert_eq!(harness.asked(&listing()) - before, calls, "{token}");
            // It is remembered how they can be read.
            harness.feed("?limit=4").await.expect(200);
            assert_eq!(harness.asked(&listing()) - before, calls + 1, "{token}");
        }
    })
    .await;
}

#[tokio::test]
async fn scripts_of_the_websites_that_are_named_may_read_it() {
    let site = "https://www.example.com";
    let setup = Setup::default().with(
        "INTEGRATIONS_ALLOWED_ORIGINS",
        "https://www.example.com,http://localhost:3000",
    );
    on_both_with(setup, async |harness| {
        let ask = async |method: Method, origin: &str, query: &str| {
            let request = harness
                .request(method, &format!("{FEED}{query}"))
                .header("origin", origin);
            harness.answer(request).await
        };
        let allowed = ask(Method::GET, site, "").await;
        assert_eq!(allowed.header("access-control-allow-origin"), site);
        assert_eq!(allowed.header("vary"), "Origin");
        assert!(allowed.header("access-control-expose-headers").contains("X-Cache"));
        // A refusal can be read too.
        let refused = ask(Method::GET, "http://localhost:3000", "?limit=0").await;
        refused.problem(400, "invalid_limit");
        assert_eq!(refused.header("access-control-allow-origin"), "http://localhost:3000");
        let beforehand = ask(Method::OPTIONS, site, "").await;
        assert_eq!(beforehand.status, 204);
        assert_eq!(beforehand.header("access-control-allow-methods"), "GET, HEAD");
        for other in ["https://example.com", "https://www.example.com.evil.example", "null"] {
            for method in [Method::GET, Method::OPTIONS] {
                let answer = ask(method, other, "").await;
                assert!(!answer.headers.contains_key("access-control-allow-origin"), "{other}");
            }
        }
        let account = harness.hub().app().channels.all();
        assert!(account.iter().any(|channel| channel.account == ACCOUNT));
    })
    .await;
}
