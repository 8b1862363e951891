//! `/{waba-id}/message_templates` and the templates themselves: listed, made, edited, unpaused, deleted (whatsapp.md 10.2). What a draft may
//! say is in [`draft`]; examples of media come by [`upload`].

mod draft;
pub(crate) mod upload;

use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::limits;
use super::nodes;
use super::params::Params;
use super::tokens::Caller;
use crate::Core;
use crate::lock;
use crate::state::State;
use crate::state::templates::{Record, has_names};
use crate::state::usage::{DAY, HOUR};
use crate::webhooks::Object;
use crate::world::{TemplateQuality, TemplateStatus};
use draft::Draft;

/// How many are on a page where the caller does not say, and the most that a page has.
const PAGE: usize = 25;
const PAGE_MAX: usize = 1000;
/// How often an approved template is edited: once a day, and ten times in 30 days (whatsapp.md 10.2).
const EDITS_A_DAY: usize = 1;
const EDITS_A_MONTH: usize = 10;
const MONTH: i64 = 30 * DAY;
/// Most templates that one call deletes.
const DELETED_MAX: usize = 100;

/// What is told of a template where no fields are named.
const USUAL: [&str; 7] = [
    "name",
    "parameter_format",
    "components",
    "language",
    "status",
    "category",
    "id",
];

/// Answers a call about templates; `None`: it is about something else.
pub(super) fn answer(
    core: &Core,
    method: &str,
    path: &[&str],
    caller: &Caller,
    params: &Params,
) -> Option<Result<Value, GraphError>> {
    if let ("POST", [app_id, "uploads"]) = (method, path) {
        return Some(upload::begin(core, app_id, caller, params));
    }
    let mut state = lock(&core.state);
    let state = &mut *state;
    Some(match (method, path) {
        (_, [account, "message_templates"]) => {
            let Some((Object::WhatsApp, account)) = nodes::asset(state, account) else {
                return Some(Err(GraphError::no_object(method, account)));
            };
            caller.may_use(&account).and_then(|()| match method {
                "GET" => list(core, state, &account, params),
                "POST" => create(core, state, &account, params),
                "DELETE" => delete(core, state, &account, params),
                _ => Err(GraphError::no_object(method, &account)),
            })
        }
        ("GET" | "POST", [id]) | ("POST", [id, "unpause"]) => {
            let account = own_account(state, caller, state.templates.get(id)?);
            caller.may_use(&account).and_then(|()| match (method, path.len()) {
                ("GET", _) => state.templates.get(id).map_or_else(
                    || Err(GraphError::no_object(method, id)),
                    |record| nodes::select(&fields(record), params.list("fields"), &USUAL, "MessageTemplate"),
                ),
                (_, 1) => edit(core, state, id, params),
                _ => unpause(core, state, id),
            })
        }
        _ => return None,
    })
}

/// The account as which a caller speaks of a template: its own, or, of one that every account has, the first that the token may use.
fn own_account(state: &State, caller: &Caller, record: &Record) -> String {
    let mut accounts = state.numbers.iter().map(|number| number.business_account_id.as_str());
    let usable = accounts.find(|account| record.belongs_to(account) && caller.may_use(account).is_ok());
    usable.unwrap_or_default().to_owned()
}

fn fields(record: &Record) -> Map<String, Value> {
    let shown = json!({
        "id": record.id, "name": record.name, "language": record.language, "category": record.category,
        "status": record.status, "components": record.components,
        "parameter_format": if record.is_named { "NAMED" } else { "POSITIONAL" },
        "quality_score": {"score": record.quality, "date": record.updated_at / 1000},
        "rejected_reason": record.rejected_reason.as_deref().unwrap_or("NONE"),
        "previous_category": record.previous_category, "correct_category": record.correct_category,
        "message_send_ttl_seconds": record.ttl_seconds, "last_updated_time": record.updated_at / 1000,
        "sub_category": null, "library_template_name": null, "cta_url_link_tracking_opted_out": null,
        "degrees_of_freedom_spec": null,
        "health_status": {"can_send_message": if record.status == TemplateStatus::Approved { "AVAILABLE" } else { "BLOCKED" },
            "entities": []},
    });
    match shown {
        Value::Object(shown) => shown,
        _ => Map::new(),
    }
}

/// `GET`: by pages, with filters.
fn list(core: &Core, state: &State, account: &str, params: &Params) -> Result<Value, GraphError> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Meta's own SDK takes each of these as a list.
    let same = |filter: &str, value: &str| {
        params
            .list(filter)
            .is_none_or(|wanted| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(value)))
    };
    let found: Vec<&Record> = state
        .templates
        .of(account)
        .filter(|record| {
            let said = Value::from(record.components.clone()).to_string().to_lowercase();
            let says = |content: &str| said.contains(&content.to_lowercase());
            params.text("name").is_none_or(|name| record.name.contains(name))
                && params.text("content").is_none_or(says)
                && params
                    .text("name_or_content")
                    .is_none_or(|words| record.name.contains(words) || says(words))
                && same("language", &record.language)
                && same("category", &record.category)
                && same("status", &word(&json!(record.status)))
                && same("quality_score", &word(&json!(record.quality)))
        })
        .collect();
    let limit = match params.get("limit") {
        None => PAGE,
        Some(limit) => {
            let given = limit.as_u64().or_else(|| limit.as_str()?.parse().ok());
            given
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| *limit > 0)
                .ok_or_else(|| GraphError::parameter("Param limit must be a positive integer."))?
                .min(PAGE_MAX)
        }
    };
    let place = |cursor: &str| {
        let position = read_cursor(cursor).and_then(|id| found.iter().position(|record| record.id == id));
        position.ok_or_else(|| GraphError::whatsapp(131_059, "The cursor is expired or corrupt"))
    };
    let (start, end) = match (params.text("after"), params.text("before")) {
        (Some(after), _) => {
            let start = place(after)? + 1;
            (start, (start + limit).min(found.len()))
        }
        (None, Some(before)) => {
            let end = place(before)?;
            (end.saturating_sub(limit), end)
        }
        (None, None) => (0, limit.min(found.len())),
    };
    let page = found.get(start..end).unwrap_or_default();
    let shown: Result<Vec<Value>, GraphError> = page
        .iter()
        .map(|record| nodes::select(&fields(record), params.list("fields"), &USUAL, "MessageTemplate"))
        .collect();
    let mut paging = json!({});
    if let (Some(first), Some(last)) = (page.first(), page.last()) {
        paging["cursors"] = json!({"before": cursor(&first.id), "after": cursor(&last.id)});
        if end < found.len() {
            paging["next"] = json!(format!(
                "{}/{}/{account}/message_templates?limit={limit}&after={}",
                core.url,
                super::VERSION,
                cursor(&last.id)
            ));
        }
    }
    let mut answer = json!({"data": shown?, "paging": paging});
    if let Some(asked) = params.list("summary") {
        answer["summary"] = summary(core, state, account, found.len(), &asked)?;
    }
    Ok(answer)
}

/// What the list adds up to, which Meta's pages do not show and clients ask for: how many are found, how many the account has and may have.
fn summary(core: &Core, state: &State, account: &str, found: usize, asked: &[String]) -> Result<Value, GraphError> {
    let counts = json!({
        "total_count": found, "message_template_count": state.templates.of(account).count(),
        "message_template_limit": core.options.templates.per_account, "are_translations_complete": true,
    });
    // Meta's own SDK asks so, for all of it.
    if asked == ["true"] {
        return Ok(counts);
    }
    let chosen: Result<Map<String, Value>, GraphError> = asked
        .iter()
        .map(|name| match counts.get(name) {
            Some(count) => Ok((name.clone(), count.clone())),
            None => Err(GraphError::parameter(format!("Param summary has no field {name}."))),
        })
        .collect();
    chosen.map(Value::Object)
}

/// Cursors are opaque.
fn cursor(id: &str) -> String {
    format!("QVFI{}", hex::encode(id))
}

fn read_cursor(cursor: &str) -> Option<String> {
    String::from_utf8(hex::decode(cursor.strip_prefix("QVFI")?).ok()?).ok()
}

/// `POST`: a draft, which is looked at before it can be sent.
fn create(core: &Core, state: &mut State, account: &str, params: &Params) -> Result<Value, GraphError> {
    let rules = &core.options.templates;
    let now = core.clock.now();
    let draft = Draft::read(params)?;
    if state.templates.is_blocked(account, &draft.name, now) {
        return Err(GraphError::parameter(
            "A template with this name was deleted less than 30 days ago: choose another name.",
        ));
    }
    if state.templates.find(account, &draft.name, &draft.language).is_some() {
        return Err(GraphError::parameter(format!(
            "There is already {} content for this template name.",
            draft.language
        )));
    }
    let count = state.templates.of(account).count();
    if rules.per_account > 0 && count >= rules.per_account as usize {
        return Err(GraphError::draft(
            2_388_019,
            format!("This account has {count} templates, and may have no more."),
        ));
    }
    let made = state.templates.made.entry(account.to_owned()).or_default();
    if !made.has_room(now, HOUR, rules.created_per_hour) {
        return Err(limits::too_many_calls(Object::WhatsApp));
    }
    made.add(now);
    let ids = state.ids;
    let record = Record {
        id: String::new(),
        business_account_id: Some(account.to_owned()),
        name: draft.name,
        language: draft.language,
        category: draft.category,
        correct_category: None,
        previous_category: None,
        is_named: has_names(&draft.components),
        components: draft.components,
        status: TemplateStatus::Pending,
        quality: TemplateQuality::Unknown,
        rejected_reason: None,
        ttl_seconds: draft.ttl_seconds,
        edits: Vec::new(),
        pauses: 0,
        blocks: 0,
        turn: 0,
        updated_at: now,
    };
    let record = state.templates.insert(record, ids).clone();
    core.review_template(state, &record.id);
    core.changes.tell_state();
    Ok(json!({"id": record.id, "status": record.status, "category": record.category}))
}

/// `POST /{template-id}`: other components, which are looked at anew.
fn edit(core: &Core, state: &mut State, id: &str, params: &Params) -> Result<Value, GraphError> {
    let now = core.clock.now();
    let Some(record) = state.templates.get(id).cloned() else {
        return Err(GraphError::no_object("POST", id));
    };
    if !matches!(
        record.status,
        TemplateStatus::Approved | TemplateStatus::Rejected | TemplateStatus::Paused
    ) {
        return Err(GraphError::parameter(
            "Only templates that are approved, rejected or paused can be edited.",
        ));
    }
    let category = params.text("category").unwrap_or(&record.category);
    if category != record.category && record.status == TemplateStatus::Approved {
        return Err(GraphError::parameter(
            "The category of an approved template cannot be edited.",
        ));
    }
    let category = draft::category(category)?;
    let ttl_seconds = draft::ttl_seconds(params, &category)?.or(record.ttl_seconds);
    let components = match params.get("components") {
        Some(components) => Some(draft::components(components, &category, record.is_named)?),
        None => None,
    };
    if components.is_none() && params.get("category").is_none() && params.get("message_send_ttl_seconds").is_none() {
        return Err(GraphError::parameter("The parameter components is required."));
    }
    if record.status == TemplateStatus::Approved {
        let within = |span: i64| record.edits.iter().filter(|at| **at > now - span).count();
        if within(DAY) >= EDITS_A_DAY || within(MONTH) >= EDITS_A_MONTH {
            return Err(GraphError::parameter(
                "An approved template can be edited once a day, and ten times in 30 days.",
            ));
        }
    }
    if let Some(record) = state.templates.get_mut(id) {
        if record.status == TemplateStatus::Approved {
            record.edits.retain(|at| *at > now - MONTH);
            record.edits.push(now);
        }
        record.category = category;
        record.ttl_seconds = ttl_seconds;
    }
    if let Some(components) = components {
        core.reword_template(state, id, components);
        core.set_template_status(state, id, TemplateStatus::Pending, None);
        core.review_template(state, id);
    }
    // pywa reads more than the success that the reference has.
    let category = state.templates.get(id).map(|record| record.category.clone());
    Ok(json!({"success": true, "id": id, "name": record.name, "category": category}))
}

/// `POST /{template-id}/unpause`.
fn unpause(core: &Core, state: &mut State, id: &str) -> Result<Value, GraphError> {
    let is_paused = |record: &Record| record.status == TemplateStatus::Paused;
    if !state.templates.get(id).is_some_and(is_paused) {
        return Err(GraphError::parameter("The template is not paused."));
    }
    core.set_template_status(state, id, TemplateStatus::Approved, None);
    Ok(json!({"success": true}))
}

/// `DELETE`: all languages of a name, one of them, or several.
fn delete(core: &Core, state: &mut State, account: &str, params: &Params) -> Result<Value, GraphError> {
    let now = core.clock.now();
    let ids: Vec<String> = if let Some(ids) = params.list("hsm_ids") {
        if ids.is_empty() || ids.len() > DELETED_MAX {
            return Err(GraphError::parameter("Param hsm_ids must have 1 to 100 ids."));
        }
        ids
    } else {
        let name = params.required("name")?;
        let id = params.get("hsm_id").map(|id| match id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        });
        let of_name = state.templates.of(account).filter(|record| record.name == name);
        of_name
            .filter(|record| id.as_ref().is_none_or(|id| *id == record.id))
            .map(|record| record.id.clone())
            .collect()
    };
    let is_known = |id: &String| state.templates.of(account).any(|record| record.id == *id);
    if ids.is_empty() || !ids.iter().all(is_known) {
        return Err(GraphError::new(
            404,
            803,
            "(#803) Some of the aliases you requested do not exist: there is no such message template",
        ));
    }
    for id in ids {
        core.set_template_status(state, &id, TemplateStatus::Deleted, None);
        state.templates.remove(&id, account, now);
    }
    core.changes.tell_state();
    Ok(json!({"success": true}))
}
