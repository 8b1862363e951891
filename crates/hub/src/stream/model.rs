//! What the stream tells: which things changed. What they are now is looked up when it is told.

use serde::{Deserialize, Serialize};

use crate::channels::model::Quality;
use crate::conversations::model::{ChannelId, Message, Millis, Status};
use crate::ids::{ContactId, ConversationId, EventId, MessageId, TemplateId};

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message came in, or was accepted for sending.
    MessageCreated {
        /// The message.
        message: MessageId,
        /// Its conversation.
        conversation: ConversationId,
    },
    /// A message got further, or failed.
    MessageStatus {
        /// The message.
        message: MessageId,
        /// Its conversation.
        conversation: ConversationId,
        /// How far.
        status: Status,
    },
    /// A message was edited, taken back, or reacted to, or a file of its has come.
    MessageUpdated {
        /// The message.
        message: MessageId,
        /// Its conversation.
        conversation: ConversationId,
    },
    /// Two contacts turned out to be one.
    ContactMerged {
        /// The one that is gone; its id leads to the other one.
        from: ContactId,
        /// The one that stays.
        into: ContactId,
    },
    /// A contact has said, or it was noted of them, what they want to be sent.
    ConsentChanged {
        /// The contact.
        contact: ContactId,
    },
    /// A conversation's own figures changed: read, resolved, assigned…
    ConversationUpdated {
        /// The conversation.
        conversation: ConversationId,
    },
    /// A message template's status, quality, category or wording changed.
    TemplateUpdated {
        /// The template.
        template: TemplateId,
    },
    /// Meta thinks otherwise of a number than before, or the worst of one that is new.
    ChannelQuality {
        /// The channel.
        channel: ChannelId,
        /// What it thinks.
        quality: Quality,
    },
}

impl Change {
    /// That a message has got as far as it is now.
    pub fn status_of(message: &Message) -> Self {
        Self::MessageStatus {
            message: message.id,
            conversation: message.conversation_id,
            status: message.status,
        }
    }

    /// That a message says something else than before.
    pub fn updated(message: &Message) -> Self {
        Self::MessageUpdated {
            message: message.id,
            conversation: message.conversation_id,
        }
    }
}

impl Change {
    /// The word for it, as streams name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MessageCreated { .. } => "message.created",
            Self::MessageStatus { .. } => "message.status",
            Self::MessageUpdated { .. } => "message.updated",
            Self::ContactMerged { .. } => "contact.merged",
            Self::ConsentChanged { .. } => "contact.consent",
            Self::ConversationUpdated { .. } => "conversation.updated",
            Self::TemplateUpdated { .. } => "template.updated",
            Self::ChannelQuality { .. } => "channel.quality",
        }
    }

    /// As the stream's rows keep it.
    pub fn to_json(changes: &[Self]) -> String {
        let rows: Vec<Kept> = changes.iter().map(Kept::from).collect();
        serde_json::to_string(&rows).expect("a change has string keys only")
    }

    /// From what a row keeps; what a newer version wrote there is left out.
    pub fn from_json(json: &str) -> Vec<Self> {
        let rows: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
        rows.into_iter()
            .filter_map(|row| serde_json::from_value::<Kept>(row).ok())
            .filter_map(Self::from_kept)
            .collect()
    }

    fn from_kept(kept: Kept) -> Option<Self> {
        Some(match kept {
            Kept::Created(message, conversation) => Self::MessageCreated { message, conversation },
            Kept::Status(message, conversation, status) => Self::MessageStatus {
                message,
                conversation,
                status: Status::from_word(&status)?,
            },
            Kept::Updated(message, conversation) => Self::MessageUpdated { message, conversation },
            Kept::Merged(from, into) => Self::ContactMerged { from, into },
            Kept::Consent(contact) => Self::ConsentChanged { contact },
            Kept::Conversation(conversation) => Self::ConversationUpdated { conversation },
            Kept::Template(template) => Self::TemplateUpdated { template },
            Kept::Quality(channel, quality) => Self::ChannelQuality {
                channel: ChannelId(channel),
                quality: Quality::of(&quality),
            },
        })
    }
}

/// A change as a row keeps it: short, since there is one for everything that happens.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kept {
    Created(MessageId, ConversationId),
    Status(MessageId, ConversationId, String),
    Updated(MessageId, ConversationId),
    Merged(ContactId, ContactId),
    Consent(ContactId),
    Conversation(ConversationId),
    Template(TemplateId),
    Quality(String, String),
}

impl From<&Change> for Kept {
    fn from(change: &Change) -> Self {
        match change {
            Change::MessageCreated { message, conversation } => Self::Created(*message, *conversation),
            Change::MessageStatus {
                message,
                conversation,
                status,
            } => Self::Status(*message, *conversation, status.as_str().to_owned()),
            Change::MessageUpdated { message, conversation } => Self::Updated(*message, *conversation),
            Change::ContactMerged { from, into } => Self::Merged(*from, *into),
            Change::ConsentChanged { contact } => Self::Consent(*contact),
            Change::ConversationUpdated { conversation } => Self::Conversation(*conversation),
            Change::TemplateUpdated { template } => Self::Template(*template),
            Change::ChannelQuality { channel, quality } => {
                Self::Quality(channel.0.clone(), quality.as_str().to_owned())
            }
        }
    }
}

/// A row of the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRow {
    /// Its number, in the order of the commits.
    pub seq: i64,
    /// When.
    pub at: Millis,
    /// On which channel, if on one.
    pub channel_id: Option<ChannelId>,
    /// Which event brought it, if one did.
    pub event_id: Option<EventId>,
    /// What changed.
    pub changes: Vec<Change>,
}
