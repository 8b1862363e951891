//! `tidings serve`: the hub, until Ctrl-C or SIGTERM. SIGHUP has it read again what the settings say of channels, app secrets and verify tokens.

use std::net::SocketAddr;

use clap::Args;
use tidings::config::Config;
use tidings::{logging, server};

use super::SettingsArguments;
use super::failure::Failure;
use super::stop_signal;

/// Run the hub
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The address to listen on, before TIDINGS_LISTEN
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    // From here on, so that a signal during the start stops the hub in order as well.
    let stop = stop_signal::listen()?;
    let mut sources = settings.sources()?;
    let listen = arguments
        .listen
        .map(|listen| ("TIDINGS_LISTEN".to_owned(), listen.to_string()));
    sources.overrides.extend(listen.clone());
    let loaded = Config::load(sources)?;
    logging::init(&loaded.config.log).map_err(anyhow::Error::new)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut reload = stop_signal::ReloadSignal::listen()?;
    let reread = async || loop {
        reload.received().await;
        // What the command line said when the hub was started holds on.
        match reread(settings, listen.as_ref()) {
            Ok(config) => return config,
            Err(failure) => tracing::error!("the settings were not taken over, and those from before hold: {failure}"),
        }
    };
    Ok(server::run(loaded.config, stop, reread).await?)
}

fn reread(settings: &SettingsArguments, listen: Option<&(String, String)>) -> Result<Config, Failure> {
    let mut sources = settings.sources()?;
    sources.overrides.extend(listen.cloned());
    Ok(Config::load(sources)?.config)
}
