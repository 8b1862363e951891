//! What a file is, by its first bytes: what somebody says of it decides only between types that begin alike. Pure.

/// How many bytes of a file are looked at.
pub const HEAD_BYTES: usize = 8 * 1024;

/// What is not known.
pub const UNKNOWN: &str = "application/octet-stream";

/// A type by what files of it begin with: bytes at a place.
struct Mark {
    at: usize,
    bytes: &'static [u8],
    mime_type: &'static str,
}

const fn mark(at: usize, bytes: &'static [u8], mime_type: &'static str) -> Mark {
    Mark { at, bytes, mime_type }
}

/// The first that fits decides.
const MARKS: &[Mark] = &[
    mark(0, b"\xff\xd8\xff", "image/jpeg"),
    mark(0, b"\x89PNG\r\n\x1a\n", "image/png"),
    mark(0, b"GIF87a", "image/gif"),
    mark(0, b"GIF89a", "image/gif"),
    mark(8, b"WEBP", "image/webp"),
    mark(8, b"WAVE", "audio/wav"),
    mark(8, b"AVI ", "video/x-msvideo"),
    mark(0, b"%PDF-", "application/pdf"),
    mark(0, b"#!AMR", "audio/amr"),
    mark(0, b"ID3", "audio/mpeg"),
    mark(0, b"\xff\xfb", "audio/mpeg"),
    mark(0, b"\xff\xf3", "audio/mpeg"),
    mark(0, b"\xff\xf2", "audio/mpeg"),
    mark(0, b"\xff\xf1", "audio/aac"),
    mark(0, b"\xff\xf9", "audio/aac"),
    mark(0, b"\x1a\x45\xdf\xa3", "video/webm"),
    mark(0, b"BM", "image/bmp"),
    mark(0, b"\x1f\x8b", "application/gzip"),
];

/// Office documents of before 2007 begin alike.
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
const OLE_TYPES: &[&str] = &[
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
];
/// Those since then are archives with folders of these names.
const ZIPPED: &[(&[u8], &str)] = &[
    (
        b"word/",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        b"xl/",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        b"ppt/",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
];

/// The type of a file that begins so, by which `told` is what somebody says that it is.
pub fn mime_type(head: &[u8], told: Option<&str>) -> &'static str {
    let told = told.map(essence).unwrap_or_default();
    if head.get(4..8) == Some(b"ftyp") {
        return box_type(head.get(8..12).unwrap_or_default(), told);
    }
    if head.starts_with(b"OggS") {
        return ogg_type(head);
    }
    if head.starts_with(OLE) {
        return OLE_TYPES
            .iter()
            .find(|known| **known == told)
            .copied()
            .unwrap_or("application/x-ole-storage");
    }
    if head.starts_with(b"PK\x03\x04") {
        return zip_type(head, told);
    }
    // `RIFF` stands before what is told at 8.
    let fits = |mark: &&Mark| {
        let there = head.get(mark.at..mark.at + mark.bytes.len());
        there == Some(mark.bytes) && (mark.at != 8 || head.starts_with(b"RIFF"))
    };
    if let Some(mark) = MARKS.iter().find(fits) {
        return mark.mime_type;
    }
    text_type(head)
}

/// A media type without its parameters, in small letters as it is mostly written.
pub fn essence(mime_type: &str) -> &str {
    mime_type.split(';').next().unwrap_or_default().trim()
}

/// Containers that begin with a box of their brand. Whether there is a picture in it is told further behind: whoever made it knows.
fn box_type(brand: &[u8], told: &str) -> &'static str {
    match brand {
        b"M4A " | b"M4B " => "audio/mp4",
        [b'3', b'g', ..] if told == "audio/3gpp" => "audio/3gpp",
        [b'3', b'g', ..] => "video/3gpp",
        b"qt  " => "video/quicktime",
        b"heic" | b"heix" | b"mif1" => "image/heic",
        b"avif" => "image/avif",
        _ if matches!(told, "audio/mp4" | "audio/aac" | "audio/m4a" | "audio/x-m4a") => "audio/mp4",
        _ => "video/mp4",
    }
}

fn ogg_type(head: &[u8]) -> &'static str {
    if contains(head, b"\x80theora") {
        "video/ogg"
    } else {
        "audio/ogg"
    }
}

fn zip_type(head: &[u8], told: &str) -> &'static str {
    let found = ZIPPED.iter().find(|(folder, _)| contains(head, folder));
    let by_contents = |(_, mime_type): &(&[u8], &'static str)| *mime_type;
    found
        // Its folders may come later than what was looked at.
        .or_else(|| {
            ZIPPED
                .iter()
                .find(|(_, known)| *known == told && contains(head, b"[Content_Types].xml"))
        })
        .map_or("application/zip", by_contents)
}

fn text_type(head: &[u8]) -> &'static str {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The end of what is looked at may be in the middle of a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return UNKNOWN,
    };
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    if text.is_empty() || !text.chars().all(is_text) {
        return UNKNOWN;
    }
    let beginning: String = text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .chars()
        .take(64)
        .collect::<String>()
        .to_ascii_lowercase();
    if beginning.starts_with("<!doctype html") || beginning.starts_with("<html") || beginning.starts_with("<script") {
        "text/html"
    } else if beginning.starts_with("<svg") || (beginning.starts_with("<?xml") && text.contains("<svg")) {
        "image/svg+xml"
    } else {
        "text/plain"
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{UNKNOWN, essence, mime_type};

    #[test]
    fn a_file_is_what_its_first_bytes_say() {
        let zip = |name: &str| [&b"PK\x03\x04\x14\0\x06\0"[..], &[0; 18], name.as_bytes()].concat();
        for (head, is) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
            (b"GIF89a\x01\0", "image/gif"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
            (b"RIFF\x24\0\0\0AVI LIST", "video/x-msvideo"),
            (b"XXXX\x24\0\0\0WEBPVP8 ", UNKNOWN),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", "video/mp4"),
            (b"\0\0\0\x18ftyp3gp5\0\0\0\0", "video/3gpp"),
            (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio/mp4"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0", "video/quicktime"),
            (b"OggS\0\x02\0\0OpusHead", "audio/ogg"),
            (b"OggS\0\x02\0\0\x80theora", "video/ogg"),
            (b"ID3\x04\0", "audio/mpeg"),
            (b"\xff\xfb\x90\x64", "audio/mpeg"),
            (b"\xff\xf1\x50\x80", "audio/aac"),
            (b"#!AMR\n", "audio/amr"),
            (b"\x1a\x45\xdf\xa3\x01", "video/webm"),
            (b"%PDF-1.7\n", "application/pdf"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
            (&zip("readme.txt"), "application/zip"),
            (
                &zip("word/document.xml"),
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ),
            ("Grüße, на здоровье".as_bytes(), "text/plain"),
            (b" <!DOCTYPE HTML><title>", "text/html"),
            (b"<script>alert(1)</script>", "text/html"),
            (b"<?xml version=\"1.0\"?><svg onload=\"x\">", "image/svg+xml"),
            (b"\0\x01\x02", UNKNOWN),
            (b"\xc3\x28 no text", UNKNOWN),
            (b"", UNKNOWN),
        ] {
            assert_eq!(mime_type(head, None), is, "{:?}", String::from_utf8_lossy(head));
        }
        assert_eq!(mime_type(&"é".as_bytes()[..1], None), UNKNOWN);
        assert_eq!(mime_type(&"aé".as_bytes()[..2], None), "text/plain");
    }

    #[test]
    fn what_somebody_says_decides_only_between_types_that_begin_alike() {
        let mp4 = b"\0\0\0\x18ftypisom\0\0\0\0";
        assert_eq!(mime_type(mp4, Some("audio/mp4; codecs=\"mp4a\"")), "audio/mp4");
        assert_eq!(mime_type(mp4, Some("image/png")), "video/mp4");
        let ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
        assert_eq!(
            mime_type(ole, Some("application/vnd.ms-excel")),
            "application/vnd.ms-excel"
        );
        assert_eq!(mime_type(ole, Some("image/png")), "application/x-ole-storage");
        assert_eq!(mime_type(b"<html>", Some("image/png")), "text/html");
        assert_eq!(mime_type(b"%PDF-1.7", Some("text/html")), "application/pdf");
        assert_eq!(essence("audio/ogg; codecs=opus"), "audio/ogg");
    }
}
