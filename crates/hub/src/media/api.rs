//! `/api/v1/media`: uploading files, looking at them, having them fetched again; and `/media/{id}`, where a signed link leads.

use std::time::Duration;

use axum::Json;
use axum::body::{BodyDataStream, Bytes};
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;
use utoipa::IntoParams;

use super::depot::{Finished, Unfinished};
use super::links::LinkError;
use super::model::{Media, MediaStatus};
use super::view::MediaView;
use super::{KeepError, keep, millis, serve, sniff};
use crate::access::Caller;
use crate::app::App;
use crate::http::extract::{FromParameters, Id, Parameters, Query};
use crate::http::problem::{Code, Problem};
use crate::ids::MediaId;

/// Characters of a file's name.
const FILENAME_CHARS_MAX: usize = 240;

/// When to come again, where too many upload at once.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What may be said of a file whose bytes are the whole body.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// What it is called, where that is not said in a form.
    filename: Option<String>,
}

impl FromParameters for UploadQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        let filename = parameters
            .text("filename")
            .map(|name| checked_filename(&name))
            .transpose()?;
        Ok(Self { filename })
    }
}

/// The parts of a signed link.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LinkQuery {
    /// Until when it opens, in seconds since 1970.
    #[param(value_type = String)]
    exp: Option<String>,
    /// Its signature.
    #[param(value_type = String)]
    sig: Option<String>,
}

impl FromParameters for LinkQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            exp: parameters.text("exp"),
            sig: parameters.text("sig"),
        })
    }
}

/// Uploads a file: as the body of the request, or as the field `file` of a form.
///
/// What it is, its bytes decide; the header `Content-Type` counts only between types that begin alike. The same file uploaded twice has one id. A
/// file that no message is sent with goes after a day (`MEDIA_UNUSED_HOURS`).
#[utoipa::path(post, path = "/api/v1/media", tag = "Media", params(UploadQuery),
    request_body(content = String, content_type = "application/octet-stream",
        description = "The file; or a form (`multipart/form-data`) with the file in `file`"),
    responses(
        (status = 201, description = "The file is kept", body = MediaView),
        (status = 408, description = "The body did not come in time", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The file is larger than `MEDIA_BYTES_MAX`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no file in it", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The media store cannot be used, or too many upload at once", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub async fn upload_media(
    State(app): State<App>,
    _: Caller,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<MediaView>), Problem> {
    let Ok(_place) = app.media.intakes.try_acquire() else {
        let detail =
            "As many files are being uploaded as may be at once: come again. MEDIA_INTAKES_PARALLEL sets how many.";
        return Err(Problem::new(Code::Overloaded, detail).retry_after(RETRY_AFTER));
    };
    let most = app.config.media.bytes_max;
    if content_length(request.headers()).is_some_and(|length| length > most.saturating_add(FORM_BYTES_MAX)) {
        return Err(too_large(most));
    }
    let taken = take(&app, request).await?;
    let (filename, told) = (taken.filename.or(query.filename), taken.mime_type);
    let media = kept(&app, taken.file, told.as_deref(), filename).await?;
    let view = MediaView::new(&media, &app.media.links, app.clock.now_millis());
    Ok((StatusCode::CREATED, Json(view)))
}

/// Shows a file.
#[utoipa::path(get, path = "/api/v1/media/{id}", tag = "Media", params(("id" = String, Path, description = "The file's id")),
    responses(
        (status = 200, description = "The file", body = MediaView),
        (status = 404, description = "There is no such file", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn show_media(State(app): State<App>, _: Caller, Id(id): Id<MediaId>) -> Result<Json<MediaView>, Problem> {
    let media = found(&app, id).await?;
    Ok(Json(MediaView::new(&media, &app.media.links, app.clock.now_millis())))
}

/// Gives what is in a file: all of it, or a range.
#[utoipa::path(get, path = "/api/v1/media/{id}/content", tag = "Media", params(("id" = String, Path, description = "The file's id")),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "The part that was asked for", content_type = "application/octet-stream"),
        (status = 304, description = "It is the one that `If-None-Match` names"),
        (status = 404, description = "There is no such file", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The file is not there, or not yet", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "The range begins behind its end", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn read_media(
    State(app): State<App>,
    _: Caller,
    Id(id): Id<MediaId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let media = found(&app, id).await?;
    serve::file(&app, &media, &headers).await
}

/// Gives what is in a file to whoever has a link to it that is not over.
#[utoipa::path(get, path = "/media/{id}", tag = "Media", params(("id" = String, Path, description = "The file's id"), LinkQuery),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "The part that was asked for", content_type = "application/octet-stream"),
        (status = 304, description = "It is the one that `If-None-Match` names"),
        (status = 403, description = "The link is forged, or over", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The file is gone", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The file is not there, or not yet", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "The range begins behind its end", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn open_link(
    State(app): State<App>,
    Id(id): Id<MediaId>,
    Query(query): Query<LinkQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (until, signature) = (query.exp.unwrap_or_default(), query.sig.unwrap_or_default());
    match app.media.links.check(id, &until, &signature, app.clock.now_millis()) {
        Ok(()) => {}
        Err(LinkError::Forged) => {
            return Err(Problem::new(Code::LinkForged, "The link's signature is not right."));
        }
        Err(LinkError::Expired) => return Err(Problem::new(Code::LinkExpired, "The link's time is over.")),
    }
    let media = found(&app, id).await?;
    serve::file(&app, &media, &headers).await
}

/// Has a file fetched from Meta again, now.
#[utoipa::path(post, path = "/api/v1/media/{id}/retry", tag = "Media", params(("id" = String, Path, description = "The file's id")),
    responses(
        (status = 202, description = "It is fetched", body = MediaView),
        (status = 404, description = "There is no such file", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is there, or being fetched", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn retry_media(
    State(app): State<App>,
    _: Caller,
    Id(id): Id<MediaId>,
) -> Result<(StatusCode, Json<MediaView>), Problem> {
    let now = app.clock.now_millis();
    let (is_due, media) = app
        .store
        .write(move |tx| {
            let is_due = tx.retry_media(id, now)?;
            Ok::<_, crate::store::StoreError>((is_due, tx.media_by_id(id)?))
        })
        .await?;
    let media = media.ok_or_else(|| Problem::not_found("file"))?;
    if !is_due {
        let why = match media.status {
            MediaStatus::Stored => "The file is there.",
            MediaStatus::Pending | MediaStatus::Failed => "The file is being fetched.",
        };
        return Err(Problem::new(Code::NotRetryable, why));
    }
    app.media.nudge_downloads();
    let view = MediaView::new(&media, &app.media.links, now);
    Ok((StatusCode::ACCEPTED, Json(view)))
}

async fn found(app: &App, id: MediaId) -> Result<Media, Problem> {
    let media = app.store.read(move |tx| tx.media_by_id(id)).await?;
    media.ok_or_else(|| Problem::not_found("file"))
}

/// What a form has besides the file, at most.
const FORM_BYTES_MAX: u64 = 64 * 1024;

/// A file that came, and what was said of it.
struct Taken {
    file: Finished,
    filename: Option<String>,
    mime_type: Option<String>,
}

async fn take(app: &App, mut request: Request) -> Result<Taken, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let is_form = kind
        .as_deref()
        .is_some_and(|kind| sniff::essence(kind).eq_ignore_ascii_case("multipart/form-data"));
    if !is_form {
        let file = receive(app, Source::Body(request.into_body().into_data_stream())).await?;
        return Ok(Taken {
            file,
            filename: None,
            mime_type: kind,
        });
    }
    // What is written is bounded by what is read of it.
    DefaultBodyLimit::disable().apply(&mut request);
    let not_a_form = |_| Problem::new(Code::InvalidForm, "The form has no boundary.");
    let mut form = Multipart::from_request(request, app).await.map_err(not_a_form)?;
    let mut taken: Option<Taken> = None;
    while let Some(field) = within(app, form.next_field()).await?.map_err(|_| broken_form())? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" || taken.is_some() {
            let name: String = name.chars().take(80).collect();
            return Err(Problem::of_field(
                Code::InvalidField,
                name,
                "is not a field of this form; it has one `file`",
            ));
        }
        let filename = field.file_name().map(checked_filename).transpose()?;
        let mime_type = field.content_type().map(str::to_owned);
        let file = receive(app, Source::Field(Box::new(field))).await?;
        taken = Some(Taken {
            file,
            filename,
            mime_type,
        });
    }
    taken.ok_or_else(|| Problem::of_field(Code::InvalidField, "file", "is missing: the file"))
}

/// Where the bytes of a file come from.
enum Source<'f> {
    Body(BodyDataStream),
    Field(Box<Field<'f>>),
}

impl Source<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        match self {
            Self::Body(stream) => stream
                .next()
                .await
                .transpose()
                .map_err(|_| Problem::new(Code::InvalidForm, "The body broke off.")),
            Self::Field(field) => field.chunk().await.map_err(|_| broken_form()),
        }
    }
}

fn broken_form() -> Problem {
    Problem::new(Code::InvalidForm, "The form cannot be read to its end.")
}

/// Waits for what a client sends, as long as it may be silent.
async fn within<T>(app: &App, next: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(app.config.http.body_timeout, next)
        .await
        .map_err(|_| Problem::new(Code::RequestTimeout, "Nothing came of the file any more."))
}

async fn receive(app: &App, mut source: Source<'_>) -> Result<Finished, Problem> {
    let most = app.config.media.bytes_max;
    let not_written = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::FileTooLarge {
            return too_large(most);
        }
        tracing::error!(%error, "a file that was uploaded cannot be written");
        serve::unavailable()
    };
    let mut file: Unfinished = app.media.depot.begin(most).await.map_err(not_written)?;
    while let Some(chunk) = within(app, source.next()).await?? {
        if let Err(error) = file.write(&chunk).await {
            return Err(not_written(error));
        }
    }
    if file.size() == 0 {
        return Err(Problem::of_field(Code::InvalidField, "file", "is empty"));
    }
    file.finish().await.map_err(not_written)
}

async fn kept(app: &App, file: Finished, told: Option<&str>, filename: Option<String>) -> Result<Media, Problem> {
    let now = app.clock.now_millis();
    let uploaded = Media {
        id: app.ids.next(),
        brought_by: None,
        status: MediaStatus::Stored,
        sha256: Some(file.sha256),
        size: Some(file.size as i64),
        mime_type: Some(sniff::mime_type(&file.head, told).to_owned()),
        filename,
        told: None,
        attempts: 0,
        due_at: None,
        reason: None,
        created_at: now,
        unused_at: Some(now + millis(app.config.media.unused)),
    };
    keep(app, file).await.map_err(|error| match error {
        KeepError::Store(error) => error.into(),
        KeepError::Depot(error) => {
            tracing::error!(%error, "a file that was uploaded cannot be kept");
            serve::unavailable()
        }
        KeepError::BeingRemoved => serve::unavailable(),
    })?;
    Ok(app.store.write(move |tx| tx.keep_uploaded_media(&uploaded)).await?)
}

fn too_large(most: u64) -> Problem {
    Problem::new(
        Code::PayloadTooLarge,
        format!("A file has {most} bytes at most; MEDIA_BYTES_MAX sets how many."),
    )
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn checked_filename(name: &str) -> Result<String, Problem> {
    // Some clients send a whole path.
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    if name.is_empty() || name.chars().count() > FILENAME_CHARS_MAX || name.chars().any(char::is_control) {
        let detail = format!("must be a file's name of 1 to {FILENAME_CHARS_MAX} characters");
        return Err(Problem::of_field(Code::InvalidField, "filename", detail));
    }
    Ok(name.to_owned())
}
