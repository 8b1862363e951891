//! A backup in the place of a number, by hand.

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, LedgerKind};

use super::answers::waits_for;
use super::routes::{OTHER_NUMBER, begin, by_route, queued, stop, two_numbers, writes_to_the_other_number};
use crate::harness::{ADMIN_KEY, Answer, Harness, NUMBER, Setup, fault, on_both_with, text};

const SWITCH: &str = "/api/v1/channels/whatsapp/switch";

/// Two numbers whose messages go on by nothing but what an operator does.
fn by_hand() -> Setup {
    two_numbers().with_file("[[routes]]\nname = \"default\"\norder = [\"email\"]\n")
}

async fn back(harness: &Harness) -> Value {
    let request = harness.request(Method::DELETE, SWITCH).bearer_auth(ADMIN_KEY);
    harness.answer(request).await.expect(200)
}

async fn switch(harness: &Harness, body: &Value) -> Answer {
    harness.post(SWITCH, body).await
}

/// By which numbers Meta has taken something, in order.
fn numbers(harness: &Harness) -> Vec<String> {
    let accepted = harness.ledger(LedgerKind::Accepted);
    accepted
        .iter()
        .map(|entry| entry.account.clone().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn new_and_waiting_messages_go_by_the_backup_until_the_number_is_switched_back() {
    on_both_with(by_hand(), async |harness| {
        let conversation = begin(harness).await;
        writes_to_the_other_number(harness).await;
        stop(harness, "whatsapp", "stop").await;
        let waiting = [
            queued(harness, &conversation, "one").await,
            queued(harness, &conversation, "two").await,
        ];

        let switched = switch(harness, &json!({})).await.expect(200);
        assert_eq!(switched["switched"]["to"], "whatsapp-backup", "{switched}");
        switch(harness, &json!({"to": "whatsapp-backup"})).await.expect(200);
        for id in &waiting {
            let message = by_route(harness, id, "whatsapp-backup").await;
            assert_eq!(message["status"], "cancelled", "{message}");
            let leg = message["routes"][1]["messageId"].as_str().unwrap();
            harness.message_until(leg, "accepted").await;
        }
        stop(harness, "whatsapp", "start").await;
        assert_eq!(
            harness.get("/api/v1/channels/whatsapp").await.expect(200)["status"],
            "switched"
        );
        let new = harness.reply(&conversation, "three").await;
        let message = harness.message_until(&new, "accepted").await;
        assert_eq!(message["channelId"], "whatsapp-backup");
        assert_ne!(message["conversationId"], conversation["id"]);
        assert_eq!(harness.accepted("amara"), ["one", "two", "three"]);
        assert_eq!(numbers(harness), [OTHER_NUMBER; 3]);
        let history = harness.messages(&conversation).await;
        assert_eq!(
            history[0]["content"]["text"], "hello",
            "it keeps its history: {history:#?}"
        );

        // It still receives, and what is answered to that goes by the backup.
        harness.sandbox.write("amara", NUMBER, text("and?")).unwrap();
        harness.projected().await;
        let answered = harness.reply(&conversation, "four").await;
        harness.message_until(&answered, "accepted").await;

        let back = back(harness).await;
        assert_eq!((&back["switched"], &back["status"]), (&Value::Null, &json!("ready")));
        let last = harness.reply(&conversation, "five").await;
        harness.message_until(&last, "accepted").await;
        assert_eq!(numbers(harness)[3..], [OTHER_NUMBER.to_owned(), NUMBER.to_owned()]);
        let audit = harness.get("/api/v1/audit?subject=channel:whatsapp").await.expect(200);
        let actions: Vec<&Value> = audit["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["action"])
            .collect();
        assert_eq!(
            actions,
            ["channel.switch_back", "channel.switch", "channel.credentials"],
            "to switch twice is to switch once"
        );
    })
    .await;
}

#[tokio::test]
async fn the_window_is_that_of_the_backup_and_what_it_cannot_take_waits_until_the_number_is_back() {
    on_both_with(by_hand(), async |harness| {
        let conversation = begin(harness).await;
        stop(harness, "whatsapp", "stop").await;
        let waiting = queued(harness, &conversation, "for the number alone").await;
        switch(harness, &json!({})).await.expect(200);
        stop(harness, "whatsapp", "start").await;

        let body = json!({"to": {"conversation": conversation["id"]}, "message": "x"});
        harness
            .post("/api/v1/messages/send", &body)
            .await
            .problem(409, "window_closed");
        waits_for(harness, &waiting, "switched").await;
        let message = harness
            .until("it says why", async |harness| {
                let message = harness.message(&waiting).await;
                message["noRoute"].is_string().then_some(message)
            })
            .await;
        let why = message["noRoute"].as_str().unwrap();
        assert!(
            why.contains("the window of channel `whatsapp-backup` is closed"),
            "{why}"
        );
        assert!(harness.accepted("amara").is_empty());

        back(harness).await;
        harness.message_until(&waiting, "accepted").await;
        assert_eq!(numbers(harness), [NUMBER]);
    })
    .await;
}

#[tokio::test]
async fn a_reaction_waits_for_the_number_that_has_the_message_it_is_put_on() {
    on_both_with(by_hand(), async |harness| {
        let conversation = begin(harness).await;
        writes_to_the_other_number(harness).await;
        let hello = harness.messages(&conversation).await[0]["id"].clone();
        stop(harness, "whatsapp", "stop").await;
        let body = json!({"to": {"conversation": conversation["id"]},
            "content": {"type": "reaction", "messageId": hello, "emoji": "\u{1f44d}"}});
        let queued = harness
            .post("/api/v1/messages/send?queue=true", &body)
            .await
            .expect(202);
        let waiting = queued["messageId"].as_str().unwrap().to_owned();
        switch(harness, &json!({})).await.expect(200);
        stop(harness, "whatsapp", "start").await;
        waits_for(harness, &waiting, "switched").await;
        let why = harness
            .until("it says why it does not go by the backup", async |harness| {
                harness.message(&waiting).await["noRoute"].as_str().map(str::to_owned)
            })
            .await;
        assert!(why.contains("there is no message there to put it on"), "{why}");
        assert_eq!(numbers(harness), [""; 0]);

        back(harness).await;
        harness.message_until(&waiting, "accepted").await;
        assert_eq!(numbers(harness), [NUMBER]);
    })
    .await;
}

#[tokio::test]
async fn what_had_failed_and_is_queued_again_goes_by_the_backup_too() {
    on_both_with(by_hand(), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        let undeliverable = FaultRequest {
            code: Some(131_026),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(undeliverable).unwrap();
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "again", "route": "default"});
        let sent = harness.send(body).await;
        harness
            .until("it has ended", async |harness| {
                harness.message(&sent).await["noRoute"].is_string().then_some(())
            })
            .await;
        writes_to_the_other_number(harness).await;
        switch(harness, &json!({})).await.expect(200);
        let retry = format!("/admin/messages/{sent}/retry");
        harness.post(&retry, &json!({})).await.expect(200);
        let message = by_route(harness, &sent, "whatsapp-backup").await;
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        harness.message_until(leg, "accepted").await;
        let told = "We could not reach you on our other number, so we write to you here.";
        assert_eq!(
            harness.accepted("amara"),
            [format!("{told}\n\nagain")],
            "its policy tells it"
        );
    })
    .await;
}

#[tokio::test]
async fn what_stayed_of_unknown_outcome_is_repeated_by_the_backup_once_and_says_so() {
    on_both_with(by_hand(), async |harness| {
        let conversation = begin(harness).await;
        writes_to_the_other_number(harness).await;
        harness.sandbox.fault(fault(FaultKind::ResetBefore)).unwrap();
        let sent = harness.reply(&conversation, "once").await;
        harness.waiting_after(&sent, 1).await;
        switch(harness, &json!({})).await.expect(200);
        harness.pass(std::time::Duration::from_secs(61)).await;
        let message = by_route(harness, &sent, "whatsapp-backup").await;
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        let repeated = harness.message_until(leg, "accepted").await;
        assert_eq!(repeated["maybeDuplicate"], true, "{repeated}");
        assert_eq!(harness.accepted("amara"), ["once"]);
    })
    .await;
}

#[tokio::test]
async fn what_a_hub_was_sending_when_it_died_is_found_also_on_a_number_that_was_switched() {
    on_both_with(by_hand(), async |harness| {
        let conversation = begin(harness).await;
        writes_to_the_other_number(harness).await;
        let held_up = FaultRequest {
            delay_ms: Some(3_600_000),
            ..fault(FaultKind::Delay)
        };
        harness.sandbox.fault(held_up).unwrap();
        let sent = harness.reply(&conversation, "held up").await;
        harness.message_until(&sent, "sending").await;
        switch(harness, &json!({})).await.expect(200);
        harness.crash();
        harness.restart().await;
        harness
            .until("it is known that nobody knows", async |harness| {
                let (_, timeline) = harness.timeline(&sent).await;
                (timeline["waiting"]["state"] == "unknown").then_some(())
            })
            .await;
        harness.pass(std::time::Duration::from_secs(61)).await;
        let message = by_route(harness, &sent, "whatsapp-backup").await;
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        harness.message_until(leg, "accepted").await;
        assert_eq!(numbers(harness), [OTHER_NUMBER]);
    })
    .await;
}

#[tokio::test]
async fn only_a_backup_that_can_send_takes_a_place() {
    on_both_with(by_hand(), async |harness| {
        let of = |id: &str| format!("/api/v1/channels/{id}/switch");
        let no_backup = harness.post(&of("whatsapp-backup"), &json!({})).await;
        no_backup.problem(409, "no_backup");
        switch(harness, &json!({"to": "instagram"}))
            .await
            .problem(409, "no_backup");
        harness
            .post(&of("none-such"), &json!({}))
            .await
            .problem(404, "not_found");
        switch(harness, &json!({"back": true}))
            .await
            .problem(422, "invalid_field");
        stop(harness, "whatsapp-backup", "stop").await;
        switch(harness, &json!({})).await.problem(409, "backup_not_ready");
        assert_eq!(
            back(harness).await["switched"],
            Value::Null,
            "to switch back what was not switched changes nothing"
        );
    })
    .await;
}
