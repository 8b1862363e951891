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
use crate::sending::route::model::LegState;
use crate::store::{StoreError, Tx};

/// Puts the template in the place of what a message says; false if none stands ready, or it was taken before. Whoever calls this has locked
/// the message, and keeps it and [`Tx::keep_fallbacks_taken`] in the same unit.
pub fn take(message: &mut Message, terms: Option<&mut Terms>, why: String, at: Millis) -> bool {
    let Some(fallback) = terms.and_then(|terms| terms.fallback.as_mut()) else {
        return false;
    };
    if fallback.taken.is_some() {
        return false;
    }
    let template = Content::Template(fallback.template.clone());
    fallback.taken = Some(FallbackTaken {
        at,
        reason: why,
        said: std::mem::replace(&mut message.content, template),
    });
    true
}

/// Why a template takes a message's place that Meta has refused.
pub fn refused(failure: &Failure) -> String {
    format!("Meta has refused it ({}): {}", failure.code, failure.text)
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
    let messages = tx.lock_messages(ids)?;
    let legs = tx.legs_of_messages(ids)?;
    let has_gone_on = |id: MessageId| {
        legs.iter()
            .any(|leg| leg.message_id == id && leg.state == LegState::Left)
    };
    for mut message in messages {
        // What it says is on its way by another route.
        if has_gone_on(message.id) {
            continue;
        }
        let terms = tx
            .terms_of_messages(&message.channel_id, &[message.id])?
            .into_iter()
            .next();
        let Some(mut terms) = terms.filter(|terms| terms.expires_at > now) else {
            continue;
        };
        let Some(failure) = message.failure.clone().filter(|_| message.status == Status::Failed) else {
            continue;
        };
        // One that waits to be sent again is no longer the one that was told of.
        if tx.lock_entry(message.id)?.is_some() {
            continue;
        }
        if take(&mut message, Some(&mut terms), refused(&failure), now) {
            tx.keep_fallbacks_taken(&[&terms])?;
            again::queue(tx, &mut message, terms.expires_at, now)?;
            replaced.push(message);
        }
    }
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use super::is_about_the_window;
    use crate::conversations::model::Failure;

    #[test]
    fn a_closed_window_is_told_from_other_failures() {
        let failure = |code| Failure {
            code,
            ..Failure::ours("")
        };
        assert!(is_about_the_window(&failure(131_047)));
        for other in [131_026, 131_049, 131_051, 0] {
            assert!(!is_about_the_window(&failure(other)), "{other}");
        }
    }
}
