//! Measures a warm answer of the feed of reels against a server that only gives the same bytes.
//!
//! Both take the same load in turns, on the same machine; what counts is the share. The hub asks a stand-in for Meta once, and answers from
//! its memory from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::load;
use crate::process::{Server, Start, free_address};
use crate::usage;

const PATH: &str = "/integrations/instagram/reels";
const ACCOUNT: &str = "17841400000000001";
/// What the hub has to reach of the bare server's requests a second, and what an answer may cost it.
const SHARE_MIN: f64 = 0.7;
const CPU_MICROS_MAX: f64 = 1_000.0;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's binary.
    pub hub: PathBuf,
    /// This program, which is the bare server too.
    pub own_program: PathBuf,
    /// How often each has its turn.
    pub rounds: u32,
    /// How long a turn is.
    pub turn: Duration,
    /// Connections that ask at the same time.
    pub connections: usize,
    /// Where the store is made.
    pub scratch: PathBuf,
}

/// What came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How long the answer is, without its head.
    pub body_bytes: usize,
    /// The bare server's turns.
    pub bare: Vec<Turn>,
    /// The hub's turns.
    pub hub: Vec<Turn>,
    /// The hub's requests a second as a share of the bare server's, by their medians.
    pub share: f64,
    /// What an answer costs the hub in processor time, in microseconds, by the median.
    pub hub_cpu_micros: f64,
    /// Whether both are as they should be: a share of at least 0.7, and less than a millisecond.
    pub holds: bool,
}

/// One turn of one server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// Answers a second.
    pub per_second: f64,
    /// Processor time of the server for an answer, in microseconds.
    pub cpu_micros: f64,
    /// In milliseconds.
    pub p99_ms: f64,
}

/// Starts both, loads them in turns, and says how that went.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    let folder = settings
        .scratch
        .join(format!("tidings-bench-feed-{}", std::process::id()));
    for name in ["hub", "bare"] {
        fs::create_dir_all(folder.join(name)).with_context(|| format!("{} could not be made", folder.display()))?;
    }
    let report = measure(&settings, &folder).await;
    // What is left behind is in a folder for such things.
    let _ = fs::remove_dir_all(&folder);
    report
}

async fn measure(settings: &Settings, folder: &Path) -> anyhow::Result<Report> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let graph = format!("http://{}", listener.local_addr()?);
    let meta = Router::new().route("/{version}/{account}/media", get(async || axum::Json(listing())));
    let serving = tokio::spawn(async move { axum::serve(listener, meta).await });

    let hub = start_hub(settings, &folder.join("hub"), &graph).await?;
    let (status, body) = hub.get(PATH, None).await?;
    ensure!(status == 200, "the feed answered {status}: {body}");
    let bare = start_bare(settings, &folder.join("bare"), &hub).await?;
    let (_, same) = bare.get(PATH, None).await?;
    ensure!(same == body, "the bare server gives other bytes");

    let (mut of_bare, mut of_hub) = (Vec::new(), Vec::new());
    // The first turn of each only warms up.
    for round in 0..=settings.rounds {
        for (server, turns) in [(&bare, &mut of_bare), (&hub, &mut of_hub)] {
            let turn = turn(settings, server).await?;
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    hub.stop().await?;
    bare.stop().await?;
    serving.abort();
    let share = median(&of_hub, |turn| turn.per_second) / median(&of_bare, |turn| turn.per_second).max(1e-9);
    let hub_cpu_micros = median(&of_hub, |turn| turn.cpu_micros);
    Ok(Report {
        body_bytes: body.len(),
        bare: of_bare,
        hub: of_hub,
        share,
        hub_cpu_micros,
        holds: share >= SHARE_MIN && hub_cpu_micros < CPU_MICROS_MAX,
    })
}

async fn turn(settings: &Settings, server: &Server) -> anyhow::Result<Turn> {
    let before = usage::cpu(server.pid())?;
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: bench\r\naccept: application/json\r\n\r\n");
    let outcome = load::repeat(
        server.address(),
        settings.connections,
        settings.turn,
        request.as_bytes(),
    )
    .await?;
    ensure!(
        outcome.acknowledged > 0 && outcome.other + outcome.refused + outcome.broken == 0,
        "not every request was answered with 200: {}",
        server.log_end()
    );
    let cpu = usage::cpu(server.pid())?.saturating_sub(before);
    Ok(Turn {
        per_second: outcome.rate(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / outcome.acknowledged as f64,
        p99_ms: outcome.latencies.percentile_ms(0.99),
    })
}

async fn start_hub(settings: &Settings, folder: &Path, graph: &str) -> anyhow::Result<Server> {
    let address = free_address()?;
    let environment = vec![
        ("TIDINGS_LISTEN", address.to_string()),
        ("TIDINGS_DATA_DIR", folder.display().to_string()),
        ("META_GRAPH_API_BASE_URL", graph.to_owned()),
        ("META_IG_BUSINESS_ID", ACCOUNT.to_owned()),
        ("META_IG_ACCESS_TOKEN", "IGAAbenchToken".to_owned()),
        ("META_IG_REELS_CACHE_TTL", "86400".to_owned()),
        ("INSTAGRAM_MEDIA_WATCH_SECS", "0".to_owned()),
        ("TIDINGS_LOG", "warn".to_owned()),
    ];
    Server::start(Start {
        program: &settings.hub,
        arguments: vec!["serve".into()],
        environment,
        folder,
        address,
    })
    .await
}

async fn start_bare(settings: &Settings, folder: &Path, hub: &Server) -> anyhow::Result<Server> {
    let address = free_address()?;
    let (listen, of) = (address.to_string(), hub.address().to_string());
    let arguments = ["serve-copy", "--listen", &listen, "--of", &of, "--path", PATH];
    Server::start(Start {
        program: &settings.own_program,
        arguments: arguments.into_iter().map(Into::into).collect(),
        environment: Vec::new(),
        folder,
        address,
    })
    .await
}

/// Six reels as Meta lists them, with links and captions of the usual length.
fn listing() -> Value {
    let signature = "x".repeat(420);
    let reels = (0..6).map(|number| {
        let id = format!("1790000000000{number:04}");
        json!({
            "id": id, "media_type": "VIDEO", "media_product_type": "REELS",
            "media_url": format!("https://scontent.cdninstagram.com/o1/v/t16/{id}.mp4?oh={signature}"),
            "thumbnail_url": format!("https://scontent.cdninstagram.com/v/t51/{id}.jpg?oh={signature}"),
            "permalink": format!("https://www.instagram.com/reel/DxBench{number:04}/"),
            "caption": "A caption of the usual length, with a few words on what is to be seen. #vinyl #records ".repeat(3),
            "timestamp": format!("2026-11-19T18:30:0{}+0000", 9 - number), "like_count": 120 + number,
            "insights": {"data": [{"name": "views", "values": [{"value": 1_500 + number}]}]},
        })
    });
    json!({"data": reels.collect::<Vec<_>>(), "paging": {"cursors": {"before": "a", "after": "b"}}})
}

fn median(turns: &[Turn], of: impl Fn(&Turn) -> f64) -> f64 {
    let mut values: Vec<f64> = turns.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
