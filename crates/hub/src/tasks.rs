//! The supervisor of the hub's background tasks: a fixed, named set, each started again when it fails, all ended in order.
//!
//! Nothing else spawns. A task that panics is logged, counted, and started again after a pause that grows; until it runs again the hub is
//! not ready, so the process does not go on silently without it.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How the tasks are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Workers {
    failing: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Workers {
    /// Whether all run; otherwise which do not, and why.
    pub fn healthy(&self) -> Result<(), Vec<String>> {
        let failing = self.failing.lock().expect("no thread panics while it holds this lock");
        if failing.is_empty() {
            return Ok(());
        }
        Err(failing.iter().map(|(name, why)| format!("{name}: {why}")).collect())
    }

    fn set(&self, name: &'static str, why: Option<String>) {
        let mut failing = self.failing.lock().expect("no thread panics while it holds this lock");
        match why {
            Some(why) => failing.insert(name, why),
            None => failing.remove(name),
        };
    }
}

/// The tasks, in the order in which they are ended.
#[derive(Debug)]
pub struct Tasks {
    running: Vec<(&'static str, CancellationToken, JoinHandle<()>)>,
    workers: Workers,
}

impl Tasks {
    /// None yet.
    pub fn new(workers: Workers) -> Self {
        Self {
            running: Vec::new(),
            workers,
        }
    }

    /// Starts a task that runs until its token is cancelled; one that ends before, or panics, is started again.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the supervisor that awaits and stops what it spawns"
    )]
    pub fn start<F, T>(&mut self, name: &'static str, app: &App, run: F)
    where
        F: Fn(App, CancellationToken) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let app = app.clone();
        let stop = CancellationToken::new();
        let workers = self.workers.clone();
        let token = stop.clone();
        let supervise = async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let ended = AssertUnwindSafe(run(app.clone(), token.clone())).catch_unwind().await;
                if token.is_cancelled() {
                    return;
                }
                let why = if ended.is_err() { "it panicked" } else { "it ended" };
                tracing::error!(task = name, why, "a background task failed; it is started again");
                workers.set(name, Some(why.to_owned()));
                app.metrics.count_task_restart();
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = token.cancelled() => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                workers.set(name, None);
            }
        };
        self.running.push((name, stop, tokio::spawn(supervise)));
    }

    /// Ends the tasks one after the other, within a time limit altogether.
    pub async fn stop(self, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        for (name, stop, mut task) in self.running {
            stop.cancel();
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!(
                    task = name,
                    "a background task did not end in time; what it was doing is found and done again"
                );
                task.abort();
            }
        }
    }
}
