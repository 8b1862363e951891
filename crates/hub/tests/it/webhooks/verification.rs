//! The handshake: Meta asks, and only who knows the token is answered.

use reqwest::Method;

use crate::harness::{Answer, Harness, Setup, on_both_with};

const ADDRESSES: [&str; 4] = [
    "/api/webhooks/whatsapp",
    "/api/webhooks/instagram",
    "/webhook/whatsapp",
    "/webhook/instagram",
];

async fn verify(harness: &Harness, path: &str, query: &[(&str, &str)]) -> Answer {
    harness.answer(harness.request(Method::GET, path).query(query)).await
}

async fn verify_with(harness: &Harness, path: &str, token: &str) -> Answer {
    let query = [
        ("hub.mode", "subscribe"),
        ("hub.verify_token", token),
        ("hub.challenge", "1158201444"),
    ];
    verify(harness, path, &query).await
}

fn both_tokens() -> Setup {
    Setup::default()
        .unsubscribed()
        .with("WHATSAPP_VERIFY_TOKEN", "the right one")
        .with("INSTAGRAM_VERIFY_TOKEN", "the right one")
}

#[tokio::test]
async fn the_right_token_gets_the_exact_bytes_of_the_challenge() {
    on_both_with(both_tokens(), async |harness| {
        for path in ADDRESSES {
            for challenge in ["1158201444", " a&b=c %+\u{e9}\u{1f600}\n<b>\"' ", "0"] {
                let query = [
                    ("hub.challenge", challenge),
                    ("hub.mode", "subscribe"),
                    ("hub.verify_token", "the right one"),
                ];
                let answer = verify(harness, path, &query).await;
                assert_eq!(answer.status, 200, "{path}");
                assert_eq!(answer.body.as_bytes(), challenge.as_bytes(), "{path}");
                assert!(answer.header("content-type").starts_with("text/plain"), "{path}");
                assert_eq!(
                    answer.header("x-content-type-options"),
                    "nosniff",
                    "a challenge is never a page"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_token_or_mode_is_forbidden() {
    on_both_with(both_tokens(), async |harness| {
        for path in ADDRESSES {
            for token in [
                "the wrong one",
                "The right one",
                "the right on",
                "the right one ",
                "the right onee",
            ] {
                verify_with(harness, path, token)
                    .await
                    .problem(403, "wrong_verify_token");
            }
            for mode in ["unsubscribe", "Subscribe", "subscribe "] {
                let query = [
                    ("hub.mode", mode),
                    ("hub.verify_token", "the right one"),
                    ("hub.challenge", "1"),
                ];
                verify(harness, path, &query).await.problem(403, "wrong_verify_token");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn each_missing_parameter_is_a_bad_request() {
    on_both_with(both_tokens(), async |harness| {
        let whole = [
            ("hub.mode", "subscribe"),
            ("hub.verify_token", "the right one"),
            ("hub.challenge", "1"),
        ];
        for path in ADDRESSES {
            for missing in 0..whole.len() {
                let mut query = whole.to_vec();
                query.remove(missing);
                verify(harness, path, &query).await.problem(400, "missing_parameter");
            }
            verify(harness, path, &[]).await.problem(400, "missing_parameter");
        }
    })
    .await;
}

#[tokio::test]
async fn a_query_that_cannot_be_read_gets_a_problem_document() {
    on_both_with(both_tokens(), async |harness| {
        for query in [
            "hub.mode=subscribe&hub.mode=subscribe&hub.verify_token=the+right+one&hub.challenge=1",
            "hub.challenge=%ff",
        ] {
            let answer = harness
                .answer(harness.request(Method::GET, &format!("{}?{query}", ADDRESSES[0])))
                .await;
            assert_eq!(answer.status, 400, "{answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_token_the_variable_is_named() {
    let setup = Setup::default()
        .unsubscribed()
        .without("WHATSAPP_VERIFY_TOKEN")
        .without("INSTAGRAM_VERIFY_TOKEN");
    on_both_with(setup, async |harness| {
        for path in ADDRESSES {
            let variable = if path.ends_with("whatsapp") {
                "WHATSAPP_VERIFY_TOKEN"
            } else {
                "INSTAGRAM_VERIFY_TOKEN"
            };
            for token in ["anything", ""] {
                let document = verify_with(harness, path, token)
                    .await
                    .problem(503, "verify_token_not_configured");
                assert!(document["detail"].as_str().unwrap().contains(variable), "{document}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_spelling_of_the_variables_gives_a_token() {
    on_both_with(both_tokens(), async |harness| {
        let cases: [(&str, &[&str]); 5] = [
            ("WHATSAPP_VERIFY_TOKEN", &["whatsapp"]),
            ("WEBHOOK_VERIFY_TOKEN", &["whatsapp"]),
            ("INSTAGRAM_VERIFY_TOKEN", &["instagram"]),
            ("INSTAGRAM_WEBHOOK_VERIFY_TOKEN", &["instagram"]),
            ("META_VERIFY_TOKEN", &["whatsapp", "instagram"]),
        ];
        for (variable, products) in cases {
            harness
                .restart_with(|_| {
                    Setup::default()
                        .unsubscribed()
                        .without("WHATSAPP_VERIFY_TOKEN")
                        .without("INSTAGRAM_VERIFY_TOKEN")
                        .with(variable, "the right one")
                })
                .await;
            for path in ADDRESSES {
                let answer = verify_with(harness, path, "the right one").await;
                if products.iter().any(|product| path.ends_with(product)) {
                    assert_eq!(
                        (answer.status.as_u16(), answer.body.as_str()),
                        (200, "1158201444"),
                        "{variable} {path}"
                    );
                } else {
                    answer.problem(503, "verify_token_not_configured");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn tokens_of_several_variables_all_hold() {
    let setup = Setup::default()
        .unsubscribed()
        .with("WHATSAPP_VERIFY_TOKEN", "one")
        .with("WEBHOOK_VERIFY_TOKEN", "two")
        .with("META_VERIFY_TOKEN", "three");
    on_both_with(setup, async |harness| {
        for token in ["one", "two", "three"] {
            assert_eq!(verify_with(harness, ADDRESSES[0], token).await.status, 200, "{token}");
        }
        assert_eq!(verify_with(harness, ADDRESSES[1], "three").await.status, 200);
        verify_with(harness, ADDRESSES[1], "one")
            .await
            .problem(403, "wrong_verify_token");
    })
    .await;
}
