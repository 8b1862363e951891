//! `tidings flag`: the switches of a running hub.

use clap::{ArgAction, Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::SettingsArguments;
use super::failure::Failure;
use super::hub_client::{HubClient, name_in_path};
use super::output::{self, Format};

/// Look at flags and set them, on a running hub
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all flags, set or not
    List(Format),
    /// Set a flag: tidings flag set channels.email.priority true
    Set(Set),
    /// Give a flag its default again
    Unset(One),
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The flag, such as channels.email.priority
    name: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    flag: One,
    /// true or false
    #[arg(action = ArgAction::Set)]
    value: bool,
}

const HEADINGS: [&str; 4] = ["FLAG", "VALUE", "SET BY", "WHAT IT DOES"];

pub(super) async fn run(settings: &SettingsArguments, command: Command) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    let (answer, flags, format) = match command {
        Command::List(format) => {
            let answer = hub.get("/api/v1/flags", &[]).await?;
            let flags = answer["flags"].as_array().cloned().unwrap_or_default();
            (answer, flags, format)
        }
        Command::Set(set) => {
            let value = json!({ "value": set.value });
            let answer = hub.call(Method::PUT, &path_of(&set.flag.name)?, &value).await?;
            (answer.clone(), vec![answer], set.flag.format)
        }
        Command::Unset(one) => {
            let answer = hub.call(Method::DELETE, &path_of(&one.name)?, &Value::Null).await?;
            (answer.clone(), vec![answer], one.format)
        }
    };
    if format.json {
        output::document(&answer);
    } else {
        let rows: Vec<Vec<String>> = flags.iter().map(row).collect();
        output::table(&HEADINGS, &rows);
    }
    Ok(())
}

fn path_of(name: &str) -> Result<String, Failure> {
    Ok(format!("/api/v1/flags/{}", name_in_path("the name of a flag", name)?))
}

fn row(flag: &Value) -> Vec<String> {
    let text = |member: &str| output::on_one_line(flag[member].as_str().unwrap_or("-"));
    vec![
        text("name"),
        flag["value"].to_string(),
        text("updatedBy"),
        text("description"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_one_line() {
        let flag =
            json!({"name": "outbound.enabled", "value": false, "updatedBy": "admin", "description": "What it does."});
        assert_eq!(row(&flag), ["outbound.enabled", "false", "admin", "What it does."]);
        assert!(path_of("../channels").is_err());
    }
}
