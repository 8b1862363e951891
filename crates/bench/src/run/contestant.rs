//! The servers of the comparison, each started as it would be in earnest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::Bench;
use super::store::Store;
use crate::process::{Server, Start, free_address};

/// The hub's bootstrap key; it opens `/metrics`.
const ADMIN_KEY: &str = "tidings-bench-admin-key-0123456789abcdef";

/// The gauge of events that are stored but not yet worked on.
const WAITING_GAUGE: &str = "tidings_events_waiting";

/// How often the gauge is read.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// The gauge has to be 0 again after this, lest a reading that lags behind the load passes for the end.
const STAYS_ZERO_FOR: Duration = Duration::from_millis(300);

/// One of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Contestant {
    /// Checks the signature.
    Bare,
    /// Stores each message once.
    Reference,
    /// The hub.
    Hub,
    /// The hub on an empty store, next to the hub on a filled one.
    HubEmpty,
}

impl Contestant {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Reference => "reference",
            Self::Hub => "hub",
            Self::HubEmpty => "hub, empty store",
        }
    }

    pub(super) fn is_hub(self) -> bool {
        match self {
            Self::Hub | Self::HubEmpty => true,
            Self::Bare | Self::Reference => false,
        }
    }

    /// Starts the server on the store and waits until it is ready.
    pub(super) async fn start(self, bench: &Bench, store: &Store) -> anyhow::Result<Server> {
        let address = free_address()?;
        let listen = address.to_string();
        let secret = bench.shape.secret.clone();
        let own = |command: &str| {
            ["--listen", &listen, "--secret", &secret].into_iter().fold(
                vec![command.into()],
                |mut arguments, argument| {
                    arguments.push(argument.into());
                    arguments
                },
            )
        };
        let (program, arguments, environment) = match self {
            Self::Bare => (&bench.own_program, own("serve-bare"), Vec::new()),
            Self::Reference => {
                let mut arguments = own("serve-reference");
                let url = store
                    .postgres_url()
                    .unwrap_or_else(|| format!("sqlite:{}", store.folder().join("reference.db").display()));
                arguments.extend(["--store".into(), url.into()]);
                (&bench.own_program, arguments, Vec::new())
            }
            Self::Hub | Self::HubEmpty => {
                let program = bench.settings.hub.as_ref().context("the hub's binary was not named")?;
                (program, vec!["serve".into()], hub_environment(bench, store, listen))
            }
        };
        let start = Start {
            program,
            arguments,
            environment,
            folder: store.folder(),
            address,
        };
        Server::start(start).await
    }
}

fn hub_environment(bench: &Bench, store: &Store, listen: String) -> Vec<(&'static str, String)> {
    let data = store.folder().join("data");
    let database_url = store
        .postgres_url()
        .unwrap_or_else(|| format!("sqlite://{}", data.join("tidings.db").display()));
    // A port that nobody listens on stands for Meta: the bench measures the way in, and reaches nobody outside.
    let nobody = "http://127.0.0.1:9".to_owned();
    vec![
        ("TIDINGS_LISTEN", listen),
        ("TIDINGS_DATA_DIR", data.display().to_string()),
        ("DATABASE_URL", database_url),
        ("WHATSAPP_APP_SECRET", bench.shape.secret.clone()),
        ("WHATSAPP_PHONE_NUMBER_ID", bench.shape.phone_number_id.clone()),
        ("WHATSAPP_ACCESS_TOKEN", "tidings-bench-access-token".to_owned()),
        ("WHATSAPP_VERIFY_TOKEN", "tidings-bench-verify-token".to_owned()),
        ("WHATSAPP_API_BASE_URL", nobody.clone()),
        ("META_GRAPH_API_BASE_URL", nobody),
        ("TIDINGS_ADMIN_KEY", ADMIN_KEY.to_owned()),
        ("TIDINGS_LOG", "warn".to_owned()),
    ]
}

/// How many events the hub has stored and not yet worked on.
pub(super) async fn events_waiting(hub: &Server) -> anyhow::Result<f64> {
    let (status, body) = hub.get("/metrics", Some(ADMIN_KEY)).await?;
    ensure!(status == 200, "GET /metrics was answered with {status}");
    gauge(&body, WAITING_GAUGE).with_context(|| format!("/metrics has no {WAITING_GAUGE}"))
}

/// Waits until the hub has worked on everything. Answers after how long that was, and what `read` said at that moment.
pub(super) async fn projected<T>(
    hub: &Server,
    patience: Duration,
    read: impl Fn() -> anyhow::Result<T>,
) -> anyhow::Result<(Duration, T)> {
    let since = Instant::now();
    loop {
        let waiting = events_waiting(hub).await?;
        if waiting == 0.0 {
            let reached = (since.elapsed(), read()?);
            tokio::time::sleep(STAYS_ZERO_FOR).await;
            if events_waiting(hub).await? == 0.0 {
                return Ok(reached);
            }
        }
        if since.elapsed() > patience {
            bail!(
                "{waiting} events still waited to be projected after {} s",
                patience.as_secs()
            );
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// The sum over all label sets of a metric in Prometheus' text format; `None` if it is not there.
fn gauge(text: &str, name: &str) -> Option<f64> {
    let mut values = text
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = if rest.starts_with('{') {
                rest.rsplit_once('}')?.1
            } else {
                rest.strip_prefix(' ')?
            };
            value.split_whitespace().next()?.parse::<f64>().ok()
        })
        .peekable();
    values.peek()?;
    Some(values.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_summed_over_its_labels() {
        let text =
            "# TYPE waiting gauge\nwaiting{channel=\"a b}\"} 3\nwaiting{channel=\"c\"} 4 1795334405\nwaiting_max 9\n";
        assert_eq!(gauge(text, "waiting"), Some(7.0));
        assert_eq!(gauge("waiting 0\n", "waiting"), Some(0.0));
    }

    #[test]
    fn a_gauge_that_is_not_there_is_not_zero() {
        assert_eq!(gauge("# HELP waiting Events.\nwaiting_max 9\n", "waiting"), None);
    }
}
