//! What is read out of the answers.
//!
//! Leniently: a value that is missing or of another shape is `None`, ids may be numbers, and enumerations stay text, since Meta's
//! lists of values are open.

use serde_json::Value;

/// What Meta said of a message that it accepted. Accepted is not sent: the rest comes by webhook.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    /// Meta's id of the message; `None` for a sender action only.
    pub message_id: Option<String>,
    /// WhatsApp: the recipient's phone number as Meta knows it (`wa_id`), which may differ from the one sent to.
    pub recipient_phone: Option<String>,
    /// WhatsApp: the recipient's business-scoped user id.
    pub recipient_user_id: Option<String>,
    /// Instagram: the recipient.
    pub recipient_id: Option<String>,
    /// WhatsApp: the group that it was sent to.
    pub group_id: Option<String>,
    /// WhatsApp: the template's quality is being assessed first (`held_for_quality_assessment`); it may still be dropped.
    pub held: bool,
    /// WhatsApp: the template is paused.
    pub paused: bool,
}

impl Sent {
    /// `None` without a message id.
    pub(super) fn read_message(answer: &Value) -> Option<Self> {
        let sent = Self::read_action(answer)?;
        sent.message_id.is_some().then_some(sent)
    }

    /// Reads the answer to a call that makes a comment, which has an id alone (reference `instagram.md` 4). `None` without one.
    pub(super) fn read_node(answer: &Value) -> Option<Self> {
        Some(Self {
            message_id: Some(text(answer, "id")?),
            ..Self::default()
        })
    }

    /// Reads both products' answers (reference `whatsapp.md` 9.1, `instagram.md` 3.1). `None` where it is not an object.
    pub(super) fn read_action(answer: &Value) -> Option<Self> {
        answer.as_object()?;
        let message = &answer["messages"][0];
        let contact = &answer["contacts"][0];
        let status = message["message_status"].as_str();
        Some(Self {
            message_id: text(message, "id").or_else(|| text(answer, "message_id")),
            recipient_phone: text(contact, "wa_id"),
            recipient_user_id: text(contact, "user_id"),
            recipient_id: text(answer, "recipient_id"),
            group_id: text(message, "group_id"),
            held: status == Some("held_for_quality_assessment"),
            paused: status == Some("paused"),
        })
    }
}

/// How a WhatsApp number stands (reference `whatsapp.md` 12.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PhoneNumberNode {
    /// Meta's id of the number.
    pub id: String,
    /// The number for people, with spaces.
    pub display_phone_number: Option<String>,
    /// The name that contacts see.
    pub verified_name: Option<String>,
    /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`, `NA`.
    pub quality_rating: Option<String>,
    /// `STANDARD` (80 messages a second), `HIGH` (1000), `NOT_APPLICABLE`.
    pub throughput_level: Option<String>,
    /// `CONNECTED`, without which nothing can be sent, or why not.
    pub status: Option<String>,
    /// Whether the name is approved.
    pub name_status: Option<String>,
    /// `VERIFIED`, `NOT_VERIFIED`, `EXPIRED`.
    pub code_verification_status: Option<String>,
    /// `CLOUD_API` for a number that can be used here.
    pub platform_type: Option<String>,
    /// `LIVE` for a number in use.
    pub account_mode: Option<String>,
    /// The messaging limit of the whole portfolio, such as `TIER_2K`.
    pub messaging_limit: Option<String>,
    /// Whether it bears the official mark.
    pub is_official: Option<bool>,
    /// Whether the number is also used in the phone app, which lowers its pace.
    pub is_on_phone_app: Option<bool>,
    /// The callback URL that is in force for this number: its own, else its account's, else the app's.
    pub callback_url: Option<String>,
    /// Whether messages can be sent, by Meta's own account; the best single answer to why not.
    pub health: Option<Health>,
}

/// What Meta says of the chain of things that sending depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// `AVAILABLE`, `LIMITED` or `BLOCKED`: the worst of all entities.
    pub can_send_message: Option<String>,
    /// What is wrong, over all entities.
    pub errors: Vec<HealthError>,
    /// What limits sending without blocking it, over all entities, in Meta's words.
    pub notes: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthError {
    /// `PHONE_NUMBER`, `WABA`, `BUSINESS`, `APP`.
    pub entity_type: Option<String>,
    /// Meta's id of the entity.
    pub entity_id: Option<String>,
    /// The code, from a number space of its own.
    pub code: Option<i64>,
    /// Meta's description.
    pub description: Option<String>,
    /// Meta's advice.
    pub possible_solution: Option<String>,
}

impl PhoneNumberNode {
    pub(super) fn read(node: &Value) -> Option<Self> {
        let callbacks = &node["webhook_configuration"];
        // The order of override (reference `whatsapp.md` 2.5).
        let callback_url = ["phone_number", "whatsapp_business_account", "application"]
            .into_iter()
            .find_map(|level| text(callbacks, level));
        Some(Self {
            id: text(node, "id")?,
            display_phone_number: text(node, "display_phone_number"),
            verified_name: text(node, "verified_name"),
            quality_rating: text(node, "quality_rating"),
            throughput_level: text(&node["throughput"], "level"),
            status: text(node, "status"),
            name_status: text(node, "name_status"),
            code_verification_status: text(node, "code_verification_status"),
            platform_type: text(node, "platform_type"),
            account_mode: text(node, "account_mode"),
            messaging_limit: text(node, "whatsapp_business_manager_messaging_limit"),
            is_official: node["is_official_business_account"].as_bool(),
            is_on_phone_app: node["is_on_biz_app"].as_bool(),
            callback_url,
            health: Health::read(&node["health_status"]),
        })
    }
}

impl Health {
    fn read(health: &Value) -> Option<Self> {
        health.as_object()?;
        let mut errors = Vec::new();
        let mut notes = Vec::new();
        for entity in items(&health["entities"]) {
            notes.extend(texts(items(&entity["additional_info"])));
            for error in items(&entity["errors"]) {
                errors.push(HealthError {
                    entity_type: text(entity, "entity_type"),
                    entity_id: text(entity, "id"),
                    code: error["error_code"].as_i64(),
                    description: text(error, "error_description"),
                    possible_solution: text(error, "possible_solution"),
                });
            }
        }
        Some(Self {
            can_send_message: text(health, "can_send_message"),
            errors,
            notes,
        })
    }
}

/// An Instagram professional account, by its own token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstagramAccount {
    /// The account's id as it stands in webhooks: what an account is known by (reference `instagram.md` 1.2).
    pub user_id: String,
    /// The id of the same account within this app; never in a webhook.
    pub app_scoped_id: Option<String>,
    /// The account's name behind the `@`.
    pub username: Option<String>,
    /// The account's name for people.
    pub name: Option<String>,
    /// Which kind of professional account it is.
    pub account_type: Option<String>,
    /// The picture's URL, which dies within days.
    pub picture_url: Option<String>,
    /// How many follow the account.
    pub followers_count: Option<i64>,
    /// How many the account follows.
    pub follows_count: Option<i64>,
    /// How many posts it has.
    pub media_count: Option<i64>,
}

impl InstagramAccount {
    /// Answers are documented inside `data[]` and seen flat: both are read (reference `instagram.md` 1.3).
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let node = answer["data"].get(0).unwrap_or(answer);
        Some(Self {
            user_id: text(node, "user_id")?,
            app_scoped_id: text(node, "id"),
            username: text(node, "username"),
            name: text(node, "name"),
            account_type: text(node, "account_type"),
            picture_url: text(node, "profile_picture_url"),
            followers_count: node["followers_count"].as_i64(),
            follows_count: node["follows_count"].as_i64(),
            media_count: node["media_count"].as_i64(),
        })
    }
}

/// A person who wrote to an Instagram account. Everything may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// The name for people.
    pub name: Option<String>,
    /// The name behind the `@`.
    pub username: Option<String>,
    /// The picture's URL, which dies within days.
    pub picture_url: Option<String>,
}

impl Profile {
    pub(super) fn read(node: &Value) -> Option<Self> {
        node.as_object()?;
        Some(Self {
            name: text(node, "name"),
            username: text(node, "username"),
            picture_url: text(node, "profile_pic"),
        })
    }
}

/// What a token is good for (reference `graph-api.md` 7).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenReport {
    /// Whether it works.
    pub is_valid: bool,
    /// Whose app it is for.
    pub app_id: Option<String>,
    /// `USER`, `PAGE`, `APP`, `SYSTEM_USER`.
    pub kind: Option<String>,
    /// Whose token it is.
    pub user_id: Option<String>,
    /// Seconds since 1970; `None` for never.
    pub expires_at: Option<i64>,
    /// When reading people's data ends, seconds since 1970; `None` for never.
    pub data_access_expires_at: Option<i64>,
    /// Seconds since 1970.
    pub issued_at: Option<i64>,
    /// What it permits.
    pub scopes: Vec<String>,
    /// What it permits on which assets.
    pub granular_scopes: Vec<GranularScope>,
    /// Why it does not work.
    pub error: Option<TokenError>,
}

/// A permission on certain assets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GranularScope {
    /// The permission.
    pub scope: String,
    /// The assets; `None` for all that were granted (reference `whatsapp.md` 12.5).
    pub target_ids: Option<Vec<String>>,
}

/// Why a token does not work; [`crate::error::explain_code`] knows the codes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenError {
    /// Meta's code.
    pub code: Option<i64>,
    /// Meta's subcode.
    pub subcode: Option<i64>,
    /// Meta's text.
    pub message: Option<String>,
}

impl TokenReport {
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let data = &answer["data"];
        // Zero means never.
        let time = |key: &str| data[key].as_i64().filter(|seconds| *seconds > 0);
        let granular_scopes = items(&data["granular_scopes"])
            .iter()
            .filter_map(|granular| {
                Some(GranularScope {
                    scope: text(granular, "scope")?,
                    target_ids: granular["target_ids"].as_array().map(|ids| texts(ids)),
                })
            })
            .collect();
        let error = data["error"].as_object().map(|_| TokenError {
            code: data["error"]["code"].as_i64(),
            subcode: data["error"]["subcode"].as_i64(),
            message: text(&data["error"], "message"),
        });
        Some(Self {
            is_valid: data["is_valid"].as_bool()?,
            app_id: text(data, "app_id"),
            kind: text(data, "type"),
            user_id: text(data, "user_id"),
            expires_at: time("expires_at"),
            data_access_expires_at: time("data_access_expires_at"),
            issued_at: time("issued_at"),
            scopes: texts(items(&data["scopes"])),
            granular_scopes,
            error,
        })
    }
}

/// What Meta calls now (reference `graph-api.md` 10.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActiveSubscription {
    /// `whatsapp_business_account`, `instagram`…
    pub object: String,
    /// Where Meta posts to.
    pub callback_url: Option<String>,
    /// Whether it does.
    pub active: bool,
    /// For what.
    pub fields: Vec<SubscribedField>,
}

/// One field of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscribedField {
    /// Its name.
    pub name: String,
    /// The version that its payloads follow, whatever the version of our calls (reference `graph-api.md` 1).
    pub version: Option<String>,
}

impl ActiveSubscription {
    pub(super) fn read_list(answer: &Value) -> Option<Vec<Self>> {
        let subscriptions = answer["data"].as_array()?.iter().filter_map(|node| {
            let field = |field: &Value| {
                Some(SubscribedField {
                    name: text(field, "name")?,
                    version: text(field, "version"),
                })
            };
            Some(Self {
                object: text(node, "object")?,
                callback_url: text(node, "callback_url"),
                active: node["active"].as_bool().unwrap_or(false),
                fields: items(&node["fields"]).iter().filter_map(field).collect(),
            })
        });
        Some(subscriptions.collect())
    }
}

/// An app that receives the webhooks of an account (reference `graph-api.md` 10.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstalledApp {
    /// The app's id.
    pub app_id: String,
    /// The app's name.
    pub name: Option<String>,
    /// For which fields; empty for a WhatsApp account, which takes those of the app's subscription.
    pub fields: Vec<String>,
    /// WhatsApp: the callback URL that this account has instead of the app's.
    pub override_callback_url: Option<String>,
}

impl InstalledApp {
    /// Pages name the app's `id`, Instagram accounts its `app_id`, and WhatsApp accounts put it into an object of its own.
    pub(super) fn read_list(answer: &Value) -> Option<Vec<Self>> {
        let apps = answer["data"].as_array()?.iter().filter_map(|node| {
            let app = node.get("whatsapp_business_api_data").unwrap_or(node);
            Some(Self {
                app_id: text(app, "app_id").or_else(|| text(app, "id"))?,
                name: text(app, "name"),
                fields: texts(items(&node["subscribed_fields"])),
                override_callback_url: text(node, "override_callback_uri"),
            })
        });
        Some(apps.collect())
    }
}

/// `{"success": true}`, which also comes as the string `"true"` (reference `graph-api.md` 10.1).
pub(super) fn succeeded(answer: &Value) -> Option<()> {
    let success = &answer["success"];
    (success.as_bool() == Some(true) || success.as_str() == Some("true")).then_some(())
}

/// A text that is not empty. Ids are documented as text and sometimes come as numbers.
pub(super) fn text(node: &Value, key: &str) -> Option<String> {
    text_of(node.get(key)?)
}

pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(text_of).collect()
}

/// The items of an array; none where it is not one.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
