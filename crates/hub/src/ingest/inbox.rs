//! The way in: through the journal on the embedded store, if it can be used, and straight into the store otherwise.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::ingest::journal::{self, Found, Journal};
use crate::ingest::{Pending, writer};

/// How long another process may have the journal, at the start, before this one begins without: as long as it takes to end when it is killed.
const JOURNAL_WITHIN: Duration = Duration::from_millis(500);
/// How long this one goes on without, before it tries again: the other one may have left something there.
const JOURNAL_AGAIN: Duration = Duration::from_secs(5);

/// Where what comes in comes out.
#[derive(Debug)]
pub struct Inbox {
    pending: mpsc::Receiver<Pending>,
    /// The journal, once it is open and until it is used, with what it had.
    journal: Option<(Journal, Vec<Found>)>,
}

impl Inbox {
    pub(super) fn new(pending: mpsc::Receiver<Pending>) -> Self {
        Self { pending, journal: None }
    }

    /// Opens the journal, if the store has one: from then on it is known what is waiting in it.
    pub async fn open_journal(&mut self, app: &App) {
        self.open_journal_within(app, JOURNAL_WITHIN).await;
    }

    async fn open_journal_within(&mut self, app: &App, within: Duration) {
        let Some(database) = app.store.file() else { return };
        let until = Instant::now() + within;
        while self.journal.is_none() {
            let (database, waiting) = (database.to_owned(), Arc::clone(&app.ingest.waiting));
            let opened = tokio::task::spawn_blocking(move || Journal::open(&database, &waiting)).await;
            match opened.map_err(std::io::Error::other).flatten() {
                Ok(opened) => self.journal = Some(opened),
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                    tokio::time::sleep(JOURNAL_WITHIN / 10).await;
                }
                Err(error) => {
                    // Whatever is in it is counted once it is open.
                    app.ingest.waiting.store(0, Ordering::Relaxed);
                    tracing::error!(
                        %error,
                        "the journal of notifications, beside the database, cannot be used; until it can, each is answered once it is in the store"
                    );
                    return;
                }
            }
        }
    }
}

/// Runs until the way in is closed, or until told to stop and nothing waits any more.
pub async fn run(app: App, inbox: &mut Inbox, stop: CancellationToken) {
    // Told by the journal, when nothing can come any more.
    let never = CancellationToken::new();
    let mut within = JOURNAL_WITHIN;
    loop {
        inbox.open_journal_within(&app, within).await;
        // Nothing is taken in meanwhile.
        within = Duration::ZERO;
        let Inbox { pending, journal } = inbox;
        if let Some((journal, found)) = journal.take() {
            let (kept, mut waiting) = mpsc::channel(app.config.webhooks.max_queue);
            let (journal, ()) = tokio::join!(
                journal::run(&app, journal, found, pending, kept, &stop),
                writer::take_in_all(&app, &mut waiting, &never, &stop, std::future::pending()),
            );
            journal::wipe(journal).await;
            return;
        }
        let again = async {
            match app.store.file() {
                Some(_) => tokio::time::sleep(JOURNAL_AGAIN).await,
                None => std::future::pending().await,
            }
        };
        writer::take_in_all(&app, pending, &stop, &stop, again).await;
        if pending.is_closed() && pending.is_empty() {
            return;
        }
    }
}
