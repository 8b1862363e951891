//! Takes a message for sending: everything that can be known wrong is refused here, the rest is kept in one transaction.

use std::time::Duration;

use aws_lc_rs::digest;
use tidings_meta::notification::Platform;

use crate::app::App;
use crate::channels::Channel;
use crate::conversations::content::Content;
use crate::conversations::model::{
    ChannelId, Contact, Conversation, Identity, IdentityKey, IdentityKind, Message, Millis, Receipts, Sender, Status,
};
use crate::conversations::phone::{self, PhoneNumber};
use crate::ids::{ContactId, ConversationId, MessageId};
use crate::sending::model::{EntryState, OutboxEntry, Priority, Wait};
use crate::sending::request::{self, Fault};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx, UnitError};
use crate::stream::model::Change;

/// A message that somebody wants sent.
#[derive(Debug, Clone)]
pub struct Order {
    /// By which channel; `None` with a conversation, which knows its own.
    pub channel: Option<ChannelId>,
    /// To whom.
    pub to: To,
    /// What.
    pub content: Content,
    /// On whose behalf.
    pub sender: Sender,
    /// Which message it answers.
    pub reply_to: Option<MessageId>,
    /// Not after.
    pub expires_at: Option<Millis>,
    /// A document of the caller's own.
    pub metadata: Option<String>,
    /// The same key with the same order is one message.
    pub idempotency: Option<Idempotency>,
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
        platform: Platform,
    },
    /// The time by which it must be sent has passed already.
    #[error("expiresAt has passed")]
    Expired,
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
    let acceptor = Acceptor {
        app: app.clone(),
        now: app.clock.now_millis(),
        message_id: app.ids.next(),
        order,
    };
    let (accepted, channel) = app.store.write(move |tx| acceptor.run(tx)).await?;
    if let Some(channel) = channel {
        app.senders.nudge(&channel);
        app.stream.nudge();
    }
    Ok(accepted)
}

struct Acceptor {
    app: App,
    now: Millis,
    message_id: MessageId,
    order: Order,
}

impl Acceptor {
    fn run(&self, tx: &mut Tx<'_>) -> Result<(Accepted, Option<ChannelId>), AcceptError> {
        if let Some(earlier) = self.earlier_answer(tx)? {
            return Ok((earlier, None));
        }
        let (channel, mut conversation, is_new) = self.conversation(tx)?;
        let channel_id = channel.id.clone();
        if channel.access_token.is_none() {
            return Err(AcceptError::ChannelNotUsable(channel_id));
        }
        let faults = request::check(channel.platform, &self.order.content);
        if !faults.is_empty() {
            return Err(AcceptError::Content(faults));
        }
        if request::needs_open_window(&self.order.content) && !conversation.window_is_open(self.now) {
            return Err(AcceptError::WindowClosed {
                platform: channel.platform,
            });
        }
        let lifetime = Duration::as_millis(&self.app.config.sending.expires_after);
        let expires_at = self
            .order
            .expires_at
            .unwrap_or(self.now + i64::try_from(lifetime).unwrap_or(i64::MAX / 2));
        if expires_at <= self.now {
            return Err(AcceptError::Expired);
        }
        let message = self.message(tx, &conversation)?;
        let entry = OutboxEntry {
            message_id: message.id,
            channel_id: channel_id.clone(),
            conversation_id: conversation.id,
            position: conversation.next_position,
            state: EntryState::Waiting,
            priority: if conversation.window_is_open(self.now) {
                Priority::Reply
            } else {
                Priority::Notification
            } as i64,
            due_at: self.now,
            expires_at,
            attempts: 0,
            attempt_id: None,
            waits_for: Wait::Turn,
            reason: None,
            queued_at: self.now,
        };
        conversation.next_position += 1;
        conversation.note(&message, false);
        if is_new {
            tx.insert_conversations(&[&conversation])?;
        } else {
            tx.update_conversations(&[&conversation])?;
        }
        tx.insert_messages(&[&message])?;
        tx.insert_outbox(&entry)?;
        if let Some(key) = &self.order.idempotency {
            let answer = message.id.to_string();
            if !tx.insert_idempotent_answer(&key.caller, &key.key, &key.fingerprint, &answer, self.now)? {
                // Another request with this key was faster by a moment: this one is run again, and finds its answer.
                return Err(StoreError::Conflict("another request has the same Idempotency-Key".to_owned()).into());
            }
        }
        tx.insert_stream(&[NewStreamRow {
            at: self.now,
            channel_id: Some(channel_id.clone()),
            event_id: None,
            changes: vec![Change::MessageCreated {
                message: message.id,
                conversation: conversation.id,
            }],
        }])?;
        Ok((
            Accepted {
                message_id: message.id,
                repeated: false,
            },
            Some(channel_id),
        ))
    }

    fn earlier_answer(&self, tx: &mut Tx<'_>) -> Result<Option<Accepted>, AcceptError> {
        let Some(key) = &self.order.idempotency else {
            return Ok(None);
        };
        let Some((fingerprint, answer)) = tx.idempotent_answer(&key.caller, &key.key)? else {
            return Ok(None);
        };
        if fingerprint != key.fingerprint {
            return Err(AcceptError::KeyReused);
        }
        let message_id = answer
            .parse()
            .map_err(|_| StoreError::corrupt(1, "holds no message id"))?;
        Ok(Some(Accepted {
            message_id,
            repeated: true,
        }))
    }

    fn channel(&self, id: &ChannelId) -> Result<&Channel, AcceptError> {
        self.app
            .channels
            .get(id)
            .ok_or_else(|| AcceptError::UnknownChannel(id.0.clone()))
    }

    /// The channel and conversation that the message goes out in, the latter locked; whether it is new.
    fn conversation(&self, tx: &mut Tx<'_>) -> Result<(&Channel, Conversation, bool), AcceptError> {
        if let To::Conversation(id) = self.order.to {
            let conversation = tx
                .lock_conversation(id)?
                .ok_or_else(|| AcceptError::UnknownRecipient(format!("there is no conversation `{id}`")))?;
            let channel = self.channel(&conversation.channel_id)?;
            if self.order.channel.as_ref().is_some_and(|wanted| *wanted != channel.id) {
                let detail = format!("conversation `{id}` is on channel `{}`", channel.id);
                return Err(AcceptError::InvalidRecipient(detail));
            }
            return Ok((channel, conversation, false));
        }
        let wanted = self
            .order
            .channel
            .as_ref()
            .ok_or_else(|| AcceptError::UnknownChannel(String::new()))?;
        let channel = self.channel(wanted)?;
        let contact = self.contact(tx, channel)?;
        let known = tx
            .lock_conversations(&[(channel.id.clone(), contact)])?
            .into_iter()
            .next();
        let is_new = known.is_none();
        let conversation =
            known.unwrap_or_else(|| Conversation::new(self.app.ids.next(), channel.id.clone(), contact, self.now));
        Ok((channel, conversation, is_new))
    }

    fn contact(&self, tx: &mut Tx<'_>, channel: &Channel) -> Result<ContactId, AcceptError> {
        match &self.order.to {
            To::Contact(id) => {
                let unknown = || AcceptError::UnknownRecipient(format!("there is no contact `{id}`"));
                let contact = tx.contact_by_id(*id)?.ok_or_else(unknown)?;
                let identities = tx.identities_of_contact(contact.id)?;
                if request::address_of(channel.platform, &channel.account, &identities).is_none() {
                    let detail = format!("contact `{id}` has no address on channel `{}`", channel.id);
                    return Err(AcceptError::UnknownRecipient(detail));
                }
                Ok(contact.id)
            }
            To::Address(text) => {
                let identity = identity(channel, text, self.now)?;
                if let Some((_, contact)) = tx
                    .contacts_by_identities(std::slice::from_ref(&identity.key))?
                    .into_iter()
                    .next()
                {
                    return Ok(contact.id);
                }
                let id: ContactId = self.app.ids.next();
                let contact = Contact {
                    id,
                    name: None,
                    name_at: 0,
                    username: None,
                    picture_url: None,
                    created_at: self.now,
                };
                let profile_due_at = (channel.platform == Platform::Instagram).then_some(self.now);
                tx.insert_contacts(&[(contact, profile_due_at)])?;
                tx.bind_identities(&[(identity, id)])?;
                Ok(id)
            }
            To::Conversation(_) => unreachable!("a conversation knows its contact"),
        }
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

/// Understands an address as one of the channel's.
fn identity(channel: &Channel, text: &str, now: Millis) -> Result<Identity, AcceptError> {
    let text = text.trim();
    let (kind, scope, value, shown) = match channel.platform {
        Platform::WhatsApp if is_user_id(text) => {
            (IdentityKind::UserId, String::new(), text.to_owned(), text.to_owned())
        }
        Platform::WhatsApp => {
            let number = PhoneNumber::parse(text).ok_or_else(|| {
                let detail = "must be a phone number with its country code, such as `+31612345678`, or a business-scoped user id";
                AcceptError::InvalidRecipient(detail.to_owned())
            })?;
            let digits = number.digits().to_owned();
            (IdentityKind::Phone, String::new(), phone::compared(&digits), digits)
        }
        Platform::Instagram
            if !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (
                IdentityKind::Igsid,
                channel.account.clone(),
                text.to_owned(),
                text.to_owned(),
            )
        }
        Platform::Instagram => {
            let detail = "must be an Instagram-scoped id: the digits that Meta's webhooks give as `sender.id`";
            return Err(AcceptError::InvalidRecipient(detail.to_owned()));
        }
    };
    // An address that a caller named is not yet one that Meta has used: what Meta writes later is taken in its place.
    let seen_at = now.min(0);
    Ok(Identity {
        key: IdentityKey { kind, scope, value },
        shown,
        seen_at,
    })
}

/// `CC.…` (reference `whatsapp.md` 6.1).
fn is_user_id(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else {
        return false;
    };
    let rest = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&rest.len())
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::is_user_id;

    #[test]
    fn user_ids_are_told_from_phone_numbers() {
        assert!(is_user_id("GB.48201937562840117365"));
        assert!(is_user_id("GB.ENT.90217744530128866104"));
        for text in ["+447700900123", "gb.123", "GBR.123", "GB.", "GB.12-3", "GB"] {
            assert!(!is_user_id(text), "{text}");
        }
    }
}
