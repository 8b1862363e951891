//! A voice message of three seconds: Opus in Ogg (RFC 3533, 6716, 7845). What it says is silence.

/// 20 ms of silence, one channel.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
const PACKETS: u64 = 150;
/// At 48 kHz.
const PACKET_SAMPLES: u64 = 960;
const SKIPPED: u16 = 312;

pub(super) fn make() -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(SKIPPED.to_le_bytes());
    head.extend(48_000_u32.to_le_bytes());
    head.extend([0, 0, 0]);
    let vendor = b"Tidings sandbox";
    let mut tags = b"OpusTags".to_vec();
    tags.extend((vendor.len() as u32).to_le_bytes());
    tags.extend(vendor);
    tags.extend(0_u32.to_le_bytes());
    let sound: Vec<&[u8]> = (0..PACKETS).map(|_| &SILENCE[..]).collect();
    let end = PACKETS * PACKET_SAMPLES;
    [
        page(2, 0, 0, &[&head]),
        page(0, 0, 1, &[&tags]),
        page(4, end, 2, &sound),
    ]
    .concat()
}

/// A page of whole packets, each under 255 bytes.
fn page(flags: u8, position: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(position.to_le_bytes());
    page.extend(1_u32.to_le_bytes());
    page.extend(number.to_le_bytes());
    let sum_at = page.len();
    page.extend([0; 4]);
    page.push(packets.len() as u8);
    page.extend(packets.iter().map(|packet| packet.len() as u8));
    page.extend(packets.concat());
    let sum = sum(&page).to_le_bytes();
    page[sum_at..sum_at + 4].copy_from_slice(&sum);
    page
}

/// Ogg's own cyclic sum.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            if sum >> 31 == 1 {
                sum << 1 ^ 0x04c1_1db7
            } else {
                sum << 1
            }
        })
    })
}
