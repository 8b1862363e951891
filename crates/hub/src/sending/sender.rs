//! What a sender does: takes messages in hand (`taking`) if they may go as they are (`deciding`), calls Meta (`calling`), and settles what came of it (`settling`).
//!
//! Guarantee: at least one attempt for every entry until it is settled; who prevents doubles is the outbox: an entry is marked `sending`,
//! with its attempt, in a commit before Meta is called, and only heads of conversations are taken, so that within a conversation the
//! next one waits for the one before. A crash between that commit and the settling leaves the entry `sending`: whoever leads the channel
//! next finds it of `unknown` outcome (`take_over`).
//!
//! `Sender::settle` is the one place where an outcome is turned into what happens next. When calls are made is up to `leader`; whether the
//! channel sends at all, `Turn` says: one that is stopped rests, one whose credentials Meta refused asks whether they work again ([`hold`](crate::channels::hold)).

mod calling;
mod deciding;
mod settling;
mod taking;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use tidings_meta::client::{GraphClient, Usage};
use tidings_meta::notification::Platform;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::audit::{Auditor, SYSTEM};
use crate::channels::hold::Prober;
use crate::channels::model::{ChannelKind, OpenCircuit};
use crate::channels::{Channel, Standing, follow};
use crate::config::PaceConfig;
use crate::conversations::content::{Content, Template};
use crate::conversations::model::{ChannelId, Failure, Millis};
use crate::ids::{AttemptId, ContactId, MessageId};
use crate::media::outbound::Used;
use crate::sending::email::Mailer;
use crate::sending::leader::{self, Leader};
use crate::sending::lease::{Follows, Lead};
use crate::sending::model::{AttemptEnd, BudgetKind, OutboxEntry, Outcome};
use crate::sending::pace::{self, Left, MediaTurns, Rate, Shares};
use crate::store::stream::NewStreamRow;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// How long a message waits for a paused template before it is looked at again, where nobody knows how long the pause is. When the template
/// goes on it is sent at once.
const PAUSED_WAIT: Duration = Duration::from_mins(15);

/// The pace of an e-mail sender that has none of its own.
const UNLIMITED: PaceConfig = PaceConfig {
    per_second: 0,
    pair_pause: Duration::ZERO,
    pair_burst: 1,
    per_day: 0,
    contacts_per_day: 0,
    contact_per_hour: 0,
    per_hour: 0,
    private_per_hour: 0,
    media_per_second: 0,
};

/// How long a channel that does not send waits for a change before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Runs until told to stop: sends a channel's messages for as long as this node leads it and the channel may send.
pub async fn run(app: App, channel_id: ChannelId, stop: CancellationToken) {
    let (mut changes, mut leases) = (app.channels.changes(), app.leases.changes());
    let mut prober = Prober::default();
    let mut led_until: Option<Instant> = None;
    let mut rests = Rests::default();
    while !stop.is_cancelled() {
        let lead = app.leases.lead(&channel_id);
        if lead.as_ref().is_some_and(Lead::yields) {
            app.leases.hand_over(&app, &channel_id).await;
            continue;
        }
        let rest = match (Turn::of(&app, &channel_id), lead) {
            (Turn::Send(sender), Some(mut lead)) => {
                // What this node has sent a moment ago counts like what another one has.
                if led_until.is_some_and(|until| until.elapsed() < Rate::used_up_for()) {
                    lead.follows = Follows::Anybody;
                }
                rests.epoch = Some(lead.epoch());
                Leader::new(Arc::new(*sender), lead, stop.clone()).run().await;
                led_until = Some(Instant::now());
                continue;
            }
            (turn, Some(lead)) => {
                // What was being sent when its process died is found by whoever leads, whether or not the channel sends: else it would be
                // neither told of nor ended.
                rests.tend(&app, &channel_id, &lead).await;
                match turn {
                    Turn::Probe(channel) => tokio::select! {
                        biased;
                        rest = prober.tend(&app, &channel) => rest.min(LOOK_AGAIN),
                        () = changes.changed() => Duration::ZERO,
                        () = stop.cancelled() => Duration::ZERO,
                    },
                    Turn::Send(_) | Turn::Rest => LOOK_AGAIN,
                }
            }
            (_, None) => LOOK_AGAIN,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = changes.changed() => {}
            () = leases.changed() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// What is done for a channel that this node leads while it does not send.
#[derive(Default)]
struct Rests {
    /// Under which lead that was begun.
    epoch: Option<i64>,
    swept_at: Option<Instant>,
}

impl Rests {
    /// Looks for what was being sent when its process died, now and then; under a new lead at once, and again until it succeeds.
    async fn tend(&mut self, app: &App, channel: &ChannelId, lead: &Lead) {
        if self.epoch != Some(lead.epoch()) {
            match leader::take_up_unknown(app, channel, lead).await {
                Ok(()) => self.epoch = Some(lead.epoch()),
                Err(error) => {
                    tracing::warn!(%error, %channel, "the outbox of a channel that sends nothing cannot be read");
                }
            }
            self.swept_at = Some(Instant::now());
        } else if self.swept_at.is_none_or(|at| at.elapsed() >= leader::SWEEP_EVERY) {
            leader::sweep(app, channel, lead).await;
            self.swept_at = Some(Instant::now());
        }
    }
}

/// What a channel's sender does next.
enum Turn {
    /// It sends.
    Send(Box<Sender>),
    /// Its credentials were refused: it asks whether they work again.
    Probe(Arc<Channel>),
    /// It waits for a change.
    Rest,
}

impl Turn {
    fn of(app: &App, channel_id: &ChannelId) -> Self {
        let Some(channel) = app.channels.get(channel_id) else {
            return Self::Rest;
        };
        let line = match (channel.kind, channel.connection(), &channel.credentials) {
            (_, Some(connection), _) => Some(Line::Meta {
                platform: connection.platform,
                client: connection.client.clone(),
                token: connection.access_token.clone(),
            }),
            (ChannelKind::Email, _, Some(smtp_url)) => Mailer::new(smtp_url, &channel.account).map(Line::Email),
            _ => None,
        };
        match (channel.standing(&app.flags), line) {
            (standing, Some(line)) if standing.sends() => Self::Send(Box::new(Sender {
                app: app.clone(),
                line,
                channel,
                answers: tokio::sync::Mutex::default(),
                below: Mutex::default(),
            })),
            (Standing::Held, Some(_)) => Self::Probe(channel),
            _ => Self::Rest,
        }
    }
}

/// A channel, and what is needed to send for it.
pub(super) struct Sender {
    pub(super) app: App,
    pub(super) channel: Arc<Channel>,
    line: Line,
    /// Whether Meta answered when it was last asked, and when that was.
    answers: tokio::sync::Mutex<Option<(Instant, bool)>>,
    below: Mutex<Below>,
}

/// What is going on below comments, and may not be kept yet: no two messages are to be taken for the same one.
#[derive(Default)]
struct Below {
    /// Answers that are being posted: below which comment, and what they say.
    posting: HashMap<MessageId, (String, String)>,
    /// Ids of Meta's that were found to be answers of unknown outcome, each with the message that it is taken for.
    found: VecDeque<(MessageId, String)>,
}

/// How a channel's messages go out.
enum Line {
    Meta {
        platform: Platform,
        client: GraphClient,
        token: SecretString,
    },
    Email(Mailer),
}

/// What came of a call.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) http_status: Option<u16>,
    /// As it was said.
    pub(super) text: String,
    pub(super) elapsed: Duration,
    pub(super) usage: Usage,
    /// How the catalogue classes the error.
    class: Option<&'static str>,
}

/// A message in hand: marked as being sent, its attempt noted.
pub(super) struct InHand {
    /// As it was before it was taken.
    pub(super) entry: OutboxEntry,
    pub(super) attempt_id: AttemptId,
    pub(super) kind: &'static str,
    pub(super) body: serde_json::Value,
    /// The files of Meta's that it is sent with.
    files: Vec<Used>,
    /// Whether it was known before that it may have been sent.
    was_duplicate: bool,
    /// Whether it may have been sent before.
    is_maybe_double: bool,
    /// Its recipient is not to get it before.
    pub(super) not_before: Millis,
    /// Of a public answer that can be looked for: the comment that it is found below.
    below: Option<String>,
    /// Whether it is looked there for what an attempt before may have left.
    looks_below: bool,
    /// It writes to somebody outside of a window: what was known of that is noted.
    pub(super) reached: Option<Reach>,
    /// Whether it goes at the pace of audio and video.
    pub(super) is_media: bool,
}

/// That somebody is written to outside of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Who.
    pub(super) contact_id: ContactId,
    /// When that is.
    pub(super) at: Millis,
    /// When it was done last before.
    pub(super) before: Option<Millis>,
}

/// What a leader asks for.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) now: Millis,
    /// How many.
    pub(super) count: u32,
    pub(super) lead: Lead,
    pub(super) shares: Shares,
    pub(super) turns: MediaTurns,
    /// How many are in hand that go at the pace of audio and video.
    pub(super) media_in_hand: u32,
    /// Nobody may have been able to take what Meta had to tell for a while.
    pub(super) has_missed: bool,
    /// Whether it is looked what was set aside and need not be any more.
    pub(super) recalls: bool,
}

/// What came of taking due entries.
#[derive(Default)]
pub(super) struct Taken {
    /// Another node leads the channel.
    pub(super) is_lost: bool,
    pub(super) in_hand: Vec<InHand>,
    /// The kinds of the messages that failed or expired instead; counted once the unit is committed, since a unit may be run again.
    pub(super) ended: Vec<&'static str>,
    /// Those of the attempts in hand that count among the private replies of an hour.
    privately: Vec<AttemptId>,
    /// Files have to be handed to Meta first.
    pub(super) wants_files: bool,
    /// The account has had its messages of the day, until this time; nothing was taken.
    pub(super) day_over_until: Option<Millis>,
    /// There may be more that is due.
    pub(super) is_full: bool,
    pub(super) next_due: Option<Millis>,
    pub(super) shares: Shares,
    pub(super) turns: MediaTurns,
}

/// A message that is not in hand any more.
pub(super) struct Ended {
    pub(super) in_hand: InHand,
    /// `None`: its call was not made.
    pub(super) made: Option<Made>,
    /// Of one that was not called for since Meta does not answer: when that is looked at again.
    pub(super) silent_until: Option<Millis>,
}

/// A call that was made.
pub(super) struct Made {
    pub(super) outcome: Outcome,
    pub(super) end: AttemptEnd,
    /// Until when the channel is silent for it.
    pub(super) hold_until: Option<Millis>,
    /// A number from 0 to 1, for jitter.
    pub(super) fraction: f64,
}

impl Made {
    /// Whether it is certain that Meta knows nothing of it: nothing was answered, and it may be sent again.
    fn never_got_there(&self) -> bool {
        self.end.http_status.is_none() && matches!(self.outcome, Outcome::Again { .. })
    }
}

impl Sender {
    /// The pace that the channel is to keep, as it is known at this moment.
    pub(super) fn limits(&self) -> PaceConfig {
        match self.app.channels.get(&self.channel.id) {
            Some(channel) => limits(&self.app, &channel),
            None => limits(&self.app, &self.channel),
        }
    }

    /// Whether the channel is still as this sender knows it, and may send. What it may use up of a day is looked at with each message, and may
    /// change.
    pub(super) fn is_current(&self) -> bool {
        self.app.channels.get(&self.channel.id).is_some_and(|channel| {
            channel.standing(&self.app.flags).sends()
                && channel.credentials_version == self.channel.credentials_version
                && (channel.limits == self.channel.limits && channel.number == self.channel.number
                    || paced_alike(&limits(&self.app, &channel), &limits(&self.app, &self.channel)))
                && channel.business_account == self.channel.business_account
        })
    }

    /// The channel may be held by now: whoever looks next is to know.
    pub(super) async fn know_of_hold(&self) {
        if let Err(error) = follow::refresh(&self.app).await {
            tracing::warn!(%error, channel = %self.channel.id, "that the channel is held will be known a moment later");
        }
    }

    /// Keeps how the channel's circuit is, unless another node leads it by now.
    pub(super) fn keep_circuit(
        &self,
        tx: &mut Tx<'_>,
        lead: &Lead,
        open: Option<&OpenCircuit>,
        was_open: bool,
        now: Millis,
    ) -> Result<(), StoreError> {
        let id = &self.channel.id;
        if !tx.keep_lease(id, &lead.node(), lead.epoch())? {
            return Ok(());
        }
        tx.set_channel_circuit(id, open)?;
        let audit = Auditor::new(&self.app.ids, SYSTEM, now);
        match open {
            // Each probe that fails opens it anew: that it was opened is told once.
            Some(open) if !was_open => {
                let detail = json!({ "reason": open.reason });
                tx.insert_audit(&audit.channel("channel.circuit_open", id, detail))
            }
            Some(_) => Ok(()),
            None => tx.insert_audit(&audit.channel("channel.circuit_close", id, json!({}))),
        }
    }

    /// Notes calls that are about to be made, or, where it is negative, that were not made after all.
    fn count_calls(&self, tx: &mut Tx<'_>, now: Millis, count: i64) -> Result<(), StoreError> {
        let limits = self.limits();
        if count == 0 {
            return Ok(());
        }
        let span = pace::span_of(now);
        if limits.per_hour > 0 {
            tx.add_pace_count(&self.channel.id, span, count)?;
        }
        if limits.per_day > 0 {
            let used = BTreeMap::from([(span, count)]);
            tx.add_to_budget(&self.channel.budget(), BudgetKind::Messages, &used)?;
        }
        Ok(())
    }

    /// What is left of a budget that the channel has, or shares with others of its account, on whichever nodes these are; exact as long as the
    /// unit lasts. Where there is plenty nobody is waited for: what others take at the same moment is not more than that.
    fn left(&self, tx: &mut Tx<'_>, kind: BudgetKind, limit: u32, now: Millis) -> Result<Left, StoreError> {
        if limit == 0 {
            return Ok(Left::ALL);
        }
        let (budget, since) = (self.channel.budget(), pace::spans_since(now));
        let mut left = i64::from(limit) - tx.budget_used(&budget, kind, since)?;
        let sharing = self.app.channels.sharing_budget(&self.channel) as i64;
        if left < sharing * i64::from(leader::CLAIM_MAX) {
            tx.lock_budget(&budget)?;
            left = i64::from(limit) - tx.budget_used(&budget, kind, since)?;
        }
        if left > 0 {
            return Ok(Left::new(left, pace::span_of(now)));
        }
        let first = tx.budget_first_used(&budget, kind, since)?;
        Ok(Left::new(left, first.unwrap_or_else(|| pace::span_of(now))))
    }

    fn told_of(&self, changes: Vec<Change>, at: Millis) -> Option<NewStreamRow> {
        (!changes.is_empty()).then(|| NewStreamRow {
            at,
            channel_id: Some(self.channel.id.clone()),
            event_id: None,
            changes,
        })
    }

    fn tell(&self, tx: &mut Tx<'_>, changes: Vec<Change>, at: Millis) -> Result<(), StoreError> {
        match self.told_of(changes, at) {
            Some(row) => tx.insert_stream(&[row]),
            None => Ok(()),
        }
    }
}

/// The pace that a channel is to keep: its platform's, over which stands what Meta says of its number unless somebody has set the platform's,
/// over which stand the settings' own for it, over which stands what was set while the hub runs.
pub fn limits(app: &App, channel: &Channel) -> PaceConfig {
    let config = &app.config;
    let mut pace = match channel.platform() {
        Some(platform) => config.sending.pace(platform).clone(),
        None => UNLIMITED,
    };
    if let Some(number) = &channel.number {
        let by_hand = config.sending.whatsapp_by_hand;
        pace.per_second = number
            .per_second()
            .filter(|_| !by_hand.per_second)
            .unwrap_or(pace.per_second);
        pace.contacts_per_day = number
            .contacts_per_day()
            .filter(|_| !by_hand.contacts_per_day)
            .unwrap_or(pace.contacts_per_day);
    }
    let own = config.channels.iter().find(|own| own.id == channel.id.0);
    if let Some(own) = own {
        pace = own.pace.over(&pace);
    }
    channel.limits.pace().over(&pace)
}

/// Whether whoever keeps to one pace keeps to another one: to all of it that is not looked up in the store.
fn paced_alike(one: &PaceConfig, other: &PaceConfig) -> bool {
    let looked_up = PaceConfig {
        per_day: other.per_day,
        contacts_per_day: other.contacts_per_day,
        private_per_hour: other.private_per_hour,
        ..one.clone()
    };
    looked_up == *other
}

/// How an attempt ends whose process stopped.
pub fn interrupted(now: Millis) -> AttemptEnd {
    AttemptEnd {
        at: now,
        outcome: "unknown".to_owned(),
        http_status: None,
        failure: Some(Failure::ours("the process that sent it stopped before the answer")),
        answer: None,
        duration_micros: 0,
    }
}

fn template_of(content: &Content) -> Option<&Template> {
    if let Content::Template(template) = content {
        Some(template)
    } else {
        None
    }
}

/// A duration in the store's unit.
pub fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
