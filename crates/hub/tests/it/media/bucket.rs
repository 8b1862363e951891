//! Files in a bucket: an object store of the test's own, that understands of S3 what is asked of it.

#![expect(clippy::disallowed_methods, reason = "the object store ends with the test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Router, serve};
use reqwest::header::{HeaderMap as Asked, HeaderValue, RANGE};
use tokio::net::TcpListener;

use super::fetched::kept_files;
use super::picture;
use crate::harness::{NUMBER, Setup, on_both_with};

/// More than goes in one part.
const LARGE: usize = 20 * 1024 * 1024;

#[derive(Debug, Clone, Default)]
struct Bucket {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    parts: Arc<Mutex<BTreeMap<u32, Bytes>>>,
    unsigned: Arc<Mutex<u32>>,
}

impl Bucket {
    async fn start(&self) -> String {
        let router = Router::new()
            .route("/files/{*key}", any(answer))
            .with_state(self.clone());
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    fn sizes(&self) -> Vec<usize> {
        self.objects.lock().unwrap().values().map(Bytes::len).collect()
    }
}

async fn answer(
    State(bucket): State<Bucket>,
    method: Method,
    Path(key): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let signature = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !signature.is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 Credential=the-key/")) {
        *bucket.unsigned.lock().unwrap() += 1;
        return StatusCode::FORBIDDEN.into_response();
    }
    let part = query.get("partNumber").map(|number| number.parse::<u32>().unwrap());
    match (method, part) {
        (Method::POST, _) if query.contains_key("uploads") => {
            format!("<InitiateMultipartUploadResult><Bucket>files</Bucket><Key>{key}</Key><UploadId>1</UploadId></InitiateMultipartUploadResult>")
                .into_response()
        }
        (Method::PUT, Some(number)) => {
            bucket.parts.lock().unwrap().insert(number, body);
            [(header::ETAG, format!("\"part-{number}\""))].into_response()
        }
        (Method::POST, _) => {
            let parts = std::mem::take(&mut *bucket.parts.lock().unwrap());
            let whole: Vec<u8> = parts.values().flat_map(|part| part.iter().copied()).collect();
            bucket.objects.lock().unwrap().insert(key.clone(), whole.into());
            format!("<CompleteMultipartUploadResult><Key>{key}</Key><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>")
                .into_response()
        }
        (Method::PUT, None) => {
            bucket.objects.lock().unwrap().insert(key, body);
            [(header::ETAG, "\"whole\"")].into_response()
        }
        (Method::DELETE, _) => {
            bucket.objects.lock().unwrap().remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        (Method::GET | Method::HEAD, _) => {
            let found = bucket.objects.lock().unwrap().get(&key).cloned();
            found.map_or_else(
                || StatusCode::NOT_FOUND.into_response(),
                |object| object_of(&object, headers.get(header::RANGE)),
            )
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn object_of(object: &Bytes, range: Option<&axum::http::HeaderValue>) -> Response {
    let told = [
        (header::ETAG, "\"whole\"".to_owned()),
        (header::LAST_MODIFIED, "Thu, 26 Nov 2026 12:00:00 GMT".to_owned()),
    ];
    let range = range.and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    match range {
        Some((first, last)) => {
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let last = last.min(object.len() - 1);
            let place = format!("bytes {first}-{last}/{}", object.len());
            let part = object.slice(first..=last);
            (
                StatusCode::PARTIAL_CONTENT,
                told,
                [(header::CONTENT_RANGE, place)],
                Body::from(part),
            )
                .into_response()
        }
        None => (told, Body::from(object.clone())).into_response(),
    }
}

#[tokio::test]
async fn files_go_into_a_bucket_and_come_out_of_it() {
    let bucket = Bucket::default();
    let endpoint = bucket.start().await;
    let setup = Setup::default()
        .with("MEDIA_S3_BUCKET", "files")
        .with("MEDIA_S3_ENDPOINT", &endpoint)
        .with("MEDIA_S3_PREFIX", "hub/media")
        .with("MEDIA_S3_ACCESS_KEY_ID", "the-key")
        .with("MEDIA_S3_SECRET_ACCESS_KEY", "the-secret");
    let kept = bucket.clone();
    on_both_with(setup, async |harness| {
        kept.objects.lock().unwrap().clear();
        let large = vec![b'x'; LARGE];
        let file = harness.upload("text/plain", &large).await.expect(201);
        assert_eq!(kept.sizes(), [LARGE]);
        let link = file["link"].as_str().unwrap();
        let asked: Asked = [(RANGE, HeaderValue::from_static("bytes=5-9"))].into_iter().collect();
        let (status, headers, bytes) = harness.open(link, asked).await;
        assert_eq!((status, &bytes[..]), (206, &b"xxxxx"[..]));
        assert_eq!(headers["content-range"], format!("bytes 5-9/{LARGE}"));
        let (status, _, bytes) = harness.open(link, Asked::new()).await;
        assert_eq!((status, bytes.len()), (200, LARGE));

        harness
            .sandbox
            .write("amara", NUMBER, picture("https://pictures.example/1.jpg"))
            .unwrap();
        harness.projected().await;
        harness.file_stored().await;
        assert_eq!(kept.sizes().len(), 2);
        assert!(
            kept.objects
                .lock()
                .unwrap()
                .keys()
                .all(|key| key.starts_with("hub/media/"))
        );
        assert!(kept_files(harness).is_empty(), "nothing is left on the disk");

        harness.pass(std::time::Duration::from_hours(25)).await;
        tidings::media::sweep::sweep(harness.hub().app()).await.unwrap();
        assert_eq!(kept.sizes().len(), 1, "what was not used is gone");
    })
    .await;
    assert_eq!(*bucket.unsigned.lock().unwrap(), 0);
}
