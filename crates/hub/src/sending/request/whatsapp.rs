//! Bodies for WhatsApp (reference `whatsapp.md` 9.1 to 9.3, 10.1).

use serde_json::{Value, json};

use super::Address;
use crate::conversations::content::{
    Button, Card, Carousel, ChoiceList, ContactCard, Content, Flow, Header, Location, Media, ProductList,
};

/// The version of messages with a flow (reference `whatsapp.md` 9.3).
const FLOW_MESSAGE_VERSION: &str = "3";

pub(super) fn body(address: &Address, content: &Content, refers_to: Option<&str>, callback: &str) -> Value {
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "biz_opaque_callback_data": callback,
    });
    match address {
        Address::Phone(digits) => body["to"] = format!("+{digits}").into(),
        Address::UserId(id) | Address::Igsid(id) | Address::Email(id) => body["recipient"] = id.as_str().into(),
        Address::CommentAuthor(_) | Address::Comment(_) | Address::Mention { .. } => {
            unreachable!("comments are on Instagram alone")
        }
    }
    // A reply to a template shows no quotation, and is no error; a reaction has its message in itself (reference `whatsapp.md` 9.1).
    if let Some(message_id) = refers_to.filter(|_| !content.is_aside()) {
        body["context"] = json!({ "message_id": message_id });
    }
    let (kind, value) = part(content, refers_to);
    body["type"] = kind.into();
    body[kind] = value;
    body
}

/// The name of the object that says what is said, and the object.
fn part(content: &Content, refers_to: Option<&str>) -> (&'static str, Value) {
    match content {
        Content::Text { text, preview_url } => ("text", json!({ "body": text, "preview_url": preview_url })),
        Content::Image(media) => ("image", with_caption(media)),
        Content::Video(media) => ("video", with_caption(media)),
        Content::Audio(media) => {
            let mut audio = file(media);
            if media.voice {
                audio["voice"] = true.into();
            }
            ("audio", audio)
        }
        Content::Document(media) => {
            let mut document = with_caption(media);
            put(&mut document, "filename", media.filename.as_deref());
            ("document", document)
        }
        Content::Sticker(media) => ("sticker", file(media)),
        Content::Location(location) => ("location", place(location)),
        Content::Contacts { contacts } => {
            let cards = contacts.iter().filter_map(|card| {
                let card: ContactCard = serde_json::from_value(card.clone()).ok()?;
                serde_json::to_value(card.for_sending()).ok()
            });
            ("contacts", cards.collect::<Vec<Value>>().into())
        }
        Content::Template(template) => (
            "template",
            json!({ "name": template.name, "language": { "code": template.language }, "components": template.components }),
        ),
        Content::Reaction(react) => (
            "reaction",
            json!({ "message_id": refers_to, "emoji": react.emoji().unwrap_or_default() }),
        ),
        other => ("interactive", interactive(other)),
    }
}

/// By Meta's id where it has one: "faster and more reliable" (reference `whatsapp.md` 9.2).
fn file(media: &Media) -> Value {
    match (&media.id, &media.link) {
        (Some(id), _) => json!({ "id": id }),
        (None, link) => json!({ "link": link }),
    }
}

fn with_caption(media: &Media) -> Value {
    let mut value = file(media);
    put(&mut value, "caption", media.caption.as_deref());
    value
}

/// Degrees go as text (reference `whatsapp.md` 9.2).
fn place(location: &Location) -> Value {
    let mut place = json!({
        "latitude": location.latitude.to_string(),
        "longitude": location.longitude.to_string(),
    });
    put(&mut place, "name", location.name.as_deref());
    put(&mut place, "address", location.address.as_deref());
    place
}

fn put(value: &mut Value, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        value[name] = text.into();
    }
}

fn interactive(content: &Content) -> Value {
    match content {
        Content::Buttons(buttons) => {
            let (kind, action) = match buttons.buttons.as_slice() {
                [
                    Button {
                        title, url: Some(url), ..
                    },
                ] => ("cta_url", to_page(title, url)),
                answers => (
                    "button",
                    json!({ "buttons": answers.iter().map(reply).collect::<Vec<Value>>() }),
                ),
            };
            let header = buttons.header.as_ref();
            frame(kind, header, &buttons.text, buttons.footer.as_deref(), &action)
        }
        Content::List(list) => {
            let header = list.header.as_ref();
            frame("list", header, &list.text, list.footer.as_deref(), &list_action(list))
        }
        Content::Carousel(carousel) => carousel_of(carousel),
        Content::Flow(flow) => {
            let action = json!({ "name": "flow", "parameters": flow_parameters(flow) });
            frame(
                "flow",
                flow.header.as_ref(),
                &flow.text,
                flow.footer.as_deref(),
                &action,
            )
        }
        Content::Product(product) => {
            let action =
                json!({ "catalog_id": product.catalog_id, "product_retailer_id": product.product_retailer_id });
            frame("product", None, &product.text, product.footer.as_deref(), &action)
        }
        Content::ProductList(list) => {
            let (header, footer) = (Some(&list.header), list.footer.as_deref());
            frame("product_list", header, &list.text, footer, &products_action(list))
        }
        Content::Catalog(catalog) => {
            let mut action = json!({ "name": "catalog_message" });
            if let Some(product) = &catalog.thumbnail_product_retailer_id {
                action["parameters"] = json!({ "thumbnail_product_retailer_id": product });
            }
            frame(
                "catalog_message",
                None,
                &catalog.text,
                catalog.footer.as_deref(),
                &action,
            )
        }
        Content::LocationRequest(ask) => {
            let action = json!({ "name": "send_location" });
            frame("location_request_message", None, &ask.text, None, &action)
        }
        Content::ContactRequest(ask) => {
            let action = json!({ "name": "request_contact_info" });
            frame("request_contact_info", None, &ask.text, None, &action)
        }
        Content::CallPermissionRequest(ask) => {
            let action = json!({ "name": "call_permission_request" });
            frame("call_permission_request", None, &ask.text, None, &action)
        }
        Content::AddressRequest(form) => {
            let action = json!({ "name": "address_message", "parameters": { "country": form.country } });
            frame("address_message", None, &form.text, None, &action)
        }
        other => unreachable!("`{}` is refused before it is queued", other.kind()),
    }
}

fn frame(kind: &str, header: Option<&Header>, text: &str, footer: Option<&str>, action: &Value) -> Value {
    let mut value = json!({ "type": kind, "body": { "text": text }, "action": action });
    if let Some(header) = header {
        value["header"] = header_of(header);
    }
    if let Some(footer) = footer {
        value["footer"] = json!({ "text": footer });
    }
    value
}

fn header_of(header: &Header) -> Value {
    match header {
        Header::Text { text } => json!({ "type": "text", "text": text }),
        Header::Image(media) => json!({ "type": "image", "image": file(media) }),
        Header::Video(media) => json!({ "type": "video", "video": file(media) }),
        Header::Document(media) => {
            let mut document = file(media);
            put(&mut document, "filename", media.filename.as_deref());
            json!({ "type": "document", "document": document })
        }
    }
}

fn reply(button: &Button) -> Value {
    json!({ "type": "reply", "reply": { "id": button.payload, "title": button.title } })
}

fn to_page(title: &str, url: &str) -> Value {
    json!({ "name": "cta_url", "parameters": { "display_text": title, "url": url } })
}

fn list_action(list: &ChoiceList) -> Value {
    let sections = list.sections.iter().map(|section| {
        let rows = section.rows.iter().map(|row| {
            let mut value = json!({ "id": row.payload, "title": row.title });
            put(&mut value, "description", row.description.as_deref());
            value
        });
        let mut value = json!({ "rows": rows.collect::<Vec<Value>>() });
        put(&mut value, "title", section.title.as_deref());
        value
    });
    json!({ "button": list.button, "sections": sections.collect::<Vec<Value>>() })
}

fn products_action(list: &ProductList) -> Value {
    let sections = list.sections.iter().map(|section| {
        let products = section.products.iter();
        let products = products.map(|product| json!({ "product_retailer_id": product }));
        let mut value = json!({ "product_items": products.collect::<Vec<Value>>() });
        put(&mut value, "title", section.title.as_deref());
        value
    });
    json!({ "catalog_id": list.catalog_id, "sections": sections.collect::<Vec<Value>>() })
}

fn flow_parameters(flow: &Flow) -> Value {
    let mut parameters = json!({
        "flow_message_version": FLOW_MESSAGE_VERSION,
        "flow_cta": flow.button,
        "mode": if flow.draft { "draft" } else { "published" },
        "flow_action": if flow.data_exchange { "data_exchange" } else { "navigate" },
    });
    put(&mut parameters, "flow_id", flow.flow_id.as_deref());
    put(&mut parameters, "flow_name", flow.flow_name.as_deref());
    put(&mut parameters, "flow_token", flow.token.as_deref());
    if let Some(screen) = &flow.screen {
        let mut payload = json!({ "screen": screen });
        if let Some(data) = &flow.data {
            payload["data"] = data.clone().into();
        }
        parameters["flow_action_payload"] = payload;
    }
    parameters
}

fn carousel_of(carousel: &Carousel) -> Value {
    let cards: Vec<Value> = carousel
        .cards
        .iter()
        .enumerate()
        .map(|(index, card)| card_of(index, card))
        .collect();
    let text = carousel.text.as_deref().unwrap_or_default();
    frame("carousel", None, text, None, &json!({ "cards": cards }))
}

fn card_of(index: usize, card: &Card) -> Value {
    if let Some(product) = &card.product {
        let action = json!({ "catalog_id": product.catalog_id, "product_retailer_id": product.product_retailer_id });
        return json!({ "card_index": index, "type": "product", "action": action });
    }
    let (title, url) = match card.buttons.first() {
        Some(button) => (button.title.as_str(), button.url.as_deref().unwrap_or_default()),
        None => ("", ""),
    };
    let mut value = json!({ "card_index": index, "type": "cta_url", "action": to_page(title, url) });
    if let Some(header) = &card.header {
        value["header"] = header_of(header);
    }
    if let Some(text) = &card.text {
        value["body"] = json!({ "text": text });
    }
    value
}
