//! `tidings sandbox`: a simulated Meta, until Ctrl-C.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};
use tidings::logging;
use tidings_sandbox::{Object, Options, Sandbox, Script, SmtpOptions, StartError, SubscribeError, Time, World};

use super::SettingsArguments;
use super::failure::Failure;
use super::{output, stop_signal};

/// Run a simulated Meta, to try things out without an account
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// The same seed makes the same ids
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What customers do by themselves (YAML)
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How many times as fast as on the wall time passes
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    speed: f64,
    /// Subscribe the hub at this address as soon as it answers, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    /// Have a second WhatsApp number, for a hub to fall back to
    #[arg(long)]
    backup: bool,
    /// Take e-mail at this address; port 0 lets the system choose
    #[arg(long, value_name = "IP:PORT")]
    smtp: Option<SocketAddr>,
    /// Print the variables as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &SettingsArguments, arguments: Arguments) -> Result<(), Failure> {
    let stop = stop_signal::listen()?;
    logging::init(&settings.load()?.config.log).map_err(anyhow::Error::new)?;
    let script = arguments.script.as_deref().map(read_script).transpose()?;
    #[expect(clippy::float_cmp, reason = "exactly the default")]
    let time = if arguments.speed == 1.0 {
        Time::Real
    } else {
        Time::Scaled(arguments.speed)
    };
    // A script that begins before anyone is subscribed would tell its first lines to nobody.
    let at_start = if arguments.hub.is_none() { script.clone() } else { None };
    let options = Options {
        listen: arguments.listen,
        seed: arguments.seed,
        time,
        script: at_start,
        smtp: arguments.smtp.map(|listen| SmtpOptions {
            listen,
            ..SmtpOptions::default()
        }),
        world: if arguments.backup {
            World::with_backup()
        } else {
            World::default()
        },
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.map_err(not_started)?;
    print_how_to_use(&sandbox, arguments.json);
    let follow = async {
        if let Some(hub) = &arguments.hub {
            subscribe_when_reachable(&sandbox, hub).await;
            if let Some(script) = &script {
                sandbox.play(script).context("the script cannot be followed")?;
            }
        }
        std::future::pending::<anyhow::Result<()>>().await
    };
    let ended = tokio::select! {
        () = stop => Ok(()),
        ended = follow => ended,
    };
    sandbox.stop().await;
    Ok(ended?)
}

fn read_script(path: &Path) -> Result<Script, Failure> {
    let wrong = |why: String| Failure::Usage(format!("--script {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Script::parse(&text).map_err(|error| wrong(format!("{:#}", anyhow::Error::new(error))))
}

fn not_started(error: StartError) -> Failure {
    match &error {
        StartError::Scale(_) => Failure::Usage(format!("--speed: {error}")),
        StartError::Listen { source, .. } => Failure::Failed(anyhow::anyhow!(
            "{error} ({source}); name a free address with --listen (or --smtp), or port 0 for any"
        )),
        _ => Failure::Failed(anyhow::Error::new(error).context("the sandbox cannot be started")),
    }
}

fn print_how_to_use(sandbox: &Sandbox, json: bool) {
    let environment = sandbox.environment();
    if json {
        let variables: Map<String, Value> = environment
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        output::document(&json!({ "url": sandbox.url(), "environment": variables }));
        return;
    }
    for (name, value) in environment {
        output::line(format!("{name}={value}"));
    }
    output::note(format!(
        "\nThe sandbox is at {url}, the customers' phones at {url}/phone, its faults and limits at {url}/desk. A hub with the variables above (in its .env, say) takes it for \
         Meta. Ctrl-C stops it.",
        url = sandbox.url()
    ));
}

const RETRY_PAUSE: Duration = Duration::from_secs(1);

async fn subscribe_when_reachable(sandbox: &Sandbox, hub: &str) {
    let mut told = false;
    while let Err(error) = subscribe(sandbox, hub).await {
        if !told {
            output::note(format!("{hub} cannot be subscribed yet: {error}"));
            told = true;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    output::note(format!("{hub} is subscribed."));
}

/// Does what someone would do at Meta's dashboard: names the hub's addresses, which the sandbox then asks for the handshake.
pub(super) async fn subscribe(sandbox: &Sandbox, hub: &str) -> Result<(), SubscribeError> {
    let environment = sandbox.environment();
    let token_of = |variable| {
        environment
            .iter()
            .find(|(name, _)| name == variable)
            .map_or("", |(_, value)| value.as_str())
    };
    let hub = hub.trim_end_matches('/');
    for (object, path, variable) in [
        (Object::WhatsApp, "whatsapp", "WHATSAPP_VERIFY_TOKEN"),
        (Object::Instagram, "instagram", "INSTAGRAM_VERIFY_TOKEN"),
    ] {
        sandbox
            .subscribe(object, &format!("{hub}/api/webhooks/{path}"), token_of(variable))
            .await?;
    }
    Ok(())
}
