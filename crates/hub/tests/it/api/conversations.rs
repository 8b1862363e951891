//! Reading conversations, contacts and messages.

use std::time::Duration;

use serde_json::{Value, json};
use tidings::conversations::model::{ChannelId, Failure};
use tidings::ids::{AttemptId, ConversationId, MessageId};
use tidings::sending::model::{Attempt, AttemptEnd};
use tidings::store::StoreError;
use tidings_meta::notification::Platform;

use super::{ACCOUNT, Hub, NOW, NUMBER, each, on_each, status, text};

const ANN: &str = "31612345678";
const BOB: &str = "31687654321";

/// The only conversation that there is.
async fn only_conversation(hub: &Hub) -> Value {
    let list = hub.get("/api/v1/conversations").await.done();
    let conversations = list["conversations"].as_array().unwrap();
    assert_eq!(conversations.len(), 1, "{list}");
    conversations[0].clone()
}

#[tokio::test]
async fn a_conversation_shows_who_it_is_with_and_how_it_stands() {
    on_each(async |hub| {
    hub.told(text("wamid.1", ANN, "Ann Example", NOW - 60_000, "Hello"))
        .await;
    let conversation = only_conversation(hub).await;
    let shown = json!({
        "id": conversation["id"],
        "channelId": "whatsapp", "kind": "direct",
        "contact": {"id": conversation["contact"]["id"], "name": "Ann Example", "username": null},
        "status": "open", "handler": "automation", "assignee": null, "unread": 1,
        "window": {"open": true, "endsAt": "2026-11-23T07:59:00.000Z"},
        "lastInboundAt": "2026-11-22T07:59:00.000Z",
        "lastMessageAt": "2026-11-22T07:59:00.000Z",
        "lastMessage": {
            "id": conversation["lastMessage"]["id"], "direction": "inbound", "sender": "contact",
            "content": {"type": "text", "text": "Hello"}, "status": "received", "occurredAt": "2026-11-22T07:59:00.000Z"
        },
        "createdAt": conversation["createdAt"],
    });
    assert_eq!(conversation, shown);
    let path = format!("/api/v1/conversations/{}", conversation["id"].as_str().unwrap());
    assert_eq!(hub.get(&path).await.done(), shown);

    hub.app.clock.advance(Duration::from_hours(24));
    assert_eq!(
        hub.get(&path).await.done()["window"],
        json!({"open": false, "endsAt": "2026-11-23T07:59:00.000Z"})
    );
    }).await;
}

#[tokio::test]
async fn marking_as_read_is_for_what_is_there_and_happens_once() {
    on_each(async |hub| {
        hub.told(text("wamid.1", ANN, "Ann", NOW - 60_000, "Hello")).await;
        hub.told(text("wamid.2", ANN, "Ann", NOW - 50_000, "Anyone?")).await;
        let conversation = only_conversation(hub).await;
        assert_eq!(conversation["unread"], 2);
        let path = format!("/api/v1/conversations/{}/read", conversation["id"].as_str().unwrap());
        let end = |hub: &Hub| {
            let store = hub.app.store.clone();
            async move {
                store
                    .read(|tx| Ok::<_, StoreError>(tx.stream_bounds()?.map(|(_, last)| last)))
                    .await
                    .unwrap()
            }
        };
        let before = end(hub).await;
        assert_eq!(hub.post(&path, &json!({})).await.done()["unread"], 0);
        let after = end(hub).await;
        assert!(after > before, "the stream does not tell");
        assert_eq!(hub.post(&path, &json!({})).await.done()["unread"], 0);
        assert_eq!(end(hub).await, after, "the stream tells of nothing");
        // Late, but from before it was read.
        hub.told(text("wamid.0", ANN, "Ann", NOW - 70_000, "Hm")).await;
        assert_eq!(only_conversation(hub).await["unread"], 0);
        hub.told(text("wamid.3", ANN, "Ann", NOW - 10_000, "Hello?")).await;
        assert_eq!(only_conversation(hub).await["unread"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_list_goes_on_to_its_end_without_gap_or_repeat() {
    on_each(async |hub| {
        for number in 0..25_i64 {
            // Some at the same moment: the place in the list is still exact.
            let (id, from) = (format!("wamid.{number}"), format!("316000000{number:02}"));
            hub.told(text(&id, &from, "Somebody", NOW - (number / 3) * 1000, "Hello"))
                .await;
        }
        for (path, noun, all) in [
            ("/api/v1/conversations", "conversations", 25),
            ("/api/v1/contacts", "contacts", 25),
        ] {
            let mut seen: Vec<String> = Vec::new();
            let mut pages = 0;
            let mut next = format!("{path}?limit=7");
            loop {
                let page = hub.get(&next).await.done();
                seen.extend(each(&page[noun], "id").iter().map(|id| id.as_str().unwrap().to_owned()));
                pages += 1;
                let Some(cursor) = page["nextCursor"].as_str() else {
                    break;
                };
                next = format!("{path}?limit=7&cursor={cursor}");
            }
            let mut different = seen.clone();
            different.sort_unstable();
            different.dedup();
            assert_eq!((seen.len(), different.len(), pages), (all, all, 4), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn lists_of_conversations_are_filtered() {
    on_each(async |hub| {
        hub.told(text("wamid.1", ANN, "Ann Example", NOW - 60_000, "Hello"))
            .await;
        hub.told(text("wamid.2", BOB, "Bob van Example", NOW - 50_000, "Hi"))
            .await;
        let instagram = json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": NOW / 1000, "messaging": [{
        "sender": {"id": "1254459154682919"}, "recipient": {"id": ACCOUNT}, "timestamp": NOW - 40_000,
        "message": {"mid": "mid.1", "text": "Hey"}}]}]});
        assert_eq!(
            hub.notified(Platform::Instagram, instagram.to_string().as_bytes())
                .await
                .status,
            200
        );
        hub.process().await;

        let all = hub.get("/api/v1/conversations").await.done();
        let ids: Vec<String> = each(&all["conversations"], "id")
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect();
        let [of_instagram, of_bob, of_ann] = &ids[..] else {
            panic!("{all}")
        };
        let ann = all["conversations"][2]["contact"]["id"].as_str().unwrap().to_owned();
        hub.post(&format!("/api/v1/conversations/{of_bob}/read"), &json!({}))
            .await
            .done();
        let cases: [(String, &[&String]); 11] = [
            ("channel=whatsapp".to_owned(), &[of_bob, of_ann]),
            ("channel=instagram".to_owned(), &[of_instagram]),
            ("channel=telex".to_owned(), &[]),
            ("unread=true".to_owned(), &[of_instagram, of_ann]),
            ("unread=false".to_owned(), &[of_instagram, of_bob, of_ann]),
            ("status=open".to_owned(), &[of_instagram, of_bob, of_ann]),
            ("status=resolved".to_owned(), &[]),
            ("assignee=nobody".to_owned(), &[]),
            (format!("contact={ann}"), &[of_ann]),
            (format!("contact=con_{}", "0".repeat(32)), &[]),
            ("name=exam&channel=whatsapp".to_owned(), &[of_bob, of_ann]),
        ];
        for (query, expected) in cases {
            let list = hub.get(&format!("/api/v1/conversations?{query}")).await.done();
            assert_eq!(each(&list["conversations"], "id"), expected, "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn messages_show_what_answers_and_reactions_belong_to_them() {
    on_each(async |hub| {
        hub.told(text("wamid.1", ANN, "Ann", NOW - 60_000, "Hello")).await;
        let mut answer = text("wamid.2", ANN, "Ann", NOW - 50_000, "I mean this");
        answer["messages"][0]["context"] = json!({"from": ANN, "id": "wamid.1"});
        hub.told(answer).await;
        let mut reaction = text("wamid.3", ANN, "Ann", NOW - 40_000, "");
        reaction["messages"][0] = json!({"from": ANN, "id": "wamid.3", "timestamp": ((NOW - 40_000) / 1000).to_string(),
        "type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": "👍"}});
        hub.told(reaction).await;

        let conversation = only_conversation(hub).await;
        let path = format!(
            "/api/v1/conversations/{}/messages",
            conversation["id"].as_str().unwrap()
        );
        let list = hub.get(&path).await.done();
        let [second, first] = &list["messages"].as_array().unwrap()[..] else {
            panic!("{list}")
        };
        assert_eq!(list["nextCursor"], Value::Null);
        assert_eq!(
            second["replyTo"],
            json!({"externalId": "wamid.1", "messageId": first["id"]})
        );
        assert_eq!(first["replyTo"], Value::Null);
        assert_eq!(first["reactions"][0]["emoji"], "👍");
        assert_eq!(first["reactions"][0]["direction"], "inbound");
        assert_eq!(first["externalId"], "wamid.1");
        assert_eq!(first["conversationId"], conversation["id"]);
        assert_eq!(first["occurredAt"], "2026-11-22T07:59:00.000Z");
        assert_eq!(first["createdAt"], "2026-11-22T08:00:00.000Z");
        let event = hub
            .get(&format!("/api/webhooks/events/{}", first["eventId"].as_str().unwrap()))
            .await
            .done();
        assert_eq!(event["eventType"], "messages");
        for message in [first, second] {
            let single = hub
                .get(&format!("/api/v1/messages/{}", message["id"].as_str().unwrap()))
                .await
                .done();
            assert_eq!(&single, message);
        }
        let page = hub.get(&format!("{path}?limit=1")).await.done();
        let rest = hub
            .get(&format!(
                "{path}?limit=1&cursor={}",
                page["nextCursor"].as_str().unwrap()
            ))
            .await
            .done();
        assert_eq!((&page["messages"][0], &rest["messages"][0]), (second, first));
    })
    .await;
}

#[tokio::test]
async fn a_contact_shows_all_its_addresses() {
    on_each(async |hub| {
        let mut told = text("wamid.1", ANN, "Ann", NOW - 60_000, "Hello");
        told["contacts"][0]["user_id"] = json!("US.13491208655302741918");
        told["messages"][0]["from_user_id"] = json!("US.13491208655302741918");
        hub.told(told).await;
        let conversation = only_conversation(hub).await;
        let contact = hub
            .get(&format!(
                "/api/v1/contacts/{}",
                conversation["contact"]["id"].as_str().unwrap()
            ))
            .await
            .done();
        assert_eq!(contact["name"], "Ann");
        let mut kinds: Vec<(&str, &str)> = contact["identities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|identity| (identity["kind"].as_str().unwrap(), identity["value"].as_str().unwrap()))
            .collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [("phone", ANN), ("user_id", "US.13491208655302741918")]);
    })
    .await;
}

#[tokio::test]
async fn a_timeline_tells_everything_in_the_order_in_which_it_came() {
    on_each(async |hub| {
    hub.told(text("wamid.1", ANN, "Ann", NOW - 60_000, "Hello")).await;
    let body = json!({"channel": "whatsapp", "to": "+31612345678", "message": "Your table is ready", "metadata": {"order": 17}});
    let sent = hub.post("/api/v1/messages/send", &body).await.done();
    let path = format!("/api/v1/messages/{}", sent["messageId"].as_str().unwrap());
    let waiting = hub.get(&format!("{path}/timeline")).await.done();
    assert_eq!(each(&waiting["timeline"], "kind"), ["queued"]);
    assert_eq!(waiting["waiting"]["state"], "waiting");

    // Two tries, as a sender would note them; then Meta tells the rest, late and out of order.
    let message: MessageId = sent["messageId"].as_str().unwrap().parse().unwrap();
    try_to_send(hub, message, 500, r#"{"error":{"code":131016}}"#, Some(131_016)).await;
    try_to_send(hub, message, 200, r#"{"messages":[{"id":"wamid.out"}]}"#, None).await;
    let accepted = hub.app.store.write(move |tx| {
        let mut message = tx.lock_messages(&[message])?.remove(0);
        message.external_id = Some("wamid.out".to_owned());
        tx.update_messages(&[&message])
    });
    accepted.await.unwrap();
    hub.app.clock.advance(Duration::from_secs(5));
    hub.told(status("wamid.out", ANN, NOW + 2_000, "delivered")).await;
    hub.app.clock.advance(Duration::from_secs(5));
    hub.told(status("wamid.out", ANN, NOW + 1_000, "sent")).await;

    let timeline = hub.get(&format!("{path}/timeline")).await.done();
    assert_eq!(
        each(&timeline["timeline"], "kind"),
        ["queued", "attempt", "attempt", "delivered", "sent"]
    );
    let [_, failed, taken, delivered, sent] = &timeline["timeline"].as_array().unwrap()[..] else {
        unreachable!()
    };
    assert_eq!(failed["attempt"]["httpStatus"], 500);
    assert_eq!(failed["attempt"]["answer"], json!({"error": {"code": 131_016}}));
    assert_eq!(failed["attempt"]["error"]["code"], 131_016);
    assert!(
        failed["attempt"]["error"]["remedy"]
            .as_str()
            .is_some_and(|remedy| !remedy.is_empty()),
        "{failed}"
    );
    assert_eq!(taken["attempt"]["error"], Value::Null);
    assert_eq!(taken["attempt"]["durationMs"], 1.5);
    assert_eq!(
        (delivered["at"].as_str(), delivered["occurredAt"].as_str()),
        (Some("2026-11-22T08:00:05.020Z"), Some("2026-11-22T08:00:02.000Z"))
    );
    assert_eq!(
        (sent["at"].as_str(), sent["occurredAt"].as_str()),
        (Some("2026-11-22T08:00:10.020Z"), Some("2026-11-22T08:00:01.000Z"))
    );
    let event = hub
        .get(&format!(
            "/api/webhooks/events/{}",
            delivered["eventId"].as_str().unwrap()
        ))
        .await
        .done();
    assert_eq!(event["eventType"], "statuses");

    let message = hub.get(&path).await.done();
    assert_eq!(message["status"], "delivered");
    assert_eq!(message["statusTimes"]["delivered"], "2026-11-22T08:00:02.000Z");
    assert_eq!(message["statusTimes"]["sent"], "2026-11-22T08:00:01.000Z");
    assert_eq!(message["metadata"], json!({"order": 17}));
    assert_eq!(
        (message["direction"].as_str(), message["sender"].as_str()),
        (Some("outbound"), Some("api"))
    );
    }).await;
}

async fn try_to_send(hub: &Hub, message: MessageId, http_status: u16, answer: &'static str, code: Option<i64>) {
    let id: AttemptId = hub.app.ids.next();
    hub.app.clock.advance(Duration::from_millis(10));
    let started_at = hub.app.clock.now_millis();
    let attempt = Attempt {
        id,
        message_id: message,
        channel_id: ChannelId("whatsapp".to_owned()),
        started_at,
        ended: None,
        request: r#"{"type":"text"}"#.to_owned(),
    };
    let end = AttemptEnd {
        at: started_at + 2,
        outcome: if code.is_some() { "temporary" } else { "accepted" }.to_owned(),
        http_status: Some(http_status),
        failure: code.map(|code| Failure {
            code,
            subcode: None,
            text: "Service overloaded".to_owned(),
        }),
        answer: Some(answer.to_owned()),
        duration_micros: 1_500,
    };
    let noted = hub.app.store.write(move |tx| {
        tx.insert_attempts(std::slice::from_ref(&attempt))?;
        tx.finish_attempts(&[(attempt.id, end.clone())])
    });
    noted.await.unwrap();
}

#[tokio::test]
async fn a_failed_message_explains_itself() {
    on_each(async |hub| {
        hub.told(text("wamid.1", ANN, "Ann", NOW - 60_000, "Hello")).await;
        let body = json!({"channel": "whatsapp", "to": "+31612345678", "message": "Hi"});
        let sent = hub.post("/api/v1/messages/send", &body).await.done();
        let message: MessageId = sent["messageId"].as_str().unwrap().parse().unwrap();
        let accepted = hub.app.store.write(move |tx| {
            let mut message = tx.lock_messages(&[message])?.remove(0);
            message.external_id = Some("wamid.out".to_owned());
            tx.update_messages(&[&message])
        });
        accepted.await.unwrap();
        let mut failed = status("wamid.out", ANN, NOW + 1_000, "failed");
        failed["statuses"][0]["errors"] = json!([{"code": 131_026, "title": "Message undeliverable"}]);
        hub.told(failed).await;
        let message = hub.get(&format!("/api/v1/messages/{message}")).await.done();
        assert_eq!(
            (message["status"].as_str(), message["error"]["code"].as_i64()),
            (Some("failed"), Some(131_026))
        );
        for member in ["text", "meaning", "remedy"] {
            assert!(
                message["error"][member].as_str().is_some_and(|text| text.len() > 5),
                "{message}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn ids_of_merged_conversations_and_contacts_lead_to_what_they_became() {
    on_each(async |hub| {
        // Known by a user id alone, then by a phone alone; then one event says that both are one person.
        let mut by_user_id = text("wamid.1", "", "Ann", NOW - 60_000, "Hello");
        by_user_id["contacts"] = json!([{"profile": {"name": "Ann"}, "user_id": "US.1"}]);
        by_user_id["messages"][0]["from_user_id"] = json!("US.1");
        by_user_id["messages"][0].as_object_mut().unwrap().remove("from");
        hub.told(by_user_id).await;
        let first = only_conversation(hub).await;
        hub.told(text("wamid.2", ANN, "Ann", NOW - 50_000, "Me again")).await;
        let mut both = text("wamid.3", ANN, "Ann", NOW - 40_000, "It is me");
        both["contacts"][0]["user_id"] = json!("US.1");
        both["messages"][0]["from_user_id"] = json!("US.1");
        hub.told(both).await;

        let merged = only_conversation(hub).await;
        for (before, list) in [(&first, "conversations"), (&first["contact"], "contacts")] {
            let now = if list == "conversations" {
                &merged
            } else {
                &merged["contact"]
            };
            let led_to = hub
                .get(&format!("/api/v1/{list}/{}", before["id"].as_str().unwrap()))
                .await
                .done();
            assert_eq!(led_to["id"], now["id"], "{list}");
        }
        let by_old_id = hub
            .get(&format!(
                "/api/v1/conversations?contact={}",
                first["contact"]["id"].as_str().unwrap()
            ))
            .await
            .done();
        assert_eq!(each(&by_old_id["conversations"], "id"), [&merged["id"]]);
        let id: ConversationId = first["id"].as_str().unwrap().parse().unwrap();
        let messages = hub.get(&format!("/api/v1/conversations/{id}/messages")).await.done();
        assert_eq!(
            each(&messages["messages"], "externalId"),
            ["wamid.3", "wamid.2", "wamid.1"]
        );
    })
    .await;
}

#[tokio::test]
async fn channels_say_whether_they_can_send_and_when_they_were_last_heard() {
    on_each(async |hub| {
    hub.told(text("wamid.1", ANN, "Ann", NOW - 60_000, "Hello")).await;
    let channels = hub.get("/api/v1/channels").await.done();
    let expected = json!({"channels": [
        {"id": "instagram", "kind": "instagram", "platform": "instagram", "account": ACCOUNT, "businessAccount": null,
            "name": null, "source": "settings", "backupFor": null, "limits": {}, "usable": false, "status": "receive_only",
            "held": null, "circuit": null, "switched": null, "credentials": null, "lastEventAt": null, "lastEventOccurredAt": null},
        {"id": "whatsapp", "kind": "whatsapp", "platform": "whatsapp", "account": NUMBER, "businessAccount": null,
            "name": null, "source": "settings", "backupFor": null, "limits": {}, "usable": true, "status": "ready", "held": null, "circuit": null, "switched": null,
            "credentials": {"endsWith": "sapp", "version": 1, "changedAt": "2026-11-22T08:00:00.000Z"},
            "lastEventAt": "2026-11-22T08:00:00.000Z", "lastEventOccurredAt": "2026-11-22T07:59:00.000Z"},
    ], "nextCursor": null});
    assert_eq!(channels, expected);
    }).await;
}
