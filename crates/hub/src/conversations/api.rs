//! `/api/v1/conversations`, `contacts`, `messages`: reading them, and marking a conversation as read.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Caller;
use crate::app::App;
use crate::conversations::attention;
use crate::conversations::model::{
    ChannelId, ConversationKind, ConversationStatus, Identity, IdentityKey, IdentityKind, Message, Millis,
};
use crate::conversations::timeline::{Timeline, TimelineView};
use crate::conversations::view::{ContactView, ConversationView, Conversations, IdentityView, MessageView, Messages};
use crate::http::cursor;
use crate::http::extract::{FromParameters, Id, Json as Body, Parameters, Query};
use crate::http::problem::{Code, Problem};
use crate::ids::{ContactId, ConversationId, MessageId};
use crate::sending::presence::{self, Mark, Presence};
use crate::sending::{email, queue};
use crate::store::conversations::ConversationFilter;
use crate::store::{StoreError, Tx};

/// How many a list has at most.
const LIMIT_MAX: u32 = 200;

/// Which conversations, and how many.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConversationQuery {
    /// On this channel.
    #[param(value_type = Option<String>)]
    channel: Option<ChannelId>,
    /// Of this kind: `direct` messages, or `comments` and mentions.
    #[param(value_type = Option<String>)]
    kind: Option<ConversationKind>,
    /// With this status: `open`, `pending`, `resolved` or `snoozed`.
    #[param(value_type = Option<String>)]
    status: Option<ConversationStatus>,
    /// Given to this operator or team.
    assignee: Option<String>,
    /// `true`: with something unread.
    #[param(value_type = Option<bool>)]
    unread: bool,
    /// With this contact.
    #[param(value_type = Option<String>)]
    contact: Option<ContactId>,
    /// Whose contact's name or user name begins with this, or a word of the name does.
    name: Option<String>,
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<(Millis, ConversationId)>,
}

impl FromParameters for ConversationQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            channel: parameters.text("channel").map(ChannelId),
            kind: parameters.parsed("kind", "`direct` or `comments`", ConversationKind::from_word)?,
            status: parameters.parsed("status", "a status of a conversation", ConversationStatus::from_word)?,
            assignee: parameters.text("assignee"),
            unread: parameters.flag("unread")?,
            contact: parameters.id("contact", "the id of a contact")?,
            name: parameters.text("name"),
            limit: parameters.limit(LIMIT_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

/// A page of conversations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConversationList {
    /// Those with the newest message first.
    conversations: Vec<ConversationView>,
    /// Where it goes on; absent at the end. A list that leaves conversations out looks at 10,000 of each channel: it may have fewer than
    /// `limit`, or none, and go on all the same.
    next_cursor: Option<String>,
}

/// Lists conversations, those with the newest message first.
#[utoipa::path(get, path = "/api/v1/conversations", tag = "Conversations", params(ConversationQuery), responses(
    (status = 200, description = "A page of conversations", body = ConversationList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn list_conversations(
    _: Caller,
    State(app): State<App>,
    Query(query): Query<ConversationQuery>,
) -> Result<Json<ConversationList>, Problem> {
    let limit = query.limit;
    let filter = ConversationFilter {
        channel_id: query.channel,
        kind: query.kind,
        status: query.status,
        assignee: query.assignee,
        contact_id: query.contact,
        unread: query.unread,
        name: query.name,
        after: query.cursor,
    };

    let read = app.store.read(move |tx| {
        // A contact that was merged is still found by its old id.
        let mut filter = filter.clone();
        if let Some(contact) = filter.contact_id {
            filter.contact_id = tx.contact_by_id(contact)?.map(|contact| contact.id);
            if filter.contact_id.is_none() {
                return Ok((Vec::new(), None, Conversations::default()));
            }
        }
        let page = tx.conversations(&filter, limit)?;
        let beside = Conversations::load(tx, &page.conversations)?;
        Ok::<_, StoreError>((page.conversations, page.next, beside))
    });
    let (found, next, beside) = read.await?;

    let next_cursor = next.as_ref().map(cursor::encode);
    let now = app.clock.now_millis();
    let conversations = found
        .iter()
        .map(|conversation| beside.view(conversation, now))
        .collect();
    Ok(Json(ConversationList {
        conversations,
        next_cursor,
    }))
}

/// Shows one conversation. The id of one that was merged into another leads to that one.
#[utoipa::path(get, path = "/api/v1/conversations/{id}", tag = "Conversations",
    params(("id" = String, Path, description = "The conversation")), responses(
    (status = 200, description = "The conversation", body = ConversationView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json")))]
pub async fn show_conversation(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<ConversationId>,
) -> Result<Json<ConversationView>, Problem> {
    let read = app.store.read(move |tx| {
        let found = tx.conversation_by_id(id)?;
        let beside = Conversations::load(tx, found.as_slice())?;
        Ok::<_, StoreError>((found, beside))
    });
    let (found, beside) = read.await?;
    let conversation = found.ok_or_else(|| Problem::not_found("conversation"))?;
    Ok(Json(beside.view(&conversation, app.clock.now_millis())))
}

/// How a conversation is marked as read.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReadQuery {
    /// `false`: marked here alone. Otherwise the contact is shown that what they wrote was read, where that can be done at once.
    #[param(value_type = Option<bool>)]
    tell: bool,
}

impl FromParameters for ReadQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            tell: yes_unless_no(parameters, "tell")?,
        })
    }
}

/// A flag that is set unless the caller says `false`.
fn yes_unless_no(parameters: &mut Parameters, name: &str) -> Result<bool, Problem> {
    let given = parameters.parsed(name, "`true` or `false`", |text| text.parse::<bool>().ok())?;
    Ok(given.unwrap_or(true))
}

/// A conversation that was read to its end.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadConversation {
    #[serde(flatten)]
    conversation: ConversationView,
    /// Whether the contact was shown so; left out where they were not to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<Presence>,
}

/// Marks a conversation as read to its end: here, and for the contact, who sees it at once or not at all.
#[utoipa::path(post, path = "/api/v1/conversations/{id}/read", tag = "Conversations",
    params(("id" = String, Path, description = "The conversation"), ReadQuery), responses(
    (status = 200, description = "The conversation, with nothing unread", body = ReadConversation),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json")))]
pub async fn read_conversation(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<ConversationId>,
    Query(query): Query<ReadQuery>,
) -> Result<Json<ReadConversation>, Problem> {
    let now = app.clock.now_millis();
    let write = app.store.write(move |tx| {
        let marked = attention::mark_read(tx, id, now)?;
        let beside = Conversations::load(tx, marked.as_slice())?;
        Ok::<_, StoreError>((marked, beside))
    });
    let (marked, beside) = write.await?;
    let conversation = marked.ok_or_else(|| Problem::not_found("conversation"))?;
    app.stream.nudge();
    let presence = if query.tell {
        Some(presence::make(&app, &conversation, Mark::Read).await?)
    } else {
        None
    };
    Ok(Json(ReadConversation {
        conversation: beside.view(&conversation, now),
        presence,
    }))
}

/// What a contact is shown of somebody who types.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TypingQuery {
    /// `false`: it is no longer shown (Instagram).
    #[param(value_type = Option<bool>)]
    on: bool,
}

impl FromParameters for TypingQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            on: yes_unless_no(parameters, "on")?,
        })
    }
}

/// Shows the contact that an answer is being typed, until it comes or for some 20 seconds: at once, or not at all. On WhatsApp what they wrote is
/// thereby shown as read.
#[utoipa::path(post, path = "/api/v1/conversations/{id}/typing", tag = "Conversations",
    params(("id" = String, Path, description = "The conversation"), TypingQuery), responses(
    (status = 200, description = "Whether it is shown, and if not, why", body = Presence),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json")))]
pub async fn show_typing(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<ConversationId>,
    Query(query): Query<TypingQuery>,
) -> Result<Json<Presence>, Problem> {
    let found = app.store.read(move |tx| tx.conversation_by_id(id)).await?;
    let conversation = found.ok_or_else(|| Problem::not_found("conversation"))?;
    let mark = if query.on { Mark::Typing } else { Mark::TypingEnded };
    Ok(Json(presence::make(&app, &conversation, mark).await?))
}

/// Which page of messages.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MessageQuery {
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<(Millis, MessageId)>,
}

impl FromParameters for MessageQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            limit: parameters.limit(LIMIT_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

/// A page of messages.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageList {
    /// The newest first: of one conversation by the time at which they were said, of all by the time at which Tidings learnt of them.
    messages: Vec<MessageView>,
    /// Where it goes on; absent at the end.
    next_cursor: Option<String>,
}

impl MessageList {
    /// As callers see it.
    pub fn new(app: &App, found: &[Message], beside: &Messages, next_cursor: Option<String>) -> Self {
        let views = found.iter().map(|message| beside.view(message, app));
        Self {
            messages: views.collect(),
            next_cursor,
        }
    }

    /// Finds messages, one more than the limit, with what is shown beside them; `None` where there is nothing that they could be of.
    pub async fn read<P: Serialize>(
        app: &App,
        limit: u32,
        mut find: impl FnMut(&mut Tx<'_>) -> Result<Option<Vec<Message>>, StoreError> + Send + 'static,
        place: impl Fn(&Message) -> P,
    ) -> Result<Option<Self>, StoreError> {
        let read = app.store.read(move |tx| {
            let Some(found) = find(tx)? else {
                return Ok(None);
            };
            let beside = Messages::load(tx, &found)?;
            Ok::<_, StoreError>(Some((found, beside)))
        });
        Ok(read.await?.map(|(mut found, beside)| {
            let next_cursor = cursor::cut(&mut found, limit, place);
            Self::new(app, &found, &beside, next_cursor)
        }))
    }
}

/// Lists the messages of a conversation, the newest first.
#[utoipa::path(get, path = "/api/v1/conversations/{id}/messages", tag = "Conversations",
    params(("id" = String, Path, description = "The conversation"), MessageQuery), responses(
    (status = 200, description = "A page of messages", body = MessageList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such conversation", body = Problem, content_type = "application/problem+json")))]
pub async fn list_messages(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<ConversationId>,
    Query(query): Query<MessageQuery>,
) -> Result<Json<MessageList>, Problem> {
    let MessageQuery { limit, cursor } = query;
    let list = MessageList::read(
        &app,
        limit,
        move |tx| match tx.conversation_by_id(id)? {
            None => Ok(None),
            Some(conversation) => tx
                .messages_of_conversation(conversation.id, cursor, limit + 1)
                .map(Some),
        },
        |message| (message.occurred_at, message.id),
    );
    let list = list.await?.ok_or_else(|| Problem::not_found("conversation"))?;
    Ok(Json(list))
}

/// Shows one message.
#[utoipa::path(get, path = "/api/v1/messages/{id}", tag = "Messages",
    params(("id" = String, Path, description = "The message")), responses(
    (status = 200, description = "The message", body = MessageView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json")))]
pub async fn show_message(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<MessageId>,
) -> Result<Json<MessageView>, Problem> {
    let read = app.store.read(move |tx| {
        let found = tx.message_by_id(id)?;
        let beside = Messages::load(tx, found.as_slice())?;
        Ok::<_, StoreError>((found, beside))
    });
    let (found, beside) = read.await?;
    let message = found.ok_or_else(|| Problem::not_found("message"))?;
    Ok(Json(beside.view(&message, &app)))
}

/// Shows what happened to one message: every try, status and event of it, in order.
#[utoipa::path(get, path = "/api/v1/messages/{id}/timeline", tag = "Messages",
    params(("id" = String, Path, description = "The message")), responses(
    (status = 200, description = "What happened to it", body = TimelineView),
    (status = 404, description = "There is no such message", body = Problem, content_type = "application/problem+json")))]
pub async fn show_timeline(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<MessageId>,
) -> Result<Json<TimelineView>, Problem> {
    let found = app.store.read(move |tx| Timeline::load(tx, id)).await?;
    let timeline = found.ok_or_else(|| Problem::not_found("message"))?;
    let channel = app.channels.get(&timeline.message().channel_id);
    let platform = channel.as_ref().and_then(|channel| channel.platform());
    let standstill = channel.and_then(|channel| queue::standstill(&app, &channel));
    Ok(Json(timeline.view(
        platform,
        standstill.as_ref(),
        app.clock.now_millis(),
    )))
}

/// Which page of contacts.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ContactQuery {
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<ContactId>,
}

impl FromParameters for ContactQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            limit: parameters.limit(LIMIT_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

/// A page of contacts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactList {
    /// The newest first.
    contacts: Vec<ContactView>,
    /// Where it goes on; absent at the end.
    next_cursor: Option<String>,
}

/// Lists contacts, the newest first.
#[utoipa::path(get, path = "/api/v1/contacts", tag = "Contacts", params(ContactQuery), responses(
    (status = 200, description = "A page of contacts", body = ContactList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn list_contacts(
    _: Caller,
    State(app): State<App>,
    Query(query): Query<ContactQuery>,
) -> Result<Json<ContactList>, Problem> {
    let ContactQuery { limit, cursor } = query;
    let mut found = app.store.read(move |tx| tx.contacts(cursor, limit + 1)).await?;
    let next_cursor = cursor::cut(&mut found, limit, |contact| contact.id);
    Ok(Json(ContactList {
        contacts: found.iter().map(ContactView::from).collect(),
        next_cursor,
    }))
}

/// A contact with all their addresses.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactWithIdentities {
    #[serde(flatten)]
    contact: ContactView,
    /// Their addresses, the last used first.
    identities: Vec<IdentityView>,
}

/// Shows one contact. The id of one that was merged into another leads to that one.
#[utoipa::path(get, path = "/api/v1/contacts/{id}", tag = "Contacts",
    params(("id" = String, Path, description = "The contact")), responses(
    (status = 200, description = "The contact", body = ContactWithIdentities),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json")))]
pub async fn show_contact(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<ContactId>,
) -> Result<Json<ContactWithIdentities>, Problem> {
    let read = app.store.read(move |tx| {
        let Some(contact) = tx.contact_by_id(id)? else {
            return Ok(None);
        };
        let identities = tx.identities_of_contact(contact.id)?;
        Ok::<_, StoreError>(Some((contact, identities)))
    });
    let (contact, identities) = read.await?.ok_or_else(|| Problem::not_found("contact"))?;
    Ok(Json(ContactWithIdentities {
        contact: ContactView::from(&contact),
        identities: identities.iter().map(IdentityView::from).collect(),
    }))
}

/// An address of a contact to keep.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewIdentity {
    /// What kind of address: `email`. The others are learnt from Meta.
    kind: String,
    /// The address.
    value: String,
}

/// Keeps an e-mail address of a contact, by which messages reach them where their policy has e-mail.
#[utoipa::path(post, path = "/api/v1/contacts/{id}/identities", tag = "Contacts", request_body = NewIdentity,
    params(("id" = String, Path, description = "The contact")), responses(
    (status = 201, description = "It is the contact's", body = IdentityView),
    (status = 404, description = "There is no such contact", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is another contact's", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "It is no e-mail address", body = Problem, content_type = "application/problem+json")))]
pub async fn add_identity(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<ContactId>,
    Body(request): Body<NewIdentity>,
) -> Result<(StatusCode, Json<IdentityView>), Problem> {
    let NewIdentity { kind, value } = request;
    if IdentityKind::from_word(&kind) != Some(IdentityKind::Email) {
        return Err(Problem::of_field(Code::InvalidField, "kind", "must be `email`"));
    }
    let value = value.trim().to_owned();
    if !email::is_address(&value) {
        let detail = "must be an e-mail address, such as `ada@example.org`";
        return Err(Problem::of_field(Code::InvalidField, "value", detail));
    }
    let identity = Identity {
        key: IdentityKey {
            kind: IdentityKind::Email,
            scope: String::new(),
            value: value.to_lowercase(),
        },
        shown: value,
        seen_at: app.clock.now_millis(),
    };
    let view = IdentityView::from(&identity);
    let write = app.store.write(move |tx| {
        let owners = tx.owners_of_identities(&[&identity.key])?;
        // So that it is not merged away while it gets an address.
        let Some(contact) = tx.lock_contact(id)? else {
            return Ok(None);
        };
        if owners.iter().any(|(_, owner)| owner.contact != contact) {
            return Ok(Some(false));
        }
        tx.bind_identities(&[(identity.clone(), contact)])?;
        Ok::<_, StoreError>(Some(true))
    });
    match write.await? {
        None => Err(Problem::not_found("contact")),
        Some(false) => Err(Problem::of_field(
            Code::IdentityTaken,
            "value",
            "is the address of another contact",
        )),
        Some(true) => Ok((StatusCode::CREATED, Json(view))),
    }
}
