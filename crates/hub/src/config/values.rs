//! How the text of a setting becomes its value. Each answers, when it cannot, what would be right instead.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use super::LogFormat;
use crate::channels::check::{SMTP_URL_EXPECTED, is_smtp_url};
use crate::channels::model::{ChannelKind, is_account, is_channel_id};
use crate::conversations::consent::words;
use crate::crypto;

/// Why a text is not a value: a sentence that begins after the quoted text, such as `is not a number from 1 to 1000`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAValue(pub(super) String);

pub(super) type Parsed<T> = Result<T, NotAValue>;

fn not<T>(what: impl Into<String>) -> Parsed<T> {
    Err(NotAValue(format!("is not {}", what.into())))
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where others can fail")]
pub(super) fn text(text: &str) -> Parsed<String> {
    Ok(text.to_owned())
}

/// What somebody may write in a message, and nothing else.
pub(super) fn word(text: &str) -> Parsed<String> {
    let compared = words::compared(text);
    if compared.is_empty() || compared.chars().count() > WORD_CHARS_MAX {
        return not(format!(
            "a word, or a few, of up to {WORD_CHARS_MAX} letters and digits"
        ));
    }
    Ok(compared)
}

const WORD_CHARS_MAX: usize = 50;

#[expect(clippy::unnecessary_wraps, reason = "it stands where others can fail")]
pub(super) fn secret(text: &str) -> Parsed<SecretString> {
    Ok(SecretString::from(text))
}

/// A key that opens everything has to be too long to be guessed.
pub(super) fn admin_key(text: &str) -> Parsed<SecretString> {
    if text.chars().count() < ADMIN_KEY_CHARS_MIN {
        return Err(NotAValue(format!(
            "has fewer than {ADMIN_KEY_CHARS_MIN} characters and could be guessed; `openssl rand -hex 32` makes one"
        )));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NotAValue(
            "may only have letters, digits and signs of ASCII: it travels in an HTTP header".to_owned(),
        ));
    }
    secret(text)
}

const ADMIN_KEY_CHARS_MIN: usize = 16;

/// The key that secrets in the store are sealed with.
pub(super) fn master_key(text: &str) -> Parsed<SecretString> {
    if crypto::is_master_key(text) {
        secret(text)
    } else {
        not("a master key: 64 hexadecimal digits; `openssl rand -hex 32` makes one")
    }
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => not("true or false"),
    }
}

/// A whole number within bounds; of any type that the upper bound fits into.
pub(super) fn number<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        text.parse::<u64>()
            .ok()
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .map_or_else(
                || not(format!("a number from {} to {}", range.start(), range.end())),
                Ok,
            )
    }
}

/// A pace: low enough for a channel to remember every message of its span.
pub(super) fn pace(text: &str) -> Parsed<u32> {
    number(0..=10_000)(text)
}

/// So many messages or people.
pub(super) fn count(text: &str) -> Parsed<u32> {
    number(0..=1_000_000_000)(text)
}

pub(super) fn milliseconds(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    duration(range, "milliseconds", Duration::from_millis)
}

pub(super) fn seconds(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    duration(range, "seconds", Duration::from_secs)
}

/// At most ten years, so that no sum with a time of today leaves the calendar.
pub(super) fn hours(text: &str) -> Parsed<Duration> {
    duration(1..=10 * 366 * 24, "hours", |hours| Duration::from_secs(hours * 60 * 60))(text)
}

fn duration(
    range: RangeInclusive<u64>,
    unit: &str,
    make: impl Fn(u64) -> Duration,
) -> impl Fn(&str) -> Parsed<Duration> {
    let parse = number::<u64>(range);
    move |text| match parse(text) {
        Ok(number) => Ok(make(number)),
        Err(NotAValue(reason)) => Err(NotAValue(format!("{reason} ({unit})"))),
    }
}

pub(super) fn socket_address(text: &str) -> Parsed<SocketAddr> {
    text.parse()
        .or_else(|_| not("an IP address with a port, such as 127.0.0.1:8080"))
}

pub(super) fn ip_address(text: &str) -> Parsed<IpAddr> {
    text.parse().or_else(|_| not("an IP address, such as 10.0.0.7"))
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => not("\"pretty\" or \"json\""),
    }
}

pub(super) fn log_filter(text: &str) -> Parsed<String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => not("a filter of the log, such as info or info,tidings::sending=debug"),
    }
}

/// Whose scripts may read: a scheme and a host, as browsers send it, or `*`.
pub(super) fn origin(text: &str) -> Parsed<String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let expected = "an origin: a scheme and a host, such as https://www.example.com, or *";
    let Ok(url) = Url::parse(text) else {
        return not(expected);
    };
    let is_bare = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    if is_bare {
        Ok(url.origin().ascii_serialization())
    } else {
        not(expected)
    }
}

/// A version of the Graph interface: `v` and two numbers (reference `graph-api.md` 1).
pub(super) fn graph_version(text: &str) -> Parsed<String> {
    let is_number = |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = text.strip_prefix('v').and_then(|numbers| numbers.split_once('.'));
    match numbers {
        Some((major, minor)) if is_number(major) && is_number(minor) => Ok(text.to_owned()),
        _ => not("a version of Meta's interface, such as v26.0"),
    }
}

/// An address that paths are appended to; without a slash at its end.
pub(super) fn base_url(text: &str) -> Parsed<String> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    match url {
        Some(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        None => not("a URL of the form https://host, without user, query or fragment"),
    }
}

/// Whether everyone on the way can read what is sent to a [`base_url`]: it is plain http, and leaves this machine.
pub(super) fn is_readable_on_the_way(base_url: &str) -> bool {
    let Ok(url) = Url::parse(base_url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let stays_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && !stays_here
}

/// The address of a store; an engine that there is.
pub(super) fn database_url(text: &str) -> Parsed<SecretString> {
    let file = text
        .strip_prefix("sqlite:")
        .map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    if let Some(file) = file {
        return match file.split('?').next() {
            None | Some("") => not("the address of a store: sqlite:// is followed by the path of a file"),
            Some(_) => secret(text),
        };
    }
    let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    if is_postgres && Url::parse(text).is_ok() {
        secret(text)
    } else {
        not(STORE_ADDRESS)
    }
}

const STORE_ADDRESS: &str = "the address of a store: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE, \
                             with signs other than letters and digits in the password written as %40 and so on";

/// An address as it may be shown: a password can stand before the host, and in the query.
pub(super) fn shown_address(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    // Without a host there is no telling what of it is a password.
    let Some(mut url) = Url::parse(text).ok().filter(Url::has_host) else {
        return MASKED.to_owned();
    };
    if url.password().is_some() && url.set_password(Some(MASKED)).is_err() {
        return MASKED.to_owned();
    }
    url.set_query(None);
    url.to_string()
}

/// What is shown in the place of a secret.
pub(super) const MASKED: &str = "********";

/// What an e-mail sender writes as: an address, with or without a name.
pub(super) fn mailbox(text: &str) -> Parsed<String> {
    if is_account(ChannelKind::Email, text) {
        Ok(text.to_owned())
    } else {
        not("an e-mail address, such as shop@example.com or The Shop <shop@example.com>")
    }
}

/// The address of an SMTP server, with user and password.
pub(super) fn smtp_url(text: &str) -> Parsed<SecretString> {
    let url = SecretString::from(text);
    if is_smtp_url(&url) {
        Ok(url)
    } else {
        Err(NotAValue(SMTP_URL_EXPECTED.to_owned()))
    }
}

/// Meta's id of a number, an account or an app.
pub(super) fn meta_id(text: &str) -> Parsed<String> {
    if is_account(ChannelKind::WhatsApp, text) {
        Ok(text.to_owned())
    } else {
        not("an id of Meta's: digits alone (of a phone number it is the id that is meant, not the number)")
    }
}

/// The id of a channel: it stands in addresses, metrics and keys.
pub(super) fn channel_id(text: &str) -> Parsed<String> {
    if is_channel_id(text) {
        Ok(text.to_owned())
    } else {
        not("an id of a channel: up to 64 small letters, digits and hyphens, such as whatsapp-nl")
    }
}
