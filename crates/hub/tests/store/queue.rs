//! What surrounds the outbox: terms, schedules, ids from before, and what operators look at.

use tidings::conversations::content::{Content, Template};
use tidings::conversations::model::{ChannelId, Message, Millis, Status};
use tidings::ids::{AttemptId, MessageId};
use tidings::sending::model::{
    Attempt, AttemptEnd, EntryState, Fallback, FallbackTaken, OutboxEntry, Priority, Purpose, Scheduled, Terms,
};
use tidings::store::queue::{AttemptsLately, EndedPlace};

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{backup, conversation, entry, outbound, whatsapp};

fn terms(message_id: MessageId, fallback: bool) -> Terms {
    Terms {
        message_id,
        channel_id: whatsapp(),
        purpose: Purpose::Marketing,
        priority: Priority::Bulk as i64,
        expires_at: BEGIN + 1_000,
        fallback: fallback.then(|| Fallback {
            template: Template {
                name: "hello_world".into(),
                language: "en_US".into(),
                components: vec![serde_json::json!({"type": "body"})],
            },
            taken: None,
        }),
    }
}

#[test]
fn terms_are_kept_and_what_a_template_took_the_place_of() {
    on_both(async |lab| {
        let (with, without): (MessageId, MessageId) = (lab.ids.next(), lab.ids.next());
        let (kept, plain) = (terms(with, true), terms(without, false));
        let both = [kept.clone(), plain.clone()];
        lab.write(move |tx| tx.insert_terms(&both)).await;
        let found = lab
            .read(move |tx| tx.terms_of_messages(&whatsapp(), &[with, without, MessageId::MIN]))
            .await;
        assert_eq!(found.len(), 2);
        assert!(found.contains(&kept) && found.contains(&plain));
        assert_eq!(lab.read(move |tx| tx.terms_of_messages(&backup(), &[with])).await, []);

        let mut used = kept.clone();
        used.fallback.as_mut().unwrap().taken = Some(FallbackTaken {
            at: BEGIN,
            reason: "closed".into(),
            said: Content::text("Hi"),
        });
        let noted = used.clone();
        // Of what has no template, or whose template was not taken, nothing is noted.
        lab.write(move |tx| tx.keep_fallbacks_taken(&[&noted, &plain])).await;
        let mut found = lab
            .read(move |tx| tx.terms_of_messages(&whatsapp(), &[with, without]))
            .await;
        found.sort_by_key(|terms| terms.fallback.is_none());
        assert_eq!(found[0], used);
        assert_eq!(found[1].fallback, None);
    });
}

fn scheduled(lab: &Lab, due_at: Millis) -> Scheduled {
    Scheduled {
        message_id: lab.ids.next(),
        channel_id: whatsapp(),
        conversation_id: lab.ids.next(),
        priority: Priority::Notification as i64,
        due_at,
        expires_at: due_at + 1_000,
        queued_at: BEGIN,
    }
}

#[test]
fn what_is_scheduled_is_handed_out_when_it_is_due_and_once() {
    on_both(async |lab| {
        let later = scheduled(lab, BEGIN + 200);
        let sooner = scheduled(lab, BEGIN + 100);
        let withdrawn = scheduled(lab, BEGIN + 100);
        for one in [later.clone(), sooner.clone(), withdrawn.clone()] {
            lab.write(move |tx| tx.insert_scheduled(&one)).await;
        }
        let id = sooner.message_id;
        assert_eq!(lab.read(move |tx| tx.scheduled_message(id)).await, Some(sooner.clone()));
        assert_eq!(lab.read(|tx| tx.scheduled_count(&whatsapp(), 100)).await, 3);
        assert_eq!(lab.read(|tx| tx.scheduled_count(&whatsapp(), 2)).await, 2);
        assert_eq!(lab.read(|tx| tx.scheduled_count(&backup(), 100)).await, 0);
        let id = withdrawn.message_id;
        assert!(lab.write(move |tx| tx.remove_scheduled(id)).await);
        assert!(!lab.write(move |tx| tx.remove_scheduled(id)).await);

        assert!(!lab.read(|tx| tx.any_scheduled_due(BEGIN + 99)).await);
        assert!(lab.read(|tx| tx.any_scheduled_due(BEGIN + 100)).await);
        assert_eq!(lab.write(|tx| tx.take_due_scheduled(BEGIN + 99, 10)).await, []);
        assert_eq!(lab.write(|tx| tx.take_due_scheduled(BEGIN + 200, 1)).await, [sooner]);
        assert_eq!(lab.write(|tx| tx.take_due_scheduled(BEGIN + 200, 10)).await, [later]);
        assert_eq!(lab.write(|tx| tx.take_due_scheduled(BEGIN + 200, 10)).await, []);
    });
}

#[test]
fn an_id_from_before_leads_to_its_message() {
    on_both(async |lab| {
        let message: MessageId = lab.ids.next();
        for _ in 0..2 {
            lab.write(move |tx| tx.insert_former_external_id(&whatsapp(), "id.1", message))
                .await;
        }
        let keys = [
            (whatsapp(), "id.1".to_owned()),
            (whatsapp(), "id.2".to_owned()),
            (backup(), "id.1".to_owned()),
        ];
        let known = keys[0].clone();
        let found = lab.read(move |tx| tx.messages_of_former_external_ids(&keys)).await;
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(known, message)]);
    });
}

#[test]
fn only_what_waits_on_a_pause_is_released() {
    on_both(async |lab| {
        let make = |state: EntryState, due_at: Millis, reason: Option<&str>| OutboxEntry {
            state,
            due_at,
            reason: reason.map(str::to_owned),
            queued_at: due_at - 1_000_000,
            ..entry(lab, &whatsapp(), lab.ids.next(), 1)
        };
        let paused = make(EntryState::Waiting, BEGIN + 500, Some("throttled (4): slow"));
        let also = make(EntryState::Waiting, BEGIN + 600, Some("throttled (4): slow"));
        let due = make(EntryState::Waiting, BEGIN - 1, None);
        let unknown = make(EntryState::Unknown, BEGIN + 500, Some("unknown"));
        for one in [&paused, &also, &due, &unknown] {
            let one = one.clone();
            lab.write(move |tx| tx.insert_outbox(&one)).await;
        }
        let oldest = lab.read(|tx| tx.oldest_entry(&whatsapp())).await;
        assert_eq!(oldest, Some((due.message_id, due.queued_at)));
        assert_eq!(lab.read(|tx| tx.oldest_entry(&backup())).await, None);
        // However long the queue is, a look at it reads one entry of each channel, and as many attempts as it may.
        lab.read(|tx| tx.attempts_lately(&whatsapp(), AttemptId::MIN, 1)).await;
        lab.read(|tx| tx.scheduled_count(&whatsapp(), 1)).await;
        for (words, walk) in [
            (
                ["FROM outbox WHERE", "ORDER BY queued_at LIMIT 1"],
                "SEARCH outbox USING ",
            ),
            (
                ["FROM attempts AS a", "ORDER BY a.id DESC LIMIT"],
                "SEARCH a USING INDEX attempts_by_channel (channel_id=? AND id>?)",
            ),
            (
                ["FROM scheduled_messages WHERE", "LIMIT ?2"],
                "SEARCH scheduled_messages USING ",
            ),
        ] {
            for plan in lab.sqlite_plans(&words) {
                let sorts = plan.contains("TEMP B-TREE FOR ORDER BY");
                assert!(plan.contains(walk) && !plan.contains("SCAN outbox") && !sorts, "{plan}");
            }
        }

        let release = async || lab.write(|tx| tx.release_waiting_entries(&whatsapp(), BEGIN, 1)).await;
        assert_eq!((release().await, release().await, release().await), (1, 1, 0));
        let due_at = async |id: MessageId| lab.read(move |tx| tx.entry_of_message(id)).await.unwrap().due_at;
        assert_eq!(due_at(paused.message_id).await, BEGIN);
        assert_eq!(due_at(due.message_id).await, BEGIN - 1);
        assert_eq!(due_at(unknown.message_id).await, BEGIN + 500);

        let id = paused.message_id;
        assert!(lab.write(move |tx| tx.release_entry(id, BEGIN + 1)).await);
        assert_eq!(due_at(id).await, BEGIN + 1);
        let id = unknown.message_id;
        assert!(!lab.write(move |tx| tx.release_entry(id, BEGIN + 1)).await);
    });
}

#[test]
fn what_was_accepted_of_late_is_counted_by_channel() {
    on_both(async |lab| {
        let since = AttemptId::first_of(lab.now());
        let outcomes = [
            ("accepted", whatsapp()),
            ("failed", whatsapp()),
            ("accepted", whatsapp()),
            ("accepted", backup()),
        ];
        for (began_at, (outcome, channel)) in (BEGIN..).zip(outcomes) {
            let id: AttemptId = lab.ids.next();
            let attempt = Attempt {
                id,
                message_id: lab.ids.next(),
                channel_id: channel,
                started_at: began_at,
                ended: None,
                request: "{}".into(),
            };
            let end = AttemptEnd {
                at: BEGIN,
                outcome: outcome.into(),
                http_status: None,
                failure: None,
                answer: None,
                duration_micros: 1,
            };
            lab.write(move |tx| {
                tx.insert_attempts(std::slice::from_ref(&attempt))?;
                tx.finish_attempts(&[(id, end.clone())])
            })
            .await;
        }
        let lately = async |channel: ChannelId, since, limit| {
            lab.read(move |tx| tx.attempts_lately(&channel, since, limit)).await
        };
        let of = |count, accepted, begun_at: Millis| AttemptsLately {
            count,
            accepted,
            begun_at: Some(begun_at),
        };
        assert_eq!(lately(whatsapp(), since, 100).await, of(3, 2, BEGIN));
        assert_eq!(lately(whatsapp(), since, 2).await, of(2, 1, BEGIN + 1), "the last ones");
        assert_eq!(lately(backup(), since, 100).await, of(1, 1, BEGIN + 3));
        let after = AttemptId::first_of(lab.now() + 1);
        assert_eq!(lately(whatsapp(), after, 100).await, AttemptsLately::default());
    });
}

#[test]
fn messages_are_listed_by_their_age_and_by_how_they_ended() {
    on_both(async |lab| {
        let here = conversation(lab, &whatsapp(), "Amara").await;
        let there = conversation(lab, &backup(), "Jonas").await;
        let make = |place, status: Status, created_at: Millis| Message {
            status,
            created_at,
            ..outbound(lab, place, BEGIN)
        };
        let messages = [
            make(&here, Status::Failed, BEGIN),
            make(&here, Status::Queued, BEGIN + 1),
            make(&here, Status::Expired, BEGIN + 2),
            make(&there, Status::Failed, BEGIN + 3),
        ];
        let kept = messages.clone();
        lab.write(move |tx| tx.insert_messages(&kept.iter().collect::<Vec<_>>()))
            .await;
        let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
        let listed = |found: Vec<Message>| found.into_iter().map(|message| message.id).collect::<Vec<_>>();

        let recent = async |after| listed(lab.read(move |tx| tx.recent_messages(after, 2)).await);
        assert_eq!(recent(None).await, [ids[3], ids[2]]);
        assert_eq!(recent(Some(ids[2])).await, [ids[1], ids[0]]);

        let ended = async |channel: Option<ChannelId>, since, after| {
            let found = lab.read(move |tx| tx.ended_messages(channel.as_ref(), since, after, 10));
            listed(found.await)
        };
        assert_eq!(ended(None, 0, None).await, [ids[3], ids[2], ids[0]]);
        assert_eq!(ended(None, BEGIN + 2, None).await, [ids[3], ids[2]]);
        let place = EndedPlace {
            created_at: BEGIN + 2,
            id: ids[2],
        };
        assert_eq!(ended(None, 0, Some(place)).await, [ids[0]]);
        assert_eq!(ended(Some(whatsapp()), 0, None).await, [ids[2], ids[0]]);
        assert_eq!(ended(Some(whatsapp()), BEGIN + 1, None).await, [ids[2]]);
        for plan in lab.sqlite_plans(&["IN ('failed', 'expired')"]) {
            assert!(plan.contains("INDEX messages_ended"), "{plan}");
        }
    });
}
