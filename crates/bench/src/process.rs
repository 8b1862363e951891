//! Server processes that the bench starts: found ready, watched, and ended, whatever happens.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::READY_PATH;

/// How long a server may take until it is ready: a large store may have to be recovered.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// How long a server may take to end by itself: more than the 30 s that the hub gives to what is in flight.
const ENDED_WITHIN: Duration = Duration::from_secs(40);

/// How long a single small request may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    /// From being started to saying that it is ready.
    pub ready_after: Duration,
}

/// How to start a server.
#[derive(Debug)]
pub struct Start<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its settings: all that it sees of the environment, apart from `PATH` and `HOME`.
    pub environment: Vec<(&'static str, String)>,
    /// The folder that it works in; its output goes to `server.log` there.
    pub folder: &'a Path,
    /// Where it was told to listen.
    pub address: SocketAddr,
}

impl Server {
    /// Starts a server and waits until it is ready. Errors, with the end of its output, if it does not get there.
    pub async fn start(start: Start<'_>) -> anyhow::Result<Self> {
        let log = start.folder.join("server.log");
        let output = File::create(&log).with_context(|| format!("{} could not be made", log.display()))?;
        let mut command = Command::new(start.program);
        command
            .args(start.arguments)
            .current_dir(start.folder)
            .env_clear()
            .envs(
                ["PATH", "HOME"]
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .envs(start.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("{} could not be started", start.program.display()))?;
        let mut server = Self {
            child,
            address: start.address,
            log,
            ready_after: Duration::ZERO,
        };
        loop {
            if matches!(server.get(READY_PATH, None).await, Ok((200, _))) {
                server.ready_after = started.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!(
                    "{} ended before it was ready ({status}): {}",
                    start.program.display(),
                    server.log_end()
                );
            }
            if started.elapsed() > READY_WITHIN {
                bail!(
                    "{} was not ready within {} s: {}",
                    start.program.display(),
                    READY_WITHIN.as_secs(),
                    server.log_end()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Status and body of a GET, with a bearer token if one is given.
    pub async fn get(&self, path: &str, token: Option<&str>) -> anyhow::Result<(u16, String)> {
        let authorization = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        tokio::time::timeout(
            ANSWERED_WITHIN,
            ask(self.address, &format!("GET {path}"), &authorization, ""),
        )
        .await
        .with_context(|| format!("no answer to GET {path}"))?
    }

    /// Status and body of a POST of JSON.
    pub async fn post(&self, path: &str, token: &str, body: &str) -> anyhow::Result<(u16, String)> {
        let head = format!(
            "authorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        tokio::time::timeout(ANSWERED_WITHIN, ask(self.address, &format!("POST {path}"), &head, body))
            .await
            .with_context(|| format!("no answer to POST {path}"))?
    }

    /// Asks it to end and waits until it has; kills it if that takes too long.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // The standard library can only kill; `kill` is POSIX's way to ask.
        let asked = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        if asked.is_ok_and(|status| status.success()) {
            let since = Instant::now();
            while since.elapsed() < ENDED_WITHIN {
                if self.child.try_wait()?.is_some() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            bail!(
                "process {} did not end within {} s of being asked",
                self.pid(),
                ENDED_WITHIN.as_secs()
            );
        }
        Ok(())
    }

    /// The last lines that it wrote.
    pub fn log_end(&self) -> String {
        let mut text = Vec::new();
        // Without a log there is nothing to add to the error that this is for.
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        match lines.len() {
            0 => "it wrote nothing".to_owned(),
            count => lines[count.saturating_sub(5)..].join(" | "),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of this machine that was free a moment ago.
pub fn free_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// HTTP/1.0, so that the answer ends with the connection.
async fn ask(address: SocketAddr, what: &str, head: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("{what} HTTP/1.0\r\nhost: bench\r\n{head}\r\n{body}").as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|digits| digits.parse().ok())
        .context("the answer has no status")?;
    Ok((status, body.to_owned()))
}
