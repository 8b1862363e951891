//! Statements are written once and translated, once, for each engine.
//!
//! Parameters are numbered `?1, ?2, …`. Four tokens in braces cover what differs:
//!
//! | token | SQLite | Postgres |
//! | --- | --- | --- |
//! | `{r: id blob, at int}` | `(SELECT ?1 AS id, ?2 AS at) AS r`, run once a row | `UNNEST($1::bytea[], $2::bigint[]) AS r(id, at)`, run once |
//! | `{lock t}` | nothing: there is one writer | `FOR UPDATE OF t` |
//! | `{take t}` | nothing | `FOR UPDATE OF t SKIP LOCKED` |
//! | `{sqlite …}`, `{postgres …}` | the text, or nothing | nothing, or the text |

use std::collections::HashMap;
use std::fmt::Write as _;
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
    /// The columns of its `{r: …}` token, empty if it has none.
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
        Self { dialect, known: RwLock::default() }
    }

    pub(super) fn get(&self, sql: &'static str) -> Arc<Translated> {
        let key = key(sql);
        if let Some(known) = self.known.read().expect("no thread panics while it holds this lock").get(&key) {
            return Arc::clone(known);
        }
        let translated = Arc::new(translate(sql, self.dialect));
        self.known.write().expect("no thread panics while it holds this lock").insert(key, Arc::clone(&translated));
        translated
    }
}

/// What tells one static statement from another.
pub(super) fn key(sql: &'static str) -> (usize, usize) {
    (sql.as_ptr().addr(), sql.len())
}

fn translate(sql: &str, dialect: Dialect) -> Translated {
    let mut out = String::with_capacity(sql.len() + 64);
    let mut columns = Vec::new();
    let mut rest = sql;
    while let Some(start) = rest.find('{') {
        let end = start + rest[start..].find('}').expect("every brace in a statement is closed");
        number_parameters(&rest[..start], dialect, &mut out);
        let token = &rest[start + 1..end];
        if let Some(table) = token.strip_prefix("lock ") {
            if dialect == Dialect::Postgres {
                out.push_str("FOR UPDATE OF ");
                out.push_str(table);
            }
        } else if let Some(table) = token.strip_prefix("take ") {
            if dialect == Dialect::Postgres {
                out.push_str("FOR UPDATE OF ");
                out.push_str(table);
                out.push_str(" SKIP LOCKED");
            }
        } else if let Some(text) = token.strip_prefix("sqlite ") {
            if dialect == Dialect::Sqlite {
                number_parameters(text, dialect, &mut out);
            }
        } else if let Some(text) = token.strip_prefix("postgres ") {
            if dialect == Dialect::Postgres {
                number_parameters(text, dialect, &mut out);
            }
        } else {
            columns = rows_token(token, dialect, &mut out);
        }
        rest = &rest[end + 1..];
    }
    number_parameters(rest, dialect, &mut out);
    Translated { sql: out, columns }
}

fn number_parameters(text: &str, dialect: Dialect, out: &mut String) {
    match dialect {
        Dialect::Sqlite => out.push_str(text),
        Dialect::Postgres => out.extend(text.chars().map(|character| if character == '?' { '$' } else { character })),
    }
}

fn rows_token(token: &str, dialect: Dialect, out: &mut String) -> Vec<ColumnType> {
    let (alias, list) = token.split_once(':').expect("a rows token reads `{alias: name type, …}`");
    let columns: Vec<(&str, ColumnType)> = list
        .split(',')
        .map(|column| {
            let (name, kind) = column.trim().split_once(' ').expect("a column of a rows token reads `name type`");
            let kind = match kind {
                "int" => ColumnType::Int,
                "text" => ColumnType::Text,
                "blob" => ColumnType::Blob,
                other => unreachable!("`{other}` is not a column type of a rows token"),
            };
            (name, kind)
        })
        .collect();
    let parts: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(index, (name, kind))| match (dialect, kind) {
            (Dialect::Sqlite, _) => format!("?{} AS {name}", index + 1),
            (Dialect::Postgres, ColumnType::Int) => format!("${}::bigint[]", index + 1),
            (Dialect::Postgres, ColumnType::Text) => format!("${}::text[]", index + 1),
            (Dialect::Postgres, ColumnType::Blob) => format!("${}::bytea[]", index + 1),
        })
        .collect();
    match dialect {
        Dialect::Sqlite => {
            let _ = write!(out, "(SELECT {}) AS {alias}", parts.join(", "));
        }
        Dialect::Postgres => {
            let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            let _ = write!(out, "UNNEST({}) AS {alias}({})", parts.join(", "), names.join(", "));
        }
    }
    columns.into_iter().map(|(_, kind)| kind).collect()
}

#[cfg(test)]
mod tests {
    use super::{ColumnType, Dialect, translate};

    #[test]
    fn a_statement_is_written_once_for_both_engines() {
        let sql = "INSERT INTO t (a, b) SELECT r.a, r.b FROM {r: a blob, b int} WHERE true";
        let sqlite = translate(sql, Dialect::Sqlite);
        assert_eq!(sqlite.sql, "INSERT INTO t (a, b) SELECT r.a, r.b FROM (SELECT ?1 AS a, ?2 AS b) AS r WHERE true");
        let postgres = translate(sql, Dialect::Postgres);
        assert_eq!(
            postgres.sql,
            "INSERT INTO t (a, b) SELECT r.a, r.b FROM UNNEST($1::bytea[], $2::bigint[]) AS r(a, b) WHERE true"
        );
        assert_eq!(postgres.columns, [ColumnType::Blob, ColumnType::Int]);
    }

    #[test]
    fn locks_are_taken_where_there_is_more_than_one_writer() {
        let sql = "SELECT a FROM t WHERE b = ?1 {lock t}";
        assert_eq!(translate(sql, Dialect::Sqlite).sql, "SELECT a FROM t WHERE b = ?1 ");
        assert_eq!(translate(sql, Dialect::Postgres).sql, "SELECT a FROM t WHERE b = $1 FOR UPDATE OF t");
    }

    #[test]
    fn each_engine_gets_its_own_words() {
        let sql = "SELECT 1{sqlite  LIMIT -1}{postgres  LIMIT ALL}";
        assert_eq!(translate(sql, Dialect::Sqlite).sql, "SELECT 1 LIMIT -1");
        assert_eq!(translate(sql, Dialect::Postgres).sql, "SELECT 1 LIMIT ALL");
    }
}
