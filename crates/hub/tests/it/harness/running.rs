//! A hub in threads of its own, so that it can end as a process does: in order, or on the spot.

use tidings::clock::Clock;
use tidings::config::Config;
use tidings::ids::Ids;
use tidings::server::Hub;
use tokio::runtime::{Builder, Runtime};

/// A hub that runs.
pub struct Running {
    hub: Hub,
    runtime: Runtime,
}

impl Running {
    /// Starts one.
    #[expect(
        clippy::disallowed_methods,
        reason = "it is awaited at once; what it starts ends with the runtime"
    )]
    pub async fn start(config: Config, clock: Clock) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        // Another start is another process: it makes other ids.
        let ids = Ids::from_system(clock.clone());
        let hub = runtime
            .spawn(Hub::start_with(config, clock, ids))
            .await
            .unwrap()
            .unwrap();
        Self { hub, runtime }
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Ends it as a signal would.
    #[expect(clippy::disallowed_methods, reason = "it is awaited at once")]
    pub async fn stop(self) {
        self.runtime.spawn(self.hub.stop()).await.unwrap();
        self.runtime.shutdown_background();
    }

    /// Ends it where it stands: what it was about to do is not done, and nobody is told.
    pub fn crash(self) {
        self.runtime.shutdown_background();
        drop(self.hub);
    }
}
