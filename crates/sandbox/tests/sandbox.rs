//! The sandbox from outside: real sockets, a small receiver as subscriber, and the clock stepped by hand.

#![allow(clippy::unwrap_used)]

#[path = "it/harness.rs"]
mod harness;

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tidings_sandbox::{
    Content, Delays, EchoTiming, FaultKind, LedgerKind, Object, Options, Script, WebhookOptions, WindowRefusal,
};

use harness::{ACCOUNT, Harness, PHONE, Received, Receiver, START, VERIFY, code, fault, start, stepped, text_to};

// --- Webhooks -----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_callback_that_fails_the_handshake_is_not_subscribed() {
    let harness = start(stepped()).await;
    let url = Receiver::default().start().await;
    let error = harness
        .sandbox
        .subscribe(Object::WhatsApp, &url, "another")
        .await
        .unwrap_err();
    assert_eq!(error.code, 2200);
    let token = format!(
        "{}|{}",
        harness.variable("META_APP_ID"),
        harness.variable("WHATSAPP_APP_SECRET")
    );
    let path = format!("/v25.0/{}/subscriptions", harness.variable("META_APP_ID"));
    let form = [
        ("object", "instagram"),
        ("callback_url", &url),
        ("verify_token", VERIFY),
        ("fields", "messages,messaging_seen"),
    ];
    let request = harness
        .http
        .post(format!("{}{path}", harness.sandbox.url()))
        .form(&form);
    assert_eq!(harness.call(request, &token).await, (200, json!({"success": true})));
    let (_, list) = harness.get(&path, &token).await;
    assert_eq!(list["data"][0]["callback_url"], url);
    assert_eq!(
        list["data"][0]["fields"][1],
        json!({"name": "messaging_seen", "version": "v25.0"})
    );
    let answer = harness.get(&path, "nonsense").await;
    assert_eq!(code(&answer), (401, 190, None));
}

#[tokio::test]
async fn a_webhook_is_escaped_and_signed_over_its_bytes() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "Olá 😀 a/b me@example");
    harness.advance(0).await;
    let received = harness.receiver.received.lock().unwrap()[0].clone();
    let body = std::str::from_utf8(&received.body).unwrap();
    assert!(body.is_ascii());
    assert!(body.contains(r"Ol\u00e1 \ud83d\ude00 a\/b me\u0040example"), "{body}");
    let secret = harness.variable("WHATSAPP_APP_SECRET");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let expected = hex::encode(aws_lc_rs::hmac::sign(&key, &received.body));
    assert_eq!(received.headers["x-hub-signature-256"], format!("sha256={expected}"));
    assert!(
        received.headers["x-hub-signature"]
            .to_str()
            .unwrap()
            .starts_with("sha1=")
    );
    assert_eq!(received.headers["user-agent"], "facebookexternalua");
    let value = &harness.receiver.values()[0];
    assert_eq!(value["messages"][0]["text"]["body"], "Olá 😀 a/b me@example");
    assert_eq!(value["messages"][0]["timestamp"], (START / 1000).to_string());
    assert_eq!(value["contacts"][0]["wa_id"], "447700900101");
}

#[tokio::test]
async fn a_webhook_is_repeated_with_growing_pauses_until_200() {
    let harness = start(stepped()).await;
    harness.receiver.answers.lock().unwrap().extend([500, 204, 503]);
    harness.writes("amara", PHONE, "hello");
    harness.advance(3_600_000).await;
    let received = harness.receiver.received.lock().unwrap().clone();
    assert_eq!(received.len(), 4);
    for repeat in &received[1..] {
        assert_eq!(repeat.body, received[0].body);
        let signature = "x-hub-signature-256";
        assert_eq!(repeat.headers[signature], received[0].headers[signature]);
    }
    let at: Vec<i64> = harness
        .entries(LedgerKind::Posted)
        .iter()
        .map(|entry| entry.at - START)
        .collect();
    assert_eq!(at, [0, 1_000, 3_000, 7_000]);
    let acknowledged = harness.entries(LedgerKind::Acknowledged);
    assert_eq!(acknowledged.len(), 1);
    assert_eq!(acknowledged[0].detail["attempts"], 4);
}

#[tokio::test]
async fn a_webhook_is_given_up_after_the_time_that_meta_gives_up() {
    let harness = start(Options {
        webhooks: WebhookOptions {
            give_up_after: Duration::from_secs(10),
            ..stepped().webhooks
        },
        ..stepped()
    })
    .await;
    harness.receiver.answers.lock().unwrap().extend([500; 10]);
    harness.writes("amara", PHONE, "hello");
    harness.advance(60_000).await;
    // At 0, 1, 3 and 7 seconds; the next one would come at 15.
    assert_eq!(harness.receiver.bodies().len(), 4);
    assert_eq!(harness.entries(LedgerKind::GaveUp).len(), 1);
}

#[tokio::test]
async fn events_that_wait_for_company_share_a_post() {
    let harness = start(Options {
        webhooks: WebhookOptions {
            batch_max: 3,
            batch_wait: Duration::from_millis(50),
            ..stepped().webhooks
        },
        ..stepped()
    })
    .await;
    for number in 0..4 {
        harness.writes("amara", PHONE, &format!("message {number}"));
    }
    harness.advance(49).await;
    let changes = |body: &Value| body["entry"][0]["changes"].as_array().unwrap().len();
    assert_eq!(harness.receiver.bodies().iter().map(changes).collect::<Vec<_>>(), [3]);
    harness.advance(1).await;
    assert_eq!(
        harness.receiver.bodies().iter().map(changes).collect::<Vec<_>>(),
        [3, 1]
    );
    let texts: Vec<Value> = harness
        .receiver
        .values()
        .iter()
        .map(|value| value["messages"][0]["text"]["body"].clone())
        .collect();
    assert_eq!(texts, ["message 0", "message 1", "message 2", "message 3"]);
}

#[tokio::test]
async fn without_the_account_subscribed_nothing_is_posted() {
    let harness = start(stepped()).await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let path = format!("/{}/subscribed_apps", harness.variable("WHATSAPP_BUSINESS_ACCOUNT_ID"));
    let url = format!("{}{path}", harness.sandbox.url());
    harness.call(harness.http.delete(&url), &token).await;
    assert_eq!(harness.get(&path, &token).await.1, json!({"data": []}));
    harness.writes("amara", PHONE, "lost");
    harness.advance(0).await;
    assert_eq!(harness.receiver.bodies().len(), 0);
    assert_eq!(harness.entries(LedgerKind::Dropped).len(), 1);
    harness.post(&path, &token, &json!({})).await;
    harness.writes("amara", PHONE, "heard");
    harness.advance(0).await;
    assert_eq!(harness.receiver.bodies().len(), 1);
}

// --- WhatsApp -----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn statuses_follow_a_message_in_order_and_at_their_times() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let mut message = text_to("+44 7700 900101", "hi");
    message["biz_opaque_callback_data"] = json!("outbox:1");
    let (status, answer) = harness.whatsapp(message).await;
    assert_eq!(status, 200);
    assert_eq!(answer["contacts"][0]["input"], "+44 7700 900101");
    assert_eq!(answer["contacts"][0]["wa_id"], "447700900101");
    let id = &answer["messages"][0]["id"];
    harness.advance(10_000).await;
    let statuses = harness.receiver.statuses();
    let names: Vec<&Value> = statuses.iter().map(|status| &status["status"]).collect();
    assert_eq!(names, ["sent", "delivered", "read"]);
    for status in &statuses {
        assert_eq!(&status["id"], id);
        assert_eq!(status["biz_opaque_callback_data"], "outbox:1");
        assert_eq!(status["recipient_id"], "447700900101");
    }
    assert_eq!(statuses[0]["pricing"]["type"], "free_customer_service");
    assert_eq!(statuses[2]["timestamp"], ((START + 2_300) / 1000).to_string());
    assert!(statuses[1]["pricing"].is_object() && statuses[2]["pricing"].is_null());
}

#[tokio::test]
async fn outside_the_window_only_templates_arrive() {
    let harness = start(stepped()).await;
    let failed = |harness: &Harness| {
        let statuses = harness.receiver.statuses();
        let last = statuses.last().unwrap().clone();
        (last["status"].clone(), last["errors"][0]["code"].clone())
    };
    assert_eq!(harness.whatsapp(text_to("447700900101", "hi")).await.0, 200);
    harness.advance(1_000).await;
    assert_eq!(failed(&harness), (json!("failed"), json!(131_047)));
    let template = json!({"to": "447700900101", "type": "template", "template": {
        "name": "hello_world", "language": {"code": "en_US"}}});
    let (status, answer) = harness.whatsapp(template).await;
    assert_eq!(
        (status, &answer["messages"][0]["message_status"]),
        (200, &json!("accepted"))
    );
    harness.advance(300).await;
    assert_eq!(failed(&harness).0, "delivered");
    harness.writes("amara", PHONE, "hello");
    harness.advance(24 * 3_600_000 - 1_000).await;
    assert_eq!(harness.whatsapp(text_to("447700900101", "just in time")).await.0, 200);
    harness.advance(300).await;
    assert_eq!(failed(&harness).0, "delivered");
    harness.advance(700).await;
    harness.whatsapp(text_to("447700900101", "too late")).await;
    harness.advance(300).await;
    assert_eq!(failed(&harness), (json!("failed"), json!(131_047)));
}

#[tokio::test]
async fn the_window_can_be_refused_at_once() {
    let mut options = stepped();
    options.rules.window_refusal = WindowRefusal::Answer;
    let harness = start(options).await;
    let answer = harness.whatsapp(text_to("447700900101", "hi")).await;
    assert_eq!(code(&answer), (400, 131_047, None));
}

#[tokio::test]
async fn a_user_id_works_in_recipient_and_is_swallowed_in_to() {
    let harness = start(stepped()).await;
    harness.writes("jonas", PHONE, "hello");
    harness.advance(0).await;
    let message = harness.receiver.values()[0]["messages"][0].clone();
    assert!(message.get("from").is_none());
    let user_id = message["from_user_id"].as_str().unwrap().to_owned();

    let (status, answer) = harness.whatsapp(text_to(&user_id, "lost")).await;
    assert_eq!(status, 200);
    assert!(answer["messages"][0]["id"].is_string());
    harness.advance(3_600_000).await;
    assert_eq!(harness.receiver.statuses().len(), 0);
    assert_eq!(harness.entries(LedgerKind::Swallowed).len(), 1);
    assert_eq!(harness.entries(LedgerKind::Accepted).len(), 0);

    let message = json!({"recipient": user_id, "type": "text", "text": {"body": "found"}});
    let (_, answer) = harness.whatsapp(message).await;
    assert_eq!(answer["contacts"], json!([{"input": user_id, "user_id": user_id}]));
    harness.advance(1_000).await;
    let status = harness.receiver.statuses()[0].clone();
    assert_eq!(status["recipient_user_id"], user_id);
    assert!(status.get("recipient_id").is_none());
}

#[tokio::test]
async fn a_number_that_is_not_on_whatsapp_fails_later() {
    let harness = start(stepped()).await;
    let (status, answer) = harness.whatsapp(text_to("+31600000000", "hi")).await;
    assert_eq!((status, &answer["contacts"][0]["wa_id"]), (200, &json!("31600000000")));
    harness.advance(1_000).await;
    let statuses = harness.receiver.statuses();
    assert_eq!(statuses[0]["errors"][0]["code"], 131_026);
}

#[tokio::test]
async fn what_meta_refuses_is_refused_with_its_code() {
    let harness = start(stepped()).await;
    let template = |name: &str, language: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|text| json!({"type": "text", "text": text}))
            .collect();
        json!({"to": "447700900101", "type": "template", "template": {
            "name": name, "language": {"code": language},
            "components": [{"type": "body", "parameters": parameters}]}})
    };
    let booking = "mr_dj_booking_confirmation";
    let cases = [
        (text_to("447700900101", &"x".repeat(4097)), (400, 100)),
        (text_to("447700900101", ""), (400, 100)),
        (json!({"type": "text", "text": {"body": "x"}}), (400, 100)),
        (json!({"to": "447700900101", "type": "text"}), (400, 131_008)),
        (
            json!({"to": "nobody", "type": "text", "text": {"body": "x"}}),
            (400, 131_009),
        ),
        (text_to("442079460100", "to myself"), (400, 131_021)),
        (
            json!({"to": "447700900101", "type": "poll", "poll": {}}),
            (400, 131_051),
        ),
        (template(booking, "en_US", &["one"]), (400, 132_000)),
        (template(booking, "en_US", &["one", "two", "three"]), (400, 132_000)),
        (template(booking, "en_US", &["one", "a\nb"]), (400, 132_018)),
        (template(booking, "nl", &["one", "two"]), (404, 132_001)),
        (template("unknown", "en_US", &[]), (404, 132_001)),
        (json!({"status": "read", "message_id": "wamid.unknown"}), (400, 131_009)),
    ];
    for (body, expected) in cases {
        let answer = harness.whatsapp(body.clone()).await;
        let (status, error, _) = code(&answer);
        assert_eq!((status, error), expected, "{body}");
    }
    assert_eq!(harness.entries(LedgerKind::Refused).len(), 13);
    assert_eq!(
        harness
            .whatsapp(template(booking, "en_US", &["1 May", "Utrecht"]))
            .await
            .0,
        200
    );
    assert_eq!(
        harness.whatsapp(text_to("447700900101", &"é".repeat(4096))).await.0,
        200
    );
}

#[tokio::test]
async fn too_fast_is_refused_for_a_person_and_for_a_number() {
    let mut options = stepped();
    options.world.numbers[0].throughput = 60;
    let harness = start(options).await;
    harness.writes("amara", PHONE, "hello");
    let mut answers = Vec::new();
    for _ in 0..46 {
        answers.push(harness.whatsapp(text_to("447700900101", "hi")).await);
    }
    assert!(answers[..45].iter().all(|(status, _)| *status == 200));
    assert_eq!(code(&answers[45]), (400, 131_056, None));
    for number in 0..15 {
        let to = format!("316000000{number:02}");
        assert_eq!(harness.whatsapp(text_to(&to, "hi")).await.0, 200);
    }
    let answer = harness.whatsapp(text_to("31600000099", "hi")).await;
    assert_eq!(code(&answer), (400, 130_429, Some(2_494_055)));
    harness.advance(1_000).await;
    assert_eq!(harness.whatsapp(text_to("31600000099", "hi")).await.0, 200);
}

#[tokio::test]
async fn the_token_is_checked_before_everything_else() {
    let harness = start(stepped()).await;
    for path in ["/v26.0/1/messages", "/v26.0/a/b/c"] {
        let answer = harness.post(path, "nonsense", &json!({})).await;
        assert_eq!(code(&answer), (401, 190, None));
    }
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let body = json!({"messaging_product": "whatsapp"});
    let answer = harness.post("/v26.0/299999999999999/messages", &token, &body).await;
    assert_eq!(code(&answer), (400, 100, Some(33)));
    let other = harness.variable("META_IG_ACCESS_TOKEN");
    let answer = harness.post(&format!("/{PHONE}/messages"), &other, &body).await;
    assert_eq!(code(&answer), (403, 200, None));
}

#[tokio::test]
async fn a_read_mark_shows_on_the_customers_phone() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "one");
    let second = harness.writes("amara", PHONE, "two");
    let mark = json!({"status": "read", "message_id": second, "typing_indicator": {"type": "text"}});
    assert_eq!(harness.whatsapp(mark).await, (200, json!({"success": true})));
    let path = format!("/sandbox/customers/amara/threads/{PHONE}");
    let (_, thread) = harness.get(&path, "").await;
    assert_eq!(thread["typing"], true);
    let messages = thread["messages"].as_array().unwrap();
    assert!(
        messages
            .iter()
            .all(|message| message["status"] == "read" && message["direction"] == "mine")
    );
    harness.advance(25_000).await;
    assert_eq!(harness.get(&path, "").await.1["typing"], false);
}

#[tokio::test]
async fn a_pressed_button_names_the_message_it_answers() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let buttons = json!({"to": "447700900101", "type": "interactive", "interactive": {
        "type": "button", "body": {"text": "Keep your slot?"},
        "action": {"buttons": [{"type": "reply", "reply": {"id": "keep:1", "title": "Keep"}}]}}});
    let (_, answer) = harness.whatsapp(buttons).await;
    harness.advance(300).await;
    let press = |payload: &str| Content::Button {
        message_id: None,
        payload: payload.to_owned(),
    };
    harness.sandbox.write("amara", PHONE, press("keep:1")).unwrap();
    assert!(harness.sandbox.write("amara", PHONE, press("keep:2")).is_err());
    harness.advance(0).await;
    let message = harness.receiver.values().last().unwrap()["messages"][0].clone();
    assert_eq!(
        message["interactive"]["button_reply"],
        json!({"id": "keep:1", "title": "Keep"})
    );
    assert_eq!(message["context"]["id"], answer["messages"][0]["id"]);
}

#[tokio::test]
async fn a_picture_can_be_fetched_for_five_minutes() {
    let harness = start(stepped()).await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let picture = json!({"type": "image", "link": "data:image/jpeg;base64,Zm9v", "caption": "like this"});
    let path = format!("/sandbox/customers/amara/threads/{PHONE}");
    let (status, _) = harness.post(&format!("{path}/messages"), "", &picture).await;
    assert_eq!(status, 201);
    harness.advance(0).await;
    let image = harness.receiver.values()[0]["messages"][0]["image"].clone();
    assert_eq!(image["caption"], "like this");
    assert_eq!(image["mime_type"], "image/jpeg");
    // The base64 of the SHA-256 of "foo".
    assert_eq!(image["sha256"], "LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=");
    let fetch = async |url: &str, token: &str| {
        let answer = harness.http.get(url).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    let url = image["url"].as_str().unwrap();
    assert_eq!(fetch(url, &token).await, (200, Bytes::from("foo")));
    assert_eq!(fetch(url, "nonsense").await.0, 401);
    assert_eq!(fetch(&url.replace("hash=", "hash=1"), &token).await.0, 404);
    harness.advance(300_000).await;
    assert_eq!(fetch(url, &token).await.0, 404);
    let id = image["id"].as_str().unwrap();
    let (_, found) = harness
        .get(&format!("/v26.0/{id}?phone_number_id={PHONE}"), &token)
        .await;
    assert_eq!((&found["file_size"], &found["id"]), (&json!(3), &json!(id)));
    assert_eq!(fetch(found["url"].as_str().unwrap(), &token).await.0, 200);
    let shown = harness.get(&path, "").await.1["messages"][0]["link"].clone();
    let shown = format!("{}{}", harness.sandbox.url(), shown.as_str().unwrap());
    assert_eq!(fetch(&shown, "").await.1, "foo");
}

#[tokio::test]
async fn an_uploaded_picture_can_be_sent_by_its_number() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let upload = async |mime: &str, content: &str| {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
             --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: {mime}\r\n\r\n\
             {content}\r\n--b--\r\n"
        );
        let url = format!("{}/v26.0/{PHONE}/media", harness.sandbox.url());
        let request = harness
            .http
            .post(url)
            .header("content-type", "multipart/form-data; boundary=b");
        harness.call(request.body(body), &token).await
    };
    let content = "not --b really\r\n a picture";
    let (status, answer) = upload("image/png", content).await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["id"].as_str().unwrap();
    let (_, found) = harness.get(&format!("/{id}"), &token).await;
    assert_eq!(found["file_size"], content.len());
    let message = |kind: &str| json!({"to": "447700900101", "type": kind, kind: {"id": id}});
    assert_eq!(harness.whatsapp(message("image")).await.0, 200);
    assert_eq!(code(&harness.whatsapp(message("video")).await), (400, 131_009, None));
    assert_eq!(code(&upload("image/x-strange", "?").await), (400, 100, None));
}

// --- Instagram ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_instagram_message_is_echoed_and_seen() {
    let harness = start(stepped()).await;
    let igsid = harness.igsid("lucia").await;
    let message = json!({"recipient": {"id": igsid}, "message": {"text": "Yes, 3-5 days."}});
    let answer = harness.instagram(message.clone()).await;
    assert_eq!(code(&answer), (400, 10, Some(2_534_022)));
    harness.writes("lucia", ACCOUNT, "Do you ship to Lyon?");
    let (status, answer) = harness.instagram(message).await;
    assert_eq!((status, &answer["recipient_id"]), (200, &json!(igsid)));
    harness.advance(10_000).await;
    let events = harness.receiver.messaging();
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(events[0]["sender"]["id"], igsid);
    assert_eq!(events[1]["message"]["is_echo"], true);
    assert_eq!(events[1]["message"]["mid"], answer["message_id"]);
    assert_eq!(events[1]["sender"]["id"], ACCOUNT);
    assert_eq!(events[2]["read"]["mid"], answer["message_id"]);
}

#[tokio::test]
async fn an_instagram_picture_needs_no_token() {
    let harness = start(stepped()).await;
    let picture = Content::Image {
        link: "https://pictures.example/1.jpg".to_owned(),
        caption: None,
        reply_to: None,
    };
    harness.sandbox.write("lucia", ACCOUNT, picture).unwrap();
    harness.advance(0).await;
    let url = harness.receiver.messaging()[0]["message"]["attachments"][0]["payload"]["url"].clone();
    let answer = harness.http.get(url.as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "image/png");
    assert!(answer.bytes().await.unwrap().starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn the_echo_can_come_before_the_answer() {
    let mut options = stepped();
    options.rules.echo = EchoTiming::BeforeAnswer;
    // Which it does without waiting for company, and without the clock.
    options.webhooks.batch_wait = Duration::from_millis(50);
    let harness = start(options).await;
    let igsid = harness.igsid("lucia").await;
    harness.writes("lucia", ACCOUNT, "hello");
    let message = json!({"recipient": {"id": igsid}, "message": {"text": "hi"}});
    let (_, answer) = harness.instagram(message).await;
    // Nothing was awaited but the answer.
    let events = harness.receiver.messaging();
    assert_eq!(events[1]["message"]["mid"], answer["message_id"]);
}

#[tokio::test]
async fn what_instagram_refuses_is_refused_with_its_code() {
    let harness = start(stepped()).await;
    let igsid = harness.igsid("lucia").await;
    let mine = harness.writes("lucia", ACCOUNT, "hello");
    let quick = |count: usize| {
        let replies: Vec<Value> = (0..count)
            .map(|number| json!({"content_type": "text", "title": number.to_string(), "payload": "P"}))
            .collect();
        json!({"recipient": {"id": igsid}, "message": {"text": "?", "quick_replies": replies}})
    };
    let text = |text: String| json!({"recipient": {"id": igsid}, "message": {"text": text}});
    let cases = [
        (
            json!({"recipient": {"id": "1"}, "message": {"text": "x"}}),
            (400, 100, Some(2_534_014)),
        ),
        (text("é".repeat(501)), (400, 100, None)),
        (quick(14), (400, 100, None)),
        (
            json!({"recipient": {"id": igsid}, "message": {"text": "x"}, "sender_action": "typing_on"}),
            (400, 100, Some(2_018_014)),
        ),
        (
            json!({"recipient": {"id": igsid}, "sender_action": "dance"}),
            (400, 100, None),
        ),
    ];
    for (body, expected) in cases {
        let answer = harness.instagram(body.clone()).await;
        assert_eq!(code(&answer), expected, "{body}");
    }
    assert_eq!(harness.instagram(text("é".repeat(500))).await.0, 200);
    assert_eq!(harness.instagram(quick(13)).await.0, 200);
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    assert_eq!(
        harness.post("/me/messages", &token, &text("hi".to_owned())).await.0,
        200
    );
    let react = json!({"recipient": {"id": igsid}, "sender_action": "react",
        "payload": {"message_id": mine, "reaction": "love"}});
    assert_eq!(harness.instagram(react).await, (200, json!({"recipient_id": igsid})));
    let path = format!("/sandbox/customers/lucia/threads/{ACCOUNT}");
    let (_, thread) = harness.get(&path, "").await;
    assert_eq!(
        thread["messages"][0]["reactions"],
        json!([{"by": "theirs", "emoji": "❤️"}])
    );
}

#[tokio::test]
async fn accounts_and_profiles_can_be_read() {
    let harness = start(stepped()).await;
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    let (_, me) = harness.get("/v26.0/me?fields=user_id,username", &token).await;
    assert_eq!(me["user_id"], ACCOUNT);
    let igsid = harness.igsid("bram").await;
    let path = format!("/v26.0/{igsid}?fields=name,username");
    assert_eq!(code(&harness.get(&path, &token).await), (403, 230, None));
    harness.writes("bram", ACCOUNT, "hello");
    assert_eq!(harness.get(&path, &token).await.1["username"], "bram.de.wit");
    let answer = harness.get(&format!("/v26.0/{igsid}?fields=biography"), &token).await;
    assert_eq!(code(&answer), (400, 100, None));

    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let (_, number) = harness
        .get(&format!("/{PHONE}?fields=status,display_phone_number"), &token)
        .await;
    assert_eq!(number["status"], "CONNECTED");
    let app = format!(
        "{}|{}",
        harness.variable("META_APP_ID"),
        harness.variable("WHATSAPP_APP_SECRET")
    );
    let (_, debug) = harness.get(&format!("/debug_token?input_token={token}"), &app).await;
    assert_eq!(
        (&debug["data"]["is_valid"], &debug["data"]["expires_at"]),
        (&json!(true), &json!(0))
    );
    let (_, debug) = harness.get("/debug_token?input_token=other", &app).await;
    assert_eq!(debug["data"]["is_valid"], false);
}

// --- Faults, ledger, scripts --------------------------------------------------------------------------------------------

#[tokio::test]
async fn faults_strike_as_often_as_asked() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let request = json!({"endpoint": "messages", "kind": "error", "code": 131_000, "httpStatus": 500, "count": 2});
    assert_eq!(harness.post("/sandbox/faults", "", &request).await.0, 201);
    for _ in 0..2 {
        let answer = harness.whatsapp(text_to("447700900101", "hi")).await;
        assert_eq!(code(&answer), (500, 131_000, None));
    }
    assert_eq!(harness.whatsapp(text_to("447700900101", "hi")).await.0, 200);
    harness.sandbox.fault(fault(FaultKind::Status, 1)).unwrap();
    assert_eq!(harness.whatsapp(text_to("447700900101", "hi")).await.0, 200);
    harness.advance(100).await;
    assert_eq!(
        harness.receiver.statuses().last().unwrap()["errors"][0]["code"],
        131_026
    );
}

#[tokio::test]
async fn webhooks_can_be_doubled_lost_late_and_wrongly_signed() {
    let harness = start(stepped()).await;
    let strike = |kind: &str| {
        let request = json!({"endpoint": "webhooks", "kind": kind, "delayMs": 700, "count": 1});
        harness.sandbox.fault(serde_json::from_value(request).unwrap()).unwrap();
        let before = harness.receiver.bodies().len();
        harness.writes("amara", PHONE, kind);
        before
    };
    let before = strike("double");
    harness.advance(0).await;
    let received = harness.receiver.received.lock().unwrap().clone();
    assert_eq!(received.len(), before + 2);
    assert_eq!(received[before].body, received[before + 1].body);

    let before = strike("lose");
    harness.advance(3_600_000).await;
    assert_eq!(harness.receiver.bodies().len(), before);

    let before = strike("delay");
    harness.advance(699).await;
    assert_eq!(harness.receiver.bodies().len(), before);
    harness.advance(1).await;
    assert_eq!(harness.receiver.bodies().len(), before + 1);

    harness.receiver.answers.lock().unwrap().push_back(401);
    let before = strike("wrong_signature");
    harness.advance(1_000).await;
    let received = harness.receiver.received.lock().unwrap().clone();
    assert_eq!(received.len(), before + 2);
    let signature = |received: &Received| received.headers["x-hub-signature-256"].clone();
    assert_ne!(signature(&received[before]), signature(&received[before + 1]));
    assert!(harness.sandbox.fault(fault(FaultKind::Double, 1)).is_err());
}

#[tokio::test]
async fn a_cut_connection_tells_nothing_and_may_have_worked() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    for (kind, accepted) in [(FaultKind::ResetBefore, 0), (FaultKind::ResetAfterAccept, 1)] {
        harness.sandbox.fault(fault(kind, 1)).unwrap();
        let mut body = text_to("447700900101", "hi");
        body["messaging_product"] = json!("whatsapp");
        let request = harness.http.post(format!("{}/{PHONE}/messages", harness.sandbox.url()));
        let error = request.bearer_auth(&token).json(&body).send().await.unwrap_err();
        assert!(!error.is_timeout(), "{error:?}");
        assert_eq!(harness.entries(LedgerKind::Accepted).len(), accepted);
    }
    harness.advance(1_000).await;
    assert_eq!(harness.receiver.statuses().len(), 2);
}

#[tokio::test]
async fn the_ledger_tells_a_conversation_in_order() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    harness.advance(0).await;
    harness.whatsapp(text_to("447700900101", "hi")).await;
    harness.advance(10_000).await;
    let url = format!("{}/ledger?limit=100", harness.sandbox.url());
    let reading: Value = harness.http.get(url).send().await.unwrap().json().await.unwrap();
    let entries = reading["entries"].as_array().unwrap();
    let kinds: Vec<&str> = entries
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .filter(|kind| !matches!(*kind, "posted" | "verified"))
        .collect();
    assert_eq!(
        kinds,
        [
            "written",
            "acknowledged",
            "received",
            "accepted",
            "acknowledged",
            "delivered",
            "acknowledged",
            "read",
            "acknowledged"
        ]
    );
    assert_eq!(reading["dropped"], 0);
    let numbers: Vec<u64> = entries
        .iter()
        .map(|entry| entry["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_in_the_same_order() {
    let yaml = "
customers:
  - {name: Ines Prado, identity: bsuid, replies: [{to: hi, say: 'Hello back', afterMs: 40}]}
lines:
  - {atMs: 10, from: Ines Prado, text: Good morning}
  - {atMs: 20, from: lucia, do: {type: image, link: 'https://pictures.example/1.jpg'}}
load:
  - {customers: 3, perSecond: 100, count: 10, atMs: 5}
";
    let run = |seed| async move {
        let harness = start(Options {
            seed,
            script: Some(Script::parse(yaml).unwrap()),
            ..stepped()
        })
        .await;
        harness.advance(500).await;
        // What shares a post may differ, what is posted not; and the port is the system's choice.
        let events = [harness.receiver.values(), harness.receiver.messaging()].concat();
        let url = harness.sandbox.url().to_owned();
        harness.sandbox.stop().await;
        events
            .iter()
            .map(|event| event.to_string().replace(&url, ""))
            .collect::<Vec<_>>()
    };
    let first = run(7).await;
    assert_eq!(first.len(), 12);
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
}

#[tokio::test]
async fn the_phone_is_told_what_changes() {
    let harness = start(stepped()).await;
    let url = format!("{}/sandbox/stream", harness.sandbox.url());
    let mut stream = harness.http.get(url).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    harness.writes("amara", PHONE, "hello");
    let frame = stream.chunk().await.unwrap().unwrap();
    let text = std::str::from_utf8(&frame)
        .unwrap()
        .trim()
        .strip_prefix("data: ")
        .unwrap();
    let change: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        change,
        json!({"type": "message", "customerId": "amara", "accountId": PHONE})
    );
    // An open stream doesn't hold up stopping.
    harness.sandbox.stop().await;
}

#[tokio::test]
async fn customers_are_added_changed_and_scripted_over_http() {
    let harness = start(stepped()).await;
    let new = json!({"kind": "whatsapp", "name": "Noor", "phone": "+31 6 0000 0001", "identity": "both"});
    let (status, noor) = harness.post("/sandbox/customers", "", &new).await;
    assert_eq!((status, &noor["phone"]), (201, &json!("31600000001")));
    assert_eq!(harness.post("/sandbox/customers", "", &new).await.0, 409);
    let (status, refused) = harness.post("/sandbox/customers", "", &json!({"nam": "x"})).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("invalid_body")));
    let script = "lines: [{atMs: 5, from: Noor, text: one}]";
    let url = format!("{}/sandbox/script", harness.sandbox.url());
    assert_eq!(harness.http.post(&url).body(script).send().await.unwrap().status(), 202);
    assert_eq!(
        harness.http.post(&url).body("lines: [{").send().await.unwrap().status(),
        422
    );
    harness.advance(5).await;
    let id = noor["id"].as_str().unwrap();
    let url = format!("{}/sandbox/customers/{id}", harness.sandbox.url());
    let change = json!({"identity": "blank", "autoRead": false});
    let (_, changed) = harness.call(harness.http.patch(url).json(&change), "").await;
    assert_eq!(
        (&changed["identity"], &changed["autoRead"]),
        (&json!("blank"), &json!(false))
    );
    let order = json!({"type": "order", "order": {"catalog_id": "1", "product_items": []}});
    let raw = Content::Raw {
        message: order.as_object().unwrap().clone(),
    };
    harness.sandbox.write(id, PHONE, raw).unwrap();
    harness.advance(0).await;
    let messages: Vec<Value> = harness
        .receiver
        .values()
        .iter()
        .map(|value| value["messages"][0].clone())
        .collect();
    assert_eq!(messages[0]["from"], "31600000001");
    assert_eq!(messages[1]["from"], "");
    assert_eq!(messages[1]["order"], order["order"]);
    assert_eq!(messages[0]["from_user_id"], messages[1]["from_user_id"]);
}

#[tokio::test]
async fn real_time_settles_by_itself() {
    let harness = start(Options {
        delays: Delays {
            sent: Duration::from_millis(1),
            delivered: Duration::from_millis(1),
            read: Some(Duration::from_millis(1)),
        },
        ..Options::default()
    })
    .await;
    harness.writes("amara", PHONE, "hello");
    harness.whatsapp(text_to("447700900101", "hi")).await;
    harness.sandbox.settled().await;
    assert_eq!(harness.receiver.statuses().len(), 3);
    harness.sandbox.stop().await;
}
