//! Messages that are to be sent with an uploaded file.
//!
//! When a message is accepted, its files are checked against what the channel's product takes, and noted as used. When its turn comes, each has
//! to be in Meta's hands ([`Known::resolve`]); one that is not is handed over first ([`super::uploads`]), and the message waits, in nobody's way but
//! its own conversation's. Instagram is given files as attachments, WhatsApp as media; a mail gets a link to ours.

use std::collections::HashMap;

use super::limits;
use crate::app::App;
use crate::channels::Channel;
use crate::channels::model::ChannelKind;
use crate::conversations::content::{Content, Media as FileInMessage};
use crate::conversations::model::{Failure, Message, Millis};
use crate::ids::MediaId;
use crate::media::model::{Media, Reference, Stored, Upload, UploadKey, UploadStatus};
use crate::sending::request::Fault;
use crate::store::{StoreError, Tx};

/// So long before Meta forgets a file it is handed over anew.
const EXPIRY_MARGIN: Millis = 60 * 60 * 1000;
/// When nothing was found that could be of no use.
const NEVER: Millis = 0;
/// How long a link in a mail opens.
const MAIL_LINK_SECS: i64 = 30 * 24 * 60 * 60;

/// What is wrong with sending these uploaded files by a channel of this kind; every fault at once. They are locked: none goes before the unit
/// ends.
pub fn check(tx: &mut Tx<'_>, app: &App, kind: ChannelKind, content: &Content) -> Result<Vec<Fault>, StoreError> {
    let ids = uploaded(content);
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let known = tx.lock_media(&ids)?;
    let mut faults = Vec::new();
    for (place, file) in content.files() {
        let Some(id) = file.media_id else { continue };
        let stored = known.get(&id).and_then(Media::stored);
        let detail = match stored {
            None => Some("is not the id of an uploaded file: upload it by `POST /api/v1/media`".to_owned()),
            Some(_) if kind == ChannelKind::Email && !app.media.links.are_public() => Some(
                "needs an address that the reader of a mail can open: set TIDINGS_PUBLIC_URL, or give a `link`"
                    .to_owned(),
            ),
            Some(stored) => limits::fault(
                kind,
                sent_as(content, &place, stored.mime_type),
                stored.mime_type,
                stored.size,
            ),
        };
        faults.extend(detail.map(|detail| Fault {
            field: field(&place),
            detail,
        }));
    }
    Ok(faults)
}

fn field(place: &str) -> String {
    if place.is_empty() {
        "content.mediaId".to_owned()
    } else {
        format!("content.{place}.mediaId")
    }
}

/// What a file is sent as: the content's own as what the content is, any other as what it is itself.
fn sent_as(content: &Content, place: &str, mime_type: &str) -> &'static str {
    if place.is_empty() {
        return content.kind();
    }
    match mime_type.split('/').next() {
        Some("image") => "image",
        Some("video") => "video",
        Some("audio") => "audio",
        _ => "document",
    }
}

fn uploaded(content: &Content) -> Vec<MediaId> {
    let mut ids: Vec<MediaId> = content
        .files()
        .into_iter()
        .filter_map(|(_, file)| file.media_id)
        .collect();
    // In one order everywhere, so that no two units wait for each other.
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Notes that a message refers to its uploaded files. Part of the unit that writes the message.
pub fn note(tx: &mut Tx<'_>, message: &Message) -> Result<(), StoreError> {
    let references: Vec<Reference> = (0..)
        .zip(message.content.files())
        .filter_map(|(part, (_, file))| {
            Some(Reference {
                message_id: message.id,
                channel_id: message.channel_id.clone(),
                part,
                media_id: file.media_id?,
            })
        })
        .collect();
    tx.insert_media_references(&references)
}

/// What is known of the files of messages whose turn it is.
#[derive(Debug, Default)]
pub struct Known {
    media: HashMap<MediaId, Media>,
    uploads: HashMap<UploadKey, Upload>,
}

/// A file of Meta's that a message is sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Which.
    pub key: UploadKey,
    /// Meta's id of it.
    pub meta_id: String,
    /// It was handed over before the message was accepted: Meta may have forgotten it.
    pub is_reused: bool,
}

/// What a message with files is sent as.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolved {
    /// With these files of Meta's.
    Ready(Box<Content>, Vec<Used>),
    /// Not yet: these have to be handed over.
    Wait(Vec<Upload>),
    /// Not at all.
    Failed(Failure),
}

impl Known {
    /// Looks up what these messages refer to.
    pub fn load<'c>(
        tx: &mut Tx<'_>,
        channel: &Channel,
        contents: impl Iterator<Item = &'c Content>,
    ) -> Result<Self, StoreError> {
        let contents: Vec<(&Content, Vec<MediaId>)> = contents
            .map(|content| (content, uploaded(content)))
            .filter(|(_, ids)| !ids.is_empty())
            .collect();
        if contents.is_empty() {
            return Ok(Self::default());
        }
        let mut ids: Vec<MediaId> = contents.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let media = tx.media_by_ids(&ids)?;
        let mut keys: Vec<UploadKey> = Vec::new();
        for (content, _) in contents {
            for (place, file) in content.files() {
                let stored = file.media_id.and_then(|id| media.get(&id)).and_then(Media::stored);
                keys.extend(stored.map(|stored| key(channel, sent_as(content, &place, stored.mime_type), &stored)));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let uploads = tx.media_uploads(&keys)?;
        Ok(Self { media, uploads })
    }

    /// What a message that was accepted at a time is sent as by this channel.
    pub fn resolve(&self, app: &App, channel: &Channel, content: &Content, queued_at: Millis, now: Millis) -> Resolved {
        let mut sent = content.clone();
        let (mut used, mut wanted) = (Vec::new(), Vec::new());
        for ((place, _), file) in content.files().into_iter().zip(sent.files_mut()) {
            let Some(id) = file.media_id else { continue };
            let Some(stored) = self.media.get(&id).and_then(Media::stored) else {
                let why = "its file is not there any more: upload it again, and send a new message";
                return Resolved::Failed(Failure::ours(why));
            };
            if channel.kind == ChannelKind::Email {
                replace(file, None, Some(app.media.links.lasting(id, now, MAIL_LINK_SECS)));
                continue;
            }
            let key = key(channel, sent_as(content, &place, stored.mime_type), &stored);
            let upload = self.uploads.get(&key);
            match upload.map(|upload| (&upload.status, upload.changed_at)) {
                Some((UploadStatus::Ready { meta_id, expires_at }, changed_at))
                    if expires_at.is_none_or(|at| at > now + EXPIRY_MARGIN) =>
                {
                    replace(file, Some(meta_id.clone()), None);
                    used.push(Used {
                        key,
                        meta_id: meta_id.clone(),
                        is_reused: changed_at <= queued_at,
                    });
                }
                // Once refused, a file is not handed over again for the messages that waited for it.
                Some((UploadStatus::Failed(failure), changed_at)) if changed_at >= queued_at => {
                    return Resolved::Failed(failure.clone());
                }
                found => wanted.push(Upload {
                    key,
                    status: UploadStatus::Wanted {
                        due_at: now,
                        failure: None,
                    },
                    size: stored.size as i64,
                    mime_type: stored.mime_type.to_owned(),
                    changed_at: match found {
                        Some((UploadStatus::Ready { .. } | UploadStatus::Failed(_), changed_at)) => changed_at,
                        Some((UploadStatus::Wanted { .. }, _)) | None => NEVER,
                    },
                    attempts: 0,
                }),
            }
        }
        if wanted.is_empty() {
            Resolved::Ready(Box::new(sent), used)
        } else {
            Resolved::Wait(wanted)
        }
    }

    /// Why a message waits for these, for a person.
    pub fn reason(&self, wanted: &[Upload]) -> String {
        let why = wanted
            .iter()
            .find_map(|wanted| match &self.uploads.get(&wanted.key)?.status {
                UploadStatus::Wanted { failure, .. } => failure.as_ref(),
                UploadStatus::Ready { .. } | UploadStatus::Failed(_) => None,
            });
        why.map_or_else(
            || "its file is being handed to Meta".to_owned(),
            |failure| format!("its file could not be handed to Meta yet: {}", failure.text),
        )
    }
}

fn key(channel: &Channel, content_kind: &str, stored: &Stored<'_>) -> UploadKey {
    let kind = match channel.kind {
        ChannelKind::Instagram => limits::attachment_kind(content_kind),
        ChannelKind::WhatsApp | ChannelKind::Email => "",
    };
    UploadKey {
        channel_id: channel.id.clone(),
        account: channel.account.clone(),
        sha256: stored.sha256,
        kind: kind.to_owned(),
    }
}

fn replace(file: &mut FileInMessage, id: Option<String>, link: Option<String>) {
    file.media_id = None;
    file.id = id;
    file.link = link;
}
