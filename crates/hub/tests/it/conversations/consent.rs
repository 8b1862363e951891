//! What contacts say of being written to: by words, in WhatsApp's menu; and what is sent to them afterwards.

use std::time::Duration;

use serde_json::{Value, json};
use tidings::conversations::consent::model::{Source, Statement};
use tidings::sending::model::Purpose;
use tidings_sandbox::{Content, FaultKind, FaultRequest, Template};

use crate::harness::{ACCOUNT, Answer, Harness, NUMBER, Setup, fault, on_both, on_both_with, text, whatsapp_value};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const PHONE: &str = "+447700900101";
const SEND: &str = "/api/v1/messages/send";

/// A customer says something, a second after what was before.
async fn says(harness: &Harness, customer: &str, account: &str, content: Content) {
    harness.pass(SECOND).await;
    harness.sandbox.write(customer, account, content).unwrap();
    harness.projected().await;
}

async fn amara_says(harness: &Harness, words: &str) {
    says(harness, "amara", NUMBER, text(words)).await;
}

async fn consent(harness: &Harness) -> Value {
    let conversation = harness.conversation().await;
    let contact = conversation["contact"]["id"].as_str().unwrap();
    harness
        .get(&format!("/api/v1/contacts/{contact}/consent"))
        .await
        .expect(200)
}

/// How the only contact stands to advertising and to everything else.
async fn statuses(harness: &Harness) -> (String, String) {
    let consent = consent(harness).await;
    let status = |purpose: &str| consent[purpose]["status"].as_str().unwrap().to_owned();
    (status("marketing"), status("service"))
}

fn pair(marketing: &str, service: &str) -> (String, String) {
    (marketing.to_owned(), service.to_owned())
}

async fn send(harness: &Harness, purpose: &str, words: &str) -> Answer {
    let conversation = harness.conversation().await;
    let body = json!({"to": {"conversation": conversation["id"]}, "message": words, "purpose": purpose});
    harness.post(SEND, &body).await
}

/// Meta refuses the next sends so.
fn refuse(harness: &mut Harness, code: i64, count: Option<u64>) {
    let request = FaultRequest {
        code: Some(code),
        count,
        ..fault(FaultKind::Error)
    };
    harness.sandbox.fault(request).unwrap();
    harness.foresee_refusals(&[code]);
}

#[tokio::test]
async fn who_writes_stop_is_sent_nothing_but_answers_until_they_write_start() {
    for (customer, account) in [("amara", NUMBER), ("lucia", ACCOUNT)] {
        on_both(async |harness| {
            says(harness, customer, account, text("Don't stop! When is the next one?")).await;
            assert_eq!(statuses(harness).await, pair("unknown", "unknown"));
            for purpose in ["service", "marketing"] {
                let sent = send(harness, purpose, purpose).await.expect(202);
                harness
                    .message_until(sent["messageId"].as_str().unwrap(), "accepted")
                    .await;
            }
            says(harness, customer, account, text(" Stop!")).await;
            assert_eq!(statuses(harness).await, pair("opted_out", "opted_out"));
            for purpose in ["service", "marketing"] {
                let problem = send(harness, purpose, "never").await.problem(409, "contact_opted_out");
                assert!(problem["detail"].as_str().unwrap().contains("Stop!"), "{problem}");
            }
            // What they write afterwards can be answered, and nothing else is said.
            says(harness, customer, account, text("One more question")).await;
            let answer = send(harness, "service", "an answer").await.expect(202);
            send(harness, "marketing", "never")
                .await
                .problem(409, "contact_opted_out");
            harness
                .message_until(answer["messageId"].as_str().unwrap(), "accepted")
                .await;
            says(harness, customer, account, text("START")).await;
            assert_eq!(statuses(harness).await, pair("opted_in", "opted_in"));
            let sent = send(harness, "marketing", "again").await.expect(202);
            harness
                .message_until(sent["messageId"].as_str().unwrap(), "accepted")
                .await;
            assert_eq!(
                harness.accepted(customer),
                ["service", "marketing", "an answer", "again"]
            );
            let said = harness.messages(&harness.conversation().await).await;
            let stop = said
                .iter()
                .find(|message| message["content"]["text"] == " Stop!")
                .unwrap();
            let (kinds, _) = harness.timeline(stop["id"].as_str().unwrap()).await;
            assert_eq!(kinds, ["received", "opted_out"]);
        })
        .await;
    }
}

#[tokio::test]
async fn only_a_message_that_is_a_word_and_is_the_contacts_own_counts() {
    on_both(async |harness| {
        amara_says(harness, "hello").await;
        let number = harness.contact(&harness.conversation().await["contact"]["id"]).await;
        let from = number["identities"][0]["value"].as_str().unwrap().trim_start_matches('+').to_owned();
        let at = (harness.clock.now_millis() / 1_000).to_string();
        let message = |id: &str, more: Value| {
            let mut message = json!({"id": id, "from": from, "timestamp": at});
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            whatsapp_value(&json!({ "messages": [message] }))
        };
        let stop = json!({"body": "STOP"});
        let picture = json!({"id": "1", "mime_type": "image/jpeg", "sha256": "x", "caption": "STOP"});
        for (number, more) in [
            json!({"type": "image", "image": picture}),
            json!({"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "STOP"}}),
            json!({"type": "text", "text": stop, "group_id": "G-1"}),
            json!({"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "stop", "title": "Stop"}}}),
            json!({"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "stop", "title": "Stop"}}}),
        ]
        .into_iter()
        .enumerate()
        {
            harness.whatsapp(&message(&format!("wamid.n{number}"), more.clone())).await;
            assert_eq!(statuses(harness).await, pair("unknown", "unknown"), "{more}");
        }
        // What is taken out of a message later makes none of it unsaid, and another wording says nothing new.
        let mut edit = message("wamid.e1", json!({"type": "edit", "edit": {"original_message_id": "wamid.t1",
            "message": {"type": "text", "text": {"body": "STOP"}}}}));
        harness.whatsapp(&edit).await;
        harness.whatsapp(&message("wamid.t1", json!({"type": "text", "text": {"body": "Stop at ten"}}))).await;
        assert_eq!(statuses(harness).await, pair("unknown", "unknown"));
        harness
            .whatsapp(&message("wamid.b1", json!({"type": "button", "button": {"payload": "x", "text": "Stop promotions"}})))
            .await;
        assert_eq!(statuses(harness).await, pair("opted_out", "opted_out"));
        edit["entry"][0]["changes"][0]["value"]["messages"][0]["edit"]["original_message_id"] = json!("wamid.b1");
        harness.whatsapp(&edit).await;
        let revoke = message("wamid.r1", json!({"type": "revoke", "revoke": {"original_message_id": "wamid.b1"}}));
        harness.whatsapp(&revoke).await;
        assert_eq!(statuses(harness).await, pair("opted_out", "opted_out"));
    })
    .await;
}

#[tokio::test]
async fn what_was_said_in_whatsapps_menu_is_taken_back_there_alone() {
    on_both(async |harness| {
        amara_says(harness, "hello").await;
        says(harness, "amara", NUMBER, Content::StopMarketing).await;
        assert_eq!(statuses(harness).await, pair("opted_out", "unknown"));
        let problem = send(harness, "marketing", "never")
            .await
            .problem(409, "contact_opted_out");
        assert!(
            problem["detail"].as_str().unwrap().contains("WhatsApp's menu"),
            "{problem}"
        );
        let answer = send(harness, "service", "an answer").await.expect(202);
        harness
            .message_until(answer["messageId"].as_str().unwrap(), "accepted")
            .await;
        // WhatsApp would refuse it all the same.
        amara_says(harness, "START").await;
        assert_eq!(statuses(harness).await, pair("opted_out", "opted_in"));
        says(harness, "amara", NUMBER, Content::ResumeMarketing).await;
        assert_eq!(statuses(harness).await, pair("opted_in", "opted_in"));
        // And what she writes is not taken back there.
        amara_says(harness, "STOP").await;
        says(harness, "amara", NUMBER, Content::StopMarketing).await;
        says(harness, "amara", NUMBER, Content::ResumeMarketing).await;
        assert_eq!(statuses(harness).await, pair("opted_out", "opted_out"));
        let consent = consent(harness).await;
        let keepers: Vec<&Value> = consent["marketing"]["statements"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| &of["keeper"])
            .collect();
        assert_eq!(keepers, ["tidings", "whatsapp"]);
    })
    .await;
}

#[tokio::test]
async fn what_waits_is_cancelled_with_the_opt_out_and_says_why() {
    on_both(async |harness| {
        amara_says(harness, "hello").await;
        refuse(harness, 131_057, None);
        let id = |answer: Answer| answer.expect(202)["messageId"].as_str().unwrap().to_owned();
        let service = id(send(harness, "service", "service").await);
        harness.waiting_after(&service, 1).await;
        let marketing = id(send(harness, "marketing", "marketing").await);
        let later = json!({"channel": "whatsapp", "to": PHONE, "message": "later", "purpose": "marketing",
            "sendAt": (harness.clock.now() + HOUR).to_string()});
        let later = id(harness.post(SEND, &later).await);
        says(harness, "amara", NUMBER, Content::StopMarketing).await;
        assert_ne!(harness.message(&service).await["status"], "cancelled");
        for id in [&marketing, &later] {
            let message = harness.message(id).await;
            assert_eq!(message["status"], "cancelled", "{message}");
            let why = message["error"]["text"].as_str().unwrap();
            assert!(why.starts_with("the contact wants no advertising"), "{why}");
            let (kinds, document) = harness.timeline(id).await;
            assert_eq!(kinds, ["queued", "cancelled"], "{document}");
            assert_eq!(document["timeline"][1]["detail"]["reason"], why);
        }
        amara_says(harness, "stop").await;
        // It may just have been under way; then it is not sent again.
        harness
            .until("what is no answer is cancelled too", async |harness| {
                harness.pass(HOUR / 60).await;
                (harness.message(&service).await["status"] == "cancelled").then_some(())
            })
            .await;
        harness.sandbox.clear_faults();
        harness.pass(HOUR * 2).await;
        assert_eq!(harness.accepted("amara"), Vec::<String>::new());
        // A message that failed is not sent again either.
        let post = format!("/admin/messages/{service}/retry");
        harness.post(&post, &json!({})).await.problem(409, "not_retryable");
    })
    .await;
}

#[tokio::test]
async fn a_sender_sends_nothing_that_was_forbidden_since_it_was_accepted() {
    on_both(async |harness| {
        amara_says(harness, "hello").await;
        refuse(harness, 131_057, Some(1));
        let sent = send(harness, "marketing", "never").await.expect(202);
        let id = sent["messageId"].as_str().unwrap().to_owned();
        harness.waiting_after(&id, 1).await;
        // As a node would that has not seen the message when it kept the opt-out.
        let contact = harness.conversation().await["contact"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let app = harness.hub().app();
        let statement = Statement {
            id: app.ids.next(),
            contact_id: contact.parse().unwrap(),
            purpose: Purpose::Marketing,
            opted_out: true,
            source: Source::Api,
            at: app.clock.now_millis(),
            channel_id: None,
            detail: None,
            actor: None,
            noted_at: app.clock.now_millis(),
        };
        let write = app
            .store
            .write(move |tx| tx.insert_consent_statements(std::slice::from_ref(&statement)));
        write.await.unwrap();
        harness.pass(HOUR).await;
        let message = harness.message_until(&id, "cancelled").await;
        assert!(
            message["error"]["text"].as_str().unwrap().contains("no advertising"),
            "{message}"
        );
        assert_eq!(harness.accepted("amara"), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn what_may_have_arrived_is_not_repeated_after_an_opt_out() {
    on_both(async |harness| {
        amara_says(harness, "hello").await;
        // Meta does not get it, and nobody can tell.
        harness.sandbox.fault(fault(FaultKind::ResetBefore)).unwrap();
        let sent = send(harness, "marketing", "once").await.expect(202);
        let id = sent["messageId"].as_str().unwrap().to_owned();
        harness
            .until("its outcome is unknown", async |harness| {
                let waiting = harness.timeline(&id).await.1["waiting"].clone();
                (waiting["state"] == "unknown").then_some(())
            })
            .await;
        amara_says(harness, "STOP").await;
        assert!(!harness.timeline(&id).await.1["waiting"].is_null());
        harness.pass(HOUR).await;
        let message = harness.message_until(&id, "failed").await;
        let why = message["error"]["text"].as_str().unwrap();
        assert!(why.contains("opted out") && why.contains("may have arrived"), "{why}");
        assert_eq!(harness.accepted("amara"), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_template_of_the_category_marketing_is_advertising_whatever_the_sender_says() {
    let mut setup = Setup::default();
    let mut sale = Template::utility("the_sale", "Everything must go.");
    sale.category = "MARKETING".to_owned();
    setup.sandbox.world.templates.push(sale);
    on_both_with(setup, async |harness| {
        harness
            .until("the template is known", async |harness| {
                let known = harness.get("/api/v1/templates?q=the_sale").await.expect(200);
                (!known["templates"].as_array()?.is_empty()).then_some(())
            })
            .await;
        amara_says(harness, "hello").await;
        says(harness, "amara", NUMBER, Content::StopMarketing).await;
        let template = json!({"type": "template", "name": "the_sale", "language": "en_US"});
        let advertises = json!({"channel": "whatsapp", "to": PHONE, "content": template, "purpose": "service"});
        harness.post(SEND, &advertises).await.problem(409, "contact_opted_out");
        let stands_ready = json!({"channel": "whatsapp", "to": PHONE, "message": "words",
            "fallbackTemplate": {"name": "the_sale", "language": "en_US"}});
        harness.post(SEND, &stands_ready).await.problem(409, "contact_opted_out");
        let harmless = json!({"channel": "whatsapp", "to": PHONE, "content": {"type": "template", "name": "hello_world", "language": "en_US"}});
        let sent = harness.send(harmless).await;
        harness.message_until(&sent, "accepted").await;
        // To whoever is not known, nothing was said to the contrary.
        let stranger = json!({"channel": "whatsapp", "to": "+447700900102", "content": template});
        let sent = harness.send(stranger).await;
        harness.message_until(&sent, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn what_meta_refuses_for_an_opt_out_is_noted() {
    on_both(async |harness| {
        amara_says(harness, "hello").await;
        refuse(harness, 131_050, Some(1));
        let sent = send(harness, "marketing", "never").await.expect(202);
        harness
            .message_until(sent["messageId"].as_str().unwrap(), "failed")
            .await;
        assert_eq!(statuses(harness).await, pair("opted_out", "unknown"));
        let document = consent(harness).await;
        let statement = &document["marketing"]["statements"][0];
        assert_eq!((&statement["source"], &statement["keeper"]), (&json!("refusal"), &json!("whatsapp")));
        send(harness, "marketing", "never")
            .await
            .problem(409, "contact_opted_out");
        says(harness, "amara", NUMBER, Content::ResumeMarketing).await;
        assert_eq!(statuses(harness).await, pair("opted_in", "unknown"));

        // By a status, which comes later.
        let sent = send(harness, "marketing", "told later").await.expect(202);
        let message = harness
            .message_until(sent["messageId"].as_str().unwrap(), "accepted")
            .await;
        harness.clock.advance(SECOND);
        let status = json!({"id": message["externalId"], "status": "failed", "recipient_id": PHONE.trim_start_matches('+'),
            "timestamp": (harness.clock.now_millis() / 1_000).to_string(),
            "errors": [{"code": 131_050, "title": "User stopped marketing messages"}]});
        for _ in 0..2 {
            harness.whatsapp(&whatsapp_value(&json!({ "statuses": [status] }))).await;
        }
        assert_eq!(statuses(harness).await, pair("opted_out", "unknown"));
    })
    .await;
}

#[tokio::test]
async fn of_contacts_that_turn_out_to_be_one_the_opt_out_holds_for_both() {
    on_both(async |harness| {
        let at = |seconds: i64| (harness.clock.now_millis() / 1_000 + seconds).to_string();
        let says = async |id: &str, ids: Value, words: &str, seconds: i64| {
            let mut message = json!({"id": id, "timestamp": at(seconds), "type": "text", "text": {"body": words}});
            message
                .as_object_mut()
                .unwrap()
                .extend(ids.as_object().unwrap().clone());
            harness
                .whatsapp(&whatsapp_value(&json!({ "messages": [message] })))
                .await;
        };
        let (phone, user_id) = (
            json!({"from": "447700900101"}),
            json!({"from_user_id": "GB.48201937562840117365"}),
        );
        says("wamid.1", phone, "hello", -30).await;
        let mut asked = json!({"channel": "whatsapp", "to": PHONE, "message": "later", "purpose": "marketing",
            "sendAt": (harness.clock.now() + HOUR).to_string()});
        let waits = harness.send(asked.clone()).await;
        says("wamid.2", user_id, "STOP", -20).await;
        assert_eq!(harness.message(&waits).await["status"], "queued");
        says(
            "wamid.3",
            json!({"from": "447700900101", "from_user_id": "GB.48201937562840117365"}),
            "It is me",
            -10,
        )
        .await;
        assert_eq!(statuses(harness).await, pair("opted_out", "opted_out"));
        assert_eq!(harness.message(&waits).await["status"], "cancelled");
        asked.as_object_mut().unwrap().remove("sendAt");
        harness.post(SEND, &asked).await.problem(409, "contact_opted_out");
    })
    .await;
}

#[tokio::test]
async fn the_words_of_each_language_can_be_set() {
    let setup = Setup::default()
        .with("TIDINGS_OPT_OUT_EN", "HALT, no more please")
        .with("TIDINGS_OPT_IN_OTHER", "pokračovať");
    on_both_with(setup, async |harness| {
        amara_says(harness, "Unsubscribe").await;
        assert_eq!(statuses(harness).await, pair("unknown", "unknown"));
        amara_says(harness, "No more, please!").await;
        assert_eq!(statuses(harness).await, pair("unknown", "unknown"));
        amara_says(harness, "No more  please!").await;
        assert_eq!(statuses(harness).await, pair("opted_out", "opted_out"));
        amara_says(harness, "POKRAČOVAŤ").await;
        assert_eq!(statuses(harness).await, pair("opted_in", "opted_in"));
        // The other languages have theirs.
        for word in ["Afmelden", "abmelden", "Désabonner", "BAJA", "sair"] {
            amara_says(harness, word).await;
            assert_eq!(statuses(harness).await, pair("opted_out", "opted_out"), "{word}");
            amara_says(harness, "aanmelden").await;
        }
    })
    .await;
}
