//! Instagram's conversations, read back (instagram.md 3.9).

use serde_json::{Value, json};

use super::harness::{ACCOUNT, Harness, PHONE, code, start, stepped};

const SECOND: u64 = 1_000;

/// Twice a second is as often as it may be asked.
async fn read(harness: &Harness, path: &str) -> (u16, Value) {
    harness.advance(SECOND).await;
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    harness.get(&format!("/v26.0/{path}"), &token).await
}

#[tokio::test]
async fn what_was_said_is_read_back_with_who_said_it() {
    let harness = start(stepped()).await;
    let written = harness.writes("lucia", ACCOUNT, "Bonjour");
    harness.advance(SECOND).await;
    let igsid = harness.igsid("lucia").await;
    let sent = json!({"recipient": {"id": igsid}, "message": {"text": "Hello"}});
    let sent = harness.instagram(sent).await.1["message_id"]
        .as_str()
        .unwrap()
        .to_owned();

    let (_, list) = read(
        &harness,
        "me/conversations?platform=instagram&fields=id,updated_time,participants",
    )
    .await;
    let conversation = list["data"][0].clone();
    assert_eq!(
        conversation["participants"]["data"],
        json!([{"username": "lucia.ferrer", "id": igsid}, {"username": "sandbox.records", "id": ACCOUNT}])
    );
    assert!(
        conversation["updated_time"].as_str().unwrap().ends_with("+0000"),
        "{conversation}"
    );
    let id = conversation["id"].as_str().unwrap();
    let (_, whole) = read(
        &harness,
        &format!("{id}?fields=messages{{id,message,from,to,created_time}},message_count"),
    )
    .await;
    let messages = whole["messages"]["data"].as_array().unwrap();
    assert_eq!(whole["message_count"], 2);
    assert_eq!(
        (&messages[0]["id"], &messages[0]["message"]),
        (&json!(sent), &json!("Hello")),
        "the newest first"
    );
    assert_eq!(messages[0]["to"]["data"][0]["id"], igsid);
    assert_eq!(
        (&messages[1]["id"], &messages[1]["from"]["id"]),
        (&json!(written), &json!(igsid))
    );
    let (_, one) = read(&harness, &format!("{written}?fields=id,message,from,attachments")).await;
    assert_eq!(
        one,
        json!({"id": written, "message": "Bonjour", "from": {"username": "lucia.ferrer", "id": igsid}})
    );
    let (_, bare) = read(&harness, &written).await;
    assert_eq!(
        bare.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["created_time", "id"]
    );

    for wrong in [
        format!("{ACCOUNT}/conversations"),
        format!("{ACCOUNT}/conversations?platform=messenger"),
        format!("{ACCOUNT}/conversations?platform=instagram&fields=shoe_size"),
        format!("{ACCOUNT}/conversations?platform=instagram&limit=0"),
        format!("{ACCOUNT}/conversations?platform=instagram&after=x"),
        format!("{written}?fields=shoe_size"),
    ] {
        assert_eq!(code(&read(&harness, &wrong).await), (400, 100, None), "{wrong}");
    }
    let only = format!("{ACCOUNT}/conversations?platform=instagram&user_id=");
    assert_eq!(
        read(&harness, &format!("{only}{igsid}")).await.1["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(read(&harness, &format!("{only}1")).await.1["data"], json!([]));
    // Nobody else's.
    let system = harness.variable("WHATSAPP_ACCESS_TOKEN");
    assert_eq!(code(&harness.get(&format!("/{id}"), &system).await), (403, 200, None));
    assert_eq!(
        code(&read(&harness, &format!("{PHONE}/conversations?platform=instagram")).await).2,
        Some(33)
    );
}

#[tokio::test]
async fn only_the_newest_twenty_messages_have_details() {
    let harness = start(stepped()).await;
    let mut written = Vec::new();
    for number in 0..21 {
        written.push(harness.writes("lucia", ACCOUNT, &format!("No. {number}")));
        harness.advance(SECOND).await;
    }
    assert_eq!(code(&read(&harness, &written[0]).await), (400, 9_000_001, None));
    assert_eq!(read(&harness, &written[1]).await.0, 200);
    let (_, list) = read(
        &harness,
        "me/conversations?platform=instagram&fields=messages.limit(3){message},unread_count",
    )
    .await;
    let messages = list["data"][0]["messages"]["data"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[0]["message"]), (3, &json!("No. 20")));
    assert_eq!(list["data"][0]["unread_count"], 21);
    let unsend = json!({"type": "unsend", "messageId": written[20]});
    let path = format!("/sandbox/customers/lucia/threads/{ACCOUNT}/messages");
    assert_eq!(harness.post(&path, "", &unsend).await.0, 201);
    assert_eq!(code(&read(&harness, &written[20]).await), (400, 9_000_001, None));
}

#[tokio::test]
async fn conversations_come_page_by_page_and_not_too_often() {
    let harness = start(stepped()).await;
    for number in 0..3 {
        let id = format!("visitor{number}");
        let new = json!({"id": id, "name": id, "kind": "instagram"});
        assert_eq!(harness.post("/sandbox/customers", "", &new).await.0, 201);
        harness.writes(&id, ACCOUNT, "hello");
        harness.advance(SECOND).await;
    }
    let (_, first) = read(&harness, "me/conversations?platform=instagram&limit=2").await;
    let after = first["paging"]["cursors"]["after"].as_str().unwrap();
    let (_, second) = read(
        &harness,
        &format!("me/conversations?platform=instagram&limit=2&after={after}"),
    )
    .await;
    assert_eq!(
        (
            first["data"].as_array().unwrap().len(),
            second["data"].as_array().unwrap().len()
        ),
        (2, 1)
    );
    harness.advance(SECOND).await;
    let token = harness.variable("META_IG_ACCESS_TOKEN");
    let path = "/me/conversations?platform=instagram";
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(harness.get(path, &token).await.1["error"]["code"].clone());
    }
    assert_eq!(codes, [Value::Null, Value::Null, json!(613)]);
}
