//! Comments under posts, and what is said of the business under those of others (instagram.md 4).

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use crate::state::State;
use crate::state::threads::ThreadKey;

/// Most comments that are kept; the oldest go.
const COMMENTS_MAX: usize = 100_000;
/// Most posts of others that are kept; the oldest go.
const MENTIONS_MAX: usize = 10_000;

/// A comment.
#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) id: String,
    /// Whoever wrote it or, where the business did, whom it answers; and the account that is commented on, or named.
    pub(crate) key: ThreadKey,
    pub(crate) media_id: String,
    /// The comment that it answers: always one of the first level.
    pub(crate) parent_id: Option<String>,
    pub(crate) text: String,
    pub(crate) at: i64,
    /// Whether the business wrote it.
    pub(crate) by_business: bool,
    pub(crate) is_hidden: bool,
    /// Whether it had its private reply.
    pub(crate) is_answered: bool,
    /// Whether it was made on a broadcast.
    pub(crate) is_live: bool,
    /// Whether it stands under the post of somebody else, and names the business.
    pub(crate) is_mention: bool,
}

/// A post of a customer whose caption names the business.
#[derive(Debug, Clone)]
pub(crate) struct MentioningPost {
    pub(crate) id: String,
    pub(crate) key: ThreadKey,
    pub(crate) caption: String,
    pub(crate) at: i64,
}

/// All comments.
#[derive(Debug, Default)]
pub(crate) struct Comments {
    by_id: HashMap<String, Comment>,
    order: VecDeque<String>,
    /// By post, the oldest first.
    by_post: HashMap<String, Vec<String>>,
    mentioning: VecDeque<MentioningPost>,
    made: u64,
}

impl Comments {
    pub(crate) fn get(&self, id: &str) -> Option<&Comment> {
        self.by_id.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Comment> {
        self.by_id.get_mut(id)
    }

    /// Those under a post, the oldest first.
    pub(crate) fn under(&self, media_id: &str) -> impl DoubleEndedIterator<Item = &Comment> {
        let ids = self.by_post.get(media_id).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| self.by_id.get(id))
    }

    pub(crate) fn add(&mut self, comment: Comment) {
        if self.order.len() >= COMMENTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(&oldest);
        }
        self.order.push_back(comment.id.clone());
        let under = self.by_post.entry(comment.media_id.clone()).or_default();
        under.push(comment.id.clone());
        self.by_id.insert(comment.id.clone(), comment);
    }

    /// Deletes a comment, and its answers with it.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Comment> {
        let removed = self.forget(id)?;
        let answers: Vec<String> = self
            .under(&removed.media_id)
            .filter(|comment| comment.parent_id.as_deref() == Some(id))
            .map(|comment| comment.id.clone())
            .collect();
        for answer in &answers {
            self.forget(answer);
        }
        self.order.retain(|kept| self.by_id.contains_key(kept));
        Some(removed)
    }

    fn forget(&mut self, id: &str) -> Option<Comment> {
        let comment = self.by_id.remove(id)?;
        if let Some(under) = self.by_post.get_mut(&comment.media_id) {
            under.retain(|other| other != id);
            if under.is_empty() {
                self.by_post.remove(&comment.media_id);
            }
        }
        Some(comment)
    }

    pub(crate) fn add_mentioning(&mut self, post: MentioningPost) {
        if self.mentioning.len() >= MENTIONS_MAX {
            self.mentioning.pop_front();
        }
        self.mentioning.push_back(post);
    }

    pub(crate) fn mentioning(&self, media_id: &str) -> Option<&MentioningPost> {
        self.mentioning.iter().find(|post| post.id == media_id)
    }

    /// Counts comments of the business, for their ids.
    pub(crate) fn count(&mut self) -> u64 {
        self.made += 1;
        self.made
    }
}

impl State {
    /// The comment of the first level that an answer to this one is put under; `None` where there is no such comment.
    pub(crate) fn first_comment(&self, id: &str) -> Option<&Comment> {
        let comment = self.comments.get(id)?;
        match &comment.parent_id {
            Some(parent) => self.comments.get(parent),
            None => Some(comment),
        }
    }

    /// Who wrote a comment: their id, and their user name.
    pub(crate) fn author_of(&self, comment: &Comment) -> (String, Option<String>) {
        if comment.by_business {
            let account = self.account(&comment.key.account);
            (
                comment.key.account.clone(),
                account.map(|account| account.username.clone()),
            )
        } else {
            let customer = self.customers.get(&comment.key.customer);
            (
                customer.and_then(|customer| customer.igsid.clone()).unwrap_or_default(),
                customer.and_then(|customer| customer.username.clone()),
            )
        }
    }
}

/// A comment as the control API and the phone page have it.
pub(crate) fn shown(state: &State, comment: &Comment) -> Value {
    let (_, username) = state.author_of(comment);
    json!({
        "id": comment.id, "parentId": comment.parent_id, "username": username, "text": comment.text, "at": comment.at,
        "customer": (!comment.by_business).then_some(&comment.key.customer), "byBusiness": comment.by_business,
        "hidden": comment.is_hidden, "answeredPrivately": comment.is_answered,
    })
}
