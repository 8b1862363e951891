//! The live stream.

use axum::body::{Body, BodyDataStream};
use axum::http::{Method, Response, StatusCode, header};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tidings::conversations::model::ChannelId;
use tidings::ids::ConversationId;
use tidings::store::stream::NewStreamRow;
use tidings::stream::model::Change;
use tidings::stream::{self, SUBSCRIBERS_MAX};

use super::{Hub, NOW, document, on_each, request, text};

const ANN: &str = "31612345678";

/// An open stream.
struct Reader {
    chunks: BodyDataStream,
}

/// One server-sent event.
#[derive(Debug)]
struct Frame {
    id: String,
    event: String,
    data: Value,
}

impl Reader {
    fn of(response: Response<Body>) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self {
            chunks: response.into_body().into_data_stream(),
        }
    }

    /// The next frame; one that tells its place alone has no event. `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        let chunk = self.chunks.next().await?.unwrap();
        let text = std::str::from_utf8(&chunk).unwrap();
        assert!(text.ends_with("\n\n"), "{text:?}");
        let field = |name: &str| {
            let mut lines = text
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            lines.next().unwrap_or_default().to_owned()
        };
        let data = field("data");
        let data = if data.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&data).unwrap()
        };
        if !data.is_null() {
            document::has_the_shape("StreamData", &data);
        }
        Some(Frame {
            id: field("id"),
            event: field("event"),
            data,
        })
    }

    /// The next frame that tells something.
    async fn event(&mut self) -> Frame {
        loop {
            let frame = self.next().await.expect("the stream goes on");
            if !frame.event.is_empty() {
                return frame;
            }
        }
    }
}

impl Hub {
    fn tell(&mut self) {
        self.tasks.spawn(stream::run(self.app.clone(), self.stop.clone()));
    }

    /// Opens a stream, and reads where it begins.
    async fn listen(&self, query: &str, last_id: Option<&str>) -> Reader {
        let mut request = request(Method::GET, &format!("/api/v1/stream?{query}"), Body::empty());
        if let Some(id) = last_id {
            request.headers_mut().insert("last-event-id", id.parse().unwrap());
        }
        Reader::of(self.open(request).await)
    }

    async fn says(&self, number: i64) {
        self.told(text(
            &format!("wamid.{number}"),
            ANN,
            "Ann",
            NOW + number * 1000,
            &format!("number {number}"),
        ))
        .await;
    }
}

#[tokio::test]
async fn what_happens_is_told_to_all_who_listen() {
    on_each(async |hub| {
        hub.tell();
        hub.says(1).await;
        let mut readers = Vec::new();
        for _ in 0..3 {
            let mut reader = hub.listen("", None).await;
            // What happened before is not told.
            let here = reader.next().await.unwrap();
            assert_eq!((here.id.as_str(), here.event.as_str()), ("1", ""));
            readers.push(reader);
        }
        hub.says(2).await;
        for reader in &mut readers {
            let event = reader.event().await;
            assert_eq!((event.id.as_str(), event.event.as_str()), ("2.0", "event"));
            assert_eq!(event.data["type"], "event");
            assert_eq!(event.data["event"]["eventType"], "messages");
            assert_eq!(event.data["event"]["status"], "processed");
            let created = reader.event().await;
            assert_eq!(
                (created.id.as_str(), created.event.as_str()),
                ("2.1", "message.created")
            );
            assert_eq!(created.data["message"]["content"]["text"], "number 2");
            let path = format!("/api/v1/messages/{}", created.data["message"]["id"].as_str().unwrap());
            assert_eq!(hub.get(&path).await.done(), created.data["message"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_goes_on_behind_the_last_id_that_was_seen() {
    on_each(async |hub| {
        hub.tell();
        let mut reader = hub.listen("", None).await;
        for number in 1..=3 {
            hub.says(number).await;
        }
        let mut all = Vec::new();
        while all.len() < 6 {
            all.push(reader.event().await.id);
        }
        assert_eq!(all, ["1.0", "1.1", "2.0", "2.1", "3.0", "3.1"]);
        for (query, header, rest) in [
            ("", Some("0"), 0),
            ("", Some("1.0"), 1),
            ("", Some("1.1"), 2),
            ("", Some("1"), 2),
            ("after=2.0", None, 3),
            // A browser that comes again repeats the address that it began with.
            ("after=1.0", Some("2.1"), 4),
        ] {
            let mut again = hub.listen(query, header).await;
            for expected in &all[rest..] {
                assert_eq!(&again.event().await.id, expected, "{query} {header:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_of_the_types_and_the_channel_that_are_asked_for() {
    on_each(async |hub| {
        hub.tell();
        let mut messages = hub.listen("types=message.created,%20message.status", None).await;
        let mut elsewhere = hub.listen("channel=instagram", None).await;
        let mut here = hub.listen("channel=whatsapp&types=event", None).await;
        hub.says(1).await;
        let instagram = NewStreamRow {
            at: NOW,
            channel_id: Some(ChannelId("instagram".to_owned())),
            event_id: None,
            changes: vec![Change::ContactMerged {
                from: hub.app.ids.next(),
                into: hub.app.ids.next(),
            }],
        };
        hub.app
            .store
            .write(move |tx| tx.insert_stream(std::slice::from_ref(&instagram)))
            .await
            .unwrap();
        hub.app.stream.nudge();
        hub.says(2).await;
        for number in [1, 2] {
            let created = messages.event().await;
            assert_eq!(
                (
                    created.event.as_str(),
                    created.data["message"]["content"]["text"].as_str()
                ),
                ("message.created", Some(&*format!("number {number}")))
            );
            assert_eq!(here.event().await.event, "event");
        }
        let merged = elsewhere.event().await;
        assert_eq!(
            (merged.event.as_str(), merged.data["type"].as_str()),
            ("contact.merged", Some("contact.merged"))
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_contact_wants_to_be_sent_is_told() {
    on_each(async |hub| {
        hub.tell();
        let mut reader = hub.listen("types=contact.consent", None).await;
        hub.says(1).await;
        for (number, word, status) in [(2, "STOP", "opted_out"), (3, "Start", "opted_in")] {
            let at = NOW + number * 1000;
            hub.told(text(&format!("wamid.{number}"), ANN, "Ann", at, word)).await;
            let event = reader.event().await;
            assert_eq!(event.event, "contact.consent");
            let consent = &event.data["consent"];
            assert_eq!(consent["marketing"]["status"], status);
            assert_eq!(consent["service"]["statements"][0]["detail"], word);
            let contact = consent["contactId"].as_str().unwrap();
            let shown = hub.get(&format!("/api/v1/contacts/{contact}/consent")).await.done();
            assert_eq!(shown["marketing"], consent["marketing"]);
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_slower_than_the_buffer_is_long_misses_nothing() {
    on_each(async |hub| {
        hub.says(1).await;
        hub.tell();
        let mut reader = hub.listen("types=conversation.updated", None).await;
        assert_eq!(reader.next().await.unwrap().id, "1");
        let conversation = hub.get("/api/v1/conversations").await.done()["conversations"][0]["id"].clone();
        let conversation: ConversationId = conversation.as_str().unwrap().parse().unwrap();
        // More than the buffer holds, while the reader does not read.
        let row = NewStreamRow {
            at: NOW,
            channel_id: Some(ChannelId("whatsapp".to_owned())),
            event_id: None,
            changes: vec![Change::ConversationUpdated { conversation }; 50],
        };
        let rows = vec![row; 200];
        hub.app.store.write(move |tx| tx.insert_stream(&rows)).await.unwrap();
        hub.app.stream.nudge();
        for seq in 2..=201 {
            for index in 1..=50 {
                assert_eq!(reader.event().await.id, format!("{seq}.{index}"));
            }
        }
        hub.post(&format!("/api/v1/conversations/{conversation}/read"), &json!({}))
            .await
            .done();
        let updated = reader.event().await;
        assert_eq!(
            (updated.id.as_str(), &updated.data["conversation"]["unread"]),
            ("202.1", &json!(0))
        );
    })
    .await;
}

#[tokio::test]
async fn who_comes_too_late_is_told_so_and_goes_on() {
    on_each(async |hub| {
        hub.tell();
        for number in 1..=2 {
            hub.says(number).await;
        }
        hub.app.clock.advance(std::time::Duration::from_hours(1));
        hub.says(3).await;
        hub.app.store.write(|tx| tx.prune_stream(NOW + 1)).await.unwrap();
        for last_id in ["1.1", "999"] {
            let mut reader = hub.listen("types=message.created", Some(last_id)).await;
            let reset = reader.event().await;
            assert_eq!(
                (reset.event.as_str(), reset.data),
                ("stream.reset", json!({"type": "stream.reset"}))
            );
            if last_id == "1.1" {
                assert_eq!(reader.event().await.data["message"]["content"]["text"], "number 3");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn there_are_so_many_streams_and_no_more() {
    on_each(async |hub| {
        hub.tell();
        let mut readers = Vec::new();
        for _ in 0..SUBSCRIBERS_MAX {
            readers.push(hub.listen("", None).await);
        }
        let full = hub.call(request(Method::GET, "/api/v1/stream", Body::empty())).await;
        assert_eq!(full.refused().1, "overloaded");
        assert!(full.headers.contains_key(header::RETRY_AFTER));
        let line = |count: usize| format!("tidings_stream_subscribers {count}\n");
        assert!(hub.get("/metrics").await.body.contains(&line(SUBSCRIBERS_MAX)));
        readers.truncate(10);
        assert!(hub.get("/metrics").await.body.contains(&line(10)));
        hub.listen("", None).await;
    })
    .await;
}

#[tokio::test]
async fn streams_end_when_the_hub_stops() {
    on_each(async |hub| {
        hub.tell();
        let mut reader = hub.listen("", None).await;
        assert!(reader.next().await.is_some());
        hub.app.stream.close();
        assert!(reader.next().await.is_none());
    })
    .await;
}
