//! Statements about message templates, and about reading them anew.
//!
//! Who changes a definition locks its account's row of `template_syncs` first ([`Tx::want_template_sync`] and
//! [`Tx::lock_template_sync`]), so that what was read and what was told never replace each other unseen.

use super::value::{Row, Rows, params};
use super::{StoreError, Tx};
use crate::channels::templates::model::{Definition, SyncState};
use crate::conversations::model::Millis;
use crate::ids::TemplateId;

/// Where a template is in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplatePlace {
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// The account.
    pub business_account: String,
}

/// What has to be known of a template before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateStanding {
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// Its status.
    pub status: String,
    /// Until when it is paused.
    pub paused_until: Option<Millis>,
    /// Its category.
    pub category: String,
}

/// The columns that [`definition`] reads, of the alias `t`.
macro_rules! select_templates {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, t.business_account, t.name, t.language, t.external_id, t.category, t.correct_category, t.status, t.reason,
                t.paused_until, t.quality, t.named, t.components, t.ttl_seconds, t.status_at, t.told, t.created_at, t.changed_at ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// A template in one language; also one that is deleted.
    pub fn template(
        &mut self,
        business_account: &str,
        name: &str,
        language: &str,
    ) -> Result<Option<Definition>, StoreError> {
        self.query_opt(
            select_templates!("FROM templates AS t WHERE t.business_account = ?1 AND t.name = ?2 AND t.language = ?3"),
            params![business_account, name, language],
        )?
        .map(|row| definition(&row))
        .transpose()
    }

    /// These templates; those that are not known are absent.
    pub fn templates_by_ids(&mut self, ids: &[TemplateId]) -> Result<Vec<Definition>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            select_templates!("FROM {each r: id blob} templates AS t WHERE t.id = r.id"),
            &rows,
        )?;
        found.iter().map(definition).collect()
    }

    /// The languages that a template has, deleted ones left out, ten at most.
    pub fn template_languages(&mut self, business_account: &str, name: &str) -> Result<Vec<String>, StoreError> {
        let rows = self.query(
            "SELECT t.language FROM templates AS t WHERE t.business_account = ?1 AND t.name = ?2 AND t.status <> 'deleted'
             ORDER BY t.language LIMIT 10",
            params![business_account, name],
        )?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Templates of all accounts after a place, in the order of their names and languages.
    pub fn templates_after(&mut self, after: &TemplatePlace, limit: u32) -> Result<Vec<Definition>, StoreError> {
        let rows = self.query(
            select_templates!(
                "FROM templates AS t WHERE (t.name, t.language, t.business_account) > (?1, ?2, ?3)
                 ORDER BY t.name, t.language, t.business_account LIMIT ?4"
            ),
            params![&after.name, &after.language, &after.business_account, limit],
        )?;
        rows.iter().map(definition).collect()
    }

    /// All templates of an account, deleted ones too, up to a limit.
    pub fn templates_of_account(&mut self, business_account: &str, limit: u32) -> Result<Vec<Definition>, StoreError> {
        let rows = self.query(
            select_templates!("FROM templates AS t WHERE t.business_account = ?1 ORDER BY t.name, t.language LIMIT ?2"),
            params![business_account, limit],
        )?;
        rows.iter().map(definition).collect()
    }

    /// How these templates stand; those that are not known are absent.
    /// They stay as they are until the unit is committed: whoever is told to wait for one is found by whoever lets it go on.
    pub fn template_standings(
        &mut self,
        business_account: &str,
        keys: &[(&str, &str)],
    ) -> Result<Vec<TemplateStanding>, StoreError> {
        let mut rows = Rows::new();
        for (name, language) in keys {
            rows.push(params![business_account, *name, *language]);
        }
        let found = self.query_rows(
            "SELECT t.name, t.language, t.status, t.paused_until, t.category
             FROM {each r: business_account text, name text, language text} templates AS t
             WHERE t.business_account = r.business_account AND t.name = r.name AND t.language = r.language
             {postgres ORDER BY t.name, t.language FOR SHARE OF t}",
            &rows,
        )?;
        found
            .iter()
            .map(|row| {
                Ok(TemplateStanding {
                    name: row.get(0)?,
                    language: row.get(1)?,
                    status: row.get(2)?,
                    paused_until: row.get(3)?,
                    category: row.get(4)?,
                })
            })
            .collect()
    }

    /// Keeps definitions, new ones and changed ones. One whose account, name and language are known keeps its id.
    pub fn keep_templates(&mut self, definitions: &[&Definition]) -> Result<(), StoreError> {
        let components: Vec<String> = definitions
            .iter()
            .map(|definition| serde_json::Value::from(definition.components.clone()).to_string())
            .collect();
        let mut rows = Rows::new();
        for (definition, components) in definitions.iter().zip(&components) {
            rows.push(params![
                &definition.id,
                &definition.business_account,
                &definition.name,
                &definition.language,
                &definition.external_id,
                &definition.category,
                &definition.correct_category,
                &definition.status,
                &definition.reason,
                definition.paused_until,
                &definition.quality,
                definition.is_named,
                components,
                definition.ttl_seconds,
                definition.status_at,
                definition.told,
                definition.created_at,
                definition.changed_at
            ]);
        }
        self.send_rows(
            "INSERT INTO templates (id, business_account, name, language, external_id, category, correct_category, status, reason,
                paused_until, quality, named, components, ttl_seconds, status_at, told, created_at, changed_at)
             {insert r.id, r.business_account, r.name, r.language, r.external_id, r.category, r.correct_category, r.status, r.reason, r.paused_until, r.quality, r.named, r.components, r.ttl_seconds, r.status_at, r.told, r.created_at, r.changed_at of r: id blob, business_account text, name text, language text, external_id text, category text, correct_category text, status text, reason text, paused_until int, quality text, named int, components text, ttl_seconds int, status_at int, told int, created_at int, changed_at int}
             ON CONFLICT (business_account, name, language) DO UPDATE SET external_id = EXCLUDED.external_id,
                category = EXCLUDED.category, correct_category = EXCLUDED.correct_category, status = EXCLUDED.status,
                reason = EXCLUDED.reason, paused_until = EXCLUDED.paused_until, quality = EXCLUDED.quality, named = EXCLUDED.named,
                components = EXCLUDED.components, ttl_seconds = EXCLUDED.ttl_seconds, status_at = EXCLUDED.status_at,
                told = EXCLUDED.told, changed_at = EXCLUDED.changed_at",
            &rows,
        )
    }

    /// Forgets templates of an account that were deleted before a time; answers with how many.
    pub fn prune_templates(&mut self, business_account: &str, before: Millis) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM templates WHERE business_account = ?1 AND status = 'deleted' AND changed_at < ?2",
            params![business_account, before],
        )
    }

    /// Asks for an account's templates to be read anew, as soon as may be; answers with the number of this request. The account's row is
    /// locked until the unit ends.
    pub fn want_template_sync(&mut self, business_account: &str, now: Millis) -> Result<i64, StoreError> {
        let row = self.query_opt(
            "INSERT INTO template_syncs (business_account, wanted, due_at, synced_at, failures, error) VALUES (?1, 1, ?2, NULL, 0, NULL)
             ON CONFLICT (business_account) DO UPDATE SET wanted = template_syncs.wanted + 1,
                due_at = CASE WHEN template_syncs.due_at > ?2 THEN ?2 ELSE template_syncs.due_at END
             RETURNING wanted",
            params![business_account, now],
        )?;
        row.map_or(Ok(0), |row| row.get(0))
    }

    /// Begins to read an account's templates, if they are due: until a time nobody else does. Answers with the state as it is now.
    pub fn claim_template_sync(
        &mut self,
        business_account: &str,
        now: Millis,
        until: Millis,
    ) -> Result<Option<SyncState>, StoreError> {
        self.query_opt(
            "INSERT INTO template_syncs (business_account, wanted, due_at, synced_at, failures, error) VALUES (?1, 0, ?3, NULL, 0, NULL)
             ON CONFLICT (business_account) DO UPDATE SET due_at = ?3 WHERE template_syncs.due_at <= ?2
             RETURNING business_account, wanted, due_at, synced_at, failures, error",
            params![business_account, now, until],
        )?
        .map(|row| sync_state(&row))
        .transpose()
    }

    /// How an account's templates are kept in step, locked until the unit ends; `None`: they never were.
    pub fn lock_template_sync(&mut self, business_account: &str) -> Result<Option<SyncState>, StoreError> {
        self.query_opt(
            "SELECT s.business_account, s.wanted, s.due_at, s.synced_at, s.failures, s.error FROM template_syncs AS s
             WHERE s.business_account = ?1 {lock s}",
            params![business_account],
        )?
        .map(|row| sync_state(&row))
        .transpose()
    }

    /// The same, without a lock.
    pub fn template_sync(&mut self, business_account: &str) -> Result<Option<SyncState>, StoreError> {
        self.query_opt(
            "SELECT s.business_account, s.wanted, s.due_at, s.synced_at, s.failures, s.error FROM template_syncs AS s
             WHERE s.business_account = ?1",
            params![business_account],
        )?
        .map(|row| sync_state(&row))
        .transpose()
    }

    /// Writes down what came of reading an account's templates. `due_at` holds unless they were asked for since `state` was read: then they
    /// are due at once.
    pub fn finish_template_sync(&mut self, state: &SyncState) -> Result<(), StoreError> {
        self.send(
            "UPDATE template_syncs SET synced_at = ?3, failures = ?4, error = ?5,
                due_at = CASE WHEN wanted > ?2 AND due_at < ?6 THEN due_at ELSE ?6 END WHERE business_account = ?1",
            params![
                &state.business_account,
                state.wanted,
                state.synced_at,
                state.failures,
                &state.error,
                state.due_at
            ],
        )
    }
}

fn sync_state(row: &Row) -> Result<SyncState, StoreError> {
    let failures: i64 = row.get(4)?;
    Ok(SyncState {
        business_account: row.get(0)?,
        wanted: row.get(1)?,
        due_at: row.get(2)?,
        synced_at: row.get(3)?,
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        error: row.get(5)?,
    })
}

fn definition(row: &Row) -> Result<Definition, StoreError> {
    let components: String = row.get(12)?;
    Ok(Definition {
        id: row.get(0)?,
        business_account: row.get(1)?,
        name: row.get(2)?,
        language: row.get(3)?,
        external_id: row.get(4)?,
        category: row.get(5)?,
        correct_category: row.get(6)?,
        status: row.get(7)?,
        reason: row.get(8)?,
        paused_until: row.get(9)?,
        quality: row.get(10)?,
        is_named: row.get(11)?,
        components: serde_json::from_str(&components).map_err(|_| StoreError::corrupt(12, "holds no components"))?,
        ttl_seconds: row.get(13)?,
        status_at: row.get(14)?,
        told: row.get(15)?,
        created_at: row.get(16)?,
        changed_at: row.get(17)?,
    })
}
