//! An object store of the tests' own, that understands of S3 what is asked of it. The tests that kill hubs use it too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Router, serve};
use tokio::net::TcpListener;

/// A bucket of its own, in memory.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// What it holds, by key.
    pub objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    parts: Arc<Mutex<BTreeMap<u32, Bytes>>>,
    /// How many requests were not signed with its key.
    pub unsigned: Arc<Mutex<u32>>,
}

impl Bucket {
    /// Starts one; answers with the variables by which a hub keeps its files in it.
    #[expect(clippy::disallowed_methods, reason = "the object store ends with the test")]
    pub async fn start(&self) -> Vec<(&'static str, String)> {
        let router = Router::new()
            .route("/files/{*key}", any(answer))
            .with_state(self.clone());
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { serve(listener, router).await.unwrap() });
        vec![
            ("MEDIA_S3_BUCKET", "files".to_owned()),
            ("MEDIA_S3_ENDPOINT", format!("http://{address}")),
            ("MEDIA_S3_PREFIX", "hub/media".to_owned()),
            ("MEDIA_S3_ACCESS_KEY_ID", "the-key".to_owned()),
            ("MEDIA_S3_SECRET_ACCESS_KEY", "the-secret".to_owned()),
        ]
    }

    /// How long each of its objects is.
    pub fn sizes(&self) -> Vec<usize> {
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
