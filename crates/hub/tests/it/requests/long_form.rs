//! The long form: every field that a message can be asked for with, and what is wrong with each.

use serde_json::{Value, json};

use super::{MINUTE, PHONE, SEND, after, template, written_to};
use crate::harness::{ACCOUNT, NUMBER, on_both, text};

#[tokio::test]
async fn a_channel_can_be_named_as_where_it_comes_from() {
    on_both(async |harness| {
        written_to(harness).await;
        for body in [
            json!({"from": "whatsapp", "to": PHONE, "message": "a"}),
            json!({"channel": "whatsapp", "from": "whatsapp", "to": PHONE, "message": "b"}),
        ] {
            let sent = harness.send(body).await;
            assert_eq!(harness.message_until(&sent, "accepted").await["channelId"], "whatsapp");
        }
        let body = json!({"channel": "instagram", "from": "whatsapp", "to": PHONE, "message": "x"});
        let named = json!({"channel": "other", "from": "whatsapp", "to": PHONE, "message": "x"});
        assert_eq!(harness.post(SEND, &named).await.fields(422, "invalid_field"), ["from"]);
        assert_eq!(harness.post(SEND, &body).await.fields(422, "invalid_field"), ["from"]);
    })
    .await;
}

#[tokio::test]
async fn auto_takes_the_channel_whose_window_is_open() {
    on_both(async |harness| {
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let contact = harness.conversation().await["contact"]["id"].clone();
        let sent = harness
            .send(json!({"channel": "auto", "to": {"contact": contact}, "message": "Hi"}))
            .await;
        assert_eq!(harness.message_until(&sent, "accepted").await["channelId"], "instagram");

        // Somebody new has no window anywhere: the first channel that can carry it.
        let content = json!({"type": "template", "name": "hello_world", "language": "en_US"});
        let sent = harness
            .send(json!({"channel": "auto", "to": PHONE, "content": content}))
            .await;
        assert_eq!(harness.message_until(&sent, "accepted").await["channelId"], "whatsapp");
        let free = json!({"channel": "auto", "to": PHONE, "message": "x"});
        harness.post(SEND, &free).await.problem(409, "window_closed");
        let nobody = json!({"channel": "auto", "to": "nobody", "message": "x"});
        assert_eq!(
            harness.post(SEND, &nobody).await.fields(422, "invalid_recipient"),
            ["to"]
        );
        let unknown = json!({"channel": "auto", "to": {"contact": format!("con_{}", "0".repeat(32))}, "message": "x"});
        assert_eq!(
            harness.post(SEND, &unknown).await.fields(404, "unknown_recipient"),
            ["to"]
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_urgent_goes_first() {
    on_both(async |harness| {
        // Nothing goes out until all of them wait: they are due at the same time.
        let content = json!({"type": "template", "name": "hello_world", "language": "en_US"});
        let at = after(harness, MINUTE);
        let mut asked = Vec::new();
        for (index, fields) in [
            json!({"purpose": "marketing"}),
            json!({}),
            json!({"priority": "reply"}),
            json!({"purpose": "marketing", "priority": "notification"}),
        ]
        .into_iter()
        .enumerate()
        {
            let mut body =
                json!({"channel": "whatsapp", "to": format!("+44770090011{index}"), "content": content, "sendAt": at});
            for (name, value) in fields.as_object().unwrap() {
                body[name] = value.clone();
            }
            asked.push(harness.send(body).await);
        }
        let store = &harness.hub().app().store;
        let mut priorities = Vec::new();
        for id in &asked {
            let id = id.parse().unwrap();
            let scheduled = store.read(move |tx| tx.scheduled_message(id)).await.unwrap();
            priorities.push(scheduled.unwrap().priority);
        }
        assert_eq!(priorities, [2, 1, 0, 1]);
    })
    .await;
}

#[tokio::test]
async fn each_wrong_field_of_the_long_form_is_named() {
    on_both(async |harness| {
        written_to(harness).await;
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let igsid = harness.sandbox.customer("lucia").unwrap().igsid.unwrap();
        let with = |fields: Value| {
            let mut body = json!({"channel": "whatsapp", "to": PHONE, "message": "x"});
            for (name, value) in fields.as_object().unwrap() {
                body[name] = value.clone();
            }
            body
        };
        let (past, soon, later) = ("2020-01-01T00:00:00Z", after(harness, MINUTE), after(harness, MINUTE * 2));
        let too_far = after(harness, MINUTE * 60 * 24 * 367);
        let (field, content) = ("invalid_field", "unsupported_content");
        let cases = [
            (with(json!({"purpose": "fun"})), field, "purpose"),
            (with(json!({"priority": "high"})), field, "priority"),
            (with(json!({"sendAt": past})), field, "sendAt"),
            (with(json!({"sendAt": too_far})), field, "sendAt"),
            (with(json!({"sendAt": "soon"})), field, "sendAt"),
            (with(json!({"sendAt": later, "expiresAt": soon})), field, "expiresAt"),
            (with(json!({"idempotencyKey": ""})), field, "idempotencyKey"),
            (with(json!({"idempotencyKey": "k".repeat(256)})), field, "idempotencyKey"),
            (with(json!({"fallbackTemplate": {"name": "No Such", "language": "en_US"}})), content, "fallbackTemplate.name"),
            (with(json!({"fallbackTemplate": {"name": "hello_world", "language": ""}})), content, "fallbackTemplate.language"),
            (with(json!({"fallbackTemplate": {"language": "en_US"}})), field, "fallbackTemplate"),
            (json!({"channel": "instagram", "to": igsid, "message": "x", "fallbackTemplate": template()}), content, "fallbackTemplate"),
            (json!({"channel": "whatsapp", "to": PHONE, "content": {"type": "template", "name": "hello_world", "language": "en_US"},
                "fallbackTemplate": template()}), content, "fallbackTemplate"),
            (with(json!({"from": "elsewhere"})), "unknown_channel", "channel"),
        ];
        for (body, code, name) in cases {
            let answer = harness.post(SEND, &body).await;
            let fields = answer.fields(422, code);
            assert!(fields.iter().any(|field| field.starts_with(name)), "{body}: {}", answer.body);
        }
        for wait in ["0", "30001", "x", "-1"] {
            let answer = harness.post(&format!("{SEND}?wait={wait}"), &with(json!({}))).await;
            assert_eq!(answer.fields(400, "invalid_parameter"), ["wait"], "{wait}");
        }
        assert!(harness.accepted("amara").is_empty());
        assert_eq!(harness.phone("amara", NUMBER).await.len(), 1);
    })
    .await;
}
