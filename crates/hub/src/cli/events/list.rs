//! `tidings events list`: a page of the event log, newest first.

use clap::Args;
use serde_json::Value;

use super::Filter;
use crate::cli::SettingsArguments;
use crate::cli::failure::Failure;
use crate::cli::hub_client::HubClient;
use crate::cli::output;

/// List events, newest first
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// How many: 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Where the last page ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

const HEADINGS: [&str; 7] = ["RECEIVED", "ID", "TYPE", "CHANNEL", "STATUS", "ATTEMPTS", "ERROR"];

pub(in crate::cli) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    let mut query = arguments.filter.parameters();
    query.push(("limit", arguments.limit.to_string()));
    query.extend(arguments.cursor.map(|cursor| ("cursor", cursor)));
    let answer = hub.get("/api/webhooks/events", &query).await?;
    if arguments.json {
        output::document(&answer);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer["events"].as_array().into_iter().flatten().map(row).collect();
    output::table(&HEADINGS, &rows);
    if let Some(cursor) = answer["nextCursor"].as_str() {
        output::note(format!("There are more: add --cursor {cursor}"));
    }
    Ok(())
}

fn row(event: &Value) -> Vec<String> {
    [
        "receivedAt",
        "id",
        "eventType",
        "channelId",
        "status",
        "attempts",
        "error",
    ]
    .map(|name| cell(&event[name]))
    .to_vec()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => output::on_one_line(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_row() {
        let event = json!({"id": "evt_1", "eventType": "messages", "attempts": 2, "channelId": null, "error": "a\nb",
            "status": "failed", "receivedAt": "2026-11-23T08:00:00.000Z"});
        assert_eq!(
            row(&event),
            [
                "2026-11-23T08:00:00.000Z",
                "evt_1",
                "messages",
                "-",
                "failed",
                "2",
                "a b"
            ]
        );
    }
}
