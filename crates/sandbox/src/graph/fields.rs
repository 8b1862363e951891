//! Which fields of an object are asked for, with what is asked of the objects below it: `id,children{id,media_url},insights.metric(views)`
//! (graph-api.md 5).

use serde_json::{Map, Value};

use super::error::GraphError;

/// One field that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    /// What stands in braces behind it.
    pub(super) fields: Option<Vec<Field>>,
    /// What stands behind a dot: a name, and what its brackets hold.
    pub(super) modifiers: Vec<(String, String)>,
}

impl Field {
    pub(super) fn modifier(&self, name: &str) -> Option<&str> {
        let found = self.modifiers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// How deep fields may stand in fields.
const DEPTH_MAX: usize = 8;

pub(super) fn parse(text: &str) -> Result<Vec<Field>, GraphError> {
    let mut rest = text;
    let fields = list(&mut rest, 0)?;
    if rest.is_empty() { Ok(fields) } else { Err(wrong(rest)) }
}

fn list(rest: &mut &str, depth: usize) -> Result<Vec<Field>, GraphError> {
    if depth > DEPTH_MAX {
        return Err(wrong(rest));
    }
    let mut fields = Vec::new();
    loop {
        let name = word(rest);
        if name.is_empty() {
            return Err(wrong(rest));
        }
        let mut field = Field {
            name,
            ..Field::default()
        };
        while take(rest, '.') {
            let name = word(rest);
            if name.is_empty() || !take(rest, '(') {
                return Err(wrong(rest));
            }
            let (value, behind) = rest.split_once(')').ok_or_else(|| wrong(rest))?;
            field.modifiers.push((name, value.trim().to_owned()));
            *rest = behind;
        }
        if take(rest, '{') {
            field.fields = Some(list(rest, depth + 1)?);
            if !take(rest, '}') {
                return Err(wrong(rest));
            }
        }
        fields.push(field);
        if !take(rest, ',') {
            return Ok(fields);
        }
    }
}

fn word(rest: &mut &str) -> String {
    let trimmed = rest.trim_start();
    let end = trimmed
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(trimmed.len());
    let (word, behind) = trimmed.split_at(end);
    *rest = behind.trim_start();
    word.to_owned()
}

fn take(rest: &mut &str, wanted: char) -> bool {
    match rest.trim_start().strip_prefix(wanted) {
        Some(behind) => {
            *rest = behind.trim_start();
            true
        }
        None => false,
    }
}

fn wrong(at: &str) -> GraphError {
    let at: String = at.chars().take(40).collect();
    GraphError::new(
        400,
        2500,
        format!("(#2500) Syntax error \"Expected name or end of string\" near \"{at}\" in param fields"),
    )
}

/// The field is none of this kind of object: the whole call fails (graph-api.md 5).
pub(super) fn unknown(name: &str, kind: &str) -> GraphError {
    GraphError::parameter(format!(
        "Tried accessing nonexisting field ({name}) on node type ({kind})"
    ))
}

/// Takes the fields asked for out of an object; one that is known and has no value is left out.
pub(super) fn select(
    object: &Map<String, Value>,
    fields: &[Field],
    kind: &str,
) -> Result<Map<String, Value>, GraphError> {
    let mut selected = Map::new();
    for field in fields {
        let value = object.get(&field.name).ok_or_else(|| unknown(&field.name, kind))?;
        if !value.is_null() {
            selected.insert(field.name.clone(), value.clone());
        }
    }
    if let Some(id) = object.get("id") {
        selected.entry("id").or_insert_with(|| id.clone());
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::{Field, parse};

    fn names(fields: &[Field]) -> Vec<&str> {
        fields.iter().map(|field| field.name.as_str()).collect()
    }

    #[test]
    fn fields_stand_in_fields() {
        let fields = parse("id, children{id,media_url} ,insights.metric(views,reach).limit(2){name,values}").unwrap();
        assert_eq!(names(&fields), ["id", "children", "insights"]);
        assert_eq!(names(fields[1].fields.as_ref().unwrap()), ["id", "media_url"]);
        assert_eq!(fields[2].modifier("metric"), Some("views,reach"));
        assert_eq!(fields[2].modifier("limit"), Some("2"));
        assert_eq!(names(fields[2].fields.as_ref().unwrap()), ["name", "values"]);
    }

    #[test]
    fn what_is_no_list_of_fields_is_refused() {
        for wrong in ["", "id,", "a{", "a{b", "a}", "a.b", "a.b(c", "ä", &"a{".repeat(20)] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
