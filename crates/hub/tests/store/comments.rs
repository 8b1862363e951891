//! Comments and mentions, beside the messages that they are.

use tidings::conversations::content::{CommentAnswer, Content};
use tidings::conversations::model::{
    ChannelId, Comment, CommentKind, Conversation, ConversationKind, ConversationStatus, Message, Venue,
};
use tidings::ids::{AttemptId, EventId, MessageId};
use tidings::sending::model::EntryState;
use tidings::store::comments::Mention;
use tidings::store::conversations::ConversationFilter;

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{contact, conversation_with, entry_of, inbound, outbound};

fn instagram() -> ChannelId {
    ChannelId("instagram".to_owned())
}

fn under(media_id: &str) -> Venue {
    Venue::Post {
        media_id: media_id.to_owned(),
    }
}

/// A contact with a direct conversation and one under each of these posts, all kept; the direct one first.
async fn conversations(lab: &Lab, posts: &[&str]) -> Vec<Conversation> {
    let contact = contact(lab, "Lucia");
    let mut all = vec![conversation_with(lab, &instagram(), contact.id)];
    for media_id in posts {
        all.push(conversation_with(lab, &instagram(), contact.id).at(under(media_id)));
    }
    let kept = all.clone();
    lab.write(move |tx| {
        tx.upsert_channel(&instagram(), "instagram", "17841470000000101", None, BEGIN)?;
        tx.insert_contacts(&[(contact.clone(), None)])?;
        tx.insert_conversations(&kept.iter().collect::<Vec<_>>())
    })
    .await;
    all
}

fn comment(id: MessageId, kind: CommentKind) -> Comment {
    Comment {
        message_id: id,
        channel_id: instagram(),
        kind,
        hidden_at: None,
        private_reply: None,
    }
}

#[test]
fn a_contact_has_one_conversation_at_each_venue() {
    on_both(async |lab| {
        let all = conversations(lab, &["1", "2", ""]).await;
        let (direct, first, unnamed) = (all[0].clone(), all[1].clone(), all[3].clone());
        let contact = direct.contact_id;
        let id = first.id;
        assert_eq!(lab.read(move |tx| tx.conversation_by_id(id)).await, Some(first.clone()));
        let id = unnamed.id;
        assert_eq!(
            lab.read(move |tx| tx.conversation_by_id(id)).await,
            Some(unnamed.clone())
        );
        let pair = (instagram(), contact);
        let (one, other) = (pair.clone(), pair.clone());
        assert_eq!(
            lab.write(move |tx| tx.lock_conversations(std::slice::from_ref(&one)))
                .await,
            std::slice::from_ref(&direct)
        );
        let elsewhere = (ChannelId("whatsapp".to_owned()), contact);
        assert_eq!(
            lab.read(move |tx| tx.direct_conversations(&[other.clone(), elsewhere.clone()]))
                .await,
            [(pair, direct.id)].into()
        );
        let places = ["2", "", "3"].map(|media_id| (instagram(), contact, media_id.to_owned()));
        let mut found = lab.read(move |tx| tx.conversations_under_posts(&places)).await;
        found.sort();
        assert_eq!(found, [all[2].id, unnamed.id]);
        let ids = [direct.id, first.id];
        assert_eq!(
            lab.write(move |tx| tx.lock_conversations_by_ids(&ids)).await,
            [direct.clone(), first.clone()]
        );
        let mut answered = direct.clone();
        answered.answered_comment = Some(lab.ids.next());
        let kept = answered.clone();
        lab.write(move |tx| tx.update_conversations(&[&kept])).await;
        let id = direct.id;
        assert_eq!(lab.read(move |tx| tx.conversation_by_id(id)).await, Some(answered));
        // A second one under the same post is refused.
        let again = conversation_with(lab, &instagram(), contact).at(under("1"));
        assert!(
            lab.store
                .write(move |tx| tx.insert_conversations(&[&again]))
                .await
                .is_err()
        );
    });
}

#[test]
fn conversations_are_listed_by_their_kind() {
    on_both(async |lab| {
        let mut all = conversations(lab, &["1", "2", "3"]).await;
        for (at, conversation) in all.iter_mut().enumerate() {
            conversation.last_message_at = BEGIN + i64::try_from(at).unwrap();
        }
        all[3].status = ConversationStatus::Resolved;
        let kept = all.clone();
        lab.write(move |tx| tx.update_conversations(&kept.iter().collect::<Vec<_>>()))
            .await;
        let list = async |filter: ConversationFilter, limit: u32| {
            let page = lab.read(move |tx| tx.conversations(&filter, limit)).await;
            let ids: Vec<_> = page.conversations.iter().map(|conversation| conversation.id).collect();
            (ids, page.next)
        };
        let of = |kind| ConversationFilter {
            kind: Some(kind),
            ..ConversationFilter::default()
        };
        let (direct, comments) = (of(ConversationKind::Direct), of(ConversationKind::Comments));
        assert_eq!(list(direct.clone(), 10).await, (vec![all[0].id], None));
        assert_eq!(
            list(comments.clone(), 10).await,
            (vec![all[3].id, all[2].id, all[1].id], None)
        );
        let (first, next) = list(comments.clone(), 2).await;
        assert_eq!(first, [all[3].id, all[2].id]);
        let rest = ConversationFilter {
            after: next,
            ..comments.clone()
        };
        assert_eq!(list(rest, 2).await.0, [all[1].id]);
        let open = ConversationFilter {
            status: Some(ConversationStatus::Open),
            channel_id: Some(instagram()),
            ..comments.clone()
        };
        assert_eq!(list(open, 10).await.0, [all[2].id, all[1].id]);
        let resolved = ConversationFilter {
            status: Some(ConversationStatus::Resolved),
            ..direct
        };
        assert_eq!(list(resolved, 10).await.0, []);
        let of_contact = ConversationFilter {
            contact_id: Some(all[0].contact_id),
            ..comments
        };
        assert_eq!(list(of_contact, 10).await.0.len(), 3);
    });
}

#[test]
fn what_is_known_of_a_comment_is_kept_beside_its_message() {
    on_both(async |lab| {
        let all = conversations(lab, &["1"]).await;
        let message = inbound(lab, &all[1], "17", BEGIN);
        let (id, kept) = (message.id, message.clone());
        lab.write(move |tx| {
            tx.insert_messages(&[&kept])?;
            tx.insert_comments(&[comment(kept.id, CommentKind::Comment)])
        })
        .await;
        let read = async || lab.read(move |tx| tx.comments_of_messages(&[id, MessageId::MIN])).await;
        assert_eq!(read().await, [comment(id, CommentKind::Comment)]);
        // That it was made live is never lost, whichever is told first.
        for kind in [CommentKind::Live, CommentKind::Comment] {
            lab.write(move |tx| tx.insert_comments(&[comment(id, kind)])).await;
            assert_eq!(read().await[0].kind, CommentKind::Live);
        }
        assert!(lab.write(move |tx| tx.set_comment_hidden(id, Some(BEGIN + 1))).await);
        assert_eq!(read().await[0].hidden_at, Some(BEGIN + 1));
        assert!(lab.write(move |tx| tx.set_comment_hidden(id, None)).await);
        assert_eq!(read().await[0].hidden_at, None);
        assert!(!lab.write(|tx| tx.set_comment_hidden(MessageId::MIN, None)).await);

        let reply: MessageId = lab.ids.next();
        lab.write(move |tx| tx.set_private_reply(id, reply)).await;
        let found = lab.write(move |tx| tx.lock_comment(id)).await;
        assert_eq!(found.unwrap().private_reply, Some(reply));
        assert_eq!(lab.write(|tx| tx.lock_comment(MessageId::MIN)).await, None);

        let key = (instagram(), "17".to_owned());
        let unknown = (instagram(), "18".to_owned());
        let asked = [key.clone(), unknown];
        let found = lab.read(move |tx| tx.conversations_of_external_ids(&asked)).await;
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(key, all[1].id)]);
    });
}

#[test]
fn what_is_below_a_comment_is_found_in_whatever_conversation() {
    on_both(async |lab| {
        let all = conversations(lab, &["1", "2"]).await;
        let [direct, here, elsewhere] = <[Conversation; 3]>::try_from(all).unwrap();
        let mut kept = Vec::new();
        let mut add = |mut message: Message, external_id: Option<&str>, reply_to: Option<&str>| {
            message.external_id = external_id.map(str::to_owned);
            message.reply_to = reply_to.map(str::to_owned);
            kept.push(message.clone());
            message.id
        };
        add(inbound(lab, &here, "1", BEGIN), Some("1"), None);
        let answer = add(inbound(lab, &elsewhere, "2", BEGIN), Some("2"), Some("1"));
        let ours = add(outbound(lab, &here, BEGIN), Some("3"), Some("1"));
        let further = add(outbound(lab, &elsewhere, BEGIN), Some("4"), Some("2"));
        // Private, not sent yet, below another comment.
        add(outbound(lab, &direct, BEGIN), Some("5"), Some("1"));
        add(outbound(lab, &here, BEGIN), None, Some("1"));
        add(outbound(lab, &here, BEGIN), Some("6"), Some("other"));
        lab.write(move |tx| tx.insert_messages(&kept.iter().collect::<Vec<_>>()))
            .await;
        let below = async |external_id: &'static str, limit: u32| {
            let found = lab.read(move |tx| tx.messages_below_comment(&instagram(), external_id, limit));
            let mut ids: Vec<MessageId> = found.await.into_iter().map(|(id, _)| id).collect();
            ids.sort_unstable();
            ids
        };
        let mut expected = vec![answer, ours, further];
        expected.sort_unstable();
        assert_eq!(below("1", 10).await, expected);
        assert_eq!(below("1", 2).await.len(), 2);
        assert_eq!(below("2", 10).await, [further]);
        assert_eq!(below("4", 10).await, [] as [MessageId; 0]);
        let mut gone = lab.write(move |tx| tx.lock_messages(&[answer])).await.remove(0);
        gone.deleted_at = Some(BEGIN);
        lab.write(move |tx| tx.update_messages(&[&gone])).await;
        let mut expected = vec![ours, further];
        expected.sort_unstable();
        assert_eq!(
            below("1", 10).await,
            expected,
            "what answers an answer is found also when that is gone"
        );
        let of = lab
            .read(move |tx| tx.messages_below_comment(&instagram(), "2", 1))
            .await;
        assert_eq!(of, [(further, elsewhere.id)]);
    });
}

#[test]
fn private_replies_are_counted_from_when_they_were_at_meta() {
    on_both(async |lab| {
        let [one, two, three]: [AttemptId; 3] = std::array::from_fn(|_| lab.ids.next());
        let since = async |after: i64, limit: u32| {
            lab.read(move |tx| tx.private_calls_since(&instagram(), after, limit))
                .await
        };
        lab.write(move |tx| tx.insert_private_calls(&instagram(), &[one, two], BEGIN))
            .await;
        lab.write(move |tx| tx.insert_private_calls(&ChannelId("other".to_owned()), &[three], BEGIN))
            .await;
        assert_eq!(since(BEGIN - 1, 5).await, [BEGIN, BEGIN]);
        assert_eq!(since(BEGIN, 5).await, [] as [i64; 0]);
        let unknown: AttemptId = lab.ids.next();
        lab.write(move |tx| tx.note_private_calls_made(&[(one, BEGIN + 5), (unknown, BEGIN + 9)]))
            .await;
        assert_eq!(since(0, 5).await, [BEGIN + 5, BEGIN]);
        assert_eq!(since(0, 1).await, [BEGIN + 5], "the latest");
        // Whoever took it over knew less.
        lab.write(move |tx| tx.note_private_calls_made(&[(one, BEGIN + 4), (two, BEGIN + 2)]))
            .await;
        assert_eq!(since(0, 5).await, [BEGIN + 5, BEGIN + 2]);
        lab.write(move |tx| tx.forget_private_calls(&[two, unknown])).await;
        assert_eq!(since(0, 5).await, [BEGIN + 5]);
        assert_eq!(lab.write(|tx| tx.prune_private_calls(&instagram(), BEGIN + 5)).await, 0);
        assert_eq!(lab.write(|tx| tx.prune_private_calls(&instagram(), BEGIN + 6)).await, 1);
        assert_eq!(since(0, 5).await, [] as [i64; 0]);
    });
}

#[test]
fn answers_under_way_are_found_by_their_post() {
    on_both(async |lab| {
        let all = conversations(lab, &["1", "2"]).await;
        let mut expected = Vec::new();
        for (at, conversation) in all.iter().enumerate() {
            let mut message = outbound(lab, conversation, BEGIN);
            message.content = Content::CommentReply(CommentAnswer {
                message_id: lab.ids.next(),
                text: "Yes".to_owned(),
            });
            let mut entry = entry_of(lab, message.id, &instagram(), conversation.id, 1);
            entry.state = if at == 2 {
                EntryState::Waiting
            } else {
                EntryState::Unknown
            };
            expected.push(message.id);
            lab.write(move |tx| {
                tx.insert_messages(&[&message])?;
                tx.insert_outbox(&entry)
            })
            .await;
        }
        let posts = ["1", "2", "3"].map(|media_id| (instagram(), media_id.to_owned()));
        let found = lab.read(move |tx| tx.messages_in_flight_under_posts(&posts)).await;
        assert_eq!(found, [expected[1]], "neither what is direct, nor what still waits");
    });
}

#[test]
fn mentions_are_asked_about_one_by_one_until_they_are_known() {
    on_both(async |lab| {
        let mention = |media_id: &str, comment_id: Option<&str>| Mention {
            channel_id: instagram(),
            media_id: media_id.to_owned(),
            comment_id: comment_id.map(str::to_owned),
            told_at: BEGIN,
            event_id: EventId::MIN,
            attempts: 0,
        };
        let (one, two) = (mention("1", Some("c")), mention("1", None));
        let new = [one.clone(), two.clone(), one.clone()];
        lab.write(move |tx| {
            tx.insert_mentions(&new[..2], BEGIN)?;
            tx.insert_mentions(&new[2..], BEGIN + 9)
        })
        .await;
        let take = async |now: i64, limit: u32| {
            let taken = lab.write(move |tx| tx.take_due_mentions(&instagram(), now, now + 10, limit));
            let taken = taken.await;
            assert!(!taken.is_empty() || !lab.read(move |tx| tx.any_mention_due(&instagram(), now)).await);
            taken
        };
        assert!(lab.read(move |tx| tx.any_mention_due(&instagram(), BEGIN)).await);
        assert_eq!(take(BEGIN - 1, 5).await, []);
        assert_eq!(take(BEGIN, 1).await, std::slice::from_ref(&two));
        assert_eq!(take(BEGIN, 5).await, std::slice::from_ref(&one));
        assert_eq!(take(BEGIN + 9, 5).await, []);
        let gone = two.clone();
        lab.write(move |tx| tx.delete_mention(&gone)).await;
        let again = take(BEGIN + 10, 5).await;
        assert_eq!(again, [Mention { attempts: 1, ..one }]);
    });
}
