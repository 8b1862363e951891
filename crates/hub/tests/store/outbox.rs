//! The outbox: heads, order, claims, attempts.

use futures_util::future::join_all;
use tidings::conversations::model::{ChannelId, Conversation, Failure, Message, Millis};
use tidings::ids::{AttemptId, ConversationId, MessageId};
use tidings::sending::model::{Attempt, AttemptEnd, EntryState, OutboxEntry, Priority};
use tidings::store::{Store, StoreError};

use crate::harness::{BEGIN, Lab, on_both, on_postgres};
use crate::samples::{backup, conversation, entry, entry_of, outbound, whatsapp};

async fn keep(lab: &Lab, entries: &[OutboxEntry]) {
    let entries = entries.to_vec();
    lab.write(move |tx| entries.iter().try_for_each(|entry| tx.insert_outbox(entry)))
        .await;
}

async fn due(lab: &Lab, channel: &ChannelId, now: Millis, limit: u32) -> Vec<MessageId> {
    let channel = channel.clone();
    let due = lab.write(move |tx| tx.take_due_entries(&channel, now, limit)).await;
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

async fn postpone(lab: &Lab, message: MessageId, state: EntryState, due_at: Millis) {
    lab.write(move |tx| tx.postpone_entry(message, state, due_at, 1, "temporary"))
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
        assert_eq!(due(lab, &whatsapp(), BEGIN, 2).await, [ids[3], ids[2]]);
        let next = || lab.read(|tx| tx.next_entry_due(&whatsapp()));
        assert_eq!(next().await, Some(BEGIN - 9));
        for id in &ids[..4] {
            mark_sending(lab, *id).await;
        }
        assert_eq!(next().await, Some(BEGIN + 50));
        postpone(lab, ids[0], EntryState::Unknown, BEGIN + 20).await;
        assert_eq!(next().await, Some(BEGIN + 20));
        assert_eq!(lab.read(|tx| tx.next_entry_due(&backup())).await, None);
        for plan in lab.sqlite_plans(&["FROM outbox AS o", "o.head = 1 AND o.state = 'waiting' AND o.due_at"]) {
            assert_eq!(
                plan, "SEARCH o USING INDEX outbox_by_due (channel_id=? AND head=? AND state=?)",
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
        assert_eq!(
            due(lab, &whatsapp(), BEGIN + 60_000, 1).await,
            [unknown.message_id],
            "it does not starve behind what waits"
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
                    let due = tx.take_due_entries(&whatsapp(), BEGIN, 10)?;
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
fn what_a_process_left_behind_is_found() {
    on_both(async |lab| {
        let entries: Vec<OutboxEntry> = (0..3).map(|_| entry(lab, &whatsapp(), lab.ids.next(), 1)).collect();
        keep(lab, &entries).await;
        let marks: Vec<(MessageId, AttemptId)> = entries[..2]
            .iter()
            .map(|entry| (entry.message_id, lab.ids.next()))
            .collect();
        lab.write(move |tx| {
            tx.mark_sending(&marks[..1], "node 1", BEGIN + 10)?;
            tx.mark_sending(&marks[1..], "node 2", BEGIN + 20)
        })
        .await;
        let left = |now: Millis, all: bool, limit: u32| async move {
            let left = lab.write(move |tx| tx.entries_left_behind(now, all, limit)).await;
            left.into_iter().map(|entry| entry.message_id).collect::<Vec<_>>()
        };
        assert_eq!(left(BEGIN + 9, false, 10).await, []);
        assert_eq!(left(BEGIN + 10, false, 10).await, [entries[0].message_id]);
        assert_eq!(
            left(BEGIN, true, 10).await,
            [entries[0].message_id, entries[1].message_id]
        );
        assert_eq!(left(BEGIN, true, 1).await, [entries[0].message_id]);
        postpone(lab, entries[0].message_id, EntryState::Unknown, BEGIN + 60_000).await;
        assert_eq!(left(BEGIN, true, 10).await, [entries[1].message_id]);
        for plan in lab.sqlite_plans(&["o.leased_until <="]) {
            assert_eq!(plan, "SEARCH o USING INDEX outbox_by_lease (leased_until<?)");
        }
    });
}

#[test]
fn what_waits_is_counted_by_channel_and_state() {
    on_both(async |lab| {
        let conversation: ConversationId = lab.ids.next();
        let entries: Vec<OutboxEntry> = (1..=4)
            .map(|position| entry(lab, &whatsapp(), conversation, position))
            .collect();
        keep(lab, &entries).await;
        keep(lab, &[entry(lab, &backup(), conversation, 1)]).await;
        mark_sending(lab, entries[0].message_id).await;
        let length = |channel: ChannelId, state: EntryState, limit: u32| {
            lab.read(move |tx| tx.outbox_lengths(&channel, state, limit))
        };
        assert_eq!(length(whatsapp(), EntryState::Waiting, 100).await, 3);
        assert_eq!(length(whatsapp(), EntryState::Waiting, 2).await, 2);
        assert_eq!(length(whatsapp(), EntryState::Sending, 100).await, 1);
        assert_eq!(length(whatsapp(), EntryState::Unknown, 100).await, 0);
        assert_eq!(length(backup(), EntryState::Waiting, 100).await, 1);
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
            lab.write(move |tx| tx.finish_attempt(id, &end)).await;
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
        lab.write(move |tx| tx.finish_attempt(id, &end)).await;
        postpone(lab, message, EntryState::Unknown, BEGIN + 60_000).await;
        settle(lab, message).await;
        assert_eq!(locked(lab, message).await, None);
        assert_eq!(outcome_of(message).await, "accepted");
        assert_eq!(due(lab, &whatsapp(), BEGIN, 10).await, [entries[1].message_id]);

        // Its outcome was unknown, and it waits to be sent again after a second attempt that failed.
        let message = entries[1].message_id;
        let id = mark_sending(lab, message).await;
        attempt(lab, message, id, BEGIN).await;
        lab.write(move |tx| tx.finish_attempt(id, &unknown)).await;
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
            let (gone, behind) = (head.clone(), next.clone());
            let takes_out = lab.store.write(move |tx| tx.remove_entry(&gone));
            let puts_behind = lab.store.write(move |tx| {
                tx.lock_conversation(id)?;
                tx.insert_outbox(&behind)
            });
            let (taken_out, put_behind) = tokio::join!(takes_out, puts_behind);
            taken_out.unwrap();
            put_behind.unwrap();
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
