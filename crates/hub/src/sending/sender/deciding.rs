//! Whether each of the messages that were claimed may be sent as it is now, and what Meta is told. Asks the store for nothing: what there is to know has
//! been looked up, and what comes of it is written afterwards.

use std::collections::{HashMap, HashSet};

use super::taking::is_new;
use super::{Claim, InHand, PAUSED_WAIT, Reach, Sender, Taken, millis, template_of};
use crate::channels::model::ChannelKind;
use crate::channels::templates::model::Standing as TemplateStanding;
use crate::channels::templates::{model as template_model, news};
use crate::config::PaceConfig;
use crate::conversations::consent::model::{Consents, Statement};
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{
    Comment, CommentKind, Conversation, Failure, Identity, Message, Millis, Receipt, Status, Venue,
};
use crate::conversations::understand::callback_of;
use crate::ids::{AttemptId, ContactId, ConversationId, MessageId};
use crate::media::model::Upload;
use crate::media::outbound::{self, Resolved, Used};
use crate::sending::end::End;
use crate::sending::marketing::Caps;
use crate::sending::model::{Aside, EntryState, OutboxEntry, Postponement, Purpose, Terms, Wait};
use crate::sending::pace::{Left, Pace};
use crate::sending::request::{self, Address};
use crate::sending::window::{self, AtSend, Permit};
use crate::sending::{cancel, email, fallback};
use crate::store::templates;
use crate::stream::model::Change;

/// A wait that is shorter than this is waited out in hand: writing it down would cost more.
const SHORT_WAIT: Millis = 1_000;
/// Meta's code for a message that cannot go to a business-scoped user id (reference `whatsapp.md` 14.2).
const NOT_FOR_USER_IDS: i64 = 131_062;
/// When it is looked again whether a file is in Meta's hands; whoever hands it over tells sooner.
const MEDIA_LOOK_AGAIN: Millis = 5_000;

/// Why advertising waits whose recipient has had enough of it.
const CAPPED_REASON: &str =
    "marketing_cap (131049): Meta passes on no more advertising to this person for now, from anybody";

/// Why audio and video wait while others go.
const MEDIA_REASON: &str = "audio and video go at a pace of their own";

/// What a unit that takes entries has found out about them.
pub(super) struct Known {
    pub(super) messages: HashMap<MessageId, Message>,
    pub(super) conversations: HashMap<ConversationId, Conversation>,
    pub(super) identities: HashMap<ContactId, Vec<Identity>>,
    pub(super) terms: HashMap<MessageId, Terms>,
    /// The files of messages.
    pub(super) files: outbound::Known,
    /// When those were last written to outside of a window to whom that is about to be done.
    pub(super) reached: HashMap<ContactId, Millis>,
    /// How many more people may be written to so.
    pub(super) people: Left,
    /// Of e-mails whose policy names one.
    pub(super) subjects: HashMap<MessageId, String>,
    /// What contacts have said of being written to.
    pub(super) consents: Consents,
    /// Who gets no more advertising.
    pub(super) caps: Caps,
    /// How the templates stand that messages are, or may become; by name and language.
    pub(super) templates: HashMap<(String, String), templates::TemplateStanding>,
    /// The comments that are answered.
    pub(super) comments: HashMap<MessageId, (Comment, Message)>,
    /// How many of them may be answered privately now, and when more.
    pub(super) private: (i64, Millis),
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
pub(super) struct Writes {
    pub(super) removed: Vec<MessageId>,
    pub(super) updated: Vec<Message>,
    /// Those of them whose template takes the place of what they said.
    pub(super) replaced: Vec<Message>,
    /// When and why it does.
    pub(super) taken_up: Vec<Terms>,
    pub(super) postponed: Vec<Postponement>,
    /// Files that have to be handed to Meta first.
    pub(super) wanted_files: Vec<Upload>,
    pub(super) changes: Vec<Change>,
}

/// Messages that were claimed together, on which it is decided one by one.
pub(super) struct Round<'r> {
    sender: &'r Sender,
    pace: &'r Pace,
    limits: PaceConfig,
    now: Millis,
    known: Known,
    /// How many with audio or video are in hand: of these a second's worth is at most.
    media_in_hand: u32,
    /// Those who are written to outside of a window by this group.
    reached: HashSet<ContactId>,
    taken: &'r mut Taken,
    writes: Writes,
}

/// A message on its way through all that is asked about it.
struct Candidate {
    entry: OutboxEntry,
    message: Message,
    terms: Option<Terms>,
    /// Its template has taken the place of what it said.
    is_replaced: bool,
}

/// Why a message does not go now.
enum Held {
    /// Not before, and for what; with a reason in place of the one that the entry has.
    Until(Wait, Millis, Option<String>),
    /// Its contact has said so.
    OptedOut(Box<Statement>),
    /// It has failed.
    Failed(Failure),
    /// It is over with it in another way.
    Ended(End),
}

impl<'r> Round<'r> {
    pub(super) fn new(sender: &'r Sender, pace: &'r Pace, claim: &Claim, known: Known, taken: &'r mut Taken) -> Self {
        Self {
            sender,
            pace,
            limits: sender.limits(),
            now: claim.now,
            known,
            media_in_hand: claim.media_in_hand,
            reached: HashSet::new(),
            taken,
            writes: Writes::default(),
        }
    }

    /// What is to be written of those on which it was decided.
    pub(super) fn finish(self) -> Writes {
        self.writes
    }

    /// Decides on an entry: it is in hand afterwards, put back, or at its end.
    pub(super) fn decide(&mut self, entry: OutboxEntry) {
        let Some(message) = self.known.messages.remove(&entry.message_id) else {
            // Its message was erased.
            self.writes.removed.push(entry.message_id);
            return;
        };
        let terms = self.known.terms.remove(&message.id);
        let mut candidate = Candidate {
            entry,
            message,
            terms,
            is_replaced: false,
        };
        match self.take_in_hand(&mut candidate) {
            Ok(in_hand) => {
                self.taken.in_hand.push(in_hand);
                if candidate.is_replaced {
                    candidate.message.status = Status::Sending;
                    self.writes.replace(&candidate.message, candidate.terms);
                    self.writes.replaced.push(candidate.message);
                }
            }
            Err(held) => self.hold(candidate, held),
        }
    }

    /// Asks all that there is to ask; what uses something up of a limit comes last.
    fn take_in_hand(&mut self, of: &mut Candidate) -> Result<InHand, Held> {
        let now = self.now;
        if let Some(end) = End::of(&of.entry, &of.message, now) {
            return Err(Held::Ended(end));
        }
        self.ask_contact(of)?;
        let address = self.address(of)?;
        let not_before = self.turn_of_recipient(of)?;
        // What can be asked for twice as well as once is never a double.
        let is_maybe_double =
            !of.message.content.is_aside() && (of.message.maybe_duplicate || of.entry.state == EntryState::Unknown);
        let was_duplicate = std::mem::replace(&mut of.message.maybe_duplicate, is_maybe_double);
        let permit = self.permit(of)?;
        self.ask_cap(of)?;
        self.ask_template(of, &address)?;
        let (sent, files) = self.files(of, was_duplicate)?;
        let is_media = self.turn_of_media(of)?;
        let reached = self.reach(of)?;
        let is_counted = self.turn_of_private_reply(of)?;
        let attempt_id: AttemptId = self.sender.app.ids.next();
        if is_counted {
            self.taken.privately.push(attempt_id);
        }
        let message = &of.message;
        let callback = callback_of(message.id, attempt_id);
        let mut body = request::body(&address, &sent, message.reply_to.as_deref(), &callback);
        if permit == Permit::HumanAgent {
            request::tag_human_agent(&mut body);
        }
        if self.sender.channel.kind == ChannelKind::Email {
            let subject = self.known.subjects.get(&message.id);
            email::dress(&mut body, subject.map(String::as_str), message.id);
        }
        Ok(InHand {
            attempt_id,
            kind: message.content.kind(),
            body,
            files,
            was_duplicate,
            is_maybe_double,
            not_before,
            below: self.known.found_below(&message.content),
            looks_below: of.entry.state == EntryState::Unknown || was_duplicate,
            reached,
            is_media,
            entry: of.entry.clone(),
        })
    }

    fn hold(&mut self, of: Candidate, held: Held) {
        let Candidate {
            entry,
            mut message,
            terms,
            is_replaced,
        } = of;
        let is_counted = match held {
            Held::Until(waits_for, until, reason) => {
                return self.writes.put_back(&entry, waits_for, until, reason);
            }
            Held::OptedOut(statement) => {
                cancel::forbid(&mut message, &statement);
                false
            }
            Held::Failed(failure) => {
                message.receive(&Receipt::Failed(Some(failure)), self.now);
                true
            }
            Held::Ended(end) => {
                end.apply(&mut message, self.now);
                true
            }
        };
        if is_counted {
            self.taken.ended.push(message.content.kind());
        }
        if is_replaced {
            self.writes.replace(&message, terms);
        }
        self.writes.end(entry.message_id, message);
    }

    fn conversation(&self, of: &Candidate) -> Option<&Conversation> {
        self.known.conversations.get(&of.entry.conversation_id)
    }

    /// Whether the contact wants it.
    fn ask_contact(&self, of: &Candidate) -> Result<(), Held> {
        let Some(statement) = self.known.forbids(of, self.now) else {
            return Ok(());
        };
        Err(if of.entry.state == EntryState::Unknown {
            Held::Ended(End::OptedOutUnknown)
        } else {
            Held::OptedOut(Box::new(statement.clone()))
        })
    }

    /// Where it goes.
    fn address(&self, of: &Candidate) -> Result<Address, Held> {
        let (conversation, channel) = (self.conversation(of), &self.sender.channel);
        let content = &of.message.content;
        let is_answer = content.answers_comment().is_some();
        let address = if is_answer {
            let venue = conversation.map(|conversation| &conversation.venue);
            self.known.address_of_answer(content, venue)
        } else {
            let identities = conversation.and_then(|conversation| self.known.identities.get(&conversation.contact_id));
            let identities = identities.map(Vec::as_slice).unwrap_or_default();
            request::address_of(channel.kind, &channel.account, identities)
        };
        address.ok_or_else(|| {
            if of.entry.state == EntryState::Unknown || of.message.maybe_duplicate {
                Held::Ended(End::NowhereUnknown)
            } else if is_answer {
                Held::Failed(Failure::ours("the comment is gone"))
            } else {
                Held::Failed(Failure::ours("the contact has no address on this channel any more"))
            }
        })
    }

    /// When its recipient may be written to: a short while is waited out in hand.
    fn turn_of_recipient(&self, of: &Candidate) -> Result<Millis, Held> {
        match self.pace.lanes.wait(of.entry.conversation_id, self.now) {
            Some((waits_for, until)) if until - self.now > SHORT_WAIT => Err(of.waits(waits_for, until)),
            Some((_, until)) => Ok(until),
            None => Ok(self.now),
        }
    }

    /// How it may be sent now. Where the window has closed since it was accepted, its template takes its place.
    fn permit(&self, of: &mut Candidate) -> Result<Permit, Held> {
        let kind = self.sender.channel.kind;
        let window_ends_at = self
            .conversation(of)
            .and_then(|conversation| conversation.window_ends_at);
        let (message, terms) = (&mut of.message, of.terms.as_mut());
        let fallback = terms.as_ref().and_then(|terms| terms.fallback.as_ref());
        let at_send = window::at_send(
            kind,
            message.sender,
            &message.content,
            fallback,
            window_ends_at,
            self.now,
        );
        match at_send {
            AtSend::Send(permit) => return Ok(permit),
            // It may have arrived as it was: then nothing else is to be said.
            AtSend::SendInstead if message.maybe_duplicate => {}
            AtSend::SendInstead => {
                let why = "the window closed before it could be sent".to_owned();
                if fallback::take(message, terms, why, self.now) {
                    of.is_replaced = true;
                    return Ok(Permit::Plain);
                }
            }
            AtSend::Closed => {}
        }
        Err(if message.maybe_duplicate {
            Held::Ended(End::ClosedUnknown)
        } else {
            Held::Failed(window::closed(kind))
        })
    }

    /// Whether the contact gets any more advertising.
    fn ask_cap(&self, of: &Candidate) -> Result<(), Held> {
        if !self.known.advertises(&of.message.content, of.terms.as_ref()) {
            return Ok(());
        }
        let until = self.conversation(of).and_then(|conversation| {
            let wrote_at = conversation.may_be_answered_since(self.now);
            self.known.caps.hold_until(conversation.contact_id, wrote_at, self.now)
        });
        match until {
            Some(until) => Err(Held::Until(Wait::MarketingCap, until, Some(CAPPED_REASON.to_owned()))),
            None => Ok(()),
        }
    }

    /// Whether its template can be sent.
    fn ask_template(&self, of: &Candidate, address: &Address) -> Result<(), Held> {
        match self.known.stops(&of.message.content, address, self.now) {
            Some(Stop::Until(until, reason)) => Err(Held::Until(Wait::TemplatePaused, until, Some(reason))),
            // One that may have arrived is not said to have failed: Meta decides.
            Some(Stop::For(failure)) if !of.message.maybe_duplicate => Err(Held::Failed(failure)),
            Some(Stop::For(_)) | None => Ok(()),
        }
    }

    /// What is sent, with its files as Meta has them.
    fn files(&mut self, of: &mut Candidate, was_duplicate: bool) -> Result<(Box<Content>, Vec<Used>), Held> {
        let Sender { app, channel, .. } = self.sender;
        let files = &self.known.files;
        match files.resolve(app, channel, &of.message.content, of.entry.queued_at, self.now) {
            Resolved::Ready(sent, used) => Ok((sent, used)),
            Resolved::Wait(wanted) => {
                let reason = files.reason(&wanted);
                self.writes.want(wanted);
                Err(Held::Until(Wait::Media, self.now + MEDIA_LOOK_AGAIN, Some(reason)))
            }
            Resolved::Failed(failure) => {
                of.message.maybe_duplicate = was_duplicate;
                Err(Held::Failed(failure))
            }
        }
    }

    /// Audio and video go at a pace of their own, where there is one; answers whether it does.
    fn turn_of_media(&mut self, of: &Candidate) -> Result<bool, Held> {
        let per_second = self.limits.media_per_second;
        if per_second == 0 || !is_audio_or_video(&of.message.content) {
            return Ok(false);
        }
        if self.media_in_hand >= per_second {
            let turn = self.taken.turns.next(of.entry.priority, per_second, self.now);
            return Err(Held::Until(Wait::RateLimit, turn, Some(MEDIA_REASON.to_owned())));
        }
        self.media_in_hand += 1;
        Ok(true)
    }

    /// The business writes to somebody outside of a window: how many these are is limited.
    fn reach(&mut self, of: &Candidate) -> Result<Option<Reach>, Held> {
        let now = self.now;
        let initiated = self
            .conversation(of)
            .filter(|conversation| !conversation.window_is_open(now))
            .map(|conversation| conversation.contact_id);
        let Some(contact_id) = initiated.filter(|contact| !self.reached.contains(contact)) else {
            return Ok(None);
        };
        if self.limits.contacts_per_day == 0 {
            return Ok(None);
        }
        let before = self.known.reached.get(&contact_id).copied();
        let (is_new, people) = (is_new(before, now), &mut self.known.people);
        if is_new && people.count <= 0 {
            return Err(of.waits(Wait::TierLimit, people.more_at.max(now + SHORT_WAIT)));
        }
        people.count -= i64::from(is_new);
        self.reached.insert(contact_id);
        Ok(Some(Reach {
            contact_id,
            at: now,
            before,
        }))
    }

    /// Private replies to comments have a limit an hour, but for those on a broadcast; answers whether it counts.
    fn turn_of_private_reply(&mut self, of: &Candidate) -> Result<bool, Held> {
        match &of.message.content {
            Content::PrivateReply(answer) if !self.known.is_live(answer.message_id) => {}
            _ => return Ok(false),
        }
        let (left, more_at) = &mut self.known.private;
        if *left <= 0 {
            return Err(of.waits(Wait::HourlyLimit, (*more_at).max(self.now + SHORT_WAIT)));
        }
        *left -= 1;
        Ok(true)
    }
}

impl Candidate {
    /// It waits, for the reason that it had.
    fn waits(&self, waits_for: Wait, until: Millis) -> Held {
        Held::Until(waits_for, until, self.entry.reason.clone())
    }
}

impl Known {
    /// How a template stands; `None` if it is not known.
    fn template(&self, template: &Template) -> Option<&templates::TemplateStanding> {
        self.templates.get(&(template.name.clone(), template.language.clone()))
    }

    /// What forbids a message, of what its contact has said up to this moment.
    fn forbids(&self, of: &Candidate, now: Millis) -> Option<&Statement> {
        let conversation = self.conversations.get(&of.entry.conversation_id)?;
        let purpose = of.terms.as_ref().map_or(Purpose::Service, |terms| terms.purpose);
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
            self.template(template)
                .is_some_and(|known| known.category == template_model::MARKETING)
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
        let known = self.template(template)?;
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

impl Writes {
    /// A template has taken the place of what a message said.
    fn replace(&mut self, message: &Message, terms: Option<Terms>) {
        self.changes.push(Change::updated(message));
        self.taken_up.extend(terms);
    }

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

    fn put_back(&mut self, entry: &OutboxEntry, waits_for: Wait, until: Millis, reason: Option<String>) {
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
