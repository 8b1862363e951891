//! A file that is being written: under a name of its own, hashed and counted on the way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::media::model::FileHash;
use crate::media::sniff::HEAD_BYTES;

/// Tells the files of one process apart; those of several, their process ids do.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// How many leftovers are removed at once.
const LEFTOVERS_MAX: usize = 10_000;

/// A file that is not whole yet. Dropping it removes it.
pub struct Unfinished {
    file: File,
    path: Removed,
    hash: digest::Context,
    size: u64,
    bytes_max: u64,
    head: Vec<u8>,
}

/// A whole file, flushed to disk, that has no name yet. Dropping it removes it.
#[derive(Debug)]
pub struct Finished {
    /// Its hash.
    pub sha256: FileHash,
    /// How large it is, in bytes.
    pub size: u64,
    /// What it begins with.
    pub head: Vec<u8>,
    path: Removed,
}

/// A path whose file is removed when nobody has it any more.
#[derive(Debug)]
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It may have been given its name. What cannot be removed is, with what killed processes have left.
        let _ = fs::remove_file(&self.0);
    }
}

impl std::fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unfinished")
            .field("path", &self.path.0)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Unfinished {
    pub(super) async fn begin(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        tokio::fs::create_dir_all(folder).await?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}-{number}", std::process::id()));
        // One of that name was left by a process with the same id that was killed.
        let file = File::create(&path).await?;
        Ok(Self {
            file,
            path: Removed(path),
            hash: digest::Context::new(&digest::SHA256),
            size: 0,
            bytes_max,
            head: Vec::new(),
        })
    }

    /// Adds to its end. [`io::ErrorKind::FileTooLarge`]: it would become longer than it may.
    pub async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.size += chunk.len() as u64;
        if self.size > self.bytes_max {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.hash.update(chunk);
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..room]);
        self.file.write_all(chunk).await
    }

    /// How much has been written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// It is whole: flushes it to disk.
    pub async fn finish(mut self) -> io::Result<Finished> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let hash = self.hash.finish();
        Ok(Finished {
            sha256: FileHash::from_slice(hash.as_ref()).expect("SHA-256 has 32 bytes"),
            size: self.size,
            head: self.head,
            path: self.path,
        })
    }
}

impl Finished {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path.0
    }
}

/// Removes files that no process of this machine has under way any more: those of the processes that are gone, as far as can be told by their
/// age, since several nodes may share the folder.
pub(super) async fn clear(folder: &Path) -> io::Result<usize> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || clear_now(&folder))
        .await
        .map_err(io::Error::other)?
}

fn clear_now(folder: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let own = format!("{}-", std::process::id());
    let mut removed = 0;
    for entry in entries.take(LEFTOVERS_MAX) {
        let entry = entry?;
        let is_own = entry.file_name().to_string_lossy().starts_with(&own);
        let age = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = age.is_ok_and(is_over);
        if !is_own && is_old && fs::remove_file(entry.path()).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// No transfer takes so long: the file system's times are compared with the system's, not with the hub's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the age of a file is a matter of the file system's clock"
)]
fn is_over(written_at: std::time::SystemTime) -> bool {
    const OLD: std::time::Duration = std::time::Duration::from_hours(24);
    written_at.elapsed().is_ok_and(|age| age > OLD)
}
