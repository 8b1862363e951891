//! `tidings template`: the message templates of a running hub.

use clap::{Args, Subcommand};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::SettingsArguments;
use super::failure::Failure;
use super::hub_client::{HubClient, name_in_path};
use super::output::{self, Format};

/// Look at the message templates that Meta has approved, and read them anew, on a running hub
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(List),
    /// Show a template: what it says, and what it takes
    Show(Show),
    Sync(Sync),
}

/// List templates
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those that this channel can send
    #[arg(long)]
    channel: Option<String>,
    /// Only those with this status, such as approved or paused
    #[arg(long)]
    status: Option<String>,
    /// Only those in this language, such as en_US
    #[arg(long)]
    language: Option<String>,
    /// Only those of this category: utility, marketing, authentication
    #[arg(long)]
    category: Option<String>,
    /// Only those whose name or wording contains this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its id, or its name
    template: String,
    #[command(flatten)]
    format: Format,
}

/// Read the templates of all accounts, or of one channel's, from Meta now
#[derive(Debug, Args)]
pub(super) struct Sync {
    /// Only those of this channel's account
    #[arg(long)]
    channel: Option<String>,
    #[command(flatten)]
    format: Format,
}

const HEADINGS: [&str; 6] = ["NAME", "LANGUAGE", "STATUS", "CATEGORY", "QUALITY", "TAKES"];
const SYNC_HEADINGS: [&str; 4] = ["ACCOUNT", "CHANNELS", "READ AT", "ERROR"];
/// Templates an answer.
const PAGE: u32 = 200;
/// More than an account can have.
const PAGES_MAX: usize = 100;

pub(super) async fn run(settings: &SettingsArguments, command: Command) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    match command {
        Command::List(list) => {
            let filters = [
                ("channel", list.channel),
                ("status", list.status),
                ("language", list.language),
                ("category", list.category),
                ("q", list.search),
            ];
            let query = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let templates = all(&hub, &query.collect::<Vec<_>>()).await?;
            if list.format.json {
                output::document(&json!({ "templates": templates }));
            } else {
                output::table(&HEADINGS, &templates.iter().map(row).collect::<Vec<_>>());
            }
        }
        Command::Show(show) => {
            let templates = found(&hub, &show.template).await?;
            for (index, template) in templates.iter().enumerate() {
                if show.format.json {
                    output::document(template);
                    continue;
                }
                if index > 0 {
                    output::line("");
                }
                for line in lines(template) {
                    output::line(line);
                }
            }
        }
        Command::Sync(sync) => {
            let body = json!({ "channel": sync.channel });
            let answer = hub.post("/api/v1/templates/sync", HeaderMap::new(), &body).await?;
            if sync.format.json {
                output::document(&answer);
            } else {
                let accounts = answer["accounts"].as_array().into_iter().flatten();
                output::table(&SYNC_HEADINGS, &accounts.map(sync_row).collect::<Vec<_>>());
            }
        }
    }
    Ok(())
}

/// The whole list, over all of its pages.
async fn all(hub: &HubClient, filters: &[(&'static str, String)]) -> Result<Vec<Value>, Failure> {
    let mut templates = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut query = filters.to_vec();
        query.push(("limit", PAGE.to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let mut page = hub.get("/api/v1/templates", &query).await?;
        if let Some(some) = page["templates"].as_array_mut() {
            templates.append(some);
        }
        cursor = page["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    Ok(templates)
}

/// The one with this id, or all languages of this name.
async fn found(hub: &HubClient, wanted: &str) -> Result<Vec<Value>, Failure> {
    if wanted.starts_with("tpl_") {
        let path = format!("/api/v1/templates/{}", name_in_path("the id of a template", wanted)?);
        return Ok(vec![hub.get(&path, &[]).await?]);
    }
    let mut templates = all(hub, &[("q", wanted.to_owned())]).await?;
    templates.retain(|template| template["name"] == wanted);
    if templates.is_empty() {
        return Err(Failure::Usage(format!(
            "there is no template {wanted}: `tidings template list` shows all, `tidings template sync` reads them anew"
        )));
    }
    Ok(templates)
}

fn row(template: &Value) -> Vec<String> {
    let mut cells: Vec<String> = ["name", "language", "status", "category", "quality"]
        .map(|member| output::cell(&template[member]))
        .to_vec();
    cells.push(output::cell(&template["parameters"]["summary"]));
    cells
}

fn sync_row(account: &Value) -> Vec<String> {
    let channels = account["channels"].as_array().into_iter().flatten();
    let channels: Vec<&str> = channels.filter_map(Value::as_str).collect();
    vec![
        output::cell(&account["businessAccount"]),
        output::on_one_line(&channels.join(", ")),
        output::cell(&account["syncedAt"]),
        output::cell(&account["error"]),
    ]
}

/// What a person wants to know of a template, most important first.
fn lines(template: &Value) -> Vec<String> {
    let [name, language, status] = ["name", "language", "status"].map(|member| output::cell(&template[member]));
    let mut lines = vec![format!("{name}  {language}  {status}")];
    for member in [
        "reason",
        "pausedUntil",
        "category",
        "correctCategory",
        "quality",
        "id",
        "externalId",
    ] {
        if !template[member].is_null() {
            lines.push(format!("  {member}: {}", output::cell(&template[member])));
        }
    }
    lines.push(format!("  {}", output::cell(&template["parameters"]["summary"])));
    for component in template["components"].as_array().into_iter().flatten() {
        let kind = output::cell(&component["type"]).to_lowercase();
        let said = component["text"].as_str().or_else(|| component["format"].as_str());
        if let Some(said) = said {
            lines.push(format!("  {kind}: {}", output::on_one_line(said)));
        }
        for button in component["buttons"].as_array().into_iter().flatten() {
            lines.push(format!(
                "  button: {} ({})",
                output::cell(&button["text"]),
                output::cell(&button["type"])
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_template_takes_stands_in_its_row() {
        let template = json!({"name": "order", "language": "en_GB", "status": "paused", "category": "utility", "quality": null,
            "parameters": {"summary": "it takes in the body `{{1}}`"}, "reason": "People\nblock", "id": "tpl_1",
            "components": [{"type": "BODY", "text": "Order {{1}}."}, {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Track"}]}]});
        assert_eq!(
            row(&template),
            [
                "order",
                "en_GB",
                "paused",
                "utility",
                "-",
                "it takes in the body `{{1}}`"
            ]
        );
        assert_eq!(
            lines(&template),
            [
                "order  en_GB  paused",
                "  reason: People block",
                "  category: utility",
                "  id: tpl_1",
                "  it takes in the body `{{1}}`",
                "  body: Order {{1}}.",
                "  button: Track (URL)",
            ]
        );
    }
}
