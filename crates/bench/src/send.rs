//! Measures how a backlog drains: a hub as its users run it, on a store that holds so many waiting messages, and a stand-in for Meta that
//! takes them and remembers when each came.
//!
//! The backlog is written into the store directly, as the hub would have written it: what is measured is the way out alone. While it drains,
//! replies may be asked for, which go before all that waits, and it may be looked at the queue.
//!
//! When a message came is told by this process's clock, when its turn to run came: on a machine that both share, some milliseconds after the
//! hub's call. So what is counted within a second here may be more than what was sent within it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::routing::post;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::process::{Server, Start, free_address};
use crate::usage;

const ADMIN_KEY: &str = "tidings-bench-admin-key-0123456789abcdef";
/// Where Meta does not answer, it does not for this long.
const SILENCE: Duration = Duration::from_mins(5);
/// How far apart replies are, and looks at the queue: not in step with anything.
const REPLY_EVERY: Duration = Duration::from_millis(330);
const LOOK_EVERY: Duration = Duration::from_millis(170);
/// A reply that has not come by then never will.
const REPLY_WITHIN: Duration = Duration::from_secs(10);
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Without a message for so long, something is wrong.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's binary.
    pub hub: PathBuf,
    /// How many channels there are.
    pub channels: u32,
    /// Whether Meta answers nothing on one more channel, on which as much waits.
    pub one_blocked: bool,
    /// How many messages wait on each, each for another recipient.
    pub messages: u32,
    /// How many of them to wait for, on each.
    pub drain: u32,
    /// How many a channel may send in a second; 0: as many as there are.
    pub per_second: u32,
    /// Replies to ask for meanwhile.
    pub replies: u32,
    /// Whether to look at the queue meanwhile.
    pub looks: bool,
    /// How long Meta takes to answer.
    pub latency: Duration,
    /// Where the store is made.
    pub scratch: PathBuf,
}

/// What came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How many messages waited.
    pub waiting: u32,
    /// How many came.
    pub sent: u32,
    /// Calls that came more than once for one recipient.
    pub doubled: u32,
    /// From the first to the last.
    pub seconds: f64,
    /// Messages a second between those.
    pub per_second: f64,
    /// The share of the allowed pace that was used, by the channel that used the least; `None` without one.
    pub pace_used: Option<f64>,
    /// The most that came within any one second on one channel.
    pub most_in_a_second: usize,
    /// The longest that nothing came on a channel, between its first message and its last.
    pub silence_ms_max: f64,
    /// The longest that a reply took, from being accepted to being sent.
    pub reply_ms_max: Option<f64>,
    /// The longest that `GET /admin/queue` took.
    pub look_ms_max: Option<f64>,
    /// What a message cost the hub in processor time, in microseconds.
    pub cpu_micros_per_message: f64,
    /// The most real memory that the hub used, in MB.
    pub memory_mb_max: f64,
    /// From starting the hub to its being ready.
    pub ready_after_ms: f64,
}

#[derive(Clone)]
struct Meta {
    came: Arc<Mutex<Vec<Call>>>,
    latency: Duration,
    /// The number on which nothing is answered.
    silent: Option<String>,
}

/// A message that came.
#[derive(Debug, Clone, Copy)]
struct Call {
    at: Instant,
    channel: u32,
    recipient: u64,
}

/// Fills a store, lets the hub drain it, and says how that went.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    let folder = settings
        .scratch
        .join(format!("tidings-bench-send-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
    let report = measure(&settings, &folder).await;
    // What is left behind is in a folder for such things.
    let _ = fs::remove_dir_all(&folder);
    report
}

async fn measure(settings: &Settings, folder: &Path) -> anyhow::Result<Report> {
    let meta = Meta {
        came: Arc::default(),
        latency: settings.latency,
        silent: settings.one_blocked.then(|| number(settings.channels)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let graph = format!("http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/{version}/{number}/messages", post(take))
        .with_state(meta.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    // The first start makes the schema.
    start(settings, folder, &graph).await?.stop().await?;
    let (file, filled) = (folder.join("tidings.db"), settings.clone());
    tokio::task::spawn_blocking(move || fill(&file, &filled)).await??;

    let hub = start(settings, folder, &graph).await?;
    begun(&hub, &meta).await?;
    let (reply_ms_max, look_ms_max) = tokio::try_join!(replies(settings, &hub, &meta), looks(settings, &hub, &meta))?;
    drained(settings, &hub, &meta).await?;
    let cpu = usage::cpu(hub.pid())?;
    let memory = usage::memory(hub.pid())?;
    let ready_after = hub.ready_after;
    hub.stop().await?;
    serving.abort();

    let came = meta.came.lock().map(|came| came.clone()).unwrap_or_default();
    Ok(Report {
        reply_ms_max,
        look_ms_max,
        ..report(settings, &came, cpu, memory.resident_max, ready_after)
    })
}

/// Waits until the first message has come: whoever takes a channel over lets pass what the last one may have used up of the pace, which is no
/// wait of a reply.
async fn begun(hub: &Server, meta: &Meta) -> anyhow::Result<()> {
    let started_at = Instant::now();
    while meta.count() == 0 {
        ensure!(
            started_at.elapsed() < STALLED_AFTER,
            "no message came: {}",
            hub.log_end()
        );
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(())
}

/// Waits until so much has come as is wanted.
async fn drained(settings: &Settings, hub: &Server, meta: &Meta) -> anyhow::Result<()> {
    let wanted = (settings.channels * settings.drain.min(settings.messages)) as usize;
    let (mut came, mut changed_at) = (0, Instant::now());
    while came < wanted {
        tokio::time::sleep(POLL_EVERY).await;
        let now = meta.count();
        if now > came {
            (came, changed_at) = (now, Instant::now());
        } else if changed_at.elapsed() > STALLED_AFTER {
            bail!("only {came} of {wanted} messages came: {}", hub.log_end());
        }
    }
    Ok(())
}

/// Asks for replies on the first channel, one after the other; answers with the longest that one took from being accepted to being sent.
async fn replies(settings: &Settings, hub: &Server, meta: &Meta) -> anyhow::Result<Option<f64>> {
    let mut longest: Option<f64> = None;
    for index in 0..settings.replies {
        tokio::time::sleep(REPLY_EVERY).await;
        let recipient = reply_recipient(index);
        let body = json!({"channel": channel(0), "to": format!("+{recipient}"), "message": "At once."}).to_string();
        let (status, answer) = hub.post("/api/v1/messages/send", ADMIN_KEY, &body).await?;
        let accepted_at = Instant::now();
        ensure!(status == 202, "a reply was answered with {status}: {answer}");
        let sent_at = loop {
            if let Some(at) = meta.came_to(recipient) {
                break at;
            }
            ensure!(accepted_at.elapsed() < REPLY_WITHIN, "a reply did not come");
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let took = sent_at.saturating_duration_since(accepted_at).as_secs_f64() * 1e3;
        longest = Some(longest.map_or(took, |longest| longest.max(took)));
    }
    Ok(longest)
}

/// Looks at the queue until enough has come; answers with the longest that took.
async fn looks(settings: &Settings, hub: &Server, meta: &Meta) -> anyhow::Result<Option<f64>> {
    if !settings.looks {
        return Ok(None);
    }
    let wanted = (settings.channels * settings.drain.min(settings.messages)) as usize;
    let mut longest: f64 = 0.0;
    let mut count = 0_u32;
    while count == 0 || meta.count() < wanted * 9 / 10 {
        tokio::time::sleep(LOOK_EVERY).await;
        let asked = Instant::now();
        let (status, answer) = hub.get("/admin/queue", Some(ADMIN_KEY)).await?;
        longest = longest.max(asked.elapsed().as_secs_f64() * 1e3);
        ensure!(status == 200, "GET /admin/queue was answered with {status}: {answer}");
        count += 1;
        ensure!(count < 10_000, "the queue does not drain");
    }
    Ok(Some(longest))
}

impl Meta {
    fn count(&self) -> usize {
        self.came.lock().map_or(0, |came| came.len())
    }

    fn came_to(&self, recipient: u64) -> Option<Instant> {
        let came = self.came.lock().ok()?;
        came.iter()
            .rev()
            .find(|call| call.recipient == recipient)
            .map(|call| call.at)
    }
}

fn channel(index: u32) -> String {
    format!("number-{index}")
}

fn number(index: u32) -> String {
    format!("2000000{index:08}")
}

fn reply_recipient(index: u32) -> u64 {
    449_900_000_000 + u64::from(index)
}

fn report(settings: &Settings, came: &[Call], cpu: Duration, resident_max: u64, ready_after: Duration) -> Report {
    let sent = came.len();
    let seconds = match (came.first(), came.last()) {
        (Some(first), Some(last)) => last.at.duration_since(first.at).as_secs_f64(),
        _ => 0.0,
    };
    let per_second = rate(sent, seconds);
    let mut recipients: Vec<(u32, u64)> = came.iter().map(|call| (call.channel, call.recipient)).collect();
    recipients.sort_unstable();
    recipients.dedup();
    let mut by_channel = vec![Vec::new(); settings.channels as usize];
    for call in came {
        if let Some(times) = by_channel.get_mut(call.channel as usize) {
            times.push(call.at);
        }
    }
    let slowest = by_channel.iter().map(|times| match times[..] {
        [first, .., last] => rate(times.len(), last.duration_since(first).as_secs_f64()),
        _ => 0.0,
    });
    let slowest = slowest.min_by(f64::total_cmp).unwrap_or_default();
    Report {
        waiting: settings.messages * settings.channels,
        sent: sent as u32,
        doubled: (sent - recipients.len()) as u32,
        seconds,
        per_second,
        pace_used: (settings.per_second > 0).then(|| slowest / f64::from(settings.per_second)),
        most_in_a_second: by_channel
            .iter()
            .map(|times| most_in_a_second(times))
            .max()
            .unwrap_or_default(),
        silence_ms_max: by_channel
            .iter()
            .flat_map(|times| times.windows(2))
            .map(|pair| pair[1].duration_since(pair[0]).as_secs_f64() * 1e3)
            .fold(0.0, f64::max),
        reply_ms_max: None,
        look_ms_max: None,
        cpu_micros_per_message: cpu.as_secs_f64() * 1e6 / sent.max(1) as f64,
        memory_mb_max: resident_max as f64 / 1e6,
        ready_after_ms: ready_after.as_secs_f64() * 1e3,
    }
}

/// Messages a second, of so many from the first to the last.
fn rate(count: usize, seconds: f64) -> f64 {
    count.saturating_sub(1) as f64 / seconds.max(1e-9)
}

fn most_in_a_second(times: &[Instant]) -> usize {
    let (mut first, mut most) = (0, 0);
    for (last, at) in times.iter().enumerate() {
        while at.duration_since(times[first]) >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

async fn take(
    State(meta): State<Meta>,
    UrlPath((_, account)): UrlPath<(String, String)>,
    body: String,
) -> axum::Json<Value> {
    let at = Instant::now();
    if meta.silent.as_ref() == Some(&account) {
        tokio::time::sleep(SILENCE).await;
    }
    let last = account.get(account.len().saturating_sub(8)..);
    let channel = last.and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX);
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let to = body["to"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches('+')
        .to_owned();
    let index = meta.came.lock().map_or(0, |mut came| {
        came.push(Call {
            at,
            channel,
            recipient: to.parse().unwrap_or(0),
        });
        came.len()
    });
    if !meta.latency.is_zero() {
        tokio::time::sleep(meta.latency).await;
    }
    axum::Json(json!({
        "messaging_product": "whatsapp",
        "contacts": [{"input": to, "wa_id": to}],
        "messages": [{"id": format!("wamid.bench.{index}")}],
    }))
}

async fn start(settings: &Settings, folder: &Path, graph: &str) -> anyhow::Result<Server> {
    let address = free_address()?;
    fs::write(folder.join("tidings.toml"), channels(settings))?;
    let environment = vec![
        ("TIDINGS_LISTEN", address.to_string()),
        ("TIDINGS_DATA_DIR", folder.display().to_string()),
        (
            "DATABASE_URL",
            format!("sqlite://{}", folder.join("tidings.db").display()),
        ),
        ("WHATSAPP_APP_SECRET", "tidings-bench-app-secret".to_owned()),
        ("WHATSAPP_VERIFY_TOKEN", "tidings-bench-verify-token".to_owned()),
        ("WHATSAPP_API_BASE_URL", graph.to_owned()),
        ("META_GRAPH_API_BASE_URL", graph.to_owned()),
        ("TIDINGS_ADMIN_KEY", ADMIN_KEY.to_owned()),
        ("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_DAY", "0".to_owned()),
        ("TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY", "0".to_owned()),
        ("TIDINGS_LOG", "warn".to_owned()),
    ];
    Server::start(Start {
        program: &settings.hub,
        arguments: vec!["serve".into()],
        environment,
        folder,
        address,
    })
    .await
}

/// What stands in the settings file of the channels.
fn channels(settings: &Settings) -> String {
    let entry = |index| {
        format!(
            "[[channels]]\nid = \"{}\"\nplatform = \"whatsapp\"\naccount = \"{}\"\naccess_token = \"tidings-bench-access-token\"\n\
             messages_per_second = {}\n",
            channel(index),
            number(index),
            settings.per_second
        )
    };
    let entries: Vec<String> = (0..settings.channels + u32::from(settings.one_blocked))
        .map(entry)
        .collect();
    entries.concat()
}

/// Writes messages that wait, each in a conversation of its own, and conversations in which a reply may be asked for.
fn fill(file: &Path, settings: &Settings) -> anyhow::Result<()> {
    let mut connection = rusqlite::Connection::open(file)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    let transaction = connection.transaction()?;
    let now = i64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_millis(),
    )?;
    {
        let mut contact =
            transaction.prepare("INSERT INTO contacts (id, name_at, username_at, created_at) VALUES (?1, 0, 0, ?2)")?;
        let mut identity = transaction.prepare(
            "INSERT INTO contact_identities (kind, scope, value, shown, contact_id, seen_at) VALUES ('phone', '', ?1, ?1, ?2, 0)",
        )?;
        let mut conversation = transaction.prepare(
            "INSERT INTO conversations (id, channel_id, contact_id, status, handler, unread, read_up_to, last_message_at, last_message_id,
                next_position, created_at, last_inbound_at, window_ends_at)
             VALUES (?1, ?2, ?3, 'open', 'automation', 0, 0, ?4, ?5, 2, ?4, ?4, ?6)",
        )?;
        let mut message = transaction.prepare(
            "INSERT INTO messages (id, channel_id, conversation_id, outbound, sender, content, inert, status, occurred_at, created_at,
                maybe_duplicate) VALUES (?1, ?2, ?3, 1, 'api', ?4, 0, 'queued', ?5, ?5, 0)",
        )?;
        let mut entry = transaction.prepare(
            "INSERT INTO outbox (message_id, channel_id, conversation_id, position, head, state, priority, due_at, expires_at, attempts,
                queued_at) VALUES (?1, ?2, ?3, 1, 1, 'waiting', 2, ?4, ?5, 0, ?4)",
        )?;
        let content = json!({"type": "text", "text": "Your order is on its way."}).to_string();
        let waiting = (0..settings.channels + u32::from(settings.one_blocked))
            .flat_map(|of| (0..settings.messages).map(move |index| (of, 447_700_000_000 + u64::from(index), true)));
        let writers = (0..settings.replies).map(|index| (0, reply_recipient(index), false));
        for (index, (of, recipient, has_message)) in (0_u32..).zip(waiting.chain(writers)) {
            let id = |kind: u8| {
                let mut id = [kind; 16];
                id[..6].copy_from_slice(&now.to_be_bytes()[2..]);
                id[10..14].copy_from_slice(&index.to_be_bytes());
                id
            };
            let (person, thread, said) = (id(1), id(2), id(3));
            // Of several channels each has customers of its own.
            let (number, channel) = (recipient + u64::from(of) * 1_000_000, channel(of));
            let tomorrow = now + 86_400_000;
            contact.execute(rusqlite::params![person, now])?;
            identity.execute(rusqlite::params![number.to_string(), person])?;
            conversation.execute(rusqlite::params![thread, channel, person, now, said, tomorrow])?;
            if has_message {
                message.execute(rusqlite::params![said, channel, thread, content, now])?;
                entry.execute(rusqlite::params![said, channel, thread, now, tomorrow])?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}
