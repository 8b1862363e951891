//! How messages end that are not sent (again): above all those that expire.
//!
//! A sender finds such a message when it takes it in hand. Where nobody takes it, since its channel is held, stopped or switched, its circuit
//! is open, or something else of its conversation is in its way, [`end_expired`] ends it at its time, on whichever node comes first.

use std::collections::HashMap;

use crate::app::App;
use crate::channels::Standing;
use crate::conversations::model::{ChannelId, Failure, Message, Millis, Status};
use crate::ids::MessageId;
use crate::sending::marketing;
use crate::sending::model::{EntryState, OutboxEntry, Wait};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// How often a message is tried that Meta answers with errors after which it may have arrived (reference `whatsapp.md` 13.9).
const ANSWERED_UNKNOWN_MAX: u32 = 5;
/// How many messages are ended by one unit, and how many units one look makes at most.
const UNIT_MAX: u32 = 100;
const UNITS_MAX: usize = 50;

/// How a message ends that is not to be sent (again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It expired, and Meta never had it.
    NeverSent,
    /// It expired while its recipient got no more advertising.
    Capped,
    /// It expired after an attempt of which nobody knows what became.
    ExpiredUnknown,
    /// It was repeated after an unknown outcome, and the outcome of that is unknown too.
    TwiceUnknown,
    /// Its outcome is unknown, and it cannot be repeated, since the window has closed.
    ClosedUnknown,
    /// Its outcome is unknown, and there is nowhere to send it again.
    NowhereUnknown,
    /// Its outcome is unknown, and it is not repeated, since its contact has opted out.
    OptedOutUnknown,
}

impl End {
    /// `None`: it is still to be sent.
    pub(super) fn of(entry: &OutboxEntry, message: &Message, now: Millis) -> Option<Self> {
        let unknown = entry.state == EntryState::Unknown;
        if entry.expires_at <= now {
            // One that was repeated after an unknown outcome may have arrived even if the repetition was refused.
            let may_have_arrived = unknown || message.maybe_duplicate;
            Some(if may_have_arrived {
                Self::ExpiredUnknown
            } else if entry.waits_for == Wait::MarketingCap {
                Self::Capped
            } else {
                Self::NeverSent
            })
        } else if unknown && message.maybe_duplicate && !may_go_on(entry) {
            Some(Self::TwiceUnknown)
        } else {
            None
        }
    }

    /// Only what certainly did not reach Meta has a time of failure: beside one, a later `sent` of Meta's would not show.
    pub(super) fn apply(self, message: &mut Message, now: Millis) {
        let (status, why) = match self {
            Self::NeverSent => (Status::Expired, "it could not be sent before it expired"),
            Self::Capped => (
                Status::Failed,
                "the person gets no more advertising for now, and it expired before it could be sent",
            ),
            Self::ExpiredUnknown => (
                Status::Expired,
                "it is not known whether Meta took it before it expired; it may have arrived",
            ),
            Self::TwiceUnknown => (
                Status::Failed,
                "it is not known whether Meta took it, after several attempts; it may have arrived",
            ),
            Self::ClosedUnknown => (
                Status::Failed,
                "it is not known whether Meta took it, and the window closed before it could be sent again; it may have arrived",
            ),
            Self::NowhereUnknown => (
                Status::Failed,
                "it is not known whether Meta took it, and there is nowhere to send it again; it may have arrived",
            ),
            Self::OptedOutUnknown => (
                Status::Failed,
                "it is not known whether Meta took it, and the contact opted out before it could be sent again; it may have arrived",
            ),
        };
        message.status = status;
        message.failure = Some(if self == Self::Capped {
            Failure::of_meta(marketing::CAPPED, None, why.to_owned())
        } else {
            Failure::ours(why)
        });
        if matches!(self, Self::NeverSent | Self::Capped) {
            message.receipts.failed_at.get_or_insert(now);
        }
    }
}

/// Whether an entry of unknown outcome may be repeated more than once: Meta did answer, and no event came, so most likely it has nothing.
fn may_go_on(entry: &OutboxEntry) -> bool {
    entry.waits_for == Wait::UnknownAfterError && entry.attempts < ANSWERED_UNKNOWN_MAX
}

/// Ends what has expired, whether or not its channel sends.
pub async fn end_expired(app: &App) -> Result<(), StoreError> {
    for _ in 0..UNITS_MAX {
        let now = app.clock.now_millis();
        // A look costs a reader nothing; a unit that writes would wait for its turn, most often for nothing.
        if !app.store.read(move |tx| tx.any_entry_expired(now)).await? {
            return Ok(());
        }
        let whys: HashMap<ChannelId, String> = app
            .channels
            .all()
            .iter()
            .filter_map(|channel| Some((channel.id.clone(), why(app, channel.standing(&app.flags), &channel.id)?)))
            .collect();
        let ended = app.store.write(move |tx| end_some(tx, &whys, now)).await?;
        for (channel, kind) in &ended {
            app.senders.nudge(channel);
            if let Some(platform) = app.channels.get(channel).and_then(|channel| channel.platform()) {
                app.metrics.count_sent(platform, false, kind);
            }
        }
        if !ended.is_empty() {
            app.stream.nudge();
        }
        if ended.len() < UNIT_MAX as usize {
            return Ok(());
        }
    }
    Ok(())
}

/// Why a channel has not sent what has expired on it; `None` if it sends.
fn why(app: &App, standing: Standing, channel: &ChannelId) -> Option<String> {
    Some(match standing {
        Standing::Ready => return None,
        Standing::ReceiveOnly => format!("channel `{channel}` has no credentials"),
        Standing::Stopped if app.flags.outbound_enabled() => format!("channel `{channel}` is stopped"),
        Standing::Stopped => "sending is stopped".to_owned(),
        Standing::Held => format!("channel `{channel}` is held"),
        Standing::Switched => format!("channel `{channel}` is switched to its backup, which cannot take it"),
        Standing::CircuitOpen => format!("the circuit of channel `{channel}` is open"),
    })
}

/// Answers with channel and kind of what was ended; counted once the unit is committed, since a unit may be run again.
fn end_some(
    tx: &mut Tx<'_>,
    whys: &HashMap<ChannelId, String>,
    now: Millis,
) -> Result<Vec<(ChannelId, &'static str)>, StoreError> {
    let entries = tx.take_expired_entries(now, UNIT_MAX)?;
    let mut ids: Vec<MessageId> = entries.iter().map(|entry| entry.message_id).collect();
    ids.sort_unstable();
    let mut messages: HashMap<MessageId, Message> = tx
        .lock_messages(&ids)?
        .into_iter()
        .map(|message| (message.id, message))
        .collect();
    let (mut ended, mut changed, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &entries {
        // Without a message, it was erased.
        let Some(mut message) = messages.remove(&entry.message_id) else {
            continue;
        };
        let Some(end) = End::of(entry, &message, now) else {
            continue;
        };
        end.apply(&mut message, now);
        if let (Some(failure), Some(why)) = (&mut message.failure, whys.get(&entry.channel_id)) {
            failure.text = format!("{}: {why}", failure.text);
        }
        rows.push(NewStreamRow {
            at: now,
            channel_id: Some(entry.channel_id.clone()),
            event_id: None,
            changes: vec![Change::status_of(&message)],
        });
        ended.push((entry.channel_id.clone(), message.content.kind()));
        changed.push(message);
    }
    tx.update_messages(&changed.iter().collect::<Vec<_>>())?;
    tx.remove_entries(&ids)?;
    tx.insert_stream(&rows)?;
    Ok(ended)
}
