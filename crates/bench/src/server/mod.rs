//! The servers that the hub is compared with, and what they share: the way in and the signature.

pub mod bare;
pub mod copy;
mod postgres;
pub mod reference;
mod sqlite;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::webhook::SIGNATURE_HEADER;

/// Meta's bound (`whatsapp.md` 2.2); the hub takes as much.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Where a server says that it is ready; the hub's own path.
pub const READY_PATH: &str = "/health/ready";

/// Serves until the process is ended.
pub async fn serve(listener: TcpListener, router: Router) -> std::io::Result<()> {
    let router = router
        .route(READY_PATH, get(StatusCode::OK))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    axum::serve(listener, router).await
}

/// The app secret, ready to check signatures with.
fn signature_key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// Whether the body bears a signature made with the key.
fn is_signed(key: &hmac::Key, headers: &HeaderMap, body: &Bytes) -> bool {
    let mut signature = [0; 32];
    headers
        .get(SIGNATURE_HEADER)
        .and_then(|value| value.as_bytes().strip_prefix(b"sha256="))
        .is_some_and(|digits| hex::decode_to_slice(digits, &mut signature).is_ok())
        && hmac::verify(key, body, &signature).is_ok()
}

fn acknowledgement() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], r#"{"success":true}"#).into_response()
}
