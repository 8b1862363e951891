//! What Meta allows a WhatsApp number, and thinks of it: read on a schedule, and whenever an event says that it has changed.
//!
//! From it comes the number's pace where nobody has set one (`Sender::limits`), what is shown of the channel, and a warning when its quality falls
//! to red: then its limits cannot grow, and Meta may restrict it (reference `whatsapp.md` 13.8).
//!
//! One node reads a number at a time. What cannot be read is as it was, and is read again after a growing pause; a crash leaves it due two minutes
//! later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_meta::client::{CallError, PhoneNumberNode};
use tidings_meta::notification::{EventKind, Platform};
use tokio_util::sync::CancellationToken;

use super::model::{ChannelKind, NumberFacts, Quality};
use super::{Channel, Channels, Standing, follow};
use crate::app::App;
use crate::conversations::model::{ChannelId, Millis};
use crate::sending::sender::millis;
use crate::store::StoreError;
use crate::store::numbers::NumberReading;
use crate::store::stream::NewStreamRow;
use crate::stream::model::Change;

/// How often it is looked whether a number is due.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long nobody else reads a number that somebody reads.
const CLAIM: Millis = 2 * 60 * 1_000;
/// The pause after a failure, which doubles, and its bound.
const PAUSE_FIRST: Duration = Duration::from_mins(1);
const PAUSE_MOST: Duration = Duration::from_mins(30);
/// How much sooner it may be read than it is due, so that many numbers are not read at the same moment: a tenth of the time to it.
const JITTER: f64 = 0.1;

/// The channels of which an event of an account says that Meta may think otherwise of them now, or allow them something else (reference
/// `whatsapp.md` 8). What that is, the number itself says.
pub fn concerned(channels: &Channels, platform: Platform, kind: EventKind, account: &str) -> Vec<ChannelId> {
    let tells = matches!(
        kind,
        EventKind::PhoneNumberQuality | EventKind::BusinessCapability | EventKind::AccountUpdate
    );
    if platform != Platform::WhatsApp || !tells {
        return Vec::new();
    }
    let all = channels.all().into_iter();
    all.filter(|channel| channel.business_account.as_deref() == Some(account))
        .map(|channel| channel.id.clone())
        .collect()
}

/// Runs until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut has_failed = false;
    while !stop.is_cancelled() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            tended = tend(&app) => match tended {
                Ok(()) => has_failed = false,
                // While the store is down every look fails: it is told once.
                Err(error) if !has_failed => {
                    has_failed = true;
                    tracing::warn!(%error, "numbers cannot be read; what was known of them holds");
                }
                Err(_) => {}
            },
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Reads every number that is due.
async fn tend(app: &App) -> Result<(), StoreError> {
    let numbers: Vec<Arc<Channel>> = app
        .channels
        .all()
        .into_iter()
        .filter(|channel| channel.kind == ChannelKind::WhatsApp && channel.connection().is_some())
        // One whose credentials Meta refuses is not asked with them.
        .filter(|channel| channel.standing(&app.flags) != Standing::Held)
        .collect();
    if numbers.is_empty() {
        return Ok(());
    }
    let due: HashMap<ChannelId, Millis> = app.store.read(|tx| tx.number_readings()).await?.into_iter().collect();
    let is_scheduled = !app.config.numbers_check_every.is_zero();
    for channel in numbers {
        let now = app.clock.now_millis();
        if due.get(&channel.id).map_or(is_scheduled, |due_at| *due_at <= now) {
            read(app, &channel, now).await?;
        }
    }
    Ok(())
}

/// Reads a number now, unless somebody else does.
async fn read(app: &App, channel: &Channel, now: Millis) -> Result<(), StoreError> {
    let id = channel.id.clone();
    let claimed = app
        .store
        .write(move |tx| tx.claim_number_reading(&id, now, now + CLAIM));
    let (Some(reading), Some(connection)) = (claimed.await?, channel.connection()) else {
        return Ok(());
    };
    let exchange = connection
        .client
        .phone_number(connection.access_token, &channel.account)
        .await;
    let error = match &exchange.outcome {
        Ok(_) => None,
        Err(CallError::Refused(refusal)) => Some((refusal.code, "refused")),
        Err(_) => Some((0, "temporary")),
    };
    app.metrics.count_call(Platform::WhatsApp, "read", error);
    let now = app.clock.now_millis();
    let id = channel.id.clone();
    match exchange.outcome {
        Ok(node) => {
            let facts = facts_of(&node, now);
            let reading = NumberReading { failures: 0, ..reading };
            let due_at = next_due(app, now);
            let known = facts.clone();
            let before = app
                .store
                .write(move |tx| {
                    let before = tx.lock_number_facts(&id)?;
                    tx.finish_number_reading(&id, reading, due_at)?;
                    tx.keep_number_facts(&id, &known)?;
                    let quality = before.as_ref().map(|before| before.quality);
                    // That a number is as it should be is no news the first time.
                    if quality.is_none_or(|quality| quality != known.quality)
                        && (quality.is_some() || known.quality == Quality::Red)
                    {
                        tx.insert_stream(&[NewStreamRow {
                            at: now,
                            channel_id: Some(id.clone()),
                            event_id: None,
                            changes: vec![Change::ChannelQuality {
                                channel: id.clone(),
                                quality: known.quality,
                            }],
                        }])?;
                    }
                    Ok::<_, StoreError>(before)
                })
                .await?;
            tell(channel, before.as_ref(), &facts);
            app.stream.nudge();
            follow::refresh(app).await
        }
        Err(error) => {
            tracing::info!(channel = %channel.id, %error, "the number could not be read from Meta; what was known of it holds");
            let pause = PAUSE_FIRST
                .saturating_mul(2_u32.saturating_pow(reading.failures.min(16)))
                .min(PAUSE_MOST);
            let reading = NumberReading {
                failures: reading.failures.saturating_add(1),
                ..reading
            };
            let write = app
                .store
                .write(move |tx| tx.finish_number_reading(&id, reading, now + millis(pause)));
            write.await
        }
    }
}

fn facts_of(node: &PhoneNumberNode, now: Millis) -> NumberFacts {
    NumberFacts {
        throughput: node.throughput_level.clone(),
        is_on_phone_app: node.is_on_phone_app.unwrap_or(false),
        messaging_limit: node.messaging_limit.clone(),
        quality: node.quality_rating.as_deref().map_or(Quality::Unknown, Quality::of),
        read_at: now,
    }
}

/// Writes into the log what has changed, as a warning where the number is in danger.
fn tell(channel: &Channel, before: Option<&NumberFacts>, facts: &NumberFacts) {
    let channel = &channel.id;
    let was_red = before.is_some_and(|before| before.quality == Quality::Red);
    if facts.quality == Quality::Red && !was_red {
        tracing::warn!(
            %channel,
            "people block or report the number: Meta rates its quality RED; look at what is sent and to whom, before Meta restricts it"
        );
    }
    if before.is_none_or(|before| !before.says_the_same(facts)) {
        tracing::info!(
            %channel,
            throughput = facts.throughput,
            on_phone_app = facts.is_on_phone_app,
            messaging_limit = facts.messaging_limit,
            quality = facts.quality.as_str(),
            "this is what Meta allows the number"
        );
    }
}

/// When a number is read again that was read now; where nothing is scheduled, when an event asks for it.
fn next_due(app: &App, now: Millis) -> Millis {
    let every = app.config.numbers_check_every;
    if every.is_zero() {
        return Millis::MAX;
    }
    now + millis(every.mul_f64(1.0 - JITTER * app.ids.fraction()))
}
