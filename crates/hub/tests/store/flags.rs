//! Flags, and the revision that tells of their changes.

use tidings::flags::model::StoredFlag;

use crate::harness::{BEGIN, Lab, on_both, on_postgres};

fn flag(name: &str, value: bool) -> StoredFlag {
    StoredFlag {
        name: name.to_owned(),
        value,
        updated_at: BEGIN,
        updated_by: "admin".to_owned(),
    }
}

async fn revision(lab: &Lab) -> i64 {
    lab.read(|tx| tx.revision()).await
}

#[test]
fn a_flag_is_set_and_unset_and_every_node_is_told() {
    on_both(async |lab| {
        let set = |name: &'static str, value| lab.write(move |tx| tx.set_flag(&flag(name, value)));
        let unset = |name: &'static str| lab.write(move |tx| tx.unset_flag(name));
        let first = revision(lab).await;
        assert_eq!(set("outbound.enabled", false).await, None);
        assert_eq!(set("outbound.enabled", true).await, Some(false));
        assert_eq!(set("channels.email.priority", true).await, None);
        assert_eq!(revision(lab).await, first + 3);
        assert_eq!(
            lab.read(|tx| tx.flags()).await,
            [flag("channels.email.priority", true), flag("outbound.enabled", true)]
        );
        assert_eq!(unset("outbound.enabled").await, Some(true));
        assert_eq!(unset("outbound.enabled").await, None);
        assert_eq!(revision(lab).await, first + 4, "nothing has changed the second time");
        assert_eq!(lab.read(|tx| tx.flags()).await.len(), 1);
    });
}

#[test]
fn another_node_is_woken_by_a_change() {
    on_postgres(async |lab| {
        let other = lab.another_store().await;
        // It begins to listen at some time, and counts that as a change.
        other.changed().await;
        let mut woken = std::pin::pin!(other.changed());
        lab.write(|tx| tx.set_flag(&flag("outbound.enabled", false))).await;
        tokio::time::timeout(std::time::Duration::from_secs(20), &mut woken)
            .await
            .expect("it is woken");
    });
}

#[test]
fn another_node_sees_a_change_by_the_revision() {
    on_both(async |lab| {
        let other = lab.another_store().await;
        let before = other.read(|tx| tx.revision()).await.unwrap();
        lab.write(|tx| tx.set_flag(&flag("outbound.enabled", false))).await;
        let (after, flags) = other
            .read(|tx| Ok::<_, tidings::store::StoreError>((tx.revision()?, tx.flags()?)))
            .await
            .unwrap();
        assert!(after > before);
        assert_eq!(flags, [flag("outbound.enabled", false)]);
        other.close().await;
    });
}
