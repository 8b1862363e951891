//! Conversations and their lists.

use tidings::conversations::model::{ChannelId, Conversation, ConversationStatus, Handler};
use tidings::ids::{ContactId, ConversationId};
use tidings::store::conversations::{ConversationFilter, LOOKED_AT_MAX};

use tidings::sending::model::Priority;

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{backup, channels, contact, conversation, conversation_with, entry, inbound, outbound, whatsapp};

async fn by_id(lab: &Lab, id: ConversationId) -> Option<Conversation> {
    lab.read(move |tx| tx.conversation_by_id(id)).await
}

async fn update(lab: &Lab, conversation: &Conversation) {
    let conversation = conversation.clone();
    lab.write(move |tx| tx.update_conversations(&[&conversation])).await;
}

#[test]
fn a_conversation_is_kept_and_changed_as_it_stands() {
    on_both(async |lab| {
        let mut kept = conversation(lab, &whatsapp(), "Priya Shah").await;
        assert_eq!(by_id(lab, kept.id).await, Some(kept.clone()));
        assert_eq!(by_id(lab, lab.ids.next()).await, None);
        kept.status = ConversationStatus::Snoozed;
        kept.handler = Handler::Person;
        kept.assignee = Some("sales".to_owned());
        kept.unread = 3;
        kept.read_up_to = BEGIN - 5;
        kept.last_inbound_at = Some(BEGIN);
        kept.window_ends_at = Some(BEGIN + 86_400_000);
        kept.last_message_at = BEGIN + 1;
        kept.last_message_id = Some(lab.ids.next());
        kept.next_position = 9;
        kept.created_at = BEGIN - 100;
        update(lab, &kept).await;
        assert_eq!(by_id(lab, kept.id).await, Some(kept.clone()));
        let (id, pair) = (kept.id, (whatsapp(), kept.contact_id));
        assert_eq!(lab.write(move |tx| tx.lock_conversation(id)).await, Some(kept.clone()));
        let unknown: ConversationId = lab.ids.next();
        assert_eq!(lab.write(move |tx| tx.lock_conversation(unknown)).await, None);
        let other = (backup(), kept.contact_id);
        assert_eq!(
            lab.write(move |tx| tx.lock_conversations(&[pair.clone(), other.clone()]))
                .await,
            [kept.clone()]
        );
        let contact = kept.contact_id;
        assert_eq!(
            lab.read(move |tx| tx.conversations_of_contact(contact)).await,
            [kept.clone()]
        );
        assert_eq!(
            lab.write(move |tx| tx.lock_conversations_of_contact(contact)).await,
            [kept]
        );
    });
}

#[test]
fn a_conversation_can_be_given_to_another_contact() {
    on_both(async |lab| {
        let moved = conversation(lab, &whatsapp(), "Priya").await;
        let other = contact(lab, "Priya Shah");
        let (id, to) = (moved.id, other.id);
        lab.write(move |tx| {
            tx.insert_contacts(&[(other.clone(), None)])?;
            tx.move_conversation(id, to)
        })
        .await;
        assert_eq!(by_id(lab, id).await.unwrap().contact_id, to);
        assert_eq!(
            lab.read(move |tx| tx.conversations_of_contact(moved.contact_id)).await,
            []
        );
    });
}

#[test]
fn one_conversation_made_of_two_has_everything_of_both() {
    on_both(async |lab| {
        channels(lab).await;
        let first = conversation(lab, &whatsapp(), "Priya").await;
        let second = conversation(lab, &whatsapp(), "Priya Shah").await;
        let third = conversation(lab, &whatsapp(), "P.").await;
        let messages = [
            inbound(lab, &first, "in 1", BEGIN + 1),
            inbound(lab, &second, "in 2", BEGIN + 2),
            inbound(lab, &third, "in 3", BEGIN + 3),
        ];
        let ids = messages.clone().map(|message| message.id);
        let (into, middle, from) = (first.clone(), second.clone(), third.clone());
        lab.write(move |tx| {
            tx.insert_messages(&messages.iter().collect::<Vec<_>>())?;
            tx.insert_read_watermark(middle.id, BEGIN + 50, BEGIN + 60)?;
            tx.insert_read_watermark(into.id, BEGIN + 50, BEGIN + 70)?;
            tx.merge_conversations(&from, &middle)?;
            tx.merge_conversations(&middle, &into)
        })
        .await;
        for id in [first.id, second.id, third.id] {
            assert_eq!(by_id(lab, id).await.unwrap().id, first.id);
            assert_eq!(
                lab.write(move |tx| tx.lock_conversation(id)).await.unwrap().id,
                first.id
            );
        }
        let id = first.id;
        let found = lab.read(move |tx| tx.messages_of_conversation(id, None, 10)).await;
        assert_eq!(
            found.iter().map(|message| message.id).collect::<Vec<_>>(),
            [ids[2], ids[1], ids[0]]
        );
        assert_eq!(
            lab.read(move |tx| tx.read_watermark(id, BEGIN)).await,
            Some(BEGIN + 60),
            "the earlier of the two"
        );
        let ids = [first.id, second.id, third.id];
        let found = lab.read(move |tx| tx.conversations_by_ids(&ids)).await;
        assert_eq!(
            found.iter().map(|conversation| conversation.id).collect::<Vec<_>>(),
            [first.id]
        );
        let listed = lab
            .read(|tx| tx.conversations(&ConversationFilter::default(), 10))
            .await
            .conversations;
        assert_eq!(
            listed.iter().map(|conversation| conversation.id).collect::<Vec<_>>(),
            [first.id]
        );
    });
}

#[test]
fn a_merge_keeps_the_order_of_both_outboxes_and_one_head() {
    on_both(async |lab| {
        let mut ours = conversation(lab, &whatsapp(), "Priya").await;
        let mut theirs = conversation(lab, &whatsapp(), "Priya Shah").await;
        ours.next_position = 4;
        theirs.next_position = 3;
        let entries = [
            entry(lab, &whatsapp(), ours.id, 2),
            entry(lab, &whatsapp(), ours.id, 3),
            entry(lab, &whatsapp(), theirs.id, 1),
            entry(lab, &whatsapp(), theirs.id, 2),
        ];
        let ids = entries.clone().map(|entry| entry.message_id);
        let merged = {
            let mut merged = ours.clone();
            merged.absorb(&theirs);
            merged
        };
        let next = entry(lab, &whatsapp(), ours.id, merged.next_position);
        let next_id = next.message_id;
        lab.write(move |tx| {
            entries.iter().try_for_each(|entry| tx.insert_outbox(entry))?;
            tx.merge_conversations(&theirs, &ours)?;
            tx.update_conversations(&[&merged])?;
            tx.insert_outbox(&next)
        })
        .await;
        let mut sent = Vec::new();
        loop {
            let due = lab
                .write(|tx| tx.take_due_entries(&whatsapp(), Priority::Reply, BEGIN, 10))
                .await;
            assert!(due.len() <= 1, "one head at most: {due:?}");
            let Some(head) = due.into_iter().next() else { break };
            sent.push(head.message_id);
            lab.write(move |tx| tx.remove_entry(&head)).await;
        }
        assert_eq!(sent, [ids[0], ids[1], ids[2], ids[3], next_id]);
    });
}

/// Conversations of which several share a time, and the order in which they should be listed.
async fn many(lab: &Lab, channels: &[ChannelId], count: i64) -> Vec<Conversation> {
    let mut all = Vec::new();
    for number in 0..count {
        let channel = &channels[usize::try_from(number).unwrap() % channels.len()];
        let mut one = conversation(lab, channel, &format!("Contact {number}")).await;
        one.last_message_at = BEGIN + number / 4;
        update(lab, &one).await;
        all.push(one);
    }
    all.sort_by_key(|conversation| std::cmp::Reverse((conversation.last_message_at, conversation.id)));
    all
}

#[test]
fn a_list_is_paged_through_ties_without_losing_or_doubling_any() {
    on_both(async |lab| {
        channels(lab).await;
        let all = many(lab, &[whatsapp(), backup()], 22).await;
        for (channel, limit) in [(None, 3), (Some(whatsapp()), 2), (None, 1), (Some(backup()), 100)] {
            let filter = ConversationFilter {
                channel_id: channel.clone(),
                ..ConversationFilter::default()
            };
            let found = pages(lab, filter, limit).await.concat();
            let expected: Vec<ConversationId> = all
                .iter()
                .filter(|conversation| {
                    channel
                        .as_ref()
                        .is_none_or(|channel| conversation.channel_id == *channel)
                })
                .map(|conversation| conversation.id)
                .collect();
            assert_eq!(found, expected, "{channel:?} by {limit}");
        }
    });
}

/// Goes through a list to its end: what was found in each page.
async fn pages(lab: &Lab, mut filter: ConversationFilter, limit: u32) -> Vec<Vec<ConversationId>> {
    let mut pages = Vec::new();
    loop {
        let wanted = filter.clone();
        let page = lab.read(move |tx| tx.conversations(&wanted, limit)).await;
        pages.push(page.conversations.iter().map(|conversation| conversation.id).collect());
        let Some(next) = page.next else { return pages };
        filter.after = Some(next);
    }
}

/// So many conversations on a channel, kept past the store: the `n`th is the `n`th newest.
fn many_past_the_store(lab: &Lab, channel: &ChannelId, count: u32, contact: ContactId) {
    let zeros = if lab.is_postgres() {
        "decode(lpad(to_hex(n), 32, '0'), 'hex')"
    } else {
        "unhex(printf('%032x', n))"
    };
    let contact = hex::encode(contact.as_bytes());
    let of_contact = if lab.is_postgres() {
        format!("decode('{contact}', 'hex')")
    } else {
        format!("unhex('{contact}')")
    };
    lab.execute(&format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
         INSERT INTO conversations (id, channel_id, contact_id, status, handler, unread, read_up_to, last_message_at, next_position, created_at)
         SELECT {zeros}, '{channel}', CASE WHEN n = 1 THEN {of_contact} ELSE {zeros} END, 'open', 'automation', 0, 0, {BEGIN} - n, 1, {BEGIN}
         FROM numbers"
    ));
}

#[test]
fn a_page_looks_at_so_many_conversations_and_says_where_it_goes_on() {
    on_both(async |lab| {
        channels(lab).await;
        let priya = contact(lab, "Priya Shah");
        let known = priya.clone();
        lab.write(move |tx| tx.insert_contacts(&[(known.clone(), None)])).await;
        let bound = LOOKED_AT_MAX;
        many_past_the_store(lab, &whatsapp(), bound * 2 + 2, priya.id);
        let (third, oldest) = (bound + 3, bound * 2 + 2);
        lab.execute(&format!(
            "UPDATE conversations SET unread = 1 WHERE last_message_at IN ({BEGIN} - 1, {BEGIN} - {third});
             UPDATE conversations SET status = 'resolved', assignee = 'sales' WHERE last_message_at IN ({BEGIN} - {third}, {BEGIN} - {oldest});"
        ));
        let sizes = async |filter: ConversationFilter, limit: u32| {
            let pages = pages(lab, filter, limit).await;
            pages.into_iter().map(|page| page.len()).collect::<Vec<_>>()
        };
        let all = || ConversationFilter::default();
        for channel_id in [None, Some(whatsapp())] {
            let all = || ConversationFilter {
                channel_id: channel_id.clone(),
                ..all()
            };
            // What few are has an index of its own; the rest is looked at in parts.
            let resolved = ConversationFilter {
                status: Some(ConversationStatus::Resolved),
                ..all()
            };
            assert_eq!(sizes(resolved.clone(), 10).await, [2]);
            assert_eq!(sizes(resolved.clone(), 1).await, [1, 1]);
            let assigned = ConversationFilter {
                assignee: Some("sales".to_owned()),
                ..all()
            };
            assert_eq!(sizes(assigned.clone(), 10).await, [2]);
            let both = ConversationFilter {
                status: Some(ConversationStatus::Resolved),
                unread: true,
                ..assigned
            };
            assert_eq!(sizes(both, 10).await, [1]);
            assert_eq!(
                sizes(
                    ConversationFilter {
                        unread: true,
                        ..resolved
                    },
                    10
                )
                .await,
                [1]
            );
            assert_eq!(sizes(ConversationFilter { unread: true, ..all() }, 10).await, [1, 1, 0]);
            let named = ConversationFilter {
                name: Some("priya".to_owned()),
                ..all()
            };
            assert_eq!(sizes(named, 10).await, [1, 0, 0]);
            let open = ConversationFilter {
                status: Some(ConversationStatus::Open),
                ..all()
            };
            assert_eq!(
                sizes(open, bound).await,
                [bound, bound - 1, 1].map(|size| size as usize)
            );
        }

        let lists = lab.plans(&["FROM conversations AS c", "ORDER BY c.last_message_at DESC"]);
        assert_eq!(lists.len(), 6);
        for index in [
            "conversations_by_channel",
            "conversations_by_status",
            "conversations_by_assignee",
        ] {
            assert_eq!(
                lists.iter().filter(|plan| plan.contains(index)).count(),
                2,
                "{index}: {lists:#?}"
            );
        }
        for plan in lists {
            let is_sorted = plan.contains("TEMP B-TREE") || plan.contains("Sort");
            assert!(!is_sorted && !plan.contains("Seq Scan"), "a page is not sorted: {plan}");
        }
    });
}

#[test]
fn what_lies_beyond_the_end_of_another_channel_is_for_the_next_page() {
    on_both(async |lab| {
        channels(lab).await;
        let bound = LOOKED_AT_MAX;
        let nobody: ContactId = lab.ids.next();
        many_past_the_store(lab, &whatsapp(), bound + 2, nobody);
        lab.execute(&format!(
            "UPDATE conversations SET unread = 1 WHERE last_message_at IN ({BEGIN} - 5, {BEGIN} - {bound} - 2)"
        ));
        let mut older = conversation(lab, &backup(), "Priya Shah").await;
        older.unread = 1;
        older.last_message_at = BEGIN - i64::from(bound) - 1;
        update(lab, &older).await;
        let unread = ConversationFilter {
            unread: true,
            ..ConversationFilter::default()
        };
        let pages = pages(lab, unread, 10).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(pages[1][0], older.id);
    });
}

#[test]
fn conversations_are_listed_by_every_filter() {
    on_both(async |lab| {
        channels(lab).await;
        let mut conversations = Vec::new();
        for (number, name) in ["Priya Shah", "Ömer Şahin", "100% Off_ice", "100 Offices"]
            .into_iter()
            .enumerate()
        {
            let channel = if number == 1 { backup() } else { whatsapp() };
            let mut one = conversation(lab, &channel, name).await;
            one.last_message_at = BEGIN + i64::try_from(number).unwrap();
            conversations.push(one);
        }
        conversations[0].status = ConversationStatus::Resolved;
        conversations[1].assignee = Some("sales".to_owned());
        conversations[2].unread = 2;
        for one in &conversations {
            update(lab, one).await;
        }
        // The same contact on another channel.
        let mut second = conversation_with(lab, &backup(), conversations[0].contact_id);
        second.last_message_at = BEGIN + 10;
        let kept = second.clone();
        lab.write(move |tx| tx.insert_conversations(&[&kept])).await;
        conversations.push(second);
        let expect = async |filter: ConversationFilter, expected: &[usize]| {
            let wanted = filter.clone();
            let found = lab.read(move |tx| tx.conversations(&wanted, 100)).await.conversations;
            let found: Vec<ConversationId> = found.iter().map(|conversation| conversation.id).collect();
            let expected: Vec<ConversationId> = expected.iter().map(|index| conversations[*index].id).collect();
            assert_eq!(found, expected, "{filter:?}");
        };
        let all = || ConversationFilter::default();
        expect(all(), &[4, 3, 2, 1, 0]).await;
        expect(
            ConversationFilter {
                channel_id: Some(backup()),
                ..all()
            },
            &[4, 1],
        )
        .await;
        expect(
            ConversationFilter {
                status: Some(ConversationStatus::Resolved),
                ..all()
            },
            &[0],
        )
        .await;
        expect(
            ConversationFilter {
                status: Some(ConversationStatus::Pending),
                ..all()
            },
            &[],
        )
        .await;
        expect(
            ConversationFilter {
                assignee: Some("sales".to_owned()),
                ..all()
            },
            &[1],
        )
        .await;
        expect(ConversationFilter { unread: true, ..all() }, &[2]).await;
        expect(
            ConversationFilter {
                contact_id: Some(conversations[0].contact_id),
                ..all()
            },
            &[4, 0],
        )
        .await;
        expect(
            ConversationFilter {
                contact_id: Some(conversations[0].contact_id),
                channel_id: Some(whatsapp()),
                ..all()
            },
            &[0],
        )
        .await;
        expect(
            ConversationFilter {
                after: Some((BEGIN + 3, conversations[3].id)),
                ..all()
            },
            &[2, 1, 0],
        )
        .await;

        let named = |name: &str| ConversationFilter {
            name: Some(name.to_owned()),
            ..ConversationFilter::default()
        };
        expect(named("priya"), &[4, 0]).await;
        expect(named("PRIYA SH"), &[4, 0]).await;
        expect(named("sha"), &[4, 0]).await;
        expect(named("hah"), &[]).await;
        expect(named("ömer"), &[1]).await;
        expect(named("Ömer"), &[1]).await;
        expect(named("şahin"), &[1]).await;
        expect(named("100%"), &[2]).await;
        expect(named("off_"), &[2]).await;
        expect(named("off"), &[3, 2]).await;
        expect(named("\\"), &[]).await;
    });
}

#[test]
fn the_last_message_follows_when_it_turns_out_to_be_another_one() {
    on_both(async |lab| {
        let mut one = conversation(lab, &whatsapp(), "Priya Shah").await;
        let echo = inbound(lab, &one, "out 1", BEGIN + 2);
        let ours = outbound(lab, &one, BEGIN + 1);
        let (gone, into, id) = (echo.id, ours.id, one.id);
        one.last_message_id = Some(gone);
        update(lab, &one).await;
        lab.write(move |tx| {
            tx.insert_messages(&[&echo, &ours])?;
            tx.absorb_message(gone, into)
        })
        .await;
        assert_eq!(by_id(lab, id).await.unwrap().last_message_id, Some(into));
    });
}
