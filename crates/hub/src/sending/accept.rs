//! Takes messages for sending: everything that can be known wrong is refused here, the rest is kept in one transaction.
//!
//! Of each message everything is looked up and checked before anything is written, so that in a batch one that is refused leaves its
//! neighbours, which are kept by the same transaction, as they are.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;

use crate::app::App;
use crate::channels::Channel;
use crate::channels::model::ChannelKind;
use crate::channels::templates::verify::{self, Refusal, Verified};
use crate::conversations::consent::model::{Consents, Statement};
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{ChannelId, Conversation, Identity, Message, Millis, Receipts, Sender, Status};
use crate::ids::{ContactId, ConversationId, MessageId};
use crate::media::outbound;
use crate::sending::model::{Fallback, Priority, Purpose, Scheduled, Terms};
use crate::sending::recipient::{self, Found, Newcomer};
use crate::sending::request::{self, Fault};
use crate::sending::route::UnknownPolicy;
use crate::sending::route::model::{Leg, Policy, further};
use crate::sending::{comments, route, window};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx, UnitError};
use crate::stream::model::Change;

/// How far ahead a message can be scheduled.
pub const AHEAD_MAX: Duration = Duration::from_hours(366 * 24);
/// How old a message may be that is answered or reacted to on WhatsApp (reference `whatsapp.md` 9.1, 9.2).
const REFERRED_AGE_MAX: Duration = Duration::from_hours(30 * 24);
/// How many messages of a batch are kept by one transaction.
const UNIT_MAX: usize = 100;

/// A message that somebody wants sent.
#[derive(Debug, Clone)]
pub struct Order {
    /// By what way.
    pub by: By,
    /// To whom.
    pub to: To,
    /// What.
    pub content: Content,
    /// On whose behalf.
    pub sender: Sender,
    /// Which message it answers.
    pub reply_to: Option<MessageId>,
    /// What it is for.
    pub purpose: Purpose,
    /// How urgent it is; `None`: as follows from the purpose and the window.
    pub priority: Option<Priority>,
    /// Not before.
    pub send_at: Option<Millis>,
    /// Not after.
    pub expires_at: Option<Millis>,
    /// What to send in its place where the window has closed.
    pub fallback: Option<Template>,
    /// The policy that it follows where its way does not serve; `None`: the usual one, if there is one; `none`: no other way is wanted.
    pub route: Option<String>,
    /// A document of the caller's own.
    pub metadata: Option<String>,
    /// Taken also while sending is stopped: it waits.
    pub queue: bool,
    /// The same key with the same order is one message. Of several, the first one that came before says which.
    pub idempotency: Vec<Idempotency>,
}

/// By what way a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// By this channel.
    Channel(ChannelId),
    /// By the channel of the conversation that it is for.
    Conversation,
    /// By the channel that suits best: see [`recipient::find`].
    Auto,
}

/// What makes two requests one.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// Who asks.
    pub caller: String,
    /// The key that they gave.
    pub key: String,
    /// Of the request's body.
    pub fingerprint: Vec<u8>,
    /// Whether it says that a request came before. Else it is noted alone, for requests to come, unless one before has noted it.
    pub decides: bool,
}

impl Idempotency {
    /// With the fingerprint of a body.
    pub fn new(caller: &str, key: &str, body: &[u8]) -> Self {
        let fingerprint = digest::digest(&digest::SHA256, body).as_ref().to_vec();
        Self {
            caller: caller.to_owned(),
            key: key.to_owned(),
            fingerprint,
            decides: true,
        }
    }
}

/// A recipient, as the caller names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// A phone number, business-scoped user id, or IGSID.
    Address(String),
    /// A contact that is known.
    Contact(ContactId),
    /// A conversation that is known.
    Conversation(ConversationId),
    /// Whoever wrote a comment.
    Comment(MessageId),
}

/// A message that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The message.
    pub message_id: MessageId,
    /// The same request came before, and this is what it was answered.
    pub repeated: bool,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// There is no such channel.
    #[error("there is no channel `{0}`")]
    UnknownChannel(String),
    /// The channel can only receive.
    #[error("channel `{0}` has no access token")]
    ChannelNotUsable(ChannelId),
    /// There is no such policy.
    #[error("there is no policy `{0}`")]
    UnknownRoute(String),
    /// Sending is stopped: altogether, or on this channel.
    #[error("sending is stopped")]
    OutboundStopped(Option<ChannelId>),
    /// No channel can send.
    #[error("no channel can send")]
    NoChannel,
    /// The recipient cannot be one of this channel's.
    #[error("{0}")]
    InvalidRecipient(String),
    /// There is no such contact or conversation, or it cannot be reached by this channel.
    #[error("{0}")]
    UnknownRecipient(String),
    /// The content breaks a limit.
    #[error("the content cannot be sent")]
    Content(Vec<Fault>),
    /// The message that is to be answered, or reacted to, cannot be.
    #[error("the message that it refers to cannot be referred to")]
    Refers(Fault),
    /// The comment cannot be answered so.
    #[error(transparent)]
    Comment(#[from] comments::Refusal),
    /// The contact has not written lately, so that only a template may be sent.
    #[error("the window is closed")]
    WindowClosed {
        /// Where a template could help.
        kind: ChannelKind,
    },
    /// The contact does not want it, and has said so.
    #[error("{}", .0.told())]
    OptedOut(Box<Statement>),
    /// A template stands ready that the channel's product does not have, or for a message that needs none.
    #[error("the fallback cannot be sent")]
    Fallback(Vec<Fault>),
    /// The template is not there, not approved, or does not take these values.
    #[error("the template cannot be sent: {}", .0.detail)]
    Template(Refusal),
    /// The time by which it must be sent is before the one at which it may be sent, or has passed already.
    #[error("expiresAt is over before the message may be sent")]
    Expired,
    /// The time from which it may be sent is too far away, or not in the future.
    #[error("sendAt is out of bounds")]
    SendAt,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnitError for AcceptError {
    fn store_error(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self {
            Some(error)
        } else {
            None
        }
    }
}

/// Takes a message; once this returns, it will be sent, or its failure shown.
pub async fn accept(app: &App, order: Order) -> Result<Accepted, AcceptError> {
    let answers = accept_all(app, vec![order]).await;
    answers.into_iter().next().unwrap_or(Err(StoreError::Closed.into()))
}

/// Takes many messages, in few transactions; answers for each one, in their order. One that is refused does not stop the others.
pub async fn accept_all(app: &App, orders: Vec<Order>) -> Vec<Result<Accepted, AcceptError>> {
    let mut answers = Vec::with_capacity(orders.len());
    let mut orders = orders.into_iter();
    loop {
        let acceptors: Vec<Acceptor> = orders
            .by_ref()
            .take(UNIT_MAX)
            .map(|order| Acceptor {
                app: app.clone(),
                now: app.clock.now_millis(),
                message_id: app.ids.next(),
                order,
            })
            .collect();
        if acceptors.is_empty() {
            return answers;
        }
        let count = acceptors.len();
        match app.store.write(move |tx| keep_unit(tx, &acceptors)).await {
            Ok(unit) => {
                for channel in &unit.channels {
                    app.senders.nudge(channel);
                }
                if !unit.channels.is_empty() {
                    app.stream.nudge();
                }
                answers.extend(unit.answers);
            }
            Err(error) => answers.extend((0..count).map(|_| Err(AcceptError::Store(error.again())))),
        }
    }
}

/// What became of the messages that one transaction was for.
struct Unit {
    answers: Vec<Result<Accepted, AcceptError>>,
    channels: Vec<ChannelId>,
}

fn keep_unit(tx: &mut Tx<'_>, acceptors: &[Acceptor]) -> Result<Unit, StoreError> {
    let mut unit = Unit {
        answers: Vec::with_capacity(acceptors.len()),
        channels: Vec::new(),
    };
    let mut told = Vec::new();
    let mut stale: Vec<String> = Vec::new();
    for acceptor in acceptors {
        let answer = match acceptor.plan(tx) {
            Ok(Plan::Repeated(message_id)) => {
                acceptor.note_repeat(tx, message_id)?;
                Ok(Accepted {
                    message_id,
                    repeated: true,
                })
            }
            Ok(Plan::New(planned)) => {
                told.extend(acceptor.keep(tx, &planned)?);
                let channel = planned.message.channel_id;
                if !unit.channels.contains(&channel) {
                    unit.channels.push(channel);
                }
                Ok(Accepted {
                    message_id: acceptor.message_id,
                    repeated: false,
                })
            }
            Err(AcceptError::Store(error)) => return Err(error),
            Err(refused) => Err(refused),
        };
        if let Err(AcceptError::Template(Refusal {
            stale: Some(account), ..
        })) = &answer
            && !stale.contains(account)
        {
            stale.push(account.clone());
        }
        unit.answers.push(answer);
    }
    // What is known of the templates may be out of date: they are read anew.
    for account in &stale {
        let now = acceptors.first().map_or(0, |acceptor| acceptor.now);
        tx.want_template_sync(account, now)?;
    }
    tx.insert_stream(&told)?;
    Ok(unit)
}

/// By what the contact of a conversation can be reached.
fn identities_of(
    tx: &mut Tx<'_>,
    conversation: &Conversation,
    newcomer: Option<&Newcomer>,
) -> Result<Vec<Identity>, StoreError> {
    match newcomer {
        Some(newcomer) => Ok(vec![newcomer.identity().clone()]),
        None => tx.identities_of_contact(conversation.contact_id),
    }
}

struct Acceptor {
    app: App,
    now: Millis,
    message_id: MessageId,
    order: Order,
}

/// What is to be done about an order.
enum Plan {
    /// Nothing: it came before, and is this message.
    Repeated(MessageId),
    New(Box<Planned>),
}

/// Everything that is to be written.
struct Planned {
    newcomer: Option<Newcomer>,
    conversation: Conversation,
    is_new: bool,
    message: Message,
    terms: Option<Terms>,
    /// The first leg of its way, if it follows a policy.
    leg: Option<Leg>,
    /// Due when it may be sent.
    scheduled: Scheduled,
}

/// What the definitions of a message's templates say of it, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
struct Templates {
    /// It is a code to log in with.
    is_for_codes: bool,
    /// It is advertising, whatever its sender says that it is for.
    advertises: bool,
    /// The template that stands ready for it is advertising.
    fallback_advertises: bool,
}

impl Acceptor {
    /// Looks everything up and checks it. Writes nothing.
    fn plan(&self, tx: &mut Tx<'_>) -> Result<Plan, AcceptError> {
        if let Some(earlier) = self.earlier_answer(tx)? {
            return Ok(Plan::Repeated(earlier));
        }
        let order = &self.order;
        let found = recipient::find(tx, &self.app, order, self.now)?;
        let policy = route::followed(&self.app, order.route.as_deref(), &found.asked)
            .map_err(|UnknownPolicy(name)| AcceptError::UnknownRoute(name))?;
        // Elsewhere there is no message to do it to.
        let policy = policy.filter(|_| !order.content.is_aside() && order.content.answers_comment().is_none());
        // As the caller knows it: what is wrong with it depends on no switch.
        self.check_fallback(found.asked.kind)?;
        let (found, policy, email_first) = self.with_email_first(tx, found, policy)?;
        let Found {
            asked,
            channel,
            conversation,
            is_new,
            newcomer,
        } = found;
        let kind = channel.kind;
        if channel.credentials.is_none() {
            return Err(AcceptError::ChannelNotUsable(channel.id.clone()));
        }
        let routes = policy
            .as_ref()
            .map_or_else(Vec::new, |policy| route::channels_of(&self.app, policy, &asked.id));
        self.refuse_while_stopped(tx, &channel, &routes, &conversation, newcomer.as_ref())?;
        let mut faults = request::check(kind, &order.content);
        if faults.is_empty() {
            faults = outbound::check(tx, &self.app, kind, &order.content)?;
        }
        if !faults.is_empty() {
            return Err(AcceptError::Content(faults));
        }
        // A template is with the number that it is sent by, or was asked for where e-mail comes first.
        let keeper = if channel.kind == ChannelKind::Email {
            &asked
        } else {
            &channel
        };
        let templates = self.check_templates(tx, keeper)?;
        if templates.is_for_codes {
            Self::refuse_user_ids(tx, &channel, &conversation, newcomer.as_ref())?;
        }
        let purpose = if templates.advertises {
            Purpose::Marketing
        } else {
            order.purpose
        };
        // What its template may say in its place has to be wanted too.
        let needs_consent_for = if templates.fallback_advertises {
            Purpose::Marketing
        } else {
            purpose
        };
        if newcomer.is_none() {
            self.refuse_opted_out(tx, &conversation, needs_consent_for)?;
        }
        let window_ends_at = conversation.window_ends_at;
        let fallback = order.fallback.as_ref();
        if !window::at_accept(kind, order.sender, &order.content, fallback, window_ends_at, self.now) {
            return Err(AcceptError::WindowClosed { kind });
        }
        let (due_at, expires_at) = self.times()?;
        let comment = match order.content.answers_comment() {
            Some(_) => Some(comments::answerable(tx, &order.content, due_at)??),
            None => None,
        };
        let usual = Priority::usual(purpose, conversation.window_is_open(self.now));
        let priority = order.priority.unwrap_or(usual) as i64;
        let is_usual = needs_consent_for == Purpose::Service && order.priority.is_none() && order.fallback.is_none();
        // What it answers was said on the channel that was asked for, and cannot be quoted on another one.
        let message = self.message(tx, kind, &conversation, asked.id == channel.id, comment)?;
        let terms = (!is_usual).then(|| Terms {
            message_id: message.id,
            channel_id: channel.id.clone(),
            purpose: needs_consent_for,
            priority,
            expires_at,
            fallback: order
                .fallback
                .clone()
                .map(|template| Fallback { template, taken: None }),
        });
        let scheduled = Scheduled {
            message_id: message.id,
            channel_id: channel.id.clone(),
            conversation_id: conversation.id,
            priority,
            due_at,
            expires_at,
            queued_at: self.now,
        };
        let leg = policy.map(|policy| Leg {
            expires_at: order.expires_at,
            email_first,
            asked: (asked.id != channel.id).then(|| asked.id.clone()),
            ..Leg::first(message.id, channel.id.clone(), &policy, due_at)
        });
        Ok(Plan::New(Box::new(Planned {
            newcomer,
            conversation,
            is_new,
            message,
            terms,
            leg,
            scheduled,
        })))
    }

    /// Writes what was planned; answers with what to tell of it.
    fn keep(&self, tx: &mut Tx<'_>, planned: &Planned) -> Result<Option<NewStreamRow>, StoreError> {
        if let Some(newcomer) = &planned.newcomer {
            newcomer.keep(tx)?;
        }
        let mut conversation = planned.conversation.clone();
        let position = conversation.next_position;
        let waits_for_its_time = planned.scheduled.due_at > self.now;
        if !waits_for_its_time {
            conversation.next_position += 1;
        }
        if !planned.message.content.is_aside() {
            conversation.note(&planned.message, false);
        }
        if let Content::PrivateReply(answer) = &planned.message.content {
            conversation.answered_comment = Some(answer.message_id);
            tx.set_private_reply(answer.message_id, planned.message.id)?;
        }
        if planned.is_new {
            tx.insert_conversations(&[&conversation])?;
        } else {
            tx.update_conversations(&[&conversation])?;
        }
        tx.insert_messages(&[&planned.message])?;
        outbound::note(tx, &planned.message)?;
        tx.insert_terms(planned.terms.as_slice())?;
        if let Some(leg) = &planned.leg {
            tx.insert_leg(leg)?;
        }
        if waits_for_its_time {
            tx.insert_scheduled(&planned.scheduled)?;
        } else {
            tx.insert_outbox(&planned.scheduled.entry(position, None))?;
        }
        let answer = self.message_id.to_string();
        for key in &self.order.idempotency {
            let is_first = tx.insert_idempotent_answer(&key.caller, &key.key, &key.fingerprint, &answer, self.now)?;
            if key.decides && !is_first {
                // Another request with this key was faster by a moment: this one is run again, and finds its answer.
                return Err(StoreError::Conflict(
                    "another request has the same Idempotency-Key".to_owned(),
                ));
            }
        }
        // What is done to another message shows there once it is done.
        Ok((!planned.message.content.is_aside()).then(|| NewStreamRow {
            at: self.now,
            channel_id: Some(conversation.channel_id.clone()),
            event_id: None,
            changes: vec![Change::MessageCreated {
                message: self.message_id,
                conversation: conversation.id,
            }],
        }))
    }

    fn earlier_answer(&self, tx: &mut Tx<'_>) -> Result<Option<MessageId>, AcceptError> {
        for key in self.order.idempotency.iter().filter(|key| key.decides) {
            let Some((fingerprint, answer)) = tx.idempotent_answer(&key.caller, &key.key)? else {
                continue;
            };
            if fingerprint != key.fingerprint {
                return Err(AcceptError::KeyReused);
            }
            // What a batch was answered as a whole is kept under its key, and is no message.
            return answer.parse().map(Some).map_err(|_| AcceptError::KeyReused);
        }
        Ok(None)
    }

    /// A request that is known by one of its keys is known by the others too from now on.
    fn note_repeat(&self, tx: &mut Tx<'_>, message_id: MessageId) -> Result<(), StoreError> {
        if self.order.idempotency.len() < 2 {
            return Ok(());
        }
        let answer = message_id.to_string();
        for key in &self.order.idempotency {
            tx.insert_idempotent_answer(&key.caller, &key.key, &key.fingerprint, &answer, self.now)?;
        }
        Ok(())
    }

    /// Refuses what would wait for somebody to start the channel; where another route of the policy sends, it goes by that.
    fn refuse_while_stopped(
        &self,
        tx: &mut Tx<'_>,
        channel: &Channel,
        routes: &[Arc<Channel>],
        conversation: &Conversation,
        newcomer: Option<&Newcomer>,
    ) -> Result<(), AcceptError> {
        if self.order.queue {
            return Ok(());
        }
        if !self.app.flags.outbound_enabled() {
            return Err(AcceptError::OutboundStopped(None));
        }
        if self.app.flags.channel_enabled(&channel.id) {
            return Ok(());
        }
        let identities = identities_of(tx, conversation, newcomer)?;
        let is_open = further(routes, |route| &route.id, &[], &channel.id)
            .iter()
            .any(|route| {
                let route = self.app.channels.sending_for(route);
                route.id != channel.id
                    && route::down(&self.app, &route.id).is_none()
                    && request::address_of(route.kind, &route.account, &identities).is_some()
            });
        if is_open {
            Ok(())
        } else {
            Err(AcceptError::OutboundStopped(Some(channel.id.clone())))
        }
    }

    /// Puts e-mail before the order of the policy, where the flag says so and the contact can be written to. Without a policy that is done for
    /// those alone who leave the choice of the channel to Tidings, and not for whoever wants no other way.
    fn with_email_first(
        &self,
        tx: &mut Tx<'_>,
        found: Found,
        policy: Option<Policy>,
    ) -> Result<(Found, Option<Policy>, bool), AcceptError> {
        let order = &self.order;
        if !self.app.flags.email_has_priority() || found.asked.kind == ChannelKind::Email {
            return Ok((found, policy, false));
        }
        let followed = match &policy {
            Some(policy) => Some(policy.clone()),
            None if order.by == By::Auto && order.route.is_none() => Some(Policy::built_in()),
            None => None,
        };
        let Some(followed) = followed else {
            return Ok((found, policy, false));
        };
        for channel in route::channels_of(&self.app, &followed, &found.asked.id) {
            if channel.kind == ChannelKind::Email
                && route::down(&self.app, &channel.id).is_none()
                && route::worded(channel.kind, None, &order.content).is_ok()
                && let Some(by_email) = recipient::by_email(tx, &self.app, &found, &channel, self.now)?
            {
                return Ok((by_email, Some(followed), true));
            }
        }
        Ok((found, policy, false))
    }

    /// Refuses what the contact does not want to be sent. Whoever wants no messages is answered within the window of what they have written
    /// since.
    fn refuse_opted_out(
        &self,
        tx: &mut Tx<'_>,
        conversation: &Conversation,
        purpose: Purpose,
    ) -> Result<(), AcceptError> {
        let contact = conversation.contact_id;
        let consents = Consents::of(tx.standing_consent_statements(&[contact])?);
        let wrote_at = conversation.may_be_answered_since(self.now);
        match consents.forbids(contact, purpose, wrote_at) {
            None => Ok(()),
            Some(statement) => Err(AcceptError::OptedOut(Box::new(statement.clone()))),
        }
    }

    /// Holds the template, and the one that stands ready, against what is known of them; answers with what that says of the message.
    fn check_templates(&self, tx: &mut Tx<'_>, channel: &Channel) -> Result<Templates, AcceptError> {
        let order = &self.order;
        let said = if let Content::Template(template) = &order.content {
            Some(template)
        } else {
            None
        };
        let mut known = Templates::default();
        let waits = order.queue || order.send_at.is_some();
        let ready = order
            .fallback
            .as_ref()
            .map(|template| ("fallbackTemplate", template, true));
        for (field, template, may_wait) in said
            .map(|template| ("content", template, waits))
            .into_iter()
            .chain(ready)
        {
            match verify::verify(tx, channel, template, may_wait, self.now)? {
                Verified::Unknown => {}
                Verified::Fits(definition) if field == "content" => {
                    known.is_for_codes = definition.is_authentication();
                    known.advertises = definition.is_marketing();
                }
                Verified::Fits(definition) => known.fallback_advertises = definition.is_marketing(),
                Verified::Refused(mut refusal) => {
                    for fault in &mut refusal.faults {
                        fault.field = format!("{field}.{}", fault.field);
                    }
                    return Err(AcceptError::Template(refusal));
                }
            }
        }
        Ok(known)
    }

    /// Codes to log in with go to phone numbers alone (reference `whatsapp.md` 6.4).
    fn refuse_user_ids(
        tx: &mut Tx<'_>,
        channel: &Channel,
        conversation: &Conversation,
        newcomer: Option<&Newcomer>,
    ) -> Result<(), AcceptError> {
        let identities = identities_of(tx, conversation, newcomer)?;
        let address = request::address_of(channel.kind, &channel.account, &identities);
        if matches!(address, Some(request::Address::UserId(_))) {
            let detail = "must be a phone number: an authentication template does not go to a business-scoped user id";
            return Err(AcceptError::InvalidRecipient(detail.to_owned()));
        }
        Ok(())
    }

    fn check_fallback(&self, kind: ChannelKind) -> Result<(), AcceptError> {
        let Some(template) = &self.order.fallback else {
            return Ok(());
        };
        let fault = |detail: &str| vec![Fault::new("fallbackTemplate", detail)];
        let faults = match (&self.order.content, kind) {
            (Content::Template(_), _) => fault("is for free-form messages: this one is a template already"),
            (Content::CommentReply(_) | Content::PrivateReply(_), _) => {
                fault("is for messages: a template does not answer a comment")
            }
            (Content::Reaction(_), _) => fault("is for messages: a template does not stand in for a reaction"),
            // Which channel it would be was not known to whoever asked.
            (_, ChannelKind::Instagram) if self.order.by == By::Auto => Vec::new(),
            (_, ChannelKind::Instagram | ChannelKind::Email) => fault("can be sent on WhatsApp only: leave it out"),
            (_, ChannelKind::WhatsApp) => {
                let mut faults = request::check(kind, &Content::Template(template.clone()));
                for fault in &mut faults {
                    fault.field = fault.field.replacen("content", "fallbackTemplate", 1);
                }
                faults
            }
        };
        if faults.is_empty() {
            Ok(())
        } else {
            Err(AcceptError::Fallback(faults))
        }
    }

    /// When it is due, and when it expires.
    fn times(&self) -> Result<(Millis, Millis), AcceptError> {
        let due_at = match self.order.send_at {
            None => self.now,
            Some(at) if at > self.now && at <= self.now + millis(AHEAD_MAX) => at,
            Some(_) => return Err(AcceptError::SendAt),
        };
        let expires_at = self
            .order
            .expires_at
            .unwrap_or_else(|| due_at.saturating_add(millis(self.app.config.sending.expires_after)));
        if expires_at <= due_at {
            return Err(AcceptError::Expired);
        }
        Ok((due_at, expires_at))
    }

    /// Meta's id of a message of the conversation that can still be answered or reacted to (reference `whatsapp.md` 9.1, 9.2).
    fn external_id_of(
        &self,
        tx: &mut Tx<'_>,
        kind: ChannelKind,
        conversation: &Conversation,
        id: MessageId,
        field: &str,
    ) -> Result<String, AcceptError> {
        let refused = |detail: &str| AcceptError::Refers(Fault::new(field, detail));
        let message = tx
            .message_by_id(id)?
            .filter(|message| message.conversation_id == conversation.id && !message.content.is_aside())
            .ok_or_else(|| refused("must be a message of this conversation"))?;
        if message.deleted_at.is_some() {
            return Err(refused("was taken back"));
        }
        if kind == ChannelKind::WhatsApp && message.occurred_at + millis(REFERRED_AGE_MAX) <= self.now {
            return Err(refused("is older than 30 days: WhatsApp does not know it any more"));
        }
        message
            .external_id
            .ok_or_else(|| refused("must be a message that Meta has given an id: this one was not sent yet"))
    }

    fn message(
        &self,
        tx: &mut Tx<'_>,
        kind: ChannelKind,
        conversation: &Conversation,
        quotes: bool,
        comment: Option<String>,
    ) -> Result<Message, AcceptError> {
        if comment.is_some() && self.order.reply_to.is_some() {
            let detail = "cannot be given with an answer to a comment: the comment is in `content.messageId`";
            return Err(AcceptError::Refers(Fault::new("replyTo", detail)));
        }
        let refers_to = match (&self.order.content, self.order.reply_to) {
            (Content::Reaction(_), Some(_)) => {
                let detail = "cannot be given with a reaction: the message is in `content.messageId`";
                return Err(AcceptError::Refers(Fault::new("replyTo", detail)));
            }
            (Content::Reaction(react), None) => Some((react.message_id, "content.messageId")),
            (_, reply_to) => reply_to.filter(|_| quotes).map(|id| (id, "replyTo")),
        };
        let reply_to = match refers_to {
            None => comment,
            Some((id, field)) => Some(self.external_id_of(tx, kind, conversation, id, field)?),
        };
        Ok(Message {
            id: self.message_id,
            channel_id: conversation.channel_id.clone(),
            conversation_id: conversation.id,
            outbound: true,
            sender: self.order.sender,
            content: self.order.content.clone(),
            external_id: None,
            reply_to,
            inert: false,
            status: Status::Queued,
            receipts: Receipts::default(),
            failure: None,
            occurred_at: self.now,
            created_at: self.now,
            edited_at: None,
            deleted_at: None,
            maybe_duplicate: false,
            metadata: self.order.metadata.clone(),
            event_id: None,
        })
    }
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
