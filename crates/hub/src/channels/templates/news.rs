//! What is told of templates beside their list: events of Meta's, and refusals. Either changes the definition at once, and asks for the account's
//! templates to be read anew.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings_meta::notification::{EventKind, Platform};
use tidings_meta::whatsapp::{self, TemplateChange, TemplateUpdate};

use super::model::{APPROVED, DISABLED, Definition, PAUSED, pause_millis};
use crate::conversations::content::Template;
use crate::conversations::model::Millis;
use crate::ids::EventId;
use crate::store::{StoreError, Tx};
use crate::stream::model::Change;

/// Meta's codes for a template that is paused, and for one that is disabled (reference `whatsapp.md` 14.2).
pub const CODE_PAUSED: i64 = 132_015;
/// See [`CODE_PAUSED`].
pub const CODE_DISABLED: i64 = 132_016;
/// Meta's codes about templates: after any of these, what is known here may be wrong.
const CODES: std::ops::RangeInclusive<i64> = 132_000..=132_018;

/// What an event says of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// Whose template it is.
    pub business_account: String,
    /// What has changed.
    pub update: TemplateUpdate,
    /// When.
    pub at: Millis,
}

/// That a template's status is another one than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose template it is.
    pub business_account: String,
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// What it is now.
    pub status: String,
    /// Why, where Meta says.
    pub reason: Option<String>,
}

/// What came of news.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heard {
    /// What to tell of it.
    pub changes: Vec<Change>,
    /// What people are to know.
    pub notice: Option<Notice>,
}

impl Notice {
    /// Of a definition whose status has changed.
    pub fn of(definition: &Definition) -> Self {
        Self {
            business_account: definition.business_account.clone(),
            name: definition.name.clone(),
            language: definition.language.clone(),
            status: definition.status.clone(),
            reason: definition.reason.clone(),
        }
    }

    /// Writes it into the log: as a warning where it stops messages.
    pub fn log(&self) {
        let Self {
            business_account,
            name,
            language,
            status,
            reason,
        } = self;
        let reason = reason.as_deref();
        if status == PAUSED || status == DISABLED {
            tracing::warn!(
                template = name,
                language,
                business_account,
                status,
                reason,
                "Meta has stopped a template: messages with it are not sent"
            );
        } else {
            tracing::info!(
                template = name,
                language,
                business_account,
                status,
                reason,
                "a template has another status"
            );
        }
    }
}

/// Reads what an event of an account says of a template; `None` if it is about none.
pub fn of_event(platform: Platform, kind: EventKind, account: &str, payload: &str, at: Millis) -> Option<News> {
    let is_about_templates = matches!(
        kind,
        EventKind::TemplateStatus
            | EventKind::TemplateQuality
            | EventKind::TemplateCategory
            | EventKind::TemplateComponents
    );
    if platform != Platform::WhatsApp || !is_about_templates {
        return None;
    }
    let entry = whatsapp::parse(payload).ok()?;
    let (whatsapp::Change::Account(value) | whatsapp::Change::Unknown(value)) = entry.change else {
        return None;
    };
    let update = TemplateUpdate::read(&value)?;
    Some(News {
        business_account: account.to_owned(),
        update,
        at,
    })
}

/// Changes the definitions that the news of a batch are about; adds what is to be told to the changes of each event.
pub fn hear_all<'n>(
    tx: &mut Tx<'_>,
    told: impl Iterator<Item = (EventId, &'n News)>,
    changes: &mut BTreeMap<EventId, Vec<Change>>,
    now: Millis,
) -> Result<Vec<Notice>, StoreError> {
    let mut notices = Vec::new();
    for (event, news) in told {
        let heard = hear(tx, news, now)?;
        changes.entry(event).or_default().extend(heard.changes);
        notices.extend(heard.notice);
    }
    Ok(notices)
}

/// Changes the definition that news are about.
fn hear(tx: &mut Tx<'_>, news: &News, now: Millis) -> Result<Heard, StoreError> {
    let told = tx.want_template_sync(&news.business_account, now)?;
    let (name, language) = (&news.update.name, &news.update.language);
    let Some(mut definition) = tx.template(&news.business_account, name, language)? else {
        // It was made a moment ago, elsewhere: reading the list anew brings it.
        return Ok(Heard::default());
    };
    let before = definition.clone();
    apply(&mut definition, &news.update.change, news.at);
    keep(tx, &before, definition, told, now)
}

/// Meta has refused a message because of its template: what is known of it was wrong.
pub fn refused(
    tx: &mut Tx<'_>,
    business_account: &str,
    template: &Template,
    code: i64,
    now: Millis,
) -> Result<Heard, StoreError> {
    if !CODES.contains(&code) {
        return Ok(Heard::default());
    }
    let told = tx.want_template_sync(business_account, now)?;
    let Some(mut definition) = tx.template(business_account, &template.name, &template.language)? else {
        return Ok(Heard::default());
    };
    let before = definition.clone();
    match code {
        CODE_PAUSED => {
            PAUSED.clone_into(&mut definition.status);
            definition.paused_until = definition.paused_until.filter(|until| *until > now);
        }
        CODE_DISABLED => DISABLED.clone_into(&mut definition.status),
        _ => {}
    }
    keep(tx, &before, definition, told, now)
}

fn keep(
    tx: &mut Tx<'_>,
    before: &Definition,
    mut definition: Definition,
    told: i64,
    now: Millis,
) -> Result<Heard, StoreError> {
    if definition == *before {
        return Ok(Heard::default());
    }
    definition.told = told;
    definition.changed_at = now;
    tx.keep_templates(&[&definition])?;
    Ok(Heard {
        changes: vec![Change::TemplateUpdated {
            template: definition.id,
        }],
        notice: (definition.status != before.status).then(|| Notice::of(&definition)),
    })
}

fn apply(definition: &mut Definition, change: &TemplateChange, at: Millis) {
    match change {
        // An older event that comes late says nothing of now.
        TemplateChange::Status { .. } if definition.status_at.is_some_and(|known| known > at) => {}
        TemplateChange::Status {
            event,
            reason,
            title,
            description,
        } => {
            definition.status = match event.to_lowercase().as_str() {
                "reinstated" | "unarchived" => APPROVED.to_owned(),
                // People complain of it, and it may be paused soon: it can be sent.
                "flagged" => definition.status.clone(),
                other => other.to_owned(),
            };
            let is_paused = definition.status == PAUSED;
            let pause = pause_millis(title.as_deref()).filter(|_| is_paused);
            definition.paused_until = pause.map(|pause| at + pause);
            definition.reason = if definition.status == APPROVED {
                None
            } else {
                reason.clone().or_else(|| description.clone())
            };
            definition.status_at = Some(at);
        }
        TemplateChange::Quality { score } => definition.quality = Some(score.to_lowercase()),
        TemplateChange::Category { current, correct } => {
            if let Some(current) = current {
                definition.category = current.to_lowercase();
            }
            let correct = correct.as_ref().map(|correct| correct.to_lowercase());
            definition.correct_category = correct.filter(|correct| *correct != definition.category);
        }
        TemplateChange::Components { body, title, footer } => {
            definition.reword(body, title.as_deref(), footer.as_deref());
        }
    }
}

/// As Meta tells it, from the list or from an answer.
pub(super) fn is_named(parameter_format: Option<&str>, components: &[Value]) -> bool {
    match parameter_format {
        Some(format) => format.eq_ignore_ascii_case("named"),
        None => components.iter().any(|component| {
            let text = component["text"].as_str().unwrap_or_default();
            let variables = super::shape::Text::new(text).variables;
            variables.iter().any(|name| name.parse::<u32>().is_err())
        }),
    }
}
