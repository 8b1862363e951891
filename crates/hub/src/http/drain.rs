//! Letting a body pass that nobody wants.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

/// Lets more of a body pass, so many bytes at most, and until then. Whoever still writes does not read: an answer given now would be lost with the
/// connection.
pub async fn drain(mut body: Body, bytes_max: usize, deadline: Instant) {
    let mut passed = 0;
    while passed <= bytes_max
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        passed += frame.data_ref().map_or(0, Bytes::len);
    }
}
