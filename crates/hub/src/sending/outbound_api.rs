//! `/admin/outbound`: the stop switch, for everything or for one channel. It is a flag like any other, under a name that is found in a hurry.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::channels::api::StandingWord;
use crate::conversations::model::ChannelId;
use crate::flags::api::set;
use crate::flags::model::{FlagName, StoredFlag};
use crate::http::extract::OptionalJson;
use crate::http::problem::{Code, Problem};
use crate::http::timestamp::Time;

/// Whether anything goes out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outbound {
    /// Whether anything is sent at all.
    enabled: bool,
    /// Since when it is as it is, if it was ever switched.
    since: Option<Time>,
    /// Who switched it.
    by: Option<String>,
    /// How each channel stands.
    channels: Vec<OutboundChannel>,
}

/// Whether a channel sends.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboundChannel {
    /// The channel.
    id: String,
    /// Its own switch.
    enabled: bool,
    /// Since when that is as it is, if it was ever switched.
    since: Option<Time>,
    /// Who switched it.
    by: Option<String>,
    /// Whether it sends, and if not, why.
    status: StandingWord,
}

impl Outbound {
    fn now(app: &App) -> Self {
        let values = app.flags.values();
        let told = |flag: Option<&StoredFlag>| {
            (
                flag.map(|flag| Time(flag.updated_at)),
                flag.map(|flag| flag.updated_by.clone()),
            )
        };
        let (since, by) = told(values.set(&FlagName::Outbound));
        let channels = app.channels.all();
        let channels = channels.iter().map(|channel| {
            let name = FlagName::Channel(channel.id.clone());
            let (since, by) = told(values.set(&name));
            OutboundChannel {
                id: channel.id.0.clone(),
                enabled: values.is_on(&name),
                since,
                by,
                status: channel.standing(&app.flags).into(),
            }
        });
        Self {
            enabled: values.is_on(&FlagName::Outbound),
            since,
            by,
            channels: channels.collect(),
        }
    }
}

/// What is to be stopped or started.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboundRequest {
    /// One channel alone; everything if left out.
    #[serde(default)]
    channel: Option<String>,
}

/// Shows whether anything goes out.
#[utoipa::path(get, path = "/admin/outbound", tag = "Outbound",
    responses((status = 200, description = "Whether anything goes out", body = Outbound)))]
pub async fn show_outbound(_: Caller, State(app): State<App>) -> Json<Outbound> {
    Json(Outbound::now(&app))
}

/// Stops everything, or one channel: within a second nothing leaves any node; calls under way finish; what waits stays. It holds until it is
/// started again, also over a restart.
#[utoipa::path(post, path = "/admin/outbound/stop", tag = "Outbound", request_body = Option<OutboundRequest>, responses(
    (status = 200, description = "It is stopped", body = Outbound),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "There is no such channel", body = Problem, content_type = "application/problem+json")))]
pub async fn stop_outbound(
    caller: Caller,
    State(app): State<App>,
    OptionalJson(request): OptionalJson<OutboundRequest>,
) -> Result<Json<Outbound>, Problem> {
    switch(&app, request, false, &caller).await
}

/// Starts everything, or one channel, again.
#[utoipa::path(post, path = "/admin/outbound/start", tag = "Outbound", request_body = Option<OutboundRequest>, responses(
    (status = 200, description = "It is started", body = Outbound),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "There is no such channel", body = Problem, content_type = "application/problem+json")))]
pub async fn start_outbound(
    caller: Caller,
    State(app): State<App>,
    OptionalJson(request): OptionalJson<OutboundRequest>,
) -> Result<Json<Outbound>, Problem> {
    switch(&app, request, true, &caller).await
}

async fn switch(
    app: &App,
    request: Option<OutboundRequest>,
    enabled: bool,
    caller: &Caller,
) -> Result<Json<Outbound>, Problem> {
    let name = match request.and_then(|request| request.channel).map(ChannelId) {
        None => FlagName::Outbound,
        Some(id) if app.channels.get(&id).is_some() => FlagName::Channel(id),
        Some(id) => {
            return Err(
                Problem::new(Code::UnknownChannel, format!("There is no channel `{id}`."))
                    .field("channel", "must be one of `GET /api/v1/channels`"),
            );
        }
    };
    let action = if enabled { "outbound.start" } else { "outbound.stop" };
    set(app, &name, enabled, caller.id(), action).await?;
    Ok(Json(Outbound::now(app)))
}
