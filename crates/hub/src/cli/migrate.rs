//! `tidings migrate`: brings the store up to date without starting the hub.

use anyhow::Context;
use clap::Args;
use serde_json::json;
use tidings::clock::Clock;
use tidings::store::Store;

use super::SettingsArguments;
use super::failure::Failure;
use super::output;

/// Bring the store's tables up to date (the hub does it by itself when it starts)
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let config = settings.load()?.config;
    let store = Store::open_trusting(&config.database_url, config.database_ca_cert_path.as_deref())
        .await
        .context("the store cannot be opened")?;
    let migrated = store
        .migrate(Clock::system().now())
        .await
        .context("the store cannot be brought up to date");
    // Also after a failure: what was begun is flushed and the file closed.
    store.close().await;
    let migrations = migrated?;
    if arguments.json {
        output::document(&json!({ "migrations": migrations }));
    } else if migrations.is_empty() {
        output::line("The store is up to date.");
    } else {
        output::line(format!("The store was brought up to date: {}", migrations.join(", ")));
    }
    Ok(())
}
