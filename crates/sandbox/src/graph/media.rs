//! Media over the wire: upload, look up, download, delete (whatsapp.md 11); Instagram's signed addresses and attachments (instagram.md 2.5,
//! 3.2).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use futures_util::stream;
use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::params::Params;
use super::tokens::Caller;
use super::{Answer, Said};
use crate::Core;
use crate::faults::{FaultKind, FaultRequest};
use crate::lock;
use crate::media::{LINK_MILLIS, Media, Transfer, UPLOADED_MILLIS, encode_base64};
use crate::state::State;

/// A file in a form.
pub(crate) struct File {
    mime: String,
    bytes: Bytes,
}

/// `POST /{phone-number-id}/media`.
pub(crate) fn upload(
    core: &Core,
    number_id: &str,
    caller: &Caller,
    params: &Params,
    file: Option<File>,
) -> Result<Value, GraphError> {
    let mut state = lock(&core.state);
    let number = caller.number(&state, "POST", number_id)?;
    let owner = number.id.clone();
    params.check_product()?;
    let file = file.ok_or_else(|| GraphError::parameter("The parameter file is required."))?;
    let mime = params.text("type").unwrap_or(&file.mime).to_owned();
    let bound = bytes_max(&mime).ok_or_else(|| {
        GraphError::parameter(format!(
            "Param file must be a file with one of the supported types; it is {mime}"
        ))
    })?;
    if file.bytes.is_empty() || file.bytes.len() > bound {
        return Err(GraphError::whatsapp(
            131_053,
            format!("A file of this type has 1 to {bound} bytes"),
        ));
    }
    state.uploads += 1;
    let id = state.ids.digits("upload", &[&owner], state.uploads, 16);
    let media = Media {
        bytes: file.bytes,
        mime,
        owner,
        expires_at: core.clock.now() + UPLOADED_MILLIS,
    };
    state.media.add(id.clone(), media);
    Ok(json!({ "id": id }))
}

/// The largest file of a media type, by whatsapp.md 11; `None` where it isn't supported.
fn bytes_max(mime: &str) -> Option<usize> {
    const MIB: usize = 1024 * 1024;
    match base(mime) {
        "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg" | "video/mp4" | "video/3gpp" => {
            Some(16 * MIB)
        }
        "image/jpeg" | "image/png" => Some(5 * MIB),
        "image/webp" => Some(500 * 1024),
        "text/plain"
        | "application/pdf"
        | "application/msword"
        | "application/vnd.ms-excel"
        | "application/vnd.ms-powerpoint"
        | "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        | "application/vnd.openxmlformats-officedocument.presentationml.presentation" => Some(100 * MIB),
        _ => None,
    }
}

/// Whether a media of this type can be sent as this kind of message.
pub(crate) fn fits(mime: &str, kind: &str) -> bool {
    let mime = base(mime);
    match kind {
        "sticker" => mime == "image/webp",
        "image" => matches!(mime, "image/jpeg" | "image/png"),
        "document" => true,
        kind => mime.split('/').next() == Some(kind),
    }
}

/// A media type without its parameters.
fn base(mime: &str) -> &str {
    mime.split(';').next().unwrap_or_default().trim()
}

/// `GET /{media-id}`; `None` where there is no such media.
pub(crate) fn look_up(
    core: &Core,
    state: &State,
    id: &str,
    caller: &Caller,
    params: &Params,
) -> Option<Result<Value, GraphError>> {
    let now = core.clock.now();
    let media = state.media.get(id, now)?;
    if params
        .text("phone_number_id")
        .is_some_and(|number| number != media.owner)
        || may_use(state, caller, media).is_err()
    {
        return Some(Err(GraphError::no_object("GET", id)));
    }
    Some(Ok(json!({
        "messaging_product": "whatsapp", "url": link(core, id, now), "mime_type": media.mime,
        "sha256": hex::encode(media.sha256()), "file_size": media.bytes.len(), "id": id,
    })))
}

/// `DELETE /{media-id}`; `None` where there is no such media.
pub(crate) fn delete(core: &Core, id: &str, caller: &Caller) -> Option<Result<Value, GraphError>> {
    let mut state = lock(&core.state);
    let media = state.media.get(id, core.clock.now())?;
    if let Err(error) = may_use(&state, caller, media) {
        return Some(Err(error));
    }
    state.media.remove(id);
    Some(Ok(json!({"success": true})))
}

fn may_use(state: &State, caller: &Caller, media: &Media) -> Result<(), GraphError> {
    match state.number(&media.owner) {
        Some(number) => caller.may_use(&number.business_account_id),
        None => caller.may_use(&media.owner),
    }
}

/// The address of a WhatsApp download, as `lookaside.fbsbx.com` has it: needs the token, and lives 5 minutes.
pub(crate) fn link(core: &Core, id: &str, now: i64) -> String {
    let until = (now + LINK_MILLIS) / 1000;
    let hash = link_hash(core, id, &until.to_string());
    format!(
        "{}/whatsapp_business/attachments/?mid={id}&ext={until}&hash={hash}",
        core.url
    )
}

/// The address of an Instagram download: signed, without a token.
pub(crate) fn signed_link(core: &Core, id: &str) -> String {
    let signature = link_hash(core, id, "instagram");
    format!("{}/ig_messaging_cdn/?asset_id={id}&signature={signature}", core.url)
}

fn link_hash(core: &Core, id: &str, what: &str) -> String {
    core.ids.digits("link", &[id, what], 0, 24)
}

/// Answers a WhatsApp download; `None` where the address is wrong or too old.
pub(crate) fn download(core: &Core, caller: &Caller, params: &Params, faults: &[FaultRequest]) -> Option<Answer> {
    let (id, until, hash) = (params.text("mid")?, params.text("ext")?, params.text("hash")?);
    let now = core.clock.now();
    if hash != link_hash(core, id, until) || until.parse::<i64>().ok()? * 1000 <= now {
        return None;
    }
    let state = lock(&core.state);
    let media = state.media.get(id, now)?;
    may_use(&state, caller, media).ok()?;
    Some(file(media, faults))
}

/// Answers an Instagram download; `None` where the address is wrong.
pub(crate) fn signed_download(core: &Core, params: &Params, faults: &[FaultRequest]) -> Option<Answer> {
    let (id, signature) = (params.text("asset_id")?, params.text("signature")?);
    if signature != link_hash(core, id, "instagram") {
        return None;
    }
    let state = lock(&core.state);
    let media = state.media.get(id, core.clock.now())?;
    Some(file(media, faults))
}

fn file(media: &Media, faults: &[FaultRequest]) -> Answer {
    let damages = [FaultKind::Truncate, FaultKind::Corrupt, FaultKind::Page];
    Answer::saying(Said::File {
        mime: media.mime.clone(),
        bytes: media.bytes.clone(),
        damage: damages.into_iter().find(|kind| super::find(faults, *kind).is_some()),
    })
}

/// How much of a file is handed to the connection at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Answers with a file, piece by piece, and damaged as somebody asked for. The transfer lasts until all of it is handed over.
pub(super) fn respond(
    mime: &str,
    bytes: &Bytes,
    damage: Option<FaultKind>,
    transfer: Option<Transfer>,
) -> Response<Body> {
    let (mime, bytes) = match damage {
        Some(FaultKind::Page) => (
            "text/html; charset=utf-8",
            Bytes::from_static(b"<!DOCTYPE html><html><body>Something went wrong</body></html>"),
        ),
        Some(FaultKind::Corrupt) => (mime, bytes.iter().map(|byte| !byte).collect()),
        _ => (mime, bytes.clone()),
    };
    let length = bytes.len();
    let sent = match damage {
        Some(FaultKind::Truncate) => bytes.slice(..length / 2),
        _ => bytes,
    };
    let is_cut = sent.len() < length;
    let chunks = stream::unfold((sent, is_cut, transfer), |(mut rest, is_cut, transfer)| async move {
        if !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            return Some((Ok(chunk), (rest, is_cut, transfer)));
        }
        let failure = io::Error::new(io::ErrorKind::ConnectionReset, "cut on purpose");
        is_cut.then(|| (Err(failure), (rest, false, transfer)))
    });
    let kind = HeaderValue::from_str(mime).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// What a webhook says about a WhatsApp media (whatsapp.md 4.1); the hash is in base64 here and in hex when looked up.
pub(crate) fn described(core: &Core, id: &str, media: &Media, now: i64) -> Value {
    json!({
        "mime_type": media.mime, "sha256": encode_base64(&media.sha256()), "id": id, "url": link(core, id, now),
    })
}

/// Whether a body is a form with files.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("multipart/form-data"))
}

/// The fields and the file of a form, read piece by piece up to the largest file that is taken of its type; and how long all of it was.
pub(super) async fn read_form(parts: &Parts, body: Body) -> Result<(Params, Option<File>, usize), GraphError> {
    let broken = |_| GraphError::parameter("The form cannot be read.");
    let mut request = Request::new(body);
    *request.headers_mut() = parts.headers.clone();
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| GraphError::parameter("The form has no boundary."))?;
    let (mut fields, mut file, mut length) = (Map::new(), None, 0);
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = matches!(name.as_str(), "file" | "filedata");
        let mime = field.content_type().unwrap_or("application/octet-stream").to_owned();
        let most = match name.as_str() {
            "file" => bytes_max(&mime).unwrap_or(FILE_MAX),
            "filedata" => ATTACHMENT_MAX,
            _ => FIELD_MAX,
        };
        let mut content = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(broken)? {
            length += chunk.len();
            // One byte more than it may have is enough to refuse it by.
            let room = (most + 1).saturating_sub(content.len()).min(chunk.len());
            content.extend_from_slice(&chunk[..room]);
        }
        if is_file {
            file = Some(File {
                mime,
                bytes: content.into(),
            });
        } else {
            fields.insert(name, json!(String::from_utf8_lossy(&content)));
        }
    }
    Ok((Params::with(parts.uri.query(), fields), file, length))
}

/// The largest file of any type, the largest attachment, and the longest field beside one.
const FILE_MAX: usize = 100 * 1024 * 1024;
const ATTACHMENT_MAX: usize = 25 * 1024 * 1024;
const FIELD_MAX: usize = 64 * 1024;

/// `POST /{ig-id}/message_attachments` (instagram.md 3.2): a file, or an address of one.
pub(crate) fn attach(
    core: &Core,
    account_id: &str,
    caller: &Caller,
    params: &Params,
    file: Option<File>,
) -> Result<Value, GraphError> {
    let now = core.clock.now();
    let mut state = lock(&core.state);
    let account = state
        .account(account_id)
        .ok_or_else(|| GraphError::no_object("POST", account_id))?;
    let owner = account.id.clone();
    caller.may_use(&owner)?;
    let message = params
        .get("message")
        .ok_or_else(|| GraphError::parameter("The parameter message is required."))?;
    // In a form it is a text.
    let message = match message.as_str() {
        Some(text) => serde_json::from_str(text).map_err(|_| GraphError::parameter("message is not JSON"))?,
        None => message.clone(),
    };
    let attachment = &message["attachment"];
    let kind = attachment["type"].as_str().unwrap_or_default();
    let file = match (file, attachment["payload"]["url"].as_str()) {
        (Some(file), _) => file,
        (None, Some(url)) if kind == "image" => {
            let (bytes, mime) = crate::media::picture(url);
            File { mime, bytes }
        }
        _ => return Err(upload_failed()),
    };
    let bound = attachment_bytes_max(kind, base(&file.mime)).ok_or_else(upload_failed)?;
    if file.bytes.is_empty() || file.bytes.len() > bound {
        return Err(GraphError::new(400, 100, "(#100) Attachment size exceeds allowable limit").subcode(2_018_109));
    }
    state.uploads += 1;
    let id = state.ids.digits("upload", &[&owner], state.uploads, 16);
    let media = Media {
        bytes: file.bytes,
        mime: file.mime,
        owner,
        expires_at: now + UPLOADED_MILLIS,
    };
    state.media.add(id.clone(), media);
    Ok(json!({ "attachment_id": id }))
}

fn upload_failed() -> GraphError {
    GraphError::new(400, 100, "(#100) Upload attachment failure").subcode(2_018_047)
}

/// The largest attachment of a type, by instagram.md 3.2; `None` where the kind does not have it.
fn attachment_bytes_max(kind: &str, mime: &str) -> Option<usize> {
    const MIB: usize = 1024 * 1024;
    match (kind, mime) {
        ("image", "image/png" | "image/jpeg" | "image/gif") => Some(8 * MIB),
        ("audio", "audio/aac" | "audio/mp4" | "audio/wav")
        | ("video", "video/mp4" | "video/ogg" | "video/x-msvideo" | "video/quicktime" | "video/webm")
        | ("file", "application/pdf") => Some(25 * MIB),
        _ => None,
    }
}

/// How long Meta waits for the file that a message links to: the sandbox is next door.
const LINK_WITHIN: Duration = Duration::from_secs(5);

/// Fetches the file that a WhatsApp message links to, as Meta would, and answers with the code that the message fails with if it can't be had,
/// or isn't what such a message can have (whatsapp.md 9.2, 11).
///
/// Only addresses of this machine are fetched: the sandbox calls out to nobody.
pub(super) async fn fetch_linked(core: &Core, params: &Params) -> Option<i64> {
    const FAILED: i64 = 131_053;
    let kind = params.text("type")?;
    let link = params.get(kind)?["link"].as_str()?;
    if !is_of_this_machine(link) {
        return None;
    }
    let (mime, length) = match core.carrier.fetch(link, LINK_WITHIN, FILE_MAX).await {
        Ok(found) => found?,
        Err(reason) => {
            tracing::info!(link, reason, "the file that a message links to cannot be had");
            return Some(FAILED);
        }
    };
    let is_right = fits(&mime, kind) && length > 0 && length <= bytes_max(&mime).unwrap_or(FILE_MAX);
    (!is_right).then_some(FAILED)
}

fn is_of_this_machine(link: &str) -> bool {
    let Ok(link) = link.parse::<axum::http::Uri>() else {
        return false;
    };
    let host = link.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
