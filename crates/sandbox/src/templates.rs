//! The life of templates: decided about after a while or by hand, paused because people do not like them, changed by Meta; and the
//! webhooks that tell of it (whatsapp.md 8, 13.6).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Core;
use crate::accounts::{AccountError, account_event};
use crate::engine::Act;
use crate::lock;
use crate::state::State;
use crate::state::templates::{Record, component, has_names};
use crate::world::{TemplateQuality, TemplateStatus};

/// How long the first and the second pause last; the third ends it (whatsapp.md 13.6).
const PAUSES: [(&str, i64); 2] = [("FIRST_PAUSE", 3), ("SECOND_PAUSE", 6)];
const HOUR: i64 = 3_600_000;

/// What becomes of templates by themselves.
#[derive(Debug, Clone)]
pub struct TemplateRules {
    /// How long Meta looks at a new or edited template before it approves or rejects it; `None`: until it is told to by hand.
    pub decided_after: Option<Duration>,
    /// A template whose texts contain this, in any case, is rejected; all others are approved. Empty: none is.
    pub rejects: String,
    /// Most templates of an account: 250 at Meta, 6000 for one that is verified (whatsapp.md 10.2). 0 is off.
    pub per_account: u32,
    /// Most templates that an account makes in an hour. 0 is off.
    pub created_per_hour: u32,
    /// After how many blocks by people who got it a template's quality is yellow; after twice as many it is red, and paused. 0 is off.
    pub yellow_after_blocks: u32,
}

impl Default for TemplateRules {
    fn default() -> Self {
        Self {
            decided_after: Some(Duration::from_secs(5)),
            rejects: "reject me".to_owned(),
            per_account: 250,
            created_per_hour: 100,
            yellow_after_blocks: 3,
        }
    }
}

/// What is changed of a template by hand. Each change is told by its own webhook.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateChange {
    /// Where it is in its life. The third pause ends it.
    #[serde(default)]
    pub status: Option<TemplateStatus>,
    /// Why it is rejected, such as `TAG_CONTENT_MISMATCH`; `INVALID_FORMAT` if left out.
    #[serde(default)]
    pub reason: Option<String>,
    /// How people take it.
    #[serde(default)]
    pub quality: Option<TemplateQuality>,
    /// The category that Meta puts it into.
    #[serde(default)]
    pub category: Option<String>,
    /// The category that Meta is going to put it into in a day.
    #[serde(default)]
    pub correct_category: Option<String>,
    /// What it says from now on.
    #[serde(default)]
    pub components: Option<Vec<Value>>,
}

impl From<TemplateStatus> for TemplateChange {
    fn from(status: TemplateStatus) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }
}

/// A step of a template's life that was planned; void if its status has changed since.
#[derive(Debug)]
pub(crate) struct TemplateTurn {
    id: String,
    turn: u64,
}

impl Core {
    /// Changes a template by hand, and posts what tells of it.
    pub(crate) fn change_template(
        &self,
        name: &str,
        language: &str,
        change: &TemplateChange,
    ) -> Result<(), AccountError> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let ids: Vec<String> = state
            .templates
            .all()
            .iter()
            .filter(|record| record.name == name && record.language == language)
            .map(|record| record.id.clone())
            .collect();
        if ids.is_empty() {
            return Err(AccountError::Unknown {
                what: "template",
                id: format!("{name} in {language}"),
            });
        }
        for id in ids {
            if let Some(components) = &change.components {
                self.reword_template(state, &id, components.clone());
            }
            if let Some(category) = &change.category {
                self.recategorize_template(state, &id, category);
            }
            if let Some(correct) = &change.correct_category {
                self.warn_of_category(state, &id, correct);
            }
            if let Some(quality) = change.quality {
                self.rate_template(state, &id, quality);
            }
            if let Some(status) = change.status {
                self.set_template_status(state, &id, status, change.reason.as_deref());
            }
        }
        Ok(())
    }

    /// Meta looks at a template: plans what comes of it.
    pub(crate) fn review_template(&self, state: &mut State, id: &str) {
        let Some(record) = state.templates.get(id) else { return };
        let (id, turn) = (record.id.clone(), record.turn);
        if let Some(after) = self.options.templates.decided_after {
            self.engine
                .plan(self.after(after), Act::Template(Box::new(TemplateTurn { id, turn })));
        }
    }

    /// Does what was planned: decides about what is pending, lets go on what is paused.
    pub(crate) fn take_template_turn(&self, turn: &TemplateTurn) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let Some(record) = state.templates.get(&turn.id).filter(|record| record.turn == turn.turn) else {
            return;
        };
        let rejects = self.options.templates.rejects.to_lowercase();
        let said = Value::from(record.components.clone()).to_string().to_lowercase();
        let status = match record.status {
            TemplateStatus::Pending if !rejects.is_empty() && said.contains(&rejects) => TemplateStatus::Rejected,
            TemplateStatus::Pending | TemplateStatus::Paused => TemplateStatus::Approved,
            _ => return,
        };
        self.set_template_status(state, &turn.id, status, None);
    }

    /// Puts a template somewhere else in its life, and tells of it.
    pub(crate) fn set_template_status(
        &self,
        state: &mut State,
        id: &str,
        status: TemplateStatus,
        reason: Option<&str>,
    ) {
        let now = self.clock.now();
        let Some(record) = state.templates.get_mut(id) else {
            return;
        };
        let before = record.status;
        record.turn += 1;
        record.updated_at = now;
        let mut resumes_at = None;
        let mut about = json!({"reason": "NONE"});
        record.status = status;
        match status {
            TemplateStatus::Paused => match PAUSES.get(record.pauses as usize) {
                Some((title, hours)) => {
                    resumes_at = Some(now + hours * HOUR);
                    about["other_info"] = json!({"title": title,
                        "description": format!("Paused for {hours} hours because of negative feedback")});
                }
                None => record.status = TemplateStatus::Disabled,
            },
            TemplateStatus::Rejected => {
                let reason = reason.unwrap_or("INVALID_FORMAT").to_owned();
                about["reason"] = json!(reason);
                about["rejection_info"] = json!({"reason": "The template does not follow the guidelines",
                    "recommendation": "Edit it, and it is looked at again"});
                record.rejected_reason = Some(reason);
            }
            TemplateStatus::Approved if before == TemplateStatus::Paused => {
                about["other_info"] = json!({"title": "UNPAUSE", "description": "It can be sent again"});
            }
            _ => {}
        }
        if status == TemplateStatus::Paused {
            record.pauses += 1;
        }
        if record.status == TemplateStatus::Disabled {
            about["disable_info"] = json!({"disable_date": (now / 1000).to_string()});
            about["other_info"] = json!({"title": "DISABLED", "description": "Too many people did not like it"});
        }
        if record.status != TemplateStatus::Rejected {
            record.rejected_reason = None;
        }
        let (record, turn) = (record.clone(), record.turn);
        if let Some(at) = resumes_at {
            let id = record.id.clone();
            self.engine.plan(at, Act::Template(Box::new(TemplateTurn { id, turn })));
        }
        about["event"] = json!(record.status);
        about["message_template_category"] = json!(record.category);
        self.tell_of_template(state, &record, "message_template_status_update", about);
    }

    /// Rates a template, and tells of it.
    fn rate_template(&self, state: &mut State, id: &str, quality: TemplateQuality) {
        let Some(record) = state.templates.get_mut(id) else {
            return;
        };
        let about = json!({"previous_quality_score": record.quality, "new_quality_score": quality});
        record.quality = quality;
        let record = record.clone();
        self.tell_of_template(state, &record, "message_template_quality_update", about);
    }

    fn recategorize_template(&self, state: &mut State, id: &str, category: &str) {
        let Some(record) = state.templates.get_mut(id) else {
            return;
        };
        let previous = std::mem::replace(&mut record.category, category.to_owned());
        record.previous_category = Some(previous.clone());
        record.correct_category = None;
        let record = record.clone();
        let about = json!({"previous_category": previous, "new_category": category});
        self.tell_of_template(state, &record, "template_category_update", about);
    }

    /// The warning a day before: `new_category` is the one that it is still in (whatsapp.md 8).
    fn warn_of_category(&self, state: &mut State, id: &str, correct: &str) {
        let at = self.clock.now() / 1000 + 86_400;
        let Some(record) = state.templates.get_mut(id) else {
            return;
        };
        record.correct_category = Some(correct.to_owned());
        let record = record.clone();
        let about =
            json!({"new_category": record.category, "correct_category": correct, "category_update_timestamp": at});
        self.tell_of_template(state, &record, "template_category_update", about);
    }

    /// Gives a template other components, and tells of it.
    pub(crate) fn reword_template(&self, state: &mut State, id: &str, components: Vec<Value>) {
        let now = self.clock.now();
        let Some(record) = state.templates.get_mut(id) else {
            return;
        };
        record.is_named = has_names(&components);
        record.components = components;
        record.updated_at = now;
        let record = record.clone();
        let text = |kind: &str| component(&record.components, kind).map(|found| found["text"].clone());
        let mut about = json!({"message_template_element": text("BODY").unwrap_or_default()});
        if let Some(title @ Value::String(_)) = text("HEADER") {
            about["message_template_title"] = title;
        }
        if let Some(footer @ Value::String(_)) = text("FOOTER") {
            about["message_template_footer"] = footer;
        }
        if let Some(buttons) = component(&record.components, "BUTTONS").and_then(|found| found["buttons"].as_array()) {
            let told = buttons.iter().map(|button| {
                let mut told = json!({"message_template_button_type": button["type"],
                    "message_template_button_text": button["text"]});
                if let Some(url) = button.get("url") {
                    told["message_template_button_url"] = url.clone();
                }
                told
            });
            about["message_template_buttons"] = told.collect();
        }
        self.tell_of_template(state, &record, "message_template_components_update", about);
    }

    /// Somebody blocked the business after they got a template: people do not like it.
    pub(crate) fn note_block_after(&self, state: &mut State, account: &str, name: &str) {
        let bound = self.options.templates.yellow_after_blocks;
        if bound == 0 {
            return;
        }
        let ids: Vec<String> = state
            .templates
            .of(account)
            .filter(|record| record.name == name)
            .map(|record| record.id.clone())
            .collect();
        for id in ids {
            let Some(record) = state.templates.get_mut(&id) else {
                continue;
            };
            record.blocks += 1;
            let blocks = record.blocks;
            if blocks == bound {
                self.rate_template(state, &id, TemplateQuality::Yellow);
            } else if blocks == 2 * bound {
                self.rate_template(state, &id, TemplateQuality::Red);
                self.set_template_status(state, &id, TemplateStatus::Paused, None);
            }
        }
    }

    fn tell_of_template(&self, state: &State, record: &Record, field: &'static str, mut about: Value) {
        // An integer here, a string in the interface (whatsapp.md 8).
        let id: u64 = record.id.parse().unwrap_or_default();
        about["message_template_id"] = json!(id);
        about["message_template_name"] = json!(record.name);
        about["message_template_language"] = json!(record.language);
        let mut told: Vec<&str> = Vec::new();
        for number in &state.numbers {
            let account = number.business_account_id.as_str();
            if record.belongs_to(account) && !told.contains(&account) {
                told.push(account);
                let event = account_event(self, account, field, about.clone());
                self.emit(state, Some(event));
            }
        }
        self.changes.tell_state();
    }
}
