//! Comments on the account's media and during its live broadcasts (`instagram.md` 2.7).

use super::json::Object;

/// A comment. Only its id is certain: the other parts were added over the years, and need permissions (`instagram.md` 8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comment {
    /// Meta's id of the comment.
    pub id: String,
    /// The comment that this one answers; `None` at the top level.
    pub parent_id: Option<String>,
    /// What it says.
    pub text: Option<String>,
    /// The author's IGSID. The account's own replies arrive too: compare before answering.
    pub from_id: Option<String>,
    /// The author's user name.
    pub from_username: Option<String>,
    /// `from.self_ig_scoped_id`: presumably there only if the author is the account itself.
    pub from_self_id: Option<String>,
    /// The media that was commented on.
    pub media_id: Option<String>,
    /// `FEED`, `REELS`, `STORY`, `AD`…
    pub media_product_type: Option<String>,
    /// The ad that the media was shown as.
    pub ad_id: Option<String>,
    /// That ad's title.
    pub ad_title: Option<String>,
    /// The media that the ad was made from.
    pub original_media_id: Option<String>,
}

impl Comment {
    /// `None` if the comment has no id. Some of Meta's pages print it as `comment_id`.
    pub(super) fn read(value: &Object<'_>) -> Option<Self> {
        let id = value.id("id").or_else(|| value.id("comment_id"))?.into_owned();
        let from = value.object("from");
        let from = |key| from.as_ref().and_then(|from| from.string(key));
        let media = value.object("media");
        let media = |key| media.as_ref().and_then(|media| media.string(key));
        Some(Self {
            id,
            parent_id: value.string("parent_id"),
            text: value.string("text"),
            from_id: from("id"),
            from_username: from("username"),
            from_self_id: from("self_ig_scoped_id"),
            media_id: media("id"),
            media_product_type: media("media_product_type"),
            ad_id: media("ad_id"),
            ad_title: media("ad_title"),
            original_media_id: media("original_media_id"),
        })
    }
}
