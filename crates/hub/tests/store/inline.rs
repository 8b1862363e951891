//! The store of simulations: what it keeps of a process that died, and of one whose power was cut.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings::clock::from_millis;
use tidings::store::{Around, Happening, InlineDatabase, Store, StoreError, Tx};

use crate::harness::BEGIN;

/// Nothing happens around a unit, but that its answer is lost while this says so.
#[derive(Debug, Default)]
struct Answers {
    are_lost: AtomicBool,
}

impl Around for Answers {
    fn before(&self, _: bool) -> Happening {
        Box::pin(ready(Ok(())))
    }

    fn after(&self, _: bool) -> Happening {
        let lost = self.are_lost.load(Ordering::SeqCst);
        Box::pin(ready(if lost {
            Err(StoreError::Unavailable("the answer was lost".to_owned()))
        } else {
            Ok(())
        }))
    }
}

fn keep(tx: &mut Tx<'_>, key: &'static str) -> Result<(), StoreError> {
    tx.insert_idempotent_answer("tests", key, b"", "kept", BEGIN)
        .map(|_| ())
}

async fn is_kept(store: &Store, key: &'static str) -> bool {
    let found = store.read(move |tx| tx.idempotent_answer("tests", key)).await;
    found.unwrap().is_some()
}

async fn migrated() -> (InlineDatabase, Arc<Answers>, Store) {
    let (database, answers) = (InlineDatabase::new().unwrap(), Arc::new(Answers::default()));
    let store = Store::inline(&database, answers.clone());
    store.migrate(from_millis(BEGIN)).await.unwrap();
    (database, answers, store)
}

#[tokio::test]
async fn a_power_cut_takes_back_what_was_not_flushed() {
    let (database, answers, store) = migrated().await;
    assert_eq!(
        (store.engine(), format!("{store:?}")),
        ("sqlite", "Store(SQLite, inline)".to_owned())
    );
    store
        .write_unflushed(|tx| keep(tx, "flushed with the next one"))
        .await
        .unwrap();
    store.write_urgent(|tx| keep(tx, "flushed")).await.unwrap();
    store.write_unflushed(|tx| keep(tx, "not flushed")).await.unwrap();
    store.close().await;

    let next = Store::inline(&database, answers);
    assert!(
        is_kept(&next, "not flushed").await,
        "it survives the end of its process"
    );
    database.cut_power().unwrap();
    assert!(is_kept(&next, "flushed with the next one").await);
    assert!(is_kept(&next, "flushed").await);
    assert!(!is_kept(&next, "not flushed").await);
}

#[tokio::test]
async fn a_unit_that_fails_takes_back_itself_alone() {
    let (_, answers, store) = migrated().await;
    store.write_unflushed(|tx| keep(tx, "before")).await.unwrap();
    let failed = store.write(|tx| {
        keep(tx, "failed")?;
        Err::<(), _>(StoreError::Refused("as it was told to".to_owned()))
    });
    assert!(matches!(failed.await, Err(StoreError::Refused(_))));
    let panicked = store.write(|tx| -> Result<(), StoreError> {
        keep(tx, "panicked")?;
        panic!("as it was told to")
    });
    assert!(matches!(panicked.await, Err(StoreError::Panicked)));
    let read = store.read(|tx| keep(tx, "read")).await;
    assert!(
        matches!(read, Err(StoreError::Refused(_) | StoreError::Unavailable(_))),
        "{read:?}"
    );
    answers.are_lost.store(true, Ordering::SeqCst);
    let unsure = store.write(|tx| keep(tx, "unsure")).await;
    assert!(matches!(unsure, Err(StoreError::Unavailable(_))));
    answers.are_lost.store(false, Ordering::SeqCst);
    for (key, kept) in [
        ("before", true),
        ("failed", false),
        ("panicked", false),
        ("read", false),
        ("unsure", true),
    ] {
        assert_eq!(is_kept(&store, key).await, kept, "{key}");
    }
    assert!(!store.statements().is_empty());
}
