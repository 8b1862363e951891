//! Serves a kept file: whole, or a range of it (RFC 9110, 14), to be kept by browsers for good, since another content has another address.

use std::io::SeekFrom;
use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::kept::Opened;

/// A year: as long as the standard lets anything be called fresh.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const CHUNK_BYTES: u64 = 64 * 1024;

/// Answers with the file, whose tag is its hash.
pub(super) async fn serve(opened: Opened, hash: &str, request: &HeaderMap) -> std::io::Result<Response> {
    let etag = format!("\"{hash}\"");
    let etag = HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\""));
    let Opened { mut file, bytes, mime } = opened;
    let mut response = if matches_tag(request.get(header::IF_NONE_MATCH), &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match wanted(request, &etag, bytes) {
            Wanted::Whole => {
                file.seek(SeekFrom::Start(0)).await?;
                let mut response = body(file, bytes).into_response();
                response
                    .headers_mut()
                    .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
                response
            }
            Wanted::Range(range) => {
                file.seek(SeekFrom::Start(range.start)).await?;
                let length = range.end - range.start;
                let mut response = (StatusCode::PARTIAL_CONTENT, body(file, length)).into_response();
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                insert_range(headers, &format!("bytes {}-{}/{bytes}", range.start, range.end - 1));
                response
            }
            Wanted::Nothing => {
                let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                insert_range(response.headers_mut(), &format!("bytes */{bytes}"));
                return Ok(response);
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    Ok(response)
}

fn insert_range(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

/// Whether a list of tags, as `If-None-Match` has it, names this one.
pub(super) fn matches_tag(list: Option<&HeaderValue>, etag: &HeaderValue) -> bool {
    let (Some(Ok(list)), Ok(etag)) = (list.map(HeaderValue::to_str), etag.to_str()) else {
        return false;
    };
    list.split(',')
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Range(Range<u64>),
    /// A range behind the end.
    Nothing,
}

/// A range of another version of the file, several ranges, and what is no range at all are answered with the whole.
fn wanted(request: &HeaderMap, etag: &HeaderValue, bytes: u64) -> Wanted {
    if request.get(header::IF_RANGE).is_some_and(|tag| tag != etag) {
        return Wanted::Whole;
    }
    let text = request.get(header::RANGE).and_then(|range| range.to_str().ok());
    text.map_or(Wanted::Whole, |text| range(text, bytes))
}

fn range(text: &str, bytes: u64) -> Wanted {
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = text
        .trim()
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let (start, end) = match (number(first), number(last), first.is_empty(), last.is_empty()) {
        (Some(first), Some(last), ..) if first <= last => (first, last.saturating_add(1)),
        (Some(first), None, _, true) => (first, u64::MAX),
        (None, Some(length), true, _) => (bytes.saturating_sub(length), if length == 0 { 0 } else { u64::MAX }),
        _ => return Wanted::Whole,
    };
    let end = end.min(bytes);
    if start < end {
        Wanted::Range(start..end)
    } else {
        Wanted::Nothing
    }
}

fn body(file: File, length: u64) -> Body {
    Body::from_stream(stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let mut chunk = vec![0; left.min(CHUNK_BYTES) as usize];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        Ok(Some((Bytes::from(chunk), (file, left - read as u64))))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_as_the_standard_has_it() {
        for (text, expected) in [
            ("bytes=0-9", Wanted::Range(0..10)),
            ("bytes=90-", Wanted::Range(90..100)),
            ("bytes=-10", Wanted::Range(90..100)),
            ("bytes=-1000", Wanted::Range(0..100)),
            ("bytes=99-99999999999999999999999", Wanted::Range(99..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=9-0", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(range(text, 100), expected, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Wanted::Nothing);
    }

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        let etag = HeaderValue::from_static("\"a\"");
        let matches = |list: &'static str| matches_tag(Some(&HeaderValue::from_static(list)), &etag);
        assert!(matches("\"a\"") && matches("W/\"a\"") && matches("\"b\", \"a\"") && matches("*"));
        assert!(!matches("\"b\"") && !matches("a") && !matches_tag(None, &etag));
    }
}
