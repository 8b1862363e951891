//! A thread: what one customer and one business account said to each other, as the customer's phone shows it.

use std::collections::VecDeque;

use serde::Serialize;

/// Which customer, which account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ThreadKey {
    pub(crate) customer: String,
    /// A phone number id or an Instagram account id.
    pub(crate) account: String,
}

#[derive(Debug, Default)]
pub(crate) struct Thread {
    pub(crate) messages: VecDeque<Message>,
    /// When the customer last did what opens the window.
    pub(crate) window_opened_at: Option<i64>,
    /// Until when the business is shown as typing.
    pub(crate) typing_until: i64,
    /// How many messages each side wrote; their ids count by it.
    pub(crate) written_by_customer: u64,
    pub(crate) written_by_business: u64,
    /// What the pair limit has counted so far.
    pub(crate) pair: PairBucket,
}

/// 24 hours: WhatsApp's customer service window (whatsapp.md 13.4) and Instagram's standard one (instagram.md 3.4).
const WINDOW_MILLIS: i64 = 24 * 3600 * 1000;

impl Thread {
    pub(crate) fn window_is_open(&self, now: i64) -> bool {
        self.window_opened_at
            .is_some_and(|opened_at| now - opened_at < WINDOW_MILLIS)
    }

    /// Looks from the newest on, since that is what people act upon.
    pub(crate) fn message(&self, id: &str) -> Option<&Message> {
        self.messages.iter().rev().find(|message| message.id == id)
    }

    pub(crate) fn message_mut(&mut self, id: &str) -> Option<&mut Message> {
        self.messages.iter_mut().rev().find(|message| message.id == id)
    }
}

/// WhatsApp's pair limit (whatsapp.md 13.2): one message each 6 s from one number to one person, of which 45 may be borrowed
/// at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PairBucket {
    /// How much of the burst was used at `at`, in milliseconds of the steady pace.
    used_millis: i64,
    at: i64,
}

const PAIR_MESSAGE_MILLIS: i64 = 6_000;
const PAIR_BURST: i64 = 45;

impl PairBucket {
    /// Counts a message, if there is room for it.
    pub(crate) fn take(&mut self, now: i64) -> bool {
        let used = (self.used_millis - (now - self.at).max(0)).max(0);
        let fits = used + PAIR_MESSAGE_MILLIS <= PAIR_BURST * PAIR_MESSAGE_MILLIS;
        if fits {
            *self = Self {
                used_millis: used + PAIR_MESSAGE_MILLIS,
                at: now,
            };
        }
        fits
    }
}

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Customer,
    Business,
}

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Progress {
    Sent,
    Delivered,
    Read,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) by: By,
    pub(crate) at: i64,
    pub(crate) progress: Progress,
    pub(crate) shown: Shown,
    pub(crate) reactions: Vec<Reaction>,
    /// How often the customer edited it.
    pub(crate) edits: u32,
    /// What the statuses of a business's WhatsApp message say.
    pub(crate) outgoing: Option<Outgoing>,
}

/// What a phone shows of a message.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) footer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caption: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) buttons: Vec<Choice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) quick_replies: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<String>,
}

/// A place on a map.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Place {
    /// In degrees, like the longitude.
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

/// Something to press.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Choice {
    pub(crate) title: String,
    pub(crate) payload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reaction {
    pub(crate) by: By,
    pub(crate) emoji: String,
}

impl Message {
    /// Sets, replaces or (with `None`) removes the one reaction that each side may have.
    pub(crate) fn react(&mut self, by: By, emoji: Option<&str>) {
        self.reactions.retain(|reaction| reaction.by != by);
        if let Some(emoji) = emoji {
            self.reactions.push(Reaction {
                by,
                emoji: emoji.to_owned(),
            });
        }
    }
}

/// What the statuses of a WhatsApp message need to say (whatsapp.md 5).
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) message_id: String,
    /// The phone number id it was sent from.
    pub(crate) account: String,
    /// The customer, if there is one behind the address.
    pub(crate) customer: Option<String>,
    pub(crate) recipient_id: Option<String>,
    pub(crate) recipient_user_id: Option<String>,
    /// Whether it was addressed to a business-scoped user id.
    pub(crate) by_user_id: bool,
    /// `biz_opaque_callback_data`, given back in every status.
    pub(crate) callback_data: Option<String>,
    pub(crate) pricing: Option<Pricing>,
    /// A reaction gets no status but `sent`.
    pub(crate) is_reaction: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Pricing {
    pub(crate) kind: &'static str,
    pub(crate) category: String,
}

#[cfg(test)]
mod tests {
    use super::PairBucket;

    #[test]
    fn a_pair_may_borrow_45_messages_and_pays_them_back_at_one_each_6_seconds() {
        let mut bucket = PairBucket::default();
        let now = 1_795_000_000_000;
        let taken = (0..50).filter(|_| bucket.take(now)).count();
        assert_eq!(taken, 45);
        assert!(!bucket.take(now + 5_999));
        assert!(bucket.take(now + 6_000));
        assert!(!bucket.take(now + 6_000));
        let later = now + 6_000 + 45 * 6_000;
        assert_eq!((0..50).filter(|_| bucket.take(later)).count(), 45);
    }
}
