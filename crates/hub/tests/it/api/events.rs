//! The log of events, replays, and the quarantine.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tidings_meta::notification::Platform;

use super::{Hub, NOW, NUMBER, each, on_each, status, text};
use crate::harness::Engine;

const ANN: &str = "31612345678";

/// Three messages, a status of a message that nobody knows, and an event that nobody understands.
async fn some_events(hub: &Hub) {
    for number in 1..=3 {
        hub.told(text(
            &format!("wamid.{number}"),
            ANN,
            "Ann",
            NOW - number * 1000,
            "Hello",
        ))
        .await;
        hub.app.clock.advance(std::time::Duration::from_mins(1));
    }
    hub.told(status("wamid.elsewhere", ANN, NOW, "sent")).await;
    let unknown = json!({"object": "whatsapp_business_account",
        "entry": [{"id": "102290129340398", "changes": [{"field": "moon_phase", "value": {"phase": "full"}}]}]});
    assert_eq!(
        hub.notified(Platform::WhatsApp, unknown.to_string().as_bytes())
            .await
            .status,
        StatusCode::OK
    );
    hub.process().await;
}

#[tokio::test]
async fn events_are_listed_the_newest_first_with_their_total() {
    on_each(async |hub| {
    some_events(hub).await;
    let list = hub.get("/api/webhooks/events").await.done();
    assert_eq!(
        each(&list["events"], "eventType"),
        ["unknown", "statuses", "messages", "messages", "messages"]
    );
    assert_eq!(
        (
            &list["total"],
            &list["totalIsExact"],
            &list["limit"],
            &list["offset"],
            &list["nextCursor"]
        ),
        (&json!(5), &json!(true), &json!(50), &json!(0), &Value::Null)
    );
    let event = &list["events"][4];
    let expected = json!({"id": event["id"], "channelKind": "whatsapp", "channelId": "whatsapp", "eventType": "messages",
        "accountId": NUMBER, "externalId": event["externalId"], "occurredAt": "2026-11-22T07:59:59.000Z",
        "receivedAt": "2026-11-22T08:00:00.000Z", "signed": true, "status": "processed", "attempts": 1, "error": null,
        "processedAt": "2026-11-22T08:00:00.000Z", "processingMs": event["processingMs"]});
    assert_eq!(event, &expected);
    let single = hub
        .get(&format!("/api/webhooks/events/{}", event["id"].as_str().unwrap()))
        .await
        .done();
    assert_eq!(single["payload"]["changes"][0]["value"]["messages"][0]["id"], "wamid.1");
    assert_eq!(single["externalId"], event["externalId"]);
    }).await;
}

#[tokio::test]
async fn lists_of_events_are_filtered_and_counted() {
    on_each(async |hub| {
        some_events(hub).await;
        let cases = [
            ("eventType=messages", 3),
            ("eventType=message", 3),
            ("eventType=message_status", 1),
            ("status=processed", 4),
            ("status=ignored", 1),
            ("status=dead", 0),
            ("status=pending", 0),
            ("channelKind=whatsapp", 5),
            ("channelKind=instagram", 0),
            ("channelKind=whatsapp&eventType=messages&status=processed", 3),
            ("channel=whatsapp", 4),
            ("channel=instagram", 0),
            (&*format!("account={NUMBER}"), 4),
            (&*format!("account={NUMBER}&eventType=statuses"), 1),
            ("account=1", 0),
            ("q=wamid.2", 1),
            ("q=WAMID.2", 1),
            ("q=moon_phase", 1),
            ("q=moon%25phase", 0),
            ("q=Hello&eventType=messages", 3),
            ("q=moon&status=ignored", 1),
            ("from=2026-11-22T08:01:00Z", 4),
            ("from=2026-11-22T08:01:00Z&to=2026-11-22T08:02:00Z", 1),
            ("to=2026-11-22T08:00:00Z", 0),
            ("from=2026-11-22T10:01:00%2B02:00&eventType=messages", 2),
        ];
        for (query, count) in cases {
            let list = hub.get(&format!("/api/webhooks/events?{query}")).await.done();
            assert_eq!(
                (list["events"].as_array().unwrap().len(), &list["total"]),
                (count, &json!(count)),
                "{query}"
            );
            assert_eq!(list["totalIsExact"], true, "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn lists_of_events_go_on_by_offset_and_by_cursor() {
    on_each(async |hub| {
        some_events(hub).await;
        let all = hub.get("/api/webhooks/events").await.done();
        let ids = each(&all["events"], "id");
        let page = hub.get("/api/webhooks/events?limit=2&offset=1").await.done();
        assert_eq!(each(&page["events"], "id"), ids[1..3]);
        assert_eq!(
            (&page["offset"], &page["limit"], &page["total"]),
            (&json!(1), &json!(2), &json!(5))
        );
        let mut seen = 0;
        let mut cursor = String::new();
        while seen < ids.len() {
            let page = hub
                .get(&format!("/api/webhooks/events?limit=2&q=a&cursor={cursor}"))
                .await
                .done();
            let on_page = each(&page["events"], "id");
            assert_eq!(on_page, ids[seen..(seen + 2).min(ids.len())]);
            assert_eq!(page["total"], 5, "the total is that of the whole list");
            seen += on_page.len();
            cursor = page["nextCursor"].as_str().unwrap_or_default().to_owned();
            assert_eq!(cursor.is_empty(), seen == ids.len());
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_is_replayed_and_stands_once() {
    on_each(async |hub| {
        some_events(hub).await;
        let list = hub.get("/api/webhooks/events?eventType=messages").await.done();
        let path = format!("/api/webhooks/events/{}", list["events"][0]["id"].as_str().unwrap());
        let answer = hub.post(&format!("{path}/replay"), &json!({})).await;
        assert_eq!(
            (answer.status, answer.done()),
            (StatusCode::ACCEPTED, json!({"replayed": 1, "nextCursor": null}))
        );
        assert_eq!(hub.get(&path).await.done()["status"], "pending");
        // It waits already.
        assert_eq!(
            hub.post(&format!("{path}/replay"), &json!({})).await.done()["replayed"],
            0
        );
        assert_eq!(hub.get("/api/webhooks/events?status=pending").await.done()["total"], 1);
        hub.process().await;
        assert_eq!(hub.get(&path).await.done()["status"], "processed");
        let conversations = hub.get("/api/v1/conversations").await.done();
        assert_eq!(conversations["conversations"][0]["unread"], 3);
    })
    .await;
}

#[tokio::test]
async fn events_are_replayed_by_filter() {
    on_each(async |hub| {
        some_events(hub).await;
        let cases = [
            (json!({"status": "ignored"}), 1),
            (json!({"eventType": "message", "channel": "whatsapp"}), 3),
            (json!({"from": "2026-11-22T08:01:00Z", "to": "2026-11-22T08:02:00Z"}), 1),
            (json!({"status": "dead"}), 0),
            (json!({"q": "wamid.2", "account": NUMBER, "channelKind": "whatsapp"}), 1),
            (json!({}), 5),
        ];
        for (filter, count) in cases {
            let answer = hub.post("/api/webhooks/events/replay", &filter).await;
            assert_eq!(
                (answer.status, answer.done()),
                (StatusCode::ACCEPTED, json!({"replayed": count, "nextCursor": null})),
                "{filter}"
            );
            hub.process().await;
            assert_eq!(hub.get("/api/webhooks/events?status=pending").await.done()["total"], 0);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_what_meta_sends_is_in_quarantine() {
    on_each(async |hub| {
        let long = format!("[{}]", "1,".repeat(5_000));
        for body in [&b"not json"[..], b"\xff\xfe", long.as_bytes()] {
            let answer = hub.notified(Platform::Instagram, body).await;
            assert_eq!(answer.refused().1, "invalid_payload");
            hub.app.clock.advance(std::time::Duration::from_secs(1));
        }
        let list = hub.get("/api/webhooks/notifications/quarantined").await.done();
        assert_eq!(
            each(&list["notifications"], "bodyBytes"),
            [&json!(long.len()), &json!(2), &json!(8)]
        );
        assert_eq!(list["notifications"][0]["bodyStart"].as_str().unwrap().len(), 4_096);
        assert_eq!(list["notifications"][1]["bodyStart"], "\u{fffd}\u{fffd}");
        assert_eq!(list["notifications"][2]["bodyStart"], "not json");
        assert_eq!(list["notifications"][2]["receivedAt"], "2026-11-22T08:00:00.000Z");
        assert_eq!(list["notifications"][2]["channelKind"], "instagram");
        assert!(
            list["notifications"][2]["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty())
        );
        let page = hub.get("/api/webhooks/notifications/quarantined?limit=2").await.done();
        let rest = format!(
            "/api/webhooks/notifications/quarantined?cursor={}",
            page["nextCursor"].as_str().unwrap()
        );
        assert_eq!(
            each(&hub.get(&rest).await.done()["notifications"], "bodyBytes"),
            [&json!(8)]
        );
    })
    .await;
}

#[tokio::test]
async fn an_event_that_the_store_refuses_is_kept_and_left_dead_and_harms_nobody() {
    on_each(async |hub| {
    let poison = match hub.engine() {
        Engine::Sqlite => {
            "CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.external_id = 'wamid.poison'
             BEGIN SELECT RAISE(ABORT, 'it is poisoned'); END"
        }
        Engine::Postgres => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it is poisoned'; END $$;
             CREATE TRIGGER poison BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.external_id = 'wamid.poison')
             EXECUTE FUNCTION refuse()"
        }
    };
    hub.database.execute(poison).await;
    let mut both = text("wamid.poison", ANN, "Ann", NOW, "Hello");
    let healthy = text("wamid.healthy", ANN, "Ann", NOW, "Hello again")["messages"][0].clone();
    both["messages"].as_array_mut().unwrap().push(healthy);
    hub.told(both).await;
    let status = async |id: &str| {
        let list = hub.get(&format!("/api/webhooks/events?q={id}")).await.done();
        list["events"][0]["status"].as_str().unwrap_or("not kept").to_owned()
    };
    assert_eq!(status("wamid.healthy").await, "processed");
    assert_eq!(status("wamid.poison").await, "pending");
    // Those who come after it are kept, and processed, whichever way they go.
    for number in 1..=3 {
        hub.told(text(&format!("wamid.after.{number}"), ANN, "Ann", NOW, "And now?"))
            .await;
        assert_eq!(status(&format!("wamid.after.{number}")).await, "processed");
    }
    for _ in 0..4 {
        hub.app.clock.advance(std::time::Duration::from_mins(5));
        hub.process().await;
    }
    assert_eq!(status("wamid.poison").await, "dead");
    let list = hub.get("/api/webhooks/events?status=dead").await.done();
    assert_eq!(list["total"], 1);
    assert!(list["events"][0]["error"].as_str().unwrap().contains("poisoned"));
    let mend = match hub.engine() {
        Engine::Sqlite => "DROP TRIGGER poison",
        Engine::Postgres => "DROP TRIGGER poison ON messages",
    };
    hub.database.execute(mend).await;
    let id = list["events"][0]["id"].as_str().unwrap();
    let replay = format!("/api/webhooks/events/{id}/replay");
    assert_eq!(hub.post(&replay, &json!({})).await.status, StatusCode::ACCEPTED);
    hub.process().await;
    assert_eq!(status("wamid.poison").await, "processed");
    }).await;
}
