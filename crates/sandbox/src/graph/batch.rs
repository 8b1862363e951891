//! Several calls in one (graph-api.md 6): `POST /` with `batch`. Each item goes through the same steps as a call of its own, one after the
//! other. Items that name each other are refused rather than answered wrongly.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::error::GraphError;
use super::params::Params;
use super::{BODY_MAX, media, respond, split_path, tokens};
use crate::Core;
use crate::lock;

/// Most items.
const ITEMS_MAX: usize = 50;

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
    let mut answers = Vec::with_capacity(items.len());
    for item in &items {
        answers.push(one(core, item, &bearer, version, shows_headers).await);
    }
    Ok(answers)
}

/// The answer to one item; null if there is none, as for what was not executed in time.
async fn one(core: &Arc<Core>, item: &Value, bearer: &HeaderValue, version: &str, shows_headers: bool) -> Value {
    let trace = core.ids.trace(core.count_trace());
    let response = match call(item, bearer) {
        Ok(request) => {
            let (own_version, path) = split_path(request.uri().path());
            let version = own_version.as_deref().unwrap_or(version);
            Box::pin(respond(core, request, &path, version, &trace)).await
        }
        Err(error) => error.respond(&trace),
    };
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return Value::Null;
    };
    let mut answer = json!({"code": parts.status.as_u16(), "body": String::from_utf8_lossy(&body)});
    if shows_headers {
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some(json!({"name": name.as_str(), "value": value.to_str().ok()?})));
        answer["headers"] = headers.collect();
    }
    answer
}

/// The request that an item stands for. A token of its own, as a parameter, goes before that of the batch.
fn call(item: &Value, bearer: &HeaderValue) -> Result<Request<Body>, GraphError> {
    let address = item["relative_url"]
        .as_str()
        .ok_or_else(|| GraphError::parameter("An item needs a relative_url."))?;
    let body = item["body"].as_str().unwrap_or_default();
    if address.contains("{result=") || body.contains("{result=") {
        return Err(GraphError::parameter(
            "The sandbox does not let the items of a batch name each other.",
        ));
    }
    Request::builder()
        .method(item["method"].as_str().unwrap_or("GET"))
        .uri(format!("/{}", address.trim_start_matches('/')))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::AUTHORIZATION, bearer)
        .body(Body::from(Bytes::copy_from_slice(body.as_bytes())))
        .map_err(|_| GraphError::parameter("method or relative_url of an item cannot be read"))
}
