//! Asks Meta what was said in mentions, and by whom: their webhooks bear ids alone (reference `instagram.md` 2.7, 4).
//!
//! Guarantee: which mentions are to be asked about stands in the store, so a crash only makes it later. What Meta answers goes through the projection like an
//! event, under the id of the event that told of it: however often it is asked, it is said once. Meta tells the author's user name and no id. Where one
//! contact alone is known to the account by that name, it is they; else a contact is made by the name.

use std::time::Duration;

use tidings_meta::client::{CallError, CommentNode, Exchange};
use tidings_meta::error::{self, Class};
use tidings_meta::notification::Platform;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::channels::model::ChannelKind;
use crate::channels::{Channel, Standing};
use crate::conversations::content::Content;
use crate::conversations::model::{CommentKind, Identity, IdentityKey, IdentityKind, Millis, Sender};
use crate::conversations::projection::{self, Incoming};
use crate::conversations::understand::{Effect, Person, Said, UnderPost, Understood};
use crate::store::comments::Mention;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};

const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How many are asked about at once, one after the other.
const BATCH: u32 = 20;
/// After a failure that may pass; whoever asks is gone by then, too.
const AGAIN_AFTER: Millis = 10 * 60 * 1000;
/// How often one is asked about: for a day.
const ATTEMPTS_MAX: u32 = 144;

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut changes = app.channels.changes();
    while !stop.is_cancelled() {
        let mut channels = app.channels.all();
        channels.retain(|channel| can_ask(&app, channel));
        if channels.is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = changes.changed() => continue,
            }
        }
        let mut asked = 0;
        for channel in channels {
            match read_due(&app, &channel, &stop).await {
                Ok(of_channel) => asked += of_channel,
                Err(error) => {
                    tracing::warn!(%error, channel = %channel.id, "mentions that are due cannot be looked up");
                }
            }
        }
        if asked == 0 {
            tokio::select! {
                biased;
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Whether Meta is asked for it at present: of a channel that is held nothing is asked, so that no try is lost on that.
fn can_ask(app: &App, channel: &Channel) -> bool {
    let standing = channel.standing(&app.flags);
    channel.kind == ChannelKind::Instagram && !matches!(standing, Standing::ReceiveOnly | Standing::Held)
}

/// Asks about the mentions of a channel that are due, a batch at most; answers with how many were asked about.
async fn read_due(app: &App, channel: &Channel, stop: &CancellationToken) -> Result<usize, StoreError> {
    let (now, id) = (app.clock.now_millis(), channel.id.clone());
    // A look costs a reader nothing; a unit that writes would wait for its turn, most often for nothing.
    if !app.store.read(move |tx| tx.any_mention_due(&id, now)).await? {
        return Ok(0);
    }
    let id = channel.id.clone();
    let due = app
        .store
        .write_unflushed(move |tx| tx.take_due_mentions(&id, now, now + AGAIN_AFTER, BATCH))
        .await?;
    let mut asked = 0;
    for mention in due {
        asked += 1;
        let exchange = tokio::select! {
            biased;
            exchange = ask(channel, &mention) => exchange,
            () = stop.cancelled() => return Ok(asked),
        };
        if let Some(exchange) = exchange
            && let Err(error) = take(app, channel, mention, exchange).await
        {
            tracing::warn!(%error, channel = %channel.id, "what a mention says cannot be kept; it is asked about again later");
        }
    }
    Ok(asked)
}

async fn ask(channel: &Channel, mention: &Mention) -> Option<Exchange<CommentNode>> {
    let connection = channel.connection()?;
    let (client, token) = (connection.client, connection.access_token);
    Some(match &mention.comment_id {
        Some(id) => client.mentioned_comment(token, &channel.account, id).await,
        None => client.mentioned_media(token, &channel.account, &mention.media_id).await,
    })
}

/// Keeps what Meta has said; gives up what it will not say.
async fn take(
    app: &App,
    channel: &Channel,
    mention: Mention,
    exchange: Exchange<CommentNode>,
) -> Result<(), StoreError> {
    let error = match &exchange.outcome {
        Ok(_) => None,
        Err(CallError::Refused(refusal)) => Some((refusal.code, "refused")),
        Err(_) => Some((0, "temporary")),
    };
    app.metrics.count_call(Platform::Instagram, "mention", error);
    let incoming = match exchange.outcome {
        Ok(node) => incoming(channel, &mention, node),
        Err(CallError::Refused(refusal)) => {
            let class = error::explain(Platform::Instagram, &refusal).class;
            let is_given_up = match class {
                // It is the channel that Meta refuses: its mentions wait, like its messages.
                Class::Credentials | Class::Account => false,
                Class::Temporary | Class::Throttled | Class::PairLimit => mention.attempts >= ATTEMPTS_MAX,
                _ => true,
            };
            if !is_given_up {
                return Ok(());
            }
            tracing::info!(channel = %channel.id, error = %refusal, "what a mention says cannot be read");
            None
        }
        Err(error) if mention.attempts < ATTEMPTS_MAX => {
            tracing::info!(channel = %channel.id, %error, "a mention could not be read; it is asked about again later");
            return Ok(());
        }
        Err(error) => {
            tracing::warn!(channel = %channel.id, %error, "a mention could not be read, and is given up");
            None
        }
    };
    let (ids, now) = (app.ids.clone(), app.clock.now_millis());
    let write = app.store.write(move |tx| {
        if let Some(mut incoming) = incoming.clone() {
            recognise(tx, &mut incoming)?;
            let mut projected = projection::project(tx, &[&incoming], &ids, now)?;
            let changes = projected.changes.pop().unwrap_or_default();
            if !changes.is_empty() {
                tx.insert_stream(&[NewStreamRow {
                    at: now,
                    channel_id: Some(incoming.channel_id),
                    event_id: Some(incoming.event_id),
                    changes,
                }])?;
            }
        }
        tx.delete_mention(&mention)
    });
    write.await?;
    app.stream.nudge();
    Ok(())
}

/// The author is whoever alone is known to the account by their user name.
fn recognise(tx: &mut Tx<'_>, incoming: &mut Incoming) -> Result<(), StoreError> {
    let identities = incoming
        .understood
        .person
        .iter_mut()
        .flat_map(|person| &mut person.identities);
    for identity in identities.filter(|identity| identity.key.kind == IdentityKind::Username) {
        if let Some(igsid) = tx.igsid_of_username(&identity.key.scope, &identity.key.value)? {
            identity.key.kind = IdentityKind::Igsid;
            identity.key.value.clone_from(&igsid);
            identity.shown = igsid;
        }
    }
    Ok(())
}

/// What Meta answered, as if an event had told it; `None` where it names nobody.
fn incoming(channel: &Channel, mention: &Mention, node: CommentNode) -> Option<Incoming> {
    let at = node.at.unwrap_or(mention.told_at);
    let (kind, value) = match (node.from_id, &node.username) {
        (Some(igsid), _) => (IdentityKind::Igsid, igsid),
        (None, Some(username)) => (IdentityKind::Username, username.to_lowercase()),
        (None, None) => return None,
    };
    let shown = match kind {
        IdentityKind::Igsid => value.clone(),
        _ => node.username.clone().unwrap_or_default(),
    };
    let identity = Identity {
        key: IdentityKey {
            kind,
            scope: channel.account.clone(),
            value,
        },
        shown,
        seen_at: at,
    };
    let comment_kind = match mention.comment_id {
        Some(_) => CommentKind::Mention,
        None => CommentKind::Caption,
    };
    let said = Said {
        external_id: mention
            .comment_id
            .clone()
            .unwrap_or_else(|| format!("caption {}", mention.media_id)),
        outbound: false,
        sender: Sender::Contact,
        content: Content::text(node.text.unwrap_or_default()),
        reply_to: None,
        comment: Some(UnderPost {
            media_id: mention.media_id.clone(),
            kind: comment_kind,
        }),
        inert: false,
        opens_window: false,
        is_private: false,
        at,
        receipt: None,
    };
    Some(Incoming {
        event_id: mention.event_id,
        channel_id: mention.channel_id.clone(),
        at,
        // What is said before everybody is not said to us.
        wish: None,
        understood: Understood {
            person: Some(Person {
                identities: vec![identity],
                name: None,
                username: node.username,
            }),
            effect: Effect::Said(Box::new(said)),
        },
    })
}
