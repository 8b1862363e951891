//! The phone: a page on which a person plays a customer of the business.
//!
//! It is a client of the control API alone (`/sandbox/…`, `/ledger`), so that it can show nothing a test could not see.
//! The cast: `page.html` holds the frame and the icons, `phone.css` the two looks (WhatsApp, Instagram), `phone.js` what the page knows and
//! does, `draw.js` what everything is drawn with, `bubbles.js` a message of any kind, `sheets.js` what slides up over the phone,
//! `attach.js` what a customer can send, `posts.js` posts with what is written under them, and `once.js` how often is read again.
//!
//! Guarantee: the files are part of the binary, and the browser is told to run and load nothing else. Customers
//! and applications decide what is shown in the thread, so their text must never become code, and their links must
//! never make the browser call out unless the person presses them.

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::get;

/// What the browser may do on this page. `data:` is allowed for pictures because the style sheet draws its wallpaper
/// that way; it names no host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its companions: path, media type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/phone", "text/html; charset=utf-8", include_str!("page.html")),
    ("/phone/phone.css", "text/css; charset=utf-8", include_str!("phone.css")),
    ("/phone/phone.js", SCRIPT, include_str!("phone.js")),
    ("/phone/draw.js", SCRIPT, include_str!("draw.js")),
    ("/phone/once.js", SCRIPT, include_str!("once.js")),
    ("/phone/bubbles.js", SCRIPT, include_str!("bubbles.js")),
    ("/phone/sheets.js", SCRIPT, include_str!("sheets.js")),
    ("/phone/attach.js", SCRIPT, include_str!("attach.js")),
    ("/phone/posts.js", SCRIPT, include_str!("posts.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page and its companions, to be merged into the sandbox's router.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, (path, content_type, body)| {
        router.route(path, get(async || file(content_type, body)))
    })
}

/// One embedded file and the headers that go with it. `no-cache`, since a newer binary has newer files under the same
/// names.
pub(crate) fn file(content_type: &'static str, body: &'static str) -> ([(HeaderName, &'static str); 5], &'static str) {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the server of a test ends with the test")]
mod tests {
    use std::collections::BTreeSet;

    use tokio::net::TcpListener;

    use super::{FILES, POLICY, SCRIPT, routes};

    fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
        let scripts = FILES.iter().filter(|(_, content_type, _)| *content_type == SCRIPT);
        scripts.map(|(path, _, body)| (*path, *body))
    }

    const PAGE: &str = include_str!("page.html");

    /// Every text that stands between `before` and the next `after`.
    fn all_between<'text>(text: &'text str, before: &str, after: &str) -> BTreeSet<&'text str> {
        text.split(before)
            .skip(1)
            .filter_map(|rest| rest.split_once(after))
            .map(|(found, _)| found)
            .collect()
    }

    #[tokio::test]
    async fn each_file_is_served_with_its_type_and_the_policy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, routes::<()>()).await });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();

        for (path, content_type, body) in FILES {
            let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.headers()["content-type"], *content_type, "{path}");
            assert_eq!(answer.headers()["content-security-policy"], POLICY, "{path}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(answer.text().await.unwrap(), *body, "{path}");
        }
        server.abort();
    }

    #[test]
    fn the_policy_names_no_host_and_nothing_inline() {
        for source in POLICY
            .split([' ', ';'])
            .filter(|word| !word.is_empty() && !word.ends_with("-src"))
        {
            let known = [
                "'none'",
                "'self'",
                "data:",
                "base-uri",
                "form-action",
                "frame-ancestors",
            ];
            assert!(known.contains(&source), "{source} loosens the policy");
        }
    }

    /// The policy would make the browser drop these silently: the page would look broken only to a person.
    #[test]
    fn the_page_holds_nothing_that_the_policy_forbids() {
        assert!(!PAGE.contains("<style"), "an inline style sheet");
        assert!(!PAGE.contains(" style="), "an inline style");
        assert!(
            all_between(PAGE, "<script", ">").iter().all(|tag| tag.contains("src=")),
            "an inline script"
        );
        for tag in all_between(PAGE, "<", ">") {
            assert!(
                !tag.split_whitespace()
                    .any(|word| word.starts_with("on") && word.contains('=')),
                "an inline handler in <{tag}>"
            );
        }
        for address in all_between(PAGE, "src=\"", "\"").union(&all_between(PAGE, "href=\"", "\"")) {
            let own = ["phone/phone.css", "phone/phone.js", "desk"].contains(address);
            assert!(
                own || address.starts_with('#') || address.starts_with("data:"),
                "{address} is not served here"
            );
        }
    }

    /// What customers and applications write reaches the page as text nodes only.
    #[test]
    fn the_scripts_never_turn_text_into_markup_or_code() {
        for door in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "eval(",
            "Function(",
        ] {
            for (path, script) in scripts() {
                assert!(
                    !script.contains(door),
                    "{door} in {path} would let a message become part of the page"
                );
            }
        }
    }

    #[test]
    fn every_element_and_icon_the_scripts_ask_for_is_on_the_page() {
        let on_page = all_between(PAGE, " id=\"", "\"");
        for (path, script) in scripts() {
            for id in all_between(script, "byId(\"", "\"") {
                assert!(on_page.contains(id), "{path}: no element has the id {id}");
            }
            let by_name = all_between(script, "icon(\"", "\"");
            for name in by_name.union(&all_between(script, "sign: \"", "\"")) {
                assert!(
                    on_page.contains(format!("icon-{name}").as_str()),
                    "{path}: no icon is called {name}"
                );
            }
        }
        for reference in all_between(PAGE, "href=\"#", "\"") {
            assert!(
                on_page.contains(reference),
                "the page uses {reference}, which it does not draw"
            );
        }
    }
}
