//! Who is who: several addresses of one person, one address of several persons, names.

use std::time::Duration;

use serde_json::{Value, json};
use tidings::conversations::profiles::Profiles;
use tidings_sandbox::{FaultKind, FaultRequest, LedgerKind, NewCustomer};
use tokio_util::sync::CancellationToken;

use crate::harness::{
    ACCOUNT, BUSINESS_ACCOUNT, Harness, NUMBER, START, fault, on_both, text, whatsapp_text, whatsapp_value,
};

const PHONE: &str = "447700900123";
const NEW_PHONE: &str = "447700900777";
const USER_ID: &str = "GB.48201937562840117365";
const NEW_USER_ID: &str = "GB.59920018374465510027";

/// One text from whoever these keys of the message say.
fn said(id: &str, words: &str, second: i64, from: &Value) -> Value {
    let mut message =
        json!({"id": id, "timestamp": (START / 1000 + second).to_string(), "type": "text", "text": {"body": words}});
    for (name, value) in from.as_object().unwrap() {
        message[name] = value.clone();
    }
    whatsapp_value(&json!({ "messages": [message] }))
}

async fn texts(harness: &Harness, conversation: &Value) -> Vec<String> {
    let messages = harness.messages(conversation).await;
    let texts = messages
        .iter()
        .map(|message| message["content"]["text"].as_str().unwrap_or_default());
    texts.map(str::to_owned).collect()
}

async fn addresses(harness: &Harness, contact: &Value) -> Vec<String> {
    let contact = harness.contact(contact).await;
    let identities = contact["identities"].as_array().unwrap();
    let mut values: Vec<String> = identities
        .iter()
        .map(|identity| identity["value"].as_str().unwrap().to_owned())
        .collect();
    values.sort();
    values
}

#[tokio::test]
async fn two_that_turn_out_to_be_one_are_merged_and_both_old_ids_still_lead_there() {
    on_both(async |harness| {
        harness
            .whatsapp(&said("wamid.1", "by phone", 1, &json!({"from": PHONE})))
            .await;
        harness
            .whatsapp(&said("wamid.2", "by id", 2, &json!({"from_user_id": USER_ID})))
            .await;
        let before = harness.conversations().await;
        assert_eq!(before.len(), 2);

        harness
            .whatsapp(&said(
                "wamid.3",
                "by both",
                3,
                &json!({"from": PHONE, "from_user_id": USER_ID}),
            ))
            .await;
        let merged = harness.conversation().await;
        assert_eq!(texts(harness, &merged).await, ["by phone", "by id", "by both"]);
        assert_eq!(merged["unread"], 3);
        assert_eq!(addresses(harness, &merged["contact"]["id"]).await, [PHONE, USER_ID]);
        for old in &before {
            assert_eq!(
                harness.contact(&old["contact"]["id"]).await["id"],
                merged["contact"]["id"]
            );
            let path = format!("/api/v1/conversations/{}", old["id"].as_str().unwrap());
            assert_eq!(harness.get(&path).await.expect(200)["id"], merged["id"]);
            assert_eq!(texts(harness, old).await.len(), 3);
        }
        // Whatever it is asked by, there is one thread from here on.
        harness
            .whatsapp(&said("wamid.4", "by id again", 4, &json!({"from_user_id": USER_ID})))
            .await;
        harness
            .whatsapp(&said("wamid.5", "by phone again", 5, &json!({"from": PHONE})))
            .await;
        assert_eq!(texts(harness, &harness.conversation().await).await.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn what_waits_to_be_sent_survives_a_merge_in_order() {
    on_both(async |harness| {
        let new = NewCustomer {
            id: Some("nora".to_owned()),
            name: "Nora".to_owned(),
            phone: Some(PHONE.to_owned()),
            user_id: Some(USER_ID.to_owned()),
            ..NewCustomer::default()
        };
        harness.sandbox.add_customer(new).unwrap();
        harness
            .whatsapp(&said("wamid.1", "by phone", 1, &json!({"from": PHONE})))
            .await;
        harness
            .whatsapp(&said("wamid.2", "by id", 2, &json!({"from_user_id": USER_ID})))
            .await;
        harness.sandbox.write("nora", NUMBER, text("opens the window")).unwrap();
        // Before that is processed, nothing can go out.
        let refused = FaultRequest {
            code: Some(133_004),
            count: None,
            ..fault(FaultKind::Error)
        };
        harness.foresee_refusals(&[133_004]);
        harness.sandbox.fault(refused).unwrap();
        let one = harness
            .send(json!({"channel": "whatsapp", "to": PHONE, "message": "one"}))
            .await;
        let two = harness
            .send(json!({"channel": "whatsapp", "to": USER_ID, "message": "two"}))
            .await;
        let three = harness
            .send(json!({"channel": "whatsapp", "to": PHONE, "message": "three"}))
            .await;
        harness.projected().await;
        harness.waiting_after(&one, 1).await;
        assert_eq!(harness.conversations().await.len(), 1);

        harness.sandbox.clear_faults();
        harness.pass(Duration::from_secs(10)).await;
        for id in [&one, &two, &three] {
            harness
                .until("it was accepted", async |harness| {
                    harness.nudge();
                    harness.message(id).await["externalId"].is_string().then_some(())
                })
                .await;
        }
        let accepted = harness.accepted("nora");
        assert_eq!(accepted.len(), 3, "{accepted:?}");
        let place = |words: &str| accepted.iter().position(|accepted| accepted == words);
        assert!(place("one") < place("three"), "{accepted:?}");
    })
    .await;
}

#[tokio::test]
async fn a_changed_number_is_the_same_person() {
    on_both(async |harness| {
        harness.whatsapp(&whatsapp_text("wamid.1", PHONE, "old number", START)).await;
        let conversation = harness.conversation().await;
        let system = json!({"from": PHONE, "id": "wamid.2", "timestamp": (START / 1000 + 1).to_string(), "type": "system",
            "system": {"body": "Amara changed her number", "wa_id": NEW_PHONE, "type": "user_changed_number"}});
        harness.whatsapp(&whatsapp_value(&json!({ "messages": [system] }))).await;
        harness.whatsapp(&whatsapp_text("wamid.3", NEW_PHONE, "new number", START + 2_000)).await;
        let after = harness.conversation().await;
        assert_eq!(after["id"], conversation["id"]);
        let messages = harness.messages(&after).await;
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[1]["content"]["change"], "changed_number");
        assert_eq!(after["unread"], 2, "nobody said the notice");

        let sent = harness.reply(&after, "hello").await;
        harness.message_until(&sent, "accepted").await;
        let (_, document) = harness.timeline(&sent).await;
        assert_eq!(document["timeline"][1]["attempt"]["request"]["to"], format!("+{NEW_PHONE}"));
    })
    .await;
}

#[tokio::test]
async fn a_changed_user_id_is_the_same_person() {
    on_both(async |harness| {
        harness.whatsapp(&said("wamid.1", "old id", 1, &json!({"from_user_id": USER_ID}))).await;
        let conversation = harness.conversation().await;
        let update = json!({"timestamp": (START / 1000 + 2).to_string(), "detail": "User id changed",
            "user_id": {"previous": USER_ID, "current": NEW_USER_ID}});
        let body = json!({"object": "whatsapp_business_account", "entry": [{"id": BUSINESS_ACCOUNT, "changes": [{
            "field": "user_id_update", "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": NUMBER},
                "user_id_update": [update]}}]}]});
        harness.whatsapp(&body).await;
        harness.whatsapp(&said("wamid.2", "new id", 3, &json!({"from_user_id": NEW_USER_ID}))).await;
        let after = harness.conversation().await;
        assert_eq!(after["id"], conversation["id"]);
        assert_eq!(texts(harness, &after).await, ["old id", "new id"]);
    })
    .await;
}

#[tokio::test]
async fn a_number_that_has_changed_hands_shows_nothing_of_before() {
    on_both(async |harness| {
        harness
            .whatsapp(&said(
                "wamid.1",
                "mine",
                1,
                &json!({"from": PHONE, "from_user_id": USER_ID}),
            ))
            .await;
        harness
            .whatsapp(&said(
                "wamid.2",
                "whose?",
                2,
                &json!({"from": PHONE, "from_user_id": NEW_USER_ID}),
            ))
            .await;
        let conversations = harness.conversations().await;
        assert_eq!(conversations.len(), 2);
        assert_eq!(texts(harness, &conversations[0]).await, ["whose?"]);
        assert_eq!(texts(harness, &conversations[1]).await, ["mine"]);
        assert_eq!(
            addresses(harness, &conversations[0]["contact"]["id"]).await,
            [PHONE, NEW_USER_ID]
        );
        assert_eq!(addresses(harness, &conversations[1]["contact"]["id"]).await, [USER_ID]);
    })
    .await;
}

#[tokio::test]
async fn the_spellings_of_one_number_meet() {
    // Brazil's ninth digit, Mexico's and Argentina's mobile prefix (reference `whatsapp.md` 16, traps 7 and 8).
    let variants = [
        ("5511987654321", "551187654321"),
        ("5215512345678", "525512345678"),
        ("5491112345678", "541112345678"),
    ];
    on_both(async |harness| {
        for (index, (one, other)) in variants.into_iter().enumerate() {
            harness
                .whatsapp(&whatsapp_text(&format!("wamid.{index}.1"), one, "one", START))
                .await;
            harness
                .whatsapp(&whatsapp_text(
                    &format!("wamid.{index}.2"),
                    other,
                    "other",
                    START + 1_000,
                ))
                .await;
            let conversations = harness.conversations().await;
            assert_eq!(conversations.len(), index + 1, "{one} and {other}");
            assert_eq!(texts(harness, &conversations[0]).await, ["one", "other"]);
            let sent = harness
                .send(json!({"channel": "whatsapp", "to": format!("+{one}"), "message": "hello"}))
                .await;
            let message = harness.message(&sent).await;
            let found = conversations
                .iter()
                .find(|conversation| conversation["id"] == message["conversationId"]);
            assert!(found.is_some(), "{one} is somebody else when written to");
            harness.message_until(&sent, "accepted").await;
            let (_, document) = harness.timeline(&sent).await;
            let to = &document["timeline"][1]["attempt"]["request"]["to"];
            assert_eq!(to, &format!("+{other}"), "the spelling that Meta used last");
        }
        // Numbers that only look alike stay apart.
        let before = harness.conversations().await.len();
        for (index, number) in ["5511287654321", "551127654321", "447700900123", "447700900124"]
            .into_iter()
            .enumerate()
        {
            harness
                .whatsapp(&whatsapp_text(&format!("wamid.apart.{index}"), number, "apart", START))
                .await;
        }
        assert_eq!(harness.conversations().await.len(), before + 4);
    })
    .await;
}

#[tokio::test]
async fn names_follow_the_latest_event_whatever_comes_first() {
    on_both(async |harness| {
        let named = |id: &str, name: &str, second: i64| {
            let mut body = whatsapp_text(id, PHONE, "hello", START + second * 1_000);
            body["entry"][0]["changes"][0]["value"]["contacts"][0]["profile"]["name"] = json!(name);
            body
        };
        harness.whatsapp(&named("wamid.2", "Second", 20)).await;
        harness.whatsapp(&named("wamid.1", "First", 10)).await;
        assert_eq!(harness.conversation().await["contact"]["name"], "Second");
        harness.whatsapp(&named("wamid.3", "Third", 30)).await;
        assert_eq!(harness.conversation().await["contact"]["name"], "Third");
    })
    .await;
}

#[tokio::test]
async fn an_instagram_profile_is_fetched() {
    on_both(async |harness| {
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness
            .until("the profile is there", async |harness| {
                let conversation = harness.conversation().await;
                conversation["contact"]["name"].is_string().then_some(conversation)
            })
            .await;
        assert_eq!(conversation["contact"]["name"], "Luc\u{ed}a Ferrer");
        assert_eq!(conversation["contact"]["username"], "lucia.ferrer");
        let asked = |harness: &Harness| {
            let igsid = harness.sandbox.customer("lucia").unwrap().igsid;
            let received = harness.ledger(LedgerKind::Received);
            received.iter().filter(|entry| entry.account == igsid).count()
        };
        for _ in 0..3 {
            harness.sandbox.write("lucia", ACCOUNT, text("again")).unwrap();
            harness.projected().await;
            Profiles::default()
                .fetch_due(harness.hub().app(), &CancellationToken::new())
                .await
                .unwrap();
        }
        assert_eq!(asked(harness), 1, "once, and kept");
        harness.pass(Duration::from_hours(4 * 24)).await;
        Profiles::default()
            .fetch_due(harness.hub().app(), &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(asked(harness), 1, "nothing was heard of her since");
        harness.sandbox.write("lucia", ACCOUNT, text("days later")).unwrap();
        harness.projected().await;
        harness
            .until("it is asked for again", async |harness| {
                (asked(harness) == 2).then_some(())
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn where_meta_wants_fewer_calls_profiles_wait() {
    on_both(async |harness| {
        // Application request limit reached (reference `graph-api.md` 4).
        let refused = FaultRequest {
            endpoint: "read".to_owned(),
            code: Some(4),
            count: None,
            ..fault(FaultKind::Error)
        };
        harness.foresee_refusals(&[4]);
        // What the hub reads of its number as it starts is none of the calls that are counted.
        harness
            .until("the number was read", async |harness| {
                let channel = harness.get("/api/v1/channels/whatsapp").await.expect(200);
                (!channel["number"].is_null()).then_some(())
            })
            .await;
        harness.sandbox.fault(refused).unwrap();
        let followers = ["lucia", "mara", "noor"];
        let asked = |harness: &Harness| {
            let refused = harness.ledger(LedgerKind::Refused);
            refused.iter().filter(|entry| entry.detail["code"] == 4).count()
        };
        for (index, id) in followers.into_iter().enumerate() {
            if index > 0 {
                let new = NewCustomer {
                    id: Some(id.to_owned()),
                    name: id.to_owned(),
                    kind: Some(tidings_sandbox::Channel::Instagram),
                    ..NewCustomer::default()
                };
                harness.sandbox.add_customer(new).unwrap();
            }
        }
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        harness
            .until("Meta has refused a profile", async |harness| {
                (asked(harness) == 1).then_some(())
            })
            .await;

        // Another task as the hub's own, which rests now.
        let mut profiles = Profiles::default();
        let stop = CancellationToken::new();
        harness.sandbox.write("mara", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let app = harness.hub().app();
        assert_eq!(profiles.fetch_due(app, &stop).await.unwrap(), 1);
        assert_eq!(asked(harness), 2);
        harness.sandbox.write("noor", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        assert_eq!(
            profiles.fetch_due(app, &stop).await.unwrap(),
            0,
            "it rests, though one is due"
        );
        assert_eq!(asked(harness), 2);

        harness.sandbox.clear_faults();
        harness.pass(Duration::from_hours(2)).await;
        harness
            .until("all names are there", async |harness| {
                let conversations = harness.conversations().await;
                let named = |conversation: &Value| conversation["contact"]["name"].is_string();
                (conversations.len() == 3 && conversations.iter().all(named)).then_some(())
            })
            .await;
    })
    .await;
}
