//! What is generated: the OpenAPI document, the table of problem codes, and that of limits.
//!
//! `UPDATE_DOCS=1 cargo test -p tidings --test it documents` writes them again.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use tidings::channels::model::ChannelKind;
use tidings::http::problem::Code;
use tidings::routes;
use tidings::sending::request::limits::LIMITS;

use super::on_each;

/// Asserts that a file of `docs/reference/` says what is generated, or writes it where that is asked for.
#[track_caller]
fn is_up_to_date(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name);
    #[expect(clippy::disallowed_methods, reason = "it is no setting of the hub")]
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "docs/reference/{name} is out of date: run this test with UPDATE_DOCS=1"
    );
}

#[test]
fn the_table_of_problem_codes_is_up_to_date() {
    let mut text = String::from(
        "# Problem codes\n\n\
         Every refusal and failure is a problem document (RFC 9457, `application/problem+json`): `type`, `title`, `status`, `detail`, the code\n\
         in `error`, the wrong fields in `errors`, and the id of the request in `requestId`. Decide by `error`: a code keeps its name, its\n\
         status and its meaning. This table is generated.\n\n\
         | `error` | status | title | what to do |\n| --- | --- | --- | --- |\n",
    );
    for code in Code::ALL {
        let status = code.status().as_u16();
        writeln!(
            text,
            "| `{}` | {status} | {} | {} |",
            code.as_str(),
            code.title(),
            code.remedy()
        )
        .unwrap();
    }
    is_up_to_date("errors.md", &text);
}

#[test]
fn the_table_of_limits_is_up_to_date() {
    let mut text = String::from(
        "# Limits of content\n\n\
         What a message may say on each product, looked at before it is queued: one that breaks a bound is refused with `unsupported_content`, and\n\
         `errors` names the field and the bound. `[]` stands for every element of a list. A text of blanks is empty. The last column says where a\n\
         bound is from: a section of Meta's pages as they were read for Tidings, or Tidings itself. This table is generated.\n",
    );
    for product in ChannelKind::ALL {
        writeln!(
            text,
            "\n## {product}\n\n| kind | field | least | most | counted | from |\n| --- | --- | --- | --- | --- | --- |"
        )
        .unwrap();
        for limit in LIMITS.iter().filter(|limit| limit.product == *product) {
            let kinds: Vec<String> = limit.kinds.iter().map(|kind| format!("`{kind}`")).collect();
            writeln!(
                text,
                "| {} | `content.{}` | {} | {} | {} | {} |",
                kinds.join(", "),
                limit.field,
                limit.least,
                limit.most,
                limit.unit.as_str(),
                limit.source
            )
            .unwrap();
        }
    }
    is_up_to_date("limits.md", &text);
}

#[test]
fn the_openapi_document_is_up_to_date() {
    let mut text = routes::openapi().to_pretty_json().unwrap();
    text.push('\n');
    is_up_to_date("openapi.json", &text);
}

#[tokio::test]
async fn the_openapi_document_is_served() {
    on_each(async |hub| {
        let served = hub.get("/openapi.json").await;
        assert_eq!(served.headers["content-type"], "application/json");
        assert_eq!(served.done(), serde_json::to_value(routes::openapi()).unwrap());
    })
    .await;
}

#[test]
fn the_openapi_document_holds_together() {
    let document = serde_json::to_value(routes::openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut refs = BTreeSet::new();
    collect_refs(&document, &mut refs);
    assert!(refs.len() > 10, "{refs:?}");
    for reference in &refs {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(
            refs.contains(&format!("#/components/schemas/{name}")),
            "nothing refers to {name}"
        );
    }
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, operation)| operation.is_object())
        {
            let id = operation["operationId"].as_str().unwrap();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let is_in_path = path.contains(&format!("{{{name}}}"));
                assert_eq!(parameter["in"] == "path", is_in_path, "{method} {path}: `{name}`");
            }
            assert!(operations.insert(id.to_owned()), "two operations are called {id}");
            assert!(
                operation["summary"].as_str().is_some_and(|summary| summary.len() > 10),
                "{method} {path} has no summary"
            );
            assert!(
                operation["security"].is_array(),
                "{method} {path} does not say who may call it"
            );
        }
    }
}

fn collect_refs(value: &Value, refs: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                refs.insert(reference.clone());
            }
            members.values().for_each(|member| collect_refs(member, refs));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_refs(item, refs)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
