//! The desk is served, under the phone's policy.

use super::harness::{start, stepped};

#[tokio::test]
async fn the_page_and_its_companions_are_served() {
    let harness = start(stepped()).await;
    for (path, kind, holds) in [
        ("/desk", "text/html; charset=utf-8", "Sandbox desk"),
        ("/desk/desk.css", "text/css; charset=utf-8", "color-scheme"),
        ("/desk/desk.js", "text/javascript; charset=utf-8", "kindsAt"),
    ] {
        let answer = harness
            .http
            .get(format!("{}{path}", harness.sandbox.url()))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-type"], kind);
        assert!(
            answer.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("default-src 'none'")
        );
        assert!(answer.text().await.unwrap().contains(holds));
    }
    let page = harness
        .http
        .get(format!("{}/phone", harness.sandbox.url()))
        .send()
        .await
        .unwrap();
    assert!(page.text().await.unwrap().contains("href=\"desk\""));
}
