//! Removes what nothing refers to any more: uploads that no message came to use, and files of messages whose content is gone.
//!
//! A file is doomed in the store first, so that nobody comes to refer to it, then removed from the media store, then from the store. A crash
//! between leaves it doomed, and it is looked at again.

use std::time::Duration;

use super::millis;
use crate::app::App;
use crate::store::StoreError;

/// How many are looked at in one unit.
const BATCH: u32 = 200;
/// When a removal is tried again that was not finished.
const AGAIN_AFTER: Duration = Duration::from_mins(10);
/// How long what Meta had, or did not take, is remembered after it is over: longer than Meta keeps any file.
const UPLOADS_KEPT: Duration = Duration::from_hours(40 * 24);

/// Removes what is due to go.
pub async fn sweep(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    while app
        .store
        .write_unflushed(move |tx| tx.remove_unused_media(now, BATCH))
        .await?
        == BATCH as usize
    {}
    loop {
        let doomed = app
            .store
            .write(move |tx| tx.doom_media_files(now, now + millis(AGAIN_AFTER), BATCH))
            .await?;
        if doomed.is_empty() {
            break;
        }
        for sha256 in doomed {
            if let Err(error) = app.media.depot.remove(sha256).await {
                tracing::warn!(%error, file = %sha256, "a file that nothing refers to cannot be removed; it is tried again");
                continue;
            }
            app.store
                .write_unflushed(move |tx| tx.remove_media_file(sha256))
                .await?;
        }
    }
    let before = now - millis(UPLOADS_KEPT);
    app.store
        .write_unflushed(move |tx| tx.prune_media_uploads(before, 1_000))
        .await?;
    Ok(())
}
