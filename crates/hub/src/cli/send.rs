//! `tidings send`: one message, through the hub.

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
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
    /// The channel to send by, such as whatsapp; or auto, for the one that suits best
    #[arg(long, required_unless_present_any = ["conversation", "comment", "from"])]
    channel: Option<String>,
    /// The id of the channel to send by, where --channel names a product
    #[arg(long, value_name = "CHANNEL")]
    from: Option<String>,
    /// Whom to: a phone number such as +31612345678, or an id that the channel knows
    #[arg(long, required_unless_present_any = ["contact", "conversation", "comment"], conflicts_with_all = ["contact", "conversation"])]
    to: Option<String>,
    /// The id of the contact, in place of --to
    #[arg(long, value_name = "ID", conflicts_with = "conversation")]
    contact: Option<String>,
    /// The id of the conversation, in place of --to
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// The id of a comment to answer publicly, in place of --to
    #[arg(long, value_name = "ID", requires = "message", conflicts_with_all = ["to", "contact", "conversation", "reply_to"])]
    comment: Option<String>,
    /// Answer the comment by a direct message instead, once
    #[arg(long, requires = "comment", conflicts_with_all = ["to", "contact", "conversation"])]
    privately: bool,
    /// The text
    #[arg(long, required_unless_present = "content", conflicts_with = "content")]
    message: Option<String>,
    /// Anything else than text, as the API takes it: {"type":"image", …}; or @FILE, a file that holds it
    #[arg(long, value_name = "JSON|@FILE", value_parser = parse_json_or_file)]
    content: Option<Value>,
    /// The id of the message that this one answers
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    /// What it is for
    #[arg(long, value_parser = ["service", "marketing"])]
    purpose: Option<String>,
    /// How urgent it is
    #[arg(long, value_parser = ["reply", "notification", "bulk"])]
    priority: Option<String>,
    /// When to send it, such as 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME")]
    send_at: Option<Timestamp>,
    /// When it is no longer worth sending
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// The template to send where the window has closed: {"name": …, "language": …}
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    fallback_template: Option<Value>,
    /// A document that comes back with the message
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    metadata: Option<Value>,
    /// Wait so many milliseconds for Meta's answer
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u16).range(1..=25_000))]
    wait: Option<u16>,
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

fn parse_json_or_file(text: &str) -> Result<Value, String> {
    match text.strip_prefix('@') {
        None => parse_json(text),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
            parse_json(&text)
        }
    }
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
    let path = match arguments.wait {
        Some(wait) => format!("/api/v1/messages/send?wait={wait}"),
        None => "/api/v1/messages/send".to_owned(),
    };
    let sent = hub.post(&path, headers, &body(&arguments)).await;
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
    let mut body = json!({});
    let answer = arguments.comment.as_ref().map(|comment| {
        let kind = if arguments.privately {
            "private_reply"
        } else {
            "comment_reply"
        };
        json!({"type": kind, "messageId": comment, "text": arguments.message})
    });
    let to = match (&arguments.contact, &arguments.conversation) {
        (Some(contact), _) => json!({ "contact": contact }),
        (None, Some(conversation)) => json!({ "conversation": conversation }),
        (None, None) => json!(arguments.to),
    };
    let time = |time: Option<Timestamp>| time.map(|time| json!(format!("{time:.3}")));
    let text = |text: &Option<String>| text.clone().map(Value::from);
    // With content there is no message, by the rules of the command line.
    let fields = [
        ("channel", text(&arguments.channel)),
        ("from", text(&arguments.from)),
        ("message", text(&arguments.message).filter(|_| answer.is_none())),
        ("content", answer.clone().or_else(|| arguments.content.clone())),
        ("replyTo", text(&arguments.reply_to)),
        ("purpose", text(&arguments.purpose)),
        ("priority", text(&arguments.priority)),
        ("sendAt", time(arguments.send_at)),
        ("expiresAt", time(arguments.expires_at)),
        ("fallbackTemplate", arguments.fallback_template.clone()),
        ("metadata", arguments.metadata.clone()),
    ];
    if answer.is_none() {
        body["to"] = to;
    }
    for (name, value) in fields {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn asked(words: &[&str]) -> Result<Value, String> {
        let words = ["send"].iter().chain(words);
        let parsed = CommandLine::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(body(&parsed.arguments))
    }

    #[test]
    fn the_short_form_is_short() {
        let body = asked(&["--channel", "whatsapp", "--to", "+31612345678", "--message", "Hi"]);
        assert_eq!(
            body.unwrap(),
            json!({"channel": "whatsapp", "to": "+31612345678", "message": "Hi"})
        );
    }

    #[test]
    fn a_comment_says_to_whom_its_answer_goes() {
        let content = |kind: &str| json!({"content": {"type": kind, "messageId": "msg_1", "text": "Hi"}});
        let words = ["--comment", "msg_1", "--message", "Hi"];
        assert_eq!(asked(&words).unwrap(), content("comment_reply"));
        assert_eq!(
            asked(&[&words[..], &["--privately"]].concat()).unwrap(),
            content("private_reply")
        );
        assert!(asked(&[&words[..], &["--to", "1"]].concat()).is_err());
        assert!(asked(&["--to", "1", "--channel", "instagram", "--message", "Hi", "--privately"]).is_err());
    }

    #[test]
    fn the_long_form_has_every_field_of_the_api() {
        let body = asked(&[
            "--from",
            "whatsapp-backup",
            "--contact",
            "con_1",
            "--content",
            r#"{"type":"text","text":"Hi"}"#,
            "--reply-to",
            "msg_1",
            "--purpose",
            "marketing",
            "--priority",
            "bulk",
            "--send-at",
            "2026-11-23T08:00:00Z",
            "--expires-at",
            "2026-11-24T08:00:00Z",
            "--fallback-template",
            r#"{"name":"hello_world","language":"en_US"}"#,
            "--metadata",
            "[1]",
            "--wait",
            "100",
        ]);
        let expected = json!({
            "from": "whatsapp-backup", "to": {"contact": "con_1"}, "content": {"type": "text", "text": "Hi"}, "replyTo": "msg_1",
            "purpose": "marketing", "priority": "bulk", "sendAt": "2026-11-23T08:00:00.000Z", "expiresAt": "2026-11-24T08:00:00.000Z",
            "fallbackTemplate": {"name": "hello_world", "language": "en_US"}, "metadata": [1],
        });
        assert_eq!(body.unwrap(), expected);
        let body = asked(&["--conversation", "cnv_1", "--message", "Hi"]).unwrap();
        assert_eq!(body, json!({"to": {"conversation": "cnv_1"}, "message": "Hi"}));
    }

    #[test]
    fn content_can_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("content.json");
        std::fs::write(&path, r#"{"type": "sticker"}"#).unwrap();
        let from_file = |path: &std::path::Path| {
            let file = format!("@{}", path.display());
            asked(&["--channel", "instagram", "--to", "1029384756102938", "--content", &file])
        };
        assert_eq!(from_file(&path).unwrap()["content"], json!({"type": "sticker"}));
        assert!(
            from_file(&folder.path().join("none.json"))
                .unwrap_err()
                .contains("cannot be read")
        );
    }

    #[test]
    fn whom_to_and_by_what_is_said_once() {
        for wrong in [
            &["--channel", "whatsapp", "--message", "Hi"][..],
            &["--to", "+31612345678", "--message", "Hi"],
            &[
                "--channel",
                "x",
                "--to",
                "+31612345678",
                "--contact",
                "con_1",
                "--message",
                "Hi",
            ],
            &["--contact", "con_1", "--conversation", "cnv_1", "--message", "Hi"],
            &[
                "--channel",
                "x",
                "--to",
                "+31612345678",
                "--message",
                "Hi",
                "--wait",
                "25001",
            ],
            &[
                "--channel",
                "x",
                "--to",
                "+31612345678",
                "--message",
                "Hi",
                "--purpose",
                "fun",
            ],
        ] {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }
}
