//! `GET /api/v1/channels`: which channels there are, and when each was last heard of.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidings_meta::notification::Platform;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::http::problem::Problem;
use crate::http::timestamp::Time;
use crate::http::word::words;
use crate::store::StoreError;

words! { PlatformWord of Platform as "Platform"; }

/// A connected number or account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Channel)]
pub struct ChannelView {
    /// Its name here.
    #[schema(example = "whatsapp")]
    id: String,
    /// Whose product it is.
    platform: PlatformWord,
    /// Meta's id of the phone number or the professional account.
    account: String,
    /// The WhatsApp Business Account that it belongs to.
    business_account: Option<String>,
    /// Whether it can send: it has an access token.
    usable: bool,
    /// When its last event came in.
    last_event_at: Option<Time>,
    /// When that event happened, by Meta's clock.
    last_event_occurred_at: Option<Time>,
}

/// All channels.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelList {
    /// In the order of their names.
    channels: Vec<ChannelView>,
    /// Always absent: all of them are on one page.
    next_cursor: Option<String>,
}

/// Lists the channels of the settings.
#[utoipa::path(get, path = "/api/v1/channels", tag = "Channels",
    responses((status = 200, description = "All channels", body = ChannelList)))]
pub async fn list_channels(_: Caller, State(app): State<App>) -> Result<Json<ChannelList>, Problem> {
    let read = app.store.read(|tx| {
        let activity = tx.channel_activity()?.into_iter();
        Ok::<HashMap<_, _>, StoreError>(activity.map(|activity| (activity.id.clone(), activity)).collect())
    });
    let mut activity = read.await?;
    let channels = app.channels.all().into_iter().map(|channel| {
        let activity = activity.remove(&channel.id);
        ChannelView {
            id: channel.id.0.clone(),
            platform: channel.platform.into(),
            account: channel.account.clone(),
            business_account: channel.business_account.clone(),
            usable: channel.access_token.is_some(),
            last_event_at: activity.as_ref().and_then(|activity| activity.last_event_at).map(Time),
            last_event_occurred_at: activity.and_then(|activity| activity.last_event_occurred_at).map(Time),
        }
    });
    Ok(Json(ChannelList {
        channels: channels.collect(),
        next_cursor: None,
    }))
}
