//! A small film that any browser plays: H.264 in MP4, drawn and encoded here, so that a feed can be watched without a camera.
//!
//! Every block of a picture is stored as it is (`I_PCM`), and what does not change from one picture to the next is skipped; so there is
//! nothing to transform or to predict, and an encoder is a page of code (ITU-T H.264, 7.3; ISO/IEC 14496-12, -14, -15). The same seed gives
//! the same bytes.

use std::collections::BTreeSet;

use super::Bits;

/// In macroblocks of 16 by 16 pixels: upright, 9 to 16.
const COLUMNS: usize = 9;
const LINES: usize = 16;
/// In pixels.
const WIDTH: usize = COLUMNS * 16;
const HEIGHT: usize = LINES * 16;
const FRAMES_PER_SECOND: u32 = 5;
const FRAMES: usize = 15;

/// Baseline, so that every decoder has it.
const PROFILE: u8 = 66;
const COMPATIBILITY: u8 = 0xc0;
const LEVEL: u8 = 30;

/// A film of three seconds in which a square wanders over a coloured ground.
pub(crate) fn film(seed: &[u8]) -> Vec<u8> {
    let byte = |position: usize| seed.get(position).copied().unwrap_or_default();
    let ground = Ground {
        blue: 64 + byte(0) / 2,
        red: 64 + byte(1) / 2,
        darkest: 40 + byte(2) / 8,
    };
    let (sequence, picture) = (sequence_parameters(), picture_parameters());
    let mut samples = vec![first_frame(&ground, square_at(0))];
    for number in 1..FRAMES {
        samples.push(next_frame(&ground, number, square_at(number - 1), square_at(number)));
    }
    mp4(&sequence, &picture, &samples)
}

/// The square's macroblock: down the picture in a slow zigzag.
fn square_at(number: usize) -> usize {
    let swing = number % (2 * (COLUMNS - 1));
    let column = if swing < COLUMNS {
        swing
    } else {
        2 * (COLUMNS - 1) - swing
    };
    let line = 2 + number * (LINES - 5) / FRAMES;
    line * COLUMNS + column
}

struct Ground {
    blue: u8,
    red: u8,
    darkest: u8,
}

impl Ground {
    /// The 384 bytes of a macroblock: luma, then both chroma planes at half the size.
    fn block(&self, at: usize, square: usize) -> [u8; 384] {
        let mut bytes = [0; 384];
        let line = at / COLUMNS;
        for (index, luma) in bytes[..256].iter_mut().enumerate() {
            let y = line * 16 + index / 16;
            *luma = if at == square {
                225
            } else {
                self.darkest + (y * 110 / HEIGHT) as u8
            };
        }
        let (blue, red) = if at == square {
            (128, 128)
        } else {
            (self.blue, self.red)
        };
        bytes[256..320].fill(blue);
        bytes[320..].fill(red);
        bytes
    }
}

fn sequence_parameters() -> Vec<u8> {
    let mut bits = Bits::from_bytes(&[PROFILE, COMPATIBILITY, LEVEL]);
    bits.count(0); // the set's number
    bits.count(0); // frame numbers have four bits
    bits.count(2); // pictures come in the order in which they are shown
    bits.count(1); // one picture is referred to
    bits.high_first(0, 1); // no gaps in frame numbers
    bits.count(COLUMNS as u32 - 1);
    bits.count(LINES as u32 - 1);
    bits.high_first(1, 1); // frames, not fields
    bits.high_first(1, 1); // direct inference, which frames without B do not use
    bits.high_first(0, 1); // not cropped
    bits.high_first(0, 1); // nothing on how it is to be shown
    unit(0x67, bits)
}

fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.count(0); // the set's number
    bits.count(0); // the sequence's
    bits.high_first(0, 2); // variable length codes; no fields
    bits.count(0); // one group of slices
    bits.count(0); // one picture to refer to, forwards
    bits.count(0); // and backwards
    bits.high_first(0, 3); // no weights
    bits.count(0); // the quantiser's start,
    bits.count(0); // also for pictures that switch,
    bits.count(0); // and for colour
    bits.high_first(1, 1); // slices say whether edges are smoothed
    bits.high_first(0, 2); // nothing constrained, nothing redundant
    unit(0x68, bits)
}

fn first_frame(ground: &Ground, square: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.count(0); // from the first macroblock on
    bits.count(7); // all slices of the picture are I
    bits.count(0); // the picture's parameters
    bits.high_first(0, 4); // the frame's number
    bits.count(0); // the number of this start
    bits.high_first(0, 2); // keep earlier pictures' output; no long-term reference
    bits.count(0); // the quantiser's change
    bits.count(1); // edges stay as they are
    for at in 0..COLUMNS * LINES {
        bits.count(25); // I_PCM
        bits.align();
        bits.bytes.extend(ground.block(at, square));
    }
    unit(0x65, bits)
}

/// A frame that differs from the one before in two macroblocks.
fn next_frame(ground: &Ground, number: usize, from: usize, to: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.count(0); // from the first macroblock on
    bits.count(5); // all slices of the picture are P
    bits.count(0); // the picture's parameters
    bits.high_first(number as u32 % 16, 4); // the frame's number
    bits.high_first(0, 2); // as many references as the parameters say, in their order
    bits.high_first(0, 1); // references slide on
    bits.count(0); // the quantiser's change
    bits.count(1); // edges stay as they are
    let mut next = 0;
    for at in BTreeSet::from([from, to]) {
        bits.count((at - next) as u32); // so many are as before
        bits.count(5 + 25); // I_PCM in a P slice
        bits.align();
        bits.bytes.extend(ground.block(at, to));
        next = at + 1;
    }
    let rest = COLUMNS * LINES - next;
    if rest > 0 {
        bits.count(rest as u32);
    }
    unit(0x41, bits)
}

impl Bits {
    fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            used: 0,
        }
    }

    /// An Exp-Golomb code, `ue(v)`.
    fn count(&mut self, value: u32) {
        let length = u32::BITS - (value + 1).leading_zeros();
        self.high_first(0, length - 1);
        self.high_first(value + 1, length);
    }

    /// What follows begins with a byte.
    fn align(&mut self) {
        self.used = 0;
    }
}

/// A unit of the stream: its kind, its bits with a closing one, and a 3 wherever its bytes could be taken for a start code.
fn unit(kind: u8, mut bits: Bits) -> Vec<u8> {
    bits.high_first(1, 1);
    let mut unit = vec![kind];
    let mut zeros = 0;
    for byte in bits.bytes {
        if zeros == 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        unit.push(byte);
    }
    unit
}

fn mp4(sequence: &[u8], picture: &[u8], samples: &[Vec<u8>]) -> Vec<u8> {
    let mut film = named(*b"ftyp", &[b"isom", &0x200_u32.to_be_bytes(), b"isomiso2avc1mp41"]);
    let head = film.len();
    // The place of the data is behind the index, whose length does not depend on it.
    let index = index(sequence, picture, samples, 0).len();
    film.extend(self::index(sequence, picture, samples, head + index + 8));
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| {
            let length = (sample.len() as u32).to_be_bytes();
            length.into_iter().chain(sample.iter().copied())
        })
        .collect();
    film.extend(named(*b"mdat", &[&data]));
    film
}

/// `moov`: one track of film.
fn index(sequence: &[u8], picture: &[u8], samples: &[Vec<u8>], data_at: usize) -> Vec<u8> {
    let matrix: Vec<u8> = [0x1_0000_u32, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect();
    let frames = samples.len() as u32;
    let millis = frames * 1000 / FRAMES_PER_SECOND;
    let word = |number: u32| number.to_be_bytes();
    let zeros = [0_u8; 24];

    // Version, made, changed, ticks a second, duration; speed, loudness; the number of the next track.
    let movie = [
        &zeros[..12],
        &word(1000),
        &word(millis),
        &word(0x1_0000),
        &[1, 0],
        &zeros[..10],
        &matrix,
        &zeros,
        &word(2),
    ];
    let size = [word((WIDTH as u32) << 16), word((HEIGHT as u32) << 16)].concat();
    let track = [
        &word(7)[..],
        &zeros[..8],
        &word(1),
        &zeros[..4],
        &word(millis),
        &zeros[..16],
        &matrix,
        &size,
    ];
    // `und`: no language.
    let media = [
        &zeros[..12],
        &word(FRAMES_PER_SECOND),
        &word(frames),
        &[0x55, 0xc4, 0, 0],
    ];
    let handler = [&zeros[..8], b"vide", &zeros[..12], b"sandbox\0"];

    let configuration = [
        &[1, PROFILE, COMPATIBILITY, LEVEL, 0xff, 0xe1][..],
        &(sequence.len() as u16).to_be_bytes(),
        sequence,
        &[1],
        &(picture.len() as u16).to_be_bytes(),
        picture,
    ];
    let resolution = word(72 << 16);
    let entry = named(
        *b"avc1",
        &[
            &zeros[..6],
            &[0, 1],
            &zeros[..16],
            &(WIDTH as u16).to_be_bytes(),
            &(HEIGHT as u16).to_be_bytes(),
            &resolution,
            &resolution,
            &zeros[..4],
            &[0, 1],
            &[0; 32],
            &[0, 24, 0xff, 0xff],
            &named(*b"avcC", &configuration),
        ],
    );
    let sizes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| word(sample.len() as u32 + 4))
        .collect();
    let table = [
        named(*b"stsd", &[&zeros[..4], &word(1), &entry]),
        named(*b"stts", &[&zeros[..4], &word(1), &word(frames), &word(1)]),
        named(*b"stss", &[&zeros[..4], &word(1), &word(1)]),
        named(*b"stsc", &[&zeros[..4], &word(1), &word(1), &word(frames), &word(1)]),
        named(*b"stsz", &[&zeros[..8], &word(frames), &sizes]),
        named(*b"stco", &[&zeros[..4], &word(1), &word(data_at as u32)]),
    ]
    .concat();
    let here = named(*b"url ", &[&[0, 0, 0, 1]]);
    let references = named(*b"dref", &[&zeros[..4], &word(1), &here]);
    let information = [
        named(*b"vmhd", &[&[0, 0, 0, 1], &zeros[..8]]),
        named(*b"dinf", &[&references]),
        named(*b"stbl", &[&table]),
    ]
    .concat();
    let media = [
        named(*b"mdhd", &media),
        named(*b"hdlr", &handler),
        named(*b"minf", &[&information]),
    ]
    .concat();
    let track = [named(*b"tkhd", &track), named(*b"mdia", &[&media])].concat();
    named(*b"moov", &[&named(*b"mvhd", &movie), &named(*b"trak", &[&track])])
}

/// A box of the file: its length, its name, its parts.
fn named(name: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut whole = Vec::with_capacity(length + 8);
    whole.extend((length as u32 + 8).to_be_bytes());
    whole.extend(name);
    for part in parts {
        whole.extend(*part);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::{Bits, film, unit};

    #[test]
    fn counts_are_written_as_the_standard_has_them() {
        let mut bits = Bits::default();
        for value in [0, 1, 2, 3, 25] {
            bits.count(value);
        }
        // 1 010 011 00100 000011010
        assert_eq!(bits.bytes, [0b1010_0110, 0b0100_0000, 0b1101_0000]);
    }

    #[test]
    fn no_unit_holds_a_start_code() {
        let bits = Bits::from_bytes(&[0, 0, 0, 0, 1, 0, 0, 4]);
        assert_eq!(unit(9, bits), [9, 0, 0, 3, 0, 0, 3, 1, 0, 0, 4, 0x80]);
    }

    #[test]
    fn every_seed_makes_a_film() {
        for byte in 0..=u8::MAX {
            assert!(!film(&[byte; 32]).is_empty());
        }
    }

    #[test]
    fn boxes_fill_the_file_to_its_end() {
        let film = film(b"seed");
        let mut names = Vec::new();
        let mut at = 0;
        while at < film.len() {
            let length = u32::from_be_bytes(film[at..at + 4].try_into().unwrap()) as usize;
            names.push(String::from_utf8(film[at + 4..at + 8].to_vec()).unwrap());
            at += length;
        }
        assert_eq!((at, names.join(" ")), (film.len(), "ftyp moov mdat".to_owned()));
        assert!(film.len() < 120_000, "{}", film.len());
        assert_ne!(film, super::film(b"other"));
    }
}
