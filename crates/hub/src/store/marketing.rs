//! Statements about who has had enough advertising.

use super::value::{Rows, params};
use super::{StoreError, Tx};
use crate::conversations::model::Millis;
use crate::ids::ContactId;

impl Tx<'_> {
    /// Meta has said of these people, at these times, that they get no more advertising: the last time stands.
    pub fn note_marketing_caps(&mut self, met: &[(ContactId, Millis)]) -> Result<(), StoreError> {
        let mut met = met.to_vec();
        // One row each, the later one, and in an order in which no two units wait for each other.
        met.sort_unstable_by_key(|(contact, at)| (*contact, std::cmp::Reverse(*at)));
        met.dedup_by_key(|(contact, _)| *contact);
        let mut rows = Rows::new();
        for (contact, at) in &met {
            rows.push(params![contact, *at]);
        }
        self.send_rows(
            "INSERT INTO marketing_caps (contact_id, met_at) {insert r.contact_id, r.met_at of r: contact_id blob, met_at int}
             ON CONFLICT (contact_id) DO UPDATE SET met_at = EXCLUDED.met_at WHERE marketing_caps.met_at < EXCLUDED.met_at",
            &rows,
        )
    }

    /// When Meta said so last of these people; those of whom it never did are absent.
    pub fn marketing_caps(&mut self, contacts: &[ContactId]) -> Result<Vec<(ContactId, Millis)>, StoreError> {
        let mut rows = Rows::new();
        for contact in contacts {
            rows.push(params![contact]);
        }
        let found = self.query_rows(
            "SELECT c.contact_id, c.met_at FROM {each r: contact_id blob} marketing_caps AS c WHERE c.contact_id = r.contact_id",
            &rows,
        )?;
        found.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// What was said of one of two people who are one is said of that one.
    pub(super) fn merge_marketing_caps(&mut self, from: ContactId, into: ContactId) -> Result<(), StoreError> {
        self.send(
            "INSERT INTO marketing_caps (contact_id, met_at) SELECT ?2, c.met_at FROM marketing_caps AS c WHERE c.contact_id = ?1
             ON CONFLICT (contact_id) DO UPDATE SET met_at = EXCLUDED.met_at WHERE marketing_caps.met_at < EXCLUDED.met_at",
            params![&from, &into],
        )?;
        self.send("DELETE FROM marketing_caps WHERE contact_id = ?1", params![&from])
    }

    /// Forgets who was said to have had enough before a time, a thousand at most; answers with how many.
    pub fn prune_marketing_caps(&mut self, before: Millis) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM marketing_caps WHERE contact_id IN
                (SELECT contact_id FROM marketing_caps WHERE met_at < ?1 ORDER BY met_at LIMIT 1000)",
            params![before],
        )
    }
}
