//! WebP stickers of 512 by 512 pixels (whatsapp.md 11): a face in lossless WebP (RFC 9649).

use super::Bits;

const SIDE: u32 = 512;
/// How long each picture of the moving one is shown, in milliseconds.
const LASTS: u32 = 600;

/// It looks.
pub(super) fn still() -> Vec<u8> {
    riff(&chunk(*b"VP8L", &face(false)))
}

/// It winks.
pub(super) fn moving() -> Vec<u8> {
    let side = &(SIDE - 1).to_le_bytes()[..3];
    // It moves, and is see-through.
    let canvas = chunk(*b"VP8X", &[&[0x12, 0, 0, 0], side, side].concat());
    // Without a background, for ever.
    let play = chunk(*b"ANIM", &[0; 6]);
    let picture = |winks: bool| {
        let lasts = &LASTS.to_le_bytes()[..3];
        // At the corner; it takes the place of the one before.
        let frame = [&[0; 6], side, side, lasts, &[0b10]].concat();
        chunk(*b"ANMF", &[frame, chunk(*b"VP8L", &face(winks))].concat())
    };
    riff(&[canvas, play, picture(false), picture(true)].concat())
}

fn riff(chunks: &[u8]) -> Vec<u8> {
    [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", chunks].concat()
}

fn chunk(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut chunk = [&name[..], &(content.len() as u32).to_le_bytes()[..], content].concat();
    if content.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

/// A yellow face with dark eyes. Each channel has two values, and so each pixel three bits: green, red, and whether it is there.
fn face(winks: bool) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.low_first(0x2f, 8);
    bits.low_first(SIDE - 1, 14);
    bits.low_first(SIDE - 1, 14);
    // See-through, version 0; nothing transformed, no cache of colours, one set of codes.
    bits.low_first(1, 1);
    bits.low_first(0, 3);
    bits.low_first(0, 3);
    two(&mut bits, 40, 200);
    two(&mut bits, 50, 250);
    one(&mut bits, 60);
    two(&mut bits, 0, 255);
    one(&mut bits, 0);
    for y in 0..SIDE as i32 {
        for x in 0..SIDE as i32 {
            let within = |at: i32, level: i32, radius: i32| (x - at).pow(2) + (y - level).pow(2) < radius.pow(2);
            let head = within(256, 256, 236);
            let right_eye = if winks {
                (x - 340).abs() < 38 && (y - 200).abs() < 9
            } else {
                within(340, 200, 34)
            };
            let mouth = within(256, 268, 138) && !within(256, 236, 140) && y > 290;
            let dark = within(172, 200, 34) || right_eye || mouth;
            let light = u32::from(head && !dark);
            bits.low_first(light, 1);
            bits.low_first(light, 1);
            bits.low_first(u32::from(head), 1);
        }
    }
    bits.bytes
}

/// A code for one value, which takes no bits.
fn one(bits: &mut Bits, value: u32) {
    bits.low_first(0b101, 3);
    bits.low_first(value, 8);
}

/// A code of one bit each for two values, the lower one 0.
fn two(bits: &mut Bits, low: u32, high: u32) {
    bits.low_first(0b111, 3);
    bits.low_first(low, 8);
    bits.low_first(high, 8);
}
