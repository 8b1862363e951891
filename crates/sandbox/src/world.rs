//! What exists at the start: apps, numbers, accounts, tokens, templates, customers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::customers::people::NewCustomer;
use crate::limits::{AccountLimits, NumberLimits, NumberStatus, Quality};

/// What exists at the start. [`World::default`]: one WhatsApp number, one Instagram account, a token for each, two
/// templates, four customers.
#[derive(Debug, Clone)]
pub struct World {
    /// The Meta app: WhatsApp webhooks are signed with its secret.
    pub app: App,
    /// The Instagram app of the same product: Instagram webhooks are signed with its secret, as production code has it
    /// (graph-api.md 9.2).
    pub instagram_app: App,
    /// WhatsApp numbers; the first one is told by `Sandbox::environment`, and the second one as its backup.
    pub numbers: Vec<Number>,
    /// Instagram accounts; the first one is told by `Sandbox::environment`.
    pub instagram_accounts: Vec<InstagramAccount>,
    /// Access tokens.
    pub tokens: Vec<Token>,
    /// Message templates of the WhatsApp accounts.
    pub templates: Vec<Template>,
    /// Customers.
    pub customers: Vec<NewCustomer>,
    /// The verify token that the environment tells for WhatsApp webhooks.
    pub whatsapp_verify_token: String,
    /// The verify token that the environment tells for Instagram webhooks.
    pub instagram_verify_token: String,
}

/// An app at Meta.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its secret. `id|secret` is its app access token (graph-api.md 7).
    pub secret: String,
    /// Whether every call has to come with an `appsecret_proof`: "Require App Secret" of the app's settings (graph-api.md 7).
    pub requires_proof: bool,
}

/// A WhatsApp number. [`Number::default`] is the one of the default world.
#[derive(Debug, Clone)]
pub struct Number {
    /// The phone number id, as in paths.
    pub id: String,
    /// The WhatsApp business account it belongs to.
    pub business_account_id: String,
    /// The number itself, digits only.
    pub phone: String,
    /// The number as people write it.
    pub display: String,
    /// The verified name.
    pub name: String,
    /// Most messages a second that it may send: 80 usually, 1000 at the high level (whatsapp.md 13.1); 130429 beyond it. 0 is off.
    pub throughput: u32,
    /// Whether it is used in the WhatsApp Business app too; such a number sends at most 20 messages a second (whatsapp.md 13.1).
    pub shared_with_phone: bool,
    /// What it may still do.
    pub status: NumberStatus,
    /// How people take its messages; left out, their blocks decide.
    pub quality: Option<Quality>,
    /// For a test number: the phone numbers, digits only, that it may write to. All others are refused with 131030.
    pub allowed: Option<Vec<String>>,
    /// The PIN of its two-step verification, six digits; without one, whoever registers it next sets it (whatsapp.md 12.2).
    pub pin: Option<String>,
    /// Whether it was verified by a code, without which it cannot be registered: 133006.
    pub verified: bool,
    /// Its other limits.
    pub limits: NumberLimits,
    /// Whether the app is subscribed to the business account from the start; without it no webhook is made
    /// (whatsapp.md 12.4).
    pub subscribed: bool,
}

/// An Instagram professional account. [`InstagramAccount::default`] is the one of the default world.
#[derive(Debug, Clone)]
pub struct InstagramAccount {
    /// The professional account id (17841…).
    pub id: String,
    /// The app-scoped id, `id` in `GET /me`; addresses the same account (instagram.md 1.2).
    pub scoped_id: String,
    /// The username, without @.
    pub username: String,
    /// The name.
    pub name: String,
    /// Whether the app is installed on the account from the start; without it no webhook is made.
    pub subscribed: bool,
    /// Its limits.
    pub limits: AccountLimits,
}

/// An access token.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token itself.
    pub value: String,
    /// The app it was made for.
    pub app_id: String,
    /// What kind of token.
    pub kind: TokenKind,
    /// Its permissions.
    pub scopes: Vec<String>,
    /// The business accounts, or the Instagram account, that it may act for.
    pub assets: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub issued_at: i64,
    /// When it ends, in milliseconds since 1970; `None`: never.
    pub expires_at: Option<i64>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Kinds of access tokens, by what `debug_token` calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A system user's, as used for WhatsApp.
    SystemUser,
    /// A person's, who logged in by Facebook: an hour, or 60 days once it was exchanged (graph-api.md 7).
    User,
    /// An Instagram user's (`IGAA…`).
    InstagramUser,
}

/// A message template.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its language code, such as `en_US`.
    pub language: String,
    /// `UTILITY`, `MARKETING` or `AUTHENTICATION`.
    pub category: String,
    /// The header's text, with `{{1}}` where a parameter goes.
    #[serde(default)]
    pub header: Option<String>,
    /// The body's text, with `{{1}}` or `{{name}}` where a parameter goes.
    #[serde(default)]
    pub body: String,
    /// The footer's text.
    #[serde(default)]
    pub footer: Option<String>,
    /// The labels of its quick-reply buttons.
    #[serde(default)]
    pub buttons: Vec<String>,
    /// All of its components, as Meta takes them when a template is created; header, body, footer and buttons are then left out.
    #[serde(default)]
    pub components: Vec<Value>,
    /// The business account that it belongs to; every one has it if left out.
    #[serde(default)]
    pub business_account_id: Option<String>,
    /// What Meta thinks of it; only an approved one can be sent.
    #[serde(default)]
    pub status: TemplateStatus,
    /// How people take it.
    #[serde(default)]
    pub quality: TemplateQuality,
}

/// Where a template is in its life (whatsapp.md 8, 10.2, 13.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum TemplateStatus {
    /// It can be sent.
    #[default]
    Approved,
    /// It is being looked at: 132001.
    Pending,
    /// It was refused: 132001.
    Rejected,
    /// People did not like it, for now: 132015.
    Paused,
    /// They did not like it three times: 132016.
    Disabled,
    /// The business has deleted it: 132001, and its name is blocked for 30 days.
    Deleted,
}

/// How people take a template (whatsapp.md 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum TemplateQuality {
    /// Well.
    Green,
    /// Less well.
    Yellow,
    /// Badly.
    Red,
    /// Nobody can tell yet.
    #[default]
    Unknown,
}

/// The most that a number sends in a second that is used in the WhatsApp Business app too (whatsapp.md 13.1).
const SHARED_THROUGHPUT: u32 = 20;

impl Number {
    /// Most messages a second; 0 is off.
    pub(crate) fn pace(&self) -> u32 {
        if self.shared_with_phone && self.throughput != 0 {
            self.throughput.min(SHARED_THROUGHPUT)
        } else {
            self.throughput
        }
    }
}

impl Default for Number {
    fn default() -> Self {
        Self {
            id: "200000000000001".to_owned(),
            business_account_id: "100000000000001".to_owned(),
            phone: "442079460100".to_owned(),
            display: "+44 20 7946 0100".to_owned(),
            name: "Sandbox Records".to_owned(),
            throughput: 80,
            shared_with_phone: false,
            status: NumberStatus::Connected,
            quality: None,
            allowed: None,
            pin: Some("123456".to_owned()),
            verified: true,
            limits: NumberLimits::default(),
            subscribed: true,
        }
    }
}

impl Default for InstagramAccount {
    fn default() -> Self {
        Self {
            id: "17841400000000001".to_owned(),
            scoped_id: "9000000000000001".to_owned(),
            username: "sandbox.records".to_owned(),
            name: "Sandbox Records".to_owned(),
            subscribed: true,
            limits: AccountLimits::default(),
        }
    }
}

impl Default for World {
    fn default() -> Self {
        let app = App {
            id: "600000000000001".to_owned(),
            name: "Sandbox".to_owned(),
            secret: "5a17db0c5ec2e7000000000000000001".to_owned(),
            requires_proof: false,
        };
        let instagram_app = App {
            id: "600000000000002".to_owned(),
            name: "Sandbox-IG".to_owned(),
            secret: "5a17db0c5ec2e7000000000000000002".to_owned(),
            requires_proof: false,
        };
        let number = Number::default();
        let account = InstagramAccount::default();
        let tokens = vec![
            Token {
                value: "EAAsandboxSystemUserToken".to_owned(),
                app_id: app.id.clone(),
                kind: TokenKind::SystemUser,
                scopes: scopes(&["whatsapp_business_management", "whatsapp_business_messaging"]),
                assets: vec![number.business_account_id.clone()],
                issued_at: 1_790_000_000_000,
                expires_at: None,
                revoked: false,
            },
            Token {
                value: "IGAAsandboxUserToken".to_owned(),
                app_id: instagram_app.id.clone(),
                kind: TokenKind::InstagramUser,
                scopes: scopes(&[
                    "instagram_business_basic",
                    "instagram_business_manage_messages",
                    "instagram_business_manage_comments",
                    "instagram_business_content_publish",
                    "instagram_business_manage_insights",
                ]),
                assets: vec![account.id.clone()],
                issued_at: 1_790_000_000_000,
                expires_at: None,
                revoked: false,
            },
        ];
        let templates = vec![
            Template {
                header: Some("Hello".to_owned()),
                footer: Some("Sandbox Records".to_owned()),
                ..Template::utility(
                    "hello_world",
                    "This is a first message, sent from a template without parameters.",
                )
            },
            Template::utility(
                "mr_dj_booking_confirmation",
                "Your booking on {{1}} at {{2}} is confirmed. See you there!",
            ),
        ];
        Self {
            app,
            instagram_app,
            numbers: vec![number],
            instagram_accounts: vec![account],
            tokens,
            templates,
            customers: NewCustomer::four(),
            whatsapp_verify_token: "sandbox-whatsapp-verify".to_owned(),
            instagram_verify_token: "sandbox-instagram-verify".to_owned(),
        }
    }
}

impl Template {
    /// An approved one in `en_US` that is a body alone.
    pub fn utility(name: &str, body: &str) -> Self {
        Self {
            name: name.to_owned(),
            language: "en_US".to_owned(),
            category: "UTILITY".to_owned(),
            header: None,
            body: body.to_owned(),
            footer: None,
            buttons: Vec::new(),
            components: Vec::new(),
            business_account_id: None,
            status: TemplateStatus::Approved,
            quality: TemplateQuality::Unknown,
        }
    }
}

impl World {
    /// The default world with a second number, which has a business account and a token of its own: `Sandbox::environment` tells it
    /// as the backup.
    pub fn with_backup() -> Self {
        let mut world = Self::default();
        let backup = Number {
            id: "200000000000002".to_owned(),
            business_account_id: "100000000000002".to_owned(),
            phone: "442079460101".to_owned(),
            display: "+44 20 7946 0101".to_owned(),
            name: "Sandbox Records backup".to_owned(),
            ..Number::default()
        };
        let token = Token {
            value: "EAAsandboxBackupToken".to_owned(),
            assets: vec![backup.business_account_id.clone()],
            ..world.tokens[0].clone()
        };
        world.numbers.push(backup);
        world.tokens.push(token);
        world
    }
}

fn scopes(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
