//! What clients of Meta's ask that no other test asks: the app's own token, profiles, several calls in one, lists where Meta's SDK sends
//! lists. The clients themselves are in `clients/`.

use serde_json::{Value, json};

use super::harness::{Harness, PHONE, code, start, stepped};

const ACCOUNT: &str = "100000000000001";

async fn read(harness: &Harness, path: &str) -> (u16, Value) {
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    harness.get(&format!("/v26.0/{path}"), &token).await
}

#[tokio::test]
async fn an_app_gets_its_token_for_its_secret() {
    let harness = start(stepped()).await;
    let (id, secret) = (harness.variable("META_APP_ID"), harness.variable("WHATSAPP_APP_SECRET"));
    let ask = async |secret: &str, grant: &str| {
        let query = format!("client_id={id}&client_secret={secret}&grant_type={grant}");
        let url = format!("{}/v26.0/oauth/access_token?{query}", harness.sandbox.url());
        let answer = harness.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, answer) = ask(&secret, "client_credentials").await;
    assert_eq!(
        (status, &answer),
        (
            200,
            &json!({"access_token": format!("{id}|{secret}"), "token_type": "bearer"})
        )
    );
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(harness.get(&format!("/{id}/subscriptions"), token).await.0, 200);
    // As a parameter it goes before the one in the header.
    let system = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let path = format!("/{id}/subscriptions");
    assert_eq!(harness.get(&path, &system).await.0, 403);
    let with_both = format!("{path}?access_token={id}%7C{secret}");
    assert_eq!(harness.get(&with_both, &system).await.0, 200);
    assert_eq!(code(&ask("wrong", "client_credentials").await), (401, 190, None));
    assert_eq!(code(&ask(&secret, "password").await), (400, 100, None));
}

#[tokio::test]
async fn a_profile_keeps_what_it_was_given_within_its_limits() {
    let harness = start(stepped()).await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let path = format!("{PHONE}/whatsapp_business_profile");
    let change = async |change: Value| {
        let mut body = json!({"messaging_product": "whatsapp"});
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        harness.post(&format!("/v26.0/{path}"), &token, &body).await
    };
    let given = json!({"about": "a".repeat(139), "websites": ["https://example.org"]});
    assert_eq!(change(given).await, (200, json!({"success": true})));
    assert_eq!(change(json!({"email": "desk@example.org"})).await.0, 200);
    let (_, profile) = read(&harness, &format!("{path}?fields=about,email,address,websites")).await;
    assert_eq!(
        profile["data"][0],
        json!({
            "about": "a".repeat(139), "email": "desk@example.org", "websites": ["https://example.org"],
            "messaging_product": "whatsapp",
        })
    );
    for wrong in [
        json!({"about": "a".repeat(140)}),
        json!({"about": ""}),
        json!({"email": 1}),
        json!({"websites": ["a", "b", "c"]}),
    ] {
        assert_eq!(code(&change(wrong.clone()).await), (400, 100, None), "{wrong}");
    }
    assert_eq!(read(&harness, &format!("{path}?fields=shoe_size")).await.0, 400);
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item() {
    let harness = start(stepped()).await;
    let token = harness.variable("WHATSAPP_ACCESS_TOKEN");
    let batch = async |items: &Value| {
        let form = [("batch", items.to_string()), ("include_headers", "false".to_owned())];
        let request = harness.http.post(format!("{}/v26.0/", harness.sandbox.url()));
        harness.call(request.form(&form), &token).await
    };
    harness.writes("amara", PHONE, "Hello");
    let items = json!([
        {"method": "GET", "relative_url": format!("v26.0/{ACCOUNT}?fields=name")},
        {"method": "GET", "relative_url": "v26.0/1"},
        {"method": "POST", "relative_url": format!("{PHONE}/messages"), "body":
            "messaging_product=whatsapp&to=447700900101&type=text&text=%7B%22body%22%3A%22Hi%22%7D"},
        {"method": "GET", "relative_url": format!("{ACCOUNT}?fields={{result=nobody:$.id}}")},
        {"method": "GET"},
        {"method": "GET", "name": "numbers", "relative_url": format!("{ACCOUNT}/phone_numbers?fields=id")},
        {"method": "GET", "relative_url": "{result=numbers:$.data[0].id}?fields=display_phone_number"},
        {"method": "GET", "relative_url": "?ids=%7Bresult%3Dnumbers%3A%24.data.%2A.id%7D,100000000000001&fields=id"},
        {"method": "GET", "name": "wrong", "relative_url": "1"},
        {"method": "GET", "relative_url": "{result=wrong:$.id}"},
    ]);
    let (status, answers) = batch(&items).await;
    assert_eq!(status, 200);
    let answers = answers.as_array().unwrap();
    let codes: Vec<i64> = answers.iter().map(|answer| answer["code"].as_i64().unwrap()).collect();
    assert_eq!(codes, [200, 400, 200, 400, 400, 200, 200, 200, 400, 400]);
    let said = |at: usize| serde_json::from_str::<Value>(answers[at]["body"].as_str().unwrap()).unwrap();
    assert_eq!(said(0)["name"], "Sandbox business");
    assert_eq!(said(1)["error"]["error_subcode"], 33);
    assert!(said(2)["messages"][0]["id"].as_str().unwrap().starts_with("wamid."));
    assert!(answers[0].get("headers").is_none());
    assert_eq!(said(6)["display_phone_number"], "+44 20 7946 0100");
    assert_eq!(said(7), json!({PHONE: {"id": PHONE}, ACCOUNT: {"id": ACCOUNT}}));
    let many: Vec<Value> = (0..51).map(|_| json!({"relative_url": ACCOUNT})).collect();
    assert_eq!(code(&batch(&json!(many)).await), (400, 100, None));
    assert_eq!(batch(&json!(many[..50])).await.0, 200);
    let nobody = harness.http.post(harness.sandbox.url()).form(&[("batch", "[]")]);
    assert_eq!(nobody.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn templates_are_listed_by_several_values_and_with_what_they_add_up_to() {
    let harness = start(stepped()).await;
    let list = async |query: &str| {
        let path = format!("{ACCOUNT}/message_templates?fields=name&{query}");
        read(&harness, &path).await
    };
    let count = |answer: &(u16, Value)| answer.1["data"].as_array().map(Vec::len);
    let several = list("status=%5B%22APPROVED%22,%22PAUSED%22%5D").await;
    assert_eq!(count(&several), Some(2));
    assert_eq!(count(&list("status=approved,paused").await), Some(2));
    assert_eq!(count(&list("status=%5B%22PAUSED%22%5D").await), Some(0));
    assert_eq!(count(&list("name_or_content=hello_w").await), Some(1));
    assert_eq!(count(&list("name_or_content=See%20you").await), Some(1));
    let (_, summed) = list("limit=1&summary=total_count,message_template_limit").await;
    assert_eq!(
        summed["summary"],
        json!({"total_count": 2, "message_template_limit": 250})
    );
    assert_eq!(list("summary=true").await.1["summary"]["message_template_count"], 2);
    assert_eq!(code(&list("summary=weather").await), (400, 100, None));
}

#[tokio::test]
async fn the_cards_of_a_carousel_may_have_quick_replies() {
    let harness = start(stepped()).await;
    harness.writes("amara", PHONE, "Hello");
    let carousel = |second: Value| {
        let card = |at: usize, action: Value| {
            json!({"card_index": at, "type": "cta_url", "header": {"type": "image", "image": {"link": "https://cdn.example.org/a.jpg"}},
                "action": action})
        };
        let cards = [card(0, replies("arc")), card(1, second)];
        json!({"to": "447700900101", "type": "interactive", "interactive":
            {"type": "carousel", "body": {"text": "New lamps"}, "action": {"cards": cards}}})
    };
    let link = json!({"name": "cta_url", "parameters": {"display_text": "View", "url": "https://example.org"}});
    assert_eq!(code(&harness.whatsapp(carousel(link)).await).1, 131_009);
    assert_eq!(code(&harness.whatsapp(carousel(replies("arc"))).await).1, 131_009);
    assert_eq!(harness.whatsapp(carousel(replies("globe"))).await.0, 200);
    harness.advance(1000).await;
    let press = json!({"type": "button", "payload": "globe"});
    let path = format!("/sandbox/customers/amara/threads/{PHONE}/messages");
    assert_eq!(harness.post(&path, "", &press).await.0, 201);
}

fn replies(id: &str) -> Value {
    json!({"buttons": [{"type": "quick_reply", "quick_reply": {"id": id, "title": "This one"}}]})
}

#[tokio::test]
async fn several_objects_are_read_by_one_call() {
    let harness = start(stepped()).await;
    let (status, both) = read(&harness, &format!("?ids={PHONE},{ACCOUNT}&fields=id")).await;
    assert_eq!(
        (status, both),
        (200, json!({PHONE: {"id": PHONE}, ACCOUNT: {"id": ACCOUNT}}))
    );
    assert_eq!(
        code(&read(&harness, &format!("?ids={PHONE},1")).await),
        (400, 100, Some(33))
    );
    assert_eq!(code(&read(&harness, "?ids=").await), (400, 100, None));
    assert_eq!(code(&read(&harness, "").await), (400, 100, None));
    let many = vec![PHONE; 51].join(",");
    assert_eq!(code(&read(&harness, &format!("?ids={many}")).await), (400, 100, None));
}
