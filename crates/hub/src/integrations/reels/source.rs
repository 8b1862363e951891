//! Asks Meta for reels: which account, with which fields, and what each failure means.
//!
//! How often a reel was watched is asked for along with the listing, and done without where Meta does not give it: a field, or a permission,
//! that is missing fails Meta's whole page (reference `instagram.md` 5.1). What was found out is remembered for a while, so that a page
//! usually takes one call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tidings_meta::client::{CallError, Exchange, Extra, Post, PostsPage, PostsQuery};
use tidings_meta::notification::Platform;
use tokio::time::Instant;

use super::model::Reel;
use super::paging::{self, Ask, Lists, Place};
use super::{FeedError, MetaError};
use crate::app::App;
use crate::channels::model::ChannelKind;
use crate::channels::{Channel, Channels, Connection};
use crate::conversations::model::{ChannelId, Millis};

/// The channel that the variables of the settings make (`META_IG_BUSINESS_ID`).
const CHANNEL: &str = "instagram";
/// For how long it is remembered how views can be read.
const REMEMBERED: Millis = 3_600_000;
/// Reels whose views are asked for at once, one by one.
const VIEWS_PARALLEL: usize = 5;

/// How the views of an account's reels can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Views {
    /// What comes along with the listing.
    extra: Extra,
    /// Whether each reel is asked for by itself: one without insights would fail the whole listing.
    one_by_one: bool,
}

impl Views {
    /// What is tried first.
    const ALL: Self = Self {
        extra: Extra::Insights,
        one_by_one: false,
    };

    /// What is left after a refusal; `None` where it was not about the views.
    fn after(self, error: &MetaError) -> Option<Self> {
        match self.extra {
            Extra::Insights if is_permission(error.code) => Some(Self {
                extra: Extra::ViewCount,
                one_by_one: false,
            }),
            Extra::Insights => Some(Self {
                extra: Extra::None,
                one_by_one: true,
            }),
            Extra::ViewCount => Some(Self {
                extra: Extra::None,
                one_by_one: false,
            }),
            Extra::None => None,
        }
    }
}

/// What has been found out about accounts; a few, since there are few channels.
#[derive(Debug, Default)]
pub(super) struct Source {
    views: Mutex<HashMap<String, (Views, Millis)>>,
}

/// A page as Meta gave it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) reels: Vec<Reel>,
    pub(super) next: Option<Place>,
    /// Whether something is missing that may be there in a moment.
    pub(super) is_partial: bool,
}

/// The channel whose reels are shown: that of the settings, or the only Instagram channel that there is.
pub(super) fn channel(channels: &Channels) -> Option<Arc<Channel>> {
    if let Some(channel) = channels.get(&ChannelId(CHANNEL.to_owned())) {
        return Some(channel).filter(|channel| channel.kind == ChannelKind::Instagram);
    }
    let all = channels.all();
    let mut found = all.into_iter().filter(|channel| channel.kind == ChannelKind::Instagram);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

impl Source {
    /// Fetches one page, within the time limit.
    pub(super) async fn fetch(
        &self,
        app: &App,
        account: &str,
        limit: u32,
        from: Option<&Place>,
    ) -> Result<Fetched, FeedError> {
        let channel = channel(&app.channels).filter(|channel| channel.account == account);
        let channel = channel.ok_or(FeedError::NotConfigured)?;
        let connection = channel.connection().ok_or(FeedError::NotConfigured)?;
        let deadline = Instant::now() + app.config.reels.request_timeout;
        let listed = tokio::time::timeout_at(deadline, self.list(app, connection, account, limit, from));
        let (mut found, views) = listed.await.map_err(|_| FeedError::Timeout)??;
        let mut is_partial = false;
        if views.one_by_one {
            // Better without views than not at all.
            let asked = tokio::time::timeout_at(deadline, views_one_by_one(app, connection, &found.reels)).await;
            let (known, refused) = asked.unwrap_or_default();
            is_partial = known.len() < found.reels.len() && !refused;
            for (id, views) in known {
                if let Some(reel) = found.reels.iter_mut().find(|reel| reel.id == id) {
                    reel.views = views;
                }
            }
            if refused {
                self.remember(
                    account,
                    Views {
                        one_by_one: false,
                        ..views
                    },
                    app.clock.now_millis(),
                );
            }
        }
        Ok(Fetched {
            reels: found.reels.into_iter().map(Reel::from).collect(),
            next: found.next,
            is_partial,
        })
    }

    async fn list(
        &self,
        app: &App,
        connection: Connection<'_>,
        account: &str,
        limit: u32,
        from: Option<&Place>,
    ) -> Result<(paging::Found, Views), FeedError> {
        let now = app.clock.now_millis();
        let mut listing = Listing {
            source: self,
            app,
            connection,
            account,
            views: self.remembered(account, now),
        };
        let found = paging::page(limit as usize, from, &mut listing).await?;
        Ok((found, listing.views))
    }

    fn remembered(&self, account: &str, now: Millis) -> Views {
        let known = self.views.lock().expect("no thread panics while it holds this lock");
        let found = known.get(account).filter(|(_, until)| now < *until);
        found.map_or(Views::ALL, |(views, _)| *views)
    }

    fn remember(&self, account: &str, views: Views, now: Millis) {
        let mut known = self.views.lock().expect("no thread panics while it holds this lock");
        known.retain(|_, (_, until)| now < *until);
        known.insert(account.to_owned(), (views, now + REMEMBERED));
    }
}

/// An account's posts, with the views as they can be had.
struct Listing<'a> {
    source: &'a Source,
    app: &'a App,
    connection: Connection<'a>,
    account: &'a str,
    views: Views,
}

impl Lists for Listing<'_> {
    type Error = FeedError;

    async fn list(&mut self, ask: Ask) -> Result<PostsPage, FeedError> {
        loop {
            let answer = list_once(self.app, self.connection, self.account, &ask, self.views.extra).await;
            let Err(FeedError::Refused(error) | FeedError::TokenInvalid(error)) = &answer else {
                return answer;
            };
            let left = self.views.after(error).filter(|_| may_be_about_views(error.code));
            let Some(left) = left else { return answer };
            tracing::info!(
                target: "InstagramService", account = self.account, code = error.code, extra = ?self.views.extra,
                "the reels are read without this: Meta refuses it"
            );
            self.views = left;
            self.source.remember(self.account, left, self.app.clock.now_millis());
        }
    }
}

async fn list_once(
    app: &App,
    connection: Connection<'_>,
    account: &str,
    ask: &Ask,
    extra: Extra,
) -> Result<PostsPage, FeedError> {
    let query = PostsQuery {
        account_id: account,
        limit: paging::POSTS_PER_CALL,
        until: ask.until,
        after: ask.after.as_deref(),
        extra,
    };
    let exchange = connection.client.instagram_posts(connection.access_token, query).await;
    read(app, "media", exchange)
}

/// The views of reels, and whether Meta gives none at all.
async fn views_one_by_one(app: &App, connection: Connection<'_>, reels: &[Post]) -> (Vec<(String, Option<i64>)>, bool) {
    let ids: Vec<String> = reels.iter().map(|reel| reel.id.clone()).collect();
    let asked = ids.into_iter().map(|id| async move {
        let exchange = connection.client.instagram_views(connection.access_token, &id).await;
        let answer = read(app, "insights", exchange);
        (id, answer)
    });
    let mut answers = stream::iter(asked).buffered(VIEWS_PARALLEL);
    let mut known = Vec::with_capacity(reels.len());
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(views) => known.push((id, views)),
            Err(FeedError::TokenInvalid(error)) if is_permission(error.code) => return (known, true),
            // This one alone has none.
            Err(FeedError::Refused(error)) if may_be_about_views(error.code) => known.push((id, None)),
            Err(_) => break,
        }
    }
    (known, false)
}

/// What an exchange came to; counted.
pub(crate) fn read<T>(app: &App, endpoint: &'static str, exchange: Exchange<T>) -> Result<T, FeedError> {
    let wait = exchange.usage.regain_after.or(exchange.usage.retry_after);
    let is_late = exchange.elapsed >= app.config.graph.request_timeout;
    let error = match exchange.outcome {
        Ok(value) => {
            app.metrics.count_call(Platform::Instagram, endpoint, None);
            return Ok(value);
        }
        Err(CallError::Refused(refusal)) => {
            app.metrics
                .count_call(Platform::Instagram, endpoint, Some((refusal.code, "refused")));
            let error = MetaError {
                code: refusal.code,
                subcode: refusal.subcode,
                trace_id: refusal.fbtrace_id,
                wait: refusal.retry_after.or(wait),
                message: refusal.message,
            };
            if matches!(error.code, CODE_TOKEN | CODE_SESSION) || is_permission(error.code) {
                FeedError::TokenInvalid(error)
            } else {
                FeedError::Refused(error)
            }
        }
        Err(error) => {
            app.metrics
                .count_call(Platform::Instagram, endpoint, Some((0, "temporary")));
            match error {
                CallError::Unreadable { retry_after, .. } => FeedError::Unreadable {
                    reason: error.to_string(),
                    wait: retry_after.or(wait),
                },
                CallError::NotSent { .. } | CallError::Unknown { .. } if is_late => FeedError::Timeout,
                error => FeedError::Unreadable {
                    reason: error.to_string(),
                    wait,
                },
            }
        }
    };
    Err(error)
}

// Reference `instagram.md` 7, `graph-api.md` 3.
const CODE_TOKEN: i64 = 190;
const CODE_SESSION: i64 = 102;
const CODE_CAPABILITY: i64 = 3;
const CODE_PERMISSION: i64 = 10;
const CODE_PARAMETER: i64 = 100;

fn is_permission(code: i64) -> bool {
    matches!(code, CODE_CAPABILITY | CODE_PERMISSION | 200..=299)
}

/// A permission that is missing, a field that is not there, a value that cannot be read.
fn may_be_about_views(code: i64) -> bool {
    is_permission(code) || code == CODE_PARAMETER
}

/// How long Meta asks to be left alone, within bounds.
pub(super) fn pause(asked: Option<Duration>, least: Duration, most: Duration) -> Duration {
    asked.unwrap_or(least).clamp(least, most)
}
