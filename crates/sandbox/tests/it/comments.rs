//! Comments, and the private replies to them.

use serde_json::{Value, json};
use tidings_sandbox::Content;

use super::harness::{ACCOUNT, Harness, START, code, start, stepped};

const DAY: u64 = 86_400_000;

fn comment(harness: &Harness, text: &str) -> String {
    let comment = Content::Comment {
        text: text.to_owned(),
        media_id: None,
        parent_id: None,
    };
    harness.sandbox.write("lucia", ACCOUNT, comment).unwrap().0
}

async fn reply(harness: &Harness, comment: &str) -> (u16, Value) {
    harness
        .instagram(json!({"recipient": {"comment_id": comment}, "message": {"text": "Here you are"}}))
        .await
}

#[tokio::test]
async fn a_comment_is_told_and_answered_in_private_once() {
    let harness = start(stepped()).await;
    let igsid = harness.igsid("lucia").await;
    let id = comment(&harness, "Link please");
    harness.advance(0).await;
    let entry = harness.receiver.bodies()[0]["entry"][0].clone();
    assert_eq!((&entry["id"], &entry["time"]), (&json!(ACCOUNT), &json!(START / 1000)));
    let change = &entry["changes"][0];
    assert_eq!(change["field"], "comments");
    assert_eq!(
        (&change["value"]["id"], &change["value"]["text"]),
        (&json!(id), &json!("Link please"))
    );
    assert_eq!(change["value"]["from"]["id"], igsid);
    assert!(change["value"]["media"]["id"].is_string() && change["value"].get("parent_id").is_none());

    let (status, answer) = reply(&harness, &id).await;
    assert_eq!((status, &answer["recipient_id"]), (200, &json!(igsid)));
    assert_eq!(code(&reply(&harness, &id).await), (400, 100, Some(2_534_025)));
    assert_eq!(code(&reply(&harness, "1").await), (400, 100, Some(2_534_025)));
    harness.advance(10_000).await;
    assert!(
        harness
            .receiver
            .messaging()
            .iter()
            .any(|event| event["message"]["mid"] == answer["message_id"])
    );
    // Only what the person writes opens the window.
    let free = json!({"recipient": {"id": igsid}, "message": {"text": "And more"}});
    assert_eq!(code(&harness.instagram(free).await), (400, 10, Some(2_534_022)));
}

#[tokio::test]
async fn a_private_reply_has_seven_days_and_an_hourly_limit() {
    let mut options = stepped();
    options.world.instagram_accounts[0].limits.private_replies_per_hour = 2;
    let harness = start(options).await;
    let late = comment(&harness, "early");
    harness.advance(7 * DAY).await;
    assert_eq!(code(&reply(&harness, &late).await), (400, 10, Some(2_534_022)));
    let comments: Vec<String> = (0..3).map(|number| comment(&harness, &number.to_string())).collect();
    assert_eq!(reply(&harness, &comments[0]).await.0, 200);
    assert_eq!(reply(&harness, &comments[1]).await.0, 200);
    assert_eq!(code(&reply(&harness, &comments[2]).await), (400, 613, Some(2_534_040)));
    harness.advance(3_600_000).await;
    assert_eq!(reply(&harness, &comments[2]).await.0, 200);
}
