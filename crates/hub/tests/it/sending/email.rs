//! E-mail: put first by a flag, its subject, what becomes of it where the server fails, and of a login that is refused.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, SmtpAuth, SmtpOptions};

use super::routes::{POLICY, begin, by_route, setup, two_numbers, with_email, writes_to_the_other_number};
use crate::harness::{ADMIN_KEY, Harness, fault, on_both_with, on_postgres};

const SECOND: Duration = Duration::from_secs(1);

async fn set_priority(harness: &Harness, value: bool) {
    let request = harness
        .request(Method::PUT, "/api/v1/flags/channels.email.priority")
        .bearer_auth(ADMIN_KEY)
        .json(&json!({ "value": value }));
    harness.answer(request).await.expect(200);
}

fn at(stage: &str, kind: FaultKind) -> FaultRequest {
    FaultRequest {
        endpoint: format!("smtp.{stage}"),
        ..fault(kind)
    }
}

/// An e-mail to somebody who was never heard of.
async fn write(harness: &Harness, words: &str) -> String {
    harness
        .send(json!({"channel": "email", "to": "ada@example.org", "message": words}))
        .await
}

fn mails(harness: &Harness) -> Vec<String> {
    let mailbox = harness.sandbox.mailbox();
    mailbox
        .iter()
        .map(|mail| serde_json::to_string(mail).unwrap())
        .collect()
}

#[tokio::test]
async fn a_flag_puts_email_before_the_order_of_the_policy_for_new_messages() {
    on_both_with(setup(), async |harness| {
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        set_priority(harness, true).await;
        let first = harness.reply(&conversation, "by e-mail first").await;
        let message = harness.message_until(&first, "accepted").await;
        assert_eq!(
            (&message["channelId"], &message["route"]),
            (&json!("email"), &json!("email"))
        );
        let sent = mails(harness);
        assert!(sent[0].contains("by e-mail first"), "{sent:?}");
        assert!(
            !sent[0].contains("did not reach you"),
            "it is the first route: {sent:?}"
        );

        // Where e-mail fails it goes on with the order of the policy, from its beginning.
        let gone = FaultRequest {
            code: Some(550),
            ..at("rcpt", FaultKind::Error)
        };
        harness.sandbox.fault(gone).unwrap();
        let second = harness.reply(&conversation, "then by the number").await;
        let message = by_route(harness, &second, "whatsapp").await;
        let leg = message["routes"][1]["messageId"].as_str().unwrap();
        harness.message_until(leg, "accepted").await;

        // What e-mail cannot carry, and whoever has no address, goes as ever.
        let template = json!({"to": {"conversation": conversation["id"]},
            "content": {"type": "template", "name": "hello_world", "language": "en_US"}});
        let third = harness.send(template).await;
        assert_eq!(harness.message_until(&third, "accepted").await["channelId"], "whatsapp");

        set_priority(harness, false).await;
        let last = harness.reply(&conversation, "as ever").await;
        assert_eq!(harness.message_until(&last, "accepted").await["channelId"], "whatsapp");
        assert_eq!(mails(harness).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn every_node_obeys_the_flags_of_routes_within_a_second() {
    on_postgres(setup().with("TIDINGS_MASTER_KEY", &"0f".repeat(32)), async |harness| {
        let other = harness.another_node().await;
        let app = other.hub().app();
        for (flag, value) in [("channels.email.priority", true), ("channels.whatsapp.enabled", false)] {
            let whatsapp = "whatsapp".parse().unwrap();
            let stands = || match flag {
                "channels.email.priority" => app.flags.email_has_priority(),
                _ => tidings::sending::route::down(app, &whatsapp).is_none(),
            };
            // There, and back again, and so on.
            let set = async |attempt: usize| {
                let value = value == attempt.is_multiple_of(2);
                let mut changes = app.channels.changes();
                let request = harness
                    .request(Method::PUT, &format!("/api/v1/flags/{flag}"))
                    .bearer_auth(ADMIN_KEY)
                    .json(&json!({ "value": value }));
                harness.answer(request).await.expect(200);
                let asked = tokio::time::Instant::now();
                while stands() != value {
                    changes.changed().await;
                }
                asked.elapsed()
            };
            harness.takes_less_than_a_second(flag, set).await;
        }
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_names_the_subject_and_what_the_contact_is_told() {
    let policy = r#"
[[routes]]
name = "orders"
order = ["whatsapp", "email"]
told = "On {route} nobody was there."
subject = "News of your order"

[[routes]]
name = "plain"
order = ["whatsapp", "email"]
told = ""

[[routes]]
name = "usual"
order = ["whatsapp", "email"]
"#;
    on_both_with(two_numbers().with_file(policy), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        let mut found = Vec::new();
        for route in ["orders", "plain", "usual"] {
            let undeliverable = FaultRequest {
                code: Some(131_026),
                ..fault(FaultKind::Error)
            };
            harness.sandbox.fault(undeliverable).unwrap();
            let body =
                json!({"to": {"conversation": conversation["id"]}, "message": "It is on its way.", "route": route});
            let id = harness.send(body).await;
            let message = by_route(harness, &id, "email").await;
            let leg = message["routes"][1]["messageId"].as_str().unwrap();
            harness.message_until(leg, "accepted").await;
            found = harness.sandbox.mailbox();
        }
        let said: Vec<(String, String)> = found
            .iter()
            .map(|mail| {
                let text = mail.text.as_deref().unwrap_or_default();
                (mail.subject.clone(), text.trim_end().replace("\r\n", "\n"))
            })
            .collect();
        let (usual, words) = ("A message for you".to_owned(), "It is on its way.");
        assert!(
            said.contains(&(
                "News of your order".to_owned(),
                format!("On WhatsApp nobody was there.\n\n{words}")
            )),
            "{said:?}"
        );
        assert!(said.contains(&(usual.clone(), words.to_owned())), "{said:?}");
        let told = format!("We could not reach you on WhatsApp, so we write to you here.\n\n{words}");
        assert!(said.contains(&(usual, told)), "{said:?}");
    })
    .await;
}

#[tokio::test]
async fn a_template_goes_by_email_as_its_words() {
    let policy = "[[routes]]\nname = \"default\"\norder = [\"whatsapp\", \"email\"]\n";
    on_both_with(two_numbers().with_file(policy), async |harness| {
        harness.foresee_refusals(&[131_026]);
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        let undeliverable = FaultRequest {
            code: Some(131_026),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(undeliverable).unwrap();
        let sent = harness
            .send(json!({"to": {"conversation": conversation["id"]},
                "content": {"type": "template", "name": "hello_world", "language": "en_US"}}))
            .await;
        harness
            .until("the e-mail has come", async |harness| {
                let kept = serde_json::to_string(&harness.sandbox.mailbox()).unwrap();
                let is_said = kept.contains("This is a first message, sent from a template without parameters.");
                assert!(
                    !kept.contains("hello_world"),
                    "no names of templates are sent to people"
                );
                is_said.then_some(())
            })
            .await;
        let message = harness.message(&sent).await;
        assert_eq!(message["routes"][1]["channel"], "email", "{message}");
    })
    .await;
}

#[tokio::test]
async fn an_email_whose_taking_was_not_confirmed_is_sent_once_more_under_the_same_id() {
    on_both_with(two_numbers(), async |harness| {
        harness.sandbox.fault(at("data", FaultKind::ResetAfterAccept)).unwrap();
        let sent = write(harness, "once or twice").await;
        let waiting = harness.waiting_after(&sent, 1).await;
        assert_eq!(waiting["waitsFor"], "unknown_outcome", "{waiting}");
        assert_eq!(harness.sandbox.mailbox().len(), 1);
        harness.pass(SECOND * 61).await;
        let message = harness.message_until(&sent, "accepted").await;
        assert_eq!(message["maybeDuplicate"], true);
        let ids: Vec<String> = harness
            .sandbox
            .mailbox()
            .iter()
            .filter_map(|mail| {
                mail.raw
                    .lines()
                    .find(|line| line.starts_with("Message-ID:"))
                    .map(str::to_owned)
            })
            .collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(ids[0], ids[1], "a mailbox can tell that they are one");
    })
    .await;
}

#[tokio::test]
async fn a_login_that_is_refused_holds_the_channel_and_is_asked_about_less_and_less() {
    let mut setup = two_numbers();
    setup.sandbox.smtp = Some(SmtpOptions {
        auth: SmtpAuth::Only {
            user: "shop".to_owned(),
            password: "a-password".to_owned(),
        },
        ..SmtpOptions::default()
    });
    on_both_with(setup, async |harness| {
        let refused = FaultRequest {
            code: Some(535),
            count: None,
            ..at("auth", FaultKind::Error)
        };
        harness.sandbox.fault(refused).unwrap();
        let sent = write(harness, "when it works").await;
        let channel = harness
            .until("the channel is held", async |harness| {
                let channel = harness.get("/api/v1/channels/email").await.expect(200);
                (channel["status"] == "held").then_some(channel)
            })
            .await;
        assert_eq!(channel["held"]["code"], 535, "{channel}");
        // It is asked after 30 s, after another minute, and after two more; in between nothing is tried with the message.
        harness.pass(SECOND * 31).await;
        harness.pass(SECOND * 61).await;
        let (_, timeline) = harness.timeline(&sent).await;
        let attempts = timeline["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["kind"] == "attempt");
        assert_eq!(attempts.count(), 1, "{timeline}");
        assert_eq!(timeline["waiting"]["waitsFor"], "credentials", "{timeline}");
        let audit = harness.get("/api/v1/audit?subject=channel:email").await.expect(200);
        let actions: Vec<&Value> = audit["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["action"])
            .collect();
        assert_eq!(actions, ["channel.hold", "channel.credentials"], "it is held once");

        harness.sandbox.clear_faults();
        harness
            .until("it goes on by itself", async |harness| {
                harness.pass(SECOND * 30).await;
                (harness.message(&sent).await["status"] == "accepted").then_some(())
            })
            .await;
        assert_eq!(harness.sandbox.mailbox().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_conversation_by_email_is_its_own_and_the_numbers_keeps_its_history() {
    on_both_with(setup(), async |harness| {
        assert!(POLICY.contains("fallback_after_secs"));
        let conversation = begin(harness).await;
        with_email(harness, &conversation).await;
        set_priority(harness, true).await;
        let sent = harness.reply(&conversation, "elsewhere").await;
        let message = harness.message_until(&sent, "accepted").await;
        assert_ne!(message["conversationId"], conversation["id"]);
        writes_to_the_other_number(harness).await;
        assert_eq!(harness.messages(&conversation).await.len(), 1);
        assert_eq!(harness.conversations().await.len(), 3);
    })
    .await;
}
