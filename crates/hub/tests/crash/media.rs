//! Files through the real binary: as large as they may be, in little memory; and killed on the way.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tidings_sandbox::{Content, FaultKind, FaultRequest, Limits, NewCustomer, Object, Options, Sandbox};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};

use crate::bucket::Bucket;
use crate::process::{ADMIN_KEY, Hub, Launch};
use crate::stores::{Engine, Store};
use crate::{LOOK_AGAIN, STOPPED_WITHIN, alone};

/// The largest document that WhatsApp takes (reference `whatsapp.md` 11), and that is taken without anybody setting it.
const LARGE: usize = 100 * 1024 * 1024;
/// So much more memory than before may be in use at any moment.
const MEMORY_MORE_MAX: u64 = 20 * 1024 * 1024;
/// As many files are handed to Meta at once where nobody has set it.
#[cfg(target_os = "linux")]
const UPLOADS_PARALLEL: u64 = 4;
/// What makes a file a picture.
#[cfg(target_os = "linux")]
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0";
/// What it is sent and read in.
const CHUNK: usize = 256 * 1024;
const WITHIN: Duration = Duration::from_mins(1);

/// The sandbox's WhatsApp number, and the phone of a customer of its.
const NUMBER: &str = "200000000000001";
const AMARA: &str = "+447700900101";

/// A hub with a Meta of its own.
struct World {
    sandbox: Sandbox,
    launch: Launch,
    http: reqwest::Client,
    /// Gone with the rest.
    _store: Store,
}

impl World {
    async fn new(engine: &Engine, more: &[(&str, String)]) -> Self {
        let options = Options {
            limits: Limits {
                media_bytes: 8 * LARGE,
                ..Limits::default()
            },
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let store = Store::new(engine).await;
        let mut environment = sandbox.environment();
        environment.push(("DATABASE_URL".to_owned(), store.url()));
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let launch = Launch::new(store.folder().to_owned(), environment);
        Self {
            sandbox,
            launch,
            http: reqwest::Client::builder().no_proxy().timeout(WITHIN).build().unwrap(),
            _store: store,
        }
    }

    async fn subscribe(&self) {
        let environment = self.sandbox.environment();
        let token = environment.iter().find(|(name, _)| name == "WHATSAPP_VERIFY_TOKEN");
        let callback = format!("{}/api/webhooks/whatsapp", self.launch.url());
        self.sandbox
            .subscribe(Object::WhatsApp, &callback, &token.unwrap().1)
            .await
            .unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let request = self
            .http
            .get(format!("{}{path}", self.launch.url()))
            .bearer_auth(ADMIN_KEY);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Uploads a document of this many bytes, never more than a part of it at once; answers with its id.
    async fn upload(&self, bytes: usize) -> String {
        let chunks = (0..bytes.div_ceil(CHUNK)).map(move |number| {
            let length = CHUNK.min(bytes - number * CHUNK);
            let mut chunk = vec![number as u8; length];
            if number == 0 {
                chunk[..9].copy_from_slice(b"%PDF-1.7\n");
            }
            Ok::<_, std::io::Error>(chunk)
        });
        let request = self
            .http
            .post(format!("{}/api/v1/media", self.launch.url()))
            .bearer_auth(ADMIN_KEY)
            .body(reqwest::Body::wrap_stream(stream::iter(chunks)));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let file: Value = answer.json().await.unwrap();
        assert_eq!(
            (&file["size"], &file["type"]),
            (&json!(bytes), &json!("application/pdf"))
        );
        file["id"].as_str().unwrap().to_owned()
    }

    /// Uploads a picture that is like no other, as a client does that comes again when it is told to; answers with its id.
    #[cfg(target_os = "linux")]
    async fn upload_picture(&self, number: usize, bytes: usize) -> String {
        let mut picture = vec![number as u8; bytes];
        let begin = [PNG, &number.to_be_bytes()].concat();
        picture[..begin.len()].copy_from_slice(&begin);
        loop {
            let request = self.http.post(format!("{}/api/v1/media", self.launch.url()));
            let answer = request
                .bearer_auth(ADMIN_KEY)
                .body(picture.clone())
                .send()
                .await
                .unwrap();
            if answer.status() == 201 {
                let file: Value = answer.json().await.unwrap();
                return file["id"].as_str().unwrap().to_owned();
            }
            assert_eq!(answer.status(), 503, "{:?}", answer.text().await);
            assert!(answer.headers().contains_key("retry-after"));
            // Sooner than it says, so that the test is not long.
            let mut again = interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
            again.tick().await;
        }
    }

    /// The ids of so many conversations, once they are there.
    #[cfg(target_os = "linux")]
    async fn conversations(&self, count: usize) -> Vec<String> {
        let mut look = interval(LOOK_AGAIN);
        let found = timeout(WITHIN, async {
            loop {
                look.tick().await;
                let page = self.get("/api/v1/conversations").await;
                let page = page["conversations"].as_array().unwrap();
                if page.len() == count {
                    let ids = page.iter().map(|one| one["id"].as_str().unwrap().to_owned());
                    return ids.collect();
                }
            }
        });
        found.await.expect("what the customers write comes in")
    }

    /// Sends many messages at once; answers with their ids.
    #[cfg(target_os = "linux")]
    async fn send_all(&self, orders: &[Value]) -> Vec<String> {
        let request = self.http.post(format!("{}/api/v1/messages/batch", self.launch.url()));
        let request = request.bearer_auth(ADMIN_KEY).json(&json!({ "messages": orders }));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["accepted"], orders.len(), "{answer}");
        let results = answer["results"].as_array().unwrap().iter();
        results
            .map(|result| result["messageId"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until Meta has all of these.
    #[cfg(target_os = "linux")]
    async fn accepted(&self, messages: &[String]) {
        for id in messages {
            self.message_until(id, "accepted", |message| !message["statusTimes"]["accepted"].is_null())
                .await;
        }
    }

    /// Sends the document to the customer; answers with the message's id.
    async fn send(&self, media: &str) -> String {
        let content = json!({"type": "document", "mediaId": media, "filename": "large.pdf"});
        let order = json!({"channel": "whatsapp", "to": AMARA, "content": content});
        let request = self.http.post(format!("{}/api/v1/messages/send", self.launch.url()));
        let answer = request.bearer_auth(ADMIN_KEY).json(&order).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["messageId"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// Waits until a message looks like that.
    async fn message_until(&self, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut look = interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let found = timeout(WITHIN, async {
            loop {
                look.tick().await;
                let message = self.get(&format!("/api/v1/messages/{id}")).await;
                if is(&message) {
                    return message;
                }
            }
        });
        if let Ok(message) = found.await {
            return message;
        }
        let timeline = self.get(&format!("/api/v1/messages/{id}/timeline")).await;
        panic!(
            "{id} did not come to be {what}: {timeline:#}\n{}",
            self.launch.log().tail()
        );
    }

    /// Waits for a message that the customer has written, and answers with its id.
    async fn inbound(&self, count: usize) -> String {
        let mut look = interval(LOOK_AGAIN);
        let found = timeout(WITHIN, async {
            loop {
                look.tick().await;
                let conversations = self.get("/api/v1/conversations").await;
                let Some(id) = conversations["conversations"][0]["id"].as_str() else {
                    continue;
                };
                let messages = self.get(&format!("/api/v1/conversations/{id}/messages")).await;
                let inbound = messages["messages"].as_array().unwrap().iter();
                let inbound: Vec<&Value> = inbound.filter(|message| message["direction"] == "inbound").collect();
                if inbound.len() == count {
                    // The newest comes first.
                    return inbound[0]["id"].as_str().unwrap().to_owned();
                }
            }
        });
        found.await.expect("what the customer writes comes in")
    }

    /// The customer sends a document that the sandbox holds under this id.
    fn customer_sends(&self, meta_id: &str) {
        let document = json!({"type": "document", "document": {"id": meta_id, "mime_type": "application/pdf"}});
        let Value::Object(message) = document else {
            unreachable!()
        };
        self.sandbox.write("amara", NUMBER, Content::Raw { message }).unwrap();
    }

    /// Reads a file by its link; answers with how long it is.
    async fn read(&self, link: &str) -> usize {
        let mut answer = self
            .http
            .get(format!("{}{link}", self.launch.url()))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let mut length = 0;
        while let Some(chunk) = answer.chunk().await.unwrap() {
            length += chunk.len();
        }
        length
    }

    async fn until_transfers(&self, count: u64) {
        let mut look = interval(LOOK_AGAIN);
        let reached = timeout(WITHIN, async {
            while self.sandbox.transfers().now != count {
                look.tick().await;
            }
        });
        reached.await.expect("the file is on its way");
    }

    /// What of Meta's the message was sent with.
    async fn sent_as(&self, message: &str) -> String {
        let timeline = self.get(&format!("/api/v1/messages/{message}/timeline")).await;
        let attempts = timeline["timeline"].to_string();
        let (_, rest) = attempts
            .split_once("\"document\":{")
            .unwrap_or_else(|| panic!("{attempts}"));
        let (_, rest) = rest.split_once("\"id\":\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }
}

/// How much memory a process uses, from a moment on.
#[cfg(target_os = "linux")]
struct Memory {
    process: u32,
    before: u64,
}

#[cfg(target_os = "linux")]
impl Memory {
    fn of(hub: &Hub) -> Self {
        let process = hub.id();
        // The highest figure is that of now, and whatever comes from here on.
        std::fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
        let mut memory = Self { process, before: 0 };
        memory.before = memory.figure("VmRSS");
        memory
    }

    /// The figure in this line of its status, in bytes.
    fn figure(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap();
        let found = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
        let kib: u64 = found
            .trim_matches([':', ' ', '\t'])
            .trim_end_matches(" kB")
            .trim()
            .parse()
            .unwrap();
        kib * 1024
    }

    /// At no moment so far was it much more than in the beginning.
    fn grew_little(&self, what: &str) {
        let grown = self.figure("VmHWM").saturating_sub(self.before);
        println!(
            "{what}: {} KiB more than the {} KiB before",
            grown / 1024,
            self.before / 1024
        );
        assert!(grown < MEMORY_MORE_MAX, "{what}: {grown} bytes more");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_100_mib_goes_through_in_little_memory_on_sqlite() {
    large_document(&Engine::Sqlite, &[]).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_100_mib_goes_through_in_little_memory_on_postgres() {
    if let Some(postgres) = Engine::postgres() {
        large_document(&postgres, &[]).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_100_mib_goes_through_a_bucket_in_little_memory() {
    let bucket = Bucket::default();
    let place = bucket.start().await;
    large_document(&Engine::Sqlite, &place).await;
    assert!(bucket.sizes().contains(&LARGE), "{:?}", bucket.sizes());
    assert_eq!(*bucket.unsigned.lock().unwrap(), 0);
}

/// A document of the largest size that there is goes up to the hub, from there to Meta, comes back from Meta, and is read, each as a stream.
#[cfg(target_os = "linux")]
async fn large_document(engine: &Engine, place: &[(&str, String)]) {
    let _alone = alone().await;
    let world = World::new(engine, place).await;
    let hub = world.launch.start().await;
    world.subscribe().await;
    // Everything has been done once, with little: what it takes for that is not the file's.
    world
        .sandbox
        .write(
            "amara",
            NUMBER,
            Content::Text {
                text: "hello".to_owned(),
                reply_to: None,
            },
        )
        .unwrap();
    world.inbound(1).await;
    let small = world.send(&world.upload(CHUNK).await).await;
    world
        .message_until(&small, "accepted", |message| {
            !message["statusTimes"]["accepted"].is_null()
        })
        .await;
    world.customer_sends(&world.sent_as(&small).await);
    let came = world.inbound(2).await;
    let came = world
        .message_until(&came, "stored", |message| message["media"][0]["status"] == "stored")
        .await;
    world.read(came["media"][0]["link"].as_str().unwrap()).await;

    let memory = Memory::of(&hub);
    let grown = |what: &str| memory.grew_little(what);
    let media = world.upload(LARGE).await;
    grown("uploaded");
    let sent = world.send(&media).await;
    world
        .message_until(&sent, "accepted", |message| {
            !message["statusTimes"]["accepted"].is_null()
        })
        .await;
    grown("handed to Meta");
    world.customer_sends(&world.sent_as(&sent).await);
    let came = world.inbound(3).await;
    let came = world
        .message_until(&came, "stored", |message| message["media"][0]["status"] == "stored")
        .await;
    grown("fetched from Meta");
    let file = &came["media"][0];
    assert_eq!(file["size"], LARGE);
    assert_eq!(world.read(file["link"].as_str().unwrap()).await, LARGE);
    grown("read");
    let status = hub.terminate(STOPPED_WITHIN).await;
    assert!(status.success(), "{status}\n{}", world.launch.log().tail());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pictures_at_once_go_through_in_little_memory_on_sqlite() {
    thousand_pictures(&Engine::Sqlite).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pictures_at_once_go_through_in_little_memory_on_postgres() {
    if let Some(postgres) = Engine::postgres() {
        thousand_pictures(&postgres).await;
    }
}

/// Callers upload a thousand files as fast as they may, and send all of them at once.
#[cfg(target_os = "linux")]
async fn thousand_pictures(engine: &Engine) {
    const PICTURES: usize = 1_000;
    const BYTES: usize = 100 * 1024;
    const CALLERS: usize = 64;
    const CUSTOMERS: usize = 20;
    let _alone = alone().await;
    let world = World::new(engine, &[]).await;
    let hub = world.launch.start().await;
    world.subscribe().await;
    // Enough that more files are wanted at once than may be: of a conversation one message goes at a time.
    for number in 0..CUSTOMERS {
        let customer = NewCustomer {
            name: format!("Customer {number}"),
            ..NewCustomer::default()
        };
        let customer = world.sandbox.add_customer(customer).unwrap();
        let text = "Send me all of them".to_owned();
        let hello = Content::Text { text, reply_to: None };
        world.sandbox.write(&customer, NUMBER, hello).unwrap();
    }
    let conversations = world.conversations(CUSTOMERS).await;
    // Everything has been done once: what it takes for that is not theirs.
    let first = world.upload_picture(PICTURES, BYTES).await;
    let content = json!({"type": "image", "mediaId": first});
    let sent = world
        .send_all(&[json!({"to": {"conversation": conversations[0]}, "content": content})])
        .await;
    world.accepted(&sent).await;

    let memory = Memory::of(&hub);
    let pictures = stream::iter(0..PICTURES).map(|number| world.upload_picture(number, BYTES));
    let pictures: Vec<String> = pictures.buffered(CALLERS).collect().await;
    memory.grew_little("uploaded");
    let orders: Vec<Value> = pictures
        .iter()
        .enumerate()
        .map(|(number, media)| {
            let content = json!({"type": "image", "mediaId": media, "caption": format!("#{number}")});
            json!({"to": {"conversation": conversations[number % CUSTOMERS]}, "content": content})
        })
        .collect();
    let sent = world.send_all(&orders).await;
    world.accepted(&sent).await;
    memory.grew_little("sent");
    let count = world.sandbox.transfers();
    // One whose transfer was slow for once may have been handed over twice.
    let all = PICTURES as u64 + 1;
    assert!((all..=all + UPLOADS_PARALLEL).contains(&count.total), "{count:?}");
    assert!(count.most <= UPLOADS_PARALLEL, "{count:?}");
    let status = hub.terminate(STOPPED_WITHIN).await;
    assert!(status.success(), "{status}\n{}", world.launch.log().tail());
}

/// A hub that is killed while files are on their way, in either direction, has the next one finish them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_when_the_hub_was_killed_is_finished() {
    let _alone = alone().await;
    let world = World::new(&Engine::Sqlite, &[]).await;
    let hub = world.launch.start().await;
    world.subscribe().await;
    world
        .sandbox
        .write(
            "amara",
            NUMBER,
            Content::Text {
                text: "hello".to_owned(),
                reply_to: None,
            },
        )
        .unwrap();
    world.inbound(1).await;
    let hangs = |endpoint: &str| FaultRequest {
        endpoint: endpoint.to_owned(),
        kind: FaultKind::Delay,
        delay_ms: Some(600_000),
        count: Some(1),
        ..FaultRequest::default()
    };
    for endpoint in ["media.upload", "media.download"] {
        world.sandbox.fault(hangs(endpoint)).unwrap();
    }
    let sent = world.send(&world.upload(CHUNK).await).await;
    let picture = Content::Image {
        link: "https://pictures.example/1.jpg".to_owned(),
        caption: None,
        reply_to: None,
    };
    world.sandbox.write("amara", NUMBER, picture).unwrap();
    let came = world.inbound(2).await;
    world.until_transfers(2).await;
    hub.kill();
    // A request that was cut off before Meta had all of it has not used its fault up.
    world.sandbox.clear_faults();
    let hub = world.launch.start().await;
    world
        .message_until(&came, "stored", |message| message["media"][0]["status"] == "stored")
        .await;
    world
        .message_until(&sent, "accepted", |message| {
            !message["statusTimes"]["accepted"].is_null()
        })
        .await;
    let status = hub.terminate(STOPPED_WITHIN).await;
    assert!(status.success(), "{status}\n{}", world.launch.log().tail());
}
