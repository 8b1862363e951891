//! Statements about what contacts have said of being written to.

use std::collections::HashSet;

use super::value::{FromValue, Row, Rows, Value, params};
use super::{StoreError, Tx};
use crate::conversations::consent::model::{Keeper, Source, Statement};
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::{ConsentId, ContactId, ConversationId, MessageId};
use crate::sending::model::Purpose;

/// The columns that [`statement`] reads, of the alias `c`.
macro_rules! select_statements {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.contact_id, c.purpose, c.opted_out, c.source, c.at, c.channel_id, c.detail, c.actor, c.noted_at ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// Keeps what contacts have said; answers with what was not known yet, in the order given. Whoever calls this has locked the contacts.
    pub fn insert_consent_statements(&mut self, said: &[Statement]) -> Result<Vec<Statement>, StoreError> {
        let mut rows = Rows::new();
        for of in said {
            rows.push(params![
                &of.id,
                of.purpose.as_str(),
                &of.contact_id,
                of.source.keeper().as_str(),
                of.at,
                of.opted_out,
                of.source.as_str(),
                of.channel_id.as_ref().map(|channel| channel.0.as_str()),
                &of.detail,
                &of.actor,
                of.noted_at,
            ]);
        }
        let inserted = self.query_rows(
            "INSERT INTO consent_statements (id, purpose, contact_id, keeper, at, opted_out, source, channel_id, detail, actor, noted_at)
             {insert r.id, r.purpose, r.contact_id, r.keeper, r.at, r.opted_out, r.source, r.channel_id, r.detail, r.actor, r.noted_at of
                r: id blob, purpose text, contact_id blob, keeper text, at int, opted_out int, source text, channel_id text, detail text,
                actor text, noted_at int} ON CONFLICT DO NOTHING RETURNING id, purpose",
            &rows,
        )?;
        let mut new: HashSet<(ConsentId, Purpose)> = HashSet::new();
        for row in &inserted {
            new.insert((row.get(0)?, row.get(1)?));
        }
        Ok(said
            .iter()
            .filter(|of| new.remove(&(of.id, of.purpose)))
            .cloned()
            .collect())
    }

    /// What stands of what these contacts have said, of each purpose and keeper the latest, in no particular order.
    pub fn standing_consent_statements(&mut self, contacts: &[ContactId]) -> Result<Vec<Statement>, StoreError> {
        let mut rows = Rows::new();
        for contact in contacts {
            for (purpose, keeper) in Keeper::LISTS {
                rows.push(params![contact, purpose.as_str(), keeper.as_str()]);
            }
        }
        let found = self.query_rows(
            select_statements!(
                "FROM {each r: contact_id blob, purpose text, keeper text} consent_statements AS c
                 WHERE c.purpose = r.purpose AND c.id = (SELECT l.id FROM consent_statements AS l
                    WHERE l.contact_id = r.contact_id AND l.purpose = r.purpose AND l.keeper = r.keeper
                    ORDER BY l.at DESC, l.opted_out DESC, l.id DESC LIMIT 1)"
            ),
            &rows,
        )?;
        found.iter().map(statement).collect()
    }

    /// What a contact has said, the latest first, after a place in that list.
    pub fn consent_statements(
        &mut self,
        contact: ContactId,
        after: Option<(Millis, ConsentId, Purpose)>,
        limit: u32,
    ) -> Result<Vec<Statement>, StoreError> {
        let (at, id, purpose) = after.unwrap_or((Millis::MAX, ConsentId::MAX, Purpose::Service));
        let rows = self.query(
            select_statements!(
                "FROM consent_statements AS c WHERE c.contact_id = ?1 AND (c.at, c.id, c.purpose) < (?2, ?3, ?4)
                 ORDER BY c.at DESC, c.id DESC, c.purpose DESC LIMIT ?5"
            ),
            params![&contact, at, &id, purpose.as_str(), limit],
        )?;
        rows.iter().map(statement).collect()
    }

    /// Messages of a conversation that wait to be sent, for their turn or for their time, after one of them in the order of their ids.
    pub fn waiting_messages_of_conversation(
        &mut self,
        channel: &ChannelId,
        conversation: ConversationId,
        after: MessageId,
        limit: u32,
    ) -> Result<Vec<MessageId>, StoreError> {
        let rows = self.query(
            "SELECT w.message_id FROM (
                SELECT o.message_id AS message_id FROM outbox AS o
                WHERE o.channel_id = ?1 AND o.conversation_id = ?2 AND o.state = 'waiting' AND o.message_id > ?3
                UNION ALL
                SELECT s.message_id AS message_id FROM scheduled_messages AS s WHERE s.conversation_id = ?2 AND s.message_id > ?3
             ) AS w ORDER BY w.message_id LIMIT ?4",
            params![&channel.0, &conversation, &after, limit],
        )?;
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn statement(row: &Row) -> Result<Statement, StoreError> {
    Ok(Statement {
        id: row.get(0)?,
        contact_id: row.get(1)?,
        purpose: row.get(2)?,
        opted_out: row.get(3)?,
        source: row.get(4)?,
        at: row.get(5)?,
        channel_id: row.get::<Option<String>>(6)?.map(ChannelId),
        detail: row.get(7)?,
        actor: row.get(8)?,
        noted_at: row.get(9)?,
    })
}

impl FromValue for Source {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
