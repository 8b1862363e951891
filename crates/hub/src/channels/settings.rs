//! Channels that the settings name, taken over into the store: at start, and when the settings are read again.
//!
//! The rule for credentials that both the settings and an operator have given: those that were given last hold. A token that was swapped
//! while the hub ran stays in force, also after a restart, until the settings name another account or other credentials than they did
//! before; then those are taken, and the channel is released. So a corrected `.env` always takes effect, and an old one never undoes a swap.
//! Nodes that share a store are given the same settings.

use std::collections::HashSet;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::Channels;
use crate::audit::{Auditor, SETTINGS};
use crate::clock::Clock;
use crate::config::ChannelConfig;
use crate::conversations::model::ChannelId;
use crate::crypto::OpenError;
use crate::ids::Ids;
use crate::store::{Store, StoreError};

/// Why the settings could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Another channel has the account.
    #[error(
        "channel `{0}` has an account that another channel has, or had before; give it that channel's name, or remove that one"
    )]
    SharedAccount(ChannelId),
    /// What the store holds was sealed with another key, or is damaged. Nothing was written.
    #[error("the credentials of channel `{channel}` cannot be opened")]
    Sealed {
        /// Whose.
        channel: ChannelId,
        /// Why.
        source: OpenError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes sure that the key that is here is the one that the store was written with; nothing is written.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method alone is not general over the life of a `Tx`"
)]
pub async fn check_key(store: &Store, channels: &Channels) -> Result<(), SettingsError> {
    for stored in store.read(|tx| tx.channels()).await? {
        if let Err(source) = channels.try_open(&stored) {
            let channel = stored.id;
            return Err(SettingsError::Sealed { channel, source });
        }
    }
    Ok(())
}

/// Writes the channels of the settings into the store. What is known of them in memory is for the caller to refresh.
pub async fn take_over(
    store: &Store,
    channels: &Channels,
    configured: &[ChannelConfig],
    clock: &Clock,
    ids: &Ids,
) -> Result<(), SettingsError> {
    let now = clock.now_millis();
    for config in configured {
        let taken = TakenOver::new(channels, config);
        let audit = Auditor::new(ids, SETTINGS, now);
        let name = taken.id.clone();
        let written = store
            .write(move |tx| {
                let config = &taken.config;
                let (kind, business_account) = (config.kind.as_str(), config.business_account.as_deref());
                if !tx.upsert_channel(&taken.id, kind, &config.account, business_account, now)? {
                    return Ok::<_, StoreError>(false);
                }
                if let Some(primary) = &config.backup_for {
                    tx.propose_backup(&taken.id, &ChannelId(primary.clone()))?;
                }
                if tx.note_settings_fingerprint(&taken.id, taken.fingerprint.as_deref())? {
                    tx.set_channel_credentials(&taken.id, taken.sealed.as_deref(), now)?;
                    let detail = json!({"account": config.account, "credentials": taken.sealed.is_some()});
                    tx.insert_audit(&audit.channel("channel.credentials", &taken.id, detail))?;
                }
                Ok(true)
            })
            .await?;
        if !written {
            return Err(SettingsError::SharedAccount(name));
        }
    }
    let named: HashSet<ChannelId> = configured.iter().map(|config| ChannelId(config.id.clone())).collect();
    channels.name_in_settings(named);
    Ok(())
}

struct TakenOver {
    id: ChannelId,
    config: ChannelConfig,
    sealed: Option<Vec<u8>>,
    fingerprint: Option<Vec<u8>>,
}

impl TakenOver {
    fn new(channels: &Channels, config: &ChannelConfig) -> Self {
        let id = ChannelId(config.id.clone());
        let credentials = config.credentials.as_ref();
        Self {
            sealed: credentials.map(|credentials| channels.seal(&id, credentials)),
            fingerprint: credentials.map(|credentials| fingerprint(channels, &config.account, credentials)),
            config: config.clone(),
            id,
        }
    }
}

fn fingerprint(channels: &Channels, account: &str, credentials: &SecretString) -> Vec<u8> {
    let keyring = &channels.parts.keyring;
    keyring.fingerprint([account, credentials.expose_secret()])
}
