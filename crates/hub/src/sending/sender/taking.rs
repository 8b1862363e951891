//! Messages are taken in hand: which go next, whether each may be sent as it is now, and what Meta is told.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use super::{Claim, InHand, PAUSED_WAIT, Reach, Sender, Taken, millis, template_of};
use crate::channels::model::ChannelKind;
use crate::channels::templates::model::Standing as TemplateStanding;
use crate::channels::templates::{model as template_model, news};
use crate::conversations::consent::model::{Consents, Statement};
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{
    Comment, CommentKind, Conversation, Failure, Identity, Message, Millis, Receipt, Status, Venue,
};
use crate::conversations::understand::callback_of;
use crate::ids::{AttemptId, ContactId, ConversationId, MessageId};
use crate::media::model::Upload;
use crate::media::outbound::{self, Resolved};
use crate::sending::comments::PRIVATE_SPAN_MILLIS;
use crate::sending::end::End;
use crate::sending::marketing::Caps;
use crate::sending::model::{
    Aside, Attempt, BudgetKind, EntryState, OutboxEntry, Postponement, Priority, Purpose, Terms, Wait,
};
use crate::sending::pace::{self, Left, Pace};
use crate::sending::request::{self, Address};
use crate::sending::window::{self, AtSend, Permit};
use crate::sending::{cancel, email, fallback, route};
use crate::store::{StoreError, Tx, templates};
use crate::stream::model::Change;

/// How much longer than the call itself an entry is marked as being sent.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// A wait that is shorter than this is waited out in hand: writing it down would cost more.
const SHORT_WAIT: Millis = 1_000;
/// Meta's code for a message that cannot go to a business-scoped user id (reference `whatsapp.md` 14.2).
const NOT_FOR_USER_IDS: i64 = 131_062;
/// How many entries that were set aside are recalled by one unit.
const RECALLED_AT_ONCE: u32 = 256;
/// How many portions of what waits for room are recalled by one: about as many as go out until the next ones are.
const RECALLED_FOR_ROOM: u32 = 3;
/// When it is looked again whether a file is in Meta's hands; whoever hands it over tells sooner.
const MEDIA_LOOK_AGAIN: Millis = 5_000;

/// Why advertising waits whose recipient has had enough of it.
const CAPPED_REASON: &str =
    "marketing_cap (131049): Meta passes on no more advertising to this person for now, from anybody";

/// Why audio and video wait while others go.
const MEDIA_REASON: &str = "audio and video go at a pace of their own";

/// What a unit that takes entries has found out about them.
struct Known {
    messages: HashMap<MessageId, Message>,
    conversations: HashMap<ConversationId, Conversation>,
    identities: HashMap<ContactId, Vec<Identity>>,
    terms: HashMap<MessageId, Terms>,
    /// The files of messages.
    files: outbound::Known,
    /// When those were last written to outside of a window to whom that is about to be done.
    reached: HashMap<ContactId, Millis>,
    /// How many more people may be written to so.
    people: Left,
    /// Of e-mails whose policy names one.
    subjects: HashMap<MessageId, String>,
    /// What contacts have said of being written to.
    consents: Consents,
    /// Who gets no more advertising.
    caps: Caps,
    /// How the templates stand that messages are, or may become; by name and language.
    templates: HashMap<(String, String), templates::TemplateStanding>,
    /// The comments that are answered.
    comments: HashMap<MessageId, (Comment, Message)>,
    /// How many of them may be answered privately now, and when more.
    private: (i64, Millis),
}

/// Why a message is not sent because of its template.
enum Stop {
    /// Not before, and why.
    Until(Millis, String),
    /// Never.
    For(Failure),
}

/// What a unit that takes entries is going to write.
#[derive(Default)]
struct Writes {
    removed: Vec<MessageId>,
    updated: Vec<Message>,
    /// Those of them whose template takes the place of what they said.
    replaced: Vec<Message>,
    /// When and why it does.
    taken_up: Vec<Terms>,
    postponed: Vec<Postponement>,
    /// Files that have to be handed to Meta first.
    wanted_files: Vec<Upload>,
    changes: Vec<Change>,
}

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
        let mut writes = Writes::default();
        {
            // Nobody else holds it for longer than a moment, and nothing is waited for under it.
            let pace = pace.lock().expect("no thread panics while it holds this lock");
            self.decide(entries, known, claim, &pace, &mut taken, &mut writes);
        }
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

    /// How a message may be sent now. Where the window has closed since it was accepted, its template takes its place; `None` if it has none.
    fn permit(
        &self,
        message: &mut Message,
        terms: Option<&mut Terms>,
        window_ends_at: Option<Millis>,
        now: Millis,
    ) -> Option<Permit> {
        let fallback = terms.as_ref().and_then(|terms| terms.fallback.as_ref());
        match window::at_send(
            self.channel.kind,
            message.sender,
            &message.content,
            fallback,
            window_ends_at,
            now,
        ) {
            AtSend::Send(permit) => Some(permit),
            // It may have arrived as it was: then nothing else is to be said.
            AtSend::SendInstead if message.maybe_duplicate => None,
            AtSend::SendInstead => {
                let why = "the window closed before it could be sent".to_owned();
                fallback::take(message, terms, why, now).then_some(Permit::Plain)
            }
            AtSend::Closed => None,
        }
    }

    fn decide(
        &self,
        entries: Vec<OutboxEntry>,
        mut known: Known,
        claim: &Claim,
        pace: &Pace,
        taken: &mut Taken,
        writes: &mut Writes,
    ) {
        let now = claim.now;
        let limits = self.limits();
        let (counts_people, media_per_second) = (limits.contacts_per_day > 0, limits.media_per_second);
        // Of these a second's worth is in hand at most.
        let mut media_in_hand = claim.media_in_hand;
        let mut people_left = known.people.count;
        let mut reached_now = HashSet::new();
        for entry in entries {
            let Some(mut message) = known.messages.remove(&entry.message_id) else {
                // Its message was erased.
                writes.removed.push(entry.message_id);
                continue;
            };
            if let Some(end) = End::of(&entry, &message, now) {
                end.apply(&mut message, now);
                taken.ended.push(message.content.kind());
                writes.end(entry.message_id, message);
                continue;
            }
            if let Some(statement) = known.forbids(&entry, now) {
                if entry.state == EntryState::Unknown {
                    End::OptedOutUnknown.apply(&mut message, now);
                    taken.ended.push(message.content.kind());
                } else {
                    cancel::forbid(&mut message, statement);
                }
                writes.end(entry.message_id, message);
                continue;
            }
            let conversation = known.conversations.get(&entry.conversation_id);
            let identities = conversation.and_then(|conversation| known.identities.get(&conversation.contact_id));
            let is_answer = message.content.answers_comment().is_some();
            let address = if is_answer {
                known.address_of_answer(&message.content, conversation.map(|conversation| &conversation.venue))
            } else {
                let identities = identities.map(Vec::as_slice).unwrap_or_default();
                request::address_of(self.channel.kind, &self.channel.account, identities)
            };
            let Some(address) = address else {
                if entry.state == EntryState::Unknown || message.maybe_duplicate {
                    End::NowhereUnknown.apply(&mut message, now);
                    taken.ended.push(message.content.kind());
                    writes.end(entry.message_id, message);
                    continue;
                }
                let failure = Failure::ours(if is_answer {
                    "the comment is gone"
                } else {
                    "the contact has no address on this channel any more"
                });
                message.receive(&Receipt::Failed(Some(failure)), now);
                taken.ended.push(message.content.kind());
                writes.end(entry.message_id, message);
                continue;
            };
            let wait = pace.lanes.wait(entry.conversation_id, now);
            if let Some((waits_for, until)) = wait
                && until - now > SHORT_WAIT
            {
                writes.put_back(&entry, waits_for, until);
                continue;
            }
            // What can be asked for twice as well as once is never a double.
            let is_maybe_double =
                !message.content.is_aside() && (message.maybe_duplicate || entry.state == EntryState::Unknown);
            let was_duplicate = std::mem::replace(&mut message.maybe_duplicate, is_maybe_double);
            let mut terms = known.terms.remove(&message.id);
            let said = message.content.clone();
            let window_ends_at = conversation.and_then(|conversation| conversation.window_ends_at);
            let Some(permit) = self.permit(&mut message, terms.as_mut(), window_ends_at, now) else {
                if message.maybe_duplicate {
                    End::ClosedUnknown.apply(&mut message, now);
                } else {
                    message.receive(&Receipt::Failed(Some(window::closed(self.channel.kind))), now);
                }
                taken.ended.push(message.content.kind());
                writes.end(entry.message_id, message);
                continue;
            };
            if known.advertises(&message.content, terms.as_ref())
                && let Some(conversation) = conversation
                && let Some(until) =
                    known
                        .caps
                        .hold_until(conversation.contact_id, conversation.may_be_answered_since(now), now)
            {
                writes.put_back_because(&entry, Wait::MarketingCap, until, Some(CAPPED_REASON.to_owned()));
                continue;
            }
            match known.stops(&message.content, &address, now) {
                Some(Stop::Until(until, reason)) => {
                    writes.put_back_because(&entry, Wait::TemplatePaused, until, Some(reason));
                    continue;
                }
                // One that may have arrived is not said to have failed: Meta decides.
                Some(Stop::For(failure)) if !message.maybe_duplicate => {
                    message.receive(&Receipt::Failed(Some(failure)), now);
                    taken.ended.push(message.content.kind());
                    if message.content != said {
                        writes.changes.push(Change::updated(&message));
                        writes.taken_up.extend(terms);
                    }
                    writes.end(entry.message_id, message);
                    continue;
                }
                Some(Stop::For(_)) | None => {}
            }
            let content = &message.content;
            let (sent, files) = match known
                .files
                .resolve(&self.app, &self.channel, content, entry.queued_at, now)
            {
                Resolved::Ready(sent, files) => (sent, files),
                Resolved::Wait(wanted) => {
                    writes.put_back(&entry, Wait::Media, now + MEDIA_LOOK_AGAIN);
                    if let Some(waiting) = writes.postponed.last_mut() {
                        waiting.reason = Some(known.files.reason(&wanted));
                    }
                    writes.want(wanted);
                    continue;
                }
                Resolved::Failed(failure) => {
                    message.maybe_duplicate = was_duplicate;
                    message.receive(&Receipt::Failed(Some(failure)), now);
                    taken.ended.push(message.content.kind());
                    writes.end(entry.message_id, message);
                    continue;
                }
            };
            let is_media = media_per_second > 0 && is_audio_or_video(&message.content);
            if is_media {
                if media_in_hand >= media_per_second {
                    let turn = taken.turns.next(entry.priority, media_per_second, now);
                    writes.put_back_because(&entry, Wait::RateLimit, turn, Some(MEDIA_REASON.to_owned()));
                    continue;
                }
                media_in_hand += 1;
            }
            let initiated = conversation
                .filter(|conversation| !conversation.window_is_open(now))
                .map(|conversation| conversation.contact_id);
            let mut reached = None;
            if let Some(contact_id) = initiated
                && counts_people
                && !reached_now.contains(&contact_id)
            {
                let before = known.reached.get(&contact_id).copied();
                let is_new = is_new(before, now);
                if is_new && people_left <= 0 {
                    writes.put_back(&entry, Wait::TierLimit, known.people.more_at.max(now + SHORT_WAIT));
                    continue;
                }
                people_left -= i64::from(is_new);
                reached_now.insert(contact_id);
                reached = Some(Reach {
                    contact_id,
                    at: now,
                    before,
                });
            }
            let counts_as_private =
                matches!(&message.content, Content::PrivateReply(answer) if !known.is_live(answer.message_id));
            if counts_as_private {
                let (left, more_at) = &mut known.private;
                if *left <= 0 {
                    writes.put_back(&entry, Wait::HourlyLimit, (*more_at).max(now + SHORT_WAIT));
                    continue;
                }
                *left -= 1;
            }
            let below = known.found_below(&message.content);
            let looks_below = entry.state == EntryState::Unknown || was_duplicate;
            let attempt_id: AttemptId = self.app.ids.next();
            if counts_as_private {
                taken.privately.push(attempt_id);
            }
            let callback = callback_of(message.id, attempt_id);
            let mut body = request::body(&address, &sent, message.reply_to.as_deref(), &callback);
            if permit == Permit::HumanAgent {
                request::tag_human_agent(&mut body);
            }
            if self.channel.kind == ChannelKind::Email {
                let subject = known.subjects.get(&message.id);
                email::dress(&mut body, subject.map(String::as_str), message.id);
            }
            taken.in_hand.push(InHand {
                attempt_id,
                kind: message.content.kind(),
                body,
                files,
                was_duplicate,
                is_maybe_double,
                not_before: wait.map_or(now, |(_, until)| until),
                below,
                looks_below,
                reached,
                is_media,
                entry,
            });
            if message.content != said {
                message.status = Status::Sending;
                writes.changes.push(Change::updated(&message));
                writes.replaced.push(message);
                writes.taken_up.extend(terms);
            }
        }
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

impl Known {
    /// What forbids a message, of what its contact has said up to this moment.
    fn forbids(&self, entry: &OutboxEntry, now: Millis) -> Option<&Statement> {
        let conversation = self.conversations.get(&entry.conversation_id)?;
        let purpose = self
            .terms
            .get(&entry.message_id)
            .map_or(Purpose::Service, |terms| terms.purpose);
        self.consents.forbids(
            conversation.contact_id,
            purpose,
            conversation.may_be_answered_since(now),
        )
    }

    /// Whether a message advertises, as it is sent now: what was found when it was accepted, or its template has become advertising since. That the
    /// template does which stands ready for a message does not make the message itself advertising.
    fn advertises(&self, content: &Content, terms: Option<&Terms>) -> bool {
        let is_advertising = |template: &Template| {
            let key = (template.name.clone(), template.language.clone());
            (self.templates.get(&key)).is_some_and(|known| known.category == template_model::MARKETING)
        };
        let is_for_marketing = terms.is_some_and(|terms| terms.purpose == Purpose::Marketing);
        let ready = terms.and_then(|terms| terms.fallback.as_ref());
        match content {
            Content::Template(template) => is_for_marketing || is_advertising(template),
            _ => is_for_marketing && !ready.is_some_and(|ready| is_advertising(&ready.template)),
        }
    }

    /// Where an answer to a comment goes; `None` if the comment is gone.
    fn address_of_answer(&self, content: &Content, venue: Option<&Venue>) -> Option<Address> {
        let (comment, message) = self.comments.get(&content.answers_comment()?)?;
        let external_id = message.external_id.clone().filter(|_| message.deleted_at.is_none())?;
        Some(match (content, comment.kind) {
            (Content::PrivateReply(_), _) => Address::CommentAuthor(external_id),
            (_, CommentKind::Comment | CommentKind::Live) => Address::Comment(external_id),
            (_, kind @ (CommentKind::Mention | CommentKind::Caption)) => Address::Mention {
                media_id: venue?.media_id()?.to_owned(),
                comment_id: (kind == CommentKind::Mention).then_some(external_id),
            },
        })
    }

    /// Whether it was made on a broadcast: such answers have no limit an hour (reference `instagram.md` 6).
    fn is_live(&self, comment: MessageId) -> bool {
        let comment = self.comments.get(&comment);
        comment.is_some_and(|(comment, _)| comment.kind == CommentKind::Live)
    }

    /// Below which comment a public answer is found, once it is there: one to an answer is put under the first comment (reference `instagram.md` 4).
    /// Under posts of others nothing can be looked for.
    fn found_below(&self, content: &Content) -> Option<String> {
        let (comment, message) = self.comments.get(&content.answers_comment()?)?;
        let is_public = matches!(content, Content::CommentReply(_)) && !comment.kind.is_mention();
        let first = message.reply_to.clone().or_else(|| message.external_id.clone());
        first.filter(|_| is_public)
    }

    /// Whether the template of a message stops it. One that is not known, or may not be what it was, does not: Meta decides.
    fn stops(&self, content: &Content, address: &Address, now: Millis) -> Option<Stop> {
        let template = template_of(content)?;
        let known = self
            .templates
            .get(&(template.name.clone(), template.language.clone()))?;
        let failure = |code: i64, text: &str| {
            Stop::For(Failure {
                code,
                subcode: None,
                text: text.to_owned(),
            })
        };
        match template_model::standing(&known.status, known.paused_until, now) {
            TemplateStanding::Paused(until) => {
                let until = until.unwrap_or(now + millis(PAUSED_WAIT));
                let reason = format!("the template `{}` is paused by Meta", template.name);
                Some(Stop::Until(until, reason))
            }
            TemplateStanding::Disabled => Some(failure(
                news::CODE_DISABLED,
                "the template was disabled before the message could be sent",
            )),
            TemplateStanding::Sendable | TemplateStanding::NotApproved => {
                let is_for_codes = known.category == template_model::AUTHENTICATION;
                (is_for_codes && matches!(address, Address::UserId(_))).then(|| {
                    failure(
                        NOT_FOR_USER_IDS,
                        "a code to log in with goes to a phone number, and none is known of the contact",
                    )
                })
            }
        }
    }
}

/// Whether a message goes at the pace of audio and video, where there is one (reference `instagram.md` 6).
fn is_audio_or_video(content: &Content) -> bool {
    matches!(content, Content::Audio(_) | Content::Video(_))
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

impl Writes {
    fn end(&mut self, id: MessageId, message: Message) {
        self.changes.push(Change::status_of(&message));
        self.updated.push(message);
        self.removed.push(id);
    }

    /// Each of these files once.
    fn want(&mut self, wanted: Vec<Upload>) {
        for upload in wanted {
            if !self.wanted_files.iter().any(|known| known.key == upload.key) {
                self.wanted_files.push(upload);
            }
        }
    }

    fn put_back(&mut self, entry: &OutboxEntry, waits_for: Wait, until: Millis) {
        self.put_back_because(entry, waits_for, until, entry.reason.clone());
    }

    fn put_back_because(&mut self, entry: &OutboxEntry, waits_for: Wait, until: Millis, reason: Option<String>) {
        self.postponed.push(Postponement {
            message_id: entry.message_id,
            state: entry.state,
            due_at: until,
            attempts: entry.attempts,
            // What is of unknown outcome stays what it is.
            waits_for: if entry.state == EntryState::Waiting {
                waits_for
            } else {
                entry.waits_for
            },
            reason,
            aside: match entry.state {
                EntryState::Waiting => waits_for.aside(),
                // Whether there is room is not asked for what may have been sent.
                EntryState::Sending | EntryState::Unknown => waits_for.aside().map(|_| Aside::UntilDue),
            },
        });
    }
}
