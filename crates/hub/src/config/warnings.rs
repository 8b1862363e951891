//! What is allowed but most likely not meant.

use tidings_meta::notification::Platform;

use super::layers::did_you_mean;
use super::sources::Sources;
use super::{Config, settings, values};

/// Beginnings of names that are ours alone, so that an unknown one is a slip of the pen.
const OURS: [&str; 2] = ["TIDINGS_", "WEBHOOK_"];

/// Names with those beginnings that are no settings of the hub: the address that the command line calls, and what tests are given.
const NOT_SETTINGS: [&str; 2] = ["TIDINGS_URL", "TIDINGS_TEST_"];

/// Everything worth a word to the operator, one sentence each.
pub(super) fn of(config: &Config, sources: &Sources) -> Vec<String> {
    let mut warnings = unknown_variables(sources);
    unchecked_webhooks(config, &mut warnings);
    for platform in [Platform::WhatsApp, Platform::Instagram] {
        incomplete_webhooks(config, platform, &mut warnings);
    }
    plain_http(config, &mut warnings);
    stored_media(config, &mut warnings);
    warnings
}

fn unknown_variables(sources: &Sources) -> Vec<String> {
    let written = [(&sources.environment, "environment"), (&sources.env_file, ".env")];
    let unknown = written.into_iter().flat_map(|(variables, place)| {
        variables.keys().filter(|name| is_slip(name)).map(move |name| {
            let remedy = did_you_mean(name, settings::known_variables());
            format!("{name} ({place}) is not known and has no effect{remedy}")
        })
    });
    unknown.collect()
}

fn is_slip(name: &str) -> bool {
    OURS.iter().any(|beginning| name.starts_with(beginning))
        && !NOT_SETTINGS
            .iter()
            .any(|known| name == *known || (known.ends_with('_') && name.starts_with(known)))
        && !settings::is_known_variable(name)
}

fn unchecked_webhooks(config: &Config, warnings: &mut Vec<String>) {
    if !config.webhooks.signature_required {
        warnings.push(
            "WEBHOOK_SIGNATURE_REQUIRED is false: anyone who reaches this hub can post events; set it to true in production"
                .to_owned(),
        );
    }
}

/// A channel whose webhooks would all be refused.
fn incomplete_webhooks(config: &Config, platform: Platform, warnings: &mut Vec<String>) {
    if !config
        .channels
        .iter()
        .any(|channel| channel.kind.platform() == Some(platform))
    {
        return;
    }
    let webhooks = config.webhooks.platform(platform);
    let (name, prefix) = match platform {
        Platform::WhatsApp => ("WhatsApp", "WHATSAPP"),
        Platform::Instagram => ("Instagram", "INSTAGRAM"),
    };
    if webhooks.app_secrets.is_empty() && config.webhooks.signature_required {
        warnings.push(format!(
            "no app secret for {name}: every notification is refused; set {prefix}_APP_SECRET to the secret of the app at Meta"
        ));
    }
    if webhooks.verify_tokens.is_empty() {
        warnings.push(format!(
            "no verify token for {name}: Meta cannot be told to call here; set {prefix}_VERIFY_TOKEN to a word of your own"
        ));
    }
}

/// Files of reels whose addresses lead nowhere from another site.
fn stored_media(config: &Config, warnings: &mut Vec<String>) {
    if config.reels.store_media && config.public_url.is_none() {
        warnings.push(
            "REELS_STORE_MEDIA is true and TIDINGS_PUBLIC_URL is not set: the feed has addresses without a host; set it to what browsers call this hub by"
                .to_owned(),
        );
    }
}

fn plain_http(config: &Config, warnings: &mut Vec<String>) {
    let called = [
        ("WHATSAPP_API_BASE_URL", &config.graph.whatsapp_base_url),
        ("META_GRAPH_API_BASE_URL", &config.graph.instagram_base_url),
    ];
    for (name, url) in called {
        if values::is_readable_on_the_way(url) {
            warnings.push(format!(
                "{name} is not https: access tokens can be read on the way; use https beyond this machine"
            ));
        }
    }
    if config.public_url.as_deref().is_some_and(values::is_readable_on_the_way) {
        warnings.push(
            "TIDINGS_PUBLIC_URL is not https: Meta does not call it; put a proxy with a certificate before the hub"
                .to_owned(),
        );
    }
}
