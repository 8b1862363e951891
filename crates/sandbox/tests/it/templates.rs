//! The life of templates, what a draft may say (each bound on both sides), and what a template may be sent with.

#![allow(clippy::needless_pass_by_value, reason = "a test is written where it is run")]

use serde_json::{Value, json};
use tidings_sandbox::{Content, Script, TemplateChange, TemplateQuality, TemplateStatus};

use super::harness::{Harness, PHONE, code, start, text_to};
use super::limits::without_limits;

const ACCOUNT: &str = "100000000000001";
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// A draft that is fine, with something changed.
fn draft(name: &str, change: Value) -> Value {
    let mut draft =
        json!({"name": name, "language": "en_GB", "category": "UTILITY", "components": [body("All is well.")]});
    draft
        .as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    draft
}

fn body(text: &str) -> Value {
    json!({"type": "BODY", "text": text})
}

async fn create(harness: &Harness, draft: &Value) -> (u16, Value) {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    harness
        .post(&format!("/v26.0/{ACCOUNT}/message_templates"), &token, draft)
        .await
}

async fn created(harness: &Harness, draft: &Value) -> String {
    let (status, answer) = create(harness, draft).await;
    assert_eq!(status, 200, "{answer} for {draft}");
    answer["id"].as_str().unwrap().to_owned()
}

async fn list(harness: &Harness, query: &str) -> (u16, Value) {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    harness
        .get(&format!("/v26.0/{ACCOUNT}/message_templates?{query}"), &token)
        .await
}

async fn remove(harness: &Harness, query: &str) -> (u16, Value) {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let url = format!("{}/v26.0/{ACCOUNT}/message_templates?{query}", harness.sandbox.url());
    harness.call(harness.http.delete(url), &token).await
}

async fn edit(harness: &Harness, id: &str, change: &Value) -> (u16, Value) {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    harness.post(&format!("/v26.0/{id}"), &token, change).await
}

async fn status_of(harness: &Harness, name: &str) -> Value {
    list(harness, &format!("name={name}")).await.1["data"][0]["status"].clone()
}

/// What was told of templates, in order: what, and how.
fn told(harness: &Harness) -> Vec<Value> {
    let values = harness.receiver.values();
    let of_templates = values.into_iter().filter(|value| value["message_template_id"].is_u64());
    of_templates.collect()
}

/// The draft is refused with 100 and this subcode.
async fn refused(harness: &Harness, name: &str, change: Value, subcode: Option<i64>) {
    let draft = draft(name, change);
    let answer = create(harness, &draft).await;
    assert_eq!(code(&answer), (400, 100, subcode), "{answer:?} for {draft}");
    if subcode.is_some() {
        let error = &answer.1["error"];
        assert!(error["error_user_title"].is_string() && error["error_user_msg"].is_string());
    }
}

#[tokio::test]
async fn a_template_is_pending_then_approved_or_rejected_and_each_is_told() {
    let harness = start(without_limits()).await;
    let answer = create(&harness, &draft("fine", json!({}))).await;
    assert_eq!((answer.0, &answer.1["status"]), (200, &json!("PENDING")));
    created(
        &harness,
        &draft("bad", json!({"components": [body("Please reject me.")]})),
    )
    .await;
    let send =
        json!({"to": "447700900101", "type": "template", "template": {"name": "fine", "language": {"code": "en_GB"}}});
    assert_eq!(code(&harness.whatsapp(send.clone()).await), (404, 132_001, None));
    harness.advance(4_999).await;
    assert_eq!(status_of(&harness, "fine").await, "PENDING");
    harness.advance(1).await;
    assert_eq!(status_of(&harness, "fine").await, "APPROVED");
    assert_eq!(status_of(&harness, "bad").await, "REJECTED");
    assert_eq!(harness.whatsapp(send).await.0, 200);
    harness.advance(0).await;
    let told = told(&harness);
    assert_eq!(
        (&told[0]["event"], &told[0]["reason"]),
        (&json!("APPROVED"), &json!("NONE"))
    );
    assert_eq!(told[0]["message_template_name"], "fine");
    assert_eq!(
        told[0]["message_template_id"].to_string(),
        answer.1["id"].as_str().unwrap()
    );
    assert_eq!(
        (&told[1]["event"], &told[1]["reason"]),
        (&json!("REJECTED"), &json!("INVALID_FORMAT"))
    );
    assert!(told[1]["rejection_info"]["recommendation"].is_string());
    let bad = list(&harness, "name=bad&fields=rejected_reason").await.1;
    assert_eq!(bad["data"][0]["rejected_reason"], "INVALID_FORMAT");
}

#[tokio::test]
async fn by_hand_alone_if_so_asked_for() {
    let mut options = without_limits();
    options.templates.decided_after = None;
    let harness = start(options).await;
    created(&harness, &draft("fine", json!({}))).await;
    harness.advance(30 * DAY).await;
    assert_eq!(status_of(&harness, "fine").await, "PENDING");
    harness
        .sandbox
        .change_template("fine", "en_GB", TemplateStatus::Approved)
        .unwrap();
    assert_eq!(status_of(&harness, "fine").await, "APPROVED");
    assert!(
        harness
            .sandbox
            .change_template("fine", "nl", TemplateStatus::Approved)
            .is_err()
    );
}

#[tokio::test]
async fn two_pauses_end_by_themselves_and_the_third_is_for_good() {
    let harness = start(without_limits()).await;
    let pause = || {
        let pause = TemplateStatus::Paused;
        harness.sandbox.change_template("hello_world", "en_US", pause).unwrap();
    };
    for hours in [3, 6] {
        pause();
        harness.advance(hours * HOUR - 1).await;
        assert_eq!(status_of(&harness, "hello_world").await, "PAUSED");
        harness.advance(1).await;
        assert_eq!(status_of(&harness, "hello_world").await, "APPROVED");
    }
    pause();
    harness.advance(30 * DAY).await;
    assert_eq!(status_of(&harness, "hello_world").await, "DISABLED");
    let told = told(&harness);
    let titles: Vec<&str> = told
        .iter()
        .map(|value| value["other_info"]["title"].as_str().unwrap())
        .collect();
    assert_eq!(
        titles,
        ["FIRST_PAUSE", "UNPAUSE", "SECOND_PAUSE", "UNPAUSE", "DISABLED"]
    );
    assert!(told[4]["disable_info"]["disable_date"].is_string());
}

#[tokio::test]
async fn a_script_changes_templates_at_its_times() {
    let harness = start(without_limits()).await;
    let yaml = "
templates:
  - {name: moon, language: nl, category: MARKETING, components: [{type: BODY, text: 'De maan, {{1}}, is op.'}]}
templateChanges:
  - {atMs: 1000, name: moon, language: nl, change: {quality: YELLOW}}
  - {atMs: 2000, name: moon, language: nl, change: {status: REJECTED, reason: SCAM}}
";
    harness.sandbox.play(&Script::parse(yaml).unwrap()).unwrap();
    for (status, quality) in [("APPROVED", "UNKNOWN"), ("APPROVED", "YELLOW"), ("REJECTED", "YELLOW")] {
        let (_, listed) = list(&harness, "name=moon&fields=status,quality_score").await;
        assert_eq!(listed["data"][0]["status"], status);
        assert_eq!(listed["data"][0]["quality_score"]["score"], quality);
        harness.advance(1_000).await;
    }
    assert_eq!(told(&harness)[1]["reason"], "SCAM");
}

#[tokio::test]
async fn who_paused_it_by_mistake_unpauses_it() {
    let harness = start(without_limits()).await;
    let (_, hello) = list(&harness, "name=hello_world").await;
    let id = hello["data"][0]["id"].as_str().unwrap();
    let path = format!("/v26.0/{id}/unpause");
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    assert_eq!(code(&harness.post(&path, &token, &json!({})).await), (400, 100, None));
    harness
        .sandbox
        .change_template("hello_world", "en_US", TemplateStatus::Paused)
        .unwrap();
    assert_eq!(
        harness.post(&path, &token, &json!({})).await,
        (200, json!({"success": true}))
    );
    assert_eq!(status_of(&harness, "hello_world").await, "APPROVED");
    harness.advance(4 * HOUR).await;
    let (_, shown) = harness.get(&format!("/v26.0/{id}?fields=status,name"), &token).await;
    assert_eq!(shown, json!({"id": id, "name": "hello_world", "status": "APPROVED"}));
}

#[tokio::test]
async fn quality_category_and_wording_change_and_are_told() {
    let harness = start(without_limits()).await;
    let change = |change: TemplateChange| {
        harness.sandbox.change_template("hello_world", "en_US", change).unwrap();
    };
    change(TemplateChange {
        quality: Some(TemplateQuality::Yellow),
        ..TemplateChange::default()
    });
    change(TemplateChange {
        correct_category: Some("MARKETING".to_owned()),
        ..TemplateChange::default()
    });
    change(TemplateChange {
        category: Some("MARKETING".to_owned()),
        ..TemplateChange::default()
    });
    change(TemplateChange {
        components: Some(vec![
            json!({"type": "HEADER", "format": "TEXT", "text": "Now"}),
            body("Hello {{1}}, how are you?"),
        ]),
        ..TemplateChange::default()
    });
    harness.advance(0).await;
    let told = told(&harness);
    assert_eq!(
        (&told[0]["previous_quality_score"], &told[0]["new_quality_score"]),
        (&json!("UNKNOWN"), &json!("YELLOW"))
    );
    assert_eq!(
        (&told[1]["new_category"], &told[1]["correct_category"]),
        (&json!("UTILITY"), &json!("MARKETING"))
    );
    assert_eq!(
        (&told[2]["previous_category"], &told[2]["new_category"]),
        (&json!("UTILITY"), &json!("MARKETING"))
    );
    assert_eq!(told[3]["message_template_element"], "Hello {{1}}, how are you?");
    assert_eq!(told[3]["message_template_title"], "Now");
    let send = |values: Value| {
        json!({"to": "447700900101", "type": "template", "template": {"name": "hello_world",
        "language": {"code": "en_US"}, "components": [{"type": "body", "parameters": values}]}})
    };
    assert_eq!(code(&harness.whatsapp(send(json!([]))).await), (400, 132_000, None));
    assert_eq!(
        harness.whatsapp(send(json!([{"type": "text", "text": "Ann"}]))).await.0,
        200
    );
}

#[tokio::test]
async fn people_who_block_after_a_template_lower_its_quality_until_it_is_paused() {
    let mut options = without_limits();
    options.templates.yellow_after_blocks = 1;
    let harness = start(options).await;
    for (customer, quality, status) in [("amara", "YELLOW", "APPROVED"), ("jonas", "RED", "PAUSED")] {
        let (_, state) = harness.get("/sandbox/state", "").await;
        let customers = state["customers"].as_array().unwrap().clone();
        let phone = customers.iter().find(|one| one["id"] == customer).unwrap()["phone"].clone();
        let send = json!({"to": phone, "type": "template", "template": {"name": "hello_world", "language": {"code": "en_US"}}});
        assert_eq!(harness.whatsapp(send).await.0, 200);
        harness.sandbox.write(customer, PHONE, Content::Block).unwrap();
        let (_, listed) = list(&harness, "name=hello_world&fields=status,quality_score").await;
        assert_eq!(listed["data"][0]["quality_score"]["score"], quality);
        assert_eq!(listed["data"][0]["status"], status);
    }
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let mut options = without_limits();
    options.templates.created_per_hour = 0;
    let harness = start(options).await;
    for number in 0..28 {
        created(&harness, &draft(&format!("t{number:02}"), json!({}))).await;
    }
    let (_, first) = list(&harness, "fields=name").await;
    assert_eq!(first["data"].as_array().unwrap().len(), 25);
    assert_eq!(first["data"][0]["name"], "hello_world");
    let after = first["paging"]["cursors"]["after"].as_str().unwrap();
    assert!(first["paging"]["next"].as_str().unwrap().contains(after));
    let (_, second) = list(&harness, &format!("fields=name&after={after}")).await;
    assert_eq!(second["data"].as_array().unwrap().len(), 5);
    assert_eq!(second["paging"].get("next"), None);
    let before = second["paging"]["cursors"]["before"].as_str().unwrap();
    let (_, back) = list(&harness, &format!("fields=name&before={before}&limit=25")).await;
    assert_eq!(back["data"], first["data"]);
    assert_eq!(code(&list(&harness, "after=QVFIzz").await), (400, 131_059, None));
    for wrong in ["limit=0", "limit=x", "fields=colour"] {
        assert_eq!(code(&list(&harness, wrong).await), (400, 100, None), "{wrong}");
    }
    for (filter, count) in [
        ("name=t0", 10),
        ("status=PENDING", 28),
        ("status=approved", 2),
        ("language=en_US", 2),
        ("category=MARKETING", 0),
        ("quality_score=UNKNOWN", 30),
        ("content=booking", 1),
    ] {
        let (_, found) = list(&harness, &format!("{filter}&limit=100")).await;
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{filter}");
    }
}

#[tokio::test]
async fn an_approved_template_is_edited_once_a_day_and_ten_times_in_thirty_days() {
    let harness = start(without_limits()).await;
    let id = created(&harness, &draft("fine", json!({}))).await;
    let wording = |text: &str| json!({"components": [body(text)]});
    assert_eq!(
        code(&edit(&harness, &id, &wording("Too soon.")).await),
        (400, 100, None)
    );
    for day in 0..10 {
        harness.advance(DAY).await;
        let answer = edit(&harness, &id, &wording(&format!("Day {day} is here."))).await;
        let edited = json!({"success": true, "id": id, "name": "fine", "category": "UTILITY"});
        assert_eq!(answer, (200, edited));
        harness.advance(10_000).await;
        assert_eq!(code(&edit(&harness, &id, &wording("Twice.")).await), (400, 100, None));
    }
    harness.advance(2 * DAY).await;
    assert_eq!(
        code(&edit(&harness, &id, &wording("Once more.")).await),
        (400, 100, None)
    );
    harness.advance(20 * DAY).await;
    assert_eq!(edit(&harness, &id, &wording("Once more.")).await.0, 200);
    let recategorized = edit(&harness, &id, &json!({"category": "MARKETING"})).await;
    assert_eq!(code(&recategorized), (400, 100, None), "it is being looked at");
    // What was rejected is edited as often as it takes.
    let id = created(&harness, &draft("bad", json!({"components": [body("Reject me.")]}))).await;
    for _ in 0..3 {
        harness.advance(10_000).await;
        assert_eq!(edit(&harness, &id, &wording("Reject me, too.")).await.0, 200);
    }
    harness.advance(10_000).await;
    assert_eq!(edit(&harness, &id, &wording("It is fine.")).await.0, 200);
    harness.advance(10_000).await;
    assert_eq!(status_of(&harness, "bad").await, "APPROVED");
    assert_eq!(code(&edit(&harness, "999999", &wording("x")).await).1, 100);
}

#[tokio::test]
async fn a_deleted_name_is_blocked_for_thirty_days() {
    let harness = start(without_limits()).await;
    let english = created(&harness, &draft("fine", json!({}))).await;
    created(&harness, &draft("fine", json!({"language": "nl"}))).await;
    created(&harness, &draft("fine", json!({"language": "de"}))).await;
    let double = create(&harness, &draft("fine", json!({}))).await;
    assert_eq!(code(&double), (400, 100, None));
    assert_eq!(
        remove(&harness, &format!("name=fine&hsm_id={english}")).await,
        (200, json!({"success": true}))
    );
    assert_eq!(list(&harness, "name=fine").await.1["data"].as_array().unwrap().len(), 2);
    assert_eq!(remove(&harness, "name=fine").await.0, 200);
    assert_eq!(list(&harness, "name=fine").await.1["data"], json!([]));
    assert_eq!(code(&remove(&harness, "name=fine").await).1, 803);
    assert_eq!(code(&remove(&harness, "").await).1, 100);
    harness.advance(30 * DAY - 1).await;
    assert_eq!(
        code(&create(&harness, &draft("fine", json!({}))).await),
        (400, 100, None)
    );
    harness.advance(1).await;
    let again = created(&harness, &draft("fine", json!({}))).await;
    assert_ne!(again, english);
    assert_eq!(remove(&harness, &format!("hsm_ids=%5B%22{again}%22%5D")).await.0, 200);
    assert_eq!(told(&harness).last().unwrap()["event"], "DELETED");
}

#[tokio::test]
async fn an_account_has_so_many_templates_and_makes_so_many_an_hour() {
    let mut options = without_limits();
    options.templates.per_account = 4;
    options.templates.created_per_hour = 2;
    let harness = start(options).await;
    created(&harness, &draft("one", json!({}))).await;
    created(&harness, &draft("two", json!({}))).await;
    assert_eq!(remove(&harness, "name=two").await.0, 200);
    assert_eq!(
        code(&create(&harness, &draft("three", json!({}))).await),
        (400, 80_007, None)
    );
    harness.advance(HOUR).await;
    created(&harness, &draft("three", json!({}))).await;
    refused(&harness, "four", json!({}), Some(2_388_019)).await;
}

#[tokio::test]
async fn every_bound_of_a_draft_holds_on_both_sides() {
    let mut options = without_limits();
    options.templates.created_per_hour = 0;
    let harness = start(options).await;
    let long = |count: usize| "x".repeat(count);
    let header =
        |text: &str| json!({"components": [{"type": "HEADER", "format": "TEXT", "text": text}, body("All is well.")]});
    let footer = |text: &str| json!({"components": [body("All is well."), {"type": "FOOTER", "text": text}]});
    let wording = |text: &str| json!({"components": [body(text)]});
    let buttons =
        |buttons: Value| json!({"components": [body("All is well."), {"type": "BUTTONS", "buttons": buttons}]});
    let quick = |label: &str| json!({"type": "QUICK_REPLY", "text": label});
    let url = |url: &str| json!({"type": "URL", "text": "Open", "url": url, "example": ["x"]});
    let many = |count: usize, button: &Value| Value::from(vec![button.clone(); count]);
    let phone = json!({"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+442079460100"});
    let copy = |count: usize| json!({"type": "COPY_CODE", "example": long(count)});
    let offer = |count: usize| {
        json!({"components": [body("All is well."),
        {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"text": long(count), "has_expiration": true}}]})
    };
    let ttl = |category: &str, seconds: i64| json!({"category": category, "message_send_ttl_seconds": seconds});
    let long_url = |count: usize| url(&format!("https://example.org/{}", long(count - 20)));
    let with_example = |text: &str, count: usize| {
        json!({"components": [
        {"type": "BODY", "text": text, "example": {"body_text": [vec!["x"; count]]}}]})
    };

    created(&harness, &draft(&"n".repeat(512), json!({}))).await;
    refused(&harness, &"n".repeat(513), json!({}), Some(2_388_040)).await;
    for wrong in ["Upper", "with space", "dash-ed", "é"] {
        refused(&harness, wrong, json!({}), None).await;
    }
    let cases: Vec<(Value, Value, Option<i64>)> = vec![
        (header(&long(60)), header(&long(61)), Some(2_388_040)),
        (footer(&long(60)), footer(&long(61)), Some(2_388_040)),
        (footer("Bye"), footer("Bye {{1}}"), Some(2_388_073)),
        (wording(&long(1024)), wording(&long(1025)), Some(2_388_040)),
        (
            json!({"components": [{"type": "HEADER", "format": "TEXT", "text": "For {{1}}", "example": {"header_text": ["x"]}}, body("All is well.")]}),
            json!({"components": [{"type": "HEADER", "format": "TEXT", "text": "For {{1}} {{2}}", "example": {"header_text": ["x", "y"]}}, body("All is well.")]}),
            Some(2_388_047),
        ),
        (
            json!({"components": [{"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}}, body("All is well.")]}),
            json!({"components": [{"type": "HEADER", "format": "IMAGE"}, body("All is well.")]}),
            Some(2_388_047),
        ),
        (
            json!({"components": [{"type": "HEADER", "format": "LOCATION"}, body("All is well.")]}),
            json!({"components": [{"type": "HEADER", "format": "HOLOGRAM"}, body("All is well.")]}),
            Some(2_388_047),
        ),
        (
            with_example("Dear {{1}}, yes.", 1),
            with_example("Dear {{1}}, yes.", 2),
            Some(2_388_072),
        ),
        (
            with_example("Dear {{1}}, yes.", 1),
            with_example("{{1}}, yes yes.", 1),
            Some(2_388_299),
        ),
        (
            with_example("Dear {{1}} yes.", 1),
            with_example("Yes dear {{1}}", 1),
            Some(2_388_299),
        ),
        (
            with_example("One two {{1}} three {{2}} four.", 2),
            with_example("One {{1}} two {{2}} three.", 2),
            Some(2_388_293),
        ),
        (
            with_example("One two {{1}} three {{2}} four.", 2),
            with_example("One two {{1}} three {{3}} four.", 2),
            Some(2_388_072),
        ),
        (buttons(many(10, &quick("Yes"))), buttons(many(11, &quick("Yes"))), None),
        (
            buttons(many(2, &url("https://example.org"))),
            buttons(many(3, &url("https://example.org"))),
            None,
        ),
        (buttons(json!([phone])), buttons(json!([phone, phone])), None),
        (buttons(json!([copy(20)])), buttons(json!([copy(21)])), None),
        (buttons(json!([copy(15)])), buttons(json!([copy(15), copy(15)])), None),
        (
            buttons(json!([quick(&long(25))])),
            buttons(json!([quick(&long(26))])),
            None,
        ),
        (buttons(json!([long_url(2000)])), buttons(json!([long_url(2001)])), None),
        (
            buttons(json!([url("https://example.org/{{1}}")])),
            buttons(json!([url("https://example.org/{{1}}/x")])),
            None,
        ),
        (
            buttons(json!([quick("A"), quick("B"), phone])),
            buttons(json!([quick("A"), phone, quick("B")])),
            None,
        ),
        (offer(16), offer(17), Some(2_388_040)),
        (ttl("UTILITY", 30), ttl("UTILITY", 29), None),
        (ttl("UTILITY", 43_200), ttl("UTILITY", 43_201), None),
        (ttl("UTILITY", -1), ttl("MARKETING", -1), None),
        (ttl("MARKETING", 43_200), ttl("MARKETING", 43_199), None),
        (ttl("MARKETING", 2_592_000), ttl("MARKETING", 2_592_001), None),
        (json!({}), json!({"category": "SPAM"}), None),
        (json!({}), json!({"components": []}), None),
        (
            json!({}),
            json!({"components": [{"type": "FOOTER", "text": "x"}]}),
            Some(2_388_072),
        ),
        (json!({}), json!({"language": "english!"}), None),
    ];
    for (number, (within, beyond, subcode)) in cases.into_iter().enumerate() {
        created(&harness, &draft(&format!("case_{number}"), within)).await;
        refused(&harness, &format!("case_{number}_x"), beyond, subcode).await;
    }
    let named = |format: &str| {
        json!({"parameter_format": format, "components": [{"type": "BODY", "text": "Hi {{first_name}}, welcome.",
            "example": {"body_text_named_params": [{"param_name": "first_name", "example": "Ann"}]}}]})
    };
    created(&harness, &draft("named", named("NAMED"))).await;
    refused(&harness, "named_x", named("POSITIONAL"), Some(2_388_072)).await;
    let code_for = |minutes: u32| {
        json!({"category": "AUTHENTICATION", "message_send_ttl_seconds": 900, "components": [
        {"type": "BODY", "add_security_recommendation": true}, {"type": "FOOTER", "code_expiration_minutes": minutes},
        {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE", "text": "Copy code"}]}]})
    };
    created(&harness, &draft("login", code_for(90))).await;
    refused(&harness, "login_x", code_for(91), Some(2_388_073)).await;
    refused(
        &harness,
        "login_y",
        json!({"category": "AUTHENTICATION"}),
        Some(2_388_072),
    )
    .await;
}

/// A template with everything that can be filled in.
async fn with_all_parts(harness: &Harness) {
    let definition = json!({"parameter_format": "NAMED", "components": [
        {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}},
        {"type": "BODY", "text": "Hi {{first_name}}, order {{order_no}} leaves today.", "example": {"body_text_named_params": [
            {"param_name": "first_name", "example": "Priya"}, {"param_name": "order_no", "example": "8841"}]}},
        {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Confirm"},
            {"type": "URL", "text": "Track", "url": "https://example.org/t/{{1}}", "example": ["8841"]},
            {"type": "COPY_CODE", "example": "SPRING20"}]}]});
    created(harness, &draft("parts", definition)).await;
    created(
        harness,
        &draft(
            "place",
            json!({"components": [{"type": "HEADER", "format": "LOCATION"}, body("Here we are.")]}),
        ),
    )
    .await;
    created(
        harness,
        &draft(
            "long",
            json!({"components": [{"type": "BODY", "text": "This is it: {{1}}.",
        "example": {"body_text": [["x"]]}}]}),
        ),
    )
    .await;
    created(
        harness,
        &draft(
            "login",
            json!({"category": "AUTHENTICATION", "components": [{"type": "BODY"},
        {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE", "text": "Copy code"}]}]}),
        ),
    )
    .await;
    created(harness, &draft("cards", json!({"category": "MARKETING", "components": [body("Look at these."),
        {"type": "CAROUSEL", "cards": [
            {"components": [{"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}}, body("The first one."),
                {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "More"}]}]},
            {"components": [{"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}}, body("The second one."),
                {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "More"}]}]}]}]}))).await;
    harness.advance(10_000).await;
}

fn send(name: &str, components: Value) -> Value {
    json!({"to": "447700900101", "type": "template",
        "template": {"name": name, "language": {"code": "en_GB"}, "components": components}})
}

#[tokio::test]
async fn a_send_is_held_against_the_definition() {
    let harness = start(without_limits()).await;
    with_all_parts(&harness).await;
    let header =
        json!({"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.org/1.jpg"}}]});
    let named = |name: &str, text: &str| json!({"type": "text", "parameter_name": name, "text": text});
    let words = |parameters: Value| json!({"type": "body", "parameters": parameters});
    let fine = words(json!([named("order_no", "8841"), named("first_name", "Priya")]));
    let reply = json!({"type": "button", "sub_type": "quick_reply", "index": 0, "parameters": [{"type": "payload", "payload": "YES"}]});
    let track =
        json!({"type": "button", "sub_type": "url", "index": "1", "parameters": [{"type": "text", "text": "8841"}]});
    let copy = json!({"type": "button", "sub_type": "copy_code", "index": "2", "parameters": [{"type": "coupon_code", "coupon_code": "X20"}]});
    let code_of = |text: &str, button: &str| {
        json!([words(json!([{"type": "text", "text": text}])),
        {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": button}]}])
    };
    let card = |index: u32| json!({"card_index": index, "components": [header]});
    let accepted = [
        send("parts", json!([header, fine, reply, track, copy])),
        send("parts", json!([header, fine, track, copy])),
        send(
            "place",
            json!([{"type": "header", "parameters": [{"type": "location", "location": {"latitude": "52.1", "longitude": 4.3}}]}]),
        ),
        send(
            "long",
            json!([words(json!([{"type": "text", "text": "x".repeat(1011)}]))]),
        ),
        send(
            "long",
            json!([words(
                json!([{"type": "currency", "currency": {"fallback_value": "£10.00", "code": "GBP", "amount_1000": 10000}}])
            )]),
        ),
        send("login", code_of("482913", "482913")),
        send("login", code_of(&"1".repeat(15), &"1".repeat(15))),
        send("cards", json!([{"type": "carousel", "cards": [card(0), card(1)]}])),
    ];
    for message in accepted {
        let answer = harness.whatsapp(message.clone()).await;
        assert_eq!(answer.0, 200, "{answer:?} for {message}");
    }
    let refused = [
        (send("parts", json!([fine, track, copy])), 132_012),
        (
            send(
                "parts",
                json!([{"type": "header", "parameters": [{"type": "video", "video": {"id": "1"}}]}, fine, track, copy]),
            ),
            132_012,
        ),
        (
            send(
                "parts",
                json!([{"type": "header", "parameters": [{"type": "image", "image": {}}]}, fine, track, copy]),
            ),
            131_008,
        ),
        (
            send(
                "parts",
                json!([header, words(json!([named("first_name", "Priya")])), track, copy]),
            ),
            132_000,
        ),
        (
            send(
                "parts",
                json!([
                    header,
                    words(json!([{"type": "text", "text": "a"}, named("order_no", "1")])),
                    track,
                    copy
                ]),
            ),
            132_012,
        ),
        (
            send(
                "parts",
                json!([
                    header,
                    words(json!([named("colour", "a"), named("order_no", "1")])),
                    track,
                    copy
                ]),
            ),
            132_012,
        ),
        (
            send(
                "parts",
                json!([
                    header,
                    words(json!([named("order_no", "a"), named("order_no", "1")])),
                    track,
                    copy
                ]),
            ),
            132_012,
        ),
        (
            send(
                "parts",
                json!([
                    header,
                    words(json!([named("first_name", ""), named("order_no", "1")])),
                    track,
                    copy
                ]),
            ),
            132_012,
        ),
        (
            send(
                "parts",
                json!([
                    header,
                    words(json!([named("first_name", "a\tb"), named("order_no", "1")])),
                    track,
                    copy
                ]),
            ),
            132_018,
        ),
        (
            send(
                "parts",
                json!([
                    header,
                    words(json!([named("first_name", "a     b"), named("order_no", "1")])),
                    track,
                    copy
                ]),
            ),
            132_018,
        ),
        (send("parts", json!([header, fine, copy])), 131_008),
        (send("parts", json!([header, fine, track])), 131_008),
        (
            send(
                "parts",
                json!([header, fine, track, copy, {"type": "button", "sub_type": "url", "index": 0, "parameters": []}]),
            ),
            132_012,
        ),
        (
            send(
                "parts",
                json!([header, fine, track, copy, {"type": "button", "sub_type": "url", "index": 3, "parameters": []}]),
            ),
            132_012,
        ),
        (
            send(
                "parts",
                json!([header, fine, track, copy, {"type": "button", "index": 3, "parameters": []}]),
            ),
            131_008,
        ),
        (
            send("parts", json!([header, fine, track, copy, {"type": "sidebar"}])),
            100,
        ),
        (
            send(
                "place",
                json!([{"type": "header", "parameters": [{"type": "location", "location": {"latitude": "52.1"}}]}]),
            ),
            131_008,
        ),
        (
            send(
                "long",
                json!([words(json!([{"type": "text", "text": "x".repeat(1012)}]))]),
            ),
            132_005,
        ),
        (
            send(
                "long",
                json!([words(
                    json!([{"type": "currency", "currency": {"fallback_value": "£10.00", "code": "pounds", "amount_1000": 1}}])
                )]),
            ),
            132_008,
        ),
        (send("login", code_of("482913", "482914")), 132_012),
        (send("login", code_of(&"1".repeat(16), &"1".repeat(16))), 132_012),
        (
            send("cards", json!([{"type": "carousel", "cards": [card(0)]}])),
            132_000,
        ),
        (
            send("cards", json!([{"type": "carousel", "cards": [card(1), card(0)]}])),
            132_012,
        ),
        (send("cards", json!([])), 131_008),
    ];
    for (message, expected) in refused {
        let answer = harness.whatsapp(message.clone()).await;
        assert_eq!(code(&answer).1, expected, "{answer:?} for {message}");
    }
    let url = format!("{}/sandbox/customers/amara/threads/{PHONE}", harness.sandbox.url());
    let (_, thread) = harness.call(harness.http.get(url), "").await;
    let shown = &thread["messages"][0];
    assert_eq!(shown["text"], "Hi Priya, order 8841 leaves today.");
    assert_eq!(shown["headerMedia"]["link"], "https://example.org/1.jpg");
    assert_eq!(
        (
            &shown["buttons"][0]["payload"],
            &shown["buttons"][1]["url"],
            &shown["buttons"][2]["payload"]
        ),
        (&json!("YES"), &json!("https://example.org/t/8841"), &json!("X20"))
    );
}

#[tokio::test]
async fn templates_of_another_account_are_out_of_reach() {
    let mut options = without_limits();
    let with_backup = tidings_sandbox::World::with_backup();
    options.world.numbers.push(with_backup.numbers[1].clone());
    options.world.tokens.push(with_backup.tokens[2].clone());
    let harness = start(options).await;
    let id = created(&harness, &draft("fine", json!({}))).await;
    let other = harness.variable("WHATSAPP_BACKUP_ACCESS_TOKEN");
    let (_, listed) = harness
        .get("/v26.0/100000000000002/message_templates?name=fine", &other)
        .await;
    assert_eq!(listed["data"], json!([]));
    assert_eq!(code(&harness.get(&format!("/v26.0/{id}"), &other).await).1, 200);
    assert_eq!(
        code(
            &harness
                .get(&format!("/v26.0/{ACCOUNT}/message_templates"), &other)
                .await
        )
        .1,
        200
    );
    let anything = text_to("447700900101", "x");
    assert_eq!(
        code(&harness.post(&format!("/v26.0/{id}"), &other, &anything).await).1,
        200
    );
}

#[tokio::test]
async fn an_example_is_uploaded_and_its_handle_used() {
    let harness = start(without_limits()).await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let app = harness.variable("META_APP_ID");
    let begin = async |query: &str| {
        let url = format!("{}/v26.0/{app}/uploads?{query}", harness.sandbox.url());
        harness.call(harness.http.post(url), &token).await
    };
    for wrong in [
        "file_name=a.png&file_length=4",
        "file_name=a.png&file_length=0&file_type=image/png",
        "file_name=a.gif&file_length=4&file_type=image/gif",
    ] {
        assert_eq!(code(&begin(wrong).await), (400, 100, None), "{wrong}");
    }
    let (_, begun) = begin("file_name=a.png&file_length=4&file_type=image/png").await;
    let session = begun["id"].as_str().unwrap().to_owned();
    let send = async |offset: &str, bytes: &'static [u8]| {
        let url = format!("{}/v26.0/{session}", harness.sandbox.url());
        let request = harness.http.post(url).header("file_offset", offset).body(bytes);
        harness.call(request, &token).await
    };
    assert_eq!(code(&send("1", b"\x89PNG").await).1, 100);
    assert_eq!(code(&send("0", b"\x89P").await).1, 100);
    let (status, uploaded) = send("0", b"\x89PNG").await;
    assert_eq!(status, 200);
    assert_eq!(code(&send("0", b"\x89PNG").await).1, 100, "it is done");
    let components = json!({"components": [{"type": "HEADER", "format": "IMAGE", "example": {"header_handle": [uploaded["h"]]}},
        body("All is well.")]});
    created(&harness, &draft("with_media", components)).await;
}
