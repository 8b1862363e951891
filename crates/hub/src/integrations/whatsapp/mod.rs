//! Signed endpoints: a booking system confirms a booking, or says a free text, on WhatsApp.
//!
//! What comes in is an order like any other ([`crate::sending::accept`]), so that pace, routes, windows, templates and the stop switch hold for
//! it. What is its own:
//!
//! - [`signature`]: who may call, in place of an API key.
//! - [`memory`]: what makes two requests one. A request that was signed once sends once, whoever repeats it.
//! - [`booking`]: the words of a confirmation, as the template at Meta takes them.
//! - [`answer`]: whoever calls waits for Meta, for a while.
//!
//! Guarantee: once a request is answered 202 or `whatsapp_token_invalid`, its message is kept and will be sent, or its failure shown. Whatever else
//! is answered, nothing is sent.

pub mod answer;
pub mod api;
pub mod booking;
pub mod memory;
mod refusal;
pub mod signature;

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::json;

use crate::app::App;
use crate::channels::Channel;
use crate::channels::model::ChannelKind;
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{ChannelId, Sender};
use crate::conversations::phone::PhoneNumber;
use crate::http::problem::{Code, Problem};
use crate::sending::accept::{self, Accepted, By, Order, To};
use crate::sending::model::Purpose;
use signature::Signature;

/// How signed requests are checked, and what they send.
#[derive(Debug, Clone)]
pub struct WhatsAppIntegration {
    /// Any of these signs; without one nobody can call.
    pub secrets: Vec<SecretString>,
    /// How many seconds a signature may be old, or ahead.
    pub tolerance_secs: i64,
    /// The template of a confirmation.
    pub booking_template: String,
    /// Its language.
    pub language: String,
}

/// A request whose signature is right.
#[derive(Debug)]
pub struct Signed {
    /// How it was signed.
    pub signature: Signature,
    /// The body as it came.
    pub body: Vec<u8>,
    /// Its `Idempotency-Key`, if it has one.
    pub key: Option<String>,
}

/// What is asked for, understood.
#[derive(Debug)]
pub struct Ask {
    /// By which endpoint: the last part of its path.
    pub endpoint: &'static str,
    /// To whom.
    pub phone: PhoneNumber,
    /// What.
    pub content: Content,
    /// What to send in its place where the window has closed.
    pub fallback: Option<Template>,
    /// What makes it the same as another one however that was written: its fields, in one spelling.
    pub meaning: String,
}

/// Takes what a signed request asks for. What came before is not taken again, and answered as it was.
pub async fn take(app: &App, signed: &Signed, ask: Ask) -> Result<Accepted, Problem> {
    if let Some(refused) = memory::refused_before(app, signed).await? {
        return Err(refused);
    }
    let endpoint = ask.endpoint;
    let signer = &signed.signature.signer;
    match accept_ask(app, signed, ask).await {
        Ok(accepted) => {
            tracing::info!(
                endpoint,
                secret = signer.position,
                fingerprint = signer.fingerprint,
                message = %accepted.message_id,
                repeated = accepted.repeated,
                "a signed request was taken"
            );
            Ok(accepted)
        }
        Err(problem) => {
            tracing::warn!(
                endpoint,
                secret = signer.position,
                fingerprint = signer.fingerprint,
                error = problem.code.as_str(),
                "a signed request was refused"
            );
            memory::remember_refusal(app, signed, &problem).await?;
            Err(problem)
        }
    }
}

async fn accept_ask(app: &App, signed: &Signed, ask: Ask) -> Result<Accepted, Problem> {
    let channel = channel(app)?;
    let signer = &signed.signature.signer;
    let metadata = json!({"integration": {
        "endpoint": ask.endpoint, "secret": signer.position, "fingerprint": signer.fingerprint}});
    let endpoint = ask.endpoint;
    let is_booking = matches!(ask.content, Content::Template(_));
    let order = Order {
        by: By::Channel(channel.id.clone()),
        to: To::Address(format!("+{}", ask.phone.digits())),
        idempotency: memory::idempotency(signed, endpoint, &ask.meaning),
        content: ask.content,
        sender: Sender::Api,
        reply_to: None,
        purpose: Purpose::Service,
        priority: None,
        send_at: None,
        expires_at: None,
        fallback: ask.fallback,
        route: None,
        metadata: Some(metadata.to_string()),
        queue: false,
    };
    let accepted = accept::accept(app, order).await;
    accepted.map_err(|error| refusal::problem(error, is_booking))
}

/// The channel to send by: the one that the variables make, else the first WhatsApp number that can send and is nobody's backup.
pub fn channel(app: &App) -> Result<Arc<Channel>, Problem> {
    let usual = app.channels.get(&ChannelId("whatsapp".to_owned()));
    let others = app.channels.all().into_iter();
    let mut found = usual
        .into_iter()
        .chain(others.filter(|channel| channel.backup_for.is_none()));
    found
        .find(|channel| channel.kind == ChannelKind::WhatsApp && channel.credentials.is_some())
        .ok_or_else(not_configured)
}

fn not_configured() -> Problem {
    Problem::new(
        Code::WhatsAppNotConfigured,
        "No WhatsApp number can send: set WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN, or add a channel.",
    )
}
