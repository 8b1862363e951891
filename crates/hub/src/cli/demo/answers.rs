//! What answers the customers of the demo, and prints what is said: an example of a program that uses the hub's API.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::cli::event_stream::StreamEvent;
use crate::cli::events::follow;
use crate::cli::failure::Failure;
use crate::cli::hub_client::HubClient;
use crate::cli::output;

/// How many events may wait to be answered: the customers of a demo write every few seconds.
const WAITING_MAX: usize = 1000;
/// Of how many conversations the contact's name is remembered.
const NAMES_MAX: usize = 1000;

/// Follows the stream, prints each message and answers each text. Ends only if the hub refuses.
pub(super) async fn run(hub: &HubClient) -> Result<(), Failure> {
    let (told, mut waiting) = mpsc::channel::<StreamEvent>(WAITING_MAX);
    let types = [("types", "message.created".to_owned())];
    let listen = follow(hub, &types, None, move |event| {
        if told.try_send(event.clone()).is_err() {
            output::note("A message is neither shown nor answered: too many wait.");
        }
    });
    let answer = async {
        let mut names = HashMap::new();
        while let Some(event) = waiting.recv().await {
            if let Some(message) = Message::read(&event) {
                let name = name_of(hub, &mut names, &message.conversation).await;
                output::line(message.line(&name));
                reply(hub, &message).await;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = listen => ended,
        ended = answer => ended,
    }
}

/// A message, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    id: String,
    conversation: String,
    channel: String,
    inbound: bool,
    time: String,
    /// What it says, or which kind of thing it is.
    said: Result<String, String>,
}

impl Message {
    fn read(event: &StreamEvent) -> Option<Self> {
        let data: Value = serde_json::from_str(&event.data).ok()?;
        let message = &data["message"];
        let text = |name: &str| message[name].as_str().map(str::to_owned);
        let content = &message["content"];
        let kind = content["type"].as_str().unwrap_or("message");
        Some(Self {
            id: text("id")?,
            conversation: text("conversationId")?,
            channel: text("channelId")?,
            inbound: message["direction"] == "inbound",
            time: text("occurredAt")?,
            said: match content["text"].as_str() {
                Some(text) if kind == "text" => Ok(text.to_owned()),
                _ => Err(kind.to_owned()),
            },
        })
    }

    fn line(&self, name: &str) -> String {
        let time = self.time.get(11..19).unwrap_or(&self.time);
        let arrow = if self.inbound { "→" } else { "←" };
        let said = match &self.said {
            Ok(text) => output::on_one_line(text),
            Err(kind) => format!("({kind})"),
        };
        format!("{time}  {:<10} {name:<14} {arrow} {said}", self.channel)
    }
}

/// The contact's name; asked for once a conversation.
async fn name_of(hub: &HubClient, names: &mut HashMap<String, String>, conversation: &str) -> String {
    if names.len() >= NAMES_MAX {
        names.clear();
    }
    match names.entry(conversation.to_owned()) {
        Entry::Occupied(known) => known.get().clone(),
        Entry::Vacant(unknown) => {
            let found = hub
                .get(&format!("/api/v1/conversations/{conversation}"), &[])
                .await
                .unwrap_or_default();
            let contact = &found["contact"];
            match contact["name"]
                .as_str()
                .or(contact["username"].as_str())
                .map(output::on_one_line)
            {
                Some(name) => unknown.insert(name).clone(),
                None => "(no name yet)".to_owned(),
            }
        }
    }
}

async fn reply(hub: &HubClient, message: &Message) {
    let (true, Ok(text)) = (message.inbound, &message.said) else {
        return;
    };
    let body = json!({
        "to": { "conversation": message.conversation },
        "message": format!("Thanks! You wrote: {text}"),
    });
    // Should the stream tell of a message twice, it is answered once for all that.
    let mut headers = HeaderMap::new();
    if let Ok(key) = HeaderValue::from_str(&format!("demo-{}", message.id)) {
        headers.insert("idempotency-key", key);
    }
    if let Err(failure) = hub.post("/api/v1/messages/send", headers, &body).await {
        output::note(format!("A message could not be answered: {failure}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &Value) -> StreamEvent {
        StreamEvent {
            data: data.to_string(),
            ..StreamEvent::default()
        }
    }

    fn message(direction: &str, content: &Value) -> Value {
        json!({"at": "2026-11-23T08:01:03.000Z", "message": {"id": "msg_1", "conversationId": "cnv_1", "channelId": "whatsapp", "direction": direction, "content": content,
            "occurredAt": "2026-11-23T08:01:02.003Z"}})
    }

    #[test]
    fn a_message_is_one_line() {
        let inbound = message("inbound", &json!({"type": "text", "text": "Hi\nthere"}));
        let read = Message::read(&event(&inbound)).unwrap();
        assert_eq!(
            read.line("Amara Okafor"),
            "08:01:02  whatsapp   Amara Okafor   → Hi there"
        );
        let outbound = message("outbound", &json!({"type": "image", "text": "no text of its own"}));
        let read = Message::read(&event(&outbound)).unwrap();
        assert_eq!(read.line("Amara"), "08:01:02  whatsapp   Amara          ← (image)");
    }

    #[test]
    fn what_is_no_message_is_passed_over() {
        assert_eq!(Message::read(&event(&json!({"id": "x"}))), None);
        assert_eq!(Message::read(&StreamEvent::default()), None);
    }
}
