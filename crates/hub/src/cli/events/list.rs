//! `tidings events list`: a page of the event log, newest first. The hub looks at so many events for an answer; the command goes on until the
//! page is full.

use clap::Args;
use serde_json::Value;

use super::Filter;
use crate::cli::SettingsArguments;
use crate::cli::failure::Failure;
use crate::cli::hub_client::HubClient;
use crate::cli::output;

/// List events, newest first
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// How many: 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Where the last page ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print the hub's answer as JSON
    #[arg(long)]
    json: bool,
}

const HEADINGS: [&str; 7] = ["RECEIVED", "ID", "TYPE", "CHANNEL", "STATUS", "ATTEMPTS", "ERROR"];

pub(in crate::cli) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let hub = HubClient::find(settings)?;
    let filter = arguments.filter.parameters();
    let mut page = Page::new(arguments.limit, arguments.cursor);
    while let Some(rest) = page.rest() {
        let query: Vec<_> = filter.iter().cloned().chain(rest).collect();
        let answer = hub.get("/api/webhooks/events", &query).await?;
        page.add(answer);
    }
    let answer = page.answer;
    if arguments.json {
        output::document(&answer);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer["events"].as_array().into_iter().flatten().map(row).collect();
    output::table(&HEADINGS, &rows);
    if let Some(cursor) = answer["nextCursor"].as_str() {
        output::note(format!("There are more: add --cursor {cursor}"));
    }
    Ok(())
}

/// A page that is put together of the hub's answers.
struct Page {
    limit: usize,
    cursor: Option<String>,
    is_complete: bool,
    answer: Value,
}

impl Page {
    fn new(limit: u16, cursor: Option<String>) -> Self {
        Self {
            limit: limit.into(),
            cursor,
            is_complete: false,
            answer: Value::Null,
        }
    }

    fn events(&self) -> usize {
        self.answer["events"].as_array().map_or(0, Vec::len)
    }

    /// What is still to be asked for.
    fn rest(&self) -> Option<Vec<(&'static str, String)>> {
        if self.is_complete {
            return None;
        }
        let mut rest = vec![("limit", (self.limit - self.events()).to_string())];
        rest.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        Some(rest)
    }

    fn add(&mut self, mut answer: Value) {
        let next = answer["nextCursor"].as_str().map(str::to_owned);
        if let (Some(known), Some(new)) = (self.answer["events"].as_array_mut(), answer["events"].as_array_mut()) {
            known.append(new);
            self.answer["nextCursor"] = answer["nextCursor"].take();
        } else {
            self.answer = answer;
        }
        self.is_complete = next.is_none() || next == self.cursor || self.events() >= self.limit;
        self.cursor = next;
    }
}

fn row(event: &Value) -> Vec<String> {
    [
        "receivedAt",
        "id",
        "eventType",
        "channelId",
        "status",
        "attempts",
        "error",
    ]
    .map(|name| output::cell(&event[name]))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_filled_by_as_many_answers_as_it_takes() {
        let mut page = Page::new(3, None);
        assert_eq!(page.rest(), Some(vec![("limit", "3".to_owned())]));
        page.add(json!({"events": [], "total": 5, "nextCursor": "a"}));
        assert_eq!(
            page.rest(),
            Some(vec![("limit", "3".to_owned()), ("cursor", "a".to_owned())])
        );
        page.add(json!({"events": [1, 2], "total": 5, "nextCursor": "b"}));
        assert_eq!(
            page.rest(),
            Some(vec![("limit", "1".to_owned()), ("cursor", "b".to_owned())])
        );
        page.add(json!({"events": [3], "total": 5, "nextCursor": "c"}));
        assert_eq!(page.rest(), None);
        assert_eq!(page.answer, json!({"events": [1, 2, 3], "total": 5, "nextCursor": "c"}));

        let mut last = Page::new(3, Some("c".to_owned()));
        assert_eq!(
            last.rest(),
            Some(vec![("limit", "3".to_owned()), ("cursor", "c".to_owned())])
        );
        last.add(json!({"events": [4], "nextCursor": null}));
        assert_eq!(last.rest(), None);
    }

    #[test]
    fn an_event_is_a_row() {
        let event = json!({"id": "evt_1", "eventType": "messages", "attempts": 2, "channelId": null, "error": "a\nb",
            "status": "failed", "receivedAt": "2026-11-23T08:00:00.000Z"});
        assert_eq!(
            row(&event),
            [
                "2026-11-23T08:00:00.000Z",
                "evt_1",
                "messages",
                "-",
                "failed",
                "2",
                "a b"
            ]
        );
    }
}
