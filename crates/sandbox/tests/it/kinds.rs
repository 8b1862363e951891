//! Every kind of message: what a business sends, its limits and its errors.

use serde_json::{Value, json};
use tidings_sandbox::{
    Channel, Content, ERRORS, InstagramAccount, LedgerKind, LimitUnit, MESSAGE_LIMITS, MessageLimit, NewPost,
};

use super::harness::{ACCOUNT, Harness, PHONE, code, start, stepped};

const AMARA: &str = "447700900101";

fn interactive(content: Value) -> Value {
    let mut message = json!({"type": "interactive"});
    message["interactive"] = content;
    message
}

fn picture() -> Value {
    json!({"type": "image", "image": {"link": "https://cdn.example.org/1.jpg"}})
}

/// Every kind that the reference has (whatsapp.md 9.2, 9.3, 6.4), and what the phone says that it is.
fn on_whatsapp() -> Vec<(Value, &'static str)> {
    let link = "https://cdn.example.org/file";
    let body = json!({"text": "Body"});
    let simple = |kind: &str, name: &str| {
        interactive(json!({"type": kind, "body": {"text": "Body"}, "action": {"name": name, "parameters": {}}}))
    };
    let card = |at: usize| {
        json!({"card_index": at, "type": "cta_url", "header": picture(), "body": {"text": "Arc"},
            "action": {"name": "cta_url", "parameters": {"display_text": "View", "url": "https://example.org/1"}}})
    };
    let product = |at: usize| json!({"card_index": at, "type": "product", "action": {"catalog_id": "1", "product_retailer_id": "SKU"}});
    vec![
        (
            json!({"type": "text", "text": {"body": "Hi", "preview_url": true}}),
            "text",
        ),
        // The type may be left out.
        (json!({"text": {"body": "Hi"}}), "text"),
        (
            json!({"type": "image", "image": {"link": link, "caption": "Front"}}),
            "image",
        ),
        (
            json!({"type": "video", "video": {"link": link, "caption": "Tour"}}),
            "video",
        ),
        (
            json!({"type": "audio", "audio": {"link": link, "voice": true}}),
            "audio",
        ),
        (
            json!({"type": "document", "document": {"link": link, "filename": "q.pdf", "caption": "Quote"}}),
            "document",
        ),
        (json!({"type": "sticker", "sticker": {"link": link}}), "sticker"),
        (
            json!({"type": "location", "location": {"latitude": "51.5", "longitude": -0.1, "name": "Gate"}}),
            "location",
        ),
        (
            json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "Desk"}}]}),
            "contacts",
        ),
        (
            interactive(
                json!({"type": "button", "header": picture(), "body": body, "footer": {"text": "Foot"},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": "A"}}]}}),
            ),
            "interactive",
        ),
        (
            interactive(
                json!({"type": "list", "header": {"type": "text", "text": "Head"}, "body": body,
                "action": {"button": "Open", "sections": [{"rows": [{"id": "a", "title": "A"}]}]}}),
            ),
            "list",
        ),
        (
            interactive(json!({"type": "cta_url", "body": body,
                "action": {"name": "cta_url", "parameters": {"display_text": "Track", "url": "https://example.org"}}})),
            "interactive",
        ),
        (
            interactive(
                json!({"type": "flow", "body": body, "action": {"name": "flow", "parameters": {
                "flow_message_version": "3", "flow_id": "1", "flow_cta": "Rate"}}}),
            ),
            "interactive",
        ),
        (
            interactive(json!({"type": "product", "body": body,
                "action": {"catalog_id": "1", "product_retailer_id": "SKU"}})),
            "interactive",
        ),
        (
            interactive(
                json!({"type": "product_list", "header": {"type": "text", "text": "Head"}, "body": body,
                "action": {"catalog_id": "1", "sections": [{"title": "Lamps",
                    "product_items": [{"product_retailer_id": "SKU"}]}]}}),
            ),
            "interactive",
        ),
        (simple("catalog_message", "catalog_message"), "interactive"),
        (simple("location_request_message", "send_location"), "interactive"),
        (
            interactive(json!({"type": "address_message", "body": body,
                "action": {"name": "address_message", "parameters": {"country": "IN"}}})),
            "interactive",
        ),
        (
            simple("call_permission_request", "call_permission_request"),
            "interactive",
        ),
        (simple("voice_call", "voice_call"), "interactive"),
        (simple("request_contact_info", "request_contact_info"), "interactive"),
        (simple("order_details", "review_and_pay"), "interactive"),
        (simple("order_status", "review_order"), "interactive"),
        (
            interactive(json!({"type": "carousel", "body": body, "action": {"cards": [card(0), card(1)]}})),
            "interactive",
        ),
        (
            interactive(json!({"type": "carousel", "body": body, "action": {"cards": [product(0), product(1)]}})),
            "interactive",
        ),
        (
            json!({"type": "template", "template": {"name": "hello_world", "language": {"code": "en_US"}}}),
            "template",
        ),
    ]
}

async fn to_amara(harness: &Harness, message: &Value) -> (u16, Value) {
    let mut message = message.clone();
    message["to"] = json!(format!("+{AMARA}"));
    harness.whatsapp(message).await
}

#[tokio::test]
async fn every_kind_reaches_a_phone_on_whatsapp() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let kinds = on_whatsapp();
    for (message, _) in &kinds {
        let (status, answer) = to_amara(&harness, message).await;
        assert_eq!(status, 200, "{message}: {answer}");
    }
    harness.advance(1_000).await;
    let (_, thread) = harness
        .get(&format!("/sandbox/customers/amara/threads/{PHONE}"), "")
        .await;
    let shown = thread["messages"].as_array().unwrap();
    let shown: Vec<&Value> = shown
        .iter()
        .filter(|message| message["direction"] == "theirs")
        .collect();
    assert_eq!(shown.len(), kinds.len());
    for ((message, kind), shown) in kinds.iter().zip(shown) {
        assert_eq!(shown["kind"], *kind, "{message}");
        assert_eq!(shown["status"], "delivered", "{message}");
    }
}

/// What the reference says of each type, and what is refused for it: with which code, and naming what.
#[tokio::test]
async fn what_a_kind_does_not_allow_is_refused() {
    let harness = start(stepped()).await;
    let written = harness.writes("amara", PHONE, "hello");
    let flow = |parameters: Value| {
        let mut whole = json!({"flow_message_version": "3", "flow_id": "1", "flow_cta": "Rate"});
        whole
            .as_object_mut()
            .unwrap()
            .extend(parameters.as_object().unwrap().clone());
        interactive(json!({"type": "flow", "body": {"text": "x"}, "action": {"name": "flow", "parameters": whole}}))
    };
    let button = |changes: &[(&str, Value)]| {
        let mut whole = json!({"type": "button", "body": {"text": "x"},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": "A"}}]}});
        for (key, value) in changes {
            whole[*key] = value.clone();
        }
        interactive(whole)
    };
    let two_alike = json!({"buttons": [{"type": "reply", "reply": {"id": "a", "title": "A"}},
        {"type": "reply", "reply": {"id": "b", "title": "A"}}]});
    let cards = |change: &dyn Fn(&mut Value)| {
        let card = |at: usize| {
            json!({"card_index": at, "type": "cta_url", "header": picture(), "body": {"text": "Arc"}, "action": {
                "name": "cta_url", "parameters": {"display_text": "View", "url": "https://example.org/1"}}})
        };
        let mut whole = json!({"type": "carousel", "body": {"text": "x"}, "action": {"cards": [card(0), card(1)]}});
        change(&mut whole);
        interactive(whole)
    };
    let cases: Vec<(Value, i64)> = vec![
        (json!({"type": "image", "image": {}}), 131_009),
        (
            json!({"type": "image", "image": {"link": "https://a.example/1", "id": "7"}}),
            131_009,
        ),
        (
            json!({"type": "image", "image": {"link": "ftp://a.example/1"}}),
            131_009,
        ),
        (json!({"type": "image", "image": {"link": "https://"}}), 131_009),
        (json!({"type": "image", "image": {"id": "7"}}), 131_009),
        (
            json!({"type": "sticker", "sticker": {"link": "https://a.example/1", "caption": "x"}}),
            100,
        ),
        (
            json!({"type": "audio", "audio": {"link": "https://a.example/1", "caption": "x"}}),
            100,
        ),
        (json!({"type": "text", "text": {"body": 7}}), 100),
        (
            json!({"type": "text", "text": {"body": "x", "preview_url": "yes"}}),
            100,
        ),
        (json!({"type": "location", "location": {"longitude": 1}}), 131_008),
        (
            json!({"type": "location", "location": {"latitude": 91, "longitude": 1}}),
            131_009,
        ),
        (json!({"type": "contacts", "contacts": [{"phones": []}]}), 131_008),
        (
            json!({"type": "reaction", "reaction": {"message_id": "wamid.unknown", "emoji": "👍"}}),
            131_009,
        ),
        (json!({"type": "reaction", "reaction": {"emoji": "👍"}}), 131_008),
        (
            json!({"type": "reaction", "reaction": {"message_id": written}}),
            131_008,
        ),
        (
            json!({"type": "reaction", "reaction": {"message_id": written, "emoji": "👍"}, "context": {"message_id": written}}),
            131_009,
        ),
        (interactive(json!({"body": {"text": "x"}})), 131_008),
        (interactive(json!({"type": "poll", "body": {"text": "x"}})), 131_051),
        (interactive(json!({"type": "button", "body": {"text": "x"}})), 131_008),
        (
            button(&[(
                "header",
                json!({"type": "audio", "audio": {"link": "https://a.example/1"}}),
            )]),
            131_009,
        ),
        (button(&[("header", json!({"type": "image"}))]), 131_008),
        (button(&[("action", two_alike)]), 131_009),
        (
            button(&[(
                "action",
                json!({"buttons": [{"type": "url", "reply": {"id": "a", "title": "A"}}]}),
            )]),
            131_009,
        ),
        (
            interactive(json!({"type": "list", "header": picture(), "body": {"text": "x"},
                "action": {"button": "Open", "sections": [{"rows": [{"id": "a", "title": "A"}]}]}})),
            131_009,
        ),
        (
            // With more than one section, each has a title.
            interactive(
                json!({"type": "list", "body": {"text": "x"}, "action": {"button": "Open", "sections": [
                {"rows": [{"id": "a", "title": "A"}]}, {"rows": [{"id": "b", "title": "B"}]}]}}),
            ),
            100,
        ),
        (
            interactive(json!({"type": "cta_url", "body": {"text": "x"},
                "action": {"name": "cta", "parameters": {"display_text": "x", "url": "https://example.org"}}})),
            131_009,
        ),
        (
            interactive(json!({"type": "cta_url", "body": {"text": "x"},
                "action": {"name": "cta_url", "parameters": {"display_text": "x", "url": "example.org"}}})),
            131_009,
        ),
        (flow(json!({"flow_name": "both"})), 131_009),
        (flow(json!({"flow_id": null})), 131_009),
        (flow(json!({"flow_message_version": "2"})), 131_009),
        (flow(json!({"mode": "test"})), 131_009),
        (flow(json!({"flow_cta": null})), 131_008),
        (
            flow(json!({"flow_action": "data_exchange", "flow_action_payload": {"screen": "A"}})),
            131_009,
        ),
        (flow(json!({"flow_action": "jump"})), 131_009),
        (
            interactive(
                json!({"type": "product", "header": {"type": "text", "text": "x"}, "body": {"text": "x"},
                "action": {"catalog_id": "1", "product_retailer_id": "SKU"}}),
            ),
            131_009,
        ),
        (
            interactive(json!({"type": "product", "body": {"text": "x"}, "action": {"catalog_id": "1"}})),
            131_008,
        ),
        (
            // It needs a header.
            interactive(
                json!({"type": "product_list", "body": {"text": "x"}, "action": {"catalog_id": "1",
                "sections": [{"product_items": [{"product_retailer_id": "SKU"}]}]}}),
            ),
            131_008,
        ),
        (
            interactive(json!({"type": "address_message", "body": {"text": "x"},
                "action": {"name": "address_message", "parameters": {"country": "NL"}}})),
            131_009,
        ),
        (
            interactive(json!({"type": "location_request_message", "body": {"text": "x"}, "action": {"name": "send"}})),
            131_009,
        ),
        (cards(&|whole| whole["footer"] = json!({"text": "x"})), 131_009),
        (
            cards(&|whole| whole["header"] = json!({"type": "text", "text": "x"})),
            131_009,
        ),
        (
            cards(&|whole| whole["action"]["cards"][1]["card_index"] = json!(5)),
            131_009,
        ),
        (
            cards(&|whole| {
                whole["action"]["cards"][1]["header"] =
                    json!({"type": "video", "video": {"link": "https://a.example/1"}});
            }),
            131_009,
        ),
        (
            cards(&|whole| whole["action"]["cards"][1]["header"] = json!({"type": "text", "text": "x"})),
            131_009,
        ),
        (
            json!({"type": "text", "text": {"body": "x"}, "recipient_type": "group"}),
            131_041,
        ),
        (
            json!({"type": "text", "text": {"body": "x"}, "recipient_type": "crowd"}),
            131_009,
        ),
        (
            json!({"type": "text", "text": {"body": "x"}, "messaging_account_id": "7"}),
            100,
        ),
        (
            json!({"type": "text", "text": {"body": "x"}, "category": "utility"}),
            100,
        ),
    ];
    for (message, expected) in cases {
        let answer = to_amara(&harness, &message).await;
        assert_eq!(code(&answer).1, expected, "{message}: {}", answer.1);
    }
}

#[tokio::test]
async fn what_can_only_be_found_later_fails_in_a_status() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "hello");
    let unreachable = json!({"link": "https://nowhere.invalid/1.jpg"});
    let button = json!({"type": "button", "header": {"type": "image", "image": unreachable}, "body": {"text": "x"},
        "action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": "A"}}]}});
    let (_, state) = harness.get("/sandbox/state", "").await;
    let key = state["customers"][0]["identityKeyHash"].clone();
    for (message, expected) in [
        (json!({"type": "image", "image": unreachable}), json!(131_053)),
        (interactive(button), json!(131_053)),
        (
            json!({"type": "text", "text": {"body": "x"}, "recipient_identity_key_hash": "another"}),
            json!(137_000),
        ),
        (
            json!({"type": "text", "text": {"body": "x"}, "recipient_identity_key_hash": key}),
            Value::Null,
        ),
    ] {
        assert_eq!(to_amara(&harness, &message).await.0, 200, "{message}");
        harness.advance(150).await;
        let last = harness.receiver.statuses().last().unwrap().clone();
        assert_eq!(last["errors"][0]["code"], expected, "{message}: {last}");
    }
}

#[tokio::test]
async fn a_read_mark_and_typing_go_together() {
    let harness = start(stepped()).await;
    let id = harness.writes("amara", PHONE, "hello");
    for (body, expected) in [
        (json!({"status": "seen", "message_id": id}), 131_009),
        (json!({"status": "read"}), 131_008),
        (
            json!({"status": "read", "message_id": id, "typing_indicator": {"type": "voice"}}),
            131_009,
        ),
        (json!({"message_id": id, "typing_indicator": {"type": "text"}}), 131_009),
    ] {
        assert_eq!(code(&harness.whatsapp(body.clone()).await).1, expected, "{body}");
    }
}

// --- Limits -------------------------------------------------------------------------------------------------------------

/// A message that has `size` of what the limit counts. Letters of two bytes tell characters from bytes.
fn sized(limit: &MessageLimit, size: usize) -> Value {
    let text = if limit.unit == LimitUnit::Bytes {
        format!("{}{}", "é".repeat(size / 2), "x".repeat(size % 2))
    } else {
        "é".repeat(size)
    };
    let body = json!({"text": "Body"});
    let list = |sections: Value, button: &str| {
        interactive(
            json!({"type": "list", "body": {"text": "Body"}, "action": {"button": button, "sections": sections}}),
        )
    };
    let row = |id: usize| json!({"id": id.to_string(), "title": "Row"});
    let rows = |from: usize, to: usize| (from..to).map(row).collect::<Vec<_>>();
    let button = |id: &str, title: &str| json!({"type": "reply", "reply": {"id": id, "title": title}});
    let buttons = |buttons: Value| interactive(json!({"type": "button", "body": body, "action": {"buttons": buttons}}));
    let link = |label: &str, url: &str| {
        let parameters = json!({"display_text": label, "url": url});
        interactive(json!({"type": "cta_url", "body": body, "action": {"name": "cta_url", "parameters": parameters}}))
    };
    let cards = |count: usize, text: &str, label: &str| {
        let card = |at: usize| {
            json!({"card_index": at, "type": "cta_url", "header": picture(), "body": {"text": text}, "action": {
                "name": "cta_url", "parameters": {"display_text": label, "url": "https://example.org/1"}}})
        };
        let cards: Vec<Value> = (0..count).map(card).collect();
        interactive(json!({"type": "carousel", "body": body, "action": {"cards": cards}}))
    };
    let products = |sections: Value| {
        interactive(
            json!({"type": "product_list", "header": {"type": "text", "text": "Head"}, "body": body,
            "action": {"catalog_id": "1", "sections": sections}}),
        )
    };
    let items = |count: usize| {
        (0..count)
            .map(|id| json!({"product_retailer_id": id.to_string()}))
            .collect::<Vec<_>>()
    };
    let template = |payload: Value| json!({"message": {"attachment": {"type": "template", "payload": payload}}});
    let generic = |elements: Value| template(json!({"template_type": "generic", "elements": elements}));
    let postback = |title: &str| json!({"type": "postback", "title": title, "payload": "P"});
    let image = json!({"type": "image", "payload": {"url": "https://cdn.example.com/1.jpg"}});
    match limit.name {
        "biz_opaque_callback_data" => json!({"type": "text", "text": {"body": "x"}, "biz_opaque_callback_data": text}),
        "text.body" => json!({"type": "text", "text": {"body": text}}),
        "caption" => json!({"type": "image", "image": {"link": "https://cdn.example.org/1.jpg", "caption": text}}),
        "contacts" => {
            let contact = json!({"name": {"formatted_name": "Desk"}});
            json!({"type": "contacts", "contacts": vec![contact; size]})
        }
        "interactive.body.text" => {
            interactive(json!({"type": "button", "body": {"text": text}, "action": {"buttons": [button("a", "A")]}}))
        }
        "interactive.body.text of a list" => interactive(json!({"type": "list", "body": {"text": text},
            "action": {"button": "Open", "sections": [{"rows": rows(0, 1)}]}})),
        "interactive.header.text" => interactive(json!({"type": "button", "header": {"type": "text", "text": text},
            "body": body, "action": {"buttons": [button("a", "A")]}})),
        "interactive.footer.text" => interactive(json!({"type": "button", "footer": {"text": text}, "body": body,
            "action": {"buttons": [button("a", "A")]}})),
        "interactive.action.buttons" => {
            let all: Vec<Value> = (0..size).map(|id| button(&id.to_string(), &id.to_string())).collect();
            buttons(json!(all))
        }
        "interactive.action.buttons.reply.title" => buttons(json!([button("a", &text)])),
        "interactive.action.buttons.reply.id" => buttons(json!([button(&text, "A")])),
        "interactive.action.button" => list(json!([{"rows": rows(0, 1)}]), &text),
        "interactive.action.sections" => {
            let sections: Vec<Value> = (0..size).map(|at| json!({"title": "S", "rows": [row(at)]})).collect();
            list(json!(sections), "Open")
        }
        "interactive.action.sections.title" => list(
            json!([{"title": text, "rows": rows(0, 1)}, {"title": "S", "rows": rows(1, 2)}]),
            "Open",
        ),
        "interactive.action.sections.rows" => {
            // Over two sections, where there are as many.
            let half = size / 2;
            let second = json!({"title": "S", "rows": rows(half, size)});
            if half == 0 {
                list(json!([second]), "Open")
            } else {
                list(json!([{"title": "F", "rows": rows(0, half)}, second]), "Open")
            }
        }
        "interactive.action.sections.rows.id" => list(json!([{"rows": [{"id": text, "title": "Row"}]}]), "Open"),
        "interactive.action.sections.rows.title" => list(json!([{"rows": [{"id": "a", "title": text}]}]), "Open"),
        "interactive.action.sections.rows.description" => list(
            json!([{"rows": [{"id": "a", "title": "Row", "description": text}]}]),
            "Open",
        ),
        "interactive.action.parameters.display_text" => link(&text, "https://example.org"),
        "interactive.action.parameters.url" => {
            let start = "https://a.example/";
            let url = if size == 0 {
                String::new()
            } else {
                format!("{start}{}", "x".repeat(size.saturating_sub(start.len())))
            };
            link("Open", &url)
        }
        "interactive.action.sections.product_items" => {
            let half = size / 2;
            let second = json!({"title": "S", "product_items": items(size - half)});
            if half == 0 {
                products(json!([second]))
            } else {
                products(json!([{"title": "F", "product_items": items(half)}, second]))
            }
        }
        "interactive.action.sections of products" => {
            products(json!(vec![json!({"title": "S", "product_items": items(1)}); size]))
        }
        "interactive.action.cards" => cards(size, "Arc", "View"),
        "interactive.action.cards.body.text" => cards(2, &text, "View"),
        "interactive.action.cards.body.text lines" => cards(2, &"a\n".repeat(size), "View"),
        "interactive.action.cards.action.parameters.display_text" => cards(2, "Arc", &text),
        "template.body" => {
            let around = "Your booking on  at  is confirmed. See you there!".chars().count();
            let day = "é".repeat(size.saturating_sub(around + 1).max(1));
            json!({"type": "template", "template": {"name": "mr_dj_booking_confirmation", "language": {"code": "en_US"},
                "components": [{"type": "body", "parameters": [{"type": "text", "text": day}, {"type": "text", "text": "U"}]}]}})
        }
        "comment.message" => json!({"message": text}),
        "message.text" => json!({"message": {"text": text}}),
        "message.attachments" => json!({"message": {"attachments": vec![image; size]}}),
        "message.quick_replies" => {
            let reply = json!({"content_type": "text", "title": "T", "payload": "P"});
            json!({"message": {"text": "x", "quick_replies": vec![reply; size]}})
        }
        "message.attachment.payload.elements" => generic(json!(vec![json!({"title": "T"}); size])),
        "message.attachment.payload.elements.title" => generic(json!([{"title": text}])),
        "message.attachment.payload.elements.subtitle" => generic(json!([{"title": "T", "subtitle": text}])),
        "message.attachment.payload.buttons" => {
            template(json!({"template_type": "button", "text": "x", "buttons": vec![postback("B"); size]}))
        }
        "message.attachment.payload.buttons.title" => generic(json!([{"title": "T", "buttons": [postback(&text)]}])),
        "message.attachment.payload.text" => {
            template(json!({"template_type": "button", "text": text, "buttons": [postback("B")]}))
        }
        other => panic!("no message is made for the limit {other}"),
    }
}

#[tokio::test]
async fn every_limit_is_held_on_both_sides() {
    let mut options = stepped();
    options.world.numbers[0].limits.pair_burst = 0;
    options.world.instagram_accounts[0].limits = tidings_sandbox::AccountLimits::none();
    let harness = start(options).await;
    harness.writes("amara", PHONE, "hello");
    harness.writes("lucia", ACCOUNT, "hello");
    let igsid = harness.igsid("lucia").await;
    let post = harness.sandbox.post(NewPost::default()).unwrap();
    let send = async |limit: &MessageLimit, size: usize| {
        let mut message = sized(limit, size);
        match limit.channel {
            Channel::WhatsApp => to_amara(&harness, &message).await,
            Channel::Instagram if limit.name == "comment.message" => {
                let token = harness.variable("META_IG_ACCESS_TOKEN");
                harness.post(&format!("/v26.0/{post}/comments"), &token, &message).await
            }
            Channel::Instagram => {
                message["recipient"] = json!({"id": igsid});
                harness.instagram(message).await
            }
        }
    };
    for limit in MESSAGE_LIMITS {
        for size in [limit.min.max(1), limit.max] {
            // A link is longer than the least that is asked for.
            if limit.name.ends_with("url") && size < limit.max {
                continue;
            }
            let (status, answer) = send(limit, size).await;
            assert_eq!(status, 200, "{} with {size}: {answer}", limit.name);
        }
        let answer = send(limit, limit.max + 1).await;
        assert_eq!(
            code(&answer).1,
            limit.code,
            "{} with {}: {}",
            limit.name,
            limit.max + 1,
            answer.1
        );
        let error = &answer.1["error"];
        let said = format!("{}{}", error["message"], error["error_data"]["details"]);
        assert!(
            said.contains(&limit.max.to_string()),
            "{}: the bound is not told: {said}",
            limit.name
        );
        if limit.min > 0 {
            let (status, _) = send(limit, limit.min - 1).await;
            assert_eq!(status, 400, "{} with {}", limit.name, limit.min - 1);
        }
    }
}

// --- Instagram ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn every_kind_reaches_a_phone_on_instagram() {
    let harness = start(stepped()).await;
    let igsid = harness.igsid("lucia").await;
    let written = harness.writes("lucia", ACCOUNT, "hello");
    let comment = Content::Comment {
        text: "Nice".to_owned(),
        media_id: None,
        parent_id: None,
    };
    harness.sandbox.write("lucia", ACCOUNT, comment).unwrap();
    harness.advance(0).await;
    let post = harness.receiver.values()[0]["media"]["id"].clone();
    let attached = |attachment: Value| json!({ "attachment": attachment });
    let file = |kind: &str| attached(json!({"type": kind, "payload": {"url": "https://cdn.example.com/f"}}));
    let template = |payload: Value| attached(json!({"type": "template", "payload": payload}));
    let button = json!({"type": "postback", "title": "Agent", "payload": "HUMAN"});
    let image = json!({"type": "image", "payload": {"url": "https://cdn.example.com/1.jpg"}});
    let kinds = [
        (json!({"text": "Yes"}), "text"),
        (file("image"), "image"),
        (file("video"), "video"),
        (file("audio"), "audio"),
        (file("file"), "file"),
        (json!({"attachments": [image, image]}), "image"),
        (attached(json!({"type": "like_heart"})), "like_heart"),
        (
            attached(json!({"type": "MEDIA_SHARE", "payload": {"id": post}})),
            "share",
        ),
        (
            template(
                json!({"template_type": "generic", "elements": [{"title": "Hat", "subtitle": "29 EUR",
                "image_url": "https://cdn.example.com/h.jpg", "buttons": [button],
                "default_action": {"type": "web_url", "url": "https://shop.example.com"}}]}),
            ),
            "template",
        ),
        (
            template(json!({"template_type": "button", "text": "Help?", "buttons": [button]})),
            "template",
        ),
        (
            template(json!({"template_type": "product", "elements": [{"id": "44"}]})),
            "template",
        ),
        (
            json!({"text": "What?", "quick_replies": [{"content_type": "text", "title": "Track", "payload": "T"}]}),
            "text",
        ),
    ];
    for (message, _) in &kinds {
        let body = json!({"recipient": {"id": igsid}, "messaging_type": "RESPONSE", "message": message,
            "reply_to": {"mid": written}});
        let (status, answer) = harness.instagram(body).await;
        assert_eq!(status, 200, "{message}: {answer}");
    }
    for action in ["typing_on", "typing_off", "mark_seen"] {
        let body = json!({"recipient": {"id": igsid}, "sender_action": action});
        assert_eq!(
            harness.instagram(body).await,
            (200, json!({"recipient_id": igsid})),
            "{action}"
        );
    }
    harness.advance(1_000).await;
    let (_, thread) = harness
        .get(&format!("/sandbox/customers/lucia/threads/{ACCOUNT}"), "")
        .await;
    let shown = thread["messages"].as_array().unwrap();
    let shown: Vec<&Value> = shown
        .iter()
        .filter(|message| message["direction"] == "theirs")
        .collect();
    assert_eq!(shown.len(), kinds.len());
    for ((message, kind), shown) in kinds.iter().zip(shown) {
        assert_eq!(
            (&shown["kind"], &shown["replyTo"]),
            (&json!(kind), &json!(written)),
            "{message}"
        );
    }
    let echoes = harness.receiver.messaging();
    let echoes = echoes.iter().filter(|event| event["message"]["is_echo"] == true);
    assert_eq!(echoes.count(), kinds.len());
}

#[tokio::test]
async fn what_instagram_does_not_allow_is_refused() {
    let harness = start(stepped()).await;
    let igsid = harness.igsid("lucia").await;
    harness.writes("lucia", ACCOUNT, "hello");
    let attached = |attachment: Value| json!({"message": {"attachment": attachment}});
    let with = |key: &str, value: Value| {
        let mut body = json!({"message": {"text": "x"}});
        body[key] = value;
        body
    };
    let image = |payload: Value| attached(json!({"type": "image", "payload": payload}));
    let cases = [
        (json!({}), None),
        (json!({"message": {}}), Some(2_534_015)),
        (
            json!({"message": {"text": "x", "attachment": {"type": "like_heart"}}}),
            Some(2_534_015),
        ),
        (
            json!({"message": {"text": "x"}, "sender_action": "typing_on"}),
            Some(2_018_014),
        ),
        (attached(json!({"type": "location"})), Some(2_534_015)),
        (image(json!({})), Some(2_018_008)),
        (image(json!({"url": "ftp://a.example/1"})), Some(2_018_008)),
        (image(json!({"url": "https://nowhere.invalid/1"})), Some(2_018_008)),
        (image(json!({"attachment_id": "7"})), Some(2_018_074)),
        (
            attached(json!({"type": "MEDIA_SHARE", "payload": {"id": "7"}})),
            Some(33),
        ),
        (
            json!({"message": {"attachments": [{"type": "video", "payload": {"url": "https://a.example/1"}}]}}),
            Some(2_534_015),
        ),
        (
            attached(json!({"type": "template", "payload": {"template_type": "list"}})),
            None,
        ),
        (
            json!({"message": {"text": "x", "quick_replies": [{"content_type": "user_email"}]}}),
            None,
        ),
        (with("messaging_type", json!("PROMOTION")), None),
        (with("messaging_type", json!("MESSAGE_TAG")), None),
        (with("tag", json!("ACCOUNT_UPDATE")), None),
        (with("reply_to", json!({})), None),
        (json!({"sender_action": "wave"}), None),
        (
            json!({"sender_action": "mark_seen", "payload": {"message_id": "x"}}),
            None,
        ),
        (json!({"sender_action": "react", "payload": {"reaction": "love"}}), None),
    ];
    for (mut body, subcode) in cases {
        body["recipient"] = json!({"id": igsid});
        let answer = harness.instagram(body.clone()).await;
        assert_eq!(code(&answer), (400, 100, subcode), "{body}: {}", answer.1);
    }
}

/// instagram.md 3.2: a post of the sending account, and of no other.
#[tokio::test]
async fn whatever_the_account_has_posted_can_be_passed_on() {
    let mut options = stepped();
    options.world.instagram_accounts.push(InstagramAccount {
        id: "17841400000000002".to_owned(),
        scoped_id: "9000000000000002".to_owned(),
        ..InstagramAccount::default()
    });
    let harness = start(options).await;
    let igsid = harness.igsid("lucia").await;
    harness.writes("lucia", ACCOUNT, "hello");
    let post = |account: &str, caption: &str| {
        let post = NewPost {
            account: Some(account.to_owned()),
            caption: Some(caption.to_owned()),
            ..NewPost::default()
        };
        harness.sandbox.post(post).unwrap()
    };
    let (own, other) = (post(ACCOUNT, "How we roast"), post("17841400000000002", "Ours"));
    let share = |id: &str| json!({"recipient": {"id": igsid}, "message": {"attachment": {"type": "MEDIA_SHARE", "payload": {"id": id}}}});
    let (status, answer) = harness.instagram(share(&own)).await;
    assert_eq!(status, 200, "{answer}");
    let answer = harness.instagram(share(&other)).await;
    assert_eq!(code(&answer), (400, 100, Some(33)));
    harness.advance(1_000).await;
    let (_, thread) = harness
        .get(&format!("/sandbox/customers/lucia/threads/{ACCOUNT}"), "")
        .await;
    let shared = thread["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(
        shared["post"],
        json!({"kind": "reel", "id": own, "title": "How we roast"})
    );
}

// --- Errors -------------------------------------------------------------------------------------------------------------

/// Every code of both tables can be had from a send: with its status, its subcode, and in Meta's shape.
#[tokio::test]
async fn every_error_of_the_tables_can_be_provoked() {
    let harness = start(stepped()).await;
    for row in ERRORS {
        for error in [row.code, row.code_last] {
            let mut fault = json!({"endpoint": "messages", "kind": "error", "code": error, "count": 1});
            if let Some(subcode) = row.subcode {
                fault["subcode"] = json!(subcode);
            }
            assert_eq!(harness.post("/sandbox/faults", "", &fault).await.0, 201, "{fault}");
            let answer = match row.channel {
                Channel::WhatsApp => harness.whatsapp(json!({})).await,
                Channel::Instagram => harness.instagram(json!({})).await,
            };
            assert_eq!(code(&answer), (row.http_status, error, row.subcode), "{}", answer.1);
            let said = &answer.1["error"];
            assert!(said["message"].as_str().unwrap().contains(row.message), "{said}");
            let kind = match (error, row.subcode, row.channel) {
                (100, Some(33), _) => "GraphMethodException",
                (190, ..) | (_, _, Channel::WhatsApp) => "OAuthException",
                _ => "IGApiException",
            };
            assert_eq!(said["type"], kind, "{said}");
            let is_whatsapps_own = row.channel == Channel::WhatsApp && (130_000..140_000).contains(&error);
            assert_eq!(said["error_data"]["details"].is_string(), is_whatsapps_own, "{said}");
            if row.code == row.code_last {
                break;
            }
        }
    }
    let (_, told) = harness.get("/sandbox/errors", "").await;
    assert_eq!(told["errors"].as_array().unwrap().len(), ERRORS.len());
}

/// And every code that WhatsApp tells in a status, in the shape of statuses.
#[tokio::test]
async fn every_error_can_come_in_a_status() {
    let mut options = stepped();
    options.world.numbers[0].limits.pair_burst = 0;
    let harness = start(options).await;
    harness.writes("amara", PHONE, "hello");
    let codes: Vec<i64> = ERRORS
        .iter()
        .filter(|row| {
            row.channel == Channel::WhatsApp && row.subcode.is_none() && (130_000..140_000).contains(&row.code)
        })
        .map(|row| row.code)
        .collect();
    for error in &codes {
        let fault = json!({"endpoint": "messages", "kind": "status", "code": error, "count": 1});
        harness.post("/sandbox/faults", "", &fault).await;
        assert_eq!(
            to_amara(&harness, &json!({"type": "text", "text": {"body": "x"}}))
                .await
                .0,
            200
        );
        harness.advance(1_000).await;
        let last = harness.receiver.statuses().last().unwrap().clone();
        let told = &last["errors"][0];
        assert_eq!(
            (&last["status"], &told["code"]),
            (&json!("failed"), &json!(error)),
            "{last}"
        );
        assert_eq!(told["title"], told["message"]);
        assert!(told["error_data"]["details"].is_string());
    }
    assert_eq!(harness.entries(LedgerKind::Failed).len(), codes.len());
}
