//! Links to files that open without an API key, for a while: for browsers, and for whoever reads a mail.
//!
//! A link bears the time until which it holds, and a signature over that and the file's id. The key is derived from the master key, so that every
//! node's links open on every other one, and none survives another key. Times are rounded up, so that the same file has the same link for a
//! while, and browsers need not fetch it again.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::conversations::model::Millis;
use crate::ids::MediaId;

/// Makes links, and opens them.
#[derive(Debug, Clone)]
pub struct Links {
    key: hmac::Key,
    /// What comes before the path; empty where the hub does not know what it is called by.
    base: String,
    lifetime_secs: i64,
}

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkError {
    /// Its signature is not ours, or of something else.
    Forged,
    /// Its time is over.
    Expired,
}

impl Links {
    /// Signed with this key, beneath this address, for so long at least, and twice as long at most.
    pub fn new(key: hmac::Key, public_url: Option<&str>, lifetime: Duration) -> Self {
        Self {
            key,
            base: public_url.unwrap_or_default().to_owned(),
            lifetime_secs: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 4_000).max(1),
        }
    }

    /// Whether a link is a whole address, which others can open.
    pub fn are_public(&self) -> bool {
        !self.base.is_empty()
    }

    /// A link to a file.
    pub fn link(&self, id: MediaId, now: Millis) -> String {
        self.lasting(id, now, self.lifetime_secs)
    }

    /// A link that holds for so many seconds at least.
    pub fn lasting(&self, id: MediaId, now: Millis, lifetime_secs: i64) -> String {
        let until = rounded_up((now + 999) / 1000 + lifetime_secs, lifetime_secs);
        let signature = hmac::sign(&self.key, said(id, until).as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        format!("{}/media/{id}?exp={until}&sig={signature}", self.base)
    }

    /// Whether these parts of a link open the file.
    pub fn check(&self, id: MediaId, until: &str, signature: &str, now: Millis) -> Result<(), LinkError> {
        let until: i64 = until.parse().map_err(|_| LinkError::Forged)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| LinkError::Forged)?;
        hmac::verify(&self.key, said(id, until).as_bytes(), &signature).map_err(|_| LinkError::Forged)?;
        if until.saturating_mul(1000) <= now {
            return Err(LinkError::Expired);
        }
        Ok(())
    }
}

fn said(id: MediaId, until: i64) -> String {
    format!("media {id} until {until}")
}

/// To the next multiple of a step.
fn rounded_up(number: i64, step: i64) -> i64 {
    let rest = number.rem_euclid(step);
    if rest == 0 { number } else { number + (step - rest) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_lc_rs::hmac;

    use super::{LinkError, Links};
    use crate::clock::{Clock, from_millis};
    use crate::ids::{Ids, MediaId};

    const NOW: i64 = 1_795_334_400_123;

    fn links(key: &[u8]) -> Links {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Links::new(key, Some("https://hub.example.com"), Duration::from_mins(1))
    }

    fn parts(link: &str) -> (&str, &str) {
        let (_, rest) = link.split_once("?exp=").unwrap();
        rest.split_once("&sig=").unwrap()
    }

    #[test]
    fn a_link_opens_its_file_until_its_time_is_over() {
        let ids = Ids::seeded(Clock::frozen_at(from_millis(NOW)), 1);
        let (id, other): (MediaId, MediaId) = (ids.next(), ids.next());
        let ours = links(b"one");
        let link = ours.link(id, NOW);
        assert!(
            link.starts_with(&format!("https://hub.example.com/media/{id}?exp=")),
            "{link}"
        );
        let (until, signature) = parts(&link);
        let end = until.parse::<i64>().unwrap() * 1000;
        assert!((NOW + 60_000..=NOW + 120_000).contains(&end));
        assert_eq!(ours.link(id, NOW + 1), link, "browsers need not fetch it again");
        assert_eq!(ours.check(id, until, signature, end - 1), Ok(()));
        assert_eq!(ours.check(id, until, signature, end), Err(LinkError::Expired));
        let later = (end / 1000 + 1).to_string();
        for (id, until, signature) in [
            (other, until, signature),
            (id, later.as_str(), signature),
            (id, until, ""),
            (id, until, "AAAA"),
            (id, "x", signature),
            (id, until, &signature[1..]),
        ] {
            assert_eq!(ours.check(id, until, signature, NOW), Err(LinkError::Forged));
        }
        assert_eq!(links(b"two").check(id, until, signature, NOW), Err(LinkError::Forged));
    }
}
