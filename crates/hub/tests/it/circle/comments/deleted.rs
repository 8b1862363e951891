//! A comment that is deleted takes with it what is below it, at Meta and here.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{Content, EchoTiming};

use super::{MINUTE, add_noor, answer, comment, commented, conversations, on_post, post, under};
use crate::harness::{ACCOUNT, ADMIN_KEY, Answer, Harness, Setup, on_both, on_both_with};

async fn delete(harness: &Harness, id: &Value) -> Answer {
    harness.pass(Duration::from_secs(1)).await;
    let path = format!("/api/v1/comments/{}", id.as_str().unwrap());
    let request = harness.request(Method::DELETE, &path).bearer_auth(ADMIN_KEY);
    harness.answer(request).await
}

async fn is_deleted(harness: &Harness, id: &Value) -> bool {
    let message = harness.message(id.as_str().unwrap()).await;
    let is = message["content"] == json!({"type": "deleted"});
    assert_eq!(is, message["deletedAt"].is_string(), "{message:#}");
    is
}

/// A comment of hers, an answer of somebody else's to it, and ours to both, the private one included.
struct Talk {
    first: Value,
    followed: Value,
    public: Value,
    further: Value,
    private: Value,
}

async fn talk(harness: &Harness, post: &str) -> Talk {
    let (_, first) = commented(harness, "lucia", comment("Is it waterproof?", post)).await;
    let parent = first["externalId"].as_str().unwrap();
    let (_, followed) = commented(harness, "noor", under("I wonder, too", parent)).await;
    let mut sent = Vec::new();
    for (kind, to, words) in [
        ("comment_reply", &first, "It is."),
        ("comment_reply", &followed, "You too may swim."),
        ("private_reply", &first, "Here is the manual."),
    ] {
        let id = answer(harness, kind, to, words).await;
        harness.message_until(&id, "accepted").await;
        sent.push(json!(id));
    }
    harness.pass(MINUTE).await;
    let [public, further, private] = <[Value; 3]>::try_from(sent).unwrap();
    Talk {
        first,
        followed,
        public,
        further,
        private,
    }
}

#[tokio::test]
async fn what_is_below_a_deleted_comment_is_deleted_with_it() {
    on_both(async |harness| {
        harness.foresee_refusals(&[100]);
        add_noor(harness);
        let post = post(harness);
        let one = talk(harness, &post).await;
        let other = talk(harness, &post).await;
        assert_eq!(on_post(harness, &post).await.len(), 8);

        // An answer is deleted alone: what answers it is beside it at Meta.
        delete(harness, &other.followed["id"]).await.expect(200);
        assert!(is_deleted(harness, &other.followed["id"]).await);
        assert!(!is_deleted(harness, &other.further).await);
        assert_eq!(on_post(harness, &post).await.len(), 7);

        delete(harness, &one.first["id"]).await.expect(200);
        let left = on_post(harness, &post).await;
        assert_eq!(left.len(), 3, "{left:#?}");
        for id in [&one.first["id"], &one.followed["id"], &one.public, &one.further] {
            assert!(
                is_deleted(harness, id).await,
                "{}",
                harness.message(id.as_str().unwrap()).await
            );
            let (kinds, document) = harness.timeline(id.as_str().unwrap()).await;
            assert!(kinds.contains(&"deleted".to_owned()), "{document:#}");
        }
        let event = one.followed["eventId"].as_str().unwrap();
        let kept = harness.get(&format!("/api/webhooks/events/{event}")).await;
        assert!(!kept.body.contains("I wonder"), "{}", kept.body);
        // What was said to her alone is hers, and what is below another comment stays.
        assert!(!is_deleted(harness, &one.private).await);
        for id in [&other.first["id"], &other.public, &other.further] {
            assert!(!is_deleted(harness, id).await);
        }
        delete(harness, &one.further)
            .await
            .problem(409, "comment_not_answerable");

        // Also where its author has deleted it, which nobody is told of, and it is found out only when something is done to it.
        let comment_id = other.first["externalId"].as_str().unwrap().to_owned();
        let deletes = Content::DeleteComment { comment_id };
        harness.sandbox.write("lucia", ACCOUNT, deletes).unwrap();
        delete(harness, &other.first["id"]).await.expect(200);
        for id in [&other.first["id"], &other.public, &other.further] {
            assert!(is_deleted(harness, id).await);
        }
        assert!(on_post(harness, &post).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_meta_tells_late_of_below_a_deleted_comment_is_gone_too() {
    let mut setup = Setup::default();
    setup.sandbox.rules.echo = EchoTiming::AfterAnswer;
    on_both_with(setup, async |harness| {
        add_noor(harness);
        let post = post(harness);
        let (thread, first) = commented(harness, "lucia", comment("Is it waterproof?", &post)).await;
        let parent = first["externalId"].as_str().unwrap();
        delete(harness, &first["id"]).await.expect(200);
        let noor = json!({"id": "17840000000000077", "username": "noor.k"});
        let told = |id: &str, from: &Value, text: &str| {
            let value = json!({"id": id, "parent_id": parent, "text": text, "from": from,
                "media": {"id": post, "media_product_type": "FEED"}});
            json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": harness.clock.now_millis() / 1_000,
                "changes": [{"field": "comments", "value": value}]}]})
        };
        harness
            .instagram(&told("17870000000000901", &noor, "A secret of mine"))
            .await;
        let own = json!({"id": ACCOUNT, "username": "sandbox.records"});
        harness
            .instagram(&told("17870000000000902", &own, "A secret of ours"))
            .await;
        let mut found = 0;
        for thread in conversations(harness, "kind=comments").await {
            for message in harness.messages(&thread).await {
                found += 1;
                assert!(is_deleted(harness, &message["id"]).await, "{message:#}");
            }
        }
        assert_eq!(found, 3);
        assert_eq!(harness.messages(&thread).await.len(), 2);
        for event in harness.events("").await {
            let path = format!("/api/webhooks/events/{}", event["id"].as_str().unwrap());
            let kept = harness.get(&path).await;
            assert!(!kept.body.contains("A secret"), "{}", kept.body);
        }
    })
    .await;
}
