//! Files in a folder.

use std::fs;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::unfinished::Finished;
use super::{CHUNK_BYTES, Chunks, path_of};
use crate::media::model::FileHash;

/// A folder with files. It is made when the first file comes.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// In this folder.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) async fn put(&self, file: Finished) -> io::Result<()> {
        let to = self.path.join(path_of(file.sha256));
        tokio::task::spawn_blocking(move || move_to(&file, &to))
            .await
            .map_err(io::Error::other)?
    }

    pub(super) async fn read(&self, sha256: FileHash, range: Range<u64>) -> io::Result<Option<Chunks>> {
        let mut file = match File::open(self.path.join(path_of(sha256))).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start)).await?;
        }
        let part = file.take(range.end.saturating_sub(range.start));
        Ok(Some(ReaderStream::with_capacity(part, CHUNK_BYTES).boxed()))
    }

    pub(super) async fn remove(&self, sha256: FileHash) -> io::Result<()> {
        match tokio::fs::remove_file(self.path.join(path_of(sha256))).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Gives a file its name, so that it has it after a power cut too.
fn move_to(file: &Finished, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(to);
    let is_new = !folder.is_dir();
    fs::create_dir_all(folder)?;
    match fs::rename(file.path(), to) {
        // The folder may be another disk than that of what is unfinished.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let beside = to.with_extension("copy");
            fs::copy(file.path(), &beside)?;
            fs::File::open(&beside)?.sync_all()?;
            fs::rename(&beside, to)?;
        }
        renamed => renamed?,
    }
    sync_folder(folder)?;
    if is_new {
        for above in folder.ancestors().skip(1).take(2) {
            sync_folder(above)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
