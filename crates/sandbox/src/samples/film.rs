//! An MP4 film of three seconds: three whole pictures of H.264, whose pixels are stored as they are (ITU-T H.264, `I_PCM`).

use super::Bits;

/// In blocks of 16 by 16 pixels.
const COLUMNS: u32 = 10;
const LINES: u32 = 8;
const PICTURES: u32 = 3;
/// How long each is shown, in milliseconds.
const LASTS: u32 = 1000;

pub(super) fn make(hash: &[u8]) -> Vec<u8> {
    let byte = |position: usize| hash.get(position).copied().unwrap_or_default();
    let pictures: Vec<Vec<u8>> = (0..PICTURES)
        .map(|number| {
            let unit = picture(number, byte(0), byte(1));
            [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
        })
        .collect();
    let kind = atom(*b"ftyp", &[b"isom\0\0\x02\0isomiso2avc1mp41"]);
    let data = atom(*b"mdat", &[&pictures.concat()]);
    let start = kind.len() as u32 + 8;
    let offsets = pictures.iter().scan(start, |at, picture| {
        let offset = *at;
        *at += picture.len() as u32;
        Some(offset)
    });
    let offsets: Vec<u8> = offsets.flat_map(u32::to_be_bytes).collect();
    let sizes: Vec<u8> = pictures
        .iter()
        .flat_map(|picture| (picture.len() as u32).to_be_bytes())
        .collect();
    [kind, data, index(&sizes, &offsets)].concat()
}

/// Numbers in the order of the wire.
fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn atom(name: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&(content.len() as u32 + 8).to_be_bytes()[..], &name, &content].concat()
}

/// Where the pictures are, and how they are shown (ISO/IEC 14496-12).
fn index(sizes: &[u8], offsets: &[u8]) -> Vec<u8> {
    let duration = PICTURES * LASTS;
    let (width, height) = (COLUMNS * 16, LINES * 16);
    let matrix = numbers(&[0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
    let film = atom(
        *b"mvhd",
        &[
            &numbers(&[0, 0, 0, 1000, duration, 0x1_0000, 0x0100_0000, 0, 0]),
            &matrix,
            &[0; 24],
            &numbers(&[2]),
        ],
    );
    let track = atom(
        *b"tkhd",
        &[
            &numbers(&[3, 0, 0, 1, 0, duration, 0, 0, 0, 0]),
            &matrix,
            &numbers(&[width << 16, height << 16]),
        ],
    );
    let media = atom(*b"mdhd", &[&numbers(&[0, 0, 0, 1000, duration, 0x55c4_0000])]);
    let handler = atom(*b"hdlr", &[&[0; 8], b"vide", &[0; 12], b"picture\0"]);
    let video = atom(*b"vmhd", &[&numbers(&[1, 0, 0])]);
    let place = atom(
        *b"dinf",
        &[&atom(
            *b"dref",
            &[&numbers(&[0, 1]), &atom(*b"url ", &[&numbers(&[1])])],
        )],
    );

    let (sequence, settings) = (sequence(), settings());
    let profile = [1, sequence[1], sequence[2], sequence[3], 0xff, 0xe1];
    let decoder = atom(
        *b"avcC",
        &[
            &profile,
            &(sequence.len() as u16).to_be_bytes(),
            &sequence,
            &[1],
            &(settings.len() as u16).to_be_bytes(),
            &settings,
        ],
    );
    let mut sample = vec![0; 6];
    sample.extend([0, 1]);
    sample.extend([0; 16]);
    sample.extend((width as u16).to_be_bytes());
    sample.extend((height as u16).to_be_bytes());
    sample.extend(numbers(&[0x48_0000, 0x48_0000, 0]));
    sample.extend([0, 1]);
    sample.extend([0; 32]);
    sample.extend([0, 24, 0xff, 0xff]);
    let description = atom(*b"stsd", &[&numbers(&[0, 1]), &atom(*b"avc1", &[&sample, &decoder])]);
    let table = atom(
        *b"stbl",
        &[
            &description,
            &atom(*b"stts", &[&numbers(&[0, 1, PICTURES, LASTS])]),
            &atom(*b"stsc", &[&numbers(&[0, 1, 1, 1, 1])]),
            &atom(*b"stsz", &[&numbers(&[0, 0, PICTURES]), sizes]),
            &atom(*b"stco", &[&numbers(&[0, PICTURES]), offsets]),
        ],
    );
    let inner = atom(*b"minf", &[&video, &place, &table]);
    let track = atom(*b"trak", &[&track, &atom(*b"mdia", &[&media, &handler, &inner])]);
    atom(*b"moov", &[&film, &track])
}

/// Exponential-Golomb codes (H.264, 9.1).
fn golomb(bits: &mut Bits, value: u32) {
    let length = 32 - (value + 1).leading_zeros();
    bits.high_first(0, length - 1);
    bits.high_first(value + 1, length);
}

/// Ends with a one and zeros, and keeps what begins a unit out of it.
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

/// The sequence parameter set (7.3.2.1): baseline, level 3.
fn sequence() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.high_first(66, 8);
    bits.high_first(0xc0, 8);
    bits.high_first(30, 8);
    // Its id, frame numbers of 4 bits, pictures in the order in which they come, one to refer to, none missing.
    for value in [0, 0, 2, 1] {
        golomb(&mut bits, value);
    }
    bits.high_first(0, 1);
    golomb(&mut bits, COLUMNS - 1);
    golomb(&mut bits, LINES - 1);
    // Frames alone, whole blocks inferred, no cropping, nothing about use.
    bits.high_first(0b1100, 4);
    unit(0x67, bits)
}

/// The picture parameter set (7.3.2.2).
fn settings() -> Vec<u8> {
    let mut bits = Bits::default();
    golomb(&mut bits, 0);
    golomb(&mut bits, 0);
    bits.high_first(0, 2);
    for _ in 0..3 {
        golomb(&mut bits, 0);
    }
    bits.high_first(0, 3);
    for _ in 0..3 {
        golomb(&mut bits, 0);
    }
    // Slices may say that edges are left as they are.
    bits.high_first(0b100, 3);
    unit(0x68, bits)
}

/// One picture that stands for itself (7.3.3): a ball that moves over a striped ground.
fn picture(number: u32, tint: u8, other: u8) -> Vec<u8> {
    let mut bits = Bits::default();
    for value in [0, 7, 0] {
        golomb(&mut bits, value);
    }
    bits.high_first(0, 4);
    golomb(&mut bits, number % 2);
    bits.high_first(0, 2);
    golomb(&mut bits, 0);
    golomb(&mut bits, 1);
    let ball = (40 + 40 * number as i32, 50 + 14 * number as i32);
    for block in 0..COLUMNS * LINES {
        let (left, top) = ((block % COLUMNS * 16) as i32, (block / COLUMNS * 16) as i32);
        golomb(&mut bits, 25);
        while bits.used != 0 {
            bits.high_first(0, 1);
        }
        let in_ball = |x: i32, y: i32| (x - ball.0).pow(2) + (y - ball.1).pow(2) < 26 * 26;
        for pixel in 0..256 {
            let (x, y) = (left + pixel % 16, top + pixel / 16);
            let ground = 70 + (x + y) / 16 % 2 * 14;
            bits.bytes.push(if in_ball(x, y) { 200 } else { ground as u8 });
        }
        for (of_ball, of_ground) in [(90, 100 + tint % 60), (170, 100 + other % 50)] {
            for pixel in 0..64 {
                let (x, y) = (left + pixel % 8 * 2, top + pixel / 8 * 2);
                bits.bytes.push(if in_ball(x, y) { of_ball } else { of_ground });
            }
        }
    }
    unit(0x65, bits)
}
