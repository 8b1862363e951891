//! Messages are taken in hand: which go next, what is to be known of them, and that they are being sent.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use super::deciding::{Known, Round};
use super::{Claim, Reach, Sender, Taken, millis, template_of};
use crate::channels::model::ChannelKind;
use crate::conversations::consent::model::Consents;
use crate::conversations::content::Content;
use crate::conversations::model::{Comment, Identity, Message, Millis};
use crate::ids::{ContactId, ConversationId, MessageId};
use crate::media::outbound;
use crate::sending::comments::PRIVATE_SPAN_MILLIS;
use crate::sending::marketing::Caps;
use crate::sending::model::{Attempt, BudgetKind, OutboxEntry, Priority, Purpose, Terms};
use crate::sending::pace::{self, Left, Pace};
use crate::sending::route;
use crate::store::{StoreError, Tx, templates};

/// How much longer than the call itself an entry is marked as being sent.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// How many entries that were set aside are recalled by one unit.
const RECALLED_AT_ONCE: u32 = 256;
/// How many portions of what waits for room are recalled by one: about as many as go out until the next ones are.
const RECALLED_FOR_ROOM: u32 = 3;
impl Sender {
    /// Takes due entries in hand: those that have expired are ended, those whose recipient has to be left alone put back, the others
    /// marked.
    pub(in crate::sending) fn take(
        &self,
        tx: &mut Tx<'_>,
        claim: &Claim,
        pace: &Mutex<Pace>,
    ) -> Result<Taken, StoreError> {
        if !tx.keep_lease(&self.channel.id, &claim.lead.node(), claim.lead.epoch())? {
            return Ok(Taken {
                is_lost: true,
                ..Taken::default()
            });
        }
        if claim.has_missed {
            // As at the beginning of a lead: events may only be on their way now.
            let due_at = claim.now + millis(self.app.config.sending.unknown_after);
            tx.postpone_unknown_entries(&self.channel.id, due_at)?;
        }
        let mut taken = Taken {
            shares: claim.shares,
            turns: claim.turns,
            ..Taken::default()
        };
        let is_recalled = claim.recalls && self.recall(tx, claim)?;
        let day = self.left(tx, BudgetKind::Messages, self.limits().per_day, claim.now)?;
        if day.count <= 0 {
            taken.day_over_until = Some(day.more_at);
            return Ok(taken);
        }
        let count = u32::try_from(day.count).unwrap_or(u32::MAX).min(claim.count);
        let entries = self.claim(tx, claim, count, &mut taken)?;
        taken.is_full |= is_recalled;
        let known = self.look_up(tx, &entries, claim.now)?;
        let writes = {
            // Nobody else holds it for longer than a moment, and nothing is waited for under it.
            let pace = pace.lock().expect("no thread panics while it holds this lock");
            let mut round = Round::new(self, &pace, claim, known, &mut taken);
            for entry in entries {
                round.decide(entry);
            }
            round.finish()
        };
        self.mark(tx, &taken, claim)?;
        let updated: Vec<&Message> = writes.updated.iter().chain(&writes.replaced).collect();
        tx.update_messages(&updated)?;
        tx.keep_fallbacks_taken(&writes.taken_up.iter().collect::<Vec<_>>())?;
        tx.remove_entries(&writes.removed)?;
        tx.postpone_entries(&writes.postponed)?;
        tx.want_media_uploads(&writes.wanted_files, claim.now)?;
        taken.wants_files = !writes.wanted_files.is_empty();
        taken.is_full |= !writes.postponed.is_empty() || !writes.removed.is_empty();
        if !taken.is_full {
            taken.next_due = tx.next_entry_due(&self.channel.id, claim.now)?;
        }
        self.count_taken(tx, &taken, claim.now)?;
        self.tell(tx, writes.changes, claim.now)?;
        Ok(taken)
    }

    /// Gives those that were set aside, and need not be any more, their places back; answers whether there may be more of them. Of those that wait
    /// for room there come as many as there is room for, and no more than go out until it is looked again: so that a campaign that waits for days is
    /// not gone through again and again.
    fn recall(&self, tx: &mut Tx<'_>, claim: &Claim) -> Result<bool, StoreError> {
        let (channel, now) = (&self.channel.id, claim.now);
        let due = tx.recall_entries(channel, now, RECALLED_AT_ONCE)?;
        if !tx.any_entry_waits_for_room(channel)? {
            return Ok(due >= RECALLED_AT_ONCE as usize);
        }
        let left = self.left(tx, BudgetKind::People, self.limits().contacts_per_day, now)?;
        let go_out = claim.count.saturating_mul(RECALLED_FOR_ROOM);
        let room = left.count.clamp(0, i64::from(go_out)) as u32;
        let recalled = tx.recall_entries_for_room(channel, now, room)?;
        Ok(due >= RECALLED_AT_ONCE as usize || (recalled > 0 && recalled >= go_out))
    }

    /// Those that go next: of unknown outcome a quarter at most (but one at least), so that no backlog starves them; then those that wait,
    /// each priority by its share.
    fn claim(
        &self,
        tx: &mut Tx<'_>,
        claim: &Claim,
        count: u32,
        taken: &mut Taken,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let channel = &self.channel.id;
        let mut entries = tx.take_unknown_entries(channel, claim.now, (count / 4).max(1))?;
        let room = count.saturating_sub(entries.len() as u32);
        let mut queues: [VecDeque<OutboxEntry>; 3] = Default::default();
        for (queue, priority) in queues.iter_mut().zip(Priority::ALL) {
            *queue = tx.take_due_entries(channel, priority, claim.now, room)?.into();
        }
        while entries.len() < count as usize
            && let Some(next) = taken
                .shares
                .next([0, 1, 2].map(|index: usize| !queues[index].is_empty()))
        {
            entries.extend(queues[next].pop_front());
        }
        taken.is_full = entries.len() >= count as usize;
        Ok(entries)
    }

    fn look_up(&self, tx: &mut Tx<'_>, entries: &[OutboxEntry], now: Millis) -> Result<Known, StoreError> {
        let mut ids: Vec<MessageId> = entries.iter().map(|entry| entry.message_id).collect();
        ids.sort_unstable();
        let messages = tx.lock_messages(&ids)?;
        let files = outbound::Known::load(tx, &self.channel, messages.iter().map(|message| &message.content))?;
        let terms = tx.terms_of_messages(&self.channel.id, &ids)?;
        let templates = self.template_standings(tx, &messages, &terms)?;
        let wanted: Vec<ConversationId> = entries.iter().map(|entry| entry.conversation_id).collect();
        let mut conversations: HashMap<_, _> = tx
            .conversations_by_ids(&wanted)?
            .into_iter()
            .map(|conversation| (conversation.id, conversation))
            .collect();
        for id in &wanted {
            // One that was merged into another one since the entry was read.
            if !conversations.contains_key(id)
                && let Some(conversation) = tx.conversation_by_id(*id)?
            {
                conversations.insert(*id, conversation);
            }
        }
        let contacts: HashSet<ContactId> = conversations
            .values()
            .map(|conversation| conversation.contact_id)
            .collect();
        let contacts: Vec<ContactId> = contacts.into_iter().collect();
        let mut identities: HashMap<ContactId, Vec<Identity>> = HashMap::new();
        for (contact, identity) in tx.identities_of_contacts(&contacts)? {
            identities.entry(contact).or_default().push(identity);
        }
        let initiated: HashSet<ContactId> = conversations
            .values()
            .filter(|conversation| !conversation.window_is_open(now))
            .map(|conversation| conversation.contact_id)
            .collect();
        let (reached, people) = self.reached(tx, &initiated.into_iter().collect::<Vec<_>>(), now)?;
        let mut subjects = HashMap::new();
        if self.channel.kind == ChannelKind::Email {
            for leg in tx.legs_of_messages(&ids)? {
                let subject = route::policy(&self.app, &leg.policy).and_then(|policy| policy.subject);
                subjects.extend(subject.map(|subject| (leg.message_id, subject)));
            }
        }
        let consents = Consents::of(tx.standing_consent_statements(&contacts)?);
        let caps = self.caps(tx, &messages, &terms, &contacts)?;
        let answered: Vec<MessageId> = messages
            .iter()
            .filter_map(|message| message.content.answers_comment())
            .collect();
        let private = if messages
            .iter()
            .any(|message| matches!(message.content, Content::PrivateReply(_)))
        {
            self.private_replies_left(tx, now)?
        } else {
            (0, now)
        };
        Ok(Known {
            consents,
            caps,
            comments: comments_of(tx, &answered)?,
            private,
            subjects,
            messages: messages.into_iter().map(|message| (message.id, message)).collect(),
            files,
            conversations,
            identities,
            terms: terms.into_iter().map(|terms| (terms.message_id, terms)).collect(),
            reached,
            people,
            templates,
        })
    }

    /// When these people were last written to outside of a window, and how many more may be; where it is limited, and one of them is new.
    fn reached(
        &self,
        tx: &mut Tx<'_>,
        contacts: &[ContactId],
        now: Millis,
    ) -> Result<(HashMap<ContactId, Millis>, Left), StoreError> {
        let limit = self.limits().contacts_per_day;
        if limit == 0 || contacts.is_empty() {
            return Ok((HashMap::new(), Left::ALL));
        }
        let budget = self.channel.budget();
        let known: HashMap<_, _> = tx.people_reached(&budget, contacts)?.into_iter().collect();
        if contacts
            .iter()
            .all(|contact| known.get(contact).is_some_and(|at| !is_new(Some(*at), now)))
        {
            return Ok((known, Left::ALL));
        }
        let left = self.left(tx, BudgetKind::People, limit, now)?;
        // Whoever was waited for may have written to some of them.
        let known = tx.people_reached(&budget, contacts)?;
        Ok((known.into_iter().collect(), left))
    }

    /// Who of these contacts gets no more advertising, where any of these messages may be that.
    fn caps(
        &self,
        tx: &mut Tx<'_>,
        messages: &[Message],
        terms: &[Terms],
        contacts: &[ContactId],
    ) -> Result<Caps, StoreError> {
        let may_advertise = messages.iter().any(|message| template_of(&message.content).is_some())
            || terms.iter().any(|terms| terms.purpose == Purpose::Marketing);
        if self.channel.kind != ChannelKind::WhatsApp || !may_advertise {
            return Ok(Caps::default());
        }
        Ok(Caps::new(
            self.app.config.sending.marketing_hold,
            tx.marketing_caps(contacts)?,
        ))
    }

    /// How many private replies may be made now (reference `instagram.md` 6), and when more.
    fn private_replies_left(&self, tx: &mut Tx<'_>, now: Millis) -> Result<(i64, Millis), StoreError> {
        let limit = self.limits().private_per_hour;
        if limit == 0 {
            return Ok((i64::MAX, now));
        }
        let made = tx.private_calls_since(&self.channel.id, now - PRIVATE_SPAN_MILLIS, limit)?;
        let oldest = made.last().copied().unwrap_or(now);
        Ok((i64::from(limit) - made.len() as i64, oldest + PRIVATE_SPAN_MILLIS))
    }

    /// How the templates stand that these messages are, or may become.
    fn template_standings(
        &self,
        tx: &mut Tx<'_>,
        messages: &[Message],
        terms: &[Terms],
    ) -> Result<HashMap<(String, String), templates::TemplateStanding>, StoreError> {
        let Some(account) = &self.channel.business_account else {
            return Ok(HashMap::new());
        };
        let said = messages.iter().filter_map(|message| template_of(&message.content));
        let ready = terms
            .iter()
            .filter_map(|terms| Some(&terms.fallback.as_ref()?.template));
        let mut keys: Vec<(&str, &str)> = said
            .chain(ready)
            .map(|template| (template.name.as_str(), template.language.as_str()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let standings = tx.template_standings(account, &keys)?;
        Ok(standings
            .into_iter()
            .map(|standing| ((standing.name.clone(), standing.language.clone()), standing))
            .collect())
    }

    /// Counts whom the business writes to, each in the span of now and no more in that of the last time before.
    fn note_reached(
        &self,
        tx: &mut Tx<'_>,
        reached: impl Iterator<Item = Reach>,
        now: Millis,
    ) -> Result<(), StoreError> {
        let (mut used, mut contacts) = (BTreeMap::new(), Vec::new());
        for reach in reached {
            contacts.push(reach.contact_id);
            *used.entry(pace::span_of(reach.at)).or_default() += 1;
            if let Some(before) = reach.before.filter(|before| !is_new(Some(*before), now)) {
                *used.entry(pace::span_of(before)).or_default() -= 1;
            }
        }
        let budget = self.channel.budget();
        tx.note_people_reached(&budget, &contacts, now)?;
        tx.add_to_budget(&budget, BudgetKind::People, &used)
    }

    /// Writes down what was taken in hand.
    fn mark(&self, tx: &mut Tx<'_>, taken: &Taken, claim: &Claim) -> Result<(), StoreError> {
        let channel = &self.channel.id;
        let marks: Vec<_> = taken
            .in_hand
            .iter()
            .map(|message| (message.entry.message_id, message.attempt_id))
            .collect();
        let graph = &self.app.config.graph;
        let until = claim.now + millis(graph.request_timeout + graph.connect_timeout + LEASE_MARGIN);
        tx.mark_sending(&marks, &claim.lead.owner(), until)?;
        let shown: Vec<_> = taken
            .in_hand
            .iter()
            .map(|message| {
                let may_be_double = message.is_maybe_double;
                (message.entry.message_id, may_be_double)
            })
            .collect();
        tx.show_sending(&shown)?;
        let attempts: Vec<Attempt> = taken
            .in_hand
            .iter()
            .map(|in_hand| Attempt {
                id: in_hand.attempt_id,
                message_id: in_hand.entry.message_id,
                channel_id: channel.clone(),
                started_at: claim.now,
                ended: None,
                request: in_hand.body.to_string(),
            })
            .collect();
        tx.insert_attempts(&attempts)?;
        tx.insert_private_calls(channel, &taken.privately, claim.now)
    }

    /// Counts what was taken in hand. Other channels of the account count in the same rows, and wait for them: so it is the last thing but telling.
    fn count_taken(&self, tx: &mut Tx<'_>, taken: &Taken, now: Millis) -> Result<(), StoreError> {
        self.count_calls(tx, now, taken.in_hand.len() as i64)?;
        self.note_reached(tx, taken.in_hand.iter().filter_map(|in_hand| in_hand.reached), now)
    }
}

/// Whether somebody who was last written to at a time outside of a window counts anew.
pub(super) fn is_new(before: Option<Millis>, now: Millis) -> bool {
    before.is_none_or(|at| pace::span_of(at) < pace::spans_since(now))
}

/// These comments, each with its message.
fn comments_of(tx: &mut Tx<'_>, ids: &[MessageId]) -> Result<HashMap<MessageId, (Comment, Message)>, StoreError> {
    let messages = tx.messages_by_ids(ids)?;
    let mut known: HashMap<MessageId, Comment> = tx
        .comments_of_messages(ids)?
        .into_iter()
        .map(|comment| (comment.message_id, comment))
        .collect();
    let both = messages
        .into_iter()
        .filter_map(|message| Some((message.id, (known.remove(&message.id)?, message))));
    Ok(both.collect())
}
