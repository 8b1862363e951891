//! `tidings demo`: a simulated Meta, a hub wired to it, customers who write by themselves, and a small program that answers them.
//!
//! The hub is the one that `tidings serve` runs: only its settings say where Meta is. What answers is a client of the public API like any
//! other: it follows the live stream and sends through `POST /api/v1/messages/send`. Nothing of the environment but TIDINGS_LOG is used,
//! so that no real number or token gets into a play.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use secrecy::SecretString;
use tidings::access::KEY_FILE;
use tidings::clock::Clock;
use tidings::config::{Config, Sources};
use tidings::logging;
use tidings::server::Hub;
use tidings_sandbox::{Content, NewPost, Options, PostKind, Sandbox};

use super::SettingsArguments;
use super::failure::Failure;
use super::hub_client::HubClient;
use super::sandbox::subscribe;
use super::{output, stop_signal};

mod answers;

/// Run a hub with a simulated Meta, with customers writing: nothing has to be set up
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The first port to try for the hub
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    port: u16,
    /// The folder for what the demo keeps
    #[arg(long, default_value = "./tidings-data/demo", value_name = "FOLDER")]
    data_dir: String,
}

/// The first port to try for the sandbox.
const SANDBOX_PORT: u16 = 9090;

pub(super) async fn run(settings: &SettingsArguments, arguments: &Arguments) -> Result<(), Failure> {
    let stop = stop_signal::listen()?;
    let sandbox = start_sandbox().await?;
    let played = play(settings, arguments, &sandbox, stop).await;
    sandbox.stop().await;
    played
}

async fn start_sandbox() -> anyhow::Result<Sandbox> {
    // Each run has ids of its own: the hub keeps what it got in earlier ones, and would take the same ids for repeats.
    let seed = Clock::system().now_millis().unsigned_abs();
    let options = Options {
        listen: free_address(SANDBOX_PORT)?,
        seed,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.context("the sandbox cannot be started")?;
    post(&sandbox)?;
    Ok(sandbox)
}

/// What the Instagram account has posted, the newest first.
const POSTED: &[(PostKind, &str)] = &[
    (PostKind::Reel, "Needle drop of the day: Ayo Bello, side B"),
    (PostKind::Image, "Six crates of Lagos highlife, just in"),
    (
        PostKind::Reel,
        "How we clean a record that was in a cellar for forty years",
    ),
    (PostKind::Reel, "Saturday in the shop with DJ Lucía"),
    (PostKind::Carousel, "The wall of new arrivals"),
    (PostKind::Reel, "Mending a turntable from 1974"),
    (PostKind::Reel, "Repressed at last: the blue one"),
    (PostKind::Reel, "Which one would you take home?"),
    (PostKind::Image, "Open on Sunday, from noon"),
    (PostKind::Reel, "Packing the parcels for Utrecht"),
    (PostKind::Reel, "Our first reel"),
];

fn post(sandbox: &Sandbox) -> anyhow::Result<()> {
    for (number, (kind, caption)) in (0..).zip(POSTED) {
        let post = NewPost {
            kind: *kind,
            caption: Some((*caption).to_owned()),
            ago_ms: (number + 1) * 20 * 3_600_000,
            likes: 37 + number * 61,
            comments: number,
            views: 1_534 + number * 1_321,
            ..NewPost::default()
        };
        sandbox.post(post).context("the Instagram account could not post")?;
    }
    Ok(())
}

/// Runs the hub beside the sandbox until `stop` is ready, and stops it.
async fn play(
    settings: &SettingsArguments,
    arguments: &Arguments,
    sandbox: &Sandbox,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let config = config(settings, arguments, sandbox)?;
    logging::init(&config.log).map_err(anyhow::Error::new)?;
    let hub = Hub::start(config).await?;
    let client = async {
        let url = format!("http://{}", hub.address());
        subscribe(sandbox, &url)
            .await
            .context("the hub's addresses could not be subscribed at the sandbox")?;
        let key_file = hub.app().config.data_dir.join(KEY_FILE);
        print_addresses(&url, sandbox.url(), &key_file);
        let client = HubClient::at(&url, key(&hub, &key_file)?)?;
        tokio::select! {
            ended = answers::run(&client) => ended,
            ended = customers(sandbox) => Ok(ended?),
        }
    };
    let ended = tokio::select! {
        () = stop => Ok(()),
        ended = client => ended,
    };
    output::note("Stopping.");
    hub.stop().await;
    ended
}

fn config(settings: &SettingsArguments, arguments: &Arguments, sandbox: &Sandbox) -> Result<Config, Failure> {
    let process = Sources::from_process(None)?;
    // What people want to see here are the messages.
    let filter = process.variable("TIDINGS_LOG").unwrap_or("warn").to_owned();
    let mut sources = Sources::default();
    sources.overrides.extend(sandbox.environment());
    sources.overrides.extend([
        ("TIDINGS_LOG".to_owned(), filter),
        ("TIDINGS_LISTEN".to_owned(), free_address(arguments.port)?.to_string()),
        ("TIDINGS_DATA_DIR".to_owned(), arguments.data_dir.clone()),
    ]);
    sources.overrides.extend(settings.set.iter().cloned());
    Ok(Config::load(sources)?.config)
}

/// How many ports are tried before the system chooses one.
const PORTS_TRIED: u16 = 20;

/// The first address on this machine, from a port on, that nobody listens on.
fn free_address(port: u16) -> anyhow::Result<SocketAddr> {
    let candidates = (port..=port.saturating_add(PORTS_TRIED - 1)).chain([0]);
    let mut free = candidates.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let listener = free.next().context("no port of this machine can be listened on")?;
    listener
        .local_addr()
        .context("the address that is listened on cannot be read")
}

fn key(hub: &Hub, file: &Path) -> anyhow::Result<SecretString> {
    if let Some(key) = &hub.app().config.admin_key {
        return Ok(key.clone());
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(SecretString::from(text.trim()))
}

fn print_addresses(hub: &str, sandbox: &str, key_file: &Path) {
    let data = key_file.parent().unwrap_or(Path::new(".")).display();
    let key_file = key_file.display();
    output::line(format!(
        "\n  Hub               {hub}\n  Customers' phones {sandbox}/phone\n  Reels             {hub}/embed/reels\n  API key           in {key_file}\n\n  \
         curl -H \"Authorization: Bearer $(cat {key_file})\" {hub}/api/v1/conversations\n  \
         TIDINGS_URL={hub} TIDINGS_DATA_DIR={data} tidings events list\n\n  \
         Customers write by themselves, and are answered; write to the hub yourself with one of their phones. Ctrl-C stops it all.\n"
    ));
}

/// Who says what, in turns.
const SAID: &[(&str, &str)] = &[
    ("amara", "Hi! Do you have the new Ayo Bello album on vinyl?"),
    ("lucia", "Are you open on Sunday?"),
    ("jonas", "Can I bring back a record that skips?"),
    ("bram", "Loved your last reel! What was the song?"),
    ("amara", "Great, please keep one for me."),
    ("jonas", "It is the second track on side B."),
    ("lucia", "Perfect, see you then!"),
    ("bram", "Do you ship to Utrecht?"),
];

/// How long before the next one writes.
const PAUSE: Duration = Duration::from_secs(4);

/// Lets the customers of the sandbox write, one after the other, for good.
async fn customers(sandbox: &Sandbox) -> anyhow::Result<()> {
    let environment = sandbox.environment();
    let account = |variable: &str| {
        environment
            .iter()
            .find(|(name, _)| name == variable)
            .map(|(_, value)| value.clone())
    };
    let number = account("WHATSAPP_PHONE_NUMBER_ID").context("the sandbox has no number")?;
    let instagram = account("META_IG_BUSINESS_ID").context("the sandbox has no Instagram account")?;
    for (customer, text) in SAID.iter().cycle() {
        tokio::time::sleep(PAUSE).await;
        let is_on_whatsapp = sandbox
            .customer(customer)
            .is_some_and(|addresses| addresses.igsid.is_none());
        let to = if is_on_whatsapp { &number } else { &instagram };
        let content = Content::Text {
            text: (*text).to_owned(),
            reply_to: None,
        };
        sandbox
            .write(customer, to, content)
            .context("a customer could not write")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let free = free_address(port).unwrap();
        assert_ne!(free.port(), port);
        assert!(free.ip().is_loopback());
    }
}
