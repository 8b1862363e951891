//! `tidings channel`: the numbers, accounts and e-mail senders of a running hub.

use std::io::{IsTerminal, Read, stdin};

use anyhow::Context;
use clap::{Args, Subcommand};
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::SettingsArguments;
use super::failure::Failure;
use super::hub_client::{HubClient, name_in_path};
use super::output::{self, Format};

/// Look at channels and change them, on a running hub
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all channels and how they stand
    List(Format),
    /// Show a channel
    Show(One),
    Add(Add),
    /// Give a channel another token (of an e-mail sender, another SMTP address), read from standard input
    SetToken(One),
    Switch(Switch),
    /// Remove a channel that was added while the hub ran
    Remove(One),
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The channel, such as whatsapp
    id: String,
    #[command(flatten)]
    format: Format,
}

/// Add a channel; its token (of an e-mail sender, the SMTP address) is read from standard input
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its name here, such as whatsapp-nl
    id: String,
    /// What it is a connection to
    #[arg(long, value_parser = ["whatsapp", "instagram", "email"])]
    kind: String,
    /// Meta's id of the phone number or the account; of an e-mail sender, its address
    #[arg(long)]
    account: String,
    /// Meta's id of the WhatsApp Business Account
    #[arg(long, value_name = "ID")]
    business_account: Option<String>,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// The channel whose place it takes when that one cannot send
    #[arg(long, value_name = "CHANNEL")]
    backup_for: Option<String>,
    /// Without a token: it only receives
    #[arg(long)]
    receive_only: bool,
    #[command(flatten)]
    format: Format,
}

/// Put a channel's backup in its place: new and waiting messages go out by it
#[derive(Debug, Args)]
pub(super) struct Switch {
    /// The channel, such as whatsapp
    id: String,
    /// The backup; its only one if left out
    #[arg(long, value_name = "CHANNEL", conflicts_with = "back")]
    to: Option<String>,
    /// Let the channel send itself again
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    format: Format,
}

const HEADINGS: [&str; 6] = ["ID", "KIND", "ACCOUNT", "STATUS", "SOURCE", "NAME"];
/// More than any token has.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

pub(super) async fn run(settings: &SettingsArguments, command: Command) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    match command {
        Command::List(format) => list(&hub, &format).await,
        Command::Show(one) => {
            let shown = hub.get(&path_of(&one.id)?, &[]).await?;
            show(&shown, &one.format);
            Ok(())
        }
        Command::Add(add) => {
            let token = if add.receive_only { None } else { Some(read_token()?) };
            let added = hub
                .post("/api/v1/channels", HeaderMap::new(), &body(&add, token.as_ref()))
                .await?;
            show(&added, &add.format);
            Ok(())
        }
        Command::SetToken(one) => {
            let path = path_of(&one.id)?;
            let channel = hub.get(&path, &[]).await?;
            let kind = channel["kind"].as_str().context("the hub's answer names no kind")?;
            let credentials = json!({ credentials_field(kind): read_token()?.expose_secret() });
            let swapped = hub
                .call(Method::PUT, &format!("{path}/credentials"), &credentials)
                .await?;
            show(&swapped, &one.format);
            Ok(())
        }
        Command::Switch(switch) => {
            let path = format!("{}/switch", path_of(&switch.id)?);
            let switched = if switch.back {
                hub.call(Method::DELETE, &path, &Value::Null).await?
            } else {
                let request = switch.to.as_ref().map_or_else(|| json!({}), |to| json!({ "to": to }));
                hub.post(&path, HeaderMap::new(), &request).await?
            };
            show(&switched, &switch.format);
            Ok(())
        }
        Command::Remove(one) => {
            hub.call(Method::DELETE, &path_of(&one.id)?, &Value::Null).await?;
            if one.format.json {
                output::document(&json!({ "removed": one.id }));
            } else {
                output::line(format!("{} was removed", one.id));
            }
            Ok(())
        }
    }
}

fn path_of(id: &str) -> Result<String, Failure> {
    Ok(format!("/api/v1/channels/{}", name_in_path("the id of a channel", id)?))
}

async fn list(hub: &HubClient, format: &Format) -> Result<(), Failure> {
    let answer = hub.get("/api/v1/channels", &[]).await?;
    if format.json {
        output::document(&answer);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer["channels"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|channel| {
            ["id", "kind", "account", "status", "source", "name"]
                .map(|member| output::on_one_line(channel[member].as_str().unwrap_or("-")))
                .to_vec()
        })
        .collect();
    output::table(&HEADINGS, &rows);
    Ok(())
}

fn show(channel: &Value, format: &Format) {
    if format.json {
        output::document(channel);
        return;
    }
    for line in lines(channel) {
        output::line(line);
    }
}

/// What a person wants to know of a channel, most important first.
fn lines(channel: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => output::on_one_line(text),
        other => other.to_string(),
    };
    let mut lines = vec![format!("{}  {}", text(&channel["id"]), text(&channel["status"]))];
    let held = &channel["held"];
    if held.is_object() {
        let [code, reason, since] = ["code", "reason", "since"].map(|member| text(&held[member]));
        lines.push(format!("  held: since {since}, because Meta says {reason} ({code})"));
    }
    let circuit = &channel["circuit"];
    if circuit.is_object() {
        let [state, reason, since, probe_at] =
            ["state", "reason", "since", "probeAt"].map(|member| text(&circuit[member]));
        lines.push(format!(
            "  circuit: {state} since {since}, because calls fail ({reason}); tried with one message at {probe_at}"
        ));
    }
    let switched = &channel["switched"];
    if switched.is_object() {
        let [to, since, by] = ["to", "since", "by"].map(|member| text(&switched[member]));
        lines.push(format!("  switched: to {to} since {since}, by {by}"));
    }
    for member in [
        "kind",
        "account",
        "businessAccount",
        "name",
        "source",
        "backupFor",
        "limits",
        "lastEventAt",
    ] {
        let value = &channel[member];
        if !value.is_null() && *value != json!({}) {
            lines.push(format!("  {member}: {}", text(value)));
        }
    }
    if let Some(version) = channel["credentials"]["version"].as_i64() {
        let end = channel["credentials"]["endsWith"].as_str();
        let end = end.map_or_else(String::new, |end| format!(", ends with {}", output::on_one_line(end)));
        let changed_at = text(&channel["credentials"]["changedAt"]);
        lines.push(format!("  credentials: no. {version}{end}, since {changed_at}"));
    }
    lines
}

fn body(add: &Add, token: Option<&SecretString>) -> Value {
    let given = [
        ("id", Some(add.id.as_str())),
        ("kind", Some(&add.kind)),
        ("account", Some(&add.account)),
        ("businessAccount", add.business_account.as_deref()),
        ("name", add.name.as_deref()),
        ("backupFor", add.backup_for.as_deref()),
        (credentials_field(&add.kind), token.map(ExposeSecret::expose_secret)),
    ];
    let body: Map<String, Value> = given
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect();
    body.into()
}

fn credentials_field(kind: &str) -> &'static str {
    if kind == "email" { "smtpUrl" } else { "accessToken" }
}

/// From standard input: on a command line everybody on the machine could read it.
fn read_token() -> Result<SecretString, Failure> {
    let mut text = String::new();
    let read = if stdin().is_terminal() {
        output::note("Paste the token, and press Enter:");
        stdin().read_line(&mut text)
    } else {
        stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text)
    };
    read.context("standard input cannot be read")?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::Usage(
            "there is no token on standard input: `tidings channel set-token whatsapp < token.txt`".to_owned(),
        ));
    }
    Ok(SecretString::from(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_added_as_the_api_takes_it() {
        let add = Add {
            id: "post".to_owned(),
            kind: "email".to_owned(),
            account: "shop@example.com".to_owned(),
            business_account: None,
            name: Some("Post".to_owned()),
            backup_for: None,
            receive_only: false,
            format: Format { json: false },
        };
        let url = SecretString::from("smtp://localhost");
        assert_eq!(
            body(&add, Some(&url)),
            json!({"id": "post", "kind": "email", "account": "shop@example.com", "name": "Post", "smtpUrl": "smtp://localhost"})
        );
        assert!(body(&add, None).get("smtpUrl").is_none());
    }

    #[test]
    fn why_a_channel_is_held_stands_first() {
        let channel = json!({"id": "whatsapp", "status": "held", "kind": "whatsapp", "account": "1", "name": null, "limits": {},
            "held": {"code": 190, "reason": "Session has expired", "since": "2026-11-22T08:00:00.000Z"},
            "credentials": {"version": 2, "endsWith": "abcd", "changedAt": "2026-11-21T08:00:00.000Z"}});
        assert_eq!(
            lines(&channel),
            [
                "whatsapp  held",
                "  held: since 2026-11-22T08:00:00.000Z, because Meta says Session has expired (190)",
                "  kind: whatsapp",
                "  account: 1",
                "  credentials: no. 2, ends with abcd, since 2026-11-21T08:00:00.000Z",
            ]
        );
    }
}
