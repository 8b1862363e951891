//! The outbox: heads, order, claims, attempts.

use futures_util::future::join_all;
use tidings::conversations::model::{ChannelId, Conversation, Failure, Message, Millis};
use tidings::ids::{AttemptId, ContactId, ConversationId, MessageId};
use tidings::ingest::model::NewEvent;
use tidings::sending::model::{Aside, Attempt, AttemptEnd, EntryState, OutboxEntry, Postponement, Priority, Wait};
use tidings::store::{Store, StoreError, Tx};

use crate::harness::{BEGIN, Lab, on_both, on_postgres};
use crate::samples::{backup, conversation, entry, entry_of, event, outbound, whatsapp};

async fn keep(lab: &Lab, entries: &[OutboxEntry]) {
    let entries = entries.to_vec();
    lab.write(move |tx| entries.iter().try_for_each(|entry| tx.insert_outbox(entry)))
        .await;
}

/// What is due: of unknown outcome, then what waits, the most urgent first; `limit` of each at most.
fn take(tx: &mut Tx<'_>, channel: &ChannelId, now: Millis, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut due = tx.take_unknown_entries(channel, now, limit)?;
    for priority in Priority::ALL {
        due.extend(tx.take_due_entries(channel, priority, now, limit)?);
    }
    Ok(due)
}

async fn due(lab: &Lab, channel: &ChannelId, now: Millis, limit: u32) -> Vec<MessageId> {
    let channel = channel.clone();
    let due = lab.write(move |tx| take(tx, &channel, now, limit)).await;
    due.into_iter().map(|entry| entry.message_id).collect()
}

async fn locked(lab: &Lab, message: MessageId) -> Option<OutboxEntry> {
    lab.write(move |tx| tx.lock_entry(message)).await
}

async fn remove(lab: &Lab, message: MessageId) {
    lab.write(move |tx| {
        let entry = tx.lock_entry(message)?.expect("the entry is there");
        tx.remove_entry(&entry)
    })
    .await;
}

/// As a message is settled: without another look at its entry.
async fn take_out(lab: &Lab, entry: &OutboxEntry) {
    let entry = entry.clone();
    lab.write(move |tx| tx.remove_entry(&entry)).await;
}

/// As a message is accepted: with its conversation in hand.
async fn put_behind(lab: &Lab, entry: &OutboxEntry) {
    let entry = entry.clone();
    lab.write(move |tx| {
        tx.lock_conversation(entry.conversation_id)?;
        tx.insert_outbox(&entry)
    })
    .await;
}

async fn postpone(lab: &Lab, message: MessageId, state: EntryState, due_at: Millis) {
    let postponement = Postponement {
        message_id: message,
        state,
        due_at,
        attempts: 1,
        waits_for: if state == EntryState::Unknown {
            Wait::UnknownOutcome
        } else {
            Wait::Retry
        },
        reason: Some("temporary".to_owned()),
        aside: None,
    };
    lab.write(move |tx| tx.postpone_entries(std::slice::from_ref(&postponement)))
        .await;
}

async fn mark_sending(lab: &Lab, message: MessageId) -> AttemptId {
    let attempt: AttemptId = lab.ids.next();
    lab.write(move |tx| tx.mark_sending(&[(message, attempt)], "node 1", BEGIN + 60_000))
        .await;
    attempt
}

#[test]
fn an_entry_is_kept_as_it_stands_until_it_is_done_with() {
    on_both(async |lab| {
        let kept = OutboxEntry {
            priority: Priority::Bulk as i64,
            attempts: 3,
            attempt_id: Some(lab.ids.next()),
            reason: Some("throttled".to_owned()),
            ..entry(lab, &whatsapp(), lab.ids.next(), 5)
        };
        keep(lab, std::slice::from_ref(&kept)).await;
        assert_eq!(locked(lab, kept.message_id).await, Some(kept.clone()));
        let id = kept.message_id;
        assert_eq!(lab.read(move |tx| tx.entry_of_message(id)).await, Some(kept.clone()));
        remove(lab, kept.message_id).await;
        assert_eq!(lab.read(move |tx| tx.entry_of_message(id)).await, None);
        assert_eq!(locked(lab, kept.message_id).await, None);
        // To take out what is gone changes nothing.
        lab.write(move |tx| tx.remove_entry(&kept)).await;
    });
}

#[test]
fn only_the_head_of_a_conversation_goes_out_and_the_order_is_kept() {
    on_both(async |lab| {
        let (first, second): (ConversationId, ConversationId) = (lab.ids.next(), lab.ids.next());
        let ours: Vec<OutboxEntry> = (1..=3)
            .map(|position| entry(lab, &whatsapp(), first, position))
            .collect();
        let theirs = entry(lab, &whatsapp(), second, 1);
        let elsewhere = entry(lab, &backup(), first, 1);
        keep(lab, &ours).await;
        keep(lab, &[theirs.clone(), elsewhere.clone()]).await;
        assert_eq!(
            due(lab, &whatsapp(), BEGIN, 10).await,
            [ours[0].message_id, theirs.message_id]
        );
        assert_eq!(due(lab, &backup(), BEGIN, 10).await, [elsewhere.message_id]);
        assert_eq!(due(lab, &whatsapp(), BEGIN - 1, 10).await, []);

        // A retry that waits holds its conversation back, and no other.
        postpone(lab, ours[0].message_id, EntryState::Waiting, BEGIN + 100).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [theirs.message_id]);
        assert_eq!(
            due(lab, &whatsapp(), BEGIN + 100, 10).await,
            [theirs.message_id, ours[0].message_id]
        );
        let entry = locked(lab, ours[0].message_id).await.unwrap();
        assert_eq!((entry.attempts, entry.reason.as_deref()), (1, Some("temporary")));

        mark_sending(lab, ours[0].message_id).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN + 100, 10).await, [theirs.message_id]);
        remove(lab, ours[0].message_id).await;
        assert_eq!(
            due(lab, &whatsapp(), BEGIN + 100, 10).await,
            [ours[1].message_id, theirs.message_id]
        );
        // One that is withdrawn from behind changes nothing for the head.
        remove(lab, ours[2].message_id).await;
        assert_eq!(
            due(lab, &whatsapp(), BEGIN + 100, 10).await,
            [ours[1].message_id, theirs.message_id]
        );
        remove(lab, ours[1].message_id).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN + 100, 10).await, [theirs.message_id]);
    });
}

#[test]
fn the_most_urgent_go_first_then_the_longest_due() {
    on_both(async |lab| {
        let make = |priority: Priority, due_at: Millis| OutboxEntry {
            priority: priority as i64,
            due_at,
            ..entry(lab, &whatsapp(), lab.ids.next(), 1)
        };
        let entries = [
            make(Priority::Bulk, BEGIN - 9),
            make(Priority::Notification, BEGIN - 5),
            make(Priority::Reply, BEGIN - 1),
            make(Priority::Reply, BEGIN - 2),
            make(Priority::Reply, BEGIN + 50),
        ];
        let ids = entries.clone().map(|entry| entry.message_id);
        keep(lab, &entries).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [ids[3], ids[2], ids[1], ids[0]]);
        assert_eq!(
            due(lab, &whatsapp(), BEGIN, 1).await,
            [ids[3], ids[1], ids[0]],
            "one of each priority"
        );
        let next_after = |after: Millis| lab.read(move |tx| tx.next_entry_due(&whatsapp(), after));
        let next = || next_after(BEGIN);
        assert_eq!(next_after(BEGIN - 10).await, Some(BEGIN - 9));
        assert_eq!(next().await, Some(BEGIN + 50));
        for id in &ids[..4] {
            mark_sending(lab, *id).await;
        }
        assert_eq!(next().await, Some(BEGIN + 50));
        postpone(lab, ids[0], EntryState::Unknown, BEGIN + 20).await;
        assert_eq!(next().await, Some(BEGIN + 20));
        assert_eq!(lab.read(|tx| tx.next_entry_due(&backup(), BEGIN)).await, None);
        for plan in lab.sqlite_plans(&["FROM outbox AS o", "o.head = 1 AND o.state = 'waiting' AND o.due_at"]) {
            assert_eq!(
                plan,
                "SEARCH o USING INDEX outbox_by_due (channel_id=? AND head=? AND state=? AND priority=? AND due_at<?)",
                "nothing is sorted"
            );
        }
    });
}

#[test]
fn what_has_no_known_outcome_is_due_when_its_time_is_up() {
    on_both(async |lab| {
        let waiting = entry(lab, &whatsapp(), lab.ids.next(), 1);
        let unknown = entry(lab, &whatsapp(), lab.ids.next(), 1);
        keep(lab, &[waiting.clone(), unknown.clone()]).await;
        let attempt = mark_sending(lab, unknown.message_id).await;
        postpone(lab, unknown.message_id, EntryState::Unknown, BEGIN + 60_000).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN + 59_999, 10).await, [waiting.message_id]);
        assert_eq!(
            due(lab, &whatsapp(), BEGIN + 60_000, 10).await,
            [unknown.message_id, waiting.message_id]
        );
        let entry = locked(lab, unknown.message_id).await.unwrap();
        assert_eq!(
            (entry.state, entry.attempt_id),
            (EntryState::Unknown, Some(attempt)),
            "its attempt can still be settled"
        );
    });
}

#[test]
fn what_has_expired_is_found_wherever_it_stands_in_its_conversation_the_longest_expired_first() {
    on_both(async |lab| {
        let conversation = lab.ids.next();
        let expiring = |entry: OutboxEntry, expires_at| OutboxEntry { expires_at, ..entry };
        let head = expiring(entry(lab, &whatsapp(), conversation, 1), BEGIN + 50);
        let behind = expiring(entry(lab, &whatsapp(), conversation, 2), BEGIN + 10);
        let elsewhere = expiring(entry(lab, &backup(), lab.ids.next(), 1), BEGIN + 20);
        let sending = expiring(entry(lab, &whatsapp(), lab.ids.next(), 1), BEGIN + 5);
        let unknown = expiring(entry(lab, &whatsapp(), lab.ids.next(), 1), BEGIN + 15);
        keep(
            lab,
            &[
                head.clone(),
                behind.clone(),
                elsewhere.clone(),
                sending.clone(),
                unknown.clone(),
            ],
        )
        .await;
        mark_sending(lab, sending.message_id).await;
        mark_sending(lab, unknown.message_id).await;
        postpone(lab, unknown.message_id, EntryState::Unknown, BEGIN + 60).await;
        let expired = async |now: Millis, limit: u32| {
            let any = lab.read(move |tx| tx.any_entry_expired(now)).await;
            let entries = lab.write(move |tx| tx.take_expired_entries(now, limit)).await;
            assert_eq!(any, !entries.is_empty());
            entries.into_iter().map(|entry| entry.message_id).collect::<Vec<_>>()
        };
        assert!(expired(BEGIN + 9, 10).await.is_empty(), "what is being sent is left");
        assert_eq!(expired(BEGIN + 20, 10).await, [behind.message_id, elsewhere.message_id]);
        assert_eq!(expired(BEGIN + 20, 1).await, [behind.message_id]);
        assert_eq!(
            expired(BEGIN + 60, 10).await,
            [
                behind.message_id,
                unknown.message_id,
                elsewhere.message_id,
                head.message_id
            ],
            "its time to be told of is up"
        );
    });
}

#[test]
fn what_has_no_known_outcome_can_be_given_more_time() {
    on_both(async |lab| {
        let entries: Vec<OutboxEntry> = [whatsapp(), whatsapp(), whatsapp(), backup()]
            .iter()
            .map(|channel| entry(lab, channel, lab.ids.next(), 1))
            .collect();
        keep(lab, &entries).await;
        for (entry, due_at) in entries[1..].iter().zip([BEGIN + 10, BEGIN + 90, BEGIN + 10]) {
            postpone(lab, entry.message_id, EntryState::Unknown, due_at).await;
        }
        let postponed = lab
            .write(|tx| tx.postpone_unknown_entries(&whatsapp(), BEGIN + 50))
            .await;
        assert_eq!(postponed, 1);
        let mut due_at = Vec::new();
        for entry in &entries {
            due_at.push(locked(lab, entry.message_id).await.unwrap().due_at);
        }
        assert_eq!(
            due_at,
            [BEGIN, BEGIN + 50, BEGIN + 90, BEGIN + 10],
            "nobody is given less"
        );
        let is_up = async |index: usize, now| {
            let id = entries[index].message_id;
            lab.read(move |tx| tx.is_unknown_up(id, now)).await
        };
        assert!(!is_up(0, BEGIN + 99).await, "it waits for its turn");
        assert!(!is_up(1, BEGIN + 49).await && is_up(1, BEGIN + 50).await);
        // What has come in before may tell of it.
        let status = NewEvent {
            received_at: BEGIN + 30,
            ..event(lab, "status:1")
        };
        lab.write(move |tx| tx.insert_events(&[&status])).await;
        assert!(!is_up(1, BEGIN + 99).await && is_up(3, BEGIN + 99).await);
    });
}

#[test]
fn claims_of_several_senders_never_overlap() {
    on_both(async |lab| {
        let entries: Vec<OutboxEntry> = (0..60).map(|_| entry(lab, &whatsapp(), lab.ids.next(), 1)).collect();
        keep(lab, &entries).await;
        let other_node = lab.another_store().await;
        let claim = |store: Store, attempts: Vec<AttemptId>| async move {
            store
                .write(move |tx| {
                    let due = tx.take_due_entries(&whatsapp(), Priority::Reply, BEGIN, 10)?;
                    let claimed: Vec<(MessageId, AttemptId)> = due
                        .iter()
                        .zip(&attempts)
                        .map(|(entry, attempt)| (entry.message_id, *attempt))
                        .collect();
                    tx.mark_sending(&claimed, "a node", BEGIN + 60_000)?;
                    Ok::<Vec<MessageId>, StoreError>(claimed.into_iter().map(|(message, _)| message).collect())
                })
                .await
                .unwrap()
        };
        let attempts = || (0..10).map(|_| lab.ids.next()).collect::<Vec<AttemptId>>();
        let mut claimed: Vec<MessageId> = Vec::new();
        // Whoever finds all due entries locked gets none, so that it may take more rounds than there are portions.
        while claimed.len() < entries.len() {
            let claims = (0..4).map(|number| {
                let store = if number % 2 == 0 {
                    lab.store.clone()
                } else {
                    other_node.clone()
                };
                claim(store, attempts())
            });
            claimed.extend(join_all(claims).await.into_iter().flatten());
        }
        let all = claimed.len();
        claimed.sort();
        claimed.dedup();
        assert_eq!((all, claimed.len()), (60, 60));
        other_node.close().await;
    });
}

#[test]
fn what_another_owner_left_behind_is_found() {
    on_both(async |lab| {
        let entries: Vec<OutboxEntry> = (0..3).map(|_| entry(lab, &whatsapp(), lab.ids.next(), 1)).collect();
        let elsewhere = entry(lab, &backup(), lab.ids.next(), 1);
        keep(lab, &entries).await;
        keep(lab, std::slice::from_ref(&elsewhere)).await;
        let marks: Vec<(MessageId, AttemptId)> = [&entries[0], &entries[1], &elsewhere]
            .iter()
            .map(|entry| (entry.message_id, lab.ids.next()))
            .collect();
        lab.write(move |tx| {
            tx.mark_sending(&marks[..1], "node 1", BEGIN + 10)?;
            tx.mark_sending(&marks[1..], "node 2", BEGIN + 20)
        })
        .await;
        let left = |owner: &'static str, now: Millis| async move {
            let left = lab
                .write(move |tx| tx.entries_left_behind(&whatsapp(), owner, now, 10))
                .await;
            let mut left: Vec<MessageId> = left.into_iter().map(|entry| entry.message_id).collect();
            left.sort();
            left
        };
        let [first, second] = [entries[0].message_id, entries[1].message_id];
        assert_eq!(left("node 1", BEGIN).await, [second]);
        assert_eq!(left("node 2", BEGIN).await, [first]);
        assert_eq!(left("node 3", BEGIN).await, [first, second]);
        // Its own, once their time is over.
        assert_eq!(left("node 1", BEGIN + 10).await, [first, second]);
        postpone(lab, first, EntryState::Unknown, BEGIN + 60_000).await;
        assert_eq!(left("node 3", BEGIN).await, [second]);
        for plan in lab.sqlite_plans(&["o.leased_until <="]) {
            assert!(plan.contains("(channel_id=? AND state=?)"), "{plan}");
        }
    });
}

#[test]
fn what_was_not_called_for_goes_back_as_it_was() {
    on_both(async |lab| {
        let before = OutboxEntry {
            attempts: 2,
            attempt_id: Some(lab.ids.next()),
            waits_for: Wait::Retry,
            reason: Some("temporary".to_owned()),
            ..entry(lab, &whatsapp(), lab.ids.next(), 1)
        };
        let other = entry(lab, &whatsapp(), lab.ids.next(), 1);
        keep(lab, &[before.clone(), other.clone()]).await;
        let ours = mark_sending(lab, before.message_id).await;
        attempt(lab, before.message_id, ours, BEGIN).await;
        // Somebody else has called its outcome unknown meanwhile.
        postpone(lab, before.message_id, EntryState::Unknown, BEGIN + 60_000).await;
        let theirs = mark_sending(lab, other.message_id).await;
        let unsent = vec![(before.clone(), ours), (other.clone(), lab.ids.next())];
        let released = lab.write(move |tx| tx.release_entries(&unsent, BEGIN + 1)).await;
        assert_eq!(released, 1, "what has another attempt is somebody else's");
        let after = locked(lab, before.message_id).await.unwrap();
        assert_eq!(
            after,
            OutboxEntry {
                due_at: BEGIN + 1,
                attempts: 1,
                ..before.clone()
            },
            "the count is whoever's who called it unknown"
        );
        let message = before.message_id;
        assert!(lab.read(move |tx| tx.attempts_of_message(message)).await.is_empty());
        let other = locked(lab, other.message_id).await.unwrap();
        assert_eq!((other.state, other.attempt_id), (EntryState::Sending, Some(theirs)));
    });
}

#[test]
fn what_waits_is_counted_whatever_becomes_of_it() {
    on_both(async |lab| {
        let figures = || async {
            let figures = lab.read(|tx| tx.outbox_figures()).await;
            let mut figures: Vec<_> = figures
                .into_iter()
                .map(|figure| {
                    (
                        figure.channel_id.0,
                        figure.state.as_str(),
                        figure.waits_for.as_str(),
                        figure.count,
                    )
                })
                .collect();
            figures.sort();
            figures
        };
        let of = |channel: ChannelId, state: &'static str, waits_for: &'static str, count: i64| {
            (channel.0, state, waits_for, count)
        };
        assert_eq!(figures().await, []);
        let conversation: ConversationId = lab.ids.next();
        let entries: Vec<OutboxEntry> = (1..=4)
            .map(|position| entry(lab, &whatsapp(), conversation, position))
            .collect();
        keep(lab, &entries).await;
        keep(lab, &[entry(lab, &backup(), conversation, 1)]).await;
        assert_eq!(
            figures().await,
            [of(whatsapp(), "waiting", "turn", 4), of(backup(), "waiting", "turn", 1)]
        );
        mark_sending(lab, entries[0].message_id).await;
        postpone(lab, entries[0].message_id, EntryState::Waiting, BEGIN + 5).await;
        mark_sending(lab, entries[1].message_id).await;
        postpone(lab, entries[2].message_id, EntryState::Unknown, BEGIN + 5).await;
        assert_eq!(
            figures().await,
            [
                of(whatsapp(), "sending", "turn", 1),
                of(whatsapp(), "unknown", "unknown_outcome", 1),
                of(whatsapp(), "waiting", "retry", 1),
                of(whatsapp(), "waiting", "turn", 1),
                of(backup(), "waiting", "turn", 1),
            ]
        );
        let ids: Vec<MessageId> = entries.iter().map(|entry| entry.message_id).collect();
        lab.write(move |tx| tx.remove_entries(&ids)).await;
        assert_eq!(figures().await, [of(backup(), "waiting", "turn", 1)]);
    });
}

#[test]
fn what_waits_is_listed_by_what_it_waits_for_and_can_be_hurried() {
    on_both(async |lab| {
        let entries: Vec<OutboxEntry> = (0..5).map(|_| entry(lab, &whatsapp(), lab.ids.next(), 1)).collect();
        keep(lab, &entries).await;
        for entry in &entries[1..] {
            postpone(lab, entry.message_id, EntryState::Waiting, BEGIN + 60_000).await;
        }
        let list = |waits_for: Wait, after: Option<MessageId>, limit: u32| async move {
            let list = lab
                .read(move |tx| tx.outbox_entries(&whatsapp(), EntryState::Waiting, waits_for, after, limit))
                .await;
            list.into_iter().map(|entry| entry.message_id).collect::<Vec<_>>()
        };
        let ids: Vec<MessageId> = entries.iter().map(|entry| entry.message_id).collect();
        assert_eq!(list(Wait::Turn, None, 10).await, [ids[0]]);
        assert_eq!(list(Wait::Retry, None, 3).await, ids[1..4]);
        assert_eq!(list(Wait::Retry, Some(ids[3]), 3).await, [ids[4]]);
        for plan in lab.sqlite_plans(&["ORDER BY o.message_id LIMIT", "o.waits_for ="]) {
            assert!(
                plan.contains("outbox_by_group (channel_id=? AND state=? AND waits_for=?"),
                "{plan}"
            );
        }
        let hurry = |limit: u32| lab.write(move |tx| tx.hurry_entries(&whatsapp(), Wait::Retry, BEGIN, limit));
        assert_eq!(hurry(3).await, 3);
        assert_eq!(hurry(3).await, 1);
        assert_eq!(hurry(3).await, 0);
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await.len(), 5);
    });
}

#[test]
fn what_is_before_an_urgent_entry_of_its_conversation_is_as_urgent() {
    on_both(async |lab| {
        let conversation: ConversationId = lab.ids.next();
        let make = |conversation, position, priority: Priority| OutboxEntry {
            priority: priority as i64,
            ..entry(lab, &whatsapp(), conversation, position)
        };
        let ours = [
            make(conversation, 1, Priority::Bulk),
            make(conversation, 2, Priority::Notification),
            make(conversation, 3, Priority::Reply),
            make(conversation, 4, Priority::Bulk),
        ];
        let theirs = make(lab.ids.next(), 1, Priority::Bulk);
        keep(lab, &ours).await;
        keep(lab, std::slice::from_ref(&theirs)).await;
        for first in &ours[..3] {
            let urgent = lab
                .write(|tx| tx.take_due_entries(&whatsapp(), Priority::Reply, BEGIN, 10))
                .await;
            let urgent: Vec<MessageId> = urgent.iter().map(|entry| entry.message_id).collect();
            assert_eq!(urgent, [first.message_id], "the order stays");
            remove(lab, first.message_id).await;
        }
        assert_eq!(
            due(lab, &whatsapp(), BEGIN, 10).await.len(),
            2,
            "what comes after is as it was"
        );
        let left = locked(lab, ours[3].message_id).await.unwrap();
        assert_eq!(left.priority, Priority::Bulk as i64);
        let theirs = locked(lab, theirs.message_id).await.unwrap();
        assert_eq!(theirs.priority, Priority::Bulk as i64, "as is what is beside it");
    });
}

#[test]
fn what_waits_for_a_further_person_is_due_once_they_have_written() {
    on_both(async |lab| {
        let conversation: ConversationId = lab.ids.next();
        let waiting = |conversation, position, waits_for, due_at| OutboxEntry {
            waits_for,
            due_at,
            ..entry(lab, &whatsapp(), conversation, position)
        };
        let held = waiting(conversation, 1, Wait::TierLimit, BEGIN + 9_000);
        let behind = waiting(conversation, 2, Wait::Turn, BEGIN);
        let retried = waiting(lab.ids.next(), 1, Wait::Retry, BEGIN + 9_000);
        let turn = waiting(lab.ids.next(), 1, Wait::Turn, BEGIN - 5);
        let other = waiting(lab.ids.next(), 1, Wait::TierLimit, BEGIN + 9_000);
        let all = [held, behind, retried, turn, other];
        keep(lab, &all).await;
        let written = [conversation, all[2].conversation_id, all[3].conversation_id].map(|of| (whatsapp(), of));
        lab.write(move |tx| tx.hurry_answers(&written, BEGIN + 1)).await;
        let mut shown = Vec::new();
        for entry in &all {
            let entry = locked(lab, entry.message_id).await.unwrap();
            shown.push((entry.waits_for, entry.due_at));
        }
        assert_eq!(
            shown,
            [
                (Wait::Turn, BEGIN + 1),
                (Wait::Turn, BEGIN),
                (Wait::Retry, BEGIN + 9_000),
                (Wait::Turn, BEGIN - 5),
                (Wait::TierLimit, BEGIN + 9_000),
            ]
        );
    });
}

async fn put_aside(lab: &Lab, entry: &OutboxEntry, aside: Aside, due_at: Millis) {
    let postponement = Postponement {
        message_id: entry.message_id,
        state: entry.state,
        due_at,
        attempts: 0,
        waits_for: match aside {
            Aside::UntilDue => Wait::MarketingCap,
            Aside::UntilRoom => Wait::TierLimit,
        },
        reason: None,
        aside: Some(aside),
    };
    lab.write(move |tx| tx.postpone_entries(std::slice::from_ref(&postponement)))
        .await;
}

async fn recall(lab: &Lab, now: Millis, limit: u32) -> usize {
    lab.write(move |tx| tx.recall_entries(&whatsapp(), now, limit)).await
}

async fn recall_for_room(lab: &Lab, room: u32) -> u32 {
    lab.write(move |tx| tx.recall_entries_for_room(&whatsapp(), BEGIN, room))
        .await
}

#[test]
fn what_is_set_aside_is_in_nobodys_way_and_has_its_place_again_when_it_is_recalled() {
    on_both(async |lab| {
        let conversation: ConversationId = lab.ids.next();
        let make = |position, priority: Priority| OutboxEntry {
            priority: priority as i64,
            ..entry(lab, &whatsapp(), conversation, position)
        };
        let ours = [
            make(1, Priority::Bulk),
            make(2, Priority::Bulk),
            make(3, Priority::Bulk),
            make(4, Priority::Bulk),
        ];
        keep(lab, &ours).await;
        let ids: Vec<MessageId> = ours.iter().map(|entry| entry.message_id).collect();
        put_aside(lab, &ours[0], Aside::UntilDue, BEGIN + 100).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [ids[1]]);
        // For the same reason, a moment less.
        put_aside(lab, &ours[1], Aside::UntilDue, BEGIN + 99).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [ids[2]]);
        assert_eq!(
            lab.read(|tx| tx.next_entry_due(&whatsapp(), BEGIN)).await,
            None,
            "it is no head"
        );
        // What is urgent hurries what is in its way, and nothing else.
        let urgent = make(5, Priority::Reply);
        keep(lab, std::slice::from_ref(&urgent)).await;
        let priority = async |id: MessageId| locked(lab, id).await.unwrap().priority;
        assert_eq!(
            [priority(ids[0]).await, priority(ids[2]).await],
            [Priority::Bulk as i64, Priority::Reply as i64]
        );

        assert_eq!(recall(lab, BEGIN + 98, 10).await, 0);
        // The one before it, which waits for the same, comes with it.
        assert_eq!(recall(lab, BEGIN + 99, 10).await, 1);
        assert_eq!(recall(lab, BEGIN + 100, 10).await, 0);
        let recalled = locked(lab, ids[0]).await.unwrap();
        assert_eq!((recalled.waits_for, recalled.due_at), (Wait::Turn, BEGIN + 99));
        assert_eq!(recalled.priority, Priority::Reply as i64, "it is in the way now");
        // The head that there is goes first; then they, in their order, before what came after them.
        let mut went = Vec::new();
        while let Some(next) = due(lab, &whatsapp(), BEGIN + 100, 10).await.first() {
            went.push(*next);
            remove(lab, *next).await;
        }
        assert_eq!(went, [ids[2], ids[0], ids[1], ids[3], urgent.message_id]);
    });
}

#[test]
fn a_conversation_of_which_everything_is_set_aside_has_no_head() {
    on_both(async |lab| {
        let conversation: ConversationId = lab.ids.next();
        let first = entry(lab, &whatsapp(), conversation, 1);
        keep(lab, std::slice::from_ref(&first)).await;
        put_aside(lab, &first, Aside::UntilRoom, BEGIN).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN + 5, 10).await, []);
        assert_eq!(recall(lab, BEGIN + 5, 10).await, 0, "that it is due is not enough");
        let second = entry(lab, &whatsapp(), conversation, 2);
        keep(lab, std::slice::from_ref(&second)).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [second.message_id]);
        remove(lab, second.message_id).await;
        assert_eq!(recall_for_room(lab, 1).await, 1);
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [first.message_id]);

        // What may have been sent already is set aside likewise, and is of unknown outcome still when it comes back.
        mark_sending(lab, first.message_id).await;
        postpone(lab, first.message_id, EntryState::Unknown, BEGIN).await;
        let unknown = locked(lab, first.message_id).await.unwrap();
        put_aside(lab, &unknown, Aside::UntilDue, BEGIN + 50).await;
        let third = entry(lab, &whatsapp(), conversation, 3);
        keep(lab, std::slice::from_ref(&third)).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN + 50, 10).await, [third.message_id]);
        assert_eq!(recall(lab, BEGIN + 50, 10).await, 1);
        assert_eq!(
            due(lab, &whatsapp(), BEGIN + 50, 10).await,
            [first.message_id, third.message_id]
        );
        // An event tells of it.
        put_aside(lab, &unknown, Aside::UntilDue, BEGIN + 90).await;
        let id = first.message_id;
        lab.write(move |tx| tx.settle_outbox_by_event(id)).await;
        assert_eq!(locked(lab, id).await, None);
    });
}

#[test]
fn as_many_are_recalled_as_there_is_room_for_the_most_urgent_first() {
    on_both(async |lab| {
        let mut entries = Vec::new();
        for number in 0..6 {
            entries.push(OutboxEntry {
                priority: if number == 4 {
                    Priority::Notification as i64
                } else {
                    Priority::Bulk as i64
                },
                ..entry(lab, &whatsapp(), lab.ids.next(), 1)
            });
        }
        keep(lab, &entries).await;
        let waits = async || lab.read(|tx| tx.any_entry_waits_for_room(&whatsapp())).await;
        assert!(!waits().await);
        for (entry, due_at) in entries.iter().zip(0..) {
            put_aside(lab, entry, Aside::UntilRoom, BEGIN + due_at).await;
        }
        assert!(waits().await);
        assert_eq!(recall_for_room(lab, 0).await, 0);
        assert_eq!(recall_for_room(lab, 2).await, 2);
        let ids = |of: &[usize]| of.iter().map(|at| entries[*at].message_id).collect::<Vec<_>>();
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, ids(&[4, 0]));
        assert_eq!(recall_for_room(lab, 10).await, 4);
        assert!(!waits().await);
        recall(lab, BEGIN, 1).await;
        for (words, index) in [
            ("o.head > 1 AND o.head = 2", "outbox_aside"),
            ("o.head > 1 AND o.head = 3", "outbox_aside"),
            ("o.head = 3 AND o.state = 'waiting' AND o.priority", "outbox_by_due"),
        ] {
            let plans = lab.plans(&["FROM outbox AS o", words]);
            assert_eq!(plans.len(), 1, "{words}");
            let is_sorted = plans[0].contains("TEMP B-TREE") || plans[0].contains("Sort");
            assert!(plans[0].contains(index) && !is_sorted, "{}", plans[0]);
        }
    });
}

#[test]
fn what_is_set_aside_is_recalled_when_somebody_wants_it_to_go_or_its_contact_has_written() {
    on_both(async |lab| {
        let entries: Vec<OutboxEntry> = (0..5).map(|_| entry(lab, &whatsapp(), lab.ids.next(), 1)).collect();
        keep(lab, &entries).await;
        let [tier, capped, released, hurried, other] = [0, 1, 2, 3, 4].map(|at: usize| entries[at].clone());
        put_aside(lab, &tier, Aside::UntilRoom, BEGIN + 9_000).await;
        for entry in [&capped, &hurried, &other] {
            put_aside(lab, entry, Aside::UntilDue, BEGIN + 9_000).await;
        }
        put_aside(lab, &released, Aside::UntilRoom, BEGIN + 9_000).await;
        let written = [tier.conversation_id, capped.conversation_id].map(|of| (whatsapp(), of));
        lab.write(move |tx| tx.hurry_answers(&written, BEGIN + 1)).await;
        for plan in lab.sqlite_plans(&["UPDATE outbox SET", "waits_for IN ('turn', 'tier_limit'"]) {
            assert!(plan.contains("outbox_by_conversation"), "{plan}");
        }
        assert_eq!(recall(lab, BEGIN + 1, 10).await, 2);
        assert_eq!(
            due(lab, &whatsapp(), BEGIN + 1, 10).await,
            [tier.message_id, capped.message_id]
        );
        let id = released.message_id;
        assert!(lab.write(move |tx| tx.release_entry(id, BEGIN)).await);
        assert_eq!(recall(lab, BEGIN, 10).await, 1);
        let one = lab
            .write(|tx| tx.hurry_entries(&whatsapp(), Wait::MarketingCap, BEGIN, 1))
            .await;
        assert_eq!(one, 1);
        assert_eq!(recall(lab, BEGIN, 10).await, 1);
        let rest = lab
            .write(|tx| tx.release_waiting_entries(&whatsapp(), BEGIN + 1, 10))
            .await;
        assert_eq!(rest, 1);
        assert_eq!(recall(lab, BEGIN + 1, 10).await, 1);
        assert_eq!(due(lab, &whatsapp(), BEGIN + 1, 10).await.len(), 5);
        // Nobody looks through the heads of the whole channel for those of one conversation.
        for words in [
            ["UPDATE outbox SET head = 1", "SELECT MIN(o.position)"],
            ["UPDATE outbox SET head = CASE", "SELECT MIN(o.priority)"],
            ["SELECT o.message_id FROM outbox AS o", "+o.head = 1"],
            ["SELECT o.message_id FROM outbox AS o", "+o.head > 1"],
            ["SELECT o.head FROM outbox AS o", "ORDER BY +o.head"],
            ["SELECT o.conversation_id FROM outbox AS o", "+o.head = 1"],
        ] {
            for plan in lab.sqlite_plans(&words) {
                assert!(
                    plan.contains("outbox_by_conversation")
                        && !plan.contains("outbox_by_due")
                        && !plan.contains("outbox_by_group"),
                    "{plan}"
                );
            }
        }
    });
}

#[test]
fn what_is_set_aside_stays_so_when_its_conversation_is_merged_into_another() {
    on_both(async |lab| {
        let from = conversation(lab, &whatsapp(), "Priya").await;
        let into = conversation(lab, &whatsapp(), "Priya Nair").await;
        let (aside, behind) = (entry(lab, &whatsapp(), from.id, 1), entry(lab, &whatsapp(), from.id, 2));
        let theirs = entry(lab, &whatsapp(), into.id, 1);
        keep(lab, &[aside.clone(), behind.clone(), theirs.clone()]).await;
        put_aside(lab, &aside, Aside::UntilDue, BEGIN + 50).await;
        let (one, other) = (from.contact_id, into.contact_id);
        lab.write(move |tx| {
            tx.note_marketing_caps(&[(one, BEGIN), (other, BEGIN - 5)])?;
            tx.merge_contacts(one, other)?;
            tx.merge_conversations(&from, &into)
        })
        .await;
        assert_eq!(
            lab.read(move |tx| tx.marketing_caps(&[one, other])).await,
            [(other, BEGIN)],
            "what was said of one of them is said of both"
        );
        let mut went = Vec::new();
        recall(lab, BEGIN + 49, 10).await;
        while let Some(next) = due(lab, &whatsapp(), BEGIN + 49, 10).await.first() {
            went.push(*next);
            remove(lab, *next).await;
        }
        assert_eq!(went, [theirs.message_id, behind.message_id]);
        assert_eq!(recall(lab, BEGIN + 50, 10).await, 1);
        assert_eq!(due(lab, &whatsapp(), BEGIN + 50, 10).await, [aside.message_id]);
    });
}

#[test]
fn of_what_was_said_of_advertising_the_last_stands_and_is_forgotten_by_age() {
    on_both(async |lab| {
        let people: [ContactId; 3] = [lab.ids.next(), lab.ids.next(), lab.ids.next()];
        let [one, two, three] = people;
        lab.write(move |tx| tx.note_marketing_caps(&[(two, BEGIN), (one, BEGIN + 5), (one, BEGIN + 9)]))
            .await;
        lab.write(move |tx| tx.note_marketing_caps(&[(one, BEGIN + 7), (two, BEGIN + 1)]))
            .await;
        let known = || lab.read(move |tx| tx.marketing_caps(&[one, two, three]));
        let mut caps = known().await;
        caps.sort();
        let mut expected = vec![(one, BEGIN + 9), (two, BEGIN + 1)];
        expected.sort();
        assert_eq!(caps, expected);
        assert_eq!(lab.write(|tx| tx.prune_marketing_caps(BEGIN + 2)).await, 1);
        assert_eq!(known().await, [(one, BEGIN + 9)]);
    });
}

#[test]
fn it_is_known_how_an_attempt_of_a_message_ended_before() {
    on_both(async |lab| {
        let ids: [MessageId; 3] = [lab.ids.next(), lab.ids.next(), lab.ids.next()];
        let mut attempts = Vec::new();
        for (id, outcome) in ids.iter().zip(["marketing_cap", "accepted", "marketing_cap"]) {
            let attempt: AttemptId = lab.ids.next();
            let (attempt, id) = (self::attempt(lab, *id, attempt, BEGIN).await, *id);
            let end = AttemptEnd {
                at: BEGIN,
                outcome: outcome.to_owned(),
                http_status: Some(400),
                failure: None,
                answer: None,
                duration_micros: 1,
            };
            attempts.push((id, attempt.id));
            lab.write(move |tx| tx.finish_attempts(&[(attempt.id, end.clone())]))
                .await;
        }
        // The last one has begun anew since.
        let asked = [attempts[0], attempts[1], (ids[2], lab.ids.next())];
        assert_eq!(
            lab.write(move |tx| tx.messages_with_attempt(&asked, "marketing_cap"))
                .await,
            [ids[0]]
        );
    });
}

#[test]
fn entries_are_locked_together() {
    on_both(async |lab| {
        let entries: Vec<OutboxEntry> = (0..3).map(|_| entry(lab, &whatsapp(), lab.ids.next(), 1)).collect();
        keep(lab, &entries).await;
        let ids = vec![entries[2].message_id, lab.ids.next(), entries[0].message_id];
        let mut locked = lab.write(move |tx| tx.lock_entries(&ids)).await;
        locked.sort_by_key(|entry| entry.message_id);
        assert_eq!(locked, [entries[0].clone(), entries[2].clone()]);
    });
}

#[test]
fn attempts_are_found_by_channel_and_forgotten_by_age() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya").await;
        let kept = outbound(lab, &conversation, BEGIN);
        let (message, conversation) = (kept.id, conversation.id);
        lab.write(move |tx| tx.insert_messages(&[&kept])).await;
        let mut attempts = Vec::new();
        for number in 0..3 {
            attempts.push(attempt(lab, message, lab.ids.next(), BEGIN + number).await);
        }
        let since =
            |after: AttemptId, limit: u32| lab.read(move |tx| tx.attempts_of_channel(&whatsapp(), after, limit));
        let rows: Vec<_> = attempts
            .iter()
            .map(|attempt| (attempt.id, conversation, attempt.started_at))
            .collect();
        assert_eq!(since(AttemptId::first_of(BEGIN), 10).await, rows);
        assert_eq!(since(attempts[0].id, 1).await, rows[1..2]);
        assert_eq!(since(attempts[2].id, 10).await, []);
        // However much the other channels have sent since.
        let plans = lab.plans(&["FROM attempts AS a JOIN messages", "ORDER BY a.id"]);
        assert_eq!(plans.len(), 1);
        for plan in plans {
            assert!(plan.contains("attempts_by_channel"), "{plan}");
            let is_sorted = plan.contains("TEMP B-TREE") || plan.contains("Sort");
            assert!(!is_sorted && !plan.contains("Seq Scan"), "{plan}");
        }
        let later = AttemptId::first_of(lab.clock.now_millis() + 1);
        let last = attempts[2].id;
        assert_eq!(lab.write(move |tx| tx.prune_attempts(last)).await, 2);
        assert_eq!(lab.write(move |tx| tx.prune_attempts(later)).await, 1);
    });
}

async fn attempt(lab: &Lab, message_id: MessageId, id: AttemptId, started_at: Millis) -> Attempt {
    let attempt = Attempt {
        id,
        message_id,
        channel_id: whatsapp(),
        started_at,
        ended: None,
        request: "{\"type\":\"text\"}".to_owned(),
    };
    let kept = attempt.clone();
    lab.write(move |tx| tx.insert_attempts(std::slice::from_ref(&kept)))
        .await;
    attempt
}

#[test]
fn attempts_are_kept_with_how_they_ended() {
    on_both(async |lab| {
        let message: MessageId = lab.ids.next();
        let mut attempts = Vec::new();
        for number in 0..3 {
            attempts.push(attempt(lab, message, lab.ids.next(), BEGIN + number).await);
        }
        attempt(lab, lab.ids.next(), lab.ids.next(), BEGIN).await;
        let ends = [
            AttemptEnd {
                at: BEGIN + 50,
                outcome: "throttled".to_owned(),
                http_status: Some(429),
                failure: Some(Failure {
                    code: 130_429,
                    subcode: Some(2_494_055),
                    text: "Rate limit hit".to_owned(),
                }),
                answer: Some("{\"error\":{}}".to_owned()),
                duration_micros: 123,
            },
            AttemptEnd {
                at: BEGIN + 60,
                outcome: "accepted".to_owned(),
                http_status: None,
                failure: None,
                answer: None,
                duration_micros: 0,
            },
        ];
        for (attempt, end) in attempts.iter_mut().zip(&ends) {
            let (id, end) = (attempt.id, end.clone());
            attempt.ended = Some(end.clone());
            lab.write(move |tx| tx.finish_attempts(&[(id, end.clone())])).await;
        }
        assert_eq!(lab.read(move |tx| tx.attempts_of_message(message)).await, attempts);
    });
}

async fn settle(lab: &Lab, message: MessageId) {
    lab.write(move |tx| tx.settle_outbox_by_event(message)).await;
}

#[test]
fn an_event_settles_what_is_not_under_way() {
    on_both(async |lab| {
        let conversation: ConversationId = lab.ids.next();
        let entries: Vec<OutboxEntry> = (1..=4)
            .map(|position| entry(lab, &whatsapp(), conversation, position))
            .collect();
        keep(lab, &entries).await;
        let outcome_of = |message: MessageId| async move {
            let attempts = lab.read(move |tx| tx.attempts_of_message(message)).await;
            attempts[0].ended.as_ref().unwrap().outcome.clone()
        };
        let unknown = AttemptEnd {
            at: BEGIN,
            outcome: "unknown".to_owned(),
            http_status: None,
            failure: None,
            answer: None,
            duration_micros: 1,
        };

        // Its outcome is unknown.
        let message = entries[0].message_id;
        let id = mark_sending(lab, message).await;
        attempt(lab, message, id, BEGIN).await;
        let end = unknown.clone();
        lab.write(move |tx| tx.finish_attempts(&[(id, end.clone())])).await;
        postpone(lab, message, EntryState::Unknown, BEGIN + 60_000).await;
        settle(lab, message).await;
        assert_eq!(locked(lab, message).await, None);
        assert_eq!(outcome_of(message).await, "accepted");
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [entries[1].message_id]);

        // Its outcome was unknown, and it waits to be sent again after a second attempt that failed.
        let message = entries[1].message_id;
        let id = mark_sending(lab, message).await;
        attempt(lab, message, id, BEGIN).await;
        lab.write(move |tx| tx.finish_attempts(&[(id, unknown.clone())])).await;
        mark_sending(lab, message).await;
        postpone(lab, message, EntryState::Waiting, BEGIN + 1_000).await;
        settle(lab, message).await;
        assert_eq!(locked(lab, message).await, None);
        assert_eq!(outcome_of(message).await, "accepted");

        // It is being sent.
        let message = entries[2].message_id;
        mark_sending(lab, message).await;
        settle(lab, message).await;
        assert!(locked(lab, message).await.is_some());
        // It is done with.
        settle(lab, lab.ids.next()).await;
    });
}

/// Two conversations with two entries each, of which the first ones are in these states when the second conversation is merged into the
/// first one. Answers with the entries: two of the first, two of the second.
async fn merge_with(lab: &Lab, ours_state: EntryState, theirs_state: EntryState) -> Vec<OutboxEntry> {
    let mut ours = conversation(lab, &whatsapp(), "Priya").await;
    let mut theirs = conversation(lab, &whatsapp(), "Priya Shah").await;
    (ours.next_position, theirs.next_position) = (3, 3);
    let mut entries = Vec::new();
    for (one, state) in [(&ours, ours_state), (&theirs, theirs_state)] {
        for position in 1..=2 {
            entries.push(entry(lab, &whatsapp(), one.id, position));
        }
        let first = entries[entries.len() - 2].clone();
        keep(lab, &entries[entries.len() - 2..]).await;
        if state != EntryState::Waiting {
            mark_sending(lab, first.message_id).await;
        }
        if state == EntryState::Unknown {
            postpone(lab, first.message_id, EntryState::Unknown, BEGIN + 60_000).await;
        }
    }
    merge(lab, &theirs, &ours).await;
    entries
}

async fn merge(lab: &Lab, from: &Conversation, into: &Conversation) {
    let (from, into) = (from.clone(), into.clone());
    lab.write(move |tx| {
        tx.merge_conversations(&from, &into)?;
        let mut merged = into.clone();
        merged.absorb(&from);
        tx.update_conversations(&[&merged])
    })
    .await;
}

#[test]
fn after_a_merge_nothing_overtakes_what_is_under_way() {
    on_both(async |lab| {
        for theirs in [EntryState::Sending, EntryState::Unknown] {
            let entries = merge_with(lab, EntryState::Waiting, theirs).await;
            let under_way = entries[2].message_id;
            assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [], "{theirs:?}");
            // It comes back to be sent again: still before all others of the conversation.
            postpone(lab, under_way, EntryState::Waiting, BEGIN).await;
            assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [under_way], "{theirs:?}");
            // Its sender knows the entry from before the merge.
            let before = entries[2].clone();
            lab.write(move |tx| tx.remove_entry(&before)).await;
            for index in [0, 1, 3] {
                assert_eq!(
                    due(lab, &whatsapp(), BEGIN, 10).await,
                    [entries[index].message_id],
                    "{theirs:?}"
                );
                remove(lab, entries[index].message_id).await;
            }
        }
    });
}

#[test]
fn after_a_merge_of_two_that_are_under_way_one_head_is_left() {
    on_both(async |lab| {
        let entries = merge_with(lab, EntryState::Sending, EntryState::Sending).await;
        // Both were on their way when it turned out that they go to one person. Both have to be sent again:
        postpone(lab, entries[2].message_id, EntryState::Waiting, BEGIN).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, []);
        postpone(lab, entries[0].message_id, EntryState::Waiting, BEGIN).await;
        for entry in entries {
            assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [entry.message_id]);
            remove(lab, entry.message_id).await;
        }
    });
}

#[test]
fn a_conversation_without_a_head_gets_one_and_one_with_a_head_keeps_it() {
    on_both(async |lab| {
        let conversation: ConversationId = lab.ids.next();
        let entries: Vec<OutboxEntry> = (1..=2)
            .map(|position| entry(lab, &whatsapp(), conversation, position))
            .collect();
        keep(lab, &entries).await;
        lab.write(move |tx| tx.promote_head(&whatsapp(), conversation)).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [entries[0].message_id]);
        lab.execute("UPDATE outbox SET head = 0");
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, []);
        lab.write(move |tx| tx.promote_head(&whatsapp(), conversation)).await;
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [entries[0].message_id]);
    });
}

#[test]
fn an_entry_put_behind_a_head_that_is_just_being_taken_out_is_sent_all_the_same() {
    on_postgres(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let id = conversation.id;
        let mut head = entry(lab, &whatsapp(), id, 1);
        keep(lab, std::slice::from_ref(&head)).await;
        for position in 2..40 {
            let next = entry(lab, &whatsapp(), id, position);
            tokio::join!(take_out(lab, &head), put_behind(lab, &next));
            assert_eq!(
                due(lab, &whatsapp(), BEGIN, 10).await,
                [next.message_id],
                "position {position}"
            );
            head = next;
        }
    });
}

#[test]
fn an_entry_put_behind_another_one_that_is_just_becoming_the_head_is_no_head_beside_it() {
    on_postgres(async |lab| {
        for round in 0..60 {
            let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
            let id = conversation.id;
            let entries: Vec<OutboxEntry> = (1..=3).map(|position| entry(lab, &whatsapp(), id, position)).collect();
            keep(lab, &entries[..2]).await;
            tokio::join!(take_out(lab, &entries[0]), put_behind(lab, &entries[2]));
            assert_eq!(
                due(lab, &whatsapp(), BEGIN, 10).await,
                [entries[1].message_id],
                "round {round}"
            );
            for entry in &entries[1..] {
                remove(lab, entry.message_id).await;
            }
        }
    });
}

#[test]
fn what_is_recalled_while_the_head_is_just_being_taken_out_becomes_the_head() {
    on_postgres(async |lab| {
        for round in 0..60 {
            let conversation: ConversationId = lab.ids.next();
            let entries: Vec<OutboxEntry> = (1..=2)
                .map(|position| entry(lab, &whatsapp(), conversation, position))
                .collect();
            keep(lab, &entries).await;
            put_aside(lab, &entries[0], Aside::UntilDue, BEGIN).await;
            tokio::join!(take_out(lab, &entries[1]), recall(lab, BEGIN, 10));
            recall(lab, BEGIN, 10).await;
            assert_eq!(
                due(lab, &whatsapp(), BEGIN, 10).await,
                [entries[0].message_id],
                "round {round}"
            );
            remove(lab, entries[0].message_id).await;
        }
    });
}

#[test]
fn an_entry_put_behind_one_that_is_just_being_recalled_is_no_head_beside_it() {
    on_postgres(async |lab| {
        for round in 0..60 {
            let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
            let id = conversation.id;
            let entries: Vec<OutboxEntry> = (1..=2).map(|position| entry(lab, &whatsapp(), id, position)).collect();
            keep(lab, &entries[..1]).await;
            put_aside(lab, &entries[0], Aside::UntilDue, BEGIN).await;
            tokio::join!(put_behind(lab, &entries[1]), recall(lab, BEGIN, 10));
            recall(lab, BEGIN, 10).await;
            let mut went = Vec::new();
            while let [next, rest @ ..] = &due(lab, &whatsapp(), BEGIN, 10).await[..] {
                assert!(rest.is_empty(), "two heads in round {round}");
                went.push(*next);
                remove(lab, *next).await;
            }
            assert_eq!(went.len(), 2, "round {round}");
        }
    });
}

#[test]
fn a_message_and_its_entry_come_together_or_not_at_all() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let message: Message = outbound(lab, &conversation, BEGIN);
        let entry = entry_of(lab, message.id, &whatsapp(), conversation.id, 1);
        let id = message.id;
        let failed = lab
            .store
            .write(move |tx| {
                tx.insert_messages(&[&message])?;
                tx.insert_outbox(&entry)?;
                Err::<(), _>(StoreError::Refused("by the test".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(lab.read(move |tx| tx.message_by_id(id)).await, None);
        assert_eq!(locked(lab, id).await, None);
    });
}
