//! The command line. Each command is a file; none knows more than the library or the public API offer to anyone.
//!
//! Exit codes:
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | failed; the message says why |
//! | 2 | the command line or the settings are wrong; the message says what would be right |
//! | 3 | the hub could not be reached |
//! | 4 | the hub refused, or could not do, what was asked |
//!
//! What was asked for goes to standard output, all else to standard error. `--json` makes the former JSON: one document, or one
//! object a line where output goes on.

mod channel;
mod config;
mod demo;
mod event_stream;
mod events;
mod failure;
mod flag;
mod hub_client;
mod migrate;
mod openapi;
mod outbound;
mod output;
mod queue;
mod reels;
mod sandbox;
mod send;
mod serve;
mod sign;
mod stop_signal;
mod template;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tidings::config::{Config, Loaded, Sources};

use failure::Failure;

/// Tidings: a self-hosted hub for WhatsApp and Instagram messaging.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, arg_required_else_help = true, subcommand_required = true, after_help = AFTER_HELP)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    settings: SettingsArguments,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done; 1 failed; 2 the command line or the settings are wrong; 3 the hub could not be reached; \
                          4 the hub refused, or could not do, what was asked.\n\n\
                          Commands that speak to a running hub find it at TIDINGS_URL (default http://127.0.0.1:8080) and show it the key of \
                          TIDINGS_ADMIN_KEY, or else the one in the file admin.key of the data folder.";

/// Where settings come from; for every command.
#[derive(Args)]
struct SettingsArguments {
    /// The settings file [default: tidings.toml in this folder, if there is one]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// A setting, by variable or key, before all other sources: --set WEBHOOK_BATCH_SIZE=10
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

impl std::fmt::Debug for SettingsArguments {
    /// Without the values, which may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.set.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("SettingsArguments")
            .field("config", &self.config)
            .field("set", &names)
            .finish()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Sandbox(sandbox::Arguments),
    Demo(demo::Arguments),
    Send(Box<send::Arguments>),
    Sign(sign::Arguments),
    #[command(subcommand)]
    Channel(channel::Command),
    #[command(subcommand)]
    Template(template::Command),
    #[command(subcommand)]
    Flag(flag::Command),
    #[command(subcommand)]
    Outbound(outbound::Command),
    #[command(subcommand)]
    Queue(queue::Command),
    Reels(reels::Arguments),
    #[command(subcommand)]
    Events(events::Command),
    #[command(subcommand)]
    Config(config::Command),
    Migrate(migrate::Arguments),
    /// Print the document of the hub's API (OpenAPI 3.1)
    Openapi,
}

/// Does what the command line says.
pub(crate) async fn run(command_line: CommandLine) -> ExitCode {
    let settings = &command_line.settings;
    let done = match command_line.command {
        Command::Serve(arguments) => serve::run(settings, arguments).await,
        Command::Sandbox(arguments) => sandbox::run(settings, arguments).await,
        Command::Demo(arguments) => demo::run(settings, &arguments).await,
        Command::Send(arguments) => send::run(settings, *arguments).await,
        Command::Sign(arguments) => sign::run(settings, &arguments),
        Command::Channel(command) => channel::run(settings, command).await,
        Command::Template(command) => template::run(settings, command).await,
        Command::Flag(command) => flag::run(settings, command).await,
        Command::Outbound(command) => outbound::run(settings, command).await,
        Command::Queue(command) => queue::run(settings, command).await,
        Command::Reels(arguments) => reels::run(settings, arguments).await,
        Command::Events(command) => events::run(settings, command).await,
        Command::Config(command) => config::run(settings, &command),
        Command::Migrate(arguments) => migrate::run(settings, arguments).await,
        Command::Openapi => openapi::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Tells of a failure outside any command.
pub(crate) fn failed(error: anyhow::Error) -> ExitCode {
    Failure::from(error).report()
}

impl SettingsArguments {
    fn sources(&self) -> Result<Sources, Failure> {
        let mut sources = Sources::from_process(self.config.as_deref())?;
        sources.overrides.extend(self.set.iter().cloned());
        Ok(sources)
    }

    fn load(&self) -> Result<Loaded, Failure> {
        Ok(Config::load(self.sources()?)?)
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("is not of the form NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn without_arguments_it_helps() {
        let error = CommandLine::try_parse_from(["tidings"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn settings_can_stand_before_and_after_the_command() {
        let after = [
            "tidings",
            "config",
            "show",
            "--set",
            "TIDINGS_LOG=a=b",
            "--config",
            "x.toml",
        ];
        let before = [
            "tidings",
            "--set",
            "TIDINGS_LOG=a=b",
            "--config",
            "x.toml",
            "config",
            "show",
        ];
        for arguments in [after, before] {
            let settings = CommandLine::try_parse_from(arguments).unwrap().settings;
            assert_eq!(settings.set, [("TIDINGS_LOG".to_owned(), "a=b".to_owned())]);
            assert_eq!(settings.config, Some(PathBuf::from("x.toml")));
        }
        assert!(CommandLine::try_parse_from(["tidings", "config", "show", "--set", "=x"]).is_err());
    }

    #[test]
    fn a_setting_on_the_command_line_is_not_in_debug_output() {
        let arguments = ["tidings", "config", "check", "--set", "TIDINGS_ADMIN_KEY=PLANTED"];
        let command_line = CommandLine::try_parse_from(arguments).unwrap();
        assert!(!format!("{command_line:?}").contains("PLANTED"));
    }
}
