//! What an e-mail says: its subject, its plain text, its HTML. Read leniently: what can't be read is left out.

use crate::media::decode_base64;

/// An e-mail within an e-mail within an e-mail is read no deeper.
const DEPTH_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
}

impl Content {
    pub(super) fn read(raw: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(raw);
        let part = Part::read(&raw);
        let mut content = Self {
            subject: decode_words(&part.header("subject").unwrap_or_default()),
            ..Self::default()
        };
        content.take(&part, 0);
        content
    }

    /// The first plain text and the first HTML that are no attachment.
    fn take(&mut self, part: &Part<'_>, depth: usize) {
        let kind = part.header("content-type").unwrap_or_else(|| "text/plain".to_owned());
        let base = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let disposition = part.header("content-disposition").unwrap_or_default();
        if disposition.trim_start().to_ascii_lowercase().starts_with("attachment") {
            return;
        }
        if base.starts_with("multipart/") && depth < DEPTH_MAX {
            let Some(boundary) = parameter(&kind, "boundary") else {
                return;
            };
            let mark = format!("--{boundary}");
            let mut lines = part.body.split_inclusive('\n').peekable();
            // What stands before the first mark belongs to no part.
            while lines.next_if(|line| line.trim_end() != mark).is_some() {}
            while lines.next_if(|line| line.trim_end() == mark).is_some() {
                let inner: String = std::iter::from_fn(|| lines.next_if(|line| !line.starts_with(&mark))).collect();
                // The line break before a mark belongs to the mark.
                let inner = inner.strip_suffix('\n').unwrap_or(&inner);
                let inner = inner.strip_suffix('\r').unwrap_or(inner);
                self.take(&Part::read(inner), depth + 1);
            }
            return;
        }
        let place = match base.as_str() {
            "text/plain" => &mut self.text,
            "text/html" => &mut self.html,
            _ => return,
        };
        place.get_or_insert_with(|| part.decoded());
    }
}

struct Part<'a> {
    head: &'a str,
    body: &'a str,
}

impl<'a> Part<'a> {
    fn read(text: &'a str) -> Self {
        if let Some(body) = text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')) {
            return Self { head: "", body };
        }
        let (head, body) = text
            .split_once("\r\n\r\n")
            .or_else(|| text.split_once("\n\n"))
            .unwrap_or((text, ""));
        Self { head, body }
    }

    /// A header's value, on one line.
    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines();
        while let Some(line) = lines.next() {
            let Some((found, value)) = line.split_once(':') else {
                continue;
            };
            if !found.trim().eq_ignore_ascii_case(name) {
                continue;
            }
            let mut value = value.trim().to_owned();
            for more in lines.by_ref().take_while(|line| line.starts_with([' ', '\t'])) {
                value.push(' ');
                value.push_str(more.trim());
            }
            return Some(value);
        }
        None
    }

    fn decoded(&self) -> String {
        let encoding = self
            .header("content-transfer-encoding")
            .unwrap_or_default()
            .to_ascii_lowercase();
        match encoding.as_str() {
            "base64" => {
                let text: String = self
                    .body
                    .chars()
                    .filter(|letter| !letter.is_ascii_whitespace())
                    .collect();
                decode_base64(&text).map_or_else(
                    || self.body.to_owned(),
                    |bytes| String::from_utf8_lossy(&bytes).into_owned(),
                )
            }
            "quoted-printable" => decode_quoted(self.body, false),
            _ => self.body.to_owned(),
        }
    }
}

/// A parameter of a header's value, with or without quotes.
fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.split_once('=')?;
        found
            .trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// `=?utf-8?b?…?=` and `=?utf-8?q?…?=`, with what stands between two of them left out.
fn decode_words(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some((before, word, after)) = next_word(rest) {
        if !(after_word && before.trim().is_empty()) {
            decoded.push_str(before);
        }
        decoded.push_str(&word);
        after_word = true;
        rest = after;
    }
    decoded.push_str(rest);
    decoded
}

/// What stands before the first encoded word, the word, and what comes after it.
fn next_word(text: &str) -> Option<(&str, String, &str)> {
    let start = text.find("=?")?;
    let mut pieces = text[start + 2..].splitn(3, '?');
    let (_, encoding, rest) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let (word, after) = rest.split_once("?=")?;
    let decoded = match encoding {
        "b" | "B" => String::from_utf8_lossy(&decode_base64(word)?).into_owned(),
        "q" | "Q" => decode_quoted(word, true),
        _ => return None,
    };
    Some((&text[..start], decoded, after))
}

/// Quoted-printable; in a header an underscore stands for a space.
fn decode_quoted(text: &str, in_header: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'=' if tail.starts_with(b"\r\n") => rest = &tail[2..],
            b'=' if tail.starts_with(b"\n") => rest = &tail[1..],
            b'=' => {
                let mut byte = [0];
                match tail.get(..2).map(|digits| hex::decode_to_slice(digits, &mut byte)) {
                    Some(Ok(())) => {
                        bytes.push(byte[0]);
                        rest = &tail[2..];
                    }
                    _ => bytes.push(b'='),
                }
            }
            b'_' if in_header => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Content;

    #[test]
    fn a_plain_and_an_html_part_are_found_and_decoded() {
        let raw = "Subject: =?utf-8?b?T2zDoQ==?=\r\n =?utf-8?q?_J=C3=BCrgen?= there\r\n\
                   Content-Type: multipart/alternative;\r\n boundary=\"b-1\"\r\n\r\nnot for you\r\n\
                   --b-1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                   caf=C3=A9 =\r\nau lait=\r\n\r\n--b-1\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                   PGI+\r\naGk8L2I+\r\n--b-1--\r\n";
        let content = Content::read(raw.as_bytes());
        assert_eq!(content.subject, "Olá Jürgen there");
        assert_eq!(content.text.as_deref(), Some("café au lait"));
        assert_eq!(content.html.as_deref(), Some("<b>hi</b>"));
    }

    #[test]
    fn whatever_comes_is_read() {
        let content = Content::read(b"Subject: plain\n\nhello\n");
        assert_eq!(
            (content.subject.as_str(), content.text.as_deref()),
            ("plain", Some("hello\n"))
        );
        let odd =
            Content::read(b"\xff\xfe: \r\nSubject: =?utf-8?b?!?= =? =\r\nContent-Type: multipart/mixed\r\n\r\n--\r\n");
        assert_eq!((odd.text, odd.html), (None, None));
        assert_eq!(Content::read(b"").subject, "");
    }
}
