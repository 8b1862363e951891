//! Message templates: kept in step with Meta, held against what is sent, stopped when Meta stops them, made and changed at Meta.

#![allow(clippy::needless_pass_by_value, reason = "a test is written where it is run")]

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, LedgerKind, Template, TemplateChange, TemplateQuality, TemplateStatus};

use crate::harness::{ADMIN_KEY, Answer, BUSINESS_ACCOUNT, Harness, NUMBER, Setup, WITHIN, on_both, on_both_with};

const SEND: &str = "/api/v1/messages/send";
const PHONE: &str = "+447700900101";
const BOOKING: &str = "mr_dj_booking_confirmation";
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

fn with(name: &str, values: &[&str]) -> Value {
    let parameters: Vec<Value> = values
        .iter()
        .map(|text| json!({"type": "text", "text": text}))
        .collect();
    json!({"channel": "whatsapp", "to": PHONE, "content": {"type": "template", "name": name, "language": "en_US",
        "components": if parameters.is_empty() { json!([]) } else { json!([{"type": "body", "parameters": parameters}]) }}})
}

async fn call(harness: &Harness, method: Method, path: &str, body: &Value) -> Answer {
    harness
        .answer(harness.request(method, path).bearer_auth(ADMIN_KEY).json(body))
        .await
}

async fn templates(harness: &Harness, query: &str) -> Vec<Value> {
    let answer = harness.get(&format!("/api/v1/templates?{query}")).await.expect(200);
    answer["templates"].as_array().unwrap().clone()
}

/// The one with this name, in whatever state it is.
async fn template(harness: &Harness, name: &str) -> Value {
    let mut found = templates(harness, &format!("q={name}&limit=200")).await;
    if found.is_empty() {
        found = templates(harness, &format!("q={name}&status=deleted")).await;
    }
    found.into_iter().find(|one| one["name"] == name).unwrap_or_default()
}

/// The templates were read, and nothing asks for them to be read anew.
async fn in_step(harness: &Harness) {
    harness
        .until("the templates are in step", async |harness| {
            let store = &harness.hub().app().store;
            let now = harness.clock.now_millis();
            let state = store.read(|tx| tx.template_sync(BUSINESS_ACCOUNT)).await.unwrap()?;
            (state.synced_at.is_some() && state.due_at > now + 100_000 && state.error.is_none()).then_some(())
        })
        .await;
    // What is claimed is due in two minutes; what was read, in an hour.
    harness
        .until("nobody reads the templates", async |harness| {
            let sync = harness.get("/api/v1/templates/sync").await.expect(200);
            let next = sync["accounts"][0]["nextAt"]
                .as_str()?
                .parse::<jiff::Timestamp>()
                .unwrap();
            (next.as_millisecond() > harness.clock.now_millis() + 600_000).then_some(())
        })
        .await;
}

async fn told(harness: &Harness) {
    harness.projected().await;
    in_step(harness).await;
}

fn change(harness: &Harness, name: &str, change: impl Into<TemplateChange>) {
    harness.sandbox.change_template(name, "en_US", change).unwrap();
}

async fn waits_for(harness: &Harness, id: &str) -> Value {
    harness
        .until(&format!("{id} waits"), async |harness| {
            let (_, document) = harness.timeline(id).await;
            let waiting = document["waiting"].clone();
            (waiting["waitsFor"] == "template_paused").then_some(waiting)
        })
        .await
}

#[tokio::test]
async fn templates_are_known_from_the_start_and_searched() {
    let mut setup = Setup::default();
    for number in 0..230 {
        let mut template = Template::utility(&format!("t{number:03}"), "All is well.");
        template.category = if number % 2 == 0 { "MARKETING" } else { "UTILITY" }.to_owned();
        setup.sandbox.world.templates.push(template);
    }
    on_both_with(setup, async |harness| {
        in_step(harness).await;
        // Three pages of Meta's, two of ours.
        let first = harness.get("/api/v1/templates?limit=200").await.expect(200);
        assert_eq!(first["templates"].as_array().unwrap().len(), 200);
        let cursor = first["nextCursor"].as_str().unwrap();
        let second = harness
            .get(&format!("/api/v1/templates?limit=200&cursor={cursor}"))
            .await
            .expect(200);
        assert_eq!(second["templates"].as_array().unwrap().len(), 32);
        assert_eq!(second["nextCursor"], Value::Null);

        let booking = template(harness, BOOKING).await;
        assert_eq!(booking["status"], "approved");
        assert_eq!(booking["channels"], json!(["whatsapp"]));
        assert_eq!(booking["parameters"]["body"], json!(["1", "2"]));
        assert_eq!(booking["parameters"]["format"], "positional");
        for (query, count) in [
            ("q=SEE%20YOU%20there", 1),
            ("category=marketing&limit=200", 115),
            ("status=approved&channel=whatsapp&limit=5", 5),
            ("language=nl", 0),
            ("channel=instagram", 0),
        ] {
            assert_eq!(templates(harness, query).await.len(), count, "{query}");
        }
        harness
            .get("/api/v1/templates?channel=nowhere")
            .await
            .problem(422, "unknown_channel");
        harness
            .get("/api/v1/templates?colour=red")
            .await
            .problem(400, "invalid_parameter");
        let id = booking["id"].as_str().unwrap();
        assert_eq!(
            harness.get(&format!("/api/v1/templates/{id}")).await.expect(200),
            booking
        );
        harness
            .get("/api/v1/templates/tpl_00000000000000000000000000000000")
            .await
            .problem(404, "not_found");

        let values = with(BOOKING, &["Friday", "eight"])["content"]["components"].clone();
        let path = format!("/api/v1/templates/{id}/preview");
        let preview = harness.post(&path, &json!({ "components": values })).await.expect(200);
        assert_eq!(
            preview["body"],
            "Your booking on Friday at eight is confirmed. See you there!"
        );
        assert_eq!(preview["errors"], json!([]));
        let preview = harness.post(&path, &json!({})).await.expect(200);
        assert_eq!(
            preview["text"],
            "Your booking on {{1}} at {{2}} is confirmed. See you there!"
        );
        assert_eq!(preview["errors"][0]["field"], "components");
    })
    .await;
}

#[tokio::test]
async fn a_template_that_changes_at_meta_is_known_within_its_event() {
    on_both(async |harness| {
        in_step(harness).await;
        let sent = harness.send(with(BOOKING, &["Friday", "eight"])).await;
        harness.message_until(&sent, "accepted").await;
        change(
            harness,
            BOOKING,
            TemplateChange {
                components: Some(vec![
                    json!({"type": "BODY", "text": "Hi {{guest_name}}, your table is booked."}),
                ]),
                ..TemplateChange::default()
            },
        );
        harness.projected().await;
        // At once, whether or not the list was read anew meanwhile.
        let refused = harness.post(SEND, &with(BOOKING, &["Friday", "eight"])).await;
        let problem = refused.problem(422, "template_not_usable");
        assert_eq!(problem["errors"][0]["field"], "content.components[0].parameters");
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(
            detail.contains("1 value: `{{guest_name}}` now") && detail.contains("this has 2"),
            "{detail}"
        );
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("it takes in the body `{{guest_name}}`"),
            "{problem}"
        );
        told(harness).await;
        let mut order = with(BOOKING, &["Ann"]);
        harness.post(SEND, &order).await.problem(422, "template_not_usable");
        order["content"]["components"][0]["parameters"][0]["parameter_name"] = json!("guest_name");
        let sent = harness.send(order).await;
        harness.message_until(&sent, "accepted").await;
        assert_eq!(
            harness.phone("amara", NUMBER).await[1]["text"],
            "Hi Ann, your table is booked."
        );
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_the_queue() {
    on_both(async |harness| {
        in_step(harness).await;
        let refuse = async |order: &Value, field: &str, detail: &str| {
            let problem = harness.post(SEND, order).await.problem(422, "template_not_usable");
            assert_eq!(problem["errors"][0]["field"], field, "{problem}");
            let said = problem["errors"][0]["detail"].as_str().unwrap();
            assert!(said.contains(detail), "{said}");
        };
        refuse(&with("nowhere", &[]), "content.name", "no template `nowhere`").await;
        let mut dutch = with(BOOKING, &["a", "b"]);
        dutch["content"]["language"] = json!("nl");
        refuse(&dutch, "content.language", "has `en_US`").await;
        refuse(
            &with(BOOKING, &[]),
            "content.components",
            "lacks a `body` with 2 values",
        )
        .await;
        refuse(
            &with(BOOKING, &["a", "b\nc"]),
            "content.components[0].parameters[1]",
            "line breaks",
        )
        .await;
        refuse(
            &with("hello_world", &["a"]),
            "content.components[0].parameters",
            "takes no values now",
        )
        .await;
        let mut ready = json!({"channel": "whatsapp", "to": PHONE, "message": "Hi",
            "fallbackTemplate": with(BOOKING, &["a"])["content"]});
        ready["fallbackTemplate"].as_object_mut().unwrap().remove("type");
        refuse(&ready, "fallbackTemplate.components[0].parameters", "this has 1").await;
        for (status, detail) in [
            (TemplateStatus::Rejected, "`rejected`"),
            (TemplateStatus::Disabled, "is disabled by Meta"),
        ] {
            change(harness, "hello_world", status);
            // Not only processed: what an event has read anew must not be read later, and count as a reading of then.
            told(harness).await;
            refuse(&with("hello_world", &[]), "content.name", detail).await;
        }
        assert!(harness.conversations().await.is_empty(), "nothing was queued");

        // What was made at Meta a moment ago is known soon after it was asked for in vain.
        harness.pass(MINUTE).await;
        let token = harness.sandbox.environment();
        let (_, token) = token.iter().find(|(name, _)| name == "WHATSAPP_ACCESS_TOKEN").unwrap();
        let url = format!("{}/v26.0/{BUSINESS_ACCOUNT}/message_templates", harness.sandbox.url());
        let draft = json!({"name": "brand_new", "language": "en_US", "category": "UTILITY",
            "components": [{"type": "BODY", "text": "It is brand new."}]});
        let http = reqwest::Client::builder().no_proxy().timeout(WITHIN).build().unwrap();
        let made = http.post(url).bearer_auth(token).json(&draft).send().await.unwrap();
        assert_eq!(made.status(), 200);
        refuse(&with("brand_new", &[]), "content.name", "no template").await;
        harness
            .until("it is known", async |harness| {
                (template(harness, "brand_new").await["status"] == "pending").then_some(())
            })
            .await;
        refuse(&with("brand_new", &[]), "content.name", "`pending`").await;
    })
    .await;
}

#[tokio::test]
async fn where_nothing_was_ever_read_meta_decides() {
    let mut setup = Setup::default().with("TIDINGS_TEMPLATES_SYNC_SECS", "0");
    setup
        .sandbox
        .world
        .templates
        .push(Template::utility("unknown_here", "It is known at Meta."));
    on_both_with(setup, async |harness| {
        harness.foresee_refusals(&[132_001]);
        let sent = harness.send(with("unknown_here", &[])).await;
        harness.message_until(&sent, "accepted").await;
        assert!(templates(harness, "").await.is_empty());
        let lost = harness.send(with("nowhere", &[])).await;
        let failed = harness.message_until(&lost, "failed").await;
        assert_eq!(failed["error"]["code"], 132_001);
        // A refusal says that they are worth reading.
        in_step_without_schedule(harness).await;
        harness
            .post(SEND, &with("nowhere", &[]))
            .await
            .problem(422, "template_not_usable");
    })
    .await;
}

async fn in_step_without_schedule(harness: &Harness) {
    harness
        .until("the templates were read", async |harness| {
            (!templates(harness, "").await.is_empty()).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_channel_without_an_account_leaves_templates_to_meta() {
    let setup = Setup::default().without("WHATSAPP_BUSINESS_ACCOUNT_ID");
    on_both_with(setup, async |harness| {
        let sent = harness.send(with("hello_world", &[])).await;
        harness.message_until(&sent, "accepted").await;
        let draft =
            json!({"channel": "whatsapp", "name": "x", "language": "en_US", "category": "utility", "components": []});
        let problem = harness
            .post("/api/v1/templates", &draft)
            .await
            .problem(422, "invalid_field");
        assert!(
            problem["errors"][0]["detail"]
                .as_str()
                .unwrap()
                .contains("businessAccount"),
            "{problem}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_pause_stops_what_is_queued_and_its_end_lets_it_go() {
    on_both(async |harness| {
        in_step(harness).await;
        harness.post("/admin/outbound/stop", &json!({})).await.expect(200);
        let order = with("hello_world", &[]);
        let queued = harness.post(&format!("{SEND}?queue=true"), &order).await.expect(202);
        let id = queued["messageId"].as_str().unwrap().to_owned();
        change(harness, "hello_world", TemplateStatus::Paused);
        told(harness).await;
        let paused = template(harness, "hello_world").await;
        assert_eq!(paused["status"], "paused");
        let until = paused["pausedUntil"].as_str().unwrap().to_owned();

        harness.post("/admin/outbound/start", &json!({})).await.expect(200);
        let waiting = waits_for(harness, &id).await;
        assert_eq!(waiting["waitsUntil"], until.as_str());
        assert!(
            waiting["reason"].as_str().unwrap().contains("paused by Meta"),
            "{waiting}"
        );
        let problem = harness.post(SEND, &order).await.problem(422, "template_not_usable");
        assert!(
            problem["errors"][0]["detail"].as_str().unwrap().contains(&until),
            "{problem}"
        );
        let other = harness.post(&format!("{SEND}?queue=true"), &order).await.expect(202);
        let other = other["messageId"].as_str().unwrap().to_owned();
        assert!(harness.ledger(LedgerKind::Accepted).is_empty());
        assert_eq!(
            harness
                .metric("tidings_template_changes_total{status=\"paused\"}")
                .await,
            1
        );

        // It goes on by itself after three hours, and is heard of.
        harness.pass(HOUR * 3).await;
        told(harness).await;
        harness.message_until(&id, "accepted").await;
        harness.message_until(&other, "accepted").await;
        assert_eq!(template(harness, "hello_world").await["status"], "approved");

        // The next pause is ended by hand, and what waits goes out at once.
        change(harness, "hello_world", TemplateStatus::Paused);
        told(harness).await;
        let third = harness.post(&format!("{SEND}?queue=true"), &order).await.expect(202);
        let third = third["messageId"].as_str().unwrap().to_owned();
        waits_for(harness, &third).await;
        let path = format!("/api/v1/templates/{}/pause", paused["id"].as_str().unwrap());
        let unpaused = call(harness, Method::DELETE, &path, &json!({})).await.expect(200);
        assert_eq!(unpaused["name"], "hello_world");
        harness.message_until(&third, "accepted").await;
        harness.foresee_refusals(&[100]);
        call(harness, Method::DELETE, &path, &json!({}))
            .await
            .problem(422, "template_refused");
    })
    .await;
}

#[tokio::test]
async fn a_pause_that_nobody_told_of_is_learnt_from_the_refusal() {
    let setup = Setup::default().unsubscribed();
    on_both_with(setup, async |harness| {
        in_step(harness).await;
        harness.foresee_refusals(&[132_015, 132_016]);
        // Its event does not come: nobody is subscribed.
        change(harness, "hello_world", TemplateStatus::Paused);
        let id = harness.send(with("hello_world", &[])).await;
        let waiting = waits_for(harness, &id).await;
        assert!(waiting["reason"].as_str().unwrap().contains("132015"), "{waiting}");
        in_step(harness).await;
        assert_eq!(template(harness, "hello_world").await["status"], "paused");
        let refused = harness.ledger(LedgerKind::Refused).len();
        harness.pass(HOUR).await;
        harness.pass(HOUR).await;
        waits_for(harness, &id).await;
        assert_eq!(
            harness.ledger(LedgerKind::Refused).len(),
            refused,
            "Meta is not asked in vain"
        );
        harness.pass(HOUR).await;
        harness.pass(MINUTE * 20).await;
        harness.message_until(&id, "accepted").await;

        // One that was disabled fails what is sent, and then what is queued.
        harness
            .sandbox
            .change_template("hello_world", "en_US", TemplateStatus::Disabled)
            .unwrap();
        let id = harness.send(with("hello_world", &[])).await;
        let failed = harness.message_until(&id, "failed").await;
        assert_eq!(failed["error"]["code"], 132_016);
        harness
            .until("it is known to be disabled", async |harness| {
                (template(harness, "hello_world").await["status"] == "disabled").then_some(())
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn what_is_queued_with_a_template_that_is_disabled_fails_with_the_reason() {
    on_both(async |harness| {
        in_step(harness).await;
        harness.post("/admin/outbound/stop", &json!({})).await.expect(200);
        let queued = harness
            .post(&format!("{SEND}?queue=true"), &with("hello_world", &[]))
            .await
            .expect(202);
        let id = queued["messageId"].as_str().unwrap().to_owned();
        change(harness, "hello_world", TemplateStatus::Disabled);
        told(harness).await;
        harness.post("/admin/outbound/start", &json!({})).await.expect(200);
        let failed = harness.message_until(&id, "failed").await;
        assert_eq!(failed["error"]["code"], 132_016);
        assert!(
            failed["error"]["remedy"].as_str().unwrap().contains("new template"),
            "{failed}"
        );
        assert!(harness.ledger(LedgerKind::Accepted).is_empty());
        assert!(harness.ledger(LedgerKind::Refused).is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_template_is_made_approved_sent_changed_and_deleted() {
    on_both(async |harness| {
        in_step(harness).await;
        let draft = json!({"channel": "whatsapp", "name": "order_update", "language": "en_US", "category": "utility",
            "components": [{"type": "BODY", "text": "Order {{order_no}} leaves today.", "example": {"body_text_named_params": [
                {"param_name": "order_no", "example": "8841"}]}}]});
        let made = harness.post("/api/v1/templates", &draft).await.expect(201);
        assert_eq!((&made["status"], &made["parameters"]["format"]), (&json!("pending"), &json!("named")));
        let mut order = with("order_update", &["8841"]);
        order["content"]["components"][0]["parameters"][0]["parameter_name"] = json!("order_no");
        harness.post(SEND, &order).await.problem(422, "template_not_usable");
        harness.pass(Duration::from_secs(5)).await;
        told(harness).await;
        let path = format!("/api/v1/templates/{}", made["id"].as_str().unwrap());
        assert_eq!(harness.get(&path).await.expect(200)["status"], "approved");
        let sent = harness.send(order).await;
        harness.message_until(&sent, "accepted").await;

        let edit = json!({"components": [{"type": "BODY", "text": "Your order is on its way."}]});
        let edited = call(harness, Method::PATCH, &path, &edit).await.expect(200);
        assert_eq!(edited["id"], made["id"]);
        harness
            .until("the wording is known", async |harness| {
                let known = harness.get(&path).await.expect(200);
                (known["parameters"]["body"] == json!([])).then_some(())
            })
            .await;
        harness.pass(Duration::from_secs(5)).await;
        told(harness).await;
        // Once a day: Meta's refusal is explained.
        harness.foresee_refusals(&[100, 803]);
        call(harness, Method::PATCH, &path, &edit).await.problem(422, "template_refused");
        call(harness, Method::PATCH, &path, &json!({})).await.problem(422, "invalid_field");
        let sent = harness.send(with("order_update", &[])).await;
        harness.message_until(&sent, "accepted").await;

        let deleted = harness.answer(harness.request(Method::DELETE, &path).bearer_auth(ADMIN_KEY)).await;
        assert_eq!(deleted.status, 204, "{}", deleted.body);
        told(harness).await;
        let problem = harness.post(SEND, &with("order_update", &[])).await.problem(422, "template_not_usable");
        assert_eq!(problem["errors"][0]["field"], "content.name");
        assert_eq!(templates(harness, "q=order_update").await, [Value::Null; 0]);
        assert_eq!(templates(harness, "q=order_update&status=deleted").await.len(), 1);
        call(harness, Method::DELETE, &path, &json!({})).await.problem(422, "template_refused");
        let audit = harness.get("/api/v1/audit?limit=3").await.expect(200);
        let actions: Vec<&Value> = audit["entries"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
        assert_eq!(actions, ["template.delete", "template.edit", "template.create"]);
    })
    .await;
}

#[tokio::test]
async fn metas_refusal_of_a_draft_is_explained() {
    on_both(async |harness| {
        in_step(harness).await;
        harness.foresee_refusals(&[100, 2]);
        let draft = |body: &str| {
            json!({"channel": "whatsapp", "name": "draft", "language": "en_US", "category": "utility",
            "components": [{"type": "BODY", "text": body, "example": {"body_text": [["x"]]}}]})
        };
        let problem = harness
            .post("/api/v1/templates", &draft("{{1}}, hello there."))
            .await
            .problem(422, "template_refused");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("begins or ends with a variable") && detail.contains("subcode 2388299"),
            "{detail}"
        );
        let mut odd = draft("Hello there.");
        odd["parameterFormat"] = json!("roman");
        harness
            .post("/api/v1/templates", &odd)
            .await
            .problem(422, "invalid_field");
        odd["channel"] = json!("nowhere");
        harness
            .post("/api/v1/templates", &odd)
            .await
            .problem(422, "unknown_channel");
        let at_templates = |kind| FaultRequest {
            endpoint: "message_templates".to_owned(),
            kind,
            count: Some(1),
            ..FaultRequest::default()
        };
        let busy = FaultRequest {
            code: Some(2),
            ..at_templates(FaultKind::Error)
        };
        harness.sandbox.fault(busy).unwrap();
        harness
            .post("/api/v1/templates", &draft("Hello {{1}}, there."))
            .await
            .problem(503, "meta_unavailable");
        harness
            .sandbox
            .fault(at_templates(FaultKind::ResetAfterAccept))
            .unwrap();
        harness
            .post("/api/v1/templates", &draft("Hello {{1}}, there."))
            .await
            .problem(502, "meta_outcome_unknown");
        // It was taken, which reading them anew brings.
        harness
            .until("the draft is known", async |harness| {
                (template(harness, "draft").await["status"] == "pending").then_some(())
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_reading_is_shown_and_made_up_for() {
    on_both(async |harness| {
        in_step(harness).await;
        harness.foresee_refusals(&[80_007]);
        let fault = FaultRequest {
            endpoint: "message_templates".to_owned(),
            kind: FaultKind::Throttle,
            code: Some(80_007),
            ..FaultRequest::default()
        };
        harness.sandbox.fault(fault).unwrap();
        let answer = harness
            .post("/api/v1/templates/sync", &json!({"channel": "whatsapp"}))
            .await
            .expect(200);
        let error = answer["accounts"][0]["error"].as_str().unwrap();
        assert!(error.contains("80007"), "{error}");
        assert_eq!(templates(harness, "").await.len(), 2, "what was known holds");
        harness.sandbox.clear_faults();
        harness.pass(HOUR).await;
        in_step(harness).await;
    })
    .await;
}

#[tokio::test]
async fn quality_and_category_are_told_and_streamed() {
    on_both(async |harness| {
        in_step(harness).await;
        let changed = TemplateChange {
            quality: Some(TemplateQuality::Yellow),
            correct_category: Some("MARKETING".to_owned()),
            ..TemplateChange::default()
        };
        change(harness, "hello_world", changed);
        told(harness).await;
        let hello = template(harness, "hello_world").await;
        assert_eq!(
            (&hello["quality"], &hello["correctCategory"]),
            (&json!("yellow"), &json!("marketing"))
        );
        let changed = TemplateChange {
            category: Some("MARKETING".to_owned()),
            ..TemplateChange::default()
        };
        change(harness, "hello_world", changed);
        told(harness).await;
        let hello = template(harness, "hello_world").await;
        assert_eq!(
            (&hello["category"], &hello["correctCategory"]),
            (&json!("marketing"), &Value::Null)
        );
        let store = &harness.hub().app().store;
        let rows = store.read(|tx| tx.stream_after(0, 100)).await.unwrap();
        let told = rows
            .iter()
            .flat_map(|row| &row.changes)
            .filter(|change| change.kind() == "template.updated");
        assert!(told.count() >= 3);
    })
    .await;
}

#[tokio::test]
async fn codes_to_log_in_with_go_to_phone_numbers_alone() {
    let mut setup = Setup::default();
    let mut login = Template::utility("login", "");
    login.category = "AUTHENTICATION".to_owned();
    login.components = vec![
        json!({"type": "BODY", "text": "*{{1}}* is your verification code."}),
        json!({"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE", "text": "Copy code"}]}),
    ];
    setup.sandbox.world.templates.push(login);
    on_both_with(setup, async |harness| {
        in_step(harness).await;
        let mut order = with("login", &["482913"]);
        harness.post(SEND, &order).await.problem(422, "template_not_usable");
        let button = json!({"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "482913"}]});
        order["content"]["components"].as_array_mut().unwrap().push(button);
        let user_id = harness.sandbox.customer("jonas").unwrap().user_id.unwrap();
        let mut to_user_id = order.clone();
        to_user_id["to"] = json!(user_id);
        let problem = harness.post(SEND, &to_user_id).await.problem(422, "invalid_recipient");
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("phone number"), "{problem}");
        let sent = harness.send(order).await;
        harness.message_until(&sent, "accepted").await;
    })
    .await;
}
