//! Contacts, conversations, messages: what they are, and the rules of how they change. Pure.
//!
//! Every rule here gives the same result in whatever order, and however often, Meta tells us its facts: times are kept as the earliest
//! or the latest of what was told, and what is shown is worked out from them.

use crate::conversations::content::Content;
use crate::ids::{ContactId, ConversationId, EventId, MessageId};

/// A time in milliseconds since 1970.
pub type Millis = i64;

/// How long a free-form reply is allowed after a customer's message, on both channels (reference `whatsapp.md` 13.4, `instagram.md` 3.4).
pub const WINDOW_MILLIS: Millis = 24 * 60 * 60 * 1000;

/// A connected number or account, by the name that its owner gave it (`whatsapp`, `instagram`, …).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub String);

impl std::fmt::Display for ChannelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ChannelId {
    type Err = std::convert::Infallible;

    /// Any text; whether there is such a channel is for others to say.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The person on the other side.
    Contact,
    /// A person in the console.
    Operator,
    /// A workflow.
    Workflow,
    /// A language model.
    Ai,
    /// A caller of the API.
    Api,
    /// Somebody of the business, on the phone or in another application.
    Phone,
}

impl Sender {
    /// Everyone who can say something.
    pub const ALL: [Self; 6] = [
        Self::Contact,
        Self::Operator,
        Self::Workflow,
        Self::Ai,
        Self::Api,
        Self::Phone,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Operator => "operator",
            Self::Workflow => "workflow",
            Self::Ai => "ai",
            Self::Api => "api",
            Self::Phone => "phone",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sender| sender.as_str() == word)
    }
}

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Inbound: it is here.
    Received,
    /// It waits in the outbox.
    Queued,
    /// It is being handed to Meta.
    Sending,
    /// Meta has taken it.
    Accepted,
    /// It left Meta's servers.
    Sent,
    /// It reached a device.
    Delivered,
    /// It was shown to the contact.
    Read,
    /// It did not or will not arrive.
    Failed,
    /// It was withdrawn before it was sent.
    Cancelled,
    /// It could not be sent in time.
    Expired,
}

impl Status {
    /// Every status, in the order of the lattice.
    pub const ALL: [Self; 10] = [
        Self::Received,
        Self::Queued,
        Self::Sending,
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// What Meta tells about a message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// Meta has taken it.
    Accepted,
    /// It left Meta's servers.
    Sent,
    /// It reached a device.
    Delivered,
    /// It was shown.
    Read,
    /// A voice message was played.
    Played,
    /// It did not arrive.
    Failed(Option<Failure>),
}

/// Why a message failed, in Meta's words or in our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Meta's code; 0 where the failure is our own.
    pub code: i64,
    /// Meta's finer code; 0 where Meta's code is 0 itself (reference `whatsapp.md` 14.2), which tells it from our own.
    pub subcode: Option<i64>,
    /// What Meta, or Tidings, said about it.
    pub text: String,
}

impl Failure {
    /// One that Meta has not told us of: what Tidings itself found.
    pub fn ours(text: impl Into<String>) -> Self {
        Self {
            code: 0,
            subcode: None,
            text: text.into(),
        }
    }

    /// One that Meta has told us of.
    pub fn of_meta(code: i64, subcode: Option<i64>, text: String) -> Self {
        let subcode = subcode.or((code == 0).then_some(0));
        Self { code, subcode, text }
    }

    /// Whether Tidings itself found it.
    pub fn is_ours(&self) -> bool {
        self.code == 0 && self.subcode.is_none()
    }
}

/// When which status was reached first. What a message's status is follows from these alone once Meta has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipts {
    /// Meta took it.
    pub accepted_at: Option<Millis>,
    /// It left Meta's servers.
    pub sent_at: Option<Millis>,
    /// It reached a device.
    pub delivered_at: Option<Millis>,
    /// It was shown.
    pub read_at: Option<Millis>,
    /// It was played.
    pub played_at: Option<Millis>,
    /// Meta said that it failed; also kept when something better is known.
    pub failed_at: Option<Millis>,
}

/// One thing said.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Ours.
    pub id: MessageId,
    /// Where it was said.
    pub channel_id: ChannelId,
    /// In which thread.
    pub conversation_id: ConversationId,
    /// By the business.
    pub outbound: bool,
    /// By whom.
    pub sender: Sender,
    /// What.
    pub content: Content,
    /// Meta's id; absent until Meta has given one.
    pub external_id: Option<String>,
    /// Meta's id of the message that this one answers.
    pub reply_to: Option<String>,
    /// From before the channel was connected: starts nothing, opens no window, counts as read.
    pub inert: bool,
    /// How far it got; kept in step with `receipts` by [`Message::receive`].
    pub status: Status,
    /// When it got there.
    pub receipts: Receipts,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// When it was said: Meta's time for what came from Meta, ours for what we send.
    pub occurred_at: Millis,
    /// When we learnt of it.
    pub created_at: Millis,
    /// When its present wording was written, if that is not the first.
    pub edited_at: Option<Millis>,
    /// When it was taken back.
    pub deleted_at: Option<Millis>,
    /// It was sent again after an attempt whose outcome never became known.
    pub maybe_duplicate: bool,
    /// A document of the caller's own.
    pub metadata: Option<String>,
    /// The event that brought it.
    pub event_id: Option<EventId>,
}

impl Message {
    /// Takes note of what Meta tells about it; answers whether anything changed.
    ///
    /// The rules (reference `whatsapp.md` 5): a status only moves up; `read` implies `delivered`; `failed` is final only while nothing
    /// better is known; a late `sent` changes nothing but its own time.
    pub fn receive(&mut self, receipt: &Receipt, at: Millis) -> bool {
        let before = (self.status, self.receipts.clone(), self.failure.clone());
        let receipts = &mut self.receipts;
        match receipt {
            Receipt::Accepted => earliest(&mut receipts.accepted_at, at),
            Receipt::Sent => earliest(&mut receipts.sent_at, at),
            Receipt::Delivered => earliest(&mut receipts.delivered_at, at),
            Receipt::Read => {
                earliest(&mut receipts.read_at, at);
                earliest(&mut receipts.delivered_at, at);
            }
            Receipt::Played => {
                earliest(&mut receipts.played_at, at);
                earliest(&mut receipts.read_at, at);
                earliest(&mut receipts.delivered_at, at);
            }
            Receipt::Failed(failure) => {
                // Of two failures the earlier is told; at the same time, the smaller code: so that their order does not matter.
                let key = |failure: &Option<Failure>| {
                    failure.as_ref().map_or((i64::MAX, None, String::new()), |failure| {
                        (failure.code, failure.subcode, failure.text.clone())
                    })
                };
                let replaces = match receipts.failed_at {
                    None => true,
                    Some(known) => at < known || (at == known && key(failure) < key(&self.failure)),
                };
                if replaces {
                    self.failure.clone_from(failure);
                }
                earliest(&mut receipts.failed_at, at);
            }
        }
        if let Some(reached) = self.receipts.status() {
            // It was ended here without knowing whether Meta took it, or withdrawn before it was repeated. Meta has now said so.
            if matches!(self.status, Status::Failed | Status::Expired | Status::Cancelled)
                && self.receipts.failed_at.is_none()
            {
                self.failure = None;
            }
            self.status = reached;
        }
        before != (self.status, self.receipts.clone(), self.failure.clone())
    }
}

impl Receipts {
    /// The status that follows from what is known; `None` if Meta has said nothing yet.
    fn status(&self) -> Option<Status> {
        if self.read_at.is_some() {
            Some(Status::Read)
        } else if self.delivered_at.is_some() {
            Some(Status::Delivered)
        } else if self.failed_at.is_some() {
            Some(Status::Failed)
        } else if self.sent_at.is_some() {
            Some(Status::Sent)
        } else {
            self.accepted_at.map(|_| Status::Accepted)
        }
    }
}

fn earliest(known: &mut Option<Millis>, at: Millis) {
    *known = Some(known.map_or(at, |known| known.min(at)));
}

/// Whether a conversation waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationStatus {
    /// It wants attention.
    Open,
    /// It waits for the contact.
    Pending,
    /// It is done.
    Resolved,
    /// It is put aside for a while.
    Snoozed,
}

impl ConversationStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Open, Self::Pending, Self::Resolved, Self::Snoozed];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Resolved => "resolved",
            Self::Snoozed => "snoozed",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// Workflows and the language model.
    Automation,
    /// A person.
    Person,
}

impl Handler {
    /// Everyone who can answer.
    pub const ALL: [Self; 2] = [Self::Automation, Self::Person];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Automation => "automation",
            Self::Person => "person",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|handler| handler.as_str() == word)
    }
}

/// Where a conversation is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Venue {
    /// Between the two alone, in messages.
    Direct,
    /// Under a post, for everybody to see: what the contact says in comments and mentions there (Instagram).
    Post {
        /// Meta's id of the post; empty where Meta does not tell.
        media_id: String,
    },
}

impl Venue {
    /// What kind of conversation is held there.
    pub fn kind(&self) -> ConversationKind {
        match self {
            Self::Direct => ConversationKind::Direct,
            Self::Post { .. } => ConversationKind::Comments,
        }
    }

    /// Meta's id of the post, where it is one, and known.
    pub fn media_id(&self) -> Option<&str> {
        match self {
            Self::Direct => None,
            Self::Post { media_id } => Some(media_id.as_str()).filter(|id| !id.is_empty()),
        }
    }
}

/// What a conversation is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationKind {
    /// Messages between the two.
    Direct,
    /// Comments and mentions under one post.
    Comments,
}

impl ConversationKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Direct, Self::Comments];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Comments => "comments",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What a comment was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentKind {
    /// A post of the account.
    Comment,
    /// A broadcast of the account, while it was live.
    Live,
    /// A post, in a comment that names the account.
    Mention,
    /// A post whose caption names the account: no comment, but what is written below somebody's own post.
    Caption,
}

impl CommentKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Comment, Self::Live, Self::Mention, Self::Caption];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Live => "live",
            Self::Mention => "mention",
            Self::Caption => "caption",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether the account was named in it, rather than commented on.
    pub fn is_mention(self) -> bool {
        matches!(self, Self::Mention | Self::Caption)
    }
}

/// What is known of a message that is a comment, or a mention, beside the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// The message.
    pub message_id: MessageId,
    /// On which channel.
    pub channel_id: ChannelId,
    /// What it was made on.
    pub kind: CommentKind,
    /// Since when it is hidden from everybody else, if it is.
    pub hidden_at: Option<Millis>,
    /// The message that answers it privately.
    pub private_reply: Option<MessageId>,
}

/// The thread between a channel and a contact, at one venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Ours.
    pub id: ConversationId,
    /// Whose it is on our side.
    pub channel_id: ChannelId,
    /// Whose it is on the other side.
    pub contact_id: ContactId,
    /// Where it is held.
    pub venue: Venue,
    /// Of a direct one: the message that is the comment which was answered in it last.
    pub answered_comment: Option<MessageId>,
    /// Whether it waits for somebody.
    pub status: ConversationStatus,
    /// Who answers.
    pub handler: Handler,
    /// The operator or team it is given to.
    pub assignee: Option<String>,
    /// Inbound messages that nobody here has read.
    pub unread: i64,
    /// Inbound messages up to this time are read.
    pub read_up_to: Millis,
    /// When the contact wrote last.
    pub last_inbound_at: Option<Millis>,
    /// Until when a free-form reply is allowed; absent if none ever was.
    pub window_ends_at: Option<Millis>,
    /// When either side said something last.
    pub last_message_at: Millis,
    /// What was said last.
    pub last_message_id: Option<MessageId>,
    /// Of the next entry in the outbox.
    pub next_position: i64,
    /// When it began.
    pub created_at: Millis,
    /// When their names, as the contact bears them, were told in it last.
    pub names_told: NamesTold,
}

/// When the names that a contact bears were told last, where that was later than when they were told first. Names that are known are told with nearly every
/// message: the row of the conversation is written then anyway, so that the contact's own need not be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NamesTold {
    /// As they call themselves.
    pub name_at: Option<Millis>,
    /// Their user name.
    pub username_at: Option<Millis>,
}

impl NamesTold {
    /// The later of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            name_at: self.name_at.max(other.name_at),
            username_at: self.username_at.max(other.username_at),
        }
    }
}

impl Conversation {
    /// A new direct thread in which nothing was said yet.
    pub fn new(id: ConversationId, channel_id: ChannelId, contact_id: ContactId, created_at: Millis) -> Self {
        Self {
            id,
            channel_id,
            contact_id,
            venue: Venue::Direct,
            answered_comment: None,
            status: ConversationStatus::Open,
            handler: Handler::Automation,
            assignee: None,
            unread: 0,
            read_up_to: 0,
            last_inbound_at: None,
            window_ends_at: None,
            last_message_at: 0,
            last_message_id: None,
            next_position: 1,
            created_at,
            names_told: NamesTold::default(),
        }
    }

    /// The same, held elsewhere.
    pub fn at(self, venue: Venue) -> Self {
        Self { venue, ..self }
    }

    /// Takes note of a message that has not been in it before.
    pub fn note(&mut self, message: &Message, opens_window: bool) {
        // Messages of one second are common (WhatsApp's times are whole seconds): of two, the later id is shown as the last.
        if (message.occurred_at, Some(message.id)) > (self.last_message_at, self.last_message_id) {
            self.last_message_at = message.occurred_at;
            self.last_message_id = Some(message.id);
        }
        if message.inert || message.outbound {
            return;
        }
        self.last_inbound_at = self.last_inbound_at.max(Some(message.occurred_at));
        if message.occurred_at > self.read_up_to {
            self.unread += 1;
        }
        if opens_window {
            self.window_ends_at = self.window_ends_at.max(Some(message.occurred_at + WINDOW_MILLIS));
        }
        if matches!(
            self.status,
            ConversationStatus::Resolved | ConversationStatus::Snoozed | ConversationStatus::Pending
        ) {
            self.status = ConversationStatus::Open;
        }
    }

    /// Somebody here has read everything that is in it; answers whether anything changed.
    pub fn mark_read(&mut self) -> bool {
        let before = (self.unread, self.read_up_to);
        self.unread = 0;
        self.read_up_to = self.read_up_to.max(self.last_inbound_at.unwrap_or(0));
        before != (self.unread, self.read_up_to)
    }

    /// Whether a free-form message may be sent now.
    pub fn window_is_open(&self, now: Millis) -> bool {
        self.window_ends_at.is_some_and(|end| now < end)
    }

    /// When the contact wrote last, as long as an answer to that may be sent.
    pub fn may_be_answered_since(&self, now: Millis) -> Option<Millis> {
        self.last_inbound_at.filter(|_| self.window_is_open(now))
    }

    /// Takes over what another thread of the same two sides held, when two contacts turn out to be one.
    pub fn absorb(&mut self, other: &Self) {
        self.unread += other.unread;
        self.read_up_to = self.read_up_to.max(other.read_up_to);
        self.last_inbound_at = self.last_inbound_at.max(other.last_inbound_at);
        self.window_ends_at = self.window_ends_at.max(other.window_ends_at);
        if (other.last_message_at, other.last_message_id) > (self.last_message_at, self.last_message_id) {
            self.last_message_at = other.last_message_at;
            self.last_message_id = other.last_message_id;
        }
        // The other one's waiting entries have moved behind ours: the next one goes behind them.
        self.next_position += other.next_position;
        self.created_at = self.created_at.min(other.created_at);
        self.answered_comment = self.answered_comment.max(other.answered_comment);
        self.names_told = self.names_told.max(other.names_told);
        if other.status == ConversationStatus::Open {
            self.status = ConversationStatus::Open;
        }
        if other.handler == Handler::Person {
            self.handler = Handler::Person;
        }
        if self.assignee.is_none() {
            self.assignee.clone_from(&other.assignee);
        }
    }
}

/// A person on the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Ours.
    pub id: ContactId,
    /// As they call themselves.
    pub name: Option<String>,
    /// When Meta said so.
    pub name_at: Millis,
    /// Their user name, for display.
    pub username: Option<String>,
    /// Their picture (Instagram); such links die within days.
    pub picture_url: Option<String>,
    /// From when on their profile is asked for again, once something is heard of them; absent if it was never asked for, or is to be already.
    pub profile_stale_at: Option<Millis>,
    /// When they became known.
    pub created_at: Millis,
}

/// What kind of address an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentityKind {
    /// A phone number.
    Phone,
    /// WhatsApp's business-scoped user id.
    UserId,
    /// The id that linked business portfolios share.
    ParentUserId,
    /// Instagram's id of a person towards one account.
    Igsid,
    /// An e-mail address.
    Email,
    /// An Instagram user name, of somebody who was told by nothing else: whoever mentions an account. Nobody can be written to by it.
    Username,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Phone,
        Self::UserId,
        Self::ParentUserId,
        Self::Igsid,
        Self::Email,
        Self::Username,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::UserId => "user_id",
            Self::ParentUserId => "parent_user_id",
            Self::Igsid => "igsid",
            Self::Email => "email",
            Self::Username => "username",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// An address of a contact, in the form in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityKey {
    /// What kind of address.
    pub kind: IdentityKind,
    /// Within what it is unique: the account for an IGSID or a user name, nothing else for the others.
    pub scope: String,
    /// The address; for phones see [`crate::conversations::phone::compared`].
    pub value: String,
}

/// An address of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As compared.
    pub key: IdentityKey,
    /// As Meta wrote it, and as it is answered to.
    pub shown: String,
    /// When Meta last used it.
    pub seen_at: Millis,
}
