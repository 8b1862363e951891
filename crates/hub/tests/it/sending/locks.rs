//! Units that run beside each other, which only Postgres has, lock in one order: none of them keeps another one waiting for itself.

use std::sync::mpsc;
use std::time::Duration;

use tidings::conversations::model::{IdentityKey, IdentityKind};
use tidings::ids::MessageId;
use tidings::store::StoreError;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::harness::{Engine, NUMBER, on_both, text};

#[tokio::test]
async fn what_meta_answers_waits_for_its_recipient_before_it_locks_the_message() {
    on_both(async |harness| {
        if harness.engine() != Engine::Postgres {
            return;
        }
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;

        // Somebody is at work on whom the message goes to, as a message to the same number is while it is accepted.
        let (release, released) = mpsc::channel::<MessageId>();
        let (begun, has_begun) = oneshot::channel();
        let mut begun = Some(begun);
        let store = harness.hub().app().store.clone();
        let mut unit = JoinSet::new();
        unit.spawn(async move {
            let at_work = store.write(move |tx| {
                let amara = IdentityKey {
                    kind: IdentityKind::Phone,
                    scope: String::new(),
                    value: "447700900101".to_owned(),
                };
                tx.contacts_by_identities(&[amara])?;
                if let Some(begun) = begun.take() {
                    // The test waits for it.
                    let _ = begun.send(());
                }
                let message = released.recv().expect("the test names a message");
                // Less than after which Postgres looks whether two wait for each other.
                tx.wait_for_locks(Duration::from_millis(500))?;
                tx.lock_messages(&[message])?;
                Ok::<_, StoreError>(())
            });
            at_work.await
        });
        has_begun.await.unwrap();
        let sent = harness.reply(&conversation, "Hello, Amara").await;
        harness.until_a_name_is_waited_for().await;
        release.send(sent.parse().unwrap()).unwrap();
        for ended in unit.join_all().await {
            ended.expect("the message is free while its recipient is waited for");
        }
        harness.message_until(&sent, "accepted").await;
    })
    .await;
}
