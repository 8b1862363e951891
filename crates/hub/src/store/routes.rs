//! Statements about the routes that messages take: one row for each leg.

use super::value::{FromValue, Row, Rows, Value, params};
use super::{StoreError, Tx};
use crate::conversations::model::{ChannelId, Millis};
use crate::ids::MessageId;
use crate::sending::route::model::{Leg, LegState};

macro_rules! select_legs {
    ($rest:literal) => {
        concat!(
            "SELECT l.origin_id, l.leg, l.message_id, l.channel_id, l.policy, l.state, l.reason, l.at, l.due_at, l.looked_at, l.late_at,
                l.no_route, l.expires_at, l.email_first, l.asked_channel_id ",
            $rest
        )
    };
}

impl Tx<'_> {
    /// Writes down a new leg.
    pub fn insert_leg(&mut self, leg: &Leg) -> Result<(), StoreError> {
        self.send(
            "INSERT INTO message_routes (origin_id, leg, message_id, channel_id, policy, state, reason, at, due_at, looked_at, late_at, no_route,
                expires_at, email_first, asked_channel_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                &leg.origin_id,
                leg.number,
                &leg.message_id,
                &leg.channel_id.0,
                &leg.policy,
                leg.state.as_str(),
                &leg.reason,
                leg.at,
                leg.due_at,
                leg.looked_at,
                leg.late_at,
                &leg.no_route,
                leg.expires_at,
                leg.email_first,
                leg.asked.as_ref().map(|channel| &channel.0),
            ],
        )
    }

    /// Keeps what has changed of a leg.
    pub fn update_leg(&mut self, leg: &Leg) -> Result<(), StoreError> {
        self.update_legs(std::slice::from_ref(leg))
    }

    /// The same of many.
    pub fn update_legs(&mut self, legs: &[Leg]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for leg in legs {
            rows.push(params![
                &leg.origin_id,
                leg.number,
                leg.state.as_str(),
                leg.due_at,
                leg.looked_at,
                leg.late_at,
                &leg.no_route,
                leg.at,
            ]);
        }
        self.send_rows(
            "UPDATE message_routes SET state = r.state, due_at = r.due_at, looked_at = r.looked_at, late_at = r.late_at,
                no_route = r.no_route, at = r.at
             {from r: origin_id blob, leg int, state text, due_at int, looked_at int, late_at int, no_route text, at int}
             WHERE message_routes.origin_id = r.origin_id AND message_routes.leg = r.leg",
            &rows,
        )
    }

    /// The legs of these messages, each named by the message that was accepted, in their order.
    pub fn legs_of_origins(&mut self, origins: &[MessageId]) -> Result<Vec<Leg>, StoreError> {
        let mut rows = Rows::new();
        for origin in origins {
            rows.push(params![origin]);
        }
        let found = self.query_rows(
            select_legs!(
                "FROM {each r: id blob} message_routes AS l WHERE l.origin_id = r.id ORDER BY l.origin_id, l.leg"
            ),
            &rows,
        )?;
        found.iter().map(leg).collect()
    }

    /// The legs that these messages are, in no particular order; those that follow no policy are left out.
    pub fn legs_of_messages(&mut self, messages: &[MessageId]) -> Result<Vec<Leg>, StoreError> {
        let mut rows = Rows::new();
        for message in messages {
            rows.push(params![message]);
        }
        let found = self.query_rows(
            select_legs!("FROM {each r: id blob} message_routes AS l WHERE l.message_id = r.id"),
            &rows,
        )?;
        found.iter().map(leg).collect()
    }

    /// The legs of a message, locked until the unit ends.
    pub fn lock_legs(&mut self, origin: MessageId) -> Result<Vec<Leg>, StoreError> {
        let rows = self.query(
            select_legs!("FROM message_routes AS l WHERE l.origin_id = ?1 ORDER BY l.leg {lock l}"),
            params![&origin],
        )?;
        rows.iter().map(leg).collect()
    }

    /// The legs of many messages, locked until the unit ends: each named by the message that was accepted, and those of one beside each other.
    pub fn lock_legs_of_origins(&mut self, origins: &[MessageId]) -> Result<Vec<Leg>, StoreError> {
        let mut rows = Rows::new();
        for origin in origins {
            rows.push(params![origin]);
        }
        let found = self.query_rows(
            select_legs!(
                "FROM {each r: id blob} message_routes AS l WHERE l.origin_id = r.id ORDER BY l.origin_id, l.leg {lock l}"
            ),
            &rows,
        )?;
        found.iter().map(leg).collect()
    }

    /// Of which message each of these is a later leg; those that are none are left out.
    pub fn origins_of_messages(&mut self, messages: &[MessageId]) -> Result<Vec<(MessageId, MessageId)>, StoreError> {
        let mut rows = Rows::new();
        for message in messages {
            rows.push(params![message]);
        }
        let found = self.query_rows(
            "SELECT l.message_id, l.origin_id FROM {each r: id blob} message_routes AS l WHERE l.message_id = r.id AND l.leg > 0",
            &rows,
        )?;
        found.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// Messages of which a leg is to be looked at, the longest due first.
    pub fn routes_due(&mut self, now: Millis, limit: u32) -> Result<Vec<MessageId>, StoreError> {
        let rows = self.query(
            "SELECT l.origin_id FROM message_routes AS l WHERE l.due_at IS NOT NULL AND l.due_at <= ?1 ORDER BY l.due_at LIMIT ?2",
            params![now, limit],
        )?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Messages that a channel is at work on and that were not looked at since a time, the longest not looked at first; those are left out for
    /// which there was no other route.
    pub fn routes_at_work(
        &mut self,
        channel: &ChannelId,
        before: Millis,
        limit: u32,
    ) -> Result<Vec<MessageId>, StoreError> {
        let rows = self.query(
            "SELECT l.origin_id FROM message_routes AS l
             WHERE l.channel_id = ?1 AND l.state = 'working' AND l.no_route IS NULL AND l.looked_at <= ?2
             ORDER BY l.looked_at LIMIT ?3",
            params![&channel.0, before, limit],
        )?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The same, of those for which there was no other route.
    pub fn routes_stranded(
        &mut self,
        channel: &ChannelId,
        before: Millis,
        limit: u32,
    ) -> Result<Vec<MessageId>, StoreError> {
        let rows = self.query(
            "SELECT l.origin_id FROM message_routes AS l
             WHERE l.channel_id = ?1 AND l.state = 'working' AND l.no_route IS NOT NULL AND l.looked_at <= ?2
             ORDER BY l.looked_at LIMIT ?3",
            params![&channel.0, before, limit],
        )?;
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn leg(row: &Row) -> Result<Leg, StoreError> {
    Ok(Leg {
        origin_id: row.get(0)?,
        number: row.get(1)?,
        message_id: row.get(2)?,
        channel_id: ChannelId(row.get(3)?),
        policy: row.get(4)?,
        state: row.get(5)?,
        reason: row.get(6)?,
        at: row.get(7)?,
        due_at: row.get(8)?,
        looked_at: row.get(9)?,
        late_at: row.get(10)?,
        no_route: row.get(11)?,
        expires_at: row.get(12)?,
        email_first: row.get(13)?,
        asked: row.get::<Option<String>>(14)?.map(ChannelId),
    })
}

impl FromValue for LegState {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
