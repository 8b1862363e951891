//! The cap on advertising: whoever has had enough is sent no more for a day, and everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tidings_sandbox::{NumberLimits, Template, TemplateStatus};

use super::answers::{through, waits_for, write_first};
use super::graph::{Graph, error};
use crate::harness::{Harness, NUMBER, Setup, on_both, on_both_with, text};

const EXPIRES: &str = "TIDINGS_SENDING_EXPIRES_AFTER_SECS";
const THREE_DAYS: &str = "259200";
const AMARA: &str = "+447700900101";
/// Longer than a hold can be, with the hours over which holds are spread.
const A_DAY: Duration = Duration::from_mins(28 * 60 + 1);

async fn advertise(harness: &Harness, to: &str, name: &str) -> String {
    harness
        .send(json!({"channel": "whatsapp", "to": to, "purpose": "marketing",
            "content": {"type": "template", "name": name, "language": "en_US"}}))
        .await
}

/// The names of the templates that a person was called for with.
fn said(graph: &Graph, to: &str) -> Vec<String> {
    let to = to.trim_start_matches('+');
    let calls = graph.calls().into_iter().filter(|call| call.to == to);
    calls
        .map(|call| call.body["template"]["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// A Meta that passes on no more advertising to one person while the switch is on.
async fn switched(to: &'static str) -> (Graph, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&refuses);
    let graph = Graph::answering(move |_, called| {
        (called == to.trim_start_matches('+') && switch.load(Ordering::SeqCst)).then(|| error(400, 131_049))
    })
    .await;
    (graph, refuses)
}

#[tokio::test]
async fn a_recipient_with_enough_advertising_gets_no_more_for_a_day_and_everything_else() {
    let (graph, refuses) = switched(AMARA).await;
    on_both_with(through(&graph).with(EXPIRES, THREE_DAYS), async |harness| {
        let before = said(&graph, AMARA).len();
        let said = || said(&graph, AMARA)[before..].to_vec();
        refuses.store(true, Ordering::SeqCst);
        let first = advertise(harness, AMARA, "first").await;
        let waiting = waits_for(harness, &first, "marketing_cap").await;
        assert_eq!(waiting["attempts"], 1);
        assert!(waiting["reason"].as_str().unwrap().contains("131049"), "{waiting}");
        // The next one is not called for.
        let second = advertise(harness, AMARA, "second").await;
        let waiting = waits_for(harness, &second, "marketing_cap").await;
        assert_eq!(waiting["attempts"], 0);
        assert!(waiting["waitsUntil"].is_string(), "{waiting}");
        // They hold nothing back that is no advertising, and nobody else.
        refuses.store(false, Ordering::SeqCst);
        let service = write_first(harness, AMARA).await;
        harness.message_until(&service, "accepted").await;
        let other = advertise(harness, "+447700900002", "first").await;
        harness.message_until(&other, "accepted").await;
        // An operator who lets everything go on does not press on either.
        harness
            .post("/admin/messages/process-queue", &json!({}))
            .await
            .expect(200);
        for id in [&first, &second] {
            waits_for(harness, id, "marketing_cap").await;
        }
        harness.pass(Duration::from_hours(23)).await;
        assert_eq!(said(), ["first", "hello_world"]);

        // What has met it is tried once more, and a second time is enough. That holds the other one for another day.
        refuses.store(true, Ordering::SeqCst);
        harness.pass(Duration::from_hours(6)).await;
        let failed = harness.message_until(&first, "failed").await;
        assert_eq!(failed["error"]["code"], 131_049);
        assert!(failed["error"]["remedy"].is_string(), "{failed}");
        waits_for(harness, &second, "marketing_cap").await;
        assert_eq!(said(), ["first", "hello_world", "first"]);
    })
    .await;
}

#[tokio::test]
async fn what_was_held_goes_out_in_its_order_when_the_hold_is_over() {
    let (graph, refuses) = switched(AMARA).await;
    on_both_with(through(&graph).with(EXPIRES, THREE_DAYS), async |harness| {
        let before = said(&graph, AMARA).len();
        refuses.store(true, Ordering::SeqCst);
        let names = ["zero", "one", "two", "three"];
        let mut held = Vec::new();
        for name in names {
            let id = advertise(harness, AMARA, name).await;
            waits_for(harness, &id, "marketing_cap").await;
            held.push(id);
        }
        refuses.store(false, Ordering::SeqCst);
        // It is kept by the store.
        harness.restart().await;
        harness.pass(A_DAY).await;
        for id in &held {
            harness.message_until(id, "accepted").await;
        }
        assert_eq!(said(&graph, AMARA)[before + 1..], names);
    })
    .await;
}

#[tokio::test]
async fn what_expires_while_it_is_held_has_failed_of_the_cap() {
    let (graph, _) = switched(AMARA).await;
    on_both_with(through(&graph), async |harness| {
        let first = advertise(harness, AMARA, "first").await;
        waits_for(harness, &first, "marketing_cap").await;
        let second = advertise(harness, AMARA, "second").await;
        waits_for(harness, &second, "marketing_cap").await;
        let before = graph.calls().len();
        harness.pass(Duration::from_hours(24)).await;
        for id in [&first, &second] {
            let failed = harness.message_until(id, "failed").await;
            assert_eq!(failed["error"]["code"], 131_049);
            assert!(
                failed["error"]["meaning"].is_string() && failed["error"]["remedy"].is_string(),
                "{failed}"
            );
        }
        assert_eq!(graph.calls().len(), before);
    })
    .await;
}

#[tokio::test]
async fn where_nothing_is_held_enough_advertising_is_a_failure() {
    let (graph, _) = switched(AMARA).await;
    let setup = through(&graph).with("TIDINGS_SENDING_WHATSAPP_MARKETING_HOLD_SECS", "0");
    on_both_with(setup, async |harness| {
        for _ in 0..2 {
            let before = graph.calls().len();
            let sent = advertise(harness, AMARA, "sale").await;
            let failed = harness.message_until(&sent, "failed").await;
            assert_eq!(failed["error"]["code"], 131_049);
            assert_eq!(graph.calls().len(), before + 1);
        }
    })
    .await;
}

/// A Meta that lets one advertisement a day through to each person, wherever they live.
fn capped() -> Setup {
    let mut setup = Setup::default().with(EXPIRES, THREE_DAYS);
    let mut sale = Template::utility("the_sale", "Everything must go.");
    "MARKETING".clone_into(&mut sale.category);
    setup.sandbox.world.templates.push(sale);
    setup.sandbox.rules.marketing_by_country = false;
    setup.sandbox.world.numbers[0].limits = NumberLimits {
        marketing_per_day: 1,
        ..NumberLimits::default()
    };
    setup
}

async fn sale(harness: &Harness, to: &str) -> String {
    let body = json!({"channel": "whatsapp", "to": to,
        "content": {"type": "template", "name": "the_sale", "language": "en_US"}});
    harness.send(body).await
}

#[tokio::test]
async fn a_status_that_tells_of_the_cap_holds_what_comes_after_it_until_the_person_writes() {
    on_both_with(capped(), async |harness| {
        harness
            .until("the template is known", async |harness| {
                let known = harness.get("/api/v1/templates?q=the_sale").await.expect(200);
                (!known["templates"].as_array()?.is_empty()).then_some(())
            })
            .await;
        let first = sale(harness, AMARA).await;
        harness.message_until(&first, "accepted").await;
        // It is taken, and a moment later not passed on.
        let second = sale(harness, AMARA).await;
        harness.message_until(&second, "accepted").await;
        harness.pass(Duration::from_secs(5)).await;
        let failed = harness.message_until(&second, "failed").await;
        assert_eq!(failed["error"]["code"], 131_049);
        assert!(failed["error"]["remedy"].is_string(), "{failed}");
        // The next one is advertising by its template, whatever its sender says, and is not called for.
        let third = sale(harness, AMARA).await;
        let waiting = waits_for(harness, &third, "marketing_cap").await;
        assert_eq!(waiting["attempts"], 0);
        let service = write_first(harness, AMARA).await;
        harness.message_until(&service, "accepted").await;
        assert_eq!(harness.message(&third).await["status"], "queued");

        // What is said in an open window does not fall under the cap.
        harness
            .sandbox
            .write("amara", NUMBER, text("what is on sale?"))
            .unwrap();
        harness.projected().await;
        harness.message_until(&third, "accepted").await;
        harness.pass(Duration::from_secs(5)).await;
        harness.message_until(&third, "delivered").await;
    })
    .await;
}

#[tokio::test]
async fn a_reply_does_not_wait_behind_a_template_that_is_paused() {
    on_both(async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        harness
            .sandbox
            .change_template("hello_world", "en_US", TemplateStatus::Paused)
            .unwrap();
        harness.projected().await;
        let body = json!({"channel": "whatsapp", "to": AMARA,
            "content": {"type": "template", "name": "hello_world", "language": "en_US"}});
        let queued = harness
            .post("/api/v1/messages/send?queue=true", &body)
            .await
            .expect(202);
        let template = queued["messageId"].as_str().unwrap().to_owned();
        waits_for(harness, &template, "template_paused").await;
        let reply = harness.reply(&conversation, "at once").await;
        harness.message_until(&reply, "accepted").await;
        waits_for(harness, &template, "template_paused").await;
        assert_eq!(harness.accepted("amara"), ["at once"]);
        let approved = TemplateStatus::Approved;
        harness
            .sandbox
            .change_template("hello_world", "en_US", approved)
            .unwrap();
        harness.projected().await;
        harness.message_until(&template, "accepted").await;
    })
    .await;
}
