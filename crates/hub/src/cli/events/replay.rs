//! `tidings events replay`: processes events again.

use anyhow::Context;
use clap::Args;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let (path, mut body) = request(&arguments)?;
    let hub = HubClient::find(settings)?;
    let mut replayed = 0;
    // The hub takes so many in one go, and says where to go on.
    loop {
        let answer = hub.post(&path, HeaderMap::new(), &body).await?;
        replayed += answer["replayed"]
            .as_u64()
            .context("the hub's answer does not say how many events")?;
        match answer["nextCursor"].as_str() {
            Some(cursor) if body["cursor"] != cursor => body["cursor"] = cursor.into(),
            _ => break,
        }
    }
    if arguments.json {
        output::document(&json!({ "replayed": replayed }));
    } else {
        output::line(format!("Events that are processed again: {replayed}"));
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

#[cfg(test)]
mod tests {
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
