//! A hub as its users run it: a process of its own, killed, or asked to stop, at will.
//!
//! Guarantee: no process outlives its [`Hub`], and only processes that were started here are ever signalled, by their id.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

/// What would hold messages back.
const WITHOUT_PACE: [&str; 6] = [
    "TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND",
    "TIDINGS_SENDING_WHATSAPP_PAIR_PAUSE_SECS",
    "TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY",
    "TIDINGS_SENDING_INSTAGRAM_MESSAGES_PER_SECOND",
    "TIDINGS_SENDING_INSTAGRAM_MESSAGES_PER_CONTACT_HOUR",
    "TIDINGS_SENDING_INSTAGRAM_MESSAGES_PER_HOUR",
];

/// What the hub logs once it serves.
const READY: &str = "the hub is running";
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Lines of the log that are kept to explain a failure.
const LINES_MAX: usize = 400;

/// The key that the hub is called with.
pub(crate) const ADMIN_KEY: &str = "the-key-of-the-crash-test";

/// How a hub is started, each time alike: the same store, the same address.
#[derive(Debug)]
pub(crate) struct Launch {
    folder: PathBuf,
    environment: Vec<(String, String)>,
    log: Log,
    /// Held, so that nobody else is given the address while the hub is down; it never listens.
    #[cfg(target_os = "linux")]
    _reserved: TcpSocket,
    address: SocketAddr,
}

/// What all the processes of one launch have logged; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    last: VecDeque<String>,
    errors: Vec<String>,
}

/// A hub that was started.
#[derive(Debug)]
pub(crate) struct Hub {
    child: Child,
    stage: watch::Receiver<Stage>,
    log: Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Ended,
}

impl Launch {
    /// `folder` is where the hub is started, and where it keeps its files.
    pub(crate) fn new(folder: PathBuf, environment: Vec<(String, String)>) -> Self {
        // Both this socket and the hub's allow the address to be used again, and only the hub's listens: Linux lets them share it. A port
        // that is merely free now could be given to any connection while the hub is down, even to one that looks for the hub.
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = reserved.local_addr().unwrap();
        Self {
            folder,
            environment,
            log: Log::default(),
            #[cfg(target_os = "linux")]
            _reserved: reserved,
            address,
        }
    }

    /// Where the hub is found while it runs.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What all of its processes have logged.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Starts a hub, and waits until it serves.
    pub(crate) async fn start(&self) -> Hub {
        let mut hub = self.begin();
        hub.ready().await;
        hub
    }

    /// Starts a hub, and does not wait.
    pub(crate) fn begin(&self) -> Hub {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .arg("serve")
            .current_dir(&self.folder)
            .env_clear()
            .env("TIDINGS_LISTEN", self.address.to_string())
            .env("TIDINGS_DATA_DIR", self.folder.join("data"))
            .env("TIDINGS_ADMIN_KEY", ADMIN_KEY)
            // A hub lives for less than a second, and the next one has to wait for its leases to run out.
            .env("TIDINGS_SENDING_LEASE_MS", "100")
            // How much memory it takes depends on how many threads there are.
            .env("TOKIO_WORKER_THREADS", "2")
            // And without a pace it need not let a second pass either; nor do many answers to few people wait for each other.
            .envs(WITHOUT_PACE.map(|name| (name, "0")))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = child.stderr.take().expect("it was asked for just now");
        let (tell, stage) = watch::channel(Stage::Starting);
        let log = self.log.clone();
        // It ends with the process: the log is then at its end.
        std::thread::Builder::new()
            .name("hub-log".to_owned())
            .spawn(move || follow(lines, &log, &tell))
            .unwrap();
        Hub {
            child,
            stage,
            log: self.log.clone(),
        }
    }
}

impl Hub {
    /// Waits until it serves.
    pub(crate) async fn ready(&mut self) {
        let reached = timeout(READY_WITHIN, self.stage.wait_for(|stage| *stage != Stage::Starting)).await;
        let stage = reached.map_or(Stage::Starting, |stage| {
            *stage.expect("the log's reader tells of the end before it goes")
        });
        assert_eq!(
            stage,
            Stage::Ready,
            "the hub did not come to serve:\n{}",
            self.log.tail()
        );
    }

    /// Lets it go on for that long; it may not end by itself.
    pub(crate) async fn go_on(&mut self, time: Duration) {
        let ended = timeout(time, self.stage.wait_for(|stage| *stage == Stage::Ended)).await;
        assert!(ended.is_err(), "the hub ended by itself:\n{}", self.log.tail());
    }

    /// Its id.
    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut does: no instruction of it is run any more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// No instruction of it is run until [`Hub::go_on_again`].
    pub(crate) fn stand_still(&self) {
        self.signal("-STOP");
    }

    /// It goes on as if nothing had been.
    pub(crate) fn go_on_again(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(signal)
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success(), "the hub could not be sent {signal}");
    }

    /// Asks it to stop, and waits until it has; fails if that takes longer than `limit`.
    pub(crate) async fn terminate(mut self, limit: Duration) -> ExitStatus {
        self.signal("-TERM");
        let ended = timeout(limit, self.stage.wait_for(|stage| *stage == Stage::Ended)).await;
        assert!(
            ended.is_ok(),
            "the hub did not stop within {limit:?}:\n{}",
            self.log.tail()
        );
        self.child.wait().unwrap()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    /// The last lines.
    pub(crate) fn tail(&self) -> String {
        let lines = self.0.lock().unwrap();
        lines.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Every line that tells of an error.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.0.lock().unwrap().errors.clone()
    }

    fn add(&self, line: String) {
        let mut lines = self.0.lock().unwrap();
        if lines.errors.len() < LINES_MAX && (line.contains(" ERROR ") || line.contains("panicked")) {
            lines.errors.push(line.clone());
        }
        if lines.last.len() == LINES_MAX {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
    }
}

fn follow(lines: ChildStderr, log: &Log, stage: &watch::Sender<Stage>) {
    for line in BufReader::new(lines).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains(READY) {
            stage.send_replace(Stage::Ready);
        }
        log.add(line);
    }
    stage.send_replace(Stage::Ended);
}
