//! `tidings reels`: the feed of reels, as a website gets it.

use clap::Args;
use serde_json::Value;

use super::SettingsArguments;
use super::failure::Failure;
use super::hub_client::HubClient;
use super::output;

/// Show the reels of the Instagram account, as the hub gives them to websites
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many: 1 to 25
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=25))]
    limit: u16,
    /// Where the page before ended
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

const HEADINGS: [&str; 5] = ["ID", "VIEWS", "LIKES", "LINK", "DESCRIPTION"];
/// So much of a description fits on a line beside the rest.
const DESCRIPTION_CHARS_MAX: usize = 48;

pub(super) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    let mut query = vec![("limit", arguments.limit.to_string())];
    query.extend(arguments.after.map(|after| ("after", after)));
    let answer = hub.get("/integrations/instagram/reels", &query).await?;
    if arguments.json {
        output::document(&answer);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer["reels"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        output::note("There are no reels.");
        return Ok(());
    }
    output::table(&HEADINGS, &rows);
    if let Some(cursor) = answer["paging"]["nextCursor"].as_str() {
        output::note(format!("There are more: add --after {cursor}"));
    }
    Ok(())
}

fn row(reel: &Value) -> Vec<String> {
    let text = |name: &str| output::on_one_line(reel[name].as_str().unwrap_or("-"));
    let number = |name: &str| {
        reel[name]
            .as_i64()
            .map_or_else(|| "-".to_owned(), |number| number.to_string())
    };
    vec![
        text("id"),
        number("views"),
        number("likes"),
        text("permalink"),
        shortened(&text("description")),
    ]
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(DESCRIPTION_CHARS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reel_is_a_row_whatever_is_missing() {
        let reel = json!({"id": "1", "views": 1_500, "likes": null, "permalink": "https://www.instagram.com/reel/D/",
            "description": format!("a\nb{}", "x".repeat(80))});
        let row = row(&reel);
        assert_eq!(row[..4], ["1", "1500", "-", "https://www.instagram.com/reel/D/"]);
        assert!(row[4].starts_with("a bx") && row[4].ends_with('…'), "{row:?}");
        assert_eq!(row[4].chars().count(), DESCRIPTION_CHARS_MAX);
    }
}
