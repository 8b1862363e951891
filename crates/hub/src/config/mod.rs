//! Settings: read once at start, checked, and handed on as ready values.
//!
//! ```text
//! tidings.default.toml  <  tidings.toml  <  .env  <  environment  <  command line
//! ```
//!
//! [`Config::load`] takes all of it as [`Sources`] and answers with the settings, where each comes from, and what looks unintended; or
//! with every mistake at once, each naming where it stands and what would be right. No secret is ever shown: not in `Debug`, not in
//! an error, not in [`EffectiveSetting`].
//!
//! To add a setting: describe it in `tidings.default.toml`, name it in `settings.rs`, read it in [`Config::load`].
//!
//! - `sources`: the files and the environment, as plain maps.
//! - `settings`: the table of keys and variables.
//! - `layers`: which source wins. `reading`: from text to value. `values`: what each text may be.
//! - `consent`: the words by which contacts opt out and in.
//! - `channels`: the numbers and accounts that settings name.
//! - `mistakes`, `warnings`, `nearest`: what people are told.

mod channels;
mod consent;
mod layers;
mod mistakes;
mod nearest;
mod reading;
mod routes;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod values;
mod warnings;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tidings_meta::notification::Platform;

pub use mistakes::{ConfigErrors, Mistake, Place};
pub use sources::{ConfigFile, Sources};

use crate::channels::model::ChannelKind;
use crate::conversations::consent::words::Words;
use crate::integrations::whatsapp::WhatsAppIntegration;
use crate::sending::route::model::Policy;
use layers::Layers;
use reading::Reading;

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The folder for everything that is kept in files.
    pub data_dir: PathBuf,
    /// Where the store is: `sqlite://…` or `postgres://…`.
    pub database_url: SecretString,
    /// Whose certificates vouch for a Postgres that is reached by TLS, beside the system's authorities.
    pub database_ca_cert_path: Option<PathBuf>,
    /// What Meta and browsers call this hub by; no slash at its end.
    pub public_url: Option<String>,
    /// An API key that is valid from the start.
    pub admin_key: Option<SecretString>,
    /// The key that secrets in the store are sealed with; without one it is in a file of the data folder.
    pub master_key: Option<SecretString>,
    /// Logging.
    pub log: LogConfig,
    /// What Meta posts.
    pub webhooks: WebhookConfig,
    /// How Meta is called.
    pub graph: GraphConfig,
    /// Connected numbers and accounts; no id and no account stands twice.
    pub channels: Vec<ChannelConfig>,
    /// Policies of routes; no name stands twice.
    pub routes: Vec<Policy>,
    /// The app at Meta that WhatsApp is connected by.
    pub meta_app_id: Option<String>,
    /// The app at Meta that Instagram is connected by, where it is another one.
    pub instagram_app_id: Option<String>,
    /// How often message templates are read from Meta; zero: only when something asks for it.
    pub templates_sync_every: Duration,
    /// By which words contacts say what they want to be sent.
    pub consent_words: Words,
    /// Signed requests of other systems.
    pub whatsapp_integration: WhatsAppIntegration,
    /// Messages on their way out.
    pub sending: SendingConfig,
    /// Files in messages.
    pub media: MediaConfig,
    /// The server's bounds.
    pub http: HttpConfig,
    /// What websites use.
    pub integrations: IntegrationsConfig,
    /// The feed of reels.
    pub reels: ReelsConfig,
    /// Who may read `/metrics` without a key.
    pub metrics_allow: Vec<IpAddr>,
    /// How long things are kept.
    pub retention: RetentionConfig,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// What is logged, as directives of `tracing`; checked to be some.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one JSON object a line.
    Json,
}

/// What Meta posts, and what becomes of it.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Secrets and tokens of WhatsApp.
    pub whatsapp: PlatformConfig,
    /// Secrets and tokens of Instagram.
    pub instagram: PlatformConfig,
    /// Whether a notification has to bear Meta's signature.
    pub signature_required: bool,
    /// How many events are understood in one go; 1 to 1000.
    pub batch_size: u32,
    /// How often an event that failed is tried again.
    pub retry_attempts: u32,
    /// The pause before the first of those; each further one is twice as long.
    pub retry_delay: Duration,
    /// How many notifications may wait in memory; at least 1.
    pub max_queue: usize,
    /// How long a notification may take to be kept; at most 5 s.
    pub answer_within: Duration,
    /// The largest notification that is taken.
    pub body_bytes_max: usize,
}

impl WebhookConfig {
    /// The secrets and tokens of one of Meta's products.
    pub fn platform(&self, platform: Platform) -> &PlatformConfig {
        match platform {
            Platform::WhatsApp => &self.whatsapp,
            Platform::Instagram => &self.instagram,
        }
    }
}

/// What proves that it is Meta who calls, and to Meta that it is we who answer. Each list may be empty.
#[derive(Debug, Clone, Default)]
pub struct PlatformConfig {
    /// The app secrets whose signature is accepted.
    pub app_secrets: Vec<SecretString>,
    /// The verify tokens that are accepted.
    pub verify_tokens: Vec<SecretString>,
}

/// How Meta is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphConfig {
    /// Where, for WhatsApp; no slash at its end.
    pub whatsapp_base_url: String,
    /// Where, for Instagram; no slash at its end.
    pub instagram_base_url: String,
    /// The version of Meta's interface, such as `v26.0`.
    pub version: String,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

/// A connected number, account or e-mail sender.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Its name here: small letters, digits, hyphens.
    pub id: String,
    /// What it is a connection to.
    pub kind: ChannelKind,
    /// Meta's id of it: the phone number's or the professional account's. Of an e-mail sender, its address.
    pub account: String,
    /// The WhatsApp Business Account that it belongs to.
    pub business_account: Option<String>,
    /// What it is called with, an access token or the address of an SMTP server; without any the channel only receives.
    pub credentials: Option<SecretString>,
    /// The channel whose place it takes when that one cannot send, unless something else is said while the hub runs.
    pub backup_for: Option<String>,
    /// What it has in place of its platform's pace.
    pub pace: PaceOverrides,
}

/// Messages on their way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendingConfig {
    /// How many calls of one channel may be under way at once; at least 1.
    pub parallel: usize,
    /// How many calls of all channels may be under way at once; at least 1.
    pub parallel_total: usize,
    /// How long a node that shows no life keeps the channels that it leads.
    pub lease: Duration,
    /// The pace of WhatsApp channels that say nothing else.
    pub whatsapp: PaceConfig,
    /// The pace of Instagram channels that say nothing else.
    pub instagram: PaceConfig,
    /// How long to wait for a status of a message of which it is unknown whether Meta took it.
    pub unknown_after: Duration,
    /// How long a message is tried for when its sender names no time.
    pub expires_after: Duration,
    /// When a channel stops trying, and how it begins again.
    pub circuit: CircuitConfig,
}

/// When a channel whose calls fail stops trying with every message, and how it begins again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitConfig {
    /// This share of the calls has to fail, in percent; 0: it never stops.
    pub failure_percent: u32,
    /// Over how long calls are counted.
    pub window: Duration,
    /// Fewer calls than these tell nothing; at least 1.
    pub calls_min: u32,
    /// How long it waits before it tries with one message; each time that fails, twice as long.
    pub pause: Duration,
}

/// How fast a channel may send; 0 stands for no limit everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaceConfig {
    /// Messages in any one second.
    pub per_second: u32,
    /// One message takes up so much of a recipient's time.
    pub pair_pause: Duration,
    /// How many messages to one recipient may borrow that time at once.
    pub pair_burst: u32,
    /// Messages in a day.
    pub per_day: u32,
    /// People written to outside of a window in a day.
    pub contacts_per_day: u32,
    /// Messages to one recipient in an hour.
    pub contact_per_hour: u32,
    /// Messages in an hour.
    pub per_hour: u32,
    /// Private replies to comments in an hour (Instagram).
    pub private_per_hour: u32,
}

/// What one channel has in place of its platform's pace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaceOverrides {
    /// For [`PaceConfig::per_second`].
    pub per_second: Option<u32>,
    /// For [`PaceConfig::pair_pause`].
    pub pair_pause: Option<Duration>,
    /// For [`PaceConfig::pair_burst`].
    pub pair_burst: Option<u32>,
    /// For [`PaceConfig::per_day`].
    pub per_day: Option<u32>,
    /// For [`PaceConfig::contacts_per_day`].
    pub contacts_per_day: Option<u32>,
    /// For [`PaceConfig::contact_per_hour`].
    pub contact_per_hour: Option<u32>,
    /// For [`PaceConfig::per_hour`].
    pub per_hour: Option<u32>,
    /// For [`PaceConfig::private_per_hour`].
    pub private_per_hour: Option<u32>,
}

impl PaceOverrides {
    /// A platform's pace with what the channel has in its place.
    pub fn over(&self, platform: &PaceConfig) -> PaceConfig {
        PaceConfig {
            per_second: self.per_second.unwrap_or(platform.per_second),
            pair_pause: self.pair_pause.unwrap_or(platform.pair_pause),
            pair_burst: self.pair_burst.unwrap_or(platform.pair_burst),
            per_day: self.per_day.unwrap_or(platform.per_day),
            contacts_per_day: self.contacts_per_day.unwrap_or(platform.contacts_per_day),
            contact_per_hour: self.contact_per_hour.unwrap_or(platform.contact_per_hour),
            per_hour: self.per_hour.unwrap_or(platform.per_hour),
            private_per_hour: self.private_per_hour.unwrap_or(platform.private_per_hour),
        }
    }
}

impl SendingConfig {
    /// The pace of a platform's channels that say nothing else.
    pub fn pace(&self, platform: Platform) -> &PaceConfig {
        match platform {
            Platform::WhatsApp => &self.whatsapp,
            Platform::Instagram => &self.instagram,
        }
    }
}

/// Files in messages.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// The folder that files are in; with a bucket, those that are being written.
    pub dir: PathBuf,
    /// The largest file, in bytes.
    pub bytes_max: u64,
    /// How many files are fetched from Meta at once; at least 1.
    pub downloads_parallel: usize,
    /// How many files are handed to Meta at once; at least 1.
    pub uploads_parallel: usize,
    /// How many files callers may upload at once; at least 1.
    pub intakes_parallel: usize,
    /// How long a link to a file holds, at least.
    pub link: Duration,
    /// How long a file is kept that was uploaded and that no message refers to.
    pub unused: Duration,
    /// Where files are in place of the folder.
    pub bucket: Option<BucketConfig>,
}

/// A bucket of an S3-compatible object store.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// Its name.
    pub name: String,
    /// Where the object store is, if it is not Amazon's; no slash at its end.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// The id and the secret of the key; without one what the machine's role may do.
    pub keys: Option<(String, SecretString)>,
    /// What the names of all files begin with.
    pub prefix: String,
}

/// The server's bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// How many connections are held at once; at least 1.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// How long a client may take to send the body of a request.
    pub body_timeout: Duration,
}

/// What websites use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrationsConfig {
    /// The origins whose scripts may read it; `*` for every one.
    pub allowed_origins: Vec<String>,
}

/// The feed of reels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReelsConfig {
    /// For how long a page is as good as new.
    pub cache_ttl: Duration,
    /// How long Meta may take for a page.
    pub request_timeout: Duration,
    /// Whether films and posters are kept here.
    pub store_media: bool,
    /// How much of them is kept.
    pub media_bytes_max: u64,
    /// How often it is looked for new posts; `None` for never.
    pub media_watch: Option<Duration>,
}

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionConfig {
    /// How far back the live stream can be resumed.
    pub stream: Duration,
    /// How many quarantined notifications are kept.
    pub quarantined_max: u32,
    /// How long an event waits for the message that it is about.
    pub parked: Duration,
    /// How long a repeated `Idempotency-Key` gets the first answer again.
    pub idempotency: Duration,
    /// How long it is kept what was said to Meta about a message.
    pub attempts: Duration,
}

/// Settings that were read without a mistake.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Each of them as text, in a fixed order: what people are shown.
    pub effective: Vec<EffectiveSetting>,
    /// What is allowed but most likely not meant; a sentence each.
    pub warnings: Vec<String>,
}

/// A setting as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// Its name in the file.
    pub key: String,
    /// The variables that set it; none where only the file does.
    pub variables: Vec<&'static str>,
    /// Its value, secrets masked; `None` where it is not set.
    pub value: Option<String>,
    /// Where it comes from: the place, and the variable.
    pub source: String,
}

/// Stands, in the address of the store and in that of the media store, for the data folder.
const DATA_DIR: &str = "{data_dir}";

fn read_media(reading: &mut Reading<'_>, data_dir: &str) -> MediaConfig {
    let dir = reading.required("media.dir", |text| values::text(&text.replace(DATA_DIR, data_dir)));
    reading.show_filled("media.dir", DATA_DIR, data_dir);
    let name = reading.optional("media.s3.bucket", values::text);
    let endpoint = reading.optional("media.s3.endpoint", values::base_url);
    let region = reading.required("media.s3.region", values::text);
    let key = reading.optional("media.s3.access_key_id", values::text);
    let secret = reading.optional("media.s3.secret_access_key", values::secret);
    let prefix = reading.optional("media.s3.prefix", values::text);
    MediaConfig {
        dir: PathBuf::from(dir),
        // Meta takes nothing larger than 100 MB (reference `whatsapp.md` 11); what is larger is for whoever reads it here.
        bytes_max: reading.required("media.bytes_max", values::number(1..=4 * 1024 * 1024 * 1024)),
        downloads_parallel: reading.required("media.downloads_parallel", values::number(1..=256)),
        uploads_parallel: reading.required("media.uploads_parallel", values::number(1..=256)),
        intakes_parallel: reading.required("media.intakes_parallel", values::number(1..=256)),
        link: reading.required("media.link_secs", values::seconds(1..=30 * 86_400)),
        unused: reading.required("media.unused_hours", values::hours),
        bucket: name.map(|name| BucketConfig {
            name,
            endpoint,
            region,
            keys: key.zip(secret),
            prefix: prefix.unwrap_or_default(),
        }),
    }
}

impl Config {
    /// Reads the settings from their sources. Answers with every mistake at once.
    pub fn load(sources: Sources) -> Result<Loaded, ConfigErrors> {
        let mut mistakes = Vec::new();
        let layers = Layers::new(sources, &mut mistakes);
        let mut reading = Reading {
            layers: &layers,
            mistakes,
            effective: Vec::new(),
        };
        let config = Self::read(&mut reading);
        let Reading {
            mistakes, effective, ..
        } = reading;
        if !mistakes.is_empty() {
            return Err(ConfigErrors(mistakes));
        }
        let warnings = warnings::of(&config, &layers.sources);
        Ok(Loaded {
            config,
            effective,
            warnings,
        })
    }

    fn read(reading: &mut Reading<'_>) -> Self {
        let listen = reading.required("listen", values::socket_address);
        let data_dir = reading.required("data_dir", values::text);
        let database_url = reading.required("database_url", |text| {
            values::database_url(&text.replace(DATA_DIR, &data_dir))
        });
        reading.show_filled("database_url", DATA_DIR, &data_dir);
        let media = read_media(reading, &data_dir);
        Self {
            listen,
            database_url,
            database_ca_cert_path: reading
                .optional("database_ca_cert_path", values::text)
                .map(PathBuf::from),
            data_dir: PathBuf::from(data_dir),
            public_url: reading.optional("public_url", values::base_url),
            admin_key: reading.optional("admin_key", values::admin_key),
            master_key: reading.optional("master_key", values::master_key),
            meta_app_id: reading.optional("meta_app_id", values::meta_id),
            instagram_app_id: reading.optional("instagram_app_id", values::meta_id),
            metrics_allow: reading.list("metrics_allow", values::ip_address),
            log: LogConfig {
                filter: reading.required("log.filter", values::log_filter),
                format: reading.required("log.format", values::log_format),
            },
            webhooks: WebhookConfig {
                signature_required: reading.required("webhooks.signature_required", values::boolean),
                batch_size: reading.required("webhooks.batch_size", values::number(1..=1000)),
                retry_attempts: reading.required("webhooks.retry_attempts", values::number(0..=100)),
                retry_delay: reading.required("webhooks.retry_delay_ms", values::milliseconds(1..=3_600_000)),
                max_queue: reading.required("webhooks.max_queue", values::number(1..=1_000_000)),
                // Meta wants an answer within 5 s (reference `graph-api.md` 9.3).
                answer_within: reading.required("webhooks.answer_within_ms", values::milliseconds(50..=5_000)),
                body_bytes_max: reading.required("webhooks.body_bytes_max", values::number(1024..=64 * 1024 * 1024)),
                whatsapp: PlatformConfig {
                    app_secrets: reading.list("webhooks.whatsapp.app_secrets", values::secret),
                    verify_tokens: reading.list("webhooks.whatsapp.verify_tokens", values::secret),
                },
                instagram: PlatformConfig {
                    app_secrets: reading.list("webhooks.instagram.app_secrets", values::secret),
                    verify_tokens: reading.list("webhooks.instagram.verify_tokens", values::secret),
                },
            },
            graph: GraphConfig {
                whatsapp_base_url: reading.required("graph.whatsapp_base_url", values::base_url),
                instagram_base_url: reading.required("graph.instagram_base_url", values::base_url),
                version: reading.required("graph.version", values::graph_version),
                request_timeout: reading.required("graph.request_timeout_ms", values::milliseconds(1..=600_000)),
                connect_timeout: reading.required("graph.connect_timeout_ms", values::milliseconds(1..=600_000)),
            },
            consent_words: consent::read(reading),
            templates_sync_every: reading.required("templates.sync_secs", values::seconds(0..=7 * 86_400)),
            whatsapp_integration: WhatsAppIntegration {
                secrets: reading.list("integrations.whatsapp.secrets", values::secret),
                tolerance_secs: reading.required("integrations.whatsapp.tolerance_secs", values::number(1..=1_800)),
                booking_template: reading.required("integrations.whatsapp.booking_template", values::text),
                language: reading.required("integrations.whatsapp.language", values::text),
            },
            sending: SendingConfig {
                parallel: reading.required("sending.parallel", values::number(1..=1000)),
                parallel_total: reading.required("sending.parallel_total", values::number(1..=100_000)),
                lease: reading.required("sending.lease_ms", values::milliseconds(100..=60_000)),
                unknown_after: reading.required("sending.unknown_after_secs", values::seconds(1..=86_400)),
                expires_after: reading.required("sending.expires_after_secs", values::seconds(1..=30 * 86_400)),
                circuit: CircuitConfig {
                    failure_percent: reading.required("sending.circuit_failure_percent", values::number(0..=100)),
                    window: reading.required("sending.circuit_window_secs", values::seconds(1..=3_600)),
                    calls_min: reading.required("sending.circuit_calls_min", values::number(1..=1_000_000)),
                    pause: reading.required("sending.circuit_pause_secs", values::seconds(1..=3_600)),
                },
                whatsapp: PaceConfig {
                    per_second: reading.required("sending.whatsapp.messages_per_second", values::pace),
                    pair_pause: reading.required("sending.whatsapp.pair_pause_secs", values::seconds(0..=3_600)),
                    pair_burst: reading.required("sending.whatsapp.pair_burst", values::number(1..=1_000)),
                    per_day: reading.required("sending.whatsapp.messages_per_day", values::count),
                    contacts_per_day: reading.required("sending.whatsapp.contacts_per_day", values::count),
                    contact_per_hour: reading.required("sending.whatsapp.messages_per_contact_hour", values::pace),
                    per_hour: reading.required("sending.whatsapp.messages_per_hour", values::count),
                    private_per_hour: 0,
                },
                instagram: PaceConfig {
                    per_second: reading.required("sending.instagram.messages_per_second", values::pace),
                    pair_pause: reading.required("sending.instagram.pair_pause_secs", values::seconds(0..=3_600)),
                    pair_burst: reading.required("sending.instagram.pair_burst", values::number(1..=1_000)),
                    per_day: reading.required("sending.instagram.messages_per_day", values::count),
                    contacts_per_day: reading.required("sending.instagram.contacts_per_day", values::count),
                    contact_per_hour: reading.required("sending.instagram.messages_per_contact_hour", values::pace),
                    per_hour: reading.required("sending.instagram.messages_per_hour", values::count),
                    private_per_hour: reading.required("sending.instagram.private_replies_per_hour", values::pace),
                },
            },
            media,
            http: HttpConfig {
                connections_max: reading.required("http.connections_max", values::number(1..=1_000_000)),
                header_timeout: reading.required("http.header_timeout_secs", values::seconds(1..=600)),
                body_timeout: reading.required("http.body_timeout_secs", values::seconds(1..=600)),
            },
            integrations: IntegrationsConfig {
                allowed_origins: reading.list("integrations.allowed_origins", values::origin),
            },
            reels: ReelsConfig {
                cache_ttl: reading.required("reels.cache_ttl_secs", values::seconds(1..=86_400)),
                request_timeout: reading.required("reels.request_timeout_ms", values::milliseconds(1..=60_000)),
                store_media: reading.required("reels.store_media", values::boolean),
                media_bytes_max: reading
                    .required::<u64>("reels.media_megabytes_max", values::number(1..=10_000_000))
                    .saturating_mul(1_000_000),
                media_watch: Some(reading.required("reels.media_watch_secs", values::seconds(0..=86_400)))
                    .filter(|every| !every.is_zero()),
            },
            retention: RetentionConfig {
                stream: reading.required("retention.stream_hours", values::hours),
                quarantined_max: reading.required("retention.quarantined_max", values::number(0..=10_000_000)),
                parked: reading.required("retention.parked_hours", values::hours),
                idempotency: reading.required("retention.idempotency_hours", values::hours),
                attempts: reading.required("retention.attempts_hours", values::hours),
            },
            channels: channels::read(reading),
            routes: routes::read(reading),
        }
    }
}
