//! Media: what customers send and what a business uploads (whatsapp.md 11, instagram.md 2.5).
//!
//! A customer's picture is the one in its `data:` address, or else a stand-in that is drawn from the address: the sandbox
//! calls out to nobody. What is held is bounded; when full, the oldest go, as they would after their days at Meta.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use axum::body::Bytes;
use serde::Serialize;

use crate::lock;
use crate::samples::png;

/// Ids from webhooks live 7 days, uploaded ones 30.
pub(crate) const INBOUND_MILLIS: i64 = 7 * 86_400_000;
pub(crate) const UPLOADED_MILLIS: i64 = 30 * 86_400_000;
/// How long a download address works.
pub(crate) const LINK_MILLIS: i64 = 5 * 60_000;

#[derive(Debug, Clone)]
pub(crate) struct Media {
    pub(crate) bytes: Bytes,
    pub(crate) mime: String,
    /// The phone number or Instagram account that received or uploaded it; nobody else may use it.
    pub(crate) owner: String,
    pub(crate) expires_at: i64,
}

impl Media {
    pub(crate) fn sha256(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, &self.bytes).as_ref().to_vec()
    }
}

/// How many files are on their way, in either direction. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transfers(Arc<Mutex<TransferCount>>);

/// How many files are, and were, on their way: uploads and downloads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferCount {
    /// Now.
    pub now: u64,
    /// At once, at most.
    pub most: u64,
    /// Altogether.
    pub total: u64,
}

/// One that is on its way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Transfer(Transfers);

impl Transfers {
    pub(crate) fn begin(&self) -> Transfer {
        let mut count = lock(&self.0);
        count.now += 1;
        count.total += 1;
        count.most = count.most.max(count.now);
        Transfer(self.clone())
    }

    pub(crate) fn count(&self) -> TransferCount {
        *lock(&self.0)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        lock(&self.0.0).now -= 1;
    }
}

#[derive(Debug)]
pub(crate) struct MediaStore {
    items: HashMap<String, Media>,
    order: VecDeque<String>,
    bytes_held: usize,
    bytes_max: usize,
}

impl MediaStore {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            items: HashMap::new(),
            order: VecDeque::new(),
            bytes_held: 0,
            bytes_max,
        }
    }

    pub(crate) fn add(&mut self, id: String, media: Media) {
        self.bytes_held += media.bytes.len();
        self.order.push_back(id.clone());
        self.items.insert(id, media);
        while self.bytes_held > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: &str, now: i64) -> Option<&Media> {
        self.items.get(id).filter(|media| media.expires_at > now)
    }

    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(media) = self.items.remove(id) {
            self.bytes_held -= media.bytes.len();
        }
    }
}

/// The picture at an address: the one it holds, or a stand-in; and its media type.
pub(crate) fn picture(address: &str) -> (Bytes, String) {
    let held = address
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"))
        .filter(|(mime, _)| matches!(*mime, "image/png" | "image/jpeg"))
        .and_then(|(mime, text)| Some((Bytes::from(decode_base64(text)?), mime.to_owned())));
    held.unwrap_or_else(|| {
        let hash = digest::digest(&digest::SHA256, address.as_bytes());
        (Bytes::from(draw(hash.as_ref())), "image/png".to_owned())
    })
}

/// Length of a stand-in's sides, in pixels.
const SIDE: usize = 48;

/// A PNG with a pattern of two colours, made from the hash.
fn draw(hash: &[u8]) -> Vec<u8> {
    let byte = |position: usize| hash.get(position).copied().unwrap_or_default();
    let (paint, ground) = (
        [byte(0), byte(1), byte(2)],
        [byte(3) | 0x80, byte(4) | 0x80, byte(5) | 0x80],
    );
    let mut pixels = Vec::with_capacity(SIDE * (1 + 3 * SIDE));
    for y in 0..SIDE {
        // Each line begins with its filter: none.
        pixels.push(0);
        for x in 0..SIDE {
            // Six by six fields, left and right alike.
            let (column, line) = (x * 6 / SIDE, y * 6 / SIDE);
            let bit = line * 3 + column.min(5 - column);
            let is_painted = byte(8 + bit / 8) >> (bit % 8) & 1 == 1;
            pixels.extend(if is_painted { paint } else { ground });
        }
    }
    png::write((SIDE, SIDE), None, &pixels)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// With padding, as in the hashes of media webhooks.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            if position <= chunk.len() {
                let index = group >> (18 - 6 * position) & 63;
                text.push(char::from(BASE64[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut group, mut bits) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = BASE64.iter().position(|known| *known == letter)?;
        group = (group << 6 | value as u32) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode_base64, encode_base64, picture};

    #[test]
    fn base64_goes_there_and_back() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode_base64(bytes.as_bytes()), text);
            assert_eq!(decode_base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode_base64("no base64!"), None);
    }

    #[test]
    fn a_picture_is_the_one_given_or_one_of_its_own() {
        let (bytes, mime) = picture("data:image/jpeg;base64,Zm9v");
        assert_eq!((&bytes[..], mime.as_str()), (&b"foo"[..], "image/jpeg"));
        let (one, mime) = picture("https://pictures.example/1.jpg");
        assert_eq!(mime, "image/png");
        assert!(one.starts_with(b"\x89PNG"));
        assert_eq!(one, picture("https://pictures.example/1.jpg").0);
        assert_ne!(one, picture("https://pictures.example/2.jpg").0);
    }
}
