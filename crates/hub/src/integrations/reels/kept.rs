//! Copies of posters and films, for whoever wants them shown when Meta's own links have ended (`REELS_STORE_MEDIA`).
//!
//! A folder of files that bear the SHA-256 of what is in them, so that their addresses never change and can be kept by browsers for good; and
//! an index that says which file is which reel's. Nothing half is ever there: a file is written under another name first. What no page
//! has shown for a week goes, and what was shown longest ago when the folder is full.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::conversations::model::Millis;

/// Instagram's own bound for a reel is below (reference `instagram.md` 5.5 names none).
const FILM_BYTES_MAX: u64 = 300 * 1024 * 1024;
const POSTER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long one file may take.
const DOWNLOAD_WITHIN: Duration = Duration::from_mins(2);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a file stays that no page has shown.
const UNSEEN_MAX: Millis = 7 * 24 * 3_600_000;
/// Files that are known at most.
const FILES_MAX: usize = 10_000;

/// What a file is of a reel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Part {
    Film,
    Poster,
}

impl Part {
    fn bytes_max(self) -> u64 {
        match self {
            Self::Film => FILM_BYTES_MAX,
            Self::Poster => POSTER_BYTES_MAX,
        }
    }

    fn fits(self, mime: &str) -> bool {
        match self {
            Self::Film => mime == "video/mp4",
            Self::Poster => mime.starts_with("image/"),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    reel: String,
    part: Part,
    hash: String,
    bytes: u64,
    seen_at: Millis,
}

/// The folder, and what is known of it.
#[derive(Debug)]
pub(super) struct Kept {
    folder: PathBuf,
    bytes_max: u64,
    http: reqwest::Client,
    records: Mutex<HashMap<(String, Part), Record>>,
}

/// Why a file could not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error("its address is none that can be asked")]
    Address,
    #[error("it could not be fetched: {0}")]
    Fetch(String),
    #[error("it is neither a film nor a picture that is known")]
    Kind,
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it could not be written")]
    Write(#[from] std::io::Error),
}

/// A file that can be shown.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) bytes: u64,
    pub(super) mime: &'static str,
}

const INDEX: &str = "index.json";

impl Kept {
    /// Opens the folder, which is made when something is kept. `plain_http` lets files come from a simulator.
    pub(super) fn open(folder: PathBuf, bytes_max: u64, plain_http: bool) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(DOWNLOAD_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        let builder = if plain_http {
            builder.tls_certs_only([]).no_proxy()
        } else {
            builder.https_only(true)
        };
        let records: Vec<Record> = match std::fs::read(folder.join(INDEX)) {
            // An index that cannot be read is made anew: the files are fetched again.
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let records = records
            .into_iter()
            .filter(|record| is_hash(&record.hash))
            .map(|record| ((record.reel.clone(), record.part), record));
        Ok(Self {
            folder,
            bytes_max,
            http: builder.build()?,
            records: Mutex::new(records.collect()),
        })
    }

    /// The hash of a reel's file, if it is kept; notes that it was shown.
    pub(super) fn hash_of(&self, reel: &str, part: Part, now: Millis) -> Option<String> {
        let mut records = self.records();
        let record = records.get_mut(&(reel.to_owned(), part))?;
        record.seen_at = record.seen_at.max(now);
        Some(record.hash.clone())
    }

    /// Fetches a file and keeps it.
    pub(super) async fn keep(&self, reel: &str, part: Part, address: &str, now: Millis) -> Result<(), KeepError> {
        let url = Url::parse(address).map_err(|_| KeepError::Address)?;
        let answer = self.http.get(url).send().await.map_err(fetch_failed)?;
        let mut answer = answer.error_for_status().map_err(fetch_failed)?;
        fs::create_dir_all(&self.folder).await?;
        let partial = self.folder.join(format!("{}.partial", partial_name(reel, part)));
        let written = write(&mut answer, part, &partial).await;
        let (hash, bytes) = match written {
            Ok(written) => written,
            Err(error) => {
                // Nothing half stays; if it cannot be removed either, the next try writes over it.
                let _ = fs::remove_file(&partial).await;
                return Err(error);
            }
        };
        fs::rename(&partial, self.folder.join(&hash)).await?;
        let record = Record {
            reel: reel.to_owned(),
            part,
            hash,
            bytes,
            seen_at: now,
        };
        self.records().insert((reel.to_owned(), part), record);
        Ok(())
    }

    /// Lets go of what nobody has seen for long, and of what does not fit; writes the index.
    pub(super) async fn tidy(&self, now: Millis) -> std::io::Result<()> {
        let (gone, index) = {
            let mut records = self.records();
            let mut by_time: Vec<Record> = records.values().cloned().collect();
            by_time.sort_by_key(|record| std::cmp::Reverse(record.seen_at));
            let (mut bytes, mut gone) = (0_u64, Vec::new());
            for (position, record) in by_time.iter().enumerate() {
                bytes = bytes.saturating_add(record.bytes);
                let is_old = now.saturating_sub(record.seen_at) > UNSEEN_MAX;
                if is_old || bytes > self.bytes_max || position >= FILES_MAX {
                    records.remove(&(record.reel.clone(), record.part));
                    gone.push(record.hash.clone());
                }
            }
            gone.retain(|hash| !records.values().any(|record| record.hash == *hash));
            let kept: Vec<&Record> = records.values().collect();
            (gone, serde_json::to_vec(&kept)?)
        };
        for hash in gone {
            match fs::remove_file(self.folder.join(hash)).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let partial = self.folder.join("index.partial");
        fs::write(&partial, index).await?;
        fs::rename(&partial, self.folder.join(INDEX)).await
    }

    /// The file with this hash; `None` where there is none. What it is stands in its first bytes.
    pub(super) async fn read(&self, hash: &str) -> std::io::Result<Option<Opened>> {
        if !is_hash(hash) {
            return Ok(None);
        }
        let mut file = match File::open(self.folder.join(hash)).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = file.metadata().await?.len();
        let mut head = [0; HEAD_BYTES];
        let mut read = 0;
        while read < HEAD_BYTES {
            match file.read(&mut head[read..]).await? {
                0 => break,
                more => read += more,
            }
        }
        Ok(kind_of(&head[..read]).map(|mime| Opened { file, bytes, mime }))
    }

    fn records(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Part), Record>> {
        self.records.lock().expect("no thread panics while it holds this lock")
    }
}

async fn write(answer: &mut reqwest::Response, part: Part, path: &Path) -> Result<(String, u64), KeepError> {
    let mut file = File::create(path).await?;
    let mut hash = Context::new(&SHA256);
    let (mut bytes, mut head) = (0_u64, Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(fetch_failed)? {
        bytes += chunk.len() as u64;
        if bytes > part.bytes_max() {
            return Err(KeepError::TooLarge(part.bytes_max()));
        }
        if head.len() < HEAD_BYTES {
            head.extend(chunk.iter().take(HEAD_BYTES - head.len()));
        }
        hash.update(&chunk);
        file.write_all(&chunk).await?;
    }
    if !kind_of(&head).is_some_and(|mime| part.fits(mime)) {
        return Err(KeepError::Kind);
    }
    file.sync_all().await?;
    Ok((hex::encode(hash.finish()), bytes))
}

fn fetch_failed(error: reqwest::Error) -> KeepError {
    // The address is signed.
    KeepError::Fetch(error.without_url().to_string())
}

/// A name that no id can lead astray with.
fn partial_name(reel: &str, part: Part) -> String {
    let digest = aws_lc_rs::digest::digest(&SHA256, format!("{reel} {part:?}").as_bytes());
    hex::encode(&digest.as_ref()[..16])
}

fn is_hash(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(is_digit)
}

const HEAD_BYTES: usize = 12;

/// What a file is, by its first bytes.
fn kind_of(head: &[u8]) -> Option<&'static str> {
    match head {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("video/mp4"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kept: &Kept, reel: &str, bytes: u64, seen_at: Millis) -> String {
        let hash = hex::encode(aws_lc_rs::digest::digest(&SHA256, reel.as_bytes()));
        std::fs::create_dir_all(&kept.folder).unwrap();
        std::fs::write(kept.folder.join(&hash), b"\x89PNG").unwrap();
        let record = Record {
            reel: reel.to_owned(),
            part: Part::Poster,
            hash: hash.clone(),
            bytes,
            seen_at,
        };
        kept.records().insert((reel.to_owned(), Part::Poster), record);
        hash
    }

    #[tokio::test]
    async fn what_is_unseen_or_does_not_fit_goes_and_the_rest_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Kept::open(folder.path().join("reels"), 100, true).unwrap();
        let kept = open();
        let now = 100 * UNSEEN_MAX;
        let newest = record(&kept, "newest", 60, now);
        let too_much = record(&kept, "too much", 60, now - 1);
        let unseen = record(&kept, "unseen", 1, now - UNSEEN_MAX - 1);
        kept.tidy(now).await.unwrap();
        for (hash, is_there) in [(&newest, true), (&too_much, false), (&unseen, false)] {
            assert_eq!(kept.read(hash).await.unwrap().is_some(), is_there, "{hash}");
        }
        let again = open();
        assert_eq!(again.hash_of("newest", Part::Poster, now), Some(newest));
        assert_eq!(again.hash_of("unseen", Part::Poster, now), None);
        for stray in ["", "..", "../index.json", "index.json", &"A".repeat(64)] {
            assert!(again.read(stray).await.unwrap().is_none(), "{stray}");
        }
    }

    #[test]
    fn files_are_told_apart_by_what_is_in_them() {
        assert_eq!(kind_of(b"\0\0\0\x18ftypmp42"), Some("video/mp4"));
        assert_eq!(kind_of(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(kind_of(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(kind_of(b"<html>"), None);
        assert_eq!(kind_of(b""), None);
    }
}
