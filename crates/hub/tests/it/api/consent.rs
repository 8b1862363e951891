//! What a contact wants to be sent: shown, noted by callers, told live, audited; and what is refused.

use axum::body::Body;
use axum::http::{Method, header};
use serde_json::{Value, json};
use tidings_meta::notification::Platform;

use super::{Answer, Hub, NOW, NUMBER, each, on_each, request, text};

const ANN: &str = "31612345678";

async fn put(hub: &Hub, contact: &str, body: &Value) -> Answer {
    let mut request = request(
        Method::PUT,
        &format!("/api/v1/contacts/{contact}/consent"),
        Body::from(body.to_string()),
    );
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    hub.call(request).await
}

async fn consent(hub: &Hub, contact: &str) -> Value {
    hub.get(&format!("/api/v1/contacts/{contact}/consent")).await.done()
}

/// How they stand to advertising and to everything else.
fn statuses(consent: &Value) -> (&str, &str) {
    let status = |purpose: &str| consent[purpose]["status"].as_str().unwrap();
    (status("marketing"), status("service"))
}

/// Ann has written, and is known by this.
async fn ann(hub: &Hub) -> String {
    hub.told(text("wamid.1", ANN, "Ann", NOW - 60_000, "Hello")).await;
    let contacts = hub.get("/api/v1/contacts").await.done();
    contacts["contacts"][0]["id"].as_str().unwrap().to_owned()
}

/// She says in WhatsApp's menu whether she wants advertising.
async fn prefers(hub: &Hub, value: &str, at: i64) {
    let preference = json!({"wa_id": ANN, "detail": "User requested it", "category": "marketing_messages",
        "value": value, "timestamp": at / 1_000});
    let value = json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER}, "user_preferences": [preference]});
    let body = json!({"object": "whatsapp_business_account",
        "entry": [{"id": "102290129340398", "changes": [{"field": "user_preferences", "value": value}]}]});
    hub.notified(Platform::WhatsApp, body.to_string().as_bytes())
        .await
        .done();
    hub.process().await;
}

#[tokio::test]
async fn what_is_noted_is_shown_with_who_said_it_and_stands_by_its_time() {
    on_each(async |hub| {
    let ann = ann(hub).await;
    let nothing = consent(hub, &ann).await;
    assert_eq!(
        nothing,
        json!({"contactId": ann, "marketing": {"status": "unknown", "statements": []},
            "service": {"status": "unknown", "statements": []}, "history": [], "nextCursor": null})
    );
    let body = json!({"marketing": "opted_in", "note": " ticked the box "});
    let noted = put(hub, &ann, &body).await.done();
    let statement = json!({"purpose": "marketing", "status": "opted_in", "source": "api", "keeper": "tidings",
        "at": "2026-11-22T08:00:00.000Z", "notedAt": "2026-11-22T08:00:00.000Z", "detail": "ticked the box", "actor": "admin"});
    assert_eq!(
        noted["marketing"],
        json!({"status": "opted_in", "statements": [statement]})
    );
    assert_eq!(noted["history"], json!([statement]));
    assert_eq!(consent(hub, &ann).await, noted);
    // What stands is not noted again.
    assert_eq!(put(hub, &ann, &body).await.done(), noted);

    // Said earlier, learnt later: what was said last stands.
    let earlier = json!({"marketing": "opted_out", "service": "opted_out", "at": "2026-11-22T07:00:00Z"});
    let noted = put(hub, &ann, &earlier).await.done();
    assert_eq!(statuses(&noted), ("opted_in", "opted_out"));
    assert_eq!(
        each(&noted["history"], "status"),
        ["opted_in", "opted_out", "opted_out"]
    );
    assert_eq!(put(hub, &ann, &earlier).await.done()["history"], noted["history"]);

    // By pages, each once.
    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = hub
            .get(&format!("/api/v1/contacts/{ann}/consent?limit=1{cursor}"))
            .await
            .done();
        walked.extend(page["history"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(walked), noted["history"]);

    let audit = hub.get(&format!("/api/v1/audit?subject=contact:{ann}")).await.done();
    assert_eq!(each(&audit["entries"], "action"), ["contact.consent"; 2]);
    assert_eq!(
        audit["entries"][1]["detail"],
        json!({"before": {"marketing": "unknown", "service": "unknown"}, "after": {"marketing": "opted_in", "service": "unknown"}})
    );
    assert_eq!(audit["entries"][0]["actor"], "admin");
    }).await;
}

#[tokio::test]
async fn what_is_wrong_with_it_is_named() {
    on_each(async |hub| {
        let ann = ann(hub).await;
        for (body, field) in [
            (json!({}), "marketing"),
            (json!({"note": "x"}), "marketing"),
            (json!({"marketing": "yes"}), "marketing"),
            (json!({"marketing": "unknown"}), "marketing"),
            (json!({"service": true}), "service"),
            (json!({"service": "opted_in", "at": "yesterday"}), "at"),
            (json!({"service": "opted_in", "at": "2026-11-22T08:00:01Z"}), "at"),
            (json!({"service": "opted_in", "at": "1969-11-22T08:00:00Z"}), "at"),
            (json!({"service": "opted_in", "note": "x".repeat(501)}), "note"),
            (json!({"service": "opted_in", "who": "me"}), "who"),
        ] {
            let (status, code, problem) = put(hub, &ann, &body).await.refused();
            assert_eq!((status, code.as_str()), (422, "invalid_field"), "{body}");
            assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        }
        assert_eq!(consent(hub, &ann).await["history"], json!([]));
        let nobody = format!("con_{}", "0".repeat(32));
        let body = json!({"marketing": "opted_out"});
        assert_eq!(put(hub, &nobody, &body).await.refused().0, 404);
        assert_eq!(
            hub.get(&format!("/api/v1/contacts/{nobody}/consent")).await.refused().0,
            404
        );
        let wrong = hub.get(&format!("/api/v1/contacts/{ann}/consent?cursor=x")).await;
        assert_eq!(wrong.refused().1, "invalid_cursor");
        let wrong = hub.get(&format!("/api/v1/contacts/{ann}/consent?limit=0")).await;
        assert_eq!(wrong.refused().1, "invalid_limit");
    })
    .await;
}

#[tokio::test]
async fn events_in_any_order_and_repeated_leave_the_same() {
    let said = [
        ("wamid.2", "STOP", NOW - 50_000),
        ("wamid.3", "start", NOW - 40_000),
        ("wamid.4", "Afmelden!", NOW - 30_000),
    ];
    let mut left = Vec::new();
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]] {
        on_each(async |hub| {
            let ann = ann(hub).await;
            for step in order.into_iter().chain(order) {
                match step {
                    3 => prefers(hub, "stop", NOW - 20_000).await,
                    4 => prefers(hub, "resume", NOW - 10_000).await,
                    step => {
                        let (id, words, at) = said[step];
                        hub.told(text(id, ANN, "Ann", at, words)).await;
                    }
                }
            }
            let mut consent = consent(hub, &ann).await;
            assert_eq!(statuses(&consent), ("opted_out", "opted_out"));
            let standing = consent["marketing"]["statements"].as_array().unwrap();
            assert_eq!(each(&json!(standing), "status"), ["opted_out", "opted_in"]);
            assert_eq!(each(&json!(standing), "keeper"), ["tidings", "whatsapp"]);
            assert_eq!(standing[0]["detail"], "Afmelden!");
            let told_by = hub
                .get(&format!(
                    "/api/v1/messages/{}",
                    standing[0]["messageId"].as_str().unwrap()
                ))
                .await
                .done();
            assert_eq!(told_by["content"]["text"], "Afmelden!");
            assert!(standing[1]["eventId"].is_string(), "{consent}");
            // Ids differ by what came first.
            for list in ["/history", "/marketing/statements", "/service/statements"] {
                for statement in consent.pointer_mut(list).unwrap().as_array_mut().unwrap() {
                    let statement = statement.as_object_mut().unwrap();
                    statement.remove("messageId");
                    statement.remove("eventId");
                }
            }
            consent.as_object_mut().unwrap().remove("contactId");
            assert_eq!(consent["history"].as_array().unwrap().len(), 8);
            left.push(consent);
        })
        .await;
    }
    for other in &left {
        assert_eq!(other, &left[0]);
    }
}

#[tokio::test]
async fn an_unknown_wish_and_one_of_another_category_change_nothing() {
    on_each(async |hub| {
        let ann = ann(hub).await;
        prefers(hub, "ponder", NOW - 20_000).await;
        assert_eq!(statuses(&consent(hub, &ann).await), ("unknown", "unknown"));
        prefers(hub, "signup", NOW - 10_000).await;
        assert_eq!(statuses(&consent(hub, &ann).await), ("opted_in", "unknown"));
    })
    .await;
}

#[tokio::test]
async fn an_opt_out_withdraws_what_waits_and_says_why() {
    on_each(async |hub| {
        let ann = ann(hub).await;
        let send = async |more: Value| {
            let mut body = json!({"channel": "whatsapp", "to": format!("+{ANN}"), "message": "Hi"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let sent = hub.post("/api/v1/messages/send", &body).await.done();
            sent["messageId"].as_str().unwrap().to_owned()
        };
        let service = send(json!({})).await;
        let marketing = send(json!({"purpose": "marketing"})).await;
        let later = send(json!({"purpose": "marketing", "sendAt": "2026-11-22T09:00:00Z"})).await;
        put(hub, &ann, &json!({"marketing": "opted_out"})).await.done();
        for (id, status) in [(&service, "queued"), (&marketing, "cancelled"), (&later, "cancelled")] {
            let message = hub.get(&format!("/api/v1/messages/{id}")).await.done();
            assert_eq!(message["status"], status, "{message}");
            if status == "cancelled" {
                assert_eq!(
                    message["error"]["text"],
                    "the contact wants no advertising (it was noted by the API, 2026-11-22T08:00:00.000Z)"
                );
            }
        }
        let body = json!({"channel": "whatsapp", "to": format!("+{ANN}"), "message": "Hi", "purpose": "marketing"});
        let (status, code, problem) = hub.post("/api/v1/messages/send", &body).await.refused();
        assert_eq!((status, code.as_str()), (409, "contact_opted_out"));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&ann) && detail.contains("noted by the API"), "{detail}");
        // In a batch each has an answer of its own.
        let mut harmless = body.clone();
        harmless["purpose"] = json!("service");
        let batch = hub
            .post("/api/v1/messages/batch", &json!({"messages": [body, harmless]}))
            .await
            .done();
        assert_eq!(batch["results"][0]["problem"]["error"], "contact_opted_out", "{batch}");
        assert!(batch["results"][1]["messageId"].is_string(), "{batch}");

        put(hub, &ann, &json!({"service": "opted_out"})).await.done();
        let message = hub.get(&format!("/api/v1/messages/{service}")).await.done();
        assert_eq!(message["status"], "cancelled");
    })
    .await;
}
