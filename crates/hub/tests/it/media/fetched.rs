//! What customers send is fetched, whatever goes wrong on the way, or it is shown why not.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tidings_sandbox::{Content, FaultKind, FaultRequest};

use super::{fault_of, picture};
use crate::harness::{ACCOUNT, Harness, NUMBER, Setup, on_both, on_both_with};

const LINK: &str = "https://pictures.example/1.jpg";
const MINUTE: Duration = Duration::from_mins(1);

async fn comes(harness: &Harness, customer: &str, account: &str) {
    harness.sandbox.write(customer, account, picture(LINK)).unwrap();
    harness.projected().await;
}

/// Waits for the pause after a try in vain, and answers with what was shown of it.
async fn tried_in_vain(harness: &Harness) -> Value {
    let file = harness
        .file_until("was tried in vain", |file| file["attempts"] != 0)
        .await;
    assert_eq!(file["status"], "pending");
    assert!(file["nextAttemptAt"].is_string(), "{file}");
    assert_eq!(file["link"], Value::Null, "{file}");
    file
}

#[tokio::test]
async fn a_picture_is_fetched_and_shown_with_its_message() {
    on_both(async |harness| {
        for (customer, account) in [("amara", NUMBER), ("lucia", ACCOUNT)] {
            harness.sandbox.write(customer, account, picture(LINK)).unwrap();
        }
        harness.projected().await;
        for conversation in harness.conversations().await {
            let file = harness
                .until("the picture is stored", async |harness| {
                    let messages = harness.messages(&conversation).await;
                    let file = messages[0]["media"][0].clone();
                    (file["status"] == "stored").then_some(file)
                })
                .await;
            assert_eq!(file["type"], "image/png");
            let (status, headers, bytes) = harness.open(file["link"].as_str().unwrap(), HeaderMap::new()).await;
            assert_eq!(status, 200);
            assert_eq!(headers["content-type"], "image/png");
            assert!(bytes.starts_with(b"\x89PNG"));
            assert_eq!(file["size"], bytes.len());
            assert_eq!(headers["etag"], format!("\"{}\"", file["sha256"].as_str().unwrap()));
        }
        assert_eq!(
            harness
                .metric("tidings_media_transfers_total{direction=\"download\",result=\"success\"}")
                .await,
            2
        );
    })
    .await;
}

#[tokio::test]
async fn a_link_that_is_over_is_asked_for_anew() {
    on_both(async |harness| {
        let away = FaultRequest {
            http_status: Some(503),
            ..fault_of("media.download", FaultKind::PlainError)
        };
        harness.sandbox.fault(away).unwrap();
        comes(harness, "amara", NUMBER).await;
        let file = tried_in_vain(harness).await;
        assert!(file["reason"].as_str().unwrap().contains("503"), "{file}");
        // The webhook's link lives for five minutes.
        harness.pass(MINUTE * 6).await;
        harness.file_stored().await;
        let id = harness.messages(&harness.conversation().await).await[0]["content"]["id"].clone();
        assert_eq!(
            harness.calls("GET", id.as_str().unwrap()),
            1,
            "Meta was asked for a new link"
        );
        assert_eq!(
            harness
                .metric("whatsapp_api_calls_total{status=\"success\",endpoint=\"media\"}")
                .await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_not_what_meta_announced_is_not_kept() {
    for (kind, why) in [
        (FaultKind::Corrupt, "hash"),
        (FaultKind::Page, "hash"),
        (FaultKind::Truncate, "error"),
    ] {
        on_both(async |harness| {
            harness.sandbox.fault(fault_of("media.download", kind)).unwrap();
            comes(harness, "amara", NUMBER).await;
            let file = tried_in_vain(harness).await;
            assert!(file["reason"].as_str().unwrap().contains(why), "{kind:?}: {file}");
            harness.pass(MINUTE).await;
            harness.file_stored().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_page_in_place_of_an_instagram_picture_is_not_kept() {
    on_both(async |harness| {
        harness
            .sandbox
            .fault(fault_of("media.download", FaultKind::Page))
            .unwrap();
        comes(harness, "lucia", ACCOUNT).await;
        let file = tried_in_vain(harness).await;
        assert!(file["reason"].as_str().unwrap().contains("page"), "{file}");
        harness.pass(MINUTE).await;
        harness.file_stored().await;
    })
    .await;
}

#[tokio::test]
async fn what_meta_has_no_more_has_failed_and_can_be_tried_again() {
    on_both(async |harness| {
        let gone = FaultRequest {
            http_status: Some(404),
            ..fault_of("media.download", FaultKind::PlainError)
        };
        harness.sandbox.fault(gone).unwrap();
        comes(harness, "lucia", ACCOUNT).await;
        let file = harness
            .file_until("has failed", |file| file["status"] == "failed")
            .await;
        assert!(
            file["reason"].as_str().unwrap().contains("send the file again"),
            "{file}"
        );
        let path = format!("/api/v1/media/{}", file["id"].as_str().unwrap());
        let content = harness
            .get(&format!("{path}/content"))
            .await
            .problem(409, "media_not_stored");
        assert!(content["detail"].as_str().unwrap().contains("404"), "{content}");
        assert_eq!(harness.get(&path).await.expect(200)["status"], "failed");
        let again = harness.post(&format!("{path}/retry"), &json!({})).await.expect(202);
        assert_eq!(again["status"], "pending");
        harness.file_stored().await;
        harness
            .post(&format!("{path}/retry"), &json!({}))
            .await
            .problem(409, "not_retryable");
        let unknown = "/api/v1/media/med_019a9f0cb2007a5f8d3e6b1c2d4f5a60";
        harness.get(unknown).await.problem(404, "not_found");
        harness
            .post(&format!("{unknown}/retry"), &json!({}))
            .await
            .problem(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_fetched_and_the_message_is_there() {
    on_both_with(Setup::default().with("MEDIA_BYTES_MAX", "1000"), async |harness| {
        comes(harness, "amara", NUMBER).await;
        let file = harness
            .file_until("has failed", |file| file["status"] == "failed")
            .await;
        assert!(file["reason"].as_str().unwrap().contains("MEDIA_BYTES_MAX"), "{file}");
        let message = harness.messages(&harness.conversation().await).await.remove(0);
        assert_eq!(
            (&message["status"], &message["content"]["type"]),
            (&json!("received"), &json!("image"))
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_is_fetched_from_anybody_but_meta() {
    on_both(async |harness| {
        let attachment =
            json!({"attachments": [{"type": "image", "payload": {"url": "http://169.254.169.254/latest/meta-data"}}]});
        let Value::Object(message) = attachment else { panic!() };
        harness
            .sandbox
            .write("lucia", ACCOUNT, Content::Raw { message })
            .unwrap();
        harness.projected().await;
        let file = harness
            .file_until("has failed", |file| file["status"] == "failed")
            .await;
        assert!(
            file["reason"].as_str().unwrap().contains("not a host of Meta's"),
            "{file}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_taken_back_takes_its_file_with_it() {
    on_both(async |harness| {
        let written = harness.sandbox.write("lucia", ACCOUNT, picture(LINK)).unwrap();
        harness.projected().await;
        let file = harness.file_stored().await;
        let kept = kept_files(harness);
        assert_eq!(kept.len(), 1);
        let unsend = Content::Unsend { message_id: written.0 };
        harness.sandbox.write("lucia", ACCOUNT, unsend).unwrap();
        harness.projected().await;
        assert_eq!(harness.files().await, Vec::<Value>::new());
        harness
            .get(&format!("/api/v1/media/{}", file["id"].as_str().unwrap()))
            .await
            .problem(404, "not_found");
        tidings::media::sweep::sweep(harness.hub().app()).await.unwrap();
        assert_eq!(
            kept_files(harness),
            Vec::<std::path::PathBuf>::new(),
            "the bytes are gone too"
        );
    })
    .await;
}

/// The files in the media store.
pub(super) fn kept_files(harness: &Harness) -> Vec<std::path::PathBuf> {
    fn walk(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&harness.hub().app().config.media.dir, &mut found);
    found
}
