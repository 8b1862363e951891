//! The resumable upload, by which an example of a template's header comes to Meta (whatsapp.md 10.2): a session first, then the bytes, which
//! are answered with a handle. The bytes themselves are not kept: nobody looks at examples here.

use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::super::error::GraphError;
use super::super::params::Params;
use super::super::tokens::{self, Caller};
use crate::Core;
use crate::lock;

/// The largest example.
const LENGTH_MAX: u64 = 100 * 1024 * 1024;
/// Most sessions at a time; the oldest go.
const SESSIONS_MAX: usize = 1000;
/// What an example can be.
const TYPES: &[&str] = &["image/jpeg", "image/jpg", "image/png", "video/mp4", "application/pdf"];

/// An upload that was begun.
#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    length: u64,
}

/// Whether a path is that of a session.
pub(in crate::graph) fn is_session(path: &[&str]) -> bool {
    matches!(path, [id] if id.starts_with("upload:"))
}

/// `POST /{app-id}/uploads`.
pub(in crate::graph) fn begin(
    core: &Core,
    app_id: &str,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    let mut state = lock(&core.state);
    if tokens::app(&state, app_id).is_none() || caller.app_id() != app_id {
        return Err(GraphError::no_object("POST", app_id));
    }
    params.required("file_name")?;
    let kind = params.required("file_type")?;
    if !TYPES.contains(&kind) {
        return Err(GraphError::parameter(format!(
            "Param file_type must be one of {TYPES:?}."
        )));
    }
    let length = params.get("file_length").and_then(|length| match length {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    let length = length
        .filter(|length| (1..=LENGTH_MAX).contains(length))
        .ok_or_else(|| GraphError::parameter("Param file_length must be the number of bytes, at most 100 MB."))?;
    state.uploads += 1;
    let id = format!(
        "upload:{}",
        state.ids.word("upload session", &[app_id], state.uploads, 40)
    );
    let sessions = &mut state.templates.sessions;
    if sessions.len() >= SESSIONS_MAX {
        sessions.pop_front();
    }
    sessions.push_back(Session { id: id.clone(), length });
    Ok(json!({ "id": id }))
}

/// `POST /upload:…`: all of the bytes, from the first one on.
pub(in crate::graph) fn finish(core: &Core, id: &str, headers: &HeaderMap, bytes: &Bytes) -> Result<Value, GraphError> {
    let mut state = lock(&core.state);
    let sessions = &mut state.templates.sessions;
    let position = sessions.iter().position(|session| session.id == id);
    let position = position.ok_or_else(|| GraphError::no_object("POST", id))?;
    let offset = headers.get("file_offset").and_then(|value| value.to_str().ok());
    if offset != Some("0") {
        return Err(GraphError::parameter("The header file_offset must be 0."));
    }
    if sessions[position].length != bytes.len() as u64 {
        return Err(GraphError::parameter("The bytes are not as many as file_length says."));
    }
    sessions.remove(position);
    state.uploads += 1;
    let handle = state.ids.word("upload handle", &[id], state.uploads, 60);
    Ok(json!({"h": format!("4::{handle}")}))
}
