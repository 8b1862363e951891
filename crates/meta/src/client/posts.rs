//! What an Instagram account has posted, and how often it was watched (reference `instagram.md` 5).
//!
//! Fields are read all or none: one that the token's host does not know, or one value that cannot be read, fails the whole page
//! (`instagram.md` 5.1). So what goes beyond the core is asked for by [`Extra`], which a caller can do without.

use secrecy::SecretString;
use serde_json::Value;

use super::calls::get;
use super::nodes::{items, text};
use super::{Exchange, GraphClient};
use crate::instagram::millis_of_text;

/// Both hosts know these (reference `instagram.md` 5.1).
const CORE_FIELDS: &str =
    "id,media_type,media_product_type,media_url,thumbnail_url,permalink,caption,timestamp,like_count";

/// What is asked for of each post besides the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extra {
    /// Nothing.
    None,
    /// How often it was watched, from its insights: needs their permission, and fails for a page with one post that has none.
    Insights,
    /// How often it was watched, from a field that Facebook Login alone has.
    ViewCount,
}

/// Which page of an account's posts.
#[derive(Debug, Clone, Copy)]
pub struct PostsQuery<'a> {
    /// The account, by its id or `me`.
    pub account_id: &'a str,
    /// How many at most; pages may be short, or empty, before the end (reference `graph-api.md` 5).
    pub limit: u32,
    /// None that is newer: seconds since 1970.
    pub until: Option<i64>,
    /// Where the page before ended. Short-lived: never to be kept.
    pub after: Option<&'a str>,
    /// What is asked for besides the core.
    pub extra: Extra,
}

/// A page of posts, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostsPage {
    /// The posts.
    pub posts: Vec<Post>,
    /// Where the next page begins; `None` at the end.
    pub after: Option<String>,
}

/// A post.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Post {
    /// Meta's id of it.
    pub id: String,
    /// `IMAGE`, `VIDEO`, `CAROUSEL_ALBUM`.
    pub media_type: Option<String>,
    /// `FEED`, `REELS`, `STORY`, `AD`.
    pub product_type: Option<String>,
    /// The file: a signed link that dies within days; absent where the post is flagged for copyright.
    pub media_url: Option<String>,
    /// The picture that stands for a film.
    pub thumbnail_url: Option<String>,
    /// Where it is on Instagram.
    pub permalink: Option<String>,
    /// What is written below it.
    pub caption: Option<String>,
    /// When it was posted, in milliseconds since 1970.
    pub posted_at: Option<i64>,
    /// How many like it; absent where the owner hides it.
    pub likes: Option<i64>,
    /// How often it was watched, where that was asked for and is known.
    pub views: Option<i64>,
}

impl Post {
    /// Whether it is a reel.
    pub fn is_reel(&self) -> bool {
        self.product_type.as_deref() == Some("REELS")
    }
}

impl GraphClient {
    /// Asks for a page of what an Instagram account has posted; the same on both hosts (reference `instagram.md` 1.1, 5.1).
    pub async fn instagram_posts(&self, token: &SecretString, query: PostsQuery<'_>) -> Exchange<PostsPage> {
        let fields = match query.extra {
            Extra::None => CORE_FIELDS.to_owned(),
            Extra::Insights => format!("{CORE_FIELDS},insights.metric(views)"),
            Extra::ViewCount => format!("{CORE_FIELDS},view_count"),
        };
        let (limit, until) = (query.limit.to_string(), query.until.map(|until| until.to_string()));
        let mut parameters = vec![("fields", fields.as_str()), ("limit", limit.as_str())];
        parameters.extend(until.as_deref().map(|until| ("until", until)));
        parameters.extend(query.after.map(|after| ("after", after)));
        let path = [query.account_id, "media"];
        self.call(get(token, &path, &parameters), PostsPage::read).await
    }

    /// Asks how often a post was watched (reference `instagram.md` 5.4); `None` where there is no figure yet.
    pub async fn instagram_views(&self, token: &SecretString, post_id: &str) -> Exchange<Option<i64>> {
        let path = [post_id, "insights"];
        let query = [("metric", "views")];
        self.call(get(token, &path, &query), |answer| {
            answer["data"].as_array()?;
            Some(views(answer))
        })
        .await
    }
}

impl PostsPage {
    fn read(answer: &Value) -> Option<Self> {
        let posts = answer["data"].as_array()?.iter().filter_map(Post::read).collect();
        let paging = &answer["paging"];
        // The end is where `next` is missing; the cursors are there even then.
        let after = paging["next"]
            .as_str()
            .and_then(|next| text(&paging["cursors"], "after").or_else(|| after_in(next)));
        Some(Self { posts, after })
    }
}

/// The cursor in the address of the next page.
fn after_in(next: &str) -> Option<String> {
    let url = reqwest::Url::parse(next).ok()?;
    let found = url.query_pairs().find(|(name, _)| name == "after");
    found.map(|(_, value)| value.into_owned())
}

impl Post {
    fn read(node: &Value) -> Option<Self> {
        Some(Self {
            id: text(node, "id")?,
            media_type: text(node, "media_type"),
            product_type: text(node, "media_product_type"),
            media_url: text(node, "media_url"),
            thumbnail_url: text(node, "thumbnail_url"),
            permalink: text(node, "permalink"),
            caption: text(node, "caption"),
            posted_at: text(node, "timestamp").and_then(|time| millis_of_text(&time)),
            likes: node["like_count"].as_i64(),
            views: node["view_count"].as_i64().or_else(|| views(&node["insights"])),
        })
    }
}

/// Missing data is an empty list (reference `instagram.md` 5.4).
fn views(insights: &Value) -> Option<i64> {
    let found = items(&insights["data"])
        .iter()
        .find(|metric| metric["name"] == "views")?;
    found["values"][0]["value"]
        .as_i64()
        .or_else(|| found["total_value"]["value"].as_i64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_the_listing_of_the_reference() {
        let page = PostsPage::read(&json!({"data": [{
            "id": "17900055566677788", "media_type": "VIDEO", "media_product_type": "REELS",
            "media_url": "https://scontent.cdninstagram.com/o1/v/t16/x.mp4?oe=6A000000",
            "thumbnail_url": "https://scontent.cdninstagram.com/v/t51/t.jpg?oe=6A000000",
            "permalink": "https://www.instagram.com/reel/DxAmPlE0001/", "shortcode": "DxAmPlE0001",
            "caption": "How we roast #coffee", "timestamp": "2026-11-19T18:30:00+0000", "username": "acme.store",
            "owner": {"id": "17841460012345678"}, "like_count": 120, "comments_count": 8,
            "insights": {"data": [{"name": "views", "period": "lifetime", "values": [{"value": 1534}]}]}}],
            "paging": {"cursors": {"before": "QVFIUb", "after": "QVFIUa"},
                "next": "https://graph.instagram.com/v26.0/17841460012345678/media?after=QVFIUa"}}))
        .unwrap();
        let post = &page.posts[0];
        assert!(post.is_reel());
        assert_eq!(post.posted_at, Some(1_795_113_000_000));
        assert_eq!((post.likes, post.views), (Some(120), Some(1534)));
        assert_eq!(page.after.as_deref(), Some("QVFIUa"));
    }

    #[test]
    fn what_is_missing_is_none_and_the_end_has_no_next() {
        let page = PostsPage::read(&json!({
            "data": [{"id": 5, "insights": {"data": []}, "like_count": null, "timestamp": "soon"}, {"caption": "no id"}, 7],
            "paging": {"cursors": {"after": "x"}}}))
        .unwrap();
        let expected = Post {
            id: "5".to_owned(),
            ..Post::default()
        };
        assert_eq!((page.posts, page.after), (vec![expected], None));
        assert_eq!(PostsPage::read(&json!({"data": {}})), None);
        let page = PostsPage::read(&json!({"data": [], "paging": {"next": "https://x.example/m?limit=1&after=a%3D"}}));
        assert_eq!(page.unwrap().after.as_deref(), Some("a="));
    }
}
