//! Which flags there are, and what holds where one is not set. Pure.

use std::collections::HashMap;
use std::fmt;

use crate::channels::model::is_channel_id;
use crate::conversations::model::{ChannelId, Millis};

/// The name of a flag. Every flag is on or off.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FlagName {
    /// `outbound.enabled`: whether anything is sent at all.
    Outbound,
    /// `channels.email.priority`: whether e-mail is the first route of new messages.
    EmailPriority,
    /// `channels.<id>.enabled`: whether a channel sends.
    Channel(ChannelId),
}

impl FlagName {
    /// From its name; `None` where there is no such flag. A channel's flag may name a channel that does not exist.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "outbound.enabled" => Some(Self::Outbound),
            "channels.email.priority" => Some(Self::EmailPriority),
            _ => name
                .strip_prefix("channels.")
                .and_then(|rest| rest.strip_suffix(".enabled"))
                .filter(|id| is_channel_id(id))
                .map(|id| Self::Channel(ChannelId(id.to_owned()))),
        }
    }

    /// What holds where it is not set.
    pub fn default_value(&self) -> bool {
        match self {
            Self::Outbound | Self::Channel(_) => true,
            Self::EmailPriority => false,
        }
    }

    /// For a person: what it does.
    pub fn description(&self) -> &'static str {
        match self {
            Self::Outbound => "Whether anything is sent at all; off is the stop switch.",
            Self::EmailPriority => "Whether e-mail is the first route of new messages.",
            Self::Channel(_) => "Whether this channel sends.",
        }
    }
}

impl fmt::Display for FlagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbound => f.write_str("outbound.enabled"),
            Self::EmailPriority => f.write_str("channels.email.priority"),
            Self::Channel(id) => write!(f, "channels.{id}.enabled"),
        }
    }
}

/// A flag that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFlag {
    /// Its name, as kept.
    pub name: String,
    /// On or off.
    pub value: bool,
    /// When it was set.
    pub updated_at: Millis,
    /// By whom.
    pub updated_by: String,
}

/// All flags that were set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlagValues {
    set: HashMap<FlagName, StoredFlag>,
}

impl FlagValues {
    /// From what is kept; a flag that a newer version knows is left alone.
    pub fn new(stored: Vec<StoredFlag>) -> Self {
        let known = stored
            .into_iter()
            .filter_map(|flag| Some((FlagName::parse(&flag.name)?, flag)));
        Self { set: known.collect() }
    }

    /// Whether it is on.
    pub fn is_on(&self, name: &FlagName) -> bool {
        self.set.get(name).map_or(name.default_value(), |flag| flag.value)
    }

    /// What was set, if it was.
    pub fn set(&self, name: &FlagName) -> Option<&StoredFlag> {
        self.set.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::{FlagName, FlagValues, StoredFlag};
    use crate::conversations::model::ChannelId;

    #[test]
    fn a_name_reads_back_and_no_other_is_one() {
        let names = [
            FlagName::Outbound,
            FlagName::EmailPriority,
            FlagName::Channel(ChannelId("whatsapp-nl".to_owned())),
        ];
        for name in names {
            assert_eq!(FlagName::parse(&name.to_string()), Some(name));
        }
        for wrong in [
            "",
            "outbound",
            "channels.enabled",
            "channels..enabled",
            "channels.A.enabled",
            "channels.a.b.enabled",
        ] {
            assert_eq!(FlagName::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let stored = |name: &str, value| StoredFlag {
            name: name.to_owned(),
            value,
            updated_at: 1,
            updated_by: "admin".to_owned(),
        };
        let values = FlagValues::new(vec![
            stored("outbound.enabled", false),
            stored("of.a.newer.version", true),
        ]);
        assert!(!values.is_on(&FlagName::Outbound));
        assert!(!values.is_on(&FlagName::EmailPriority));
        assert!(values.is_on(&FlagName::Channel(ChannelId("a".to_owned()))));
        assert!(values.set(&FlagName::EmailPriority).is_none());
    }
}
