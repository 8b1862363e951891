//! Comments and mentions on Instagram: from the customer into a conversation of their own, and every answer to them back to the post.

mod alike;
mod deleted;
mod hour;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{
    Channel, Content, EchoTiming, FaultKind, FaultRequest, NewCustomer, NewPost, PostChange, PostKind,
};

use crate::harness::{ACCOUNT, ADMIN_KEY, Harness, Setup, on_both, on_both_with, text};

const MINUTE: Duration = Duration::from_mins(1);

fn comment(words: &str, post: &str) -> Content {
    Content::Comment {
        text: words.to_owned(),
        media_id: Some(post.to_owned()),
        parent_id: None,
    }
}

fn under(words: &str, parent: &str) -> Content {
    Content::Comment {
        text: words.to_owned(),
        media_id: None,
        parent_id: Some(parent.to_owned()),
    }
}

fn post(harness: &Harness) -> String {
    let new = NewPost {
        kind: PostKind::Image,
        caption: Some("New lamps".to_owned()),
        ..NewPost::default()
    };
    harness.sandbox.post(new).unwrap()
}

/// Somebody else on Instagram.
fn add_noor(harness: &Harness) {
    let noor = NewCustomer {
        id: Some("noor".to_owned()),
        name: "Noor".to_owned(),
        kind: Some(Channel::Instagram),
        username: Some("noor.k".to_owned()),
        ..NewCustomer::default()
    };
    harness.sandbox.add_customer(noor).unwrap();
}

/// Conversations of a kind, those with the newest message first.
async fn conversations(harness: &Harness, query: &str) -> Vec<Value> {
    let answer = harness.get(&format!("/api/v1/conversations?{query}")).await;
    answer.expect(200)["conversations"].as_array().unwrap().clone()
}

/// The customer comments, and the hub knows; the conversation, and the message that is the comment.
async fn commented(harness: &Harness, who: &str, content: Content) -> (Value, Value) {
    let id = harness.sandbox.write(who, ACCOUNT, content).unwrap().0;
    harness.projected().await;
    for conversation in conversations(harness, "kind=comments").await {
        let messages = harness.messages(&conversation).await;
        if let Some(message) = messages.iter().find(|message| message["externalId"] == id.as_str()) {
            return (conversation, message.clone());
        }
    }
    panic!("the comment {id} is in no conversation")
}

async fn answer(harness: &Harness, kind: &str, comment: &Value, words: &str) -> String {
    let content = json!({"type": kind, "messageId": comment["id"], "text": words});
    harness.send(json!({ "content": content })).await
}

/// What is written under a post, as everybody may read it.
async fn on_post(harness: &Harness, post: &str) -> Vec<Value> {
    let request = harness.sandbox_request(&format!("/sandbox/posts/{post}/comments"));
    harness.answer(request).await.expect(200)["comments"]
        .as_array()
        .unwrap()
        .clone()
}

/// The business writes in the app, past the hub.
async fn as_business(harness: &Harness, path: &str) {
    let environment = harness.sandbox.environment();
    let token = environment.iter().find(|(name, _)| name == "META_IG_ACCESS_TOKEN");
    let request = harness.sandbox_post(path).bearer_auth(&token.unwrap().1);
    harness.answer(request).await.expect(200);
}

/// What the hub says against an answer, by its code; Meta is not asked.
async fn refused(harness: &Harness, content: Value, status: u16, code: &str) -> Value {
    let answer = harness
        .post("/api/v1/messages/send", &json!({ "content": content }))
        .await;
    answer.problem(status, code)
}

#[tokio::test]
async fn a_comment_is_answered_publicly_and_privately_and_the_direct_conversation_is_tied_to_it() {
    for echo in [EchoTiming::AfterAnswer, EchoTiming::BeforeAnswer, EchoTiming::Never] {
        let mut setup = Setup::default();
        setup.sandbox.rules.echo = echo;
        on_both_with(setup, async |harness| {
            let post = post(harness);
            let (thread, message) = commented(harness, "lucia", comment("Do you ship to Lyon?", &post)).await;
            assert_eq!(thread["kind"], "comments");
            assert_eq!(thread["post"]["mediaId"], post.as_str());
            assert_eq!(thread["unread"], 1);
            assert_eq!(thread["window"]["open"], false, "a comment opens no window");
            assert!(thread.get("directConversation").is_none());
            assert_eq!(
                message["content"],
                json!({"type": "text", "text": "Do you ship to Lyon?"})
            );
            assert_eq!(message["comment"], json!({"kind": "comment", "hidden": false}));
            let username = thread["contact"]["username"].as_str().unwrap().to_owned();
            assert!(conversations(harness, "kind=direct").await.is_empty());

            // For everybody to see.
            let public = answer(harness, "comment_reply", &message, "Yes, to all of France.").await;
            harness.message_until(&public, "accepted").await;
            harness.pass(MINUTE).await;
            let shown = on_post(harness, &post).await;
            assert_eq!(shown.len(), 2, "{shown:#?}");
            assert_eq!(shown[1]["text"], "Yes, to all of France.");
            assert_eq!(
                (&shown[1]["byBusiness"], &shown[1]["parentId"]),
                (&json!(true), &shown[0]["id"])
            );
            let messages = harness.messages(&thread).await;
            assert_eq!(
                messages.len(),
                2,
                "its own comment that Meta tells is no second one: {messages:#?}"
            );
            assert_eq!(
                (&messages[1]["direction"], &messages[1]["sender"]),
                (&json!("outbound"), &json!("api"))
            );
            assert_eq!(messages[1]["externalId"], shown[1]["id"]);
            assert_eq!(messages[1]["replyTo"]["messageId"], message["id"]);

            // For the customer alone.
            let private = answer(harness, "private_reply", &message, "Here is the link.").await;
            harness.message_until(&private, "accepted").await;
            harness.pass(MINUTE).await;
            assert_eq!(
                harness.accepted("lucia"),
                ["Yes, to all of France.", "Here is the link."]
            );
            let direct = conversations(harness, "kind=direct").await;
            assert_eq!(direct.len(), 1);
            let direct = &direct[0];
            assert_eq!(direct["contact"]["id"], thread["contact"]["id"]);
            assert_eq!(
                direct["answeredComment"],
                json!({"messageId": message["id"], "conversationId": thread["id"]})
            );
            assert_eq!(direct["window"]["open"], false, "nor does an answer to it");
            let thread = harness
                .get(&format!("/api/v1/conversations/{}", thread["id"].as_str().unwrap()))
                .await
                .expect(200);
            assert_eq!(thread["directConversation"], direct["id"]);
            let reply = harness.message(&private).await;
            assert_eq!(reply["conversationId"], direct["id"]);
            assert_eq!(reply["content"]["messageId"], message["id"]);
            assert_eq!(reply["replyTo"]["messageId"], message["id"]);
            let id = message["id"].as_str().unwrap();
            assert_eq!(harness.message(id).await["comment"]["privateReply"], private.as_str());

            // What they write then is in the direct conversation, and opens its window.
            harness.sandbox.write("lucia", ACCOUNT, text("Thank you!")).unwrap();
            harness.projected().await;
            let direct = conversations(harness, "kind=direct").await;
            assert_eq!(direct.len(), 1);
            assert_eq!(direct[0]["window"]["open"], true);
            assert_eq!(direct[0]["contact"]["username"], username.as_str());
            // Only who has written has agreed to have their profile read, and then it is.
            let contact = direct[0]["contact"]["id"].clone();
            harness
                .until("the contact has the name of their profile", async |harness| {
                    harness.pass(Duration::from_secs(1)).await;
                    harness.contact(&contact).await["name"].as_str().map(str::to_owned)
                })
                .await;
            let said: Vec<Value> = harness.messages(&direct[0]).await;
            let said: Vec<&str> = said
                .iter()
                .map(|one| one["content"]["text"].as_str().unwrap())
                .collect();
            assert_eq!(said, ["Here is the link.", "Thank you!"]);
            assert_eq!(conversations(harness, "").await.len(), 2);
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_to_an_answer_is_put_under_the_first_comment_and_is_one_message() {
    for echo in [EchoTiming::AfterAnswer, EchoTiming::BeforeAnswer] {
        let mut setup = Setup::default();
        setup.sandbox.rules.echo = echo;
        on_both_with(setup, async |harness| {
            add_noor(harness);
            let post = post(harness);
            let (first, question) = commented(harness, "lucia", comment("Is it waterproof?", &post)).await;
            let parent = question["externalId"].as_str().unwrap();
            let (second, followed) = commented(harness, "noor", under("I wonder, too", parent)).await;
            assert_ne!(first["id"], second["id"], "each has a conversation of their own");
            assert_eq!(followed["replyTo"]["messageId"], question["id"]);

            let sent = answer(harness, "comment_reply", &followed, "It is.").await;
            harness.message_until(&sent, "accepted").await;
            harness.pass(MINUTE).await;
            assert_eq!(on_post(harness, &post).await[2]["parentId"], parent);
            assert_eq!(harness.messages(&second).await.len(), 2);
            assert_eq!(
                harness.messages(&first).await.len(),
                1,
                "it is told once, where it was sent"
            );

            // What the business writes in the app is nobody's else: it belongs to whom it answers.
            as_business(
                harness,
                &format!("/v26.0/{parent}/replies?message=And+dishwasher+safe."),
            )
            .await;
            harness.pass(MINUTE).await;
            harness.projected().await;
            let said = harness.messages(&first).await;
            assert_eq!(said.len(), 2, "{said:#?}");
            assert_eq!(
                (&said[1]["direction"], &said[1]["sender"]),
                (&json!("outbound"), &json!("phone"))
            );
            let contacts = harness.get("/api/v1/contacts").await.expect(200);
            assert_eq!(
                contacts["contacts"].as_array().unwrap().len(),
                2,
                "the business is no contact"
            );
        })
        .await;
    }
}

#[tokio::test]
async fn a_comment_is_hidden_shown_and_deleted() {
    on_both(async |harness| {
        harness.foresee_refusals(&[100]);
        let post = post(harness);
        let (thread, message) = commented(harness, "lucia", comment("You are all crooks", &post)).await;
        let id = message["id"].as_str().unwrap();
        let hidden = format!("/api/v1/comments/{id}/hidden");
        let call = async |method: Method, path: &str| {
            harness.pass(Duration::from_secs(1)).await;
            let request = harness.request(method, path).bearer_auth(ADMIN_KEY);
            harness.answer(request).await
        };
        let answer_of = call(Method::PUT, &hidden).await.expect(200);
        assert_eq!(answer_of["comment"]["hidden"], true);
        assert_eq!(on_post(harness, &post).await[0]["hidden"], true);
        let content = json!({"type": "comment_reply", "messageId": id, "text": "We are not."});
        refused(harness, content, 409, "comment_not_answerable").await;
        call(Method::PUT, &hidden).await.expect(200);
        let answer_of = call(Method::DELETE, &hidden).await.expect(200);
        assert_eq!(answer_of["comment"]["hidden"], false);
        assert_eq!(on_post(harness, &post).await[0]["hidden"], false);

        let sent = answer(harness, "comment_reply", &message, "We are not.").await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(MINUTE).await;
        call(Method::PUT, &format!("/api/v1/comments/{sent}/hidden"))
            .await
            .problem(409, "comment_not_answerable");
        call(Method::DELETE, &format!("/api/v1/comments/{sent}"))
            .await
            .expect(200);
        assert_eq!(on_post(harness, &post).await.len(), 1);

        let deleted = call(Method::DELETE, &format!("/api/v1/comments/{id}"))
            .await
            .expect(200);
        assert_eq!(deleted["content"], json!({"type": "deleted"}));
        assert!(on_post(harness, &post).await.is_empty());
        let (kinds, document) = harness.timeline(id).await;
        assert_eq!(
            kinds,
            ["received", "hidden", "hidden", "shown", "deleted"],
            "{document:#}"
        );
        let event = message["eventId"].as_str().unwrap();
        let kept = harness.get(&format!("/api/webhooks/events/{event}")).await;
        assert!(!kept.body.contains("crooks"), "what was deleted is gone: {}", kept.body);
        let audit = harness.get("/api/v1/audit").await.body;
        assert!(
            audit.contains("comment.hide") && audit.contains("comment.delete"),
            "{audit}"
        );
        call(Method::DELETE, &format!("/api/v1/comments/{id}"))
            .await
            .problem(409, "comment_not_answerable");

        // One that its author has deleted is found to be gone.
        let (_, message) = commented(harness, "lucia", comment("Sorry for that", &post)).await;
        let deletes = Content::DeleteComment {
            comment_id: message["externalId"].as_str().unwrap().to_owned(),
        };
        harness.sandbox.write("lucia", ACCOUNT, deletes).unwrap();
        let id = message["id"].as_str().unwrap();
        call(Method::PUT, &format!("/api/v1/comments/{id}/hidden"))
            .await
            .problem(409, "comment_not_answerable");
        assert_eq!(harness.message(id).await["content"], json!({"type": "deleted"}));
        assert_eq!(harness.messages(&thread).await.len(), 3);

        call(
            Method::PUT,
            "/api/v1/comments/msg_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b/hidden",
        )
        .await
        .problem(404, "unknown_comment");
        // A message is no comment.
        harness.sandbox.write("lucia", ACCOUNT, text("hello")).unwrap();
        harness.projected().await;
        let direct = conversations(harness, "kind=direct").await[0].clone();
        let message = harness.messages(&direct).await[0].clone();
        let path = format!("/api/v1/comments/{}", message["id"].as_str().unwrap());
        call(Method::DELETE, &path).await.problem(404, "unknown_comment");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_said_about_a_comment_is_told_before_meta_is_asked() {
    on_both(async |harness| {
        let post = post(harness);
        let (thread, message) = commented(harness, "lucia", comment("Link please", &post)).await;
        let id = message["id"].as_str().unwrap();
        let of = |kind: &str, id: &str, text: &str| json!({"type": kind, "messageId": id, "text": text});
        let unknown = "msg_0197c5a1e2c97d0f8a4b3c2d1e0f9a8b";
        let problem = refused(harness, of("private_reply", unknown, "a"), 404, "unknown_comment").await;
        assert_eq!(problem["errors"][0]["field"], "content.messageId");
        let long = "x".repeat(301);
        let problem = refused(harness, of("comment_reply", id, &long), 422, "unsupported_content").await;
        assert_eq!(problem["errors"][0]["field"], "content.text");
        refused(harness, of("comment_reply", id, "NO LINKS"), 422, "unsupported_content").await;
        let long = "é".repeat(501);
        refused(harness, of("private_reply", id, &long), 422, "unsupported_content").await;
        let sends = async |body: Value, status: u16, code: &str| {
            let answer = harness.post("/api/v1/messages/send", &body).await;
            answer.fields(status, code)
        };
        let content = of("private_reply", id, "a");
        let to = json!({"to": {"conversation": thread["id"]}, "content": content});
        assert_eq!(sends(to, 422, "invalid_field").await, ["to"]);
        assert_eq!(
            sends(json!({"channel": "instagram", "message": "a"}), 422, "invalid_field").await,
            ["to"]
        );
        let quoted = json!({"content": content, "replyTo": id});
        assert_eq!(sends(quoted, 422, "invalid_field").await, ["replyTo"]);
        let elsewhere = json!({"channel": "whatsapp", "content": content});
        assert_eq!(sends(elsewhere, 422, "unsupported_content").await, ["content.type"]);
        let plain = json!({"to": {"conversation": thread["id"]}, "message": "a"});
        assert_eq!(sends(plain, 422, "invalid_recipient").await, ["to"]);

        // Once.
        let sent = answer(harness, "private_reply", &message, "Here you are.").await;
        let problem = refused(
            harness,
            of("private_reply", id, "And again"),
            409,
            "comment_already_answered",
        )
        .await;
        assert!(problem["detail"].as_str().unwrap().contains(&sent), "{problem}");
        harness.message_until(&sent, "accepted").await;
        harness.pass(MINUTE).await;
        refused(
            harness,
            of("private_reply", id, "And again"),
            409,
            "comment_already_answered",
        )
        .await;

        // The business's own, which has no private side.
        let public = answer(harness, "comment_reply", &message, "We have written to you.").await;
        harness.message_until(&public, "accepted").await;
        harness.pass(MINUTE).await;
        refused(
            harness,
            of("private_reply", &public, "a"),
            409,
            "comment_not_answerable",
        )
        .await;

        // For seven days.
        let (_, message) = commented(harness, "lucia", comment("And the price?", &post)).await;
        let id = message["id"].as_str().unwrap();
        harness.pass(MINUTE * (7 * 24 * 60 - 1)).await;
        let late = json!({"content": of("private_reply", id, "a"), "sendAt": "2026-12-31T00:00:00Z"});
        harness
            .post("/api/v1/messages/send", &late)
            .await
            .problem(409, "comment_too_old");
        harness.pass(MINUTE).await;
        refused(harness, of("private_reply", id, "a"), 409, "comment_too_old").await;
        let public = answer(harness, "comment_reply", &message, "29 euros.").await;
        harness.message_until(&public, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn a_private_reply_that_never_got_there_leaves_room_for_another() {
    on_both(async |harness| {
        harness.foresee_refusals(&[100]);
        let post = post(harness);
        let (_, message) = commented(harness, "lucia", comment("Link please", &post)).await;
        let content = json!({"type": "private_reply", "messageId": message["id"], "text": "Later"});
        let at = tidings::clock::from_millis(crate::harness::START + 3_600_000).to_string();
        let waits = harness.send(json!({ "content": content, "sendAt": at })).await;
        let request = harness.request(Method::DELETE, &format!("/api/v1/messages/{waits}"));
        harness.answer(request.bearer_auth(ADMIN_KEY)).await.expect(200);
        let fault = FaultRequest {
            code: Some(100),
            subcode: Some(2_534_015),
            count: Some(1),
            ..FaultRequest::default()
        };
        harness.sandbox.fault(fault).unwrap();
        let failed = answer(harness, "private_reply", &message, "Badly said").await;
        harness.message_until(&failed, "failed").await;
        let sent = answer(harness, "private_reply", &message, "Now").await;
        harness.message_until(&sent, "accepted").await;
        assert_eq!(harness.accepted("lucia"), ["Now"]);
        harness
            .post(&format!("/admin/messages/{failed}/retry"), &json!({}))
            .await
            .problem(409, "not_retryable");
    })
    .await;
}

/// A call to Meta that is not answered is given up soon; when an echo tells what became of it is up to the test.
fn impatient(echo: EchoTiming) -> Setup {
    let mut setup = Setup::default()
        .with("WHATSAPP_REQUEST_TIMEOUT_MS", "2000")
        .with("TIDINGS_GRAPH_CONNECT_TIMEOUT_MS", "2000");
    setup.sandbox.rules.echo = echo;
    setup
}

fn once(endpoint: &str, kind: FaultKind) -> FaultRequest {
    FaultRequest {
        endpoint: endpoint.to_owned(),
        kind,
        count: Some(1),
        ..FaultRequest::default()
    }
}

#[tokio::test]
async fn a_private_reply_that_may_not_have_arrived_is_not_said_to_have_once_its_comment_is_gone() {
    on_both_with(impatient(EchoTiming::Never), async |harness| {
        harness.foresee_refusals(&[10, 100]);
        let post = post(harness);
        let (_, message) = commented(harness, "lucia", comment("Link please", &post)).await;
        harness.sandbox.fault(once("messages", FaultKind::ResetBefore)).unwrap();
        let sent = answer(harness, "private_reply", &message, "Here you are.").await;
        harness
            .until("its outcome is unknown", async |harness| {
                let (_, document) = harness.timeline(&sent).await;
                (document["waiting"]["state"] == "unknown").then_some(())
            })
            .await;
        // No webhook tells that it is gone.
        let comment_id = message["externalId"].as_str().unwrap().to_owned();
        harness
            .sandbox
            .write("lucia", ACCOUNT, Content::DeleteComment { comment_id })
            .unwrap();
        let ended = harness
            .until("it has ended", async |harness| {
                harness.pass(Duration::from_secs(10)).await;
                let message = harness.message(&sent).await;
                (!["queued", "sending"].contains(&message["status"].as_str().unwrap())).then_some(message)
            })
            .await;
        assert_eq!(ended["status"], "failed", "{ended:#}");
        let why = ended["error"]["text"].as_str().unwrap();
        assert!(why.contains("it may have arrived"), "{why}");
        assert!(harness.accepted("lucia").is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_same_answer_to_two_comments_is_said_twice() {
    on_both_with(impatient(EchoTiming::Never), async |harness| {
        let post = post(harness);
        let (_, first) = commented(harness, "lucia", comment("How much?", &post)).await;
        let parent = first["externalId"].as_str().unwrap().to_owned();
        let (_, second) = commented(harness, "lucia", under("And the shipping?", &parent)).await;
        let one = answer(harness, "comment_reply", &first, "Sent you a message.").await;
        let one = harness.message_until(&one, "accepted").await;
        // The other one never reaches Meta, and the first looks like it.
        harness.sandbox.fault(once("comments", FaultKind::ResetBefore)).unwrap();
        let other = answer(harness, "comment_reply", &second, "Sent you a message.").await;
        let other = harness
            .until("it is said after all", async |harness| {
                harness.pass(Duration::from_secs(10)).await;
                let message = harness.message(&other).await;
                (message["status"] == "accepted").then_some(message)
            })
            .await;
        assert_ne!(one["externalId"], other["externalId"]);
        let kept = harness.message(one["id"].as_str().unwrap()).await;
        assert_eq!(kept["externalId"], one["externalId"]);
        let said = on_post(harness, &post).await;
        let answers = said.iter().filter(|comment| comment["text"] == "Sent you a message.");
        assert_eq!(answers.count(), 2, "{said:#?}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_whose_outcome_stayed_unknown_is_not_doubled() {
    for echo in [EchoTiming::AfterAnswer, EchoTiming::Never] {
        for kind in ["comment_reply", "private_reply"] {
            println!("{echo:?} {kind}");
            on_both_with(impatient(echo), async |harness| {
                harness.foresee_refusals(&[100]);
                let post = post(harness);
                let (_, message) = commented(harness, "lucia", comment("Link please", &post)).await;
                let endpoint = if kind == "comment_reply" {
                    "comments"
                } else {
                    "messages"
                };
                harness
                    .sandbox
                    .fault(once(endpoint, FaultKind::ResetAfterAccept))
                    .unwrap();
                let sent = answer(harness, kind, &message, "Here you are.").await;
                // Nothing is heard in the first minute; in the second it is looked for, or asked for again.
                harness
                    .until("it is settled", async |harness| {
                        harness.pass(Duration::from_secs(10)).await;
                        let message = harness.message(&sent).await;
                        (message["status"] == "accepted").then_some(())
                    })
                    .await;
                // What settles it may come before its attempt has ended.
                harness
                    .until("nothing of it waits", async |harness| {
                        let (_, document) = harness.timeline(&sent).await;
                        document.get("waiting").is_none().then_some(())
                    })
                    .await;
                for _ in 0..3 {
                    harness.pass(MINUTE * 2).await;
                }
                assert_eq!(harness.accepted("lucia"), ["Here you are."]);
                let own = on_post(harness, &post).await;
                let expected = if kind == "comment_reply" { 2 } else { 1 };
                assert_eq!(own.len(), expected, "{own:#?}");
                if kind == "comment_reply" {
                    assert_eq!(harness.message(&sent).await["externalId"], own[1]["id"]);
                }
                let (_, document) = harness.timeline(&sent).await;
                assert_eq!(document.get("waiting"), None, "{document:#}");
            })
            .await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_never_got_there_is_sent_again() {
    let mut setup = Setup::default()
        .with("WHATSAPP_REQUEST_TIMEOUT_MS", "2000")
        .with("TIDINGS_GRAPH_CONNECT_TIMEOUT_MS", "2000");
    setup.sandbox.rules.echo = EchoTiming::Never;
    on_both_with(setup, async |harness| {
        let post = post(harness);
        let (_, message) = commented(harness, "lucia", comment("Link please", &post)).await;
        let fault = FaultRequest {
            endpoint: "comments".to_owned(),
            kind: FaultKind::ResetBefore,
            count: Some(1),
            ..FaultRequest::default()
        };
        harness.sandbox.fault(fault).unwrap();
        let sent = answer(harness, "comment_reply", &message, "Here you are.").await;
        harness
            .until("it is there", async |harness| {
                harness.pass(Duration::from_secs(10)).await;
                (harness.message(&sent).await["status"] == "accepted").then_some(())
            })
            .await;
        assert_eq!(on_post(harness, &post).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_broadcast_is_answered_privately_while_it_lasts() {
    on_both(async |harness| {
        harness.foresee_refusals(&[10]);
        let new = NewPost {
            kind: PostKind::Video,
            live: true,
            ..NewPost::default()
        };
        let broadcast = harness.sandbox.post(new).unwrap();
        let (_, one) = commented(harness, "lucia", comment("How much?", &broadcast)).await;
        assert_eq!(one["comment"]["kind"], "live");
        let content = json!({"type": "comment_reply", "messageId": one["id"], "text": "29 euros."});
        refused(harness, content, 409, "comment_not_answerable").await;
        let sent = answer(harness, "private_reply", &one, "29 euros.").await;
        harness.message_until(&sent, "accepted").await;
        harness.pass(MINUTE).await;
        let (_, two) = commented(harness, "lucia", comment("And in red?", &broadcast)).await;
        let over = PostChange {
            live: Some(false),
            ..PostChange::default()
        };
        harness.sandbox.change_post(&broadcast, over).unwrap();
        let late = answer(harness, "private_reply", &two, "Red, too.").await;
        let failed = harness.message_until(&late, "failed").await;
        assert_eq!(failed["error"]["subcode"], 2_534_022);
        assert!(failed["error"]["meaning"].is_string());
    })
    .await;
}

#[tokio::test]
async fn mentions_are_read_and_answered_under_the_post_of_somebody_else() {
    on_both(async |harness| {
        let in_comment = Content::Mention {
            text: "@sandbox.records is the best".to_owned(),
            media_id: None,
        };
        let in_caption = Content::CaptionMention {
            text: "My lamp from @sandbox.records".to_owned(),
        };
        for (content, kind, words) in [
            (in_comment, "mention", "@sandbox.records is the best"),
            (in_caption, "caption", "My lamp from @sandbox.records"),
        ] {
            harness.sandbox.write("lucia", ACCOUNT, content).unwrap();
            harness.projected().await;
            let found = harness
                .until("Meta was asked what was said", async |harness| {
                    for thread in conversations(harness, "kind=comments").await {
                        let messages = harness.messages(&thread).await;
                        if messages[0]["comment"]["kind"] == kind {
                            return Some((thread, messages[0].clone()));
                        }
                    }
                    None
                })
                .await;
            let (thread, message) = found;
            assert_eq!(message["content"]["text"], words);
            assert!(thread["post"]["mediaId"].is_string());
            assert!(thread["contact"]["username"].is_string());
            let content = json!({"type": "private_reply", "messageId": message["id"], "text": "Thanks"});
            refused(harness, content, 409, "comment_not_answerable").await;
            let sent = answer(harness, "comment_reply", &message, "Thank you!").await;
            let accepted = harness.message_until(&sent, "accepted").await;
            assert!(accepted["externalId"].is_string());
            harness.pass(MINUTE).await;
            assert_eq!(harness.messages(&thread).await.len(), 2);
        }
        assert_eq!(harness.accepted("lucia"), ["Thank you!", "Thank you!"]);
        let contacts = harness.get("/api/v1/contacts").await.expect(200);
        assert_eq!(
            contacts["contacts"].as_array().unwrap().len(),
            1,
            "both are by one user name"
        );
    })
    .await;
}

#[tokio::test]
async fn whoever_mentions_the_business_is_who_is_known_by_that_user_name() {
    on_both(async |harness| {
        let post = post(harness);
        let (thread, _) = commented(harness, "lucia", comment("Do you ship to Lyon?", &post)).await;
        let mention = |words: &str| Content::Mention {
            text: words.to_owned(),
            media_id: None,
        };
        let who_said = async |words: &str| {
            harness
                .until("Meta was asked what was said", async |harness| {
                    for thread in conversations(harness, "kind=comments").await {
                        let messages = harness.messages(&thread).await;
                        if messages[0]["content"]["text"] == words {
                            return Some(thread["contact"].clone());
                        }
                    }
                    None
                })
                .await
        };
        harness
            .sandbox
            .write("lucia", ACCOUNT, mention("Look at @sandbox.records"))
            .unwrap();
        harness.projected().await;
        let who = who_said("Look at @sandbox.records").await;
        assert_eq!(who["id"], thread["contact"]["id"], "{who:#}");
        // Of somebody who has never written nothing but the name is known.
        add_noor(harness);
        harness
            .sandbox
            .write("noor", ACCOUNT, mention("@sandbox.records again"))
            .unwrap();
        harness.projected().await;
        let who = who_said("@sandbox.records again").await;
        assert_ne!(who["id"], thread["contact"]["id"]);
        assert_eq!(who["username"], "noor.k");
    })
    .await;
}
