//! What contacts have said of being written to, and what follows from it. Pure.

use std::collections::HashMap;

use crate::conversations::model::{ChannelId, Millis};
use crate::http::timestamp::Time;
use crate::ids::{ConsentId, ContactId};
use crate::sending::model::Purpose;

/// Who keeps what was said. Each has a list of its own, and what one was told changes nothing in the other's (reference `whatsapp.md` 8,
/// `user_preferences`: whoever resumes in WhatsApp's menu has not taken back what they wrote).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeper {
    /// Tidings: what was written, and what the business notes.
    Tidings,
    /// WhatsApp, in its own menu. It refuses what it was told to refuse, whatever Tidings knows.
    WhatsApp,
}

impl Keeper {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tidings, Self::WhatsApp];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tidings => "tidings",
            Self::WhatsApp => "whatsapp",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keeper| keeper.as_str() == word)
    }

    /// The lists that there are: WhatsApp's is about marketing alone.
    pub const LISTS: [(Purpose, Self); 3] = [
        (Purpose::Marketing, Self::Tidings),
        (Purpose::Marketing, Self::WhatsApp),
        (Purpose::Service, Self::Tidings),
    ];
}

/// How something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// By a word in a message.
    Word,
    /// In WhatsApp's own menu.
    WhatsApp,
    /// Meta has refused a message because of it (code 131050).
    Refusal,
    /// By the API.
    Api,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 4] = [Self::Word, Self::WhatsApp, Self::Refusal, Self::Api];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::WhatsApp => "whatsapp",
            Self::Refusal => "refusal",
            Self::Api => "api",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }

    /// Who keeps it.
    pub fn keeper(self) -> Keeper {
        match self {
            Self::Word | Self::Api => Keeper::Tidings,
            Self::WhatsApp | Self::Refusal => Keeper::WhatsApp,
        }
    }
}

/// What was said once of one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Of what said it: with the purpose it is said once, however often it is told.
    pub id: ConsentId,
    /// Of whom.
    pub contact_id: ContactId,
    /// What for.
    pub purpose: Purpose,
    /// That they want no more of it; else that they do.
    pub opted_out: bool,
    /// How.
    pub source: Source,
    /// When: by Meta's clock for what came from Meta.
    pub at: Millis,
    /// Where, if on a channel.
    pub channel_id: Option<ChannelId>,
    /// The word, what WhatsApp wrote of it, or the caller's note.
    pub detail: Option<String>,
    /// Who changed it by the API.
    pub actor: Option<String>,
    /// When Tidings learnt of it.
    pub noted_at: Millis,
}

impl Statement {
    /// Of two statements in one list the greater stands: the later; of one moment, that they want no more.
    fn rank(&self) -> (Millis, bool, ConsentId) {
        (self.at, self.opted_out, self.id)
    }

    /// Why nothing is sent, for a person.
    pub fn told(&self) -> String {
        let how = match (self.source, &self.detail) {
            (Source::Word, Some(word)) => format!("wrote “{word}”"),
            (Source::Word, None) => "wrote so".to_owned(),
            (Source::WhatsApp, _) => "said so in WhatsApp's menu".to_owned(),
            (Source::Refusal, _) => "had said so in WhatsApp's menu: Meta refused a message because of it".to_owned(),
            (Source::Api, _) => "it was noted by the API".to_owned(),
        };
        let what = match self.purpose {
            Purpose::Marketing => "advertising",
            Purpose::Service => "messages that are no answer",
        };
        format!("the contact wants no {what} ({how}, {})", Time(self.at))
    }
}

/// How a contact stands to one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentStatus {
    /// Nothing is known.
    Unknown,
    /// They want it.
    OptedIn,
    /// They do not.
    OptedOut,
}

impl ConsentStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::OptedIn, Self::OptedOut];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::OptedIn => "opted_in",
            Self::OptedOut => "opted_out",
        }
    }

    /// From the word for it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// What stands of what contacts have said: of each list the latest.
#[derive(Debug, Clone, Default)]
pub struct Consents(HashMap<(ContactId, Purpose, Keeper), Statement>);

impl Consents {
    /// From statements, which may be more than stand, in any order.
    pub fn of(statements: impl IntoIterator<Item = Statement>) -> Self {
        let mut standing: HashMap<_, Statement> = HashMap::new();
        for statement in statements {
            let key = (statement.contact_id, statement.purpose, statement.source.keeper());
            if standing.get(&key).is_none_or(|known| known.rank() < statement.rank()) {
                standing.insert(key, statement);
            }
        }
        Self(standing)
    }

    /// What one keeper was told last.
    pub fn kept_by(&self, contact: ContactId, purpose: Purpose, keeper: Keeper) -> Option<&Statement> {
        self.0.get(&(contact, purpose, keeper))
    }

    /// What stands of a purpose, of each keeper who was told anything.
    pub fn standing(&self, contact: ContactId, purpose: Purpose) -> impl Iterator<Item = &Statement> {
        Keeper::ALL
            .into_iter()
            .filter_map(move |keeper| self.kept_by(contact, purpose, keeper))
    }

    /// How a contact stands to a purpose: whoever has said to one keeper that they want no more is not asked the other one.
    pub fn status(&self, contact: ContactId, purpose: Purpose) -> ConsentStatus {
        let mut status = ConsentStatus::Unknown;
        for statement in self.standing(contact, purpose) {
            if statement.opted_out {
                return ConsentStatus::OptedOut;
            }
            status = ConsentStatus::OptedIn;
        }
        status
    }

    /// What forbids to write to a contact. Who wants no messages at all wants no advertising either. A message that is no advertising can be
    /// sent all the same to whoever has written after they said so: `wrote_at` is when they wrote last where the message would go, if it is
    /// to count.
    pub fn forbids(&self, contact: ContactId, purpose: Purpose, wrote_at: Option<Millis>) -> Option<&Statement> {
        let opted_out = |purpose| {
            self.standing(contact, purpose)
                .filter(|statement| statement.opted_out)
                .max_by_key(|statement| statement.rank())
        };
        match purpose {
            Purpose::Marketing => opted_out(Purpose::Marketing).or_else(|| opted_out(Purpose::Service)),
            Purpose::Service => {
                opted_out(Purpose::Service).filter(|statement| wrote_at.is_none_or(|wrote_at| wrote_at <= statement.at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ConsentStatus, Consents, Source, Statement};
    use crate::ids::{ConsentId, ContactId};
    use crate::sending::model::Purpose;

    const WHO: ContactId = ContactId::MIN;

    fn said(number: u64, purpose: Purpose, source: Source, opted_out: bool, at: i64) -> Statement {
        Statement {
            id: ConsentId::first_of(i64::try_from(number).unwrap()),
            contact_id: WHO,
            purpose,
            opted_out,
            source,
            at,
            channel_id: None,
            detail: None,
            actor: None,
            noted_at: 0,
        }
    }

    #[test]
    fn what_whatsapp_was_told_and_what_was_written_stand_beside_each_other() {
        let (stop, resume) = (
            said(1, Purpose::Marketing, Source::WhatsApp, true, 10),
            said(2, Purpose::Marketing, Source::WhatsApp, false, 20),
        );
        let wrote = said(3, Purpose::Marketing, Source::Word, true, 15);
        let status =
            |of: &[&Statement]| Consents::of(of.iter().map(|of| (*of).clone())).status(WHO, Purpose::Marketing);
        assert_eq!(status(&[]), ConsentStatus::Unknown);
        assert_eq!(status(&[&stop]), ConsentStatus::OptedOut);
        assert_eq!(status(&[&resume, &stop]), ConsentStatus::OptedIn);
        // A `resume` of WhatsApp's does not take back what they wrote.
        assert_eq!(status(&[&stop, &wrote, &resume]), ConsentStatus::OptedOut);
        let started = said(4, Purpose::Marketing, Source::Word, false, 30);
        assert_eq!(status(&[&stop, &wrote, &resume, &started]), ConsentStatus::OptedIn);
        // Nor do they reach what WhatsApp refuses by writing here.
        assert_eq!(status(&[&stop, &wrote, &started]), ConsentStatus::OptedOut);
    }

    #[test]
    fn of_one_moment_that_they_want_no_more_stands() {
        for ids in [[1, 2], [2, 1]] {
            let both = [
                said(ids[0], Purpose::Marketing, Source::Word, true, 10),
                said(ids[1], Purpose::Marketing, Source::Api, false, 10),
            ];
            assert_eq!(
                Consents::of(both).status(WHO, Purpose::Marketing),
                ConsentStatus::OptedOut
            );
        }
    }

    #[test]
    fn whoever_wants_no_messages_is_answered_when_they_write_again() {
        let consents = Consents::of([said(1, Purpose::Service, Source::Word, true, 10)]);
        let forbids = |purpose, wrote_at| consents.forbids(WHO, purpose, wrote_at).is_some();
        assert!(forbids(Purpose::Service, None));
        // The very message that says so asks for no answer.
        assert!(forbids(Purpose::Service, Some(10)));
        assert!(!forbids(Purpose::Service, Some(11)));
        assert!(forbids(Purpose::Marketing, Some(11)));
        let consents = Consents::of([said(1, Purpose::Marketing, Source::Word, true, 10)]);
        assert!(consents.forbids(WHO, Purpose::Service, None).is_none());
        assert!(consents.forbids(WHO, Purpose::Marketing, Some(11)).is_some());
    }

    proptest! {
        /// Whatever was said, in whatever order and however often it is told, the same stands: of each list, the latest.
        #[test]
        fn the_order_in_which_it_is_told_makes_no_difference(
            drawn in prop::collection::vec((0..2_usize, 0..4_usize, any::<bool>(), 0..5_i64), 0..12),
            order in any::<prop::sample::Index>(),
        ) {
            let statements: Vec<Statement> = drawn
                .iter()
                .enumerate()
                .map(|(number, (purpose, source, opted_out, at))| {
                    said(number as u64, Purpose::ALL[*purpose], Source::ALL[*source], *opted_out, *at)
                })
                .collect();
            let mut otherwise: Vec<Statement> = statements.iter().rev().chain(&statements).cloned().collect();
            if !otherwise.is_empty() {
                let place = order.index(otherwise.len());
                otherwise.rotate_left(place);
            }
            let (as_told, otherwise) = (Consents::of(statements.clone()), Consents::of(otherwise));
            for purpose in Purpose::ALL {
                prop_assert_eq!(as_told.status(WHO, purpose), otherwise.status(WHO, purpose));
                prop_assert!(as_told.standing(WHO, purpose).eq(otherwise.standing(WHO, purpose)));
                for standing in as_told.standing(WHO, purpose) {
                    let of_its_list = statements.iter().filter(|of| {
                        of.purpose == purpose && of.source.keeper() == standing.source.keeper()
                    });
                    let latest = of_its_list.clone().map(|of| of.at).max();
                    prop_assert_eq!(Some(standing.at), latest);
                    let says_so = of_its_list.filter(|of| Some(of.at) == latest).any(|of| of.opted_out);
                    prop_assert_eq!(standing.opted_out, says_so);
                }
            }
        }
    }
}
