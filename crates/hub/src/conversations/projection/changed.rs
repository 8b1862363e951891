//! What happened to a message that was said: how far it got, and that it was edited, taken back, reacted to or seen.

use super::{
    Batch, Heard, Incoming, REFUSES_MARKETING, conversation_mark, forget_words, redact, wording, wording_detail,
};
use crate::conversations::consent::model::Source;
use crate::conversations::content::Content;
use crate::conversations::model::{Millis, Receipt, Status};
use crate::ids::MessageId;
use crate::sending::fallback;
use crate::sending::marketing;
use crate::sending::model::Purpose;
use crate::store::messages::ReactionRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// How many messages are looked up at once of those that a contact has seen.
const SEEN_PAGE: u32 = 500;

impl Batch<'_> {
    pub(super) fn receive(
        &mut self,
        index: usize,
        event: &Incoming,
        external_id: &str,
        message_id: Option<MessageId>,
        receipt: &Receipt,
        at: Millis,
    ) {
        self.park_for_person(index, event);
        if let (Receipt::Failed(Some(failure)), Some(contact)) = (receipt, self.contacts[index])
            && failure.code == marketing::CAPPED
        {
            self.capped.push((contact, at));
        }
        let key = (event.channel_id.clone(), external_id.to_owned());
        if let Some(id) = self.former.get(&key).copied() {
            self.receive_of_earlier(index, event, id, receipt, at);
            return;
        }
        // The request's own mark is the surest: it is there before Meta's id is known (reference `whatsapp.md` 5, rule 4). Of a message
        // that was sent twice Meta may have two, under two ids, and how far the one got that the customer saw is how far it got.
        let marked = message_id.filter(|id| {
            self.messages.get(id).is_some_and(|message| {
                message.channel_id == event.channel_id
                    && (message.maybe_duplicate
                        || message.external_id.as_deref().is_none_or(|known| known == external_id))
            })
        });
        let Some(id) = marked.or_else(|| self.find(&event.channel_id, external_id)) else {
            self.park(event, external_id);
            return;
        };
        let unknown_before = self
            .messages
            .get(&id)
            .is_some_and(|message| message.external_id.is_none());
        self.identify(id, &event.channel_id, external_id);
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        if !message.outbound {
            return;
        }
        let status_before = message.status;
        let mut changed = false;
        if unknown_before {
            self.done.settled.push(id);
        }
        if unknown_before || marked.is_some() {
            // Whichever event of several identifies the message, Meta has had it since the first of them.
            changed |= message.receive(&Receipt::Accepted, at);
        }
        changed |= message.receive(receipt, at);
        let told = (message.status != status_before || unknown_before).then(|| Change::status_of(message));
        if message.status == Status::Failed
            && matches!(receipt, Receipt::Failed(Some(failure)) if fallback::is_about_the_window(failure))
        {
            self.closed.push((id, index));
        }
        if changed || unknown_before {
            self.touched_messages.insert(id);
        }
        let has_failed = message.status == Status::Failed && status_before != Status::Failed;
        if let Some(change) = told {
            self.change(index, change);
        }
        if has_failed || unknown_before {
            self.show_reaction(index, event, id, at);
        }
        if let Receipt::Failed(Some(failure)) = receipt
            && failure.code == REFUSES_MARKETING
        {
            let heard = Heard {
                id: event.event_id.as_bytes(),
                purposes: &[Purpose::Marketing],
                opted_out: true,
                source: Source::Refusal,
                detail: None,
                at,
            };
            self.hear(index, event, &heard);
        }
        self.note_receipt(id, event, receipt, at);
    }

    /// What Meta says of a message by an id from before it was queued again. That it failed is known; that it arrived ends what follows.
    pub(super) fn receive_of_earlier(
        &mut self,
        index: usize,
        event: &Incoming,
        id: MessageId,
        receipt: &Receipt,
        at: Millis,
    ) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        if matches!(receipt, Receipt::Delivered | Receipt::Read | Receipt::Played) && message.receive(receipt, at) {
            let change = Change::status_of(message);
            self.touched_messages.insert(id);
            self.done.settled.push(id);
            self.change(index, change);
        }
        self.note_receipt(id, event, receipt, at);
    }

    pub(super) fn note_receipt(&mut self, id: MessageId, event: &Incoming, receipt: &Receipt, at: Millis) {
        let (kind, detail) = match receipt {
            Receipt::Accepted => ("accepted", "{}".to_owned()),
            Receipt::Sent => ("sent", "{}".to_owned()),
            Receipt::Delivered => ("delivered", "{}".to_owned()),
            Receipt::Read => ("read", "{}".to_owned()),
            Receipt::Played => ("played", "{}".to_owned()),
            Receipt::Failed(failure) => (
                "failed",
                failure.as_ref().map_or_else(
                    || "{}".to_owned(),
                    |failure| serde_json::json!({ "code": failure.code, "text": failure.text }).to_string(),
                ),
            ),
        };
        self.note(id, at, event.event_id, kind, detail);
    }

    pub(super) fn edit(
        &mut self,
        tx: &mut Tx<'_>,
        index: usize,
        event: &Incoming,
        external_id: &str,
        content: &Content,
        at: Millis,
    ) -> Result<(), StoreError> {
        let Some(id) = self.find_or_park(event, external_id) else {
            return Ok(());
        };
        let Some(message) = self.messages.get_mut(&id) else {
            return Ok(());
        };
        if message.deleted_at.is_some() {
            // Taken back since: that it was edited is still told, but not to what.
            let first = message
                .edited_at
                .is_none()
                .then_some((message.occurred_at, message.event_id.unwrap_or(event.event_id)));
            message.edited_at = message.edited_at.max(Some(at));
            self.touched_messages.insert(id);
            if let Some((said_at, event_id)) = first {
                self.note(id, said_at, event_id, "edited", "{}".to_owned());
            }
            self.note(id, at, event.event_id, "edited", "{}".to_owned());
            return redact(tx, &mut self.done.redacted, event.event_id);
        }
        let earlier = wording(&message.content);
        let later = wording(content);
        // Of two wordings of one moment the greater stands, so that their order does not matter.
        let newer = message
            .edited_at
            .is_none_or(|edited_at| (at, &later) > (edited_at, &earlier));
        let first_wording = (message.edited_at.is_none() && message.content != Content::Placeholder)
            .then_some((message.occurred_at, earlier));
        let change = Change::updated(message);
        if newer {
            message.content = content.clone();
            message.edited_at = Some(at);
            self.touched_messages.insert(id);
            self.change(index, change);
        }
        if let Some((said_at, earlier)) = first_wording {
            // The first wording is kept under the message's own event.
            let event_id = self
                .messages
                .get(&id)
                .and_then(|message| message.event_id)
                .unwrap_or(event.event_id);
            self.note(id, said_at, event_id, "edited", wording_detail(&earlier));
        }
        self.note(id, at, event.event_id, "edited", wording_detail(&later));
        Ok(())
    }

    pub(super) fn take_back(
        &mut self,
        tx: &mut Tx<'_>,
        index: usize,
        event: &Incoming,
        external_id: &str,
        at: Millis,
    ) -> Result<(), StoreError> {
        let Some(id) = self.find_or_park(event, external_id) else {
            return Ok(());
        };
        let Some(message) = self.messages.get_mut(&id) else {
            return Ok(());
        };
        let deleted_before = message.deleted_at;
        message.deleted_at = Some(deleted_before.map_or(at, |known| known.min(at)));
        message.content = Content::Deleted;
        let (change, brought_by) = (Change::updated(message), message.event_id);
        self.touched_messages.insert(id);
        // What it said is gone: from the message, its earlier wordings, and the events that told them, whether these came in earlier
        // batches or in this one.
        for fact in self.facts.iter_mut().filter(|fact| fact.message_id == id) {
            match fact.kind.as_str() {
                "edited" => "{}".clone_into(&mut fact.detail),
                "echo" | "again" => {}
                _ => continue,
            }
            redact(tx, &mut self.done.redacted, fact.event_id)?;
        }
        self.done.redacted.extend(forget_words(tx, id, brought_by, self.now)?);
        if deleted_before.is_none() {
            self.change(index, change);
        }
        self.note(id, at, event.event_id, "deleted", "{}".to_owned());
        Ok(())
    }

    pub(super) fn react(
        &mut self,
        index: usize,
        event: &Incoming,
        external_id: &str,
        by_business: bool,
        emoji: Option<&str>,
        at: Millis,
    ) {
        let Some(message_id) = self.find_or_park(event, external_id) else {
            return;
        };
        let reaction = ReactionRow {
            message_id,
            by_business,
            emoji: emoji.map(str::to_owned),
            at,
            event_id: Some(event.event_id),
        };
        self.keep_reaction(reaction);
        self.note(
            message_id,
            at,
            event.event_id,
            "reaction",
            serde_json::json!({ "emoji": emoji }).to_string(),
        );
        if let Some(change) = self.messages.get(&message_id).map(Change::updated) {
            self.change(index, change);
        }
    }

    pub(super) fn keep_reaction(&mut self, reaction: ReactionRow) {
        let key = (reaction.message_id, reaction.by_business);
        let newer = |known: &ReactionRow| (reaction.at, &reaction.emoji) > (known.at, &known.emoji);
        if self.reactions.get(&key).is_none_or(newer) {
            self.reactions.insert(key, reaction);
        }
    }

    /// An event tells that Meta has a reaction of ours, before the answer did or in its place: it shows on its message. Or that it failed: it shows
    /// no longer.
    pub(super) fn show_reaction(&mut self, index: usize, event: &Incoming, ours: MessageId, at: Millis) {
        let Some(message) = self.messages.get(&ours) else {
            return;
        };
        let Content::Reaction(react) = &message.content else {
            return;
        };
        let (target, conversation) = (react.message_id, message.conversation_id);
        let (emoji, at) = if message.status == Status::Failed {
            // After what was shown when Meta took it, by whichever clock.
            (
                None,
                message.receipts.accepted_at.map_or(at, |accepted| at.max(accepted + 1)),
            )
        } else {
            (react.emoji().map(str::to_owned), at)
        };
        let reaction = ReactionRow {
            message_id: target,
            by_business: true,
            emoji,
            at,
            event_id: Some(event.event_id),
        };
        self.keep_reaction(reaction);
        self.change(
            index,
            Change::MessageUpdated {
                message: target,
                conversation,
            },
        );
    }

    pub(super) fn see(
        &mut self,
        tx: &mut Tx<'_>,
        index: usize,
        event: &Incoming,
        external_id: Option<&str>,
        up_to: Option<Millis>,
        at: Millis,
    ) -> Result<(), StoreError> {
        let (conversation, up_to) = match (external_id, up_to) {
            (Some(external_id), _) => {
                let Some(message) = self
                    .find(&event.channel_id, external_id)
                    .and_then(|id| self.messages.get(&id))
                else {
                    self.park(event, external_id);
                    return Ok(());
                };
                (message.conversation_id, message.occurred_at)
            }
            (None, Some(up_to)) => {
                let Some(conversation) = self
                    .conversation_key(index, event)
                    .and_then(|key| self.conversations.get(&key))
                else {
                    // What was read may come later; then so does the conversation.
                    let person = event.understood.person.as_ref();
                    if let Some(identity) = person.and_then(|person| person.identities.first()) {
                        self.park(event, &conversation_mark(&identity.key));
                    }
                    return Ok(());
                };
                (conversation.id, up_to)
            }
            (None, None) => return Ok(()),
        };
        tx.insert_read_watermark(conversation, up_to, at)?;
        let mut after = None;
        loop {
            let page = tx.lock_unread_outbound(conversation, up_to, at, after, SEEN_PAGE)?;
            after = page.last().map(|message| (message.occurred_at, message.id));
            let is_last = page.len() < SEEN_PAGE as usize;
            for message in page {
                self.remember(message);
            }
            if is_last {
                break;
            }
        }
        let mut read: Vec<MessageId> = self
            .messages
            .values()
            .filter(|message| {
                message.outbound
                    && message.external_id.is_some()
                    && message.conversation_id == conversation
                    && message.occurred_at <= up_to
            })
            .map(|message| message.id)
            .collect();
        read.sort();
        for id in read {
            let Some(message) = self.messages.get_mut(&id) else {
                continue;
            };
            let status_before = message.status;
            if !message.receive(&Receipt::Read, at) {
                continue;
            }
            let told = (message.status != status_before).then(|| Change::status_of(message));
            self.touched_messages.insert(id);
            if let Some(change) = told {
                self.change(index, change);
            }
            self.note(id, at, event.event_id, "read", "{}".to_owned());
        }
        Ok(())
    }
}
