//! More than one number and account, and their tokens.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_sandbox::{AccountError, NewInstagramAccount, NewNumber, Options, Script, World};

use super::harness::{ACCOUNT, Harness, PHONE, code, start, stepped, text_to};

async fn send_from(harness: &Harness, number: &str, token: &str) -> (u16, Value) {
    let mut message = text_to("447700900101", "hi");
    message["messaging_product"] = json!("whatsapp");
    harness.post(&format!("/{number}/messages"), token, &message).await
}

#[tokio::test]
async fn a_second_number_has_its_own_account_token_window_and_pace() {
    let options = Options {
        world: World::with_backup(),
        ..stepped()
    };
    let harness = start(options).await;
    let number = harness.variable("WHATSAPP_BACKUP_PHONE_NUMBER_ID");
    let token = harness.variable("WHATSAPP_BACKUP_ACCESS_TOKEN");
    let first = harness.variable("WHATSAPP_ACCESS_TOKEN");
    assert_eq!(code(&send_from(&harness, &number, &first).await), (403, 200, None));
    assert_eq!(code(&send_from(&harness, PHONE, &token).await), (403, 200, None));
    harness.writes("amara", PHONE, "hello");
    assert_eq!(send_from(&harness, &number, &token).await.0, 200);
    harness.advance(1_000).await;
    assert_eq!(
        harness.receiver.statuses()[0]["errors"][0]["code"],
        131_047,
        "the window is the number's own"
    );
    harness.writes("amara", &number, "hello backup");
    assert_eq!(send_from(&harness, &number, &token).await.0, 200);
    harness.advance(1_000).await;
    let value = harness.receiver.values().last().unwrap().clone();
    assert_eq!(value["metadata"]["phone_number_id"], number);
    let bodies = harness.receiver.bodies();
    assert_eq!(bodies.last().unwrap()["entry"][0]["id"], "100000000000002");
}

#[tokio::test]
async fn numbers_and_accounts_are_added_over_http() {
    let harness = start(stepped()).await;
    let (status, number) = harness
        .post("/sandbox/numbers", "", &json!({"phone": "+31 20 555 0100"}))
        .await;
    assert_eq!((status, &number["phone"]), (201, &json!("31205550100")));
    let (id, token) = (
        number["phoneNumberId"].as_str().unwrap(),
        number["token"].as_str().unwrap(),
    );
    harness.writes("amara", id, "hello");
    assert_eq!(send_from(&harness, id, token).await.0, 200);
    let (status, refused) = harness.post("/sandbox/numbers", "", &json!({"id": PHONE})).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("taken")));
    let (status, refused) = harness.post("/sandbox/numbers", "", &json!({"id": "../x"})).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("invalid_account")));

    let (status, account) = harness
        .post("/sandbox/instagram-accounts", "", &json!({"username": "second"}))
        .await;
    assert_eq!(status, 201);
    let (id, token) = (account["id"].as_str().unwrap(), account["token"].as_str().unwrap());
    let (_, me) = harness.get("/me?fields=user_id,username", token).await;
    assert_eq!((&me["user_id"], &me["username"]), (&json!(id), &json!("second")));
    harness.writes("lucia", id, "hello");
    let message = json!({"recipient": {"id": harness.igsid("lucia").await}, "message": {"text": "hi"}});
    assert_eq!(harness.post(&format!("/{id}/messages"), token, &message).await.0, 200);
    assert_eq!(
        code(&harness.instagram(message).await),
        (400, 10, Some(2_534_022)),
        "it never wrote to the first"
    );
    let (_, state) = harness.get("/sandbox/state", "").await;
    assert_eq!(state["numbers"].as_array().unwrap().len(), 2);
    assert_eq!(state["instagramAccounts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_accounts() {
    let added = async |seed| {
        let harness = start(Options { seed, ..stepped() }).await;
        let number = harness.sandbox.add_number(NewNumber::default()).unwrap();
        let account = harness
            .sandbox
            .add_instagram_account(NewInstagramAccount::default())
            .unwrap();
        (number, account)
    };
    let first = added(7).await;
    assert_eq!(first, added(7).await);
    assert_ne!(first.0.token, added(8).await.0.token);
}

#[tokio::test]
async fn a_script_brings_accounts_templates_and_faults() {
    let harness = start(stepped()).await;
    let yaml = "
numbers:
  - {id: '300000000000001', throughput: 1, token: EAAscript, limits: {contactsPerDay: 250}}
instagramAccounts:
  - {id: '17841400000000009', username: script}
templates:
  - {name: moon, language: en_US, category: MARKETING, body: 'The moon is up', status: PAUSED}
faults:
  - {endpoint: messages, kind: error, code: 131016, account: '300000000000001', afterMs: 1000, forMs: 1000}
lines:
  - {atMs: 10, from: amara, to: '300000000000001', text: Hello}
";
    harness.sandbox.play(&Script::parse(yaml).unwrap()).unwrap();
    harness.advance(10).await;
    assert_eq!(send_from(&harness, "300000000000001", "EAAscript").await.0, 200);
    assert_eq!(
        code(&send_from(&harness, "300000000000001", "EAAscript").await).1,
        130_429
    );
    harness.advance(1_000).await;
    assert_eq!(
        code(&send_from(&harness, "300000000000001", "EAAscript").await).1,
        131_016
    );
    harness.advance(1_000).await;
    assert_eq!(send_from(&harness, "300000000000001", "EAAscript").await.0, 200);
    let moon = json!({"to": "447700900101", "type": "template", "template": {
        "name": "moon", "language": {"code": "en_US"}}});
    assert_eq!(code(&harness.whatsapp(moon).await).1, 132_015);
    let wrong = "faults: [{endpoint: messages, kind: double}]";
    assert!(harness.sandbox.play(&Script::parse(wrong).unwrap()).is_err());
}

#[tokio::test]
async fn a_token_expires_or_is_revoked_and_a_fresh_one_takes_its_place() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let old = harness.variable("WHATSAPP_ACCESS_TOKEN");
    assert_eq!(harness.sandbox.expire_tokens(PHONE), Ok(1));
    let (status, error, subcode) = code(&send_from(&harness, PHONE, &old).await);
    assert_eq!((status, error, subcode), (401, 190, Some(463)));
    let (status, minted) = harness
        .post("/sandbox/tokens", "", &json!({"account": PHONE, "expiresInMs": 60_000}))
        .await;
    assert_eq!(status, 201);
    let fresh = minted["token"].as_str().unwrap();
    assert_eq!(send_from(&harness, PHONE, fresh).await.0, 200);
    let app = format!(
        "{}|{}",
        harness.variable("META_APP_ID"),
        harness.variable("WHATSAPP_APP_SECRET")
    );
    let (_, debug) = harness.get(&format!("/debug_token?input_token={fresh}"), &app).await;
    assert_eq!(
        (&debug["data"]["is_valid"], &debug["data"]["type"]),
        (&json!(true), &json!("SYSTEM_USER"))
    );
    harness.advance(60_000).await;
    assert_eq!(code(&send_from(&harness, PHONE, fresh).await).2, Some(463));
    let lasting = harness.sandbox.mint_token(PHONE, None).unwrap();
    harness.advance(365 * 86_400_000).await;
    harness.writes("amara", PHONE, "hello again");
    assert_eq!(send_from(&harness, PHONE, &lasting).await.0, 200);
    let (_, ended) = harness
        .post("/sandbox/tokens/revoke", "", &json!({"token": lasting}))
        .await;
    assert_eq!(ended["ended"], 1);
    assert_eq!(code(&send_from(&harness, PHONE, &lasting).await).2, Some(467));
    let other = harness
        .sandbox
        .mint_token(ACCOUNT, Some(Duration::from_secs(1)))
        .unwrap();
    assert!(other.starts_with("IGAA"));
    assert!(matches!(
        harness.sandbox.revoke_tokens("1"),
        Err(AccountError::Unknown { .. })
    ));
}
