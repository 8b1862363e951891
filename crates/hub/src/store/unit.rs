//! A unit of work on its way to a database thread, and its answer back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::StoreError;
use super::tx::Tx;

/// Whether a unit's answer has to wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Survives a power cut once answered.
    Now,
    /// Survives a crash of the process once answered; a power cut may take it back. For work that would be found undone and done again.
    Later,
}

/// What a unit is allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Ask only.
    Read,
    /// Ask and change.
    Write(Flush),
}

/// What becomes of what a unit has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    TakeBack,
}

/// A unit of work with its type forgotten.
pub(super) struct Job {
    unit: Box<dyn Unit>,
    mode: Mode,
}

trait Unit: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Verdict;
    fn answer(self: Box<Self>);
    fn fail(self: Box<Self>, error: StoreError);
    fn should_retry(&self) -> bool;
}

struct Work<F, T, E> {
    body: F,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl Job {
    pub(super) fn new<F, T, E>(mode: Mode, work: F) -> (Self, oneshot::Receiver<Result<T, E>>)
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        let (answer, receiver) = oneshot::channel();
        (
            Self {
                unit: Box::new(Work {
                    body: work,
                    result: None,
                    answer,
                }),
                mode,
            },
            receiver,
        )
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn run(&mut self, tx: &mut Tx<'_>) -> Verdict {
        self.unit.run(tx)
    }

    /// True if the last run ended in a conflict with another transaction, so that running it again may succeed.
    pub(super) fn should_retry(&self) -> bool {
        self.unit.should_retry()
    }

    pub(super) fn answer(self) {
        self.unit.answer();
    }

    pub(super) fn fail(self, error: StoreError) {
        self.unit.fail(error);
    }
}

/// What a unit may fail with: its own error, which can also carry the store's.
pub trait UnitError: From<StoreError> + Send + 'static {
    /// The store's error, if that is what it is.
    fn store_error(&self) -> Option<&StoreError>;
}

impl UnitError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl<F, T, E> Unit for Work<F, T, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: UnitError,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Verdict {
        // A panic is a bug of one unit; the thread and the units beside it go on.
        let result =
            catch_unwind(AssertUnwindSafe(|| (self.body)(tx))).unwrap_or_else(|_| Err(StoreError::Panicked.into()));
        let verdict = if result.is_ok() {
            Verdict::Keep
        } else {
            Verdict::TakeBack
        };
        self.result = Some(result);
        verdict
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            // Nobody waits for it any more if the caller was cancelled; the work stands all the same.
            let _ = self.answer.send(result);
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        // The unit's own error says more than the transaction's.
        let result = match self.result {
            Some(Err(own)) => Err(own),
            Some(Ok(_)) | None => Err(error.into()),
        };
        let _ = self.answer.send(result);
    }

    fn should_retry(&self) -> bool {
        matches!(&self.result, Some(Err(error)) if error.store_error().is_some_and(StoreError::is_conflict))
    }
}
