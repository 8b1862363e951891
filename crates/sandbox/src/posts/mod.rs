//! What Instagram accounts have posted: pictures, films, reels, carousels, stories; and what is on its way to become a post.
//!
//! Posts are made by the control API, by a script, or by a business through Graph (`graph/publishing.rs`); `graph/posts.rs` shows them.
//! Pictures and films are drawn from the post's id whenever somebody asks ([`picture`], [`crate::samples::film`]), so that nothing of them is kept.

pub(crate) mod comments;
pub(crate) mod picture;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::ids::Ids;
use crate::lock;

/// As many as Meta lists of an account (instagram.md 5.1); the oldest go.
const POSTS_MAX: usize = 10_000;
/// Containers of an account that are kept, which is also how many it may make in a day (instagram.md 5.5).
const CONTAINERS_MAX: usize = 400;
/// How long a story is shown.
pub(crate) const STORY_MILLIS: i64 = 86_400_000;

/// A post that is asked for. As JSON and YAML in camelCase. [`NewPost::default`]: a reel, now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewPost {
    /// Whose: the id of an Instagram account; the first one's if left out.
    pub account: Option<String>,
    /// Its id; made from the seed if left out.
    pub id: Option<String>,
    /// What it is.
    pub kind: PostKind,
    /// What is written below it.
    pub caption: Option<String>,
    /// So long ago it was posted.
    pub ago_ms: u64,
    /// In a script: when it is posted, after the script's start.
    pub at_ms: u64,
    /// How many like it.
    pub likes: u64,
    /// How many comments there are.
    pub comments: u64,
    /// How often it was watched.
    pub views: u64,
    /// Whether the owner hides how many like it: `like_count` is left out then.
    pub hide_likes: bool,
    /// What is heard with it.
    pub audio: Option<Audio>,
    /// Whether it is flagged for copyright: `media_url` is left out then.
    pub flagged: bool,
    /// Whether there are insights that cannot be read, as for what was posted before the account was a business's.
    pub without_insights: bool,
    /// Whether it is left out of listings, but counts for the length of a page, so that pages come short, or empty.
    pub hidden: bool,
    /// Whether it is a broadcast that is live: what is said under it comes as `live_comments`, and it is in no listing.
    pub live: bool,
    /// How many pictures a carousel has, 2 to 10; 3 if left out.
    pub children: Option<usize>,
}

/// What a post is (instagram.md 5.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PostKind {
    /// A picture in the feed.
    Image,
    /// A film in the feed that is no reel.
    Video,
    /// A reel.
    #[default]
    Reel,
    /// Several pictures.
    Carousel,
    /// A picture for a day; never in the listing of media.
    Story,
}

/// What is heard with a reel: all that is told of it (instagram.md 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Audio {
    /// Music of the catalogue.
    Music,
    /// What was recorded with it.
    OriginalSound,
}

/// What changes about a post; what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PostChange {
    /// What is written below it; empty for nothing.
    pub caption: Option<String>,
    /// How many like it.
    pub likes: Option<u64>,
    /// How many comments there are.
    pub comments: Option<u64>,
    /// How often it was watched.
    pub views: Option<u64>,
    /// Whether the owner hides how many like it.
    pub hide_likes: Option<bool>,
    /// Whether it is flagged for copyright.
    pub flagged: Option<bool>,
    /// Whether its insights cannot be read.
    pub without_insights: Option<bool>,
    /// Whether it is left out of listings.
    pub hidden: Option<bool>,
    /// Whether a broadcast is still live.
    pub live: Option<bool>,
}

/// Why a post could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// No account has this id, or there is none.
    #[error("there is no Instagram account {0}")]
    UnknownAccount(String),
    /// There is a post with this id.
    #[error("there is a post with the id {0} already")]
    Taken(String),
    /// No post has this id.
    #[error("there is no post {0}")]
    UnknownPost(String),
    /// It cannot be so.
    #[error("{0}")]
    Invalid(&'static str),
}

/// A post.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Post {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) kind: PostKind,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    /// Tells posts of the same moment apart: the later one has the higher number.
    pub(crate) number: u64,
    pub(crate) caption: String,
    pub(crate) likes: u64,
    pub(crate) comments: u64,
    pub(crate) views: u64,
    pub(crate) hide_likes: bool,
    pub(crate) audio: Option<Audio>,
    pub(crate) flagged: bool,
    pub(crate) without_insights: bool,
    pub(crate) hidden: bool,
    /// Whether it is a broadcast, which may be over.
    pub(crate) is_broadcast: bool,
    /// Whether that is live now.
    pub(crate) is_live: bool,
    /// Whether nobody can comment on it.
    pub(crate) comments_off: bool,
    /// The ids of a carousel's pictures.
    pub(crate) children: Vec<String>,
    pub(crate) shortcode: String,
}

impl Post {
    /// Where it stands in listings, which have the greatest first.
    pub(crate) fn place(&self) -> (i64, u64) {
        (self.at, self.number)
    }

    pub(crate) fn is_film(&self) -> bool {
        matches!(self.kind, PostKind::Video | PostKind::Reel)
    }
}

/// A post that is being made (instagram.md 5.5).
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) post: NewPost,
    pub(crate) made_at: i64,
    pub(crate) is_published: bool,
}

/// All posts.
#[derive(Debug, Default)]
pub(crate) struct Posts {
    /// By account, the newest first.
    by_account: HashMap<String, Vec<Post>>,
    /// Whose post, or whose part of a carousel, an id is: the account, and the post's id.
    owners: HashMap<String, (String, String)>,
    containers: HashMap<String, Vec<Container>>,
    /// When an account published through Graph, in its last 24 hours.
    published: HashMap<String, Vec<i64>>,
    made: u64,
}

impl Posts {
    /// The posts of an account, the newest first.
    pub(crate) fn of(&self, account: &str) -> &[Post] {
        self.by_account.get(account).map_or(&[], Vec::as_slice)
    }

    /// The post with this id, or the carousel that it is a part of.
    pub(crate) fn get(&self, id: &str) -> Option<&Post> {
        let (account, post) = self.owners.get(id)?;
        self.of(account).iter().find(|found| found.id == *post)
    }

    /// The account that a post, or a container, is of.
    pub(crate) fn account_of(&self, id: &str) -> Option<&str> {
        self.owners.get(id).map(|(account, _)| account.as_str())
    }

    pub(crate) fn add(&mut self, ids: Ids, new: NewPost, account: &str, now: i64) -> Result<&Post, PostError> {
        if new.id.as_ref().is_some_and(|id| self.owners.contains_key(id)) {
            return Err(PostError::Taken(new.id.unwrap_or_default()));
        }
        let children = match (new.kind, new.children) {
            (PostKind::Carousel, count) => count.unwrap_or(3),
            (_, None) => 0,
            (_, Some(_)) => return Err(PostError::Invalid("only a carousel has children")),
        };
        if new.kind == PostKind::Carousel && !(2..=10).contains(&children) {
            return Err(PostError::Invalid("a carousel has 2 to 10 children"));
        }
        self.made += 1;
        let number = self.made;
        let id = new
            .id
            .unwrap_or_else(|| format!("179{}", ids.digits("media", &[account], number, 14)));
        let post = Post {
            shortcode: format!("D{}", ids.word("shortcode", &[&id], 0, 10)),
            children: (1..=children as u64)
                .map(|number| format!("180{}", ids.digits("child", &[&id], number, 14)))
                .collect(),
            account: account.to_owned(),
            kind: new.kind,
            at: now.saturating_sub_unsigned(new.ago_ms),
            number,
            caption: new.caption.unwrap_or_default(),
            likes: new.likes,
            comments: new.comments,
            views: new.views,
            hide_likes: new.hide_likes,
            audio: new.audio,
            flagged: new.flagged,
            without_insights: new.without_insights,
            hidden: new.hidden,
            is_broadcast: new.live,
            is_live: new.live,
            comments_off: false,
            id,
        };
        for id in post.children.iter().chain([&post.id]) {
            self.owners.insert(id.clone(), (post.account.clone(), post.id.clone()));
        }
        let posts = self.by_account.entry(account.to_owned()).or_default();
        let position = posts.partition_point(|other| other.place() > post.place());
        posts.insert(position, post);
        if posts.len() > POSTS_MAX
            && let Some(oldest) = posts.pop()
        {
            forget(&mut self.owners, &oldest);
        }
        let posts = self.of(account);
        posts
            .get(position)
            .ok_or(PostError::Invalid("it is older than the oldest that is kept"))
    }

    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let Some((account, _)) = self.owners.get(id) else {
            return false;
        };
        let posts = self.by_account.get_mut(account);
        let position = posts
            .as_ref()
            .and_then(|posts| posts.iter().position(|post| post.id == id));
        let Some((posts, position)) = posts.zip(position) else {
            return false;
        };
        let post = posts.remove(position);
        forget(&mut self.owners, &post);
        true
    }

    pub(crate) fn change(&mut self, id: &str, change: PostChange) -> Option<&Post> {
        let (account, _) = self.owners.get(id)?;
        let posts = self.by_account.get_mut(account)?;
        let post = posts.iter_mut().find(|post| post.id == id)?;
        let PostChange {
            caption,
            likes,
            comments,
            views,
            hide_likes,
            flagged,
            without_insights,
            hidden,
            live,
        } = change;
        post.caption = caption.unwrap_or(std::mem::take(&mut post.caption));
        post.likes = likes.unwrap_or(post.likes);
        post.comments = comments.unwrap_or(post.comments);
        post.views = views.unwrap_or(post.views);
        post.hide_likes = hide_likes.unwrap_or(post.hide_likes);
        post.flagged = flagged.unwrap_or(post.flagged);
        post.without_insights = without_insights.unwrap_or(post.without_insights);
        post.hidden = hidden.unwrap_or(post.hidden);
        post.is_live = live.unwrap_or(post.is_live) && post.is_broadcast;
        Some(post)
    }

    /// Turns comments on a post on or off.
    pub(crate) fn turn_comments(&mut self, id: &str, on: bool) {
        let Some((account, post)) = self.owners.get(id) else {
            return;
        };
        let posts = self.by_account.get_mut(account).into_iter().flatten();
        for found in posts.filter(|found| found.id == *post) {
            found.comments_off = !on;
        }
    }

    pub(crate) fn add_container(&mut self, account: &str, container: Container) {
        let containers = self.containers.entry(account.to_owned()).or_default();
        if containers.len() >= CONTAINERS_MAX {
            containers.remove(0);
        }
        containers.push(container);
    }

    /// A container with the account that it is of.
    pub(crate) fn container(&self, id: &str) -> Option<(&str, &Container)> {
        self.containers.iter().find_map(|(account, containers)| {
            let found = containers.iter().find(|container| container.id == id)?;
            Some((account.as_str(), found))
        })
    }

    pub(crate) fn container_mut(&mut self, account: &str, id: &str) -> Option<&mut Container> {
        let containers = self.containers.get_mut(account)?;
        containers.iter_mut().find(|container| container.id == id)
    }

    /// When the account published through Graph, in the 24 hours before.
    pub(crate) fn published(&mut self, account: &str, now: i64) -> &mut Vec<i64> {
        let times = self.published.entry(account.to_owned()).or_default();
        times.retain(|at| now - *at < 86_400_000);
        times
    }

    /// Counts containers, for their ids.
    pub(crate) fn count(&mut self) -> u64 {
        self.made += 1;
        self.made
    }
}

fn forget(owners: &mut HashMap<String, (String, String)>, post: &Post) {
    for id in post.children.iter().chain([&post.id]) {
        owners.remove(id);
    }
}

impl Core {
    /// Makes a post; answers with its id.
    pub(crate) fn add_post(&self, new: NewPost) -> Result<String, PostError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let state = &mut *state;
        let account = match &new.account {
            Some(id) => state.account(id),
            None => state.accounts.first(),
        };
        let account = account
            .map(|account| account.id.clone())
            .ok_or_else(|| PostError::UnknownAccount(new.account.clone().unwrap_or_default()))?;
        let post = state.posts.add(state.ids, new, &account, now)?;
        self.changes.tell_state();
        Ok(post.id.clone())
    }

    pub(crate) fn change_post(&self, id: &str, change: PostChange) -> Result<Post, PostError> {
        let mut state = lock(&self.state);
        let changed = state.posts.change(id, change).cloned();
        let changed = changed.ok_or_else(|| PostError::UnknownPost(id.to_owned()))?;
        self.changes.tell_state();
        Ok(changed)
    }

    pub(crate) fn remove_post(&self, id: &str) -> Result<(), PostError> {
        if lock(&self.state).posts.remove(id) {
            self.changes.tell_state();
            Ok(())
        } else {
            Err(PostError::UnknownPost(id.to_owned()))
        }
    }
}
