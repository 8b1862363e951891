//! Events as they are kept, and the rules of their processing. Pure.

use std::time::Duration;

use tidings_meta::notification::{EventKind, Platform};

use crate::conversations::model::{ChannelId, Millis};
use crate::ids::EventId;

/// Where an event is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventStatus {
    /// It waits to be understood, for the first time or again.
    Pending,
    /// It was understood, and its effect stands.
    Processed,
    /// It is kept, but means nothing to Tidings: of an unknown kind, or of an account that is no channel.
    Ignored,
    /// It has not the documented shape; a replay after an upgrade may mend that.
    Failed,
    /// It could not be processed, several times over.
    Dead,
}

impl EventStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Processed, Self::Ignored, Self::Failed, Self::Dead];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// One of those that are few, and listed apart.
    pub fn is_exception(self) -> bool {
        match self {
            Self::Ignored | Self::Failed | Self::Dead => true,
            Self::Pending | Self::Processed => false,
        }
    }
}

/// An event that has just come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Ours.
    pub id: EventId,
    /// Whose words it is in.
    pub platform: Platform,
    /// Meta's id of the number or account.
    pub account: String,
    /// The channel that this account is, if any.
    pub channel_id: Option<ChannelId>,
    /// What kind of event.
    pub kind: EventKind,
    /// What makes it what it is.
    pub external_id: String,
    /// Meta's time.
    pub occurred_at: Option<Millis>,
    /// Our time.
    pub received_at: Millis,
    /// Whether its notification was signed.
    pub signed: bool,
    /// Why it needs no processing, if it needs none.
    pub ignored_because: Option<&'static str>,
    /// One entry with this one item, as it came.
    pub payload: String,
}

impl NewEvent {
    /// The status that it begins with.
    pub fn status(&self) -> EventStatus {
        if self.ignored_because.is_some() {
            EventStatus::Ignored
        } else {
            EventStatus::Pending
        }
    }
}

/// An event as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Ours.
    pub id: EventId,
    /// Whose words it is in.
    pub platform: Platform,
    /// Meta's id of the number or account.
    pub account: String,
    /// What makes it what it is.
    pub external_id: String,
    /// The channel that this account is, if any.
    pub channel_id: Option<ChannelId>,
    /// What kind of event.
    pub kind: EventKind,
    /// Meta's time.
    pub occurred_at: Option<Millis>,
    /// Our time.
    pub received_at: Millis,
    /// Whether its notification was signed.
    pub signed: bool,
    /// Where it is on its way.
    pub status: EventStatus,
    /// How often processing it has failed.
    pub attempts: u32,
    /// Why it failed last, or why it is ignored.
    pub error: Option<String>,
    /// When it was last processed.
    pub processed_at: Option<Millis>,
    /// How long that took: its share of its batch.
    pub processing_micros: Option<i64>,
    /// One entry with this one item; empty in lists.
    pub payload: String,
}

/// What an external id is compared by: the first 16 bytes of its SHA-256, which are as good as unique and a quarter of the size.
pub fn identity_of(external_id: &str) -> [u8; 16] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, external_id.as_bytes());
    let mut identity = [0; 16];
    identity.copy_from_slice(&digest.as_ref()[..16]);
    identity
}

/// How failures of processing are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often an event is tried again (`WEBHOOK_RETRY_ATTEMPTS`).
    pub attempts: u32,
    /// The first pause (`WEBHOOK_RETRY_DELAY`); each further one is twice as long.
    pub delay: Duration,
}

impl RetryPolicy {
    /// When to try again after so many failures; `None` if it is enough.
    pub fn next(&self, failures: u32, now: Millis) -> Option<Millis> {
        if failures > self.attempts {
            return None;
        }
        let pause = self
            .delay
            .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        Some(now.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::RetryPolicy;

    #[test]
    fn pauses_grow_and_end() {
        let policy = RetryPolicy {
            attempts: 3,
            delay: Duration::from_secs(5),
        };
        let due: Vec<Option<i64>> = (1..=4).map(|failures| policy.next(failures, 0)).collect();
        assert_eq!(due, [Some(5_000), Some(10_000), Some(20_000), None]);
    }
}
