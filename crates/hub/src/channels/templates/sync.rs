//! Reads the templates of each account from Meta: at the start, on schedule, and whenever something has asked for it
//! ([`crate::store::Tx::want_template_sync`]).
//!
//! Guarantee: what is read replaces what is known as a whole, or not at all; and never what an event has told since the reading began, after
//! which it is read once more. One node reads an account at a time. A crash leaves what was known; it is read again two minutes later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_meta::client::{CallError, TemplateNode};
use tidings_meta::error;
use tidings_meta::notification::Platform;
use tokio_util::sync::CancellationToken;

use super::model::{DELETED, Definition, SyncState};
use super::news::{Notice, is_named};
use crate::app::App;
use crate::channels::{Channel, Connection, Standing};
use crate::conversations::model::Millis;
use crate::ids::Ids;
use crate::sending::model::Wait;
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// How often it is looked whether an account is due.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long nobody else reads an account that somebody reads.
const CLAIM: Millis = 2 * 60 * 1000;
/// How often it is looked whether somebody else has read an account, and how many times.
const LOOK_AT_CLAIM: Duration = Duration::from_millis(100);
const LOOKS_MAX: usize = 100;
/// What was read so lately is not read again at the start.
const FRESH: Millis = 60 * 1000;
/// How many templates are asked for at once; fewer where so many are too long for one answer.
const PAGE_SIZES: [u32; 2] = [100, 20];
/// How many pages are read at most: more than an account can have (reference `whatsapp.md` 10.2).
const PAGES_MAX: usize = 500;
/// How many templates of an account are kept, deleted ones included.
const TEMPLATES_MAX: u32 = 20_000;
/// How many are written by one statement, and told by one row of the stream.
const WRITTEN_AT_ONCE: usize = 500;
const TOLD_AT_ONCE: usize = 100;
/// How long one that is deleted is remembered: longer than Meta blocks its name.
const DELETED_KEPT: Millis = 60 * 24 * 3600 * 1000;
/// The pause after a failure, which doubles, and its bound.
const PAUSE_FIRST: Duration = Duration::from_mins(1);
const PAUSE_MOST: Duration = Duration::from_mins(30);
/// How far the next reading is moved, so that many hubs do not ask at the same moment: a tenth of the time to it.
const JITTER: f64 = 0.1;
/// How many waiting messages are made due by one unit.
const RELEASED_AT_ONCE: u32 = 500;

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    if let Err(error) = want_stale(&app).await {
        tracing::warn!(%error, "the templates are read at their next time");
    }
    while !stop.is_cancelled() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            tended = tend(&app) => if let Err(error) = tended {
                tracing::warn!(%error, "templates could not be read anew; they are when the store can be used");
            },
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = app.templates.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// At the start, everything is read anew that was not read a moment ago.
async fn want_stale(app: &App) -> Result<(), StoreError> {
    if app.config.templates_sync_every.is_zero() {
        return Ok(());
    }
    let accounts: Vec<String> = accounts(app).into_iter().map(|(account, _)| account).collect();
    let now = app.clock.now_millis();
    app.store
        .write(move |tx| {
            for account in &accounts {
                let known = tx.template_sync(account)?;
                if known.is_some_and(|state| state.synced_at.is_none_or(|at| at < now - FRESH)) {
                    tx.want_template_sync(account, now)?;
                }
            }
            Ok(())
        })
        .await
}

/// Reads every account that is due.
pub async fn tend(app: &App) -> Result<(), StoreError> {
    for (account, channel) in accounts(app) {
        let now = app.clock.now_millis();
        let of = account.clone();
        let state = app.store.read(move |tx| tx.template_sync(&of)).await?;
        let is_due = match state {
            None => !app.config.templates_sync_every.is_zero(),
            Some(state) => state.due_at <= now,
        };
        if is_due {
            sync_account(app, &account, &channel).await?;
        }
    }
    Ok(())
}

/// The accounts that can be read, each with a channel to read it by.
pub fn accounts(app: &App) -> Vec<(String, Arc<Channel>)> {
    let mut found: Vec<(String, Arc<Channel>)> = Vec::new();
    for channel in app.channels.all() {
        let Some(account) = &channel.business_account else {
            continue;
        };
        // One whose credentials Meta refuses is not asked with them.
        if channel.connection().is_none() || channel.standing(&app.flags) == Standing::Held {
            continue;
        }
        if !found.iter().any(|(known, _)| known == account) {
            found.push((account.clone(), channel));
        }
    }
    found
}

/// Reads an account now, unless somebody else does; answers with how it stands then.
pub async fn sync_account(app: &App, account: &str, channel: &Channel) -> Result<Option<SyncState>, StoreError> {
    let now = app.clock.now_millis();
    let of = account.to_owned();
    let claimed = app
        .store
        .write(move |tx| tx.claim_template_sync(&of, now, now + CLAIM))
        .await?;
    let (Some(claimed), Some(connection)) = (claimed, channel.connection()) else {
        return Ok(None);
    };
    // An event may have told that a template goes on; whether it does is asked before each message.
    release(app, account).await?;
    let read = read_all(app, connection, account).await;
    let now = app.clock.now_millis();
    let state = match read {
        Ok(nodes) => apply(app, &claimed, nodes, now).await?,
        Err(failed) => {
            tracing::warn!(business_account = account, channel = %channel.id, error = failed.text, "the templates could not be read from Meta; what was known holds");
            let pause = PAUSE_FIRST
                .saturating_mul(2_u32.saturating_pow(claimed.failures.min(16)))
                .min(PAUSE_MOST);
            let state = SyncState {
                failures: claimed.failures.saturating_add(1),
                error: Some(failed.text),
                due_at: now + millis(failed.wait.unwrap_or_default().max(pause)),
                ..claimed
            };
            let kept = state.clone();
            app.store.write(move |tx| tx.finish_template_sync(&kept)).await?;
            state
        }
    };
    Ok(Some(state))
}

/// Has an account read now, by whomever; answers with how it stands when that is done, or has taken too long.
pub async fn sync_now(app: &App, account: &str, channel: &Channel) -> Result<Option<SyncState>, StoreError> {
    let (of, now) = (account.to_owned(), app.clock.now_millis());
    app.store.write(move |tx| tx.want_template_sync(&of, now)).await?;
    let mut state = None;
    for _ in 0..LOOKS_MAX {
        state = sync_account(app, account, channel).await?;
        if state.is_some() {
            break;
        }
        // Somebody else was a moment faster: what is claimed is due soon, and what was read is not.
        let of = account.to_owned();
        state = app.store.read(move |tx| tx.template_sync(&of)).await?;
        let now = app.clock.now_millis();
        if state.as_ref().is_some_and(|state| state.due_at > now + CLAIM) {
            break;
        }
        tokio::time::sleep(LOOK_AT_CLAIM).await;
    }
    Ok(state)
}

/// Why an account could not be read.
struct Failed {
    text: String,
    wait: Option<Duration>,
}

async fn read_all(app: &App, connection: Connection<'_>, account: &str) -> Result<Vec<TemplateNode>, Failed> {
    let mut failed = None;
    for size in PAGE_SIZES {
        match read_pages(app, connection, account, size).await {
            Ok(nodes) => return Ok(nodes),
            // Too long for what is read of an answer, perhaps: fewer at once are shorter.
            Err(error @ CallError::Unreadable { .. }) => failed = Some(error),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    Err(match failed {
        Some(CallError::Refused(refusal)) => {
            let explanation = error::explain(Platform::WhatsApp, &refusal);
            Failed {
                text: format!("{} ({}) {}", explanation.meaning, refusal.code, explanation.remedy),
                wait: refusal.retry_after.or(explanation.wait),
            }
        }
        Some(error) => Failed {
            text: error.to_string(),
            wait: None,
        },
        None => Failed {
            text: "there are more templates than an account can have".to_owned(),
            wait: None,
        },
    })
}

async fn read_pages(
    app: &App,
    connection: Connection<'_>,
    account: &str,
    size: u32,
) -> Result<Vec<TemplateNode>, CallError> {
    let mut nodes = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let exchange = connection
            .client
            .templates(connection.access_token, account, after.as_deref(), size)
            .await;
        let error = match &exchange.outcome {
            Ok(_) => None,
            Err(CallError::Refused(refusal)) => Some((refusal.code, "refused")),
            Err(_) => Some((0, "temporary")),
        };
        app.metrics.count_call(Platform::WhatsApp, "templates", error);
        let page = exchange.outcome?;
        nodes.extend(page.templates);
        match page.after {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => break,
        }
    }
    Ok(nodes)
}

/// What a reading has changed.
#[derive(Debug, Default)]
struct Applied {
    notices: Vec<Notice>,
    count: usize,
}

async fn apply(app: &App, claimed: &SyncState, nodes: Vec<TemplateNode>, now: Millis) -> Result<SyncState, StoreError> {
    let state = SyncState {
        synced_at: Some(now),
        failures: 0,
        error: None,
        due_at: next_due(app, now),
        ..claimed.clone()
    };
    let read: Vec<Definition> = nodes
        .into_iter()
        .map(|node| definition(&claimed.business_account, node, &app.ids, now))
        .collect();
    let total = read.len();
    let kept = state.clone();
    let is_first = claimed.synced_at.is_none();
    let applied = app
        .store
        .write(move |tx| replace(tx, &kept, &read, is_first, now))
        .await?;
    if applied.count > 0 {
        tracing::info!(
            business_account = state.business_account,
            total,
            changed = applied.count,
            "templates were read from Meta"
        );
        app.stream.nudge();
    }
    if !is_first {
        for notice in &applied.notices {
            notice.log();
            app.metrics.count_template(&notice.status);
        }
    }
    release(app, &state.business_account).await?;
    Ok(state)
}

/// Puts what was read in the place of what was known.
fn replace(
    tx: &mut Tx<'_>,
    state: &SyncState,
    read: &[Definition],
    is_first: bool,
    now: Millis,
) -> Result<Applied, StoreError> {
    let account = &state.business_account;
    tx.lock_template_sync(account)?;
    let mut known: HashMap<(String, String), Definition> = tx
        .templates_of_account(account, TEMPLATES_MAX)?
        .into_iter()
        .map(|definition| ((definition.name.clone(), definition.language.clone()), definition))
        .collect();
    let mut applied = Applied::default();
    let mut changed: Vec<Definition> = Vec::new();
    for definition in read {
        let key = (definition.name.clone(), definition.language.clone());
        let Some(mut known) = known.remove(&key) else {
            applied.notices.push(Notice::of(definition));
            changed.push(definition.clone());
            continue;
        };
        let before = known.status.clone();
        // What an event has told since the reading began is newer than what was read.
        if known.told <= state.wanted && known.take_over(definition) {
            known.changed_at = now;
            if known.status != before {
                applied.notices.push(Notice::of(&known));
            }
            changed.push(known);
        }
    }
    for mut gone in known.into_values() {
        if gone.status != DELETED && gone.told <= state.wanted {
            DELETED.clone_into(&mut gone.status);
            gone.changed_at = now;
            applied.notices.push(Notice::of(&gone));
            changed.push(gone);
        }
    }
    changed.sort_by(|one, other| (&one.name, &one.language).cmp(&(&other.name, &other.language)));
    for some in changed.chunks(WRITTEN_AT_ONCE) {
        tx.keep_templates(&some.iter().collect::<Vec<_>>())?;
    }
    tx.prune_templates(account, now - DELETED_KEPT)?;
    tx.finish_template_sync(state)?;
    applied.count = changed.len();
    // Of what is known for the first time there is no need to tell: it is in the list.
    if !is_first && !changed.is_empty() {
        let rows: Vec<NewStreamRow> = changed
            .chunks(TOLD_AT_ONCE)
            .map(|some| NewStreamRow {
                at: now,
                channel_id: None,
                event_id: None,
                changes: some
                    .iter()
                    .map(|definition| Change::TemplateUpdated {
                        template: definition.id,
                    })
                    .collect(),
            })
            .collect();
        tx.insert_stream(&rows)?;
    }
    Ok(applied)
}

/// Makes messages due that wait for a template of this account to go on.
async fn release(app: &App, account: &str) -> Result<(), StoreError> {
    let figures = app.store.read(|tx| tx.outbox_figures()).await?;
    for channel in app.channels.all() {
        let is_waiting = figures.iter().any(|figure| {
            figure.channel_id == channel.id && figure.waits_for == Wait::TemplatePaused && figure.count > 0
        });
        if channel.business_account.as_deref() != Some(account) || !is_waiting {
            continue;
        }
        loop {
            let (of, now) = (channel.id.clone(), app.clock.now_millis());
            let released = app
                .store
                .write(move |tx| tx.hurry_entries(&of, Wait::TemplatePaused, now, RELEASED_AT_ONCE))
                .await?;
            if released < u64::from(RELEASED_AT_ONCE) {
                break;
            }
        }
        app.senders.nudge(&channel.id);
    }
    Ok(())
}

/// What is read, as it is kept.
pub(super) fn definition(account: &str, node: TemplateNode, ids: &Ids, now: Millis) -> Definition {
    Definition {
        id: ids.next(),
        business_account: account.to_owned(),
        is_named: is_named(node.parameter_format.as_deref(), &node.components),
        name: node.name,
        language: node.language.replace('-', "_"),
        external_id: node.id,
        category: node.category.to_lowercase(),
        correct_category: node.correct_category.map(|category| category.to_lowercase()),
        status: node.status.to_lowercase(),
        reason: node.rejected_reason,
        paused_until: None,
        quality: node.quality.map(|quality| quality.to_lowercase()),
        components: node.components,
        ttl_seconds: node.ttl_seconds,
        status_at: None,
        told: 0,
        created_at: now,
        changed_at: now,
    }
}

fn next_due(app: &App, now: Millis) -> Millis {
    let every = app.config.templates_sync_every;
    if every.is_zero() {
        return Millis::MAX / 4;
    }
    let jitter = every.mul_f64(JITTER * app.ids.fraction());
    now + millis(every.saturating_sub(jitter))
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}
