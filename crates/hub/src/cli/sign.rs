//! `tidings sign`: the header of a signed request, for whoever tries it by hand.

use std::io::{Read, stdin};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tidings::clock::Clock;
use tidings::integrations::whatsapp::signature;

use super::SettingsArguments;
use super::failure::Failure;
use super::output;

/// Sign a request to /integrations/whatsapp/… with a secret of WHATSAPP_INTEGRATION_SECRETS
///
/// Prints the header: curl -H "$(tidings sign body.json)" --data-binary @body.json …
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file of the body, byte for byte as it will be sent [default: standard input]
    file: Option<PathBuf>,
    /// Which of several secrets, from 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    secret: usize,
    /// When it is signed, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..=999_999_999_999))]
    at: Option<i64>,
}

/// More than a hub takes.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn run(settings: &SettingsArguments, arguments: &Arguments) -> Result<(), Failure> {
    let loaded = settings.load()?;
    let secrets = &loaded.config.whatsapp_integration.secrets;
    let secret = arguments.secret.checked_sub(1).and_then(|index| secrets.get(index));
    let Some(secret) = secret else {
        let detail = match secrets.len() {
            0 => "there is no secret: set WHATSAPP_INTEGRATION_SECRETS to one".to_owned(),
            count => format!("--secret is a number from 1 to {count}: so many does WHATSAPP_INTEGRATION_SECRETS have"),
        };
        return Err(Failure::Usage(detail));
    };
    let mut body = Vec::new();
    match &arguments.file {
        Some(path) => {
            body = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        }
        None => {
            stdin()
                .lock()
                .take(BODY_BYTES_MAX)
                .read_to_end(&mut body)
                .context("standard input cannot be read")?;
        }
    }
    let at = arguments
        .at
        .unwrap_or_else(|| Clock::system().now_millis().div_euclid(1_000));
    output::line(format!(
        "X-Integration-Signature: {}",
        signature::sign(secret, at, &body)
    ));
    Ok(())
}
