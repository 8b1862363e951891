//! How a template looks on the customer's phone: its definition, in the shape in which Meta lists it (whatsapp.md 10.2), filled with the
//! parameters of a send (10.1).
//!
//! Nothing is refused here: whether the parameters fit is looked at before.

use serde_json::Value;

use crate::state::threads::{Attached, Card, Choice, Offer, Place, ProductSection, Products, Shown};

/// What the phone shows. `definition` and `sent` are the components of the template and of the message.
pub(super) fn look(definition: &[Value], sent: &[Value]) -> Shown {
    let mut shown = Shown::default();
    for part in definition {
        match part["type"].as_str().unwrap_or_default().to_uppercase().as_str() {
            "HEADER" => header(&mut shown, part, sent),
            "BODY" => {
                shown.text = Some(filled(
                    part["text"].as_str().unwrap_or_default(),
                    &parameters(sent, "body"),
                ));
            }
            "FOOTER" => shown.footer = part["text"].as_str().map(str::to_owned),
            "BUTTONS" => shown.buttons = buttons(part, sent, &mut shown.products),
            "LIMITED_TIME_OFFER" => {
                let sent = parameters(sent, "limited_time_offer");
                let ends_at = sent
                    .first()
                    .and_then(|sent| sent["limited_time_offer"]["expiration_time_ms"].as_i64());
                let text = part["limited_time_offer"]["text"]
                    .as_str()
                    .unwrap_or("Limited-time offer");
                shown.offer = Some(Offer {
                    text: text.to_owned(),
                    ends_at,
                });
            }
            "CAROUSEL" => shown.cards = cards(part, sent),
            _ => {}
        }
    }
    // An authentication template has no text of its own; this is what it says to a reader of English.
    if shown.text.is_none() {
        let code = parameters(sent, "body").first().and_then(|code| code["text"].as_str());
        shown.text = code.map(|code| format!("*{code}* is your verification code."));
    }
    shown
}

fn cards(part: &Value, sent: &[Value]) -> Vec<Card> {
    let none = Vec::new();
    let defined = part["cards"].as_array().unwrap_or(&none);
    let carousel = sent.iter().find(|component| is_type(component, "carousel"));
    let sent = carousel
        .and_then(|carousel| carousel["cards"].as_array())
        .unwrap_or(&none);
    let card = |(position, defined): (usize, &Value)| {
        let sent = sent
            .iter()
            .find(|card| card["card_index"] == position)
            .and_then(|card| card["components"].as_array());
        let face = look(defined["components"].as_array().unwrap_or(&none), sent.unwrap_or(&none));
        Card {
            product: face
                .products
                .and_then(|products| products.sections.into_iter().next()?.ids.into_iter().next()),
            media: face.header_media,
            title: None,
            text: face.text,
            url: None,
            buttons: face.buttons,
        }
    };
    defined.iter().enumerate().map(card).collect()
}

fn header(shown: &mut Shown, part: &Value, sent: &[Value]) {
    let sent = parameters(sent, "header");
    let first = sent.first().copied().unwrap_or(&Value::Null);
    let format = part["format"].as_str().unwrap_or("TEXT").to_lowercase();
    match format.as_str() {
        "text" => shown.header = Some(filled(part["text"].as_str().unwrap_or_default(), &sent)),
        "image" | "video" | "document" => {
            let file = &first[&format];
            let by_id = file["id"].as_str().map(|id| format!("/sandbox/media/{id}"));
            shown.header_media = by_id
                .or_else(|| file["link"].as_str().map(str::to_owned))
                .map(|link| Attached {
                    kind: format.clone(),
                    link,
                    filename: file["filename"].as_str().map(str::to_owned),
                });
        }
        "location" => {
            let place = &first["location"];
            let degrees = |name: &str| match &place[name] {
                Value::String(text) => text.parse().ok(),
                other => other.as_f64(),
            };
            if let (Some(latitude), Some(longitude)) = (degrees("latitude"), degrees("longitude")) {
                shown.location = Some(Place {
                    latitude,
                    longitude,
                    name: place["name"].as_str().map(str::to_owned),
                    address: place["address"].as_str().map(str::to_owned),
                });
            }
        }
        "product" => {
            if let Some(id) = first["product"]["product_retailer_id"].as_str() {
                shown.products = Some(Products {
                    catalog_id: first["product"]["catalog_id"].as_str().unwrap_or_default().to_owned(),
                    sections: vec![ProductSection {
                        title: None,
                        ids: vec![id.to_owned()],
                    }],
                });
            }
        }
        _ => {}
    }
}

fn buttons(part: &Value, sent: &[Value], products: &mut Option<Products>) -> Vec<Choice> {
    let none = Vec::new();
    let defined = part["buttons"].as_array().unwrap_or(&none);
    let button = |(position, defined): (usize, &Value)| {
        let component = sent.iter().find(|component| {
            let index = match &component["index"] {
                Value::String(text) => text.parse().ok(),
                other => other.as_u64(),
            };
            is_type(component, "button") && index == Some(position as u64)
        });
        let parameter = component.map_or(&Value::Null, |component| &component["parameters"][0]);
        let title = defined["text"].as_str().unwrap_or_default().to_owned();
        let mut choice = Choice {
            payload: title.clone(),
            title,
            ..Choice::default()
        };
        match defined["type"].as_str().unwrap_or_default() {
            "URL" => {
                let url = defined["url"].as_str().unwrap_or_default();
                let suffix = parameter["text"].as_str().unwrap_or_default();
                choice.url = Some(match url.split_once("{{") {
                    Some((base, _)) => format!("{base}{suffix}"),
                    None => url.to_owned(),
                });
            }
            "PHONE_NUMBER" => {
                choice.does = Some("call");
                defined["phone_number"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut choice.payload);
            }
            "COPY_CODE" => {
                choice.does = Some("copy");
                parameter["coupon_code"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut choice.payload);
                if choice.title.is_empty() {
                    "Copy offer code".clone_into(&mut choice.title);
                }
            }
            "OTP" => {
                choice.does = Some("copy");
                parameter["text"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut choice.payload);
                if choice.title.is_empty() {
                    "Copy code".clone_into(&mut choice.title);
                }
            }
            "FLOW" => {
                choice.does = Some("flow");
                parameter["action"]["flow_token"]
                    .as_str()
                    .unwrap_or("unused")
                    .clone_into(&mut choice.payload);
            }
            "CATALOG" | "SPM" => choice.does = Some("catalog"),
            "MPM" => {
                choice.does = Some("catalog");
                let sections = parameter["action"]["sections"].as_array();
                let sections = sections.unwrap_or(&none).iter().map(|section| ProductSection {
                    title: section["title"].as_str().map(str::to_owned),
                    ids: section["product_items"]
                        .as_array()
                        .unwrap_or(&none)
                        .iter()
                        .filter_map(|item| item["product_retailer_id"].as_str().map(str::to_owned))
                        .collect(),
                });
                *products = Some(Products {
                    catalog_id: String::new(),
                    sections: sections.collect(),
                });
            }
            "VOICE_CALL" => choice.does = Some("call"),
            "REQUEST_CONTACT_INFO" => {
                choice.does = Some("contact");
                if choice.title.is_empty() {
                    "Share phone number".clone_into(&mut choice.title);
                }
            }
            _ => {
                if let Some(payload) = parameter["payload"].as_str() {
                    payload.clone_into(&mut choice.payload);
                }
            }
        }
        choice
    };
    defined.iter().enumerate().map(button).collect()
}

fn is_type(component: &Value, kind: &str) -> bool {
    component["type"]
        .as_str()
        .is_some_and(|found| found.eq_ignore_ascii_case(kind))
}

/// The parameters that were sent for a part.
fn parameters<'a>(sent: &'a [Value], kind: &str) -> Vec<&'a Value> {
    sent.iter()
        .filter(|component| is_type(component, kind))
        .flat_map(|component| component["parameters"].as_array().into_iter().flatten())
        .collect()
}

/// The text with its parameters in place, by name or by position.
fn filled(text: &str, sent: &[&Value]) -> String {
    let mut filled = text.to_owned();
    for (position, parameter) in sent.iter().enumerate() {
        let value = parameter["text"]
            .as_str()
            .or_else(|| parameter["currency"]["fallback_value"].as_str())
            .or_else(|| parameter["date_time"]["fallback_value"].as_str())
            .unwrap_or_default();
        let variable = match parameter["parameter_name"].as_str() {
            Some(name) => name.to_owned(),
            None => (position + 1).to_string(),
        };
        filled = filled.replace(&format!("{{{{{variable}}}}}"), value);
    }
    filled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::look;

    #[test]
    fn every_part_of_a_template_is_shown() {
        let definition = json!([
            {"type": "HEADER", "format": "IMAGE"},
            {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"text": "Spring", "has_expiration": true}},
            {"type": "BODY", "text": "Hi {{first_name}}, {{order_no}} leaves."},
            {"type": "FOOTER", "text": "River Gate"},
            {"type": "BUTTONS", "buttons": [
                {"type": "QUICK_REPLY", "text": "Confirm"},
                {"type": "URL", "text": "Track", "url": "https://example.org/t/{{1}}"},
                {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+442079460111"},
                {"type": "COPY_CODE"}]}]);
        let sent = json!([
            {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.org/1.jpg"}}]},
            {"type": "limited_time_offer", "parameters": [{"type": "limited_time_offer",
                "limited_time_offer": {"expiration_time_ms": 1_795_593_600_000_i64}}]},
            {"type": "body", "parameters": [
                {"type": "text", "parameter_name": "order_no", "text": "8841"},
                {"type": "text", "parameter_name": "first_name", "text": "Priya"}]},
            {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [{"type": "payload", "payload": "YES"}]},
            {"type": "button", "sub_type": "url", "index": 1, "parameters": [{"type": "text", "text": "8841?c=wa"}]},
            {"type": "button", "sub_type": "copy_code", "index": "3",
                "parameters": [{"type": "coupon_code", "coupon_code": "SPRING20"}]}]);
        let shown = look(definition.as_array().unwrap(), sent.as_array().unwrap());
        let shown = serde_json::to_value(shown).unwrap();
        assert_eq!(shown["text"], "Hi Priya, 8841 leaves.");
        assert_eq!(shown["footer"], "River Gate");
        assert_eq!(
            shown["headerMedia"],
            json!({"kind": "image", "link": "https://example.org/1.jpg"})
        );
        assert_eq!(
            shown["offer"],
            json!({"text": "Spring", "endsAt": 1_795_593_600_000_i64})
        );
        assert_eq!(shown["buttons"][0]["payload"], "YES");
        assert_eq!(shown["buttons"][1]["url"], "https://example.org/t/8841?c=wa");
        assert_eq!(
            shown["buttons"][2],
            json!({"title": "Call", "payload": "+442079460111", "does": "call"})
        );
        assert_eq!(
            shown["buttons"][3],
            json!({"title": "Copy offer code", "payload": "SPRING20", "does": "copy"})
        );
    }

    #[test]
    fn the_cards_of_a_carousel_have_their_own_parts() {
        let card = json!({"components": [
            {"type": "HEADER", "format": "VIDEO"}, {"type": "BODY", "text": "Lamp {{1}}"},
            {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "This one"}]}]});
        let definition = json!([{"type": "BODY", "text": "New"}, {"type": "CAROUSEL", "cards": [card, card]}]);
        let sent = |position: usize, name: &str| {
            json!({"card_index": position, "components": [
                {"type": "header", "parameters": [{"type": "video", "video": {"id": "7"}}]},
                {"type": "body", "parameters": [{"type": "text", "text": name}]},
                {"type": "button", "sub_type": "quick_reply", "index": 0,
                    "parameters": [{"type": "payload", "payload": name}]}]})
        };
        let sent = json!([{"type": "carousel", "cards": [sent(0, "Arc"), sent(1, "Globe")]}]);
        let shown = look(definition.as_array().unwrap(), sent.as_array().unwrap());
        let texts: Vec<_> = shown.cards.iter().map(|card| card.text.as_deref().unwrap()).collect();
        assert_eq!(texts, ["Lamp Arc", "Lamp Globe"]);
        assert_eq!(shown.cards[1].media.as_ref().unwrap().link, "/sandbox/media/7");
        let payloads: Vec<_> = shown.choices().map(|choice| choice.payload.as_str()).collect();
        assert_eq!(payloads, ["Arc", "Globe"]);
    }
}
