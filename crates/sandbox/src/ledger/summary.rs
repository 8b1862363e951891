//! The ledger's summary: counts that hold for everything that happened, also for what is no longer kept.
//!
//! It is reckoned as the ledger is written, so that 100,000 messages cost no more memory than their keys: 8 bytes and a count for
//! each callback data, each text to a recipient, and each recipient, up to `Limits::summary_keys`.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use serde::Serialize;

use super::{LedgerEntry, LedgerKind};
use crate::state::usage::{SECOND, Window};

/// Most examples of each trouble.
const EXAMPLES_MAX: usize = 20;

/// What the ledger adds up to.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many entries of each kind.
    pub kinds: BTreeMap<LedgerKind, u64>,
    /// By phone number id or Instagram account id.
    pub accounts: BTreeMap<String, AccountSummary>,
    /// Messages accepted more than once: with the same `biz_opaque_callback_data` from the same account.
    pub doubles_by_callback_data: Troubles,
    /// With the same text to the same recipient from the same account.
    pub doubles_by_text: Troubles,
    /// Messages accepted after one with a higher number to the same recipient from the same account. Only texts that hold `#` and a number
    /// take part.
    pub disorders: Troubles,
    /// How many messages were not looked at for doubles and disorder, for want of room.
    pub untracked: u64,
    /// When the first and the last message was accepted.
    pub first_accepted_at: Option<i64>,
    /// The last one.
    pub last_accepted_at: Option<i64>,
}

/// What one number or account did.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountSummary {
    /// Messages accepted.
    pub accepted: u64,
    /// Most messages accepted in any second.
    pub accepted_per_second_max: u64,
    /// Requests to send, accepted or not.
    pub requested: u64,
    /// Most requests to send in any second.
    pub requested_per_second_max: u64,
    /// Requests of any kind that were refused.
    pub refused: u64,
    /// The same, by code.
    pub refused_by_code: BTreeMap<i64, u64>,
    /// Messages accepted that reached nobody, because of a business-scoped user id in `to`.
    pub swallowed: u64,
    /// Messages that reached the customer.
    pub delivered: u64,
    /// Messages that the customer looked at.
    pub read: u64,
    /// Messages that failed after they were accepted.
    pub failed: u64,
    /// What customers did.
    pub written: u64,
}

/// How often something went wrong, with the first examples.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Troubles {
    /// How often.
    pub count: u64,
    /// The entries of the ledger, the first of them.
    pub examples: Vec<LedgerEntry>,
}

impl Troubles {
    fn note(&mut self, entry: &LedgerEntry) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(entry.clone());
        }
    }
}

#[derive(Debug)]
pub(super) struct Sums {
    summary: Summary,
    accepted: HashMap<String, Window>,
    requested: HashMap<String, Window>,
    callback_data: HashSet<u64>,
    texts: HashSet<u64>,
    /// The highest number that each recipient got.
    numbers: HashMap<u64, u64>,
    keys_max: usize,
}

impl Sums {
    pub(super) fn new(keys_max: usize) -> Self {
        Self {
            summary: Summary::default(),
            accepted: HashMap::new(),
            requested: HashMap::new(),
            callback_data: HashSet::new(),
            texts: HashSet::new(),
            numbers: HashMap::new(),
            keys_max,
        }
    }

    pub(super) fn summary(&self) -> Summary {
        self.summary.clone()
    }

    pub(super) fn add(&mut self, entry: &LedgerEntry) {
        *self.summary.kinds.entry(entry.kind).or_default() += 1;
        let Some(id) = &entry.account else { return };
        if !self.summary.accounts.contains_key(id) {
            // Whoever calls unknown ids makes no room for them.
            if !matches!(entry.kind, LedgerKind::Accepted | LedgerKind::Written) && !entry.is_send() {
                return;
            }
            if self.summary.accounts.len() >= self.keys_max {
                return;
            }
        }
        let account = self.summary.accounts.entry(id.clone()).or_default();
        match entry.kind {
            LedgerKind::Received if entry.is_send() => {
                account.requested += 1;
                let most = in_a_second(&mut self.requested, id, entry.at);
                account.requested_per_second_max = account.requested_per_second_max.max(most);
            }
            LedgerKind::Accepted => {
                account.accepted += 1;
                let most = in_a_second(&mut self.accepted, id, entry.at);
                account.accepted_per_second_max = account.accepted_per_second_max.max(most);
                self.summary.first_accepted_at.get_or_insert(entry.at);
                self.summary.last_accepted_at = Some(entry.at);
                self.track(entry, id);
            }
            LedgerKind::Refused => {
                account.refused += 1;
                let code = entry.detail["code"].as_i64().unwrap_or_default();
                if account.refused_by_code.len() < 1_000 || account.refused_by_code.contains_key(&code) {
                    *account.refused_by_code.entry(code).or_default() += 1;
                }
            }
            LedgerKind::Swallowed => account.swallowed += 1,
            LedgerKind::Delivered => account.delivered += 1,
            LedgerKind::Read => account.read += 1,
            LedgerKind::Failed => account.failed += 1,
            LedgerKind::Written => account.written += 1,
            _ => {}
        }
    }

    /// Looks for doubles and disorder.
    fn track(&mut self, entry: &LedgerEntry, account: &str) {
        let detail = &entry.detail;
        let to = detail["to"].as_str().unwrap_or_default();
        if self.callback_data.len().max(self.texts.len()).max(self.numbers.len()) >= self.keys_max {
            self.summary.untracked += 1;
            return;
        }
        if let Some(data) = detail["callbackData"].as_str()
            && !self.callback_data.insert(key(&[account, data]))
        {
            self.summary.doubles_by_callback_data.note(entry);
        }
        if let Some(text) = detail["text"].as_str() {
            let kind = detail["kind"].as_str().unwrap_or_default();
            if !self.texts.insert(key(&[account, to, kind, text])) {
                self.summary.doubles_by_text.note(entry);
            }
            if let Some(number) = number(text) {
                let highest = self.numbers.entry(key(&[account, to])).or_default();
                if number < *highest {
                    self.summary.disorders.note(entry);
                }
                *highest = number.max(*highest);
            }
        }
    }
}

impl LedgerEntry {
    /// A request to send.
    fn is_send(&self) -> bool {
        let path = self.detail["path"].as_str();
        self.kind == LedgerKind::Received && path.is_some_and(|path| path.ends_with("/messages"))
    }
}

fn in_a_second(windows: &mut HashMap<String, Window>, account: &str, at: i64) -> u64 {
    if !windows.contains_key(account) {
        windows.insert(account.to_owned(), Window::default());
    }
    let Some(window) = windows.get_mut(account) else {
        return 0;
    };
    window.add(at);
    window.count(at, SECOND)
}

/// The same in every run.
fn key(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// The number after the first `#` that has one.
fn number(text: &str) -> Option<u64> {
    text.split('#').skip(1).find_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_text_takes_part_in_the_order_with_its_number() {
        assert_eq!(number("Message #12 of 40"), Some(12));
        assert_eq!(number("Order # is #7"), Some(7));
        assert_eq!(number("at 18:00"), None);
        assert_eq!(number("#99999999999999999999999"), None);
    }
}
