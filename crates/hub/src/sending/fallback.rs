//! The template that stands ready for a free-form message: it takes the message's place, once, where the window has closed.
//!
//! That is found out at three moments: before sending ([`super::window::at_send`]), from Meta's answer, and from a status that comes later
//! (WhatsApp may accept what it then refuses, reference `whatsapp.md` 9.1). What the message said before is kept, for its timeline.

use tidings_meta::error::{Class, explain_code};
use tidings_meta::notification::Platform;

use crate::conversations::content::Content;
use crate::conversations::model::{Failure, Message, Millis, Status};
use crate::ids::MessageId;
use crate::sending::again;
use crate::sending::model::{FallbackTaken, Terms};
use crate::store::{StoreError, Tx};

/// Puts the template in the place of what a message says; false if none stands ready. The message is not written yet.
pub fn take(
    tx: &mut Tx<'_>,
    message: &mut Message,
    terms: Option<&Terms>,
    why: &str,
    at: Millis,
) -> Result<bool, StoreError> {
    let Some((terms, fallback)) = terms.and_then(|terms| terms.fallback.as_ref().map(|fallback| (terms, fallback)))
    else {
        return Ok(false);
    };
    let taken = FallbackTaken {
        at,
        reason: why.to_owned(),
        said: message.content.clone(),
    };
    if fallback.taken.is_some() || !tx.take_fallback(terms, &taken)? {
        return Ok(false);
    }
    message.content = Content::Template(fallback.template.clone());
    Ok(true)
}

/// The same, for a message that Meta has refused because the window is closed.
pub fn take_after_refusal(
    tx: &mut Tx<'_>,
    message: &mut Message,
    failure: &Failure,
    at: Millis,
) -> Result<bool, StoreError> {
    let terms = tx
        .terms_of_messages(&message.channel_id, &[message.id])?
        .into_iter()
        .next();
    take(tx, message, terms.as_ref(), &refused(failure), at)
}

/// Whether a status says that the window was closed.
pub fn is_about_the_window(failure: &Failure) -> bool {
    // Only WhatsApp has statuses that fail, and only WhatsApp has templates.
    explain_code(Platform::WhatsApp, failure.code, failure.subcode).class == Class::WindowClosed
}

/// Sends the template in the place of messages that a status has told to have failed because the window was closed; answers with those
/// for which one stood ready.
pub fn send_in_place_of(tx: &mut Tx<'_>, ids: &[MessageId], now: Millis) -> Result<Vec<Message>, StoreError> {
    let mut replaced = Vec::new();
    for mut message in tx.lock_messages(ids)? {
        let terms = tx
            .terms_of_messages(&message.channel_id, &[message.id])?
            .into_iter()
            .next();
        let Some(terms) = terms.filter(|terms| terms.expires_at > now) else {
            continue;
        };
        let Some(failure) = message.failure.clone().filter(|_| message.status == Status::Failed) else {
            continue;
        };
        // One that waits to be sent again is no longer the one that was told of.
        if tx.lock_entry(message.id)?.is_some() {
            continue;
        }
        let why = refused(&failure);
        if take(tx, &mut message, Some(&terms), &why, now)? {
            again::queue(tx, &mut message, terms.expires_at, now)?;
            replaced.push(message);
        }
    }
    Ok(replaced)
}

fn refused(failure: &Failure) -> String {
    format!("Meta has refused it ({}): {}", failure.code, failure.text)
}
