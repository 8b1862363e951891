//! Wrong input anywhere: every route of the OpenAPI document, every parameter and every field of a body, each wrong in turn.
//!
//! Whatever is sent, nothing is an error of ours, nothing panics, and every refusal is a problem document. Where the document says what a
//! parameter or a field is, something else is refused, by its name, with what it should be. The cases are made from the document, so that
//! a route that is added is here.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tidings::access::Access;
use tidings::http::problem::Code;
use tidings::routes;

use crate::harness::{ADMIN_KEY, Harness, on_both};

/// How many requests are under way at once.
const AT_ONCE: usize = 8;
/// As large a body as is taken, but for a batch; see `http/extract.rs`.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const BULK_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// What a case has to be answered.
#[derive(Debug, Clone)]
enum Expected {
    /// Anything but an error of ours; a refusal is a problem document.
    NoFault,
    /// This code.
    Refused(Code),
    /// A refusal that names this parameter or field, and says what it should be.
    Named(String),
}

/// A request, and what has to come of it.
#[derive(Debug, Clone)]
struct Case {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    expected: Expected,
}

/// A route of the document.
struct Route {
    method: Method,
    /// With ids in it that are of the right kind, so that what else is wrong is looked at.
    path: String,
    template: String,
    operation: Value,
    access: Access,
}

fn routes_of(document: &Value) -> Vec<Route> {
    let access: std::collections::BTreeMap<String, Access> = routes::access().into_iter().collect();
    let mut found = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push(Route {
                method: method.to_uppercase().parse().unwrap(),
                path: with_ids(template),
                template: template.clone(),
                operation: operation.clone(),
                access: access[template],
            });
        }
    }
    found
}

fn with_ids(template: &str) -> String {
    let nothing = "0".repeat(32);
    let of = |prefix: &str| format!("{prefix}_{nothing}");
    let kinds = [
        ("/api/v1/conversations/", of("cnv")),
        ("/api/v1/contacts/", of("con")),
        ("/api/v1/messages/", of("msg")),
        ("/api/v1/comments/", of("msg")),
        ("/admin/messages/", of("msg")),
        ("/api/v1/templates/", of("tpl")),
        ("/api/v1/media/", of("med")),
        ("/media/", of("med")),
        ("/api/webhooks/events/", of("evt")),
        ("/api/v1/channels/", "nowhere".to_owned()),
        ("/api/v1/flags/", "channels.email.priority".to_owned()),
        ("/integrations/instagram/reels/media/", "0".repeat(64)),
    ];
    let kind = kinds.iter().find(|(start, _)| template.starts_with(start));
    kind.map_or_else(
        || template.to_owned(),
        |(_, id)| template.replace("{id}", id).replace("{hash}", id),
    )
}

impl Route {
    fn case(&self, suffix: &str, expected: Expected) -> Case {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        Case {
            method: self.method.clone(),
            path: format!("{}{suffix}", self.path),
            headers,
            body: self.operation.get("requestBody").map(|_| b"{}".to_vec()),
            expected,
        }
    }

    fn parameters(&self, place: &str) -> Vec<Value> {
        let all = self.operation["parameters"].as_array().into_iter().flatten();
        all.filter(|parameter| parameter["in"] == place).cloned().collect()
    }

    /// Wrong things in the place of ids: they are the ids of nothing.
    fn ids(&self, cases: &mut Vec<Case>) {
        for parameter in self.parameters("path") {
            let place = format!("{{{}}}", parameter["name"].as_str().unwrap());
            for wrong in [
                "%00",
                "%ff",
                "x",
                "..%2f..",
                "%25",
                "-1",
                "99999999999999999999999",
                &"x".repeat(4_000),
            ] {
                let path = self.template.replace(&place, wrong);
                cases.push(Case {
                    path,
                    ..self.case("", Expected::NoFault)
                });
            }
        }
    }

    fn query(&self, cases: &mut Vec<Case>) {
        let parameters = self.parameters("query");
        // A developer's mistake is told; Meta and browsers may add what they like.
        let is_api = self.access == Access::Key && self.path != "/metrics";
        if is_api {
            cases.push(self.case("?zzz=1", Expected::Named("zzz".to_owned())));
            cases.push(self.case(
                &format!("?{}=1", "z".repeat(4_000)),
                Expected::Refused(Code::InvalidParameter),
            ));
        }
        for broken in ["?%00=%00", "?=&=&&&", "?%ff=%ff", "?%", "?a=%zz&%zz"] {
            cases.push(self.case(broken, Expected::NoFault));
        }
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap();
            let with = |value: &str| format!("?{name}={value}");
            let schema = &parameter["schema"];
            let wrong: &[&str] = match (schema["type"].as_str(), schema["format"].as_str()) {
                (Some("integer"), _) => &["x", "1.5", "99999999999999999999", "0x10", "%00", "%ff", "1%00"],
                (Some("boolean"), _) => &["maybe", "2", "%00", "%ff"],
                (_, Some("date-time")) => &[
                    "soon",
                    "2026-11-22",
                    "1795334400",
                    "99999-01-01T00:00:00Z",
                    "%00",
                    "%ff",
                ],
                _ if name == "cursor" => &["x", "%00", "e30", "%ff"],
                _ => &[],
            };
            for value in wrong {
                let named = is_api.then(|| Expected::Named(name.to_owned()));
                cases.push(self.case(&with(value), named.unwrap_or(Expected::NoFault)));
            }
            for value in [
                "",
                "%00",
                "%ff",
                "%f0%9f%98%80",
                "-1",
                "99999999999999999999",
                "%25%5f%5c%27",
                "%e2%80%ae",
            ] {
                cases.push(self.case(&with(value), Expected::NoFault));
            }
            cases.push(self.case(&with(&"x".repeat(4_000)), Expected::NoFault));
            cases.push(self.case(&with("%27%3b+DROP+TABLE+events%3b+--"), Expected::NoFault));
            if is_api {
                let twice = format!("?{name}=1&{name}=1");
                cases.push(self.case(&twice, Expected::Named(name.to_owned())));
            }
        }
    }

    fn headers(&self, cases: &mut Vec<Case>) {
        for parameter in self.parameters("header") {
            let name: reqwest::header::HeaderName = parameter["name"].as_str().unwrap().parse().unwrap();
            for value in [
                &b""[..],
                b"x",
                b"\xff\xfe",
                b" , ;=\"",
                b"99999999999999999999",
                &[b'x'; 4_000],
            ] {
                let mut case = self.case("", Expected::NoFault);
                case.headers
                    .insert(name.clone(), HeaderValue::from_bytes(value).unwrap());
                cases.push(case);
            }
        }
    }

    fn bodies(&self, document: &Value, cases: &mut Vec<Case>) {
        let content = &self.operation["requestBody"]["content"];
        let Some(schema) = content.get("application/json").map(|kind| &kind["schema"]) else {
            return;
        };
        // What Meta and other systems post is looked at only once its signature is right.
        let is_api = self.access == Access::Key;
        let expected = |expected: Expected| if is_api { expected } else { Expected::NoFault };
        let with = |body: Vec<u8>, wanted: Expected| Case {
            body: Some(body),
            ..self.case("", expected(wanted))
        };
        let is_optional = nullable(schema);
        for broken in [
            &b"{"[..],
            b"{\"",
            b"not JSON",
            b"{} {}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\x00\"}",
            b"{\"\\ud800\":1}",
            b"{'a':1}",
        ] {
            let names_it = broken.starts_with(b"{\"a") || broken == b"{} {}";
            // A field that is unknown may be told before the rest of the document turns out to be none.
            let wanted = if names_it {
                Expected::NoFault
            } else {
                Expected::Refused(Code::InvalidJson)
            };
            cases.push(with(broken.to_vec(), wanted));
        }
        if !is_optional {
            cases.push(with(Vec::new(), Expected::Refused(Code::InvalidJson)));
        }
        for wrong in ["null", "7", "\"x\"", "true", "[]", "[null,null]"] {
            let named = if wrong == "null" && is_optional {
                Expected::NoFault
            } else {
                Expected::Named("body".to_owned())
            };
            cases.push(with(wrong.into(), named));
        }
        cases.push(with(br#"{"zzz":1}"#.to_vec(), Expected::Named("zzz".to_owned())));
        cases.push(with("[".repeat(100_000).into_bytes(), Expected::NoFault));
        cases.push(with(
            format!("{{\"zzz\":{}", "[".repeat(100_000)).into_bytes(),
            Expected::NoFault,
        ));
        let bytes_max = if self.path.ends_with("/batch") {
            BULK_BYTES_MAX
        } else {
            BODY_BYTES_MAX
        };
        cases.push(with(
            vec![b' '; bytes_max + 1],
            Expected::Refused(Code::PayloadTooLarge),
        ));
        for kind in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=x"),
        ] {
            let mut case = with(b"{}".to_vec(), Expected::Refused(Code::UnsupportedMediaType));
            case.headers.remove("content-type");
            if let Some(kind) = kind {
                case.headers.insert("content-type", HeaderValue::from_static(kind));
            }
            cases.push(case);
        }
        let mut fields = Vec::new();
        wrong_fields(document, schema, "", &mut fields, 0);
        for field in fields {
            let body = nested(&field.name, &field.value).to_string().into_bytes();
            let named = if field.is_wrong {
                Expected::Named(field.name)
            } else {
                Expected::NoFault
            };
            cases.push(with(body, named));
        }
    }
}

/// A value in the place of a field, such as `to.contact`.
struct Field {
    name: String,
    value: Value,
    /// Whether the document says that it is something else.
    is_wrong: bool,
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => schema,
    }
}

fn nullable(schema: &Value) -> bool {
    let is_null = |schema: &Value| schema["type"] == "null";
    let has_null = |list: &Value| {
        list.as_array()
            .is_some_and(|list| list.iter().any(|one| one == "null" || is_null(one)))
    };
    has_null(&schema["type"]) || has_null(&schema["oneOf"])
}

/// The types that a schema has, `null` left out; `None` where it says nothing, or that it is one of several things.
fn types(schema: &Value) -> Option<BTreeSet<&str>> {
    let types: BTreeSet<&str> = match &schema["type"] {
        Value::String(one) => [one.as_str()].into(),
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    Some(types.into_iter().filter(|one| *one != "null").collect())
}

/// The one schema that is meant by one that may also be null.
fn meant<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let several = schema["oneOf"].as_array().filter(|_| nullable(schema));
    let one = several.and_then(|several| several.iter().find(|one| one["type"] != "null"));
    resolved(document, one.unwrap_or(schema))
}

fn wrong_fields(document: &Value, schema: &Value, above: &str, fields: &mut Vec<Field>, depth: usize) {
    /// Fields of fields, and no deeper.
    const DEPTH_MAX: usize = 2;
    let schema = meant(document, schema);
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, property) in properties {
        let name = format!("{above}{name}");
        let property = meant(document, property);
        let types = types(property);
        let mut push = |value: Value, is_wrong: bool| {
            fields.push(Field {
                name: name.clone(),
                value,
                is_wrong,
            });
        };
        for (kinds, value) in [
            (&["object"][..], json!({"zzz": {"zzz": 1}})),
            (&["array"], json!([[[{"zzz": 1}]]])),
            (&["string"], json!("\u{0}\u{fffe}'\"\\")),
            (&["string"], json!("x".repeat(100_000))),
            (&["number", "integer"], json!(-1)),
            (&["number"], json!(1e300)),
            (&["boolean"], json!(true)),
        ] {
            let is_wrong = types
                .as_ref()
                .is_some_and(|types| !types.is_empty() && !kinds.iter().any(|kind| types.contains(kind)));
            push(value, is_wrong);
        }
        push(serde_json::from_str("99999999999999999999999999").unwrap(), false);
        push(Value::Null, false);
        push(json!(""), false);
        if property["format"] == "date-time" {
            push(json!("soon"), true);
            push(json!("99999-01-01T00:00:00Z"), true);
        }
        if depth + 1 < DEPTH_MAX {
            wrong_fields(document, property, &format!("{name}."), fields, depth + 1);
        }
    }
}

fn nested(name: &str, value: &Value) -> Value {
    match name.split_once('.') {
        Some((first, rest)) => json!({ first: nested(rest, value) }),
        None => json!({ name: value }),
    }
}

/// Sends a request; answers with what is wrong with the answer, if something is.
async fn misanswered(harness: &Harness, case: &Case) -> Option<String> {
    let mut request = harness
        .request(case.method.clone(), &case.path)
        .bearer_auth(ADMIN_KEY)
        .headers(case.headers.clone());
    if let Some(body) = &case.body {
        request = request.body(body.clone());
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Some(format!("no answer: {error:?}")),
    };
    let status = response.status();
    let content_type = response.headers().get("content-type").cloned();
    let is_refused = status.is_client_error() || status.is_server_error();
    if !is_refused {
        // It may be a stream, which has no end.
        return (!matches!(case.expected, Expected::NoFault)).then(|| format!("it was taken: {status}"));
    }
    let body = response.text().await.unwrap_or_default();
    // A channel that is not set up answers 503, and says so; 500 is ours.
    if status == 500 {
        return Some(format!("an error of ours: {body}"));
    }
    if content_type.is_none_or(|kind| kind != "application/problem+json") {
        return Some(format!("{status} is no problem document: {body}"));
    }
    let problem: Value = serde_json::from_str(&body).ok()?;
    let code = Code::ALL.iter().find(|code| problem["error"] == code.as_str());
    let detail = problem["detail"].as_str().unwrap_or_default();
    if code.is_none_or(|code| code.status() != status) || detail.len() < 10 {
        return Some(format!("{status} says too little: {body}"));
    }
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let named = |name: &str| {
        errors.iter().any(|error| {
            let field = error["field"].as_str().unwrap_or_default();
            let is_it = field == name
                || field
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['.', '[']));
            is_it && error["detail"].as_str().is_some_and(|detail| detail.len() > 5)
        })
    };
    match &case.expected {
        Expected::NoFault => None,
        Expected::Refused(code) => {
            (problem["error"] != code.as_str()).then(|| format!("not {}: {body}", code.as_str()))
        }
        Expected::Named(name) => (!named(name)).then(|| format!("`{name}` is not named: {body}")),
    }
}

#[tokio::test]
async fn whatever_is_sent_is_answered_with_what_to_change_and_is_no_fault_of_ours() {
    let document = serde_json::to_value(routes::openapi()).unwrap();
    let mut cases = Vec::new();
    for route in routes_of(&document) {
        route.ids(&mut cases);
        route.query(&mut cases);
        route.headers(&mut cases);
        route.bodies(&document, &mut cases);
    }
    assert!(cases.len() > 1_500, "only {} cases", cases.len());
    println!("{} cases", cases.len());
    on_both(async |harness| {
        let answers = stream::iter(&cases).map(async |case| Some((case, misanswered(harness, case).await?)));
        let misanswers: Vec<String> = answers
            .buffer_unordered(AT_ONCE)
            .filter_map(async |found| found)
            .map(|(case, wrong)| {
                let body = case.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                format!(
                    "{} {} {}: {}",
                    case.method,
                    start(&case.path),
                    start(&body),
                    start(&wrong)
                )
            })
            .collect()
            .await;
        assert!(
            misanswers.is_empty(),
            "{} of {}:\n{}",
            misanswers.len(),
            cases.len(),
            misanswers.join("\n")
        );
        // Nothing of it has changed anything that matters, and all of it still works.
        assert!(harness.conversations().await.is_empty());
        let channels = harness.get("/api/v1/channels").await.expect(200);
        assert_eq!(channels["channels"].as_array().unwrap().len(), 2);
        harness.get("/health/ready").await.expect(200);
    })
    .await;
}

fn start(text: &str) -> String {
    text.chars().take(300).collect()
}
