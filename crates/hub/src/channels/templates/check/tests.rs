//! The table of what fits a template and what does not: of each, the fields that are named and a part of what is said.

#![allow(clippy::needless_pass_by_value, reason = "a test is written where it is run")]

use serde_json::{Value, json};

use super::{check, fill, wanted};
use crate::channels::templates::model::Definition;
use crate::channels::templates::shape::Shape;
use crate::ids::TemplateId;

fn definition(is_named: bool, components: Value) -> Definition {
    Definition {
        id: TemplateId::MIN,
        business_account: "1".to_owned(),
        name: "delivery_update".to_owned(),
        language: "en_GB".to_owned(),
        external_id: "2".to_owned(),
        category: "utility".to_owned(),
        correct_category: None,
        status: "approved".to_owned(),
        reason: None,
        paused_until: None,
        quality: None,
        is_named,
        components: components.as_array().cloned().unwrap_or_default(),
        ttl_seconds: None,
        status_at: None,
        told: 0,
        created_at: 0,
        changed_at: 0,
    }
}

fn parts() -> Definition {
    definition(
        true,
        json!([
            {"type": "HEADER", "format": "IMAGE"},
            {"type": "BODY", "text": "Hi {{first_name}}, order {{order_no}} leaves today."},
            {"type": "FOOTER", "text": "River Gate"},
            {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Confirm"},
                {"type": "URL", "text": "Track", "url": "https://example.org/t/{{1}}"},
                {"type": "COPY_CODE", "text": "Copy"}, {"type": "PHONE_NUMBER", "text": "Call"}]}
        ]),
    )
}

fn booking() -> Definition {
    definition(
        false,
        json!([{"type": "BODY", "text": "Your booking on {{1}} at {{2}}."}]),
    )
}

fn login() -> Definition {
    Definition {
        category: "authentication".to_owned(),
        ..definition(
            false,
            json!([{"type": "BODY", "text": "*{{1}}* is your code."},
                {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Copy code", "url": "https://www.whatsapp.com/otp/code/?code=otp{{1}}"}]}]),
        )
    }
}

fn cards() -> Definition {
    let card =
        |text: &str| json!({"components": [{"type": "HEADER", "format": "IMAGE"}, {"type": "BODY", "text": text}]});
    definition(
        false,
        json!([{"type": "BODY", "text": "Look:"}, {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"text": "Soon", "has_expiration": true}},
            {"type": "CAROUSEL", "cards": [card("One"), card("Two, {{1}}")]}]),
    )
}

fn header() -> Value {
    json!({"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.org/1.jpg"}}]})
}

fn body(parameters: Value) -> Value {
    json!({"type": "body", "parameters": parameters})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn named(name: &str, text: &str) -> Value {
    json!({"type": "text", "parameter_name": name, "text": text})
}

fn button(sub_type: &str, index: Value, parameter: Value) -> Value {
    json!({"type": "button", "sub_type": sub_type, "index": index, "parameters": [parameter]})
}

fn track() -> Value {
    button("url", json!("1"), text("8841"))
}

fn coupon(code: &str) -> Value {
    button(
        "copy_code",
        json!(2),
        json!({"type": "coupon_code", "coupon_code": code}),
    )
}

fn words() -> Value {
    body(json!([named("order_no", "8841"), named("first_name", "Priya")]))
}

#[track_caller]
fn fits(definition: &Definition, given: Value) {
    let given = given.as_array().unwrap();
    assert_eq!(check(&Shape::of(definition), definition.is_named, given), []);
}

#[track_caller]
fn wrong(definition: &Definition, given: Value, field: &str, detail: &str) {
    let given = given.as_array().unwrap();
    let faults = check(&Shape::of(definition), definition.is_named, given);
    let found = faults
        .iter()
        .any(|fault| fault.field == field && fault.detail.contains(detail));
    assert!(found, "no `{field}` … {detail}\n{faults:#?}");
}

#[test]
fn what_fits_is_let_through() {
    fits(&parts(), json!([header(), words(), track(), coupon("SPRING20")]));
    fits(
        &parts(),
        json!([
            header(),
            words(),
            track(),
            coupon(&"x".repeat(20)),
            button("QUICK_REPLY", json!(0), json!({"type": "payload", "payload": "YES"}))
        ]),
    );
    fits(&booking(), json!([body(json!([text("Friday"), text("a    b")]))]));
    fits(
        &booking(),
        json!([body(json!([text("Friday"),
        {"type": "currency", "currency": {"fallback_value": "£10.00", "code": "GBP", "amount_1000": 10000}}]))]),
    );
    fits(
        &login(),
        json!([body(json!([text("482913")])), button("url", json!("0"), text("482913"))]),
    );
    fits(
        &definition(false, json!([{"type": "BODY", "text": "Hello."}])),
        json!([]),
    );
    fits(
        &definition(false, json!([{"type": "BODY", "text": "Hello."}])),
        json!([body(json!([]))]),
    );
    let place = definition(
        false,
        json!([{"type": "HEADER", "format": "LOCATION"}, {"type": "BODY", "text": "Here."}]),
    );
    fits(
        &place,
        json!([{"type": "header", "parameters": [{"type": "location", "location": {"latitude": "52.1", "longitude": 4.3}}]}]),
    );
    // What is not known here is left to Meta.
    let next_year = definition(false, json!([{"type": "BODY", "text": "Hello."}, {"type": "HOLOGRAM"}]));
    fits(&next_year, json!([{"type": "hologram", "parameters": [{}]}]));
    let expiry = json!({"type": "limited_time_offer", "parameters": [{"type": "limited_time_offer",
        "limited_time_offer": {"expiration_time_ms": 1_795_593_600_000_i64}}]});
    fits(
        &cards(),
        json!([expiry, {"type": "carousel", "cards": [{"card_index": 0, "components": [header()]},
        {"card_index": 1, "components": [header(), body(json!([text("x")]))]}]}]),
    );
}

#[test]
fn what_does_not_fit_is_named_with_what_is_wanted_now() {
    let parameters = |index: usize| format!("components[{index}].parameters");
    wrong(
        &booking(),
        json!([]),
        "components",
        "lacks a `body` with 2 values: `{{1}}`, `{{2}}`",
    );
    wrong(
        &booking(),
        json!([body(json!([text("x")]))]),
        &parameters(0),
        "must be 2 values: `{{1}}`, `{{2}}` now, for `Your booking on",
    );
    wrong(
        &booking(),
        json!([body(json!([text("x"), text("y"), text("z")]))]),
        &parameters(0),
        "this has 3",
    );
    wrong(
        &booking(),
        json!([body(json!([text("x"), text("")]))]),
        "components[0].parameters[1]",
        "empty",
    );
    for spaces in ["a\nb", "a\tb", "a     b"] {
        wrong(
            &booking(),
            json!([body(json!([text("x"), text(spaces)]))]),
            "components[0].parameters[1]",
            "line breaks",
        );
    }
    wrong(
        &booking(),
        json!([body(json!([text("x"), {"type": "image"}]))]),
        "components[0].parameters[1]",
        "must be",
    );
    wrong(
        &booking(),
        json!([body(json!([text("x"), text("y")])), body(json!([]))]),
        "components[1].type",
        "second",
    );
    wrong(
        &booking(),
        json!([header(), body(json!([text("x"), text("y")]))]),
        &parameters(0),
        "takes no values now",
    );
    wrong(
        &booking(),
        json!([{"type": "sidebar"}]),
        "components[0].type",
        "is not one of",
    );
    wrong(&booking(), json!([{"parameters": []}]), "components[0].type", "missing");
    wrong(
        &booking(),
        json!([body(json!([text("x"), text(&"y".repeat(1020))]))]),
        &parameters(0),
        "1024",
    );

    wrong(
        &parts(),
        json!([words(), track(), coupon("X")]),
        "components",
        "lacks a `header` with one parameter of type `image`",
    );
    let video = json!({"type": "header", "parameters": [{"type": "video", "video": {"id": "1"}}]});
    wrong(
        &parts(),
        json!([video, words(), track(), coupon("X")]),
        &parameters(0),
        "type `image` now",
    );
    let both = json!({"type": "header", "parameters": [{"type": "image", "image": {"id": "1", "link": "https://example.org/1.jpg"}}]});
    wrong(
        &parts(),
        json!([both, words(), track(), coupon("X")]),
        "components[0].parameters[0].image",
        "exactly one",
    );
    let name = "components[1].parameters[1].parameter_name";
    wrong(
        &parts(),
        json!([
            header(),
            body(json!([named("order_no", "1"), text("x")])),
            track(),
            coupon("X")
        ]),
        name,
        "missing: one of `first_name`, `order_no`",
    );
    wrong(
        &parts(),
        json!([
            header(),
            body(json!([named("order_no", "1"), named("colour", "x")])),
            track(),
            coupon("X")
        ]),
        name,
        "this is `colour`",
    );
    wrong(
        &parts(),
        json!([
            header(),
            body(json!([named("order_no", "1"), named("order_no", "x")])),
            track(),
            coupon("X")
        ]),
        name,
        "twice",
    );
    wrong(
        &parts(),
        json!([header(), words(), coupon("X")]),
        "components",
        "`sub_type` `url` and `index` 1",
    );
    wrong(
        &parts(),
        json!([header(), words(), track()]),
        "components",
        "`copy_code` and `index` 2",
    );
    wrong(
        &parts(),
        json!([header(), words(), track(), coupon(&"x".repeat(21))]),
        "components[3].parameters",
        "1 to 20",
    );
    wrong(
        &parts(),
        json!([header(), words(), track(), track(), coupon("X")]),
        "components[3].index",
        "twice",
    );
    wrong(
        &parts(),
        json!([header(), words(), button("url", json!(0), text("x"))]),
        "components[2].sub_type",
        "must be `quick_reply`",
    );
    wrong(
        &parts(),
        json!([header(), words(), button("url", json!(4), text("x"))]),
        "components[2].index",
        "4 buttons now",
    );
    wrong(
        &parts(),
        json!([header(), words(), button("url", json!("x"), text("x"))]),
        "components[2].index",
        "from 0 on",
    );
    wrong(
        &parts(),
        json!([header(), words(), button("phone_number", json!(3), text("x"))]),
        "components[2].sub_type",
        "takes no value",
    );
    wrong(
        &parts(),
        json!([header(), words(), button("url", json!(1), json!({}))]),
        "components[2].parameters",
        "https://example.org/t/{{1}}",
    );
    let fixed = definition(
        false,
        json!([{"type": "BODY", "text": "Hi."}, {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Go", "url": "https://example.org"}]}]),
    );
    wrong(
        &fixed,
        json!([button("url", json!(0), text("x"))]),
        "components[0].parameters",
        "takes no value now",
    );

    wrong(
        &login(),
        json!([body(json!([text("1")])), button("url", json!(0), text("2"))]),
        "components",
        "same code",
    );
    let long = "1".repeat(16);
    wrong(
        &login(),
        json!([body(json!([text(&long)])), button("url", json!(0), text(&long))]),
        "components",
        "15",
    );
    wrong(&cards(), json!([]), "components", "`carousel` with 2 cards");
    wrong(&cards(), json!([]), "components", "`limited_time_offer`");
    wrong(
        &cards(),
        json!([{"type": "carousel", "cards": [{}]}]),
        "components[0].cards",
        "must be 2 now",
    );
    wrong(
        &cards(),
        json!([{"type": "carousel", "cards": [{"card_index": 0, "components": [header()]}, {"card_index": 2, "components": [header()]}]}]),
        "components[0].cards[1].card_index",
        "must be 1",
    );
    wrong(
        &cards(),
        json!([{"type": "carousel", "cards": [{"card_index": 0, "components": [header()]}, {"card_index": 1, "components": [header(), body(json!([]))]}]}]),
        "components[0].cards[1].components[1].parameters",
        "1 value: `{{1}}`",
    );
}

#[test]
fn a_template_is_filled_in_as_it_will_be_seen() {
    let given = json!([header(), words(), track(), coupon("X20")]);
    let filled = fill(&Shape::of(&parts()), true, given.as_array().unwrap());
    assert_eq!(filled.header.as_deref(), Some("[image]"));
    assert_eq!(filled.body, "Hi Priya, order 8841 leaves today.");
    let values: Vec<Option<&str>> = filled.buttons.iter().map(|button| button.value.as_deref()).collect();
    assert_eq!(
        values,
        [Some("Confirm"), Some("https://example.org/t/8841"), Some("X20"), None]
    );
    assert_eq!(
        filled.text(),
        "[image]\n\nHi Priya, order 8841 leaves today.\n\nRiver Gate\n\nTrack: https://example.org/t/8841"
    );
    let empty = fill(&Shape::of(&booking()), false, &[]);
    assert_eq!(empty.body, "Your booking on {{1}} at {{2}}.");
}

#[test]
fn what_it_takes_is_said_in_one_sentence() {
    assert_eq!(wanted(&Shape::of(&booking())), "it takes in the body `{{1}}`, `{{2}}`");
    let said = wanted(&Shape::of(&parts()));
    assert!(
        said.starts_with(
            "it takes a header with one `image`, in the body `{{first_name}}`, `{{order_no}}`, a value for button 1"
        ),
        "{said}"
    );
    assert_eq!(wanted(&Shape::of(&definition(false, json!([])))), "it takes no values");
}

#[test]
fn no_input_panics() {
    let odd = [
        json!(null),
        json!("x"),
        json!([]),
        json!({"type": "body", "parameters": "x"}),
        json!({"type": "header", "parameters": [null]}),
        json!({"type": "button", "sub_type": 1, "index": -1, "parameters": {}}),
        json!({"type": "carousel", "cards": [1, {"card_index": "x", "components": {}}]}),
        json!({"type": "BODY", "text": {"a": 1}, "buttons": 3, "cards": [null]}),
        json!({"type": "BUTTONS", "buttons": [null, 1, {"type": "URL"}]}),
        json!({"type": "CAROUSEL", "cards": [null, {"components": [null]}]}),
    ];
    for one in &odd {
        for other in &odd {
            let definition = definition(true, json!([one, other]));
            let shape = Shape::of(&definition);
            check(&shape, true, &[other.clone(), one.clone()]);
            fill(&shape, false, &[other.clone(), one.clone()]);
        }
    }
}
