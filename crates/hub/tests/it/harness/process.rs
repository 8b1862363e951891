//! The binary in a process of its own, as people run it, and what it says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::{LOOK_EVERY, WITHIN};

/// A command that runs until it is told to stop, in a folder of its own.
pub struct Process {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it with nothing in its environment but this.
    pub fn start<'e>(
        folder: &Path,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (&'e str, &'e str)>,
    ) -> Self {
        // Several may run in one folder.
        let named = |end: &str| folder.join(format!("{}.{end}", arguments[0]));
        let (out, log) = (named("out"), named("log"));
        let child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(arguments)
            .env_clear()
            .envs(environment)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, out, log }
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    /// The lines that it has logged.
    pub fn lines(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    /// Where the hub that it is listens, as its log says in either format.
    pub async fn url(&mut self) -> String {
        self.until("it runs", async |process| {
            let lines = process.lines();
            let running = lines.iter().find(|line| line.contains("the hub is running"))?;
            let (_, address) = running
                .split_once("address=")
                .or_else(|| running.split_once("\"address\":\""))?;
            let address = address.split([' ', '"']).next()?;
            Some(format!("http://{address}"))
        })
        .await
    }

    /// Sends it a signal, such as `-HUP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        self.until("it has ended", async |process| process.child.try_wait().unwrap())
            .await
    }

    /// Ends it in order, and answers with all that it logged.
    pub async fn stop(mut self) -> Vec<String> {
        self.signal("-TERM");
        let ended = self.ended().await;
        assert!(ended.success(), "{ended}");
        self.lines()
    }

    /// Looks again and again until the condition gives something.
    pub async fn until<T>(&mut self, what: &str, mut condition: impl AsyncFnMut(&mut Self) -> Option<T>) -> T {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let found = tokio::time::timeout(WITHIN, async {
            loop {
                looks.tick().await;
                if let Some(found) = condition(self).await {
                    return found;
                }
            }
        });
        let Ok(found) = found.await else {
            panic!(
                "waited in vain until {what}:\n{}\n{}",
                self.printed(),
                self.lines().join("\n")
            );
        };
        found
    }
}
