//! A template's definition, and whether it can be sent. Pure.

use serde_json::{Value, json};

use super::shape::Text;
use crate::conversations::model::Millis;
use crate::ids::TemplateId;

/// A template in one language, as it is known here.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Ours.
    pub id: TemplateId,
    /// The WhatsApp Business Account that it belongs to.
    pub business_account: String,
    /// Its name.
    pub name: String,
    /// Its language, such as `en_US`.
    pub language: String,
    /// Meta's id.
    pub external_id: String,
    /// In small letters: `utility`, `marketing`, `authentication`.
    pub category: String,
    /// The category that Meta is going to put it into.
    pub correct_category: Option<String>,
    /// In small letters: `approved`, or why it cannot be sent.
    pub status: String,
    /// Why it was rejected, paused or disabled, where Meta says.
    pub reason: Option<String>,
    /// Until when it is paused, where that is known.
    pub paused_until: Option<Millis>,
    /// In small letters: `green`, `yellow`, `red`, `unknown`.
    pub quality: Option<String>,
    /// Whether its variables have names rather than numbers.
    pub is_named: bool,
    /// Header, body and so on, as Meta tells them.
    pub components: Vec<Value>,
    /// How long Meta tries to deliver it.
    pub ttl_seconds: Option<i64>,
    /// When the last event about its status happened.
    pub status_at: Option<Millis>,
    /// Of which request to read the account anew the last event about it was one: what is read by an earlier one does not replace it.
    pub told: i64,
    /// When it was first known here.
    pub created_at: Millis,
    /// When it last changed here.
    pub changed_at: Millis,
}

/// Whether a template can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It can, or nobody knows better.
    Sendable,
    /// Not for now; until when, where that is known.
    Paused(Option<Millis>),
    /// Never again.
    Disabled,
    /// Meta has not approved it, or no more.
    NotApproved,
}

/// The status of a template that can be sent.
pub const APPROVED: &str = "approved";
/// The status of one that cannot be sent for now.
pub const PAUSED: &str = "paused";
/// The status of one that can never be sent again.
pub const DISABLED: &str = "disabled";
/// The status of one that Meta looks at.
pub const PENDING: &str = "pending";
/// The category of those for codes to log in with.
pub const AUTHENTICATION: &str = "authentication";
/// The category of templates that advertise.
pub const MARKETING: &str = "marketing";
/// The status of one that is gone.
pub const DELETED: &str = "deleted";

/// Those that Meta answers with 132001 (reference `whatsapp.md` 14.2: "missing in this language, or not approved"). A word that is not known
/// does not stop anything: Meta's list is open.
const NOT_APPROVED: &[&str] = &[PENDING, DELETED, "rejected", "archived", "in_appeal", "locked"];

/// Whether a template can be sent that has this status.
pub fn standing(status: &str, paused_until: Option<Millis>, now: Millis) -> Standing {
    match status {
        // Meta may have let it go on without our having heard of it: it is asked.
        PAUSED if paused_until.is_some_and(|until| until <= now) => Standing::Sendable,
        PAUSED => Standing::Paused(paused_until),
        DISABLED => Standing::Disabled,
        other if NOT_APPROVED.contains(&other) => Standing::NotApproved,
        _ => Standing::Sendable,
    }
}

impl Definition {
    /// Whether it can be sent.
    pub fn standing(&self, now: Millis) -> Standing {
        standing(&self.status, self.paused_until, now)
    }

    /// Whether it is for codes to log in with, which go to phone numbers alone (reference `whatsapp.md` 6.4).
    pub fn is_authentication(&self) -> bool {
        self.category == AUTHENTICATION
    }

    /// Whether it advertises.
    pub fn is_marketing(&self) -> bool {
        self.category == MARKETING
    }

    /// Gives it another wording, as an event tells it: the texts of body, header and footer. What else it has stays, until it is read anew.
    pub fn reword(&mut self, body: &str, title: Option<&str>, footer: Option<&str>) {
        let is_kind = |component: &Value, kind: &str| {
            let found = component["type"].as_str().unwrap_or_default();
            found.eq_ignore_ascii_case(kind)
        };
        for (kind, text) in [("HEADER", title), ("BODY", Some(body)), ("FOOTER", footer)] {
            let known = self.components.iter_mut().find(|component| is_kind(component, kind));
            match (known, text) {
                // A header that is no line of text has none in the event.
                (Some(component), Some(text)) => component["text"] = text.into(),
                (None, Some(text)) if kind == "HEADER" => {
                    self.components
                        .insert(0, json!({"type": kind, "format": "TEXT", "text": text}));
                }
                (None, Some(text)) => self.components.push(json!({"type": kind, "text": text})),
                (_, None) => {}
            }
        }
        if footer.is_none() {
            self.components.retain(|component| !is_kind(component, "FOOTER"));
        }
        self.is_named = Text::new(body)
            .variables
            .iter()
            .any(|name| name.parse::<u32>().is_err());
    }

    /// Takes over what Meta's list says; answers whether anything has changed that callers see.
    pub fn take_over(&mut self, read: &Self) -> bool {
        let before = self.clone();
        self.external_id.clone_from(&read.external_id);
        self.category.clone_from(&read.category);
        self.correct_category.clone_from(&read.correct_category);
        if self.status != read.status {
            self.status.clone_from(&read.status);
            self.paused_until = None;
            self.reason = None;
        }
        if read.reason.is_some() {
            self.reason.clone_from(&read.reason);
        }
        self.quality.clone_from(&read.quality);
        self.is_named = read.is_named;
        self.components.clone_from(&read.components);
        self.ttl_seconds = read.ttl_seconds;
        *self != before
    }
}

/// How the templates of an account are kept in step with Meta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncState {
    /// The account.
    pub business_account: String,
    /// How often something has asked for them to be read.
    pub wanted: i64,
    /// When they are read next.
    pub due_at: Millis,
    /// When they were last read whole; `None`: never.
    pub synced_at: Option<Millis>,
    /// How often reading has failed since.
    pub failures: u32,
    /// Why it failed last.
    pub error: Option<String>,
}

/// A way in which a send does not fit its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, such as `components[1].parameters`.
    pub field: String,
    /// What is wanted, such as `takes 2 values now`.
    pub detail: String,
}

/// How the pause that an event tells of ends (reference `whatsapp.md` 13.6); `None`: when somebody ends it, or at a time that is not known.
pub fn pause_millis(title: Option<&str>) -> Option<Millis> {
    const HOUR: Millis = 3_600_000;
    match title? {
        "FIRST_PAUSE" => Some(3 * HOUR),
        "SECOND_PAUSE" => Some(6 * HOUR),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing, pause_millis, standing};

    #[test]
    fn only_what_meta_would_refuse_is_stopped() {
        for (status, until, expected) in [
            ("approved", None, Standing::Sendable),
            ("paused", None, Standing::Paused(None)),
            ("paused", Some(101), Standing::Paused(Some(101))),
            ("paused", Some(100), Standing::Sendable),
            ("disabled", None, Standing::Disabled),
            ("pending", None, Standing::NotApproved),
            ("rejected", None, Standing::NotApproved),
            ("deleted", None, Standing::NotApproved),
            ("flagged", None, Standing::Sendable),
            ("a word of next year", None, Standing::Sendable),
        ] {
            assert_eq!(standing(status, until, 100), expected, "{status}");
        }
    }

    #[test]
    fn the_first_two_pauses_have_an_end() {
        assert_eq!(pause_millis(Some("FIRST_PAUSE")), Some(3 * 3_600_000));
        assert_eq!(pause_millis(Some("SECOND_PAUSE")), Some(6 * 3_600_000));
        assert_eq!(pause_millis(Some("RATE_LIMITING_PAUSE")), None);
        assert_eq!(pause_millis(None), None);
    }
}
