//! Takes messages for sending: everything that can be known wrong is refused here, the rest is kept in one transaction.
//!
//! Of each message everything is looked up and checked before anything is written, so that in a batch one that is refused leaves its
//! neighbours, which are kept by the same transaction, as they are.

use std::time::Duration;

use aws_lc_rs::digest;

use crate::app::App;
use crate::channels::model::ChannelKind;
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{ChannelId, Conversation, Message, Millis, Receipts, Sender, Status};
use crate::ids::{ContactId, ConversationId, MessageId};
use crate::sending::model::{Fallback, Priority, Purpose, Scheduled, Terms};
use crate::sending::recipient::{self, Found, Newcomer};
use crate::sending::request::{self, Fault};
use crate::sending::route::model::{Leg, Policy};
use crate::sending::{route, window};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx, UnitError};
use crate::stream::model::Change;

/// How far ahead a message can be scheduled.
pub const AHEAD_MAX: Duration = Duration::from_hours(366 * 24);
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
    /// The policy that it follows where its way does not serve; `None`: the usual one, if there is one.
    pub route: Option<String>,
    /// A document of the caller's own.
    pub metadata: Option<String>,
    /// Taken also while sending is stopped: it waits.
    pub queue: bool,
    /// The same key with the same order is one message.
    pub idempotency: Option<Idempotency>,
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
}

impl Idempotency {
    /// With the fingerprint of a body.
    pub fn new(caller: &str, key: &str, body: &[u8]) -> Self {
        let fingerprint = digest::digest(&digest::SHA256, body).as_ref().to_vec();
        Self {
            caller: caller.to_owned(),
            key: key.to_owned(),
            fingerprint,
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
    /// The message that is to be answered is not in this conversation.
    #[error("the message to reply to is not in this conversation, or Meta has given it no id yet")]
    ReplyTo,
    /// The contact has not written lately, so that only a template may be sent.
    #[error("the window is closed")]
    WindowClosed {
        /// Where a template could help.
        kind: ChannelKind,
    },
    /// A template stands ready that the channel's product does not have, or for a message that needs none.
    #[error("the fallback cannot be sent")]
    Fallback(Vec<Fault>),
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
    for acceptor in acceptors {
        let answer = match acceptor.plan(tx) {
            Ok(Plan::Repeated(message_id)) => Ok(Accepted {
                message_id,
                repeated: true,
            }),
            Ok(Plan::New(planned)) => {
                told.push(acceptor.keep(tx, &planned)?);
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
        unit.answers.push(answer);
    }
    tx.insert_stream(&told)?;
    Ok(unit)
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
    /// What it follows where its way does not serve.
    policy: Option<Policy>,
    /// Due when it may be sent.
    scheduled: Scheduled,
}

impl Acceptor {
    /// Looks everything up and checks it. Writes nothing.
    fn plan(&self, tx: &mut Tx<'_>) -> Result<Plan, AcceptError> {
        if let Some(earlier) = self.earlier_answer(tx)? {
            return Ok(Plan::Repeated(earlier));
        }
        let order = &self.order;
        let Found {
            channel,
            conversation,
            is_new,
            newcomer,
        } = recipient::find(tx, &self.app, order, self.now)?;
        let policy = match &order.route {
            None => route::usual_policy(&self.app, &channel.id),
            Some(name) => Some(route::policy(&self.app, name).ok_or_else(|| AcceptError::UnknownRoute(name.clone()))?),
        };
        let kind = channel.kind;
        if channel.credentials.is_none() {
            return Err(AcceptError::ChannelNotUsable(channel.id.clone()));
        }
        self.refuse_while_stopped(&channel.id)?;
        let faults = request::check(kind, &order.content);
        if !faults.is_empty() {
            return Err(AcceptError::Content(faults));
        }
        self.check_fallback(kind)?;
        let window_ends_at = conversation.window_ends_at;
        let fallback = order.fallback.as_ref();
        if !window::at_accept(kind, order.sender, &order.content, fallback, window_ends_at, self.now) {
            return Err(AcceptError::WindowClosed { kind });
        }
        let (due_at, expires_at) = self.times()?;
        let usual = Priority::usual(order.purpose, conversation.window_is_open(self.now));
        let priority = order.priority.unwrap_or(usual) as i64;
        // Until when it is worth sending has to be known on every route.
        let is_bounded = policy.is_some() && order.expires_at.is_some();
        let is_usual =
            order.purpose == Purpose::Service && order.priority.is_none() && order.fallback.is_none() && !is_bounded;
        let message = self.message(tx, &conversation)?;
        let terms = (!is_usual).then(|| Terms {
            message_id: message.id,
            channel_id: channel.id.clone(),
            purpose: order.purpose,
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
        Ok(Plan::New(Box::new(Planned {
            newcomer,
            conversation,
            is_new,
            message,
            terms,
            policy,
            scheduled,
        })))
    }

    /// Writes what was planned; answers with what to tell of it.
    fn keep(&self, tx: &mut Tx<'_>, planned: &Planned) -> Result<NewStreamRow, StoreError> {
        if let Some(newcomer) = &planned.newcomer {
            newcomer.keep(tx)?;
        }
        let mut conversation = planned.conversation.clone();
        let position = conversation.next_position;
        let waits_for_its_time = planned.scheduled.due_at > self.now;
        if !waits_for_its_time {
            conversation.next_position += 1;
        }
        conversation.note(&planned.message, false);
        if planned.is_new {
            tx.insert_conversations(&[&conversation])?;
        } else {
            tx.update_conversations(&[&conversation])?;
        }
        tx.insert_messages(&[&planned.message])?;
        tx.insert_terms(planned.terms.as_slice())?;
        if let Some(policy) = &planned.policy {
            let (channel, begins_at) = (conversation.channel_id.clone(), planned.scheduled.due_at);
            tx.insert_leg(&Leg::first(self.message_id, channel, policy, begins_at))?;
        }
        if waits_for_its_time {
            tx.insert_scheduled(&planned.scheduled)?;
        } else {
            tx.insert_outbox(&planned.scheduled.entry(position, None))?;
        }
        if let Some(key) = &self.order.idempotency {
            let answer = self.message_id.to_string();
            if !tx.insert_idempotent_answer(&key.caller, &key.key, &key.fingerprint, &answer, self.now)? {
                // Another request with this key was faster by a moment: this one is run again, and finds its answer.
                return Err(StoreError::Conflict(
                    "another request has the same Idempotency-Key".to_owned(),
                ));
            }
        }
        Ok(NewStreamRow {
            at: self.now,
            channel_id: Some(conversation.channel_id.clone()),
            event_id: None,
            changes: vec![Change::MessageCreated {
                message: self.message_id,
                conversation: conversation.id,
            }],
        })
    }

    fn earlier_answer(&self, tx: &mut Tx<'_>) -> Result<Option<MessageId>, AcceptError> {
        let Some(key) = &self.order.idempotency else {
            return Ok(None);
        };
        let Some((fingerprint, answer)) = tx.idempotent_answer(&key.caller, &key.key)? else {
            return Ok(None);
        };
        if fingerprint != key.fingerprint {
            return Err(AcceptError::KeyReused);
        }
        // What a batch was answered as a whole is kept under its key, and is no message.
        answer.parse().map(Some).map_err(|_| AcceptError::KeyReused)
    }

    fn refuse_while_stopped(&self, channel: &ChannelId) -> Result<(), AcceptError> {
        if self.order.queue {
            Ok(())
        } else if !self.app.flags.outbound_enabled() {
            Err(AcceptError::OutboundStopped(None))
        } else if !self.app.flags.channel_enabled(channel) {
            Err(AcceptError::OutboundStopped(Some(channel.clone())))
        } else {
            Ok(())
        }
    }

    fn check_fallback(&self, kind: ChannelKind) -> Result<(), AcceptError> {
        let Some(template) = &self.order.fallback else {
            return Ok(());
        };
        let fault = |detail: &str| {
            vec![Fault {
                field: "fallbackTemplate".to_owned(),
                detail: detail.to_owned(),
            }]
        };
        let faults = match (&self.order.content, kind) {
            (Content::Template(_), _) => fault("is for free-form messages: this one is a template already"),
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

    fn message(&self, tx: &mut Tx<'_>, conversation: &Conversation) -> Result<Message, AcceptError> {
        let reply_to = match self.order.reply_to {
            None => None,
            Some(id) => {
                let answered = tx
                    .message_by_id(id)?
                    .filter(|message| message.conversation_id == conversation.id);
                Some(
                    answered
                        .and_then(|message| message.external_id)
                        .ok_or(AcceptError::ReplyTo)?,
                )
            }
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
