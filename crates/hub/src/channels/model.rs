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
        }
    }

    /// From what is kept. What cannot be read is as if it were not set: a newer version may have written it.
    pub fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
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
    use super::{ChannelKind, Limits, is_account, is_channel_id};

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
