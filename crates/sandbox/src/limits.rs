//! What a number or an account may do, and how much of it: the limits that Meta sets, each with Meta's value as its default, each
//! settable, each off at 0.
//!
//! What has been used of them is counted in `state::usage`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The limits of a WhatsApp number, besides its throughput (`Number::throughput`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NumberLimits {
    /// How many messages to one person may be borrowed at once (whatsapp.md 13.2). With 0 there is no pair limit.
    pub pair_burst: u32,
    /// One message to one person in so many seconds; a borrowed one is paid back at this pace. With 0 there is no pair limit.
    pub pair_seconds: u32,
    /// Messages in any 24 hours of all numbers of the business account: 80007 beyond it. No page of Meta's names a number;
    /// 200,000 is what the businesses that use it plan with.
    pub messages_per_day: u32,
    /// Different people written to outside their window in any 24 hours, by all numbers of the portfolio (whatsapp.md 13.3).
    /// Beyond it comes `Rules::tier_code`.
    pub contacts_per_day: u32,
    /// Marketing templates that one person gets outside the window in any 24 hours, from all numbers: 131049 beyond it
    /// (whatsapp.md 13.7). Meta doesn't tell its number.
    pub marketing_per_day: u32,
    /// Management calls in any hour for the business account: 80007 beyond it (whatsapp.md 13.5).
    pub calls_per_hour: u32,
    /// People on the block list of the number: 139101 beyond it (whatsapp.md 12.6).
    pub block_list: u32,
    /// So many blocks in seven days make the quality yellow. Meta doesn't tell its formula (whatsapp.md 13.8).
    pub yellow_after: u32,
    /// So many make it red, and the number flagged.
    pub red_after: u32,
}

impl Default for NumberLimits {
    fn default() -> Self {
        Self {
            pair_burst: 45,
            pair_seconds: 6,
            messages_per_day: 200_000,
            contacts_per_day: 2_000,
            marketing_per_day: 2,
            calls_per_hour: 5_000,
            block_list: 64_000,
            yellow_after: 3,
            red_after: 6,
        }
    }
}

impl NumberLimits {
    /// Everything off.
    pub fn none() -> Self {
        Self {
            pair_burst: 0,
            pair_seconds: 0,
            messages_per_day: 0,
            contacts_per_day: 0,
            marketing_per_day: 0,
            calls_per_hour: 0,
            block_list: 0,
            yellow_after: 0,
            red_after: 0,
        }
    }

    /// The tier as `GET /{phone-number-id}` names it (whatsapp.md 8).
    pub(crate) fn tier(self) -> &'static str {
        match self.contacts_per_day {
            0 => "TIER_UNLIMITED",
            50 => "TIER_50",
            250 => "TIER_250",
            1_000 => "TIER_1K",
            2_000 => "TIER_2K",
            10_000 => "TIER_10K",
            100_000 => "TIER_100K",
            _ => "TIER_NOT_SET",
        }
    }
}

/// The limits of an Instagram account (instagram.md 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AccountLimits {
    /// Messages in any second: 613/2534040 beyond it. Meta's pages say 100, and 300.
    pub messages_per_second: u32,
    /// Messages with audio or video in any second: 613/2534040 beyond it.
    pub media_per_second: u32,
    /// Messages to one person in any hour: 613/2534040 beyond it. Off, since no page of Meta's has it.
    pub messages_per_contact_per_hour: u32,
    /// Messages in any hour: 80002 beyond it. Off, since no page of Meta's has it.
    pub messages_per_hour: u32,
    /// Private replies to comments in any hour: 613/2534040 beyond it.
    pub private_replies_per_hour: u32,
    /// Other calls in any 24 hours: 80002 beyond it. At Meta 4800 for each time that the account's content was seen.
    pub calls_per_day: u32,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self {
            messages_per_second: 100,
            media_per_second: 10,
            messages_per_contact_per_hour: 0,
            messages_per_hour: 0,
            private_replies_per_hour: 750,
            calls_per_day: 48_000,
        }
    }
}

impl AccountLimits {
    /// Everything off.
    pub fn none() -> Self {
        Self {
            messages_per_second: 0,
            media_per_second: 0,
            messages_per_contact_per_hour: 0,
            messages_per_hour: 0,
            private_replies_per_hour: 0,
            calls_per_day: 0,
        }
    }
}

/// What a number may still do (whatsapp.md 12.1, 13.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NumberStatus {
    /// Everything.
    #[default]
    Connected,
    /// Everything, but its quality is low.
    Flagged,
    /// Only answers within the window: 368 for what the business begins.
    Restricted,
    /// Nothing: 131031.
    Blocked,
    /// Nothing, for good: 368.
    Disabled,
    /// Nothing: 133010.
    Unregistered,
}

impl NumberStatus {
    /// `status` in `GET /{phone-number-id}`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connected => "CONNECTED",
            Self::Flagged => "FLAGGED",
            Self::Restricted => "RESTRICTED",
            Self::Blocked | Self::Disabled => "BANNED",
            Self::Unregistered => "PENDING",
        }
    }

    /// `can_send_message` in `health_status`.
    pub(crate) fn health(self) -> &'static str {
        match self {
            Self::Connected => "AVAILABLE",
            Self::Flagged | Self::Restricted => "LIMITED",
            Self::Blocked | Self::Disabled | Self::Unregistered => "BLOCKED",
        }
    }
}

/// How people take a number's messages (whatsapp.md 13.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Quality {
    /// Well.
    Green,
    /// Not well.
    Yellow,
    /// Badly.
    Red,
    /// Too few to tell.
    Unknown,
}

/// The limits with those of the patch in place of their own. The error says what is wrong with the patch.
pub(crate) fn patched<L>(limits: &L, patch: Map<String, Value>) -> Result<L, String>
where
    L: Serialize + for<'de> Deserialize<'de>,
{
    let mut whole = serde_json::to_value(limits).map_err(|error| error.to_string())?;
    if let Value::Object(whole) = &mut whole {
        whole.extend(patch);
    }
    serde_json::from_value(whole).map_err(|error| error.to_string())
}
