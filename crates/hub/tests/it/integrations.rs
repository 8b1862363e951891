//! What websites use: the feed of reels, its cache and its failures, the watch for new posts, the page and the script to embed; and what other
//! systems of the business call.

mod embed;
mod failures;
mod files;
mod guide;
mod reels;
mod watch;
mod whatsapp;

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tidings_sandbox::{FaultKind, FaultRequest, LedgerKind, NewPost, PostKind};

use crate::harness::{ACCOUNT, Answer, Harness};

const FEED: &str = "/integrations/instagram/reels";
const MINUTE: Duration = Duration::from_mins(1);

impl Harness {
    /// Has the account post something, so many minutes ago; answers with its id.
    fn posts(&self, kind: PostKind, minutes_ago: u64) -> String {
        let post = NewPost {
            kind,
            caption: Some(format!("Posted {minutes_ago} minutes ago")),
            ago_ms: minutes_ago * 60_000,
            likes: 42,
            views: 1_500,
            ..NewPost::default()
        };
        self.sandbox.post(post).unwrap()
    }

    /// So many reels, the first the newest, with something else between any two; answers with the reels' ids.
    fn posts_reels(&self, count: u64) -> Vec<String> {
        let others = [PostKind::Image, PostKind::Carousel, PostKind::Video, PostKind::Story];
        let post = |number: u64| {
            self.posts(others[number as usize % 4], 2 * number + 2);
            self.posts(PostKind::Reel, 2 * number + 1)
        };
        (0..count).map(post).collect()
    }

    /// The feed as anybody gets it, without a key.
    async fn feed(&self, query: &str) -> Answer {
        self.answer(self.request(Method::GET, &format!("{FEED}{query}"))).await
    }

    /// The paths below the version that Meta was asked for, of this kind.
    fn asked(&self, edge: &str) -> usize {
        let received = self.ledger(LedgerKind::Received);
        let of_edge = received.iter().filter(|entry| {
            let path = entry.detail["path"].as_str().unwrap_or_default();
            entry.detail["method"] == "GET" && path.ends_with(edge)
        });
        of_edge.count()
    }

    /// What happens to every further request for posts.
    fn media_fault(&self, kind: FaultKind, code: Option<i64>) {
        let endpoint = if kind == FaultKind::Outage { "any" } else { "media" };
        let fault = FaultRequest {
            endpoint: endpoint.to_owned(),
            kind,
            code,
            ..FaultRequest::default()
        };
        self.sandbox.fault(fault).unwrap();
    }
}

/// The ids of a page's reels.
fn ids(page: &Value) -> Vec<String> {
    let reels = page["reels"].as_array().unwrap();
    reels
        .iter()
        .map(|reel| reel["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The path of Meta's listing.
fn listing() -> String {
    format!("{ACCOUNT}/media")
}
