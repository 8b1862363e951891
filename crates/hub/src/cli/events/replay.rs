//! `tidings events replay`: processes events again.

use std::time::Duration;

use clap::Args;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

use super::Filter;
use crate::cli::SettingsArguments;
use crate::cli::failure::Failure;
use crate::cli::hub_client::HubClient;
use crate::cli::output;

/// Process an event again, or all that a filter names
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The event
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// All events, without a filter
    #[arg(long)]
    all: bool,
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

/// A whole log can be marked in this time.
const PATIENCE: Duration = Duration::from_mins(10);

pub(in crate::cli) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let (path, body) = request(&arguments)?;
    let hub = HubClient::find(settings)?;
    let answer = hub.post(&path, &[], HeaderMap::new(), &body, PATIENCE).await?;
    if arguments.json {
        output::document(&answer);
    } else {
        output::line(said(&answer));
    }
    Ok(())
}

fn request(arguments: &Arguments) -> Result<(String, Value), Failure> {
    let filter = arguments.filter.parameters();
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    let Some(id) = &arguments.id else {
        if filter.is_empty() && !arguments.all {
            return usage("name the event, or filter events (--status dead), or say --all");
        }
        let body: Map<String, Value> = filter
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        return Ok(("/api/webhooks/events/replay".to_owned(), body.into()));
    };
    if !filter.is_empty() || arguments.all {
        return usage("name one event or filter events, not both");
    }
    if id.is_empty()
        || !id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    {
        return usage("the id of an event has letters, digits, _ and - alone; `tidings events list` shows them");
    }
    Ok((format!("/api/webhooks/events/{id}/replay"), Value::Object(Map::new())))
}

/// The hub's answer as a line: how many, or which one.
fn said(answer: &Value) -> String {
    match (&answer["replayed"], &answer["status"]) {
        (Value::Number(count), _) => format!("{count} events are processed again"),
        (_, Value::String(status)) => format!("the event is {status}"),
        _ => "done".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arguments(id: Option<&str>, status: Option<&str>, all: bool) -> Arguments {
        let filter = Filter {
            status: status.map(str::to_owned),
            ..Filter::default()
        };
        Arguments {
            id: id.map(str::to_owned),
            filter,
            all,
            json: false,
        }
    }

    #[test]
    fn one_event_or_a_filter_is_replayed() {
        let one = request(&arguments(Some("evt_1"), None, false)).unwrap();
        assert_eq!(one, ("/api/webhooks/events/evt_1/replay".to_owned(), json!({})));
        let some = request(&arguments(None, Some("dead"), false)).unwrap();
        assert_eq!(
            some,
            ("/api/webhooks/events/replay".to_owned(), json!({"status": "dead"}))
        );
        let all = request(&arguments(None, None, true)).unwrap();
        assert_eq!(all, ("/api/webhooks/events/replay".to_owned(), json!({})));
    }

    #[test]
    fn nothing_is_replayed_by_accident() {
        for wrong in [
            arguments(None, None, false),
            arguments(Some("evt_1"), Some("dead"), false),
            arguments(Some("evt_1"), None, true),
            arguments(Some("../x"), None, false),
            arguments(Some(""), None, false),
        ] {
            assert!(matches!(request(&wrong), Err(Failure::Usage(_))), "{wrong:?}");
        }
    }
}
