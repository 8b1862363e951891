//! Much at once: the hub as histories have it, where nothing fails but what a test is about. Since time moves only when nothing else can, what
//! is measured here is how the hub divides its time, to the millisecond and always the same, and not how fast a machine is.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::http::{Method, StatusCode};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tidings::clock::{Clock, from_millis};
use tidings::config::{Config, ConfigFile, Sources};
use tidings::ids::Ids;
use tidings::routes;
use tidings::server::Works;
use tidings::store::{InlineDatabase, Store};
use tidings::tasks::Tasks;
use tidings_meta::client::{CallError, Carried, Carrier};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use crate::history::{FairWeather, run_planned};
use crate::meta::{carried, refusal, token_of};
use crate::plan::Plan;
use crate::process::{ADMIN_KEY, MASTER_KEY, bearer, channels_by, request};
use crate::world::START;

const SECOND: Duration = Duration::from_secs(1);
/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(150);
/// How long the hub waits for one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// The share of the allowed pace that is used at least.
const PACE_USED: f64 = 0.98;

/// A message that Meta was asked to send.
#[derive(Debug, Clone)]
struct Call {
    at: Instant,
    number: String,
    to: String,
    is_taken: bool,
}

/// Meta, without any fault but those that a test asks for.
#[derive(Debug, Clone, Default)]
struct Meta(Arc<Mutex<MetaState>>);

#[derive(Debug, Default)]
struct MetaState {
    calls: Vec<Call>,
    /// Numbers whose calls are never answered.
    silent: Vec<String>,
    /// The one token that works, if not all do.
    token: Option<String>,
}

impl Meta {
    fn with<T>(&self, what: impl FnOnce(&mut MetaState) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn taken(&self) -> Vec<Call> {
        self.with(|state| state.calls.iter().filter(|call| call.is_taken).cloned().collect())
    }

    /// What came for one of its numbers.
    fn calls_of(&self, number: &str) -> Vec<Call> {
        self.with(|state| {
            state
                .calls
                .iter()
                .filter(|call| call.number == number)
                .cloned()
                .collect()
        })
    }
}

impl Carrier for Meta {
    fn carry(&self, request: reqwest::Request) -> Pin<Box<dyn Future<Output = Result<Carried, CallError>> + Send>> {
        let meta = self.clone();
        Box::pin(async move {
            let (path, token) = (request.url().path().to_owned(), token_of(&request));
            let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let number = path.split('/').nth(2).unwrap_or_default().to_owned();
            let works = meta.with(|state| state.token.as_ref().is_none_or(|known| *known == token));
            let Some(to) = body["to"].as_str() else {
                sleep(LATENCY).await;
                return Ok(if works {
                    carried(200, &json!({"id": number, "verified_name": "Shop", "name": "Somebody"}))
                } else {
                    refusal(401, 190, "Token expired")
                });
            };
            let to = to.trim_start_matches('+').to_owned();
            let (index, is_silent) = meta.with(|state| {
                let is_silent = state.silent.contains(&number);
                state.calls.push(Call {
                    at: Instant::now(),
                    number,
                    to: to.clone(),
                    is_taken: works && !is_silent,
                });
                (state.calls.len(), is_silent)
            });
            if is_silent {
                sleep(REQUEST_TIMEOUT).await;
                return Err(CallError::Unknown {
                    reason: "timed out".to_owned(),
                    http_status: None,
                });
            }
            sleep(LATENCY).await;
            if !works {
                return Ok(refusal(401, 190, "Token expired"));
            }
            Ok(carried(
                200,
                &json!({"messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": to}],
                    "messages": [{"id": format!("wamid.OUT{index}")}]}),
            ))
        })
    }
}

/// A hub with nothing around it but Meta.
struct Hub {
    router: Router,
    database: InlineDatabase,
    meta: Meta,
    tasks: Tasks,
}

impl Hub {
    /// `channels` is what stands in the settings file; `fill` puts something into the store before the hub runs.
    async fn start(channels: &str, change: impl FnOnce(&mut Config), fill: impl FnOnce(&InlineDatabase)) -> Self {
        let (database, meta) = (InlineDatabase::new().unwrap(), Meta::default());
        let environment = [("TIDINGS_ADMIN_KEY", ADMIN_KEY), ("TIDINGS_MASTER_KEY", MASTER_KEY)];
        let sources = Sources {
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            file: Some(ConfigFile {
                path: "tidings.toml".into(),
                text: channels.to_owned(),
            }),
            ..Sources::default()
        };
        let loaded = Config::load(sources);
        let mut config = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
        config.graph.request_timeout = REQUEST_TIMEOUT;
        config.sending.whatsapp.per_day = 0;
        config.sending.whatsapp.contacts_per_day = 0;
        change(&mut config);
        let clock = Clock::of_runtime(from_millis(START));
        let store = Store::inline(&database, Arc::new(FairWeather));
        let ids = Ids::seeded(clock.clone(), 1);
        let channels = channels_by(&config, Arc::new(meta.clone()));
        let works = Works::prepare(config, store, channels, clock, ids).await.unwrap();
        fill(&database);
        let (app, tasks) = works.start().await.unwrap();
        Self {
            router: routes::router(app),
            database,
            meta,
            tasks,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let asked = request(method, path, body.to_string(), vec![bearer()]);
        let answer = self.router.clone().oneshot(asked).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 4 * 1024 * 1024).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, within: Duration, is_so: impl Fn() -> bool) {
        let since = Instant::now();
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
            assert!(since.elapsed() < within, "not within {within:?}: {what}");
        }
    }

    fn number(&self, sql: &str) -> i64 {
        self.database
            .ask(|connection| connection.query_row(sql, [], |row| row.get(0)).unwrap())
    }

    async fn stop(self) {
        self.tasks.stop(SECOND * 20).await;
    }
}

/// Writes messages that wait, as the hub would have written them, each in a conversation of its own; and without any, customers who have
/// written.
fn fill(database: &InlineDatabase, channel: &str, first: u32, count: u32, is_waiting: bool) {
    const DAY: i64 = 86_400_000;
    database.ask(|connection| {
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            connection.prepare_cached(sql).unwrap().execute(values).unwrap();
        };
        connection.execute_batch("BEGIN").unwrap();
        for index in first..first + count {
            let id = |kind: u8| {
                let mut id = [kind; 16];
                id[..6].copy_from_slice(&START.to_be_bytes()[2..]);
                id[10..14].copy_from_slice(&index.to_be_bytes());
                id
            };
            let (person, thread, said) = (id(1), id(2), id(3));
            let number = phone(index);
            run(
                "INSERT INTO contacts (id, name_at, username_at, created_at) VALUES (?1, 0, 0, ?2)",
                &[&person, &START],
            );
            run(
                "INSERT INTO contact_identities (kind, scope, value, shown, contact_id, seen_at) VALUES ('phone', '', ?1, ?1, ?2, 0)",
                &[&number, &person],
            );
            run(
                "INSERT INTO conversations (id, channel_id, contact_id, status, handler, unread, read_up_to, last_message_at, last_message_id,
                    last_inbound_at, window_ends_at, next_position, created_at)
                 VALUES (?1, ?2, ?3, 'open', 'automation', 0, 0, ?4, ?5, ?4, ?6, 2, ?4)",
                &[&thread, &channel, &person, &START, &said, &(START + DAY)],
            );
            if !is_waiting {
                continue;
            }
            run(
                "INSERT INTO messages (id, channel_id, conversation_id, outbound, sender, content, inert, status, occurred_at, created_at,
                    maybe_duplicate) VALUES (?1, ?2, ?3, 1, 'api', '{\"type\": \"text\", \"text\": \"News\"}', 0, 'queued', ?4, ?4, 0)",
                &[&said, &channel, &thread, &START],
            );
            run(
                "INSERT INTO outbox (message_id, channel_id, conversation_id, position, head, state, priority, due_at, expires_at, attempts,
                    queued_at) VALUES (?1, ?2, ?3, 1, 1, 'waiting', 2, ?4, ?5, 0, ?4)",
                &[&said, &channel, &thread, &START, &(START + DAY)],
            );
        }
        connection.execute_batch("COMMIT").unwrap();
    });
}

fn phone(index: u32) -> String {
    format!("4477{index:08}")
}

fn channel(id: &str, number: &str, per_second: u32) -> String {
    format!(
        "[[channels]]\nid = \"{id}\"\nplatform = \"whatsapp\"\naccount = \"{number}\"\naccess_token = \"token\"\n\
         messages_per_second = {per_second}\n"
    )
}

/// Calls a second, from the first to the last.
fn pace(calls: &[Call]) -> f64 {
    let passed = calls[calls.len() - 1].at.duration_since(calls[0].at);
    (calls.len() - 1) as f64 / passed.as_secs_f64()
}

/// Whenever the node dies, or stands still, that leads the channels.
#[test]
fn the_channels_of_a_node_that_is_gone_are_sending_again_within_ten_seconds() {
    const LASTS: i64 = 60_000;
    let mut replaced = 0;
    for seed in 0..6_u64 {
        let gone_at = 20_000 + 377 * seed.cast_signed();
        let plan = Plan {
            lasts: LASTS,
            nodes: 2,
            customers: 4,
            orders: 25,
            ..Plan::quiet(seed)
        };
        let gone = if seed % 2 == 0 {
            Plan {
                crashes: vec![(gone_at, 0)],
                ..plan
            }
        } else {
            Plan {
                freezes: vec![(gone_at..gone_at + 30_000, 0)],
                ..plan
            }
        };
        let report = run_planned(gone);
        assert!(report.violations.is_empty(), "{report}");
        let gone_at = START + gone_at;
        let Some(last) = report.calls.iter().rfind(|call| call.node == 0 && call.at < gone_at) else {
            // The other one leads.
            continue;
        };
        let again = report
            .calls
            .iter()
            .find(|call| call.line == last.line && call.at > gone_at);
        let after = again.unwrap_or_else(|| panic!("nobody took over: {report}")).at - gone_at;
        assert!(after < 10_000, "only {after} ms later: {report}");
        replaced += 1;
    }
    assert!(replaced > 0, "{replaced} of a node that led");
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_channels_one_that_is_blocked_slows_no_other() {
    const CHANNELS: u32 = 100;
    const PER_SECOND: u32 = 20;
    const EACH: u32 = 40;
    let number = |index: u32| format!("3000000000{index:05}");
    let channels: String = (0..CHANNELS)
        // The first one has no pace, so that nothing but its calls holds it back.
        .map(|index| {
            channel(
                &format!("n{index}"),
                &number(index),
                if index == 0 { 0 } else { PER_SECOND },
            )
        })
        .collect();
    let hub = Hub::start(
        &channels,
        |_| (),
        |database| {
            for index in 0..CHANNELS {
                let count = if index == 0 { 1_000 } else { EACH };
                fill(database, &format!("n{index}"), index * 1_000, count, true);
            }
        },
    )
    .await;
    hub.meta.with(|meta| meta.silent.push(number(0)));
    let begins = Instant::now();
    let total = ((CHANNELS - 1) * EACH) as usize;
    let meta = hub.meta.clone();
    hub.until("all others have sent", SECOND * 60, || meta.taken().len() == total)
        .await;
    for index in 1..CHANNELS {
        let calls = hub.meta.calls_of(&number(index));
        let used = pace(&calls) / f64::from(PER_SECOND);
        let waited = calls[0].at.duration_since(begins);
        assert!(used >= PACE_USED, "channel {index} used {used:.3} of its pace");
        assert!(waited < SECOND, "channel {index} began after {waited:?}");
    }
    let blocked = hub.meta.calls_of(&number(0)).len();
    assert!(
        blocked > 100,
        "the blocked channel has had many calls under way: {blocked}"
    );
    hub.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_in_the_middle_of_ten_thousand_messages_loses_none_and_doubles_none() {
    const MESSAGES: u32 = 10_000;
    const BATCH: u32 = 1_000;
    let hub = Hub::start(&channel("whatsapp", "1001", 1_000), |_| (), |_| ()).await;
    for first in (0..MESSAGES).step_by(BATCH as usize) {
        let messages: Vec<Value> = (first..first + BATCH)
            .map(|index| {
                json!({"channel": "whatsapp", "to": format!("+{}", phone(index)),
                    "content": {"type": "template", "name": "hello_world", "language": "en_US"}})
            })
            .collect();
        let (status, answer) = hub
            .ask(Method::POST, "/api/v1/messages/batch", &json!({"messages": messages}))
            .await;
        assert_eq!((status.as_u16(), &answer["accepted"]), (200, &json!(BATCH)), "{answer}");
    }
    let meta = hub.meta.clone();
    hub.until("some were sent", SECOND * 60, || meta.taken().len() > 4_000)
        .await;
    hub.meta.with(|meta| meta.token = Some("another-token".to_owned()));
    sleep(SECOND * 30).await;
    let before = hub.meta.taken().len();
    assert!(before < 9_000, "it ended in the middle: {before}");
    assert_eq!(hub.number("SELECT COUNT(*) FROM messages WHERE status = 'failed'"), 0);
    assert_eq!(hub.number("SELECT COUNT(*) FROM channels WHERE held_at IS NOT NULL"), 1);

    let token = json!({"accessToken": "another-token"});
    let (status, answer) = hub
        .ask(Method::PUT, "/api/v1/channels/whatsapp/credentials", &token)
        .await;
    assert_eq!(status.as_u16(), 200, "{answer}");
    let meta = hub.meta.clone();
    hub.until("the others were sent", SECOND * 30, || {
        meta.taken().len() >= MESSAGES as usize
    })
    .await;
    sleep(SECOND * 5).await;
    let mut recipients: BTreeMap<String, usize> = BTreeMap::new();
    for call in hub.meta.taken() {
        *recipients.entry(call.to).or_default() += 1;
    }
    assert_eq!(recipients.len(), MESSAGES as usize);
    assert!(recipients.values().all(|count| *count == 1), "none is doubled");
    let accepted = "SELECT COUNT(*) FROM messages WHERE status = 'accepted' AND maybe_duplicate = 0";
    assert_eq!(hub.number(accepted), i64::from(MESSAGES));
    assert_eq!(hub.number("SELECT COUNT(*) FROM outbox"), 0);
    hub.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_goes_out_at_once_before_a_hundred_thousand_bulk_messages() {
    const PER_SECOND: u32 = 80;
    const REPLIES: u32 = 12;
    let hub = Hub::start(
        &channel("whatsapp", "1001", PER_SECOND),
        |_| (),
        |database| {
            fill(database, "whatsapp", 0, 100_000, true);
            fill(database, "whatsapp", 200_000, REPLIES, false);
        },
    )
    .await;
    sleep(SECOND * 2).await;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for index in 0..REPLIES {
        sleep(Duration::from_millis(random.random_range(100..900))).await;
        let to = phone(200_000 + index);
        let order = json!({"channel": "whatsapp", "to": format!("+{to}"), "message": "At once"});
        let (status, answer) = hub.ask(Method::POST, "/api/v1/messages/send", &order).await;
        assert_eq!(status.as_u16(), 202, "{answer}");
        let (before, accepted_at) = (hub.meta.taken().len(), Instant::now());
        let (meta, recipient) = (hub.meta.clone(), to.clone());
        hub.until("the reply was sent", SECOND * 5, || {
            meta.taken().iter().any(|call| call.to == recipient)
        })
        .await;
        let calls = hub.meta.taken();
        let place = calls.iter().position(|call| call.to == to).unwrap();
        let (waited, overtaken_by) = (calls[place].at.duration_since(accepted_at), place - before);
        // What is in hand already goes first: about a tenth of a second's worth.
        assert!(
            waited < Duration::from_millis(200) && overtaken_by <= PER_SECOND as usize / 5,
            "it waited for {waited:?}, and {overtaken_by} others went before it"
        );
    }
    assert!(
        hub.number("SELECT COUNT(*) FROM outbox") > 90_000,
        "bulk was waiting all the time"
    );
    hub.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_pace_is_used_and_never_exceeded_as_meta_sees_it() {
    const SECONDS: u32 = 3;
    // Calls reach Meta a hundredth of a second sooner or later than others that were made before: that is what is left of the limit.
    const JITTER_MILLIS: u64 = 10;
    for per_second in [80, 1_000] {
        let hub = Hub::start(
            &channel("whatsapp", "1001", per_second),
            |_| (),
            |database| fill(database, "whatsapp", 0, per_second * SECONDS, true),
        )
        .await;
        let meta = hub.meta.clone();
        let total = (per_second * SECONDS) as usize;
        hub.until("all were sent", SECOND * 10, || meta.taken().len() == total)
            .await;
        let calls = hub.meta.taken();
        let used = pace(&calls) / f64::from(per_second);
        assert!(used >= PACE_USED, "{used:.3} of {per_second} a second");
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut arrivals: Vec<Instant> = calls
            .iter()
            .map(|call| call.at + Duration::from_millis(random.random_range(0..=JITTER_MILLIS)))
            .collect();
        arrivals.sort_unstable();
        let fast = arrivals
            .windows(per_second as usize + 1)
            .find(|window| window[per_second as usize].duration_since(window[0]) < SECOND);
        assert!(fast.is_none(), "more than {per_second} within a second");
        hub.stop().await;
    }
}
