//! The `tidings-bench` binary: the load generator, the servers to compare with, and the comparison.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use clap::{Args, Parser, Subcommand};
use tidings_bench::feed;
use tidings_bench::load::{self, Schedule};
use tidings_bench::run::{self, Engine, Settings};
use tidings_bench::send;
use tidings_bench::server::{self, bare, copy, reference};
use tidings_bench::webhook::{Shape, Webhooks};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Measures how fast the hub takes webhooks, against servers that do less.
#[derive(Parser)]
#[command(name = "tidings-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Post webhooks to a server and print what came back.
    Load(LoadOptions),
    /// Compare the hub with both servers, in turns, and print what came out.
    Run(RunOptions),
    /// Let the hub drain a backlog, and print how that went.
    Send(SendOptions),
    /// Compare a warm answer of the feed of reels with a server that only gives the same bytes.
    Feed(FeedOptions),
    /// The server that only checks the signature.
    ServeBare(ServeOptions),
    /// The server that gives what another one gave once.
    ServeCopy {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// The other one.
        #[arg(long)]
        of: SocketAddr,
        /// What is asked for there.
        #[arg(long)]
        path: String,
    },
    /// The server that also stores each message once, flushed before it answers.
    ServeReference {
        #[command(flatten)]
        serve: ServeOptions,
        /// sqlite:PATH or postgres://…
        #[arg(long)]
        store: reference::Store,
    },
}

#[derive(Args)]
struct LoadOptions {
    /// The server's address.
    #[arg(long)]
    address: SocketAddr,
    #[command(flatten)]
    shape: ShapeOptions,
    /// Connections that post at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// How long to post.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Post until this many were acknowledged, however long it takes.
    #[arg(long, conflicts_with = "rate")]
    requests: Option<u64>,
    /// Post this many requests a second, however slow the answers are.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
}

#[derive(Args)]
struct ShapeOptions {
    /// Meta's id of the number that the messages were sent to.
    #[arg(long, default_value_t = Shape::default().phone_number_id)]
    phone_number_id: String,
    /// The app secret that webhooks are signed with.
    #[arg(long, default_value_t = Shape::default().secret)]
    secret: String,
    /// How many people write.
    #[arg(long, default_value_t = Shape::default().customers)]
    customers: u32,
    /// Decides the message ids; without it, ids that were not used before.
    #[arg(long)]
    seed: Option<u64>,
}

impl ShapeOptions {
    fn shape(self) -> Shape {
        Shape {
            phone_number_id: self.phone_number_id,
            secret: self.secret,
            customers: self.customers,
            seed: self.seed.unwrap_or_else(tidings_bench::webhook::fresh_seed),
        }
    }
}

#[derive(Args)]
struct RunOptions {
    /// The hub's binary; by default `tidings` beside this program.
    #[arg(long)]
    hub: Option<PathBuf>,
    /// Measure the other two servers alone.
    #[arg(long, conflicts_with = "hub")]
    without_hub: bool,
    /// A Postgres to measure on as well; its user may make databases.
    #[arg(long, env = "TIDINGS_TEST_POSTGRES_URL")]
    postgres: Option<String>,
    /// The process id of its postmaster, to read what it costs.
    #[arg(long, env = "TIDINGS_POSTGRES_PID")]
    postgres_pid: Option<u32>,
    /// Leave the embedded store out.
    #[arg(long, requires = "postgres")]
    only_postgres: bool,
    /// How often each server has its turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each is loaded in a turn.
    #[arg(long, default_value_t = 8.0, value_parser = seconds)]
    seconds: f64,
    /// Connections of the closed loop.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// How many people write.
    #[arg(long, default_value_t = Shape::default().customers)]
    customers: u32,
    /// Measure again with this many messages stored; 0 leaves that part out.
    #[arg(long, default_value_t = 1_000_000)]
    seed_messages: u64,
    /// Leave out how backlogs drain.
    #[arg(long)]
    without_sending: bool,
    /// Leave out everything else.
    #[arg(long, conflicts_with = "without_sending")]
    only_sending: bool,
    /// What the hub's memory has to stay under at twice its capacity, in MB.
    #[arg(long, default_value_t = 256.0)]
    memory_bound_mb: f64,
    /// Where stores are made; on a real disk.
    #[arg(long, env = "TMPDIR", default_value = "/var/tmp")]
    scratch: PathBuf,
    /// Write everything that was measured to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Args)]
struct SendOptions {
    /// The hub's binary; by default `tidings` beside this program.
    #[arg(long)]
    hub: Option<PathBuf>,
    /// How many channels there are.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    channels: u32,
    /// Have one more channel on which Meta answers nothing.
    #[arg(long)]
    one_blocked: bool,
    /// How many messages wait on each.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: u32,
    /// How many of them to wait for, on each; by default all.
    #[arg(long)]
    drain: Option<u32>,
    /// How many a channel may send in a second; 0 stands for as many as there are.
    #[arg(long, default_value_t = 0)]
    per_second: u32,
    /// Replies to ask for meanwhile.
    #[arg(long, default_value_t = 0)]
    replies: u32,
    /// Look at the queue meanwhile.
    #[arg(long)]
    looks: bool,
    /// How long Meta takes to answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Where the store is made; on a real disk.
    #[arg(long, env = "TMPDIR", default_value = "/var/tmp")]
    scratch: PathBuf,
}

#[derive(Args)]
struct FeedOptions {
    /// The hub's binary; by default `tidings` beside this program.
    #[arg(long)]
    hub: Option<PathBuf>,
    /// How often each has its turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a turn is.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Connections that ask at the same time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Where the store is made.
    #[arg(long, env = "TMPDIR", default_value = "/var/tmp")]
    scratch: PathBuf,
}

#[derive(Args)]
struct ServeOptions {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The app secret that webhooks are signed with.
    #[arg(long, default_value_t = Shape::default().secret)]
    secret: String,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("a number of seconds, at most a day".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 10_000_000.0 => Ok(rate),
        _ => Err("a number of requests a second".to_owned()),
    }
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Load(options) => load(options),
        Command::Run(options) => compare(options),
        Command::Send(options) => send(options),
        Command::Feed(options) => feed(options),
        Command::ServeCopy { listen, of, path } => serve(listen, async { copy::router(of, &path).await }),
        Command::ServeBare(options) => serve(options.listen, async { Ok(bare::router(&options.secret)) }),
        Command::ServeReference { serve: options, store } => {
            serve(options.listen, reference::router(&options.secret, store))
        }
    }
}

fn load(options: LoadOptions) -> anyhow::Result<ExitCode> {
    let duration = Duration::from_secs_f64(options.seconds);
    let schedule = match (options.requests, options.rate) {
        (Some(requests), _) => Schedule::Acknowledged(requests),
        (None, Some(per_second)) => Schedule::Rate { per_second, duration },
        (None, None) => Schedule::For(duration),
    };
    let webhooks = Arc::new(Webhooks::new(&options.shape.shape())?);
    let outcome = Builder::new_current_thread().enable_all().build()?.block_on(load::run(
        options.address,
        options.connections.into(),
        schedule,
        &webhooks,
    ))?;
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &outcome.figures())?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

fn send(options: SendOptions) -> anyhow::Result<ExitCode> {
    let beside = || Ok::<_, io::Error>(std::env::current_exe()?.with_file_name("tidings"));
    let settings = send::Settings {
        hub: options.hub.map_or_else(beside, Ok)?,
        channels: options.channels,
        one_blocked: options.one_blocked,
        replies: options.replies,
        looks: options.looks,
        messages: options.messages,
        drain: options.drain.unwrap_or(options.messages),
        per_second: options.per_second,
        latency: Duration::from_millis(options.latency_ms),
        scratch: options.scratch,
    };
    let report = Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(send::run(settings))?;
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

fn feed(options: FeedOptions) -> anyhow::Result<ExitCode> {
    let own_program = std::env::current_exe()?;
    let hub = options.hub.unwrap_or_else(|| own_program.with_file_name("tidings"));
    let settings = feed::Settings {
        // It is started in a folder of its own.
        hub: hub
            .canonicalize()
            .with_context(|| format!("there is no hub at {}", hub.display()))?,
        own_program,
        rounds: options.rounds,
        turn: Duration::from_secs_f64(options.seconds),
        connections: options.connections.into(),
        scratch: options.scratch,
    };
    let report = Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(feed::run(settings))?;
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

/// Fails if something could not be measured; whether the figures please is for the reader to say.
fn compare(options: RunOptions) -> anyhow::Result<ExitCode> {
    let embedded = (!options.only_postgres).then_some(Engine::Sqlite);
    let postgres = options.postgres.is_some().then_some(Engine::Postgres);
    let hub = if options.without_hub {
        None
    } else {
        let beside = || Ok::<_, io::Error>(std::env::current_exe()?.with_file_name("tidings"));
        Some(options.hub.map_or_else(beside, Ok)?)
    };
    let settings = Settings {
        hub,
        engines: embedded.into_iter().chain(postgres).collect(),
        postgres_url: options.postgres,
        postgres_pid: options.postgres_pid,
        rounds: options.rounds,
        seconds: options.seconds,
        connections: options.connections.into(),
        customers: options.customers,
        seed_messages: options.seed_messages,
        sending: !options.without_sending,
        receiving: !options.only_sending,
        memory_bound_mb: options.memory_bound_mb,
        scratch: options.scratch,
    };
    let json = options
        .json
        .map(|path| {
            // Made first: a mistake in the path should show before the measuring, not after it.
            File::create(&path).with_context(|| format!("{} could not be made", path.display()))
        })
        .transpose()?;
    let report = Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // Leaving by a signal drops the comparison, which ends its servers and removes its stores.
        tokio::select! {
            report = run::run(settings) => report,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("asked to end"),
        }
    })?;
    write!(io::stdout(), "{report}")?;
    if let Some(file) = json {
        serde_json::to_writer_pretty(file, &report)?;
    }
    Ok(if report.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn serve(listen: SocketAddr, router: impl Future<Output = anyhow::Result<Router>>) -> anyhow::Result<ExitCode> {
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("{listen} cannot be listened on"))?;
        writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
        server::serve(listener, router.await?).await?;
        Ok(ExitCode::SUCCESS)
    })
}
