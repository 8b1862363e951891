//! What operators see of the queue, and do about it.

use serde_json::{Value, json};
use tidings::conversations::model::ChannelId;
use tidings::sending::queue;
use tidings::server::Hub;
use tidings_sandbox::FaultKind;

use super::{HOUR, MINUTE, PHONE, SECOND, after, refuse, waiting, written_to};
use crate::harness::{Harness, NUMBER, Setup, fault, on_both, on_both_with, on_postgres, text};

const QUEUE: &str = "/admin/queue";
const PROCESS: &str = "/admin/messages/process-queue";
const FAILED: &str = "/admin/messages/failed";

async fn retry(harness: &Harness, id: &str, query: &str) -> crate::harness::Answer {
    harness
        .post(&format!("/admin/messages/{id}/retry{query}"), &json!({}))
        .await
}

async fn failed(harness: &Harness, query: &str) -> Vec<String> {
    let list = harness.get(&format!("{FAILED}?{query}")).await.expect(200);
    let messages = list["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| message["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_queue_tells_how_long_it_is_and_why() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        let empty = harness.get(QUEUE).await.expect(200);
        assert_eq!(
            (
                empty["length"].as_i64(),
                empty["oldest"].is_null(),
                empty["drainSecs"].as_i64()
            ),
            (Some(0), true, Some(0))
        );
        refuse(harness, 131_057, 1);
        let first = harness.reply(&conversation, "first").await;
        harness.waiting_after(&first, 1).await;
        let second = harness.reply(&conversation, "second").await;
        let at = after(harness, HOUR);
        harness
            .send(json!({"channel": "whatsapp", "to": PHONE, "message": "later", "sendAt": at}))
            .await;
        harness.clock.advance(SECOND / 2);
        let queue = harness.get(QUEUE).await.expect(200);
        assert_eq!(
            (
                queue["length"].as_i64(),
                queue["scheduled"].as_i64(),
                queue["isExact"].as_bool()
            ),
            (Some(2), Some(1), Some(true))
        );
        assert_eq!(queue["oldest"]["messageId"], first.as_str());
        assert_eq!(queue["drainSecs"], Value::Null, "nothing was sent of late");
        let channels = queue["channels"].as_array().unwrap();
        let whatsapp = channels
            .iter()
            .find(|channel| channel["channelId"] == "whatsapp")
            .unwrap();
        assert_eq!(whatsapp["states"], json!({"waiting": 2, "sending": 0, "unknown": 0}));
        assert_eq!(whatsapp["paused"], json!({"retry": 1}));
        let instagram = channels
            .iter()
            .find(|channel| channel["channelId"] == "instagram")
            .unwrap();
        assert_eq!(instagram["length"], 0);

        let processed = harness.post(PROCESS, &json!({})).await.expect(200);
        assert_eq!(
            (
                processed["released"].as_i64(),
                processed["channels"]["whatsapp"].as_i64()
            ),
            (Some(1), Some(1))
        );
        harness.message_until(&second, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["first", "second"]);
        let queue = harness.get(QUEUE).await.expect(200);
        let channels = queue["channels"].as_array().unwrap();
        let whatsapp = channels
            .iter()
            .find(|channel| channel["channelId"] == "whatsapp")
            .unwrap();
        assert!(whatsapp["pace"].as_f64().unwrap() > 0.0, "{whatsapp}");
    })
    .await;
}

#[tokio::test]
async fn a_channel_that_pauses_goes_on_when_an_operator_says_so() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        refuse(harness, 130_429, 1);
        let sent = harness.reply(&conversation, "x").await;
        harness
            .until("it waits", async |harness| {
                let waits = waiting(harness, &sent).await;
                waits["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.starts_with("throttled"))
                    .then_some(())
            })
            .await;
        harness
            .post(&format!("{PROCESS}?channel=nowhere"), &json!({}))
            .await
            .problem(422, "unknown_channel");
        let elsewhere = harness
            .post(&format!("{PROCESS}?channel=instagram"), &json!({}))
            .await
            .expect(200);
        assert_eq!(elsewhere["released"], 0);
        // Neither the message's pause nor the channel's has run out: the clock stands still.
        let processed = harness
            .post(&format!("{PROCESS}?channel=whatsapp"), &json!({}))
            .await
            .expect(200);
        assert_eq!(processed["released"], 1);
        harness.message_until(&sent, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn a_channel_that_pauses_goes_on_whichever_node_is_asked() {
    on_postgres(Setup::default(), async |harness| {
        let whatsapp = ChannelId("whatsapp".to_owned());
        let other = harness.another_node().await;
        let leads = |hub: &Hub, id: &ChannelId| hub.app().leases.lead(id).is_some();
        harness
            .until("each leads one of the two", async |harness| {
                let both = [harness.hub(), other.hub()];
                let all = ["whatsapp", "instagram"].map(|id| ChannelId(id.to_owned()));
                let led = both.map(|hub| all.iter().filter(|id| leads(hub, id)).count());
                (led == [1, 1]).then_some(())
            })
            .await;
        let conversation = written_to(harness).await;
        refuse(harness, 130_429, 1);
        let sent = harness.reply(&conversation, "x").await;
        harness
            .until("it waits", async |harness| {
                let waits = waiting(harness, &sent).await;
                (waits["waitsFor"] == "throttled").then_some(())
            })
            .await;
        let asked = if leads(harness.hub(), &whatsapp) {
            other.hub()
        } else {
            harness.hub()
        };
        assert!(!leads(asked, &whatsapp));
        let processed = queue::process(asked.app(), Some(&whatsapp), "somebody").await.unwrap();
        assert_eq!(processed.released, [(whatsapp, 1)]);
        harness.message_until(&sent, "accepted").await;
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_operators_do_about_messages_is_written_down() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        refuse(harness, 131_026, 2);
        let mut sent = Vec::new();
        for words in ["one", "two"] {
            let id = harness.reply(&conversation, words).await;
            harness.message_until(&id, "failed").await;
            sent.push(id);
        }
        retry(harness, &sent[0], "").await.expect(200);
        harness
            .post(&format!("{FAILED}/retry"), &json!({"force": true}))
            .await
            .expect(200);
        for id in &sent {
            harness.message_until(id, "accepted").await;
        }
        retry(harness, &sent[0], "").await.problem(409, "not_retryable");
        let later =
            json!({"to": {"conversation": conversation["id"]}, "message": "later", "sendAt": after(harness, HOUR)});
        let later = harness.send(later).await;
        let cancel = format!("/admin/messages/{later}/cancel");
        harness.post(&cancel, &json!({})).await.expect(200);
        harness
            .post(&format!("{PROCESS}?channel=whatsapp"), &json!({}))
            .await
            .expect(200);

        let of = async |subject: String| {
            let audit = harness
                .get(&format!("/api/v1/audit?subject={subject}"))
                .await
                .expect(200);
            let mut entries = audit["entries"].as_array().unwrap().clone();
            entries.retain(|entry| entry["action"] != "channel.credentials");
            let entries = entries.iter().map(|entry| {
                assert_eq!(entry["actor"], "admin", "{entry}");
                json!([entry["action"], entry["detail"]])
            });
            entries.collect::<Vec<Value>>()
        };
        let retried = |force: bool| vec![json!(["message.retry", {"force": force}])];
        assert_eq!(
            of(format!("message:{}", sent[0])).await,
            retried(false),
            "what was refused is none"
        );
        assert_eq!(of(format!("message:{}", sent[1])).await, retried(true));
        assert_eq!(of(format!("message:{later}")).await, [json!(["message.cancel", {}])]);
        assert_eq!(
            of("channel:whatsapp".to_owned()).await,
            [json!(["channel.process_queue", {"released": 0}])]
        );
    })
    .await;
}

#[tokio::test]
async fn recent_messages_are_listed_with_the_newest_first() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        let sent = harness.reply(&conversation, "x").await;
        harness.message_until(&sent, "accepted").await;
        let list = harness.get("/admin/messages/recent?limit=1").await.expect(200);
        assert_eq!(list["messages"][0]["id"], sent.as_str());
        let cursor = list["nextCursor"].as_str().unwrap();
        let next = harness
            .get(&format!("/admin/messages/recent?limit=1&cursor={cursor}"))
            .await
            .expect(200);
        assert_eq!(next["messages"][0]["direction"], "inbound");
        assert_eq!(next["nextCursor"], Value::Null);
        harness
            .get("/admin/messages/recent?limit=201")
            .await
            .problem(400, "invalid_limit");
    })
    .await;
}

#[tokio::test]
async fn a_failed_message_is_sent_again_when_an_operator_says_so() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        refuse(harness, 131_026, 2);
        let first = harness.reply(&conversation, "first").await;
        harness.message_until(&first, "failed").await;
        let second = harness.reply(&conversation, "second").await;
        harness.message_until(&second, "failed").await;
        assert_eq!(failed(harness, "").await, [second.clone(), first.clone()]);
        assert_eq!(
            failed(harness, "code=131026&channel=whatsapp&status=failed")
                .await
                .len(),
            2
        );
        for none in ["code=1", "channel=instagram", "status=expired"] {
            assert!(failed(harness, none).await.is_empty(), "{none}");
        }
        let since = after(harness, SECOND);
        assert!(failed(harness, &format!("since={since}")).await.is_empty());
        harness
            .get(&format!("{FAILED}?status=read"))
            .await
            .problem(400, "invalid_parameter");

        let queued = retry(harness, &first, "").await.expect(200);
        assert_eq!(
            (queued["status"].as_str(), queued["error"].is_null()),
            (Some("queued"), true)
        );
        let sent = harness.message_until(&first, "accepted").await;
        assert_eq!(
            (sent["error"].clone(), sent["maybeDuplicate"].as_bool()),
            (Value::Null, Some(false))
        );
        let (kinds, _) = harness.timeline(&first).await;
        assert_eq!(kinds, ["queued", "attempt", "attempt"]);
        retry(harness, &first, "").await.problem(409, "not_retryable");

        // The other one by filter.
        for (wrong, field) in [
            (json!({"limit": 0}), "limit"),
            (json!({"status": "read"}), "status"),
            (json!({"since": "x"}), "since"),
        ] {
            let answer = harness.post(&format!("{FAILED}/retry"), &wrong).await;
            assert_eq!(answer.fields(422, "invalid_field"), [field]);
        }
        let none = harness
            .post(&format!("{FAILED}/retry"), &json!({"code": 1}))
            .await
            .expect(200);
        assert_eq!(none["queued"], 0);
        let some = harness
            .post(&format!("{FAILED}/retry"), &json!({"code": 131_026}))
            .await
            .expect(200);
        assert_eq!(
            some,
            json!({"queued": 1, "mayHaveArrived": 0, "notRetryable": 0, "nextCursor": null})
        );
        harness.message_until(&second, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["first", "second"]);
        assert!(failed(harness, "").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_message_that_failed_by_a_status_is_sent_again_and_its_old_status_does_not_touch_the_new_series() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        let request = tidings_sandbox::FaultRequest {
            code: Some(131_026),
            ..fault(FaultKind::Status)
        };
        harness.sandbox.fault(request).unwrap();
        let sent = harness.reply(&conversation, "x").await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(MINUTE).await;
        assert_eq!(harness.message(&sent).await["status"], "failed");
        retry(harness, &sent, "").await.expect(200);
        harness.message_until(&sent, "accepted").await;
        harness
            .post("/api/webhooks/events/replay", &json!({}))
            .await
            .expect(202);
        harness.pass(MINUTE).await;
        let message = harness.message(&sent).await;
        assert_eq!(
            (message["status"].as_str(), message["error"].is_null()),
            (Some("delivered"), true)
        );
    })
    .await;
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_again_only_by_force() {
    let setup = Setup::default().with("WHATSAPP_REQUEST_TIMEOUT_MS", "2000");
    on_both_with(setup, async |harness| {
        let conversation = written_to(harness).await;
        let request = tidings_sandbox::FaultRequest {
            count: Some(2),
            ..fault(FaultKind::ResetBefore)
        };
        harness.sandbox.fault(request).unwrap();
        let sent = harness.reply(&conversation, "x").await;
        harness
            .until("its outcome is unknown", async |harness| {
                (waiting(harness, &sent).await["state"] == "unknown").then_some(())
            })
            .await;
        retry(harness, &sent, "").await.problem(409, "not_retryable");
        let processed = harness.post(PROCESS, &json!({})).await.expect(200);
        assert_eq!(
            (processed["released"].as_i64(), processed["unknown"].as_i64()),
            (Some(0), Some(1))
        );
        // It is repeated once, and stays unknown.
        harness.pass(MINUTE + SECOND).await;
        harness
            .until("its outcome is unknown again", async |harness| {
                let waits = waiting(harness, &sent).await;
                (waits["state"] == "unknown" && waits["attempts"] == 2).then_some(())
            })
            .await;
        harness.pass(MINUTE + SECOND).await;
        harness.message_until(&sent, "failed").await;

        retry(harness, &sent, "").await.problem(409, "may_have_arrived");
        let some = harness.post(&format!("{FAILED}/retry"), &json!({})).await.expect(200);
        assert_eq!(
            (some["queued"].as_i64(), some["mayHaveArrived"].as_i64()),
            (Some(0), Some(1))
        );
        retry(harness, &sent, "?force=true").await.expect(200);
        let message = harness.message_until(&sent, "accepted").await;
        assert_eq!(message["maybeDuplicate"], true);
        assert_eq!(harness.phone("amara", NUMBER).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_again_says_why() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        let theirs = harness.messages(&conversation).await[0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        retry(harness, &theirs, "").await.problem(409, "not_retryable");
        retry(harness, &format!("msg_{}", "0".repeat(32)), "")
            .await
            .problem(404, "not_found");
        let at = after(harness, HOUR);
        let later = harness
            .send(json!({"channel": "whatsapp", "to": PHONE, "message": "later", "sendAt": at}))
            .await;
        retry(harness, &later, "").await.problem(409, "not_retryable");
        let cancelled = harness
            .post(&format!("/admin/messages/{later}/cancel"), &json!({}))
            .await
            .expect(200);
        assert_eq!(cancelled["status"], "cancelled");
        retry(harness, &later, "").await.problem(409, "not_retryable");
        retry(harness, &later, "?force=maybe")
            .await
            .problem(400, "invalid_parameter");

        // One that waits on a pause of its own is due at once.
        refuse(harness, 131_057, 1);
        harness.sandbox.write("amara", NUMBER, text("again")).unwrap();
        harness.projected().await;
        let sent = harness.reply(&conversation, "x").await;
        harness.waiting_after(&sent, 1).await;
        retry(harness, &sent, "").await.expect(200);
        harness.message_until(&sent, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn an_expired_message_is_listed_and_sent_again() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        refuse(harness, 131_057, 1);
        let sent = harness
            .send(json!({"to": {"conversation": conversation["id"]}, "message": "x", "expiresAt": after(harness, SECOND)}))
            .await;
        harness.waiting_after(&sent, 1).await;
        harness.pass(MINUTE).await;
        harness.message_until(&sent, "expired").await;
        assert_eq!(failed(harness, "status=expired").await, std::slice::from_ref(&sent));
        retry(harness, &sent, "").await.expect(200);
        harness.message_until(&sent, "accepted").await;
    })
    .await;
}
