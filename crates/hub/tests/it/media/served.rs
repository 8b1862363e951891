//! Files are served whole and in parts, to whoever has a key or a link that holds.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE};
use serde_json::Value;

use super::PNG;
use crate::harness::{Harness, Setup, on_both, on_both_with};

fn asking(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

async fn uploaded(harness: &Harness) -> Value {
    harness.upload("image/png", PNG).await.expect(201)
}

#[tokio::test]
async fn a_range_is_served_and_what_is_known_is_not_sent_again() {
    on_both(async |harness| {
        let file = uploaded(harness).await;
        let link = file["link"].as_str().unwrap().to_owned();
        let tag = format!("\"{}\"", file["sha256"].as_str().unwrap());
        let open = async |pairs: &[(HeaderName, &str)]| harness.open(&link, asking(pairs)).await;
        let (status, headers, bytes) = open(&[]).await;
        assert_eq!((status, &bytes[..]), (200, PNG));
        for (name, value) in [
            ("content-type", "image/png"),
            ("content-length", &PNG.len().to_string()),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
            ("content-disposition", "inline"),
            ("etag", &tag),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert!(headers["content-security-policy"].to_str().unwrap().contains("sandbox"));

        let (status, headers, bytes) = open(&[(RANGE, "bytes=1-3")]).await;
        assert_eq!((status, &bytes[..]), (206, &b"PNG"[..]));
        assert_eq!(headers["content-range"], format!("bytes 1-3/{}", PNG.len()));
        assert_eq!(headers["content-length"], "3");
        let (status, _, bytes) = open(&[(RANGE, "bytes=-2")]).await;
        assert_eq!((status, &bytes[..]), (206, &PNG[PNG.len() - 2..]));
        let (status, headers, _) = open(&[(RANGE, "bytes=9999-")]).await;
        assert_eq!(status, 416);
        assert_eq!(headers["content-range"], format!("bytes */{}", PNG.len()));
        let (status, _, bytes) = open(&[(RANGE, "bytes=1-3"), (IF_RANGE, "\"other\"")]).await;
        assert_eq!((status, bytes.len()), (200, PNG.len()));
        let (status, headers, bytes) = open(&[(IF_NONE_MATCH, &tag)]).await;
        assert_eq!((status, bytes.len()), (304, 0));
        assert_eq!(headers["etag"], tag);

        let with_key = harness
            .get(&format!("/api/v1/media/{}/content", file["id"].as_str().unwrap()))
            .await;
        assert_eq!(with_key.status, 200);
        assert_eq!(with_key.header("etag"), tag);
    })
    .await;
}

#[tokio::test]
async fn a_link_opens_until_its_time_is_over_and_no_other_file() {
    on_both_with(Setup::default().with("MEDIA_LINK_SECS", "60"), async |harness| {
        let file = uploaded(harness).await;
        let other = harness.upload("text/plain", b"words").await.expect(201);
        let link = file["link"].as_str().unwrap().to_owned();
        let id = |file: &Value| file["id"].as_str().unwrap().to_owned();
        for (forged, why) in [
            (link.replace(&id(&file), &id(&other)), "it is another file's"),
            (link.replace("exp=1", "exp=2"), "its time was changed"),
            (format!("{link}x"), "its signature was changed"),
            (format!("/media/{}", id(&file)), "it has no signature"),
        ] {
            let answer = harness.answer(harness.request(reqwest::Method::GET, &forged)).await;
            assert_eq!(answer.json()["error"], "link_forged", "{why}");
            assert_eq!(answer.status, 403);
        }
        assert_eq!(harness.open(&link, HeaderMap::new()).await.0, 200);
        harness.pass(Duration::from_mins(2)).await;
        let over = harness.answer(harness.request(reqwest::Method::GET, &link)).await;
        over.problem(403, "link_expired");
        let path = format!("/api/v1/media/{}", id(&file));
        let renewed = harness.get(&path).await.expect(200);
        assert_eq!(
            harness
                .open(renewed["link"].as_str().unwrap(), HeaderMap::new())
                .await
                .0,
            200
        );
    })
    .await;
}

#[tokio::test]
async fn a_page_that_calls_itself_a_picture_is_saved_and_not_shown() {
    on_both(async |harness| {
        let page = b"<html><script>alert(document.cookie)</script>";
        let file = harness.upload("image/png", page).await.expect(201);
        assert_eq!(file["type"], "text/html", "its bytes say what it is");
        let (status, headers, _) = harness.open(file["link"].as_str().unwrap(), HeaderMap::new()).await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-disposition"], "attachment");
        assert!(
            headers["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("default-src 'none'")
        );
    })
    .await;
}

#[tokio::test]
async fn links_are_whole_addresses_where_the_hub_knows_its_own() {
    on_both_with(
        Setup::default().with("TIDINGS_PUBLIC_URL", "https://hub.example.com"),
        async |harness| {
            let link = uploaded(harness).await["link"].as_str().unwrap().to_owned();
            assert!(link.starts_with("https://hub.example.com/media/med_"), "{link}");
        },
    )
    .await;
}
