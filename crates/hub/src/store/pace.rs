//! Statements about how much a channel has sent, what its account has used of its budgets, and what it waits for: so that another node goes on
//! where the last one stopped.

use std::collections::BTreeMap;

use super::tx::AdvisoryLock;
use super::value::{Row, Rows, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::ContactId;
use crate::sending::model::{BudgetKind, ChannelPace};

impl Tx<'_> {
    /// Adds to the calls that a channel has made in a span of time; takes back where it is negative.
    pub fn add_pace_count(&mut self, channel: &ChannelId, span: i64, count: i64) -> Result<(), StoreError> {
        self.send(
            "INSERT INTO pace_counts (channel_id, span, count) VALUES (?1, ?2, ?3)
             ON CONFLICT (channel_id, span) DO UPDATE SET count = pace_counts.count + EXCLUDED.count",
            params![&channel.0, span, count],
        )
    }

    /// The calls that a channel has made, by span, from a span on.
    pub fn pace_counts(&mut self, channel: &ChannelId, since: i64) -> Result<Vec<(i64, i64)>, StoreError> {
        let rows = self.query(
            "SELECT span, count FROM pace_counts WHERE channel_id = ?1 AND span >= ?2 ORDER BY span",
            params![&channel.0, since],
        )?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// Forgets calls from before a span; answers with of how many spans.
    pub fn prune_pace(&mut self, channel: &ChannelId, span: i64) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM pace_counts WHERE channel_id = ?1 AND span < ?2",
            params![&channel.0, span],
        )
    }

    /// Has whoever else asks for this wait until the unit ends.
    pub fn lock_budget(&mut self, budget: &str) -> Result<(), StoreError> {
        self.lock_name(AdvisoryLock::Budget, budget)
    }

    /// Adds to what was used of a budget, by span; takes back where it is negative.
    pub fn add_to_budget(
        &mut self,
        budget: &str,
        kind: BudgetKind,
        used: &BTreeMap<i64, i64>,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for (span, count) in used.iter().filter(|(_, count)| **count != 0) {
            rows.push(params![budget, kind.as_str(), *span, *count]);
        }
        self.send_rows(
            "INSERT INTO budget_counts (budget, kind, span, count)
             {insert r.budget, r.kind, r.span, r.count of r: budget text, kind text, span int, count int}
             ON CONFLICT (budget, kind, span) DO UPDATE SET count = budget_counts.count + EXCLUDED.count",
            &rows,
        )
    }

    /// How much of a budget was used, from a span on.
    pub fn budget_used(&mut self, budget: &str, kind: BudgetKind, since: i64) -> Result<i64, StoreError> {
        let row = self.query_opt(
            "SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) FROM budget_counts WHERE budget = ?1 AND kind = ?2 AND span >= ?3",
            params![budget, kind.as_str(), since],
        )?;
        row.map_or(Ok(0), |row| row.get(0))
    }

    /// The first span, from one on, in which a budget was used; `None` if it was not.
    pub fn budget_first_used(&mut self, budget: &str, kind: BudgetKind, since: i64) -> Result<Option<i64>, StoreError> {
        self.query_opt(
            "SELECT span FROM budget_counts WHERE budget = ?1 AND kind = ?2 AND span >= ?3 AND count > 0 ORDER BY span LIMIT 1",
            params![budget, kind.as_str(), since],
        )?
        .map(|row| row.get(0))
        .transpose()
    }

    /// When the business last wrote to these people outside of a window; those to whom it never did are absent.
    pub fn people_reached(
        &mut self,
        budget: &str,
        contacts: &[ContactId],
    ) -> Result<Vec<(ContactId, Millis)>, StoreError> {
        let mut rows = Rows::new();
        for contact in contacts {
            rows.push(params![budget, contact]);
        }
        let found = self.query_rows(
            "SELECT p.contact_id, p.at FROM {each r: budget text, contact_id blob} people_reached AS p
             WHERE p.budget = r.budget AND p.contact_id = r.contact_id",
            &rows,
        )?;
        found.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// The business writes to these people outside of a window.
    pub fn note_people_reached(&mut self, budget: &str, contacts: &[ContactId], at: Millis) -> Result<(), StoreError> {
        let mut contacts = contacts.to_vec();
        contacts.sort_unstable();
        let mut rows = Rows::new();
        for contact in &contacts {
            rows.push(params![budget, contact, at]);
        }
        self.send_rows(
            "INSERT INTO people_reached (budget, contact_id, at)
             {insert r.budget, r.contact_id, r.at of r: budget text, contact_id blob, at int}
             ON CONFLICT (budget, contact_id) DO UPDATE SET at = EXCLUDED.at",
            &rows,
        )
    }

    /// The business has not written to these people at these times after all: what was known before holds again, unless it has written to them
    /// since. Answers with those to whom it has not.
    pub fn take_back_people_reached(
        &mut self,
        budget: &str,
        unreached: &[(ContactId, Millis, Option<Millis>)],
    ) -> Result<Vec<ContactId>, StoreError> {
        let (mut rows, mut never) = (Rows::new(), Rows::new());
        for (contact, at, before) in unreached {
            match before {
                Some(before) => rows.push(params![budget, contact, *at, *before]),
                None => never.push(params![budget, contact, *at]),
            }
        }
        let mut taken_back = self.query_rows(
            "UPDATE people_reached SET at = r.before {from r: budget text, contact_id blob, at int, before int}
             WHERE people_reached.budget = r.budget AND people_reached.contact_id = r.contact_id AND people_reached.at = r.at
             RETURNING people_reached.contact_id",
            &rows,
        )?;
        taken_back.extend(self.query_rows(
            "DELETE FROM people_reached WHERE (budget, contact_id, at)
                {in r.budget, r.contact_id, r.at of r: budget text, contact_id blob, at int} RETURNING contact_id",
            &never,
        )?);
        taken_back.iter().map(|row| row.get(0)).collect()
    }

    /// Forgets what was used of a budget before a span, and people from before a time, a thousand at most; answers with how many.
    pub fn prune_budget(&mut self, budget: &str, span: i64, before: Millis) -> Result<u64, StoreError> {
        let mut pruned = 0;
        for kind in BudgetKind::ALL {
            pruned += self.execute(
                "DELETE FROM budget_counts WHERE budget = ?1 AND kind = ?2 AND span < ?3",
                params![budget, kind.as_str(), span],
            )?;
        }
        let people = self.execute(
            "DELETE FROM people_reached WHERE budget = ?1 AND contact_id IN (SELECT p.contact_id FROM people_reached AS p
                WHERE p.budget = ?1 AND p.at < ?2 ORDER BY p.at LIMIT 1000)",
            params![budget, before],
        )?;
        Ok(pruned + people)
    }

    /// Says what a channel waits for, and how fast it goes.
    pub fn say_channel_pace(&mut self, pace: &ChannelPace) -> Result<(), StoreError> {
        self.send(
            "INSERT INTO channel_pace (channel_id, waits_for, until, per_second, said_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (channel_id) DO UPDATE SET waits_for = EXCLUDED.waits_for, until = EXCLUDED.until,
                per_second = EXCLUDED.per_second, said_at = EXCLUDED.said_at",
            params![
                &pace.channel_id.0,
                pace.waits_for.as_str(),
                pace.until,
                pace.per_second,
                pace.said_at
            ],
        )
    }

    /// What each channel waits for, as its leader last said.
    pub fn channel_paces(&mut self) -> Result<Vec<ChannelPace>, StoreError> {
        let rows = self.query(
            "SELECT channel_id, waits_for, until, per_second, said_at FROM channel_pace ORDER BY channel_id",
            params![],
        )?;
        rows.iter().map(channel_pace).collect()
    }

    /// What a channel waits for, as its leader last said; `None` if nothing was ever said.
    pub fn channel_pace(&mut self, channel: &ChannelId) -> Result<Option<ChannelPace>, StoreError> {
        self.query_opt(
            "SELECT channel_id, waits_for, until, per_second, said_at FROM channel_pace WHERE channel_id = ?1",
            params![&channel.0],
        )?
        .map(|row| channel_pace(&row))
        .transpose()
    }
}

fn channel_pace(row: &Row) -> Result<ChannelPace, StoreError> {
    Ok(ChannelPace {
        channel_id: ChannelId(row.get(0)?),
        waits_for: row.get(1)?,
        until: row.get(2)?,
        per_second: row
            .get::<Option<i64>>(3)?
            .map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
        said_at: row.get(4)?,
    })
}
