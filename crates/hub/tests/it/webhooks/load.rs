//! Much at once, and senders who do not behave: nobody else is harmed, nothing that was answered 200 is lost.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    ADMIN_KEY, Harness, Notification, START, Setup, WITHIN, on_both, on_both_with, whatsapp_text, whatsapp_value,
};

/// A thousand messages of ten people.
fn a_thousand() -> Value {
    let people = 10;
    let messages: Vec<Value> = (0..1_000)
        .map(|number| {
            json!({"id": format!("wamid.{number}"), "from": format!("44770090{:04}", number % people), "type": "text",
                "timestamp": (START / 1000 + number).to_string(), "text": {"body": format!("message {number}")}})
        })
        .collect();
    whatsapp_value(&json!({ "messages": messages }))
}

/// Others are served: a customer is heard, and seen by whoever reads.
async fn assert_others_are_served(harness: &Harness, number: usize) {
    let words = format!("of somebody else, {number}");
    let from = format!("4479{number:08}");
    let body = whatsapp_text(&format!("wamid.other.{number}"), &from, &words, START);
    harness.post_signed(Notification::whatsapp(&body)).await.expect(200);
    // Next to very many events it may be understood a little after it was kept.
    harness
        .until("it is seen", async |harness| {
            let conversations = harness.conversations().await;
            let theirs = |conversation: &&Value| conversation["lastMessage"]["content"]["text"] == words.as_str();
            (conversations.iter().filter(theirs).count() == 1).then_some(())
        })
        .await;
    for path in ["/api/webhooks/events?limit=1", "/api/v1/channels", "/health/ready"] {
        harness.get(path).await.expect(200);
    }
}

#[tokio::test]
async fn a_thousand_events_in_one_notification() {
    on_both(async |harness| {
        harness.whatsapp(&a_thousand()).await;

        assert_eq!(harness.events("").await.len(), 1_000);
        assert!(harness.events("status=processed").await.len() == 1_000);
        let conversations = harness.conversations().await;
        assert_eq!(conversations.len(), 10);
        for conversation in &conversations {
            assert_eq!(conversation["unread"], 100);
            assert_eq!(harness.messages(conversation).await.len(), 100);
        }
    })
    .await;
}

#[tokio::test]
async fn while_a_thousand_events_are_taken_in_others_are_served() {
    on_both(async |harness| {
        let thousand = a_thousand();
        let posted = harness.post_signed(Notification::whatsapp(&thousand));
        let others = async {
            for number in 0..10 {
                assert_others_are_served(harness, number).await;
            }
        };
        let (answer, ()) = tokio::join!(posted, others);
        answer.expect(200);
        // They are kept, and may still be understood: who comes now does not wait for that.
        assert_others_are_served(harness, 10).await;
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 1_011);
    })
    .await;
}

#[tokio::test]
async fn while_a_large_body_is_on_its_way_others_are_served() {
    const BODY: usize = 3 * 1024 * 1024;
    on_both(async |harness| {
        let empty = whatsapp_text("wamid.large", "447700900123", "", START).to_string().len();
        let body = whatsapp_text("wamid.large", "447700900123", &"x".repeat(BODY - empty), START).to_string();
        let signature = harness.signature("/api/webhooks/whatsapp", body.as_bytes());
        let head = format!(
            "POST /api/webhooks/whatsapp HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-hub-signature-256: {signature}\r\n\
             content-length: {BODY}\r\n\r\n"
        );
        let mut connection = TcpStream::connect(harness.hub().address()).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        let (most, rest) = body.as_bytes().split_at(BODY - 1);
        connection.write_all(most).await.unwrap();
        for number in 0..3 {
            assert_others_are_served(harness, number).await;
        }
        connection.write_all(rest).await.unwrap();
        let mut said = String::new();
        connection.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn where_silent_connections_are_all_that_there_may_be_others_come_in_once_those_are_closed() {
    let setup = Setup::default()
        .unsubscribed()
        .with("TIDINGS_HTTP_CONNECTIONS_MAX", "50")
        .with("TIDINGS_HTTP_HEADER_TIMEOUT_SECS", "1");
    on_both_with(setup, async |harness| {
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(TcpStream::connect(harness.hub().address()).await.unwrap());
        }
        assert_others_are_served(harness, 0).await;
        drop(silent);
    })
    .await;
}

#[tokio::test]
async fn connections_that_send_nothing_are_closed_and_disturb_nobody() {
    let setup = Setup::default().with("TIDINGS_HTTP_HEADER_TIMEOUT_SECS", "1");
    on_both_with(setup, async |harness| {
        let address = harness.hub().address();
        let mut silent = Vec::new();
        for number in 0..100 {
            let mut connection = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                // The others say at least how they would begin.
                connection
                    .write_all(b"POST /api/webhooks/whatsapp HTTP/1.1\r\nhost: x\r\nx-hub")
                    .await
                    .unwrap();
            }
            silent.push(connection);
        }
        for number in 0..20 {
            assert_others_are_served(harness, number).await;
        }
        let closed = join_all(silent.iter_mut().map(async |connection| {
            let mut said = Vec::new();
            // What it is told before, if anything, is no matter; a reset ends it as well.
            let _ = tokio::time::timeout(WITHIN, connection.read_to_end(&mut said))
                .await
                .expect("it is still open");
        }));
        closed.await;
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), 20);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let setup = Setup::default().with("TIDINGS_HTTP_BODY_TIMEOUT_SECS", "1");
    on_both_with(setup, async |harness| {
        let mut connection = TcpStream::connect(harness.hub().address()).await.unwrap();
        let head = "POST /api/webhooks/whatsapp HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{";
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut said = vec![0; 4_096];
        let read = tokio::time::timeout(WITHIN, connection.read(&mut said))
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8_lossy(&said[..read]);
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
        assert!(harness.events("").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn who_is_refused_while_they_still_write_reads_why_and_goes_on_over_the_connection() {
    const BODY: usize = 2 * 1024 * 1024;
    on_both(async |harness| {
        let mut connection = TcpStream::connect(harness.hub().address()).await.unwrap();
        // No key, a key that nobody has, a body that is too large: nobody reads all of it.
        for (key, path, status) in [
            ("", "/api/v1/messages/send", "401"),
            ("nobody", "/api/v1/messages/send", "401"),
            (ADMIN_KEY, "/api/v1/messages/send", "413"),
            (ADMIN_KEY, "/api/v1/nowhere", "404"),
        ] {
            let header = if key.is_empty() {
                String::new()
            } else {
                format!("authorization: Bearer {key}\r\n")
            };
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\n{header}content-type: application/json\r\n\
                 content-length: {BODY}\r\n\r\n"
            );
            connection.write_all(head.as_bytes()).await.unwrap();
            connection.write_all(&vec![b' '; BODY]).await.unwrap();
            assert_eq!(answered(&mut connection).await, status);
        }
        // One that asks before they send is told before they do: then nothing more can come.
        let head = format!(
            "POST /api/v1/messages/send HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {BODY}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(answered(&mut connection).await, "401");
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0, "it is closed");
    })
    .await;
}

/// Reads one answer, and tells its status.
async fn answered(connection: &mut TcpStream) -> String {
    let read = async {
        let mut said = Vec::new();
        loop {
            said.push(connection.read_u8().await.unwrap());
            let Ok(text) = std::str::from_utf8(&said) else { continue };
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                return head[9..12].to_owned();
            }
        }
    };
    tokio::time::timeout(WITHIN, read).await.expect("an answer")
}

#[tokio::test]
async fn bodies_that_fill_the_room_for_them_are_all_that_is_held() {
    const BODY: usize = 3 * 1024 * 1024;
    let setup = Setup::default().with("TIDINGS_HTTP_BODY_TIMEOUT_SECS", "60");
    on_both_with(setup, async |harness| {
        let address = harness.hub().address();
        let head = format!("POST /api/webhooks/whatsapp HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY}\r\n\r\n");
        let filling = vec![b' '; BODY - 1];
        let mut unfinished = Vec::new();
        let body = whatsapp_text("wamid.1", "447700900123", "hello", START);
        // Bodies that lack their last byte. There is room for 21 of them, in 64 MiB.
        for _ in 0..30 {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(head.as_bytes()).await.unwrap();
            // One that is refused may be closed while it is still written.
            let _ = connection.write_all(&filling).await;
            unfinished.push(connection);
        }
        harness
            .until("those without room are refused", async |harness| {
                let line = "tidings_webhook_notifications_total{channel=\"whatsapp\",result=\"unavailable\"}";
                (harness.metric(line).await >= 9).then_some(())
            })
            .await;
        drop(unfinished);
        harness
            .until("there is room again", async |harness| {
                (harness.post_signed(Notification::whatsapp(&body)).await.status == 200).then_some(())
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn more_than_can_wait_is_told_to_come_again_and_nothing_answered_is_lost() {
    let setup = Setup::default().with("WEBHOOK_MAX_QUEUE", "1");
    on_both_with(setup, async |harness| {
        let bodies: Vec<Value> = (0..30)
            .map(|number| {
                whatsapp_text(
                    &format!("wamid.{number}"),
                    &format!("44770090{number:04}"),
                    "hello",
                    START,
                )
            })
            .collect();
        let mut held = Some(harness.hold_store().await);
        let mut posts: FuturesUnordered<_> = bodies
            .iter()
            .map(async |body| (body, harness.post_signed(Notification::whatsapp(body)).await))
            .collect();
        let mut answered = BTreeSet::new();
        let mut refused = 0;
        while let Some((body, answer)) = posts.next().await {
            if answer.status == 200 {
                answered.insert(body["entry"][0]["changes"][0]["value"]["messages"][0]["id"].to_string());
                assert!(
                    held.is_none() || !harness.is_shared(),
                    "answered before it could be on disk"
                );
                continue;
            }
            answer.problem(503, "overloaded");
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
            refused += 1;
            if let Some(held) = held.take() {
                held.release().await;
            }
        }
        assert!(refused > 0, "nobody was told to come again");
        let line = r#"tidings_webhook_notifications_total{channel="whatsapp",result="unavailable"}"#;
        assert_eq!(harness.metric(line).await, refused);
        harness.projected().await;
        let kept: BTreeSet<String> = harness
            .events("")
            .await
            .iter()
            .map(|event| json!(event["externalId"].as_str().unwrap().strip_prefix("message:").unwrap()).to_string())
            .collect();
        assert_eq!(kept, answered, "kept is what was answered 200");

        // Meta comes again, and all is well.
        for body in &bodies {
            harness.post_signed(Notification::whatsapp(body)).await.expect(200);
        }
        harness.projected().await;
        assert_eq!(harness.events("").await.len(), bodies.len());
    })
    .await;
}
