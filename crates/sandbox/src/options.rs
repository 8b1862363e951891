//! What a sandbox is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::clock::Time;
use crate::customers::script::Script;
use crate::mail::SmtpOptions;
use crate::templates::TemplateRules;
use crate::world::World;

/// What a sandbox is started with. [`Options::default`] suits a person who wants to look around; a test sets
/// [`Time::Stepped`] and what it is about.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What links to media lead to, where that is another address than the one listened on.
    pub url: Option<String>,
    /// Same seed, same ids, same order.
    pub seed: u64,
    /// How time passes.
    pub time: Time,
    /// How webhooks are posted.
    pub webhooks: WebhookOptions,
    /// How long messages take.
    pub delays: Delays,
    /// What Meta leaves open, or does in more than one way.
    pub rules: Rules,
    /// What becomes of templates by themselves.
    pub templates: TemplateRules,
    /// Bounds of what is kept in memory.
    pub limits: Limits,
    /// The SMTP sink, if there is to be one.
    pub smtp: Option<SmtpOptions>,
    /// Customers who act by themselves.
    pub script: Option<Script>,
    /// Numbers, accounts, tokens, customers.
    pub world: World,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            url: None,
            seed: 1,
            time: Time::Real,
            webhooks: WebhookOptions::default(),
            delays: Delays::default(),
            rules: Rules::default(),
            templates: TemplateRules::default(),
            limits: Limits::default(),
            smtp: None,
            script: None,
            world: World::default(),
        }
    }
}

/// How webhooks are posted to a subscriber.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// Most events in one post. Meta's own bound is 1000 (graph-api.md 9.1).
    pub batch_max: usize,
    /// How long an event waits for others to share its post.
    pub batch_wait: Duration,
    /// The pause before the first repeat; each further one is twice as long.
    pub retry_first: Duration,
    /// The longest pause between two repeats.
    pub retry_max: Duration,
    /// After this long a post is dropped. WhatsApp repeats for 7 days (whatsapp.md 2.3).
    pub give_up_after: Duration,
    /// Most posts under way at a time, for each subscriber. 1 keeps the order of events.
    pub parallel: usize,
    /// How long a subscriber may take to answer, in real time.
    pub timeout: Duration,
    /// Most events that wait to be posted or repeated, for each subscriber; beyond it, new ones are dropped.
    pub waiting_max: usize,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            batch_max: 100,
            batch_wait: Duration::ZERO,
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_hours(1),
            give_up_after: Duration::from_hours(7 * 24),
            parallel: 8,
            timeout: Duration::from_secs(10),
            waiting_max: 200_000,
        }
    }
}

/// How long messages take on their way.
#[derive(Debug, Clone, Copy)]
pub struct Delays {
    /// From accepted to `sent` (or `failed`).
    pub sent: Duration,
    /// From `sent` to `delivered`.
    pub delivered: Duration,
    /// From `delivered` to `read`; `None`: nobody reads by themselves. A customer may have a time of their own.
    pub read: Option<Duration>,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            sent: Duration::from_millis(100),
            delivered: Duration::from_millis(200),
            read: Some(Duration::from_secs(2)),
        }
    }
}

/// What Meta leaves open, or does in more than one way.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether WhatsApp's pair limit holds: 131056 beyond 45 messages to one person and one each 6 s (whatsapp.md 13.2).
    pub pair_limit: bool,
    /// Whether a burst to one person has to be paid back in silence, which is the stricter reading of the pair limit.
    pub pair_strict: bool,
    /// Whether what customers write counts towards a number's throughput, as Meta's page has it (whatsapp.md 13.1).
    pub throughput_counts_inbound: bool,
    /// The code that the messaging limit answers with. Meta's pages name none; 131048 and 130429 are seen (whatsapp.md 13.3).
    pub tier_code: i64,
    /// Whether the countries that Meta exempts from the marketing limit are exempt here, and numbers of the United States, which
    /// get no marketing at all, get none (whatsapp.md 13.7).
    pub marketing_by_country: bool,
    /// Calls in any hour for each app: code 4 beyond it. 0 is off; at Meta 200 for each daily user (graph-api.md 4).
    pub app_calls_per_hour: u32,
    /// From how many percent of a limit on answers tell what is used of it: they do "after enough calls" (graph-api.md 4).
    pub usage_told_from: u32,
    /// How WhatsApp refuses a free-form message outside the window.
    pub window_refusal: WindowRefusal,
    /// When the echo of an Instagram message comes.
    pub echo: EchoTiming,
    /// How long the addresses of posts' files are good: days, as users report (instagram.md 5.3).
    pub post_links_live: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            pair_limit: true,
            pair_strict: false,
            throughput_counts_inbound: false,
            tier_code: 131_048,
            marketing_by_country: true,
            app_calls_per_hour: 0,
            usage_told_from: 1,
            window_refusal: WindowRefusal::default(),
            echo: EchoTiming::default(),
            post_links_live: Duration::from_hours(48),
        }
    }
}

/// How a free-form WhatsApp message outside the customer service window is refused (whatsapp.md 9.1, 13.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WindowRefusal {
    /// Accepted, then a `failed` status with 131047.
    #[default]
    Status,
    /// The call itself is answered with 131047.
    Answer,
}

/// When the echo of a message sent through Instagram's interface is posted (instagram.md 2.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EchoTiming {
    /// Once the call is answered.
    #[default]
    AfterAnswer,
    /// The call is answered only once the echo was posted for the first time.
    BeforeAnswer,
    /// Not at all.
    Never,
}

/// Bounds of what is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of the ledger; the oldest go. With 0 there is only its summary.
    pub ledger_entries: usize,
    /// Keys by which the ledger's summary knows doubles and disorder.
    pub summary_keys: usize,
    /// Messages of one thread; the oldest go.
    pub thread_messages: usize,
    /// Things planned for later (statuses, repeats, replies); when reached, sends are answered with code 2.
    pub planned: usize,
    /// Customers.
    pub customers: usize,
    /// Bytes of media; the oldest go.
    pub media_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ledger_entries: 200_000,
            summary_keys: 1_000_000,
            thread_messages: 500,
            planned: 1_000_000,
            customers: 200_000,
            media_bytes: 256 * 1024 * 1024,
        }
    }
}
