//! What callers upload: every form of it, every bound, and how long it is kept.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use super::fetched::kept_files;
use super::{PNG, order};
use crate::harness::{ADMIN_KEY, Answer, Harness, NUMBER, Setup, on_both, on_both_with, text};

async fn upload_form(harness: &Harness, form: Form) -> Answer {
    let request = harness.request(Method::POST, "/api/v1/media").bearer_auth(ADMIN_KEY);
    harness.answer(request.multipart(form)).await
}

fn part(name: &str, bytes: &[u8]) -> Part {
    let part = Part::bytes(bytes.to_vec()).file_name(name.to_owned());
    part.mime_str("application/octet-stream").unwrap()
}

#[tokio::test]
async fn the_same_file_is_kept_once_however_it_comes() {
    on_both(async |harness| {
        let raw = harness.upload("application/octet-stream", PNG).await.expect(201);
        assert_eq!(raw["type"], "image/png");
        assert_eq!(raw["size"], PNG.len());
        assert_eq!(raw["status"], "stored");
        assert_eq!(raw["filename"], Value::Null);
        let form = upload_form(harness, Form::new().part("file", part("C:\\pictures\\Büro.png", PNG))).await;
        let form = form.expect(201);
        assert_eq!((&form["id"], &form["sha256"]), (&raw["id"], &raw["sha256"]));
        assert_eq!(form["filename"], "Büro.png");
        assert_eq!(kept_files(harness).len(), 1);
        let path = "/api/v1/media?filename=other.txt";
        let request = harness.request(Method::POST, path).bearer_auth(ADMIN_KEY).body("words");
        let named = harness.answer(request).await.expect(201);
        assert_eq!(
            (&named["filename"], &named["type"]),
            (&"other.txt".into(), &"text/plain".into())
        );
        let shown = harness
            .get(&format!("/api/v1/media/{}", named["id"].as_str().unwrap()))
            .await
            .expect(200);
        assert_eq!(shown, named);
    })
    .await;
}

#[tokio::test]
async fn a_file_has_as_many_bytes_as_are_set() {
    on_both_with(Setup::default().with("MEDIA_BYTES_MAX", "1000"), async |harness| {
        harness.upload("text/plain", &[b'a'; 1000]).await.expect(201);
        harness
            .upload("text/plain", &[b'a'; 1001])
            .await
            .problem(413, "payload_too_large");
        upload_form(harness, Form::new().part("file", part("a", &[b'a'; 1001])))
            .await
            .problem(413, "payload_too_large");
        // One that says beforehand how long it is, is not read.
        let request = harness.request(Method::POST, "/api/v1/media").bearer_auth(ADMIN_KEY);
        let told = request.header(CONTENT_LENGTH, "1000000").body(vec![b'a'; 1_000_000]);
        harness.answer(told).await.problem(413, "payload_too_large");
        assert_eq!(kept_files(harness).len(), 1, "nothing is left of what was too long");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    on_both(async |harness| {
        assert_eq!(
            harness.upload("image/png", b"").await.fields(422, "invalid_field"),
            ["file"]
        );
        let empty = upload_form(harness, Form::new().part("file", part("a", b""))).await;
        assert_eq!(empty.fields(422, "invalid_field"), ["file"]);
        let none = upload_form(harness, Form::new()).await;
        assert!([400, 422].contains(&none.status.as_u16()), "{none:?}");
        let other = upload_form(harness, Form::new().text("caption", "x")).await;
        assert_eq!(other.fields(422, "invalid_field"), ["caption"]);
        let twice = Form::new().part("file", part("a", PNG)).part("file", part("b", PNG));
        assert_eq!(upload_form(harness, twice).await.fields(422, "invalid_field"), ["file"]);
        let named = upload_form(harness, Form::new().part("file", part(&"x".repeat(241), PNG))).await;
        assert_eq!(named.fields(422, "invalid_field"), ["filename"]);
        let request = harness.request(Method::POST, "/api/v1/media").bearer_auth(ADMIN_KEY);
        let no_boundary = request.header(CONTENT_TYPE, "multipart/form-data").body("x");
        harness.answer(no_boundary).await.problem(400, "invalid_form");
        let request = harness.request(Method::POST, "/api/v1/media").bearer_auth(ADMIN_KEY);
        let cut = request
            .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
            .body("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhalf");
        harness.answer(cut).await.problem(400, "invalid_form");
        let request = harness.request(Method::POST, "/api/v1/media").body("x");
        harness.answer(request).await.problem(401, "unauthorized");
        assert!(kept_files(harness).is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_no_message_is_sent_with_goes_after_its_time() {
    on_both(async |harness| {
        let app = harness.hub().app();
        let (unused, used) = (
            harness.upload("text/plain", b"unused").await.expect(201),
            harness.uploaded_picture().await,
        );
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let sent = harness.send(order("+447700900101", "image", &used)).await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(Duration::from_hours(23)).await;
        tidings::media::sweep::sweep(app).await.unwrap();
        assert_eq!(kept_files(harness).len(), 2);
        harness.pass(Duration::from_hours(2)).await;
        tidings::media::sweep::sweep(app).await.unwrap();
        let path = |id: &str| format!("/api/v1/media/{id}");
        harness
            .get(&path(unused["id"].as_str().unwrap()))
            .await
            .problem(404, "not_found");
        assert_eq!(harness.get(&path(&used)).await.expect(200)["unusedAt"], Value::Null);
        assert_eq!(kept_files(harness).len(), 1);
        let again = harness.upload("text/plain", b"unused").await.expect(201);
        assert_ne!(again["id"], unused["id"], "it can be uploaded anew");
        assert_eq!(kept_files(harness).len(), 2);
    })
    .await;
}
