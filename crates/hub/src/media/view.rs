//! Files as callers see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::conversations::model::Millis;
use crate::http::timestamp::Time;
use crate::http::word::words;
use crate::ids::{MediaId, MessageId};
use crate::media::links::Links;
use crate::media::model::{Media, MediaStatus};

words! { MediaStatusWord of MediaStatus as "MediaStatus"; }

/// A file.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MediaFile)]
pub struct MediaView {
    /// Its id.
    #[schema(value_type = String, example = "med_019a9f0cb2007a5f8d3e6b1c2d4f5a60")]
    pub id: MediaId,
    /// Where it is on its way to Tidings.
    pub status: MediaStatusWord,
    /// What it was found to be; until it is stored, what Meta says.
    #[serde(rename = "type")]
    pub mime_type: Option<String>,
    /// How large it is, in bytes.
    pub size: Option<i64>,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: Option<String>,
    /// What it is called.
    pub filename: Option<String>,
    /// Where it opens without an API key, for a while. Without `TIDINGS_PUBLIC_URL` it is a path of this hub.
    pub link: Option<String>,
    /// Why it is not there, if it was tried to have it.
    pub reason: Option<String>,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Time>,
    /// The message that brought it.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// Since when it is known.
    pub created_at: Time,
    /// When it goes unless a message is sent with it.
    pub unused_at: Option<Time>,
}

impl MediaView {
    /// As it is now.
    pub fn new(media: &Media, links: &Links, now: Millis) -> Self {
        Self {
            id: media.id,
            status: media.status.into(),
            mime_type: media.mime_type.clone(),
            size: media.size,
            sha256: media.sha256.map(|sha256| sha256.to_string()),
            filename: media.filename.clone(),
            link: media.stored().map(|_| links.link(media.id, now)),
            reason: media.reason.clone(),
            attempts: media.attempts,
            next_attempt_at: media.due_at.map(Time),
            message_id: media.brought_by.as_ref().map(|(_, message)| *message),
            created_at: Time(media.created_at),
            unused_at: media.unused_at.map(Time),
        }
    }
}
