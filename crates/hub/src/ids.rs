//! Ids: UUIDv7, so that they sort by the time of their making; a type for each kind, so that they cannot be mixed up.
//!
//! Shown with a prefix (`msg_0197…`), kept as 16 bytes.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;
use uuid::Uuid;

use crate::clock::Clock;
use crate::store::value::{FromValue, Param, Value};

/// Makes ids, and other randomness that is no secret. Cheap to clone; clones share one sequence.
#[derive(Debug, Clone)]
pub struct Ids {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: ChaCha12Rng,
    last_millis: i64,
    counter: u16,
}

impl Ids {
    /// Seeded from the system.
    pub fn from_system(clock: Clock) -> Self {
        let mut seed = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut seed).expect("the system has randomness to give");
        Self::new(clock, ChaCha12Rng::from_seed(seed))
    }

    /// The same seed gives the same ids at the same times.
    pub fn seeded(clock: Clock, seed: u64) -> Self {
        Self::new(clock, ChaCha12Rng::seed_from_u64(seed))
    }

    fn new(clock: Clock, random: ChaCha12Rng) -> Self {
        Self {
            clock,
            state: Arc::new(Mutex::new(State {
                random,
                last_millis: 0,
                counter: 0,
            })),
        }
    }

    /// A new id, greater than every one that this process made before.
    pub fn next<T: From<Uuid>>(&self) -> T {
        let mut state = self.state.lock().expect("no thread panics while it holds this lock");
        // A clock that is set back must not break the order.
        let now = self.clock.now_millis().max(state.last_millis);
        if now == state.last_millis {
            state.counter = state.counter.wrapping_add(1);
            if state.counter >= 1 << 12 {
                state.counter = 0;
                state.last_millis += 1;
            }
        } else {
            state.counter = 0;
            state.last_millis = now;
        }
        let mut random = [0_u8; 10];
        state.random.fill_bytes(&mut random);
        // The 12 bits after the version are a counter within the millisecond (RFC 9562, 6.2, method 1).
        random[0] = (state.counter >> 8) as u8;
        random[1] = state.counter as u8;
        let millis = u64::try_from(state.last_millis).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random)
            .into_uuid()
            .into()
    }

    /// A number from 0 to 1, for jitter.
    pub fn fraction(&self) -> f64 {
        let mut state = self.state.lock().expect("no thread panics while it holds this lock");
        f64::from(state.random.next_u32()) / f64::from(u32::MAX)
    }
}

/// An id that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind; it begins with `{prefix}`")]
pub struct IdError {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// As kept.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// From the form in which it is kept.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// When it was made, in milliseconds since 1970 (RFC 9562, 5.7).
            pub fn made_at_millis(&self) -> i64 {
                self.0[..6].iter().fold(0, |millis, byte| (millis << 8) | i64::from(*byte))
            }

            /// The least id of those made at a time or later: a bound for lists that begin there.
            pub fn first_of(millis: i64) -> Self {
                let mut bytes = [0; 16];
                bytes[..6].copy_from_slice(&millis.max(0).to_be_bytes()[2..]);
                Self(bytes)
            }

            /// The least id there can be: a bound for lists that begin at the oldest.
            pub const MIN: Self = Self([0; 16]);

            /// The greatest id there can be: a bound for lists that begin at the newest.
            pub const MAX: Self = Self([0xff; 16]);
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid.into_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), Uuid::from_bytes(self.0).simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|hex| hex.len() == 32)
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self::from)
                    .ok_or(IdError { prefix: concat!($prefix, "_") })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<'a> From<&'a $name> for Param<'a> {
            fn from(id: &'a $name) -> Self {
                Self::Blob(&id.0)
            }
        }

        impl<'a> From<&'a Option<$name>> for Param<'a> {
            fn from(id: &'a Option<$name>) -> Self {
                id.as_ref().map_or(Self::Null, Self::from)
            }
        }

        impl FromValue for $name {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Blob(bytes) => Self::from_slice(bytes),
                    Value::Null | Value::Int(_) | Value::Text(_) => None,
                }
            }
        }
    };
}

id! {
    /// One run of the hub.
    NodeId "node"
}
id! {
    /// One event of Meta's, as kept.
    EventId "evt"
}
id! {
    /// One quarantined notification.
    NotificationId "ntf"
}
id! {
    /// A person on the other side.
    ContactId "con"
}
id! {
    /// The thread between a channel and a contact.
    ConversationId "cnv"
}
id! {
    /// One thing said.
    MessageId "msg"
}
id! {
    /// One try of a message at Meta.
    AttemptId "att"
}
id! {
    /// One file of the media store.
    MediaId "med"
}
id! {
    /// One message template, in one language.
    TemplateId "tpl"
}
id! {
    /// What somebody said of being written to.
    ConsentId "cns"
}
id! {
    /// One entry of the audit.
    AuditId "aud"
}

#[cfg(test)]
mod tests {
    use super::{Ids, MessageId};
    use crate::clock::{Clock, from_millis};

    #[test]
    fn ids_grow_also_within_a_millisecond_and_when_the_clock_stands_still() {
        let ids = Ids::seeded(Clock::frozen_at(from_millis(1_795_334_400_000)), 1);
        let made: Vec<MessageId> = (0..10_000).map(|_| ids.next()).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn an_id_reads_back_as_it_is_shown_and_as_no_other_kind() {
        let ids = Ids::seeded(Clock::frozen_at(from_millis(0)), 1);
        let id: MessageId = ids.next();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().parse::<super::ContactId>().is_err());
        assert!("msg_123".parse::<MessageId>().is_err());
        assert!("msg_".parse::<MessageId>().is_err());
    }
}
