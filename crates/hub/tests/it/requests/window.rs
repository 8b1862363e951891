//! The window at the moment of sending, the template that stands ready, and the tag for what a person wrote.

use serde_json::{Value, json};
use tidings::conversations::content::Content;
use tidings::conversations::model::Sender;
use tidings::sending::accept::{self, AcceptError, By, Order, To};
use tidings::sending::model::Purpose;
use tidings_sandbox::{FaultKind, FaultRequest, LedgerKind};

use super::{HOUR, MINUTE, PHONE, SECOND, SEND, refuse, template, written_to};
use crate::harness::{ACCOUNT, Harness, NUMBER, START, Setup, fault, on_both, on_both_with, text, whatsapp_text};

fn with_fallback(message: &str) -> Value {
    json!({"channel": "whatsapp", "to": PHONE, "message": message, "fallbackTemplate": template()})
}

#[tokio::test]
async fn a_template_that_stands_ready_is_sent_where_the_window_is_closed_already() {
    on_both(async |harness| {
        let sent = harness.send(with_fallback("Hi")).await;
        let message = harness.message_until(&sent, "accepted").await;
        assert_eq!(message["content"]["type"], "template");
        let (kinds, document) = harness.timeline(&sent).await;
        assert_eq!(kinds, ["queued", "fallback", "attempt"]);
        assert_eq!(document["timeline"][1]["detail"]["instead"]["text"], "Hi");
        assert_eq!(harness.phone("amara", NUMBER).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_queued_message_whose_window_closes_meanwhile_is_not_sent_as_it_is() {
    on_both(async |harness| {
        let conversation = written_to(harness).await;
        harness.pass(HOUR * 23 + MINUTE * 58).await;
        refuse(harness, 131_057, 1);
        let lost = harness.reply(&conversation, "x").await;
        harness.waiting_after(&lost, 1).await;
        let saved = harness.send(with_fallback("y")).await;
        harness.pass(MINUTE * 5).await;
        let failed = harness.message_until(&lost, "failed").await;
        assert_eq!(failed["error"]["code"], 131_047);
        let sent = harness.message_until(&saved, "accepted").await;
        assert_eq!(sent["content"]["name"], "hello_world");
    })
    .await;
}

#[tokio::test]
async fn a_window_that_metas_answer_finds_closed_is_met_by_the_template_once() {
    on_both(async |harness| {
        written_to(harness).await;
        refuse(harness, 131_047, 1);
        let sent = harness.send(with_fallback("Hi")).await;
        let message = harness.message_until(&sent, "accepted").await;
        assert_eq!(message["content"]["name"], "hello_world");
        let (kinds, document) = harness.timeline(&sent).await;
        assert_eq!(kinds, ["queued", "attempt", "fallback", "attempt"]);
        assert!(
            document["timeline"][2]["detail"]["reason"]
                .as_str()
                .unwrap()
                .contains("131047")
        );

        // Were it refused, too, it fails.
        refuse(harness, 131_047, 2);
        let sent = harness.send(with_fallback("Hi")).await;
        let failed = harness.message_until(&sent, "failed").await;
        assert_eq!(failed["error"]["code"], 131_047);
        assert_eq!(harness.phone("amara", NUMBER).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_window_that_a_status_finds_closed_is_met_by_the_template_once() {
    on_both(async |harness| {
        written_to(harness).await;
        let request = FaultRequest {
            code: Some(131_047),
            ..fault(FaultKind::Status)
        };
        harness.sandbox.fault(request).unwrap();
        let sent = harness.send(with_fallback("Hi")).await;
        harness.message_until(&sent, "accepted").await;
        let first = harness.message(&sent).await["externalId"].clone();
        harness.pass(SECOND * 2).await;
        harness
            .until("its template has taken its place", async |harness| {
                let message = harness.message(&sent).await;
                (message["externalId"].is_string() && message["externalId"] != first).then_some(())
            })
            .await;
        harness.pass(MINUTE).await;
        let message = harness.message(&sent).await;
        assert_eq!(
            (message["status"].as_str(), message["content"]["type"].as_str()),
            (Some("delivered"), Some("template"))
        );
        assert_eq!(message["error"], Value::Null);
        let (kinds, _) = harness.timeline(&sent).await;
        assert!(
            kinds.contains(&"fallback".to_owned()) && kinds.contains(&"failed".to_owned()),
            "{kinds:?}"
        );
        assert_eq!(harness.phone("amara", NUMBER).await.len(), 2);

        // What was told of the first attempt changes nothing when it is told again.
        harness
            .post("/api/webhooks/events/replay", &json!({}))
            .await
            .expect(202);
        harness.pass(MINUTE).await;
        assert_eq!(harness.message(&sent).await["status"], "delivered");
        assert_eq!(harness.ledger(LedgerKind::Accepted).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_advertisement_opens_the_window_for_a_day_and_no_longer() {
    on_both(async |harness| {
        // The 72 hours after the answer are free of charge; free-form messages need the window all the same (reference `whatsapp.md` 13.4).
        let mut notification = whatsapp_text("id.1", "447700900101", "Tell me more", START);
        notification["entry"][0]["changes"][0]["value"]["messages"][0]["referral"] = json!({"source_type": "ad",
            "source_id": "120214885001230", "source_url": "https://fb.me/3aBcD", "headline": "Spring repair offer"});
        harness.whatsapp(&notification).await;
        let conversation = harness.conversation().await;
        let expected = START + 24 * 60 * 60 * 1000;
        assert_eq!(
            conversation["window"]["endsAt"],
            tidings::http::timestamp::Time(expected).to_string()
        );
        harness.pass(HOUR * 24).await;
        let late = json!({"to": {"conversation": conversation["id"]}, "message": "x"});
        harness.post(SEND, &late).await.problem(409, "window_closed");
    })
    .await;
}

async fn say(harness: &Harness, sender: Sender, words: &str) -> Result<String, AcceptError> {
    let igsid = harness.sandbox.customer("lucia").unwrap().igsid.unwrap();
    let order = Order {
        by: By::Auto,
        to: To::Address(igsid),
        content: Content::text(words),
        sender,
        reply_to: None,
        purpose: Purpose::Service,
        priority: None,
        send_at: None,
        expires_at: None,
        fallback: None,
        route: None,
        metadata: None,
        queue: false,
        idempotency: Vec::new(),
    };
    let accepted = accept::accept(harness.hub().app(), order).await?;
    Ok(accepted.message_id.to_string())
}

/// The tag that the last attempt of a message bore.
async fn tag(harness: &Harness, id: &str) -> Value {
    let (_, document) = harness.timeline(id).await;
    document["timeline"][1]["attempt"]["request"]["tag"].clone()
}

#[tokio::test]
async fn what_a_person_writes_is_tagged_on_instagram_between_a_day_and_a_week() {
    on_both(async |harness| {
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let sent = say(harness, Sender::Operator, "within the day").await.unwrap();
        harness.message_until(&sent, "accepted").await;
        assert_eq!(tag(harness, &sent).await, Value::Null);

        harness.pass(HOUR * 25).await;
        let sent = say(harness, Sender::Operator, "within the week").await.unwrap();
        harness.message_until(&sent, "accepted").await;
        assert_eq!(tag(harness, &sent).await, "HUMAN_AGENT");
        for sender in [Sender::Api, Sender::Ai, Sender::Workflow] {
            let refused = say(harness, sender, "x").await;
            assert!(matches!(refused, Err(AcceptError::WindowClosed { .. })), "{refused:?}");
        }
        let igsid = harness.sandbox.customer("lucia").unwrap().igsid.unwrap();
        for tagged in ["tag", "messagingType", "sender"] {
            let mut body = json!({"channel": "instagram", "to": igsid, "message": "x"});
            body[tagged] = "HUMAN_AGENT".into();
            harness.post(SEND, &body).await.problem(422, "invalid_field");
        }

        harness.pass(HOUR * 24 * 6).await;
        let refused = say(harness, Sender::Operator, "too late").await;
        assert!(matches!(refused, Err(AcceptError::WindowClosed { .. })), "{refused:?}");
        assert_eq!(harness.accepted("lucia"), ["within the day", "within the week"]);
    })
    .await;
}

#[tokio::test]
async fn meta_may_refuse_for_the_window_at_once() {
    let mut setup = Setup::default();
    setup.sandbox.rules.window_refusal = tidings_sandbox::WindowRefusal::Answer;
    on_both_with(setup, async |harness| {
        harness.foresee_refusals(&[131_047]);
        let conversation = written_to(harness).await;
        // Meta's clock is ahead: for it the window has closed already.
        harness.sandbox.advance(HOUR * 24 + MINUTE).await;
        let sent = harness
            .send(json!({"to": {"conversation": conversation["id"]}, "message": "Hi", "fallbackTemplate": template()}))
            .await;
        let message = harness.message_until(&sent, "accepted").await;
        assert_eq!(message["content"]["name"], "hello_world");
    })
    .await;
}
