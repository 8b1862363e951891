//! Measures how a backlog drains: a hub as its users run it, on a store that holds so many waiting messages, and a stand-in for Meta that
//! takes them and remembers when each came.
//!
//! The backlog is written into the store directly, as the hub would have written it: what is measured is the way out alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::process::{Server, Start, free_address};
use crate::usage;

const NUMBER: &str = "200000000000001";
const CHANNEL: &str = "whatsapp";
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Without a message for so long, something is wrong.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's binary.
    pub hub: PathBuf,
    /// How many messages wait, each for another recipient.
    pub messages: u32,
    /// How many of them to wait for.
    pub drain: u32,
    /// How many may be sent in a second; 0: as many as there are.
    pub per_second: u32,
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
    /// The share of the allowed pace that was used; `None` without one.
    pub pace_used: Option<f64>,
    /// The most that came within any one second.
    pub most_in_a_second: usize,
    /// What a message cost the hub in processor time, in microseconds.
    pub cpu_micros_per_message: f64,
    /// The most real memory that the hub used, in MB.
    pub memory_mb_max: f64,
    /// From starting the hub to its being ready.
    pub ready_after_ms: f64,
}

#[derive(Clone)]
struct Meta {
    came: Arc<Mutex<Vec<(Instant, u64)>>>,
    latency: Duration,
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
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let graph = format!("http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/{version}/{number}/messages", post(take))
        .with_state(meta.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    // The first start makes the schema.
    start(settings, folder, &graph).await?.stop().await?;
    let (file, messages) = (folder.join("tidings.db"), settings.messages);
    tokio::task::spawn_blocking(move || fill(&file, messages)).await??;

    let hub = start(settings, folder, &graph).await?;
    let wanted = settings.drain.min(settings.messages) as usize;
    let (mut came, mut changed_at) = (0, Instant::now());
    while came < wanted {
        tokio::time::sleep(POLL_EVERY).await;
        let now = meta.came.lock().map_or(0, |came| came.len());
        if now > came {
            (came, changed_at) = (now, Instant::now());
        } else if changed_at.elapsed() > STALLED_AFTER {
            bail!("only {came} of {wanted} messages came: {}", hub.log_end());
        }
    }
    let cpu = usage::cpu(hub.pid())?;
    let memory = usage::memory(hub.pid())?;
    let ready_after = hub.ready_after;
    hub.stop().await?;
    serving.abort();

    let came = meta.came.lock().map(|came| came.clone()).unwrap_or_default();
    Ok(report(settings, &came, cpu, memory.resident_max, ready_after))
}

fn report(
    settings: &Settings,
    came: &[(Instant, u64)],
    cpu: Duration,
    resident_max: u64,
    ready_after: Duration,
) -> Report {
    let sent = came.len();
    let seconds = match (came.first(), came.last()) {
        (Some((first, _)), Some((last, _))) => last.duration_since(*first).as_secs_f64(),
        _ => 0.0,
    };
    let per_second = (sent.saturating_sub(1)) as f64 / seconds.max(1e-9);
    let mut recipients: Vec<u64> = came.iter().map(|(_, recipient)| *recipient).collect();
    recipients.sort_unstable();
    recipients.dedup();
    let (mut first, mut most) = (0, 0);
    for last in 0..sent {
        while came[last].0.duration_since(came[first].0) >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    Report {
        waiting: settings.messages,
        sent: sent as u32,
        doubled: (sent - recipients.len()) as u32,
        seconds,
        per_second,
        pace_used: (settings.per_second > 0).then(|| per_second / f64::from(settings.per_second)),
        most_in_a_second: most,
        cpu_micros_per_message: cpu.as_secs_f64() * 1e6 / sent.max(1) as f64,
        memory_mb_max: resident_max as f64 / 1e6,
        ready_after_ms: ready_after.as_secs_f64() * 1e3,
    }
}

async fn take(State(meta): State<Meta>, body: String) -> axum::Json<Value> {
    let at = Instant::now();
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let to = body["to"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches('+')
        .to_owned();
    let index = meta.came.lock().map_or(0, |mut came| {
        came.push((at, to.parse().unwrap_or(0)));
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
    let environment = vec![
        ("TIDINGS_LISTEN", address.to_string()),
        ("TIDINGS_DATA_DIR", folder.display().to_string()),
        (
            "DATABASE_URL",
            format!("sqlite://{}", folder.join("tidings.db").display()),
        ),
        ("WHATSAPP_APP_SECRET", "tidings-bench-app-secret".to_owned()),
        ("WHATSAPP_PHONE_NUMBER_ID", NUMBER.to_owned()),
        ("WHATSAPP_ACCESS_TOKEN", "tidings-bench-access-token".to_owned()),
        ("WHATSAPP_VERIFY_TOKEN", "tidings-bench-verify-token".to_owned()),
        ("WHATSAPP_API_BASE_URL", graph.to_owned()),
        ("META_GRAPH_API_BASE_URL", graph.to_owned()),
        (
            "TIDINGS_ADMIN_KEY",
            "tidings-bench-admin-key-0123456789abcdef".to_owned(),
        ),
        (
            "TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND",
            settings.per_second.to_string(),
        ),
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

/// Writes messages that wait, each in a conversation of its own.
fn fill(file: &Path, messages: u32) -> anyhow::Result<()> {
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
                next_position, created_at) VALUES (?1, ?2, ?3, 'open', 'automation', 0, 0, ?4, ?5, 2, ?4)",
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
        for index in 0..messages {
            let id = |kind: u8| {
                let mut id = [kind; 16];
                id[..6].copy_from_slice(&now.to_be_bytes()[2..]);
                id[10..14].copy_from_slice(&index.to_be_bytes());
                id
            };
            let (person, thread, said) = (id(1), id(2), id(3));
            let number = format!("4477{index:08}");
            contact.execute(rusqlite::params![person, now])?;
            identity.execute(rusqlite::params![number, person])?;
            conversation.execute(rusqlite::params![thread, CHANNEL, person, now, said])?;
            message.execute(rusqlite::params![said, CHANNEL, thread, content, now])?;
            entry.execute(rusqlite::params![said, CHANNEL, thread, now, now + 86_400_000])?;
        }
    }
    transaction.commit()?;
    Ok(())
}
