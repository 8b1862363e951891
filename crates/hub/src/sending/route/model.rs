//! Policies, and the legs of the way that a message takes. Pure.

use std::time::Duration;

use crate::channels::model::ChannelKind;
use crate::conversations::model::{ChannelId, Message, Millis, Status};
use crate::ids::MessageId;
use crate::sending::model::EntryState;

/// The policy that messages follow which name none: that of the settings, else the built-in one.
pub const DEFAULT: &str = "default";
/// Stands in a request for no policy at all.
pub const NONE: &str = "none";
/// The policy of messages that follow none, and are moved all the same: no name in the settings has spaces.
const BY_HAND: &str = "by hand";
/// What the contact is told on a further route where the settings say nothing else.
pub const TOLD: &str = "We could not reach you on {route}, so we write to you here.";
/// Stands in what the contact is told for the route that was left.
const ROUTE: &str = "{route}";

/// By which routes a message may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The routes, the first choice first.
    pub order: RouteOrder,
    /// How far a message has to get for its route to have served.
    pub success: Success,
    /// How long it may take to get there.
    pub fallback_after: Option<Duration>,
    /// What the contact is told before the words, on every route but the first; `{route}` stands for the one that was left.
    pub told: Option<String>,
    /// The subject of its e-mails; `None`: the usual one.
    pub subject: Option<String>,
}

/// How the routes of a policy are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteOrder {
    /// These ids or kinds of channels.
    Named(Vec<String>),
    /// The channel that was asked for, its backups, and e-mail.
    OfChannel,
}

impl Policy {
    /// What `default` is where the settings say nothing else.
    pub fn built_in() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            order: RouteOrder::OfChannel,
            success: Success::Delivered,
            fallback_after: None,
            told: Some(TOLD.to_owned()),
            subject: None,
        }
    }

    /// What messages follow that follow no policy, once a channel was switched: they go by its backup, and no further.
    pub fn by_hand() -> Self {
        Self {
            name: BY_HAND.to_owned(),
            order: RouteOrder::Named(Vec::new()),
            told: None,
            ..Self::built_in()
        }
    }

    /// What a policy is that the settings do not name.
    pub fn unnamed(name: &str) -> Option<Self> {
        match name {
            DEFAULT => Some(Self::built_in()),
            BY_HAND => Some(Self::by_hand()),
            _ => None,
        }
    }

    /// What the contact is told on a route by a channel of one kind, after one by a channel of another, or of the same.
    pub fn told(&self, left: ChannelKind, next: ChannelKind) -> Option<String> {
        let route = match left {
            ChannelKind::WhatsApp if next == left => "our other number",
            ChannelKind::WhatsApp => "WhatsApp",
            ChannelKind::Instagram if next == left => "our other account",
            ChannelKind::Instagram => "Instagram",
            ChannelKind::Email if next == left => "our other address",
            ChannelKind::Email => "e-mail",
        };
        Some(self.told.as_ref()?.replace(ROUTE, route))
    }
}

/// How far a message has to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Success {
    /// The channel has taken it.
    Accepted,
    /// It has left the channel.
    Sent,
    /// It has reached a device.
    Delivered,
    /// It was shown.
    Read,
}

impl Success {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Sent, Self::Delivered, Self::Read];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|success| success.as_str() == word)
    }

    /// Whether a message has got so far.
    pub fn is_reached_by(self, status: Status) -> bool {
        let reached = match status {
            Status::Accepted => Self::Accepted,
            Status::Sent => Self::Sent,
            Status::Delivered => Self::Delivered,
            Status::Read => Self::Read,
            Status::Received
            | Status::Queued
            | Status::Sending
            | Status::Failed
            | Status::Expired
            | Status::Cancelled => return false,
        };
        self <= reached
    }
}

/// How a leg stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// Its channel does not have the message yet.
    Working,
    /// Its channel has it, and it has not got as far as it should.
    Awaiting,
    /// It got as far as it should.
    Reached,
    /// Another leg has taken over.
    Left,
    /// Nothing more comes of it.
    Ended,
}

impl LegState {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Working, Self::Awaiting, Self::Reached, Self::Left, Self::Ended];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Awaiting => "awaiting",
            Self::Reached => "reached",
            Self::Left => "left",
            Self::Ended => "ended",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it is the one that has to get there.
    pub fn is_at_work(self) -> bool {
        matches!(self, Self::Working | Self::Awaiting)
    }
}

/// One leg: a message of its own on one channel, in place of the one that was accepted; the first is that one itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// The message that was accepted.
    pub origin_id: MessageId,
    /// From 0.
    pub number: i64,
    /// The message of this leg.
    pub message_id: MessageId,
    /// Its channel.
    pub channel_id: ChannelId,
    /// The policy that it follows.
    pub policy: String,
    /// How it stands.
    pub state: LegState,
    /// Why it began; the first has no reason.
    pub reason: Option<String>,
    /// When it began.
    pub at: Millis,
    /// When it is to be looked at; `None`: when something is told of its message.
    pub due_at: Option<Millis>,
    /// When it was looked at last.
    pub looked_at: Millis,
    /// When its message got there although another leg had taken over.
    pub late_at: Option<Millis>,
    /// Why nothing comes after it.
    pub no_route: Option<String>,
    /// Not after, on any route; `None`: whoever sent it named no time.
    pub expires_at: Option<Millis>,
    /// E-mail was put before the order of the policy.
    pub email_first: bool,
    /// The channel that was asked for, where the message was accepted on another one.
    pub asked: Option<ChannelId>,
}

impl Leg {
    /// The first leg of a message that follows a policy.
    pub fn first(message_id: MessageId, channel_id: ChannelId, policy: &Policy, at: Millis) -> Self {
        Self {
            origin_id: message_id,
            number: 0,
            message_id,
            channel_id,
            policy: policy.name.clone(),
            state: LegState::Working,
            reason: None,
            at,
            due_at: policy.fallback_after.map(|after| at + millis(after)),
            looked_at: 0,
            late_at: None,
            no_route: None,
            expires_at: None,
            email_first: false,
            asked: None,
        }
    }

    /// The channel that the order of the policy is reckoned from.
    pub fn asked(&self) -> &ChannelId {
        self.asked.as_ref().unwrap_or(&self.channel_id)
    }

    /// As if it had just begun: its message was queued again. When it has to have got there is found out at the next look.
    pub fn anew(self, at: Millis) -> Self {
        Self {
            state: LegState::Working,
            at,
            due_at: Some(at),
            looked_at: 0,
            no_route: None,
            ..self
        }
    }

    /// Goes by what was judged, unless it is to move on.
    pub fn follow(&mut self, verdict: &Verdict, status: Status, has_entry: bool) {
        match verdict {
            Verdict::Reached => (self.state, self.due_at) = (LegState::Reached, None),
            Verdict::Ended => (self.state, self.due_at) = (LegState::Ended, None),
            Verdict::Stay(due_at) => {
                self.due_at = *due_at;
                if !has_entry && matches!(status, Status::Accepted | Status::Sent | Status::Delivered) {
                    self.state = LegState::Awaiting;
                }
            }
            Verdict::MoveOn { .. } => {}
        }
    }

    /// Another leg takes over.
    pub fn hand_on(&mut self) {
        (self.state, self.due_at, self.no_route) = (LegState::Left, None, None);
    }

    /// No other leg can take over. It is looked at again when something is told of its message, while its channel sends nothing, or at a time.
    pub fn strand(&mut self, no_route: String, again_at: Option<Millis>, status: Status, has_entry: bool) {
        (self.due_at, self.no_route) = (again_at, Some(no_route));
        if again_at.is_none() && !has_entry && matches!(status, Status::Failed | Status::Expired) {
            self.state = LegState::Ended;
        }
    }

    /// When it is looked at again for which there is no route only as long as other channels send nothing: less and less often, and not beyond the
    /// time that it lasts.
    pub fn again_at(&self, lasts: Duration, now: Millis) -> Option<Millis> {
        let pause = ((now - self.at) / 8).clamp(millis(PAUSE_LEAST), millis(PAUSE_MOST));
        let until = self.expires_at.unwrap_or(self.at + millis(lasts));
        Some(now + pause).filter(|at| *at < until)
    }

    /// Something was told of its message after another leg had taken over; answers whether it has got there after all. It is told once: then
    /// it has reached its end.
    pub fn hear(&mut self, status: Status, success: Success, now: Millis) -> bool {
        self.due_at = None;
        let is_late = self.state == LegState::Left && success.min(Success::Delivered).is_reached_by(status);
        if is_late {
            (self.state, self.late_at) = (LegState::Reached, Some(now));
        }
        is_late
    }

    /// Whether it ends when an earlier one has got there after all: it is withdrawn, or, where it may have been taken, not sent again.
    pub fn gives_way(&self, entry: Option<EntryState>) -> bool {
        self.state == LegState::Working && matches!(entry, Some(EntryState::Waiting | EntryState::Unknown))
    }
}

/// The leg that has taken over from a message: the last of those that came after its own.
pub fn taken_over(legs: &[Leg], message: MessageId) -> Option<&Leg> {
    let own = legs.iter().find(|leg| leg.message_id == message)?;
    legs.iter().rfind(|leg| leg.number > own.number)
}

/// The other leg that a message is in the hands of: one that got there, or else the one that has taken over.
pub fn in_other_hands(legs: &[Leg], message: MessageId) -> Option<&Leg> {
    let reached = |leg: &&Leg| leg.message_id != message && leg.state == LegState::Reached;
    legs.iter().find(reached).or_else(|| taken_over(legs, message))
}

/// The routes that can still be taken after the one by a channel: those that come after it in the order of the policy, or all of it after the
/// e-mail that was put before that order; no route twice.
pub fn further<'r, R>(order: &'r [R], id: impl Fn(&R) -> &ChannelId, legs: &[Leg], from: &ChannelId) -> Vec<&'r R> {
    let begin = match order.iter().position(|route| id(route) == from) {
        Some(at)
            if !legs
                .first()
                .is_some_and(|leg| leg.email_first && leg.channel_id == *from) =>
        {
            at + 1
        }
        _ => 0,
    };
    let is_taken = |route: &R| legs.iter().any(|leg| leg.channel_id == *id(route));
    order[begin..].iter().filter(|route| !is_taken(route)).collect()
}

/// What to do about a leg that is at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It got there.
    Reached,
    /// Somebody withdrew it: nothing comes after it.
    Ended,
    /// Nothing for now; to be looked at again then.
    Stay(Option<Millis>),
    /// The next route's turn.
    MoveOn {
        /// Why.
        reason: String,
        /// What becomes of what is left of it.
        leave: Leave,
    },
}

/// What becomes of a leg that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It has ended, or its channel has it: nothing.
    AsItIs,
    /// It waits in the queue: it is withdrawn.
    Withdraw,
    /// It may have arrived: it is not tried again.
    GiveUp,
}

/// How long to wait for a call that is under way.
const CALL_MILLIS: Millis = 1_000;

/// The pauses between looks at what has no route for now.
const PAUSE_LEAST: Duration = Duration::from_secs(5);
const PAUSE_MOST: Duration = Duration::from_mins(5);

/// An entry in the outbox, as far as a leg is judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Where it is.
    pub state: EntryState,
    /// Of one of unknown outcome: its time is up, and nothing has come in that may tell of it.
    pub is_up: bool,
}

/// Judges a leg that is at work: `down` is why its channel sends nothing.
pub fn judge(
    leg: &Leg,
    message: &Message,
    entry: Option<Queued>,
    success: Success,
    fallback_after: Option<Duration>,
    down: Option<&str>,
    now: Millis,
) -> Verdict {
    if success.is_reached_by(message.status) {
        return Verdict::Reached;
    }
    let has_ended = entry.is_none() && matches!(message.status, Status::Failed | Status::Expired | Status::Cancelled);
    if leg.expires_at.is_some_and(|at| at <= now) {
        // Whoever sent it does not want it any more, by whatever route.
        return if has_ended { Verdict::Ended } else { Verdict::Stay(None) };
    }
    let late_at = fallback_after.map(|after| leg.at + millis(after));
    let is_late = late_at.is_some_and(|at| at <= now);
    match (message.status, entry.map(|entry| entry.state)) {
        (Status::Cancelled, None) => Verdict::Ended,
        (Status::Failed | Status::Expired, None) => {
            let word = message.status.as_str();
            let why = message
                .failure
                .as_ref()
                .map_or_else(String::new, |failure| match failure.code {
                    0 => format!(": {}", failure.text),
                    code => format!(" ({code}): {}", failure.text),
                });
            Verdict::MoveOn {
                reason: format!("{word}{why}"),
                leave: Leave::AsItIs,
            }
        }
        // It waits for its time.
        (Status::Queued, None) => Verdict::Stay(late_at.map(|at| at.max(now + CALL_MILLIS))),
        (_, Some(EntryState::Sending)) if is_late || down.is_some() => Verdict::Stay(Some(now + CALL_MILLIS)),
        (_, Some(EntryState::Waiting)) if down.is_some() => Verdict::MoveOn {
            reason: down.unwrap_or_default().to_owned(),
            leave: Leave::Withdraw,
        },
        // Here it would be sent once more, and cannot be.
        (_, Some(EntryState::Unknown)) if down.is_some() && entry.is_some_and(|entry| entry.is_up) => Verdict::MoveOn {
            reason: down.unwrap_or_default().to_owned(),
            leave: Leave::GiveUp,
        },
        (_, entry) if is_late => Verdict::MoveOn {
            reason: format!(
                "it was not {} within {} s",
                success.as_str(),
                fallback_after.unwrap_or_default().as_secs()
            ),
            leave: match entry {
                Some(EntryState::Waiting) => Leave::Withdraw,
                Some(EntryState::Unknown | EntryState::Sending) => Leave::GiveUp,
                None => Leave::AsItIs,
            },
        },
        _ => Verdict::Stay(late_at),
    }
}

/// A duration in the store's unit.
pub fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests;
