//! Entries of the outbox, attempts, and what becomes of them. Pure.

use std::time::Duration;

use crate::conversations::content::{Content, Template};
use crate::conversations::model::{ChannelId, Failure, Millis};
use crate::ids::{AttemptId, ConversationId, MessageId};

/// Where an entry of the outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// It goes out when it is due and its turn in its conversation has come.
    Waiting,
    /// An attempt is under way.
    Sending,
    /// An attempt ended without our knowing whether Meta took the message. Nothing is sent until an event tells, or the time is up.
    Unknown,
}

impl EntryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Sending, Self::Unknown];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Unknown => "unknown",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What an entry of the outbox waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// Its turn: the entries before it, and the channel.
    Turn,
    /// The time that its sender named.
    Scheduled,
    /// The pause after a temporary error.
    Retry,
    /// Meta found the channel too fast.
    Throttled,
    /// The recipient gets no more so soon.
    PairLimit,
    /// The recipient gets no more advertising for now, from anybody.
    MarketingCap,
    /// Its template is paused by Meta.
    TemplatePaused,
    /// The channel has had its calls of the last hour.
    HourlyLimit,
    /// The account has had its messages of the last day.
    DailyLimit,
    /// The account has written to as many people as it may in a day.
    TierLimit,
    /// Its file, which is being handed to Meta.
    Media,
    /// A token that works.
    Credentials,
    /// The channel's pace: the channel waits for it, and an entry of its own if that goes at a slower one than the others.
    RateLimit,
    /// Somebody to let the channel go on. Never an entry's own.
    Stopped,
    /// The channel to be tried again after too many failures. Never an entry's own.
    CircuitOpen,
    /// Its channel to be switched back: the backup that sends in its place cannot take it.
    Switched,
    /// An event that tells what became of an attempt that had no answer.
    UnknownOutcome,
    /// The same, of an attempt that Meta answered with an error after which the message may have arrived.
    UnknownAfterError,
}

impl Wait {
    /// Every one.
    pub const ALL: [Self; 18] = [
        Self::Turn,
        Self::Scheduled,
        Self::Retry,
        Self::Throttled,
        Self::PairLimit,
        Self::MarketingCap,
        Self::TemplatePaused,
        Self::HourlyLimit,
        Self::DailyLimit,
        Self::TierLimit,
        Self::Media,
        Self::Credentials,
        Self::RateLimit,
        Self::Stopped,
        Self::CircuitOpen,
        Self::Switched,
        Self::UnknownOutcome,
        Self::UnknownAfterError,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Scheduled => "scheduled",
            Self::Retry => "retry",
            Self::Throttled => "throttled",
            Self::PairLimit => "pair_limit",
            Self::MarketingCap => "marketing_cap",
            Self::TemplatePaused => "template_paused",
            Self::HourlyLimit => "hourly_limit",
            Self::DailyLimit => "daily_limit",
            Self::TierLimit => "tier_limit",
            Self::Media => "media",
            Self::Credentials => "credentials",
            Self::RateLimit => "rate_limit",
            Self::Stopped => "stopped",
            Self::CircuitOpen => "circuit_open",
            Self::Switched => "switched",
            Self::UnknownOutcome => "unknown_outcome",
            Self::UnknownAfterError => "unknown_after_error",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wait| wait.as_str() == word)
    }

    /// Whether what waits for it is set aside, so that those behind it in its conversation go first.
    pub fn aside(self) -> Option<Aside> {
        match self {
            Self::MarketingCap | Self::TemplatePaused => Some(Aside::UntilDue),
            Self::TierLimit => Some(Aside::UntilRoom),
            Self::Turn
            | Self::Scheduled
            | Self::Retry
            | Self::Throttled
            | Self::PairLimit
            | Self::HourlyLimit
            | Self::DailyLimit
            | Self::Media
            | Self::Credentials
            | Self::RateLimit
            | Self::Stopped
            | Self::CircuitOpen
            | Self::Switched
            | Self::UnknownOutcome
            | Self::UnknownAfterError => None,
        }
    }
}

/// Which messages go first where not all can go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// An answer to somebody who has written.
    Reply = 0,
    /// Something that the business tells one person.
    Notification = 1,
    /// One of many.
    Bulk = 2,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Reply, Self::Notification, Self::Bulk];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Notification => "notification",
            Self::Bulk => "bulk",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == word)
    }

    /// What a message has for which nobody asked for another one.
    pub fn usual(purpose: Purpose, window_is_open: bool) -> Self {
        match purpose {
            Purpose::Marketing => Self::Bulk,
            Purpose::Service if window_is_open => Self::Reply,
            Purpose::Service => Self::Notification,
        }
    }
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It concerns something that the contact has to do with.
    Service,
    /// It advertises.
    Marketing,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 2] = [Self::Service, Self::Marketing];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Marketing => "marketing",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == word)
    }
}

/// What a message was accepted with beside its content. Kept only where it is not the usual.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Of which message.
    pub message_id: MessageId,
    /// On which channel.
    pub channel_id: ChannelId,
    /// What it is for.
    pub purpose: Purpose,
    /// How urgent it is.
    pub priority: i64,
    /// Not after.
    pub expires_at: Millis,
    /// What to send where the window has closed.
    pub fallback: Option<Fallback>,
}

/// A template that stands ready for a free-form message.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    /// The template.
    pub template: Template,
    /// When it was taken, if it was: it is taken once.
    pub taken: Option<FallbackTaken>,
}

/// That a template took the place of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct FallbackTaken {
    /// When.
    pub at: Millis,
    /// Why.
    pub reason: String,
    /// What the message said before.
    pub said: Content,
}

/// A message that is to be sent at a time. Until then it is in no queue, and in nobody's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The message.
    pub message_id: MessageId,
    /// The channel that it goes out by.
    pub channel_id: ChannelId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Lower goes first, once it is due.
    pub priority: i64,
    /// When it is due.
    pub due_at: Millis,
    /// Not after.
    pub expires_at: Millis,
    /// When it was accepted from the caller.
    pub queued_at: Millis,
}

impl Scheduled {
    /// Why it waits.
    pub const REASON: &str = "scheduled";

    /// Its entry: as it is shown before it is due, and as it is put into the outbox then.
    pub fn entry(&self, position: i64, reason: Option<&str>) -> OutboxEntry {
        OutboxEntry {
            message_id: self.message_id,
            channel_id: self.channel_id.clone(),
            conversation_id: self.conversation_id,
            position,
            state: EntryState::Waiting,
            priority: self.priority,
            due_at: self.due_at,
            expires_at: self.expires_at,
            attempts: 0,
            attempt_id: None,
            waits_for: if reason.is_some() { Wait::Scheduled } else { Wait::Turn },
            reason: reason.map(str::to_owned),
            // What it waits in the queue begins when it is due.
            queued_at: self.due_at,
        }
    }
}

/// A message that still has to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The message.
    pub message_id: MessageId,
    /// The channel that it goes out by.
    pub channel_id: ChannelId,
    /// Its conversation; within one, entries go out in the order of `position`.
    pub conversation_id: ConversationId,
    /// Its place in its conversation.
    pub position: i64,
    /// Where it is.
    pub state: EntryState,
    /// Lower goes first.
    pub priority: i64,
    /// Not before.
    pub due_at: Millis,
    /// Not after.
    pub expires_at: Millis,
    /// How many attempts have counted against it.
    pub attempts: u32,
    /// The attempt under way, or of unknown outcome.
    pub attempt_id: Option<AttemptId>,
    /// What it waits for.
    pub waits_for: Wait,
    /// Why it waits, in more words.
    pub reason: Option<String>,
    /// When it was accepted from the caller.
    pub queued_at: Millis,
}

/// An entry that goes back: waiting, or of unknown outcome, until it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postponement {
    /// Its message.
    pub message_id: MessageId,
    /// Where it is then.
    pub state: EntryState,
    /// Not before.
    pub due_at: Millis,
    /// How many attempts have counted against it.
    pub attempts: u32,
    /// What it waits for.
    pub waits_for: Wait,
    /// Why, in more words.
    pub reason: Option<String>,
    /// Whether those behind it in its conversation go first meanwhile.
    pub aside: Option<Aside>,
}

/// That an entry does not hold back those behind it in its conversation while it waits: it may not go for hours, for a reason that is not
/// theirs. Whatever else an entry waits for is over within minutes, and holds its conversation back, so that what is said stays in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// Until it is due: its template is paused, or its recipient gets no more advertising.
    UntilDue,
    /// Until the account may write to more people; when that is due is known to nobody.
    UntilRoom,
}

/// How many entries of a channel are in one state and wait for one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxFigure {
    /// The channel.
    pub channel_id: ChannelId,
    /// Where they are.
    pub state: EntryState,
    /// What they wait for.
    pub waits_for: Wait,
    /// How many.
    pub count: i64,
}

/// Of what there is only so much in 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetKind {
    /// Messages handed to Meta.
    Messages,
    /// People written to outside of a window.
    People,
}

impl BudgetKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Messages, Self::People];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::People => "people",
        }
    }
}

/// What a whole channel waits for, as its leader last said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPace {
    /// The channel.
    pub channel_id: ChannelId,
    /// What it waits for: [`Wait::RateLimit`] while it goes at its pace.
    pub waits_for: Wait,
    /// Until when, where that is known.
    pub until: Option<Millis>,
    /// How many messages a second it may send at present; `None` without a limit.
    pub per_second: Option<u32>,
    /// When its leader said so.
    pub said_at: Millis,
}

impl ChannelPace {
    /// What the whole channel waits for at a time, and until when where that is known; `None`: each message for its turn.
    pub fn waits(&self, now: Millis) -> Option<(Wait, Option<Millis>)> {
        let holds = self.waits_for != Wait::Turn && self.until.is_none_or(|until| until > now);
        holds.then_some((self.waits_for, self.until))
    }
}

impl OutboxEntry {
    /// What it waits for, and until when where that is known: something of its own, or what its whole channel waits for.
    pub fn waits_for(&self, channel: Option<&ChannelPace>, now: Millis) -> (Wait, Option<Millis>) {
        let is_its_turn = self.state == EntryState::Waiting && self.due_at <= now;
        match channel.filter(|_| is_its_turn).and_then(|pace| pace.waits(now)) {
            Some(waits) => waits,
            _ if is_its_turn => (Wait::Turn, None),
            _ if self.state == EntryState::Sending => (Wait::Turn, None),
            _ => (self.waits_for, Some(self.due_at)),
        }
    }
}

/// One try of a message at Meta, with what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Ours.
    pub id: AttemptId,
    /// Of which message.
    pub message_id: MessageId,
    /// On which channel.
    pub channel_id: ChannelId,
    /// When it began.
    pub started_at: Millis,
    /// How it ended; `None` while it is under way.
    pub ended: Option<AttemptEnd>,
    /// The request's body.
    pub request: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd {
    /// When.
    pub at: Millis,
    /// The word for its [`Outcome`].
    pub outcome: String,
    /// Of Meta's answer.
    pub http_status: Option<u16>,
    /// Meta's error, or ours.
    pub failure: Option<Failure>,
    /// Meta's answer, shortened.
    pub answer: Option<String>,
    /// How long the call took.
    pub duration_micros: i64,
}

/// What an attempt came to: the closed set of what can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Meta has taken the message.
    Accepted {
        /// Meta's id of it; `None` of what gets none (a reaction on Instagram).
        external_id: Option<String>,
        /// What else Meta calls the recipient.
        recipient: Recipient,
    },
    /// Not now: again later, until the message expires.
    Again {
        /// Why.
        cause: Cause,
        /// Meta's error, or ours.
        failure: Failure,
        /// How long Meta wants us to wait, where it says.
        wait: Option<Duration>,
    },
    /// It is not known whether Meta has taken the message.
    Unknown {
        /// What happened.
        failure: Failure,
        /// Whether Meta answered at all: with an error after which the message may have arrived, but most often has not.
        answered: bool,
    },
    /// Never: Meta will not take this message, or not for this recipient.
    Failed {
        /// Meta's error.
        failure: Failure,
        /// The window has closed; a template could be sent instead.
        window_closed: bool,
    },
}

/// Why a message is sent again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Meta, or the way to it, is failing.
    Temporary,
    /// The channel is too fast for Meta; counts against nobody.
    Throttled,
    /// This recipient got too much too fast. The refusal is counted, since the pause grows with their number.
    PairLimit,
    /// The channel's token does not work, or its account is held; counts against nobody.
    Credentials,
    /// The recipient gets no more advertising for a day. It is tried once more.
    MarketingCap,
    /// Its template is paused; counts against nobody.
    TemplatePaused,
}

impl Cause {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Temporary => "temporary",
            Self::Throttled => "throttled",
            Self::PairLimit => "pair_limit",
            Self::Credentials => "credentials",
            Self::MarketingCap => "marketing_cap",
            Self::TemplatePaused => "template_paused",
        }
    }

    /// What a message waits for that it is a cause for.
    pub fn wait(self) -> Wait {
        match self {
            Self::Temporary => Wait::Retry,
            Self::Throttled => Wait::Throttled,
            Self::PairLimit => Wait::PairLimit,
            Self::Credentials => Wait::Credentials,
            Self::MarketingCap => Wait::MarketingCap,
            Self::TemplatePaused => Wait::TemplatePaused,
        }
    }
}

impl Outcome {
    /// The word for [`Outcome::Accepted`]: also of an attempt whose own answer was another one, once an event has told.
    pub const ACCEPTED: &str = "accepted";

    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => Self::ACCEPTED,
            Self::Again { cause, .. } => cause.as_str(),
            Self::Unknown { .. } => "unknown",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether a template could be sent instead.
    pub fn is_window_closed(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                window_closed: true,
                ..
            }
        )
    }

    /// The error, if there was one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Accepted { .. } => None,
            Self::Again { failure, .. } | Self::Unknown { failure, .. } | Self::Failed { failure, .. } => Some(failure),
        }
    }
}

/// What Meta calls a recipient, in its answer to a send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipient {
    /// `wa_id`, which may differ from the number that was sent to.
    pub phone: Option<String>,
    /// The business-scoped user id.
    pub user_id: Option<String>,
}

/// The pause before the next attempt: exponential with full jitter, from one second to five minutes.
///
/// `attempts` is how many have failed, `fraction` a random number from 0 to 1.
pub fn pause(attempts: u32, fraction: f64) -> Duration {
    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_mins(5);
    let ceiling = LEAST.saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(MOST);
    LEAST + ceiling.saturating_sub(LEAST).mul_f64(fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::pause;

    #[test]
    fn pauses_lie_between_a_second_and_five_minutes_and_spread_out() {
        assert_eq!(pause(1, 0.0), Duration::from_secs(1));
        assert_eq!(pause(1, 1.0), Duration::from_secs(2));
        assert_eq!(pause(3, 1.0), Duration::from_secs(8));
        assert_eq!(pause(1_000, 1.0), Duration::from_mins(5));
        assert!(pause(5, 0.3) < pause(5, 0.6));
    }
}
