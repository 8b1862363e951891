//! A customer: a person with a WhatsApp number or an Instagram account.

use serde::{Deserialize, Serialize};

use crate::ids::Ids;

/// Where a customer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// WhatsApp.
    WhatsApp,
    /// Instagram.
    Instagram,
}

/// What a business sees of a WhatsApp customer (whatsapp.md 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// The phone number alone, as before business-scoped user ids.
    Phone,
    /// The business-scoped user id alone; the keys of the phone are absent.
    Bsuid,
    /// Both.
    #[default]
    Both,
    /// The business-scoped user id, and `""` where the phone would stand.
    Blank,
}

impl Identity {
    pub(crate) fn shows_phone(self) -> bool {
        matches!(self, Self::Phone | Self::Both)
    }

    pub(crate) fn shows_user_id(self) -> bool {
        !matches!(self, Self::Phone)
    }
}

/// A customer to be made. Addresses that are left out are made from the seed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCustomer {
    /// The id in the control API; made by counting when left out.
    #[serde(default)]
    pub id: Option<String>,
    /// The name in the profile.
    pub name: String,
    /// WhatsApp (if left out) or Instagram.
    #[serde(default)]
    pub kind: Option<Channel>,
    /// The phone number, with or without `+`. WhatsApp only.
    #[serde(default)]
    pub phone: Option<String>,
    /// The business-scoped user id. WhatsApp only.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The Instagram-scoped id. Instagram only.
    #[serde(default)]
    pub igsid: Option<String>,
    /// The username.
    #[serde(default)]
    pub username: Option<String>,
    /// What a business sees. WhatsApp only.
    #[serde(default)]
    pub identity: Identity,
    /// Whether the customer reads what arrives by themselves; yes if left out.
    #[serde(default)]
    pub auto_read: Option<bool>,
    /// How long after its delivery; the sandbox's own delay if left out.
    #[serde(default)]
    pub read_after_ms: Option<u64>,
    /// What the customer answers by themselves.
    #[serde(default)]
    pub replies: Vec<Reply>,
}

/// An answer that a customer gives by themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reply {
    /// Only to a message that contains this, in any case; to any if left out.
    #[serde(default)]
    pub to: Option<String>,
    /// What to say.
    pub say: String,
    /// How long after the delivery.
    #[serde(default)]
    pub after_ms: u64,
    /// How often at most; once if left out, so that two machines don't talk to each other for ever.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// A customer.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) channel: Channel,
    /// Digits only; a WhatsApp customer has one even where no business sees it.
    pub(crate) phone: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) igsid: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) identity: Identity,
    pub(crate) auto_read: bool,
    pub(crate) read_after_ms: Option<u64>,
    pub(crate) replies: Vec<Reply>,
}

impl Customer {
    /// Gives the new customer an id and the addresses they lack; `number` counts customers.
    pub(crate) fn new(new: NewCustomer, ids: Ids, number: u64) -> Self {
        let channel = new.kind.unwrap_or(Channel::WhatsApp);
        let scope = [new.name.as_str()];
        let on_whatsapp = channel == Channel::WhatsApp;
        let phone = on_whatsapp.then(|| match new.phone {
            Some(phone) => phone.chars().filter(char::is_ascii_digit).collect(),
            // Counted, so that no two are alike.
            None => format!("44700{number:07}"),
        });
        let user_id = on_whatsapp.then(|| {
            new.user_id
                .unwrap_or_else(|| format!("GB.{}", ids.digits("bsuid", &scope, number, 20)))
        });
        let igsid = (!on_whatsapp).then(|| new.igsid.unwrap_or_else(|| ids.digits("igsid", &scope, number, 16)));
        // Whoever hides the phone has adopted a username (whatsapp.md 6.3), and everybody on Instagram has one.
        let needs_username = !on_whatsapp || !new.identity.shows_phone();
        let username = new
            .username
            .or_else(|| needs_username.then(|| handle(&new.name, number)));
        Self {
            id: new.id.unwrap_or_else(|| format!("customer-{number}")),
            name: new.name,
            channel,
            phone,
            user_id,
            igsid,
            username,
            identity: new.identity,
            auto_read: new.auto_read.unwrap_or(true),
            read_after_ms: new.read_after_ms,
            replies: new.replies,
        }
    }

    /// The phone, where a business sees it.
    pub(crate) fn visible_phone(&self) -> Option<&str> {
        self.phone.as_deref().filter(|_| self.identity.shows_phone())
    }

    /// The business-scoped user id, where a business sees it.
    pub(crate) fn visible_user_id(&self) -> Option<&str> {
        self.user_id.as_deref().filter(|_| self.identity.shows_user_id())
    }
}

fn handle(name: &str, number: u64) -> String {
    let letters: String = name
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '.' })
        .collect();
    format!("{}.{number}", letters.trim_matches('.'))
}

impl NewCustomer {
    /// Two on WhatsApp (one of them without a visible phone), two on Instagram.
    pub(crate) fn four() -> Vec<Self> {
        let customer = |id: &str, name: &str| Self {
            id: Some(id.to_owned()),
            name: name.to_owned(),
            ..Self::default()
        };
        vec![
            Self {
                phone: Some("447700900101".to_owned()),
                ..customer("amara", "Amara Okafor")
            },
            Self {
                phone: Some("447700900102".to_owned()),
                username: Some("jonas.w".to_owned()),
                identity: Identity::Bsuid,
                ..customer("jonas", "Jonas Weber")
            },
            Self {
                kind: Some(Channel::Instagram),
                username: Some("lucia.ferrer".to_owned()),
                ..customer("lucia", "Lucía Ferrer")
            },
            Self {
                kind: Some(Channel::Instagram),
                username: Some("bram.de.wit".to_owned()),
                ..customer("bram", "Bram de Wit")
            },
        ]
    }
}
