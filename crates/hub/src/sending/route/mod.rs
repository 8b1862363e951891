//! Routes: where a message goes on when the way that it took does not serve.
//!
//! A message that follows a policy has *legs*. The first is the message that was accepted; each further one is a message of its own on the
//! next channel of the policy, with a conversation, a window, an entry in the outbox and statuses of its own, so that what is said about one
//! leg is never taken for another's. [`model`] judges a leg; [`tend`] looks at those that are due, and at those whose channel sends nothing.
//!
//! Guarantee: of two legs Tidings itself never sends both. What still waits on the old leg is withdrawn in the unit that makes the new one;
//! what is being sent, or of unknown outcome, is waited for, as long as the policy says. What Meta has and delivers after all is told as late.

pub mod model;

use crate::app::App;
use crate::channels::model::ChannelKind;
use crate::channels::{Channel, Standing};
use crate::conversations::content::Content;
use crate::conversations::model::{ChannelId, Conversation, Failure, Identity, Message, Millis, Receipts, Status};
use crate::ids::{ContactId, MessageId};
use crate::sending::model::{EntryState, Fallback, Priority, Purpose, Scheduled, Terms};
use crate::sending::{request, sender, window};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;
use model::{DEFAULT, Leave, Leg, LegState, Policy, Success, Verdict, judge};
use std::sync::Arc;

/// How many messages are looked at by one transaction.
const UNIT_MAX: u32 = 50;
/// How many such transactions one look makes at most, of each kind.
const UNITS_MAX: usize = 20;
/// How long a message is left alone for which there was no other route.
const REST_MILLIS: Millis = 5_000;

/// The policy of a name.
pub fn policy(app: &App, name: &str) -> Option<Policy> {
    let named = app.config.routes.iter().find(|policy| policy.name == name).cloned();
    named.or_else(|| (name == DEFAULT).then(Policy::built_in))
}

/// The policy that messages of a channel follow which name none.
pub fn usual_policy(app: &App, channel: &ChannelId) -> Option<Policy> {
    let policy = app.config.routes.iter().find(|policy| policy.name == DEFAULT)?;
    channels_of(app, policy)
        .iter()
        .any(|of| of.id == *channel)
        .then(|| policy.clone())
}

/// The channels of a policy, in its order. A kind stands for every channel of it that the policy does not name.
pub fn channels_of(app: &App, policy: &Policy) -> Vec<Arc<Channel>> {
    let mut found: Vec<Arc<Channel>> = Vec::new();
    for word in &policy.order {
        if let Some(channel) = app.channels.get(&ChannelId(word.clone())) {
            found.push(channel);
        } else if let Some(kind) = ChannelKind::from_word(word) {
            found.extend(
                app.channels
                    .all()
                    .into_iter()
                    .filter(|channel| channel.kind == kind && !policy.order.contains(&channel.id.0)),
            );
        }
    }
    found
}

/// Why a channel sends nothing; `None` if it does, or if nothing at all is sent.
pub fn down(app: &App, id: &ChannelId) -> Option<String> {
    let Some(channel) = app.channels.get(id) else {
        return Some(format!("channel `{id}` is no longer there"));
    };
    match channel.standing(&app.flags) {
        Standing::Ready => None,
        Standing::ReceiveOnly => Some(format!("channel `{id}` has no credentials")),
        Standing::Stopped if app.flags.channel_enabled(id) => None,
        Standing::Stopped => Some(format!("channel `{id}` is stopped")),
        Standing::Held => Some(format!("channel `{id}` is held")),
    }
}

/// Looks at what is due, and at what channels are at work on that send nothing.
pub async fn tend(app: &App) -> Result<(), StoreError> {
    for _ in 0..UNITS_MAX {
        let now = app.clock.now_millis();
        let due = app.store.read(move |tx| tx.routes_due(now, UNIT_MAX)).await?;
        let is_last = due.len() < UNIT_MAX as usize;
        look_at(app, due, now).await?;
        if is_last {
            break;
        }
    }
    for channel in app.channels.all() {
        if down(app, &channel.id).is_none() {
            continue;
        }
        for _ in 0..UNITS_MAX {
            let now = app.clock.now_millis();
            let id = channel.id.clone();
            let at_work = app
                .store
                .read(move |tx| tx.routes_at_work(&id, now - REST_MILLIS, UNIT_MAX))
                .await?;
            let is_last = at_work.len() < UNIT_MAX as usize;
            look_at(app, at_work, now).await?;
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

async fn look_at(app: &App, mut origins: Vec<MessageId>, now: Millis) -> Result<(), StoreError> {
    if origins.is_empty() {
        return Ok(());
    }
    // In one order everywhere, so that two nodes cannot hold what the other one waits for.
    origins.sort_unstable();
    origins.dedup();
    let unit = app.clone();
    let (channels, late) = app
        .store
        .write(move |tx| {
            let (mut channels, mut late) = (Vec::new(), 0);
            for origin in &origins {
                let mut way = Way {
                    app: &unit,
                    now,
                    changes: Vec::new(),
                    channels: Vec::new(),
                    late: 0,
                };
                way.look(tx, *origin)?;
                late += way.late;
                tx.insert_stream(&way.changes)?;
                channels.append(&mut way.channels);
            }
            Ok::<_, StoreError>((channels, late))
        })
        .await?;
    app.metrics.count_late_deliveries(late);
    if !channels.is_empty() {
        app.stream.nudge();
    }
    for channel in &channels {
        app.senders.nudge(channel);
    }
    Ok(())
}

/// One look at one message.
struct Way<'a> {
    app: &'a App,
    now: Millis,
    changes: Vec<NewStreamRow>,
    channels: Vec<ChannelId>,
    late: u64,
}

/// A route that can be taken.
struct Next {
    channel: Arc<Channel>,
    conversation: Conversation,
    is_new: bool,
    content: Content,
}

impl Way<'_> {
    fn look(&mut self, tx: &mut Tx<'_>, origin: MessageId) -> Result<(), StoreError> {
        let known = tx.legs_of_origins(&[origin])?;
        let Some(policy) = known.first().and_then(|leg| policy(self.app, &leg.policy)) else {
            // The settings no longer have the policy: its messages stay where they are.
            for mut leg in tx.lock_legs(origin)? {
                (leg.due_at, leg.looked_at) = (None, self.now);
                tx.update_leg(&leg)?;
            }
            return Ok(());
        };
        // Conversations are locked before messages, and messages before their legs.
        let ids: Vec<MessageId> = known.iter().map(|leg| leg.message_id).collect();
        let first = tx.message_by_id(origin)?;
        let contact = match &first {
            Some(message) => tx.conversation_by_id(message.conversation_id)?.map(|of| of.contact_id),
            None => None,
        };
        let routes = channels_of(self.app, &policy);
        let conversations = match contact {
            Some(contact) => {
                let pairs: Vec<(ChannelId, ContactId)> =
                    routes.iter().map(|channel| (channel.id.clone(), contact)).collect();
                tx.lock_conversations(&pairs)?
            }
            None => Vec::new(),
        };
        let mut messages = tx.lock_messages(&ids)?;
        let mut legs = tx.lock_legs(origin)?;
        if legs.len() != known.len() {
            // Another node has just looked.
            return Ok(());
        }
        for index in 0..legs.len() {
            let Some(at) = messages.iter().position(|message| message.id == legs[index].message_id) else {
                let leg = &mut legs[index];
                (leg.state, leg.due_at) = (LegState::Ended, None);
                tx.update_leg(leg)?;
                continue;
            };
            if legs[index].state.is_at_work() {
                self.judge(
                    tx,
                    &policy,
                    &routes,
                    &conversations,
                    contact,
                    &mut legs,
                    index,
                    &mut messages[at],
                )?;
            } else {
                self.look_back(tx, &policy, &mut legs, index, at, &mut messages)?;
            }
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what a look has found out and locked, in one place"
    )]
    fn judge(
        &mut self,
        tx: &mut Tx<'_>,
        policy: &Policy,
        routes: &[Arc<Channel>],
        conversations: &[Conversation],
        contact: Option<ContactId>,
        legs: &mut [Leg],
        index: usize,
        message: &mut Message,
    ) -> Result<(), StoreError> {
        let entry = tx.lock_entry(message.id)?;
        let down = down(self.app, &message.channel_id);
        let success = self.success(policy, &message.channel_id);
        let leg = &mut legs[index];
        leg.looked_at = self.now;
        let state = entry.as_ref().map(|entry| entry.state);
        match judge(
            leg,
            message,
            state,
            success,
            policy.fallback_after,
            down.as_deref(),
            self.now,
        ) {
            Verdict::Reached => (leg.state, leg.due_at) = (LegState::Reached, None),
            Verdict::Ended => (leg.state, leg.due_at) = (LegState::Ended, None),
            Verdict::Stay(due_at) => {
                leg.due_at = due_at;
                if entry.is_none() && matches!(message.status, Status::Accepted | Status::Sent | Status::Delivered) {
                    leg.state = LegState::Awaiting;
                }
            }
            Verdict::MoveOn { reason, leave } => {
                let terms = tx
                    .terms_of_messages(&message.channel_id, &[message.id])?
                    .into_iter()
                    .next();
                let from = routes.iter().position(|channel| channel.id == message.channel_id);
                let rest = &routes[from.map_or(0, |at| at + 1)..];
                let taken: Vec<&ChannelId> = legs.iter().map(|leg| &leg.channel_id).collect();
                let untaken = rest.iter().filter(|channel| !taken.contains(&&channel.id));
                let entry_expires_at = entry.as_ref().map(|entry| entry.expires_at);
                let expires_at = entry_expires_at.or(terms.as_ref().map(|terms| terms.expires_at));
                let next = if expires_at.is_some_and(|at| at <= self.now) {
                    Err("it has expired".to_owned())
                } else {
                    self.next(tx, policy, untaken, conversations, contact, message, terms.as_ref())?
                };
                let leg = &mut legs[index];
                match next {
                    Err(no_route) => {
                        if leg.no_route.as_ref() != Some(&no_route) {
                            leg.no_route = Some(no_route);
                            self.changes.push(self.row(message, Change::updated(message)));
                            self.channels.push(message.channel_id.clone());
                        }
                        leg.due_at = None;
                        let has_ended = matches!(message.status, Status::Failed | Status::Expired);
                        if entry.is_none() && matches!(leave, Leave::AsItIs) && has_ended {
                            leg.state = LegState::Ended;
                        }
                    }
                    Ok(next) => {
                        (leg.state, leg.due_at, leg.no_route) = (LegState::Left, None, None);
                        let priority = entry.as_ref().map(|entry| entry.priority);
                        self.leave(tx, message, leave, &next.channel.id, &reason)?;
                        let leg = Leg {
                            number: legs.len() as i64,
                            ..Leg::first(legs[0].origin_id, next.channel.id.clone(), policy, self.now)
                        };
                        let id = self.keep(tx, next, message, terms, priority, expires_at)?;
                        tx.insert_leg(&Leg {
                            message_id: id,
                            reason: Some(reason),
                            looked_at: self.now,
                            ..leg
                        })?;
                    }
                }
            }
        }
        // After the message, whose change of status has marked the leg as due.
        tx.update_leg(&legs[index])
    }

    /// A leg that is not at work any more, and of whose message something was told.
    fn look_back(
        &mut self,
        tx: &mut Tx<'_>,
        policy: &Policy,
        legs: &mut [Leg],
        index: usize,
        at: usize,
        messages: &mut [Message],
    ) -> Result<(), StoreError> {
        if legs[index].due_at.is_none() {
            return Ok(());
        }
        let (status, channel) = (messages[at].status, messages[at].channel_id.clone());
        let success = self.success(policy, &channel).min(Success::Delivered);
        legs[index].due_at = None;
        if legs[index].state == LegState::Left && success.is_reached_by(status) {
            (legs[index].state, legs[index].late_at) = (LegState::Reached, Some(self.now));
            self.late += 1;
            self.changes
                .push(self.row(&messages[at], Change::updated(&messages[at])));
            self.channels.push(channel);
            for other in legs.iter_mut().filter(|leg| leg.state == LegState::Working) {
                let Some(message) = messages.iter_mut().find(|message| message.id == other.message_id) else {
                    continue;
                };
                match tx.lock_entry(message.id)?.map(|entry| entry.state) {
                    Some(EntryState::Waiting) => {
                        let why = "an earlier route has delivered it after all".to_owned();
                        self.withdraw(tx, message, why)?;
                    }
                    // It may have arrived, and need not be sent again to make sure.
                    Some(EntryState::Unknown) => {
                        tx.remove_entries(&[message.id])?;
                        message.status = Status::Failed;
                        message.failure = Some(Failure::ours(
                            "it is not known whether it was taken; an earlier route has delivered it after all",
                        ));
                        self.changed(tx, message)?;
                    }
                    Some(EntryState::Sending) | None => continue,
                }
                (other.state, other.due_at) = (LegState::Ended, None);
                tx.update_leg(other)?;
            }
        }
        tx.update_leg(&legs[index])
    }

    /// E-mail tells nothing after it was taken.
    fn success(&self, policy: &Policy, channel: &ChannelId) -> Success {
        let kind = self.app.channels.get(channel).map(|channel| channel.kind);
        if kind == Some(ChannelKind::Email) {
            Success::Accepted
        } else {
            policy.success
        }
    }

    /// The first route that can be taken; else why none can.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a look has found out and locked, in one place"
    )]
    fn next<'c>(
        &self,
        tx: &mut Tx<'_>,
        policy: &Policy,
        routes: impl Iterator<Item = &'c Arc<Channel>>,
        conversations: &[Conversation],
        contact: Option<ContactId>,
        message: &Message,
        terms: Option<&Terms>,
    ) -> Result<Result<Next, String>, StoreError> {
        let Some(contact) = contact else {
            return Ok(Err("the contact is not known any more".to_owned()));
        };
        let identities: Vec<Identity> = tx.identities_of_contact(contact)?;
        let fallback = terms.and_then(|terms| terms.fallback.as_ref());
        // What it said before a template took its place.
        let said = fallback
            .and_then(|fallback| fallback.taken.as_ref())
            .map(|taken| &taken.said);
        let said = said.unwrap_or(&message.content);
        let mut reasons = Vec::new();
        for channel in routes {
            let id = &channel.id;
            if let Some(why) = down(self.app, id) {
                reasons.push(why);
                continue;
            }
            if request::address_of(channel.kind, &channel.account, &identities).is_none() {
                reasons.push(format!("the contact has no address on channel `{id}`"));
                continue;
            }
            let Some(content) = worded(channel.kind, policy, said) else {
                reasons.push(format!("channel `{id}` cannot carry `{}`", said.kind()));
                continue;
            };
            let known = conversations.iter().find(|of| of.channel_id == *id);
            let window_ends_at = known.and_then(|of| of.window_ends_at);
            let template = fallback.map(|fallback| &fallback.template);
            let may_go = window::at_accept(
                channel.kind,
                message.sender,
                &content,
                template,
                window_ends_at,
                self.now,
            );
            if !may_go {
                reasons.push(format!("the window of channel `{id}` is closed"));
                continue;
            }
            return Ok(Ok(Next {
                channel: Arc::clone(channel),
                is_new: known.is_none(),
                conversation: known
                    .cloned()
                    .unwrap_or_else(|| Conversation::new(self.app.ids.next(), id.clone(), contact, self.now)),
                content,
            }));
        }
        Ok(Err(if reasons.is_empty() {
            "the policy has no further route".to_owned()
        } else {
            reasons.join("; ")
        }))
    }

    fn leave(
        &mut self,
        tx: &mut Tx<'_>,
        message: &mut Message,
        leave: Leave,
        next: &ChannelId,
        reason: &str,
    ) -> Result<(), StoreError> {
        match leave {
            Leave::AsItIs => Ok(()),
            Leave::Withdraw => self.withdraw(tx, message, format!("it went on by channel `{next}`: {reason}")),
            Leave::GiveUp => {
                tx.remove_entries(&[message.id])?;
                // Without a time of failure, since it may have arrived: what Meta still says shows.
                message.status = Status::Failed;
                message.failure = Some(Failure::ours(format!(
                    "it is not known whether it was taken; it went on by channel `{next}`, and may have arrived"
                )));
                self.changed(tx, message)
            }
        }
    }

    fn withdraw(&mut self, tx: &mut Tx<'_>, message: &mut Message, why: String) -> Result<(), StoreError> {
        tx.remove_entries(&[message.id])?;
        message.status = Status::Cancelled;
        message.failure = Some(Failure::ours(why));
        self.changed(tx, message)
    }

    fn changed(&mut self, tx: &mut Tx<'_>, message: &Message) -> Result<(), StoreError> {
        tx.update_messages(&[message])?;
        self.changes.push(self.row(message, Change::status_of(message)));
        self.channels.push(message.channel_id.clone());
        Ok(())
    }

    fn row(&self, message: &Message, change: Change) -> NewStreamRow {
        NewStreamRow {
            at: self.now,
            channel_id: Some(message.channel_id.clone()),
            event_id: None,
            changes: vec![change],
        }
    }

    /// Writes the message of a new leg; answers with its id.
    fn keep(
        &mut self,
        tx: &mut Tx<'_>,
        next: Next,
        before: &Message,
        terms: Option<Terms>,
        priority: Option<i64>,
        expires_at: Option<Millis>,
    ) -> Result<MessageId, StoreError> {
        let Next {
            channel,
            mut conversation,
            is_new,
            content,
        } = next;
        let usual = Priority::usual(
            terms.as_ref().map_or(Purpose::Service, |terms| terms.purpose),
            conversation.window_is_open(self.now),
        );
        let message = Message {
            id: self.app.ids.next(),
            channel_id: channel.id.clone(),
            conversation_id: conversation.id,
            content,
            external_id: None,
            reply_to: None,
            status: Status::Queued,
            receipts: Receipts::default(),
            failure: None,
            occurred_at: self.now,
            created_at: self.now,
            maybe_duplicate: false,
            ..before.clone()
        };
        let lasts_until = self.now + sender::millis(self.app.config.sending.expires_after);
        let scheduled = Scheduled {
            message_id: message.id,
            channel_id: channel.id.clone(),
            conversation_id: conversation.id,
            priority: priority.unwrap_or(usual as i64),
            due_at: self.now,
            expires_at: expires_at.unwrap_or(lasts_until),
            queued_at: self.now,
        };
        let position = conversation.next_position;
        conversation.next_position += 1;
        conversation.note(&message, false);
        if is_new {
            tx.insert_conversations(&[&conversation])?;
        } else {
            tx.update_conversations(&[&conversation])?;
        }
        tx.insert_messages(&[&message])?;
        tx.insert_terms(
            terms
                .map(|terms| Terms {
                    message_id: message.id,
                    channel_id: channel.id.clone(),
                    expires_at: scheduled.expires_at,
                    fallback: terms
                        .fallback
                        .filter(|_| channel.kind == ChannelKind::WhatsApp)
                        .map(|fallback| Fallback {
                            taken: None,
                            ..fallback
                        }),
                    ..terms
                })
                .as_slice(),
        )?;
        tx.insert_outbox(&scheduled.entry(position, None))?;
        let created = Change::MessageCreated {
            message: message.id,
            conversation: conversation.id,
        };
        self.changes.push(self.row(&message, created));
        self.channels.push(channel.id.clone());
        Ok(message.id)
    }
}

/// What is said on a further route: what the contact is told about it, where there is room, and what was said. `None` if the product cannot
/// carry it.
fn worded(kind: ChannelKind, policy: &Policy, said: &Content) -> Option<Content> {
    let mut told = said.clone();
    if let Some(words) = &policy.told {
        match &mut told {
            Content::Text { text, .. } | Content::QuickReplies { text, .. } => *text = format!("{words}\n\n{text}"),
            Content::Image(media) => {
                let caption = media.caption.take();
                media.caption = Some(caption.map_or_else(|| words.clone(), |caption| format!("{words}\n\n{caption}")));
            }
            _ => {}
        }
    }
    [told, said.clone()]
        .into_iter()
        .find(|content| request::check(kind, content).is_empty())
}
