//! Limits, on both sides of each.

use serde_json::{Value, json};
use tidings_sandbox::{Content, NumberLimits, Options, Quality};

use super::harness::{ACCOUNT, Harness, PHONE, START, code, start, stepped, text_to};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const BUSINESS_ACCOUNT: &str = "100000000000001";

/// No limit but those that a test sets.
pub(crate) fn without_limits() -> Options {
    let mut options = stepped();
    options.world.numbers[0].throughput = 0;
    options.world.numbers[0].limits = NumberLimits::none();
    options
}

/// Sends until something is refused; answers how many were accepted, and the refusal.
async fn until_refused(harness: &Harness, at_most: usize, to: impl Fn(usize) -> Value) -> (usize, (u16, Value)) {
    for number in 0..at_most {
        let answer = harness.whatsapp(to(number)).await;
        if answer.0 != 200 {
            return (number, answer);
        }
    }
    panic!("nothing was refused");
}

fn stranger(number: usize) -> Value {
    text_to(&format!("3160000{number:04}"), "hi")
}

async fn set_limits(harness: &Harness, limits: Value) {
    change(harness, json!({ "limits": limits })).await;
}

async fn change(harness: &Harness, change: Value) -> Value {
    let url = format!("{}/sandbox/numbers/{PHONE}", harness.sandbox.url());
    let (status, answer) = harness.call(harness.http.patch(url).json(&change), "").await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn template(to: &str, name: &str) -> Value {
    json!({"to": to, "type": "template", "template": {"name": name, "language": {"code": "en_US"}}})
}

/// Adds a customer with this phone number.
fn customer(harness: &Harness, phone: &str) {
    let new = json!({"id": phone, "name": phone, "phone": phone});
    harness
        .sandbox
        .add_customer(serde_json::from_value(new).unwrap())
        .unwrap();
}

#[tokio::test]
async fn throughput_holds_in_any_second_and_for_each_number() {
    let mut options = without_limits();
    options.world.numbers[0].throughput = 80;
    let harness = start(options).await;
    for number in 0..40 {
        assert_eq!(harness.whatsapp(stranger(number)).await.0, 200);
    }
    harness.advance(600).await;
    let (taken, refused) = until_refused(&harness, 41, stranger).await;
    assert_eq!((taken, code(&refused)), (40, (400, 130_429, Some(2_494_055))));
    harness.advance(399).await;
    assert_eq!(harness.whatsapp(stranger(0)).await.0, 400);
    harness.advance(1).await;
    let (taken, _) = until_refused(&harness, 41, stranger).await;
    assert_eq!(taken, 40, "those of 600 ms ago still count");

    assert_eq!(change(&harness, json!({"throughput": 1000})).await["throughput"], 1000);
    let (taken, _) = until_refused(&harness, 1001, stranger).await;
    assert_eq!(taken, 920);
    change(&harness, json!({"throughput": 0})).await;
    assert_eq!(harness.whatsapp(stranger(0)).await.0, 200, "0 is off");
    harness.advance(0).await;
    let updates = harness.receiver.values();
    assert!(
        updates.iter().any(|value| value["event"] == "THROUGHPUT_UPGRADE"),
        "{updates:?}"
    );
}

#[tokio::test]
async fn a_number_shared_with_the_phone_sends_20_a_second() {
    let mut options = without_limits();
    options.world.numbers[0].throughput = 1000;
    options.world.numbers[0].shared_with_phone = true;
    let harness = start(options).await;
    assert_eq!(until_refused(&harness, 21, stranger).await.0, 20);
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let (_, number) = harness
        .get(&format!("/{PHONE}?fields=is_on_biz_app,throughput"), &token)
        .await;
    assert_eq!(
        (&number["is_on_biz_app"], &number["throughput"]["level"]),
        (&json!(true), &json!("STANDARD"))
    );
}

#[tokio::test]
async fn an_upgrade_makes_the_number_pause() {
    let harness = start(without_limits()).await;
    change(&harness, json!({"throughput": 1000, "upgradeMs": 60_000})).await;
    assert_eq!(code(&harness.whatsapp(stranger(0)).await), (500, 131_057, None));
    harness.advance(60_000).await;
    assert_eq!(harness.whatsapp(stranger(0)).await.0, 200);
}

#[tokio::test]
async fn what_customers_write_can_count_towards_the_throughput() {
    let mut options = without_limits();
    options.world.numbers[0].throughput = 3;
    options.rules.throughput_counts_inbound = true;
    let harness = start(options).await;
    harness.writes("amara", PHONE, "one");
    harness.writes("amara", PHONE, "two");
    assert_eq!(until_refused(&harness, 2, stranger).await.0, 1);
}

#[tokio::test]
async fn a_pair_borrows_a_burst_and_pays_it_back() {
    let harness = start(without_limits()).await;
    harness.writes("amara", PHONE, "hello");
    let hi = |_| text_to("447700900101", "hi");
    set_limits(&harness, json!({"pairBurst": 45, "pairSeconds": 6})).await;
    let (taken, refused) = until_refused(&harness, 46, hi).await;
    assert_eq!((taken, code(&refused)), (45, (400, 131_056, None)));
    assert_eq!(
        refused.1["error"]["message"],
        "(#131056) (Business Account, Consumer Account) pair rate limit hit"
    );
    assert_eq!(harness.whatsapp(stranger(0)).await.0, 200, "others are left alone");
    harness.advance(6_000).await;
    assert_eq!(until_refused(&harness, 2, hi).await.0, 1);
    set_limits(&harness, json!({"pairSeconds": 0})).await;
    assert_eq!(harness.whatsapp(hi(0)).await.0, 200, "0 is off");
}

#[tokio::test]
async fn read_strictly_a_burst_is_followed_by_silence() {
    let mut options = without_limits();
    options.world.numbers[0].limits = NumberLimits {
        pair_burst: 45,
        pair_seconds: 6,
        ..NumberLimits::none()
    };
    options.rules.pair_strict = true;
    let harness = start(options).await;
    harness.writes("amara", PHONE, "hello");
    for _ in 0..20 {
        assert_eq!(harness.whatsapp(text_to("447700900101", "hi")).await.0, 200);
    }
    harness.advance(20 * 6_000 - 1).await;
    assert_eq!(code(&harness.whatsapp(text_to("447700900101", "hi")).await).1, 131_056);
    harness.advance(1).await;
    assert_eq!(harness.whatsapp(text_to("447700900101", "hi")).await.0, 200);
}

#[tokio::test]
async fn the_messages_of_a_day_are_those_of_the_whole_account() {
    let harness = start(without_limits()).await;
    set_limits(&harness, json!({"messagesPerDay": 10})).await;
    let (taken, refused) = until_refused(&harness, 11, stranger).await;
    assert_eq!((taken, code(&refused)), (10, (400, 80_007, None)));
    // A second number of the same account shares it.
    let second = json!({"businessAccountId": BUSINESS_ACCOUNT, "limits": {"messagesPerDay": 10}});
    let (_, second) = harness.post("/sandbox/numbers", "", &second).await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let path = format!("/{}/messages", second["phoneNumberId"].as_str().unwrap());
    let mut message = stranger(0);
    message["messaging_product"] = json!("whatsapp");
    assert_eq!(code(&harness.post(&path, &token, &message).await).1, 80_007);
    harness.advance(DAY).await;
    assert_eq!(harness.post(&path, &token, &message).await.0, 200);
    assert_eq!(until_refused(&harness, 10, stranger).await.0, 9);
}

#[tokio::test]
async fn the_headers_say_how_much_is_used_and_for_how_long_it_lasts() {
    let harness = start(without_limits()).await;
    set_limits(&harness, json!({"messagesPerDay": 4})).await;
    let send = async || {
        let mut message = stranger(0);
        message["messaging_product"] = json!("whatsapp");
        let url = format!("{}/{PHONE}/messages", harness.sandbox.url());
        let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
        let answer = harness
            .http
            .post(url)
            .bearer_auth(token)
            .json(&message)
            .send()
            .await
            .unwrap();
        let header = answer.headers()["x-business-use-case-usage"].to_str().unwrap();
        let usage: Value = serde_json::from_str(header).unwrap();
        let usage = usage[BUSINESS_ACCOUNT][0].clone();
        (
            answer.status().as_u16(),
            usage["call_count"].clone(),
            usage["estimated_time_to_regain_access"].clone(),
        )
    };
    assert_eq!(send().await, (200, json!(25), json!(0)));
    harness.advance(HOUR).await;
    assert_eq!(send().await, (200, json!(50), json!(0)));
    assert_eq!(send().await, (200, json!(75), json!(0)));
    assert_eq!(send().await, (200, json!(100), json!(23 * 60)));
    assert_eq!(send().await, (400, json!(100), json!(23 * 60)));
}

#[tokio::test]
async fn calls_are_counted_and_calls_beyond_the_limit_prolong_the_wait() {
    let mut options = without_limits();
    options.rules.app_calls_per_hour = 20;
    let harness = start(options).await;
    set_limits(&harness, json!({"callsPerHour": 3})).await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let path = format!("/{BUSINESS_ACCOUNT}/phone_numbers");
    for _ in 0..3 {
        assert_eq!(harness.get(&path, &token).await.0, 200);
    }
    harness.advance(HOUR - 1).await;
    assert_eq!(code(&harness.get(&path, &token).await), (400, 80_007, None));
    harness.advance(1).await;
    assert_eq!(harness.get(&path, &token).await.0, 200);
    // Reading the number itself is none of those calls, but one of the app's.
    for _ in 0..18 {
        assert_eq!(harness.get(&format!("/{PHONE}"), &token).await.0, 200);
    }
    let url = format!("{}/{PHONE}", harness.sandbox.url());
    let answer = harness.http.get(url).bearer_auth(&token).send().await.unwrap();
    let usage: Value = serde_json::from_str(answer.headers()["x-app-usage"].to_str().unwrap()).unwrap();
    assert_eq!(usage["call_count"], 105);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], 4);
}

#[tokio::test]
async fn the_tier_counts_people_that_are_written_to_first() {
    let harness = start(without_limits()).await;
    set_limits(&harness, json!({"contactsPerDay": 2})).await;
    for phone in ["31600000001", "31600000002", "31600000003"] {
        customer(&harness, phone);
    }
    let first = |phone: &str| template(phone, "hello_world");
    assert_eq!(harness.whatsapp(first("31600000001")).await.0, 200);
    assert_eq!(harness.whatsapp(first("31600000002")).await.0, 200);
    assert_eq!(
        harness.whatsapp(first("31600000002")).await.0,
        200,
        "the same person again"
    );
    let refused = harness.whatsapp(first("31600000003")).await;
    assert_eq!(code(&refused), (400, 131_048, None));
    harness.writes("31600000003", PHONE, "hello");
    assert_eq!(harness.whatsapp(first("31600000003")).await.0, 200, "an answer");
    harness.advance(DAY).await;
    assert_eq!(harness.whatsapp(first("31600000003")).await.0, 200);
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let field = "whatsapp_business_manager_messaging_limit";
    set_limits(&harness, json!({"contactsPerDay": 10_000})).await;
    assert_eq!(
        harness.get(&format!("/{PHONE}?fields={field}"), &token).await.1[field],
        "TIER_10K"
    );
    set_limits(&harness, json!({"contactsPerDay": 0})).await;
    assert_eq!(
        harness.get(&format!("/{PHONE}?fields={field}"), &token).await.1[field],
        "TIER_UNLIMITED"
    );
}

#[tokio::test]
async fn a_person_gets_only_so_much_marketing() {
    let mut options = without_limits();
    let mut offer = options.world.templates[0].clone();
    offer.name = "offer".to_owned();
    offer.category = "MARKETING".to_owned();
    options.world.templates.push(offer);
    let harness = start(options).await;
    set_limits(&harness, json!({"marketingPerDay": 1})).await;
    // India has the limit, the Netherlands have not, the United States get no marketing at all.
    let (india, netherlands, states) = ("919000000001", "31600000001", "12025550101");
    for phone in [india, netherlands, states] {
        customer(&harness, phone);
    }
    let outcome = async |phone: &str| {
        let (status, answer) = harness.whatsapp(template(phone, "offer")).await;
        assert_eq!(status, 200, "{answer}");
        harness.advance(300).await;
        let statuses = harness.receiver.statuses();
        let last = statuses
            .iter()
            .rev()
            .find(|status| status["id"] == answer["messages"][0]["id"])
            .unwrap();
        last["errors"][0]["code"].clone()
    };
    assert_eq!(outcome(india).await, Value::Null);
    assert_eq!(outcome(india).await, 131_049);
    harness.advance(DAY - 1_000).await;
    assert_eq!(outcome(india).await, 131_049, "pressing on makes it last");
    harness.advance(DAY).await;
    assert_eq!(outcome(india).await, Value::Null);
    for _ in 0..3 {
        assert_eq!(outcome(netherlands).await, Value::Null);
    }
    assert_eq!(outcome(states).await, 131_049);
    harness.writes(india, PHONE, "hello");
    assert_eq!(outcome(india).await, Value::Null, "within the window");
    harness.sandbox.write(india, PHONE, Content::StopMarketing).unwrap();
    assert_eq!(outcome(india).await, 131_050);
    let preference = harness
        .receiver
        .values()
        .into_iter()
        .find(|value| value.get("user_preferences").is_some())
        .unwrap();
    assert_eq!(preference["user_preferences"][0]["value"], "stop");
    harness.sandbox.write(india, PHONE, Content::ResumeMarketing).unwrap();
    assert_eq!(outcome(india).await, Value::Null);
}

#[tokio::test]
async fn blocks_lower_the_quality_for_a_week() {
    let harness = start(without_limits()).await;
    set_limits(&harness, json!({"yellowAfter": 1, "redAfter": 2})).await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let rating = async || {
        let (_, number) = harness
            .get(&format!("/{PHONE}?fields=quality_rating,status"), &token)
            .await;
        (number["quality_rating"].clone(), number["status"].clone())
    };
    harness.writes("amara", PHONE, "hello");
    assert_eq!(rating().await, (json!("GREEN"), json!("CONNECTED")));
    for _ in 0..2 {
        harness.sandbox.write("amara", PHONE, Content::Block).unwrap();
    }
    assert_eq!(rating().await.0, "YELLOW", "who blocks twice blocks once");
    assert_eq!(harness.whatsapp(text_to("447700900101", "hi")).await.0, 200);
    harness.advance(1_000).await;
    assert_eq!(
        harness.receiver.statuses().last().unwrap()["errors"][0]["code"],
        131_026
    );
    harness.sandbox.write("jonas", PHONE, Content::Block).unwrap();
    assert_eq!(rating().await, (json!("RED"), json!("FLAGGED")));
    harness.advance(0).await;
    assert!(
        harness
            .receiver
            .values()
            .iter()
            .any(|value| value["event"] == "FLAGGED")
    );
    harness.advance(7 * DAY).await;
    assert_eq!(rating().await.0, "GREEN");
    change(&harness, json!({"quality": Quality::Yellow})).await;
    assert_eq!(rating().await.0, "YELLOW");
    change(&harness, json!({"quality": null, "status": "connected"})).await;
    assert_eq!(rating().await, (json!("GREEN"), json!("CONNECTED")));
}

#[tokio::test]
async fn what_a_number_may_do_hangs_on_its_status() {
    let harness = start(without_limits()).await;
    harness.writes("amara", PHONE, "hello");
    let (answer, first) = (text_to("447700900101", "hi"), template("447700900102", "hello_world"));
    for (status, refusal_of_answers, refusal_of_firsts) in [
        ("flagged", None, None),
        ("restricted", None, Some((403, 368, None))),
        ("blocked", Some((403, 131_031, None)), Some((403, 131_031, None))),
        ("disabled", Some((403, 368, None)), Some((403, 368, None))),
        ("unregistered", Some((400, 133_010, None)), Some((400, 133_010, None))),
        ("connected", None, None),
    ] {
        change(&harness, json!({ "status": status })).await;
        for (message, expected) in [(&answer, refusal_of_answers), (&first, refusal_of_firsts)] {
            let answer = harness.whatsapp(message.clone()).await;
            let refusal = (answer.0 != 200).then(|| code(&answer));
            assert_eq!(refusal, expected, "{status}");
        }
    }
    harness.advance(0).await;
    let events: Vec<Value> = harness
        .receiver
        .values()
        .iter()
        .map(|value| value["event"].clone())
        .collect();
    assert!(
        events.contains(&json!("ACCOUNT_RESTRICTION")) && events.contains(&json!("DISABLED_UPDATE")),
        "{events:?}"
    );
    let times: Vec<Value> = harness
        .receiver
        .bodies()
        .iter()
        .flat_map(|body| body["entry"].as_array().cloned().unwrap())
        .filter(|entry| entry["changes"][0]["field"] == "account_update")
        .map(|entry| entry["time"].clone())
        .collect();
    assert!(times.iter().all(|time| *time == START / 1000), "{times:?}");
}

#[tokio::test]
async fn a_test_number_writes_to_its_list_alone() {
    let harness = start(without_limits()).await;
    change(&harness, json!({"allowed": ["+44 7700 900101"]})).await;
    harness.writes("amara", PHONE, "hello");
    assert_eq!(harness.whatsapp(text_to("447700900101", "hi")).await.0, 200);
    let refused = harness.whatsapp(stranger(0)).await;
    assert_eq!(code(&refused), (400, 131_030, Some(2_655_007)));
    change(&harness, json!({"allowed": null})).await;
    assert_eq!(harness.whatsapp(stranger(0)).await.0, 200);
}

#[tokio::test]
async fn a_paused_template_is_refused_until_it_goes_on() {
    let harness = start(without_limits()).await;
    let url = format!("{}/sandbox/templates/hello_world/en_US", harness.sandbox.url());
    let hello = template("447700900101", "hello_world");
    for (status, expected) in [
        ("PAUSED", (400, 132_015, None)),
        ("DISABLED", (400, 132_016, None)),
        ("PENDING", (404, 132_001, None)),
    ] {
        harness
            .call(harness.http.patch(&url).json(&json!({ "status": status })), "")
            .await;
        assert_eq!(code(&harness.whatsapp(hello.clone()).await), expected);
    }
    harness
        .call(harness.http.patch(&url).json(&json!({"status": "APPROVED"})), "")
        .await;
    assert_eq!(harness.whatsapp(hello).await.0, 200);
    harness.advance(0).await;
    let events: Vec<Value> = harness
        .receiver
        .values()
        .iter()
        .map(|value| value["event"].clone())
        .collect();
    assert_eq!(events, ["PAUSED", "DISABLED", "PENDING", "APPROVED"]);
    let answer = harness
        .call(harness.http.patch(&url).json(&json!({"status": "LOUD"})), "")
        .await;
    assert_eq!(answer.0, 422);
}

#[tokio::test]
async fn instagram_has_limits_by_second_and_by_hour() {
    let harness = start(without_limits()).await;
    let igsid = harness.igsid("lucia").await;
    harness.writes("lucia", ACCOUNT, "hello");
    let url = format!("{}/sandbox/instagram-accounts/{ACCOUNT}", harness.sandbox.url());
    let limit = async |limits: Value| {
        let change = json!({ "limits": limits });
        let (status, answer) = harness.call(harness.http.patch(&url).json(&change), "").await;
        assert_eq!(status, 200, "{answer}");
    };
    let send = async || {
        harness
            .instagram(json!({"recipient": {"id": igsid}, "message": {"text": "hi"}}))
            .await
    };
    let video = json!({"recipient": {"id": igsid}, "message": {"attachment": {
        "type": "video", "payload": {"url": "https://videos.example/1.mp4"}}}});

    limit(json!({"messagesPerSecond": 2})).await;
    assert_eq!((send().await.0, send().await.0), (200, 200));
    assert_eq!(code(&send().await), (400, 613, Some(2_534_040)));
    harness.advance(1_000).await;
    limit(json!({"messagesPerSecond": 0, "mediaPerSecond": 1})).await;
    assert_eq!(harness.instagram(video.clone()).await.0, 200);
    assert_eq!(
        code(&harness.instagram(video.clone()).await),
        (400, 613, Some(2_534_040))
    );
    assert_eq!(send().await.0, 200);

    limit(json!({"mediaPerSecond": 0, "messagesPerContactPerHour": 2})).await;
    assert_eq!((send().await.0, send().await.0), (200, 200));
    assert_eq!(code(&send().await), (400, 613, Some(2_534_040)));
    harness.advance(HOUR).await;
    limit(json!({"messagesPerContactPerHour": 0, "messagesPerHour": 2})).await;
    assert_eq!((send().await.0, send().await.0), (200, 200));
    assert_eq!(code(&send().await), (400, 80_002, None));
    harness.advance(HOUR).await;
    assert_eq!(send().await.0, 200);

    limit(json!({"callsPerDay": 2})).await;
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    assert_eq!(harness.get("/me", &token).await.0, 200);
    assert_eq!(harness.get("/me", &token).await.0, 200);
    assert_eq!(code(&harness.get("/me", &token).await), (400, 80_002, None));
    let (status, refused) = harness
        .call(harness.http.patch(&url).json(&json!({"limits": {"perMoon": 1}})), "")
        .await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("invalid_account")));
}
