//! How what happened is told: rows of the stream, looked up together, each thing in them rendered once.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::channels::api::QualityWord;
use crate::channels::templates::model::Definition;
use crate::channels::templates::view::TemplateView;
use crate::conversations::consent::api::ConsentView;
use crate::conversations::consent::model::Consents;
use crate::conversations::model::{ChannelId, Conversation, Message, Status};
use crate::conversations::view::{ConversationView, Conversations, ErrorView, MessageView, Messages, StatusWord};
use crate::http::timestamp::Time;
use crate::ids::{ContactId, ConversationId, EventId, MessageId, TemplateId};
use crate::ingest::events_api::EventView;
use crate::ingest::model::StoredEvent;
use crate::store::{StoreError, Tx};
use crate::stream::model::{Change, StreamRow};

/// Where something is in the stream: the number of its row, and its place in it. Written `17.0`; the end of a row is written `17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The row.
    pub seq: i64,
    index: u32,
}

impl Place {
    /// Behind everything that is in a row.
    pub fn end_of(seq: i64) -> Self {
        Self { seq, index: u32::MAX }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            u32::MAX => write!(f, "{}", self.seq),
            index => write!(f, "{}.{index}", self.seq),
        }
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (seq, index) = match text.split_once('.') {
            Some((seq, index)) => (seq, number(index)?),
            None => (text, u32::MAX),
        };
        Ok(Self {
            seq: number(seq)?,
            index,
        })
    }
}

/// Digits alone: a sign is no part of a place.
fn number<T: FromStr>(text: &str) -> Result<T, ()> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| ())
    } else {
        Err(())
    }
}

/// One thing that happened, rendered for all subscribers.
#[derive(Debug, Clone)]
pub struct Told {
    /// Where it is.
    pub place: Place,
    /// One of [`TYPES`].
    pub r#type: &'static str,
    /// On which channel, if on one.
    pub channel_id: Option<ChannelId>,
    /// The message whose status it tells, if it tells one.
    pub message_id: Option<MessageId>,
    /// As it is sent.
    pub frame: Bytes,
}

/// What can happen, but for [`RESET`].
pub const TYPES: [&str; 9] = [
    "event",
    "message.created",
    "message.status",
    "message.updated",
    "contact.merged",
    "contact.consent",
    "conversation.updated",
    "template.updated",
    "channel.quality",
];

/// Tells a subscriber that what it missed cannot be told any more.
pub const RESET: &str = "stream.reset";

/// What is told with each type: the `data` of a server-sent event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type")]
pub enum StreamData {
    /// Meta told something, and it was processed.
    #[serde(rename = "event")]
    Event {
        /// When.
        at: Time,
        /// What Meta told, as it is now.
        event: EventView,
    },
    /// A message came in, or was accepted for sending.
    #[serde(rename = "message.created")]
    MessageCreated {
        /// When.
        at: Time,
        /// The message, as it is now.
        message: Box<MessageView>,
    },
    /// A message got further, or failed.
    #[serde(rename = "message.status", rename_all = "camelCase")]
    MessageStatus {
        /// When.
        at: Time,
        /// The message.
        #[schema(value_type = String)]
        message_id: MessageId,
        /// Its conversation.
        #[schema(value_type = String)]
        conversation_id: ConversationId,
        /// Its channel.
        channel_id: Option<String>,
        /// How far it got.
        status: StatusWord,
        /// Why it failed, if it did.
        error: Option<ErrorView>,
    },
    /// A message was edited, taken back, or reacted to, or a file of its has come.
    #[serde(rename = "message.updated")]
    MessageUpdated {
        /// When.
        at: Time,
        /// The message, as it is now.
        message: Box<MessageView>,
    },
    /// Two contacts turned out to be one.
    #[serde(rename = "contact.merged")]
    ContactMerged {
        /// When.
        at: Time,
        /// The one that is gone; its id leads to the other one.
        #[schema(value_type = String)]
        from: ContactId,
        /// The one that stays.
        #[schema(value_type = String)]
        into: ContactId,
    },
    /// A contact has said, or it was noted of them, what they want to be sent.
    #[serde(rename = "contact.consent")]
    ContactConsent {
        /// When.
        at: Time,
        /// How they stand to it now.
        consent: Box<ConsentView>,
    },
    /// A conversation's own figures changed.
    #[serde(rename = "conversation.updated")]
    ConversationUpdated {
        /// When.
        at: Time,
        /// The conversation, as it is now.
        conversation: Box<ConversationView>,
    },
    /// A message template's status, quality, category or wording changed.
    #[serde(rename = "template.updated")]
    TemplateUpdated {
        /// When.
        at: Time,
        /// The template, as it is now.
        template: Box<TemplateView>,
    },
    /// Meta rates the quality of a WhatsApp number otherwise than before. When it is `red`, Meta may restrict the number.
    #[serde(rename = "channel.quality", rename_all = "camelCase")]
    ChannelQuality {
        /// When that was found.
        at: Time,
        /// The channel.
        channel_id: String,
        /// What Meta thinks of it.
        quality: QualityWord,
    },
    /// What happened since the last id is not kept any more: read the lists again, and go on from here.
    #[serde(rename = "stream.reset")]
    Reset {},
}

/// A server-sent event (WHATWG HTML, 9.2.6); JSON has no line breaks in it.
pub fn frame(place: Place, r#type: &str, data: &StreamData) -> Bytes {
    let data = serde_json::to_string(data).expect("what is told has string keys only");
    Bytes::from(format!("id: {place}\nevent: {type}\ndata: {data}\n\n"))
}

/// Rows of the stream, with everything that they are about.
#[derive(Debug)]
pub struct Rows {
    in_order: Vec<StreamRow>,
    events: HashMap<EventId, StoredEvent>,
    messages: HashMap<MessageId, Message>,
    beside_messages: Messages,
    conversations: HashMap<ConversationId, Conversation>,
    beside_conversations: Conversations,
    templates: HashMap<TemplateId, Definition>,
    consents: Consents,
}

/// Reads rows after a number, and looks up what they are about.
pub fn load(tx: &mut Tx<'_>, after: i64, limit: u32) -> Result<Rows, StoreError> {
    let rows = tx.stream_after(after, limit)?;
    let events: Vec<EventId> = rows.iter().filter_map(|row| row.event_id).collect();
    let mut messages: Vec<MessageId> = Vec::new();
    let mut conversations: Vec<ConversationId> = Vec::new();
    let mut templates: Vec<TemplateId> = Vec::new();
    let mut consents: Vec<ContactId> = Vec::new();
    for change in rows.iter().flat_map(|row| &row.changes) {
        match change {
            // Of a status the row says all that is told, but for the reason of a failure.
            Change::MessageCreated { message, .. }
            | Change::MessageUpdated { message, .. }
            | Change::MessageStatus {
                message,
                status: Status::Failed,
                ..
            } => messages.push(*message),
            Change::MessageStatus { .. } | Change::ContactMerged { .. } | Change::ChannelQuality { .. } => {}
            Change::ConsentChanged { contact } => consents.push(*contact),
            Change::ConversationUpdated { conversation } => conversations.push(*conversation),
            Change::TemplateUpdated { template } => templates.push(*template),
        }
    }
    messages.sort_unstable();
    messages.dedup();
    conversations.sort_unstable();
    conversations.dedup();
    templates.sort_unstable();
    templates.dedup();
    consents.sort_unstable();
    consents.dedup();
    let messages = tx.messages_by_ids(&messages)?;
    let conversations = tx.conversations_by_ids(&conversations)?;
    Ok(Rows {
        events: tx
            .event_heads(&events)?
            .into_iter()
            .map(|event| (event.id, event))
            .collect(),
        beside_messages: Messages::load(tx, &messages)?,
        messages: messages.into_iter().map(|message| (message.id, message)).collect(),
        beside_conversations: Conversations::load(tx, &conversations)?,
        conversations: conversations
            .into_iter()
            .map(|conversation| (conversation.id, conversation))
            .collect(),
        templates: tx
            .templates_by_ids(&templates)?
            .into_iter()
            .map(|template| (template.id, template))
            .collect(),
        consents: Consents::of(tx.standing_consent_statements(&consents)?),
        in_order: rows,
    })
}

impl Rows {
    /// The number of the last one.
    pub fn last_seq(&self) -> Option<i64> {
        self.in_order.last().map(|row| row.seq)
    }

    /// Whether there may be more.
    pub fn is_full(&self, limit: u32) -> bool {
        self.in_order.len() >= limit as usize
    }

    /// Renders everything that happened, in order. What is gone by now (taken for another one, erased) is left out.
    pub fn tell(&self, app: &App) -> Vec<Told> {
        let mut told = Vec::new();
        for row in &self.in_order {
            let event = row.event_id.and_then(|id| self.events.get(&id)).map(|event| {
                (
                    "event",
                    StreamData::Event {
                        at: Time(row.at),
                        event: EventView::from(event),
                    },
                )
            });
            let changes = row
                .changes
                .iter()
                .map(|change| self.data(app, row, change).map(|data| (change.kind(), data)));
            for (index, item) in (0..).zip(std::iter::once(event).chain(changes)) {
                let Some((r#type, data)) = item else { continue };
                let place = Place { seq: row.seq, index };
                let frame = frame(place, r#type, &data);
                let message_id = match &data {
                    StreamData::MessageStatus { message_id, .. } => Some(*message_id),
                    _ => None,
                };
                told.push(Told {
                    place,
                    r#type,
                    channel_id: row.channel_id.clone(),
                    message_id,
                    frame,
                });
            }
        }
        told
    }

    fn data(&self, app: &App, row: &StreamRow, change: &Change) -> Option<StreamData> {
        let at = Time(row.at);
        let message = |id| {
            self.messages
                .get(id)
                .map(|message| Box::new(self.beside_messages.view(message, app)))
        };
        Some(match change {
            Change::MessageCreated { message: id, .. } => StreamData::MessageCreated {
                at,
                message: message(id)?,
            },
            Change::MessageUpdated { message: id, .. } => StreamData::MessageUpdated {
                at,
                message: message(id)?,
            },
            Change::MessageStatus {
                message,
                conversation,
                status,
            } => StreamData::MessageStatus {
                at,
                message_id: *message,
                conversation_id: *conversation,
                channel_id: row.channel_id.as_ref().map(|channel| channel.0.clone()),
                status: (*status).into(),
                error: self.error(app, *message),
            },
            Change::ContactMerged { from, into } => StreamData::ContactMerged {
                at,
                from: *from,
                into: *into,
            },
            Change::ConsentChanged { contact } => StreamData::ContactConsent {
                at,
                consent: Box::new(ConsentView::new(*contact, &self.consents)),
            },
            Change::ConversationUpdated { conversation } => {
                let conversation = self.conversations.get(conversation)?;
                let view = self.beside_conversations.view(conversation, app.clock.now_millis());
                StreamData::ConversationUpdated {
                    at,
                    conversation: Box::new(view),
                }
            }
            Change::TemplateUpdated { template } => StreamData::TemplateUpdated {
                at,
                template: Box::new(TemplateView::new(self.templates.get(template)?, &app.channels)),
            },
            Change::ChannelQuality { channel, quality } => StreamData::ChannelQuality {
                at,
                channel_id: channel.0.clone(),
                quality: (*quality).into(),
            },
        })
    }

    fn error(&self, app: &App, message: MessageId) -> Option<ErrorView> {
        let message = self.messages.get(&message)?;
        let platform = app
            .channels
            .get(&message.channel_id)
            .and_then(|channel| channel.platform());
        message
            .failure
            .as_ref()
            .map(|failure| ErrorView::new(failure, platform))
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_reads_back_as_it_is_written() {
        for text in ["0", "17", "17.0", "9223372036854775807.3"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            ".",
            "1.",
            ".1",
            "-1",
            "+1",
            "1.-1",
            "1.2.3",
            "x",
            "9223372036854775808",
            " 1",
        ] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_end_of_a_row_is_behind_everything_in_it() {
        let place = |text: &str| text.parse::<Place>().unwrap();
        assert!(place("16") < place("17.0"));
        assert!(place("17.0") < place("17.1"));
        assert!(place("17.1") < place("17"));
    }
}
