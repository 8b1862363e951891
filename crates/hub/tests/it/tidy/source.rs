//! A Rust source, read just far enough to tell code from strings and comments, and the words in it.
//!
//! Not a parser: it knows quotes, raw strings, characters, lifetimes and nested comments, and where the unit tests at the end of a file
//! begin. That is all the rules need, and it cannot fail on a file that does not compile.

use std::fmt;
use std::path::Path;

/// One place that breaks a rule.
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// A Rust source, told apart into code, strings and comments. The three views have the length and the lines of the whole: what a view
/// leaves out is a space there. The quotes of a string belong to the code, its content does not.
pub(super) struct Source {
    pub(super) file: String,
    pub(super) code: String,
    pub(super) code_and_strings: String,
    pub(super) comments: String,
    /// Where the unit tests at the end of the file begin; its length where it has none.
    pub(super) product_end: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Text,
    Comment,
}

impl Source {
    pub(super) fn parse(file: &str, text: &str) -> Self {
        let parts = parts(text);
        let view = |kept: &[Part]| -> String {
            // A byte for a byte, so that positions in one view hold in the others.
            let masked = text.bytes().zip(&parts).map(|(byte, part)| {
                if byte == b'\n' || kept.contains(part) {
                    byte
                } else {
                    b' '
                }
            });
            String::from_utf8(masked.collect()).expect("parts change at ASCII characters alone")
        };
        let code = view(&[Part::Code]);
        let product_end = code
            .match_indices("#[cfg(test)]")
            .find(|(at, attribute)| {
                let item = code[at + attribute.len()..].trim_start();
                item.starts_with("mod ") && item.find(['{', ';']).is_some_and(|end| item[end..].starts_with('{'))
            })
            .map_or(code.len(), |(at, _)| at);
        Self {
            file: file.to_owned(),
            code,
            code_and_strings: view(&[Part::Code, Part::Text]),
            comments: view(&[Part::Comment]),
            product_end,
        }
    }

    /// The file's name without `.rs`.
    pub(super) fn stem(&self) -> &str {
        Path::new(&self.file)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
    }

    /// Every identifier and keyword of the code.
    pub(super) fn words(&self) -> impl Iterator<Item = Word<'_>> {
        let code = self.code.as_str();
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = from + code[from..].find(is_word)?;
            let end = code[start..]
                .find(|character| !is_word(character))
                .map_or(code.len(), |length| start + length);
            from = end;
            Some(Word {
                code,
                start,
                end,
                text: &code[start..end],
            })
        })
    }

    /// The same without the unit tests at the end of the file.
    pub(super) fn product(&self) -> impl Iterator<Item = Word<'_>> {
        self.words().take_while(|word| word.start < self.product_end)
    }

    pub(super) fn finding(&self, line: usize, reason: String) -> Finding {
        Finding {
            file: self.file.clone(),
            line,
            reason,
        }
    }
}

pub(super) struct Word<'a> {
    code: &'a str,
    pub(super) start: usize,
    end: usize,
    pub(super) text: &'a str,
}

impl<'a> Word<'a> {
    pub(super) fn before(&self) -> &'a str {
        self.code[..self.start].trim_end()
    }

    pub(super) fn after(&self) -> &'a str {
        self.code[self.end..].trim_start()
    }

    /// Whether this is one of `crates`, at the root of a path (`postgres::Client`, not `store::postgres::Pool`) or imported whole.
    pub(super) fn names_crate(&self, crates: &[&str]) -> bool {
        let rooted = self
            .before()
            .strip_suffix("::")
            .is_none_or(|parent| !parent.ends_with(is_word));
        let imported_whole =
            self.before().ends_with("use") && (self.after().starts_with(';') || self.after().starts_with("as "));
        crates.contains(&self.text) && rooted && (self.after().starts_with("::") || imported_whole)
    }

    /// Whether this stands in the parentheses of the attribute `name`, on the attribute's line.
    pub(super) fn is_in_attribute(&self, name: &str) -> bool {
        let line = self.before().rsplit('\n').next().unwrap_or_default().trim_start();
        line.strip_prefix("#[")
            .is_some_and(|attribute| attribute.starts_with(name))
    }

    pub(super) fn finding(&self, source: &Source, reason: String) -> Finding {
        source.finding(self.code[..self.start].matches('\n').count() + 1, reason)
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// What each byte of a Rust source belongs to.
fn parts(text: &str) -> Vec<Part> {
    let bytes = text.as_bytes();
    let mut parts = vec![Part::Code; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let starts_word = !text[..at].ends_with(is_word);
        let (part, from, to) = if rest.starts_with("//") {
            (Part::Comment, at, at + rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (Part::Comment, at, at + block_comment_length(rest))
        } else if let Some((opening, content)) = raw_string(rest).filter(|_| starts_word) {
            (Part::Text, at + opening, at + opening + content)
        } else if let Some(quoted) = rest.strip_prefix('"') {
            (Part::Text, at + 1, at + 1 + quoted_length(quoted, b'"'))
        } else if let Some(quoted) = rest.strip_prefix('\'').filter(|quoted| is_character(quoted)) {
            (Part::Text, at + 1, at + 1 + quoted_length(quoted, b'\''))
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        parts[from..to].fill(part);
        at = to;
        if part == Part::Text && at < bytes.len() {
            // The closing quote would open a string if it were looked at again.
            at += 1;
        }
    }
    parts
}

/// Block comments nest.
fn block_comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let step = if text[at..].starts_with("/*") {
            depth += 1;
            2
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            text[at..].chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The lengths of the opening (`br##"`) and of the content of a raw string that begins here.
fn raw_string(text: &str) -> Option<(usize, usize)> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| text.starts_with(prefix))?;
    let hashes = text[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let opening = prefix.len() + hashes + 1;
    let content = text[prefix.len() + hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    Some((opening, content.find(&closing).unwrap_or(content.len())))
}

/// How far it is to the closing quote.
fn quoted_length(text: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at,
            _ => {}
        }
    }
    text.len()
}

/// Whether what follows a `'` is a character (`'a'`, `'\n'`) and not a lifetime (`'a`).
fn is_character(text: &str) -> bool {
    let mut characters = text.chars();
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}
