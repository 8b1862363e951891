//! What happened, live: `GET /api/v1/stream`.

use tokio_util::sync::CancellationToken;

use crate::app::App;

pub mod model;

/// What happens, live.
#[derive(Debug, Default)]
pub struct Stream;

impl Stream {
    /// Nothing yet.
    pub fn new() -> Self {
        Self
    }

    /// Something was written.
    pub fn nudge(&self) {}

    /// Ends the live streams.
    pub fn close(&self) {}
}

/// Runs until told to stop.
pub async fn run(_: App, stop: CancellationToken) {
    stop.cancelled().await;
}
