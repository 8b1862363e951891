//! Waits until Meta has answered to a message: for callers that want to know at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::conversations::model::{Message, Status};
use crate::ids::MessageId;
use crate::store::StoreError;

/// How long somebody may wait.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// How many may wait at once; further ones are answered at once that the message is queued.
const WAITERS_MAX: usize = 256;

/// How many wait.
#[derive(Debug, Default)]
pub struct Waiters {
    count: AtomicUsize,
}

struct Seat<'a>(&'a Waiters);

impl Waiters {
    fn seat(&self) -> Option<Seat<'_>> {
        let take = |count: usize| (count < WAITERS_MAX).then_some(count + 1);
        self.count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .ok()
            .map(|_| Seat(self))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits until a message is accepted by Meta or has ended, for so long at most; answers with it, or `None` if it still waits.
pub async fn until_answered(app: &App, id: MessageId, wait: Duration) -> Result<Option<Message>, StoreError> {
    let Some(_seat) = app.senders.waiters().seat() else {
        return Ok(None);
    };
    // Whatever is told from here on is not missed; what was before is in the store.
    let mut told = app.stream.listen();
    let answered = async {
        loop {
            let message = app.store.read(move |tx| tx.message_by_id(id)).await?;
            match message {
                Some(message) if matches!(message.status, Status::Queued | Status::Sending) => {}
                other => return Ok(other),
            }
            loop {
                match told.recv().await {
                    Ok(told) if told.message_id == Some(id) => break,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Ok(None),
                }
            }
        }
    };
    tokio::select! {
        biased;
        answered = tokio::time::timeout(wait.min(WAIT_MAX), answered) => answered.unwrap_or(Ok(None)),
        () = app.stream.ended() => Ok(None),
    }
}
