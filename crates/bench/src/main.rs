//! The `tidings-bench` binary: the load generator, the servers to compare with, and the comparison.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use clap::{Args, Parser, Subcommand};
use tidings_bench::load::{self, Schedule};
use tidings_bench::server::{self, bare, reference};
use tidings_bench::webhook::{Shape, Webhooks};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

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
    /// The server that only checks the signature.
    ServeBare(ServeOptions),
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
        Command::ServeBare(options) => {
            serve(options.listen, async { Ok(bare::router(&options.secret)) })
        }
        Command::ServeReference {
            serve: options,
            store,
        } => serve(options.listen, reference::router(&options.secret, store)),
    }
}

fn load(options: LoadOptions) -> anyhow::Result<ExitCode> {
    let duration = Duration::from_secs_f64(options.seconds);
    let schedule = match (options.requests, options.rate) {
        (Some(requests), _) => Schedule::Acknowledged(requests),
        (None, Some(per_second)) => Schedule::Rate {
            per_second,
            duration,
        },
        (None, None) => Schedule::For(duration),
    };
    let webhooks = Arc::new(Webhooks::new(&options.shape.shape())?);
    let outcome = Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(load::run(
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

fn serve(
    listen: SocketAddr,
    router: impl Future<Output = anyhow::Result<Router>>,
) -> anyhow::Result<ExitCode> {
    Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind(listen)
                .await
                .with_context(|| format!("{listen} cannot be listened on"))?;
            writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
            server::serve(listener, router.await?).await?;
            Ok(ExitCode::SUCCESS)
        })
}
