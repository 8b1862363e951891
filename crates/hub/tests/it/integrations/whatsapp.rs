//! The signed endpoints: who may call, what makes two requests one, and every answer that there is.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use tidings::integrations::whatsapp::signature;
use tidings_sandbox::{Content, FaultKind, FaultRequest, LedgerKind, Number, SmtpOptions, Template, TemplateStatus};

use crate::harness::{Answer, Harness, NUMBER, Setup, fault, on_both, on_both_with, text};

const BOOKING: &str = "/integrations/whatsapp/booking-confirmation";
const CUSTOM: &str = "/integrations/whatsapp/custom-message";
const PHONE: &str = "+447700900101";
const FIRST: &str = "the-secret-of-the-planner";
const SECOND: &str = "the-secret-of-the-shop";

fn setup() -> Setup {
    Setup::default().with("WHATSAPP_INTEGRATION_SECRETS", &format!("{FIRST},{SECOND}"))
}

fn booking() -> Value {
    json!({"phoneNumber": PHONE, "bookingDetails": {"eventDate": "2026-12-24 21:00", "location": "De Pier"}})
}

fn custom(message: &str) -> Value {
    json!({"phoneNumber": PHONE, "message": message})
}

fn sign(harness: &Harness, secret: &str, body: &str) -> String {
    let at = harness.clock.now_millis() / 1_000;
    signature::sign(&SecretString::from(secret), at, body.as_bytes())
}

/// Posts a body with whatever signature and key.
async fn post(harness: &Harness, path: &str, body: &str, signed: Option<&str>, key: Option<&str>) -> Answer {
    let mut request = harness
        .request(Method::POST, path)
        .header("content-type", "application/json")
        .body(body.to_owned());
    if let Some(signed) = signed {
        request = request.header("x-integration-signature", signed);
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    harness.answer(request).await
}

/// Signs a body with the first secret, and posts it.
async fn call(harness: &Harness, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let signed = sign(harness, FIRST, &body);
    post(harness, path, &body, Some(&signed), None).await
}

async fn wrote(harness: &Harness) {
    harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
    harness.projected().await;
}

/// The hub knows the definition of a template.
async fn knows(harness: &Harness, name: &str) {
    harness
        .until(&format!("the template {name} is known"), async |harness| {
            let answer = harness.get(&format!("/api/v1/templates?q={name}")).await.expect(200);
            (!answer["templates"].as_array()?.is_empty()).then_some(())
        })
        .await;
}

fn sent(harness: &Harness) -> usize {
    harness.ledger(LedgerKind::Accepted).len()
}

fn refuse(harness: &mut Harness, code: i64, count: Option<u64>, endpoint: &str) {
    let request = FaultRequest {
        endpoint: endpoint.to_owned(),
        code: Some(code),
        count,
        ..fault(FaultKind::Error)
    };
    harness.sandbox.fault(request).unwrap();
    harness.foresee_refusals(&[code]);
}

#[tokio::test]
async fn a_booking_is_confirmed_by_its_template() {
    on_both_with(setup(), async |harness| {
        knows(harness, "mr_dj_booking_confirmation").await;
        let answer = call(harness, BOOKING, &booking()).await.expect(202);
        assert_eq!(answer["status"], "accepted", "{answer}");
        let id = answer["messageId"].as_str().unwrap();
        let message = harness.message(id).await;
        assert_eq!(message["externalId"], answer["providerMessageId"]);
        assert_eq!(
            message["metadata"]["integration"],
            json!({"endpoint": "booking-confirmation", "secret": 1,
                "fingerprint": signature::fingerprint(&SecretString::from(FIRST))})
        );
        let seen = harness.phone("amara", NUMBER).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(
            seen[0].to_string().contains("2026-12-24 21:00 at De Pier"),
            "date and place are in their order: {seen:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn values_go_by_name_where_the_template_names_them() {
    let mut setup = setup().with("WHATSAPP_BOOKING_TEMPLATE", "named_booking");
    let named = Template::utility("named_booking", "At {{location}}, on {{event_date}}, we see you.");
    setup.sandbox.world.templates.push(named);
    on_both_with(setup, async |harness| {
        knows(harness, "named_booking").await;
        let answer = call(harness, BOOKING, &booking()).await.expect(202);
        assert_eq!(answer["status"], "accepted", "{answer}");
        let seen = harness.phone("amara", NUMBER).await;
        assert!(
            seen[0]
                .to_string()
                .contains("At De Pier, on 2026-12-24 21:00, we see you."),
            "{seen:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn where_the_template_is_not_known_values_go_by_their_order() {
    on_both_with(setup().without("WHATSAPP_BUSINESS_ACCOUNT_ID"), async |harness| {
        let answer = call(harness, BOOKING, &booking()).await.expect(202);
        assert_eq!(answer["status"], "accepted", "{answer}");
        let seen = harness.phone("amara", NUMBER).await;
        assert!(seen[0].to_string().contains("2026-12-24 21:00 at De Pier"), "{seen:?}");
    })
    .await;
}

#[tokio::test]
async fn a_template_that_cannot_be_used_says_what_it_wants() {
    let mut setup = setup();
    let world = &mut setup.sandbox.world;
    world
        .templates
        .push(Template::utility("three", "On {{1}} at {{2}} with {{3}}, we see you."));
    let mut rejected = Template::utility("rejected_one", "On {{1}} at {{2}}, we see you.");
    rejected.status = TemplateStatus::Rejected;
    world.templates.push(rejected);
    on_both_with(setup, async |harness| {
        for (name, told) in [
            ("three", "{{3}}"),
            ("rejected_one", "is not approved"),
            ("of_nobody", "is not there"),
        ] {
            harness
                .restart_with(|setup| setup.with("WHATSAPP_BOOKING_TEMPLATE", name))
                .await;
            knows(harness, "three").await;
            let problem = call(harness, BOOKING, &booking())
                .await
                .problem(422, "template_not_usable");
            assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
            // The next one is signed at another time.
            harness.pass(Duration::from_secs(1)).await;
        }
        assert_eq!(sent(harness), 0);
    })
    .await;
}

#[tokio::test]
async fn a_text_is_said_while_the_window_is_open_and_a_template_else() {
    on_both_with(setup(), async |harness| {
        let problem = call(harness, CUSTOM, &custom("Your table is ready."))
            .await
            .problem(409, "window_closed");
        assert!(
            problem["detail"].as_str().unwrap().contains("fallbackTemplate"),
            "{problem}"
        );
        let mut with_fallback = custom("Your table is ready.");
        with_fallback["fallbackTemplate"] = json!({"name": "hello_world", "language": "en_US"});
        let answer = call(harness, CUSTOM, &with_fallback).await.expect(202);
        assert_eq!(answer["status"], "accepted", "{answer}");
        wrote(harness).await;
        // What was refused is told again to whoever repeats it as it was.
        call(harness, CUSTOM, &custom("Your table is ready."))
            .await
            .problem(409, "window_closed");
        harness.pass(Duration::from_secs(1)).await;
        let answer = call(harness, CUSTOM, &custom("Your table is ready.")).await.expect(202);
        assert_eq!(answer["status"], "accepted", "{answer}");
        assert_eq!(harness.accepted("amara").last().unwrap(), "Your table is ready.");
        assert_eq!(sent(harness), 2);
    })
    .await;
}

#[tokio::test]
async fn a_signature_is_of_a_known_secret_this_body_and_now() {
    on_both_with(setup(), async |harness| {
        wrote(harness).await;
        let body = custom("words").to_string();
        let now = harness.clock.now_millis() / 1_000;
        let at = |at: i64| signature::sign(&SecretString::from(FIRST), at, body.as_bytes());
        let of_another_body = sign(harness, FIRST, &custom("others").to_string());
        let by_nobody = sign(harness, "retired", &body);
        for wrong in [
            None,
            Some("sha256=00"),
            Some(of_another_body.as_str()),
            Some(by_nobody.as_str()),
            Some(&at(now - 301)),
            Some(&at(now + 301)),
        ] {
            let answer = post(harness, CUSTOM, &body, wrong, None).await;
            answer.problem(401, "invalid_signature");
            assert!(answer.headers.get("www-authenticate").is_none());
        }
        assert_eq!(sent(harness), 0);
        // The edge, the second secret, and several signatures.
        let by_second = sign(harness, SECOND, &body);
        let several = format!("{by_nobody},{}", by_second.split_once(',').unwrap().1);
        let answer = post(harness, CUSTOM, &body, Some(&several), None).await.expect(202);
        let message = harness.message(answer["messageId"].as_str().unwrap()).await;
        assert_eq!(message["metadata"]["integration"]["secret"], 2);
        let older = at(now - 300);
        post(harness, CUSTOM, &body, Some(&older), None).await.expect(202);

        // A secret that was retired signs no more.
        harness
            .restart_with(|setup| setup.with("WHATSAPP_INTEGRATION_SECRETS", FIRST))
            .await;
        let other = custom("more words").to_string();
        let retired = sign(harness, SECOND, &other);
        post(harness, CUSTOM, &other, Some(&retired), None)
            .await
            .problem(401, "invalid_signature");
    })
    .await;
}

#[tokio::test]
async fn a_captured_request_gets_the_first_answer_and_sends_nothing() {
    on_both_with(setup(), async |harness| {
        wrote(harness).await;
        let body = custom("once").to_string();
        let signed = sign(harness, FIRST, &body);
        let first = post(harness, CUSTOM, &body, Some(&signed), Some("one")).await;
        assert!(first.headers.get("idempotent-replayed").is_none());
        // With the same key, another one, and none; also after a restart.
        for key in [Some("one"), Some("two"), None] {
            let again = post(harness, CUSTOM, &body, Some(&signed), key).await;
            assert_eq!(again.expect(202), first.expect(202), "{key:?}");
            assert_eq!(again.header("idempotent-replayed"), "true");
        }
        harness.restart().await;
        let again = post(harness, CUSTOM, &body, Some(&signed), Some("three")).await;
        assert_eq!(again.expect(202), first.json());
        // A signature that came with a request which was known by its key is used up too.
        harness.pass(Duration::from_secs(1)).await;
        let later = sign(harness, SECOND, &body);
        for key in ["one", "four"] {
            let again = post(harness, CUSTOM, &body, Some(&later), Some(key)).await;
            assert_eq!(again.expect(202), first.json(), "{key}");
        }
        assert_eq!(harness.accepted("amara"), ["once"]);
    })
    .await;
}

#[tokio::test]
async fn the_same_body_is_one_message_for_a_day() {
    on_both_with(setup(), async |harness| {
        wrote(harness).await;
        let hour = Duration::from_hours(1);
        let first = call(harness, CUSTOM, &custom("once")).await.expect(202);
        harness.pass(hour * 23).await;
        assert_eq!(call(harness, CUSTOM, &custom("once")).await.expect(202), first);
        // With a key of its own it is another one.
        let body = custom("once").to_string();
        harness.pass(Duration::from_secs(1)).await;
        let signed = sign(harness, FIRST, &body);
        let other = post(harness, CUSTOM, &body, Some(&signed), Some("again"))
            .await
            .expect(202);
        assert_ne!(other["messageId"], first["messageId"]);
        assert_eq!(harness.accepted("amara"), ["once", "once"]);
    })
    .await;
}

#[tokio::test]
async fn one_key_of_two_systems_at_the_same_time_is_one_message() {
    on_both_with(setup(), async |harness| {
        knows(harness, "mr_dj_booking_confirmation").await;
        // The two do not write their JSON alike.
        let bodies = [
            booking().to_string(),
            format!(
                r#"{{ "bookingDetails": {{"location":"De Pier","eventDate":"2026-12-24 21:00"}},  "phoneNumber":"{PHONE}" }}"#
            ),
        ];
        let shared: &Harness = harness;
        let calls = (0..16).map(|number| {
            let body = &bodies[number % 2];
            let signed = sign(shared, [FIRST, SECOND][number % 2], body);
            async move { post(shared, BOOKING, body, Some(&signed), Some("booking-8841")).await }
        });
        let answers = join_all(calls).await;
        let ids: Vec<Value> = answers.iter().map(|answer| answer.expect(202)["messageId"].clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(sent(harness), 1);

        let mut other = booking();
        other["bookingDetails"]["location"] = json!("Elsewhere");
        let other = other.to_string();
        let signed = sign(harness, FIRST, &other);
        post(harness, BOOKING, &other, Some(&signed), Some("booking-8841"))
            .await
            .problem(409, "idempotency_key_reused");
        assert_eq!(sent(harness), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    on_both_with(setup(), async |harness| {
        wrote(harness).await;
        let signed_post = async |path: &str, body: &str| {
            let signed = sign(harness, FIRST, body);
            post(harness, path, body, Some(&signed), None).await
        };
        signed_post(CUSTOM, "{").await.problem(400, "invalid_json");
        let large = custom(&"x".repeat(65 * 1024)).to_string();
        signed_post(CUSTOM, &large).await.problem(413, "payload_too_large");
        for (path, body, field) in [
            (
                BOOKING,
                json!({"bookingDetails": {"eventDate": "x", "location": "y"}}),
                "phoneNumber",
            ),
            (BOOKING, json!({"phoneNumber": PHONE}), "bookingDetails"),
            (
                BOOKING,
                json!({"phoneNumber": PHONE, "bookingDetails": {"eventDate": "x"}}),
                "bookingDetails.location",
            ),
            (
                BOOKING,
                json!({"phoneNumber": PHONE, "bookingDetails": {"eventDate": " ", "location": "y"}}),
                "bookingDetails.eventDate",
            ),
            (
                BOOKING,
                json!({"phoneNumber": PHONE, "bookingDetails": {"eventDate": 7, "location": "y"}}),
                "bookingDetails.eventDate",
            ),
            (CUSTOM, json!({"phoneNumber": PHONE}), "message"),
            (CUSTOM, custom(""), "message"),
            (CUSTOM, json!({"phoneNumber": "", "message": "x"}), "phoneNumber"),
            (CUSTOM, json!({"phoneNumber": 31, "message": "x"}), "phoneNumber"),
            (
                CUSTOM,
                json!({"phoneNumber": PHONE, "message": "x", "colour": "red"}),
                "colour",
            ),
        ] {
            let answer = signed_post(path, &body.to_string()).await;
            assert_eq!(answer.fields(422, "invalid_field"), [field], "{body}");
        }
        for number in ["12", "call me", "0612345678", "GB.48201937562840117365"] {
            let body = json!({"phoneNumber": number, "message": "x"}).to_string();
            let answer = signed_post(CUSTOM, &body).await;
            assert_eq!(answer.fields(422, "invalid_phone_number"), ["phoneNumber"], "{number}");
        }
        let long = custom(&"x".repeat(4_097)).to_string();
        let answer = signed_post(CUSTOM, &long).await;
        assert_eq!(answer.fields(422, "unsupported_content"), ["message"]);
        let body = custom("x").to_string();
        let signed = sign(harness, FIRST, &body);
        let answer = post(harness, CUSTOM, &body, Some(&signed), Some(&"k".repeat(256))).await;
        assert_eq!(answer.fields(422, "invalid_field"), ["Idempotency-Key"]);
        assert_eq!(sent(harness), 0);
    })
    .await;
}

#[tokio::test]
async fn without_secret_number_or_token_it_is_not_configured() {
    on_both(async |harness| {
        call(harness, BOOKING, &booking())
            .await
            .problem(503, "integration_not_configured");
    })
    .await;
    on_both_with(setup().without("WHATSAPP_ACCESS_TOKEN"), async |harness| {
        call(harness, BOOKING, &booking())
            .await
            .problem(503, "whatsapp_not_configured");
    })
    .await;
    let without_number = setup()
        .without("WHATSAPP_PHONE_NUMBER_ID")
        .without("WHATSAPP_ACCESS_TOKEN")
        .without("WHATSAPP_BUSINESS_ACCOUNT_ID");
    on_both_with(without_number, async |harness| {
        call(harness, BOOKING, &booking())
            .await
            .problem(503, "whatsapp_not_configured");
    })
    .await;
}

#[tokio::test]
async fn nothing_is_taken_while_sending_is_stopped() {
    on_both_with(setup(), async |harness| {
        wrote(harness).await;
        harness.post("/admin/outbound/stop", &json!({})).await.expect(200);
        call(harness, CUSTOM, &custom("words"))
            .await
            .problem(503, "outbound_stopped");
        harness.post("/admin/outbound/start", &json!({})).await.expect(200);
        // Replayed as it was, it is refused as it was.
        call(harness, CUSTOM, &custom("words"))
            .await
            .problem(503, "outbound_stopped");
        assert_eq!(sent(harness), 0);
        harness.pass(Duration::from_secs(1)).await;
        call(harness, CUSTOM, &custom("words")).await.expect(202);
        assert_eq!(harness.accepted("amara"), ["words"]);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_meta_refuses_is_told_and_the_message_is_sent_afterwards() {
    on_both_with(setup(), async |harness| {
        wrote(harness).await;
        refuse(harness, 190, None, "any");
        let problem = call(harness, CUSTOM, &custom("at last"))
            .await
            .problem(503, "whatsapp_token_invalid");
        assert_eq!(problem["meta"]["code"], 190, "{problem}");
        let id = problem["messageId"].as_str().unwrap().to_owned();
        // Also when it is known before, and for whoever asks again.
        let other = call(harness, CUSTOM, &custom("and this"))
            .await
            .problem(503, "whatsapp_token_invalid");
        let again = call(harness, CUSTOM, &custom("at last"))
            .await
            .problem(503, "whatsapp_token_invalid");
        assert_eq!(again["messageId"], id.as_str());
        harness.sandbox.clear_faults();
        harness.pass(Duration::from_secs(31)).await;
        harness.message_until(&id, "accepted").await;
        harness
            .message_until(other["messageId"].as_str().unwrap(), "accepted")
            .await;
        let answer = call(harness, CUSTOM, &custom("at last")).await.expect(202);
        assert_eq!(answer["messageId"], id.as_str());
        assert_eq!(answer["status"], "accepted");
        assert_eq!(harness.accepted("amara"), ["at last", "and this"]);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_may_not_send_is_told_like_one_that_does_not_work() {
    for code in [10, 200] {
        on_both_with(setup(), async |harness| {
            refuse(harness, code, Some(1), "messages");
            let problem = call(harness, BOOKING, &booking())
                .await
                .problem(503, "whatsapp_token_invalid");
            assert_eq!(problem["meta"]["code"], code, "{problem}");
            assert_eq!(sent(harness), 0);
            harness.pass(Duration::from_secs(31)).await;
            harness
                .message_until(problem["messageId"].as_str().unwrap(), "accepted")
                .await;
            assert_eq!(sent(harness), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn what_meta_refuses_for_good_is_explained() {
    on_both_with(setup(), async |harness| {
        wrote(harness).await;
        for code in [100, 131_026, 132_001] {
            refuse(harness, code, Some(1), "messages");
            let body = custom(&format!("words {code}"));
            let problem = call(harness, CUSTOM, &body).await.problem(422, "message_refused");
            assert_eq!(problem["meta"]["code"], code, "{problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&code.to_string()), "{problem}");
            let message = harness.message(problem["messageId"].as_str().unwrap()).await;
            let remedy = message["error"]["remedy"].as_str().unwrap();
            let meaning = message["error"]["meaning"].as_str().unwrap();
            assert!(
                detail.contains(remedy) && detail.contains(meaning),
                "{problem} {message}"
            );
        }
        assert_eq!(sent(harness), 0);
    })
    .await;
}

#[tokio::test]
async fn while_meta_throttles_or_fails_the_message_is_queued_and_arrives_later() {
    let setup = setup().with("WHATSAPP_REQUEST_TIMEOUT_MS", "2000");
    on_both_with(setup, async |harness| {
        wrote(harness).await;
        for code in [130_429, 131_000] {
            refuse(harness, code, Some(1), "messages");
            let answer = call(harness, CUSTOM, &custom(&format!("words {code}")))
                .await
                .expect(202);
            assert_eq!(answer["status"], "queued", "{answer}");
            assert_eq!(answer["providerMessageId"], Value::Null);
            let id = answer["messageId"].as_str().unwrap().to_owned();
            harness
                .until("it is sent", async |harness| {
                    harness.pass(Duration::from_secs(30)).await;
                    (harness.message(&id).await["externalId"] != Value::Null).then_some(())
                })
                .await;
        }
        assert_eq!(harness.accepted("amara"), ["words 130429", "words 131000"]);
    })
    .await;
}

#[tokio::test]
async fn while_meta_is_down_for_an_hour_a_booking_is_taken_and_arrives_once_afterwards() {
    // Connections are cut, or a page is all that comes.
    for http_status in [None, Some(503)] {
        booked_while_meta_is_down(http_status).await;
    }
}

async fn booked_while_meta_is_down(http_status: Option<u16>) {
    let setup = setup().with("WHATSAPP_REQUEST_TIMEOUT_MS", "2000");
    on_both_with(setup, async |harness| {
        knows(harness, "mr_dj_booking_confirmation").await;
        let outage = FaultRequest {
            endpoint: "any".to_owned(),
            kind: FaultKind::Outage,
            http_status,
            ..FaultRequest::default()
        };
        harness.sandbox.fault(outage).unwrap();
        let first = call(harness, BOOKING, &booking()).await.expect(202);
        assert_eq!(
            (&first["status"], &first["providerMessageId"]),
            (&json!("queued"), &Value::Null)
        );
        // Whoever is impatient asks again, signed anew, and is told of the same message.
        for _ in 0..6 {
            harness.pass(Duration::from_mins(10)).await;
            let again = call(harness, BOOKING, &booking()).await.expect(202);
            assert_eq!(again["messageId"], first["messageId"]);
        }
        assert_eq!(sent(harness), 0);
        harness.sandbox.clear_faults();
        let id = first["messageId"].as_str().unwrap();
        harness
            .until("it has arrived", async |harness| {
                harness.pass(Duration::from_mins(1)).await;
                (harness.message(id).await["status"] == "delivered").then_some(())
            })
            .await;
        harness.pass(Duration::from_mins(10)).await;
        let answer = call(harness, BOOKING, &booking()).await.expect(202);
        assert_eq!(answer["status"], "accepted", "{answer}");
        assert_eq!(sent(harness), 1);
    })
    .await;
}

#[tokio::test]
async fn what_goes_on_by_another_route_is_no_failure() {
    let mut setup = setup().with_file("[[routes]]\nname = \"default\"\norder = [\"whatsapp\", \"whatsapp-backup\"]\n");
    let world = &mut setup.sandbox.world;
    world.numbers.push(Number {
        id: "200000000000009".to_owned(),
        phone: "442079460109".to_owned(),
        display: "+44 20 7946 0109".to_owned(),
        ..world.numbers[0].clone()
    });
    let token = world.tokens[0].value.clone();
    let setup = setup
        .with("WHATSAPP_BACKUP_PHONE_NUMBER_ID", "200000000000009")
        .with("WHATSAPP_BACKUP_ACCESS_TOKEN", &token);
    on_both_with(setup, async |harness| {
        refuse(harness, 131_026, Some(1), "messages");
        let first = call(harness, BOOKING, &booking()).await.expect(202);
        let id = first["messageId"].as_str().unwrap();
        let message = harness
            .until("the backup has it", async |harness| {
                harness.pass(Duration::from_secs(1)).await;
                let message = harness.message(id).await;
                (message["route"] == "whatsapp-backup" && sent(harness) == 1).then_some(message)
            })
            .await;
        assert_eq!(message["status"], "failed", "{message}");
        let again = harness
            .until("whoever asks again is told", async |harness| {
                let again = call(harness, BOOKING, &booking()).await.expect(202);
                (again["status"] == "accepted").then_some(again)
            })
            .await;
        assert_eq!(again["messageId"], id);
        assert!(again["providerMessageId"].is_string(), "{again}");
        assert_eq!(sent(harness), 1);
    })
    .await;
}

#[tokio::test]
async fn where_no_other_route_can_take_it_a_failure_is_told_as_ever() {
    let mut setup = setup();
    setup.sandbox.smtp = Some(SmtpOptions::default());
    on_both_with(setup, async |harness| {
        // Nobody knows the guest's e-mail address.
        refuse(harness, 131_026, Some(1), "messages");
        let refused = call(harness, BOOKING, &booking()).await.problem(422, "message_refused");
        assert_eq!(refused["meta"]["code"], 131_026, "{refused}");
        refuse(harness, 190, None, "any");
        let mut other = booking();
        other["bookingDetails"]["location"] = json!("De Kade");
        let held = call(harness, BOOKING, &other)
            .await
            .problem(503, "whatsapp_token_invalid");
        assert_eq!(held["meta"]["code"], 190, "{held}");
    })
    .await;
}

#[tokio::test]
async fn whoever_has_opted_out_is_sent_neither_a_booking_nor_a_text() {
    on_both_with(setup(), async |harness| {
        wrote(harness).await;
        harness.pass(Duration::from_secs(1)).await;
        harness.sandbox.write("amara", NUMBER, text("Stop")).unwrap();
        harness.projected().await;
        for (path, body) in [(BOOKING, booking()), (CUSTOM, custom("Your table is ready."))] {
            let problem = call(harness, path, &body).await.problem(409, "contact_opted_out");
            assert!(problem["detail"].as_str().unwrap().contains("Stop"), "{problem}");
        }
        assert_eq!(sent(harness), 0);
        // Advertising is another matter, and so is what they write afterwards.
        harness.pass(Duration::from_secs(1)).await;
        harness.sandbox.write("amara", NUMBER, text("START")).unwrap();
        harness.sandbox.write("amara", NUMBER, Content::StopMarketing).unwrap();
        harness.projected().await;
        for (path, body) in [(BOOKING, booking()), (CUSTOM, custom("Your table is ready."))] {
            assert_eq!(call(harness, path, &body).await.expect(202)["status"], "accepted");
        }
        assert_eq!(sent(harness), 2);
    })
    .await;
}
