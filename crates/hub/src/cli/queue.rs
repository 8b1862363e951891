//! `tidings queue`: what still has to be sent, what has failed, and going on with it.

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::SettingsArguments;
use super::failure::Failure;
use super::hub_client::HubClient;
use super::output;

/// Look at the messages that still have to be sent, or that failed, on a running hub
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show how much waits on each channel, since when, and why
    Show(Show),
    /// Go on at once with everything that waits on a pause
    Process(Process),
    /// List messages that failed or expired, newest first
    Failed(Failed),
    /// Send a message again, or all that failed and that a filter names
    Retry(Retry),
    /// Cancel a message that is not yet sent
    Cancel(Cancel),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Process {
    /// On this channel alone
    #[arg(long)]
    channel: Option<String>,
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

/// Which messages that failed. All that are given have to fit.
#[derive(Debug, Default, Args)]
struct Filter {
    /// The channel's id
    #[arg(long)]
    channel: Option<String>,
    /// failed or expired
    #[arg(long, value_parser = ["failed", "expired"])]
    status: Option<String>,
    /// Meta's code; 0 for a failure of Tidings' own
    #[arg(long)]
    code: Option<i64>,
    /// Made at this time or later, such as 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct Failed {
    #[command(flatten)]
    filter: Filter,
    /// How many: 1 to 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Where the last page ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The message
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// All that failed or expired, without a filter
    #[arg(long)]
    all: bool,
    /// Also what may have arrived: the contact may get it twice
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The message
    id: String,
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Filter {
    /// As the API takes it.
    fn fields(&self) -> Map<String, Value> {
        let fields = [
            ("channel", self.channel.clone().map(Value::from)),
            ("status", self.status.clone().map(Value::from)),
            ("code", self.code.map(Value::from)),
            ("since", self.since.map(|time| format!("{time:.3}").into())),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Does what the command line says.
pub(super) async fn run(settings: &SettingsArguments, command: Command) -> Result<(), Failure> {
    match command {
        Command::Show(arguments) => show(settings, &arguments).await,
        Command::Process(arguments) => process(settings, &arguments).await,
        Command::Failed(arguments) => failed(settings, arguments).await,
        Command::Retry(arguments) => retry(settings, &arguments).await,
        Command::Cancel(arguments) => cancel(settings, &arguments).await,
    }
}

async fn show(settings: &SettingsArguments, arguments: &Show) -> Result<(), Failure> {
    let answer = HubClient::find(settings)?.get("/admin/queue", &[]).await?;
    if arguments.json {
        output::document(&answer);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer["channels"]
        .as_array()
        .into_iter()
        .flatten()
        .map(queue_row)
        .collect();
    output::table(&QUEUE_HEADINGS, &rows);
    let more = if answer["isExact"] == false { " at least" } else { "" };
    let drain = match answer["drainSecs"].as_i64() {
        Some(secs) => format!("{secs} s at the present pace"),
        None => "not known: nothing was sent of late".to_owned(),
    };
    output::line(format!(
        "Messages that wait: {}{more}; for their time: {}; until all are sent: {drain}",
        answer["length"], answer["scheduled"]
    ));
    Ok(())
}

const QUEUE_HEADINGS: [&str; 8] = [
    "CHANNEL",
    "LENGTH",
    "WAITING",
    "SENDING",
    "UNKNOWN",
    "SCHEDULED",
    "OLDEST",
    "PAUSED",
];

fn queue_row(channel: &Value) -> Vec<String> {
    let states = &channel["states"];
    let paused: Vec<String> = channel["paused"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(reason, count)| format!("{}: {count}", output::on_one_line(reason)))
        .collect();
    let oldest = channel["oldest"]["ageSecs"].as_i64().map(|secs| format!("{secs} s"));
    vec![
        output::cell(&channel["channelId"]),
        output::cell(&channel["length"]),
        output::cell(&states["waiting"]),
        output::cell(&states["sending"]),
        output::cell(&states["unknown"]),
        output::cell(&channel["scheduled"]),
        oldest.unwrap_or_else(|| "-".to_owned()),
        if paused.is_empty() {
            "-".to_owned()
        } else {
            paused.join(", ")
        },
    ]
}

async fn process(settings: &SettingsArguments, arguments: &Process) -> Result<(), Failure> {
    let mut path = "/admin/messages/process-queue".to_owned();
    if let Some(channel) = &arguments.channel {
        checked(channel, "a channel")?;
        path = format!("{path}?channel={channel}");
    }
    let answer = HubClient::find(settings)?
        .post(&path, HeaderMap::new(), &json!({}))
        .await?;
    if arguments.json {
        output::document(&answer);
    } else {
        output::line(format!("Messages that are due now: {}", answer["released"]));
        if answer["unknown"] != 0 {
            output::note(format!(
                "Left as they are, since it is not known yet whether Meta has taken them: {}",
                answer["unknown"]
            ));
        }
    }
    Ok(())
}

async fn failed(settings: &SettingsArguments, arguments: Failed) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    let fields = arguments.filter.fields();
    let mut query: Vec<(&str, String)> = fields
        .iter()
        .map(|(name, value)| {
            (
                name.as_str(),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )
        })
        .collect();
    query.push(("limit", arguments.limit.to_string()));
    query.extend(arguments.cursor.map(|cursor| ("cursor", cursor)));
    let answer = hub.get("/admin/messages/failed", &query).await?;
    if arguments.json {
        output::document(&answer);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(failed_row)
        .collect();
    output::table(&FAILED_HEADINGS, &rows);
    if let Some(cursor) = answer["nextCursor"].as_str() {
        output::note(format!("There are more: add --cursor {cursor}"));
    }
    Ok(())
}

const FAILED_HEADINGS: [&str; 6] = ["CREATED", "ID", "CHANNEL", "STATUS", "CODE", "WHY"];

fn failed_row(message: &Value) -> Vec<String> {
    let error = &message["error"];
    vec![
        output::cell(&message["createdAt"]),
        output::cell(&message["id"]),
        output::cell(&message["channelId"]),
        output::cell(&message["status"]),
        output::cell(&error["code"]),
        output::cell(&error["text"]),
    ]
}

async fn retry(settings: &SettingsArguments, arguments: &Retry) -> Result<(), Failure> {
    let mut request = retry_request(arguments)?;
    let hub = HubClient::find(settings)?;
    if arguments.id.is_some() {
        let message = hub.post(&request.path, HeaderMap::new(), &request.body).await?;
        told(&message, arguments.json);
        return Ok(());
    }
    let mut sums = json!({ "queued": 0, "mayHaveArrived": 0, "notRetryable": 0 });
    // The hub takes so many in one go, and says where to go on.
    loop {
        let answer = hub.post(&request.path, HeaderMap::new(), &request.body).await?;
        for (name, sum) in sums.as_object_mut().into_iter().flatten() {
            let count = answer[name.as_str()]
                .as_u64()
                .context("the hub's answer does not say how many messages")?;
            *sum = (sum.as_u64().unwrap_or(0) + count).into();
        }
        match answer["nextCursor"].as_str() {
            Some(cursor) if request.body["cursor"] != cursor => request.body["cursor"] = cursor.into(),
            _ => break,
        }
    }
    if arguments.json {
        output::document(&sums);
        return Ok(());
    }
    output::line(format!("Messages that are queued again: {}", sums["queued"]));
    if sums["mayHaveArrived"] != 0 {
        output::note(format!(
            "Not queued, since they may have arrived: {}; add --force to send them for all that",
            sums["mayHaveArrived"]
        ));
    }
    if sums["notRetryable"] != 0 {
        output::note(format!("That cannot be sent again: {}", sums["notRetryable"]));
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Request {
    path: String,
    body: Value,
}

fn retry_request(arguments: &Retry) -> Result<Request, Failure> {
    let mut fields = arguments.filter.fields();
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    match &arguments.id {
        Some(_) if !fields.is_empty() || arguments.all => usage("name one message or filter messages, not both"),
        Some(id) => {
            checked(id, "a message")?;
            let query = if arguments.force { "?force=true" } else { "" };
            Ok(Request {
                path: format!("/admin/messages/{id}/retry{query}"),
                body: json!({}),
            })
        }
        None if fields.is_empty() && !arguments.all => {
            usage("name the message, or filter messages (--code 131026), or say --all")
        }
        None => {
            if arguments.force {
                fields.insert("force".to_owned(), true.into());
            }
            Ok(Request {
                path: "/admin/messages/failed/retry".to_owned(),
                body: fields.into(),
            })
        }
    }
}

async fn cancel(settings: &SettingsArguments, arguments: &Cancel) -> Result<(), Failure> {
    checked(&arguments.id, "a message")?;
    let path = format!("/admin/messages/{}/cancel", arguments.id);
    let message = HubClient::find(settings)?
        .post(&path, HeaderMap::new(), &json!({}))
        .await?;
    told(&message, arguments.json);
    Ok(())
}

/// What a message is now.
fn told(message: &Value, json: bool) {
    if json {
        output::document(message);
    } else {
        output::line(format!(
            "{}  {}",
            output::cell(&message["id"]),
            output::cell(&message["status"])
        ));
    }
}

/// What stands in an address must not change which one it is.
fn checked(id: &str, what: &str) -> Result<(), Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !id.is_empty() && id.bytes().all(is_plain) && !id.starts_with('.') {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "the id of {what} has letters, digits, `_`, `-` and `.` alone"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(id: Option<&str>, code: Option<i64>, all: bool, force: bool) -> Retry {
        Retry {
            id: id.map(str::to_owned),
            filter: Filter {
                code,
                ..Filter::default()
            },
            all,
            force,
            json: false,
        }
    }

    #[test]
    fn one_message_or_a_filter_is_sent_again() {
        let request = |id, code, all, force| {
            let request = retry_request(&arguments(id, code, all, force)).unwrap();
            (request.path, request.body)
        };
        let by_filter = || "/admin/messages/failed/retry".to_owned();
        assert_eq!(
            request(Some("msg_1"), None, false, true),
            ("/admin/messages/msg_1/retry?force=true".to_owned(), json!({}))
        );
        assert_eq!(
            request(None, Some(131_026), false, false),
            (by_filter(), json!({"code": 131_026}))
        );
        assert_eq!(request(None, None, true, true), (by_filter(), json!({"force": true})));
    }

    #[test]
    fn nothing_is_sent_again_by_accident() {
        for wrong in [
            arguments(None, None, false, true),
            arguments(Some("msg_1"), Some(1), false, false),
            arguments(Some("msg_1"), None, true, false),
            arguments(Some("../failed"), None, false, false),
            arguments(Some("msg_1?force=true"), None, false, false),
        ] {
            assert!(matches!(retry_request(&wrong), Err(Failure::Usage(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_channel_and_a_failed_message_are_rows() {
        let channel = json!({"channelId": "whatsapp", "length": 3, "states": {"waiting": 2, "sending": 1, "unknown": 0}, "scheduled": 4,
            "oldest": {"ageSecs": 12}, "paused": {"throttled": 2}});
        assert_eq!(
            queue_row(&channel),
            ["whatsapp", "3", "2", "1", "0", "4", "12 s", "throttled: 2"]
        );
        let message = json!({"createdAt": "2026-11-23T08:00:00.000Z", "id": "msg_1", "channelId": "whatsapp", "status": "failed",
            "error": {"code": 131_026, "text": "a\nb"}});
        assert_eq!(
            failed_row(&message),
            [
                "2026-11-23T08:00:00.000Z",
                "msg_1",
                "whatsapp",
                "failed",
                "131026",
                "a b"
            ]
        );
    }
}
