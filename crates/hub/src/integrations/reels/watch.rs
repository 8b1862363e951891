//! Finds what an Instagram account has newly posted: Meta has no webhook for it, so Meta is asked at intervals (`INSTAGRAM_MEDIA_WATCH_SECS`).
//!
//! Each new post becomes an event of the kind `media`, kept like one that Meta had posted, but unsigned. Its identity is the post's id, so that
//! looking twice, or on two nodes, keeps it once; only the node that leads the channel looks. What was there before the first look is not
//! new. A crash, or a stop of some days, leaves nothing out: the next look goes back to where the last one ended.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tidings_meta::client::{Extra, Post, PostsQuery};
use tidings_meta::notification::Platform;
use tokio_util::sync::CancellationToken;

use super::{FeedError, paging, source};
use crate::app::App;
use crate::channels::Channel;
use crate::channels::model::ChannelKind;
use crate::clock::from_millis;
use crate::conversations::model::{ChannelId, Millis};
use crate::ingest::journal::Raw;
use crate::ingest::{Kept, Refusal};
use crate::store::StoreError;

const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Pages of one look; an account may publish a hundred posts a day (reference `instagram.md` 5.5).
const PAGES_MAX: u32 = 8;
/// A post may be listed a while after the time that it bears.
const OVERLAP: Millis = 3_600_000;

/// Why a look was in vain.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an event could not be kept")]
    Keep(#[from] Refusal),
}

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let Some(every) = app.config.reels.media_watch else {
        stop.cancelled().await;
        return;
    };
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    let mut due = HashMap::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = look_at_all(&app, every, &mut due) => {}
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn look_at_all(app: &App, every: Millis, due: &mut HashMap<ChannelId, Millis>) {
    for channel in app.channels.all() {
        let can_ask = channel.kind == ChannelKind::Instagram && channel.connection().is_some();
        let now = app.clock.now_millis();
        if !can_ask || app.leases.lead(&channel.id).is_none() || due.get(&channel.id).is_some_and(|due| now < *due) {
            continue;
        }
        let next = match look(app, &channel, every).await {
            Ok(next) => next,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(target: "InstagramService", channel = %channel.id, error, "new posts could not be looked for");
                app.clock.now_millis().saturating_add(every)
            }
        };
        due.insert(channel.id.clone(), next);
    }
}

/// Looks through a channel's posts, if it is time; answers with when it is next.
async fn look(app: &App, channel: &Channel, every: Millis) -> Result<Millis, WatchError> {
    let (id, now) = (channel.id.clone(), app.clock.now_millis());
    let watch = app.store.write(move |tx| tx.media_watch(&id, now)).await?;
    let due = watch.looked_at.saturating_add(every);
    if now < due {
        return Ok(due);
    }
    let back_to = watch.since.max(watch.seen_until - OVERLAP);
    let (new, seen_until) = new_posts(app, channel, back_to, watch.since).await?;
    let mut kept_new = 0;
    for post in new {
        let events = app.ingest.split(&Raw {
            platform: Platform::Instagram,
            signed: false,
            received_at: now,
            body: notification(&channel.account, &post, now).to_string().into(),
        })?;
        let kept = tokio::time::timeout(app.config.webhooks.answer_within, app.ingest.keep_found(events));
        if let Kept::InStore { new, .. } = kept.await.unwrap_or(Err(Refusal::Late))? {
            kept_new += new;
        }
    }
    if kept_new > 0 {
        tracing::info!(channel = %channel.id, posts = kept_new, "new posts were found");
        app.reels.outdate(&channel.account);
    }
    let id = channel.id.clone();
    app.store
        .write(move |tx| tx.note_media_watch(&id, seen_until, now))
        .await?;
    Ok(now.saturating_add(every))
}

/// The posts since a time, the oldest first, and when the newest of all was posted.
async fn new_posts(
    app: &App,
    channel: &Channel,
    back_to: Millis,
    since: Millis,
) -> Result<(Vec<Post>, Millis), WatchError> {
    let connection = channel.connection().ok_or(FeedError::NotConfigured)?;
    let (mut new, mut newest) = (Vec::new(), since);
    let mut after = None;
    'pages: for _ in 0..PAGES_MAX {
        let query = PostsQuery {
            account_id: &channel.account,
            limit: paging::POSTS_PER_CALL,
            until: None,
            after: after.as_deref(),
            extra: Extra::None,
        };
        let exchange = connection.client.instagram_posts(connection.access_token, query).await;
        let page = source::read(app, "media", exchange)?;
        for post in page.posts {
            // Without a time there is no telling whether it is new.
            let Some(at) = post.posted_at else { continue };
            // The listing tells whole seconds.
            if at < back_to - back_to.rem_euclid(1000) {
                break 'pages;
            }
            newest = newest.max(at);
            new.push(post);
        }
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    new.reverse();
    Ok((new, newest))
}

/// A post as a notification would tell of it, if there were one.
fn notification(account: &str, post: &Post, now: Millis) -> serde_json::Value {
    let posted_at = post
        .posted_at
        .map(|at| from_millis(at).strftime("%Y-%m-%dT%H:%M:%S+0000").to_string());
    let value = json!({
        "id": post.id, "media_type": post.media_type, "media_product_type": post.product_type,
        "permalink": post.permalink, "caption": post.caption, "timestamp": posted_at,
    });
    json!({"object": "instagram", "entry": [{
        "id": account, "time": now / 1000, "changes": [{"field": "media", "value": value}],
    }]})
}
