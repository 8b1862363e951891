//! The reels ready to be put on a page: a custom element (`reels.js`), and a page with nothing else for a frame.
//!
//! The script is a client of the public feed and nothing else, from no third party, and works under a strict content security policy: no
//! style and no handler stands in markup.

use std::fmt::Write;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::http::extract::{FromParameters, Parameters, Query};
use crate::http::problem::Problem;
use crate::integrations::reels::model::LIMIT_MAX;

const SCRIPT: &str = include_str!("reels.js");

static SCRIPT_TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = digest(&SHA256, SCRIPT.as_bytes());
    HeaderValue::from_str(&format!("\"{}\"", hex::encode(&hash.as_ref()[..16])))
        .expect("hexadecimal digits can stand in a header")
});

/// How long a browser may use the script without asking: a new version of the hub is in use within the hour.
const SCRIPT_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600, stale-while-revalidate=86400");
const PAGE_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// How the page is to look.
#[derive(Debug)]
pub struct PageQuery {
    limit: Option<u32>,
    theme: Option<&'static str>,
    language: Option<String>,
}

const THEMES: [&str; 3] = ["auto", "light", "dark"];

impl FromParameters for PageQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        let limit = parameters.limit_or(0, LIMIT_MAX)?;
        let theme = |text: &str| THEMES.into_iter().find(|theme| *theme == text);
        let language = |text: &str| {
            let is_fit =
                (2..=35).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            is_fit.then(|| text.to_owned())
        };
        Ok(Self {
            limit: Some(limit).filter(|limit| *limit > 0),
            theme: parameters.parsed("theme", "`auto`, `light` or `dark`", theme)?,
            language: parameters.parsed("lang", "a language, such as `en` or `nl-BE`", language)?,
        })
    }
}

/// A page with the reels and nothing else, for a frame on any site.
#[utoipa::path(get, path = "/embed/reels", tag = "Integrations",
    params(
        ("limit" = Option<u32>, Query, description = "How many at a time: 1 to 25", minimum = 1, maximum = 25),
        ("theme" = Option<String>, Query, description = "`light` or `dark`; what the visitor prefers if left out"),
        ("lang" = Option<String>, Query, description = "The language of the page's own words: `en`, `nl` or `de`"),
    ),
    responses((status = 200, description = "The page", content_type = "text/html")))]
pub async fn show_page(State(app): State<App>, Query(query): Query<PageQuery>) -> Response {
    let mut attributes = String::new();
    // Each value is a number or one of a closed set of letters. Writing to a string cannot fail.
    if let Some(limit) = query.limit {
        let _ = write!(attributes, " limit=\"{limit}\"");
    }
    if let Some(theme) = query.theme {
        let _ = write!(attributes, " theme=\"{theme}\"");
    }
    let language = query.language.as_deref().unwrap_or("en");
    let page = format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Instagram Reels</title>\n\
         <script src=\"reels.js\" defer></script>\n</head>\n<body>\n<main>\n\
         <tidings-reels src=\"../integrations/instagram/reels\" lang=\"{language}\" frame{attributes}></tidings-reels>\n\
         <noscript>These reels need JavaScript.</noscript>\n</main>\n</body>\n</html>\n"
    );
    let mut response = page.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, PAGE_CACHE);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(&app));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    );
    response
}

/// What the page may load: its own script and feed, and pictures and films from wherever Meta keeps them.
fn policy(app: &App) -> HeaderValue {
    let graph = &app.config.graph.instagram_base_url;
    // Files of a simulator come without TLS.
    let files = match reqwest::Url::parse(graph) {
        Ok(url) if url.scheme() == "http" => format!("'self' https: {}", url.origin().ascii_serialization()),
        _ => "'self' https:".to_owned(),
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src {files}; media-src {files}; base-uri 'none'; \
         form-action 'none'; frame-ancestors *"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// The custom element `<tidings-reels>`.
#[utoipa::path(get, path = "/embed/reels.js", tag = "Integrations",
    responses(
        (status = 200, description = "The script", content_type = "text/javascript"),
        (status = 304, description = "The script is still the one that `If-None-Match` names"),
    ))]
pub async fn show_script(headers: HeaderMap) -> Response {
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|tag| tag == SCRIPT_TAG.clone());
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        SCRIPT.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/javascript; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, SCRIPT_CACHE);
    headers.insert(header::ETAG, SCRIPT_TAG.clone());
    // The same for everybody, and nothing in it is anybody's.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    response
}
