//! `tidings events`: what came in, what comes in, and what shall be processed again.

mod list;
mod replay;
mod tail;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::SettingsArguments;
use super::failure::Failure;

pub(super) use tail::follow;

/// Look at events and process them again, on a running hub
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(list::Arguments),
    Tail(tail::Arguments),
    Replay(replay::Arguments),
}

pub(super) async fn run(settings: &SettingsArguments, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list::run(settings, arguments).await,
        Command::Tail(arguments) => tail::run(settings, arguments).await,
        Command::Replay(arguments) => replay::run(settings, arguments).await,
    }
}

/// Which events. All that are given have to fit.
#[derive(Debug, Default, Args)]
struct Filter {
    /// The kind, such as messages or comments, in either spelling
    #[arg(long, value_name = "KIND")]
    event_type: Option<String>,
    /// pending, processed, ignored, failed or dead
    #[arg(long, value_parser = ["pending", "processed", "ignored", "failed", "dead"])]
    status: Option<String>,
    /// The channel's id
    #[arg(long)]
    channel: Option<String>,
    /// Meta's id of the account
    #[arg(long)]
    account: Option<String>,
    /// Received at this time or later, such as 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Received before this time
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Words to look for
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
}

impl Filter {
    /// As the API takes it.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let time = |time: Option<Timestamp>| time.map(|time| format!("{time:.3}"));
        let given = [
            ("eventType", self.event_type.clone()),
            ("status", self.status.clone()),
            ("channel", self.channel.clone()),
            ("account", self.account.clone()),
            ("from", time(self.from)),
            ("to", time(self.to)),
            ("q", self.q.clone()),
        ];
        given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_as_the_api_takes_it() {
        let filter = Filter {
            status: Some("dead".to_owned()),
            from: Some("2026-11-23T09:00:00+01:00".parse().unwrap()),
            ..Filter::default()
        };
        let expected = [
            ("status", "dead".to_owned()),
            ("from", "2026-11-23T08:00:00.000Z".to_owned()),
        ];
        assert_eq!(filter.parameters(), expected);
        assert!(Filter::default().parameters().is_empty());
    }
}
