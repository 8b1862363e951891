//! Who may call: API keys, and which routes need one.
//!
//! So far there is one key, which may do everything. It comes from the settings, or is made on first start and kept in a file that only
//! its owner can read. In memory there is its SHA-256 alone, and what a caller shows is compared with it in constant time.
//!
//! A handler that needs a key takes a [`Caller`]; which routes those are is declared beside each route in `routes.rs`, and a test walks
//! all of them.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use secrecy::{ExposeSecret, SecretString};

use crate::app::App;
use crate::config::Config;
use crate::http::problem::{Code, Problem};

/// Who may call a route. Every route declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone: it tells that the hub lives, or what the business shows to everybody anyway.
    Public,
    /// Meta: a notification proves itself by its signature, a verification by its token.
    Meta,
    /// Whoever has a signed link, while it holds.
    Link,
    /// Another system of the business: a request proves itself by its signature.
    Signed,
    /// Whoever has an API key.
    Key,
}

/// The API keys, hashed.
#[derive(Clone)]
pub struct Keys {
    admin: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// Why there is no API key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{path} cannot be read or written; set TIDINGS_ADMIN_KEY, or give the hub the right to its data folder", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("{path} holds no key; delete it, and a new one is made", path = .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The file of the key that the hub has made, in the data folder.
pub const KEY_FILE: &str = "admin.key";

impl Keys {
    /// With this key alone.
    pub fn new(admin: &SecretString) -> Self {
        Self {
            admin: hash(admin.expose_secret()),
        }
    }

    /// With the key of the settings; without one there, with that of the key file, which is made where it is absent.
    pub fn load(config: &Config) -> Result<Self, KeyError> {
        match &config.admin_key {
            Some(key) => Ok(Self::new(key)),
            None => key_of_file(&config.data_dir).map(|key| Self::new(&key)),
        }
    }

    /// Whose key this is.
    pub fn caller(&self, key: &str) -> Option<Caller> {
        verify_slices_are_equal(&hash(key), &self.admin)
            .is_ok()
            .then_some(Caller { id: "admin" })
    }
}

fn hash(key: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    hash
}

fn key_of_file(folder: &Path) -> Result<SecretString, KeyError> {
    let path = folder.join(KEY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Err(KeyError::Empty { path }),
        Ok(text) => Ok(SecretString::from(text.trim())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = make_key();
            match write_key(folder, &path, &key) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "an API key was made; it is in this file");
                    Ok(key)
                }
                Err(source) => Err(KeyError::File { path, source }),
            }
        }
        Err(source) => Err(KeyError::File { path, source }),
    }
}

/// A key of 256 random bits.
fn make_key() -> SecretString {
    let mut random = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut random).expect("the system has randomness to give");
    SecretString::from(format!("tdk_{}", hex::encode(random)))
}

fn write_key(folder: &Path, path: &Path, key: &SecretString) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Somebody with an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    id: &'static str,
}

impl Caller {
    /// What tells this caller from others; not the key.
    pub fn id(&self) -> &'static str {
        self.id
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Some(given) = parts.headers.get(header::AUTHORIZATION) else {
            return Err(Problem::new(
                Code::Unauthorized,
                "The header `Authorization` is missing.",
            ));
        };
        given
            .to_str()
            .ok()
            .and_then(bearer)
            .and_then(|key| app.keys.caller(key))
            .ok_or_else(|| {
                Problem::new(
                    Code::Unauthorized,
                    "The header `Authorization` is not `Bearer` and an API key of this hub.",
                )
            })
    }
}

/// The key in an `Authorization` header; the scheme's letters may be large or small (RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Somebody who may read the metrics: with an API key, or from an address that the settings name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsReader;

impl FromRequestParts<App> for MetricsReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let peer: Option<IpAddr> = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0.ip().to_canonical());
        if peer.is_some_and(|peer| app.config.metrics_allow.contains(&peer)) {
            return Ok(Self);
        }
        Caller::from_request_parts(parts, app).await.map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};

    use super::{KEY_FILE, Keys, bearer, key_of_file};

    #[test]
    fn only_the_key_itself_is_the_key() {
        let keys = Keys::new(&SecretString::from("correct-horse-battery"));
        assert!(keys.caller("correct-horse-battery").is_some());
        for wrong in [
            "",
            "correct-horse-batter",
            "correct-horse-battery ",
            "Correct-horse-battery",
        ] {
            assert!(keys.caller(wrong).is_none(), "{wrong:?}");
        }
        assert!(!format!("{keys:?}").contains("correct"));
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bEARER  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }

    #[test]
    fn a_key_is_made_once_and_kept_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("data");
        let first = key_of_file(&folder).unwrap();
        assert!(first.expose_secret().len() >= 64);
        assert_eq!(key_of_file(&folder).unwrap().expose_secret(), first.expose_secret());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.join(KEY_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn an_empty_key_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(KEY_FILE), "\n").unwrap();
        assert!(
            key_of_file(folder.path())
                .unwrap_err()
                .to_string()
                .contains("holds no key")
        );
    }
}
