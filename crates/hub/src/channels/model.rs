//! What a channel is, and what it may be. Pure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_meta::notification::Platform;
use utoipa::ToSchema;

use crate::config::PaceOverrides;
use crate::conversations::model::{ChannelId, Millis};

/// What a channel is a connection to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// A WhatsApp phone number.
    WhatsApp,
    /// An Instagram professional account.
    Instagram,
    /// An e-mail sender.
    Email,
}

impl ChannelKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::WhatsApp, Self::Instagram, Self::Email];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WhatsApp => "whatsapp",
            Self::Instagram => "instagram",
            Self::Email => "email",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }

    /// Which of Meta's products it is; `None` where it is none.
    pub fn platform(self) -> Option<Platform> {
        match self {
            Self::WhatsApp => Some(Platform::WhatsApp),
            Self::Instagram => Some(Platform::Instagram),
            Self::Email => None,
        }
    }

    /// What its credentials are called by callers.
    pub fn credentials_field(self) -> &'static str {
        match self {
            Self::WhatsApp | Self::Instagram => "accessToken",
            Self::Email => "smtpUrl",
        }
    }
}

impl From<Platform> for ChannelKind {
    fn from(platform: Platform) -> Self {
        match platform {
            Platform::WhatsApp => Self::WhatsApp,
            Platform::Instagram => Self::Instagram,
        }
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a channel comes from: who may remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The settings name it; it goes when they name it no more.
    Settings,
    /// It was added while the hub ran, and is removed likewise.
    Api,
}

impl Source {
    /// Every source.
    pub const ALL: &[Self] = &[Self::Settings, Self::Api];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Api => "api",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|source| source.as_str() == word)
    }
}

/// Why a channel sends nothing for the time being: Meta refuses its credentials, or its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What Meta said.
    pub reason: String,
    /// Meta's code.
    pub code: i64,
    /// Since when.
    pub at: Millis,
}

/// A circuit that is not closed: too many calls of a channel have failed of late, and it waits before it tries again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCircuit {
    /// What the last call failed of.
    pub reason: String,
    /// Since when.
    pub opened_at: Millis,
    /// From then on one message is tried: it closes the circuit, or opens it again.
    pub probe_at: Millis,
    /// How often it has opened since it was last closed.
    pub openings: u32,
}

impl OpenCircuit {
    /// Whether the time has come to try.
    pub fn is_half_open(&self, now: Millis) -> bool {
        now >= self.probe_at
    }
}

/// That a backup was put in a channel's place, by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// The backup.
    pub to: ChannelId,
    /// Since when.
    pub at: Millis,
    /// Who did it.
    pub by: String,
}

/// Pace and budgets of a channel, as far as they were set: what is left out is as Meta has it, and 0 switches a limit off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Messages a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    /// Messages to one person at once, before the pause between two holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_burst: Option<u32>,
    /// The pause between two messages to one person, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_pause_secs: Option<u32>,
    /// Messages a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_day: Option<u32>,
    /// People whom the business writes to first, in 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contacts_per_day: Option<u32>,
    /// Private replies to comments, an hour (Instagram).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_replies_per_hour: Option<u32>,
    /// Messages with audio or video a second (Instagram).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_per_second: Option<u32>,
    /// Messages to one person, an hour (Instagram).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_messages_per_hour: Option<u32>,
    /// Messages of the account, an hour (Instagram).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_messages_per_hour: Option<u32>,
}

impl Limits {
    /// As kept.
    pub fn to_json(self) -> String {
        serde_json::to_string(&self).expect("limits are numbers")
    }

    /// What is set of a channel's pace.
    pub fn pace(&self) -> PaceOverrides {
        PaceOverrides {
            per_second: self.messages_per_second,
            pair_pause: self.pair_pause_secs.map(|secs| Duration::from_secs(secs.into())),
            pair_burst: self.pair_burst,
            per_day: self.messages_per_day,
            contacts_per_day: self.contacts_per_day,
            contact_per_hour: self.user_messages_per_hour,
            per_hour: self.account_messages_per_hour,
            private_per_hour: self.private_replies_per_hour,
            media_per_second: self.media_per_second,
        }
    }

    /// From what is kept. What cannot be read is as if it were not set: a newer version may have written it.
    pub fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// What Meta thinks of a WhatsApp number, by what its recipients do (reference `whatsapp.md` 13.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// All is well.
    Green,
    /// Some block or report it.
    Yellow,
    /// Many do: Meta may restrict it.
    Red,
    /// Meta does not say.
    Unknown,
}

impl Quality {
    /// Every quality.
    pub const ALL: [Self; 4] = [Self::Green, Self::Yellow, Self::Red, Self::Unknown];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
            Self::Unknown => "unknown",
        }
    }

    /// From Meta's word, or ours.
    pub fn of(word: &str) -> Self {
        let known = Self::ALL
            .into_iter()
            .find(|quality| quality.as_str().eq_ignore_ascii_case(word));
        known.unwrap_or(Self::Unknown)
    }
}

/// Messages a second of a number that the WhatsApp Business app uses as well, whatever its throughput (reference `whatsapp.md` 7, 13.1).
const SHARED_PER_SECOND: u32 = 20;

/// What Meta allows a WhatsApp number and thinks of it (reference `whatsapp.md` 12.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberFacts {
    /// `STANDARD`, `HIGH`, `NOT_APPLICABLE`.
    pub throughput: Option<String>,
    /// Whether the WhatsApp Business app uses it as well.
    pub is_on_phone_app: bool,
    /// How many people its portfolio may write to first in 24 hours, as a word, such as `TIER_2K`.
    pub messaging_limit: Option<String>,
    /// What Meta thinks of it.
    pub quality: Quality,
    /// When that was read.
    pub read_at: Millis,
}

impl NumberFacts {
    /// Messages a second; `None` where Meta does not say.
    pub fn per_second(&self) -> Option<u32> {
        if self.is_on_phone_app {
            return Some(SHARED_PER_SECOND);
        }
        match self.throughput.as_deref()? {
            "STANDARD" => Some(80),
            "HIGH" => Some(1_000),
            _ => None,
        }
    }

    /// People in 24 hours; 0 for as many as there are, `None` where Meta does not say (reference `whatsapp.md` 8, 13.3).
    pub fn contacts_per_day(&self) -> Option<u32> {
        let tier = self.messaging_limit.as_deref()?.strip_prefix("TIER_")?;
        if tier == "UNLIMITED" {
            return Some(0);
        }
        match tier.strip_suffix('K') {
            Some(thousands) => thousands.parse::<u32>().ok()?.checked_mul(1_000),
            None => tier.parse().ok(),
        }
        // None would be no limit.
        .filter(|count| *count > 0)
    }

    /// Whether it is what was known before, but for when it was read.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let read_at = other.read_at;
        Self {
            read_at,
            ..self.clone()
        } == *other
    }
}

/// A channel as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChannel {
    /// Its name here.
    pub id: ChannelId,
    /// What it is a connection to.
    pub kind: ChannelKind,
    /// Meta's id of the phone number or the professional account; of an e-mail sender, its address.
    pub account: String,
    /// The WhatsApp Business Account that it belongs to.
    pub business_account: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// The channel whose place it takes when that one cannot send.
    pub backup_for: Option<ChannelId>,
    /// Pace and budgets.
    pub limits: Limits,
    /// Sealed; without any the channel only receives.
    pub credentials: Option<Vec<u8>>,
    /// How often the credentials have changed.
    pub credentials_version: i64,
    /// When they changed last.
    pub credentials_at: Option<Millis>,
    /// Why it sends nothing, if it is held.
    pub held: Option<Held>,
    /// Its circuit, unless that is closed.
    pub circuit: Option<OpenCircuit>,
    /// What sends in its place, if something does.
    pub switched: Option<Switched>,
    /// How often it was let go on although it paused.
    pub hurries: i64,
    /// When it was first written down.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Option<Millis>,
}

/// Whether a text can be the id of a channel: it stands in addresses, metrics, keys and the names of flags.
pub fn is_channel_id(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_fit)
}

/// Whether a text can be an account of a kind of channel.
pub fn is_account(kind: ChannelKind, text: &str) -> bool {
    match kind {
        ChannelKind::WhatsApp | ChannelKind::Instagram => {
            !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit())
        }
        ChannelKind::Email => is_mailbox(text),
    }
}

/// `shop@example.com`, or `The Shop <shop@example.com>`.
fn is_mailbox(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => match rest.strip_suffix('>') {
            Some(address) => address,
            None => return false,
        },
        None => text,
    };
    let is_fit = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|character| !character.is_whitespace() && !character.is_control() && !"<>@,;".contains(character))
    };
    let fits = text.len() <= 320 && !text.chars().any(char::is_control);
    fits && address
        .rsplit_once('@')
        .is_some_and(|(local, domain)| is_fit(local) && is_fit(domain))
}

#[cfg(test)]
mod tests {
    use super::{ChannelKind, Limits, NumberFacts, Quality, is_account, is_channel_id};

    #[test]
    fn what_meta_says_of_a_number_is_a_pace() {
        let facts = |throughput: &str, is_on_phone_app: bool, tier: &str| NumberFacts {
            throughput: Some(throughput.to_owned()),
            is_on_phone_app,
            messaging_limit: Some(tier.to_owned()),
            quality: Quality::of("YELLOW"),
            read_at: 0,
        };
        for (throughput, is_on_phone_app, per_second) in [
            ("STANDARD", false, Some(80)),
            ("HIGH", false, Some(1_000)),
            ("NOT_APPLICABLE", false, None),
            ("HIGHER", false, None),
            ("STANDARD", true, Some(20)),
            ("NOT_APPLICABLE", true, Some(20)),
        ] {
            let facts = facts(throughput, is_on_phone_app, "TIER_2K");
            assert_eq!(facts.per_second(), per_second, "{throughput}");
            assert_eq!(facts.quality, Quality::Yellow);
        }
        for (tier, people) in [
            ("TIER_50", Some(50)),
            ("TIER_250", Some(250)),
            ("TIER_1K", Some(1_000)),
            ("TIER_2K", Some(2_000)),
            ("TIER_10K", Some(10_000)),
            ("TIER_100K", Some(100_000)),
            ("TIER_UNLIMITED", Some(0)),
            ("TIER_NOT_SET", None),
            ("TIER_0", None),
            ("TIER_99999999K", None),
            ("2000", None),
        ] {
            assert_eq!(facts("HIGH", false, tier).contacts_per_day(), people, "{tier}");
        }
        assert_eq!(Quality::of("NA"), Quality::Unknown);
    }

    #[test]
    fn ids_of_channels_stand_in_addresses() {
        for id in ["whatsapp", "whatsapp-nl", "1"] {
            assert!(is_channel_id(id), "{id}");
        }
        for id in ["", "WhatsApp", "a b", "a.b", "a/b", &"a".repeat(65)] {
            assert!(!is_channel_id(id), "{id}");
        }
    }

    #[test]
    fn an_account_is_one_of_its_kind() {
        assert!(is_account(ChannelKind::WhatsApp, "106540352242922"));
        assert!(!is_account(ChannelKind::WhatsApp, "+31612345678"));
        for mailbox in ["shop@example.com", "The Shop <shop@example.com>"] {
            assert!(is_account(ChannelKind::Email, mailbox), "{mailbox}");
        }
        for wrong in [
            "shop",
            "@example.com",
            "a@b@c",
            "a b@c",
            "Shop <a@b",
            "a@b\r\nBcc: c@d",
            "a@b, c@d",
        ] {
            assert!(!is_account(ChannelKind::Email, wrong), "{wrong}");
        }
    }

    #[test]
    fn limits_read_back_and_what_was_not_set_is_not_kept() {
        let limits = Limits {
            messages_per_second: Some(20),
            ..Limits::default()
        };
        assert_eq!(limits.to_json(), r#"{"messagesPerSecond":20}"#);
        assert_eq!(Limits::from_json(&limits.to_json()), limits);
        assert_eq!(Limits::from_json("of a newer version"), Limits::default());
    }
}
