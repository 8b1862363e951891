//! Comments: which may be answered, and how; and hiding, showing and deleting them.
//!
//! An answer is a message, and goes through the outbox like any other. What is done to a comment itself is a call, made while the request waits: whoever
//! asks wants to see it done, and done twice is done once. Once Meta has said yes it is noted here, since no webhook tells of it (reference
//! `instagram.md` 2.7); and where Meta says that a comment is gone, it is gone here too, with whatever is below it.
//!
//! Why it is so: `docs/decisions/0018-comments-are-conversations-under-a-post.md`.

use std::time::Duration;

use tidings_meta::client::{CallError, Exchange};
use tidings_meta::error::GraphError;
use tidings_meta::notification::Platform;

use crate::app::App;
use crate::audit::Auditor;
use crate::channels::{Channel, Standing, check};
use crate::conversations::content::Content;
use crate::conversations::model::{Comment, CommentKind, Message, Millis, Status, Venue};
use crate::conversations::projection;
use crate::ids::{ConversationId, EventId, MessageId};
use crate::sending::sender::millis;
use crate::store::messages::MessageFact;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx, UnitError};
use crate::stream::model::Change;

/// Private replies keep to their number an hour in every span of this length. A call counts from when its answer came, or from when nobody can be
/// making it any more, so that it was at Meta by then; the hundredth more is for one that is still under way when it is given up.
pub(super) const PRIVATE_SPAN_MILLIS: Millis = 3_636_000;
/// How much of what is below a comment is deleted in one unit.
const BELOW_MAX: u32 = 200;
/// How long after a comment it may be answered privately (reference `instagram.md` 3.6).
pub const PRIVATE_REPLY_WITHIN: Duration = Duration::from_hours(7 * 24);
/// How long Meta's answer is waited for.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Meta's codes for a thing that is not there, or no longer (reference `instagram.md` 4, 7).
const GONE: (i64, Option<i64>) = (100, Some(33));

/// Why nothing can be said or done about a comment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("there is no comment `{0}`")]
    Unknown(MessageId),
    /// Not to this one.
    #[error("{0}")]
    NotPossible(&'static str),
    /// It has been answered privately, by this message, which is once as often as may be.
    #[error("it was answered privately already, by `{0}`")]
    AlreadyAnswered(MessageId),
    /// More than seven days have passed, or would have.
    #[error("it can be answered privately for seven days")]
    TooOld,
    /// It was deleted.
    #[error("it was deleted")]
    Deleted,
}

/// Whether a comment may be answered as the content does, when it is due; answers with Meta's id of it. What is found is locked: of two private
/// replies the second finds the first.
pub fn answerable(tx: &mut Tx<'_>, content: &Content, due_at: Millis) -> Result<Result<String, Refusal>, StoreError> {
    let Some(id) = content.answers_comment() else {
        return Ok(Err(Refusal::NotPossible("it answers no comment")));
    };
    let Some((message, comment)) = find(tx, id)? else {
        return Ok(Err(Refusal::Unknown(id)));
    };
    let (Some(external_id), None) = (message.external_id.clone(), message.deleted_at) else {
        return Ok(Err(Refusal::Deleted));
    };
    let refusal = if message.outbound {
        Some(Refusal::NotPossible("it is the business's own comment"))
    } else if matches!(content, Content::PrivateReply(_)) {
        refuse_privately(tx, &message, &comment, due_at)?
    } else if comment.kind == CommentKind::Live {
        Some(Refusal::NotPossible(
            "comments on a live broadcast cannot be answered publicly: answer privately while it lasts",
        ))
    } else if comment.hidden_at.is_some() {
        Some(Refusal::NotPossible(
            "a hidden comment cannot be answered publicly: show it first",
        ))
    } else {
        None
    };
    Ok(refusal.map_or(Ok(external_id), Err))
}

fn refuse_privately(
    tx: &mut Tx<'_>,
    message: &Message,
    comment: &Comment,
    due_at: Millis,
) -> Result<Option<Refusal>, StoreError> {
    if comment.kind.is_mention() {
        return Ok(Some(Refusal::NotPossible(
            "a mention cannot be answered privately: Meta has that for comments on own posts alone",
        )));
    }
    if due_at >= message.occurred_at + millis(PRIVATE_REPLY_WITHIN) {
        return Ok(Some(Refusal::TooOld));
    }
    let Some(reply) = comment.private_reply else {
        return Ok(None);
    };
    // One that certainly never reached Meta takes nothing up.
    let is_free = tx
        .message_by_id(reply)?
        .is_none_or(|reply| reply.status == Status::Cancelled || reply.receipts.failed_at.is_some());
    Ok((!is_free).then_some(Refusal::AlreadyAnswered(reply)))
}

fn find(tx: &mut Tx<'_>, id: MessageId) -> Result<Option<(Message, Comment)>, StoreError> {
    let Some(message) = tx.lock_messages(&[id])?.into_iter().next() else {
        return Ok(None);
    };
    if let Some(comment) = tx.lock_comment(id)? {
        return Ok(Some((message, comment)));
    }
    // An answer of the business's own that was sent from here is one too, also once it is deleted.
    let is_own = message.outbound
        && tx
            .conversation_by_id(message.conversation_id)?
            .is_some_and(|conversation| conversation.venue != Venue::Direct);
    if !is_own {
        return Ok(None);
    }
    let comment = Comment {
        message_id: id,
        channel_id: message.channel_id.clone(),
        kind: CommentKind::Comment,
        hidden_at: None,
        private_reply: None,
    };
    Ok(Some((message, comment)))
}

/// What can be done to a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Nobody but its author sees it.
    Hide,
    /// Everybody sees it again.
    Show,
    /// It is gone.
    Delete,
}

impl Deed {
    /// What the audit trail calls it, and the comment's timeline.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Hide => ("comment.hide", "hidden"),
            Self::Show => ("comment.show", "shown"),
            Self::Delete => ("comment.delete", "deleted"),
        }
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeedError {
    /// It cannot be done to this one.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Sending is stopped.
    #[error("sending is stopped")]
    Stopped,
    /// The channel cannot call Meta now, and why.
    #[error("{0}")]
    NotUsable(&'static str),
    /// Meta has refused it.
    #[error("Meta refused it ({}): {}", .0.code, .0.message)]
    Meta(Box<GraphError>),
    /// Meta did not get it, so that nothing was changed.
    #[error("{0}")]
    NotReached(String),
    /// It is not known whether it was done.
    #[error("{0}")]
    Unknown(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnitError for DeedError {
    fn store_error(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self {
            Some(error)
        } else {
            None
        }
    }
}

/// Does something to a comment, at Meta and then here; answers with the message as it is then.
pub async fn act(app: &App, caller: &str, id: MessageId, deed: Deed) -> Result<Message, DeedError> {
    let found = app.store.write(move |tx| look_up(tx, id, deed)).await?;
    let (message, external_id) = found?;
    let channel = app
        .channels
        .get(&message.channel_id)
        .ok_or(DeedError::NotUsable("its channel is no longer there"))?;
    let connection = channel.connection().ok_or(DeedError::NotUsable(
        "its channel has no access token: it can only receive",
    ))?;
    match channel.standing(&app.flags) {
        Standing::Ready | Standing::Switched | Standing::CircuitOpen => {}
        Standing::Stopped => return Err(DeedError::Stopped),
        Standing::Held => return Err(DeedError::NotUsable("its channel is held")),
        Standing::ReceiveOnly => return Err(DeedError::NotUsable("its channel can only receive")),
    }
    let call = async {
        let (client, token) = (connection.client, connection.access_token);
        match deed {
            Deed::Hide => client.hide_comment(token, &external_id, true).await,
            Deed::Show => client.hide_comment(token, &external_id, false).await,
            Deed::Delete => client.delete_comment(token, &external_id).await,
        }
    };
    let exchange = tokio::time::timeout(WAIT_MAX, call).await;
    let exchange = exchange.map_err(|_| DeedError::Unknown("Meta did not answer in time".to_owned()))?;
    let (of_meta, caller, now) = (read(app, &exchange), caller.to_owned(), app.clock.now_millis());
    // What is gone already is deleted, whoever did it; to hide or to show it is too late.
    let (done, error) = match of_meta {
        Ok(()) => (deed, None),
        // Whoever may not see it is told the same: then nothing is taken for gone.
        Err(DeedError::Meta(refusal)) if (refusal.code, refusal.subcode) == GONE && may_ask(app, &channel).await => {
            let error = (deed != Deed::Delete).then_some(DeedError::Refused(Refusal::Deleted));
            (Deed::Delete, error)
        }
        Err(error) => return Err(error),
    };
    if done == Deed::Delete {
        // Before the comment itself: should this end in between, whoever asks again finds the rest.
        delete_all_below(app, &message, now).await?;
    }
    let unit = app.clone();
    let kept = app
        .store
        .write(move |tx| keep(tx, &unit, &caller, id, done, now))
        .await?;
    if done == Deed::Delete {
        // And what Meta told below it until then.
        delete_all_below(app, &message, now).await?;
    }
    app.stream.nudge();
    match (error, kept) {
        (Some(error), _) => Err(error),
        (None, Some(message)) => Ok(message),
        (None, None) => Err(DeedError::Refused(Refusal::Unknown(id))),
    }
}

/// Whether Meta takes the channel's credentials.
async fn may_ask(app: &App, channel: &Channel) -> bool {
    match &channel.credentials {
        Some(credentials) => check::works_again(app, channel.kind, &channel.account, credentials)
            .await
            .is_ok(),
        None => false,
    }
}

fn look_up(tx: &mut Tx<'_>, id: MessageId, deed: Deed) -> Result<Result<(Message, String), DeedError>, StoreError> {
    let Some((message, comment)) = find(tx, id)? else {
        return Ok(Err(Refusal::Unknown(id).into()));
    };
    let refuse = |why| Ok(Err(DeedError::Refused(Refusal::NotPossible(why))));
    if message.deleted_at.is_some() {
        return Ok(Err(Refusal::Deleted.into()));
    }
    if comment.kind.is_mention() {
        return refuse("it is not under a post of the account: only whose post it is can do that");
    }
    // Those stay visible all the same (reference `instagram.md` 4).
    if message.outbound && deed != Deed::Delete {
        return refuse("it is the business's own comment, which cannot be hidden");
    }
    match message.external_id.clone() {
        Some(external_id) => Ok(Ok((message, external_id))),
        None => refuse("it has not been sent yet: cancel it"),
    }
}

fn read(app: &App, exchange: &Exchange<()>) -> Result<(), DeedError> {
    let (error, outcome) = match &exchange.outcome {
        Ok(()) => (None, Ok(())),
        Err(CallError::Refused(refusal)) => {
            let class = tidings_meta::error::explain(Platform::Instagram, refusal)
                .class
                .as_str();
            (Some((refusal.code, class)), Err(DeedError::Meta(refusal.clone())))
        }
        Err(error @ CallError::NotSent { .. }) => {
            let why = format!("Meta could not be reached: {error}");
            (Some((0, "temporary")), Err(DeedError::NotReached(why)))
        }
        Err(error @ (CallError::Unknown { .. } | CallError::Unreadable { .. })) => {
            (Some((0, "temporary")), Err(DeedError::Unknown(error.to_string())))
        }
    };
    app.metrics.count_call(Platform::Instagram, "comments", error);
    outcome
}

/// Notes what was done. `None`: the comment was erased meanwhile.
fn keep(
    tx: &mut Tx<'_>,
    app: &App,
    caller: &str,
    id: MessageId,
    deed: Deed,
    now: Millis,
) -> Result<Option<Message>, StoreError> {
    let Some(message) = tx.message_by_id(id)? else {
        return Ok(None);
    };
    // Conversations are locked before messages.
    tx.lock_conversation(message.conversation_id)?;
    let Some(mut message) = tx.lock_messages(&[id])?.into_iter().next() else {
        return Ok(None);
    };
    match deed {
        Deed::Hide => {
            tx.set_comment_hidden(id, Some(now))?;
        }
        Deed::Show => {
            tx.set_comment_hidden(id, None)?;
        }
        Deed::Delete if message.deleted_at.is_none() => delete(tx, &mut message, now)?,
        Deed::Delete => {}
    }
    let (audited, fact) = deed.words();
    tx.insert_message_facts(&[done_here(id, fact, "{}".to_owned(), now)])?;
    let audit = Auditor::new(&app.ids, caller, now);
    tx.insert_audit(&audit.message(audited, id, serde_json::json!({})))?;
    tx.insert_stream(&[NewStreamRow {
        at: now,
        channel_id: Some(message.channel_id.clone()),
        event_id: None,
        changes: vec![Change::updated(&message)],
    }])?;
    Ok(Some(message))
}

/// What was done here, and nothing of Meta's told.
fn done_here(message_id: MessageId, kind: &str, detail: String, now: Millis) -> MessageFact {
    MessageFact {
        message_id,
        at: now,
        event_id: EventId::MIN,
        kind: kind.to_owned(),
        detail,
    }
}

/// What is below a comment goes with it, wherever its conversation is. Below an answer there is nothing: Meta puts all of them below the first
/// comment (reference `instagram.md` 4).
async fn delete_all_below(app: &App, comment: &Message, now: Millis) -> Result<(), StoreError> {
    if comment.reply_to.is_some() {
        return Ok(());
    }
    loop {
        let comment = comment.clone();
        let deleted = app.store.write(move |tx| delete_below(tx, &comment, now)).await?;
        if deleted < BELOW_MAX as usize {
            return Ok(());
        }
    }
}

/// Some of it; answers with how much.
fn delete_below(tx: &mut Tx<'_>, comment: &Message, now: Millis) -> Result<usize, StoreError> {
    let external_id = comment.external_id.as_deref().unwrap_or_default();
    let below = tx.messages_below_comment(&comment.channel_id, external_id, BELOW_MAX)?;
    let (mut ids, mut conversations): (Vec<MessageId>, Vec<ConversationId>) = below.into_iter().unzip();
    ids.sort_unstable();
    conversations.sort_unstable();
    conversations.dedup();
    tx.lock_conversations_by_ids(&conversations)?;
    let detail = serde_json::json!({ "with": comment.id }).to_string();
    let (mut facts, mut changes) = (Vec::new(), Vec::new());
    for mut message in tx.lock_messages(&ids)? {
        delete(tx, &mut message, now)?;
        facts.push(done_here(message.id, "deleted", detail.clone(), now));
        changes.push(Change::updated(&message));
    }
    tx.insert_message_facts(&facts)?;
    if !changes.is_empty() {
        tx.insert_stream(&[NewStreamRow {
            at: now,
            channel_id: Some(comment.channel_id.clone()),
            event_id: None,
            changes,
        }])?;
    }
    Ok(ids.len())
}

/// What it said is gone: from the message, and from the events that told it.
fn delete(tx: &mut Tx<'_>, message: &mut Message, now: Millis) -> Result<(), StoreError> {
    message.deleted_at = Some(now);
    message.content = Content::Deleted;
    tx.update_messages(&[message])?;
    projection::forget_words(tx, message.id, message.event_id, now).map(|_| ())
}
