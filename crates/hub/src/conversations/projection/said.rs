//! What was said: a new message, one that is told again, or the echo of one of ours; and what a contact wants to be sent.

use super::{
    Batch, CLOCKS_APART, Heard, Incoming, Place, conversation_mark, forget_words, is_on_instagram, own_comment, redact,
    wording, wording_detail,
};
use crate::conversations::consent::model::{Source, Statement};
use crate::conversations::consent::words::Wish;
use crate::conversations::content::{Content, Likeness};
use crate::conversations::model::{ChannelId, Comment, Message, Millis, Receipt, Receipts, Status, Venue};
use crate::conversations::understand::Said;
use crate::ids::{ConsentId, EventId, MessageId};
use crate::sending::model::Purpose;
use crate::store::messages::MessageFact;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

impl Batch<'_> {
    pub(super) fn say(
        &mut self,
        tx: &mut Tx<'_>,
        index: usize,
        event: &Incoming,
        said: &Said,
    ) -> Result<(), StoreError> {
        if let Some(known) = self.find(&event.channel_id, &said.external_id)
            && (self.contacts[index].is_some() || said.comment.is_some())
        {
            return self.say_again(tx, index, event, said, known);
        }
        let key = match (self.conversation_key(index, event), &said.reply_to) {
            (Some(key), _) => key,
            (None, Some(answered)) if own_comment(&event.understood.effect).is_some() => {
                if let Some(ours) = self.in_flight_under_post(event, said) {
                    return self.settle_by_echo(tx, index, event, said, ours);
                }
                let Some(key) = self.place_of_answered(event, said) else {
                    self.park(event, answered);
                    return Ok(());
                };
                key
            }
            // An event without a person has nobody to have a conversation with.
            (None, _) => return Ok(()),
        };
        if said.outbound
            && !said.inert
            && let Some(ours) = self.in_flight_like(&key, event, said)
        {
            return self.settle_by_echo(tx, index, event, said, ours);
        }
        if key.2 == Venue::Direct && !self.conversations.contains_key(&key) {
            self.known.extend(
                event
                    .understood
                    .person
                    .iter()
                    .flat_map(|person| &person.identities)
                    .map(|identity| (event.channel_id.clone(), conversation_mark(&identity.key))),
            );
        }
        let conversation_id = self.conversation(&key).id;
        let mut message = Message {
            id: self.ids.next(),
            channel_id: event.channel_id.clone(),
            conversation_id,
            outbound: said.outbound,
            sender: said.sender,
            content: said.content.clone(),
            external_id: Some(said.external_id.clone()),
            reply_to: said.reply_to.clone(),
            inert: said.inert,
            status: if said.outbound {
                Status::Accepted
            } else {
                Status::Received
            },
            receipts: Receipts::default(),
            failure: None,
            occurred_at: said.at,
            created_at: self.now,
            edited_at: None,
            deleted_at: None,
            maybe_duplicate: false,
            metadata: None,
            event_id: Some(event.event_id),
        };
        if let Some(receipt) = &said.receipt {
            message.receive(receipt, said.at);
        }
        if said.outbound
            && let Some(read_at) = tx.read_watermark(conversation_id, said.at)?
        {
            message.receive(&Receipt::Read, read_at);
        }
        if let Some(Wish { opted_out, word }) = &event.wish {
            let heard = Heard {
                id: message.id.as_bytes(),
                purposes: &Purpose::ALL,
                opted_out: *opted_out,
                source: Source::Word,
                detail: Some(word),
                at: said.at,
            };
            self.hear(index, event, &heard);
            let kind = if *opted_out { "opted_out" } else { "opted_in" };
            self.note(message.id, said.at, event.event_id, kind, "{}".to_owned());
        }
        let opens_window = said.opens_window;
        self.conversation(&key).note(&message, opens_window);
        if !said.outbound && !said.inert {
            self.done.received.push((event.channel_id.clone(), said.content.kind()));
        }
        self.change(
            index,
            Change::MessageCreated {
                message: message.id,
                conversation: conversation_id,
            },
        );
        if let Some(post) = &said.comment {
            self.comments.push(Comment {
                message_id: message.id,
                channel_id: event.channel_id.clone(),
                kind: post.kind,
                hidden_at: None,
                private_reply: None,
            });
        }
        let id = message.id;
        self.new_messages.push(id);
        self.with_files.push(id);
        self.known.push((event.channel_id.clone(), said.external_id.clone()));
        self.remember(message);
        self.go_with_its_comment(tx, index, event, said, id)
    }

    /// What is below a comment that was deleted is gone with it, also where Meta tells of it only now.
    fn go_with_its_comment(
        &mut self,
        tx: &mut Tx<'_>,
        index: usize,
        event: &Incoming,
        said: &Said,
        id: MessageId,
    ) -> Result<(), StoreError> {
        let below = said.comment.as_ref().and(said.reply_to.as_deref());
        let comment = below.and_then(|comment| self.find(&event.channel_id, comment));
        let Some(gone_at) = comment.and_then(|comment| self.messages.get(&comment)?.deleted_at) else {
            return Ok(());
        };
        let Some(message) = self
            .messages
            .get_mut(&id)
            .filter(|message| message.deleted_at.is_none())
        else {
            return Ok(());
        };
        message.deleted_at = Some(gone_at);
        message.content = Content::Deleted;
        let (brought_by, change) = (message.event_id, Change::updated(message));
        self.touched_messages.insert(id);
        redact(tx, &mut self.done.redacted, event.event_id)?;
        self.done.redacted.extend(forget_words(tx, id, brought_by, self.now)?);
        self.change(index, change);
        self.note(id, gone_at, event.event_id, "deleted", "{}".to_owned());
        Ok(())
    }

    /// A message that is known and told by another event: our own, an imported file that comes after its placeholder, or the same
    /// message imported and live, in either order.
    pub(super) fn say_again(
        &mut self,
        tx: &mut Tx<'_>,
        index: usize,
        event: &Incoming,
        said: &Said,
        known: MessageId,
    ) -> Result<(), StoreError> {
        let key = self.conversation_key(index, event);
        let Some(message) = self.messages.get_mut(&known) else {
            return Ok(());
        };
        if message.event_id == Some(event.event_id) {
            return Ok(());
        }
        let before = message.clone();
        if message.deleted_at.is_some() {
            redact(tx, &mut self.done.redacted, event.event_id)?;
        } else if message.content == Content::Placeholder {
            message.content = said.content.clone();
            self.with_files.push(known);
        }
        if message.reply_to.is_none() {
            message.reply_to.clone_from(&said.reply_to);
        }
        if message.outbound {
            // Of a message that is our own it is known how far it got: the echo only proves that Meta has it.
            let receipt = if message.event_id.is_some() {
                said.receipt.clone()
            } else {
                Some(Receipt::Accepted)
            };
            if let Some(receipt) = &receipt {
                message.receive(receipt, said.at);
            }
        }
        let came_alive = message.inert && !said.inert;
        message.inert &= said.inert;
        if message.edited_at.is_some() && message.deleted_at.is_none() && said.content != Content::Placeholder {
            let said_at = message.occurred_at;
            self.note_first_wording(tx, known, said_at, event.event_id, &said.content)?;
        }
        let Some(message) = self.messages.get(&known) else {
            return Ok(());
        };
        let (message, changed) = (message.clone(), *message != before);
        if changed {
            self.touched_messages.insert(known);
            self.change(index, Change::updated(&message));
        }
        if came_alive && !message.outbound {
            if let Some(key) = key
                && self
                    .conversations
                    .get(&key)
                    .is_some_and(|conversation| conversation.id == message.conversation_id)
            {
                self.conversation(&key).note(&message, said.opens_window);
            }
            self.done
                .received
                .push((event.channel_id.clone(), message.content.kind()));
        }
        let kind = if said.outbound { "echo" } else { "again" };
        self.note(known, said.at, event.event_id, kind, "{}".to_owned());
        self.go_with_its_comment(tx, index, event, said, known)
    }

    /// The first wording of an edited message may come after those that replaced it.
    pub(super) fn note_first_wording(
        &mut self,
        tx: &mut Tx<'_>,
        id: MessageId,
        said_at: Millis,
        event_id: EventId,
        content: &Content,
    ) -> Result<(), StoreError> {
        let detail = wording_detail(&wording(content));
        let is_it = |fact: &MessageFact| {
            fact.message_id == id && fact.kind == "edited" && fact.at == said_at && fact.detail == detail
        };
        if !self.facts.iter().any(is_it) && !tx.message_facts(id)?.iter().any(is_it) {
            self.note(id, said_at, event_id, "edited", detail);
        }
        Ok(())
    }

    /// The oldest message of ours whose outcome is not known yet, and that says the same; or else one that was given up; or else, where there is
    /// nothing to compare but the kind, one that is on its way. On Instagram alone: WhatsApp tells nothing of what came through its interface
    /// (reference `whatsapp.md`, `smb_message_echoes`), whose requests bear a mark that statuses tell of, so that what comes from the phone there
    /// is somebody's own, whatever it says.
    pub(super) fn in_flight_like(&self, key: &Place, event: &Incoming, said: &Said) -> Option<MessageId> {
        if !is_on_instagram(event) {
            return None;
        }
        let conversation = self.conversations.get(key)?.id;
        let like = |id: &MessageId, likeness: Likeness| {
            self.messages.get(id).is_some_and(|message| {
                message.conversation_id == conversation
                    && message.external_id.is_none()
                    && message.content.likeness_of(&said.content) == likeness
            })
        };
        let mut unsettled = self.in_flight.iter().chain(&self.given_up).copied();
        if let Some(id) = unsettled.find(|id| like(id, Likeness::Words)) {
            return Some(id);
        }
        let may_be = |id: &MessageId| {
            let began = self.messages.get(id).map(|message| message.created_at);
            began.is_some_and(|began| said.at >= began - CLOCKS_APART)
        };
        let mut under_way = self.in_flight.iter().copied();
        under_way.find(|id| like(id, Likeness::Kind) && may_be(id))
    }

    /// Our answer under a post that an own comment is the echo of: the only one that says the same under the same comment. Where there are several,
    /// as when two people get the same answer, nothing tells which of them it is but what Meta answers to the calls themselves; until then it is
    /// something that was said elsewhere, which the right one takes in.
    pub(super) fn in_flight_under_post(&self, event: &Incoming, said: &Said) -> Option<MessageId> {
        let answered = said.reply_to.as_ref()?;
        let says_the_same = |id: &MessageId| {
            self.messages.get(id).filter(|message| {
                message.channel_id == event.channel_id
                    && message.external_id.is_none()
                    && message.content.likeness_of(&said.content) == Likeness::Words
            })
        };
        let under_way = self.under_posts.iter().filter_map(|(id, first)| {
            let message = says_the_same(id)?;
            (message.reply_to.as_ref() == Some(answered) || first.as_ref() == Some(answered)).then_some(*id)
        });
        let given_up = self.given_up.iter().filter_map(|id| {
            let message = says_the_same(id)?;
            (message.reply_to.as_ref() == Some(answered)).then_some(*id)
        });
        let mut may_be: Vec<MessageId> = under_way.chain(given_up).collect();
        may_be.sort_unstable();
        may_be.dedup();
        match may_be[..] {
            [id] => Some(id),
            _ => None,
        }
    }

    pub(super) fn settle_by_echo(
        &mut self,
        tx: &mut Tx<'_>,
        index: usize,
        event: &Incoming,
        said: &Said,
        ours: MessageId,
    ) -> Result<(), StoreError> {
        self.identify(ours, &event.channel_id, &said.external_id);
        if let Some(message) = self.messages.get_mut(&ours) {
            message.receive(&Receipt::Accepted, said.at);
            if let Some(read_at) = tx.read_watermark(message.conversation_id, message.occurred_at)? {
                message.receive(&Receipt::Read, read_at);
            }
            let change = Change::status_of(message);
            self.change(index, change);
        }
        self.note(ours, said.at, event.event_id, "echo", "{}".to_owned());
        self.done.settled.push(ours);
        self.go_with_its_comment(tx, index, event, said, ours)
    }

    /// Meta's id of a message of ours has become known.
    pub(super) fn identify(&mut self, id: MessageId, channel: &ChannelId, external_id: &str) {
        if let Some(message) = self.messages.get_mut(&id)
            && message.external_id.is_none()
        {
            message.external_id = Some(external_id.to_owned());
            self.by_external_id
                .insert((channel.clone(), external_id.to_owned()), id);
            self.known.push((channel.clone(), external_id.to_owned()));
            self.touched_messages.insert(id);
        }
    }

    /// The contact of an event has said something of being written to; where nobody is known by it, it is not known who has.
    pub(super) fn hear(&mut self, index: usize, event: &Incoming, heard: &Heard<'_>) {
        let (Some(contact_id), Some(id)) = (self.contacts[index], ConsentId::from_slice(heard.id)) else {
            return;
        };
        self.wishes.extend(heard.purposes.iter().map(|purpose| {
            let statement = Statement {
                id,
                contact_id,
                purpose: *purpose,
                opted_out: heard.opted_out,
                source: heard.source,
                at: heard.at,
                channel_id: Some(event.channel_id.clone()),
                detail: heard.detail.map(str::to_owned),
                actor: None,
                noted_at: self.now,
            };
            (index, statement)
        }));
    }
}
