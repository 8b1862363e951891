//! Files in a bucket of an S3-compatible object store: for several nodes, none of which keeps anything on its own disk.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use secrecy::ExposeSecret;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::unfinished::Finished;
use super::{CHUNK_BYTES, Chunks, path_of};
use crate::config::BucketConfig;
use crate::media::model::FileHash;

/// How much of a file is sent at once, and so in memory: S3 takes parts from 5 MiB on, 10,000 of them, which is more than the largest file.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// How long one request may take, and how often it is made before it has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
const TRIES_MAX: usize = 3;
const TRIES_WITHIN: Duration = Duration::from_mins(2);

/// A bucket, or what stands in for one.
#[derive(Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: String,
}

impl Bucket {
    /// As the settings say.
    pub fn new(config: &BucketConfig) -> Result<Self, Error> {
        let options = ClientOptions::new()
            .with_timeout(REQUEST_TIMEOUT)
            .with_allow_http(config.endpoint.as_deref().is_some_and(|url| url.starts_with("http://")));
        let retry = RetryConfig {
            max_retries: TRIES_MAX,
            retry_timeout: TRIES_WITHIN,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.name)
            .with_region(&config.region)
            .with_client_options(options)
            .with_retry(retry)
            // The name of the bucket in the path, which every S3-compatible store understands, Amazon's own included.
            .with_virtual_hosted_style_request(false)
            // Removing several at once is what some of them lack.
            .with_disable_bulk_delete(true);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some((id, secret)) = &config.keys {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret.expose_secret());
        }
        Ok(Self::over(Arc::new(builder.build()?), &config.prefix))
    }

    /// Over any object store, below a prefix.
    pub fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Self { store, prefix }
    }

    fn path(&self, sha256: FileHash) -> Path {
        Path::from(format!("{}{}", self.prefix, path_of(sha256)))
    }

    pub(super) async fn put(&self, file: Finished) -> io::Result<()> {
        let path = self.path(file.sha256);
        let mut source = File::open(file.path()).await?;
        source.set_max_buf_size(CHUNK_BYTES);
        let mut part = BytesMut::new();
        if file.size <= PART_BYTES as u64 {
            read_part(&mut source, &mut part, file.size as usize).await?;
            self.store
                .put(&path, PutPayload::from(part.freeze()))
                .await
                .map_err(io::Error::other)?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&path).await.map_err(io::Error::other)?;
        let parts = async {
            loop {
                read_part(&mut source, &mut part, PART_BYTES).await?;
                if part.is_empty() {
                    return Ok::<_, io::Error>(());
                }
                // One after the other: two of them are two in memory.
                upload
                    .put_part(PutPayload::from(part.split().freeze()))
                    .await
                    .map_err(io::Error::other)?;
            }
        };
        let sent = match parts.await {
            Ok(()) => upload.complete().await.map(|_| ()).map_err(io::Error::other),
            Err(error) => Err(error),
        };
        if sent.is_err() {
            // What was sent goes with the bucket's own rules for unfinished uploads if this fails too.
            let _ = upload.abort().await;
        }
        sent
    }

    pub(super) async fn read(&self, sha256: FileHash, range: Range<u64>) -> io::Result<Option<Chunks>> {
        if range.is_empty() {
            // There is no such range in HTTP.
            return match self.store.head(&self.path(sha256)).await {
                Ok(_) => Ok(Some(futures_util::stream::empty().boxed())),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(io::Error::other(error)),
            };
        }
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(range)));
        match self.store.get_opts(&self.path(sha256), options).await {
            Ok(found) => Ok(Some(found.into_stream().map_err(io::Error::other).boxed())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    pub(super) async fn remove(&self, sha256: FileHash) -> io::Result<()> {
        match self.store.delete(&self.path(sha256)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// Reads so much of a file, or what is left of it: into the memory that the part before it was in, if nobody has that any more.
async fn read_part(source: &mut File, part: &mut BytesMut, length: usize) -> io::Result<()> {
    part.reserve(length);
    let mut part = part.limit(length);
    while part.has_remaining_mut() && source.read_buf(&mut part).await? > 0 {}
    Ok(())
}
