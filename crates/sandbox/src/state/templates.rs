//! The templates of all business accounts: what each says, where it is in its life, and what has been used of the limits on changing them.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use serde_json::{Value, json};

use crate::graph::templates::upload::Session;
use crate::ids::Ids;
use crate::state::usage::{DAY, Window};
use crate::world::{Template, TemplateQuality, TemplateStatus};

/// A name that was deleted is blocked so long (whatsapp.md 10.2).
pub(crate) const NAME_BLOCKED: i64 = 30 * DAY;

/// One template in one language.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) id: String,
    /// The account that it belongs to; `None`: every one has it.
    pub(crate) business_account_id: Option<String>,
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) category: String,
    /// The category that Meta holds to be right.
    pub(crate) correct_category: Option<String>,
    pub(crate) previous_category: Option<String>,
    /// Whether its variables have names rather than numbers.
    pub(crate) is_named: bool,
    /// As the list tells them.
    pub(crate) components: Vec<Value>,
    pub(crate) status: TemplateStatus,
    pub(crate) quality: TemplateQuality,
    pub(crate) rejected_reason: Option<String>,
    pub(crate) ttl_seconds: Option<i64>,
    /// When it was edited while it was approved.
    #[serde(skip)]
    pub(crate) edits: Vec<i64>,
    /// How often it was paused because people did not like it.
    pub(crate) pauses: u32,
    /// How many people blocked the business after they got it.
    pub(crate) blocks: u32,
    /// Raised with every status: what was planned for an earlier one is void.
    #[serde(skip)]
    pub(crate) turn: u64,
    pub(crate) updated_at: i64,
}

/// All templates, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    all: Vec<Record>,
    /// Until when names are blocked, by account and name.
    blocked: HashMap<(String, String), i64>,
    /// How many each account has made in the last hour.
    pub(crate) made: HashMap<String, Window>,
    /// Uploads of examples that were begun, the oldest first.
    pub(crate) sessions: VecDeque<Session>,
    count: u64,
}

impl Templates {
    /// Adds one that exists from the start; it takes the place of one with the same name and language.
    pub(crate) fn add(&mut self, template: &Template, ids: Ids) {
        let record = Record::of(template, ids.template(&template.name, &template.language));
        self.all.retain(|other| {
            (&other.name, &other.language, &other.business_account_id)
                != (&record.name, &record.language, &record.business_account_id)
        });
        self.all.push(record);
    }

    /// Adds one that was made through Graph, and gives it an id.
    pub(crate) fn insert(&mut self, mut record: Record, ids: Ids) -> &Record {
        self.count += 1;
        let account = record.business_account_id.clone().unwrap_or_default();
        record.id = ids.digits(
            "created template",
            &[&account, &record.name, &record.language],
            self.count,
            15,
        );
        self.all.push(record);
        &self.all[self.all.len() - 1]
    }

    pub(crate) fn all(&self) -> &[Record] {
        &self.all
    }

    /// Those of an account.
    pub(crate) fn of<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a Record> {
        self.all.iter().filter(move |record| record.belongs_to(account))
    }

    /// The one with this name in this language.
    pub(crate) fn find(&self, account: &str, name: &str, language: &str) -> Option<&Record> {
        self.all
            .iter()
            .find(|record| record.belongs_to(account) && record.name == name && record.language == language)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Record> {
        self.all.iter().find(|record| record.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Record> {
        self.all.iter_mut().find(|record| record.id == id)
    }

    pub(crate) fn remove(&mut self, id: &str, account: &str, now: i64) {
        if let Some(record) = self.get(id) {
            let key = (account.to_owned(), record.name.clone());
            self.blocked.insert(key, now + NAME_BLOCKED);
        }
        self.all.retain(|record| record.id != id);
    }

    /// Whether a name was deleted lately.
    pub(crate) fn is_blocked(&self, account: &str, name: &str, now: i64) -> bool {
        let until = self.blocked.get(&(account.to_owned(), name.to_owned()));
        until.is_some_and(|until| *until > now)
    }
}

impl Record {
    fn of(template: &Template, id: String) -> Self {
        let components = if template.components.is_empty() {
            components(template)
        } else {
            template.components.clone()
        };
        Self {
            id,
            business_account_id: template.business_account_id.clone(),
            name: template.name.clone(),
            language: template.language.clone(),
            category: template.category.clone(),
            correct_category: None,
            previous_category: None,
            is_named: has_names(&components),
            components,
            status: template.status,
            quality: template.quality,
            rejected_reason: None,
            ttl_seconds: None,
            edits: Vec::new(),
            pauses: 0,
            blocks: 0,
            turn: 0,
            updated_at: 0,
        }
    }

    pub(crate) fn belongs_to(&self, account: &str) -> bool {
        self.business_account_id.as_deref().is_none_or(|own| own == account)
    }
}

/// The component of a type.
pub(crate) fn component<'a>(components: &'a [Value], kind: &str) -> Option<&'a Value> {
    let is_kind = |component: &&Value| {
        component["type"]
            .as_str()
            .is_some_and(|found| found.eq_ignore_ascii_case(kind))
    };
    components.iter().find(is_kind)
}

fn components(template: &Template) -> Vec<Value> {
    let mut components = Vec::new();
    if let Some(header) = &template.header {
        components.push(json!({"type": "HEADER", "format": "TEXT", "text": header}));
    }
    components.push(json!({"type": "BODY", "text": template.body}));
    if let Some(footer) = &template.footer {
        components.push(json!({"type": "FOOTER", "text": footer}));
    }
    if !template.buttons.is_empty() {
        let buttons: Vec<Value> = template
            .buttons
            .iter()
            .map(|text| json!({"type": "QUICK_REPLY", "text": text}))
            .collect();
        components.push(json!({"type": "BUTTONS", "buttons": buttons}));
    }
    components
}

/// Whether the variables of header and body have names rather than numbers.
pub(crate) fn has_names(components: &[Value]) -> bool {
    ["HEADER", "BODY"].iter().any(|kind| {
        let text = component(components, kind).and_then(|component| component["text"].as_str());
        variables(text.unwrap_or_default())
            .iter()
            .any(|name| name.parse::<u32>().is_err())
    })
}

/// What stands between `{{` and `}}`, each once: numbers in their order, names in that of the text.
pub(crate) fn variables(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in text.split("{{").skip(1) {
        if let Some((name, _)) = piece.split_once("}}")
            && !found.iter().any(|other| other == name)
        {
            found.push(name.to_owned());
        }
    }
    found.sort_by_key(|name| name.parse::<u32>().unwrap_or_default());
    found
}
