//! The legs of messages that go by several routes.

use tidings::conversations::model::Status;
use tidings::ids::MessageId;
use tidings::sending::route::model::{Leg, LegState, Policy};

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{backup, channels, conversation, outbound, whatsapp};

/// A message with its first leg, and one on the backup after it.
async fn legs(lab: &Lab) -> [Leg; 2] {
    channels(lab).await;
    let conversation = conversation(lab, &whatsapp(), "Ada").await;
    let message = outbound(lab, &conversation, BEGIN);
    let mut second = outbound(lab, &conversation, BEGIN);
    second.channel_id = backup();
    let policy = Policy {
        fallback_after: Some(std::time::Duration::from_secs(1)),
        ..Policy::built_in()
    };
    let first = Leg::first(message.id, whatsapp(), &policy, BEGIN);
    let next = Leg {
        number: 1,
        message_id: second.id,
        reason: Some("held".into()),
        due_at: None,
        expires_at: Some(BEGIN + 60_000),
        email_first: true,
        asked: Some(whatsapp()),
        ..Leg::first(message.id, backup(), &policy, BEGIN)
    };
    let kept = [first.clone(), next.clone()];
    lab.write(move |tx| {
        tx.insert_messages(&[&message, &second])?;
        tx.insert_leg(&kept[0])?;
        tx.insert_leg(&kept[1])
    })
    .await;
    [first, next]
}

#[test]
fn legs_read_back_in_their_order_and_are_found_by_what_they_wait_for() {
    on_both(async |lab| {
        let [first, next] = legs(lab).await;
        let (origin, later) = (first.origin_id, next.message_id);
        let found = lab
            .read(move |tx| tx.legs_of_origins(&[origin, later, MessageId::MIN]))
            .await;
        assert_eq!(found, [first.clone(), next.clone()]);
        assert_eq!(lab.write(move |tx| tx.lock_legs(origin)).await, found);
        assert_eq!(
            lab.write(move |tx| tx.lock_legs_of_origins(&[MessageId::MIN, origin]))
                .await,
            found
        );
        let mut by_message = lab
            .read(move |tx| tx.legs_of_messages(&[origin, later, MessageId::MIN]))
            .await;
        by_message.sort_by_key(|leg| leg.number);
        assert_eq!(by_message, found);
        let origins = lab.read(move |tx| tx.origins_of_messages(&[origin, later])).await;
        assert_eq!(origins, [(later, origin)], "the first leg is the message itself");

        assert_eq!(lab.read(|tx| tx.routes_due(BEGIN + 999, 10)).await, []);
        assert_eq!(lab.read(|tx| tx.routes_due(BEGIN + 1_000, 10)).await, [origin]);
        assert_eq!(lab.read(|tx| tx.routes_at_work(&backup(), BEGIN, 10)).await, [origin]);
        assert_eq!(lab.read(|tx| tx.routes_stranded(&backup(), BEGIN, 10)).await, []);
        let stranded = Leg {
            no_route: Some("nowhere".into()),
            looked_at: BEGIN + 1,
            ..next.clone()
        };
        lab.write(move |tx| tx.update_leg(&stranded)).await;
        assert_eq!(lab.read(|tx| tx.routes_at_work(&backup(), BEGIN + 9, 10)).await, []);
        assert_eq!(lab.read(|tx| tx.routes_stranded(&backup(), BEGIN, 10)).await, []);
        assert_eq!(
            lab.read(|tx| tx.routes_stranded(&backup(), BEGIN + 1, 10)).await,
            [origin]
        );
        for (words, index) in [
            ("l.no_route IS NULL", "message_routes_at_work"),
            ("l.no_route IS NOT NULL", "message_routes_stranded"),
        ] {
            let plans = lab.plans(&["FROM message_routes AS l", words]);
            assert_eq!(plans.len(), 1);
            let is_walk = plans[0].contains(index) && !plans[0].contains("TEMP B-TREE") && !plans[0].contains("Sort");
            assert!(is_walk, "{plans:?}");
        }
        let changed = Leg {
            state: LegState::Left,
            late_at: Some(BEGIN + 5),
            looked_at: BEGIN + 1,
            no_route: Some("none".into()),
            at: BEGIN + 7,
            ..next
        };
        let reached = Leg {
            state: LegState::Reached,
            due_at: None,
            ..first
        };
        let kept = [reached.clone(), changed.clone()];
        lab.write(move |tx| tx.update_legs(&kept)).await;
        assert_eq!(lab.read(|tx| tx.routes_at_work(&backup(), BEGIN + 9, 10)).await, []);
        assert_eq!(lab.read(|tx| tx.routes_at_work(&whatsapp(), -1, 10)).await, []);
        assert_eq!(
            lab.read(move |tx| tx.legs_of_origins(&[origin])).await,
            [reached, changed]
        );
    });
}

#[test]
fn whoever_changes_how_far_a_message_got_makes_its_leg_due() {
    on_both(async |lab| {
        let [_, next] = legs(lab).await;
        let id = next.message_id;
        let set = async |status: Status| {
            lab.write(move |tx| {
                let mut message = tx.lock_messages(&[id])?.remove(0);
                message.status = status;
                tx.update_messages(&[&message])
            })
            .await;
            lab.read(|tx| tx.routes_due(0, 10)).await.len()
        };
        assert_eq!(set(Status::Sending).await, 0, "that it is sent tells nothing");
        assert_eq!(set(Status::Delivered).await, 1);
    });
}
