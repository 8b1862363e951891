//! Media over the wire: upload, look up, download, delete (whatsapp.md 11); Instagram's signed addresses (instagram.md 2.5).

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::params::Params;
use super::tokens::Caller;
use super::{Answer, Said};
use crate::Core;
use crate::lock;
use crate::media::{LINK_MILLIS, Media, UPLOADED_MILLIS, encode_base64};
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
    let number = state
        .number(number_id)
        .ok_or_else(|| GraphError::no_object("POST", number_id))?;
    caller.may_use(&number.business_account_id)?;
    let owner = number.id.clone();
    if params.required("messaging_product")? != "whatsapp" {
        return Err(GraphError::parameter(
            "Param messaging_product must be one of {WHATSAPP}",
        ));
    }
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
pub(crate) fn download(core: &Core, caller: &Caller, params: &Params) -> Option<Answer> {
    let (id, until, hash) = (params.text("mid")?, params.text("ext")?, params.text("hash")?);
    let now = core.clock.now();
    if hash != link_hash(core, id, until) || until.parse::<i64>().ok()? * 1000 <= now {
        return None;
    }
    let state = lock(&core.state);
    let media = state.media.get(id, now)?;
    may_use(&state, caller, media).ok()?;
    Some(file(media))
}

/// Answers an Instagram download; `None` where the address is wrong.
pub(crate) fn signed_download(core: &Core, params: &Params) -> Option<Answer> {
    let (id, signature) = (params.text("asset_id")?, params.text("signature")?);
    if signature != link_hash(core, id, "instagram") {
        return None;
    }
    let state = lock(&core.state);
    state.media.get(id, core.clock.now()).map(file)
}

fn file(media: &Media) -> Answer {
    Answer::saying(Said::File {
        mime: media.mime.clone(),
        bytes: media.bytes.clone(),
    })
}

/// What a webhook says about a WhatsApp media (whatsapp.md 4.1); the hash is in base64 here and in hex when looked up.
pub(crate) fn described(core: &Core, id: &str, media: &Media, now: i64) -> Value {
    json!({
        "mime_type": media.mime, "sha256": encode_base64(&media.sha256()), "id": id, "url": link(core, id, now),
    })
}

/// The fields and the file of a `multipart/form-data` body; `None` where it is another kind of body.
pub(crate) fn read_form(query: Option<&str>, headers: &HeaderMap, body: &Bytes) -> Option<(Params, Option<File>)> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let boundary = kind
        .strip_prefix("multipart/form-data")?
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))?
        .trim_matches('"');
    let delimiter = format!("--{boundary}");
    let mut fields = Map::new();
    let mut file = None;
    let mut start = find(body, delimiter.as_bytes(), 0)? + delimiter.len();
    let delimiter = format!("\r\n{delimiter}");
    while let Some(end) = find(body, delimiter.as_bytes(), start) {
        if let Some(head_end) = find(&body[..end], b"\r\n\r\n", start) {
            let head = String::from_utf8_lossy(&body[start..head_end]).into_owned();
            let content = body.slice(head_end + 4..end);
            let name = parameter(&head, "name").unwrap_or_default();
            if name == "file" {
                let mime = head
                    .lines()
                    .find_map(|line| {
                        let (name, value) = line.split_once(':')?;
                        name.eq_ignore_ascii_case("content-type").then(|| value.trim())
                    })
                    .unwrap_or("application/octet-stream");
                file = Some(File {
                    mime: mime.to_owned(),
                    bytes: content,
                });
            } else {
                fields.insert(name, json!(String::from_utf8_lossy(&content)));
            }
        }
        start = end + delimiter.len();
    }
    Some((Params::with(query, fields), file))
}

/// A quoted parameter of `Content-Disposition`.
fn parameter(head: &str, name: &str) -> Option<String> {
    let (_, rest) = head.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(value.to_owned())
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(wanted.len())
        .position(|window| window == wanted)
        .map(|position| from + position)
}
