//! Several calls in one (graph-api.md 6): `POST /` with `batch`. Each item goes through the same steps as a call of its own, one after the
//! other, so that one can use what an earlier one was answered: `{result=NAME:$.id}` in its address or body stands for that. The token and the
//! proof of the whole are those of every item that brings no token of its own.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::error::GraphError;
use super::params::{Params, percent_decode, percent_encode};
use super::{BODY_MAX, media, respond, split_path, tokens};
use crate::Core;
use crate::lock;

/// Most items.
pub(super) const ITEMS_MAX: usize = 50;

/// Answers a batch: 200 even if every item fails.
pub(super) async fn answer(core: &Arc<Core>, request: Request<Body>, version: &str, trace: &str) -> Response<Body> {
    match answers(core, request, version).await {
        Ok(answers) => Json(answers).into_response(),
        Err(error) => super::refuse(core, &[], &error, trace),
    }
}

async fn answers(core: &Arc<Core>, request: Request<Body>, version: &str) -> Result<Vec<Value>, GraphError> {
    let (parts, body) = request.into_parts();
    let params = if media::is_form(&parts.headers) {
        media::read_form(&parts, body).await?.0
    } else {
        let body = axum::body::to_bytes(body, BODY_MAX)
            .await
            .map_err(|_| GraphError::parameter("The body is too large."))?;
        Params::read(parts.uri.query(), &parts.headers, &body)?
    };
    tokens::caller(&lock(&core.state), &parts.headers, &params, core.clock.now())?;
    let bearer = match (params.text("access_token"), parts.headers.get(header::AUTHORIZATION)) {
        (None, Some(bearer)) => bearer.clone(),
        (token, _) => HeaderValue::try_from(format!("Bearer {}", token.unwrap_or_default()))
            .map_err(|_| GraphError::parameter("The access token is not text."))?,
    };
    let shows_headers = params
        .get("include_headers")
        .is_none_or(|asked| *asked != json!("false") && *asked != json!(false));
    let items = match params.get("batch") {
        Some(Value::Array(items)) => items.clone(),
        // In a form with files it is a text.
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Vec::new(),
    };
    if items.is_empty() || items.len() > ITEMS_MAX {
        return Err(GraphError::parameter(format!(
            "Param batch must have 1 to {ITEMS_MAX} items."
        )));
    }
    let whole = Whole {
        bearer,
        proof: params.text("appsecret_proof").map(str::to_owned),
        version,
        shows_headers,
    };
    let mut named = HashMap::new();
    let mut answers = Vec::with_capacity(items.len());
    for item in &items {
        let answer = one(core, item, &whole, &named).await;
        if let Some(name) = item["name"].as_str() {
            named.insert(name.to_owned(), said(&answer));
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// What holds for all items.
struct Whole<'a> {
    bearer: HeaderValue,
    proof: Option<String>,
    version: &'a str,
    shows_headers: bool,
}

/// What an item that has succeeded was answered.
fn said(answer: &Value) -> Option<Value> {
    let body = answer["body"].as_str().filter(|_| answer["code"] == 200)?;
    serde_json::from_str(body).ok()
}

/// What the items were answered that have a name; nothing where one has failed.
type Named = HashMap<String, Option<Value>>;

/// The answer to one item; null if there is none, as for what was not executed in time.
async fn one(core: &Arc<Core>, item: &Value, whole: &Whole<'_>, named: &Named) -> Value {
    let trace = core.ids.trace(core.count_trace());
    let response = match call(item, whole, named) {
        Ok(request) => {
            let (own_version, path) = split_path(request.uri().path());
            let version = own_version.as_deref().unwrap_or(whole.version);
            Box::pin(respond(core, request, &path, version, &trace)).await
        }
        Err(error) => error.respond(&trace),
    };
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return Value::Null;
    };
    let mut answer = json!({"code": parts.status.as_u16(), "body": String::from_utf8_lossy(&body)});
    if whole.shows_headers {
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some(json!({"name": name.as_str(), "value": value.to_str().ok()?})));
        answer["headers"] = headers.collect();
    }
    answer
}

/// The request that an item stands for. A token of its own, as a parameter, goes before that of the batch.
fn call(item: &Value, whole: &Whole<'_>, named: &Named) -> Result<Request<Body>, GraphError> {
    let address = item["relative_url"]
        .as_str()
        .ok_or_else(|| GraphError::parameter("An item needs a relative_url."))?;
    let mut address = filled(address, named)?;
    let body = filled(item["body"].as_str().unwrap_or_default(), named)?;
    let brings = |name: &str| [&address, &body].iter().any(|text| text.contains(name));
    if let Some(proof) = &whole.proof
        && !brings("access_token=")
        && !brings("appsecret_proof=")
    {
        let joint = if address.contains('?') { '&' } else { '?' };
        address = format!("{address}{joint}appsecret_proof={proof}");
    }
    Request::builder()
        .method(item["method"].as_str().unwrap_or("GET"))
        .uri(format!("/{}", address.trim_start_matches('/')))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::AUTHORIZATION, &whole.bearer)
        .body(Body::from(Bytes::from(body)))
        .map_err(|_| GraphError::parameter("method or relative_url of an item cannot be read"))
}

/// How a reference begins and ends, as it is and as a form has it.
const REFERENCES: [(&str, &str); 2] = [("{result=", "}"), ("%7Bresult%3D", "%7D")];

/// An address or a form, with what references stand for in their place.
fn filled(text: &str, named: &Named) -> Result<String, GraphError> {
    let (mut rest, mut filled) = (text, String::with_capacity(text.len()));
    loop {
        let found = REFERENCES
            .iter()
            .filter_map(|(begin, end)| Some((rest.find(begin)?, *begin, *end)));
        let Some((at, begin, end)) = found.min() else {
            filled.push_str(rest);
            return Ok(filled);
        };
        let (before, behind) = rest.split_at(at);
        let (reference, behind) = behind[begin.len()..]
            .split_once(end)
            .ok_or_else(|| GraphError::parameter("A reference of an item has no end"))?;
        filled.push_str(before);
        filled.push_str(&percent_encode(&looked_up(
            &percent_decode(reference.as_bytes()),
            named,
        )?));
        rest = behind;
    }
}

/// `NAME:$.path`: what it leads to in that answer; of several values, all with commas between.
fn looked_up(reference: &str, named: &Named) -> Result<String, GraphError> {
    let wrong = |why: &str| GraphError::parameter(format!("The reference {reference} of an item {why}"));
    let (name, path) = reference
        .split_once(':')
        .ok_or_else(|| wrong("is not of the form name:$.path"))?;
    let answer = named
        .get(name)
        .ok_or_else(|| wrong("names no item before it"))?
        .as_ref()
        .ok_or_else(|| wrong("names an item that has failed"))?;
    let path = path
        .strip_prefix('$')
        .ok_or_else(|| wrong("is not of the form name:$.path"))?;
    let mut found = vec![answer];
    for step in path
        .split(['.', '['])
        .map(|step| step.trim_end_matches(']'))
        .filter(|step| !step.is_empty())
    {
        found = found
            .into_iter()
            .flat_map(|value| match (step, value) {
                ("*", Value::Array(items)) => items.iter().collect(),
                ("*", Value::Object(fields)) => fields.values().collect(),
                (step, Value::Array(items)) => step
                    .parse()
                    .ok()
                    .and_then(|at: usize| items.get(at))
                    .into_iter()
                    .collect(),
                (step, value) => value.get(step).into_iter().collect::<Vec<&Value>>(),
            })
            .collect();
    }
    let texts: Vec<String> = found
        .into_iter()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    if texts.is_empty() {
        return Err(wrong("leads to nothing"));
    }
    Ok(texts.join(","))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::filled;

    #[test]
    fn references_are_filled_with_what_was_answered() {
        let answer = json!({"id": "a/b", "data": [{"id": 1}, {"id": 2}], "paging": {"after": "x"}});
        let named = HashMap::from([("first".to_owned(), Some(answer)), ("failed".to_owned(), None)]);
        for (text, expected) in [
            ("x?y=1", "x?y=1"),
            ("{result=first:$.id}?x", "a%2Fb?x"),
            ("ids=%7Bresult%3Dfirst%3A%24.data.%2A.id%7D&x", "ids=1%2C2&x"),
            ("{result=first:$.data[1].id}{result=first:$.paging.after}", "2x"),
            ("{result=first:$.data[*].id}", "1%2C2"),
        ] {
            assert_eq!(filled(text, &named).unwrap(), expected, "{text}");
        }
        for wrong in [
            "{result=first:$.nothing}",
            "{result=other:$.id}",
            "{result=failed:$.id}",
            "{result=first}",
            "{result=first:id}",
            "{result=first:$.id",
        ] {
            assert!(filled(wrong, &named).is_err(), "{wrong}");
        }
    }
}
