//! Who may post: the signature over the raw body, and what becomes of a body that is signed but not what Meta sends.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_meta::signature::sign;

use crate::harness::{ACCOUNT, Harness, NUMBER, Notification, START, Setup, on_both, on_both_with, whatsapp_text};

const SECRET: &str = "the secret of the app";
const OTHER_SECRET: &str = "the secret of another app";
/// What the hub is told that asks for the profile of a person who is only in these notifications.
const NO_SUCH_OBJECT: i64 = 100;
const PATHS: [&str; 4] = [
    "/api/webhooks/whatsapp",
    "/api/webhooks/instagram",
    "/webhook/whatsapp",
    "/webhook/instagram",
];

fn with_secrets() -> Setup {
    Setup::default()
        .unsubscribed()
        .with("WHATSAPP_APP_SECRET", SECRET)
        .with("INSTAGRAM_APP_SECRET", SECRET)
}

fn product(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

fn body_for(path: &str, id: &str) -> String {
    if product(path) == "whatsapp" {
        whatsapp_text(id, "447700900123", "hello", START).to_string()
    } else {
        instagram_text(id, "hello").to_string()
    }
}

fn instagram_text(id: &str, text: &str) -> Value {
    json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": START, "messaging": [
        {"sender": {"id": "5550001110001"}, "recipient": {"id": ACCOUNT}, "timestamp": START,
            "message": {"mid": id, "text": text}}]}]})
}

async fn counted(harness: &Harness, product: &str, result: &str) -> u64 {
    let line = format!(r#"tidings_webhook_notifications_total{{channel="{product}",result="{result}"}}"#);
    harness.metric(&line).await
}

async fn assert_nothing_kept(harness: &Harness) {
    assert!(harness.events("").await.is_empty());
    assert!(harness.quarantined().await.is_empty());
    assert!(harness.conversations().await.is_empty());
}

#[tokio::test]
async fn what_is_not_signed_by_meta_is_refused_and_counted_and_not_kept() {
    on_both_with(with_secrets(), async |harness| {
        for path in PATHS {
            let body = body_for(path, "wamid.1");
            let right = sign(SECRET.as_bytes(), body.as_bytes());
            let digits = right.strip_prefix("sha256=").unwrap();
            let wrong = [
                None,
                Some(String::new()),
                Some(digits.to_owned()),
                Some(format!("sha1={digits}")),
                Some("sha256=".to_owned()),
                Some(format!("sha256={}", &digits[..63])),
                Some(format!("{right}0")),
                Some(format!("sha256={}", "g".repeat(64))),
                Some(format!("sha256={}", "0".repeat(64))),
                Some(sign(OTHER_SECRET.as_bytes(), body.as_bytes())),
                Some(sign(SECRET.as_bytes(), format!("{body} ").as_bytes())),
                Some(sign(b"", body.as_bytes())),
            ];
            let before = counted(harness, product(path), "invalid_signature").await;
            for header in &wrong {
                let mut notification = Notification::to(path, body.clone());
                if let Some(header) = header {
                    notification = notification.header("x-hub-signature-256", header);
                }
                harness.post_as_is(notification).await.problem(401, "invalid_signature");
            }
            let after = counted(harness, product(path), "invalid_signature").await;
            assert_eq!(after - before, wrong.len() as u64, "{path}");
        }
        assert_nothing_kept(harness).await;
    })
    .await;
}

#[tokio::test]
async fn the_older_signature_alone_is_not_enough() {
    on_both_with(with_secrets(), async |harness| {
        for path in PATHS {
            // Whatever it says: SHA-1 is not looked at.
            let notification = Notification::to(path, body_for(path, "wamid.1"))
                .header("x-hub-signature", "sha1=2fd4e1c67a2d28fced849ee1bb76e7391b93eb12");
            harness.post_as_is(notification).await.problem(401, "invalid_signature");
        }
        assert_nothing_kept(harness).await;
    })
    .await;
}

#[tokio::test]
async fn a_signed_notification_is_taken_at_every_address() {
    on_both_with(with_secrets(), async |harness| {
        harness.foresee_refusals(&[NO_SUCH_OBJECT]);
        for (index, path) in PATHS.into_iter().enumerate() {
            let notification = Notification::to(path, body_for(path, &format!("wamid.{index}"))).signed_with(SECRET);
            let answer = harness.post_as_is(notification).await;
            assert_eq!(answer.expect(200), json!({"success": true}), "{path}");
        }
        harness.projected().await;
        let events = harness.events("").await;
        assert_eq!(events.len(), PATHS.len());
        assert!(events.iter().all(|event| event["signed"] == true));
        for name in ["whatsapp", "instagram"] {
            assert_eq!(counted(harness, name, "accepted").await, 2);
        }
    })
    .await;
}

#[tokio::test]
async fn any_of_several_secrets_will_do_until_it_is_taken_away() {
    let several = with_secrets()
        .with("WHATSAPP_APP_SECRET", "new secret,old secret")
        .with("META_APP_SECRET", OTHER_SECRET);
    on_both_with(several, async |harness| {
        harness.foresee_refusals(&[NO_SUCH_OBJECT]);
        let post = async |harness: &Harness, id: &str, secret: &str| {
            let notification = Notification::to(PATHS[0], body_for(PATHS[0], id)).signed_with(secret);
            harness.post_as_is(notification).await
        };
        for secret in ["new secret", "old secret", OTHER_SECRET] {
            post(harness, secret, secret).await.expect(200);
        }
        post(harness, "a", "new secret,old secret")
            .await
            .problem(401, "invalid_signature");
        // The one for both products is Instagram's too, and WhatsApp's own is not.
        let to_instagram = |secret: &str| Notification::to(PATHS[1], body_for(PATHS[1], "b")).signed_with(secret);
        harness.post_as_is(to_instagram(OTHER_SECRET)).await.expect(200);
        harness
            .post_as_is(to_instagram("new secret"))
            .await
            .problem(401, "invalid_signature");

        harness
            .restart_with(|setup| setup.with("WHATSAPP_APP_SECRET", "new secret"))
            .await;
        post(harness, "c", "new secret").await.expect(200);
        post(harness, "d", "old secret").await.problem(401, "invalid_signature");
        harness.projected().await;
        assert_eq!(harness.events("channelKind=whatsapp").await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn secrets_and_tokens_are_changed_without_a_stop() {
    let before = with_secrets()
        .with("WHATSAPP_APP_SECRET", "old secret")
        .with("WHATSAPP_VERIFY_TOKEN", "old token");
    on_both_with(before, async |harness| {
        harness.foresee_refusals(&[NO_SUCH_OBJECT]);
        let post = async |id: &str, secret: &str| {
            let notification = Notification::to(PATHS[0], body_for(PATHS[0], id)).signed_with(secret);
            harness.post_as_is(notification).await.status.as_u16()
        };
        let verify = async |token: &str| {
            let query = format!("hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1");
            harness.get(&format!("{}?{query}", PATHS[0])).await.status.as_u16()
        };
        assert_eq!(
            (post("a", "old secret").await, post("b", "new secret").await),
            (200, 401)
        );
        assert_eq!((verify("old%20token").await, verify("new%20token").await), (200, 403));

        let mut config = harness.hub().app().config.clone();
        config.webhooks.whatsapp.app_secrets = vec!["new secret".into(), "old secret".into()];
        config.webhooks.whatsapp.verify_tokens = vec!["new token".into()];
        harness.hub().take_over(&config).await;
        assert_eq!(
            (post("c", "old secret").await, post("d", "new secret").await),
            (200, 200)
        );
        assert_eq!((verify("old%20token").await, verify("new%20token").await), (403, 200));

        config.webhooks.whatsapp.app_secrets.pop();
        harness.hub().take_over(&config).await;
        assert_eq!(
            (post("e", "old secret").await, post("f", "new secret").await),
            (401, 200)
        );
    })
    .await;
}

#[tokio::test]
async fn every_spelling_of_the_variables_gives_a_secret() {
    on_both_with(with_secrets(), async |harness| {
        harness.foresee_refusals(&[NO_SUCH_OBJECT]);
        let cases: [(&str, &[&str]); 4] = [
            ("WHATSAPP_APP_SECRET", &["whatsapp"]),
            ("INSTAGRAM_APP_SECRET", &["instagram"]),
            ("INSTAGRAM_WEBHOOK_SECRET", &["instagram"]),
            ("META_APP_SECRET", &["whatsapp", "instagram"]),
        ];
        for (variable, products) in cases {
            harness
                .restart_with(|_| {
                    Setup::default()
                        .unsubscribed()
                        .without("WHATSAPP_APP_SECRET")
                        .without("INSTAGRAM_APP_SECRET")
                        .with(variable, SECRET)
                })
                .await;
            for path in &PATHS[..2] {
                let answer = harness
                    .post_as_is(Notification::to(path, body_for(path, variable)).signed_with(SECRET))
                    .await;
                if products.contains(&product(path)) {
                    answer.expect(200);
                } else {
                    answer.problem(503, "app_secret_not_configured");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_secret_nothing_is_taken_and_the_variable_is_named() {
    let setup = Setup::default()
        .unsubscribed()
        .without("WHATSAPP_APP_SECRET")
        .without("INSTAGRAM_APP_SECRET");
    on_both_with(setup, async |harness| {
        for path in PATHS {
            let variable = format!("{}_APP_SECRET", product(path).to_uppercase());
            let unsigned = Notification::to(path, body_for(path, "wamid.1"));
            for notification in [
                unsigned.clone(),
                unsigned.clone().signed_with(""),
                unsigned.signed_with(SECRET),
            ] {
                let document = harness
                    .post_as_is(notification)
                    .await
                    .problem(503, "app_secret_not_configured");
                assert!(document["detail"].as_str().unwrap().contains(&variable), "{document}");
            }
        }
        assert_nothing_kept(harness).await;
    })
    .await;
}

#[tokio::test]
async fn where_checking_is_off_events_are_kept_as_unsigned() {
    let setup = Setup::default()
        .unsubscribed()
        .without("WHATSAPP_APP_SECRET")
        .with("WEBHOOK_SIGNATURE_REQUIRED", "false");
    on_both_with(setup, async |harness| {
        harness.foresee_refusals(&[NO_SUCH_OBJECT]);
        for (index, path) in PATHS.into_iter().enumerate() {
            let notification = Notification::to(path, body_for(path, &format!("wamid.{index}")));
            harness.post_as_is(notification).await.expect(200);
        }
        harness.projected().await;
        let events = harness.events("").await;
        assert_eq!(events.len(), PATHS.len());
        assert!(events.iter().all(|event| event["signed"] == false));
    })
    .await;
}

#[tokio::test]
async fn the_signature_is_over_the_bytes_as_they_came() {
    on_both_with(with_secrets(), async |harness| {
        // As Meta writes it, with escapes that another writer would not make (reference `whatsapp.md` 2.2).
        let escaped = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{
                "messaging_product":"whatsapp","metadata":{{"phone_number_id":"{NUMBER}"}},
                "messages":[{{"from":"447700900123","id":"wamid.escaped","timestamp":"1795400000","type":"text",
                "text":{{"body":"ol\u00e1 \ud83d\ude00 \u003c a\/b"}}}}]}}}}]}}]}}"#
        );
        let signed = Notification::to(PATHS[0], escaped.clone()).signed_with(SECRET);
        harness.post_as_is(signed).await.expect(200);
        harness.projected().await;
        let messages = harness.messages(&harness.conversation().await).await;
        assert_eq!(messages[0]["content"]["text"], "ol\u{e1} \u{1f600} < a/b");

        // The same document in other bytes has another signature.
        let rewritten = serde_json::from_str::<Value>(&escaped).unwrap().to_string();
        let signature = sign(SECRET.as_bytes(), escaped.as_bytes());
        let tampered = Notification::to(PATHS[0], rewritten).header("x-hub-signature-256", &signature);
        harness.post_as_is(tampered).await.problem(401, "invalid_signature");
    })
    .await;
}

#[tokio::test]
async fn a_body_is_taken_up_to_the_bound_and_no_further() {
    const BOUND: usize = 3 * 1024 * 1024;
    on_both_with(with_secrets(), async |harness| {
        let of_length = |length: usize| {
            let empty = whatsapp_text("wamid.long", "447700900123", "", START).to_string().len();
            let body = whatsapp_text("wamid.long", "447700900123", &"x".repeat(length - empty), START).to_string();
            assert_eq!(body.len(), length);
            Notification::to(PATHS[0], body).signed_with(SECRET)
        };
        for length in [BOUND + 1, BOUND + 70_000, 2 * BOUND] {
            harness
                .post_as_is(of_length(length))
                .await
                .problem(413, "payload_too_large");
        }
        assert_eq!(counted(harness, "whatsapp", "invalid_payload").await, 3);
        assert_nothing_kept(harness).await;

        harness.post_as_is(of_length(BOUND)).await.expect(200);
        harness.projected().await;
        let messages = harness.messages(&harness.conversation().await).await;
        assert!(messages[0]["content"]["text"].as_str().unwrap().len() > BOUND - 1_000);
    })
    .await;
}

#[tokio::test]
async fn a_signed_body_that_is_not_metas_is_quarantined() {
    on_both_with(with_secrets(), async |harness| {
        let whatsapp: [&[u8]; 12] = [
            b"",
            b"hello",
            b"{\"object\":\"whatsapp_business_account\",\"entry\":[",
            b"\xff\xfe{}",
            b"null",
            b"7",
            b"{}",
            br#"{"object":"whatsapp_business_account"}"#,
            br#"{"object":"whatsapp_business_account","entry":{}}"#,
            br#"{"object":"whatsapp_business_account","entry":null}"#,
            br#"{"object":"instagram","entry":[]}"#,
            br#"{"entry":[]}"#,
        ];
        let instagram: [&[u8]; 4] = [
            b"{",
            br#"{"object":"instagram","entry":"none"}"#,
            br#"{"object":"whatsapp_business_account","entry":[]}"#,
            br#"{"object":"page","entry":[]}"#,
        ];
        let bodies = whatsapp
            .iter()
            .map(|body| (PATHS[0], *body))
            .chain(instagram.iter().map(|body| (PATHS[1], *body)));
        let mut posted = 0;
        for (path, body) in bodies {
            let answer = harness
                .post_as_is(Notification::to(path, body).signed_with(SECRET))
                .await;
            let shown = String::from_utf8_lossy(body);
            assert_eq!(answer.status, 400, "{shown}");
            let document = answer.problem(400, "invalid_payload");
            posted += 1;
            let quarantined = harness.quarantined().await;
            assert_eq!(quarantined.len(), posted, "{shown}");
            // The newest first.
            assert_eq!(quarantined[0]["channelKind"], product(path), "{shown}");
            assert_eq!(quarantined[0]["bodyBytes"], body.len(), "{shown}");
            assert_eq!(quarantined[0]["bodyStart"], shown.as_ref());
            let reason = quarantined[0]["reason"].as_str().unwrap();
            assert!(!reason.is_empty(), "{shown}");
            assert!(document["detail"].as_str().unwrap().contains(reason), "{document}");
        }
        assert!(harness.events("").await.is_empty());
        assert_eq!(
            counted(harness, "whatsapp", "invalid_payload").await,
            whatsapp.len() as u64
        );
        assert_eq!(
            counted(harness, "instagram", "invalid_payload").await,
            instagram.len() as u64
        );
    })
    .await;
}

#[tokio::test]
async fn an_unknown_field_is_kept_with_its_raw_value_and_ignored() {
    on_both(async |harness| {
        let value = json!({"metadata": {"phone_number_id": NUMBER}, "surprise": [1, {"two": "drei"}]});
        let body = json!({"object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": "a_field_of_next_year", "value": value}]}]});
        harness.whatsapp(&body).await;
        let body = json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": START,
            "changes": [{"field": "a_field_of_next_year", "value": {"id": "9"}}]}]});
        harness.instagram(&body).await;

        let events = harness.events("eventType=unknown").await;
        assert_eq!(events.len(), 2);
        for event in &events {
            assert_eq!(event["status"], "ignored");
            assert!(event["error"].as_str().unwrap().contains("kind"), "{event}");
        }
        let whole = harness
            .get(&format!("/api/webhooks/events/{}", events[1]["id"].as_str().unwrap()))
            .await
            .expect(200);
        assert_eq!(whole["payload"]["changes"][0]["field"], "a_field_of_next_year");
        assert_eq!(whole["payload"]["changes"][0]["value"], value);
    })
    .await;
}

#[tokio::test]
async fn a_known_field_in_a_wrong_shape_is_kept_as_failed_and_can_be_replayed() {
    on_both(async |harness| {
        let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp", "metadata": {"phone_number_id": NUMBER},
            "messages": [
                {"id": "wamid.good1", "from": "447700900123", "timestamp": "1795400000", "type": "text", "text": {"body": "one"}},
                {"id": "wamid.bad", "from": "447700900123", "timestamp": "1795400001", "type": "text", "text": {"body": 7}},
                {"id": "wamid.good2", "from": "447700900123", "timestamp": "1795400002", "type": "text", "text": {"body": "two"}},
            ]}}]}]});
        harness.whatsapp(&body).await;

        let failed = harness.events("status=failed").await;
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0]["externalId"], "message:wamid.bad");
        assert_eq!(failed[0]["attempts"], 1);
        assert!(failed[0]["error"].as_str().unwrap().contains("body"), "{}", failed[0]);
        let messages = harness.messages(&harness.conversation().await).await;
        let texts: Vec<&str> = messages.iter().map(|message| message["content"]["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["one", "two"], "one bad event holds up no other");

        let id = failed[0]["id"].as_str().unwrap();
        harness.pass(Duration::from_secs(1)).await;
        let replayed = harness.post(&format!("/api/webhooks/events/{id}/replay"), &json!({})).await.expect(202);
        assert_eq!(replayed["replayed"], 1);
        harness.projected().await;
        let again = harness.events("status=failed").await;
        assert_eq!(again.len(), 1, "it is still wrong");
        assert_ne!(again[0]["processedAt"], failed[0]["processedAt"], "it was not looked at again");
        assert_eq!(again[0]["error"], failed[0]["error"]);
    })
    .await;
}
