//! The words by which contacts opt out and in: a list for each language, of which all hold for everybody.

use super::reading::Reading;
use super::values::word;
use crate::conversations::consent::words::Words;

const OPT_OUT: [&str; 7] = [
    "consent.opt_out.en",
    "consent.opt_out.nl",
    "consent.opt_out.de",
    "consent.opt_out.fr",
    "consent.opt_out.es",
    "consent.opt_out.pt",
    "consent.opt_out.other",
];
const OPT_IN: [&str; 7] = [
    "consent.opt_in.en",
    "consent.opt_in.nl",
    "consent.opt_in.de",
    "consent.opt_in.fr",
    "consent.opt_in.es",
    "consent.opt_in.pt",
    "consent.opt_in.other",
];

/// Reads all lists.
pub(super) fn read(reading: &mut Reading<'_>) -> Words {
    let opt_out: Vec<String> = OPT_OUT.iter().flat_map(|key| reading.list(key, word)).collect();
    let opt_in: Vec<String> = OPT_IN.iter().flat_map(|key| reading.list(key, word)).collect();
    Words::new(opt_out.iter().map(String::as_str), opt_in.iter().map(String::as_str))
}
