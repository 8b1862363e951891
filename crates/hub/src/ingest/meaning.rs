//! What an event means, found out before a transaction is opened: pure but for the channels that are known at the moment.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tidings_meta::notification::{EventKind, Platform};
use tokio::time::Instant;

use crate::channels::Channels;
use crate::channels::numbers;
use crate::channels::templates::news::{self, News};
use crate::conversations::consent::words::Words;
use crate::conversations::model::{ChannelId, Millis};
use crate::conversations::projection::Incoming;
use crate::conversations::understand::{self, Effect, Envelope, Understood};
use crate::ids::EventId;
use crate::ingest::UNKNOWN_ACCOUNT;
use crate::ingest::model::{EventStatus, NewEvent, StoredEvent};

/// What an event comes to, if what it brings can be brought into conversations.
#[derive(Debug, Clone)]
pub struct Meaning {
    /// The channel that its account is now: an event can be older than its channel.
    pub channel_id: Option<ChannelId>,
    /// Processed, ignored, or failed.
    pub status: EventStatus,
    /// Why it is not processed.
    pub error: Option<String>,
    /// What it brings; `None` if it has no meaning for a channel.
    pub incoming: Option<Incoming>,
    /// What it says of a message template of an account that a channel belongs to.
    pub news: Option<News>,
    /// The channels that are to be read anew from Meta because of it.
    pub numbers: Vec<ChannelId>,
    /// How long it took to find out.
    pub took: Duration,
}

/// The parts of an event that tell what it means.
#[derive(Debug, Clone, Copy)]
pub struct Told<'e> {
    id: EventId,
    platform: Platform,
    account: &'e str,
    kind: EventKind,
    external_id: &'e str,
    occurred_at: Option<Millis>,
    received_at: Millis,
    payload: &'e str,
}

impl Told<'_> {
    /// When it happened, as far as is known.
    fn at(&self) -> Millis {
        self.occurred_at.unwrap_or(self.received_at)
    }
}

impl<'e> From<&'e NewEvent> for Told<'e> {
    fn from(event: &'e NewEvent) -> Self {
        Self {
            id: event.id,
            platform: event.platform,
            account: &event.account,
            kind: event.kind,
            external_id: &event.external_id,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            payload: &event.payload,
        }
    }
}

impl<'e> From<&'e StoredEvent> for Told<'e> {
    fn from(event: &'e StoredEvent) -> Self {
        Self {
            id: event.id,
            platform: event.platform,
            account: &event.account,
            kind: event.kind,
            external_id: &event.external_id,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            payload: &event.payload,
        }
    }
}

impl Meaning {
    /// Finds out what an event means.
    pub fn of<'e>(event: impl Into<Told<'e>>, channels: &Channels, words: &Words) -> Self {
        let (began, event) = (Instant::now(), event.into());
        let channel_id = channels
            .by_account(event.platform, event.account)
            .map(|channel| channel.id.clone());
        let mut meaning = Self {
            channel_id,
            status: EventStatus::Processed,
            error: None,
            incoming: None,
            news: None,
            numbers: Vec::new(),
            took: Duration::ZERO,
        };
        match understood(event) {
            // Only another version of Tidings can understand it better: trying again would be in vain.
            Err(reason) => meaning.is(EventStatus::Failed, reason),
            Ok(_) if event.kind == EventKind::Unknown => {
                meaning.is(EventStatus::Ignored, "no event kind that Tidings knows".to_owned());
            }
            Ok((understood, news)) => {
                meaning.numbers = numbers::concerned(channels, event.platform, event.kind, event.account);
                meaning.news = news.filter(|news| channels.have_business_account(&news.business_account));
                match meaning.channel_id.clone() {
                    Some(channel_id) => {
                        meaning.incoming = Some(Incoming {
                            event_id: event.id,
                            channel_id,
                            at: event.at(),
                            wish: match &understood.effect {
                                Effect::Said(said) => words.wish_of(said),
                                _ => None,
                            },
                            understood,
                        });
                    }
                    None if understood.person.is_some() => meaning.is(EventStatus::Ignored, UNKNOWN_ACCOUNT.to_owned()),
                    None => {}
                }
            }
        }
        meaning.took = began.elapsed();
        meaning
    }

    fn is(&mut self, status: EventStatus, because: String) {
        (self.status, self.error) = (status, Some(because));
    }
}

fn understood(event: Told<'_>) -> Result<(Understood, Option<News>), String> {
    let envelope = Envelope {
        platform: event.platform,
        external_id: event.external_id,
        received_at: event.received_at,
        raw: event.payload,
    };
    let read = || {
        let understood = understand::understand(envelope)?;
        let news = news::of_event(event.platform, event.kind, event.account, event.payload, event.at());
        Ok((understood, news))
    };
    // A parser's bug must not take the batch, or the process, with it.
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err("understanding it panicked: a bug of Tidings".to_owned()))
}
