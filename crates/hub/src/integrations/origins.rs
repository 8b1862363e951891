//! Which websites' scripts may read what is public here (CORS): those that `INTEGRATIONS_ALLOWED_ORIGINS` names.

use axum::http::{HeaderMap, HeaderValue, header};

/// How long a browser may remember that it was allowed to ask.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
/// What scripts may read of an answer's head beside what they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static("Age, ETag, Retry-After, X-Cache, X-Request-Id");

/// Adds to an answer what a browser has to know before it shows the answer to a script of another site.
pub(super) fn allow(allowed: &[String], request: &HeaderMap, answer: &mut HeaderMap) {
    if allowed.is_empty() {
        return;
    }
    let Some(origin) = allowed_origin(allowed, request) else {
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
        return;
    };
    if origin != ANY {
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// The same for a browser that asks beforehand.
pub(super) fn allow_beforehand(allowed: &[String], request: &HeaderMap, answer: &mut HeaderMap) {
    allow(allowed, request, answer);
    if answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        answer.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD"),
        );
        answer.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("If-None-Match, Range"),
        );
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

/// Stands for every origin.
const ANY: &str = "*";

fn allowed_origin(allowed: &[String], request: &HeaderMap) -> Option<HeaderValue> {
    if allowed.iter().any(|allowed| allowed == ANY) {
        return Some(HeaderValue::from_static(ANY));
    }
    let origin = request.get(header::ORIGIN)?;
    let is_allowed = allowed
        .iter()
        .any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
    is_allowed.then(|| origin.clone())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    use super::{allow, allow_beforehand};

    fn asked_by(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(axum::http::header::ORIGIN, HeaderValue::from_static(origin))])
    }

    fn answer(allowed: &[&str], origin: &'static str) -> (Option<String>, bool) {
        let allowed: Vec<String> = allowed.iter().map(|origin| (*origin).to_owned()).collect();
        let mut answer = HeaderMap::new();
        allow(&allowed, &asked_by(origin), &mut answer);
        let origin = answer
            .get("access-control-allow-origin")
            .map(|value| value.to_str().unwrap().to_owned());
        (origin, answer.contains_key("vary"))
    }

    #[test]
    fn only_origins_that_are_named_are_allowed() {
        let site = "https://shop.example";
        assert_eq!(answer(&[], site), (None, false));
        assert_eq!(answer(&["*"], site), (Some("*".to_owned()), false));
        assert_eq!(answer(&[site], site), (Some(site.to_owned()), true));
        for other in ["https://shop.example.evil", "http://shop.example", "null"] {
            assert_eq!(answer(&[site], other), (None, true), "{other}");
        }
    }

    #[test]
    fn a_browser_that_asks_beforehand_is_told_what_it_may_send() {
        let mut answer = HeaderMap::new();
        allow_beforehand(
            &["https://a.example".to_owned()],
            &asked_by("https://a.example"),
            &mut answer,
        );
        assert_eq!(answer["access-control-allow-methods"], "GET, HEAD");
        let mut answer = HeaderMap::new();
        allow_beforehand(
            &["https://a.example".to_owned()],
            &asked_by("https://b.example"),
            &mut answer,
        );
        assert!(!answer.contains_key("access-control-allow-methods"));
    }
}
