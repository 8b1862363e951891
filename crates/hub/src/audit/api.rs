//! `GET /api/v1/audit`: who changed what.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::StoredAuditEntry;
use crate::access::Caller;
use crate::app::App;
use crate::http::cursor;
use crate::http::extract::{FromParameters, Parameters, Query};
use crate::http::problem::Problem;
use crate::http::timestamp::Time;
use crate::ids::AuditId;

/// How many entries a page has at most.
const LIMIT_MAX: u32 = 200;

/// Which page of entries.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// About this alone, such as `channel:whatsapp` or `flag:outbound.enabled`.
    subject: Option<String>,
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Where to go on: `nextCursor` of the list before.
    #[param(value_type = Option<String>)]
    cursor: Option<AuditId>,
}

impl FromParameters for AuditQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            subject: parameters.text("subject"),
            limit: parameters.limit(LIMIT_MAX)?,
            cursor: parameters.cursor()?,
        })
    }
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct AuditView {
    /// Its id.
    #[schema(value_type = String)]
    id: AuditId,
    /// When.
    at: Time,
    /// Who: a key, `system`, or `settings`.
    actor: String,
    /// What was done.
    #[schema(example = "channel.credentials")]
    action: String,
    /// To what.
    #[schema(example = "channel:whatsapp")]
    subject: String,
    /// Before and after, without secrets.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

impl From<StoredAuditEntry> for AuditView {
    fn from(entry: StoredAuditEntry) -> Self {
        Self {
            id: entry.id,
            at: Time(entry.at),
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
        }
    }
}

/// A page of changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditList {
    /// The newest first.
    entries: Vec<AuditView>,
    /// Where the list goes on; absent at its end.
    next_cursor: Option<String>,
}

/// Lists who changed what, the newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "Audit", params(AuditQuery), responses(
    (status = 200, description = "A page of changes", body = AuditList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json")))]
pub async fn list_audit(
    _: Caller,
    State(app): State<App>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditList>, Problem> {
    let AuditQuery { subject, limit, cursor } = query;
    let before = cursor.unwrap_or(AuditId::MAX);
    let read = app
        .store
        .read(move |tx| tx.audit_before(subject.as_deref(), before, limit + 1));
    let mut found = read.await?;
    let next_cursor = cursor::cut(&mut found, limit, |entry| entry.id);
    Ok(Json(AuditList {
        entries: found.into_iter().map(AuditView::from).collect(),
        next_cursor,
    }))
}
