//! Takes the secrets of a call out of what is kept of it.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};

const REPLACEMENT: &str = "[redacted]";

/// Shorter texts are not secrets, and replacing them would spoil the answer.
const SECRET_BYTES_MIN: usize = 6;

/// The secrets of one call.
pub(super) struct Redaction<'a> {
    secrets: Vec<&'a str>,
}

impl<'a> Redaction<'a> {
    pub(super) fn new(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut parts = Vec::new();
        for secret in secrets {
            let secret = secret.expose_secret();
            parts.push(secret);
            // An app token is the app's id and its secret (reference `graph-api.md` 7): the secret alone is as bad.
            parts.extend(secret.split_once('|').map(|(_, secret)| secret));
        }
        parts.retain(|part| part.len() >= SECRET_BYTES_MIN);
        Self { secrets: parts }
    }

    /// Replaces each secret. A text that may have been `cut` off can end in the middle of one: that start is replaced too.
    pub(super) fn apply(&self, text: String, is_cut: bool) -> String {
        let mut text = Cow::Owned::<str>(text);
        for secret in &self.secrets {
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, REPLACEMENT));
            }
        }
        let mut text = text.into_owned();
        if is_cut {
            for secret in &self.secrets {
                let start = (SECRET_BYTES_MIN..secret.len())
                    .rev()
                    .filter_map(|length| secret.get(..length))
                    .find(|start| text.ends_with(start));
                if let Some(start) = start {
                    text.truncate(text.len() - start.len());
                    text.push_str(REPLACEMENT);
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(secret: &str, text: &str, is_cut: bool) -> String {
        let secret = SecretString::from(secret);
        Redaction::new([&secret]).apply(text.to_owned(), is_cut)
    }

    #[test]
    fn replaces_every_occurrence() {
        assert_eq!(
            apply("EAAB12345", "a EAAB12345 b EAAB12345", false),
            "a [redacted] b [redacted]"
        );
    }

    #[test]
    fn replaces_the_secret_half_of_an_app_token() {
        assert_eq!(
            apply("4711|s3cr3ts3cr3t", "app 4711%7Cs3cr3ts3cr3t", false),
            "app 4711%7C[redacted]"
        );
    }

    #[test]
    fn replaces_the_start_of_a_secret_where_a_text_was_cut() {
        assert_eq!(apply("EAAB12345", "a EAAB123", true), "a [redacted]");
        assert_eq!(apply("EAAB12345", "a EAAB123", false), "a EAAB123");
    }

    #[test]
    fn leaves_short_texts_alone() {
        assert_eq!(apply("1", "1 + 1", true), "1 + 1");
        assert_eq!(apply("", "nothing", true), "nothing");
    }
}
