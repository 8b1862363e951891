//! When to stop: Ctrl-C, or SIGTERM from whoever supervises the process; and when to read the settings again: SIGHUP.

use anyhow::Context;

/// Listens from now on; the future is ready once the process is told to stop.
pub(super) fn listen() -> anyhow::Result<impl Future<Output = ()>> {
    let interrupt = Signal::interrupt()?;
    let terminate = Signal::terminate()?;
    Ok(async move {
        tokio::select! {
            () = interrupt.received() => {}
            () = terminate.received() => {}
        }
    })
}

#[cfg(unix)]
struct Signal(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signal {
    fn interrupt() -> anyhow::Result<Self> {
        Self::of(tokio::signal::unix::SignalKind::interrupt())
    }

    fn terminate() -> anyhow::Result<Self> {
        Self::of(tokio::signal::unix::SignalKind::terminate())
    }

    fn of(kind: tokio::signal::unix::SignalKind) -> anyhow::Result<Self> {
        Ok(Self(
            tokio::signal::unix::signal(kind).context("signals cannot be listened to")?,
        ))
    }

    async fn received(mut self) {
        self.0.recv().await;
    }
}

#[cfg(windows)]
enum Signal {
    Interrupt(tokio::signal::windows::CtrlC),
    Terminate(tokio::signal::windows::CtrlShutdown),
}

#[cfg(windows)]
impl Signal {
    fn interrupt() -> anyhow::Result<Self> {
        Ok(Self::Interrupt(
            tokio::signal::windows::ctrl_c().context("Ctrl-C cannot be listened to")?,
        ))
    }

    fn terminate() -> anyhow::Result<Self> {
        Ok(Self::Terminate(
            tokio::signal::windows::ctrl_shutdown().context("the shutdown cannot be listened to")?,
        ))
    }

    async fn received(self) {
        match self {
            Self::Interrupt(mut signal) => signal.recv().await,
            Self::Terminate(mut signal) => signal.recv().await,
        };
    }
}

/// Tells when the settings are to be read again; on Windows, never.
pub(super) struct ReloadSignal {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl ReloadSignal {
    /// Listens from now on: from here the signal does not end the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        #[cfg(unix)]
        {
            let hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
            Ok(Self {
                hangup: hangup.context("signals cannot be listened to")?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next one.
    pub(super) async fn received(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}
