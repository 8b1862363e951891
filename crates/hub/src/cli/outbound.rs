//! `tidings outbound`: the stop switch of a running hub.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::SettingsArguments;
use super::failure::Failure;
use super::hub_client::HubClient;
use super::output::{self, Format};

/// Stop and start sending, on a running hub
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Stop sending: within a second nothing leaves any node; what waits stays
    Stop(Switch),
    /// Start sending again
    Start(Switch),
    /// Show whether anything goes out
    Status(Format),
}

#[derive(Debug, Args)]
pub(super) struct Switch {
    /// One channel alone [default: everything]
    #[arg(long)]
    channel: Option<String>,
    #[command(flatten)]
    format: Format,
}

const HEADINGS: [&str; 3] = ["CHANNEL", "ENABLED", "STATUS"];

pub(super) async fn run(settings: &SettingsArguments, command: Command) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    let (answer, format) = match command {
        Command::Stop(switch) => (switched(&hub, "stop", &switch).await?, switch.format),
        Command::Start(switch) => (switched(&hub, "start", &switch).await?, switch.format),
        Command::Status(format) => (hub.get("/admin/outbound", &[]).await?, format),
    };
    if format.json {
        output::document(&answer);
        return Ok(());
    }
    output::line(headline(&answer));
    let channels = answer["channels"].as_array();
    let rows: Vec<Vec<String>> = channels.into_iter().flatten().map(row).collect();
    output::table(&HEADINGS, &rows);
    Ok(())
}

async fn switched(hub: &HubClient, verb: &str, switch: &Switch) -> Result<Value, Failure> {
    let body = switch
        .channel
        .as_ref()
        .map_or_else(|| json!({}), |channel| json!({ "channel": channel }));
    hub.call(Method::POST, &format!("/admin/outbound/{verb}"), &body).await
}

fn headline(outbound: &Value) -> String {
    let state = if outbound["enabled"] == true {
        "started"
    } else {
        "stopped"
    };
    match (outbound["since"].as_str(), outbound["by"].as_str()) {
        (Some(since), Some(by)) => format!("Sending is {state}, since {since}, by {}", output::on_one_line(by)),
        _ => format!("Sending is {state}"),
    }
}

fn row(channel: &Value) -> Vec<String> {
    let text = |member: &str| output::on_one_line(channel[member].as_str().unwrap_or("-"));
    vec![text("id"), channel["enabled"].to_string(), text("status")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_anything_goes_out_is_told_first() {
        assert_eq!(headline(&json!({"enabled": true})), "Sending is started");
        let stopped = json!({"enabled": false, "since": "2026-11-22T08:00:00.000Z", "by": "admin"});
        assert_eq!(
            headline(&stopped),
            "Sending is stopped, since 2026-11-22T08:00:00.000Z, by admin"
        );
        let channel = json!({"id": "whatsapp", "enabled": true, "status": "held"});
        assert_eq!(row(&channel), ["whatsapp", "true", "held"]);
    }
}
