//! Who is told: the app's subscriptions, and on which accounts the app is installed (graph-api.md 10, whatsapp.md 12.3, 12.4).
//!
//! Whether a second `POST` of a field list adds or replaces is left open by Meta's pages; here it replaces. Callback
//! overrides of single accounts are refused rather than ignored.

use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use rand::Rng;
use serde_json::{Value, json};

use super::error::GraphError;
use super::params::Params;
use super::tokens::Caller;
use crate::Core;
use crate::ledger::{LedgerKind, Subject};
use crate::lock;
use crate::webhooks::{Object, Subscription};

/// `/{app-id}/subscriptions`.
pub(crate) async fn app(
    core: &Core,
    method: &str,
    app_id: &str,
    caller: &Caller,
    params: &Params,
    version: &str,
) -> Result<Value, GraphError> {
    if !matches!(caller, Caller::App { id } if id == app_id) {
        return Err(GraphError::no_permission(
            "An app access token of this app is required for its subscriptions",
        ));
    }
    match method {
        "GET" => Ok(list(core)),
        "POST" => {
            let object = object(params.required("object")?)?;
            let callback_url = params.required("callback_url")?;
            let fields = params
                .list("fields")
                .filter(|fields| !fields.is_empty())
                .ok_or_else(|| GraphError::parameter("The parameter fields is required."))?;
            let verify_token = params.required("verify_token")?;
            if params.text("include_values") == Some("false")
                || params.get("include_values") == Some(&Value::Bool(false))
            {
                return Err(GraphError::parameter(
                    "The sandbox posts values; include_values=false is not simulated",
                ));
            }
            subscribe(core, object, callback_url, verify_token, fields, version).await?;
            Ok(json!({"success": true}))
        }
        "DELETE" => {
            let mut subscriptions = lock(&core.subscriptions);
            match params.text("object") {
                None => subscriptions.clear(),
                Some(name) => {
                    let object = object(name)?;
                    let left = subscriptions.get_mut(&object).map(|subscription| {
                        let gone = params.list("fields");
                        subscription
                            .fields
                            .retain(|(field, _)| gone.as_ref().is_some_and(|gone| !gone.contains(field)));
                        subscription.fields.len()
                    });
                    if left == Some(0) {
                        subscriptions.remove(&object);
                    }
                }
            }
            Ok(json!({"success": true}))
        }
        _ => Err(GraphError::no_object(method, app_id)),
    }
}

/// Verifies the callback with the handshake and subscribes it.
pub(crate) async fn subscribe(
    core: &Core,
    object: Object,
    callback_url: &str,
    verify_token: &str,
    fields: Vec<String>,
    version: &str,
) -> Result<(), GraphError> {
    check_fields(object, &fields)?;
    let verified = verify(core, callback_url, verify_token).await;
    let detail = json!({"object": object, "callbackUrl": callback_url, "error": verified.as_ref().err()});
    core.ledger
        .write(core.clock.now(), LedgerKind::Verified, &Subject::default(), detail);
    if let Err(why) = verified {
        // The code is reported, not documented (graph-api.md 8).
        return Err(GraphError::new(
            400,
            2200,
            format!("(#2200) Callback verification failed with the following errors: {why}"),
        ));
    }
    let fields = fields.into_iter().map(|field| (field, version.to_owned())).collect();
    let subscription = Subscription {
        callback_url: callback_url.to_owned(),
        fields,
    };
    lock(&core.subscriptions).insert(object, subscription);
    Ok(())
}

/// graph-api.md 8: the challenge has to come back as the whole body of a 200.
async fn verify(core: &Core, callback_url: &str, verify_token: &str) -> Result<(), String> {
    let challenge = {
        let number = core.count_handshake();
        let mut chance = core.ids.chance("challenge", &[], number);
        chance.random_range(100_000_000..2_000_000_000).to_string()
    };
    let mut url = reqwest::Url::parse(callback_url).map_err(|_| "the callback is no address".to_owned())?;
    url.query_pairs_mut()
        .append_pair("hub.mode", "subscribe")
        .append_pair("hub.challenge", &challenge)
        .append_pair("hub.verify_token", verify_token);
    let request = Request::get(url.as_str())
        .header("user-agent", "facebookplatform/1.0")
        .body(Bytes::new())
        .map_err(|_| "the callback is no address".to_owned())?;
    let answer = core.carrier.carry(request, core.options.webhooks.timeout).await;
    let (status, body) = answer.map_err(|why| {
        if why.starts_with("timed out") {
            "the callback did not answer in time".to_owned()
        } else {
            "the callback could not be reached".to_owned()
        }
    })?;
    if status != 200 {
        let reason = StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason());
        return Err(format!(
            "HTTP Status Code = {status}; HTTP Message = {}",
            reason.unwrap_or_default()
        ));
    }
    if body == challenge.as_bytes() {
        Ok(())
    } else {
        Err("the answer is not the challenge".to_owned())
    }
}

fn list(core: &Core) -> Value {
    let subscriptions = lock(&core.subscriptions);
    let data: Vec<Value> = [Object::Instagram, Object::WhatsApp]
        .into_iter()
        .filter_map(|object| {
            let subscription = subscriptions.get(&object)?;
            let fields: Vec<Value> = subscription
                .fields
                .iter()
                .map(|(name, version)| json!({"name": name, "version": version}))
                .collect();
            Some(json!({
                "object": object, "callback_url": subscription.callback_url, "active": true, "fields": fields,
            }))
        })
        .collect();
    json!({ "data": data })
}

/// `/{waba-id}/subscribed_apps` and `/{ig-id}/subscribed_apps`; `object` says which of the two.
pub(crate) fn installed(
    core: &Core,
    method: &str,
    asset: &str,
    object: Object,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    caller.may_use(asset)?;
    let mut state = lock(&core.state);
    match method {
        "POST" => {
            if params.get("override_callback_uri").is_some() {
                return Err(GraphError::parameter("Callback overrides are not simulated"));
            }
            if object == Object::Instagram {
                let fields = params
                    .list("subscribed_fields")
                    .filter(|fields| !fields.is_empty())
                    .ok_or_else(|| GraphError::parameter("The parameter subscribed_fields is required."))?;
                check_fields(object, &fields)?;
                state.installed_fields.insert(asset.to_owned(), fields);
            }
            state.installed.insert(asset.to_owned());
            Ok(json!({"success": true}))
        }
        "DELETE" => {
            state.installed.remove(asset);
            state.installed_fields.remove(asset);
            Ok(json!({"success": true}))
        }
        "GET" if !state.installed.contains(asset) => Ok(json!({"data": []})),
        "GET" => {
            let item = match object {
                Object::WhatsApp => {
                    let app = &state.app;
                    let link = format!("https://www.facebook.com/games/?app_id={}", app.id);
                    json!({"whatsapp_business_api_data": {"id": app.id, "name": app.name, "link": link}})
                }
                Object::Instagram => {
                    let fields = state
                        .installed_fields
                        .get(asset)
                        .cloned()
                        .unwrap_or_else(|| object.fields().iter().map(|field| (*field).to_owned()).collect());
                    json!({"app_id": state.instagram_app.id, "subscribed_fields": fields})
                }
            };
            Ok(json!({"data": [item]}))
        }
        _ => Err(GraphError::no_object(method, asset)),
    }
}

fn object(name: &str) -> Result<Object, GraphError> {
    Object::from_name(name)
        .ok_or_else(|| GraphError::parameter("Param object must be one of {whatsapp_business_account, instagram}"))
}

/// A wrong spelling is answered with the list of allowed values (instagram.md 2.3).
fn check_fields(object: Object, fields: &[String]) -> Result<(), GraphError> {
    let allowed = object.fields();
    match fields.iter().position(|field| !allowed.contains(&field.as_str())) {
        None => Ok(()),
        Some(position) => Err(GraphError::parameter(format!(
            "Param subscribed_fields[{position}] must be one of {{{}}} - got \"{}\".",
            allowed.join(", ").to_uppercase(),
            fields[position]
        ))),
    }
}
