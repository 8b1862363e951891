//! Where files are: a folder, or a bucket of an object store, by the hash of what is in them.
//!
//! A file is written under another name first ([`Unfinished`]), and hashed on the way; only when it is whole and flushed to disk does it get the
//! name of its hash. So under such a name there is the whole file or none, and putting the same file twice does no harm.
//!
//! Guarantee: a file of any size takes a few chunks of memory, up and down.

mod bucket;
mod folder;
mod unfinished;

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::config::MediaConfig;
use crate::media::model::FileHash;

pub use bucket::Bucket;
pub use folder::Folder;
pub use unfinished::{Finished, Unfinished};

/// How much of a file is held at once while it is read.
const CHUNK_BYTES: usize = 64 * 1024;

/// What is read from a file.
pub type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// Where files are.
#[derive(Debug)]
pub struct Depot {
    /// Where files are while they are not whole.
    unfinished: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder(Folder),
    Bucket(Bucket),
}

impl Depot {
    /// As the settings say; nothing is made, and nobody called, before it is needed.
    pub fn new(config: &MediaConfig) -> Result<Self, object_store::Error> {
        let place = match &config.bucket {
            Some(bucket) => Place::Bucket(Bucket::new(bucket)?),
            None => Place::Folder(Folder::new(config.dir.clone())),
        };
        Ok(Self {
            unfinished: config.dir.join("unfinished"),
            place,
        })
    }

    /// A new file, to be written; one that becomes longer than that is refused.
    pub async fn begin(&self, bytes_max: u64) -> io::Result<Unfinished> {
        Unfinished::begin(&self.unfinished, bytes_max).await
    }

    /// Gives a whole file its name.
    pub async fn put(&self, file: Finished) -> io::Result<()> {
        match &self.place {
            Place::Folder(folder) => folder.put(file).await,
            Place::Bucket(bucket) => bucket.put(file).await,
        }
    }

    /// Reads a part of a file; `None` if it is not there.
    pub async fn read(&self, sha256: FileHash, range: Range<u64>) -> io::Result<Option<Chunks>> {
        match &self.place {
            Place::Folder(folder) => folder.read(sha256, range).await,
            Place::Bucket(bucket) => bucket.read(sha256, range).await,
        }
    }

    /// Removes a file; one that is not there is as good as removed.
    pub async fn remove(&self, sha256: FileHash) -> io::Result<()> {
        match &self.place {
            Place::Folder(folder) => folder.remove(sha256).await,
            Place::Bucket(bucket) => bucket.remove(sha256).await,
        }
    }

    /// Removes what processes that were killed have left unfinished.
    pub async fn clear(&self) -> io::Result<usize> {
        unfinished::clear(&self.unfinished).await
    }
}

/// A file's path below its folder or bucket: two levels, so that no folder has millions of files.
fn path_of(sha256: FileHash) -> String {
    let name = sha256.to_string();
    format!("{}/{}/{name}", &name[..2], &name[2..4])
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use futures_util::TryStreamExt;

    use super::{Bucket, Depot, Folder, Place};
    use crate::media::model::FileHash;

    fn depots(folder: &std::path::Path) -> Vec<Depot> {
        let unfinished = folder.join("unfinished");
        let bucket = Bucket::over(std::sync::Arc::new(object_store::memory::InMemory::new()), "kept/here");
        let places = [Place::Folder(Folder::new(folder.join("media"))), Place::Bucket(bucket)];
        places
            .into_iter()
            .map(|place| Depot {
                unfinished: unfinished.clone(),
                place,
            })
            .collect()
    }

    async fn keep(depot: &Depot, bytes: &[u8]) -> FileHash {
        let mut file = depot.begin(u64::MAX).await.unwrap();
        for chunk in bytes.chunks(1_000_003) {
            file.write(chunk).await.unwrap();
        }
        let finished = file.finish().await.unwrap();
        assert_eq!(finished.size, bytes.len() as u64);
        let sha256 = finished.sha256;
        depot.put(finished).await.unwrap();
        sha256
    }

    async fn read(depot: &Depot, sha256: FileHash, range: std::ops::Range<u64>) -> Option<Vec<u8>> {
        let chunks = depot.read(sha256, range).await.unwrap()?;
        let chunks: Vec<Bytes> = chunks.try_collect().await.unwrap();
        Some(chunks.concat())
    }

    /// Long enough for several parts of a bucket's upload.
    fn long() -> Vec<u8> {
        (0..20_000_000_u32).map(|number| (number / 7) as u8).collect()
    }

    #[tokio::test]
    async fn what_is_kept_is_read_whole_and_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        for depot in depots(folder.path()) {
            for bytes in [Vec::new(), b"hello".to_vec(), long()] {
                let sha256 = keep(&depot, &bytes).await;
                assert_eq!(keep(&depot, &bytes).await, sha256, "once more does no harm");
                let length = bytes.len() as u64;
                assert_eq!(read(&depot, sha256, 0..length).await.unwrap(), bytes);
                if length > 3 {
                    assert_eq!(
                        read(&depot, sha256, 1..length - 1).await.unwrap(),
                        bytes[1..bytes.len() - 1]
                    );
                    assert_eq!(read(&depot, sha256, 2..3).await.unwrap(), bytes[2..3]);
                }
                depot.remove(sha256).await.unwrap();
                depot.remove(sha256).await.unwrap();
                assert_eq!(read(&depot, sha256, 0..length).await, None);
            }
        }
        assert!(
            std::fs::read_dir(folder.path().join("unfinished"))
                .unwrap()
                .next()
                .is_none(),
            "nothing is left unfinished"
        );
    }

    #[tokio::test]
    async fn a_hash_is_that_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let [depot, _] = &depots(folder.path())[..] else {
            panic!()
        };
        let sha256 = keep(depot, b"abc").await;
        // The example of FIPS 180-2.
        assert_eq!(
            sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let kept = folder.path().join("media/ba/78").join(sha256.to_string());
        assert_eq!(std::fs::read(kept).unwrap(), b"abc");
    }

    #[tokio::test]
    async fn a_file_that_is_too_long_or_given_up_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let [depot, _] = &depots(folder.path())[..] else {
            panic!()
        };
        let mut file = depot.begin(10).await.unwrap();
        file.write(b"0123456789").await.unwrap();
        let error = file.write(b"0").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        drop(file);
        let mut given_up = depot.begin(10).await.unwrap();
        given_up.write(b"0").await.unwrap();
        drop(given_up);
        assert_eq!(depot.clear().await.unwrap(), 0);
    }
}
