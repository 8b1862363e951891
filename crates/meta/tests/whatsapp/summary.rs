//! What was understood of an event, as compact JSON: only what is there, so that a fixture can be read at a glance.

use serde_json::{Map, Value, json};
use tidings_meta::whatsapp::{
    AppStateAction, Change, Contact, Content, ErrorItem, HistoryItem, Message, Person, Preference, Status, SystemKind,
    parse,
};

/// The summary of an event's `raw`, or `{"error": reason}`.
pub fn summary(raw: &str) -> Value {
    match parse(raw) {
        Err(error) => json!({ "error": error.reason }),
        Ok(entry) => {
            let mut summary = change(&entry.change);
            if let Some(described) = &entry.contact {
                summary["contact"] = contact(described);
            }
            summary
        }
    }
}

fn change(change: &Change) -> Value {
    match change {
        Change::Message(said) => json!({ "message": message(said) }),
        Change::Echo(said) => json!({ "echo": message(said) }),
        Change::History(HistoryItem::Message(item)) => json!({ "history": compact(json!({
            "message": message(&item.message),
            "outbound": item.outbound,
            "status": item.status,
            "thread": person(&item.thread),
            "progress": item.progress,
        }))}),
        Change::History(HistoryItem::Declined { errors }) => {
            json!({ "history": { "declined": errors.iter().map(error).collect::<Vec<_>>() } })
        }
        Change::History(HistoryItem::Empty { progress }) => {
            json!({ "history": compact(json!({ "empty": true, "progress": progress })) })
        }
        Change::Status(step) => json!({ "status": status(step) }),
        Change::UserPreference(preference) => json!({ "user_preference": compact(json!({
            "person": person(&preference.person),
            "category": preference.category,
            "value": match &preference.value {
                Preference::Stop => "stop",
                Preference::Resume => "resume",
                Preference::Signup => "signup",
                Preference::Other(other) => other,
            },
            "detail": preference.detail,
            "signup_id": preference.signup_id,
            "at": preference.at,
        }))}),
        Change::UserIdUpdate(update) => json!({ "user_id_update": compact(json!({
            "previous": person(&update.previous),
            "current": person(&update.current),
            "detail": update.detail,
            "at": update.at,
        }))}),
        Change::AppState(state) => json!({ "app_state": compact(json!({
            "action": match &state.action {
                AppStateAction::Add => "add",
                AppStateAction::Remove => "remove",
                AppStateAction::Other(other) => other,
            },
            "person": person(&state.person),
            "full_name": state.full_name,
            "first_name": state.first_name,
            "at": state.at,
        }))}),
        Change::Errors(errors) => json!({ "errors": errors.iter().map(error).collect::<Vec<_>>() }),
        Change::UserAction(action) => json!({ "user_action": action }),
        Change::Call(call) => json!({ "call": compact(json!({
            "id": call.id,
            "event": call.event,
            "at": call.at,
            "from": person(&call.from),
            "to": person(&call.to),
            "direction": call.direction,
            "status": call.status,
            "started_at": call.started_at,
            "ended_at": call.ended_at,
            "duration_secs": call.duration_secs,
            "errors": call.errors.iter().map(error).collect::<Vec<_>>(),
        }))}),
        Change::Handover(value) => json!({ "handover": value["type"] }),
        Change::Standby(inner) => json!({ "standby": self::change(inner) }),
        Change::Account(value) => {
            json!({ "account": value.as_object().unwrap().keys().collect::<Vec<_>>() })
        }
        Change::Unknown(value) => json!({ "unknown": value }),
    }
}

fn message(message: &Message) -> Value {
    compact(json!({
        "id": message.id,
        "at": message.at,
        "from": person(&message.from),
        "to": person(&message.to),
        "group_id": message.group_id,
        "content": content(&message.content),
        "context": message.context.as_ref().map(|context| compact(json!({
            "message_id": context.message_id,
            "from": context.from,
            "forwarded": context.forwarded,
            "frequently_forwarded": context.frequently_forwarded,
            "referred_product": context.referred_product.as_ref().map(|product| json!({
                "catalog_id": product.catalog_id,
                "product_retailer_id": product.product_retailer_id,
            })),
        }))),
        "referral": message.referral.as_ref().map(|referral| compact(json!({
            "source_url": referral.source_url,
            "source_id": referral.source_id,
            "source_type": referral.source_type,
            "headline": referral.headline,
            "body": referral.body,
            "media_type": referral.media_type,
            "image_url": referral.image_url,
            "video_url": referral.video_url,
            "thumbnail_url": referral.thumbnail_url,
            "ctwa_clid": referral.ctwa_clid,
            "welcome_text": referral.welcome_text,
        }))),
        "summary": message.summary,
        "errors": message.errors.iter().map(error).collect::<Vec<_>>(),
    }))
}

fn content(said: &Content) -> Value {
    match said {
        Content::Text { body } => json!({ "text": body }),
        Content::Media(media) => json!({ media.kind.as_str(): compact(json!({
            "id": media.id,
            "mime_type": media.mime_type,
            "sha256": media.sha256,
            "caption": media.caption,
            "filename": media.filename,
            "voice": media.voice,
            "animated": media.animated,
            "url": media.url,
        }))}),
        Content::Location(place) => json!({ "location": compact(json!({
            "latitude": place.latitude,
            "longitude": place.longitude,
            "name": place.name,
            "address": place.address,
            "url": place.url,
        }))}),
        Content::Contacts(cards) => {
            json!({ "contacts": cards.iter().map(|card| &card["name"]["formatted_name"]).collect::<Vec<_>>() })
        }
        Content::Button { payload, text } => {
            json!({ "button": { "payload": payload, "text": text } })
        }
        Content::ButtonReply { id, title } => {
            json!({ "button_reply": { "id": id, "title": title } })
        }
        Content::ListReply { id, title, description } => {
            json!({ "list_reply": compact(json!({ "id": id, "title": title, "description": description })) })
        }
        Content::FlowReply { name, body, response } => {
            json!({ "flow_reply": compact(json!({ "name": name, "body": body, "response": response })) })
        }
        Content::CallPermissionReply(reply) => json!({ "call_permission_reply": compact(json!({
            "response": reply.response,
            "expires_at": reply.expires_at,
            "source": reply.source,
        }))}),
        Content::Reaction { message_id, emoji } => {
            json!({ "reaction": compact(json!({ "message_id": message_id, "emoji": emoji })) })
        }
        Content::Order(order) => json!({ "order": compact(json!({
            "catalog_id": order.catalog_id,
            "text": order.text,
            "items": order.items.iter().map(|item| compact(json!({
                "product_retailer_id": item.product_retailer_id,
                "quantity": item.quantity,
                "item_price": item.item_price,
                "currency": item.currency,
            }))).collect::<Vec<_>>(),
        }))}),
        Content::System(system) => json!({ "system": compact(json!({
            "kind": match &system.kind {
                SystemKind::ChangedNumber => "changed_number",
                SystemKind::ChangedUserId => "changed_user_id",
                SystemKind::ChangedIdentity => "changed_identity",
                SystemKind::Other(other) => other,
            },
            "body": system.body,
            "new": person(&system.new),
            "identity_hash": system.identity_hash,
        }))}),
        Content::Edit { original_id, content } => {
            json!({ "edit": { "original_id": original_id, "content": self::content(content) } })
        }
        Content::Revoke { original_id } => json!({ "revoke": { "original_id": original_id } }),
        Content::Unsupported { kind } => json!({ "unsupported": kind }),
        Content::RequestWelcome => json!({ "request_welcome": true }),
        Content::MediaPlaceholder => json!({ "media_placeholder": true }),
        Content::Unknown { kind } => json!({ "unknown": kind }),
    }
}

fn status(status: &Status) -> Value {
    let mut summary = compact(json!({
        "message_id": status.message_id,
        "status": status.status.as_str(),
        "at": status.at,
        "recipient": person(&status.recipient),
        "group_id": status.group_id,
        "participant": status.participant.as_ref().map(person),
        "callback_data": status.callback_data,
        "errors": status.errors.iter().map(error).collect::<Vec<_>>(),
        "conversation": status.conversation.as_ref().map(|conversation| compact(json!({
            "id": conversation.id,
            "expires_at": conversation.expires_at,
            "origin": conversation.origin,
        }))),
        "template_id": status.template_id,
    }));
    if let Some(pricing) = &status.pricing {
        let mut price = compact(json!({
            "model": pricing.model,
            "kind": pricing.kind,
            "category": pricing.category,
            "subtype": pricing.subtype,
        }));
        // Not compacted: `false` and absent differ.
        if let Some(billable) = pricing.billable {
            price["billable"] = billable.into();
        }
        summary["pricing"] = price;
    }
    summary
}

fn contact(contact: &Contact) -> Value {
    compact(json!({ "person": person(&contact.person), "name": contact.name, "username": contact.username }))
}

fn person(person: &Person) -> Value {
    compact(json!({ "phone": person.phone, "user_id": person.user_id, "parent_user_id": person.parent_user_id }))
}

fn error(error: &ErrorItem) -> Value {
    compact(json!({
        "code": error.code,
        "title": error.title,
        "message": error.message,
        "details": error.details,
        "href": error.href,
    }))
}

/// Without the keys whose value says "nothing here".
fn compact(value: Value) -> Value {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(said) => !said,
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
        Value::Number(_) | Value::String(_) => false,
    };
    match value {
        Value::Object(keys) => Value::Object(
            keys.into_iter()
                .filter(|(_, value)| !empty(value))
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}
