//! Who may call.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, StatusCode, header};
use std::net::SocketAddr;
use tidings::access::Access;
use tidings::routes;

use super::{KEY, on_each, on_each_with, request};

fn methods() -> [Method; 5] {
    [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE]
}

/// Every method and path of the document, with a path that can be called.
fn operations() -> Vec<(Method, String, String)> {
    let document = serde_json::to_value(routes::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in methods() {
            if item.get(method.as_str().to_ascii_lowercase()).is_some() {
                operations.push((method, path.clone(), path.replace("{id}", "x")));
            }
        }
    }
    operations
}

#[test]
fn nothing_but_webhooks_signed_endpoints_health_and_what_websites_show_is_without_a_key() {
    let mut public = BTreeSet::new();
    for (path, access) in routes::access() {
        match access {
            Access::Key => {}
            Access::Meta | Access::Public | Access::Link | Access::Signed => {
                public.insert(path);
            }
        }
    }
    let expected = [
        "/api/webhooks/instagram",
        "/api/webhooks/whatsapp",
        "/embed/reels",
        "/embed/reels.js",
        "/health/live",
        "/health/ready",
        "/integrations/instagram/reels",
        "/integrations/instagram/reels/media/{hash}",
        "/integrations/whatsapp/booking-confirmation",
        "/integrations/whatsapp/custom-message",
        "/media/{id}",
        "/webhook/instagram",
        "/webhook/whatsapp",
    ];
    assert_eq!(public, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn every_route_asks_for_a_key_unless_it_is_declared_not_to() {
    on_each(async |hub| {
        let access: std::collections::BTreeMap<String, Access> = routes::access().into_iter().collect();
        let operations = operations();
        assert!(
            operations.len() >= 25,
            "only {} operations in the document",
            operations.len()
        );
        for (method, template, path) in operations {
            let mut request = request(method.clone(), &path, Body::empty());
            request.headers_mut().remove(header::AUTHORIZATION);
            let answer = hub.call(request).await;
            let is_refused = answer.status == StatusCode::UNAUTHORIZED && answer.body.contains("\"unauthorized\"");
            assert_eq!(
                is_refused,
                access[&template] == Access::Key,
                "{method} {path}: {}",
                answer.body
            );
            if is_refused {
                assert!(
                    answer.headers[header::WWW_AUTHENTICATE]
                        .to_str()
                        .unwrap()
                        .starts_with("Bearer"),
                    "{path}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_key_itself_opens() {
    on_each(async |hub| {
        let cases = [
            (format!("Bearer {KEY}"), 200),
            (format!("bearer {KEY}"), 200),
            ("Bearer another-key-of-nobody".to_owned(), 401),
            (format!("Basic {KEY}"), 401),
            (KEY.to_owned(), 401),
            ("Bearer".to_owned(), 401),
            (String::new(), 401),
        ];
        for (header, status) in cases {
            let mut request = request(Method::GET, "/api/v1/channels", Body::empty());
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, header.parse().unwrap());
            assert_eq!(hub.call(request).await.status, status, "{header}");
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_are_read_with_a_key_or_from_a_listed_address() {
    on_each_with(&[("TIDINGS_METRICS_ALLOW", "10.0.0.7")], async |hub| {
        for (address, with_key, status) in [
            ("10.0.0.7:4000", false, 200),
            ("[::ffff:10.0.0.7]:4000", false, 200),
            ("10.0.0.8:4000", false, 401),
            ("10.0.0.8:4000", true, 200),
        ] {
            let mut request = request(Method::GET, "/metrics", Body::empty());
            request
                .extensions_mut()
                .insert(ConnectInfo(address.parse::<SocketAddr>().unwrap()));
            if !with_key {
                request.headers_mut().remove(header::AUTHORIZATION);
            }
            let answer = hub.call(request).await;
            assert_eq!(answer.status, status, "{address}, with a key: {with_key}");
            if status == 200 {
                assert!(
                    answer.body.contains("whatsapp_messages_received_total"),
                    "{}",
                    answer.body
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_hub_that_lives_says_so_to_anyone() {
    on_each(async |hub| {
    for (path, body) in [
        ("/health/live", r#"{"status":"live"}"#),
        (
            "/health/ready",
            r#"{"status":"ready","checks":[{"name":"store","ok":true},{"name":"workers","ok":true}],"warnings":[],"channels":[]}"#,
        ),
    ] {
        let mut request = request(Method::GET, path, Body::empty());
        request.headers_mut().remove(header::AUTHORIZATION);
        let answer = hub.call(request).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, body));
    }
    }).await;
}
