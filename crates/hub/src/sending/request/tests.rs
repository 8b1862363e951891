use serde_json::{Value, json};

use super::limits::{LIMITS, Limit, Unit};
use super::{Address, body, check, tag_human_agent};
use crate::channels::model::ChannelKind::{self, Email, Instagram, WhatsApp};

mod samples;

use crate::conversations::content::Content;
use samples::{sample, with};

fn content(document: &Value) -> Content {
    serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{error} in {document}"))
}

#[test]
fn every_limit_holds_on_both_sides_of_its_bounds() {
    for limit in LIMITS {
        for kind in limit.kinds {
            let field = format!("content.{}", limit.field);
            let faults_at = |measure: i32| {
                let document = with(limit, kind, measure)?;
                Some(check(limit.product, &content(&document)))
            };
            let within = [limit.least, limit.most];
            for measure in within {
                let faults = faults_at(measure).unwrap_or_default();
                assert_eq!(faults, [], "{kind} with {measure} in {field}, which is allowed");
            }
            for measure in [limit.least - 1, limit.most + 1] {
                // There are no fewer than none, and of a list without elements the document has nothing.
                let is_optional = matches!(limit.unit, Unit::Elements) && limit.field == "cards[].buttons";
                if measure < 0 && limit.unit != Unit::Degrees || measure == 0 && is_optional {
                    continue;
                }
                let faults = faults_at(measure).unwrap_or_default();
                let pattern = |field: &str| {
                    let parts = field.split('.').map(|part| part.split('[').next().unwrap_or_default());
                    parts.collect::<Vec<&str>>().join(".")
                };
                let bound = if measure > limit.most { limit.most } else { limit.least };
                let names_it = faults.iter().any(|fault| {
                    let tells = fault.detail.contains(&bound.to_string()) || fault.detail == "must not be empty";
                    pattern(&fault.field) == pattern(&field) && tells
                });
                assert!(names_it, "{kind} with {measure} in {field}: {faults:?}");
            }
        }
    }
}

#[test]
fn what_belongs_together_and_what_excludes_each_other_is_told_by_its_field() {
    let link = "https://cdn.example.org/1.jpg";
    let image = |parts: Value| merged(json!({"type": "image"}), parts);
    let media_id = "med_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b";
    let buttons = |list: Value| json!({"type": "buttons", "text": "?", "buttons": list});
    let carousel = |product: ChannelKind, card: Value| {
        let card = merged(sample(product, "carousel")["cards"][0].clone(), card);
        let mut document = sample(product, "carousel");
        document["cards"][0] = card;
        document
    };
    let cases = [
        (WhatsApp, image(json!({})), "content.link"),
        (WhatsApp, image(json!({"link": link, "id": "1"})), "content.link"),
        (WhatsApp, image(json!({"mediaId": media_id, "id": "1"})), "content.link"),
        (WhatsApp, image(json!({"id": " "})), "content.id"),
        (
            WhatsApp,
            image(json!({"link": "http://cdn.example.org/1.jpg"})),
            "content.link",
        ),
        (WhatsApp, image(json!({"link": "file:///etc/passwd"})), "content.link"),
        (
            WhatsApp,
            json!({"type": "audio", "link": link, "caption": "c"}),
            "content.caption",
        ),
        (
            WhatsApp,
            json!({"type": "sticker", "link": link, "caption": "c"}),
            "content.caption",
        ),
        (
            WhatsApp,
            image(json!({"link": link, "filename": "f"})),
            "content.filename",
        ),
        (WhatsApp, image(json!({"link": link, "voice": true})), "content.voice"),
        (
            WhatsApp,
            json!({"type": "location", "latitude": 1, "longitude": 1, "url": link}),
            "content.url",
        ),
        (
            WhatsApp,
            json!({"type": "contacts", "contacts": [{"phones": []}]}),
            "content.contacts[0]",
        ),
        (
            WhatsApp,
            json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "A"}, "phone": "1"}]}),
            "content.contacts[0]",
        ),
        (
            WhatsApp,
            json!({"type": "contacts", "contacts": [{"name": {"formatted_name": ""}}]}),
            "content.contacts[0].name.formatted_name",
        ),
        (
            WhatsApp,
            json!({"type": "template", "name": "No Such", "language": "en"}),
            "content.name",
        ),
        (
            WhatsApp,
            json!({"type": "template", "name": "a", "language": "en", "components": [{}]}),
            "content.components[0].type",
        ),
        (WhatsApp, buttons(json!([{"title": "a"}])), "content.buttons[0].payload"),
        (
            WhatsApp,
            buttons(json!([{"title": "a", "payload": "a", "url": link}])),
            "content.buttons[0].url",
        ),
        (
            WhatsApp,
            buttons(json!([{"title": "a", "url": "javascript:1"}])),
            "content.buttons[0].url",
        ),
        (
            WhatsApp,
            buttons(json!([{"title": "a", "payload": "a"}, {"title": "b", "url": link}])),
            "content.buttons",
        ),
        (
            WhatsApp,
            buttons(json!([{"title": "a", "payload": "a"}, {"title": "a", "payload": "b"}])),
            "content.buttons[1].title",
        ),
        (
            WhatsApp,
            buttons(json!([{"title": "a", "payload": "a"}, {"title": "b", "payload": "a"}])),
            "content.buttons[1].payload",
        ),
        (
            WhatsApp,
            merged(
                sample(WhatsApp, "list"),
                json!({"header": {"type": "image", "link": link}}),
            ),
            "content.header.type",
        ),
        (
            WhatsApp,
            merged(
                sample(WhatsApp, "list"),
                json!({"sections": [{"rows": [{"title": "a", "payload": "a"}]},
                {"title": "s", "rows": [{"title": "b", "payload": "b"}]}]}),
            ),
            "content.sections[0].title",
        ),
        (
            WhatsApp,
            merged(
                sample(WhatsApp, "list"),
                json!({"sections": [{"rows": [{"title": "a", "payload": "a"}, {"title": "b", "payload": "a"}]}]}),
            ),
            "content.sections[0].rows[1].payload",
        ),
        (
            WhatsApp,
            merged(sample(WhatsApp, "list"), json!({"sections": [{"rows": []}]})),
            "content.sections[0].rows",
        ),
        (
            WhatsApp,
            merged(
                sample(WhatsApp, "product_list"),
                json!({"header": {"type": "image", "link": link}}),
            ),
            "content.header.type",
        ),
        (
            WhatsApp,
            merged(
                sample(WhatsApp, "product_list"),
                json!({"sections": [{"products": [""]}]}),
            ),
            "content.sections[0].products[0]",
        ),
        (
            WhatsApp,
            merged(sample(WhatsApp, "flow"), json!({"flowName": "n"})),
            "content.flowName",
        ),
        (
            WhatsApp,
            json!({"type": "flow", "text": "t", "button": "b"}),
            "content.flowId",
        ),
        (
            WhatsApp,
            merged(sample(WhatsApp, "flow"), json!({"dataExchange": true, "screen": "A"})),
            "content.screen",
        ),
        (
            WhatsApp,
            merged(sample(WhatsApp, "flow"), json!({"data": {}})),
            "content.screen",
        ),
        (
            WhatsApp,
            json!({"type": "address_request", "text": "?", "country": "NL"}),
            "content.country",
        ),
        (
            WhatsApp,
            carousel(WhatsApp, json!({"header": {"type": "video", "link": link}})),
            "content.cards[1].header.type",
        ),
        (
            WhatsApp,
            carousel(WhatsApp, json!({"header": null})),
            "content.cards[0].header",
        ),
        (
            WhatsApp,
            carousel(WhatsApp, json!({"title": "t"})),
            "content.cards[0].title",
        ),
        (
            WhatsApp,
            carousel(WhatsApp, json!({"buttons": [{"title": "a", "payload": "a"}]})),
            "content.cards[0].buttons",
        ),
        (
            WhatsApp,
            carousel(
                WhatsApp,
                json!({"product": {"catalogId": "1", "productRetailerId": "2"}}),
            ),
            "content.cards[0].product",
        ),
        (
            WhatsApp,
            merged(sample(WhatsApp, "carousel"), json!({"text": null})),
            "content.text",
        ),
        (
            Instagram,
            image(json!({"link": link, "caption": "c"})),
            "content.caption",
        ),
        (Instagram, json!({"type": "sticker", "link": link}), "content.type"),
        (
            Instagram,
            json!({"type": "document", "link": link, "filename": "f"}),
            "content.filename",
        ),
        (
            Instagram,
            json!({"type": "several", "parts": [{"type": "video", "link": link}]}),
            "content.parts[0].type",
        ),
        (
            Instagram,
            json!({"type": "several", "parts": [{"type": "image"}]}),
            "content.parts[0].link",
        ),
        (
            Instagram,
            json!({"type": "several", "text": "t", "parts": [{"type": "image", "link": link}]}),
            "content.text",
        ),
        (
            Instagram,
            json!({"type": "share", "share": "reel", "mediaId": "1"}),
            "content.share",
        ),
        (Instagram, json!({"type": "share", "share": "post"}), "content.mediaId"),
        (
            Instagram,
            json!({"type": "share", "share": "post", "mediaId": "1", "url": link}),
            "content.url",
        ),
        (Instagram, sample(WhatsApp, "buttons"), "content.header"),
        (
            Instagram,
            carousel(Instagram, json!({"title": null})),
            "content.cards[0].title",
        ),
        (
            Instagram,
            carousel(Instagram, json!({"header": {"type": "video", "link": link}})),
            "content.cards[0].header.type",
        ),
        (
            Instagram,
            carousel(Instagram, json!({"header": {"type": "image", "id": "1"}})),
            "content.cards[0].header.link",
        ),
        (
            Instagram,
            carousel(Instagram, json!({"url": "nowhere"})),
            "content.cards[0].url",
        ),
        (
            Instagram,
            carousel(
                Instagram,
                json!({"product": {"catalogId": "1", "productRetailerId": "2"}}),
            ),
            "content.cards[0].product",
        ),
        (
            Email,
            image(json!({"link": "ftp://cdn.example.org/1.jpg"})),
            "content.link",
        ),
    ];
    for (product, document, field) in cases {
        let faults = check(product, &content(&document));
        assert!(
            faults.iter().any(|fault| fault.field == field),
            "{document}: {faults:?}"
        );
    }
}

fn merged(mut document: Value, parts: Value) -> Value {
    if let (Value::Object(document), Value::Object(parts)) = (&mut document, parts) {
        document.extend(parts);
    }
    document
}

#[test]
fn what_a_product_cannot_be_sent_is_refused_by_name() {
    let cases = [
        (Instagram, sample(WhatsApp, "template")),
        (Instagram, sample(WhatsApp, "list")),
        (Instagram, sample(WhatsApp, "location")),
        (WhatsApp, sample(Instagram, "quick_replies")),
        (WhatsApp, sample(Instagram, "several")),
        (WhatsApp, json!({"type": "placeholder"})),
        (Email, sample(WhatsApp, "template")),
        (Email, sample(WhatsApp, "reaction")),
        (Email, sample(WhatsApp, "flow")),
        (Email, json!({"type": "image", "id": "1"})),
    ];
    for (product, document) in cases {
        let faults = check(product, &content(&document));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].field, "content.type", "{document} on {product}");
    }
}

#[test]
fn a_user_id_goes_into_recipient_and_never_into_to() {
    let words = Content::text("Hi");
    let user_id = Address::UserId("GB.48201937562840117365".into());
    let sent = body(&user_id, &words, None, "mark");
    assert_eq!(sent["recipient"], "GB.48201937562840117365");
    assert!(sent.get("to").is_none());
    let sent = body(&Address::Phone("447700900123".into()), &words, Some("wamid.1"), "mark");
    assert_eq!(sent["to"], "+447700900123");
    assert_eq!(sent["context"], json!({ "message_id": "wamid.1" }));
    assert_eq!(sent["biz_opaque_callback_data"], "mark");
}

#[test]
fn a_reaction_has_its_message_in_itself_and_bears_no_tag() {
    let reaction = content(&sample(WhatsApp, "reaction"));
    let sent = body(
        &Address::Phone("447700900123".into()),
        &reaction,
        Some("wamid.1"),
        "mark",
    );
    assert_eq!(sent.get("context"), None);
    assert_eq!(sent["reaction"], json!({"message_id": "wamid.1", "emoji": "\u{1f44d}"}));
    let mut sent = body(&Address::Igsid("1029384756102938".into()), &reaction, Some("MID_A"), "");
    tag_human_agent(&mut sent);
    let expected = json!({"recipient": {"id": "1029384756102938"}, "sender_action": "react",
        "payload": {"message_id": "MID_A", "reaction": "\u{1f44d}"}});
    assert_eq!(sent, expected);
}
