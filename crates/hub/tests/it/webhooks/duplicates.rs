//! A repeat is answered 200, counted, and does nothing, wherever it comes from.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest};

use crate::harness::{
    ACCOUNT, BUSINESS_ACCOUNT, Harness, NUMBER, Notification, START, Setup, fault, on_both, on_postgres, text,
    whatsapp_text, whatsapp_value,
};

async fn duplicates(harness: &Harness) -> u64 {
    harness
        .metric(r#"tidings_webhook_notifications_total{channel="whatsapp",result="duplicate"}"#)
        .await
}

/// One message, said once, however often it was told.
async fn assert_said_once(harness: &Harness) {
    harness.projected().await;
    assert_eq!(harness.events("").await.len(), 1);
    let conversation = harness.conversation().await;
    assert_eq!(conversation["unread"], 1);
    assert_eq!(harness.messages(&conversation).await.len(), 1);
}

fn notification() -> Value {
    whatsapp_text("wamid.once", "447700900123", "once", START)
}

#[tokio::test]
async fn inside_one_notification() {
    on_both(async |harness| {
        let mut body = notification();
        let entry = body["entry"][0].clone();
        let message = body["entry"][0]["changes"][0]["value"]["messages"][0].clone();
        body["entry"][0]["changes"][0]["value"]["messages"] = json!([message.clone(), message]);
        let change = body["entry"][0]["changes"][0].clone();
        body["entry"][0]["changes"] = json!([change.clone(), change]);
        body["entry"].as_array_mut().unwrap().push(entry);
        harness.whatsapp(&body).await;
        assert_said_once(harness).await;
        assert_eq!(duplicates(harness).await, 0, "something in it was new");
    })
    .await;
}

#[tokio::test]
async fn across_notifications_and_a_restart() {
    on_both(async |harness| {
        for _ in 0..3 {
            harness.whatsapp(&notification()).await;
        }
        assert_said_once(harness).await;
        assert_eq!(duplicates(harness).await, 2);

        harness.restart().await;
        harness.whatsapp(&notification()).await;
        assert_said_once(harness).await;
        assert_eq!(
            duplicates(harness).await,
            1,
            "counters begin anew, what is kept does not"
        );
    })
    .await;
}

#[tokio::test]
async fn written_in_another_way() {
    on_both(async |harness| {
        harness.whatsapp(&notification()).await;
        // The same message in other bytes, and beside another one: a repeat is known by what it says, not by how.
        let mut body = notification();
        let other = json!({"id": "wamid.other", "from": "447700900123", "timestamp": "1795400009", "type": "text",
            "text": {"body": "another"}});
        let messages = body["entry"][0]["changes"][0]["value"]["messages"]
            .as_array_mut()
            .unwrap();
        messages.insert(0, other);
        let pretty = serde_json::to_string_pretty(&body).unwrap();
        harness
            .post_signed(Notification::to("/webhook/whatsapp", pretty))
            .await
            .expect(200);
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 2);
        assert_eq!(harness.messages(&harness.conversation().await).await.len(), 2);
    })
    .await;
}

/// An Instagram notification with one thing that happened in a thread.
fn in_thread(what: &Value) -> Value {
    let mut item = json!({"sender": {"id": "5550001110001"}, "recipient": {"id": ACCOUNT}, "timestamp": START});
    for (name, part) in what.as_object().unwrap() {
        item[name] = part.clone();
    }
    json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": START, "messaging": [item]}]})
}

/// An Instagram notification with one change of a field.
fn changed(field: &str, value: &Value) -> Value {
    let change = json!({"field": field, "value": value});
    json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": START / 1000, "changes": [change]}]})
}

/// A WhatsApp notification with one change of a field of the account as a whole.
fn of_account(field: &str, value: &Value) -> Value {
    let change = json!({"field": field, "value": value});
    json!({"object": "whatsapp_business_account", "entry": [{"id": BUSINESS_ACCOUNT, "time": START / 1000, "changes": [change]}]})
}

/// Something else in a notification, and where it stands.
type Other = (&'static str, Value);

/// What an event is, and what makes it another one.
fn identities() -> Vec<(&'static str, Value, Vec<Other>)> {
    let comment = json!({"id": "179", "text": "Love it", "from": {"id": "5550001110001", "username": "marie.d"},
        "media": {"id": "178", "media_product_type": "REELS"}});
    let sent = json!({"id": "wamid.out", "recipient_id": "447700900123", "timestamp": "1795400000", "status": "sent"});
    let template = json!({"event": "PAUSED", "message_template_id": 7, "message_template_name": "x", "message_template_language": "en_US",
        "reason": "NONE"});
    vec![
        (
            "a message",
            whatsapp_text("wamid.identity", "447700900123", "hello", START),
            vec![("/entry/0/changes/0/value/messages/0/id", json!("wamid.identity2"))],
        ),
        (
            "a status",
            whatsapp_value(&json!({ "statuses": [sent] })),
            vec![
                ("/entry/0/changes/0/value/statuses/0/status", json!("delivered")),
                ("/entry/0/changes/0/value/statuses/0/id", json!("wamid.out2")),
            ],
        ),
        (
            "news of a template",
            of_account("message_template_status_update", &template),
            vec![
                ("/entry/0/changes/0/value/event", json!("APPROVED")),
                ("/entry/0/changes/0/value/message_template_id", json!(8)),
                ("/entry/0/time", json!(START / 1000 + 1)),
            ],
        ),
        (
            "a message on Instagram",
            in_thread(&json!({"message": {"mid": "aWdf1", "text": "hello"}})),
            vec![("/entry/0/messaging/0/message/mid", json!("aWdf2"))],
        ),
        (
            "an edit",
            in_thread(&json!({"message_edit": {"mid": "aWdf1", "text": "hullo", "num_edit": 1}})),
            vec![("/entry/0/messaging/0/message_edit/num_edit", json!(2))],
        ),
        (
            "a reaction",
            in_thread(
                &json!({"reaction": {"mid": "aWdf1", "action": "react", "reaction": "love", "emoji": "\u{2764}"}}),
            ),
            vec![
                ("/entry/0/messaging/0/reaction/mid", json!("aWdf2")),
                ("/entry/0/messaging/0/sender/id", json!("5550001110002")),
                ("/entry/0/messaging/0/reaction/emoji", json!("\u{1f600}")),
                ("/entry/0/messaging/0/reaction/action", json!("unreact")),
                ("/entry/0/messaging/0/timestamp", json!(START + 1)),
            ],
        ),
        (
            "a postback",
            in_thread(&json!({"postback": {"mid": "aWdfP", "title": "Hours", "payload": "HOURS"}})),
            vec![("/entry/0/messaging/0/postback/mid", json!("aWdfQ"))],
        ),
        (
            "a look at what was written",
            in_thread(&json!({"read": {"mid": "aWdfR"}})),
            vec![
                ("/entry/0/messaging/0/read/mid", json!("aWdfS")),
                ("/entry/0/messaging/0/sender/id", json!("5550001110002")),
            ],
        ),
        (
            "a comment",
            changed("comments", &comment),
            vec![
                ("/entry/0/changes/0/value/id", json!("180")),
                ("/entry/0/changes/0/value/verb", json!("remove")),
                ("/entry/0/changes/0/field", json!("live_comments")),
            ],
        ),
        (
            "a mention",
            changed("mentions", &json!({"media_id": "178", "comment_id": "181"})),
            vec![
                ("/entry/0/changes/0/value/media_id", json!("177")),
                ("/entry/0/changes/0/value/comment_id", json!("182")),
            ],
        ),
        (
            "a handover, which has no id",
            in_thread(&json!({"pass_thread_control": {"new_owner_app_id": "1", "metadata": "x"}})),
            vec![
                ("/entry/0/messaging/0/pass_thread_control/metadata", json!("y")),
                ("/entry/0/messaging/0/timestamp", json!(START + 1)),
            ],
        ),
    ]
}

#[tokio::test]
async fn what_an_event_says_makes_it_the_same_or_another_one() {
    on_both(async |harness| {
        // People and posts who are in these notifications alone.
        harness.foresee_refusals(&[100]);
        let mut known = 0;
        for (what, body, others) in identities() {
            let is_instagram = body["object"] == "instagram";
            let post = async |body: &Value| {
                if is_instagram {
                    harness.instagram(body).await;
                } else {
                    harness.whatsapp(body).await;
                }
                harness.events("").await.len()
            };
            known += 1;
            assert_eq!(post(&body).await, known, "{what}");
            assert_eq!(post(&body).await, known, "{what}, told again");
            for (place, other) in others {
                let mut another = body.clone();
                let (above, name) = place.rsplit_once('/').unwrap();
                let Some(Value::Object(object)) = another.pointer_mut(above) else {
                    panic!("{place} is not in {what}")
                };
                object.insert(name.to_owned(), other.clone());
                known += 1;
                assert_eq!(post(&another).await, known, "{what} with {other} at {place}");
                assert_eq!(
                    post(&another).await,
                    known,
                    "{what} with {other} at {place}, told again"
                );
            }
        }
        let result =
            |result: &str| format!(r#"tidings_webhook_notifications_total{{channel="instagram",result="{result}"}}"#);
        let (accepted, repeats) = (
            harness.metric(&result("accepted")).await,
            harness.metric(&result("duplicate")).await,
        );
        assert_eq!(accepted, repeats, "each was told twice");
    })
    .await;
}

#[tokio::test]
async fn on_another_node() {
    on_postgres(Setup::default(), async |harness| {
        let other = harness.another_node().await;
        let body = notification().to_string();
        let signature = harness.signature("/api/webhooks/whatsapp", body.as_bytes());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let addresses = [harness.url(""), format!("http://{}", other.hub().address())];
        let posts = (0..20).map(|number| {
            let request = http.post(format!("{}/api/webhooks/whatsapp", addresses[number % 2]));
            let request = request.header("x-hub-signature-256", &signature).body(body.clone());
            async move { request.send().await.unwrap().status().as_u16() }
        });
        assert_eq!(join_all(posts).await, [200; 20]);
        assert_said_once(harness).await;
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn at_the_same_time() {
    on_both(async |harness| {
        let posts = (0..40).map(|_| harness.post_signed(Notification::whatsapp(&notification())));
        for answer in join_all(posts).await {
            answer.expect(200);
        }
        assert_said_once(harness).await;
        assert_eq!(duplicates(harness).await, 39);
    })
    .await;
}

#[tokio::test]
async fn the_same_id_on_two_numbers_is_two_events() {
    on_both(async |harness| {
        harness.whatsapp(&notification()).await;
        let other = notification().to_string().replace(NUMBER, "200000000000002");
        harness
            .post_signed(Notification::to("/api/webhooks/whatsapp", other))
            .await
            .expect(200);
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_meta_repeats_by_itself() {
    on_both(async |harness| {
        let twice = FaultRequest {
            endpoint: "webhooks".to_owned(),
            count: None,
            ..fault(FaultKind::Double)
        };
        harness.sandbox.fault(twice).unwrap();
        for number in 0..5 {
            harness
                .sandbox
                .write("amara", NUMBER, text(&number.to_string()))
                .unwrap();
        }
        harness.projected().await;
        let conversation = harness.conversation().await;
        assert_eq!(conversation["unread"], 5);
        let messages = harness.messages(&conversation).await;
        let texts: Vec<&str> = messages
            .iter()
            .map(|message| message["content"]["text"].as_str().unwrap())
            .collect();
        assert_eq!(texts, ["0", "1", "2", "3", "4"]);
        assert!(duplicates(harness).await > 0);
    })
    .await;
}
