//! Marks of presence: that what a customer wrote was read, and that an answer is being typed.
//!
//! They are no messages. They go to Meta at once, past the queue, since a moment later they would be worth nothing: nobody waits for them, nothing
//! keeps them, nothing repeats them, and whether they got there is told in the answer and nowhere else. They obey what sending obeys (the stop
//! switch, a channel that is held or silent) and have a pace of their own on each node, beside that of messages: Meta says that they are not to
//! count against it, and not whether they do (reference `whatsapp.md` 9.4).
//!
//! Why it is so: `docs/decisions/0017-reactions-are-queued-and-presence-is-not.md`.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tidings_meta::client::{CallError, Exchange};
use tidings_meta::error;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::app::App;
use crate::channels::{Channel, Standing};
use crate::conversations::model::{ChannelId, Conversation, Millis, Venue};
use crate::ids::{ConversationId, MessageId};
use crate::sending::request::{self, Address};
use crate::sending::sender::millis;
use crate::store::{StoreError, Tx};

/// How many marks a node makes on a channel in any one second.
const PER_SECOND: usize = 10;
/// How long Meta's answer is waited for.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// For so long the same is not shown again: it is still there (reference `whatsapp.md` 9.4: 25 seconds; `instagram.md` 3.3: about 20).
const SHOWN_FOR: Duration = Duration::from_secs(5);
/// How many conversations are remembered of which something is shown.
const REMEMBERED_MAX: usize = 4_096;
/// How old a message may be that is marked as read on WhatsApp (reference `whatsapp.md` 9.4).
const READ_AGE_MAX: Duration = Duration::from_hours(30 * 24);
/// How many messages of the moment of the last inbound one are looked at.
const LOOK_AT: u32 = 20;

/// A mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Everything so far was read.
    Read,
    /// An answer is being typed.
    Typing,
    /// It is no longer.
    TypingEnded,
}

/// Whether the contact was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Whether Meta has taken it.
    pub told: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Presence {
    fn told() -> Self {
        Self {
            told: true,
            reason: None,
        }
    }

    fn untold(reason: impl Into<String>) -> Self {
        Self {
            told: false,
            reason: Some(reason.into()),
        }
    }
}

/// What this node has shown lately. Cheap to keep: it forgets.
#[derive(Debug, Default)]
pub struct Marks {
    inner: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// When marks were made in the last second.
    made: HashMap<ChannelId, VecDeque<Instant>>,
    shown: HashMap<ConversationId, Shown>,
}

/// The last mark in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    mark: Mark,
    /// The inbound message that it was about.
    about: MessageId,
    at: Millis,
}

impl Marks {
    /// Whether the same is shown already.
    fn is_shown(&self, conversation: ConversationId, mark: Mark, about: MessageId, now: Millis) -> bool {
        let kept = self.inner.lock().expect("no thread panics while it holds this lock");
        kept.shown.get(&conversation).is_some_and(|shown| {
            let is_lasting = mark == Mark::Read;
            let is_recent = (0..millis(SHOWN_FOR)).contains(&(now - shown.at));
            (shown.mark, shown.about) == (mark, about) && (is_lasting || is_recent)
        })
    }

    fn note(&self, conversation: ConversationId, shown: Shown) {
        let mut kept = self.inner.lock().expect("no thread panics while it holds this lock");
        if kept.shown.len() >= REMEMBERED_MAX {
            kept.shown.clear();
        }
        kept.shown.insert(conversation, shown);
    }

    /// Takes a place in the second; false if there is none.
    fn take_place(&self, channel: &ChannelId) -> bool {
        let now = Instant::now();
        let mut kept = self.inner.lock().expect("no thread panics while it holds this lock");
        let made = kept.made.entry(channel.clone()).or_default();
        while made
            .front()
            .is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1))
        {
            made.pop_front();
        }
        let is_free = made.len() < PER_SECOND;
        if is_free {
            made.push_back(now);
        }
        is_free
    }
}

/// What is to be known before Meta is called.
struct Known {
    address: Option<Address>,
    /// The newest message of the contact, with Meta's id of it and its time.
    newest: Option<(MessageId, String, Millis)>,
    /// Until when the channel is silent.
    silent_until: Option<Millis>,
}

/// Makes a mark in a conversation, if that can be done at once.
pub async fn make(app: &App, conversation: &Conversation, mark: Mark) -> Result<Presence, StoreError> {
    if conversation.venue != Venue::Direct {
        return Ok(Presence::untold("comments have no such marks"));
    }
    let Some(channel) = app.channels.get(&conversation.channel_id) else {
        return Ok(Presence::untold("its channel is no longer there"));
    };
    let Some(connection) = channel.connection() else {
        let why = match channel.platform() {
            Some(_) => "its channel has no access token: it can only receive",
            None => "e-mail has no such marks",
        };
        return Ok(Presence::untold(why));
    };
    match channel.standing(&app.flags) {
        // Of one that was switched, customers still see there that they were read.
        Standing::Ready | Standing::Switched => {}
        Standing::Stopped => return Ok(Presence::untold("sending is stopped")),
        Standing::Held => return Ok(Presence::untold("its channel is held")),
        Standing::ReceiveOnly => return Ok(Presence::untold("its channel can only receive")),
        Standing::CircuitOpen => return Ok(Presence::untold("too many calls of its channel have failed lately")),
    }
    let now = app.clock.now_millis();
    let (found, of_channel) = (conversation.clone(), channel.clone());
    let known = app.store.read(move |tx| look_up(tx, &of_channel, &found, now)).await?;
    if known.silent_until.is_some_and(|until| until > now) {
        return Ok(Presence::untold("Meta wants its channel to be silent for now"));
    }
    let Some((about, external_id, at)) = known.newest else {
        return Ok(Presence::untold("the contact has not written"));
    };
    let marks = app.senders.marks();
    if marks.is_shown(conversation.id, mark, about, now) {
        return Ok(Presence::told());
    }
    let action = match (&known.address, mark) {
        (None | Some(Address::CommentAuthor(_) | Address::Comment(_) | Address::Mention { .. }), _) => {
            return Ok(Presence::untold("the contact has no address on its channel"));
        }
        (Some(Address::Email(_)), _) => return Ok(Presence::untold("e-mail has no such marks")),
        (Some(Address::Phone(_) | Address::UserId(_)), Mark::TypingEnded) => {
            return Ok(Presence::untold(
                "WhatsApp shows typing until the answer comes, or for 25 seconds",
            ));
        }
        (Some(Address::Phone(_) | Address::UserId(_)), _) if at + millis(READ_AGE_MAX) <= now => {
            return Ok(Presence::untold("what the contact wrote is older than 30 days"));
        }
        (Some(Address::Phone(_) | Address::UserId(_)), _) => None,
        (Some(Address::Igsid(_)), _) if !conversation.window_is_open(now) => {
            return Ok(Presence::untold("the window is closed"));
        }
        (Some(Address::Igsid(igsid)), mark) => Some(sender_action(igsid, mark)),
    };
    if !marks.take_place(&channel.id) {
        return Ok(Presence::untold("there were too many such marks in this second"));
    }
    let (client, token, account) = (connection.client, connection.access_token, &channel.account);
    let call = async {
        match &action {
            Some(body) => {
                let exchange = client.send_instagram(token, account, body).await;
                outcome(&channel, app, &exchange)
            }
            None if mark == Mark::Typing => {
                let exchange = client.show_typing_whatsapp(token, account, &external_id).await;
                outcome(&channel, app, &exchange)
            }
            None => {
                let exchange = client.mark_read_whatsapp(token, account, &external_id).await;
                outcome(&channel, app, &exchange)
            }
        }
    };
    let Ok(presence) = tokio::time::timeout(WAIT_MAX, call).await else {
        return Ok(Presence::untold("Meta did not answer in time"));
    };
    if presence.told {
        marks.note(conversation.id, Shown { mark, about, at: now });
    }
    Ok(presence)
}

fn look_up(tx: &mut Tx<'_>, channel: &Channel, conversation: &Conversation, now: Millis) -> Result<Known, StoreError> {
    let identities = tx.identities_of_contact(conversation.contact_id)?;
    let newest = match conversation.last_inbound_at {
        None => None,
        Some(at) => tx
            .messages_of_conversation(conversation.id, Some((at, MessageId::MAX)), LOOK_AT)?
            .into_iter()
            .find(|message| !message.outbound && !message.inert)
            .and_then(|message| Some((message.id, message.external_id?, message.occurred_at))),
    };
    let silent_until = tx
        .channel_pace(&channel.id)?
        .and_then(|pace| pace.until)
        .filter(|until| *until > now);
    Ok(Known {
        address: request::address_of(channel.kind, &channel.account, &identities),
        newest,
        silent_until,
    })
}

/// Reference `instagram.md` 3.3.
fn sender_action(igsid: &str, mark: Mark) -> Value {
    let action = match mark {
        Mark::Read => "mark_seen",
        Mark::Typing => "typing_on",
        Mark::TypingEnded => "typing_off",
    };
    json!({ "recipient": { "id": igsid }, "sender_action": action })
}

fn outcome<T>(channel: &Channel, app: &App, exchange: &Exchange<T>) -> Presence {
    let Some(platform) = channel.platform() else {
        return Presence::untold("its channel is not at Meta");
    };
    let (error, presence) = match &exchange.outcome {
        Ok(_) => (None, Presence::told()),
        Err(CallError::Refused(refusal)) => {
            let class = error::explain(platform, refusal).class.as_str();
            let text = refusal.details.as_deref().unwrap_or(&refusal.message);
            let reason = format!("Meta refused it ({}): {text}", refusal.code);
            (Some((refusal.code, class)), Presence::untold(reason))
        }
        Err(error) => (Some((0, "temporary")), Presence::untold(error.to_string())),
    };
    if let Some(reason) = &presence.reason {
        tracing::info!(channel = %channel.id, reason, "a mark of presence was not made");
    }
    app.metrics.count_call(platform, "presence", error);
    presence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ConversationId {
        ConversationId::from_slice(&[byte; 16]).unwrap()
    }

    #[test]
    fn the_same_is_not_shown_twice_and_what_is_new_is() {
        let marks = Marks::default();
        let (about, later) = (MessageId::MIN, MessageId::MAX);
        let shown = |mark, at| Shown { mark, about, at };
        marks.note(id(1), shown(Mark::Read, 0));
        assert!(
            marks.is_shown(id(1), Mark::Read, about, 1_000_000),
            "what was read stays so"
        );
        assert!(!marks.is_shown(id(1), Mark::Read, later, 1));
        assert!(!marks.is_shown(id(2), Mark::Read, about, 1));
        marks.note(id(1), shown(Mark::Typing, 0));
        assert!(marks.is_shown(id(1), Mark::Typing, about, 4_999));
        assert!(!marks.is_shown(id(1), Mark::Typing, about, 5_000), "it may have gone");
        assert!(!marks.is_shown(id(1), Mark::TypingEnded, about, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_has_so_many_marks_a_second() {
        let marks = Marks::default();
        let (one, other) = (ChannelId("one".into()), ChannelId("other".into()));
        let taken = (0..50).filter(|_| marks.take_place(&one)).count();
        assert_eq!(taken, PER_SECOND);
        assert!(marks.take_place(&other));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(marks.take_place(&one));
    }
}
