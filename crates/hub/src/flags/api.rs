//! `/api/v1/flags`: which flags there are, and setting them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{FlagName, StoredFlag};
use crate::access::Caller;
use crate::app::App;
use crate::audit::Auditor;
use crate::channels::follow;
use crate::http::extract::{self, Id};
use crate::http::problem::{Code, Problem};
use crate::http::timestamp::Time;
use crate::store::StoreError;

/// A flag.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Flag)]
pub struct FlagView {
    /// Its name.
    #[schema(example = "channels.email.priority")]
    name: String,
    /// What it does.
    description: &'static str,
    /// What every flag is so far: `boolean`.
    r#type: &'static str,
    /// Whether it is on.
    value: bool,
    /// What holds where it is not set.
    default: bool,
    /// Whether it was set.
    is_set: bool,
    /// When it was set.
    updated_at: Option<Time>,
    /// By whom.
    updated_by: Option<String>,
}

impl FlagView {
    fn new(app: &App, name: &FlagName) -> Self {
        let values = app.flags.values();
        let set = values.set(name);
        Self {
            name: name.to_string(),
            description: name.description(),
            r#type: "boolean",
            value: values.is_on(name),
            default: name.default_value(),
            is_set: set.is_some(),
            updated_at: set.map(|flag| Time(flag.updated_at)),
            updated_by: set.map(|flag| flag.updated_by.clone()),
        }
    }
}

/// All flags.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlagList {
    /// All that there are, set or not.
    flags: Vec<FlagView>,
    /// Always absent: all of them are on one page.
    next_cursor: Option<String>,
}

/// Lists all flags, set or not.
#[utoipa::path(get, path = "/api/v1/flags", tag = "Flags",
    responses((status = 200, description = "All flags", body = FlagList)))]
pub async fn list_flags(_: Caller, State(app): State<App>) -> Json<FlagList> {
    Json(FlagList {
        flags: known(&app).iter().map(|name| FlagView::new(&app, name)).collect(),
        next_cursor: None,
    })
}

/// Shows a flag.
#[utoipa::path(get, path = "/api/v1/flags/{id}", tag = "Flags",
    params(("id" = String, Path, description = "The flag's name")), responses(
    (status = 200, description = "The flag", body = FlagView),
    (status = 404, description = "There is no such flag", body = Problem, content_type = "application/problem+json")))]
pub async fn show_flag(_: Caller, State(app): State<App>, Id(name): Id<String>) -> Result<Json<FlagView>, Problem> {
    let name = parse(&app, &name)?;
    Ok(Json(FlagView::new(&app, &name)))
}

/// What a flag is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"value": true}))]
pub struct FlagValue {
    /// On or off.
    value: bool,
}

/// Sets a flag, on every node within a second.
#[utoipa::path(put, path = "/api/v1/flags/{id}", tag = "Flags", request_body = FlagValue,
    params(("id" = String, Path, description = "The flag's name")), responses(
    (status = 200, description = "The flag as it is now", body = FlagView),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such flag", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn set_flag(
    caller: Caller,
    State(app): State<App>,
    Id(name): Id<String>,
    extract::Json(FlagValue { value }): extract::Json<FlagValue>,
) -> Result<Json<FlagView>, Problem> {
    let name = parse(&app, &name)?;
    set(&app, &name, value, caller.id(), "flag.set").await?;
    Ok(Json(FlagView::new(&app, &name)))
}

/// Gives a flag its default again.
#[utoipa::path(delete, path = "/api/v1/flags/{id}", tag = "Flags",
    params(("id" = String, Path, description = "The flag's name")), responses(
    (status = 200, description = "The flag as it is now", body = FlagView),
    (status = 404, description = "There is no such flag", body = Problem, content_type = "application/problem+json")))]
pub async fn unset_flag(
    caller: Caller,
    State(app): State<App>,
    Id(name): Id<String>,
) -> Result<Json<FlagView>, Problem> {
    let name = parse(&app, &name)?;
    let audit = Auditor::new(&app.ids, caller.id(), app.clock.now_millis());
    let word = name.to_string();
    app.store
        .write(move |tx| {
            let before = tx.unset_flag(&word)?;
            if before.is_some() {
                tx.insert_audit(&audit.flag("flag.unset", &word, before, None))?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    follow::refresh(&app).await?;
    Ok(Json(FlagView::new(&app, &name)))
}

/// Sets a flag, and knows it here at once; `action` is what the audit calls it.
pub(crate) async fn set(
    app: &App,
    name: &FlagName,
    value: bool,
    actor: &str,
    action: &'static str,
) -> Result<(), StoreError> {
    let now = app.clock.now_millis();
    let audit = Auditor::new(&app.ids, actor, now);
    let flag = StoredFlag {
        name: name.to_string(),
        value,
        updated_at: now,
        updated_by: actor.to_owned(),
    };
    app.store
        .write(move |tx| {
            let before = tx.set_flag(&flag)?;
            tx.insert_audit(&audit.flag(action, &flag.name, before, Some(value)))
        })
        .await?;
    follow::refresh(app).await
}

/// Every flag that there is.
fn known(app: &App) -> Vec<FlagName> {
    let channels = app.channels.all();
    [FlagName::Outbound, FlagName::EmailPriority]
        .into_iter()
        .chain(channels.iter().map(|channel| FlagName::Channel(channel.id.clone())))
        .collect()
}

/// A flag that there is; of a channel, if that exists.
fn parse(app: &App, name: &str) -> Result<FlagName, Problem> {
    let known = known(app);
    FlagName::parse(name)
        .filter(|name| known.contains(name))
        .ok_or_else(|| {
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            Problem::new(
                Code::UnknownFlag,
                format!("There is no such flag; there are {}.", names.join(", ")),
            )
        })
}
