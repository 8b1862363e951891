//! WhatsApp webhooks, typed.

use crate::notification::{EnvelopeError, Event};

pub(crate) fn split(_body: &[u8]) -> Result<Vec<Event>, EnvelopeError> {
    Ok(Vec::new())
}
