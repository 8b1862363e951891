//! Numbers, Instagram accounts, tokens and templates over HTTP.

use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::routing::{patch, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Read, Refusal};
use crate::Core;
use crate::accounts::{
    AccountChange, AccountError, AddedInstagramAccount, AddedNumber, Login, NewInstagramAccount, NewNumber,
    NumberChange, TokenEnd,
};
use crate::lock;
use crate::state::State;
use crate::state::usage::WEEK;
use crate::templates::TemplateChange;
use crate::world::{InstagramAccount, Number};

pub(super) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/sandbox/numbers", post(add_number))
        .route("/sandbox/numbers/{number}", patch(change_number))
        .route("/sandbox/instagram-accounts", post(add_account))
        .route("/sandbox/instagram-accounts/{account}", patch(change_account))
        .route("/sandbox/apps/{app}", patch(change_app))
        .route("/sandbox/logins", post(log_in))
        .route("/sandbox/tokens", post(mint_token))
        .route("/sandbox/tokens/expire", post(expire_tokens))
        .route("/sandbox/tokens/revoke", post(revoke_tokens))
        .route("/sandbox/templates/{name}/{language}", patch(change_template))
}

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        let (status, code) = match error {
            AccountError::Unknown { .. } => (StatusCode::NOT_FOUND, "unknown_account"),
            AccountError::Taken { .. } => (StatusCode::CONFLICT, "taken"),
            AccountError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_account"),
            AccountError::Full => (StatusCode::CONFLICT, "full"),
        };
        Self::new(status, code, error.to_string())
    }
}

pub(super) fn shown_number(state: &State, number: &Number, now: i64) -> Value {
    let blocks = state
        .usage
        .numbers
        .get(&number.id)
        .map_or(0, |usage| usage.blocks.peek(now, WEEK));
    json!({
        "phoneNumberId": number.id, "businessAccountId": number.business_account_id, "display": number.display,
        "phone": number.phone, "name": number.name, "throughput": number.throughput,
        "sharedWithPhone": number.shared_with_phone, "status": number.status, "quality": state.quality(number, now),
        "blocks": blocks, "allowed": number.allowed, "limits": number.limits, "verified": number.verified,
        "verificationCode": state.verification_codes.get(&number.id),
    })
}

pub(super) fn shown_account(account: &InstagramAccount) -> Value {
    json!({"id": account.id, "username": account.username, "name": account.name, "limits": account.limits})
}

type Created<T> = Result<(StatusCode, Json<T>), Refusal>;

async fn add_number(Extract(core): Extract<Arc<Core>>, Read(new): Read<NewNumber>) -> Created<AddedNumber> {
    Ok((StatusCode::CREATED, Json(core.add_number(new)?)))
}

async fn change_number(
    Extract(core): Extract<Arc<Core>>,
    Path(id): Path<String>,
    Read(change): Read<NumberChange>,
) -> Result<Json<Value>, Refusal> {
    core.change_number(&id, change)?;
    let now = core.clock.now();
    let state = lock(&core.state);
    Ok(Json(
        state
            .number(&id)
            .map(|number| shown_number(&state, number, now))
            .unwrap_or_default(),
    ))
}

async fn add_account(
    Extract(core): Extract<Arc<Core>>,
    Read(new): Read<NewInstagramAccount>,
) -> Created<AddedInstagramAccount> {
    Ok((StatusCode::CREATED, Json(core.add_instagram_account(new)?)))
}

async fn change_account(
    Extract(core): Extract<Arc<Core>>,
    Path(id): Path<String>,
    Read(change): Read<AccountChange>,
) -> Result<Json<Value>, Refusal> {
    core.change_account(&id, change)?;
    Ok(Json(
        lock(&core.state).account(&id).map(shown_account).unwrap_or_default(),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewToken {
    account: String,
    scopes: Option<Vec<String>>,
    expires_in_ms: Option<u64>,
}

async fn mint_token(Extract(core): Extract<Arc<Core>>, Read(new): Read<NewToken>) -> Created<Value> {
    let token = core.mint_token(&new.account, new.scopes, new.expires_in_ms)?;
    Ok((StatusCode::CREATED, Json(json!({ "token": token }))))
}

async fn log_in(Extract(core): Extract<Arc<Core>>, Read(login): Read<Login>) -> Created<Value> {
    let code = core.log_in(login)?;
    Ok((StatusCode::CREATED, Json(json!({ "code": code }))))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AppChange {
    requires_proof: bool,
}

async fn change_app(
    Extract(core): Extract<Arc<Core>>,
    Path(id): Path<String>,
    Read(change): Read<AppChange>,
) -> Result<Json<Value>, Refusal> {
    core.require_proof(&id, change.requires_proof)?;
    Ok(Json(json!({"id": id, "requiresProof": change.requires_proof})))
}

/// Which tokens: all of an account, or one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Tokens {
    Account(String),
    Token(String),
}

impl Tokens {
    fn end(&self, core: &Core, how: TokenEnd) -> Result<Json<Value>, Refusal> {
        let (Self::Account(of) | Self::Token(of)) = self;
        let ended = core.end_tokens(of, how)?;
        Ok(Json(json!({ "ended": ended })))
    }
}

async fn expire_tokens(Extract(core): Extract<Arc<Core>>, Read(tokens): Read<Tokens>) -> Result<Json<Value>, Refusal> {
    tokens.end(&core, TokenEnd::Expired)
}

async fn revoke_tokens(Extract(core): Extract<Arc<Core>>, Read(tokens): Read<Tokens>) -> Result<Json<Value>, Refusal> {
    tokens.end(&core, TokenEnd::Revoked)
}

async fn change_template(
    Extract(core): Extract<Arc<Core>>,
    Path((name, language)): Path<(String, String)>,
    Read(change): Read<TemplateChange>,
) -> Result<Json<Value>, Refusal> {
    core.change_template(&name, &language, &change)?;
    let state = lock(&core.state);
    let changed = state
        .templates
        .all()
        .iter()
        .find(|record| record.name == name && record.language == language);
    Ok(Json(json!(changed)))
}
