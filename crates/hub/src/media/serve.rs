//! How a file is served: whole or in part, and so that nothing in it can do harm.
//!
//! A file is what a stranger has sent. So it is never run by a browser in the hub's name: its type is the one that its bytes say, which nobody
//! may guess anew (`nosniff`); it is shut in (`sandbox`); and only what browsers merely show is shown by them, anything else is saved.

use std::fmt::Write;
use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::model::{Media, MediaStatus, Stored};
use crate::app::App;
use crate::http::problem::{Code, Problem};

/// What browsers show and do not run.
const SHOWN: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "video/mp4",
    "video/3gpp",
    "video/webm",
    "video/quicktime",
    "audio/aac",
    "audio/amr",
    "audio/mpeg",
    "audio/mp4",
    "audio/ogg",
    "audio/wav",
    "text/plain",
];
const POLICY: &str = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox";
/// A file never changes; but who may see it may.
const CACHING: &str = "private, max-age=3600, immutable";

/// The answer with a file, or the part of it that was asked for.
pub(super) async fn file(app: &App, media: &Media, asked: &HeaderMap) -> Result<Response, Problem> {
    let Some(stored) = media.stored() else {
        return Err(absent(media));
    };
    let tag = format!("\"{}\"", stored.sha256);
    if is_known(asked, &tag) {
        return Ok(head(StatusCode::NOT_MODIFIED, media, &stored, &tag).into_response());
    }
    let whole = 0..stored.size;
    let (status, range) = match asked_range(asked, &tag, stored.size) {
        Asked::Whole => (StatusCode::OK, whole.clone()),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Outside => {
            let problem = Problem::new(
                Code::RangeNotSatisfiable,
                format!("The file has {} bytes; the range begins behind its end.", stored.size),
            );
            let mut response = problem.into_response();
            let range = HeaderValue::from_str(&format!("bytes */{}", stored.size));
            response
                .headers_mut()
                .extend(range.ok().map(|range| (header::CONTENT_RANGE, range)));
            return Ok(response);
        }
    };
    let chunks = app
        .media
        .depot
        .read(stored.sha256, range.clone())
        .await
        .map_err(|error| {
            tracing::error!(%error, media = %media.id, "a file cannot be read from the media store");
            unavailable()
        })?;
    let Some(chunks) = chunks else {
        tracing::error!(media = %media.id, file = %stored.sha256, "a file is not in the media store, although it should be");
        return Err(unavailable());
    };
    let mut headers = head(status, media, &stored, &tag).1;
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if range != whole {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, stored.size);
        headers.extend(
            HeaderValue::from_str(&text)
                .ok()
                .map(|range| (header::CONTENT_RANGE, range)),
        );
    }
    Ok((status, headers, Body::from_stream(chunks)).into_response())
}

pub(super) fn unavailable() -> Problem {
    Problem::new(Code::MediaUnavailable, "The media store cannot be used at the moment.")
        .retry_after(std::time::Duration::from_secs(5))
}

fn absent(media: &Media) -> Problem {
    let why = match (&media.status, &media.reason) {
        (MediaStatus::Failed, Some(reason)) => format!("The file could not be had from Meta: {reason}."),
        (_, Some(reason)) => format!("The file is not there yet; the last try: {reason}."),
        _ => "The file is not there yet.".to_owned(),
    };
    Problem::new(Code::MediaNotStored, why)
}

fn head(status: StatusCode, media: &Media, stored: &Stored<'_>, tag: &str) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    let mut set = |name, text: &str| {
        // What cannot stand in a header is left out.
        headers.extend(HeaderValue::from_str(text).ok().map(|value| (name, value)));
    };
    let kind = match stored.mime_type {
        "text/plain" => "text/plain; charset=utf-8",
        other => other,
    };
    set(header::CONTENT_TYPE, kind);
    set(header::ETAG, tag);
    set(header::ACCEPT_RANGES, "bytes");
    set(header::CACHE_CONTROL, CACHING);
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        header::CONTENT_DISPOSITION,
        &disposition(stored.mime_type, media.filename.as_deref()),
    );
    (status, headers)
}

/// What a browser is to do with a file, and what it is called (RFC 6266): in plain letters for old ones, and in any for the others.
fn disposition(mime_type: &str, filename: Option<&str>) -> String {
    let how = if SHOWN.contains(&mime_type) {
        "inline"
    } else {
        "attachment"
    };
    let Some(name) = filename.filter(|name| !name.is_empty()) else {
        return how.to_owned();
    };
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | '/') || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .take(200)
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes().take(800) {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// Whether whoever asks has it already.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    known.is_some_and(|known| {
        known
            .split(',')
            .map(|one| one.trim().trim_start_matches("W/"))
            .any(|one| one == tag || one == "*")
    })
}

/// What is asked for of a file.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    /// What begins behind its end.
    Outside,
}

/// One range is understood (RFC 9110, 14.2); several, and what cannot be understood, are answered with the whole, as is a range of what
/// was another file.
fn asked_range(asked: &HeaderMap, tag: &str, size: u64) -> Asked {
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|known| known != tag) {
        return Asked::Whole;
    }
    let range = text(header::RANGE).and_then(|range| range.trim().strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(first.trim()), number(last.trim()), first.trim(), last.trim()) {
        (None, Some(0), "", _) => Asked::Outside,
        (None, Some(count), "", _) if size > 0 => Asked::Part(size.saturating_sub(count)..size),
        (Some(first), _, _, _) if first >= size => Asked::Outside,
        (Some(first), None, _, "") => Asked::Part(first..size),
        (Some(first), Some(last), _, _) if first <= last => Asked::Part(first..last.saturating_add(1).min(size)),
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{Asked, asked_range, disposition, is_known};

    const TAG: &str = "\"abc\"";

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn one_range_is_understood_and_anything_else_is_the_whole() {
        for (range, wanted) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=2-5", Asked::Part(2..6)),
            ("bytes=2-", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=8-99", Asked::Part(8..10)),
            ("bytes=8-99999999999999999999999", Asked::Part(8..10)),
            ("bytes=9-9", Asked::Part(9..10)),
            ("bytes=10-", Asked::Outside),
            ("bytes=99999999999999999999999-", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=5-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("chapters=1-2", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(
                asked_range(&headers(&[(header::RANGE, range)]), TAG, 10),
                wanted,
                "{range}"
            );
        }
        assert_eq!(asked_range(&HeaderMap::new(), TAG, 10), Asked::Whole);
        assert_eq!(
            asked_range(&headers(&[(header::RANGE, "bytes=-5")]), TAG, 0),
            Asked::Whole
        );
        let with = |known| headers(&[(header::RANGE, "bytes=0-0"), (header::IF_RANGE, known)]);
        assert_eq!(asked_range(&with(TAG), TAG, 10), Asked::Part(0..1));
        assert_eq!(asked_range(&with("\"other\""), TAG, 10), Asked::Whole);
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        for (known, is) in [
            (TAG, true),
            ("W/\"abc\"", true),
            ("\"x\", \"abc\"", true),
            ("*", true),
            ("\"x\"", false),
        ] {
            let asked = [(header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap())];
            assert_eq!(is_known(&asked.into_iter().collect(), TAG), is, "{known}");
        }
    }

    #[test]
    fn only_what_browsers_merely_show_is_shown_by_them() {
        assert_eq!(disposition("image/png", None), "inline");
        assert_eq!(disposition("text/html", None), "attachment");
        assert_eq!(disposition("image/svg+xml", None), "attachment");
        assert_eq!(
            disposition("application/pdf", Some("contract v2.pdf")),
            "attachment; filename=\"contract v2.pdf\"; filename*=UTF-8''contract%20v2.pdf"
        );
        let odd = disposition("application/pdf", Some("Über\"\r\nSet-Cookie: a=b.pdf"));
        assert!(odd.contains("filename=\"_ber___Set-Cookie: a=b.pdf\""), "{odd}");
        assert!(
            odd.ends_with("filename*=UTF-8''%C3%9Cber%22%0D%0ASet-Cookie%3A%20a%3Db.pdf"),
            "{odd}"
        );
        assert!(odd.is_ascii() && !odd.contains(['\r', '\n']));
    }
}
