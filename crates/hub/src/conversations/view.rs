//! Contacts, conversations and messages as callers of the API and of the live stream see them: one rendering for both.
//!
//! What is shown beside a thing (its contact, its reactions, the message that it answers) is asked for in bulk, by [`Messages::load`] and
//! [`Conversations::load`]; rendering asks nothing.

use std::collections::HashMap;

use serde::Serialize;
use tidings_meta::error::explain_code;
use tidings_meta::notification::Platform;
use utoipa::ToSchema;

use crate::app::App;
use crate::conversations::content::Content;
use crate::conversations::model::{
    ChannelId, Comment, CommentKind, Contact, Conversation, ConversationKind, ConversationStatus, Failure, Handler,
    Identity, IdentityKind, Message, Millis, Sender, Status, Venue,
};
use crate::http::timestamp::Time;
use crate::http::word::words;
use crate::ids::{ContactId, ConversationId, EventId, MessageId};
use crate::media::model::Media;
use crate::media::view::MediaView;
use crate::sending::route::model::{Leg, LegState};
use crate::store::messages::ReactionRow;
use crate::store::{StoreError, Tx};

words! {
    StatusWord of Status as "MessageStatus";
    SenderWord of Sender as "Sender";
    ConversationKindWord of ConversationKind as "ConversationKind";
    CommentKindWord of CommentKind as "CommentKind";
    ConversationStatusWord of ConversationStatus as "ConversationStatus";
    HandlerWord of Handler as "Handler";
    IdentityKindWord of IdentityKind as "IdentityKind";
    DirectionWord of Direction as "Direction";
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the contact.
    Inbound,
    /// From the business.
    Outbound,
}

impl Direction {
    const ALL: [Self; 2] = [Self::Inbound, Self::Outbound];

    fn of(message: &Message) -> Self {
        if message.outbound {
            Self::Outbound
        } else {
            Self::Inbound
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// One thing said.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Message)]
pub struct MessageView {
    /// Its id.
    #[schema(value_type = String, example = "msg_019a9f0cb2007a5f8d3e6b1c2d4f5a60")]
    pub id: MessageId,
    /// Its conversation.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// Its channel.
    pub channel_id: String,
    /// Which way it goes.
    pub direction: DirectionWord,
    /// Who said it.
    pub sender: SenderWord,
    /// What it says.
    pub content: Content,
    /// The files in it, in the order of its parts: those that Meta told of, and those that were uploaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<MediaView>,
    /// How far it got.
    pub status: StatusWord,
    /// When it was said: by Meta's clock for what came from Meta, by ours for what we send.
    pub occurred_at: Time,
    /// When Tidings learnt of it.
    pub created_at: Time,
    /// When it reached which status first.
    pub status_times: StatusTimes,
    /// Why it failed, if Meta or Tidings has said so.
    pub error: Option<ErrorView>,
    /// Meta's id of it, once it has one.
    pub external_id: Option<String>,
    /// The message that it answers.
    pub reply_to: Option<ReplyToView>,
    /// Reactions that were not taken back.
    pub reactions: Vec<ReactionView>,
    /// What else is known of it, if it is a comment or a mention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<CommentView>,
    /// When its present wording was written, if that is not the first.
    pub edited_at: Option<Time>,
    /// When it was taken back.
    pub deleted_at: Option<Time>,
    /// It was sent again after a try whose outcome never became known.
    pub maybe_duplicate: bool,
    /// It is from before the channel was connected.
    pub imported: bool,
    /// The document that the sender of the request gave.
    #[schema(value_type = Option<serde_json::Value>)]
    pub metadata: Option<serde_json::Value>,
    /// The event that brought it.
    #[schema(value_type = Option<String>)]
    pub event_id: Option<EventId>,
    /// The routes that it has gone by, the first one first, if it follows a policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteView>,
    /// The channel of the route that got it there, or is at work on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// A route delivered it although another one had taken over: the contact may have it twice.
    pub late_delivery: bool,
    /// Why no further route could be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_route: Option<String>,
    /// The message that was accepted, if this one was sent in its place by another route.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fallback_for: Option<MessageId>,
}

/// One route that a message has gone by.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Route)]
pub struct RouteView {
    /// Its channel.
    channel: String,
    /// The message on it.
    #[schema(value_type = String)]
    message_id: MessageId,
    /// How far that one got.
    status: Option<StatusWord>,
    /// Why it was taken; the first has no reason.
    reason: Option<String>,
    /// When.
    at: Time,
}

/// When a message reached which status first; those that it has not reached are absent.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusTimes {
    /// Meta took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<Time>,
    /// It left Meta's servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Time>,
    /// It reached a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<Time>,
    /// It was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<Time>,
    /// It was played.
    #[serde(skip_serializing_if = "Option::is_none")]
    played: Option<Time>,
    /// Meta said that it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Time>,
}

/// An error of Meta's, or of Tidings' own (code 0), explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageError)]
pub struct ErrorView {
    /// Meta's code; 0 where the failure is Tidings' own.
    pub code: i64,
    /// Meta's finer code; 0 where Meta's code is 0 itself.
    pub subcode: Option<i64>,
    /// What Meta, or Tidings, said.
    pub text: String,
    /// What it means, by the catalogue of errors.
    pub meaning: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl ErrorView {
    /// A failure, explained for its product; a channel that the settings no longer name has none.
    pub fn new(failure: &Failure, platform: Option<Platform>) -> Self {
        let explanation = platform
            .filter(|_| !failure.is_ours())
            .map(|platform| explain_code(platform, failure.code, failure.subcode));
        Self {
            code: failure.code,
            subcode: failure.subcode,
            text: failure.text.clone(),
            meaning: explanation
                .as_ref()
                .map(|explanation| explanation.meaning.clone().into_owned()),
            remedy: explanation.map(|explanation| explanation.remedy.to_owned()),
        }
    }
}

/// The message that another one answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReplyTo)]
pub struct ReplyToView {
    /// Meta's id of it.
    external_id: String,
    /// Its id here, if it is known here.
    #[schema(value_type = Option<String>)]
    message_id: Option<MessageId>,
}

/// What is known of a message that is a comment, or a mention.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Comment)]
pub struct CommentView {
    /// What it was made on: `comment` is one on a post of the account, `live` one on its broadcast; `mention` names the account in a comment under
    /// somebody's post, `caption` in what is written below that post.
    kind: CommentKindWord,
    /// Whether it is hidden from everybody but its author, as far as that was done from here.
    hidden: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_at: Option<Time>,
    /// The direct message that answers it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    private_reply: Option<MessageId>,
}

impl From<&Comment> for CommentView {
    fn from(comment: &Comment) -> Self {
        Self {
            kind: comment.kind.into(),
            hidden: comment.hidden_at.is_some(),
            hidden_at: comment.hidden_at.map(Time),
            private_reply: comment.private_reply,
        }
    }
}

/// A reaction to a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Reaction)]
pub struct ReactionView {
    /// Whose: `inbound` is the contact's, `outbound` the business's.
    direction: DirectionWord,
    /// The emoji.
    emoji: String,
    /// When.
    at: Time,
    /// The event that told it; none of one that was sent from here.
    #[schema(value_type = Option<String>)]
    event_id: Option<EventId>,
}

/// What is shown beside messages.
#[derive(Debug, Default)]
pub struct Messages {
    reactions: HashMap<MessageId, Vec<ReactionRow>>,
    answered: HashMap<(ChannelId, String), MessageId>,
    legs: HashMap<MessageId, Vec<(Leg, Option<Status>)>>,
    origins: HashMap<MessageId, MessageId>,
    media: HashMap<MessageId, Vec<Media>>,
    comments: HashMap<MessageId, Comment>,
}

impl Messages {
    /// Asks for what is shown beside these messages.
    pub fn load(tx: &mut Tx<'_>, messages: &[Message]) -> Result<Self, StoreError> {
        let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
        let mut reactions: HashMap<MessageId, Vec<ReactionRow>> = HashMap::new();
        for reaction in tx.reactions_of_messages(&ids)? {
            reactions.entry(reaction.message_id).or_default().push(reaction);
        }
        for of_message in reactions.values_mut() {
            of_message.sort_by_key(|reaction| (reaction.at, reaction.by_business));
        }
        let mut keys: Vec<(ChannelId, String)> = messages
            .iter()
            .filter_map(|message| {
                message
                    .reply_to
                    .clone()
                    .map(|reply_to| (message.channel_id.clone(), reply_to))
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let answered = tx.message_ids_by_external_ids(&keys)?;
        let outbound: Vec<MessageId> = messages
            .iter()
            .filter(|message| message.outbound && message.event_id.is_none())
            .map(|message| message.id)
            .collect();
        let origins = tx.origins_of_messages(&outbound)?.into_iter().collect();
        let found = tx.legs_of_origins(&outbound)?;
        let of_legs: Vec<MessageId> = found.iter().map(|leg| leg.message_id).collect();
        let statuses: HashMap<MessageId, Status> = tx
            .messages_by_ids(&of_legs)?
            .into_iter()
            .map(|message| (message.id, message.status))
            .collect();
        let mut legs: HashMap<MessageId, Vec<(Leg, Option<Status>)>> = HashMap::new();
        for leg in found {
            let status = statuses.get(&leg.message_id).copied();
            legs.entry(leg.origin_id).or_default().push((leg, status));
        }
        let with_files: Vec<MessageId> = messages
            .iter()
            .filter(|message| !message.content.files().is_empty())
            .map(|message| message.id)
            .collect();
        let mut media: HashMap<MessageId, Vec<Media>> = HashMap::new();
        for (message, _, file) in tx.media_of_messages(&with_files)? {
            media.entry(message).or_default().push(file);
        }
        let comments = tx.comments_of_messages(&ids)?.into_iter();
        Ok(Self {
            comments: comments.map(|comment| (comment.message_id, comment)).collect(),
            reactions,
            answered,
            legs,
            origins,
            media,
        })
    }

    /// Renders one of them.
    pub fn view(&self, message: &Message, app: &App) -> MessageView {
        let now = app.clock.now_millis();
        let media = self.media.get(&message.id).map(Vec::as_slice).unwrap_or_default();
        let platform = app
            .channels
            .get(&message.channel_id)
            .and_then(|channel| channel.platform());
        let receipts = &message.receipts;
        let reactions = self.reactions.get(&message.id).map(Vec::as_slice).unwrap_or_default();
        let legs = self.legs.get(&message.id).map(Vec::as_slice).unwrap_or_default();
        MessageView {
            id: message.id,
            conversation_id: message.conversation_id,
            channel_id: message.channel_id.0.clone(),
            direction: Direction::of(message).into(),
            sender: message.sender.into(),
            content: message.content.clone(),
            media: media
                .iter()
                .map(|file| MediaView::new(file, &app.media.links, now))
                .collect(),
            status: message.status.into(),
            occurred_at: Time(message.occurred_at),
            created_at: Time(message.created_at),
            status_times: StatusTimes {
                accepted: receipts.accepted_at.map(Time),
                sent: receipts.sent_at.map(Time),
                delivered: receipts.delivered_at.map(Time),
                read: receipts.read_at.map(Time),
                played: receipts.played_at.map(Time),
                failed: receipts.failed_at.map(Time),
            },
            error: message
                .failure
                .as_ref()
                .map(|failure| ErrorView::new(failure, platform)),
            external_id: message.external_id.clone(),
            reply_to: message.reply_to.as_ref().map(|reply_to| ReplyToView {
                external_id: reply_to.clone(),
                message_id: self
                    .answered
                    .get(&(message.channel_id.clone(), reply_to.clone()))
                    .copied(),
            }),
            reactions: reactions.iter().filter_map(reaction).collect(),
            comment: self.comments.get(&message.id).map(CommentView::from),
            edited_at: message.edited_at.map(Time),
            deleted_at: message.deleted_at.map(Time),
            maybe_duplicate: message.maybe_duplicate,
            imported: message.inert,
            // It was JSON when it was taken; what is not any more is not worth an error.
            metadata: message
                .metadata
                .as_deref()
                .and_then(|metadata| serde_json::from_str(metadata).ok()),
            event_id: message.event_id,
            route: serving(legs).map(|leg| leg.channel_id.0.clone()),
            late_delivery: legs.iter().any(|(leg, _)| leg.late_at.is_some()),
            no_route: legs.last().and_then(|(leg, _)| leg.no_route.clone()),
            fallback_for: self.origins.get(&message.id).copied(),
            routes: legs
                .iter()
                .map(|(leg, status)| RouteView {
                    channel: leg.channel_id.0.clone(),
                    message_id: leg.message_id,
                    status: status.map(Into::into),
                    reason: leg.reason.clone(),
                    at: Time(leg.at),
                })
                .collect(),
        }
    }
}

/// The leg that got there, else the last one.
fn serving(legs: &[(Leg, Option<Status>)]) -> Option<&Leg> {
    let reached = legs.iter().find(|(leg, _)| leg.state == LegState::Reached);
    reached.or(legs.last()).map(|(leg, _)| leg)
}

fn reaction(row: &ReactionRow) -> Option<ReactionView> {
    let direction = if row.by_business {
        Direction::Outbound
    } else {
        Direction::Inbound
    };
    Some(ReactionView {
        direction: direction.into(),
        emoji: row.emoji.clone()?,
        at: Time(row.at),
        event_id: row.event_id,
    })
}

/// The thread between a channel and a contact: the direct one, or one under a post.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Conversation)]
pub struct ConversationView {
    /// Its id.
    #[schema(value_type = String, example = "cnv_019a9f0cb2007a5f8d3e6b1c2d4f5a60")]
    pub id: ConversationId,
    /// Its channel.
    pub channel_id: String,
    /// What it is made of: `direct` messages, or `comments` and mentions under one post.
    pub kind: ConversationKindWord,
    /// The post that it is under, if it is made of comments and Meta has told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post: Option<PostView>,
    /// Of one made of comments: the direct conversation with the same contact, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub direct_conversation: Option<ConversationId>,
    /// Of a direct one: the comment that was answered in it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_comment: Option<AnsweredCommentView>,
    /// Who is on the other side.
    pub contact: ContactNameView,
    /// Whether it waits for somebody.
    pub status: ConversationStatusWord,
    /// Who answers.
    pub handler: HandlerWord,
    /// The operator or team that it is given to.
    pub assignee: Option<String>,
    /// Inbound messages that nobody here has read.
    pub unread: i64,
    /// Whether a free-form reply is allowed.
    pub window: WindowView,
    /// When the contact wrote last.
    pub last_inbound_at: Option<Time>,
    /// When either side said something last.
    pub last_message_at: Option<Time>,
    /// What was said last.
    pub last_message: Option<LastMessageView>,
    /// When it began.
    pub created_at: Time,
}

/// A post on Instagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Post)]
pub struct PostView {
    /// Meta's id of it.
    pub media_id: String,
}

/// A comment that was answered by a direct message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AnsweredComment)]
pub struct AnsweredCommentView {
    /// The message that is the comment.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// The conversation that it is in.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
}

/// The window in which a free-form reply is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Window)]
pub struct WindowView {
    /// Whether it is open now.
    pub open: bool,
    /// When it closes, or has closed; absent if it never was open.
    pub ends_at: Option<Time>,
}

/// A contact, as lists name it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ContactName)]
pub struct ContactNameView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ContactId,
    /// As they call themselves.
    pub name: Option<String>,
    /// Their user name.
    pub username: Option<String>,
}

/// The last message of a conversation, in short.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LastMessage)]
pub struct LastMessageView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// Which way it goes.
    pub direction: DirectionWord,
    /// Who said it.
    pub sender: SenderWord,
    /// What it says.
    pub content: Content,
    /// How far it got.
    pub status: StatusWord,
    /// When it was said.
    pub occurred_at: Time,
}

/// What is shown beside conversations.
#[derive(Debug, Default)]
pub struct Conversations {
    contacts: HashMap<ContactId, Contact>,
    last_messages: HashMap<MessageId, Message>,
    /// Those of the contacts whose comments are shown.
    direct: HashMap<(ChannelId, ContactId), ConversationId>,
    /// In which conversations the comments are that were answered.
    answered: HashMap<MessageId, ConversationId>,
}

impl Conversations {
    /// Asks for what is shown beside these conversations.
    pub fn load(tx: &mut Tx<'_>, conversations: &[Conversation]) -> Result<Self, StoreError> {
        let mut contacts: Vec<ContactId> = conversations
            .iter()
            .map(|conversation| conversation.contact_id)
            .collect();
        contacts.sort_unstable();
        contacts.dedup();
        let messages: Vec<MessageId> = conversations
            .iter()
            .filter_map(|conversation| conversation.last_message_id)
            .collect();
        let pairs: Vec<(ChannelId, ContactId)> = conversations
            .iter()
            .filter(|conversation| conversation.venue != Venue::Direct)
            .map(|conversation| (conversation.channel_id.clone(), conversation.contact_id))
            .collect();
        let answered: Vec<MessageId> = conversations
            .iter()
            .filter_map(|conversation| conversation.answered_comment)
            .collect();
        let answered = tx.messages_by_ids(&answered)?.into_iter();
        Ok(Self {
            direct: tx.direct_conversations(&pairs)?,
            answered: answered.map(|comment| (comment.id, comment.conversation_id)).collect(),
            contacts: tx
                .contacts_by_ids(&contacts)?
                .into_iter()
                .map(|contact| (contact.id, contact))
                .collect(),
            last_messages: tx
                .messages_by_ids(&messages)?
                .into_iter()
                .map(|message| (message.id, message))
                .collect(),
        })
    }

    /// Renders one of them, as it is now.
    pub fn view(&self, conversation: &Conversation, now: Millis) -> ConversationView {
        let contact = self.contacts.get(&conversation.contact_id);
        let last = conversation.last_message_id.and_then(|id| self.last_messages.get(&id));
        ConversationView {
            id: conversation.id,
            channel_id: conversation.channel_id.0.clone(),
            kind: conversation.venue.kind().into(),
            post: conversation.venue.media_id().map(|media_id| PostView {
                media_id: media_id.to_owned(),
            }),
            direct_conversation: self
                .direct
                .get(&(conversation.channel_id.clone(), conversation.contact_id))
                .filter(|id| **id != conversation.id)
                .copied(),
            answered_comment: conversation.answered_comment.and_then(|message_id| {
                let conversation_id = *self.answered.get(&message_id)?;
                Some(AnsweredCommentView {
                    message_id,
                    conversation_id,
                })
            }),
            contact: ContactNameView {
                id: conversation.contact_id,
                name: contact.and_then(|contact| contact.name.clone()),
                username: contact.and_then(|contact| contact.username.clone()),
            },
            status: conversation.status.into(),
            handler: conversation.handler.into(),
            assignee: conversation.assignee.clone(),
            unread: conversation.unread,
            window: WindowView {
                open: conversation.window_is_open(now),
                ends_at: conversation.window_ends_at.map(Time),
            },
            last_inbound_at: conversation.last_inbound_at.map(Time),
            last_message_at: conversation.last_message_id.map(|_| Time(conversation.last_message_at)),
            last_message: last.map(|message| LastMessageView {
                id: message.id,
                direction: Direction::of(message).into(),
                sender: message.sender.into(),
                content: message.content.clone(),
                status: message.status.into(),
                occurred_at: Time(message.occurred_at),
            }),
            created_at: Time(conversation.created_at),
        }
    }
}

/// A person on the other side.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Contact)]
pub struct ContactView {
    /// Its id.
    #[schema(value_type = String, example = "con_019a9f0cb2007a5f8d3e6b1c2d4f5a60")]
    pub id: ContactId,
    /// As they call themselves.
    pub name: Option<String>,
    /// Their user name: for display, never an address.
    pub username: Option<String>,
    /// Their picture; such links die within days.
    pub picture_url: Option<String>,
    /// When they became known.
    pub created_at: Time,
}

impl From<&Contact> for ContactView {
    fn from(contact: &Contact) -> Self {
        Self {
            id: contact.id,
            name: contact.name.clone(),
            username: contact.username.clone(),
            picture_url: contact.picture_url.clone(),
            created_at: Time(contact.created_at),
        }
    }
}

/// An address of a contact.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Identity)]
pub struct IdentityView {
    /// What kind of address.
    pub kind: IdentityKindWord,
    /// The address, as Meta writes it.
    pub value: String,
    /// The account that it holds for, if only for one.
    pub account_id: Option<String>,
    /// When Meta last used it.
    pub seen_at: Time,
}

impl From<&Identity> for IdentityView {
    fn from(identity: &Identity) -> Self {
        Self {
            kind: identity.key.kind.into(),
            value: identity.shown.clone(),
            account_id: Some(identity.key.scope.clone()).filter(|scope| !scope.is_empty()),
            seen_at: Time(identity.seen_at),
        }
    }
}
