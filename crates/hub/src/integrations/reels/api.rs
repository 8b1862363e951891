//! `GET /integrations/instagram/reels`: public, cacheable, for scripts of the websites that are allowed.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::Duration;
use utoipa::ToSchema;

use super::cache::{Key, Look, Page};
use super::model::{LIMIT_DEFAULT, LIMIT_MAX, Reel};
use super::paging::Place;
use super::{FeedError, files, log, source};
use crate::app::App;
use crate::http::extract::{FromParameters, Id, Parameters, Query};
use crate::http::problem::{Code, MetaProblem, Problem};
use crate::integrations::origins;

/// The address of the files that are kept, to their hash.
pub(super) const FILES: &str = "/integrations/instagram/reels/media/";
/// What a caller waits beyond the time that Meta has: for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(2);
/// When to come again where Meta does not say.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A page of reels.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReelsFeed)]
pub(super) struct Feed {
    /// The reels, the newest first.
    reels: Vec<ShownReel>,
    /// How to go on.
    paging: Paging,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reel)]
#[serde(rename_all = "camelCase")]
struct ShownReel {
    /// Meta's id of it.
    id: String,
    /// The film; `null` where Meta gives none.
    video_url: Option<String>,
    /// The picture that stands for it.
    poster_url: Option<String>,
    /// What is heard; `null`, since Meta tells it of no reel.
    audio_title: Option<String>,
    /// How many like it; `null` where the owner hides it.
    likes: Option<i64>,
    /// How often it was watched; `null` where Meta does not say.
    views: Option<i64>,
    /// What is written below it.
    description: Option<String>,
    /// Where it is on Instagram.
    permalink: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReelsPaging)]
#[serde(rename_all = "camelCase")]
struct Paging {
    /// The parameter `after` of the next page; `null` if there is none.
    next_cursor: Option<String>,
    /// Whether there is a next page.
    has_more: bool,
}

impl Feed {
    pub(super) fn new(reels: Vec<Reel>, next_cursor: Option<String>) -> Self {
        let reels = reels.into_iter().map(|reel| ShownReel {
            id: reel.id,
            video_url: reel.video_url,
            poster_url: reel.poster_url,
            // No field of Meta's tells it (reference `instagram.md` 5.2).
            audio_title: None,
            likes: reel.likes,
            views: reel.views,
            description: reel.description,
            permalink: reel.permalink,
        });
        Self {
            reels: reels.collect(),
            paging: Paging {
                has_more: next_cursor.is_some(),
                next_cursor,
            },
        }
    }
}

/// Which page is asked for.
#[derive(Debug)]
pub struct FeedQuery {
    limit: u32,
    after: Option<String>,
}

impl FromParameters for FeedQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            limit: parameters.limit_or(LIMIT_DEFAULT, LIMIT_MAX)?,
            after: parameters.text("after"),
        })
    }
}

/// The reels of the Instagram account, the newest first.
#[utoipa::path(get, path = "/integrations/instagram/reels", tag = "Integrations",
    params(
        ("limit" = Option<u32>, Query, description = "How many: 1 to 25", minimum = 1, maximum = 25, example = 6),
        ("after" = Option<String>, Query, description = "Where the page before ended: its `nextCursor`"),
    ),
    responses(
        (status = 200, description = "The reels. While Meta fails, what was read last, for up to a day", body = Feed, headers(
            ("Age" = u64, description = "How long ago it was read from Meta, in seconds"),
            ("X-Cache" = String, description = "`hit`, `miss`, or `stale`"),
            ("ETag" = String, description = "The version of the page"),
            ("Cache-Control" = String, description = "How long it can be kept"),
        )),
        (status = 304, description = "The page is still the one that `If-None-Match` names"),
        (status = 400, description = "`invalid_limit`, `invalid_cursor`, or another wrong parameter", body = Problem,
            content_type = "application/problem+json"),
        (status = 502, description = "`instagram_api_error`, with Meta's own error in `meta`", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "`instagram_not_configured`, or `instagram_token_invalid`", body = Problem,
            content_type = "application/problem+json"),
        (status = 504, description = "`instagram_timeout`", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub async fn list_reels(State(app): State<App>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let query = Query::<FeedQuery>::from_request_parts(&mut parts, &app).await;
    let headers = parts.headers;
    let mut response = match answer(&app, &headers, query).await {
        Ok(response) => response,
        Err(problem) => {
            app.metrics.count_feed("error");
            problem.into_response()
        }
    };
    origins::allow(
        &app.config.integrations.allowed_origins,
        &headers,
        response.headers_mut(),
    );
    response
}

/// What a browser asks before a script of another site may ask.
#[utoipa::path(options, path = "/integrations/instagram/reels", tag = "Integrations",
    responses((status = 204, description = "What is allowed, in the headers of CORS")))]
pub async fn allow_reels(State(app): State<App>, headers: HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    origins::allow_beforehand(
        &app.config.integrations.allowed_origins,
        &headers,
        response.headers_mut(),
    );
    response
}

async fn answer(app: &App, headers: &HeaderMap, query: Result<Query<FeedQuery>, Problem>) -> Result<Response, Problem> {
    let Query(query) = query?;
    let channel = source::channel(&app.channels).ok_or_else(|| {
        log(&FeedError::NotConfigured, "-");
        FeedError::NotConfigured
    })?;
    if let Some(cursor) = &query.after {
        Place::verify(cursor, app.channels.keyring().cursors(), &channel.account)
            .ok_or_else(|| Problem::of_field(Code::InvalidCursor, "after", "is not a `nextCursor` of this feed"))?;
    }
    let key = Key {
        account: channel.account.clone(),
        limit: query.limit,
        after: query.after,
    };
    let (page, cache) = match app
        .reels
        .cache
        .look(&key, channel.credentials_version, app.clock.now_millis())
    {
        Look::Hit(page) => (page, "hit"),
        Look::Stale(page, flight) => {
            app.reels.begin(flight);
            (page, "stale")
        }
        Look::Failed(error) => return Err(error.into()),
        Look::Miss(mut outcome, flight) => {
            app.reels.begin(flight);
            let within = app.config.reels.request_timeout + TURN_WITHIN;
            let outcome = tokio::time::timeout(within, outcome.wait_for(Option::is_some)).await;
            let outcome = outcome.ok().and_then(|outcome| outcome.ok()?.clone());
            (outcome.unwrap_or(Err(FeedError::Busy))?, "miss")
        }
    };
    app.metrics.count_feed(cache);
    Ok(show(&page, cache, headers, app.clock.now_millis()))
}

fn show(page: &Page, cache: &'static str, request: &HeaderMap, now: i64) -> Response {
    let mut response = if files::matches_tag(request.get(header::IF_NONE_MATCH), &page.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = page.body.clone().into_response();
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    };
    let headers = response.headers_mut();
    let age = (now - page.shelf.fetched_at).max(0) / 1000;
    headers.insert(header::AGE, HeaderValue::from(age));
    headers.insert(header::CACHE_CONTROL, page.cache_control.clone());
    headers.insert(header::ETAG, page.etag.clone());
    headers.insert("x-cache", HeaderValue::from_static(cache));
    response
}

/// A film or a poster that is kept here.
#[utoipa::path(get, path = "/integrations/instagram/reels/media/{hash}", tag = "Integrations",
    params(("hash" = String, Path, description = "What the feed has in its addresses")),
    responses(
        (status = 200, description = "The file", content_type = "video/mp4"),
        (status = 206, description = "The range of it that was asked for", content_type = "video/mp4"),
        (status = 304, description = "The file is the one that `If-None-Match` names"),
        (status = 416, description = "The range is behind the file's end"),
    ))]
pub async fn show_reel_file(
    State(app): State<App>,
    Id(hash): Id<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("file");
    let kept = app.reels.kept.as_ref().ok_or_else(missing)?;
    let unreadable = |error: std::io::Error| {
        tracing::error!(%error, "a file of a reel cannot be read");
        Problem::new(Code::Internal, "The file cannot be read; the log says why.")
    };
    let opened = kept.read(&hash).await.map_err(unreadable)?.ok_or_else(missing)?;
    let mut response = files::serve(opened, &hash, &headers).await.map_err(unreadable)?;
    origins::allow(
        &app.config.integrations.allowed_origins,
        &headers,
        response.headers_mut(),
    );
    Ok(response)
}

impl FeedError {
    /// What callers are told.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::NotConfigured => Code::InstagramNotConfigured,
            Self::Timeout => Code::InstagramTimeout,
            Self::TokenInvalid(_) => Code::InstagramTokenInvalid,
            Self::Refused(_) | Self::Unreadable { .. } => Code::InstagramApiError,
            Self::Busy => Code::Overloaded,
        }
    }
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        let detail = match &error {
            FeedError::NotConfigured => {
                "No Instagram account is connected: set META_IG_BUSINESS_ID and META_IG_ACCESS_TOKEN.".to_owned()
            }
            FeedError::Timeout => "Instagram did not answer in time.".to_owned(),
            FeedError::TokenInvalid(meta) => format!(
                "Instagram refuses the access token, or lacks a permission of it ({}).",
                meta.code
            ),
            FeedError::Refused(meta) => format!("Instagram answered with error {}.", meta.code),
            FeedError::Unreadable { .. } => {
                "Instagram could not be reached, or its answer was not understood.".to_owned()
            }
            FeedError::Busy => "More reels are being fetched than can be at once.".to_owned(),
        };
        let retry_after = match &error {
            FeedError::NotConfigured => None,
            error => Some(error.wait().unwrap_or(RETRY_AFTER)),
        };
        let mut problem = Self::new(error.code(), detail);
        problem.retry_after = retry_after;
        if let FeedError::TokenInvalid(meta) | FeedError::Refused(meta) = error {
            problem.meta = Some(Box::new(MetaProblem {
                code: meta.code,
                subcode: meta.subcode,
                message: meta.message,
                trace_id: meta.trace_id,
            }));
        }
        problem
    }
}
