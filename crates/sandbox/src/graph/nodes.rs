//! What can be read: numbers, business accounts, Instagram accounts, profiles.

use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::params::Params;
use super::tokens::Caller;
use crate::customers::people::Customer;
use crate::limits::Quality;
use crate::state::State;
use crate::state::threads::ThreadKey;
use crate::webhooks::{Object, Subscription};
use crate::world::{InstagramAccount, Number, TokenKind};

/// `GET /{phone-number-id}` (whatsapp.md 12.1).
pub(crate) fn number(
    number: &Number,
    quality: Quality,
    subscription: Option<&Subscription>,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    caller.may_use(&number.business_account_id)?;
    let usual = [
        "verified_name",
        "code_verification_status",
        "display_phone_number",
        "quality_rating",
        "platform_type",
        "throughput",
        "webhook_configuration",
        "id",
    ];
    select(
        &number_fields(number, quality, subscription),
        params.list("fields"),
        &usual,
        "WhatsAppBusinessPhoneNumber",
    )
}

/// `GET /{waba-id}/phone_numbers`.
pub(crate) fn numbers(
    state: &State,
    business_account_id: &str,
    subscription: Option<&Subscription>,
    caller: &Caller,
    params: &Params,
    now: i64,
) -> Result<Value, GraphError> {
    caller.may_use(business_account_id)?;
    let found: Result<Vec<Value>, GraphError> = state
        .numbers
        .iter()
        .filter(|number| number.business_account_id == business_account_id)
        .map(|one| number(one, state.quality(one, now), subscription, caller, params))
        .collect();
    Ok(json!({"data": found?, "paging": {"cursors": {"before": "MAZDZD", "after": "MAZDZD"}}}))
}

fn number_fields(number: &Number, quality: Quality, subscription: Option<&Subscription>) -> Map<String, Value> {
    let application = subscription.map(|subscription| subscription.callback_url.clone());
    object(json!({
        "id": number.id,
        "verified_name": number.name,
        "display_phone_number": number.display,
        "quality_rating": quality,
        "throughput": {"level": if number.pace() >= 1000 || number.pace() == 0 { "HIGH" } else { "STANDARD" }},
        "status": number.status.name(),
        "name_status": "APPROVED",
        "code_verification_status": if number.verified { "VERIFIED" } else { "NOT_VERIFIED" },
        "platform_type": "CLOUD_API",
        "account_mode": "LIVE",
        "is_official_business_account": false,
        "is_on_biz_app": number.shared_with_phone,
        "is_pin_enabled": number.pin.is_some(),
        "whatsapp_business_manager_messaging_limit": number.limits.tier(),
        "webhook_configuration": application.map(|url| json!({"application": url})),
        // Known to Meta's own clients; a field without a value is left out.
        "certificate": null, "conversational_automation": null, "country_code": null, "country_dial_code": null,
        "eligibility_for_api_business_global_search": null, "is_preverified_number": null, "last_onboarded_time": null,
        "messaging_limit_tier": null, "new_certificate": null, "new_name_status": null, "quality_score": {"score": quality},
        "search_visibility": null,
        "health_status": {"can_send_message": number.status.health(), "entities": [
            {"entity_type": "PHONE_NUMBER", "id": number.id, "can_send_message": number.status.health()},
            {"entity_type": "WABA", "id": number.business_account_id, "can_send_message": "AVAILABLE"},
        ]},
    }))
}

/// What a profile may say, and how long (whatsapp.md 12.6); beside these there are at most two `websites`.
const PROFILE_TEXTS: [(&str, usize); 6] = [
    ("about", 139),
    ("address", 256),
    ("description", 512),
    ("email", 128),
    ("profile_picture_handle", usize::MAX),
    ("vertical", 64),
];
const WEBSITES_MAX: usize = 2;
const WEBSITE_MAX: usize = 256;

/// `GET /{phone-number-id}/whatsapp_business_profile` (whatsapp.md 12.6).
pub(crate) fn business_profile(
    state: &State,
    number: &Number,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    caller.may_use(&number.business_account_id)?;
    let mut fields = object(json!({
        "about": null, "address": null, "description": null, "email": null, "profile_picture_url": null, "vertical": "UNDEFINED",
        "websites": null, "messaging_product": "whatsapp",
    }));
    fields.extend(state.profiles.get(&number.id).cloned().unwrap_or_default());
    let mut profile = select(
        &fields,
        params.list("fields"),
        &["messaging_product"],
        "WhatsAppBusinessProfile",
    )?;
    profile["messaging_product"] = json!("whatsapp");
    Ok(json!({ "data": [profile] }))
}

/// `POST /{phone-number-id}/whatsapp_business_profile`: what is given is changed.
pub(crate) fn change_business_profile(
    state: &mut State,
    number_id: &str,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    let number = caller.number(state, "POST", number_id)?;
    params.check_product()?;
    let number = number.id.clone();
    let mut changes = Map::new();
    for (name, max) in PROFILE_TEXTS {
        let Some(value) = params.get(name) else { continue };
        let text = value.as_str().filter(|text| text.chars().count() <= max);
        let text = text.ok_or_else(|| {
            GraphError::parameter(format!("Param {name} must be a string of at most {max} characters."))
        })?;
        if name == "about" && text.is_empty() {
            return Err(GraphError::parameter("Param about must have at least one character."));
        }
        // What a handle leads to is not kept.
        if name != "profile_picture_handle" {
            changes.insert(name.to_owned(), json!(text));
        }
    }
    if let Some(websites) = params.list("websites") {
        if websites.len() > WEBSITES_MAX || websites.iter().any(|website| website.chars().count() > WEBSITE_MAX) {
            return Err(GraphError::parameter(format!(
                "Param websites must be at most {WEBSITES_MAX} of at most {WEBSITE_MAX} characters."
            )));
        }
        changes.insert("websites".to_owned(), json!(websites));
    }
    state.profiles.entry(number).or_default().extend(changes);
    Ok(json!({"success": true}))
}

/// `GET /{waba-id}`.
pub(crate) fn business_account(id: &str, caller: &Caller, params: &Params) -> Result<Value, GraphError> {
    caller.may_use(id)?;
    let fields = object(json!({
        "id": id, "name": "Sandbox business", "currency": "EUR", "timezone_id": "1",
        // Known to Meta's own clients; a field without a value is left out.
        "business_verification_status": null, "country": null, "disable_marketing_messages_on_cloud_api": null,
        "is_enabled_for_insights": null, "marketing_messages_lite_api_status": null,
        "marketing_messages_onboarding_status": null, "on_behalf_of_business_info": null, "owner_business_info": null,
        "ownership_type": null, "status": "ACTIVE", "subscribed_apps": null,
        "account_review_status": "APPROVED", "message_template_namespace": "5a17db0c_5a17_4db0_8c00_000000000001",
        "health_status": {"can_send_message": "AVAILABLE", "entities": [
            {"entity_type": "WABA", "id": id, "can_send_message": "AVAILABLE"},
        ]},
    }));
    let usual = ["id", "name", "timezone_id", "message_template_namespace"];
    select(&fields, params.list("fields"), &usual, "WhatsAppBusinessAccount")
}

/// `GET /me` and `GET /{ig-id}` (instagram.md 1.2, 1.3).
pub(crate) fn account(account: &InstagramAccount, caller: &Caller, params: &Params) -> Result<Value, GraphError> {
    caller.may_use(&account.id)?;
    let fields = object(json!({
        "id": account.scoped_id, "user_id": account.id, "username": account.username, "name": account.name,
        "account_type": "BUSINESS", "profile_picture_url": Value::Null, "followers_count": 1200, "follows_count": 80,
        "media_count": 0, "biography": "", "website": "",
    }));
    select(&fields, params.list("fields"), &["id", "username"], "IGUser")
}

/// `GET /me` for whoever holds the token.
pub(crate) fn me(state: &State, caller: &Caller, params: &Params) -> Result<Value, GraphError> {
    match own_account(state, caller) {
        Some(found) => account(found, caller, params),
        None => match caller {
            Caller::Holder(token) if token.kind != TokenKind::InstagramUser => {
                let name = match token.kind {
                    TokenKind::SystemUser => "Sandbox system user",
                    TokenKind::User | TokenKind::InstagramUser => "Sandbox person",
                };
                let fields = object(json!({"id": "122100000000001", "name": name}));
                select(&fields, params.list("fields"), &["id", "name"], "User")
            }
            _ => Err(GraphError::no_object("GET", "me")),
        },
    }
}

/// The Instagram account that the token belongs to.
pub(crate) fn own_account<'a>(state: &'a State, caller: &Caller) -> Option<&'a InstagramAccount> {
    match caller {
        Caller::Holder(token) if token.kind == TokenKind::InstagramUser => {
            token.assets.iter().find_map(|asset| state.account(asset))
        }
        _ => None,
    }
}

/// `GET /{igsid}` (instagram.md 3.10).
pub(crate) fn profile(
    state: &State,
    customer: &Customer,
    caller: &Caller,
    params: &Params,
) -> Result<Value, GraphError> {
    let igsid = customer.igsid.as_deref().unwrap_or_default();
    let account = own_account(state, caller).ok_or_else(|| GraphError::no_object("GET", igsid))?;
    let key = ThreadKey {
        customer: customer.id.clone(),
        account: account.id.clone(),
    };
    // Whoever never wrote has not consented.
    if state
        .threads
        .get(&key)
        .is_none_or(|thread| thread.written_by_customer == 0)
    {
        return Err(GraphError::new(
            403,
            230,
            "(#230) User consent is required to access user profile",
        ));
    }
    let fields = object(json!({
        "id": igsid, "name": customer.name, "username": customer.username, "profile_pic": Value::Null,
        "follower_count": 100, "is_verified_user": false, "is_user_follow_business": true,
        "is_business_follow_user": false,
    }));
    select(
        &fields,
        params.list("fields"),
        &["name", "username", "id"],
        "IGBusinessScopedID",
    )
}

/// Which object an account's events belong to, by id; and the id itself, for an app-scoped one.
pub(crate) fn asset(state: &State, id: &str) -> Option<(Object, String)> {
    if state.numbers.iter().any(|number| number.business_account_id == id) {
        return Some((Object::WhatsApp, id.to_owned()));
    }
    state.account(id).map(|account| (Object::Instagram, account.id.clone()))
}

/// The fields of an object that was written as JSON.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The fields asked for, of an object that has these; an unknown one fails the whole call (graph-api.md 5).
pub(super) fn select(
    object: &Map<String, Value>,
    asked: Option<Vec<String>>,
    usual: &[&str],
    kind: &str,
) -> Result<Value, GraphError> {
    let asked = asked.unwrap_or_else(|| usual.iter().map(|field| (*field).to_owned()).collect());
    let mut selected = Map::new();
    for field in asked {
        // `field{…}` and `field.limit(…)` ask for parts of a field; the whole is given.
        let name = field.split(['{', '.']).next().unwrap_or_default();
        let Some(value) = object.get(name) else {
            return Err(GraphError::parameter(format!(
                "Tried accessing nonexisting field ({name}) on node type ({kind})"
            )));
        };
        if !value.is_null() {
            selected.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(id) = object.get("id") {
        selected.entry("id").or_insert_with(|| id.clone());
    }
    Ok(Value::Object(selected))
}
