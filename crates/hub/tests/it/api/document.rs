//! Holds every answer of the tests against the OpenAPI document: nothing may be answered that it does not have.

use std::sync::LazyLock;

use axum::http::{Method, header};
use serde_json::Value;
use tidings::routes;

use super::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(routes::openapi()).unwrap());

/// Asserts that the document has an answer of this status, type and shape. Of what it has no route for it knows nothing.
#[track_caller]
pub(super) fn knows(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let status = answer.status.as_u16().to_string();
    let what = format!("{method} {path} answered {status}: {}", answer.body);
    let responses = &operation["responses"];
    let response = responses.get(&status).unwrap_or(&responses["default"]);
    if answer.body.is_empty()
        && responses
            .get(&status)
            .is_some_and(|response| response.get("content").is_none())
    {
        return;
    }
    let kind = answer
        .headers
        .get(header::CONTENT_TYPE)
        .map_or("", |kind| kind.to_str().unwrap());
    let kind = kind.split(';').next().unwrap();
    let content = response["content"]
        .get(kind)
        .unwrap_or_else(|| panic!("no answer of type `{kind}` is documented; {what}"));
    if kind.ends_with("json") {
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        fits(&content["schema"], &body, "").unwrap_or_else(|misfit| panic!("{misfit}; {what}"));
    }
}

/// Asserts that a value has the shape of a schema of the document.
#[track_caller]
pub(super) fn has_the_shape(schema: &str, value: &Value) {
    fits(&DOCUMENT["components"]["schemas"][schema], value, "").unwrap_or_else(|misfit| panic!("{misfit}: {value}"));
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let has_path = |template: &str| {
        let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template
                .iter()
                .zip(&path)
                .all(|(part, given)| part.starts_with('{') || part == given)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // A path without parts to fill in goes before one with them.
    let template = paths
        .keys()
        .filter(|template| has_path(template))
        .min_by_key(|template| template.contains('{'))?;
    paths[template].get(method.as_str().to_ascii_lowercase())
}

/// As much of JSON Schema as our document has; members that no schema knows do not fit either.
fn fits(schema: &'static Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(DOCUMENT.pointer(&reference[1..]).unwrap(), value, at);
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        let misfits: Vec<String> = one_of
            .iter()
            .filter_map(|schema| fits(schema, value, at).err())
            .collect();
        let fitting = one_of.len() - misfits.len();
        return if fitting == 1 {
            Ok(())
        } else {
            Err(format!("{at} fits {fitting} of {}: {misfits:?}", one_of.len()))
        };
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        return Err(format!("{at} is {value}, and none of {words:?}"));
    }
    let types = match &schema["type"] {
        Value::Null => Vec::new(),
        Value::Array(types) => types.iter().map(|name| name.as_str().unwrap()).collect(),
        name => vec![name.as_str().unwrap()],
    };
    if !types.is_empty() && !types.iter().any(|name| is_of_type(value, name)) {
        return Err(format!("{at} is {value}, and not of {types:?}"));
    }
    if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
        for (index, value) in values.iter().enumerate() {
            fits(items, value, &format!("{at}[{index}]"))?;
        }
    }
    let Value::Object(members) = value else { return Ok(()) };
    let known = properties(schema);
    // An object of which the document says nothing may have anything in it.
    if known.is_empty() {
        return Ok(());
    }
    for (name, value) in members {
        let Some((_, schema)) = known.iter().find(|(known, _)| *known == name) else {
            return Err(format!("{at}.{name} is not documented"));
        };
        fits(schema, value, &format!("{at}.{name}"))?;
    }
    let absent = required(schema).into_iter().find(|name| !members.contains_key(*name));
    absent.map_or(Ok(()), |name| Err(format!("{at}.{name} is missing")))
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type of JSON"),
    }
}

/// The schema itself, and those that it is made of.
fn parts(schema: &'static Value) -> Vec<&'static Value> {
    let schema = schema["$ref"]
        .as_str()
        .map_or(schema, |reference| DOCUMENT.pointer(&reference[1..]).unwrap());
    let all_of = schema["allOf"].as_array().into_iter().flatten();
    std::iter::once(schema).chain(all_of.flat_map(parts)).collect()
}

fn properties(schema: &'static Value) -> Vec<(&'static String, &'static Value)> {
    parts(schema)
        .into_iter()
        .filter_map(|part| part["properties"].as_object())
        .flatten()
        .collect()
}

fn required(schema: &'static Value) -> Vec<&'static str> {
    parts(schema)
        .into_iter()
        .filter_map(|part| part["required"].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
