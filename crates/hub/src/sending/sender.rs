//! What a sender does with the store: takes messages in hand, and settles what came of them.
//!
//! Guarantee: at least one attempt for every entry until it is settled; who prevents doubles is the outbox: an entry is marked `sending`,
//! with its attempt, in a commit before Meta is called, and only heads of conversations are taken, so that within a conversation the
//! next one waits for the one before. A crash between that commit and the settling leaves the entry `sending`: whoever leads the channel
//! next finds it of `unknown` outcome (`take_over`).
//!
//! `Sender::settle` is the one place where an outcome is turned into what happens next. When calls are made is up to `leader`; whether the
//! channel sends at all, `Turn` says: one that is stopped rests, one whose credentials Meta refused asks whether they work again ([`hold`]).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use tidings_meta::client::{CallError, Exchange, GraphClient, Sent, Usage};
use tidings_meta::error;
use tidings_meta::notification::Platform;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::audit::{Auditor, SYSTEM};
use crate::channels::check::{self, CheckError};
use crate::channels::hold::{self, Prober};
use crate::channels::model::{ChannelKind, OpenCircuit};
use crate::channels::templates::model::Standing as TemplateStanding;
use crate::channels::templates::{model as template_model, news};
use crate::channels::{Channel, Standing, follow};
use crate::config::PaceConfig;
use crate::conversations::consent;
use crate::conversations::consent::model::{Consents, Source, Statement};
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{
    ChannelId, Comment, CommentKind, Conversation, Failure, Identity, IdentityKey, IdentityKind, Message, Millis,
    Receipt, Status, Venue,
};
use crate::conversations::phone;
use crate::conversations::projection::REFUSES_MARKETING;
use crate::conversations::understand::callback_of;
use crate::ids::{AttemptId, ConsentId, ContactId, ConversationId, MessageId};
use crate::media::model::Upload;
use crate::media::outbound::{self, Resolved, Used};
use crate::sending::email::{self, Mailer};
use crate::sending::end::End;
use crate::sending::leader::{self, Leader};
use crate::sending::lease::{Follows, Lead};
use crate::sending::model::{
    self, Attempt, AttemptEnd, Cause, EntryState, OutboxEntry, Outcome, Postponement, Priority, Purpose, Terms, Wait,
};
use crate::sending::pace::{Pace, Rate, Shares};
use crate::sending::request::Address;
use crate::sending::window::{self, AtSend, Permit};
use crate::sending::{cancel, fallback, outcome, pace, request, route};
use crate::store::messages::ReactionRow;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx, templates};
use crate::stream::model::Change;

/// How much longer than the call itself an entry is marked as being sent.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// For how long it counts that Meta answered, or did not.
const ANSWERS_FRESH: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Why a message of unknown outcome is not sent again yet.
const SILENT: &str = "it is not known whether Meta took it, and Meta does not answer: it is sent again when it does";
/// A wait that is shorter than this is waited out in hand: writing it down would cost more.
const SHORT_WAIT: Millis = 1_000;
/// Over how long messages are spread that were held back for a day (reference `whatsapp.md` 13.9: "with jitter over hours").
const CAP_SPREAD: Duration = Duration::from_hours(4);
/// Meta's code for a message that cannot go to a business-scoped user id (reference `whatsapp.md` 14.2).
const NOT_FOR_USER_IDS: i64 = 131_062;
/// How long the recipient gets no more advertising where Meta does not say (reference `whatsapp.md` 13.7).
const CAP_WAIT: Duration = Duration::from_hours(24);
/// How long a message waits for a paused template before it is looked at again, where nobody knows how long the pause is. When the template
/// goes on it is sent at once.
const PAUSED_WAIT: Duration = Duration::from_mins(15);
const HOUR_MILLIS: Millis = 3_600_000;
/// How far Meta's clock and ours may be apart.
const CLOCKS_APART: Millis = 60_000;
/// How many pages of answers are looked through for one of ours.
const LOOK_PAGES_MAX: usize = 4;
/// When it is looked again whether a file is in Meta's hands; whoever hands it over tells sooner.
const MEDIA_LOOK_AGAIN: Millis = 5_000;

/// The pace of an e-mail sender that has none of its own.
const UNLIMITED: PaceConfig = PaceConfig {
    per_second: 0,
    pair_pause: Duration::ZERO,
    pair_burst: 1,
    per_day: 0,
    contacts_per_day: 0,
    contact_per_hour: 0,
    per_hour: 0,
    private_per_hour: 0,
};

/// How long a channel that does not send waits for a change before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Runs until told to stop: sends a channel's messages for as long as this node leads it and the channel may send.
pub async fn run(app: App, channel_id: ChannelId, stop: CancellationToken) {
    let (mut changes, mut leases) = (app.channels.changes(), app.leases.changes());
    let mut prober = Prober::default();
    let mut led_until: Option<Instant> = None;
    let mut rests = Rests::default();
    while !stop.is_cancelled() {
        let lead = app.leases.lead(&channel_id);
        if lead.as_ref().is_some_and(Lead::yields) {
            app.leases.hand_over(&app, &channel_id).await;
            continue;
        }
        let rest = match (Turn::of(&app, &channel_id), lead) {
            (Turn::Send(sender), Some(mut lead)) => {
                // What this node has sent a moment ago counts like what another one has.
                if led_until.is_some_and(|until| until.elapsed() < Rate::used_up_for()) {
                    lead.follows = Follows::Anybody;
                }
                rests.epoch = Some(lead.epoch());
                Leader::new(Arc::new(*sender), lead, stop.clone()).run().await;
                led_until = Some(Instant::now());
                continue;
            }
            (turn, Some(lead)) => {
                // What was being sent when its process died is found by whoever leads, whether or not the channel sends: else it would be
                // neither told of nor ended.
                rests.tend(&app, &channel_id, &lead).await;
                match turn {
                    Turn::Probe(channel) => tokio::select! {
                        biased;
                        rest = prober.tend(&app, &channel) => rest.min(LOOK_AGAIN),
                        () = changes.changed() => Duration::ZERO,
                        () = stop.cancelled() => Duration::ZERO,
                    },
                    Turn::Send(_) | Turn::Rest => LOOK_AGAIN,
                }
            }
            (_, None) => LOOK_AGAIN,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = changes.changed() => {}
            () = leases.changed() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// What is done for a channel that this node leads while it does not send.
#[derive(Default)]
struct Rests {
    /// Under which lead that was begun.
    epoch: Option<i64>,
    swept_at: Option<Instant>,
}

impl Rests {
    /// Looks for what was being sent when its process died, now and then; under a new lead at once, and again until it succeeds.
    async fn tend(&mut self, app: &App, channel: &ChannelId, lead: &Lead) {
        if self.epoch != Some(lead.epoch()) {
            match leader::take_up_unknown(app, channel, lead).await {
                Ok(()) => self.epoch = Some(lead.epoch()),
                Err(error) => {
                    tracing::warn!(%error, %channel, "the outbox of a channel that sends nothing cannot be read");
                }
            }
            self.swept_at = Some(Instant::now());
        } else if self.swept_at.is_none_or(|at| at.elapsed() >= leader::SWEEP_EVERY) {
            leader::sweep(app, channel, lead).await;
            self.swept_at = Some(Instant::now());
        }
    }
}

/// What a channel's sender does next.
enum Turn {
    /// It sends.
    Send(Box<Sender>),
    /// Its credentials were refused: it asks whether they work again.
    Probe(Arc<Channel>),
    /// It waits for a change.
    Rest,
}

impl Turn {
    fn of(app: &App, channel_id: &ChannelId) -> Self {
        let Some(channel) = app.channels.get(channel_id) else {
            return Self::Rest;
        };
        let line = match (channel.kind, channel.connection(), &channel.credentials) {
            (_, Some(connection), _) => Some(Line::Meta {
                platform: connection.platform,
                client: connection.client.clone(),
                token: connection.access_token.clone(),
            }),
            (ChannelKind::Email, _, Some(smtp_url)) => Mailer::new(smtp_url, &channel.account).map(Line::Email),
            _ => None,
        };
        match (channel.standing(&app.flags), line) {
            (standing, Some(line)) if standing.sends() => Self::Send(Box::new(Sender {
                app: app.clone(),
                line,
                channel,
                answers: tokio::sync::Mutex::default(),
            })),
            (Standing::Held, Some(_)) => Self::Probe(channel),
            _ => Self::Rest,
        }
    }
}

/// A channel, and what is needed to send for it.
pub(super) struct Sender {
    pub(super) app: App,
    pub(super) channel: Arc<Channel>,
    line: Line,
    /// Whether Meta answered when it was last asked, and when that was.
    answers: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// How a channel's messages go out.
enum Line {
    Meta {
        platform: Platform,
        client: GraphClient,
        token: SecretString,
    },
    Email(Mailer),
}

/// What came of a call.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) http_status: Option<u16>,
    /// As it was said.
    pub(super) text: String,
    pub(super) elapsed: Duration,
    pub(super) usage: Usage,
    /// How the catalogue classes the error.
    class: Option<&'static str>,
}

/// A message in hand: marked as being sent, its attempt noted.
pub(super) struct InHand {
    /// As it was before it was taken.
    pub(super) entry: OutboxEntry,
    pub(super) attempt_id: AttemptId,
    pub(super) kind: &'static str,
    pub(super) body: serde_json::Value,
    /// The files of Meta's that it is sent with.
    files: Vec<Used>,
    /// Whether it was known before that it may have been sent.
    was_duplicate: bool,
    /// Whether it may have been sent before.
    is_maybe_double: bool,
    /// Its recipient is not to get it before.
    pub(super) not_before: Millis,
    /// Where to look for what an attempt before has left, if there was one: below this comment.
    look_below: Option<String>,
    /// It writes to somebody outside of a window: what was known of that is noted.
    pub(super) reached: Option<Reach>,
}

/// That somebody is written to outside of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// When that is.
    pub(super) at: Millis,
    /// When it was done last before.
    pub(super) before: Option<Millis>,
}

/// What a leader asks for.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) now: Millis,
    /// How many.
    pub(super) count: u32,
    pub(super) lead: Lead,
    pub(super) shares: Shares,
    /// Nobody may have been able to take what Meta had to tell for a while.
    pub(super) has_missed: bool,
}

/// What came of taking due entries.
#[derive(Default)]
pub(super) struct Taken {
    /// Another node leads the channel.
    pub(super) is_lost: bool,
    pub(super) in_hand: Vec<InHand>,
    /// The kinds of the messages that failed or expired instead; counted once the unit is committed, since a unit may be run again.
    pub(super) ended: Vec<&'static str>,
    /// Comments that are answered privately.
    privately: Vec<MessageId>,
    /// Files have to be handed to Meta first.
    pub(super) wants_files: bool,
    /// There may be more that is due.
    pub(super) is_full: bool,
    pub(super) next_due: Option<Millis>,
    pub(super) shares: Shares,
}

/// A message that is not in hand any more.
pub(super) struct Ended {
    pub(super) in_hand: InHand,
    /// `None`: its call was not made.
    pub(super) made: Option<Made>,
    /// Of one that was not called for since Meta does not answer: when that is looked at again.
    pub(super) silent_until: Option<Millis>,
}

/// A call that was made.
pub(super) struct Made {
    pub(super) outcome: Outcome,
    pub(super) end: AttemptEnd,
    /// Until when the channel is silent for it.
    pub(super) hold_until: Option<Millis>,
    /// A number from 0 to 1, for jitter.
    pub(super) fraction: f64,
}

/// What a unit that takes entries has found out about them.
struct Known {
    messages: HashMap<MessageId, Message>,
    conversations: HashMap<ConversationId, Conversation>,
    identities: HashMap<ContactId, Vec<Identity>>,
    terms: HashMap<MessageId, Terms>,
    /// The files of messages.
    files: outbound::Known,
    /// When those were last written to outside of a window to whom that is about to be done.
    reached: HashMap<ConversationId, Millis>,
    /// Of e-mails whose policy names one.
    subjects: HashMap<MessageId, String>,
    /// What contacts have said of being written to.
    consents: Consents,
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

impl Known {
    /// What forbids a message, of what its contact has said up to this moment.
    fn forbids(&self, entry: &OutboxEntry) -> Option<&Statement> {
        let conversation = self.conversations.get(&entry.conversation_id)?;
        let purpose = self
            .terms
            .get(&entry.message_id)
            .map_or(Purpose::Service, |terms| terms.purpose);
        self.consents
            .forbids(conversation.contact_id, purpose, conversation.last_inbound_at)
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

fn template_of(content: &Content) -> Option<&Template> {
    if let Content::Template(template) = content {
        Some(template)
    } else {
        None
    }
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
    pub(super) fn take(&self, tx: &mut Tx<'_>, claim: &Claim, pace: &Mutex<Pace>) -> Result<Taken, StoreError> {
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
            ..Taken::default()
        };
        let entries = self.claim(tx, claim, &mut taken)?;
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
        self.tell(tx, writes.changes, claim.now)?;
        Ok(taken)
    }

    /// Those that go next: of unknown outcome a quarter at most (but one at least), so that no backlog starves them; then those that wait,
    /// each priority by its share.
    fn claim(&self, tx: &mut Tx<'_>, claim: &Claim, taken: &mut Taken) -> Result<Vec<OutboxEntry>, StoreError> {
        let channel = &self.channel.id;
        let mut entries = tx.take_unknown_entries(channel, claim.now, (claim.count / 4).max(1))?;
        let room = claim.count.saturating_sub(entries.len() as u32);
        let mut queues: [VecDeque<OutboxEntry>; 3] = Default::default();
        for (queue, priority) in queues.iter_mut().zip(Priority::ALL) {
            *queue = tx.take_due_entries(channel, priority, claim.now, room)?.into();
        }
        while entries.len() < claim.count as usize
            && let Some(next) = taken
                .shares
                .next([0, 1, 2].map(|index: usize| !queues[index].is_empty()))
        {
            entries.extend(queues[next].pop_front());
        }
        taken.is_full = entries.len() >= claim.count as usize;
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
        let initiated: Vec<ConversationId> = conversations
            .iter()
            .filter(|(_, conversation)| !conversation.window_is_open(now))
            .map(|(id, _)| *id)
            .collect();
        let reached = if self.limits().contacts_per_day > 0 {
            tx.contacts_reached(&self.channel.id, &initiated)?.into_iter().collect()
        } else {
            HashMap::new()
        };
        let mut subjects = HashMap::new();
        if self.channel.kind == ChannelKind::Email {
            for leg in tx.legs_of_messages(&ids)? {
                let subject = route::policy(&self.app, &leg.policy).and_then(|policy| policy.subject);
                subjects.extend(subject.map(|subject| (leg.message_id, subject)));
            }
        }
        let consents = Consents::of(tx.standing_consent_statements(&contacts)?);
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
            comments: comments_of(tx, &answered)?,
            private,
            subjects,
            messages: messages.into_iter().map(|message| (message.id, message)).collect(),
            files,
            conversations,
            identities,
            terms: terms.into_iter().map(|terms| (terms.message_id, terms)).collect(),
            reached,
            templates,
        })
    }

    /// How many private replies may be made now (reference `instagram.md` 6), and when more.
    fn private_replies_left(&self, tx: &mut Tx<'_>, now: Millis) -> Result<(i64, Millis), StoreError> {
        let limit = self.limits().private_per_hour;
        if limit == 0 {
            return Ok((i64::MAX, now));
        }
        let made = tx.private_replies_since(&self.channel.id, now - HOUR_MILLIS, limit)?;
        let oldest = made.last().copied().unwrap_or(now);
        Ok((i64::from(limit) - made.len() as i64, oldest + HOUR_MILLIS))
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

    /// The pace that the channel is to keep: its platform's, over which stand the settings' own for it, over which stands what was set while the
    /// hub runs.
    pub(super) fn limits(&self) -> PaceConfig {
        let config = &self.app.config;
        let platform = match self.channel.platform() {
            Some(platform) => config.sending.pace(platform),
            None => &UNLIMITED,
        };
        let own = config.channels.iter().find(|channel| channel.id == self.channel.id.0);
        let given = own.map_or_else(|| platform.clone(), |channel| channel.pace.over(platform));
        self.channel.limits.pace().over(&given)
    }

    /// Whether the channel is still as this sender knows it, and may send.
    pub(super) fn is_current(&self) -> bool {
        self.app.channels.get(&self.channel.id).is_some_and(|channel| {
            channel.standing(&self.app.flags).sends()
                && channel.credentials_version == self.channel.credentials_version
                && channel.limits == self.channel.limits
        })
    }

    /// The channel may be held by now: whoever looks next is to know.
    pub(super) async fn know_of_hold(&self) {
        if let Err(error) = follow::refresh(&self.app).await {
            tracing::warn!(%error, channel = %self.channel.id, "that the channel is held will be known a moment later");
        }
    }

    /// Keeps how the channel's circuit is, unless another node leads it by now.
    pub(super) fn keep_circuit(
        &self,
        tx: &mut Tx<'_>,
        lead: &Lead,
        open: Option<&OpenCircuit>,
        was_open: bool,
        now: Millis,
    ) -> Result<(), StoreError> {
        let id = &self.channel.id;
        if !tx.keep_lease(id, &lead.node(), lead.epoch())? {
            return Ok(());
        }
        tx.set_channel_circuit(id, open)?;
        let audit = Auditor::new(&self.app.ids, SYSTEM, now);
        match open {
            // Each probe that fails opens it anew: that it was opened is told once.
            Some(open) if !was_open => {
                let detail = json!({ "reason": open.reason });
                tx.insert_audit(&audit.channel("channel.circuit_open", id, detail))
            }
            Some(_) => Ok(()),
            None => tx.insert_audit(&audit.channel("channel.circuit_close", id, json!({}))),
        }
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
        let (mut contacts_left, contacts_more_at) = pace.contacts_left(now);
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
            if let Some(statement) = known.forbids(&entry) {
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
            match known.stops(&message.content, &address, now) {
                Some(Stop::Until(until, reason)) => {
                    let until = until.min(entry.expires_at);
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
            let is_initiated = conversation.is_some_and(|conversation| !conversation.window_is_open(now));
            let mut reached = None;
            if pace.counts_contacts() && is_initiated && reached_now.insert(entry.conversation_id) {
                let before = known.reached.get(&entry.conversation_id).copied();
                let is_new = before.is_none_or(|at| pace::span_of(at) < pace::spans_since(now));
                if is_new && contacts_left <= 0 {
                    writes.put_back(&entry, Wait::TierLimit, contacts_more_at.max(now + SHORT_WAIT));
                    continue;
                }
                contacts_left -= i64::from(is_new);
                reached = Some(Reach { at: now, before });
            }
            if let Content::PrivateReply(answer) = &message.content
                && !known.is_live(answer.message_id)
            {
                let (left, more_at) = &mut known.private;
                if *left <= 0 {
                    writes.put_back(&entry, Wait::HourlyLimit, (*more_at).max(now + SHORT_WAIT));
                    continue;
                }
                *left -= 1;
                taken.privately.push(answer.message_id);
            }
            let look_below = (entry.state == EntryState::Unknown || was_duplicate)
                .then(|| known.found_below(&message.content))
                .flatten();
            let attempt_id: AttemptId = self.app.ids.next();
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
                look_below,
                reached,
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
        self.count_calls(tx, claim.now, marks.len() as i64)?;
        let reached = taken.in_hand.iter().filter(|in_hand| in_hand.reached.is_some());
        let reached: Vec<ConversationId> = reached.map(|in_hand| in_hand.entry.conversation_id).collect();
        tx.note_contacts_reached(channel, &reached, claim.now)?;
        tx.note_private_replies(&taken.privately, claim.now)
    }

    /// Notes calls that are about to be made, or, where it is negative, that were not made after all.
    fn count_calls(&self, tx: &mut Tx<'_>, now: Millis, count: i64) -> Result<(), StoreError> {
        let limits = self.limits();
        if count == 0 || (limits.per_day == 0 && limits.per_hour == 0) {
            return Ok(());
        }
        tx.add_pace_count(&self.channel.id, pace::span_of(now), count)
    }

    /// Calls Meta, or the SMTP server.
    pub(super) async fn call(&self, in_hand: &InHand) -> Answer {
        let body = &in_hand.body;
        if let Some(answer) = self.look_below(in_hand).await {
            return answer;
        }
        let (platform, exchange) = match &self.line {
            Line::Meta {
                platform: platform @ Platform::WhatsApp,
                client,
                token,
            } => (
                *platform,
                client.send_whatsapp(token, &self.channel.account, body).await,
            ),
            Line::Meta {
                platform: platform @ Platform::Instagram,
                client,
                token,
            } => (*platform, self.call_instagram(client, token, body).await),
            Line::Email(mailer) => {
                let began = Instant::now();
                let posted = mailer.send(body).await;
                return Answer {
                    outcome: posted.outcome,
                    http_status: None,
                    text: posted.answer,
                    elapsed: began.elapsed(),
                    usage: Usage::default(),
                    class: None,
                };
            }
        };
        let class = match &exchange.outcome {
            Err(CallError::Refused(refusal)) => Some(error::explain(platform, refusal).class.as_str()),
            _ => None,
        };
        let mut outcome = outcome::of(platform, request::is_repeatable(body), &exchange);
        // Meta takes one private reply for each comment: that there is one proves that the attempt whose outcome was unknown has made it.
        if in_hand.is_maybe_double && request::is_private_reply(body) && outcome::is_answered_already(&outcome) {
            outcome = Outcome::Accepted {
                external_id: None,
                recipient: model::Recipient::default(),
            };
        }
        Answer {
            outcome,
            http_status: exchange.http_status,
            text: exchange.answer,
            elapsed: exchange.elapsed,
            usage: exchange.usage,
            class,
        }
    }

    /// Whether Meta answers at all: a question that changes nothing is asked, once for all who want to know within a moment.
    ///
    /// What may have arrived is sent once more and not again, so that is not to be spent on a Meta that is away.
    pub(super) async fn meta_answers(&self) -> bool {
        let (Line::Meta { .. }, Some(credentials)) = (&self.line, &self.channel.credentials) else {
            return true;
        };
        let mut known = self.answers.lock().await;
        if let Some((at, answers)) = *known
            && at.elapsed() < ANSWERS_FRESH
        {
            return answers;
        }
        let (kind, account) = (self.channel.kind, &self.channel.account);
        let asked = check::works_again(&self.app, kind, account, credentials);
        // Whatever it says of the credentials, it says something.
        let answers = match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok(()) | Err(CheckError::Credentials(_) | CheckError::Account(_))) => true,
            Ok(Err(CheckError::Unanswered(_))) | Err(_) => false,
        };
        *known = Some((Instant::now(), answers));
        answers
    }

    async fn call_instagram(
        &self,
        client: &GraphClient,
        token: &SecretString,
        body: &serde_json::Value,
    ) -> Exchange<Sent> {
        if !request::is_comment(body) {
            return client.send_instagram(token, &self.channel.account, body).await;
        }
        let text = |name: &str| body[name].as_str();
        let message = text("message").unwrap_or_default();
        match (text("media_id"), text("comment_id")) {
            (Some(media_id), comment_id) => {
                let account = &self.channel.account;
                client
                    .reply_to_mention(token, account, media_id, comment_id, message)
                    .await
            }
            (None, comment_id) => {
                let comment_id = comment_id.unwrap_or_default();
                client.reply_to_comment(token, comment_id, message).await
            }
        }
    }

    /// Looks whether an attempt whose outcome stayed unknown has left its answer below the comment: then nothing is said again. `None` if there is
    /// none. Instagram's requests bear no mark, and the webhook of an own comment may be lost.
    async fn look_below(&self, in_hand: &InHand) -> Option<Answer> {
        let comment_id = in_hand.look_below.as_deref()?;
        let Line::Meta { client, token, .. } = &self.line else {
            return None;
        };
        let (words, account) = (in_hand.body["message"].as_str(), self.channel.account.as_str());
        let since = in_hand.entry.queued_at - CLOCKS_APART;
        let mut after: Option<String> = None;
        for _ in 0..LOOK_PAGES_MAX {
            let exchange = client.replies_to_comment(token, comment_id, after.as_deref()).await;
            let answer = |outcome: Outcome| Answer {
                outcome,
                http_status: exchange.http_status,
                text: exchange.answer.clone(),
                elapsed: exchange.elapsed,
                usage: exchange.usage,
                class: None,
            };
            let page = match &exchange.outcome {
                Ok(page) => page,
                // It is as unknown as before.
                Err(error) => {
                    let failure = Failure::ours(format!("what is below the comment could not be read: {error}"));
                    return Some(answer(Outcome::Unknown {
                        failure,
                        answered: true,
                    }));
                }
            };
            let ours = page.comments.iter().find(|comment| {
                comment.text.as_deref() == words
                    && comment.at.is_none_or(|at| at >= since)
                    && comment.from_id.as_deref().is_none_or(|from| from == account)
            });
            if let Some(found) = ours.and_then(|comment| comment.id.clone()) {
                return Some(answer(Outcome::Accepted {
                    external_id: Some(found),
                    recipient: model::Recipient::default(),
                }));
            }
            after = Some(page.after.clone()?);
        }
        None
    }

    pub(super) fn count(&self, answer: &Answer, in_hand: &InHand) {
        let outcome = &answer.outcome;
        let error = outcome
            .failure()
            .map(|failure| (failure.code, answer.class.unwrap_or_else(|| outcome.as_str())));
        if let (Some((code, class)), Some(failure)) = (error, outcome.failure()) {
            // Without a code of Meta's there was no answer in time, or none that can be understood.
            let said = if code == 0 {
                "nothing usable".to_owned()
            } else {
                code.to_string()
            };
            tracing::warn!(
                message = %in_hand.entry.message_id,
                attempt = %in_hand.attempt_id,
                channel = %self.channel.id,
                code,
                class,
                http_status = answer.http_status,
                "{} API responded {said}: {}",
                match self.channel.kind {
                    ChannelKind::WhatsApp => "WhatsApp",
                    ChannelKind::Instagram => "Instagram",
                    ChannelKind::Email => "SMTP",
                },
                failure.text,
            );
        }
        self.app.metrics.observe_send(answer.elapsed);
        // The counters of the runbook are those of Meta's products.
        let Some(platform) = self.channel.platform() else {
            return;
        };
        self.app.metrics.count_call(platform, "messages", error);
        match outcome {
            Outcome::Accepted { .. } => self.app.metrics.count_sent(platform, true, in_hand.kind),
            Outcome::Failed { .. } => self.app.metrics.count_sent(platform, false, in_hand.kind),
            Outcome::Again { .. } | Outcome::Unknown { .. } => {}
        }
    }

    /// What became of messages that were in hand, several in one unit. The one place for it.
    pub(super) fn settle(&self, tx: &mut Tx<'_>, group: &[Ended], now: Millis) -> Result<(), StoreError> {
        // Before anything else is locked, as the order of locks has it.
        let taken = addresses_taken(tx, group)?;
        self.release(tx, group, now)?;
        let mut ids: Vec<MessageId> = group
            .iter()
            .filter(|ended| ended.made.is_some())
            .map(|ended| ended.in_hand.entry.message_id)
            .collect();
        ids.sort_unstable();
        let unwilling = self.unwilling(tx, group)?;
        let mut settling = Settling {
            messages: tx
                .lock_messages(&ids)?
                .into_iter()
                .map(|message| (message.id, message))
                .collect(),
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
        for file in &settling.forgotten {
            tx.renew_media_upload(&file.key, &file.meta_id, now)?;
        }
        tx.remove_entries(&settling.removed)?;
        tx.postpone_entries(&settling.postponed)?;
        for id in &settling.late {
            tx.settle_outbox_by_event(*id)?;
        }
        rows.extend(self.told_of(reacted, now));
        rows.extend(self.note_unwilling(tx, unwilling, now)?);
        // After everything that concerns messages, as the order of locks has it.
        rows.extend(self.learn_of_templates(tx, group, &settling, now)?);
        if !rows.is_empty() {
            tx.insert_stream(&rows)?;
        }
        Ok(())
    }

    /// Contacts to whom Meta passes on no advertising, by their own wish, with the attempts that say so. They are locked, before any message is.
    fn unwilling(&self, tx: &mut Tx<'_>, group: &[Ended]) -> Result<Vec<(AttemptId, ContactId, Millis)>, StoreError> {
        let mut unwilling = Vec::new();
        for ended in group {
            let Some(made) = &ended.made else { continue };
            let code = made.outcome.failure().map(|failure| failure.code);
            if self.channel.kind != ChannelKind::WhatsApp || code != Some(REFUSES_MARKETING) {
                continue;
            }
            let conversation = tx.conversation_by_id(ended.in_hand.entry.conversation_id)?;
            if let Some(conversation) = conversation
                && let Some(contact) = tx.lock_contact(conversation.contact_id)?
            {
                unwilling.push((ended.in_hand.attempt_id, contact, made.end.at));
            }
        }
        Ok(unwilling)
    }

    fn note_unwilling(
        &self,
        tx: &mut Tx<'_>,
        unwilling: Vec<(AttemptId, ContactId, Millis)>,
        now: Millis,
    ) -> Result<Option<NewStreamRow>, StoreError> {
        let said = unwilling.into_iter().filter_map(|(attempt, contact_id, at)| {
            Some(Statement {
                id: ConsentId::from_slice(attempt.as_bytes())?,
                contact_id,
                purpose: Purpose::Marketing,
                opted_out: true,
                source: Source::Refusal,
                at,
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

    fn told_of(&self, changes: Vec<Change>, at: Millis) -> Option<NewStreamRow> {
        (!changes.is_empty()).then(|| NewStreamRow {
            at,
            channel_id: Some(self.channel.id.clone()),
            event_id: None,
            changes,
        })
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

    /// Those whose call was not made are as they were.
    fn release(&self, tx: &mut Tx<'_>, group: &[Ended], now: Millis) -> Result<(), StoreError> {
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
        self.count_calls(tx, now, -(unsent.len() as i64))?;
        let unreached: Vec<(ConversationId, Millis, Option<Millis>)> = group
            .iter()
            .filter(|ended| ended.made.is_none())
            .filter_map(|ended| {
                let reached = ended.in_hand.reached?;
                Some((ended.in_hand.entry.conversation_id, reached.at, reached.before))
            })
            .collect();
        tx.take_back_contacts_reached(&self.channel.id, &unreached)?;
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
            })
        });
        tx.postpone_entries(&silent.collect::<Vec<_>>())
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
            } if in_hand.entry.waits_for == Wait::MarketingCap
                || again(&entry, Cause::MarketingCap, None, made).1 >= entry.expires_at =>
            {
                message.receive(&Receipt::Failed(Some(failure.clone())), at);
                settling.removed.push(id);
            }
            Outcome::Again { cause, failure, wait } => {
                let (attempts, due_at) = again(&entry, *cause, *wait, made);
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

    fn tell(&self, tx: &mut Tx<'_>, changes: Vec<Change>, at: Millis) -> Result<(), StoreError> {
        match self.told_of(changes, at) {
            Some(row) => tx.insert_stream(&[row]),
            None => Ok(()),
        }
    }
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
        });
    }
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
        Cause::MarketingCap => {
            let spread = CAP_SPREAD.mul_f64(made.fraction.clamp(0.0, 1.0));
            (entry.attempts + 1, at + millis(wait.unwrap_or(CAP_WAIT) + spread))
        }
    }
}

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

/// Of the addresses by which Meta knows the recipients of a group, those that belong to somebody; all of them are locked.
fn addresses_taken(tx: &mut Tx<'_>, group: &[Ended]) -> Result<HashSet<IdentityKey>, StoreError> {
    let told = group.iter().filter_map(|ended| match ended.made.as_ref()? {
        Made {
            outcome: Outcome::Accepted { recipient, .. },
            end,
            ..
        } => Some(addresses_of(recipient, end.at)),
        _ => None,
    });
    let keys: Vec<IdentityKey> = told.flatten().map(|identity| identity.key).collect();
    let taken = tx.contacts_by_identities(&keys)?;
    Ok(taken.into_iter().map(|(key, _)| key).collect())
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

/// How an attempt ends whose process stopped.
pub fn interrupted(now: Millis) -> AttemptEnd {
    AttemptEnd {
        at: now,
        outcome: "unknown".to_owned(),
        http_status: None,
        failure: Some(Failure::ours("the process that sent it stopped before the answer")),
        answer: None,
        duration_micros: 0,
    }
}

/// A duration in the store's unit.
pub fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
