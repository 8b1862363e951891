//! What the comparison was measured on: without it no figure can be repeated.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use postgres::{Client, NoTls};
use serde::Serialize;

use super::{Settings, median};

/// Enough flushes to see past a slow one, and still done in a second on a slow disk.
const FLUSHES: u32 = 100;

/// What can be said of a machine in one line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) processor: String,
    pub(super) kernel: String,
    pub(super) file_system: String,
    /// Median time to add 4 KiB to a file and flush it: what a commit costs at least.
    pub(super) flush_ms: f64,
    pub(super) postgres: Option<String>,
}

pub(super) async fn describe(settings: &Settings, file_system: String) -> anyhow::Result<Machine> {
    let postgres = match settings.postgres_url.clone() {
        None => None,
        Some(url) => {
            // The client blocks, and would not run on a thread of this runtime.
            let asked = tokio::task::spawn_blocking(move || postgres_version(&url));
            Some(asked.await.context("asking Postgres failed")??)
        }
    };
    Ok(Machine {
        cores: std::thread::available_parallelism()?.get(),
        processor: fs::read_to_string("/proc/cpuinfo")
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned()),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
            |_| "unknown kernel".to_owned(),
            |release| format!("Linux {}", release.trim()),
        ),
        file_system,
        flush_ms: flush_time(&settings.scratch)?.as_secs_f64() * 1_000.0,
        postgres,
    })
}

fn postgres_version(url: &str) -> anyhow::Result<String> {
    let mut client = Client::connect(url, NoTls).context("Postgres could not be reached")?;
    Ok(client.query_one("SHOW server_version", &[])?.get(0))
}

fn flush_time(folder: &Path) -> anyhow::Result<Duration> {
    let path = folder.join(format!("flush-{}", std::process::id()));
    let measured = (|| {
        let mut file = File::create(&path)?;
        let mut times = Vec::new();
        for _ in 0..FLUSHES {
            let started = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            times.push(started.elapsed().as_secs_f64());
        }
        std::io::Result::Ok(times)
    })();
    // The file is only in the way; the folder may go with it.
    let _ = fs::remove_file(&path);
    let times = measured.with_context(|| format!("{} could not be written to", path.display()))?;
    Ok(Duration::from_secs_f64(median(times).unwrap_or_default()))
}
