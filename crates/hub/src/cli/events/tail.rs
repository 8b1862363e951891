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
    /// Only these kinds, such as message.created,message.status
    #[arg(long, value_name = "KIND,…")]
    types: Option<String>,
    /// Only this channel
    #[arg(long)]
    channel: Option<String>,
    /// Begin after the event with this id of the stream [default: begin now]
    #[arg(long, value_name = "ID", value_parser = id_of_the_stream)]
    after: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

fn id_of_the_stream(text: &str) -> Result<String, String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if text.split('.').all(is_number) {
        Ok(text.to_owned())
    } else {
        Err("is not an id of the stream, such as 17.1; `--json` prints them".to_owned())
    }
}

pub(in crate::cli) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let stop = stop_signal::listen()?;
    let hub = HubClient::find(settings)?;
    let given = [
        ("types", arguments.types.clone()),
        ("channel", arguments.channel.clone()),
    ];
    let query: Vec<_> = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let json = arguments.json;
    let print = |event: &StreamEvent| output::line(if json { as_json(event) } else { as_text(event) });
    tokio::select! {
        () = stop => Ok(()),
        ended = follow(&hub, &query, arguments.after, print) => ended,
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Follows the stream for good: after a break it resumes where it was. Ends only where there is no hub to begin with, or it refuses.
pub(in crate::cli) async fn follow(
    hub: &HubClient,
    query: &[(&str, String)],
    after: Option<String>,
    mut print: impl FnMut(&StreamEvent),
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
                        print(&event);
                    }
                }
                output::note("The connection ended; connecting again.");
            }
            // A hub that starts again is away for a moment, and one that has started does not stream in its first moment.
            Err(Failure::Unreachable { .. }) if connected => {}
            Err(Failure::Refused { status: 502..=504, .. }) => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(reader.retry.unwrap_or(pause).min(LONGEST_PAUSE)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn as_json(event: &StreamEvent) -> String {
    let data = serde_json::from_str(&event.data).unwrap_or_else(|_| Value::String(event.data.clone()));
    json!({ "id": event.id, "type": event.kind, "data": data }).to_string()
}

/// One line: when, what, and in short what about it.
fn as_text(event: &StreamEvent) -> String {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let time = data["at"].as_str().unwrap_or("-");
    let told = match event.kind.as_str() {
        "message.created" | "message.updated" => {
            let message = &data["message"];
            let content = &message["content"];
            let said = content["text"]
                .as_str()
                .or(content["type"].as_str())
                .unwrap_or_default();
            words(message, &["channelId", "direction", "status", "id"], said)
        }
        "message.status" => words(&data, &["channelId", "status", "messageId"], ""),
        "event" => words(&data["event"], &["channelId", "eventType", "status", "id"], ""),
        "conversation.updated" => words(&data["conversation"], &["channelId", "status", "id"], ""),
        _ => event.data.clone(),
    };
    output::on_one_line(&format!("{time}  {:<20}  {told}", event.kind))
}

fn words(value: &Value, names: &[&str], last: &str) -> String {
    let named = names.iter().filter_map(|name| value[*name].as_str());
    named
        .chain([last])
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("  ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};

    use super::*;
    use crate::cli::hub_client::tests::with_hub;

    /// The bodies that a hub answers with, one a connection, and from where each connection resumed.
    #[derive(Clone)]
    struct Hub {
        bodies: Arc<Mutex<Vec<Response>>>,
        resumed_after: Arc<Mutex<Vec<Option<String>>>>,
    }

    impl Hub {
        fn new(bodies: Vec<Response>) -> Self {
            Self {
                bodies: Arc::new(Mutex::new(bodies)),
                resumed_after: Arc::default(),
            }
        }

        fn respond(&self, request: &Request) -> Response {
            let after = request
                .headers()
                .get("last-event-id")
                .and_then(|id| id.to_str().ok())
                .map(str::to_owned);
            self.resumed_after.lock().unwrap().push(after);
            let mut bodies = self.bodies.lock().unwrap();
            if bodies.is_empty() {
                StatusCode::GONE.into_response()
            } else {
                bodies.remove(0)
            }
        }
    }

    /// Follows until the hub has no more to say and refuses; answers with what was printed.
    async fn followed(hub: &Hub, after: Option<&str>) -> (Vec<(String, Option<String>)>, Result<(), Failure>) {
        let mut printed = Vec::new();
        let responding = hub.clone();
        let respond = move |request: Request| std::future::ready(responding.respond(&request));
        let after = after.map(str::to_owned);
        let ended = with_hub(respond, async |client| {
            follow(&client, &[], after, |event| {
                printed.push((event.data.clone(), event.id.clone()));
            })
            .await
        })
        .await;
        (printed, ended)
    }

    fn row(data: &str, id: &str) -> (String, Option<String>) {
        (data.to_owned(), Some(id.to_owned()))
    }

    #[tokio::test]
    async fn after_a_break_it_goes_on_behind_the_last_whole_event() {
        let hub = Hub::new(vec![
            "retry: 1\nid: 1.0\ndata: a\n\nid: 1.1\ndata: b\n\nid: 2.0\ndata: ha".into_response(),
            StatusCode::SERVICE_UNAVAILABLE.into_response(),
            "id: 2.0\ndata: half\n\n".into_response(),
        ]);
        let (printed, ended) = followed(&hub, Some("0.9")).await;
        assert_eq!(printed, [row("a", "1.0"), row("b", "1.1"), row("half", "2.0")]);
        let resumed = hub.resumed_after.lock().unwrap().clone();
        let expected = ["0.9", "1.1", "1.1", "2.0"].map(|id| Some(id.to_owned()));
        assert_eq!(resumed, expected);
        assert!(matches!(ended, Err(Failure::Refused { status: 410, .. })), "{ended:?}");
    }

    #[tokio::test]
    async fn a_refusal_ends_it() {
        let hub = Hub::new(vec![StatusCode::UNAUTHORIZED.into_response()]);
        let (printed, ended) = followed(&hub, None).await;
        assert!(printed.is_empty());
        assert!(matches!(ended, Err(Failure::Refused { status: 401, .. })), "{ended:?}");
        assert_eq!(*hub.resumed_after.lock().unwrap(), [None]);
    }

    #[tokio::test]
    async fn without_a_hub_to_begin_with_it_ends() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let hub = HubClient::at(&url, "correct-horse-battery".into()).unwrap();
        let ended = follow(&hub, &[], None, |_| {}).await;
        assert!(matches!(ended, Err(Failure::Unreachable { .. })), "{ended:?}");
    }

    fn event(kind: &str, data: &str) -> StreamEvent {
        StreamEvent {
            id: Some("7.0".to_owned()),
            kind: kind.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn an_event_is_one_json_object() {
        assert_eq!(
            as_json(&event("x", "{\"a\":\n1}")),
            r#"{"data":{"a":1},"id":"7.0","type":"x"}"#
        );
        assert_eq!(
            as_json(&event("", "no JSON")),
            r#"{"data":"no JSON","id":"7.0","type":""}"#
        );
    }

    #[test]
    fn an_event_is_one_readable_line() {
        for (kind, data, line) in [
            (
                "message.created",
                r#"{"at":"T","message":{"id":"msg_1","channelId":"whatsapp","direction":"inbound","status":"delivered",
                    "content":{"type":"text","text":"Hi\nthere"}}}"#,
                "T  message.created       whatsapp  inbound  delivered  msg_1  Hi there",
            ),
            (
                "message.status",
                r#"{"at":"T","messageId":"msg_1","channelId":"whatsapp","status":"read"}"#,
                "T  message.status        whatsapp  read  msg_1",
            ),
            (
                "event",
                r#"{"at":"T","event":{"id":"evt_1","channelId":null,"eventType":"messages","status":"processed"}}"#,
                "T  event                 messages  processed  evt_1",
            ),
            ("stream.reset", "{}", "-  stream.reset          {}"),
            ("", "no\nJSON", "-                        no JSON"),
        ] {
            assert_eq!(as_text(&event(kind, data)), line);
        }
    }
}
