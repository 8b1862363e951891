//! Films and posters that are kept here.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tidings_sandbox::FaultKind;

use super::MINUTE;
use crate::harness::{Harness, Setup, on_both_with};

const HOUR: Duration = Duration::from_hours(1);

/// The feed once all of its files are kept.
async fn kept(harness: &Harness) -> Value {
    harness
        .until("the files are kept", async |harness| {
            let page = harness.feed("").await.expect(200);
            let reels = page["reels"].as_array().unwrap().clone();
            let is_ours = |reel: &Value, name: &str| {
                reel[name]
                    .as_str()
                    .is_some_and(|url| url.starts_with("https://hub.example/integrations/instagram/reels/media/"))
            };
            reels
                .iter()
                .all(|reel| is_ours(reel, "videoUrl") && is_ours(reel, "posterUrl"))
                .then_some(page)
        })
        .await
}

#[tokio::test]
async fn what_is_kept_is_shown_also_after_metas_links_have_ended() {
    let mut setup = Setup::default()
        .with("REELS_STORE_MEDIA", "true")
        .with("TIDINGS_PUBLIC_URL", "https://hub.example");
    setup.sandbox.rules.post_links_live = 2 * HOUR;
    on_both_with(setup, async |harness| {
        harness.posts_reels(2);
        let page = kept(harness).await;
        harness.media_fault(FaultKind::Outage, None);
        harness.pass(23 * HOUR).await;
        let answer = harness.feed("").await;
        assert_eq!(answer.header("x-cache"), "stale");
        assert_eq!(answer.json(), page);

        let path_of = |name: &str| {
            let url = page["reels"][0][name].as_str().unwrap();
            url.strip_prefix("https://hub.example").unwrap().to_owned()
        };
        let film = path_of("videoUrl");
        let fetch = async |path: &str, headers: &[(&'static str, &str)]| {
            let request = headers
                .iter()
                .fold(harness.request(Method::GET, path), |request, (name, value)| {
                    request.header(*name, *value)
                });
            let answer = request.send().await.unwrap();
            (
                answer.status().as_u16(),
                answer.headers().clone(),
                answer.bytes().await.unwrap(),
            )
        };
        let (status, headers, whole) = fetch(&film, &[]).await;
        assert_eq!((status, &headers["content-type"]), (200, &"video/mp4".parse().unwrap()));
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(headers["accept-ranges"], "bytes");
        assert_eq!(&whole[4..8], b"ftyp");
        let (status, headers, part) = fetch(&film, &[("range", "bytes=4-7")]).await;
        assert_eq!((status, &part[..]), (206, &b"ftyp"[..]));
        assert_eq!(headers["content-range"], format!("bytes 4-7/{}", whole.len()).as_str());
        // Behind the first piece, 64 KiB, in which files are read.
        let (status, _, end) = fetch(&film, &[("range", "bytes=66000-")]).await;
        assert_eq!((status, &end[..]), (206, &whole[66_000..]));
        let (status, headers, _) = fetch(&film, &[("range", "bytes=99999999-")]).await;
        assert_eq!(
            (status, &headers["content-range"]),
            (416, &format!("bytes */{}", whole.len()).parse().unwrap())
        );
        let tag = format!("\"{}\"", film.rsplit('/').next().unwrap());
        assert_eq!(fetch(&film, &[("if-none-match", &tag)]).await.0, 304);
        let other_version = [("range", "bytes=0-1"), ("if-range", "\"other\"")];
        assert_eq!(fetch(&film, &other_version).await.0, 200);

        let (status, headers, poster) = fetch(&path_of("posterUrl"), &[]).await;
        assert_eq!((status, &headers["content-type"]), (200, &"image/png".parse().unwrap()));
        assert!(poster.starts_with(b"\x89PNG"));
        let nothing = format!("/integrations/instagram/reels/media/{}", "0".repeat(64));
        for stray in [nothing.as_str(), "/integrations/instagram/reels/media/..%2Fadmin.key"] {
            harness
                .answer(harness.request(Method::GET, stray))
                .await
                .problem(404, "not_found");
        }

        // They outlive a restart: nothing is fetched again.
        harness.sandbox.clear_faults();
        harness.restart().await;
        harness.pass(MINUTE).await;
        assert_eq!(
            kept(harness).await["reels"][0]["videoUrl"],
            page["reels"][0]["videoUrl"]
        );
        assert_eq!(harness.asked(".mp4"), 2);
    })
    .await;
}
