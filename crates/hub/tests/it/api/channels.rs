//! Channels, flags, the stop switch and the audit: what is refused, and how. (What Meta has a say in is in `circle::credentials`.)

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use secrecy::SecretString;
use serde_json::{Value, json};
use tidings::clock::{Clock, from_millis};
use tidings::ids::Ids;
use tidings::server;

use super::{ACCOUNT, Answer, Hub, NOW, NUMBER, each, on_each, request};
use crate::harness::in_process::config;
use crate::harness::{Database, Engine};

const TOKEN: &str = "a-token-of-whatsapp";

async fn put(hub: &Hub, path: &str, body: &Value) -> Answer {
    let mut request = request(Method::PUT, path, Body::from(body.to_string()));
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    hub.call(request).await
}

async fn patch(hub: &Hub, path: &str, body: &Value) -> Answer {
    let mut request = request(Method::PATCH, path, Body::from(body.to_string()));
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    hub.call(request).await
}

async fn delete(hub: &Hub, path: &str) -> Answer {
    hub.call(request(Method::DELETE, path, Body::empty())).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    let (found, error, problem) = answer.refused();
    assert_eq!((found, error.as_str()), (status, code), "{problem}");
    assert_eq!(problem["errors"][0]["field"].as_str(), field, "{problem}");
}

/// A channel that needs no word from Meta: it only receives.
fn receiver(id: &str, account: &str) -> Value {
    json!({"id": id, "kind": "whatsapp", "account": account})
}

#[tokio::test]
async fn what_is_wrong_with_a_new_channel_is_named() {
    on_each(async |hub| {
        let with = |field: &str, value: Value| {
            let mut body = receiver("shop", "1001");
            body[field] = value;
            body
        };
        for (body, field) in [
            (with("id", json!("The Shop")), "id"),
            (with("kind", json!("telegram")), "kind"),
            (with("account", json!("+31 6 12345678")), "account"),
            (with("businessAccount", json!("x")), "businessAccount"),
            (with("backupFor", json!("nobody")), "backupFor"),
            (with("backupFor", json!("shop")), "backupFor"),
            (with("name", json!("x".repeat(201))), "name"),
            (
                with("limits", json!({"messagesPerSecond": 4_000_000_000_u64})),
                "limits.messagesPerSecond",
            ),
            (
                with("limits", json!({"messagesPerMinute": 1})),
                "limits.messagesPerMinute",
            ),
            (with("accessToken", json!("two words")), "accessToken"),
            (with("accessToken", json!("x".repeat(10_000))), "accessToken"),
            (with("smtpUrl", json!("smtp://localhost")), "smtpUrl"),
            (with("token", json!("x")), "token"),
        ] {
            refused(
                &hub.post("/api/v1/channels", &body).await,
                422,
                "invalid_field",
                Some(field),
            );
        }
        let email =
            json!({"id": "post", "kind": "email", "account": "shop@example.com", "smtpUrl": "https://example.com"});
        let answer = hub.post("/api/v1/channels", &email).await;
        refused(&answer, 422, "credentials_refused", Some("smtpUrl"));
    })
    .await;
}

#[tokio::test]
async fn while_meta_does_not_answer_nothing_is_kept() {
    on_each(async |hub| {
        let mut body = receiver("shop", "1001");
        body["accessToken"] = json!("EAAaTokenOfSomeLength");
        let answer = hub.post("/api/v1/channels", &body).await;
        refused(&answer, 503, "meta_unavailable", None);
        assert_eq!(answer.headers["retry-after"], "30");
        assert!(!answer.body.contains("EAAaToken"));
        let credentials = json!({"accessToken": "EAAaTokenOfSomeLength"});
        let answer = put(hub, "/api/v1/channels/whatsapp/credentials", &credentials).await;
        refused(&answer, 503, "meta_unavailable", None);
        let shown = hub.get("/api/v1/channels/whatsapp").await.done();
        assert_eq!(shown["credentials"]["version"], 1);
        assert_eq!(hub.get("/api/v1/channels/shop").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn an_id_and_an_account_are_of_one_channel_for_good() {
    on_each(async |hub| {
        let added = hub.post("/api/v1/channels", &receiver("shop", "1001")).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
        assert_eq!(added.done()["status"], "receive_only");
        for body in [
            receiver("shop", "1002"),
            receiver("other", "1001"),
            receiver("other", NUMBER),
        ] {
            refused(
                &hub.post("/api/v1/channels", &body).await,
                409,
                "channel_exists",
                Some("id"),
            );
        }
        assert_eq!(
            delete(hub, "/api/v1/channels/shop").await.status,
            StatusCode::NO_CONTENT
        );
        refused(&delete(hub, "/api/v1/channels/shop").await, 404, "not_found", None);
        refused(
            &hub.post("/api/v1/channels", &receiver("other", "1001")).await,
            409,
            "channel_exists",
            Some("id"),
        );
        assert_eq!(
            hub.post("/api/v1/channels", &receiver("shop", "1001")).await.status,
            StatusCode::CREATED
        );
        refused(
            &delete(hub, "/api/v1/channels/whatsapp").await,
            409,
            "channel_of_settings",
            None,
        );
    })
    .await;
}

#[tokio::test]
async fn an_email_sender_is_a_channel_that_writes_to_email_addresses_alone() {
    on_each(async |hub| {
    let email = json!({"id": "post", "kind": "email", "account": "shop@example.com", "smtpUrl": "smtps://shop:pw@smtp.example.com"});
    let added = hub.post("/api/v1/channels", &email).await.done();
    assert_eq!((&added["status"], &added["platform"]), (&json!("ready"), &Value::Null));
    assert!(!added.to_string().contains("smtp.example.com"));
    let send = json!({"channel": "post", "to": "+31612345678", "message": "x"});
    refused(
        &hub.post("/api/v1/messages/send", &send).await,
        422,
        "invalid_recipient",
        Some("to"),
    );
    assert_eq!(
        delete(hub, "/api/v1/channels/post").await.status,
        StatusCode::NO_CONTENT
    );
    }).await;
}

#[tokio::test]
async fn a_channel_is_changed_field_by_field() {
    on_each(async |hub| {
        let path = "/api/v1/channels/whatsapp";
        let change =
            json!({"name": "Shop", "limits": {"messagesPerSecond": 20, "pairBurst": 0}, "businessAccount": "77"});
        let changed = patch(hub, path, &change).await.done();
        for (field, value) in change.as_object().unwrap() {
            assert_eq!(changed[field], *value);
        }
        let again = patch(hub, path, &json!({"businessAccount": ""})).await.done();
        assert_eq!(
            (&again["name"], &again["businessAccount"]),
            (&json!("Shop"), &Value::Null)
        );
        refused(
            &patch(hub, path, &json!({"account": "1"})).await,
            422,
            "invalid_field",
            Some("account"),
        );
        refused(
            &patch(hub, path, &json!({"backupFor": "whatsapp"})).await,
            422,
            "invalid_field",
            Some("backupFor"),
        );
        refused(
            &patch(hub, "/api/v1/channels/nobody", &json!({})).await,
            404,
            "not_found",
            None,
        );
        let instagram = json!({"businessAccount": "1"});
        refused(
            &patch(hub, "/api/v1/channels/instagram", &instagram).await,
            422,
            "invalid_field",
            Some("businessAccount"),
        );

        let audit = hub.get("/api/v1/audit?subject=channel:whatsapp&limit=1").await.done();
        let entry = &audit["entries"][0];
        assert_eq!(
            (&entry["actor"], &entry["action"]),
            (&json!("admin"), &json!("channel.change"))
        );
        assert_eq!(entry["detail"]["before"]["businessAccount"], "77");
        assert_eq!(entry["detail"]["after"]["businessAccount"], Value::Null);
        let rest = hub
            .get(&format!(
                "/api/v1/audit?subject=channel:whatsapp&cursor={}",
                audit["nextCursor"].as_str().unwrap()
            ))
            .await
            .done();
        assert_eq!(
            each(&rest["entries"], "action"),
            ["channel.change", "channel.credentials"]
        );
        assert_eq!(each(&rest["entries"], "actor"), ["admin", "settings"]);
        assert_eq!(rest["nextCursor"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn only_flags_that_there_are_can_be_set() {
    on_each(async |hub| {
        let listed = hub.get("/api/v1/flags").await.done();
        let names = [
            "outbound.enabled",
            "channels.email.priority",
            "channels.instagram.enabled",
            "channels.whatsapp.enabled",
        ];
        assert_eq!(each(&listed["flags"], "name"), names);
        assert_eq!(each(&listed["flags"], "value"), [true, false, true, true]);
        for wrong in ["outbound", "channels.nobody.enabled", "x"] {
            let answer = put(hub, &format!("/api/v1/flags/{wrong}"), &json!({"value": true})).await;
            refused(&answer, 404, "unknown_flag", None);
            for name in names {
                assert!(answer.body.contains(name), "{}", answer.body);
            }
        }
        let path = "/api/v1/flags/channels.email.priority";
        refused(
            &put(hub, path, &json!({"value": "yes"})).await,
            422,
            "invalid_field",
            Some("value"),
        );
        let set = put(hub, path, &json!({"value": true})).await.done();
        assert_eq!(
            (&set["value"], &set["isSet"], &set["updatedBy"]),
            (&json!(true), &json!(true), &json!("admin"))
        );
        assert!(hub.app.flags.email_has_priority());
        assert_eq!(hub.get(path).await.done(), set);
        let unset = delete(hub, path).await.done();
        assert_eq!((&unset["value"], &unset["isSet"]), (&json!(false), &json!(false)));
        assert!(!hub.app.flags.email_has_priority());
    })
    .await;
}

#[tokio::test]
async fn the_stop_switch_takes_a_body_or_none() {
    on_each(async |hub| {
        let none = hub
            .call(request(Method::POST, "/admin/outbound/stop", Body::empty()))
            .await;
        assert_eq!(none.done()["enabled"], false);
        assert_eq!(
            hub.post("/admin/outbound/start", &json!({})).await.done()["enabled"],
            true
        );
        let wrong = hub.post("/admin/outbound/stop", &json!({"channel": "nobody"})).await;
        refused(&wrong, 422, "unknown_channel", Some("channel"));
        let plain = request(Method::POST, "/admin/outbound/stop", Body::from("{}"));
        refused(&hub.call(plain).await, 415, "unsupported_media_type", None);
        let ready = hub.get("/health/ready").await.done();
        assert_eq!(ready["warnings"], json!([]));
        hub.post("/admin/outbound/stop", &json!({})).await;
        let ready = hub.get("/health/ready").await.done();
        assert!(
            ready["warnings"][0]
                .as_str()
                .unwrap()
                .contains("tidings outbound start")
        );
    })
    .await;
}

#[tokio::test]
async fn a_token_is_sealed_in_the_store_and_another_key_is_told_at_start() {
    let folder = tempfile::tempdir().unwrap();
    // Of the files of this one it can be seen what stands in them.
    let database = Database::create(Engine::Sqlite, folder.path()).await;
    let start = async |settings: &[(&str, &str)]| {
        let clock = Clock::frozen_at(from_millis(NOW));
        let ids = Ids::seeded(clock.clone(), 7);
        server::assemble(config(folder.path(), &database, settings), clock, ids).await
    };
    let app = start(&[]).await.unwrap().app;
    let store = app.store.clone();
    drop(app);
    store.close().await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let is_there = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
        assert!(!is_there, "the token stands in {}", path.display());
    }
    let error = start(&[("TIDINGS_MASTER_KEY", &"0f".repeat(32))]).await.err().unwrap();
    let told = format!("{error:#}");
    assert!(
        told.contains("channel `whatsapp`") && told.contains("another master key") && told.contains("master.key"),
        "{told}"
    );
    let app = start(&[]).await.unwrap().app;
    let channel = app.channels.get(&"whatsapp".parse().unwrap()).unwrap();
    assert_eq!((channel.account.as_str(), channel.credentials_version), (NUMBER, 1));
    let sealed = app.channels.seal(&channel.id, &SecretString::from(TOKEN));
    assert!(!sealed.windows(5).any(|window| window == b"token"));
    assert!(
        app.channels
            .by_account(tidings_meta::notification::Platform::Instagram, ACCOUNT)
            .is_some()
    );
}
