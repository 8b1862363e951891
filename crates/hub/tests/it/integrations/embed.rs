//! The page and the script to embed, as far as they can be read without a browser; `tests/browser` opens them in one.

use reqwest::Method;

use crate::harness::on_both;

#[tokio::test]
async fn the_page_is_strict_about_itself_and_may_stand_in_any_frame() {
    on_both(async |harness| {
        let get = async |path: &str| harness.answer(harness.request(Method::GET, path)).await;
        let page = get("/embed/reels?limit=9&theme=dark&lang=nl").await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.body.contains("<html lang=\"nl\">"), "{}", page.body);
        assert!(page.body.contains("limit=\"9\" theme=\"dark\""), "{}", page.body);
        let policy = page.header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors *"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (query, code, field) in [
            ("limit=26", "invalid_limit", "limit"),
            ("theme=pink", "invalid_parameter", "theme"),
            ("lang=%22%3E%3Cscript%3E", "invalid_parameter", "lang"),
        ] {
            assert_eq!(get(&format!("/embed/reels?{query}")).await.fields(400, code), [field]);
        }

        let script = get("/embed/reels.js").await;
        assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
        assert_eq!(script.header("access-control-allow-origin"), "*");
        assert!(script.body.contains("customElements.define(\"tidings-reels\""));
        // Nothing of a third party, and nothing that a strict policy forbids.
        for forbidden in [
            "innerHTML",
            "eval(",
            "Function(",
            "document.write",
            ".style.",
            "import(",
            "https://cdn",
        ] {
            assert!(!script.body.contains(forbidden), "{forbidden}");
        }
        let request = harness
            .request(Method::GET, "/embed/reels.js")
            .header("if-none-match", script.header("etag"));
        assert_eq!(harness.answer(request).await.status, 304);
    })
    .await;
}
