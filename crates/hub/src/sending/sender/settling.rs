//! What came of calls is written down: the one place where an outcome is turned into what happens next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::taking::is_new;
use super::{Ended, InHand, Made, PAUSED_WAIT, Reach, Sender, millis, template_of};
use crate::channels::hold;
use crate::channels::model::ChannelKind;
use crate::channels::templates::news;
use crate::conversations::consent::model::{Source, Statement};
use crate::conversations::content::Content;
use crate::conversations::model::{
    ChannelId, Failure, Identity, IdentityKey, IdentityKind, Message, Millis, Receipt, Status,
};
use crate::conversations::projection::REFUSES_MARKETING;
use crate::conversations::{consent, phone};
use crate::ids::{AttemptId, ConsentId, ContactId, ConversationId, MessageId};
use crate::media::outbound::Used;
use crate::sending::model::{
    self, AttemptEnd, BudgetKind, Cause, EntryState, OutboxEntry, Outcome, Postponement, Purpose, Terms, Wait,
};
use crate::sending::{fallback, marketing, outcome, pace, request};
use crate::store::messages::ReactionRow;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// Why a message of unknown outcome is not sent again yet.
const SILENT: &str = "it is not known whether Meta took it, and Meta does not answer: it is sent again when it does";

/// What a unit that settles a group has in hand, and is going to write.
#[derive(Default)]
struct Settling {
    messages: HashMap<MessageId, Message>,
    /// Of those that found their window closed.
    terms: HashMap<MessageId, Terms>,
    /// Those of them whose template takes their place.
    replaced: Vec<MessageId>,
    /// Files that Meta does not know any more.
    forgotten: Vec<Used>,
    /// How long those wait whose recipients get no more advertising; what has waited for that before is not among them.
    capped: HashMap<MessageId, Duration>,
    /// What Meta said if it refused the credentials.
    refused: Option<(Failure, Millis)>,
    finished: Vec<(AttemptId, AttemptEnd)>,
    removed: Vec<MessageId>,
    postponed: Vec<Postponement>,
    changed: Vec<MessageId>,
    /// What Meta has taken, and calls so since then.
    accepted: Vec<(MessageId, String, Millis)>,
    /// Those of them whose entry somebody else has in hand.
    late: Vec<MessageId>,
    recipients: Vec<(ConversationId, model::Recipient, Millis)>,
    /// The messages that a reaction of ours is on now, or no longer, since when.
    reactions: BTreeMap<MessageId, (Option<String>, Millis)>,
}

/// A message that Meta did not pass on since its contact gets no (more) advertising.
struct RefusedAdvertising<'e> {
    in_hand: &'e InHand,
    contact_id: ContactId,
    at: Millis,
    /// They have said that they want none; else they have had enough for now.
    is_by_wish: bool,
}

impl Sender {
    /// What became of messages that were in hand, several in one unit. The one place for it.
    pub(in crate::sending) fn settle(&self, tx: &mut Tx<'_>, group: &[Ended], now: Millis) -> Result<(), StoreError> {
        // Before anything else is locked, as the order of locks has it.
        let taken = addresses_taken(tx, group)?;
        let refused = self.refused_advertising(tx, group)?;
        release(tx, group, now)?;
        let mut ids: Vec<MessageId> = group
            .iter()
            .filter(|ended| ended.made.is_some())
            .map(|ended| ended.in_hand.entry.message_id)
            .collect();
        ids.sort_unstable();
        let capped = self.capped(tx, &refused)?;
        let mut settling = Settling {
            messages: tx
                .lock_messages(&ids)?
                .into_iter()
                .map(|message| (message.id, message))
                .collect(),
            capped,
            ..Settling::default()
        };
        let mut entries: HashMap<MessageId, OutboxEntry> = tx
            .lock_entries(&ids)?
            .into_iter()
            .map(|entry| (entry.message_id, entry))
            .collect();
        let closed: Vec<MessageId> = group
            .iter()
            .filter(|ended| ended.made.as_ref().is_some_and(|made| made.outcome.is_window_closed()))
            .map(|ended| ended.in_hand.entry.message_id)
            .collect();
        let terms = tx.terms_of_messages(&self.channel.id, &closed)?.into_iter();
        settling.terms = terms.map(|terms| (terms.message_id, terms)).collect();
        for ended in group {
            let Some(made) = &ended.made else { continue };
            let id = ended.in_hand.entry.message_id;
            let entry = entries
                .remove(&id)
                .filter(|entry| entry.attempt_id == Some(ended.in_hand.attempt_id));
            self.settle_one(&mut settling, &ended.in_hand, entry, made);
        }
        if let Some((failure, at)) = &settling.refused
            && hold::hold(&self.app, tx, &self.channel, failure, *at)?
        {
            tracing::error!(channel = %self.channel.id, code = failure.code, reason = failure.text, "Meta refuses the channel: it is held, and its messages wait");
        }
        tx.keep_fallbacks_taken(&settling.terms.values().collect::<Vec<_>>())?;
        settling.identify(tx, &self.channel.id)?;
        settling.learn_addresses(tx, taken)?;
        let reacted = settling.react(tx)?;
        let changed: Vec<&Message> = settling
            .changed
            .iter()
            .filter_map(|id| settling.messages.get(id))
            .collect();
        tx.update_messages(&changed)?;
        let mut rows: Vec<NewStreamRow> = changed
            .iter()
            .map(|message| {
                let updated = settling
                    .replaced
                    .contains(&message.id)
                    .then(|| Change::updated(message));
                NewStreamRow {
                    at: now,
                    channel_id: Some(self.channel.id.clone()),
                    event_id: None,
                    changes: updated.into_iter().chain([Change::status_of(message)]).collect(),
                }
            })
            .collect();
        tx.finish_attempts(&settling.finished)?;
        count_private_calls(tx, group)?;
        for file in &settling.forgotten {
            tx.renew_media_upload(&file.key, &file.meta_id, now)?;
        }
        tx.remove_entries(&settling.removed)?;
        tx.postpone_entries(&settling.postponed)?;
        for id in &settling.late {
            tx.settle_outbox_by_event(*id)?;
        }
        rows.extend(self.told_of(reacted, now));
        rows.extend(self.note_refused_advertising(tx, &refused, now)?);
        // After everything that concerns messages, as the order of locks has it.
        rows.extend(self.learn_of_templates(tx, group, &settling, now)?);
        self.take_back_counted(tx, group, now)?;
        if !rows.is_empty() {
            tx.insert_stream(&rows)?;
        }
        Ok(())
    }

    /// Messages that Meta did not pass on since their contacts get no (more) advertising. The contacts are locked, before any message is.
    fn refused_advertising<'e>(
        &self,
        tx: &mut Tx<'_>,
        group: &'e [Ended],
    ) -> Result<Vec<RefusedAdvertising<'e>>, StoreError> {
        let mut refused = Vec::new();
        for ended in group {
            let Some(made) = &ended.made else { continue };
            let code = made.outcome.failure().map_or(0, |failure| failure.code);
            if self.channel.kind != ChannelKind::WhatsApp || !matches!(code, REFUSES_MARKETING | marketing::CAPPED) {
                continue;
            }
            let conversation = tx.conversation_by_id(ended.in_hand.entry.conversation_id)?;
            if let Some(conversation) = conversation
                && let Some(contact_id) = tx.lock_contact(conversation.contact_id)?
            {
                refused.push(RefusedAdvertising {
                    in_hand: &ended.in_hand,
                    contact_id,
                    at: made.end.at,
                    is_by_wish: code == REFUSES_MARKETING,
                });
            }
        }
        Ok(refused)
    }

    /// How long those of them wait that have met the cap for the first time.
    fn capped(
        &self,
        tx: &mut Tx<'_>,
        refused: &[RefusedAdvertising<'_>],
    ) -> Result<HashMap<MessageId, Duration>, StoreError> {
        let hold = self.app.config.sending.marketing_hold;
        let mut capped: HashMap<MessageId, Duration> = HashMap::new();
        let mut tried = Vec::new();
        for of in refused.iter().filter(|of| !of.is_by_wish && !hold.is_zero()) {
            let entry = &of.in_hand.entry;
            capped.insert(entry.message_id, marketing::length(hold, of.contact_id));
            tried.push((entry.message_id, AttemptId::first_of(entry.queued_at)));
        }
        for again in tx.messages_with_attempt(&tried, Cause::MarketingCap.as_str())? {
            capped.remove(&again);
        }
        Ok(capped)
    }

    /// Keeps what that says of the contacts.
    fn note_refused_advertising(
        &self,
        tx: &mut Tx<'_>,
        refused: &[RefusedAdvertising<'_>],
        now: Millis,
    ) -> Result<Option<NewStreamRow>, StoreError> {
        let capped = refused.iter().filter(|of| !of.is_by_wish);
        tx.note_marketing_caps(&capped.map(|of| (of.contact_id, of.at)).collect::<Vec<_>>())?;
        let said = refused.iter().filter(|of| of.is_by_wish).filter_map(|of| {
            Some(Statement {
                id: ConsentId::from_slice(of.in_hand.attempt_id.as_bytes())?,
                contact_id: of.contact_id,
                purpose: Purpose::Marketing,
                opted_out: true,
                source: Source::Refusal,
                at: of.at,
                channel_id: Some(self.channel.id.clone()),
                detail: None,
                actor: None,
                noted_at: now,
            })
        });
        let noted = consent::note(tx, &said.collect::<Vec<_>>())?;
        let changed = noted
            .new
            .iter()
            .map(|of| Change::ConsentChanged { contact: of.contact_id });
        let withdrawn = noted.withdrawn.iter().map(|(_, message)| Change::status_of(message));
        Ok(self.told_of(changed.chain(withdrawn).collect(), now))
    }

    /// What Meta has refused messages for because of their template changes what is known of it.
    fn learn_of_templates(
        &self,
        tx: &mut Tx<'_>,
        group: &[Ended],
        settling: &Settling,
        now: Millis,
    ) -> Result<Option<NewStreamRow>, StoreError> {
        let Some(account) = &self.channel.business_account else {
            return Ok(None);
        };
        let mut learnt: HashSet<(&str, &str, i64)> = HashSet::new();
        let mut changes = Vec::new();
        for ended in group {
            let failure = ended.made.as_ref().and_then(|made| made.outcome.failure());
            let message = settling.messages.get(&ended.in_hand.entry.message_id);
            let template = message.and_then(|message| template_of(&message.content));
            let (Some(failure), Some(template)) = (failure, template) else {
                continue;
            };
            if learnt.insert((&template.name, &template.language, failure.code)) {
                let heard = news::refused(tx, account, template, failure.code, now)?;
                if let Some(notice) = &heard.notice {
                    notice.log();
                }
                changes.extend(heard.changes);
            }
        }
        Ok((!changes.is_empty()).then_some(NewStreamRow {
            at: now,
            channel_id: None,
            event_id: None,
            changes,
        }))
    }

    /// What was counted when those were taken in hand whose call was not made is not counted after all. Like counting, the last thing but telling.
    fn take_back_counted(&self, tx: &mut Tx<'_>, group: &[Ended], now: Millis) -> Result<(), StoreError> {
        let unsent: Vec<&InHand> = group
            .iter()
            .filter(|ended| ended.made.is_none())
            .map(|ended| &ended.in_hand)
            .collect();
        self.count_calls(tx, now, -(unsent.len() as i64))?;
        let unreached: Vec<Reach> = unsent.iter().filter_map(|in_hand| in_hand.reached).collect();
        self.take_back_reached(tx, &unreached, now)
    }

    /// Those people were not written to after all: they count where they counted before.
    fn take_back_reached(&self, tx: &mut Tx<'_>, reached: &[Reach], now: Millis) -> Result<(), StoreError> {
        let budget = self.channel.budget();
        let unreached: Vec<_> = reached
            .iter()
            .map(|reach| (reach.contact_id, reach.at, reach.before))
            .collect();
        let taken_back: HashSet<ContactId> = tx.take_back_people_reached(&budget, &unreached)?.into_iter().collect();
        let mut used = BTreeMap::new();
        for reach in reached.iter().filter(|reach| taken_back.contains(&reach.contact_id)) {
            *used.entry(pace::span_of(reach.at)).or_default() -= 1;
            if let Some(before) = reach.before.filter(|before| !is_new(Some(*before), now)) {
                *used.entry(pace::span_of(before)).or_default() += 1;
            }
        }
        tx.add_to_budget(&budget, BudgetKind::People, &used)
    }

    fn settle_one(&self, settling: &mut Settling, in_hand: &InHand, entry: Option<OutboxEntry>, made: &Made) {
        let (outcome, at) = (&made.outcome, made.end.at);
        // Whoever settled it meanwhile has given the attempt its end: that nothing came adds nothing to that.
        if entry.is_some() || !matches!(outcome, Outcome::Unknown { .. }) {
            settling.finished.push((in_hand.attempt_id, made.end.clone()));
        }
        let id = in_hand.entry.message_id;
        let Some(message) = settling.messages.get_mut(&id) else {
            return;
        };
        let Some(entry) = entry else {
            // Somebody else has taken it over, or an event has settled it; what Meta answered is in the attempt. Meta's id is still worth
            // having.
            if let Outcome::Accepted {
                external_id: Some(external_id),
                ..
            } = outcome
                && message.external_id.is_none()
            {
                settling.accepted.push((id, external_id.clone(), at));
                settling.late.push(id);
                settling.changed.push(id);
            }
            return;
        };
        let mut postpone = |state: EntryState, due_at: Millis, attempts: u32, waits_for: Wait, reason: String| {
            settling.postponed.push(Postponement {
                message_id: id,
                state,
                due_at,
                attempts,
                waits_for,
                reason: Some(reason),
                aside: waits_for.aside(),
            });
        };
        match outcome {
            Outcome::Accepted { external_id, recipient } => {
                if let Content::Reaction(react) = &message.content {
                    settling
                        .reactions
                        .insert(react.message_id, (react.emoji().map(str::to_owned), at));
                }
                match external_id {
                    Some(external_id) => settling.accepted.push((id, external_id.clone(), at)),
                    None => {
                        message.receive(&Receipt::Accepted, at);
                    }
                }
                settling.recipients.push((entry.conversation_id, recipient.clone(), at));
                settling.removed.push(id);
            }
            // An event was faster than the answer: Meta has it, whatever became of the answer.
            Outcome::Again { .. } | Outcome::Unknown { .. } if message.external_id.is_some() => {
                if let Some((_, end)) = settling.finished.last_mut() {
                    Outcome::ACCEPTED.clone_into(&mut end.outcome);
                }
                settling.removed.push(id);
            }
            Outcome::Again {
                cause: Cause::MarketingCap,
                failure,
                ..
            } if !settling.capped.contains_key(&id) => {
                message.receive(&Receipt::Failed(Some(failure.clone())), at);
                settling.removed.push(id);
            }
            Outcome::Again { cause, failure, wait } => {
                let capped = settling.capped.get(&id).copied();
                let (attempts, due_at) = again(&entry, *cause, capped.or(*wait), made);
                message.status = Status::Queued;
                if *cause == Cause::Credentials {
                    // All of the channel waits, on every node, until the credentials work again.
                    settling.refused.get_or_insert((failure.clone(), at));
                }
                postpone(
                    EntryState::Waiting,
                    due_at,
                    attempts,
                    cause.wait(),
                    reason(*cause, failure),
                );
            }
            Outcome::Unknown { failure, answered } => {
                let attempts = entry.attempts + 1;
                let listen = self.app.config.sending.unknown_after;
                let (pause, waits_for) = if *answered {
                    let pause = model::pause(attempts, made.fraction);
                    (listen.max(pause), Wait::UnknownAfterError)
                } else {
                    (listen, Wait::UnknownOutcome)
                };
                let why = if failure.is_ours() {
                    format!("it is not known whether Meta took it: {}", failure.text)
                } else {
                    format!(
                        "it is not known whether Meta took it ({}): {}",
                        failure.code, failure.text
                    )
                };
                postpone(EntryState::Unknown, at + millis(pause), attempts, waits_for, why);
            }
            Outcome::Failed {
                failure,
                window_closed: true,
            } if fallback::take(message, settling.terms.get_mut(&id), fallback::refused(failure), at) => {
                message.status = Status::Queued;
                settling.replaced.push(id);
                let why = format!("window_closed ({}): its template takes its place", failure.code);
                postpone(EntryState::Waiting, at, entry.attempts, Wait::Turn, why);
            }
            // Meta has forgotten a file that it was given for an earlier message: it is given it anew, once.
            Outcome::Failed { failure, .. }
                if outcome::is_about_the_file(failure) && in_hand.files.iter().any(|file| file.is_reused) =>
            {
                message.status = Status::Queued;
                let reused = in_hand.files.iter().filter(|file| file.is_reused);
                settling.forgotten.extend(reused.cloned());
                let why = format!("Meta has forgotten its file ({}): it is handed over anew", failure.code);
                postpone(EntryState::Waiting, at, entry.attempts, Wait::Media, why);
            }
            Outcome::Failed { failure, .. } => {
                message.receive(&Receipt::Failed(Some(failure.clone())), at);
                settling.removed.push(id);
            }
        }
        settling.changed.push(id);
    }
}

/// Those whose call was not made are as they were.
fn release(tx: &mut Tx<'_>, group: &[Ended], now: Millis) -> Result<(), StoreError> {
    let unsent: Vec<(OutboxEntry, AttemptId)> = group
        .iter()
        .filter(|ended| ended.made.is_none())
        .map(|ended| (ended.in_hand.entry.clone(), ended.in_hand.attempt_id))
        .collect();
    if unsent.is_empty() {
        return Ok(());
    }
    let mut ids: Vec<MessageId> = unsent.iter().map(|(entry, _)| entry.message_id).collect();
    ids.sort_unstable();
    tx.lock_messages(&ids)?;
    // What somebody else has taken over, and perhaps ended, says of itself what it is.
    let ours: HashSet<AttemptId> = (tx.lock_entries(&ids)?.into_iter())
        .filter_map(|entry| entry.attempt_id)
        .collect();
    tx.release_entries(&unsent, now)?;
    let (mut queued, mut sending) = (Vec::new(), Vec::new());
    let released = |ended: &&Ended| ended.made.is_none() && ours.contains(&ended.in_hand.attempt_id);
    for ended in group.iter().filter(released) {
        let shown = (ended.in_hand.entry.message_id, ended.in_hand.was_duplicate);
        match ended.in_hand.entry.state {
            EntryState::Waiting => queued.push(shown),
            EntryState::Sending | EntryState::Unknown => sending.push(shown),
        }
    }
    tx.show_queued(&queued)?;
    tx.show_sending(&sending)?;
    let silent = group.iter().filter(released).filter_map(|ended| {
        let entry = &ended.in_hand.entry;
        Some(Postponement {
            message_id: entry.message_id,
            state: entry.state,
            due_at: ended.silent_until?,
            attempts: entry.attempts,
            waits_for: entry.waits_for,
            reason: Some(SILENT.to_owned()),
            aside: None,
        })
    });
    tx.postpone_entries(&silent.collect::<Vec<_>>())
}

/// Private replies count from when they were at Meta; those that never got there do not.
fn count_private_calls(tx: &mut Tx<'_>, group: &[Ended]) -> Result<(), StoreError> {
    let (mut made, mut unmade) = (Vec::new(), Vec::new());
    for ended in group
        .iter()
        .filter(|ended| request::is_private_reply(&ended.in_hand.body))
    {
        let attempt = ended.in_hand.attempt_id;
        match &ended.made {
            Some(call) if !call.never_got_there() => made.push((attempt, call.end.at)),
            Some(_) | None => unmade.push(attempt),
        }
    }
    tx.note_private_calls_made(&made)?;
    tx.forget_private_calls(&unmade)
}

/// How often a message has been tried, and when it is due again.
fn again(entry: &OutboxEntry, cause: Cause, wait: Option<Duration>, made: &Made) -> (u32, Millis) {
    let at = made.end.at;
    match cause {
        Cause::Temporary => {
            let attempts = entry.attempts + 1;
            let pause = model::pause(attempts, made.fraction);
            (attempts, at + millis(wait.map_or(pause, |wait| wait.max(pause))))
        }
        Cause::Throttled => (entry.attempts, made.hold_until.unwrap_or(at)),
        Cause::TemplatePaused => (entry.attempts, at + millis(wait.unwrap_or(PAUSED_WAIT))),
        // It is the channel that waits: once it goes on, the message is due.
        Cause::Credentials => (entry.attempts, at),
        // 4 to the power of the number of refusals, in seconds (reference `whatsapp.md` 13.2).
        Cause::PairLimit => {
            let attempts = entry.attempts + 1;
            let pause = Duration::from_secs(4_u64.saturating_pow(attempts.min(6).saturating_sub(1)));
            (attempts, at + millis(wait.unwrap_or(pause)))
        }
        Cause::MarketingCap => (entry.attempts + 1, at + millis(wait.unwrap_or_default())),
    }
}

impl Settling {
    /// Meta's ids of messages are known: what was said about them before is applied.
    fn identify(&mut self, tx: &mut Tx<'_>, channel: &ChannelId) -> Result<(), StoreError> {
        let keys: Vec<(ChannelId, String)> = self
            .accepted
            .iter()
            .map(|(_, external_id, _)| (channel.clone(), external_id.clone()))
            .collect();
        // An echo may have come before the answer, and have been taken for something said on the phone.
        let mut echoes: HashMap<String, Message> = HashMap::new();
        for echo in tx.lock_messages_by_external_ids(&keys)? {
            echoes.extend(echo.external_id.clone().map(|id| (id, echo)));
        }
        let mut unparked = Vec::new();
        for (id, external_id, at) in &self.accepted {
            let Some(message) = self.messages.get_mut(id) else {
                continue;
            };
            message.receive(&Receipt::Accepted, *at);
            if message.external_id.is_some() {
                continue;
            }
            if let Some(echo) = echoes.remove(external_id)
                && echo.id != message.id
            {
                if echo.event_id.is_none() {
                    // No echo, but another message of ours, which keeps it.
                    continue;
                }
                for (receipt, time) in [
                    (Receipt::Sent, echo.receipts.sent_at),
                    (Receipt::Delivered, echo.receipts.delivered_at),
                    (Receipt::Read, echo.receipts.read_at),
                ] {
                    if let Some(time) = time {
                        message.receive(&receipt, time);
                    }
                }
                tx.absorb_message(echo.id, message.id)?;
                // What it is sent with is ours, and need not be fetched.
                tx.forget_media_of_message(echo.id, *at)?;
            }
            message.external_id = Some(external_id.clone());
            unparked.push((channel.clone(), external_id.clone()));
        }
        if let Some((_, _, at)) = self.accepted.first() {
            tx.unpark_events(&unparked, *at)?;
        }
        Ok(())
    }

    /// Reactions that Meta has taken show on their messages; answers with what to tell of it.
    fn react(&self, tx: &mut Tx<'_>) -> Result<Vec<Change>, StoreError> {
        if self.reactions.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<MessageId> = self.reactions.keys().copied().collect();
        let shown: HashMap<MessageId, Millis> = tx
            .reactions_of_messages(&ids)?
            .into_iter()
            .filter(|reaction| reaction.by_business)
            .map(|reaction| (reaction.message_id, reaction.at))
            .collect();
        let rows: Vec<ReactionRow> = self
            .reactions
            .iter()
            .map(|(message_id, (emoji, at))| ReactionRow {
                message_id: *message_id,
                by_business: true,
                emoji: emoji.clone(),
                // Meta has just taken it: it is the last one, whatever the clocks say.
                at: shown.get(message_id).map_or(*at, |shown| (*at).max(shown + 1)),
                event_id: None,
            })
            .collect();
        tx.upsert_reactions(&rows)?;
        Ok(tx.messages_by_ids(&ids)?.iter().map(Change::updated).collect())
    }

    /// Meta may know recipients by other addresses than the ones that were sent to (reference `whatsapp.md` 9.1). One that belongs to
    /// somebody is not taken away on the word of an answer; their next event decides.
    fn learn_addresses(&self, tx: &mut Tx<'_>, mut taken: HashSet<IdentityKey>) -> Result<(), StoreError> {
        for (conversation, recipient, at) in &self.recipients {
            for identity in addresses_of(recipient, *at) {
                if taken.contains(&identity.key) {
                    continue;
                }
                if let Some(conversation) = tx.conversation_by_id(*conversation)? {
                    taken.insert(identity.key.clone());
                    tx.bind_identities(&[(identity, conversation.contact_id)])?;
                }
            }
        }
        Ok(())
    }
}

/// Of the addresses by which Meta knows the recipients of a group, those that belong to somebody. All of them are locked, and so is whoever gets one that
/// belongs to nobody, lest they be merged away meanwhile.
fn addresses_taken(tx: &mut Tx<'_>, group: &[Ended]) -> Result<HashSet<IdentityKey>, StoreError> {
    let told = group.iter().filter_map(|ended| match ended.made.as_ref()? {
        Made {
            outcome: Outcome::Accepted { recipient, .. },
            end,
            ..
        } => Some((ended.in_hand.entry.conversation_id, addresses_of(recipient, end.at))),
        _ => None,
    });
    let told: Vec<(ConversationId, IdentityKey)> = told
        .flat_map(|(conversation, addresses)| addresses.map(move |identity| (conversation, identity.key)))
        .collect();
    let owners = tx.owners_of_identities(&told.iter().map(|(_, key)| key).collect::<Vec<_>>())?;
    let taken: HashSet<IdentityKey> = owners.into_iter().map(|(key, _)| key).collect();
    let mut getting = Vec::new();
    for (conversation, _) in told.iter().filter(|(_, key)| !taken.contains(key)) {
        getting.extend(
            tx.conversation_by_id(*conversation)?
                .map(|conversation| conversation.contact_id),
        );
    }
    tx.lock_contacts(getting)?;
    Ok(taken)
}

/// The addresses by which Meta knows a recipient.
fn addresses_of(recipient: &model::Recipient, at: Millis) -> impl Iterator<Item = Identity> {
    let phone = recipient.phone.as_deref().and_then(phone::PhoneNumber::parse);
    let phone = phone.map(|number| {
        let digits = number.digits().to_owned();
        (IdentityKind::Phone, phone::compared(&digits), digits)
    });
    let user_id = recipient.user_id.clone();
    let user_id = user_id.map(|id| (IdentityKind::UserId, id.clone(), id));
    let told = phone.into_iter().chain(user_id);
    told.map(move |(kind, value, shown)| Identity {
        key: IdentityKey {
            kind,
            scope: String::new(),
            value,
        },
        shown,
        seen_at: at,
    })
}

fn reason(cause: Cause, failure: &Failure) -> String {
    format!("{} ({}): {}", cause.as_str(), failure.code, failure.text)
}
