//! A channel whose credentials Meta refuses is held: nothing of it is sent, nothing of it fails, and every node knows.
//!
//! While it is held, its sender asks Meta now and then whether the credentials work again ([`Prober`]), and lets it go on when they do. Other
//! credentials release it at once ([`crate::channels::api`]). A call that was under way with the old ones cannot hold it again: a hold
//! names the version of the credentials that were refused.

use std::time::Duration;

use serde_json::json;

use super::{Channel, check, follow};
use crate::app::App;
use crate::audit::{Auditor, SYSTEM};
use crate::channels::model::Held;
use crate::conversations::model::{Failure, Millis};
use crate::store::{StoreError, Tx};

/// The pause before the first question after a hold.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// It doubles up to here.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Holds a channel because of what Meta answered; answers whether it is this that holds it.
pub fn hold(app: &App, tx: &mut Tx<'_>, channel: &Channel, failure: &Failure, at: Millis) -> Result<bool, StoreError> {
    let held = Held {
        reason: failure.text.clone(),
        code: failure.code,
        at,
    };
    let is_new = tx.hold_channel(&channel.id, channel.credentials_version, &held)?;
    if is_new {
        let detail = json!({"code": held.code, "reason": held.reason});
        let audit = Auditor::new(&app.ids, SYSTEM, at);
        tx.insert_audit(&audit.channel("channel.hold", &channel.id, detail))?;
    }
    Ok(is_new)
}

/// Asks now and then whether a held channel's credentials work again.
#[derive(Debug, Default)]
pub struct Prober {
    /// The hold that is being looked after: the version of the credentials, and since when.
    of: Option<(i64, Millis)>,
    pause: Duration,
    due_at: Millis,
}

impl Prober {
    /// Asks if it is time to; answers with how long it is until then.
    pub async fn tend(&mut self, app: &App, channel: &Channel) -> Duration {
        let (Some(held), Some(credentials)) = (&channel.held, &channel.credentials) else {
            return LONGEST_PAUSE;
        };
        self.notice(channel.credentials_version, held.at);
        let now = app.clock.now_millis();
        if now < self.due_at {
            return until(self.due_at, now);
        }
        match check::works_again(app, channel.kind, &channel.account, credentials).await {
            Ok(()) => match release(app, channel).await {
                Ok(()) => return Duration::ZERO,
                Err(error) => {
                    tracing::warn!(channel = %channel.id, %error, "a channel that could go on could not be released");
                }
            },
            Err(error) => {
                tracing::info!(channel = %channel.id, %error, "the channel stays held");
            }
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let now = app.clock.now_millis();
        self.due_at = now + millis(self.pause);
        until(self.due_at, now)
    }

    /// A new hold is asked about after the first pause; the same credentials that were refused again soon after they were released, after a
    /// longer one: Meta lets them read, but not send.
    fn notice(&mut self, version: i64, held_at: Millis) {
        if self.of == Some((version, held_at)) {
            return;
        }
        let is_again = self
            .of
            .is_some_and(|(of, _)| of == version && held_at < self.due_at + millis(LONGEST_PAUSE));
        self.pause = if is_again {
            (self.pause * 2).min(LONGEST_PAUSE)
        } else {
            FIRST_PAUSE
        };
        self.of = Some((version, held_at));
        self.due_at = held_at + millis(self.pause);
    }
}

/// The credentials of a channel work again.
async fn release(app: &App, channel: &Channel) -> Result<(), StoreError> {
    let audit = Auditor::new(&app.ids, SYSTEM, app.clock.now_millis());
    let (id, version) = (channel.id.clone(), channel.credentials_version);
    app.store
        .write(move |tx| {
            if tx.release_channel(&id, version)? {
                tx.insert_audit(&audit.channel("channel.release", &id, json!({})))?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    tracing::info!(channel = %channel.id, "Meta takes the channel's credentials again: it goes on");
    follow::refresh(app).await
}

fn until(at: Millis, now: Millis) -> Duration {
    Duration::from_millis((at - now).max(0).unsigned_abs())
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::{FIRST_PAUSE, LONGEST_PAUSE, Prober, millis};

    #[test]
    fn credentials_that_can_read_but_not_send_are_tried_less_and_less() {
        let mut prober = Prober::default();
        let mut at = 1_000_000;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            prober.notice(1, at);
            pauses.push(prober.pause);
            assert_eq!(prober.due_at, at + millis(prober.pause));
            // It is released when it is due, and refused again a second later.
            at = prober.due_at + 1_000;
        }
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert_eq!(pauses[1], FIRST_PAUSE * 2);
        assert_eq!(pauses[5], LONGEST_PAUSE);
        prober.notice(2, at);
        assert_eq!(prober.pause, FIRST_PAUSE, "other credentials are tried anew");
        let due_at = prober.due_at;
        prober.notice(2, at);
        assert_eq!(prober.due_at, due_at, "the same hold is looked after once");
        prober.notice(2, due_at + millis(LONGEST_PAUSE));
        assert_eq!(prober.pause, FIRST_PAUSE, "a hold long after is a new one");
    }
}
