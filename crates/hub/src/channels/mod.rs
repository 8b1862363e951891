//! Connected numbers, accounts and e-mail senders: which there are, how Meta is called for each, and whether each may send.
//!
//! The store is the only truth ([`crate::store::channels`]); channels that the settings name are written into it at start
//! ([`settings`]). [`Channels`] is what this node knows: a copy in memory, which [`follow`] keeps in step, so that a change is known on
//! every node within a second. What is sealed in the store is open there.
//!
//! - [`check`]: whether Meta takes credentials, asked before they are kept.
//! - [`templates`]: what Meta has approved for a WhatsApp Business Account.
//! - [`numbers`]: what Meta allows a WhatsApp number, and thinks of it.
//! - [`hold`]: a channel whose credentials Meta refuses sends nothing until they work again, or others are given.

pub mod api;
pub mod check;
pub mod follow;
pub mod hold;
pub mod model;
pub mod numbers;
pub mod settings;
pub mod templates;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use tidings_meta::client::GraphClient;
use tidings_meta::notification::Platform;
use tokio::sync::watch;

use crate::conversations::model::{ChannelId, Millis};
use crate::crypto::{Keyring, OpenError, Place};
use crate::flags::Flags;
use crate::signal::{Changes, Signal};
use model::{ChannelKind, Held, Limits, NumberFacts, OpenCircuit, Source, StoredChannel, Switched};

/// A connected number, account or e-mail sender.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name here.
    pub id: ChannelId,
    /// What it is a connection to.
    pub kind: ChannelKind,
    /// Meta's id of it: the phone number's or the professional account's. Of an e-mail sender, its address.
    pub account: String,
    /// The WhatsApp Business Account that it belongs to.
    pub business_account: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// The channel whose place it takes when that one cannot send.
    pub backup_for: Option<ChannelId>,
    /// Pace and budgets, as far as they were set.
    pub limits: Limits,
    /// What it is called with, an access token or the address of an SMTP server; without any the channel only receives.
    pub credentials: Option<SecretString>,
    /// How often those have changed.
    pub credentials_version: i64,
    /// When they changed last.
    pub credentials_at: Option<Millis>,
    /// Why it sends nothing, if it is held.
    pub held: Option<Held>,
    /// Its circuit, unless that is closed.
    pub circuit: Option<OpenCircuit>,
    /// What sends in its place, if something does; it is there.
    pub switched: Option<Switched>,
    /// How often an operator has let it go on although it paused.
    pub hurries: i64,
    /// What Meta allows it and thinks of it, as it was last read; of a WhatsApp number alone.
    pub number: Option<NumberFacts>,
    /// How Meta is called; an e-mail sender has none.
    pub client: Option<GraphClient>,
}

/// How Meta is called for a channel.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'c> {
    /// Whose product it is.
    pub platform: Platform,
    /// With what.
    pub client: &'c GraphClient,
    /// As whom.
    pub access_token: &'c SecretString,
}

/// Whether a channel sends, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It sends.
    Ready,
    /// It has no credentials: it only receives.
    ReceiveOnly,
    /// Meta refuses its credentials, or its account.
    Held,
    /// Somebody has stopped it, or everything.
    Stopped,
    /// Its backup sends in its place.
    Switched,
    /// Too many of its calls have failed: it tries with one message now and then.
    CircuitOpen,
}

impl Standing {
    /// Every standing.
    pub const ALL: &[Self] = &[
        Self::Ready,
        Self::ReceiveOnly,
        Self::Held,
        Self::Stopped,
        Self::Switched,
        Self::CircuitOpen,
    ];

    /// Whether messages go out by it, if only one now and then.
    pub fn sends(self) -> bool {
        matches!(self, Self::Ready | Self::CircuitOpen)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ReceiveOnly => "receive_only",
            Self::Held => "held",
            Self::Stopped => "stopped",
            Self::Switched => "switched",
            Self::CircuitOpen => "circuit_open",
        }
    }
}

impl Channel {
    /// Which of Meta's products it is; `None` where it is none.
    pub fn platform(&self) -> Option<Platform> {
        self.kind.platform()
    }

    /// Whose budgets it uses up: those of its business account, which all numbers of the account share (reference `whatsapp.md` 13.3; Meta
    /// shares them among all accounts of a portfolio, which nothing tells of a channel), or its own.
    pub fn budget(&self) -> String {
        match &self.business_account {
            Some(account) => format!("account:{account}"),
            None => format!("channel:{}", self.id),
        }
    }

    /// How Meta is called for it; `None` without a token, and where it is not at Meta.
    pub fn connection(&self) -> Option<Connection<'_>> {
        Some(Connection {
            platform: self.platform()?,
            client: self.client.as_ref()?,
            access_token: self.credentials.as_ref()?,
        })
    }

    /// Whether it sends.
    pub fn standing(&self, flags: &Flags) -> Standing {
        if self.credentials.is_none() {
            Standing::ReceiveOnly
        } else if !flags.outbound_enabled() || !flags.channel_enabled(&self.id) {
            Standing::Stopped
        } else if self.held.is_some() {
            Standing::Held
        } else if self.switched.is_some() {
            Standing::Switched
        } else if self.circuit.is_some() {
            Standing::CircuitOpen
        } else {
            Standing::Ready
        }
    }
}

/// Where the credentials of a channel are kept.
fn place(id: &ChannelId) -> Place<'_> {
    Place {
        table: "channels",
        column: "credentials",
        row: &id.0,
    }
}

/// The channels as this node knows them. Cheap to clone; clones share what is known, and how to know more.
#[derive(Clone)]
pub struct Channels {
    parts: Arc<Parts>,
}

struct Parts {
    keyring: Keyring,
    whatsapp: GraphClient,
    instagram: GraphClient,
    /// The channels that the settings of this node name.
    in_settings: Mutex<HashSet<ChannelId>>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    /// Raised whenever the snapshot is another one.
    signal: Signal,
    /// Held while the store is looked at, so that an older look never replaces a newer one.
    looking: tokio::sync::Mutex<()>,
}

/// All channels at one moment.
#[derive(Debug, Default)]
struct Snapshot {
    revision: Option<i64>,
    by_id: BTreeMap<ChannelId, Arc<Channel>>,
    by_account: HashMap<(Platform, String), Arc<Channel>>,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.parts.snapshot.borrow().by_id.keys())
            .finish()
    }
}

impl Channels {
    /// None yet: what is opened with this keyring and called with these clients.
    pub fn new(keyring: Keyring, whatsapp: GraphClient, instagram: GraphClient) -> Self {
        Self {
            parts: Arc::new(Parts {
                keyring,
                whatsapp,
                instagram,
                in_settings: Mutex::default(),
                snapshot: watch::Sender::new(Arc::default()),
                signal: Signal::default(),
                looking: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// The channel with this name.
    pub fn get(&self, id: &ChannelId) -> Option<Arc<Channel>> {
        self.parts.snapshot.borrow().by_id.get(id).cloned()
    }

    /// Whether a WhatsApp Business Account is that of any channel.
    pub fn have_business_account(&self, account: &str) -> bool {
        self.all()
            .iter()
            .any(|channel| channel.business_account.as_deref() == Some(account))
    }

    /// How many channels have the budgets of one, itself included.
    pub fn sharing_budget(&self, channel: &Channel) -> usize {
        let account = channel.business_account.as_ref();
        let snapshot = self.parts.snapshot.borrow();
        let others = snapshot.by_id.values().filter(|other| other.id != channel.id);
        let sharing = others.filter(|other| account.is_some() && other.business_account.as_ref() == account);
        sharing.count() + 1
    }

    /// The channel that an account at Meta is.
    pub fn by_account(&self, platform: Platform, account: &str) -> Option<Arc<Channel>> {
        // A key of borrowed parts cannot be looked up in a map of owned ones.
        let key = (platform, account.to_owned());
        self.parts.snapshot.borrow().by_account.get(&key).cloned()
    }

    /// All, in the order of their names.
    pub fn all(&self) -> Vec<Arc<Channel>> {
        self.parts.snapshot.borrow().by_id.values().cloned().collect()
    }

    /// What sends in a channel's place: the backup that it was switched to, else the channel itself.
    pub fn sending_for(&self, channel: &Arc<Channel>) -> Arc<Channel> {
        let backup = channel.switched.as_ref().and_then(|switched| self.get(&switched.to));
        backup.unwrap_or_else(|| Arc::clone(channel))
    }

    /// Tells of changes from now on.
    pub fn changes(&self) -> Changes {
        self.parts.signal.changes()
    }

    /// What secrets are sealed, and cursors signed, with.
    pub fn keyring(&self) -> &Keyring {
        &self.parts.keyring
    }

    /// Seals the credentials of a channel.
    pub fn seal(&self, id: &ChannelId, credentials: &SecretString) -> Vec<u8> {
        self.parts.keyring.seal(place(id), credentials)
    }

    /// The key that links to media are signed with.
    pub fn link_key(&self) -> &aws_lc_rs::hmac::Key {
        self.parts.keyring.links()
    }

    /// The client for one of Meta's products.
    pub fn client(&self, platform: Platform) -> &GraphClient {
        match platform {
            Platform::WhatsApp => &self.parts.whatsapp,
            Platform::Instagram => &self.parts.instagram,
        }
    }

    /// Whether everything that is sealed opens with the key that is here.
    fn try_open(&self, stored: &StoredChannel) -> Result<Option<SecretString>, OpenError> {
        let sealed = stored.credentials.as_deref();
        sealed
            .map(|sealed| self.parts.keyring.open(place(&stored.id), sealed))
            .transpose()
    }

    fn name_in_settings(&self, ids: HashSet<ChannelId>) {
        *self
            .parts
            .in_settings
            .lock()
            .expect("no thread panics while it holds this lock") = ids;
    }

    fn revision(&self) -> Option<i64> {
        self.parts.snapshot.borrow().revision
    }

    /// Replaces what is known.
    fn publish(&self, revision: i64, stored: Vec<StoredChannel>, mut numbers: HashMap<ChannelId, NumberFacts>) {
        let in_settings = self
            .parts
            .in_settings
            .lock()
            .expect("no thread panics while it holds this lock")
            .clone();
        let mut snapshot = Snapshot {
            revision: Some(revision),
            ..Snapshot::default()
        };
        let is_known = |stored: &StoredChannel| stored.source != Source::Settings || in_settings.contains(&stored.id);
        let known: HashSet<ChannelId> = stored
            .iter()
            .filter(|stored| is_known(stored))
            .map(|stored| stored.id.clone())
            .collect();
        for mut stored in stored {
            // The store also remembers channels that are no longer in the settings; nothing is expected of those.
            if !known.contains(&stored.id) {
                continue;
            }
            stored.switched = stored.switched.filter(|switched| known.contains(&switched.to));
            let number = numbers.remove(&stored.id);
            let channel = Arc::new(self.channel(stored, number));
            if let Some(platform) = channel.platform() {
                let key = (platform, channel.account.clone());
                snapshot.by_account.insert(key, Arc::clone(&channel));
            }
            snapshot.by_id.insert(channel.id.clone(), channel);
        }
        self.parts.snapshot.send_replace(Arc::new(snapshot));
        self.parts.signal.raise();
    }

    fn channel(&self, stored: StoredChannel, number: Option<NumberFacts>) -> Channel {
        let credentials = self.try_open(&stored).unwrap_or_else(|error| {
            tracing::error!(channel = %stored.id, %error, "the credentials of a channel cannot be opened: it only receives");
            None
        });
        Channel {
            credentials,
            client: stored.kind.platform().map(|platform| self.client(platform).clone()),
            id: stored.id,
            kind: stored.kind,
            account: stored.account,
            business_account: stored.business_account,
            name: stored.name,
            source: stored.source,
            backup_for: stored.backup_for,
            limits: stored.limits,
            credentials_version: stored.credentials_version,
            credentials_at: stored.credentials_at,
            held: stored.held,
            circuit: stored.circuit,
            switched: stored.switched,
            hurries: stored.hurries,
            number: number.filter(|_| stored.kind == ChannelKind::WhatsApp),
        }
    }
}
