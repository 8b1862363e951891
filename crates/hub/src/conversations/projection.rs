//! A batch of events becomes contacts, conversations and messages: load what they touch, change it in memory, save it.
//!
//! Guarantee: all of a batch, or nothing. The same events in any order, any number of times, leave the same state: every change is either
//! keyed by Meta's ids (a second time finds it done) or takes the earliest or latest of what was told ([`super::model`]). An event
//! about a message that is not known yet is put aside, and comes back through the queue when the message is.
//!
//! Units that write the store lock in one order, here and wherever messages are written: identities and contacts, conversations,
//! messages, the outbox, and the stream last.
//!
//! Everything is asked for and written by the batch, so that its cost per event falls with the size of the batch on both engines.

mod changed;
mod said;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::conversations::consent;
use crate::conversations::consent::model::{Source, Statement};
use crate::conversations::consent::words::Wish;
use crate::conversations::content::Content;
use crate::conversations::model::{
    ChannelId, Comment, Conversation, IdentityKey, IdentityKind, Message, Millis, Venue,
};
use crate::conversations::people::People;
use crate::conversations::understand::{Effect, Said, Understood};
use crate::ids::{ConsentId, ContactId, ConversationId, EventId, Ids, MessageId};
use crate::media::inbound;
use crate::sending::model::Purpose;
use crate::sending::{cancel, fallback};
use crate::store::comments::Mention;
use crate::store::contacts::ContactNames;
use crate::store::messages::{MessageFact, ReactionRow};
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// An event that was understood, on its way into the store.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The event.
    pub event_id: EventId,
    /// The channel that this account is.
    pub channel_id: ChannelId,
    /// When it happened, as far as is known.
    pub at: Millis,
    /// What it means.
    pub understood: Understood,
    /// What it says of being written to, if it is a message that does.
    pub wish: Option<Wish>,
}

/// What a batch did.
#[derive(Debug, Default)]
pub struct Projected {
    /// What changed, event by event, in the order in which they were given.
    pub changes: Vec<Vec<Change>>,
    /// New inbound messages, by their kind of content.
    pub received: Vec<(ChannelId, &'static str)>,
    /// Messages whose outcome became known by an event: their entries in the outbox are settled.
    pub settled: Vec<MessageId>,
    /// Events that told what was taken back since. Those that are kept have lost it already; one that is yet to be kept must be kept with
    /// [`REDACTED`] in place of what it said.
    pub redacted: Vec<EventId>,
    /// Events that had been put aside are in the queue again.
    pub unparked: bool,
    /// There are files to be fetched.
    pub has_files: bool,
}

impl Projected {
    /// Adds what a further batch did.
    pub fn extend(&mut self, further: Self) {
        self.changes.extend(further.changes);
        self.received.extend(further.received);
        self.settled.extend(further.settled);
        self.redacted.extend(further.redacted);
        self.unparked |= further.unparked;
        self.has_files |= further.has_files;
    }
}

/// Projects events, batch by batch.
pub fn project_all(
    tx: &mut Tx<'_>,
    incoming: &[&Incoming],
    batch_size: usize,
    ids: &Ids,
    now: Millis,
) -> Result<Projected, StoreError> {
    let batch_size = batch_size.max(1);
    if incoming.len() > batch_size && !tx.writes_alone() {
        let understood: Vec<&Understood> = incoming.iter().map(|event| &event.understood).collect();
        People::lock(tx, &understood)?;
    }
    let mut projected = Projected::default();
    for batch in incoming.chunks(batch_size) {
        projected.extend(project(tx, batch, ids, now)?);
    }
    Ok(projected)
}

/// Projects a batch.
pub fn project(tx: &mut Tx<'_>, incoming: &[&Incoming], ids: &Ids, now: Millis) -> Result<Projected, StoreError> {
    let mut batch = Batch::new(ids, now);
    batch.load(tx, incoming)?;
    for (index, event) in incoming.iter().enumerate() {
        batch.apply(tx, index, event)?;
    }
    batch.save(tx, incoming)
}

/// What is unique about a conversation.
type Place = (ChannelId, ContactId, Venue);

struct Batch<'a> {
    ids: &'a Ids,
    now: Millis,
    contacts: Vec<Option<ContactId>>,
    conversations: BTreeMap<Place, Conversation>,
    new_conversations: HashSet<ConversationId>,
    touched_conversations: HashSet<ConversationId>,
    /// Those whose window was not open.
    closed_before: HashSet<ConversationId>,
    messages: HashMap<MessageId, Message>,
    by_external_id: HashMap<(ChannelId, String), MessageId>,
    new_messages: Vec<MessageId>,
    touched_messages: HashSet<MessageId>,
    in_flight: Vec<MessageId>,
    given_up: Vec<MessageId>,
    /// Ids from before a message was queued again.
    former: HashMap<(ChannelId, String), MessageId>,
    /// Messages that a status has told to have failed because the window was closed.
    closed: Vec<(MessageId, usize)>,
    facts: Vec<MessageFact>,
    reactions: HashMap<(MessageId, bool), ReactionRow>,
    /// What is known of new comments.
    comments: Vec<Comment>,
    /// Answers of ours under posts whose outcome is not known yet, each with Meta's id of the comment that it will be found under: an answer to an
    /// answer is put under the first comment (reference `instagram.md` 4).
    under_posts: Vec<(MessageId, Option<String>)>,
    mentions: Vec<Mention>,
    /// Messages whose files were told for the first time.
    with_files: Vec<MessageId>,
    parked: Vec<(ChannelId, String, EventId)>,
    known: Vec<(ChannelId, String)>,
    /// Names that are known, and were told again.
    told_again: BTreeMap<ContactId, ContactNames>,
    /// What contacts have said of being written to, with the event that tells it.
    wishes: Vec<(usize, Statement)>,
    /// Contacts that get no more advertising, and when Meta said so.
    capped: Vec<(ContactId, Millis)>,
    /// Contacts that were merged, with the event that tells it.
    merged: Vec<(usize, ContactId)>,
    done: Projected,
}

/// What an event tells that its contact has said of being written to.
struct Heard<'a> {
    /// Of what says it.
    id: &'a [u8; 16],
    purposes: &'a [Purpose],
    opted_out: bool,
    source: Source,
    detail: Option<&'a str>,
    at: Millis,
}

impl<'a> Batch<'a> {
    fn new(ids: &'a Ids, now: Millis) -> Self {
        Self {
            ids,
            now,
            contacts: Vec::new(),
            conversations: BTreeMap::new(),
            new_conversations: HashSet::new(),
            touched_conversations: HashSet::new(),
            closed_before: HashSet::new(),
            messages: HashMap::new(),
            by_external_id: HashMap::new(),
            new_messages: Vec::new(),
            touched_messages: HashSet::new(),
            in_flight: Vec::new(),
            given_up: Vec::new(),
            former: HashMap::new(),
            closed: Vec::new(),
            facts: Vec::new(),
            reactions: HashMap::new(),
            comments: Vec::new(),
            under_posts: Vec::new(),
            mentions: Vec::new(),
            with_files: Vec::new(),
            parked: Vec::new(),
            known: Vec::new(),
            told_again: BTreeMap::new(),
            wishes: Vec::new(),
            capped: Vec::new(),
            merged: Vec::new(),
            done: Projected::default(),
        }
    }

    fn load(&mut self, tx: &mut Tx<'_>, incoming: &[&Incoming]) -> Result<(), StoreError> {
        let people: Vec<(&Understood, Millis)> = incoming.iter().map(|event| (&event.understood, event.at)).collect();
        let (people, contacts) = People::resolve(tx, &people, self.ids, self.now)?;
        self.contacts = contacts;
        self.told_again = people.told_again;
        self.done.changes = incoming.iter().map(|_| Vec::new()).collect();
        for (event, from, into) in people.merges {
            self.change(event, Change::ContactMerged { from, into });
            self.merged.push((event, into));
        }
        self.known
            .extend(people.new.iter().map(|key| (ANY_CHANNEL, person_mark(key))));
        self.load_conversations(tx, incoming)?;
        self.load_messages(tx, incoming)
    }

    fn load_conversations(&mut self, tx: &mut Tx<'_>, incoming: &[&Incoming]) -> Result<(), StoreError> {
        let mut pairs: Vec<(ChannelId, ContactId)> = Vec::new();
        let mut under_posts: Vec<(ChannelId, ContactId, String)> = Vec::new();
        let mut answered: Vec<(ChannelId, String)> = Vec::new();
        for (event, contact) in incoming.iter().zip(&self.contacts) {
            let channel = event.channel_id.clone();
            match (contact, venue_of(&event.understood.effect)) {
                (Some(contact), Venue::Direct) => pairs.push((channel, *contact)),
                (Some(contact), Venue::Post { media_id }) => under_posts.push((channel, *contact, media_id)),
                (None, _) => answered.extend(
                    own_comment(&event.understood.effect)
                        .and_then(|said| said.reply_to.clone())
                        .map(|comment| (channel, comment)),
                ),
            }
        }
        // In one order everywhere, so that two nodes cannot hold what the other one waits for: direct ones first.
        pairs.sort();
        pairs.dedup();
        let mut found = tx.lock_conversations(&pairs)?;
        if !under_posts.is_empty() || !answered.is_empty() {
            let mut ids = tx.conversations_under_posts(&under_posts)?;
            ids.extend(tx.conversations_of_external_ids(&answered)?.into_values());
            ids.sort_unstable();
            ids.dedup();
            found.extend(tx.lock_conversations_by_ids(&ids)?);
        }
        for conversation in found {
            if !conversation.window_is_open(self.now) {
                self.closed_before.insert(conversation.id);
            }
            self.conversations.insert(place_of(&conversation), conversation);
        }
        Ok(())
    }

    fn load_messages(&mut self, tx: &mut Tx<'_>, incoming: &[&Incoming]) -> Result<(), StoreError> {
        let mut keys: Vec<(ChannelId, String)> = Vec::new();
        let mut ids: Vec<MessageId> = Vec::new();
        let mut echoed: Vec<ConversationId> = Vec::new();
        let mut posts: Vec<(ChannelId, String)> = Vec::new();
        for (event, contact) in incoming.iter().zip(&self.contacts) {
            if let Some(external_id) = external_id_of(&event.understood.effect) {
                keys.push((event.channel_id.clone(), external_id.to_owned()));
            }
            match &event.understood.effect {
                Effect::Receipt {
                    message_id: Some(id), ..
                } => ids.push(*id),
                Effect::Said(said) if said.comment.is_some() && said.outbound => {
                    keys.extend(said.reply_to.clone().map(|comment| (event.channel_id.clone(), comment)));
                    posts.extend((said.comment.iter()).map(|post| (event.channel_id.clone(), post.media_id.clone())));
                }
                // What it is below may have been deleted.
                Effect::Said(said) if said.comment.is_some() => {
                    keys.extend(said.reply_to.clone().map(|comment| (event.channel_id.clone(), comment)));
                }
                Effect::Said(said) if said.outbound && !said.inert && is_on_instagram(event) => {
                    let place = contact.map(|contact| (event.channel_id.clone(), contact, Venue::Direct));
                    let conversation = place.and_then(|place| self.conversations.get(&place));
                    echoed.extend(conversation.map(|conversation| conversation.id));
                }
                _ => {}
            }
        }
        keys.sort();
        keys.dedup();
        ids.sort();
        ids.dedup();
        echoed.sort();
        echoed.dedup();
        for message in tx.lock_messages_by_external_ids(&keys)? {
            self.remember(message);
        }
        self.load_answers_under_posts(tx, posts, &mut ids, &mut echoed)?;
        let unknown: Vec<(ChannelId, String)> = incoming
            .iter()
            .filter_map(|event| match &event.understood.effect {
                Effect::Receipt { external_id, .. } => Some((event.channel_id.clone(), external_id.clone())),
                _ => None,
            })
            .filter(|key| !self.by_external_id.contains_key(key))
            .collect();
        for (key, id) in tx.messages_of_former_external_ids(&unknown)? {
            ids.push(id);
            self.former.insert(key, id);
        }
        ids.sort();
        ids.dedup();
        ids.retain(|id| !self.messages.contains_key(id));
        for message in tx.lock_messages(&ids)? {
            self.remember(message);
        }
        for message in tx.lock_messages_in_flight(&echoed)? {
            self.in_flight.push(message.id);
            self.remember(message);
        }
        for message in tx.lock_messages_given_up(&echoed, self.now - GIVEN_UP_MILLIS_MAX)? {
            self.given_up.push(message.id);
            self.remember(message);
        }
        self.in_flight.sort();
        self.given_up.sort();
        Ok(())
    }

    /// Finds what an own comment may be the echo of: messages that are under way to any conversation under its post are added to `ids`, and the
    /// conversations of the comments that are answered to `echoed`.
    fn load_answers_under_posts(
        &mut self,
        tx: &mut Tx<'_>,
        mut posts: Vec<(ChannelId, String)>,
        ids: &mut Vec<MessageId>,
        echoed: &mut Vec<ConversationId>,
    ) -> Result<(), StoreError> {
        if posts.is_empty() {
            return Ok(());
        }
        posts.sort();
        posts.dedup();
        let under_way = tx.messages_in_flight_under_posts(&posts)?;
        let answers = tx.messages_by_ids(&under_way)?;
        let answered: Vec<MessageId> = answers
            .iter()
            .filter_map(|answer| answer.content.answers_comment())
            .collect();
        let answered = tx.messages_by_ids(&answered)?;
        for answer in &answers {
            let comment = answered
                .iter()
                .find(|comment| Some(comment.id) == answer.content.answers_comment());
            let first = comment.and_then(|comment| comment.reply_to.clone());
            self.under_posts.push((answer.id, first));
        }
        self.under_posts.sort();
        ids.extend(under_way);
        ids.sort();
        ids.dedup();
        let held = self.conversations.values();
        echoed.extend(
            held.filter(|conversation| conversation.venue != Venue::Direct)
                .map(|conversation| conversation.id),
        );
        echoed.sort();
        echoed.dedup();
        Ok(())
    }

    fn remember(&mut self, message: Message) {
        if let Some(external_id) = &message.external_id {
            self.by_external_id
                .insert((message.channel_id.clone(), external_id.clone()), message.id);
        }
        self.messages.entry(message.id).or_insert(message);
    }

    fn find(&self, channel: &ChannelId, external_id: &str) -> Option<MessageId> {
        self.by_external_id
            .get(&(channel.clone(), external_id.to_owned()))
            .copied()
    }

    fn apply(&mut self, tx: &mut Tx<'_>, index: usize, event: &Incoming) -> Result<(), StoreError> {
        match &event.understood.effect {
            Effect::Said(said) | Effect::Moved { notice: Some(said), .. } => self.say(tx, index, event, said)?,
            Effect::Moved { notice: None, .. } | Effect::Nothing => {}
            Effect::Mentioned {
                media_id,
                comment_id,
                at,
            } => self.mentions.push(Mention {
                channel_id: event.channel_id.clone(),
                media_id: media_id.clone(),
                comment_id: comment_id.clone(),
                told_at: *at,
                event_id: event.event_id,
                attempts: 0,
            }),
            Effect::Receipt {
                external_id,
                message_id,
                receipt,
                at,
            } => {
                self.receive(index, event, external_id, *message_id, receipt, *at);
            }
            Effect::Edited {
                external_id,
                content,
                at,
            } => self.edit(tx, index, event, external_id, content, *at)?,
            Effect::TakenBack { external_id, at } => self.take_back(tx, index, event, external_id, *at)?,
            Effect::Reacted {
                external_id,
                by_business,
                emoji,
                at,
            } => {
                self.react(index, event, external_id, *by_business, emoji.as_deref(), *at);
            }
            Effect::Seen { external_id, up_to, at } => {
                self.see(tx, index, event, external_id.as_deref(), *up_to, *at)?;
            }
            Effect::Wished { opted_out, detail, at } => {
                let heard = Heard {
                    id: event.event_id.as_bytes(),
                    purposes: &[Purpose::Marketing],
                    opted_out: *opted_out,
                    source: Source::WhatsApp,
                    detail: detail.as_deref(),
                    at: *at,
                };
                self.hear(index, event, &heard);
            }
            Effect::Opened { at } => {
                if let Some(key) = self.conversation_key(index, event) {
                    let conversation = self.conversation(&key);
                    let before = conversation.window_ends_at;
                    conversation.window_ends_at = before.max(Some(at + crate::conversations::model::WINDOW_MILLIS));
                    if conversation.window_ends_at != before {
                        let conversation = conversation.id;
                        self.change(index, Change::ConversationUpdated { conversation });
                    }
                }
            }
        }
        Ok(())
    }

    fn conversation_key(&self, index: usize, event: &Incoming) -> Option<Place> {
        let venue = venue_of(&event.understood.effect);
        self.contacts[index].map(|contact| (event.channel_id.clone(), contact, venue))
    }

    /// The conversation of the comment that an own one answers; `None` where that is not known.
    fn place_of_answered(&self, event: &Incoming, said: &Said) -> Option<Place> {
        let comment = self.find(&event.channel_id, said.reply_to.as_deref()?)?;
        let conversation = self.messages.get(&comment)?.conversation_id;
        let mut held = self.conversations.iter();
        held.find(|(_, held)| held.id == conversation)
            .map(|(place, _)| place.clone())
    }

    fn conversation(&mut self, key: &Place) -> &mut Conversation {
        let (ids, now, new) = (self.ids, self.now, &mut self.new_conversations);
        let conversation = self.conversations.entry(key.clone()).or_insert_with(|| {
            let conversation = Conversation::new(ids.next(), key.0.clone(), key.1, now).at(key.2.clone());
            new.insert(conversation.id);
            conversation
        });
        self.touched_conversations.insert(conversation.id);
        conversation
    }

    fn change(&mut self, index: usize, change: Change) {
        self.done.changes[index].push(change);
    }

    /// Keeps what was said of being written to, and withdraws what waits and is forbidden by it, or by what the other of two contacts had said
    /// that turned out to be one.
    fn save_wishes(&mut self, tx: &mut Tx<'_>, incoming: &[&Incoming]) -> Result<(), StoreError> {
        let wishes = std::mem::take(&mut self.wishes);
        let told_by: HashMap<ConsentId, usize> = wishes.iter().map(|(index, of)| (of.id, *index)).collect();
        let said: Vec<Statement> = wishes.into_iter().map(|(_, of)| of).collect();
        let noted = consent::note(tx, &said)?;
        let mut last_told: BTreeMap<ContactId, usize> = BTreeMap::new();
        for of in &noted.new {
            let Some(index) = told_by.get(&of.id).copied() else {
                continue;
            };
            last_told.insert(of.contact_id, index);
            let change = Change::ConsentChanged { contact: of.contact_id };
            if !self.done.changes[index].contains(&change) {
                self.change(index, change);
            }
        }
        let mut withdrawn: Vec<(usize, Message)> = Vec::new();
        for (contact, message) in noted.withdrawn {
            let index = last_told.get(&contact).copied().unwrap_or_default();
            withdrawn.push((index, message));
        }
        for (index, contact) in std::mem::take(&mut self.merged) {
            let forbidden = cancel::withdraw_forbidden(tx, contact)?;
            withdrawn.extend(forbidden.into_iter().map(|message| (index, message)));
        }
        let mut facts = Vec::new();
        for (index, message) in withdrawn {
            self.change(index, Change::status_of(&message));
            let event = incoming[index];
            let why = message.failure.as_ref().map(|failure| failure.text.as_str());
            facts.push(MessageFact {
                message_id: message.id,
                at: event.at,
                event_id: event.event_id,
                kind: "cancelled".to_owned(),
                detail: serde_json::json!({ "reason": why }).to_string(),
            });
        }
        tx.insert_message_facts(&facts)
    }

    fn note(&mut self, message_id: MessageId, at: Millis, event_id: EventId, kind: &str, detail: String) {
        self.facts.push(MessageFact {
            message_id,
            at,
            event_id,
            kind: kind.to_owned(),
            detail,
        });
    }

    /// The message that an event is about; one that is not known yet, the event waits for.
    fn find_or_park(&mut self, event: &Incoming, external_id: &str) -> Option<MessageId> {
        let found = self.find(&event.channel_id, external_id);
        if found.is_none() {
            self.park(event, external_id);
        }
        found
    }

    fn park(&mut self, event: &Incoming, external_id: &str) {
        self.parked
            .push((event.channel_id.clone(), external_id.to_owned(), event.event_id));
    }

    /// What an event tells of somebody who is not known by any of their addresses is heard again once they are.
    fn park_for_person(&mut self, index: usize, event: &Incoming) {
        let Some(person) = &event.understood.person else { return };
        if self.contacts[index].is_none() {
            let marks = person.identities.iter().map(|identity| person_mark(&identity.key));
            self.parked
                .extend(marks.map(|mark| (ANY_CHANNEL, mark, event.event_id)));
        }
    }

    /// When names that are known were told is written with the conversations that are written anyway, and with contacts where there is none.
    fn save_names_told(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for conversation in self.conversations.values_mut() {
            if self.touched_conversations.contains(&conversation.id)
                && let Some(told) = self.told_again.remove(&conversation.contact_id)
            {
                conversation.names_told = conversation.names_told.max(told.times());
            }
        }
        let elsewhere: Vec<ContactNames> = std::mem::take(&mut self.told_again).into_values().collect();
        tx.update_contact_names(&elsewhere)
    }

    fn save(mut self, tx: &mut Tx<'_>, incoming: &[&Incoming]) -> Result<Projected, StoreError> {
        self.save_names_told(tx)?;
        let (new, known): (Vec<&Conversation>, Vec<&Conversation>) = self
            .conversations
            .values()
            .filter(|conversation| self.touched_conversations.contains(&conversation.id))
            .partition(|conversation| self.new_conversations.contains(&conversation.id));
        tx.insert_conversations(&new)?;
        tx.update_conversations(&known)?;
        let inserted: HashSet<MessageId> = self.new_messages.iter().copied().collect();
        let new: Vec<&Message> = self
            .new_messages
            .iter()
            .filter_map(|id| self.messages.get(id))
            .collect();
        tx.insert_messages(&new)?;
        tx.insert_comments(&self.comments)?;
        tx.insert_mentions(&self.mentions, self.now)?;
        let mut touched: Vec<&Message> = self
            .touched_messages
            .difference(&inserted)
            .filter_map(|id| self.messages.get(id))
            .collect();
        touched.sort_by_key(|message| message.id);
        tx.update_messages(&touched)?;
        let with_files: Vec<&Message> = self.with_files.iter().filter_map(|id| self.messages.get(id)).collect();
        self.done.has_files = inbound::note(tx, &with_files, self.ids, self.now)?;
        tx.insert_message_facts(&self.facts)?;
        let mut reactions: Vec<ReactionRow> = std::mem::take(&mut self.reactions).into_values().collect();
        reactions.sort_by_key(|reaction| (reaction.message_id, reaction.by_business));
        tx.upsert_reactions(&reactions)?;
        self.done.unparked = tx.park_events(&self.parked, self.now)? > 0;
        self.done.unparked |= tx.unpark_events(&self.known, self.now)? > 0;
        self.done.settled.sort();
        self.done.settled.dedup();
        for id in &self.done.settled {
            tx.settle_outbox_by_event(*id)?;
        }
        let opened: Vec<(ChannelId, ConversationId)> = self
            .conversations
            .values()
            .filter(|conversation| {
                self.closed_before.contains(&conversation.id) && conversation.window_is_open(self.now)
            })
            .map(|conversation| (conversation.channel_id.clone(), conversation.id))
            .collect();
        tx.hurry_answers(&opened, self.now)?;
        tx.note_marketing_caps(&self.capped)?;
        let mut closed: Vec<MessageId> = self.closed.iter().map(|(id, _)| *id).collect();
        closed.sort();
        closed.dedup();
        for message in fallback::send_in_place_of(tx, &closed, self.now)? {
            let told = self.closed.iter().find(|(id, _)| *id == message.id);
            if let Some(changes) = told.and_then(|(_, index)| self.done.changes.get_mut(*index)) {
                changes.extend([Change::updated(&message), Change::status_of(&message)]);
            }
        }
        self.save_wishes(tx, incoming)?;
        Ok(self.done)
    }
}

/// Takes what was taken back out of an event that told it.
fn redact(tx: &mut Tx<'_>, redacted: &mut Vec<EventId>, event: EventId) -> Result<(), StoreError> {
    redacted.push(event);
    tx.redact_event(event, REDACTED)
}

/// What a message said is gone: from the events that told it, whichever brought it, from its earlier wordings, and its files. Answers with those
/// events.
pub(crate) fn forget_words(
    tx: &mut Tx<'_>,
    id: MessageId,
    brought_by: Option<EventId>,
    now: Millis,
) -> Result<Vec<EventId>, StoreError> {
    let mut redacted = Vec::new();
    let told_by = tx.events_of_message(id)?;
    for event in brought_by.into_iter().chain(told_by) {
        redact(tx, &mut redacted, event)?;
    }
    tx.forget_wordings(id)?;
    tx.forget_media_of_message(id, now)?;
    Ok(redacted)
}

fn wording(content: &Content) -> String {
    serde_json::to_string(content).unwrap_or_default()
}

/// What the timeline keeps of a wording.
fn wording_detail(wording: &str) -> String {
    format!(r#"{{"content":{wording}}}"#)
}

/// The code with which Meta refuses advertising to whoever has said in WhatsApp's menu that they want none (reference `whatsapp.md` 14.2).
pub const REFUSES_MARKETING: i64 = 131_050;

/// How long ago a message of unknown outcome may have been accepted whose echo is still recognised: the day that it is worth sending if
/// nobody says otherwise, and another one.
const GIVEN_UP_MILLIS_MAX: Millis = 2 * 24 * 3600 * 1000;

/// How far Meta's clock and ours may be apart.
pub(crate) const CLOCKS_APART: Millis = 60 * 1000;

/// Stands in the place of a message's id for what waits for a conversation with somebody. Meta's ids have no spaces.
fn conversation_mark(identity: &IdentityKey) -> String {
    format!(
        "conversation with {} {} {}",
        identity.kind.as_str(),
        identity.scope,
        identity.value
    )
}

/// Stands in the place of a message's id for what waits until somebody is known, on whichever channel.
fn person_mark(identity: &IdentityKey) -> String {
    format!("{} {} {}", identity.kind.as_str(), identity.scope, identity.value)
}

/// No channel has an empty name.
const ANY_CHANNEL: ChannelId = ChannelId(String::new());

/// What stands in the place of a payload whose content was taken back: an entry that means nothing.
pub const REDACTED: &str = r#"{"id":"","changes":[{"field":"redacted","value":{}}]}"#;

/// Whether it is about somebody on Instagram.
fn is_on_instagram(event: &Incoming) -> bool {
    let person = event.understood.person.as_ref();
    person.is_some_and(|person| person.identities.iter().any(|of| of.key.kind == IdentityKind::Igsid))
}

fn external_id_of(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Said(said) => Some(&said.external_id),
        Effect::Moved { notice, .. } => notice.as_ref().map(|said| said.external_id.as_str()),
        Effect::Receipt { external_id, .. }
        | Effect::Edited { external_id, .. }
        | Effect::TakenBack { external_id, .. }
        | Effect::Reacted { external_id, .. } => Some(external_id),
        Effect::Seen { external_id, .. } => external_id.as_deref(),
        Effect::Wished { .. } | Effect::Opened { .. } | Effect::Mentioned { .. } | Effect::Nothing => None,
    }
}

/// What was said in a comment of the account's own.
fn own_comment(effect: &Effect) -> Option<&Said> {
    match effect {
        Effect::Said(said) if said.outbound && said.comment.is_some() => Some(said),
        _ => None,
    }
}

/// Where the conversation is held that an effect is about.
fn venue_of(effect: &Effect) -> Venue {
    match effect {
        Effect::Said(said) => said.venue(),
        _ => Venue::Direct,
    }
}

fn place_of(conversation: &Conversation) -> Place {
    let Conversation {
        channel_id,
        contact_id,
        venue,
        ..
    } = conversation;
    (channel_id.clone(), *contact_id, venue.clone())
}
