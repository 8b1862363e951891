//! Access tokens: who asks, and for what they may (graph-api.md 7, whatsapp.md 12.5).

use aws_lc_rs::{constant_time, hmac};
use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use super::error::GraphError;
use super::nodes;
use super::params::Params;
use super::posts::permit;
use crate::state::State;
use crate::webhooks::Object;
use crate::world::{App, Number, Token, TokenKind};

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// An app, with `id|secret`.
    App { id: String },
    /// The holder of an access token.
    Holder(Token),
}

impl Caller {
    pub(crate) fn app_id(&self) -> &str {
        match self {
            Self::App { id } => id,
            Self::Holder(token) => &token.app_id,
        }
    }

    /// Refuses a token that was not granted this asset: 200 (whatsapp.md 15, 7).
    pub(crate) fn may_use(&self, asset: &str) -> Result<(), GraphError> {
        match self {
            Self::Holder(token) if token.assets.iter().any(|granted| granted == asset) => Ok(()),
            _ => Err(GraphError::no_permission(
                "You do not have the necessary permissions required to access this object",
            )),
        }
    }

    /// The number that is asked about by a call, for whoever was granted its account.
    pub(super) fn number<'s>(&self, state: &'s State, method: &str, id: &str) -> Result<&'s Number, GraphError> {
        let number = state.number(id).ok_or_else(|| GraphError::no_object(method, id))?;
        self.may_use(&number.business_account_id)?;
        Ok(number)
    }
}

/// Who asks, before anything else of the request is looked at (graph-api.md 14, 2).
pub(crate) fn caller(state: &State, headers: &HeaderMap, params: &Params, now: i64) -> Result<Caller, GraphError> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth"))
        .map(|(_, token)| token.trim());
    // Where both are given the parameter counts: pywa subscribes an app so, with the token of a system user in the header.
    let Some(value) = params.text("access_token").or(bearer) else {
        // whatsapp.md 14.2: 200 also where no token was sent.
        return Err(GraphError::no_permission(
            "An access token is required to request this resource.",
        ));
    };
    let caller = resolve(state, value, now)?;
    match params.text("appsecret_proof") {
        Some(proof) => check_proof(state, &caller, value, proof)?,
        None if app(state, caller.app_id()).is_some_and(|app| app.requires_proof) => {
            return Err(GraphError::parameter(
                "API calls from the server require an appsecret_proof argument",
            ));
        }
        None => {}
    }
    Ok(caller)
}

/// Whose token this is, if it is one that is good.
pub(super) fn resolve(state: &State, value: &str, now: i64) -> Result<Caller, GraphError> {
    if let Some((id, secret)) = value.split_once('|') {
        check_app(state, id, secret)?;
        return Ok(Caller::App { id: id.to_owned() });
    }
    let token = state
        .tokens
        .iter()
        .find(|token| equal(&token.value, value))
        .ok_or_else(|| invalid("Invalid OAuth access token - Cannot parse access token"))?;
    match problem(token, now) {
        Some((message, subcode)) => Err(invalid(message).subcode(subcode)),
        None => Ok(Caller::Holder(token.clone())),
    }
}

/// Whether there is such an app, with this secret.
pub(super) fn check_app(state: &State, id: &str, secret: &str) -> Result<(), GraphError> {
    match app(state, id) {
        Some(app) if equal(&app.secret, secret) => Ok(()),
        _ => Err(invalid(
            "Error validating application. Invalid application ID or secret.",
        )),
    }
}

/// Refuses a token that lacks the permission that such a call takes: 10 (whatsapp.md 1, instagram.md 1.1). Calls that take another one look
/// themselves; that a token was not granted the asset at all is found there too.
pub(super) fn check_scope(state: &State, caller: &Caller, path: &[&str]) -> Result<(), GraphError> {
    let [id, rest @ ..] = path else { return Ok(()) };
    let edge = rest.first().copied().unwrap_or_default();
    let number = state.number(id);
    let account = nodes::own_account(state, caller)
        .filter(|_| *id == "me")
        .or(state.account(id));
    let (asset, scopes) = match (number, account, edge) {
        (Some(number), _, "messages" | "media" | "block_users") => (&number.business_account_id, MESSAGING),
        (Some(number), ..) => (&number.business_account_id, MANAGEMENT),
        (_, Some(account), "messages" | "message_attachments" | "conversations") => (&account.id, IG_MESSAGES),
        (_, Some(_), _) => return Ok(()),
        (None, None, _) => match nodes::asset(state, id) {
            Some((Object::WhatsApp, account)) if caller.may_use(&account).is_ok() => return permit(caller, MANAGEMENT),
            _ => return Ok(()),
        },
    };
    match caller.may_use(asset) {
        Ok(()) => permit(caller, scopes),
        Err(_) => Ok(()),
    }
}

const MESSAGING: &[&str] = &["whatsapp_business_messaging"];
const MANAGEMENT: &[&str] = &["whatsapp_business_management"];
pub(super) const IG_MESSAGES: &[&str] = &["instagram_business_manage_messages", "instagram_manage_messages"];

/// Why a token that was once given out isn't valid any more (graph-api.md 3, whatsapp.md 15, 7).
fn problem(token: &Token, now: i64) -> Option<(&'static str, i64)> {
    if token.revoked {
        Some(REVOKED)
    } else if token.expires_at.is_some_and(|expires_at| expires_at <= now) {
        Some(EXPIRED)
    } else {
        None
    }
}

const REVOKED: (&str, i64) = (
    "Error validating access token: The session is invalid because it was revoked.",
    467,
);
const EXPIRED: (&str, i64) = ("Error validating access token: Session has expired", 463);

pub(crate) fn revoked() -> GraphError {
    invalid(REVOKED.0).subcode(REVOKED.1)
}

pub(crate) fn expired() -> GraphError {
    invalid(EXPIRED.0).subcode(EXPIRED.1)
}

fn invalid(message: &str) -> GraphError {
    GraphError::new(401, 190, message)
}

/// graph-api.md 7: hex of HMAC-SHA256, the app secret over the token.
fn check_proof(state: &State, caller: &Caller, token: &str, proof: &str) -> Result<(), GraphError> {
    let key = app(state, caller.app_id()).map(|app| hmac::Key::new(hmac::HMAC_SHA256, app.secret.as_bytes()));
    let expected = key.map(|key| hex::encode(hmac::sign(&key, token.as_bytes())));
    if expected.is_some_and(|expected| equal(&expected, proof)) {
        Ok(())
    } else {
        Err(GraphError::parameter(
            "Invalid appsecret_proof provided in the API argument",
        ))
    }
}

/// `GET /debug_token`.
pub(crate) fn debug(state: &State, caller: &Caller, params: &Params, now: i64) -> Result<Value, GraphError> {
    let Caller::App { id: app_id } = caller else {
        return Err(GraphError::parameter(
            "You must provide an app access token, or a user access token that is an owner or developer of the app",
        ));
    };
    let input = params.required("input_token")?;
    let name = app(state, app_id).map(|app| app.name.clone()).unwrap_or_default();
    let Some(token) = state.tokens.iter().find(|token| equal(&token.value, input)) else {
        return Ok(json!({"data": {
            "is_valid": false, "scopes": [],
            "error": {"code": 190, "message": "Invalid OAuth access token."},
        }}));
    };
    if token.app_id != *app_id {
        return Err(GraphError::parameter(
            "The App_id in the input_token did not match the Viewing App",
        ));
    }
    let kind = match token.kind {
        TokenKind::SystemUser => "SYSTEM_USER",
        TokenKind::User | TokenKind::InstagramUser => "USER",
    };
    let expires_at = token.expires_at.map_or(0, |millis| millis / 1000);
    let mut data = json!({
        "app_id": token.app_id, "type": kind, "application": name, "data_access_expires_at": 0,
        "expires_at": expires_at, "is_valid": true, "issued_at": token.issued_at / 1000, "scopes": token.scopes,
        "granular_scopes": token.scopes.iter()
            .map(|scope| json!({"scope": scope, "target_ids": token.assets}))
            .collect::<Vec<_>>(),
        "user_id": "122100000000001",
    });
    if let Some((message, subcode)) = problem(token, now) {
        data["is_valid"] = json!(false);
        data["scopes"] = json!([]);
        data["error"] = json!({"code": 190, "message": message, "subcode": subcode});
    }
    Ok(json!({ "data": data }))
}

pub(crate) fn app<'a>(state: &'a State, id: &str) -> Option<&'a App> {
    [&state.app, &state.instagram_app].into_iter().find(|app| app.id == id)
}

fn equal(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
