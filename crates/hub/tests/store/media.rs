//! Files: what messages refer to, what is kept, and what Meta has.

use tidings::conversations::content::Media as FileInMessage;
use tidings::conversations::model::{ChannelId, Failure};
use tidings::ids::{MediaId, MessageId, NodeId};
use tidings::media::model::{Fetched, FileHash, Media, MediaStatus, Reference, Upload, UploadKey, UploadStatus};
use tidings::sending::model::{EntryState, Postponement, Wait};

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{backup, entry, whatsapp};

fn hash(byte: u8) -> FileHash {
    FileHash::from_slice(&[byte; 32]).unwrap()
}

fn wanted(lab: &Lab, channel: &ChannelId, message: MessageId, due_at: i64) -> Media {
    let file = FileInMessage {
        id: Some("1290447183620055".to_owned()),
        link: Some("https://lookaside.fbsbx.com/x".to_owned()),
        filename: Some("contract.pdf".to_owned()),
        mime_type: Some("application/pdf".to_owned()),
        ..FileInMessage::default()
    };
    Media {
        due_at: Some(due_at),
        ..Media::wanted(lab.ids.next(), channel, message, &file, BEGIN).unwrap()
    }
}

fn uploaded(lab: &Lab, byte: u8) -> Media {
    Media {
        id: lab.ids.next(),
        brought_by: None,
        status: MediaStatus::Stored,
        sha256: Some(hash(byte)),
        size: Some(3),
        mime_type: Some("image/png".to_owned()),
        filename: None,
        told: None,
        attempts: 0,
        due_at: None,
        reason: None,
        created_at: BEGIN,
        unused_at: Some(BEGIN + 100),
    }
}

fn reference(message: MessageId, part: u32, media: MediaId) -> Reference {
    Reference {
        message_id: message,
        channel_id: whatsapp(),
        part,
        media_id: media,
    }
}

async fn insert(lab: &Lab, media: &[Media]) {
    let media = media.to_vec();
    lab.write(move |tx| tx.insert_media(&media)).await;
}

async fn refer(lab: &Lab, references: &[Reference]) {
    let references = references.to_vec();
    lab.write(move |tx| tx.insert_media_references(&references)).await;
}

async fn by_id(lab: &Lab, id: MediaId) -> Option<Media> {
    lab.read(move |tx| tx.media_by_id(id)).await
}

async fn take(lab: &Lab, channel: ChannelId, node: NodeId, now: i64) -> Vec<MediaId> {
    let taken = lab
        .write(move |tx| tx.take_media(&channel, node, now, now + 60, 2))
        .await;
    taken.iter().map(|media| media.id).collect()
}

#[test]
fn files_are_kept_and_found_with_their_messages() {
    on_both(async |lab| {
        let (one, two): (MessageId, MessageId) = (lab.ids.next(), lab.ids.next());
        let (first, second) = (wanted(lab, &whatsapp(), one, 5), wanted(lab, &whatsapp(), one, 6));
        let full = Media {
            sha256: Some(hash(1)),
            size: Some(i64::MAX),
            attempts: 7,
            reason: Some("it broke off".to_owned()),
            ..first.clone()
        };
        insert(lab, &[full.clone(), second.clone()]).await;
        refer(lab, &[reference(one, 1, second.id), reference(one, 0, first.id)]).await;
        assert_eq!(by_id(lab, first.id).await, Some(full.clone()));
        assert_eq!(by_id(lab, lab.ids.next()).await, None);
        let found = lab.read(move |tx| tx.media_of_messages(&[two, one])).await;
        assert_eq!(found, [(one, 0, full.clone()), (one, 1, second.clone())]);
        let ids = [second.id, lab.ids.next()];
        let found = lab.read(move |tx| tx.media_by_ids(&ids)).await;
        assert_eq!(found.into_values().collect::<Vec<_>>(), std::slice::from_ref(&second));
        let locked = lab.write(move |tx| tx.lock_media(&ids)).await;
        assert_eq!(locked.into_values().collect::<Vec<_>>(), [second]);
    });
}

#[test]
fn what_is_due_is_taken_by_one_node_until_its_time_is_over() {
    on_both(async |lab| {
        let message: MessageId = lab.ids.next();
        let (node, other): (NodeId, NodeId) = (lab.ids.next(), lab.ids.next());
        let due: Vec<Media> = (1..=3).map(|at| wanted(lab, &whatsapp(), message, at)).collect();
        let elsewhere = wanted(lab, &backup(), message, 50);
        insert(lab, &due).await;
        insert(lab, std::slice::from_ref(&elsewhere)).await;
        assert_eq!(lab.read(|tx| tx.channels_with_media_due(10, 9)).await, [whatsapp()]);
        assert_eq!(
            lab.read(|tx| tx.channels_with_media_due(50, 9)).await,
            [whatsapp(), backup()]
        );
        assert_eq!(lab.read(|tx| tx.channels_with_media_due(50, 1)).await.len(), 1);
        assert_eq!(
            take(lab, whatsapp(), node, 10).await,
            [due[0].id, due[1].id],
            "the longest due first"
        );
        assert_eq!(take(lab, whatsapp(), other, 10).await, [due[2].id]);
        assert_eq!(take(lab, whatsapp(), other, 69).await, []);

        // Who shows itself alive keeps what it has.
        let ids = [due[0].id, due[2].id];
        lab.write(move |tx| tx.keep_media_taken(&ids, node, 200)).await;
        assert_eq!(take(lab, whatsapp(), other, 70).await, [due[1].id, due[2].id]);
        let (id, again) = (
            due[1].id,
            Fetched::Failed {
                attempts: 1,
                reason: "late".to_owned(),
            },
        );
        assert_eq!(
            lab.write(move |tx| tx.settle_media(id, node, &again)).await,
            None,
            "it is another node's by now"
        );
        assert_eq!(lab.write(move |tx| tx.release_media_taken(Some(node), 80)).await, 1);
        assert_eq!(take(lab, whatsapp(), other, 80).await, [due[0].id]);
        assert_eq!(lab.write(move |tx| tx.release_media_taken(None, 90)).await, 3);
        assert_eq!(take(lab, whatsapp(), node, 90).await.len(), 2);
    });
}

#[test]
fn what_came_of_a_file_is_written_down() {
    on_both(async |lab| {
        let node: NodeId = lab.ids.next();
        let media = wanted(lab, &whatsapp(), lab.ids.next(), 1);
        let id = media.id;
        insert(lab, &[media]).await;
        let settle = async |fetched: Fetched| lab.write(move |tx| tx.settle_media(id, node, &fetched)).await;
        let again = Fetched::Again {
            due_at: 500,
            attempts: 1,
            reason: "it broke off".to_owned(),
        };
        assert_eq!(settle(again.clone()).await, None, "nobody has taken it");
        take(lab, whatsapp(), node, 1).await;
        assert!(!lab.write(move |tx| tx.retry_media(id, 2)).await, "it is under way");
        let waiting = settle(again).await.unwrap();
        assert_eq!((waiting.due_at, waiting.attempts), (Some(500), 1));
        assert_eq!(waiting.reason.as_deref(), Some("it broke off"));
        take(lab, whatsapp(), node, 500).await;
        let failed = settle(Fetched::Failed {
            attempts: 2,
            reason: "it is gone".to_owned(),
        });
        assert_eq!(failed.await.unwrap().status, MediaStatus::Failed);
        assert_eq!(take(lab, whatsapp(), node, 10_000).await, []);
        assert!(lab.write(move |tx| tx.retry_media(id, 600)).await);
        assert_eq!(by_id(lab, id).await.unwrap().attempts, 0);
        assert_eq!(take(lab, whatsapp(), node, 600).await, [id]);
        let stored = settle(Fetched::Stored {
            sha256: hash(9),
            size: 3,
            mime_type: "image/png".to_owned(),
        });
        let stored = stored.await.unwrap();
        assert_eq!(stored.stored().unwrap().sha256, hash(9));
        assert_eq!((stored.due_at, stored.reason), (None, None));
        assert!(!lab.write(move |tx| tx.retry_media(id, 700)).await, "it is there");
    });
}

#[test]
fn the_same_file_uploaded_twice_is_one_and_goes_unless_it_is_used() {
    on_both(async |lab| {
        let first = uploaded(lab, 1);
        let keep = async |media: Media| lab.write(move |tx| tx.keep_uploaded_media(&media)).await;
        assert_eq!(keep(first.clone()).await, first);
        let again = Media {
            filename: Some("a.png".to_owned()),
            unused_at: Some(BEGIN + 300),
            ..uploaded(lab, 1)
        };
        let kept = keep(again).await;
        assert_eq!((kept.id, kept.unused_at), (first.id, Some(BEGIN + 300)));
        assert_eq!(
            kept.filename.as_deref(),
            Some("a.png"),
            "the first name that it is given"
        );
        let other_type = Media {
            mime_type: Some("text/plain".to_owned()),
            ..uploaded(lab, 1)
        };
        assert_ne!(keep(other_type).await.id, first.id);

        let used = uploaded(lab, 2);
        keep(used.clone()).await;
        let message: MessageId = lab.ids.next();
        refer(lab, &[reference(message, 0, used.id)]).await;
        assert_eq!(by_id(lab, used.id).await.unwrap().unused_at, None);
        assert_eq!(keep(uploaded(lab, 2)).await.unused_at, None, "it is used all the same");
        assert_eq!(lab.write(|tx| tx.remove_unused_media(BEGIN + 99, 10)).await, 0);
        assert_eq!(lab.write(|tx| tx.remove_unused_media(BEGIN + 300, 10)).await, 2);
        assert_eq!(by_id(lab, first.id).await, None);
        assert!(by_id(lab, used.id).await.is_some());

        // A message that is taken back lets it go, in its time; one that another message has stays.
        let other: MessageId = lab.ids.next();
        refer(lab, &[reference(other, 0, used.id)]).await;
        lab.write(move |tx| tx.forget_media_of_message(message, BEGIN + 400))
            .await;
        assert_eq!(lab.write(|tx| tx.remove_unused_media(BEGIN + 400, 10)).await, 1);
        assert!(by_id(lab, used.id).await.is_some());
        lab.write(move |tx| tx.forget_media_of_message(other, BEGIN + 500))
            .await;
        assert_eq!(lab.write(|tx| tx.remove_unused_media(BEGIN + 500, 10)).await, 1);
        assert_eq!(by_id(lab, used.id).await, None);
    });
}

#[test]
fn a_file_that_nothing_refers_to_is_doomed_and_nobody_comes_to_refer_to_it() {
    on_both(async |lab| {
        let message: MessageId = lab.ids.next();
        let reserve = async |byte, at| {
            lab.write(move |tx| tx.reserve_media_file(hash(byte), 3, BEGIN, at))
                .await
        };
        let doom = async |now| lab.write(move |tx| tx.doom_media_files(now, now + 50, 10)).await;
        assert!(reserve(1, 100).await);
        assert!(reserve(1, 200).await, "twice does no harm");
        assert!(reserve(2, 100).await);
        let media = Media {
            status: MediaStatus::Stored,
            sha256: Some(hash(2)),
            ..wanted(lab, &whatsapp(), message, 1)
        };
        insert(lab, std::slice::from_ref(&media)).await;
        refer(lab, &[reference(message, 0, media.id)]).await;
        assert_eq!(doom(100).await, [], "one is looked at later, the other is used");
        assert_eq!(doom(200).await, [hash(1)]);
        assert!(!reserve(1, 300).await, "it is being removed");
        assert_eq!(doom(249).await, []);
        assert_eq!(doom(250).await, [hash(1)], "its removal was not finished");
        lab.write(|tx| tx.remove_media_file(hash(1))).await;
        assert!(reserve(1, 900).await);
        lab.write(|tx| tx.remove_media_file(hash(1))).await;
        assert_eq!(doom(900).await, [hash(1)], "only what is doomed is removed");

        lab.write(move |tx| tx.forget_media_of_message(message, 300)).await;
        assert_eq!(by_id(lab, media.id).await, None);
        assert_eq!(doom(300).await, [hash(2)]);
    });
}

fn upload(byte: u8) -> Upload {
    Upload {
        key: UploadKey {
            channel_id: whatsapp(),
            account: "106540352242922".to_owned(),
            sha256: hash(byte),
            kind: String::new(),
        },
        status: UploadStatus::Wanted {
            due_at: BEGIN,
            failure: None,
        },
        size: 3,
        mime_type: "image/png".to_owned(),
        changed_at: BEGIN,
        attempts: 0,
    }
}

#[test]
fn a_file_is_handed_over_once_and_anew_when_it_was_forgotten() {
    on_both(async |lab| {
        let node: NodeId = lab.ids.next();
        let want = async |uploads: Vec<Upload>, now| lab.write(move |tx| tx.want_media_uploads(&uploads, now)).await;
        let find = async |byte| {
            let key = upload(byte).key;
            lab.read(move |tx| tx.media_uploads(std::slice::from_ref(&key)))
                .await
                .into_values()
                .next()
        };
        let take = async |now| {
            let taken = lab
                .write(move |tx| tx.take_media_uploads(&whatsapp(), node, now, now + 60, 9))
                .await;
            taken.into_iter().map(|upload| upload.key.sha256).collect::<Vec<_>>()
        };
        let settle = async |settled: Upload| lab.write(move |tx| tx.settle_media_upload(&settled, node)).await;
        assert_eq!(find(1).await, None);
        assert_eq!(lab.read(|tx| tx.channels_with_uploads_due(BEGIN, 9)).await, []);
        want(vec![upload(1), upload(2)], BEGIN).await;
        want(vec![upload(1)], BEGIN + 5).await;
        assert_eq!(find(1).await, Some(upload(1)), "it was wanted already");
        assert_eq!(
            lab.read(|tx| tx.channels_with_uploads_due(BEGIN, 9)).await,
            [whatsapp()]
        );
        let mut taken = take(BEGIN).await;
        taken.sort();
        assert_eq!(taken, [hash(1), hash(2)]);
        assert_eq!(take(BEGIN + 59).await, []);
        let keys = [upload(1).key, upload(2).key];
        lab.write(move |tx| tx.keep_media_uploads_taken(&keys, node, BEGIN + 100))
            .await;
        assert_eq!(take(BEGIN + 99).await, [], "who shows itself alive keeps what it has");

        let ready = Upload {
            status: UploadStatus::Ready {
                meta_id: "2094417730285518".to_owned(),
                expires_at: Some(BEGIN + 1_000),
            },
            changed_at: BEGIN + 7,
            ..upload(1)
        };
        let failure = Failure {
            code: 131_053,
            subcode: Some(1),
            text: "cannot be processed".to_owned(),
        };
        let failed = Upload {
            status: UploadStatus::Failed(failure.clone()),
            changed_at: BEGIN + 8,
            attempts: 3,
            ..upload(2)
        };
        assert!(settle(ready.clone()).await);
        assert!(!settle(ready.clone()).await, "it is nobody's any more");
        assert!(settle(failed.clone()).await);
        assert_eq!(find(1).await, Some(ready.clone()));
        assert_eq!(find(2).await, Some(failed));
        // Who saw that it was still wanted, and hears only now that it is done, does not have it done once more.
        want(vec![upload(1), upload(2)], BEGIN + 20).await;
        assert_eq!(take(BEGIN + 20).await, []);
        let found = Upload {
            changed_at: BEGIN + 8,
            ..upload(2)
        };
        want(vec![found], BEGIN + 20).await;
        assert_eq!(take(BEGIN + 20).await, [hash(2)]);
        let again = Upload {
            status: UploadStatus::Wanted {
                due_at: BEGIN + 90,
                failure: Some(failure),
            },
            changed_at: BEGIN + 21,
            attempts: 1,
            ..upload(2)
        };
        assert!(settle(again.clone()).await);
        assert_eq!(find(2).await, Some(again));
        assert_eq!(take(BEGIN + 89).await, []);

        let key = ready.key.clone();
        lab.write(move |tx| tx.renew_media_upload(&key, "another", BEGIN + 30))
            .await;
        assert_eq!(find(1).await, Some(ready.clone()), "it was done since");
        let key = ready.key.clone();
        lab.write(move |tx| tx.renew_media_upload(&key, "2094417730285518", BEGIN + 30))
            .await;
        assert_eq!(take(BEGIN + 30).await, [hash(1)]);
        assert_eq!(
            lab.write(|tx| tx.prune_media_uploads(BEGIN + 1_000, 10)).await,
            0,
            "they are wanted"
        );
        assert!(settle(ready).await);
        assert_eq!(lab.write(|tx| tx.prune_media_uploads(BEGIN + 7, 10)).await, 0);
        assert_eq!(lab.write(|tx| tx.prune_media_uploads(BEGIN + 8, 10)).await, 1);
        assert_eq!(find(1).await, None);
    });
}

#[test]
fn who_ends_lets_go_of_what_it_was_handing_over_and_of_nothing_else() {
    on_both(async |lab| {
        let (node, other): (NodeId, NodeId) = (lab.ids.next(), lab.ids.next());
        lab.write(|tx| tx.want_media_uploads(&[upload(1)], BEGIN)).await;
        let take = async |by: NodeId, now| {
            let taken = lab
                .write(move |tx| tx.take_media_uploads(&whatsapp(), by, now, BEGIN + 60, 9))
                .await;
            taken.len()
        };
        assert_eq!(take(node, BEGIN).await, 1);
        let release =
            async |by: Option<NodeId>| lab.write(move |tx| tx.release_media_uploads_taken(by, BEGIN + 1)).await;
        assert_eq!(
            lab.write(move |tx| tx.release_media_taken(Some(node), BEGIN + 1)).await,
            0
        );
        assert_eq!(take(other, BEGIN + 1).await, 0, "it is still being handed over");
        assert_eq!(release(Some(other)).await, 0);
        assert_eq!(release(Some(node)).await, 1);
        assert_eq!(take(other, BEGIN + 1).await, 1);
        assert_eq!(release(None).await, 1);
        assert_eq!(take(node, BEGIN + 1).await, 1);
    });
}

#[test]
fn messages_that_wait_for_a_file_are_due_once_it_is_there() {
    on_both(async |lab| {
        let media = uploaded(lab, 1);
        let one = entry(lab, &whatsapp(), lab.ids.next(), 1);
        let two = entry(lab, &whatsapp(), lab.ids.next(), 1);
        let (first, second, kept) = (one.message_id, two.message_id, media);
        lab.write(move |tx| {
            tx.insert_media(std::slice::from_ref(&kept))?;
            tx.insert_outbox(&one)?;
            tx.insert_outbox(&two)?;
            tx.insert_media_references(&[reference(first, 0, kept.id), reference(second, 0, kept.id)])?;
            let put_back = |id, waits_for| Postponement {
                message_id: id,
                state: EntryState::Waiting,
                due_at: BEGIN + 5_000,
                attempts: 0,
                waits_for,
                reason: Some("its file is being handed to Meta".to_owned()),
                aside: None,
            };
            tx.postpone_entries(&[put_back(first, Wait::Media), put_back(second, Wait::Retry)])
        })
        .await;
        let hurry = async |byte, at| {
            lab.write(move |tx| tx.hurry_entries_of_media(&whatsapp(), hash(byte), at))
                .await
        };
        assert_eq!(hurry(2, BEGIN).await, 0);
        assert_eq!(hurry(1, BEGIN + 1).await, 1);
        let entry = lab.write(move |tx| tx.lock_entry(first)).await.unwrap();
        assert_eq!((entry.due_at, entry.waits_for), (BEGIN + 1, Wait::Media));
        let entry = lab.write(move |tx| tx.lock_entry(second)).await.unwrap();
        assert_eq!(entry.due_at, BEGIN + 5_000, "it waits for something else");
    });
}
