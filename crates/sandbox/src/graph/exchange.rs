//! Tokens for codes, longer tokens for shorter ones, and their end (graph-api.md 7, instagram.md 1.3).
//!
//! None of these calls bears a token in its header: each brings what it exchanges, and the secret of the app that it was made for. What a token
//! was exchanged for does not end it. The reference names no code for an exchange that is not allowed; here it is 100.

use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::params::Params;
use super::posts::{BASIC, permit};
use super::tokens::{self, Caller};
use crate::Core;
use crate::accounts::mint;
use crate::lock;
use crate::state::State;
use crate::world::{Token, TokenKind};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// How long a token lives that somebody gets by logging in.
const SHORT_MILLIS: i64 = 60 * MINUTE;
/// A token that was to live no longer than this is a short one.
const SHORT_MILLIS_MAX: i64 = 2 * SHORT_MILLIS;
/// How long one lives that it is exchanged for.
const LONG_MILLIS: i64 = 60 * DAY;
/// How old a token has to be that is refreshed.
const REFRESH_AGE_MILLIS: i64 = DAY;
/// How long a code is good.
const CODE_MILLIS: i64 = 60 * MINUTE;

/// Which of these calls a request is, by its path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Exchange {
    /// `/oauth/access_token`: of both Facebook's and Instagram's hosts.
    OAuth,
    /// `/oauth/revoke`.
    Revoke,
    /// `/access_token` of Instagram's host.
    Longer,
    /// `/refresh_access_token` of Instagram's host.
    Refresh,
}

impl Exchange {
    pub(super) fn of(path: &[&str]) -> Option<Self> {
        match path {
            ["oauth", "access_token"] => Some(Self::OAuth),
            ["oauth", "revoke"] => Some(Self::Revoke),
            ["access_token"] => Some(Self::Longer),
            ["refresh_access_token"] => Some(Self::Refresh),
            _ => None,
        }
    }

    pub(super) fn answer(self, core: &Core, params: &Params) -> Result<Value, GraphError> {
        let now = core.clock.now();
        let mut state = lock(&core.state);
        let state = &mut *state;
        match self {
            Self::Revoke => revoke(state, params, now),
            Self::Longer => {
                grant(params, "ig_exchange_token")?;
                lengthen(state, params, now)
            }
            Self::Refresh => {
                grant(params, "ig_refresh_token")?;
                refresh(state, params, now)
            }
            Self::OAuth => match params.text("grant_type") {
                Some("client_credentials") => {
                    let app = client(state, params)?;
                    let secret = params.required("client_secret")?;
                    Ok(json!({"access_token": format!("{app}|{secret}"), "token_type": "bearer"}))
                }
                Some("fb_exchange_token") => exchange(state, params, now),
                // Facebook's dialog needs no grant type with its code, Instagram's does.
                None | Some("authorization_code") => by_code(state, params, now),
                Some(_) => Err(GraphError::parameter(
                    "Param grant_type must be one of {client_credentials, fb_exchange_token, authorization_code}",
                )),
            },
        }
    }
}

fn grant(params: &Params, wanted: &str) -> Result<(), GraphError> {
    if params.required("grant_type")? == wanted {
        Ok(())
    } else {
        Err(GraphError::parameter(format!(
            "Param grant_type must be one of {{{wanted}}}"
        )))
    }
}

/// The id of the app that asks, with its secret.
fn client(state: &State, params: &Params) -> Result<String, GraphError> {
    let id = params.required("client_id")?;
    tokens::check_app(state, id, params.required("client_secret")?)?;
    Ok(id.to_owned())
}

/// A token that is still good.
fn valid(state: &State, value: &str, now: i64) -> Result<Token, GraphError> {
    match tokens::resolve(state, value, now)? {
        Caller::Holder(token) => Ok(token),
        Caller::App { .. } => Err(GraphError::parameter("The token of an app cannot be exchanged")),
    }
}

/// One like this one, from now on.
fn one_more(state: &mut State, like: &Token, now: i64, lives: Option<i64>) -> Result<Value, GraphError> {
    let token = mint(state, like, now, lives).map_err(|_| GraphError::busy())?;
    let mut answer = json!({"access_token": token, "token_type": "bearer"});
    if let Some(lives) = lives {
        answer["expires_in"] = json!(lives / 1000);
    }
    Ok(answer)
}

fn is_short(token: &Token) -> bool {
    token
        .expires_at
        .is_some_and(|ends| ends - token.issued_at <= SHORT_MILLIS_MAX)
}

/// A code for a token: once, within its hour, by the app and with the address that it was given for.
fn by_code(state: &mut State, params: &Params, now: i64) -> Result<Value, GraphError> {
    let app_id = client(state, params)?;
    let is_instagram = app_id == state.instagram_app.id;
    let redirect_uri = if is_instagram {
        grant(params, "authorization_code")?;
        params.required("redirect_uri")?
    } else {
        // Embedded Signup hands its code over within the page, without an address.
        params.text("redirect_uri").unwrap_or_default()
    };
    let code = params.required("code")?;
    let login = state
        .logins
        .take(code)
        .filter(|login| login.like.app_id == app_id)
        .ok_or_else(|| GraphError::parameter("This authorization code is invalid, or was used before"))?;
    if now - login.at >= CODE_MILLIS {
        return Err(GraphError::parameter("This authorization code has expired"));
    }
    if login.redirect_uri != redirect_uri {
        return Err(GraphError::parameter(
            "redirect_uri is not the one that the authorization code was given for",
        ));
    }
    let like = login.like;
    // That of a business lives on, that of a person does not (graph-api.md 7).
    let lives = (like.kind != TokenKind::SystemUser).then_some(SHORT_MILLIS);
    let mut answer = one_more(state, &like, now, lives)?;
    if is_instagram {
        let user_id: u64 = like.assets.first().and_then(|id| id.parse().ok()).unwrap_or_default();
        answer = json!({
            "access_token": answer["access_token"], "user_id": user_id, "permissions": like.scopes,
        });
    }
    Ok(answer)
}

/// Instagram: 60 days for a short token (instagram.md 1.3, 4).
fn lengthen(state: &mut State, params: &Params, now: i64) -> Result<Value, GraphError> {
    let token = valid(state, params.required("access_token")?, now)?;
    tokens::check_app(state, &token.app_id, params.required("client_secret")?)?;
    if token.kind != TokenKind::InstagramUser || !is_short(&token) {
        return Err(GraphError::parameter(
            "Only the short-lived access token of an Instagram user can be exchanged",
        ));
    }
    one_more(state, &token, now, Some(LONG_MILLIS))
}

/// Instagram: 60 days more for a long token that is a day old and still good (instagram.md 1.3, 5).
fn refresh(state: &mut State, params: &Params, now: i64) -> Result<Value, GraphError> {
    let token = valid(state, params.required("access_token")?, now)?;
    if token.kind != TokenKind::InstagramUser || is_short(&token) {
        return Err(GraphError::parameter(
            "Only the long-lived access token of an Instagram user can be refreshed",
        ));
    }
    permit(&Caller::Holder(token.clone()), BASIC)?;
    if now - token.issued_at < REFRESH_AGE_MILLIS {
        return Err(GraphError::parameter(
            "The access token cannot be refreshed before it is 24 hours old",
        ));
    }
    let mut answer = one_more(state, &token, now, Some(LONG_MILLIS))?;
    answer["permissions"] = json!(token.scopes.join(","));
    Ok(answer)
}

/// Facebook: 60 days for a person's short token, and 60 days more for a system user's.
fn exchange(state: &mut State, params: &Params, now: i64) -> Result<Value, GraphError> {
    let app_id = client(state, params)?;
    let token = valid(state, params.required("fb_exchange_token")?, now)?;
    if token.app_id != app_id {
        return Err(GraphError::parameter("The access token was made for another app"));
    }
    match token.kind {
        TokenKind::User if is_short(&token) => one_more(state, &token, now, Some(LONG_MILLIS)),
        // It takes a new login to go beyond them: the token comes back, with what is left.
        TokenKind::User => {
            let left = token.expires_at.map(|ends| json!((ends - now) / 1000));
            let answer = json!({"access_token": token.value, "token_type": "bearer", "expires_in": left});
            Ok(without_null(answer))
        }
        TokenKind::SystemUser if params.text("set_token_expires_in_60_days") == Some("true") => {
            one_more(state, &token, now, Some(LONG_MILLIS))
        }
        TokenKind::SystemUser => Err(GraphError::parameter(
            "The parameter set_token_expires_in_60_days is required for the token of a system user.",
        )),
        TokenKind::InstagramUser => Err(GraphError::parameter(
            "Instagram's tokens are exchanged by ig_exchange_token",
        )),
    }
}

fn without_null(answer: Value) -> Value {
    let Value::Object(fields) = answer else { return answer };
    let left: Map<String, Value> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    Value::Object(left)
}

/// The end of a system user's token.
fn revoke(state: &mut State, params: &Params, now: i64) -> Result<Value, GraphError> {
    let app_id = client(state, params)?;
    let asks = tokens::resolve(state, params.required("access_token")?, now)?;
    let value = params.required("revoke_token")?;
    let token = state
        .tokens
        .iter_mut()
        .find(|token| token.value == value && token.app_id == app_id && token.kind == TokenKind::SystemUser)
        .filter(|_| asks.app_id() == app_id)
        .ok_or_else(|| GraphError::parameter("revoke_token is not the token of a system user of this app"))?;
    token.revoked = true;
    Ok(json!({"success": true}))
}
