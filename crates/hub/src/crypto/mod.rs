//! Secrets at rest: sealed with a key of this installation before they go into the store, opened when they come out of it.
//!
//! AES-256-GCM with a random nonce. What is sealed is bound to its [`Place`], so that a row's secret opens in no other row; and it names
//! the key that sealed it, so that a wrong key is told apart from damage.
//!
//! The master key comes from `TIDINGS_MASTER_KEY`, or from the file [`KEY_FILE`] in the data folder, made on first start. Nodes that share a
//! store share the key. It is never used itself: one key is derived from it for sealing, others for fingerprints, for links and for
//! cursors.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretString};

use crate::config::Config;

/// The file of the key that the hub has made, in the data folder.
pub const KEY_FILE: &str = "master.key";

/// The first byte of everything that is sealed: how it is laid out.
const LAYOUT: u8 = 1;
const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 8;
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_LEN;

/// Where something sealed is kept: it opens there and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row's id.
    pub row: &'a str,
}

impl Place<'_> {
    fn associated_data(&self) -> String {
        format!("{}:{}:{}", self.table, self.column, self.row)
    }
}

/// Seals and opens with the key of this installation.
pub struct Keyring {
    id: [u8; KEY_ID_BYTES],
    sealing: RandomizedNonceKey,
    fingerprints: hmac::Key,
    links: hmac::Key,
    cursors: hmac::Key,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("id", &hex::encode(self.id))
            .finish_non_exhaustive()
    }
}

/// Why something sealed does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another key sealed it.
    #[error(
        "it was sealed with another master key ({sealed_with}) than this hub has ({present}): set TIDINGS_MASTER_KEY to that key, or put the \
         file {KEY_FILE} of the data folder back"
    )]
    OtherKey {
        /// The id of the key that it was sealed with.
        sealed_with: String,
        /// The id of the key that is here.
        present: String,
    },
    /// It is not what was sealed, or it stands in another place.
    #[error("it is damaged, or was moved from another row: restore it from a backup, or give the secret again")]
    Damaged,
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{path} cannot be read or written; set TIDINGS_MASTER_KEY, or give the hub the right to its data folder", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("{path} holds no master key, which is 64 hexadecimal digits; put back what was in it, for what was sealed with it opens with nothing else", path = .path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

/// The key that a text stands for: 64 hexadecimal digits.
pub fn is_master_key(text: &str) -> bool {
    let mut key = [0; KEY_BYTES];
    let is_key = hex::decode_to_slice(text.trim(), &mut key).is_ok();
    key.zeroize();
    is_key
}

impl Keyring {
    /// With the key of the settings; without one there, with that of the key file, which is made where it is absent.
    pub fn load(config: &Config) -> Result<Self, KeyError> {
        match &config.master_key {
            Some(key) => Self::of(key).ok_or_else(|| KeyError::NotAKey {
                path: PathBuf::from("TIDINGS_MASTER_KEY"),
            }),
            None => Self::of_file(&config.data_dir),
        }
    }

    /// With a key as text; `None` if it is none.
    pub fn of(text: &SecretString) -> Option<Self> {
        let mut key = [0; KEY_BYTES];
        hex::decode_to_slice(text.expose_secret().trim(), &mut key).ok()?;
        let master = hmac::Key::new(hmac::HMAC_SHA256, &key);
        key.zeroize();
        let derive = |purpose: &str| hmac::sign(&master, purpose.as_bytes());
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&derive("tidings: key id").as_ref()[..KEY_ID_BYTES]);
        Some(Self {
            id,
            sealing: RandomizedNonceKey::new(&AES_256_GCM, derive("tidings: sealing").as_ref())
                .expect("the key has the length of the cipher's"),
            fingerprints: hmac::Key::new(hmac::HMAC_SHA256, derive("tidings: fingerprints").as_ref()),
            links: hmac::Key::new(hmac::HMAC_SHA256, derive("tidings: links").as_ref()),
            cursors: hmac::Key::new(hmac::HMAC_SHA256, derive("tidings: cursors").as_ref()),
        })
    }

    fn of_file(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(KEY_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => SecretString::from(text),
            Err(error) if error.kind() == ErrorKind::NotFound => match make_file(folder, &path) {
                Ok(key) => {
                    tracing::info!(path = %path.display(), "a master key was made; keep a copy of this file: secrets in the store open with it alone");
                    key
                }
                Err(source) => return Err(KeyError::File { path, source }),
            },
            Err(source) => return Err(KeyError::File { path, source }),
        };
        Self::of(&text).ok_or(KeyError::NotAKey { path })
    }

    /// Seals a secret for a place.
    pub fn seal(&self, place: Place<'_>, secret: &SecretString) -> Vec<u8> {
        let mut text = secret.expose_secret().as_bytes().to_vec();
        let associated = Aad::from(place.associated_data());
        // In its place: what was readable is so no more.
        let nonce = self
            .sealing
            .seal_in_place_append_tag(associated, &mut text)
            .expect("a secret is far shorter than what the cipher can seal");
        let mut sealed = Vec::with_capacity(HEAD_BYTES + text.len());
        sealed.push(LAYOUT);
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        sealed
    }

    /// Opens what was sealed for a place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<SecretString, OpenError> {
        let (head, text) = sealed.split_at_checked(HEAD_BYTES).ok_or(OpenError::Damaged)?;
        let (layout, rest) = head.split_at(1);
        let (id, nonce) = rest.split_at(KEY_ID_BYTES);
        if layout != [LAYOUT] {
            return Err(OpenError::Damaged);
        }
        if id != self.id {
            return Err(OpenError::OtherKey {
                sealed_with: hex::encode(id),
                present: hex::encode(self.id),
            });
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Damaged)?;
        let mut text = text.to_vec();
        let opened = self
            .sealing
            .open_in_place(nonce, Aad::from(place.associated_data()), &mut text)
            .map_err(|_| OpenError::Damaged)
            .and_then(|opened| std::str::from_utf8(opened).map_err(|_| OpenError::Damaged))
            .map(SecretString::from);
        text.zeroize();
        opened
    }

    /// The key that links are signed with which open without any other key.
    pub fn links(&self) -> &hmac::Key {
        &self.links
    }

    /// What cursors are signed with that go to anybody.
    pub fn cursors(&self) -> &hmac::Key {
        &self.cursors
    }

    /// Tells whether two secrets are the same without keeping either: the same texts have the same fingerprint under this key.
    pub fn fingerprint<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.fingerprints);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().to_vec()
    }
}

fn make_file(folder: &Path, path: &Path) -> std::io::Result<SecretString> {
    let mut random = [0_u8; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut random).expect("the system has randomness to give");
    let key = SecretString::from(hex::encode(random));
    random.zeroize();
    std::fs::create_dir_all(folder)?;
    // Under another name until it is whole: a crash must not leave half a key, since nothing may be made anew where one was.
    let unfinished = path.with_extension("key.new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(key.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    // Before anything is sealed with it: after a power cut the store must not have what opens with no key any more.
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};

    use super::{KEY_FILE, KeyError, Keyring, OpenError, Place, is_master_key};

    fn keyring(digit: &str) -> Keyring {
        Keyring::of(&SecretString::from(digit.repeat(64))).unwrap()
    }

    fn place(row: &str) -> Place<'_> {
        Place {
            table: "channels",
            column: "credentials",
            row,
        }
    }

    #[test]
    fn a_secret_opens_where_it_was_sealed_and_nowhere_else() {
        let keys = keyring("a");
        let secret = SecretString::from("EAAG-token-of-a-channel");
        let sealed = keys.seal(place("whatsapp"), &secret);
        assert!(!sealed.windows(5).any(|window| window == b"token"));
        assert_eq!(
            keys.open(place("whatsapp"), &sealed).unwrap().expose_secret(),
            secret.expose_secret()
        );
        assert_eq!(keys.open(place("instagram"), &sealed).unwrap_err(), OpenError::Damaged);
        let other_column = Place {
            column: "name",
            ..place("whatsapp")
        };
        assert_eq!(keys.open(other_column, &sealed).unwrap_err(), OpenError::Damaged);
        assert_ne!(sealed, keys.seal(place("whatsapp"), &secret), "a nonce is used once");
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let keys = keyring("a");
        let sealed = keys.seal(place("whatsapp"), &SecretString::from("secret"));
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert!(keys.open(place("whatsapp"), &damaged).is_err(), "byte {index}");
            assert!(
                keys.open(place("whatsapp"), &sealed[..index]).is_err(),
                "cut at {index}"
            );
        }
    }

    #[test]
    fn another_key_is_told_with_the_remedy() {
        let sealed = keyring("a").seal(place("whatsapp"), &SecretString::from("secret"));
        let error = keyring("b").open(place("whatsapp"), &sealed).unwrap_err();
        assert!(matches!(error, OpenError::OtherKey { .. }));
        assert!(error.to_string().contains("TIDINGS_MASTER_KEY"), "{error}");
        assert!(!format!("{:?}", keyring("b")).contains("bbbb"));
    }

    #[test]
    fn fingerprints_tell_secrets_apart_and_depend_on_the_key() {
        let keys = keyring("a");
        assert_eq!(keys.fingerprint(["1", "x"]), keys.fingerprint(["1", "x"]));
        assert_ne!(keys.fingerprint(["1", "x"]), keys.fingerprint(["1x", ""]));
        assert_ne!(keys.fingerprint(["1", "x"]), keyring("b").fingerprint(["1", "x"]));
    }

    #[test]
    fn a_key_is_made_once_and_kept_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("data");
        let first = Keyring::of_file(&folder).unwrap();
        assert_eq!(Keyring::of_file(&folder).unwrap().id, first.id);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.join(KEY_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(folder.join(KEY_FILE), "not a key\n").unwrap();
        assert!(matches!(Keyring::of_file(&folder), Err(KeyError::NotAKey { .. })));
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        assert!(is_master_key(&"0F".repeat(32)));
        for wrong in ["", "0f", &"0f".repeat(33), &"0g".repeat(32)] {
            assert!(!is_master_key(wrong), "{wrong}");
        }
    }
}
