//! The cap that Meta puts on advertising: how much of it one person gets, from all businesses together (reference `whatsapp.md` 13.7).
//!
//! Who has had enough, Meta tells with [`CAPPED`]: in its answer to a call, or later in a status. From then on nothing that advertises is sent to
//! them on WhatsApp, by whichever channel, until the hold is over: Meta makes it last longer for whoever presses on. What met the cap in an answer
//! is tried once more after that, what met it in a status has failed. What is said in a window that the person has opened since does not
//! fall under the cap, and is not held.
//!
//! The store keeps when the cap was met last; how long that holds is a setting (`sending.whatsapp.marketing_hold_secs`). Pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::conversations::model::Millis;
use crate::ids::ContactId;

/// Meta's code for it.
pub const CAPPED: i64 = 131_049;

/// Over how long the ends of the holds of different people are spread (reference `whatsapp.md` 13.9: "with jitter over hours").
pub const SPREAD: Duration = Duration::from_hours(4);

/// How long nothing that advertises is sent to a person once the cap was met: the same time whoever asks, and another for each person. Zero
/// where nothing is held.
pub fn length(hold: Duration, contact: ContactId) -> Duration {
    let random = contact.as_bytes().iter().rev().take(4);
    let number = random.fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    let spread = SPREAD.mul_f64(f64::from(number) / f64::from(u32::MAX));
    // A hold that is shorter than usual is not to be dwarfed by it.
    if hold < SPREAD { hold } else { hold + spread }
}

/// When some people met the cap last.
#[derive(Debug, Clone, Default)]
pub struct Caps {
    hold: Duration,
    met_at: HashMap<ContactId, Millis>,
}

impl Caps {
    /// From what the store remembers.
    pub fn new(hold: Duration, met_at: impl IntoIterator<Item = (ContactId, Millis)>) -> Self {
        Self {
            hold,
            met_at: met_at.into_iter().collect(),
        }
    }

    /// Until when nothing that advertises is sent to a person; `None`: it may be. `wrote_at` is when they wrote last where it would go, if the
    /// window that this has opened is open still.
    pub fn hold_until(&self, contact: ContactId, wrote_at: Option<Millis>, now: Millis) -> Option<Millis> {
        let met_at = *self.met_at.get(&contact)?;
        if wrote_at.is_some_and(|wrote_at| wrote_at > met_at) {
            return None;
        }
        let length = i64::try_from(length(self.hold, contact).as_millis()).unwrap_or(i64::MAX / 4);
        // Meta's clock may be ahead of ours.
        let until = met_at.min(now) + length;
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Caps, SPREAD, length};
    use crate::ids::ContactId;

    const WHO: ContactId = ContactId::MAX;
    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_hold_ends_for_each_person_at_a_time_of_their_own() {
        let day = Duration::from_hours(24);
        assert_eq!(length(day, ContactId::MIN), day);
        assert_eq!(length(day, ContactId::MAX), day + SPREAD);
        assert_eq!(length(Duration::from_mins(1), ContactId::MAX), Duration::from_mins(1));
        assert_eq!(length(Duration::ZERO, ContactId::MAX), Duration::ZERO);
    }

    #[test]
    fn a_person_is_left_alone_until_the_hold_is_over_or_they_write() {
        let caps = Caps::new(Duration::from_hours(24), [(WHO, 0)]);
        let until = Some(28 * HOUR);
        assert_eq!(caps.hold_until(WHO, None, HOUR), until);
        assert_eq!(caps.hold_until(WHO, None, 28 * HOUR - 1), until);
        assert_eq!(caps.hold_until(WHO, None, 28 * HOUR), None);
        assert_eq!(caps.hold_until(ContactId::MIN, None, HOUR), None, "nobody else");
        assert_eq!(caps.hold_until(WHO, Some(1), HOUR), None, "they have written since");
        assert_eq!(caps.hold_until(WHO, Some(0), HOUR), until, "that was before");
        assert_eq!(caps.hold_until(WHO, None, -HOUR), Some(27 * HOUR), "clocks differ");
        assert_eq!(Caps::new(Duration::ZERO, [(WHO, 0)]).hold_until(WHO, None, 0), None);
    }
}
