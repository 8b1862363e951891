//! One transaction, whichever engine it runs on.

use std::time::Duration;

use postgres::types::{ToSql, Type};

use super::StoreError;
use super::postgres_store::PostgresSession;
use super::sqlite_store::SqliteSession;
use super::statement::ColumnType;
use super::value::{Param, Row, Rows, Value};

/// The inside of one unit of work: its statements run in one transaction, on a database thread.
///
/// What can be asked of the store is in the other files of this folder, one a capability, as methods of `Tx`.
#[derive(Debug)]
pub struct Tx<'a> {
    session: Session<'a>,
}

#[derive(Debug)]
pub(super) enum Session<'a> {
    Sqlite(&'a SqliteSession),
    Postgres(&'a mut PostgresSession),
}

impl<'a> Tx<'a> {
    pub(super) fn new(session: Session<'a>) -> Self {
        Self { session }
    }

    pub(super) fn session(&self) -> &Session<'a> {
        &self.session
    }

    pub(super) fn session_mut(&mut self) -> &mut Session<'a> {
        &mut self.session
    }

    /// Runs a statement and tells how many rows it touched.
    pub(super) fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        match &mut self.session {
            Session::Sqlite(session) => session.execute(sql, params),
            Session::Postgres(session) => session.execute(sql, params),
        }
    }

    /// Runs a statement whose answer is not needed. Postgres gets it with whatever the unit asks next, or with its end, and if it fails, so does that.
    pub(super) fn send(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<(), StoreError> {
        match &mut self.session {
            Session::Sqlite(session) => session.execute(sql, params).map(|_| ()),
            Session::Postgres(session) => session.send(sql, params),
        }
    }

    /// Runs a query.
    pub(super) fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        match &mut self.session {
            Session::Sqlite(session) => session.query(sql, params),
            Session::Postgres(session) => session.query(sql, params),
        }
    }

    /// Runs a query that answers with one row at most.
    pub(super) fn query_opt(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// Runs a statement with a token of rows for many rows: in a loop on SQLite, at once on Postgres.
    pub(super) fn execute_rows(&mut self, sql: &'static str, rows: &Rows<'_>) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        match &mut self.session {
            Session::Sqlite(session) => session.execute_rows(sql, rows),
            Session::Postgres(session) => session.execute_rows(sql, rows),
        }
    }

    /// [`Self::execute_rows`] where the answer is not needed, as with [`Self::send`].
    pub(super) fn send_rows(&mut self, sql: &'static str, rows: &Rows<'_>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        match &mut self.session {
            Session::Sqlite(session) => session.execute_rows(sql, rows).map(|_| ()),
            Session::Postgres(session) => session.send_rows(sql, rows),
        }
    }

    /// The same, of a statement that inserts rows of which there is none yet, `ON CONFLICT DO NOTHING` on SQLite: if there is one by now, the unit has lost
    /// to another one.
    pub(super) fn send_new_rows(&mut self, sql: &'static str, rows: &Rows<'_>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        match &mut self.session {
            Session::Sqlite(session) => {
                if session.execute_rows(sql, rows)? < rows.len() {
                    return Err(StoreError::Conflict(
                        "a row was inserted by another unit meanwhile".to_owned(),
                    ));
                }
                Ok(())
            }
            Session::Postgres(session) => session.send_rows(sql, rows),
        }
    }

    /// Runs a query with a token of rows for many rows; the answers come in no particular order.
    pub(super) fn query_rows(&mut self, sql: &'static str, rows: &Rows<'_>) -> Result<Vec<Row>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match &mut self.session {
            Session::Sqlite(session) => session.query_rows(sql, rows),
            Session::Postgres(session) => session.query_rows(sql, rows),
        }
    }

    /// Whether no other unit writes while this one does, so that it has nothing to lock.
    pub fn writes_alone(&self) -> bool {
        matches!(self.session, Session::Sqlite(_))
    }

    /// From here on the unit waits no longer for a lock than this, and fails rather; the single writer of SQLite waits for none.
    pub fn wait_for_locks(&mut self, at_most: Duration) -> Result<(), StoreError> {
        let millis = at_most.as_millis().to_string();
        self.send_to_postgres("SELECT set_config('lock_timeout', ?1, true)", &[Param::Text(&millis)])
    }

    /// Takes a lock that holds until the end of the transaction; the single writer of SQLite needs none.
    pub(super) fn lock(&mut self, lock: AdvisoryLock) -> Result<(), StoreError> {
        self.send_to_postgres("SELECT pg_advisory_xact_lock(?1)::text", &[Param::Int(lock as i64)])
    }

    /// The same, of one of many that have names.
    pub(super) fn lock_name(&mut self, lock: AdvisoryLock, name: &str) -> Result<(), StoreError> {
        self.send_to_postgres(
            "SELECT pg_advisory_xact_lock(?1::bigint::int, hashtext(?2))::text",
            &[Param::Int(lock as i64), Param::Text(name)],
        )
    }

    /// Wakes the nodes that listen, once this unit is committed; there are others than this one on Postgres alone.
    pub(super) fn announce(&mut self) -> Result<(), StoreError> {
        self.send_to_postgres("SELECT pg_notify('tidings_revision', '')::text", &[])
    }

    fn send_to_postgres(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<(), StoreError> {
        match &mut self.session {
            Session::Sqlite(_) => Ok(()),
            Session::Postgres(session) => session.send(sql, params),
        }
    }

    /// Takes a lock on each of these names, which need no row of their own, until the end of the transaction: who is about to make
    /// what does not exist yet keeps others from making it too. In one order everywhere, so that two units cannot hold what the other
    /// one waits for.
    pub(super) fn lock_names<'n>(&mut self, names: impl Iterator<Item = [&'n str; 3]>) -> Result<(), StoreError> {
        if self.writes_alone() {
            return Ok(());
        }
        let mut keys: Vec<i64> = names.map(|name| lock_key(&name)).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut rows = Rows::new();
        for key in keys {
            rows.push(&[Param::Int(key)]);
        }
        self.send_rows(
            "SELECT pg_advisory_xact_lock(r.name)::text FROM {rows r: name int}",
            &rows,
        )
    }
}

/// Two names with one key wait for each other without need, and nothing worse.
fn lock_key(name: &[&str; 3]) -> i64 {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in name {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let digest = context.finish();
    let mut key = [0; 8];
    key.copy_from_slice(&digest.as_ref()[..8]);
    i64::from_be_bytes(key)
}

/// The advisory locks that Tidings takes on Postgres. The numbers are arbitrary and stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdvisoryLock {
    /// Held from writing rows of the event stream to the commit: their numbers are in the order of the commits.
    Stream = 7_405_001,
    /// Held while migrating.
    Migration = 7_405_002,
    /// Held, of an account whose budget is nearly used up, from looking what is left to the commit that uses it.
    Budget = 7_405_003,
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Int(int) => ToSqlOutput::Borrowed(ValueRef::Integer(*int)),
            Self::Text(text) => match without_nul(text) {
                Some(clean) => ToSqlOutput::Owned(Owned::Text(clean)),
                None => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            },
            Self::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut postgres::types::private::BytesMut,
    ) -> Result<postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(postgres::types::IsNull::Yes),
            Self::Int(int) => match *kind {
                Type::INT2 => i16::try_from(*int)?.to_sql(kind, out),
                Type::INT4 => i32::try_from(*int)?.to_sql(kind, out),
                _ => int.to_sql(kind, out),
            },
            Self::Text(text) => match without_nul(text) {
                Some(clean) => clean.to_sql(kind, out),
                None => text.to_sql(kind, out),
            },
            Self::Blob(bytes) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // The statement decides the type; a value that does not fit it is an error of ours that the tests find.
        true
    }

    postgres::types::to_sql_checked!();
}

/// Postgres cannot store U+0000 in text, and SQLite ends some functions at it: both get U+FFFD in its place, so that no
/// customer's message can fail for it. JSON is safe as it is, since it escapes the character.
fn without_nul(text: &str) -> Option<String> {
    text.contains('\0').then(|| text.replace('\0', "\u{fffd}"))
}

/// The columns of a batch as arrays of Postgres.
pub(super) fn arrays<'r>(rows: &'r Rows<'_>, columns: &[ColumnType]) -> Vec<Box<dyn ToSql + Sync + 'r>> {
    columns
        .iter()
        .enumerate()
        .map(|(index, kind)| -> Box<dyn ToSql + Sync + 'r> {
            let column = rows.column(index);
            match kind {
                ColumnType::Int => Box::new(
                    column
                        .map(|value| if let Param::Int(int) = value { Some(int) } else { None })
                        .collect::<Vec<Option<i64>>>(),
                ),
                ColumnType::Text => Box::new(
                    column
                        .map(|value| match value {
                            Param::Text(text) => {
                                Some(without_nul(text).map_or(std::borrow::Cow::Borrowed(text), Into::into))
                            }
                            Param::Null | Param::Int(_) | Param::Blob(_) => None,
                        })
                        .collect::<Vec<Option<std::borrow::Cow<'_, str>>>>(),
                ),
                ColumnType::Blob => Box::new(
                    column
                        .map(|value| {
                            if let Param::Blob(bytes) = value {
                                Some(bytes)
                            } else {
                                None
                            }
                        })
                        .collect::<Vec<Option<&[u8]>>>(),
                ),
            }
        })
        .collect()
}

pub(super) fn sqlite_row(row: &rusqlite::Row<'_>, width: usize) -> Result<Row, rusqlite::Error> {
    use rusqlite::types::ValueRef;
    let mut values = Vec::with_capacity(width);
    for index in 0..width {
        values.push(match row.get_ref(index)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(int) => Value::Int(int),
            // The schema has no real numbers; one that came by hand reads as the whole number before it.
            ValueRef::Real(real) => Value::Int(real as i64),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        });
    }
    Ok(Row(values))
}

pub(super) fn postgres_row(row: &postgres::Row) -> Result<Row, postgres::Error> {
    let mut values = Vec::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        values.push(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map_or(Value::Null, Value::Int),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(index)?
                .map_or(Value::Null, |int| Value::Int(int.into())),
            Type::INT2 => row
                .try_get::<_, Option<i16>>(index)?
                .map_or(Value::Null, |int| Value::Int(int.into())),
            Type::BOOL => row
                .try_get::<_, Option<bool>>(index)?
                .map_or(Value::Null, |bool| Value::Int(bool.into())),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(index)?
                .map_or(Value::Null, Value::Blob),
            _ => row
                .try_get::<_, Option<String>>(index)?
                .map_or(Value::Null, Value::Text),
        });
    }
    Ok(Row(values))
}
