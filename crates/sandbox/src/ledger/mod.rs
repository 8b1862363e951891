//! The ledger: everything that happened, in order, with its time.
//!
//! Tests assert on it ("each message exactly once, in order, never over the pace"), so it is written at the moment the thing
//! happens and never changed. It is bounded: when full, the oldest entries go, and the count of those that went is told
//! with every reading. The [`summary`] counts them all the same.

mod summary;

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lock;
use summary::Sums;
pub use summary::{AccountSummary, Summary, Troubles};

/// What an entry of the ledger tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LedgerKind {
    /// A Graph request arrived. `detail`: method, path, parameters (without the token).
    Received,
    /// A message was accepted for sending. `detail`: what it says.
    Accepted,
    /// A Graph request was answered with an error. `detail`: the error's code and text.
    Refused,
    /// A message was accepted that will never arrive, because its BSUID stood in `to` (whatsapp.md 6.4).
    Swallowed,
    /// A fault that somebody asked for was applied. `detail`: which.
    Faulted,
    /// A message reached the customer's phone.
    Delivered,
    /// The customer looked at the message.
    Read,
    /// An accepted message failed later. `detail`: the error's code.
    Failed,
    /// The customer did something: wrote, reacted, unsent, pressed. `detail`: what.
    Written,
    /// A webhook was posted, once. `detail`: post, attempt, events, status or error.
    Posted,
    /// A webhook was answered with 200. `detail`: post, attempts, events.
    Acknowledged,
    /// A webhook was repeated for as long as Meta repeats, and dropped. `detail`: post, attempts, events.
    GaveUp,
    /// An event was not posted at all. `detail`: why (nobody subscribed, too much is waiting).
    Dropped,
    /// The SMTP sink took an e-mail. `detail`: from, to, bytes.
    Mailed,
    /// A callback was verified with the handshake, or failed it. `detail`: address and outcome.
    Verified,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Counts from 1, without gaps.
    pub sequence: u64,
    /// When, by the sandbox's clock, in milliseconds since 1970.
    pub at: i64,
    /// What kind of thing.
    pub kind: LedgerKind,
    /// The phone number id or Instagram account id concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The customer concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The message concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The rest, by kind.
    pub detail: Value,
}

/// What to write into the ledger; it adds number and time.
#[derive(Debug, Default)]
pub(crate) struct Subject<'a> {
    pub(crate) account: Option<&'a str>,
    pub(crate) customer: Option<&'a str>,
    pub(crate) message_id: Option<&'a str>,
}

/// A reading of the ledger.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reading {
    pub(crate) entries: Vec<LedgerEntry>,
    /// The `after` of the next reading.
    pub(crate) next: u64,
    /// How many of the oldest entries are gone since the start.
    pub(crate) dropped: u64,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
    entries_max: usize,
    keys_max: usize,
}

#[derive(Debug)]
struct Entries {
    kept: VecDeque<LedgerEntry>,
    written: u64,
    sums: Sums,
}

impl Ledger {
    pub(crate) fn new(entries_max: usize, keys_max: usize) -> Self {
        let entries = Entries {
            kept: VecDeque::new(),
            written: 0,
            sums: Sums::new(keys_max),
        };
        Self {
            entries: Mutex::new(entries),
            entries_max,
            keys_max,
        }
    }

    /// Whether entries are kept at all; without, their details matter only as far as the summary looks at them.
    pub(crate) fn keeps_entries(&self) -> bool {
        self.entries_max > 0
    }

    /// Forgets everything but how much it was.
    pub(crate) fn clear(&self) {
        let mut entries = lock(&self.entries);
        entries.kept.clear();
        entries.sums = Sums::new(self.keys_max);
    }

    pub(crate) fn summary(&self) -> Summary {
        lock(&self.entries).sums.summary()
    }

    pub(crate) fn write(&self, at: i64, kind: LedgerKind, subject: &Subject<'_>, detail: Value) {
        let mut entries = lock(&self.entries);
        entries.written += 1;
        let sequence = entries.written;
        let entry = LedgerEntry {
            sequence,
            at,
            kind,
            account: subject.account.map(str::to_owned),
            customer: subject.customer.map(str::to_owned),
            message_id: subject.message_id.map(str::to_owned),
            detail,
        };
        entries.sums.add(&entry);
        if entries.kept.len() >= self.entries_max {
            entries.kept.pop_front();
        }
        if self.entries_max > 0 {
            entries.kept.push_back(entry);
        }
    }

    pub(crate) fn all(&self) -> Vec<LedgerEntry> {
        lock(&self.entries).kept.iter().cloned().collect()
    }

    /// Entries numbered above `after`, at most `limit`, only of `kind` if given.
    pub(crate) fn read(&self, after: u64, kind: Option<LedgerKind>, limit: usize) -> Reading {
        let entries = lock(&self.entries);
        let dropped = entries.written - entries.kept.len() as u64;
        let skip = usize::try_from(after.saturating_sub(dropped)).unwrap_or(usize::MAX);
        let found: Vec<_> = entries
            .kept
            .iter()
            .skip(skip)
            .filter(|entry| kind.is_none_or(|kind| entry.kind == kind))
            .take(limit)
            .cloned()
            .collect();
        // Short of the limit means that everything was looked at.
        let next = match found.last() {
            Some(last) if found.len() == limit => last.sequence,
            _ => entries.written.max(after),
        };
        Reading {
            entries: found,
            next,
            dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, LedgerKind, Subject};
    use serde_json::Value;

    #[test]
    fn a_full_ledger_drops_the_oldest_and_says_so() {
        let ledger = Ledger::new(3, 10);
        for at in 0..5 {
            ledger.write(at, LedgerKind::Received, &Subject::default(), Value::Null);
        }
        let reading = ledger.read(0, None, 2);
        assert_eq!(reading.dropped, 2);
        assert_eq!(
            reading.entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(),
            [3, 4]
        );
        assert_eq!(reading.next, 4);
        let rest = ledger.read(reading.next, None, 2);
        assert_eq!((rest.entries.len(), rest.next), (1, 5));
        assert_eq!(ledger.read(0, Some(LedgerKind::Posted), 2).entries.len(), 0);
    }
}
