//! What Meta tells of a message template (reference `whatsapp.md` 8): its status, quality, category or wording has changed.

use serde_json::Value;

/// News of one template in one language. The language is spelled with `_`, as in the interface: events have `-` or `_`.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateUpdate {
    /// Meta's id of the template.
    pub template_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Its language, such as `en_GB`.
    pub language: String,
    /// What has changed.
    pub change: TemplateChange,
}

/// What has changed of a template. Enumerations stay text, since Meta's lists of values are open.
#[derive(Debug, Clone, PartialEq)]
pub enum TemplateChange {
    /// Where it is in its life.
    Status {
        /// `APPROVED`, `REJECTED`, `PAUSED`, `DISABLED`, …
        event: String,
        /// Why; `None` where Meta has none.
        reason: Option<String>,
        /// `FIRST_PAUSE`, `SECOND_PAUSE`, `RATE_LIMITING_PAUSE`, `UNPAUSE`, `DISABLED`.
        title: Option<String>,
        /// For people.
        description: Option<String>,
    },
    /// How people take it.
    Quality {
        /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
        score: String,
    },
    /// What it counts as.
    Category {
        /// What it is now.
        current: Option<String>,
        /// What Meta holds to be right, and is going to put it into, where that is another one.
        correct: Option<String>,
    },
    /// What it says.
    Components {
        /// The body's text.
        body: String,
        /// The header's text; `None` where it has none.
        title: Option<String>,
        /// The footer's text; `None` where it has none.
        footer: Option<String>,
    },
}

impl TemplateUpdate {
    /// Reads the `value` of an event about a template; goes by its keys, since Meta's own samples bear wrong field names. `None` where it
    /// names no template, or tells nothing that is known.
    pub fn read(value: &Value) -> Option<Self> {
        let change = if let Some(body) = text(&value["message_template_element"]) {
            TemplateChange::Components {
                body,
                title: text(&value["message_template_title"]),
                footer: text(&value["message_template_footer"]),
            }
        } else if let Some(score) = text(&value["new_quality_score"]) {
            TemplateChange::Quality { score }
        } else if value.get("new_category").is_some() || value.get("correct_category").is_some() {
            TemplateChange::Category {
                current: text(&value["new_category"]).or_else(|| text(&value["category"])),
                correct: text(&value["correct_category"]),
            }
        } else {
            TemplateChange::Status {
                event: text(&value["event"])?,
                reason: text(&value["reason"]).filter(|reason| reason != "NONE"),
                title: text(&value["other_info"]["title"]),
                description: text(&value["other_info"]["description"])
                    .or_else(|| text(&value["rejection_info"]["reason"])),
            }
        };
        Some(Self {
            template_id: text(&value["message_template_id"]),
            name: text(&value["message_template_name"])?,
            language: text(&value["message_template_language"])?.replace('-', "_"),
            change,
        })
    }
}

/// A text that is not empty; ids are integers here, and texts elsewhere.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{TemplateChange, TemplateUpdate};

    fn read(mut value: Value) -> TemplateUpdate {
        value["message_template_id"] = json!(1_190_274_458_812_203_u64);
        value["message_template_name"] = json!("spring_offer");
        value["message_template_language"] = json!("en-GB");
        TemplateUpdate::read(&value).unwrap()
    }

    #[test]
    fn a_pause_is_read_with_how_long_it_lasts_and_its_language_as_the_interface_spells_it() {
        let update = read(json!({"event": "PAUSED", "reason": "NONE",
            "other_info": {"title": "FIRST_PAUSE", "description": "Paused for 3 hours because of negative feedback"}}));
        assert_eq!(update.language, "en_GB");
        assert_eq!(update.template_id.as_deref(), Some("1190274458812203"));
        assert_eq!(
            update.change,
            TemplateChange::Status {
                event: "PAUSED".to_owned(),
                reason: None,
                title: Some("FIRST_PAUSE".to_owned()),
                description: Some("Paused for 3 hours because of negative feedback".to_owned()),
            }
        );
    }

    #[test]
    fn news_are_told_apart_by_their_keys() {
        let update = read(json!({"previous_quality_score": "GREEN", "new_quality_score": "YELLOW"}));
        assert_eq!(
            update.change,
            TemplateChange::Quality {
                score: "YELLOW".to_owned()
            }
        );
        let update = read(json!({"new_category": "UTILITY", "correct_category": "MARKETING"}));
        let (current, correct) = (Some("UTILITY".to_owned()), Some("MARKETING".to_owned()));
        assert_eq!(update.change, TemplateChange::Category { current, correct });
        let update =
            read(json!({"message_template_element": "Hello {{1}}, paid.", "message_template_title": "Receipt"}));
        let expected = TemplateChange::Components {
            body: "Hello {{1}}, paid.".to_owned(),
            title: Some("Receipt".to_owned()),
            footer: None,
        };
        assert_eq!(update.change, expected);
        assert_eq!(TemplateUpdate::read(&json!({"event": "PAUSED"})), None);
    }
}
