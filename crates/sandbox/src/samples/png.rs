//! PNG files whose pixels are stored as they are (RFC 2083, RFC 1950).

/// A picture of so many pixels across and down: of one byte each, a place in the palette, or else of three, red, green and blue. Each line begins
/// with a zero more, for it is not filtered.
pub(crate) fn write((width, height): (usize, usize), palette: Option<&[u8]>, pixels: &[u8]) -> Vec<u8> {
    let mut data = vec![0x78, 0x01];
    let mut blocks = pixels.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        data.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        data.extend(length.to_le_bytes());
        data.extend((!length).to_le_bytes());
        data.extend(block);
    }
    data.extend(adler32(pixels).to_be_bytes());

    let size = [(width as u32).to_be_bytes(), (height as u32).to_be_bytes()].concat();
    // 8 bits a pixel or a channel, nothing special.
    let colours = if palette.is_some() { 3 } else { 2 };
    let header = [&size[..], &[8, colours, 0, 0, 0]].concat();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], part: &[u8]| {
        let named = [&name[..], part].concat();
        png.extend((part.len() as u32).to_be_bytes());
        png.extend(&named);
        png.extend(crc32(&named).to_be_bytes());
    };
    chunk(b"IHDR", &header);
    if let Some(palette) = palette {
        chunk(b"PLTE", palette);
    }
    chunk(b"IDAT", &data);
    chunk(b"IEND", &[]);
    png
}

fn adler32(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{adler32, crc32};

    /// The check values that the definitions of both sums give.
    #[test]
    fn the_sums_are_the_standard_ones() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }
}
