//! Events, their queue, their counts, and quarantined notifications.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tidings::conversations::model::Millis;
use tidings::ids::EventId;
use tidings::ingest::model::{EventStatus, NewEvent, StoredEvent, identity_of};
use tidings::store::events::{
    CountSlot, EventCount, EventFilter, EventPage, FinishedEvent, LOOKED_AT_MAX, QuarantinedNotification, QueuePlace,
};
use tidings::store::{StoreError, Tx};
use tidings_meta::notification::{EventKind, Platform};

use crate::harness::{BEGIN, Lab, on_both, on_postgres};
use crate::samples::{ACCOUNT, backup, conversation, event, inbound, whatsapp};

async fn insert(lab: &Lab, events: Vec<NewEvent>) -> Vec<EventId> {
    lab.write(move |tx| tx.insert_events(&events.iter().collect::<Vec<_>>()))
        .await
}

async fn take(lab: &Lab, now: Millis, limit: u32) -> Vec<StoredEvent> {
    lab.write(move |tx| tx.take_due_events(now, limit)).await
}

async fn list(lab: &Lab, filter: EventFilter) -> Vec<EventId> {
    lab.read(move |tx| tx.events(&filter, 100, 0))
        .await
        .events
        .iter()
        .map(|event| event.id)
        .collect()
}

/// Puts a page of events back into the queue, and answers with them as they were.
async fn replay(lab: &Lab, filter: EventFilter, now: Millis, limit: u32) -> EventPage {
    let page = lab.read(move |tx| tx.events(&filter, limit, 0)).await;
    let found = page.events.clone();
    lab.write(move |tx| tx.requeue_events(&found, now)).await;
    page
}

fn sorted(mut ids: Vec<EventId>) -> Vec<EventId> {
    ids.sort();
    ids
}

#[test]
fn an_event_is_kept_as_it_came() {
    on_both(async |lab| {
        let new = NewEvent {
            ignored_because: Some("no such channel"),
            channel_id: None,
            occurred_at: None,
            ..event(lab, "message:1")
        };
        let other = event(lab, "message:2");
        assert_eq!(
            sorted(insert(lab, vec![new.clone(), other.clone()]).await),
            [new.id, other.id]
        );
        let (id, other_id) = (new.id, other.id);
        let kept = lab.read(move |tx| tx.event_by_id(id)).await.unwrap();
        let expected = StoredEvent {
            id: new.id,
            platform: Platform::WhatsApp,
            account: ACCOUNT.to_owned(),
            external_id: "message:1".to_owned(),
            channel_id: None,
            kind: EventKind::Messages,
            occurred_at: None,
            received_at: BEGIN,
            signed: true,
            status: EventStatus::Ignored,
            attempts: 0,
            error: Some("no such channel".to_owned()),
            processed_at: None,
            processing_micros: None,
            payload: new.payload,
        };
        assert_eq!(kept, expected);
        let kept = lab.read(move |tx| tx.event_by_id(other_id)).await.unwrap();
        assert_eq!(
            (kept.status, kept.channel_id.clone(), kept.occurred_at),
            (EventStatus::Pending, Some(whatsapp()), other.occurred_at)
        );
        let unknown: EventId = lab.ids.next();
        assert_eq!(lab.read(move |tx| tx.event_by_id(unknown)).await, None);
        let heads = lab.read(move |tx| tx.event_heads(&[other_id, unknown])).await;
        let head = StoredEvent {
            payload: String::new(),
            ..kept
        };
        assert_eq!(heads, [head]);
        assert_eq!(
            lab.read(|tx| tx.event_by_external_id(ACCOUNT, "message:2")).await,
            Some(other_id)
        );
        assert_eq!(
            lab.read(|tx| tx.event_by_external_id("another account", "message:2"))
                .await,
            None
        );
        assert_eq!(lab.read(|tx| tx.event_by_external_id(ACCOUNT, "message:3")).await, None);
    });
}

#[test]
fn repeats_are_kept_once_inside_a_batch_and_across_batches() {
    on_both(async |lab| {
        let first = event(lab, "message:1");
        let repeat = event(lab, "message:1");
        let second = event(lab, "message:2");
        let elsewhere = NewEvent {
            account: "another account".to_owned(),
            ..event(lab, "message:1")
        };
        let ids = insert(lab, vec![first.clone(), repeat, second.clone(), elsewhere.clone()]).await;
        assert_eq!(
            sorted(ids),
            [first.id, second.id, elsewhere.id],
            "the first of two repeats is the one that is kept"
        );
        let third = event(lab, "message:3");
        let ids = insert(
            lab,
            vec![event(lab, "message:2"), third.clone(), event(lab, "message:1")],
        )
        .await;
        assert_eq!(ids, [third.id]);
        assert_eq!(insert(lab, Vec::new()).await, []);
        assert_eq!(take(lab, BEGIN, 100).await.len(), 4, "a repeat is not queued");
    });
}

#[test]
fn events_are_kept_with_what_became_of_them_unless_they_are_known() {
    on_both(async |lab| {
        let known = event(lab, "message:1");
        insert(lab, vec![known.clone()]).await;
        let keys = |tx: &mut Tx<'_>| {
            let (one, two) = (identity_of("message:1"), identity_of("message:2"));
            tx.known_events(&[(ACCOUNT, &one), (ACCOUNT, &two), ("another account", &one)])
        };
        let found = lab.read(keys).await;
        assert_eq!(Vec::from_iter(found), [(ACCOUNT.to_owned(), identity_of("message:1"))]);

        let (processed, failed) = (event(lab, "message:2"), event(lab, "message:3"));
        let (kept, failed_id) = (processed.clone(), failed.id);
        lab.write(move |tx| {
            let identities = [identity_of("message:2"), identity_of("message:3")];
            let whatsapp = whatsapp();
            let finished = FinishedEvent {
                event: &processed,
                identity: &identities[0],
                channel_id: Some(&whatsapp),
                status: EventStatus::Processed,
                error: None,
                processed_at: Some(BEGIN + 5),
                processing_micros: Some(70),
                payload: "{}",
            };
            tx.wait_for_locks(Duration::from_secs(1))?;
            tx.insert_finished_events(&[
                finished,
                FinishedEvent {
                    event: &failed,
                    identity: &identities[1],
                    status: EventStatus::Failed,
                    error: Some("no text"),
                    ..finished
                },
            ])
        })
        .await;
        let id = kept.id;
        let stored = lab.read(move |tx| tx.event_by_id(id)).await.unwrap();
        let expected = StoredEvent {
            id: kept.id,
            platform: kept.platform,
            account: kept.account,
            external_id: kept.external_id,
            channel_id: Some(whatsapp()),
            kind: kept.kind,
            occurred_at: kept.occurred_at,
            received_at: kept.received_at,
            signed: true,
            status: EventStatus::Processed,
            attempts: 1,
            error: None,
            processed_at: Some(BEGIN + 5),
            processing_micros: Some(70),
            payload: "{}".to_owned(),
        };
        assert_eq!(stored, expected);
        let failed = EventFilter {
            status: Some(EventStatus::Failed),
            ..EventFilter::default()
        };
        assert_eq!(list(lab, failed).await, [failed_id]);
        let waiting = take(lab, BEGIN, 100).await;
        assert_eq!(waiting.len(), 1, "what is finished is not in the queue");

        let again = event(lab, "message:1");
        let kept_twice = lab
            .store
            .write(move |tx| {
                tx.insert_finished_events(&[FinishedEvent {
                    event: &again,
                    identity: &identity_of("message:1"),
                    channel_id: None,
                    status: EventStatus::Processed,
                    error: None,
                    processed_at: None,
                    processing_micros: None,
                    payload: "{}",
                }])
            })
            .await;
        assert!(matches!(kept_twice, Err(StoreError::Conflict(_))), "{kept_twice:?}");
    });
}

#[test]
fn repeats_that_come_at_once_are_kept_once() {
    on_both(async |lab| {
        let mut batches: Vec<Vec<NewEvent>> = Vec::new();
        for task in 0..8_usize {
            let mut batch: Vec<NewEvent> = (0..40).map(|number| event(lab, &format!("message:{number}"))).collect();
            // Everyone in another order.
            batch.rotate_left(task * 5);
            if task % 2 == 1 {
                batch.reverse();
            }
            batches.push(batch);
        }
        let inserts = batches.into_iter().map(|batch| {
            let store = lab.store.clone();
            async move {
                store
                    .write(move |tx| tx.insert_events(&batch.iter().collect::<Vec<_>>()))
                    .await
                    .unwrap()
            }
        });
        let new: Vec<EventId> = join_all(inserts).await.into_iter().flatten().collect();
        assert_eq!(new.len(), 40);
        assert_eq!(
            sorted(take(lab, BEGIN, 1_000).await.iter().map(|event| event.id).collect()),
            sorted(new)
        );
    });
}

#[test]
fn text_with_nul_is_kept_with_a_mark_in_its_place() {
    on_both(async |lab| {
        let new = NewEvent {
            payload: "{\"a\u{0}b\":1}".to_owned(),
            ..event(lab, "message:\u{0}")
        };
        let id = new.id;
        assert_eq!(insert(lab, vec![new]).await, [id]);
        let kept = lab.read(move |tx| tx.event_by_id(id)).await.unwrap();
        assert_eq!(kept.payload, "{\"a\u{fffd}b\":1}");
        assert_eq!(kept.external_id, "message:\u{fffd}");
        assert_eq!(
            insert(lab, vec![event(lab, "message:\u{0}")]).await,
            [],
            "it is still the same event"
        );
        // A parameter of its own, rather than one of many rows.
        lab.write(|tx| tx.upsert_channel(&whatsapp(), "whatsapp", "a\u{0}", None, BEGIN))
            .await;
        assert!(
            !lab.write(|tx| tx.upsert_channel(&backup(), "whatsapp", "a\u{fffd}", None, BEGIN))
                .await
        );
    });
}

#[test]
fn due_events_are_taken_the_longest_due_first_and_come_back_if_the_unit_fails() {
    on_both(async |lab| {
        let mut ids = Vec::new();
        for (number, received_at) in [(1, BEGIN + 30), (2, BEGIN + 10), (3, BEGIN + 20), (4, BEGIN + 40)] {
            let new = NewEvent {
                received_at,
                ..event(lab, &format!("message:{number}"))
            };
            ids.push(new.id);
            insert(lab, vec![new]).await;
        }
        assert_eq!(lab.read(|tx| tx.next_event_due()).await, Some(BEGIN + 10));
        assert_eq!(lab.read(|tx| tx.waiting_events(100)).await, (4, Some(BEGIN + 10)));
        assert_eq!(lab.read(|tx| tx.waiting_events(3)).await, (3, Some(BEGIN + 10)));
        assert_eq!(take(lab, BEGIN + 9, 100).await.len(), 0);

        let failed = lab
            .store
            .write(|tx| {
                let taken = tx.take_due_events(BEGIN + 100, 100)?;
                Err::<(), _>(StoreError::Refused(format!("{} events, by the test", taken.len())))
            })
            .await;
        assert!(failed.unwrap_err().to_string().contains("4 events"));

        let taken: Vec<EventId> = take(lab, BEGIN + 30, 2).await.iter().map(|event| event.id).collect();
        assert_eq!(taken, [ids[1], ids[2]]);
        let taken: Vec<EventId> = take(lab, BEGIN + 30, 2).await.iter().map(|event| event.id).collect();
        assert_eq!(taken, [ids[0]], "what is not due yet stays");
        let taken = take(lab, BEGIN + 100, 2).await;
        assert_eq!(taken[0].payload, event(lab, "message:4").payload, "with its raw value");
        assert_eq!(take(lab, BEGIN + 100, 2).await.len(), 0);
        assert_eq!(lab.read(|tx| tx.next_event_due()).await, None);
        assert_eq!(lab.read(|tx| tx.waiting_events(100)).await, (0, None));
        for plan in lab.sqlite_plans(&["FROM event_queue AS q", "LIMIT"]) {
            assert_eq!(plan, "SEARCH q USING PRIMARY KEY (due_at<?)");
        }
    });
}

#[test]
fn events_taken_by_one_are_not_taken_by_another() {
    on_both(async |lab| {
        insert(
            lab,
            (0..60).map(|number| event(lab, &format!("message:{number}"))).collect(),
        )
        .await;
        let takers = (0..6).map(|_| {
            let store = lab.store.clone();
            async move { store.write(|tx| tx.take_due_events(BEGIN, 10)).await.unwrap() }
        });
        let taken: Vec<EventId> = join_all(takers)
            .await
            .into_iter()
            .flatten()
            .map(|event| event.id)
            .collect();
        let mut rest: Vec<EventId> = take(lab, BEGIN, 100).await.iter().map(|event| event.id).collect();
        rest.extend(taken);
        let all = rest.len();
        rest.sort();
        rest.dedup();
        assert_eq!((all, rest.len()), (60, 60));
    });
}

#[test]
fn due_events_are_read_by_page_and_claimed_by_one() {
    on_both(async |lab| {
        let mut ids = Vec::new();
        for (number, received_at) in [(1, BEGIN + 3), (2, BEGIN + 1), (3, BEGIN + 2), (4, BEGIN + 2)] {
            let new = NewEvent {
                received_at,
                ..event(lab, &format!("message:{number}"))
            };
            ids.push(new.id);
            insert(lab, vec![new]).await;
        }
        let page = |after: Option<QueuePlace>| async move {
            let page = lab.read(move |tx| tx.due_events(BEGIN + 2, after, 2)).await;
            assert!(
                page.iter()
                    .all(|(place, event)| place.1 == event.id && !event.payload.is_empty())
            );
            page.into_iter().map(|(place, _)| place).collect::<Vec<_>>()
        };
        let first = page(None).await;
        assert_eq!(first, [(BEGIN + 1, ids[1]), (BEGIN + 2, ids[2])]);
        let second = page(Some(first[1])).await;
        assert_eq!(second, [(BEGIN + 2, ids[3])]);
        assert_eq!(page(Some(second[0])).await, []);
        for plan in lab.sqlite_plans(&["FROM event_queue AS q JOIN events", "q.due_at <="]) {
            let walk = "SEARCH q USING PRIMARY KEY ((due_at,event_id)>(?,?)";
            assert!(plan.starts_with(walk) && !plan.contains("TEMP B-TREE"), "{plan}");
        }

        // Two who have read the same page.
        let claims = (0..2).map(|_| {
            let (store, places) = (lab.store.clone(), first.clone());
            async move { store.write(move |tx| tx.claim_events(&places)).await.unwrap() }
        });
        let claimed: Vec<EventId> = join_all(claims).await.into_iter().flatten().collect();
        assert_eq!(sorted(claimed), sorted(vec![ids[1], ids[2]]));
        assert_eq!(lab.write(|tx| tx.claim_events(&[])).await.len(), 0);
        let failed = lab
            .store
            .write(move |tx| {
                tx.claim_events(&second)?;
                Err::<(), _>(StoreError::Refused("by the test".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(
            take(lab, BEGIN + 2, 10).await.len(),
            1,
            "what was claimed in vain is due again"
        );
    });
}

#[test]
fn an_event_that_is_due_twice_is_taken_once() {
    on_both(async |lab| {
        let new = event(lab, "message:1");
        let id = new.id;
        insert(lab, vec![new]).await;
        let taken = take(lab, BEGIN, 10).await.remove(0);
        lab.write(move |tx| {
            tx.finish_events(&[(taken.clone(), Some(BEGIN + 5))])?;
            tx.park_events(&[(whatsapp(), "out".to_owned(), id)], BEGIN)?;
            tx.unpark_events(&[(whatsapp(), "out".to_owned())], BEGIN + 1)
        })
        .await;
        let pending = EventFilter {
            status: Some(EventStatus::Pending),
            ..EventFilter::default()
        };
        assert_eq!(list(lab, pending).await, [id], "and listed once");
        let taken: Vec<EventId> = take(lab, BEGIN + 10, 10).await.iter().map(|event| event.id).collect();
        assert_eq!(taken, [id]);
        assert_eq!(take(lab, BEGIN + 10, 10).await.len(), 0);
    });
}

#[test]
fn what_became_of_events_is_noted_and_those_due_again_come_again() {
    on_both(async |lab| {
        insert(
            lab,
            (0..3).map(|number| event(lab, &format!("message:{number}"))).collect(),
        )
        .await;
        let mut taken = take(lab, BEGIN, 10).await;
        taken[0].status = EventStatus::Processed;
        taken[0].processed_at = Some(BEGIN + 7);
        taken[0].processing_micros = Some(42);
        taken[0].channel_id = Some(backup());
        taken[1].attempts = 1;
        taken[1].error = Some("it failed".to_owned());
        taken[2].status = EventStatus::Dead;
        let finished: Vec<(StoredEvent, Option<Millis>)> =
            taken.iter().cloned().zip([None, Some(BEGIN + 5_000), None]).collect();
        lab.write(move |tx| tx.finish_events(&finished)).await;
        for event in taken.clone() {
            let id = event.id;
            assert_eq!(lab.read(move |tx| tx.event_by_id(id)).await, Some(event));
        }
        assert_eq!(take(lab, BEGIN + 4_999, 10).await, []);
        assert_eq!(take(lab, BEGIN + 5_000, 10).await, [taken[1].clone()]);
        let dead = EventFilter {
            status: Some(EventStatus::Dead),
            ..EventFilter::default()
        };
        assert_eq!(list(lab, dead).await, [taken[2].id]);
    });
}

#[test]
fn counts_add_up_over_their_slots() {
    on_both(async |lab| {
        let key = (Platform::WhatsApp, EventKind::Messages, EventStatus::Pending);
        let processed = (Platform::WhatsApp, EventKind::Messages, EventStatus::Processed);
        let other = (Platform::Instagram, EventKind::Comments, EventStatus::Ignored);
        let count = |slot: CountSlot, changes: Vec<((Platform, EventKind, EventStatus), i64)>| {
            let changes: BTreeMap<_, _> = changes.into_iter().collect();
            lab.write(move |tx| tx.count_events(slot, &changes))
        };
        count(CountSlot::Ingest, vec![(key, 5), (other, 1)]).await;
        count(CountSlot::Ingest, vec![(key, 2), (other, 0)]).await;
        count(CountSlot::Projection, vec![(key, -4), (processed, 4)]).await;
        count(CountSlot::Replay, vec![(key, 1), (processed, -1)]).await;
        let kept = |filter: EventFilter| lab.read(move |tx| tx.count_events_found(&filter));
        let found = |total: i64| EventCount { total, is_exact: true };
        assert_eq!(kept(EventFilter::default()).await, found(8));
        let pending = EventFilter {
            status: Some(EventStatus::Pending),
            ..EventFilter::default()
        };
        assert_eq!(kept(pending).await, found(4), "the counters tell it");
        let mut counts = lab.read(|tx| tx.event_counts()).await;
        counts.sort();
        let row = |(platform, kind, status): (Platform, EventKind, EventStatus), count| (platform, kind, status, count);
        assert_eq!(counts, [row(key, 4), row(processed, 3), row(other, 1)]);
    });
}

#[test]
fn counts_survive_many_writers() {
    on_both(async |lab| {
        let counters = (0..24_u32).map(|number| {
            let store = lab.store.clone();
            async move {
                let slot = [CountSlot::Ingest, CountSlot::Projection, CountSlot::Replay][number as usize % 3];
                let changes: BTreeMap<_, _> = EventStatus::ALL
                    .into_iter()
                    .map(|status| ((Platform::WhatsApp, EventKind::Messages, status), 1))
                    .collect();
                store.write(move |tx| tx.count_events(slot, &changes)).await.unwrap();
            }
        });
        join_all(counters).await;
        let counts = lab.read(|tx| tx.event_counts()).await;
        assert!(
            counts.len() == EventStatus::ALL.len() && counts.iter().all(|(.., count)| *count == 24),
            "{counts:?}"
        );
    });
}

/// Events that differ in everything that a filter can ask for, the oldest first, a second apart.
async fn assorted(lab: &Lab) -> Vec<EventId> {
    let mut events = Vec::new();
    let mut add = |change: fn(&mut NewEvent)| {
        let mut new = event(lab, &format!("message:{}", events.len()));
        change(&mut new);
        events.push(new);
        lab.clock.advance(std::time::Duration::from_secs(1));
    };
    add(|_| {});
    add(|new| new.kind = EventKind::Statuses);
    add(|new| {
        new.platform = Platform::Instagram;
        new.account = "17841470000000101".to_owned();
        new.channel_id = None;
    });
    add(|new| new.ignored_because = Some("unknown"));
    add(|new| new.payload = "{\"discount\":\"100% off_today\\\\now\"}".to_owned());
    add(|new| new.payload = "{\"discount\":\"1000 off today now\"}".to_owned());
    let ids = events.iter().map(|event| event.id).collect();
    insert(lab, events).await;
    ids
}

#[test]
fn events_are_listed_newest_first_by_every_filter() {
    on_both(async |lab| {
        let ids = assorted(lab).await;
        let all = || EventFilter::default();
        let expect = async |filter: EventFilter, expected: &[usize]| {
            let expected: Vec<EventId> = expected.iter().map(|index| ids[*index]).collect();
            assert_eq!(list(lab, filter.clone()).await, expected, "{filter:?}");
        };
        expect(all(), &[5, 4, 3, 2, 1, 0]).await;
        expect(
            EventFilter {
                kind: Some(EventKind::Statuses),
                ..all()
            },
            &[1],
        )
        .await;
        expect(
            EventFilter {
                kind: Some(EventKind::Messages),
                ..all()
            },
            &[5, 4, 3, 2, 0],
        )
        .await;
        expect(
            EventFilter {
                status: Some(EventStatus::Ignored),
                ..all()
            },
            &[3],
        )
        .await;
        expect(
            EventFilter {
                status: Some(EventStatus::Pending),
                ..all()
            },
            &[5, 4, 2, 1, 0],
        )
        .await;
        expect(
            EventFilter {
                status: Some(EventStatus::Processed),
                ..all()
            },
            &[],
        )
        .await;
        expect(
            EventFilter {
                platform: Some(Platform::Instagram),
                ..all()
            },
            &[2],
        )
        .await;
        expect(
            EventFilter {
                channel_id: Some(whatsapp()),
                ..all()
            },
            &[5, 4, 3, 1, 0],
        )
        .await;
        expect(
            EventFilter {
                channel_id: Some(backup()),
                ..all()
            },
            &[],
        )
        .await;
        expect(
            EventFilter {
                account: Some("17841470000000101".to_owned()),
                ..all()
            },
            &[2],
        )
        .await;
        expect(
            EventFilter {
                from: Some(BEGIN + 4_000),
                ..all()
            },
            &[5, 4],
        )
        .await;
        expect(
            EventFilter {
                to: Some(BEGIN + 2_000),
                ..all()
            },
            &[1, 0],
        )
        .await;
        expect(
            EventFilter {
                from: Some(BEGIN + 1_000),
                to: Some(BEGIN + 1_001),
                ..all()
            },
            &[1],
        )
        .await;
        expect(
            EventFilter {
                from: Some(-1),
                to: Some(-1),
                ..all()
            },
            &[],
        )
        .await;
        expect(
            EventFilter {
                before: Some(ids[2]),
                ..all()
            },
            &[1, 0],
        )
        .await;
        expect(
            EventFilter {
                kind: Some(EventKind::Messages),
                status: Some(EventStatus::Ignored),
                platform: Some(Platform::WhatsApp),
                channel_id: Some(whatsapp()),
                account: Some(ACCOUNT.to_owned()),
                from: Some(BEGIN),
                to: Some(BEGIN + 60_000),
                text: Some("message:3".to_owned()),
                before: Some(EventId::MAX),
            },
            &[3],
        )
        .await;

        let text = |text: &str| EventFilter {
            text: Some(text.to_owned()),
            ..EventFilter::default()
        };
        expect(text("message:1"), &[1]).await;
        expect(text("MESSAGE:1"), &[1]).await;
        expect(text("discount"), &[5, 4]).await;
        expect(text("100%"), &[4]).await;
        expect(text("off_today"), &[4]).await;
        expect(text("\\\\now"), &[4]).await;
        expect(text("%"), &[4]).await;
        expect(text("nowhere"), &[]).await;

        // Of one status more than one event is in the queue twice: it is counted once.
        lab.execute("INSERT INTO event_queue (due_at, event_id) SELECT due_at + 1, event_id FROM event_queue");
        for (filter, total) in [
            (
                EventFilter {
                    channel_id: Some(whatsapp()),
                    ..all()
                },
                5,
            ),
            (
                EventFilter {
                    account: Some(ACCOUNT.to_owned()),
                    ..all()
                },
                5,
            ),
            (
                EventFilter {
                    kind: Some(EventKind::Statuses),
                    from: Some(BEGIN),
                    ..all()
                },
                1,
            ),
            (
                EventFilter {
                    status: Some(EventStatus::Ignored),
                    from: Some(BEGIN),
                    ..all()
                },
                1,
            ),
            (
                EventFilter {
                    status: Some(EventStatus::Pending),
                    from: Some(BEGIN + 1_000),
                    ..all()
                },
                4,
            ),
            (
                EventFilter {
                    to: Some(BEGIN + 2_000),
                    ..all()
                },
                2,
            ),
            (
                EventFilter {
                    before: Some(ids[0]),
                    ..text("DISCOUNT")
                },
                2,
            ),
        ] {
            let wanted = filter.clone();
            let count = lab.read(move |tx| tx.count_events_found(&wanted)).await;
            assert_eq!(count, EventCount { total, is_exact: true }, "{filter:?}");
        }

        // Each way in walks an index in the order of the answer, also to find out where it stops.
        let lists = lab.sqlite_plans(&["FROM events AS e WHERE", "ORDER BY e.id DESC LIMIT ?9 OFFSET ?10"]);
        let exceptions = lab.sqlite_plans(&["FROM event_exceptions AS x", "LIMIT ?9 OFFSET ?10"]);
        let ends = lab.sqlite_plans(&["DESC LIMIT 1 OFFSET ?3"]);
        let expected = if lab.is_postgres() { (0, 0, 0) } else { (4, 1, 2) };
        assert_eq!((lists.len(), exceptions.len(), ends.len()), expected);
        for plan in lists.iter().chain(&exceptions).chain(&ends) {
            assert!(!plan.contains("TEMP B-TREE") && plan.starts_with("SEARCH"), "{plan}");
        }
    });
}

/// So many events, of which every `nth` says `rare`, kept past the store.
fn many(lab: &Lab, count: u32, nth: u32, status: &str) {
    let zeros = if lab.is_postgres() {
        "lpad(to_hex(n), 32, '0')"
    } else {
        "printf('%032x', n)"
    };
    let decoded = if lab.is_postgres() {
        format!("decode({zeros}, 'hex')")
    } else {
        format!("unhex({zeros})")
    };
    lab.execute(&format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
         INSERT INTO events (id, platform, account, identity, external_id, channel_id, kind, received_at, signed, status, attempts, payload)
         SELECT {decoded}, 'whatsapp', '{ACCOUNT}', {decoded}, 'message:' || n, 'whatsapp', 'messages', {BEGIN}, 1, '{status}', 1,
            CASE WHEN n % {nth} = 0 THEN 'rare' ELSE 'common' END
         FROM numbers"
    ));
}

/// Goes through a list to its end: how many were found in each page.
async fn pages(lab: &Lab, filter: EventFilter, limit: u32) -> Vec<usize> {
    let (mut filter, mut pages) = (filter, Vec::new());
    loop {
        let wanted = filter.clone();
        let page = lab.read(move |tx| tx.events(&wanted, limit, 0)).await;
        pages.push(page.events.len());
        let Some(next) = page.next else { return pages };
        filter.before = Some(next);
    }
}

#[test]
fn a_page_looks_at_so_many_events_and_says_where_it_goes_on() {
    on_both(async |lab| {
        let bound = LOOKED_AT_MAX;
        many(lab, bound * 2 + bound / 2, bound, "processed");
        // The two rare ones are the 5,001st from the newest, and the same within the second page.
        let rare = || EventFilter {
            text: Some("rare".to_owned()),
            ..EventFilter::default()
        };
        assert_eq!(pages(lab, rare(), 10).await, [1, 1, 0]);
        let of_kind = EventFilter {
            kind: Some(EventKind::Messages),
            ..rare()
        };
        assert_eq!(pages(lab, of_kind, 1).await, [1, 1, 0]);
        let elsewhere = |filter: EventFilter| EventFilter {
            channel_id: Some(backup()),
            ..filter
        };
        assert_eq!(pages(lab, elsewhere(EventFilter::default()), 10).await, [0, 0, 0]);
        let of_account = EventFilter {
            account: Some(ACCOUNT.to_owned()),
            ..EventFilter::default()
        };
        assert_eq!(pages(lab, elsewhere(of_account.clone()), 10).await, [0, 0, 0]);
        let ends = lab.sqlite_plans(&["DESC LIMIT 1 OFFSET ?3"]);
        assert_eq!(ends.len(), if lab.is_postgres() { 0 } else { 3 });
        for plan in ends {
            let is_walk = plan.starts_with("SEARCH e USING COVERING INDEX") && !plan.contains("TEMP B-TREE");
            assert!(is_walk, "{plan}");
        }
        // What leaves nothing out goes on as long as there is something.
        assert_eq!(
            pages(lab, of_account, bound).await,
            [bound, bound, bound / 2].map(|count| count as usize)
        );
        // The offset counts what is found among what is looked at.
        let beyond = lab.read(move |tx| tx.events(&rare(), 10, 1)).await;
        assert_eq!(beyond.events, []);
        assert!(beyond.next.is_some());
        let count = lab.read(move |tx| tx.count_events_found(&rare())).await;
        assert_eq!(
            count,
            EventCount {
                total: 1,
                is_exact: false
            }
        );
    });
}

#[test]
fn exceptions_and_a_long_queue_are_looked_at_in_parts_too() {
    on_both(async |lab| {
        let bound = LOOKED_AT_MAX;
        many(lab, bound + 5, bound + 3, "failed");
        lab.execute("INSERT INTO event_exceptions (status, event_id) SELECT 'failed', id FROM events");
        let failed = EventFilter {
            status: Some(EventStatus::Failed),
            text: Some("rare".to_owned()),
            ..EventFilter::default()
        };
        assert_eq!(pages(lab, failed, 10).await, [1, 0]);

        lab.execute("UPDATE events SET status = 'pending'");
        lab.execute("INSERT INTO event_queue (due_at, event_id) SELECT received_at, id FROM events");
        let pending = EventFilter {
            status: Some(EventStatus::Pending),
            ..EventFilter::default()
        };
        assert_eq!(pages(lab, pending.clone(), bound).await, [bound as usize, 5]);
        let filter = pending.clone();
        let page = lab.read(move |tx| tx.events(&filter, 3, 0)).await;
        assert_eq!(page.events.len(), 3);
        let count = lab
            .read(move |tx| {
                tx.count_events_found(&EventFilter {
                    from: Some(0),
                    ..pending.clone()
                })
            })
            .await;
        assert_eq!(
            count,
            EventCount {
                total: i64::from(bound),
                is_exact: false
            }
        );
    });
}

#[test]
fn events_are_listed_by_page_and_without_raw_values() {
    on_both(async |lab| {
        let ids = assorted(lab).await;
        let page = |limit: u32, offset: u32| async move {
            lab.read(move |tx| tx.events(&EventFilter::default(), limit, offset))
                .await
                .events
        };
        assert_eq!(
            page(2, 1).await.iter().map(|event| event.id).collect::<Vec<_>>(),
            [ids[4], ids[3]]
        );
        assert_eq!(page(100, 6).await, []);
        assert!(page(100, 0).await.iter().all(|event| event.payload.is_empty()));
    });
}

#[test]
fn a_replay_puts_events_back_where_they_began() {
    on_both(async |lab| {
        let ids = assorted(lab).await;
        let counts: BTreeMap<_, _> = [((Platform::WhatsApp, EventKind::Messages, EventStatus::Dead), 1)]
            .into_iter()
            .collect();
        let taken = take(lab, lab.now(), 100).await;
        let finished: Vec<(StoredEvent, Option<Millis>)> = taken
            .into_iter()
            .map(|mut event| {
                event.status = if event.id == ids[0] {
                    EventStatus::Dead
                } else {
                    EventStatus::Processed
                };
                event.attempts = 4;
                event.error = Some("why".to_owned());
                (event, None)
            })
            .collect();
        lab.write(move |tx| {
            tx.finish_events(&finished)?;
            tx.count_events(CountSlot::Projection, &counts)
        })
        .await;
        let now = lab.now() + 1;
        let dead = EventFilter {
            status: Some(EventStatus::Dead),
            ..EventFilter::default()
        };
        let filter = dead.clone();
        let found = replay(lab, filter, now, 10).await.events;
        assert_eq!(
            found.iter().map(|event| (event.id, event.status)).collect::<Vec<_>>(),
            [(ids[0], EventStatus::Dead)]
        );
        assert_eq!(list(lab, dead).await, []);
        let id = ids[0];
        let event = lab.read(move |tx| tx.event_by_id(id)).await.unwrap();
        assert_eq!(
            (event.status, event.attempts, event.error),
            (EventStatus::Pending, 0, None)
        );
        let mut counted = lab.read(|tx| tx.event_counts()).await;
        counted.retain(|(.., count)| *count != 0);
        assert_eq!(
            counted,
            [(Platform::WhatsApp, EventKind::Messages, EventStatus::Pending, 1)]
        );

        // One that waits already is left where it is.
        assert_eq!(
            lab.write(move |tx| tx.requeue_event(id, now)).await.unwrap().status,
            EventStatus::Pending
        );
        let ignored = ids[3];
        assert_eq!(
            lab.write(move |tx| tx.requeue_event(ignored, now))
                .await
                .unwrap()
                .status,
            EventStatus::Ignored
        );
        let unknown: EventId = lab.ids.next();
        assert_eq!(lab.write(move |tx| tx.requeue_event(unknown, now)).await, None);
        let due: Vec<EventId> = take(lab, now, 100).await.iter().map(|event| event.id).collect();
        assert_eq!(due, [ids[0], ids[3]]);
    });
}

#[test]
fn a_replay_by_filter_goes_on_where_it_stopped() {
    on_both(async |lab| {
        let ids = assorted(lab).await;
        let finished: Vec<(StoredEvent, Option<Millis>)> = take(lab, lab.now(), 100)
            .await
            .into_iter()
            .map(|event| {
                (
                    StoredEvent {
                        status: EventStatus::Processed,
                        ..event
                    },
                    None,
                )
            })
            .collect();
        lab.write(move |tx| tx.finish_events(&finished)).await;
        let mut filter = EventFilter {
            status: Some(EventStatus::Processed),
            ..EventFilter::default()
        };
        let mut pages = 0;
        loop {
            let page = replay(lab, filter.clone(), BEGIN, 2).await;
            pages += 1;
            assert!(page.events.len() <= 2);
            let Some(next) = page.next else { break };
            filter.before = Some(next);
        }
        assert_eq!(pages, 3);
        assert_eq!(take(lab, BEGIN, 100).await.len(), ids.len() - 1);
    });
}

#[test]
fn two_replays_at_once_count_once() {
    on_postgres(async |lab| {
        let new = NewEvent {
            ignored_because: Some("unknown"),
            ..event(lab, "message:1")
        };
        let id = new.id;
        insert(lab, vec![new]).await;
        let replays = (0..6).map(|_| {
            let store = lab.store.clone();
            async move { store.write(move |tx| tx.requeue_event(id, BEGIN)).await.unwrap() }
        });
        join_all(replays).await;
        let mut counts = lab.read(|tx| tx.event_counts()).await;
        counts.sort();
        let (platform, kind) = (Platform::WhatsApp, EventKind::Messages);
        assert_eq!(
            counts,
            [
                (platform, kind, EventStatus::Pending, 1),
                (platform, kind, EventStatus::Ignored, -1)
            ]
        );
        assert_eq!(take(lab, BEGIN, 10).await.len(), 1);
    });
}

#[test]
fn a_redacted_event_keeps_its_row() {
    on_both(async |lab| {
        let ids = assorted(lab).await;
        let id = ids[4];
        lab.write(move |tx| tx.redact_event(id, "{}")).await;
        assert_eq!(lab.read(move |tx| tx.event_by_id(id)).await.unwrap().payload, "{}");
        let other = ids[5];
        assert_ne!(lab.read(move |tx| tx.event_by_id(other)).await.unwrap().payload, "{}");
    });
}

#[test]
fn every_event_that_told_what_a_message_says_is_redacted_and_no_other() {
    on_both(async |lab| {
        let ids = assorted(lab).await;
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let mut message = inbound(lab, &conversation, "in 1", BEGIN);
        message.event_id = Some(ids[0]);
        let message_id = message.id;
        let fact = move |event_id, kind: &str| tidings::store::messages::MessageFact {
            message_id,
            at: BEGIN,
            event_id,
            kind: kind.to_owned(),
            detail: "{}".to_owned(),
        };
        let facts = [
            fact(ids[1], "edited"),
            fact(ids[2], "echo"),
            fact(ids[3], "again"),
            fact(ids[4], "read"),
        ];
        lab.write(move |tx| {
            tx.insert_messages(&[&message])?;
            tx.insert_message_facts(&facts)?;
            for event in tx.events_of_message(message_id)? {
                tx.redact_event(event, "{}")?;
            }
            Ok::<_, tidings::store::StoreError>(())
        })
        .await;
        for (index, id) in ids.into_iter().enumerate() {
            let payload = lab.read(move |tx| tx.event_by_id(id)).await.unwrap().payload;
            assert_eq!(payload == "{}", index < 4, "event {index}");
        }
    });
}

#[test]
fn quarantined_notifications_are_listed_newest_first_and_the_oldest_go() {
    on_both(async |lab| {
        let notifications: Vec<QuarantinedNotification> = (0..5_u8)
            .map(|number| QuarantinedNotification {
                id: lab.ids.next(),
                platform: if number % 2 == 0 {
                    Platform::WhatsApp
                } else {
                    Platform::Instagram
                },
                received_at: BEGIN + i64::from(number),
                reason: "not JSON".to_owned(),
                body: vec![0, number, 255],
            })
            .collect();
        let kept = notifications.clone();
        lab.write(move |tx| {
            kept.iter()
                .try_for_each(|notification| tx.insert_quarantined(notification))
        })
        .await;
        let newest_first: Vec<QuarantinedNotification> = notifications.iter().rev().cloned().collect();
        assert_eq!(lab.read(|tx| tx.quarantined(None, 10)).await, newest_first);
        let before = Some(notifications[3].id);
        assert_eq!(lab.read(move |tx| tx.quarantined(before, 2)).await, newest_first[2..4]);
        let beginnings = lab.read(|tx| tx.quarantined_beginnings(None, 1, 2)).await;
        let beginning = QuarantinedNotification {
            body: vec![0, 4],
            ..notifications[4].clone()
        };
        assert_eq!(beginnings, [(beginning, 3)], "with the length of the whole");
        let before = Some(notifications[1].id);
        let beginnings = lab.read(move |tx| tx.quarantined_beginnings(before, 9, 100)).await;
        assert_eq!(beginnings, [(notifications[0].clone(), 3)]);
        assert_eq!(lab.write(|tx| tx.prune_quarantined(5)).await, 0);
        assert_eq!(lab.write(|tx| tx.prune_quarantined(2)).await, 3);
        assert_eq!(lab.read(|tx| tx.quarantined(None, 10)).await, newest_first[..2]);
        assert_eq!(lab.write(|tx| tx.prune_quarantined(0)).await, 2);
    });
}
