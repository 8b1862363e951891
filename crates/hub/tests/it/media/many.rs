//! Many files at once: as many transfers as are set, and no more, whichever way they go.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, LedgerKind, NewCustomer};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{PNG, fault_of, picture};
use crate::harness::{ADMIN_KEY, Harness, NUMBER, Setup, on_both_with, text};

const MESSAGES: usize = 1_000;
const PARALLEL: u64 = 5;
/// Enough people that more files are wanted at once than may be: of a conversation one message goes at a time.
const CUSTOMERS: usize = 50;

/// Waits until so many transfers have succeeded. As long as it goes on, it may take as long as the machine takes.
async fn transferred(harness: &Harness, direction: &str, count: usize) {
    let line = format!("tidings_media_transfers_total{{direction=\"{direction}\",result=\"success\"}}");
    let mut before = 0;
    while before < count {
        before = harness
            .until("another file has come over", async |harness| {
                let now = harness.metric(&line).await as usize;
                (now > before).then_some(now)
            })
            .await;
    }
}

/// The first ones stay until the clock goes on, so that all the places are taken.
fn slow_at_first(harness: &Harness, endpoint: &str) {
    let slow = FaultRequest {
        delay_ms: Some(1_000),
        count: Some(PARALLEL),
        ..fault_of(endpoint, FaultKind::Delay)
    };
    harness.sandbox.fault(slow).unwrap();
}

async fn every_place_is_taken(harness: &Harness) {
    harness
        .until("every place is taken", async |harness| {
            (harness.sandbox.transfers().now == PARALLEL).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_thousand_pictures_come_by_as_many_transfers_as_are_set() {
    let setup = Setup::default().with("MEDIA_DOWNLOADS_PARALLEL", &PARALLEL.to_string());
    on_both_with(setup, async |harness| {
        slow_at_first(harness, "media.download");
        for number in 0..MESSAGES {
            let customer = ["amara", "jonas"][number % 2];
            let link = format!("https://pictures.example/{}.jpg", number / 2);
            harness.sandbox.write(customer, NUMBER, picture(&link)).unwrap();
        }
        harness.projected().await;
        every_place_is_taken(harness).await;
        harness.sandbox.advance(Duration::from_secs(1)).await;
        transferred(harness, "download", MESSAGES).await;
        let count = harness.sandbox.transfers();
        assert_eq!((count.most, count.total), (PARALLEL, MESSAGES as u64));
        for conversation in harness.conversations().await {
            harness
                .until("they are stored", async |harness| {
                    let messages: Vec<Value> = harness.messages(&conversation).await;
                    let mut all = messages.iter();
                    all.all(|message| message["media"][0]["status"] == "stored")
                        .then_some(())
                })
                .await;
        }
    })
    .await;
}

/// A Meta and a hub without a pace, so that files are all that is waited for.
fn with_many_customers() -> Setup {
    let mut setup = Setup::default()
        .with("MEDIA_UPLOADS_PARALLEL", &PARALLEL.to_string())
        .with("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND", "0")
        .with("TIDINGS_SENDING_WHATSAPP_PAIR_PAUSE_SECS", "0");
    let world = &mut setup.sandbox.world;
    world.numbers[0].throughput = 0;
    world.numbers[0].limits.pair_burst = 0;
    world.customers.extend((0..CUSTOMERS).map(|number| NewCustomer {
        id: Some(format!("customer-{number}")),
        name: format!("Customer {number}"),
        ..NewCustomer::default()
    }));
    setup
}

/// No two of them are the same file.
fn numbered(number: usize) -> Vec<u8> {
    [PNG, format!("number {number}").as_bytes()].concat()
}

#[tokio::test]
async fn a_thousand_pictures_go_out_by_as_many_transfers_as_are_set() {
    on_both_with(with_many_customers(), async |harness| {
        for number in 0..CUSTOMERS {
            let customer = format!("customer-{number}");
            harness
                .sandbox
                .write(&customer, NUMBER, text("Send me all of them"))
                .unwrap();
        }
        harness.projected().await;
        let conversations = harness.conversations().await;
        let conversations: BTreeMap<String, Value> = conversations
            .into_iter()
            .map(|conversation| {
                let name = conversation["contact"]["name"].as_str().unwrap().to_owned();
                (name, conversation["id"].clone())
            })
            .collect();
        assert_eq!(conversations.len(), CUSTOMERS);

        let here = &*harness;
        let uploads = stream::iter(0..MESSAGES).map(async |number| {
            let answer = here.upload("image/png", &numbered(number)).await.expect(201);
            (number, answer["id"].clone())
        });
        let media: BTreeMap<usize, Value> = uploads.buffer_unordered(8).collect().await;

        slow_at_first(harness, "media.upload");
        let messages: Vec<Value> = media
            .iter()
            .map(|(number, media)| {
                let content = json!({"type": "image", "mediaId": media, "caption": format!("#{number}")});
                let to = &conversations[&format!("Customer {}", number % CUSTOMERS)];
                json!({"to": {"conversation": to}, "content": content})
            })
            .collect();
        let answer = harness
            .post("/api/v1/messages/batch", &json!({"messages": messages}))
            .await;
        assert_eq!(answer.expect(200)["accepted"], MESSAGES, "{}", answer.body);
        every_place_is_taken(harness).await;
        // The delay begins when Meta has read all of the file, which may be after a first step of time.
        harness
            .until("the first files have come to Meta", async |harness| {
                harness.sandbox.advance(Duration::from_secs(1)).await;
                (harness.sandbox.transfers().total > PARALLEL).then_some(())
            })
            .await;
        transferred(harness, "upload", MESSAGES).await;
        let mut accepted = 0;
        while accepted < MESSAGES {
            accepted = harness
                .until("another message is accepted", async |harness| {
                    let now = harness.ledger(LedgerKind::Accepted).len();
                    (now > accepted).then_some(now)
                })
                .await;
        }
        let count = harness.sandbox.transfers();
        assert_eq!((count.most, count.total), (PARALLEL, MESSAGES as u64));

        // All of them are there, once, in the order in which they were sent, and each shows its own file.
        let mut files = HashSet::new();
        for customer in 0..CUSTOMERS {
            let on_phone = harness.phone(&format!("customer-{customer}"), NUMBER).await;
            let pictures = on_phone.iter().filter(|message| message["kind"] == "image");
            let pictures: Vec<(&str, &str)> = pictures
                .map(|picture| (picture["caption"].as_str().unwrap(), picture["link"].as_str().unwrap()))
                .collect();
            let numbers: Vec<usize> = (customer..MESSAGES).step_by(CUSTOMERS).collect();
            let expected: Vec<String> = numbers.iter().map(|number| format!("#{number}")).collect();
            let shown: Vec<&str> = pictures.iter().map(|(caption, _)| *caption).collect();
            assert_eq!(shown, expected, "customer {customer}");
            let shown = format!("{}{}", harness.sandbox.url(), pictures[1].1);
            assert_eq!(harness.fetch(&shown).await, numbered(numbers[1]));
            files.extend(pictures.iter().map(|(_, link)| (*link).to_owned()));
        }
        assert_eq!(files.len(), MESSAGES);
    })
    .await;
}

/// A file that somebody uploads: its first bytes are on their way, and the rest comes when the test says so.
async fn begin_upload(harness: &Harness, uploads: &mut JoinSet<u16>, number: usize) -> mpsc::Sender<Vec<u8>> {
    let (rest, chunks) = mpsc::channel::<Vec<u8>>(1);
    rest.send(numbered(number)).await.unwrap();
    let body = stream::unfold(chunks, async |mut chunks| {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, std::io::Error>(chunk), chunks))
    });
    let request = harness.request(Method::POST, "/api/v1/media").bearer_auth(ADMIN_KEY);
    let request = request.body(reqwest::Body::wrap_stream(body));
    uploads.spawn(async move { request.send().await.unwrap().status().as_u16() });
    rest
}

#[tokio::test]
async fn callers_upload_as_many_files_at_once_as_are_set_and_are_told_to_come_again() {
    let setup = Setup::default().with("MEDIA_INTAKES_PARALLEL", &PARALLEL.to_string());
    on_both_with(setup, async |harness| {
        let mut uploads = JoinSet::new();
        let mut rests = Vec::new();
        for number in 0..PARALLEL as usize {
            rests.push(begin_upload(harness, &mut uploads, number).await);
        }
        let unfinished = harness.hub().app().config.media.dir.join("unfinished");
        harness
            .until("every place is taken", async |_| {
                let files = std::fs::read_dir(&unfinished).ok()?.count();
                (files == PARALLEL as usize).then_some(())
            })
            .await;
        let refused = harness.upload("image/png", &numbered(100)).await;
        refused.problem(503, "overloaded");
        assert!(refused.body.contains("MEDIA_INTAKES_PARALLEL"), "{}", refused.body);
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
        // One that comes to its end makes room, and so does one that breaks off.
        drop(rests.pop());
        assert_eq!(uploads.join_next().await.unwrap().unwrap(), 201);
        harness.upload("image/png", &numbered(100)).await.expect(201);
        uploads.abort_all();
        while uploads.join_next().await.is_some() {}
        harness
            .until("nothing is on its way any more", async |_| {
                let files = std::fs::read_dir(&unfinished).ok()?.count();
                (files == 0).then_some(())
            })
            .await;
        for number in 0..2 * PARALLEL as usize {
            harness.upload("image/png", &numbered(200 + number)).await.expect(201);
        }
    })
    .await;
}
