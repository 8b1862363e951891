//! `/api/v1/channels`: which channels there are, how each stands, and changing them while the hub runs.
//!
//! Credentials are written, never read: an answer shows the last four characters of a token at most. What is given is checked against Meta
//! before it is kept ([`super::check`]), outside of any transaction.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_meta::notification::Platform;
use utoipa::ToSchema;

use super::check::{self, CheckError, Checked};
use super::model::{
    ChannelKind, Limits, NumberFacts, OpenCircuit, Quality, Source, StoredChannel, is_account, is_channel_id,
};
use super::{Channel, Standing, follow};
use crate::access::Caller;
use crate::app::App;
use crate::audit::Auditor;
use crate::conversations::model::{ChannelId, Millis};
use crate::http::extract::{self, Id};
use crate::http::problem::{Code, Problem};
use crate::http::timestamp::Time;
use crate::http::word::words;
use crate::sending::sender;
use crate::sending::switch::{self, SwitchError};
use crate::store::channels::ChannelActivity;
use crate::store::{StoreError, UnitError};

words! {
    PlatformWord of Platform as "Platform";
    KindWord of ChannelKind as "ChannelKind";
    SourceWord of Source as "ChannelSource";
    StandingWord of Standing as "ChannelStanding";
    QualityWord of Quality as "NumberQuality";
}

/// Characters of a name.
const NAME_CHARS_MAX: usize = 200;
/// Bytes of credentials.
const CREDENTIALS_BYTES_MAX: usize = 8_192;
/// No limit is larger.
const LIMIT_MAX: u32 = 100_000_000;
/// When to come again if Meta did not say.
const META_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A connected number, account or e-mail sender.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Channel)]
pub struct ChannelView {
    /// Its name here.
    #[schema(example = "whatsapp")]
    id: String,
    /// What it is a connection to.
    kind: KindWord,
    /// Whose product it is; absent for e-mail.
    platform: Option<PlatformWord>,
    /// Meta's id of the phone number or the professional account; of an e-mail sender, its address.
    account: String,
    /// The WhatsApp Business Account that it belongs to.
    business_account: Option<String>,
    /// What people call it.
    name: Option<String>,
    /// Whether the settings name it, or it was added while the hub ran.
    source: SourceWord,
    /// The channel whose place it takes when that one cannot send.
    backup_for: Option<String>,
    /// Pace and budgets, as far as they were set.
    limits: Limits,
    /// Whether it has credentials: without any it only receives.
    usable: bool,
    /// Whether it sends, and if not, why.
    status: StandingWord,
    /// Why Meta refuses it, if it is held. Its messages wait meanwhile.
    held: Option<HeldView>,
    /// Why it tries with one message now and then, if its circuit is open. The others wait meanwhile.
    circuit: Option<CircuitView>,
    /// What sends in its place, if somebody has switched it.
    switched: Option<SwitchedView>,
    /// What Meta allows it and thinks of it; absent until that was read, and where it is no WhatsApp number.
    number: Option<NumberView>,
    /// How fast it may send, whether that was set or is as Meta has it: messages in any one second; absent without a limit.
    messages_per_second: Option<u32>,
    /// What it is called with, as far as that may be seen.
    credentials: Option<CredentialsView>,
    /// When its last event came in.
    last_event_at: Option<Time>,
    /// When that event happened, by Meta's clock.
    last_event_occurred_at: Option<Time>,
}

/// Why a channel is held.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// What Meta said.
    reason: String,
    /// Meta's code.
    code: i64,
    /// Since when.
    since: Time,
}

/// A circuit that is not closed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitView {
    /// `open`, or `half_open` once one message may be tried.
    state: &'static str,
    /// What the last call failed of.
    reason: String,
    /// Since when too many calls fail.
    since: Time,
    /// When one message is tried.
    probe_at: Time,
}

impl CircuitView {
    fn new(circuit: &OpenCircuit, now: Millis) -> Self {
        Self {
            state: if circuit.is_half_open(now) { "half_open" } else { "open" },
            reason: circuit.reason.clone(),
            since: Time(circuit.opened_at),
            probe_at: Time(circuit.probe_at),
        }
    }
}

/// That a backup sends in a channel's place.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwitchedView {
    /// The backup.
    to: String,
    /// Since when.
    since: Time,
    /// Who switched it.
    by: String,
}

/// What Meta says of a WhatsApp number.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NumberView {
    /// What Meta thinks of it, by what its recipients do. When it is `red`, its limits do not grow, and Meta may restrict it.
    quality: QualityWord,
    /// How fast it may send: `STANDARD` (80 messages a second), `HIGH` (1000), `NOT_APPLICABLE`.
    #[schema(example = "STANDARD")]
    throughput: Option<String>,
    /// Whether the WhatsApp Business app uses it as well, which slows it down to 20 messages a second.
    on_phone_app: bool,
    /// How many people its portfolio may write to first in 24 hours.
    #[schema(example = "TIER_2K")]
    messaging_limit: Option<String>,
    /// When that was read.
    read_at: Time,
}

impl From<&NumberFacts> for NumberView {
    fn from(facts: &NumberFacts) -> Self {
        Self {
            quality: facts.quality.into(),
            throughput: facts.throughput.clone(),
            on_phone_app: facts.is_on_phone_app,
            messaging_limit: facts.messaging_limit.clone(),
            read_at: Time(facts.read_at),
        }
    }
}

/// What may be seen of credentials.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsView {
    /// The last four characters of an access token.
    ends_with: Option<String>,
    /// How often they have changed.
    version: i64,
    /// When they changed last.
    changed_at: Option<Time>,
}

impl ChannelView {
    fn new(app: &App, channel: &Channel, activity: Option<&ChannelActivity>) -> Self {
        Self {
            id: channel.id.0.clone(),
            kind: channel.kind.into(),
            platform: channel.platform().map(Into::into),
            account: channel.account.clone(),
            business_account: channel.business_account.clone(),
            name: channel.name.clone(),
            source: channel.source.into(),
            backup_for: channel.backup_for.as_ref().map(|id| id.0.clone()),
            limits: channel.limits,
            usable: channel.credentials.is_some(),
            status: channel.standing(&app.flags).into(),
            held: channel.held.as_ref().map(|held| HeldView {
                reason: held.reason.clone(),
                code: held.code,
                since: Time(held.at),
            }),
            circuit: channel
                .circuit
                .as_ref()
                .map(|circuit| CircuitView::new(circuit, app.clock.now_millis())),
            switched: channel.switched.as_ref().map(|switched| SwitchedView {
                to: switched.to.0.clone(),
                since: Time(switched.at),
                by: switched.by.clone(),
            }),
            number: channel.number.as_ref().map(NumberView::from),
            messages_per_second: Some(sender::limits(app, channel).per_second).filter(|limit| *limit > 0),
            credentials: channel.credentials.as_ref().map(|credentials| CredentialsView {
                ends_with: channel.platform().and_then(|_| last_four(credentials)),
                version: channel.credentials_version,
                changed_at: channel.credentials_at.map(Time),
            }),
            last_event_at: activity.and_then(|activity| activity.last_event_at).map(Time),
            last_event_occurred_at: activity.and_then(|activity| activity.last_event_occurred_at).map(Time),
        }
    }
}

/// Of a token that is long enough for four characters to tell nothing.
fn last_four(token: &SecretString) -> Option<String> {
    let characters: Vec<char> = token.expose_secret().chars().collect();
    (characters.len() >= 16).then(|| characters[characters.len() - 4..].iter().collect())
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

/// Lists all channels.
#[utoipa::path(get, path = "/api/v1/channels", tag = "Channels",
    responses((status = 200, description = "All channels", body = ChannelList)))]
pub async fn list_channels(_: Caller, State(app): State<App>) -> Result<Json<ChannelList>, Problem> {
    let activity = activity(&app).await?;
    let channels = app.channels.all();
    Ok(Json(ChannelList {
        channels: channels
            .iter()
            .map(|channel| ChannelView::new(&app, channel, activity.get(&channel.id)))
            .collect(),
        next_cursor: None,
    }))
}

/// Shows how a channel stands.
#[utoipa::path(get, path = "/api/v1/channels/{id}", tag = "Channels",
    params(("id" = String, Path, description = "The channel")), responses(
    (status = 200, description = "The channel", body = ChannelView),
    (status = 404, description = "There is no such channel", body = Problem, content_type = "application/problem+json")))]
pub async fn show_channel(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<ChannelId>,
) -> Result<Json<ChannelView>, Problem> {
    view(&app, &id).await.map(Json)
}

async fn view(app: &App, id: &ChannelId) -> Result<ChannelView, Problem> {
    let channel = app.channels.get(id).ok_or_else(|| Problem::not_found("channel"))?;
    let activity = activity(app).await?;
    Ok(ChannelView::new(app, &channel, activity.get(id)))
}

async fn activity(app: &App) -> Result<HashMap<ChannelId, ChannelActivity>, Problem> {
    let read = app.store.read(|tx| {
        let activity = tx.channel_activity()?.into_iter();
        Ok::<_, StoreError>(activity.map(|activity| (activity.id.clone(), activity)).collect())
    });
    Ok(read.await?)
}

/// A channel to add.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"id": "whatsapp-nl", "kind": "whatsapp", "account": "106540352242922", "accessToken": "EAAG…"}))]
pub struct NewChannel {
    /// Its name here, for good: small letters, digits and hyphens.
    id: String,
    /// `whatsapp`, `instagram` or `email`.
    kind: String,
    /// Meta's id of the phone number or the professional account; of an e-mail sender, its address.
    account: String,
    /// The WhatsApp Business Account that it belongs to.
    #[serde(default)]
    business_account: Option<String>,
    /// What people call it; as Meta has it if left out.
    #[serde(default)]
    name: Option<String>,
    /// The channel whose place it takes when that one cannot send.
    #[serde(default)]
    backup_for: Option<String>,
    /// Pace and budgets.
    #[serde(default)]
    limits: Option<Limits>,
    /// WhatsApp and Instagram: what Meta is called with. Never shown again.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only)]
    access_token: Option<SecretString>,
    /// E-mail: the address of the SMTP server, with user and password. Never shown again.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only)]
    smtp_url: Option<SecretString>,
}

/// Adds a channel, once Meta has said that its credentials work.
#[utoipa::path(post, path = "/api/v1/channels", tag = "Channels", request_body = NewChannel, responses(
    (status = 201, description = "It was added", body = ChannelView),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The id or the account is in use", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong, or Meta refuses the credentials", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Meta did not say", body = Problem, content_type = "application/problem+json")))]
pub async fn add_channel(
    caller: Caller,
    State(app): State<App>,
    extract::Json(new): extract::Json<NewChannel>,
) -> Result<(StatusCode, Json<ChannelView>), Problem> {
    let now = app.clock.now_millis();
    let (mut channel, credentials) = new.parse(&app)?;
    if app.channels.get(&channel.id).is_some() {
        return Err(in_use(&channel.id));
    }

    if let Some(credentials) = &credentials {
        let checked = checked(&app, channel.kind, &channel.account, credentials).await?;
        channel.name = channel.name.or(checked.name);
        channel.credentials = Some(app.channels.seal(&channel.id, credentials));
        channel.credentials_at = Some(now);
    }
    channel.created_at = now;

    let id = channel.id.clone();
    let audit = Auditor::new(&app.ids, caller.id(), now);
    let added = app
        .store
        .write(move |tx| {
            if !tx.insert_channel(&channel)? {
                return Ok::<_, StoreError>(false);
            }
            let detail = json!({"kind": channel.kind.as_str(), "account": channel.account, "name": channel.name,
                "backupFor": channel.backup_for.as_ref().map(|id| &id.0), "limits": channel.limits,
                "credentials": channel.credentials.is_some()});
            tx.insert_audit(&audit.channel("channel.add", &channel.id, detail))?;
            Ok(true)
        })
        .await?;
    if !added {
        return Err(in_use(&id));
    }

    follow::refresh(&app).await?;
    Ok((StatusCode::CREATED, Json(view(&app, &id).await?)))
}

fn in_use(id: &ChannelId) -> Problem {
    Problem::new(
        Code::ChannelExists,
        format!(
            "There is a channel `{id}` already, or another channel has, or had, this account. A channel that was removed comes back under \
             its own id."
        ),
    )
    .field("id", "is in use, or its account is")
}

impl NewChannel {
    fn parse(self, app: &App) -> Result<(StoredChannel, Option<SecretString>), Problem> {
        let wrong = |field: &str, detail: String| Problem::of_field(Code::InvalidField, field, detail);
        if !is_channel_id(&self.id) {
            return Err(wrong(
                "id",
                "is not up to 64 small letters, digits and hyphens, such as `whatsapp-nl`".to_owned(),
            ));
        }
        let kind = ChannelKind::from_word(&self.kind)
            .ok_or_else(|| wrong("kind", "is not `whatsapp`, `instagram` or `email`".to_owned()))?;
        let account = self.account.trim().to_owned();
        if !is_account(kind, &account) {
            let expected = match kind {
                ChannelKind::WhatsApp => {
                    "is not the id that Meta has for the phone number: digits alone, and not the number"
                }
                ChannelKind::Instagram => "is not the id that Meta has for the professional account: digits alone",
                ChannelKind::Email => "is not an e-mail address, such as `shop@example.com`",
            };
            return Err(wrong("account", expected.to_owned()));
        }
        let id = ChannelId(self.id);
        let business_account = business_account(kind, self.business_account)?;
        let backup_for = self.backup_for.filter(|id| !id.is_empty()).map(ChannelId);
        if let Some(primary) = &backup_for {
            check_backup(app, &id, primary)?;
        }
        let limits = limits(self.limits.unwrap_or_default())?;
        let credentials = credentials(kind, self.access_token, self.smtp_url)?;
        Ok((
            StoredChannel {
                id,
                kind,
                account,
                business_account,
                name: name(self.name)?,
                source: Source::Api,
                backup_for,
                limits,
                credentials: None,
                credentials_version: 0,
                credentials_at: None,
                held: None,
                circuit: None,
                switched: None,
                hurries: 0,
                created_at: 0,
                updated_at: None,
            },
            credentials,
        ))
    }
}

/// What is to be changed of a channel; what is left out stays. An empty text takes away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelChange {
    /// What people call it.
    #[serde(default)]
    name: Option<String>,
    /// The WhatsApp Business Account that it belongs to.
    #[serde(default)]
    business_account: Option<String>,
    /// The channel whose place it takes when that one cannot send.
    #[serde(default)]
    backup_for: Option<String>,
    /// Pace and budgets: all of them anew.
    #[serde(default)]
    limits: Option<Limits>,
}

/// Changes a channel's name, limits, and whose backup it is.
#[utoipa::path(patch, path = "/api/v1/channels/{id}", tag = "Channels", request_body = ChannelChange,
    params(("id" = String, Path, description = "The channel")), responses(
    (status = 200, description = "The channel as it is now", body = ChannelView),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such channel", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn change_channel(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<ChannelId>,
    extract::Json(change): extract::Json<ChannelChange>,
) -> Result<Json<ChannelView>, Problem> {
    let known = app.channels.get(&id).ok_or_else(|| Problem::not_found("channel"))?;
    let change = change.parse(&app, &known)?;

    let now = app.clock.now_millis();
    let audit = Auditor::new(&app.ids, caller.id(), now);
    let changed = app
        .store
        .write({
            let id = id.clone();
            move |tx| {
                let Some(mut channel) = tx.lock_channel(&id)? else {
                    return Ok::<_, StoreError>(false);
                };
                let before = shown(&channel);
                change.apply(&mut channel);
                channel.updated_at = Some(now);
                tx.update_channel(&channel)?;
                let detail = json!({"before": before, "after": shown(&channel)});
                tx.insert_audit(&audit.channel("channel.change", &id, detail))?;
                Ok(true)
            }
        })
        .await?;
    if !changed {
        return Err(Problem::not_found("channel"));
    }

    follow::refresh(&app).await?;
    view(&app, &id).await.map(Json)
}

/// What the audit keeps of a channel that is changed.
fn shown(channel: &StoredChannel) -> serde_json::Value {
    json!({"name": channel.name, "businessAccount": channel.business_account,
        "backupFor": channel.backup_for.as_ref().map(|id| &id.0), "limits": channel.limits})
}

/// A change that was looked through.
struct ParsedChange {
    name: Field<String>,
    business_account: Field<String>,
    backup_for: Field<ChannelId>,
    limits: Option<Limits>,
}

/// What becomes of a field.
enum Field<T> {
    Stays,
    Becomes(Option<T>),
}

impl<T: Clone> Field<T> {
    fn of(given: Option<String>, parse: impl FnOnce(String) -> Result<Option<T>, Problem>) -> Result<Self, Problem> {
        given.map_or(Ok(Self::Stays), |text| parse(text).map(Self::Becomes))
    }

    fn apply(&self, field: &mut Option<T>) {
        if let Self::Becomes(value) = self {
            field.clone_from(value);
        }
    }
}

impl ChannelChange {
    fn parse(self, app: &App, channel: &Channel) -> Result<ParsedChange, Problem> {
        let backup = |id: String| {
            let primary = (!id.is_empty()).then_some(ChannelId(id));
            if let Some(primary) = &primary {
                check_backup(app, &channel.id, primary)?;
            }
            Ok(primary)
        };
        Ok(ParsedChange {
            name: Field::of(self.name, |text| name(Some(text)))?,
            business_account: Field::of(self.business_account, |text| business_account(channel.kind, Some(text)))?,
            backup_for: Field::of(self.backup_for, backup)?,
            limits: self.limits.map(limits).transpose()?,
        })
    }
}

impl ParsedChange {
    fn apply(&self, channel: &mut StoredChannel) {
        self.name.apply(&mut channel.name);
        self.business_account.apply(&mut channel.business_account);
        self.backup_for.apply(&mut channel.backup_for);
        if let Some(limits) = self.limits {
            channel.limits = limits;
        }
    }
}

/// Removes a channel that was added while the hub ran. Its conversations stay; added again under the same id, it goes on with them.
#[utoipa::path(delete, path = "/api/v1/channels/{id}", tag = "Channels",
    params(("id" = String, Path, description = "The channel")), responses(
    (status = 204, description = "It was removed"),
    (status = 404, description = "There is no such channel", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The settings name it, or messages of it wait", body = Problem, content_type = "application/problem+json")))]
pub async fn remove_channel(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<ChannelId>,
) -> Result<StatusCode, Problem> {
    let now = app.clock.now_millis();
    let audit = Auditor::new(&app.ids, caller.id(), now);
    app.store
        .write(move |tx| {
            let channel = tx.lock_channel(&id)?.ok_or(RemoveError::Unknown)?;
            if channel.source == Source::Settings {
                return Err(RemoveError::OfSettings(id.clone()));
            }
            if tx.outbox_figures()?.iter().any(|figure| figure.channel_id == id) {
                return Err(RemoveError::MessagesWait(id.clone()));
            }
            tx.remove_channel(&id, now)?;
            let detail = json!({"kind": channel.kind.as_str(), "account": channel.account});
            tx.insert_audit(&audit.channel("channel.remove", &id, detail))?;
            Ok(())
        })
        .await?;

    follow::refresh(&app).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why a channel is not removed.
#[derive(Debug, thiserror::Error)]
enum RemoveError {
    #[error("there is no such channel")]
    Unknown,
    #[error("the settings name channel `{0}`")]
    OfSettings(ChannelId),
    #[error("messages of channel `{0}` wait")]
    MessagesWait(ChannelId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnitError for RemoveError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Unknown | Self::OfSettings(_) | Self::MessagesWait(_) => None,
        }
    }
}

impl From<RemoveError> for Problem {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Unknown => Self::not_found("channel"),
            RemoveError::OfSettings(id) => Self::new(
                Code::ChannelOfSettings,
                format!("The settings name channel `{id}`: it goes when they name it no more."),
            ),
            RemoveError::MessagesWait(id) => Self::new(
                Code::ChannelInUse,
                format!("Messages of channel `{id}` still wait to be sent."),
            ),
            RemoveError::Store(error) => Self::from(error),
        }
    }
}

/// Other credentials for a channel: the one that its kind has.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCredentials {
    /// WhatsApp and Instagram: what Meta is called with. Never shown again.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only)]
    access_token: Option<SecretString>,
    /// E-mail: the address of the SMTP server, with user and password. Never shown again.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only)]
    smtp_url: Option<SecretString>,
}

/// Swaps a channel's credentials, once Meta has said that the new ones work. They are used by every node within a second, without a restart, and
/// what was held goes out.
#[utoipa::path(put, path = "/api/v1/channels/{id}/credentials", tag = "Channels", request_body = NewCredentials,
    params(("id" = String, Path, description = "The channel")), responses(
    (status = 200, description = "They were swapped", body = ChannelView),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such channel", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Meta refuses them", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Meta did not say", body = Problem, content_type = "application/problem+json")))]
pub async fn swap_credentials(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<ChannelId>,
    extract::Json(new): extract::Json<NewCredentials>,
) -> Result<Json<ChannelView>, Problem> {
    let channel = app.channels.get(&id).ok_or_else(|| Problem::not_found("channel"))?;
    let field = channel.kind.credentials_field();
    let credentials = credentials(channel.kind, new.access_token, new.smtp_url)?
        .ok_or_else(|| Problem::of_field(Code::InvalidField, field, "is missing"))?;

    checked(&app, channel.kind, &channel.account, &credentials).await?;

    let sealed = app.channels.seal(&id, &credentials);
    let now = app.clock.now_millis();
    let audit = Auditor::new(&app.ids, caller.id(), now);
    let swapped = app
        .store
        .write({
            let id = id.clone();
            move |tx| {
                let Some(before) = tx.lock_channel(&id)? else {
                    return Ok::<_, StoreError>(false);
                };
                tx.set_channel_credentials(&id, Some(&sealed), now)?;
                let detail = json!({"version": before.credentials_version + 1, "released": before.held.is_some()});
                tx.insert_audit(&audit.channel("channel.credentials", &id, detail))?;
                Ok(true)
            }
        })
        .await?;
    if !swapped {
        return Err(Problem::not_found("channel"));
    }

    follow::refresh(&app).await?;
    app.senders.nudge(&id);
    view(&app, &id).await.map(Json)
}

/// What is to take a channel's place.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": "whatsapp-backup"}))]
pub struct SwitchRequest {
    /// One of its backups: its only one if left out.
    #[serde(default)]
    to: Option<String>,
}

/// Puts a channel's backup in its place, on every node within a second: new messages go out by the backup, and what waits is moved to it. The
/// channel still receives, and conversations keep their history; the backup's windows are its own. To do so again changes nothing.
#[utoipa::path(post, path = "/api/v1/channels/{id}/switch", tag = "Channels", request_body = Option<SwitchRequest>,
    params(("id" = String, Path, description = "The channel")), responses(
    (status = 200, description = "The channel as it is now", body = ChannelView),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such channel", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It has no backup, or the backup cannot send", body = Problem, content_type = "application/problem+json")))]
pub async fn switch_channel(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<ChannelId>,
    extract::OptionalJson(request): extract::OptionalJson<SwitchRequest>,
) -> Result<Json<ChannelView>, Problem> {
    let to = request.and_then(|request| request.to).map(ChannelId);
    switch::switch(&app, &id, to.as_ref(), caller.id()).await?;
    view(&app, &id).await.map(Json)
}

/// Lets a channel send itself again. What has gone to the backup stays there; what waited for this goes out.
#[utoipa::path(delete, path = "/api/v1/channels/{id}/switch", tag = "Channels",
    params(("id" = String, Path, description = "The channel")), responses(
    (status = 200, description = "The channel as it is now", body = ChannelView),
    (status = 404, description = "There is no such channel", body = Problem, content_type = "application/problem+json")))]
pub async fn switch_channel_back(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<ChannelId>,
) -> Result<Json<ChannelView>, Problem> {
    switch::switch_back(&app, &id, caller.id()).await?;
    view(&app, &id).await.map(Json)
}

impl From<SwitchError> for Problem {
    fn from(error: SwitchError) -> Self {
        match error {
            SwitchError::NotFound => Self::not_found("channel"),
            SwitchError::NoBackup(detail) => Self::new(Code::NoBackup, detail),
            SwitchError::CannotSend(detail) => Self::new(Code::BackupNotReady, detail),
            SwitchError::Store(error) => Self::from(error),
        }
    }
}

/// Has Meta say whether credentials work.
async fn checked(app: &App, kind: ChannelKind, account: &str, credentials: &SecretString) -> Result<Checked, Problem> {
    check::check(app, kind, account, credentials)
        .await
        .map_err(|error| match error {
            CheckError::Credentials(detail) => {
                Problem::of_field(Code::CredentialsRefused, kind.credentials_field(), detail)
            }
            CheckError::Account(detail) => Problem::of_field(Code::CredentialsRefused, "account", detail),
            CheckError::Unanswered(detail) => {
                Problem::new(Code::MetaUnavailable, format!("{detail}. Nothing was changed."))
                    .retry_after(META_RETRY_AFTER)
            }
        })
}

/// The credentials of this kind of channel, among those that were given.
fn credentials(
    kind: ChannelKind,
    access_token: Option<SecretString>,
    smtp_url: Option<SecretString>,
) -> Result<Option<SecretString>, Problem> {
    let (own, other, other_field) = match kind {
        ChannelKind::WhatsApp | ChannelKind::Instagram => (access_token, smtp_url, "smtpUrl"),
        ChannelKind::Email => (smtp_url, access_token, "accessToken"),
    };
    let field = kind.credentials_field();
    if other.is_some() {
        let detail = format!("is not what a channel of this kind has: give `{field}`");
        return Err(Problem::of_field(Code::InvalidField, other_field, detail));
    }
    let Some(credentials) = own else { return Ok(None) };
    let text = credentials.expose_secret().trim();
    let is_fit =
        !text.is_empty() && text.len() <= CREDENTIALS_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_fit {
        let detail = format!("is not up to {CREDENTIALS_BYTES_MAX} letters, digits and signs of ASCII without spaces");
        return Err(Problem::of_field(Code::InvalidField, field, detail));
    }
    Ok(Some(SecretString::from(text)))
}

fn name(name: Option<String>) -> Result<Option<String>, Problem> {
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    if name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
        let detail = format!("has more than {NAME_CHARS_MAX} characters");
        return Err(Problem::of_field(Code::InvalidField, "name", detail));
    }
    Ok(name)
}

fn business_account(kind: ChannelKind, account: Option<String>) -> Result<Option<String>, Problem> {
    let account = account.filter(|account| !account.is_empty());
    let problem = match (&account, kind) {
        (None, _) => return Ok(None),
        (Some(account), ChannelKind::WhatsApp) if is_account(kind, account) => return Ok(Some(account.clone())),
        (Some(_), ChannelKind::WhatsApp) => "is not Meta's id of a WhatsApp Business Account: digits alone",
        (Some(_), ChannelKind::Instagram | ChannelKind::Email) => "is something that only a WhatsApp channel has",
    };
    Err(Problem::of_field(Code::InvalidField, "businessAccount", problem))
}

fn limits(limits: Limits) -> Result<Limits, Problem> {
    let numbers = serde_json::to_value(limits).unwrap_or_default();
    for (field, number) in numbers.as_object().into_iter().flatten() {
        if number.as_u64().is_some_and(|number| number > u64::from(LIMIT_MAX)) {
            let detail = format!("is not a number from 0 (no limit) to {LIMIT_MAX}");
            return Err(Problem::of_field(Code::InvalidField, format!("limits.{field}"), detail));
        }
    }
    Ok(limits)
}

/// A backup is of a channel that exists, is another one, and is no backup itself: so there are no circles.
fn check_backup(app: &App, id: &ChannelId, primary: &ChannelId) -> Result<(), Problem> {
    let wrong = |detail: &str| Err(Problem::of_field(Code::InvalidField, "backupFor", detail));
    match app.channels.get(primary) {
        None => wrong("is no channel of `GET /api/v1/channels`"),
        Some(channel) if channel.id == *id => wrong("is the channel itself"),
        Some(channel) if channel.backup_for.is_some() => wrong("is a backup itself"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::last_four;

    #[test]
    fn of_a_token_four_characters_are_shown_and_of_a_short_one_none() {
        let shown = |token: &str| last_four(&SecretString::from(token));
        assert_eq!(shown("EAAG0123456789abcd"), Some("abcd".to_owned()));
        assert_eq!(shown("short"), None);
        assert_eq!(shown(""), None);
    }
}
