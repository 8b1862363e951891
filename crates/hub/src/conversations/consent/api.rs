//! `/api/v1/contacts/{id}/consent`: what a contact wants to be sent, what was said of it, and noting it.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Wanted;
use super::model::{ConsentStatus, Consents, Keeper, Source, Statement};
use crate::access::Caller;
use crate::app::App;
use crate::conversations::model::Millis;
use crate::http::cursor;
use crate::http::extract::{FromParameters, Id, Json as Body, Parameters, Query};
use crate::http::problem::{Code, Problem};
use crate::http::timestamp::Time;
use crate::http::word::words;
use crate::ids::{ConsentId, ContactId, EventId, MessageId};
use crate::sending::model::Purpose;
use crate::store::StoreError;

/// How many statements a page has at most.
const LIMIT_MAX: u32 = 200;
/// How many are shown where nobody asks for a number.
const LIMIT: u32 = 50;
/// How long a note may be.
const NOTE_CHARS_MAX: usize = 500;

words! {
    ConsentStatusWord of ConsentStatus as "ConsentStatus";
    SourceWord of Source as "ConsentSource";
    KeeperWord of Keeper as "ConsentKeeper";
    PurposeWord of Purpose as "Purpose";
}

/// What a contact wants to be sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Consent)]
pub struct ConsentView {
    /// The contact.
    #[schema(value_type = String)]
    contact_id: ContactId,
    /// Advertising.
    marketing: PurposeView,
    /// Everything else. Who wants none of it wants no advertising either, and is sent answers alone: what is said within the window of something
    /// that they have written since.
    service: PurposeView,
}

/// How a contact stands to one purpose.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PurposeConsent)]
pub struct PurposeView {
    /// `opted_out` as soon as one keeper was told so.
    status: ConsentStatusWord,
    /// What stands: of each keeper that was told anything, the latest.
    statements: Vec<StatementView>,
}

/// What was said once of one purpose.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConsentStatement)]
pub struct StatementView {
    /// What for.
    purpose: PurposeWord,
    /// What they said.
    status: ConsentStatusWord,
    /// How: `word` in a message, in `whatsapp`'s own menu, by a `refusal` of Meta's, by the `api`.
    source: SourceWord,
    /// Who keeps it. What `whatsapp` keeps is about marketing, and only the contact can change it, in WhatsApp's menu.
    keeper: KeeperWord,
    /// When it was said: by Meta's clock for what came from Meta.
    at: Time,
    /// When Tidings learnt of it.
    noted_at: Time,
    /// On which channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<String>,
    /// The message that says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    message_id: Option<MessageId>,
    /// The event that told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    event_id: Option<EventId>,
    /// The word, what WhatsApp wrote of it, or the note of whoever changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Who changed it by the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
}

impl From<&Statement> for StatementView {
    fn from(of: &Statement) -> Self {
        let status = if of.opted_out {
            ConsentStatus::OptedOut
        } else {
            ConsentStatus::OptedIn
        };
        let id = of.id.as_bytes();
        Self {
            purpose: of.purpose.into(),
            status: status.into(),
            source: of.source.into(),
            keeper: of.source.keeper().into(),
            at: Time(of.at),
            noted_at: Time(of.noted_at),
            channel_id: of.channel_id.as_ref().map(|channel| channel.0.clone()),
            message_id: (of.source == Source::Word).then(|| MessageId::from_slice(id)).flatten(),
            event_id: matches!(of.source, Source::WhatsApp | Source::Refusal)
                .then(|| EventId::from_slice(id))
                .flatten(),
            detail: of.detail.clone(),
            actor: of.actor.clone(),
        }
    }
}

impl ConsentView {
    /// As callers see it.
    pub fn new(contact: ContactId, consents: &Consents) -> Self {
        let purpose = |purpose| PurposeView {
            status: consents.status(contact, purpose).into(),
            statements: consents.standing(contact, purpose).map(StatementView::from).collect(),
        };
        Self {
            contact_id: contact,
            marketing: purpose(Purpose::Marketing),
            service: purpose(Purpose::Service),
        }
    }
}

/// What a contact wants to be sent, and everything that was said of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentWithHistory {
    #[serde(flatten)]
    consent: ConsentView,
    /// Everything that was said, the latest first.
    history: Vec<StatementView>,
    /// Where the history goes on; absent at the end.
    next_cursor: Option<String>,
}

/// A place in a history: when, what said it, and whether it is of service.
type Place = (Millis, ConsentId, bool);

impl ConsentWithHistory {
    async fn read(app: &App, contact: ContactId, limit: u32, after: Option<Place>) -> Result<Self, Problem> {
        let read = app.store.read(move |tx| {
            let Some(contact) = tx.contact_by_id(contact)? else {
                return Ok(None);
            };
            let purpose = |is_service| {
                if is_service {
                    Purpose::Service
                } else {
                    Purpose::Marketing
                }
            };
            let after = after.map(|(at, id, is_service)| (at, id, purpose(is_service)));
            let standing = tx.standing_consent_statements(&[contact.id])?;
            let history = tx.consent_statements(contact.id, after, limit + 1)?;
            Ok::<_, StoreError>(Some((contact.id, standing, history)))
        });
        let (contact, standing, mut history) = read.await?.ok_or_else(|| Problem::not_found("contact"))?;
        let place = |of: &Statement| (of.at, of.id, of.purpose == Purpose::Service);
        let next_cursor = cursor::cut(&mut history, limit, place);
        Ok(Self {
            consent: ConsentView::new(contact, &Consents::of(standing)),
            history: history.iter().map(StatementView::from).collect(),
            next_cursor,
        })
    }
}

/// Which page of a history.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// How many statements.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Place>,
}

impl FromParameters for HistoryQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            limit: parameters.limit(LIMIT_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

/// Shows what a contact wants to be sent, and everything that was said of it.
#[utoipa::path(get, path = "/api/v1/contacts/{id}/consent", tag = "Contacts",
    params(("id" = String, Path, description = "The contact"), HistoryQuery), responses(
    (status = 200, description = "What stands, and a page of what was said", body = ConsentWithHistory),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such contact", body = Problem, content_type = "application/problem+json")))]
pub async fn show_consent(
    _: Caller,
    State(app): State<App>,
    Id(id): Id<ContactId>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<ConsentWithHistory>, Problem> {
    let HistoryQuery { limit, cursor } = query;
    Ok(Json(ConsentWithHistory::read(&app, id, limit, cursor).await?))
}

/// What is known of a contact's wishes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"marketing": "opted_in", "at": "2026-11-26T09:30:00Z", "note": "ticked the box of the booking form"}))]
pub struct NewConsent {
    /// Advertising: `opted_in` or `opted_out`. Left out, nothing is said of it.
    marketing: Option<String>,
    /// Everything else: `opted_in` or `opted_out`. Left out, nothing is said of it.
    service: Option<String>,
    /// When they said so, not after now; left out: now. What was said later stands.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// Where it is known from, in up to 500 characters.
    note: Option<String>,
}

impl NewConsent {
    fn wanted(self, now: Millis) -> Result<Wanted, Problem> {
        let wrong = |field: &str, detail: &str| Problem::of_field(Code::InvalidField, field, detail);
        let mut opted_out = Vec::new();
        for (purpose, said) in [(Purpose::Marketing, self.marketing), (Purpose::Service, self.service)] {
            match said.as_deref().map(ConsentStatus::from_word) {
                None => {}
                Some(Some(ConsentStatus::OptedOut)) => opted_out.push((purpose, true)),
                Some(Some(ConsentStatus::OptedIn)) => opted_out.push((purpose, false)),
                Some(Some(ConsentStatus::Unknown) | None) => {
                    return Err(wrong(purpose.as_str(), "must be `opted_in` or `opted_out`"));
                }
            }
        }
        if opted_out.is_empty() {
            return Err(wrong("marketing", "is missing: give `marketing`, `service`, or both"));
        }
        let at = self.at.map(Timestamp::as_millisecond);
        if at.is_some_and(|at| !(0..=now).contains(&at)) {
            return Err(wrong("at", "must be a time that has come"));
        }
        if self
            .note
            .as_ref()
            .is_some_and(|note| note.chars().count() > NOTE_CHARS_MAX)
        {
            return Err(wrong("note", &format!("has {NOTE_CHARS_MAX} characters at most")));
        }
        let note = self.note.map(|note| note.trim().to_owned());
        Ok(Wanted {
            opted_out,
            at,
            note: note.filter(|note| !note.is_empty()),
        })
    }
}

/// Notes what a contact wants to be sent. With an opt-out, messages that wait and are forbidden by it are cancelled. What is known already is not
/// noted again.
#[utoipa::path(put, path = "/api/v1/contacts/{id}/consent", tag = "Contacts", request_body = NewConsent,
    params(("id" = String, Path, description = "The contact")), responses(
    (status = 200, description = "What stands now, and what was said last", body = ConsentWithHistory),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such contact", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn set_consent(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<ContactId>,
    Body(request): Body<NewConsent>,
) -> Result<Json<ConsentWithHistory>, Problem> {
    let wanted = request.wanted(app.clock.now_millis())?;
    let noted = super::set(&app, caller.id(), id, wanted).await?;
    let contact = noted.ok_or_else(|| Problem::not_found("contact"))?;
    Ok(Json(ConsentWithHistory::read(&app, contact, LIMIT, None).await?))
}
