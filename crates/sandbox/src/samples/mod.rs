//! Sample files, made in code: what a customer sends who has no file at hand, and the films that accounts post.
//!
//! Each is small, valid, and shown or played by browsers: a [`jpeg`] and a PNG picture, a [`film`], a [`voice`] message, a [`page`] of PDF, and
//! [`sticker`]s that stand still or move. The same seed text makes the same bytes.

pub(crate) mod film;
mod jpeg;
mod page;
pub(crate) mod png;
mod sticker;
mod voice;

use aws_lc_rs::digest;
use axum::body::Bytes;

use crate::media::{decode_base64, picture};

/// What a customer sends as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound, recorded or not.
    Audio,
    /// A document.
    Document,
    /// A sticker that stands still.
    Sticker,
    /// A sticker that moves.
    AnimatedSticker,
}

/// What a `data:` address may hold: nothing that a browser would run.
const HELD: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "video/mp4",
    "video/3gpp",
    "audio/aac",
    "audio/amr",
    "audio/mpeg",
    "audio/mp4",
    "audio/ogg",
    "application/pdf",
    "text/plain",
];

/// The file at an address, and its media type: the one that a `data:` address holds, or else a sample of this kind. Samples look
/// different from seed to seed, and where there is an address, from address to address.
pub(crate) fn file(kind: Kind, address: &str, seed: &str) -> (Bytes, String) {
    if let Some(held) = held(address) {
        return held;
    }
    let seed = if address.is_empty() { seed } else { address };
    let hash = digest::digest(&digest::SHA256, seed.as_bytes());
    let hash = hash.as_ref();
    let (bytes, mime) = match kind {
        // Without an address it is a photo; with one the stand-in that pictures always had.
        Kind::Image if address.is_empty() => (jpeg::make(hash), "image/jpeg"),
        Kind::Image => return picture(address),
        Kind::Video => (film::film(hash), "video/mp4"),
        Kind::Audio => (voice::make(), "audio/ogg; codecs=opus"),
        Kind::Document => (page::make(address), "application/pdf"),
        Kind::Sticker => (sticker::still(), "image/webp"),
        Kind::AnimatedSticker => (sticker::moving(), "image/webp"),
    };
    (Bytes::from(bytes), mime.to_owned())
}

fn held(address: &str) -> Option<(Bytes, String)> {
    let (mime, text) = address.strip_prefix("data:")?.split_once(";base64,")?;
    let mime = mime.trim().to_ascii_lowercase();
    HELD.contains(&mime.split(';').next()?.trim()).then_some(())?;
    // It stands in headers later.
    mime.bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        .then_some(())?;
    Some((Bytes::from(decode_base64(text)?), mime))
}

/// Bits, the first one lowest or highest in its byte.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    /// Appends the lowest `count` bits of the value, the highest of them first.
    fn high_first(&mut self, value: u32, count: u32) {
        for position in (0..count).rev() {
            self.push(value >> position & 1, |used| 7 - used);
        }
    }

    /// Appends the lowest `count` bits of the value, the lowest of them first.
    fn low_first(&mut self, value: u32, count: u32) {
        for position in 0..count {
            self.push(value >> position & 1, |used| used);
        }
    }

    fn push(&mut self, bit: u32, place: impl Fn(u32) -> u32) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= (bit as u8) << place(self.used);
        }
        self.used = (self.used + 1) % 8;
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, file};

    #[test]
    fn each_sample_begins_as_its_format_does() {
        let cases: [(Kind, &str, usize, &[u8], &str); 6] = [
            (Kind::Image, "", 0, b"\xff\xd8\xff\xe0", "image/jpeg"),
            (Kind::Video, "", 4, b"ftypisom", "video/mp4"),
            (Kind::Audio, "", 0, b"OggS", "audio/ogg; codecs=opus"),
            (Kind::Document, "", 0, b"%PDF-1.4", "application/pdf"),
            (Kind::Sticker, "", 8, b"WEBPVP8L", "image/webp"),
            (Kind::AnimatedSticker, "", 8, b"WEBPVP8X", "image/webp"),
        ];
        for (kind, address, at, start, mime) in cases {
            let (bytes, found) = file(kind, address, "");
            assert!(bytes[at..].starts_with(start), "{kind:?}");
            assert_eq!(found, mime);
            assert_eq!(bytes, file(kind, address, "").0, "{kind:?} is the same each time");
        }
    }

    /// whatsapp.md 11.
    #[test]
    fn stickers_are_small_enough_for_whatsapp() {
        assert!(file(Kind::Sticker, "", "").0.len() <= 100_000);
        assert!(file(Kind::AnimatedSticker, "", "").0.len() <= 500_000);
    }

    #[test]
    fn a_data_address_holds_its_own_file_unless_a_browser_would_run_it() {
        let (bytes, mime) = file(Kind::Document, "data:text/plain;base64,Zm9v", "");
        assert_eq!((&bytes[..], mime.as_str()), (&b"foo"[..], "text/plain"));
        let (_, mime) = file(Kind::Document, "data:text/html;base64,Zm9v", "");
        assert_eq!(mime, "application/pdf");
    }
}
