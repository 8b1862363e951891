//! A file of the journal: records one after the other, from the beginning anew in each round.
//!
//! A record is a head of [`HEAD_BYTES`] and the body as Meta sent it:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | [`MAGIC`] |
//! | 4..8 | the length of the body |
//! | 8..16 | the round, a random number: what is left of earlier rounds behind the last record has another one |
//! | 16..24 | when it came in, epoch milliseconds |
//! | 24 | the platform |
//! | 25 | 1: it was signed |
//! | 26..32 | zero |
//! | 32..48 | the first half of the SHA-256 of the head before it and the body |
//!
//! Numbers have their lowest byte first. What is read ends with the first record that is not whole, or of another round.
//!
//! The file keeps its length: to write over what is there, the disk has one flush to do, and none to note that the file has grown.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use axum::body::Bytes;
use tidings_meta::notification::Platform;

use crate::conversations::model::Millis;
use crate::ids::NotificationId;
use crate::store::events::QuarantinedNotification;

/// What a record begins with; the last byte is the version of the format.
const MAGIC: [u8; 4] = *b"TNJ\x01";
const HEAD_BYTES: usize = 48;
const DIGEST_AT: usize = 32;
const DIGEST_BYTES: usize = HEAD_BYTES - DIGEST_AT;

/// What is written over what is wiped.
static NOTHING: [u8; 64 * 1024] = [0; 64 * 1024];

/// A notification as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// In whose words it is.
    pub platform: Platform,
    /// Whether its signature was checked.
    pub signed: bool,
    /// When it came in.
    pub received_at: Millis,
    /// Its bytes.
    pub body: Bytes,
}

impl Raw {
    /// As what cannot be brought in, and why.
    pub fn quarantined(&self, id: NotificationId, reason: String) -> QuarantinedNotification {
        QuarantinedNotification {
            id,
            platform: self.platform,
            received_at: self.received_at,
            reason,
            body: self.body.to_vec(),
        }
    }
}

/// A file of the journal, open.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    round: u64,
    /// Where the next record goes.
    end: u64,
    /// Up to where there are bytes of this round or earlier ones.
    used: u64,
}

impl Segment {
    /// Opens the file, makes it where there is none, and answers with the records that it holds. `length`: what the file has at least, in bytes.
    pub(super) fn open(path: &Path, length: u64) -> io::Result<(Self, Vec<Raw>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.try_lock()?;
        let has = file.metadata()?.len();
        let mut content = vec![0; usize::try_from(has).map_err(io::Error::other)?];
        file.read_exact_at(&mut content, 0)?;
        let used = content
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last as u64 + 1);
        let version = content.first_chunk().filter(|magic| magic.starts_with(&MAGIC[..3]));
        if version.is_some_and(|magic| *magic != MAGIC) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it was written by another version of Tidings: start that one, which brings in what is there",
            ));
        }
        let records = read(&Bytes::from(content));
        if has < length {
            file.write_all_at(&vec![0; usize::try_from(length - has).map_err(io::Error::other)?], has)?;
        }
        file.sync_all()?;
        let segment = Self {
            file,
            round: new_round(),
            end: 0,
            used,
        };
        Ok((segment, records))
    }

    /// How many bytes of this round there are.
    pub(super) fn length(&self) -> u64 {
        self.end
    }

    /// Whether there is anything to wipe.
    pub(super) fn is_used(&self) -> bool {
        self.used > 0
    }

    /// Writes records, and flushes them; none of them counts as written if that fails.
    pub(super) fn append<'r>(&mut self, records: impl Iterator<Item = &'r Raw>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            write(&mut bytes, self.round, record)?;
        }
        let end = self.end + bytes.len() as u64;
        self.used = self.used.max(end);
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Begins a new round: what was written is not needed any more. The disk is not told of it: to read it once more does no harm.
    pub(super) fn begin_anew(&mut self) {
        self.round = new_round();
        self.end = 0;
    }

    /// The same, and nothing that was ever written stays in the file: what people said is to be where it can be deleted.
    pub(super) fn wipe(&mut self) -> io::Result<()> {
        self.begin_anew();
        let mut at = 0;
        while at < self.used {
            let length = (self.used - at).min(NOTHING.len() as u64);
            self.file.write_all_at(&NOTHING[..length as usize], at)?;
            at += length;
        }
        self.used = 0;
        Ok(())
    }
}

fn new_round() -> u64 {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).expect("the system has randomness to give");
    u64::from_le_bytes(random)
}

fn write(bytes: &mut Vec<u8>, round: u64, record: &Raw) -> io::Result<()> {
    let length = u32::try_from(record.body.len()).map_err(io::Error::other)?;
    let begin = bytes.len();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&round.to_le_bytes());
    bytes.extend_from_slice(&record.received_at.to_le_bytes());
    bytes.extend_from_slice(&[code_of(record.platform), u8::from(record.signed), 0, 0, 0, 0, 0, 0]);
    let digest = digest_of(&bytes[begin..], &record.body);
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(&record.body);
    Ok(())
}

fn read(content: &Bytes) -> Vec<Raw> {
    let mut records = Vec::new();
    let (mut at, mut round) = (0, None);
    while let Some((of, record)) = read_one(content, at) {
        if *round.get_or_insert(of) != of {
            break;
        }
        at += HEAD_BYTES + record.body.len();
        records.push(record);
    }
    records
}

/// The record that begins here, and its round; `None` if there is no whole one.
fn read_one(content: &Bytes, at: usize) -> Option<(u64, Raw)> {
    let head: &[u8; HEAD_BYTES] = content.get(at..at + HEAD_BYTES)?.try_into().ok()?;
    let number = |from: usize| -> Option<[u8; 8]> { head.get(from..from + 8)?.try_into().ok() };
    let magic_and_length = number(0)?;
    let length = u32::from_le_bytes(*magic_and_length.last_chunk()?);
    let begin = at + HEAD_BYTES;
    let end = begin.checked_add(usize::try_from(length).ok()?)?;
    if magic_and_length.first_chunk() != Some(&MAGIC) || end > content.len() {
        return None;
    }
    let body = content.slice(begin..end);
    if digest_of(&head[..DIGEST_AT], &body) != head[DIGEST_AT..] {
        return None;
    }
    let record = Raw {
        platform: platform_of(head[24])?,
        signed: head[25] == 1,
        received_at: Millis::from_le_bytes(number(16)?),
        body,
    };
    Some((u64::from_le_bytes(number(8)?), record))
}

fn digest_of(head: &[u8], body: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(head);
    context.update(body);
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&context.finish().as_ref()[..DIGEST_BYTES]);
    digest
}

fn code_of(platform: Platform) -> u8 {
    match platform {
        Platform::WhatsApp => 1,
        Platform::Instagram => 2,
    }
}

fn platform_of(code: u8) -> Option<Platform> {
    match code {
        1 => Some(Platform::WhatsApp),
        2 => Some(Platform::Instagram),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: u64 = 64 * 1024;

    fn raw(number: u8) -> Raw {
        Raw {
            platform: if number.is_multiple_of(2) {
                Platform::WhatsApp
            } else {
                Platform::Instagram
            },
            signed: number.is_multiple_of(3),
            received_at: Millis::from(number),
            body: Bytes::from(vec![number; 100 + usize::from(number)]),
        }
    }

    fn raws(numbers: std::ops::Range<u8>) -> Vec<Raw> {
        numbers.map(raw).collect()
    }

    #[test]
    fn what_was_written_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut segment, before) = Segment::open(&path, LENGTH).unwrap();
        assert_eq!(before, []);
        segment.append(raws(0..3).iter()).unwrap();
        segment.append(raws(3..5).iter()).unwrap();
        drop(segment);
        let (segment, before) = Segment::open(&path, LENGTH).unwrap();
        assert_eq!(before, raws(0..5));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), LENGTH);
        drop(segment);
        // Nothing was written since.
        assert_eq!(Segment::open(&path, LENGTH).unwrap().1, raws(0..5));
    }

    #[test]
    fn a_new_round_leaves_nothing_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut segment, _) = Segment::open(&path, LENGTH).unwrap();
        segment.append(raws(0..50).iter()).unwrap();
        segment.begin_anew();
        assert_eq!((segment.length(), segment.is_used()), (0, true));
        // Ends where a record of the round before begins.
        segment.append(raws(0..7).iter()).unwrap();
        drop(segment);
        let (mut segment, before) = Segment::open(&path, LENGTH).unwrap();
        assert_eq!(before, raws(0..7));
        // Also what was written by an earlier process.
        assert!(segment.is_used());
        segment.wipe().unwrap();
        assert!(!segment.is_used());
        assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), LENGTH);
        drop(segment);
        assert_eq!(Segment::open(&path, LENGTH).unwrap().1, []);
    }

    #[test]
    fn a_round_may_be_longer_than_the_file_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut segment, _) = Segment::open(&path, 1_000).unwrap();
        segment.append(raws(0..100).iter()).unwrap();
        drop(segment);
        assert_eq!(Segment::open(&path, 1_000).unwrap().1, raws(0..100));
    }

    #[test]
    fn what_another_version_has_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, b"TNJ\x02 and what nobody knows yet").unwrap();
        let refused = Segment::open(&path, LENGTH).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(std::fs::read(&path).unwrap().starts_with(b"TNJ\x02 and"));
    }

    #[test]
    fn a_file_belongs_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (_segment, _) = Segment::open(&path, LENGTH).unwrap();
        let refused = Segment::open(&path, LENGTH).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }

    proptest! {
        #[test]
        fn what_broke_off_or_was_damaged_ends_what_is_read(count in 1_u8..20, at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for number in 0..count {
                write(&mut bytes, 7, &raw(number)).unwrap();
                ends.push(bytes.len());
            }
            let at = at.index(bytes.len());
            let whole = ends.iter().filter(|end| **end <= at).count();
            let expected = raws(0..u8::try_from(whole).unwrap());
            prop_assert_eq!(read(&Bytes::copy_from_slice(&bytes[..at])), &expected[..]);
            bytes[at] ^= flip;
            prop_assert_eq!(read(&Bytes::from(bytes)), expected);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(read(&Bytes::from(bytes)), []);
        }
    }
}
