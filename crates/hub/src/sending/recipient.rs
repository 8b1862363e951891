//! Finds out by which channel, and in which conversation, a message goes out. Writes nothing.

use std::sync::Arc;

use crate::app::App;
use crate::channels::Channel;
use crate::channels::model::ChannelKind;
use crate::conversations::content::Content;
use crate::conversations::model::{
    ChannelId, Contact, Conversation, Identity, IdentityKey, IdentityKind, Millis, Venue,
};
use crate::conversations::phone::{self, PhoneNumber};
use crate::ids::{ContactId, MessageId};
use crate::sending::accept::{AcceptError, By, Order, To};
use crate::sending::comments::Refusal;
use crate::sending::{email, request, window};
use crate::store::{StoreError, Tx};

/// Where a message goes.
pub struct Found {
    /// The channel that was asked for, or that the conversation asked for is on.
    pub asked: Arc<Channel>,
    /// By this channel: the one that was asked for, or what sends in its place.
    pub channel: Arc<Channel>,
    /// In this conversation, which is locked unless it is new.
    pub conversation: Conversation,
    /// It is not kept yet.
    pub is_new: bool,
    /// The contact, if they are not kept yet.
    pub newcomer: Option<Newcomer>,
}

/// Somebody who was not known before.
#[derive(Debug, Clone)]
pub struct Newcomer {
    contact: Contact,
    profile_due_at: Option<Millis>,
    identity: Identity,
}

impl Newcomer {
    /// By what they are known.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Keeps them.
    pub fn keep(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.insert_contacts(&[(self.contact.clone(), self.profile_due_at)])?;
        tx.bind_identities(&[(self.identity.clone(), self.contact.id)])
    }
}

/// Who somebody is on a channel.
enum Person {
    Known(ContactId),
    New(Identity),
}

/// Finds channel, contact and conversation of an order.
///
/// With [`By::Auto`], of the channels that can send and on which the recipient has the address: the one whose window with them is open, of
/// several the one that stays open longest; else the first, in the order of their names, by which the message, or its fallback, could go.
/// Channels whose product cannot carry the content come last. A conversation stays on its own channel.
pub fn find(tx: &mut Tx<'_>, app: &App, order: &Order, now: Millis) -> Result<Found, AcceptError> {
    let channel = match (&order.by, &order.to) {
        (by, To::Comment(id)) => return whoever_commented(tx, app, order, by, *id, now),
        (by, To::Conversation(id)) => {
            let conversation = tx
                .lock_conversation(*id)?
                .ok_or_else(|| AcceptError::UnknownRecipient(format!("there is no conversation `{id}`")))?;
            if conversation.venue != Venue::Direct {
                let detail = format!(
                    "conversation `{id}` is one of comments: answer one of them, with `content.type` = `comment_reply` or `private_reply` and its `messageId`"
                );
                return Err(AcceptError::InvalidRecipient(detail));
            }
            let channel = named(app, &conversation.channel_id)?;
            if matches!(by, By::Channel(wanted) if *wanted != channel.id) {
                let detail = format!("conversation `{id}` is on channel `{}`", channel.id);
                return Err(AcceptError::InvalidRecipient(detail));
            }
            let backup = app.channels.sending_for(&channel);
            if backup.id != channel.id {
                let person = Person::Known(conversation.contact_id);
                let found = self::conversation(tx, app, backup, person, now)?;
                return Ok(Found {
                    asked: channel,
                    ..found
                });
            }
            return Ok(Found {
                asked: Arc::clone(&channel),
                channel,
                conversation,
                is_new: false,
                newcomer: None,
            });
        }
        (By::Channel(id), _) => named(app, id)?,
        (By::Conversation, _) => return Err(AcceptError::UnknownChannel(String::new())),
        (By::Auto, _) => return best(tx, app, order, now),
    };
    let backup = app.channels.sending_for(&channel);
    let person = person(tx, &backup, &order.to, now)?;
    let found = conversation(tx, app, backup, person, now)?;
    Ok(Found {
        asked: channel,
        ..found
    })
}

/// An answer to a comment goes out by the account that it was made to: in the comment's own conversation, or in the direct one with its author.
fn whoever_commented(
    tx: &mut Tx<'_>,
    app: &App,
    order: &Order,
    by: &By,
    id: MessageId,
    now: Millis,
) -> Result<Found, AcceptError> {
    if let By::Channel(wanted) = by {
        let faults = request::check(named(app, wanted)?.kind, &order.content);
        if !faults.is_empty() {
            return Err(AcceptError::Content(faults));
        }
    }
    let comment = tx.message_by_id(id)?.ok_or(Refusal::Unknown(id))?;
    let channel = named(app, &comment.channel_id)?;
    if matches!(by, By::Channel(wanted) if *wanted != channel.id) {
        let detail = format!("comment `{id}` is on channel `{}`", channel.id);
        return Err(AcceptError::InvalidRecipient(detail));
    }
    let thread = tx
        .conversation_by_id(comment.conversation_id)?
        .filter(|thread| thread.venue != Venue::Direct)
        .ok_or(Refusal::Unknown(id))?;
    if matches!(order.content, Content::PrivateReply(_)) {
        return conversation(tx, app, channel, Person::Known(thread.contact_id), now);
    }
    let conversation = tx.lock_conversation(thread.id)?.ok_or(Refusal::Unknown(id))?;
    Ok(Found {
        asked: Arc::clone(&channel),
        channel,
        conversation,
        is_new: false,
        newcomer: None,
    })
}

/// The same contact by e-mail; `None` if they have no address, or are not known yet.
pub fn by_email(
    tx: &mut Tx<'_>,
    app: &App,
    found: &Found,
    channel: &Arc<Channel>,
    now: Millis,
) -> Result<Option<Found>, AcceptError> {
    let contact = found.conversation.contact_id;
    if found.newcomer.is_some() {
        return Ok(None);
    }
    let identities = tx.identities_of_contact(contact)?;
    if request::address_of(channel.kind, &channel.account, &identities).is_none() {
        return Ok(None);
    }
    let by_email = conversation(tx, app, Arc::clone(channel), Person::Known(contact), now)?;
    Ok(Some(Found {
        asked: Arc::clone(&found.asked),
        ..by_email
    }))
}

fn named(app: &App, id: &ChannelId) -> Result<Arc<Channel>, AcceptError> {
    app.channels
        .get(id)
        .ok_or_else(|| AcceptError::UnknownChannel(id.0.clone()))
}

fn best(tx: &mut Tx<'_>, app: &App, order: &Order, now: Millis) -> Result<Found, AcceptError> {
    let mut found: Option<((u8, Millis), Arc<Channel>, Person)> = None;
    let mut refusal = None;
    for channel in app.channels.all() {
        // E-mail is chosen by name, or by a policy; and what sends in a channel's place is a channel of its own.
        if channel.credentials.is_none() || channel.kind == ChannelKind::Email || channel.switched.is_some() {
            continue;
        }
        let kind = channel.kind;
        let person = match person(tx, &channel, &order.to, now) {
            Ok(person) => person,
            Err(AcceptError::Store(error)) => return Err(error.into()),
            Err(refused) => {
                refusal.get_or_insert(refused);
                continue;
            }
        };
        let window_ends_at = match &person {
            Person::New(_) => None,
            Person::Known(contact) => tx
                .conversations_of_contact(*contact)?
                .into_iter()
                .find(|conversation| conversation.channel_id == channel.id && conversation.venue == Venue::Direct)
                .and_then(|conversation| conversation.window_ends_at),
        };
        let carries = request::check(kind, &order.content).is_empty();
        let (content, fallback) = (&order.content, order.fallback.as_ref());
        let may_go = window::at_accept(kind, order.sender, content, fallback, window_ends_at, now);
        let open_until = window_ends_at.filter(|end| *end - window::MARGIN_MILLIS >= now);
        // Smaller is better.
        let rank = match (carries, open_until, may_go) {
            (true, Some(end), _) => (0, -end),
            (true, None, true) => (1, 0),
            (true, None, false) => (2, 0),
            (false, ..) => (3, 0),
        };
        if found.as_ref().is_none_or(|(best, ..)| rank < *best) {
            found = Some((rank, channel, person));
        }
    }
    match (found, refusal) {
        (Some((_, channel, person)), _) => conversation(tx, app, channel, person, now),
        (None, Some(AcceptError::UnknownRecipient(detail))) => Err(AcceptError::UnknownRecipient(detail)),
        (None, Some(_)) => Err(AcceptError::InvalidRecipient(
            "must be a phone number with its country code, a business-scoped user id, or an Instagram-scoped id, of a channel that can send"
                .to_owned(),
        )),
        (None, None) => Err(AcceptError::NoChannel),
    }
}

fn person(tx: &mut Tx<'_>, channel: &Channel, to: &To, now: Millis) -> Result<Person, AcceptError> {
    let kind = channel.kind;
    match to {
        To::Contact(id) => {
            let unknown = || AcceptError::UnknownRecipient(format!("there is no contact `{id}`"));
            let contact = tx.contact_by_id(*id)?.ok_or_else(unknown)?;
            let identities = tx.identities_of_contact(contact.id)?;
            if request::address_of(kind, &channel.account, &identities).is_none() {
                let detail = format!("contact `{id}` has no address on channel `{}`", channel.id);
                return Err(AcceptError::UnknownRecipient(detail));
            }
            Ok(Person::Known(contact.id))
        }
        To::Address(text) => {
            let identity = identity(channel, kind, text, now)?;
            let known = tx.contacts_by_identities(std::slice::from_ref(&identity.key))?;
            Ok(match known.into_iter().next() {
                Some((_, contact)) => Person::Known(contact),
                None => Person::New(identity),
            })
        }
        To::Conversation(_) | To::Comment(_) => unreachable!("a conversation knows its contact"),
    }
}

fn conversation(
    tx: &mut Tx<'_>,
    app: &App,
    channel: Arc<Channel>,
    person: Person,
    now: Millis,
) -> Result<Found, AcceptError> {
    let (contact, newcomer) = match person {
        Person::Known(contact) => {
            let known = tx
                .lock_conversations(&[(channel.id.clone(), contact)])?
                .into_iter()
                .next();
            if let Some(conversation) = known {
                return Ok(Found {
                    asked: Arc::clone(&channel),
                    channel,
                    conversation,
                    is_new: false,
                    newcomer: None,
                });
            }
            (contact, None)
        }
        Person::New(identity) => {
            let contact = Contact {
                id: app.ids.next(),
                name: None,
                name_at: 0,
                username: None,
                picture_url: None,
                profile_stale_at: None,
                created_at: now,
            };
            let id = contact.id;
            let newcomer = Newcomer {
                contact,
                profile_due_at: (channel.kind == ChannelKind::Instagram).then_some(now),
                identity,
            };
            (id, Some(newcomer))
        }
    };
    Ok(Found {
        asked: Arc::clone(&channel),
        conversation: Conversation::new(app.ids.next(), channel.id.clone(), contact, now),
        channel,
        is_new: true,
        newcomer,
    })
}

/// Understands an address as one of the channel's.
fn identity(channel: &Channel, kind: ChannelKind, text: &str, now: Millis) -> Result<Identity, AcceptError> {
    let text = text.trim();
    let (kind, scope, value, shown) = match kind {
        ChannelKind::WhatsApp if is_user_id(text) => {
            (IdentityKind::UserId, String::new(), text.to_owned(), text.to_owned())
        }
        ChannelKind::WhatsApp => {
            let number = PhoneNumber::parse(text).ok_or_else(|| {
                let detail = "must be a phone number with its country code, such as `+31612345678`, or a business-scoped user id";
                AcceptError::InvalidRecipient(detail.to_owned())
            })?;
            let digits = number.digits().to_owned();
            (IdentityKind::Phone, String::new(), phone::compared(&digits), digits)
        }
        ChannelKind::Instagram
            if !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (
                IdentityKind::Igsid,
                channel.account.clone(),
                text.to_owned(),
                text.to_owned(),
            )
        }
        ChannelKind::Instagram => {
            let detail = "must be an Instagram-scoped id: the digits that Meta's webhooks give as `sender.id`";
            return Err(AcceptError::InvalidRecipient(detail.to_owned()));
        }
        ChannelKind::Email if email::is_address(text) => {
            (IdentityKind::Email, String::new(), text.to_lowercase(), text.to_owned())
        }
        ChannelKind::Email => {
            let detail = "must be an e-mail address, such as `ada@example.org`";
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
