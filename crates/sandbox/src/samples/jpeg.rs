//! A JPEG photo: baseline, of blocks that each have one colour (ITU-T T.81).

use super::Bits;

/// In pixels; both are multiples of 8.
const WIDTH: u16 = 480;
const HEIGHT: u16 = 320;
/// Codes of 2, 3 (five of them), 4, 5, 6, 7, 8 and 9 bits, for the size of a difference: the standard's own table (K.3.1).
const SIZES: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];

/// A landscape in the colours of the hash.
pub(super) fn make(hash: &[u8]) -> Vec<u8> {
    let byte = |position: usize| i32::from(hash.get(position).copied().unwrap_or_default());
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe0, 0, 16];
    jpeg.extend(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    // One table of quantisation, all 8: a block's first coefficient is 8 times its mean, and so becomes the mean itself.
    segment(&mut jpeg, 0xdb, &[&[0], &[8; 64][..]].concat());
    let [height_high, height_low] = HEIGHT.to_be_bytes();
    let [width_high, width_low] = WIDTH.to_be_bytes();
    let frame = [
        8,
        height_high,
        height_low,
        width_high,
        width_low,
        3,
        1,
        0x11,
        0,
        2,
        0x11,
        0,
        3,
        0x11,
        0,
    ];
    segment(&mut jpeg, 0xc0, &frame);
    segment(
        &mut jpeg,
        0xc4,
        &[&[0x00], &SIZES[..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]].concat(),
    );
    // Of the other coefficients there are none: one code, for "the block ends".
    let mut ends = [0; 16];
    ends[0] = 1;
    segment(&mut jpeg, 0xc4, &[&[0x10], &ends[..], &[0]].concat());
    segment(&mut jpeg, 0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);

    let mut bits = Bits::default();
    let mut before = [0_i32; 3];
    let (columns, lines) = (i32::from(WIDTH / 8), i32::from(HEIGHT / 8));
    let (sun_x, sun_y) = (8 + byte(0) % 44, 5 + byte(1) % 8);
    for line in 0..lines {
        for column in 0..columns {
            let wave =
                |length: i32, height: i32, from: i32| ((column + from) % length * 2 - length).abs() * height / length;
            let hill = 18 + byte(2) % 5 + wave(34, 9, byte(3)) + wave(13, 2, byte(6));
            let from_sun = (column - sun_x).pow(2) + (line - sun_y).pow(2);
            let colour = if from_sun < 18 {
                [255, 236, 150]
            } else if line > hill + 6 {
                [40 + byte(4) % 40, 92 + line, 60]
            } else if line > hill {
                [72 + byte(4) % 50, 130 - line, 84]
            } else {
                [120 + line * 4, 150 + line * 2 + byte(5) % 20, 226 - line]
            };
            for (component, mean) in means(colour).into_iter().enumerate() {
                difference(&mut bits, mean - before[component]);
                before[component] = mean;
                // The block ends.
                bits.high_first(0, 1);
            }
        }
    }
    // The last byte is filled with ones, and a byte of ones is followed by a zero.
    while bits.used != 0 {
        bits.high_first(1, 1);
    }
    for byte in bits.bytes {
        jpeg.push(byte);
        if byte == 0xff {
            jpeg.push(0);
        }
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

fn segment(jpeg: &mut Vec<u8>, marker: u8, content: &[u8]) {
    jpeg.extend([0xff, marker]);
    jpeg.extend((content.len() as u16 + 2).to_be_bytes());
    jpeg.extend(content);
}

/// Brightness and two differences of colour, each around 0.
fn means([red, green, blue]: [i32; 3]) -> [i32; 3] {
    [
        (299 * red + 587 * green + 114 * blue) / 1000 - 128,
        (-169 * red - 331 * green + 500 * blue) / 1000,
        (500 * red - 419 * green - 81 * blue) / 1000,
    ]
}

/// A difference: how many bits it has, then the bits; a negative one less 1.
fn difference(bits: &mut Bits, difference: i32) {
    let size = 32 - difference.unsigned_abs().leading_zeros();
    let (code, length) = match size {
        0 => (0b00, 2),
        1..=5 => (0b010 + size - 1, 3),
        // 1110, 11110, 111110 …
        _ => ((1 << (size - 2)) - 2, size - 2),
    };
    bits.high_first(code, length);
    let value = if difference < 0 { difference - 1 } else { difference };
    bits.high_first(value as u32, size);
}
