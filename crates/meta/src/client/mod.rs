//! The Graph client, and the closed set of outcomes of a call.
//!
//! Every call answers with an [`Exchange`]: what came of it, and what an operator wants to see of it later. A call never fails in
//! any other way, never repeats itself, never follows a redirect, and is bounded in time and in the size of the answer.
//!
//! What decides over resending is [`CallError`]: [`NotSent`](CallError::NotSent) and
//! [`Refused`](CallError::Refused) are certain, [`Unknown`](CallError::Unknown) is not, because Meta has no idempotency key
//! (reference `whatsapp.md` 9.1, `instagram.md` 3.1).
//!
//! Tokens travel in the `Authorization` header, never appear in `Debug`, errors or the kept answer.
//!
//! - `calls`: what can be asked of Meta, one method each.
//! - `carrier`: who takes a request to Meta in place of a connection, in a simulation.
//! - `exchange`: what a call answers.
//! - `media`: files, up and down.
//! - `nodes`: what is read out of the answers.
//! - `posts`: what an Instagram account has posted.
//! - `templates`: message templates.
//! - `transport`: one HTTP exchange, and which error means what.

mod calls;
mod carrier;
mod comments;
mod exchange;
mod media;
mod nodes;
mod posts;
mod redaction;
mod templates;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

pub use calls::Subscription;
pub use carrier::{Carried, Carrier};
pub use comments::{CommentNode, CommentsPage};
pub use exchange::{CallError, Exchange, Usage};
pub use media::{Download, DownloadError, MediaNode, Upload};
pub use nodes::{
    ActiveSubscription, GranularScope, Health, HealthError, InstagramAccount, InstalledApp, PhoneNumberNode, Profile,
    Sent, SubscribedField, TokenError, TokenReport,
};
pub use posts::{Extra, Post, PostsPage, PostsQuery};
pub use templates::{CreatedTemplate, TemplateNode, TemplatePage};

/// How to reach one of Meta's hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Scheme and host, such as `https://graph.facebook.com` or `https://graph.instagram.com`; a path prefix is kept. Plain `http`
    /// is for a simulator.
    pub base_url: String,
    /// The version to ask for, such as `v26.0`. Always explicit (reference `graph-api.md` 1).
    pub version: String,
    /// How long making a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long everything after that may take, to the last byte of the answer. A call takes at most both together, so that a
    /// connection which cannot be made is always told apart from an answer which does not come.
    pub request_timeout: Duration,
    /// How many idle connections are kept for the next calls.
    pub pool_max_idle: usize,
    /// How much of an answer is read.
    pub answer_bytes_max: usize,
    /// The `User-Agent` header.
    pub user_agent: String,
}

impl ClientOptions {
    /// Options with values that suit most: 5 s to connect, 20 s to answer, 32 idle connections, 1 MiB of answer.
    pub fn new(base_url: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            version: version.into(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(20),
            pool_max_idle: 32,
            answer_bytes_max: 1024 * 1024,
            user_agent: concat!("tidings/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is not one.
    #[error("the base URL {base_url:?} must be http(s)://host, without query or credentials")]
    BaseUrl {
        /// What was given.
        base_url: String,
    },
    /// The version is not one.
    #[error("the version {version:?} must look like v26.0")]
    Version {
        /// What was given.
        version: String,
    },
    /// The HTTP client could not be made: most often the system has no certificate authorities, or the user agent is no header.
    #[error("the HTTP client could not be set up (are CA certificates installed?)")]
    Transport(#[source] reqwest::Error),
}

/// Calls one of Meta's hosts. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct GraphClient {
    http: reqwest::Client,
    /// Without a slash at its end.
    base_url: String,
    version: String,
    answer_bytes_max: usize,
    /// Set in a simulation alone.
    carrier: Option<Arc<dyn Carrier>>,
}

/// Idle connections are dropped before Meta's side would do it: a request that meets a connection being closed may or may not have
/// been received.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

impl GraphClient {
    /// Makes a client. Nothing global is installed, and nothing is connected yet.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let Some((base_url, is_tls)) = checked_base_url(&options.base_url) else {
            let base_url = options.base_url;
            return Err(ClientError::BaseUrl { base_url });
        };
        let version = checked_version(options.version)?;
        let builder = reqwest::Client::builder()
            .user_agent(options.user_agent)
            .connect_timeout(options.connect_timeout)
            .timeout(options.connect_timeout.saturating_add(options.request_timeout))
            .pool_max_idle_per_host(options.pool_max_idle)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false);
        let builder = if is_tls {
            builder.https_only(true)
        } else {
            // Only a simulator is called without TLS: it needs no certificate authorities, which a small system may not have, and
            // no proxy stands before it.
            builder.tls_certs_only([]).no_proxy()
        };
        Ok(Self {
            http: builder.build().map_err(ClientError::Transport)?,
            base_url,
            version,
            answer_bytes_max: options.answer_bytes_max,
            carrier: None,
        })
    }

    /// The same client, with somebody who takes its requests to Meta in place of a connection: for simulations, which leave no process.
    pub fn carried_by(&self, carrier: Arc<dyn Carrier>) -> Self {
        Self {
            carrier: Some(carrier),
            ..self.clone()
        }
    }

    /// The same client, connections included, asking for another version: accounts may move to a new one separately.
    pub fn with_version(&self, version: impl Into<String>) -> Result<Self, ClientError> {
        Ok(Self {
            version: checked_version(version.into())?,
            ..self.clone()
        })
    }

    /// The version that is asked for; [`Exchange::served_version`] tells which one answered.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// The URL without a slash at its end, and whether it is `https`.
fn checked_base_url(base_url: &str) -> Option<(String, bool)> {
    let url = Url::parse(base_url).ok()?;
    let is_plain = url.has_host()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let is_tls = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    is_plain.then(|| (url.as_str().trim_end_matches('/').to_owned(), is_tls))
}

fn checked_version(version: String) -> Result<String, ClientError> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = version
        .strip_prefix('v')
        .and_then(|numbers| numbers.split_once('.'))
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor));
    if is_version {
        Ok(version)
    } else {
        Err(ClientError::Version { version })
    }
}
