//! What came of a call to Meta: from its answer, through the error catalogue, to one of the few things that can happen next. Pure.

use std::time::Duration;

use tidings_meta::client::{CallError, Exchange, Sent};
use tidings_meta::error::{self, Class};
use tidings_meta::notification::Platform;

use crate::channels::templates::news::CODE_PAUSED;
use crate::conversations::model::Failure;
use crate::sending::marketing;
use crate::sending::model::{Cause, Outcome, Recipient};

/// The account may not message the recipient's country (reference `whatsapp.md` 13.9, 14.2). The catalogue counts it to the account, but
/// it says nothing about recipients elsewhere: the message fails, and the channel goes on.
const COUNTRY_NOT_ALLOWED: i64 = 130_497;

/// Reads the answer to a send call. What is `repeatable` needs no certainty whether it arrived: it is asked for again.
pub fn of(platform: Platform, repeatable: bool, exchange: &Exchange<Sent>) -> Outcome {
    match read(platform, repeatable, exchange) {
        Outcome::Unknown { failure, .. } if repeatable => Outcome::Again {
            cause: Cause::Temporary,
            failure,
            wait: None,
        },
        outcome => outcome,
    }
}

fn read(platform: Platform, repeatable: bool, exchange: &Exchange<Sent>) -> Outcome {
    match &exchange.outcome {
        Ok(sent) if sent.message_id.is_some() || repeatable => Outcome::Accepted {
            external_id: sent.message_id.clone(),
            recipient: Recipient {
                phone: sent.recipient_phone.clone(),
                user_id: sent.recipient_user_id.clone(),
            },
        },
        Ok(_) => Outcome::Unknown {
            failure: Failure::ours("Meta answered without an id"),
            answered: false,
        },
        Err(CallError::NotSent { reason }) => Outcome::Again {
            cause: Cause::Temporary,
            failure: Failure::ours(reason),
            wait: None,
        },
        Err(CallError::Unknown { reason, .. }) => Outcome::Unknown {
            failure: Failure::ours(reason),
            answered: false,
        },
        Err(CallError::Unreadable {
            http_status,
            reason,
            retry_after,
        }) => of_unreadable(
            *http_status,
            Failure::ours(format!("HTTP {http_status}: {reason}")),
            *retry_after,
        ),
        Err(CallError::Refused(refusal)) => {
            let explanation = error::explain(platform, refusal);
            let text = refusal.details.clone().unwrap_or_else(|| refusal.message.clone());
            let failure = Failure::of_meta(refusal.code, refusal.subcode, text);
            let wait = refusal.retry_after.or(exchange.usage.regain_after).or(explanation.wait);
            let class = if platform == Platform::WhatsApp && refusal.code == COUNTRY_NOT_ALLOWED {
                Class::Recipient
            } else {
                explanation.class
            };
            match class {
                Class::Temporary if explanation.may_have_arrived => Outcome::Unknown {
                    failure,
                    answered: true,
                },
                // The one error of its class that a day's rest can mend without anybody's doing (reference `whatsapp.md` 13.7).
                Class::Later if platform == Platform::WhatsApp && refusal.code == marketing::CAPPED => Outcome::Again {
                    cause: Cause::MarketingCap,
                    failure,
                    wait,
                },
                // It goes on after hours, or when somebody lets it (reference `whatsapp.md` 13.6).
                Class::Template if platform == Platform::WhatsApp && refusal.code == CODE_PAUSED => Outcome::Again {
                    cause: Cause::TemplatePaused,
                    failure,
                    wait,
                },
                class => from_class(class, failure, wait),
            }
        }
    }
}

/// What an answer without an error object of Meta's comes to. Mostly something between has given it, a proxy that wants a login or sends
/// elsewhere, and then it says nothing about the message: it is sent again, and the circuit counts it. Only what is wrong with the request
/// itself is refused for good. Behind a 5xx the message may be on its way all the same (reference `whatsapp.md` 13.9).
fn of_unreadable(http_status: u16, failure: Failure, wait: Option<Duration>) -> Outcome {
    match http_status {
        400 | 404 | 413 => Outcome::Failed {
            failure,
            window_closed: false,
        },
        429 => Outcome::Again {
            cause: Cause::Throttled,
            failure,
            wait,
        },
        500..=599 => Outcome::Unknown {
            failure,
            answered: true,
        },
        _ => Outcome::Again {
            cause: Cause::Temporary,
            failure,
            wait,
        },
    }
}

/// Whether Meta refuses a message for the file that it names by an id (reference `whatsapp.md` 11, 13.9, 14.2, `instagram.md` 7): most likely it does
/// not know the id any more.
pub(super) fn is_about_the_file(failure: &Failure) -> bool {
    match (failure.code, failure.subcode) {
        (131_009 | 131_053, _) | (100, Some(2_018_074)) => true,
        (100, None) => failure.text.to_ascii_lowercase().contains("media"),
        _ => false,
    }
}

/// Whether Meta refuses a private reply since the comment has had one (reference `instagram.md` 3.6, 7).
pub(super) fn is_answered_already(outcome: &Outcome) -> bool {
    let Outcome::Failed { failure, .. } = outcome else {
        return false;
    };
    matches!((failure.code, failure.subcode), (100, Some(2_534_025)) | (10_900, _))
}

/// Which outcome a class of the catalogue leads to.
fn from_class(class: Class, failure: Failure, wait: Option<Duration>) -> Outcome {
    match class {
        Class::Temporary => Outcome::Again {
            cause: Cause::Temporary,
            failure,
            wait,
        },
        Class::Throttled => Outcome::Again {
            cause: Cause::Throttled,
            failure,
            wait,
        },
        Class::PairLimit => Outcome::Again {
            cause: Cause::PairLimit,
            failure,
            wait,
        },
        // The account is held at Meta: like a token that does not work, nothing is lost by waiting, and everything by failing.
        Class::Credentials | Class::Account => Outcome::Again {
            cause: Cause::Credentials,
            failure,
            wait,
        },
        Class::WindowClosed => Outcome::Failed {
            failure,
            window_closed: true,
        },
        Class::Recipient | Class::Request | Class::Template | Class::Later | Class::ThreadOwned | Class::Inbound => {
            Outcome::Failed {
                failure,
                window_closed: false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::of_unreadable;
    use crate::conversations::model::Failure;
    use crate::sending::circuit::Sign;
    use crate::sending::model::{Cause, Outcome};

    #[test]
    fn what_something_between_answers_burns_no_message() {
        let of = |http_status| of_unreadable(http_status, Failure::ours("<html>"), Some(Duration::from_secs(7)));
        for refused in [400, 404, 413] {
            let outcome = of(refused);
            assert!(
                matches!(
                    outcome,
                    Outcome::Failed {
                        window_closed: false,
                        ..
                    }
                ),
                "{refused}"
            );
        }
        for between in [302, 307, 401, 403, 407, 408, 418, 451] {
            let outcome = of(between);
            let is_again = matches!(
                outcome,
                Outcome::Again {
                    cause: Cause::Temporary,
                    wait: Some(_),
                    ..
                }
            );
            assert!(is_again, "{between}: {outcome:?}");
            assert_eq!(Sign::of(&outcome), Sign::Fails, "{between}");
        }
        assert!(matches!(
            of(429),
            Outcome::Again {
                cause: Cause::Throttled,
                ..
            }
        ));
        for behind in [500, 502, 599] {
            assert!(
                matches!(of(behind), Outcome::Unknown { answered: true, .. }),
                "{behind}"
            );
        }
    }
}
