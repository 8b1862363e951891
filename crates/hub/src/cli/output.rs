//! The only place that prints.
//!
//! A reader that goes away (`tidings events list | head`) is no failure of ours: what it does not read is not printed.

use std::io::{Write, stderr, stdout};

use clap::Args;
use serde_json::Value;

/// For commands that print what the hub answers.
#[derive(Debug, Args)]
pub(super) struct Format {
    /// Print the hub's answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A line of what was asked for.
pub(super) fn line(text: impl AsRef<str>) {
    // Nobody is there to be told that nobody reads.
    let _ = writeln!(stdout().lock(), "{}", text.as_ref());
}

/// JSON as one readable document.
pub(super) fn document(value: &Value) {
    line(format!("{value:#}"));
}

/// A line about what is going on, which is not part of what was asked for.
pub(super) fn note(text: impl AsRef<str>) {
    let _ = writeln!(stderr().lock(), "{}", text.as_ref());
}

/// Rows under headings, in columns as wide as they need to be.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) {
    for text in laid_out(headings, rows) {
        line(text);
    }
}

fn laid_out(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let mut widths = vec![0; headings.len()];
    for row in [&headings].into_iter().chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lay_out = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    [&headings].into_iter().chain(rows).map(lay_out).collect()
}

/// A member of an answer as one cell of a table: text without its quotes, what is absent as a dash.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => on_one_line(text),
        other => other.to_string(),
    }
}

/// A text from outside on one line, without what would steer a terminal.
pub(super) fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = laid_out(
            &["ID", "KIND", "WHAT"],
            &[row(["1", "é", "x"]), row(["1000", "message", ""])],
        );
        assert_eq!(lines, ["ID    KIND     WHAT", "1     é        x", "1000  message"]);
    }

    #[test]
    fn what_people_write_does_not_steer_the_terminal() {
        assert_eq!(on_one_line("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
