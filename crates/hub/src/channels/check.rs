//! Whether credentials work: asked of Meta before they are kept, and again and again while a channel is held.
//!
//! What is asked changes nothing at Meta: `debug_token` where the app's own credentials are there (reference `graph-api.md` 7), then a read of
//! the number (`whatsapp.md` 12.1) or of the account whose token it is (`instagram.md` 1.3).

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use tidings_meta::client::{CallError, PhoneNumberNode, TokenReport};
use tidings_meta::error::{self, Class};
use tidings_meta::notification::Platform;

use super::model::ChannelKind;
use crate::app::App;
use crate::sending::email::{LogInError, Mailer};

/// What was learnt of a channel whose credentials work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// What Meta calls it.
    pub name: Option<String>,
    /// When the token ends, in seconds since 1970; `None` for never, or where it is not known.
    pub token_expires_at: Option<i64>,
}

/// Why credentials cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// They do not work.
    #[error("{0}")]
    Credentials(String),
    /// They work, but not for this account.
    #[error("{0}")]
    Account(String),
    /// Meta did not say: it may be otherwise in a moment.
    #[error("{0}")]
    Unanswered(String),
}

/// The right to send and receive messages of WhatsApp (reference `whatsapp.md` 12.5).
const MESSAGING: &str = "whatsapp_business_messaging";

/// Asks whether credentials work for an account.
pub async fn check(
    app: &App,
    kind: ChannelKind,
    account: &str,
    credentials: &SecretString,
) -> Result<Checked, CheckError> {
    match kind {
        ChannelKind::WhatsApp => {
            let report = report(app, credentials).await?;
            let number = read_number(app, account, credentials).await?;
            Ok(Checked {
                name: number.verified_name,
                token_expires_at: report.and_then(|report| report.expires_at),
            })
        }
        ChannelKind::Instagram => {
            let client = app.channels.client(Platform::Instagram);
            let exchange = client.instagram_account(credentials).await;
            app.metrics
                .count_call(Platform::Instagram, "read", code_of(&exchange.outcome));
            let read = exchange
                .outcome
                .map_err(|error| refused(Platform::Instagram, error, "belongs to no professional account"))?;
            if read.user_id != account {
                let whose = read.username.unwrap_or(read.user_id);
                return Err(CheckError::Account(format!(
                    "is another account than the token's, which is that of `{whose}`"
                )));
            }
            Ok(Checked {
                name: read.name.or(read.username),
                token_expires_at: None,
            })
        }
        ChannelKind::Email if is_smtp_url(credentials) => Ok(Checked::default()),
        ChannelKind::Email => Err(CheckError::Credentials(SMTP_URL_EXPECTED.to_owned())),
    }
}

/// What the address of an SMTP server looks like.
pub const SMTP_URL_EXPECTED: &str = "is not an address such as smtps://USER:PASSWORD@smtp.example.com, with signs other than letters and digits written as %40 and so on";

/// Whether it is the address of an SMTP server.
pub fn is_smtp_url(text: &SecretString) -> bool {
    Url::parse(text.expose_secret()).is_ok_and(|url| matches!(url.scheme(), "smtp" | "smtps") && url.has_host())
}

/// Whether the credentials of a held channel work again. An account that Meta has blocked does not, though its token may be read with.
pub(crate) async fn works_again(
    app: &App,
    kind: ChannelKind,
    account: &str,
    credentials: &SecretString,
) -> Result<(), CheckError> {
    match kind {
        ChannelKind::WhatsApp => {}
        ChannelKind::Instagram => return check(app, kind, account, credentials).await.map(|_| ()),
        // That it looks like an address says nothing: the server is asked, so that a login that is refused is not tried with a message.
        ChannelKind::Email => {
            let mailer = Mailer::new(credentials, account)
                .ok_or_else(|| CheckError::Credentials(SMTP_URL_EXPECTED.to_owned()))?;
            return mailer.log_in().await.map_err(|error| match error {
                LogInError::Refused(why) => CheckError::Credentials(format!("is refused by the SMTP server: {why}")),
                LogInError::Unanswered(why) => CheckError::Unanswered(format!("the SMTP server did not answer: {why}")),
            });
        }
    }
    let number = read_number(app, account, credentials).await?;
    let blocked = number
        .health
        .filter(|health| health.can_send_message.as_deref() == Some("BLOCKED"));
    match blocked {
        None => Ok(()),
        Some(health) => {
            let why = health.errors.into_iter().find_map(|error| error.description);
            let why = why.unwrap_or_else(|| "Meta says that it may not send".to_owned());
            Err(CheckError::Account(format!("is blocked: {why}")))
        }
    }
}

async fn read_number(app: &App, account: &str, credentials: &SecretString) -> Result<PhoneNumberNode, CheckError> {
    let client = app.channels.client(Platform::WhatsApp);
    let exchange = client.phone_number(credentials, account).await;
    app.metrics
        .count_call(Platform::WhatsApp, "read", code_of(&exchange.outcome));
    exchange.outcome.map_err(|error| {
        let not_there = "is no phone number id that this token can read: it is in WhatsApp Manager, below the number";
        refused(Platform::WhatsApp, error, not_there)
    })
}

/// What Meta says of a token; `None` where it cannot be asked, for want of the app's credentials or because they are another app's.
async fn report(app: &App, token: &SecretString) -> Result<Option<TokenReport>, CheckError> {
    let secret = app.config.webhooks.whatsapp.app_secrets.first();
    let (Some(app_id), Some(secret)) = (&app.config.meta_app_id, secret) else {
        return Ok(None);
    };
    let app_token = SecretString::from(format!("{app_id}|{}", secret.expose_secret()));
    let client = app.channels.client(Platform::WhatsApp);
    let exchange = client.debug_token(&app_token, token).await;
    app.metrics
        .count_call(Platform::WhatsApp, "debug_token", code_of(&exchange.outcome));
    // A refusal is about the app, not about the token: reading the number decides.
    let Ok(report) = exchange.outcome else {
        return Ok(None);
    };
    if !report.is_valid {
        let why = report.error.and_then(|error| error.message).unwrap_or_default();
        return Err(CheckError::Credentials(format!("is not a valid access token: {why}")));
    }
    if !report.scopes.is_empty() && !report.scopes.iter().any(|scope| scope == MESSAGING) {
        return Err(CheckError::Credentials(format!(
            "lacks the permission `{MESSAGING}`: make a token that has it"
        )));
    }
    Ok(Some(report))
}

fn code_of<T>(outcome: &Result<T, CallError>) -> Option<(i64, &'static str)> {
    match outcome {
        Ok(_) => None,
        Err(CallError::Refused(refusal)) => Some((refusal.code, "refused")),
        Err(_) => Some((0, "temporary")),
    }
}

/// What a failed read says about token and account.
fn refused(platform: Platform, error: CallError, not_there: &str) -> CheckError {
    match error {
        CallError::Refused(refusal) => match error::explain(platform, &refusal).class {
            // A token that works, but was not granted the account, is refused otherwise (reference `graph-api.md` 3).
            Class::Credentials if matches!(refusal.code, 102 | 190) => {
                CheckError::Credentials(format!("is refused by Meta ({}): {}", refusal.code, refusal.message))
            }
            Class::Temporary | Class::Throttled => CheckError::Unanswered(format!(
                "Meta is too busy to say ({}): {}",
                refusal.code, refusal.message
            )),
            _ => CheckError::Account(format!("{not_there} ({}: {})", refusal.code, refusal.message)),
        },
        error => CheckError::Unanswered(format!("Meta did not answer: {error}")),
    }
}
