//! Who leads a channel.

use tidings::store::leases::{Lease, Node};

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{backup, whatsapp};

async fn take(lab: &Lab, seen: Option<&Lease>, owner: &'static str) -> Option<i64> {
    let seen = seen.cloned();
    lab.write(move |tx| tx.take_lease(&whatsapp(), seen.as_ref(), owner, BEGIN + 10))
        .await
}

async fn lease(lab: &Lab) -> Lease {
    let mut leases = lab.read(|tx| tx.leases()).await;
    assert_eq!(leases.len(), 1);
    leases.remove(0)
}

async fn keeps(lab: &Lab, owner: &'static str, epoch: i64) -> bool {
    lab.write(move |tx| tx.keep_lease(&whatsapp(), owner, epoch)).await
}

#[test]
fn a_lease_is_taken_by_one_alone() {
    on_both(async |lab| {
        assert_eq!(lab.read(|tx| tx.leases()).await, []);
        assert_eq!(take(lab, None, "one").await, Some(1));
        assert_eq!(take(lab, None, "two").await, None, "somebody was quicker");
        let seen = lease(lab).await;
        assert_eq!(
            (seen.owner.as_deref(), seen.epoch, seen.until),
            (Some("one"), 1, BEGIN + 10)
        );
        assert!(keeps(lab, "one", 1).await);
        assert!(!keeps(lab, "one", 2).await);
        assert!(!keeps(lab, "two", 1).await);

        // Who shows itself alive keeps it.
        let held = vec![(whatsapp(), 1), (backup(), 1)];
        let renewed = lab.write(move |tx| tx.renew_leases("one", &held, BEGIN + 20)).await;
        assert_eq!(renewed, [whatsapp()]);
        assert_eq!(take(lab, Some(&seen), "two").await, None);

        let seen = lease(lab).await;
        assert_eq!(take(lab, Some(&seen), "two").await, Some(2));
        assert!(!keeps(lab, "one", 1).await);
        let held = vec![(whatsapp(), 1)];
        let renewed = lab.write(move |tx| tx.renew_leases("one", &held, BEGIN + 30)).await;
        assert_eq!(renewed, [], "it is lost");
    });
}

#[test]
fn who_lets_go_can_be_followed_at_once() {
    on_both(async |lab| {
        take(lab, None, "one").await;
        let seen = lease(lab).await;
        assert_eq!(lab.write(|tx| tx.release_leases(Some("two"))).await, 0);
        assert_eq!(lab.write(|tx| tx.release_leases(Some("one"))).await, 1);
        assert!(!keeps(lab, "one", 1).await);
        assert_eq!(take(lab, Some(&seen), "two").await, None, "it is not as it was seen");
        let seen = lease(lab).await;
        assert_eq!(seen.owner, None);
        assert_eq!(take(lab, Some(&seen), "two").await, Some(2));
        assert_eq!(lab.write(|tx| tx.release_leases(None)).await, 1);
        assert_eq!(lab.write(|tx| tx.release_leases(None)).await, 0);
    });
}

#[test]
fn a_lease_is_given_to_another_node_which_takes_it_up() {
    on_both(async |lab| {
        take(lab, None, "one").await;
        let revision = lab.read(|tx| tx.revision()).await;
        let give =
            |owner: &'static str, epoch: i64| lab.write(move |tx| tx.hand_over_lease(&whatsapp(), owner, epoch, "two"));
        assert!(!give("two", 1).await, "it is not its own");
        assert!(!give("one", 7).await, "nor under this epoch");
        assert_eq!(lab.read(|tx| tx.revision()).await, revision);
        assert!(give("one", 1).await);
        assert!(lab.read(|tx| tx.revision()).await > revision, "every node is told");
        assert!(!keeps(lab, "one", 1).await);
        let seen = lease(lab).await;
        assert_eq!((seen.owner.as_deref(), seen.handed_over), (Some("two"), true));
        assert_eq!(take(lab, Some(&seen), "two").await, Some(2));
        assert!(!lease(lab).await.handed_over, "that is over");

        assert!(
            lab.write(|tx| tx.hand_over_lease(&whatsapp(), "two", 2, "one")).await,
            "and back"
        );
        lab.write(|tx| tx.release_leases(Some("one"))).await;
        assert!(!lease(lab).await.handed_over);
    });
}

#[test]
fn nodes_that_show_themselves_alive_are_told_from_those_that_were_there_once() {
    on_both(async |lab| {
        let node = |node: &str, beats| Node {
            node: node.to_owned(),
            beats,
        };
        let show =
            |name: &'static str, until, forget_before| lab.write(move |tx| tx.show_node(name, until, forget_before));
        assert_eq!(show("one", BEGIN, 0).await, [node("one", 1)]);
        assert_eq!(show("two", BEGIN + 10, 0).await, [node("one", 1), node("two", 1)]);
        assert_eq!(show("two", BEGIN + 20, 0).await, [node("one", 1), node("two", 2)]);
        assert_eq!(show("two", BEGIN + 30, BEGIN + 1).await, [node("two", 3)]);
        assert_eq!(
            show("two", BEGIN, BEGIN + 90).await,
            [node("two", 4)],
            "nobody forgets themselves"
        );
        lab.write(|tx| tx.forget_node("two")).await;
        assert_eq!(show("one", BEGIN, 0).await, [node("one", 1)]);
    });
}
