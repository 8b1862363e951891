//! Statements about how far accounts were looked through for new posts.

use super::value::params;
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Millis};

/// How far the posts of a channel's account were looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaWatch {
    /// What was posted before is not new.
    pub since: Millis,
    /// When the newest post that was seen was posted.
    pub seen_until: Millis,
    /// When it was looked last.
    pub looked_at: Millis,
}

impl Tx<'_> {
    /// How far a channel's posts were looked through; begins now if it never was.
    pub fn media_watch(&mut self, channel: &ChannelId, now: Millis) -> Result<MediaWatch, StoreError> {
        self.send(
            "INSERT INTO media_watches (channel_id, since, seen_until, looked_at) VALUES (?1, ?2, ?2, ?2)
             ON CONFLICT (channel_id) DO NOTHING",
            params![&channel.0, now],
        )?;
        let row = self.query_opt(
            "SELECT since, seen_until, looked_at FROM media_watches WHERE channel_id = ?1",
            params![&channel.0],
        )?;
        row.map_or(
            Ok(MediaWatch {
                since: now,
                seen_until: now,
                looked_at: now,
            }),
            |row| {
                Ok(MediaWatch {
                    since: row.get(0)?,
                    seen_until: row.get(1)?,
                    looked_at: row.get(2)?,
                })
            },
        )
    }

    /// Notes that a channel's posts were looked through; no time goes back.
    pub fn note_media_watch(&mut self, channel: &ChannelId, seen_until: Millis, now: Millis) -> Result<(), StoreError> {
        self.send(
            "UPDATE media_watches SET seen_until = CASE WHEN seen_until < ?2 THEN ?2 ELSE seen_until END,
                looked_at = CASE WHEN looked_at < ?3 THEN ?3 ELSE looked_at END
             WHERE channel_id = ?1",
            params![&channel.0, seen_until, now],
        )
    }
}
