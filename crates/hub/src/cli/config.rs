//! `tidings config`: what holds, where it comes from, and what is wrong.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidings::config::{Config, EffectiveSetting};

use super::SettingsArguments;
use super::failure::Failure;
use super::output;

/// Show and check the settings
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every setting, its value and where it comes from; secrets are masked
    Show(Arguments),
    /// Name every mistake, and what looks unintended
    Check(Arguments),
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(settings: &SettingsArguments, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Show(arguments) => show(settings, arguments),
        Command::Check(arguments) => check(settings, arguments),
    }
}

fn show(settings: &SettingsArguments, arguments: &Arguments) -> Result<(), Failure> {
    let effective = settings.load()?.effective;
    if arguments.json {
        let listed: Vec<Value> = effective
            .iter()
            .map(|setting| {
                json!({ "key": setting.key, "variables": setting.variables, "value": setting.value, "source": setting.source })
            })
            .collect();
        output::document(&json!({ "settings": listed }));
    } else {
        output::table(
            &["SETTING", "VALUE", "SOURCE"],
            &effective.iter().map(row).collect::<Vec<_>>(),
        );
    }
    Ok(())
}

fn row(setting: &EffectiveSetting) -> Vec<String> {
    let value = setting
        .value
        .as_deref()
        .map_or_else(|| "-".to_owned(), output::on_one_line);
    vec![setting.key.clone(), value, setting.source.clone()]
}

fn check(settings: &SettingsArguments, arguments: &Arguments) -> Result<(), Failure> {
    let sources = settings.sources()?;
    let loaded = Config::load(sources);
    if arguments.json {
        let (mistakes, warnings): (Vec<Value>, Vec<String>) = match &loaded {
            Ok(loaded) => (Vec::new(), loaded.warnings.clone()),
            Err(errors) => {
                let told = errors.0.iter().map(|mistake| {
                    json!({ "name": mistake.name, "place": mistake.place.to_string(), "problem": mistake.problem })
                });
                (told.collect(), Vec::new())
            }
        };
        output::document(&json!({ "ok": loaded.is_ok(), "mistakes": mistakes, "warnings": warnings }));
    }
    let loaded = loaded?;
    if !arguments.json {
        for warning in &loaded.warnings {
            output::line(format!("warning: {warning}"));
        }
        output::line("The settings have no mistakes.");
    }
    Ok(())
}
