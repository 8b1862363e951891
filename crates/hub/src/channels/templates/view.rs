//! How templates look to callers.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::check::{Filled, FilledButton, wanted};
use super::model::{Definition, Fault, SyncState};
use super::shape::{Header, Shape};
use crate::channels::Channels;
use crate::http::timestamp::Time;
use crate::ids::TemplateId;

/// A template in one language.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageTemplate)]
pub struct TemplateView {
    /// Ours.
    #[schema(value_type = String)]
    id: TemplateId,
    /// Meta's id.
    external_id: String,
    /// Its name, by which it is sent.
    name: String,
    /// Its language, such as `en_US`; `en` is another one.
    language: String,
    /// `utility`, `marketing`, `authentication`.
    category: String,
    /// The category that Meta is going to put it into.
    correct_category: Option<String>,
    /// `approved`, or why it cannot be sent: `pending`, `rejected`, `paused`, `disabled`, `deleted`… Meta's list is open.
    status: String,
    /// Why it was rejected, paused or disabled, where Meta says.
    reason: Option<String>,
    /// Until when it is paused, where that is known.
    paused_until: Option<Time>,
    /// How people take it: `green`, `yellow`, `red`, `unknown`.
    quality: Option<String>,
    /// What it takes.
    parameters: ParametersView,
    /// Header, body, footer, buttons, as Meta has them.
    #[schema(value_type = Vec<Object>)]
    components: Vec<Value>,
    /// How long Meta tries to deliver it.
    ttl_seconds: Option<i64>,
    /// The WhatsApp Business Account that it belongs to.
    business_account: String,
    /// The channels that can send it.
    channels: Vec<String>,
    /// When it last changed.
    changed_at: Time,
}

/// What a template takes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TemplateParameters)]
pub struct ParametersView {
    /// `named`: each value bears its `parameter_name`. `positional`: they go by their order.
    format: &'static str,
    /// What the header takes: `text`, `image`, `video`, `document`, `location`, `product`; absent if it takes nothing.
    header: Option<String>,
    /// The variables of the body, in order.
    body: Vec<String>,
    /// The buttons that cannot do without a value: `index` and `subType` as a send gives them.
    buttons: Vec<ButtonParameterView>,
    /// How many cards its carousel has.
    cards: usize,
    /// All of it, in a sentence.
    summary: String,
}

/// A button that takes a value.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TemplateButtonParameter)]
pub struct ButtonParameterView {
    /// Its place.
    index: usize,
    /// What a send calls it.
    sub_type: String,
    /// What is written on it.
    label: String,
}

impl TemplateView {
    /// As callers see it.
    pub fn new(definition: &Definition, channels: &Channels) -> Self {
        let own = channels.all().into_iter().filter(|channel| {
            let account = channel.business_account.as_deref();
            account == Some(definition.business_account.as_str())
        });
        Self {
            id: definition.id,
            external_id: definition.external_id.clone(),
            name: definition.name.clone(),
            language: definition.language.clone(),
            category: definition.category.clone(),
            correct_category: definition.correct_category.clone(),
            status: definition.status.clone(),
            reason: definition.reason.clone(),
            paused_until: definition.paused_until.map(Time),
            quality: definition.quality.clone(),
            parameters: ParametersView::new(definition),
            components: definition.components.clone(),
            ttl_seconds: definition.ttl_seconds,
            business_account: definition.business_account.clone(),
            channels: own.map(|channel| channel.id.0.clone()).collect(),
            changed_at: Time(definition.changed_at),
        }
    }
}

impl ParametersView {
    fn new(definition: &Definition) -> Self {
        let shape = Shape::of(definition);
        let header = match &shape.header {
            Some(Header::Text(text)) if !text.variables.is_empty() => Some("text".to_owned()),
            Some(Header::Media(kind)) => Some(kind.clone()),
            Some(Header::Location) => Some("location".to_owned()),
            Some(Header::Product) => Some("product".to_owned()),
            Some(Header::Text(_) | Header::Other) | None => None,
        };
        let buttons = shape
            .buttons
            .iter()
            .enumerate()
            .filter(|(_, button)| button.needs_value());
        Self {
            format: if definition.is_named { "named" } else { "positional" },
            header,
            body: shape.body.variables.clone(),
            buttons: buttons
                .map(|(index, button)| ButtonParameterView {
                    index,
                    sub_type: button.kind.word().to_owned(),
                    label: button.label.clone(),
                })
                .collect(),
            cards: shape.cards.len(),
            summary: wanted(&shape),
        }
    }
}

/// A template as it will be seen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TemplatePreview)]
pub struct PreviewView {
    /// Header, text, footer, buttons and cards; what has no value keeps its variable.
    #[serde(flatten)]
    filled: FilledView,
    /// All of it as plain text.
    text: String,
    /// What is wrong with the values; empty if it can be sent so.
    errors: Vec<PreviewFault>,
}

/// What is wrong with a value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplatePreviewFault)]
pub struct PreviewFault {
    /// Where.
    field: String,
    /// What it should be.
    detail: String,
}

/// A template, or a card of it, with its values in place.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FilledTemplate)]
pub struct FilledView {
    /// Above the text: a line, or what is shown there, such as `[image]`.
    header: Option<String>,
    /// The text.
    body: String,
    /// Below the text.
    footer: Option<String>,
    /// What can be pressed.
    buttons: Vec<FilledButtonView>,
    /// The cards of its carousel.
    #[schema(no_recursion)]
    cards: Vec<Self>,
}

/// A button with its value in place.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FilledTemplateButton)]
pub struct FilledButtonView {
    /// What it does, as a send calls it.
    sub_type: String,
    /// What is written on it.
    label: String,
    /// The address that it opens, what it answers with, or the code that it copies.
    value: Option<String>,
}

impl PreviewView {
    pub(super) fn new(filled: Filled, faults: Vec<Fault>) -> Self {
        Self {
            text: filled.text(),
            filled: filled.into(),
            errors: faults
                .into_iter()
                .map(|Fault { field, detail }| PreviewFault { field, detail })
                .collect(),
        }
    }
}

impl From<Filled> for FilledView {
    fn from(filled: Filled) -> Self {
        let button = |FilledButton { kind, label, value }| FilledButtonView {
            sub_type: kind,
            label,
            value,
        };
        Self {
            header: filled.header,
            body: filled.body,
            footer: filled.footer,
            buttons: filled.buttons.into_iter().map(button).collect(),
            cards: filled.cards.into_iter().map(Self::from).collect(),
        }
    }
}

/// How the templates of an account are kept in step with Meta.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TemplateSync)]
pub struct SyncView {
    /// The account.
    business_account: String,
    /// The channels that belong to it.
    channels: Vec<String>,
    /// When they were last read whole; absent: never.
    synced_at: Option<Time>,
    /// When they are read next, if nothing happens.
    next_at: Option<Time>,
    /// Why they could not be read last.
    error: Option<String>,
}

impl SyncView {
    pub(super) fn new(account: &str, state: Option<&SyncState>, channels: &Channels) -> Self {
        let own = channels
            .all()
            .into_iter()
            .filter(|channel| channel.business_account.as_deref() == Some(account));
        Self {
            business_account: account.to_owned(),
            channels: own.map(|channel| channel.id.0.clone()).collect(),
            synced_at: state.and_then(|state| state.synced_at).map(Time),
            next_at: state
                .map(|state| state.due_at)
                .filter(|at| *at < i64::MAX / 8)
                .map(Time),
            error: state.and_then(|state| state.error.clone()),
        }
    }
}
