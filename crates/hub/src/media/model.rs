//! What is known of a file, and the rules of when to fetch it again. Pure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::conversations::content::Media as FileInMessage;
use crate::conversations::model::{ChannelId, Failure, Millis};
use crate::ids::{MediaId, MessageId};

/// The SHA-256 of a file: what it is kept by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileHash([u8; 32]);

impl FileHash {
    /// As it is kept.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the form in which it is kept.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As Meta writes it: base64 in webhooks, hexadecimal digits when it is asked (reference `whatsapp.md` 11).
    pub fn from_meta(text: &str) -> Option<Self> {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok())?;
        Self::from_slice(&bytes)
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a file is on its way to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaStatus {
    /// It is being fetched, or will be.
    Pending,
    /// It is there.
    Stored,
    /// It could not be had, and is not tried again unless somebody asks for it.
    Failed,
}

impl MediaStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Stored, Self::Failed];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Stored => "stored",
            Self::Failed => "failed",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// What Meta told of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Meta's id of it (WhatsApp).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it was when the message came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Its hash, as Meta writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its type, as Meta says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
}

impl Told {
    /// What a message that came from Meta says of a file in it; `None` if it says nothing by which the file could be had.
    pub fn of(file: &FileInMessage) -> Option<Self> {
        (file.id.is_some() || file.link.is_some()).then(|| Self {
            id: file.id.clone(),
            link: file.link.clone(),
            sha256: file.sha256.clone(),
            mime_type: file.mime_type.clone(),
        })
    }
}

/// A file that a message refers to, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its id.
    pub id: MediaId,
    /// The message that brought it, and its channel; `None` of what a caller has uploaded.
    pub brought_by: Option<(ChannelId, MessageId)>,
    /// Where it is.
    pub status: MediaStatus,
    /// Its hash, once it is stored.
    pub sha256: Option<FileHash>,
    /// How large it is, in bytes; of one that is not stored, as far as Meta has told.
    pub size: Option<i64>,
    /// What it was found to be; before that, what Meta says that it is.
    pub mime_type: Option<String>,
    /// What it is called.
    pub filename: Option<String>,
    /// What Meta told of it.
    pub told: Option<Told>,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it is tried next, if it is.
    pub due_at: Option<Millis>,
    /// Why it is not there.
    pub reason: Option<String>,
    /// Since when it is known.
    pub created_at: Millis,
    /// When it goes unless a message refers to it.
    pub unused_at: Option<Millis>,
}

impl Media {
    /// A file that a message of Meta's refers to, due at once.
    pub fn wanted(
        id: MediaId,
        channel: &ChannelId,
        message: MessageId,
        file: &FileInMessage,
        now: Millis,
    ) -> Option<Self> {
        let told = Told::of(file)?;
        Some(Self {
            id,
            brought_by: Some((channel.clone(), message)),
            status: MediaStatus::Pending,
            sha256: None,
            size: None,
            mime_type: told.mime_type.clone(),
            filename: file.filename.clone(),
            told: Some(told),
            attempts: 0,
            due_at: Some(now),
            reason: None,
            created_at: now,
            unused_at: None,
        })
    }

    /// What it is, if it is there.
    pub fn stored(&self) -> Option<Stored<'_>> {
        match (self.status, self.sha256, self.size, &self.mime_type) {
            (MediaStatus::Stored, Some(sha256), Some(size), Some(mime_type)) => Some(Stored {
                sha256,
                size: size.unsigned_abs(),
                mime_type,
            }),
            _ => None,
        }
    }
}

/// A file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'m> {
    /// Its hash.
    pub sha256: FileHash,
    /// How large it is, in bytes.
    pub size: u64,
    /// What it is.
    pub mime_type: &'m str,
}

/// That a message refers to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The message.
    pub message_id: MessageId,
    /// Its channel.
    pub channel_id: ChannelId,
    /// Which of its files, from 0.
    pub part: u32,
    /// The file.
    pub media_id: MediaId,
}

/// What came of fetching a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It is there.
    Stored {
        /// Its hash.
        sha256: FileHash,
        /// How large it is, in bytes.
        size: i64,
        /// What it was found to be.
        mime_type: String,
    },
    /// It is tried again.
    Again {
        /// When.
        due_at: Millis,
        /// How often it was tried in vain by now.
        attempts: u32,
        /// Why.
        reason: String,
    },
    /// It is not tried again.
    Failed {
        /// How often it was tried in vain.
        attempts: u32,
        /// Why.
        reason: String,
    },
}

/// How often a file is tried before it has failed: over about half a day.
pub const FETCHES_MAX: u32 = 14;

/// The pause after so many tries in vain: from five seconds, three times as long each time, to an hour; up to a quarter more by chance.
pub fn pause(attempts: u32, fraction: f64) -> Duration {
    const FIRST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_hours(1);
    let growing = FIRST.saturating_mul(3_u32.saturating_pow(attempts.saturating_sub(1).min(12)));
    let pause = growing.min(LONGEST);
    pause + pause.mul_f64(fraction.clamp(0.0, 1.0) / 4.0)
}

/// Where a file is on its way to Meta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStatus {
    /// It is being handed over, or will be.
    Wanted {
        /// When it is due.
        due_at: Millis,
        /// Why it was not done yet, if it was tried.
        failure: Option<Failure>,
    },
    /// Meta has it.
    Ready {
        /// Meta's id of it.
        meta_id: String,
        /// Until when.
        expires_at: Option<Millis>,
    },
    /// Meta does not take it.
    Failed(Failure),
}

impl UploadStatus {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Wanted { .. } => "wanted",
            Self::Ready { .. } => "ready",
            Self::Failed(_) => "failed",
        }
    }
}

/// Which file is handed over, by whom, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadKey {
    /// The channel.
    pub channel_id: ChannelId,
    /// Meta's id of it.
    pub account: String,
    /// The file.
    pub sha256: FileHash,
    /// What Meta is told that it is, where that makes a difference: empty on WhatsApp.
    pub kind: String,
}

/// A file in Meta's hands, or on its way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Which.
    pub key: UploadKey,
    /// Where it is.
    pub status: UploadStatus,
    /// How large it is, in bytes.
    pub size: i64,
    /// What it is.
    pub mime_type: String,
    /// Since when it has this status.
    pub changed_at: Millis,
    /// How often it was tried in vain.
    pub attempts: u32,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FETCHES_MAX, FileHash, pause};

    #[test]
    fn a_hash_of_metas_reads_alike_in_both_forms() {
        let digits = "a5e4cc79ce0f05ec4b76fcf3b80fdb01acdaac1b19b304c2a6935e7ba24dd27f";
        let hash = FileHash::from_meta(digits).unwrap();
        assert_eq!(
            FileHash::from_meta("peTMec4PBexLdvzzuA/bAazarBsZswTCppNee6JN0n8="),
            Some(hash)
        );
        assert_eq!(hash.to_string(), digits);
        for wrong in ["", "abc", "peTMec4PBexLdvzzuA==", &digits[2..]] {
            assert_eq!(FileHash::from_meta(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pauses_grow_to_an_hour() {
        assert_eq!(pause(1, 0.0), Duration::from_secs(5));
        assert_eq!(pause(2, 0.0), Duration::from_secs(15));
        assert_eq!(pause(2, 1.0), Duration::from_millis(18_750));
        assert_eq!(pause(u32::MAX, 0.0), Duration::from_hours(1));
        let all: Duration = (1..FETCHES_MAX).map(|attempts| pause(attempts, 0.0)).sum();
        assert!(
            all > Duration::from_hours(6) && all < Duration::from_hours(24),
            "{all:?}"
        );
    }
}
