//! Numbers, Instagram accounts and tokens that come, change and go while the sandbox runs.
//!
//! A change makes the webhook that Meta would make of it (whatsapp.md 8).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::Core;
use crate::ids::Ids;
use crate::limits::{AccountLimits, NumberLimits, NumberStatus, Quality, patched};
use crate::lock;
use crate::state::State;
use crate::webhooks::{Event, EventId, Object};
use crate::world::{InstagramAccount, Number, Token, TokenKind};

/// Most numbers and Instagram accounts, together.
const ACCOUNTS_MAX: usize = 10_000;
/// Most tokens, so that nobody mints memory away.
const TOKENS_MAX: usize = 100_000;

/// A WhatsApp number to be added. What is left out is made from the seed; it gets a business account and a token of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NewNumber {
    /// The phone number id.
    pub id: Option<String>,
    /// The business account, also one that exists.
    pub business_account_id: Option<String>,
    /// The number itself.
    pub phone: Option<String>,
    /// The verified name.
    pub name: Option<String>,
    /// The token that may act for it.
    pub token: Option<String>,
    /// Most messages a second; 80 if left out.
    pub throughput: Option<u32>,
    /// Whether it is used in the WhatsApp Business app too.
    pub shared_with_phone: bool,
    /// For a test number: whom it may write to.
    pub allowed: Option<Vec<String>>,
    /// Its other limits.
    pub limits: Option<NumberLimits>,
}

/// A number that was added: what a business has to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedNumber {
    /// The phone number id.
    pub phone_number_id: String,
    /// The business account.
    pub business_account_id: String,
    /// The number itself, digits only.
    pub phone: String,
    /// The token that may act for it.
    pub token: String,
}

/// An Instagram account to be added. What is left out is made from the seed; it gets a token of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NewInstagramAccount {
    /// The professional account id.
    pub id: Option<String>,
    /// The username.
    pub username: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The token that may act for it.
    pub token: Option<String>,
    /// Its limits.
    pub limits: Option<AccountLimits>,
}

/// An Instagram account that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedInstagramAccount {
    /// The professional account id.
    pub id: String,
    /// The app-scoped id.
    pub scoped_id: String,
    /// The username.
    pub username: String,
    /// The token that may act for it.
    pub token: String,
}

/// What changes about a number; what is left out stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NumberChange {
    /// Most messages a second; 0 is off.
    pub throughput: Option<u32>,
    /// How long the change of the throughput takes: until then sends are answered with 131057.
    pub upgrade_ms: Option<u64>,
    /// Whether it is used in the WhatsApp Business app too.
    pub shared_with_phone: Option<bool>,
    /// What it may still do.
    pub status: Option<NumberStatus>,
    /// The quality; `None` leaves it to the blocks again.
    #[serde(deserialize_with = "given")]
    pub quality: Option<Option<Quality>>,
    /// For a test number: whom it may write to; `None` makes it a real one.
    #[serde(deserialize_with = "given")]
    pub allowed: Option<Option<Vec<String>>>,
    /// Whether it was verified by a code.
    pub verified: Option<bool>,
    /// Some or all of [`NumberLimits`], by their names.
    pub limits: Map<String, Value>,
}

/// What changes about an Instagram account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AccountChange {
    /// Some or all of [`AccountLimits`], by their names.
    pub limits: Map<String, Value>,
}

/// `null` was given, rather than nothing.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Why a number, account, token or template was not added or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is none with this id.
    #[error("there is no {what} {id}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// By which id.
        id: String,
    },
    /// Another one has it.
    #[error("{what} {value} is taken")]
    Taken {
        /// Which attribute.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// A value that can't be.
    #[error("{0}")]
    Invalid(String),
    /// There are as many as there may be.
    #[error("there are too many already")]
    Full,
}

impl Core {
    /// Adds a number, subscribed to.
    pub(crate) fn add_number(&self, new: NewNumber) -> Result<AddedNumber, AccountError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let state = &mut *state;
        let count = check_room(state)?;
        let ids = state.ids;
        let id = new.id.unwrap_or_else(|| ids.digits("number", &[], count, 15));
        let business_account_id = new
            .business_account_id
            .unwrap_or_else(|| ids.digits("account", &[], count, 15));
        let phone = match new.phone {
            Some(phone) => phone.chars().filter(char::is_ascii_digit).collect(),
            None => format!("4420794{:05}", 60_100 + count % 39_900),
        };
        if !(7..=15).contains(&phone.len()) {
            return Err(AccountError::Invalid("a phone number has 7 to 15 digits".to_owned()));
        }
        check_free(state, &id)?;
        if state.numbers.iter().any(|number| number.phone == phone) {
            return Err(AccountError::Taken {
                what: "the phone number",
                value: phone,
            });
        }
        let token = new.token.unwrap_or_else(|| ids.token("EAA", count));
        let token = Token {
            app_id: state.app.id.clone(),
            kind: TokenKind::SystemUser,
            scopes: ["whatsapp_business_management", "whatsapp_business_messaging"]
                .map(str::to_owned)
                .to_vec(),
            assets: vec![business_account_id.clone()],
            ..new_token(token, now)
        };
        let number = Number {
            display: format!("+{phone}"),
            name: new.name.unwrap_or_else(|| format!("Sandbox {}", count + 1)),
            throughput: new.throughput.unwrap_or(80),
            shared_with_phone: new.shared_with_phone,
            allowed: new.allowed.map(digits).transpose()?,
            limits: new.limits.unwrap_or_default(),
            id,
            business_account_id,
            phone,
            ..Number::default()
        };
        let added = AddedNumber {
            phone_number_id: number.id.clone(),
            business_account_id: number.business_account_id.clone(),
            phone: number.phone.clone(),
            token: token.value.clone(),
        };
        add_token(state, token)?;
        state.installed.insert(number.business_account_id.clone());
        state.numbers.push(number);
        self.changes.tell_state();
        Ok(added)
    }

    /// Adds an Instagram account, with the app installed.
    pub(crate) fn add_instagram_account(
        &self,
        new: NewInstagramAccount,
    ) -> Result<AddedInstagramAccount, AccountError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let state = &mut *state;
        let count = check_room(state)?;
        let ids = state.ids;
        let id = new
            .id
            .unwrap_or_else(|| format!("17841{}", ids.digits("instagram", &[], count, 12)));
        check_free(state, &id)?;
        let username = new.username.unwrap_or_else(|| format!("sandbox.{}", count + 1));
        let token = new.token.unwrap_or_else(|| ids.token("IGAA", count));
        let token = Token {
            app_id: state.instagram_app.id.clone(),
            kind: TokenKind::InstagramUser,
            scopes: [
                "instagram_business_basic",
                "instagram_business_manage_messages",
                "instagram_business_manage_comments",
                "instagram_business_content_publish",
                "instagram_business_manage_insights",
            ]
            .map(str::to_owned)
            .to_vec(),
            assets: vec![id.clone()],
            ..new_token(token, now)
        };
        let account = InstagramAccount {
            scoped_id: ids.digits("scoped", &[&id], 0, 16),
            name: new.name.unwrap_or_else(|| username.clone()),
            username,
            subscribed: true,
            limits: new.limits.unwrap_or_default(),
            id,
        };
        let added = AddedInstagramAccount {
            id: account.id.clone(),
            scoped_id: account.scoped_id.clone(),
            username: account.username.clone(),
            token: token.value.clone(),
        };
        add_token(state, token)?;
        state.installed.insert(account.id.clone());
        state.accounts.push(account);
        self.changes.tell_state();
        Ok(added)
    }

    /// Changes a number, and posts what Meta would post of it.
    pub(crate) fn change_number(&self, id: &str, change: NumberChange) -> Result<(), AccountError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let state = &mut *state;
        let position = state.numbers.iter().position(|number| number.id == id);
        let position = position.ok_or_else(|| unknown("number", id))?;
        let before = state.numbers[position].clone();
        let mut number = before.clone();
        if let Some(throughput) = change.throughput {
            number.throughput = throughput;
        }
        number.shared_with_phone = change.shared_with_phone.unwrap_or(number.shared_with_phone);
        number.status = change.status.unwrap_or(number.status);
        number.quality = change.quality.unwrap_or(number.quality);
        number.verified = change.verified.unwrap_or(number.verified);
        if let Some(allowed) = change.allowed {
            number.allowed = allowed.map(digits).transpose()?;
        }
        number.limits = patched(&number.limits, change.limits).map_err(AccountError::Invalid)?;
        if let Some(millis) = change.upgrade_ms {
            let usage = state.usage.numbers.entry(number.id.clone()).or_default();
            usage.upgrading_until = now.saturating_add_unsigned(millis);
        }
        state.numbers[position] = number.clone();
        self.tell_number(state, &before, &number);
        self.changes.tell_state();
        Ok(())
    }

    /// Posts what has become of the number (whatsapp.md 8).
    pub(crate) fn tell_number(&self, state: &State, before: &Number, number: &Number) {
        let tier = number.limits.tier();
        let quality = |event: &str| json!({"display_phone_number": number.phone, "event": event, "max_daily_conversations_per_business": tier});
        let tell = |field, value| {
            let event = account_event(self, &number.business_account_id, field, value);
            self.emit(state, Some(event));
        };
        if number.pace() >= 1_000 && before.pace() < 1_000 && before.pace() > 0 {
            tell("phone_number_quality_update", quality("THROUGHPUT_UPGRADE"));
        }
        if tier != before.limits.tier() {
            tell(
                "business_capability_update",
                json!({"max_daily_conversations_per_business": tier}),
            );
        }
        if number.status == before.status {
            return;
        }
        let ban = |state: &str| json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": state}});
        match (before.status, number.status) {
            (NumberStatus::Flagged, NumberStatus::Connected) => {
                tell("phone_number_quality_update", quality("UNFLAGGED"));
            }
            (NumberStatus::Blocked | NumberStatus::Disabled, NumberStatus::Connected) => {
                tell("account_update", ban("REINSTATE"));
            }
            (_, NumberStatus::Flagged) => tell("phone_number_quality_update", quality("FLAGGED")),
            (_, NumberStatus::Restricted) => {
                let restriction = json!([{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING"}]);
                let value = json!({
                    "event": "ACCOUNT_RESTRICTION", "phone_number": number.phone, "restriction_info": restriction,
                });
                tell("account_update", value);
            }
            (_, NumberStatus::Blocked | NumberStatus::Disabled) => tell("account_update", ban("DISABLE")),
            _ => {}
        }
    }

    /// Changes an Instagram account.
    pub(crate) fn change_account(&self, id: &str, change: AccountChange) -> Result<(), AccountError> {
        let mut state = lock(&self.state);
        let account = state.accounts.iter_mut().find(|account| account.id == id);
        let account = account.ok_or_else(|| unknown("Instagram account", id))?;
        account.limits = patched(&account.limits, change.limits).map_err(AccountError::Invalid)?;
        self.changes.tell_state();
        Ok(())
    }

    /// Makes one more token that may do what the account's newest one may, or only what these scopes allow; it ends when told to, or never.
    pub(crate) fn mint_token(
        &self,
        account: &str,
        scopes: Option<Vec<String>>,
        expires_in_ms: Option<u64>,
    ) -> Result<String, AccountError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let mut like = newest_token(&state, account)?;
        like.scopes = scopes.unwrap_or(like.scopes);
        let lives = expires_in_ms.map(|millis| i64::try_from(millis).unwrap_or(i64::MAX));
        mint(&mut state, &like, now, lives)
    }

    /// Somebody logs in and lets the app act for an account; answers the code that the app's address would be called with.
    pub(crate) fn log_in(&self, login: Login) -> Result<String, AccountError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let ids = state.ids;
        let mut like = newest_token(&state, &login.account)?;
        if like.kind != TokenKind::InstagramUser {
            like.kind = if login.for_business {
                TokenKind::SystemUser
            } else {
                TokenKind::User
            };
        }
        like.scopes = login.scopes.unwrap_or(like.scopes);
        Ok(state.logins.add(ids, like, login.redirect_uri, now))
    }

    /// Whether every call of this app has to come with an `appsecret_proof`.
    pub(crate) fn require_proof(&self, app_id: &str, required: bool) -> Result<(), AccountError> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let app = [&mut state.app, &mut state.instagram_app]
            .into_iter()
            .find(|app| app.id == app_id)
            .ok_or_else(|| unknown("app", app_id))?;
        app.requires_proof = required;
        Ok(())
    }

    /// Ends every token of the account, or this one token; answers how many.
    pub(crate) fn end_tokens(&self, of: &str, how: TokenEnd) -> Result<usize, AccountError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let asset = if state.tokens.iter().any(|token| token.value == of) {
            None
        } else {
            Some(asset(&state, of)?)
        };
        let mut ended = 0;
        for token in &mut state.tokens {
            let meant = match &asset {
                Some(asset) => token.assets.contains(asset),
                None => token.value == of,
            };
            if meant {
                ended += 1;
                match how {
                    TokenEnd::Expired => token.expires_at = Some(now),
                    TokenEnd::Revoked => token.revoked = true,
                }
            }
        }
        Ok(ended)
    }
}

/// How a token ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TokenEnd {
    Expired,
    Revoked,
}

/// A login: somebody lets the app act for an account, as in the window that Meta shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// The number, business account or Instagram account.
    pub account: String,
    /// The app's address, which the code is good with alone; none for Embedded Signup.
    #[serde(default)]
    pub redirect_uri: String,
    /// What the app may do; what the account's newest token may, if left out.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// As a business rather than as a person: the token is a system user's and doesn't end (graph-api.md 7). WhatsApp alone.
    #[serde(default)]
    pub for_business: bool,
}

/// A token like this one, from now on.
pub(crate) fn mint(state: &mut State, like: &Token, now: i64, lives: Option<i64>) -> Result<String, AccountError> {
    let prefix = match like.kind {
        TokenKind::SystemUser | TokenKind::User => "EAA",
        TokenKind::InstagramUser => "IGAA",
    };
    let value = state.ids.token(prefix, state.tokens.len() as u64 + 1_000_000);
    let token = Token {
        value: value.clone(),
        issued_at: now,
        expires_at: lives.map(|millis| now.saturating_add(millis)),
        revoked: false,
        ..like.clone()
    };
    add_token(state, token)?;
    Ok(value)
}

fn newest_token(state: &State, account: &str) -> Result<Token, AccountError> {
    let asset = asset(state, account)?;
    let token = state.tokens.iter().rev().find(|token| token.assets.contains(&asset));
    token.cloned().ok_or_else(|| unknown("token for", account))
}

/// A change of another field than `messages`.
pub(crate) fn account_event(core: &Core, business_account_id: &str, field: &'static str, value: Value) -> Event {
    let id = EventId(format!("event:{field}:{}", core.count_account_event()));
    Event::new(id, Object::WhatsApp, business_account_id, field, value)
}

fn check_room(state: &State) -> Result<u64, AccountError> {
    let count = state.numbers.len() + state.accounts.len();
    if count < ACCOUNTS_MAX {
        Ok(count as u64)
    } else {
        Err(AccountError::Full)
    }
}

fn check_free(state: &State, id: &str) -> Result<(), AccountError> {
    let is_id = !id.is_empty() && id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_digit());
    if !is_id {
        return Err(AccountError::Invalid(
            "an id is a number of at most 32 digits".to_owned(),
        ));
    }
    let is_business = state.numbers.iter().any(|number| number.business_account_id == id);
    if is_business || state.number(id).is_some() || state.account(id).is_some() {
        return Err(AccountError::Taken {
            what: "the id",
            value: id.to_owned(),
        });
    }
    Ok(())
}

fn add_token(state: &mut State, token: Token) -> Result<(), AccountError> {
    if state.tokens.len() >= TOKENS_MAX {
        return Err(AccountError::Full);
    }
    if token.value.is_empty() || token.value.contains('|') {
        return Err(AccountError::Invalid("a token is a text without |".to_owned()));
    }
    if state.tokens.iter().any(|other| other.value == token.value) {
        return Err(AccountError::Taken {
            what: "the token",
            value: token.value,
        });
    }
    state.tokens.push(token);
    Ok(())
}

fn new_token(value: String, now: i64) -> Token {
    Token {
        value,
        app_id: String::new(),
        kind: TokenKind::SystemUser,
        scopes: Vec::new(),
        assets: Vec::new(),
        issued_at: now,
        expires_at: None,
        revoked: false,
    }
}

/// What tokens of this number, business account or Instagram account are granted.
fn asset(state: &State, account: &str) -> Result<String, AccountError> {
    if let Some(number) = state.number(account) {
        return Ok(number.business_account_id.clone());
    }
    if let Some(account) = state.account(account) {
        return Ok(account.id.clone());
    }
    let is_business = state.numbers.iter().any(|number| number.business_account_id == account);
    if is_business {
        Ok(account.to_owned())
    } else {
        Err(unknown("account or token", account))
    }
}

fn unknown(what: &'static str, id: &str) -> AccountError {
    AccountError::Unknown {
        what,
        id: id.to_owned(),
    }
}

/// Phone numbers as they are compared. Meta lets a test number have five.
fn digits(phones: Vec<String>) -> Result<Vec<String>, AccountError> {
    if phones.len() > 5 {
        return Err(AccountError::Invalid(
            "a test number may write to at most 5 numbers".to_owned(),
        ));
    }
    let digits = |phone: String| phone.chars().filter(char::is_ascii_digit).collect();
    Ok(phones.into_iter().map(digits).collect())
}

impl Ids {
    /// An access token.
    fn token(self, prefix: &str, number: u64) -> String {
        format!("{prefix}sandbox{}", self.word("token", &[prefix], number, 24))
    }
}
