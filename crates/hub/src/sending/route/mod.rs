//! Routes: where a message goes on when the way that it took does not serve.
//!
//! A message that follows a policy has *legs*. The first is the message that was accepted; each further one is a message of its own on the
//! next channel of the policy, with a conversation, a window, an entry in the outbox and statuses of its own, so that what is said about one
//! leg is never taken for another's. [`model`] judges a leg; [`tend`] looks at those that are due, and at those whose channel sends nothing.
//!
//! Guarantee: of two legs Tidings itself never sends both. What still waits on the old leg is withdrawn in the unit that makes the new one;
//! what is being sent, or of unknown outcome, is waited for, as long as the policy says, or, where its channel sends nothing, until its time is
//! up; it goes on marked as what may be a double. What Meta has and delivers after all is told as late.
//!
//! Where the settings name no policy `default`, messages by WhatsApp follow the built-in one as soon as there is another route at all: a backup
//! of their channel, or e-mail. Then nearly every message has a leg of which nothing but good is told, so those are looked at all at once
//! (`tell_of_progress`), and only the others one by one.

pub mod model;

use crate::app::App;
use crate::channels::model::ChannelKind;
use crate::channels::templates::verify;
use crate::channels::{Channel, Standing};
use crate::conversations::content::Content;
use crate::conversations::model::{ChannelId, Conversation, Failure, Identity, Message, Millis, Receipts, Status};
use crate::ids::{ContactId, MessageId};
use crate::media::outbound;
use crate::sending::model::{EntryState, Fallback, Priority, Purpose, Scheduled, Terms};
use crate::sending::{request, sender, switch, window};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;
use model::{DEFAULT, Leave, Leg, LegState, NONE, Policy, Queued, RouteOrder, Success, Verdict, further, judge};
use std::collections::HashMap;
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
    named.or_else(|| Policy::unnamed(name))
}

/// There is no policy of this name.
#[derive(Debug)]
pub struct UnknownPolicy(pub String);

/// The policy that a message follows which asks for a channel: the one that it names, else the usual one; `None`: it goes by no other route.
pub fn followed(app: &App, named: Option<&str>, asked: &Channel) -> Result<Option<Policy>, UnknownPolicy> {
    match named {
        None => Ok(usual_policy(app, asked)),
        Some(NONE) => Ok(None),
        Some(name) => policy(app, name)
            .map(Some)
            .ok_or_else(|| UnknownPolicy(name.to_owned())),
    }
}

/// What messages follow that name no policy: `default` of the settings, if it has their channel. Where the settings have none, the built-in one,
/// by WhatsApp, and if there is another route.
fn usual_policy(app: &App, asked: &Channel) -> Option<Policy> {
    if let Some(policy) = app.config.routes.iter().find(|policy| policy.name == DEFAULT) {
        let has_it = channels_of(app, policy, &asked.id)
            .iter()
            .any(|channel| channel.id == asked.id);
        return has_it.then(|| policy.clone());
    }
    let built_in = Policy::built_in();
    let has_another = channels_of(app, &built_in, &asked.id)
        .iter()
        .any(|channel| channel.id != asked.id && channel.credentials.is_some());
    (asked.kind == ChannelKind::WhatsApp && has_another).then_some(built_in)
}

/// The channels of a policy for a message that asked for one of them, in its order. A kind stands for every channel of it that the policy does
/// not name.
pub fn channels_of(app: &App, policy: &Policy, asked: &ChannelId) -> Vec<Arc<Channel>> {
    let words = match &policy.order {
        RouteOrder::Named(words) => words,
        RouteOrder::OfChannel => return of_channel(app, asked),
    };
    let mut found: Vec<Arc<Channel>> = Vec::new();
    for word in words {
        if let Some(channel) = app.channels.get(&ChannelId(word.clone())) {
            found.push(channel);
        } else if let Some(kind) = ChannelKind::from_word(word) {
            found.extend(
                app.channels
                    .all()
                    .into_iter()
                    .filter(|channel| channel.kind == kind && !words.contains(&channel.id.0)),
            );
        }
    }
    found
}

/// A channel, its backups, and e-mail.
fn of_channel(app: &App, asked: &ChannelId) -> Vec<Arc<Channel>> {
    let (mut found, mut by_email) = (Vec::new(), Vec::new());
    let itself = app.channels.get(asked);
    let kind = itself.as_ref().map(|channel| channel.kind);
    for channel in app.channels.all() {
        if channel.id == *asked {
            continue;
        }
        if channel.kind == ChannelKind::Email {
            by_email.push(channel);
        } else if channel.backup_for.as_ref() == Some(asked) && kind.is_none_or(|kind| kind == channel.kind) {
            found.push(channel);
        }
    }
    itself.into_iter().chain(found).chain(by_email).collect()
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
        Standing::Switched => Some(format!("channel `{id}` is switched to its backup")),
        Standing::CircuitOpen => channel
            .circuit
            .as_ref()
            // Once it is half open a message is to be tried on it.
            .filter(|circuit| !circuit.is_half_open(app.clock.now_millis()))
            .map(|circuit| format!("the circuit of channel `{id}` is open: {}", circuit.reason)),
    }
}

/// Looks at what is due, and at what channels are at work on that send nothing.
pub async fn tend(app: &App) -> Result<(), StoreError> {
    switch::gather(app).await?;
    look_through(app, |tx, now| tx.routes_due(now, UNIT_MAX), Until::End).await?;
    for channel in app.channels.all() {
        if down(app, &channel.id).is_none() {
            continue;
        }
        let id = channel.id.clone();
        let at_work = move |tx: &mut Tx<'_>, now| tx.routes_at_work(&id, now - REST_MILLIS, UNIT_MAX);
        look_through(app, at_work, Until::End).await?;
        // For these there was no other route; and most often there still is none. So one unit of them is looked at, in turn, and more only as
        // long as that moves some: however many there are, they cost little, and keep nobody waiting.
        let id = channel.id.clone();
        let stranded = move |tx: &mut Tx<'_>, now| tx.routes_stranded(&id, now - REST_MILLIS, UNIT_MAX);
        look_through(app, stranded, Until::NothingMoves).await?;
    }
    Ok(())
}

/// How long to go on with what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until there is no more of it.
    End,
    /// Or until a unit of it has changed nothing.
    NothingMoves,
}

/// Looks at what is found, unit by unit, so many of them at most.
async fn look_through<F>(app: &App, find: F, until: Until) -> Result<(), StoreError>
where
    F: Fn(&mut Tx<'_>, Millis) -> Result<Vec<MessageId>, StoreError> + Clone + Send + 'static,
{
    for _ in 0..UNITS_MAX {
        let (now, find) = (app.clock.now_millis(), find.clone());
        let found = app.store.read(move |tx| find(tx, now)).await?;
        let is_last = found.len() < UNIT_MAX as usize;
        let has_changed = look_at(app, found, now).await?;
        if is_last || (until == Until::NothingMoves && !has_changed) {
            break;
        }
    }
    Ok(())
}

/// Answers with whether anything has changed that is told of.
async fn look_at(app: &App, mut origins: Vec<MessageId>, now: Millis) -> Result<bool, StoreError> {
    if origins.is_empty() {
        return Ok(false);
    }
    // In one order everywhere, so that two nodes cannot hold what the other one waits for.
    origins.sort_unstable();
    origins.dedup();
    let origins = tell_of_progress(app, origins, now).await?;
    if origins.is_empty() {
        return Ok(false);
    }
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
    Ok(!channels.is_empty())
}

/// Keeps how far those messages got, all at once, that are on their first way and go on it; answers with the others.
async fn tell_of_progress(app: &App, origins: Vec<MessageId>, now: Millis) -> Result<Vec<MessageId>, StoreError> {
    let unit = app.clone();
    app.store
        .write(move |tx| {
            // The first leg of a way is the message that was accepted itself.
            let messages = tx.lock_messages(&origins)?;
            let mut legs = tx.lock_legs_of_origins(&origins)?;
            let entries: HashMap<MessageId, EntryState> = (tx.lock_entries(&origins)?.into_iter())
                .map(|entry| (entry.message_id, entry.state))
                .collect();
            let mut others = origins.clone();
            let mut told = Vec::new();
            for of_origin in legs.chunk_by_mut(|leg, next| leg.origin_id == next.origin_id) {
                let [leg] = of_origin else { continue };
                let message = messages.iter().find(|message| message.id == leg.message_id);
                let policy = policy(&unit, &leg.policy);
                let (Some(message), Some(policy), true) = (message, policy, leg.state.is_at_work()) else {
                    continue;
                };
                let state = entries.get(&message.id).copied();
                // Whether the time of such a one is up takes more than that.
                if state == Some(EntryState::Unknown) {
                    continue;
                }
                let queued = state.map(|state| Queued { state, is_up: false });
                let down = down(&unit, &message.channel_id);
                let success = success(&unit, &policy, &message.channel_id);
                let after = policy.fallback_after;
                let verdict = judge(leg, message, queued, success, after, down.as_deref(), now);
                if matches!(verdict, Verdict::MoveOn { .. }) {
                    continue;
                }
                leg.looked_at = now;
                leg.follow(&verdict, message.status, state.is_some());
                others.retain(|other| *other != leg.origin_id);
                told.push(leg.clone());
            }
            tx.update_legs(&told)?;
            Ok::<_, StoreError>(others)
        })
        .await
}

/// One look at one message.
struct Way<'a> {
    app: &'a App,
    now: Millis,
    changes: Vec<NewStreamRow>,
    channels: Vec<ChannelId>,
    late: u64,
}

/// Why no route can be taken.
struct NoRoute {
    why: String,
    /// Only for now: one would serve, but sends nothing.
    may_pass: bool,
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
        let order = known
            .first()
            .map_or_else(Vec::new, |leg| channels_of(self.app, &policy, leg.asked()));
        let mut routes = order.clone();
        for route in order.iter().chain(&channels_of_legs(self.app, &known)) {
            // What has been put in a channel's place is looked at with it.
            let in_its_place = self.app.channels.sending_for(route);
            if in_its_place.id != route.id && !routes.iter().any(|other| other.id == in_its_place.id) {
                routes.push(in_its_place);
            }
        }
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
                    &order,
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
        order: &[Arc<Channel>],
        conversations: &[Conversation],
        contact: Option<ContactId>,
        legs: &mut [Leg],
        index: usize,
        message: &mut Message,
    ) -> Result<(), StoreError> {
        let entry = tx.lock_entry(message.id)?;
        let down = down(self.app, &message.channel_id);
        let success = success(self.app, policy, &message.channel_id);
        let leg = &mut legs[index];
        leg.looked_at = self.now;
        let queued = match &entry {
            Some(entry) => Some(Queued {
                state: entry.state,
                is_up: entry.state == EntryState::Unknown && tx.is_unknown_up(message.id, self.now)?,
            }),
            None => None,
        };
        let verdict = judge(
            leg,
            message,
            queued,
            success,
            policy.fallback_after,
            down.as_deref(),
            self.now,
        );
        leg.follow(&verdict, message.status, entry.is_some());
        match verdict {
            Verdict::Reached | Verdict::Ended | Verdict::Stay(_) => {}
            Verdict::MoveOn { reason, leave } => {
                let terms = tx
                    .terms_of_messages(&message.channel_id, &[message.id])?
                    .into_iter()
                    .next();
                let untaken = self.untaken(order, legs, &message.channel_id);
                let next = self.next(tx, policy, &untaken, conversations, contact, message, terms.as_ref())?;
                let leg = &mut legs[index];
                match next {
                    Err(NoRoute { why, may_pass }) => {
                        if leg.no_route.as_ref() != Some(&why) {
                            self.changes.push(self.row(message, Change::updated(message)));
                            self.channels.push(message.channel_id.clone());
                        }
                        // What waits for a channel that sends nothing is looked at as long as it does.
                        let is_looked_at = entry.is_some() && down.is_some();
                        let lasts = self.app.config.sending.expires_after;
                        let again_at = (may_pass && !is_looked_at)
                            .then(|| leg.again_at(lasts, self.now))
                            .flatten();
                        leg.strand(why, again_at, message.status, entry.is_some());
                    }
                    Ok(next) => {
                        leg.hand_on();
                        let expires_at = entry.as_ref().map(|entry| entry.expires_at).or(legs[0].expires_at);
                        let priority = entry.as_ref().map(|entry| entry.priority);
                        self.leave(tx, message, leave, &next.channel.id, &reason)?;
                        let leg = Leg {
                            number: legs.len() as i64,
                            expires_at: legs[0].expires_at,
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
        let success = success(self.app, policy, &channel);
        if legs[index].hear(status, success, self.now) {
            self.late += 1;
            self.changes
                .push(self.row(&messages[at], Change::updated(&messages[at])));
            self.channels.push(channel);
            for other in legs.iter_mut().filter(|leg| leg.state == LegState::Working) {
                let Some(message) = messages.iter_mut().find(|message| message.id == other.message_id) else {
                    continue;
                };
                let entry = tx.lock_entry(message.id)?.map(|entry| entry.state);
                if !other.gives_way(entry) {
                    continue;
                }
                if entry == Some(EntryState::Unknown) {
                    // It may have arrived, and need not be sent again to make sure.
                    tx.remove_entries(&[message.id])?;
                    message.status = Status::Failed;
                    message.failure = Some(Failure::ours(
                        "it is not known whether it was taken; an earlier route has delivered it after all",
                    ));
                    self.changed(tx, message)?;
                } else {
                    let why = "an earlier route has delivered it after all".to_owned();
                    self.withdraw(tx, message, why)?;
                }
                (other.state, other.due_at) = (LegState::Ended, None);
                tx.update_leg(other)?;
            }
        }
        tx.update_leg(&legs[index])
    }

    /// The routes that can still be taken, each channel that was switched by its backup; before all others the backup of the channel that
    /// the message is on.
    fn untaken(&self, order: &[Arc<Channel>], legs: &[Leg], from: &ChannelId) -> Vec<Arc<Channel>> {
        let mut untaken: Vec<Arc<Channel>> = Vec::new();
        let rest = further(order, |channel| &channel.id, legs, from);
        for channel in self.app.channels.get(from).iter().chain(rest) {
            let channel = self.app.channels.sending_for(channel);
            let is_taken = |id: &ChannelId| legs.iter().any(|leg| leg.channel_id == *id);
            if !is_taken(&channel.id) && !untaken.iter().any(|other| other.id == channel.id) {
                untaken.push(channel);
            }
        }
        untaken
    }

    /// The first route that can be taken; else why none can.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a look has found out and locked, in one place"
    )]
    fn next(
        &self,
        tx: &mut Tx<'_>,
        policy: &Policy,
        routes: &[Arc<Channel>],
        conversations: &[Conversation],
        contact: Option<ContactId>,
        message: &Message,
        terms: Option<&Terms>,
    ) -> Result<Result<Next, NoRoute>, StoreError> {
        let Some(contact) = contact else {
            return Ok(Err(NoRoute {
                why: "the contact is not known any more".to_owned(),
                may_pass: false,
            }));
        };
        let identities: Vec<Identity> = tx.identities_of_contact(contact)?;
        let fallback = terms.and_then(|terms| terms.fallback.as_ref());
        // What it said before a template took its place.
        let said = fallback
            .and_then(|fallback| fallback.taken.as_ref())
            .map(|taken| &taken.said);
        let said = said.unwrap_or(&message.content);
        let origin = self.app.channels.get(&message.channel_id);
        let left = origin.as_ref().map(|channel| channel.kind);
        let in_words = match &origin {
            Some(origin) => in_words(tx, origin, said)?,
            None => None,
        };
        let (mut reasons, mut may_pass) = (Vec::new(), false);
        for channel in routes {
            let id = &channel.id;
            if let Some(why) = down(self.app, id) {
                reasons.push(why);
                may_pass = true;
                continue;
            }
            if request::address_of(channel.kind, &channel.account, &identities).is_none() {
                reasons.push(format!("the contact has no address on channel `{id}`"));
                continue;
            }
            let told = left.and_then(|left| policy.told(left, channel.kind));
            let said = match &in_words {
                Some(words) if channel.kind == ChannelKind::Email => words,
                _ => said,
            };
            let content = match worded(channel.kind, told.as_deref(), said) {
                Ok(content) => content,
                Err(why) => {
                    reasons.push(format!("channel `{id}` cannot carry it: {why}"));
                    continue;
                }
            };
            if let Some(fault) = outbound::check(tx, self.app, channel.kind, &content)?.first() {
                reasons.push(format!("channel `{id}` cannot carry its file, which {}", fault.detail));
                continue;
            }
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
        let why = if reasons.is_empty() {
            "the policy has no further route".to_owned()
        } else {
            reasons.join("; ")
        };
        Ok(Err(NoRoute { why, may_pass }))
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
                // Without a time of failure, since it may have arrived: what Meta still says shows. What goes on says so, too.
                message.status = Status::Failed;
                message.maybe_duplicate = true;
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
        outbound::note(tx, &message)?;
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

/// How far a message has to get on a channel. E-mail tells nothing after it was taken.
fn success(app: &App, policy: &Policy, channel: &ChannelId) -> Success {
    let kind = app.channels.get(channel).map(|channel| channel.kind);
    if kind == Some(ChannelKind::Email) {
        Success::Accepted
    } else {
        policy.success
    }
}

fn channels_of_legs(app: &App, legs: &[Leg]) -> Vec<Arc<Channel>> {
    legs.iter()
        .filter_map(|leg| app.channels.get(&leg.channel_id))
        .collect()
}

/// A template as words, for a way that has no templates; `None` where its definition is not known, or it is none. Codes to log in with go to phone
/// numbers alone: who reads somebody's mail must not be able to log in as them.
fn in_words(tx: &mut Tx<'_>, channel: &Channel, said: &Content) -> Result<Option<Content>, StoreError> {
    let (Content::Template(template), Some(account)) = (said, &channel.business_account) else {
        return Ok(None);
    };
    let found = tx.template(account, &template.name, &template.language)?;
    let definition = found.filter(|definition| !definition.is_authentication());
    let words = definition.map(|definition| verify::fill(&definition, &template.components).text());
    Ok(words.filter(|words| !words.is_empty()).map(Content::text))
}

/// What is said on a further route: what the contact is told about it, where there is room, and what was said. Else why the product cannot
/// carry it.
pub fn worded(kind: ChannelKind, words: Option<&str>, said: &Content) -> Result<Content, String> {
    if said.is_aside() {
        return Err("there is no message there to put it on".to_owned());
    }
    if said.answers_comment().is_some() {
        return Err("a comment is answered by the account that it was made to".to_owned());
    }
    // What the caller has uploaded to Meta is there for one channel (reference `whatsapp.md` 9.2, `instagram.md` 3.2).
    if said.files().iter().any(|(_, media)| media.id.is_some()) {
        return Err(
            "its file is at Meta for another channel; give `link`, or `mediaId`, to have it follow a route".to_owned(),
        );
    }
    let mut told = said.clone();
    if let Some(words) = words {
        told.preface(words);
    }
    let mut why = String::new();
    for content in [told, said.clone()] {
        match request::check(kind, &content).into_iter().next() {
            None => return Ok(content),
            Some(fault) => why = format!("`{}` {}", fault.field, fault.detail),
        }
    }
    Err(why)
}
