//! Statements are written once and translated, once, for each engine.
//!
//! Parameters are numbered `?1, ?2, …`. Tokens in braces cover what differs:
//!
//! | token | SQLite | Postgres |
//! | --- | --- | --- |
//! | `{lock t}` | nothing: there is one writer | `FOR UPDATE OF t` |
//! | `{take t}` | nothing | `FOR UPDATE OF t SKIP LOCKED` |
//! | `{sqlite …}`, `{postgres …}` | the text, or nothing | nothing, or the text |
//!
//! and, for a statement that is given many rows at once, with `rows` for `UNNEST($1::bytea[], $2::bigint[]) AS r(id, at)`, which stands in a
//! subquery of its own wherever it meets a table ([`RowsToken::few`]):
//!
//! | token | SQLite, run once a row | Postgres, run once |
//! | --- | --- | --- |
//! | `{insert r.id, r.at of r: id blob, at int}` | `VALUES (?1, ?2)` | `SELECT r.id, r.at FROM rows WHERE true` |
//! | `UPDATE … {from r: …} WHERE` | nothing | `FROM rows` |
//! | `FROM {each r: …} t WHERE` | nothing | `rows CROSS JOIN` |
//! | `(id, at) {in r.id, r.at of r: …}` | `= (?1, ?2)` | `IN (SELECT r.id, r.at FROM rows)` |
//! | `FROM {rows r: …}` | `(SELECT ?1 AS id, ?2 AS at) AS r` | `rows` |
//!
//! A condition on a table beside such rows that is the same for all of them may lead Postgres along an index of that condition, through all that
//! it holds, for each row. `{postgres || ''}` behind a text, or `{postgres + 0}` behind a
//! number, keeps it from that; the conformance suite notices where it is needed.
//!
//! On SQLite `r.id` is then `?1` wherever it stands: a bound value costs nothing, where a table of one row would cost more than the rest of
//! the statement.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// The type of one column of a batch of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Int,
    Text,
    Blob,
}

/// A statement in an engine's own words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) sql: String,
    /// The columns of its token of rows, empty if it has none.
    pub(super) columns: Vec<ColumnType>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// Translations already made. Statements are `&'static str`, so their address tells them apart.
#[derive(Debug)]
pub(super) struct Translations {
    dialect: Dialect,
    known: RwLock<HashMap<(usize, usize), Arc<Translated>>>,
}

impl Translations {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            known: RwLock::default(),
        }
    }

    /// All that were made so far.
    pub(super) fn all(&self) -> Vec<String> {
        let known = self.known.read().expect("no thread panics while it holds this lock");
        known.values().map(|translated| translated.sql.clone()).collect()
    }

    pub(super) fn get(&self, sql: &'static str) -> Arc<Translated> {
        let key = key(sql);
        if let Some(known) = self
            .known
            .read()
            .expect("no thread panics while it holds this lock")
            .get(&key)
        {
            return Arc::clone(known);
        }
        let translated = Arc::new(translate(sql, self.dialect));
        self.known
            .write()
            .expect("no thread panics while it holds this lock")
            .insert(key, Arc::clone(&translated));
        translated
    }
}

/// What tells one static statement from another.
pub(super) fn key(sql: &'static str) -> (usize, usize) {
    (sql.as_ptr().addr(), sql.len())
}

fn translate(sql: &str, dialect: Dialect) -> Translated {
    let rows = RowsToken::find(sql);
    let mut out = String::with_capacity(sql.len() + 64);
    let mut rest = sql;
    while let Some(start) = rest.find('{') {
        let end = start + rest[start..].find('}').expect("every brace in a statement is closed");
        plain(&rest[..start], rows.as_ref(), dialect, &mut out);
        let token = &rest[start + 1..end];
        match (token.split_once(' ').unwrap_or((token, "")), dialect) {
            (("lock", table), Dialect::Postgres) => out.extend(["FOR UPDATE OF ", table]),
            (("take", table), Dialect::Postgres) => out.extend(["FOR UPDATE OF ", table, " SKIP LOCKED"]),
            (("sqlite", text), Dialect::Sqlite) | (("postgres", text), Dialect::Postgres) => {
                plain(text, rows.as_ref(), dialect, &mut out);
            }
            (("lock" | "take" | "postgres", _), Dialect::Sqlite) | (("sqlite", _), Dialect::Postgres) => {}
            (_, dialect) => rows
                .as_ref()
                .expect("every other token is one of rows")
                .write(dialect, &mut out),
        }
        rest = &rest[end + 1..];
    }
    plain(rest, rows.as_ref(), dialect, &mut out);
    Translated {
        sql: out,
        columns: rows.map_or_else(Vec::new, |rows| {
            rows.columns.into_iter().map(|(_, kind)| kind).collect()
        }),
    }
}

/// Text outside of tokens: parameters are numbered in the engine's way, and on SQLite columns of rows are parameters.
fn plain(text: &str, rows: Option<&RowsToken<'_>>, dialect: Dialect, out: &mut String) {
    match (dialect, rows) {
        (Dialect::Postgres, _) => out.extend(
            text.chars()
                .map(|character| if character == '?' { '$' } else { character }),
        ),
        (Dialect::Sqlite, None) => out.push_str(text),
        (Dialect::Sqlite, Some(rows)) => rows.bind(text, out),
    }
}

/// The token of a statement that is given many rows.
struct RowsToken<'s> {
    word: &'s str,
    expressions: &'s str,
    columns: Vec<(&'s str, ColumnType)>,
}

impl<'s> RowsToken<'s> {
    fn find(sql: &'s str) -> Option<Self> {
        let mut rest = sql;
        while let Some(start) = rest.find('{') {
            let end = start + rest[start..].find('}')?;
            let token = &rest[start + 1..end];
            let (word, text) = token.split_once(' ').unwrap_or((token, ""));
            if matches!(word, "insert" | "in" | "from" | "each" | "rows") {
                let (expressions, columns) = text
                    .split_once("r: ")
                    .expect("a token of rows ends in `r: name type, …`");
                return Some(Self {
                    word,
                    expressions: expressions.trim_end().strip_suffix(" of").unwrap_or(expressions),
                    columns: columns.split(',').map(column).collect(),
                });
            }
            rest = &rest[end + 1..];
        }
        None
    }

    fn write(&self, dialect: Dialect, out: &mut String) {
        if dialect == Dialect::Postgres {
            let expressions = self.expressions;
            let text = match self.word {
                "insert" => format!("SELECT {expressions} FROM {} WHERE true", self.unnest()),
                "in" => format!("IN (SELECT {expressions} FROM {})", self.few()),
                "from" => format!("FROM {}", self.few()),
                "each" => format!("{} CROSS JOIN", self.few()),
                _ => self.few(),
            };
            out.push_str(&text);
            return;
        }
        let mut bound = String::new();
        self.bind(self.expressions, &mut bound);
        match self.word {
            "insert" => out.extend(["VALUES (", &bound, ")"]),
            "in" => out.extend(["= (", &bound, ")"]),
            "from" | "each" => {}
            _ => {
                let columns: Vec<String> = self
                    .columns
                    .iter()
                    .enumerate()
                    .map(|(index, (name, _))| format!("?{} AS {name}", index + 1))
                    .collect();
                out.extend(["(SELECT ", &columns.join(", "), ") AS r"]);
            }
        }
    }

    fn unnest(&self) -> String {
        let arrays: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (_, kind))| {
                let kind = match kind {
                    ColumnType::Int => "bigint",
                    ColumnType::Text => "text",
                    ColumnType::Blob => "bytea",
                };
                format!("${}::{kind}[]", index + 1)
            })
            .collect();
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("UNNEST({}) AS r({})", arrays.join(", "), names.join(", "))
    }

    /// The rows, as something of which Postgres expects only one. It plans a statement once, by tables that may be empty yet, and for an empty table it may
    /// seem cheaper to go through that, looking at all rows each time; the plan stays while a million rows come in. Of a bound that is not known when a
    /// statement is planned it expects a tenth, and of an array ten.
    fn few(&self) -> String {
        format!("(SELECT * FROM {} LIMIT CARDINALITY($1)) AS r", self.unnest())
    }

    /// Writes `?n` for `r.name`.
    fn bind(&self, text: &str, out: &mut String) {
        if self.word == "rows" {
            out.push_str(text);
            return;
        }
        let mut rest = text;
        let mut before = ' ';
        while let Some(next) = rest.chars().next() {
            let name = rest
                .strip_prefix("r.")
                .filter(|_| !before.is_alphanumeric() && before != '_');
            if let Some(name) = name {
                let length = name
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(name.len());
                let index = self.columns.iter().position(|(column, _)| *column == &name[..length]);
                let index = index.expect("a column of the rows is declared in their token");
                out.extend(["?", &(index + 1).to_string()]);
                rest = &name[length..];
                before = ' ';
            } else {
                out.push(next);
                before = next;
                rest = &rest[next.len_utf8()..];
            }
        }
    }
}

fn column(text: &str) -> (&str, ColumnType) {
    let (name, kind) = text.trim().split_once(' ').expect("a column of rows reads `name type`");
    let kind = match kind {
        "int" => ColumnType::Int,
        "text" => ColumnType::Text,
        "blob" => ColumnType::Blob,
        other => unreachable!("`{other}` is not a column type of rows"),
    };
    (name, kind)
}

#[cfg(test)]
mod tests {
    use super::{ColumnType, Dialect, translate};

    fn both(sql: &str) -> (String, String) {
        (
            translate(sql, Dialect::Sqlite).sql,
            translate(sql, Dialect::Postgres).sql,
        )
    }

    const ROWS: &str = "UNNEST($1::bytea[], $2::bigint[]) AS r(a, b)";
    const FEW: &str = "(SELECT * FROM UNNEST($1::bytea[], $2::bigint[]) AS r(a, b) LIMIT CARDINALITY($1)) AS r";

    #[test]
    fn rows_are_inserted_as_values_or_from_arrays() {
        let sql = "INSERT INTO t (a, b, c) {insert r.a, r.b, 0 of r: a blob, b int} ON CONFLICT DO NOTHING";
        let (sqlite, postgres) = both(sql);
        assert_eq!(
            sqlite,
            "INSERT INTO t (a, b, c) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            postgres,
            format!("INSERT INTO t (a, b, c) SELECT r.a, r.b, 0 FROM {ROWS} WHERE true ON CONFLICT DO NOTHING")
        );
        assert_eq!(
            translate(sql, Dialect::Postgres).columns,
            [ColumnType::Blob, ColumnType::Int]
        );
    }

    #[test]
    fn rows_are_bound_or_joined_wherever_they_stand() {
        let (sqlite, postgres) = both("UPDATE t SET b = r.b {from r: a blob, b int} WHERE t.a = r.a AND bar.a > r.b");
        assert_eq!(sqlite, "UPDATE t SET b = ?2  WHERE t.a = ?1 AND bar.a > ?2");
        assert_eq!(
            postgres,
            format!("UPDATE t SET b = r.b FROM {FEW} WHERE t.a = r.a AND bar.a > r.b")
        );
        let (sqlite, postgres) = both("SELECT t.b FROM {each r: a blob, b int} t WHERE t.a = r.a {lock t}");
        assert_eq!(sqlite, "SELECT t.b FROM  t WHERE t.a = ?1 ");
        assert_eq!(
            postgres,
            format!("SELECT t.b FROM {FEW} CROSS JOIN t WHERE t.a = r.a FOR UPDATE OF t")
        );
        let (sqlite, postgres) = both("DELETE FROM t WHERE (a, b) {in r.a, r.b of r: a blob, b int}");
        assert_eq!(sqlite, "DELETE FROM t WHERE (a, b) = (?1, ?2)");
        assert_eq!(
            postgres,
            format!("DELETE FROM t WHERE (a, b) IN (SELECT r.a, r.b FROM {FEW})")
        );
        let (sqlite, postgres) = both("SELECT r.a FROM {rows r: a blob, b int}");
        assert_eq!(sqlite, "SELECT r.a FROM (SELECT ?1 AS a, ?2 AS b) AS r");
        assert_eq!(postgres, format!("SELECT r.a FROM {FEW}"));
    }

    #[test]
    fn locks_are_taken_where_there_is_more_than_one_writer() {
        let sql = "SELECT a FROM t WHERE b = ?1 {lock t}";
        assert_eq!(translate(sql, Dialect::Sqlite).sql, "SELECT a FROM t WHERE b = ?1 ");
        assert_eq!(
            translate(sql, Dialect::Postgres).sql,
            "SELECT a FROM t WHERE b = $1 FOR UPDATE OF t"
        );
    }

    #[test]
    fn each_engine_gets_its_own_words() {
        let sql = "SELECT 1{sqlite  LIMIT -1}{postgres  LIMIT ALL}";
        assert_eq!(translate(sql, Dialect::Sqlite).sql, "SELECT 1 LIMIT -1");
        assert_eq!(translate(sql, Dialect::Postgres).sql, "SELECT 1 LIMIT ALL");
    }
}
