//! The running hub: put together, started in order, stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tidings_meta::client::{ClientOptions, GraphClient};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts};
use crate::channels::{self, Channels};
use crate::clock::Clock;
use crate::config::Config;
use crate::crypto::Keyring;
use crate::flags::Flags;
use crate::ids::Ids;
use crate::ingest::inbox::{self, Inbox};
use crate::ingest::silence::Hearings;
use crate::ingest::{Ingest, projector};
use crate::integrations::reels::{self, Reels};
use crate::media::{self, MediaStore};
use crate::metrics::Metrics;
use crate::sending::Senders;
use crate::sending::lease::{self, Leases};
use crate::store::Store;
use crate::stream::Stream;
use crate::tasks::{Stage, Tasks, Workers};
use crate::{access, conversations, routes, schedule, sending};

/// How long stopping may take: requests under way, then calls to Meta under way.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A hub that runs.
#[derive(Debug)]
pub struct Hub {
    app: App,
    address: SocketAddr,
    tasks: Tasks,
    server: JoinHandle<()>,
    stop: CancellationToken,
}

/// Runs a hub until `shutdown` is ready, and stops it. Whenever `reread` is, the hub takes over what the settings now say of channels, app secrets and verify tokens.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()>,
    mut reread: impl AsyncFnMut() -> Config,
) -> anyhow::Result<()> {
    let hub = Hub::start(config).await?;
    tracing::info!(address = %hub.address(), store = hub.app().store.engine(), version = env!("CARGO_PKG_VERSION"), "the hub is running");
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            config = reread() => hub.take_over(&config).await,
        }
    }
    tracing::info!("stopping");
    hub.stop().await;
    Ok(())
}

impl Hub {
    /// Opens and migrates the store, starts every task, and serves.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let ids = Ids::from_system(clock.clone());
        Self::start_with(config, clock, ids).await
    }

    /// Like [`start`](Self::start), with a clock and ids of the caller's own.
    #[expect(
        clippy::disallowed_methods,
        reason = "the server itself, which is awaited when the hub stops"
    )]
    pub async fn start_with(config: Config, clock: Clock, ids: Ids) -> anyhow::Result<Self> {
        let works = assemble(config, clock, ids).await?;
        let listen = works.app.config.listen;
        let drain = STOP_WITHIN / 2;
        // Before the outbox is touched: a second hub by mistake, on the same address and store, ends here.
        let listener = crate::http::server::listen(listen)
            .with_context(|| format!("{listen} cannot be listened on; set TIDINGS_LISTEN to a free address"))?;
        let address = listener
            .local_addr()
            .context("the address that is listened on cannot be read")?;
        let (app, tasks) = works.start().await?;

        let stop = CancellationToken::new();
        let (router, token, serving) = (routes::router(app.clone()), stop.clone(), app.clone());
        let server = tokio::spawn(async move {
            crate::http::server::serve(listener, router, &serving.config.http, token, drain).await;
        });
        Ok(Self {
            app,
            address,
            tasks,
            server,
            stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its parts.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Takes over what settings that were read again say of channels and their credentials, app secrets and verify tokens, without a restart.
    pub async fn take_over(&self, config: &Config) {
        let app = &self.app;
        app.ingest.trusts.take_over(&config.webhooks);
        let taken = channels::settings::take_over(&app.store, &app.channels, &config.channels, &app.clock, &app.ids);
        let taken = match taken.await {
            Ok(()) => channels::follow::look_anew(app).await.map_err(anyhow::Error::new),
            Err(error) => Err(anyhow::Error::new(error)),
        };
        match taken {
            Ok(()) => tracing::info!("channels, app secrets and verify tokens of the settings were read again"),
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the channels of the settings could not be taken over; what was known holds"
            ),
        }
    }

    /// Stops: no new requests, then what is under way, then the tasks, then the store.
    pub async fn stop(self) {
        self.app.stream.close();
        self.stop.cancel();
        // The server bounds its own stopping, and has nothing to tell.
        let _ = self.server.await;
        self.tasks.stop(STOP_WITHIN / 2).await;
        let store = self.app.store.clone();
        drop(self.app);
        store.close().await;
    }
}

/// A hub without its server: what [`Hub`] puts on a socket, and a simulation runs without one.
#[derive(Debug)]
pub struct Works {
    /// Its parts.
    pub app: App,
    /// Where what Meta posts comes out.
    pub inbox: Inbox,
}

impl Works {
    /// Brings the store up to date, and puts the parts together; nothing runs yet.
    pub async fn prepare(
        config: Config,
        store: Store,
        channels: Channels,
        clock: Clock,
        ids: Ids,
    ) -> anyhow::Result<Self> {
        let migrations = store
            .migrate(clock.now())
            .await
            .context("the store cannot be brought up to date")?;
        if !migrations.is_empty() {
            tracing::info!(?migrations, "the store was brought up to date");
        }
        let (metrics, flags) = (Metrics::new(), Flags::default());
        channels::settings::check_key(&store, &channels)
            .await
            .context("the master key is not the one that the store was written with")?;
        channels::settings::take_over(&store, &channels, &config.channels, &clock, &ids)
            .await
            .context("the channels of the settings cannot be taken over")?;
        channels::follow::look(&store, &channels, &flags, &metrics)
            .await
            .context("the channels cannot be read")?;
        let media = MediaStore::new(&config, channels.link_key().clone())
            .context("the bucket of the media store cannot be used; check the variables MEDIA_S3_*")?;
        let keys = access::Keys::load(&config).context("the API key cannot be made ready")?;
        let reels = Reels::new(&config).context("the client for files of reels cannot be set up")?;
        let (ingest, inbox) = Ingest::new(
            &config.webhooks,
            config.consent_words.clone(),
            channels.clone(),
            ids.clone(),
        );
        let app = App::new(Parts {
            metrics,
            keys,
            senders: Senders::new(config.sending.parallel_total),
            leases: Leases::new(ids.next(), config.sending.lease),
            stream: Stream::new(),
            reels,
            workers: Workers::default(),
            projector: Notify::new(),
            hearings: Hearings::default(),
            templates: Notify::new(),
            media,
            config,
            store,
            clock,
            ids,
            channels,
            flags,
            ingest,
        });
        Ok(Self { app, inbox })
    }

    /// Takes up what the last process left, and starts every task.
    pub async fn start(self) -> anyhow::Result<(App, Tasks)> {
        let Self { app, mut inbox } = self;
        sending::recover(&app)
            .await
            .context("what was being sent at the last stop cannot be looked through")?;

        media::recover(&app)
            .await
            .context("what was being done with files at the last stop cannot be looked through")?;
        inbox.open_journal(&app).await;

        let mut tasks = Tasks::default();
        tasks.start(Stage::Producers, "schedule", &app, schedule::run);
        tasks.start(Stage::Producers, "profiles", &app, conversations::profiles::run);
        tasks.start(Stage::Producers, "mentions", &app, conversations::mentions::run);
        tasks.start(Stage::Producers, "templates", &app, channels::templates::sync::run);
        tasks.start(Stage::Producers, "numbers", &app, channels::numbers::run);
        tasks.start(Stage::Producers, "downloads", &app, media::downloads::run);
        tasks.start(Stage::Producers, "uploads", &app, media::uploads::run);
        tasks.start(Stage::Producers, "senders", &app, sending::fleet::run);
        tasks.start(Stage::Producers, "channels", &app, channels::follow::run);
        tasks.start(Stage::Producers, "reels", &app, reels::run);
        tasks.start(Stage::Producers, "media-watch", &app, reels::watch::run);
        let inbox = Arc::new(Mutex::new(inbox));
        tasks.start(Stage::Keepers, "webhook-writer", &app, move |app, stop| {
            let inbox = Arc::clone(&inbox);
            // Held by one run at a time; the next one goes on where a failed one left off.
            async move { inbox::run(app, &mut *inbox.lock().await, stop).await }
        });
        // After the senders have ended: who lets go of a channel must not be sending for it.
        tasks.start(Stage::Keepers, "leases", &app, lease::run);
        tasks.start(Stage::Keepers, "projector", &app, projector::run);
        tasks.start(Stage::Keepers, "stream", &app, crate::stream::run);
        Ok((app, tasks))
    }
}

/// Opens the store that the settings name, and puts the parts of the hub together on it; nothing runs yet.
pub async fn assemble(config: Config, clock: Clock, ids: Ids) -> anyhow::Result<Works> {
    let store = Store::open_trusting(&config.database_url, config.database_ca_cert_path.as_deref())
        .await
        .context("the store cannot be opened")?;
    let channels = connect(&config)?;
    Works::prepare(config, store, channels, clock, ids).await
}

fn connect(config: &Config) -> anyhow::Result<Channels> {
    let keyring = Keyring::load(config).context("the master key cannot be made ready")?;
    let graph = &config.graph;
    let client = |base_url: &str| {
        let mut options = ClientOptions::new(base_url.to_owned(), graph.version.clone());
        options.connect_timeout = graph.connect_timeout;
        options.request_timeout = graph.request_timeout;
        // A call that ends must not close what the next one needs.
        options.pool_max_idle = config.sending.parallel;
        GraphClient::new(options).context("the client for Meta cannot be set up")
    };
    let (whatsapp, instagram) = (client(&graph.whatsapp_base_url)?, client(&graph.instagram_base_url)?);
    Ok(Channels::new(keyring, whatsapp, instagram))
}
