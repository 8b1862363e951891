//! What contacts have said of being written to, and what waits for them.

use tidings::conversations::consent::model::{ConsentStatus, Consents, Keeper, Source, Statement};
use tidings::conversations::model::{Millis, Status};
use tidings::ids::{ConsentId, ContactId, MessageId};
use tidings::sending::cancel;
use tidings::sending::model::{EntryState, Priority, Purpose, Scheduled, Terms};

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{contact, conversation, entry_of, outbound, whatsapp};

fn said(lab: &Lab, contact_id: ContactId, purpose: Purpose, source: Source, opted_out: bool, at: Millis) -> Statement {
    Statement {
        id: lab.ids.next(),
        contact_id,
        purpose,
        opted_out,
        source,
        at,
        channel_id: (source != Source::Api).then(whatsapp),
        detail: (source == Source::Word).then(|| "Stop!".to_owned()),
        actor: (source == Source::Api).then(|| "admin".to_owned()),
        noted_at: BEGIN,
    }
}

async fn keep(lab: &Lab, statements: &[Statement]) -> Vec<Statement> {
    let statements = statements.to_vec();
    lab.write(move |tx| tx.insert_consent_statements(&statements)).await
}

async fn standing(lab: &Lab, contacts: &[ContactId]) -> Vec<Statement> {
    let contacts = contacts.to_vec();
    let mut standing = lab.read(move |tx| tx.standing_consent_statements(&contacts)).await;
    standing.sort_by_key(|of| (of.contact_id, of.purpose.as_str(), of.source.keeper()));
    standing
}

async fn history(
    lab: &Lab,
    contact: ContactId,
    after: Option<(Millis, ConsentId, Purpose)>,
    limit: u32,
) -> Vec<Statement> {
    lab.read(move |tx| tx.consent_statements(contact, after, limit)).await
}

async fn someone(lab: &Lab, name: &str) -> ContactId {
    let contact = contact(lab, name);
    let kept = contact.clone();
    lab.write(move |tx| tx.insert_contacts(&[(kept.clone(), None)])).await;
    contact.id
}

#[test]
fn of_each_list_the_latest_stands_and_all_of_it_is_kept() {
    on_both(async |lab| {
        let (priya, tom) = (someone(lab, "Priya").await, someone(lab, "Tom").await);
        let word = said(lab, priya, Purpose::Marketing, Source::Word, true, BEGIN + 20);
        let service = Statement {
            purpose: Purpose::Service,
            ..word.clone()
        };
        let noted = said(lab, priya, Purpose::Marketing, Source::Api, false, BEGIN + 10);
        let stop = said(lab, priya, Purpose::Marketing, Source::WhatsApp, true, BEGIN + 10);
        let refused = said(lab, priya, Purpose::Marketing, Source::Refusal, true, BEGIN + 15);
        let resumed = said(lab, priya, Purpose::Marketing, Source::WhatsApp, false, BEGIN + 30);
        let of_tom = said(lab, tom, Purpose::Service, Source::Api, true, BEGIN);
        let all = [&word, &service, &noted, &stop, &refused, &resumed, &of_tom].map(Clone::clone);
        assert_eq!(keep(lab, &all).await, all);
        // What is known is not new, whatever it says this time.
        let again = Statement {
            opted_out: false,
            at: BEGIN + 99,
            ..word.clone()
        };
        assert_eq!(keep(lab, &[again, of_tom.clone()]).await, []);
        assert_eq!(keep(lab, &[]).await, []);

        assert_eq!(
            standing(lab, &[tom, priya, ContactId::MIN]).await,
            [word.clone(), resumed.clone(), service.clone(), of_tom.clone()]
        );
        assert_eq!(standing(lab, &[]).await, []);
        let consents = Consents::of(standing(lab, &[priya]).await);
        assert_eq!(consents.status(priya, Purpose::Marketing), ConsentStatus::OptedOut);
        assert_eq!(
            consents.kept_by(priya, Purpose::Marketing, Keeper::WhatsApp),
            Some(&resumed)
        );

        let mut told = vec![resumed.clone(), service, word, refused];
        let mut of_one_moment = vec![noted, stop];
        of_one_moment.sort_by_key(|of| std::cmp::Reverse(of.id));
        told.extend(of_one_moment);
        assert_eq!(history(lab, priya, None, 10).await, told);
        let mut walked = Vec::new();
        while let page = history(
            lab,
            priya,
            walked.last().map(|of: &Statement| (of.at, of.id, of.purpose)),
            1,
        )
        .await
            && !page.is_empty()
        {
            walked.extend(page);
        }
        assert_eq!(walked, told);
        assert_eq!(history(lab, ContactId::MIN, None, 10).await, []);
    });
}

#[test]
fn of_one_moment_that_they_want_no_more_stands() {
    on_both(async |lab| {
        for is_first in [true, false] {
            let who = someone(lab, "Priya").await;
            let first = said(lab, who, Purpose::Marketing, Source::Api, is_first, BEGIN);
            let second = said(lab, who, Purpose::Marketing, Source::Word, !is_first, BEGIN);
            keep(lab, &[first.clone(), second.clone()]).await;
            let stands = if is_first { first } else { second };
            assert_eq!(standing(lab, &[who]).await, [stands]);
        }
    });
}

#[test]
fn contacts_that_are_one_have_said_what_either_said() {
    on_both(async |lab| {
        let (one, other) = (someone(lab, "Priya").await, someone(lab, "P. Shah").await);
        let earlier = said(lab, one, Purpose::Marketing, Source::Word, false, BEGIN + 10);
        let later = said(lab, other, Purpose::Marketing, Source::Word, true, BEGIN + 20);
        let service = said(lab, other, Purpose::Service, Source::Api, true, BEGIN + 5);
        keep(lab, &[earlier.clone(), later.clone(), service.clone()]).await;
        lab.write(move |tx| tx.merge_contacts(other, one)).await;
        let of_one = |of: &Statement| Statement {
            contact_id: one,
            ..of.clone()
        };
        assert_eq!(standing(lab, &[one, other]).await, [of_one(&later), of_one(&service)]);
        assert_eq!(history(lab, one, None, 10).await.len(), 3);
        assert_eq!(history(lab, other, None, 10).await, []);
        // Told again of the one that is gone, it is still known.
        assert_eq!(keep(lab, &[later]).await, []);

        assert_eq!(lab.write(move |tx| tx.lock_contact(other)).await, Some(one));
        assert_eq!(lab.write(move |tx| tx.lock_contact(one)).await, Some(one));
        assert_eq!(lab.write(|tx| tx.lock_contact(ContactId::MIN)).await, None);
    });
}

#[test]
fn what_waits_and_is_forbidden_is_withdrawn() {
    on_both(async |lab| {
        let mut thread = conversation(lab, &whatsapp(), "Priya").await;
        thread.last_inbound_at = Some(BEGIN + 10);
        let kept = thread.clone();
        lab.write(move |tx| tx.update_conversations(&[&kept])).await;
        let names = ["head", "marketing", "sending", "unknown", "later", "marketing later"];
        let mut ids = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let message = outbound(lab, &thread, BEGIN);
            ids.push(message.id);
            let mut entry = entry_of(
                lab,
                message.id,
                &whatsapp(),
                thread.id,
                i64::try_from(index).unwrap() + 1,
            );
            entry.state = match name {
                "sending" => EntryState::Sending,
                "unknown" => EntryState::Unknown,
                _ => EntryState::Waiting,
            };
            let terms = Terms {
                message_id: message.id,
                channel_id: whatsapp(),
                purpose: if name.starts_with("marketing") {
                    Purpose::Marketing
                } else {
                    Purpose::Service
                },
                priority: Priority::Bulk as i64,
                expires_at: BEGIN + 1_000_000,
                fallback: None,
            };
            let scheduled = name.ends_with("later").then(|| Scheduled {
                message_id: message.id,
                channel_id: whatsapp(),
                conversation_id: thread.id,
                priority: Priority::Bulk as i64,
                due_at: BEGIN + 500_000,
                expires_at: BEGIN + 1_000_000,
                queued_at: BEGIN,
            });
            lab.write(move |tx| {
                tx.insert_messages(&[&message])?;
                tx.insert_terms(std::slice::from_ref(&terms))?;
                match &scheduled {
                    Some(scheduled) => tx.insert_scheduled(scheduled),
                    None => tx.insert_outbox(&entry),
                }
            })
            .await;
        }
        let (contact, id) = (thread.contact_id, thread.id);
        let waiting = async |after: MessageId, limit: u32| {
            lab.read(move |tx| tx.waiting_messages_of_conversation(&whatsapp(), id, after, limit))
                .await
        };
        assert_eq!(waiting(MessageId::MIN, 10).await, [ids[0], ids[1], ids[4], ids[5]]);
        assert_eq!(waiting(ids[0], 2).await, [ids[1], ids[4]]);
        let withdraw = async || {
            let withdrawn = lab.write(move |tx| cancel::withdraw_forbidden(tx, contact)).await;
            for message in &withdrawn {
                assert_eq!(message.status, Status::Cancelled);
                let id = message.id;
                assert_eq!(lab.read(move |tx| tx.message_by_id(id)).await.as_ref(), Some(message));
            }
            withdrawn.iter().map(|message| message.id).collect::<Vec<_>>()
        };
        assert_eq!(withdraw().await, []);

        keep(
            lab,
            &[said(lab, contact, Purpose::Marketing, Source::Word, true, BEGIN)],
        )
        .await;
        assert_eq!(withdraw().await, [ids[1], ids[5]]);
        assert_eq!(waiting(MessageId::MIN, 10).await, [ids[0], ids[4]]);
        // They have written since: what waits may answer that.
        keep(
            lab,
            &[said(lab, contact, Purpose::Service, Source::Word, true, BEGIN + 5)],
        )
        .await;
        assert_eq!(withdraw().await, []);
        keep(
            lab,
            &[said(lab, contact, Purpose::Service, Source::Word, true, BEGIN + 10)],
        )
        .await;
        assert_eq!(withdraw().await, [ids[0], ids[4]]);
        assert_eq!(waiting(MessageId::MIN, 10).await, []);
        for left in [ids[2], ids[3]] {
            let message = lab.read(move |tx| tx.message_by_id(left)).await.unwrap();
            assert_eq!(message.status, Status::Queued);
            assert!(lab.read(move |tx| tx.entry_of_message(left)).await.is_some());
        }
    });
}
