//! Rows to begin with: complete, plain, and different from each other by what a test says.

use tidings::conversations::content::Content;
use tidings::conversations::model::{
    ChannelId, Contact, Conversation, Identity, IdentityKey, IdentityKind, Message, Millis, Receipts, Sender, Status,
};
use tidings::ids::{ContactId, ConversationId, MessageId};
use tidings::ingest::model::NewEvent;
use tidings::sending::model::{EntryState, OutboxEntry, Priority, Wait};
use tidings_meta::notification::{EventKind, Platform};

use crate::harness::{BEGIN, Lab};

pub(crate) const ACCOUNT: &str = "418205937761245";

pub(crate) fn whatsapp() -> ChannelId {
    ChannelId("whatsapp".to_owned())
}

pub(crate) fn backup() -> ChannelId {
    ChannelId("whatsapp-backup".to_owned())
}

/// Both channels, written down.
pub(crate) async fn channels(lab: &Lab) {
    lab.write(|tx| {
        tx.upsert_channel(&whatsapp(), "whatsapp", ACCOUNT, None, BEGIN)?;
        tx.upsert_channel(&backup(), "whatsapp", "418205937761999", None, BEGIN)
    })
    .await;
}

pub(crate) fn event(lab: &Lab, external_id: &str) -> NewEvent {
    NewEvent {
        id: lab.ids.next(),
        platform: Platform::WhatsApp,
        account: ACCOUNT.to_owned(),
        channel_id: Some(whatsapp()),
        kind: EventKind::Messages,
        external_id: external_id.to_owned(),
        occurred_at: Some(lab.now() - 1_000),
        received_at: lab.now(),
        signed: true,
        ignored_because: None,
        payload: format!(
            r#"{{"id":"305918274660123","changes":[{{"field":"messages","value":{{"id":"{external_id}"}}}}]}}"#
        ),
    }
}

pub(crate) fn contact(lab: &Lab, name: &str) -> Contact {
    Contact {
        id: lab.ids.next(),
        name: Some(name.to_owned()),
        name_at: lab.now(),
        username: None,
        picture_url: None,
        profile_stale_at: None,
        created_at: lab.now(),
    }
}

pub(crate) fn phone(digits: &str) -> Identity {
    let key = IdentityKey {
        kind: IdentityKind::Phone,
        scope: String::new(),
        value: digits.to_owned(),
    };
    Identity {
        key,
        shown: digits.to_owned(),
        seen_at: BEGIN,
    }
}

pub(crate) fn user_id(id: &str) -> Identity {
    let key = IdentityKey {
        kind: IdentityKind::UserId,
        scope: String::new(),
        value: id.to_owned(),
    };
    Identity {
        key,
        shown: id.to_owned(),
        seen_at: BEGIN,
    }
}

pub(crate) fn igsid(account: &str, id: &str) -> Identity {
    let key = IdentityKey {
        kind: IdentityKind::Igsid,
        scope: account.to_owned(),
        value: id.to_owned(),
    };
    Identity {
        key,
        shown: id.to_owned(),
        seen_at: BEGIN,
    }
}

/// A contact and their conversation, both kept.
pub(crate) async fn conversation(lab: &Lab, channel: &ChannelId, name: &str) -> Conversation {
    let contact = contact(lab, name);
    let conversation = conversation_with(lab, channel, contact.id);
    let kept = conversation.clone();
    lab.write(move |tx| {
        tx.insert_contacts(&[(contact.clone(), None)])?;
        tx.insert_conversations(&[&kept])
    })
    .await;
    conversation
}

/// A conversation that is not kept yet.
pub(crate) fn conversation_with(lab: &Lab, channel: &ChannelId, contact: ContactId) -> Conversation {
    Conversation::new(lab.ids.next(), channel.clone(), contact, lab.now())
}

/// An inbound message, not kept yet.
pub(crate) fn inbound(lab: &Lab, conversation: &Conversation, external_id: &str, at: Millis) -> Message {
    Message {
        id: lab.ids.next(),
        channel_id: conversation.channel_id.clone(),
        conversation_id: conversation.id,
        outbound: false,
        sender: Sender::Contact,
        content: Content::text("Is the blue one back in stock?"),
        external_id: Some(external_id.to_owned()),
        reply_to: None,
        inert: false,
        status: Status::Received,
        receipts: Receipts::default(),
        failure: None,
        occurred_at: at,
        created_at: lab.now(),
        edited_at: None,
        deleted_at: None,
        maybe_duplicate: false,
        metadata: None,
        event_id: Some(lab.ids.next()),
    }
}

/// A message of ours that Meta does not have yet, not kept yet.
pub(crate) fn outbound(lab: &Lab, conversation: &Conversation, at: Millis) -> Message {
    Message {
        outbound: true,
        sender: Sender::Api,
        content: Content::text("Yes, since today."),
        external_id: None,
        status: Status::Queued,
        event_id: None,
        ..inbound(lab, conversation, "", at)
    }
}

/// An entry for a message, not kept yet.
pub(crate) fn entry(lab: &Lab, channel: &ChannelId, conversation: ConversationId, position: i64) -> OutboxEntry {
    entry_of(lab, lab.ids.next(), channel, conversation, position)
}

pub(crate) fn entry_of(
    lab: &Lab,
    message_id: MessageId,
    channel: &ChannelId,
    conversation_id: ConversationId,
    position: i64,
) -> OutboxEntry {
    OutboxEntry {
        message_id,
        channel_id: channel.clone(),
        conversation_id,
        position,
        state: EntryState::Waiting,
        priority: Priority::Reply as i64,
        due_at: lab.now(),
        expires_at: lab.now() + 86_400_000,
        attempts: 0,
        attempt_id: None,
        waits_for: Wait::Turn,
        reason: None,
        queued_at: lab.now(),
    }
}
