//! `tidings send`: one message, through the hub.

use anyhow::Context;
use clap::Args;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tidings::clock::Clock;
use tidings::ids::Ids;
use uuid::Uuid;

use super::SettingsArguments;
use super::failure::Failure;
use super::hub_client::HubClient;
use super::output;

/// Send a message through a running hub
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The channel to send by, such as whatsapp
    #[arg(long)]
    channel: String,
    /// Whom to: a phone number such as +31612345678, or an id that the channel knows
    #[arg(long)]
    to: String,
    /// The text
    #[arg(long, required_unless_present = "content", conflicts_with = "content")]
    message: Option<String>,
    /// Anything else than text, as the API takes it: {"type":"image", …}
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    content: Option<Value>,
    /// The same key sends the same message once, however often it is asked for [default: a new one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

/// Sends the message and prints its id and how far it got.
pub(super) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    let key = arguments
        .idempotency_key
        .clone()
        .unwrap_or_else(|| Ids::from_system(Clock::system()).next::<Uuid>().to_string());
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", header_value(&key)?);
    let sent = hub.post("/api/v1/messages/send", headers, &body(&arguments)).await;
    let answer = match sent {
        Err(Failure::Unreachable { url, what }) => {
            // It may have arrived for all that.
            output::note(format!(
                "To try again without sending twice, add --idempotency-key {key}"
            ));
            return Err(Failure::Unreachable { url, what });
        }
        sent => sent?,
    };
    if arguments.json {
        output::document(&answer);
    } else {
        let id = answer["messageId"]
            .as_str()
            .context("the hub's answer names no message")?;
        output::line(format!("{id}  {}", answer["status"].as_str().unwrap_or("accepted")));
    }
    Ok(())
}

fn header_value(key: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(key)
        .map_err(|_| Failure::Usage("--idempotency-key may only have visible ASCII characters".to_owned()))
}

fn body(arguments: &Arguments) -> Value {
    let mut body = json!({ "channel": arguments.channel, "to": arguments.to });
    match (&arguments.message, &arguments.content) {
        (_, Some(content)) => body["content"] = content.clone(),
        (message, None) => body["message"] = json!(message),
    }
    body
}
