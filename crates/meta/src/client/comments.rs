//! Comments under posts, and mentions (reference `instagram.md` 4).

use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;

use super::calls::{get, post};
use super::nodes::{Sent, items, succeeded, text};
use super::transport::{Body, Call, UnnamedSuccess, is_id};
use super::{Exchange, GraphClient};
use crate::instagram::millis_of_text;

/// What is asked of each comment.
const COMMENT_FIELDS: &str = "id,text,timestamp,username,from";

/// A page of comments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommentsPage {
    /// The comments, in Meta's order.
    pub comments: Vec<CommentNode>,
    /// Where the next page begins; `None` at the end.
    pub after: Option<String>,
}

/// A comment, or a post of somebody else's that mentions the account, as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommentNode {
    /// Meta's id of it.
    pub id: Option<String>,
    /// What it says; of a post, its caption.
    pub text: Option<String>,
    /// When it was written, in milliseconds since 1970.
    pub at: Option<i64>,
    /// The author's user name.
    pub username: Option<String>,
    /// The author's IGSID, where Meta tells it.
    pub from_id: Option<String>,
}

impl CommentNode {
    fn read(node: &Value) -> Option<Self> {
        node.as_object()?;
        Some(Self {
            id: text(node, "id"),
            text: text(node, "text").or_else(|| text(node, "caption")),
            at: text(node, "timestamp").and_then(|at| millis_of_text(&at)),
            username: text(node, "username").or_else(|| text(&node["from"], "username")),
            from_id: text(&node["from"], "id"),
        })
    }
}

impl CommentsPage {
    fn read(answer: &Value) -> Option<Self> {
        answer["data"].as_array()?;
        let goes_on = answer["paging"]["next"].is_string();
        Some(Self {
            comments: items(&answer["data"]).iter().filter_map(CommentNode::read).collect(),
            after: text(&answer["paging"]["cursors"], "after").filter(|_| goes_on),
        })
    }
}

impl GraphClient {
    /// Answers a comment, for everybody to see. Meta puts an answer to an answer under the first comment.
    ///
    /// A success without an id is [`super::CallError::Unknown`].
    pub async fn reply_to_comment(&self, token: &SecretString, comment_id: &str, message: &str) -> Exchange<Sent> {
        let form = [("message", message)];
        let path = [comment_id, "replies"];
        self.call(named(post(token, &path, Body::Form(&form))), Sent::read_node)
            .await
    }

    /// Answers a mention, with a comment under the post: to the comment that names the account, or to the post whose caption does.
    ///
    /// A success without an id is [`super::CallError::Unknown`].
    pub async fn reply_to_mention(
        &self,
        token: &SecretString,
        account_id: &str,
        media_id: &str,
        comment_id: Option<&str>,
        message: &str,
    ) -> Exchange<Sent> {
        let mut form = vec![("media_id", media_id), ("message", message)];
        form.extend(comment_id.map(|comment_id| ("comment_id", comment_id)));
        let path = [account_id, "mentions"];
        self.call(named(post(token, &path, Body::Form(&form))), Sent::read_node)
            .await
    }

    /// Reads the answers to a comment: as many as Meta has on a page, 50 at most.
    pub async fn replies_to_comment(
        &self,
        token: &SecretString,
        comment_id: &str,
        after: Option<&str>,
    ) -> Exchange<CommentsPage> {
        let mut query = vec![("fields", COMMENT_FIELDS), ("limit", "50")];
        query.extend(after.map(|after| ("after", after)));
        let path = [comment_id, "replies"];
        self.call(get(token, &path, &query), CommentsPage::read).await
    }

    /// Hides a comment from everybody but its author, or shows it again.
    pub async fn hide_comment(&self, token: &SecretString, comment_id: &str, hide: bool) -> Exchange<()> {
        let query = [("hide", if hide { "true" } else { "false" })];
        let path = [comment_id];
        let call = Call {
            query: &query,
            ..post(token, &path, Body::None)
        };
        self.call(call, succeeded).await
    }

    /// Deletes a comment, for good.
    pub async fn delete_comment(&self, token: &SecretString, comment_id: &str) -> Exchange<()> {
        let path = [comment_id];
        let call = Call {
            method: Method::DELETE,
            ..get(token, &path, &[])
        };
        self.call(call, succeeded).await
    }

    /// Reads a comment that names the account, under whosever post it is.
    pub async fn mentioned_comment(
        &self,
        token: &SecretString,
        account_id: &str,
        comment_id: &str,
    ) -> Exchange<CommentNode> {
        let fields = format!("mentioned_comment.comment_id({comment_id}){{id,text,timestamp,username}}");
        let query = [("fields", fields.as_str())];
        let path = asked_of(account_id, comment_id);
        let read = |answer: &Value| CommentNode::read(&answer["mentioned_comment"]);
        self.call(get(token, &path, &query), read).await
    }

    /// Reads a post whose caption names the account.
    pub async fn mentioned_media(
        &self,
        token: &SecretString,
        account_id: &str,
        media_id: &str,
    ) -> Exchange<CommentNode> {
        let fields = format!("mentioned_media.media_id({media_id}){{id,caption,timestamp,username}}");
        let query = [("fields", fields.as_str())];
        let path = asked_of(account_id, media_id);
        let read = |answer: &Value| CommentNode::read(&answer["mentioned_media"]);
        self.call(get(token, &path, &query), read).await
    }
}

/// The path for a question about something that stands in the fields: what is no id there is put where it keeps the call from being made.
fn asked_of<'a>(account_id: &'a str, about: &'a str) -> [&'a str; 1] {
    [if is_id(about) { account_id } else { about }]
}

/// A call that makes something, which may be there although its id was not told.
fn named(call: Call<'_>) -> Call<'_> {
    Call {
        on_unnamed_success: UnnamedSuccess::Unknown,
        ..call
    }
}
