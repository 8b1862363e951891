//! What a customer does: writes, presses, reacts, unsends, looks.
//!
//! Each act changes the thread as the customer's phone shows it, and makes the webhook that Meta would make of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::people::{Channel, Customer};
use crate::Core;
use crate::control::ChangeKind;
use crate::engine::Act;
use crate::graph;
use crate::ledger::{LedgerKind, Subject};
use crate::limits::{NumberStatus, Quality};
use crate::lock;
use crate::media::{self, Media};
use crate::state::threads::{By, Choice, Message, Place, Progress, Shown, Thread, ThreadKey};
use crate::state::usage::WEEK;
use crate::state::{Comment, State};
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
        /// Where the picture is: a web address, for which a stand-in is drawn, or the picture itself as a `data:` address.
        link: String,
        /// WhatsApp only.
        #[serde(default)]
        caption: Option<String>,
        /// The message that is quoted.
        #[serde(default)]
        reply_to: Option<String>,
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
    /// Comments on a post. Instagram only; the comment's id is the event's.
    Comment {
        /// What.
        text: String,
        /// The post; made from the account if left out.
        #[serde(default)]
        media_id: Option<String>,
        /// The comment that it answers.
        #[serde(default)]
        parent_id: Option<String>,
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

impl Content {
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
    let (id, event) = if let Some(attitude) = Attitude::of(&content) {
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
            Channel::WhatsApp => on_whatsapp(core, state, &customer, &key, content, number, now)?,
            Channel::Instagram => on_instagram(core, state, &customer, &key, content, number, now)?,
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
        (event.id.clone(), Some(event))
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

/// What the ledger says of it: everything but the bytes of a picture.
fn describe(content: &Content) -> Value {
    let mut described = serde_json::to_value(content).unwrap_or(Value::Null);
    if described["link"].as_str().is_some_and(|link| link.starts_with("data:")) {
        described["link"] = json!("data:…");
    }
    described
}

fn check_text(content: &Content) -> Result<(), WriteError> {
    let (Content::Text { text, .. } | Content::Edit { text, .. } | Content::Comment { text, .. }) = content else {
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

fn on_whatsapp(
    core: &Core,
    state: &mut State,
    customer: &Customer,
    key: &ThreadKey,
    content: Content,
    count: u64,
    now: i64,
) -> Result<Event, WriteError> {
    let number = state
        .number(&key.account)
        .ok_or_else(|| WriteError::UnknownAccount(key.account.clone()))?
        .clone();
    let id = state.ids.wamid("written", &[&customer.id, &key.account], count);
    let quote = |quoted: &Option<String>| quoted.as_ref().map(|id| json!({"from": number.phone, "id": id}));
    let mut body = Map::new();
    let mut set = |kind: &str, part: Value| {
        body.insert("type".to_owned(), json!(kind));
        body.insert(kind.to_owned(), part);
    };
    let mut shown = Shown::default();
    let mut opens_window = true;
    let mut context = None;
    match content {
        Content::Text { text, reply_to } => {
            set("text", json!({"body": text}));
            context = quote(&reply_to);
            shown = shown_text("text", text, reply_to);
        }
        Content::Image {
            link,
            caption,
            reply_to,
        } => {
            let (media_id, media) = hold_picture(state, key, &id, &link, now);
            let mut image = graph::media::described(core, &media_id, &media, now);
            if let Some(caption) = &caption {
                image["caption"] = json!(caption);
            }
            set("image", image);
            context = quote(&reply_to);
            shown = Shown {
                kind: "image".to_owned(),
                link: Some(shown_link(link, &media_id)),
                caption,
                reply_to,
                ..Shown::default()
            };
        }
        Content::Location {
            latitude,
            longitude,
            name,
            address,
        } => {
            let mut location = json!({"latitude": latitude, "longitude": longitude});
            let place = Place {
                latitude,
                longitude,
                name: name.clone(),
                address: address.clone(),
            };
            for (part, value) in [("name", name), ("address", address)] {
                if let Some(value) = value {
                    location[part] = json!(value);
                }
            }
            set("location", location);
            shown = Shown {
                kind: "location".to_owned(),
                location: Some(place),
                ..Shown::default()
            };
        }
        Content::Reaction { message_id, emoji } => {
            let message = known(state.message_mut(key, &message_id), &message_id)?;
            message.react(By::Customer, emoji.as_deref());
            // Taking back leaves the emoji out (whatsapp.md 4.4).
            set(
                "reaction",
                match emoji {
                    Some(emoji) => json!({"message_id": message_id, "emoji": emoji}),
                    None => json!({"message_id": message_id}),
                },
            );
            opens_window = false;
        }
        Content::Unsend { message_id } => {
            unsend(state, key, &message_id)?;
            set("revoke", json!({"original_message_id": message_id}));
            opens_window = false;
        }
        Content::Edit { message_id, text } => {
            edit(state, key, &message_id, &text)?;
            let message = json!({"context": {"id": "M0"}, "type": "text", "text": {"body": text}});
            set("edit", json!({"original_message_id": message_id, "message": message}));
            opens_window = false;
        }
        Content::Button { message_id, payload } => {
            let thread = state.thread_mut(key);
            let (message, choice) = offered(thread, message_id.as_deref(), &payload, |shown| &shown.buttons)?;
            context = Some(json!({"from": number.phone, "id": message.id}));
            // `button` answers a template, `interactive` a free-form message (whatsapp.md 4.3).
            if message.shown.template.is_some() {
                set("button", json!({"payload": choice.payload, "text": choice.title}));
            } else if message.shown.kind == "list" {
                let mut row = json!({"id": choice.payload, "title": choice.title});
                if let Some(description) = &choice.description {
                    row["description"] = json!(description);
                }
                set("interactive", json!({"type": "list_reply", "list_reply": row}));
            } else {
                let reply = json!({"id": choice.payload, "title": choice.title});
                set("interactive", json!({"type": "button_reply", "button_reply": reply}));
            }
            shown = shown_text("button", choice.title, Some(message.id.clone()));
        }
        Content::Unsupported => {
            set("unsupported", json!({"type": "poll_creation"}));
            body.insert(
                "errors".to_owned(),
                json!([{
                    "code": 131_051, "title": "Message type unknown", "message": "Message type unknown",
                    "error_data": {"details": "Message type is currently not supported."},
                }]),
            );
            shown = shown_text("unsupported", String::new(), None);
        }
        Content::Raw { message } => {
            let kind = message.get("type").and_then(Value::as_str);
            let kind = kind.ok_or(WriteError::Impossible("a raw message needs a type"))?;
            shown = shown_text(kind, String::new(), None);
            body = message;
        }
        Content::Block | Content::Unblock | Content::StopMarketing | Content::ResumeMarketing => {
            return Err(WriteError::Impossible("this is no message"));
        }
        Content::Comment { .. } => {
            return Err(WriteError::Impossible("WhatsApp has no posts to comment on"));
        }
        Content::QuickReply { .. } => {
            return Err(WriteError::Impossible("WhatsApp has buttons, not quick replies"));
        }
    }
    if let Some(context) = context {
        body.insert("context".to_owned(), context);
    }
    keep(state, key, &id, shown, opens_window, now);
    Ok(whatsapp::message(&number, customer, &id, now, body))
}

fn on_instagram(
    core: &Core,
    state: &mut State,
    customer: &Customer,
    key: &ThreadKey,
    content: Content,
    count: u64,
    now: i64,
) -> Result<Event, WriteError> {
    let scope = [customer.id.as_str(), key.account.as_str()];
    let mid = state.ids.mid("written", &scope, count);
    let other = || EventId(format!("event:{}:{}:{count}", customer.id, key.account));
    let mut shown = Shown::default();
    let mut opens_window = true;
    let (id, field, what) = match content {
        Content::Comment {
            text,
            media_id,
            parent_id,
        } => {
            let id = state.ids.digits("comment", &scope, count, 17);
            let media_id = media_id.unwrap_or_else(|| state.ids.digits("post", &[&key.account], 0, 17));
            state.add_comment(Comment {
                id: id.clone(),
                key: key.clone(),
                at: now,
                is_answered: false,
            });
            return Ok(instagram::comment(
                &key.account,
                customer,
                &id,
                &media_id,
                parent_id,
                &text,
            ));
        }
        Content::Text { text, reply_to } => {
            let mut message = json!({"mid": mid, "text": text});
            if let Some(quoted) = &reply_to {
                let own = state
                    .thread_mut(key)
                    .message(quoted)
                    .is_some_and(|message| message.by == By::Customer);
                message["reply_to"] = json!({"mid": quoted, "is_self_reply": own});
            }
            shown = shown_text("text", text, reply_to);
            (EventId(mid.clone()), "messages", ("message", message))
        }
        Content::Image { link, .. } => {
            let (media_id, _) = hold_picture(state, key, &mid, &link, now);
            let url = graph::media::signed_link(core, &media_id);
            let message = json!({"mid": mid, "attachments": [{"type": "image", "payload": {"url": url}}]});
            shown = Shown {
                kind: "image".to_owned(),
                link: Some(shown_link(link, &media_id)),
                ..Shown::default()
            };
            (EventId(mid.clone()), "messages", ("message", message))
        }
        Content::Reaction { message_id, emoji } => {
            let message = known(state.message_mut(key, &message_id), &message_id)?;
            message.react(By::Customer, emoji.as_deref());
            opens_window = false;
            let reaction = match emoji {
                // The heart is `love`, everything else comes as the bare glyph (instagram.md 2.6).
                Some(emoji) if emoji.starts_with('\u{2764}') => {
                    json!({"mid": message_id, "action": "react", "reaction": "love", "emoji": emoji})
                }
                Some(emoji) => {
                    json!({"mid": message_id, "action": "react", "reaction": "other", "emoji": emoji})
                }
                None => json!({"mid": message_id, "action": "unreact"}),
            };
            (other(), "message_reactions", ("reaction", reaction))
        }
        Content::Unsend { message_id } => {
            unsend(state, key, &message_id)?;
            opens_window = false;
            let message = json!({"mid": message_id, "is_deleted": true});
            (other(), "messages", ("message", message))
        }
        Content::Edit { message_id, text } => {
            let edits = edit(state, key, &message_id, &text)?;
            opens_window = false;
            let edited = json!({"mid": message_id, "text": text, "num_edit": edits});
            (other(), "message_edit", ("message_edit", edited))
        }
        Content::QuickReply { message_id, payload } => {
            let thread = state.thread_mut(key);
            let (_, choice) = offered(thread, message_id.as_deref(), &payload, |shown| &shown.quick_replies)?;
            let message = json!({"mid": mid, "text": choice.title, "quick_reply": {"payload": choice.payload}});
            shown = shown_text("text", choice.title, None);
            (EventId(mid.clone()), "messages", ("message", message))
        }
        Content::Button { message_id, payload } => {
            let thread = state.thread_mut(key);
            let (_, choice) = offered(thread, message_id.as_deref(), &payload, |shown| &shown.buttons)?;
            let postback = json!({"mid": mid, "title": choice.title, "payload": choice.payload});
            shown = shown_text("button", choice.title, None);
            (EventId(mid.clone()), "messaging_postbacks", ("postback", postback))
        }
        Content::Unsupported => {
            shown = shown_text("unsupported", String::new(), None);
            let message = json!({"mid": mid, "is_unsupported": true});
            (EventId(mid.clone()), "messages", ("message", message))
        }
        Content::Raw { mut message } => {
            message.insert("mid".to_owned(), json!(mid));
            let text = message.get("text").and_then(Value::as_str).unwrap_or_default();
            shown = shown_text("raw", text.to_owned(), None);
            (EventId(mid.clone()), "messages", ("message", Value::Object(message)))
        }
        Content::Block | Content::Unblock | Content::StopMarketing | Content::ResumeMarketing => {
            return Err(WriteError::Impossible("this is no message"));
        }
        Content::Location { .. } => {
            return Err(WriteError::Impossible("Instagram's interface has no places"));
        }
    };
    keep(state, key, &mid, shown, opens_window, now);
    let igsid = customer.igsid.as_deref().unwrap_or_default();
    Ok(instagram::from_customer(&key.account, igsid, id, field, now, what))
}

/// Keeps what is shown (nothing, where `kind` is empty) and opens the window.
fn keep(state: &mut State, key: &ThreadKey, id: &str, shown: Shown, opens_window: bool, now: i64) {
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

/// Holds the customer's picture until the business fetches it.
fn hold_picture(state: &mut State, key: &ThreadKey, message_id: &str, link: &str, now: i64) -> (String, Media) {
    let (bytes, mime) = media::picture(link);
    let id = state.ids.digits("media", &[message_id], 0, 16);
    let media = Media {
        bytes,
        mime,
        owner: key.account.clone(),
        expires_at: now.saturating_add(media::INBOUND_MILLIS),
    };
    state.media.add(id.clone(), media.clone());
    (id, media)
}

/// A picture that was given as itself is shown from where it is held.
fn shown_link(link: String, media_id: &str) -> String {
    if link.starts_with("data:") {
        format!("/sandbox/media/{media_id}")
    } else {
        link
    }
}

fn shown_text(kind: &str, text: String, reply_to: Option<String>) -> Shown {
    Shown {
        kind: kind.to_owned(),
        text: Some(text),
        reply_to,
        ..Shown::default()
    }
}

fn known<'a>(message: Option<&'a mut Message>, id: &str) -> Result<&'a mut Message, WriteError> {
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

fn unsend(state: &mut State, key: &ThreadKey, id: &str) -> Result<(), WriteError> {
    let message = own(state, key, id)?;
    message.shown = shown_text("deleted", String::new(), None);
    message.reactions.clear();
    Ok(())
}

fn edit(state: &mut State, key: &ThreadKey, id: &str, text: &str) -> Result<u32, WriteError> {
    let message = own(state, key, id)?;
    if message.shown.kind != "text" {
        return Err(WriteError::Impossible("only a text can be edited"));
    }
    message.shown.text = Some(text.to_owned());
    message.edits += 1;
    Ok(message.edits)
}

/// The message that offers this choice, and the choice.
fn offered<'a>(
    thread: &'a Thread,
    message_id: Option<&str>,
    payload: &str,
    choices: impl Fn(&Shown) -> &Vec<Choice>,
) -> Result<(&'a Message, Choice), WriteError> {
    thread
        .messages
        .iter()
        .rev()
        .filter(|message| message.by == By::Business && message.progress >= Progress::Delivered)
        .filter(|message| message_id.is_none_or(|id| message.id == id))
        .find_map(|message| {
            let choice = choices(&message.shown)
                .iter()
                .find(|choice| choice.payload == payload && choice.url.is_none())?;
            Some((message, choice.clone()))
        })
        .ok_or_else(|| WriteError::UnknownChoice(payload.to_owned()))
}
