//! What one row of the catalogue is.

use std::borrow::Cow;
use std::time::Duration;

use super::{Class, Explanation};

/// Which codes a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codes {
    /// Each of these.
    Each(&'static [i64]),
    /// Every code from the first to the last, where Meta documents them as a block; a row of its own comes first.
    Range(i64, i64),
}

/// One row of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The codes.
    pub codes: Codes,
    /// The subcodes that this row is about; empty for a row about its codes whatever the subcode.
    pub subcodes: &'static [i64],
    /// What a sender does with it.
    pub class: Class,
    /// For a person: what happened.
    pub meaning: &'static str,
    /// For a person: what to do about it.
    pub remedy: &'static str,
    /// How long to wait at least before the next try, where documented.
    pub wait: Option<Duration>,
    /// Whether a message may have been delivered in spite of this error.
    pub may_have_arrived: bool,
}

impl Row {
    pub(super) const fn new(
        codes: Codes,
        subcodes: &'static [i64],
        class: Class,
        meaning: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self {
            codes,
            subcodes,
            class,
            meaning,
            remedy,
            wait: None,
            may_have_arrived: false,
        }
    }

    pub(super) const fn wait_minutes(mut self, minutes: u64) -> Self {
        self.wait = Some(Duration::from_mins(minutes));
        self
    }

    pub(super) const fn wait_hours(self, hours: u64) -> Self {
        self.wait_minutes(hours * 60)
    }

    pub(super) const fn may_have_arrived(mut self) -> Self {
        self.may_have_arrived = true;
        self
    }

    pub(super) fn has_subcode(&self, code: i64, subcode: i64) -> bool {
        self.subcodes.contains(&subcode)
            && match self.codes {
                Codes::Each(codes) => codes.contains(&code),
                Codes::Range(first, last) => (first..=last).contains(&code),
            }
    }

    pub(super) fn has_code(&self, code: i64) -> bool {
        self.subcodes.is_empty() && matches!(self.codes, Codes::Each(codes) if codes.contains(&code))
    }

    pub(super) fn has_code_in_range(&self, code: i64) -> bool {
        self.subcodes.is_empty() && matches!(self.codes, Codes::Range(first, last) if (first..=last).contains(&code))
    }

    pub(super) fn explanation(&'static self) -> Explanation {
        Explanation {
            class: self.class,
            meaning: Cow::Borrowed(self.meaning),
            remedy: self.remedy,
            listed: true,
            wait: self.wait,
            may_have_arrived: self.may_have_arrived,
        }
    }
}

/// A row about single codes.
pub(super) const fn code(codes: &'static [i64], class: Class, meaning: &'static str, remedy: &'static str) -> Row {
    Row::new(Codes::Each(codes), &[], class, meaning, remedy)
}

/// A row about subcodes of single codes.
pub(super) const fn subcode(
    codes: &'static [i64],
    subcodes: &'static [i64],
    class: Class,
    meaning: &'static str,
    remedy: &'static str,
) -> Row {
    Row::new(Codes::Each(codes), subcodes, class, meaning, remedy)
}

/// A row about a block of codes.
pub(super) const fn range(first: i64, last: i64, class: Class, meaning: &'static str, remedy: &'static str) -> Row {
    Row::new(Codes::Range(first, last), &[], class, meaning, remedy)
}
