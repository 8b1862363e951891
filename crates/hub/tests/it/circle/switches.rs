//! The stop switch, flags, and that every node obeys them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::LedgerKind;

use crate::harness::{ADMIN_KEY, Answer, Engine, Harness, NUMBER, Setup, on_both, on_both_with, text};

async fn call(harness: &Harness, method: Method, path: &str, body: &Value) -> Answer {
    harness
        .answer(harness.request(method, path).bearer_auth(ADMIN_KEY).json(body))
        .await
}

async fn conversation(harness: &Harness) -> Value {
    harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
    harness.projected().await;
    harness.conversation().await
}

async fn queue(harness: &Harness, conversation: &Value, words: &str) -> String {
    let body = json!({"to": {"conversation": conversation["id"]}, "message": words});
    let taken = harness
        .post("/api/v1/messages/send?queue=true", &body)
        .await
        .expect(202);
    taken["messageId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_stopped_sends_nothing_until_it_is_started_also_over_a_restart() {
    for body in [json!({}), json!({"channel": "whatsapp"})] {
        on_both(async |harness| {
            let conversation = conversation(harness).await;
            let stopped = harness.post("/admin/outbound/stop", &body).await.expect(200);
            let is_whole = body.get("channel").is_none();
            assert_eq!(stopped["enabled"], !is_whole);
            let of_channel = stopped["channels"]
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["id"] == "whatsapp");
            assert_eq!(of_channel.unwrap()["status"], "stopped");

            let send = json!({"to": {"conversation": conversation["id"]}, "message": "x"});
            let refused = harness.post("/api/v1/messages/send", &send).await;
            refused.problem(503, "outbound_stopped");
            let waits = queue(harness, &conversation, "later").await;
            harness.pass(Duration::from_mins(5)).await;
            harness.restart().await;
            harness.pass(Duration::from_mins(5)).await;
            assert_eq!(harness.message(&waits).await["status"], "queued");
            assert!(harness.ledger(LedgerKind::Accepted).is_empty());
            let shown = harness.get("/admin/outbound").await.expect(200);
            assert_eq!(shown["enabled"], !is_whole);

            harness.post("/admin/outbound/start", &body).await.expect(200);
            harness.message_until(&waits, "accepted").await;
            assert_eq!(harness.accepted("amara"), ["later"]);
            let audit = harness.get("/api/v1/audit?limit=2").await.expect(200);
            let actions: Vec<&Value> = audit["entries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| &entry["action"])
                .collect();
            assert_eq!(actions, ["outbound.start", "outbound.stop"]);
            assert_eq!(audit["entries"][0]["detail"], json!({"before": false, "after": true}));
        })
        .await;
    }
}

#[tokio::test]
async fn a_channel_whose_flag_is_off_holds_back_no_other() {
    on_both(async |harness| {
        let conversation = conversation(harness).await;
        let flag = "/api/v1/flags/channels.instagram.enabled";
        let set = call(harness, Method::PUT, flag, &json!({"value": false}))
            .await
            .expect(200);
        assert_eq!((&set["value"], &set["default"]), (&json!(false), &json!(true)));
        let sent = harness.reply(&conversation, "by the other").await;
        harness.message_until(&sent, "accepted").await;
        let unset = harness
            .answer(harness.request(Method::DELETE, flag).bearer_auth(ADMIN_KEY))
            .await;
        assert_eq!(unset.expect(200)["value"], true);
    })
    .await;
}

#[tokio::test]
async fn every_node_stops_and_takes_a_swapped_token_within_a_second() {
    let setup = Setup::default().with("TIDINGS_MASTER_KEY", &"0f".repeat(32));
    on_both_with(setup, async |harness| {
        if harness.engine() != Engine::Postgres {
            return;
        }
        let other = harness.another_node().await;
        let app = other.hub().app();
        let obeyed = async |is_enabled: bool| {
            let asked = tokio::time::Instant::now();
            let mut changes = app.channels.changes();
            while app.flags.outbound_enabled() != is_enabled {
                changes.changed().await;
            }
            asked.elapsed()
        };
        let stopped = async |_| {
            harness.post("/admin/outbound/start", &json!({})).await.expect(200);
            obeyed(true).await;
            harness.post("/admin/outbound/stop", &json!({})).await.expect(200);
            obeyed(false).await
        };
        harness.takes_less_than_a_second("the stop switch", stopped).await;

        let environment = harness.sandbox.environment();
        let (_, token) = environment
            .iter()
            .find(|(name, _)| name == "WHATSAPP_ACCESS_TOKEN")
            .unwrap();
        let credentials = json!({ "accessToken": token });
        let version = || {
            let id = "whatsapp".parse().unwrap();
            app.channels.get(&id).map(|channel| channel.credentials_version)
        };
        let swapped = async |_| {
            let before = version().unwrap();
            call(
                harness,
                Method::PUT,
                "/api/v1/channels/whatsapp/credentials",
                &credentials,
            )
            .await
            .expect(200);
            let asked = tokio::time::Instant::now();
            let mut changes = app.channels.changes();
            while version() != Some(before + 1) {
                changes.changed().await;
            }
            asked.elapsed()
        };
        harness.takes_less_than_a_second("the swapped token", swapped).await;
        other.stop().await;
    })
    .await;
}
