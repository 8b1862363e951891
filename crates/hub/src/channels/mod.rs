//! Connected numbers and accounts: which there are, whose account at Meta each is, and how Meta is called for it.

pub mod api;

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::SecretString;
use tidings_meta::client::GraphClient;
use tidings_meta::notification::Platform;

use crate::conversations::model::ChannelId;

/// A connected number or account.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name here.
    pub id: ChannelId,
    /// Whose product it is.
    pub platform: Platform,
    /// Meta's id of it: the phone number's or the professional account's.
    pub account: String,
    /// The WhatsApp Business Account that it belongs to.
    pub business_account: Option<String>,
    /// What Meta is called with; without one the channel only receives.
    pub access_token: Option<SecretString>,
    /// How Meta is called.
    pub client: GraphClient,
}

/// All channels. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    by_id: Arc<HashMap<ChannelId, Channel>>,
    by_account: Arc<HashMap<(Platform, String), ChannelId>>,
}

impl Channels {
    /// From a list in which no id and no account stands twice.
    pub fn new(channels: Vec<Channel>) -> Self {
        let by_account = channels
            .iter()
            .map(|channel| ((channel.platform, channel.account.clone()), channel.id.clone()))
            .collect();
        let by_id = channels
            .into_iter()
            .map(|channel| (channel.id.clone(), channel))
            .collect();
        Self {
            by_id: Arc::new(by_id),
            by_account: Arc::new(by_account),
        }
    }

    /// The channel with this name.
    pub fn get(&self, id: &ChannelId) -> Option<&Channel> {
        self.by_id.get(id)
    }

    /// The channel that an account at Meta is.
    pub fn by_account(&self, platform: Platform, account: &str) -> Option<&Channel> {
        // A key of borrowed parts cannot be looked up in a map of owned ones; there are few channels of a platform.
        self.by_account
            .get(&(platform, account.to_owned()))
            .and_then(|id| self.by_id.get(id))
    }

    /// All, in the order of their names.
    pub fn all(&self) -> Vec<&Channel> {
        let mut all: Vec<&Channel> = self.by_id.values().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }
}
