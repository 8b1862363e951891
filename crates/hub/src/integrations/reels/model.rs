//! What a reel is here, and for how long a page of them may be shown. Pure.

use tidings_meta::client::Post;

use crate::conversations::model::Millis;

/// How many reels a page has if the caller does not say, and at most.
pub const LIMIT_DEFAULT: u32 = 6;
/// How many reels a page has at most.
pub const LIMIT_MAX: u32 = 25;

/// How long a page is shown while Meta gives no newer one.
pub const STALE_MAX: Millis = 24 * 3_600_000;

/// A reel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reel {
    /// Meta's id of it.
    pub id: String,
    /// The film; `None` where Meta gives none, as for one that is flagged for copyright.
    pub video_url: Option<String>,
    /// The picture that stands for it.
    pub poster_url: Option<String>,
    /// How many like it; `None` where the owner hides it.
    pub likes: Option<i64>,
    /// How often it was watched; `None` where Meta does not say.
    pub views: Option<i64>,
    /// What is written below it.
    pub description: Option<String>,
    /// Where it is on Instagram.
    pub permalink: Option<String>,
}

impl From<Post> for Reel {
    fn from(post: Post) -> Self {
        Self {
            id: post.id,
            video_url: post.media_url,
            poster_url: post.thumbnail_url,
            likes: post.likes,
            views: post.views,
            description: post.caption,
            permalink: post.permalink,
        }
    }
}

impl Reel {
    /// When the first of its links ends, as far as that can be told.
    pub fn links_end_at(&self, now: Millis) -> Option<Millis> {
        let links = [&self.video_url, &self.poster_url].into_iter().flatten();
        links
            .filter_map(|link| link_ends_at(link))
            .filter(|end| *end > now)
            .min()
    }
}

/// When a link to Meta's host of files ends: `oe` in it is that time, in seconds since 1970, in hexadecimal (reference `instagram.md` 5.1,
/// 5.3). It is documented nowhere: where it is absent, nothing is known.
fn link_ends_at(link: &str) -> Option<Millis> {
    let (_, query) = link.split_once('?')?;
    let hexadecimal = query.split('&').find_map(|pair| pair.strip_prefix("oe="))?;
    let seconds = i64::from_str_radix(hexadecimal, 16).ok()?;
    seconds.checked_mul(1000)
}

/// For how long something that was fetched may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shelf {
    /// When it was fetched.
    pub fetched_at: Millis,
    /// Until when it is as good as new.
    pub fresh_until: Millis,
    /// Until when it is better than nothing.
    pub stale_until: Millis,
}

/// What may be done with something that was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is shown.
    Fresh,
    /// It is shown while a newer one is fetched.
    Stale,
    /// It is shown no more.
    Gone,
}

impl Shelf {
    /// For something fetched now that is fresh for so long, and whose links end then, if they do.
    pub fn new(now: Millis, fresh_for: Millis, links_end_at: Option<Millis>) -> Self {
        let end = links_end_at.unwrap_or(Millis::MAX);
        Self {
            fetched_at: now,
            fresh_until: now.saturating_add(fresh_for).min(end),
            stale_until: now.saturating_add(STALE_MAX.max(fresh_for)).min(end),
        }
    }

    /// What may be done with it now. A clock that was set back leaves it as it is.
    pub fn standing(&self, now: Millis) -> Standing {
        if now < self.fresh_until {
            Standing::Fresh
        } else if now < self.stale_until {
            Standing::Stale
        } else {
            Standing::Gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Millis, Reel, STALE_MAX, Shelf, Standing, link_ends_at};

    #[test]
    fn the_end_of_a_link_is_read_where_it_stands() {
        let end = 0x6A00_0000_i64 * 1000;
        for (link, expected) in [
            ("https://scontent.cdninstagram.com/o1/x.mp4?oe=6A000000", Some(end)),
            ("https://x.example/x?stp=a&oe=6a000000&oh=00", Some(end)),
            ("https://x.example/x?foe=6A000000", None),
            ("https://x.example/x?oe=soon", None),
            ("https://x.example/x?oe=7fffffffffffffff", None),
            ("https://x.example/oe=6A000000", None),
        ] {
            assert_eq!(link_ends_at(link), expected, "{link}");
        }
        let reel = Reel {
            id: "1".into(),
            video_url: Some("https://x.example/?oe=6A000001".into()),
            poster_url: Some("https://x.example/?oe=6A000000".into()),
            likes: None,
            views: None,
            description: None,
            permalink: None,
        };
        assert_eq!(reel.links_end_at(0), Some(end));
        assert_eq!(
            reel.links_end_at(end),
            Some(end + 1000),
            "what has ended already says nothing"
        );
    }

    #[test]
    fn nothing_is_shown_after_its_links_have_ended() {
        let minute: Millis = 60_000;
        let unknown = Shelf::new(0, minute, None);
        assert_eq!(unknown.standing(minute - 1), Standing::Fresh);
        assert_eq!(unknown.standing(minute), Standing::Stale);
        assert_eq!(unknown.standing(STALE_MAX - 1), Standing::Stale);
        assert_eq!(unknown.standing(STALE_MAX), Standing::Gone);
        let short = Shelf::new(0, minute, Some(30_000));
        assert_eq!(short.standing(29_999), Standing::Fresh);
        assert_eq!(short.standing(30_000), Standing::Gone);
        let hour = Shelf::new(0, minute, Some(60 * minute));
        assert_eq!(hour.standing(59 * minute), Standing::Stale);
        assert_eq!(hour.standing(60 * minute), Standing::Gone);
    }
}
