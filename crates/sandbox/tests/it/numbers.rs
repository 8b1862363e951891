//! What a business does with its number: registers it, and blocks people.

use serde_json::{Value, json};
use tidings_sandbox::{LedgerKind, NumberStatus};

use super::harness::{Harness, PHONE, code, start, stepped, text_to};

const HOUR: u64 = 3_600_000;
const AMARA: &str = "447700900101";

async fn post(harness: &Harness, edge: &str, body: Value) -> (u16, Value) {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    harness.post(&format!("/v26.0/{PHONE}{edge}"), &token, &body).await
}

async fn register(harness: &Harness, pin: &str) -> (u16, Value) {
    post(
        harness,
        "/register",
        json!({"messaging_product": "whatsapp", "pin": pin}),
    )
    .await
}

async fn field(harness: &Harness, name: &str) -> Value {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    harness.get(&format!("/{PHONE}?fields={name}"), &token).await.1[name].clone()
}

fn done() -> (u16, Value) {
    (200, json!({"success": true}))
}

fn change(harness: &Harness, change: Value) {
    harness
        .sandbox
        .change_number(PHONE, serde_json::from_value(change).unwrap())
        .unwrap();
}

#[tokio::test]
async fn a_number_is_deregistered_and_registered_with_its_pin() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    assert_eq!(post(&harness, "/deregister", json!({})).await, done());
    assert_eq!(field(&harness, "status").await, "PENDING");
    assert_eq!(
        code(&harness.whatsapp(text_to(AMARA, "hi")).await),
        (400, 133_010, None)
    );
    assert_eq!(code(&post(&harness, "/deregister", json!({})).await).1, 133_010);
    assert_eq!(code(&post(&harness, "", json!({"pin": "654321"})).await).1, 133_010);
    for wrong in ["12345", "1234567", "12345a", ""] {
        assert_eq!(code(&register(&harness, wrong).await), (400, 100, None), "{wrong}");
    }
    assert_eq!(
        code(&post(&harness, "/register", json!({"pin": "123456"})).await).1,
        100
    );
    assert_eq!(code(&register(&harness, "000000").await), (400, 133_005, None));
    assert_eq!(register(&harness, "123456").await, done());
    assert_eq!(harness.whatsapp(text_to(AMARA, "hi")).await.0, 200);
    // Another PIN.
    assert_eq!(post(&harness, "", json!({"pin": 654_321})).await, done());
    assert_eq!(code(&post(&harness, "", json!({"pin": "1"})).await).1, 100);
    assert_eq!(
        code(&post(&harness, "", json!({"webhook_configuration": {}})).await).1,
        100
    );
    harness.advance(1_000).await;
    assert_eq!(code(&register(&harness, "123456").await).1, 133_005);
    assert_eq!(register(&harness, "654321").await, done());
    // One that is used in the app too stays.
    change(&harness, json!({"sharedWithPhone": true}));
    assert_eq!(code(&post(&harness, "/deregister", json!({})).await), (400, 100, None));
    // What Meta has taken does not come back so.
    change(
        &harness,
        json!({"sharedWithPhone": false, "status": NumberStatus::Blocked}),
    );
    assert_eq!(register(&harness, "654321").await, done());
    assert_eq!(field(&harness, "status").await, "BANNED");
}

#[tokio::test]
async fn a_number_is_registered_only_so_often() {
    let harness = start(stepped()).await;
    for _ in 0..10 {
        assert_eq!(register(&harness, "123456").await, done());
        harness.advance(HOUR).await;
    }
    assert_eq!(code(&register(&harness, "123456").await), (400, 133_016, None));
    assert_eq!(code(&post(&harness, "/deregister", json!({})).await).1, 133_016);
    // The first ones are over, but asking prolonged it by those that were refused.
    harness.advance(72 * HOUR).await;
    assert_eq!(register(&harness, "123456").await, done());
}

#[tokio::test]
async fn a_pin_cannot_be_guessed() {
    let harness = start(stepped()).await;
    assert_eq!(code(&register(&harness, "000000").await).1, 133_005);
    assert_eq!(code(&register(&harness, "000001").await).1, 133_009);
    for _ in 0..4 {
        harness.advance(1_000).await;
        assert_eq!(code(&register(&harness, "000002").await).1, 133_005);
    }
    harness.advance(1_000).await;
    let refused = register(&harness, "000003").await;
    assert_eq!(code(&refused).1, 133_008);
    assert!(
        refused.1["error"]["error_data"]["details"]
            .as_str()
            .unwrap()
            .contains("1 hour")
    );
    harness.advance(72 * HOUR).await;
    assert_eq!(register(&harness, "123456").await, done());
}

#[tokio::test]
async fn a_number_is_verified_by_the_code_that_it_was_sent() {
    let harness = start(stepped()).await;
    change(&harness, json!({"verified": false}));
    assert_eq!(field(&harness, "code_verification_status").await, "NOT_VERIFIED");
    assert_eq!(code(&register(&harness, "123456").await), (400, 133_006, None));
    for wrong in [
        json!({}),
        json!({"code_method": "SMS"}),
        json!({"code_method": "FAX", "language": "en_GB"}),
    ] {
        assert_eq!(code(&post(&harness, "/request_code", wrong).await), (400, 100, None));
    }
    assert_eq!(
        code(&post(&harness, "/verify_code", json!({"code": "123456"})).await).1,
        100,
        "none was asked for"
    );
    let asked = json!({"code_method": "SMS", "language": "en_GB"});
    assert_eq!(post(&harness, "/request_code", asked).await, done());
    let (_, state) = harness.get("/sandbox/state", "").await;
    let sent = state["numbers"][0]["verificationCode"].as_str().unwrap().to_owned();
    let wrong = if sent == "111111" { "222222" } else { "111111" };
    assert_eq!(
        code(&post(&harness, "/verify_code", json!({"code": wrong})).await),
        (400, 100, None)
    );
    assert_eq!(post(&harness, "/verify_code", json!({"code": sent})).await, done());
    assert_eq!(field(&harness, "code_verification_status").await, "VERIFIED");
    assert_eq!(register(&harness, "123456").await, done());
}

// --- The block list -----------------------------------------------------------------------------------------------------

async fn blocks(harness: &Harness, method: reqwest::Method, users: Value) -> (u16, Value) {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let url = format!("{}/v26.0/{PHONE}/block_users", harness.sandbox.url());
    let body = json!({"messaging_product": "whatsapp", "block_users": users});
    harness
        .call(harness.http.request(method, url).json(&body), &token)
        .await
}

async fn listed(harness: &Harness, query: &str) -> (u16, Value) {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    harness.get(&format!("/{PHONE}/block_users?{query}"), &token).await
}

#[tokio::test]
async fn who_is_blocked_is_not_heard_and_not_written_to() {
    use reqwest::Method;
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    harness.advance(0).await;
    let heard = harness.receiver.values().len();
    let (status, answer) = blocks(&harness, Method::POST, json!([{"user": "+44 7700 900101"}])).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({"messaging_product": "whatsapp", "block_users": {
            "added_users": [{"input": "+44 7700 900101", "wa_id": AMARA}]}})
    );
    harness.writes("amara", PHONE, "can you hear me?");
    harness.advance(1_000).await;
    assert_eq!(harness.receiver.values().len(), heard, "nobody is told");
    assert_eq!(harness.whatsapp(text_to(AMARA, "hi")).await.0, 200);
    harness.advance(1_000).await;
    let status = harness.receiver.statuses().last().unwrap().clone();
    assert_eq!(
        (&status["status"], &status["errors"][0]["code"]),
        (&json!("failed"), &json!(130_403))
    );
    assert_eq!(harness.entries(LedgerKind::Failed).len(), 1);
    let (_, list) = listed(&harness, "").await;
    assert_eq!(list["data"][0]["wa_id"], AMARA);

    let (status, answer) = blocks(&harness, Method::DELETE, json!([{"user": AMARA}])).await;
    assert_eq!(
        (status, &answer["block_users"]["removed_users"][0]["wa_id"]),
        (200, &json!(AMARA))
    );
    assert_eq!(listed(&harness, "").await.1, json!({"data": []}));
    harness.writes("amara", PHONE, "and now?");
    harness.advance(1_000).await;
    let last = harness.receiver.values().last().unwrap().clone();
    assert_eq!(last["messages"][0]["text"]["body"], "and now?");
}

#[tokio::test]
async fn of_several_people_it_is_told_whom_it_concerns() {
    use reqwest::Method;
    let harness = start(stepped()).await;
    for customer in ["amara", "jonas"] {
        harness.writes(customer, PHONE, "hello");
    }
    let jonas = harness.sandbox.customer("jonas").unwrap();
    let (status, answer) = blocks(
        &harness,
        Method::POST,
        json!([{"user": AMARA}, {"user": "447700900999"}, {"user": "442079460100"}]),
    )
    .await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(139_100)));
    let users = &answer["block_users"];
    assert_eq!(users["added_users"].as_array().unwrap().len(), 1);
    assert_eq!(users["failed_users"].as_array().unwrap().len(), 2);
    assert_eq!(users["failed_users"][0]["errors"][0]["code"], 131_026);
    // By the user id; again is no mistake.
    let by_id = json!([{"user_id": jonas.user_id.unwrap()}, {"user": AMARA}]);
    assert_eq!(blocks(&harness, Method::POST, by_id).await.0, 200);
    // By cursor.
    let (_, first) = listed(&harness, "limit=1").await;
    assert_eq!(first["data"].as_array().unwrap().len(), 1);
    let after = first["paging"]["cursors"]["after"].as_str().unwrap();
    let (_, second) = listed(&harness, &format!("limit=1&after={after}")).await;
    assert_ne!(second["data"], first["data"]);
    assert_eq!(code(&listed(&harness, "after=x").await), (400, 131_059, None));
    assert_eq!(code(&listed(&harness, "limit=0").await), (400, 100, None));
    for wrong in [json!([]), json!("x"), json!([{}])] {
        assert_eq!(code(&blocks(&harness, Method::POST, wrong).await).1, 100);
    }
    // Only who wrote in the last day, and only so many.
    blocks(&harness, Method::DELETE, json!([{"user": AMARA}])).await;
    harness.advance(25 * HOUR).await;
    let late = blocks(&harness, Method::POST, json!([{"user": AMARA}])).await;
    assert_eq!(late.1["block_users"]["failed_users"][0]["errors"][0]["code"], 131_047);
    harness.writes("amara", PHONE, "hello again");
    change(&harness, json!({"limits": {"blockList": 1}}));
    assert_eq!(
        code(&blocks(&harness, Method::POST, json!([{"user": AMARA}])).await),
        (400, 139_101, None)
    );
}
