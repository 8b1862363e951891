//! An uploaded file goes to Meta once for all messages of a channel, and again when Meta has forgotten it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest};

use super::{PNG, fault_of, order};
use crate::harness::{ACCOUNT, ADMIN_KEY, Harness, NUMBER, Setup, fault, on_both, on_both_with, text};

const MINUTE: Duration = Duration::from_mins(1);
const AMARA: &str = "+447700900101";

/// A customer of each product has written, so that anything can be sent.
async fn opened(harness: &Harness) {
    for (customer, account) in [("amara", NUMBER), ("jonas", NUMBER), ("lucia", ACCOUNT)] {
        harness.sandbox.write(customer, account, text("hello")).unwrap();
    }
    harness.projected().await;
}

/// The conversation with a customer on a channel that has written one text.
async fn conversation_of(harness: &Harness, channel: &str) -> Value {
    let conversations = harness.conversations().await;
    conversations
        .into_iter()
        .find(|conversation| conversation["channelId"] == channel)
        .unwrap()
}

#[tokio::test]
async fn a_file_is_handed_over_once_for_all_messages() {
    on_both(async |harness| {
        opened(harness).await;
        let media = harness.uploaded_picture().await;
        let mut sent = Vec::new();
        for _ in 0..3 {
            sent.push(harness.send(order(AMARA, "image", &media)).await);
        }
        for id in &sent {
            harness.message_until(id, "accepted").await;
        }
        assert_eq!(harness.calls("POST", "/media"), 1);
        let message = harness.message(&sent[0]).await;
        assert_eq!(message["content"], json!({"type": "image", "mediaId": media}));
        assert_eq!(message["media"][0]["id"], media);
        let on_phone = harness.phone("amara", NUMBER).await;
        let pictures: Vec<_> = on_phone.iter().filter(|message| message["kind"] == "image").collect();
        assert_eq!(pictures.len(), 3, "{on_phone:#?}");
        let shown = format!("{}{}", harness.sandbox.url(), pictures[0]["link"].as_str().unwrap());
        assert_eq!(harness.fetch(&shown).await, PNG);
        assert_eq!(
            harness
                .metric("tidings_media_transfers_total{direction=\"upload\",result=\"success\"}")
                .await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn a_message_waits_for_its_file_and_the_others_do_not() {
    on_both(async |harness| {
        opened(harness).await;
        let slow = FaultRequest {
            delay_ms: Some(5_000),
            ..fault_of("media.upload", FaultKind::Delay)
        };
        harness.sandbox.fault(slow).unwrap();
        let media = harness.uploaded_picture().await;
        let sent = harness.send(order(AMARA, "image", &media)).await;
        let behind = harness
            .send(json!({"channel": "whatsapp", "to": AMARA, "message": "after it"}))
            .await;
        let waiting = harness
            .until("the message waits for its file", async |harness| {
                let (_, document) = harness.timeline(&sent).await;
                let waiting = document["waiting"].clone();
                let why = waiting["reason"].as_str().unwrap_or_default();
                why.contains("handed to Meta").then_some(waiting)
            })
            .await;
        assert_eq!(waiting["attempts"], 0, "{waiting}");
        harness
            .until("the file is on its way", async |harness| {
                (harness.sandbox.transfers().now == 1).then_some(())
            })
            .await;
        let own = harness.message(&sent).await["conversationId"].clone();
        let conversations = harness.conversations().await;
        let other = conversations
            .iter()
            .find(|of| of["channelId"] == "whatsapp" && of["id"] != own);
        let elsewhere = harness.reply(other.unwrap(), "not behind it").await;
        harness.message_until(&elsewhere, "accepted").await;
        assert_eq!(harness.message(&behind).await["status"], "queued", "order is kept");
        // The delay begins when Meta has read all of the file, which may be after a first step of time.
        harness
            .until("the file has come to Meta", async |harness| {
                harness.pass(Duration::from_secs(6)).await;
                (harness.sandbox.transfers().now == 0).then_some(())
            })
            .await;
        harness.message_until(&sent, "accepted").await;
        harness.message_until(&behind, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn the_message_that_closes_a_circuit_may_be_one_with_a_file() {
    let setup = Setup::default().with("TIDINGS_SENDING_CIRCUIT_CALLS_MIN", "1");
    on_both_with(setup, async |harness| {
        opened(harness).await;
        harness.foresee_refusals(&[131_057]);
        let busy = FaultRequest {
            code: Some(131_057),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(busy).unwrap();
        let failing = harness
            .send(json!({"channel": "whatsapp", "to": AMARA, "message": "not now"}))
            .await;
        harness.waiting_after(&failing, 1).await;
        let standing = async |harness: &Harness, status: &str| {
            harness
                .until(&format!("the channel is {status}"), async |harness| {
                    let channel = harness.get("/api/v1/channels/whatsapp").await.expect(200);
                    (channel["status"] == status).then_some(())
                })
                .await;
        };
        standing(harness, "circuit_open").await;
        // So that nothing without a file is left to be tried with.
        let cancel = harness.request(Method::DELETE, &format!("/api/v1/messages/{failing}"));
        harness.answer(cancel.bearer_auth(ADMIN_KEY)).await.expect(200);
        let media = harness.uploaded_picture().await;
        let sent = harness.send(order(AMARA, "image", &media)).await;
        harness.pass(MINUTE).await;
        harness.message_until(&sent, "accepted").await;
        standing(harness, "ready").await;
    })
    .await;
}

#[tokio::test]
async fn a_temporary_failure_is_tried_again_and_a_final_one_fails_the_message() {
    on_both(async |harness| {
        opened(harness).await;
        harness.foresee_refusals(&[131_053]);
        let away = FaultRequest {
            http_status: Some(503),
            ..fault_of("media.upload", FaultKind::PlainError)
        };
        harness.sandbox.fault(away).unwrap();
        let media = harness.uploaded_picture().await;
        let sent = harness.send(order(AMARA, "image", &media)).await;
        harness
            .until("the reason is shown", async |harness| {
                harness.clock.advance(Duration::from_secs(1));
                harness.nudge();
                let (_, document) = harness.timeline(&sent).await;
                document["waiting"]["reason"]
                    .as_str()
                    .is_some_and(|why| why.contains("503"))
                    .then_some(())
            })
            .await;
        harness.pass(MINUTE).await;
        harness.message_until(&sent, "accepted").await;

        let refused = FaultRequest {
            code: Some(131_053),
            ..fault_of("media.upload", FaultKind::Error)
        };
        harness.sandbox.fault(refused).unwrap();
        let other = harness.upload("image/png", &[PNG, b"other"].concat()).await.expect(201);
        let other = other["id"].as_str().unwrap();
        let failed = harness.send(order(AMARA, "image", other)).await;
        let failed = harness.message_until(&failed, "failed").await;
        assert_eq!(failed["error"]["code"], 131_053, "{failed}");
        assert!(!failed["error"]["remedy"].as_str().unwrap().is_empty(), "{failed}");
        harness.pass(MINUTE).await;
        let anew = harness.send(order(AMARA, "image", other)).await;
        harness.message_until(&anew, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_meta_has_forgotten_is_handed_over_anew() {
    on_both(async |harness| {
        opened(harness).await;
        harness.foresee_refusals(&[131_009]);
        let media = harness.uploaded_picture().await;
        let first = harness.send(order(AMARA, "image", &media)).await;
        harness.message_until(&first, "accepted").await;
        let on_phone = harness.phone("amara", NUMBER).await;
        let link = on_phone.last().unwrap()["link"].as_str().unwrap();
        let id = link.rsplit('/').next().unwrap();
        let connection = harness.hub().app().channels.get(&"whatsapp".parse().unwrap()).unwrap();
        let connection = connection.connection().unwrap();
        connection
            .client
            .delete_media(connection.access_token, id)
            .await
            .outcome
            .unwrap();
        harness.pass(MINUTE).await;
        let second = harness.send(order(AMARA, "image", &media)).await;
        harness.message_until(&second, "accepted").await;
        assert_eq!(harness.calls("POST", "/media"), 2);
        // What Meta keeps for thirty days is handed over anew before they are over.
        harness.pass(Duration::from_hours(30 * 24)).await;
        harness.sandbox.write("amara", NUMBER, text("hello again")).unwrap();
        harness.projected().await;
        let third = harness.send(order(AMARA, "image", &media)).await;
        harness.message_until(&third, "accepted").await;
        assert_eq!(harness.calls("POST", "/media"), 3);
    })
    .await;
}

#[tokio::test]
async fn what_the_product_does_not_take_is_refused_before_it_is_queued() {
    on_both(async |harness| {
        opened(harness).await;
        let picture = harness.uploaded_picture().await;
        let page = harness.upload("text/html", b"<html>").await.expect(201);
        let page = page["id"].as_str().unwrap();
        let heavy = harness
            .upload("image/png", &[PNG, &vec![0; 5 * 1024 * 1024][..]].concat())
            .await
            .expect(201);
        let heavy = heavy["id"].as_str().unwrap();
        let unknown = "med_019a9f0cb2007a5f8d3e6b1c2d4f5a60";
        for (kind, media, why) in [
            ("video", picture.as_str(), "video/mp4"),
            ("sticker", &picture, "image/webp"),
            ("image", page, "text/html"),
            ("image", heavy, "5242880"),
            ("image", unknown, "POST /api/v1/media"),
        ] {
            let refused = harness.post("/api/v1/messages/send", &order(AMARA, kind, media)).await;
            let document = refused.problem(422, "unsupported_content");
            assert_eq!(document["errors"][0]["field"], "content.mediaId", "{document}");
            assert!(
                document["errors"][0]["detail"].as_str().unwrap().contains(why),
                "{document}"
            );
        }
        let both = json!({"channel": "whatsapp", "to": AMARA,
            "content": {"type": "image", "mediaId": picture, "link": "https://cdn.example.org/a.jpg"}});
        let both = harness.post("/api/v1/messages/send", &both).await;
        assert_eq!(both.status, 422, "{}", both.body);
        assert_eq!(harness.calls("POST", "/media"), 0);
        let words = harness
            .upload("text/plain", b"any type, here that of a text")
            .await
            .expect(201);
        let document = harness
            .send(order(AMARA, "document", words["id"].as_str().unwrap()))
            .await;
        harness.message_until(&document, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn instagram_is_given_files_as_attachments() {
    on_both(async |harness| {
        opened(harness).await;
        let media = harness.uploaded_picture().await;
        let conversation = conversation_of(harness, "instagram").await;
        let content = json!({"type": "image", "mediaId": media});
        let order = json!({"to": {"conversation": conversation["id"]}, "content": content});
        for _ in 0..2 {
            let sent = harness.send(order.clone()).await;
            harness.message_until(&sent, "accepted").await;
        }
        assert_eq!(harness.calls("POST", "/message_attachments"), 1);
        let attempt = harness.ledger(tidings_sandbox::LedgerKind::Received);
        let sent = attempt
            .iter()
            .rfind(|entry| entry.detail["path"] == format!("{ACCOUNT}/messages"))
            .unwrap();
        let attachment = &sent.detail["params"]["message"]["attachment"];
        assert!(attachment["payload"]["attachment_id"].is_string(), "{attachment}");
    })
    .await;
}
