//! The server that does the least: it checks the signature and answers. It promises nothing.

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;

use super::{acknowledgement, is_signed, signature_key};
use crate::webhook::PATH;

/// Its one route, for bodies signed with `secret`.
pub fn router(secret: &str) -> Router {
    Router::new()
        .route(PATH, post(receive))
        .with_state(signature_key(secret))
}

async fn receive(State(key): State<hmac::Key>, headers: HeaderMap, body: Bytes) -> Response {
    if is_signed(&key, &headers, &body) {
        acknowledgement()
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}
