//! Statements about media: what messages refer to, the files that are kept, and what Meta has of them.
//!
//! A file is reserved before it is put into the media store ([`Tx::reserve_media_file`]), and doomed before it is removed from there
//! ([`Tx::doom_media_files`]): nobody can refer to one that is being removed.
//!
//! Who is at a file is noted with it (`taken_by`), until it is due again: from then on anybody may take it. What they settle after that is not
//! written.

use std::collections::HashMap;

use super::value::{FromValue, Param, Row, Rows, Value, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Failure, Millis};
use crate::ids::{MediaId, MessageId, NodeId};
use crate::media::model::{Fetched, FileHash, Media, MediaStatus, Reference, Upload, UploadKey, UploadStatus};

/// The columns that [`media`] reads, of the alias `m`.
macro_rules! select_media {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.channel_id, m.message_id, m.status, m.sha256, m.size, m.mime_type, m.filename, m.told, m.attempts, m.due_at,
                m.reason, m.created_at, m.unused_at ",
            $rest
        )
    };
}

/// The columns that [`upload`] reads, of the alias `u`.
macro_rules! select_uploads {
    ($rest:literal) => {
        concat!(
            "SELECT u.channel_id, u.account, u.sha256, u.kind, u.status, u.size, u.mime_type, u.meta_id, u.changed_at, u.expires_at,
                u.attempts, u.due_at, u.code, u.subcode, u.reason ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// Keeps what is known of files.
    pub fn insert_media(&mut self, media: &[Media]) -> Result<(), StoreError> {
        let told: Vec<Option<String>> = media
            .iter()
            .map(|media| {
                let told = media.told.as_ref()?;
                Some(serde_json::to_string(told).expect("what Meta told has string keys only"))
            })
            .collect();
        let mut rows = Rows::new();
        for (media, told) in media.iter().zip(&told) {
            let brought_by = media.brought_by.as_ref();
            rows.push(params![
                &media.id,
                brought_by.map(|(channel, _)| channel.0.as_str()),
                brought_by.map_or(Param::Null, |(_, message)| Param::from(message)),
                media.status.as_str(),
                hash(media.sha256.as_ref()),
                media.size,
                &media.mime_type,
                &media.filename,
                told,
                media.attempts,
                media.due_at,
                &media.reason,
                media.created_at,
                media.unused_at,
            ]);
        }
        self.send_rows(
            "INSERT INTO media (id, channel_id, message_id, status, sha256, size, mime_type, filename, told, attempts, due_at, reason,
                created_at, unused_at)
             {insert r.id, r.channel_id, r.message_id, r.status, r.sha256, r.size, r.mime_type, r.filename, r.told, r.attempts, r.due_at,
                r.reason, r.created_at, r.unused_at of r: id blob, channel_id text, message_id blob, status text, sha256 blob, size int,
                mime_type text, filename text, told text, attempts int, due_at int, reason text, created_at int, unused_at int}",
            &rows,
        )
    }

    /// Notes which messages refer to what; what is uploaded and referred to does not go any more.
    pub fn insert_media_references(&mut self, references: &[Reference]) -> Result<(), StoreError> {
        let (mut rows, mut used) = (Rows::new(), Rows::new());
        for reference in references {
            rows.push(params![
                &reference.message_id,
                reference.part,
                &reference.media_id,
                &reference.channel_id.0,
            ]);
            used.push(params![&reference.media_id]);
        }
        self.send_rows(
            "INSERT INTO message_media (message_id, part, media_id, channel_id)
             {insert r.message_id, r.part, r.media_id, r.channel_id of r: message_id blob, part int, media_id blob, channel_id text}",
            &rows,
        )?;
        self.send_rows(
            "UPDATE media SET unused_at = NULL {from r: id blob} WHERE media.id = r.id AND media.unused_at IS NOT NULL",
            &used,
        )
    }

    /// One file.
    pub fn media_by_id(&mut self, id: MediaId) -> Result<Option<Media>, StoreError> {
        self.query_opt(select_media!("FROM media AS m WHERE m.id = ?1"), params![&id])?
            .map(|row| media(&row))
            .transpose()
    }

    /// These files; those that are not there are absent.
    pub fn media_by_ids(&mut self, ids: &[MediaId]) -> Result<HashMap<MediaId, Media>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_media!("FROM {each r: id blob} media AS m WHERE m.id = r.id"),
            &rows,
        )?;
        found
            .iter()
            .map(|row| media(row).map(|media| (media.id, media)))
            .collect()
    }

    /// These files, locked until the unit ends, so that none goes meanwhile; those that are not there are absent.
    pub fn lock_media(&mut self, ids: &[MediaId]) -> Result<HashMap<MediaId, Media>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_media!("FROM {each r: id blob} media AS m WHERE m.id = r.id ORDER BY m.id {lock m}"),
            &rows,
        )?;
        found
            .iter()
            .map(|row| media(row).map(|media| (media.id, media)))
            .collect()
    }

    /// The files of these messages: of which, which part, and what it is.
    pub fn media_of_messages(&mut self, messages: &[MessageId]) -> Result<Vec<(MessageId, u32, Media)>, StoreError> {
        let mut rows = Rows::new();
        for message in messages {
            rows.push(params![message]);
        }
        let references = self.query_rows(
            "SELECT l.message_id, l.part, l.media_id FROM {each r: id blob} message_media AS l WHERE l.message_id = r.id",
            &rows,
        )?;
        let mut found = Vec::with_capacity(references.len());
        for row in &references {
            found.push((row.get::<MessageId>(0)?, row.get::<u32>(1)?, row.get::<MediaId>(2)?));
        }
        let mut ids: Vec<MediaId> = found.iter().map(|(_, _, id)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = self.media_by_ids(&ids)?;
        found.sort_unstable();
        let with_media = found
            .into_iter()
            .filter_map(|(message, part, id)| Some((message, part, known.get(&id)?.clone())));
        Ok(with_media.collect())
    }

    /// Reserves a file that is about to be put into the media store, or is there; to be looked at again at a time. False: it is being removed,
    /// and has to be gone first.
    pub fn reserve_media_file(
        &mut self,
        sha256: FileHash,
        size: i64,
        now: Millis,
        look_at: Millis,
    ) -> Result<bool, StoreError> {
        let reserved = self.execute(
            "INSERT INTO media_files (sha256, size, kept_at, look_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (sha256) DO UPDATE SET look_at = EXCLUDED.look_at WHERE media_files.doomed_at IS NULL",
            params![hash(Some(&sha256)), size, now, look_at],
        )?;
        Ok(reserved == 1)
    }

    /// Keeps what a caller has uploaded; answers with what is kept, which is what somebody has uploaded before if it is the same.
    pub fn keep_uploaded_media(&mut self, uploaded: &Media) -> Result<Media, StoreError> {
        let kept = self.execute(
            "INSERT INTO media (id, status, sha256, size, mime_type, filename, attempts, created_at, unused_at)
             VALUES (?1, 'stored', ?2, ?3, ?4, ?5, 0, ?6, ?7) ON CONFLICT DO NOTHING",
            params![
                &uploaded.id,
                hash(uploaded.sha256.as_ref()),
                uploaded.size,
                &uploaded.mime_type,
                &uploaded.filename,
                uploaded.created_at,
                uploaded.unused_at,
            ],
        )?;
        if kept == 1 {
            return Ok(uploaded.clone());
        }
        let known = self.query_opt(
            select_media!("FROM media AS m WHERE m.sha256 = ?1 AND m.mime_type = ?2 AND m.message_id IS NULL {lock m}"),
            params![hash(uploaded.sha256.as_ref()), &uploaded.mime_type],
        )?;
        // It may have gone between the two.
        let known = known.ok_or_else(|| StoreError::Conflict("the same file was being removed".to_owned()))?;
        let mut known = media(&known)?;
        if known.filename.is_none() {
            known.filename.clone_from(&uploaded.filename);
        }
        known.unused_at = known.unused_at.and(uploaded.unused_at);
        self.send(
            "UPDATE media SET filename = ?2, unused_at = ?3 WHERE id = ?1",
            params![&known.id, &known.filename, known.unused_at],
        )?;
        Ok(known)
    }

    /// Channels that have files to be fetched which are due, in the order of their names.
    pub fn channels_with_media_due(&mut self, now: Millis, limit: u32) -> Result<Vec<ChannelId>, StoreError> {
        self.channels_with_due(
            "SELECT m.channel_id FROM media AS m WHERE m.status = 'pending' AND m.channel_id > ?1
             ORDER BY m.channel_id, m.due_at LIMIT 1",
            "SELECT m.id FROM media AS m WHERE m.status = 'pending' AND m.channel_id = ?1 AND m.due_at <= ?2 LIMIT 1",
            now,
            limit,
        )
    }

    /// A walk along an index that touches two rows for each channel: `next` finds the first channel after a name (`?1`), `due` whether
    /// something of a channel (`?1`) is due at a time (`?2`).
    fn channels_with_due(
        &mut self,
        next: &'static str,
        due: &'static str,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<ChannelId>, StoreError> {
        let mut channels: Vec<ChannelId> = Vec::new();
        let mut after = String::new();
        while channels.len() < limit as usize {
            let Some(row) = self.query_opt(next, params![&after])? else {
                break;
            };
            after = row.get(0)?;
            if self.query_opt(due, params![&after, now])?.is_some() {
                channels.push(ChannelId(after.clone()));
            }
        }
        Ok(channels)
    }

    /// Takes files of a channel that are due, the longest due first: nobody else does until a time.
    pub fn take_media(
        &mut self,
        channel: &ChannelId,
        node: NodeId,
        now: Millis,
        until: Millis,
        limit: u32,
    ) -> Result<Vec<Media>, StoreError> {
        let rows = self.query(
            select_media!(
                "FROM media AS m WHERE m.status = 'pending' AND m.channel_id = ?1 AND m.due_at <= ?2 ORDER BY m.due_at LIMIT ?3 {take m}"
            ),
            params![&channel.0, now, limit],
        )?;
        let taken: Vec<Media> = rows.iter().map(media).collect::<Result<_, _>>()?;
        let ids: Vec<MediaId> = taken.iter().map(|media| media.id).collect();
        let mut rows = Rows::new();
        for id in &ids {
            rows.push(params![id, until, &node]);
        }
        self.send_rows(
            "UPDATE media SET due_at = r.until, taken_by = r.node {from r: id blob, until int, node blob} WHERE media.id = r.id",
            &rows,
        )?;
        Ok(taken)
    }

    /// Keeps files that a node has taken until a later time.
    pub fn keep_media_taken(&mut self, ids: &[MediaId], node: NodeId, until: Millis) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id, until, &node]);
        }
        self.send_rows(
            "UPDATE media SET due_at = r.until {from r: id blob, until int, node blob}
             WHERE media.id = r.id AND media.taken_by = r.node AND media.status {postgres || ''} = 'pending'",
            &rows,
        )
    }

    /// Lets go of every file that a node has taken to fetch; `None`: that any has.
    pub fn release_media_taken(&mut self, node: Option<NodeId>, now: Millis) -> Result<u64, StoreError> {
        self.execute(
            "UPDATE media SET due_at = ?2, taken_by = NULL WHERE taken_by IS NOT NULL AND (?1{postgres ::bytea} IS NULL OR taken_by = ?1)",
            params![&node, now],
        )
    }

    /// Lets go of every file that a node has taken to hand over; `None`: that any has.
    pub fn release_media_uploads_taken(&mut self, node: Option<NodeId>, now: Millis) -> Result<u64, StoreError> {
        self.execute(
            "UPDATE media_uploads SET due_at = ?2, taken_by = NULL WHERE taken_by IS NOT NULL AND (?1{postgres ::bytea} IS NULL OR taken_by = ?1)",
            params![&node, now],
        )
    }

    /// Writes down what came of fetching a file that this node has taken; answers with the file as it is now, or `None` if it is another's by
    /// now, or gone.
    pub fn settle_media(&mut self, id: MediaId, node: NodeId, fetched: &Fetched) -> Result<Option<Media>, StoreError> {
        let settled = match fetched {
            Fetched::Stored {
                sha256,
                size,
                mime_type,
            } => self.execute(
                "UPDATE media SET status = 'stored', sha256 = ?3, size = ?4, mime_type = ?5, due_at = NULL, taken_by = NULL, reason = NULL
                 WHERE id = ?1 AND taken_by = ?2",
                params![&id, &node, hash(Some(sha256)), *size, mime_type],
            )?,
            Fetched::Again {
                due_at,
                attempts,
                reason,
            } => self.execute(
                "UPDATE media SET due_at = ?3, attempts = ?4, reason = ?5, taken_by = NULL WHERE id = ?1 AND taken_by = ?2",
                params![&id, &node, *due_at, *attempts, reason],
            )?,
            Fetched::Failed { attempts, reason } => self.execute(
                "UPDATE media SET status = 'failed', due_at = NULL, attempts = ?3, reason = ?4, taken_by = NULL
                 WHERE id = ?1 AND taken_by = ?2",
                params![&id, &node, *attempts, reason],
            )?,
        };
        if settled == 0 {
            return Ok(None);
        }
        self.media_by_id(id)
    }

    /// Has a file fetched again, from its first try on; answers whether it was one that had failed, or waits.
    pub fn retry_media(&mut self, id: MediaId, now: Millis) -> Result<bool, StoreError> {
        let retried = self.execute(
            "UPDATE media SET status = 'pending', attempts = 0, due_at = ?2
             WHERE id = ?1 AND status <> 'stored' AND taken_by IS NULL",
            params![&id, now],
        )?;
        Ok(retried == 1)
    }

    /// Forgets the files of a message whose content is gone; those that nothing else refers to go too.
    pub fn forget_media_of_message(&mut self, message: MessageId, now: Millis) -> Result<(), StoreError> {
        let removed = self.query(
            "DELETE FROM message_media WHERE message_id = ?1 RETURNING media_id",
            params![&message],
        )?;
        for row in &removed {
            let id: MediaId = row.get(0)?;
            // What a caller uploaded is let go once its time is over, unless another message has it.
            self.send(
                "UPDATE media SET unused_at = ?2 WHERE id = ?1 AND message_id IS NULL",
                params![&id, now],
            )?;
            let gone = self.query_opt(
                "DELETE FROM media WHERE id = ?1 AND message_id = ?2 RETURNING sha256",
                params![&id, &message],
            )?;
            if let Some(row) = gone {
                self.look_at_media_file(row.get(0)?, now)?;
            }
        }
        Ok(())
    }

    /// Removes what was uploaded, is due to go, and no message refers to; answers with how many it looked at.
    pub fn remove_unused_media(&mut self, now: Millis, limit: u32) -> Result<usize, StoreError> {
        let due = self.query(
            "SELECT m.id FROM media AS m WHERE m.unused_at <= ?1 ORDER BY m.unused_at LIMIT ?2 {take m}",
            params![now, limit],
        )?;
        for row in &due {
            let id: MediaId = row.get(0)?;
            let is_used = self.query_opt(
                "SELECT l.part FROM message_media AS l WHERE l.media_id = ?1 LIMIT 1",
                params![&id],
            )?;
            if is_used.is_some() {
                self.send("UPDATE media SET unused_at = NULL WHERE id = ?1", params![&id])?;
                continue;
            }
            let gone = self.query_opt("DELETE FROM media WHERE id = ?1 RETURNING sha256", params![&id])?;
            if let Some(row) = gone {
                self.look_at_media_file(row.get(0)?, now)?;
            }
        }
        Ok(due.len())
    }

    fn look_at_media_file(&mut self, sha256: Option<FileHash>, now: Millis) -> Result<(), StoreError> {
        if let Some(sha256) = sha256 {
            self.send(
                "UPDATE media_files SET look_at = ?2 WHERE sha256 = ?1 AND doomed_at IS NULL",
                params![hash(Some(&sha256)), now],
            )?;
        }
        Ok(())
    }

    /// Of the files that are to be looked at, dooms those that nothing refers to: they are to be removed from the media store, and then from
    /// here ([`Tx::remove_media_file`]). Doomed ones whose removal was not finished come again after a while.
    pub fn doom_media_files(&mut self, now: Millis, again_at: Millis, limit: u32) -> Result<Vec<FileHash>, StoreError> {
        let due = self.query(
            "SELECT f.sha256, f.doomed_at FROM media_files AS f WHERE f.look_at <= ?1 ORDER BY f.look_at LIMIT ?2 {take f}",
            params![now, limit],
        )?;
        let mut doomed = Vec::new();
        for row in &due {
            let sha256: FileHash = row.get(0)?;
            let is_used = self.query_opt(
                "SELECT m.id FROM media AS m WHERE m.sha256 = ?1 LIMIT 1",
                params![hash(Some(&sha256))],
            )?;
            if is_used.is_some() {
                self.send(
                    "UPDATE media_files SET look_at = NULL WHERE sha256 = ?1",
                    params![hash(Some(&sha256))],
                )?;
            } else {
                self.send(
                    "UPDATE media_files SET doomed_at = ?2, look_at = ?3 WHERE sha256 = ?1",
                    params![hash(Some(&sha256)), now, again_at],
                )?;
                doomed.push(sha256);
            }
        }
        Ok(doomed)
    }

    /// A doomed file is gone from the media store.
    pub fn remove_media_file(&mut self, sha256: FileHash) -> Result<(), StoreError> {
        self.send(
            "DELETE FROM media_files WHERE sha256 = ?1 AND doomed_at IS NOT NULL",
            params![hash(Some(&sha256))],
        )
    }

    /// What Meta has of these files, or is to have.
    pub fn media_uploads(&mut self, keys: &[UploadKey]) -> Result<HashMap<UploadKey, Upload>, StoreError> {
        let mut rows = Rows::new();
        for key in keys {
            rows.push(params![
                &key.channel_id.0,
                &key.account,
                hash(Some(&key.sha256)),
                &key.kind
            ]);
        }
        let found = self.query_rows(
            select_uploads!(
                "FROM {each r: channel_id text, account text, sha256 blob, kind text} media_uploads AS u
                 WHERE u.channel_id = r.channel_id AND u.account = r.account AND u.sha256 = r.sha256 AND u.kind = r.kind"
            ),
            &rows,
        )?;
        found
            .iter()
            .map(|row| upload(row).map(|upload| (upload.key.clone(), upload)))
            .collect()
    }

    /// Has files handed to Meta, as soon as may be. Of one that is wanted already nothing changes. One that is not is handed over anew if it is
    /// as it was found, at its `changed_at`: since then somebody else may have had it handed over, and the messages of its channel that wait for it
    /// become due. Until the unit ends nobody else ends a handing over: they would not see who has begun to wait for it.
    pub fn want_media_uploads(&mut self, uploads: &[Upload], now: Millis) -> Result<(), StoreError> {
        let (mut new, mut found) = (Rows::new(), Rows::new());
        for upload in uploads {
            let (channel, account, kind) = (&upload.key.channel_id.0, &upload.key.account, &upload.key.kind);
            let sha256 = hash(Some(&upload.key.sha256));
            new.push(params![
                channel,
                account,
                sha256,
                kind,
                upload.size,
                &upload.mime_type,
                now
            ]);
            let sha256 = hash(Some(&upload.key.sha256));
            found.push(params![channel, account, sha256, kind, upload.changed_at, now]);
        }
        self.send_rows(
            "INSERT INTO media_uploads (channel_id, account, sha256, kind, status, size, mime_type, changed_at, attempts, due_at)
             {insert r.channel_id, r.account, r.sha256, r.kind, 'wanted', r.size, r.mime_type, r.now, 0, r.now of r: channel_id text,
                account text, sha256 blob, kind text, size int, mime_type text, now int}
             ON CONFLICT (channel_id, account, sha256, kind) DO UPDATE SET status = media_uploads.status WHERE media_uploads.status = ''",
            &new,
        )?;
        self.send_rows(
            "UPDATE media_uploads SET status = 'wanted', meta_id = NULL, expires_at = NULL, attempts = 0, due_at = r.now, changed_at = r.now,
                code = NULL, subcode = NULL, reason = NULL
             {from r: channel_id text, account text, sha256 blob, kind text, found_at int, now int}
             WHERE media_uploads.channel_id = r.channel_id AND media_uploads.account = r.account AND media_uploads.sha256 = r.sha256
                AND media_uploads.kind = r.kind AND media_uploads.status <> 'wanted' AND media_uploads.changed_at = r.found_at",
            &found,
        )?;
        let keys: Vec<UploadKey> = uploads.iter().map(|upload| upload.key.clone()).collect();
        for (key, upload) in self.media_uploads(&keys)? {
            if !matches!(upload.status, UploadStatus::Wanted { .. }) {
                self.hurry_entries_of_media(&key.channel_id, key.sha256, now)?;
            }
        }
        Ok(())
    }

    /// Channels that have files to be handed over which are due, in the order of their names.
    pub fn channels_with_uploads_due(&mut self, now: Millis, limit: u32) -> Result<Vec<ChannelId>, StoreError> {
        self.channels_with_due(
            "SELECT u.channel_id FROM media_uploads AS u WHERE u.status = 'wanted' AND u.channel_id > ?1
             ORDER BY u.channel_id, u.due_at LIMIT 1",
            "SELECT u.kind FROM media_uploads AS u WHERE u.status = 'wanted' AND u.channel_id = ?1 AND u.due_at <= ?2 LIMIT 1",
            now,
            limit,
        )
    }

    /// Takes files of a channel that are to be handed over, the longest due first: nobody else does until a time.
    pub fn take_media_uploads(
        &mut self,
        channel: &ChannelId,
        node: NodeId,
        now: Millis,
        until: Millis,
        limit: u32,
    ) -> Result<Vec<Upload>, StoreError> {
        let rows = self.query(
            select_uploads!(
                "FROM media_uploads AS u WHERE u.status = 'wanted' AND u.channel_id = ?1 AND u.due_at <= ?2
                 ORDER BY u.due_at LIMIT ?3 {take u}"
            ),
            params![&channel.0, now, limit],
        )?;
        let taken: Vec<Upload> = rows.iter().map(upload).collect::<Result<_, _>>()?;
        let mut rows = Rows::new();
        for Upload { key, .. } in &taken {
            rows.push(params![
                &key.channel_id.0,
                &key.account,
                hash(Some(&key.sha256)),
                &key.kind,
                until,
                &node,
            ]);
        }
        self.send_rows(
            "UPDATE media_uploads SET due_at = r.until, taken_by = r.node
             {from r: channel_id text, account text, sha256 blob, kind text, until int, node blob}
             WHERE media_uploads.channel_id = r.channel_id AND media_uploads.account = r.account AND media_uploads.sha256 = r.sha256
                AND media_uploads.kind = r.kind AND media_uploads.status {postgres || ''} = 'wanted'",
            &rows,
        )?;
        Ok(taken)
    }

    /// Keeps files that a node has taken to hand over until a later time.
    pub fn keep_media_uploads_taken(
        &mut self,
        keys: &[UploadKey],
        node: NodeId,
        until: Millis,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for key in keys {
            rows.push(params![
                &key.channel_id.0,
                &key.account,
                hash(Some(&key.sha256)),
                &key.kind,
                until,
                &node,
            ]);
        }
        self.send_rows(
            "UPDATE media_uploads SET due_at = r.until
             {from r: channel_id text, account text, sha256 blob, kind text, until int, node blob}
             WHERE media_uploads.channel_id = r.channel_id AND media_uploads.account = r.account AND media_uploads.sha256 = r.sha256
                AND media_uploads.kind = r.kind AND media_uploads.status {postgres || ''} = 'wanted' AND media_uploads.taken_by = r.node",
            &rows,
        )
    }

    /// Writes down what came of handing a file over that this node has taken; answers whether it was still its own.
    pub fn settle_media_upload(&mut self, settled: &Upload, node: NodeId) -> Result<bool, StoreError> {
        let key = &settled.key;
        let (mut meta_id, mut expires_at, mut due_at, mut failure) = (None, None, None, None);
        match &settled.status {
            UploadStatus::Wanted {
                due_at: due,
                failure: why,
            } => {
                due_at = Some(*due);
                failure = why.as_ref();
            }
            UploadStatus::Ready {
                meta_id: id,
                expires_at: until,
            } => {
                meta_id = Some(id.as_str());
                expires_at = *until;
            }
            UploadStatus::Failed(why) => failure = Some(why),
        }
        let rows = self.execute(
            "UPDATE media_uploads SET status = ?5, meta_id = ?6, expires_at = ?7, due_at = ?8, code = ?9, subcode = ?10, reason = ?11,
                attempts = ?12, changed_at = ?13, taken_by = NULL
             WHERE channel_id = ?1 AND account = ?2 AND sha256 = ?3 AND kind = ?4 AND taken_by = ?14",
            params![
                &key.channel_id.0,
                &key.account,
                hash(Some(&key.sha256)),
                &key.kind,
                settled.status.as_str(),
                meta_id,
                expires_at,
                due_at,
                failure.map(|failure| failure.code),
                failure.and_then(|failure| failure.subcode),
                failure.map(|failure| failure.text.as_str()),
                settled.attempts,
                settled.changed_at,
                &node,
            ],
        )?;
        Ok(rows == 1)
    }

    /// Has a file handed to Meta anew that Meta has forgotten; nothing changes where it was done since.
    pub fn renew_media_upload(&mut self, key: &UploadKey, meta_id: &str, now: Millis) -> Result<(), StoreError> {
        self.send(
            "UPDATE media_uploads SET status = 'wanted', meta_id = NULL, expires_at = NULL, attempts = 0, due_at = ?6, changed_at = ?6
             WHERE channel_id = ?1 AND account = ?2 AND sha256 = ?3 AND kind = ?4 AND status = 'ready' AND meta_id = ?5",
            params![
                &key.channel_id.0,
                &key.account,
                hash(Some(&key.sha256)),
                &key.kind,
                meta_id,
                now,
            ],
        )
    }

    /// Makes the messages of a channel due that wait for a file to be handed over; answers with how many.
    pub fn hurry_entries_of_media(
        &mut self,
        channel: &ChannelId,
        sha256: FileHash,
        now: Millis,
    ) -> Result<u64, StoreError> {
        self.execute(
            "UPDATE outbox SET due_at = ?3 WHERE channel_id = ?1 AND state = 'waiting' AND waits_for = 'media' AND due_at > ?3
                AND message_id IN (SELECT l.message_id FROM message_media AS l JOIN media AS m ON m.id = l.media_id
                    WHERE m.sha256 = ?2 AND l.channel_id = ?1)",
            params![&channel.0, hash(Some(&sha256)), now],
        )
    }

    /// Removes what Meta had of files, and what did not get there, since a time.
    pub fn prune_media_uploads(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM media_uploads WHERE (channel_id, account, sha256, kind) IN (SELECT u.channel_id, u.account, u.sha256, u.kind
                FROM media_uploads AS u WHERE u.status <> 'wanted' AND u.changed_at < ?1 ORDER BY u.changed_at LIMIT ?2)",
            params![before, limit],
        )
    }
}

fn hash(hash: Option<&FileHash>) -> Param<'_> {
    hash.map_or(Param::Null, |hash| Param::Blob(hash.as_bytes()))
}

fn media(row: &Row) -> Result<Media, StoreError> {
    let brought_by = match (row.get::<Option<String>>(1)?, row.get::<Option<MessageId>>(2)?) {
        (Some(channel), Some(message)) => Some((ChannelId(channel), message)),
        _ => None,
    };
    let told: Option<String> = row.get(8)?;
    Ok(Media {
        id: row.get(0)?,
        brought_by,
        status: row.get(3)?,
        sha256: row.get(4)?,
        size: row.get(5)?,
        mime_type: row.get(6)?,
        filename: row.get(7)?,
        // What a newer version wrote there is not worth an error.
        told: told.and_then(|told| serde_json::from_str(&told).ok()),
        attempts: row.get(9)?,
        due_at: row.get(10)?,
        reason: row.get(11)?,
        created_at: row.get(12)?,
        unused_at: row.get(13)?,
    })
}

fn upload(row: &Row) -> Result<Upload, StoreError> {
    let failure = match (row.get::<Option<i64>>(12)?, row.get::<Option<String>>(14)?) {
        (Some(code), Some(text)) => Some(Failure {
            code,
            subcode: row.get(13)?,
            text,
        }),
        _ => None,
    };
    let status = match (row.get::<String>(4)?.as_str(), row.get(7)?, failure) {
        ("ready", Some(meta_id), _) => UploadStatus::Ready {
            meta_id,
            expires_at: row.get(9)?,
        },
        ("failed", _, Some(failure)) => UploadStatus::Failed(failure),
        (_, _, failure) => UploadStatus::Wanted {
            due_at: row.get::<Option<Millis>>(11)?.unwrap_or_default(),
            failure,
        },
    };
    Ok(Upload {
        key: UploadKey {
            channel_id: ChannelId(row.get(0)?),
            account: row.get(1)?,
            sha256: row.get(2)?,
            kind: row.get(3)?,
        },
        status,
        size: row.get(5)?,
        mime_type: row.get(6)?,
        changed_at: row.get(8)?,
        attempts: row.get(10)?,
    })
}

impl FromValue for FileHash {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Self::from_slice(bytes),
            Value::Null | Value::Int(_) | Value::Text(_) => None,
        }
    }
}

impl FromValue for MediaStatus {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
