//! What a customer does: writes, presses, reacts, unsends, looks.
//!
//! Each act changes the thread as the customer's phone shows it, and makes the webhook that Meta would make of it: `on_whatsapp` and
//! `on_instagram` hold the two halves.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::people::{Channel, Customer};
use super::{on_instagram, on_whatsapp};
use crate::Core;
use crate::control::ChangeKind;
use crate::engine::Act;
use crate::ledger::{LedgerKind, Subject};
use crate::limits::{NumberStatus, Quality};
use crate::lock;
use crate::media::{self, Media};
use crate::samples;
use crate::state::State;
use crate::state::threads::{By, Choice, Message, Progress, Shown, Thread, ThreadKey};
use crate::state::usage::WEEK;
use crate::webhooks::{Event, EventId, instagram, status, whatsapp};

/// Something that a customer does in a thread.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Content {
    /// Writes.
    Text {
        /// What.
        text: String,
        /// The message that is quoted.
        #[serde(default)]
        reply_to: Option<String>,
    },
    /// Sends a picture.
    Image {
        /// The file: a web address, for which a stand-in is made, or the file itself as a `data:` address; a sample if left out.
        #[serde(default)]
        link: String,
        /// WhatsApp only.
        #[serde(default)]
        caption: Option<String>,
        /// The message that is quoted.
        #[serde(default)]
        reply_to: Option<String>,
    },
    /// Sends a film.
    Video {
        /// As for an image.
        #[serde(default)]
        link: String,
        /// WhatsApp only.
        #[serde(default)]
        caption: Option<String>,
        /// The message that is quoted.
        #[serde(default)]
        reply_to: Option<String>,
    },
    /// Sends a file with sound.
    Audio {
        /// As for an image.
        #[serde(default)]
        link: String,
        /// The message that is quoted.
        #[serde(default)]
        reply_to: Option<String>,
    },
    /// Records something and sends it.
    Voice {
        /// As for an image.
        #[serde(default)]
        link: String,
        /// The message that is quoted.
        #[serde(default)]
        reply_to: Option<String>,
    },
    /// Sends a document; on Instagram a file.
    Document {
        /// As for an image.
        #[serde(default)]
        link: String,
        /// Its name; WhatsApp only.
        #[serde(default)]
        filename: Option<String>,
        /// WhatsApp only.
        #[serde(default)]
        caption: Option<String>,
        /// The message that is quoted.
        #[serde(default)]
        reply_to: Option<String>,
    },
    /// Sends a sticker; Instagram tells it as a picture.
    Sticker {
        /// As for an image.
        #[serde(default)]
        link: String,
        /// Whether it moves.
        #[serde(default)]
        animated: bool,
        /// The message that is quoted.
        #[serde(default)]
        reply_to: Option<String>,
    },
    /// Sends several files in one message. Instagram only; WhatsApp sends each by itself.
    Attachments {
        /// The files, 1 to 10.
        attachments: Vec<Attachment>,
    },
    /// Sends a heart. Instagram only.
    Heart,
    /// Sends contact cards. WhatsApp only.
    Contacts {
        /// As WhatsApp tells them (whatsapp.md 4.2); one sample card if left out.
        #[serde(default)]
        contacts: Vec<Value>,
    },
    /// Gives the business the own number, which it asked for. WhatsApp only.
    ShareNumber {
        /// The message that asks; the newest one that does, if left out.
        #[serde(default)]
        message_id: Option<String>,
    },
    /// Sends a place. WhatsApp only.
    Location {
        /// In degrees.
        latitude: f64,
        /// In degrees.
        longitude: f64,
        /// What is there.
        #[serde(default)]
        name: Option<String>,
        /// Where it is.
        #[serde(default)]
        address: Option<String>,
        /// The message that asked for it.
        #[serde(default)]
        reply_to: Option<String>,
    },
    /// Reacts to a message, or takes the reaction back.
    Reaction {
        /// Which message.
        message_id: String,
        /// With what; `None` takes it back.
        #[serde(default)]
        emoji: Option<String>,
    },
    /// Deletes an own message for everyone.
    Unsend {
        /// Which message.
        message_id: String,
    },
    /// Changes an own message's text.
    Edit {
        /// Which message.
        message_id: String,
        /// Into what.
        text: String,
    },
    /// Taps a quick reply. Instagram only.
    QuickReply {
        /// The message that offers it; the newest one that does, if left out.
        #[serde(default)]
        message_id: Option<String>,
        /// Which one.
        payload: String,
    },
    /// Presses a button, or picks a row of a list.
    Button {
        /// The message that has it; the newest one that does, if left out.
        #[serde(default)]
        message_id: Option<String>,
        /// Which one.
        payload: String,
    },
    /// Fills in a flow's form. WhatsApp only.
    Flow {
        /// The message that has it; the newest one that does, if left out.
        #[serde(default)]
        message_id: Option<String>,
        /// The answers, by the names of the fields.
        #[serde(default)]
        answers: Map<String, Value>,
    },
    /// Gives the address that was asked for. WhatsApp only.
    Address {
        /// The message that asks; the newest one that does, if left out.
        #[serde(default)]
        message_id: Option<String>,
        /// The parts of the address, by their names.
        #[serde(default)]
        values: Map<String, Value>,
    },
    /// Answers whether the business may call. WhatsApp only.
    CallPermission {
        /// The message that asks; the newest one that does, if left out.
        #[serde(default)]
        message_id: Option<String>,
        /// Whether it may.
        accept: bool,
    },
    /// Orders from the catalogue. WhatsApp only.
    Order {
        /// The catalogue; one of the sandbox's own if left out.
        #[serde(default)]
        catalog_id: Option<String>,
        /// What they add.
        #[serde(default)]
        text: Option<String>,
        /// What they want.
        items: Vec<OrderItem>,
    },
    /// Asks about a product. WhatsApp only.
    AskAboutProduct {
        /// What they ask.
        text: String,
        /// The message that showed it.
        #[serde(default)]
        message_id: Option<String>,
        /// The catalogue; one of the sandbox's own if left out.
        #[serde(default)]
        catalog_id: Option<String>,
        /// The retailer's id of the product.
        product: String,
    },
    /// Forwards a text. WhatsApp only.
    Forward {
        /// The text.
        text: String,
        /// Whether it was forwarded more than five times.
        #[serde(default)]
        frequently: bool,
    },
    /// Writes after pressing an advertisement that opens the chat.
    FromAd {
        /// What they write.
        text: String,
        /// The advertisement's id; one of the sandbox's own if left out.
        #[serde(default)]
        ad_id: Option<String>,
        /// Its headline.
        #[serde(default)]
        headline: Option<String>,
        /// What its link brings along; Instagram only.
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// Comes back to the chat through a link. Instagram only.
    Referral {
        /// What the link brings along.
        #[serde(rename = "ref")]
        reference: String,
    },
    /// Presses a question of the start or an entry of the menu. Instagram only.
    Postback {
        /// What it says.
        title: String,
        /// What it brings along.
        payload: String,
    },
    /// Answers a story of the business. Instagram only.
    StoryReply {
        /// What they write.
        text: String,
        /// The story; one of the sandbox's own if left out.
        #[serde(default)]
        story_id: Option<String>,
    },
    /// Mentions the business in a story. Instagram only.
    StoryMention {
        /// The story's picture; as for an image.
        #[serde(default)]
        link: String,
    },
    /// Shares a post, a reel or a story. Instagram only.
    Share {
        /// Which of them.
        #[serde(default)]
        what: Shared,
        /// Its title.
        #[serde(default)]
        title: Option<String>,
    },
    /// Looks at the chat: everything that arrived is read.
    Read,
    /// Plays a voice message of the business. WhatsApp only.
    Play {
        /// Which one.
        message_id: String,
    },
    /// Moves to another phone number, and so to another business-scoped id. WhatsApp only.
    ChangeNumber {
        /// The new number.
        phone: String,
    },
    /// Comments on a post, or on a broadcast that is live. Instagram only; the comment's id is the event's.
    Comment {
        /// What.
        text: String,
        /// The post; the account's newest if left out, and one that is made for it if there is none.
        #[serde(default)]
        media_id: Option<String>,
        /// The comment that it answers.
        #[serde(default)]
        parent_id: Option<String>,
    },
    /// Names the business in a comment under somebody's post. Instagram only; the comment's id is the event's.
    Mention {
        /// What they write.
        text: String,
        /// The post; one of somebody else's if left out.
        #[serde(default)]
        media_id: Option<String>,
    },
    /// Names the business in the caption of an own post. Instagram only.
    CaptionMention {
        /// The caption.
        text: String,
    },
    /// Deletes an own comment: nobody is told. Instagram only.
    DeleteComment {
        /// Which one.
        comment_id: String,
    },
    /// Blocks the business: its messages fail, it isn't told why, and its quality suffers. WhatsApp only.
    Block,
    /// Takes that back.
    Unblock,
    /// Wants no marketing from the business any more. WhatsApp only.
    StopMarketing,
    /// Takes that back.
    ResumeMarketing,
    /// Sends something that the interface can't show.
    Unsupported,
    /// Sends anything else, as the webhook says it: on WhatsApp `type`, the part named after it, perhaps `context` or
    /// `referral` (whatsapp.md 4); on Instagram the parts of `message` besides `mid` (instagram.md 2.5).
    Raw {
        /// The parts.
        message: Map<String, Value>,
    },
}

/// One of several files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attachment {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: AttachmentKind,
    /// The file, as for an image.
    #[serde(default)]
    pub link: String,
}

/// What one of several files is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttachmentKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// A file of another kind.
    File,
}

/// One line of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderItem {
    /// The retailer's id of the product.
    pub product: String,
    /// How many; 1 if left out.
    #[serde(default = "one")]
    pub quantity: u32,
    /// The price of one.
    #[serde(default)]
    pub price: f64,
    /// In which currency; euro if left out.
    #[serde(default = "euro")]
    pub currency: String,
}

fn one() -> u32 {
    1
}

fn euro() -> String {
    "EUR".to_owned()
}

/// What is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shared {
    /// A post of the feed.
    #[default]
    Post,
    /// A reel.
    Reel,
    /// A story.
    Story,
}

impl Content {
    /// What the customer writes, where they write something.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. }
            | Self::Edit { text, .. }
            | Self::Comment { text, .. }
            | Self::Mention { text, .. }
            | Self::CaptionMention { text }
            | Self::AskAboutProduct { text, .. }
            | Self::Forward { text, .. }
            | Self::FromAd { text, .. }
            | Self::StoryReply { text, .. } => Some(text),
            _ => None,
        }
    }

    /// An empty emoji takes a reaction back, like none.
    fn normal(self) -> Self {
        match self {
            Self::Reaction { message_id, emoji } => Self::Reaction {
                message_id,
                emoji: emoji.filter(|emoji| !emoji.is_empty()),
            },
            other => other,
        }
    }
}

/// Why a customer can't do that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No such customer.
    #[error("there is no customer {0}")]
    UnknownCustomer(String),
    /// No such number or account, or one of the other kind.
    #[error("there is no account {0} that this customer could write to")]
    UnknownAccount(String),
    /// No such message in the thread.
    #[error("there is no message {0} in this thread that this could be done to")]
    UnknownMessage(String),
    /// No such comment or post, or not theirs.
    #[error("there is no comment or post {0} that this could be done to")]
    UnknownComment(String),
    /// No such button or quick reply in the thread.
    #[error("no message of this thread offers {0}")]
    UnknownChoice(String),
    /// Not on this channel, or too long, or empty.
    #[error("{0}")]
    Impossible(&'static str),
}

/// Longest text a person can write: WhatsApp's bound in letters of our own choosing; Instagram's is in bytes of its app.
const TEXT_MAX: usize = 65_536;

/// The customer does it.
pub(crate) fn write(core: &Core, customer_id: &str, account_id: &str, content: Content) -> Result<EventId, WriteError> {
    if matches!(content, Content::Read) {
        look(core, customer_id, account_id)?;
        return Ok(EventId(format!("{customer_id}:read")));
    }
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let state = &mut *state;
    let customer = state
        .customers
        .get(customer_id)
        .ok_or_else(|| WriteError::UnknownCustomer(customer_id.to_owned()))?
        .clone();
    if state.channel(account_id) != Some(customer.channel) {
        return Err(WriteError::UnknownAccount(account_id.to_owned()));
    }
    let key = ThreadKey {
        customer: customer.id.clone(),
        account: account_id.to_owned(),
    };
    check_text(&content)?;
    let content = content.normal();
    let described = describe(&content);
    let (id, event) =
        if let Some(commented) = on_instagram::under_posts(core, state, &customer, &key, &content, now).transpose()? {
            commented
        } else if let Some(attitude) = Attitude::of(&content) {
            let event = attitude.take(core, state, &customer, &key, now)?;
            let id = event
                .as_ref()
                .map_or_else(|| EventId(format!("{}:block", customer.id)), |event| event.id.clone());
            (id, event)
        } else {
            let thread = state.thread_mut(&key);
            thread.written_by_customer += 1;
            let number = thread.written_by_customer;
            let event = match customer.channel {
                Channel::WhatsApp => on_whatsapp::event(core, state, &customer, &key, content, number, now)?,
                Channel::Instagram => on_instagram::event(core, state, &customer, &key, content, number, now)?,
            };
            if core.options.rules.throughput_counts_inbound && customer.channel == Channel::WhatsApp {
                state
                    .usage
                    .numbers
                    .entry(account_id.to_owned())
                    .or_default()
                    .second
                    .add(now);
            }
            // Whom the business has blocked, it does not hear.
            let id = event.id.clone();
            (id, Some(event).filter(|_| !state.has_blocked(&key)))
        };
    let subject = Subject {
        account: Some(account_id),
        customer: Some(customer_id),
        message_id: Some(&id.0),
    };
    core.ledger.write(now, LedgerKind::Written, &subject, described);
    core.emit(state, event);
    core.changes.tell(ChangeKind::Message, customer_id, account_id);
    Ok(id)
}

/// How a customer stands to a business.
#[derive(Debug, Clone, Copy)]
enum Attitude {
    /// Whether they block it.
    Blocks(bool),
    /// Whether they want no marketing.
    RefusesMarketing(bool),
}

impl Attitude {
    fn of(content: &Content) -> Option<Self> {
        match content {
            Content::Block => Some(Self::Blocks(true)),
            Content::Unblock => Some(Self::Blocks(false)),
            Content::StopMarketing => Some(Self::RefusesMarketing(true)),
            Content::ResumeMarketing => Some(Self::RefusesMarketing(false)),
            _ => None,
        }
    }

    /// Nobody is told of a block, but the quality may fall for it (whatsapp.md 13.8); of marketing the business is told
    /// (whatsapp.md 8).
    fn take(
        self,
        core: &Core,
        state: &mut State,
        customer: &Customer,
        key: &ThreadKey,
        now: i64,
    ) -> Result<Option<Event>, WriteError> {
        let number = state.number(&key.account).cloned();
        let number = number.ok_or(WriteError::Impossible("this is simulated on WhatsApp alone"))?;
        match self {
            Self::Blocks(blocks) => {
                let thread = state.thread_mut(key);
                let is_new = blocks && !thread.is_blocked;
                thread.is_blocked = blocks;
                // What they got last is what they did not like.
                let last = thread.messages.iter().rev().find(|message| message.by == By::Business);
                let template = last.and_then(|message| message.shown.template.clone());
                if is_new {
                    if let Some(template) = template {
                        core.note_block_after(state, &number.business_account_id, &template);
                    }
                    let usage = state.usage.numbers.entry(number.id.clone()).or_default();
                    // What is over is forgotten, so that the window stays small.
                    usage.blocks.count(now, WEEK);
                    usage.blocks.add(now);
                    let is_flagged =
                        number.status == NumberStatus::Connected && state.quality(&number, now) == Quality::Red;
                    if is_flagged && let Some(changed) = state.number_mut(&number.id) {
                        changed.status = NumberStatus::Flagged;
                        let changed = changed.clone();
                        core.tell_number(state, &number, &changed);
                    }
                }
                Ok(None)
            }
            Self::RefusesMarketing(refuses) => {
                state.thread_mut(key).refuses_marketing = refuses;
                let id = EventId(format!("event:{}:{}:marketing:{now}", customer.id, key.account));
                Ok(Some(whatsapp::preference(&number, customer, id, refuses, now)))
            }
        }
    }
}

/// The customer looks at the thread: everything delivered is read.
pub(crate) fn look(core: &Core, customer_id: &str, account_id: &str) -> Result<(), WriteError> {
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let state = &mut *state;
    let customer = state
        .customers
        .get(customer_id)
        .ok_or_else(|| WriteError::UnknownCustomer(customer_id.to_owned()))?;
    if state.channel(account_id) != Some(customer.channel) {
        return Err(WriteError::UnknownAccount(account_id.to_owned()));
    }
    let channel = customer.channel;
    let igsid = customer.igsid.clone();
    let key = ThreadKey {
        customer: customer_id.to_owned(),
        account: account_id.to_owned(),
    };
    let Some(thread) = state.threads.get_mut(&key) else {
        return Ok(());
    };
    let mut read = Vec::new();
    for message in &mut thread.messages {
        if message.by == By::Business && message.progress == Progress::Delivered {
            message.progress = Progress::Read;
            read.push((message.id.clone(), message.outgoing.clone()));
        }
    }
    for (message_id, outgoing) in &read {
        let subject = Subject {
            account: Some(account_id),
            customer: Some(customer_id),
            message_id: Some(message_id),
        };
        core.ledger.write(now, LedgerKind::Read, &subject, Value::Null);
        if let Some(outgoing) = outgoing {
            let event = status::read(state, outgoing, now);
            core.emit(state, event);
        }
    }
    if let Some((newest, _)) = read.last() {
        if channel == Channel::Instagram
            && let Some(igsid) = igsid
        {
            // One event for all: it means everything up to this message (instagram.md 2.6).
            let id = EventId(format!("{newest}:seen"));
            let what = ("read", json!({"mid": newest}));
            let event = instagram::from_customer(account_id, &igsid, id, "messaging_seen", now, what);
            core.emit(state, Some(event));
        }
        core.changes.tell(ChangeKind::Status, customer_id, account_id);
    }
    Ok(())
}

/// A business's message is on the customer's phone: plan what the customer does about it.
pub(crate) fn arrived(core: &Core, state: &mut State, key: &ThreadKey, message_id: &str) {
    let Some(message) = state.message_mut(key, message_id) else {
        return;
    };
    message.progress = message.progress.max(Progress::Delivered);
    let text = message.shown.text.clone().unwrap_or_default();
    core.changes.tell(ChangeKind::Status, &key.customer, &key.account);
    let reading = state.customers.get(&key.customer).and_then(|customer| {
        let own = customer.read_after_ms.map(std::time::Duration::from_millis);
        customer.auto_read.then_some(own.or(core.options.delays.read)).flatten()
    });
    if let Some(after) = reading {
        let act = Act::Look {
            customer: key.customer.clone(),
            account: key.account.clone(),
        };
        core.engine.plan(core.after(after), act);
    }
    if let Some((say, after_ms)) = state.customers.take_reply(&key.customer, &text) {
        let act = Act::Write {
            customer: key.customer.clone(),
            account: key.account.clone(),
            content: Box::new(Content::Text {
                text: say,
                reply_to: None,
            }),
        };
        core.engine
            .plan(core.after(std::time::Duration::from_millis(after_ms)), act);
    }
}

/// What the ledger says of it: everything but the bytes of a file.
fn describe(content: &Content) -> Value {
    let mut described = serde_json::to_value(content).unwrap_or(Value::Null);
    shorten(&mut described);
    if let Some(attachments) = described.get_mut("attachments").and_then(Value::as_array_mut) {
        attachments.iter_mut().for_each(shorten);
    }
    described
}

fn shorten(part: &mut Value) {
    if part["link"].as_str().is_some_and(|link| link.starts_with("data:")) {
        part["link"] = json!("data:…");
    }
}

fn check_text(content: &Content) -> Result<(), WriteError> {
    let Some(text) = content.text() else {
        return Ok(());
    };
    if text.is_empty() {
        return Err(WriteError::Impossible("a text has at least one character"));
    }
    if text.len() > TEXT_MAX {
        return Err(WriteError::Impossible("the text is too long"));
    }
    Ok(())
}

/// Keeps what is shown (nothing, where `kind` is empty) and opens the window.
pub(super) fn keep(state: &mut State, key: &ThreadKey, id: &str, shown: Shown, opens_window: bool, now: i64) {
    if !shown.kind.is_empty() {
        let message = Message {
            id: id.to_owned(),
            by: By::Customer,
            at: now,
            progress: Progress::Delivered,
            shown,
            reactions: Vec::new(),
            edits: 0,
            outgoing: None,
        };
        state.add_message(key, message);
    }
    if opens_window {
        state.thread_mut(key).window_opened_at = Some(now);
    }
}

/// Holds the customer's file until the business fetches it.
pub(super) fn hold(
    state: &mut State,
    key: &ThreadKey,
    scope: &str,
    kind: samples::Kind,
    link: &str,
    now: i64,
) -> (String, Media) {
    let (bytes, mime) = samples::file(kind, link, scope);
    let id = state.ids.digits("media", &[scope], 0, 16);
    let media = Media {
        bytes,
        mime,
        owner: key.account.clone(),
        expires_at: now.saturating_add(media::INBOUND_MILLIS),
    };
    state.media.add(id.clone(), media.clone());
    (id, media)
}

/// Where the phone finds a file that is held.
pub(super) fn held_link(media_id: &str) -> String {
    format!("/sandbox/media/{media_id}")
}

pub(super) fn shown_text(kind: &str, text: String, reply_to: Option<String>) -> Shown {
    Shown {
        kind: kind.to_owned(),
        text: Some(text),
        reply_to,
        ..Shown::default()
    }
}

pub(super) fn known<'a>(message: Option<&'a mut Message>, id: &str) -> Result<&'a mut Message, WriteError> {
    message.ok_or_else(|| WriteError::UnknownMessage(id.to_owned()))
}

/// The customer's own message, to be unsent or edited.
fn own<'a>(state: &'a mut State, key: &ThreadKey, id: &str) -> Result<&'a mut Message, WriteError> {
    let message = known(state.message_mut(key, id), id)?;
    if message.by == By::Customer && message.shown.kind != "deleted" {
        Ok(message)
    } else {
        Err(WriteError::UnknownMessage(id.to_owned()))
    }
}

pub(super) fn unsend(state: &mut State, key: &ThreadKey, id: &str) -> Result<(), WriteError> {
    let message = own(state, key, id)?;
    message.shown = shown_text("deleted", String::new(), None);
    message.reactions.clear();
    Ok(())
}

pub(super) fn edit(state: &mut State, key: &ThreadKey, id: &str, text: &str) -> Result<u32, WriteError> {
    let message = own(state, key, id)?;
    if message.shown.kind != "text" {
        return Err(WriteError::Impossible("only a text can be edited"));
    }
    message.shown.text = Some(text.to_owned());
    message.edits += 1;
    Ok(message.edits)
}

/// The message that offers this choice, and the choice.
pub(super) fn offered<'a, Choices: Iterator<Item = &'a Choice>>(
    thread: &'a Thread,
    message_id: Option<&str>,
    payload: &str,
    choices: impl Fn(&'a Shown) -> Choices,
) -> Result<(&'a Message, Choice), WriteError> {
    arrived_from_business(thread, message_id)
        .find_map(|message| {
            let choice = choices(&message.shown).find(|choice| choice.payload == payload)?;
            Some((message, choice.clone()))
        })
        .ok_or_else(|| WriteError::UnknownChoice(payload.to_owned()))
}

/// The message that asks for this, to be answered: the one named, or the newest one that does.
pub(super) fn asking<'a>(
    thread: &'a Thread,
    message_id: Option<&str>,
    what: &str,
    asks: impl Fn(&Shown) -> bool,
) -> Result<&'a Message, WriteError> {
    arrived_from_business(thread, message_id)
        .find(|message| asks(&message.shown))
        .ok_or_else(|| WriteError::UnknownChoice(what.to_owned()))
}

/// Newest first.
fn arrived_from_business<'a>(thread: &'a Thread, message_id: Option<&str>) -> impl Iterator<Item = &'a Message> {
    thread
        .messages
        .iter()
        .rev()
        .filter(|message| message.by == By::Business && message.progress >= Progress::Delivered)
        .filter(move |message| message_id.is_none_or(|id| message.id == id))
}
