//! Messages, what became of them, and events put aside for them.

use futures_util::future::join_all;
use tidings::conversations::content::{Content, Media, React};
use tidings::conversations::model::{
    ChannelId, Conversation, Failure, Message, Millis, Receipt, Receipts, Sender, Status,
};
use tidings::ids::{EventId, MessageId};
use tidings::sending::model::{Attempt, EntryState, Postponement, Wait};
use tidings::store::messages::{MessageFact, ReactionRow};
use tidings::store::{StoreError, Tx};

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{backup, conversation, entry_of, event, inbound, outbound, whatsapp};

async fn keep(lab: &Lab, messages: &[Message]) {
    let messages = messages.to_vec();
    lab.write(move |tx| tx.insert_messages(&messages.iter().collect::<Vec<_>>()))
        .await;
}

async fn by_id(lab: &Lab, id: MessageId) -> Option<Message> {
    lab.read(move |tx| tx.message_by_id(id)).await
}

fn ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().map(|message| message.id).collect()
}

/// A message with something in every column.
fn full(lab: &Lab, conversation: &Conversation) -> Message {
    Message {
        sender: Sender::Ai,
        content: Content::Image(Media {
            caption: Some("A\u{0}B".to_owned()),
            voice: true,
            ..Media::default()
        }),
        external_id: Some("out 1".to_owned()),
        reply_to: Some("in 1".to_owned()),
        inert: true,
        status: Status::Read,
        receipts: Receipts {
            accepted_at: Some(1),
            sent_at: Some(2),
            delivered_at: Some(3),
            read_at: Some(4),
            played_at: Some(5),
            failed_at: Some(6),
        },
        failure: Some(Failure {
            code: 131_026,
            subcode: Some(-7),
            text: "Message undeliverable".to_owned(),
        }),
        edited_at: Some(BEGIN + 3),
        deleted_at: Some(BEGIN + 4),
        maybe_duplicate: true,
        metadata: Some("{\"order\":8841}".to_owned()),
        event_id: Some(lab.ids.next()),
        ..outbound(lab, conversation, BEGIN)
    }
}

#[test]
fn a_message_is_kept_as_it_stands() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let plain = outbound(lab, &conversation, BEGIN);
        let full = full(lab, &conversation);
        keep(lab, &[plain.clone(), full.clone()]).await;
        assert_eq!(by_id(lab, plain.id).await, Some(plain.clone()));
        assert_eq!(by_id(lab, full.id).await, Some(full.clone()));
        let unknown: MessageId = lab.ids.next();
        assert_eq!(by_id(lab, unknown).await, None);
        let wanted = [full.id, unknown, plain.id];
        let mut found = lab.read(move |tx| tx.messages_by_ids(&wanted)).await;
        found.sort_by_key(|message| message.id);
        assert_eq!(found, [plain.clone(), full.clone()]);
        let mut locked = lab.write(move |tx| tx.lock_messages(&wanted)).await;
        locked.sort_by_key(|message| message.id);
        assert_eq!(locked, [plain, full.clone()]);
        let keys = [
            (whatsapp(), "out 1".to_owned()),
            (backup(), "out 1".to_owned()),
            (whatsapp(), "out 2".to_owned()),
        ];
        let wanted = keys.clone();
        assert_eq!(
            lab.read(move |tx| tx.message_ids_by_external_ids(&wanted)).await,
            std::collections::HashMap::from([(keys[0].clone(), full.id)])
        );
        assert_eq!(
            lab.write(move |tx| tx.lock_messages_by_external_ids(&keys)).await,
            [full]
        );
    });
}

#[test]
fn a_message_is_changed_as_it_stands() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let plain = outbound(lab, &conversation, BEGIN);
        keep(lab, std::slice::from_ref(&plain)).await;
        // What cannot change: who said it to whom, and what the caller wrote beside it.
        let changed = Message {
            id: plain.id,
            sender: plain.sender,
            metadata: None,
            ..full(lab, &conversation)
        };
        let wanted = changed.clone();
        lab.write(move |tx| tx.update_messages(&[&wanted])).await;
        assert_eq!(by_id(lab, plain.id).await, Some(changed));
    });
}

#[test]
fn an_external_id_belongs_to_one_message_of_a_channel() {
    on_both(async |lab| {
        let ours = conversation(lab, &whatsapp(), "Priya Shah").await;
        let theirs = conversation(lab, &backup(), "Priya Shah").await;
        keep(
            lab,
            &[inbound(lab, &ours, "in 1", BEGIN), inbound(lab, &theirs, "in 1", BEGIN)],
        )
        .await;
        let again = inbound(lab, &ours, "in 1", BEGIN);
        assert!(lab.store.write(move |tx| tx.insert_messages(&[&again])).await.is_err());
        // Any number may have none.
        keep(lab, &[outbound(lab, &ours, BEGIN), outbound(lab, &ours, BEGIN)]).await;
    });
}

#[test]
fn a_conversation_is_paged_newest_first_through_ties() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let mut messages: Vec<Message> = (0..11_i64)
            .map(|number| inbound(lab, &conversation, &format!("in {number}"), BEGIN + number / 3))
            .collect();
        keep(lab, &messages).await;
        messages.sort_by_key(|message| std::cmp::Reverse((message.occurred_at, message.id)));
        let mut after = None;
        let mut found = Vec::new();
        loop {
            let id = conversation.id;
            let page = lab.read(move |tx| tx.messages_of_conversation(id, after, 2)).await;
            let Some(last) = page.last() else { break };
            after = Some((last.occurred_at, last.id));
            found.extend(ids(&page));
        }
        assert_eq!(found, ids(&messages));
    });
}

#[test]
fn messages_in_flight_are_those_that_meta_may_have() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let messages: Vec<Message> = (0..4)
            .map(|number| outbound(lab, &conversation, BEGIN + number))
            .collect();
        let all = ids(&messages);
        let mut known = messages.clone();
        known[3].external_id = Some("out 4".to_owned());
        keep(lab, &known).await;
        let id = conversation.id;
        let entries: Vec<_> = all
            .iter()
            .zip(1..)
            .map(|(message, position)| entry_of(lab, *message, &whatsapp(), id, position))
            .collect();
        let wanted = all.clone();
        lab.write(move |tx| {
            entries.iter().try_for_each(|entry| tx.insert_outbox(entry))?;
            let states = [
                (wanted[0], EntryState::Unknown),
                (wanted[1], EntryState::Sending),
                (wanted[3], EntryState::Unknown),
            ];
            tx.postpone_entries(&states.map(|(message_id, state)| Postponement {
                message_id,
                state,
                due_at: BEGIN,
                attempts: 1,
                waits_for: Wait::Turn,
                reason: None,
                aside: None,
            }))
        })
        .await;
        let found = lab.write(move |tx| tx.lock_messages_in_flight(&[id])).await;
        assert_eq!(ids(&found), all[..2]);
        let other = lab.ids.next();
        assert_eq!(lab.write(move |tx| tx.lock_messages_in_flight(&[other])).await, []);
    });
}

#[test]
fn messages_given_up_are_those_that_meta_may_have_had_all_the_same() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let mut messages: Vec<Message> = (0..7)
            .map(|number| outbound(lab, &conversation, BEGIN + number))
            .collect();
        let may_have_arrived = Some(Failure::ours("it may have arrived"));
        for message in &mut messages {
            message.status = Status::Expired;
            message.failure.clone_from(&may_have_arrived);
        }
        messages[2].status = Status::Failed;
        messages[3].external_id = Some("out 3".to_owned());
        messages[4].receive(&Receipt::Failed(may_have_arrived.clone()), BEGIN + 40);
        messages[5].status = Status::Queued;
        messages[6].outbound = false;
        keep(lab, &messages).await;
        let id = conversation.id;
        let found = lab.write(move |tx| tx.lock_messages_given_up(&[id], BEGIN + 1)).await;
        assert_eq!(ids(&found), ids(&messages[1..3]));
        let other = lab.ids.next();
        assert_eq!(
            lab.write(move |tx| tx.lock_messages_given_up(&[other], BEGIN)).await,
            []
        );
    });
}

#[test]
fn what_a_watermark_changes_is_found_by_page_and_the_rest_left_out() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let id = conversation.id;
        let mut messages: Vec<Message> = (0..9)
            .map(|number| outbound(lab, &conversation, BEGIN + number))
            .collect();
        for (number, message) in messages.iter_mut().enumerate() {
            message.external_id = Some(format!("out {number}"));
        }
        messages[3].external_id = None;
        messages[4].outbound = false;
        messages[5].receive(&Receipt::Read, BEGIN + 40);
        messages[6].receive(&Receipt::Read, BEGIN + 60);
        keep(lab, &messages).await;
        let find = |up_to: Millis, read_at: Millis, after: Option<(Millis, MessageId)>, limit: u32| async move {
            ids(&lab
                .write(move |tx| tx.lock_unread_outbound(id, up_to, read_at, after, limit))
                .await)
        };
        let expected = [7, 6, 2, 1, 0].map(|number: usize| messages[number].id);
        assert_eq!(find(BEGIN + 7, BEGIN + 50, None, 100).await, expected);
        assert_eq!(find(BEGIN + 7, BEGIN + 50, None, 2).await, expected[..2]);
        assert_eq!(
            find(BEGIN + 7, BEGIN + 50, Some((BEGIN + 6, messages[6].id)), 2).await,
            expected[2..4]
        );
        lab.write(move |tx| tx.insert_read_watermark(id, BEGIN + 1, BEGIN + 30))
            .await;
        assert_eq!(
            find(BEGIN + 7, BEGIN + 50, None, 100).await,
            expected[..3],
            "an earlier watermark has marked the rest"
        );
        assert_eq!(
            find(BEGIN + 7, BEGIN + 20, None, 100).await.len(),
            6,
            "but not for an earlier time"
        );
    });
}

#[test]
fn a_timeline_is_in_order_and_each_fact_stands_once() {
    on_both(async |lab| {
        let message_id: MessageId = lab.ids.next();
        let fact = |at: Millis, kind: &str| MessageFact {
            message_id,
            at,
            event_id: lab.ids.next(),
            kind: kind.to_owned(),
            detail: format!("{{\"at\":{at}}}"),
        };
        let facts = [
            fact(BEGIN + 3, "read"),
            fact(BEGIN + 1, "sent"),
            fact(BEGIN + 2, "edited"),
        ];
        let other = MessageFact {
            message_id: lab.ids.next(),
            ..fact(BEGIN, "sent")
        };
        let attempt = Attempt {
            id: lab.ids.next(),
            message_id,
            channel_id: whatsapp(),
            started_at: BEGIN,
            ended: None,
            request: "{\"text\":\"Yes\"}".to_owned(),
        };
        for _ in 0..2 {
            let (facts, other) = (facts.clone(), other.clone());
            lab.write(move |tx| {
                tx.insert_message_facts(&facts)?;
                tx.insert_message_facts(std::slice::from_ref(&other))
            })
            .await;
        }
        lab.write(move |tx| tx.insert_attempts(std::slice::from_ref(&attempt)))
            .await;
        let in_order = [facts[1].clone(), facts[2].clone(), facts[0].clone()];
        assert_eq!(lab.read(move |tx| tx.message_facts(message_id)).await, in_order);
        lab.write(move |tx| tx.forget_wordings(message_id)).await;
        let found = lab.read(move |tx| tx.message_facts(message_id)).await;
        assert_eq!(
            found[1],
            MessageFact {
                detail: "{}".to_owned(),
                ..facts[2].clone()
            }
        );
        assert_eq!((&found[0], &found[2]), (&facts[1], &facts[0]));
        let attempts = lab.read(move |tx| tx.attempts_of_message(message_id)).await;
        assert_eq!(attempts[0].request, "{}", "what was sent is forgotten too");
    });
}

#[test]
fn the_later_reaction_of_each_side_stands() {
    on_both(async |lab| {
        let message_id: MessageId = lab.ids.next();
        let reaction = |by_business: bool, emoji: Option<&str>, at: Millis| ReactionRow {
            message_id,
            by_business,
            emoji: emoji.map(str::to_owned),
            at,
            // One that was sent from here was told by no event.
            event_id: (!by_business).then(|| lab.ids.next()),
        };
        let upsert = |rows: Vec<ReactionRow>| lab.write(move |tx| tx.upsert_reactions(&rows));
        let find = || async move {
            let mut found = lab.read(move |tx| tx.reactions_of_messages(&[message_id])).await;
            found.sort_by_key(|reaction| reaction.by_business);
            assert!(
                found
                    .iter()
                    .all(|reaction| reaction.event_id.is_none() == reaction.by_business)
            );
            found
                .into_iter()
                .map(|reaction| (reaction.by_business, reaction.emoji.unwrap(), reaction.at))
                .collect::<Vec<_>>()
        };
        upsert(vec![
            reaction(false, Some("👍"), BEGIN + 5),
            reaction(true, Some("❤️"), BEGIN + 5),
        ])
        .await;
        upsert(vec![reaction(false, Some("😂"), BEGIN + 4)]).await;
        assert_eq!(
            find().await,
            [(false, "👍".to_owned(), BEGIN + 5), (true, "❤️".to_owned(), BEGIN + 5)]
        );
        upsert(vec![
            reaction(false, Some("😂"), BEGIN + 6),
            reaction(true, None, BEGIN + 6),
        ])
        .await;
        assert_eq!(find().await, [(false, "😂".to_owned(), BEGIN + 6)]);
        upsert(vec![reaction(true, Some("❤️"), BEGIN + 5)]).await;
        assert_eq!(find().await.len(), 1, "what was taken back stays so");
        // Of two of one moment, whichever comes first, the same one stands.
        for order in [["a", "z"], ["z", "a"]] {
            let other: MessageId = lab.ids.next();
            for emoji in order {
                upsert(vec![ReactionRow {
                    message_id: other,
                    ..reaction(false, Some(emoji), BEGIN)
                }])
                .await;
            }
            let found = lab.read(move |tx| tx.reactions_of_messages(&[other])).await;
            assert_eq!(found[0].emoji.as_deref(), Some("z"));
        }
    });
}

#[test]
fn what_is_done_to_a_message_is_in_no_list_of_messages() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let question = inbound(lab, &conversation, "in 1", BEGIN + 1);
        let reaction = Message {
            content: Content::Reaction(React {
                message_id: question.id,
                emoji: Some("👍".to_owned()),
            }),
            ..outbound(lab, &conversation, BEGIN + 2)
        };
        keep(lab, &[question.clone(), reaction.clone()]).await;
        let listed = lab
            .read(move |tx| tx.messages_of_conversation(conversation.id, None, 10))
            .await;
        assert_eq!(listed, [question]);
        assert_eq!(by_id(lab, reaction.id).await, Some(reaction));
    });
}

#[test]
fn a_message_seen_twice_becomes_one() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let echo = Message {
            outbound: true,
            ..inbound(lab, &conversation, "out 1", BEGIN + 2)
        };
        let ours = outbound(lab, &conversation, BEGIN + 1);
        keep(lab, &[echo.clone(), ours.clone()]).await;
        let (gone, into) = (echo.id, ours.id);
        let fact = |message_id: MessageId, at: Millis| MessageFact {
            message_id,
            at,
            event_id: lab.ids.next(),
            kind: "read".to_owned(),
            detail: "{}".to_owned(),
        };
        let facts = [fact(gone, BEGIN + 5), fact(into, BEGIN + 6)];
        let reaction = |message_id: MessageId, emoji: &str, at: Millis| ReactionRow {
            message_id,
            by_business: false,
            emoji: Some(emoji.to_owned()),
            at,
            event_id: Some(lab.ids.next()),
        };
        let reactions = [reaction(gone, "later", BEGIN + 9), reaction(into, "earlier", BEGIN + 8)];
        lab.write(move |tx| {
            tx.insert_message_facts(&facts)?;
            tx.upsert_reactions(&reactions)?;
            tx.absorb_message(gone, into)
        })
        .await;
        assert_eq!(by_id(lab, gone).await, None);
        assert_eq!(by_id(lab, into).await, Some(ours));
        let facts = lab.read(move |tx| tx.message_facts(into)).await;
        let kinds: Vec<(&str, Millis)> = facts.iter().map(|fact| (fact.kind.as_str(), fact.at)).collect();
        assert_eq!(kinds, [("echo", BEGIN + 2), ("read", BEGIN + 5), ("read", BEGIN + 6)]);
        assert_eq!(Some(facts[0].event_id), echo.event_id);
        let reactions = lab.read(move |tx| tx.reactions_of_messages(&[gone, into])).await;
        assert_eq!(reactions.len(), 1);
        assert_eq!(reactions[0].emoji.as_deref(), Some("later"));
    });
}

#[test]
fn what_was_seen_twice_is_no_conversations_last_message_but_its_own() {
    on_both(async |lab| {
        let mut first = conversation(lab, &whatsapp(), "Priya").await;
        let second = conversation(lab, &whatsapp(), "Noor").await;
        let before = inbound(lab, &first, "in 1", BEGIN);
        let (echo, ours) = (outbound(lab, &first, BEGIN + 1), outbound(lab, &second, BEGIN + 1));
        (first.last_message_at, first.last_message_id) = (BEGIN + 1, Some(echo.id));
        let (gone, into, newest, id) = (echo.id, ours.id, before.id, first.id);
        lab.write(move |tx| {
            tx.insert_messages(&[&before, &echo, &ours])?;
            tx.update_conversations(&[&first])?;
            tx.absorb_message(gone, into)
        })
        .await;
        let left = lab.read(move |tx| tx.conversation_by_id(id)).await.unwrap();
        assert_eq!(left.last_message_id, Some(newest));
    });
}

fn key(external_id: &str) -> (ChannelId, String) {
    (whatsapp(), external_id.to_owned())
}

#[test]
fn events_put_aside_come_back_when_their_message_is_known() {
    on_both(async |lab| {
        let events = [event(lab, "status:1"), event(lab, "status:2"), event(lab, "status:3")];
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let kept = events.clone();
        lab.write(move |tx| {
            tx.insert_events(&kept.iter().collect::<Vec<_>>())?;
            tx.take_due_events(BEGIN, 10).map(|_| ())
        })
        .await;
        let park = |external_id: &'static str, id: EventId, at: Millis| {
            lab.write(move |tx| tx.park_events(&[(whatsapp(), external_id.to_owned(), id)], at))
        };
        let unpark =
            |external_id: &'static str, at: Millis| lab.write(move |tx| tx.unpark_events(&[key(external_id)], at));
        park("out 1", ids[0], BEGIN).await;
        park("out 1", ids[0], BEGIN).await;
        park("out 1", ids[1], BEGIN + 1).await;
        park("out 2", ids[2], BEGIN + 2).await;
        assert_eq!(unpark("out 3", BEGIN).await, 0);
        assert_eq!(unpark("out 1", BEGIN + 10).await, 2);
        assert_eq!(unpark("out 1", BEGIN + 10).await, 0, "once");
        assert_eq!(lab.write(|tx| tx.unpark_events(&[], BEGIN)).await, 0);
        let due = lab.write(|tx| tx.take_due_events(BEGIN + 10, 10)).await;
        assert_eq!(due.iter().map(|event| event.id).collect::<Vec<_>>(), ids[..2]);

        assert_eq!(lab.write(|tx| tx.prune_parked(BEGIN + 2)).await, 0);
        assert_eq!(lab.write(|tx| tx.prune_parked(BEGIN + 3)).await, 1);
        assert_eq!(unpark("out 2", BEGIN).await, 0);
    });
}

#[test]
fn an_event_that_is_put_aside_while_its_message_comes_is_not_left_aside() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        for round in 0..25 {
            let status = event(lab, &format!("status:{round}"));
            let message = Message {
                outbound: true,
                ..inbound(lab, &conversation, &format!("out-{round}"), BEGIN)
            };
            let (id, known) = (status.id, key(&format!("out-{round}")));
            lab.write(move |tx| {
                tx.insert_events(&[&status])?;
                tx.take_due_events(BEGIN, 10).map(|_| ())
            })
            .await;
            let wanted = known.clone();
            let status_comes = lab.store.write(move |tx| {
                if tx
                    .lock_messages_by_external_ids(std::slice::from_ref(&wanted))?
                    .is_empty()
                {
                    tx.park_events(&[(wanted.0.clone(), wanted.1.clone(), id)], BEGIN)?;
                    Ok::<bool, StoreError>(true)
                } else {
                    Ok(false)
                }
            });
            let message_comes = lab.store.write(move |tx| {
                tx.insert_messages(&[&message])?;
                tx.unpark_events(std::slice::from_ref(&known), BEGIN)
            });
            let (was_parked, unparked) = tokio::join!(status_comes, message_comes);
            unparked.unwrap();
            let due = lab.write(|tx| tx.take_due_events(BEGIN, 10)).await;
            assert_eq!(due.len(), usize::from(was_parked.unwrap()), "round {round}");
        }
    });
}

#[test]
fn the_first_time_at_which_something_is_known_to_be_read() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let id = conversation.id;
        let insert = |up_to: Millis, at: Millis| lab.write(move |tx| tx.insert_read_watermark(id, up_to, at));
        let find = |said_at: Millis| lab.read(move |tx| tx.read_watermark(id, said_at));
        assert_eq!(find(BEGIN).await, None);
        insert(BEGIN + 10, BEGIN + 100).await;
        insert(BEGIN + 20, BEGIN + 90).await;
        insert(BEGIN + 30, BEGIN + 200).await;
        insert(BEGIN + 30, BEGIN + 150).await;
        insert(BEGIN + 30, BEGIN + 170).await;
        assert_eq!(find(BEGIN + 5).await, Some(BEGIN + 90));
        assert_eq!(find(BEGIN + 20).await, Some(BEGIN + 90));
        assert_eq!(find(BEGIN + 21).await, Some(BEGIN + 150));
        assert_eq!(find(BEGIN + 31).await, None);
    });
}

#[test]
fn two_who_change_one_message_change_it_one_after_the_other() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya Shah").await;
        let message = Message {
            external_id: Some("out 1".to_owned()),
            ..outbound(lab, &conversation, BEGIN)
        };
        let id = message.id;
        keep(lab, &[message]).await;
        let add_one = |tx: &mut Tx<'_>, mut message: Message| {
            message.occurred_at += 1;
            tx.update_messages(&[&message])
        };
        let changes = (0..16_u32).map(|number| {
            let store = lab.store.clone();
            async move {
                store
                    .write(move |tx| {
                        let mut found = if number % 2 == 0 {
                            tx.lock_messages(&[id])?
                        } else {
                            tx.lock_messages_by_external_ids(&[key("out 1")])?
                        };
                        add_one(tx, found.remove(0))
                    })
                    .await
                    .unwrap();
            }
        });
        join_all(changes).await;
        assert_eq!(by_id(lab, id).await.unwrap().occurred_at, BEGIN + 16);
    });
}

#[test]
fn a_message_is_shown_as_being_sent_and_as_queued_again() {
    on_both(async |lab| {
        let conversation = conversation(lab, &whatsapp(), "Priya").await;
        let message = outbound(lab, &conversation, BEGIN);
        let (id, kept) = (message.id, message.clone());
        lab.write(move |tx| tx.insert_messages(&[&kept])).await;
        let shown = || async move {
            let message = lab.read(move |tx| tx.message_by_id(id)).await.unwrap();
            (message.status, message.maybe_duplicate)
        };
        lab.write(move |tx| tx.show_sending(&[(id, true)])).await;
        assert_eq!(shown().await, (Status::Sending, true));
        lab.write(move |tx| tx.show_queued(&[(id, false)])).await;
        assert_eq!(shown().await, (Status::Queued, false));
        // What an event has told of meanwhile stays.
        let mut sent = message;
        sent.status = Status::Sent;
        lab.write(move |tx| tx.update_messages(&[&sent])).await;
        lab.write(move |tx| tx.show_queued(&[(id, true)])).await;
        assert_eq!(shown().await, (Status::Sent, false));
    });
}
