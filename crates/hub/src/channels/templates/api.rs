//! `/api/v1/templates`: listed, shown, previewed; made, changed and deleted at Meta; read anew.
//!
//! What is changed is changed at Meta, outside of any transaction, and read back afterwards: the store never has what Meta did not say.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidings_meta::client::{CallError, Exchange, TemplateNode};
use tidings_meta::error::{self, Class};
use tidings_meta::notification::Platform;
use utoipa::{IntoParams, ToSchema};

use super::model::{DELETED, Definition, PENDING};
use super::shape::Shape;
use super::view::{PreviewView, SyncView, TemplateView};
use super::{check, sync};
use crate::access::Caller;
use crate::app::App;
use crate::audit::Auditor;
use crate::channels::{Channel, Connection};
use crate::conversations::model::ChannelId;
use crate::http::cursor;
use crate::http::extract::{self, FromParameters, Id, Parameters, Query};
use crate::http::problem::{Code, Problem};
use crate::ids::TemplateId;
use crate::store::StoreError;
use crate::store::stream::NewStreamRow;
use crate::store::templates::TemplatePlace;
use crate::stream::model::Change;

/// Templates an answer.
const LIMIT_MAX: u32 = 200;
/// How many are looked at for one page, and at once.
const LOOKED_AT_MAX: usize = 20_000;
const LOOKED_AT_ONCE: u32 = 500;
/// When to come again if Meta did not say.
const META_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Which templates, and where the list goes on.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TemplateQuery {
    /// That this channel can send.
    #[param(value_type = Option<String>)]
    channel: Option<ChannelId>,
    /// With this status, such as `approved`. Deleted ones are listed only if they are asked for.
    status: Option<String>,
    /// In this language, such as `en_US`.
    language: Option<String>,
    /// Of this category: `utility`, `marketing`, `authentication`.
    category: Option<String>,
    /// Whose name or wording contains this, in any case.
    q: Option<String>,
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<(String, String, String)>,
}

impl FromParameters for TemplateQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        let lower = |text: String| text.to_lowercase();
        Ok(Self {
            channel: parameters.text("channel").map(ChannelId),
            status: parameters.text("status").map(lower),
            language: parameters.text("language"),
            category: parameters.text("category").map(lower),
            q: parameters.text("q").map(lower),
            limit: parameters.limit(LIMIT_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

impl TemplateQuery {
    fn has(&self, definition: &Definition, account: Option<&str>) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let status = match &self.status {
            None => definition.status != DELETED,
            Some(status) => *status == definition.status,
        };
        let says = |q: &str| {
            let said = Value::from(definition.components.clone()).to_string().to_lowercase();
            definition.name.contains(q) || said.contains(q)
        };
        status
            && account.is_none_or(|account| account == definition.business_account)
            && same(&self.language, &definition.language)
            && same(&self.category, &definition.category)
            && self.q.as_deref().is_none_or(says)
    }
}

/// A page of templates.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateList {
    /// In the order of their names and languages.
    templates: Vec<TemplateView>,
    /// Where it goes on; absent at the end.
    next_cursor: Option<String>,
}

/// Lists templates.
#[utoipa::path(get, path = "/api/v1/templates", tag = "Templates", params(TemplateQuery), responses(
    (status = 200, description = "A page of templates", body = TemplateList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "There is no such channel", body = Problem, content_type = "application/problem+json")))]
pub async fn list_templates(
    _: Caller,
    State(app): State<App>,
    Query(query): Query<TemplateQuery>,
) -> Result<Json<TemplateList>, Problem> {
    let account = match &query.channel {
        None => None,
        Some(id) => match channel(&app, id)?.business_account.clone() {
            Some(account) => Some(account),
            // It has none: neither has any template of another one.
            None => Some(String::new()),
        },
    };
    let limit = query.limit;
    let (name, language, business_account) = query.cursor.clone().unwrap_or_default();
    let from = TemplatePlace {
        name,
        language,
        business_account,
    };
    let mut found = app
        .store
        .read(move |tx| {
            let mut found: Vec<Definition> = Vec::new();
            let mut after = from.clone();
            let mut looked_at = 0;
            while looked_at < LOOKED_AT_MAX && found.len() <= limit as usize {
                let some = tx.templates_after(&after, LOOKED_AT_ONCE)?;
                looked_at += some.len();
                let Some(last) = some.last() else { break };
                after = place(last);
                found.extend(
                    some.into_iter()
                        .filter(|definition| query.has(definition, account.as_deref())),
                );
            }
            Ok::<_, StoreError>(found)
        })
        .await?;
    let next_cursor = cursor::cut(&mut found, limit, |definition| {
        let place = place(definition);
        (place.name, place.language, place.business_account)
    });
    Ok(Json(TemplateList {
        templates: found
            .iter()
            .map(|definition| TemplateView::new(definition, &app.channels))
            .collect(),
        next_cursor,
    }))
}

fn place(definition: &Definition) -> TemplatePlace {
    TemplatePlace {
        name: definition.name.clone(),
        language: definition.language.clone(),
        business_account: definition.business_account.clone(),
    }
}

/// Shows a template.
#[utoipa::path(get, path = "/api/v1/templates/{id}", tag = "Templates",
    params(("id" = String, Path, description = "The template")), responses(
    (status = 200, description = "The template", body = TemplateView),
    (status = 404, description = "There is no such template", body = Problem, content_type = "application/problem+json")))]
pub async fn show_template(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<TemplateId>,
) -> Result<Json<TemplateView>, Problem> {
    let definition = find(&app, id).await?;
    Ok(Json(TemplateView::new(&definition, &app.channels)))
}

async fn find(app: &App, id: TemplateId) -> Result<Definition, Problem> {
    let found = app.store.read(move |tx| tx.templates_by_ids(&[id])).await?;
    found.into_iter().next().ok_or_else(|| Problem::not_found("template"))
}

/// Values to fill a template in with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TemplatePreviewRequest, example = json!({"components": [{"type": "body", "parameters": [{"type": "text", "text": "Friday"}]}]}))]
pub struct PreviewRequest {
    /// As in a send.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    components: Vec<Value>,
}

/// Shows a template as it will be seen, with these values.
#[utoipa::path(post, path = "/api/v1/templates/{id}/preview", tag = "Templates",
    params(("id" = String, Path, description = "The template")), request_body = PreviewRequest, responses(
    (status = 200, description = "What will be seen, and what is wrong with the values", body = PreviewView),
    (status = 404, description = "There is no such template", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is unknown", body = Problem, content_type = "application/problem+json")))]
pub async fn preview_template(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<TemplateId>,
    extract::Json(request): extract::Json<PreviewRequest>,
) -> Result<Json<PreviewView>, Problem> {
    let definition = find(&app, id).await?;
    let (shape, is_named) = (Shape::of(&definition), definition.is_named);
    let filled = check::fill(&shape, is_named, &request.components);
    let faults = check::check(&shape, is_named, &request.components);
    Ok(Json(PreviewView::new(filled, faults)))
}

/// A template to make at Meta.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"channel": "whatsapp", "name": "order_update", "language": "en_GB", "category": "utility",
    "components": [{"type": "BODY", "text": "Order {{1}} leaves today.", "example": {"body_text": [["8841"]]}}]}))]
pub struct NewTemplate {
    /// A channel of the account that it is for.
    channel: String,
    /// Small letters, digits and `_`; 512 at most.
    name: String,
    /// Such as `en_US`.
    language: String,
    /// `utility`, `marketing` or `authentication`.
    category: String,
    /// `named` or `positional`; as the variables are, if left out.
    #[serde(default)]
    parameter_format: Option<String>,
    /// Header, body and so on, as Meta takes them, with an example for each variable.
    #[schema(value_type = Vec<Object>)]
    components: Vec<Value>,
    /// How long Meta tries to deliver it.
    #[serde(default)]
    ttl_seconds: Option<i64>,
}

/// Makes a template at Meta, which then looks at it: it is `pending` first.
#[utoipa::path(post, path = "/api/v1/templates", tag = "Templates", request_body = NewTemplate, responses(
    (status = 201, description = "Meta has taken it", body = TemplateView),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong, or Meta refuses it", body = Problem, content_type = "application/problem+json"),
    (status = 502, description = "It is not known whether Meta has taken it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Meta did not take it for now", body = Problem, content_type = "application/problem+json")))]
pub async fn create_template(
    caller: Caller,
    State(app): State<App>,
    extract::Json(new): extract::Json<NewTemplate>,
) -> Result<(StatusCode, Json<TemplateView>), Problem> {
    let channel = channel(&app, &ChannelId(new.channel.clone()))?;
    let (connection, account) = at_meta(&channel)?;
    let is_named = match new.parameter_format.as_deref().map(str::to_lowercase).as_deref() {
        Some("named") => true,
        Some("positional") => false,
        Some(_) => {
            let expected = "is not `named` or `positional`";
            return Err(Problem::of_field(Code::InvalidField, "parameterFormat", expected));
        }
        None => super::news::is_named(None, &new.components),
    };
    let category = new.category.to_uppercase();
    let mut draft = json!({"name": new.name, "language": new.language, "category": category, "components": new.components,
        "parameter_format": if is_named { "NAMED" } else { "POSITIONAL" }});
    if let Some(seconds) = new.ttl_seconds {
        draft["message_send_ttl_seconds"] = seconds.into();
    }
    let exchange = connection
        .client
        .create_template(connection.access_token, account, &draft)
        .await;
    let created = told(&app, account, exchange).await?;
    let now = app.clock.now_millis();
    let node = TemplateNode {
        id: created.id,
        name: new.name,
        language: new.language,
        status: created.status.unwrap_or_else(|| PENDING.to_owned()),
        category: created.category.unwrap_or(category),
        parameter_format: draft["parameter_format"].as_str().map(str::to_owned),
        components: new.components,
        ttl_seconds: new.ttl_seconds,
        ..TemplateNode::default()
    };
    let definition = sync::definition(account, node, &app.ids, now);
    let kept = keep(&app, &caller, "template.create", definition).await?;
    Ok((StatusCode::CREATED, Json(TemplateView::new(&kept, &app.channels))))
}

/// What to change of a template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateEdit {
    /// All components, as Meta takes them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    components: Option<Vec<Value>>,
    /// Another category; not of an approved one.
    #[serde(default)]
    category: Option<String>,
    /// How long Meta tries to deliver it.
    #[serde(default)]
    ttl_seconds: Option<i64>,
}

/// Changes a template at Meta, which then looks at it anew. An approved one can be changed once a day, and ten times in 30 days.
#[utoipa::path(patch, path = "/api/v1/templates/{id}", tag = "Templates",
    params(("id" = String, Path, description = "The template")), request_body = TemplateEdit, responses(
    (status = 200, description = "Meta has taken it; the answer is the template as it was last read", body = TemplateView),
    (status = 404, description = "There is no such template", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong, or Meta refuses it", body = Problem, content_type = "application/problem+json"),
    (status = 502, description = "It is not known whether Meta has taken it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Meta did not take it for now", body = Problem, content_type = "application/problem+json")))]
pub async fn edit_template(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<TemplateId>,
    extract::Json(edit): extract::Json<TemplateEdit>,
) -> Result<Json<TemplateView>, Problem> {
    let definition = find(&app, id).await?;
    let channel = channel_of(&app, &definition)?;
    let (connection, account) = at_meta(&channel)?;
    let mut change = Map::new();
    if let Some(components) = &edit.components {
        change.insert("components".to_owned(), components.clone().into());
    }
    if let Some(category) = &edit.category {
        change.insert("category".to_owned(), category.to_uppercase().into());
    }
    if let Some(seconds) = edit.ttl_seconds {
        change.insert("message_send_ttl_seconds".to_owned(), seconds.into());
    }
    if change.is_empty() {
        return Err(Problem::new(Code::InvalidField, "There is nothing to change.").field(
            "components",
            "is missing: give `components`, `category` or `ttlSeconds`",
        ));
    }
    let exchange = connection
        .client
        .edit_template(connection.access_token, &definition.external_id, &change.into())
        .await;
    told(&app, account, exchange).await?;
    note(&app, &caller, "template.edit", &definition).await?;
    read_back(&app, &channel, id).await
}

/// Deletes a template at Meta, in one language. Its name is blocked for 30 days.
#[utoipa::path(delete, path = "/api/v1/templates/{id}", tag = "Templates",
    params(("id" = String, Path, description = "The template")), responses(
    (status = 204, description = "It is deleted"),
    (status = 404, description = "There is no such template", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Meta refuses it", body = Problem, content_type = "application/problem+json"),
    (status = 502, description = "It is not known whether Meta has done it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Meta did not do it for now", body = Problem, content_type = "application/problem+json")))]
pub async fn delete_template(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<TemplateId>,
) -> Result<StatusCode, Problem> {
    let mut definition = find(&app, id).await?;
    let channel = channel_of(&app, &definition)?;
    let (connection, account) = at_meta(&channel)?;
    let exchange = connection
        .client
        .delete_template(
            connection.access_token,
            account,
            &definition.name,
            &definition.external_id,
        )
        .await;
    told(&app, account, exchange).await?;
    DELETED.clone_into(&mut definition.status);
    keep(&app, &caller, "template.delete", definition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a template go on that Meta has paused: messages that wait for it are sent.
#[utoipa::path(delete, path = "/api/v1/templates/{id}/pause", tag = "Templates",
    params(("id" = String, Path, description = "The template")), responses(
    (status = 200, description = "It goes on", body = TemplateView),
    (status = 404, description = "There is no such template", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Meta refuses it", body = Problem, content_type = "application/problem+json"),
    (status = 502, description = "It is not known whether Meta has done it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Meta did not do it for now", body = Problem, content_type = "application/problem+json")))]
pub async fn unpause_template(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<TemplateId>,
) -> Result<Json<TemplateView>, Problem> {
    let definition = find(&app, id).await?;
    let channel = channel_of(&app, &definition)?;
    let (connection, account) = at_meta(&channel)?;
    let exchange = connection
        .client
        .unpause_template(connection.access_token, &definition.external_id)
        .await;
    told(&app, account, exchange).await?;
    note(&app, &caller, "template.unpause", &definition).await?;
    read_back(&app, &channel, id).await
}

/// Whose templates to read.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TemplateSyncRequest)]
pub struct SyncRequest {
    /// Those of this channel's account; of every account if left out.
    #[serde(default)]
    channel: Option<String>,
}

/// How templates are kept in step with Meta.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TemplateSyncList)]
pub struct SyncList {
    /// One for each WhatsApp Business Account that can be read.
    accounts: Vec<SyncView>,
}

/// Tells when the templates of each account were read, and why they could not be.
#[utoipa::path(get, path = "/api/v1/templates/sync", tag = "Templates",
    responses((status = 200, description = "All accounts", body = SyncList)))]
pub async fn show_template_sync(_: Caller, State(app): State<App>) -> Result<Json<SyncList>, Problem> {
    let accounts: Vec<String> = sync::accounts(&app).into_iter().map(|(account, _)| account).collect();
    let states = app
        .store
        .read(move |tx| {
            let look = |account: &String| Ok::<_, StoreError>((account.clone(), tx.template_sync(account)?));
            accounts.iter().map(look).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let views = states
        .iter()
        .map(|(account, state)| SyncView::new(account, state.as_ref(), &app.channels));
    Ok(Json(SyncList {
        accounts: views.collect(),
    }))
}

/// Reads templates from Meta now; answers when that is done.
#[utoipa::path(post, path = "/api/v1/templates/sync", tag = "Templates", request_body = Option<SyncRequest>, responses(
    (status = 200, description = "How they stand now", body = SyncList),
    (status = 422, description = "There is no such channel, or it is of no account", body = Problem, content_type = "application/problem+json")))]
pub async fn sync_templates(
    _: Caller,
    State(app): State<App>,
    extract::OptionalJson(request): extract::OptionalJson<SyncRequest>,
) -> Result<Json<SyncList>, Problem> {
    let only = match request.unwrap_or_default().channel {
        None => None,
        Some(id) => {
            let channel = channel(&app, &ChannelId(id))?;
            let (_, account) = at_meta(&channel)?;
            Some(account.to_owned())
        }
    };
    let mut views = Vec::new();
    for (account, channel) in sync::accounts(&app) {
        if only.as_ref().is_some_and(|only| *only != account) {
            continue;
        }
        let state = sync::sync_now(&app, &account, &channel).await?;
        views.push(SyncView::new(&account, state.as_ref(), &app.channels));
    }
    Ok(Json(SyncList { accounts: views }))
}

fn channel(app: &App, id: &ChannelId) -> Result<Arc<Channel>, Problem> {
    app.channels
        .get(id)
        .ok_or_else(|| Problem::of_field(Code::UnknownChannel, "channel", "must be one of `GET /api/v1/channels`"))
}

fn channel_of(app: &App, definition: &Definition) -> Result<Arc<Channel>, Problem> {
    let mut accounts = sync::accounts(app).into_iter();
    let found = accounts.find(|(account, _)| *account == definition.business_account);
    found.map(|(_, channel)| channel).ok_or_else(|| {
        Problem::new(
            Code::ChannelNotUsable,
            "No channel of the template's account can call Meta.",
        )
    })
}

/// How Meta is called for a channel's templates, and the account that has them.
fn at_meta(channel: &Channel) -> Result<(Connection<'_>, &str), Problem> {
    let Some(account) = channel.business_account.as_deref() else {
        return Err(Problem::of_field(
            Code::InvalidField,
            "channel",
            "has no WhatsApp Business Account, which is what has templates: set `businessAccount`",
        ));
    };
    let connection = channel.connection().ok_or_else(|| {
        let detail = format!("Channel `{}` has no access token: it can only receive.", channel.id);
        Problem::new(Code::ChannelNotUsable, detail)
    })?;
    Ok((connection, account))
}

/// What Meta answered; a refusal is explained. After anything but a refusal the templates are read anew.
async fn told<T>(app: &App, account: &str, exchange: Exchange<T>) -> Result<T, Problem> {
    let error = match &exchange.outcome {
        Ok(_) => None,
        Err(CallError::Refused(refusal)) => Some((refusal.code, "refused")),
        Err(_) => Some((0, "temporary")),
    };
    app.metrics.count_call(Platform::WhatsApp, "templates", error);
    let unavailable = |detail: String, wait: Option<Duration>| {
        Problem::new(Code::MetaUnavailable, detail).retry_after(wait.unwrap_or(META_RETRY_AFTER))
    };
    match exchange.outcome {
        Ok(answer) => {
            want(app, account).await?;
            Ok(answer)
        }
        Err(CallError::Refused(refusal)) => {
            let explanation = error::explain(Platform::WhatsApp, &refusal);
            // Its own words for people say more than any table.
            let words = [&refusal.user_title, &refusal.user_message, &refusal.details];
            let mut said: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
            if said.is_empty() {
                said.push(&refusal.message);
            }
            let number = refusal.subcode.map_or_else(
                || refusal.code.to_string(),
                |subcode| format!("{}, subcode {subcode}", refusal.code),
            );
            let detail = format!(
                "{} {} Meta says ({number}): {}",
                explanation.meaning,
                explanation.remedy,
                said.join(". ")
            );
            Err(match explanation.class {
                Class::Temporary | Class::Throttled => unavailable(
                    detail,
                    refusal.retry_after.or(exchange.usage.regain_after).or(explanation.wait),
                ),
                Class::PairLimit
                | Class::Credentials
                | Class::Account
                | Class::WindowClosed
                | Class::Recipient
                | Class::Request
                | Class::Template
                | Class::Later
                | Class::ThreadOwned
                | Class::Inbound => Problem::new(Code::TemplateRefused, detail),
            })
        }
        Err(error @ CallError::NotSent { .. }) => Err(unavailable(format!("Meta could not be reached: {error}"), None)),
        Err(error @ (CallError::Unknown { .. } | CallError::Unreadable { .. })) => {
            want(app, account).await?;
            Err(Problem::new(
                Code::MetaOutcomeUnknown,
                format!(
                    "It is not known whether Meta has done it: {error}. The templates are read anew; look at them before you try again."
                ),
            ))
        }
    }
}

async fn want(app: &App, account: &str) -> Result<(), StoreError> {
    let (of, now) = (account.to_owned(), app.clock.now_millis());
    app.store.write(move |tx| tx.want_template_sync(&of, now)).await?;
    app.templates.notify_one();
    Ok(())
}

/// Reads the templates anew, and answers with one of them.
async fn read_back(app: &App, channel: &Channel, id: TemplateId) -> Result<Json<TemplateView>, Problem> {
    if let Some(account) = &channel.business_account {
        sync::sync_now(app, account, channel).await?;
    }
    let definition = find(app, id).await?;
    Ok(Json(TemplateView::new(&definition, &app.channels)))
}

/// Keeps a template as Meta's answer has left it, and notes who did it.
async fn keep(
    app: &App,
    caller: &Caller,
    action: &'static str,
    definition: Definition,
) -> Result<Definition, StoreError> {
    let now = app.clock.now_millis();
    let audit = Auditor::new(&app.ids, caller.id(), now);
    let kept = app
        .store
        .write(move |tx| {
            let (account, name, language) = (&definition.business_account, &definition.name, &definition.language);
            let told = tx.want_template_sync(account, now)?;
            let known = tx.template(account, name, language)?;
            let kept = Definition {
                id: known.map_or(definition.id, |known| known.id),
                told,
                changed_at: now,
                ..definition.clone()
            };
            tx.keep_templates(&[&kept])?;
            tx.insert_audit(&audit.template(action, kept.id, about(&kept)))?;
            tx.insert_stream(&[NewStreamRow {
                at: now,
                channel_id: None,
                event_id: None,
                changes: vec![Change::TemplateUpdated { template: kept.id }],
            }])?;
            Ok::<_, StoreError>(kept)
        })
        .await?;
    app.templates.notify_one();
    app.stream.nudge();
    Ok(kept)
}

async fn note(app: &App, caller: &Caller, action: &'static str, definition: &Definition) -> Result<(), StoreError> {
    let audit = Auditor::new(&app.ids, caller.id(), app.clock.now_millis());
    let entry = audit.template(action, definition.id, about(definition));
    app.store.write(move |tx| tx.insert_audit(&entry)).await
}

fn about(definition: &Definition) -> Value {
    json!({"name": definition.name, "language": definition.language, "businessAccount": definition.business_account})
}
