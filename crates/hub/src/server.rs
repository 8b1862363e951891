//! The running hub: put together, started in order, stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tidings_meta::client::{ClientOptions, GraphClient};
use tidings_meta::notification::Platform;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts};
use crate::channels::{Channel, Channels};
use crate::clock::Clock;
use crate::config::Config;
use crate::conversations::model::ChannelId;
use crate::ids::Ids;
use crate::ingest::{Ingest, projector, writer};
use crate::metrics::Metrics;
use crate::sending::Senders;
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

/// Runs a hub until `shutdown` is ready, and stops it.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let hub = Hub::start(config).await?;
    tracing::info!(address = %hub.address(), store = hub.app().store.engine(), version = env!("CARGO_PKG_VERSION"), "the hub is running");
    shutdown.await;
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
        let store = Store::open_trusting(&config.database_url, config.database_ca_cert_path.as_deref())
            .await
            .context("the store cannot be opened")?;
        let migrations = store
            .migrate(clock.now())
            .await
            .context("the store cannot be brought up to date")?;
        if !migrations.is_empty() {
            tracing::info!(?migrations, "the store was brought up to date");
        }
        let channels = connect(&config)?;
        write_down(&store, &channels, &clock).await?;
        let keys = access::Keys::load(&config).context("the API key cannot be made ready")?;
        let listen = config.listen;
        let drain = STOP_WITHIN / 2;
        let (ingest, pending) = Ingest::new(&config.webhooks, channels.clone(), ids.clone());
        let workers = Workers::default();
        let app = App::new(Parts {
            metrics: Metrics::new(),
            keys,
            senders: Senders::new(&channels),
            stream: Stream::new(),
            workers: workers.clone(),
            projector: Notify::new(),
            config,
            store,
            clock,
            ids,
            channels,
            ingest,
        });
        // Before the outbox is touched: a second hub by mistake, on the same address and store, ends here.
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("{listen} cannot be listened on; set TIDINGS_LISTEN to a free address"))?;
        let address = listener
            .local_addr()
            .context("the address that is listened on cannot be read")?;
        sending::recover(&app)
            .await
            .context("what was being sent at the last stop cannot be looked through")?;

        let mut tasks = Tasks::new(workers);
        tasks.start(Stage::Producers, "schedule", &app, schedule::run);
        tasks.start(Stage::Producers, "profiles", &app, conversations::profiles::run);
        for channel in app.channels.all() {
            let id = channel.id.clone();
            tasks.start(Stage::Producers, format!("sender {id}"), &app, move |app, stop| {
                sending::sender::run(app, id.clone(), stop)
            });
        }
        let pending = Arc::new(Mutex::new(pending));
        tasks.start(Stage::Keepers, "webhook-writer", &app, move |app, stop| {
            let pending = Arc::clone(&pending);
            // Held by one run at a time; the next one goes on where a failed one left off.
            async move { writer::run(app, &mut *pending.lock().await, stop).await }
        });
        tasks.start(Stage::Keepers, "projector", &app, projector::run);
        tasks.start(Stage::Keepers, "stream", &app, crate::stream::run);

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

fn connect(config: &Config) -> anyhow::Result<Channels> {
    let graph = &config.graph;
    let client = |base_url: &str| {
        let mut options = ClientOptions::new(base_url.to_owned(), graph.version.clone());
        options.connect_timeout = graph.connect_timeout;
        options.request_timeout = graph.request_timeout;
        GraphClient::new(options).context("the client for Meta cannot be set up")
    };
    let whatsapp = client(&graph.whatsapp_base_url)?;
    let instagram = client(&graph.instagram_base_url)?;
    let channels = config.channels.iter().map(|channel| Channel {
        id: ChannelId(channel.id.clone()),
        platform: channel.platform,
        account: channel.account.clone(),
        business_account: channel.business_account.clone(),
        access_token: channel.access_token.clone(),
        client: match channel.platform {
            Platform::WhatsApp => whatsapp.clone(),
            Platform::Instagram => instagram.clone(),
        },
    });
    Ok(Channels::new(channels.collect()))
}

async fn write_down(store: &Store, channels: &Channels, clock: &Clock) -> anyhow::Result<()> {
    let now = clock.now_millis();
    for channel in channels.all() {
        let channel = channel.clone();
        let name = channel.id.clone();
        let written = store
            .write(move |tx| {
                tx.upsert_channel(
                    &channel.id,
                    channel.platform.as_str(),
                    &channel.account,
                    channel.business_account.as_deref(),
                    now,
                )
            })
            .await?;
        anyhow::ensure!(
            written,
            "channel `{name}` has an account that another channel had before; give it that channel's name, or remove that one"
        );
    }
    Ok(())
}
