//! Units of work: kept as a whole or not at all, apart from each other, and run again where they lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use futures_util::future::join_all;
use futures_util::poll;
use serde_json::Value;
use tidings::audit::AuditEntry;
use tidings::conversations::model::Millis;
use tidings::ids::MessageId;
use tidings::store::{Store, StoreError, Tx};

use crate::harness::{BEGIN, Lab, on_both, on_postgres, on_sqlite};
use crate::samples::{conversation, outbound, whatsapp};

/// Keeps an answer under a key: the smallest thing that can be written and found again.
fn keep(tx: &mut Tx<'_>, key: &str) -> Result<(), StoreError> {
    tx.insert_idempotent_answer("tests", key, b"", "kept", BEGIN)
        .map(|_| ())
}

async fn is_kept(lab: &Lab, key: &str) -> bool {
    let key = key.to_owned();
    lab.read(move |tx| tx.idempotent_answer("tests", &key)).await.is_some()
}

#[test]
fn the_store_can_be_reached() {
    on_both(async |lab| {
        lab.read(|tx| tx.ping()).await;
        assert_eq!(lab.write(|tx| Ok(tx.writes_alone())).await, !lab.is_postgres());
        assert_eq!(
            lab.store.engine(),
            if lab.is_postgres() { "postgres" } else { "sqlite" }
        );
        assert_eq!(
            format!("{:?}", lab.store),
            if lab.is_postgres() {
                "Store(Postgres)"
            } else {
                "Store(SQLite)"
            }
        );
    });
}

#[test]
fn many_units_at_once_are_all_kept() {
    on_both(async |lab| {
        let units = (0..200_u32).map(|number| {
            let store = lab.store.clone();
            async move {
                let unit = move |tx: &mut Tx<'_>| keep(tx, &format!("unit {number}"));
                match number % 3 {
                    0 => store.write(unit).await,
                    1 => store.write_unflushed(unit).await,
                    _ => store.write_urgent(unit).await,
                }
            }
        });
        for answer in join_all(units).await {
            answer.unwrap();
        }
        for number in 0..200 {
            assert!(is_kept(lab, &format!("unit {number}")).await, "unit {number}");
        }
    });
}

/// Holds one database thread until all of `units` wait, so that SQLite's writer takes them as one group.
async fn as_a_group<T>(store: &Store, units: Vec<impl Future<Output = T>>) -> Vec<T> {
    let (open, gate) = mpsc::channel::<()>();
    let mut blocked = Box::pin(store.write(move |_| {
        let _ = gate.recv();
        Ok::<(), StoreError>(())
    }));
    assert!(poll!(&mut blocked).is_pending());
    let mut all = Box::pin(join_all(units));
    assert!(poll!(&mut all).is_pending());
    open.send(()).unwrap();
    blocked.await.unwrap();
    all.await
}

#[test]
fn a_failing_unit_takes_back_only_itself() {
    on_both(async |lab| {
        let units = (0..20_u32)
            .map(|number| {
                let store = lab.store.clone();
                async move {
                    store
                        .write(move |tx| {
                            keep(tx, &format!("unit {number}"))?;
                            if number % 5 == 3 {
                                Err(StoreError::Refused("by the test".to_owned()))
                            } else {
                                Ok(())
                            }
                        })
                        .await
                }
            })
            .collect();
        let answers = as_a_group(&lab.store, units).await;
        for (number, answer) in answers.into_iter().enumerate() {
            let fails = number % 5 == 3;
            assert_eq!(answer.is_err(), fails, "unit {number}");
            assert_eq!(is_kept(lab, &format!("unit {number}")).await, !fails, "unit {number}");
        }
    });
}

#[test]
fn a_panicking_unit_fails_alone() {
    on_both(async |lab| {
        let units = (0..10_u32)
            .map(|number| {
                let store = lab.store.clone();
                async move {
                    store
                        .write(move |tx| {
                            keep(tx, &format!("unit {number}"))?;
                            assert_ne!(number, 4, "the test panics in this unit");
                            Ok::<(), StoreError>(())
                        })
                        .await
                }
            })
            .collect();
        let answers = as_a_group(&lab.store, units).await;
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(()) => assert!(is_kept(lab, &format!("unit {number}")).await, "unit {number}"),
                Err(error) => {
                    assert!(matches!(error, StoreError::Panicked), "{error:?}");
                    assert_eq!(number, 4);
                    assert!(!is_kept(lab, "unit 4").await);
                }
            }
        }
    });
}

#[test]
fn a_panic_in_a_reading_unit_leaves_its_thread_alive() {
    on_both(async |lab| {
        for _ in 0..10 {
            let answer = lab
                .store
                .read(|_| -> Result<(), StoreError> { panic!("the test panics in this unit") })
                .await;
            assert!(matches!(answer, Err(StoreError::Panicked)));
        }
        lab.read(|tx| tx.ping()).await;
    });
}

#[test]
fn a_unit_that_goes_on_after_a_failed_statement_is_never_half_kept() {
    on_both(async |lab| {
        let entry = AuditEntry {
            id: lab.ids.next(),
            at: BEGIN,
            actor: "tests".to_owned(),
            action: "tests.write",
            subject: "twice".to_owned(),
            detail: Value::Null,
        };
        let answer = lab
            .store
            .write(move |tx| {
                keep(tx, "before")?;
                tx.insert_audit(&entry)?;
                // The same entry twice: the statement is refused, and the unit does not mind.
                let _ = tx.insert_audit(&entry);
                let _ = keep(tx, "after");
                Ok::<(), StoreError>(())
            })
            .await;
        let kept = (is_kept(lab, "before").await, is_kept(lab, "after").await);
        assert_eq!(kept, if answer.is_ok() { (true, true) } else { (false, false) });
        assert_eq!(answer.is_ok(), !lab.is_postgres(), "{answer:?}");
    });
}

/// As the last one of a unit, with others behind it, and with so many that some are waited for.
#[test]
fn a_statement_whose_answer_nobody_needs_takes_its_unit_with_it_if_it_is_refused() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        for behind in [0, 3, 100] {
            let kept_already = conversation.clone();
            let answer = lab
                .store
                .write(move |tx| {
                    keep(tx, "before")?;
                    tx.insert_conversations(&[&kept_already])?;
                    for _ in 0..behind {
                        tx.update_conversations(&[&kept_already])?;
                    }
                    Ok::<(), StoreError>(())
                })
                .await;
            assert!(answer.is_err(), "{behind}: {answer:?}");
            assert!(!is_kept(lab, "before").await, "{behind}");
        }
        // The connection is as good as before.
        lab.write(|tx| keep(tx, "afterwards")).await;
        assert!(is_kept(lab, "afterwards").await);
    });
}

#[test]
fn a_unit_whose_caller_has_gone_is_kept_all_the_same() {
    on_both(async |lab| {
        let (open, gate) = mpsc::channel::<()>();
        let mut unit = Box::pin(lab.store.write(move |tx| {
            let _ = gate.recv();
            keep(tx, "alone")
        }));
        assert!(poll!(&mut unit).is_pending());
        drop(unit);
        open.send(()).unwrap();
        // Whatever waits is served before the store closes.
        lab.another_store().await.close().await;
        while !is_kept(lab, "alone").await {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_reading_unit_cannot_write() {
    on_both(async |lab| {
        let answer = lab.store.read(|tx| keep(tx, "by a reader")).await;
        assert!(answer.is_err());
        assert!(!is_kept(lab, "by a reader").await);
        // The connection goes on to serve.
        lab.write(|tx| keep(tx, "by a writer")).await;
        assert!(is_kept(lab, "by a writer").await);
    });
}

#[test]
fn a_reading_unit_sees_one_moment_and_nobody_waits_for_it() {
    on_both(async |lab| {
        let (open, gate) = mpsc::channel::<()>();
        let (began, has_begun) = tokio::sync::oneshot::channel::<()>();
        let mut began = Some(began);
        let mut reader = Box::pin(lab.store.read(move |tx| {
            let before = tx.idempotent_answer("tests", "in between")?.is_some();
            if let Some(began) = began.take() {
                let _ = began.send(());
            }
            let _ = gate.recv();
            let after = tx.idempotent_answer("tests", "in between")?.is_some();
            Ok::<_, StoreError>((before, after))
        }));
        assert!(poll!(&mut reader).is_pending());
        has_begun.await.unwrap();
        lab.write(|tx| keep(tx, "in between")).await;
        open.send(()).unwrap();
        assert_eq!(reader.await.unwrap(), (false, false));
        assert!(is_kept(lab, "in between").await);
    });
}

#[test]
fn two_units_that_wait_for_each_other_are_both_kept_in_the_end() {
    on_postgres(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let messages = [
            outbound(lab, &conversation, BEGIN),
            outbound(lab, &conversation, BEGIN + 1),
        ];
        let ids: [MessageId; 2] = [messages[0].id, messages[1].id];
        lab.write(move |tx| tx.insert_messages(&messages.iter().collect::<Vec<_>>()))
            .await;
        let both_hold_one = Arc::new(Barrier::new(2));
        let runs = Arc::new(AtomicU32::new(0));
        let unit = |first: MessageId, second: MessageId, key: &'static str| {
            let (both_hold_one, runs) = (Arc::clone(&both_hold_one), Arc::clone(&runs));
            let mut is_first_run = true;
            lab.store.write(move |tx| {
                runs.fetch_add(1, Ordering::SeqCst);
                tx.lock_messages(&[first])?;
                if std::mem::take(&mut is_first_run) {
                    both_hold_one.wait();
                }
                tx.lock_messages(&[second])?;
                keep(tx, key)
            })
        };
        let (one, other) = tokio::join!(unit(ids[0], ids[1], "one"), unit(ids[1], ids[0], "other"));
        one.unwrap();
        other.unwrap();
        assert!(is_kept(lab, "one").await && is_kept(lab, "other").await);
        assert!(runs.load(Ordering::SeqCst) >= 3, "one of them lost, and was run again");
    });
}

#[test]
fn a_unit_that_always_loses_is_given_up() {
    on_postgres(async |lab| {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let answer = lab
            .store
            .write(move |_| -> Result<(), StoreError> {
                counted.fetch_add(1, Ordering::SeqCst);
                Err(StoreError::Conflict("by the test".to_owned()))
            })
            .await;
        assert!(matches!(answer, Err(StoreError::Conflict(_))));
        assert_eq!(runs.load(Ordering::SeqCst), 9);
    });
}

/// Ends all connections of the store.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'tidings'";

#[test]
fn a_connection_that_is_cut_before_what_goes_ahead_was_sent_leaves_nothing_of_the_unit() {
    on_postgres(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
        let (open, gate) = mpsc::channel::<()>();
        let mut begun = Some(begun);
        let mut unit = Box::pin(lab.store.write(move |tx| {
            keep(tx, "before")?;
            tx.update_conversations(&[&conversation])?;
            if let Some(begun) = begun.take() {
                let _ = begun.send(());
            }
            let _ = gate.recv();
            tx.update_conversations(&[&conversation])
        }));
        assert!(poll!(&mut unit).is_pending());
        has_begun.await.unwrap();
        lab.execute(CUT);
        open.send(()).unwrap();
        let answer = unit.await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        assert!(!is_kept(lab, "before").await);
        lab.write(|tx| keep(tx, "after")).await;
        assert!(is_kept(lab, "after").await);
    });
}

#[test]
fn a_connection_that_was_cut_is_opened_anew() {
    on_postgres(async |lab| {
        lab.write(|tx| keep(tx, "before")).await;
        lab.execute(CUT);
        for number in 0..20 {
            lab.write(move |tx| keep(tx, &format!("after {number}"))).await;
        }
        assert!(is_kept(lab, "before").await && is_kept(lab, "after 19").await);
    });
}

#[test]
fn what_is_kept_is_there_after_the_store_was_closed_and_opened() {
    on_sqlite(async |lab| {
        let other = lab.another_store().await;
        let clone = other.clone();
        clone.close().await;
        other.write(|tx| keep(tx, "once")).await.unwrap();
        other.close().await;
        assert!(is_kept(lab, "once").await);
    });
}

#[test]
fn an_address_of_no_engine_is_refused() {
    on_sqlite(async |_| {
        for address in ["mysql://localhost/tidings", "tidings.db", ""] {
            let error = Store::open(&address.to_owned().into()).await.unwrap_err();
            assert!(error.to_string().contains("sqlite://"), "{error}");
        }
        // Nobody listens at port 1.
        let error = Store::open(&"postgres://nobody@127.0.0.1:1/none".to_owned().into())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
    });
}

#[test]
fn idempotency_keys_belong_to_the_first_request_of_a_caller() {
    on_both(async |lab| {
        let insert = |caller: &'static str, answer: &'static str, at: Millis| {
            lab.write(move |tx| tx.insert_idempotent_answer(caller, "key", answer.as_bytes(), answer, at))
        };
        assert!(insert("shop", "first", BEGIN).await);
        assert!(!insert("shop", "second", BEGIN + 1).await);
        assert!(insert("till", "third", BEGIN + 2).await);
        let found = lab.read(|tx| tx.idempotent_answer("shop", "key")).await;
        assert_eq!(found, Some((b"first".to_vec(), "first".to_owned())));
        assert_eq!(lab.read(|tx| tx.idempotent_answer("nobody", "key")).await, None);

        assert_eq!(lab.write(|tx| tx.prune_idempotency_keys(BEGIN + 1)).await, 1);
        assert_eq!(lab.read(|tx| tx.idempotent_answer("shop", "key")).await, None);
        assert!(lab.read(|tx| tx.idempotent_answer("till", "key")).await.is_some());
    });
}

#[test]
fn of_two_requests_with_one_key_at_once_one_comes_first() {
    on_both(async |lab| {
        let requests = (0..8_u8).map(|number| {
            let store = lab.store.clone();
            async move {
                store
                    .write(move |tx| tx.insert_idempotent_answer("shop", "key", &[number], "answer", BEGIN))
                    .await
            }
        });
        let first = join_all(requests)
            .await
            .into_iter()
            .filter(|answer| *answer.as_ref().unwrap())
            .count();
        assert_eq!(first, 1);
    });
}
