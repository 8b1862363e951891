//! The supervisor of the hub's background tasks: a fixed, named set, each started again when it fails, all ended stage by stage.
//!
//! Nothing else spawns. A task that panics is logged, counted, and started again after a pause that grows; until it runs again the hub is
//! not ready, so the process does not go on silently without it.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A task that ran for so long had recovered: what it fails with now is a new failure, and its pause starts small again.
const RECOVERED_AFTER: Duration = Duration::from_mins(1);

/// How the tasks are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Workers {
    failing: Arc<Mutex<BTreeMap<String, String>>>,
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

    fn set(&self, name: &str, why: Option<String>) {
        let mut failing = self.failing.lock().expect("no thread panics while it holds this lock");
        match why {
            Some(why) => failing.insert(name.to_owned(), why),
            None => failing.remove(name),
        };
    }
}

/// When a task is ended. Those of one stage end together, and a stage only after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What begins work of its own: calls to Meta, and what is done at intervals.
    Producers,
    /// What others hand work to.
    Keepers,
}

impl Stage {
    /// In the order in which they are ended.
    const ALL: [Self; 2] = [Self::Producers, Self::Keepers];
}

#[derive(Debug)]
struct Running {
    stage: Stage,
    name: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The tasks that run.
#[derive(Debug, Default)]
pub struct Tasks {
    running: Vec<Running>,
}

impl Tasks {
    /// Starts a task that runs until its token is cancelled; one that ends before, or panics, is started again.
    ///
    /// The name is the task's own: under it its failure is told, and taken back once it runs again.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the supervisor that awaits and stops what it spawns"
    )]
    pub fn start<F, T>(&mut self, stage: Stage, name: impl Into<String>, app: &App, run: F)
    where
        F: Fn(App, CancellationToken) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let app = app.clone();
        let name = name.into();
        let stop = CancellationToken::new();
        let (token, own_name) = (stop.clone(), name.clone());
        let task = tokio::spawn(async move { supervise(&app, &own_name, &token, run).await });
        self.running.push(Running {
            stage,
            name,
            stop,
            task,
        });
    }

    /// Ends the tasks stage by stage, within a time limit altogether that the stages share alike: however slow those of one stage are,
    /// those of the next have their time.
    pub async fn stop(self, limit: Duration) {
        let share = limit / u32::try_from(Stage::ALL.len()).expect("there are few stages");
        let mut running = self.running;
        for stage in Stage::ALL {
            let (ending, later) = running.into_iter().partition(|task: &Running| task.stage == stage);
            running = later;
            end(ending, share).await;
        }
    }
}

/// Runs a task until its token is cancelled; one that ends before, or panics, is started again after a pause that grows.
///
/// For a task that has tasks of its own, which it awaits.
pub async fn supervise<F, T>(app: &App, name: &str, stop: &CancellationToken, run: F)
where
    F: Fn(App, CancellationToken) -> T,
    T: Future<Output = ()>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let began = tokio::time::Instant::now();
        let ended = AssertUnwindSafe(run(app.clone(), stop.clone())).catch_unwind().await;
        if stop.is_cancelled() {
            return;
        }
        if began.elapsed() >= RECOVERED_AFTER {
            pause = FIRST_PAUSE;
        }
        let why = if ended.is_err() { "it panicked" } else { "it ended" };
        tracing::error!(task = name, why, "a background task failed; it is started again");
        app.workers.set(name, Some(why.to_owned()));
        app.metrics.count_task_restart();
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
        app.workers.set(name, None);
        if stop.is_cancelled() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Ends tasks together.
async fn end(tasks: Vec<Running>, limit: Duration) {
    for task in &tasks {
        task.stop.cancel();
    }
    let deadline = tokio::time::Instant::now() + limit;
    join_all(tasks.into_iter().map(|mut running| async move {
        if tokio::time::timeout_at(deadline, &mut running.task).await.is_err() {
            tracing::warn!(
                task = running.name,
                "a background task did not end in time; what it was doing is found and done again"
            );
            running.task.abort();
        }
    }))
    .await;
}
