//! `tidings events tail`: what happens, as it happens; after a break it goes on where it was.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::SettingsArguments;
use crate::cli::event_stream::{StreamEvent, StreamReader};
use crate::cli::failure::Failure;
use crate::cli::hub_client::HubClient;
use crate::cli::{output, stop_signal};

/// Show what happens, until Ctrl-C
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Only this kind, such as message.created
    #[arg(long, value_name = "KIND")]
    r#type: Option<String>,
    /// Only this channel
    #[arg(long)]
    channel: Option<String>,
    /// Begin after the event with this id of the stream [default: begin now]
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let stop = stop_signal::listen()?;
    let hub = HubClient::find(settings)?;
    let given = [
        ("type", arguments.r#type.clone()),
        ("channel", arguments.channel.clone()),
    ];
    let query: Vec<_> = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let json = arguments.json;
    let print =
        |event: &StreamEvent, id: Option<&str>| output::line(if json { as_json(event, id) } else { as_text(event) });
    tokio::select! {
        () = stop => Ok(()),
        ended = follow(&hub, &query, arguments.after, print) => ended,
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Follows the stream for good: after a break it resumes where it was. Ends only where the first connection cannot be made, or the hub
/// refuses.
pub(in crate::cli) async fn follow(
    hub: &HubClient,
    query: &[(&str, String)],
    after: Option<String>,
    mut print: impl FnMut(&StreamEvent, Option<&str>),
) -> Result<(), Failure> {
    let mut reader = StreamReader::after(after);
    let mut pause = FIRST_PAUSE;
    let mut connected = false;
    loop {
        match hub
            .stream("/api/v1/stream", query, reader.last_event_id.as_deref())
            .await
        {
            Ok(mut live) => {
                connected = true;
                reader.reconnect();
                while let Some(chunk) = live.chunk().await {
                    pause = FIRST_PAUSE;
                    for event in reader.read(&chunk).map_err(anyhow::Error::new)? {
                        print(&event, reader.last_event_id.as_deref());
                    }
                }
                output::note("The connection ended; connecting again.");
            }
            // A hub that starts again is away for a moment.
            Err(Failure::Unreachable { .. } | Failure::Refused { status: 502..=504, .. }) if connected => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(reader.retry.unwrap_or(pause).min(LONGEST_PAUSE)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn as_json(event: &StreamEvent, id: Option<&str>) -> String {
    let data = serde_json::from_str(&event.data).unwrap_or_else(|_| Value::String(event.data.clone()));
    json!({ "id": id, "type": event.kind, "data": data }).to_string()
}

fn as_text(event: &StreamEvent) -> String {
    format!("{:<22} {}", event.kind, output::on_one_line(&event.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = StreamEvent {
            kind: "message.created".to_owned(),
            data: "{\"a\":\n1}".to_owned(),
        };
        assert_eq!(
            as_json(&event, Some("7")),
            r#"{"data":{"a":1},"id":"7","type":"message.created"}"#
        );
        assert_eq!(as_text(&event), "message.created        {\"a\": 1}");
        let odd = StreamEvent {
            kind: String::new(),
            data: "no JSON".to_owned(),
        };
        assert_eq!(as_json(&odd, None), r#"{"data":"no JSON","id":null,"type":""}"#);
    }
}
