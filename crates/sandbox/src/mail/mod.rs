//! An SMTP sink: it takes every e-mail, delivers none, and lets one read what came.
//!
//! - [`smtp`]: the server, enough for a client that only sends. [`content`]: an e-mail's subject and texts.
//!
//! Bounded: the oldest e-mails go when there are too many, or too many bytes of them.

mod content;
pub(crate) mod smtp;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use serde::Serialize;

use crate::lock;

/// How the SMTP sink is set up.
#[derive(Debug, Clone)]
pub struct SmtpOptions {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Who may send.
    pub auth: SmtpAuth,
    /// The largest e-mail, in bytes: 552 beyond it.
    pub mail_bytes_max: usize,
    /// Most e-mails that are kept.
    pub mails_max: usize,
    /// Most bytes of them.
    pub mailbox_bytes_max: usize,
    /// Most connections at a time: 421 beyond it.
    pub connections_max: usize,
}

impl Default for SmtpOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            auth: SmtpAuth::default(),
            mail_bytes_max: 25 * 1024 * 1024,
            mails_max: 10_000,
            mailbox_bytes_max: 64 * 1024 * 1024,
            connections_max: 100,
        }
    }
}

/// Who may send e-mail to the sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SmtpAuth {
    /// Everybody, with any credentials or none.
    #[default]
    Anybody,
    /// Only with these credentials; 530 without, 535 with others.
    Only {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// Nobody's credentials are right, and without there is nothing to do.
    Nobody,
}

/// An e-mail that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// Counts from 1.
    pub id: u64,
    /// When, by the sandbox's clock, in milliseconds since 1970.
    pub at: i64,
    /// Who sent it, by the envelope.
    pub from: String,
    /// To whom, by the envelope.
    pub to: Vec<String>,
    /// Who had logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The subject, decoded.
    pub subject: String,
    /// The plain text, decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The HTML, decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// All of it as it came; what is not UTF-8 is replaced.
    pub raw: String,
}

/// Which e-mails.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Only to this recipient, in any case.
    pub(crate) to: Option<String>,
    /// Only those with a higher id.
    pub(crate) after: u64,
}

impl Wanted {
    fn has(&self, mail: &Mail) -> bool {
        let is_to = |wanted: &String| mail.to.iter().any(|to| to.eq_ignore_ascii_case(wanted));
        mail.id > self.after && self.to.as_ref().is_none_or(is_to)
    }
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    mails: Mutex<Mails>,
    mails_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Mails {
    kept: VecDeque<Mail>,
    bytes: usize,
    count: u64,
}

impl Mailbox {
    pub(crate) fn new(options: &SmtpOptions) -> Self {
        Self {
            mails: Mutex::default(),
            mails_max: options.mails_max.max(1),
            bytes_max: options.mailbox_bytes_max,
        }
    }

    fn add(&self, at: i64, envelope: smtp::Envelope, raw: &[u8]) {
        let content = content::Content::read(raw);
        let mut mails = lock(&self.mails);
        mails.count += 1;
        let mail = Mail {
            id: mails.count,
            at,
            from: envelope.from,
            to: envelope.to,
            user: envelope.user,
            subject: content.subject,
            text: content.text,
            html: content.html,
            raw: String::from_utf8_lossy(raw).into_owned(),
        };
        mails.bytes += mail.raw.len();
        mails.kept.push_back(mail);
        // The newest stays, however large.
        while mails.kept.len() > self.mails_max || (mails.bytes > self.bytes_max && mails.kept.len() > 1) {
            if let Some(oldest) = mails.kept.pop_front() {
                mails.bytes -= oldest.raw.len();
            }
        }
    }

    /// Those that are wanted, oldest first, at most so many.
    pub(crate) fn read(&self, wanted: &Wanted, limit: usize) -> Vec<Mail> {
        let mails = lock(&self.mails);
        mails
            .kept
            .iter()
            .filter(|mail| wanted.has(mail))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Removes those that are meant; answers how many.
    pub(crate) fn remove(&self, meant: &Wanted) -> usize {
        let mut mails = lock(&self.mails);
        let before = mails.kept.len();
        mails.kept.retain(|mail| !meant.has(mail));
        mails.bytes = mails.kept.iter().map(|mail| mail.raw.len()).sum();
        before - mails.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Mailbox, SmtpOptions, Wanted, smtp};

    #[test]
    fn a_full_mailbox_lets_the_oldest_go() {
        let options = SmtpOptions {
            mails_max: 3,
            mailbox_bytes_max: 50,
            ..SmtpOptions::default()
        };
        let mailbox = Mailbox::new(&options);
        let add = |length: usize| mailbox.add(0, smtp::Envelope::default(), &vec![b'x'; length]);
        for _ in 0..4 {
            add(10);
        }
        let ids = || -> Vec<u64> {
            let mails = mailbox.read(&Wanted::default(), 10);
            mails.iter().map(|mail| mail.id).collect()
        };
        assert_eq!(ids(), [2, 3, 4]);
        add(35);
        assert_eq!(ids(), [4, 5]);
        add(100);
        assert_eq!(ids(), [6]);
        assert_eq!(mailbox.remove(&Wanted::default()), 1);
        assert!(ids().is_empty());
    }
}
