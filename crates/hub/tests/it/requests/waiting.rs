//! Waiting for Meta's answer.

use serde_json::json;

use super::{PHONE, SEND, refuse, written_to};
use crate::harness::on_both;

#[tokio::test]
async fn who_waits_is_told_what_meta_answered() {
    on_both(async |harness| {
        written_to(harness).await;
        let body = json!({"channel": "whatsapp", "to": PHONE, "message": "x"});
        let answer = harness.post(&format!("{SEND}?wait=20000"), &body).await.expect(200);
        assert_eq!(answer["status"], "accepted");
        assert_eq!(answer["message"]["id"], answer["messageId"]);
        assert!(answer["message"]["externalId"].is_string(), "{answer}");

        refuse(harness, 131_026, 1);
        let answer = harness.post(&format!("{SEND}?wait=20000"), &body).await.expect(200);
        assert_eq!(answer["status"], "failed");
        assert_eq!(answer["message"]["error"]["code"], 131_026);
    })
    .await;
}

#[tokio::test]
async fn who_has_waited_in_vain_is_told_that_it_is_queued() {
    on_both(async |harness| {
        written_to(harness).await;
        refuse(harness, 131_057, 1);
        let body = json!({"channel": "whatsapp", "to": PHONE, "message": "x"});
        let answer = harness.post(&format!("{SEND}?wait=200"), &body).await.expect(202);
        assert_eq!(answer["status"], "queued");
        assert_eq!(answer.get("message"), None);
        let id = answer["messageId"].as_str().unwrap();
        harness.waiting_after(id, 1).await;
    })
    .await;
}
